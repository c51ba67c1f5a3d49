-- Tokens that people have, and how often people and agents have met. What is in a ledger stays as it was written: the database itself refuses anything else.

CREATE TABLE ledger (
    person TEXT NOT NULL REFERENCES people (id),
    position INTEGER NOT NULL CHECK (position >= 1),
    amount INTEGER NOT NULL,
    -- What the person has after this entry.
    balance INTEGER NOT NULL CHECK (balance >= 0),
    reason TEXT NOT NULL
        CHECK (reason IN ('welcome', 'deposit', 'withdrawal', 'reward', 'chat', 'refund', 'grant')),
    key TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (person, position),
    UNIQUE (person, reason, key),
    CHECK (CASE WHEN reason IN ('withdrawal', 'chat') THEN amount < 0 ELSE amount > 0 END)
) STRICT, WITHOUT ROWID;

-- A payment counts once, whoever it is for.
CREATE UNIQUE INDEX ledger_payments ON ledger (key) WHERE reason = 'deposit';
CREATE INDEX ledger_activity ON ledger (person, at) WHERE reason IN ('reward', 'chat');

CREATE TRIGGER ledger_adds_up BEFORE INSERT ON ledger
WHEN NEW.position <> 1 + coalesce(
        (SELECT position FROM ledger WHERE person = NEW.person ORDER BY position DESC LIMIT 1), 0)
    OR NEW.balance <> NEW.amount + coalesce(
        (SELECT balance FROM ledger WHERE person = NEW.person ORDER BY position DESC LIMIT 1), 0)
BEGIN
    SELECT RAISE(ABORT, 'an entry of a ledger does not continue it');
END;

CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'what is in a ledger is never changed');
END;

CREATE TRIGGER ledger_is_not_shortened BEFORE DELETE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'what is in a ledger is never removed');
END;

-- Messages that were paid for and have neither an answer nor a refund.
CREATE TABLE open_charges (
    -- In the order in which they were made.
    number INTEGER PRIMARY KEY,
    message BLOB NOT NULL UNIQUE,
    person TEXT NOT NULL REFERENCES people (id),
    tokens INTEGER NOT NULL CHECK (tokens > 0)
) STRICT;

-- How often the person has said something to the agent; so far, as often as they are known to have.
ALTER TABLE relations ADD COLUMN meetings INTEGER NOT NULL DEFAULT 0 CHECK (meetings BETWEEN 0 AND 4294967295);

UPDATE relations SET meetings = said.messages
FROM (SELECT agent, person, count(*) AS messages FROM messages WHERE author = 'person' GROUP BY agent, person) AS said
WHERE said.agent = relations.agent AND said.person = relations.person;

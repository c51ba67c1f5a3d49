-- What is in a message or an entry of a ledger is summed up beside it, so that a row that the disk has changed is noticed
-- before anybody is told what it says. `row_checksum` is a function of ours: `checksum.rs`.

ALTER TABLE messages ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;

UPDATE messages SET checksum = row_checksum('messages', conversation, seq, id, agent, person, author, text, at);

DROP TRIGGER ledger_is_not_changed;

ALTER TABLE ledger ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;

UPDATE ledger SET checksum = row_checksum('ledger', person, position, amount, balance, reason, key, at);

CREATE TRIGGER ledger_is_not_changed BEFORE UPDATE ON ledger
BEGIN
    SELECT RAISE(ABORT, 'what is in a ledger is never changed');
END;

-- Where each ledger ends. It is far from the entries on purpose: an end that is lost there leaves a row here that says so.
CREATE TABLE ledger_ends (
    person TEXT NOT NULL PRIMARY KEY REFERENCES people (id),
    position INTEGER NOT NULL CHECK (position >= 1)
) STRICT, WITHOUT ROWID;

INSERT INTO ledger_ends (person, position) SELECT person, max(position) FROM ledger GROUP BY person;

CREATE TRIGGER ledger_ends_later AFTER INSERT ON ledger
BEGIN
    INSERT INTO ledger_ends (person, position) VALUES (NEW.person, NEW.position)
    ON CONFLICT (person) DO UPDATE SET position = excluded.position;
END;

-- What is on its way to other servers. Times are milliseconds since 1970.

-- One row while messages are followed.
CREATE TABLE webhook_following (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1)
) STRICT;

-- Up to which position a conversation is announced; 0 without a row.
CREATE TABLE webhook_announced (
    conversation BLOB NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Who was announced to have come, and not to have gone since.
CREATE TABLE webhook_present (
    person TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;

-- The last number of each endpoint and person. Who is '' is nobody, which no person's id can be.
CREATE TABLE webhook_numbers (
    endpoint TEXT NOT NULL,
    person TEXT NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (endpoint, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE webhook_disabled (
    endpoint TEXT NOT NULL PRIMARY KEY,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- An announcement lives as long as one of its deliveries.
CREATE TABLE webhook_announcements (
    id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    payload TEXT NOT NULL
) STRICT;

CREATE TABLE webhook_deliveries (
    -- Never used twice, so that an id that somebody noted names the same delivery for ever.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    announcement TEXT NOT NULL REFERENCES webhook_announcements (id),
    endpoint TEXT NOT NULL,
    person TEXT NOT NULL,
    number INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- NULL while an earlier one about the same person holds it, and when it is dead.
    due_at INTEGER,
    -- Whether later ones about the same person wait for it.
    holds INTEGER NOT NULL DEFAULT 1,
    -- NULL while it lives.
    died_at INTEGER,
    why TEXT
) STRICT;

CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX webhook_deliveries_holding ON webhook_deliveries (endpoint, person, id) WHERE died_at IS NULL AND holds = 1;
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (id) WHERE died_at IS NOT NULL;
CREATE INDEX webhook_deliveries_by_death ON webhook_deliveries (died_at) WHERE died_at IS NOT NULL;
CREATE INDEX webhook_deliveries_of_announcement ON webhook_deliveries (announcement);
CREATE INDEX webhook_announcements_by_age ON webhook_announcements (at);

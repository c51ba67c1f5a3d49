-- What Antiphon remembers. Times are milliseconds since 1970; months are year × 12 + (month − 1); ids that Antiphon makes are
-- the 16 bytes of a UUID.

CREATE TABLE plans (
    name TEXT NOT NULL PRIMARY KEY,
    -- NULL is unlimited, in all three.
    connections_per_minute INTEGER,
    messages_per_month INTEGER,
    agents INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE people (
    id TEXT NOT NULL PRIMARY KEY,
    plan TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    -- SHA-256 of the key. The key itself is nowhere.
    hash BLOB NOT NULL PRIMARY KEY,
    prefix TEXT NOT NULL,
    person TEXT NOT NULL REFERENCES people (id),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_keys_of_person ON api_keys (person);

CREATE TABLE usage (
    person TEXT NOT NULL,
    month INTEGER NOT NULL,
    messages INTEGER NOT NULL,
    PRIMARY KEY (person, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    id TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL REFERENCES people (id),
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    personality TEXT NOT NULL,
    purpose TEXT NOT NULL,
    tone TEXT NOT NULL,
    visibility TEXT NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX agents_of_owner ON agents (owner, created_at, id);

CREATE TABLE relations (
    agent TEXT NOT NULL,
    person TEXT NOT NULL,
    trust REAL NOT NULL,
    affinity REAL NOT NULL,
    respect REAL NOT NULL,
    love REAL NOT NULL,
    curiosity REAL NOT NULL,
    PRIMARY KEY (agent, person)
) STRICT, WITHOUT ROWID;

CREATE TABLE conversations (
    id BLOB NOT NULL PRIMARY KEY,
    -- Position of the latest message.
    last_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Kept in the order in which it is read: a page of history is one stretch of the table. Neither the agent nor the person is a
-- reference, because what was said outlives both.
CREATE TABLE messages (
    conversation BLOB NOT NULL REFERENCES conversations (id),
    seq INTEGER NOT NULL,
    id BLOB NOT NULL UNIQUE,
    agent TEXT NOT NULL,
    person TEXT NOT NULL,
    author TEXT NOT NULL CHECK (author IN ('person', 'agent')),
    text TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (conversation, seq)
) STRICT, WITHOUT ROWID;

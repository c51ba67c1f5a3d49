-- How people and backends say who they are, which credentials are dead, and what was asked before. Secrets are SHA-256 hashes;
-- lists of texts are JSON.

ALTER TABLE people ADD COLUMN roles TEXT NOT NULL DEFAULT '[]';

-- Keys get a public name, may speak for backends, and can end. Those from before are named after their hash, as keys that are
-- imported without a name are.
CREATE TABLE api_keys_2 (
    hash BLOB NOT NULL PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    -- Whom it speaks for: a person, a service, or, with neither, the operator.
    person TEXT REFERENCES people (id),
    service TEXT,
    -- NULL is all of them.
    dialects TEXT,
    plan TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    CHECK (person IS NULL OR service IS NULL)
) STRICT, WITHOUT ROWID;

INSERT INTO api_keys_2 (hash, id, person, created_at)
SELECT hash, 'key_' || lower(hex(substr(hash, 1, 8))), person, created_at FROM api_keys;

DROP TABLE api_keys;
ALTER TABLE api_keys_2 RENAME TO api_keys;
CREATE INDEX api_keys_of_person ON api_keys (person);

CREATE TABLE passwords (
    person TEXT NOT NULL PRIMARY KEY REFERENCES people (id),
    phc TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE wallets (
    -- In lower case.
    address TEXT NOT NULL PRIMARY KEY,
    person TEXT NOT NULL REFERENCES people (id)
) STRICT, WITHOUT ROWID;

CREATE INDEX wallets_of_person ON wallets (person);

CREATE TABLE nonces (
    hash BLOB NOT NULL PRIMARY KEY,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX nonces_by_end ON nonces (expires);

CREATE TABLE sessions (
    hash BLOB NOT NULL PRIMARY KEY,
    refresh BLOB NOT NULL UNIQUE,
    person TEXT NOT NULL REFERENCES people (id),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    refresh_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX sessions_of_person ON sessions (person);
CREATE INDEX sessions_by_end ON sessions (max(expires_at, refresh_until));

CREATE TABLE revocations (
    -- Never used again, also when the newest are forgotten.
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL CHECK (kind IN ('person', 'key', 'session', 'token')),
    -- Of a session, its hash in hexadecimal.
    name TEXT NOT NULL,
    -- Of a token; empty otherwise.
    issuer TEXT NOT NULL,
    at INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;

CREATE INDEX revocations_by_name ON revocations (kind, name, issuer, at);
CREATE INDEX revocations_by_end ON revocations (until);

CREATE TABLE requests (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    -- NULL until there is one.
    answer TEXT,
    begun_at INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT;

CREATE INDEX requests_by_age ON requests (begun_at);

-- Which message was stored under which key of its sender.
CREATE TABLE message_keys (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    conversation BLOB NOT NULL,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_keys_by_age ON message_keys (at);

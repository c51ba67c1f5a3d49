-- What this server does by itself at its time, and once.

CREATE TABLE jobs (
    -- A number is never used again, so that whatever was done under it is not taken for something else.
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    person TEXT NOT NULL REFERENCES people (id),
    kind TEXT NOT NULL,
    -- The person's own day.
    date TEXT NOT NULL,
    agent TEXT NOT NULL,
    text TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('claimed', 'waiting', 'done', 'skipped')),
    holder TEXT,
    -- From when on somebody else may claim it.
    free_at INTEGER,
    message BLOB,
    why TEXT,
    tries INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    changed_at INTEGER NOT NULL,
    UNIQUE (person, kind, date),
    CHECK ((status = 'claimed') = (holder IS NOT NULL)),
    CHECK ((status IN ('claimed', 'waiting')) = (free_at IS NOT NULL)),
    CHECK ((status = 'done') = (message IS NOT NULL)),
    CHECK ((status = 'skipped') = (why IS NOT NULL))
) STRICT;

CREATE INDEX jobs_by_age ON jobs (changed_at);

-- What agents are to do, and how they are while they do it.

CREATE TABLE tasks (
    -- Tasks are never removed, so a place is never used again.
    position INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    title TEXT NOT NULL,
    description TEXT NOT NULL,
    -- 0 is low, 3 is critical.
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 3),
    -- JSON that nobody here looks into, as are results.
    payload TEXT NOT NULL,
    needs TEXT,
    status TEXT NOT NULL
        CHECK (status IN ('pending', 'assigned', 'running', 'completed', 'failed', 'cancelled')),
    agent TEXT,
    result TEXT,
    error TEXT,
    created_by TEXT NOT NULL,
    parent BLOB REFERENCES tasks (id),
    conversation BLOB,
    version INTEGER NOT NULL,
    reclaims INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    assigned_at INTEGER,
    claimed_at INTEGER,
    started_at INTEGER,
    ended_at INTEGER,
    -- Who waits has nobody, who is under way has somebody.
    CHECK (status <> 'pending' OR agent IS NULL),
    CHECK (status NOT IN ('assigned', 'running') OR agent IS NOT NULL)
) STRICT;

-- In the order in which they are claimed.
CREATE INDEX tasks_waiting ON tasks (priority DESC, position) WHERE status = 'pending';
CREATE INDEX tasks_held ON tasks (agent) WHERE status IN ('assigned', 'running');
CREATE INDEX tasks_of_agent ON tasks (agent, position) WHERE agent IS NOT NULL;
CREATE INDEX tasks_by_status ON tasks (status, position);
CREATE INDEX tasks_of_parent ON tasks (parent) WHERE parent IS NOT NULL;

-- Agents of which more is known than that they exist.
CREATE TABLE workers (
    agent TEXT NOT NULL PRIMARY KEY REFERENCES agents (id) ON DELETE CASCADE,
    status TEXT NOT NULL,
    previous TEXT,
    rank TEXT NOT NULL,
    -- A list of texts, as JSON.
    capabilities TEXT NOT NULL,
    version TEXT NOT NULL,
    parent TEXT,
    -- JSON that nobody here looks into.
    metadata TEXT NOT NULL,
    -- The last sign of life; NULL when there never was one.
    heard_at INTEGER,
    changed_at INTEGER
) STRICT, WITHOUT ROWID;

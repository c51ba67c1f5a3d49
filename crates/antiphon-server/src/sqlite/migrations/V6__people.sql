-- What people say about themselves, how agents introduce themselves, and who belongs together with whom.

-- JSON; NULL where nobody has written it down.
ALTER TABLE agents ADD COLUMN persona TEXT;

CREATE INDEX public_agents ON agents (id) WHERE visibility = 'public';

CREATE TABLE profiles (
    person TEXT NOT NULL PRIMARY KEY REFERENCES people (id),
    name TEXT,
    email TEXT,
    time_zone TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE bonds (
    person TEXT NOT NULL REFERENCES people (id),
    -- A bond goes with its agent; what was said stays.
    agent TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    -- Where the two talk, which their names say: here so that a statement need not know how.
    conversation BLOB NOT NULL,
    since INTEGER NOT NULL,
    PRIMARY KEY (person, agent)
) STRICT, WITHOUT ROWID;

CREATE INDEX bonds_of_agent ON bonds (agent);

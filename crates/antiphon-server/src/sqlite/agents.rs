//! Which statements agents and their relations need.

use antiphon_core::agents::{Agent, AgentChange, Persona, Relation};
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::ports::Agents;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::types::Type;
use rusqlite::{Connection, Error, OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{agent_id, person_id};

#[async_trait]
impl Agents for SqliteStore {
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault> {
        let agent = agent.clone();
        self.write("storing an agent", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO agents (id, owner, name, kind, personality, purpose, tone, visibility, created_at, persona)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
                 ON CONFLICT (id) DO UPDATE SET
                     owner = excluded.owner, name = excluded.name, kind = excluded.kind,
                     personality = excluded.personality, purpose = excluded.purpose, tone = excluded.tone,
                     visibility = excluded.visibility, created_at = excluded.created_at,
                     persona = excluded.persona",
            )?;
            let columns = params![
                agent.id.as_str(),
                agent.owner.as_str(),
                agent.name,
                agent.kind,
                agent.personality,
                agent.purpose,
                agent.tone,
                agent.visibility,
                agent.created_at.0,
                agent.persona.as_deref().map(from_persona).transpose()?,
            ];
            statement.execute(columns).map(drop)
        })
        .await
    }

    async fn agent(&self, id: &AgentId) -> Result<Option<Agent>, Fault> {
        let id = id.clone();
        self.read("reading an agent", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, owner, name, kind, personality, purpose, tone, visibility, created_at, persona
                 FROM agents WHERE id = ?1",
            )?;
            statement.query_row([id.as_str()], agent).optional()
        })
        .await
    }

    async fn agents_of(&self, owner: &PersonId) -> Result<Vec<Agent>, Fault> {
        let owner = owner.clone();
        self.read("reading a person's agents", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, owner, name, kind, personality, purpose, tone, visibility, created_at, persona
                 FROM agents WHERE owner = ?1 ORDER BY created_at, id",
            )?;
            statement.query_map([owner.as_str()], agent)?.collect()
        })
        .await
    }

    async fn personas(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Agent>, Fault> {
        // No id is empty, so all of them come after the empty text.
        let after = after.map_or_else(String::new, AgentId::to_string);
        self.read("listing public agents", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, owner, name, kind, personality, purpose, tone, visibility, created_at, persona
                 FROM agents WHERE visibility = 'public' AND id > ?1 ORDER BY id LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], agent)?.collect()
        })
        .await
    }

    async fn change_agent(&self, id: &AgentId, change: &AgentChange) -> Result<Option<Agent>, Fault> {
        let (id, change) = (id.clone(), change.clone());
        self.write("changing an agent", move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE agents SET
                     name = coalesce(?2, name), personality = coalesce(?3, personality),
                     purpose = coalesce(?4, purpose), tone = coalesce(?5, tone),
                     visibility = coalesce(?6, visibility)
                 WHERE id = ?1
                 RETURNING id, owner, name, kind, personality, purpose, tone, visibility, created_at, persona",
            )?;
            let AgentChange { name, personality, purpose, tone, visibility } = change;
            let columns = params![id.as_str(), name, personality, purpose, tone, visibility];
            statement.query_row(columns, agent).optional()
        })
        .await
    }

    async fn delete_agent(&self, id: &AgentId) -> Result<bool, Fault> {
        let id = id.clone();
        self.write("deleting an agent", move |connection| {
            let mut statement = connection.prepare_cached("DELETE FROM agents WHERE id = ?1")?;
            Ok(statement.execute([id.as_str()])? > 0)
        })
        .await
    }

    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault> {
        let (agent, person) = (agent.clone(), person.clone());
        self.read("reading a relation", move |connection| relation(connection, &agent, &person)).await
    }
}

/// How `agent` feels about `person`; the default when they have never met.
pub(super) fn relation(
    connection: &Connection,
    agent: &AgentId,
    person: &PersonId,
) -> rusqlite::Result<Relation> {
    let mut statement = connection.prepare_cached(
        "SELECT trust, affinity, respect, love, curiosity, meetings
         FROM relations WHERE agent = ?1 AND person = ?2",
    )?;
    let relation = statement.query_row([agent.as_str(), person.as_str()], |row| {
        Ok(Relation {
            trust: row.get(0)?,
            affinity: row.get(1)?,
            respect: row.get(2)?,
            love: row.get(3)?,
            curiosity: row.get(4)?,
            meetings: row.get(5)?,
        })
    });
    Ok(relation.optional()?.unwrap_or_default())
}

/// `agent` feels so about `person` from here on.
pub(super) fn put_relation(
    connection: &Connection,
    agent: &AgentId,
    person: &PersonId,
    relation: &Relation,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO relations (agent, person, trust, affinity, respect, love, curiosity, meetings)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (agent, person) DO UPDATE SET
             trust = excluded.trust, affinity = excluded.affinity, respect = excluded.respect,
             love = excluded.love, curiosity = excluded.curiosity, meetings = excluded.meetings",
    )?;
    let Relation { trust, affinity, respect, love, curiosity, meetings } = relation;
    statement
        .execute(params![
            agent.as_str(),
            person.as_str(),
            trust,
            affinity,
            respect,
            love,
            curiosity,
            meetings
        ])
        .map(drop)
}

fn agent(row: &Row<'_>) -> rusqlite::Result<Agent> {
    Ok(Agent {
        id: agent_id(row, 0)?,
        owner: person_id(row, 1)?,
        name: row.get(2)?,
        kind: row.get(3)?,
        personality: row.get(4)?,
        purpose: row.get(5)?,
        tone: row.get(6)?,
        visibility: row.get(7)?,
        created_at: Timestamp(row.get(8)?),
        persona: persona(row, 9)?,
    })
}

fn persona(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Box<Persona>>> {
    let Some(text) = row.get_ref(column)?.as_str_or_null()? else { return Ok(None) };
    let persona = serde_json::from_str(text)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, error.into()))?;
    Ok(Some(persona))
}

fn from_persona(persona: &Persona) -> rusqlite::Result<String> {
    serde_json::to_string(persona).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

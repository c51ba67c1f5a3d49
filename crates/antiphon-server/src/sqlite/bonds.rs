//! Which statements bonds need, and how things are between the two.

use antiphon_core::ids::{AgentId, ConversationId, PersonId, Timestamp};
use antiphon_core::people::{Bond, Bonded};
use antiphon_core::ports::Bonds;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

use super::SqliteStore;
use super::agents::relation;
use super::conversations::last;
use super::rows::{agent_id, person_id};

#[async_trait]
impl Bonds for SqliteStore {
    async fn put_bond(&self, bond: &Bond) -> Result<bool, Fault> {
        let Bond { agent, person, since } = bond.clone();
        self.write("storing a bond", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO bonds (person, agent, conversation, since) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (person, agent) DO NOTHING",
            )?;
            let conversation = ConversationId::direct(&agent, &person);
            let columns = params![person.as_str(), agent.as_str(), conversation.0.as_bytes(), since.0];
            Ok(statement.execute(columns)? > 0)
        })
        .await
    }

    async fn bond(&self, person: &PersonId, agent: &AgentId) -> Result<Option<Bond>, Fault> {
        let (person, agent) = (person.clone(), agent.clone());
        self.read("reading a bond", move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT person, agent, since FROM bonds WHERE person = ?1 AND agent = ?2")?;
            statement.query_row([person.as_str(), agent.as_str()], bond_in).optional()
        })
        .await
    }

    async fn bonds_of(&self, person: &PersonId) -> Result<Vec<Bonded>, Fault> {
        let person = person.clone();
        self.read("reading a person's bonds", move |connection| {
            let which = format!(
                "SELECT person, agent, since, {ACTIVE_AT} FROM bonds WHERE person = ?1 ORDER BY since, agent"
            );
            bonded(connection, &which, [person.as_str()])
        })
        .await
    }

    async fn active_bonds(
        &self,
        since: Timestamp,
        after: Option<(PersonId, AgentId)>,
        limit: u32,
    ) -> Result<Vec<Bonded>, Fault> {
        self.read("listing bonds of people who are active", move |connection| {
            let which = format!(
                "SELECT * FROM (
                     SELECT person, agent, since, {ACTIVE_AT} AS active_at FROM bonds WHERE (person, agent) > (?1, ?2)
                 ) WHERE active_at >= ?3 ORDER BY person, agent LIMIT ?4"
            );
            // No id is empty, so all of them come after the empty texts.
            let (person, agent) =
                after.as_ref().map_or(("", ""), |(person, agent)| (person.as_str(), agent.as_str()));
            bonded(connection, &which, params![person, agent, since.0, limit])
        })
        .await
    }
}

/// When the person of a row of `bonds` last said something. The end of a conversation is where its messages are read from, and
/// a person's own is hardly ever far from it.
const ACTIVE_AT: &str = "(SELECT messages.at FROM messages
     WHERE messages.conversation = bonds.conversation AND author = 'person' ORDER BY seq DESC LIMIT 1)";

fn bonded(connection: &Connection, which: &str, with: impl Params) -> rusqlite::Result<Vec<Bonded>> {
    let mut statement = connection.prepare_cached(which)?;
    let bonds = statement.query_map(with, |row| Ok((bond_in(row)?, row.get::<_, Option<i64>>(3)?)))?;
    bonds
        .map(|found| {
            let (bond, active_at) = found?;
            Ok(Bonded {
                relation: relation(connection, &bond.agent, &bond.person)?,
                last: last(connection, ConversationId::direct(&bond.agent, &bond.person))?,
                active_at: active_at.map(Timestamp),
                bond,
            })
        })
        .collect()
}

fn bond_in(row: &Row<'_>) -> rusqlite::Result<Bond> {
    Ok(Bond { person: person_id(row, 0)?, agent: agent_id(row, 1)?, since: Timestamp(row.get(2)?) })
}

//! Which statements people, their keys, their plans and their usage need.

use antiphon_core::actor::{ApiKey, KeyHash, Person, Plan};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::People;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{count, counted, person_id};

#[async_trait]
impl People for SqliteStore {
    async fn put_person(&self, person: &Person) -> Result<(), Fault> {
        let Person { id, plan, created_at } = person.clone();
        self.write("storing a person", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO people (id, plan, created_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (id) DO UPDATE SET plan = excluded.plan, created_at = excluded.created_at",
            )?;
            statement.execute(params![id.as_str(), plan, created_at.0]).map(drop)
        })
        .await
    }

    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault> {
        let id = id.clone();
        self.read("reading a person", move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT id, plan, created_at FROM people WHERE id = ?1")?;
            statement.query_row([id.as_str()], person).optional()
        })
        .await
    }

    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault> {
        let Plan { name, connections_per_minute, messages_per_month, agents } = plan.clone();
        self.write("storing a plan", move |connection| {
            let messages_per_month = messages_per_month.map(counted).transpose()?;
            let mut statement = connection.prepare_cached(
                "INSERT INTO plans (name, connections_per_minute, messages_per_month, agents) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (name) DO UPDATE SET
                     connections_per_minute = excluded.connections_per_minute,
                     messages_per_month = excluded.messages_per_month,
                     agents = excluded.agents",
            )?;
            statement.execute(params![name, connections_per_minute, messages_per_month, agents]).map(drop)
        })
        .await
    }

    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault> {
        let name = name.to_owned();
        self.read("reading a plan", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT name, connections_per_minute, messages_per_month, agents FROM plans WHERE name = ?1",
            )?;
            statement.query_row([name], plan).optional()
        })
        .await
    }

    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault> {
        let ApiKey { hash, prefix, person, created_at } = key.clone();
        self.write("storing an API key", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO api_keys (hash, prefix, person, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (hash) DO UPDATE SET
                     prefix = excluded.prefix, person = excluded.person, created_at = excluded.created_at",
            )?;
            statement.execute(params![hash.0, prefix, person.as_str(), created_at.0]).map(drop)
        })
        .await
    }

    async fn person_by_key(&self, hash: &KeyHash) -> Result<Option<Person>, Fault> {
        let hash = *hash;
        self.read("reading whose an API key is", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT people.id, people.plan, people.created_at
                 FROM api_keys JOIN people ON people.id = api_keys.person
                 WHERE api_keys.hash = ?1",
            )?;
            statement.query_row([hash.0], person).optional()
        })
        .await
    }

    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault> {
        let person = person.clone();
        self.read("reading what a person has used", move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT messages FROM usage WHERE person = ?1 AND month = ?2")?;
            let sent =
                statement.query_row(params![person.as_str(), month], |row| count(row, 0)).optional()?;
            Ok(sent.unwrap_or(0))
        })
        .await
    }
}

fn person(row: &Row<'_>) -> rusqlite::Result<Person> {
    Ok(Person { id: person_id(row, 0)?, plan: row.get(1)?, created_at: Timestamp(row.get(2)?) })
}

fn plan(row: &Row<'_>) -> rusqlite::Result<Plan> {
    Ok(Plan {
        name: row.get(0)?,
        connections_per_minute: row.get(1)?,
        messages_per_month: row.get::<_, Option<i64>>(2)?.map(|_| count(row, 2)).transpose()?,
        agents: row.get(3)?,
    })
}

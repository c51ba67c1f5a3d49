//! Which statements people, their plans and their usage need.

use antiphon_core::actor::{Person, Plan};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::People;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{count, counted, from_texts, person_id, texts};

#[async_trait]
impl People for SqliteStore {
    async fn put_person(&self, person: &Person) -> Result<(), Fault> {
        let Person { id, plan, roles, created_at } = person.clone();
        self.write("storing a person", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO people (id, plan, roles, created_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (id) DO UPDATE SET
                     plan = excluded.plan, roles = excluded.roles, created_at = excluded.created_at",
            )?;
            statement.execute(params![id.as_str(), plan, from_texts(&roles)?, created_at.0]).map(drop)
        })
        .await
    }

    async fn add_person(&self, person: &Person) -> Result<bool, Fault> {
        let Person { id, plan, roles, created_at } = person.clone();
        self.write("adding a person", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO people (id, plan, roles, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
            )?;
            Ok(statement.execute(params![id.as_str(), plan, from_texts(&roles)?, created_at.0])? > 0)
        })
        .await
    }

    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault> {
        let id = id.clone();
        self.read("reading a person", move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT id, plan, roles, created_at FROM people WHERE id = ?1")?;
            statement.query_row([id.as_str()], person).optional()
        })
        .await
    }

    async fn people(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<Person>, Fault> {
        // No id is empty, so all of them come after the empty text.
        let after = after.map_or_else(String::new, PersonId::to_string);
        self.read("listing people", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT id, plan, roles, created_at FROM people WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], person)?.collect()
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
    Ok(Person {
        id: person_id(row, 0)?,
        plan: row.get(1)?,
        roles: texts(row, 2)?,
        created_at: Timestamp(row.get(3)?),
    })
}

fn plan(row: &Row<'_>) -> rusqlite::Result<Plan> {
    Ok(Plan {
        name: row.get(0)?,
        connections_per_minute: row.get(1)?,
        messages_per_month: row.get::<_, Option<i64>>(2)?.map(|_| count(row, 2)).transpose()?,
        agents: row.get(3)?,
    })
}

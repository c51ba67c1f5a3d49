//! People, keys, plans and agents from a file of JSON lines, for operators.

use std::io::BufRead;

use antiphon_core::actor::{Holder, Person, Plan};
use antiphon_core::agents::Agent;
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::ports::Store;
use anyhow::Context as _;
use serde::Deserialize;

use crate::auth::{keys, placeholders};

/// One line.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Line {
    #[serde(rename_all = "camelCase")]
    Plan {
        name: String,
        connections_per_minute: Option<u32>,
        messages_per_month: Option<u64>,
        agents: Option<u32>,
    },
    Person {
        id: String,
        plan: String,
    },
    Key {
        person: String,
        key: String,
    },
    Agent {
        id: String,
        owner: String,
        name: String,
        #[serde(default)]
        role: String,
        #[serde(default)]
        personality: String,
        #[serde(default)]
        purpose: String,
        #[serde(default)]
        tone: String,
        visibility: Option<String>,
    },
}

/// Stores every line of `input`, in order, and returns how many there were. Stops at the first that is wrong and names it;
/// the lines before it are stored, and importing the corrected file again is harmless.
pub async fn run(store: &dyn Store, input: impl BufRead, now: Timestamp) -> anyhow::Result<usize> {
    let mut count = 0;
    for (number, line) in (1..).zip(input.lines()) {
        let line = line.with_context(|| format!("line {number}"))?;
        if line.trim().is_empty() {
            continue;
        }
        let line = serde_json::from_str(&line).with_context(|| format!("line {number}"))?;
        put(store, line, now).await.with_context(|| format!("line {number}"))?;
        count += 1;
    }
    Ok(count)
}

async fn put(store: &dyn Store, line: Line, now: Timestamp) -> anyhow::Result<()> {
    match line {
        Line::Plan { name, connections_per_minute, messages_per_month, agents } => {
            store.put_plan(&Plan { name, connections_per_minute, messages_per_month, agents }).await?;
        }
        Line::Person { id, plan } => {
            anyhow::ensure!(store.plan(&plan).await?.is_some(), "there is no plan {plan:?}");
            let id = PersonId::parse(&id)?;
            store.put_person(&Person { id, plan, roles: Vec::new(), created_at: now }).await?;
        }
        Line::Key { person, key } => {
            anyhow::ensure!(!key.is_empty(), "a key must not be empty");
            anyhow::ensure!(
                !placeholders::PLACEHOLDERS.contains(&&*key),
                "{key:?} is a placeholder of the documents"
            );
            let person = PersonId::parse(&person)?;
            anyhow::ensure!(store.person(&person).await?.is_some(), "there is no person {person}");
            store.put_key(&keys::record(&key, Holder::Person(person), now)).await?;
        }
        Line::Agent { id, owner, name, role, personality, purpose, tone, visibility } => {
            let owner = PersonId::parse(&owner)?;
            anyhow::ensure!(store.person(&owner).await?.is_some(), "there is no person {owner}");
            let agent = Agent {
                id: AgentId::parse(&id)?,
                owner,
                name,
                kind: if role.is_empty() { "assistant".into() } else { role },
                personality,
                purpose,
                tone,
                visibility: visibility.unwrap_or_else(|| "private".into()),
                persona: None,
                created_at: now,
            };
            store.put_agent(&agent).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use antiphon_core::memory::MemoryStore;

    use super::*;

    async fn import(text: &str) -> anyhow::Result<usize> {
        run(&MemoryStore::new(), text.as_bytes(), Timestamp(0)).await
    }

    #[tokio::test]
    async fn a_file_brings_plans_people_keys_and_agents() {
        let store = MemoryStore::new();
        let text = r#"{"kind":"plan","name":"bench","agents":3}
{"kind":"person","id":"u1","plan":"bench"}

{"kind":"key","person":"u1","key":"k1"}
{"kind":"agent","id":"a1","owner":"u1","name":"A"}"#;
        assert_eq!(run(&store, text.as_bytes(), Timestamp(0)).await.unwrap(), 4);
        let store: &dyn Store = &store;
        let person = PersonId::parse("u1").unwrap();
        let key = store.key(&keys::hash("k1")).await.unwrap().unwrap();
        assert_eq!(key.holder, Holder::Person(person.clone()));
        assert_eq!(store.person(&person).await.unwrap().unwrap().plan, "bench");
        assert_eq!(store.agents_of(&person).await.unwrap()[0].name, "A");
    }

    #[tokio::test]
    async fn a_wrong_line_is_named() {
        for (text, expected) in [
            ("{\"kind\":\"plan\",\"name\":\"x\"}\n{", "line 2"),
            (r#"{"kind":"person","id":"u","plan":"none"}"#, "no plan"),
            (r#"{"kind":"key","person":"u","key":"k"}"#, "no person"),
            (r#"{"kind":"key","person":"u","key":"your-api-key"}"#, "placeholder"),
            (r#"{"kind":"plan","name":"x","agent":3}"#, "unknown field"),
        ] {
            let error = format!("{:#}", import(text).await.unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}

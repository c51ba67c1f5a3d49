//! What exists before anybody comes: the documented plans, and in demo mode what the documents' snippets name.

use antiphon_core::actor::{Holder, Person, Plan};
use antiphon_core::agents::Agent;
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::ports::Store;
use anyhow::Context as _;

use crate::auth::{keys, placeholders};
use crate::config;

/// Creates the documented plans that do not exist yet, and those of the configuration.
pub(crate) async fn plans(store: &dyn Store, config: &config::Config) -> anyhow::Result<()> {
    let documented = [
        ("free", Some(10), Some(100), Some(2)),
        ("pro", Some(100), Some(5_000), Some(20)),
        ("enterprise", Some(1_000), None, None),
    ];
    for (name, connections_per_minute, messages_per_month, agents) in documented {
        if store.plan(name).await?.is_none() {
            let name = name.to_owned();
            store.put_plan(&Plan { name, connections_per_minute, messages_per_month, agents }).await?;
        }
    }
    for (name, plan) in &config.plans {
        let plan = Plan {
            name: name.clone(),
            connections_per_minute: plan.connections_per_minute,
            messages_per_month: plan.messages_per_month,
            agents: plan.agents,
        };
        store.put_plan(&plan).await?;
    }
    Ok(())
}

/// Refuses a store that knows a credential which everybody can read in the documents.
pub(crate) async fn refuse_placeholders(store: &dyn Store) -> anyhow::Result<()> {
    for key in placeholders::PLACEHOLDERS {
        let known = store.key(&keys::hash(key)).await?;
        anyhow::ensure!(
            known.is_none(),
            "the data directory accepts the documents' placeholder {key:?} as a key; it was used in demo mode. \
             Choose another directory under [server] data, or start with --demo"
        );
    }
    Ok(())
}

const PEOPLE: [(&str, &str, &str); 2] =
    [("user-123", "enterprise", "your-api-key"), ("user-456", "pro", "your-api-key-456")];

/// A backend: its name and its key.
const SERVICE: (&str, &str) = ("demo", "your-service-key");

/// Id, owner, name, kind, personality, tone.
const AGENTS: [[&str; 6]; 5] = [
    ["agent-123", "user-123", "Eliza", "companion", "attentive and calm", "kind"],
    ["luna", "user-123", "Luna", "companion", "sweet and caring", "warm"],
    ["aiko", "user-123", "Aiko", "companion", "proud, and kinder than she says", "teasing"],
    ["mia", "user-123", "Mia", "companion", "playful and curious", "bright"],
    ["agent-456", "user-456", "Ada", "assistant", "precise and patient", "plain"],
];

/// Creates the people, keys and agents that the documents' snippets name.
pub(crate) async fn demo(store: &dyn Store, now: Timestamp) -> anyhow::Result<()> {
    for (id, plan, key) in PEOPLE {
        let id = PersonId::parse(id).context("a person of the demo")?;
        if store.person(&id).await?.is_none() {
            let (id, plan) = (id.clone(), plan.to_owned());
            store.put_person(&Person { id, plan, roles: Vec::new(), created_at: now }).await?;
        }
        store.put_key(&keys::record(key, Holder::Person(id), now)).await?;
    }
    let service = Holder::Service(SERVICE.0.to_owned());
    store.put_key(&keys::record(SERVICE.1, service, now)).await?;
    for [id, owner, name, kind, personality, tone] in AGENTS {
        let id = AgentId::parse(id).context("an agent of the demo")?;
        if store.agent(&id).await?.is_none() {
            let agent = Agent {
                id,
                owner: PersonId::parse(owner).context("the owner of an agent of the demo")?,
                name: name.to_owned(),
                kind: kind.to_owned(),
                personality: personality.to_owned(),
                purpose: "to show what this server does".to_owned(),
                tone: tone.to_owned(),
                visibility: "private".to_owned(),
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
    use antiphon_core::ports::{Agents as _, Keys as _, People as _};

    use super::*;

    #[tokio::test]
    async fn the_documented_plans_exist_and_a_configured_one_wins() {
        let store = MemoryStore::new();
        let mut config = config::Config::default();
        plans(&store, &config).await.unwrap();
        let free = store.plan("free").await.unwrap().unwrap();
        assert_eq!(
            (free.connections_per_minute, free.messages_per_month, free.agents),
            (Some(10), Some(100), Some(2))
        );
        assert_eq!(store.plan("enterprise").await.unwrap().unwrap().messages_per_month, None);
        config.plans.insert("free".into(), config::Plan { agents: Some(7), ..config::Plan::default() });
        plans(&store, &config).await.unwrap();
        assert_eq!(store.plan("free").await.unwrap().unwrap().agents, Some(7));
    }

    #[tokio::test]
    async fn the_demo_has_what_the_snippets_name_and_keeps_what_was_changed() {
        let store = MemoryStore::new();
        demo(&store, Timestamp(1)).await.unwrap();
        let key = store.key(&keys::hash("your-api-key")).await.unwrap().unwrap();
        let person = PersonId::parse("user-123").unwrap();
        assert_eq!(key.holder, Holder::Person(person.clone()));
        let service = store.key(&keys::hash("your-service-key")).await.unwrap().unwrap();
        assert_eq!(service.holder, Holder::Service("demo".into()));
        let id = AgentId::parse("agent-123").unwrap();
        let mut agent = store.agent(&id).await.unwrap().unwrap();
        assert_eq!(agent.owner, person);
        agent.name = "Renamed".into();
        store.put_agent(&agent).await.unwrap();
        demo(&store, Timestamp(2)).await.unwrap();
        assert_eq!(store.agent(&id).await.unwrap(), Some(agent));
    }

    #[tokio::test]
    async fn a_store_that_was_used_by_the_demo_is_refused_outside_it() {
        let store = MemoryStore::new();
        refuse_placeholders(&store).await.unwrap();
        demo(&store, Timestamp(1)).await.unwrap();
        let error = refuse_placeholders(&store).await.unwrap_err().to_string();
        assert!(error.contains("your-api-key") && error.contains("--demo"), "{error}");
    }
}

//! What exists before anybody comes: the documented plans, and in demo mode what the documents' snippets name.

mod demo;

use antiphon_core::actor::Plan;
use antiphon_core::ports::Store;

use crate::auth::{keys, placeholders};
use crate::config;

pub(crate) use demo::demo;

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
    if let Some(person) = store.person_by_wallet(placeholders::WALLET).await? {
        // Whoever had it linked to somebody of their own has not been in the demo.
        anyhow::ensure!(
            person.as_str() != demo::WALLET_OF,
            "the data directory knows the documents' placeholder {:?} as the wallet of {person}; it was used in demo mode. \
             Choose another directory under [server] data, or start with --demo",
            placeholders::WALLET
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use antiphon_core::actor::Person;
    use antiphon_core::ids::{PersonId, Timestamp};
    use antiphon_core::memory::MemoryStore;
    use antiphon_core::ports::{Keys as _, Logins as _, People as _};

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
    async fn a_store_that_was_used_by_the_demo_is_refused_outside_it() {
        let store = MemoryStore::new();
        refuse_placeholders(&store).await.unwrap();
        demo(&store, 50, Timestamp(1)).await.unwrap();
        let error = refuse_placeholders(&store).await.unwrap_err().to_string();
        assert!(error.contains("your-api-key") && error.contains("--demo"), "{error}");
    }

    #[tokio::test]
    async fn each_placeholder_alone_is_refused_outside_the_demo() {
        let person = |id: &str| Person {
            id: PersonId::parse(id).unwrap(),
            plan: "free".into(),
            roles: Vec::new(),
            created_at: Timestamp(0),
        };
        for key in placeholders::PLACEHOLDERS {
            let store = MemoryStore::new();
            let holder = antiphon_core::actor::Holder::Service("shop".into());
            store.put_key(&keys::record(key, holder, Timestamp(0))).await.unwrap();
            let error = refuse_placeholders(&store).await.unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
        }
        let store = MemoryStore::new();
        for id in ["ada", demo::WALLET_OF] {
            store.put_person(&person(id)).await.unwrap();
        }
        store.link_wallet(placeholders::WALLET, &person("ada").id).await.unwrap();
        refuse_placeholders(&store).await.expect("anybody may have linked it to somebody of their own");
        store.link_wallet(placeholders::WALLET, &person(demo::WALLET_OF).id).await.unwrap();
        let error = refuse_placeholders(&store).await.unwrap_err().to_string();
        assert!(error.contains(placeholders::WALLET), "{error}");
    }
}

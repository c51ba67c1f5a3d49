//! Does a store remember agents, whose they are, and how they feel?
//!
//! Feelings only move with a message, so [`conversations`](super::conversations) asks about that.

use std::sync::Arc;

use super::{awkward_ids, awkward_texts, person};
use crate::agents::{Agent, AgentChange, Relation};
use crate::ids::{AgentId, PersonId, Timestamp};
use crate::ports::Store;

/// Everything about [`Agents`](crate::ports::Agents) that needs no message.
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    an_agent_is_found_as_it_was_put(&*open().await).await;
    an_agent_of_nobody_is_a_fault(&*open().await).await;
    an_agent_put_again_is_replaced(&*open().await).await;
    agents_are_listed_oldest_first_then_by_id(&*open().await).await;
    a_change_touches_only_what_it_names(&*open().await).await;
    a_deleted_agent_is_gone(&*open().await).await;
    strangers_meet_with_the_default_feelings(&*open().await).await;
}

async fn an_agent_is_found_as_it_was_put(store: &dyn Store) {
    let owners = awkward_ids();
    for owner in &owners {
        store.put_person(&person(owner)).await.unwrap();
    }
    let agents: Vec<Agent> = awkward_ids()
        .iter()
        .zip(awkward_texts().iter().cycle())
        .zip(owners.iter().rev())
        .map(|((id, text), owner)| Agent {
            name: text.clone(),
            kind: format!("kind {text}"),
            personality: format!("personality {text}"),
            purpose: format!("purpose {text}"),
            tone: format!("tone {text}"),
            visibility: format!("visibility {text}"),
            ..agent(id, owner, 1)
        })
        .collect();
    for agent in &agents {
        assert_eq!(store.agent(&agent.id).await.unwrap(), None, "{:?} was never put", agent.id);
        store.put_agent(agent).await.unwrap();
    }
    for agent in &agents {
        assert_eq!(store.agent(&agent.id).await.unwrap().as_ref(), Some(agent));
        assert_eq!(store.agents_of(&agent.owner).await.unwrap(), std::slice::from_ref(agent));
    }
}

async fn an_agent_of_nobody_is_a_fault(store: &dyn Store) {
    let stray = agent("luna", "nobody", 1);
    assert!(store.put_agent(&stray).await.is_err());
    assert_eq!(store.agent(&stray.id).await.unwrap(), None);
    assert_eq!(store.agents_of(&stray.owner).await.unwrap(), []);
}

async fn an_agent_put_again_is_replaced(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    store.put_person(&person("bob")).await.unwrap();
    store.put_agent(&agent("luna", "ada", 1)).await.unwrap();

    let given = Agent { name: "Luna II".into(), ..agent("luna", "bob", 2) };
    store.put_agent(&given).await.unwrap();
    assert_eq!(store.agent(&given.id).await.unwrap().as_ref(), Some(&given));
    assert_eq!(store.agents_of(&person("ada").id).await.unwrap(), []);
    assert_eq!(store.agents_of(&given.owner).await.unwrap(), std::slice::from_ref(&given));

    assert!(store.put_agent(&agent("luna", "nobody", 3)).await.is_err());
    assert_eq!(store.agent(&given.id).await.unwrap(), Some(given), "a refused replacement changes nothing");
}

async fn agents_are_listed_oldest_first_then_by_id(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    store.put_person(&person("bob")).await.unwrap();
    let sorted = [
        agent("z", "ada", -5),
        agent("y", "ada", 10),
        agent("B", "ada", 20),
        agent("a", "ada", 20),
        agent("b", "ada", 20),
        agent("é", "ada", 20),
        agent("x", "ada", 30),
    ];
    for which in [3, 0, 6, 2, 5, 1, 4] {
        store.put_agent(&sorted[which]).await.unwrap();
    }
    store.put_agent(&agent("of bob", "bob", 20)).await.unwrap();
    assert_eq!(store.agents_of(&person("ada").id).await.unwrap(), sorted);
    assert_eq!(store.agents_of(&person("eve").id).await.unwrap(), []);
}

async fn a_change_touches_only_what_it_names(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let (mut luna, other) = (agent("luna", "ada", 1), agent("other", "ada", 2));
    store.put_agent(&luna).await.unwrap();
    store.put_agent(&other).await.unwrap();

    for text in awkward_texts() {
        let texts = |field: &str| Some(format!("{field} {text}"));
        let changes = [
            AgentChange::default(),
            AgentChange { name: texts("name"), ..AgentChange::default() },
            AgentChange { personality: texts("personality"), ..AgentChange::default() },
            AgentChange { purpose: texts("purpose"), tone: texts("tone"), ..AgentChange::default() },
            AgentChange {
                visibility: texts("visibility"),
                name: Some(text.clone()),
                ..AgentChange::default()
            },
        ];
        for change in changes {
            let AgentChange { name, personality, purpose, tone, visibility } = change.clone();
            luna = Agent {
                name: name.unwrap_or(luna.name),
                personality: personality.unwrap_or(luna.personality),
                purpose: purpose.unwrap_or(luna.purpose),
                tone: tone.unwrap_or(luna.tone),
                visibility: visibility.unwrap_or(luna.visibility),
                ..luna
            };
            let changed = store.change_agent(&luna.id, &change).await.unwrap();
            assert_eq!(changed.as_ref(), Some(&luna), "the change answers with the agent as it is now");
            assert_eq!(store.agent(&luna.id).await.unwrap().as_ref(), Some(&luna));
        }
    }
    assert_eq!(store.agent(&other.id).await.unwrap(), Some(other));

    let rename = AgentChange { name: Some("Nobody".into()), ..AgentChange::default() };
    assert_eq!(store.change_agent(&agent_id("nobody"), &rename).await.unwrap(), None);
    assert_eq!(store.agent(&agent_id("nobody")).await.unwrap(), None, "a change makes no agent");
}

async fn a_deleted_agent_is_gone(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let (luna, other) = (agent("luna", "ada", 1), agent("other", "ada", 2));
    store.put_agent(&luna).await.unwrap();
    store.put_agent(&other).await.unwrap();

    assert!(store.delete_agent(&luna.id).await.unwrap());
    assert_eq!(store.agent(&luna.id).await.unwrap(), None);
    assert_eq!(store.agents_of(&luna.owner).await.unwrap(), [other]);
    assert!(!store.delete_agent(&luna.id).await.unwrap(), "there was none any more");
    assert!(!store.delete_agent(&agent_id("nobody")).await.unwrap());

    store.put_agent(&luna).await.unwrap();
    assert_eq!(store.agent(&luna.id).await.unwrap(), Some(luna), "the id may be used again");
}

async fn strangers_meet_with_the_default_feelings(store: &dyn Store) {
    let ada = person("ada");
    assert_eq!(store.relation(&agent_id("luna"), &ada.id).await.unwrap(), Relation::default());
    store.put_person(&ada).await.unwrap();
    store.put_agent(&agent("luna", "ada", 1)).await.unwrap();
    assert_eq!(store.relation(&agent_id("luna"), &ada.id).await.unwrap(), Relation::default());
}

pub(super) fn agent_id(id: &str) -> AgentId {
    AgentId::parse(id).expect("the suite only uses ids that are valid")
}

pub(super) fn agent(id: &str, owner: &str, at: i64) -> Agent {
    Agent {
        id: agent_id(id),
        owner: PersonId::parse(owner).expect("the suite only uses ids that are valid"),
        name: format!("Name of {id}"),
        kind: "companion".into(),
        personality: "curious".into(),
        purpose: "company".into(),
        tone: "warm".into(),
        visibility: "private".into(),
        created_at: Timestamp(at),
        persona: None,
    }
}

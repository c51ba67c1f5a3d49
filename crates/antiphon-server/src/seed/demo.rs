//! Who and what there is in the demo: the people, keys, agents and tasks that the documents' snippets name.
//!
//! What is there already stays as it is, so that a demo that is started again goes on where it was.

use antiphon_core::actor::{ApiKey, Holder, Person};
use antiphon_core::agents::{Agent, PUBLIC, Persona};
use antiphon_core::conversation::Party;
use antiphon_core::ids::{AgentId, ConversationId, MessageId, PersonId, TaskId, Timestamp};
use antiphon_core::people::{Bond, Profile};
use antiphon_core::ports::{NewMessage, Store};
use antiphon_core::tasks::{NewTask, Priority, Task, TaskStatus};
use antiphon_core::wallet::{NewEntry, Reason};
use antiphon_core::workers::{Duties, Rank};
use anyhow::Context as _;
use uuid::Uuid;

use crate::auth::{keys, placeholders};

/// Whose the documents' wallet is.
pub(super) const WALLET_OF: &str = "user-123";

/// A person: their id, plan and roles, their key, and the dialects that it opens if that is not all of them.
struct Resident {
    id: &'static str,
    plan: &'static str,
    roles: &'static [&'static str],
    key: &'static str,
    opens: Option<&'static [&'static str]>,
}

const PEOPLE: [Resident; 3] = [
    Resident { id: WALLET_OF, plan: "enterprise", roles: &[], key: "your-api-key", opens: None },
    Resident { id: "user-456", plan: "pro", roles: &[], key: "your-api-key-456", opens: None },
    Resident {
        id: OPERATOR,
        plan: "enterprise",
        roles: &["super_admin"],
        key: "your-jwt-token",
        opens: Some(&["mission"]),
    },
];

/// Who looks after agents at work. What everybody knows as a token is a key here: it does not expire.
const OPERATOR: &str = "demo-operator";

/// A backend: its name and its key.
const SERVICE: (&str, &str) = ("demo", "your-service-key");

/// Id, owner, name, kind, personality, tone.
const AGENTS: [[&str; 6]; 7] = [
    ["agent-123", "user-123", "Eliza", "companion", "attentive and calm", "kind"],
    ["luna", "user-123", "Luna", "companion", "sweet and caring", "warm"],
    ["aiko", "user-123", "Aiko", "companion", "proud, and kinder than she says", "teasing"],
    ["mia", "user-123", "Mia", "companion", "playful and curious", "bright"],
    ["agent-456", "user-456", "Ada", "assistant", "precise and patient", "plain"],
    ["123", OPERATOR, "Scout", "worker", "quick and thorough", "plain"],
    [NAMED_BY_UUID, OPERATOR, "Scribe", "worker", "slow and exact", "plain"],
];

/// What the documents name an agent, and a task as well.
const NAMED_BY_UUID: &str = "123e4567-e89b-12d3-a456-426614174000";

/// What everybody may know of an agent that they may talk to.
struct Described {
    id: &'static str,
    style: &'static str,
    description: &'static str,
    age: u32,
    birthday: &'static str,
    hobbies: &'static str,
    likes: &'static str,
    dislikes: &'static str,
    background: &'static str,
}

const PERSONAS: [Described; 3] = [
    Described {
        id: "luna",
        style: "sweet",
        description: "A gentle girl who listens first and worries a little too much.",
        age: 22,
        birthday: "March 14",
        hobbies: "baking, stargazing, letters on paper",
        likes: "rainy mornings, honest words, warm bread",
        dislikes: "shouting, cold coffee, goodbyes",
        background: "She runs a small bakery at the corner and remembers what everybody ordered the day they were sad.",
    },
    Described {
        id: "aiko",
        style: "tsundere",
        description: "Proud and quick with her tongue, and the first to be there when something is wrong.",
        age: 21,
        birthday: "November 3",
        hobbies: "fencing, rhythm games, crosswords",
        likes: "winning, black cats, being asked twice",
        dislikes: "being pitied, losing, early mornings",
        background: "She studies law because somebody told her that she could not.",
    },
    Described {
        id: "mia",
        style: "playful",
        description: "Never still, never serious for long, and hard to fool.",
        age: 23,
        birthday: "July 29",
        hobbies: "street photography, climbing, puns",
        likes: "dares, mangoes, people who laugh easily",
        dislikes: "queues, small talk, grey walls",
        background: "She has lived in seven cities and has a story from each, two of them true.",
    },
];

/// Creates the people, keys, agents and tasks that the documents' snippets name. `welcome` is how many tokens somebody new gets.
pub(crate) async fn demo(store: &dyn Store, welcome: u64, now: Timestamp) -> anyhow::Result<()> {
    people(store, now).await?;
    agents(store, now).await?;
    wallet(store, welcome, now).await?;
    work(store, now).await
}

async fn people(store: &dyn Store, now: Timestamp) -> anyhow::Result<()> {
    for Resident { id, plan, roles, key, opens } in PEOPLE {
        let id = person_id(id)?;
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        store.add_person(&Person { id: id.clone(), plan: plan.to_owned(), roles, created_at: now }).await?;
        let dialects = opens.map(|opens| opens.iter().map(|name| (*name).to_owned()).collect());
        store.put_key(&ApiKey { dialects, ..keys::record(key, Holder::Person(id), now) }).await?;
    }
    let service = Holder::Service(SERVICE.0.to_owned());
    Ok(store.put_key(&keys::record(SERVICE.1, service, now)).await?)
}

async fn agents(store: &dyn Store, now: Timestamp) -> anyhow::Result<()> {
    for [id, owner, name, kind, personality, tone] in AGENTS {
        let persona = PERSONAS.iter().find(|described| described.id == id).map(persona);
        let id = agent_id(id)?;
        let found = store.agent(&id).await?;
        // A demo of an earlier version knows the personas as private agents that nobody has described.
        if found.as_ref().is_some_and(|agent| persona.is_none() || agent.persona.is_some()) {
            continue;
        }
        let visibility = if persona.is_some() { PUBLIC } else { "private" };
        let new = Agent {
            id,
            owner: person_id(owner)?,
            name: name.to_owned(),
            kind: kind.to_owned(),
            personality: personality.to_owned(),
            purpose: "to show what this server does".to_owned(),
            tone: tone.to_owned(),
            visibility: visibility.to_owned(),
            persona: None,
            created_at: now,
        };
        let agent = found.unwrap_or(new);
        store.put_agent(&Agent { persona, visibility: visibility.to_owned(), ..agent }).await?;
    }
    Ok(())
}

fn persona(described: &Described) -> Box<Persona> {
    Box::new(Persona {
        style: described.style.to_owned(),
        description: described.description.to_owned(),
        age: Some(described.age),
        birthday: described.birthday.to_owned(),
        hobbies: described.hobbies.to_owned(),
        likes: described.likes.to_owned(),
        dislikes: described.dislikes.to_owned(),
        background: described.background.to_owned(),
    })
}

/// The documents' wallet has an owner, who has a name and tokens, knows luna, and has heard from her.
async fn wallet(store: &dyn Store, welcome: u64, now: Timestamp) -> anyhow::Result<()> {
    let (person, luna) = (person_id(WALLET_OF)?, agent_id("luna")?);
    store.link_wallet(placeholders::WALLET, &person).await?;
    if welcome > 0 {
        // Under the key that the core gives it, so that there is one for life.
        let entry = NewEntry {
            person: person.clone(),
            tokens: welcome,
            reason: Reason::Welcome,
            key: Some("welcome".to_owned()),
            at: now,
        };
        store.book(entry, Box::new(|_| ())).await?;
    }
    if store.profile(&person).await? == Profile::default() {
        let profile = Profile { name: Some("Ada".to_owned()), ..Profile::default() };
        store.put_profile(&person, &profile).await?;
    }
    store.put_bond(&Bond { agent: luna.clone(), person: person.clone(), since: now }).await?;
    let conversation = ConversationId::direct(&luna, &person);
    if store.count(conversation).await? == 0 {
        let greeting = NewMessage {
            id: MessageId::random(),
            conversation,
            agent: luna,
            person,
            author: Party::Agent,
            text: "Good morning! ☀️".to_owned(),
            at: now,
            quota: None,
            moves: None,
            once: None,
            charge: None,
        };
        store.append(greeting, Box::new(|_, _, _| ())).await?;
    }
    Ok(())
}

/// Two agents at work, and the task that one of them is at. Neither has ever said that it is alive, so neither is missed.
async fn work(store: &dyn Store, now: Timestamp) -> anyhow::Result<()> {
    for agent in ["123", NAMED_BY_UUID] {
        let duties = Duties { rank: Rank::Worker, version: "1.0".to_owned(), ..Duties::default() };
        store.enlist(&agent_id(agent)?, &duties).await?;
    }
    let id = TaskId(Uuid::parse_str(NAMED_BY_UUID).context("the task of the demo")?);
    if store.task(id).await?.is_none() {
        let new = NewTask {
            title: "Write down what was found".to_owned(),
            description: "The task that the documents' snippets watch.".to_owned(),
            priority: Priority::Medium,
            payload: "null".to_owned(),
            needs: None,
            parent: None,
            conversation: None,
        };
        let task = Task {
            id,
            status: TaskStatus::Running,
            agent: Some(agent_id(NAMED_BY_UUID)?),
            assigned_at: Some(now),
            claimed_at: Some(now),
            started_at: Some(now),
            ..new.begun("operator".to_owned(), now)
        };
        store.put_task(&task, Box::new(|_| ())).await?;
    }
    Ok(())
}

fn person_id(id: &str) -> anyhow::Result<PersonId> {
    PersonId::parse(id).context("a person of the demo")
}

fn agent_id(id: &str) -> anyhow::Result<AgentId> {
    AgentId::parse(id).context("an agent of the demo")
}

#[cfg(test)]
mod tests {
    use antiphon_core::memory::MemoryStore;
    use antiphon_core::ports::{
        Agents as _, Bonds as _, Conversations as _, Keys as _, Logins as _, People as _, Tasks as _,
        Wallets as _, Workers as _,
    };
    use antiphon_core::workers::AgentStatus;

    use super::*;

    #[tokio::test]
    async fn the_demo_has_what_the_snippets_name_and_keeps_what_was_changed() {
        let store = MemoryStore::new();
        demo(&store, 50, Timestamp(1)).await.unwrap();
        let key = store.key(&keys::hash("your-api-key")).await.unwrap().unwrap();
        let person = person_id("user-123").unwrap();
        assert_eq!(key.holder, Holder::Person(person.clone()));
        let service = store.key(&keys::hash("your-service-key")).await.unwrap().unwrap();
        assert_eq!(service.holder, Holder::Service("demo".into()));
        let id = agent_id("agent-123").unwrap();
        let mut agent = store.agent(&id).await.unwrap().unwrap();
        assert_eq!(agent.owner, person);
        agent.name = "Renamed".into();
        store.put_agent(&agent).await.unwrap();
        demo(&store, 50, Timestamp(2)).await.unwrap();
        assert_eq!(store.agent(&id).await.unwrap(), Some(agent));
    }

    #[tokio::test]
    async fn the_documents_wallet_has_an_owner_with_tokens_who_knows_luna() {
        let store = MemoryStore::new();
        for now in [1, 2] {
            demo(&store, 50, Timestamp(now)).await.unwrap();
            let person = store.person_by_wallet(placeholders::WALLET).await.unwrap().unwrap();
            assert_eq!(store.balance(&person).await.unwrap().tokens, 50);
            let bonds = store.bonds_of(&person).await.unwrap();
            assert_eq!((bonds.len(), bonds[0].bond.agent.as_str()), (1, "luna"));
            let conversation = ConversationId::direct(&bonds[0].bond.agent, &person);
            assert_eq!(store.count(conversation).await.unwrap(), 1);
        }
        let personas = store.personas(None, 10).await.unwrap();
        let described: Vec<_> = personas
            .iter()
            .map(|agent| (agent.id.as_str(), agent.persona.as_ref().unwrap().style.as_str()))
            .collect();
        assert_eq!(described, [("aiko", "tsundere"), ("luna", "sweet"), ("mia", "playful")]);
        for agent in &personas {
            agent.check().unwrap();
        }
    }

    #[tokio::test]
    async fn the_personas_of_an_earlier_demo_become_public_and_keep_their_names() {
        let store = MemoryStore::new();
        demo(&store, 0, Timestamp(1)).await.unwrap();
        let luna = store.agent(&agent_id("luna").unwrap()).await.unwrap().unwrap();
        let before =
            Agent { name: "Luna II".into(), visibility: "private".into(), persona: None, ..luna.clone() };
        store.put_agent(&before).await.unwrap();
        demo(&store, 0, Timestamp(2)).await.unwrap();
        let after = store.agent(&luna.id).await.unwrap().unwrap();
        assert_eq!(after, Agent { name: "Luna II".into(), ..luna });
    }

    #[tokio::test]
    async fn there_are_agents_at_work_and_somebody_who_looks_after_them() {
        let store = MemoryStore::new();
        demo(&store, 50, Timestamp(1)).await.unwrap();
        let key = store.key(&keys::hash("your-jwt-token")).await.unwrap().unwrap();
        let Holder::Person(person) = key.holder else { panic!("it is a person's") };
        assert_eq!(key.dialects, Some(vec!["mission".to_owned()]));
        assert_eq!(store.person(&person).await.unwrap().unwrap().roles, ["super_admin"]);
        for id in ["123", NAMED_BY_UUID] {
            let worker = store.worker(&agent_id(id).unwrap()).await.unwrap().unwrap();
            assert_eq!((worker.status, worker.is_watched()), (AgentStatus::Idle, false));
        }
        let task = store.task(TaskId(Uuid::parse_str(NAMED_BY_UUID).unwrap())).await.unwrap().unwrap();
        assert_eq!((task.status, task.agent), (TaskStatus::Running, Some(agent_id(NAMED_BY_UUID).unwrap())));
    }
}

//! Does a store remember what people say about themselves, which agents are public, and who belongs together with whom?

use std::sync::Arc;

use futures_util::future::join_all;

use super::agents::{agent, agent_id};
use super::conversations::{append, message};
use super::{awkward_ids, awkward_texts, person};
use crate::agents::{Agent, Persona, RelationDelta};
use crate::conversation::Party;
use crate::ids::{AgentId, PersonId, Timestamp};
use crate::people::{Bond, Bonded, Profile};
use crate::ports::{NewMessage, Quota, Store};

/// Everything about [`Profiles`](crate::ports::Profiles) and [`Bonds`](crate::ports::Bonds), with personas and with what counts
/// messages.
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_profile_is_found_as_it_was_put(&*open().await).await;
    a_persona_is_found_as_it_was_put(&*open().await).await;
    public_agents_are_listed_in_pages(&*open().await).await;
    a_bond_is_made_once_and_keeps_its_beginning(&*open().await).await;
    of_many_that_make_a_bond_one_makes_it(open().await).await;
    a_bond_needs_both(&*open().await).await;
    bonds_go_with_their_agent(&*open().await).await;
    bonds_are_listed_with_how_things_are(&*open().await).await;
    active_bonds_are_listed_in_pages(&*open().await).await;
    messages_are_counted(&*open().await).await;
}

async fn a_profile_is_found_as_it_was_put(store: &dyn Store) {
    let ada = person("ada").id;
    assert_eq!(store.profile(&ada).await.unwrap(), Profile::default());
    assert!(store.put_profile(&ada, &Profile::default()).await.is_err(), "there is no such person");
    store.put_person(&person("ada")).await.unwrap();
    assert_eq!(store.profile(&ada).await.unwrap(), Profile::default());
    for text in awkward_texts() {
        for (name, email, zone) in [(true, true, true), (true, false, false), (false, true, false)] {
            let text = |is_there: bool| is_there.then(|| text.clone());
            let profile = Profile { name: text(name), email: text(email), time_zone: text(zone) };
            store.put_profile(&ada, &profile).await.unwrap();
            assert_eq!(store.profile(&ada).await.unwrap(), profile);
        }
    }
    store.put_profile(&ada, &Profile::default()).await.unwrap();
    assert_eq!(store.profile(&ada).await.unwrap(), Profile::default());
}

async fn a_persona_is_found_as_it_was_put(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    for (text, age) in awkward_texts().into_iter().zip([None, Some(0), Some(u32::MAX)].into_iter().cycle()) {
        let persona = Persona {
            style: format!("style {text}"),
            description: format!("description {text}"),
            age,
            birthday: format!("birthday {text}"),
            hobbies: format!("hobbies {text}"),
            likes: format!("likes {text}"),
            dislikes: format!("dislikes {text}"),
            background: text,
        };
        let luna = Agent { persona: Some(Box::new(persona)), ..agent("luna", "ada", 1) };
        store.put_agent(&luna).await.unwrap();
        assert_eq!(store.agent(&luna.id).await.unwrap().as_ref(), Some(&luna));
        assert_eq!(store.agents_of(&luna.owner).await.unwrap(), [luna]);
    }
    store.put_agent(&agent("luna", "ada", 1)).await.unwrap();
    assert_eq!(store.agent(&agent_id("luna")).await.unwrap().unwrap().persona, None);
}

async fn public_agents_are_listed_in_pages(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    store.put_person(&person("bob")).await.unwrap();
    assert_eq!(store.personas(None, 10).await.unwrap(), []);
    let mut ids = awkward_ids();
    for (number, id) in ids.iter().enumerate() {
        let owner = ["ada", "bob"][number % 2];
        let persona = (number % 3 == 0).then(Box::default);
        let public = Agent { visibility: "public".into(), persona, ..agent(id, owner, 1) };
        store.put_agent(&public).await.unwrap();
    }
    for (id, visibility) in [("a-private", "private"), ("a-world", "world"), ("a-Public", "Public")] {
        let other = Agent { visibility: visibility.into(), ..agent(id, "ada", 1) };
        store.put_agent(&other).await.unwrap();
    }
    ids.sort();
    let mut listed: Vec<Agent> = Vec::new();
    loop {
        let page = store.personas(listed.last().map(|agent| &agent.id), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    assert_eq!(listed.iter().map(|agent| agent.id.as_str()).collect::<Vec<_>>(), ids);
    for agent in listed {
        assert_eq!(store.agent(&agent.id).await.unwrap(), Some(agent));
    }
    assert_eq!(store.personas(None, 0).await.unwrap(), []);
    // What is no longer public is not listed any more.
    let first = AgentId::parse(&ids[0]).expect("the suite only uses ids that are valid");
    let hidden = crate::agents::AgentChange { visibility: Some("private".into()), ..Default::default() };
    store.change_agent(&first, &hidden).await.unwrap();
    assert_ne!(store.personas(None, 1).await.unwrap()[0].id, first);
}

async fn a_bond_is_made_once_and_keeps_its_beginning(store: &dyn Store) {
    befriended(store).await;
    let first = bond("ada", "luna", 5);
    assert_eq!(store.bond(&first.person, &first.agent).await.unwrap(), None);
    assert!(store.put_bond(&first).await.unwrap());
    assert!(!store.put_bond(&bond("ada", "luna", 1)).await.unwrap());
    assert!(!store.put_bond(&bond("ada", "luna", 9)).await.unwrap());
    assert_eq!(store.bond(&first.person, &first.agent).await.unwrap(), Some(first.clone()));
    assert_eq!(store.bond(&person("bob").id, &first.agent).await.unwrap(), None);
    assert_eq!(store.bond(&first.person, &agent_id("sol")).await.unwrap(), None);
    assert_eq!(store.bonds_of(&person("bob").id).await.unwrap(), []);
    // An agent that is put again is the same agent.
    store.put_agent(&Agent { name: "Luna II".into(), ..agent("luna", "ada", 1) }).await.unwrap();
    assert_eq!(store.bond(&first.person, &first.agent).await.unwrap(), Some(first));
}

async fn of_many_that_make_a_bond_one_makes_it(store: Arc<dyn Store>) {
    befriended(&*store).await;
    let many = (0..20).map(|at| {
        let store = Arc::clone(&store);
        async move { store.put_bond(&bond("ada", "luna", at)).await.unwrap() }
    });
    let made = join_all(many).await;
    assert_eq!(made.iter().filter(|is_new| **is_new).count(), 1);
    let winner = made.iter().position(|is_new| *is_new).expect("one of them made it");
    let kept = store.bond(&person("ada").id, &agent_id("luna")).await.unwrap().expect("it was made");
    assert_eq!(kept.since, Timestamp(winner as i64));
}

async fn a_bond_needs_both(store: &dyn Store) {
    befriended(store).await;
    assert!(store.put_bond(&bond("nobody", "luna", 1)).await.is_err());
    assert!(store.put_bond(&bond("ada", "nobody", 1)).await.is_err());
    assert_eq!(store.bonds_of(&person("ada").id).await.unwrap(), []);
}

async fn bonds_go_with_their_agent(store: &dyn Store) {
    befriended(store).await;
    for agent in ["luna", "sol"] {
        store.put_bond(&bond("ada", agent, 1)).await.unwrap();
    }
    assert!(store.delete_agent(&agent_id("luna")).await.unwrap());
    assert_eq!(agents(&store.bonds_of(&person("ada").id).await.unwrap()), ["sol"]);
    store.put_agent(&agent("luna", "bob", 9)).await.unwrap();
    assert_eq!(store.bond(&person("ada").id, &agent_id("luna")).await.unwrap(), None);
}

async fn bonds_are_listed_with_how_things_are(store: &dyn Store) {
    befriended(store).await;
    for (agent, at) in [("sol", 3), ("luna", 5), ("mia", 3)] {
        store.put_bond(&bond("ada", agent, at)).await.unwrap();
    }
    store.put_bond(&bond("bob", "luna", 1)).await.unwrap();
    let moves = Some(RelationDelta { trust: 0.25, ..RelationDelta::default() });
    let (_, felt) = append(store, said("luna", "ada", Party::Person, 10, moves)).await;
    let (last, _) = append(store, said("luna", "ada", Party::Agent, 11, None)).await;
    append(store, said("luna", "bob", Party::Person, 99, None)).await;
    let (unasked, _) = append(store, said("mia", "ada", Party::Agent, 12, None)).await;

    let bonds = store.bonds_of(&person("ada").id).await.unwrap();
    assert_eq!(agents(&bonds), ["mia", "sol", "luna"], "oldest first, then by id");
    assert_eq!((&bonds[0].last, bonds[0].active_at), (&Some(unasked), None));
    assert_eq!((&bonds[1].last, bonds[1].active_at), (&None, None));
    assert_eq!((&bonds[2].last, bonds[2].active_at), (&Some(last), Some(Timestamp(10))));
    assert_eq!(bonds[2].relation, felt);
    assert_eq!(bonds[1].relation, crate::agents::Relation::default());
    assert_eq!(bonds[2].bond, bond("ada", "luna", 5));
}

async fn active_bonds_are_listed_in_pages(store: &dyn Store) {
    befriended(store).await;
    let active = async |since, after, limit| {
        let bonds = store.active_bonds(Timestamp(since), after, limit).await.unwrap();
        bonds.into_iter().map(|bonded| (bonded.bond.person, bonded.bond.agent)).collect::<Vec<_>>()
    };
    for person in ["bob", "ada"] {
        for agent in ["sol", "mia", "luna"] {
            store.put_bond(&bond(person, agent, 1)).await.unwrap();
        }
    }
    assert_eq!(active(i64::MIN, None, 10).await, []);
    for (agent, person, at) in [("sol", "bob", 10), ("luna", "ada", 20), ("luna", "bob", 30)] {
        append(store, said(agent, person, Party::Person, at, None)).await;
        append(store, said(agent, person, Party::Agent, at + 100, None)).await;
    }
    append(store, said("mia", "ada", Party::Agent, 100, None)).await;
    // Without a bond there is nothing to list.
    append(store, said("nova", "ada", Party::Person, 100, None)).await;
    let pair = |person_id: &str, agent: &str| (person(person_id).id, agent_id(agent));
    let all = [pair("ada", "luna"), pair("bob", "luna"), pair("bob", "sol")];
    assert_eq!(active(i64::MIN, None, 10).await, all);
    assert_eq!(active(10, None, 10).await, all, "that very moment counts");
    assert_eq!(active(11, None, 10).await, all[..2]);
    assert_eq!(active(31, None, 10).await, []);
    assert_eq!(active(0, None, 2).await, all[..2]);
    assert_eq!(active(0, Some(all[0].clone()), 10).await, all[1..]);
    assert_eq!(active(0, Some(all[1].clone()), 1).await, all[2..]);
    assert_eq!(active(0, Some(pair("ada", "zoe")), 10).await, all[1..], "the pair need not exist");
    assert_eq!(active(0, None, 0).await, []);
}

async fn messages_are_counted(store: &dyn Store) {
    let conversation = message("luna", "ada").conversation;
    assert_eq!(store.count(conversation).await.unwrap(), 0);
    assert_eq!(store.said_by(&person("ada").id).await.unwrap(), 0);
    for (agent, person, month) in [
        ("luna", "ada", Some(1)),
        ("luna", "ada", Some(2)),
        ("sol", "ada", Some(2)),
        ("luna", "bob", Some(1)),
    ] {
        let quota = month.map(|month| Quota { month, limit: None });
        append(store, NewMessage { quota, ..message(agent, person) }).await;
    }
    append(store, said("luna", "ada", Party::Agent, 1, None)).await;
    assert_eq!(store.count(conversation).await.unwrap(), 3);
    assert_eq!(store.said_by(&person("ada").id).await.unwrap(), 3);
    assert_eq!(store.said_by(&person("bob").id).await.unwrap(), 1);
}

/// Ada and bob, and what they can befriend.
async fn befriended(store: &dyn Store) {
    for id in ["ada", "bob"] {
        store.put_person(&person(id)).await.unwrap();
    }
    for id in ["luna", "sol", "mia"] {
        store.put_agent(&agent(id, "ada", 1)).await.unwrap();
    }
}

fn bond(person_id: &str, agent: &str, since: i64) -> Bond {
    let person: PersonId = person(person_id).id;
    Bond { agent: agent_id(agent), person, since: Timestamp(since) }
}

fn said(agent: &str, person: &str, author: Party, at: i64, moves: Option<RelationDelta>) -> NewMessage {
    NewMessage { author, at: Timestamp(at), moves, ..message(agent, person) }
}

fn agents(bonds: &[Bonded]) -> Vec<&str> {
    bonds.iter().map(|bonded| bonded.bond.agent.as_str()).collect()
}

//! Does a store remember people, their keys, their plans, and what they have used?

use std::sync::Arc;

use super::{awkward_ids, awkward_texts, person};
use crate::actor::{ApiKey, KeyHash, Person, Plan};
use crate::ids::Timestamp;
use crate::ports::Store;

/// Everything about [`People`](crate::ports::People).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_person_is_found_as_they_were_put(&*open().await).await;
    a_person_put_again_is_replaced_and_keeps_their_keys(&*open().await).await;
    a_plan_is_found_as_it_was_put(&*open().await).await;
    a_key_speaks_for_one_person(&*open().await).await;
    a_key_of_nobody_is_a_fault(&*open().await).await;
    nobody_has_sent_anything_yet(&*open().await).await;
}

async fn a_person_is_found_as_they_were_put(store: &dyn Store) {
    let people: Vec<Person> = awkward_ids()
        .iter()
        .zip([0, -1, 1, i64::MIN, i64::MAX].into_iter().cycle())
        .map(|(id, at)| Person { plan: format!("plan of {id}"), created_at: Timestamp(at), ..person(id) })
        .collect();
    for person in &people {
        assert_eq!(store.person(&person.id).await.unwrap(), None, "{:?} was never put", person.id);
        store.put_person(person).await.unwrap();
    }
    for person in &people {
        assert_eq!(store.person(&person.id).await.unwrap().as_ref(), Some(person));
    }
}

async fn a_person_put_again_is_replaced_and_keeps_their_keys(store: &dyn Store) {
    let ada = person("ada");
    let key = key(7, &ada);
    store.put_person(&ada).await.unwrap();
    store.put_key(&key).await.unwrap();

    let richer = Person { plan: "pro".into(), created_at: Timestamp(5), ..ada };
    store.put_person(&richer).await.unwrap();
    assert_eq!(store.person(&richer.id).await.unwrap().as_ref(), Some(&richer));
    assert_eq!(store.person_by_key(&key.hash).await.unwrap(), Some(richer));
}

async fn a_plan_is_found_as_it_was_put(store: &dyn Store) {
    let limited = Plan {
        name: "free".into(),
        connections_per_minute: Some(0),
        messages_per_month: Some(i64::MAX as u64),
        agents: Some(u32::MAX),
    };
    let unlimited =
        Plan { name: "Free".into(), connections_per_minute: None, messages_per_month: None, agents: None };
    assert_eq!(store.plan("free").await.unwrap(), None);
    store.put_plan(&limited).await.unwrap();
    store.put_plan(&unlimited).await.unwrap();
    assert_eq!(store.plan("free").await.unwrap().as_ref(), Some(&limited));
    assert_eq!(store.plan("Free").await.unwrap().as_ref(), Some(&unlimited), "names are told apart by case");

    let changed = Plan { agents: None, messages_per_month: Some(100), ..limited };
    store.put_plan(&changed).await.unwrap();
    assert_eq!(store.plan("free").await.unwrap(), Some(changed));

    for name in awkward_texts() {
        let plan = Plan { name, ..unlimited.clone() };
        store.put_plan(&plan).await.unwrap();
        assert_eq!(store.plan(&plan.name).await.unwrap().as_ref(), Some(&plan));
    }
}

async fn a_key_speaks_for_one_person(store: &dyn Store) {
    let (ada, bob) = (person("ada"), person("bob"));
    store.put_person(&ada).await.unwrap();
    store.put_person(&bob).await.unwrap();
    // Two keys of one person, one of another, and hashes that differ in their last bit only.
    for key in [key(0, &ada), key(1, &bob), key(255, &ada)] {
        assert_eq!(store.person_by_key(&key.hash).await.unwrap(), None, "the key was never put");
        store.put_key(&key).await.unwrap();
    }
    assert_eq!(store.person_by_key(&hash(0)).await.unwrap().as_ref(), Some(&ada));
    assert_eq!(store.person_by_key(&hash(1)).await.unwrap().as_ref(), Some(&bob));
    assert_eq!(store.person_by_key(&hash(255)).await.unwrap().as_ref(), Some(&ada));

    store.put_key(&key(0, &bob)).await.unwrap();
    assert_eq!(store.person_by_key(&hash(0)).await.unwrap(), Some(bob), "a key put again is replaced");
    assert_eq!(store.person_by_key(&hash(255)).await.unwrap(), Some(ada));
}

async fn a_key_of_nobody_is_a_fault(store: &dyn Store) {
    let stray = key(3, &person("nobody"));
    assert!(store.put_key(&stray).await.is_err());
    assert_eq!(store.person_by_key(&stray.hash).await.unwrap(), None);

    store.put_person(&person("nobody")).await.unwrap();
    assert_eq!(store.person_by_key(&stray.hash).await.unwrap(), None, "a key that was refused stays unknown");
}

async fn nobody_has_sent_anything_yet(store: &dyn Store) {
    let ada = person("ada");
    assert_eq!(store.messages_sent(&ada.id, 24_000).await.unwrap(), 0);
    store.put_person(&ada).await.unwrap();
    assert_eq!(store.messages_sent(&ada.id, 24_000).await.unwrap(), 0);
}

fn hash(last: u8) -> KeyHash {
    let mut hash = [0; 32];
    hash[31] = last;
    KeyHash(hash)
}

fn key(last: u8, owner: &Person) -> ApiKey {
    ApiKey {
        hash: hash(last),
        prefix: format!("ant_{last}"),
        person: owner.id.clone(),
        created_at: Timestamp(i64::from(last)),
    }
}

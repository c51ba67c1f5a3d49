//! Does a store remember people, their plans, and what they have used?

use std::sync::Arc;

use super::{awkward_ids, awkward_texts, person};
use crate::actor::{Person, Plan};
use crate::ids::Timestamp;
use crate::ports::Store;

/// Everything about [`People`](crate::ports::People).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_person_is_found_as_they_were_put(&*open().await).await;
    a_person_put_again_is_replaced(&*open().await).await;
    a_person_is_added_once_and_stays_who_they_are(open().await).await;
    people_are_listed_in_pages(&*open().await).await;
    a_plan_is_found_as_it_was_put(&*open().await).await;
    nobody_has_sent_anything_yet(&*open().await).await;
}

async fn a_person_is_found_as_they_were_put(store: &dyn Store) {
    let people: Vec<Person> = awkward_ids()
        .iter()
        .zip([0, -1, 1, i64::MIN, i64::MAX].into_iter().cycle())
        .map(|(id, at)| Person {
            plan: format!("plan of {id}"),
            // None, one, and two of them.
            roles: [id, "an \"admin\", not a [list]"].map(String::from)[..at.unsigned_abs().min(2) as usize]
                .to_vec(),
            created_at: Timestamp(at),
            ..person(id)
        })
        .collect();
    for person in &people {
        assert_eq!(store.person(&person.id).await.unwrap(), None, "{:?} was never put", person.id);
        store.put_person(person).await.unwrap();
    }
    for person in &people {
        assert_eq!(store.person(&person.id).await.unwrap().as_ref(), Some(person));
    }
}

async fn a_person_put_again_is_replaced(store: &dyn Store) {
    let ada = person("ada");
    store.put_person(&ada).await.unwrap();
    let richer = Person { plan: "pro".into(), roles: Vec::new(), created_at: Timestamp(5), ..ada };
    store.put_person(&richer).await.unwrap();
    assert_eq!(store.person(&richer.id).await.unwrap(), Some(richer));
}

async fn a_person_is_added_once_and_stays_who_they_are(store: Arc<dyn Store>) {
    let ada = person("ada");
    assert!(store.add_person(&ada).await.unwrap());
    let other =
        Person { plan: "pro".into(), roles: vec!["admin".into()], created_at: Timestamp(5), ..ada.clone() };
    assert!(!store.add_person(&other).await.unwrap());
    assert_eq!(store.person(&ada.id).await.unwrap(), Some(ada));
    // Whoever was put is there as well.
    let bob = person("bob");
    store.put_person(&bob).await.unwrap();
    assert!(!store.add_person(&Person { plan: "pro".into(), ..bob.clone() }).await.unwrap());
    assert_eq!(store.person(&bob.id).await.unwrap(), Some(bob));
    // Many at once: one of them adds, and that one is who is there.
    let many = (0..20).map(|number| {
        let store = store.clone();
        tokio::spawn(async move {
            let eve = Person { plan: format!("plan {number}"), ..person("eve") };
            store.add_person(&eve).await.unwrap().then_some(eve)
        })
    });
    let mut added = Vec::new();
    for one in many.collect::<Vec<_>>() {
        added.extend(one.await.unwrap());
    }
    assert_eq!(added.len(), 1);
    assert_eq!(store.person(&added[0].id).await.unwrap(), added.pop());
}

async fn people_are_listed_in_pages(store: &dyn Store) {
    assert_eq!(store.people(None, 10).await.unwrap(), []);
    let mut ids = awkward_ids();
    for id in &ids {
        store.put_person(&person(id)).await.unwrap();
    }
    ids.sort();
    let mut listed = Vec::new();
    loop {
        let page = store.people(listed.last(), 3).await.unwrap();
        assert!(page.len() <= 3);
        if page.is_empty() {
            break;
        }
        listed.extend(page.into_iter().map(|person| person.id));
    }
    assert_eq!(listed.iter().map(|id| id.as_str()).collect::<Vec<_>>(), ids, "in the order of their bytes");
    assert_eq!(store.people(None, u32::MAX).await.unwrap().len(), ids.len());
    assert_eq!(store.people(None, 0).await.unwrap(), []);
    let between = person("user-1234").id;
    let next = store.people(Some(&between), 1).await.unwrap();
    assert!(next[0].id > between, "the person after whom it goes on need not exist");
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

async fn nobody_has_sent_anything_yet(store: &dyn Store) {
    let ada = person("ada");
    assert_eq!(store.messages_sent(&ada.id, 24_000).await.unwrap(), 0);
    store.put_person(&ada).await.unwrap();
    assert_eq!(store.messages_sent(&ada.id, 24_000).await.unwrap(), 0);
}

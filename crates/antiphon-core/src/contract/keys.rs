//! Does a store find API keys by their hashes and by their names, and remember when they died?

use std::sync::Arc;

use super::{awkward_ids, awkward_texts, hash, person};
use crate::actor::{ApiKey, Holder, Person};
use crate::ids::{KeyId, Timestamp};
use crate::ports::Store;

/// Everything about [`Keys`](crate::ports::Keys).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_key_is_found_by_its_hash_and_by_its_name(&*open().await).await;
    a_key_put_again_is_replaced(&*open().await).await;
    a_hash_belongs_to_one_key(&*open().await).await;
    a_key_of_nobody_is_a_fault(&*open().await).await;
    a_person_put_again_keeps_their_keys(&*open().await).await;
    keys_are_listed_in_pages(&*open().await).await;
    a_key_is_revoked_once(&*open().await).await;
}

async fn a_key_is_found_by_its_hash_and_by_its_name(store: &dyn Store) {
    let ada = person("ada");
    store.put_person(&ada).await.unwrap();
    let plain = key("key", 0, Holder::Person(ada.id.clone()));
    let mut keys = vec![
        // Hashes that differ in their last bit only.
        plain.clone(),
        ApiKey { id: id("KEY"), hash: hash(1), dialects: Some(Vec::new()), ..plain.clone() },
        ApiKey {
            id: id("cda_0f3a9c12"),
            hash: hash(2),
            holder: Holder::Operator,
            dialects: Some(vec!["chat".into(), "a \"b\", [c]".into()]),
            plan: Some("pro".into()),
            created_at: Timestamp(i64::MIN),
            expires_at: Some(Timestamp(i64::MAX)),
            revoked_at: Some(Timestamp(-1)),
        },
    ];
    for (number, name) in (3..).zip(awkward_texts()) {
        keys.push(key(&format!("service-{number}"), number, Holder::Service(name)));
    }
    for (number, name) in (100..).zip(awkward_ids()) {
        keys.push(key(&name, number, Holder::Person(ada.id.clone())));
    }
    for key in &keys {
        assert_eq!(store.key(&key.hash).await.unwrap(), None, "{:?} was never put", key.id);
        assert_eq!(store.key_by_id(&key.id).await.unwrap(), None, "{:?} was never put", key.id);
        store.put_key(key).await.unwrap();
    }
    for key in &keys {
        assert_eq!(store.key(&key.hash).await.unwrap().as_ref(), Some(key));
        assert_eq!(store.key_by_id(&key.id).await.unwrap().as_ref(), Some(key));
    }
}

async fn a_key_put_again_is_replaced(store: &dyn Store) {
    let (ada, bob) = (person("ada"), person("bob"));
    store.put_person(&ada).await.unwrap();
    store.put_person(&bob).await.unwrap();
    store.put_key(&key("key", 1, Holder::Person(ada.id))).await.unwrap();

    let bobs = key("key", 1, Holder::Person(bob.id));
    store.put_key(&bobs).await.unwrap();
    assert_eq!(store.key(&hash(1)).await.unwrap().as_ref(), Some(&bobs));

    // Another secret under the same name: the old one opens nothing any more.
    let rotated = ApiKey { hash: hash(2), expires_at: Some(Timestamp(9)), ..bobs };
    store.put_key(&rotated).await.unwrap();
    assert_eq!(store.key(&hash(1)).await.unwrap(), None);
    assert_eq!(store.key(&hash(2)).await.unwrap().as_ref(), Some(&rotated));
    assert_eq!(store.keys(None, 10).await.unwrap(), [rotated]);
}

async fn a_hash_belongs_to_one_key(store: &dyn Store) {
    let first = key("first", 1, Holder::Operator);
    store.put_key(&first).await.unwrap();
    assert!(store.put_key(&key("second", 1, Holder::Service("shop".into()))).await.is_err());
    assert_eq!(store.key(&hash(1)).await.unwrap(), Some(first));
    assert_eq!(store.key_by_id(&id("second")).await.unwrap(), None);
}

async fn a_key_of_nobody_is_a_fault(store: &dyn Store) {
    let nobody = person("nobody");
    let stray = key("stray", 3, Holder::Person(nobody.id.clone()));
    assert!(store.put_key(&stray).await.is_err());
    assert_eq!(store.key(&stray.hash).await.unwrap(), None);
    store.put_person(&nobody).await.unwrap();
    assert_eq!(store.key(&stray.hash).await.unwrap(), None, "a key that was refused stays unknown");
}

async fn a_person_put_again_keeps_their_keys(store: &dyn Store) {
    let ada = person("ada");
    let key = key("key", 7, Holder::Person(ada.id.clone()));
    store.put_person(&ada).await.unwrap();
    store.put_key(&key).await.unwrap();
    store.put_person(&Person { plan: "pro".into(), ..ada }).await.unwrap();
    assert_eq!(store.key(&key.hash).await.unwrap(), Some(key));
}

async fn keys_are_listed_in_pages(store: &dyn Store) {
    let mut keys: Vec<ApiKey> =
        (0..7).map(|number| key(&format!("key-{number}"), number, Holder::Operator)).collect();
    for key in keys.iter().rev() {
        store.put_key(key).await.unwrap();
    }
    keys.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(store.keys(None, u32::MAX).await.unwrap(), keys);
    assert_eq!(store.keys(None, 3).await.unwrap(), keys[..3]);
    assert_eq!(store.keys(Some(&keys[2].id), 3).await.unwrap(), keys[3..6]);
    assert_eq!(store.keys(Some(&keys[5].id), 3).await.unwrap(), keys[6..]);
    assert_eq!(store.keys(Some(&keys[6].id), 3).await.unwrap(), []);
    assert_eq!(store.keys(None, 0).await.unwrap(), []);
    assert_eq!(store.keys(Some(&id("key-")), 1).await.unwrap(), keys[..1], "it need not exist");
}

async fn a_key_is_revoked_once(store: &dyn Store) {
    let (dead, alive) = (key("dead", 1, Holder::Operator), key("alive", 2, Holder::Operator));
    store.put_key(&dead).await.unwrap();
    store.put_key(&alive).await.unwrap();
    let revoked = ApiKey { revoked_at: Some(Timestamp(50)), ..dead.clone() };
    assert_eq!(store.revoke_key(&dead.id, Timestamp(50)).await.unwrap().as_ref(), Some(&revoked));
    assert_eq!(
        store.revoke_key(&dead.id, Timestamp(60)).await.unwrap().as_ref(),
        Some(&revoked),
        "it died when it died"
    );
    assert_eq!(store.key(&dead.hash).await.unwrap(), Some(revoked), "and is still known");
    assert_eq!(store.key(&alive.hash).await.unwrap(), Some(alive));
    assert_eq!(store.revoke_key(&id("nobody's"), Timestamp(50)).await.unwrap(), None);
}

fn id(name: &str) -> KeyId {
    KeyId::parse(name).expect("the suite only uses ids that are valid")
}

fn key(name: &str, last: u8, holder: Holder) -> ApiKey {
    ApiKey {
        id: id(name),
        hash: hash(last),
        holder,
        dialects: None,
        plan: None,
        created_at: Timestamp(i64::from(last)),
        expires_at: None,
        revoked_at: None,
    }
}

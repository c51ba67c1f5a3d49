//! Does a store know which credentials are dead, and tell those who ask what is new?

use std::sync::Arc;

use futures_util::future::join_all;

use super::{awkward_ids, elsewhere, forget, hash, person};
use crate::actor::{Principal, Proof};
use crate::ids::{KeyId, Timestamp};
use crate::ports::{Revocation, Revoked, Store};

/// Everything about [`Revocations`](crate::ports::Revocations).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_credential_dies_by_its_name_or_its_persons(&*open().await).await;
    what_was_issued_later_lives(&*open().await).await;
    names_are_told_apart(&*open().await).await;
    whoever_has_read_up_to_a_position_is_told_the_rest(&*open().await).await;
    positions_grow_whoever_revokes(open().await).await;
    a_position_is_never_used_again(&*open().await).await;
}

async fn a_credential_dies_by_its_name_or_its_persons(store: &dyn Store) {
    let proofs = [
        (Proof::None, None),
        (Proof::Key(key("key")), Some(Revoked::Key(key("key")))),
        (Proof::Session(hash(1)), Some(Revoked::Session(hash(1)))),
        (token("issuer", Some("id")), Some(revoked_token("issuer", "id"))),
        (token("issuer", None), None),
    ];
    for (proof, _) in &proofs {
        assert!(!store.is_revoked(proof, &ada(), Timestamp(0)).await.unwrap(), "{proof:?}");
    }
    for (proof, what) in &proofs {
        let Some(what) = what.clone() else { continue };
        store.revoke(&Revocation { what, at: Timestamp(10), until: Timestamp(20) }).await.unwrap();
        for principal in [ada(), Principal::Operator, Principal::Service("shop".into())] {
            assert!(store.is_revoked(proof, &principal, Timestamp(0)).await.unwrap(), "{proof:?}");
        }
    }
    for proof in [&proofs[0].0, &proofs[4].0] {
        assert!(!store.is_revoked(proof, &ada(), Timestamp(0)).await.unwrap(), "{proof:?} has no name");
    }
    let what = Revoked::Person(person("ada").id);
    store.revoke(&Revocation { what, at: Timestamp(10), until: Timestamp(20) }).await.unwrap();
    for proof in [Proof::None, Proof::Key(key("another")), Proof::Session(hash(9)), token("issuer", None)] {
        assert!(store.is_revoked(&proof, &ada(), Timestamp(0)).await.unwrap(), "{proof:?} of ada");
        for principal in [Principal::Service("ada".into()), Principal::Operator, Principal::Guest] {
            assert!(!store.is_revoked(&proof, &principal, Timestamp(0)).await.unwrap(), "{principal:?}");
        }
    }
}

async fn what_was_issued_later_lives(store: &dyn Store) {
    let what = Revoked::Person(person("ada").id);
    for at in [10, 30, 20] {
        let revocation = Revocation { what: what.clone(), at: Timestamp(at), until: Timestamp(99) };
        store.revoke(&revocation).await.unwrap();
    }
    for (issued_at, dead) in [(i64::MIN, true), (10, true), (29, true), (30, false), (31, false)] {
        let is_revoked = store.is_revoked(&Proof::None, &ada(), Timestamp(issued_at)).await.unwrap();
        assert_eq!(is_revoked, dead, "issued at {issued_at}");
    }
}

async fn names_are_told_apart(store: &dyn Store) {
    let ids = awkward_ids();
    let (dead, alive) = ids.split_at(ids.len() / 2);
    for id in dead {
        for what in [
            Revoked::Person(person(id).id),
            Revoked::Key(key(id)),
            revoked_token("one", id),
            revoked_token(id, "two"),
        ] {
            store.revoke(&Revocation { what, at: Timestamp(1), until: Timestamp(1) }).await.unwrap();
        }
    }
    store
        .revoke(&Revocation { what: Revoked::Session(hash(0)), at: Timestamp(1), until: Timestamp(1) })
        .await
        .unwrap();
    for (id, expected) in dead.iter().map(|id| (id, true)).chain(alive.iter().map(|id| (id, false))) {
        let nobody = Principal::Guest;
        let owner = Principal::Person(person(id).id);
        assert_eq!(store.is_revoked(&Proof::None, &owner, Timestamp(0)).await.unwrap(), expected, "{id}");
        for proof in [Proof::Key(key(id)), token("one", Some(id)), token(id, Some("two"))] {
            assert_eq!(store.is_revoked(&proof, &nobody, Timestamp(0)).await.unwrap(), expected, "{proof:?}");
        }
        for proof in
            [token("two", Some(id)), token(id, Some("one")), token(id, None), Proof::Session(hash(1))]
        {
            assert!(!store.is_revoked(&proof, &nobody, Timestamp(0)).await.unwrap(), "{proof:?}");
        }
    }
}

async fn whoever_has_read_up_to_a_position_is_told_the_rest(store: &dyn Store) {
    assert_eq!(store.revocations(0, 10).await.unwrap(), []);
    let mut all = Vec::new();
    for what in [
        Revoked::Person(person("ñandú").id),
        Revoked::Key(key("cda_0f3a9c12")),
        Revoked::Session(hash(7)),
        revoked_token("https://issuer.example", "日本語"),
        Revoked::Person(person("ñandú").id),
    ] {
        let revocation = Revocation { what, at: Timestamp(i64::MIN), until: Timestamp(i64::MAX) };
        all.push((store.revoke(&revocation).await.unwrap(), revocation));
    }
    assert_eq!(store.revocations(0, u32::MAX).await.unwrap(), all);
    assert_eq!(store.revocations(0, 2).await.unwrap(), all[..2]);
    assert_eq!(store.revocations(all[1].0, 2).await.unwrap(), all[2..4]);
    assert_eq!(store.revocations(all[4].0, 2).await.unwrap(), []);
    assert_eq!(store.revocations(u64::MAX, 2).await.unwrap(), []);
    assert_eq!(store.revocations(0, 0).await.unwrap(), []);
}

async fn positions_grow_whoever_revokes(store: Arc<dyn Store>) {
    let threads = (0..4).map(|_| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let mut last = 0;
            for _ in 0..20 {
                let what = Revoked::Session(hash(1));
                let revocation = Revocation { what, at: Timestamp(1), until: Timestamp(1) };
                let position = store.revoke(&revocation).await.unwrap();
                assert!(position > last);
                last = position;
            }
        })
    });
    join_all(threads).await;
    let positions: Vec<u64> =
        store.revocations(0, 1_000).await.unwrap().into_iter().map(|(position, _)| position).collect();
    assert_eq!(positions.len(), 80);
    assert!(positions.windows(2).all(|pair| pair[0] < pair[1]), "{positions:?}");
}

async fn a_position_is_never_used_again(store: &dyn Store) {
    let revoke = async |until| {
        let what = Revoked::Person(person("ada").id);
        store.revoke(&Revocation { what, at: Timestamp(1), until: Timestamp(until) }).await.unwrap()
    };
    let kept = revoke(50).await;
    let forgotten = revoke(10).await;
    assert_eq!(forget(store, Timestamp(10)).await, 0, "until then it may be needed");
    assert_eq!(forget(store, Timestamp(11)).await, 1);
    let positions = async || -> Vec<u64> {
        let left = store.revocations(0, 10).await.unwrap();
        left.into_iter().map(|(position, _)| position).collect()
    };
    assert_eq!(positions().await, [kept]);
    assert!(store.is_revoked(&Proof::None, &ada(), Timestamp(0)).await.unwrap());
    let next = revoke(50).await;
    assert!(next > forgotten, "whoever has read up to there must not miss it");
    assert_eq!(forget(store, Timestamp(51)).await, 2);
    assert!(!store.is_revoked(&Proof::None, &ada(), Timestamp(0)).await.unwrap());
    assert!(revoke(50).await > next, "not even when the list is empty");
}

fn ada() -> Principal {
    Principal::Person(person("ada").id)
}

fn key(name: &str) -> KeyId {
    KeyId::parse(name).expect("the suite only uses ids that are valid")
}

fn token(issuer: &str, id: Option<&str>) -> Proof {
    Proof::Token { issuer: issuer.into(), id: id.map(Into::into) }
}

fn revoked_token(issuer: &str, id: &str) -> Revoked {
    Revoked::Token { issuer: issuer.into(), id: id.into() }
}

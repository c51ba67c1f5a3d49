//! Does a store remember passwords, wallets and sessions, and use up what may be used once?

use std::sync::Arc;

use futures_util::future::join_all;

use super::{awkward_texts, elsewhere, hash, person};
use crate::actor::Session;
use crate::ids::Timestamp;
use crate::ports::Store;

/// Everything about [`Logins`](crate::ports::Logins).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_password_is_found_as_it_was_put(&*open().await).await;
    a_wallet_is_one_persons_whatever_the_case(&*open().await).await;
    a_nonce_is_taken_once_and_in_time(&*open().await).await;
    of_many_who_take_a_nonce_one_gets_it(open().await).await;
    a_session_is_found_until_it_is_ended(&*open().await).await;
    a_session_is_renewed_once_and_in_time(&*open().await).await;
    of_many_who_renew_a_session_one_does(open().await).await;
    a_session_that_cannot_be_renewed_stays_as_it_was(&*open().await).await;
    nothing_is_stored_for_nobody(&*open().await).await;
    what_has_expired_is_forgotten_and_nothing_else(&*open().await).await;
}

async fn a_password_is_found_as_it_was_put(store: &dyn Store) {
    let (ada, bob) = (person("ada"), person("bob"));
    store.put_person(&ada).await.unwrap();
    store.put_person(&bob).await.unwrap();
    assert_eq!(store.password(&ada.id).await.unwrap(), None);
    for text in awkward_texts() {
        store.put_password(&ada.id, &text).await.unwrap();
        assert_eq!(store.password(&ada.id).await.unwrap(), Some(text));
    }
    assert_eq!(store.password(&bob.id).await.unwrap(), None);
    assert_eq!(store.password(&person("ADA").id).await.unwrap(), None);
}

async fn a_wallet_is_one_persons_whatever_the_case(store: &dyn Store) {
    let (ada, bob) = (person("ada"), person("bob"));
    store.put_person(&ada).await.unwrap();
    store.put_person(&bob).await.unwrap();
    let (one, two) = ("0xabcdef0123", "0xabcdef0124");
    store.link_wallet(one, &ada.id).await.unwrap();
    store.link_wallet(two, &ada.id).await.unwrap();
    for address in [one, two, "0xABCDEF0123", "0xaBcDeF0124"] {
        assert_eq!(store.person_by_wallet(address).await.unwrap().as_ref(), Some(&ada.id), "{address}");
    }
    assert_eq!(store.person_by_wallet("0xabcdef0125").await.unwrap(), None);
    store.link_wallet("0XABCDEF0123", &bob.id).await.unwrap();
    assert_eq!(store.person_by_wallet(one).await.unwrap(), Some(bob.id.clone()), "it changed hands");
    assert_eq!(store.person_by_wallet(two).await.unwrap(), Some(ada.id.clone()));
    assert_eq!(store.wallets_of(&bob.id).await.unwrap(), ["0xabcdef0123"]);
    assert_eq!(store.wallets_of(&ada.id).await.unwrap(), [two.to_lowercase()]);
    assert_eq!(store.wallets_of(&person("eve").id).await.unwrap(), Vec::<String>::new());
}

async fn a_nonce_is_taken_once_and_in_time(store: &dyn Store) {
    for number in 0..3 {
        store.put_nonce(&hash(number), Timestamp(100)).await.unwrap();
    }
    assert!(store.take_nonce(&hash(0), Timestamp(99)).await.unwrap());
    assert!(!store.take_nonce(&hash(0), Timestamp(99)).await.unwrap(), "it is used up");
    assert!(!store.take_nonce(&hash(1), Timestamp(100)).await.unwrap(), "it has expired");
    assert!(!store.take_nonce(&hash(9), Timestamp(0)).await.unwrap(), "it was never put");
    assert!(store.take_nonce(&hash(2), Timestamp(-1)).await.unwrap());
}

async fn of_many_who_take_a_nonce_one_gets_it(store: Arc<dyn Store>) {
    store.put_nonce(&hash(1), Timestamp(100)).await.unwrap();
    let takers = (0..4).map(|_| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let tries = (0..16).map(|_| async { store.take_nonce(&hash(1), Timestamp(1)).await.unwrap() });
            join_all(tries).await.into_iter().filter(|taken| *taken).count()
        })
    });
    assert_eq!(join_all(takers).await.into_iter().sum::<usize>(), 1);
}

async fn a_session_is_found_until_it_is_ended(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let (one, two) = (session(1), session(2));
    store.put_session(&one).await.unwrap();
    store.put_session(&two).await.unwrap();
    assert_eq!(store.session(&one.hash).await.unwrap().as_ref(), Some(&one));
    assert_eq!(store.session_by_refresh(&one.refresh).await.unwrap().as_ref(), Some(&one));
    assert_eq!(store.session(&one.refresh).await.unwrap(), None, "the two tokens are not the same");
    assert_eq!(store.session_by_refresh(&one.hash).await.unwrap(), None);
    assert_eq!(store.session(&hash(9)).await.unwrap(), None);

    assert_eq!(store.end_session(&one.hash).await.unwrap().as_ref(), Some(&one));
    assert_eq!(store.end_session(&one.hash).await.unwrap(), None);
    assert_eq!(store.session(&one.hash).await.unwrap(), None);
    assert_eq!(store.session_by_refresh(&one.refresh).await.unwrap(), None);
    assert!(!store.rotate_session(&one.refresh, &session(3), Timestamp(0)).await.unwrap());
    assert_eq!(store.session(&two.hash).await.unwrap(), Some(two));
}

async fn a_session_is_renewed_once_and_in_time(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let (first, second, third) = (session(1), session(2), session(3));
    store.put_session(&first).await.unwrap();
    assert!(store.rotate_session(&first.refresh, &second, Timestamp(199)).await.unwrap());
    assert_eq!(store.session(&first.hash).await.unwrap(), None, "the old token is dead");
    assert_eq!(store.session(&second.hash).await.unwrap().as_ref(), Some(&second));
    assert!(!store.rotate_session(&first.refresh, &third, Timestamp(1)).await.unwrap(), "it was used");
    assert!(
        !store.rotate_session(&second.hash, &third, Timestamp(1)).await.unwrap(),
        "it is no refresh token"
    );
    assert!(!store.rotate_session(&second.refresh, &third, Timestamp(200)).await.unwrap(), "it is too late");
    assert_eq!(store.session(&second.hash).await.unwrap(), Some(second));
    assert_eq!(store.session(&third.hash).await.unwrap(), None);
}

async fn of_many_who_renew_a_session_one_does(store: Arc<dyn Store>) {
    store.put_person(&person("ada")).await.unwrap();
    store.put_session(&session(0)).await.unwrap();
    let renewals = (0..4).map(|thread| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let tries = (0..8).map(|number| {
                let (next, store) = (session(1 + thread * 8 + number), &store);
                async move {
                    let old = session(0).refresh;
                    store.rotate_session(&old, &next, Timestamp(1)).await.unwrap()
                }
            });
            join_all(tries).await.into_iter().filter(|renewed| *renewed).count()
        })
    });
    assert_eq!(join_all(renewals).await.into_iter().sum::<usize>(), 1);
    let mut alive = 0;
    for number in 0..33 {
        alive += usize::from(store.session(&session(number).hash).await.unwrap().is_some());
    }
    assert_eq!(alive, 1);
}

async fn a_session_that_cannot_be_renewed_stays_as_it_was(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    store.put_person(&person("bob")).await.unwrap();
    let (one, two) = (session(1), session(2));
    store.put_session(&one).await.unwrap();
    store.put_session(&two).await.unwrap();
    let bobs = Session { person: person("bob").id, ..session(3) };
    assert!(store.rotate_session(&one.refresh, &bobs, Timestamp(1)).await.is_err());
    let taken = Session { hash: two.hash, ..session(4) };
    assert!(store.rotate_session(&one.refresh, &taken, Timestamp(1)).await.is_err());
    assert!(store.put_session(&taken).await.is_err(), "its token is in use");
    assert!(store.put_session(&Session { refresh: two.refresh, ..session(5) }).await.is_err());
    assert_eq!(store.session(&one.hash).await.unwrap().as_ref(), Some(&one));
    assert_eq!(store.session_by_refresh(&one.refresh).await.unwrap(), Some(one));
    assert_eq!(store.session(&two.hash).await.unwrap(), Some(two));
    assert_eq!(store.session(&bobs.hash).await.unwrap(), None);
    assert_eq!(store.session(&session(5).hash).await.unwrap(), None);
}

async fn nothing_is_stored_for_nobody(store: &dyn Store) {
    let nobody = person("nobody");
    let stray = Session { person: nobody.id.clone(), ..session(1) };
    assert!(store.put_password(&nobody.id, "phc").await.is_err());
    assert!(store.link_wallet("0xab", &nobody.id).await.is_err());
    assert!(store.put_session(&stray).await.is_err());
    store.put_person(&nobody).await.unwrap();
    assert_eq!(store.password(&nobody.id).await.unwrap(), None);
    assert_eq!(store.person_by_wallet("0xab").await.unwrap(), None);
    assert_eq!(store.session(&stray.hash).await.unwrap(), None);
}

async fn what_has_expired_is_forgotten_and_nothing_else(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    for (number, expires) in [(1, 10), (2, 20)] {
        store.put_nonce(&hash(number), Timestamp(expires)).await.unwrap();
        let session = Session {
            expires_at: Timestamp(expires - 5),
            refresh_until: Timestamp(expires),
            ..session(number)
        };
        store.put_session(&session).await.unwrap();
    }
    // One that can be used for longer than it can be renewed.
    let short = Session { expires_at: Timestamp(20), refresh_until: Timestamp(0), ..session(3) };
    store.put_session(&short).await.unwrap();

    assert_eq!(super::forget(store, Timestamp(9)).await, 0);
    assert_eq!(super::forget(store, Timestamp(10)).await, 2);
    assert_eq!(store.session(&session(1).hash).await.unwrap(), None);
    assert_eq!(store.session_by_refresh(&session(1).refresh).await.unwrap(), None);
    assert!(!store.take_nonce(&hash(1), Timestamp(0)).await.unwrap());
    assert!(store.session(&session(2).hash).await.unwrap().is_some());
    assert_eq!(store.session(&short.hash).await.unwrap(), Some(short));
    assert!(store.take_nonce(&hash(2), Timestamp(10)).await.unwrap());
    assert_eq!(super::forget(store, Timestamp(20)).await, 2);
    assert_eq!(super::forget(store, Timestamp(i64::MAX)).await, 0);
}

/// Ada's session of this number: it may be used before 100 and renewed before 200.
fn session(number: u8) -> Session {
    Session {
        hash: hash(number),
        refresh: hash(255 - number),
        person: person("ada").id,
        created_at: Timestamp(i64::from(number)),
        expires_at: Timestamp(100),
        refresh_until: Timestamp(200),
    }
}

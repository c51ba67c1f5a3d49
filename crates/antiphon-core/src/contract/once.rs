//! Does a store store a message once, however often it is sent?

use std::sync::Arc;

use futures_util::future::join_all;

use super::conversations::{Calls, append, message};
use super::{awkward_texts, elsewhere, forget};
use crate::agents::RelationDelta;
use crate::conversation::Party;
use crate::ids::{MessageId, Timestamp};
use crate::ports::{Appended, KEYS_KEPT, NewMessage, Quota, RequestKey, Store};

/// Everything about [`NewMessage::once`](crate::ports::NewMessage).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_repeat_has_no_effect_and_the_first_answer(&*open().await).await;
    a_key_used_for_something_else_is_told_apart(&*open().await).await;
    senders_have_their_own_keys(&*open().await).await;
    a_message_that_was_not_stored_leaves_its_key_free(&*open().await).await;
    of_many_tries_one_is_stored(open().await).await;
    after_a_day_a_key_is_free_again(&*open().await).await;
    what_is_older_than_a_day_is_forgotten_and_nothing_else(&*open().await).await;
}

async fn a_repeat_has_no_effect_and_the_first_answer(store: &dyn Store) {
    for text in awkward_texts() {
        let first = once(&text, NewMessage { text: text.clone(), ..message("luna", "ada") });
        let stored = append(store, first.clone()).await.0;
        // Said later, with everything that must not happen a second time, and over a limit that is used up.
        let again = NewMessage {
            id: MessageId::random(),
            at: Timestamp(first.at.0 + 5),
            quota: Some(Quota { month: 1, limit: Some(0) }),
            moves: Some(RelationDelta { trust: 0.25, ..RelationDelta::default() }),
            ..first
        };
        for _ in 0..2 {
            let calls = Calls::default();
            let repeated = store.append(again.clone(), calls.committed()).await.unwrap();
            assert_eq!(repeated, Appended::Repeated { message: stored.clone() });
            assert_eq!(calls.take(), [], "committed is not called for what is not stored");
        }
        assert_eq!(store.messages_sent(&again.person, 1).await.unwrap(), 0);
        assert_eq!(store.relation(&again.agent, &again.person).await.unwrap().trust, 0.5);
        assert_eq!(store.recent(stored.conversation, 1).await.unwrap(), [stored]);
    }
}

async fn a_key_used_for_something_else_is_told_apart(store: &dyn Store) {
    let first = once("key", message("luna", "ada"));
    let stored = append(store, first.clone()).await.0;
    let others = [
        NewMessage { text: "other".into(), ..once("key", message("luna", "ada")) },
        NewMessage { author: Party::Agent, ..once("key", message("luna", "ada")) },
        once("key", message("mia", "ada")),
        once("key", message("luna", "bob")),
    ];
    for other in others {
        let calls = Calls::default();
        let answer = store.append(other.clone(), calls.committed()).await.unwrap();
        assert_eq!(answer, Appended::Reused, "{other:?}");
        assert_eq!(calls.take(), []);
        let place = other.conversation;
        let expected = if place == stored.conversation { vec![stored.clone()] } else { Vec::new() };
        assert_eq!(store.history(place, 0, 10).await.unwrap(), expected);
    }
    assert!(matches!(try_append(store, first).await, Appended::Repeated { .. }), "the first one keeps it");
}

async fn senders_have_their_own_keys(store: &dyn Store) {
    for (seq, (principal, key)) in (1..).zip([
        ("person:ada", "key"),
        ("person:ada", "KEY"),
        ("person:bob", "key"),
        ("", "person:ada key"),
    ]) {
        let key = RequestKey { principal: principal.into(), key: key.into() };
        let (stored, _) = append(store, NewMessage { once: Some(key), ..message("luna", "ada") }).await;
        assert_eq!(stored.seq, seq);
    }
    assert_eq!(append(store, message("luna", "ada")).await.0.seq, 5, "without a key nothing is a repeat");
}

async fn a_message_that_was_not_stored_leaves_its_key_free(store: &dyn Store) {
    let refused =
        NewMessage { quota: Some(Quota { month: 1, limit: Some(0) }), ..once("key", message("luna", "ada")) };
    assert_eq!(try_append(store, refused).await, Appended::OverQuota { current: 0, limit: 0 });
    let stored = append(store, message("luna", "ada")).await.0;
    let broken = NewMessage { id: stored.id, ..once("key", message("luna", "ada")) };
    assert!(store.append(broken, Box::new(|_, _, _| ())).await.is_err());
    let other = NewMessage { text: "other".into(), ..once("key", message("luna", "ada")) };
    assert_eq!(append(store, other).await.0.seq, 2);
}

async fn of_many_tries_one_is_stored(store: Arc<dyn Store>) {
    let threads = (0..4).map(|_| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let tries = (0..16).map(|_| try_append(&*store, once("key", message("luna", "ada"))));
            join_all(tries).await
        })
    });
    let answers: Vec<Appended> = join_all(threads).await.into_iter().flatten().collect();
    let stored: Vec<_> = store.history(message("luna", "ada").conversation, 0, 100).await.unwrap();
    assert_eq!(stored.len(), 1);
    let mut first = 0;
    for answer in answers {
        match answer {
            Appended::Stored { message, .. } => {
                first += 1;
                assert_eq!(message, stored[0]);
            }
            Appended::Repeated { message } => assert_eq!(message, stored[0]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(first, 1);
}

async fn after_a_day_a_key_is_free_again(store: &dyn Store) {
    let at = |at| NewMessage { at: Timestamp(at), ..once("key", message("luna", "ada")) };
    let first = append(store, at(7)).await.0;
    let last_moment = try_append(store, at(7 + KEYS_KEPT - 1)).await;
    assert_eq!(last_moment, Appended::Repeated { message: first });
    let second = append(store, at(7 + KEYS_KEPT)).await.0;
    assert_eq!(second.seq, 2);
    for later in [7 + KEYS_KEPT, 7 + 2 * KEYS_KEPT - 1, i64::MIN] {
        assert_eq!(try_append(store, at(later)).await, Appended::Repeated { message: second.clone() });
    }
}

async fn what_is_older_than_a_day_is_forgotten_and_nothing_else(store: &dyn Store) {
    let at = |key, at| NewMessage { at: Timestamp(at), ..once(key, message("luna", "ada")) };
    append(store, at("old", 0)).await;
    append(store, at("young", 1)).await;
    assert_eq!(forget(store, Timestamp(KEYS_KEPT - 1)).await, 0);
    assert_eq!(forget(store, Timestamp(KEYS_KEPT)).await, 1);
    assert!(matches!(try_append(store, at("young", 2)).await, Appended::Repeated { .. }));
    assert!(matches!(try_append(store, at("old", 2)).await, Appended::Stored { .. }));
    let said = store.history(message("luna", "ada").conversation, 0, 10).await.unwrap();
    assert_eq!(said.len(), 3, "what was said stays");
}

async fn try_append(store: &dyn Store, new: NewMessage) -> Appended {
    store.append(new, Box::new(|_, _, _| ())).await.unwrap()
}

fn once(key: &str, new: NewMessage) -> NewMessage {
    let key = RequestKey { principal: "person:ada".into(), key: key.into() };
    NewMessage { once: Some(key), ..new }
}

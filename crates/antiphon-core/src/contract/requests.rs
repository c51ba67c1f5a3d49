//! Does a store know what was asked before, and answer the same?

use std::sync::Arc;

use futures_util::future::join_all;

use super::{awkward_texts, elsewhere, forget};
use crate::ids::Timestamp;
use crate::ports::{Begun, KEYS_KEPT, RequestKey, Store};

/// Everything about [`Requests`](crate::ports::Requests).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_request_is_new_once(&*open().await).await;
    senders_have_their_own_keys(&*open().await).await;
    of_many_who_begin_a_request_one_is_new(open().await).await;
    an_answer_is_given_once_and_kept(&*open().await).await;
    an_abandoned_request_may_be_begun_again(&*open().await).await;
    after_a_day_a_key_is_free_again(&*open().await).await;
    what_is_older_than_a_day_is_forgotten_and_nothing_else(&*open().await).await;
}

async fn a_request_is_new_once(store: &dyn Store) {
    for text in awkward_texts() {
        let key = key("service:shop", &text);
        assert_eq!(begin(store, &key, 1, 0).await, Begun::New);
        assert_eq!(begin(store, &key, 1, 5).await, Begun::Unfinished);
        assert_eq!(begin(store, &key, 2, 5).await, Begun::Different);
        store.finish(&key, &text).await.unwrap();
        assert_eq!(begin(store, &key, 1, 5).await, Begun::Answered(text));
        assert_eq!(begin(store, &key, 2, 5).await, Begun::Different);
    }
}

async fn senders_have_their_own_keys(store: &dyn Store) {
    for principal in ["service:shop", "service:SHOP", "operator", ""] {
        for name in ["key", "KEY", "shop key"] {
            assert_eq!(begin(store, &key(principal, name), 1, 0).await, Begun::New, "{principal} {name}");
        }
    }
}

async fn of_many_who_begin_a_request_one_is_new(store: Arc<dyn Store>) {
    let threads = (0..4).map(|_| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let tries = (0..16).map(|_| async { begin(&*store, &key("operator", "key"), 1, 0).await });
            let begun = join_all(tries).await;
            assert!(begun.iter().all(|begun| matches!(begun, Begun::New | Begun::Unfinished)));
            begun.into_iter().filter(|begun| *begun == Begun::New).count()
        })
    });
    assert_eq!(join_all(threads).await.into_iter().sum::<usize>(), 1);
}

async fn an_answer_is_given_once_and_kept(store: &dyn Store) {
    let key = key("operator", "key");
    assert!(store.finish(&key, "never begun").await.is_err());
    assert_eq!(begin(store, &key, 1, 0).await, Begun::New);
    store.finish(&key, "first").await.unwrap();
    assert!(store.finish(&key, "second").await.is_err());
    store.abandon(&key).await.unwrap();
    assert_eq!(begin(store, &key, 1, 0).await, Begun::Answered("first".into()));
}

async fn an_abandoned_request_may_be_begun_again(store: &dyn Store) {
    let key = key("operator", "key");
    store.abandon(&key).await.unwrap();
    assert_eq!(begin(store, &key, 1, 0).await, Begun::New);
    store.abandon(&key).await.unwrap();
    assert_eq!(begin(store, &key, 2, 0).await, Begun::New, "also to ask something else");
    assert_eq!(begin(store, &key, 2, 0).await, Begun::Unfinished);
}

async fn after_a_day_a_key_is_free_again(store: &dyn Store) {
    for (name, answer) in [("answered", Some("answer")), ("unfinished", None)] {
        let key = key("operator", name);
        assert_eq!(begin(store, &key, 1, 7).await, Begun::New);
        if let Some(answer) = answer {
            store.finish(&key, answer).await.unwrap();
        }
        assert_eq!(begin(store, &key, 2, 7 + KEYS_KEPT - 1).await, Begun::Different);
        assert_eq!(begin(store, &key, 2, 7 + KEYS_KEPT).await, Begun::New);
        assert_eq!(begin(store, &key, 2, 7 + KEYS_KEPT).await, Begun::Unfinished);
        assert_eq!(
            begin(store, &key, 2, 7 + 2 * KEYS_KEPT - 1).await,
            Begun::Unfinished,
            "a day from then on"
        );
        assert_eq!(
            begin(store, &key, 2, i64::MIN).await,
            Begun::Unfinished,
            "also by a clock that was set back"
        );
    }
}

async fn what_is_older_than_a_day_is_forgotten_and_nothing_else(store: &dyn Store) {
    let (old, young) = (key("operator", "old"), key("operator", "young"));
    assert_eq!(begin(store, &old, 1, 0).await, Begun::New);
    store.finish(&old, "answer").await.unwrap();
    assert_eq!(begin(store, &young, 1, 1).await, Begun::New);
    assert_eq!(forget(store, Timestamp(KEYS_KEPT - 1)).await, 0);
    assert_eq!(forget(store, Timestamp(KEYS_KEPT)).await, 1);
    assert_eq!(begin(store, &old, 2, 1).await, Begun::New);
    assert_eq!(begin(store, &young, 1, 1).await, Begun::Unfinished);
}

async fn begin(store: &dyn Store, key: &RequestKey, fingerprint: u8, now: i64) -> Begun {
    store.begin(key, &[fingerprint; 32], Timestamp(now)).await.unwrap()
}

fn key(principal: &str, key: &str) -> RequestKey {
    RequestKey { principal: principal.into(), key: key.into() }
}

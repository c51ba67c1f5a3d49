//! Do leases know who holds what, who came first and who went last?

use std::sync::Arc;
use std::time::Duration;

use crate::ports::Leases;

/// The whole suite of [`Leases`].
///
/// `open` opens leases that nobody holds. `pass` lets time pass: `tokio::time::advance` where the clock is paused, waiting where
/// it is not. Altogether it is asked for about ten seconds; a difference of half a second must be noticed.
pub async fn leases(open: impl AsyncFn() -> Arc<dyn Leases>, pass: impl AsyncFn(Duration)) {
    the_first_holder_is_told_so(&*open().await).await;
    the_last_holder_is_told_so(&*open().await).await;
    giving_up_what_one_does_not_hold_changes_nothing(&*open().await).await;
    keys_and_holders_are_told_apart(&*open().await).await;
    a_claim_expires(&*open().await, &pass).await;
    a_renewed_claim_lasts_from_the_renewal(&*open().await, &pass).await;
    claiming_again_renews(&*open().await, &pass).await;
    each_holder_expires_alone(&*open().await, &pass).await;
}

const SHORT: Duration = Duration::from_millis(1_000);
const LONG: Duration = Duration::from_millis(60_000);
const HALF: Duration = Duration::from_millis(500);

async fn the_first_holder_is_told_so(leases: &dyn Leases) {
    assert_eq!(holders(leases, "key").await, [""; 0]);
    assert!(leases.claim("key", "ada", LONG).await.unwrap());
    assert!(!leases.claim("key", "bob", LONG).await.unwrap(), "ada held it before");
    assert!(!leases.claim("key", "ada", LONG).await.unwrap(), "ada herself held it before");
    assert_eq!(holders(leases, "key").await, ["ada", "bob"]);
}

async fn the_last_holder_is_told_so(leases: &dyn Leases) {
    leases.claim("key", "ada", LONG).await.unwrap();
    leases.claim("key", "bob", LONG).await.unwrap();
    assert!(!leases.release("key", "ada").await.unwrap(), "bob still holds it");
    assert_eq!(holders(leases, "key").await, ["bob"]);
    assert!(leases.release("key", "bob").await.unwrap());
    assert_eq!(holders(leases, "key").await, [""; 0]);
    assert!(leases.claim("key", "ada", LONG).await.unwrap(), "nobody held it any more");
}

async fn giving_up_what_one_does_not_hold_changes_nothing(leases: &dyn Leases) {
    assert!(!leases.release("key", "ada").await.unwrap(), "nobody held it");
    leases.claim("key", "ada", LONG).await.unwrap();
    assert!(!leases.release("key", "bob").await.unwrap());
    assert_eq!(holders(leases, "key").await, ["ada"]);
    assert!(leases.release("key", "ada").await.unwrap());
    assert!(!leases.release("key", "ada").await.unwrap(), "she gave it up before");
    assert!(!leases.renew("key", "ada", LONG).await.unwrap(), "what was given up is not renewed");
    assert_eq!(holders(leases, "key").await, [""; 0]);
}

async fn keys_and_holders_are_told_apart(leases: &dyn Leases) {
    for (key, holder) in [("a", "b:c"), ("a:b", "c"), ("A", "b:c"), ("é*?[", "日本 語"), ("a b", "")] {
        assert!(leases.claim(key, holder, LONG).await.unwrap(), "nobody held {key}");
        assert_eq!(holders(leases, key).await, [holder]);
    }
    assert!(leases.release("a", "b:c").await.unwrap());
    assert_eq!(holders(leases, "a").await, [""; 0]);
    assert_eq!(holders(leases, "a:b").await, ["c"]);
    assert_eq!(holders(leases, "A").await, ["b:c"]);
}

async fn a_claim_expires(leases: &dyn Leases, pass: &impl AsyncFn(Duration)) {
    leases.claim("key", "ada", SHORT).await.unwrap();
    pass(HALF).await;
    assert_eq!(holders(leases, "key").await, ["ada"]);
    pass(SHORT).await;
    assert_eq!(holders(leases, "key").await, [""; 0]);
    assert!(!leases.renew("key", "ada", LONG).await.unwrap(), "what has expired is not renewed");
    assert!(!leases.release("key", "ada").await.unwrap(), "nobody held it any more");
    assert_eq!(holders(leases, "key").await, [""; 0]);
    assert!(leases.claim("key", "ada", LONG).await.unwrap(), "she is the first again");
}

async fn a_renewed_claim_lasts_from_the_renewal(leases: &dyn Leases, pass: &impl AsyncFn(Duration)) {
    leases.claim("key", "ada", SHORT).await.unwrap();
    for _ in 0..3 {
        pass(HALF).await;
        assert!(leases.renew("key", "ada", SHORT).await.unwrap());
    }
    assert!(!leases.renew("key", "bob", SHORT).await.unwrap(), "bob has no claim");
    assert_eq!(holders(leases, "key").await, ["ada"]);
    pass(SHORT + HALF).await;
    assert_eq!(holders(leases, "key").await, [""; 0]);
}

async fn claiming_again_renews(leases: &dyn Leases, pass: &impl AsyncFn(Duration)) {
    leases.claim("key", "ada", SHORT).await.unwrap();
    leases.claim("key", "ada", LONG).await.unwrap();
    pass(SHORT + HALF).await;
    assert_eq!(holders(leases, "key").await, ["ada"]);
    assert!(leases.release("key", "ada").await.unwrap());
}

async fn each_holder_expires_alone(leases: &dyn Leases, pass: &impl AsyncFn(Duration)) {
    leases.claim("key", "ada", LONG).await.unwrap();
    leases.claim("key", "bob", SHORT).await.unwrap();
    leases.claim("other", "bob", LONG).await.unwrap();
    pass(SHORT + HALF).await;
    assert_eq!(holders(leases, "key").await, ["ada"]);
    assert_eq!(holders(leases, "other").await, ["bob"]);
    assert!(!leases.claim("key", "bob", SHORT).await.unwrap(), "ada holds it");
    pass(SHORT + HALF).await;
    assert!(leases.release("key", "ada").await.unwrap(), "bob's claim has expired, so she was the last");
}

async fn holders(leases: &dyn Leases, key: &str) -> Vec<String> {
    let mut holders = leases.holders(key).await.unwrap();
    holders.sort();
    holders
}

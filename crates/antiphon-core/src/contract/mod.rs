//! What every implementation of a port must do, as a suite.
//!
//! The functions are asynchronous, take a way to open a fresh, empty implementation, and panic when it breaks its contract.
//! Tests of an implementation call them, in this crate and in others:
//!
//! ```
//! use std::sync::Arc;
//! use antiphon_core::{contract, memory::MemoryStore};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! contract::store(async || Arc::new(MemoryStore::new()) as _).await;
//! # });
//! ```
//!
//! | module | asks |
//! |---|---|
//! | [`people`], [`keys`], [`logins`], [`revocations`], [`requests`], [`agents`], [`bonds`], [`conversations`], [`once`], [`wallets`], [`work`] | does a [`Store`] remember what it must, and nothing else |
//! | [`webhooks`](mod@webhooks) | does a store remember what [`Webhooks`](crate::webhooks::Webhooks) need |
//! | [`bus`](mod@bus) | does a [`Bus`](crate::ports::Bus) reach everybody who listens, in order |
//! | [`leases`](mod@leases) | do [`Leases`](crate::ports::Leases) know who holds what, and who came first and went last |

pub mod agents;
pub mod bonds;
pub mod bus;
pub mod conversations;
pub mod keys;
pub mod leases;
pub mod logins;
pub mod once;
pub mod people;
pub mod requests;
pub mod revocations;
pub mod wallets;
pub mod webhooks;
pub mod work;

pub use bus::bus;
pub use leases::leases;
pub use webhooks::webhooks;

use std::sync::Arc;
use std::thread;

use tokio::sync::oneshot;

use crate::actor::{Person, SecretHash};
use crate::ids::{PersonId, Timestamp};
use crate::ports::Store;

/// The whole suite of a [`Store`], noun by noun. `open` opens an empty store each time.
///
/// Some of it runs on threads with runtimes of their own, so the clock must not be paused.
pub async fn store(open: impl AsyncFn() -> Arc<dyn Store>) {
    people::suite(&open).await;
    keys::suite(&open).await;
    logins::suite(&open).await;
    revocations::suite(&open).await;
    requests::suite(&open).await;
    agents::suite(&open).await;
    bonds::suite(&open).await;
    conversations::suite(&open).await;
    once::suite(&open).await;
    wallets::suite(&open).await;
    work::suite(&open).await;
}

/// Ids that must be kept apart from their neighbours: case, spaces, every width of UTF-8, and the longest one.
fn awkward_ids() -> Vec<String> {
    let mut ids: Vec<String> =
        ["user-123", "USER-123", "user 123", "o'brien\"; --", "%", "_", "ñandú", "日本語", "👩‍👩‍👧‍👦"]
            .map(String::from)
            .into();
    ids.push("x".repeat(128));
    ids
}

/// Texts that must come back exactly as they went in.
fn awkward_texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "¿Qué tal, señora? Te quiero.",
        "👩‍👩‍👧‍👦 🏳️‍🌈 e\u{301} \u{202e}abc\u{202c} \u{feff}",
        "before\0after\0",
        "\0",
        "'; DROP TABLE messages; --",
        "line\r\nline\n\ttab \u{1b}[31m",
        "\u{10ffff}\u{fffd}",
        "0123",
        "1e5",
        "NULL",
    ]
    .map(String::from)
    .into();
    texts.push("long é ".repeat(40_000));
    texts
}

fn person(id: &str) -> Person {
    let id = PersonId::parse(id).expect("the suite only uses ids that are valid");
    Person { id, plan: "free".into(), roles: Vec::new(), created_at: Timestamp(1_700_000_000_000) }
}

fn hash(last: u8) -> SecretHash {
    let mut hash = [0; 32];
    hash[31] = last;
    SecretHash(hash)
}

/// Forgets what has had its time `now`, all of it; returns how much that was.
async fn forget(store: &dyn Store, now: Timestamp) -> u64 {
    let mut forgotten = 0;
    loop {
        match store.forget(now).await.unwrap() {
            0 => return forgotten,
            some => forgotten += some,
        }
    }
}

/// Runs `work` on a thread of its own with a runtime of its own, as a server with one runtime per core does. The caller's
/// runtime goes on meanwhile.
async fn elsewhere<T, F>(work: impl FnOnce() -> F + Send + 'static) -> T
where
    T: Send + 'static,
    F: Future<Output = T>,
{
    let (answer, answered) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.expect("a runtime with nothing but timers needs no resources");
        // Nobody waits for the answer only when the suite has already failed.
        let _ = answer.send(runtime.block_on(work()));
    });
    answered.await.expect("the other thread must not panic")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::memory::{MemoryBus, MemoryLeases, MemoryStore};

    #[tokio::test]
    async fn the_memory_store_keeps_the_contract() {
        store(async || Arc::new(MemoryStore::new()) as _).await;
    }

    #[tokio::test]
    async fn the_memory_bus_keeps_the_contract() {
        bus(async || Arc::new(MemoryBus::new()) as _).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_memory_leases_keep_the_contract() {
        leases(
            async || Arc::new(MemoryLeases::new()) as _,
            async |time: Duration| tokio::time::advance(time).await,
        )
        .await;
    }
}

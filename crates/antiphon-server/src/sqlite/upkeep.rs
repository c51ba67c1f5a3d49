//! Which statements throw away what has had its time.

use antiphon_core::ids::Timestamp;
use antiphon_core::jobs::JOBS_KEPT;
use antiphon_core::ports::{KEYS_KEPT, Upkeep};
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{Connection, params};

use super::SqliteStore;

/// How many rows of a table one call deletes at most, so that the commit it is part of stays a quick one.
const AT_ONCE: u32 = 500;

#[async_trait]
impl Upkeep for SqliteStore {
    async fn forget(&self, now: Timestamp) -> Result<u64, Fault> {
        self.write("forgetting what is over", move |connection| forget(connection, now)).await
    }
}

/// What throws away what had its time before a moment, so many rows at once.
pub(super) const OVER: [&str; 3] = [
    "DELETE FROM nonces WHERE hash IN (SELECT hash FROM nonces WHERE expires <= ?1 LIMIT ?2)",
    "DELETE FROM sessions WHERE hash IN (
         SELECT hash FROM sessions WHERE max(expires_at, refresh_until) <= ?1 LIMIT ?2)",
    "DELETE FROM revocations WHERE position IN (
         SELECT position FROM revocations WHERE until < ?1 LIMIT ?2)",
];

/// What throws away what was begun before a moment.
pub(super) const OLD: [&str; 2] = [
    "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE begun_at <= ?1 LIMIT ?2)",
    "DELETE FROM message_keys WHERE (principal, key) IN (
         SELECT principal, key FROM message_keys WHERE at <= ?1 LIMIT ?2)",
];

/// What throws away jobs that last changed before a moment.
pub(super) const LONG_OVER: &str =
    "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE changed_at <= ?1 LIMIT ?2)";

fn forget(connection: &Connection, now: Timestamp) -> rusqlite::Result<u64> {
    let day_before = now.0.saturating_sub(KEYS_KEPT);
    let over = OVER.iter().map(|statement| (statement, now.0));
    let old = OLD.iter().map(|statement| (statement, day_before));
    let long_over = [(&LONG_OVER, now.0.saturating_sub(JOBS_KEPT))];
    let mut forgotten = 0;
    for (statement, moment) in over.chain(old).chain(long_over) {
        forgotten += connection.prepare_cached(statement)?.execute(params![moment, AT_ONCE])?;
    }
    Ok(forgotten as u64)
}

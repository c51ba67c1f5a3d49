//! Which statements requests need, so that one that is sent again has no second effect.

use antiphon_core::ids::Timestamp;
use antiphon_core::ports::{Begun, KEYS_KEPT, RequestKey, Requests};
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::SqliteStore;

#[async_trait]
impl Requests for SqliteStore {
    async fn begin(&self, key: &RequestKey, fingerprint: &[u8; 32], now: Timestamp) -> Result<Begun, Fault> {
        let (key, fingerprint) = (key.clone(), *fingerprint);
        self.write("beginning a request", move |connection| begin(connection, &key, fingerprint, now)).await
    }

    async fn finish(&self, key: &RequestKey, answer: &str) -> Result<(), Fault> {
        let (RequestKey { principal, key }, answer) = (key.clone(), answer.to_owned());
        let answered = self.write("storing the answer to a request", move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE requests SET answer = ?3 WHERE principal = ?1 AND key = ?2 AND answer IS NULL",
            )?;
            statement.execute(params![principal, key, answer])
        });
        match answered.await? {
            0 => Err(Fault::new("answering a request that is not under way")),
            _ => Ok(()),
        }
    }

    async fn abandon(&self, key: &RequestKey) -> Result<(), Fault> {
        let RequestKey { principal, key } = key.clone();
        self.write("forgetting a request", move |connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM requests WHERE principal = ?1 AND key = ?2 AND answer IS NULL",
            )?;
            statement.execute(params![principal, key]).map(drop)
        })
        .await
    }
}

/// Whether a key that was first used `at` is still remembered `now`.
pub(super) fn is_kept(at: i64, now: Timestamp) -> bool {
    now.0.saturating_sub(at) < KEYS_KEPT
}

/// What is known of a request.
pub(super) const BEFORE: &str =
    "SELECT fingerprint, answer, begun_at FROM requests WHERE principal = ?1 AND key = ?2";

fn begin(
    connection: &Connection,
    key: &RequestKey,
    fingerprint: [u8; 32],
    now: Timestamp,
) -> rusqlite::Result<Begun> {
    let before = connection
        .prepare_cached(BEFORE)?
        .query_row(params![key.principal, key.key], |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?;
    match before {
        Some((first, answer, begun_at)) if is_kept(begun_at, now) => Ok(match answer {
            _ if first != fingerprint => Begun::Different,
            Some(answer) => Begun::Answered(answer),
            None => Begun::Unfinished,
        }),
        _ => {
            let mut put = connection.prepare_cached(
                "INSERT INTO requests (principal, key, fingerprint, answer, begun_at) VALUES (?1, ?2, ?3, NULL, ?4)
                 ON CONFLICT (principal, key) DO UPDATE SET
                     fingerprint = excluded.fingerprint, answer = NULL, begun_at = excluded.begun_at",
            )?;
            put.execute(params![key.principal, key.key, fingerprint, now.0])?;
            Ok(Begun::New)
        }
    }
}

//! Which statements passwords, wallets, nonces and sessions need.

use antiphon_core::actor::{SecretHash, Session};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::Logins;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{person_id, secret_hash};

#[async_trait]
impl Logins for SqliteStore {
    async fn put_password(&self, person: &PersonId, phc: &str) -> Result<(), Fault> {
        let (person, phc) = (person.clone(), phc.to_owned());
        self.write("storing a password", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO passwords (person, phc) VALUES (?1, ?2)
                 ON CONFLICT (person) DO UPDATE SET phc = excluded.phc",
            )?;
            statement.execute(params![person.as_str(), phc]).map(drop)
        })
        .await
    }

    async fn password(&self, person: &PersonId) -> Result<Option<String>, Fault> {
        let person = person.clone();
        self.read("reading a password", move |connection| {
            let mut statement = connection.prepare_cached("SELECT phc FROM passwords WHERE person = ?1")?;
            statement.query_row([person.as_str()], |row| row.get(0)).optional()
        })
        .await
    }

    async fn link_wallet(&self, address: &str, person: &PersonId) -> Result<(), Fault> {
        let (address, person) = (address.to_ascii_lowercase(), person.clone());
        self.write("storing whose a wallet is", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO wallets (address, person) VALUES (?1, ?2)
                 ON CONFLICT (address) DO UPDATE SET person = excluded.person",
            )?;
            statement.execute(params![address, person.as_str()]).map(drop)
        })
        .await
    }

    async fn wallets_of(&self, person: &PersonId) -> Result<Vec<String>, Fault> {
        let person = person.clone();
        self.read("listing wallets", move |connection| {
            let mut statement = connection.prepare_cached(WALLETS)?;
            statement.query_map([person.as_str()], |row| row.get(0))?.collect()
        })
        .await
    }

    async fn person_by_wallet(&self, address: &str) -> Result<Option<PersonId>, Fault> {
        let address = address.to_ascii_lowercase();
        self.read("reading whose a wallet is", move |connection| {
            connection.prepare_cached(WALLET)?.query_row([address], |row| person_id(row, 0)).optional()
        })
        .await
    }

    async fn put_nonce(&self, nonce: &SecretHash, expires: Timestamp) -> Result<(), Fault> {
        let nonce = *nonce;
        self.write("storing a nonce", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO nonces (hash, expires) VALUES (?1, ?2)
                 ON CONFLICT (hash) DO UPDATE SET expires = excluded.expires",
            )?;
            statement.execute(params![nonce.0, expires.0]).map(drop)
        })
        .await
    }

    async fn take_nonce(&self, nonce: &SecretHash, now: Timestamp) -> Result<bool, Fault> {
        let nonce = *nonce;
        self.write("using a nonce up", move |connection| {
            let expires: Option<i64> =
                connection.prepare_cached(NONCE)?.query_row([nonce.0], |row| row.get(0)).optional()?;
            Ok(expires.is_some_and(|expires| now.0 < expires))
        })
        .await
    }

    async fn put_session(&self, session: &Session) -> Result<(), Fault> {
        let session = session.clone();
        self.write("storing a session", move |connection| put(connection, &session)).await
    }

    async fn session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        let hash = *hash;
        self.read("looking a session up", move |connection| {
            connection.prepare_cached(SESSION)?.query_row([hash.0], session).optional()
        })
        .await
    }

    async fn session_by_refresh(&self, refresh: &SecretHash) -> Result<Option<Session>, Fault> {
        let refresh = *refresh;
        self.read("looking up which session to renew", move |connection| renewed_by(connection, refresh))
            .await
    }

    async fn rotate_session(
        &self,
        refresh: &SecretHash,
        next: &Session,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let (refresh, next) = (*refresh, next.clone());
        let rotated = self.write("renewing a session", move |connection| {
            let old = renewed_by(connection, refresh)?;
            let Some(old) = old.filter(|old| now < old.refresh_until) else { return Ok(Some(false)) };
            if old.person != next.person {
                return Ok(None);
            }
            end(connection, old.hash)?;
            put(connection, &next)?;
            Ok(Some(true))
        });
        rotated.await?.ok_or_else(|| Fault::new("renewing a session of one person for another"))
    }

    async fn end_session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        let hash = *hash;
        self.write("ending a session", move |connection| end(connection, hash)).await
    }
}

/// How a session is recognised by its token.
pub(super) const SESSION: &str =
    "SELECT hash, refresh, person, created_at, expires_at, refresh_until FROM sessions WHERE hash = ?1";

/// How a session is found by the token that renews it.
pub(super) const RENEWED: &str =
    "SELECT hash, refresh, person, created_at, expires_at, refresh_until FROM sessions WHERE refresh = ?1";

/// Which wallets are somebody's.
pub(super) const WALLETS: &str = "SELECT address FROM wallets WHERE person = ?1 ORDER BY address";

/// Whose a wallet is.
pub(super) const WALLET: &str = "SELECT person FROM wallets WHERE address = ?1";

/// Uses a nonce up.
pub(super) const NONCE: &str = "DELETE FROM nonces WHERE hash = ?1 RETURNING expires";

fn put(connection: &Connection, session: &Session) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO sessions (hash, refresh, person, created_at, expires_at, refresh_until)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let columns = params![
        session.hash.0,
        session.refresh.0,
        session.person.as_str(),
        session.created_at.0,
        session.expires_at.0,
        session.refresh_until.0,
    ];
    statement.execute(columns).map(drop)
}

fn renewed_by(connection: &Connection, refresh: SecretHash) -> rusqlite::Result<Option<Session>> {
    connection.prepare_cached(RENEWED)?.query_row([refresh.0], session).optional()
}

fn end(connection: &Connection, hash: SecretHash) -> rusqlite::Result<Option<Session>> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM sessions WHERE hash = ?1
         RETURNING hash, refresh, person, created_at, expires_at, refresh_until",
    )?;
    statement.query_row([hash.0], session).optional()
}

fn session(row: &Row<'_>) -> rusqlite::Result<Session> {
    Ok(Session {
        hash: secret_hash(row, 0)?,
        refresh: secret_hash(row, 1)?,
        person: person_id(row, 2)?,
        created_at: Timestamp(row.get(3)?),
        expires_at: Timestamp(row.get(4)?),
        refresh_until: Timestamp(row.get(5)?),
    })
}

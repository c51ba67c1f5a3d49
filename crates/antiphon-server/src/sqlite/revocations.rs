//! Which statements revocations need.

use std::fmt::Write as _;

use antiphon_core::actor::{Principal, Proof, SecretHash};
use antiphon_core::ids::Timestamp;
use antiphon_core::ports::{Revocation, Revocations, Revoked};
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, params};

use super::SqliteStore;
use super::rows::{count, key_id, person_id};

#[async_trait]
impl Revocations for SqliteStore {
    async fn revoke(&self, revocation: &Revocation) -> Result<u64, Fault> {
        let Revocation { what, at, until } = revocation.clone();
        self.write("storing a revocation", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO revocations (kind, name, issuer, at, until) VALUES (?1, ?2, ?3, ?4, ?5)
                 RETURNING position",
            )?;
            let Name { kind, name, issuer } = Name::of(&what);
            statement.query_row(params![kind, name, issuer, at.0, until.0], |row| count(row, 0))
        })
        .await
    }

    async fn revocations(&self, after: u64, limit: u32) -> Result<Vec<(u64, Revocation)>, Fault> {
        // No position lies beyond i64::MAX.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.read("reading revocations", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT position, kind, name, issuer, at, until FROM revocations
                 WHERE position > ?1 ORDER BY position LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], revocation)?.collect()
        })
        .await
    }

    async fn is_revoked(
        &self,
        proof: &Proof,
        principal: &Principal,
        issued_at: Timestamp,
    ) -> Result<bool, Fault> {
        let names = [Name::of_proof(proof), Name::of_principal(principal)];
        self.read("asking whether a credential is revoked", move |connection| {
            for name in names.into_iter().flatten() {
                if is_revoked(connection, &name, issued_at)? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
        .await
    }
}

/// How whoever is let in is looked up among the dead.
pub(super) const BY_NAME: &str = "SELECT EXISTS (
    SELECT 1 FROM revocations WHERE kind = ?1 AND name = ?2 AND issuer = ?3 AND at > ?4)";

fn is_revoked(connection: &Connection, name: &Name, issued_at: Timestamp) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(BY_NAME)?;
    statement.query_row(params![name.kind, name.name, name.issuer, issued_at.0], |row| row.get(0))
}

/// What is revoked, in columns.
struct Name {
    kind: &'static str,
    name: String,
    issuer: String,
}

impl Name {
    fn new(kind: &'static str, name: impl Into<String>) -> Self {
        Self { kind, name: name.into(), issuer: String::new() }
    }

    fn of(what: &Revoked) -> Self {
        match what {
            Revoked::Person(id) => Self::new("person", id.as_str()),
            Revoked::Key(id) => Self::new("key", id.as_str()),
            Revoked::Session(hash) => Self::new("session", hexadecimal(hash)),
            Revoked::Token { issuer, id } => Self { issuer: issuer.clone(), ..Self::new("token", id) },
        }
    }

    fn of_proof(proof: &Proof) -> Option<Self> {
        match proof {
            Proof::Key(id) => Some(Self::new("key", id.as_str())),
            Proof::Session(hash) => Some(Self::new("session", hexadecimal(hash))),
            Proof::Token { issuer, id: Some(id) } => {
                Some(Self { issuer: issuer.to_string(), ..Self::new("token", &**id) })
            }
            Proof::None | Proof::Token { id: None, .. } => None,
        }
    }

    fn of_principal(principal: &Principal) -> Option<Self> {
        match principal {
            Principal::Person(id) => Some(Self::new("person", id.as_str())),
            Principal::Service(_) | Principal::Operator | Principal::Guest => None,
        }
    }
}

fn revocation(row: &Row<'_>) -> rusqlite::Result<(u64, Revocation)> {
    let what = match row.get_ref(1)?.as_str()? {
        "person" => Revoked::Person(person_id(row, 2)?),
        "key" => Revoked::Key(key_id(row, 2)?),
        "session" => {
            let hash = from_hexadecimal(row.get_ref(2)?.as_str()?);
            Revoked::Session(hash.ok_or(FromSqlError::InvalidType)?)
        }
        "token" => Revoked::Token { issuer: row.get(3)?, id: row.get(2)? },
        _ => return Err(FromSqlError::InvalidType.into()),
    };
    let revocation = Revocation { what, at: Timestamp(row.get(4)?), until: Timestamp(row.get(5)?) };
    Ok((count(row, 0)?, revocation))
}

fn hexadecimal(hash: &SecretHash) -> String {
    let mut text = String::with_capacity(2 * hash.0.len());
    for byte in hash.0 {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn from_hexadecimal(text: &str) -> Option<SecretHash> {
    let mut hash = [0; 32];
    if text.len() != 2 * hash.len() {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    Some(SecretHash(hash))
}

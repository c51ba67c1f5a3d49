//! Which statements API keys need.

use antiphon_core::actor::{ApiKey, Holder, SecretHash};
use antiphon_core::ids::{KeyId, Timestamp};
use antiphon_core::ports::Keys;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{from_texts, key_id, person_id, secret_hash, texts};

#[async_trait]
impl Keys for SqliteStore {
    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault> {
        let key = key.clone();
        self.write("storing an API key", move |connection| put(connection, &key)).await
    }

    async fn key(&self, hash: &SecretHash) -> Result<Option<ApiKey>, Fault> {
        let hash = *hash;
        self.read("looking an API key up", move |connection| {
            let mut statement = connection.prepare_cached(BY_HASH)?;
            statement.query_row([hash.0], key).optional()
        })
        .await
    }

    async fn key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Fault> {
        let id = id.clone();
        self.read("reading an API key", move |connection| by_id(connection, &id)).await
    }

    async fn keys(&self, after: Option<&KeyId>, limit: u32) -> Result<Vec<ApiKey>, Fault> {
        // No id is empty, so all of them come after the empty text.
        let after = after.map_or_else(String::new, KeyId::to_string);
        self.read("listing API keys", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT hash, id, person, service, dialects, plan, created_at, expires_at, revoked_at
                 FROM api_keys WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], key)?.collect()
        })
        .await
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, Fault> {
        let id = id.clone();
        self.write("revoking an API key", move |connection| {
            let mut statement = connection
                .prepare_cached("UPDATE api_keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")?;
            statement.execute(params![id.as_str(), at.0])?;
            by_id(connection, &id)
        })
        .await
    }
}

/// How whoever connects is recognised.
pub(super) const BY_HASH: &str =
    "SELECT hash, id, person, service, dialects, plan, created_at, expires_at, revoked_at
     FROM api_keys WHERE hash = ?1";

/// Not one statement: a key that is put again may keep its hash, and an upsert would stumble over that before it looked at the id.
fn put(connection: &Connection, key: &ApiKey) -> rusqlite::Result<()> {
    let (person, service) = match &key.holder {
        Holder::Person(id) => (Some(id.as_str()), None),
        Holder::Service(name) => (None, Some(name.as_str())),
        Holder::Operator => (None, None),
    };
    let columns = params![
        key.hash.0,
        key.id.as_str(),
        person,
        service,
        key.dialects.as_deref().map(from_texts).transpose()?,
        key.plan,
        key.created_at.0,
        key.expires_at.map(|at| at.0),
        key.revoked_at.map(|at| at.0),
    ];
    let mut update = connection.prepare_cached(
        "UPDATE api_keys SET
             hash = ?1, person = ?3, service = ?4, dialects = ?5, plan = ?6,
             created_at = ?7, expires_at = ?8, revoked_at = ?9
         WHERE id = ?2",
    )?;
    if update.execute(columns)? > 0 {
        return Ok(());
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO api_keys (hash, id, person, service, dialects, plan, created_at, expires_at, revoked_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    insert.execute(columns).map(drop)
}

fn by_id(connection: &Connection, id: &KeyId) -> rusqlite::Result<Option<ApiKey>> {
    let mut statement = connection.prepare_cached(
        "SELECT hash, id, person, service, dialects, plan, created_at, expires_at, revoked_at
         FROM api_keys WHERE id = ?1",
    )?;
    statement.query_row([id.as_str()], key).optional()
}

fn key(row: &Row<'_>) -> rusqlite::Result<ApiKey> {
    let has = |column| row.get_ref(column).map(|value| value != rusqlite::types::ValueRef::Null);
    let holder = match (has(2)?, has(3)?) {
        (true, _) => Holder::Person(person_id(row, 2)?),
        (false, true) => Holder::Service(row.get(3)?),
        (false, false) => Holder::Operator,
    };
    let at = |column| row.get::<_, Option<i64>>(column).map(|at| at.map(Timestamp));
    Ok(ApiKey {
        hash: secret_hash(row, 0)?,
        id: key_id(row, 1)?,
        holder,
        dialects: if has(4)? { Some(texts(row, 4)?) } else { None },
        plan: row.get(5)?,
        created_at: Timestamp(row.get(6)?),
        expires_at: at(7)?,
        revoked_at: at(8)?,
    })
}

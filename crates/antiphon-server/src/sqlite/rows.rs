//! How columns become ids and numbers.

use antiphon_core::actor::SecretHash;
use antiphon_core::ids::{AgentId, ConversationId, KeyId, MessageId, PersonId};
use antiphon_core::refusal::Refusal;
use rusqlite::types::Type;
use rusqlite::{Error, Result, Row};
use uuid::Uuid;

/// A person's id in this column.
pub(super) fn person_id(row: &Row<'_>, column: usize) -> Result<PersonId> {
    named(row, column, PersonId::parse)
}

/// An agent's id in this column.
pub(super) fn agent_id(row: &Row<'_>, column: usize) -> Result<AgentId> {
    named(row, column, AgentId::parse)
}

/// A key's public name in this column.
pub(super) fn key_id(row: &Row<'_>, column: usize) -> Result<KeyId> {
    named(row, column, KeyId::parse)
}

/// The hash of a secret in this column.
pub(super) fn secret_hash(row: &Row<'_>, column: usize) -> Result<SecretHash> {
    Ok(SecretHash(row.get(column)?))
}

/// A list of texts in this column, as [`from_texts`] wrote it.
pub(super) fn texts(row: &Row<'_>, column: usize) -> Result<Vec<String>> {
    serde_json::from_str(row.get_ref(column)?.as_str()?)
        .map_err(|error| Error::FromSqlConversionFailure(column, Type::Text, error.into()))
}

/// A list of texts as a column has it.
pub(super) fn from_texts(texts: &[String]) -> Result<String> {
    serde_json::to_string(texts).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

/// A message's id in this column.
pub(super) fn message_id(row: &Row<'_>, column: usize) -> Result<MessageId> {
    Ok(MessageId(Uuid::from_bytes(row.get(column)?)))
}

/// A conversation's id in this column.
pub(super) fn conversation_id(row: &Row<'_>, column: usize) -> Result<ConversationId> {
    Ok(ConversationId(Uuid::from_bytes(row.get(column)?)))
}

/// A count in this column. SQLite has no numbers above `i64::MAX`.
pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| Error::IntegralValueOutOfRange(column, value))
}

/// A count as SQLite takes it; one above `i64::MAX` is refused.
pub(super) fn counted(value: u64) -> Result<i64> {
    i64::try_from(value).map_err(|error| Error::ToSqlConversionFailure(error.into()))
}

fn named<T>(row: &Row<'_>, column: usize, parse: impl FnOnce(&str) -> Result<T, Refusal>) -> Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    parse(text).map_err(|refusal| Error::FromSqlConversionFailure(column, Type::Text, refusal.into()))
}

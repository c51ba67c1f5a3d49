//! What it is called when a row is not what was written.

use rusqlite::Error;

/// A row that the disk has changed or lost. It is never served: whoever asked for it gets a fault with this in it.
#[derive(Debug, thiserror::Error)]
#[error("the database is damaged: {table}, {row}: {what}; `antiphon doctor` says more")]
pub(super) struct Damage {
    /// The table.
    pub(super) table: &'static str,
    /// Which row, by its key. Never what people wrote.
    pub(super) row: String,
    /// What is wrong with it.
    pub(super) what: &'static str,
}

impl From<Damage> for Error {
    fn from(damage: Damage) -> Self {
        Self::UserFunctionError(damage.into())
    }
}

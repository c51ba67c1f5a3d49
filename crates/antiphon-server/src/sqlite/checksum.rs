//! Whether a row is what was written.
//!
//! SQLite notices damage to the structure of its file, not to what is in a row. So a message and an entry of a ledger carry the
//! XXH3 hash of all their other columns and the name of their table; it is written with the row and compared whenever the row is
//! read. It finds what a disk does to data, not what somebody does who means to: they would write a new one.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Error, Row};
use twox_hash::XxHash3_64;

use super::damage::Damage;

/// A table whose rows carry a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Table {
    /// `conversation`, `seq`, `id`, `agent`, `person`, `author`, `text`, `at`.
    Messages,
    /// `person`, `position`, `amount`, `balance`, `reason`, `key`, `at`.
    Ledger,
}

impl Table {
    /// What it is called in the database.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Ledger => "ledger",
        }
    }
}

/// The checksum of a row of `table` whose other columns are these, in the order that [`Table`] names.
pub(super) fn of_row(table: Table, columns: &[ValueRef<'_>]) -> i64 {
    sum(table.name().as_bytes(), columns.iter().copied())
}

/// Fails when `stored` is not the checksum of these columns; `row` says then which row it is.
pub(super) fn check(
    table: Table,
    columns: &[ValueRef<'_>],
    stored: i64,
    row: impl FnOnce() -> String,
) -> rusqlite::Result<()> {
    match of_row(table, columns) == stored {
        true => Ok(()),
        false => Err(Damage { table: table.name(), row: row(), what: "does not match its checksum" }.into()),
    }
}

/// The columns of a row, from `first` on.
pub(super) fn columns<'row, const N: usize>(
    row: &'row Row<'_>,
    order: [usize; N],
) -> rusqlite::Result<[ValueRef<'row>; N]> {
    let mut columns = [ValueRef::Null; N];
    for (column, place) in columns.iter_mut().zip(order) {
        *column = row.get_ref(place)?;
    }
    Ok(columns)
}

/// Teaches `connection` the function `row_checksum(table, column, …)`, with which a migration fills the column for rows that
/// are older than it. Many rows take long, so every hundred thousand of them are a line in the log.
pub(super) fn install(connection: &Connection) -> rusqlite::Result<()> {
    let flags =
        FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
    let rows = AtomicU64::new(0);
    connection.create_scalar_function("row_checksum", -1, flags, move |context: &Context<'_>| {
        let Some(arguments) = context.len().checked_sub(1) else {
            return Err(Error::InvalidParameterCount(0, 1));
        };
        let done = rows.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(PROGRESS) {
            tracing::info!(rows = done, "rows are given their checksums");
        }
        let table = context.get_raw(0).as_bytes()?;
        Ok(sum(table, (1..=arguments).map(|argument| context.get_raw(argument))))
    })
}

/// Rows between two lines in the log.
const PROGRESS: u64 = 100_000;

fn sum<'a>(table: &[u8], columns: impl Iterator<Item = ValueRef<'a>>) -> i64 {
    let mut bytes = Vec::with_capacity(512);
    put(&mut bytes, b't', table);
    for column in columns {
        match column {
            ValueRef::Null => put(&mut bytes, b'0', &[]),
            ValueRef::Integer(value) => put(&mut bytes, b'i', &value.to_le_bytes()),
            ValueRef::Real(value) => put(&mut bytes, b'r', &value.to_bits().to_le_bytes()),
            ValueRef::Text(text) => put(&mut bytes, b's', text),
            ValueRef::Blob(blob) => put(&mut bytes, b'b', blob),
        }
    }
    XxHash3_64::oneshot(&bytes).cast_signed()
}

/// With its kind and length in front, so that no two rows are the same bytes.
fn put(bytes: &mut Vec<u8>, kind: u8, value: &[u8]) {
    bytes.push(kind);
    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    bytes.extend_from_slice(value);
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn a_checksum_never_changes_from_one_version_to_the_next() {
        // What databases out there have beside their rows. A different number here makes every one of their rows damaged.
        let columns = [
            ValueRef::Text(b"ada"),
            ValueRef::Integer(1),
            ValueRef::Integer(-5),
            ValueRef::Integer(0),
            ValueRef::Text(b"chat"),
            ValueRef::Null,
            ValueRef::Integer(1_772_366_400_000),
        ];
        assert_eq!(of_row(Table::Ledger, &columns), -1_772_160_412_115_690_767);
    }

    #[test]
    fn every_column_its_kind_its_place_and_the_table_count() {
        let row = [ValueRef::Text(b"ab"), ValueRef::Text(b"c"), ValueRef::Integer(0)];
        let others: [&[ValueRef<'_>]; 5] = [
            &[ValueRef::Text(b"a"), ValueRef::Text(b"bc"), ValueRef::Integer(0)],
            &[ValueRef::Text(b"c"), ValueRef::Text(b"ab"), ValueRef::Integer(0)],
            &[ValueRef::Blob(b"ab"), ValueRef::Text(b"c"), ValueRef::Integer(0)],
            &[ValueRef::Text(b"ab"), ValueRef::Text(b"c"), ValueRef::Null],
            &[ValueRef::Text(b"ab"), ValueRef::Text(b"c")],
        ];
        for other in others {
            assert_ne!(of_row(Table::Messages, &row), of_row(Table::Messages, other), "{other:?}");
        }
        assert_ne!(of_row(Table::Messages, &row), of_row(Table::Ledger, &row));
    }

    #[test]
    fn a_migration_computes_what_an_insert_does() {
        let connection = Connection::open_in_memory().unwrap();
        install(&connection).unwrap();
        let found: i64 = connection
            .query_row("SELECT row_checksum('ledger', 'ada', 1, -5, x'00ff', NULL)", [], |row| row.get(0))
            .unwrap();
        let columns = [
            ValueRef::Text(b"ada"),
            ValueRef::Integer(1),
            ValueRef::Integer(-5),
            ValueRef::Blob(&[0, 255]),
            ValueRef::Null,
        ];
        assert_eq!(found, of_row(Table::Ledger, &columns));
        assert!(connection.query_row("SELECT row_checksum()", [], |_| Ok(())).is_err());
    }
}

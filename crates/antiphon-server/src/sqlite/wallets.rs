//! Which statements the ledgers of tokens need.
//!
//! The database holds the same rules itself (`V4__wallet.sql`): an entry that does not continue its ledger, a second one under
//! a key, and any change of what is written are errors there, whoever tries. What is read is what was written, or a fault: each
//! row is compared with its checksum, positions have no holes, and a ledger ends where `ledger_ends` says.

use antiphon_core::ids::{MessageId, PersonId, Timestamp};
use antiphon_core::ports::{Booked, Charge, NewMessage, OnBooked, OnTold, Untold, Wallets};
use antiphon_core::refusal::Fault;
use antiphon_core::wallet::{Balance, Entry, NewEntry, Obstacle, Reason, enter};
use async_trait::async_trait;
use rusqlite::types::{FromSqlError, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::SqliteStore;
use super::checksum::{self, Table};
use super::damage::Damage;
use super::rows::{count, counted, message_id, person_id};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

#[async_trait]
impl Wallets for SqliteStore {
    async fn book(&self, entry: NewEntry, booked: OnBooked) -> Result<Booked, Fault> {
        let work = move |connection: &Connection| book(connection, entry);
        let committed = move |outcome: &Booked| {
            if let Booked::Entered(entry) = outcome {
                booked(entry);
            }
        };
        let tells = |outcome: &Booked, all: &mut Vec<Untold>| {
            if let Booked::Entered(entry) = outcome {
                all.push(untold(entry));
            }
        };
        self.writer.write("making an entry in a ledger", work, tells, committed).await
    }

    async fn refund(
        &self,
        message: MessageId,
        at: Timestamp,
        booked: OnBooked,
    ) -> Result<Option<Entry>, Fault> {
        let work = move |connection: &Connection| refund(connection, message, at);
        let committed = move |entry: &Option<Entry>| {
            if let Some(entry) = entry {
                booked(entry);
            }
        };
        let tells = |entry: &Option<Entry>, all: &mut Vec<Untold>| all.extend(entry.as_ref().map(untold));
        self.writer.write("refunding a message", work, tells, committed).await
    }

    async fn open_charges(&self, limit: u32) -> Result<Vec<MessageId>, Fault> {
        self.read("listing open charges", move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT message FROM open_charges ORDER BY number LIMIT ?1")?;
            statement.query_map([limit], |row| message_id(row, 0))?.collect()
        })
        .await
    }

    /// On the writing thread, which knows what was committed before and tells of it in order. It writes nothing.
    async fn tell(&self, person: &PersonId, told: OnTold) -> Result<Balance, Fault> {
        let person = person.clone();
        let work = move |connection: &Connection| stand(connection, &person);
        // Whoever came to look and was not told asks again.
        self.writer.write("telling a balance", work, |_, _| (), told).await
    }

    async fn balance(&self, person: &PersonId) -> Result<Balance, Fault> {
        let person = person.clone();
        self.read("reading a balance", move |connection| stand(connection, &person)).await
    }

    async fn ledger(&self, person: &PersonId, after: u64, limit: u32) -> Result<Vec<Entry>, Fault> {
        // No position lies beyond i64::MAX.
        let (person, after) = (person.clone(), i64::try_from(after).unwrap_or(i64::MAX));
        self.read("reading a ledger", move |connection| {
            let end = end(connection, &person)?;
            let mut statement = connection.prepare_cached(
                "SELECT person, position, amount, balance, reason, key, at, checksum
                 FROM ledger WHERE person = ?1 AND position > ?2 ORDER BY position LIMIT ?3",
            )?;
            let found = statement.query_map(params![person.as_str(), after, limit], entry)?;
            let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
            let ends = found.len() < limit as usize;
            whole(&person, after.cast_unsigned(), &found, end.filter(|_| ends))?;
            Ok(found)
        })
        .await
    }

    async fn spent(&self, person: &PersonId) -> Result<u64, Fault> {
        let person = person.clone();
        self.read("adding up what was spent", move |connection| {
            let mut statement = connection.prepare_cached(SPENT)?;
            statement.query_row([person.as_str()], |row| count(row, 0))
        })
        .await
    }

    async fn active_days(&self, person: &PersonId, first: Timestamp, days: u32) -> Result<u32, Fault> {
        let person = person.clone();
        let end = first.0.saturating_add(i64::from(days) * DAY);
        self.read("counting days", move |connection| {
            let mut statement = connection.prepare_cached(ACTIVE)?;
            statement.query_row(params![person.as_str(), first.0, end, DAY], |row| row.get(0))
        })
        .await
    }
}

/// What is told of an entry.
pub(super) fn untold(entry: &Entry) -> Untold {
    Untold::Entry { person: entry.person.clone(), position: entry.position }
}

/// How a ledger stands.
pub(super) const STAND: &str = "SELECT person, position, amount, balance, reason, key, at, checksum
     FROM ledger WHERE person = ?1 ORDER BY position DESC LIMIT 1";

/// Where a ledger ends.
const END: &str = "SELECT position FROM ledger_ends WHERE person = ?1";

/// The entry under a key.
pub(super) const KEYED: &str = "SELECT person, position, amount, balance, reason, key, at, checksum
     FROM ledger WHERE person = ?1 AND reason = ?2 AND key = ?3";

/// The deposit of a payment.
pub(super) const PAYMENT: &str = "SELECT person, position, amount, balance, reason, key, at, checksum
     FROM ledger WHERE reason = 'deposit' AND key = ?1";

/// What somebody's messages cost. An overflow is an error, and there is none below the limits of a balance.
const SPENT: &str = "SELECT coalesce(max(0, -sum(amount)), 0) FROM ledger
     WHERE person = ?1 AND reason IN ('chat', 'refund')";

/// On how many days somebody was here.
pub(super) const ACTIVE: &str = "SELECT count(DISTINCT (at - ?2) / ?4) FROM ledger
     WHERE person = ?1 AND at >= ?2 AND at < ?3 AND reason IN ('reward', 'chat')";

/// The entry that a message brings along. To be called before anything of the message is written.
pub(super) fn price(
    connection: &Connection,
    new: &NewMessage,
) -> rusqlite::Result<Result<Option<Entry>, Obstacle>> {
    let Some(Charge::Take(tokens)) = new.charge else { return Ok(Ok(None)) };
    let entry = NewEntry {
        person: new.person.clone(),
        tokens,
        reason: Reason::Chat,
        key: Some(new.id.to_string()),
        at: new.at,
    };
    let now = stand(connection, &new.person)?;
    Ok(enter(now, entry).map(Some))
}

/// Writes what a message does to the wallet; `paid` is what [`price`] said.
pub(super) fn settle(
    connection: &Connection,
    message: MessageId,
    charge: Option<Charge>,
    paid: Option<&Entry>,
) -> rusqlite::Result<()> {
    if let Some(Charge::Keep(question)) = charge {
        close(connection, question)?;
    }
    if let Some(entry) = paid {
        insert(connection, entry)?;
        let mut open = connection
            .prepare_cached("INSERT INTO open_charges (message, person, tokens) VALUES (?1, ?2, ?3)")?;
        let tokens = counted(entry.amount.unsigned_abs())?;
        open.execute(params![message.0.as_bytes(), entry.person.as_str(), tokens])?;
    }
    Ok(())
}

fn book(connection: &Connection, new: NewEntry) -> rusqlite::Result<Booked> {
    if let Some(first) = earlier(connection, &new)? {
        return Ok(Booked::Repeated(first));
    }
    Ok(match enter(stand(connection, &new.person)?, new) {
        Ok(entry) => {
            insert(connection, &entry)?;
            Booked::Entered(entry)
        }
        Err(obstacle) => Booked::Refused(obstacle),
    })
}

fn refund(connection: &Connection, message: MessageId, at: Timestamp) -> rusqlite::Result<Option<Entry>> {
    let Some((person, tokens)) = close(connection, message)? else { return Ok(None) };
    let new = NewEntry { person, tokens, reason: Reason::Refund, key: Some(message.to_string()), at };
    match enter(stand(connection, &new.person)?, new) {
        Ok(entry) => {
            insert(connection, &entry)?;
            Ok(Some(entry))
        }
        // Only a balance beyond i64::MAX is in the way of a refund. The charge stays open then.
        Err(_) => Err(rusqlite::Error::IntegralValueOutOfRange(0, i64::MAX)),
    }
}

/// The entry that was made before under the same key.
fn earlier(connection: &Connection, new: &NewEntry) -> rusqlite::Result<Option<Entry>> {
    let Some(key) = &new.key else { return Ok(None) };
    let found = match new.reason {
        Reason::Deposit => connection.prepare_cached(PAYMENT)?.query_row([key], entry),
        reason => {
            let columns = params![new.person.as_str(), reason.name(), key];
            connection.prepare_cached(KEYED)?.query_row(columns, entry)
        }
    };
    found.optional()
}

fn stand(connection: &Connection, person: &PersonId) -> rusqlite::Result<Balance> {
    // Before the entry: one that is made meanwhile only makes the ledger longer.
    let end = end(connection, person)?;
    let last = connection.prepare_cached(STAND)?.query_row([person.as_str()], entry).optional()?;
    let position = last.as_ref().map_or(0, |last| last.position);
    if let Some(end) = end.filter(|end| *end > position) {
        return Err(missing(person, end).into());
    }
    Ok(last.map_or_else(Balance::default, |last| Balance { tokens: last.balance, position: last.position }))
}

/// Where this ledger ends, as it is written apart from the entries.
fn end(connection: &Connection, person: &PersonId) -> rusqlite::Result<Option<u64>> {
    connection.prepare_cached(END)?.query_row([person.as_str()], |row| count(row, 0)).optional()
}

/// Fails unless `entries` follow `after` and each other, and reach `end` if that is given and lies beyond `after`.
fn whole(person: &PersonId, after: u64, entries: &[Entry], end: Option<u64>) -> rusqlite::Result<()> {
    let mut expected = after;
    for entry in entries {
        expected = expected.saturating_add(1);
        if entry.position != expected {
            return Err(missing(person, expected).into());
        }
    }
    match end {
        Some(end) if end > expected => Err(missing(person, expected + 1).into()),
        _ => Ok(()),
    }
}

fn missing(person: &PersonId, position: u64) -> Damage {
    Damage { table: "ledger", row: row_name(person.as_str(), position), what: "is missing" }
}

fn row_name(person: &str, position: u64) -> String {
    format!("of {person}, position {position}")
}

fn insert(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO ledger (person, position, amount, balance, reason, key, at, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let columns = [
        ValueRef::Text(entry.person.as_str().as_bytes()),
        ValueRef::Integer(counted(entry.position)?),
        ValueRef::Integer(entry.amount),
        ValueRef::Integer(counted(entry.balance)?),
        ValueRef::Text(entry.reason.name().as_bytes()),
        entry.key.as_deref().map_or(ValueRef::Null, |key| ValueRef::Text(key.as_bytes())),
        ValueRef::Integer(entry.at.0),
    ];
    let checksum = ValueRef::Integer(checksum::of_row(Table::Ledger, &columns));
    let columns = columns.into_iter().chain([checksum]).map(ToSqlOutput::Borrowed);
    statement.execute(params_from_iter(columns)).map(drop)
}

/// Closes the charge of a message; returns whose it was and how much, if it was open.
fn close(connection: &Connection, message: MessageId) -> rusqlite::Result<Option<(PersonId, u64)>> {
    let mut statement =
        connection.prepare_cached("DELETE FROM open_charges WHERE message = ?1 RETURNING person, tokens")?;
    let closed = statement.query_row([message.0.as_bytes()], |row| Ok((person_id(row, 0)?, count(row, 1)?)));
    closed.optional()
}

/// The entry in a row of `person, position, amount, balance, reason, key, at, checksum`, if it is what was written.
fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let columns = checksum::columns(row, [0, 1, 2, 3, 4, 5, 6])?;
    checksum::check(Table::Ledger, &columns, row.get(7)?, || {
        // They may be what is damaged, and are the only name that the row has.
        match (person_id(row, 0), count(row, 1)) {
            (Ok(person), Ok(position)) => row_name(person.as_str(), position),
            _ => "whose key cannot be read".into(),
        }
    })?;
    Ok(Entry {
        person: person_id(row, 0)?,
        position: count(row, 1)?,
        amount: row.get(2)?,
        balance: count(row, 3)?,
        reason: Reason::from_name(row.get_ref(4)?.as_str()?).ok_or(FromSqlError::InvalidType)?,
        key: row.get(5)?,
        at: Timestamp(row.get(6)?),
    })
}

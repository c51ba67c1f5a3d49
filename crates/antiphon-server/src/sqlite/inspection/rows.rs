//! Whether rows mean what they should: what no check of the file's structure can tell.

use antiphon_core::ids::MessageId;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;

use super::super::checksum::{self, Table};
use super::{Look, REPORT, RESTORE, Weight};

/// How far ahead of the clock a row may be, in milliseconds.
const SKEW: i64 = 60_000;

/// After which time, in milliseconds, a charge or a request counts as left behind.
const STUCK: i64 = 3_600_000;

/// Rows between two words of progress.
const PROGRESS: u64 = 1_000_000;

impl Look<'_> {
    /// Whether conversations are whole: positions without holes up to their end, every message as it was written.
    pub(super) fn messages(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT conversation, seq, id, agent, person, author, text, at, checksum FROM messages
             ORDER BY conversation, seq",
        )?;
        let mut last_of = connection.prepare("SELECT last_seq FROM conversations WHERE id = ?1")?;
        let mut rows = statement.query([])?;
        let (mut done, mut newest) = (0, i64::MIN);
        let mut current: Option<(Vec<u8>, i64)> = None;
        loop {
            let row = rows.next()?;
            let key =
                row.map(|row| Ok::<_, rusqlite::Error>((bytes(row.get_ref(0)?), row.get::<_, i64>(1)?)));
            let key = key.transpose()?;
            if let Some((conversation, seq)) = &current
                && key.as_ref().is_none_or(|(next, _)| next != conversation)
            {
                let end: Option<i64> = last_of.query_row([conversation], |row| row.get(0)).optional()?;
                if end != Some(*seq) {
                    let what = format!(
                        "conversation {} ends at position {seq}, but is said to end at {}",
                        name(conversation),
                        end.unwrap_or(0)
                    );
                    self.find(Weight::Error, what, RESTORE);
                }
            }
            let (Some(row), Some((conversation, seq))) = (row, key) else { break };
            let before = current.filter(|(before, _)| *before == conversation).map_or(0, |(_, seq)| seq);
            if seq != before + 1 {
                let what = format!(
                    "conversation {} has no message at position {}, but one at {seq}",
                    name(&conversation),
                    before + 1
                );
                self.find(Weight::Error, what, RESTORE);
            }
            let columns = checksum::columns(row, [0, 1, 2, 3, 4, 5, 6, 7])?;
            if checksum::of_row(Table::Messages, &columns) != row.get::<_, i64>(8)? {
                let what = format!(
                    "messages, conversation {}, position {seq}: does not match its checksum",
                    name(&conversation)
                );
                self.find(Weight::Error, what, RESTORE);
            } else {
                newest = newest.max(row.get(7)?);
            }
            current = Some((conversation, seq));
            self.count(&mut done, "messages");
        }
        let empty = "SELECT count(*) FROM conversations WHERE last_seq > 0
             AND NOT EXISTS (SELECT 1 FROM messages WHERE conversation = conversations.id)";
        let lost: i64 = connection.query_row(empty, [], |row| row.get(0))?;
        if lost > 0 {
            self.find(Weight::Error, format!("{lost} conversations have lost all their messages"), RESTORE);
        }
        self.clock("message", newest);
        Ok(())
    }

    /// Whether ledgers are whole and add up, every entry as it was written.
    pub(super) fn ledger(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare(
            "SELECT person, position, amount, balance, reason, key, at, checksum FROM ledger ORDER BY person, position",
        )?;
        let mut end_of = connection.prepare("SELECT position FROM ledger_ends WHERE person = ?1")?;
        let mut rows = statement.query([])?;
        let (mut done, mut newest) = (0, i64::MIN);
        let mut current: Option<(String, i64, i64)> = None;
        loop {
            let row = rows.next()?;
            let person = row.map(|row| row.get::<_, String>(0)).transpose()?;
            if let Some((before, position, _)) = &current
                && person.as_ref() != Some(before)
            {
                let end: Option<i64> = end_of.query_row([before], |row| row.get(0)).optional()?;
                if end != Some(*position) {
                    let end = end.unwrap_or(0);
                    let what = format!(
                        "the ledger of {before} ends at position {position}, but is said to end at {end}"
                    );
                    self.find(Weight::Error, what, RESTORE);
                }
            }
            let (Some(row), Some(person)) = (row, person) else { break };
            let (position, amount, balance): (i64, i64, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            let before = current.filter(|(before, ..)| *before == person);
            let (last, sum) = before.map_or((0, 0), |(_, position, balance)| (position, balance));
            if position != last + 1 {
                let what = format!("the ledger of {person} has no position {}, but {position}", last + 1);
                self.find(Weight::Error, what, RESTORE);
            } else if sum.checked_add(amount) != Some(balance) || balance < 0 {
                let what = format!(
                    "the ledger of {person} does not add up at position {position}: {sum} and {amount} are not {balance}"
                );
                self.find(Weight::Error, what, RESTORE);
            }
            let columns = checksum::columns(row, [0, 1, 2, 3, 4, 5, 6])?;
            if checksum::of_row(Table::Ledger, &columns) != row.get::<_, i64>(7)? {
                let what = format!("ledger, of {person}, position {position}: does not match its checksum");
                self.find(Weight::Error, what, RESTORE);
            } else {
                newest = newest.max(row.get(6)?);
            }
            current = Some((person, position, balance));
            self.count(&mut done, "entries");
        }
        let empty = "SELECT count(*) FROM ledger_ends
             WHERE NOT EXISTS (SELECT 1 FROM ledger WHERE person = ledger_ends.person)";
        let lost: i64 = connection.query_row(empty, [], |row| row.get(0))?;
        if lost > 0 {
            self.find(Weight::Error, format!("{lost} ledgers have lost all their entries"), RESTORE);
        }
        self.clock("entry", newest);
        Ok(())
    }

    /// Whether what is charged and not answered was paid for.
    pub(super) fn charges(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement =
            connection.prepare("SELECT message, person, tokens FROM open_charges ORDER BY number")?;
        let mut paid = connection
            .prepare("SELECT amount, at FROM ledger WHERE person = ?1 AND reason = 'chat' AND key = ?2")?;
        let mut rows = statement.query([])?;
        let (mut open, mut stuck) = (0_u64, 0_u64);
        while let Some(row) = rows.next()? {
            let message = MessageId(Uuid::from_bytes(row.get(0)?));
            let (person, tokens): (String, i64) = (row.get(1)?, row.get(2)?);
            let entry: Option<(i64, i64)> = paid
                .query_row(params![person, message.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            match entry {
                Some((amount, at)) if amount == -tokens => {
                    open += 1;
                    stuck += u64::from(self.now.0.saturating_sub(at) > STUCK);
                }
                _ => {
                    let what = format!(
                        "the open charge of message {message} has no entry in the ledger of {person}"
                    );
                    self.find(Weight::Error, what, REPORT);
                }
            }
        }
        if self.report.is_running && stuck > 0 {
            let what = format!(
                "{stuck} messages were paid for more than an hour ago and have neither answer nor refund"
            );
            self.find(
                Weight::Warning,
                what,
                "Restart the server when it suits: it refunds them at its start.",
            );
        } else if !self.report.is_running && open > 0 {
            let what = format!("{open} messages were paid for and not answered when the server stopped");
            self.find(Weight::Warning, what, "The next start refunds them.");
        }
        Ok(())
    }

    /// Whether requests were left behind.
    pub(super) fn requests(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let before = self.now.0.saturating_sub(STUCK);
        let unfinished = "SELECT count(*) FROM requests WHERE answer IS NULL AND begun_at < ?1";
        let stuck: i64 = connection.query_row(unfinished, [before], |row| row.get(0))?;
        if stuck > 0 {
            let what = format!("{stuck} requests began more than an hour ago and were never answered");
            self.find(
                Weight::Warning,
                what,
                "Whoever sent one looks whether it was done and uses a new Idempotency-Key; they are forgotten after a day.",
            );
        }
        Ok(())
    }

    fn clock(&mut self, what: &str, newest: i64) {
        let ahead = newest.saturating_sub(self.now.0);
        if ahead > SKEW {
            let what =
                format!("the newest {what} is {} s later than the clock of this machine", ahead / 1_000);
            self.find(
                Weight::Warning,
                what,
                "Set the clock, or wait: what is written now looks older than what was there.",
            );
        }
    }

    fn count(&mut self, rows: &mut u64, what: &str) {
        *rows += 1;
        if rows.is_multiple_of(PROGRESS) {
            (self.progress)(format!("{rows} {what} checked"));
        }
    }
}

fn bytes(value: ValueRef<'_>) -> Vec<u8> {
    value.as_bytes().map(<[u8]>::to_vec).unwrap_or_default()
}

/// What a conversation is called.
fn name(conversation: &[u8]) -> String {
    Uuid::from_slice(conversation).map_or_else(|_| "whose id is no id".to_owned(), |id| id.to_string())
}

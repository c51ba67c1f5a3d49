//! Which statements a message needs: its position, its text, its key, what it counts against and what it moves.
//!
//! What is read is what was written, or a fault: each row is compared with its checksum, and positions have no holes.

use antiphon_core::conversation::{Message, Party};
use antiphon_core::ids::{ConversationId, PersonId, Timestamp};
use antiphon_core::ports::{Appended, Committed, Conversations, NewMessage, RequestKey, Untold};
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::types::{FromSqlError, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::SqliteStore;
use super::agents::{put_relation, relation};
use super::checksum::{self, Table};
use super::damage::Damage;
use super::requests::is_kept;
use super::rows::{agent_id, conversation_id, count, counted, message_id, person_id};
use super::wallets;

#[async_trait]
impl Conversations for SqliteStore {
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault> {
        let work = move |connection: &Connection| append(connection, message);
        let committed = move |appended: &Appended| {
            if let Appended::Stored { message, relation, paid } = appended {
                committed(message, relation, paid.as_ref());
            }
        };
        self.writer.write("appending a message", work, tells, committed).await
    }

    async fn history(
        &self,
        conversation: ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, Fault> {
        // No position lies beyond i64::MAX.
        let after = i64::try_from(after).unwrap_or(i64::MAX);
        self.read("reading a conversation", move |connection| {
            let last = last_position(connection, conversation)?;
            let mut statement = connection.prepare_cached(
                "SELECT id, conversation, seq, agent, person, author, text, at, checksum
                 FROM messages WHERE conversation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            )?;
            let found = statement.query_map(params![conversation.0.as_bytes(), after, limit], message)?;
            let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
            let ends = found.len() < limit as usize;
            whole(conversation, after.cast_unsigned(), &found, last.filter(|_| ends))?;
            Ok(found)
        })
        .await
    }

    async fn recent(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, Fault> {
        self.read("reading the end of a conversation", move |connection| {
            let last = last_position(connection, conversation)?;
            let mut statement = connection.prepare_cached(
                "SELECT id, conversation, seq, agent, person, author, text, at, checksum
                 FROM messages WHERE conversation = ?1 ORDER BY seq DESC LIMIT ?2",
            )?;
            let newest_first = statement.query_map(params![conversation.0.as_bytes(), limit], message)?;
            let mut messages = newest_first.collect::<rusqlite::Result<Vec<_>>>()?;
            messages.reverse();
            let before = messages.first().map_or(0, |first| first.seq.saturating_sub(1));
            let is_all = messages.len() < limit as usize;
            whole(conversation, if is_all { 0 } else { before }, &messages, last.filter(|_| limit > 0))?;
            Ok(messages)
        })
        .await
    }

    async fn latest(&self, after: Option<ConversationId>, limit: u32) -> Result<Vec<Message>, Fault> {
        self.read("reading the ends of conversations", move |connection| {
            // No id is as short as nothing.
            let after = after.as_ref().map_or(&[][..], |id| id.0.as_bytes());
            let mut statement = connection.prepare_cached(
                "SELECT messages.id, conversation, seq, agent, person, author, text, at, checksum
                 FROM conversations JOIN messages ON conversation = conversations.id AND seq = last_seq
                 WHERE conversations.id > ?1 ORDER BY conversations.id LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], message)?.collect()
        })
        .await
    }

    async fn count(&self, conversation: ConversationId) -> Result<u64, Fault> {
        self.read("counting the messages of a conversation", move |connection| {
            // Positions have no holes.
            let mut statement =
                connection.prepare_cached("SELECT last_seq FROM conversations WHERE id = ?1")?;
            let last = statement.query_row([conversation.0.as_bytes()], |row| count(row, 0)).optional()?;
            Ok(last.unwrap_or(0))
        })
        .await
    }

    async fn said_by(&self, person: &PersonId) -> Result<u64, Fault> {
        let person = person.clone();
        self.read("counting what a person has said", move |connection| {
            let mut statement = connection
                .prepare_cached("SELECT coalesce(sum(messages), 0) FROM usage WHERE person = ?1")?;
            statement.query_row([person.as_str()], |row| count(row, 0))
        })
        .await
    }
}

fn tells(appended: &Appended, untold: &mut Vec<Untold>) {
    if let Appended::Stored { message, paid, .. } = appended {
        paid.iter().for_each(|entry| untold.push(wallets::untold(entry)));
        untold.push(Untold::Message { conversation: message.conversation, seq: message.seq });
    }
}

/// Within the writer's transaction, so that everything here happens or nothing.
fn append(connection: &Connection, new: NewMessage) -> rusqlite::Result<Appended> {
    if let Some(first) = new.once.as_ref().map(|key| said(connection, key, new.at)).transpose()?.flatten() {
        return Ok(match new.repeats(&first) {
            true => Appended::Repeated { message: first },
            false => Appended::Reused,
        });
    }
    if let Some(quota) = new.quota {
        let current = sent(connection, &new.person, quota.month)?;
        if let Some(limit) = quota.limit.filter(|limit| current >= *limit) {
            return Ok(Appended::OverQuota { current, limit });
        }
    }
    let paid = match wallets::price(connection, &new)? {
        Ok(paid) => paid,
        Err(obstacle) => return Ok(Appended::Unpaid(obstacle)),
    };

    // From here on a failure undoes everything, and nothing else stops it.
    if let Some(quota) = new.quota {
        count_one(connection, &new.person, quota.month)?;
    }
    let message = Message {
        id: new.id,
        conversation: new.conversation,
        seq: next_position(connection, new.conversation)?,
        agent: new.agent,
        person: new.person,
        author: new.author,
        text: new.text,
        at: new.at,
    };
    insert(connection, &message)?;
    wallets::settle(connection, message.id, new.charge, paid.as_ref())?;
    if let Some(key) = &new.once {
        remember(connection, key, &message)?;
    }

    let mut relation = relation(connection, &message.agent, &message.person)?;
    if let Some(delta) = new.moves {
        relation = relation.moved(delta);
        put_relation(connection, &message.agent, &message.person, &relation)?;
    }
    Ok(Appended::Stored { message, relation, paid })
}

/// Which message was stored under a key, and when.
pub(super) const SAID: &str =
    "SELECT id, messages.conversation, messages.seq, agent, person, author, text, messages.at, checksum, message_keys.at
     FROM message_keys JOIN messages
         ON messages.conversation = message_keys.conversation AND messages.seq = message_keys.seq
     WHERE principal = ?1 AND key = ?2";

/// What was stored under this key, if that is not too long ago.
fn said(connection: &Connection, key: &RequestKey, now: Timestamp) -> rusqlite::Result<Option<Message>> {
    let mut statement = connection.prepare_cached(SAID)?;
    let said = statement.query_row([&key.principal, &key.key], |row| Ok((message(row)?, row.get(9)?)));
    Ok(said.optional()?.filter(|(_, at)| is_kept(*at, now)).map(|(message, _)| message))
}

fn remember(connection: &Connection, key: &RequestKey, message: &Message) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO message_keys (principal, key, conversation, seq, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (principal, key) DO UPDATE SET
             conversation = excluded.conversation, seq = excluded.seq, at = excluded.at",
    )?;
    let columns = params![
        key.principal,
        key.key,
        message.conversation.0.as_bytes(),
        // It came out of an INTEGER column just now, so it fits.
        message.seq as i64,
        message.at.0,
    ];
    statement.execute(columns).map(drop)
}

fn sent(connection: &Connection, person: &PersonId, month: i32) -> rusqlite::Result<u64> {
    let mut statement =
        connection.prepare_cached("SELECT messages FROM usage WHERE person = ?1 AND month = ?2")?;
    let sent = statement.query_row(params![person.as_str(), month], |row| count(row, 0));
    Ok(sent.optional()?.unwrap_or(0))
}

fn count_one(connection: &Connection, person: &PersonId, month: i32) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO usage (person, month, messages) VALUES (?1, ?2, 1)
         ON CONFLICT (person, month) DO UPDATE SET messages = messages + 1",
    )?;
    statement.execute(params![person.as_str(), month]).map(drop)
}

fn next_position(connection: &Connection, conversation: ConversationId) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO conversations (id, last_seq) VALUES (?1, 1)
         ON CONFLICT (id) DO UPDATE SET last_seq = last_seq + 1
         RETURNING last_seq",
    )?;
    let next = statement.query_row([conversation.0.as_bytes()], |row| count(row, 0))?;
    // A number that the disk has changed would leave a hole that is there for ever.
    if next > 1 && !is_there(connection, conversation, next - 1)? {
        return Err(missing(conversation, next - 1).into());
    }
    Ok(next)
}

/// Whether there is a message at this position.
fn is_there(connection: &Connection, conversation: ConversationId, seq: u64) -> rusqlite::Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT 1 FROM messages WHERE conversation = ?1 AND seq = ?2")?;
    statement.exists(params![conversation.0.as_bytes(), counted(seq)?])
}

/// The position of the last message, as it is written apart from the messages.
fn last_position(connection: &Connection, conversation: ConversationId) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached("SELECT last_seq FROM conversations WHERE id = ?1")?;
    statement.query_row([conversation.0.as_bytes()], |row| count(row, 0)).optional()
}

/// Fails unless `messages` follow `after` and each other, and reach `last` if that is given and lies beyond `after`.
fn whole(
    conversation: ConversationId,
    after: u64,
    messages: &[Message],
    last: Option<u64>,
) -> rusqlite::Result<()> {
    let mut expected = after;
    for message in messages {
        expected = expected.saturating_add(1);
        if message.seq != expected {
            return Err(missing(conversation, expected).into());
        }
    }
    match last {
        Some(last) if last > expected => Err(missing(conversation, expected + 1).into()),
        _ => Ok(()),
    }
}

fn missing(conversation: ConversationId, seq: u64) -> Damage {
    Damage { table: "messages", row: row_name(conversation, seq), what: "is missing" }
}

fn row_name(conversation: ConversationId, seq: u64) -> String {
    format!("conversation {}, position {seq}", conversation.0)
}

/// The last message of the conversation, if there is one.
pub(super) fn last(
    connection: &Connection,
    conversation: ConversationId,
) -> rusqlite::Result<Option<Message>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, conversation, seq, agent, person, author, text, at, checksum
         FROM messages WHERE conversation = ?1 ORDER BY seq DESC LIMIT 1",
    )?;
    statement.query_row([conversation.0.as_bytes()], message).optional()
}

fn insert(connection: &Connection, message: &Message) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO messages (conversation, seq, id, agent, person, author, text, at, checksum)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let columns = [
        ValueRef::Blob(message.conversation.0.as_bytes()),
        ValueRef::Integer(counted(message.seq)?),
        ValueRef::Blob(message.id.0.as_bytes()),
        ValueRef::Text(message.agent.as_str().as_bytes()),
        ValueRef::Text(message.person.as_str().as_bytes()),
        ValueRef::Text(match message.author {
            Party::Person => b"person",
            Party::Agent => b"agent",
        }),
        ValueRef::Text(message.text.as_bytes()),
        ValueRef::Integer(message.at.0),
    ];
    let checksum = ValueRef::Integer(checksum::of_row(Table::Messages, &columns));
    let columns = columns.into_iter().chain([checksum]).map(ToSqlOutput::Borrowed);
    statement.execute(params_from_iter(columns)).map(drop)
}

/// The message in a row of `id, conversation, seq, agent, person, author, text, at, checksum`, if it is what was written.
pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<Message> {
    let columns = checksum::columns(row, [1, 2, 0, 3, 4, 5, 6, 7])?;
    checksum::check(Table::Messages, &columns, row.get(8)?, || {
        // They may be what is damaged, and are the only name that the row has.
        match (conversation_id(row, 1), count(row, 2)) {
            (Ok(conversation), Ok(seq)) => row_name(conversation, seq),
            _ => "whose key cannot be read".into(),
        }
    })?;
    Ok(Message {
        id: message_id(row, 0)?,
        conversation: conversation_id(row, 1)?,
        seq: count(row, 2)?,
        agent: agent_id(row, 3)?,
        person: person_id(row, 4)?,
        author: match row.get_ref(5)?.as_str()? {
            "person" => Party::Person,
            "agent" => Party::Agent,
            _ => return Err(FromSqlError::InvalidType.into()),
        },
        text: row.get(6)?,
        at: Timestamp(row.get(7)?),
    })
}

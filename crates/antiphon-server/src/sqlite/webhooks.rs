//! Which statements webhooks need: what is announced, what is on its way, what died.

use antiphon_core::conversation::Message;
use antiphon_core::ids::{ConversationId, PersonId, Timestamp};
use antiphon_core::refusal::Fault;
use antiphon_core::webhooks::{
    About, Announcement, Announcements, DeadLetter, Delivered, Deliveries, Due, Letter, Queued, body,
};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::SqliteStore;
use super::conversations::message;
use super::rows::{count, counted, person_id};

#[async_trait]
impl Announcements for SqliteStore {
    async fn announce(&self, announcements: &[Announcement]) -> Result<bool, Fault> {
        let announcements = announcements.to_vec();
        self.write("storing what webhooks announce", move |connection| {
            let mut whole = true;
            for announcement in &announcements {
                whole &= announce(connection, announcement)?;
            }
            Ok(whole)
        })
        .await
    }

    async fn follow_messages(&self, follow: bool) -> Result<(), Fault> {
        self.write("following messages", move |connection| {
            if following(connection)? == follow {
                return Ok(());
            }
            if follow {
                connection.execute("INSERT INTO webhook_following (one) VALUES (1)", [])?;
                let everything = "INSERT INTO webhook_announced (conversation, seq)
                                  SELECT id, last_seq FROM conversations";
                connection.execute(everything, []).map(drop)
            } else {
                connection.execute("DELETE FROM webhook_following", [])?;
                connection.execute("DELETE FROM webhook_announced", []).map(drop)
            }
        })
        .await
    }

    async fn unannounced(&self, limit: u32) -> Result<Vec<Message>, Fault> {
        self.read("reading which messages were not announced", move |connection| {
            // The order of the joins is the order of reading: conversations with a rest first, then only that rest.
            let mut statement = connection.prepare_cached(
                "SELECT messages.id, messages.conversation, messages.seq, messages.agent, messages.person, messages.author,
                        messages.text, messages.at, messages.checksum
                 FROM webhook_following
                 CROSS JOIN conversations
                 LEFT JOIN webhook_announced ON webhook_announced.conversation = conversations.id
                 CROSS JOIN messages ON messages.conversation = conversations.id
                     AND messages.seq > coalesce(webhook_announced.seq, 0)
                 WHERE conversations.last_seq > coalesce(webhook_announced.seq, 0)
                 ORDER BY conversations.id, messages.seq LIMIT ?1",
            )?;
            statement.query_map([limit], message)?.collect()
        })
        .await
    }

    async fn announced_present(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<PersonId>, Fault> {
        // No id is empty.
        let after = after.map(|person| person.as_str().to_owned()).unwrap_or_default();
        self.read("reading who was announced to have come", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT person FROM webhook_present WHERE person > ?1 ORDER BY person LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], |row| person_id(row, 0))?.collect()
        })
        .await
    }
}

#[async_trait]
impl Deliveries for SqliteStore {
    async fn due(&self, endpoint: &str, now: Timestamp, limit: u32) -> Result<Due, Fault> {
        let endpoint = endpoint.to_owned();
        self.read("reading which webhooks are due", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT deliveries.id, announcements.id, deliveries.number, announcements.payload, announcements.at,
                        deliveries.attempts, deliveries.due_at
                 FROM webhook_deliveries AS deliveries
                 JOIN webhook_announcements AS announcements ON announcements.id = deliveries.announcement
                 WHERE deliveries.endpoint = ?1 AND deliveries.due_at IS NOT NULL
                 ORDER BY deliveries.due_at, deliveries.id LIMIT ?2",
            )?;
            let mut rows = statement.query(params![endpoint, i64::from(limit) + 1])?;
            let mut due = Due::default();
            while let Some(row) = rows.next()? {
                let at = Timestamp(row.get(6)?);
                if at > now || due.letters.len() == limit as usize {
                    due.next = Some(at);
                    break;
                }
                due.letters.push(letter(row)?);
            }
            Ok(due)
        })
        .await
    }

    async fn settle(&self, delivery: u64, outcome: Delivered, now: Timestamp) -> Result<(), Fault> {
        self.write("noting what came of a webhook", move |connection| {
            settle(connection, counted(delivery)?, outcome, now)
        })
        .await
    }

    async fn dead(&self, after: Option<u64>, limit: u32) -> Result<Vec<DeadLetter>, Fault> {
        // No id lies beyond i64::MAX.
        let after = after.map_or(0, |after| i64::try_from(after).unwrap_or(i64::MAX));
        self.read("reading dead letters", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT deliveries.id, deliveries.endpoint, announcements.id, announcements.kind, deliveries.person,
                        deliveries.number, announcements.payload, announcements.at, deliveries.died_at, deliveries.attempts,
                        deliveries.why
                 FROM webhook_deliveries AS deliveries
                 JOIN webhook_announcements AS announcements ON announcements.id = deliveries.announcement
                 WHERE deliveries.died_at IS NOT NULL AND deliveries.id > ?1
                 ORDER BY deliveries.id LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], dead_letter)?.collect()
        })
        .await
    }

    async fn revive(&self, delivery: u64, now: Timestamp) -> Result<bool, Fault> {
        // There is none of an id that does not fit.
        let Ok(delivery) = i64::try_from(delivery) else { return Ok(false) };
        self.write("reviving a dead letter", move |connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE webhook_deliveries SET attempts = 0, due_at = ?2, holds = 0, died_at = NULL, why = NULL
                 WHERE id = ?1 AND died_at IS NOT NULL",
            )?;
            Ok(statement.execute(params![delivery, now.0])? > 0)
        })
        .await
    }

    async fn disable(&self, endpoint: &str, why: &str, now: Timestamp) -> Result<(), Fault> {
        let (endpoint, why) = (endpoint.to_owned(), why.to_owned());
        self.write("disabling a webhook", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO webhook_disabled (endpoint, since) VALUES (?1, ?2) ON CONFLICT (endpoint) DO NOTHING",
            )?;
            statement.execute(params![endpoint, now.0])?;
            let mut statement = connection.prepare_cached(
                "UPDATE webhook_deliveries SET due_at = NULL, died_at = ?2, why = ?3
                 WHERE endpoint = ?1 AND died_at IS NULL",
            )?;
            statement.execute(params![endpoint, now.0, why]).map(drop)
        })
        .await
    }

    async fn enable(&self, endpoint: &str) -> Result<bool, Fault> {
        let endpoint = endpoint.to_owned();
        self.write("enabling a webhook", move |connection| {
            let mut statement =
                connection.prepare_cached("DELETE FROM webhook_disabled WHERE endpoint = ?1")?;
            Ok(statement.execute([endpoint])? > 0)
        })
        .await
    }

    async fn disabled(&self) -> Result<Vec<(String, Timestamp)>, Fault> {
        self.read("reading which webhooks are disabled", |connection| {
            let mut statement = connection
                .prepare_cached("SELECT endpoint, since FROM webhook_disabled ORDER BY endpoint")?;
            statement.query_map([], |row| Ok((row.get(0)?, Timestamp(row.get(1)?))))?.collect()
        })
        .await
    }

    async fn queued(&self) -> Result<Vec<(String, Queued)>, Fault> {
        self.read("counting webhooks", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT endpoint, sum(died_at IS NULL), sum(died_at IS NOT NULL) FROM webhook_deliveries GROUP BY endpoint",
            )?;
            let queued = |row: &Row<'_>| {
                Ok((row.get(0)?, Queued { pending: count(row, 1)?, dead: count(row, 2)? }))
            };
            statement.query_map([], queued)?.collect()
        })
        .await
    }

    async fn sweep(
        &self,
        announced_before: Timestamp,
        died_before: Timestamp,
        now: Timestamp,
    ) -> Result<(u64, u64), Fault> {
        self.write("clearing webhooks up", move |connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM webhook_deliveries
                 WHERE id IN (SELECT id FROM webhook_deliveries WHERE died_at < ?1 LIMIT ?2)
                 RETURNING announcement",
            )?;
            let forgotten: Vec<String> = statement
                .query_map(params![died_before.0, AT_ONCE], |row| row.get(0))?
                .collect::<Result<_>>()?;
            for announcement in &forgotten {
                forget(connection, announcement)?;
            }
            let mut statement = connection.prepare_cached(
                "SELECT deliveries.id FROM webhook_announcements AS announcements
                 JOIN webhook_deliveries AS deliveries ON deliveries.announcement = announcements.id
                 WHERE announcements.at < ?1 AND deliveries.died_at IS NULL LIMIT ?2",
            )?;
            let old: Vec<i64> = statement
                .query_map(params![announced_before.0, AT_ONCE], |row| row.get(0))?
                .collect::<Result<_>>()?;
            for delivery in &old {
                die(connection, *delivery, "it became too old", now)?;
            }
            Ok((old.len() as u64, forgotten.len() as u64))
        })
        .await
    }
}

/// Deliveries that are given up, and those that are forgotten, in one write.
const AT_ONCE: i64 = 500;

/// Whether the announcement, or what stands in its place already, leaves no hole.
fn announce(connection: &Connection, announcement: &Announcement) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM webhook_announcements WHERE id = ?1)")?;
    if statement.query_row([&announcement.id], |row| row.get(0))? {
        return Ok(true);
    }
    match announcement.about {
        About::Nothing => {}
        About::Presence(here) => {
            let statement = if here {
                "INSERT INTO webhook_present (person) VALUES (?1) ON CONFLICT (person) DO NOTHING"
            } else {
                "DELETE FROM webhook_present WHERE person = ?1"
            };
            connection.prepare_cached(statement)?.execute([person(announcement)])?;
        }
        About::Message(conversation, seq) => match note_message(connection, conversation, counted(seq)?)? {
            Noted::Next => {}
            Noted::Before => return Ok(true),
            Noted::Beyond => return Ok(false),
        },
    }
    let mut stored = false;
    for endpoint in &announcement.endpoints {
        if is_disabled(connection, endpoint)? {
            continue;
        }
        if !stored {
            let mut statement = connection.prepare_cached(
                "INSERT INTO webhook_announcements (id, kind, at, payload) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let Announcement { id, kind, at, payload, .. } = announcement;
            statement.execute(params![id, kind, at.0, payload])?;
            stored = true;
        }
        deliver(connection, announcement, endpoint)?;
    }
    Ok(true)
}

/// Where a message stands among those that were announced.
enum Noted {
    /// It is the next one, and now it is noted.
    Next,
    /// It was announced.
    Before,
    /// One before it was not.
    Beyond,
}

fn note_message(connection: &Connection, conversation: ConversationId, seq: i64) -> Result<Noted> {
    if !following(connection)? {
        return Ok(Noted::Next);
    }
    let mut statement =
        connection.prepare_cached("SELECT seq FROM webhook_announced WHERE conversation = ?1")?;
    let announced: Option<i64> =
        statement.query_row([conversation.0.as_bytes()], |row| row.get(0)).optional()?;
    match seq - announced.unwrap_or(0) {
        ..=0 => Ok(Noted::Before),
        1 => {
            let mut statement = connection.prepare_cached(
                "INSERT INTO webhook_announced (conversation, seq) VALUES (?1, ?2)
                 ON CONFLICT (conversation) DO UPDATE SET seq = excluded.seq",
            )?;
            statement.execute(params![conversation.0.as_bytes(), seq])?;
            Ok(Noted::Next)
        }
        2.. => Ok(Noted::Beyond),
    }
}

fn following(connection: &Connection) -> Result<bool> {
    let mut statement = connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM webhook_following)")?;
    statement.query_row([], |row| row.get(0))
}

fn is_disabled(connection: &Connection, endpoint: &str) -> Result<bool> {
    let mut statement =
        connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM webhook_disabled WHERE endpoint = ?1)")?;
    statement.query_row([endpoint], |row| row.get(0))
}

fn deliver(connection: &Connection, announcement: &Announcement, endpoint: &str) -> Result<()> {
    let person = person(announcement);
    let mut statement = connection.prepare_cached(
        "INSERT INTO webhook_numbers (endpoint, person, last) VALUES (?1, ?2, 1)
         ON CONFLICT (endpoint, person) DO UPDATE SET last = last + 1
         RETURNING last",
    )?;
    let number: i64 = statement.query_row(params![endpoint, person], |row| row.get(0))?;
    let mut statement = connection.prepare_cached(
        "INSERT INTO webhook_deliveries (announcement, endpoint, person, number, due_at)
         VALUES (?1, ?2, ?3, ?4, iif(
             EXISTS (SELECT 1 FROM webhook_deliveries WHERE endpoint = ?2 AND person = ?3 AND died_at IS NULL AND holds = 1),
             NULL, ?5))",
    )?;
    statement.execute(params![announcement.id, endpoint, person, number, announcement.at.0]).map(drop)
}

fn settle(connection: &Connection, delivery: i64, outcome: Delivered, now: Timestamp) -> Result<()> {
    match outcome {
        Delivered::Done => {
            let mut statement = connection.prepare_cached(
                "DELETE FROM webhook_deliveries WHERE id = ?1 AND died_at IS NULL
                 RETURNING endpoint, person, holds, announcement",
            )?;
            let found = statement
                .query_row([delivery], |row| Ok((hold(row)?, row.get::<_, String>(3)?)))
                .optional()?;
            let Some((hold, announcement)) = found else { return Ok(()) };
            forget(connection, &announcement)?;
            promote(connection, &hold, now)
        }
        Delivered::Later { at, holds, why } => {
            let Some(before) = living(connection, delivery)? else { return Ok(()) };
            // Once others may pass, they may.
            let holds = holds && before.held;
            let mut statement = connection.prepare_cached(
                "UPDATE webhook_deliveries SET attempts = attempts + 1, due_at = ?2, holds = ?3, why = ?4 WHERE id = ?1",
            )?;
            statement.execute(params![delivery, at.0, holds, why])?;
            if holds { Ok(()) } else { promote(connection, &before, now) }
        }
        Delivered::Dead { why } => {
            let mut statement = connection.prepare_cached(
                "UPDATE webhook_deliveries SET attempts = attempts + 1 WHERE id = ?1 AND died_at IS NULL",
            )?;
            statement.execute([delivery])?;
            die(connection, delivery, &why, now)
        }
    }
}

fn die(connection: &Connection, delivery: i64, why: &str, now: Timestamp) -> Result<()> {
    let Some(before) = living(connection, delivery)? else { return Ok(()) };
    let mut statement = connection.prepare_cached(
        "UPDATE webhook_deliveries SET due_at = NULL, died_at = ?2, why = ?3 WHERE id = ?1",
    )?;
    statement.execute(params![delivery, now.0, why])?;
    promote(connection, &before, now)
}

/// Whether a delivery holds, or held, those about the same person to the same endpoint.
struct Hold {
    endpoint: String,
    person: String,
    held: bool,
}

fn hold(row: &Row<'_>) -> Result<Hold> {
    Ok(Hold { endpoint: row.get(0)?, person: row.get(1)?, held: row.get(2)? })
}

fn living(connection: &Connection, delivery: i64) -> Result<Option<Hold>> {
    let mut statement = connection.prepare_cached(
        "SELECT endpoint, person, holds FROM webhook_deliveries WHERE id = ?1 AND died_at IS NULL",
    )?;
    statement.query_row([delivery], hold).optional()
}

/// Whoever waits behind a delivery that holds nothing any more is due, if there is nobody before them.
fn promote(connection: &Connection, before: &Hold, now: Timestamp) -> Result<()> {
    if !before.held {
        return Ok(());
    }
    // The first that holds is the one, whether it waits or is due.
    let mut statement = connection.prepare_cached(
        "UPDATE webhook_deliveries SET due_at = coalesce(due_at, ?3) WHERE id = (
             SELECT id FROM webhook_deliveries
             WHERE endpoint = ?1 AND person = ?2 AND died_at IS NULL AND holds = 1 ORDER BY id LIMIT 1)",
    )?;
    statement.execute(params![before.endpoint, before.person, now.0]).map(drop)
}

/// Forgets an announcement that nobody is to be told of any more.
fn forget(connection: &Connection, announcement: &str) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "DELETE FROM webhook_announcements
         WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM webhook_deliveries WHERE announcement = ?1)",
    )?;
    statement.execute([announcement]).map(drop)
}

/// The person's id as it is stored; nobody is ''.
fn person(announcement: &Announcement) -> &str {
    announcement.person.as_ref().map_or("", PersonId::as_str)
}

fn letter(row: &Row<'_>) -> Result<Letter> {
    Ok(Letter {
        id: count(row, 0)?,
        announcement: row.get(1)?,
        sequence: count(row, 2)?,
        payload: row.get(3)?,
        at: Timestamp(row.get(4)?),
        attempts: row.get(5)?,
    })
}

fn dead_letter(row: &Row<'_>) -> Result<DeadLetter> {
    let sequence = count(row, 5)?;
    let nobody = row.get_ref(4)?.as_str()?.is_empty();
    Ok(DeadLetter {
        id: count(row, 0)?,
        endpoint: row.get(1)?,
        announcement: row.get(2)?,
        kind: row.get(3)?,
        person: if nobody { None } else { Some(person_id(row, 4)?) },
        sequence,
        body: body(row.get_ref(6)?.as_str()?, sequence),
        at: Timestamp(row.get(7)?),
        died_at: Timestamp(row.get(8)?),
        attempts: row.get(9)?,
        why: row.get(10)?,
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use antiphon_core::contract;
    use tempfile::TempDir;

    use super::super::Settings;
    use super::*;

    #[tokio::test]
    async fn it_keeps_the_contract_of_webhooks() {
        let directories = RefCell::new(Vec::new());
        contract::webhooks(async || {
            let directory = TempDir::new().unwrap();
            let store = SqliteStore::open(directory.path(), Settings::default()).unwrap();
            directories.borrow_mut().push(directory);
            Arc::new(store)
        })
        .await;
    }

    #[tokio::test]
    async fn a_great_deal_that_is_too_old_is_cleared_up_in_short_commits() {
        let directory = TempDir::new().unwrap();
        let store = SqliteStore::open(directory.path(), Settings::default()).unwrap();
        let announcement = |number: i64| Announcement {
            id: format!("msg_{number}"),
            kind: "test",
            person: PersonId::parse(&format!("person-{}", number % 3)).ok(),
            at: Timestamp(number % 2),
            payload: "{".into(),
            endpoints: vec!["left".into()],
            about: About::Nothing,
        };
        let announcements: Vec<_> = (0..1_200).map(announcement).collect();
        store.announce(&announcements).await.unwrap();
        for expected in [(500, 0), (100, 500), (0, 100), (0, 0)] {
            assert_eq!(store.sweep(Timestamp(1), Timestamp(5), Timestamp(4)).await.unwrap(), expected);
        }
        // What waited for them goes on, one of each person.
        let due = store.due("left", Timestamp(9), 1_000).await.unwrap();
        assert_eq!((due.letters.len(), due.next), (3, None));
    }

    #[test]
    fn the_next_delivery_and_whoever_holds_it_are_found_by_index() {
        let directory = TempDir::new().unwrap();
        drop(SqliteStore::open(directory.path(), Settings::default()).unwrap());
        let connection = Connection::open(directory.path().join("antiphon.db")).unwrap();
        for (query, index) in [
            (
                "SELECT id FROM webhook_deliveries WHERE endpoint = 'a' AND due_at IS NOT NULL ORDER BY due_at, id LIMIT 9",
                "webhook_deliveries_due (endpoint=?",
            ),
            (
                "SELECT id FROM webhook_deliveries WHERE endpoint = 'a' AND person = 'b' AND died_at IS NULL AND holds = 1
                 ORDER BY id LIMIT 1",
                "webhook_deliveries_holding (endpoint=? AND person=?",
            ),
            (
                "SELECT id FROM webhook_deliveries WHERE died_at IS NOT NULL AND id > 7 ORDER BY id LIMIT 9",
                "webhook_deliveries_dead",
            ),
            ("SELECT id FROM webhook_deliveries WHERE died_at < 7 LIMIT 9", "webhook_deliveries_by_death (died_at<?"),
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {query}")).unwrap();
            let plan: Vec<String> =
                statement.query_map([], |row| row.get(3)).unwrap().collect::<Result<_>>().unwrap();
            let plan = plan.join("\n");
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{query}: {plan}");
        }
    }
}

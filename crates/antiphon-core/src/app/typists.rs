//! Who is typing on this node, and whose time is up.
//!
//! Bookkeeping alone: a list by person and one by time, of the same entries. Time is handed in.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::lock;
use crate::ids::{AgentId, ConnectionId, ConversationId, PersonId};
use crate::refusal::{Code, Refusal};

/// In how many places one person can be typing at the same time.
pub(super) const BUSIEST: usize = 16;

/// Who is typing on this node.
#[derive(Default)]
pub(super) struct Typists {
    books: Mutex<Books>,
    /// Told when somebody types while nobody did.
    pub(super) started: Notify,
}

/// Somebody types.
pub(super) struct Typing {
    /// To whom, in which conversation; `None` is to nobody in particular.
    pub(super) to: Option<(AgentId, ConversationId)>,
    /// The connection they last typed on.
    pub(super) connection: Option<ConnectionId>,
    pub(super) until: Instant,
}

impl Typing {
    /// The conversation that they type in, if it is one.
    pub(super) fn place(&self) -> Option<ConversationId> {
        self.to.as_ref().map(|(_, conversation)| *conversation)
    }
}

impl Typists {
    /// `person` types, or still does. Refused when they already do in [`BUSIEST`] other places.
    pub(super) fn start(&self, person: &PersonId, typing: Typing) -> Result<(), Refusal> {
        let first = lock(&self.books).start(person, typing)?;
        if first {
            self.started.notify_one();
        }
        Ok(())
    }

    /// `person` no longer types in `place`; returns whether they did.
    pub(super) fn stop(&self, person: &PersonId, place: Option<ConversationId>) -> bool {
        let stopped = lock(&self.books).remove(person, |typing| typing.place() == place);
        !stopped.is_empty()
    }

    /// `person` no longer types on `connection`; returns what they typed there.
    pub(super) fn stop_connection(&self, person: &PersonId, connection: ConnectionId) -> Vec<Typing> {
        lock(&self.books).remove(person, |typing| typing.connection == Some(connection))
    }

    /// When somebody's time may be up.
    pub(super) fn next_check(&self) -> Option<Instant> {
        lock(&self.books).by_time.first_key_value().map(|(check, _)| check.at)
    }

    /// How many people are kept, how many places they type in, and how many moments to look at them.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize, usize) {
        let books = lock(&self.books);
        (books.by_person.len(), books.by_person.values().map(Vec::len).sum(), books.by_time.len())
    }

    /// One typist whose time is up at `now`, who is one no more.
    pub(super) fn expire(&self, now: Instant) -> Option<(PersonId, Typing)> {
        lock(&self.books).expire(now)
    }
}

#[derive(Default)]
struct Books {
    by_person: HashMap<PersonId, Vec<Entry>>,
    /// When to look at whom: one per typist. A renewal moves `until` only, so it costs nothing here; whoever turns out to
    /// have renewed is looked at again later.
    by_time: BTreeMap<Check, PersonId>,
    checks: u64,
}

/// When to look at a typist; the number makes it unique.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Check {
    at: Instant,
    number: u64,
}

struct Entry {
    typing: Typing,
    check: Check,
}

impl Books {
    /// Returns whether nobody was typing before.
    fn start(&mut self, person: &PersonId, typing: Typing) -> Result<bool, Refusal> {
        if let Some(entries) = self.by_person.get_mut(person) {
            if let Some(entry) = entries.iter_mut().find(|entry| entry.typing.place() == typing.place()) {
                entry.typing.until = typing.until;
                entry.typing.connection = typing.connection;
                return Ok(false);
            }
            if entries.len() >= BUSIEST {
                return Err(Refusal::new(
                    Code::TooLarge,
                    "You are typing in too many conversations at the same time.",
                ));
            }
        }
        let first = self.by_time.is_empty();
        let check = self.schedule(typing.until, person);
        self.by_person.entry(person.clone()).or_default().push(Entry { typing, check });
        Ok(first)
    }

    fn remove(&mut self, person: &PersonId, mut which: impl FnMut(&Typing) -> bool) -> Vec<Typing> {
        let Some(entries) = self.by_person.get_mut(person) else { return Vec::new() };
        let stopped: Vec<_> = entries.extract_if(.., |entry| which(&entry.typing)).collect();
        if entries.is_empty() {
            self.by_person.remove(person);
        }
        stopped
            .into_iter()
            .map(|entry| {
                self.by_time.remove(&entry.check);
                entry.typing
            })
            .collect()
    }

    fn expire(&mut self, now: Instant) -> Option<(PersonId, Typing)> {
        while let Some(due) = self.by_time.first_entry().filter(|due| due.key().at <= now) {
            let (check, person) = due.remove_entry();
            let Some(entry) = self.entry(&person, check) else { continue };
            let (until, place) = (entry.typing.until, entry.typing.place());
            if until > now {
                let again = self.schedule(until, &person);
                if let Some(entry) = self.entry(&person, check) {
                    entry.check = again;
                }
            } else if let Some(typing) = self.remove(&person, |typing| typing.place() == place).pop() {
                return Some((person, typing));
            }
        }
        None
    }

    fn schedule(&mut self, at: Instant, person: &PersonId) -> Check {
        let check = Check { at, number: self.checks };
        self.checks += 1;
        self.by_time.insert(check, person.clone());
        check
    }

    fn entry(&mut self, person: &PersonId, check: Check) -> Option<&mut Entry> {
        self.by_person.get_mut(person)?.iter_mut().find(|entry| entry.check == check)
    }
}

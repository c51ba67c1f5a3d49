//! The ledgers of tokens.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::{Contents, MemoryStore};
use crate::ids::{MessageId, PersonId, Timestamp};
use crate::ports::{Booked, Charge, OnBooked, OnTold, Wallets};
use crate::refusal::Fault;
use crate::wallet::{Balance, Entry, NewEntry, Obstacle, Reason, enter};

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// All ledgers, and what is paid for and not yet settled.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// Entry n stands at n − 1.
    ledgers: HashMap<PersonId, Vec<Entry>>,
    keys: HashMap<Key, (PersonId, u64)>,
    /// Open charges in the order they were made.
    open: BTreeMap<u64, Open>,
    /// Their places in that order.
    places: HashMap<MessageId, u64>,
    charged: u64,
}

#[derive(Debug)]
struct Open {
    message: MessageId,
    person: PersonId,
    tokens: u64,
}

/// What an entry is found by: for a deposit nobody's name, because a payment counts once on the whole server.
type Key = (Option<PersonId>, Reason, String);

impl Books {
    fn stand(&self, person: &PersonId) -> Balance {
        let last = self.ledgers.get(person).and_then(|entries| entries.last());
        last.map_or_else(Balance::default, |last| Balance { tokens: last.balance, position: last.position })
    }

    fn find(&self, key: &Key) -> Option<&Entry> {
        let (person, position) = self.keys.get(key)?;
        let index = usize::try_from(position - 1).ok()?;
        self.ledgers.get(person)?.get(index)
    }

    /// What `new` would become.
    fn weigh(&self, new: NewEntry) -> Booked {
        if let Some(first) = key_of(&new).and_then(|key| self.find(&key)) {
            return Booked::Repeated(first.clone());
        }
        match enter(self.stand(&new.person), new) {
            Ok(entry) => Booked::Entered(entry),
            Err(obstacle) => Booked::Refused(obstacle),
        }
    }

    fn write(&mut self, entry: &Entry) {
        if let Some(key) = &entry.key {
            let key = key_for(&entry.person, entry.reason, key);
            self.keys.insert(key, (entry.person.clone(), entry.position));
        }
        self.ledgers.entry(entry.person.clone()).or_default().push(entry.clone());
    }

    fn close(&mut self, message: MessageId) -> Option<Open> {
        self.open.remove(&self.places.remove(&message)?)
    }
}

impl Contents {
    /// The entry that a message brings along, to be [written](Self::settle) once nothing can fail any more.
    pub(super) fn price(
        &self,
        message: MessageId,
        person: &PersonId,
        at: Timestamp,
        charge: Option<Charge>,
    ) -> Result<Result<Option<Entry>, Obstacle>, Fault> {
        let Some(Charge::Take(tokens)) = charge else { return Ok(Ok(None)) };
        self.check_person(person, "a charge")?;
        let entry = NewEntry {
            person: person.clone(),
            tokens,
            reason: Reason::Chat,
            key: Some(message.to_string()),
            at,
        };
        match self.books.weigh(entry) {
            Booked::Entered(entry) => Ok(Ok(Some(entry))),
            Booked::Refused(obstacle) => Ok(Err(obstacle)),
            Booked::Repeated(_) => Err(Fault::new(format!("charging for message {message} a second time"))),
        }
    }

    /// Does what a stored message does to the wallet; `paid` is what [`price`](Self::price) said.
    pub(super) fn settle(&mut self, message: MessageId, charge: Option<Charge>, paid: Option<&Entry>) {
        if let Some(Charge::Keep(question)) = charge {
            self.books.close(question);
        }
        if let Some(entry) = paid {
            let books = &mut self.books;
            books.write(entry);
            books.charged += 1;
            let open = Open { message, person: entry.person.clone(), tokens: entry.amount.unsigned_abs() };
            books.open.insert(books.charged, open);
            books.places.insert(message, books.charged);
        }
    }
}

#[async_trait]
impl Wallets for MemoryStore {
    async fn book(&self, entry: NewEntry, booked: OnBooked) -> Result<Booked, Fault> {
        let mut contents = self.contents();
        contents.check_person(&entry.person, "tokens")?;
        let outcome = contents.books.weigh(entry);
        if let Booked::Entered(entry) = &outcome {
            contents.books.write(entry);
            booked(entry);
        }
        Ok(outcome)
    }

    async fn refund(
        &self,
        message: MessageId,
        at: Timestamp,
        booked: OnBooked,
    ) -> Result<Option<Entry>, Fault> {
        let mut contents = self.contents();
        let books = &mut contents.books;
        let Some(open) = books.places.get(&message).and_then(|place| books.open.get(place)) else {
            return Ok(None);
        };
        let new = NewEntry {
            person: open.person.clone(),
            tokens: open.tokens,
            reason: Reason::Refund,
            key: Some(message.to_string()),
            at,
        };
        let Booked::Entered(entry) = books.weigh(new) else {
            return Err(Fault::new(format!(
                "message {message} cannot be refunded, though its charge is open"
            )));
        };
        books.close(message);
        books.write(&entry);
        booked(&entry);
        Ok(Some(entry))
    }

    async fn open_charges(&self, limit: u32) -> Result<Vec<MessageId>, Fault> {
        let contents = self.contents();
        Ok(contents.books.open.values().take(limit as usize).map(|open| open.message).collect())
    }

    async fn tell(&self, person: &PersonId, told: OnTold) -> Result<Balance, Fault> {
        let contents = self.contents();
        let balance = contents.books.stand(person);
        told(&balance);
        Ok(balance)
    }

    async fn balance(&self, person: &PersonId) -> Result<Balance, Fault> {
        Ok(self.contents().books.stand(person))
    }

    async fn ledger(&self, person: &PersonId, after: u64, limit: u32) -> Result<Vec<Entry>, Fault> {
        let contents = self.contents();
        let entries = contents.books.ledgers.get(person).map_or(&[][..], Vec::as_slice);
        let after = usize::try_from(after).unwrap_or(usize::MAX).min(entries.len());
        Ok(entries[after..].iter().take(limit as usize).cloned().collect())
    }

    async fn spent(&self, person: &PersonId) -> Result<u64, Fault> {
        let contents = self.contents();
        let entries = contents.books.ledgers.get(person).map_or(&[][..], Vec::as_slice);
        let about_messages = |entry: &&Entry| matches!(entry.reason, Reason::Chat | Reason::Refund);
        let cost: i64 = entries.iter().filter(about_messages).map(|entry| -entry.amount).sum();
        Ok(u64::try_from(cost).unwrap_or(0))
    }

    async fn active_days(&self, person: &PersonId, first: Timestamp, days: u32) -> Result<u32, Fault> {
        let contents = self.contents();
        let entries = contents.books.ledgers.get(person).map_or(&[][..], Vec::as_slice);
        let mut active: Vec<i64> = entries
            .iter()
            .filter(|entry| entry.reason.shows_activity() && entry.at >= first)
            .map(|entry| entry.at.0.saturating_sub(first.0) / DAY)
            .filter(|day| *day < i64::from(days))
            .collect();
        active.sort_unstable();
        active.dedup();
        Ok(u32::try_from(active.len()).unwrap_or(days))
    }
}

fn key_of(new: &NewEntry) -> Option<Key> {
    new.key.as_ref().map(|key| key_for(&new.person, new.reason, key))
}

fn key_for(person: &PersonId, reason: Reason, key: &str) -> Key {
    (Some(person.clone()).filter(|_| reason != Reason::Deposit), reason, key.to_owned())
}

//! What is remembered while the process lives: the reference of what a store does.
//!
//! One lock around plain maps. Everything is checked before anything changes, which is what a transaction is here;
//! `committed` of a message is called under the lock, so that calls come in the order of `seq`. There is a file for each noun.

mod agents;
mod bonds;
mod conversations;
mod keys;
mod logins;
mod people;
mod profiles;
mod requests;
mod revocations;
mod tasks;
mod wallets;
mod webhooks;
mod workers;

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::actor::{Person, Plan};
use crate::agents::{Agent, Relation};
use crate::conversation::Message;
use crate::ids::{AgentId, ConversationId, MessageId, PersonId, Timestamp};
use crate::people::{Bond, Profile};
use crate::ports::{KEYS_KEPT, RequestKey, Upkeep};
use crate::refusal::Fault;
use crate::workers::Worker;

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<Contents>);

impl MemoryStore {
    /// A store with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        // Only `committed` can panic under this lock, and it is called after the last change.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Contents {
    people: BTreeMap<PersonId, Person>,
    profiles: HashMap<PersonId, Profile>,
    plans: HashMap<String, Plan>,
    sent: HashMap<(PersonId, i32), u64>,
    keys: keys::KeyRing,
    logins: logins::LoginBook,
    revocations: revocations::RevocationList,
    requests: HashMap<RequestKey, requests::Request>,
    agents: HashMap<AgentId, Agent>,
    relations: HashMap<(AgentId, PersonId), Relation>,
    bonds: BTreeMap<(PersonId, AgentId), Bond>,
    conversations: HashMap<ConversationId, Vec<Message>>,
    places: HashMap<MessageId, ConversationId>,
    said: HashMap<RequestKey, conversations::Said>,
    books: wallets::Books,
    tasks: tasks::TaskList,
    workers: BTreeMap<AgentId, Worker>,
    desk: webhooks::Desk,
}

impl Contents {
    /// Fails unless there is such a person, for whom `what` is about to be stored.
    fn check_person(&self, person: &PersonId, what: &str) -> Result<(), Fault> {
        match self.people.contains_key(person) {
            true => Ok(()),
            false => Err(Fault::new(format!("storing {what} of {person}, who does not exist"))),
        }
    }
}

#[async_trait]
impl Upkeep for MemoryStore {
    async fn forget(&self, now: Timestamp) -> Result<u64, Fault> {
        let mut contents = self.contents();
        let keys = contents.requests.len() + contents.said.len();
        contents.requests.retain(|_, request| is_kept(request.begun_at, now));
        contents.said.retain(|_, said| is_kept(said.at, now));
        let keys = keys - contents.requests.len() - contents.said.len();
        Ok((keys + contents.logins.forget(now) + contents.revocations.forget(now)) as u64)
    }
}

/// Whether a key that was first used `at` is still remembered `now`.
fn is_kept(at: Timestamp, now: Timestamp) -> bool {
    now.0.saturating_sub(at.0) < KEYS_KEPT
}

/// The values that come after the key `after`, at most `limit`.
fn page<K: Ord, V: Clone>(map: &BTreeMap<K, V>, after: Option<&K>, limit: u32) -> Vec<V> {
    let from = after.map_or(Unbounded, Excluded);
    map.range((from, Unbounded)).take(limit as usize).map(|(_, value)| value.clone()).collect()
}

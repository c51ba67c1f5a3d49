//! Which credentials are dead before their time, as far as this process knows.
//!
//! What is revoked in this process is heard over the bus at once. What another process revokes is read from the store every
//! [`EVERY`]. Whoever asks is told when the last reading is too old to be sure.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use antiphon_core::actor::{Principal, Proof, SecretHash};
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{KeyId, PersonId, Timestamp};
use antiphon_core::ports::{Bus, Listener, Mark, Revocation, Revoked, Store};
use antiphon_core::refusal::Fault;
use antiphon_core::topic::Topic;
use tokio::time::Instant;

/// How often the store is read.
pub(crate) const EVERY: Duration = Duration::from_secs(2);

/// How long nobody is let in after the last successful reading.
const TRUSTED: Duration = Duration::from_secs(30);

/// Revocations read at once.
const PAGE: u32 = 1_000;

/// What is known about one credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Nobody has revoked it.
    Good,
    /// It is dead.
    Revoked,
    /// The store could not be read for so long that nobody can tell.
    Unknown,
}

/// The revocations that have not been forgotten yet.
pub(crate) struct Known(RwLock<Book>);

struct Book {
    people: HashMap<PersonId, Entered>,
    keys: HashMap<KeyId, Entered>,
    sessions: HashMap<SecretHash, Entered>,
    tokens: HashMap<String, HashMap<String, Entered>>,
    /// Up to where the store was read.
    position: u64,
    /// When it was read to the end.
    read: Instant,
}

/// The latest revocation of one name.
#[derive(Clone, Copy)]
struct Entered {
    at: Timestamp,
    until: Timestamp,
}

impl Known {
    /// Everything that `store` has now.
    pub(crate) async fn open(store: &dyn Store) -> Result<Arc<Self>, Fault> {
        let known = Self(RwLock::new(Book {
            people: HashMap::new(),
            keys: HashMap::new(),
            sessions: HashMap::new(),
            tokens: HashMap::new(),
            position: 0,
            read: Instant::now(),
        }));
        known.read(store).await?;
        Ok(Arc::new(known))
    }

    /// Hears from now on what this process revokes.
    pub(crate) fn listen(self: &Arc<Self>, bus: &dyn Bus) {
        let listener = bus.attach(self.clone());
        bus.listen(listener, &Topic::Nodes, Mark::NONE);
    }

    /// What is known about a credential that was issued at `issued_at`.
    pub(crate) fn standing(&self, proof: &Proof, principal: &Principal, issued_at: Timestamp) -> Standing {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if book.read.elapsed() > TRUSTED {
            return Standing::Unknown;
        }
        let person = match principal {
            Principal::Person(id) => book.people.get(id),
            Principal::Service(_) | Principal::Operator | Principal::Guest => None,
        };
        let own = match proof {
            Proof::None | Proof::Token { id: None, .. } => None,
            Proof::Key(id) => book.keys.get(id),
            Proof::Session(name) => book.sessions.get(name),
            Proof::Token { issuer, id: Some(id) } => {
                book.tokens.get(&**issuer).and_then(|ids| ids.get(&**id))
            }
        };
        match person.into_iter().chain(own).any(|entered| issued_at < entered.at) {
            true => Standing::Revoked,
            false => Standing::Good,
        }
    }

    /// Reads what is new in the store, and returns what this process had not heard of.
    pub(crate) async fn read(&self, store: &dyn Store) -> Result<Vec<Revocation>, Fault> {
        let mut unheard = Vec::new();
        loop {
            let began = Instant::now();
            let after = self.0.read().unwrap_or_else(PoisonError::into_inner).position;
            let page = store.revocations(after, PAGE).await?;
            let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
            let Some((last, _)) = page.last() else {
                book.read = began;
                return Ok(unheard);
            };
            book.position = *last;
            for (_, revocation) in page {
                if book.enter(&revocation) {
                    unheard.push(revocation);
                }
            }
        }
    }

    /// Forgets what is past its `until`.
    pub(crate) fn forget(&self, now: Timestamp) {
        let mut book = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let book = &mut *book;
        book.people.retain(|_, entered| entered.until > now);
        book.keys.retain(|_, entered| entered.until > now);
        book.sessions.retain(|_, entered| entered.until > now);
        book.tokens.retain(|_, ids| {
            ids.retain(|_, entered| entered.until > now);
            !ids.is_empty()
        });
    }
}

impl Listener for Known {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        if let Event::Revoked(revocation) = &envelope.event {
            self.0.write().unwrap_or_else(PoisonError::into_inner).enter(revocation);
        }
    }
}

impl Book {
    /// Whether it was new.
    fn enter(&mut self, revocation: &Revocation) -> bool {
        let entered = Entered { at: revocation.at, until: revocation.until };
        match &revocation.what {
            Revoked::Person(id) => enter(&mut self.people, id.clone(), entered),
            Revoked::Key(id) => enter(&mut self.keys, id.clone(), entered),
            Revoked::Session(name) => enter(&mut self.sessions, *name, entered),
            Revoked::Token { issuer, id } => {
                enter(self.tokens.entry(issuer.clone()).or_default(), id.clone(), entered)
            }
        }
    }
}

fn enter<K: Eq + Hash>(book: &mut HashMap<K, Entered>, name: K, new: Entered) -> bool {
    match book.entry(name) {
        Entry::Vacant(place) => {
            place.insert(new);
            true
        }
        Entry::Occupied(mut place) => {
            let entered = place.get_mut();
            let later = entered.at < new.at;
            entered.at = entered.at.max(new.at);
            entered.until = entered.until.max(new.until);
            later
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::memory::{MemoryBus, MemoryStore};
    use antiphon_core::ports::Revocations as _;

    use super::*;

    fn person(id: &str) -> PersonId {
        PersonId::parse(id).unwrap()
    }

    fn revocation(what: Revoked, at: i64, until: i64) -> Revocation {
        Revocation { what, at: Timestamp(at), until: Timestamp(until) }
    }

    fn session(byte: u8) -> Proof {
        Proof::Session(SecretHash([byte; 32]))
    }

    #[tokio::test(start_paused = true)]
    async fn t9_what_was_issued_before_a_revocation_is_dead_and_what_came_after_is_not() {
        let store = MemoryStore::new();
        store.revoke(&revocation(Revoked::Person(person("ada")), 10, 100)).await.unwrap();
        store.revoke(&revocation(Revoked::Session(SecretHash([7; 32])), 10, 100)).await.unwrap();
        let token = Revoked::Token { issuer: "app".into(), id: "j1".into() };
        store.revoke(&revocation(token, 10, 100)).await.unwrap();
        let known = Known::open(&store).await.unwrap();

        let (ada, bob) = (Principal::Person(person("ada")), Principal::Person(person("bob")));
        let token = |issuer: &str, id: &str| Proof::Token { issuer: issuer.into(), id: Some(id.into()) };
        let standing = |proof: &Proof, principal, at| known.standing(proof, principal, Timestamp(at));
        assert_eq!(standing(&session(1), &ada, 9), Standing::Revoked);
        assert_eq!(standing(&session(1), &ada, 10), Standing::Good);
        assert_eq!(standing(&session(1), &bob, 9), Standing::Good);
        assert_eq!(standing(&session(7), &bob, 9), Standing::Revoked);
        assert_eq!(standing(&token("app", "j1"), &bob, i64::MIN), Standing::Revoked);
        assert_eq!(standing(&token("other", "j1"), &bob, 9), Standing::Good);
        assert_eq!(standing(&token("app", "j2"), &bob, 9), Standing::Good);
    }

    #[tokio::test(start_paused = true)]
    async fn t9_what_this_process_revokes_is_known_at_once_and_not_read_as_news() {
        let (store, bus) = (MemoryStore::new(), MemoryBus::new());
        let known = Known::open(&store).await.unwrap();
        known.listen(&bus);
        let here = revocation(Revoked::Session(SecretHash([1; 32])), 10, 100);
        store.revoke(&here).await.unwrap();
        bus.publish(Envelope::new(Topic::Nodes, Event::Revoked(here)));
        assert_eq!(known.standing(&session(1), &Principal::Guest, Timestamp(9)), Standing::Revoked);

        let elsewhere = revocation(Revoked::Session(SecretHash([2; 32])), 10, 100);
        store.revoke(&elsewhere).await.unwrap();
        assert_eq!(known.standing(&session(2), &Principal::Guest, Timestamp(9)), Standing::Good);
        assert_eq!(known.read(&store).await.unwrap(), [elsewhere]);
        assert_eq!(known.standing(&session(2), &Principal::Guest, Timestamp(9)), Standing::Revoked);
        assert_eq!(known.read(&store).await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn t9_nobody_is_vouched_for_when_the_store_was_not_read_for_30_seconds() {
        let store = MemoryStore::new();
        let known = Known::open(&store).await.unwrap();
        let standing = || known.standing(&session(1), &Principal::Guest, Timestamp(9));
        tokio::time::advance(TRUSTED).await;
        assert_eq!(standing(), Standing::Good);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(standing(), Standing::Unknown);
        known.read(&store).await.unwrap();
        assert_eq!(standing(), Standing::Good);
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_is_forgotten_when_what_it_means_has_expired_and_all_of_many_are_read() {
        let store = MemoryStore::new();
        for number in 0..2 * PAGE + 1 {
            let id = KeyId::parse(&format!("cda_{number}")).unwrap();
            store.revoke(&revocation(Revoked::Key(id), 10, 100)).await.unwrap();
        }
        let known = Known::open(&store).await.unwrap();
        let last = Proof::Key(KeyId::parse(&format!("cda_{}", 2 * PAGE)).unwrap());
        let standing = || known.standing(&last, &Principal::Guest, Timestamp(9));
        assert_eq!(standing(), Standing::Revoked);
        known.forget(Timestamp(99));
        assert_eq!(standing(), Standing::Revoked);
        known.forget(Timestamp(100));
        assert_eq!(standing(), Standing::Good);
    }
}

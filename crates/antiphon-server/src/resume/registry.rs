//! Where every session is, for all cores together; which are over, and why; and how many wait for their clients.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use antiphon_core::actor::SecretHash;
use antiphon_core::ids::{ConnectionId, PersonId};

use super::{Reason, Settings};

/// Sessions whose end is remembered, so that whoever comes too late hears why.
const REMEMBERED: usize = 16_384;

/// Where sessions are. Asked when one begins, changes its connection or ends, never in between.
#[derive(Default)]
pub(crate) struct Registry {
    books: Mutex<Books>,
}

#[derive(Default)]
struct Books {
    sessions: HashMap<SecretHash, Place, foldhash::fast::RandomState>,
    /// Those that are over, in the order of their ends.
    over: VecDeque<SecretHash>,
    /// Those that wait for their clients.
    waiting: HashSet<SecretHash, foldhash::fast::RandomState>,
    /// Those of them that are a person's, the one that has waited longest first.
    by_person: HashMap<PersonId, VecDeque<SecretHash>, foldhash::fast::RandomState>,
}

impl Books {
    /// The session `pid` is over, and whoever wants it is told `why` for a while.
    fn remember(&mut self, pid: SecretHash, why: Reason) {
        if why == Reason::Unknown {
            self.sessions.remove(&pid);
            return;
        }
        self.sessions.insert(pid, Place::Over(why));
        self.over.push_back(pid);
        if self.over.len() > REMEMBERED
            && let Some(oldest) = self.over.pop_front()
        {
            self.sessions.remove(&oldest);
        }
    }
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The socket that has it.
    At(ConnectionId),
    /// Nowhere.
    Over(Reason),
}

/// What becomes of a session whose transport is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It waits for its client.
    Granted,
    /// It does, and this one of the same person has to go for it.
    InsteadOf(ConnectionId),
    /// Too many wait already.
    Refused,
}

impl Registry {
    /// Where the session `pid` is.
    pub(crate) fn find(&self, pid: &SecretHash) -> Place {
        self.books().sessions.get(pid).copied().unwrap_or(Place::Over(Reason::Unknown))
    }

    /// The session `pid` is that of the socket `at` from now on.
    pub(super) fn set(&self, pid: SecretHash, at: ConnectionId) {
        self.books().sessions.insert(pid, Place::At(at));
    }

    /// The session `pid` of the socket `at` is over. Nothing happens if another socket has it by now.
    pub(super) fn end(&self, pid: &SecretHash, at: ConnectionId, why: Reason) {
        let mut books = self.books();
        if books.sessions.get(pid) != Some(&Place::At(at)) {
            return;
        }
        books.remember(*pid, why);
    }

    /// The session `pid` of the last run is over.
    pub(crate) fn lapse(&self, pid: SecretHash, why: Reason) {
        self.books().remember(pid, why);
    }

    /// The session `pid`, of `person` if it is a person's, waits for its client from now on, if it may. It waits once, however
    /// often that is said.
    pub(super) fn wait(&self, pid: SecretHash, person: Option<&PersonId>, limits: &Settings) -> Wait {
        let mut books = self.books();
        if books.waiting.contains(&pid) {
            return Wait::Granted;
        }
        if books.waiting.len() >= limits.waiting {
            return Wait::Refused;
        }
        books.waiting.insert(pid);
        let Some(person) = person else { return Wait::Granted };
        let waiting = books.by_person.entry(person.clone()).or_default();
        waiting.push_back(pid);
        if waiting.len() <= limits.waiting_per_person {
            return Wait::Granted;
        }
        let oldest = waiting.pop_front();
        match oldest.and_then(|oldest| books.sessions.get(&oldest).copied()) {
            // It says itself that it waits no more.
            Some(Place::At(at)) => Wait::InsteadOf(at),
            Some(Place::Over(_)) | None => Wait::Granted,
        }
    }

    /// The session `pid` waits no more.
    pub(super) fn wait_no_more(&self, pid: &SecretHash, person: Option<&PersonId>) {
        let mut books = self.books();
        books.waiting.remove(pid);
        let Some(person) = person else { return };
        let Some(waiting) = books.by_person.get_mut(person) else { return };
        waiting.retain(|other| other != pid);
        if waiting.is_empty() {
            books.by_person.remove(person);
        }
    }

    /// How many sessions wait for their clients.
    pub(crate) fn waiting(&self) -> usize {
        self.books().waiting.len()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // Every change is a few entries that do not rely on each other, so what a panic left behind can be used.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pid(number: u32) -> SecretHash {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        SecretHash(bytes)
    }

    fn at(slot: u32) -> ConnectionId {
        ConnectionId { core: 0, slot, generation: 1 }
    }

    #[test]
    fn a_session_is_found_where_it_is_and_its_end_is_remembered_for_a_while() {
        let registry = Registry::default();
        assert_eq!(registry.find(&pid(1)), Place::Over(Reason::Unknown));
        registry.set(pid(1), at(1));
        registry.set(pid(1), at(2));
        registry.end(&pid(1), at(1), Reason::Expired);
        assert_eq!(registry.find(&pid(1)), Place::At(at(2)), "the first socket has no say any more");
        registry.end(&pid(1), at(2), Reason::Expired);
        assert_eq!(registry.find(&pid(1)), Place::Over(Reason::Expired));
        for number in 0..REMEMBERED as u32 {
            registry.set(pid(number + 2), at(3));
            registry.end(&pid(number + 2), at(3), Reason::Expired);
        }
        assert_eq!(registry.find(&pid(1)), Place::Over(Reason::Unknown));
        assert_eq!(registry.books().sessions.len(), REMEMBERED);
        registry.set(pid(0), at(4));
        registry.end(&pid(0), at(4), Reason::Unknown);
        assert_eq!(registry.books().sessions.len(), REMEMBERED, "who left for good is forgotten");
    }

    #[test]
    fn so_many_sessions_wait_of_one_person_and_of_all() {
        let registry = Registry::default();
        let limits = Settings { waiting: 3, waiting_per_person: 2, ..Settings::default() };
        let ada = PersonId::parse("ada").unwrap();
        for number in 1..=3 {
            registry.set(pid(number), at(number));
        }
        assert_eq!(registry.wait(pid(1), Some(&ada), &limits), Wait::Granted);
        assert_eq!(registry.wait(pid(2), Some(&ada), &limits), Wait::Granted);
        assert_eq!(registry.wait(pid(3), Some(&ada), &limits), Wait::InsteadOf(at(1)));
        assert_eq!(registry.wait(pid(4), None, &limits), Wait::Refused);
        registry.wait_no_more(&pid(1), Some(&ada));
        assert_eq!(registry.wait(pid(4), None, &limits), Wait::Granted);
        registry.wait_no_more(&pid(4), None);
        for number in 2..=3 {
            registry.wait_no_more(&pid(number), Some(&ada));
        }
        assert_eq!(registry.waiting(), 0);
        assert!(registry.books().by_person.is_empty());
    }

    #[test]
    fn a_session_waits_once_however_often_that_is_said() {
        let registry = Registry::default();
        let limits = Settings { waiting: 2, waiting_per_person: 1, ..Settings::default() };
        let ada = PersonId::parse("ada").unwrap();
        registry.set(pid(1), at(1));
        for _ in 0..3 {
            assert_eq!(registry.wait(pid(1), Some(&ada), &limits), Wait::Granted);
        }
        assert_eq!((registry.waiting(), registry.books().by_person[&ada].len()), (1, 1));
        registry.wait_no_more(&pid(1), Some(&ada));
        registry.wait_no_more(&pid(1), Some(&ada));
        assert_eq!(registry.wait(pid(2), None, &limits), Wait::Granted);
        assert_eq!(registry.waiting(), 1);
    }
}

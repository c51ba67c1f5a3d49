//! How many sockets speak for one person, on all cores together.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use antiphon_core::actor::Actor;
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::{Code, Refusal};

use crate::cores::Core;
use crate::transport::crowd::COME_BACK;

/// Locks that people are spread over, so that cores rarely meet.
const SHARDS: usize = 16;

type Hasher = foldhash::fast::RandomState;

/// Who has how many sockets.
pub(crate) struct Headcount {
    /// Sockets of one person; 0 sets no limit.
    most: u32,
    hasher: Hasher,
    shards: [Mutex<HashMap<PersonId, u32, Hasher>>; SHARDS],
}

impl Headcount {
    pub(crate) fn new(most: usize) -> Self {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        Self { most, hasher: Hasher::default(), shards: Default::default() }
    }

    /// Counts one socket of `person`, unless they have as many as they may. `Some` says whether it was counted, and so whether to
    /// [`leave`](Self::leave) at its end.
    pub(super) fn enter(&self, person: &PersonId) -> Option<bool> {
        if self.most == 0 {
            return Some(false);
        }
        let mut shard = self.shard(person);
        let count = match shard.get_mut(person) {
            Some(count) => count,
            None => shard.entry(person.clone()).or_default(),
        };
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(true)
    }

    /// A socket that was counted is gone.
    pub(super) fn leave(&self, person: &PersonId) {
        let mut shard = self.shard(person);
        let Some(count) = shard.get_mut(person) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            shard.remove(person);
        }
    }

    fn shard(&self, person: &PersonId) -> MutexGuard<'_, HashMap<PersonId, u32, Hasher>> {
        // The upper bits: the map of the shard goes by the others. The remainder is below SHARDS, so it fits.
        let place = ((self.hasher.hash_one(person) >> 32) % SHARDS as u64) as usize;
        // Every change is one number or one entry, so what a panic left behind is whole.
        self.shards[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts one socket for the person of `actor`, if it is one; whether it was counted.
pub(super) fn count_in(core: &Core, actor: &Actor) -> Result<bool, Refusal> {
    let Some(person) = actor.person() else { return Ok(false) };
    core.shared.people.enter(person).ok_or_else(|| {
        core.shared.counters.crowded();
        Refusal::new(
            Code::RateLimited { retry_after: COME_BACK },
            "You have too many connections; please close some and try again.",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(name: &str) -> PersonId {
        PersonId::parse(name).unwrap()
    }

    #[test]
    fn a_person_has_so_many_sockets_and_whoever_leaves_makes_room() {
        let people = Headcount::new(2);
        let (ada, bob) = (person("ada"), person("bob"));
        assert_eq!(
            [people.enter(&ada), people.enter(&ada), people.enter(&ada)],
            [Some(true), Some(true), None]
        );
        assert_eq!(people.enter(&bob), Some(true));
        people.leave(&ada);
        assert_eq!([people.enter(&ada), people.enter(&ada)], [Some(true), None]);
    }

    #[test]
    fn zero_sets_no_limit_and_counts_nobody() {
        let people = Headcount::new(0);
        assert!((0..10_000).all(|_| people.enter(&person("ada")) == Some(false)));
        assert!(people.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }

    #[test]
    fn nothing_is_kept_of_those_who_are_gone_and_many_threads_count_right() {
        let people = Headcount::new(8);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..1_000 {
                        let somebody = person(&format!("person-{}", number % 7));
                        assert_eq!(people.enter(&somebody), Some(true), "each thread has one at a time");
                        people.leave(&somebody);
                    }
                });
            }
        });
        assert!(people.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}

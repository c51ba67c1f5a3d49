//! How often somebody may ask: a bucket for each name, of the same kind that sockets have.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use antiphon_core::refusal::{Code, Refusal};
use tokio::time::Instant;

use crate::pace::Pace;

/// Names remembered before those whose bucket is full again are forgotten for the first time.
const SWEEP: usize = 10_000;

/// Counts requests by name.
pub(crate) struct Paces<K> {
    pace: Pace,
    started: Instant,
    buckets: Mutex<Buckets<K>>,
}

struct Buckets<K> {
    /// When the bucket of each name is full again.
    full_at: HashMap<K, u64>,
    /// At this many they are swept: twice what a sweep left, so that a flood of names does not pay for it each time.
    sweep_at: usize,
}

impl<K: Eq + Hash> Paces<K> {
    /// Everybody at this pace.
    pub(crate) fn new(pace: Pace) -> Self {
        let buckets = Buckets { full_at: HashMap::new(), sweep_at: SWEEP };
        Self { pace, started: Instant::now(), buckets: Mutex::new(buckets) }
    }

    /// Counts `weight` requests of `name`, all or none; if none, it says when there is room for the next.
    pub(crate) fn count(&self, name: K, weight: u32) -> Result<(), Refusal> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.full_at.len() >= buckets.sweep_at {
            buckets.full_at.retain(|_, full_at| !Pace::is_full(*full_at, now));
            buckets.sweep_at = SWEEP.max(2 * buckets.full_at.len());
        }
        let full_at = buckets.full_at.entry(name).or_default();
        let before = *full_at;
        for _ in 0..weight {
            if let Err(retry_after) = self.pace.take(full_at, now) {
                *full_at = before;
                return Err(Refusal::new(
                    Code::RateLimited { retry_after },
                    "Too many requests; try again later.",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn wait(found: Result<(), Refusal>) -> Option<u64> {
        match found.unwrap_err().code {
            Code::RateLimited { retry_after } => Some(retry_after),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_over_the_burst_is_told_when_there_is_room() {
        let paces = Paces::new(Pace::new(2, 3));
        for _ in 0..3 {
            assert_eq!(paces.count("a", 1), Ok(()));
        }
        assert_eq!(wait(paces.count("a", 1)), Some(500));
        assert_eq!(paces.count("b", 1), Ok(()));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(paces.count("a", 1), Ok(()));
        assert_eq!(wait(paces.count("a", 1)), Some(500));
    }

    #[tokio::test(start_paused = true)]
    async fn each_command_of_a_list_counts_and_a_list_passes_as_a_whole_or_not_at_all() {
        let paces = Paces::new(Pace::new(10, 10));
        assert_eq!(paces.count("a", 8), Ok(()));
        assert!(paces.count("a", 3).is_err());
        assert_eq!(paces.count("a", 2), Ok(()));
        assert_eq!(wait(paces.count("a", 1)), Some(100));
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_are_quiet_again_are_forgotten() {
        let paces = Paces::new(Pace::new(1, 1));
        for name in 0..SWEEP {
            paces.count(name, 1).unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        paces.count(SWEEP, 1).unwrap();
        assert_eq!(paces.buckets.lock().unwrap().full_at.len(), 1);
    }
}

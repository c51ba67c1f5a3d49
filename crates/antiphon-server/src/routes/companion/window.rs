//! How often something may happen to somebody within any 60 seconds.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long what happened counts.
const WINDOW: Duration = Duration::from_secs(60);

/// Names remembered before those to whom nothing happened lately are forgotten for the first time.
const SWEEP: usize = 1_000;

/// Counts by name.
pub(super) struct Windows<K> {
    /// None sets no limit.
    most: Option<usize>,
    counted: Mutex<Counted<K>>,
}

struct Counted<K> {
    /// When it happened, oldest first; no more than are allowed.
    times: HashMap<K, VecDeque<Instant>>,
    /// At this many names they are swept: twice what a sweep left, so that a flood of names does not pay for it each time.
    sweep_at: usize,
}

/// One that was counted. It counts for good once it is [kept](Self::keep), and not at all if it is dropped before.
pub(super) struct Taken<'a, K: Eq + Hash> {
    windows: &'a Windows<K>,
    name: Option<K>,
    at: Instant,
    /// How many more there may be now; none if there is no limit.
    pub(super) remaining: Option<usize>,
}

impl<K: Clone + Eq + Hash> Windows<K> {
    /// So many within any minute; 0 sets no limit.
    pub(super) fn per_minute(most: u32) -> Self {
        let counted = Counted { times: HashMap::new(), sweep_at: SWEEP };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self { most: (most > 0).then_some(most), counted: Mutex::new(counted) }
    }

    /// Counts one more for `name`, unless there were enough; then the error says in how many milliseconds there may be another.
    pub(super) fn take(&self, name: &K) -> Result<Taken<'_, K>, u64> {
        let at = Instant::now();
        let Some(most) = self.most else {
            return Ok(Taken { windows: self, name: None, at, remaining: None });
        };
        let mut counted = self.lock();
        if counted.times.len() >= counted.sweep_at {
            counted.times.retain(|_, times| times.back().is_some_and(|last| !is_over(*last, at)));
            counted.sweep_at = SWEEP.max(2 * counted.times.len());
        }
        let times = counted.times.entry(name.clone()).or_default();
        while times.front().is_some_and(|first| is_over(*first, at)) {
            times.pop_front();
        }
        if times.len() >= most {
            let first = times.front().copied().unwrap_or(at);
            let wait = WINDOW.saturating_sub(at.duration_since(first)).as_millis();
            return Err(u64::try_from(wait).unwrap_or(u64::MAX).max(1));
        }
        times.push_back(at);
        Ok(Taken { windows: self, name: Some(name.clone()), at, remaining: Some(most - times.len()) })
    }

    fn lock(&self) -> MutexGuard<'_, Counted<K>> {
        // Nothing but counting happens under this lock.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Taken<'_, K> {
    /// It happened.
    pub(super) fn keep(mut self) {
        self.name = None;
    }
}

impl<K: Eq + Hash> Drop for Taken<'_, K> {
    fn drop(&mut self) {
        let Some(name) = self.name.take() else { return };
        let mut counted = self.windows.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(times) = counted.times.get_mut(&name) {
            if let Some(index) = times.iter().rposition(|at| *at == self.at) {
                times.remove(index);
            }
            if times.is_empty() {
                counted.times.remove(&name);
            }
        }
    }
}

fn is_over(happened: Instant, now: Instant) -> bool {
    now.duration_since(happened) >= WINDOW
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn take(windows: &Windows<u32>, name: u32) -> Result<Option<usize>, u64> {
        windows.take(&name).map(|taken| {
            let remaining = taken.remaining;
            taken.keep();
            remaining
        })
    }

    #[tokio::test(start_paused = true)]
    async fn within_any_minute_there_are_no_more_than_allowed() {
        let windows = Windows::per_minute(3);
        assert_eq!(take(&windows, 1), Ok(Some(2)));
        advance(Duration::from_secs(30)).await;
        assert_eq!(take(&windows, 1), Ok(Some(1)));
        assert_eq!(take(&windows, 1), Ok(Some(0)));
        assert_eq!(take(&windows, 1), Err(30_000));
        assert_eq!(take(&windows, 2), Ok(Some(2)), "somebody else has a window of their own");
        advance(Duration::from_millis(29_999)).await;
        assert_eq!(take(&windows, 1), Err(1));
        advance(Duration::from_millis(1)).await;
        assert_eq!(take(&windows, 1), Ok(Some(0)), "the first one is over, the others are not");
        assert_eq!(take(&windows, 1), Err(30_000));
    }

    #[tokio::test(start_paused = true)]
    async fn what_did_not_happen_does_not_count() {
        let windows = Windows::per_minute(1);
        drop(windows.take(&1));
        assert_eq!(take(&windows, 1), Ok(Some(0)));
        assert!(windows.take(&1).is_err());
        drop(windows.take(&2));
        assert_eq!(windows.lock().times.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_remembered_longer_than_it_matters() {
        let windows = Windows::per_minute(1);
        for name in 0..SWEEP as u32 {
            take(&windows, name).unwrap();
        }
        advance(WINDOW).await;
        take(&windows, u32::MAX).unwrap();
        assert_eq!(windows.lock().times.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_is_counted() {
        let windows = Windows::per_minute(0);
        for _ in 0..100 {
            assert_eq!(take(&windows, 1), Ok(None));
        }
        assert!(windows.lock().times.is_empty());
    }
}

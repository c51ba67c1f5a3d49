//! How often somebody may try: a fixed window of one minute per name.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);

/// Windows kept before those that are over are thrown out.
const SWEEP: usize = 10_000;

/// Counts tries per name.
pub(crate) struct Rates<K>(Mutex<Windows<K>>);

struct Windows<K> {
    windows: HashMap<K, (Instant, u32)>,
    /// At this size it is swept; twice what a sweep left, so that sweeping costs little however many names come.
    sweep_at: usize,
}

impl<K> Default for Rates<K> {
    fn default() -> Self {
        Self(Mutex::new(Windows { windows: HashMap::new(), sweep_at: SWEEP }))
    }
}

impl<K: Clone + Eq + Hash> Rates<K> {
    /// Counts one try; over `limit` per minute it says how many milliseconds to wait.
    pub(crate) fn count(&self, name: &K, limit: u32) -> Result<(), u64> {
        let now = Instant::now();
        let mut rates = self.lock();
        if rates.windows.len() >= rates.sweep_at {
            rates.windows.retain(|_, (start, _)| now - *start < WINDOW);
            rates.sweep_at = SWEEP.max(2 * rates.windows.len());
        }
        let (start, count) = rates.windows.entry(name.clone()).or_insert((now, 0));
        if now - *start >= WINDOW {
            (*start, *count) = (now, 0);
        }
        if *count >= limit {
            let left = WINDOW.saturating_sub(now - *start);
            return Err(u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        *count += 1;
        Ok(())
    }

    /// Forgets what was counted for `name`.
    pub(crate) fn forget(&self, name: &K) {
        self.lock().windows.remove(name);
    }

    fn lock(&self) -> MutexGuard<'_, Windows<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_try_over_the_limit_is_told_how_long_to_wait() {
        let rates = Rates::default();
        assert_eq!(rates.count(&"ada", 2), Ok(()));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(rates.count(&"ada", 2), Ok(()));
        assert_eq!(rates.count(&"ada", 2), Err(40_000));
        assert_eq!(rates.count(&"bob", 2), Ok(()));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(rates.count(&"ada", 2), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn windows_that_are_over_are_thrown_out() {
        let rates = Rates::default();
        for name in 0..SWEEP {
            rates.count(&name, 1).unwrap();
        }
        tokio::time::advance(WINDOW).await;
        rates.count(&SWEEP, 1).unwrap();
        assert_eq!(rates.lock().windows.len(), 1);
    }
}

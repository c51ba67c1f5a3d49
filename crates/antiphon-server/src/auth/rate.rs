//! How often somebody may connect: a fixed window of one minute per person.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use antiphon_core::ids::PersonId;
use tokio::time::Instant;

const WINDOW: Duration = Duration::from_secs(60);

/// Windows kept before those that are over are thrown out.
const SWEEP: usize = 10_000;

/// Counts connections per person.
#[derive(Default)]
pub(crate) struct Rates {
    windows: Mutex<HashMap<PersonId, (Instant, u32)>>,
}

impl Rates {
    /// Counts one connection; over `limit` per minute it says how many milliseconds to wait.
    pub(crate) fn count(&self, person: &PersonId, limit: u32) -> Result<(), u64> {
        let now = Instant::now();
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= SWEEP {
            windows.retain(|_, (start, _)| now - *start < WINDOW);
        }
        let (start, count) = windows.entry(person.clone()).or_insert((now, 0));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_connection_over_the_limit_is_told_how_long_to_wait() {
        let (rates, ada) = (Rates::default(), PersonId::parse("ada").unwrap());
        assert_eq!(rates.count(&ada, 2), Ok(()));
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(rates.count(&ada, 2), Ok(()));
        assert_eq!(rates.count(&ada, 2), Err(40_000));
        assert_eq!(rates.count(&PersonId::parse("bob").unwrap(), 2), Ok(()));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(rates.count(&ada, 2), Ok(()));
    }
}

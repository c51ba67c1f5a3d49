//! How often somebody may ask: one token bucket per name.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use antiphon_core::refusal::{Code, Refusal};
use tokio::time::Instant;

/// Buckets kept before the full ones, which say nothing any more, are thrown out for the first time.
const SWEEP: usize = 10_000;

/// Counts requests by name.
pub(super) struct Pace {
    per_second: f64,
    burst: f64,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    by_name: HashMap<Box<str>, Bucket>,
    /// How many there were after the last look through all of them.
    kept: usize,
}

struct Bucket {
    /// Requests that may come now; below zero after one that was larger than what was left.
    left: f64,
    at: Instant,
}

impl Pace {
    /// `count` requests per `time` on average, and `burst` at once after a quiet time.
    pub(super) fn new(count: u32, time: Duration, burst: u32) -> Self {
        let per_second = f64::from(count.max(1)) / time.as_secs_f64();
        Self { per_second, burst: f64::from(burst.max(1)), buckets: Mutex::default() }
    }

    /// Counts `weight` requests of `name`, or refuses them and says when there is room again.
    ///
    /// A batch passes when there is room for one and then takes all it needs, so that a large one can never wait for ever.
    pub(super) fn count(&self, name: &str, weight: u32) -> Result<(), Refusal> {
        let now = Instant::now();
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        // Only when there are twice as many as last time, so that a flood of names does not pay for a look at all each time.
        if buckets.by_name.len() >= SWEEP.max(2 * buckets.kept) {
            buckets.by_name.retain(|_, bucket| self.refilled(bucket, now) < self.burst);
            buckets.kept = buckets.by_name.len();
        }
        let bucket = match buckets.by_name.get_mut(name) {
            Some(bucket) => bucket,
            None => buckets.by_name.entry(name.into()).or_insert(Bucket { left: self.burst, at: now }),
        };
        let left = self.refilled(bucket, now);
        if left < 1.0 {
            let wait = (1.0 - left) / self.per_second * 1_000.0;
            // Rounded up, and small: a bucket is never deeper than one batch below zero.
            let retry_after = wait.ceil() as u64;
            return Err(Refusal::new(
                Code::RateLimited { retry_after },
                "Too many requests; try again later.",
            ));
        }
        *bucket = Bucket { left: left - f64::from(weight), at: now };
        Ok(())
    }

    fn refilled(&self, bucket: &Bucket, now: Instant) -> f64 {
        let came = now.duration_since(bucket.at).as_secs_f64() * self.per_second;
        (bucket.left + came).min(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(found: Result<(), Refusal>) -> Option<u64> {
        match found.unwrap_err().code {
            Code::RateLimited { retry_after } => Some(retry_after),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_request_over_the_burst_is_told_when_there_is_room() {
        let pace = Pace::new(2, Duration::from_secs(1), 3);
        for _ in 0..3 {
            assert_eq!(pace.count("a", 1), Ok(()));
        }
        assert_eq!(wait(pace.count("a", 1)), Some(500));
        assert_eq!(pace.count("b", 1), Ok(()));
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(pace.count("a", 1), Ok(()));
        assert_eq!(wait(pace.count("a", 1)), Some(500));
    }

    #[tokio::test(start_paused = true)]
    async fn each_command_of_a_batch_counts_and_a_large_one_is_paid_for_afterwards() {
        let pace = Pace::new(10, Duration::from_secs(1), 10);
        assert_eq!(pace.count("a", 30), Ok(()));
        assert_eq!(wait(pace.count("a", 1)), Some(2_100));
        tokio::time::advance(Duration::from_millis(2_100)).await;
        assert_eq!(pace.count("a", 1), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn names_that_are_quiet_again_are_forgotten() {
        let pace = Pace::new(1, Duration::from_secs(1), 1);
        for index in 0..SWEEP {
            pace.count(&index.to_string(), 1).unwrap();
        }
        tokio::time::advance(Duration::from_secs(2)).await;
        pace.count("late", 1).unwrap();
        assert_eq!(pace.buckets.lock().unwrap().by_name.len(), 1);
    }
}

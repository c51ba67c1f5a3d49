//! When a delivery that failed is tried again.

use std::time::Duration;

use antiphon_core::ids::Timestamp;

/// Nobody who asks for more patience gets more than this.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The pauses between attempts.
///
/// A table and not a formula, because the pauses are stored as moments and outlive the process, and because operators read them.
pub(super) struct Schedule(Vec<Duration>);

impl Schedule {
    /// With these pauses, in milliseconds.
    pub(super) fn new(milliseconds: &[u64]) -> Self {
        Self(milliseconds.iter().map(|pause| Duration::from_millis(*pause).min(LONGEST)).collect())
    }

    /// When to try again after `failed` attempts, the one just made included, and no sooner than the endpoint asks; `None` when
    /// that was the last. A tenth more or less, by `dice` from 0 to 1, keeps deliveries that failed together from coming back
    /// together.
    pub(super) fn next(
        &self,
        failed: u32,
        retry_after: Option<Duration>,
        dice: f64,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let last = usize::try_from(failed).ok()?.checked_sub(1)?;
        let pause = self.0.get(last)?.mul_f64(0.9 + 0.2 * dice.clamp(0.0, 1.0));
        let pause = pause.max(retry_after.unwrap_or_default().min(LONGEST));
        // At most a day, in milliseconds.
        Some(Timestamp(now.0.saturating_add(pause.as_millis() as i64)))
    }

    /// After this time nothing is on its way any more, even if attempts had to wait for each other.
    pub(super) fn longest(&self) -> Duration {
        2 * self.0.iter().sum::<Duration>() + LONGEST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhooks::Settings;

    #[test]
    fn pauses_follow_the_table_with_some_jitter_and_then_end() {
        let schedule = Schedule::new(&[5_000, 300_000]);
        let next = |failed, dice| schedule.next(failed, None, dice, Timestamp(1_000)).map(|at| at.0 - 1_000);
        assert_eq!((next(1, 0.0), next(1, 0.5), next(1, 1.0)), (Some(4_500), Some(5_000), Some(5_500)));
        assert_eq!(next(2, 0.5), Some(300_000));
        assert_eq!(next(3, 0.5), None);
        assert_eq!(next(0, 0.5), None, "nothing has failed yet");
        assert_eq!(Schedule::new(&[]).next(1, None, 0.5, Timestamp(0)), None);
    }

    #[test]
    fn an_endpoint_may_ask_for_more_patience_but_not_for_ever() {
        let schedule = Schedule::new(&[5_000]);
        let next = |seconds| {
            let asked = Some(Duration::from_secs(seconds));
            schedule.next(1, asked, 0.5, Timestamp(0)).map(|at| at.0)
        };
        assert_eq!(next(1), Some(5_000));
        assert_eq!(next(60), Some(60_000));
        assert_eq!(next(u64::MAX), Some(86_400_000));
    }

    #[test]
    fn by_default_it_takes_three_days_and_nothing_is_older_than_eight() {
        let settings = Settings::default();
        let all: u64 = settings.retries.iter().sum();
        assert_eq!(all / 3_600_000, 75);
        assert!(Schedule::new(&settings.retries).longest() < Duration::from_secs(8 * 86_400));
    }
}

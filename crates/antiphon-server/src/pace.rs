//! How often something may happen: a token bucket that is one number.
//!
//! The number is when the bucket will be full again (the generic cell rate algorithm), so that whoever is quiet keeps nothing
//! but a zero.

/// So many per second, and so many at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Microseconds until one that was taken is there again; 0 sets no limit.
    interval: u64,
    /// Microseconds that the bucket may be away from full for one more to be there.
    slack: u64,
}

impl Pace {
    /// `per_second` in the long run and `burst` at once, at least one; 0 per second sets no limit.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let interval = 1_000_000_u64.checked_div(per_second.into()).unwrap_or(0);
        Self { interval, slack: interval * u64::from(burst.saturating_sub(1)) }
    }

    /// `per_minute` in the long run and as many at once; 0 per minute sets no limit.
    pub(crate) fn per_minute(per_minute: u32) -> Self {
        let interval = 60_000_000_u64.checked_div(per_minute.into()).unwrap_or(0);
        Self { interval, slack: interval * u64::from(per_minute.saturating_sub(1)) }
    }

    /// Takes one at `now` (milliseconds) out of the bucket that is full again at `full_at`; starts at 0. When there is none
    /// left nothing is taken, and the error says how many milliseconds to wait for the next.
    pub(crate) fn take(self, full_at: &mut u64, now: u64) -> Result<(), u64> {
        if self.interval == 0 {
            return Ok(());
        }
        let now = now * 1_000;
        let from = now.max(*full_at);
        let missing = from - now;
        if missing > self.slack {
            return Err((missing - self.slack).div_ceil(1_000));
        }
        *full_at = from + self.interval;
        Ok(())
    }

    /// Whether the bucket is full at `now`, so that nobody need remember it.
    pub(crate) fn is_full(full_at: u64, now: u64) -> bool {
        full_at <= now * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_the_next_one_waits_for_its_turn() {
        let pace = Pace::new(20, 40);
        let mut full_at = 0;
        for _ in 0..40 {
            assert_eq!(pace.take(&mut full_at, 5_000), Ok(()));
        }
        assert_eq!(pace.take(&mut full_at, 5_000), Err(50));
        assert_eq!(pace.take(&mut full_at, 5_049), Err(1));
        assert_eq!(pace.take(&mut full_at, 5_050), Ok(()));
        assert_eq!(pace.take(&mut full_at, 5_050), Err(50));
    }

    #[test]
    fn a_pace_may_be_less_than_one_per_second() {
        let pace = Pace::per_minute(3);
        let mut full_at = 0;
        for _ in 0..3 {
            assert_eq!(pace.take(&mut full_at, 0), Ok(()));
        }
        assert_eq!(pace.take(&mut full_at, 0), Err(20_000));
        assert_eq!(Pace::per_minute(0).take(&mut full_at, 0), Ok(()));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let pace = Pace::new(1, 1);
        let mut full_at = 0;
        assert_eq!(pace.take(&mut full_at, 0), Ok(()));
        for _ in 0..1_000 {
            assert_eq!(pace.take(&mut full_at, 0), Err(1_000));
        }
        assert_eq!(pace.take(&mut full_at, 1_000), Ok(()));
    }

    #[test]
    fn quiet_times_are_not_saved_up_beyond_the_burst() {
        let pace = Pace::new(10, 2);
        let mut full_at = 0;
        assert_eq!(pace.take(&mut full_at, 0), Ok(()));
        assert!(!Pace::is_full(full_at, 99));
        assert!(Pace::is_full(full_at, 100));
        for _ in 0..2 {
            assert_eq!(pace.take(&mut full_at, 1_000_000), Ok(()));
        }
        assert_eq!(pace.take(&mut full_at, 1_000_000), Err(100));
    }

    #[test]
    fn over_a_long_time_it_is_the_rate_and_the_burst() {
        for (per_second, burst) in [(1, 1), (20, 40), (3_000, 1), (7, 3)] {
            let pace = Pace::new(per_second, burst);
            let mut full_at = 0;
            let mut taken = 0;
            for now in 0..10_000 {
                while pace.take(&mut full_at, now).is_ok() {
                    taken += 1;
                }
            }
            let expected = 10 * per_second + burst;
            assert!(taken <= expected, "{taken} at {per_second} per second and {burst} at once");
            // What falls due in the last moment is not taken any more, and milliseconds are coarse for a burst of one.
            assert!(burst == 1 && per_second > 1_000 || taken + 1 >= expected, "{taken} of {expected}");
        }
    }

    #[test]
    fn zero_per_second_sets_no_limit() {
        let pace = Pace::new(0, 1);
        let mut full_at = 0;
        assert!((0..100_000).all(|_| pace.take(&mut full_at, 0).is_ok()));
        assert_eq!(full_at, 0);
    }
}

//! How durations and sizes are counted: how many were at most so large, and what they are together.
//!
//! One thread records, any thread reads. That is why recording needs no atomic addition: it is two loads and two stores on
//! memory that no other thread writes. A reader may see a value in its bucket and not yet in the sum.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bounds of durations, in nanoseconds: 10 µs to 10 s.
pub(crate) const DURATIONS: &[u64] = &[
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    1_000_000_000,
    10_000_000_000,
];

/// Bounds of group sizes.
pub(crate) const SIZES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512];

/// Counts values by how large they are.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: what exceeds them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Of values up to each of `bounds`, which rise.
    pub(crate) fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    /// Counts a value. To be called by one thread only.
    pub(crate) fn record(&self, value: u64) {
        self.record_for(value, 1);
    }

    /// Counts a value that stands for `many`. To be called by one thread only.
    fn record_for(&self, value: u64, many: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        add(&self.counts[bucket], many);
        add(&self.sum, value.saturating_mul(many));
    }

    /// Counts a duration in nanoseconds. To be called by one thread only.
    pub(crate) fn record_time(&self, duration: Duration) {
        self.record_time_for(duration, 1);
    }

    /// Counts a duration that stands for `many`. To be called by one thread only.
    pub(crate) fn record_time_for(&self, duration: Duration, many: u64) {
        self.record_for(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), many);
    }

    /// What was counted so far.
    pub(crate) fn read(&self) -> Reading {
        Reading {
            bounds: self.bounds,
            counts: self.counts.iter().map(|count| count.load(Relaxed)).collect(),
            sum: self.sum.load(Relaxed),
        }
    }
}

/// Adds without asking whether anybody else does.
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Relaxed).wrapping_add(more), Relaxed);
}

/// What a [`Histogram`] had counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) bounds: &'static [u64],
    /// How many values lie above the bound before and not above this one; the last lie above them all.
    pub(crate) counts: Vec<u64>,
    pub(crate) sum: u64,
}

impl Reading {
    /// Both together. They have the same bounds.
    pub(crate) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.sum = self.sum.wrapping_add(other.sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_up_to_its_bound_and_beyond_the_last_one() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.record(value);
        }
        let mut reading = histogram.read();
        assert_eq!((&reading.counts[..], reading.sum), (&[2, 2, 2][..], 1_062));
        reading.add(&histogram.read());
        assert_eq!((&reading.counts[..], reading.sum), (&[4, 4, 4][..], 2_124));
    }

    #[test]
    fn bounds_rise() {
        for bounds in [DURATIONS, SIZES] {
            assert!(bounds.is_sorted_by(|a, b| a < b));
        }
    }
}

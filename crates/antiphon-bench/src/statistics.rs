//! Which single figure stands for many.

/// What one server gave in one row, round by round.
///
/// Two servers are compared round by round too: within a round they were measured one after the other, and a machine that was
/// slow or fast then was so for both. The median of the comparisons is what counts. It stays where it is when the machine's
/// speed drifts from round to round, which the quotient of two medians, each from another round perhaps, does not.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    rounds: Vec<Option<f64>>,
    median: f64,
}

impl Series {
    /// Of what the rounds gave, `None` where a round failed. `None` if no round gave anything.
    pub fn new(rounds: Vec<Option<f64>>) -> Option<Self> {
        let median = median(&rounds.iter().copied().flatten().collect::<Vec<_>>())?;
        Some(Self { rounds, median })
    }

    /// The figure of the table.
    pub fn median(&self) -> f64 {
        self.median
    }

    /// How many times `other` this is, in each round that gave both.
    pub fn ratios(&self, other: &Self) -> Vec<f64> {
        let both = self.rounds.iter().zip(&other.rounds).filter_map(|(ours, theirs)| ours.zip(*theirs));
        both.filter(|(_, theirs)| *theirs > 0.0).map(|(ours, theirs)| ours / theirs).collect()
    }

    /// How many times `other` this is: the median of the rounds that gave both, or for want of such a round the quotient of
    /// the medians. `None` if `other` is nothing.
    pub fn times(&self, other: &Self) -> Option<f64> {
        median(&self.ratios(other)).or_else(|| (other.median > 0.0).then(|| self.median / other.median))
    }
}

/// The middle of `values`; the mean of the two middle ones when their number is even. `None` without values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0)
}

/// What a quarter of `values` do not exceed, and what three quarters do not. `None` without values.
pub fn quartiles(values: &[f64]) -> Option<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |quarters: usize| sorted.get((quarters * sorted.len()).div_ceil(4).saturating_sub(1)).copied();
    Some((at(1)?, at(3)?))
}

/// The smallest value that at least `share` (0 … 1) of `values` do not exceed (nearest rank). `None` without values.
///
/// Sorts in place: there may be millions.
pub fn percentile(values: &mut [u32], share: f64) -> Option<u32> {
    values.sort_unstable();
    let rank = (share.clamp(0.0, 1.0) * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rounds: &[f64]) -> Series {
        Series::new(rounds.iter().copied().map(Some).collect()).unwrap()
    }

    #[test]
    fn a_machine_that_slows_down_does_not_move_what_is_compared_round_by_round() {
        // Twice the floor in every round, while the machine gets slower; the floor's last round was disturbed.
        let (ours, floor) = (series(&[2.0, 4.0, 8.0, 16.0, 32.0]), series(&[1.0, 2.0, 4.0, 8.0, 1.5]));
        assert_eq!(ours.times(&floor), Some(2.0));
        assert_eq!(ours.median() / floor.median(), 4.0);
    }

    #[test]
    fn rounds_that_gave_only_one_of_two_are_not_compared() {
        let holes = Series::new(vec![None, Some(6.0), Some(9.0)]).unwrap();
        assert_eq!(series(&[1.0, 2.0, 3.0]).ratios(&holes), [2.0 / 6.0, 3.0 / 9.0]);
        let other = Series::new(vec![Some(3.0), None, None]).unwrap();
        assert_eq!((holes.ratios(&other).len(), holes.times(&other)), (0, Some(2.5)));
        assert_eq!(Series::new(vec![None, None]), None);
    }

    #[test]
    fn nothing_is_no_multiple_of_nothing() {
        assert_eq!(series(&[1.0]).times(&series(&[0.0])), None);
    }

    #[test]
    fn half_of_the_values_lie_between_the_quartiles() {
        assert_eq!(quartiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some((2.0, 4.0)));
        assert_eq!(quartiles(&[7.0]), Some((7.0, 7.0)));
        assert_eq!(quartiles(&[]), None);
    }

    #[test]
    fn the_median_is_the_middle_value_whatever_the_order() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), Some(5.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_percentile_is_a_value_that_occurred() {
        let mut hundred: Vec<u32> = (1..=100).rev().collect();
        assert_eq!(percentile(&mut hundred, 0.99), Some(99));
        assert_eq!(percentile(&mut hundred, 0.5), Some(50));
        assert_eq!(percentile(&mut hundred, 1.0), Some(100));
        assert_eq!(percentile(&mut hundred, 0.0), Some(1));
        assert_eq!(percentile(&mut [1, 1000], 0.99), Some(1000));
        assert_eq!(percentile(&mut [], 0.99), None);
    }
}

//! What the project promises about its cost, and whether a run kept it.

use crate::contestant::Contestant;
use crate::disk::Disk;
use crate::runner::{Cell, Results};
use crate::scenario::Work;
use crate::scenario::authentication::Credential;
use crate::scenario::resume::Question;
use crate::statistics::{Series, median, quartiles};

/// What counting may cost, in percent of what the work costs without it.
const METRICS: f64 = 2.0;

/// From how many rounds on a difference of a few percent is told from noise.
const ENOUGH_ROUNDS: usize = 5;

/// One promise, held against a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The promise.
    pub goal: String,
    /// The figures that decided.
    pub found: String,
    /// `None` if the run does not tell.
    pub met: Option<bool>,
}

/// How a promise is put.
enum Limit {
    /// At most so many times the floor.
    TimesFloor(f64),
    /// A rate that is at least so many times the floor.
    RateTimesFloor(f64),
    /// At most so much, in the row's unit, which is named.
    Absolute(f64, &'static str),
}

/// A goal's name, the rows that it is about, and its limit.
type Goal = (&'static str, fn(Work) -> bool, Limit);

fn goals() -> [Goal; 13] {
    [
        (
            "broadcast, one in flight, any number of receivers",
            |work| matches!(work, Work::Broadcast { in_flight: 1, .. }),
            Limit::TimesFloor(1.3),
        ),
        (
            "broadcast, four in flight",
            |work| matches!(work, Work::Broadcast { in_flight: 4, .. }),
            Limit::TimesFloor(0.5),
        ),
        (
            "a task's event to every dashboard",
            |work| matches!(work, Work::Tasks { .. }),
            Limit::TimesFloor(1.3),
        ),
        ("token streams", |work| matches!(work, Work::Streams { .. }), Limit::TimesFloor(1.3)),
        ("echo with ack", |work| matches!(work, Work::Echo { .. }), Limit::TimesFloor(1.7)),
        (
            "what authentication by something seen lately adds",
            |work| {
                matches!(
                    work,
                    Work::Authentication { credential: Credential::KnownKey | Credential::KnownToken, .. }
                )
            },
            Limit::Absolute(15.0, "µs"),
        ),
        ("idle connection", |work| matches!(work, Work::Idle { .. }), Limit::Absolute(6.0, "KiB")),
        (
            "what recovery adds where nobody asks for it",
            |work| matches!(work, Work::Resume { question: Question::Unasked, .. }),
            Limit::Absolute(3.0, "% of CPU"),
        ),
        (
            "what recovery adds for a client that does not ask",
            |work| matches!(work, Work::Resume { question: Question::Bytes, .. }),
            Limit::Absolute(0.0, "bytes"),
        ),
        (
            "durable messages on this disk",
            |work| matches!(work, Work::DurableRate { disk: Disk::Own, .. }),
            Limit::RateTimesFloor(10.0),
        ),
        (
            "durable messages on a slower disk",
            |work| matches!(work, Work::DurableRate { disk: Disk::Slow, .. }),
            Limit::RateTimesFloor(10.0),
        ),
        (
            "p99 of a durable ack on this disk",
            |work| matches!(work, Work::DurableLatency { disk: Disk::Own, .. }),
            Limit::TimesFloor(3.0),
        ),
        (
            "p99 of a durable ack on a slower disk",
            |work| matches!(work, Work::DurableLatency { disk: Disk::Slow, .. }),
            Limit::TimesFloor(3.0),
        ),
    ]
}

/// Every goal against `results`, in a fixed order. A goal about several rows is met if each row meets it; a row that
/// was to be measured and could not be is not met.
pub fn judge(results: &Results) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = goals().into_iter().map(|goal| judge_limit(results, goal)).collect();
    verdicts.push(judge_against(results, Contestant::Socketioxide));
    // Only where it was asked for: a published page has no such column.
    if results.columns.iter().any(|(column, _)| *column == Contestant::Unmetered) {
        verdicts.push(judge_metrics(results));
    }
    verdicts
}

fn judge_limit(results: &Results, (name, concerns, limit): Goal) -> Verdict {
    let mut row_verdicts = Vec::new();
    for (scenario, row) in results.rows.iter().filter(|(scenario, _)| concerns(scenario.work)) {
        let ours = results.cell(row, Contestant::Antiphon);
        let floor = results.series(row, Contestant::Floor);
        let (found, met) = match (ours, &limit) {
            (Cell::Failed(_), _) => ("failed".to_owned(), Some(false)),
            (Cell::Measured(ours), Limit::Absolute(most, _)) => {
                (format!("{:.2}", ours.median()), Some(ours.median() <= *most))
            }
            (Cell::Measured(ours), Limit::TimesFloor(bound) | Limit::RateTimesFloor(bound)) => {
                let Some(times) = floor.and_then(|it| ours.times(it)) else { continue };
                let is_rate = matches!(limit, Limit::RateTimesFloor(_));
                (format!("{times:.2} ×"), Some(if is_rate { times >= *bound } else { times <= *bound }))
            }
            (Cell::Absent, _) => continue,
        };
        row_verdicts.push((format!("{found} ({})", scenario.name), met));
    }
    let goal = match limit {
        Limit::TimesFloor(most) => format!("{name} ≤ {most} × floor"),
        Limit::RateTimesFloor(least) => format!("{name} ≥ {least} × floor"),
        Limit::Absolute(most, unit) => format!("{name} ≤ {most} {unit}"),
    };
    verdict(goal, row_verdicts)
}

fn judge_against(results: &Results, peer: Contestant) -> Verdict {
    let mut row_verdicts = Vec::new();
    for (scenario, row) in &results.rows {
        let Some(theirs) = results.series(row, peer) else { continue };
        let met = match results.cell(row, Contestant::Antiphon) {
            Cell::Measured(ours) => is_cheaper(scenario.work, ours, theirs),
            Cell::Failed(_) => false,
            Cell::Absent => continue,
        };
        row_verdicts.push((scenario.name.clone(), Some(met)));
    }
    let goal = format!("below {} on every row", peer.name());
    let behind: Vec<&str> =
        row_verdicts.iter().filter(|(_, met)| *met == Some(false)).map(|(name, _)| name.as_str()).collect();
    let met = (!row_verdicts.is_empty()).then_some(behind.is_empty());
    let found = match (row_verdicts.len(), behind.is_empty()) {
        (0, _) => "not measured".to_owned(),
        (rows, true) => format!("{rows} of {rows} rows"),
        (_, false) => format!("behind at {}", behind.join(", ")),
    };
    Verdict { goal, found, met }
}

/// What counting costs in every row, and how far apart the rounds were: the median of their differences, and between what and
/// what the middle half of them lies.
///
/// A row is missed only if most rounds agree that it is above the limit, and met only if its median is not and the rounds are
/// no further apart than the limit, or most of them agree. What is noisier, or was measured too seldom, is left open.
fn judge_metrics(results: &Results) -> Verdict {
    let mut row_verdicts = Vec::new();
    for (scenario, row) in results.rows.iter().filter(|(scenario, _)| !scenario.work.is_a_difference()) {
        let cells = (results.cell(row, Contestant::Antiphon), results.cell(row, Contestant::Unmetered));
        let (found, met) = match cells {
            (Cell::Measured(with), Cell::Measured(without)) => metrics_cost(scenario.work, with, without),
            (Cell::Failed(_), _) | (_, Cell::Failed(_)) => ("failed".to_owned(), Some(false)),
            (Cell::Absent, _) | (_, Cell::Absent) => continue,
        };
        row_verdicts.push((format!("{found} ({})", scenario.name), met));
    }
    verdict(format!("metrics cost ≤ {METRICS} % on every row"), row_verdicts)
}

fn metrics_cost(work: Work, with: &Series, without: &Series) -> (String, Option<bool>) {
    let percent: Vec<f64> = costs(work, with, without).iter().map(|ratio| (ratio - 1.0) * 100.0).collect();
    let (Some(middle), Some((low, high))) = (median(&percent), quartiles(&percent)) else {
        return ("no round gave both".to_owned(), None);
    };
    if percent.len() < ENOUGH_ROUNDS {
        return (format!("{middle:+.1} %, too few rounds"), None);
    }
    let rounds_agree = (high - low) / 2.0 <= METRICS;
    let met = if high <= METRICS || (middle <= METRICS && rounds_agree) {
        Some(true)
    } else if low > METRICS {
        Some(false)
    } else {
        None
    };
    (format!("{middle:+.1} % [{low:+.1} … {high:+.1}]"), met)
}

/// How many times as much as `theirs` a server's work costs, in each round that gave both. A rate that is twice as high is
/// half the cost.
fn costs(work: Work, ours: &Series, theirs: &Series) -> Vec<f64> {
    if work.is_a_rate() { theirs.ratios(ours) } else { ours.ratios(theirs) }
}

fn is_cheaper(work: Work, ours: &Series, theirs: &Series) -> bool {
    let times = if work.is_a_rate() { theirs.times(ours) } else { ours.times(theirs) };
    times.is_some_and(|times| times < 1.0)
}

fn verdict(goal: String, rows: Vec<(String, Option<bool>)>) -> Verdict {
    if rows.is_empty() {
        return Verdict { goal, found: "not measured".to_owned(), met: None };
    }
    let met = if rows.iter().any(|(_, met)| *met == Some(false)) {
        Some(false)
    } else {
        rows.iter().all(|(_, met)| *met == Some(true)).then_some(true)
    };
    Verdict { goal, found: rows.into_iter().map(|(found, _)| found).collect::<Vec<_>>().join(", "), met }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn measured(rounds: &[f64]) -> Cell {
        Cell::Measured(Series::new(rounds.iter().copied().map(Some).collect()).unwrap())
    }

    /// A run with a floor of 2.0, a peer of 4.0 and `ours` in the row `name`.
    fn run_with(name: &str, ours: Cell) -> Results {
        let scenario = scenario::all(false).into_iter().find(|scenario| scenario.name == name).unwrap();
        let columns = [Contestant::Floor, Contestant::Antiphon, Contestant::Socketioxide];
        Results {
            columns: columns.into_iter().map(|column| (column, String::new())).collect(),
            rows: vec![(scenario, vec![measured(&[2.0]), ours, measured(&[4.0])])],
            notes: Vec::new(),
        }
    }

    fn met(results: &Results, goal: &str) -> Option<bool> {
        judge(results).into_iter().find(|verdict| verdict.goal.starts_with(goal)).unwrap().met
    }

    #[test]
    fn a_limit_holds_up_to_its_edge_and_not_beyond() {
        let goal = "broadcast, one";
        assert_eq!(met(&run_with("broadcast-1000", measured(&[2.6])), goal), Some(true));
        assert_eq!(met(&run_with("broadcast-1000", measured(&[2.61])), goal), Some(false));
        assert_eq!(met(&run_with("burst", measured(&[1.0])), "broadcast, four"), Some(true));
        assert_eq!(met(&run_with("burst", measured(&[1.1])), "broadcast, four"), Some(false));
        assert_eq!(met(&run_with("idle", measured(&[6.1])), "idle"), Some(false));
    }

    #[test]
    fn both_disks_are_held_against_the_same_limits() {
        for (row, disk) in [("durable", "this"), ("durable-slow", "a slower")] {
            let (rate, p99) = (format!("{row}-rate"), format!("{row}-p99"));
            let goal = format!("durable messages on {disk} disk");
            assert_eq!(met(&run_with(&rate, measured(&[20.0])), &goal), Some(true));
            assert_eq!(met(&run_with(&rate, measured(&[19.9])), &goal), Some(false));
            let goal = format!("p99 of a durable ack on {disk} disk");
            assert_eq!(met(&run_with(&p99, measured(&[6.0])), &goal), Some(true));
            assert_eq!(met(&run_with(&p99, measured(&[6.1])), &goal), Some(false));
        }
    }

    #[test]
    fn whoever_does_not_ask_for_recovery_pays_no_byte() {
        let goal = "what recovery adds for a client";
        assert_eq!(met(&run_with("resume-bytes", measured(&[0.0])), goal), Some(true));
        assert_eq!(met(&run_with("resume-bytes", measured(&[0.1])), goal), Some(false));
        let goal = "what recovery adds where nobody asks";
        assert_eq!(met(&run_with("resume-unasked", measured(&[-0.4])), goal), Some(true));
        assert_eq!(met(&run_with("resume-unasked", measured(&[3.1])), goal), Some(false));
    }

    #[test]
    fn what_failed_is_missed_and_what_was_not_asked_for_is_open() {
        assert_eq!(met(&run_with("echo", Cell::Failed("it ended".to_owned())), "echo"), Some(false));
        assert_eq!(met(&run_with("echo", Cell::Absent), "echo"), None);
        assert_eq!(met(&run_with("echo", measured(&[1.0])), "token"), None);
    }

    #[test]
    fn a_peer_is_beaten_only_by_less() {
        assert_eq!(met(&run_with("handshake", measured(&[3.9])), "below"), Some(true));
        assert_eq!(met(&run_with("handshake", measured(&[4.0])), "below"), Some(false));
        assert_eq!(met(&run_with("handshake", Cell::Failed(String::new())), "below"), Some(false));
    }
    /// A run of the row `name` with metrics and without.
    fn metered(name: &str, with: &[f64], without: &[f64]) -> Results {
        let mut results = run_with(name, measured(with));
        results.columns[2].0 = Contestant::Unmetered;
        results.rows[0].1[2] = measured(without);
        results
    }

    #[test]
    fn what_metrics_cost_is_told_by_rounds_that_agree() {
        let steady = [10.0; 5];
        let goal = "metrics cost";
        assert_eq!(met(&metered("echo", &[10.1, 10.2, 10.1, 9.9, 12.0], &steady), goal), Some(true));
        assert_eq!(met(&metered("echo", &[10.3, 10.4, 10.3, 10.5, 9.0], &steady), goal), Some(false));
        // The median is above the limit, but so far apart are the rounds that it might as well not be.
        assert_eq!(met(&metered("echo", &[9.0, 9.5, 10.3, 11.0, 12.0], &steady), goal), None);
        // The same the other way round.
        assert_eq!(met(&metered("echo", &[8.0, 9.0, 9.5, 11.0, 12.0], &steady), goal), None);
        assert_eq!(met(&metered("echo", &[5.0, 7.0, 8.0, 9.9, 12.0], &steady), goal), Some(true));
        assert_eq!(met(&metered("echo", &[20.0; 3], &[10.0; 3]), goal), None);
        assert!(judge(&run_with("echo", measured(&[1.0]))).iter().all(|it| !it.goal.starts_with(goal)));
    }

    #[test]
    fn what_metrics_cost_is_shown_per_row_with_the_noise_of_it() {
        let results = metered("echo", &[10.1, 10.2, 10.1, 9.9, 12.0], &[10.0; 5]);
        let verdict = judge(&results).pop().unwrap();
        assert_eq!(verdict.found, "+1.0 % [+1.0 … +2.0] (echo)");
    }

    #[test]
    fn a_lower_rate_is_a_cost_and_a_difference_has_no_percentage() {
        let results = metered("durable-rate", &[95.0; 5], &[100.0; 5]);
        assert_eq!(met(&results, "metrics cost"), Some(false));
        let results = metered("authentication-known-key", &[3.0; 5], &[2.0; 5]);
        assert_eq!(met(&results, "metrics cost"), None);
    }

    #[test]
    fn authentication_is_held_against_its_limit_in_microseconds() {
        let verdict = |ours: f64| {
            let results = run_with("authentication-known-token", measured(&[ours]));
            judge(&results).into_iter().find(|verdict| verdict.goal.contains("≤ 15 µs")).unwrap().met
        };
        assert_eq!((verdict(15.0), verdict(15.1)), (Some(true), Some(false)));
        assert_eq!(met(&run_with("authentication-new-key", measured(&[40.0])), "what authentication"), None);
    }
}

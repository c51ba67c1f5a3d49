//! What the project promises about its cost, and whether a run kept it.

use crate::contestant::Contestant;
use crate::runner::{Cell, Results};
use crate::scenario::Work;

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
    /// At most so much, in the row's unit.
    Absolute(f64),
}

/// A goal's name, the rows that it is about, and its limit.
type Goal = (&'static str, fn(Work) -> bool, Limit);

fn goals() -> [Goal; 5] {
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
        ("token streams", |work| matches!(work, Work::Streams { .. }), Limit::TimesFloor(1.3)),
        ("echo with ack", |work| matches!(work, Work::Echo { .. }), Limit::TimesFloor(1.7)),
        ("idle connection", |work| matches!(work, Work::Idle { .. }), Limit::Absolute(6.0)),
    ]
}

/// Every goal against `results`, in a fixed order. A goal about several rows is met if each row meets it; a row that
/// was to be measured and could not be is not met.
pub fn judge(results: &Results) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = goals().into_iter().map(|goal| judge_limit(results, goal)).collect();
    verdicts.push(judge_against(results, Contestant::Socketioxide));
    verdicts
}

fn judge_limit(results: &Results, (name, concerns, limit): Goal) -> Verdict {
    let mut row_verdicts = Vec::new();
    for (scenario, row) in results.rows.iter().filter(|(scenario, _)| concerns(scenario.work)) {
        let ours = results.cell(row, Contestant::Antiphon);
        let floor = results.value(row, Contestant::Floor);
        let (found, met) = match (ours, &limit, floor) {
            (Cell::Failed(_), _, _) => ("failed".to_owned(), Some(false)),
            (Cell::Measured(value), Limit::Absolute(most), _) => (format!("{value:.2}"), Some(value <= most)),
            (Cell::Measured(value), Limit::TimesFloor(most), Some(floor)) => {
                (format!("{:.2} ×", value / floor), Some(value / floor <= *most))
            }
            (Cell::Measured(_), Limit::TimesFloor(_), None) | (Cell::Absent, _, _) => continue,
        };
        row_verdicts.push((format!("{found} ({})", scenario.name), met));
    }
    let goal = match limit {
        Limit::TimesFloor(most) => format!("{name} ≤ {most} × floor"),
        Limit::Absolute(most) => format!("{name} ≤ {most} KiB"),
    };
    verdict(goal, row_verdicts)
}

fn judge_against(results: &Results, peer: Contestant) -> Verdict {
    let mut row_verdicts = Vec::new();
    for (scenario, row) in &results.rows {
        let Some(theirs) = results.value(row, peer) else { continue };
        let met = match results.cell(row, Contestant::Antiphon) {
            Cell::Measured(ours) => (*ours < theirs) != scenario.work.is_a_rate(),
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

fn verdict(goal: String, rows: Vec<(String, Option<bool>)>) -> Verdict {
    if rows.is_empty() {
        return Verdict { goal, found: "not measured".to_owned(), met: None };
    }
    let met = Some(rows.iter().all(|(_, met)| *met == Some(true)));
    Verdict { goal, found: rows.into_iter().map(|(found, _)| found).collect::<Vec<_>>().join(", "), met }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    /// A run with a floor of 2.0, a peer of 4.0 and `ours` in the row `name`.
    fn run_with(name: &str, ours: Cell) -> Results {
        let scenario = scenario::all(false).into_iter().find(|scenario| scenario.name == name).unwrap();
        let columns = [Contestant::Floor, Contestant::Antiphon, Contestant::Socketioxide];
        Results {
            columns: columns.into_iter().map(|column| (column, String::new())).collect(),
            rows: vec![(scenario, vec![Cell::Measured(2.0), ours, Cell::Measured(4.0)])],
            notes: Vec::new(),
        }
    }

    fn met(results: &Results, goal: &str) -> Option<bool> {
        judge(results).into_iter().find(|verdict| verdict.goal.starts_with(goal)).unwrap().met
    }

    #[test]
    fn a_limit_holds_up_to_its_edge_and_not_beyond() {
        let goal = "broadcast, one";
        assert_eq!(met(&run_with("broadcast-1000", Cell::Measured(2.6)), goal), Some(true));
        assert_eq!(met(&run_with("broadcast-1000", Cell::Measured(2.61)), goal), Some(false));
        assert_eq!(met(&run_with("burst", Cell::Measured(1.0)), "broadcast, four"), Some(true));
        assert_eq!(met(&run_with("burst", Cell::Measured(1.1)), "broadcast, four"), Some(false));
        assert_eq!(met(&run_with("idle", Cell::Measured(6.1)), "idle"), Some(false));
    }

    #[test]
    fn what_failed_is_missed_and_what_was_not_asked_for_is_open() {
        assert_eq!(met(&run_with("echo", Cell::Failed("it ended".to_owned())), "echo"), Some(false));
        assert_eq!(met(&run_with("echo", Cell::Absent), "echo"), None);
        assert_eq!(met(&run_with("echo", Cell::Measured(1.0)), "token"), None);
    }

    #[test]
    fn a_peer_is_beaten_only_by_less() {
        assert_eq!(met(&run_with("handshake", Cell::Measured(3.9)), "below"), Some(true));
        assert_eq!(met(&run_with("handshake", Cell::Measured(4.0)), "below"), Some(false));
        assert_eq!(met(&run_with("handshake", Cell::Failed(String::new())), "below"), Some(false));
    }
}

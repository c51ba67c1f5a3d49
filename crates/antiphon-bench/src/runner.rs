//! How a run proceeds: for every row, several rounds, and in every round each server once, started afresh.
//!
//! The servers take turns within a round, so that a noisy minute of the machine hits all of them: they are compared round by
//! round, and the median of the rounds leaves it out. Every other round goes backwards, so that a machine which only ever gets
//! slower favours nobody.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::contestant::{self, Contestant, Places};
use crate::disk::Disk;
use crate::machine::{self, Cores};
use crate::progress::say;
use crate::scenario::durable::Durability;
use crate::scenario::{Pace, Scenario, Work};
use crate::statistics::Series;
use crate::{disk, peers, product};

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The rows.
    pub scenarios: Vec<Scenario>,
    /// The columns.
    pub contestants: Vec<Contestant>,
    /// How often each is measured; the median counts, of figures and of comparisons.
    pub rounds: usize,
    /// How long each looks.
    pub pace: Pace,
    /// Where everything lies.
    pub places: Places,
    /// Who runs where.
    pub cores: Cores,
}

/// One figure of the table, or why there is none.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// What the rounds gave.
    Measured(Series),
    /// No round gave anything; the reason of the last one.
    Failed(String),
    /// Not asked for, not installed, or not this server's work.
    Absent,
}

/// What a run found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The columns that could be measured, and what each server is made of.
    pub columns: Vec<(Contestant, String)>,
    /// The rows, each with one cell per column.
    pub rows: Vec<(Scenario, Vec<Cell>)>,
    /// What a reader has to know: who could not be installed, which rounds failed.
    pub notes: Vec<String>,
}

impl Results {
    /// What one server gave in one row, if it gave anything.
    pub fn series<'a>(&self, row: &'a [Cell], contestant: Contestant) -> Option<&'a Series> {
        match self.cell(row, contestant) {
            Cell::Measured(series) => Some(series),
            Cell::Failed(_) | Cell::Absent => None,
        }
    }

    /// One row's cell of one server.
    pub fn cell<'a>(&self, row: &'a [Cell], contestant: Contestant) -> &'a Cell {
        let column = self.columns.iter().position(|(column, _)| *column == contestant);
        column.and_then(|column| row.get(column)).unwrap_or(&Cell::Absent)
    }
}

/// Installs what is missing and measures everything that `plan` asks for.
///
/// A server that fails costs its cells, not the run. Fails only if the bench itself cannot work here.
pub fn run(plan: &Plan) -> Result<Results> {
    fs::create_dir_all(&plan.places.data)
        .with_context(|| format!("creating {}", plan.places.data.display()))?;
    let mut results = Results { columns: Vec::new(), rows: Vec::new(), notes: Vec::new() };
    for contestant in &plan.contestants {
        match install(*contestant, &plan.places) {
            Ok(version) => results.columns.push((*contestant, version)),
            Err(error) => results.note(format!("{} is not in this run: {error:#}", contestant.name())),
        }
    }
    let files = machine::raise_file_limit()?;
    say(&format!("up to {files} open files"));
    let load = machine::load_average();
    if load > 1.0 {
        results.note(format!(
            "The machine was busy when the run began (load average {load:.1}): latencies suffer first."
        ));
    }
    if plan.cores.are_shared() {
        results.note("Only one core: server and load generator stood in each other's way.".to_owned());
    }
    machine::pin(plan.cores.client)?;
    let is_slow = |scenario: &Scenario| scenario.work.disk() == Some(Disk::Slow);
    let mut scenarios = plan.scenarios.clone();
    if scenarios.iter().any(is_slow)
        && let Err(error) = disk::compile(&plan.places.slow_sync())
    {
        results.note(format!(
            "No disk could be made slow, so the rows about one are not in this run: {error:#}"
        ));
        scenarios.retain(|scenario| !is_slow(scenario));
    }
    for scenario in &scenarios {
        let cells = measure(plan, scenario, &mut results);
        results.rows.push((scenario.clone(), cells));
    }
    Ok(results)
}

impl Results {
    fn note(&mut self, note: String) {
        say(&note);
        self.notes.push(note);
    }
}

/// Returns what the column's head is to be explained with; peers say it themselves when they are started.
fn install(contestant: Contestant, places: &Places) -> Result<String> {
    if contestant.is_product() {
        product::forget(&places.product_data())?;
        let version = product::version(&places.antiphon)
            .with_context(|| format!("{} does not tell its version", places.antiphon.display()))?;
        let counts = contestant == Contestant::Antiphon;
        return Ok(if counts { version } else { format!("{version} with metrics = false") });
    }
    if contestant != Contestant::Floor {
        say(&format!("preparing {}", contestant.name()));
    }
    peers::install(contestant, &places.installed)?;
    Ok(String::new())
}

fn measure(plan: &Plan, scenario: &Scenario, results: &mut Results) -> Vec<Cell> {
    say(&format!("{}: {}", scenario.name, scenario.work.title()));
    let mut columns = vec![Column::default(); results.columns.len()];
    for round in 1..=plan.rounds {
        let mut turns: Vec<_> = columns
            .iter_mut()
            .zip(&mut results.columns)
            .filter(|(_, (contestant, _))| contestant.does(scenario.work))
            .collect();
        if round % 2 == 0 {
            turns.reverse();
        }
        for (column, (contestant, versions)) in turns {
            match measure_once(plan, *contestant, scenario.work, versions) {
                Ok(value) => {
                    say(&format!("  round {round}  {:<13} {value:>10.2}", contestant.name()));
                    column.rounds.push(Some(value));
                }
                Err(error) => {
                    say(&format!("  round {round}  {:<13} failed: {error:#}", contestant.name()));
                    column.rounds.push(None);
                    column.failures.push(format!("{error:#}"));
                }
            }
        }
    }
    for (column, (contestant, _)) in columns.iter().zip(results.columns.clone()) {
        if let Some(last) = column.failures.last() {
            let (failed, name) = (column.failures.len(), contestant.name());
            results.note(format!(
                "{name} failed in {failed} of {} rounds at {}: {last}",
                plan.rounds, scenario.name
            ));
        }
    }
    columns.into_iter().map(Column::into_cell).collect()
}

/// What the rounds gave for one server.
#[derive(Clone, Debug, Default)]
struct Column {
    rounds: Vec<Option<f64>>,
    failures: Vec<String>,
}

impl Column {
    fn into_cell(mut self) -> Cell {
        match (Series::new(self.rounds), self.failures.pop()) {
            (Some(series), _) => Cell::Measured(series),
            (None, Some(failure)) => Cell::Failed(failure),
            (None, None) => Cell::Absent,
        }
    }
}

fn measure_once(plan: &Plan, contestant: Contestant, work: Work, versions: &mut String) -> Result<f64> {
    if let (Contestant::Floor, Some(disk)) = (contestant, work.disk()) {
        let mut measurer =
            contestant::disk_floor(&plan.places.data, plan.pace.window.max(Duration::from_secs(1)))?;
        if disk == Disk::Slow {
            disk::slow_down(&mut measurer, &plan.places.slow_sync());
        }
        let Durability { per_second, p99_millis } = disk::measure(measurer)?;
        return Ok(if work.is_a_rate() { per_second } else { p99_millis });
    }
    let mut server = contestant.start(work, &plan.places, plan.cores)?;
    if let Some(announced) = server.versions() {
        announced.clone_into(versions);
    }
    work.measure(&server, plan.pace).map_err(|error| match server.obituary() {
        Some(obituary) => error.context(obituary),
        None => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_the_median_of_the_rounds_that_worked() {
        let column = |rounds: &[Option<f64>], failures: &[&str]| Column {
            rounds: rounds.to_vec(),
            failures: failures.iter().map(|&failure| failure.to_owned()).collect(),
        };
        let median = |cell| match cell {
            Cell::Measured(series) => Some(series.median()),
            Cell::Failed(_) | Cell::Absent => None,
        };
        assert_eq!(median(column(&[Some(3.0), Some(1.0), Some(2.0)], &[]).into_cell()), Some(2.0));
        assert_eq!(median(column(&[None, Some(3.0)], &["it ended"]).into_cell()), Some(3.0));
        assert_eq!(column(&[None, None], &["first", "last"]).into_cell(), Cell::Failed("last".to_owned()));
        assert_eq!(column(&[], &[]).into_cell(), Cell::Absent);
    }
}

//! The table as a reader sees it: Markdown, the same on the terminal and in the documentation.

use std::fmt::Write as _;

use crate::contestant::Contestant;
use crate::disk::SLOWER;
use crate::goals::{self, Verdict};
use crate::machine::{self, Cores};
use crate::runner::{Cell, Results};
use crate::scenario::Pace;
use crate::statistics::Series;

/// The figures, absolute and as multiples of the floor, then the goals, then the notes.
pub fn tables(results: &Results) -> String {
    let mut text = figures(results);
    text.push_str("\n## Goals\n\n");
    text.push_str(&verdicts(&goals::judge(results)));
    if !results.notes.is_empty() {
        text.push_str("\n## Notes\n\n");
        for note in &results.notes {
            push_line(&mut text, &format!("- {}", note.replace('\n', " ")));
        }
    }
    text
}

/// A page of documentation around [`tables`]: how it was measured, when, on what, with which versions.
pub fn page(results: &Results, rounds: usize, pace: Pace, cores: Cores) -> String {
    let mut text = String::from("# Benchmarks\n\n");
    push_line(
        &mut text,
        "CPU time (user and system) of the server per piece of work, and resident memory per connection, measured by \
         `make bench`. Every server runs alone on one core, the load generator on another, over loopback. Figures in \
         brackets are multiples of the floor: the cheapest possible server, which writes prepared frames and knows no \
         protocol. Absolute figures hold for this machine and this run only; the multiples are what to compare.",
    );
    push_line(&mut text, "");
    push_line(
        &mut text,
        &format!(
            "For durable messages the floor is one `fdatasync` per message on the same disk. The server stores twice as many as \
             are counted, because an agent that echoes answers each of them. Both are measured on two disks: this \
             machine's disk as it is, where a sync that takes a fraction of a millisecond leaves the messages' own CPU as what \
             limits the rate; and the same disk with {} ms added to each sync, about what a volume across a network takes, where \
             it shows how many messages share a commit. What adds them is a preloaded library that sleeps before `fsync` and \
             `fdatasync`, in the server and in the floor alike.",
            SLOWER.as_millis()
        ),
    );
    push_line(&mut text, "");
    push_line(
        &mut text,
        "In every round the servers take turns, and a multiple is the median of the rounds' own multiples: the machine's \
         speed drifts from minute to minute, which moves both sides of a round alike. It therefore differs a little from \
         the quotient of the two figures shown. What authentication adds is the median difference between a handshake \
         that is refused once it is known who asks and the one beside it that is refused for want of a credential, both \
         on the same server. What recovery adds is the median difference between two rooms that talk in turn on the same \
         server, on mounts with `recovery = \"asked\"` and `\"never\"`.",
    );
    push_line(&mut text, "");
    push_line(&mut text, &format!("- Date: {}", machine::today()));
    push_line(&mut text, &format!("- Machine: {}", machine::describe()));
    push_line(
        &mut text,
        &format!(
            "- Method: median of {rounds}, {} s of warm-up and {} s of measurement each; server on core {}, load \
             generator on core {}",
            pace.warm_up.as_secs_f64(),
            pace.window.as_secs_f64(),
            cores.server,
            cores.client
        ),
    );
    for (contestant, versions) in results.columns.iter().filter(|(_, versions)| !versions.is_empty()) {
        push_line(&mut text, &format!("- {}: {versions}", contestant.name()));
    }
    text.push_str("\n## Figures\n\n");
    text.push_str(&tables(results));
    text
}

fn figures(results: &Results) -> String {
    let mut rows = vec![vec!["work".to_owned()]];
    rows[0].extend(results.columns.iter().map(|(contestant, _)| contestant.name().to_owned()));
    for (scenario, cells) in &results.rows {
        let floor = results.series(cells, Contestant::Floor).filter(|_| scenario.work.has_a_floor());
        let mut row = vec![scenario.work.title()];
        row.extend(
            results.columns.iter().zip(cells).map(|((contestant, _), cell)| {
                figure(cell, floor.filter(|_| *contestant != Contestant::Floor))
            }),
        );
        rows.push(row);
    }
    aligned(&rows)
}

fn figure(cell: &Cell, floor: Option<&Series>) -> String {
    match cell {
        Cell::Measured(series) => match floor.and_then(|floor| series.times(floor)) {
            Some(times) => format!("{} ({})", short(series.median()), ratio(times)),
            None => short(series.median()),
        },
        Cell::Failed(_) => "failed".to_owned(),
        Cell::Absent => "–".to_owned(),
    }
}

/// Three significant digits, as far as they are after the point.
fn short(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn ratio(times: f64) -> String {
    if times < 10.0 { format!("{times:.2} ×") } else { format!("{times:.0} ×") }
}

fn verdicts(verdicts: &[Verdict]) -> String {
    let mut rows = vec![["goal", "this run", "met"].map(str::to_owned).to_vec()];
    for verdict in verdicts {
        let met = match verdict.met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "–",
        };
        rows.push(vec![verdict.goal.clone(), verdict.found.clone(), met.to_owned()]);
    }
    aligned(&rows)
}

/// A Markdown table whose columns also stand under each other in plain text. The first row is the head.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:<width$} ")).collect();
        push_line(&mut text, &format!("|{}|", cells.join("|")));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            push_line(&mut text, &format!("|{}|", rules.join("|")));
        }
    }
    text
}

fn push_line(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    writeln!(text, "{line}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario;

    fn measured(rounds: &[f64]) -> Cell {
        Cell::Measured(Series::new(rounds.iter().copied().map(Some).collect()).unwrap())
    }

    fn results() -> Results {
        let scenario = scenario::all(false).remove(1);
        Results {
            columns: vec![
                (Contestant::Floor, String::new()),
                (Contestant::Antiphon, "antiphon 0.1.0".to_owned()),
                (Contestant::Node, "Node 20".to_owned()),
            ],
            rows: vec![(
                scenario,
                vec![measured(&[2.5]), measured(&[2.75]), Cell::Failed("it ended".to_owned())],
            )],
            notes: vec!["node failed at broadcast-1000: it\nended".to_owned()],
        }
    }

    #[test]
    fn a_row_shows_absolute_figures_and_multiples_of_the_floor() {
        let text = tables(&results());
        assert!(text.contains("| 2.50 "), "{text}");
        assert!(text.contains("| 2.75 (1.10 ×) "), "{text}");
        assert!(text.contains("| failed "), "{text}");
    }

    #[test]
    fn a_multiple_is_that_of_the_rounds_and_not_of_the_figures() {
        let mut results = results();
        results.rows[0].1[0] = measured(&[1.0, 2.0, 4.0]);
        results.rows[0].1[1] = measured(&[2.0, 6.0, 8.0]);
        assert!(tables(&results).contains("| 6.00 (2.00 ×) "));
    }

    #[test]
    fn the_goals_and_the_notes_stand_below_the_table() {
        let text = tables(&results());
        assert!(text.contains("1.10 × (broadcast-1000)"), "{text}");
        assert!(text.contains("| yes "), "{text}");
        assert!(text.contains("- node failed at broadcast-1000: it ended\n"), "{text}");
    }

    #[test]
    fn a_page_names_its_date_its_machine_and_its_versions() {
        let text = page(&results(), 3, Pace::FULL, Cores { server: 0, client: 1 });
        assert!(text.contains(&machine::today()));
        assert!(text.contains("- antiphon: antiphon 0.1.0\n- node: Node 20\n"), "{text}");
        assert!(text.contains("median of 3, 1 s of warm-up and 2 s"), "{text}");
    }

    #[test]
    fn figures_keep_three_digits() {
        assert_eq!([0.071, 9.994, 12.34, 1362.4].map(short), ["0.07", "9.99", "12.3", "1362"]);
    }
}

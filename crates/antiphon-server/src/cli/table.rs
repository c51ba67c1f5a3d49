//! How lists are printed: as columns for people, as JSON lines for scripts.

use std::io::Write as _;

use serde_json::Value;

/// Prints `rows` below their headings, every column as wide as it must be.
pub(super) fn print(headings: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    std::io::stdout().write_all(columns(headings, rows).as_bytes())?;
    Ok(())
}

/// Prints one JSON object a line.
pub(super) fn lines(objects: &[Value]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for object in objects {
        writeln!(out, "{object}")?;
    }
    Ok(())
}

fn columns(headings: &[&str], rows: Vec<Vec<String>>) -> String {
    let headings = headings.iter().map(|heading| heading.to_uppercase()).collect();
    let rows: Vec<Vec<String>> = [headings].into_iter().chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| shown(&row[column]).chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{:width$}", shown(cell)));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// What people chose as a name must not steer the terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be_and_steer_no_terminal() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = columns(&["id", "plan"], vec![row(["ada", "free"]), row(["b\u{1b}[2J", ""])]);
        assert_eq!(text, "ID     PLAN\nada    free\nb\u{fffd}[2J\n");
    }
}

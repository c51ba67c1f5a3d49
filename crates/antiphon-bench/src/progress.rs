//! How the runner tells what it is doing: one line at a time on standard error, so that standard output is the table.

use std::io::Write;

/// Writes `line` to standard error; a closed standard error is nobody's problem.
pub fn say(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}

//! `doctor`: what is wrong with a data directory, and what to do about it.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use antiphon_core::ids::Timestamp;
use antiphon_core::memory::SystemClock;
use antiphon_core::ports::Clock as _;
use anyhow::bail;
use clap::Args;
use serde_json::json;

use super::serve::ConfigFile;
use crate::config::Loaded;
use crate::sqlite::inspection::{Report, Weight, inspect};

/// Check a data directory without changing it, also while a server runs on it.
///
/// Looks at files, log, free space, structure, references, the checksum of every message and of every entry of a ledger,
/// positions, balances, open charges, unanswered requests and the clock. The exit status is 0 when nothing is lost or broken.
#[derive(Args)]
#[command(after_help = "Example:\n  antiphon doctor --data /var/lib/antiphon")]
pub(super) struct Doctor {
    /// The data directory [default: that of the configuration].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let data = match self.data {
            Some(data) => data,
            None => Loaded::read(&self.config.sources())?.config.server.data,
        };
        examine(&data, SystemClock.now(), self.json)
    }
}

fn examine(data: &Path, now: Timestamp, as_json: bool) -> anyhow::Result<()> {
    let report = inspect(data, now, &mut |line| {
        // Whoever does not want to see how far it is may close it.
        let _ = writeln!(std::io::stderr(), "{line}");
    });
    let mut out = std::io::stdout();
    if as_json {
        writeln!(out, "{}", view(data, &report))?;
    } else {
        write!(out, "{}", text(data, &report))?;
    }
    let errors = errors(&report);
    if errors > 0 {
        bail!("{errors} of the findings mean that something is lost or broken");
    }
    Ok(())
}

fn errors(report: &Report) -> usize {
    report.findings.iter().filter(|finding| finding.weight == Weight::Error).count()
}

fn text(data: &Path, report: &Report) -> String {
    let running = if report.is_running { "a server runs on it" } else { "no server runs on it" };
    let mut text = format!("{}: {running}\n", data.display());
    for check in &report.checks {
        let found: Vec<_> = report.findings.iter().filter(|finding| finding.check == *check).collect();
        if found.is_empty() {
            text.push_str(&format!("  good     {check}\n"));
        }
        for finding in found {
            let weight = match finding.weight {
                Weight::Warning => "warning",
                Weight::Error => "ERROR",
            };
            text.push_str(&format!(
                "  {weight:<8} {check}: {}\n           {}\n",
                finding.what, finding.advice
            ));
        }
    }
    text
}

fn view(data: &Path, report: &Report) -> serde_json::Value {
    let findings: Vec<_> = report
        .findings
        .iter()
        .map(|finding| {
            let weight = match finding.weight {
                Weight::Warning => "warning",
                Weight::Error => "error",
            };
            json!({"check": finding.check, "weight": weight, "what": finding.what, "advice": finding.advice})
        })
        .collect();
    json!({
        "data": data.display().to_string(),
        "running": report.is_running,
        "sound": errors(report) == 0,
        "checks": report.checks,
        "findings": findings,
    })
}

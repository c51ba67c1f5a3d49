//! `jobs`: what agents of a running server say by themselves, and saying it now.

use std::io::Write as _;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::{client, table};

/// What agents of a running server say by themselves: when, to whom, what became of it, and saying it now.
#[derive(Subcommand)]
pub(super) enum Jobs {
    List(List),
    Run(Run),
}

/// List what is due when, for each person who talked with agents lately.
///
/// AGENT is who would write to them now: `busy` while they are in the middle of a conversation, `-` when they have been away for
/// too long. AT is in UTC, DATE is the person's own day. With --past, list what was said and what became of it, the latest first.
#[derive(Args)]
#[command(after_help = "Examples:\n  antiphon jobs list\n  antiphon jobs list --person ada\n  \
                        antiphon jobs list --past --json | jq 'select(.state == \"skipped\")'")]
pub(super) struct List {
    #[command(flatten)]
    server: client::Server,
    /// Only for this person, however long they have been away.
    #[arg(long, value_name = "ID")]
    person: Option<String>,
    /// What was said in the last 35 days, and what became of it.
    #[arg(long)]
    past: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Look at once and say what is due, as the server does by itself every now and then.
///
/// Running it twice says nothing twice: a person gets at most one message of a kind on each of their days. Each line says what came
/// of a message: said; before (that day had its message); busy (in the middle of a conversation); nobody (there is no agent that
/// they talked with lately); later (it is tried again); skipped.
#[derive(Args)]
#[command(after_help = "Examples:\n  antiphon jobs run\n  antiphon jobs run --person ada\n  \
                        antiphon jobs run --person ada --kind morning --now")]
pub(super) struct Run {
    #[command(flatten)]
    server: client::Server,
    /// Only messages to this person.
    #[arg(long, value_name = "ID")]
    person: Option<String>,
    /// Only messages of this kind, such as `morning`.
    #[arg(long, value_name = "NAME")]
    kind: Option<String>,
    /// Also when it is not due, and also to people in the middle of a conversation. Without --person that is everybody who talked
    /// with agents lately.
    #[arg(long, requires = "kind")]
    now: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Jobs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(command) => command.run().await,
            Self::Run(command) => command.run().await,
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let client = self.server.client()?;
        let path: &[&str] = if self.past { &["jobs"] } else { &["jobs", "due"] };
        let person = self.person.as_deref().map(|person| ("person", person));
        let found = client.pages_of(path, person.as_slice()).await?;
        if self.json {
            return table::lines(&found);
        }
        if self.past {
            let headings = ["id", "person", "kind", "date", "agent", "state", "at", "why"];
            return table::print(&headings, found.iter().map(|job| cells(job, &headings)).collect());
        }
        let headings = ["person", "kind", "at", "date", "zone", "agent"];
        table::print(&headings, found.iter().flat_map(due).collect())
    }
}

impl Run {
    async fn run(self) -> anyhow::Result<()> {
        let mut order = json!({ "now": self.now });
        for (name, value) in [("person", self.person), ("kind", self.kind)] {
            if let Some(value) = value {
                order[name] = value.into();
            }
        }
        let report = self.server.client()?.send_json(Method::POST, &["jobs", "run"], &order).await?;
        let results = report["results"].as_array().map_or(&[][..], Vec::as_slice);
        if self.json {
            return table::lines(results);
        }
        if !results.is_empty() {
            let headings = ["person", "kind", "date", "result", "agent", "until", "why"];
            table::print(&headings, results.iter().map(|result| cells(result, &headings)).collect())?;
        }
        writeln!(
            std::io::stderr(),
            "{} people looked at, {} messages said",
            report["people"],
            report["said"]
        )?;
        Ok(())
    }
}

/// The rows of what a person can expect.
fn due(person: &Value) -> Vec<Vec<String>> {
    let text = |name: &str| person[name].as_str().unwrap_or_default().to_owned();
    let agent = match (person["agent"].as_str(), person["busyUntil"].as_str()) {
        (Some(agent), _) => agent.to_owned(),
        (None, Some(_)) => "busy".to_owned(),
        (None, None) => "-".to_owned(),
    };
    let coming = person["coming"].as_array().map_or(&[][..], Vec::as_slice);
    let row = |coming: &Value| {
        let [kind, at, date] = ["kind", "at", "date"].map(|name| cells(coming, &[name]).concat());
        vec![text("person"), kind, at, date, text("timeZone"), agent.clone()]
    };
    coming.iter().map(row).collect()
}

fn cells(object: &Value, names: &[&str]) -> Vec<String> {
    let cell = |name: &&str| match &object[*name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    names.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_has_a_row_for_each_kind_and_says_who_would_write() {
        let coming = json!([{"kind": "morning", "at": "2026-11-20T00:00:00.000Z", "date": "2026-11-20"}]);
        for (rest, agent) in [
            (json!({"agent": "luna"}), "luna"),
            (json!({"busyUntil": "2026-11-20T00:00:00.000Z"}), "busy"),
            (json!({}), "-"),
        ] {
            let mut person = rest;
            person["person"] = "ada".into();
            person["timeZone"] = "Asia/Jakarta".into();
            person["coming"] = coming.clone();
            let row = ["ada", "morning", "2026-11-20T00:00:00.000Z", "2026-11-20", "Asia/Jakarta", agent];
            assert_eq!(due(&person), [row.map(str::to_owned).to_vec()]);
        }
        assert!(due(&json!({})).is_empty());
    }
}

//! How the product is set up for a measurement: people and agents imported, a config, its own binary.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::json;

use crate::scenario::{Admission, Cast};
use crate::wire::token;

/// Where the mission API is.
pub const MISSION_PATH: &str = "/ws";

/// Where the chat API is without recovery.
pub const UNRECOVERED_PATH: &str = "/unrecovered";

/// Whether the product counts what it does. Nobody reads the counts while it is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metrics {
    /// As it does by default.
    Counted,
    /// `[telemetry] metrics = false`.
    Off,
}

/// Fills `directory` with fresh data and a config, and returns the command that serves from it.
///
/// Importing costs one commit per line, and a run serves the same cast again and again: what was imported once is kept
/// beside it as `cast-…` and copied. [`forget`] clears it.
pub fn prepare(binary: &Path, directory: &Path, cast: &Cast, metrics: Metrics) -> Result<Command> {
    let admission = match cast.admission {
        Admission::Everybody => "open",
        Admission::Nobody => "closed",
    };
    let template =
        directory.join(format!("cast-{}-{}-{}-{admission}", cast.people, cast.agents, cast.agent_id_length));
    if !template.exists() {
        import(binary, &template, cast)?;
    }
    let data = directory.join("data");
    empty(&data)?;
    for entry in fs::read_dir(&template)? {
        let entry = entry?;
        fs::copy(entry.path(), data.join(entry.file_name())).context("copying what was imported")?;
    }
    let config = directory.join("antiphon.toml");
    fs::write(&config, config_text(&data, cast, metrics))?;
    let mut serve = Command::new(binary);
    serve.args(["serve", "--announce", "json", "--config"]).arg(&config);
    Ok(serve)
}

/// Deletes whatever earlier runs left in `directory`: another binary may store things differently.
pub fn forget(directory: &Path) -> Result<()> {
    empty(directory)
}

/// What `antiphon --version` says, or `None` if there is no such program.
pub fn version(binary: &Path) -> Option<String> {
    let output = Command::new(binary).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Imports `cast` into `template`, which exists only if all of it was imported.
fn import(binary: &Path, template: &Path, cast: &Cast) -> Result<()> {
    let unfinished = template.with_extension("unfinished");
    empty(&unfinished)?;
    let lines = template.with_extension("jsonl");
    fs::write(&lines, import_lines(cast))?;
    let output = Command::new(binary)
        .args(["import", "--data"])
        .args([&unfinished, &lines])
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {}", binary.display()))?;
    if !output.status.success() {
        bail!("antiphon import: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    fs::rename(&unfinished, template).context("keeping what was imported")
}

/// Makes `directory` one that exists and holds nothing.
fn empty(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory).with_context(|| format!("emptying {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))
}

/// One plan, without limits unless nobody is to be let in, then every person with a key, and an agent if there is one for them.
fn import_lines(cast: &Cast) -> String {
    let mut lines = String::new();
    let mut line = |value: serde_json::Value| {
        // Writing to a string cannot fail.
        writeln!(lines, "{value}").unwrap_or_default();
    };
    let connections = match cast.admission {
        Admission::Everybody => None,
        Admission::Nobody => Some(0),
    };
    line(json!({
        "kind": "plan", "name": "bench", "connectionsPerMinute": connections, "messagesPerMonth": null,
        "agents": null,
    }));
    for index in 0..cast.people {
        let person = cast.person(index);
        line(json!({"kind": "person", "id": person, "plan": "bench"}));
        line(json!({"kind": "key", "person": person, "key": cast.token(index)}));
        if index < cast.agents {
            line(json!({"kind": "agent", "id": cast.agent(index), "owner": person, "name": "Echo"}));
        }
    }
    lines
}

/// The defaults but for three things. Writers who never wait for an answer outrun the agents, and it is their acks, not the
/// agents' patience, that the durable rows are about. And everything comes as fast as it can and from one place, which is what
/// the limits on rates are there to prevent; in some rows all clients are one person, too. And an issuer is believed whose tokens
/// the bench signs itself. The mount beside is for whoever compares recovery with its absence.
fn config_text(data: &Path, cast: &Cast, metrics: Metrics) -> String {
    // A JSON string is a TOML string too.
    let data = json!(data.display().to_string());
    format!(
        r#"[server]
cores = 1
data = {data}

[[listener]]
address = "127.0.0.1:0"
routes = true

[[listener.mount]]
path = "/api/socketio"
dialects = ["chat"]

[[listener.mount]]
path = "{UNRECOVERED_PATH}"
dialects = ["chat"]
recovery = "never"

[[listener.mount]]
path = "{MISSION_PATH}"
dialects = ["mission"]

[admin]
address = "127.0.0.1:0"

[limits]
waiting_replies = 1000000
events_per_second = 0
accepts_per_second = 0
connections_per_person = 0

[model]
kind = "echo"
chunk_words = 1
chunk_delay = {}

[telemetry]
metrics = {}

[[auth.issuer]]
name = "bench"
algorithms = ["HS256"]
secret = "{}"
people = "known"
"#,
        cast.chunk_delay.as_millis(),
        metrics == Metrics::Counted,
        token::SECRET
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Work;
    use crate::scenario::authentication::Credential;

    #[test]
    fn everybody_is_imported_with_a_key_and_their_agent() {
        let lines = import_lines(&Work::Streams { rooms: 3 }.cast());
        let kinds: Vec<String> = lines
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["kind"].as_str().unwrap().to_owned()
            })
            .collect();
        assert_eq!(kinds.len(), 1 + 3 * 3);
        assert_eq!(kinds[..4], ["plan", "person", "key", "agent"]);
        assert!(lines.contains(r#""id":"a0002""#) && lines.contains(r#""owner":"u2""#));
    }

    #[test]
    fn the_config_points_at_the_data_and_keeps_the_pace() {
        let cast = Work::Streams { rooms: 1 }.cast();
        let text = config_text(Path::new("/tmp/a \"b\""), &cast, Metrics::Counted);
        assert!(text.contains(r#"data = "/tmp/a \"b\"""#), "{text}");
        assert!(text.contains("chunk_delay = 33"));
    }

    #[test]
    fn without_metrics_nothing_else_is_different() {
        let cast = Work::Echo { clients: 1 }.cast();
        let text = |metrics| config_text(Path::new("/tmp/a"), &cast, metrics);
        assert_eq!(text(Metrics::Counted).replace("metrics = true", "metrics = false"), text(Metrics::Off));
        assert_ne!(text(Metrics::Counted), text(Metrics::Off));
    }

    #[test]
    fn where_nobody_is_let_in_the_plan_says_so() {
        let plan = |work: Work| import_lines(&work.cast()).lines().next().unwrap().to_owned();
        assert!(plan(Work::Handshake { connections: 8 }).contains(r#""connectionsPerMinute":null"#));
        let closed = Work::Authentication { credential: Credential::KnownKey, connections: 8 };
        assert!(plan(closed).contains(r#""connectionsPerMinute":0"#));
    }

    #[test]
    fn a_binary_that_is_not_there_has_no_version_and_cannot_be_prepared() {
        let directory = tempfile::tempdir().unwrap();
        let nowhere = directory.path().join("antiphon");
        assert_eq!(version(&nowhere), None);
        let cast = Work::Idle { connections: 1 }.cast();
        let error = prepare(&nowhere, &directory.path().join("x"), &cast, Metrics::Counted).unwrap_err();
        assert!(error.to_string().contains("starting"), "{error}");
    }
}

//! `publish` and `notice`: something for those who are connected, from the operator's terminal.

use std::io::Write as _;

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use reqwest::Method;
use serde_json::{Value, json};

use super::client;

/// Publish a named value to everybody who listens to a topic.
///
/// It is relayed as it is and not stored. Tells how many received it.
#[derive(Args)]
#[command(after_help = "Examples:\n  antiphon publish everyone maintenance '{\"minutes\":5}'\n  \
                        antiphon publish person:ada balance '{\"coins\":3}'\n  \
                        echo '[1,2,3]' | antiphon publish named:prices tick -")]
pub(super) struct Publish {
    #[command(flatten)]
    server: client::Server,
    /// `everyone`, or a kind and an id: `person:ada`, `agent:luna`, `conversation:<uuid>`, `named:<name>`.
    topic: String,
    /// What the value is called.
    name: String,
    /// The value, as JSON; `-` reads it from standard input.
    json: String,
}

/// Tell a person something: all of their connections hear it.
///
/// It is not stored. Tells how many connections received it.
#[derive(Args)]
#[command(
    after_help = "Example:\n  antiphon notice ada 'Maintenance' 'The server restarts at ten.' --kind warning"
)]
pub(super) struct Notice {
    #[command(flatten)]
    server: client::Server,
    /// The person's id.
    person: String,
    /// One line.
    title: String,
    /// One or two sentences.
    message: String,
    /// How urgent it is.
    #[arg(long, value_enum, default_value_t = Kind::Info)]
    kind: Kind,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Good to know.
    Info,
    /// Something worked.
    Success,
    /// Something may need care.
    Warning,
    /// Something failed.
    Error,
}

impl Publish {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let json = if self.json == "-" {
            std::io::read_to_string(std::io::stdin()).context("cannot read standard input")?
        } else {
            self.json
        };
        let value: Value =
            serde_json::from_str(&json).context("the value is not JSON; text needs quotes: '\"text\"'")?;
        let topic = topic(&self.topic)?;
        let path: Vec<_> = ["topics"].into_iter().chain(topic).chain(["publish"]).collect();
        let answer = self.server.client()?;
        let answer =
            answer.send_json(Method::POST, &path, &json!({ "name": self.name, "value": value })).await?;
        received(&answer)
    }
}

impl Notice {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let kind = self.kind.to_possible_value().map_or_else(String::new, |kind| kind.get_name().to_owned());
        let body = json!({ "kind": kind, "title": self.title, "message": self.message });
        let client = self.server.client()?;
        let answer = client.send_json(Method::POST, &["people", &self.person, "notices"], &body).await?;
        received(&answer)
    }
}

fn received(answer: &Value) -> anyhow::Result<()> {
    let count = answer["received"].as_u64().context("the server did not say how many received it")?;
    writeln!(std::io::stdout(), "{count} received it")?;
    Ok(())
}

/// The parts of a topic's path.
fn topic(text: &str) -> anyhow::Result<Vec<&str>> {
    if text == "everyone" {
        return Ok(vec![text]);
    }
    let (kind, id) = text.split_once(':').unwrap_or((text, ""));
    ensure!(
        !id.is_empty(),
        "{text:?} is no topic; a topic is `everyone`, or a kind and an id such as `person:ada` or `named:prices`"
    );
    Ok(vec![kind, id])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_everyone_or_a_kind_and_an_id() {
        assert_eq!(topic("everyone").unwrap(), ["everyone"]);
        assert_eq!(topic("named:a:b").unwrap(), ["named", "a:b"]);
        for text in ["person", "person:", ""] {
            assert!(topic(text).unwrap_err().to_string().contains("is no topic"), "{text}");
        }
    }
}

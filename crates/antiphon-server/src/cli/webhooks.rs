//! `webhook`: how the endpoints of a running server do, and trying again what did not reach them.

use std::io::Write as _;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::Value;

use super::{client, table};

/// Other servers that a running server tells what happens: how they do, and what did not reach them.
#[derive(Subcommand)]
pub(super) enum Webhook {
    List(List),
    Dead(Dead),
    Retry(Retry),
    Enable(Enable),
}

/// List the webhooks and how each of them does.
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    server: client::Server,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// List the deliveries that were given up.
#[derive(Args)]
pub(super) struct Dead {
    #[command(flatten)]
    server: client::Server,
    /// Only those of this webhook.
    #[arg(long, value_name = "ID")]
    webhook: Option<String>,
    /// Print one JSON object a line, with what was to be sent; that may hold what people wrote.
    #[arg(long)]
    json: bool,
}

/// Try deliveries again that were given up, as if they were new.
#[derive(Args)]
#[command(after_help = "Examples:\n  antiphon webhook retry 4712\n  \
                        antiphon webhook dead --json | jq .id | xargs antiphon webhook retry")]
pub(super) struct Retry {
    #[command(flatten)]
    server: client::Server,
    /// Their ids, as they are listed.
    #[arg(required = true)]
    ids: Vec<u64>,
}

/// Tell a webhook again that answered 410 and was disabled.
#[derive(Args)]
pub(super) struct Enable {
    #[command(flatten)]
    server: client::Server,
    /// Its id, as it is listed: `wh_0f3a9c12d4e5b6a7`.
    id: String,
}

impl Webhook {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::List(List { server, json }) => {
                let found = server.client()?.pages(&["webhooks"]).await?;
                show(
                    &found,
                    json,
                    &["id", "url", "state", "pending", "dead", "delivered", "failed"],
                    endpoint,
                )
            }
            Self::Dead(Dead { server, webhook, json }) => {
                let mut found = server.client()?.pages(&["webhooks", "dead"]).await?;
                found.retain(|letter| webhook.as_ref().is_none_or(|wanted| letter["webhook"] == **wanted));
                show(
                    &found,
                    json,
                    &["id", "webhook", "event", "person", "number", "tried", "died", "why"],
                    letter,
                )
            }
            Self::Retry(Retry { server, ids }) => {
                let client = server.client()?;
                for id in ids {
                    let id = id.to_string();
                    client.send_json(Method::POST, &["webhooks", "dead", &id, "retry"], &Value::Null).await?;
                    writeln!(std::io::stdout(), "{id} is on its way again")?;
                }
                Ok(())
            }
            Self::Enable(Enable { server, id }) => {
                let path = ["webhooks", &id, "enable"];
                server.client()?.send_json(Method::POST, &path, &Value::Null).await?;
                writeln!(std::io::stdout(), "{id} is told again")?;
                Ok(())
            }
        }
    }
}

fn show(
    found: &[Value],
    as_json: bool,
    headings: &[&str],
    row: impl Fn(&Value) -> Vec<String>,
) -> anyhow::Result<()> {
    if as_json {
        return table::lines(found);
    }
    table::print(headings, found.iter().map(row).collect())
}

/// The cells of a webhook's row.
fn endpoint(endpoint: &Value) -> Vec<String> {
    let state = if endpoint["disabled"] == true { "disabled" } else { "told" };
    let mut cells = cells(endpoint, &["id", "url", "pending", "dead", "delivered", "failed"]);
    cells.insert(2, state.to_owned());
    cells
}

/// The cells of a dead letter's row.
fn letter(letter: &Value) -> Vec<String> {
    cells(letter, &["id", "webhook", "event", "person", "sequence", "attempts", "diedAt", "why"])
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
    use serde_json::json;

    use super::*;

    #[test]
    fn rows_have_a_cell_for_each_heading_whatever_is_missing() {
        let told = json!({"id": "wh_1", "url": "https://a.example", "disabled": false, "pending": 3, "dead": 0,
            "delivered": 9, "failed": 1});
        assert_eq!(endpoint(&told), ["wh_1", "https://a.example", "told", "3", "0", "9", "1"]);
        assert_eq!(endpoint(&json!({"disabled": true}))[2], "disabled");
        let dead = json!({"id": 7, "webhook": "wh_1", "event": "notice.sent", "sequence": 2, "attempts": 10,
            "diedAt": "2026-11-20T16:00:00.000Z", "why": "no"});
        assert_eq!(
            letter(&dead),
            ["7", "wh_1", "notice.sent", "", "2", "10", "2026-11-20T16:00:00.000Z", "no"]
        );
    }
}

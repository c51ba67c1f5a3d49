//! `tail`: what happens on a server, live, one line for each event.

use std::io::{IsTerminal as _, Write as _};

use anyhow::{anyhow, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

use super::{client, table};

/// Bytes of one event that are read before it is taken for something else than an event.
const LONGEST: usize = 16 << 20;

/// Watch what happens on a server that runs, live: one line for each event.
///
/// A line has the time, the topic, the event's name and its facts. It goes on until the server stops or you do.
#[derive(Args)]
#[command(after_help = "Examples:\n  antiphon tail --url http://127.0.0.1:3000\n  \
                        antiphon tail --topic person:ada --topic agent:luna\n  \
                        antiphon tail --json | jq 'select(.name == \"MessagePosted\")'")]
pub(super) struct Tail {
    #[command(flatten)]
    server: client::Server,
    /// Only events of this topic: `everyone`, `person:ada`, `agent:luna`, `conversation:<uuid>`, `named:<name>`. May be given
    /// several times.
    #[arg(long = "topic", value_name = "TOPIC")]
    topics: Vec<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Tail {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let query: Vec<_> = self.topics.iter().map(|topic| ("topic", topic.as_str())).collect();
        let mut response = self.server.client()?.stream(&["tail"], &query).await?;
        let mut out = std::io::stdout();
        let print =
            Print { json: self.json, colour: out.is_terminal() && std::env::var_os("NO_COLOR").is_none() };
        let mut events = Events::default();
        while let Some(piece) = response
            .chunk()
            .await
            .map_err(|error| anyhow!("the stream broke off: {}", error.without_url()))?
        {
            for event in events.read(&piece)? {
                match &*event.name {
                    "listening" => writeln!(std::io::stderr(), "watching; Ctrl-C ends it")?,
                    _ => writeln!(out, "{}", print.line(&event))?,
                }
            }
            out.flush()?;
        }
        bail!("the server ended the stream: it stops, or the service key is not good any more")
    }
}

/// A server-sent event.
#[derive(Debug, Default, PartialEq, Eq)]
struct Event {
    name: String,
    data: String,
}

/// Finds events in a stream that comes in pieces (HTML standard, 9.2.6, as far as a server of ours uses it).
#[derive(Default)]
struct Events {
    line: Vec<u8>,
    event: Event,
}

impl Events {
    /// The events that `piece` ends.
    fn read(&mut self, piece: &[u8]) -> anyhow::Result<Vec<Event>> {
        let mut found = Vec::new();
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            ensure!(self.line.len() + self.event.data.len() <= LONGEST, "this is no stream of events");
            if self.line.last() == Some(&b'\n') {
                let line = std::mem::take(&mut self.line);
                found.extend(self.end_of(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(found)
    }

    /// The event that a whole line ends: an empty one does.
    fn end_of(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            return Some(std::mem::take(&mut self.event)).filter(|event| !event.data.is_empty());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.name),
            "data" => self.event.data.push_str(value),
            // A comment, which says that the stream is still there, or a field that means nothing to us.
            _ => {}
        }
        None
    }
}

/// How events are printed.
struct Print {
    json: bool,
    colour: bool,
}

impl Print {
    /// The line of an event.
    fn line(&self, Event { name, data }: &Event) -> String {
        let mut value: Value = serde_json::from_str(data).unwrap_or_else(|_| json!({ "event": data }));
        if self.json {
            if let Some(fields) = value.as_object_mut() {
                fields.insert("name".into(), json!(name));
            }
            return table::shown(&value.to_string());
        }
        let at = value["at"].as_str().unwrap_or("-");
        // The day is known to whoever watches.
        let at = at.split_once('T').map_or(at, |(_, time)| time.trim_end_matches('Z'));
        let topic = value["topic"].as_str().unwrap_or("-");
        // What is no event, such as that some were skipped, has no table of facts of its own.
        let facts = facts(value.get("event").unwrap_or(&value));
        let (at, topic, name) = (format!("{at:12}"), table::shown(topic), table::shown(name));
        let facts = table::shown(&facts);
        if self.colour {
            format!("\u{1b}[2m{at}\u{1b}[0m  \u{1b}[36m{topic}\u{1b}[0m  \u{1b}[1m{name}\u{1b}[0m  {facts}")
        } else {
            format!("{at}  {topic}  {name}  {facts}")
        }
    }
}

/// `agent=luna text="Good morning!"`: words as they are, everything else as JSON.
fn facts(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    let is_word = |text: &str| {
        !text.is_empty()
            && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '/'))
    };
    let fact = |(key, value): (&String, &Value)| match value {
        Value::String(text) if is_word(text) => format!("{key}={text}"),
        _ => format!("{key}={value}"),
    };
    fields.iter().map(fact).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "event: listening\ndata: {\"topics\":[]}\n\n: still here\n\nevent: MessagePosted\r\n\
        data: {\"topic\":\"conversation:1\",\"at\":\"2026-11-20T16:00:00.123Z\",\"event\":{\"agent\":\"luna\",\
        \"text\":\"Grüße, Ada\\u001b[2J\"}}\r\n\r\nevent: skipped\ndata: {\"events\":3}\n\n";

    fn lines(print: &Print, pieces: usize) -> Vec<String> {
        let mut events = Events::default();
        let pieces = STREAM.as_bytes().chunks(pieces);
        let found: Vec<_> = pieces.flat_map(|piece| events.read(piece).unwrap()).collect();
        found.iter().filter(|event| event.name != "listening").map(|event| print.line(event)).collect()
    }

    #[test]
    fn an_event_is_one_line_however_it_arrives() {
        let print = Print { json: false, colour: false };
        for pieces in [1, 2, 7, 1_000] {
            assert_eq!(
                lines(&print, pieces),
                [
                    "16:00:00.123  conversation:1  MessagePosted  agent=luna text=\"Grüße, Ada\\u001b[2J\"",
                    "-             -  skipped  events=3",
                ],
                "in pieces of {pieces} bytes"
            );
        }
    }

    #[test]
    fn json_has_the_name_among_the_rest() {
        let line = &lines(&Print { json: true, colour: false }, 9)[0];
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&value["name"], &value["event"]["agent"]), (&json!("MessagePosted"), &json!("luna")));
    }

    #[test]
    fn only_our_own_colours_reach_the_terminal() {
        let event = Event { name: "A\u{9b}".into(), data: "{\"event\":{\"a\":\"\u{9b}2J\"}}".into() };
        let plain = Print { json: false, colour: false }.line(&event);
        assert!(!plain.contains(char::is_control), "{plain:?}");
        let coloured = Print { json: false, colour: true }.line(&event);
        assert!(coloured.contains("\u{1b}[1m") && !coloured.contains('\u{9b}'), "{coloured:?}");
    }

    #[test]
    fn what_never_ends_is_no_event() {
        let mut events = Events::default();
        let piece = vec![b'a'; LONGEST];
        assert!(events.read(&piece).is_ok());
        assert!(events.read(b"a").is_err());
    }
}

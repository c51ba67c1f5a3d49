//! Events as they happen.

use std::time::Duration;

use antiphon_core::actor::Holder;
use antiphon_core::ports::Keys as _;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;

use super::{Client, KEY, key, refused, seen, served};
use crate::support::door::{Door, Io};
use crate::support::http::Http;
use crate::support::soon;

/// An open stream of events.
struct Tail {
    stream: Box<dyn Io>,
    buffer: String,
}

impl Tail {
    async fn open(door: &Door, key: &str, query: &str) -> Self {
        let mut http = Http::open(door).await;
        let request = crate::support::http::Request::get(&format!("/v1/tail{query}")).bearer(key);
        http.send(&request).await;
        let (stream, buffer) = http.into_stream();
        let mut tail = Self { stream, buffer: String::from_utf8(buffer).expect("a head is text") };
        while !tail.buffer.contains("\r\n\r\n") {
            assert!(tail.read().await, "the server ended the connection");
        }
        assert!(tail.buffer.starts_with("HTTP/1.1 200"), "{}", tail.buffer);
        assert!(tail.buffer.contains("content-type: text/event-stream\r\n"), "{}", tail.buffer);
        let (name, _) = tail.next().await.expect("the first event");
        assert_eq!(name, "listening");
        tail
    }

    /// The next event: its name and its data; nothing at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            // Every event is one chunk, and none has an empty line in it.
            if let Some(start) = self.buffer.find("event: ")
                && let Some(length) = self.buffer[start..].find("\n\n")
            {
                let event = self.buffer[start..start + length].to_owned();
                self.buffer.drain(..start + length + 2);
                let (name, data) = event.split_once('\n').expect("name and data");
                let data = data.strip_prefix("data: ").expect("data");
                return Some((name["event: ".len()..].to_owned(), serde_json::from_str(data).expect("JSON")));
            }
            if !self.read().await {
                return None;
            }
        }
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        let length = soon("an event", self.stream.read(&mut bytes)).await.unwrap_or(0);
        self.buffer += std::str::from_utf8(&bytes[..length]).expect("text");
        length > 0
    }
}

fn signal(topic: &str, name: &str) -> Value {
    json!({"command": "Signal", "topic": topic, "name": name, "value": {"n": 1}})
}

#[tokio::test]
async fn a_conversation_is_seen_live() {
    let (server, _) = served(|_| {}).await;
    let mut tail = Tail::open(&server.door(), KEY, "").await;
    let mut client = Client::shop(&server).await;
    client.done(&json!({"command": "PostMessage", "as": "ada", "agent": "luna", "text": "a b c d"})).await;
    let mut names = Vec::new();
    loop {
        let (name, line) = tail.next().await.expect("more events");
        assert!(
            line["topic"].as_str().is_some_and(|topic| topic.starts_with("conversation:")),
            "{name} {line}"
        );
        assert!(line["at"].as_str().is_some_and(|at| at.ends_with('Z')), "{name} {line}");
        let is_last = name == "ReplyFinished";
        if name == "MessagePosted" {
            assert_eq!(
                (&line["event"]["text"], &line["event"]["from"]),
                (&json!("a b c d"), &json!("person"))
            );
        }
        names.push(name);
        if is_last {
            assert_eq!(line["event"]["message"]["text"], "a b c d");
            break;
        }
    }
    assert_eq!(
        names,
        ["MessagePosted", "RelationChanged", "ReplyStarted", "ReplyChunk", "ReplyChunk", "ReplyFinished"]
    );
    server.stop().await;
}

#[tokio::test]
async fn a_reader_of_some_topics_hears_those_and_no_others() {
    let (server, _) = served(|_| {}).await;
    let mut tail = Tail::open(&server.door(), KEY, "?topic=named:a&topic=person:ada").await;
    let mut client = Client::shop(&server).await;
    for (topic, name) in [("named:b", "no"), ("named:a", "one"), ("person:bob", "no"), ("person:ada", "two")]
    {
        client.done(&signal(topic, name)).await;
    }
    for (topic, name) in [("named:a", "one"), ("person:ada", "two")] {
        let (event, line) = tail.next().await.expect("an event");
        assert_eq!(event, "Signal");
        assert_eq!(line, json!({"topic": topic, "event": {"name": name, "value": {"n": 1}}}));
    }
    server.stop().await;
}

#[tokio::test]
async fn t9_the_stream_ends_when_its_key_is_revoked() {
    let (server, store) = served(|_| {}).await;
    store.put_key(&key("other", "svc_other", Holder::Service("other".into()))).await.unwrap();
    let mut others = Tail::open(&server.door(), "svc_other", "?topic=named:a").await;
    let mut own = Tail::open(&server.door(), KEY, "?topic=named:a").await;
    let mut client = Client::shop(&server).await;
    assert_eq!(client.ask("DELETE", "/v1/keys/svc_other", None).await.0, 204);
    client.done(&signal("named:a", "after")).await;
    assert_eq!(others.next().await, None);
    let (name, line) = own.next().await.expect("an event");
    assert_eq!((name.as_str(), &line["event"]), ("Signal", &json!({"name": "after", "value": {"n": 1}})));
    server.stop().await;
}

#[tokio::test]
async fn the_stream_ends_when_the_server_stops_and_does_not_hold_it_up() {
    let (server, _) = served(|_| {}).await;
    let mut tail = Tail::open(&server.door(), KEY, "").await;
    let began = std::time::Instant::now();
    server.stop().await;
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(tail.next().await, None);
}

#[tokio::test]
async fn there_are_as_many_streams_as_configured_and_a_closed_one_makes_room() {
    let (server, _) = served(|config| config.api.max_tails = 1).await;
    let first = Tail::open(&server.door(), KEY, "").await;
    let mut client = Client::shop(&server).await;
    let request = client.request("GET", "/v1/tail", None);
    assert_eq!(refused(seen(&client.send(&request).await)), (503, "unavailable".into()));
    drop(first);
    // The server notices when it has something to say, or hears of the end of the connection.
    soon("room for another", async {
        loop {
            let mut probe = Http::open(&server.door()).await;
            probe.send(&request).await;
            let (mut stream, _) = probe.into_stream();
            let mut head = [0; 12];
            stream.read_exact(&mut head).await.expect("an answer");
            if head == *b"HTTP/1.1 200" {
                break;
            }
            assert_eq!(head, *b"HTTP/1.1 503");
        }
    })
    .await;
    server.stop().await;
}

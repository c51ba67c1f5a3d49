//! Talking to personas: prices, limits, answers whole and as they go, and what was said.

use std::sync::Arc;

use antiphon_core::ids::ConversationId;
use antiphon_core::ports::{Answer, Conversations as _, Logins as _, Model, Prompt};
use antiphon_core::refusal::Fault;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;

use super::app::{ADA, App, BOB, answered_by, heard, joined, refused, remembered, served};
use crate::support::door::Io;
use crate::support::http::Http;
use crate::support::people::agent;
use crate::support::server::Server;
use crate::support::soon;

fn hello(text: &str) -> Value {
    json!({"persona_id": "luna", "message": text})
}

/// Ada, who has chosen Luna.
async fn ada(server: &Server) -> App {
    let mut app = App::logged_in(server, ADA).await;
    app.done("/user/select-persona", &json!({"persona_id": "luna"})).await;
    app
}

#[tokio::test]
async fn a_message_costs_tokens_and_is_answered_there_and_on_every_device() {
    let (server, _) = served(|_| {}).await;
    let mut app = ada(&server).await;
    let mut phone = joined(&server, ADA).await;
    let answer = app.done("/chat", &hello("one two three four five six")).await;
    let data = &answer["data"];
    assert_eq!(answer["success"], true);
    for (side, text) in
        [("user_message", "one two three four five six"), ("ai_message", "one two three four five six")]
    {
        assert_eq!(data[side]["content"], text);
        assert!(data[side]["id"].as_str().is_some_and(|id| id.len() == 36), "{answer}");
        assert!(data[side]["created_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{answer}");
    }
    assert_ne!(data["user_message"]["id"], data["ai_message"]["id"]);
    assert_eq!(data["relationship"], json!({"intimacy_level": 1, "status": "stranger"}));
    assert_eq!(data["rate_limit"], json!({"remaining": 19}));
    assert_eq!(
        heard(&mut phone).await,
        [
            r#"balance:update {"balance":48}"#,
            "typing true",
            "typing false",
            r#"message:receive {"content":"one two three four five six","persona_id":"luna","sender":"ai"}"#,
        ]
    );
    assert_eq!(app.balance().await, 48);
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_said_costs_nothing_and_leaves_nothing() {
    let (server, store) = served(|_| {}).await;
    let mut app = ada(&server).await;
    let mut phone = joined(&server, ADA).await;
    let before = remembered(&store).await;
    let (long, astral) = ("x".repeat(2_001), "😀".repeat(1_001));
    for message in ["", " ", "\n\t", &long, &astral] {
        let (status, answer) = app.post("/chat", &hello(message)).await;
        assert_eq!(status, 400, "{} bytes: {answer}", message.len());
    }
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"persona_id": "luna"}"#,
        r#"{"message": "Hello"}"#,
        r#"{"persona_id": "luna", "message": 7}"#,
        r#"{"persona_id": null, "message": "Hello"}"#,
        r#"["luna", "Hello"]"#,
    ] {
        for path in ["/chat", "/chat?stream=true"] {
            assert_eq!(app.text("POST", path, Some(body)).await.0, 400, "{path} {body}");
        }
    }
    // Whom one has not chosen, and who is nobody.
    for persona in ["mia", "rex", "nobody", ""] {
        let said = app.post("/chat", &json!({"persona_id": persona, "message": "Hello"})).await;
        let (status, message) = refused(said);
        assert!(status == 400 && message.contains("not selected"), "{persona}: {message}");
    }
    // And what one cannot pay.
    app.done("/token/withdraw", &json!({"amount": 49})).await;
    heard(&mut phone).await;
    let before_last = remembered(&store).await;
    let unpaid = app.post("/chat", &hello("one two three four five six")).await;
    let text = "Insufficient token balance. Please top up to continue chatting.";
    assert_eq!(refused(unpaid), (402, text.into()));
    assert_eq!(remembered(&store).await, before_last);
    assert_ne!(before, before_last);
    assert_eq!(heard(&mut phone).await, [""; 0]);
    // None of it counted against the minute.
    let said = app.done("/chat", &hello(&"x".repeat(2_000))).await;
    assert_eq!(said["data"]["rate_limit"]["remaining"], 19);
    server.stop().await;
}

#[tokio::test]
async fn within_a_minute_one_may_say_so_much_and_others_are_not_concerned() {
    let (server, store) = served(|config| config.companion.messages_per_minute = 2).await;
    let mut app = ada(&server).await;
    for remaining in [1, 0] {
        assert_eq!(app.done("/chat", &hello("Hello")).await["data"]["rate_limit"]["remaining"], remaining);
    }
    let before = remembered(&store).await;
    let request = app.request("POST", "/chat", Some(&hello("Hello").to_string()));
    let answer = app.send(&request).await;
    assert_eq!(answer.status, 429);
    let wait: u64 =
        answer.header("Retry-After").and_then(|wait| wait.parse().ok()).expect("when to come back");
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(remembered(&store).await, before);
    let mut bob = App::logged_in(&server, BOB).await;
    bob.done("/user/select-persona", &json!({"persona_id": "luna"})).await;
    bob.done("/chat", &hello("Hello")).await;
    server.stop().await;
}

/// Answers when it may, and fails then if it should.
struct Gated {
    gate: Arc<Semaphore>,
    fails: bool,
}

impl Model for Gated {
    fn answer(&self, _: Prompt) -> Answer {
        let (gate, fails) = (self.gate.clone(), self.fails);
        Box::pin(futures_util::stream::once(async move {
            gate.acquire().await.expect("the gate stays open").forget();
            if fails { Err(Fault::new("as the test says")) } else { Ok("Good morning".to_owned()) }
        }))
    }
}

#[tokio::test]
async fn an_answer_that_fails_gives_the_price_back_before_it_is_told() {
    let gate = Arc::new(Semaphore::new(100));
    let (server, store) = answered_by(Some(Arc::new(Gated { gate, fails: true })), |_| {}).await;
    let mut app = ada(&server).await;
    let mut phone = joined(&server, ADA).await;
    let (status, _) = refused(app.post("/chat", &hello("Good morning")).await);
    assert_eq!(status, 503);
    let told = [
        r#"balance:update {"balance":49}"#,
        "typing true",
        "typing false",
        r#"balance:update {"balance":50}"#,
    ];
    assert_eq!(heard(&mut phone).await, told);
    assert_eq!(app.balance().await, 50);
    assert_eq!(app.get("/user/stats").await.1["stats"], json!({"total_messages": 1, "total_tokens_used": 0}));

    let mut lines = Lines::open(&server, &app, "Good morning").await;
    assert_eq!(lines.kinds().await, ["sent", "read", "typing", "error"]);
    assert_eq!(app.balance().await, 50);
    assert!(remembered(&store).await.contains("Good morning"));
    server.stop().await;
}

/// An answer as it goes, line by line.
struct Lines {
    stream: Box<dyn Io>,
    buffer: String,
}

impl Lines {
    async fn open(server: &Server, app: &App, message: &str) -> Self {
        let mut http = Http::open(&server.door()).await;
        http.send(&app.request("POST", "/chat?stream=true", Some(&hello(message).to_string()))).await;
        let (stream, buffer) = http.into_stream();
        let mut lines = Self { stream, buffer: String::from_utf8(buffer).expect("a head is text") };
        while !lines.buffer.contains("\r\n\r\n") {
            assert!(lines.read().await, "the server ended the connection");
        }
        assert!(lines.buffer.starts_with("HTTP/1.1 200"), "{}", lines.buffer);
        assert!(lines.buffer.contains("content-type: application/x-ndjson\r\n"), "{}", lines.buffer);
        let head = lines.buffer.find("\r\n\r\n").expect("a head has an end");
        lines.buffer.drain(..head + 4);
        lines
    }

    /// The next line; nothing at the end. Every line is one chunk, which has its length on a line before it.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if self.buffer.starts_with("0\r\n\r\n") {
                return None;
            }
            let parts = self.buffer.split_once("\r\n");
            if let Some((length, rest)) = parts {
                let length = usize::from_str_radix(length, 16).expect("the length of a chunk");
                if rest.len() >= length + 2 {
                    let line = rest[..length].strip_suffix('\n').expect("a line").to_owned();
                    let end = self.buffer.len() - rest.len() + length + 2;
                    self.buffer.drain(..end);
                    return Some(serde_json::from_str(&line).expect("a line is JSON"));
                }
            }
            assert!(self.read().await, "the answer broke off: {:?}", self.buffer);
        }
    }

    /// What kinds of lines come until the end.
    async fn kinds(&mut self) -> Vec<String> {
        let mut kinds = Vec::new();
        while let Some(line) = self.next().await {
            let kind = if line["type"] == "status" { &line["status"] } else { &line["type"] };
            kinds.push(kind.as_str().expect("a kind").to_owned());
        }
        kinds
    }

    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4_096];
        let length = soon("a line", self.stream.read(&mut bytes)).await.unwrap_or(0);
        self.buffer += std::str::from_utf8(&bytes[..length]).expect("text");
        length > 0
    }
}

#[tokio::test]
async fn each_step_of_an_answer_is_told_when_it_happens() {
    let gate = Arc::new(Semaphore::new(0));
    let (server, _) = answered_by(Some(Arc::new(Gated { gate: gate.clone(), fails: false })), |_| {}).await;
    let mut app = ada(&server).await;
    let mut phone = joined(&server, ADA).await;
    let mut lines = Lines::open(&server, &app, "Good evening").await;
    for status in ["sent", "read", "typing"] {
        let line = lines.next().await.expect("a line");
        assert_eq!((&line["type"], &line["status"]), (&json!("status"), &json!(status)));
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
    }
    assert_eq!(heard(&mut phone).await, [r#"balance:update {"balance":49}"#, "typing true"]);
    gate.add_permits(1);
    let line = lines.next().await.expect("the answer");
    assert_eq!(line["type"], "message");
    assert_eq!(line["data"]["user_message"]["content"], "Good evening");
    assert_eq!(line["data"]["ai_message"]["content"], "Good morning");
    assert_eq!(line["data"]["relationship"]["intimacy_level"], 1);
    assert_eq!(lines.next().await, None);
    let told = heard(&mut phone).await;
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(app.balance().await, 49);

    // What is refused is told in a line as well.
    app.done("/token/withdraw", &json!({"amount": 49})).await;
    let mut lines = Lines::open(&server, &app, "Good evening").await;
    let line = lines.next().await.expect("a line");
    let text = "Insufficient token balance. Please top up to continue chatting.";
    assert_eq!(line, json!({"type": "error", "error": text}));
    assert_eq!(lines.next().await, None);
    server.stop().await;
}

#[tokio::test]
async fn whoever_goes_before_the_answer_finds_it_later() {
    let gate = Arc::new(Semaphore::new(0));
    let (server, store) =
        answered_by(Some(Arc::new(Gated { gate: gate.clone(), fails: false })), |_| {}).await;
    let app = ada(&server).await;
    let mut phone = joined(&server, ADA).await;
    let mut lines = Lines::open(&server, &app, "Good evening").await;
    assert_eq!(lines.next().await.expect("a line")["status"], "sent");
    drop(lines);
    gate.add_permits(1);
    assert_eq!(phone.event_named("message:receive").await["content"], "Good morning");
    let person = store.person_by_wallet(ADA).await.expect("a look-up").expect("they are known");
    let conversation = ConversationId::direct(&agent("luna"), &person);
    assert_eq!(store.history(conversation, 0, 10).await.expect("messages").len(), 2);
    server.stop().await;
}

#[tokio::test]
async fn each_of_several_requests_gets_its_own_answer() {
    let (server, _) = served(|_| {}).await;
    ada(&server).await;
    let mut apps = Vec::new();
    for _ in 0..8 {
        apps.push(App::of(&server, ADA).await);
    }
    let talks = apps.iter_mut().enumerate().map(|(number, app)| async move {
        let text = format!("number {number}");
        let answer = app.done("/chat", &hello(&text)).await;
        assert_eq!(answer["data"]["ai_message"]["content"], text.as_str());
    });
    futures_util::future::join_all(talks).await;
    server.stop().await;
}

#[tokio::test]
async fn what_was_said_is_read_in_pages() {
    let (server, _) = served(|_| {}).await;
    let mut app = ada(&server).await;
    let page = |page: u64, limit: u64, total: u64, pages: u64| json!({"page": page, "limit": limit, "total": total, "total_pages": pages});
    let (_, answer) = app.get("/chat/history?persona_id=luna").await;
    assert_eq!(answer, json!({"success": true, "data": {"messages": [], "pagination": page(1, 50, 0, 0)}}));
    for text in ["one", "two", "three"] {
        app.done("/chat", &hello(text)).await;
    }
    let mut read = Vec::new();
    for number in 1..=3 {
        let (status, answer) = app.get(&format!("/chat/history?persona_id=luna&page={number}&limit=2")).await;
        assert_eq!((status, &answer["data"]["pagination"]), (200, &page(number, 2, 6, 3)));
        for message in answer["data"]["messages"].as_array().expect("messages") {
            assert!(message["id"].is_string() && message["created_at"].is_string(), "{message}");
            read.push(format!(
                "{} {}",
                message["role"].as_str().unwrap(),
                message["content"].as_str().unwrap()
            ));
        }
    }
    assert_eq!(read, ["user one", "ai one", "user two", "ai two", "user three", "ai three"]);
    let (_, beyond) = app.get("/chat/history?persona_id=luna&page=4&limit=2").await;
    assert_eq!(beyond["data"]["messages"], json!([]));

    for query in [
        "",
        "?page=1",
        "?persona_id=luna&page=0",
        "?persona_id=luna&page=-1",
        "?persona_id=luna&page=one",
        "?persona_id=luna&limit=0",
        "?persona_id=luna&limit=101",
        "?persona_id=luna&limit=99999999999",
        "?persona_id=luna&page=1&page=2",
    ] {
        assert_eq!(app.get(&format!("/chat/history{query}")).await.0, 400, "{query}");
    }
    for name in ["nobody", "rex", ""] {
        let found = app.get(&format!("/chat/history?persona_id={name}")).await;
        assert_eq!(refused(found), (404, "Persona not found".into()), "{name}");
    }
    let far = app.get("/chat/history?persona_id=luna&page=18446744073709551615&limit=100").await;
    assert_eq!((far.0, &far.1["data"]["messages"]), (200, &json!([])));
    // Nobody reads what somebody else said.
    let mut bob = App::logged_in(&server, BOB).await;
    let (_, bobs) = bob.get("/chat/history?persona_id=luna").await;
    assert_eq!(bobs["data"]["pagination"]["total"], 0);
    server.stop().await;
}

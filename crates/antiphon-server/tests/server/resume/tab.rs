//! A client that resumes as the official one does: it brings the `pid` of its last session, and for its offset the last text
//! that an event ended with.

use serde_json::{Value, json};

use crate::support::door::Door;
use crate::support::engine::{Engine, Packet, Transport};

/// A tab of the chat API that asks to be resumed.
pub(super) struct Tab {
    pub(super) engine: Engine,
    token: String,
    /// The object that answered its CONNECT.
    pub(super) answer: Value,
    /// What it would bring.
    pub(super) offset: Option<String>,
    /// Acknowledgements that came.
    pub(super) acks: Vec<Value>,
}

/// What is left of a tab whose connection is lost.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    pub(super) token: String,
    pub(super) pid: Value,
    pub(super) offset: Option<String>,
}

impl Tab {
    /// Somebody who comes for the first time.
    pub(super) async fn open(door: &Door, transport: Transport, token: &str) -> Self {
        let memory = Memory { token: token.into(), pid: Value::Null, offset: None };
        Self::back(door, transport, memory).await
    }

    /// Somebody who comes back, whether or not they find anything.
    pub(super) async fn back(door: &Door, transport: Transport, memory: Memory) -> Self {
        let mut engine = Engine::open(door, transport).await;
        let mut auth = json!({"token": memory.token, "recover": true});
        if !memory.pid.is_null() {
            auth["pid"] = memory.pid;
        }
        if let Some(offset) = &memory.offset {
            auth["offset"] = json!(offset);
        }
        engine.send(&format!("40{auth}")).await;
        let answer = engine.next_text().await;
        let answer = answer.strip_prefix("40").unwrap_or_else(|| panic!("not let in: {answer}"));
        let answer = serde_json::from_str(answer).expect("an object");
        Self { engine, token: memory.token, answer, offset: memory.offset, acks: Vec::new() }
    }

    /// What it keeps when its connection is lost.
    pub(super) fn memory(&self) -> Memory {
        let (token, pid, offset) = (self.token.clone(), self.answer["pid"].clone(), self.offset.clone());
        Memory { token, pid, offset }
    }

    /// Its connection is lost, without a word.
    pub(super) fn cut(self) -> Memory {
        self.memory()
    }

    /// Panics unless it found its session, the one that `memory` is of.
    pub(super) fn is_recovered(&self, memory: &Memory) {
        assert_eq!(self.answer["recovery"], json!({"recovered": true}));
        assert_eq!(self.answer["pid"], memory.pid);
    }

    /// Why it did not find its session; panics if it did, or has none now.
    pub(super) fn reason(&self) -> String {
        assert_eq!(self.answer["recovery"]["recovered"], false, "{}", self.answer);
        assert_eq!(self.answer["pid"].as_str().map(str::len), Some(43));
        self.answer["recovery"]["reason"].as_str().expect("there is a reason").to_owned()
    }

    pub(super) async fn say(&mut self, event: &str, payload: Value) {
        self.engine.send(&format!("42{}", json!([event, payload]))).await;
    }

    /// The same, with an acknowledgement asked for.
    pub(super) async fn ask(&mut self, id: u64, event: &str, payload: Value) {
        self.engine.send(&format!("42{id}{}", json!([event, payload]))).await;
    }

    /// The next event and its payload. Every event has an offset besides.
    pub(super) async fn hear(&mut self) -> (String, Value) {
        match self.next().await {
            Ok(event) => event,
            Err(how) => panic!("the connection is over: {how}"),
        }
    }

    /// The next event, or how the connection ended.
    pub(super) async fn next(&mut self) -> Result<(String, Value), String> {
        loop {
            let text = match self.engine.next().await {
                Packet::Text(text) => text,
                Packet::Over(how) => return Err(how),
                Packet::Binary(bytes) => panic!("a binary message: {bytes:?}"),
            };
            if let Some(ack) = text.strip_prefix("43") {
                self.acks.push(serde_json::from_str(&ack[ack.find('[').expect("an array")..]).expect("JSON"));
                continue;
            }
            let event = text.strip_prefix("42").unwrap_or_else(|| panic!("not an event: {text}"));
            let mut args: Vec<Value> = serde_json::from_str(event).expect("an array");
            assert_eq!(args.len(), 3, "a name, a payload and an offset: {args:?}");
            let Some(Value::String(offset)) = args.pop() else { panic!("no offset: {event}") };
            assert_ne!(self.offset.replace(offset.clone()), Some(offset), "every offset is new");
            let payload = args.pop().expect("three of them");
            return Ok((args[0].as_str().expect("a name").to_owned(), payload));
        }
    }

    /// The next event of this name; those of presence may come before it.
    pub(super) async fn hear_named(&mut self, name: &str) -> Value {
        loop {
            let (known, payload) = self.hear().await;
            if known == name {
                return payload;
            }
            assert!(known.starts_with("presence:"), "{known} comes before {name}");
        }
    }

    /// The next notice, which must have this number.
    pub(super) async fn hear_number(&mut self, number: u32) {
        let notice = self.hear_named("system:notification").await;
        assert_eq!(notice["title"], number.to_string());
    }

    /// The welcome of a fresh session.
    pub(super) async fn welcomed(mut self) -> Self {
        self.hear_named("system:connection").await;
        self
    }
}

/// Ada, for the first time, and welcomed.
pub(super) async fn ada(door: &Door, transport: Transport) -> Tab {
    let tab = Tab::open(door, transport, "ada-key").await;
    assert_eq!(tab.reason(), "new");
    tab.welcomed().await
}

//! A Socket.IO client in the main namespace. Keeps acks and events apart, as client libraries do.

use std::collections::{HashMap, VecDeque};

use serde_json::Value;

use super::door::Door;
use super::engine::{Engine, Packet, Transport};

/// An event: its name and its first argument (`null` if it has none).
pub(crate) type Event = (String, Value);

/// A client.
pub(crate) struct Client {
    pub(crate) engine: Engine,
    events: VecDeque<Event>,
    acks: HashMap<u64, Value>,
    asked: u64,
    /// Whether the server has sent it out of the namespace.
    pub(crate) is_out: bool,
}

impl Client {
    /// Connects with `auth`, JSON text or nothing; panics if the server refuses.
    pub(crate) async fn connect(door: &Door, transport: Transport, auth: &str) -> Self {
        match Self::try_connect(door, transport, auth).await {
            Ok(client) => client,
            Err(error) => panic!("refused: {error}"),
        }
    }

    /// Connects with `auth`, or returns the object of the CONNECT_ERROR.
    pub(crate) async fn try_connect(door: &Door, transport: Transport, auth: &str) -> Result<Self, Value> {
        let mut engine = Engine::open(door, transport).await;
        engine.send(&format!("40{auth}")).await;
        let answer = engine.next_text().await;
        if let Some(error) = answer.strip_prefix("44") {
            engine.close().await;
            return Err(serde_json::from_str(error).expect("an object"));
        }
        assert!(answer.starts_with(r#"40{"sid":""#), "{answer}");
        Ok(Self { engine, events: VecDeque::new(), acks: HashMap::new(), asked: 0, is_out: false })
    }

    /// Says `event` with `args`, JSON values between commas, possibly none.
    pub(crate) async fn emit(&mut self, event: &str, args: &str) {
        let comma = if args.is_empty() { "" } else { "," };
        self.engine.send(&format!("42[{}{comma}{args}]", Value::from(event))).await;
    }

    /// The same, with an acknowledgement asked for; returns its number.
    pub(crate) async fn ask(&mut self, event: &str, args: &str) -> u64 {
        self.asked += 1;
        let (id, comma) = (self.asked, if args.is_empty() { "" } else { "," });
        self.engine.send(&format!("42{id}[{}{comma}{args}]", Value::from(event))).await;
        id
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            if let Some(event) = self.events.pop_front() {
                return event;
            }
            if let Some(how) = self.take().await {
                panic!("expected an event, but the connection is over: {how}");
            }
        }
    }

    /// The next event of this name; others before it are passed over.
    pub(crate) async fn event_named(&mut self, name: &str) -> Value {
        loop {
            let (known, value) = self.event().await;
            if known == name {
                return value;
            }
        }
    }

    /// The first argument of the acknowledgement with this number. Events that come before it are kept.
    pub(crate) async fn ack(&mut self, id: u64) -> Value {
        loop {
            if let Some(value) = self.acks.remove(&id) {
                return value;
            }
            if let Some(how) = self.take().await {
                panic!("expected an acknowledgement, but the connection is over: {how}");
            }
        }
    }

    /// Events that have come and were not asked for yet.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Waits for the end of the connection; returns how it ended. What came before it is kept.
    pub(crate) async fn over(&mut self) -> String {
        loop {
            if let Some(how) = self.take().await {
                return how;
            }
        }
    }

    /// Takes one packet in; returns how the connection ended, if it did.
    async fn take(&mut self) -> Option<String> {
        match self.engine.next().await {
            Packet::Text(text) => {
                assert!(!self.is_out, "nothing follows a DISCONNECT: {text}");
                if let Some(event) = text.strip_prefix("42") {
                    let mut args: Vec<Value> = serde_json::from_str(event).expect("an array");
                    let argument = if args.len() > 1 { args.swap_remove(1) } else { Value::Null };
                    self.events.push_back((args[0].as_str().expect("a name").to_owned(), argument));
                } else if let Some(ack) = text.strip_prefix("43") {
                    let (id, args) = ack.split_at(ack.find('[').expect("an array"));
                    let mut args: Vec<Value> = serde_json::from_str(args).expect("an array");
                    let argument = args.drain(..).next().unwrap_or_default();
                    self.acks.insert(id.parse().expect("a number"), argument);
                } else if text == "41" && !self.is_out {
                    self.is_out = true;
                } else {
                    panic!("neither event nor acknowledgement: {text}");
                }
                None
            }
            Packet::Binary(bytes) => panic!("a binary message that nobody announced: {bytes:?}"),
            Packet::Over(how) => Some(how),
        }
    }
}

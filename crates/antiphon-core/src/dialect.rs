//! What a translator between a documented API and the core looks like.
//!
//! A dialect is pure: the same input gives the same output, nothing awaits, nothing is looked up. It hears packets that the
//! wire has already taken apart and answers with commands; it hears events and answers with packets in its API's words.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::actor::Actor;
use crate::command::{Command, Outcome};
use crate::event::Event;
use crate::ids::Timestamp;
use crate::refusal::Refusal;
use crate::topic::Topic;

/// One documented API.
pub trait Dialect: Send + Sync + 'static {
    /// Its name in config, metrics and docs: `chat`.
    fn name(&self) -> &'static str;

    /// The Socket.IO namespaces it answers in.
    fn namespaces(&self) -> &'static [&'static str] {
        &["/"]
    }

    /// Whether a CONNECT with this `auth` object (JSON text) is meant for this dialect. A mount asks its dialects in order.
    fn accepts(&self, auth: Option<&str>) -> bool;

    /// Which credential a CONNECT brings.
    fn credential(&self, auth: Option<&str>) -> Result<Credential, Refusal>;

    /// What a CONNECT that was refused is told.
    fn refused(&self, why: &Refusal) -> ConnectError;

    /// Which topics a fresh connection of `actor` hears without asking.
    fn seats(&self, actor: &Actor) -> Vec<Topic>;

    /// What a fresh connection is told.
    fn welcome(&self, actor: &Actor, auth: Option<&str>, at: Timestamp, out: &mut Out);

    /// What a client event means. Whatever it puts into `out` goes to that client alone, before anything else.
    fn inbound(&self, event: &str, args: &Args, at: Timestamp, out: &mut Out) -> Inbound;

    /// What the asking client is told about the outcome of its event: errors as events, and the ack if it asked for one
    /// (see [`Out::ack`]; a client that asked and gets none here gets `{"ok":true}` or `{"ok":false,"error":…}`).
    fn reply(&self, event: &str, outcome: &Result<Outcome, Refusal>, at: Timestamp, out: &mut Out);

    /// What a connection is told before it is let go: its credential expired or was revoked, or it broke a limit.
    fn dismissed(&self, why: &Refusal, at: Timestamp, out: &mut Out);

    /// How this API says `event` to those who hear it. Nothing in `out` means that this API does not say it.
    fn outbound(&self, event: &Event, out: &mut Out);
}

/// What a client event means.
#[derive(Debug)]
pub enum Inbound {
    /// An order to the core.
    Command(Command),
    /// Answered by the dialect itself, in `out`.
    Answered,
    /// It is not what it should be; [`Dialect::reply`] says so.
    Refused(Refusal),
    /// This API has no such event. It is counted, and nothing happens.
    Unknown,
    /// From now on the connection is whoever this proves. A guest becomes a person once; a person stays themselves.
    /// [`Dialect::reply`] says what came of it: done, or why not.
    Identify(Credential),
}

/// What a CONNECT brings to say who it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A secret that says who it is: an API key, a session's token or a signed one. Its shape tells which.
    Bearer(String),
    /// The address of a wallet that the client names, without a proof that it is theirs. The configuration says what it is worth.
    Wallet(String),
    /// Nothing, on a mount that asks for nothing.
    None,
}

impl fmt::Debug for Credential {
    /// Its kind alone: a secret is not for logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer",
            Self::Wallet(_) => "Wallet",
            Self::None => "None",
        })
    }
}

/// A CONNECT_ERROR: `message`, and `data` as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// What the client's `connect_error` handler reads as `err.message`.
    pub message: String,
    /// What it reads as `err.data`.
    pub data: Option<String>,
}

/// The arguments of a client event, not yet looked into.
#[derive(Clone, Debug, Default)]
pub struct Args {
    json: String,
    attachments: Vec<Vec<u8>>,
}

impl Args {
    /// `json` is the text of a JSON array; placeholders of attachments are still in place.
    pub fn new(json: String, attachments: Vec<Vec<u8>>) -> Self {
        Self { json, attachments }
    }

    /// The array as text.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// Binary attachments, in the order of their numbers.
    pub fn attachments(&self) -> &[Vec<u8>] {
        &self.attachments
    }

    /// The first argument as a `T`; further ones are ignored. A missing or wrong-typed one is refused, with a sentence that
    /// says what was wrong.
    pub fn first<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        match serde_json::from_str::<First<T>>(&self.json) {
            Ok(First(Some(value))) => Ok(value),
            Ok(First(None)) => Err(Refusal::invalid("This event needs an argument.")),
            Err(error) => Err(Refusal::invalid(format!("The argument is not as documented: {error}."))),
        }
    }
}

/// Reads the first element of an array and skips the rest without building it.
struct First<T>(Option<T>);

impl<'de, T: serde::Deserialize<'de>> serde::Deserialize<'de> for First<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: serde::Deserialize<'de>> serde::de::Visitor<'de> for Visitor<T> {
            type Value = First<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of arguments")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<First<T>, A::Error> {
                let first = seq.next_element()?;
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }
        }
        deserializer.deserialize_seq(Visitor(std::marker::PhantomData))
    }
}

/// Collects what goes out: events by name, and at most one ack. Arguments are written as JSON into one buffer, once.
#[derive(Debug, Default)]
pub struct Out {
    buffer: Vec<u8>,
    events: Vec<OutEvent>,
    ack: Option<(usize, usize)>,
    attachments: Vec<Vec<u8>>,
}

#[derive(Clone, Copy, Debug)]
struct OutEvent {
    name: &'static str,
    start: usize,
    end: usize,
}

impl Out {
    /// Says `event` with one argument.
    pub fn emit<T: Serialize>(&mut self, event: &'static str, argument: &T) {
        let (start, end) = self.write(argument);
        self.events.push(OutEvent { name: event, start, end });
    }

    /// Says `event` with one object whose members `write` writes. The same bytes as from [`emit`](Self::emit) at a fraction of
    /// the cost, for what is said many times a second.
    pub fn emit_object(&mut self, event: &'static str, write: impl FnOnce(&mut Members<'_>)) {
        let start = self.buffer.len();
        self.buffer.push(b'{');
        write(&mut Members { buffer: &mut self.buffer });
        self.buffer.push(b'}');
        self.events.push(OutEvent { name: event, start, end: self.buffer.len() });
    }

    /// Says `event` with `args`, the comma-separated JSON text of its arguments (may be empty), relayed unread.
    pub fn emit_raw(&mut self, event: &'static str, args: &str) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(args.as_bytes());
        self.events.push(OutEvent { name: event, start, end: self.buffer.len() });
    }

    /// Answers the client's acknowledgement callback with one argument.
    pub fn ack<T: Serialize>(&mut self, argument: &T) {
        self.ack = Some(self.write(argument));
    }

    /// Answers the client's acknowledgement callback with `args`, the comma-separated JSON text of its arguments.
    pub fn ack_raw(&mut self, args: &str) {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(args.as_bytes());
        self.ack = Some((start, self.buffer.len()));
    }

    /// Binary attachments that the placeholders in what is said refer to.
    pub fn attach(&mut self, attachments: &[Vec<u8>]) {
        self.attachments = attachments.to_vec();
    }

    /// What was said, in order: the event's name and its arguments as comma-separated JSON text.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        self.events.iter().map(|event| (event.name, &self.buffer[event.start..event.end]))
    }

    /// The ack's arguments as comma-separated JSON text, if one was given.
    pub fn acked(&self) -> Option<&[u8]> {
        self.ack.map(|(start, end)| &self.buffer[start..end])
    }

    /// Attachments of what was said.
    pub fn attachments(&self) -> &[Vec<u8>] {
        &self.attachments
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.ack.is_none()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.events.clear();
        self.ack = None;
        self.attachments.clear();
    }

    fn write<T: Serialize>(&mut self, argument: &T) -> (usize, usize) {
        let start = self.buffer.len();
        // Writing to memory cannot fail, and our own payload types always serialize.
        serde_json::to_writer(&mut self.buffer, argument).expect("payloads serialize");
        (start, self.buffer.len())
    }
}

/// Writes the members of one JSON object, in order.
#[derive(Debug)]
pub struct Members<'a> {
    buffer: &'a mut Vec<u8>,
}

impl Members<'_> {
    /// A member whose value is a string.
    pub fn text(&mut self, key: &Key, value: &str) -> &mut Self {
        self.key(key);
        // Nearly all text needs no escape, and this looks at many bytes at a time.
        let escape = value.bytes().fold(false, |found, b| found | (b < 0x20) | (b == b'"') | (b == b'\\'));
        if escape {
            serde_json::to_writer(&mut *self.buffer, value).expect("strings serialize");
        } else {
            self.quote(value);
        }
        self
    }

    /// A member whose value is a whole number.
    pub fn number(&mut self, key: &Key, value: i64) -> &mut Self {
        self.key(key);
        serde_json::to_writer(&mut *self.buffer, &value).expect("numbers serialize");
        self
    }

    /// A member whose value is an id of ours.
    pub fn id(&mut self, key: &Key, value: &uuid::Uuid) -> &mut Self {
        self.key(key);
        // Hexadecimal digits and hyphens: there is nothing to escape.
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        self.quote(value.hyphenated().encode_lower(&mut text));
        self
    }

    fn quote(&mut self, plain: &str) {
        self.buffer.reserve(plain.len() + 2);
        self.buffer.push(b'"');
        self.buffer.extend_from_slice(plain.as_bytes());
        self.buffer.push(b'"');
    }

    fn key(&mut self, key: &Key) {
        let first = self.buffer.last() == Some(&b'{');
        self.buffer.extend_from_slice(&key.text[usize::from(first)..usize::from(key.length)]);
    }
}

/// The name of a member, made ready at compile time: `const AGENT: Key = Key::new("agentId");`.
#[derive(Debug)]
pub struct Key {
    /// A comma, the name in quotes, a colon.
    text: [u8; Self::LONGEST + 4],
    length: u8,
}

impl Key {
    /// Longest name, in bytes.
    pub const LONGEST: usize = 28;

    /// The key for `name`. Does not compile (panics, outside a constant) for a name that is longer than [`Key::LONGEST`] or
    /// would need an escape.
    pub const fn new(name: &str) -> Self {
        let name = name.as_bytes();
        assert!(name.len() <= Self::LONGEST, "the name is too long");
        let mut text = [0; Self::LONGEST + 4];
        (text[0], text[1]) = (b',', b'"');
        let mut at = 0;
        while at < name.len() {
            assert!(name[at] >= 0x20 && name[at] != b'"' && name[at] != b'\\', "the name needs an escape");
            text[at + 2] = name[at];
            at += 1;
        }
        (text[at + 2], text[at + 3]) = (b'"', b':');
        Self { text, length: at as u8 + 4 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_argument_is_read_and_the_rest_is_ignored() {
        let args = |text: &str| Args::new(text.into(), Vec::new());
        assert_eq!(args(r#"["a",{"b":1},3]"#).first::<String>(), Ok("a".into()));
        assert!(args("[]").first::<String>().is_err());
        assert!(args("[1]").first::<String>().is_err());
    }

    #[test]
    fn members_are_written_as_serde_would() {
        const A: Key = Key::new("a");
        const B: Key = Key::new("b");
        const C: Key = Key::new("c");
        const D: Key = Key::new("a name of 28 bytes, no more!");
        let id = uuid::Uuid::from_u128(7);
        for text in ["plain", "", "quote \" back \\ slash", "línea\n\u{1}", "{", "😀"] {
            let mut out = Out::default();
            out.emit_object("e", |o| {
                o.text(&A, text).number(&B, -5).id(&C, &id).text(&D, text);
            });
            let expected = format!(
                "{{\"a\":{0},\"b\":-5,\"c\":\"{id}\",\"a name of 28 bytes, no more!\":{0}}}",
                serde_json::json!(text)
            );
            assert_eq!(out.events().next(), Some(("e", expected.as_bytes())));
        }
    }

    #[test]
    fn out_keeps_events_in_order_and_one_ack() {
        let mut out = Out::default();
        out.emit("one", &1);
        out.ack(&true);
        out.emit_raw("two", "1,2");
        let events: Vec<_> = out.events().map(|(name, args)| (name, args.to_vec())).collect();
        assert_eq!(events, [("one", b"1".to_vec()), ("two", b"1,2".to_vec())]);
        assert_eq!(out.acked(), Some(&b"true"[..]));
        out.clear();
        assert!(out.is_empty());
    }
}

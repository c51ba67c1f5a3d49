//! What can a client say?
//!
//! Socket.IO protocol, "Exchange protocol". A packet of text and a binary packet of the same kind are the
//! same here: they differ in how many attachments they have.

use bytes::Bytes;

use super::namespace::Namespace;

/// A packet from the client, complete with its attachments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// Asks to be let into a namespace.
    Connect {
        /// Which one.
        namespace: Namespace,
        /// The text of a JSON object, if the client gave one.
        auth: Option<String>,
    },
    /// Leaves a namespace.
    Disconnect {
        /// Which one.
        namespace: Namespace,
    },
    /// Something happened at the client.
    Event(Event),
    /// The answer to an event of ours.
    Ack(Ack),
}

/// An event from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it belongs.
    pub namespace: Namespace,
    /// The id to acknowledge it with, if the client waits for that. At most 2^53 − 1.
    pub id: Option<u64>,
    /// The name, unescaped; none of the reserved ones.
    pub name: String,
    /// The text of a JSON array: the arguments behind the name, valid, with placeholders for attachments
    /// still in place.
    pub args: String,
    /// The attachments; each has exactly one placeholder `{"_placeholder":true,"num":n}` in `args`.
    pub attachments: Vec<Bytes>,
}

/// A client's answer to an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// Where it belongs.
    pub namespace: Namespace,
    /// The id the event was sent with, or a number the client made up. At most 2^53 − 1.
    pub id: u64,
    /// The text of a JSON array, valid, with placeholders for attachments still in place.
    pub args: String,
    /// The attachments; each has exactly one placeholder in `args`.
    pub attachments: Vec<Bytes>,
}

/// Input that is not Socket.IO from a client. It ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Malformed {
    /// What was wrong, for logs.
    pub reason: &'static str,
}

//! What does one Engine.IO packet say?

/// One packet of text (Engine.IO protocol, "Protocol").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0` and the handshake. Only servers send it.
    Open(&'a str),
    /// `1`: the transport can be closed.
    Close,
    /// `2`, in the heartbeat from the server, with `probe` from a client that wants to upgrade.
    Ping(&'a str),
    /// `3`, the answer to a ping.
    Pong(&'a str),
    /// `4` and the message.
    Message(&'a str),
    /// `5`: the WebSocket carries the session from here.
    Upgrade,
    /// `6`: nothing, to release a waiting `GET`.
    Noop,
}

impl<'a> Packet<'a> {
    /// Reads one packet.
    ///
    /// Data behind `1`, `5` and `6` has no meaning and is dropped, as the reference server does. Binary
    /// messages are not text packets: see [`payload::Item`](super::payload::Item).
    pub fn decode(text: &'a str) -> Result<Self, BadPacket> {
        let mut characters = text.chars();
        let kind = characters.next().ok_or(BadPacket { reason: "a packet without a type" })?;
        let data = characters.as_str();
        Ok(match kind {
            '0' => Self::Open(data),
            '1' => Self::Close,
            '2' => Self::Ping(data),
            '3' => Self::Pong(data),
            '4' => Self::Message(data),
            '5' => Self::Upgrade,
            '6' => Self::Noop,
            _ => return Err(BadPacket { reason: "a packet of unknown type" }),
        })
    }
}

/// A packet or payload that is not Engine.IO. It ends the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BadPacket {
    /// What was wrong, for logs.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_protocol_is_read() {
        for (text, packet) in [
            ("0{\"sid\":\"x\"}", Packet::Open("{\"sid\":\"x\"}")),
            ("1", Packet::Close),
            ("2", Packet::Ping("")),
            ("2probe", Packet::Ping("probe")),
            ("3", Packet::Pong("")),
            ("3probe", Packet::Pong("probe")),
            ("4hello", Packet::Message("hello")),
            ("4", Packet::Message("")),
            ("4€", Packet::Message("€")),
            ("5", Packet::Upgrade),
            ("6", Packet::Noop),
        ] {
            assert_eq!(Packet::decode(text), Ok(packet));
        }
    }

    #[test]
    fn other_types_are_refused_whatever_their_length_in_bytes() {
        for text in ["", "abc", "7", "b", "-1", " 4", "é", "€uro", "😀4", "٤"] {
            assert!(Packet::decode(text).is_err(), "{text}");
        }
    }
}

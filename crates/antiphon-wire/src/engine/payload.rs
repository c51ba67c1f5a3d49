//! Which packets are in the body of a polling request?
//!
//! Engine.IO protocol, "Packet encoding", "HTTP long-polling": packets of text between record separators, and
//! binary messages as `b` and base64.

use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use smallvec::SmallVec;

use super::packet::{BadPacket, Packet};
use crate::Limits;

/// Stands between packets.
pub const SEPARATOR: u8 = 0x1e;

/// One packet of a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A packet of text.
    Packet(Packet<'a>),
    /// A binary message, out of its base64.
    Binary(Vec<u8>),
}

impl<'a> Item<'a> {
    /// Reads one packet that may be binary in base64, with or without padding.
    ///
    /// Besides in payloads, such packets come as WebSocket text from clients that were told to use base64
    /// everywhere.
    pub fn decode(text: &'a str) -> Result<Self, BadPacket> {
        match text.strip_prefix('b') {
            Some(encoded) => match BASE64.decode(encoded) {
                Ok(bytes) => Ok(Self::Binary(bytes)),
                Err(_) => Err(BadPacket { reason: "binary that is not base64" }),
            },
            None => Packet::decode(text).map(Self::Packet),
        }
    }
}

/// Hands the packets of `body` to `sink`, in order.
///
/// All or nothing: the whole body is decoded first, and if any packet of it is bad, none is handed out. A
/// body over [`Limits::payload`] or with more than [`Limits::packets`] is bad before anything is decoded.
pub fn decode<'a>(body: &'a [u8], limits: &Limits, sink: &mut dyn FnMut(Item<'a>)) -> Result<(), BadPacket> {
    if body.len() > limits.payload {
        return Err(BadPacket { reason: "a payload over the limit" });
    }
    let text =
        simdutf8::basic::from_utf8(body).map_err(|_| BadPacket { reason: "a payload that is not UTF-8" })?;
    if body.iter().filter(|byte| **byte == SEPARATOR).count() >= limits.packets {
        return Err(BadPacket { reason: "a payload of too many packets" });
    }
    let items: SmallVec<[Item<'a>; 4]> =
        text.split(char::from(SEPARATOR)).map(Item::decode).collect::<Result<_, _>>()?;
    items.into_iter().for_each(sink);
    Ok(())
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded<'a>(body: &'a [u8], limits: &Limits) -> Result<Vec<Item<'a>>, BadPacket> {
        let mut items = Vec::new();
        let result = decode(body, limits, &mut |item| items.push(item));
        assert!(result.is_ok() || items.is_empty(), "a bad payload hands out nothing");
        result.map(|()| items)
    }

    fn message(text: &str) -> Item<'_> {
        Item::Packet(Packet::Message(text))
    }

    #[test]
    fn the_examples_of_the_protocol_are_read() {
        let limits = Limits::default();
        for (body, items) in [
            (&b"4hello"[..], vec![message("hello")]),
            (
                b"4hello\x1e2\x1e4world",
                vec![message("hello"), Item::Packet(Packet::Ping("")), message("world")],
            ),
            (b"4hello\x1ebAQIDBA==", vec![message("hello"), Item::Binary(vec![1, 2, 3, 4])]),
            (b"bAQIDBA", vec![Item::Binary(vec![1, 2, 3, 4])]),
            (b"b", vec![Item::Binary(vec![])]),
            ("4€\x1e4".as_bytes(), vec![message("€"), message("")]),
        ] {
            assert_eq!(decoded(body, &limits), Ok(items));
        }
    }

    #[test]
    fn one_bad_packet_spoils_the_payload() {
        let limits = Limits::default();
        for body in [
            &b""[..],
            b"abc",
            b"4a\x1e",
            b"\x1e4a",
            b"4a\x1e\x1e4b",
            b"4a\x1ebAQID!",
            b"4a\x1ebA",
            b"4a\xff",
            "4a\x1eb€".as_bytes(),
            "€€".as_bytes(),
        ] {
            assert!(decoded(body, &limits).is_err(), "{body:?}");
        }
    }

    #[test]
    fn a_payload_is_allowed_up_to_its_limits() {
        let limits = Limits { payload: 9, packets: 3, ..Limits::default() };
        assert!(decoded(b"412345678", &limits).is_ok());
        assert!(decoded(b"4123456789", &limits).is_err());
        assert!(decoded(b"4\x1e4\x1e4", &limits).is_ok());
        assert!(decoded(b"4\x1e4\x1e4\x1e4", &limits).is_err());
    }
}

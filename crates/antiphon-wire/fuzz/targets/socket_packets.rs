//! Is any sequence of messages packets or malformed, and does a packet survive being sent back?
//!
//! Input: messages between bytes 0xff. One that begins with byte 0 is binary, without that byte; the others
//! are text.
#![no_main]

use antiphon_wire::Limits;
use antiphon_wire::engine::Packet;
use antiphon_wire::engine::payload::{self, Item};
use antiphon_wire::socket::{Ack, Decoder, Encoded, Event, Incoming};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    let limits = Limits { payload: 4_096, ..Limits::default() };
    let mut decoder = Decoder::default();
    for message in data.split(|byte| *byte == 0xff) {
        let was_pending = decoder.is_pending();
        let is_binary = message.first() == Some(&0);
        let result = if is_binary {
            decoder.binary(&message[1..], &limits)
        } else {
            let Ok(text) = str::from_utf8(message) else { continue };
            decoder.text(text, &limits)
        };
        match result {
            Ok(Some(packet)) => {
                assert_eq!(was_pending, is_binary);
                assert!(!decoder.is_pending());
                check(packet, &limits);
            }
            Ok(None) => assert!(decoder.is_pending()),
            Err(_) => assert!(!decoder.is_pending()),
        }
    }
});

fn check(packet: Incoming, limits: &Limits) {
    let encoded = match &packet {
        Incoming::Connect { auth, .. } => {
            assert!(auth.as_ref().is_none_or(|auth| auth.starts_with('{') && is_json(auth)));
            return;
        }
        Incoming::Disconnect { namespace } => Encoded::disconnect(namespace.as_str()),
        Incoming::Event(Event { namespace, id, name, args, attachments }) => {
            assert!(name.len() <= limits.event_name);
            Encoded::event(namespace.as_str(), *id, name, inner(args, attachments, limits), attachments)
        }
        Incoming::Ack(Ack { namespace, id, args, attachments }) => {
            Encoded::ack(namespace.as_str(), *id, inner(args, attachments, limits), attachments)
        }
    };
    assert_eq!(sent_back(&encoded, limits), packet);
}

/// The arguments without their brackets, after a look at what is promised of them.
fn inner<'a>(args: &'a str, attachments: &[Bytes], limits: &Limits) -> &'a [u8] {
    assert!(is_json(args));
    assert!(attachments.len() <= limits.attachments);
    assert!(attachments.iter().map(Bytes::len).sum::<usize>() <= limits.payload);
    args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).expect("an array").as_bytes()
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<&RawValue>(text).is_ok()
}

fn sent_back(encoded: &Encoded, limits: &Limits) -> Incoming {
    let (mut body, mut decoder, mut packet) = (Vec::new(), Decoder::default(), None);
    encoded.polling_into(&mut body);
    payload::decode(&body, &Limits::default(), &mut |item| {
        assert_eq!(packet, None);
        let limits = Limits { payload: limits.payload * 2, ..limits.clone() };
        packet = match item {
            Item::Packet(Packet::Message(text)) => decoder.text(text, &limits),
            Item::Binary(bytes) => decoder.binary(&bytes, &limits),
            Item::Packet(other) => panic!("{other:?}"),
        }
        .expect("what we encode is well-formed");
    })
    .expect("what we encode is a payload");
    packet.expect("what we encode is complete")
}

//! Does a packet come back as it was sent, through every layer in between?

use antiphon_wire::Limits;
use antiphon_wire::engine::payload::{self, Item};
use antiphon_wire::engine::{Packet, Received, Session, Timing, Transport};
use antiphon_wire::socket::{Decoder, Encoded, Incoming};
use bytes::Bytes;
use proptest::prelude::*;

/// What a server would make of `encoded` packets that come in one polling body.
fn over_polling(encoded: &[Encoded]) -> Vec<Incoming> {
    let (limits, mut body) = (Limits::default(), Vec::new());
    encoded.iter().for_each(|encoded| encoded.polling_into(&mut body));
    let timing = Timing { ping_interval: 1, ping_timeout: 1 };
    let (mut session, mut decoder) = (Session::open(Transport::Polling, timing, 0), Decoder::default());
    let mut packets = Vec::new();
    payload::decode(&body, &limits, &mut |item| {
        let packet = match item {
            Item::Binary(bytes) => decoder.binary(&bytes, &limits),
            Item::Packet(packet) => match session.receive(Transport::Polling, packet, 0) {
                Ok(Received::Message(text)) => decoder.text(text, &limits),
                other => panic!("{other:?}"),
            },
        };
        packets.extend(packet.unwrap());
    })
    .unwrap();
    assert!(!decoder.is_pending());
    packets
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[a-zé\\[\"0-9-]{1,10}"]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        "(\\PC|[\\x00-\\x7f]){0,12}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
            proptest::collection::btree_map("(\\PC|[\\x00-\\x7f]){0,6}", inner, 0..4)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Arguments, some of them placeholders for the attachments.
fn arguments() -> impl Strategy<Value = (Vec<serde_json::Value>, Vec<Bytes>)> {
    let attachments = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20), 0..4);
    (proptest::collection::vec(json(), 0..4), attachments).prop_map(|(mut args, attachments)| {
        for number in 0..attachments.len() {
            args.insert(number % (args.len() + 1), serde_json::json!({"_placeholder": true, "num": number}));
        }
        (args, attachments.into_iter().map(Bytes::from).collect())
    })
}

fn joined(args: &[serde_json::Value]) -> String {
    args.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

proptest! {
    #[test]
    fn events_and_acks_come_back_as_they_were_sent(
        namespace in namespace(),
        id in proptest::option::of(0_u64..1 << 53),
        name in "[a-z:€\"\\\\\\x00-\\x1f]{0,9}".prop_filter("reserved", |name| name != "connect"),
        (args, attachments) in arguments(),
    ) {
        let text = joined(&args);
        let event = Encoded::event(&namespace, id, &name, text.as_bytes(), &attachments);
        let ack = Encoded::ack(&namespace, id.unwrap_or(7), text.as_bytes(), &attachments);
        let packets = over_polling(&[event, ack]);
        let [Incoming::Event(event), Incoming::Ack(ack)] = &packets[..] else { panic!("{packets:?}") };
        prop_assert_eq!((event.namespace.as_str(), event.id, &event.name), (&*namespace, id, &name));
        prop_assert_eq!((ack.namespace.as_str(), ack.id), (&*namespace, id.unwrap_or(7)));
        prop_assert_eq!(&event.args, &format!("[{text}]"));
        prop_assert_eq!(&ack.args, &event.args);
        prop_assert_eq!(&event.attachments, &attachments);
        prop_assert_eq!(&ack.attachments, &attachments);
    }

    #[test]
    fn connects_and_disconnects_come_back_as_they_were_sent(namespace in namespace(), sid in "\\PC{0,20}") {
        let sent = [Encoded::connect(&namespace, &sid), Encoded::disconnect(&namespace)];
        let packets = over_polling(&sent);
        let [Incoming::Connect { namespace: joined, auth: Some(auth) }, Incoming::Disconnect { namespace: left }] =
            &packets[..] else { panic!("{packets:?}") };
        prop_assert_eq!((joined.as_str(), left.as_str()), (&*namespace, &*namespace));
        prop_assert_eq!(auth, &serde_json::json!({ "sid": sid }).to_string());
    }

    #[test]
    fn messages_come_back_in_order_from_one_polling_body(
        messages in proptest::collection::vec(
            prop_oneof![
                "[^\\x1e]{0,20}".prop_map(|text| (text, None)),
                proptest::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| (String::new(), Some(bytes))),
            ],
            1..10,
        ),
    ) {
        let mut body = Vec::new();
        for (text, bytes) in &messages {
            match bytes {
                Some(bytes) => Encoded::engine_binary(bytes).polling_into(&mut body),
                None => Encoded::engine(&format!("4{text}")).polling_into(&mut body),
            }
        }
        let mut received = Vec::new();
        payload::decode(&body, &Limits::default(), &mut |item| received.push(match item {
            Item::Packet(Packet::Message(text)) => (text.to_owned(), None),
            Item::Binary(bytes) => (String::new(), Some(bytes)),
            other => panic!("{other:?}"),
        })).unwrap();
        prop_assert_eq!(received, messages);
    }

    #[test]
    fn any_text_is_a_packet_or_malformed(texts in proptest::collection::vec("[0-7]?(1-)?(/a,)?[0-9]?\\[?\"?\\PC{0,30}", 0..8)) {
        let mut decoder = Decoder::default();
        for text in texts {
            let _ = decoder.text(&text, &Limits::default());
            let _ = decoder.binary(text.as_bytes(), &Limits::default());
        }
    }

    #[test]
    fn any_arguments_that_serde_json_accepts_are_accepted_and_no_others(text in "[\\[\\]{}\":,0-9a-z\\\\ .-]{0,12}") {
        let array = format!("[\"a\",{text}]");
        let accepted = Decoder::default().text(&format!("2{array}"), &Limits::default()).is_ok();
        let valid = serde_json::from_str::<&serde_json::value::RawValue>(&array).is_ok();
        prop_assert_eq!(accepted, valid);
    }
}

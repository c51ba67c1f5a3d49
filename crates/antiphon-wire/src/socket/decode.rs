//! Which Socket.IO packet do these Engine.IO messages make?
//!
//! Socket.IO protocol, "Packet encoding", as a server has to read it: what only servers send is refused, and
//! so is all that no client library writes.

use bytes::Bytes;

use super::attachments::placeholders_match;
use super::namespace::Namespace;
use super::packet::{Ack, Event, Incoming, Malformed};
use crate::Limits;
use crate::json;

/// Largest ack id: what JavaScript counts without gaps.
const LARGEST_ID: u64 = (1 << 53) - 1;

/// Names the client libraries keep for themselves; no event carries one.
const RESERVED: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// Puts packets together from Engine.IO messages.
///
/// Holds no heap memory unless attachments are outstanding, and then no more than [`Limits::payload`]: a
/// packet may be that large together with its attachments. How long a client may take to send them is the
/// caller's to time.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Option<Box<Pending>>,
}

impl Decoder {
    /// Takes a message of text: a packet, or `None` if its attachments have yet to come.
    pub fn text(&mut self, text: &str, limits: &Limits) -> Result<Option<Incoming>, Malformed> {
        if self.pending.take().is_some() {
            return malformed("text where an attachment was to come");
        }
        let header = Header::read(text, limits)?;
        let attachments = header.attachments;
        if !json::nests_within(header.payload, limits.depth) {
            return malformed("JSON that nests too deeply");
        }
        let packet = header.packet(limits)?;
        if attachments == 0 {
            return Ok(Some(packet));
        }
        self.pending = Some(Box::new(Pending { packet, missing: attachments, size: text.len() }));
        Ok(None)
    }

    /// Takes a binary message: the packet it completes, or `None` if more attachments have yet to come.
    pub fn binary(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<Incoming>, Malformed> {
        let Some(mut pending) = self.pending.take() else {
            return malformed("an attachment without a packet");
        };
        pending.size = pending.size.saturating_add(bytes.len());
        if pending.size > limits.payload {
            return malformed("attachments over the payload limit");
        }
        if let Incoming::Event(Event { attachments, .. }) | Incoming::Ack(Ack { attachments, .. }) =
            &mut pending.packet
        {
            attachments.push(Bytes::copy_from_slice(bytes));
        }
        pending.missing -= 1;
        if pending.missing == 0 {
            return Ok(Some(pending.packet));
        }
        self.pending = Some(pending);
        Ok(None)
    }

    /// Whether attachments are outstanding.
    pub fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}

/// A packet whose attachments have yet to come.
#[derive(Debug)]
struct Pending {
    packet: Incoming,
    /// At least one.
    missing: usize,
    /// Bytes of the text and of the attachments so far.
    size: usize,
}

/// What stands before the payload, and the payload unread.
struct Header<'a> {
    kind: Kind,
    /// None for packets of text, at least one for binary packets.
    attachments: usize,
    namespace: Namespace,
    id: Option<u64>,
    payload: &'a str,
}

enum Kind {
    Connect,
    Disconnect,
    Event,
    Ack,
}

impl<'a> Header<'a> {
    fn read(text: &'a str, limits: &Limits) -> Result<Self, Malformed> {
        let mut characters = text.chars();
        let (kind, is_binary) = match characters.next() {
            Some('0') => (Kind::Connect, false),
            Some('1') => (Kind::Disconnect, false),
            Some('2') => (Kind::Event, false),
            Some('3') => (Kind::Ack, false),
            Some('5') => (Kind::Event, true),
            Some('6') => (Kind::Ack, true),
            _ => return malformed("a packet of unknown type"),
        };
        let mut rest = characters.as_str();
        let mut attachments = 0;
        if is_binary {
            let Some((count, after)) = rest.split_once('-') else {
                return malformed("a binary packet without a number of attachments");
            };
            attachments = match number(count) {
                Some(0) => return malformed("a binary packet without attachments"),
                Some(count) => count.try_into().unwrap_or(usize::MAX),
                None => return malformed("a bad number of attachments"),
            };
            if attachments > limits.attachments {
                return malformed("too many attachments");
            }
            rest = after;
        }
        let mut namespace = Namespace::MAIN;
        if rest.starts_with('/') {
            let (name, after) = rest.split_once(',').unwrap_or((rest, ""));
            namespace = Namespace::parse(name, limits).ok_or(Malformed { reason: "a bad namespace" })?;
            rest = after;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (id, payload) = rest.split_at(digits);
        let id = match (digits, number(id)) {
            (0, _) => None,
            (_, Some(id)) => Some(id),
            (_, None) => return malformed("an ack id out of range"),
        };
        Ok(Self { kind, attachments, namespace, id, payload })
    }

    /// Reads the payload as its kind demands. Attachments are left to be filled in.
    fn packet(self, limits: &Limits) -> Result<Incoming, Malformed> {
        let Self { kind, attachments, namespace, id, payload } = self;
        let payload = payload.trim_matches(json::WHITESPACE);
        let demand = |opening: char, reason| {
            if payload.starts_with(opening) && json::is_valid(payload) { Ok(()) } else { malformed(reason) }
        };
        let packet = match kind {
            Kind::Connect | Kind::Disconnect if id.is_some() => {
                return malformed("an id where none belongs");
            }
            Kind::Connect if payload.is_empty() => Incoming::Connect { namespace, auth: None },
            Kind::Connect => {
                demand('{', "a connect payload that is not an object")?;
                Incoming::Connect { namespace, auth: Some(payload.to_owned()) }
            }
            Kind::Disconnect if payload.is_empty() => Incoming::Disconnect { namespace },
            Kind::Disconnect => return malformed("a disconnect with a payload"),
            Kind::Event => {
                demand('[', "an event payload that is not an array")?;
                let (name, args) = name_and_args(payload, limits)?;
                Incoming::Event(Event { namespace, id, name, args, attachments: Vec::new() })
            }
            Kind::Ack => {
                let id = id.ok_or(Malformed { reason: "an ack without an id" })?;
                demand('[', "an ack payload that is not an array")?;
                Incoming::Ack(Ack { namespace, id, args: payload.to_owned(), attachments: Vec::new() })
            }
        };
        if attachments > 0 && !placeholders_match(payload, attachments) {
            return malformed("placeholders that do not match the attachments");
        }
        Ok(packet)
    }
}

/// Divides a valid JSON array into the event's name and the array of what follows it.
fn name_and_args(array: &str, limits: &Limits) -> Result<(String, String), Malformed> {
    let inner = array.get(1..).unwrap_or_default().trim_start_matches(json::WHITESPACE);
    let end = match inner.starts_with('"') {
        true => json::string_end(inner.as_bytes(), 0),
        false => None,
    };
    let Some((quoted, rest)) = end.and_then(|end| inner.split_at_checked(end)) else {
        return malformed("an event without a name");
    };
    const LONGEST_ESCAPE: usize = 6;
    let too_long = Malformed { reason: "an event name over the limit" };
    if quoted.len() > limits.event_name.saturating_mul(LONGEST_ESCAPE).saturating_add(2) {
        return Err(too_long);
    }
    let Ok(name) = serde_json::from_str::<String>(quoted) else {
        return malformed("an event name that is not text");
    };
    if name.len() > limits.event_name {
        return Err(too_long);
    }
    if RESERVED.contains(&name.as_str()) {
        return malformed("a reserved event name");
    }
    let rest = rest.trim_start_matches(json::WHITESPACE);
    let rest = rest.strip_prefix(',').unwrap_or(rest).trim_start_matches(json::WHITESPACE);
    let mut args = String::with_capacity(1 + rest.len());
    args.push('[');
    args.push_str(rest);
    Ok((name, args))
}

/// A whole number of up to 16 digits that JavaScript can count to.
fn number(digits: &str) -> Option<u64> {
    let plausible = (1..=16).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plausible && *number <= LARGEST_ID)
}

fn malformed<T>(reason: &'static str) -> Result<T, Malformed> {
    Err(Malformed { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(packet: &str) -> Result<Option<Incoming>, &'static str> {
        Decoder::default().text(packet, &Limits::default()).map_err(|malformed| malformed.reason)
    }

    fn namespace(name: &str) -> Namespace {
        Namespace::parse(name, &Limits::default()).unwrap()
    }

    fn event(
        place: &str,
        id: Option<u64>,
        name: &str,
        args: &str,
        attachments: &[&'static [u8]],
    ) -> Incoming {
        let attachments = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        Incoming::Event(Event {
            namespace: namespace(place),
            id,
            name: name.into(),
            args: args.into(),
            attachments,
        })
    }

    fn ack(place: &str, id: u64, args: &str, attachments: &[&'static [u8]]) -> Incoming {
        let attachments = attachments.iter().map(|bytes| Bytes::from_static(bytes)).collect();
        Incoming::Ack(Ack { namespace: namespace(place), id, args: args.into(), attachments })
    }

    fn connect(place: &str, auth: Option<&str>) -> Incoming {
        Incoming::Connect { namespace: namespace(place), auth: auth.map(str::to_owned) }
    }

    #[test]
    fn packets_of_the_protocol_are_read() {
        for (packet, expected) in [
            ("0", connect("/", None)),
            ("0/admin", connect("/admin", None)),
            ("0/admin,", connect("/admin", None)),
            ("0{\"token\":\"123\"}", connect("/", Some("{\"token\":\"123\"}"))),
            ("0/admin?q=1,{}", connect("/admin", Some("{}"))),
            ("1", Incoming::Disconnect { namespace: Namespace::MAIN }),
            ("1/admin,", Incoming::Disconnect { namespace: namespace("/admin") }),
            ("1/admin", Incoming::Disconnect { namespace: namespace("/admin") }),
            ("2[\"foo\"]", event("/", None, "foo", "[]", &[])),
            ("2/admin,[\"bar\"]", event("/admin", None, "bar", "[]", &[])),
            ("212[\"foo\",{\"a\":[1]},2]", event("/", Some(12), "foo", "[{\"a\":[1]},2]", &[])),
            ("2/admin,13[\"foo\"]", event("/admin", Some(13), "foo", "[]", &[])),
            ("20[\"foo\"]", event("/", Some(0), "foo", "[]", &[])),
            ("3/admin,13[\"bar\"]", ack("/admin", 13, "[\"bar\"]", &[])),
            ("312[]", ack("/", 12, "[]", &[])),
        ] {
            assert_eq!(text(packet), Ok(Some(expected)), "{packet}");
        }
    }

    #[test]
    fn whitespace_and_escapes_are_read_as_json_reads_them() {
        for (packet, name, args) in [
            ("2[ \"a\" , 1 ,\n2 ]", "a", "[1 ,\n2 ]"),
            ("2\t[\"a\\\"b\\u00e9\"]\r\n", "a\"bé", "[]"),
            ("2[\"a\\\\\",\"b]\"]", "a\\", "[\"b]\"]"),
            ("2[\"€\",\"\\ud83d\"]", "€", "[\"\\ud83d\"]"),
            ("2[\"\",1e999]", "", "[1e999]"),
        ] {
            assert_eq!(text(packet), Ok(Some(event("/", None, name, args, &[]))), "{packet}");
        }
    }

    #[test]
    fn names_that_mean_something_to_javascript_are_names_like_others() {
        for name in ["__proto__", "constructor", "toString", "error", "message", "disconnectx"] {
            assert_eq!(text(&format!("2[\"{name}\"]")), Ok(Some(event("/", None, name, "[]", &[]))));
        }
    }

    #[test]
    fn what_is_not_a_packet_from_a_client_is_refused_with_its_reason() {
        for (packet, reason) in [
            ("", "a packet of unknown type"),
            ("abc", "a packet of unknown type"),
            ("7[\"a\"]", "a packet of unknown type"),
            ("é", "a packet of unknown type"),
            ("4{\"message\":\"only servers say this\"}", "a packet of unknown type"),
            ("0[]", "a connect payload that is not an object"),
            ("0null", "a connect payload that is not an object"),
            ("0{", "a connect payload that is not an object"),
            ("0\"token\"", "a connect payload that is not an object"),
            ("01{}", "an id where none belongs"),
            ("1{}", "a disconnect with a payload"),
            ("2", "an event payload that is not an array"),
            ("2{}", "an event payload that is not an array"),
            ("2[\"a\"", "an event payload that is not an array"),
            ("2[\"a\",]", "an event payload that is not an array"),
            ("2[\"a\"]x", "an event payload that is not an array"),
            ("2abc[\"a\"]", "an event payload that is not an array"),
            ("2-1[\"a\"]", "an event payload that is not an array"),
            ("2/admin[\"a\"]", "an event payload that is not an array"),
            ("2[]", "an event without a name"),
            ("2[1]", "an event without a name"),
            ("2[null]", "an event without a name"),
            ("2[{\"toString\":\"foo\"}]", "an event without a name"),
            ("2[\"\\ud800\"]", "an event name that is not text"),
            ("3[]", "an ack without an id"),
            ("31{}", "an ack payload that is not an array"),
            ("31", "an ack payload that is not an array"),
            ("2/a\u{1e}b,[\"a\"]", "a bad namespace"),
        ] {
            assert_eq!(text(packet), Err(reason), "{packet}");
        }
    }

    #[test]
    fn reserved_names_are_refused_however_they_are_written() {
        for name in RESERVED {
            assert_eq!(text(&format!("2[\"{name}\"]")), Err("a reserved event name"));
        }
        assert_eq!(text("2[\"\\u0063onnect\"]"), Err("a reserved event name"));
    }

    #[test]
    fn a_name_is_allowed_up_to_its_limit() {
        let named = |name: &str| text(&format!("2[\"{name}\"]")).map(|_| ());
        assert_eq!(named(&"a".repeat(256)), Ok(()));
        assert_eq!(named(&"\\u0061".repeat(256)), Ok(()));
        assert_eq!(named(&"a".repeat(257)), Err("an event name over the limit"));
        assert_eq!(named(&"\\u0061".repeat(257)), Err("an event name over the limit"));
    }

    #[test]
    fn an_id_counts_as_far_as_javascript_does() {
        for (id, expected) in [
            ("9007199254740991", Ok(9_007_199_254_740_991)),
            ("9007199254740992", Err("an ack id out of range")),
            ("99999999999999999999", Err("an ack id out of range")),
            ("00000000000000001", Err("an ack id out of range")),
            ("007", Ok(7)),
        ] {
            assert_eq!(text(&format!("3{id}[]")), expected.map(|id| Some(ack("/", id, "[]", &[]))), "{id}");
        }
    }

    #[test]
    fn nesting_is_refused_before_anything_is_parsed() {
        let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
        let within = format!("2[\"a\",{}]", nested(63));
        assert!(text(&within).is_ok());
        for payload in [nested(65), "[".repeat(65), "{\"a\":".repeat(65)] {
            for kind in ["2", "31", "0", "51-"] {
                assert_eq!(text(&format!("{kind}{payload}")), Err("JSON that nests too deeply"));
            }
        }
    }

    #[test]
    fn binary_packets_wait_for_their_attachments() {
        let limits = Limits::default();
        let mut decoder = Decoder::default();
        let placeholders = r#"[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        let packet = format!("52-/admin,7[\"baz\",{}", &placeholders[1..]);
        assert_eq!(decoder.text(&packet, &limits), Ok(None));
        assert!(decoder.is_pending());
        assert_eq!(decoder.binary(&[1, 2], &limits), Ok(None));
        let expected = event("/admin", Some(7), "baz", placeholders, &[&[1, 2], &[]]);
        assert_eq!(decoder.binary(&[], &limits), Ok(Some(expected)));
        assert!(!decoder.is_pending());
        let packet = r#"61-15["bar",{"_placeholder":true,"num":0}]"#;
        assert_eq!(decoder.text(packet, &limits), Ok(None));
        let expected = ack("/", 15, r#"["bar",{"_placeholder":true,"num":0}]"#, &[&[9]]);
        assert_eq!(decoder.binary(&[9], &limits), Ok(Some(expected)));
    }

    #[test]
    fn binary_packets_are_refused_for_their_number_of_attachments() {
        for (packet, reason) in [
            ("5[\"a\"]", "a binary packet without a number of attachments"),
            ("5-[\"a\"]", "a bad number of attachments"),
            ("5x-[\"a\"]", "a bad number of attachments"),
            ("5+1-[\"a\"]", "a bad number of attachments"),
            ("51.5-[\"a\"]", "a bad number of attachments"),
            ("599999999999999999999-[\"a\"]", "a bad number of attachments"),
            ("50-[\"a\"]", "a binary packet without attachments"),
            ("60-1[]", "a binary packet without attachments"),
            ("511-[\"a\"]", "too many attachments"),
            ("51-[\"a\"]", "placeholders that do not match the attachments"),
            (
                "51-[\"a\",{\"_placeholder\":true,\"num\":1}]",
                "placeholders that do not match the attachments",
            ),
        ] {
            assert_eq!(text(packet), Err(reason), "{packet}");
        }
    }

    #[test]
    fn attachments_are_allowed_up_to_their_limit() {
        let placeholder = |number| format!(",{{\"_placeholder\":true,\"num\":{number}}}");
        let packet = |count| format!("5{count}-[\"a\"{}]", (0..count).map(placeholder).collect::<String>());
        assert_eq!(text(&packet(10)), Ok(None));
        assert_eq!(text(&packet(11)), Err("too many attachments"));
    }

    #[test]
    fn attachments_and_text_are_refused_out_of_turn() {
        let limits = Limits::default();
        let mut decoder = Decoder::default();
        assert!(decoder.binary(&[1], &limits).is_err());
        decoder.text(r#"51-["a",{"_placeholder":true,"num":0}]"#, &limits).unwrap();
        assert!(decoder.text("2[\"a\"]", &limits).is_err());
        assert!(!decoder.is_pending());
        assert!(decoder.binary(&[1], &limits).is_err());
    }

    #[test]
    fn a_packet_with_its_attachments_is_allowed_up_to_the_payload_limit() {
        let packet = r#"52-["a",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        let limits = Limits { payload: packet.len() + 10, ..Limits::default() };
        for (last, fits) in [(4, true), (5, false)] {
            let mut decoder = Decoder::default();
            decoder.text(packet, &limits).unwrap();
            decoder.binary(&[0; 6], &limits).unwrap();
            assert_eq!(decoder.binary(&vec![0; last], &limits).is_ok(), fits);
            assert!(!decoder.is_pending());
        }
    }

    #[test]
    fn a_decoder_at_rest_is_one_pointer() {
        assert_eq!(size_of::<Decoder>(), 8);
    }
}

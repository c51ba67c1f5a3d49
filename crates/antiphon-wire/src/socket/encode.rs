//! How does a packet for clients become bytes, once for all who receive it?
//!
//! Socket.IO protocol, "Packet encoding", inside Engine.IO messages, inside WebSocket frames. Frames to a
//! client are not masked (RFC 6455, section 5.1), so the same bytes serve every receiver.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::engine::payload::SEPARATOR;
use crate::json;
use crate::websocket::{Opcode, header_length, split_unmasked, write_header};

/// One finished packet: its WebSocket frame, and one more per attachment, in one piece of memory.
///
/// A clone counts a reference up and copies nothing. For a polling client the frames are turned into a
/// payload on demand.
#[derive(Clone, Debug)]
pub struct Encoded {
    frames: Bytes,
}

impl Encoded {
    /// An event.
    ///
    /// `namespace` is a [`Namespace`](super::Namespace)'s name. `args` are JSON values between commas,
    /// without brackets, possibly none; they are trusted to be valid, and to contain
    /// `{"_placeholder":true,"num":n}` for the n-th of `attachments`.
    pub fn event(namespace: &str, id: Option<u64>, name: &str, args: &[u8], attachments: &[Bytes]) -> Self {
        if id.is_none() && attachments.is_empty() && namespace == "/" {
            return Self::broadcast(name, args);
        }
        let [binary, count, dash] = kind(["42", "45"], attachments);
        let [namespace, comma] = place(namespace);
        let comma_before_args = if args.is_empty() { "" } else { "," };
        let id = id.map_or(Piece::Raw(b""), Piece::Number);
        let name = Piece::Quoted(name);
        let pieces = [binary, count, dash, namespace, comma, id, raw("["), name, raw(comma_before_args)];
        Self::build(&pieces, &[Piece::Raw(args), raw("]")], attachments)
    }

    /// An event as from [`event`](Self::event) that nobody answers, with one more argument at its end: the text `last`.
    pub fn event_ending(namespace: &str, name: &str, args: &[u8], last: &str, attachments: &[Bytes]) -> Self {
        let [binary, count, dash] = kind(["42", "45"], attachments);
        let [namespace, comma] = place(namespace);
        let comma_before_args = if args.is_empty() { "" } else { "," };
        let pieces = [binary, count, dash, namespace, comma, raw("["), Piece::Quoted(name)];
        let args = [raw(comma_before_args), Piece::Raw(args), raw(","), Piece::Quoted(last), raw("]")];
        Self::build(&pieces, &args, attachments)
    }

    /// By far the most frequent packet: an event of the main namespace that asks for no answer. The same bytes as from
    /// [`build`](Self::build), at a third of the cost.
    fn broadcast(name: &str, args: &[u8]) -> Self {
        let comma = usize::from(!args.is_empty());
        let length = 4 + json::string_length(name) + comma + args.len();
        let mut out = Vec::with_capacity(header_length(length) + length);
        write_header(Opcode::Text, length, &mut out);
        out.extend_from_slice(b"42[");
        json::write_string(name, &mut out);
        if comma == 1 {
            out.push(b',');
        }
        out.extend_from_slice(args);
        out.push(b']');
        Self { frames: out.into() }
    }

    /// The answer to the event that came with `id`. `args` and `attachments` as for [`event`](Self::event).
    pub fn ack(namespace: &str, id: u64, args: &[u8], attachments: &[Bytes]) -> Self {
        let [binary, count, dash] = kind(["43", "46"], attachments);
        let [namespace, comma] = place(namespace);
        let pieces = [binary, count, dash, namespace, comma, Piece::Number(id), raw("[")];
        Self::build(&pieces, &[Piece::Raw(args), raw("]")], attachments)
    }

    /// Lets a client into a namespace: `40{"sid":"…"}`.
    pub fn connect(namespace: &str, sid: &str) -> Self {
        let [namespace, comma] = place(namespace);
        Self::build(&[raw("40"), namespace, comma, raw("{\"sid\":"), Piece::Quoted(sid), raw("}")], &[], &[])
    }

    /// Lets a client into a namespace with `answer`: a JSON object that has a `sid`, trusted to be valid.
    pub fn connected(namespace: &str, answer: &str) -> Self {
        let [namespace, comma] = place(namespace);
        Self::build(&[raw("40"), namespace, comma, raw(answer)], &[], &[])
    }

    /// Keeps a client out of a namespace: `44{"message":"…","data":…}`. `data` is JSON and trusted to be
    /// valid.
    pub fn connect_error(namespace: &str, message: &str, data: Option<&str>) -> Self {
        let [namespace, comma] = place(namespace);
        let (key, data) = data.map_or(("", ""), |data| (",\"data\":", data));
        let pieces = [raw("44"), namespace, comma, raw("{\"message\":"), Piece::Quoted(message)];
        Self::build(&pieces, &[raw(key), raw(data), raw("}")], &[])
    }

    /// Sends a client out of a namespace.
    pub fn disconnect(namespace: &str) -> Self {
        let [namespace, comma] = place(namespace);
        Self::build(&[raw("41"), namespace, comma], &[], &[])
    }

    /// Any Engine.IO packet of text, with its type: `2`, `6`, `3probe`, `4hello`. It must not contain a
    /// record separator, which would end it on polling.
    pub fn engine(text: &str) -> Self {
        debug_assert!(!text.as_bytes().contains(&SEPARATOR), "a record separator ends a packet");
        Self::build(&[raw(text)], &[], &[])
    }

    /// A binary Engine.IO message.
    pub fn engine_binary(bytes: &[u8]) -> Self {
        let mut out = Vec::with_capacity(header_length(bytes.len()) + bytes.len());
        write_frame(Opcode::Binary, bytes, &mut out);
        Self { frames: out.into() }
    }

    /// The answer to a WebSocket ping (RFC 6455, section 5.5.3): at most 125 bytes, the ping's own. It belongs to its WebSocket and
    /// is nothing that polling could carry.
    pub fn pong(bytes: &[u8]) -> Self {
        let mut out = Vec::with_capacity(header_length(bytes.len()) + bytes.len());
        write_frame(Opcode::Pong, bytes, &mut out);
        Self { frames: out.into() }
    }

    /// A packet from its [`frames`](Self::frames), which are trusted to be whole.
    pub fn from_frames(frames: Bytes) -> Self {
        Self { frames }
    }

    /// The WebSocket frames, ready to be written.
    pub fn frames(&self) -> &Bytes {
        &self.frames
    }

    /// Bytes it occupies in an outbox. Never zero.
    #[expect(clippy::len_without_is_empty, reason = "a packet is never empty")]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Appends it to a polling payload, after a separator if there is something already.
    pub fn polling_into(&self, out: &mut Vec<u8>) {
        let mut rest = &self.frames[..];
        while let Some((opcode, payload, following)) = split_unmasked(rest) {
            rest = following;
            if opcode == Opcode::Pong {
                continue;
            }
            if !out.is_empty() {
                out.push(SEPARATOR);
            }
            if opcode == Opcode::Binary {
                write_base64(payload, out);
            } else {
                out.extend_from_slice(payload);
            }
        }
    }

    /// Writes `head` and `tail` as one text frame and every attachment as a binary one, into exactly the
    /// memory they take.
    fn build(head: &[Piece<'_>], tail: &[Piece<'_>], attachments: &[Bytes]) -> Self {
        let pieces = || head.iter().chain(tail);
        let length = pieces().map(Piece::length).sum();
        let framed = |length| header_length(length) + length;
        let total = framed(length) + attachments.iter().map(|bytes| framed(bytes.len())).sum::<usize>();
        let mut out = Vec::with_capacity(total);
        write_header(Opcode::Text, length, &mut out);
        pieces().for_each(|piece| piece.write(&mut out));
        attachments.iter().for_each(|bytes| write_frame(Opcode::Binary, bytes, &mut out));
        debug_assert_eq!(out.len(), total);
        Self { frames: out.into() }
    }
}

/// A part of a packet's text, whose length is known before it is written.
enum Piece<'a> {
    Raw(&'a [u8]),
    /// A JSON string.
    Quoted(&'a str),
    Number(u64),
}

impl Piece<'_> {
    fn length(&self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Quoted(text) => json::string_length(text),
            Self::Number(number) => digits(*number),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Raw(bytes) => out.extend_from_slice(bytes),
            Self::Quoted(text) => json::write_string(text, out),
            Self::Number(number) => {
                let (start, mut number) = (out.len(), *number);
                out.resize(start + digits(number), b'0');
                for digit in out[start..].iter_mut().rev() {
                    *digit += (number % 10) as u8;
                    number /= 10;
                }
            }
        }
    }
}

fn raw(text: &str) -> Piece<'_> {
    Piece::Raw(text.as_bytes())
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |power| power as usize + 1)
}

/// The type, of text or binary, and the number of attachments.
fn kind<'a>([text, binary]: [&'a str; 2], attachments: &[Bytes]) -> [Piece<'a>; 3] {
    if attachments.is_empty() {
        [raw(text), raw(""), raw("")]
    } else {
        [raw(binary), Piece::Number(attachments.len() as u64), raw("-")]
    }
}

/// The namespace and its comma, which the main namespace goes without.
fn place(namespace: &str) -> [Piece<'_>; 2] {
    if matches!(namespace, "/" | "") { [raw(""), raw("")] } else { [raw(namespace), raw(",")] }
}

fn write_frame(opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    write_header(opcode, payload.len(), out);
    out.extend_from_slice(payload);
}

/// `b` and base64 with padding (Engine.IO protocol, "HTTP long-polling").
fn write_base64(payload: &[u8], out: &mut Vec<u8>) {
    out.push(b'b');
    let start = out.len();
    let length = base64::encoded_len(payload.len(), true).unwrap_or(usize::MAX);
    out.resize(start + length, b'=');
    let written = STANDARD.encode_slice(payload, &mut out[start..]);
    debug_assert_eq!(written, Ok(length));
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_short_way_gives_the_same_bytes() {
        for name in ["chat:typing", "quote\"d", "línea\n"] {
            for args in ["", "{\"a\":1}", "1,2"] {
                let long = Encoded::build(
                    &[raw("42"), raw("["), Piece::Quoted(name), raw(if args.is_empty() { "" } else { "," })],
                    &[raw(args), raw("]")],
                    &[],
                );
                assert_eq!(Encoded::event("/", None, name, args.as_bytes(), &[]).frames(), long.frames());
            }
        }
    }

    use super::*;

    /// The payloads of the frames, binary ones in angle brackets.
    fn shown(encoded: &Encoded) -> Vec<String> {
        let (mut rest, mut shown) = (&encoded.frames()[..], Vec::new());
        while let Some((opcode, payload, following)) = split_unmasked(rest) {
            shown.push(match opcode {
                Opcode::Text => String::from_utf8(payload.to_vec()).unwrap(),
                _ => format!("<{payload:?}>"),
            });
            rest = following;
        }
        assert!(rest.is_empty());
        shown
    }

    fn polled(encoded: &[&Encoded]) -> String {
        let mut out = Vec::new();
        encoded.iter().for_each(|encoded| encoded.polling_into(&mut out));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn packets_of_the_protocol_are_written() {
        for (encoded, text) in [
            (Encoded::connect("/", "wZX3"), r#"40{"sid":"wZX3"}"#),
            (Encoded::connect("/admin", "oSO0"), r#"40/admin,{"sid":"oSO0"}"#),
            (Encoded::connect_error("/", "Not authorized", None), r#"44{"message":"Not authorized"}"#),
            (Encoded::connect_error("/a", "No", Some("[1]")), r#"44/a,{"message":"No","data":[1]}"#),
            (Encoded::event("/", None, "foo", b"", &[]), r#"42["foo"]"#),
            (Encoded::event("/admin", None, "bar", b"1,{}", &[]), r#"42/admin,["bar",1,{}]"#),
            (Encoded::event("/", Some(12), "foo", b"", &[]), r#"4212["foo"]"#),
            (Encoded::event("/", Some(0), "a\"\n", b"", &[]), r#"420["a\"\n"]"#),
            (Encoded::ack("/admin", 13, b"\"bar\"", &[]), r#"43/admin,13["bar"]"#),
            (Encoded::ack("/", u64::MAX, b"", &[]), "4318446744073709551615[]"),
            (Encoded::event_ending("/", "foo", b"", "1.0.a", &[]), r#"42["foo","1.0.a"]"#),
            (Encoded::event_ending("/a", "foo", b"1,{}", "1.0.a", &[]), r#"42/a,["foo",1,{},"1.0.a"]"#),
            (Encoded::connected("/", r#"{"sid":"a","pid":"b"}"#), r#"40{"sid":"a","pid":"b"}"#),
            (Encoded::connected("/a", r#"{"sid":"a"}"#), r#"40/a,{"sid":"a"}"#),
            (Encoded::disconnect("/"), "41"),
            (Encoded::disconnect("/admin"), "41/admin,"),
            (Encoded::engine("3probe"), "3probe"),
        ] {
            assert_eq!(shown(&encoded), [text]);
            assert_eq!(polled(&[&encoded]), text);
            assert_eq!(encoded.len(), text.len() + 2);
        }
    }

    #[test]
    fn attachments_follow_in_frames_of_their_own() {
        let attachments = [Bytes::from_static(&[1, 2, 3, 4]), Bytes::from_static(&[])];
        let args = br#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;
        let event = Encoded::event("/admin", None, "baz", args, &attachments);
        let text = r#"452-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
        assert_eq!(shown(&event), [text, "<[1, 2, 3, 4]>", "<[]>"]);
        assert_eq!(polled(&[&event]), format!("{text}\u{1e}bAQIDBA==\u{1e}b"));
        let ending = Encoded::event_ending("/admin", "baz", args, "1.0.a", &attachments);
        let text =
            r#"452-/admin,["baz",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1},"1.0.a"]"#;
        assert_eq!(shown(&ending), [text, "<[1, 2, 3, 4]>", "<[]>"]);
        assert_eq!(shown(&Encoded::from_frames(ending.frames().clone())), shown(&ending));
        let ack = Encoded::ack("/", 15, br#"{"_placeholder":true,"num":0}"#, &attachments[..1]);
        assert_eq!(shown(&ack)[0], r#"461-15[{"_placeholder":true,"num":0}]"#);
    }

    #[test]
    fn polling_packets_are_separated_from_what_was_there() {
        let hello = Encoded::engine("4hello");
        let binary = Encoded::engine_binary(&[1, 2, 3, 4]);
        assert_eq!(polled(&[&hello, &Encoded::engine("2"), &binary]), "4hello\u{1e}2\u{1e}bAQIDBA==");
    }

    #[test]
    fn long_packets_get_long_headers() {
        for length in [100, 200, 70_000] {
            let args = format!("\"{}\"", "x".repeat(length));
            let encoded = Encoded::event("/", None, "a", args.as_bytes(), &[]);
            assert_eq!(shown(&encoded), [format!("42[\"a\",{args}]")]);
        }
    }

    #[test]
    fn a_clone_shares_the_bytes() {
        let encoded = Encoded::engine("2");
        assert_eq!(encoded.clone().frames().as_ptr(), encoded.frames().as_ptr());
    }
}

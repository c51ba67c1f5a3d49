//! Which messages are in the bytes that a client sent?
//!
//! RFC 6455, sections 5 and 8.1. A frame that lies whole in the input costs no copy and no memory; only a
//! message that arrives in pieces is collected, and only as far as it has arrived.

use super::close;
use super::frame::{Header, Opcode, Violation, apply_mask};
use crate::Limits;

/// A message or control frame from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same bytes (RFC 6455, section 5.5.2).
    Ping(&'a [u8]),
    /// An answer to a ping, or unsolicited and then without meaning (RFC 6455, section 5.5.3).
    Pong(&'a [u8]),
    /// Code and reason, if given. To be answered with a close frame; nothing else comes after it (RFC 6455,
    /// section 5.5.1).
    Close(Option<(u16, &'a str)>),
}

/// Turns a client's bytes into messages.
///
/// Holds no heap memory unless a frame or message is incomplete, and never more than [`Limits::payload`]
/// besides what growing a buffer takes for a moment.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Option<Box<Pending>>,
    finished: bool,
}

impl Decoder {
    /// Hands every message that `input` completes to `sink`, in order.
    ///
    /// `input` is unmasked in place. Cuts between calls may fall anywhere. A [`Violation`] is found as early
    /// as it shows: reserved bits at the first byte, an oversized message at the header that announces it,
    /// invalid UTF-8 at the byte that makes it so; messages before it were handed out. After a close or a
    /// violation, further bytes are ignored.
    pub fn feed(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        let mut rest = input;
        while !rest.is_empty() && !self.finished {
            let step = if self.pending.as_ref().is_some_and(|pending| pending.frame.is_some()) {
                self.continue_frame(rest, limits, sink)
            } else {
                self.begin_frame(rest, limits, sink)
            };
            match step {
                Ok(used) => rest = &mut rest[used..],
                Err(violation) => {
                    self.finish();
                    return Err(violation);
                }
            }
            if self.pending.as_ref().is_some_and(|pending| pending.is_over()) {
                self.pending = None;
            }
        }
        Ok(())
    }

    /// Reads a header and as much of its payload as is there. Returns the bytes used.
    fn begin_frame(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, Violation> {
        let Some((header, used)) = self.read_header(input)? else { return Ok(input.len()) };
        let length = self.admit(&header, limits)?;
        let payload = &mut input[used..];
        let in_message = self.pending.as_ref().is_some_and(|pending| pending.message.is_some());
        let stands_alone = header.opcode.is_control() || (header.fin && !in_message);
        if stands_alone && payload.len() >= length {
            let payload = &mut payload[..length];
            apply_mask(payload, header.mask, 0);
            match header.opcode {
                Opcode::Text => sink(Incoming::Text(text(payload)?)),
                Opcode::Binary | Opcode::Continuation => sink(Incoming::Binary(payload)),
                control => self.deliver_control(control, payload, sink)?,
            }
            return Ok(used + length);
        }
        let pending = self.pending.get_or_insert_default();
        if !header.opcode.is_control() {
            pending.message.get_or_insert_with(|| Message::new(header.opcode)).fragments += 1;
        }
        pending.frame = Some(Frame { header, length, received: 0 });
        Ok(used + self.continue_frame(payload, limits, sink)?)
    }

    /// Adds what is there to the frame whose header has been read. Returns the bytes used.
    fn continue_frame(
        &mut self,
        input: &mut [u8],
        limits: &Limits,
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<usize, Violation> {
        let Some(pending) = self.pending.as_mut() else { return Ok(0) };
        let Some(frame) = pending.frame.as_mut() else { return Ok(0) };
        let used = input.len().min(frame.length - frame.received);
        let data = &mut input[..used];
        apply_mask(data, frame.header.mask, frame.received);
        frame.received += used;
        let complete = frame.received == frame.length;
        let Header { opcode, fin, .. } = frame.header;
        if opcode.is_control() {
            pending.control.extend_from_slice(data);
        } else if let Some(message) = pending.message.as_mut() {
            message.append(data, limits.payload)?;
        }
        if complete {
            pending.frame = None;
            if opcode.is_control() {
                let payload = std::mem::take(&mut pending.control);
                self.deliver_control(opcode, &payload, sink)?;
            } else if fin && let Some(message) = pending.message.take() {
                sink(if message.is_text {
                    Incoming::Text(text(&message.buffer)?)
                } else {
                    Incoming::Binary(&message.buffer)
                });
            }
        }
        Ok(used)
    }

    /// The next header and how many bytes of `input` it took, or `None` after keeping what there is of it.
    fn read_header(&mut self, input: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let kept = self.pending.as_ref().map_or(0, |pending| pending.header_length);
        if kept == 0 {
            let read = Header::read(input)?;
            if read.is_none() {
                let pending = self.pending.get_or_insert_default();
                pending.header[..input.len()].copy_from_slice(input);
                pending.header_length = input.len();
            }
            return Ok(read);
        }
        let pending = self.pending.get_or_insert_default();
        let length = (kept + input.len()).min(Header::LONGEST);
        pending.header[kept..length].copy_from_slice(&input[..length - kept]);
        let read = Header::read(&pending.header[..length])?;
        pending.header_length = if read.is_some() { 0 } else { length };
        Ok(read.map(|(header, used)| (header, used - kept)))
    }

    /// The length of the frame's payload, if the frame may come now and is not too much.
    fn admit(&self, header: &Header, limits: &Limits) -> Result<usize, Violation> {
        let too_big = Violation::too_big("a message over the payload limit");
        let length = usize::try_from(header.length).map_err(|_| too_big)?;
        if header.opcode.is_control() {
            return Ok(length);
        }
        let message = self.pending.as_ref().and_then(|pending| pending.message.as_ref());
        let (buffered, fragments) = match (header.opcode, message) {
            (Opcode::Continuation, None) => {
                return Err(Violation::protocol("a continuation of nothing"));
            }
            (Opcode::Continuation, Some(message)) => (message.buffer.len(), message.fragments),
            (_, Some(_)) => return Err(Violation::protocol("a message inside a fragmented one")),
            (_, None) => (0, 0),
        };
        if length > limits.payload.saturating_sub(buffered) {
            return Err(too_big);
        }
        if fragments >= limits.fragments {
            return Err(Violation::too_big("a message of too many fragments"));
        }
        Ok(length)
    }

    fn deliver_control(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        sink: &mut dyn FnMut(Incoming<'_>),
    ) -> Result<(), Violation> {
        match opcode {
            Opcode::Ping => sink(Incoming::Ping(payload)),
            Opcode::Pong => sink(Incoming::Pong(payload)),
            _ => {
                sink(Incoming::Close(close::read(payload)?));
                self.finish();
            }
        }
        Ok(())
    }

    fn finish(&mut self) {
        self.finished = true;
        self.pending = None;
    }
}

/// What is incomplete: part of a header, part of a frame, part of a message, or several of these.
#[derive(Debug, Default)]
struct Pending {
    header: [u8; Header::LONGEST],
    header_length: usize,
    frame: Option<Frame>,
    control: Vec<u8>,
    message: Option<Message>,
}

impl Pending {
    fn is_over(&self) -> bool {
        self.header_length == 0 && self.frame.is_none() && self.message.is_none()
    }
}

/// A frame whose header has been read.
#[derive(Debug)]
struct Frame {
    header: Header,
    length: usize,
    received: usize,
}

/// The message that is being collected, unmasked.
#[derive(Debug)]
struct Message {
    is_text: bool,
    fragments: usize,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to be UTF-8; at most three more may wait for the rest of a
    /// character.
    valid: usize,
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        Self { is_text: opcode == Opcode::Text, fragments: 0, buffer: Vec::new(), valid: 0 }
    }

    /// Grows with what arrived, twofold at most and never beyond `limit`, whatever the header announced.
    fn append(&mut self, data: &[u8], limit: usize) -> Result<(), Violation> {
        let needed = self.buffer.len() + data.len();
        if needed > self.buffer.capacity() {
            let target = needed.max(self.buffer.capacity().saturating_mul(2).min(limit));
            self.buffer.reserve_exact(target - self.buffer.len());
        }
        self.buffer.extend_from_slice(data);
        if self.is_text {
            match simdutf8::compat::from_utf8(&self.buffer[self.valid..]) {
                Ok(_) => self.valid = self.buffer.len(),
                Err(error) if error.error_len().is_none() => self.valid += error.valid_up_to(),
                Err(_) => return Err(Violation::NOT_UTF8),
            }
        }
        Ok(())
    }
}

fn text(payload: &[u8]) -> Result<&str, Violation> {
    simdutf8::basic::from_utf8(payload).map_err(|_| Violation::NOT_UTF8)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CONTINUATION: u8 = 0;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    const FIN: u8 = 0x80;
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// One masked frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        match payload.len() {
            length @ 0..=125 => out.push(0x80 | length as u8),
            length @ 126..=65_535 => {
                out.push(0xfe);
                out.extend((length as u16).to_be_bytes());
            }
            length => {
                out.push(0xff);
                out.extend((length as u64).to_be_bytes());
            }
        }
        out.extend(MASK);
        let start = out.len();
        out.extend(payload);
        apply_mask(&mut out[start..], MASK, 0);
        out
    }

    /// What a decoder makes of `frames`, and how it ends, when they arrive `size` bytes at a time.
    fn decode(frames: &[Vec<u8>], limits: &Limits, size: usize) -> (Vec<String>, Result<(), u16>) {
        let mut decoder = Decoder::default();
        let mut seen = Vec::new();
        for piece in frames.concat().chunks_mut(size) {
            let result = decoder.feed(piece, limits, &mut |incoming| seen.push(format!("{incoming:?}")));
            if let Err(violation) = result {
                return (seen, Err(violation.code));
            }
        }
        (seen, Ok(()))
    }

    fn check(frames: &[Vec<u8>], messages: &[Incoming<'_>], result: Result<(), u16>) {
        let messages: Vec<_> = messages.iter().map(|message| format!("{message:?}")).collect();
        for size in [1, 2, 3, 7, 1 << 20] {
            let limits = Limits::default();
            assert_eq!(decode(frames, &limits, size), (messages.clone(), result), "{size} at a time");
        }
    }

    #[test]
    fn whole_messages_of_every_length_encoding_are_handed_out() {
        for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
            let payload = vec![b'*'; length];
            let text = str::from_utf8(&payload).unwrap();
            check(&[frame(FIN | TEXT, &payload)], &[Incoming::Text(text)], Ok(()));
            check(&[frame(FIN | BINARY, &payload)], &[Incoming::Binary(&payload)], Ok(()));
        }
    }

    #[test]
    fn control_frames_come_through_between_fragments() {
        check(
            &[
                frame(TEXT, b"frag"),
                frame(FIN | PING, b"now"),
                frame(CONTINUATION, b""),
                frame(FIN | PONG, b""),
                frame(FIN | CONTINUATION, "mént".as_bytes()),
                frame(FIN | BINARY, b"next"),
            ],
            &[
                Incoming::Ping(b"now"),
                Incoming::Pong(b""),
                Incoming::Text("fragmént"),
                Incoming::Binary(b"next"),
            ],
            Ok(()),
        );
    }

    #[test]
    fn fragments_that_do_not_belong_to_a_message_are_protocol_errors() {
        check(&[frame(FIN | CONTINUATION, b"x")], &[], Err(1002));
        check(&[frame(CONTINUATION, b"x")], &[], Err(1002));
        check(&[frame(TEXT, b"a"), frame(FIN | TEXT, b"b")], &[], Err(1002));
        let after_the_end =
            [frame(TEXT, b"a"), frame(FIN | CONTINUATION, b"b"), frame(FIN | CONTINUATION, b"c")];
        check(&after_the_end, &[Incoming::Text("ab")], Err(1002));
    }

    #[test]
    fn messages_before_a_violation_are_handed_out() {
        check(
            &[frame(FIN | TEXT, b"good"), frame(FIN | PING, b"?"), frame(FIN | 3, b"")],
            &[Incoming::Text("good"), Incoming::Ping(b"?")],
            Err(1002),
        );
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_whole_or_in_pieces() {
        for bad in [&b"\xff"[..], b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"a\x80"] {
            check(&[frame(FIN | TEXT, bad)], &[], Err(1007));
            let pieces: Vec<_> = std::iter::once(frame(TEXT, b"x"))
                .chain(bad.iter().map(|byte| frame(CONTINUATION, &[*byte])))
                .chain([frame(FIN | CONTINUATION, b"")])
                .collect();
            check(&pieces, &[], Err(1007));
        }
    }

    #[test]
    fn invalid_text_is_refused_at_the_byte_that_makes_it_invalid() {
        let mut decoder = Decoder::default();
        let mut bytes = [frame(TEXT, b"\xce\xba\xe1\xbd\xb9"), frame(CONTINUATION, b"\xf4\x90rest")].concat();
        let (good, bad) = bytes.split_at_mut(11 + 6 + 1);
        let limits = Limits::default();
        assert_eq!(decoder.feed(good, &limits, &mut |_| unreachable!()), Ok(()));
        assert_eq!(decoder.feed(&mut bad[..1], &limits, &mut |_| unreachable!()), Err(Violation::NOT_UTF8));
    }

    #[test]
    fn nothing_is_read_after_a_close() {
        let frames = [frame(FIN | CLOSE, b"\x03\xe8bye"), frame(FIN | TEXT, b"late"), frame(FIN | 3, b"")];
        check(&frames, &[Incoming::Close(Some((1000, "bye")))], Ok(()));
        check(&[frame(FIN | CLOSE, b"")], &[Incoming::Close(None)], Ok(()));
        check(&[frame(FIN | CLOSE, b"\x03")], &[], Err(1002));
        check(&[frame(FIN | CLOSE, b"\x03\xed")], &[], Err(1002));
    }

    #[test]
    fn nothing_is_read_after_a_violation() {
        let mut decoder = Decoder::default();
        let limits = Limits::default();
        assert!(decoder.feed(&mut [0xff], &limits, &mut |_| unreachable!()).is_err());
        let mut later = frame(FIN | TEXT, b"late");
        assert_eq!(decoder.feed(&mut later, &limits, &mut |_| unreachable!()), Ok(()));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_from_the_header_that_announces_it() {
        let limits = Limits { payload: 10, ..Limits::default() };
        let whole = |length| decode(&[frame(FIN | TEXT, &vec![b'a'; length])], &limits, 1).1;
        assert_eq!(whole(10), Ok(()));
        assert_eq!(whole(11), Err(1009));
        let parts = [frame(BINARY, b"12345"), frame(CONTINUATION, b"12345"), frame(FIN | CONTINUATION, b"1")];
        assert_eq!(decode(&parts, &limits, 1 << 20).1, Err(1009));
        let mut decoder = Decoder::default();
        let mut header = [0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
        assert_eq!(decoder.feed(&mut header, &limits, &mut |_| unreachable!()).unwrap_err().code, 1009);
        assert!(decoder.pending.is_none());
    }

    #[test]
    fn a_message_of_too_many_fragments_is_refused() {
        let limits = Limits { fragments: 3, ..Limits::default() };
        let mut frames = vec![frame(TEXT, b""), frame(CONTINUATION, b""), frame(FIN | CONTINUATION, b"")];
        assert_eq!(decode(&frames, &limits, 1).1, Ok(()));
        frames.insert(1, frame(CONTINUATION, b""));
        assert_eq!(decode(&frames, &limits, 1).1, Err(1009));
    }

    #[test]
    fn memory_follows_what_arrived_and_goes_when_the_message_is_done() {
        assert!(size_of::<Decoder>() <= 16);
        let limits = Limits::default();
        let mut decoder = Decoder::default();
        let mut bytes = frame(FIN | BINARY, &vec![0; limits.payload]);
        let capacity = |decoder: &Decoder| {
            let message = decoder.pending.as_ref().and_then(|pending| pending.message.as_ref());
            message.map_or(0, |message| message.buffer.capacity())
        };
        decoder.feed(&mut bytes[..1_014], &limits, &mut |_| unreachable!()).unwrap();
        assert!((1..=2_000).contains(&capacity(&decoder)));
        for piece in bytes[1_014..].chunks_mut(1_000) {
            decoder.feed(piece, &limits, &mut |_| {}).unwrap();
            assert!(capacity(&decoder) <= limits.payload);
        }
        assert!(decoder.pending.is_none());
        decoder.feed(&mut frame(FIN | TEXT, b"whole"), &limits, &mut |_| {}).unwrap();
        assert!(decoder.pending.is_none());
    }
}

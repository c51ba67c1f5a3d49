//! Do the same bytes make the same messages, however they are cut?

use antiphon_wire::Limits;
use antiphon_wire::websocket::{Decoder, Incoming, Opcode, close_into, frame_into};
use proptest::prelude::*;

/// A decoder's answer in a form that outlives its input.
#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Violation(u16),
}

fn limits() -> Limits {
    Limits { payload: 300, fragments: 8, ..Limits::default() }
}

/// What `bytes` say when they arrive in pieces of these sizes, in turn.
fn decode(bytes: &[u8], sizes: &[usize]) -> Vec<Seen> {
    let (limits, mut decoder, mut seen) = (limits(), Decoder::default(), Vec::new());
    let mut bytes = bytes.to_vec();
    let mut rest = &mut bytes[..];
    for size in sizes.iter().cycle() {
        let (piece, following) = rest.split_at_mut((*size).min(rest.len()));
        let result = decoder.feed(piece, &limits, &mut |incoming| {
            seen.push(match incoming {
                Incoming::Text(text) => Seen::Text(text.into()),
                Incoming::Binary(bytes) => Seen::Binary(bytes.into()),
                Incoming::Ping(bytes) => Seen::Ping(bytes.into()),
                Incoming::Pong(bytes) => Seen::Pong(bytes.into()),
                Incoming::Close(close) => Seen::Close(close.map(|(code, reason)| (code, reason.into()))),
            });
        });
        if let Err(violation) = result {
            seen.push(Seen::Violation(violation.code));
        }
        rest = following;
        if rest.is_empty() {
            break;
        }
    }
    seen
}

/// A frame as a client sends it, made from one as a server sends it. The mask is zero unless `mask` says
/// otherwise.
fn masked(mut frame: Vec<u8>, mask: [u8; 4]) -> Vec<u8> {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame[1] |= 0x80;
    for (byte, key) in frame[header..].iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
    frame.splice(header..header, mask);
    frame
}

fn framed(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame_into(opcode, payload, &mut out);
    out
}

/// A message divided at `cuts`, with a ping after every fragment.
fn fragmented(opcode: Opcode, payload: &[u8], cuts: &[usize], mask: [u8; 4]) -> Vec<u8> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut % (payload.len() + 1)).collect();
    cuts.sort_unstable();
    let (mut out, mut start, mut opcode) = (Vec::new(), 0, opcode);
    for cut in cuts {
        let mut frame = framed(opcode, &payload[start..cut]);
        frame[0] &= 0x7f;
        out.extend(masked(frame, mask));
        out.extend(masked(framed(Opcode::Ping, b"between"), mask));
        (start, opcode) = (cut, Opcode::Continuation);
    }
    out.extend(masked(framed(opcode, &payload[start..]), mask));
    out
}

/// Bytes that are frames more often than not.
fn frame_like() -> impl Strategy<Value = Vec<u8>> {
    let headed = (any::<u8>(), any::<u8>(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
        |(first, length, rest)| {
            let mut out = vec![first & 0x8f, 0x80 | (length & 0x1f), 0, 0, 0, 0];
            out.extend(rest);
            out
        },
    );
    let text = ("\\PC{0,20}", proptest::collection::vec(any::<usize>(), 0..4))
        .prop_map(|(text, cuts)| fragmented(Opcode::Text, text.as_bytes(), &cuts, [1, 2, 3, 4]));
    prop_oneof![headed, text, proptest::collection::vec(any::<u8>(), 0..30)]
}

proptest! {
    #[test]
    fn a_frame_comes_back_as_it_was_sent(payload in proptest::collection::vec(any::<u8>(), 0..300), mask: [u8; 4]) {
        let bytes = masked(framed(Opcode::Binary, &payload), mask);
        prop_assert_eq!(decode(&bytes, &[usize::MAX]), [Seen::Binary(payload)]);
    }

    #[test]
    fn a_close_comes_back_with_as_much_reason_as_fits(code in 3000_u16..5000, reason in "\\PC{0,200}") {
        let mut frame = Vec::new();
        close_into(code, &reason, &mut frame);
        let kept = reason[..reason.floor_char_boundary(123)].to_owned();
        prop_assert_eq!(decode(&masked(frame, [9; 4]), &[1]), [Seen::Close(Some((code, kept)))]);
    }

    #[test]
    fn a_message_is_whole_wherever_fragments_and_reads_cut_it(
        text in "\\PC{0,60}",
        cuts in proptest::collection::vec(any::<usize>(), 0..7),
        mask: [u8; 4],
    ) {
        let bytes = fragmented(Opcode::Text, text.as_bytes(), &cuts, mask);
        let mut expected: Vec<_> = cuts.iter().map(|_| Seen::Ping(b"between".to_vec())).collect();
        expected.push(Seen::Text(text));
        for split in 1..=bytes.len() {
            prop_assert_eq!(&decode(&bytes, &[split, usize::MAX]), &expected);
        }
    }

    #[test]
    fn any_bytes_mean_the_same_however_they_are_cut(
        parts in proptest::collection::vec(frame_like(), 0..6),
        sizes in proptest::collection::vec(1_usize..12, 1..6),
    ) {
        let bytes = parts.concat();
        prop_assert_eq!(decode(&bytes, &sizes), decode(&bytes, &[usize::MAX]));
    }
}

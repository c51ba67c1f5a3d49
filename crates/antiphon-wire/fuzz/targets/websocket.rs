//! Do any bytes mean the same in one piece as in many, and stay within the limits?
//!
//! Input: one byte for the size of the pieces, then what a client sends.
#![no_main]

use antiphon_wire::Limits;
use antiphon_wire::websocket::{Decoder, Incoming};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((size, bytes)) = data.split_first() else { return };
    let whole = decode(bytes, bytes.len().max(1));
    let pieces = decode(bytes, usize::from(*size).max(1));
    assert_eq!(whole, pieces);
});

fn decode(bytes: &[u8], size: usize) -> Vec<String> {
    let limits = Limits { payload: 1_024, fragments: 16, ..Limits::default() };
    let (mut decoder, mut seen, mut over) = (Decoder::default(), Vec::new(), false);
    for piece in bytes.to_vec().chunks_mut(size) {
        let result = decoder.feed(piece, &limits, &mut |incoming| {
            assert!(!over, "something after the end");
            match incoming {
                Incoming::Text(text) => assert!(text.len() <= limits.payload),
                Incoming::Binary(bytes) => assert!(bytes.len() <= limits.payload),
                Incoming::Ping(bytes) | Incoming::Pong(bytes) => assert!(bytes.len() <= 125),
                Incoming::Close(_) => over = true,
            }
            seen.push(format!("{incoming:?}"));
        });
        if let Err(violation) = result {
            assert!(!over, "two ends");
            over = true;
            seen.push(violation.to_string());
        }
    }
    seen
}

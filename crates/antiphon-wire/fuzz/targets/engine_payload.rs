//! Is any body decoded whole or not at all, within the limits?
//!
//! Input: the body of a polling request.
#![no_main]

use antiphon_wire::Limits;
use antiphon_wire::engine::payload::{self, Item};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let limits = Limits { payload: 1_024, packets: 16, ..Limits::default() };
    let (mut packets, mut bytes) = (0, 0);
    let result = payload::decode(body, &limits, &mut |item| {
        packets += 1;
        if let Item::Binary(binary) = item {
            bytes += binary.len();
        }
    });
    match result {
        Ok(()) => assert!((1..=limits.packets).contains(&packets) && bytes <= body.len()),
        Err(_) => assert_eq!(packets, 0),
    }
});

//! Any CONNECT and any event name with any arguments, as a client of the companion API might send them.
//!
//! The input is the name, a line feed, and the JSON text of the arguments, which is also tried as what a CONNECT brings. Nothing may
//! panic, a refusal must come with an ack and without an event, and whatever is said must be JSON.

#![no_main]

use antiphon_core::dialect::{Args, Dialect, Inbound, Out};
use antiphon_core::ids::Timestamp;
use antiphon_dialects::companion::Companion;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fuzz_target!(|input: &str| {
    let (name, text) = input.split_once('\n').unwrap_or((input, "[]"));
    let _ = Companion.accepts(Some(text));
    if let Err(refusal) = Companion.credential(Some(text)) {
        let data = Companion.refused(&refusal).data.expect("a refusal has a code");
        serde_json::from_str::<Value>(&data).expect("data is JSON");
    }
    let args = Args::new(text.to_owned(), Vec::new());
    let mut out = Out::default();
    if let Inbound::Refused(refusal) = Companion.inbound(name, &args, NOW, &mut out) {
        Companion.reply(name, &Err(refusal), NOW, &mut out);
        let ack = out.acked().expect("a refusal has an ack");
        serde_json::from_slice::<Value>(ack).expect("an ack is JSON");
    }
    assert_eq!(out.events().count(), 0, "this API answers no event with an event");
});

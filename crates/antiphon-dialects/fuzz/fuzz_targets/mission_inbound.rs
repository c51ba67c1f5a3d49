//! Any event name with any arguments, as a client of the mission API might send them.
//!
//! The input is the name, a line feed, and the JSON text of the arguments. Nothing may panic, a refusal must come with an ack,
//! and whatever is said must be JSON.

#![no_main]

use antiphon_core::dialect::{Args, Dialect, Inbound, Out};
use antiphon_core::ids::Timestamp;
use antiphon_dialects::mission::Mission;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: Timestamp = Timestamp(1_767_225_600_000);

fuzz_target!(|input: &str| {
    let (name, args) = input.split_once('\n').unwrap_or((input, "[]"));
    let args = Args::new(args.to_owned(), Vec::new());
    let mut out = Out::default();
    if let Inbound::Refused(refusal) = Mission.inbound(name, &args, NOW, &mut out) {
        Mission.reply(name, &Err(refusal), NOW, &mut out);
        assert!(out.acked().is_some(), "a refusal has an ack");
    }
    for (_, args) in out.events() {
        serde_json::from_slice::<Value>(args).expect("an event is JSON");
    }
    if let Some(args) = out.acked() {
        serde_json::from_slice::<Value>(args).expect("an ack is JSON");
    }
});

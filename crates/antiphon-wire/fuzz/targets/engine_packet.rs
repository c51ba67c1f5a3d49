//! Is any text a packet or refused, and does a session survive every packet in every state?
//!
//! Input: lines of text. Each is one packet; its first byte says over which transport it comes and how much
//! time passes before it.
#![no_main]

use antiphon_wire::engine::payload::Item;
use antiphon_wire::engine::{Beat, Received, Session, Timing, Transport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let timing = Timing { ping_interval: 25, ping_timeout: 20 };
    let (mut session, mut now) = (Session::open(Transport::Polling, timing, 0), 0);
    for line in text.split('\n') {
        let Some(first) = line.chars().next() else { continue };
        let step = first as u64;
        now += step % 16;
        let via = if step & 16 == 0 { Transport::Polling } else { Transport::Websocket };
        match session.beat(now) {
            Beat::WaitUntil(due) => assert!(due > now && due <= now + 25),
            Beat::SendPing => assert!(matches!(session.beat(now), Beat::WaitUntil(_))),
            Beat::Dead => assert!(session.ended().is_some()),
        }
        if step & 32 != 0 && session.begin_upgrade() {
            assert_eq!(session.transport(), Transport::Polling);
        }
        let Ok(Item::Packet(packet)) = Item::decode(&line[first.len_utf8()..]) else { continue };
        let carried = session.carries(via);
        match session.receive(via, packet, now) {
            Ok(Received::Message(_)) => assert!(carried),
            Ok(Received::Upgraded) => assert_eq!(session.transport(), Transport::Websocket),
            Ok(Received::Probed) => assert!(session.is_upgrading()),
            Ok(Received::Rejected) => assert!(!carried),
            Ok(Received::Nothing) => assert!(session.ended().is_none()),
            Err(ended) => assert_eq!(session.ended(), Some(ended)),
        }
    }
});

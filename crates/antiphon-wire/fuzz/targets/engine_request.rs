//! Is only a request served that makes sense?
//!
//! Input: a method, a line break, a query. A query that begins with `!` comes with an upgrade.
#![no_main]

use antiphon_wire::engine::{Request, Transport};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (method, query) = text.split_once('\n').unwrap_or(("GET", text));
    let (query, upgrade) = query.strip_prefix('!').map_or((query, false), |query| (query, true));
    match Request::parse(method, query, upgrade) {
        Ok(Request { transport, sid, t }) => {
            assert!(t.is_none_or(|t| query.contains(t)));
            assert_eq!(upgrade, transport == Transport::Websocket);
            assert!(method == "GET" || (method == "POST" && sid.is_some() && !upgrade));
            assert!(sid.is_none_or(|sid| !sid.is_empty() && sid.is_ascii() && query.contains(sid)));
            assert!(query.contains("EIO=4") && query.contains(transport.name()));
        }
        Err(refusal) => assert!(refusal.code() <= 5 && refusal.status() == 400),
    }
});

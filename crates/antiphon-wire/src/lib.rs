//! What do the bytes between a Socket.IO client and its server mean?
//!
//! Three protocols, each a small state machine that performs no I/O and reads no clock: whoever owns the
//! socket feeds bytes in and sends what comes out, and time is an argument (`now`, monotonic milliseconds).
//!
//! | module | protocol | what it answers |
//! |---|---|---|
//! | [`websocket`] | RFC 6455, server side | which messages are in these bytes; how a frame is written |
//! | [`engine`] | Engine.IO protocol, revision 4 | which packets; who opens, upgrades, keeps alive and closes a session |
//! | [`socket`] | Socket.IO protocol, revision 5 | which connect, event or ack; how a packet is encoded once for many receivers |
//! | [`limits`] | ours | how much of anything a peer may send |
//!
//! No input makes this crate panic, and none makes it hold more than about twice [`Limits::payload`] for one
//! connection.

pub mod engine;
mod json;
pub mod limits;
pub mod socket;
pub mod websocket;

pub use limits::Limits;

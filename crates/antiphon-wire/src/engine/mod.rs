//! Which Engine.IO packets arrive, and what state is their session in?
//!
//! The Engine.IO protocol, revision 4, over HTTP long-polling and WebSocket.
//!
//! - [`Request`]: what an HTTP request asks for, or the [`BadRequest`] to answer it with
//! - [`Handshake`]: the first packet of a session
//! - [`Packet`]: one packet of text; [`payload`]: the packets of a polling body
//! - [`Session`]: heartbeat, upgrade and end of one session

mod handshake;
mod packet;
pub mod payload;
mod request;
mod session;

pub use handshake::Handshake;
pub use packet::{BadPacket, Packet};
pub use request::{BadRequest, Request};
pub use session::{Beat, Ended, Received, Session, Timing};

/// How packets travel (Engine.IO protocol, "Transports").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling: `GET` to receive, `POST` to send.
    Polling,
    /// One WebSocket, one packet per message.
    Websocket,
}

impl Transport {
    /// The name in the query parameter `transport` and in the list of upgrades.
    pub fn name(self) -> &'static str {
        match self {
            Self::Polling => "polling",
            Self::Websocket => "websocket",
        }
    }
}

//! Why a connection ends, and what its client is told about it.

use antiphon_wire::engine::Ended;

use super::Dismissal;

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The client ended it, or its transport was lost.
    Peer,
    /// No pong came in time.
    PingTimeout,
    /// It did not CONNECT in time.
    ConnectTimeout,
    /// It sent what no client may send; the words say what.
    Malformed(&'static str),
    /// It broke the WebSocket protocol: close code and words.
    Violation(u16, &'static str),
    /// A message was larger than the mount takes.
    TooLarge,
    /// It did not read what was sent to it.
    TooSlow,
    /// It sent more than could be processed.
    TooFast,
    /// Its last socket was sent away.
    Dismissed(Dismissal),
    /// A socket of it goes on on another connection, so this one is dead.
    Resumed,
    /// Something here failed while it was served.
    Failed,
    /// This server stops; the client is to come back.
    Draining,
}

impl Closing {
    /// The WebSocket close code and reason (RFC 6455, section 7.4).
    pub(super) fn frame(self) -> (u16, &'static str) {
        match self {
            Self::Peer => (1000, ""),
            Self::PingTimeout => (1000, "ping timeout"),
            Self::ConnectTimeout => (1008, "no CONNECT in time"),
            Self::Malformed(why) => (1008, why),
            Self::Violation(code, why) => (code, why),
            Self::TooLarge => (1009, "message too large"),
            Self::TooSlow => (1008, "too slow: reconnect and read faster"),
            Self::TooFast => (1008, "too many packets at once"),
            Self::Dismissed(why) => (1008, why.reason()),
            Self::Resumed => (1000, "resumed on another connection"),
            Self::Failed => (1011, "internal error"),
            Self::Draining => (1001, "server stops: reconnect"),
        }
    }

    /// What it is called in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::PingTimeout => "ping_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::Malformed(_) => "malformed",
            Self::Violation(..) => "violation",
            Self::TooLarge => "too_large",
            Self::TooSlow => "too_slow",
            Self::TooFast => "too_fast",
            Self::Dismissed(_) => "dismissed",
            Self::Resumed => "resumed",
            Self::Failed => "failed",
            Self::Draining => "draining",
        }
    }

    /// Whether it makes sense to say goodbye.
    pub(super) fn says_goodbye(self) -> bool {
        !matches!(self, Self::PingTimeout | Self::TooSlow)
    }
}

impl From<Ended> for Closing {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::ByPeer | Ended::ByServer | Ended::TransportClosed | Ended::TransportError => Self::Peer,
            Ended::BadPacket => Self::Malformed("parse error"),
            Ended::PingTimeout => Self::PingTimeout,
        }
    }
}

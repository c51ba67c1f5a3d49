//! Is this Engine.IO session alive, and which transport carries it?
//!
//! Engine.IO protocol, "Heartbeat" and "Upgrade". Times are monotonic milliseconds of the caller's clock.

use super::Transport;
use super::packet::Packet;

/// How many milliseconds late a caller may ask for the ping without the client being given more time for it.
const TOLERANCE: u64 = 100;

/// The terms of the heartbeat, as the handshake told the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Milliseconds from the start, or from a pong, to the next ping.
    pub ping_interval: u64,
    /// Milliseconds within which a pong has to come.
    pub ping_timeout: u64,
}

/// One session from its handshake to its end.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    /// When the next ping is due, or, while a pong is awaited, when the wait is over.
    due: u64,
    awaits_pong: bool,
    transport: Transport,
    upgrade: Upgrade,
    ended: Option<Ended>,
}

impl Session {
    /// A session that `transport` carries, with its handshake sent at `now`.
    pub fn open(transport: Transport, timing: Timing, now: u64) -> Self {
        Self {
            timing,
            due: now.saturating_add(timing.ping_interval),
            awaits_pong: false,
            transport,
            upgrade: Upgrade::None,
            ended: None,
        }
    }

    /// The transport that carries the session.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Whether a message that came over `via` belongs to the session now. What [`receive`](Self::receive)
    /// decides for text, this decides for binary messages.
    pub fn carries(&self, via: Transport) -> bool {
        self.ended.is_none() && self.transport == via
    }

    /// Why the session ended, if it has.
    pub fn ended(&self) -> Option<Ended> {
        self.ended
    }

    /// Takes note of a packet that came over `via` at `now`.
    ///
    /// An error is the session's end, and the answer to every packet after it. A pong counts as long as
    /// [`beat`](Self::beat) has not given up, so a server that was late itself does not blame its clients.
    pub fn receive<'a>(
        &mut self,
        via: Transport,
        packet: Packet<'a>,
        now: u64,
    ) -> Result<Received<'a>, Ended> {
        if let Some(ended) = self.ended {
            return Err(ended);
        }
        match (via, self.transport) {
            (Transport::Websocket, Transport::Polling) => return Ok(self.negotiate(packet)),
            (Transport::Polling, Transport::Websocket) => return Ok(Received::Rejected),
            _ => {}
        }
        match packet {
            Packet::Message(text) => Ok(Received::Message(text)),
            Packet::Pong(_) => {
                if self.awaits_pong {
                    self.awaits_pong = false;
                    self.due = now.saturating_add(self.timing.ping_interval);
                }
                Ok(Received::Nothing)
            }
            Packet::Noop => Ok(Received::Nothing),
            Packet::Close => Err(self.end(Ended::ByPeer)),
            Packet::Open(_) | Packet::Ping(_) | Packet::Upgrade => Err(self.end(Ended::BadPacket)),
        }
    }

    /// What the heartbeat needs at `now`. To be called again at the time it names, and after sending the ping
    /// it asks for.
    pub fn beat(&mut self, now: u64) -> Beat {
        if self.ended.is_some() {
            return Beat::Dead;
        }
        if now < self.due {
            return Beat::WaitUntil(self.due);
        }
        if self.awaits_pong {
            self.end(Ended::PingTimeout);
            return Beat::Dead;
        }
        self.awaits_pong = true;
        // A caller that is a moment late does not make the session live longer; one that was held up does not blame the client.
        let pinged = if now - self.due <= TOLERANCE { self.due } else { now };
        self.due = pinged.saturating_add(self.timing.ping_timeout);
        Beat::SendPing
    }

    /// Whether a WebSocket that names this session may try to take it over. If so, no other may until
    /// [`abandon_upgrade`](Self::abandon_upgrade).
    ///
    /// How long a client may take from here to its upgrade packet is the caller's to time: the reference
    /// server allows 10 s.
    pub fn begin_upgrade(&mut self) -> bool {
        let free = self.ended.is_none()
            && self.transport == Transport::Polling
            && matches!(self.upgrade, Upgrade::None);
        if free {
            self.upgrade = Upgrade::Begun;
        }
        free
    }

    /// Forgets the WebSocket that tried to take the session over, because it closed or took too long. No
    /// effect once it has.
    pub fn abandon_upgrade(&mut self) {
        self.upgrade = Upgrade::None;
    }

    /// Whether a waiting `GET`, and every `GET` until the upgrade is done or abandoned, is to be released
    /// with a noop.
    pub fn is_upgrading(&self) -> bool {
        self.ended.is_none()
            && self.transport == Transport::Polling
            && matches!(self.upgrade, Upgrade::Probed)
    }

    /// Ends the session from our side. No effect if it has ended already.
    pub fn close(&mut self) {
        self.end(Ended::ByServer);
    }

    /// Ends the session for a reason the caller learned of: a closed socket, a bad payload, a malformed
    /// packet of the layer above.
    ///
    /// Returns why the session ended, which is `why` unless it had ended before.
    pub fn end(&mut self, why: Ended) -> Ended {
        *self.ended.get_or_insert(why)
    }

    /// Judges a packet of the WebSocket that wants to take over from polling.
    fn negotiate<'a>(&mut self, packet: Packet<'a>) -> Received<'a> {
        match (packet, self.upgrade) {
            (Packet::Ping("probe"), _) => {
                self.upgrade = Upgrade::Probed;
                Received::Probed
            }
            (Packet::Upgrade, Upgrade::Probed) => {
                self.upgrade = Upgrade::None;
                self.transport = Transport::Websocket;
                Received::Upgraded
            }
            _ => {
                self.upgrade = Upgrade::None;
                Received::Rejected
            }
        }
    }
}

/// What a packet means for whoever owns the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Nothing to do.
    Nothing,
    /// A message for the layer above.
    Message(&'a str),
    /// Answer `3probe` on the WebSocket, and release a waiting `GET` with a noop.
    Probed,
    /// The WebSocket carries the session now: what was waiting for a `GET` goes there.
    Upgraded,
    /// The packet came over a transport that does not carry the session: answer 400, or close that WebSocket.
    /// The session goes on where it was.
    Rejected,
}

/// What the heartbeat needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Nothing before this time.
    WaitUntil(u64),
    /// A ping packet to be sent; then ask again.
    SendPing,
    /// The session is over: the peer did not answer, or it had ended before.
    Dead,
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.reason())]
pub enum Ended {
    /// The client sent a close packet.
    ByPeer,
    /// The client sent what no client may send.
    BadPacket,
    /// No pong came in time.
    PingTimeout,
    /// The WebSocket closed, or the client gave up a request it was waiting on.
    TransportClosed,
    /// The transport failed or was misused: a socket error, two `GET`s at a time.
    TransportError,
    /// [`Session::close`] was called.
    ByServer,
}

impl Ended {
    /// The reason as Socket.IO servers name it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ByPeer | Self::TransportClosed => "transport close",
            Self::TransportError => "transport error",
            Self::BadPacket => "parse error",
            Self::PingTimeout => "ping timeout",
            Self::ByServer => "forced close",
        }
    }
}

/// How far a WebSocket has come that wants to take over.
#[derive(Clone, Copy, Debug)]
enum Upgrade {
    None,
    Begun,
    Probed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Polling, Websocket};

    const TIMING: Timing = Timing { ping_interval: 300, ping_timeout: 200 };

    fn session(transport: Transport) -> Session {
        Session::open(transport, TIMING, 1_000)
    }

    #[test]
    fn a_session_is_small() {
        assert!(size_of::<Session>() <= 64, "{}", size_of::<Session>());
    }

    #[test]
    fn pings_follow_pongs_at_the_interval() {
        let mut session = session(Websocket);
        let mut now = 1_000;
        for _ in 0..3 {
            assert_eq!(session.beat(now), Beat::WaitUntil(now + 300));
            now += 300;
            assert_eq!(session.beat(now), Beat::SendPing);
            assert_eq!(session.beat(now), Beat::WaitUntil(now + 200));
            now += 199;
            assert_eq!(session.receive(Websocket, Packet::Pong(""), now), Ok(Received::Nothing));
        }
    }

    #[test]
    fn a_peer_that_does_not_answer_is_dead_at_the_timeout() {
        let mut session = session(Polling);
        assert_eq!(session.beat(1_300), Beat::SendPing);
        assert_eq!(session.beat(1_499), Beat::WaitUntil(1_500));
        assert_eq!(session.beat(1_500), Beat::Dead);
        assert_eq!(session.ended().map(Ended::reason), Some("ping timeout"));
        assert_eq!(session.receive(Polling, Packet::Pong(""), 1_501), Err(Ended::PingTimeout));
    }

    #[test]
    fn messages_do_not_stand_in_for_a_pong() {
        let mut session = session(Websocket);
        assert_eq!(session.beat(1_300), Beat::SendPing);
        assert_eq!(session.receive(Websocket, Packet::Message("hi"), 1_400), Ok(Received::Message("hi")));
        assert_eq!(session.beat(1_500), Beat::Dead);
    }

    #[test]
    fn a_pong_nobody_asked_for_does_not_put_off_the_next_ping() {
        let mut session = session(Websocket);
        assert_eq!(session.receive(Websocket, Packet::Pong(""), 1_299), Ok(Received::Nothing));
        assert_eq!(session.beat(1_300), Beat::SendPing);
    }

    #[test]
    fn a_close_packet_ends_the_session_for_good() {
        let mut session = session(Polling);
        assert_eq!(session.receive(Polling, Packet::Close, 0), Err(Ended::ByPeer));
        assert_eq!(session.receive(Polling, Packet::Message("late"), 0), Err(Ended::ByPeer));
        session.close();
        assert_eq!(session.ended(), Some(Ended::ByPeer));
        assert_eq!(session.beat(0), Beat::Dead);
    }

    #[test]
    fn the_first_reason_to_end_stays() {
        let mut session = session(Websocket);
        assert_eq!(session.end(Ended::TransportError), Ended::TransportError);
        assert_eq!(session.end(Ended::TransportClosed), Ended::TransportError);
        assert_eq!(session.ended().map(Ended::reason), Some("transport error"));
        assert!(!session.carries(Websocket) && !session.begin_upgrade());
    }

    #[test]
    fn packets_that_only_servers_send_end_the_session() {
        for packet in [Packet::Open("{}"), Packet::Ping(""), Packet::Ping("probe"), Packet::Upgrade] {
            for transport in [Polling, Websocket] {
                assert_eq!(session(transport).receive(transport, packet, 0), Err(Ended::BadPacket));
            }
        }
    }

    #[test]
    fn probe_and_upgrade_move_the_session_to_the_websocket() {
        let mut session = session(Polling);
        assert!(session.begin_upgrade());
        assert!(!session.is_upgrading());
        assert_eq!(session.receive(Websocket, Packet::Ping("probe"), 0), Ok(Received::Probed));
        assert!(session.is_upgrading());
        assert_eq!(
            session.receive(Polling, Packet::Message("still here"), 0),
            Ok(Received::Message("still here"))
        );
        assert!(session.carries(Polling) && !session.carries(Websocket));
        assert_eq!(session.receive(Websocket, Packet::Upgrade, 0), Ok(Received::Upgraded));
        assert_eq!(session.transport(), Websocket);
        assert!(!session.is_upgrading());
        assert_eq!(session.receive(Websocket, Packet::Message("hello"), 0), Ok(Received::Message("hello")));
        assert_eq!(session.receive(Polling, Packet::Message("late"), 0), Ok(Received::Rejected));
        assert_eq!(session.ended(), None);
    }

    #[test]
    fn a_pong_awaited_over_polling_may_come_over_the_websocket() {
        let mut session = session(Polling);
        assert_eq!(session.beat(1_300), Beat::SendPing);
        session.receive(Websocket, Packet::Ping("probe"), 1_310).unwrap();
        session.receive(Websocket, Packet::Upgrade, 1_320).unwrap();
        assert_eq!(session.receive(Websocket, Packet::Pong(""), 1_330), Ok(Received::Nothing));
        assert_eq!(session.beat(1_500), Beat::WaitUntil(1_630));
    }

    #[test]
    fn a_websocket_that_breaks_the_rules_of_the_upgrade_harms_only_itself() {
        for packet in
            [Packet::Upgrade, Packet::Message("early"), Packet::Ping("x"), Packet::Close, Packet::Noop]
        {
            let mut session = session(Polling);
            assert!(session.begin_upgrade());
            assert_eq!(session.receive(Websocket, packet, 0), Ok(Received::Rejected));
            assert_eq!((session.transport(), session.ended()), (Polling, None));
            assert!(session.begin_upgrade(), "the next one may try");
        }
    }

    #[test]
    fn one_websocket_at_a_time_may_try_to_take_over() {
        let mut session = session(Polling);
        assert!(session.begin_upgrade());
        assert!(!session.begin_upgrade());
        session.abandon_upgrade();
        assert!(session.begin_upgrade());
        session.receive(Websocket, Packet::Ping("probe"), 0).unwrap();
        assert!(!session.begin_upgrade());
        session.receive(Websocket, Packet::Upgrade, 0).unwrap();
        assert!(!session.begin_upgrade());
        session.abandon_upgrade();
        assert_eq!(session.transport(), Websocket);
    }

    #[test]
    fn times_at_the_end_of_the_clock_do_not_overflow() {
        let mut session = Session::open(Polling, TIMING, u64::MAX);
        assert_eq!(session.beat(u64::MAX), Beat::SendPing);
        assert_eq!(session.beat(u64::MAX), Beat::Dead);
    }
}

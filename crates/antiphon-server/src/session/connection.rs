//! What is kept for one Engine.IO session, how it is written to, and when it ends.
//!
//! There is no task per connection for writing and no timer: whoever has something to say puts a frame into the outbox and
//! marks the connection dirty; the core's turn writes it. Only a connection that the kernel would not take more from has a
//! task of its own, until it is empty again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::event::{Delivery, Envelope};
use antiphon_wire::engine::{self, Beat, Ended, Transport};
use antiphon_wire::socket::{Decoder, Encoded, Incoming};
use antiphon_wire::websocket::close_into;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::Socket;
use crate::cores::Core;
use crate::hub::{Full, Outbox};
use crate::mount::{Mount, VoiceId};
use crate::transport::Stream;
use crate::transport::polling::Answer;
use crate::wheel::Key;

/// Packets that may wait to be processed before a client is told that it sends too fast.
const INBOX: usize = 4_096;

/// An Engine.IO session.
pub(crate) struct Connection {
    key: Key,
    pub(crate) mount: Arc<Mount>,
    /// The session id, while polling requests may name it.
    sid: RefCell<Option<Box<str>>>,
    pub(crate) engine: RefCell<engine::Session>,
    pub(crate) decoder: RefCell<Decoder>,
    pub(crate) sockets: RefCell<SmallVec<[Rc<Socket>; 1]>>,
    link: RefCell<Link>,
    outbox: RefCell<Outbox>,
    inbox: RefCell<VecDeque<Incoming>>,
    state: Cell<State>,
    /// Until when there must be a socket, in milliseconds of the core; `u64::MAX` while there is one.
    connect_by: Cell<u64>,
    /// Until when the attachments of the packet at hand must have come.
    attachments_by: Cell<u64>,
    /// When the wheel looks at this connection next.
    scheduled: Cell<u64>,
}

#[derive(Clone, Copy, Default)]
struct State {
    closed: bool,
    dirty: bool,
    blocked: bool,
    overflowed: bool,
    processing: bool,
}

/// What carries the session's bytes.
pub(crate) enum Link {
    /// A WebSocket.
    Websocket(Rc<Stream>),
    /// Polling, and perhaps a WebSocket that wants to take over.
    Polling {
        /// The GET that waits for something to be said.
        waiting: Option<oneshot::Sender<Answer>>,
        /// The WebSocket, and until when it must have taken over.
        probing: Option<(Rc<Stream>, u64)>,
    },
    /// Nothing: it is over.
    Closed,
}

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
    /// This server stops; the client is to come back.
    Draining,
}

impl Closing {
    /// The WebSocket close code and reason (RFC 6455, section 7.4).
    fn frame(self) -> (u16, &'static str) {
        match self {
            Self::Peer => (1000, ""),
            Self::PingTimeout => (1000, "ping timeout"),
            Self::ConnectTimeout => (1008, "no CONNECT in time"),
            Self::Malformed(why) => (1008, why),
            Self::Violation(code, why) => (code, why),
            Self::TooLarge => (1009, "message too large"),
            Self::TooSlow => (1008, "too slow: reconnect and read faster"),
            Self::TooFast => (1008, "too many packets at once"),
            Self::Draining => (1001, "server stops: reconnect"),
        }
    }

    /// Whether it makes sense to say goodbye.
    fn says_goodbye(self) -> bool {
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

impl Connection {
    /// Opens a session over `link` and has the handshake packet written.
    pub(crate) fn open(core: &Rc<Core>, mount: Arc<Mount>, sid: &str, link: Link) -> Rc<Self> {
        let now = core.now();
        let transport = match link {
            Link::Polling { .. } => Transport::Polling,
            Link::Websocket(_) | Link::Closed => Transport::Websocket,
        };
        let mut connections = core.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer connections than 2^32");
        let connection = Rc::new(Self {
            key: Key { slot, generation: core.next_generation() },
            sid: RefCell::new((transport == Transport::Polling).then(|| sid.into())),
            engine: RefCell::new(engine::Session::open(transport, mount.timing, now)),
            decoder: RefCell::default(),
            sockets: RefCell::default(),
            link: RefCell::new(link),
            outbox: RefCell::default(),
            inbox: RefCell::default(),
            state: Cell::default(),
            connect_by: Cell::new(if mount.serves_sockets() {
                now + mount.connect_timeout
            } else {
                u64::MAX
            }),
            attachments_by: Cell::new(u64::MAX),
            scheduled: Cell::new(u64::MAX),
            mount,
        });
        entry.insert(connection.clone());
        drop(connections);
        core.shared.count_connection();
        let upgrades: &[&str] = if transport == Transport::Polling { &["websocket"] } else { &[] };
        let handshake = engine::Handshake {
            sid,
            upgrades,
            ping_interval: connection.mount.timing.ping_interval,
            ping_timeout: connection.mount.timing.ping_timeout,
            max_payload: connection.mount.limits.payload,
        };
        connection.push(core, Encoded::engine(&handshake.packet()));
        connection.look(core, now);
        connection
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.get().closed
    }

    fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.get();
        change(&mut state);
        self.state.set(state);
    }

    // ---- writing ----

    /// Says something that must arrive.
    pub(crate) fn push(self: &Rc<Self>, core: &Core, frame: Encoded) {
        let pushed = self.outbox.borrow_mut().push(frame, core.shared.limits.outbox);
        self.pushed(core, pushed.is_err());
    }

    /// Says an event's frame, as its delivery allows.
    pub(crate) fn push_event(
        self: &Rc<Self>,
        core: &Core,
        frame: &Encoded,
        delivery: Delivery,
        voice: VoiceId,
        envelope: &Arc<Envelope>,
    ) {
        let pushed = self.outbox.borrow_mut().push_event(
            frame,
            (delivery, voice, &envelope.event),
            core.shared.limits.outbox,
            |event| core.render(voice, event).into_iter().next(),
        );
        match pushed {
            Ok(crate::hub::Queued::Whole) => self.pushed(core, false),
            Ok(crate::hub::Queued::Joined) => core.shared.counters.joined(),
            Ok(crate::hub::Queued::Dropped) => core.shared.counters.dropped(),
            Err(Full) => self.pushed(core, true),
        }
    }

    fn pushed(self: &Rc<Self>, core: &Core, overflowed: bool) {
        let mut state = self.state.get();
        state.overflowed |= overflowed;
        let mark = !state.dirty && !state.closed;
        state.dirty |= mark;
        self.state.set(state);
        if mark {
            core.mark_dirty(self.clone());
        }
    }

    /// Writes what waits, as far as the transport takes it now.
    pub(crate) fn flush(self: &Rc<Self>, core: &Rc<Core>) {
        self.update(|state| state.dirty = false);
        let state = self.state.get();
        if state.closed {
            return;
        }
        if state.overflowed {
            return self.close(core, Closing::TooSlow);
        }
        if state.blocked {
            return;
        }
        match self.write() {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.update(|state| state.blocked = true);
                tokio::task::spawn_local(self.clone().unblock(core.clone()));
            }
            Err(_) => self.close(core, Closing::Peer),
        }
    }

    fn write(&self) -> io::Result<()> {
        let mut link = self.link.borrow_mut();
        match &mut *link {
            Link::Websocket(stream) => {
                self.outbox.borrow_mut().write_with(|slices| stream.try_write(slices))?;
                stream.try_flush()
            }
            Link::Polling { waiting, .. } => {
                let mut outbox = self.outbox.borrow_mut();
                if outbox.is_empty() {
                    return Ok(());
                }
                let Some(reply) = waiting.take() else { return Ok(()) };
                reply
                    .send(Answer::Packets(outbox.take_polling_body()))
                    .map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
            Link::Closed => Ok(()),
        }
    }

    /// Waits until the kernel takes more, as often as it needs; gives up when one wait is too long.
    async fn unblock(self: Rc<Self>, core: Rc<Core>) {
        let stall = Duration::from_millis(core.shared.limits.write_stall);
        loop {
            let Link::Websocket(stream) = &*self.link.borrow() else { return };
            let stream = stream.clone();
            let writable = tokio::time::timeout(stall, stream.writable());
            if writable.await.is_err() {
                return self.close(&core, Closing::TooSlow);
            }
            if self.is_closed() {
                return;
            }
            match self.write() {
                Ok(()) => return self.update(|state| state.blocked = false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.close(&core, Closing::Peer),
            }
        }
    }

    // ---- reading ----

    /// Takes a text packet that came over `via`. Returns what a WebSocket must be answered with at once.
    pub(crate) fn receive(
        self: &Rc<Self>,
        core: &Rc<Core>,
        via: Transport,
        packet: engine::Packet<'_>,
    ) -> Option<Step> {
        let received = self.engine.borrow_mut().receive(via, packet, core.now());
        match received {
            Ok(engine::Received::Nothing) => {}
            Ok(engine::Received::Message(text)) => {
                if !self.mount.serves_sockets() {
                    self.push(core, Encoded::engine(&format!("4{text}")));
                    return None;
                }
                let decoded = self.decoder.borrow_mut().text(text, &self.mount.limits);
                self.take_in(core, decoded);
            }
            Ok(engine::Received::Probed) => return Some(Step::AnswerProbe),
            Ok(engine::Received::Upgraded) => return Some(Step::Upgrade),
            Ok(engine::Received::Rejected) => return Some(Step::Reject),
            Err(ended) => self.close(core, ended.into()),
        }
        None
    }

    /// Takes a binary message that came over `via`.
    pub(crate) fn receive_binary(self: &Rc<Self>, core: &Rc<Core>, via: Transport, bytes: &[u8]) {
        if !self.engine.borrow().carries(via) {
            return;
        }
        if !self.mount.serves_sockets() {
            return self.push(core, Encoded::engine_binary(bytes));
        }
        let decoded = self.decoder.borrow_mut().binary(bytes, &self.mount.limits);
        self.take_in(core, decoded);
    }

    fn take_in(
        self: &Rc<Self>,
        core: &Rc<Core>,
        decoded: Result<Option<Incoming>, antiphon_wire::socket::Malformed>,
    ) {
        match decoded {
            Ok(Some(incoming)) => {
                self.attachments_by.set(u64::MAX);
                let mut inbox = self.inbox.borrow_mut();
                if inbox.len() >= INBOX {
                    drop(inbox);
                    return self.close(core, Closing::TooFast);
                }
                inbox.push_back(incoming);
            }
            Ok(None) if self.attachments_by.get() == u64::MAX => {
                let by = core.now() + self.mount.connect_timeout;
                self.attachments_by.set(by);
                core.look_again(self, by);
            }
            Ok(None) => {}
            Err(malformed) => self.close(core, Closing::Malformed(malformed.reason)),
        }
    }

    /// Whether somebody should call `process` now: there is something to do and nobody is at it.
    pub(crate) fn begin_processing(&self) -> bool {
        let state = self.state.get();
        if state.processing || state.closed || self.inbox.borrow().is_empty() {
            return false;
        }
        self.update(|state| state.processing = true);
        true
    }

    pub(crate) fn end_processing(&self) {
        self.update(|state| state.processing = false);
    }

    /// The next packet to process. An inbox that is empty gives its memory back.
    pub(crate) fn next_packet(&self) -> Option<Incoming> {
        let mut inbox = self.inbox.borrow_mut();
        let next = inbox.pop_front();
        if inbox.is_empty() {
            *inbox = VecDeque::new();
        }
        next
    }

    // ---- time ----

    /// Notes that the wheel looks at `at`. `false` when it looks earlier anyway.
    pub(crate) fn schedule(&self, at: u64) -> bool {
        let sooner = at < self.scheduled.get();
        if sooner {
            self.scheduled.set(at);
        }
        sooner
    }

    /// Whether the wheel's entry for `at` is the one that counts.
    pub(crate) fn is_scheduled(&self, at: u64) -> bool {
        self.scheduled.get() == at
    }

    /// Does what is due at `now`, and has the wheel come back for what is due next.
    pub(crate) fn look(self: &Rc<Self>, core: &Rc<Core>, now: u64) {
        self.scheduled.set(u64::MAX);
        if self.is_closed() {
            return;
        }
        if now >= self.connect_by.get() {
            return self.close(core, Closing::ConnectTimeout);
        }
        if now >= self.attachments_by.get() {
            return self.close(core, Closing::Malformed("attachments did not come in time"));
        }
        let probe_by = self.probe_deadline(now);
        let beat_by = loop {
            match { self.engine.borrow_mut().beat(now) } {
                Beat::SendPing => self.push(core, Encoded::engine("2")),
                Beat::WaitUntil(at) => break at,
                Beat::Dead => return self.close(core, Closing::PingTimeout),
            }
        };
        let next = beat_by.min(self.connect_by.get()).min(self.attachments_by.get()).min(probe_by);
        core.look_again(self, next);
    }

    /// Ends a probing WebSocket that took too long; returns when the one that is there must be done.
    fn probe_deadline(&self, now: u64) -> u64 {
        let mut link = self.link.borrow_mut();
        let Link::Polling { probing, .. } = &mut *link else { return u64::MAX };
        match probing {
            Some((stream, by)) if now >= *by => {
                stream.shutdown();
                *probing = None;
                self.engine.borrow_mut().abandon_upgrade();
                u64::MAX
            }
            Some((_, by)) => *by,
            None => u64::MAX,
        }
    }

    /// From now on a socket must appear within the connect timeout again, or none needs to.
    pub(crate) fn expect_socket(&self, core: &Core) {
        if self.sockets.borrow().is_empty() {
            let by = core.now() + self.mount.connect_timeout;
            self.connect_by.set(by);
            core.look_again(self, by);
        } else {
            self.connect_by.set(u64::MAX);
        }
    }

    // ---- transport ----

    /// What carries the session now, to be changed by the transport.
    pub(crate) fn link(&self) -> std::cell::RefMut<'_, Link> {
        self.link.borrow_mut()
    }

    /// `stream` carries the session from now on.
    pub(crate) fn carry_over(self: &Rc<Self>, core: &Rc<Core>, stream: Rc<Stream>) {
        let before = self.link.replace(Link::Websocket(stream));
        if let Link::Polling { waiting: Some(reply), .. } = before {
            // A GET that came between the probe and now is released, as those before it were.
            let _ = reply.send(Answer::Packets(b"6".to_vec()));
        }
        // The session id stays known until the end: whoever still uses it for polling, or for a second WebSocket, is refused by the
        // session itself, as clients expect.
        self.flush(core);
    }

    /// Whether `stream` is what carries the session.
    pub(crate) fn carries(&self, stream: &Rc<Stream>) -> bool {
        matches!(&*self.link.borrow(), Link::Websocket(carrying) if Rc::ptr_eq(carrying, stream))
    }

    /// Forgets a WebSocket that wanted to take over, if it is `stream`.
    pub(crate) fn forget_probe(&self, stream: &Rc<Stream>) {
        if let Link::Polling { probing, .. } = &mut *self.link.borrow_mut()
            && probing.as_ref().is_some_and(|(probe, _)| Rc::ptr_eq(probe, stream))
        {
            *probing = None;
            self.engine.borrow_mut().abandon_upgrade();
        }
    }

    fn forget_sid(&self, core: &Core) {
        if let Some(sid) = self.sid.take() {
            core.shared.sessions.pin().remove(&sid);
        }
    }

    /// Ends the session. Whoever waits is answered, rooms are left at once, the core is told.
    pub(crate) fn close(self: &Rc<Self>, core: &Rc<Core>, why: Closing) {
        if self.is_closed() {
            return;
        }
        self.update(|state| state.closed = true);
        tracing::debug!(connection = self.key.slot, ?why, "closed");
        core.shared.counters.closed(why);
        self.engine.borrow_mut().close();
        match self.link.replace(Link::Closed) {
            Link::Websocket(stream) => self.say_goodbye(&stream, why),
            Link::Polling { waiting, probing } => {
                if let Some(reply) = waiting {
                    let _ = reply.send(match why {
                        Closing::Peer => Answer::Packets(b"6".to_vec()),
                        Closing::Draining => Answer::Unavailable,
                        _ => Answer::Packets(b"1".to_vec()),
                    });
                }
                if let Some((stream, _)) = probing {
                    stream.shutdown();
                }
            }
            Link::Closed => {}
        }
        self.forget_sid(core);
        self.outbox.take();
        self.inbox.take();
        core.connections.borrow_mut().try_remove(self.key.slot as usize);
        core.shared.uncount_connection();
        for socket in std::mem::take(&mut *self.sockets.borrow_mut()) {
            socket.part(core);
        }
    }

    fn say_goodbye(&self, stream: &Stream, why: Closing) {
        let state = self.state.get();
        if !why.says_goodbye() || state.blocked || self.outbox.borrow().is_mid_frame() {
            return stream.shutdown();
        }
        // What was said before goes out first: an error event, say, that explains the goodbye.
        let written = self.outbox.borrow_mut().write_with(|slices| stream.try_write(slices));
        if written.is_ok() {
            let mut frame = Vec::new();
            let (code, reason) = why.frame();
            close_into(code, reason, &mut frame);
            let _ = stream.try_write(&[io::IoSlice::new(&frame)]);
            let _ = stream.try_flush();
        }
        stream.finish();
    }
}

/// What a packet over a WebSocket asks its reader to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Answer the probe.
    AnswerProbe,
    /// The WebSocket carries the session now.
    Upgrade,
    /// It has no business here.
    Reject,
}

//! What is kept for one Engine.IO session, what carries it, and how it ends.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::ids::ConnectionId;
use antiphon_wire::Limits;
use antiphon_wire::engine::{self, Transport};
use antiphon_wire::socket::{Decoder, Encoded, Incoming};
use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::{Notify, oneshot};

use super::{Closing, Dismissal, Socket};
use crate::cores::Core;
use crate::hub::Outbox;
use crate::mount::Mount;
use crate::telemetry::Tally;
use crate::transport::Stream;
use crate::transport::crowd::{Entry, Place};
use crate::transport::polling::Answer;
use crate::transport::stamp::Stamps;
use crate::wheel::Key;

/// An Engine.IO session.
pub(crate) struct Connection {
    pub(super) key: Key,
    pub(crate) mount: Arc<Mount>,
    /// The session id, while polling requests may name it.
    sid: RefCell<Option<Box<str>>>,
    pub(crate) engine: RefCell<engine::Session>,
    pub(crate) decoder: RefCell<Decoder>,
    pub(crate) sockets: RefCell<SmallVec<[Rc<Socket>; 1]>>,
    pub(super) link: RefCell<Link>,
    pub(super) outbox: RefCell<Outbox>,
    pub(super) inbox: RefCell<VecDeque<Incoming>>,
    /// Bytes that wait in the inbox.
    pub(super) queued: Cell<usize>,
    pub(super) state: Cell<State>,
    /// Until when there must be a socket, in milliseconds of the core; `u64::MAX` while there is one.
    pub(super) connect_by: Cell<u64>,
    /// Until when the attachments of the packet at hand must have come.
    pub(super) attachments_by: Cell<u64>,
    /// When the wheel looks at this connection next.
    pub(super) scheduled: Cell<u64>,
    /// When its allowance of events is full again, see [`Pace`](crate::pace::Pace).
    pub(super) events: Cell<u64>,
    /// The second in which a minute with unknown events began, and how many there were since.
    pub(super) unknown: Cell<(u32, u32)>,
    /// Told when everything was written, while somebody waits for that.
    pub(super) written: RefCell<Option<Rc<Notify>>>,
    /// What it counts for with its address.
    place: Option<Place>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct State {
    pub(super) closed: bool,
    pub(super) dirty: bool,
    pub(super) blocked: bool,
    pub(super) overflowed: bool,
    /// Something may be kept from a socket of it.
    pub(super) withholding: bool,
    /// Whether the client is there is in doubt until it says something.
    pub(super) doubted: bool,
    pub(super) processing: bool,
    pub(super) leaving: bool,
    /// A socket of it was sent away, which the client may not know yet.
    pub(super) dismissed: bool,
    /// It ends as soon as the client has come for what it is told.
    pub(super) finishing: Option<Dismissal>,
    /// The server stops: it ends as soon as the client has what it asked for before.
    pub(super) retiring: bool,
    /// A CONNECT was accepted.
    pub(super) greeted: bool,
}

/// What carries the session's bytes.
pub(crate) enum Link {
    /// A WebSocket.
    Websocket(Rc<Stream>),
    /// Polling, and perhaps a WebSocket that wants to take over.
    Polling {
        /// The GET that waits for something to be said.
        waiting: Option<oneshot::Sender<Answer>>,
        /// By which the next GET is told from a repeat of the last.
        stamps: Stamps,
        /// The WebSocket, and until when it must have taken over.
        probing: Option<(Rc<Stream>, u64)>,
        /// A POST for which there is no room yet.
        held: Option<Box<(Bytes, oneshot::Sender<Answer>)>>,
    },
    /// Nothing: it is over.
    Closed,
}

impl Connection {
    /// Opens a session over `link` and has the handshake packet written.
    pub(crate) fn open(
        core: &Rc<Core>,
        mount: Arc<Mount>,
        sid: &str,
        link: Link,
        admission: Entry,
    ) -> Rc<Self> {
        let now = core.now();
        let transport = match link {
            Link::Polling { .. } => Transport::Polling,
            Link::Websocket(_) | Link::Closed => Transport::Websocket,
        };
        let mut connections = core.connections.borrow_mut();
        let entry = connections.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer connections than 2^32");
        let key = Key { slot, generation: core.next_generation() };
        let sid_of_polling = (transport == Transport::Polling).then(|| sid.into());
        let connection =
            Rc::new(Self::new(key, (transport, link), sid_of_polling, mount, admission.keep(), now));
        entry.insert(connection.clone());
        drop(connections);
        core.shared.count_connection();
        tracing::debug!(connection = %connection.name(core), ?transport, path = connection.mount.path, "opened");
        core.count(|tally| tally.opened(connection.mount.number, transport));
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

    /// One that was lost before this process began: nobody is there, and it counts for nobody.
    pub(super) fn lost(core: &Core, mount: Arc<Mount>) -> Rc<Self> {
        // Closed ones have no place, and are in no list that knows them by their slot.
        let key = Key { slot: u32::MAX, generation: core.next_generation() };
        let connection = Self::new(key, (Transport::Websocket, Link::Closed), None, mount, None, core.now());
        connection.update(|state| state.closed = true);
        connection.engine.borrow_mut().close();
        Rc::new(connection)
    }

    fn new(
        key: Key,
        (transport, link): (Transport, Link),
        sid: Option<Box<str>>,
        mount: Arc<Mount>,
        place: Option<Place>,
        now: u64,
    ) -> Self {
        Self {
            key,
            sid: RefCell::new(sid),
            engine: RefCell::new(engine::Session::open(transport, mount.timing, now)),
            decoder: RefCell::default(),
            sockets: RefCell::default(),
            link: RefCell::new(link),
            outbox: RefCell::default(),
            inbox: RefCell::default(),
            queued: Cell::new(0),
            state: Cell::default(),
            connect_by: Cell::new(if mount.serves_sockets() {
                now + mount.connect_timeout
            } else {
                u64::MAX
            }),
            attachments_by: Cell::new(u64::MAX),
            scheduled: Cell::new(u64::MAX),
            events: Cell::new(0),
            unknown: Cell::new((0, 0)),
            written: RefCell::default(),
            place,
            mount,
        }
    }

    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// How large and how many what the client sends may be at this time.
    pub(crate) fn limits(&self) -> &Limits {
        if self.state.get().greeted { &self.mount.limits } else { &self.mount.greeting }
    }

    /// A CONNECT was accepted: the client may say more than who it is.
    pub(super) fn greet(&self) {
        self.update(|state| state.greeted = true);
        if let Some(sid) = &*self.sid.borrow()
            && let Some(known) = self.mount.sessions.pin().get(sid)
        {
            known.greet();
        }
    }

    /// How logs name it.
    pub(crate) fn name(&self, core: &Core) -> ConnectionId {
        ConnectionId { core: core.index, slot: self.key.slot, generation: self.key.generation }
    }

    /// Takes `socket` out, if it is there.
    pub(crate) fn take_out(&self, socket: &Rc<Socket>) -> bool {
        let mut sockets = self.sockets.borrow_mut();
        let before = sockets.len();
        sockets.retain(|other| !Rc::ptr_eq(other, socket));
        sockets.len() < before
    }

    /// Bytes that wait for its client.
    pub(crate) fn waiting_bytes(&self) -> usize {
        self.outbox.borrow().bytes()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.get().closed
    }

    /// Whether no socket may be let in over it any more.
    pub(crate) fn is_over(&self) -> bool {
        self.is_closed() || self.is_finishing()
    }

    /// Notes whether it is in doubt that the client is there.
    pub(crate) fn doubt(&self, doubted: bool) {
        self.update(|state| state.doubted = doubted);
    }

    /// Whether something may be kept from a socket of it, see [`Socket::hold`].
    pub(crate) fn withholds(&self) -> bool {
        self.state.get().withholding
    }

    /// Notes whether something may be kept from a socket of it.
    pub(crate) fn withhold(&self, withholding: bool) {
        self.update(|state| state.withholding = withholding);
    }

    /// Whether a socket of it may be resumed on another one.
    pub(crate) fn may_be_resumed(&self) -> bool {
        self.sockets.borrow().iter().any(|socket| socket.recovery.is_some())
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.get();
        change(&mut state);
        self.state.set(state);
    }

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
        core.count(Tally::upgraded);
        // The session id stays known until the end: whoever still uses it for polling, or for a second WebSocket, is refused by the
        // session itself, as clients expect.
        self.flush(core);
    }

    /// Whether `stream` is what carries the session.
    pub(crate) fn carries(&self, stream: &Rc<Stream>) -> bool {
        matches!(&*self.link.borrow(), Link::Websocket(carrying) if Rc::ptr_eq(carrying, stream))
    }

    /// Forgets a WebSocket that wanted to take over, if it is `stream`.
    pub(crate) fn forget_probe(self: &Rc<Self>, core: &Rc<Core>, stream: &Rc<Stream>) {
        let is_probe = match &mut *self.link.borrow_mut() {
            Link::Polling { probing, .. } => {
                probing.take_if(|(probe, _)| Rc::ptr_eq(probe, stream)).is_some()
            }
            Link::Websocket(_) | Link::Closed => false,
        };
        if is_probe {
            self.engine.borrow_mut().abandon_upgrade();
            self.close_if_retired(core);
        }
    }

    fn forget_sid(&self) {
        if let Some(sid) = self.sid.take() {
            self.mount.sessions.pin().remove(&sid);
        }
    }

    /// The client goes. What it sent before is still processed; then the session ends.
    pub(crate) fn leave(self: &Rc<Self>, core: &Rc<Core>) {
        if self.inbox.borrow().is_empty() && !self.state.get().processing {
            self.close(core, Closing::Peer);
        } else {
            self.update(|state| state.leaving = true);
            self.note_written();
        }
    }

    /// The server stops. What the client asked for before is still done and answered, what it says from now on is not taken any
    /// more, and then its transport is closed. The core's [`retired`](Core::retired) bell rings at the end.
    pub(crate) fn retire(self: &Rc<Self>, core: &Rc<Core>) {
        self.update(|state| state.retiring = true);
        self.close_if_retired(core);
    }

    /// Whether what the client says is not taken any more, because the server stops.
    pub(super) fn is_retiring(&self) -> bool {
        self.state.get().retiring
    }

    /// Ends a connection that [retires](Self::retire) and owes its client nothing any more.
    pub(super) fn close_if_retired(self: &Rc<Self>, core: &Rc<Core>) {
        let state = self.state.get();
        if !state.retiring || state.processing || state.blocked || !self.inbox.borrow().is_empty() {
            return;
        }
        // A client that was told to pause its polling would not hear the end of it: it waits for the WebSocket, which says it.
        if self.engine.borrow().is_upgrading() {
            return;
        }
        // What waits for a WebSocket goes out with the goodbye; over polling it has to be fetched first.
        let is_polling = matches!(&*self.link.borrow(), Link::Polling { .. });
        if !is_polling || self.outbox.borrow().is_empty() {
            self.close(core, Closing::Draining);
        }
    }

    /// Whether a socket of it was sent away.
    pub(super) fn has_dismissed(&self) -> bool {
        self.state.get().dismissed
    }

    /// Whether its last socket was sent away and the client has yet to come for what it is told.
    pub(super) fn is_finishing(&self) -> bool {
        self.state.get().finishing.is_some()
    }

    /// Whether the client is gone and only what it left behind is still processed.
    pub(crate) fn is_leaving(&self) -> bool {
        self.state.get().leaving
    }

    /// Ends the session. Whoever waits is answered, rooms are left at once, the core is told.
    pub(crate) fn close(self: &Rc<Self>, core: &Rc<Core>, why: Closing) {
        if self.is_closed() {
            return;
        }
        self.update(|state| state.closed = true);
        if self.is_retiring() {
            core.retired.notify_one();
        }
        tracing::debug!(connection = %self.name(core), ?why, "closed");
        core.shared.counters.closed(why);
        core.count(|tally| tally.closed(why.name()));
        self.engine.borrow_mut().close();
        self.note_written();
        match self.link.replace(Link::Closed) {
            Link::Websocket(stream) => self.say_goodbye(core, &stream, why),
            Link::Polling { waiting, probing, .. } => {
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
        self.forget_sid();
        self.outbox.take();
        self.inbox.take();
        core.connections.borrow_mut().try_remove(self.key.slot as usize);
        core.shared.uncount_connection();
        if let Some(place) = self.place {
            core.shared.crowd.leave(place);
        }
        for socket in std::mem::take(&mut *self.sockets.borrow_mut()) {
            match why {
                Closing::Dismissed(_) => socket.part(core),
                _ => socket.lose(core),
            }
        }
    }
}

//! One runtime per core, and what lives on it.
//!
//! A connection belongs to one core for life; its socket, its session and the commands it carries run there. Between cores
//! go whole mailboxes ([`Mailbox`]), never single wake-ups.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::dialect::Out;
use antiphon_core::ids::ConnectionId;
use antiphon_core::ports::{ListenerId, Mark};
use antiphon_core::topic::Topic;
use slab::Slab;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::hub::{Heard, Mail, Mailbox, Rooms};
use crate::resume::{Ghosts, Numbers, Pages};
use crate::session::{Closing, Connection, Socket};
use crate::shared::Shared;
use crate::telemetry::context::RequestId;
use crate::telemetry::{Shape, Tally};
use crate::transport::polling;
use crate::wheel::Wheel;

/// Bytes that one read may bring. Shared by all connections of a core, so that an idle one keeps no buffer.
const SCRATCH: usize = 64 * 1024;

/// Letters that a core keeps room for between turns.
const KEPT_LETTERS: usize = 1_024;

/// How long a connection whose turn has come in a drain may take to answer what it was asked before.
const FINISH: Duration = Duration::from_secs(3);

/// A turn that takes longer is counted and logged.
const LONG_TURN: Duration = Duration::from_millis(50);

/// Everything that lives on one core.
pub(crate) struct Core {
    pub(crate) index: u16,
    pub(crate) shared: Arc<Shared>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) listener: ListenerId,
    pub(crate) connections: RefCell<Slab<Rc<Connection>>>,
    pub(crate) sockets: RefCell<Slab<Rc<Socket>>>,
    pub(crate) rooms: RefCell<Rooms>,
    pub(crate) scratch: RefCell<Box<[u8]>>,
    pub(crate) out: RefCell<Out>,
    pub(crate) heard: RefCell<Heard>,
    /// Rings when a connection has ended that was to end with the server.
    pub(crate) retired: Notify,
    /// See [`Core::await_turn`].
    accepting: Cell<u64>,
    /// The offsets of what is said on this core to those who may be resumed.
    pub(crate) numbers: Numbers,
    pub(crate) ghosts: Ghosts,
    /// Where it is written down what becomes of sessions here, if they are to outlive this process.
    pub(crate) pages: Option<Pages>,
    /// `None` when nothing is counted.
    pub(crate) tally: Option<Tally>,
    requests: Cell<u64>,
    wheel: RefCell<Wheel>,
    dirty: RefCell<Vec<Rc<Connection>>>,
    spare: RefCell<Vec<Rc<Connection>>>,
    letters: RefCell<Vec<Mail>>,
    generation: Cell<u32>,
    started: Instant,
}

thread_local! {
    static HERE: RefCell<Option<Rc<Core>>> = const { RefCell::new(None) };
}

impl Core {
    pub(crate) fn new(index: u16, shared: Arc<Shared>, counted: Option<Shape>) -> Rc<Self> {
        let mailbox = shared.mailboxes[usize::from(index)].clone();
        let listener = shared.app.ports().bus.attach(mailbox.clone());
        shared.app.ports().bus.listen(listener, &Topic::Nodes, Mark::NONE);
        let core = Rc::new(Self {
            index,
            numbers: Numbers::new(shared.run.name, index),
            ghosts: Ghosts::default(),
            pages: shared.run.book.as_ref().map(|book| book.pages(index)),
            shared,
            mailbox,
            listener,
            connections: RefCell::default(),
            sockets: RefCell::default(),
            rooms: RefCell::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            out: RefCell::default(),
            heard: RefCell::default(),
            retired: Notify::new(),
            accepting: Cell::new(0),
            tally: counted.map(Tally::new),
            requests: Cell::new(0),
            wheel: RefCell::default(),
            dirty: RefCell::default(),
            spare: RefCell::default(),
            letters: RefCell::default(),
            generation: Cell::new(0),
            started: Instant::now(),
        });
        HERE.with(|here| *here.borrow_mut() = Some(core.clone()));
        core
    }

    /// The core whose thread this is, if it is one.
    pub(crate) fn here() -> Option<Rc<Self>> {
        HERE.with(|here| here.borrow().clone())
    }

    /// Lets go of the core at the end of its thread.
    pub(crate) fn forget() {
        HERE.with(|here| here.borrow_mut().take());
    }

    /// Monotonic milliseconds since the core started.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until one more connection may be accepted. To be asked by the one core that accepts for all.
    pub(crate) async fn await_turn(&self) {
        loop {
            let mut full_at = self.accepting.get();
            let taken = self.shared.accepts.take(&mut full_at, self.now());
            self.accepting.set(full_at);
            match taken {
                Ok(()) => return,
                Err(wait) => tokio::time::sleep(Duration::from_millis(wait)).await,
            }
        }
    }

    /// A number that no other connection or socket of this core had lately.
    pub(crate) fn next_generation(&self) -> u32 {
        let next = self.generation.get().wrapping_add(1);
        self.generation.set(next);
        next
    }

    /// A name that no other request has.
    pub(crate) fn next_request(&self) -> RequestId {
        let next = self.requests.get() + 1;
        self.requests.set(next);
        RequestId::new(self.index, next)
    }

    /// The socket with this id, unless it is gone.
    pub(crate) fn socket(&self, id: ConnectionId) -> Option<Rc<Socket>> {
        let sockets = self.sockets.borrow();
        let socket = sockets.get(id.slot as usize)?;
        (socket.id() == id).then(|| socket.clone())
    }

    /// Has `connection` written out at the end of this turn.
    pub(crate) fn mark_dirty(&self, connection: Rc<Connection>) {
        let mut dirty = self.dirty.borrow_mut();
        if dirty.is_empty() {
            self.mailbox.wake();
        }
        dirty.push(connection);
    }

    /// Has `connection` looked at when `at` has come (milliseconds of [`Core::now`]).
    pub(crate) fn look_again(&self, connection: &Connection, at: u64) {
        if connection.schedule(at) {
            self.wheel.borrow_mut().insert(at, connection.key());
        }
    }

    /// Runs until told to stop: each turn takes what came in, hands it on, and writes everything that is to be written.
    pub(crate) async fn run(self: Rc<Self>) {
        let wheel = tokio::task::spawn_local(self.clone().turn_wheel());
        loop {
            self.mailbox.woken().await;
            if self.turn() == Turn::Last {
                break;
            }
        }
        wheel.abort();
        self.mailbox.close();
        self.write_down();
    }

    fn turn(self: &Rc<Self>) -> Turn {
        let began = Instant::now();
        let mut turn = Turn::More;
        let mut letters = self.letters.take();
        self.mailbox.take_into(&mut letters);
        let taken = letters.len();
        for mail in letters.drain(..) {
            match mail {
                Mail::Event(envelope, mark) => self.deliver(&envelope, mark),
                Mail::Logged(envelope, mark, letter) => self.deliver_letter(letter, &envelope, mark),
                Mail::Join(connection, topic) => {
                    self.join(connection, &topic);
                }
                Mail::Leave(connection, topic) => self.leave(connection, &topic),
                Mail::Accepted(stream, visit, port) => port.serve_std(self, stream, visit),
                Mail::Polling(request) => polling::handle(self, request),
                Mail::Upgrade(upgrade) => polling::upgrade(self, upgrade),
                Mail::Evict(principal, answer) => self.evict(principal, answer),
                Mail::Claim(claim) => self.answer_claim(*claim),
                Mail::HandOver(order) => self.hand_over(*order),
                Mail::MakeRoom(ghost) => self.make_room(ghost),
                Mail::Listeners(topic, answer) => {
                    // Whoever asked may have gone.
                    let _ = answer.send(self.listeners(&topic));
                }
                Mail::Count(reply) => {
                    // Whoever asked may have stopped waiting.
                    if let Some(sheet) = self.sheet() {
                        let _ = reply.send(sheet);
                    }
                }
                Mail::Drain(over) => {
                    tokio::task::spawn_local(self.clone().drain(over));
                }
                Mail::Stop => turn = Turn::Last,
            }
        }
        // A flood's worth of memory is not kept for quiet times.
        letters.shrink_to(KEPT_LETTERS);
        *self.letters.borrow_mut() = letters;
        self.flush();
        self.write_down();
        let took = began.elapsed();
        self.count(|tally| tally.turn(taken, took));
        if took > LONG_TURN {
            // Everybody on this core waited meanwhile.
            self.shared.counters.long_turn();
            tracing::warn!(core = self.index, milliseconds = took.as_millis() as u64, "a turn took long");
        }
        turn
    }

    fn flush(self: &Rc<Self>) {
        // The two lists change places, so that neither is allocated again and writing may mark connections dirty.
        let mut batch = self.spare.take();
        std::mem::swap(&mut batch, &mut *self.dirty.borrow_mut());
        for connection in batch.drain(..) {
            connection.flush(self);
        }
        *self.spare.borrow_mut() = batch;
    }

    async fn turn_wheel(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(Wheel::TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut due = Vec::new();
        loop {
            ticks.tick().await;
            let now = self.now();
            self.wheel.borrow_mut().advance(now, &mut due);
            for (at, key) in due.drain(..) {
                let connection = self.connections.borrow().get(key.slot as usize).cloned();
                if let Some(connection) = connection.filter(|c| c.key() == key && c.fired(at)) {
                    connection.look(&self, now);
                }
            }
            self.let_ghosts_go();
            self.turn_pages_over();
            self.write_down();
        }
    }

    /// Closes every connection's transport, spread over `over`, so that clients come back one after the other. Each has what it
    /// was asked for before answered first, for which there is [`FINISH`] after the last one's turn.
    async fn drain(self: Rc<Self>, over: Duration) {
        let all: Vec<_> = self.connections.borrow().iter().map(|(_, c)| c.clone()).collect();
        let pause = over.checked_div(u32::try_from(all.len()).unwrap_or(u32::MAX)).unwrap_or_default();
        let mut at = Instant::now();
        for connection in all {
            // The first goes at once, and nobody waits after the last.
            tokio::select! {
                () = tokio::time::sleep_until(at) => {}
                () = self.shared.hurried() => {}
            }
            connection.retire(&self);
            at += pause;
        }
        let nobody_left = async {
            while !self.connections.borrow().is_empty() {
                self.retired.notified().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(FINISH, nobody_left) => {}
            () = self.shared.hurried() => {}
        }
        let late: Vec<_> = self.connections.borrow().iter().map(|(_, c)| c.clone()).collect();
        if !late.is_empty() {
            tracing::info!(
                core = self.index,
                connections = late.len(),
                "closed before they had their answers"
            );
        }
        for connection in late {
            connection.close(&self, Closing::Draining);
        }
        self.shared.drained();
    }
}

#[derive(PartialEq, Eq)]
enum Turn {
    More,
    Last,
}

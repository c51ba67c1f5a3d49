//! What a session's core says to whoever wants it.
//!
//! A core reads its letters one after the other, so of two who want the same session one is first, and what was published
//! before the session is handed over is in its journal.

use std::rc::Rc;
use std::sync::Weak;
use std::time::Duration;

use antiphon_core::ids::{ConnectionId, ConversationId};
use antiphon_core::topic::Topic;
use antiphon_wire::socket::Encoded;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::Reason;
use super::recovery::{Bound, Kept, Recovery};
use crate::cores::Core;
use crate::session::{Closing, Socket};

/// A session that was resumed less than so many milliseconds ago is not given away as long as its client is there.
const LATELY: i64 = 10_000;

/// How long that client has to show that it is.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long what its client asked before may take to be done, when a session is to be handed over. After that it is not given away.
const FINISH: Duration = Duration::from_secs(5);

/// How long to wait before looking again whether that is done.
const A_MOMENT: Duration = Duration::from_millis(1);

/// Somebody wants a session.
pub(crate) struct Claim {
    /// The socket that has it.
    pub(super) session: ConnectionId,
    /// Who wants it, and where.
    pub(super) bound: Bound,
    /// The last offset that they got.
    pub(super) offset: Option<Box<str>>,
    /// Held by them until they have it.
    pub(super) hold: Weak<()>,
    pub(super) answer: oneshot::Sender<Result<Vec<Topic>, Denied>>,
}

/// Why they cannot have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// It is not here, or not any more.
    Elsewhere,
    Because(Reason),
}

/// Whoever claimed a session is ready for it.
pub(crate) struct HandOver {
    /// The socket that has it.
    pub(super) session: ConnectionId,
    /// The socket that takes it up.
    pub(super) heir: ConnectionId,
    /// Who that is, and where.
    pub(super) bound: Bound,
    /// Where it listens for the session.
    pub(super) topics: Vec<Topic>,
    pub(super) answer: oneshot::Sender<HandedOver>,
}

/// What became of that.
pub(super) enum HandedOver {
    /// It is the heir's.
    Yes(Box<Heritage>),
    /// It is not, as it listens elsewhere by now: there.
    Elsewhere(Vec<Topic>),
    No(Reason),
}

/// What a socket leaves to the one that takes its session up.
pub(super) struct Heritage {
    pub(super) kept: Kept,
    /// What history has told it, see [`Socket::recalled_before`].
    pub(super) recalled: Vec<(ConversationId, u64)>,
}

impl Core {
    /// Answers where the session listens, and keeps it for whoever asked.
    pub(crate) fn answer_claim(self: &Rc<Self>, claim: Claim) {
        let Some(socket) = self.socket(claim.session) else { return deny(claim, Denied::Elsewhere) };
        let Some(recovery) = &socket.recovery else { return deny(claim, Denied::Elsewhere) };
        if !recovery.is_of(&socket.actor(), &claim.bound) {
            return deny(claim, Denied::Because(Reason::Unknown));
        }
        if recovery.is_claimed() || recovery.doubt.borrow().is_some() {
            return deny(claim, Denied::Because(Reason::InUse));
        }
        let since = recovery.resumed_at.map(|at| self.shared.uptime() - at);
        if !recovery.is_ghost() && since.is_some_and(|since| since < LATELY) {
            tokio::task::spawn_local(self.clone().doubt(socket.clone(), claim));
        } else {
            self.grant(&socket, recovery, claim);
        }
    }

    /// Gives the session to the claim unless its client shows that it is there.
    async fn doubt(self: Rc<Self>, socket: Rc<Socket>, claim: Claim) {
        let Some(recovery) = &socket.recovery else { return };
        let (alive, shown) = oneshot::channel();
        recovery.doubt.replace(Some(alive));
        socket.connection.doubt(true);
        // Engine.IO lets a server ping whenever it likes.
        socket.connection.push(&self, Encoded::engine("2"));
        let is_alive = matches!(tokio::time::timeout(PATIENCE, shown).await, Ok(Ok(())));
        recovery.doubt.take();
        socket.connection.doubt(false);
        if is_alive {
            deny(claim, Denied::Because(Reason::InUse));
        } else if socket.is_gone(&self) {
            deny(claim, Denied::Elsewhere);
        } else {
            self.grant(&socket, recovery, claim);
        }
    }

    fn grant(self: &Rc<Self>, socket: &Rc<Socket>, recovery: &Recovery, claim: Claim) {
        if let Err(reason) = self.has_what_follows(recovery, claim.offset.as_deref()) {
            socket.vanish(self, reason);
            return deny(claim, Denied::Because(reason));
        }
        if socket.is_catching_up() {
            return deny(claim, Denied::Because(Reason::CatchingUp));
        }
        let topics = socket.topics();
        recovery.claimed.replace(claim.hold);
        // Whoever asked may have gone; then nobody holds the claim.
        let _ = claim.answer.send(Ok(topics));
    }

    fn has_what_follows(&self, recovery: &Recovery, offset: Option<&str>) -> Result<(), Reason> {
        let kept = recovery.kept.borrow();
        let had = kept.had(offset)?;
        if had.is_some_and(|had| self.numbers.is_future(had)) {
            return Err(Reason::Unknown);
        }
        kept.journal.position(had).map(|_| ())
    }

    /// Gives a session away: from now on it is the heir's. A connection that still seems to carry it is closed.
    ///
    /// What its client asked before is done first, because what it is told about that, and where it sits then, is part of the
    /// session.
    pub(crate) fn hand_over(self: &Rc<Self>, order: HandOver) {
        let Some(socket) = self.socket(order.session) else { return };
        if socket.connection.is_busy() && !socket.is_catching_up() {
            tokio::task::spawn_local(self.clone().hand_over_later(socket, order));
        } else {
            self.hand_over_now(&socket, order);
        }
    }

    async fn hand_over_later(self: Rc<Self>, socket: Rc<Socket>, order: HandOver) {
        let until = Instant::now() + FINISH;
        while socket.connection.is_busy() && !socket.is_catching_up() {
            if Instant::now() >= until {
                return refuse(order, HandedOver::No(Reason::InUse));
            }
            sleep(A_MOMENT).await;
        }
        if !socket.is_gone(&self) {
            self.hand_over_now(&socket, order);
        }
    }

    fn hand_over_now(self: &Rc<Self>, socket: &Rc<Socket>, order: HandOver) {
        let Some(recovery) = socket.recovery.as_ref().filter(|recovery| !recovery.is_pending.get()) else {
            return;
        };
        if socket.is_catching_up() {
            // It began after it was claimed.
            return refuse(order, HandedOver::No(Reason::CatchingUp));
        }
        if !recovery.is_of(&socket.actor(), &order.bound) {
            return refuse(order, HandedOver::No(Reason::Unknown));
        }
        let topics = socket.topics();
        if topics.len() != order.topics.len() || topics.iter().any(|topic| !order.topics.contains(topic)) {
            return refuse(order, HandedOver::Elsewhere(topics));
        }
        let HandOver { session, heir, answer, .. } = order;
        let recalled = socket.recalled_before();
        let kept = self.session_moves(recovery, session, heir);
        self.leave_all(socket);
        self.sockets.borrow_mut().try_remove(session.slot as usize);
        if recovery.is_ghost.replace(false) {
            self.shared.sessions.wait_no_more(&recovery.pid, socket.actor().person());
        } else {
            let connection = &socket.connection;
            connection.take_out(socket);
            socket.withdraw(self);
            connection.close(self, Closing::Resumed);
        }
        if answer.send(HandedOver::Yes(Box::new(Heritage { kept, recalled }))).is_err() {
            self.shared.sessions.end(&recovery.pid, heir, Reason::Unknown);
        }
    }
}

impl Socket {
    /// Where it listens.
    fn topics(&self) -> Vec<Topic> {
        self.seats.borrow().iter().map(|seat| seat.topic().clone()).collect()
    }
}

/// Keeps the session where it is.
fn refuse(order: HandOver, why: HandedOver) {
    // Whoever asked may have gone.
    let _ = order.answer.send(why);
}

fn deny(claim: Claim, why: Denied) {
    // Whoever asked may have gone.
    let _ = claim.answer.send(Err(why));
}

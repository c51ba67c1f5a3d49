//! What becomes of a socket that may be resumed when its transport goes: for a while it stays as a ghost.
//!
//! A ghost keeps its seats and journals what it hears. It counts as nobody: not as a connection, not for its person, not as
//! present; only ghosts themselves are limited.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use antiphon_core::ids::ConnectionId;

use super::registry::Wait;
use super::{Reason, Recovery};
use crate::cores::Core;
use crate::hub::Mail;
use crate::session::Socket;

/// Ghosts that go at once when their time is over; the others follow a moment later.
const AT_ONCE: usize = 256;

/// How many milliseconds longer a ghost stays that is about to be taken up.
const CLAIMED: i64 = 1_000;

/// The ghosts of a core, and until when they stay. All stay for equally long from when they came, in this run or in the last, so
/// whoever came first goes first.
#[derive(Default)]
pub(crate) struct Ghosts {
    until: RefCell<VecDeque<(i64, ConnectionId)>>,
}

impl Ghosts {
    /// `id` stays until then, which is not before the time of any other that came earlier.
    pub(super) fn stays(&self, id: ConnectionId, until: i64) {
        self.until.borrow_mut().push_back((until, id));
    }

    fn next_due(&self, now: i64) -> Option<ConnectionId> {
        let mut until = self.until.borrow_mut();
        until.front().is_some_and(|(at, _)| *at <= now).then(|| until.pop_front()).flatten().map(|(_, id)| id)
    }
}

impl Core {
    /// Lets those ghosts go whose time is over.
    pub(crate) fn let_ghosts_go(self: &Rc<Self>) {
        if self.ghosts.until.borrow().is_empty() {
            return;
        }
        let now = self.shared.uptime();
        for _ in 0..AT_ONCE {
            let Some(id) = self.ghosts.next_due(now) else { return };
            let Some(socket) = self.socket(id) else { continue };
            if socket.recovery.as_ref().is_some_and(|recovery| recovery.is_claimed()) {
                self.ghosts.until.borrow_mut().push_back((now + CLAIMED, id));
            } else {
                socket.vanish(self, Reason::Expired);
            }
        }
    }

    /// Whether the session of `socket` may wait for its client; it does from now on if so. Another one of the same person may have to
    /// go for it.
    pub(super) fn may_wait(&self, socket: &Socket, recovery: &Recovery) -> bool {
        match self.shared.sessions.wait(recovery.pid, socket.actor().person(), &self.shared.resume) {
            Wait::Granted => true,
            Wait::InsteadOf(oldest) => {
                if let Some(mailbox) = self.shared.mailboxes.get(usize::from(oldest.core)) {
                    mailbox.post(Mail::MakeRoom(oldest));
                }
                true
            }
            Wait::Refused => false,
        }
    }

    /// Lets the ghost `id` go before its time, for another one.
    pub(crate) fn make_room(self: &Rc<Self>, id: ConnectionId) {
        let ghost = self.socket(id).filter(|socket| socket.is_ghost());
        if let Some(ghost) = ghost {
            ghost.vanish(self, Reason::TooMany);
        }
    }
}

impl Socket {
    /// Whether it is a ghost.
    pub(crate) fn is_ghost(&self) -> bool {
        self.recovery.as_ref().is_some_and(|recovery| recovery.is_ghost())
    }

    /// Its transport is gone. It becomes a ghost if it may be resumed, and leaves if not.
    pub(crate) fn lose(self: &Rc<Self>, core: &Rc<Core>) {
        let Some(recovery) = &self.recovery else { return self.part(core) };
        // What waits for its session does not wait for its client, who is waited for elsewhere as yet.
        if !recovery.is_pending.get() {
            if self.is_catching_up() {
                return self.part_because(core, Reason::CatchingUp);
            }
            if !core.may_wait(self, recovery) {
                return self.part_because(core, Reason::TooMany);
            }
        }
        recovery.is_ghost.set(true);
        recovery.doubt.take();
        self.withdraw(core);
        let (now, window) = (core.shared.uptime(), core.shared.resume.window);
        core.session_waits(self, recovery, now);
        core.ghosts.stays(self.id(), now.saturating_add_unsigned(window));
    }

    /// The ghost is no more.
    pub(crate) fn vanish(self: &Rc<Self>, core: &Rc<Core>, why: Reason) {
        let Some(recovery) = &self.recovery else { return };
        if !recovery.is_ghost.replace(false) {
            return;
        }
        if !recovery.is_pending.get() {
            core.shared.sessions.wait_no_more(&recovery.pid, self.actor().person());
        }
        core.session_ends(self, recovery, why);
        core.leave_all(self);
        core.sockets.borrow_mut().try_remove(self.id().slot as usize);
    }

    /// Forgets what a client that is there has had long ago.
    pub(crate) fn tidy(&self, core: &Core) {
        if let Some(recovery) = &self.recovery {
            recovery.kept.borrow_mut().journal.forget_old(core.shared.uptime(), &core.shared.resume);
        }
    }
}

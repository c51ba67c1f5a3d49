//! Every change of a session that outlives its connection, in one place: whoever wants sessions to outlive the process as well
//! writes them down from here. Where a session listens changes with its socket's seats, in `hub/rooms`.

use std::sync::Arc;

use antiphon_core::event::Envelope;
use antiphon_core::ids::ConnectionId;
use antiphon_wire::socket::Encoded;

use super::journal::{Entry, What};
use super::recovery::{Kept, Recovery};
use super::{Offset, Reason};
use crate::cores::Core;
use crate::session::Socket;

impl Core {
    /// The session of `socket` begins, or goes on there.
    pub(crate) fn session_begins(&self, socket: &Socket, recovery: &Recovery) {
        self.shared.sessions.set(recovery.pid, socket.id());
    }

    /// `envelope` was rendered for sessions of this core, as so many `frames` of so many `bytes` together, the first with this
    /// `offset`. What comes of it for each session is its [`Entry`].
    pub(super) fn delivered(
        &self,
        envelope: &Arc<Envelope>,
        offset: Offset,
        (frames, bytes): (usize, usize),
    ) -> Entry {
        self.entry(offset, (frames, bytes), What::Event(envelope.clone()))
    }

    /// `frame` is said to one session alone, with this `offset`.
    pub(super) fn said(&self, recovery: &Recovery, frame: &Encoded, offset: Offset) {
        let entry = self.entry(offset, (1, frame.len()), What::Frame(frame.clone()));
        self.keep(recovery, entry);
    }

    /// `entry` is part of a session from now on.
    pub(super) fn keep(&self, recovery: &Recovery, entry: Entry) {
        recovery.kept.borrow_mut().journal.push(entry, &self.shared.resume, recovery.is_ghost());
    }

    /// The session that `recovery` had in the socket `from` goes on in the socket `to`; returns what is kept of it.
    pub(super) fn session_moves(&self, recovery: &Recovery, to: ConnectionId) -> Kept {
        self.shared.sessions.set(recovery.pid, to);
        recovery.kept.replace(Kept::empty(self.numbers.last()))
    }

    /// What was kept of its session elsewhere has come to `recovery`.
    pub(super) fn session_has_come(&self, recovery: &Recovery, mut kept: Kept) {
        kept.journal.moves(self.entry(self.numbers.take(1), (0, 0), What::Moved));
        recovery.kept.replace(kept);
        recovery.is_pending.set(false);
    }

    /// The session of `socket` is over.
    pub(crate) fn session_ends(&self, socket: &Socket, recovery: &Recovery, why: Reason) {
        self.shared.sessions.end(&recovery.pid, socket.id(), why);
    }

    fn entry(&self, offset: Offset, (frames, bytes): (usize, usize), what: What) -> Entry {
        Entry {
            offset,
            // No dialect says one event in so many.
            frames: u8::try_from(frames).unwrap_or(u8::MAX),
            bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            at: self.shared.uptime(),
            letter: 0,
            what,
        }
    }
}

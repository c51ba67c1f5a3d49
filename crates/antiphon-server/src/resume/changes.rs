//! Every change of a session that outlives its connection, in one place, and how it is written down, so that the session outlives
//! the process as well.
//!
//! A session is written down from when it is all there, see [`Core::session_is_here`]. Where it listens is known before: what a
//! socket hears that takes a session up elsewhere may be all that is left of it.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::event::Envelope;
use antiphon_core::ids::ConnectionId;
use antiphon_core::ports::Mark;
use antiphon_core::topic::Topic;
use antiphon_wire::socket::Encoded;

use super::journal::{Entry, What};
use super::recovery::{Bound, Kept, Recovery};
use super::{Offset, Pages, Reason, Seated};
use crate::cores::Core;
use crate::session::Socket;

impl Core {
    /// The session of `socket` begins.
    pub(crate) fn session_begins(&self, socket: &Socket, recovery: &Recovery) {
        self.shared.sessions.set(recovery.pid, socket.id());
        self.session_is_here(socket);
    }

    /// The session of `socket` is all there, with everything that was kept of it, and written down from now on.
    pub(super) fn session_is_here(&self, socket: &Socket) {
        let (Some(pages), Some(recovery)) = (&self.pages, &socket.recovery) else { return };
        recovery.is_written.set(true);
        pages.begins(socket.id(), recovery.pid, &bound_of(socket, recovery), &recovery.kept.borrow());
        recovery.is_catching_up.set(false);
        self.note_catching_up(socket);
        if let Some(since) = recovery.ghost_since.get() {
            pages.waits(socket.id(), since);
        }
    }

    /// The guest who began the session of `socket` has become somebody: from now on it is theirs alone.
    pub(crate) fn session_changes_hands(&self, socket: &Socket) {
        if socket.recovery.as_ref().is_some_and(|recovery| recovery.is_written.get()) {
            self.session_is_here(socket);
        }
    }

    /// The session of the last run that `socket` has goes on here, if it may wait for its client.
    pub(super) fn session_survives(&self, socket: &Socket) -> bool {
        let Some(recovery) = &socket.recovery else { return false };
        self.shared.sessions.set(recovery.pid, socket.id());
        if !self.may_wait(socket, recovery) {
            return false;
        }
        let moved = self.entry(self.numbers.take(1), (0, 0), What::Moved);
        recovery.kept.borrow_mut().journal.moves(moved);
        true
    }

    /// The session of the last run that `socket` has hears the letter of this number, which its core had not read yet. It is not
    /// written down before all of them are heard.
    pub(super) fn hear_late(&self, socket: &Rc<Socket>, letter: u64, envelope: &Arc<Envelope>) {
        let Some(pages) = &self.pages else { return };
        if let Some(numbered) = self.number(socket.voice, envelope) {
            pages.reads(letter);
            socket.hear(self, envelope, &numbered);
            pages.reads(0);
        }
        if envelope.event.closes_its_topic() {
            self.leave(socket.id(), &envelope.topic);
        }
    }

    /// Hands out an event that was written down as the letter of this number.
    pub(crate) fn deliver_letter(self: &Rc<Self>, letter: u64, envelope: &Arc<Envelope>, mark: Mark) {
        let Some(pages) = &self.pages else { return self.deliver(envelope, mark) };
        pages.reads(letter);
        self.deliver(envelope, mark);
        pages.has_read(letter);
    }

    /// `envelope` was rendered for sessions of this core, as so many `frames` of so many `bytes` together, the first with this
    /// `offset`. What comes of it for each session is its [`Entry`].
    pub(super) fn delivered(
        &self,
        envelope: &Arc<Envelope>,
        offset: Offset,
        (frames, bytes): (usize, usize),
    ) -> Entry {
        let entry = self.entry(offset, (frames, bytes), What::Event(envelope.clone()));
        Entry { letter: self.pages.as_ref().map_or(0, |pages| pages.in_hand()), ..entry }
    }

    /// `frame` is said to one session alone, with this `offset`.
    pub(super) fn said(&self, socket: &Socket, recovery: &Recovery, frame: &Encoded, offset: Offset) {
        let entry = self.entry(offset, (1, frame.len()), What::Frame(frame.clone()));
        self.keep(socket, recovery, entry);
    }

    /// `entry` is part of the session of `socket` from now on.
    pub(super) fn keep(&self, socket: &Socket, recovery: &Recovery, entry: Entry) {
        if let Some(pages) = self.pages_of(recovery) {
            pages.kept(socket.id(), &entry);
        }
        recovery.kept.borrow_mut().journal.push(entry, &self.shared.resume, recovery.is_ghost());
    }

    /// Something that the session of `socket` had to hear was not kept for it.
    pub(super) fn loses(&self, socket: &Socket, recovery: &Recovery) {
        let offset = self.numbers.take(1);
        if let Some(pages) = self.pages_of(recovery) {
            pages.loses(socket.id(), offset);
        }
        recovery.kept.borrow_mut().journal.lose(offset);
    }

    /// Notes whether `socket` is being told the past of a conversation, which cannot be told to anybody else.
    pub(crate) fn note_catching_up(&self, socket: &Socket) {
        let Some(recovery) = &socket.recovery else { return };
        let Some(pages) = self.pages_of(recovery) else { return };
        let is_catching_up = socket.is_catching_up();
        if recovery.is_catching_up.replace(is_catching_up) != is_catching_up {
            pages.catches_up(socket.id(), is_catching_up);
        }
    }

    /// `socket` listens to `topic` from now on.
    pub(crate) fn sits_down(&self, socket: &Socket, topic: &Topic) {
        if let (Some(pages), Some(_)) = (&self.pages, &socket.recovery) {
            pages.sits(socket.id(), topic);
        }
    }

    /// `socket` no longer listens to `topic`.
    pub(crate) fn rises(&self, socket: &Socket, topic: &Topic) {
        if let (Some(pages), Some(_)) = (&self.pages, &socket.recovery) {
            pages.rises(socket.id(), topic);
        }
    }

    /// The session of `socket` waits for its client from now on.
    pub(super) fn session_waits(&self, socket: &Socket, recovery: &Recovery, since: i64) {
        recovery.ghost_since.set(Some(since));
        if let Some(pages) = self.pages_of(recovery) {
            pages.waits(socket.id(), since);
        }
    }

    /// The session that `recovery` had in the socket `from` goes on in the socket `to`; returns what is kept of it.
    pub(super) fn session_moves(&self, recovery: &Recovery, from: ConnectionId, to: ConnectionId) -> Kept {
        self.shared.sessions.set(recovery.pid, to);
        if let Some(pages) = self.pages_of(recovery) {
            pages.ends(from);
        }
        recovery.is_written.set(false);
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
        recovery.is_written.set(false);
        if let Some(pages) = &self.pages {
            pages.ends(socket.id());
        }
    }

    /// Writes down whatever has become of sessions. To be called before any of it is told to a client.
    pub(crate) fn write_down(&self) {
        if let Some(pages) = &self.pages {
            pages.write_down();
        }
    }

    /// Begins another segment of the pages if it is time.
    pub(crate) fn turn_pages_over(&self) {
        if let Some(pages) = &self.pages {
            pages.turn_over(self.shared.uptime(), || self.sessions());
        }
    }

    /// Every session that is here, as it is now.
    fn sessions(&self) -> Vec<Seated> {
        let seated = |socket: &Socket| {
            let recovery = socket.recovery.as_ref().filter(|recovery| recovery.is_written.get())?;
            Some(Seated {
                id: socket.id(),
                pid: recovery.pid,
                bound: bound_of(socket, recovery),
                kept: recovery.kept.borrow().without_entries(),
                catching_up: recovery.is_catching_up.get(),
                ghost_since: recovery.ghost_since.get(),
            })
        };
        self.sockets.borrow().iter().filter_map(|(_, socket)| seated(socket)).collect()
    }

    /// Where the session of `recovery` is written down, if it is.
    fn pages_of(&self, recovery: &Recovery) -> Option<&Pages> {
        self.pages.as_ref().filter(|_| recovery.is_written.get())
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

/// Who may resume the session of `socket`, and where.
fn bound_of(socket: &Socket, recovery: &Recovery) -> Bound {
    Bound { principal: socket.actor().principal.clone(), ..recovery.bound.clone() }
}

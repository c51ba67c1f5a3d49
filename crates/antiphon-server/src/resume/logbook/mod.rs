//! What is written down of sessions, so that they outlive the process.
//!
//! | file | answers |
//! |---|---|
//! | `past` | what the last run left |
//! | `aftermath` | how commits get into it, and what of them is told after the start |

mod aftermath;
mod past;

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use antiphon_core::actor::SecretHash;
use antiphon_core::event::Envelope;
use antiphon_core::ids::{ConnectionId, Timestamp};
use antiphon_core::ports::Untold;
use antiphon_core::topic::Topic;

pub(crate) use past::{Past, Survivor};

use super::journal::Entry;
use super::{Bound, Kept, Offset, Settings};

/// The book of one run of the server, for all cores.
pub(crate) struct Logbook {}

/// What one core writes down.
pub(crate) struct Pages {
    is_of_one_thread: PhantomData<*const ()>,
}

/// A session as a head has it.
pub(crate) struct Seated {
    pub(crate) id: ConnectionId,
    pub(crate) pid: SecretHash,
    pub(crate) bound: Bound,
    /// See [`Kept::without_entries`].
    pub(crate) kept: Kept,
    /// Whether it is being told the past of a conversation.
    pub(crate) catching_up: bool,
    /// Since when it waits for its client, in milliseconds since the start of this process.
    pub(crate) ghost_since: Option<i64>,
}

impl Logbook {
    /// Opens the book of `run` below `directory`, with pages for so many `cores`, and reads what the last complete run left. Never
    /// fails: problems are logged, and then there is nothing to come back to.
    pub(crate) fn open(
        directory: &Path,
        run: u32,
        cores: u16,
        settings: &Settings,
        wall: Timestamp,
    ) -> (Arc<Self>, Past) {
        let _ = (directory, run, cores, settings, wall);
        (Arc::new(Self {}), Past::default())
    }

    /// Writes down that `envelope` is about to be posted to `core`; returns its number, the same for every core, or 0 when it could
    /// not be written or need not be, because it is volatile. To be called by the publishing thread before it posts.
    pub(crate) fn letter(&self, envelope: &Arc<Envelope>, core: u16) -> u64 {
        let _ = (envelope, core);
        0
    }

    /// Writes down what is about to be committed and has not been told yet. Before the COMMIT.
    pub(crate) fn commits(&self, untold: &[Untold]) {
        let _ = untold;
    }

    /// All that was committed has been told.
    pub(crate) fn told(&self) {}

    /// Whether there is any session.
    pub(crate) fn is_used(&self) -> bool {
        false
    }

    /// From now on this run is the one to come back to, and former ones are forgotten. To be called when every core has written
    /// down its survivors.
    pub(crate) fn is_complete(&self) {}

    /// The pages of `core`, to be asked for once, on its thread. They begin without any session.
    pub(crate) fn pages(self: &Arc<Self>, core: u16) -> Pages {
        let _ = core;
        Pages { is_of_one_thread: PhantomData }
    }
}

impl Pages {
    /// The session `pid` begins in the socket `id`, or has come there from another one or another run, with all that was `kept`.
    pub(crate) fn begins(&self, id: ConnectionId, pid: SecretHash, bound: &Bound, kept: &Kept) {
        let _ = (id, pid, bound, kept, &self.is_of_one_thread);
    }

    /// The socket `id`, which may be resumed, hears `topic` from now on. It may do so before its session [`begins`](Self::begins)
    /// there. To be called when the bus knows it.
    pub(crate) fn sits(&self, id: ConnectionId, topic: &Topic) {
        let _ = (id, topic);
    }

    /// It no longer hears `topic`.
    pub(crate) fn rises(&self, id: ConnectionId, topic: &Topic) {
        let _ = (id, topic);
    }

    /// The letter in hand from now on; 0 for none.
    pub(crate) fn reads(&self, letter: u64) {
        let _ = letter;
    }

    /// The letter in hand, which an [`Entry`] with an event has for its number.
    pub(crate) fn in_hand(&self) -> u64 {
        0
    }

    /// `entry`, as it is before a journal counts it, is part of the session in `id` from now on. An event whose letter has a number
    /// is written as that, everything else as a whole.
    pub(crate) fn kept(&self, id: ConnectionId, entry: &Entry) {
        let _ = (id, entry);
    }

    /// This core is done with a letter, whoever heard it. None is in hand any more.
    pub(crate) fn has_read(&self, letter: u64) {
        let _ = letter;
    }

    /// Something up to `offset` was not kept for the session in `id`.
    pub(crate) fn loses(&self, id: ConnectionId, offset: Offset) {
        let _ = (id, offset);
    }

    /// Whether the socket `id` is being told the past of a conversation: until that is over its session cannot be resumed.
    pub(crate) fn catches_up(&self, id: ConnectionId, whether: bool) {
        let _ = (id, whether);
    }

    /// The session in `id` waits for its client, since so many milliseconds after the start of this process.
    pub(crate) fn waits(&self, id: ConnectionId, since: i64) {
        let _ = (id, since);
    }

    /// The session in `id` is over, or was handed over to another socket, whose core says that it begins there.
    pub(crate) fn ends(&self, id: ConnectionId) {
        let _ = id;
    }

    /// Writes down what has not been written yet, at once. To be called before any byte of the turn goes to a client.
    pub(crate) fn write_down(&self) {}

    /// Turns the page over if it is time, and begins anew after a failure: only then is `head` asked for all sessions of the core as
    /// they are now. To be called in every turn, after the letters that it took, with the milliseconds since the start of this process.
    pub(crate) fn turn_over(&self, uptime: i64, head: impl FnOnce() -> Vec<Seated>) {
        let _ = (uptime, head);
    }
}

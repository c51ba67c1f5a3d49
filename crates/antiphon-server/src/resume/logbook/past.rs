//! What the last run left.

use std::sync::Arc;

use antiphon_core::actor::SecretHash;
use antiphon_core::event::Envelope;
use antiphon_core::ports::Untold;
use antiphon_core::topic::Topic;

use crate::resume::{Bound, Kept, Reason};

/// What the last run left.
#[derive(Default)]
pub(crate) struct Past {
    /// The sessions that can be resumed.
    pub(crate) sessions: Vec<Survivor>,
    /// Those that cannot, and why.
    pub(crate) lapsed: Vec<(SecretHash, Reason)>,
    /// The letters of late, in order, with their numbers.
    pub(crate) letters: Vec<(u64, Arc<Envelope>)>,
    /// What was stored, or was about to be, and of which it is not known that it was told.
    pub(crate) untold: Vec<Untold>,
}

/// A session that can be resumed.
pub(crate) struct Survivor {
    pub(crate) pid: SecretHash,
    pub(crate) bound: Bound,
    /// What was kept of it. The times are those of this run, before 0; the letters' numbers hold in this run as well.
    pub(crate) kept: Kept,
    /// Where it listened.
    pub(crate) topics: Vec<Topic>,
    /// What its core had not read yet and it should have heard, in order: to be told it as if it came now, once it is seated. None
    /// of that is in its journal.
    pub(crate) unread: Vec<(u64, Arc<Envelope>)>,
    /// Milliseconds for which it may still wait for its client.
    pub(crate) left: i64,
}

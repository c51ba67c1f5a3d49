//! What a record says.

use std::sync::Arc;

use antiphon_core::actor::SecretHash;
use antiphon_core::event::Envelope;
use antiphon_core::ids::ConnectionId;
use antiphon_core::ports::Untold;
use antiphon_core::topic::Topic;
use serde::{Deserialize, Serialize};

use crate::resume::journal::{Entry, Journal, What};
use crate::resume::{Bound, Kept, Offset};

/// A record among the letters. Its number is that of the letter.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Note {
    /// A letter is about to be posted.
    Letter {
        /// Milliseconds since the start of the process.
        at: i64,
        /// Who publishes it: a thread publishes one after the other. 0: it is from an earlier run.
        thread: u32,
        /// The first core to which it is posted.
        core: Option<u16>,
        /// Whoever caused it.
        except: Option<ConnectionId>,
        envelope: Arc<Envelope>,
    },
    /// It is about to be posted to one more core.
    Also { core: u16 },
    /// So much is about to be committed.
    Commits(Vec<Untold>),
    /// All of that was told by this thread.
    Told { thread: u32 },
}

/// A socket of a core: its slot and generation.
pub(super) type Id = (u32, u32);

/// A topic, and the number of the last letter that there was when the socket came to hear it.
pub(super) type Sitting = (Topic, u64);

/// One of several lines in a record of a core's pages. The record's number counts up by one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Line {
    /// First in every file, and only there: all sessions as they are, sockets to which one may still come, and the number of the last
    /// letter.
    Head {
        last: u64,
        sessions: Vec<Begun>,
        to_come: Vec<(Id, Vec<Sitting>)>,
    },
    /// When the record was written, in milliseconds since the start of the process.
    At(i64),
    Begins(Box<Begun>),
    Sits(Id, Topic, u64),
    Rises(Id, Topic),
    /// An event by its letter.
    Kept {
        letter: u64,
        number: u64,
        frames: u8,
        bytes: u32,
        at: i64,
        by: Vec<Id>,
    },
    /// Anything else that was said.
    Said {
        entry: Box<Entry>,
        by: Vec<Id>,
    },
    /// The core is done with these letters.
    Read(Vec<u64>),
    Loses(Id, Offset),
    CatchesUp(Id, bool),
    Waits(Id, i64),
    Ends(Id),
}

/// A session that begins, or that is there.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) id: Id,
    /// Which of all beginnings of sessions this is.
    pub(super) order: u64,
    pub(super) pid: SecretHash,
    pub(super) bound: Bound,
    /// With a journal that has no entries.
    pub(super) kept: Kept,
    pub(super) entries: Vec<Short>,
    pub(super) seats: Vec<Sitting>,
    pub(super) catching_up: bool,
    pub(super) ghost_since: Option<i64>,
}

/// An entry as it is in a journal.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Short {
    Letter { letter: u64, offset: Offset, frames: u8, bytes: u32, at: i64 },
    Whole(Box<Entry>),
}

impl Short {
    /// Those of `journal`; letters before `first` are not among those that were written.
    pub(super) fn all_of(journal: &Journal, first: u64) -> Vec<Self> {
        journal.entries().map(|entry| Self::of(entry, first)).collect()
    }

    fn of(entry: &Entry, first: u64) -> Self {
        let Entry { offset, frames, bytes, at, letter, .. } = *entry;
        if is_written(entry, first) {
            Self::Letter { letter, offset, frames, bytes, at }
        } else {
            Self::Whole(Box::new(entry.clone()))
        }
    }
}

/// Whether what `entry` says is in its letter, if those from `first` on were written.
pub(super) fn is_written(entry: &Entry, first: u64) -> bool {
    entry.letter != 0 && entry.letter >= first && matches!(entry.what, What::Event(_))
}

/// Appends `line` to `buffer`.
pub(super) fn append(buffer: &mut Vec<u8>, line: &impl Serialize) {
    serde_json::to_writer(buffer, line)
        .expect("what is written down is text and numbers, and memory takes it");
}

//! What is written down of sessions, so that they outlive the process.
//!
//! There are two kinds of it. An event is a letter, which is written once, before it is posted to any core; and every core has pages
//! of its own that say what became of the sessions there, written once in a turn, before anything of that turn reaches a client.
//! Nothing is synced: what the kernel was given survives the process, and what only the machine could lose is not come back to.
//!
//! Whatever cannot be written makes the whole book worthless, so then it is thrown away at once, and begun anew when writing works
//! again: a session is rather lost than resumed with a gap.
//!
//! | file | answers |
//! |---|---|
//! | `book` | the letters, and whether this run is one to come back to |
//! | `pages` | what one core writes down |
//! | `past` | what the last run left |
//! | `runs` | which run is the one to come back to |
//! | `segments` | the files |
//! | `line` | what a record says |
//! | `record` | how it is written, and whether it is what was written |
//! | `aftermath` | how commits get into it, and what of them is told after the start |

mod aftermath;
mod book;
#[cfg(test)]
mod damage;
mod line;
mod pages;
mod past;
#[cfg(test)]
mod proof;
mod record;
mod runs;
mod segments;

use antiphon_core::actor::SecretHash;
use antiphon_core::ids::ConnectionId;

pub(crate) use book::Logbook;
pub(crate) use pages::Pages;
pub(crate) use past::{Past, Survivor};

use super::{Bound, Kept};

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

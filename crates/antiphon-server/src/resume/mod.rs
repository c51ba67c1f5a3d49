//! How a client that lost its connection finds what it missed: Socket.IO's connection state recovery, for those who ask.
//!
//! A session is a socket that may be resumed. What it was told is journaled on its core, within bounds; when its transport goes
//! it stays for a while as a ghost, which keeps its seats and only journals. Whoever brings the session's `pid` and is let in as
//! the same somebody gets all of it on their new connection.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | who may resume, for how long, and how much is kept |
//! | `asked` | what a CONNECT asks, and how it is answered |
//! | `offset` | how a place among what a client was told is written |
//! | `journal` | what a session was told lately, and what is left of it after an offset |
//! | `logbook` | what is written down of sessions, so that they outlive the process |
//! | `recovery` | what is kept for a socket that may be resumed |
//! | `telling` | how such a socket is told something |
//! | `ghosts` | what becomes of it when its transport goes |
//! | `registry` | where every session is, for all cores |
//! | `claim` | what a session's core says to whoever wants it |
//! | `takeover` | how a new connection takes a session up |
//! | `changes` | every change of a session that outlives its connection, in one place |
//! | `survivors` | how the sessions of the last run wait for their clients in this one |

mod asked;
mod changes;
mod claim;
mod ghosts;
mod journal;
mod logbook;
mod offset;
mod recovery;
mod registry;
pub mod settings;
mod survivors;
mod takeover;
mod telling;

pub(crate) use asked::{Asked, Pid, Reason};
pub(crate) use claim::{Claim, HandOver};
pub(crate) use ghosts::Ghosts;
pub(crate) use journal::Journal;
pub(crate) use logbook::{Logbook, Pages, Past, Seated, Survivor};
pub(crate) use offset::{Lane, Numbers, Offset};
pub(crate) use recovery::{Bound, Kept, Recovery};
pub(crate) use registry::Registry;
pub use settings::Settings;
pub(crate) use survivors::{deal, forget};
pub(crate) use takeover::{TakenUp, take_up};

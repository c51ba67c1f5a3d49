//! Who listens where, and how an event reaches them.
//!
//! | file | answers |
//! |---|---|
//! | [`mailbox`] | how a core hears of anything from outside it |
//! | [`rooms`] | topic → members on this core, and the fan-out |
//! | [`outbox`] | what waits for one connection |
//! | [`holding`] | what waits for a socket that must not hear it yet |
//! | [`eviction`] | who has to go: revoked, or sent away by order |
//! | [`census`] | what all cores are asked together |

mod census;
mod eviction;
mod holding;
mod mailbox;
mod outbox;
mod rooms;

pub(crate) use eviction::Heard;
pub(crate) use holding::Held;
pub(crate) use mailbox::{Hub, Mail, Mailbox};
pub(crate) use outbox::{Full, Outbox, Queued};
pub(crate) use rooms::{Frames, Rooms, Seat};

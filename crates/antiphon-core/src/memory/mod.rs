//! Every port in memory: the reference implementation, what tests use, and `--ephemeral`.
//!
//! | module | port |
//! |---|---|
//! | [`store`] | [`Store`](crate::ports::Store) and [`Webhooks`](crate::webhooks::Webhooks): forgets everything when it is dropped |
//! | [`bus`] | [`Bus`](crate::ports::Bus): also the production bus of a single node |
//! | [`leases`] | [`Leases`](crate::ports::Leases): follow tokio's clock, so a paused one works |
//! | [`clock`] | [`Clock`](crate::ports::Clock): the system's, and one that is set by hand |
//! | [`chain`] | [`Chain`](crate::ports::Chain): looks nowhere, so that only a backend's word counts |
//! | [`audience`] | [`Audience`](crate::ports::Audience): writes down who was seated where |

pub mod audience;
pub mod bus;
pub mod chain;
pub mod clock;
pub mod leases;
pub mod store;

pub use audience::{RecordingAudience, Seating};
pub use bus::MemoryBus;
pub use chain::NoChain;
pub use clock::{ManualClock, SystemClock};
pub use leases::MemoryLeases;
pub use store::MemoryStore;

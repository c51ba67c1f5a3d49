//! What Antiphon costs, beside the bare kernel and beside others.
//!
//! [`runner`] starts one server after the other on one core, drives it from the other core with a [`crowd`] of raw
//! sockets, and reads what it cost from the outside: CPU time, memory, answers per second. [`report`] makes the table.

pub mod contestant;
pub mod crowd;
pub mod disk;
pub mod flock;
pub mod floor;
pub mod goals;
pub mod machine;
pub mod peers;
pub mod process;
pub mod product;
pub mod progress;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod statistics;
pub mod wire;

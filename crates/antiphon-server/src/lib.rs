//! Antiphon's server: sockets, the embedded database, models, HTTP, and the wiring between them.
//!
//! | module | answers |
//! |---|---|
//! | [`cli`] | the command line |
//! | [`config`] | what can be configured |
//! | [`wiring`] | which implementation stands behind each port; start and stop |
//! | `listen`, `cores`, `wheel` | ports; one runtime per core; time |
//! | `starting` | how the cores come to work before the ports are opened |
//! | `mount`, `shared` | what is served where; what all cores share |
//! | `pace` | how often something may happen |
//! | `topics` | how a topic is written as text |
//! | `transport` | sockets drive a wire session |
//! | `session` | packet → dialect → app → reply |
//! | [`resume`] | what a client that lost its connection finds when it comes back |
//! | `hub` | topic → who listens here; fan-out; outbox |
//! | [`admin`], [`telemetry`] | the operator's port; logs, metrics, traces |
//! | [`auth`] | credentials → actor |
//! | [`api`] | the HTTP API for backends |
//! | [`outbound`] | the one place that opens connections to the outside |
//! | [`routes`] | documented HTTP routes of the dialects |
//! | [`webhooks`] | telling other servers what happens here |
//! | [`proactive`] | messages that agents send by themselves |
//! | [`wallet`], [`chain`] | what can be configured about tokens; looking payments up |
//! | [`sqlite`] | the embedded database behind the `Store` port |
//! | [`models`] | who answers, behind the `Model` port |
//! | [`demo`], `seed`, [`conformance`] | the demo; what exists before anybody comes; the protocol suites' server |
//! | [`import`], [`history`] | the operator's way in and out |

pub mod admin;
pub mod api;
pub mod auth;
pub mod chain;
pub mod cli;
pub mod config;
pub mod conformance;
mod cores;
pub mod demo;
pub mod history;
mod hub;
pub mod import;
mod listen;
pub mod models;
mod mount;
pub mod outbound;
mod pace;
pub mod proactive;
pub mod resume;
pub mod routes;
mod seed;
mod session;
mod shared;
pub mod sqlite;
mod starting;
pub mod telemetry;
mod topics;
mod transport;
pub mod wallet;
pub mod webhooks;
mod wheel;
pub mod wiring;

pub use shared::Reading;

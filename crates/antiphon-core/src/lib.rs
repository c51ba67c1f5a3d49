//! What happens in Antiphon: the nouns, their rules, and the ports they need.
//!
//! | module | answers |
//! |---|---|
//! | [`ids`] | how things are named |
//! | [`actor`] | who asks |
//! | [`topic`] | where events go |
//! | [`access`] | who may hear or do what |
//! | [`command`] | what can be asked |
//! | [`event`] | what has happened |
//! | [`refusal`] | why it was not done |
//! | [`ports`] | what the core needs from the world |
//! | [`webhooks`] | what is told to other servers, and what must be remembered until they have been told |
//! | [`app`] | the one door: a command in, an outcome or a refusal out |
//! | [`agents`], [`people`], [`conversation`], [`assistant`], [`presence`], [`notices`], [`wallet`] | the nouns and their rules |
//! | [`tasks`], [`workers`] | what agents are to do, and how they are while they do it |
//! | [`jobs`] | what is done by itself at its time, and once |
//! | [`aftermath`] | what is known of the end of a run that was killed |
//! | [`dialect`] | what a translator between a documented API and the core looks like |
//! | [`memory`] | every port in memory: reference implementation, tests, `--ephemeral` |
//! | [`contract`] | what every implementation of a port must do, as a suite |
//!
//! Nothing here knows a socket, SQL, Redis, HTTP or a wire event name.

pub mod access;
pub mod actor;
pub mod aftermath;
pub mod agents;
pub mod app;
pub mod assistant;
pub mod command;
pub mod contract;
pub mod conversation;
pub mod dialect;
pub mod event;
pub mod ids;
pub mod jobs;
pub mod memory;
pub mod notices;
pub mod people;
pub mod ports;
pub mod presence;
pub mod refusal;
pub mod tasks;
pub mod topic;
pub mod wallet;
pub mod webhooks;
pub mod workers;

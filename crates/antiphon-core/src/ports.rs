//! What the core needs from the world.
//!
//! The doc of a port is its contract, and [`contract`](crate::contract) holds every implementation to it. Ports are called
//! per command, never per listener, so they are `dyn`. What must be remembered is in [`store`], for tokens in [`wallets`],
//! for tasks in [`work`], and for what is done by itself in [`jobs`]; what may have been stored and not told is [`untold`].

pub mod jobs;
pub mod store;
pub mod untold;
pub mod wallets;
pub mod work;

pub use jobs::Jobs;
pub use store::{
    Agents, Appended, Begun, Bonds, Committed, Conversations, KEYS_KEPT, Keys, Logins, NewMessage, People,
    Profiles, Quota, RequestKey, Requests, Revocation, Revocations, Revoked, Store, Upkeep,
};
pub use untold::Untold;
pub use wallets::{Booked, Chain, Charge, OnBooked, OnTold, Verdict, Wallets};

pub use work::{ReturnCommitted, Stepped, TaskCommitted, TaskFilter, Tasks, WorkerCommitted, Workers};

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::Stream;

use crate::agents::{Agent, Relation};
use crate::conversation::Message;
use crate::event::Envelope;
use crate::ids::{ConnectionId, Timestamp};
use crate::refusal::Fault;
use crate::topic::Topic;

/// Tells whoever listens, here and on other nodes.
///
/// Events that one thread publishes to one topic reach each listener in that order. Publishing never blocks and never
/// fails: an implementation that reaches other nodes queues, bounded, and marks the gap when it could not keep up.
#[async_trait]
pub trait Bus: Send + Sync {
    /// Hands the envelope to every listener of its topics, once to each.
    fn publish(&self, envelope: Envelope);
    /// Makes `listener` known; it hears nothing until it listens to a topic.
    fn attach(&self, listener: Arc<dyn Listener>) -> ListenerId;
    /// From now on `listener` hears `topic`, and gets `mark` with every event from there. Listening twice is listening once,
    /// with the later mark.
    fn listen(&self, listener: ListenerId, topic: &Topic, mark: Mark);
    /// Waits until every event of this node whose publishing began before has reached its listeners. Whoever begins to listen and
    /// waits for this knows that what they do not hear has been heard by those who listened before.
    async fn settled(&self);
    /// From now on `listener` does not hear `topic`.
    fn unlisten(&self, listener: ListenerId, topic: &Topic);
    /// From now on, for good, `listener` hears every envelope that is published on this node, whatever its topic and whether
    /// or not anybody listens there, each once and in the order that other listeners hear. Costs publishers nothing as long
    /// as nobody taps.
    fn tap(&self, listener: Arc<dyn Listener>);
}

/// Names a [`Listener`] on a [`Bus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// What a listener calls a topic for itself. It comes back with each event, so that the listener need not look the topic up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub u32);

impl Mark {
    /// Of listeners that go by the topic alone, and of taps.
    pub const NONE: Self = Self(u32::MAX);
}

/// Hears events. Called from whichever thread publishes; must be quick and must not block.
pub trait Listener: Send + Sync {
    /// One event. `mark` is what the listener said when it began to listen to the envelope's topic; [`Mark::NONE`] when the
    /// envelope has several.
    fn deliver(&self, envelope: &Arc<Envelope>, mark: Mark);
}

/// Claims that expire: who is here, who types, later who holds a file. Nobody has to clean up after a crash, time does.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Claims `key` for `holder` until `ttl` passes without a renewal. Several holders may share one key. Claiming again
    /// renews. Returns whether `holder` is the first, that is, nobody held the key before.
    async fn claim(&self, key: &str, holder: &str, ttl: Duration) -> Result<bool, Fault>;
    /// Extends a claim that has not expired; returns whether there was one.
    async fn renew(&self, key: &str, holder: &str, ttl: Duration) -> Result<bool, Fault>;
    /// Gives the claim up. Returns whether `holder` was the last one, that is, nobody holds the key now but somebody did.
    async fn release(&self, key: &str, holder: &str) -> Result<bool, Fault>;
    /// Who holds `key` now, in no particular order.
    async fn holders(&self, key: &str) -> Result<Vec<String>, Fault>;
}

/// Answers. Dropping the stream cancels the answer.
pub trait Model: Send + Sync {
    /// Answers `prompt`, piece by piece, in the pieces and at the pace of the model. The pieces together are the answer.
    fn answer(&self, prompt: Prompt) -> Answer;

    /// How many messages of a conversation it looks at, the one to answer included. There are never more in a prompt, and there
    /// may be fewer.
    fn looks_back(&self) -> u32 {
        u32::MAX
    }
}

/// The pieces of an answer. An `Err` ends it.
pub type Answer = std::pin::Pin<Box<dyn Stream<Item = Result<String, Fault>> + Send>>;

/// What a model gets to see.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Who answers.
    pub agent: Agent,
    /// How it feels about the person.
    pub relation: Relation,
    /// What was said before, oldest first, ending with the message to answer. No more than the model looks at.
    pub history: Vec<Message>,
}

/// Which connections listen where. The hub implements it; commands use it to seat whoever asked.
pub trait Audience: Send + Sync {
    /// `connection` hears `topic` from now on; events published after this returns reach it. Returns `false` when the
    /// connection is gone or has too many topics.
    fn join(&self, connection: ConnectionId, topic: &Topic) -> bool;
    /// `connection` no longer hears `topic`.
    fn leave(&self, connection: ConnectionId, topic: &Topic);
}

/// Tells the time. Heartbeats and timers use the monotonic clock of the runtime; this is what gets written down.
pub trait Clock: Send + Sync {
    /// Now.
    fn now(&self) -> Timestamp;
}

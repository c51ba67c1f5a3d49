//! What the core needs from the world.
//!
//! The doc of a port is its contract, and [`contract`](crate::contract) holds every implementation to it. Ports are called
//! per command, never per listener, so they are `dyn`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::Stream;

use crate::actor::{ApiKey, KeyHash, Person, Plan};
use crate::agents::{Agent, AgentChange, Relation, RelationDelta};
use crate::conversation::{Message, Party};
use crate::event::Envelope;
use crate::ids::{AgentId, ConnectionId, ConversationId, MessageId, PersonId, Timestamp};
use crate::refusal::Fault;
use crate::topic::Topic;

/// Remembers. Whatever a method of it has returned `Ok` for survives the death of the process.
pub trait Store: People + Agents + Conversations {}

impl<T: People + Agents + Conversations> Store for T {}

/// People, their keys, their plans, and what they have used.
#[async_trait]
pub trait People: Send + Sync {
    /// Adds or replaces a person.
    async fn put_person(&self, person: &Person) -> Result<(), Fault>;
    /// The person, if there is one.
    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault>;
    /// Adds or replaces a plan.
    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault>;
    /// The plan of that name, if there is one.
    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault>;
    /// Adds an API key, or replaces one with the same hash. Fails if the person does not exist.
    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault>;
    /// Whom the key with this hash speaks for, by index.
    async fn person_by_key(&self, hash: &KeyHash) -> Result<Option<Person>, Fault>;
    /// How many messages the person sent in `month` (see [`Timestamp::month`]).
    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault>;
}

/// Agents and their relations to people.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Adds or replaces an agent. Fails if its owner does not exist.
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault>;
    /// The agent, if there is one.
    async fn agent(&self, id: &AgentId) -> Result<Option<Agent>, Fault>;
    /// All agents of `owner`, oldest first, then by id.
    async fn agents_of(&self, owner: &PersonId) -> Result<Vec<Agent>, Fault>;
    /// Applies `change`; returns the agent as it is now, or `None` if there is none.
    async fn change_agent(&self, id: &AgentId, change: &AgentChange) -> Result<Option<Agent>, Fault>;
    /// Removes the agent; returns whether there was one. What was said with it stays.
    async fn delete_agent(&self, id: &AgentId) -> Result<bool, Fault>;
    /// How `agent` feels about `person`; the default when they have never met.
    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault>;
}

/// What was said.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Appends a message to its conversation, in one transaction with everything that `message` brings along.
    ///
    /// Position: 1 for the first message of a conversation, then one more each time, without a hole, in commit order.
    /// When the message is durable, and before this returns, `committed` is called exactly once; calls of one conversation
    /// come in the order of `seq`. It must be quick and must not block. If the message is not stored (quota, fault), it is
    /// never called. A second message with an id that is already stored is a fault.
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault>;

    /// Messages with `seq > after`, oldest first, at most `limit`.
    async fn history(
        &self,
        conversation: ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, Fault>;

    /// The last `limit` messages, oldest first.
    async fn recent(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, Fault>;
}

/// A message on its way into the store, with what must be decided or changed in the same transaction.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Where.
    pub conversation: ConversationId,
    /// The agent of the conversation.
    pub agent: AgentId,
    /// The person of the conversation.
    pub person: PersonId,
    /// Which of the two says it.
    pub author: Party,
    /// What is said.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Counts against the person's month; over the limit nothing is stored.
    pub quota: Option<Quota>,
    /// Moves the agent's relation to the person.
    pub moves: Option<RelationDelta>,
}

/// What a message counts against.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// The month, see [`Timestamp::month`].
    pub month: i32,
    /// How many messages that month may have; `None` only counts.
    pub limit: Option<u64>,
}

/// What came of [`Conversations::append`].
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// It is durable.
    Stored {
        /// As it was stored, with its position.
        message: Message,
        /// The relation after the move; as it was when nothing moved it.
        relation: Relation,
    },
    /// The month is used up; nothing was stored.
    OverQuota {
        /// Messages sent this month.
        current: u64,
        /// Messages allowed.
        limit: u64,
    },
}

/// Called with the stored message and the relation, right after the commit, in the order of `seq`.
pub type Committed = Box<dyn FnOnce(&Message, &Relation) + Send>;

/// Tells whoever listens, here and on other nodes.
///
/// Events that one thread publishes to one topic reach each listener in that order. Publishing never blocks and never
/// fails: an implementation that reaches other nodes queues, bounded, and marks the gap when it could not keep up.
pub trait Bus: Send + Sync {
    /// Hands the envelope to every listener of its topic.
    fn publish(&self, envelope: Envelope);
    /// Makes `listener` known; it hears nothing until it listens to a topic.
    fn attach(&self, listener: Arc<dyn Listener>) -> ListenerId;
    /// From now on `listener` hears `topic`. Listening twice is listening once.
    fn listen(&self, listener: ListenerId, topic: &Topic);
    /// From now on `listener` does not hear `topic`.
    fn unlisten(&self, listener: ListenerId, topic: &Topic);
}

/// Names a [`Listener`] on a [`Bus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ListenerId(pub u32);

/// Hears events. Called from whichever thread publishes; must be quick and must not block.
pub trait Listener: Send + Sync {
    /// One event.
    fn deliver(&self, envelope: &Arc<Envelope>);
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
    /// What was said before, oldest first, ending with the message to answer.
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

//! What has happened.
//!
//! Events are facts. They derive `Serialize` to travel on the bus, never as what a client sees: that is a dialect's
//! business.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::agents::{AgentChange, Relation};
use crate::conversation::{Message, Party};
use crate::ids::{AgentId, ConnectionId, ConversationId, MessageId, PersonId, Timestamp};
use crate::notices::Notice;
use crate::ports::Revocation;
use crate::presence::Status;
use crate::tasks::{Task, TaskUpdate};
use crate::topic::Topic;
use crate::wallet::{Balance, Entry};
use crate::workers::{AgentStatus, Cause};

/// An event on its way: what, where to, and who need not hear it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Envelope {
    /// Where it goes.
    pub topic: Topic,
    /// Where it goes as well. Whoever listens to several of its topics hears it once; most events have one topic alone.
    #[serde(skip_serializing_if = "<[_]>::is_empty", default)]
    pub also: Box<[Topic]>,
    /// The connection that must not get it, usually the one that caused it. Means something on its own node only.
    #[serde(skip)]
    pub except: Option<ConnectionId>,
    /// Another topic that has the same event: connections that listen to both get it there, not here.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unless: Option<Topic>,
    /// What happened.
    pub event: Event,
}

impl Envelope {
    /// `event`, to everybody who listens to `topic`.
    pub fn new(topic: Topic, event: Event) -> Self {
        Self { topic, also: Box::default(), except: None, unless: None, event }
    }

    /// `event`, once to everybody who listens to `topic` or to any of `also`.
    pub fn to_all(topic: Topic, also: impl Into<Box<[Topic]>>, event: Event) -> Self {
        Self { also: also.into(), ..Self::new(topic, event) }
    }
}

/// A fact.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A message is durable: a person's, or one that an agent said without being asked.
    MessagePosted(Message),
    /// How an agent feels about a person has moved.
    RelationChanged {
        /// Whose feelings.
        agent: AgentId,
        /// About whom.
        person: PersonId,
        /// As they are now.
        relation: Relation,
        /// When.
        at: Timestamp,
    },
    /// Somebody began or stopped typing in the conversation of `agent` and `person`.
    TypingChanged {
        /// The agent of the conversation.
        agent: AgentId,
        /// The person of the conversation.
        person: PersonId,
        /// Which of the two types.
        who: Party,
        /// Typing or not.
        active: bool,
        /// When.
        at: Timestamp,
    },
    /// Somebody began or stopped typing, to nobody in particular.
    PersonTyping {
        /// Who.
        person: PersonId,
        /// Typing or not.
        active: bool,
        /// When.
        at: Timestamp,
    },
    /// An agent began to answer.
    ReplyStarted(Reply),
    /// A piece of the answer, as it arrives.
    ReplyChunk(Chunk),
    /// The answer is whole and durable.
    ReplyFinished {
        /// The whole answer as it was stored; its id is the reply's.
        message: Message,
        /// What it cost, as estimated from lengths: ceil(UTF-16 units of question and answer / 4).
        tokens: u64,
        /// How the agent feels now.
        relation: Relation,
    },
    /// No answer will come, or no more of it.
    ReplyFailed(Reply),
    /// Somebody came, went or looked away.
    PresenceChanged {
        /// Who.
        person: PersonId,
        /// How it is now.
        status: Status,
        /// Whether that differs from what it was; `false` for a sign of life.
        changed: bool,
        /// When.
        at: Timestamp,
    },
    /// An agent's own data changed.
    AgentChanged {
        /// Which one.
        agent: AgentId,
        /// What became different.
        change: AgentChange,
        /// When.
        at: Timestamp,
    },
    /// An agent is gone.
    AgentDeleted {
        /// Which one.
        agent: AgentId,
    },
    /// A notice for one person.
    NoticeSent {
        /// The notice.
        notice: Notice,
        /// When.
        at: Timestamp,
    },
    /// A named value that the core relayed, unread.
    Signal(Signal),
    /// Credentials are dead from now on, for the nodes; no client hears it.
    Revoked(Revocation),
    /// A person has more tokens or fewer, as this entry of their ledger says. Goes to the person alone, in the order of
    /// positions.
    BalanceChanged(Entry),
    /// How many tokens a person has, though that has not changed: told because they came to look. Goes to the person alone, in
    /// its place among the changes.
    BalanceTold {
        /// Who.
        person: PersonId,
        /// What they have.
        balance: Balance,
        /// When.
        at: Timestamp,
    },

    /// Somebody wants a task done.
    TaskCreated(Box<Task>),
    /// A task has an agent now: somebody gave it, or the agent claimed it, be it what it was given before.
    TaskAssigned(Box<Task>),
    /// A task is on its way.
    TaskUpdated {
        /// As it is now.
        task: Box<Task>,
        /// What became different.
        update: TaskUpdate,
        /// When.
        at: Timestamp,
    },
    /// A task was completed, has failed or was cancelled: its status says which, its `ended_at` when.
    TaskFinished(Box<Task>),
    /// An agent at work is different from how it was.
    AgentStatusChanged(Box<StatusChange>),
    /// An agent at work is alive.
    AgentHeartbeat {
        /// Which one.
        agent: AgentId,
        /// What it last said about itself, as JSON.
        metadata: String,
        /// When.
        at: Timestamp,
    },
    /// Whoever looks after this server should know something.
    AlertRaised {
        /// What, in words.
        message: String,
        /// How bad it is.
        severity: Severity,
        /// When.
        at: Timestamp,
    },
}

/// How an agent at work has changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusChange {
    /// Which one.
    pub agent: AgentId,
    /// How it was.
    pub old: AgentStatus,
    /// How it is.
    pub new: AgentStatus,
    /// Why.
    pub cause: Cause,
    /// Who caused it: a [`Principal`](crate::actor::Principal) in text, `operator` for this server itself.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at.
    Warning,
    /// Something fails.
    Error,
    /// Everything fails.
    Critical,
}

/// Which answer, to whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Id of the answer; the stored message has the same.
    pub id: MessageId,
    /// Where.
    pub conversation: ConversationId,
    /// Who answers.
    pub agent: AgentId,
    /// Whom.
    pub person: PersonId,
    /// The message that is answered.
    pub question: MessageId,
    /// When this was said.
    pub at: Timestamp,
}

/// A piece of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Id of the answer.
    pub reply: MessageId,
    /// Who answers.
    pub agent: AgentId,
    /// Position of the piece, from 0.
    pub index: u32,
    /// The piece, as the model gave it.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// A named value on a topic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Signal {
    /// What it is called.
    pub name: Arc<str>,
    /// JSON that the core does not look into.
    pub value: Arc<RawValue>,
}

/// How much an event may suffer when a connection cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It arrives, or the connection is closed.
    Kept,
    /// It may be dropped.
    Volatile,
    /// A piece of this answer: neighbours may be joined into one.
    Piece(MessageId),
}

impl Event {
    /// What may happen to this event on its way to a slow connection.
    pub fn delivery(&self) -> Delivery {
        match self {
            Self::TypingChanged { .. } | Self::PersonTyping { .. } => Delivery::Volatile,
            Self::PresenceChanged { changed: false, .. } => Delivery::Volatile,
            Self::ReplyChunk(chunk) => Delivery::Piece(chunk.reply),
            _ => Delivery::Kept,
        }
    }

    /// Whether nobody listens to the topic any more once this event has been delivered there: what comes under the same name
    /// later belongs to somebody else.
    pub fn closes_its_topic(&self) -> bool {
        matches!(self, Self::AgentDeleted { .. })
    }
}

//! What can be asked.
//!
//! Commands are orders. Each says everything that is needed to decide; who asks travels beside it as a
//! [`Caller`](crate::actor::Caller).

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::actor::Claim;
use crate::agents::{Agent, AgentChange};
use crate::conversation::Message;
use crate::ids::{AgentId, ConversationId, MessageId, PersonId};
use crate::notices::Notice;
use crate::presence::Status;
use crate::topic::Topic;

/// An order to the core.
#[derive(Clone, Debug)]
pub enum Command {
    /// Listen to the conversation with `agent`.
    JoinConversation {
        /// With whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Stop listening to the conversation with `agent`.
    LeaveConversation {
        /// With whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Say `text` to `agent`; the connection joins the conversation, and the agent answers.
    PostMessage {
        /// To whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
        /// What is said: 1 to [`MAX_TEXT_BYTES`](crate::conversation::MAX_TEXT_BYTES) bytes.
        text: String,
    },
    /// Show or stop showing that one is typing to `agent`.
    SetTyping {
        /// To whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
        /// Typing or not.
        active: bool,
    },
    /// Listen to changes of `agent` itself.
    WatchAgent {
        /// Which one.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Stop listening to changes of `agent`.
    UnwatchAgent {
        /// Which one.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Say whether one is here.
    SetPresence {
        /// Who the payload says is asking.
        person: Claim,
        /// Here, away or gone.
        status: Status,
    },
    /// Add an agent that belongs to the asking person.
    CreateAgent {
        /// The agent; its owner must be the asking person.
        agent: Box<Agent>,
    },
    /// Change an agent of one's own.
    ChangeAgent {
        /// Which one.
        agent: AgentId,
        /// What becomes different.
        change: Box<AgentChange>,
    },
    /// Remove an agent of one's own.
    DeleteAgent {
        /// Which one.
        agent: AgentId,
    },
    /// Read the conversation with `agent`, oldest first.
    ReadHistory {
        /// With whom.
        agent: AgentId,
        /// Only messages with a greater position; 0 reads from the start.
        after: u64,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// Tell `person` something. Operators only.
    SendNotice {
        /// Whom.
        person: PersonId,
        /// What.
        notice: Notice,
    },
    /// Relay a named value to a topic, unread. Operators only.
    Signal {
        /// Where to.
        topic: Topic,
        /// What it is called.
        name: Arc<str>,
        /// The value, as JSON that the core does not look into.
        value: Arc<RawValue>,
    },
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done; there is nothing more to say.
    Done,
    /// The message is durable.
    Posted {
        /// Its id.
        id: MessageId,
        /// Its conversation.
        conversation: ConversationId,
        /// Its position there.
        seq: u64,
    },
    /// Messages, oldest first.
    History(Vec<Message>),
}

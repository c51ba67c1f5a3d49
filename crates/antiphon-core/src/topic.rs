//! Where events go.
//!
//! A topic is what others call a room, in the core's own words. Dialects translate room names into topics; the hub keeps
//! who listens.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, ConversationId, PersonId, TaskId};

/// A place that events are published to and that connections listen to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Topic {
    /// Everybody who is connected.
    Everyone,
    /// All connections of one person.
    Person(PersonId),
    /// Whoever hears what agents answer to one person, in whichever conversation, without joining each.
    Inbox(PersonId),
    /// Whoever watches one agent.
    Agent(AgentId),
    /// Whoever listens to one conversation.
    Conversation(ConversationId),
    /// Every node of this server. What the nodes tell each other goes here; no connection may listen to it.
    Nodes,
    /// A place with no rules of its own, for [`Signal`](crate::event::Signal)s.
    Named(Arc<str>),

    /// Whoever watches one task.
    Task(TaskId),
    /// Whoever watches the work of all agents.
    Dashboard,
}

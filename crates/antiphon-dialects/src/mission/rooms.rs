//! Which topic a room name stands for.
//!
//! The id in a name may be anything: the documented examples say `agent:123`. What Antiphon itself names by a UUID, tasks and
//! conversations, is found by that UUID however it is written; any other text stands for a place of its own, where nothing
//! ever happens.

use antiphon_core::ids::{AgentId, ConversationId, TaskId};
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use uuid::Uuid;

/// Namespace of the version 5 ids of places that are named after no task and no conversation.
const NOWHERE: Uuid = Uuid::from_u128(0x2f0d_71c4_9a53_4be8_8a16_c3d5_70e9_1b42);

/// A documented room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// `dashboard`: the work of all agents.
    Dashboard,
    /// `agent:{id}`: one agent.
    Agent(AgentId),
    /// `task:{id}`: one task.
    Task(TaskId),
    /// `conversation:{id}`: one conversation.
    Conversation(ConversationId),
}

impl Room {
    /// Reads a room name. An unknown kind of room, and an id that no agent, task or conversation can have, are refused in the
    /// documented words.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        let invalid = || Refusal::invalid("Invalid room format");
        if name == "dashboard" {
            return Ok(Self::Dashboard);
        }
        let (kind, id) = name.split_once(':').ok_or_else(invalid)?;
        // The ids of all three have the same bounds.
        let agent = AgentId::parse(id).map_err(|_| invalid())?;
        let uuid = || Uuid::parse_str(id).unwrap_or_else(|_| Uuid::new_v5(&NOWHERE, name.as_bytes()));
        match kind {
            "agent" => Ok(Self::Agent(agent)),
            "task" => Ok(Self::Task(TaskId(uuid()))),
            "conversation" => Ok(Self::Conversation(ConversationId(uuid()))),
            _ => Err(invalid()),
        }
    }

    /// Where its events are published.
    pub fn topic(self) -> Topic {
        match self {
            Self::Dashboard => Topic::Dashboard,
            Self::Agent(agent) => Topic::Agent(agent),
            Self::Task(task) => Topic::Task(task),
            Self::Conversation(conversation) => Topic::Conversation(conversation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "123e4567-e89b-12d3-a456-426614174000";

    #[test]
    fn a_uuid_is_the_same_room_however_it_is_written() {
        let uuid = Uuid::parse_str(UUID).expect("a UUID");
        for id in [UUID.to_owned(), UUID.to_uppercase()] {
            assert_eq!(Room::parse(&format!("task:{id}")), Ok(Room::Task(TaskId(uuid))));
            let conversation = Room::parse(&format!("conversation:{id}"));
            assert_eq!(conversation, Ok(Room::Conversation(ConversationId(uuid))));
        }
        // An agent's id is text.
        assert_ne!(
            Room::parse(&format!("agent:{UUID}")),
            Room::parse(&format!("agent:{}", UUID.to_uppercase()))
        );
    }

    #[test]
    fn an_id_that_is_no_uuid_is_a_room_of_its_own() {
        let names = ["task:123", "task:124", "conversation:123", "agent:123"];
        let topics: Vec<_> = names.map(|name| Room::parse(name).expect("a room").topic()).into();
        for (index, topic) in topics.iter().enumerate() {
            assert!(!topics[..index].contains(topic));
        }
        assert_eq!(Room::parse("task:123"), Room::parse("task:123"));
    }

    #[test]
    fn anything_else_is_refused_in_the_documented_words() {
        let long = format!("task:{}", "x".repeat(129));
        for name in
            ["", "agent", "agent:", "task:", "Agent:1", "user:ada", "dashboard:1", "agent:a\nb", &long]
        {
            assert_eq!(Room::parse(name), Err(Refusal::invalid("Invalid room format")), "{name}");
        }
    }
}

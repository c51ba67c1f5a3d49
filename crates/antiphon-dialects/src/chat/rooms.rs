//! Which topic a room name stands for.
//!
//! Clients of this API never send room names: they send ids, and `inbound` reads those. The names are how its documentation
//! talks about who hears what, and how an operator finds a room again.

use std::fmt;

use antiphon_core::ids::{AgentId, ConversationId, PersonId};
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;

/// A documented room.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Room {
    /// `chat:{agentId}:{userId}`: what one person and one agent say to each other.
    Chat {
        /// The agent.
        agent: AgentId,
        /// The person.
        person: PersonId,
    },
    /// `agent:{agentId}`: changes of an agent itself.
    Agent(AgentId),
    /// `user:{userId}`: all connections of one person.
    User(PersonId),
    /// `global`: everybody.
    Global,
}

impl Room {
    /// Reads a room name.
    ///
    /// An unknown kind of room is refused as invalid, and so is a `chat:` name with more than one place to split it: ids may
    /// contain colons, and a guess could name somebody else's conversation.
    pub fn parse(name: &str) -> Result<Self, Refusal> {
        if name == "global" {
            return Ok(Self::Global);
        }
        match name.split_once(':') {
            Some(("agent", id)) => AgentId::parse(id).map(Self::Agent),
            Some(("user", id)) => PersonId::parse(id).map(Self::User),
            Some(("chat", ids)) => match ids.split_once(':') {
                Some((agent, person)) if !person.contains(':') => {
                    Ok(Self::Chat { agent: AgentId::parse(agent)?, person: PersonId::parse(person)? })
                }
                _ => Err(Refusal::invalid("A chat room is named after one agent and one person.")),
            },
            _ => Err(Refusal::invalid("There is no such kind of room.")),
        }
    }

    /// Where its events are published.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Chat { agent, person } => Topic::Conversation(ConversationId::direct(agent, person)),
            Self::Agent(agent) => Topic::Agent(agent.clone()),
            Self::User(person) => Topic::Person(person.clone()),
            Self::Global => Topic::Everyone,
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat { agent, person } => write!(f, "chat:{agent}:{person}"),
            Self::Agent(agent) => write!(f, "agent:{agent}"),
            Self::User(person) => write!(f, "user:{person}"),
            Self::Global => f.write_str("global"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(id: &str) -> AgentId {
        AgentId::parse(id).expect("a plain id")
    }

    fn person(id: &str) -> PersonId {
        PersonId::parse(id).expect("a plain id")
    }

    #[test]
    fn every_documented_name_is_read_and_written_alike() {
        for (name, room) in [
            ("chat:luna:ada", Room::Chat { agent: agent("luna"), person: person("ada") }),
            ("agent:luna", Room::Agent(agent("luna"))),
            ("agent:a:b", Room::Agent(agent("a:b"))),
            ("user:ada", Room::User(person("ada"))),
            ("global", Room::Global),
        ] {
            assert_eq!(Room::parse(name), Ok(room.clone()));
            assert_eq!(room.to_string(), name);
        }
    }

    #[test]
    fn a_name_that_could_mean_two_conversations_is_refused() {
        assert!(Room::parse("chat:a:b:c").is_err());
        let topic = |a, p| Room::Chat { agent: agent(a), person: person(p) }.topic();
        assert_ne!(topic("a:b", "c"), topic("a", "b:c"));
    }

    #[test]
    fn anything_else_is_refused() {
        for name in [
            "",
            "chat",
            "chat:",
            "chat:luna",
            "chat:luna:",
            "chat::ada",
            "agent:",
            "user:",
            "Global",
            "world:x",
        ] {
            assert!(Room::parse(name).is_err(), "{name}");
        }
    }
}

//! How an agent's feelings and its persona are put in these routes.

use antiphon_core::agents::{Agent, Relation};
use antiphon_core::conversation::Message;
use antiphon_core::ids::{AgentId, MessageId};
use serde::Serialize;

/// Most that intimacy comes to.
const CLOSEST: u32 = 100;

/// How close somebody and a persona are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Closeness {
    /// 0 to 100: one more with each message.
    intimacy_level: u32,
    /// `stranger`, from 20 `friend`, from 40 `close`, from 70 `lover`.
    status: &'static str,
}

impl Closeness {
    pub(super) fn of(relation: &Relation) -> Self {
        let intimacy_level = relation.meetings.min(CLOSEST);
        let status = match intimacy_level {
            ..20 => "stranger",
            20..40 => "friend",
            40..70 => "close",
            _ => "lover",
        };
        Self { intimacy_level, status }
    }
}

/// A persona.
#[derive(Serialize)]
pub(super) struct PersonaView {
    id: AgentId,
    name: String,
    #[serde(rename = "type")]
    style: String,
    description: String,
    age: Option<u32>,
    birthday: String,
    hobbies: String,
    likes: String,
    dislikes: String,
    background: String,
}

impl From<Agent> for PersonaView {
    fn from(agent: Agent) -> Self {
        let persona = agent.persona.map(|persona| *persona).unwrap_or_default();
        Self {
            id: agent.id,
            name: agent.name,
            style: persona.style,
            description: persona.description,
            age: persona.age,
            birthday: persona.birthday,
            hobbies: persona.hobbies,
            likes: persona.likes,
            dislikes: persona.dislikes,
            background: persona.background,
        }
    }
}

/// A message as it was stored.
#[derive(Serialize)]
pub(super) struct Said {
    id: MessageId,
    content: String,
    created_at: String,
}

impl From<Message> for Said {
    fn from(message: Message) -> Self {
        Self { id: message.id, created_at: message.at.iso(), content: message.text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closeness_grows_with_each_message_and_ends_at_a_hundred() {
        for (meetings, intimacy_level, status) in [
            (0, 0, "stranger"),
            (19, 19, "stranger"),
            (20, 20, "friend"),
            (39, 39, "friend"),
            (40, 40, "close"),
            (69, 69, "close"),
            (70, 70, "lover"),
            (100, 100, "lover"),
            (u32::MAX, 100, "lover"),
        ] {
            let relation = Relation { meetings, ..Relation::default() };
            assert_eq!(Closeness::of(&relation), Closeness { intimacy_level, status }, "{meetings}");
        }
    }
}

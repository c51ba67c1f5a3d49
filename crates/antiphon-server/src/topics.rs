//! How a topic is written as text, for backends, operators and the configuration, and how it is read.

use antiphon_core::ids::{AgentId, ConversationId, PersonId, TaskId};
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use uuid::Uuid;

use crate::config::nearest;

/// The kinds of topics that have a name outside.
const KINDS: [&str; 8] =
    ["everyone", "person", "inbox", "agent", "conversation", "named", "task", "dashboard"];

/// Longest accepted name of an event and of a named topic, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The topic that `text` names: `everyone`, or a kind and an id as in `person:user-123`.
pub(crate) fn read(text: &str) -> Result<Topic, Refusal> {
    match text.split_once(':') {
        None if text == "everyone" => Ok(Topic::Everyone),
        None if text == "dashboard" => Ok(Topic::Dashboard),
        None => Err(Refusal::invalid(
            "A topic is `everyone` or `dashboard`, or a kind and an id: `person:user-123`, `inbox:user-123`, `agent:luna`, \
             `conversation:<uuid>`, `task:<uuid>`, `named:<name>`.",
        )),
        Some((kind, id)) => of(kind, id),
    }
}

/// The topic of this kind and id.
pub(crate) fn of(kind: &str, id: &str) -> Result<Topic, Refusal> {
    match kind {
        "person" => PersonId::parse(id).map(Topic::Person),
        "inbox" => PersonId::parse(id).map(Topic::Inbox),
        "agent" => AgentId::parse(id).map(Topic::Agent),
        "conversation" => Uuid::parse_str(id)
            .map(|id| Topic::Conversation(ConversationId(id)))
            .map_err(|_| Refusal::invalid("A conversation is named by its UUID.")),
        "task" => Uuid::parse_str(id)
            .map(|id| Topic::Task(TaskId(id)))
            .map_err(|_| Refusal::invalid("A task is named by its UUID.")),
        "named" => check_name(id).map(|()| Topic::Named(id.into())),
        _ => {
            let meant =
                nearest(kind, KINDS).map_or_else(String::new, |name| format!(" Did you mean `{name}`?"));
            Err(Refusal::invalid(format!("The kinds of topics are {}.{meant}", KINDS.join(", "))))
        }
    }
}

/// A topic in the form that [`read`] reads.
pub(crate) fn write(topic: &Topic) -> String {
    match topic {
        Topic::Everyone => "everyone".into(),
        Topic::Person(id) => format!("person:{id}"),
        Topic::Inbox(id) => format!("inbox:{id}"),
        Topic::Agent(id) => format!("agent:{id}"),
        Topic::Conversation(id) => format!("conversation:{id}"),
        Topic::Named(name) => format!("named:{name}"),
        Topic::Nodes => "nodes".into(),
        Topic::Task(id) => format!("task:{id}"),
        Topic::Dashboard => "dashboard".into(),
    }
}

/// Whether `name` may be the name of an event or of a topic.
pub(crate) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Refusal::invalid("A name has 1 to 256 bytes and no control characters."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_as_it_is_written() {
        let uuid = "5f0c8f0e-6f0f-5b1f-8d2d-0d1b8e0a4c11";
        let (conversation, task) = (format!("conversation:{uuid}"), format!("task:{uuid}"));
        for text in [
            "everyone",
            "inbox:user-123",
            "dashboard",
            "person:user-123",
            "agent:a:b",
            "named:orders",
            "named:'; --\"",
            &conversation,
            &task,
        ] {
            assert_eq!(read(text).map(|topic| write(&topic)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn t5_what_is_no_topic_is_refused_and_the_nodes_are_none() {
        for text in [
            "",
            "task:7",
            "nodes",
            "nodes:",
            "Nodes:x",
            "person:",
            "person",
            "conversation:7",
            "named:",
            "persn:ada",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("persn:ada").unwrap_err().message.ends_with("Did you mean `person`?"));
    }
}

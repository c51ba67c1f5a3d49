//! Topics as text, and publishing to them.

use antiphon_core::command::Command;
use antiphon_core::ids::{AgentId, ConversationId, PersonId, TaskId};
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use axum::extract::State as Extracted;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::State;
use super::body::{Place, nearest, object};
use super::caller::Backend;
use super::idempotency::Answer;
use super::orders::Order;
use super::perform::{Errand, perform};
use super::problem::Problem;
use super::route::Route;

/// The kinds of topics that a backend can name.
const KINDS: [&str; 7] = ["everyone", "person", "agent", "conversation", "named", "task", "dashboard"];

/// Longest accepted name of an event and of a named topic, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// The topic that `text` names: `everyone`, or a kind and an id as in `person:user-123`.
pub(super) fn read(text: &str) -> Result<Topic, Refusal> {
    match text.split_once(':') {
        None if text == "everyone" => Ok(Topic::Everyone),
        None if text == "dashboard" => Ok(Topic::Dashboard),
        None => Err(Refusal::invalid(
            "A topic is `everyone` or `dashboard`, or a kind and an id: `person:user-123`, `agent:luna`, \
             `conversation:<uuid>`, `task:<uuid>`, `named:<name>`.",
        )),
        Some((kind, id)) => of(kind, id),
    }
}

/// The topic of this kind and id.
pub(super) fn of(kind: &str, id: &str) -> Result<Topic, Refusal> {
    match kind {
        "person" => PersonId::parse(id).map(Topic::Person),
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
pub(super) fn write(topic: &Topic) -> String {
    match topic {
        Topic::Everyone => "everyone".into(),
        Topic::Person(id) => format!("person:{id}"),
        Topic::Agent(id) => format!("agent:{id}"),
        Topic::Conversation(id) => format!("conversation:{id}"),
        Topic::Named(name) => format!("named:{name}"),
        Topic::Nodes => "nodes".into(),
        Topic::Task(id) => format!("task:{id}"),
        Topic::Dashboard => "dashboard".into(),
    }
}

pub(super) fn routes() -> Vec<Route> {
    let description =
        "Relays a named value, unread, to everybody who listens to the topic now. It is not stored.";
    let to_one = Route::post("publish", "/v1/topics/{kind}/{id}/publish", publish)
        .says("Topics", "Publish to a topic", description)
        .for_backends()
        .segment("kind", "`person`, `agent`, `conversation` or `named`.", "named")
        .segment("id", "The id of the person, the agent or the conversation, or the name.", "orders")
        .idempotent()
        .takes::<Publication>(json!({"name": "order:shipped", "value": {"order": 4711}}))
        .gives(StatusCode::OK, "It was sent.", &Published { received: 2 });
    let to_all = Route::post("publishToEveryone", "/v1/topics/everyone/publish", publish_to_everyone)
        .says("Topics", "Publish to everybody who is connected", description)
        .for_backends()
        .idempotent()
        .takes::<Publication>(json!({"name": "maintenance", "value": {"minutes": 10}}))
        .gives(StatusCode::OK, "It was sent.", &Published { received: 250 });
    vec![to_one, to_all]
}

/// Whether `name` may be the name of an event or of a topic.
pub(super) fn check_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.chars().any(char::is_control) {
        return Err(Refusal::invalid("A name has 1 to 256 bytes and no control characters."));
    }
    Ok(())
}

/// A named value for everybody who listens to a topic.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Publication {
    /// What the value is called: 1 to 256 bytes.
    #[serde(alias = "event")]
    name: String,
    /// Any JSON. It is relayed as it is.
    #[schema(value_type = Value)]
    value: Box<RawValue>,
}

/// What became of a publication.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Published {
    /// Sockets of this server that listened to the topic.
    pub(super) received: u64,
}

/// What is answered when something was told to whoever listens to `topic`.
pub(super) async fn heard(state: &State, topic: &Topic) -> Answer {
    let received = state.shared.listeners(topic).await as u64;
    Answer::json(StatusCode::OK, &Published { received })
}

async fn publish(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place((kind, id)): Place<(String, String)>,
    errand: Errand,
) -> Result<Response, Problem> {
    let topic = of(&kind, &id)?;
    publish_to(&state, backend, topic, errand).await
}

async fn publish_to_everyone(
    Extracted(state): Extracted<State>,
    backend: Backend,
    errand: Errand,
) -> Result<Response, Problem> {
    publish_to(&state, backend, Topic::Everyone, errand).await
}

async fn publish_to(
    state: &State,
    backend: Backend,
    topic: Topic,
    errand: Errand,
) -> Result<Response, Problem> {
    let Publication { name, value } = object(&errand.text)?;
    check_name(&name)?;
    let command = Command::Signal { topic: topic.clone(), name: name.into(), value: value.into() };
    let ticket = errand.ticket(&backend);
    let answer = move |state: State, _| async move { heard(&state, &topic).await };
    Ok(perform(state, backend, ticket, Order { person: None, command }, answer).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_read_as_it_is_written() {
        let uuid = "5f0c8f0e-6f0f-5b1f-8d2d-0d1b8e0a4c11";
        let conversation = format!("conversation:{uuid}");
        for text in
            ["everyone", "person:user-123", "agent:a:b", "named:orders", "named:'; --\"", &conversation]
        {
            assert_eq!(read(text).map(|topic| write(&topic)).as_deref(), Ok(text));
        }
    }

    #[test]
    fn t5_what_is_no_topic_is_refused_and_the_nodes_are_none() {
        for text in
            ["", "nodes", "nodes:", "Nodes:x", "person:", "person", "conversation:7", "named:", "persn:ada"]
        {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(read("persn:ada").unwrap_err().message.ends_with("Did you mean `person`?"));
    }
}

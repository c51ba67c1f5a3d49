//! What a person and an agent say to each other: reading it, and saying more as either of them.

use std::future::ready;

use antiphon_core::actor::Claim;
use antiphon_core::command::{Command, Once, Outcome};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::refusal::Refusal;
use axum::Json;
use axum::extract::State as Extracted;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;

use super::State;
use super::body::{Asked, Place, object};
use super::caller::Backend;
use super::commands::Posted;
use super::idempotency::Answer;
use super::moment;
use super::orders::Order;
use super::perform::{Errand, carry_out, perform};
use super::problem::Problem;
use super::route::Route;
use super::span::hundred;

const PATH: &str = "/v1/conversations/{agent}/{person}/messages";

pub(super) fn routes() -> Vec<Route> {
    let missing = "There is no such person or agent, or the agent is not theirs.";
    let read = Route::get("history", PATH, history)
        .says("Conversations", "Read a conversation", "Messages oldest first, a page at a time.")
        .for_backends()
        .segment("agent", "The agent's id.", "luna")
        .segment("person", "The person's id.", "user-123")
        .query("after", Type::Integer, "Only messages with a greater `seq`. Default: 0.", 0)
        .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
        .gives(StatusCode::OK, "The messages.", &Page { messages: vec![MessageView::example()], next: None })
        .refuses(StatusCode::NOT_FOUND, missing);
    let post = Route::post("say", PATH, say)
        .says(
            "Conversations",
            "Say something in a conversation",
            "As the person, whom the agent answers, or as the agent, without being asked. The answer comes when the message \
             is durable; everybody who listens to the conversation hears it.",
        )
        .for_backends()
        .segment("agent", "The agent's id.", "luna")
        .segment("person", "The person's id.", "user-123")
        .idempotent()
        .takes::<NewMessage>(json!({"from": "person", "text": "Good morning!"}))
        .gives(StatusCode::OK, "The message is durable.", &Posted::example())
        .refuses(StatusCode::NOT_FOUND, missing)
        .refuses(StatusCode::CONFLICT, "The same name or key was used for another message.");
    vec![read, post]
}

/// A message as it is stored.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Message)]
pub(super) struct MessageView {
    /// Its id.
    id: String,
    /// The conversation's id.
    conversation: String,
    /// Its position there: 1, 2, 3 … without a hole.
    seq: u64,
    /// The agent of the conversation.
    agent: String,
    /// The person of the conversation.
    person: String,
    /// Who said it.
    from: Side,
    /// What was said.
    text: String,
    /// When, as in `2026-11-20T16:00:00.123Z`.
    at: String,
}

/// One of the two who talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Side {
    /// The person.
    Person,
    /// The agent.
    Agent,
}

impl From<Message> for MessageView {
    fn from(message: Message) -> Self {
        Self {
            id: message.id.to_string(),
            conversation: message.conversation.to_string(),
            seq: message.seq,
            agent: message.agent.to_string(),
            person: message.person.to_string(),
            from: match message.author {
                Party::Person => Side::Person,
                Party::Agent => Side::Agent,
            },
            text: message.text,
            at: moment::write(message.at),
        }
    }
}

impl MessageView {
    fn example() -> Self {
        Self {
            id: "0b54a5d2-3c7e-4d55-9d0a-6c7b5a1f8a34".into(),
            conversation: "5f0c8f0e-6f0f-5b1f-8d2d-0d1b8e0a4c11".into(),
            seq: 7,
            agent: "luna".into(),
            person: "user-123".into(),
            from: Side::Person,
            text: "Good morning!".into(),
            at: "2026-11-20T16:00:00.123Z".into(),
        }
    }
}

/// A page of messages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Messages)]
struct Page {
    /// The messages, oldest first.
    messages: Vec<MessageView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    #[serde(default)]
    after: u64,
    #[serde(default = "hundred")]
    limit: u32,
}

/// Something to say.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewMessage {
    /// Who says it. Default: the person.
    #[serde(default = "person")]
    from: Side,
    /// What is said: 1 to 32,768 bytes.
    text: String,
    /// The sender's own name for this message: for 24 hours it is stored once.
    client_message_id: Option<String>,
}

fn person() -> Side {
    Side::Person
}

async fn history(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place((agent, person)): Place<(String, String)>,
    Asked(Span { after, limit }): Asked<Span>,
) -> Result<Json<Page>, Problem> {
    let (agent, person) = (AgentId::parse(&agent)?, PersonId::parse(&person)?);
    let command = Command::ReadHistory { agent, person: Claim::NONE, after, limit };
    let order = Order { person: Some(person), command };
    let Outcome::History(messages) = carry_out(&state, &backend, order).await? else {
        return Err(Refusal::internal().into());
    };
    let is_full = messages.len() == limit as usize;
    let next = messages.last().filter(|_| is_full).map(|last| last.seq);
    Ok(Json(Page { messages: messages.into_iter().map(MessageView::from).collect(), next }))
}

async fn say(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place((agent, person)): Place<(String, String)>,
    errand: Errand,
) -> Result<Response, Problem> {
    let (agent, person) = (AgentId::parse(&agent)?, PersonId::parse(&person)?);
    let NewMessage { from, text, client_message_id } = object(&errand.text)?;
    let once = client_message_id.map(|key| Once::parse(&key)).transpose()?;
    let order = match from {
        Side::Person => Order {
            command: Command::PostMessage { agent, person: Claim::NONE, text, once, price: None },
            person: Some(person),
        },
        Side::Agent => Order { command: Command::Speak { agent, person, text, once }, person: None },
    };
    let ticket = errand.ticket(&backend);
    let answer = |_, outcome| {
        ready(match outcome {
            Outcome::Posted { id, conversation, seq, duplicate } => {
                let (id, conversation) = (id.to_string(), conversation.to_string());
                Answer::json(StatusCode::OK, &Posted { id, conversation, seq, duplicate })
            }
            // Nothing but a message comes of these two orders.
            _ => Answer::json(StatusCode::OK, &json!({})),
        })
    };
    Ok(perform(&state, backend, ticket, order, answer).await)
}

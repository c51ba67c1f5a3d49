//! Publishing to topics.

use antiphon_core::command::Command;
use antiphon_core::topic::Topic;
use axum::extract::State as Extracted;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::State;
use super::body::{Place, object};
use super::caller::Backend;
use super::idempotency::Answer;
use super::orders::Order;
use super::perform::{Errand, perform};
use super::problem::Problem;
use super::route::Route;
use crate::topics::of;
pub(super) use crate::topics::{check_name, read, write};

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

//! Webhooks: how the endpoints do, what did not reach them, and trying again.

use std::sync::Arc;

use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::webhooks::DeadLetter;
use axum::Json;
use axum::extract::State as Extracted;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;

use super::State;
use super::body::{Asked, Place};
use super::caller::Backend;
use super::moment;
use super::problem::Problem;
use super::route::Route;
use super::span::{check_limit, hundred};
use crate::webhooks::{EndpointState, Retried, Webhooks};

pub(super) fn routes() -> Vec<Route> {
    let group = "Webhooks";
    let none = "This server tells no other server anything: no webhook is configured.";
    let endpoints = Endpoints { webhooks: vec![EndpointView::example()], missed: 0 };
    vec![
        Route::get("webhooks", "/v1/webhooks", list)
            .says(group, "List webhooks", "Those of the configuration, in its order, and how each of them does.")
            .for_backends()
            .gives(StatusCode::OK, "The webhooks.", &endpoints)
            .refuses(StatusCode::NOT_FOUND, none),
        Route::get("deadLetters", "/v1/webhooks/dead", dead)
            .says(
                group,
                "List dead letters",
                "Deliveries that were given up, in the order of their ids, a page at a time. They are kept for \
                 `[webhooks] keep_dead` milliseconds.",
            )
            .for_backends()
            .query("after", Type::Integer, "Only those whose id is greater than this.", 4_711)
            .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
            .gives(StatusCode::OK, "The dead letters.", &Page { dead: vec![DeadView::example()], next: None })
            .refuses(StatusCode::NOT_FOUND, none),
        Route::post("retryDeadLetter", "/v1/webhooks/dead/{delivery}/retry", retry)
            .says(
                group,
                "Try a dead letter again",
                "At once, and then as often as if it were new. It goes out with the same id and the same bytes as before, after \
                 those that were told meanwhile.",
            )
            .for_backends()
            .segment("delivery", "The dead letter's id, a number.", "4712")
            .gives_nothing("It is on its way again.")
            .refuses(StatusCode::NOT_FOUND, "There is no such dead letter, or no webhook is configured.")
            .refuses(StatusCode::CONFLICT, "Its webhook is disabled, or is not configured any more."),
        Route::post("enableWebhook", "/v1/webhooks/{webhook}/enable", enable)
            .says(
                group,
                "Enable a webhook",
                "One that answered 410 is told nothing any more until this. What happened meanwhile is not told; dead letters \
                 stay dead until they are tried again. One that is not disabled stays as it is.",
            )
            .for_backends()
            .segment("webhook", "The webhook's id.", "wh_0f3a9c12d4e5b6a7")
            .gives_nothing("It is told again.")
            .refuses(StatusCode::NOT_FOUND, "There is no such webhook."),
    ]
}

/// How a webhook does.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
struct EndpointView {
    /// Its name, the same as long as its URL is.
    id: String,
    /// Scheme, host and port of its URL; the rest may be secret.
    url: String,
    /// Whether it answered 410 and is told nothing any more.
    disabled: bool,
    /// Deliveries that are on their way.
    pending: u64,
    /// Dead letters that are kept.
    dead: u64,
    /// Deliveries that arrived since the start of the server.
    delivered: u64,
    /// Attempts that failed and are repeated, since the start.
    failed: u64,
    /// Deliveries that were given up after their last attempt, since the start.
    died: u64,
}

impl From<EndpointState> for EndpointView {
    fn from(state: EndpointState) -> Self {
        let EndpointState { id, url, disabled, delivered, failed, died, pending, dead } = state;
        Self { id, url, disabled, pending, dead, delivered, failed, died }
    }
}

impl EndpointView {
    fn example() -> Self {
        Self {
            id: "wh_0f3a9c12d4e5b6a7".into(),
            url: "https://hooks.example.org".into(),
            disabled: false,
            pending: 3,
            dead: 1,
            delivered: 4_711,
            failed: 12,
            died: 1,
        }
    }
}

/// All webhooks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhooks)]
struct Endpoints {
    /// The webhooks, in the order of the configuration.
    webhooks: Vec<EndpointView>,
    /// Events that no webhook is told of because too many came at once, since the start; never messages.
    missed: u64,
}

/// A delivery that was given up.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
struct DeadView {
    /// Its id.
    id: u64,
    /// The id of the webhook that it was for.
    webhook: String,
    /// The `webhook-id` that it was sent with.
    message: String,
    /// The name of the event.
    event: String,
    /// Whom it is about; absent when it is about nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// Its number among those about the same person to the same webhook.
    sequence: u64,
    /// What was to be sent, byte for byte. May hold what people wrote.
    body: String,
    /// When it happened.
    at: String,
    /// When it was given up.
    died_at: String,
    /// How often it was tried.
    attempts: u32,
    /// Why it did not arrive the last time.
    why: String,
}

impl From<DeadLetter> for DeadView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            id: letter.id,
            webhook: letter.endpoint,
            message: letter.announcement,
            event: letter.kind,
            person: letter.person.map(|person| person.to_string()),
            sequence: letter.sequence,
            body: letter.body,
            at: moment::write(letter.at),
            died_at: moment::write(letter.died_at),
            attempts: letter.attempts,
            why: letter.why,
        }
    }
}

impl DeadView {
    fn example() -> Self {
        Self {
            id: 4_712,
            webhook: "wh_0f3a9c12d4e5b6a7".into(),
            message: "msg_0195a7c0d1e2f3a4b5c6d7e8f9a0b1c2".into(),
            event: "notice.sent".into(),
            person: Some("user-123".into()),
            sequence: 17,
            body: "{\"type\":\"notice.sent\",\"sequence\":17}".into(),
            at: "2026-11-20T16:00:00.123Z".into(),
            died_at: "2026-11-23T20:45:11.042Z".into(),
            attempts: 10,
            why: "the endpoint answered 500 Internal Server Error".into(),
        }
    }
}

/// A page of dead letters.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeadLetters)]
struct Page {
    /// The dead letters, in the order of their ids.
    dead: Vec<DeadView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Span {
    after: Option<u64>,
    #[serde(default = "hundred")]
    limit: u32,
}

async fn list(Extracted(state): Extracted<State>, _: Backend) -> Result<Json<Endpoints>, Problem> {
    let webhooks = configured(&state)?;
    webhooks.look().await?;
    let endpoints = webhooks.endpoints().into_iter().map(EndpointView::from).collect();
    Ok(Json(Endpoints { webhooks: endpoints, missed: webhooks.missed() }))
}

async fn dead(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(Span { after, limit }): Asked<Span>,
) -> Result<Json<Page>, Problem> {
    check_limit(limit)?;
    let dead = configured(&state)?.list_dead(after, limit).await?;
    let is_full = dead.len() == limit as usize;
    let next = dead.last().filter(|_| is_full).map(|last| last.id);
    Ok(Json(Page { dead: dead.into_iter().map(DeadView::from).collect(), next }))
}

async fn retry(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(delivery): Place<u64>,
) -> Result<StatusCode, Problem> {
    match configured(&state)?.retry(delivery).await? {
        Retried::Due => Ok(StatusCode::NO_CONTENT),
        Retried::Unknown => Err(Refusal::not_found("There is no such dead letter.").into()),
        Retried::Undeliverable => {
            let message = "Its webhook is disabled or is not configured any more; nobody would deliver it.";
            Err(Refusal::new(Code::Conflict, message).into())
        }
    }
}

async fn enable(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(webhook): Place<String>,
) -> Result<StatusCode, Problem> {
    let webhooks = configured(&state)?;
    if webhooks.endpoints().iter().all(|endpoint| endpoint.id != webhook) {
        return Err(Refusal::not_found("There is no such webhook.").into());
    }
    webhooks.enable(&webhook).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn configured(state: &State) -> Result<&Arc<Webhooks>, Refusal> {
    state
        .webhooks
        .as_ref()
        .ok_or_else(|| Refusal::not_found("This server has no webhooks: none is configured."))
}

//! `GET /v1/tail`: what happens, as it happens, as server-sent events.
//!
//! | file | answers |
//! |---|---|
//! | [`queue`] | how a slow reader is kept from slowing anybody else |
//! | [`line`] | what an event looks like to the reader |

mod line;
pub(super) mod queue;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::Actor;
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::{Code, Refusal};
use axum::extract::State as Extracted;
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::unfold;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use utoipa::openapi::schema::Type;

use self::queue::{Item, Tail};
use super::State;
use super::body::{Asked, cut};
use super::caller::Backend;
use super::problem::Problem;
use super::route::Route;
use super::topics;

/// How often a stream on which nothing happens says that it is still there.
const STILL_HERE: Duration = Duration::from_secs(15);

/// Topics that one stream may name.
const MOST_TOPICS: usize = 64;

pub(super) fn routes() -> Vec<Route> {
    let example = "event: listening\ndata: {\"topics\":[\"person:user-123\"]}\n\n\
        event: MessagePosted\ndata: {\"topic\":\"conversation:5f0c8f0e-6f0f-5b1f-8d2d-0d1b8e0a4c11\",\"at\":\
        \"2026-11-20T16:00:00.123Z\",\"event\":{\"agent\":\"luna\",\"person\":\"user-123\",\"text\":\"Good morning!\"}}\n\n";
    let route = Route::get("tail", "/v1/tail", tail)
        .says(
            "Operating",
            "Watch events as they happen",
            "Server-sent events: `listening` first, then each event of the core under its name with `topic`, `at` and \
             `event`. A reader that is too slow is told with `skipped` how many it missed. The stream ends when the server \
             stops and when the key expires or is revoked.",
        )
        .for_backends()
        .query(
            "topic",
            Type::String,
            "Only events of this topic, such as `person:user-123`, `agent:luna`, `conversation:<uuid>`, `named:orders` or \
             `everyone`. May be given several times. Default: all topics.",
            "person:user-123",
        )
        .gives_text("text/event-stream", "The events, until one of the two ends it.", example);
    vec![route]
}

async fn tail(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Asked(asked): Asked<Vec<(String, String)>>,
) -> Result<Response, Problem> {
    let mut wanted = Vec::new();
    for (name, value) in asked {
        if name != "topic" {
            let name = cut(&name);
            return Err(Problem::invalid(format!("There is no parameter `{name}`; there is `topic`.")));
        }
        wanted.push(topics::read(&value)?);
    }
    if wanted.len() > MOST_TOPICS {
        return Err(Problem::invalid(format!("A stream names at most {MOST_TOPICS} topics.")));
    }
    let names: Vec<_> = wanted.iter().map(topics::write).collect();
    let began = state.shared.now();
    let ends = ends(backend.actor().clone(), began);
    let tail = state.tails.open(&*state.shared.app.ports().bus, wanted, ends).ok_or_else(|| {
        Refusal::new(Code::Unavailable { retry_after: 10_000 }, "As many tails as may be are open already.")
    })?;
    let until = backend.actor().expires_at.map(|at| remaining(began, at));
    let reading = Reading {
        first: Some(sse::Event::default().event("listening").data(json!({"topics": names}).to_string())),
        tail,
        stopping: state.shared.stop_signal(),
        expires: until.map(|wait| Instant::now() + wait),
    };
    let events = unfold(reading, |mut reading| async move {
        let event = reading.next().await?;
        Some((Ok::<_, Infallible>(event), reading))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(STILL_HERE)).into_response())
}

/// One open stream.
struct Reading {
    first: Option<sse::Event>,
    tail: Tail,
    stopping: watch::Receiver<bool>,
    expires: Option<Instant>,
}

impl Reading {
    /// What to say next; nothing when the stream is over.
    async fn next(&mut self) -> Option<sse::Event> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        let item = tokio::select! {
            item = self.tail.next() => item,
            _ = self.stopping.wait_for(|stopping| *stopping) => return None,
            () = until(self.expires) => return None,
        };
        match item {
            Item::End => None,
            Item::Event(envelope) => {
                let line = line::Line::new(&envelope);
                Some(sse::Event::default().event(line.name()).data(line.json()))
            }
            Item::Skipped(events) => {
                let data = json!({"events": events}).to_string();
                Some(sse::Event::default().event("skipped").data(data))
            }
        }
    }
}

/// Says of an event whether it is the end of the key of `actor`, who began to read at `began`.
fn ends(actor: Arc<Actor>, began: Timestamp) -> impl Fn(&Event) -> bool {
    move |event| match event {
        Event::Revoked(revocation) => revocation.covers(&actor.proof, &actor.principal, began),
        _ => false,
    }
}

/// Waits for that moment; for ever without one.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// How long it is from `now` to `then`.
fn remaining(now: Timestamp, then: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(then.0.saturating_sub(now.0)).unwrap_or(0))
}

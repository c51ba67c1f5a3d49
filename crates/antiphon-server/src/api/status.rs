//! `GET /v1/status`: how the server is, for a backend.

use axum::Json;
use axum::extract::State as Extracted;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::State;
use super::caller::Backend;
use super::moment;
use super::route::Route;

pub(super) fn routes() -> Vec<Route> {
    let example = Status {
        version: env!("CARGO_PKG_VERSION"),
        demo: false,
        ready: true,
        now: "2026-11-20T16:00:00.123Z".into(),
        connections: 250,
        opened: 4_711,
        closed: 4_461,
        refused: 12,
        you: "service:shop".into(),
    };
    let route = Route::get("status", "/v1/status", status)
        .says("Operating", "Read how the server is", "Counts are of this node, since its start.")
        .for_backends()
        .gives(StatusCode::OK, "How it is.", &example);
    vec![route]
}

/// How the server is.
#[derive(Debug, Serialize, ToSchema)]
struct Status {
    /// The server's version.
    version: &'static str,
    /// Whether everybody may use the documents' placeholder keys.
    demo: bool,
    /// Whether new connections are welcome; not so once the server stops.
    ready: bool,
    /// What time it is here.
    now: String,
    /// Connections that are open now.
    connections: usize,
    /// Connections that were opened.
    opened: u64,
    /// Connections that were closed, for whatever reason.
    closed: u64,
    /// Connects and events that were refused.
    refused: u64,
    /// Whom your key speaks for.
    you: String,
}

async fn status(Extracted(state): Extracted<State>, backend: Backend) -> Json<Status> {
    let shared = &state.shared;
    let counted = shared.counters.read();
    Json(Status {
        version: env!("CARGO_PKG_VERSION"),
        demo: shared.demo,
        ready: shared.is_ready(),
        now: moment::write(shared.now()),
        connections: shared.open(),
        opened: counted.opened,
        closed: counted.closed,
        refused: counted.refused,
        you: backend.name(),
    })
}

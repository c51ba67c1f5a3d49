//! Whether the server is there: `GET /health`, for whichever API asks on this port.

use axum::Json;
use axum::extract::State as Extracted;
use serde::Serialize;

use super::State;

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    websocket: &'static str,
}

pub(super) async fn health(Extracted(state): Extracted<State>) -> Json<Health> {
    Json(Health {
        status: "ok",
        timestamp: state.desk.now().iso(),
        version: env!("CARGO_PKG_VERSION"),
        websocket: "enabled",
    })
}

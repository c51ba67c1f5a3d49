//! The HTTP routes that belong to the mission API: `/api/v1/…`, with and without a slash at the end.
//!
//! | file | answers |
//! |---|---|
//! | `accounts` | adding people, logging in, staying logged in and logging out |
//! | `agents` | which agents there are, how they are, and telling them what to do |
//! | `tasks` | tasks and what becomes of them |
//! | `conversations` | what people and agents say to each other |
//! | `caller`, `body` | who asks, and what a request brings |
//! | `problem` | what a refusal looks like |
//! | `settings` | what can be configured |
//!
//! Everything is decided by the core: nothing here has a rule of its own about who may do what. A request that changes something
//! has the events of this API, and of every other, follow from it.

mod accounts;
mod agents;
mod body;
mod caller;
mod conversations;
mod problem;
mod settings;
mod tasks;

use std::borrow::Cow;
use std::sync::Arc;

use antiphon_core::command::Command;
use antiphon_core::event::Severity;
use antiphon_core::ports::Store;
use antiphon_core::refusal::{Fault, Refusal};
use antiphon_dialects::mission::words::Word as _;
use axum::extract::{FromRequestParts, State as Extracted};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use http::StatusCode;
use http::request::Parts;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::settings::{Registration, Settings};

use self::body::{Body, word};
use self::caller::Asker;
use self::problem::Problem;
use super::Desk;
use crate::api::Paces;
use crate::auth::Own;
use crate::pace::Pace;
use crate::shared::Shared;
use crate::transport::crowd::Place;
use crate::transport::handler::Client;

/// Where all of it is.
const BASE: &str = "/api/v1";

/// What every route has at hand.
type State = Arc<Office>;

/// What all requests share.
struct Office {
    desk: Desk,
    /// Per person and backend.
    pace: Paces<String>,
    /// Per address, for those who log in.
    logins: Paces<Place>,
}

/// The routes of the mission API.
pub(super) fn router(desk: Desk) -> Router {
    let api = &desk.shared.api;
    let office = Office {
        pace: Paces::new(Pace::new(api.commands_per_second, api.commands_burst)),
        logins: Paces::new(Pace::per_minute(api.logins_per_minute)),
        desk,
    };
    let router = accounts::routes(Router::new());
    let router = agents::routes(router);
    let router = tasks::routes(router);
    let router = conversations::routes(router);
    let router = both(router, "/alerts", post(alert));
    let router = both(router, "/health", get(health));
    router.method_not_allowed_fallback(not_allowed).with_state(Arc::new(office))
}

impl Office {
    fn shared(&self) -> &Arc<Shared> {
        &self.desk.shared
    }

    fn store(&self) -> &dyn Store {
        &*self.shared().app.ports().store
    }

    /// Who signs the tokens of this API. It is there wherever the API is mounted.
    fn tokens(&self) -> Result<&Own, Refusal> {
        self.shared().auth.own().ok_or_else(Refusal::internal)
    }

    /// Counts one request of whoever is called `name`.
    fn count(&self, name: &str) -> Result<(), Refusal> {
        self.pace.count(name.to_owned(), 1)
    }
}

/// Somebody who wants to become somebody, and does not try too often from where they are.
struct Stranger;

impl FromRequestParts<State> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let Some(Client(address)) = parts.extensions.get::<Client>() else {
            return Err(Refusal::internal().into());
        };
        if let Some(place) = state.shared().crowd.place(*address) {
            state.logins.count(place, 1)?;
        }
        Ok(Self)
    }
}

/// A sentence about what was done.
#[derive(Serialize)]
struct Message {
    message: Cow<'static, str>,
}

impl Message {
    fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into() }
    }
}

#[derive(Deserialize)]
struct NewAlert {
    message: String,
    #[serde(default = "info")]
    severity: String,
}

fn info() -> String {
    Severity::Info.word().into()
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    websocket: &'static str,
}

async fn health() -> Json<Health> {
    Json(Health { status: "healthy", websocket: "enabled" })
}

async fn alert(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Body(NewAlert { message, severity }): Body<NewAlert>,
) -> Result<(StatusCode, Json<Message>), Problem> {
    let severity = word(&["body", "severity"], &severity)?;
    asker.order(&state, Command::RaiseAlert { message, severity }).await?;
    Ok((StatusCode::CREATED, Json(Message::new("Alert sent"))))
}

/// A request that does not get as far as a route, refused as the routes would.
pub(super) fn refuse(status: StatusCode, why: &'static str) -> Response {
    Problem::new(status, why).into_response()
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed")
}

/// Something here failed: that is for the log.
fn broken(fault: Fault) -> Problem {
    tracing::error!(error = &fault as &dyn std::error::Error, "a request failed");
    Refusal::internal().into()
}

/// `path` below [`BASE`], with and without a slash at its end.
fn both(router: Router<State>, path: &str, methods: MethodRouter<State>) -> Router<State> {
    router.route(&format!("{BASE}{path}"), methods.clone()).route(&format!("{BASE}{path}/"), methods)
}

/// JSON that came in as such, and goes out as it is.
fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

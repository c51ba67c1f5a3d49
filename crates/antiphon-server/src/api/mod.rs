//! The HTTP API for backends: `/v1/…`, `/openapi.json` and `/docs`, on every listener that says `api = true`.
//!
//! | file | answers |
//! |---|---|
//! | `commands` | any command of the core, alone or many in a row |
//! | `people`, `bonds`, `conversations`, `agents`, `topics`, `keys`, `login`, `webhooks`, `jobs`, `status`, `tail` | the readable routes |
//! | `orders` | what a command looks like as JSON: the one translation into the core's commands |
//! | `perform`, `idempotency` | how commands are done; how a request that is sent again has one effect |
//! | `route`, `document`, `page` | what a route is, and what both descriptions say about it |
//! | `caller`, `pace` | who asks, and how often |
//! | `body`, `span`, `problem`, `moment` | what is sent, which part of a list is asked for, what a refusal looks like, how a moment is written |
//! | `settings` | what can be configured |
//!
//! Everything is decided by the core: nothing here has a rule of its own about who may do what.

mod agents;
mod body;
mod bonds;
mod caller;
mod commands;
mod conversations;
mod document;
mod idempotency;
mod jobs;
mod keys;
mod login;
mod moment;
mod orders;
mod pace;
mod page;
mod people;
mod perform;
mod problem;
mod route;
mod settings;
mod span;
mod status;
mod tail;
mod topics;
mod webhooks;
mod work;

use std::net::IpAddr;
use std::sync::Arc;

use antiphon_core::refusal::Refusal;
use axum::Router;
use axum::extract::State as Extracted;
use axum::response::{Html, IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use http::{Request, StatusCode};
use hyper::body::Incoming;

pub(crate) use self::body::{DEPTH, nests_within};
pub(crate) use self::pace::Paces;
pub use self::settings::Settings;

use self::idempotency::Underway;
use self::problem::Problem;
use self::route::Route;
use self::tail::queue::Tails;
use crate::pace::Pace;
use crate::proactive::Proactive;
use crate::shared::Shared;
use crate::transport::crowd::Place;
use crate::transport::handler;
use crate::webhooks::Webhooks;

/// What every route has at hand.
type State = Arc<Office>;

/// What all requests share.
struct Office {
    shared: Arc<Shared>,
    settings: Settings,
    /// Per backend.
    pace: Paces<String>,
    /// Per address, for those who log in.
    logins: Paces<Place>,
    underway: Underway,
    tails: Tails,
    /// None when no endpoint is configured.
    webhooks: Option<Arc<Webhooks>>,
    /// None when nothing is said by itself.
    proactive: Option<Arc<Proactive>>,
    document: Bytes,
    page: Bytes,
}

/// The HTTP API. Clones are the same API.
#[derive(Clone)]
pub(crate) struct Api {
    router: Router,
    shared: Arc<Shared>,
}

impl Api {
    /// An API over what all cores share, and over the webhooks and what is said by itself if there are any.
    pub(crate) fn new(
        shared: Arc<Shared>,
        webhooks: Option<Arc<Webhooks>>,
        proactive: Option<Arc<Proactive>>,
        settings: &Settings,
    ) -> Self {
        let routes = routes();
        // Text, numbers, and maps with text for keys.
        let document = serde_json::to_value(document::describe(&routes)).expect("a document is plain JSON");
        // A list that is allowed must find room at some time.
        let largest = u32::try_from(settings.max_batch).unwrap_or(u32::MAX);
        let office = Office {
            pace: Paces::new(Pace::new(settings.commands_per_second, settings.commands_burst.max(largest))),
            logins: Paces::new(Pace::per_minute(settings.logins_per_minute)),
            underway: Underway::default(),
            tails: Tails::new(settings.max_tails, settings.tail_queue),
            webhooks,
            proactive,
            page: page::render(&document).into(),
            document: document.to_string().into(),
            settings: settings.clone(),
            shared: shared.clone(),
        };
        Self { router: route::router(routes, Arc::new(office)), shared }
    }

    /// Whether `path` is one of its own.
    pub(crate) fn serves(path: &str) -> bool {
        path == "/v1" || path.starts_with("/v1/") || path == "/openapi.json" || path == "/docs"
    }

    /// Answers a request that came over a connection from `peer`.
    pub(crate) async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response {
        let failed = || Problem::from(Refusal::internal()).into_response();
        handler::answer(&self.router, &self.shared, peer, request, failed).await
    }
}

/// Every route, in no particular order.
fn routes() -> Vec<Route> {
    [
        commands::routes(),
        people::routes(),
        bonds::routes(),
        conversations::routes(),
        agents::routes(),
        topics::routes(),
        keys::routes(),
        login::routes(),
        webhooks::routes(),
        jobs::routes(),
        status::routes(),
        tail::routes(),
        descriptions(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn descriptions() -> Vec<Route> {
    let group = "Document";
    vec![
        Route::get("document", "/openapi.json", document)
            .says(group, "Read this description as OpenAPI 3.1", "For tools. Needs no key.")
            .gives_text("application/json", "The description.", "{\"openapi\":\"3.1.0\"}"),
        Route::get("page", "/docs", page)
            .says(group, "Read this description as a page", "For people. Needs no key.")
            .gives_text("text/html", "The page.", "<!doctype html>"),
    ]
}

async fn document(Extracted(state): Extracted<State>) -> Response {
    ([(CONTENT_TYPE, "application/json")], state.document.clone()).into_response()
}

async fn page(Extracted(state): Extracted<State>) -> Response {
    (StatusCode::OK, [(CONTENT_SECURITY_POLICY, page::POLICY)], Html(state.page.clone())).into_response()
}

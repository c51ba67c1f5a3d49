//! What the operator's port serves, and to whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tracing::Instrument as _;

use super::settings::Lock;
use crate::auth::bearer;
use crate::shared::Shared;
use crate::telemetry::context::{RequestId, Whose, within};
use crate::telemetry::{self, REQUEST_ID, SPANS, Scraper, cut};
use crate::transport::origin::names_this_machine;

/// What answers without a token: it says no more here than on the public ports.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/version"];

/// Where the pages come from.
pub(crate) struct Sources {
    pub(crate) shared: Arc<Shared>,
    /// `None` when nothing is counted.
    pub(crate) scraper: Option<Scraper>,
    /// What a token is compared with; without one everybody on this machine may ask.
    pub(crate) lock: Option<Lock>,
}

struct Desk {
    sources: Sources,
    requests: AtomicU64,
}

/// The pages.
pub(crate) fn router(sources: Sources) -> Router {
    let desk = Arc::new(Desk { sources, requests: AtomicU64::new(0) });
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(desk.clone(), knock))
        .with_state(desk)
}

/// Names the request, and lets it through if it may be asked.
async fn knock(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    // As if of a core that no machine has.
    let id = RequestId::new(u16::MAX, desk.requests.fetch_add(1, Relaxed));
    let path = request.uri().path().to_owned();
    let (method, shown) = (cut(request.method().as_str()).to_owned(), cut(&path).to_owned());
    let span = tracing::info_span!(
        target: SPANS, "request", otel.kind = "server", http.request.method = method, url.path = shown,
        http.response.status_code = tracing::field::Empty, request = %id,
    );
    let answer = async {
        let mut reply = match desk.refusal(&path, request.headers()) {
            None => next.run(request).await,
            Some(refused) => refused,
        };
        let status = reply.status().as_u16();
        tracing::Span::current().record("http.response.status_code", status);
        // Never the query: people put tokens there.
        tracing::debug!(method, path = shown, status, "an operator asked");
        if let Ok(id) = HeaderValue::from_str(&id.to_string()) {
            reply.headers_mut().insert(REQUEST_ID, id);
        }
        reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    };
    within(Whose { connection: None, request: Some(id) }, answer.instrument(span)).await
}

impl Desk {
    fn refusal(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let Some(lock) = &self.sources.lock else {
            // A page in the operator's own browser can have any name point here. What it cannot do is ask by address.
            return (!names_this_machine(headers))
                .then(|| plain(StatusCode::FORBIDDEN, "Ask by address, or as localhost.\n"));
        };
        if OPEN.contains(&path) || bearer(headers).is_some_and(|token| lock.opens_with(token)) {
            return None;
        }
        let mut reply = plain(StatusCode::UNAUTHORIZED, "The token of [admin] is asked for.\n");
        reply.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        Some(reply)
    }
}

async fn metrics(State(desk): State<Arc<Desk>>) -> Response {
    match &desk.sources.scraper {
        Some(scraper) => ([(CONTENT_TYPE, telemetry::CONTENT_TYPE)], scraper.page().await).into_response(),
        None => plain(StatusCode::NOT_FOUND, "Nothing is counted: [telemetry] metrics is false.\n"),
    }
}

async fn healthz(State(desk): State<Arc<Desk>>) -> Response {
    plain(StatusCode::OK, if desk.sources.shared.demo { "ok demo=1\n" } else { "ok\n" })
}

async fn readyz(State(desk): State<Arc<Desk>>) -> Response {
    match desk.sources.shared.unready() {
        None => plain(StatusCode::OK, "ready\n"),
        Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn version() -> Response {
    plain(StatusCode::OK, concat!("antiphon ", env!("CARGO_PKG_VERSION"), "\n"))
}

async fn nothing() -> Response {
    plain(
        StatusCode::NOT_FOUND,
        "There is nothing here. There are /metrics, /healthz, /readyz and /version.\n",
    )
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, text).into_response()
}

//! Which documented HTTP routes a listener serves: those of the dialects that are mounted on it, where it says `routes = true`.
//!
//! A dialect's routes are one [`Router`] in a folder of its own, the shape of its refusals, and one line of `ROUTERS`. What every
//! router can rely on:
//!
//! - A path that it does not have goes to the next router, and in the end to the server's own pages; so a router has no fallback.
//! - A body is whole and has at most `LARGEST_BODY` bytes; a longer one, or one that takes too long, never reaches a handler, and is
//!   refused in the dialect's own shape.
//! - Browsers may ask from where they may connect to the dialect's mounts. Preflights are answered here.
//! - A handler that panics is counted and answered 500.
//! - The request carries the address that it comes from, as a `Client`.

pub mod companion;
pub mod mission;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::Caller;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::Refusal;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Router};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, StatusCode};
use hyper::body::Incoming;

use crate::mount::Mount;
use crate::shared::Shared;
use crate::telemetry;
use crate::transport::handler;
use crate::transport::origin::{Origins, Verdict, allow_origin, allow_preflight};

/// Makes a dialect's routes.
type Make = fn(Desk) -> Router;

/// Refuses a request in the shape that a dialect gives to all of its refusals.
type Refuse = fn(StatusCode, &'static str) -> Response;

/// The dialects that document HTTP routes, by name.
const ROUTERS: &[(&str, Make, Refuse)] =
    &[("companion", companion::router, companion::refuse), ("mission", mission::router, mission::refuse)];

/// Bytes of the largest body that is taken.
const LARGEST_BODY: usize = 64 * 1024;

/// What every handler has at hand. Clones are the same desk.
#[derive(Clone)]
pub(crate) struct Desk {
    /// What all cores share: the app, who may come in, and the limits.
    pub(crate) shared: Arc<Shared>,
}

impl Desk {
    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// Has the core do what `caller` asks, timed and traced like any other command.
    pub(crate) async fn carry_out(&self, caller: &Caller, command: Command) -> Result<Outcome, Refusal> {
        self.shared.breathe().await;
        telemetry::carry_out(&self.shared.app, caller, command).await
    }
}

/// The documented routes of one listener. Clones are the same routes.
#[derive(Clone)]
pub(crate) struct Routes {
    router: Router,
    shared: Arc<Shared>,
}

impl Routes {
    /// The routes of the dialects of `mounts`; those of the first are asked first.
    pub(crate) fn new(shared: &Arc<Shared>, mounts: &[Arc<Mount>]) -> Self {
        Self::of(ROUTERS, shared, mounts)
    }

    fn of(routers: &[(&str, Make, Refuse)], shared: &Arc<Shared>, mounts: &[Arc<Mount>]) -> Self {
        let mut dialects: Vec<&str> = Vec::new();
        for voice in mounts.iter().flat_map(|mount| &mount.voices) {
            let name = shared.voice(*voice).dialect.name();
            if !dialects.contains(&name) {
                dialects.push(name);
            }
        }
        // From the last to the first, because each is told whom to ask next.
        let router = dialects.iter().rev().fold(nowhere(), |next, name| {
            let found = routers.iter().find(|(dialect, ..)| dialect == name);
            let Some((_, make, refuse)) = found else { return next };
            let speaks = |mount: &&Arc<Mount>| {
                mount.voices.iter().any(|voice| shared.voice(*voice).dialect.name() == *name)
            };
            let door = Door {
                origins: mounts.iter().filter(speaks).map(|mount| mount.origins.clone()).collect(),
                patience: Duration::from_millis(shared.limits.request),
                refuse: *refuse,
            };
            behind(door, make(Desk { shared: shared.clone() }), next)
        });
        Self { router, shared: shared.clone() }
    }

    /// Answers a request that came over a connection from `peer`. `None` when no dialect has such a path.
    pub(crate) async fn answer(&self, peer: IpAddr, request: http::Request<Incoming>) -> Option<Response> {
        let failed = || {
            (StatusCode::INTERNAL_SERVER_ERROR, "Something here failed; please try again.\n").into_response()
        };
        let response = handler::answer(&self.router, &self.shared, peer, request, failed).await;
        response.extensions().get::<Nowhere>().is_none().then_some(response)
    }
}

/// `router` behind its door; what it does not have is for `next`.
fn behind(door: Door, router: Router, next: Router) -> Router {
    router.layer(from_fn_with_state(door, enter)).fallback_service(next)
}

/// Has no path at all, and says so.
fn nowhere() -> Router {
    Router::new().fallback(async || (StatusCode::NOT_FOUND, Extension(Nowhere)))
}

/// Marks the answer to a path that no dialect has.
#[derive(Clone, Copy)]
struct Nowhere;

/// Who may come to a dialect's routes, how long they may take to say what they want, and what all others are told.
#[derive(Clone)]
struct Door {
    origins: Vec<Origins>,
    patience: Duration,
    refuse: Refuse,
}

/// Judges where a request comes from, answers preflights, and has the body read before the handler is asked.
async fn enter(State(door): State<Door>, request: Request, next: Next) -> Response {
    let verdict = door.judge(&request);
    if verdict == Verdict::Refused {
        return (door.refuse)(StatusCode::FORBIDDEN, "Pages from there may not ask here.");
    }
    let mut response = if request.method() == Method::OPTIONS {
        let mut response = StatusCode::NO_CONTENT.into_response();
        allow_preflight(request.headers(), "GET,POST,PUT,PATCH,DELETE", response.headers_mut());
        response
    } else {
        match whole(request, door.patience).await {
            Ok(request) => next.run(request).await,
            Err((status, why)) => door.cut(status, why),
        }
    };
    allow_origin(&verdict, response.headers_mut());
    response
}

impl Door {
    /// What one of the dialect's mounts allows is allowed.
    fn judge(&self, request: &Request) -> Verdict {
        let verdicts = self.origins.iter().map(|origins| origins.judge(request.headers()));
        verdicts
            .reduce(|best, other| if best == Verdict::Refused { other } else { best })
            .unwrap_or(Verdict::NoOrigin)
    }

    /// What is told to somebody whose body was not read to its end, so that the connection cannot go on.
    fn cut(&self, status: StatusCode, why: &'static str) -> Response {
        let mut response = (self.refuse)(status, why);
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

/// The request with its whole body, or what its sender is told.
async fn whole(request: Request, patience: Duration) -> Result<Request, (StatusCode, &'static str)> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, "A body has at most 65,536 bytes.");
    let (parts, body) = request.into_parts();
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LARGEST_BODY as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, to_bytes(body, LARGEST_BODY)).await {
        Ok(Ok(bytes)) => Ok(Request::from_parts(parts, Body::from(bytes))),
        Ok(Err(error)) => {
            let cause = std::error::Error::source(&error);
            let is_long = cause.is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            Err(if is_long { too_large() } else { (StatusCode::BAD_REQUEST, "The body broke off.") })
        }
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "The body took too long.")),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::routing::{get, post};
    use futures_util::stream;
    use http::HeaderMap;
    use http::header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_REQUEST_HEADERS, HOST,
        ORIGIN,
    };
    use tower::ServiceExt as _;

    use super::*;

    /// Two routers, one after the other: what one dialect has, and what another one has.
    fn routes() -> Router {
        let door = |origin: &str| Door {
            origins: vec![Origins::new(&[]), Origins::new(&[origin.to_owned()])],
            patience: Duration::from_secs(1),
            refuse: |status, why| (status, format!("in its own words: {why}")).into_response(),
        };
        let first = Router::new()
            .route("/health", get(async || "first"))
            .route("/length", post(async |body: axum::body::Bytes| body.len().to_string()));
        let second =
            Router::new().route("/health", get(async || "second")).route("/agents", get(async || "agents"));
        behind(door("http://a.example"), first, behind(door("*"), second, nowhere()))
    }

    async fn ask(method: Method, path: &str, headers: &[(http::HeaderName, &str)], body: Body) -> Response {
        let mut request = Request::builder().method(method).uri(path).header(HOST, "h:1");
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        routes().oneshot(request.body(body).unwrap()).await.unwrap_or_else(|never: Infallible| match never {})
    }

    async fn text(response: Response) -> String {
        let bytes = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    fn origin(headers: &HeaderMap) -> Option<&str> {
        headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).map(|value| value.to_str().unwrap())
    }

    #[tokio::test]
    async fn the_first_that_has_a_path_answers_and_what_nobody_has_is_left_to_the_pages() {
        assert_eq!(text(ask(Method::GET, "/health", &[], Body::empty()).await).await, "first");
        assert_eq!(text(ask(Method::GET, "/agents", &[], Body::empty()).await).await, "agents");
        let nobody = ask(Method::GET, "/healthz", &[], Body::empty()).await;
        assert!(nobody.extensions().get::<Nowhere>().is_some());
        let wrong = ask(Method::POST, "/health", &[], Body::empty()).await;
        assert_eq!(wrong.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(wrong.extensions().get::<Nowhere>().is_none());
    }

    #[tokio::test]
    async fn a_body_is_whole_or_does_not_reach_its_handler() {
        let post =
            async |length: usize| ask(Method::POST, "/length", &[], Body::from(vec![b'x'; length])).await;
        assert_eq!(text(post(0).await).await, "0");
        assert_eq!(text(post(LARGEST_BODY).await).await, "65536");
        assert_eq!(post(LARGEST_BODY + 1).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
        // One that does not say how long it is, and one that says so and does not come.
        let endless = || stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 1_024]));
        let unsaid = ask(Method::POST, "/length", &[], Body::from_stream(endless())).await;
        assert_eq!(unsaid.status(), StatusCode::PAYLOAD_TOO_LARGE);
        let announced = ask(Method::POST, "/length", &[(CONTENT_LENGTH, "65537")], Body::empty()).await;
        assert_eq!(announced.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(announced.headers()[CONNECTION], "close");
        assert_eq!(text(announced).await, "in its own words: A body has at most 65,536 bytes.");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_not_waited_for() {
        let silent = Body::from_stream(stream::pending::<Result<Vec<u8>, Infallible>>());
        let late = ask(Method::POST, "/length", &[], silent).await;
        assert_eq!(late.status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(text(late).await, "in its own words: The body took too long.");
    }

    #[tokio::test]
    async fn pages_ask_where_a_mount_of_the_dialect_lets_them() {
        let from = async |method: Method, path: &str, origin: &str| {
            ask(method, path, &[(ORIGIN, origin)], Body::empty()).await
        };
        let allowed = from(Method::GET, "/health", "http://a.example").await;
        assert_eq!((allowed.status(), origin(allowed.headers())), (StatusCode::OK, Some("http://a.example")));
        let refused = from(Method::GET, "/health", "http://b.example").await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(text(refused).await, "in its own words: Pages from there may not ask here.");
        assert_eq!(
            from(Method::OPTIONS, "/health", "http://b.example").await.status(),
            StatusCode::FORBIDDEN
        );
        let own = from(Method::GET, "/health", "http://h:1").await;
        assert_eq!(origin(own.headers()), Some("http://h:1"));
        let anybody = from(Method::GET, "/agents", "http://b.example").await;
        assert_eq!(origin(anybody.headers()), Some("*"));

        let asks = [(ORIGIN, "http://a.example"), (ACCESS_CONTROL_REQUEST_HEADERS, "x-wallet-address")];
        let preflight = ask(Method::OPTIONS, "/length", &asks, Body::empty()).await;
        assert_eq!(preflight.status(), StatusCode::NO_CONTENT);
        assert_eq!(preflight.headers()[ACCESS_CONTROL_ALLOW_HEADERS], "x-wallet-address");
        assert_eq!(origin(preflight.headers()), Some("http://a.example"));
    }
}

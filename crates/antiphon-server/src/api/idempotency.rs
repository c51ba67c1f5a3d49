//! How a request that is sent again has one effect and one answer.
//!
//! A key belongs to the service that uses it, for 24 hours. The same request under it is answered as the first time;
//! another one is refused. What happens when nobody knows how the first try ended, because its process died, depends on
//! what was asked: what can be done twice without a second effect is done again, anything else is refused.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use antiphon_core::ports::{Begun, RequestKey};
use antiphon_core::refusal::{Code, Refusal};
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tracing::Instrument as _;

use super::State;
use super::problem::{PROBLEM, Problem};
use crate::telemetry::context::{here, within};
use crate::telemetry::cut;

/// The header that names a request.
const KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The header of an answer that was given before.
const REPLAY: HeaderName = HeaderName::from_static("idempotent-replay");

/// Longest accepted key, in bytes.
const MAX_KEY_BYTES: usize = 128;

/// After how many milliseconds whoever asks for what is still being done should ask again.
const STILL_BUSY: u64 = 1_000;

/// What makes two requests the same: who asks, under which key, and what.
#[derive(Debug)]
pub(super) struct Ticket {
    /// The service that asks.
    pub(super) principal: String,
    /// What it calls the request; `None` makes no promise about sending it again.
    pub(super) key: Option<String>,
    /// Of method, path and body.
    pub(super) fingerprint: [u8; 32],
}

/// An answer that can be remembered: a status, and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    body: String,
}

/// How a piece of work ended.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What is said about it.
    pub(super) ended: Result<Answer, Problem>,
    /// Whether the same request may be worked on again, because it had no effect that a second time would double.
    pub(super) again: bool,
}

/// Requests with a key that are being worked on in this process.
#[derive(Clone, Default)]
pub(super) struct Underway(Arc<Mutex<HashSet<(String, String)>>>);

/// Ends when the work does, however it ends.
struct Busy {
    underway: Underway,
    name: (String, String),
}

impl Underway {
    fn begin(&self, request: &RequestKey) -> Option<Busy> {
        let name = (request.principal.clone(), request.key.clone());
        let begun = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone());
        begun.then(|| Busy { underway: self.clone(), name })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.underway.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

/// The key in the headers, if there is one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all(KEY).iter();
    let Some(key) = keys.next() else { return Ok(None) };
    if keys.next().is_some() {
        return Err(Problem::invalid("Send one Idempotency-Key."));
    }
    let key = key.to_str().map_err(|_| Problem::invalid("An Idempotency-Key is plain ASCII."))?;
    check(key).map(|()| Some(key.to_owned()))
}

/// Whether a request may be called that.
pub(super) fn check(key: &str) -> Result<(), Problem> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES || key.chars().any(char::is_control) {
        return Err(Problem::invalid("An idempotency key has 1 to 128 bytes and no control characters."));
    }
    Ok(())
}

/// What makes this request the same as another one.
pub(super) fn fingerprint(parts: &Parts, body: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    for part in [parts.method.as_str().as_bytes(), target.as_bytes(), body] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// For routes whose answer must not be remembered: a request that expects it to be is refused rather than deceived.
pub(super) struct NoKey;

impl FromRequestParts<State> for NoKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        if parts.headers.contains_key(KEY) {
            return Err(Problem::invalid(
                "This request takes no Idempotency-Key: its answer is not kept here.",
            ));
        }
        Ok(Self)
    }
}

/// Has `work` done, once for each ticket with a key, and goes on with it even if whoever asked has gone.
///
/// `repeatable` says whether it may be done again when an earlier try ended without a word.
pub(super) async fn once<W>(state: &State, ticket: Ticket, repeatable: bool, work: W) -> Response
where
    W: Future<Output = Attempt> + Send + 'static,
{
    let Ticket { principal, key, fingerprint } = ticket;
    let Some(key) = key else {
        return finish(state, async move { work.await.ended }).await.into_response();
    };
    let request = RequestKey { principal, key: format!("request:{key}") };
    keyed(state, request, fingerprint, repeatable, work).await.into_response()
}

async fn keyed<W>(
    state: &State,
    request: RequestKey,
    fingerprint: [u8; 32],
    repeatable: bool,
    work: W,
) -> Result<Response, Problem>
where
    W: Future<Output = Attempt> + Send + 'static,
{
    let Some(busy) = state.underway.begin(&request) else {
        let busy = Refusal::new(
            Code::Unavailable { retry_after: STILL_BUSY },
            "The same request is still being worked on.",
        );
        return Err(Problem::from(busy).with_status(StatusCode::CONFLICT));
    };
    let (store, now) = (state.shared.app.ports().store.clone(), state.shared.now());
    // From here on nobody may go in between: a request that is noted and never worked on would be refused for a day.
    finish(state, async move {
        match store.begin(&request, &fingerprint, now).await? {
            Begun::New => {}
            Begun::Unfinished if repeatable => {
                tracing::info!(
                    principal = cut(&request.principal),
                    "a request is taken up again whose first try had no end"
                );
            }
            Begun::Unfinished => {
                return Err(conflict(
                    "An earlier try of this request ended without an answer, and what it asks for may have been done. \
                     Look, and if it was not, ask under another key.",
                ));
            }
            Begun::Answered(answer) => return replay(&answer),
            Begun::Different => return Err(conflict("This Idempotency-Key was used for another request.")),
        }
        let attempt = work.await;
        let remembered = match attempt.again {
            true => store.abandon(&request).await,
            false => store.finish(&request, &attempt.write()).await,
        };
        if let Err(fault) = remembered {
            // The work is done, and so said; whoever asks again is told that nobody knows, or has it done again safely.
            tracing::error!(error = &fault as &dyn std::error::Error, "the answer of a request was not kept");
        }
        drop(busy);
        Ok(attempt.ended.into_response())
    })
    .await
}

/// Waits for the end of `work`, which does not depend on anybody waiting: an order that has begun is carried out, also for
/// a client that is gone.
async fn finish<T, W>(state: &State, work: W) -> Result<T, Problem>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Problem>> + Send + 'static,
{
    match tokio::spawn(within(here(), work).in_current_span()).await {
        Ok(ended) => ended,
        Err(error) => {
            if error.is_panic() {
                state.shared.counters.panicked();
            }
            Err(Refusal::internal().into())
        }
    }
}

fn conflict(message: &'static str) -> Problem {
    Refusal::new(Code::Conflict, message).into()
}

fn replay(text: &str) -> Result<Response, Problem> {
    let answer = Answer::read(text).ok_or_else(|| {
        tracing::error!("a remembered answer cannot be read");
        Problem::from(Refusal::internal())
    })?;
    let mut response = answer.into_response();
    response.headers_mut().insert(REPLAY, HeaderValue::from_static("true"));
    Ok(response)
}

impl Answer {
    /// `view` as JSON, with this status.
    pub(super) fn json(status: StatusCode, view: &impl Serialize) -> Self {
        // The views of this API hold strings, numbers and lists of these.
        Self { status, body: serde_json::to_string(view).expect("a view is plain JSON") }
    }

    /// As it is remembered: the status, a blank, the body.
    fn write(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.body)
    }

    fn read(text: &str) -> Option<Self> {
        let (status, body) = text.split_once(' ')?;
        let status = StatusCode::from_bytes(status.as_bytes()).ok()?;
        Some(Self { status, body: body.to_owned() })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let kind = if self.status.is_success() { "application/json" } else { PROBLEM };
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(kind)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        (self.status, headers, self.body).into_response()
    }
}

impl Attempt {
    /// What was refused for a passing reason may be asked again.
    pub(super) fn once(ended: Result<Answer, Problem>) -> Self {
        let again = ended.as_ref().is_err_and(Problem::is_passing);
        Self { ended, again }
    }

    fn write(&self) -> String {
        match &self.ended {
            Ok(answer) => answer.write(),
            Err(problem) => Answer::json(problem.status(), &problem.view()).write(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_remembered_as_it_was_given() {
        for (status, body) in
            [(StatusCode::OK, r#"{"a":"b c\n"}"#), (StatusCode::NOT_FOUND, ""), (StatusCode::CREATED, "{}")]
        {
            let answer = Answer { status, body: body.into() };
            assert_eq!(Answer::read(&answer.write()), Some(answer));
        }
        assert_eq!(Answer::read("nonsense"), None);
    }

    #[test]
    fn one_of_two_that_are_the_same_is_worked_on() {
        let underway = Underway::default();
        let request = RequestKey { principal: "service:a".into(), key: "k".into() };
        let other = RequestKey { principal: "service:b".into(), key: "k".into() };
        let first = underway.begin(&request).expect("nobody else works on it");
        assert!(underway.begin(&request).is_none());
        assert!(underway.begin(&other).is_some());
        drop(first);
        assert!(underway.begin(&request).is_some());
    }

    #[test]
    fn the_fingerprint_is_of_method_path_and_body() {
        let parts = |method: &str, uri: &str| {
            http::Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0
        };
        let seen: HashSet<_> = [
            fingerprint(&parts("POST", "/v1/commands"), b"{}"),
            fingerprint(&parts("PUT", "/v1/commands"), b"{}"),
            fingerprint(&parts("POST", "/v1/commands?a=1"), b"{}"),
            fingerprint(&parts("POST", "/v1/commands"), b"{} "),
            fingerprint(&parts("POST", "/v1/command"), b"s{}"),
        ]
        .into();
        assert_eq!(seen.len(), 5);
    }
}

//! What a request that was refused is told: `{"detail": …}`, a sentence or the list of what is wrong with its body.

use std::borrow::Cow;

use antiphon_core::refusal::{Code, Refusal};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// Why a request was not done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    status: StatusCode,
    detail: Detail,
    /// When the same request may succeed, in milliseconds.
    retry_after: Option<u64>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
enum Detail {
    Sentence(Cow<'static, str>),
    Wrong([Wrong; 1]),
}

/// What is wrong with one part of a request.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Wrong {
    loc: Vec<String>,
    msg: Cow<'static, str>,
    #[serde(rename = "type")]
    kind: &'static str,
}

#[derive(Serialize)]
struct Body {
    detail: Detail,
}

impl Problem {
    /// With this status, in these words.
    pub(super) fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: Detail::Sentence(detail.into()), retry_after: None }
    }

    /// What is at `place`, such as `["body", "title"]`, is not what it should be.
    pub(super) fn wrong(place: &[&str], message: impl Into<Cow<'static, str>>) -> Self {
        let loc = place.iter().map(|part| (*part).to_owned()).collect();
        let wrong = Wrong { loc, msg: message.into(), kind: "value_error" };
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, detail: Detail::Wrong([wrong]), retry_after: None }
    }

    /// The credential of the request is not good.
    pub(super) fn invalid_authentication() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid authentication")
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.code {
            Code::Invalid | Code::TooLarge => return Self::wrong(&["body"], refusal.message),
            Code::Unauthenticated | Code::BadCredential => StatusCode::UNAUTHORIZED,
            Code::Forbidden | Code::OverQuota { .. } => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            // The documented server says so with another status than for everything else that comes too late.
            Code::Conflict if refusal.message == "Task already assigned" => StatusCode::BAD_REQUEST,
            Code::Conflict => StatusCode::CONFLICT,
            Code::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Code::Insufficient { .. } => StatusCode::PAYMENT_REQUIRED,
        };
        let retry_after = match refusal.code {
            Code::RateLimited { retry_after } | Code::Unavailable { retry_after } => Some(retry_after),
            _ => None,
        };
        Self { retry_after, ..Self::new(status, refusal.message) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, retry_after } = self;
        let mut response = (status, Json(Body { detail })).into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(milliseconds) = retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1_000)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    async fn told(problem: impl Into<Problem>) -> (u16, Value) {
        let response = problem.into().into_response();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn every_refusal_has_the_status_that_clients_of_this_api_expect() {
        let refusal = |code| Refusal::new(code, "No.");
        for (code, status) in [
            (Code::Unauthenticated, 401),
            (Code::BadCredential, 401),
            (Code::Forbidden, 403),
            (Code::OverQuota { current: 1, limit: 1 }, 403),
            (Code::NotFound, 404),
            (Code::Conflict, 409),
            (Code::RateLimited { retry_after: 1 }, 429),
            (Code::Unavailable { retry_after: 1 }, 503),
            (Code::Internal, 500),
            (Code::Insufficient { balance: 1 }, 402),
        ] {
            assert_eq!(told(refusal(code)).await, (status, json!({"detail": "No."})));
        }
        let assigned = Refusal::new(Code::Conflict, "Task already assigned");
        assert_eq!(told(assigned).await, (400, json!({"detail": "Task already assigned"})));
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_body_is_listed_with_its_place() {
        let expected = |loc: &[&str]| json!({"detail": [{"loc": loc, "msg": "No.", "type": "value_error"}]});
        assert_eq!(told(Refusal::invalid("No.")).await, (422, expected(&["body"])));
        assert_eq!(told(Refusal::new(Code::TooLarge, "No.")).await, (422, expected(&["body"])));
        assert_eq!(
            told(Problem::wrong(&["query", "limit"], "No.")).await,
            (422, expected(&["query", "limit"]))
        );
    }

    #[test]
    fn who_is_to_wait_is_told_how_many_seconds() {
        let refusal = Refusal::new(Code::RateLimited { retry_after: 1_500 }, "No.");
        let response = Problem::from(refusal).into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        let response = Problem::invalid_authentication().into_response();
        assert_eq!(response.headers()[WWW_AUTHENTICATE], "Bearer");
    }
}

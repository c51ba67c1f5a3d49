//! What a refusal looks like: `{"statusCode":404,"error":"Not Found","message":"Persona not found"}`, as the Boom library writes it.

use std::borrow::Cow;

use antiphon_core::refusal::{Code, Refusal};
use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde::Serialize;

/// A refusal on its way to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Boom {
    status: StatusCode,
    message: Cow<'static, str>,
    /// When to try again, in milliseconds.
    retry_after: Option<u64>,
}

/// The route knows no such method; this API does not tell that from a path that is not there.
pub(super) async fn not_found() -> Boom {
    Boom::new(StatusCode::NOT_FOUND, "Not Found")
}

impl Boom {
    pub(super) fn new(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, message: message.into(), retry_after: None }
    }

    /// 400: what was sent is not what the route needs.
    pub(super) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// 401: it is not known, or not proven, who asks.
    pub(super) fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, message)
    }

    /// The same, to be tried again in so many milliseconds.
    pub(super) fn after(self, milliseconds: u64) -> Self {
        Self { retry_after: Some(milliseconds), ..self }
    }

    /// The sentence.
    pub(super) fn message(&self) -> &str {
        &self.message
    }
}

impl From<Refusal> for Boom {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message } = refusal;
        let (status, retry_after) = match code {
            Code::Invalid | Code::TooLarge | Code::Insufficient { .. } => (StatusCode::BAD_REQUEST, None),
            Code::Unauthenticated | Code::BadCredential => (StatusCode::UNAUTHORIZED, None),
            Code::Forbidden => (StatusCode::FORBIDDEN, None),
            Code::NotFound => (StatusCode::NOT_FOUND, None),
            Code::Conflict => (StatusCode::CONFLICT, None),
            Code::OverQuota { .. } => (StatusCode::TOO_MANY_REQUESTS, None),
            Code::RateLimited { retry_after } => (StatusCode::TOO_MANY_REQUESTS, Some(retry_after)),
            Code::Unavailable { retry_after } => (StatusCode::SERVICE_UNAVAILABLE, Some(retry_after)),
            Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, None),
        };
        let message = match status {
            StatusCode::INTERNAL_SERVER_ERROR => "An internal server error occurred".into(),
            _ => message,
        };
        Self { status, message, retry_after }
    }
}

impl IntoResponse for Boom {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Payload<'a> {
            status_code: u16,
            error: &'a str,
            message: &'a str,
        }
        let payload = Payload {
            status_code: self.status.as_u16(),
            error: self.status.canonical_reason().unwrap_or("Unknown"),
            message: &self.message,
        };
        let mut response = (self.status, Json(payload)).into_response();
        if let Some(milliseconds) = self.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1_000)));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_inside_is_not_told() {
        let boom = Boom::from(Refusal::new(Code::Internal, "disk on fire"));
        assert_eq!(boom.message(), "An internal server error occurred");
        assert_eq!(boom.into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    #[test]
    fn whoever_may_try_again_is_told_when_in_whole_seconds() {
        let refusal = Refusal::new(Code::RateLimited { retry_after: 1_001 }, "A little later.");
        let response = Boom::from(refusal).into_response();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }
}

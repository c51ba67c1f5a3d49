//! What a request that was refused is told: `application/problem+json` (RFC 9457) with the refusal's code.

use antiphon_core::refusal::{Code, Fault, Refusal};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

/// The media type of every refusal.
pub(super) const PROBLEM: &str = "application/problem+json";

/// Why a request was not done, with the status that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    refusal: Refusal,
    status: StatusCode,
}

/// The body of every answer that is not a success.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Problem)]
pub(super) struct ProblemView {
    /// Where this kind of refusal is explained, relative to the server.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of refusal in a few words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// One kind sentence about this very request.
    pub(super) detail: String,
    /// The stable code to tell refusals apart by.
    code: &'static str,
    /// When the same request may succeed, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    /// How many were used, when an allowance is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    /// How many there are, when an allowance is used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u64>,
    /// How many tokens there are, when they are too few.
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<u64>,
}

/// One row of the table of codes: the status, the code, and what it means in a few words.
pub(super) struct Row {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
}

/// Every code that the core knows, each with the status it travels with.
pub(super) fn table() -> Vec<Row> {
    let codes = [
        Code::Invalid,
        Code::Unauthenticated,
        Code::BadCredential,
        Code::Forbidden,
        Code::NotFound,
        Code::Conflict,
        Code::TooLarge,
        Code::RateLimited { retry_after: 0 },
        Code::OverQuota { current: 0, limit: 0 },
        Code::Internal,
        Code::Unavailable { retry_after: 0 },
        Code::Insufficient { balance: 0 },
    ];
    codes.iter().map(|code| Row { status: status(code), code: code.name(), title: title(code) }).collect()
}

fn status(code: &Code) -> StatusCode {
    match code {
        Code::Invalid => StatusCode::BAD_REQUEST,
        Code::Unauthenticated | Code::BadCredential => StatusCode::UNAUTHORIZED,
        // An allowance comes back next month: a status that says "try again soon" would be a lie.
        Code::Forbidden | Code::OverQuota { .. } => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict => StatusCode::CONFLICT,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        Code::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
        Code::Insufficient { .. } => StatusCode::PAYMENT_REQUIRED,
    }
}

fn title(code: &Code) -> &'static str {
    match code {
        Code::Invalid => "The request is not as documented",
        Code::Unauthenticated => "A key is missing",
        Code::BadCredential => "The key is not accepted",
        Code::Forbidden => "This key may not do that",
        Code::NotFound => "There is no such thing",
        Code::Conflict => "It contradicts what was done before",
        Code::TooLarge => "That is too much at once",
        Code::RateLimited { .. } => "That is too often",
        Code::OverQuota { .. } => "The allowance is used up",
        Code::Internal => "Something failed here",
        Code::Unavailable { .. } => "Not at this moment",
        Code::Insufficient { .. } => "There are too few tokens",
    }
}

impl Problem {
    /// The request is not as documented; `message` says what would be.
    pub(super) fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Self {
        Refusal::invalid(message).into()
    }

    /// The same refusal with the more exact `status`.
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same refusal, of the part of the request that `place` names.
    pub(super) fn at(mut self, place: &str) -> Self {
        self.refusal.message = format!("{place}: {}", self.refusal.message).into();
        self
    }

    /// Whether the same request may succeed later without anybody changing it.
    pub(super) fn is_passing(&self) -> bool {
        matches!(self.refusal.code, Code::RateLimited { .. } | Code::Unavailable { .. } | Code::Internal)
    }

    /// The status it travels with.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What the client reads.
    pub(super) fn view(&self) -> ProblemView {
        let Refusal { code, message } = &self.refusal;
        let retry_after_ms = match code {
            Code::RateLimited { retry_after } | Code::Unavailable { retry_after } => Some(*retry_after),
            _ => None,
        };
        let (current, limit) = match code {
            Code::OverQuota { current, limit } => (Some(*current), Some(*limit)),
            _ => (None, None),
        };
        let balance = match code {
            Code::Insufficient { balance } => Some(*balance),
            _ => None,
        };
        ProblemView {
            kind: format!("/docs#{}", code.name()),
            title: title(code),
            status: self.status.as_u16(),
            detail: message.to_string(),
            code: code.name(),
            retry_after_ms,
            current,
            limit,
            balance,
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self { status: status(&refusal.code), refusal }
    }
}

impl From<Fault> for Problem {
    /// Logged here, once, unless it is; the client is told no more than that something failed, or is away for now.
    fn from(fault: Fault) -> Self {
        if !fault.is_told() {
            tracing::error!(error = &fault as &dyn std::error::Error, "an API request failed");
        }
        fault.refusal().into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let view = self.view();
        // Strings and numbers: serializing them into memory cannot fail.
        let body = serde_json::to_vec(&view).expect("a problem is plain JSON");
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(milliseconds) = view.retry_after_ms {
            headers.insert(RETRY_AFTER, HeaderValue::from(milliseconds.div_ceil(1_000).max(1)));
        }
        match self.status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            // The body was not read to its end, so the HTTP connection cannot go on.
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::REQUEST_TIMEOUT => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_status() {
        let seen: Vec<_> = table().iter().map(|row| (row.code, row.status.as_u16())).collect();
        let expected = [
            ("invalid", 400),
            ("unauthenticated", 401),
            ("bad_credential", 401),
            ("forbidden", 403),
            ("not_found", 404),
            ("conflict", 409),
            ("too_large", 413),
            ("rate_limited", 429),
            ("over_quota", 403),
            ("internal", 500),
            ("unavailable", 503),
            ("insufficient", 402),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn whoever_is_too_early_is_told_when_to_come_back() {
        let problem =
            Problem::from(Refusal::new(Code::RateLimited { retry_after: 1_200 }, "Slower, please."));
        assert!(problem.is_passing());
        let seen = serde_json::to_value(problem.view()).unwrap();
        let expected = serde_json::json!({
            "type": "/docs#rate_limited", "title": "That is too often", "status": 429,
            "detail": "Slower, please.", "code": "rate_limited", "retryAfterMs": 1200,
        });
        assert_eq!(seen, expected);
        assert_eq!(problem.into_response().headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn what_failed_here_stays_here() {
        let problem = Problem::from(Fault::new("disk /var/lib/antiphon is full"));
        assert!(!problem.view().detail.contains("disk"));
        assert_eq!(problem.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

//! What the asking client is told about its event.
//!
//! The documented way is silence, whatever came of it: this API has no event for errors. A client that asks for an acknowledgement
//! gets one: `{"ok":true}`, or `{"ok":false,"error":…}`.

use antiphon_core::command::Outcome;
use antiphon_core::dialect::{ConnectError, Out};
use antiphon_core::ids::Timestamp;
use antiphon_core::notices::NoticeKind;
use antiphon_core::refusal::{Code, Refusal};
use serde::Serialize;

use super::outbound;

/// What is said in place of what failed inside.
const FAILED: &str = "Something failed here. Please try again.";

/// Says what came of an event.
pub(super) fn reply(outcome: &Result<Outcome, Refusal>, out: &mut Out) {
    match outcome {
        Ok(_) => out.ack(&Done { ok: true }),
        Err(refusal) => out.ack(&Failed { ok: false, error: Problem::of(refusal) }),
    }
}

/// Says why the connection is let go.
pub(super) fn dismissed(why: &Refusal, at: Timestamp, out: &mut Out) {
    outbound::notification("Disconnected", sentence(why), NoticeKind::Error, at, out);
}

/// What a refused CONNECT is told.
pub(super) fn refused(why: &Refusal) -> ConnectError {
    let Problem { code, message, retry_after } = Problem::of(why);
    let data = serde_json::to_string(&Data { code, retry_after }).expect("text and numbers serialize");
    ConnectError { message: message.into(), data: Some(data) }
}

fn sentence(why: &Refusal) -> &str {
    if why.code == Code::Internal { FAILED } else { &why.message }
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

#[derive(Serialize)]
struct Failed<'a> {
    ok: bool,
    error: Problem<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct Data {
    code: &'static str,
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl<'a> Problem<'a> {
    fn of(why: &'a Refusal) -> Self {
        let retry_after = match why.code {
            Code::RateLimited { retry_after } | Code::Unavailable { retry_after } => Some(retry_after),
            _ => None,
        };
        Self { code: why.code.name(), message: sentence(why), retry_after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_an_ack_says_that_something_was_refused() {
        for refusal in [Refusal::forbidden(), Refusal::internal(), Refusal::not_found("There is nobody.")] {
            let mut out = Out::default();
            reply(&Err(refusal), &mut out);
            assert_eq!(out.events().count(), 0);
            assert!(out.acked().is_some());
        }
    }

    #[test]
    fn what_failed_inside_is_not_told() {
        let inside = Refusal::new(Code::Internal, "disk on fire");
        let mut out = Out::default();
        reply(&Err(inside.clone()), &mut out);
        dismissed(&inside, Timestamp(0), &mut out);
        let told: Vec<_> = out.events().map(|(_, args)| args).chain(out.acked()).collect();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|args| !args.windows(4).any(|window| window == b"disk")));
        assert_eq!(refused(&inside).message, FAILED);
    }
}

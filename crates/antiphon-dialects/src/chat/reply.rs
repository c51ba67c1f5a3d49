//! What the asking client is told about its event.
//!
//! The documented way is silence when it worked and `chat:error` when it did not. Acks are not documented, but a client that
//! asks for one gets one: `{"ok":true}`, with `id` and `seq` of a message that was stored
//! (and `duplicate` when that was earlier), or `{"ok":false,"error":…}`.

use antiphon_core::command::Outcome;
use antiphon_core::dialect::Out;
use antiphon_core::ids::{MessageId, Timestamp};
use antiphon_core::refusal::{Code, Refusal};
use serde::Serialize;

use super::outbound::{self, Details, Problem};

/// Says what came of `event`.
pub(super) fn reply(event: &str, outcome: &Result<Outcome, Refusal>, at: Timestamp, out: &mut Out) {
    match outcome {
        Ok(outcome) => done(outcome, out),
        Err(refusal) => failed(event, refusal, at, out),
    }
}

/// Says why the connection is let go.
pub(super) fn dismissed(why: &Refusal, at: Timestamp, out: &mut Out) {
    outbound::error(problem("", why), at, out);
}

fn done(outcome: &Outcome, out: &mut Out) {
    match outcome {
        Outcome::Posted { id, seq, duplicate, .. } => {
            out.ack(&Posted { ok: true, id: *id, seq: *seq, duplicate: *duplicate });
        }
        Outcome::Done | Outcome::History(_) | Outcome::Conversations(_) => out.ack(&Done { ok: true }),
        // No event of this API asks for these.
        Outcome::Personas(_)
        | Outcome::Befriended { .. }
        | Outcome::Bonds(_)
        | Outcome::Profile(_)
        | Outcome::Booked { .. }
        | Outcome::Rewarded { .. }
        | Outcome::Balance(_)
        | Outcome::Ledger(_) => out.ack(&Done { ok: true }),

        // Nothing in this API asks for these.
        Outcome::Task { .. }
        | Outcome::NoTask
        | Outcome::Tasks(_)
        | Outcome::Worker(_)
        | Outcome::Workers(_)
        | Outcome::Watched { .. } => out.ack(&Done { ok: true }),
    }
}

fn failed(event: &str, refusal: &Refusal, at: Timestamp, out: &mut Out) {
    let problem = problem(event, refusal);
    // Whoever may not watch an agent is not told so: that is the documented behaviour of these two. An ack is honest.
    let is_silent =
        refusal.code == Code::NotFound && matches!(event, "agent:subscribe" | "agent:unsubscribe");
    if !is_silent {
        outbound::error(problem, at, out);
    }
    out.ack(&Failed { ok: false, error: problem });
}

/// The documented code and text of a refusal; `FORBIDDEN`, `UNAUTHORIZED`, `RATE_LIMITED`, `CONFLICT`, `UNAVAILABLE` and
/// `INSUFFICIENT_TOKENS` are ours.
fn problem<'a>(event: &str, refusal: &'a Refusal) -> Problem<'a> {
    let message = refusal.message.as_ref();
    let (code, message, details) = match refusal.code {
        Code::NotFound => ("AGENT_NOT_FOUND", "Agent not found", None),
        Code::OverQuota { current, limit } => {
            ("QUOTA_EXCEEDED", message, Some(Details::Quota { current, limit }))
        }
        Code::RateLimited { retry_after } => {
            ("RATE_LIMITED", message, Some(Details::Rate { retry_after_ms: retry_after }))
        }
        Code::Unavailable { retry_after } => {
            ("UNAVAILABLE", message, Some(Details::Rate { retry_after_ms: retry_after }))
        }
        Code::Conflict => ("CONFLICT", message, None),
        Code::Forbidden => ("FORBIDDEN", message, None),
        Code::Unauthenticated | Code::BadCredential => ("UNAUTHORIZED", message, None),
        Code::Invalid | Code::TooLarge => (failure_code(event), message, None),
        Code::Internal => (failure_code(event), failure_text(event), None),
        Code::Insufficient { .. } => ("INSUFFICIENT_TOKENS", message, None),
    };
    Problem { code, message, details }
}

fn failure_code(event: &str) -> &'static str {
    if event == "chat:join" { "JOIN_ERROR" } else { "MESSAGE_ERROR" }
}

fn failure_text(event: &str) -> &'static str {
    if event == "chat:join" { "Failed to join chat" } else { "Failed to process message" }
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

#[derive(Serialize)]
struct Posted {
    ok: bool,
    id: MessageId,
    seq: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
}

#[derive(Serialize)]
struct Failed<'a> {
    ok: bool,
    error: Problem<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(event: &str, refusal: Refusal) -> (Vec<String>, String) {
        let mut out = Out::default();
        reply(event, &Err(refusal), Timestamp(5), &mut out);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("JSON is text");
        let events = out.events().map(|(name, args)| format!("{name} {}", text(args))).collect();
        (events, text(out.acked().expect("every refusal has an ack")))
    }

    #[test]
    fn a_watcher_who_may_not_watch_is_told_only_by_the_ack() {
        for event in ["agent:subscribe", "agent:unsubscribe"] {
            let (events, ack) = told(event, Refusal::not_found("No such agent."));
            assert!(events.is_empty());
            assert_eq!(ack, r#"{"ok":false,"error":{"code":"AGENT_NOT_FOUND","message":"Agent not found"}}"#);

            let (events, _) = told(event, Refusal::forbidden());
            assert_eq!(events.len(), 1, "only an agent that is not there is passed over in silence");
        }
    }

    #[test]
    fn what_failed_inside_is_not_told() {
        let inside = || Refusal::new(Code::Internal, "disk on fire");
        for (event, code, text) in [
            ("chat:join", "JOIN_ERROR", "Failed to join chat"),
            ("chat:message", "MESSAGE_ERROR", "Failed to process message"),
            ("presence:online", "MESSAGE_ERROR", "Failed to process message"),
        ] {
            let (events, ack) = told(event, inside());
            assert_eq!(
                events,
                [format!(r#"chat:error {{"code":"{code}","message":"{text}","timestamp":5}}"#)]
            );
            assert_eq!(ack, format!(r#"{{"ok":false,"error":{{"code":"{code}","message":"{text}"}}}}"#));
        }
    }

    #[test]
    fn a_credential_that_no_longer_counts_is_unauthorized() {
        for code in [Code::Unauthenticated, Code::BadCredential] {
            let (events, _) = told("chat:message", Refusal::new(code, "The key was revoked."));
            assert_eq!(
                events,
                [r#"chat:error {"code":"UNAUTHORIZED","message":"The key was revoked.","timestamp":5}"#]
            );
        }
    }
}

//! What the asking client is told about its event.
//!
//! Rooms are confirmed by name, and whatever could not be done is an `error`. Acks are not documented, but a client that asks
//! for one gets one: `{"ok":true}`, or `{"ok":false,"error":…}`.

use antiphon_core::command::Outcome;
use antiphon_core::dialect::Out;
use antiphon_core::refusal::{Code, Refusal};
use serde::Serialize;

use super::outbound;

/// Says what came of `event`.
pub(super) fn reply(event: &str, outcome: &Result<Outcome, Refusal>, out: &mut Out) {
    match outcome {
        Ok(Outcome::Watched { name }) => {
            let confirmed = if event == "unsubscribe" { "unsubscribed" } else { "subscribed" };
            outbound::room(confirmed, name, out);
        }
        // Nothing in this API asks for these.
        Ok(
            Outcome::Done
            | Outcome::Posted { .. }
            | Outcome::History(_)
            | Outcome::Conversations(_)
            | Outcome::Personas(_)
            | Outcome::Befriended { .. }
            | Outcome::Bonds(_)
            | Outcome::Profile(_)
            | Outcome::Booked { .. }
            | Outcome::Rewarded { .. }
            | Outcome::Balance(_)
            | Outcome::Ledger(_)
            | Outcome::Task { .. }
            | Outcome::NoTask
            | Outcome::Tasks(_)
            | Outcome::Worker(_)
            | Outcome::Workers(_),
        ) => {}
        Err(refusal) => {
            error(&refusal.message, out);
            refused(refusal, out);
        }
    }
}

/// `error`.
pub(super) fn error(message: &str, out: &mut Out) {
    out.emit("error", &Error { message });
}

/// The acknowledgement of what was not done.
pub(super) fn refused(why: &Refusal, out: &mut Out) {
    let retry_after_ms = match why.code {
        Code::RateLimited { retry_after } | Code::Unavailable { retry_after } => Some(retry_after),
        _ => None,
    };
    let error = Problem { code: why.code.name(), message: &why.message, retry_after_ms };
    out.ack(&Refused { ok: false, error });
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
}

#[derive(Serialize)]
struct Refused<'a> {
    ok: bool,
    error: Problem<'a>,
}

#[derive(Serialize)]
struct Problem<'a> {
    code: &'static str,
    message: &'a str,
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

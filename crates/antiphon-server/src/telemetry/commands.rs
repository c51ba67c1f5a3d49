//! Having the core do a command, with everything that is noted about it.

use std::sync::Arc;
use std::time::Instant;

use antiphon_core::actor::Caller;
use antiphon_core::app::App;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::refusal::Refusal;
use tracing::Instrument as _;
use tracing::field::Empty;

use super::{SPANS, context};
use crate::cores::Core;

/// Has the core do `command`: counted by the core of the calling thread, and in a span of its own.
///
/// Whoever brings commands from outside, over whichever transport, brings them through here.
pub(crate) async fn carry_out(app: &Arc<App>, caller: &Caller, command: Command) -> Result<Outcome, Refusal> {
    let name = command.name();
    let mut timed = None;
    if let Some(core) = Core::here() {
        core.count(|tally| timed = tally.begun(name).map(|stands_for| (Instant::now(), stands_for)));
    }
    let span = tracing::info_span!(
        target: SPANS, "command", command = name, connection = Empty, request = Empty, code = Empty,
    );
    // Nearly always nobody collects spans, and then none is carried along.
    let outcome = if span.is_disabled() {
        app.handle(caller, command).await
    } else {
        let whose = context::here();
        whose.connection.map(|connection| span.record("connection", tracing::field::display(connection)));
        whose.request.map(|request| span.record("request", tracing::field::display(request)));
        let outcome = app.handle(caller, command).instrument(span.clone()).await;
        if let Err(refusal) = &outcome {
            span.record("code", refusal.code.name());
        }
        outcome
    };
    if let (Some((began, stands_for)), Some(core)) = (timed, Core::here()) {
        core.count(|tally| tally.command(name, began.elapsed(), stands_for));
    }
    outcome
}

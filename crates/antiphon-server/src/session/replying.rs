//! What a client is told about what it sent.

use std::rc::Rc;

use antiphon_core::command::Outcome;
use antiphon_core::dialect::Out;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_wire::socket::Encoded;
use bytes::Bytes;
use serde_json::json;

use super::{Connection, Socket};
use crate::cores::Core;
use crate::mount::Voice;

/// Tells what came of `event`, in the words of the dialect. `id` is that of the acknowledgement, if one was asked for.
pub(super) fn reply(
    core: &Core,
    socket: &Socket,
    (event, id): (&str, Option<u64>),
    outcome: &Result<Outcome, Refusal>,
    told: Told,
) {
    if let Err(refusal) = outcome {
        core.shared.counters.refused();
        core.count(|tally| tally.refusal(socket.voice, refusal.code.name()));
    }
    let (connection, voice) = (&socket.connection, core.shared.voice(socket.voice));
    let mut out = core.out.borrow_mut();
    out.clear();
    voice.dialect.reply(event, outcome, core.shared.now(), &mut out);
    if let Some(id) = id {
        acknowledge(core, connection, voice, id, &out, outcome.as_ref().err());
    }
    if told == Told::InFull {
        say(core, socket, &out);
    }
}

/// How much a client is told about its event.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// The events of its dialect, and the acknowledgement if one was asked for.
    InFull,
    /// The acknowledgement alone.
    IfAsked,
}

/// Says every event in `out` to this client alone.
pub(super) fn say(core: &Core, socket: &Socket, out: &Out) {
    let attachments = attachments(out);
    for (name, args) in out.events() {
        core.count(|tally| tally.sent(socket.voice, name, 1));
        socket.connection.push(core, socket.frame(core, name, args, &attachments));
    }
}

/// Answers the client's acknowledgement callback: every event that carries an ack id is answered.
pub(super) fn acknowledge(
    core: &Core,
    connection: &Rc<Connection>,
    voice: &Voice,
    id: u64,
    out: &Out,
    refusal: Option<&Refusal>,
) {
    let plain;
    let args = match (out.acked(), refusal) {
        (Some(args), _) => args,
        (None, None) => br#"{"ok":true}"#.as_slice(),
        (None, Some(refusal)) => {
            plain = plain_refusal(refusal);
            plain.as_bytes()
        }
    };
    core.count(|tally| tally.acknowledged(voice.id));
    connection.push(core, Encoded::ack(voice.namespace, id, args, &attachments(out)));
}

/// The ack of a refusal for which a dialect has no words of its own.
pub(super) fn plain_refusal(refusal: &Refusal) -> String {
    let mut error = json!({"code": refusal.code.name(), "message": refusal.message});
    if let Code::RateLimited { retry_after } | Code::Unavailable { retry_after } = refusal.code {
        error["retryAfterMs"] = json!(retry_after);
    }
    json!({"ok": false, "error": error}).to_string()
}

fn attachments(out: &Out) -> Vec<Bytes> {
    out.attachments().iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect()
}

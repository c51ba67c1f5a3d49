//! How documented Socket.IO APIs say what happens.
//!
//! A dialect is a translator: a client's event becomes a [`Command`](antiphon_core::command::Command), a core
//! [`Event`](antiphon_core::event::Event) becomes what that API's clients listen for. Nothing here does I/O, reads a clock,
//! keeps state or decides who may do what. Documented names appear here and nowhere else, spelled as documented.
//!
//! | dialect | serves | reference |
//! |---|---|---|
//! | [`chat`] | apps that talk to agents under `/api/socketio` | `src/chat/API.md` |
//! | [`companion`] | apps in which people talk to personas and pay with tokens, under `/socket.io` | `src/companion/API.md` |
//! | [`mission`] | dashboards that watch agents at work, under `/ws` | `src/mission/API.md` |
//!
//! # How to write a dialect
//!
//! [`chat`] is the pattern. A dialect is one folder under `src/`, and every folder holds the same files:
//!
//! | file | answers |
//! |---|---|
//! | `mod.rs` | what there is: the contents, the [`Dialect`] and the words of a CONNECT |
//! | `inbound.rs` | which command a client event is |
//! | `reply.rs` | what the asking client is told about its event: errors and acks |
//! | `outbound.rs` | how a core event is said |
//! | `rooms.rs` | which topic a room name stands for |
//! | `API.md` | the reference; its examples are the tests |
//!
//! What is particular to one API gets a file of its own beside them, as `chat/relation.rs` does. Then, in this order:
//!
//! 1. **Write `API.md` first.** One example per documented event and per way it can go wrong, in the blocks described
//!    below. It is the specification that the rest is written against.
//! 2. **Name the payloads.** Client payloads are private structs with `Deserialize` in `inbound.rs`, read by
//!    `payload::object`, which refuses everything but an object and ignores extra fields. Server payloads are private
//!    structs with `Serialize` in `outbound.rs` that borrow from the event; no field is built with `format!`, no
//!    `serde_json::Value` is made. Ids and timestamps of the core serialize as plain text and milliseconds and may be used
//!    as they are; every other core type is spelled out field by field, so that a change in the core cannot leak into an API.
//! 3. **Allow-list the client events.** `inbound` is one `match` over names whose last arm is [`Inbound::Unknown`]. That
//!    includes the names that only the server may say.
//! 4. **Treat ids of the sender as claims.** A `userId` in a payload becomes a [`Claim`](antiphon_core::actor::Claim),
//!    absent or not; the core compares it with the credential. A dialect never compares, and never trusts.
//! 5. **Leave rules to the core.** Lengths, ownership, quotas and timers are not checked here: they hold for every API alike.
//! 6. **Say or decline every core event.** `outbound` is one `match` without a catch-all arm. A new fact in the core stops
//!    the build here until this API says it or lists it among what it does not say.
//! 7. **Write one kind sentence per refusal,** without repeating what the client sent, and give every refusal an ack.
//! 8. **Register it**: one line in [`dialects`] and in the table above, one entry in `tests/support/mod.rs`, the checklist of its
//!    documented names in `tests/api.rs`, and `fuzz/fuzz_targets/<name>_inbound.rs` with its `[[bin]]`.
//!
//! If the core lacks a fact or an order, ask first whether it has rules. If so it becomes a core event or command; if not it
//! rides on [`Event::Signal`](antiphon_core::event::Event::Signal).
//!
//! ## Blocks of an `API.md`
//!
//! `tests/api.rs` runs every fenced block of these kinds and fails on a kind or sample that it does not know. JSON may be
//! laid out freely; names, values and the order of fields and events are compared exactly.
//!
//! | first line of the block | content |
//! |---|---|
//! | `connect` | an `auth` object (or nothing), then `→ bearer <secret>`, `→ no credential` or `→ CONNECT_ERROR <error>` |
//! | `refused <refusal>` | the CONNECT_ERROR that a refusal becomes: `{"message":…,"data":…}` |
//! | `dismissed <refusal>` | what a connection is told before it is let go |
//! | `welcome` | what a fresh connection is told |
//! | `client <event>` | the arguments, then `→ <command>` as its `Debug` text, `→ answered`, `→ identify bearer <secret>`, `→ identify wallet <address>`, `→ unknown`, or `→ refused` and the reply |
//! | `reply <event> <outcome>` | what the sender is told when its event came to this |
//! | `server <fact>` | how a core event is said |
//! | `rooms` | lines of `<room> → <topic>` |
//!
//! What is told is a list of lines `<event> <argument> …`, and `ack <argument> …` for the acknowledgement. The outcomes,
//! refusals and facts are samples in `tests/support/samples.rs`, the same for every dialect; a fact without a `server`
//! block is one that the dialect must not say.

pub mod chat;
pub mod companion;
pub mod mission;
mod payload;

use std::sync::Arc;

use antiphon_core::dialect::Dialect;
#[cfg(doc)]
use antiphon_core::dialect::Inbound;

pub use payload::Object;

/// Every dialect, in the order in which the documentation lists them.
pub fn dialects() -> Vec<Arc<dyn Dialect>> {
    vec![Arc::new(chat::Chat), Arc::new(companion::Companion), Arc::new(mission::Mission)]
}

/// The dialect with this [`name`](Dialect::name), as config calls it; `None` if there is none.
pub fn by_name(name: &str) -> Option<Arc<dyn Dialect>> {
    dialects().into_iter().find(|dialect| dialect.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialect_is_found_by_its_name_and_by_no_other() {
        for dialect in dialects() {
            let found = by_name(dialect.name()).expect("a registered name is found");
            assert_eq!(found.name(), dialect.name());
        }
        assert!(by_name("Chat").is_none());
        assert!(by_name("").is_none());
    }

    #[test]
    fn no_two_dialects_share_a_name() {
        let mut names: Vec<_> = dialects().iter().map(|dialect| dialect.name()).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}

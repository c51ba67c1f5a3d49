//! What the tests of all dialects share: the references, how they are read, and what is said in them.

pub(crate) mod reference;
pub(crate) mod samples;

use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use antiphon_dialects::{chat, companion, mission};

/// The reference of one dialect.
pub(crate) struct Reference {
    /// The dialect's name.
    pub(crate) dialect: &'static str,
    /// Its `API.md`.
    pub(crate) text: &'static str,
    /// Reads a room name, for `rooms` blocks.
    pub(crate) topic: fn(&str) -> Result<Topic, Refusal>,
}

/// One entry for every registered dialect.
pub(crate) fn references() -> Vec<Reference> {
    vec![
        Reference {
            dialect: "chat",
            text: include_str!("../../src/chat/API.md"),
            topic: |name| chat::rooms::Room::parse(name).map(|room| room.topic()),
        },
        Reference {
            dialect: "companion",
            text: include_str!("../../src/companion/API.md"),
            topic: |name| companion::rooms::Room::parse(name).map(|room| room.topic()),
        },
        Reference {
            dialect: "mission",
            text: include_str!("../../src/mission/API.md"),
            topic: |name| mission::rooms::Room::parse(name).map(mission::rooms::Room::topic),
        },
    ]
}

//! What a store is about to tell: so that it can be told later when the process dies in between.

use serde::{Deserialize, Serialize};

use crate::ids::{ConversationId, PersonId};

/// Something that a commit stores and that its callback tells. Written down before the commit, it says after a kill what may be
/// stored without anybody having been told.
///
/// It names a place, not what is there: whoever finds the place empty knows that the commit did not happen.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Untold {
    /// A message.
    Message {
        /// Where.
        conversation: ConversationId,
        /// Its position there.
        seq: u64,
    },
    /// An entry in a ledger.
    Entry {
        /// Whose ledger.
        person: PersonId,
        /// Its position there.
        position: u64,
    },
    /// Anything else, which cannot be told later: a step of a task, or how an agent at work is.
    Other,
}

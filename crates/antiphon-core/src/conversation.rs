//! What was said, in order.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, ConversationId, MessageId, PersonId, Timestamp};
use crate::refusal::{Code, Refusal};

/// Longest accepted message of a person, in bytes (T-14: input ≤ 32 KiB).
pub const MAX_TEXT_BYTES: usize = 32 * 1024;

/// The two sides of a conversation between a person and an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// The person.
    Person,
    /// The agent.
    Agent,
}

/// One message, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Where it was said.
    pub conversation: ConversationId,
    /// Its position there: 1, 2, 3 … without a hole, in the order of commits.
    pub seq: u64,
    /// The agent of the conversation.
    pub agent: AgentId,
    /// The person of the conversation.
    pub person: PersonId,
    /// Which of the two said it.
    pub author: Party,
    /// What was said.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a person may say `text`: something besides blanks, and at most [`MAX_TEXT_BYTES`].
pub fn check_text(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::new(Code::TooLarge, "A message has at most 32,768 bytes."));
    }
    if text.trim().is_empty() {
        return Err(Refusal::invalid("A message must not be empty."));
    }
    Ok(())
}

/// What an answer cost, as estimated from lengths: a quarter of the UTF-16 units of question and answer, rounded up.
pub fn tokens(question: &str, answer: &str) -> u64 {
    let units = question.encode_utf16().count() + answer.encode_utf16().count();
    units.div_ceil(4) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_something_and_not_too_much() {
        let code = |text: &str| check_text(text).map_err(|refusal| refusal.code);
        assert_eq!(code("a"), Ok(()));
        assert_eq!(code(&"x".repeat(MAX_TEXT_BYTES)), Ok(()));
        assert_eq!(code(&"x".repeat(MAX_TEXT_BYTES + 1)), Err(Code::TooLarge));
        assert_eq!(code(&"é".repeat(MAX_TEXT_BYTES / 2 + 1)), Err(Code::TooLarge));
        assert_eq!(code(""), Err(Code::Invalid));
        assert_eq!(code(" \n\t\u{3000}"), Err(Code::Invalid));
    }

    #[test]
    fn tokens_are_a_quarter_of_the_utf16_units_rounded_up() {
        assert_eq!(tokens("", ""), 0);
        assert_eq!(tokens("a", ""), 1);
        assert_eq!(tokens("abcd", "efgh"), 2);
        assert_eq!(tokens("abcd", "efghi"), 3);
        assert_eq!(tokens("señor", ""), 2);
        assert_eq!(tokens("👩‍🚀", ""), 2); // two surrogate pairs and a joiner
    }
}

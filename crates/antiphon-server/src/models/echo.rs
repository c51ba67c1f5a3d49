//! What the development and load-test model says: the text it was given.

use antiphon_core::conversation::Party;
use antiphon_core::ports::{Answer, Model, Prompt};

use super::pacing::{self, Pace};

/// A model that answers with the person's last message, word for word, so that a test knows the answer before it asks.
#[derive(Debug)]
pub(super) struct Echo {
    pace: Pace,
}

impl Echo {
    /// An echo that speaks at `pace`.
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace }
    }
}

impl Model for Echo {
    fn answer(&self, mut prompt: Prompt) -> Answer {
        let last = prompt.history.iter().rposition(|message| message.author == Party::Person);
        let text = last.map(|at| prompt.history.swap_remove(at).text).unwrap_or_default();
        pacing::say(text, self.pace)
    }

    /// What was said before plays no part.
    fn looks_back(&self) -> u32 {
        1
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use antiphon_core::conversation::Party::{Agent, Person};
    use futures_util::StreamExt;

    use super::super::prompts::prompt;
    use super::*;

    async fn echo(said: &[(Party, &str)]) -> Vec<String> {
        let model = Echo::new(Pace { words: 3, delay: Duration::ZERO });
        model.answer(prompt("Luna", 1, said)).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn it_answers_with_the_text_it_was_given() {
        assert_eq!(
            echo(&[(Person, "Hello, Luna: one two three!")]).await,
            ["Hello, Luna: one ", "two three! "]
        );
    }

    #[tokio::test]
    async fn only_the_persons_last_message_counts() {
        assert_eq!(echo(&[(Person, "first"), (Agent, "first"), (Person, "second")]).await, ["second "]);
        assert_eq!(echo(&[(Person, "first"), (Agent, "said since")]).await, ["first "]);
    }

    #[tokio::test]
    async fn it_looks_at_no_more_than_it_says() {
        let model = Echo::new(Pace { words: 3, delay: Duration::ZERO });
        assert_eq!(model.looks_back(), 1);
        assert_eq!(
            echo(&[(Person, "first"), (Agent, "first"), (Person, "second")]).await,
            echo(&[(Person, "second")]).await
        );
    }

    #[tokio::test]
    async fn with_nothing_said_there_is_nothing_to_echo() {
        assert_eq!(echo(&[]).await, Vec::<String>::new());
    }
}

//! In which pieces and at what pace a whole text is said.
//!
//! As documented for streamed chat answers: the text is split on single spaces, so many words are joined again by single
//! spaces, each piece ends with one space, and a pause follows each piece, also the last.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use antiphon_core::ports::Answer;
use antiphon_core::refusal::Fault;
use futures_util::stream::Stream;
use tokio::time::{Instant, Sleep, sleep};

/// How fast a text is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Words per piece, at least 1.
    pub(super) words: usize,
    /// Pause after each piece; zero only lets others run.
    pub(super) delay: Duration,
}

/// Says `text` at `pace`. An empty text has no pieces. The stream may be polled after its end; dropping it ends the answer
/// at once, pause included.
pub(super) fn say(text: String, pace: Pace) -> Answer {
    Box::pin(Speech { rest: (!text.is_empty()).then_some(0), text, pace, pause: Pause::Over })
}

/// A text that is partly said.
struct Speech {
    text: String,
    /// Where the unsaid part begins; `None` when everything was said.
    rest: Option<usize>,
    pace: Pace,
    pause: Pause,
}

/// What comes before the next piece.
enum Pause {
    /// Nothing.
    Over,
    /// Others run first.
    Yield,
    /// The timer, one for all pauses of a text.
    Sleep(Pin<Box<Sleep>>),
}

impl Stream for Speech {
    type Item = Result<String, Fault>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.pause {
            Pause::Over => {}
            Pause::Yield => {
                self.pause = Pause::Over;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Pause::Sleep(sleep) => ready!(sleep.as_mut().poll(context)),
        }
        let piece = self.next_piece();
        if piece.is_some() {
            self.begin_pause();
        }
        Poll::Ready(piece.map(Ok))
    }
}

impl Speech {
    fn begin_pause(&mut self) {
        let delay = self.pace.delay;
        match &mut self.pause {
            _ if delay.is_zero() => self.pause = Pause::Yield,
            // From now on, not from when the last pause was over: answers that are said in one turn fall into step, and the next
            // turn serves them all again. Keeping each one's own pace costs an eighth more for every piece.
            Pause::Sleep(sleep) => sleep.as_mut().reset(Instant::now() + delay),
            Pause::Over | Pause::Yield => self.pause = Pause::Sleep(Box::pin(sleep(delay))),
        }
    }

    fn next_piece(&mut self) -> Option<String> {
        let rest = &self.text[self.rest?..];
        // A piece ends at the space after its last word; without one, it is the last piece.
        let end = rest.match_indices(' ').nth(self.pace.words.max(1) - 1).map(|(at, _)| at);
        let words = &rest[..end.unwrap_or(rest.len())];
        let mut piece = String::with_capacity(words.len() + 1);
        piece.push_str(words);
        piece.push(' ');
        self.rest = end.and_then(|at| self.rest.map(|start| start + at + 1));
        Some(piece)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::StreamExt;
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    async fn pieces(text: &str, words: usize) -> Vec<String> {
        let pace = Pace { words, delay: Duration::ZERO };
        say(text.to_owned(), pace).map(Result::unwrap).collect().await
    }

    #[tokio::test]
    async fn a_piece_has_so_many_words_and_ends_with_one_space() {
        assert_eq!(pieces("a b c d e f g", 3).await, ["a b c ", "d e f ", "g "]);
        assert_eq!(pieces("a b c", 3).await, ["a b c "]);
        assert_eq!(pieces("a b c", 1).await, ["a ", "b ", "c "]);
        assert_eq!(pieces("word", 3).await, ["word "]);
        assert_eq!(pieces("¡Hola, señora! 👋🏽 ¿qué tal?", 2).await, ["¡Hola, señora! ", "👋🏽 ¿qué ", "tal? "]);
        assert_eq!(pieces("", 3).await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn only_single_spaces_split_so_the_documented_splitting_is_met_exactly() {
        // What `text.split(" ")` gives: neighbouring spaces enclose empty words, other white space splits nothing.
        assert_eq!(pieces("a  b\nc d", 3).await, ["a  b\nc ", "d "]);
        assert_eq!(pieces(" a ", 2).await, [" a ", " "]);
        assert_eq!(pieces(" ", 3).await, ["  "]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_follows_each_piece_also_the_last() {
        let begin = Instant::now();
        let mut answer = say("a b c d e f g".to_owned(), Pace { words: 3, delay: MS(50) });
        let mut heard = Vec::new();
        while let Some(piece) = answer.next().await {
            heard.push((piece.unwrap(), begin.elapsed()));
        }
        let expected = [("a b c ", MS(0)), ("d e f ", MS(50)), ("g ", MS(100))];
        assert_eq!(heard, expected.map(|(piece, at)| (piece.to_owned(), at)));
        assert_eq!(begin.elapsed(), MS(150));
        assert!(answer.next().await.is_none(), "a stream that is over stays over");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_not_a_task_so_dropping_it_ends_it() {
        let begin = Instant::now();
        let mut answer = say("a b c d".to_owned(), Pace { words: 1, delay: MS(9_000) });
        assert_eq!(answer.next().await.unwrap().unwrap(), "a ");
        let pending = poll_fn(|context| Poll::Ready(answer.poll_next_unpin(context).is_pending())).await;
        assert!(pending, "the second piece waits for its pause");
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
        drop(answer);
        assert_eq!(begin.elapsed(), MS(0), "nobody waited for the pause");
    }

    #[tokio::test]
    async fn without_a_delay_others_still_run_between_pieces() {
        let mut answer = say("a b".to_owned(), Pace { words: 1, delay: Duration::ZERO });
        assert_eq!(answer.next().await.unwrap().unwrap(), "a ");
        let pending = poll_fn(|context| Poll::Ready(answer.poll_next_unpin(context).is_pending())).await;
        assert!(pending);
        assert_eq!(answer.next().await.unwrap().unwrap(), "b ");
    }

    proptest! {
        #[test]
        fn pieces_are_what_the_documented_splitting_gives(text in ".{1,200}|( |a|é){0,60}", words in 1usize..6) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let split: Vec<&str> = if text.is_empty() { Vec::new() } else { text.split(' ').collect() };
            let expected: Vec<String> = split.chunks(words).map(|chunk| chunk.join(" ") + " ").collect();
            prop_assert_eq!(runtime.block_on(pieces(&text, words)), expected);
        }
    }
}

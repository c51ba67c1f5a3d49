//! What agents say in rehearsals: a model that answers from scripts.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::app::lock;
use crate::ports::{Answer, Model, Prompt};
use crate::refusal::Fault;

/// What an agent does next.
#[derive(Clone)]
pub(crate) enum Step {
    Say(&'static str),
    /// Waits for a permit.
    Gate(Arc<Semaphore>),
    Pause(Duration),
    Fail,
    Hang,
    Panic,
    /// Panics before there is a stream at all; only as the first step.
    PanicAtOnce,
}

/// A model that answers from scripts, one per prompt, and "ok" when it has none left. It remembers what it was asked.
#[derive(Default)]
pub(crate) struct Script {
    scripts: Mutex<VecDeque<Vec<Step>>>,
    prompts: Mutex<Vec<Prompt>>,
    /// How many messages it looks at; `None` is all of them.
    looks_back: Mutex<Option<u32>>,
}

impl Script {
    pub(crate) fn then(&self, steps: impl Into<Vec<Step>>) {
        lock(&self.scripts).push_back(steps.into());
    }

    /// From now on it looks at so many messages, the one to answer included.
    pub(crate) fn look_back(&self, messages: u32) {
        *lock(&self.looks_back) = Some(messages);
    }

    /// The texts of each prompt, in the order they were asked.
    pub(crate) fn asked(&self) -> Vec<Vec<String>> {
        let texts = |prompt: &Prompt| prompt.history.iter().map(|message| message.text.clone()).collect();
        lock(&self.prompts).iter().map(texts).collect()
    }

    pub(crate) fn last_prompt(&self) -> Prompt {
        lock(&self.prompts).last().expect("the model was asked").clone()
    }
}

impl Model for Script {
    fn looks_back(&self) -> u32 {
        lock(&self.looks_back).unwrap_or(u32::MAX)
    }

    fn answer(&self, prompt: Prompt) -> Answer {
        lock(&self.prompts).push(prompt);
        let steps = lock(&self.scripts).pop_front().unwrap_or_else(|| vec![Step::Say("ok")]);
        assert!(!matches!(steps.first(), Some(Step::PanicAtOnce)), "as the script says");
        Box::pin(stream::unfold(VecDeque::from(steps), |mut steps| async move {
            loop {
                match steps.pop_front()? {
                    Step::Say(piece) => return Some((Ok(piece.into()), steps)),
                    Step::Gate(gate) => gate.acquire().await.expect("the gate is not closed").forget(),
                    Step::Pause(time) => sleep(time).await,
                    Step::Fail => return Some((Err(Fault::new("as the script says")), steps)),
                    Step::Hang => std::future::pending().await,
                    Step::Panic | Step::PanicAtOnce => panic!("as the script says"),
                }
            }
        }))
    }
}

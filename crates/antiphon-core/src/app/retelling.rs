//! What a run that was killed has stored and did not come to tell.
//!
//! It is told to the topics and in the words of the live path, after whoever listened to the last run listens again.

use std::collections::{HashMap, HashSet};

use super::{App, posting, wallet};
use crate::aftermath::Aftermath;
use crate::assistant::{reply_to, say_failed, say_finished};
use crate::conversation::{Message, Party, tokens};
use crate::event::Reply;
use crate::ids::{ConversationId, MessageId};
use crate::ports::Untold;
use crate::refusal::Fault;
use crate::topic::Topic;

/// How many of the last messages of a conversation are looked through for a question or an answer. More than can wait for an
/// answer in one conversation, with what is said unasked in between.
const LOOKED_AT: u32 = 256;

/// What [`App::retell`] has told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retold {
    /// Messages that were stored and not said to be, answers among them.
    pub messages: usize,
    /// Entries of ledgers.
    pub entries: usize,
    /// Answers that had begun or were waited for and will not come.
    pub failed: usize,
    /// People who were here and have half a minute to come back.
    pub missing: usize,
    /// Whether something that was stored may not have been told and cannot be told now: a step of a task, or how an agent is.
    pub other: bool,
}

impl App {
    /// Tells what a run that was killed has stored and not told; that the answers fail which it did not finish; and, half a minute
    /// after this, while [`run`](Self::run) runs, that those are offline who were here and have not come back.
    ///
    /// To be called once, before the first command, when those listen again who are to hear it, and before
    /// [`recover`](Self::recover), which gives back what was paid for the answers that fail. When it faults some of it was not told:
    /// nobody may be promised then that they missed nothing.
    pub async fn retell(&self, mut aftermath: Aftermath) -> Result<Retold, Fault> {
        let mut retold = Retold::default();
        for untold in once_each(std::mem::take(&mut aftermath.untold)) {
            match untold {
                Untold::Message { conversation, seq } => {
                    let stored =
                        self.ports.store.history(conversation, seq.saturating_sub(1), 1).await?.pop();
                    if let Some(message) = stored.filter(|stored| stored.seq == seq) {
                        retold.messages += usize::from(self.retell_message(&mut aftermath, message).await?);
                    }
                }
                Untold::Entry { person, position } => {
                    let stored = self.ports.store.ledger(&person, position.saturating_sub(1), 1).await?.pop();
                    let stored = stored.filter(|stored| stored.position == position);
                    if let Some(entry) = stored.filter(|_| !aftermath.was_told(&person, position)) {
                        wallet::announce(&self.ports, &entry);
                        retold.entries += 1;
                    }
                }
                Untold::Other => retold.other = true,
            }
        }
        retold.failed = self.give_up_answers(&aftermath).await?;
        retold.missing = self.miss(&aftermath);
        Ok(retold)
    }

    /// Says what was not said of a message that is stored; whether there was anything.
    async fn retell_message(&self, aftermath: &mut Aftermath, message: Message) -> Result<bool, Fault> {
        let is_posted = aftermath.was_posted(message.id, Topic::Conversation(message.conversation));
        let relation = async || self.ports.store.relation(&message.agent, &message.person).await;
        if message.author == Party::Person {
            if is_posted && aftermath.was_felt(&message) {
                return Ok(false);
            }
            let relation = relation().await?;
            if !is_posted {
                posting::say_posted(&self.ports, &message);
            }
            posting::say_felt(&self.ports, &message, relation);
            aftermath.ask(message);
        } else if aftermath.is_answer(message.id) {
            if aftermath.has_ended(message.id) {
                return Ok(false);
            }
            let (relation, question) = (relation().await?, self.question(aftermath, &message).await?);
            let asked = question.as_ref().map_or("", |question| question.text.as_str());
            say_finished(&self.ports, &message, relation, tokens(asked, &message.text));
            aftermath.end(message.id);
        } else {
            let is_told = aftermath.was_posted(message.id, Topic::Person(message.person.clone()));
            if !is_told {
                posting::say_to_person(&self.ports, &message);
            }
            if !is_posted {
                posting::say_posted(&self.ports, &message);
            }
            return Ok(!is_told || !is_posted);
        }
        Ok(true)
    }

    /// What `answer` answers; as far as that is not known, what the person said last before it.
    async fn question(&self, aftermath: &Aftermath, answer: &Message) -> Result<Option<Message>, Fault> {
        let id = aftermath.answer(answer.id).map(|reply| reply.question);
        if let Some(question) = id.and_then(|id| aftermath.question(id)) {
            return Ok(Some(question.clone()));
        }
        let after = answer.seq.saturating_sub(1 + u64::from(LOOKED_AT));
        let mut before = self.ports.store.history(answer.conversation, after, LOOKED_AT).await?;
        before.retain(|message| message.seq < answer.seq && message.author == Party::Person);
        let found = before.iter().position(|message| Some(message.id) == id);
        Ok(match found {
            Some(index) => Some(before.swap_remove(index)),
            None => before.pop(),
        })
    }

    /// Says that the answers have failed that were under way or waited for. An answer that is stored was told when it was, or is
    /// among what was untold: of that nothing is to be said any more.
    async fn give_up_answers(&self, aftermath: &Aftermath) -> Result<usize, Fault> {
        let mut ends = Ends { app: self, recent: HashMap::new() };
        let mut failed: Vec<Reply> = Vec::new();
        for reply in aftermath.unfinished() {
            if !ends.has(reply.conversation, reply.id).await? {
                failed.push(reply);
            }
        }
        for question in aftermath.unanswered() {
            let later = ends.of(question.conversation).await?.iter();
            let mut later = later.filter(|said| said.seq > question.seq && said.author == Party::Agent);
            if later.all(|said| aftermath.is_aside(said, question.id)) {
                failed.push(reply_to(&question));
            }
        }
        let count = failed.len();
        failed.into_iter().for_each(|reply| say_failed(&self.ports, reply));
        Ok(count)
    }

    /// From now on those who were here have to show themselves; how many they are.
    fn miss(&self, aftermath: &Aftermath) -> usize {
        let attendance = super::lock(&self.attendance);
        let mut missing = super::lock(&self.missing);
        missing.extend(aftermath.here().filter(|person| attendance.status(person).is_none()).cloned());
        if !missing.is_empty() {
            self.missed.notify_one();
        }
        missing.len()
    }
}

/// Each of them once, where it comes last: a commit that failed may have named a place that a later one took.
fn once_each(mut untold: Vec<Untold>) -> Vec<Untold> {
    let mut known = HashSet::new();
    untold.reverse();
    untold.retain(|one| known.insert(one.clone()));
    untold.reverse();
    untold
}

/// How conversations end, each read once.
struct Ends<'a> {
    app: &'a App,
    recent: HashMap<ConversationId, Vec<Message>>,
}

impl Ends<'_> {
    async fn of(&mut self, conversation: ConversationId) -> Result<&[Message], Fault> {
        if !self.recent.contains_key(&conversation) {
            let recent = self.app.ports.store.recent(conversation, LOOKED_AT).await?;
            self.recent.insert(conversation, recent);
        }
        Ok(self.recent.get(&conversation).map_or(&[], Vec::as_slice))
    }

    async fn has(&mut self, conversation: ConversationId, id: MessageId) -> Result<bool, Fault> {
        Ok(self.of(conversation).await?.iter().any(|message| message.id == id))
    }
}

#[cfg(test)]
mod tests;

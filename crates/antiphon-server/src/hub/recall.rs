//! What a socket is told by history, so that the events of the present do not tell it again.
//!
//! While a conversation is recalled, its messages that go by are not told: they are stored, so history gets to them. What else
//! is said there waits; near the end, messages do, too. Once history has told everything that went by, the rest follows live; an
//! event that is late, because its message could be read before it was published, is known by its position. So nothing is missing
//! and nothing comes twice, however long the history is, and while it is told no more waits than what is not in it.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::conversation::{Message, Party};
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{ConversationId, MessageId};
use antiphon_core::topic::Topic;

use super::{Full, Held, Queued};
use crate::cores::Core;
use crate::session::Socket;

/// A conversation whose past is being told to a socket, or was.
pub(crate) struct Recall {
    conversation: ConversationId,
    /// History has told everything up to this position.
    told: u64,
    /// The last position that went by and was left to history.
    passed: u64,
    /// Whether later messages wait, too.
    keeps: bool,
    /// What else was said there meanwhile; nothing is kept any more once the past was told.
    waiting: Option<Held>,
}

/// What becomes of an event.
enum Heard {
    /// It is told now.
    Now,
    /// It is told now, and nothing of this conversation will be told by history any more.
    Overtaking,
    /// History tells it.
    FromHistory,
    /// History tells it, except that the agent, who may have been seen to begin, no longer types.
    Ending(Event),
    /// It is told after the past.
    Later(Result<Queued, Full>),
}

impl Recall {
    fn new(conversation: ConversationId, told: u64) -> Self {
        Self { conversation, told, passed: told, keeps: false, waiting: Some(Held::default()) }
    }

    /// One frame of `envelope`, which has so many `bytes`. It comes once for each of its frames, one after the other.
    fn meet(&mut self, envelope: &Arc<Envelope>, bytes: usize, limit: usize) -> Heard {
        if let Some(message) = message_of(&envelope.event).filter(|m| m.conversation == self.conversation) {
            if self.waiting.is_none() && message.seq > self.told {
                return Heard::Overtaking;
            }
            let is_first = message.seq > self.passed;
            if let Some(waiting) = self.waiting.as_mut().filter(|_| is_first && self.keeps) {
                return Heard::Later(waiting.keep(envelope, bytes, limit));
            }
            self.passed = self.passed.max(message.seq);
            if let Some(waiting) = self.waiting.as_mut().filter(|_| is_first) {
                waiting.forget(|event| answer_of(event) == Some(message.id));
            }
            return match is_first && matches!(envelope.event, Event::ReplyFinished { .. }) {
                true => Heard::Ending(silence(message)),
                false => Heard::FromHistory,
            };
        }
        let here = Topic::Conversation(self.conversation);
        match &mut self.waiting {
            Some(waiting) if envelope.topic == here || envelope.also.contains(&here) => {
                Heard::Later(waiting.keep(envelope, bytes, limit))
            }
            _ => Heard::Now,
        }
    }

    /// `message` was told.
    fn tell(&mut self, message: &Message) {
        self.told = message.seq;
        if let Some(waiting) = &mut self.waiting {
            waiting.forget(|event| answer_of(event) == Some(message.id));
        }
    }

    /// What waited, if everything that was left to history was told: from now on what is said is told live.
    fn go_live(&mut self) -> Option<Vec<Arc<Envelope>>> {
        let is_level = self.passed <= self.told;
        is_level.then(|| self.waiting.take().unwrap_or_default().into_waiting())
    }
}

impl Socket {
    /// From now on history tells what is said in `conversation` after the position `told`, until it
    /// [goes live](Self::go_live).
    pub(crate) fn recall(&self, core: &Core, conversation: ConversationId, told: u64) {
        let mut recalls = self.recalls.borrow_mut();
        recalls.retain(|recall| recall.conversation != conversation);
        if recalls.len() >= core.shared.limits.rooms {
            // Long over: only the last one is told at the moment.
            recalls.remove(0);
        }
        recalls.push(Recall::new(conversation, told));
        drop(recalls);
        self.connection.withhold(true);
        core.note_catching_up(self);
    }

    /// Whether it is being told the past of a conversation, or is about to be: what it has not heard of that is kept nowhere.
    pub(crate) fn is_catching_up(&self) -> bool {
        self.held.borrow().is_some() || self.recalls.borrow().iter().any(|recall| recall.waiting.is_some())
    }

    /// The conversations whose past it was told, each with the position up to which.
    pub(crate) fn recalled_before(&self) -> Vec<(ConversationId, u64)> {
        self.recalls.borrow().iter().map(|recall| (recall.conversation, recall.told)).collect()
    }

    /// It goes on for one that had been told these conversations up to these positions: what is late of that is not told again.
    pub(crate) fn was_recalled(&self, before: Vec<(ConversationId, u64)>) {
        let over = |(conversation, told)| Recall { waiting: None, ..Recall::new(conversation, told) };
        self.recalls.borrow_mut().extend(before.into_iter().map(over));
    }

    /// The position up to which history has told `conversation`.
    pub(crate) fn recalled(&self, conversation: ConversationId) -> Option<u64> {
        self.recalls
            .borrow()
            .iter()
            .find(|recall| recall.conversation == conversation)
            .map(|recall| recall.told)
    }

    /// History has told `message`, which follows the one told before.
    pub(crate) fn note_told(&self, message: &Message) {
        let mut recalls = self.recalls.borrow_mut();
        if let Some(recall) = recalls.iter_mut().find(|recall| recall.conversation == message.conversation) {
            recall.tell(message);
        }
    }

    /// If history has told everything that was left to it, what is said in `conversation` is told live from now on, beginning
    /// with what waited. Returns the position where history ended then.
    pub(crate) fn go_live(self: &Rc<Self>, core: &Core, conversation: ConversationId) -> Option<u64> {
        let (told, waited) = {
            let mut recalls = self.recalls.borrow_mut();
            let recall = recalls.iter_mut().find(|recall| recall.conversation == conversation)?;
            (recall.told, recall.go_live()?)
        };
        for envelope in &waited {
            self.tell(core, envelope);
        }
        core.note_catching_up(self);
        Some(told)
    }

    /// What is said in `conversation` from now on waits, messages as well: history has to get only to where they begin.
    pub(crate) fn keep_what_goes_by(&self, conversation: ConversationId) {
        let mut recalls = self.recalls.borrow_mut();
        if let Some(recall) = recalls.iter_mut().find(|recall| recall.conversation == conversation) {
            recall.keeps = true;
        }
    }

    /// History tells nothing of `conversation` any more.
    pub(crate) fn forget_recall(&self, core: &Core, conversation: ConversationId) {
        self.recalls.borrow_mut().retain(|recall| recall.conversation != conversation);
        self.note_withholding();
        core.note_catching_up(self);
    }

    /// Whether history tells this frame of `envelope`, which has so many `bytes`, or something else is done with it than telling
    /// it now.
    pub(super) fn is_told_by_history(
        self: &Rc<Self>,
        core: &Core,
        envelope: &Arc<Envelope>,
        bytes: usize,
    ) -> bool {
        let heard = {
            let mut recalls = self.recalls.borrow_mut();
            let limit = core.shared.limits.outbox;
            let met = recalls.iter_mut().map(|recall| recall.meet(envelope, bytes, limit)).enumerate();
            // An event belongs to one conversation.
            let mut met = met.skip_while(|(_, heard)| matches!(heard, Heard::Now));
            match met.next() {
                Some((index, Heard::Overtaking)) => {
                    drop(met);
                    recalls.remove(index);
                    Heard::Overtaking
                }
                Some((_, heard)) => heard,
                None => return false,
            }
        };
        match heard {
            Heard::Now => return false,
            Heard::Overtaking => {
                self.note_withholding();
                return false;
            }
            Heard::FromHistory => {}
            Heard::Ending(silence) => {
                self.tell(core, &Arc::new(Envelope::new(envelope.topic.clone(), silence)))
            }
            Heard::Later(kept) => self.note_kept(core, kept),
        }
        true
    }
}

/// The message that `event` says is stored now.
fn message_of(event: &Event) -> Option<&Message> {
    match event {
        Event::MessagePosted(message) | Event::ReplyFinished { message, .. } => Some(message),
        _ => None,
    }
}

/// The answer that `event` is on the way to. The message that it becomes has the same id.
fn answer_of(event: &Event) -> Option<MessageId> {
    match event {
        Event::ReplyStarted(reply) | Event::ReplyFailed(reply) => Some(reply.id),
        Event::ReplyChunk(chunk) => Some(chunk.reply),
        _ => None,
    }
}

/// That the agent who said `message` does not type any more.
fn silence(message: &Message) -> Event {
    Event::TypingChanged {
        agent: message.agent.clone(),
        person: message.person.clone(),
        who: Party::Agent,
        active: false,
        at: message.at,
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::agents::Relation;
    use antiphon_core::event::{Chunk, Reply};
    use antiphon_core::ids::{AgentId, PersonId, Timestamp};

    use super::*;

    const ROOMY: usize = 1 << 20;

    fn luna() -> AgentId {
        AgentId::parse("luna").unwrap()
    }

    fn ada() -> PersonId {
        PersonId::parse("ada").unwrap()
    }

    fn conversation() -> ConversationId {
        ConversationId::direct(&luna(), &ada())
    }

    fn message(seq: u64, author: Party) -> Message {
        Message {
            id: MessageId::random(),
            conversation: conversation(),
            seq,
            agent: luna(),
            person: ada(),
            author,
            text: "hola".into(),
            at: Timestamp(0),
        }
    }

    fn said(event: Event) -> Arc<Envelope> {
        Arc::new(Envelope::new(Topic::Conversation(conversation()), event))
    }

    fn posted(seq: u64) -> Arc<Envelope> {
        said(Event::MessagePosted(message(seq, Party::Person)))
    }

    fn started(id: MessageId) -> Arc<Envelope> {
        let at = Timestamp(0);
        said(Event::ReplyStarted(Reply {
            id,
            conversation: conversation(),
            agent: luna(),
            person: ada(),
            question: MessageId::random(),
            at,
        }))
    }

    fn piece(reply: MessageId) -> Arc<Envelope> {
        let at = Timestamp(0);
        said(Event::ReplyChunk(Chunk { reply, agent: luna(), index: 0, text: "hola ".into(), at }))
    }

    fn finished(message: &Message) -> Arc<Envelope> {
        let message = message.clone();
        said(Event::ReplyFinished { message, tokens: 1, relation: Relation::default() })
    }

    #[test]
    fn messages_that_go_by_are_left_to_history_until_it_has_told_them_all() {
        let mut recall = Recall::new(conversation(), 3);
        assert!(matches!(recall.meet(&posted(4), 10, ROOMY), Heard::FromHistory));
        assert!(recall.go_live().is_none(), "4 was not told");
        recall.tell(&message(4, Party::Person));
        assert!(matches!(recall.meet(&posted(5), 10, ROOMY), Heard::FromHistory));
        assert!(recall.go_live().is_none(), "5 came in between");
        recall.tell(&message(5, Party::Person));
        assert!(recall.go_live().is_some());
        // One that history read before it was published is late; the next one is not, and ends it.
        assert!(matches!(recall.meet(&posted(5), 10, ROOMY), Heard::FromHistory));
        assert!(matches!(recall.meet(&posted(6), 10, ROOMY), Heard::Overtaking));
    }

    #[test]
    fn whoever_talks_without_a_pause_does_not_keep_history_from_ending() {
        let mut recall = Recall::new(conversation(), 3);
        assert!(matches!(recall.meet(&posted(4), 10, ROOMY), Heard::FromHistory));
        recall.keeps = true;
        // It comes once for each of its frames.
        let late = finished(&message(6, Party::Agent));
        for event in [posted(5), late.clone(), late, posted(7)] {
            assert!(matches!(recall.meet(&event, 10, ROOMY), Heard::Later(Ok(Queued::Whole))));
        }
        // The page that brings 4 brings what was stored behind it as well.
        for seq in 4..=6 {
            recall.tell(&message(seq, Party::Person));
        }
        let waited = recall.go_live().expect("4 was told");
        let heard: Vec<_> = waited.iter().map(|event| recall.meet(event, 10, ROOMY)).collect();
        assert!(matches!(heard[..], [Heard::FromHistory, Heard::Ending(_), Heard::Overtaking]));
    }

    #[test]
    fn a_message_counts_whichever_topic_brings_it_and_only_of_its_conversation() {
        let mut recall = Recall::new(conversation(), 3);
        let event = Event::MessagePosted(message(4, Party::Agent));
        let unasked = Arc::new(Envelope::new(Topic::Person(ada()), event));
        assert!(matches!(recall.meet(&unasked, 10, ROOMY), Heard::FromHistory));
        let elsewhere = ConversationId::direct(&AgentId::parse("mia").unwrap(), &ada());
        let other = Message { conversation: elsewhere, ..message(9, Party::Agent) };
        let other = Arc::new(Envelope::new(Topic::Person(ada()), Event::MessagePosted(other)));
        assert!(matches!(recall.meet(&other, 10, ROOMY), Heard::Now));
        recall.tell(&message(4, Party::Agent));
        assert!(recall.go_live().is_some());
    }

    #[test]
    fn of_an_answer_that_history_tells_nothing_else_is_told() {
        let (told, passed) = (message(4, Party::Agent), message(5, Party::Agent));
        let under_way = MessageId::random();
        let mut recall = Recall::new(conversation(), 3);
        for id in [told.id, passed.id, under_way] {
            for event in [started(id), piece(id)] {
                assert!(matches!(recall.meet(&event, 10, ROOMY), Heard::Later(Ok(Queued::Whole))));
            }
        }
        recall.tell(&told);
        // It was seen to begin, perhaps, before history took over: so it is seen to end, once.
        assert!(matches!(recall.meet(&finished(&passed), 10, ROOMY), Heard::Ending(_)));
        assert!(matches!(recall.meet(&finished(&passed), 10, ROOMY), Heard::FromHistory));
        recall.tell(&passed);
        let waited = recall.go_live().expect("everything was told");
        let ids: Vec<_> = waited.iter().map(|envelope| answer_of(&envelope.event)).collect();
        assert_eq!(ids, [Some(under_way), Some(under_way)]);
        assert!(matches!(recall.meet(&piece(under_way), 10, ROOMY), Heard::Now));
    }
}

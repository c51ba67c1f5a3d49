//! What is known of the end of a run that was killed: what it told, what it had begun, and who was here.

use std::collections::{HashMap, HashSet};

use crate::conversation::{Message, Party};
use crate::event::{Envelope, Event, Reply};
use crate::ids::{AgentId, MessageId, PersonId};
use crate::ports::Untold;
use crate::presence::Status;
use crate::topic::Topic;

/// The end of a run, for [`App::retell`](crate::app::App::retell): made of the events that it published, as far as somebody wrote
/// them down, and of what its last commit was about to tell.
///
/// It need not know every event, and only counts as untold what can be told by what it knows. It keeps ids and what
/// waits for an answer, however much was published.
#[derive(Debug, Default)]
pub struct Aftermath {
    pub(crate) untold: Vec<Untold>,
    /// Where messages were said to be posted.
    posted: HashSet<(MessageId, Topic)>,
    /// The last message of each person to an agent since which nobody said how that one feels.
    unfelt: HashMap<(AgentId, PersonId), MessageId>,
    entries: HashSet<(PersonId, u64)>,
    /// What people said and no answer is known to have ended to, by when it was read here.
    asked: HashMap<MessageId, (usize, Message)>,
    /// Answers that have begun, by when that was read here.
    started: HashMap<MessageId, (usize, Reply)>,
    /// Messages whose answer has begun.
    taken_up: HashSet<MessageId>,
    /// Answers that have ended, one way or the other.
    ended: HashSet<MessageId>,
    /// Answers of which a piece was heard.
    pieces: HashSet<MessageId>,
    here: HashSet<PersonId>,
    read: usize,
}

impl Aftermath {
    /// After these events, in the order of their publication, with what is not known to have been told. Those who were `here` before
    /// were here at the end, unless an event says otherwise.
    pub fn new<'a>(
        untold: Vec<Untold>,
        here: impl IntoIterator<Item = PersonId>,
        published: impl IntoIterator<Item = &'a Envelope>,
    ) -> Self {
        let mut aftermath = Self { untold, here: here.into_iter().collect(), ..Self::default() };
        published.into_iter().for_each(|envelope| aftermath.read(envelope));
        aftermath
    }

    /// Who was here at the end.
    pub(crate) fn here(&self) -> impl Iterator<Item = &PersonId> {
        self.here.iter()
    }

    /// Whether `message` was said to be posted in `topic`.
    pub(crate) fn was_posted(&self, message: MessageId, topic: Topic) -> bool {
        self.posted.contains(&(message, topic))
    }

    /// Whether it is known that how the agent feels was said after `message`, which was said to be posted.
    pub(crate) fn was_felt(&self, message: &Message) -> bool {
        self.unfelt.get(&(message.agent.clone(), message.person.clone())) != Some(&message.id)
    }

    /// Whether this entry was told to its person.
    pub(crate) fn was_told(&self, person: &PersonId, position: u64) -> bool {
        self.entries.contains(&(person.clone(), position))
    }

    /// The answer of this id, if one is known to have begun.
    pub(crate) fn answer(&self, id: MessageId) -> Option<&Reply> {
        self.started.get(&id).map(|(_, reply)| reply)
    }

    /// Whether the message of this id is an answer, and not something that an agent said unasked.
    pub(crate) fn is_answer(&self, id: MessageId) -> bool {
        self.started.contains_key(&id) || self.pieces.contains(&id)
    }

    /// Whether the answer of this id is known to have ended.
    pub(crate) fn has_ended(&self, id: MessageId) -> bool {
        self.ended.contains(&id)
    }

    /// What a person said, if it is among the events and its answer has not ended.
    pub(crate) fn question(&self, id: MessageId) -> Option<&Message> {
        self.asked.get(&id).map(|(_, message)| message)
    }

    /// A message of a person's turned out to be stored and untold: it is one more that waits for its answer.
    pub(crate) fn ask(&mut self, message: Message) {
        self.read += 1;
        self.asked.entry(message.id).or_insert((self.read, message));
    }

    /// The answer of this id is told to have ended.
    pub(crate) fn end(&mut self, id: MessageId) {
        self.ended.insert(id);
    }

    /// Answers that have begun and of which no end is known, in the order in which they began.
    pub(crate) fn unfinished(&self) -> Vec<Reply> {
        in_order(self.started.values().filter(|(_, reply)| !self.ended.contains(&reply.id)))
    }

    /// What people said and no answer is known to have begun to, in the order in which it was said.
    pub(crate) fn unanswered(&self) -> Vec<Message> {
        in_order(self.asked.values().filter(|(_, message)| !self.taken_up.contains(&message.id)))
    }

    /// Whether a message of an agent's is known to be something else than the answer to `question`.
    pub(crate) fn is_aside(&self, said: &Message, question: MessageId) -> bool {
        let was_posted = self.was_posted(said.id, Topic::Conversation(said.conversation));
        was_posted || self.answer(said.id).is_some_and(|reply| reply.question != question)
    }

    fn read(&mut self, envelope: &Envelope) {
        self.read += 1;
        match &envelope.event {
            Event::MessagePosted(message) => {
                self.posted.insert((message.id, envelope.topic.clone()));
                if message.author == Party::Person {
                    self.unfelt.insert((message.agent.clone(), message.person.clone()), message.id);
                    self.asked.insert(message.id, (self.read, message.clone()));
                }
            }
            Event::RelationChanged { agent, person, .. } => {
                self.unfelt.remove(&(agent.clone(), person.clone()));
            }
            Event::ReplyStarted(reply) => {
                self.taken_up.insert(reply.question);
                self.started.insert(reply.id, (self.read, reply.clone()));
            }
            Event::ReplyChunk(chunk) => {
                self.pieces.insert(chunk.reply);
            }
            Event::ReplyFinished { message, .. } => {
                self.ended.insert(message.id);
                if let Some((_, reply)) = self.started.get(&message.id) {
                    self.asked.remove(&reply.question);
                }
            }
            Event::ReplyFailed(reply) => {
                self.ended.insert(reply.id);
                self.asked.remove(&reply.question);
            }
            Event::BalanceChanged(entry) => {
                self.entries.insert((entry.person.clone(), entry.position));
            }
            Event::PresenceChanged { person, status, .. } => match status {
                Status::Online | Status::Away => {
                    self.here.insert(person.clone());
                }
                Status::Offline => {
                    self.here.remove(person);
                }
            },
            _ => {}
        }
    }
}

fn in_order<'a, T: Clone + 'a>(found: impl Iterator<Item = &'a (usize, T)>) -> Vec<T> {
    let mut found: Vec<_> = found.collect();
    found.sort_unstable_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, value)| value.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::stage::{NOON, agent_id, person};
    use crate::ids::ConversationId;

    fn message(text: &str) -> Message {
        let (agent, person) = (agent_id("luna"), person("ada"));
        Message {
            id: MessageId::random(),
            conversation: ConversationId::direct(&agent, &person),
            seq: 1,
            agent,
            person,
            author: Party::Person,
            text: text.into(),
            at: NOON,
        }
    }

    fn reply_to(question: &Message) -> Reply {
        crate::assistant::reply_to(question)
    }

    fn envelope(event: Event) -> Envelope {
        Envelope::new(Topic::Conversation(message("").conversation), event)
    }

    #[test]
    fn what_was_begun_and_not_ended_comes_in_the_order_of_its_beginning() {
        let questions: Vec<_> = ["one", "two", "three", "four"].map(message).into();
        let replies: Vec<_> = questions.iter().map(reply_to).collect();
        let asked = questions.iter().map(|question| Event::MessagePosted(question.clone()));
        let started = [2, 0, 1].map(|index: usize| Event::ReplyStarted(replies[index].clone()));
        let ended = [Event::ReplyFailed(replies[2].clone())];
        let events: Vec<_> = asked.chain(started).chain(ended).map(envelope).collect();
        let aftermath = Aftermath::new(Vec::new(), [], &events);
        assert_eq!(aftermath.unfinished(), [replies[0].clone(), replies[1].clone()]);
        assert_eq!(aftermath.unanswered(), [questions[3].clone()]);
    }

    #[test]
    fn what_is_over_is_not_kept() {
        let mut events = Vec::new();
        for number in 0..100 {
            let question = message(&number.to_string());
            let (reply, answer) = (reply_to(&question), message("answer"));
            let answer = Message { id: reply.id, author: Party::Agent, ..answer };
            let finished = Event::ReplyFinished {
                message: answer,
                tokens: 1,
                relation: crate::agents::Relation::default(),
            };
            events
                .extend([Event::MessagePosted(question), Event::ReplyStarted(reply), finished].map(envelope));
        }
        let aftermath = Aftermath::new(Vec::new(), [], &events);
        assert!(aftermath.asked.is_empty());
        assert_eq!((aftermath.unfinished(), aftermath.unanswered()), (Vec::new(), Vec::new()));
    }

    #[test]
    fn those_are_here_of_whom_nobody_said_that_they_went() {
        let said = |name: &str, status| {
            envelope(Event::PresenceChanged { person: person(name), status, changed: true, at: NOON })
        };
        let events = [
            said("ada", Status::Online),
            said("bob", Status::Away),
            said("cleo", Status::Online),
            said("ada", Status::Offline),
            said("cleo", Status::Offline),
            said("cleo", Status::Online),
            said("eve", Status::Offline),
        ];
        let before = ["dan", "eve"].map(person);
        let aftermath = Aftermath::new(Vec::new(), before, &events);
        let mut here: Vec<_> = aftermath.here().map(PersonId::as_str).collect();
        here.sort_unstable();
        assert_eq!(here, ["bob", "cleo", "dan"]);
    }
}

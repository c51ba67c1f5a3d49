//! How a request waits for what an agent says to its message.
//!
//! Whoever waits listens before the message is said, so that no answer is too quick to be heard.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use antiphon_core::agents::Relation;
use antiphon_core::conversation::Message;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{ConversationId, MessageId, PersonId, Timestamp};
use antiphon_core::ports::{Bus, Listener, ListenerId, Mark};
use antiphon_core::topic::Topic;
use antiphon_core::wallet::Reason;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// How long a request waits for its answer, those before it included.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long it then waits to hear that the price of an answer that failed is back.
const REFUND: Duration = Duration::from_secs(5);

/// Events that may wait for one request: more than the answers that can be queued in a conversation make. One more is not heard,
/// and at worst the request waits in vain; what was said is in the history.
const ROOM: usize = 256;

/// Everybody who waits on this server.
pub(super) struct Answers {
    bus: Arc<dyn Bus>,
    listener: ListenerId,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    topics: Mutex<HashMap<Topic, Vec<Ear>>>,
    /// Held while somebody begins or ceases to listen, so that the bus and `topics` agree.
    seating: Mutex<()>,
    next: AtomicU64,
}

/// Where one request hears.
struct Ear {
    number: u64,
    heard: mpsc::Sender<Arc<Envelope>>,
}

/// One request that waits.
pub(super) struct Wait {
    bus: Arc<dyn Bus>,
    listener: ListenerId,
    waiting: Arc<Waiting>,
    number: u64,
    topics: [Topic; 2],
    heard: mpsc::Receiver<Arc<Envelope>>,
    until: Instant,
    /// The answer's id, once it has begun.
    reply: Option<MessageId>,
}

/// What becomes of a message.
#[derive(Debug)]
pub(super) enum Heard {
    /// The agent begins to answer.
    Started(Timestamp),
    /// The answer is whole and stored.
    Finished(Box<Message>, Relation),
    /// There is none, and what the message cost is back.
    Failed,
    /// There is none yet. It may still come.
    Nothing,
}

impl Answers {
    pub(super) fn new(bus: Arc<dyn Bus>) -> Self {
        let waiting = Arc::new(Waiting::default());
        let listener = bus.attach(waiting.clone());
        Self { bus, listener, waiting }
    }

    /// Begins to listen to what is said in `conversation` and to `person`'s balance.
    pub(super) fn listen(&self, conversation: ConversationId, person: PersonId) -> Wait {
        let topics = [Topic::Conversation(conversation), Topic::Person(person)];
        let (sender, heard) = mpsc::channel(ROOM);
        let number = self.waiting.next.fetch_add(1, Relaxed);
        let _seating = lock(&self.waiting.seating);
        for topic in &topics {
            let ear = Ear { number, heard: sender.clone() };
            lock(&self.waiting.topics).entry(topic.clone()).or_default().push(ear);
            self.bus.listen(self.listener, topic, Mark::NONE);
        }
        Wait {
            bus: self.bus.clone(),
            listener: self.listener,
            waiting: self.waiting.clone(),
            number,
            topics,
            heard,
            until: Instant::now() + PATIENCE,
            reply: None,
        }
    }
}

impl Wait {
    /// What becomes next of the message `question`.
    pub(super) async fn next(&mut self, question: MessageId) -> Heard {
        loop {
            let Ok(Some(envelope)) = timeout_at(self.until, self.heard.recv()).await else {
                return Heard::Nothing;
            };
            match &envelope.event {
                Event::ReplyStarted(reply) if reply.question == question => {
                    self.reply = Some(reply.id);
                    return Heard::Started(reply.at);
                }
                Event::ReplyFinished { message, relation, .. } if self.reply == Some(message.id) => {
                    return Heard::Finished(Box::new(message.clone()), *relation);
                }
                Event::ReplyFailed(reply) if reply.question == question => {
                    self.refunded(question).await;
                    return Heard::Failed;
                }
                _ => {}
            }
        }
    }

    /// Waits for the refund of `question`, so that whoever is told of a failure has heard of the balance before.
    async fn refunded(&mut self, question: MessageId) {
        let (key, until) = (question.to_string(), Instant::now() + REFUND);
        while let Ok(Some(envelope)) = timeout_at(until, self.heard.recv()).await {
            if let Event::BalanceChanged(entry) = &envelope.event
                && entry.key.as_ref() == Some(&key)
            {
                return;
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let _seating = lock(&self.waiting.seating);
        for topic in &self.topics {
            let mut topics = lock(&self.waiting.topics);
            let Entry::Occupied(mut ears) = topics.entry(topic.clone()) else { continue };
            ears.get_mut().retain(|ear| ear.number != self.number);
            if ears.get().is_empty() {
                ears.remove();
                drop(topics);
                self.bus.unlisten(self.listener, topic);
            }
        }
    }
}

impl Listener for Waiting {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        let matters = match &envelope.event {
            Event::ReplyStarted(_) | Event::ReplyFinished { .. } | Event::ReplyFailed(_) => true,
            Event::BalanceChanged(entry) => entry.reason == Reason::Refund,
            _ => false,
        };
        if !matters {
            return;
        }
        for ear in lock(&self.topics).get(&envelope.topic).into_iter().flatten() {
            let _ = ear.heard.try_send(envelope.clone());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic under one of these locks leaves a list as it was before or after one change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use antiphon_core::conversation::Party;
    use antiphon_core::event::Reply;
    use antiphon_core::ids::AgentId;
    use antiphon_core::memory::MemoryBus;
    use antiphon_core::wallet::Entry as Booking;

    use super::*;

    const NOW: Timestamp = Timestamp(7);

    fn agent() -> AgentId {
        AgentId::parse("luna").unwrap()
    }

    fn person(name: &str) -> PersonId {
        PersonId::parse(name).unwrap()
    }

    fn talk(name: &str) -> ConversationId {
        ConversationId::direct(&agent(), &person(name))
    }

    fn reply(question: MessageId) -> Reply {
        Reply {
            id: MessageId::random(),
            conversation: talk("ada"),
            agent: agent(),
            person: person("ada"),
            question,
            at: NOW,
        }
    }

    fn finished(reply: &Reply) -> Event {
        let message = Message {
            id: reply.id,
            conversation: reply.conversation,
            seq: 2,
            agent: agent(),
            person: person("ada"),
            author: Party::Agent,
            text: "Hello".into(),
            at: NOW,
        };
        Event::ReplyFinished { message, tokens: 1, relation: Relation::default() }
    }

    fn refund(question: MessageId) -> Event {
        Event::BalanceChanged(Booking {
            person: person("ada"),
            position: 3,
            amount: 1,
            balance: 50,
            reason: Reason::Refund,
            key: Some(question.to_string()),
            at: NOW,
        })
    }

    struct House {
        bus: Arc<MemoryBus>,
        answers: Answers,
    }

    impl House {
        fn new() -> Self {
            let bus = Arc::new(MemoryBus::new());
            Self { answers: Answers::new(bus.clone()), bus }
        }

        fn say(&self, event: Event) {
            self.bus.publish(Envelope::new(Topic::Conversation(talk("ada")), event));
        }

        fn pay(&self, event: Event) {
            self.bus.publish(Envelope::new(Topic::Person(person("ada")), event));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_waits_for_its_own_answer_however_many_there_are() {
        let house = House::new();
        let (first, second) = (MessageId::random(), MessageId::random());
        let mut one = house.answers.listen(talk("ada"), person("ada"));
        let mut two = house.answers.listen(talk("ada"), person("ada"));
        for question in [first, second] {
            let reply = reply(question);
            house.say(Event::ReplyStarted(reply.clone()));
            house.say(finished(&reply));
        }
        assert!(matches!(two.next(second).await, Heard::Started(NOW)));
        let Heard::Finished(last, _) = two.next(second).await else { panic!("the second has an answer") };
        assert!(matches!(one.next(first).await, Heard::Started(NOW)));
        let Heard::Finished(message, _) = one.next(first).await else { panic!("the first has an answer") };
        assert_ne!(message.id, last.id);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_is_told_after_its_refund() {
        let house = House::new();
        let question = MessageId::random();
        let mut wait = house.answers.listen(talk("ada"), person("ada"));
        house.say(Event::ReplyFailed(reply(MessageId::random())));
        house.say(Event::ReplyFailed(reply(question)));
        house.pay(refund(MessageId::random()));
        let began = Instant::now();
        assert!(matches!(wait.next(question).await, Heard::Failed));
        assert_eq!(began.elapsed(), REFUND, "as long as it takes, and not longer than that");

        let mut wait = house.answers.listen(talk("ada"), person("ada"));
        house.say(Event::ReplyFailed(reply(question)));
        house.pay(refund(question));
        let began = Instant::now();
        assert!(matches!(wait.next(question).await, Heard::Failed));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever() {
        let house = House::new();
        let mut wait = house.answers.listen(talk("ada"), person("ada"));
        let began = Instant::now();
        assert!(matches!(wait.next(MessageId::random()).await, Heard::Nothing));
        assert_eq!(began.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn whoever_goes_leaves_nothing_behind_and_the_others_still_hear() {
        let house = House::new();
        let question = MessageId::random();
        let mut stays = house.answers.listen(talk("ada"), person("ada"));
        drop(house.answers.listen(talk("ada"), person("ada")));
        drop(house.answers.listen(talk("bob"), person("bob")));
        assert_eq!(lock(&house.answers.waiting.topics).len(), 2);
        house.say(Event::ReplyStarted(reply(question)));
        assert!(matches!(stays.next(question).await, Heard::Started(_)));
        drop(stays);
        assert!(lock(&house.answers.waiting.topics).is_empty());
        // And whoever comes after that hears again.
        let mut again = house.answers.listen(talk("ada"), person("ada"));
        house.say(Event::ReplyStarted(reply(question)));
        assert!(matches!(again.next(question).await, Heard::Started(_)));
    }
}

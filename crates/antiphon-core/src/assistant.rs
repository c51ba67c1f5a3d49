//! How agents answer: one answer at a time in each conversation, the rest waits in order.
//!
//! A post reserves its place first, so that a message is never stored that nobody would answer. Every reserved place ends in
//! exactly one [`ReplyFinished`](Event::ReplyFinished) or [`ReplyFailed`](Event::ReplyFailed), whatever the model, the store
//! or a shutdown do, unless its message was not stored at all; and what was paid for an answer that failed is given back.
//! Places of one conversation form a queue, and one task works on it as long as it is not empty; the task is gone when the
//! queue is.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::field::Empty;
use tracing::span::Id;
use tracing::{Instrument as _, Span};

use crate::agents::{Agent, Relation};
use crate::app::{Ports, Settings, explain, lock, wallet};
use crate::conversation::{Message, Party, tokens};
use crate::event::{Chunk, Envelope, Event, Reply};
use crate::ids::{ConversationId, MessageId, PersonId, Timestamp};
use crate::ports::{Appended, Charge, Clock, NewMessage, Prompt};
use crate::refusal::{Code, Fault, Refusal};
use crate::topic::Topic;
use crate::wallet::Entry;

/// The target of spans, which the log leaves to a collector of traces.
const SPANS: &str = "antiphon::span";

/// How long answers may take to notice that they were cut off.
const CUT_OFF: Duration = Duration::from_secs(1);

/// When a refund that the store did not take is tried again.
const OWED_AGAIN: Duration = Duration::from_secs(5);

/// When somebody whose post found no place may try again, in milliseconds.
const RETRY_AFTER: u64 = 1_000;

/// Lets agents answer.
pub(crate) struct Assistant {
    ports: Arc<Ports>,
    settings: Limits,
    queues: Mutex<HashMap<ConversationId, Queue>>,
    /// Told whenever the last queue is gone.
    quiet: Notify,
    /// Once answers are cut off.
    cut_off: AtomicBool,
    finished: AtomicU64,
    failed: AtomicU64,
    /// Messages that were paid for and whose answer has failed, until they are refunded. There are no more of them than posts
    /// since the store last worked; a process that dies before leaves them to [`App::recover`](crate::app::App::recover).
    owed: Mutex<VecDeque<MessageId>>,
    /// Told whenever one is added.
    owing: Notify,
}

/// How many answers there are, and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Being given now.
    pub running: usize,
    /// Messages that wait for the answer before theirs.
    pub waiting: usize,
    /// Ended whole, since the start.
    pub finished: u64,
    /// Ended otherwise, since the start.
    pub failed: u64,
}

struct Limits {
    remembered: u32,
    silence: Duration,
    bytes: usize,
    waiting: usize,
}

#[derive(Default)]
struct Queue {
    /// Places that are taken: reserved, waiting or being answered.
    places: usize,
    waiting: VecDeque<Job>,
    /// Whether a task works on this queue.
    running: bool,
    /// That task.
    task: Option<AbortHandle>,
}

/// A stored message that wants an answer.
pub(crate) struct Question {
    /// Who shall answer.
    pub(crate) agent: Agent,
    /// What.
    pub(crate) message: Message,
    /// How the agent felt after this message.
    pub(crate) relation: Relation,
    /// Whether it cost something.
    pub(crate) paid: bool,
}

struct Job {
    question: Question,
    ending: Ending,
    place: Place,
    span: Span,
}

impl Assistant {
    pub(crate) fn new(ports: Arc<Ports>, settings: &Settings) -> Self {
        let settings = Limits {
            remembered: settings.remembered,
            silence: settings.reply_timeout,
            bytes: settings.longest_reply,
            waiting: settings.waiting_replies,
        };
        Self {
            ports,
            settings,
            queues: Mutex::default(),
            quiet: Notify::new(),
            cut_off: AtomicBool::new(false),
            finished: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            owed: Mutex::default(),
            owing: Notify::new(),
        }
    }

    /// Takes a place in the conversation's queue: one message is answered, and so many may wait. Refused as rate limited
    /// when all are taken. Dropping the place gives it back.
    pub(crate) fn reserve(self: &Arc<Self>, conversation: ConversationId) -> Result<Place, Refusal> {
        let mut queues = lock(&self.queues);
        let queue = queues.entry(conversation).or_default();
        if queue.places > self.settings.waiting {
            return Err(Refusal::new(
                Code::RateLimited { retry_after: RETRY_AFTER },
                "Too many messages are waiting for an answer here. Please wait for the next one.",
            ));
        }
        queue.places += 1;
        let (runtime, asked_in) = (Handle::current(), Span::current().id());
        Ok(Place { assistant: Arc::clone(self), conversation, runtime, asked_in })
    }

    /// See [`App::answers`](crate::app::App::answers).
    pub(crate) fn answers(&self) -> Answers {
        let queues = lock(&self.queues);
        Answers {
            running: queues.values().filter(|queue| queue.running).count(),
            waiting: queues.values().map(|queue| queue.waiting.len()).sum(),
            finished: self.finished.load(Relaxed),
            failed: self.failed.load(Relaxed),
        }
    }

    /// See [`App::settle`](crate::app::App::settle).
    pub(crate) async fn settle(&self, limit: Duration) -> bool {
        if timeout(limit, self.quiet()).await.is_ok() {
            return true;
        }
        self.cut_off.store(true, SeqCst);
        for queue in lock(&self.queues).values() {
            if let Some(task) = &queue.task {
                task.abort();
            }
        }
        if timeout(CUT_OFF, self.quiet()).await.is_err() {
            tracing::warn!("answers were still under way after they had been cut off");
        }
        false
    }

    /// Gives back what was paid for answers that failed, as soon as they do, for ever. While the store fails it is asked
    /// again every [`OWED_AGAIN`].
    pub(crate) async fn keep_refunding(&self) {
        loop {
            if self.refund_owed().await {
                self.owing.notified().await;
            } else {
                sleep(OWED_AGAIN).await;
            }
        }
    }

    /// Gives back what is owed now; whether nothing is owed any more.
    pub(crate) async fn refund_owed(&self) -> bool {
        loop {
            // Left in its place until it is settled: whoever stops waiting for this loses nothing, and asking twice refunds once.
            let Some(message) = lock(&self.owed).front().copied() else { return true };
            if let Err(fault) = wallet::refund(&self.ports, message).await {
                let waiting = lock(&self.owed).len();
                tracing::error!(
                    fault = explain(&fault),
                    waiting,
                    "a failed answer could not be refunded yet"
                );
                return false;
            }
            lock(&self.owed).retain(|owed| *owed != message);
        }
    }

    async fn quiet(&self) {
        loop {
            let quiet = self.quiet.notified();
            tokio::pin!(quiet);
            // Listens before it looks, so that a queue that ends in between is not missed.
            quiet.as_mut().enable();
            if lock(&self.queues).is_empty() {
                return;
            }
            quiet.await;
        }
    }

    /// The next message to answer. `None` also says that the task no longer works on this queue.
    fn next(&self, conversation: ConversationId) -> Option<Job> {
        let mut queues = lock(&self.queues);
        let queue = queues.get_mut(&conversation)?;
        let job = queue.waiting.pop_front();
        queue.running = job.is_some();
        self.tidy(&mut queues, conversation);
        job
    }

    /// Forgets the queue if nothing is left of it.
    fn tidy(&self, queues: &mut HashMap<ConversationId, Queue>, conversation: ConversationId) {
        if queues.get(&conversation).is_some_and(|queue| queue.places == 0 && !queue.running) {
            queues.remove(&conversation);
            if queues.is_empty() {
                self.quiet.notify_waiters();
            }
        }
    }

    async fn answer(&self, job: Job) {
        let Job { question, ending, place, .. } = job;
        let reply = ending.reply.clone();
        let started = Event::ReplyStarted(Reply { at: self.ports.clock.now(), ..reply.clone() });
        tell(&self.ports, reply.conversation, &reply.person, started);
        let generated = self.generate(question, ending).await;
        Span::current().record("end", if generated.is_ok() { "finished" } else { "failed" });
        if let Err(fault) = generated {
            tracing::error!(agent = %reply.agent, fault = explain(&fault), "an agent could not answer");
        }
        // Held until here: the next answer begins when this one has ended.
        drop(place);
    }

    /// Lets the model speak, passes its pieces on, and stores what they make. `ending` says how it ended.
    async fn generate(&self, question: Question, ending: Ending) -> Result<(), Fault> {
        let Question { agent, message, relation, .. } = question;
        let asked = message.text.clone();
        let history = self.history(message).await?;
        let text = self.listen(Prompt { agent, relation, history }, &ending.reply).await?;
        let answer = text.trim();
        if answer.is_empty() {
            return Err(Fault::new("the model said nothing"));
        }
        let tokens = tokens(&asked, answer);
        let message = NewMessage {
            id: ending.reply.id,
            conversation: ending.reply.conversation,
            agent: ending.reply.agent.clone(),
            person: ending.reply.person.clone(),
            author: Party::Agent,
            text: answer.to_owned(),
            at: self.ports.clock.now(),
            quota: None,
            moves: None,
            once: None,
            charge: ending.paid.map(Charge::Keep),
        };
        let committed = Box::new(move |message: &Message, relation: &Relation, _: Option<&Entry>| {
            ending.finished(message, *relation, tokens)
        });
        match self.ports.store.append(message, committed).await? {
            Appended::Stored { .. } => Ok(()),
            Appended::OverQuota { .. } => Err(Fault::new("the store counted an answer against a quota")),
            Appended::Unpaid(_) => Err(Fault::new("the store charged for an answer")),
            Appended::Repeated { .. } | Appended::Reused => {
                Err(Fault::new("the store found an answer stored before, though it has no key"))
            }
        }
    }

    /// The last messages up to `message`, which is the last of them. Positions have no holes, so later messages, which
    /// wait for their own answer, are left out without having to look at them.
    async fn history(&self, message: Message) -> Result<Vec<Message>, Fault> {
        let wanted = self.settings.remembered.min(self.ports.model.looks_back());
        let before = u64::from(wanted.saturating_sub(1)).min(message.seq.saturating_sub(1));
        let mut history = match u32::try_from(before) {
            Ok(before) if before > 0 => {
                let after = message.seq - 1 - u64::from(before);
                self.ports.store.history(message.conversation, after, before).await?
            }
            _ => Vec::new(),
        };
        history.push(message);
        Ok(history)
    }

    /// Publishes each piece as it comes; returns them as one.
    async fn listen(&self, prompt: Prompt, reply: &Reply) -> Result<String, Fault> {
        let mut pieces = self.ports.model.answer(prompt);
        let mut answer = String::new();
        let mut index = 0;
        let mut patience = Instant::now() + self.settings.silence;
        // Set once and looked at when it rings: setting a timer anew for every piece would cost as much as the piece.
        let alarm = sleep_until(patience);
        tokio::pin!(alarm);
        let mut is_set = false;
        // Whether the alarm was still to ring when the last piece came, a moment ago: then the clock need not be asked again.
        let mut is_fresh = false;
        let mut moments = Moments::new(Instant::now(), &*self.ports.clock);
        loop {
            // A model that always has more would otherwise keep its core for itself.
            consume_budget().await;
            let piece = poll_fn(|context| {
                if let Poll::Ready(piece) = pieces.poll_next_unpin(context) {
                    return Poll::Ready(Some(piece));
                }
                // An alarm that is set wakes this task by itself: it is asked only when it must have rung.
                let was_fresh = std::mem::take(&mut is_fresh);
                if is_set && (was_fresh || Instant::now() < alarm.deadline()) {
                    return Poll::Pending;
                }
                is_set = true;
                alarm.as_mut().poll(context).map(|()| None)
            });
            let piece = match piece.await {
                Some(Some(piece)) => piece?,
                Some(None) => return Ok(answer),
                None if Instant::now() >= patience => return Err(Fault::new("the model fell silent")),
                None => {
                    alarm.as_mut().reset(patience);
                    is_set = false;
                    continue;
                }
            };
            let now = Instant::now();
            if piece.is_empty() && now < patience {
                continue;
            }
            if piece.is_empty() {
                return Err(Fault::new("the model said nothing, many times"));
            }
            patience = now + self.settings.silence;
            is_fresh = now < alarm.deadline();
            if answer.len() + piece.len() > self.settings.bytes {
                tracing::warn!(agent = %reply.agent, "an answer was cut off at the longest that is allowed");
                return Ok(answer);
            }
            answer.push_str(&piece);
            let at = moments.at(now, &*self.ports.clock);
            let chunk = Chunk { reply: reply.id, agent: reply.agent.clone(), index, text: piece, at };
            // To one topic alone: there are many of them, and whoever reads the inbox waits for the whole.
            self.ports.publish(Topic::Conversation(reply.conversation), Event::ReplyChunk(chunk));
            index += 1;
        }
    }
}

/// An answer to `question` that is yet to come.
pub(crate) fn reply_to(question: &Message) -> Reply {
    Reply {
        id: MessageId::of_moment(question.at),
        conversation: question.conversation,
        agent: question.agent.clone(),
        person: question.person.clone(),
        question: question.id,
        at: question.at,
    }
}

/// Says that an answer is whole and stored as `message`.
pub(crate) fn say_finished(ports: &Ports, message: &Message, relation: Relation, tokens: u64) {
    let finished = Event::ReplyFinished { message: message.clone(), tokens, relation };
    tell(ports, message.conversation, &message.person, finished);
}

/// Says that nothing more comes of an answer, as of now.
pub(crate) fn say_failed(ports: &Ports, reply: Reply) {
    let (conversation, person) = (reply.conversation, reply.person.clone());
    let failed = Event::ReplyFailed(Reply { at: ports.clock.now(), ..reply });
    tell(ports, conversation, &person, failed);
}

/// Tells whoever listens to the conversation, and whoever hears all that is answered to the person.
fn tell(ports: &Ports, conversation: ConversationId, person: &PersonId, event: Event) {
    let inbox = [Topic::Inbox(person.clone())];
    ports.bus.publish(Envelope::to_all(Topic::Conversation(conversation), inbox, event));
}

/// The time of day of many moments for the price of one clock each: the monotonic one, that is asked anyway, says how long ago
/// the other one was.
struct Moments {
    asked: Instant,
    answered: Timestamp,
}

impl Moments {
    /// How long the time of day is taken to go on evenly, in milliseconds.
    const EVENLY: u128 = 1_000;

    fn new(now: Instant, clock: &dyn Clock) -> Self {
        Self { asked: now, answered: clock.now() }
    }

    /// The time of day at `now`. A clock that was set is noticed within a second.
    fn at(&mut self, now: Instant, clock: &dyn Clock) -> Timestamp {
        let since = now.saturating_duration_since(self.asked).as_millis();
        if since >= Self::EVENLY {
            *self = Self::new(now, clock);
            return self.answered;
        }
        // Less than a second.
        Timestamp(self.answered.0 + since as i64)
    }
}

/// A place in the queue of a conversation.
pub(crate) struct Place {
    assistant: Arc<Assistant>,
    conversation: ConversationId,
    /// Where the answer will be worked on: on the runtime of whoever asked, also when the store's thread says go.
    runtime: Handle,
    /// The span of whoever asked, if anybody records it.
    asked_in: Option<Id>,
}

impl Place {
    /// Lets `question` be answered when its turn has come. Quick; may be called from any thread.
    pub(crate) fn answer(self, question: Question) {
        let assistant = Arc::clone(&self.assistant);
        let (conversation, runtime) = (self.conversation, self.runtime.clone());
        let ending = Ending::of(&question, Arc::clone(&assistant));
        // It follows from the command and is not part of it: that one ends long before.
        let span = tracing::info_span!(
            target: SPANS, parent: None, "answer", conversation = %conversation.0, reply = %ending.reply.id.0, end = Empty,
        );
        span.follows_from(self.asked_in.clone());
        let start = {
            let mut queues = lock(&assistant.queues);
            // The queue exists, because this place was reserved in it.
            let queue = queues.entry(conversation).or_default();
            queue.waiting.push_back(Job { question, ending, place: self, span });
            !std::mem::replace(&mut queue.running, true)
        };
        if start {
            let worker = Worker { assistant: Arc::clone(&assistant), conversation, done: false };
            let task = runtime.spawn(worker.run()).abort_handle();
            if let Some(queue) = lock(&assistant.queues).get_mut(&conversation) {
                queue.task = Some(task.clone());
            }
            // Whoever cut off before the handle was there could not abort it.
            if assistant.cut_off.load(SeqCst) {
                task.abort();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = lock(&self.assistant.queues);
        if let Some(queue) = queues.get_mut(&self.conversation) {
            queue.places = queue.places.saturating_sub(1);
        }
        self.assistant.tidy(&mut queues, self.conversation);
    }
}

/// The task of one queue. Its drop cleans up when it is cut off, or when its runtime goes down before it ran at all.
struct Worker {
    assistant: Arc<Assistant>,
    conversation: ConversationId,
    done: bool,
}

impl Worker {
    async fn run(mut self) {
        while let Some(job) = self.assistant.next(self.conversation) {
            if self.assistant.cut_off.load(SeqCst) {
                return;
            }
            // A model that panics spoils its own answer and not those that wait behind it.
            let span = job.span.clone();
            let answer = AssertUnwindSafe(self.assistant.answer(job).instrument(span));
            if answer.catch_unwind().await.is_err() {
                tracing::error!("an agent panicked while it answered");
            }
        }
        self.done = true;
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        let unanswered = {
            let mut queues = lock(&self.assistant.queues);
            let unanswered = queues.get_mut(&self.conversation).map(|queue| {
                queue.running = false;
                std::mem::take(&mut queue.waiting)
            });
            self.assistant.tidy(&mut queues, self.conversation);
            unanswered
        };
        // Outside the lock, because each of them gives its place back.
        drop(unanswered);
    }
}

/// How an answer ends: finished when told so, failed when dropped before.
struct Ending {
    assistant: Arc<Assistant>,
    reply: Reply,
    /// The message it answers, if that one cost something.
    paid: Option<MessageId>,
    told: bool,
}

impl Ending {
    fn of(question: &Question, assistant: Arc<Assistant>) -> Self {
        let paid = question.paid.then_some(question.message.id);
        Self { assistant, reply: reply_to(&question.message), paid, told: false }
    }

    fn finished(mut self, message: &Message, relation: Relation, tokens: u64) {
        self.told = true;
        self.assistant.finished.fetch_add(1, Relaxed);
        say_finished(&self.assistant.ports, message, relation, tokens);
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.told {
            self.assistant.failed.fetch_add(1, Relaxed);
            say_failed(&self.assistant.ports, self.reply.clone());
            if let Some(message) = self.paid {
                lock(&self.assistant.owed).push_back(message);
                self.assistant.owing.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests;

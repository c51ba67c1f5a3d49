//! How what happens gets into the queue.
//!
//! The bus is heard through a [`Tap`], which must not wait, so it passes events on through a bounded channel. Messages are
//! never lost on this way, nor when the process dies: the store knows which were announced, and the rest is announced later. Of
//! other events those are lost that happen while the channel is full or right before the process dies; the first are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use antiphon_core::conversation::Message;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::{Clock, Leases, Listener, Mark};
use antiphon_core::presence;
use antiphon_core::refusal::Fault;
use antiphon_core::webhooks::{Announcement, Webhooks};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::endpoint::Endpoint;
use super::facts::{self, Fact, Kind, Kinds};
use super::presence::Attendance;
use crate::outbound::causes;

/// Events that may wait to be announced. When that many do, more are left out: messages are found again, others are not.
const WAITING: usize = 16_384;

/// Events that are announced in one write.
const BATCH: usize = 256;

/// Messages that are found again at once.
const PAGE: u32 = 256;

const COMING_AND_GOING: [Kind; 2] = [Kind::PersonConnected, Kind::PersonDisconnected];

/// Pause after a write that failed; doubled up to half a minute.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Hears everything that is published on this node.
pub(super) struct Tap {
    wanted: Kinds,
    queue: mpsc::Sender<Arc<Envelope>>,
    /// Whether a message was left out.
    behind: AtomicBool,
    /// Other events that were left out.
    missed: AtomicU64,
}

impl Tap {
    /// A tap for what `wanted` says, and where it passes events on to.
    pub(super) fn new(mut wanted: Kinds) -> (Arc<Self>, mpsc::Receiver<Arc<Envelope>>) {
        // Neither can be told without remembering the other.
        if wanted.has_any(&COMING_AND_GOING) {
            wanted = wanted.with(COMING_AND_GOING.into_iter().collect());
        }
        let (queue, events) = mpsc::channel(WAITING);
        (Arc::new(Self { wanted, queue, behind: AtomicBool::new(false), missed: AtomicU64::new(0) }), events)
    }

    /// Whether messages are to be followed.
    pub(super) fn follows_messages(&self) -> bool {
        self.wanted.has(Kind::MessagePosted)
    }

    /// Events other than messages that were left out since the start, because too many came at once.
    pub(super) fn missed(&self) -> u64 {
        self.missed.load(Relaxed)
    }
}

impl Listener for Tap {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        // What goes to two places is heard at the first.
        let kinds = if envelope.unless.is_none() { facts::kinds(&envelope.event) } else { &[] };
        if !self.wanted.has_any(kinds) || self.queue.try_send(Arc::clone(envelope)).is_ok() {
            return;
        }
        if kinds.contains(&Kind::MessagePosted) {
            self.behind.store(true, Relaxed);
        } else {
            self.missed.fetch_add(1, Relaxed);
        }
    }
}

/// Takes in what the tap hears.
pub(super) struct Intake {
    pub(super) tap: Arc<Tap>,
    pub(super) events: mpsc::Receiver<Arc<Envelope>>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// Rung after each write.
    pub(super) bells: Vec<Arc<Notify>>,
    pub(super) attendance: Attendance,
    pub(super) store: Arc<dyn Webhooks>,
    pub(super) leases: Arc<dyn Leases>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// What is to be done next.
enum Next {
    Announce,
    SeeOff,
    End,
}

/// The shutdown came before something was done. What it was is done after the restart, as far as the store knows of it.
struct Cut;

impl Intake {
    /// Takes in until the shutdown, and then what was heard before it.
    pub(super) async fn run(mut self) {
        // Nothing is left to do in either case.
        let (Ok(()) | Err(Cut)) = self.take_in().await;
    }

    async fn take_in(&mut self) -> Result<(), Cut> {
        self.begin().await?;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let next = self.attendance.next();
            let next = tokio::select! {
                // The tap is ours as well, so the channel does not end.
                _ = self.events.recv_many(&mut batch, BATCH) => Next::Announce,
                () = until(next) => Next::SeeOff,
                // An error means that the sender is gone, and with it whoever could have asked for more.
                _ = self.shutdown.wait_for(|stop| *stop) => Next::End,
            };
            match next {
                Next::Announce => self.take(&mut batch).await?,
                Next::SeeOff => self.see_off().await?,
                Next::End => break,
            }
            let room = self.events.len() < WAITING / 2;
            if room && self.tap.behind.swap(false, Relaxed) {
                self.catch_up().await?;
            }
        }
        while let Ok(envelope) = self.events.try_recv() {
            batch.push(envelope);
        }
        self.take(&mut batch).await
    }

    /// Brings the queue up to what happened before this process began.
    async fn begin(&mut self) -> Result<(), Cut> {
        let store = Arc::clone(&self.store);
        if self.tap.wanted.has_any(&COMING_AND_GOING) {
            let mut after: Option<PersonId> = None;
            loop {
                let people = self.insist(|| store.announced_present(after.as_ref(), PAGE)).await?;
                let Some(last) = people.last() else { break };
                after = Some(last.clone());
                let now = Instant::now();
                people.into_iter().for_each(|person| self.attendance.remember(person, now));
            }
        }
        self.catch_up().await
    }

    /// Announces what is in `batch`, and empties it.
    async fn take(&mut self, batch: &mut Vec<Arc<Envelope>>) -> Result<(), Cut> {
        let now = self.clock.now();
        let mut announcements = Vec::with_capacity(batch.len());
        for envelope in batch.drain(..) {
            if let Event::PresenceChanged { person, status, at, .. } = &envelope.event
                && self.attendance.change(person, *status, Instant::now())
            {
                announcements.extend(self.announcement(facts::presence(person, true, *at)));
            }
            for fact in facts::facts(&envelope, now) {
                announcements.extend(self.announcement(fact));
            }
        }
        if self.announce(announcements).await? { Ok(()) } else { self.catch_up().await }
    }

    /// Tells that those are gone who have been away for long enough and are nowhere else.
    async fn see_off(&mut self) -> Result<(), Cut> {
        let mut announcements = Vec::new();
        while announcements.len() < BATCH
            && let Some(person) = self.attendance.due(Instant::now())
        {
            match self.leases.holders(&presence::lease(&person)).await {
                Ok(holders) if holders.is_empty() => {
                    self.attendance.gone(&person);
                    let fact = facts::presence(&person, false, self.clock.now());
                    announcements.extend(self.announcement(fact));
                }
                Ok(_) => self.attendance.stayed(&person),
                // The core has logged that the leases fail.
                Err(_) => self.attendance.ask_again(person, Instant::now()),
            }
        }
        self.announce(announcements).await.map(drop)
    }

    /// Announces the messages that are stored and were not announced.
    async fn catch_up(&mut self) -> Result<(), Cut> {
        let store = Arc::clone(&self.store);
        let mut found = 0;
        loop {
            let page = self.insist(|| store.unannounced(PAGE)).await?;
            if page.is_empty() {
                if found > 0 {
                    tracing::info!(messages = found, "webhooks: messages were announced late");
                }
                return Ok(());
            }
            found += page.len();
            let facts = in_order(page).into_iter().map(|message| facts::message(&message));
            let announcements: Vec<_> = facts.filter_map(|fact| self.announcement(fact)).collect();
            if !self.announce(announcements).await? {
                // They begin where the last ones ended, so this is a store that contradicts itself. Asking again would never end.
                tracing::error!("webhooks: messages that are stored could not be announced");
                return Ok(());
            }
        }
    }

    /// What is to be stored about `fact`, if anything is.
    fn announcement(&self, fact: Fact) -> Option<Announcement> {
        if !self.tap.wanted.has(fact.kind) {
            return None;
        }
        let told = self.endpoints.iter().filter(|endpoint| endpoint.wants(&fact));
        let told: Vec<_> = told.map(|endpoint| endpoint.id.clone()).collect();
        if told.is_empty() && fact.leaves_no_trace() {
            return None;
        }
        Some(fact.announce(told))
    }

    /// Stores, and rings. Returns `false` when a message before one of these was never announced.
    async fn announce(&mut self, announcements: Vec<Announcement>) -> Result<bool, Cut> {
        if announcements.is_empty() {
            return Ok(true);
        }
        let store = Arc::clone(&self.store);
        let whole = self.insist(|| store.announce(&announcements)).await?;
        self.bells.iter().for_each(|bell| bell.notify_one());
        Ok(whole)
    }

    /// Does it until it works or the shutdown comes.
    async fn insist<T, F: Future<Output = Result<T, Fault>>>(
        &mut self,
        mut work: impl FnMut() -> F,
    ) -> Result<T, Cut> {
        let mut pause = PAUSE;
        loop {
            match work().await {
                Ok(value) => return Ok(value),
                Err(fault) => {
                    tracing::error!(
                        fault = causes(&fault),
                        "webhooks: the queue cannot be reached; trying again"
                    );
                }
            }
            tokio::select! {
                _ = self.shutdown.wait_for(|stop| *stop) => return Err(Cut),
                () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
            }
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// By time, as far as that keeps the order within each conversation.
fn in_order(page: Vec<Message>) -> Vec<Message> {
    let mut latest = None;
    let mut keyed: Vec<(Timestamp, Message)> = Vec::with_capacity(page.len());
    for message in page {
        // Those of one conversation come together. A clock that went back does not change their order.
        let at = match latest {
            Some((conversation, before)) if conversation == message.conversation => message.at.max(before),
            _ => message.at,
        };
        latest = Some((message.conversation, at));
        keyed.push((at, message));
    }
    // Stable: equal times keep the order of positions.
    keyed.sort_by_key(|(at, _)| *at);
    keyed.into_iter().map(|(_, message)| message).collect()
}

#[cfg(test)]
mod tests {
    use antiphon_core::conversation::Party;
    use antiphon_core::ids::{AgentId, ConversationId, MessageId};
    use antiphon_core::memory::{MemoryLeases, MemoryStore, SystemClock};
    use antiphon_core::ports::{Conversations as _, NewMessage};
    use antiphon_core::topic::Topic;
    use antiphon_core::webhooks::Announcements as _;

    use super::*;

    fn new_message(agent: &str, at: i64) -> NewMessage {
        let (agent, person) = (AgentId::parse(agent).unwrap(), PersonId::parse("ada").unwrap());
        NewMessage {
            id: MessageId::random(),
            conversation: ConversationId::direct(&agent, &person),
            agent,
            person,
            author: Party::Person,
            text: "hello".into(),
            at: Timestamp(at),
            quota: None,
            moves: None,
            once: None,
            charge: None,
        }
    }

    /// Stores a message, and `tap` hears of it.
    async fn post(store: &MemoryStore, tap: &Arc<Tap>) {
        let tap = Arc::clone(tap);
        let heard = move |message: &Message, _: &_, _: Option<&_>| {
            let topic = Topic::Conversation(message.conversation);
            tap.deliver(&Arc::new(Envelope::new(topic, Event::MessagePosted(message.clone()))), Mark::NONE);
        };
        store.append(new_message("luna", 1), Box::new(heard)).await.unwrap();
    }

    #[tokio::test]
    async fn when_too_much_comes_at_once_messages_are_found_again_and_the_rest_is_counted() {
        let store = Arc::new(MemoryStore::new());
        store.follow_messages(true).await.unwrap();
        let (tap, events) = Tap::new([Kind::MessagePosted, Kind::AgentDeleted].into_iter().collect());
        for _ in 0..WAITING + 10 {
            post(&store, &tap).await;
        }
        let deleted = Event::AgentDeleted { agent: AgentId::parse("luna").unwrap() };
        tap.deliver(&Arc::new(Envelope::new(Topic::Everyone, deleted)), Mark::NONE);
        assert_eq!((tap.missed(), tap.behind.load(Relaxed)), (1, true));

        let (stop, shutdown) = watch::channel(false);
        let bell = Arc::new(Notify::new());
        let intake = Intake {
            tap: Arc::clone(&tap),
            events,
            endpoints: Vec::new(),
            bells: vec![Arc::clone(&bell)],
            attendance: Attendance::new(Duration::ZERO),
            store: store.clone(),
            leases: Arc::new(MemoryLeases::new()),
            clock: Arc::new(SystemClock),
            shutdown,
        };
        let running = tokio::spawn(intake.run());
        while !store.unannounced(1).await.unwrap().is_empty() {
            bell.notified().await;
        }
        // What is heard before the shutdown is taken in.
        post(&store, &tap).await;
        stop.send_replace(true);
        running.await.unwrap();
        assert!(store.unannounced(1).await.unwrap().is_empty());
        assert_eq!(tap.missed(), 1);
    }

    #[tokio::test]
    async fn an_event_that_nobody_wants_or_that_is_heard_elsewhere_is_passed_over() {
        let (tap, mut events) = Tap::new([Kind::AgentDeleted].into_iter().collect());
        let agent = AgentId::parse("luna").unwrap();
        let deleted = || Event::AgentDeleted { agent: agent.clone() };
        let unwanted = Event::PresenceChanged {
            person: PersonId::parse("ada").unwrap(),
            status: presence::Status::Online,
            changed: true,
            at: Timestamp(0),
        };
        let twice = Envelope {
            unless: Some(Topic::Everyone),
            ..Envelope::new(Topic::Agent(agent.clone()), deleted())
        };
        for envelope in
            [Envelope::new(Topic::Everyone, unwanted), twice, Envelope::new(Topic::Everyone, deleted())]
        {
            tap.deliver(&Arc::new(envelope), Mark::NONE);
        }
        assert_eq!(events.try_recv().unwrap().topic, Topic::Everyone);
        assert!(events.try_recv().is_err());
    }

    #[tokio::test]
    async fn messages_that_are_found_again_are_told_by_time_as_far_as_positions_allow() {
        let store = MemoryStore::new();
        let mut page = Vec::new();
        // The clock went back after the second one to Luna.
        for (agent, at) in [("luna", 10), ("luna", 30), ("luna", 20), ("mia", 15), ("mia", 25)] {
            let appended = store.append(new_message(agent, at), Box::new(|_, _, _| ())).await.unwrap();
            let antiphon_core::ports::Appended::Stored { message, .. } = appended else {
                panic!("it is stored")
            };
            page.push(message);
        }
        let told: Vec<_> =
            in_order(page).iter().map(|message| (message.agent.to_string(), message.seq)).collect();
        let told: Vec<_> = told.iter().map(|(agent, seq)| (agent.as_str(), *seq)).collect();
        assert_eq!(told, [("luna", 1), ("mia", 1), ("mia", 2), ("luna", 2), ("luna", 3)]);
    }
}

//! Who hears what within one process. This is also the production bus of a single node.
//!
//! Publishing looks each topic up once, lets go of the lock and calls the listeners on the publisher's own thread, so what one
//! thread publishes arrives in its order. What a listener publishes while it hears something waits until that something has
//! reached everybody, for the same reason; nothing is locked while a listener runs, so it may also listen and unlisten.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use foldhash::fast::RandomState;

use crate::event::Envelope;
use crate::ports::{Bus, Listener, ListenerId, Mark};
use crate::topic::Topic;

/// A bus that reaches everybody in this process and nobody else.
pub struct MemoryBus {
    attached: RwLock<Vec<Arc<dyn Listener>>>,
    /// Whoever hears everything.
    taps: RwLock<Hearers>,
    /// Whether there are taps. Publishers look at this alone as long as there are none.
    is_tapped: AtomicBool,
    /// How many events are being published, by the phase in which that began.
    underway: [AtomicUsize; 2],
    /// In which phase publishing begins now.
    phase: AtomicUsize,
    shards: [RwLock<HashMap<Topic, Hearers, RandomState>>; SHARDS],
    hasher: RandomState,
}

impl MemoryBus {
    /// A bus that nobody listens to yet.
    pub fn new() -> Self {
        Self {
            attached: RwLock::default(),
            taps: RwLock::new(Arc::new([])),
            is_tapped: AtomicBool::new(false),
            underway: Default::default(),
            phase: AtomicUsize::new(0),
            shards: Default::default(),
            hasher: RandomState::default(),
        }
    }

    /// Whoever listens to `topic`.
    fn hearers(&self, topic: &Topic) -> Option<Hearers> {
        // A panic under one of the locks of this file leaves a map as it was before or after one insertion, so a poisoned lock
        // is as good as any other.
        self.shard(topic).read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// `hearers`, and whoever listens to one of the topics `also`, each once and without a mark.
    fn with_others(&self, hearers: Option<Hearers>, also: &[Topic]) -> Option<Hearers> {
        let mut all: Vec<Hearer> = Vec::new();
        for hearers in hearers.into_iter().chain(also.iter().filter_map(|topic| self.hearers(topic))) {
            for hearer in hearers.iter() {
                if !all.iter().any(|known| known.id == hearer.id) {
                    all.push(Hearer { mark: Mark::NONE, ..hearer.clone() });
                }
            }
        }
        (!all.is_empty()).then(|| all.into())
    }

    fn shard(&self, topic: &Topic) -> &RwLock<HashMap<Topic, Hearers, RandomState>> {
        // The remainder is below SHARDS, so it fits.
        &self.shards[(self.hasher.hash_one(topic) % SHARDS as u64) as usize]
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    fn publish(&self, envelope: Envelope) {
        // Before anybody is looked up: who begins to listen now is either found, or waits for this.
        let _underway = Underway::begin(self);
        let mut hearers = self.hearers(&envelope.topic);
        if !envelope.also.is_empty() {
            hearers = self.with_others(hearers, &envelope.also);
        }
        let taps = match self.is_tapped.load(Ordering::Relaxed) {
            false => None,
            true => Some(self.taps.read().unwrap_or_else(PoisonError::into_inner).clone()),
        };
        if hearers.is_some() || taps.is_some() {
            deliver(Delivery { hearers, taps, envelope: Arc::new(envelope) });
        }
    }

    fn attach(&self, listener: Arc<dyn Listener>) -> ListenerId {
        let mut attached = self.attached.write().unwrap_or_else(PoisonError::into_inner);
        attached.push(listener);
        // One listener per core: the list cannot outgrow a u32.
        ListenerId(attached.len() as u32 - 1)
    }

    fn listen(&self, listener: ListenerId, topic: &Topic, mark: Mark) {
        let attached = self.attached.read().unwrap_or_else(PoisonError::into_inner);
        let Some(hearer) = attached.get(listener.0 as usize).cloned() else { return };
        drop(attached);
        let mut topics = self.shard(topic).write().unwrap_or_else(PoisonError::into_inner);
        match topics.get_mut(topic) {
            None => {
                topics.insert(topic.clone(), Arc::new([Hearer { id: listener, mark, listener: hearer }]));
            }
            Some(hearers) => {
                let others = hearers.iter().filter(|other| other.id != listener).cloned();
                *hearers = others.chain([Hearer { id: listener, mark, listener: hearer }]).collect();
            }
        }
    }

    async fn settled(&self) {
        for (phase, other) in [(0, 1), (1, 0)] {
            // What begins from here on counts elsewhere, so that those before come to their end.
            self.phase.store(other, Ordering::SeqCst);
            while self.underway[phase].load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(A_MOMENT).await;
            }
        }
    }

    fn unlisten(&self, listener: ListenerId, topic: &Topic) {
        let mut topics = self.shard(topic).write().unwrap_or_else(PoisonError::into_inner);
        let Some(hearers) = topics.get_mut(topic) else { return };
        if !hearers.iter().any(|hearer| hearer.id == listener) {
            return;
        }
        if hearers.len() == 1 {
            topics.remove(topic);
        } else {
            *hearers = hearers.iter().filter(|hearer| hearer.id != listener).cloned().collect();
        }
    }

    fn tap(&self, listener: Arc<dyn Listener>) {
        let mut taps = self.taps.write().unwrap_or_else(PoisonError::into_inner);
        let tap = Hearer { id: TAP, mark: Mark::NONE, listener };
        *taps = taps.iter().cloned().chain([tap]).collect();
        drop(taps);
        self.is_tapped.store(true, Ordering::Relaxed);
    }
}

/// How long to wait before looking again whether a publisher, who takes far less, is done.
const A_MOMENT: Duration = Duration::from_millis(1);

/// An event that is being published, until dropped.
struct Underway<'a>(&'a AtomicUsize);

impl<'a> Underway<'a> {
    fn begin(bus: &'a MemoryBus) -> Self {
        let count = &bus.underway[bus.phase.load(Ordering::SeqCst) & 1];
        count.fetch_add(1, Ordering::SeqCst);
        Self(count)
    }
}

impl Drop for Underway<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What taps are called among hearers. No attached listener has this number.
const TAP: ListenerId = ListenerId(u32::MAX);

/// Topics are spread over this many locks, so that cores that publish at the same time rarely meet.
const SHARDS: usize = 32;

/// Everybody who listens to one topic. Replaced as a whole, so that a publisher needs no lock while it delivers.
type Hearers = Arc<[Hearer]>;

#[derive(Clone)]
struct Hearer {
    id: ListenerId,
    mark: Mark,
    listener: Arc<dyn Listener>,
}

/// An envelope, and who listened at the moment when it was published.
struct Delivery {
    hearers: Option<Hearers>,
    taps: Option<Hearers>,
    envelope: Arc<Envelope>,
}

thread_local! {
    /// Whether this thread is delivering right now.
    static DELIVERING: Cell<bool> = const { Cell::new(false) };
    /// What listeners published meanwhile.
    static WAITING: RefCell<VecDeque<Delivery>> = const { RefCell::new(VecDeque::new()) };
}

fn deliver(delivery: Delivery) {
    if DELIVERING.get() {
        WAITING.with_borrow_mut(|waiting| waiting.push_back(delivery));
        return;
    }
    let _turn = Turn::begin();
    let mut next = Some(delivery);
    while let Some(Delivery { hearers, taps, envelope }) = next {
        for hearer in hearers.iter().chain(&taps).flat_map(|hearers| hearers.iter()) {
            hearer.listener.deliver(&envelope, hearer.mark);
        }
        next = WAITING.with_borrow_mut(VecDeque::pop_front);
    }
}

/// One thread's turn to deliver. It also ends when a listener panics, and what waited then is dropped with it.
struct Turn;

impl Turn {
    fn begin() -> Self {
        DELIVERING.set(true);
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        DELIVERING.set(false);
        // Taken out first: dropping an envelope runs foreign code, which must not find the queue borrowed.
        drop(WAITING.take());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use serde_json::value::RawValue;

    use super::*;
    use crate::event::{Event, Signal};

    fn signal(topic: &Topic, name: &str) -> Envelope {
        let signal = Signal { name: name.into(), value: RawValue::NULL.to_owned().into() };
        Envelope::new(topic.clone(), Event::Signal(signal))
    }

    fn name(envelope: &Envelope) -> String {
        match &envelope.event {
            Event::Signal(signal) => signal.name.to_string(),
            other => panic!("{other:?} was never published"),
        }
    }

    struct Ear<F>(F);

    impl<F: Fn(&Arc<Envelope>) + Send + Sync> Listener for Ear<F> {
        fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
            self.0(envelope);
        }
    }

    #[test]
    fn a_listener_may_unlisten_while_it_hears() {
        let bus = Arc::new(MemoryBus::new());
        let topic = Topic::Named("once".into());
        let (said, heard) = mpsc::channel();
        let this = Arc::downgrade(&bus);
        let place = topic.clone();
        let id = bus.attach(Arc::new(Ear(move |envelope: &Arc<Envelope>| {
            said.send(name(envelope)).unwrap();
            this.upgrade().unwrap().unlisten(ListenerId(0), &place);
        })));
        bus.listen(id, &topic, Mark::NONE);
        bus.publish(signal(&topic, "first"));
        bus.publish(signal(&topic, "second"));
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), ["first"]);
    }

    #[test]
    fn a_topic_that_nobody_hears_is_forgotten() {
        let bus = MemoryBus::new();
        let (one, two) = (bus.attach(Arc::new(Ear(|_: &_| ()))), bus.attach(Arc::new(Ear(|_: &_| ()))));
        for topic in [Topic::Everyone, Topic::Named("x".into())] {
            bus.listen(one, &topic, Mark::NONE);
            bus.listen(two, &topic, Mark::NONE);
            bus.unlisten(one, &topic);
            bus.unlisten(two, &topic);
        }
        assert!(bus.shards.iter().all(|shard| shard.read().unwrap().is_empty()));
    }

    #[test]
    fn a_listener_that_nobody_attached_changes_nothing() {
        let bus = MemoryBus::new();
        bus.listen(ListenerId(9), &Topic::Everyone, Mark::NONE);
        bus.unlisten(ListenerId(9), &Topic::Everyone);
        bus.publish(signal(&Topic::Everyone, "nobody hears this"));
    }

    #[test]
    fn a_panicking_listener_does_not_silence_its_thread() {
        let bus = MemoryBus::new();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let writes = Arc::clone(&heard);
        let id = bus.attach(Arc::new(Ear(move |envelope: &Arc<Envelope>| {
            assert_ne!(name(envelope), "poison", "this panic is part of the test");
            writes.lock().unwrap_or_else(PoisonError::into_inner).push(name(envelope));
        })));
        bus.listen(id, &Topic::Everyone, Mark::NONE);
        let poison = std::panic::AssertUnwindSafe(|| bus.publish(signal(&Topic::Everyone, "poison")));
        assert!(std::panic::catch_unwind(poison).is_err());
        bus.publish(signal(&Topic::Everyone, "after"));
        assert_eq!(*heard.lock().unwrap_or_else(PoisonError::into_inner), ["after"]);
    }
}

//! How a slow reader is kept from slowing anybody else: a bounded queue per reader that counts what did not fit.
//!
//! The bus is tapped once, when the first reader comes. While nobody reads, an event costs one look at a number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, RwLock};

use antiphon_core::event::{Envelope, Event};
use antiphon_core::ports::{Bus, Listener, Mark};
use antiphon_core::topic::Topic;
use tokio::sync::Notify;

/// Everybody who reads.
pub(in crate::api) struct Tails(Arc<Readers>);

struct Readers {
    most: usize,
    room: usize,
    count: AtomicUsize,
    queues: RwLock<Vec<Arc<Queue>>>,
    tapped: Once,
}

/// What comes out of a [`Tail`].
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Something happened.
    Event(Arc<Envelope>),
    /// So many events did not fit here.
    Skipped(u64),
}

/// One reader's end. Nothing is kept for it once it is dropped.
pub(super) struct Tail {
    readers: Arc<Readers>,
    queue: Arc<Queue>,
}

struct Queue {
    /// Topics to read; none means all.
    wanted: Vec<Topic>,
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    skipped: u64,
}

impl Tails {
    /// Room for `most` readers at a time, and for `room` events that wait for each.
    pub(in crate::api) fn new(most: usize, room: usize) -> Self {
        Self(Arc::new(Readers {
            most,
            room: room.max(1),
            count: AtomicUsize::new(0),
            queues: RwLock::default(),
            tapped: Once::new(),
        }))
    }

    /// A reader of everything on `bus` that belongs to the topics `wanted`, from now on; all of them if none is named. `None`
    /// when there are enough readers.
    pub(super) fn open(&self, bus: &dyn Bus, wanted: Vec<Topic>) -> Option<Tail> {
        let readers = &self.0;
        readers.tapped.call_once(|| bus.tap(readers.clone()));
        let queue = Arc::new(Queue { wanted, waiting: Mutex::default(), bell: Notify::new() });
        let mut queues = readers.queues.write().unwrap_or_else(PoisonError::into_inner);
        if queues.len() >= readers.most {
            return None;
        }
        queues.push(queue.clone());
        readers.count.store(queues.len(), Ordering::Release);
        Some(Tail { readers: readers.clone(), queue })
    }
}

impl Listener for Readers {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for queue in self.queues.read().unwrap_or_else(PoisonError::into_inner).iter() {
            queue.offer(envelope, self.room);
        }
    }
}

impl Queue {
    fn offer(&self, envelope: &Arc<Envelope>, room: usize) {
        // A revocation is for every reader: it may be the end of their own key.
        if !self.wants(&envelope.topic) && !matches!(envelope.event, Event::Revoked(_)) {
            return;
        }
        let mut waiting = self.lock();
        if waiting.items.len() >= room && !matches!(envelope.event, Event::Revoked(_)) {
            waiting.skipped += 1;
            return;
        }
        if waiting.skipped > 0 {
            let skipped = std::mem::take(&mut waiting.skipped);
            waiting.items.push_back(Item::Skipped(skipped));
        }
        waiting.items.push_back(Item::Event(envelope.clone()));
        drop(waiting);
        self.bell.notify_one();
    }

    fn wants(&self, topic: &Topic) -> bool {
        self.wanted.is_empty() || self.wanted.contains(topic)
    }

    fn take(&self) -> Option<Item> {
        let mut waiting = self.lock();
        if let Some(item) = waiting.items.pop_front() {
            return Some(item);
        }
        let skipped = std::mem::take(&mut waiting.skipped);
        (skipped > 0).then_some(Item::Skipped(skipped))
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    /// Whether the reader asked for this topic. Revocations come without being asked for.
    pub(super) fn wants(&self, topic: &Topic) -> bool {
        self.queue.wants(topic)
    }

    /// What comes next.
    pub(super) async fn next(&mut self) -> Item {
        loop {
            if let Some(item) = self.queue.take() {
                return item;
            }
            self.queue.bell.notified().await;
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut queues = self.readers.queues.write().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.readers.count.store(queues.len(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::event::Signal;
    use antiphon_core::memory::MemoryBus;
    use serde_json::value::RawValue;

    use super::*;

    fn say(bus: &MemoryBus, topic: &str, name: &str) {
        let signal = Signal { name: name.into(), value: RawValue::NULL.to_owned().into() };
        bus.publish(Envelope::new(Topic::Named(topic.into()), Event::Signal(signal)));
    }

    async fn next(tail: &mut Tail) -> String {
        match tail.next().await {
            Item::Event(envelope) => match &envelope.event {
                Event::Signal(signal) => signal.name.to_string(),
                other => panic!("{other:?}"),
            },
            Item::Skipped(events) => format!("skipped {events}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_hears_the_topics_that_it_named_and_without_any_all() {
        let (bus, tails) = (MemoryBus::new(), Tails::new(4, 4));
        let mut some = tails.open(&bus, vec![Topic::Named("a".into())]).unwrap();
        let mut all = tails.open(&bus, Vec::new()).unwrap();
        for (topic, name) in [("b", "one"), ("a", "two")] {
            say(&bus, topic, name);
        }
        assert_eq!(next(&mut some).await, "two");
        assert_eq!((next(&mut all).await, next(&mut all).await), ("one".into(), "two".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_told_where_it_missed_how_many() {
        let (bus, tails) = (MemoryBus::new(), Tails::new(1, 2));
        let mut tail = tails.open(&bus, Vec::new()).unwrap();
        for name in ["one", "two", "three", "four"] {
            say(&bus, "a", name);
        }
        assert_eq!(next(&mut tail).await, "one");
        say(&bus, "a", "five");
        for expected in ["two", "skipped 2", "five"] {
            assert_eq!(next(&mut tail).await, expected);
        }
        for name in ["six", "seven", "eight"] {
            say(&bus, "a", name);
        }
        for expected in ["six", "seven", "skipped 1"] {
            assert_eq!(next(&mut tail).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_room_again_when_a_reader_goes() {
        let (bus, tails) = (MemoryBus::new(), Tails::new(1, 2));
        let first = tails.open(&bus, Vec::new()).unwrap();
        assert!(tails.open(&bus, Vec::new()).is_none());
        drop(first);
        let mut second = tails.open(&bus, Vec::new()).unwrap();
        say(&bus, "a", "one");
        assert_eq!(next(&mut second).await, "one");
    }
}

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
    /// The key that it was opened with is no good any more: there is nothing after this.
    End,
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
    /// Whether an event is the end of the reader's own key, which it hears of whatever it reads and however full it is.
    ends: Box<dyn Fn(&Event) -> bool + Send + Sync>,
    waiting: Mutex<Waiting>,
    bell: Notify,
}

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    skipped: u64,
    /// Nothing more is taken in.
    ended: bool,
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
    /// when there are enough readers. `ends` says whether an event is the end of the reader's key.
    pub(super) fn open(
        &self,
        bus: &dyn Bus,
        wanted: Vec<Topic>,
        ends: impl Fn(&Event) -> bool + Send + Sync + 'static,
    ) -> Option<Tail> {
        let readers = &self.0;
        readers.tapped.call_once(|| bus.tap(readers.clone()));
        let queue =
            Arc::new(Queue { wanted, ends: Box::new(ends), waiting: Mutex::default(), bell: Notify::new() });
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
        let ends = (self.ends)(&envelope.event);
        if !ends && !self.wants(envelope) {
            return;
        }
        let mut waiting = self.lock();
        if waiting.ended {
            return;
        }
        if waiting.items.len() >= room && !ends {
            waiting.skipped += 1;
            return;
        }
        if waiting.skipped > 0 {
            let skipped = std::mem::take(&mut waiting.skipped);
            waiting.items.push_back(Item::Skipped(skipped));
        }
        waiting.ended = ends;
        waiting.items.push_back(if ends { Item::End } else { Item::Event(envelope.clone()) });
        drop(waiting);
        self.bell.notify_one();
    }

    fn wants(&self, envelope: &Envelope) -> bool {
        let is_wanted = |topic: &Topic| self.wanted.contains(topic);
        self.wanted.is_empty() || is_wanted(&envelope.topic) || envelope.also.iter().any(is_wanted)
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
    use antiphon_core::ids::{PersonId, Timestamp};
    use antiphon_core::memory::MemoryBus;
    use antiphon_core::ports::{Revocation, Revoked};
    use serde_json::value::RawValue;

    use super::*;

    fn say(bus: &MemoryBus, topic: &str, name: &str) {
        let signal = Signal { name: name.into(), value: RawValue::NULL.to_owned().into() };
        bus.publish(Envelope::new(Topic::Named(topic.into()), Event::Signal(signal)));
    }

    fn never(_: &Event) -> bool {
        false
    }

    fn revoke(bus: &MemoryBus, person: &str) {
        let what = Revoked::Person(PersonId::parse(person).unwrap());
        let revocation = Revocation { what, at: Timestamp(1), until: Timestamp(2) };
        bus.publish(Envelope::new(Topic::Nodes, Event::Revoked(revocation)));
    }

    async fn next(tail: &mut Tail) -> String {
        match tail.next().await {
            Item::Event(envelope) => match &envelope.event {
                Event::Signal(signal) => signal.name.to_string(),
                other => panic!("{other:?}"),
            },
            Item::Skipped(events) => format!("skipped {events}"),
            Item::End => "end".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_hears_the_topics_that_it_named_and_without_any_all() {
        let (bus, tails) = (MemoryBus::new(), Tails::new(4, 4));
        let mut some = tails.open(&bus, vec![Topic::Named("a".into())], never).unwrap();
        let mut all = tails.open(&bus, Vec::new(), never).unwrap();
        for (topic, name) in [("b", "one"), ("a", "two")] {
            say(&bus, topic, name);
        }
        assert_eq!(next(&mut some).await, "two");
        assert_eq!((next(&mut all).await, next(&mut all).await), ("one".into(), "two".into()));

        let named = |topic: &str| Topic::Named(topic.into());
        let signal = Signal { name: "to both".into(), value: RawValue::NULL.to_owned().into() };
        bus.publish(Envelope::to_all(named("b"), [named("a")], Event::Signal(signal)));
        say(&bus, "a", "last");
        for tail in [&mut some, &mut all] {
            assert_eq!((next(tail).await, next(tail).await), ("to both".into(), "last".into()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_is_told_where_it_missed_how_many() {
        let (bus, tails) = (MemoryBus::new(), Tails::new(1, 2));
        let mut tail = tails.open(&bus, Vec::new(), never).unwrap();
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
        let first = tails.open(&bus, Vec::new(), never).unwrap();
        assert!(tails.open(&bus, Vec::new(), never).is_none());
        drop(first);
        let mut second = tails.open(&bus, Vec::new(), never).unwrap();
        say(&bus, "a", "one");
        assert_eq!(next(&mut second).await, "one");
    }

    #[tokio::test(start_paused = true)]
    async fn t9_the_end_of_the_own_key_comes_through_a_full_queue_and_others_fill_none() {
        let (bus, tails) = (MemoryBus::new(), Tails::new(1, 2));
        let own = |event: &Event| matches!(event, Event::Revoked(Revocation { what: Revoked::Person(id), .. }) if id.as_str() == "own");
        let mut tail = tails.open(&bus, vec![Topic::Named("a".into())], own).unwrap();
        for name in ["one", "two", "three"] {
            say(&bus, "a", name);
        }
        for number in 0..1_000 {
            revoke(&bus, &format!("other-{number}"));
        }
        assert_eq!(tail.queue.lock().items.len(), 2);
        for _ in 0..1_000 {
            revoke(&bus, "own");
        }
        say(&bus, "a", "four");
        assert_eq!(tail.queue.lock().items.len(), 4);
        for expected in ["one", "two", "skipped 1", "end"] {
            assert_eq!(next(&mut tail).await, expected);
        }
    }
}

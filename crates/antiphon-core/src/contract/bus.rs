//! Does a bus reach everybody who listens, in order, and nobody else?

use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::event::{Envelope, Event, Signal};
use crate::ids::{AgentId, ConnectionId, ConversationId, PersonId, TaskId};
use crate::ports::{Bus, Listener, ListenerId, Mark};
use crate::topic::Topic;

/// The whole suite of a [`Bus`]. `open` opens a bus that nobody listens to.
///
/// An event may take up to ten seconds to arrive, so the clock must not be paused: publishers are threads.
pub async fn bus(open: impl AsyncFn() -> Arc<dyn Bus>) {
    an_event_reaches_everybody_who_listens_to_its_topic(&*open().await).await;
    every_kind_of_topic_is_a_place_of_its_own(&*open().await).await;
    listening_twice_is_listening_once(&*open().await).await;
    every_event_brings_its_listeners_mark(&*open().await).await;
    who_unlistens_hears_no_more(&*open().await).await;
    an_envelope_arrives_whole(&*open().await).await;
    each_publishers_events_arrive_in_order(open().await).await;
    a_listener_may_publish_while_it_hears(open().await).await;
    listening_comes_and_goes_while_others_publish(open().await).await;
    a_bus_has_settled_when_what_was_underway_has_arrived(open().await).await;
    a_tap_hears_everything_once(&*open().await).await;
    a_tap_hears_in_the_order_of_others(open().await).await;
    an_envelope_with_several_topics_reaches_each_listener_once(&*open().await).await;
}

async fn a_bus_has_settled_when_what_was_underway_has_arrived(bus: Arc<dyn Bus>) {
    /// Says when it begins to hear, and is done when told.
    struct Slow(mpsc::UnboundedSender<()>, Mutex<std::sync::mpsc::Receiver<()>>);
    impl Listener for Slow {
        fn deliver(&self, _: &Arc<Envelope>, _: Mark) {
            self.0.send(()).expect("the test listens");
            self.1.lock().expect("nobody panics here").recv().expect("the test goes on");
        }
    }
    let ((begun, mut hears), (go_on, told)) = (mpsc::unbounded_channel(), std::sync::mpsc::channel());
    bus.settled().await;
    let slow = bus.attach(Arc::new(Slow(begun, Mutex::new(told))));
    let place = named("place");
    bus.listen(slow, &place, Mark::NONE);
    let publisher = {
        let (bus, place) = (bus.clone(), place.clone());
        thread::spawn(move || bus.publish(signal(&place, "slow")))
    };
    hears.recv().await.expect("the event is on its way");
    let mut settled = bus.settled();
    assert!(timeout(Duration::ZERO, &mut settled).await.is_err());
    // What begins meanwhile is not waited for.
    bus.publish(signal(&named("elsewhere"), "quick"));
    assert!(timeout(Duration::ZERO, &mut settled).await.is_err());
    go_on.send(()).expect("it listens");
    settled.await;
    publisher.join().expect("it published");
}

async fn an_event_reaches_everybody_who_listens_to_its_topic(bus: &dyn Bus) {
    let (mut ada, mut bob, mut eve) = (Ear::attach(bus), Ear::attach(bus), Ear::attach(bus));
    let (place, other) = (named("place"), named("other"));
    bus.publish(signal(&place, "nobody listens yet"));
    bus.listen(ada.id, &place, Mark::NONE);
    bus.listen(bob.id, &place, Mark::NONE);
    bus.listen(eve.id, &other, Mark::NONE);
    bus.publish(signal(&place, "one"));
    bus.publish(signal(&other, "two"));
    assert_eq!(ada.next().await, "one");
    assert_eq!(bob.next().await, "one");
    assert_eq!(eve.next().await, "two");
    ada.heard_nothing_else();
    bob.heard_nothing_else();
    eve.heard_nothing_else();
}

async fn every_kind_of_topic_is_a_place_of_its_own(bus: &dyn Bus) {
    let person = PersonId::parse("same").expect("a valid id");
    let agent = AgentId::parse("same").expect("a valid id");
    let topics = [
        Topic::Everyone,
        Topic::Conversation(ConversationId::direct(&agent, &person)),
        Topic::Person(person),
        Topic::Agent(agent),
        named("same"),
        named(""),
        named("日本語 👩‍👩‍👧‍👦 \0"),
        Topic::Nodes,
        Topic::Task(TaskId(uuid::Uuid::nil())),
        Topic::Dashboard,
    ];
    let mut ears: Vec<Ear> = topics.iter().map(|_| Ear::attach(bus)).collect();
    for (ear, topic) in ears.iter().zip(&topics) {
        bus.listen(ear.id, topic, Mark::NONE);
    }
    for (number, topic) in topics.iter().enumerate() {
        bus.publish(signal(topic, &number.to_string()));
    }
    for (number, ear) in ears.iter_mut().enumerate() {
        assert_eq!(ear.next().await, number.to_string());
        ear.heard_nothing_else();
    }
}

async fn listening_twice_is_listening_once(bus: &dyn Bus) {
    let mut ear = Ear::attach(bus);
    let place = named("place");
    bus.listen(ear.id, &place, Mark::NONE);
    bus.listen(ear.id, &place, Mark::NONE);
    bus.publish(signal(&place, "one"));
    bus.publish(signal(&place, "two"));
    assert_eq!(ear.next().await, "one");
    assert_eq!(ear.next().await, "two");
    bus.unlisten(ear.id, &place);
    bus.publish(signal(&place, "three"));
    ear.heard_only_the_end(bus).await;
}

async fn every_event_brings_its_listeners_mark(bus: &dyn Bus) {
    struct Marks(mpsc::UnboundedSender<(String, Mark)>);
    impl Listener for Marks {
        fn deliver(&self, envelope: &Arc<Envelope>, mark: Mark) {
            let _ = self.0.send((name(envelope), mark));
        }
    }

    let (hears, mut heard) = mpsc::unbounded_channel();
    let id = bus.attach(Arc::new(Marks(hears)));
    let mut other = Ear::attach(bus);
    bus.listen(id, &named("left"), Mark(1));
    bus.listen(id, &named("right"), Mark(2));
    bus.listen(other.id, &named("left"), Mark(3));
    bus.publish(signal(&named("left"), "one"));
    bus.publish(signal(&named("right"), "two"));
    bus.listen(id, &named("left"), Mark(4));
    bus.publish(signal(&named("left"), "three"));
    for expected in [("one", 1), ("two", 2), ("three", 4)] {
        let (name, mark) = tokio::time::timeout(PATIENCE, heard.recv())
            .await
            .expect("an event arrives within ten seconds")
            .expect("the bus keeps its listeners");
        assert_eq!((name.as_str(), mark), (expected.0, Mark(expected.1)));
    }
    assert!(heard.try_recv().is_err(), "each was heard once");
    assert_eq!(other.next().await, "one");
    assert_eq!(other.next().await, "three");
}

async fn who_unlistens_hears_no_more(bus: &dyn Bus) {
    let (mut ada, mut bob) = (Ear::attach(bus), Ear::attach(bus));
    let place = named("place");
    bus.unlisten(ada.id, &place);
    bus.listen(ada.id, &place, Mark::NONE);
    bus.listen(bob.id, &place, Mark::NONE);
    bus.publish(signal(&place, "one"));
    assert_eq!(ada.next().await, "one");
    assert_eq!(bob.next().await, "one");

    bus.unlisten(ada.id, &place);
    bus.publish(signal(&place, "two"));
    assert_eq!(bob.next().await, "two", "who is left still hears");
    ada.heard_only_the_end(bus).await;

    bus.listen(ada.id, &place, Mark::NONE);
    bus.publish(signal(&place, "three"));
    assert_eq!(ada.next().await, "three", "who listens again hears again");
    assert_eq!(bob.next().await, "three");
}

async fn an_envelope_arrives_whole(bus: &dyn Bus) {
    let mut ear = Ear::attach(bus);
    let place = named("place");
    bus.listen(ear.id, &place, Mark::NONE);
    let except = ConnectionId { core: 1, slot: 2, generation: 3 };
    let unless = Some(named("elsewhere"));
    let also = Box::from([named("here too"), Topic::Dashboard]);
    let published = Envelope { also, except: Some(except), unless: unless.clone(), ..signal(&place, "it") };
    bus.publish(published.clone());
    let envelope = ear.next_envelope().await;
    assert_eq!((&envelope.topic, &envelope.also), (&place, &published.also));
    assert_eq!(envelope.unless, unless);
    assert_eq!(envelope.except, Some(except), "here, on the publisher's own node");
    let Event::Signal(signal) = &envelope.event else {
        panic!("{:?} is not what was published", envelope.event)
    };
    assert_eq!((&*signal.name, signal.value.get()), ("it", "null"));
}

/// Four threads publish to the same two topics; two listeners hear both.
async fn each_publishers_events_arrive_in_order(bus: Arc<dyn Bus>) {
    const EACH: usize = 500;
    let topics = [named("left"), named("right")];
    let mut ears = [Ear::attach(&*bus), Ear::attach(&*bus)];
    for (ear, topic) in ears.iter().flat_map(|ear| topics.iter().map(move |topic| (ear, topic))) {
        bus.listen(ear.id, topic, Mark::NONE);
    }
    let publishers: Vec<_> = (0..4)
        .map(|publisher| {
            let (bus, topics) = (Arc::clone(&bus), topics.clone());
            thread::spawn(move || {
                for number in 0..EACH {
                    for topic in &topics {
                        bus.publish(signal(topic, &format!("{publisher} {number}")));
                    }
                }
            })
        })
        .collect();
    for ear in &mut ears {
        let mut next = [[0; 2]; 4];
        for _ in 0..4 * 2 * EACH {
            let envelope = ear.next_envelope().await;
            let place = usize::from(envelope.topic == topics[1]);
            let name = name(&envelope);
            let (publisher, number) = name.split_once(' ').expect("two numbers were published");
            let expected = &mut next[publisher.parse::<usize>().expect("a number was published")][place];
            assert_eq!(number, expected.to_string(), "of publisher {publisher}");
            *expected += 1;
        }
        ear.heard_nothing_else();
    }
    for publisher in publishers {
        publisher.join().expect("publishing never panics");
    }
}

/// Whoever hears "ask" answers on the same topic, and nobody hears the answer before the question.
async fn a_listener_may_publish_while_it_hears(bus: Arc<dyn Bus>) {
    struct Parrot {
        bus: Arc<dyn Bus>,
        itself: Arc<OnceLock<ListenerId>>,
    }
    impl Listener for Parrot {
        fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
            if let Some(number) = name(envelope).strip_prefix("ask ") {
                let place = named(&format!("aside {number}"));
                if let Some(itself) = self.itself.get() {
                    self.bus.listen(*itself, &place, Mark::NONE);
                    self.bus.unlisten(*itself, &place);
                }
                self.bus.publish(signal(&envelope.topic, &format!("answer {number}")));
            }
        }
    }

    let place = named("place");
    let mut before = Ear::attach(&*bus);
    bus.listen(before.id, &place, Mark::NONE);
    let itself = Arc::new(OnceLock::new());
    let parrot = bus.attach(Arc::new(Parrot { bus: Arc::clone(&bus), itself: Arc::clone(&itself) }));
    itself.set(parrot).expect("set once");
    bus.listen(parrot, &place, Mark::NONE);
    let mut after = Ear::attach(&*bus);
    bus.listen(after.id, &place, Mark::NONE);

    // On a thread of its own: if it locks itself up, the listeners' patience ends the test.
    let publisher = Arc::clone(&bus);
    let topic = place.clone();
    thread::spawn(move || {
        for number in 0..100 {
            publisher.publish(signal(&topic, &format!("ask {number}")));
        }
    });
    for ear in [&mut before, &mut after] {
        for number in 0..100 {
            for expected in [format!("ask {number}"), format!("answer {number}")] {
                assert_eq!(ear.next().await, expected);
            }
        }
    }
}

/// While two threads publish without pause, somebody comes and goes, and somebody who stays misses nothing.
async fn listening_comes_and_goes_while_others_publish(bus: Arc<dyn Bus>) {
    const EACH: usize = 2_000;
    let place = named("place");
    let (mut stays, mut comes) = (Ear::attach(&*bus), Ear::attach(&*bus));
    bus.listen(stays.id, &place, Mark::NONE);
    let publishers: Vec<_> = (0..2)
        .map(|_| {
            let (bus, place) = (Arc::clone(&bus), place.clone());
            thread::spawn(move || (0..EACH).for_each(|_| bus.publish(signal(&place, "busy"))))
        })
        .collect();
    for round in 0..200 {
        bus.listen(comes.id, &place, Mark::NONE);
        let own = format!("round {round}");
        bus.publish(signal(&place, &own));
        while comes.next().await != own {}
        bus.unlisten(comes.id, &place);
    }
    for publisher in publishers {
        publisher.join().expect("publishing never panics");
    }
    let mut busy = 0;
    for _ in 0..2 * EACH + 200 {
        busy += usize::from(stays.next().await == "busy");
    }
    assert_eq!(busy, 2 * EACH);
    stays.heard_nothing_else();
}

async fn a_tap_hears_everything_once(bus: &dyn Bus) {
    bus.publish(signal(&named("before"), "before"));
    let (mut one, mut two) = (Tap::on(bus), Tap::on(bus));
    let mut ear = Ear::attach(bus);
    let topics = [named("place"), Topic::Everyone, Topic::Nodes];
    bus.listen(ear.id, &topics[0], Mark::NONE);
    for topic in &topics {
        bus.publish(signal(topic, "heard"));
    }
    for tap in [&mut one, &mut two] {
        for topic in &topics {
            assert_eq!(tap.next().await.topic, *topic, "whether or not anybody listens");
        }
        tap.heard_nothing_else();
    }
    assert_eq!(ear.next().await, "heard");
    ear.heard_nothing_else();
}

async fn a_tap_hears_in_the_order_of_others(bus: Arc<dyn Bus>) {
    const EACH: usize = 500;
    let mut tap = Tap::on(&*bus);
    let ears = [Ear::attach(&*bus), Ear::attach(&*bus)];
    bus.listen(ears[0].id, &named("left"), Mark::NONE);
    bus.listen(ears[1].id, &named("right"), Mark::NONE);
    let publishers: Vec<_> = ["left", "right"]
        .map(|place| {
            let (bus, place) = (Arc::clone(&bus), named(place));
            thread::spawn(move || {
                (0..EACH).for_each(|number| bus.publish(signal(&place, &number.to_string())))
            })
        })
        .into();
    let mut next = [0; 2];
    for _ in 0..2 * EACH {
        let envelope = tap.next().await;
        let place = usize::from(envelope.topic == named("right"));
        assert_eq!(name(&envelope), next[place].to_string());
        next[place] += 1;
    }
    tap.heard_nothing_else();
    for publisher in publishers {
        publisher.join().expect("publishing never panics");
    }
}

async fn an_envelope_with_several_topics_reaches_each_listener_once(bus: &dyn Bus) {
    let (one, two, three) = (named("one"), named("two"), named("three"));
    let mut tap = Tap::on(bus);
    let (mut all, mut first, mut last) = (Ear::attach(bus), Ear::attach(bus), Ear::attach(bus));
    let mut nobody = Ear::attach(bus);
    for topic in [&one, &two, &three] {
        bus.listen(all.id, topic, Mark(7));
    }
    bus.listen(first.id, &one, Mark(7));
    bus.listen(last.id, &three, Mark(7));
    bus.listen(nobody.id, &named("four"), Mark(7));
    let to_all = |topic: &Topic, also: &[&Topic], name: &str| {
        let also = also.iter().map(|topic| (*topic).clone()).collect();
        bus.publish(Envelope { also, ..signal(topic, name) });
    };
    to_all(&one, &[&two, &three], "from the first");
    to_all(&three, &[&two, &one], "from the last");
    to_all(&named("empty"), &[&three, &three], "where nobody is, and twice elsewhere");
    for ear in [&mut all, &mut last] {
        assert_eq!(ear.next().await, "from the first");
        assert_eq!(ear.next().await, "from the last");
        assert_eq!(ear.next().await, "where nobody is, and twice elsewhere");
        ear.heard_nothing_else();
    }
    assert_eq!(first.next().await, "from the first");
    assert_eq!(first.next().await, "from the last");
    first.heard_nothing_else();
    nobody.heard_nothing_else();
    for _ in 0..3 {
        tap.next().await;
    }
    tap.heard_nothing_else();
}

/// How long an event may take, so that a bus that loses one fails the suite instead of hanging it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A listener, and what it heard.
struct Ear {
    id: ListenerId,
    heard: mpsc::UnboundedReceiver<Arc<Envelope>>,
}

struct Hearing(mpsc::UnboundedSender<Arc<Envelope>>);

impl Listener for Hearing {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        // A bus may outlive the test's interest in it.
        let _ = self.0.send(Arc::clone(envelope));
    }
}

/// A listener to everything, and what it heard.
struct Tap(mpsc::UnboundedReceiver<Arc<Envelope>>);

impl Tap {
    fn on(bus: &dyn Bus) -> Self {
        let (hears, heard) = mpsc::unbounded_channel();
        bus.tap(Arc::new(Hearing(hears)));
        Self(heard)
    }

    async fn next(&mut self) -> Arc<Envelope> {
        let heard = tokio::time::timeout(PATIENCE, self.0.recv()).await;
        heard.expect("an event arrives within ten seconds").expect("the bus keeps its taps")
    }

    fn heard_nothing_else(&mut self) {
        if let Ok(envelope) = self.0.try_recv() {
            panic!("{envelope:?} was heard a second time");
        }
    }
}

impl Ear {
    fn attach(bus: &dyn Bus) -> Self {
        let (hears, heard) = mpsc::unbounded_channel();
        Self { id: bus.attach(Arc::new(Hearing(hears))), heard }
    }

    async fn next_envelope(&mut self) -> Arc<Envelope> {
        let heard = tokio::time::timeout(PATIENCE, self.heard.recv()).await;
        heard.expect("an event arrives within ten seconds").expect("the bus keeps its listeners")
    }

    async fn next(&mut self) -> String {
        name(&*self.next_envelope().await)
    }

    fn heard_nothing_else(&mut self) {
        if let Ok(envelope) = self.heard.try_recv() {
            panic!("{envelope:?} was not meant for this listener");
        }
    }

    /// Nothing that was published before this call reached the ear, as far as a later event can tell.
    async fn heard_only_the_end(&mut self, bus: &dyn Bus) {
        let end = named("the end");
        bus.listen(self.id, &end, Mark::NONE);
        bus.publish(signal(&end, "the end"));
        assert_eq!(self.next().await, "the end");
        bus.unlisten(self.id, &end);
    }
}

fn named(name: &str) -> Topic {
    Topic::Named(name.into())
}

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

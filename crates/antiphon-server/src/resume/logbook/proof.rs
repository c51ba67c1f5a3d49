//! Whatever happens on two cores, and wherever the process is killed, sessions that are reported have everything once and in order.

use std::collections::{BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use antiphon_core::actor::{Principal, SecretHash};
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{AgentId, ConnectionId, PersonId, Timestamp};
use antiphon_core::topic::Topic;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Logbook, Pages, Past, Seated, Survivor};
use crate::resume::journal::{Entry, Journal, What};
use crate::resume::{Bound, Kept, Numbers, Offset, Settings};

const CORES: u16 = 2;

/// Milliseconds of the time of day at the first start.
const MORNING: i64 = 1_700_000_000_000;

fn settings() -> Settings {
    Settings { window: 60_000, ..Settings::default() }
}

/// What can happen. Sessions, cores and topics are named by numbers, taken modulo how many there are.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Begin {
        core: u16,
    },
    Sit {
        session: usize,
        topic: u8,
    },
    Rise {
        session: usize,
        topic: u8,
    },
    /// To one topic or to two, unless whoever caused it hears it.
    Publish {
        topics: (u8, Option<u8>),
        cause: Option<usize>,
    },
    /// Two at once: the second is posted first.
    Cross {
        first: u8,
        second: u8,
    },
    Turn {
        core: u16,
    },
    /// Time passes, and every core has a turn.
    Pass,
    Lose {
        session: usize,
    },
    Resume {
        session: usize,
        core: u16,
    },
    End {
        session: usize,
    },
}

/// How the process dies.
#[derive(Clone, Debug)]
enum Death {
    Between,
    /// A core is writing its turn down, and this share of it is written.
    Turn {
        core: u16,
        share: f64,
    },
    /// A letter is being written.
    Letter {
        topic: u8,
        share: f64,
    },
    /// A letter was posted to the first of its cores.
    Halfway {
        topic: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (session, topic, core) = (0..8_usize, 0..3_u8, 0..CORES);
    prop_oneof![
        2 => core.clone().prop_map(|core| Step::Begin { core }),
        3 => (session.clone(), topic.clone()).prop_map(|(session, topic)| Step::Sit { session, topic }),
        1 => (session.clone(), topic.clone()).prop_map(|(session, topic)| Step::Rise { session, topic }),
        6 => ((topic.clone(), proptest::option::of(topic.clone())), proptest::option::of(session.clone()))
            .prop_map(|(topics, cause)| Step::Publish { topics, cause }),
        2 => (topic.clone(), topic.clone()).prop_map(|(first, second)| Step::Cross { first, second }),
        4 => core.clone().prop_map(|core| Step::Turn { core }),
        1 => Just(Step::Pass),
        1 => session.clone().prop_map(|session| Step::Lose { session }),
        2 => (session.clone(), core).prop_map(|(session, core)| Step::Resume { session, core }),
        1 => session.prop_map(|session| Step::End { session }),
    ]
}

fn death() -> impl Strategy<Value = Death> {
    let (topic, core, share) = (0..3_u8, 0..CORES, 0.0..=1.0_f64);
    prop_oneof![
        Just(Death::Between),
        (core, share.clone()).prop_map(|(core, share)| Death::Turn { core, share }),
        (topic.clone(), share).prop_map(|(topic, share)| Death::Letter { topic, share }),
        topic.prop_map(|topic| Death::Halfway { topic }),
    ]
}

/// A session and its client.
pub(super) struct Client {
    pub(super) pid: SecretHash,
    pub(super) id: ConnectionId,
    kept: Kept,
    topics: BTreeSet<u8>,
    /// Those of which the client does not know yet that it hears them.
    fresh: BTreeSet<u8>,
    /// What its sockets were called.
    names: Vec<ConnectionId>,
    /// Since when it waits.
    ghost: Option<i64>,
    /// Whether its client knows of it, and no core has still to write where it is.
    is_settled: bool,
    /// What it was told on its core, in order.
    told: Vec<u32>,
    /// What is on its way to the client, and what the client has had.
    outbox: Vec<(u32, Offset)>,
    had: Vec<u32>,
    pub(super) offset: Option<Offset>,
    /// What it must hear.
    owed: BTreeSet<u32>,
    /// What it may.
    perhaps: BTreeSet<u32>,
}

pub(super) struct World {
    pub(super) directory: TempDir,
    run: u32,
    wall: i64,
    pub(super) uptime: i64,
    pub(super) book: Arc<Logbook>,
    pub(super) pages: Vec<Pages>,
    pub(super) numbers: Vec<Numbers>,
    mail: Vec<VecDeque<(u64, Arc<Envelope>)>>,
    pub(super) clients: Vec<Client>,
    next: u32,
}

pub(super) fn topic(number: u8) -> Topic {
    Topic::Named(format!("topic {number}").into())
}

fn envelope(serial: u32, (first, second): (u8, Option<u8>)) -> Envelope {
    let agent = AgentId::parse(&format!("e{serial}")).unwrap();
    let also: Vec<_> = second.map(topic).into_iter().collect();
    Envelope::to_all(topic(first), also, Event::AgentDeleted { agent })
}

fn serial(envelope: &Envelope) -> u32 {
    let Event::AgentDeleted { agent } = &envelope.event else { panic!("nothing else is published") };
    agent.to_string()[1..].parse().unwrap()
}

pub(super) fn bound() -> Bound {
    Bound {
        principal: Principal::Person(PersonId::parse("ada").unwrap()),
        dialect: "chat".into(),
        namespace: "/".into(),
        mount: "/socket.io".into(),
    }
}

fn open(directory: &Path, run: u32, wall: i64) -> (Arc<Logbook>, Past) {
    Logbook::open(directory, run, CORES, &settings(), Timestamp(wall))
}

impl World {
    pub(super) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let (book, past) = open(directory.path(), 1, MORNING);
        assert!(past.sessions.is_empty() && past.letters.is_empty());
        let world = Self {
            pages: (0..CORES).map(|core| book.pages(core)).collect(),
            numbers: (0..CORES).map(|core| Numbers::new(1, core)).collect(),
            mail: vec![VecDeque::new(); usize::from(CORES)],
            clients: Vec::new(),
            directory,
            run: 1,
            wall: MORNING,
            uptime: 0,
            book,
            next: 1,
        };
        world.book.is_complete();
        world
    }

    fn fresh_id(&mut self, core: u16) -> ConnectionId {
        self.next += 1;
        ConnectionId { core, slot: self.next, generation: 0 }
    }

    pub(super) fn begin(&mut self, core: u16) {
        let id = self.fresh_id(core);
        let pid = SecretHash([u8::try_from(self.next % 251).unwrap(); 32]);
        if self.clients.iter().any(|client| client.pid == pid) || self.clients.len() >= 6 {
            return;
        }
        let journal = Journal::new(self.numbers[usize::from(core)].last());
        let kept = Kept { sid: "sid".into(), stale: None, journal };
        self.pages[usize::from(core)].begins(id, pid, &bound(), &kept);
        self.clients.push(Client {
            pid,
            id,
            kept,
            topics: BTreeSet::new(),
            fresh: BTreeSet::new(),
            names: vec![id],
            ghost: None,
            is_settled: false,
            told: Vec::new(),
            outbox: Vec::new(),
            had: Vec::new(),
            offset: None,
            owed: BTreeSet::new(),
            perhaps: BTreeSet::new(),
        });
    }

    fn client(&mut self, number: usize) -> Option<usize> {
        (!self.clients.is_empty()).then(|| number % self.clients.len())
    }

    fn hearing(&self, (first, second): (u8, Option<u8>)) -> BTreeSet<u16> {
        let hears = |client: &&Client| {
            client.topics.contains(&first) || second.is_some_and(|second| client.topics.contains(&second))
        };
        self.clients.iter().filter(hears).map(|client| client.id.core).collect()
    }

    /// Whoever sits there is owed it.
    fn owe(&mut self, envelope: &Envelope, topics: (u8, Option<u8>), core: u16, surely: bool) {
        for client in &mut self.clients {
            let hears = |number: u8| client.topics.contains(&number);
            let knows = |number: u8| hears(number) && !client.fresh.contains(&number);
            let (first, second) = topics;
            let is_heard = hears(first) || second.is_some_and(hears);
            let is_known = knows(first) || second.is_some_and(knows);
            if is_heard && client.id.core == core && envelope.except != Some(client.id) {
                let owed = if surely && is_known { &mut client.owed } else { &mut client.perhaps };
                owed.insert(serial(envelope));
            }
        }
    }

    fn fresh_envelope(&mut self, topics: (u8, Option<u8>)) -> Envelope {
        self.next += 1;
        envelope(self.next, topics)
    }

    pub(super) fn publish(&mut self, topics: (u8, Option<u8>), cause: Option<usize>) {
        let mut envelope = self.fresh_envelope(topics);
        envelope.except = cause.and_then(|cause| self.client(cause)).map(|index| self.clients[index].id);
        let envelope = Arc::new(envelope);
        for core in self.hearing(topics) {
            let number = self.book.letter(&envelope, core);
            assert_ne!(number, 0);
            self.owe(&envelope, topics, core, true);
            self.mail[usize::from(core)].push_back((number, envelope.clone()));
        }
    }

    fn cross(&mut self, first: u8, second: u8) {
        let mut posts = Vec::new();
        for topic in [first, second] {
            let envelope = Arc::new(self.fresh_envelope((topic, None)));
            for core in self.hearing((topic, None)) {
                let number = self.book.letter(&envelope, core);
                self.owe(&envelope, (topic, None), core, true);
                posts.push((core, number, envelope.clone()));
            }
        }
        for (core, number, envelope) in posts.into_iter().rev() {
            self.mail[usize::from(core)].push_back((number, envelope));
        }
    }

    /// Reads what is in the mailbox of `core`.
    fn read(&mut self, core: u16) {
        let index = usize::from(core);
        while let Some((number, envelope)) = self.mail[index].pop_front() {
            let pages = &self.pages[index];
            pages.reads(number);
            assert_eq!(pages.in_hand(), number);
            let offset = self.numbers[index].take(1);
            let topics: Vec<_> = std::iter::once(&envelope.topic).chain(&envelope.also).cloned().collect();
            let what = What::Event(envelope.clone());
            let entry = Entry { offset, frames: 1, bytes: 100, at: self.uptime, letter: number, what };
            for client in self.clients.iter_mut().filter(|client| client.id.core == core) {
                let sits = client.topics.iter().any(|number| topics.contains(&topic(*number)));
                let is_own = envelope.except.is_some_and(|id| client.names.contains(&id));
                if sits && !is_own && !client.told.contains(&serial(&envelope)) {
                    pages.kept(client.id, &entry);
                    client.hear(&entry);
                }
            }
            pages.has_read(number);
        }
    }

    pub(super) fn turn(&mut self, core: u16) {
        self.read(core);
        self.pages[usize::from(core)].write_down();
        for client in self.clients.iter_mut().filter(|client| client.id.core == core) {
            client.is_settled = true;
            client.fresh.clear();
            client.owed.append(&mut client.perhaps);
            if client.ghost.is_none() {
                for (serial, offset) in client.outbox.drain(..) {
                    client.had.push(serial);
                    client.offset = Some(offset);
                }
            }
        }
    }

    pub(super) fn pass(&mut self) {
        self.uptime += 31_000;
        for core in 0..CORES {
            self.turn(core);
            let (uptime, core) = (self.uptime, usize::from(core));
            let late = |client: &Client| client.ghost.is_some_and(|since| uptime - since >= 60_000);
            while let Some(index) = self.clients.iter().position(late) {
                self.end(index);
            }
            let head = || {
                let here = self.clients.iter().filter(|client| usize::from(client.id.core) == core);
                here.map(Client::seated).collect()
            };
            self.pages[core].turn_over(uptime, head);
        }
    }

    fn end(&mut self, index: usize) {
        let client = self.clients.remove(index);
        self.pages[usize::from(client.id.core)].ends(client.id);
    }

    fn resume(&mut self, index: usize, to: u16) {
        let from = self.clients[index].id.core;
        let heir = self.fresh_id(to);
        for number in self.clients[index].topics.clone() {
            self.pages[usize::from(to)].sits(heir, &topic(number));
        }
        self.read(from);
        let client = &mut self.clients[index];
        self.pages[usize::from(from)].ends(client.id);
        let had = client.offset;
        let position = client.kept.journal.position(had).expect("nothing of it is lost");
        if let Some(had) = had {
            client.kept.journal.confirm(position, had);
        }
        let offset = self.numbers[usize::from(to)].take(1);
        let moved = Entry { offset, frames: 0, bytes: 0, at: self.uptime, letter: 0, what: What::Moved };
        client.kept.journal.moves(moved);
        (client.id, client.ghost, client.is_settled) = (heir, None, false);
        client.outbox = client.missed();
        client.names.push(heir);
        self.pages[usize::from(to)].begins(heir, client.pid, &bound(), &client.kept);
    }

    pub(super) fn follow(&mut self, step: Step) {
        match step {
            Step::Begin { core } => self.begin(core),
            Step::Sit { session, topic: number } => {
                let Some(index) = self.client(session) else { return };
                let client = &mut self.clients[index];
                if client.topics.insert(number) {
                    client.fresh.insert(number);
                    self.pages[usize::from(client.id.core)].sits(client.id, &topic(number));
                }
            }
            Step::Rise { session, topic: number } => {
                let Some(index) = self.client(session) else { return };
                // What was posted before is read first, so that it is known what is heard.
                let core = self.clients[index].id.core;
                self.turn(core);
                let client = &mut self.clients[index];
                if client.topics.remove(&number) {
                    self.pages[usize::from(core)].rises(client.id, &topic(number));
                    self.turn(core);
                }
            }
            Step::Publish { topics, cause } => self.publish(topics, cause),
            Step::Cross { first, second } => self.cross(first, second),
            Step::Turn { core } => self.turn(core),
            Step::Pass => self.pass(),
            Step::Lose { session } => {
                let Some(index) = self.client(session) else { return };
                let client = &mut self.clients[index];
                if client.ghost.is_none() {
                    client.ghost = Some(self.uptime);
                    self.pages[usize::from(client.id.core)].waits(client.id, self.uptime);
                }
            }
            Step::Resume { session, core } => {
                let Some(index) = self.client(session) else { return };
                self.resume(index, core);
            }
            Step::End { session } => {
                let Some(index) = self.client(session) else { return };
                self.end(index);
            }
        }
    }

    /// The process dies; returns what the next one finds.
    fn die(&mut self, death: Death) -> Past {
        let before = lengths(self.directory.path());
        match death {
            Death::Between => {}
            Death::Turn { core, share } => {
                self.read(core);
                self.pages[usize::from(core)].write_down();
                tear(self.directory.path(), &before, share);
            }
            Death::Letter { topic, share } => {
                let envelope = Arc::new(self.fresh_envelope((topic, None)));
                let cores = self.hearing((topic, None));
                if let Some(core) = cores.first() {
                    self.book.letter(&envelope, *core);
                    tear(self.directory.path(), &before, share);
                }
                for core in cores {
                    self.owe(&envelope, (topic, None), core, false);
                }
            }
            Death::Halfway { topic } => {
                let envelope = Arc::new(self.fresh_envelope((topic, None)));
                // Whoever publishes has not been told that it is done; but what one core has, all have.
                let cores = self.hearing((topic, None));
                if let Some(core) = cores.first() {
                    self.book.letter(&envelope, *core);
                }
                for core in cores {
                    self.owe(&envelope, (topic, None), core, true);
                }
            }
        }
        self.rescue()
    }

    /// What a process finds that starts now: in a copy, as this one would still write when it is dropped.
    pub(super) fn rescue(&mut self) -> Past {
        let copy = TempDir::new().unwrap();
        copy_all(self.directory.path(), copy.path());
        self.pages.clear();
        self.mail.iter_mut().for_each(VecDeque::clear);
        self.directory = copy;
        self.run += 1;
        self.wall += self.uptime + 1_000;
        let (book, past) = open(self.directory.path(), self.run, self.wall);
        (self.book, self.uptime) = (book, 0);
        past
    }

    /// Every client that must have its session has it, and everybody who has it misses nothing.
    pub(super) fn check(&self, past: &Past) {
        for client in &self.clients {
            let survivor = past.sessions.iter().find(|survivor| survivor.pid == client.pid);
            match survivor {
                None => assert!(!client.is_settled, "{:?} is lost", client.pid),
                Some(survivor) => client.check(survivor),
            }
        }
        for survivor in &past.sessions {
            assert!(self.clients.iter().any(|client| client.pid == survivor.pid), "it was over");
        }
        assert!(past.letters.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    /// The next life, with what the last one left.
    pub(super) fn live_on(&mut self, past: Past) {
        self.numbers = (0..CORES).map(|core| Numbers::new(self.run, core)).collect();
        self.pages = (0..CORES).map(|core| self.book.pages(core)).collect();
        let mut clients = std::mem::take(&mut self.clients);
        for (number, survivor) in past.sessions.into_iter().enumerate() {
            let Some(index) = clients.iter().position(|client| client.pid == survivor.pid) else { continue };
            let mut client = clients.swap_remove(index);
            let core = usize::from(u16::try_from(number).unwrap() % CORES);
            client.id = self.fresh_id(u16::try_from(core).unwrap());
            client.kept = survivor.kept;
            client.topics.retain(|number| survivor.topics.contains(&topic(*number)));
            client.fresh.clear();
            client.names.push(client.id);
            let offset = self.numbers[core].take(1);
            let moved = Entry { offset, frames: 0, bytes: 0, at: 0, letter: 0, what: What::Moved };
            client.kept.journal.moves(moved);
            let pages = &self.pages[core];
            for number in &client.topics {
                pages.sits(client.id, &topic(*number));
            }
            pages.begins(client.id, client.pid, &bound(), &client.kept);
            client.ghost = Some(survivor.left - 60_000);
            pages.waits(client.id, survivor.left - 60_000);
            client.told = client.kept.journal.events().map(|envelope| serial(envelope)).collect();
            let known: Vec<_> = client.had.iter().copied().filter(|had| !client.told.contains(had)).collect();
            client.told.splice(0..0, known);
            for (letter, envelope) in survivor.unread {
                let (offset, what) = (self.numbers[core].take(1), What::Event(envelope));
                let entry = Entry { offset, frames: 1, bytes: 100, at: 0, letter, what };
                pages.kept(client.id, &entry);
                client.hear(&entry);
            }
            client.owed = client.told.iter().copied().collect();
            client.perhaps.clear();
            client.outbox.clear();
            client.is_settled = true;
            self.clients.push(client);
        }
        for pages in &self.pages {
            pages.write_down();
        }
        self.book.is_complete();
    }
}

impl Client {
    fn hear(&mut self, entry: &Entry) {
        let What::Event(envelope) = &entry.what else { return };
        self.told.push(serial(envelope));
        if !self.owed.contains(&serial(envelope)) {
            // It was posted before it came, for somebody else.
            self.perhaps.insert(serial(envelope));
        }
        self.outbox.push((serial(envelope), entry.offset));
        self.kept.journal.push(entry.clone(), &settings(), self.ghost.is_some());
    }

    fn seated(&self) -> Seated {
        Seated {
            id: self.id,
            pid: self.pid,
            bound: bound(),
            kept: self.kept.without_entries(),
            catching_up: false,
            ghost_since: self.ghost,
        }
    }

    /// What is in its journal that its client has not had.
    fn missed(&self) -> Vec<(u32, Offset)> {
        missed(&self.kept.journal, self.offset)
    }

    pub(super) fn check(&self, survivor: &Survivor) {
        let mut all = self.had.clone();
        all.extend(missed(&survivor.kept.journal, self.offset).into_iter().map(|(serial, _)| serial));
        let written = all.len();
        all.extend(survivor.unread.iter().map(|(_, envelope)| serial(envelope)));
        let once: BTreeSet<_> = all.iter().copied().collect();
        assert_eq!(once.len(), all.len(), "twice: {all:?}");
        assert!(self.owed.is_subset(&once), "missing: {all:?} of {:?}", self.owed);
        assert!(once.iter().all(|serial| self.owed.contains(serial) || self.perhaps.contains(serial)));
        assert_eq!(all[..written], self.told[..written], "another order");
        assert!(all[written..].is_sorted(), "another order");
        let topics: Vec<_> = self.topics.iter().map(|number| topic(*number)).collect();
        if self.is_settled {
            assert!(survivor.topics.iter().all(|topic| topics.contains(topic)));
        }
        assert!(0 < survivor.left && survivor.left <= 60_000);
        assert!(survivor.kept.journal.entries().all(|entry| entry.at <= 0));
    }
}

fn missed(journal: &Journal, offset: Option<Offset>) -> Vec<(u32, Offset)> {
    let position = journal.position(offset).expect("nothing of it is lost");
    let mut journal = journal.clone();
    if let Some(offset) = offset {
        journal.confirm(position, offset);
    }
    let event = |entry: &Entry| match &entry.what {
        What::Event(envelope) => Some((serial(envelope), entry.offset)),
        What::Frame(_) | What::Moved => None,
    };
    journal.entries().filter_map(event).collect()
}

pub(super) fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

fn lengths(directory: &Path) -> Vec<(PathBuf, u64)> {
    files(directory).into_iter().map(|path| (path.clone(), fs::metadata(path).unwrap().len())).collect()
}

/// Of what was written since `before`, which is one record, only this share has been.
fn tear(directory: &Path, before: &[(PathBuf, u64)], share: f64) {
    for (path, length) in lengths(directory) {
        let before = before.iter().find(|(known, _)| *known == path).map_or(0, |(_, length)| *length);
        let left = before + ((length - before) as f64 * share) as u64;
        if left < length {
            fs::OpenOptions::new().write(true).open(path).unwrap().set_len(left).unwrap();
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    for path in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_missing_and_nothing_comes_twice_wherever_a_process_dies(
        lives in proptest::collection::vec((proptest::collection::vec(step(), 0..60), death()), 1..4)
    ) {
        let mut world = World::new();
        for (steps, death) in lives {
            for step in steps {
                world.follow(step);
            }
            let past = world.die(death);
            world.check(&past);
            world.live_on(past);
        }
    }
}

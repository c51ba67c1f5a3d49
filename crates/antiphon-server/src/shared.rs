//! What all cores share: the app, who may come in, and how many of everything there were.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use antiphon_core::app::App;
use antiphon_core::ids::Timestamp;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::api;
use crate::auth::Doorkeeper;
use crate::config::{Config, Limits};
use crate::hub::Mailbox;
use crate::mount::{Voice, VoiceId};
use crate::pace::Pace;
use crate::resume::{self, Logbook, Registry};
use crate::routes::companion;
use crate::routes::mission::Registration;
use crate::session::{Closing, Headcount};
use crate::sqlite::health::Health;
use crate::transport::crowd::Crowd;

/// Letters that may wait for a core before everybody else slows down for it.
const HIGH_WATER: usize = 65_536;

/// What all cores share.
pub(crate) struct Shared {
    pub(crate) app: Arc<App>,
    pub(crate) auth: Doorkeeper,
    pub(crate) mailboxes: Vec<Arc<Mailbox>>,
    pub(crate) voices: Vec<Voice>,
    pub(crate) limits: Limits,
    pub(crate) crowd: Crowd,
    pub(crate) people: Headcount,
    /// Events that one connection may send.
    pub(crate) events: Pace,
    /// Connections that may be accepted.
    pub(crate) accepts: Pace,
    /// Milliseconds that a socket stays after its credential has expired.
    pub(crate) grace: u64,
    /// How much is kept of sessions that may be resumed.
    pub(crate) resume: resume::Settings,
    /// Where they are.
    pub(crate) sessions: Registry,
    pub(crate) run: Run,
    pub(crate) counters: Counters,
    /// How much of any HTTP API somebody may use.
    pub(crate) api: api::Settings,
    /// Whether people may add themselves.
    pub(crate) registration: Registration,
    /// What the routes of the companion API go by.
    pub(crate) companion: companion::Terms,
    pub(crate) demo: bool,
    pub(crate) life: Life,
    open: AtomicUsize,
    next: AtomicUsize,
    visits: AtomicU64,
}

/// A run of the server.
pub(crate) struct Run {
    /// What it is called in offsets: no other run has the same name.
    pub(crate) name: u32,
    started: Instant,
    /// Where its sessions are written down, if they are to outlive it.
    pub(crate) book: Option<Arc<Logbook>>,
}

impl Run {
    /// One that begins now and writes nothing down.
    pub(crate) fn fresh() -> Self {
        Self { name: u32::from_le_bytes(random()), started: Instant::now(), book: None }
    }

    /// The same, whose sessions are written down in `book`.
    pub(crate) fn written(self, book: Arc<Logbook>) -> Self {
        Self { book: Some(book), ..self }
    }
}

/// How the end of the server is told.
#[derive(Default)]
pub(crate) struct Life {
    stopping: watch::Sender<bool>,
    ports_closed: watch::Sender<bool>,
    hurrying: watch::Sender<bool>,
    drained: AtomicUsize,
    drained_bell: Notify,
    ready: AtomicBool,
    /// How the disk is, where there is one.
    disk: OnceLock<Arc<Health>>,
}

impl Shared {
    pub(crate) fn new(
        app: Arc<App>,
        auth: Doorkeeper,
        mailboxes: Vec<Arc<Mailbox>>,
        voices: Vec<Voice>,
        run: Run,
        config: &Config,
        demo: bool,
    ) -> Self {
        let limits = config.limits.clone();
        Self {
            app,
            auth,
            mailboxes,
            voices,
            crowd: Crowd::new(&limits, &config.server.trusted_proxies),
            people: Headcount::new(limits.connections_per_person),
            events: Pace::new(limits.events_per_second, limits.events_burst),
            accepts: Pace::new(limits.accepts_per_second, limits.accepts_per_second),
            grace: config.auth.grace,
            api: config.api.clone(),
            registration: config.mission.registration,
            resume: config.resume.clone(),
            sessions: Registry::default(),
            run,
            limits,
            counters: Counters::default(),
            companion: companion::Terms::of(config),
            demo,
            life: Life::default(),
            open: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            visits: AtomicU64::new(0),
        }
    }

    /// The voice with this id.
    pub(crate) fn voice(&self, id: VoiceId) -> &Voice {
        &self.voices[usize::from(id.0)]
    }

    /// The time of day.
    pub(crate) fn now(&self) -> Timestamp {
        self.app.ports().clock.now()
    }

    /// 120 random bits in 20 characters: a session or socket id.
    pub(crate) fn random_id(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(random::<15>())
    }

    /// Milliseconds since this process began to serve, the same on every core.
    pub(crate) fn uptime(&self) -> i64 {
        i64::try_from(self.run.started.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// The number of an HTTP connection, for logs.
    pub(crate) fn next_visit(&self) -> u64 {
        self.visits.fetch_add(1, Relaxed)
    }

    /// Which core gets the next connection.
    pub(crate) fn next_core(&self) -> usize {
        self.next.fetch_add(1, Relaxed) % self.mailboxes.len()
    }

    /// Whether one more connection may be opened.
    pub(crate) fn may_open(&self) -> bool {
        self.is_ready() && self.open.load(Relaxed) < self.limits.connections
    }

    pub(crate) fn count_connection(&self) {
        self.open.fetch_add(1, Relaxed);
        self.counters.opened.fetch_add(1, Relaxed);
    }

    pub(crate) fn uncount_connection(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Waits while some core is too far behind to be given more.
    pub(crate) async fn breathe(&self) {
        while self.mailboxes.len() > 1 && self.mailboxes.iter().any(|m| m.waiting() > HIGH_WATER) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    // ---- life and end ----

    pub(crate) fn set_ready(&self, ready: bool) {
        self.life.ready.store(ready, Relaxed);
    }

    /// Whether new connections are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        self.life.ready.load(Relaxed)
    }

    /// From now on a disk that fails is a reason not to be asked.
    pub(crate) fn mind(&self, disk: Arc<Health>) {
        // A server has one.
        let _ = self.life.disk.set(disk);
    }

    /// Why this server should not be asked for anything, as a line, if it should not. Those who are connected stay, and new
    /// ones may come unless it stops.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        match self.is_ready() {
            true => self.life.disk.get().and_then(|disk| disk.unready()),
            false => Some("stopping\n"),
        }
    }

    /// Tells everybody that the server stops.
    pub(crate) fn stop(&self) {
        self.set_ready(false);
        self.life.stopping.send_replace(true);
    }

    /// Nobody is there any more whose next request could come over a connection of its own.
    pub(crate) fn close_ports(&self) {
        self.life.ports_closed.send_replace(true);
    }

    /// Waits until nothing is to be accepted any more.
    pub(crate) async fn ports_closed(&self) {
        let _ = self.life.ports_closed.subscribe().wait_for(|closed| *closed).await;
    }

    /// Hears of the stop, for parts that run until told to.
    pub(crate) fn stop_signal(&self) -> watch::Receiver<bool> {
        self.life.stopping.subscribe()
    }

    /// Cuts a drain short.
    pub(crate) fn hurry(&self) {
        self.life.hurrying.send_replace(true);
    }

    /// Waits until a drain is cut short.
    pub(crate) async fn hurried(&self) {
        let _ = self.life.hurrying.subscribe().wait_for(|hurrying| *hurrying).await;
    }

    /// Whether the drain was cut short.
    pub(crate) fn is_hurried(&self) -> bool {
        *self.life.hurrying.borrow()
    }

    /// One core has closed all its connections.
    pub(crate) fn drained(&self) {
        self.life.drained.fetch_add(1, Relaxed);
        self.life.drained_bell.notify_one();
    }

    /// Waits until every core has closed all its connections.
    pub(crate) async fn all_drained(&self) {
        while self.life.drained.load(Relaxed) < self.mailboxes.len() {
            self.life.drained_bell.notified().await;
        }
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

/// How many of everything there were since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    opened: AtomicU64,
    closed: AtomicU64,
    too_slow: AtomicU64,
    malformed: AtomicU64,
    refused: AtomicU64,
    foreign: AtomicU64,
    unknown: AtomicU64,
    unasked: AtomicU64,
    dropped: AtomicU64,
    joined: AtomicU64,
    panicked: AtomicU64,
    long_turns: AtomicU64,
    limited: AtomicU64,
    crowded: AtomicU64,
    strays: AtomicU64,
    dismissed: AtomicU64,
    renewed: AtomicU64,
    resumed: AtomicU64,
    lapsed: AtomicU64,
    survived: AtomicU64,
}

/// A reading of the server's counters, each since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Connections opened.
    pub opened: u64,
    /// Connections closed, for whatever reason.
    pub closed: u64,
    /// Of these, closed because the client did not keep up.
    pub too_slow: u64,
    /// Of these, closed because the client sent what none may send.
    pub malformed: u64,
    /// CONNECTs and events refused.
    pub refused: u64,
    /// Requests refused for their Origin.
    pub foreign: u64,
    /// Events that the dialect does not know.
    pub unknown: u64,
    /// Acknowledgements of nothing.
    pub unasked: u64,
    /// Volatile events dropped for want of room.
    pub dropped: u64,
    /// Pieces of answers joined for want of room.
    pub joined: u64,
    /// Handlers that panicked.
    pub panicked: u64,
    /// Turns of a core that took too long.
    pub long_turns: u64,
    /// CONNECTs and events refused because their connection sent too many.
    pub limited: u64,
    /// Connections, sessions and CONNECTs refused because their address, network or person had enough.
    pub crowded: u64,
    /// Requests for sessions that do not exist.
    pub strays: u64,
    /// Sockets sent away: their credential expired or was revoked, or somebody said so.
    pub dismissed: u64,
    /// Sockets that brought a new credential.
    pub renewed: u64,
    /// Sessions that were resumed.
    pub resumed: u64,
    /// Sessions that somebody wanted to resume and could not.
    pub lapsed: u64,
    /// Sessions of the last run that this one found.
    pub survived: u64,
}

impl Counters {
    pub(crate) fn closed(&self, why: Closing) {
        self.closed.fetch_add(1, Relaxed);
        match why {
            Closing::TooSlow => self.too_slow.fetch_add(1, Relaxed),
            Closing::Malformed(_) | Closing::Violation(..) | Closing::TooLarge | Closing::TooFast => {
                self.malformed.fetch_add(1, Relaxed)
            }
            Closing::Peer
            | Closing::PingTimeout
            | Closing::ConnectTimeout
            | Closing::Failed
            | Closing::Dismissed(_)
            | Closing::Resumed
            | Closing::Draining => 0,
        };
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn foreign(&self) {
        self.foreign.fetch_add(1, Relaxed);
    }

    pub(crate) fn unknown(&self) {
        self.unknown.fetch_add(1, Relaxed);
    }

    pub(crate) fn unasked(&self) {
        self.unasked.fetch_add(1, Relaxed);
    }

    pub(crate) fn dropped(&self) {
        self.dropped.fetch_add(1, Relaxed);
    }

    pub(crate) fn joined(&self) {
        self.joined.fetch_add(1, Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panicked.fetch_add(1, Relaxed);
    }

    pub(crate) fn long_turn(&self) {
        self.long_turns.fetch_add(1, Relaxed);
    }

    pub(crate) fn limited(&self) {
        self.limited.fetch_add(1, Relaxed);
    }

    pub(crate) fn crowded(&self) {
        self.crowded.fetch_add(1, Relaxed);
    }

    pub(crate) fn stray(&self) {
        self.strays.fetch_add(1, Relaxed);
    }

    pub(crate) fn dismissed(&self) {
        self.dismissed.fetch_add(1, Relaxed);
    }

    pub(crate) fn renewed(&self) {
        self.renewed.fetch_add(1, Relaxed);
    }

    pub(crate) fn resumed(&self) {
        self.resumed.fetch_add(1, Relaxed);
    }

    pub(crate) fn lapsed(&self) {
        self.lapsed.fetch_add(1, Relaxed);
    }

    pub(crate) fn survived(&self, sessions: usize) {
        self.survived.fetch_add(sessions as u64, Relaxed);
    }

    pub(crate) fn read(&self) -> Reading {
        Reading {
            opened: self.opened.load(Relaxed),
            closed: self.closed.load(Relaxed),
            too_slow: self.too_slow.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            foreign: self.foreign.load(Relaxed),
            unknown: self.unknown.load(Relaxed),
            unasked: self.unasked.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            joined: self.joined.load(Relaxed),
            panicked: self.panicked.load(Relaxed),
            long_turns: self.long_turns.load(Relaxed),
            limited: self.limited.load(Relaxed),
            crowded: self.crowded.load(Relaxed),
            strays: self.strays.load(Relaxed),
            dismissed: self.dismissed.load(Relaxed),
            renewed: self.renewed.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            lapsed: self.lapsed.load(Relaxed),
            survived: self.survived.load(Relaxed),
        }
    }
}

//! What `/metrics` says: every family, and where its numbers come from.
//!
//! Each core is asked with a letter, like for anything else, and answers at its next turn. One that is too busy to answer in
//! time is shown as it was when it last did: a sum that went back would look like a restart.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::exposition::Page;
use super::named::Named;
use super::process;
use super::sheet::{Sheet, VoiceSheet};
use super::tally::TRANSPORTS;
use crate::config;
use crate::hub::Mail;
use crate::shared::Shared;

/// How long a core, and a part, may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Nanoseconds in a second.
const NANOSECONDS: f64 = 1e9;

/// A part of the server that has numbers of its own.
#[async_trait]
pub(crate) trait Part: Send + Sync {
    /// Finds out what [`write`](Self::write) is to say, if that takes asking somebody else. It has half a second; after that
    /// what was found out before is said once more.
    async fn look(&self) {}
    /// Writes its families. Their names belong to it alone. Must be quick.
    fn write(&self, page: &mut Page);
}

/// All parts that have.
pub(crate) type Parts = Vec<Arc<dyn Part>>;

/// Gathers what there is to know.
pub(crate) struct Scraper {
    shared: Arc<Shared>,
    /// What each mount is called, by its number.
    mounts: Vec<String>,
    /// Name and value.
    limits: Vec<(String, f64)>,
    /// Mount, name and value.
    mount_limits: Vec<(String, String, f64)>,
    parts: Parts,
    /// What each core said last.
    last: Mutex<Vec<Option<Sheet>>>,
}

impl Scraper {
    /// For the mounts of `mounts`, by number: what each is called, and its configuration.
    pub(crate) fn new(
        shared: Arc<Shared>,
        mounts: &[(String, config::Mount)],
        limits: &config::Limits,
        parts: Parts,
    ) -> Self {
        let each = mounts.iter().flat_map(|(mount, config)| {
            numbers(config).into_iter().map(|(name, value)| (mount.clone(), name, value))
        });
        Self {
            mounts: mounts.iter().map(|(name, _)| name.clone()).collect(),
            limits: numbers(limits),
            mount_limits: each.collect(),
            parts,
            last: Mutex::new(vec![None; shared.mailboxes.len()]),
            shared,
        }
    }

    /// The page.
    pub(crate) async fn page(&self) -> String {
        let look = join_all(self.parts.iter().map(|part| part.look()));
        let (late, _) = tokio::join!(self.ask_all(), timeout(PATIENCE, look));
        let mut page = Page::default();
        self.server(&mut page, late);
        if let Some(all) = self.sum() {
            self.connections(&mut page, &all);
            voices(&mut page, self.by_dialect(&all));
            cores(&mut page, &all);
        }
        self.limits(&mut page);
        for part in &self.parts {
            part.write(&mut page);
        }
        process::write(&mut page);
        page.finish()
    }

    /// Asks every core; returns how many did not answer.
    async fn ask_all(&self) -> u64 {
        let asked: Vec<_> = self
            .shared
            .mailboxes
            .iter()
            .map(|mailbox| {
                let (reply, answer) = oneshot::channel();
                mailbox.post(Mail::Count(reply));
                answer
            })
            .collect();
        let until = Instant::now() + PATIENCE;
        let mut late = 0;
        for (core, answer) in asked.into_iter().enumerate() {
            match timeout_at(until, answer).await {
                Ok(Ok(sheet)) => {
                    let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                    last[core] = Some(sheet);
                }
                Ok(Err(_)) | Err(_) => late += 1,
            }
        }
        late
    }

    fn sum(&self) -> Option<Sheet> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sheets = last.iter().flatten();
        let mut all = sheets.next()?.clone();
        for sheet in sheets {
            all.add(sheet);
        }
        Some(all)
    }

    fn server(&self, page: &mut Page, late: u64) {
        let shared = &self.shared;
        page.gauge("antiphon_build_info", "Which Antiphon this is.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.gauge(
            "antiphon_demo",
            "1 when the documents' placeholder keys work: never use it for anything real.",
        )
        .sample(&[], u8::from(shared.demo));
        page.gauge("antiphon_ready", "1 while new connections are welcome.")
            .sample(&[], u8::from(shared.is_ready()));
        page.gauge("antiphon_cores", "Cores that serve connections.").sample(&[], shared.mailboxes.len());
        page.gauge(
            "antiphon_cores_late",
            "Cores that did not answer this scrape in time and are shown as they were.",
        )
        .sample(&[], late);
        let mut letters = page.gauge("antiphon_mailbox_letters", "Letters that wait for a core.");
        for (core, mailbox) in shared.mailboxes.iter().enumerate() {
            letters.sample(&[("core", &core.to_string())], mailbox.waiting());
        }
        let reading = shared.counters.read();
        page.counter(
            "antiphon_events_dropped_total",
            "Volatile events dropped because their receiver did not keep up.",
        )
        .sample(&[], reading.dropped);
        page.counter(
            "antiphon_pieces_joined_total",
            "Pieces of answers joined because their receiver did not keep up.",
        )
        .sample(&[], reading.joined);
        page.gauge("antiphon_sessions_waiting", "Sessions that wait for their clients to resume them.")
            .sample(&[], shared.sessions.waiting());
        page.counter("antiphon_sessions_resumed_total", "Sessions that were resumed.")
            .sample(&[], reading.resumed);
        page.counter(
            "antiphon_sessions_lapsed_total",
            "Sessions that somebody wanted to resume and could not: expired, unknown, or with a gap.",
        )
        .sample(&[], reading.lapsed);
        page.counter(
            "antiphon_sessions_survived_total",
            "Sessions of the last run that were found at the start.",
        )
        .sample(&[], reading.survived);
        page.counter(
            "antiphon_acks_unasked_total",
            "Acknowledgements from clients of what nobody had asked for.",
        )
        .sample(&[], reading.unasked);
        page.counter("antiphon_panics_total", "Handlers that panicked; each ended its connection.")
            .sample(&[], reading.panicked);
        page.counter("antiphon_long_turns_total", "Turns of a core that took longer than 50 ms.")
            .sample(&[], reading.long_turns);
        page.counter(
            "antiphon_claims_forbidden_total",
            "Commands refused because an id in them was not the sender's, or for a right the sender lacks.",
        )
        .sample(&[], shared.app.forbidden());
        page.counter(
            "antiphon_credentials_looked_up_total",
            "Credentials that were looked up or verified; whoever came a moment before is remembered.",
        )
        .sample(&[], shared.auth.looked_up());
        let answers = shared.app.answers();
        page.gauge("antiphon_answers_in_progress", "Answers that agents are giving now.")
            .sample(&[], answers.running);
        page.gauge("antiphon_answers_waiting", "Messages that wait for the answer before theirs.")
            .sample(&[], answers.waiting);
        page.counter("antiphon_answers_total", "Answers that have ended, by how.")
            .sample(&[("end", "finished")], answers.finished)
            .sample(&[("end", "failed")], answers.failed);
    }

    fn connections(&self, page: &mut Page, all: &Sheet) {
        let mut open = page.gauge("antiphon_connections", "Open connections.");
        self.by_mount(&all.open, |labels, value| {
            open.sample(labels, value);
        });
        let mut opened = page.counter(
            "antiphon_connections_opened_total",
            "Connections opened, by the transport that they began with.",
        );
        self.by_mount(&all.opened, |labels, value| {
            opened.sample(labels, value);
        });
        page.counter(
            "antiphon_connections_upgraded_total",
            "Connections that went from polling to WebSocket.",
        )
        .sample(&[], all.upgraded);
        let mut closed = page.counter("antiphon_connections_closed_total", "Connections closed, by why.");
        for (reason, number) in all.closed.clone().sorted() {
            closed.sample(&[("reason", reason)], number);
        }
        let mut refused = page.counter(
            "antiphon_handshakes_refused_total",
            "Requests and CONNECTs turned away before they were anybody's, by why.",
        );
        for (why, number) in all.refused.clone().sorted() {
            refused.sample(&[("why", why)], number);
        }
        let mut received = page.counter(
            "antiphon_received_bytes_total",
            "Bytes of packets received, before they are taken apart.",
        );
        for (transport, bytes) in TRANSPORTS.iter().zip(all.received_bytes) {
            received.sample(&[("transport", transport)], bytes);
        }
        let mut sent =
            page.counter("antiphon_sent_bytes_total", "Bytes of packets that the kernel or a GET has taken.");
        for (transport, bytes) in TRANSPORTS.iter().zip(all.sent_bytes) {
            sent.sample(&[("transport", transport)], bytes);
        }
        page.gauge("antiphon_outbox_bytes", "Bytes that wait in all outboxes together.")
            .sample(&[], all.waiting);
        page.gauge("antiphon_outbox_fullest_bytes", "Bytes that wait in the fullest outbox.")
            .sample(&[], all.fullest);
    }

    fn by_mount(&self, numbers: &[[u64; 2]], mut say: impl FnMut(&[(&str, &str)], u64)) {
        for (mount, by_transport) in self.mounts.iter().zip(numbers) {
            for (transport, number) in TRANSPORTS.iter().zip(by_transport) {
                say(&[("mount", mount), ("transport", transport)], *number);
            }
        }
    }

    /// A dialect that answers in several namespaces has as many voices; here it is one.
    fn by_dialect(&self, all: &Sheet) -> BTreeMap<&'static str, VoiceSheet> {
        let mut dialects: BTreeMap<_, VoiceSheet> = BTreeMap::new();
        for (voice, sheet) in self.shared.voices.iter().zip(&all.voices) {
            let name = voice.dialect.name();
            match dialects.get_mut(name) {
                Some(known) => known.add(sheet),
                None => {
                    dialects.insert(name, sheet.clone());
                }
            }
        }
        dialects
    }

    fn limits(&self, page: &mut Page) {
        let help = "Limits as configured under [limits]: counts, bytes or milliseconds.";
        let mut limits = page.gauge("antiphon_limit", help);
        for (name, value) in &self.limits {
            limits.sample(&[("name", name)], value);
        }
        let help = "Limits as configured for a mount: bytes or milliseconds.";
        let mut limits = page.gauge("antiphon_mount_limit", help);
        for (mount, name, value) in &self.mount_limits {
            limits.sample(&[("mount", mount), ("name", name)], value);
        }
    }
}

fn voices(page: &mut Page, dialects: BTreeMap<&'static str, VoiceSheet>) {
    let mut sockets = page.gauge("antiphon_sockets", "Sockets that have been let in, by dialect.");
    for (dialect, sheet) in &dialects {
        sockets.sample(&[("dialect", dialect)], sheet.sockets);
    }
    let mut received = page.counter(
        "antiphon_events_received_total",
        "Events that clients have said; names that their API does not have are counted as `unknown`.",
    );
    for (dialect, sheet) in &dialects {
        for (event, number) in &sheet.received {
            received.sample(&[("dialect", dialect), ("event", event)], number);
        }
        received.sample(&[("dialect", dialect), ("event", "unknown")], sheet.unknown);
    }
    let mut sent = page.counter(
        "antiphon_events_sent_total",
        "Events put into outboxes, one for each receiver; with those that were dropped or joined there.",
    );
    by_name(
        &dialects,
        |sheet| &sheet.sent,
        |dialect, event, number| {
            sent.sample(&[("dialect", dialect), ("event", event)], number);
        },
    );
    let mut refusals =
        page.counter("antiphon_refusals_total", "CONNECTs and events that were refused, by code.");
    by_name(
        &dialects,
        |sheet| &sheet.refusals,
        |dialect, code, number| {
            refusals.sample(&[("dialect", dialect), ("code", code)], number);
        },
    );
    let mut acks = page
        .counter("antiphon_acks_total", "Events that were acknowledged because their client asked for it.");
    for (dialect, sheet) in &dialects {
        acks.sample(&[("dialect", dialect)], sheet.acks);
    }
}

fn by_name(
    dialects: &BTreeMap<&'static str, VoiceSheet>,
    which: impl Fn(&VoiceSheet) -> &Named,
    mut say: impl FnMut(&str, &str, u64),
) {
    for (dialect, sheet) in dialects {
        for (name, number) in which(sheet).clone().sorted() {
            say(dialect, name, number);
        }
    }
}

fn cores(page: &mut Page, all: &Sheet) {
    page.gauge("antiphon_topics", "Topics that somebody listens to, counted on each core.")
        .sample(&[], all.topics);
    let mut commands =
        page.histogram("antiphon_command_duration_seconds", "Time the core takes for a command; beyond the first 64 of a name every eighth is timed and stands for eight.");
    let mut by_name: Vec<_> = all.commands.iter().collect();
    by_name.sort_unstable_by_key(|(name, _)| *name);
    for (name, reading) in by_name {
        commands.reading(&[("command", name)], reading, NANOSECONDS);
    }
    page.counter("antiphon_letters_total", "Letters that cores have taken from their mailboxes.")
        .sample(&[], all.letters);
    page.histogram(
        "antiphon_turn_duration_seconds",
        "Time a core takes for a turn: everybody else on it waits.",
    )
    .reading(&[], &all.turns, NANOSECONDS);
}

/// Every number in `table`, by its key.
fn numbers(table: &impl serde::Serialize) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    // What has no form in JSON is no number either.
    if let Ok(Value::Object(table)) = serde_json::to_value(table) {
        for (name, value) in table {
            if let Some(number) = value.as_f64() {
                found.push((name, number));
            }
        }
    }
    found
}

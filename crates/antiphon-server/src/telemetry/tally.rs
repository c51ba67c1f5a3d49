//! What one core counts.
//!
//! Only the core's own thread counts and reads: the numbers are plain cells, and counting costs next to nothing. Whoever wants
//! to know asks the core with a letter and gets a [`Sheet`]. Events are counted by name once per fan-out group, never once per
//! receiver; the names are those that dialects know, so that there is no more of them than is documented.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use antiphon_wire::engine::Transport;

use super::histogram::{DURATIONS, Histogram};
use super::named::{Named, place_of};
use super::sheet::{Sheet, VoiceSheet};
use crate::cores::Core;
use crate::mount::VoiceId;

/// Names that one dialect's clients may be counted under. No documented API comes near it; it bounds one that accepts any name.
const MOST_NAMES: usize = 256;

/// Whom we turned away before there was a connection or a socket, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A browser page from an origin that is not allowed.
    Origin,
    /// No more connections are taken now.
    Full,
    /// The server stops.
    Stopping,
    /// The request is none that opens a session, or a WebSocket.
    Malformed,
    /// A session is named that does not exist.
    UnknownSession,
    /// Their address or network has enough.
    Crowded,
    /// A CONNECT to a namespace that is not served here, or to one too many.
    Namespace,
}

impl Refused {
    fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Full => "full",
            Self::Stopping => "stopping",
            Self::Malformed => "malformed",
            Self::UnknownSession => "unknown_session",
            Self::Crowded => "crowded",
            Self::Namespace => "namespace",
        }
    }
}

/// How many voices and mounts there are to count for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) voices: usize,
    pub(crate) mounts: usize,
}

/// One core's numbers, since it started.
pub(crate) struct Tally {
    opened: RefCell<Vec<[u64; 2]>>,
    upgraded: Cell<u64>,
    closed: RefCell<Named>,
    refused: RefCell<Named>,
    voices: RefCell<Vec<VoiceTally>>,
    received_bytes: [Cell<u64>; 2],
    sent_bytes: [Cell<u64>; 2],
    commands: RefCell<Vec<(&'static str, Commands)>>,
    letters: Cell<u64>,
    turns: Histogram,
}

/// Commands of one name. Asking the clock twice costs more than everything else that is counted of a command, so of many only
/// every eighth is timed, and stands for eight.
struct Commands {
    begun: u64,
    durations: Histogram,
}

/// Commands of one name that are all timed before others stand for them.
const ALL_TIMED: u64 = 64;

/// For how many commands one stands later.
const STANDS_FOR: u64 = 8;

#[derive(Default)]
struct VoiceTally {
    sockets: u64,
    received: HashMap<Box<str>, u64, foldhash::fast::RandomState>,
    unknown: u64,
    sent: Named,
    refusals: Named,
    acks: u64,
}

impl Tally {
    pub(crate) fn new(shape: Shape) -> Self {
        Self {
            opened: RefCell::new(vec![[0; 2]; shape.mounts]),
            upgraded: Cell::new(0),
            closed: RefCell::default(),
            refused: RefCell::default(),
            voices: RefCell::new((0..shape.voices).map(|_| VoiceTally::default()).collect()),
            received_bytes: Default::default(),
            sent_bytes: Default::default(),
            commands: RefCell::default(),
            letters: Cell::new(0),
            turns: Histogram::new(DURATIONS),
        }
    }

    /// A connection was opened on the mount with this number.
    pub(crate) fn opened(&self, mount: usize, transport: Transport) {
        if let Some(by_transport) = self.opened.borrow_mut().get_mut(mount) {
            by_transport[place(transport)] += 1;
        }
    }

    /// A connection went from polling to WebSocket.
    pub(crate) fn upgraded(&self) {
        self.upgraded.set(self.upgraded.get() + 1);
    }

    /// A connection was closed.
    pub(crate) fn closed(&self, reason: &'static str) {
        self.closed.borrow_mut().add(reason, 1);
    }

    /// Somebody was turned away.
    pub(crate) fn refused(&self, why: Refused) {
        self.refused.borrow_mut().add(why.name(), 1);
    }

    /// A socket was seated.
    pub(crate) fn seated(&self, voice: VoiceId) {
        self.voice(voice, |voice| voice.sockets += 1);
    }

    /// A socket is gone.
    pub(crate) fn parted(&self, voice: VoiceId) {
        self.voice(voice, |voice| voice.sockets = voice.sockets.saturating_sub(1));
    }

    /// A client said `event`; `None` stands for every name that its dialect does not know.
    pub(crate) fn received(&self, voice: VoiceId, event: Option<&str>) {
        self.voice(voice, |voice| {
            if let Some(number) = event.and_then(|event| voice.received.get_mut(event)) {
                *number += 1;
                return;
            }
            match event {
                Some(event) if voice.received.len() < MOST_NAMES => {
                    voice.received.insert(event.into(), 1);
                }
                Some(_) | None => voice.unknown += 1,
            }
        });
    }

    /// `event` was put into so many outboxes.
    pub(crate) fn sent(&self, voice: VoiceId, event: &'static str, receivers: u64) {
        self.voice(voice, |voice| voice.sent.add(event, receivers));
    }

    /// A CONNECT or an event was refused.
    pub(crate) fn refusal(&self, voice: VoiceId, code: &'static str) {
        self.voice(voice, |voice| voice.refusals.add(code, 1));
    }

    /// A client's event was acknowledged.
    pub(crate) fn acknowledged(&self, voice: VoiceId) {
        self.voice(voice, |voice| voice.acks += 1);
    }

    /// Bytes were read for packets.
    pub(crate) fn read_bytes(&self, transport: Transport, bytes: usize) {
        let cell = &self.received_bytes[place(transport)];
        cell.set(cell.get() + bytes as u64);
    }

    /// Bytes of packets were handed to the kernel, or to a waiting GET.
    pub(crate) fn wrote_bytes(&self, transport: Transport, bytes: usize) {
        let cell = &self.sent_bytes[place(transport)];
        cell.set(cell.get() + bytes as u64);
    }

    /// The core is to do a command. If it is one that is timed: for how many it stands.
    pub(crate) fn begun(&self, name: &'static str) -> Option<u64> {
        let mut commands = self.commands.borrow_mut();
        let known = place_of(&commands, name).unwrap_or_else(|| {
            commands.push((name, Commands { begun: 0, durations: Histogram::new(DURATIONS) }));
            commands.len() - 1
        });
        let number = commands[known].1.begun;
        commands[known].1.begun += 1;
        match number {
            0..ALL_TIMED => Some(1),
            _ => (number % STANDS_FOR == STANDS_FOR - 1).then_some(STANDS_FOR),
        }
    }

    /// The core did a command, whatever came of it; it stands for so many.
    pub(crate) fn command(&self, name: &'static str, took: Duration, stands_for: u64) {
        let commands = self.commands.borrow();
        if let Some(known) = place_of(&commands, name) {
            commands[known].1.durations.record_time_for(took, stands_for);
        }
    }

    /// A turn of the core is over.
    pub(crate) fn turn(&self, letters: usize, took: Duration) {
        self.letters.set(self.letters.get() + letters as u64);
        self.turns.record_time(took);
    }

    fn voice(&self, voice: VoiceId, note: impl FnOnce(&mut VoiceTally)) {
        if let Some(voice) = self.voices.borrow_mut().get_mut(usize::from(voice.0)) {
            note(voice);
        }
    }
}

fn place(transport: Transport) -> usize {
    match transport {
        Transport::Polling => 0,
        Transport::Websocket => 1,
    }
}

/// What a transport is called, by its place.
pub(crate) const TRANSPORTS: [&str; 2] = ["polling", "websocket"];

impl Core {
    /// Counts, if anything is counted.
    pub(crate) fn count(&self, note: impl FnOnce(&Tally)) {
        if let Some(tally) = &self.tally {
            note(tally);
        }
    }

    /// What this core has counted. Walks over its connections: some ten nanoseconds for each.
    pub(crate) fn sheet(&self) -> Option<Sheet> {
        let tally = self.tally.as_ref()?;
        let mut open = vec![[0; 2]; tally.opened.borrow().len()];
        let (mut waiting, mut fullest) = (0, 0);
        for (_, connection) in self.connections.borrow().iter() {
            if let Some(by_transport) = open.get_mut(connection.mount.number) {
                by_transport[place(connection.engine.borrow().transport())] += 1;
            }
            let bytes = connection.waiting_bytes() as u64;
            waiting += bytes;
            fullest = fullest.max(bytes);
        }
        let voices = tally.voices.borrow();
        let commands = tally.commands.borrow();
        Some(Sheet {
            open,
            opened: tally.opened.borrow().clone(),
            upgraded: tally.upgraded.get(),
            closed: tally.closed.borrow().clone(),
            refused: tally.refused.borrow().clone(),
            voices: voices.iter().map(VoiceTally::sheet).collect(),
            received_bytes: tally.received_bytes.each_ref().map(Cell::get),
            sent_bytes: tally.sent_bytes.each_ref().map(Cell::get),
            commands: commands.iter().map(|(name, commands)| (*name, commands.durations.read())).collect(),
            letters: tally.letters.get(),
            turns: tally.turns.read(),
            waiting,
            fullest,
            topics: self.rooms.borrow().count() as u64,
        })
    }
}

impl VoiceTally {
    fn sheet(&self) -> VoiceSheet {
        VoiceSheet {
            sockets: self.sockets,
            received: self.received.iter().map(|(name, number)| (name.clone(), *number)).collect(),
            unknown: self.unknown,
            sent: self.sent.clone(),
            refusals: self.refusals.clone(),
            acks: self.acks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOICE: VoiceId = VoiceId(0);

    #[test]
    fn what_is_timed_stands_for_every_command_that_was_done() {
        let tally = Tally::new(Shape { voices: 1, mounts: 0 });
        let mut timed = 0;
        for number in 1..=ALL_TIMED + 10 * STANDS_FOR {
            if let Some(stands_for) = tally.begun("PostMessage") {
                timed += 1;
                tally.command("PostMessage", Duration::from_micros(20), stands_for);
            }
            let counted: u64 = tally.commands.borrow()[0].1.durations.read().counts.iter().sum();
            assert!(counted <= number && number - counted < STANDS_FOR, "{counted} of {number}");
        }
        assert_eq!(timed, ALL_TIMED + 10);
        let reading = tally.commands.borrow()[0].1.durations.read();
        assert_eq!(reading.counts.iter().sum::<u64>(), ALL_TIMED + 10 * STANDS_FOR);
        assert_eq!(reading.sum, 20_000 * (ALL_TIMED + 10 * STANDS_FOR));
    }

    #[test]
    fn names_that_no_dialect_knows_are_one_number_and_so_are_too_many() {
        let tally = Tally::new(Shape { voices: 1, mounts: 0 });
        for number in 0..MOST_NAMES + 10 {
            tally.received(VOICE, Some(&number.to_string()));
        }
        tally.received(VOICE, Some("7"));
        tally.received(VOICE, None);
        let voices = tally.voices.borrow();
        assert_eq!(voices[0].received.len(), MOST_NAMES);
        assert_eq!((voices[0].received["7"], voices[0].unknown), (2, 11));
    }

    #[test]
    fn what_is_not_there_to_be_counted_for_is_passed_over() {
        let tally = Tally::new(Shape { voices: 0, mounts: 0 });
        tally.opened(3, Transport::Polling);
        tally.sent(VOICE, "x", 1);
        assert!(tally.voices.borrow().is_empty() && tally.opened.borrow().is_empty());
    }
}

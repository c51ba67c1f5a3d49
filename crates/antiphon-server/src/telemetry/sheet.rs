//! What a core answers when it is asked what it has counted, and what several answers are together.

use std::collections::BTreeMap;

use super::histogram::Reading;
use super::named::Named;

/// What one core had counted when it was asked, and what there was then.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    /// By mount and transport.
    pub(crate) open: Vec<[u64; 2]>,
    /// By mount and transport.
    pub(crate) opened: Vec<[u64; 2]>,
    pub(crate) upgraded: u64,
    pub(crate) closed: Named,
    pub(crate) refused: Named,
    pub(crate) voices: Vec<VoiceSheet>,
    /// By transport.
    pub(crate) received_bytes: [u64; 2],
    /// By transport.
    pub(crate) sent_bytes: [u64; 2],
    pub(crate) commands: Vec<(&'static str, Reading)>,
    pub(crate) letters: u64,
    pub(crate) turns: Reading,
    /// Bytes that wait in all outboxes together.
    pub(crate) waiting: u64,
    /// Bytes that wait in the fullest outbox.
    pub(crate) fullest: u64,
    /// Topics that somebody listens to here.
    pub(crate) topics: u64,
}

/// What was said and heard in one voice.
#[derive(Clone, Debug)]
pub(crate) struct VoiceSheet {
    pub(crate) sockets: u64,
    pub(crate) received: BTreeMap<Box<str>, u64>,
    pub(crate) unknown: u64,
    pub(crate) sent: Named,
    pub(crate) refusals: Named,
    pub(crate) acks: u64,
}

impl Sheet {
    /// Adds what another core of the same server has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in [(&mut self.open, &other.open), (&mut self.opened, &other.opened)] {
            for (mine, theirs) in mine.iter_mut().zip(theirs) {
                add_each(mine, theirs);
            }
        }
        self.upgraded += other.upgraded;
        self.closed.add_all(&other.closed);
        self.refused.add_all(&other.refused);
        for (mine, theirs) in self.voices.iter_mut().zip(&other.voices) {
            mine.add(theirs);
        }
        add_each(&mut self.received_bytes, &other.received_bytes);
        add_each(&mut self.sent_bytes, &other.sent_bytes);
        for (name, reading) in &other.commands {
            match self.commands.iter_mut().find(|(known, _)| known == name) {
                Some((_, mine)) => mine.add(reading),
                None => self.commands.push((name, reading.clone())),
            }
        }
        self.letters += other.letters;
        self.turns.add(&other.turns);
        self.waiting += other.waiting;
        self.fullest = self.fullest.max(other.fullest);
        self.topics += other.topics;
    }
}

impl VoiceSheet {
    /// Adds what was said and heard in another voice, or in the same one on another core.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sockets += other.sockets;
        for (name, more) in &other.received {
            *self.received.entry(name.clone()).or_default() += more;
        }
        self.unknown += other.unknown;
        self.sent.add_all(&other.sent);
        self.refusals.add_all(&other.refusals);
        self.acks += other.acks;
    }
}

fn add_each(mine: &mut [u64; 2], theirs: &[u64; 2]) {
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine += theirs;
    }
}

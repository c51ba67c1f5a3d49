//! What a session was told lately, within bounds, and what is left of it after an offset.
//!
//! Events to many are kept as the core's events, which all who heard them share, and are rendered again when somebody missed
//! them. What is volatile is not kept: its offset lies between those of its neighbours, which is all that one has to know of it.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_core::event::Envelope;
use antiphon_wire::socket::Encoded;
use serde::{Deserialize, Serialize};

use super::{Offset, Reason, Settings};

/// What one session was told, in order. Times are milliseconds since the start of this process; they are negative for what was
/// said before it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Journal {
    /// Where the first entry begins: whoever has had everything up to here has missed the entries and nothing else.
    base: Offset,
    /// Places on other cores that are as good as the base: nothing was said between them and it but that the session moved.
    #[serde(default)]
    elsewhere: Vec<Offset>,
    /// Whether the base is the beginning of the session.
    is_whole: bool,
    /// Why something was lost before the base that its client may not have had.
    lost: Option<Reason>,
    entries: VecDeque<Entry>,
    bytes: usize,
}

/// Something that was said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The offset of its first frame; the others follow.
    pub(crate) offset: Offset,
    /// Frames that it takes.
    pub(crate) frames: u8,
    /// Bytes that count for it.
    pub(crate) bytes: u32,
    pub(crate) at: i64,
    /// The number of the letter with the event in the logbook; 0 if it has none.
    #[serde(default)]
    pub(crate) letter: u64,
    pub(crate) what: What,
}

/// What was said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum What {
    /// An event that others may have heard, too.
    Event(Arc<Envelope>),
    /// A frame for this session alone, with its offset in it.
    Frame(#[serde(with = "frames")] Encoded),
    /// Nothing: from here on its offsets are those of another core. It has an offset of its own that nobody was told, so that those
    /// from an earlier stay on that core are before it.
    Moved,
}

/// Bytes that an entry takes besides what was said.
const ENTRY: u32 = size_of::<Entry>() as u32;

/// Where to go on: the entry, and how many of its frames were received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    entry: usize,
    received: u8,
}

impl Journal {
    /// Of a session that begins now; nothing was said to it yet that comes after `base`.
    pub(crate) fn new(base: Offset) -> Self {
        Self { base, elsewhere: Vec::new(), is_whole: true, lost: None, entries: VecDeque::new(), bytes: 0 }
    }

    /// The same at the end of what was said: with the same place to go on from, and nothing before it.
    pub(crate) fn without_entries(&self) -> Self {
        let mut journal = self.clone();
        while !journal.entries.is_empty() {
            journal.forget_first(Reason::Expired);
        }
        journal
    }

    /// The same before everything that was said, which can be [put back](Self::put_back).
    pub(super) fn emptied(&self) -> Self {
        let Self { base, is_whole, lost, .. } = *self;
        Self { elsewhere: self.elsewhere.clone(), is_whole, lost, ..Self::new(base) }
    }

    /// Adds an entry of another journal as it was there.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.bytes += entry.bytes as usize;
        self.entries.push_back(entry);
    }

    /// Counts all times from a moment that is so many milliseconds earlier.
    pub(super) fn shift(&mut self, by: i64) {
        for entry in &mut self.entries {
            entry.at = entry.at.saturating_add(by);
        }
    }

    /// Adds `entry`, and forgets what no longer fits. Whoever is connected has had long ago what is older than the window, so
    /// that goes as well; `is_ghost` says that nobody is.
    pub(crate) fn push(&mut self, mut entry: Entry, bounds: &Settings, is_ghost: bool) {
        let now = entry.at;
        entry.bytes = entry.bytes.saturating_add(ENTRY);
        self.bytes += entry.bytes as usize;
        self.entries.push_back(entry);
        while self.entries.len() > bounds.events || self.bytes > bounds.bytes {
            self.forget_first(Reason::TooMany);
        }
        if !is_ghost {
            self.forget_old(now, bounds);
        }
    }

    /// Adds the place at which the session moved to another core. It may be one too many for a moment: nothing is forgotten for it
    /// that is about to be said again.
    pub(crate) fn moves(&mut self, mut entry: Entry) {
        entry.bytes = ENTRY;
        self.bytes += entry.bytes as usize;
        self.entries.push_back(entry);
    }

    /// Forgets what is older than the window.
    pub(crate) fn forget_old(&mut self, now: i64, bounds: &Settings) {
        let before = now.saturating_sub_unsigned(bounds.window);
        while self.entries.front().is_some_and(|first| first.at < before) {
            self.forget_first(Reason::Expired);
        }
        if self.entries.is_empty() && self.entries.capacity() > 0 {
            self.entries = VecDeque::new();
        }
    }

    fn forget_first(&mut self, why: Reason) {
        let Some(first) = self.entries.pop_front() else { return };
        self.bytes -= first.bytes as usize;
        let base = std::mem::replace(&mut self.base, first.last());
        if matches!(first.what, What::Moved) {
            // Nothing was said: whoever has missed nothing before it has missed nothing after it.
            if !self.elsewhere.iter().any(|place| place.lane == base.lane) {
                self.elsewhere.push(base);
            }
            return;
        }
        self.elsewhere.clear();
        (self.is_whole, self.lost) = (false, Some(why));
    }

    /// Something up to `offset` was not kept: whoever has not had it cannot go on.
    pub(crate) fn lose(&mut self, offset: Offset) {
        self.entries.clear();
        self.elsewhere.clear();
        (self.base, self.bytes) = (offset, 0);
        (self.is_whole, self.lost) = (false, Some(Reason::TooMany));
    }

    /// Where to go on for a client that has had everything up to `offset`; nothing at all if there is none.
    pub(crate) fn position(&self, offset: Option<Offset>) -> Result<Position, Reason> {
        let lost = || self.lost.unwrap_or(Reason::Unknown);
        let Some(offset) = offset else {
            return if self.is_whole { Ok(Position { entry: 0, received: 0 }) } else { Err(lost()) };
        };
        let is_before = |place: &Offset| place.lane == offset.lane && place.number <= offset.number;
        if let Some(entry) = self.entries.iter().rposition(|entry| is_before(&entry.offset)) {
            let found = &self.entries[entry];
            let received = offset.number - found.offset.number + 1;
            return Ok(match u8::try_from(received) {
                Ok(received) if received < found.frames => Position { entry, received },
                _ => Position { entry: entry + 1, received: 0 },
            });
        }
        let is_after_base = std::iter::once(&self.base).chain(&self.elsewhere).any(is_before);
        if is_after_base { Ok(Position { entry: 0, received: 0 }) } else { Err(lost()) }
    }

    /// The client has had everything before `position`, whose offset it brought: that is never asked for again.
    pub(crate) fn confirm(&mut self, position: Position, offset: Offset) {
        for entry in self.entries.drain(..position.entry) {
            self.bytes -= entry.bytes as usize;
        }
        self.elsewhere.clear();
        (self.base, self.is_whole) = (offset, false);
    }

    /// What comes after everything that was confirmed, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// The events in it, in order.
    pub(crate) fn events(&self) -> impl Iterator<Item = &Arc<Envelope>> {
        self.entries.iter().filter_map(|entry| match &entry.what {
            What::Event(envelope) => Some(envelope),
            What::Frame(_) | What::Moved => None,
        })
    }

    /// Bytes that count for it.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Entry {
    /// The offset of its last frame.
    pub(super) fn last(&self) -> Offset {
        self.offset.plus(u64::from(self.frames).saturating_sub(1))
    }

    /// How many of its frames a client has had that has had everything up to `offset`.
    pub(crate) fn received(&self, offset: Option<Offset>) -> usize {
        let Some(offset) = offset.filter(|offset| offset.lane == self.offset.lane) else { return 0 };
        let received = (offset.number + 1).saturating_sub(self.offset.number);
        usize::try_from(received).unwrap_or(usize::MAX).min(usize::from(self.frames))
    }
}

/// How a frame is written down: as a text, in base64.
mod frames {
    use antiphon_wire::socket::Encoded;
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(frame: &Encoded, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(frame.frames()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Encoded, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(D::Error::custom)?;
        Ok(Encoded::from_frames(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::event::Event;
    use antiphon_core::ids::AgentId;
    use antiphon_core::topic::Topic;

    use super::super::Numbers;
    use super::*;

    const BOUNDS: fn() -> Settings =
        || Settings { window: 1_000, events: 4, bytes: 10_000, ..Settings::default() };

    fn envelope(agent: &str) -> Arc<Envelope> {
        let agent = AgentId::parse(agent).unwrap();
        Arc::new(Envelope::new(Topic::Agent(agent.clone()), Event::AgentDeleted { agent }))
    }

    /// An entry that takes the next `frames` numbers, said at `at`.
    fn said(numbers: &Numbers, frames: u8, at: i64) -> Entry {
        let offset = numbers.take(u64::from(frames));
        Entry { offset, frames, bytes: 100, at, letter: 0, what: What::Event(envelope("luna")) }
    }

    fn at(entry: usize, received: u8) -> Result<Position, Reason> {
        Ok(Position { entry, received })
    }

    #[test]
    fn bug_4733_whoever_received_nothing_yet_gets_everything() {
        let numbers = Numbers::new(1, 0);
        let mut journal = Journal::new(numbers.last());
        assert_eq!(journal.position(None), at(0, 0));
        for _ in 0..4 {
            journal.push(said(&numbers, 1, 0), &BOUNDS(), false);
        }
        assert_eq!(journal.position(None), at(0, 0));
        journal.push(said(&numbers, 1, 0), &BOUNDS(), false);
        assert_eq!(journal.position(None), Err(Reason::TooMany));
    }

    #[test]
    fn an_offset_says_where_to_go_on_to_the_frame() {
        let numbers = Numbers::new(1, 0);
        let begin = numbers.last();
        let mut journal = Journal::new(begin);
        let first = said(&numbers, 2, 0);
        let (one, two) = (first.offset, first.offset.plus(1));
        journal.push(first, &BOUNDS(), false);
        // A volatile event.
        let volatile = numbers.take(1);
        let last = said(&numbers, 1, 0);
        let three = last.offset;
        journal.push(last, &BOUNDS(), false);
        assert_eq!(journal.position(Some(begin)), at(0, 0));
        assert_eq!(journal.position(Some(one)), at(0, 1));
        assert_eq!(journal.position(Some(two)), at(1, 0));
        assert_eq!(journal.position(Some(volatile)), at(1, 0));
        assert_eq!(journal.position(Some(three)), at(2, 0));
        let elsewhere = Numbers::new(1, 1).take(1);
        let before = Numbers::new(0, 0).take(1);
        for unknown in [elsewhere, before] {
            assert_eq!(journal.position(Some(unknown)), Err(Reason::Unknown));
        }
        let entries: Vec<_> = journal.entries().map(|entry| entry.received(Some(one))).collect();
        assert_eq!(entries, [1, 0]);
    }

    #[test]
    fn what_does_not_fit_any_more_is_said_and_never_hidden() {
        let numbers = Numbers::new(1, 0);
        let mut journal = Journal::new(numbers.last());
        let offsets: Vec<_> = (0..6)
            .map(|_| {
                let entry = said(&numbers, 1, 0);
                let offset = entry.offset;
                journal.push(entry, &BOUNDS(), false);
                offset
            })
            .collect();
        // Four are kept, so whoever has had the second has missed nothing that is gone.
        assert_eq!(journal.position(Some(offsets[0])), Err(Reason::TooMany));
        assert_eq!(journal.position(Some(offsets[1])), at(0, 0));
        assert_eq!(journal.position(Some(offsets[5])), at(4, 0));
        let large = Entry { bytes: 9_900, ..said(&numbers, 1, 0) };
        let last = large.offset;
        journal.push(large, &BOUNDS(), false);
        assert_eq!(journal.position(Some(offsets[5])), at(0, 0));
        assert!(journal.bytes() <= BOUNDS().bytes);
        journal.push(Entry { bytes: 10_000, ..said(&numbers, 1, 0) }, &BOUNDS(), false);
        assert_eq!(journal.position(Some(last)), Err(Reason::TooMany));
        assert_eq!((journal.bytes(), journal.entries().count()), (0, 0));
    }

    #[test]
    fn what_is_old_goes_while_somebody_listens_and_waits_for_them_when_they_are_gone() {
        let numbers = Numbers::new(1, 0);
        let mut journal = Journal::new(numbers.last());
        let first = said(&numbers, 1, 0);
        let offset = first.offset;
        journal.push(first, &BOUNDS(), false);
        journal.push(said(&numbers, 1, 1_000), &BOUNDS(), false);
        journal.push(said(&numbers, 1, 1_500), &BOUNDS(), true);
        assert_eq!(journal.position(None), at(0, 0));
        journal.forget_old(1_500, &BOUNDS());
        assert_eq!(journal.position(None), Err(Reason::Expired));
        assert_eq!(journal.position(Some(offset)), at(0, 0));
        // Bug 5282: a connection on which nothing happens for long is resumed all the same.
        journal.forget_old(1_000_000, &BOUNDS());
        assert_eq!(journal.position(Some(numbers.last())), at(0, 0));
        assert_eq!(journal.bytes(), 0);
    }

    #[test]
    fn a_session_that_moves_between_cores_is_found_by_the_offsets_of_each() {
        let (here, there) = (Numbers::new(1, 0), Numbers::new(1, 1));
        let bounds = Settings { events: 100, ..BOUNDS() };
        there.take(50);
        let mut journal = Journal::new(here.last());
        journal.push(said(&here, 1, 0), &bounds, false);
        let old_volatile = here.take(1);
        let moved = Entry { offset: there.take(1), frames: 0, bytes: 0, at: 0, letter: 0, what: What::Moved };
        journal.moves(moved);
        let new_volatile = there.take(1);
        journal.push(said(&there, 1, 0), &bounds, false);
        let back = Entry { offset: here.take(1), frames: 0, bytes: 0, at: 0, letter: 0, what: What::Moved };
        journal.moves(back);
        journal.push(said(&here, 1, 0), &bounds, false);
        assert_eq!(journal.position(Some(old_volatile)), at(1, 0), "from the first stay");
        assert_eq!(journal.position(Some(new_volatile)), at(2, 0));
        assert_eq!(journal.position(Some(there.last())), at(3, 0));
        assert_eq!(journal.position(Some(here.last())), at(5, 0));
    }

    #[test]
    fn a_session_that_moved_and_was_told_nothing_since_is_resumed_however_long_ago_that_was() {
        let (here, there) = (Numbers::new(1, 0), Numbers::new(1, 1));
        let moved = |numbers: &Numbers| {
            let offset = numbers.take(1);
            Entry { offset, frames: 0, bytes: 0, at: 0, letter: 0, what: What::Moved }
        };
        let mut fresh = Journal::new(here.last());
        let mut journal = fresh.clone();
        let first = said(&here, 1, 0);
        let had = first.offset;
        journal.push(first, &BOUNDS(), false);
        let position = journal.position(Some(had)).unwrap();
        journal.confirm(position, had);
        for journal in [&mut journal, &mut fresh] {
            journal.moves(moved(&there));
            journal.moves(moved(&here));
            journal.forget_old(1_000_000, &BOUNDS());
        }
        for journal in [&journal, &journal.without_entries()] {
            for known in [had, there.last(), here.last()] {
                assert_eq!(journal.position(Some(known)), at(0, 0));
            }
            assert_eq!(journal.position(None), Err(Reason::Unknown));
        }
        assert_eq!(fresh.position(None), at(0, 0), "it was never told anything");
        journal.push(said(&here, 1, 1_000_000), &BOUNDS(), false);
        journal.forget_old(2_000_000, &BOUNDS());
        assert_eq!(journal.position(Some(had)), Err(Reason::Expired));
    }

    #[test]
    fn a_session_that_was_resumed_is_resumed_again_however_long_nothing_was_said() {
        let cores = [Numbers::new(1, 0), Numbers::new(1, 1)];
        let moved = |to: usize| Entry {
            offset: cores[to].take(1),
            frames: 0,
            bytes: 0,
            at: 0,
            letter: 0,
            what: What::Moved,
        };
        let mut journal = Journal::new(cores[0].last());
        let said = said(&cores[0], 1, 0);
        let known = said.offset;
        journal.push(said, &BOUNDS(), false);
        for to in [0, 1, 0, 1, 0, 0] {
            let position = journal.position(Some(known)).expect("nothing was missed");
            journal.confirm(position, known);
            journal.moves(moved(to));
            journal.forget_old(1_000_000, &BOUNDS());
            for offset in [known, cores[to].take(1)] {
                assert_eq!(journal.position(Some(offset)), at(0, 0));
            }
        }
        let mut silent = Journal::new(cores[0].last());
        for round in 0..10 {
            silent.moves(moved(round % 2));
            silent.forget_old(1_000_000, &BOUNDS());
            assert_eq!(silent.position(None), at(0, 0), "it received nothing yet");
        }
        assert_eq!(silent.elsewhere.len(), 2, "each core once");
    }

    #[test]
    fn what_a_client_has_had_is_not_kept_for_it() {
        let numbers = Numbers::new(1, 0);
        let mut journal = Journal::new(numbers.last());
        journal.push(said(&numbers, 1, 0), &BOUNDS(), false);
        let two = said(&numbers, 2, 0);
        let offset = two.offset;
        journal.push(two, &BOUNDS(), false);
        let position = journal.position(Some(offset)).unwrap();
        journal.confirm(position, offset);
        assert_eq!(journal.entries().count(), 1);
        assert_eq!(journal.position(Some(offset)), at(0, 1));
        assert_eq!(journal.position(None), Err(Reason::Unknown));
    }

    #[test]
    fn a_journal_is_the_same_after_it_was_written_down() {
        let numbers = Numbers::new(1, 0);
        let mut journal = Journal::new(numbers.last());
        journal.push(said(&numbers, 1, -5), &BOUNDS(), false);
        let offset = numbers.take(1);
        let frame = Encoded::event_ending("/", "welcome", b"{}", &offset.to_string(), &[]);
        let alone =
            Entry { offset, frames: 1, bytes: 10, at: 0, letter: 0, what: What::Frame(frame.clone()) };
        journal.push(alone, &BOUNDS(), false);
        let text = serde_json::to_string(&journal).unwrap();
        let read: Journal = serde_json::from_str(&text).unwrap();
        assert_eq!(read.bytes(), journal.bytes());
        assert_eq!(read.position(Some(offset)), journal.position(Some(offset)));
        let Some(What::Frame(again)) = read.entries().last().map(|entry| entry.what.clone()) else {
            panic!()
        };
        assert_eq!(again.frames(), frame.frames());
        assert_eq!((journal.events().count(), read.events().count()), (1, 1));
    }
}

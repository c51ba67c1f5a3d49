//! What the last run left.
//!
//! The pages of each core are read from the oldest that is kept: its head has the sessions as they were, and what they were told
//! since is added as it was then. A letter that was posted to a core and not read there is what its sessions still have to hear.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use antiphon_core::actor::SecretHash;
use antiphon_core::event::Envelope;
use antiphon_core::ids::ConnectionId;
use antiphon_core::ports::Untold;
use antiphon_core::topic::Topic;

use super::line::{Begun, Id, Line, Note, Short, Sitting};
use super::record::{End, Records};
use super::runs::Marker;
use super::{pages, segments};
use crate::resume::journal::{Entry, What};
use crate::resume::{Bound, Kept, Lane, Offset, Reason, Settings};

/// What the last run left.
#[derive(Default)]
pub(crate) struct Past {
    /// The sessions that can be resumed.
    pub(crate) sessions: Vec<Survivor>,
    /// Those that cannot, and why.
    pub(crate) lapsed: Vec<(SecretHash, Reason)>,
    /// The letters of late, in order, with their numbers.
    pub(crate) letters: Vec<(u64, Arc<Envelope>)>,
    /// What was stored, or was about to be, and of which it is not known that it was told.
    pub(crate) untold: Vec<Untold>,
}

/// A session that can be resumed.
pub(crate) struct Survivor {
    pub(crate) pid: SecretHash,
    pub(crate) bound: Bound,
    /// What was kept of it. The times are those of this run, before 0; the letters' numbers hold in this run as well.
    pub(crate) kept: Kept,
    /// Where it listened.
    pub(crate) topics: Vec<Topic>,
    /// What its core had not read yet and it should have heard, in order: to be told it as if it came now, once it is seated. None
    /// of that is in its journal.
    pub(crate) unread: Vec<(u64, Arc<Envelope>)>,
    /// Milliseconds for which it may still wait for its client.
    pub(crate) left: i64,
}

/// The past, and what the book needs besides.
#[derive(Default)]
pub(super) struct Left {
    pub(super) past: Past,
    /// When each of the letters was written, in milliseconds since the start of this process.
    pub(super) at: Vec<i64>,
    /// The number of the last one.
    pub(super) last: u64,
}

/// A letter that was written.
struct Letter {
    at: i64,
    /// The cores to which it was posted, or was about to be.
    cores: Vec<u16>,
    /// Whether it may have been about to be posted to others as well.
    is_underway: bool,
    except: Option<ConnectionId>,
    envelope: Arc<Envelope>,
}

/// All letters, and what was to be told.
#[derive(Default)]
struct Letters {
    by_number: HashMap<u64, Letter>,
    /// The last one of each thread.
    underway: HashMap<u32, u64>,
    untold: Vec<Untold>,
}

/// What a core has written.
#[derive(Default)]
struct Book {
    lines: Vec<Line>,
    /// The letters that it was done with.
    read: HashSet<u64>,
    /// It was done with those up to here long before what is kept of its pages begins.
    floor: u64,
    /// When it wrote last.
    at: i64,
    /// Whether something is missing at the end that its clients may have been told.
    is_damaged: bool,
}

/// A socket that had a session.
struct Session {
    order: u64,
    pid: SecretHash,
    bound: Bound,
    kept: Kept,
    catching_up: bool,
    ghost_since: Option<i64>,
    has_ended: bool,
}

/// What was on a core.
struct Desk<'a> {
    lane: Lane,
    letters: &'a Letters,
    settings: &'a Settings,
    sessions: HashMap<Id, Session>,
    seats: HashMap<Id, Vec<Sitting>>,
}

/// Letters that sessions were told, of those that some core has not read.
#[derive(Default)]
struct Heard {
    unread: HashSet<u64>,
    by: HashMap<SecretHash, HashSet<u64>>,
}

/// Reads what is below the directory `run` and what `marker` says to be there. It is the time of day `wall`.
pub(super) fn read(run: &Path, marker: &Marker, settings: &Settings, wall: i64) -> io::Result<Left> {
    let directory = run.join(marker.epoch.to_string());
    let letters = Letters::read(&directory)?;
    let books = (0..marker.cores).map(|core| Book::read(&directory, core)).collect::<io::Result<Vec<_>>>()?;
    let now = wall.saturating_sub(marker.wall);
    let mut heard = Heard::default();
    for (core, book) in (0..).zip(&books) {
        heard.unread.extend(letters.unread_by(core, book).map(|(number, _)| number));
    }
    let mut pids = HashMap::new();
    let mut at: HashMap<SecretHash, (u64, u16, Id)> = HashMap::new();
    let mut desks = Vec::new();
    for (core, book) in (0..).zip(&books) {
        let mut desk = Desk::new(Lane::new(marker.run, core), &letters, settings);
        for line in &book.lines {
            desk.follow(line, &mut heard);
        }
        for (id, session) in &desk.sessions {
            pids.insert(ConnectionId { core, slot: id.0, generation: id.1 }, session.pid);
            let place = (session.order, core, *id);
            at.entry(session.pid).and_modify(|known| *known = (*known).max(place)).or_insert(place);
        }
        desks.push(desk);
    }
    let mut places: Vec<_> = at.into_values().collect();
    places.sort_unstable();
    let alive =
        books.iter().map(|book| book.at).chain(letters.by_number.values().map(|letter| letter.at)).max();
    // Every core writes something in the time of a page.
    let killed = alive.unwrap_or(0).saturating_add(segments::TURN).min(now);
    let mut past = Past { untold: letters.untold.clone(), ..Past::default() };
    for (_, core, id) in places {
        let (desk, book) = (&mut desks[usize::from(core)], &books[usize::from(core)]);
        let Some(session) = desk.sessions.remove(&id).filter(|session| !session.has_ended) else { continue };
        let seats = desk.seats.remove(&id).unwrap_or_default();
        let since = session.ghost_since.unwrap_or(killed);
        let window = i64::try_from(settings.window).unwrap_or(i64::MAX);
        let left = since.saturating_add(window).saturating_sub(now).min(window);
        if let Some(why) = why_not(&session, &seats, &past.untold, left, book.is_damaged) {
            past.lapsed.push((session.pid, why));
            continue;
        }
        let hears = |(number, letter): &(u64, &Letter)| {
            !heard.knows(&session.pid, *number)
                && letter.except.is_none_or(|id| pids.get(&id) != Some(&session.pid))
                && letter.is_for(&seats, *number)
        };
        let unread = letters.unread_by(core, book).filter(hears);
        let mut unread: Vec<_> = unread.map(|(number, letter)| (number, letter.envelope.clone())).collect();
        unread.sort_unstable_by_key(|(number, _)| *number);
        let Session { pid, bound, mut kept, .. } = session;
        kept.journal.shift(now.saturating_neg());
        let topics = seats.into_iter().map(|(topic, _)| topic).collect();
        past.sessions.push(Survivor { pid, bound, kept, topics, unread, left });
    }
    let last = letters.by_number.keys().max().copied().unwrap_or(0);
    let mut all: Vec<_> = letters.by_number.into_iter().collect();
    all.sort_unstable_by_key(|(number, _)| *number);
    let at = all.iter().map(|(_, letter)| letter.at.saturating_sub(now)).collect();
    past.letters = all.into_iter().map(|(number, letter)| (number, letter.envelope)).collect();
    Ok(Left { past, at, last })
}

/// Why `session` cannot be resumed, if that is so.
fn why_not(
    session: &Session,
    seats: &[Sitting],
    untold: &[Untold],
    left: i64,
    is_damaged: bool,
) -> Option<Reason> {
    // What of these topics has changed is not stored as something that could be told once more.
    let is_of_state = |topic: &Topic| {
        matches!(topic, Topic::Task(_) | Topic::Dashboard | Topic::Agent(_) | Topic::Named(_))
    };
    let misses_state = untold.contains(&Untold::Other) && seats.iter().any(|(topic, _)| is_of_state(topic));
    if is_damaged || misses_state {
        Some(Reason::Unknown)
    } else if session.catching_up {
        Some(Reason::CatchingUp)
    } else {
        (left <= 0).then_some(Reason::Expired)
    }
}

impl Letter {
    /// Whether a socket with these `seats` is to hear it.
    fn is_for(&self, seats: &[Sitting], number: u64) -> bool {
        let Envelope { topic, also, unless, .. } = &*self.envelope;
        let is_heard_there =
            |(seat, since): &Sitting| *since < number && (seat == topic || also.contains(seat));
        let has_it_elsewhere =
            unless.as_ref().is_some_and(|unless| seats.iter().any(|(seat, _)| seat == unless));
        !has_it_elsewhere && seats.iter().any(is_heard_there)
    }
}

impl Letters {
    fn read(directory: &Path) -> io::Result<Self> {
        let mut letters = Self::default();
        let read = each_record(directory, "letters", |_, number, bytes| {
            let Ok(note) = serde_json::from_slice(bytes) else { return false };
            letters.take(number, note);
            true
        })?;
        if read != End::Whole {
            // Nobody can know what is not there.
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the letters are damaged"));
        }
        for number in letters.underway.values() {
            if let Some(letter) = letters.by_number.get_mut(number) {
                letter.is_underway = true;
            }
        }
        Ok(letters)
    }

    fn take(&mut self, number: u64, note: Note) {
        match note {
            Note::Letter { at, thread, core, except, envelope } => {
                if thread != 0 {
                    self.underway.insert(thread, number);
                }
                let cores = core.into_iter().collect();
                self.by_number.insert(number, Letter { at, cores, is_underway: false, except, envelope });
            }
            Note::Also { core } => {
                if let Some(letter) = self.by_number.get_mut(&number) {
                    letter.cores.push(core);
                }
            }
            // What is named twice is told once by whoever tells it.
            Note::Commits(untold) => self.untold.extend(untold),
            Note::Told { thread } => {
                self.untold.clear();
                self.underway.remove(&thread);
            }
        }
    }

    /// Those that `core`, which has written `book`, may have had to read and has not.
    fn unread_by<'a>(&'a self, core: u16, book: &'a Book) -> impl Iterator<Item = (u64, &'a Letter)> {
        let is_for_it = move |letter: &Letter| letter.is_underway || letter.cores.contains(&core);
        let has_read = |number: &u64| *number <= book.floor || book.read.contains(number);
        self.by_number
            .iter()
            .map(|(number, letter)| (*number, letter))
            .filter(move |(number, letter)| is_for_it(letter) && !has_read(number))
    }
}

impl Book {
    fn read(directory: &Path, core: u16) -> io::Result<Self> {
        let mut book = Self::default();
        let mut next = None;
        let read = each_record(directory, &pages::name(core), |is_first, number, bytes| {
            let lines = serde_json::Deserializer::from_slice(bytes).into_iter::<Line>();
            let Ok(lines) = lines.collect::<Result<Vec<_>, _>>() else { return false };
            let has_head = matches!(lines.first(), Some(Line::Head { .. }));
            if has_head != is_first || next.is_some_and(|next| next != number) {
                return false;
            }
            if let (None, true, Some(Line::Head { last, .. })) = (next, number > 1, lines.first()) {
                book.floor = *last;
            }
            next = Some(number + 1);
            for line in lines {
                book.take(line);
            }
            true
        })?;
        // Its sessions are known as far as they could be read: they cannot be resumed.
        book.is_damaged = read != End::Whole || next.is_none();
        if book.is_damaged {
            tracing::warn!(
                core,
                "what was written down of sessions is damaged; those of one core are not resumed"
            );
        }
        Ok(book)
    }

    fn take(&mut self, line: Line) {
        match line {
            Line::Read(letters) => self.read.extend(letters),
            Line::At(at) => self.at = self.at.max(at),
            // The lines before it have said so.
            Line::Head { .. } if !self.lines.is_empty() => {}
            line => self.lines.push(line),
        }
    }
}

/// Has `take` look at each record in the files called `name`, with its number, and whether it is the first of its file, until it
/// finds that one is wrong. A record that is torn at the end of the last file was not written to its end before the process
/// died, and is none.
fn each_record(
    directory: &Path,
    name: &str,
    mut take: impl FnMut(bool, u64, &[u8]) -> bool,
) -> io::Result<End> {
    let Some(files) = segments::list(directory, name)? else { return Ok(End::Wrong) };
    for (index, path) in files.iter().enumerate() {
        let bytes = std::fs::read(path)?;
        let mut records = Records::of(&bytes);
        let mut is_first = true;
        for (number, record) in records.by_ref() {
            if !take(is_first, number, record) {
                return Ok(End::Wrong);
            }
            is_first = false;
        }
        let is_last = index + 1 == files.len();
        if records.end != End::Whole && !(is_last && records.end == End::Torn) {
            return Ok(End::Wrong);
        }
    }
    Ok(End::Whole)
}

impl<'a> Desk<'a> {
    fn new(lane: Lane, letters: &'a Letters, settings: &'a Settings) -> Self {
        Self { lane, letters, settings, sessions: HashMap::new(), seats: HashMap::new() }
    }

    fn follow(&mut self, line: &Line, heard: &mut Heard) {
        match line {
            Line::Head { sessions, to_come, .. } => {
                for begun in sessions {
                    self.begins(begun, heard);
                }
                self.seats.extend(to_come.iter().cloned());
            }
            Line::Begins(begun) => self.begins(begun, heard),
            Line::Sits(id, topic, since) => {
                self.seats.entry(*id).or_default().push((topic.clone(), *since));
            }
            Line::Rises(id, topic) => {
                if let Some(seats) = self.seats.get_mut(id) {
                    seats.retain(|(seat, _)| seat != topic);
                }
            }
            Line::Kept { letter, number, frames, bytes, at, by } => {
                let offset = Offset { lane: self.lane, number: *number };
                let entry =
                    Short::Letter { letter: *letter, offset, frames: *frames, bytes: *bytes, at: *at };
                self.keep(self.entry(&entry), by, heard);
            }
            Line::Said { entry, by } => self.keep(Ok((**entry).clone()), by, heard),
            Line::Loses(id, offset) => self.of(*id, |session| session.kept.journal.lose(*offset)),
            Line::CatchesUp(id, whether) => self.of(*id, |session| session.catching_up = *whether),
            Line::Waits(id, since) => self.of(*id, |session| session.ghost_since = Some(*since)),
            Line::Ends(id) => {
                self.seats.remove(id);
                self.of(*id, |session| session.has_ended = true);
            }
            // They were taken into account before.
            Line::At(_) | Line::Read(_) => {}
        }
    }

    fn of(&mut self, id: Id, change: impl FnOnce(&mut Session)) {
        if let Some(session) = self.sessions.get_mut(&id) {
            change(session);
        }
    }

    fn begins(&mut self, begun: &Begun, heard: &mut Heard) {
        let mut kept = begun.kept.clone();
        for short in &begun.entries {
            match self.entry(short) {
                Ok(entry) => {
                    heard.note(&begun.pid, entry.letter);
                    kept.journal.put_back(entry);
                }
                Err(last) => kept.journal.lose(last),
            }
        }
        self.seats.insert(begun.id, begun.seats.clone());
        self.sessions.insert(
            begun.id,
            Session {
                order: begun.order,
                pid: begun.pid,
                bound: begun.bound.clone(),
                kept,
                catching_up: begun.catching_up,
                ghost_since: begun.ghost_since,
                has_ended: false,
            },
        );
    }

    /// The entry that was written as `short`; the offset of its last frame when its letter is not there any more.
    fn entry(&self, short: &Short) -> Result<Entry, Offset> {
        match short {
            Short::Whole(entry) => Ok((**entry).clone()),
            Short::Letter { letter, offset, frames, bytes, at } => {
                let Some(known) = self.letters.by_number.get(letter) else {
                    return Err(offset.plus(u64::from(*frames).saturating_sub(1)));
                };
                let what = What::Event(known.envelope.clone());
                let (offset, frames, bytes, at, letter) = (*offset, *frames, *bytes, *at, *letter);
                Ok(Entry { offset, frames, bytes, at, letter, what })
            }
        }
    }

    /// All of `by` were told this, or something that is not there any more.
    fn keep(&mut self, entry: Result<Entry, Offset>, by: &[Id], heard: &mut Heard) {
        for id in by {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            match &entry {
                Ok(entry) => {
                    heard.note(&session.pid, entry.letter);
                    let is_ghost = session.ghost_since.is_some();
                    session.kept.journal.push(entry.clone(), self.settings, is_ghost);
                }
                Err(last) => session.kept.journal.lose(*last),
            }
        }
    }
}

impl Heard {
    fn note(&mut self, pid: &SecretHash, letter: u64) {
        if letter != 0 && self.unread.contains(&letter) {
            self.by.entry(*pid).or_default().insert(letter);
        }
    }

    fn knows(&self, pid: &SecretHash, letter: u64) -> bool {
        self.by.get(pid).is_some_and(|letters| letters.contains(&letter))
    }
}

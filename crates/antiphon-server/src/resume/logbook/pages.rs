//! What one core writes down.
//!
//! Lines wait until the end of a turn and become one record, written at once: a turn is in the book as a whole or not at all.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use antiphon_core::actor::SecretHash;
use antiphon_core::ids::ConnectionId;
use antiphon_core::topic::Topic;
use foldhash::fast::RandomState;

use super::book::{Logbook, Opened, SETTLED};
use super::line::{self, Begun, Id, Line, Short, Sitting};
use super::segments::Segments;
use super::{Seated, record};
use crate::resume::journal::Entry;
use crate::resume::{Bound, Kept, Lane, Offset};

/// Bytes that are kept for the next turn.
const KEPT: usize = 64 * 1024;

/// What one core writes down. Nothing is lost when it is dropped.
pub(crate) struct Pages {
    book: Arc<Logbook>,
    core: u16,
    /// That of the core's own offsets.
    lane: Lane,
    /// Whether there is nothing to write.
    is_clean: Cell<bool>,
    in_hand: Cell<u64>,
    desk: RefCell<Desk>,
}

struct Desk {
    now: i64,
    /// `None` while nothing is written.
    page: Option<Page>,
    /// The record to be written: only while there is a page.
    buffer: Vec<u8>,
    group: Option<Group>,
    /// Letters that the core is done with. Counted without a page as well, because its head needs them.
    read: Vec<u64>,
    here: HashMap<ConnectionId, Here, RandomState>,
    /// Since when the core has known that letters are written again, and in which epoch.
    seen: Option<(u64, i64)>,
}

struct Page {
    epoch: u64,
    segments: Segments,
    /// The first number of a letter that was written in this epoch.
    first: u64,
    /// That of the next record.
    next: u64,
    /// Whether anything was written after the head.
    is_used: bool,
}

/// Those who were told the same.
struct Group {
    letter: u64,
    offset: Offset,
    said: Said,
    by: Vec<Id>,
}

enum Said {
    Letter { frames: u8, bytes: u32, at: i64 },
    Whole(Box<Entry>),
}

/// A socket that may be resumed.
#[derive(Default)]
struct Here {
    /// The order of its session's beginning.
    begun: Option<u64>,
    seats: Vec<Sitting>,
}

/// What there is to do about the page.
enum Turn {
    Nothing,
    Over,
    Begin(Opened),
}

impl Pages {
    pub(super) fn begin(book: Arc<Logbook>, core: u16) -> Self {
        let pages = Self {
            lane: Lane::new(book.run, core),
            core,
            is_clean: Cell::new(true),
            in_hand: Cell::new(0),
            desk: RefCell::new(Desk {
                now: 0,
                page: None,
                buffer: Vec::new(),
                group: None,
                read: Vec::new(),
                here: HashMap::default(),
                seen: None,
            }),
            book,
        };
        if let Some(opened) = pages.book.opened(0).filter(|opened| opened.since < 0) {
            pages.begin_in(opened, Vec::new());
        }
        pages
    }

    /// The session `pid` begins in the socket `id`, or has come there from another one or another run, with all that was `kept`. What
    /// it has heard there before is to be [kept](Self::kept) before the next [`write_down`](Self::write_down).
    pub(crate) fn begins(&self, id: ConnectionId, pid: SecretHash, bound: &Bound, kept: &Kept) {
        self.change(|desk| {
            let order = self.book.next_beginning();
            let here = desk.here(&self.book, id);
            here.begun = Some(order);
            let seats = here.seats.clone();
            let Some(page) = &desk.page else { return None };
            let entries = Short::all_of(&kept.journal, page.first);
            let (bound, kept) = (bound.clone(), kept.with(kept.journal.emptied()));
            Some(Line::Begins(Box::new(Begun {
                id: short(id),
                order,
                pid,
                bound,
                kept,
                entries,
                seats,
                catching_up: false,
                ghost_since: None,
            })))
        });
    }

    /// The socket `id`, which may be resumed, hears `topic` from now on. It may do so before its session [`begins`](Self::begins)
    /// there. To be called when the bus knows it.
    pub(crate) fn sits(&self, id: ConnectionId, topic: &Topic) {
        self.change(|desk| {
            let since = self.book.last_letter();
            desk.here(&self.book, id).seats.push((topic.clone(), since));
            Some(Line::Sits(short(id), topic.clone(), since))
        });
    }

    /// It no longer hears `topic`.
    pub(crate) fn rises(&self, id: ConnectionId, topic: &Topic) {
        self.change(|desk| {
            let here = desk.here.get_mut(&id)?;
            here.seats.retain(|(seat, _)| seat != topic);
            if here.seats.is_empty() && here.begun.is_none() {
                desk.here.remove(&id);
                self.book.fewer(1);
            }
            Some(Line::Rises(short(id), topic.clone()))
        });
    }

    /// The letter in hand from now on; 0 for none.
    pub(crate) fn reads(&self, letter: u64) {
        self.in_hand.set(letter);
    }

    /// The letter in hand, which an [`Entry`] with an event has for its number.
    pub(crate) fn in_hand(&self) -> u64 {
        self.in_hand.get()
    }

    /// `entry`, as it is before a journal counts it, is part of the session in `id` from now on. An event whose letter has a number
    /// is written as that, everything else as a whole.
    pub(crate) fn kept(&self, id: ConnectionId, entry: &Entry) {
        let desk = &mut *self.desk.borrow_mut();
        let Some(page) = &desk.page else { return };
        self.is_clean.set(false);
        if let Some(group) = &mut desk.group
            && group.offset == entry.offset
            && group.letter == entry.letter
        {
            return group.by.push(short(id));
        }
        let Entry { offset, frames, bytes, at, letter, .. } = *entry;
        let said = if offset.lane == self.lane && line::is_written(entry, page.first) {
            Said::Letter { frames, bytes, at }
        } else {
            Said::Whole(Box::new(entry.clone()))
        };
        desk.close_group();
        desk.group = Some(Group { letter, offset, said, by: vec![short(id)] });
    }

    /// This core is done with a letter, whoever heard it. None is in hand any more.
    pub(crate) fn has_read(&self, letter: u64) {
        self.in_hand.set(0);
        if letter != 0 {
            self.desk.borrow_mut().read.push(letter);
            self.is_clean.set(false);
        }
    }

    /// Something up to `offset` was not kept for the session in `id`.
    pub(crate) fn loses(&self, id: ConnectionId, offset: Offset) {
        self.change(|_| Some(Line::Loses(short(id), offset)));
    }

    /// Whether the socket `id` is being told the past of a conversation: until that is over its session cannot be resumed.
    pub(crate) fn catches_up(&self, id: ConnectionId, whether: bool) {
        self.change(|_| Some(Line::CatchesUp(short(id), whether)));
    }

    /// The session in `id` waits for its client, since so many milliseconds after the start of this process.
    pub(crate) fn waits(&self, id: ConnectionId, since: i64) {
        self.change(|_| Some(Line::Waits(short(id), since)));
    }

    /// The session in `id` is over, or was handed over to another socket, whose core says that it begins there. To be called before it
    /// leaves its topics: it is written at once, since from then on letters for the session go elsewhere.
    pub(crate) fn ends(&self, id: ConnectionId) {
        self.change(|desk| {
            desk.here.remove(&id)?;
            self.book.fewer(1);
            Some(Line::Ends(short(id)))
        });
        self.write_down();
    }

    /// Writes down what has not been written yet, at once. To be called before any byte of the turn goes to a client.
    pub(crate) fn write_down(&self) {
        if self.is_clean.get() {
            return;
        }
        let desk = &mut *self.desk.borrow_mut();
        if desk.page.as_ref().is_some_and(|page| page.epoch != self.book.epoch()) {
            desk.throw_away();
        }
        if desk.page.is_none() {
            // What was read is for the head.
            return;
        }
        self.is_clean.set(true);
        if let Err((epoch, error)) = desk.write() {
            self.book.could_not(epoch, &error);
            desk.throw_away();
        }
    }

    /// Turns the page over if it is time, and begins anew after a failure: only then is `head` asked for all sessions of the core as
    /// they are now. To be called in every turn, after the letters that it took, with the milliseconds since the start of this process.
    pub(crate) fn turn_over(&self, uptime: i64, head: impl FnOnce() -> Vec<Seated>) {
        self.book.is_now(uptime);
        let turn = self.desk.borrow_mut().turn(&self.book, uptime);
        match turn {
            Turn::Nothing => {}
            Turn::Begin(opened) => self.begin_in(opened, head()),
            Turn::Over => {
                self.write_down();
                let sessions = head();
                let desk = &mut *self.desk.borrow_mut();
                if let Err((epoch, error)) = desk.turn_over(&self.book, sessions) {
                    self.book.could_not(epoch, &error);
                    desk.throw_away();
                }
            }
        }
    }

    fn begin_in(&self, opened: Opened, sessions: Vec<Seated>) {
        let Opened { epoch, directory, first, .. } = opened;
        let desk = &mut *self.desk.borrow_mut();
        desk.throw_away();
        let begun = Segments::begin(&directory, &name(self.core), desk.now)
            .map_err(|error| (epoch, error))
            .and_then(|segments| {
                desk.page = Some(Page { epoch, segments, first, next: 1, is_used: false });
                record::begin(&mut desk.buffer);
                desk.write_head(&self.book, sessions)
            });
        match begun {
            Ok(()) => {
                self.is_clean.set(true);
                self.book.has_begun(self.core, epoch);
            }
            Err((epoch, error)) => {
                self.book.could_not(epoch, &error);
                desk.throw_away();
            }
        }
    }

    /// Makes a change, and takes down the line that says so.
    fn change(&self, change: impl FnOnce(&mut Desk) -> Option<Line>) {
        let desk = &mut *self.desk.borrow_mut();
        if let Some(line) = change(desk)
            && desk.page.is_some()
        {
            desk.close_group();
            line::append(&mut desk.buffer, &line);
            self.is_clean.set(false);
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.write_down();
        self.book.fewer(self.desk.borrow().here.len());
    }
}

impl Desk {
    fn here(&mut self, book: &Logbook, id: ConnectionId) -> &mut Here {
        self.here.entry(id).or_insert_with(|| {
            book.one_more();
            Here::default()
        })
    }

    fn close_group(&mut self) {
        let Some(Group { letter, offset, said, by }) = self.group.take() else { return };
        let line = match said {
            Said::Letter { frames, bytes, at } => {
                Line::Kept { letter, number: offset.number, frames, bytes, at, by }
            }
            Said::Whole(entry) => Line::Said { entry, by },
        };
        line::append(&mut self.buffer, &line);
    }

    /// Writes the record that waits, and begins the next.
    fn write(&mut self) -> Result<(), (u64, io::Error)> {
        self.close_group();
        if !self.read.is_empty() {
            line::append(&mut self.buffer, &Line::Read(std::mem::take(&mut self.read)));
        }
        let Some(page) = &mut self.page else { return Ok(()) };
        if record::is_empty(&self.buffer) {
            return Ok(());
        }
        line::append(&mut self.buffer, &Line::At(self.now));
        let written =
            record::finish(&mut self.buffer, page.next).and_then(|()| page.segments.write(&self.buffer));
        (page.next, page.is_used) = (page.next + 1, true);
        record::begin(&mut self.buffer);
        self.buffer.shrink_to(KEPT);
        written.map_err(|error| (page.epoch, error))
    }

    fn write_head(&mut self, book: &Logbook, sessions: Vec<Seated>) -> Result<(), (u64, io::Error)> {
        let head = self.head(book.last_letter(), sessions);
        line::append(&mut self.buffer, &head);
        self.write()?;
        if let Some(page) = &mut self.page {
            page.is_used = false;
        }
        Ok(())
    }

    fn head(&self, last: u64, sessions: Vec<Seated>) -> Line {
        let begun = sessions.into_iter().filter_map(|seated| {
            let Seated { id, pid, bound, kept, catching_up, ghost_since } = seated;
            let here = self.here.get(&id)?;
            let (order, seats) = (here.begun?, here.seats.clone());
            let id = short(id);
            Some(Begun { id, order, pid, bound, kept, entries: Vec::new(), seats, catching_up, ghost_since })
        });
        let to_come = self.here.iter().filter(|(_, here)| here.begun.is_none());
        Line::Head {
            last,
            sessions: begun.collect(),
            to_come: to_come.map(|(id, here)| (short(*id), here.seats.clone())).collect(),
        }
    }

    /// What there is to do about the page at `now`.
    fn turn(&mut self, book: &Logbook, now: i64) -> Turn {
        self.now = self.now.max(now);
        let epoch = book.epoch();
        if let Some(page) = self.page.as_ref().filter(|page| page.epoch == epoch) {
            let is_worth_it = page.is_used || !self.here.is_empty();
            return if is_worth_it && page.segments.is_due(now) { Turn::Over } else { Turn::Nothing };
        }
        self.throw_away();
        let Some(opened) = book.opened(now) else {
            // Nothing has a number now.
            self.read.clear();
            return Turn::Nothing;
        };
        match self.seen {
            Some((epoch, at)) if epoch == opened.epoch => {
                if now.saturating_sub(at) >= SETTLED {
                    Turn::Begin(opened)
                } else {
                    Turn::Nothing
                }
            }
            _ => {
                self.seen = Some((opened.epoch, now));
                Turn::Nothing
            }
        }
    }

    fn turn_over(&mut self, book: &Logbook, sessions: Vec<Seated>) -> Result<(), (u64, io::Error)> {
        let now = self.now;
        let Some(page) = &mut self.page else { return Ok(()) };
        let epoch = page.epoch;
        page.segments.turn_over(now, book.keep).map_err(|error| (epoch, error))?;
        self.write_head(book, sessions)
    }

    /// The page is none any more, nor is what waits for it. What was read stays: it may be of letters that are written again.
    fn throw_away(&mut self) {
        (self.page, self.group) = (None, None);
        self.buffer = Vec::new();
    }
}

/// What the files of a core's pages are called.
pub(super) fn name(core: u16) -> String {
    format!("core-{core}")
}

fn short(id: ConnectionId) -> Id {
    (id.slot, id.generation)
}

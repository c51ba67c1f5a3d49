//! The letters, and whether this run is one to come back to.

use std::cell::RefCell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use antiphon_core::event::{Delivery, Envelope};
use antiphon_core::ids::Timestamp;
use antiphon_core::ports::Untold;

use super::line::{self, Note};
use super::pages::Pages;
use super::past::{self, Left, Past};
use super::record;
use super::runs::{self, Marker, Runs};
use super::segments::{self, Segments};
use crate::resume::Settings;

/// Milliseconds after a failure before writing is tried again.
const PAUSE: i64 = 5_000;

/// Milliseconds that letters have been written again before a core begins its pages anew. What was posted before without being
/// written has been read then.
pub(super) const SETTLED: i64 = 2_000;

/// Milliseconds that the pages of a session are kept longer than any entry of its journal stays: one window while its client is
/// there, and one more while it waits.
const LONGER: i64 = segments::TURN;

/// Milliseconds that letters are kept longer than pages that may name them.
const EVEN_LONGER: i64 = 2 * segments::TURN;

/// Bytes of letters of the last run that are written at a time.
const COPIED: usize = 1 << 20;

/// The book of one run of the server, for all cores.
pub(crate) struct Logbook {
    /// No other book of this process has it.
    number: u64,
    pub(super) run: u32,
    /// The books of all runs.
    all: PathBuf,
    /// That of this one.
    own: PathBuf,
    cores: u16,
    wall: i64,
    boot: Option<String>,
    generation: u64,
    /// Milliseconds for which pages are kept.
    pub(super) keep: i64,
    /// Milliseconds since the start of the process, as far as cores have said.
    now: AtomicI64,
    /// Sockets that may be resumed.
    sessions: AtomicUsize,
    /// Sessions that have begun.
    beginnings: AtomicU64,
    /// Letters that were numbered.
    letters: AtomicU64,
    /// How often writing began anew. Changed while the desk is locked.
    epoch: AtomicU64,
    desk: Mutex<Desk>,
}

struct Desk {
    state: State,
    /// The cores that have pages.
    begun: Vec<u16>,
    /// Whether every core has written its survivors.
    is_complete: bool,
    /// What was about to be committed and has not been told.
    untold: Vec<Untold>,
    is_untold_written: bool,
    /// Whether it was logged that nothing can be written.
    is_logged: bool,
}

enum State {
    /// Nothing can be written, since then.
    Failed(i64),
    Written {
        letters: Segments,
        /// The first number that is among them.
        first: u64,
        since: i64,
    },
}

/// Where a core may begin its pages.
pub(super) struct Opened {
    pub(super) epoch: u64,
    pub(super) directory: PathBuf,
    /// The first number of a letter that was written there.
    pub(super) first: u64,
    /// Since when letters are.
    pub(super) since: i64,
}

/// The last letter that a thread has written.
struct Latest {
    book: u64,
    /// Kept so that no other one can be in its place in memory.
    envelope: Weak<Envelope>,
    number: u64,
    cores: Vec<u16>,
}

static BOOKS: AtomicU64 = AtomicU64::new(0);
static THREADS: AtomicU32 = AtomicU32::new(1);

thread_local! {
    static THREAD: u32 = THREADS.fetch_add(1, Ordering::Relaxed);
    static LATEST: RefCell<Option<Latest>> = const { RefCell::new(None) };
}

impl Logbook {
    /// Opens the book of `run` below `directory`, with pages for so many `cores`, and reads what the last complete run left. Never
    /// fails: problems are logged, and then there is nothing to come back to.
    pub(crate) fn open(
        directory: &Path,
        run: u32,
        cores: u16,
        settings: &Settings,
        wall: Timestamp,
    ) -> (Arc<Self>, Past) {
        let boot = runs::boot();
        if boot.is_none() {
            tracing::warn!(
                "sessions do not survive a kill here: starts of this machine cannot be told apart"
            );
        }
        let all = directory.to_owned();
        let runs = segments::make(&all).and_then(|()| Runs::of(&all, boot.as_deref()));
        let nothing = |error: io::Error| {
            tracing::warn!(%error, "what was written down of sessions cannot be read; none is resumed");
        };
        let runs = runs.map_err(nothing).unwrap_or_default();
        let left = runs.last.map(|(path, marker)| past::read(&path, &marker, settings, wall.0));
        let left = left.and_then(|left| left.map_err(nothing).ok()).unwrap_or_default();
        // Also above those that could not be looked at.
        let generation = runs.generation.max(u64::try_from(wall.0).unwrap_or(0)) + 1;
        let window = i64::try_from(settings.window).unwrap_or(i64::MAX);
        let book = Self {
            number: BOOKS.fetch_add(1, Ordering::Relaxed),
            run,
            own: all.join(format!("{run:08x}")),
            all,
            cores,
            wall: wall.0,
            boot,
            generation,
            keep: window.saturating_mul(2).saturating_add(LONGER),
            now: AtomicI64::new(0),
            sessions: AtomicUsize::new(0),
            beginnings: AtomicU64::new(0),
            letters: AtomicU64::new(left.last),
            epoch: AtomicU64::new(0),
            desk: Mutex::new(Desk {
                state: State::Failed(i64::MIN),
                begun: Vec::new(),
                is_complete: false,
                untold: Vec::new(),
                is_untold_written: false,
                is_logged: false,
            }),
        };
        let mut desk = book.desk();
        book.try_again(&mut desk, i64::MIN);
        if let State::Written { letters, first, .. } = &mut desk.state {
            match copy(&left, letters, book.keep.saturating_add(EVEN_LONGER)) {
                Ok(()) => *first = 1,
                Err(error) => book.fail(&mut desk, &error),
            }
        }
        drop(desk);
        (Arc::new(book), left.past)
    }

    /// Writes down that `envelope` is about to be posted to `core`; returns its number, the same for every core, or 0 when it could
    /// not be written or need not be, because it is volatile. To be called by the publishing thread before it posts.
    pub(crate) fn letter(&self, envelope: &Arc<Envelope>, core: u16) -> u64 {
        if envelope.event.delivery() == Delivery::Volatile {
            return 0;
        }
        LATEST.with_borrow_mut(|latest| match latest {
            Some(latest) if latest.is(self, envelope) => {
                if latest.number != 0 && !latest.cores.contains(&core) {
                    latest.cores.push(core);
                    self.write(latest.number, &Note::Also { core });
                }
                latest.number
            }
            _ => {
                let number = self.first_of(envelope, core);
                let envelope = Arc::downgrade(envelope);
                *latest = Some(Latest { book: self.number, envelope, number, cores: vec![core] });
                number
            }
        })
    }

    fn first_of(&self, envelope: &Arc<Envelope>, core: u16) -> u64 {
        let note = Note::Letter {
            at: self.now.load(Ordering::Relaxed),
            thread: THREAD.with(|thread| *thread),
            core: Some(core),
            except: envelope.except,
            envelope: envelope.clone(),
        };
        let mut buffer = written(&note);
        let mut desk = self.desk();
        // Taken while nobody else writes, so that whatever has a number from the first on is in the files.
        let number = self.letters.load(Ordering::Relaxed) + 1;
        self.letters.store(number, Ordering::Relaxed);
        if self.append(&mut desk, &mut buffer, number) { number } else { 0 }
    }

    /// Writes down what is about to be committed and has not been told yet. Before the COMMIT.
    pub(crate) fn commits(&self, untold: &[Untold]) {
        if untold.is_empty() {
            return;
        }
        let mut desk = self.desk();
        desk.untold.extend_from_slice(untold);
        if self.is_used() {
            let mut buffer = written(&Note::Commits(untold.to_vec()));
            desk.is_untold_written = self.append(&mut desk, &mut buffer, 0);
        }
    }

    /// All that was committed has been told, by this thread.
    pub(crate) fn told(&self) {
        let mut desk = self.desk();
        desk.untold.clear();
        if std::mem::take(&mut desk.is_untold_written) {
            let thread = THREAD.with(|thread| *thread);
            self.append(&mut desk, &mut written(&Note::Told { thread }), 0);
        }
    }

    /// Whether there is any session.
    pub(crate) fn is_used(&self) -> bool {
        self.sessions.load(Ordering::SeqCst) > 0
    }

    /// From now on this run is the one to come back to, and former ones are forgotten. To be called when every core has written
    /// down its survivors.
    pub(crate) fn is_complete(&self) {
        let mut desk = self.desk();
        desk.is_complete = true;
        self.mark(&mut desk);
        if let Err(error) = runs::forget_all_but(&self.all, &self.own) {
            tracing::error!(%error, "what was written down of sessions in an earlier run cannot be removed");
        }
    }

    /// The pages of `core`, to be asked for once, on its thread. They begin without any session.
    pub(crate) fn pages(self: &Arc<Self>, core: u16) -> Pages {
        Pages::begin(self.clone(), core)
    }

    /// The order of a session that begins now.
    pub(super) fn next_beginning(&self) -> u64 {
        self.beginnings.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The number of the last letter.
    pub(super) fn last_letter(&self) -> u64 {
        self.letters.load(Ordering::SeqCst)
    }

    /// There is one more socket that may be resumed.
    pub(super) fn one_more(&self) {
        if self.sessions.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        // Whoever commits has either seen it, or has said what before this looks.
        let mut desk = self.desk();
        if !desk.untold.is_empty() && !desk.is_untold_written {
            let mut buffer = written(&Note::Commits(desk.untold.clone()));
            desk.is_untold_written = self.append(&mut desk, &mut buffer, 0);
        }
    }

    /// So many are no more.
    pub(super) fn fewer(&self, by: usize) {
        self.sessions.fetch_sub(by, Ordering::SeqCst);
    }

    /// It is `now`.
    pub(super) fn is_now(&self, now: i64) {
        self.now.fetch_max(now, Ordering::Relaxed);
    }

    /// How often writing began anew.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    /// Where pages may begin, if anything can be written.
    pub(super) fn opened(&self, now: i64) -> Option<Opened> {
        let mut desk = self.desk();
        if let State::Failed(since) = desk.state
            && now.saturating_sub(since) >= PAUSE
        {
            self.try_again(&mut desk, now);
        }
        let epoch = self.epoch();
        match &desk.state {
            State::Failed(_) => None,
            State::Written { first, since, .. } => {
                Some(Opened { epoch, directory: self.directory(epoch), first: *first, since: *since })
            }
        }
    }

    /// `core` has begun its pages in `epoch`.
    pub(super) fn has_begun(&self, core: u16, epoch: u64) {
        let mut desk = self.desk();
        if epoch == self.epoch() && !desk.begun.contains(&core) {
            desk.begun.push(core);
            self.mark(&mut desk);
        }
    }

    /// A core could not write in `epoch`.
    pub(super) fn could_not(&self, epoch: u64, error: &io::Error) {
        let mut desk = self.desk();
        if epoch == self.epoch() {
            self.fail(&mut desk, error);
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        // Nothing in this file panics halfway through a change.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directory(&self, epoch: u64) -> PathBuf {
        self.own.join(epoch.to_string())
    }

    fn write(&self, number: u64, note: &Note) {
        let mut buffer = written(note);
        self.append(&mut self.desk(), &mut buffer, number);
    }

    /// Writes the note in `buffer`. `false` when it could not be.
    fn append(&self, desk: &mut Desk, buffer: &mut [u8], number: u64) -> bool {
        let State::Written { letters, .. } = &mut desk.state else { return false };
        let now = self.now.load(Ordering::Relaxed);
        let mut appended = record::finish(buffer, number);
        if appended.is_ok() && letters.is_due(now) {
            appended = letters.turn_over(now, self.keep.saturating_add(EVEN_LONGER));
        }
        match appended.and_then(|()| letters.write(buffer)) {
            Ok(()) => true,
            Err(error) => {
                self.fail(desk, &error);
                false
            }
        }
    }

    /// Throws everything away: whatever is not whole is worth nothing.
    fn fail(&self, desk: &mut Desk, error: &io::Error) {
        if !std::mem::replace(&mut desk.is_logged, true) {
            tracing::warn!(%error, "sessions cannot be written down; until that works again a kill loses them");
        }
        // Whoever holds pages sees that they are none any more.
        let epoch = self.epoch.fetch_add(1, Ordering::SeqCst);
        desk.state = State::Failed(self.now.load(Ordering::Relaxed));
        desk.begun.clear();
        desk.is_untold_written = false;
        // The marker first: without it the rest is nothing to come back to.
        if let Err(error) = runs::unmark(&self.own) {
            tracing::error!(%error, "what was written down of sessions cannot be removed");
        }
        // Without the marker nobody reads it; there may be nothing at all.
        let _ = std::fs::remove_dir_all(self.directory(epoch));
    }

    /// Tries to write letters at `now`. Those that a thread could not write before have been posted by the time that the cores begin.
    fn try_again(&self, desk: &mut Desk, now: i64) {
        let directory = self.directory(self.epoch());
        let at = now.max(0);
        match segments::make(&directory).and_then(|()| Segments::begin(&directory, "letters", at)) {
            Ok(letters) => {
                desk.state = State::Written { letters, first: self.last_letter() + 1, since: now };
                if !desk.untold.is_empty() {
                    let mut buffer = written(&Note::Commits(desk.untold.clone()));
                    desk.is_untold_written = self.append(desk, &mut buffer, 0);
                }
            }
            Err(error) => {
                self.fail(desk, &error);
                desk.state = State::Failed(at);
            }
        }
    }

    /// Marks the run as the one to come back to, when everything that it takes is there.
    fn mark(&self, desk: &mut Desk) {
        let Some(boot) = &self.boot else { return };
        let is_whole =
            matches!(desk.state, State::Written { .. }) && desk.begun.len() >= usize::from(self.cores);
        if !desk.is_complete || !is_whole {
            return;
        }
        let marker =
            Marker::new(boot.clone(), self.generation, (self.run, self.cores), self.epoch(), self.wall);
        match marker.put(&self.own) {
            Ok(()) if std::mem::take(&mut desk.is_logged) => {
                tracing::info!("sessions are written down again")
            }
            Ok(()) => {}
            Err(error) => self.fail(desk, &error),
        }
    }
}

impl Latest {
    fn is(&self, book: &Logbook, envelope: &Arc<Envelope>) -> bool {
        self.book == book.number && std::ptr::eq(self.envelope.as_ptr(), Arc::as_ptr(envelope))
    }
}

/// The record of `note`, but for its number.
fn written(note: &Note) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(512);
    record::begin(&mut buffer);
    line::append(&mut buffer, note);
    buffer
}

/// Writes the letters of the last run to those of this one, unless they are older than `keep`: what is kept of sessions names them.
fn copy(left: &Left, letters: &mut Segments, keep: i64) -> io::Result<()> {
    if left.past.sessions.is_empty() {
        return Ok(());
    }
    let mut many = Vec::new();
    for ((number, envelope), at) in left.past.letters.iter().zip(&left.at) {
        if at.saturating_neg() > keep {
            continue;
        }
        let note = Note::Letter { at: *at, thread: 0, core: None, except: None, envelope: envelope.clone() };
        let mut one = written(&note);
        record::finish(&mut one, *number)?;
        many.append(&mut one);
        if many.len() >= COPIED {
            letters.write(&many)?;
            many.clear();
        }
    }
    letters.write(&many)
}

//! How writes become durable: one thread, many writes per commit.
//!
//! Writes queue up while a commit is on its way to the disk; the next commit takes all of them along. Each runs inside a
//! savepoint, so one that fails takes nothing back from its neighbours. Only after the commit are they answered. When the commit
//! fails, so does every write in it, and the thread goes on with the next ones; unless the disk has failed. Then every write is
//! refused at once, until the database is trusted again (`recovery`).

use std::any::Any;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use antiphon_core::refusal::Fault;
use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, Error};
use tokio::sync::{mpsc, oneshot};
use tracing::field::Empty;

use super::directory::Directory;
use super::failure::{Failure, disk_failed, disk_full};
use super::health::{Condition, Health};
use super::readers::Connections;
use super::recovery;
use super::{Counts, Settings};
use crate::telemetry::SPANS;
use crate::telemetry::histogram::{DURATIONS, Histogram, Reading, SIZES};

/// The way to the writing thread.
pub(super) struct Writer {
    /// `None` once it was closed. Callers take a copy, so what they have begun to queue is still written.
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    finished: Mutex<Option<oneshot::Receiver<Result<(), Fault>>>>,
    tally: Arc<Tally>,
    health: Arc<Health>,
}

/// From how many pages of log it is written to the database.
const CHECKPOINT_FRAMES: u32 = 4_000;

impl Writer {
    /// Starts the thread. It says in `health` how the disk is, and closes `readers` when that has failed.
    pub(super) fn start(
        directory: Arc<Directory>,
        mut connection: Connection,
        readers: Connections,
        health: Arc<Health>,
        settings: &Settings,
    ) -> Result<Self, Fault> {
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let (finish, finished) = oneshot::channel();
        let tally = Arc::new(Tally::default());
        let mut log = Log::default();
        log.follow(&mut connection).map_err(|error| Fault::because("following the log", error))?;
        match fold_log(&connection) {
            Ok(()) => log.written_back(),
            // Somebody reads it, or it cannot be written now, which the first write will say.
            Err(error) => tracing::debug!(%error, "the log of the last run stays for now"),
        }
        let worker = Worker {
            log_limit: settings.log_limit,
            settings: settings.clone(),
            directory,
            readers,
            connection: Some(connection),
            log,
            health: Arc::clone(&health),
            suspect: false,
            failed: 0,
            jobs,
            tally: Arc::clone(&tally),
        };
        let thread = thread::Builder::new().name("sqlite-writer".into()).spawn(move || {
            // Nobody waits for the result when the store was dropped.
            let _ = finish.send(worker.run());
        });
        let thread = thread.map_err(|error| Fault::because("starting the thread that writes", error))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
            finished: Mutex::new(Some(finished)),
            tally,
            health,
        })
    }

    /// What tries whether the disk works again.
    pub(super) fn prober(&self) -> Prober {
        Prober(lock(&self.queue).as_ref().map(mpsc::Sender::downgrade))
    }

    /// Does `work` in a transaction. Once it is durable, `committed` is called on the writing thread, in the order of the
    /// queue, and then this returns. `what` says in a fault what failed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Fault> {
        let condition = self.health.condition();
        if matches!(condition, Condition::Failed | Condition::Damaged) {
            return Err(told(Fault::new(format!("{what}: the disk has failed")), condition));
        }
        let (answer, answered) = oneshot::channel();
        let write = Write { what, work: Some(work), committed: Some(committed), value: None, answer };
        let queue = lock(&self.queue).clone();
        let Some(queue) = queue else { return Err(Fault::new(format!("{what}: the store is closed"))) };
        let gone = || Fault::new(format!("{what}: the thread that writes is gone"));
        queue.send(Box::new(write)).await.map_err(|_| gone())?;
        drop(queue);
        answered.await.map_err(|_| gone())?
    }

    /// Finishes what is queued and closes the database. A second call returns at once.
    pub(super) async fn close(&self) -> Result<(), Fault> {
        drop(lock(&self.queue).take());
        let finished = lock(&self.finished).take();
        match finished {
            None => Ok(()),
            Some(finished) => match finished.await {
                Ok(outcome) => outcome,
                Err(_) => Err(Fault::new("closing the database: the thread that writes is gone")),
            },
        }
    }

    /// What was done, and what waits.
    pub(super) fn counts(&self) -> Counts {
        let waiting = lock(&self.queue).as_ref().map_or(0, |queue| queue.max_capacity() - queue.capacity());
        Counts {
            commits: self.tally.commits.load(Ordering::Relaxed),
            writes: self.tally.writes.load(Ordering::Relaxed),
            failures: self.tally.failures.load(Ordering::Relaxed),
            waiting,
        }
    }

    /// How long commits took, and how many writes went with each.
    pub(super) fn commits(&self) -> (Reading, Reading) {
        (self.tally.time.read(), self.tally.group.read())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(lock(&self.queue).take());
        let thread = lock(&self.thread).take();
        // `committed` runs on the thread itself and may drop the last handle to the store; a thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            // If it panicked, everybody who waited for it was told.
            let _ = thread.join();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing but taking and copying happens under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tries whether the disk works again. Does not keep the writing thread alive.
pub(super) struct Prober(Option<mpsc::WeakSender<Box<dyn Job>>>);

impl Prober {
    /// Has something written that changes nothing, unless so much waits to be written that this will tell.
    pub(super) fn probe(&self) {
        if let Some(queue) = self.0.as_ref().and_then(mpsc::WeakSender::upgrade) {
            let _ = queue.try_send(Box::new(Probe));
        }
    }
}

struct Tally {
    commits: AtomicU64,
    writes: AtomicU64,
    failures: AtomicU64,
    /// From the first write of a commit until it is durable.
    time: Histogram,
    /// Writes that went with one commit.
    group: Histogram,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            commits: AtomicU64::default(),
            writes: AtomicU64::default(),
            failures: AtomicU64::default(),
            time: Histogram::new(DURATIONS),
            group: Histogram::new(SIZES),
        }
    }
}

/// A write on its way through the queue. Dropping it is an answer too: the caller gets a fault.
trait Job: Send {
    /// What it does, for faults.
    fn what(&self) -> &'static str;
    /// Does it, inside a transaction that others share.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// It is durable.
    fn committed(&mut self);
    /// Tells the caller, who may have gone away.
    fn answer(self: Box<Self>, failure: Option<Fault>);
}

struct Write<T, W, C> {
    what: &'static str,
    work: Option<W>,
    committed: Option<C>,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, Fault>>,
}

impl<T, W, C> Job for Write<T, W, C>
where
    T: Send,
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    C: FnOnce(&T) + Send,
{
    fn what(&self) -> &'static str {
        self.what
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(connection)?);
        }
        Ok(())
    }

    fn committed(&mut self) {
        if let (Some(committed), Some(value)) = (self.committed.take(), &self.value) {
            committed(value);
        }
    }

    fn answer(self: Box<Self>, failure: Option<Fault>) {
        let result = match (failure, self.value) {
            (None, Some(value)) => Ok(value),
            (Some(fault), _) => Err(fault),
            (None, None) => Err(Fault::new(format!("{}: it was never done", self.what))),
        };
        let _ = self.answer.send(result);
    }
}

/// A write that changes nothing. Nobody waits for it.
struct Probe;

impl Job for Probe {
    fn what(&self) -> &'static str {
        "trying whether the disk works"
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // We have no use for this number, and setting it writes a page whatever it was.
        connection.pragma_update(None, "user_version", 0)
    }

    fn committed(&mut self) {}

    fn answer(self: Box<Self>, _: Option<Fault>) {}
}

/// How far the write-ahead log is.
#[derive(Default)]
struct Log {
    /// Frames in it after the last commit, as SQLite says while it commits; 0 when all of them are in the database.
    frames: Arc<AtomicU32>,
    /// Frames that hold the last commit that was acknowledged and what came before. 0 when all of that is in the database,
    /// `None` when it is not known.
    acknowledged: Option<u64>,
}

impl Log {
    /// Has SQLite say how many frames there are after each commit of `connection`.
    fn follow(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let frames = Arc::clone(&self.frames);
        connection.wal_hook(Some(move |_: &mut Wal, count: i32| {
            frames.store(count.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// A commit is durable. One that wrote nothing leaves the log as it was.
    fn committed(&mut self) {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames > 0 {
            self.acknowledged = Some(u64::from(frames));
        }
    }

    /// All of it is in the database.
    fn written_back(&mut self) {
        self.frames.store(0, Ordering::Relaxed);
        self.acknowledged = Some(0);
    }
}

/// The writing thread.
struct Worker {
    settings: Settings,
    directory: Arc<Directory>,
    /// Those of the reading threads.
    readers: Connections,
    /// `None` when it was given up after a failure.
    connection: Option<Connection>,
    log: Log,
    health: Arc<Health>,
    /// Whether the disk has failed us and has not proved itself since.
    suspect: bool,
    /// Writes that failed since the last commit that succeeded.
    failed: usize,
    jobs: mpsc::Receiver<Box<dyn Job>>,
    tally: Arc<Tally>,
    /// From which size the log is made small, readers or not.
    log_limit: u64,
}

/// A write that has run, and why it failed if it did.
type Ran = (Box<dyn Job>, Option<Error>);

impl Worker {
    fn run(mut self) -> Result<(), Fault> {
        let mut batch = Vec::new();
        let mut own: Option<Box<dyn Job>> = None;
        while let Some(job) = own.take().or_else(|| self.jobs.blocking_recv()) {
            let before = self.health.condition();
            let began = Instant::now();
            let span = tracing::info_span!(target: SPANS, "commit", writes = Empty);
            match span.in_scope(|| self.write(job, &mut batch)) {
                Ok(()) => {
                    span.record("writes", batch.len());
                    drop(span);
                    self.tally.time.record_time(began.elapsed());
                    self.tally.group.record(batch.len() as u64);
                    self.succeed(&mut batch);
                }
                Err(error) => self.fail(&mut batch, error),
            }
            self.keep_log_short();
            if before != Condition::Failed && self.health.condition() == Condition::Failed {
                // At once, so that what was refused just now is gone from the log before anything else can happen to us.
                own = Some(Box::new(Probe));
            }
        }
        self.close()
    }

    /// Runs `first` and whatever else waits in one transaction, and commits it. What has run is in `batch` either way.
    fn write(&mut self, first: Box<dyn Job>, batch: &mut Vec<Ran>) -> Result<(), Failure> {
        let mut next = Some(first);
        let began = self.connection().and_then(|connection| {
            connection
                .execute_batch("BEGIN IMMEDIATE")
                .map_err(|error| Failure::of("beginning to write", error))
        });
        if let Err(failure) = began {
            // Everybody else who waits now would only wait for the same failure once more, one after the other.
            while let Some(job) = next {
                batch.push((job, None));
                next = self.jobs.try_recv().ok();
            }
            return Err(failure);
        }

        let started = Instant::now();
        let connection = self.connection.as_ref().expect("it has just begun a transaction");
        while let Some(mut job) = next {
            let ran = within_savepoint(connection, |connection| job.run(connection));
            let what = job.what();
            match ran {
                Ok(outcome) => batch.push((job, outcome.err())),
                Err(error) => {
                    batch.push((job, None));
                    return Err(Failure::of(what, error));
                }
            }
            let room =
                batch.len() < self.settings.batch_writes && started.elapsed() < self.settings.batch_time;
            next = if room { self.jobs.try_recv().ok() } else { None };
        }
        connection.execute_batch("COMMIT").map_err(|error| Failure::of("committing", error))?;
        self.log.committed();
        Ok(())
    }

    /// The commit is durable: first everybody hears of it in order, then the callers are answered.
    fn succeed(&mut self, batch: &mut Vec<Ran>) {
        if self.failed > 0 {
            let database = self.directory.database().display();
            tracing::info!(%database, failed = self.failed, "writes are stored again");
            self.failed = 0;
        }
        self.health.set(Condition::Sound);
        self.tally.commits.fetch_add(1, Ordering::Relaxed);
        let done = batch.iter().filter(|(_, error)| error.is_none()).count();
        self.tally.writes.fetch_add(done as u64, Ordering::Relaxed);
        for (job, _) in batch.iter_mut().filter(|(_, error)| error.is_none()) {
            // It is foreign code. What it breaks must not be what others have stored.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| job.committed())) {
                tracing::error!(
                    what = job.what(),
                    panic = panic_message(&*panic),
                    "telling of a commit panicked"
                );
            }
        }
        for (job, error) in batch.drain(..) {
            let fault = error.map(|error| Fault::because(job.what(), error));
            job.answer(fault);
        }
    }

    /// Nothing of the batch is stored.
    fn fail(&mut self, batch: &mut Vec<Ran>, failure: Failure) {
        self.tally.failures.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let condition = failure.condition();
        self.complain(condition, &failure);
        self.failed += batch.len();
        self.recover(condition);
        let failure = Arc::new(failure);
        for (job, _) in batch.drain(..) {
            let fault = Fault::because(job.what(), Arc::clone(&failure));
            job.answer(Some(match condition {
                Some(condition) => told(fault, condition),
                None => fault,
            }));
        }
    }

    /// Says in the log what is wrong and what is to be done: once, and again when it is over or worse. A full disk would be
    /// filled by the log as well.
    fn complain(&mut self, condition: Option<Condition>, failure: &Failure) {
        let (database, error) = (self.directory.database().display(), causes(failure));
        let before = self.health.condition();
        match condition {
            Some(condition) if condition as u8 <= before as u8 => {}
            Some(Condition::Full) => tracing::error!(
                %database, doing = %failure, error,
                "the disk is full: writes are refused until there is room; make some, nothing has to be restarted"
            ),
            Some(Condition::Failed) => tracing::error!(
                %database, doing = %failure, error,
                "the disk has failed: nothing is acknowledged until the database was opened again and checked, which is \
                 tried every few seconds; look at the disk and the system's log"
            ),
            Some(Condition::Damaged) => tracing::error!(
                %database, error,
                "the database is damaged: nothing is stored any more; stop the server, run `antiphon doctor`, and go back \
                 to a backup if it says so"
            ),
            _ if self.failed == 0 => {
                tracing::error!(%database, doing = %failure, error, "writes are failing");
            }
            _ => {}
        }
        if let Some(condition) = condition.filter(|condition| *condition as u8 > before as u8) {
            self.health.set(condition);
        }
    }

    /// Makes sure that the next batch starts from what was committed last.
    fn recover(&mut self, condition: Option<Condition>) {
        self.suspect |= matches!(condition, Some(Condition::Failed | Condition::Damaged));
        let usable = |connection: &Connection| {
            connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok()
        };
        if self.suspect || !self.connection.as_ref().is_some_and(usable) {
            // An open transaction goes with it.
            self.connection = None;
        }
    }

    /// The connection, opened again if it was given up, and then only if the database can be trusted.
    fn connection(&mut self) -> Result<&Connection, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let mut connection = if self.suspect {
                    let frames = self.log.acknowledged;
                    let connection = recovery::reopen(&self.directory, &self.readers, frames)
                        .map_err(Failure::distrusted)?;
                    self.suspect = false;
                    self.log.written_back();
                    connection
                } else {
                    self.directory.connect().map_err(Failure::opening)?
                };
                let following = self.log.follow(&mut connection);
                following.map_err(|error| Failure::of("following the log", error))?;
                connection
            }
        };
        Ok(self.connection.insert(connection))
    }

    /// Writes the log to the database from time to time, here and not inside SQLite, which would not say if that failed.
    fn keep_log_short(&mut self) {
        let size = self.directory.log_size();
        let Some(connection) = &self.connection else { return };
        let folded = if size > self.log_limit {
            // Readers that overlap without end keep SQLite from starting the log afresh by itself, and it grows.
            let folded = fold_log(connection);
            self.log_limit = match &folded {
                Ok(()) => self.settings.log_limit,
                // Somebody reads for long. Trying again at every commit would make each of them wait.
                Err(error) => {
                    tracing::warn!(size, %error, "the write-ahead log cannot be made small now");
                    size.saturating_mul(2)
                }
            };
            folded.map(|()| true)
        } else if self.log.frames.load(Ordering::Relaxed) >= CHECKPOINT_FRAMES {
            write_back(connection)
        } else {
            return;
        };
        match folded {
            Ok(true) => self.log.written_back(),
            Ok(false) => {}
            Err(error) if disk_failed(&error) => {
                let failure = Failure::of("writing the log to the database", error);
                self.complain(Some(Condition::Failed), &failure);
                self.recover(Some(Condition::Failed));
            }
            // What is in the log is as safe there. Without room in the database it grows, until that is full as well.
            Err(error) => tracing::debug!(%error, "the log stays as it is for now"),
        }
    }

    fn close(self) -> Result<(), Fault> {
        let Some(connection) = self.connection else { return Ok(()) };
        if let Err(error) = fold_log(&connection) {
            // What is in the log is as safe as in the database, and the next start reads both.
            tracing::warn!(%error, "the database is closed with its write-ahead log beside it");
            return Ok(());
        }
        // The last to close takes the empty log along, if it may.
        let last = connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false);
        last.map_err(|error| Fault::because("closing the database", error))?;
        connection.close().map_err(|(_, error)| Fault::because("closing the database", error))
    }
}

/// Runs `work` so that its failure, the inner one, undoes what it did and nothing else. The outer failure means that the whole
/// transaction is lost.
fn within_savepoint(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
) -> rusqlite::Result<rusqlite::Result<()>> {
    step(connection, "SAVEPOINT job")?;
    match work(connection) {
        Ok(()) => {
            step(connection, "RELEASE job")?;
            Ok(Ok(()))
        }
        // Some failures roll everything back at once, the savepoint with it.
        Err(error) if disk_failed(&error) || disk_full(&error) || connection.is_autocommit() => Err(error),
        Err(error) => {
            step(connection, "ROLLBACK TO job")?;
            step(connection, "RELEASE job")?;
            Ok(Err(error))
        }
    }
}

fn step(connection: &Connection, statement: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(statement)?.execute([]).map(drop)
}

/// Writes as much of the log into the database as no reader needs where it is, and syncs both. Returns whether that was all.
fn write_back(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        Ok(!row.get::<_, bool>(0)? && row.get::<_, i64>(1)? == row.get::<_, i64>(2)?)
    })
}

/// Writes the whole log into the database, syncs both, and empties the log.
pub(super) fn fold_log(connection: &Connection) -> rusqlite::Result<()> {
    let busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    if busy {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(Error::SqliteFailure(code, Some("somebody reads for long".into())));
    }
    Ok(())
}

fn told(fault: Fault, condition: Condition) -> Fault {
    match condition.refusal() {
        Some(refusal) => fault.told(refusal),
        None => fault,
    }
}

/// What caused a failure, for a line of the log.
fn causes(failure: &Failure) -> String {
    let (mut line, mut cause) = (String::new(), failure.source());
    while let Some(error) = cause {
        line = if line.is_empty() { error.to_string() } else { format!("{line}: {error}") };
        cause = error.source();
    }
    line
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("something that is not text")
}

//! The writing thread: many writes in one commit, told in order and then answered.
//!
//! Each write runs inside a savepoint, so one that fails takes nothing back from its neighbours. When the commit fails, so does every
//! write in it, and the thread goes on with the next ones; unless the disk has failed. Then every write is refused at once, until
//! the database is trusted again (`recovery`).

use std::any::Any;
use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use antiphon_core::refusal::Fault;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error};
use tokio::sync::mpsc;
use tracing::field::Empty;

use super::Settings;
use super::checkpoint::{Log, fold_log, write_back};
use super::directory::Directory;
use super::failure::{Failure, disk_failed, disk_full};
use super::health::{Condition, Health};
use super::job::{Job, Probe};
use super::readers::Connections;
use super::recovery;
use super::witness::Telling;
use crate::telemetry::SPANS;
use crate::telemetry::histogram::{DURATIONS, Histogram, SIZES};

/// The writing thread.
pub(super) struct Worker {
    pub(super) settings: Settings,
    pub(super) directory: Arc<Directory>,
    /// Those of the reading threads.
    pub(super) readers: Connections,
    /// `None` when it was given up after a failure.
    pub(super) connection: Option<Connection>,
    pub(super) log: Log,
    pub(super) health: Arc<Health>,
    /// Whether the disk has failed us and has not proved itself since.
    pub(super) suspect: bool,
    /// Writes that failed since the last commit that succeeded.
    pub(super) failed: usize,
    pub(super) jobs: mpsc::Receiver<Box<dyn Job>>,
    pub(super) tally: Arc<Tally>,
    pub(super) telling: Telling,
    /// From which size the log is made small, readers or not.
    pub(super) log_limit: u64,
}

/// A write that has run, and why it failed if it did.
type Ran = (Box<dyn Job>, Option<Error>);

impl Worker {
    /// Commits until nobody can queue anything more, and closes the database.
    pub(super) fn run(mut self) -> Result<(), Fault> {
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
        let stored = batch.iter().filter(|(_, error)| error.is_none()).map(|(job, _)| &**job);
        self.telling.begin(stored);
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
        self.telling.end();
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
        if !self.suspect {
            // Otherwise it may be stored after all, if the process dies before that is cut off.
            self.telling.end();
        }
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
        } else if self.log.is_long() {
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

pub(super) fn told(fault: Fault, condition: Condition) -> Fault {
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

/// What was done.
pub(super) struct Tally {
    pub(super) commits: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) failures: AtomicU64,
    /// From the first write of a commit until it is durable.
    pub(super) time: Histogram,
    /// Writes that went with one commit.
    pub(super) group: Histogram,
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

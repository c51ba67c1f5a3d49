//! How writes become durable: they queue up for one thread, and many go with each commit.
//!
//! They wait while a commit is on its way to the disk; the next one takes all of them along. Only after the commit are they
//! answered. What the thread does is in `commits`.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use antiphon_core::ports::Untold;
use antiphon_core::refusal::Fault;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::checkpoint::{Log, fold_log};
use super::commits::{Tally, Worker, told};
use super::directory::Directory;
use super::health::{Condition, Health};
use super::job::{Job, Probe, Write};
use super::readers::Connections;
use super::witness::{Telling, Witness};
use super::{Counts, Settings};
use crate::telemetry::histogram::Reading;

/// The way to the writing thread.
pub(super) struct Writer {
    /// `None` once it was closed. Callers take a copy, so what they have begun to queue is still written.
    queue: Mutex<Option<mpsc::Sender<Box<dyn Job>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    finished: Mutex<Option<oneshot::Receiver<Result<(), Fault>>>>,
    tally: Arc<Tally>,
    health: Arc<Health>,
    witness: Arc<OnceLock<Arc<dyn Witness>>>,
}

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
        let (tally, witness) = (Arc::new(Tally::default()), Arc::default());
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
            telling: Telling::of(&witness),
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
            witness,
        })
    }

    /// From now on `witness` hears what each commit is about to tell. The first one stays.
    pub(super) fn set_witness(&self, witness: Arc<dyn Witness>) {
        if self.witness.set(witness).is_err() {
            tracing::error!("somebody else hears already what is committed");
        }
    }

    /// What tries whether the disk works again.
    pub(super) fn prober(&self) -> Prober {
        Prober(lock(&self.queue).as_ref().map(mpsc::Sender::downgrade))
    }

    /// Does `work` in a transaction. Once it is durable, `committed` is called on the writing thread, in the order of the
    /// queue, and then this returns. `tells` adds what `committed` will tell. `what` says in a fault what failed.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        tells: fn(&T, &mut Vec<Untold>),
        committed: impl FnOnce(&T) + Send + 'static,
    ) -> Result<T, Fault> {
        let condition = self.health.condition();
        if matches!(condition, Condition::Failed | Condition::Damaged) {
            return Err(told(Fault::new(format!("{what}: the disk has failed")), condition));
        }
        let (answer, answered) = oneshot::channel();
        let write = Write::new(what, work, tells, committed, answer);
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

//! How reads are answered while the writer writes: a few threads with a connection each, and one queue.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use antiphon_core::refusal::Fault;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::Settings;
use super::directory::Directory;
use super::failure::disk_failed;

/// The way to the reading threads.
pub(super) struct Readers {
    /// `None` once they were closed.
    queue: Mutex<Option<mpsc::Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    finished: Mutex<Vec<oneshot::Receiver<()>>>,
}

/// A read on its way through the queue; it returns whether its connection still works. Dropping it is an answer too: the caller
/// gets a fault.
type Job = Box<dyn FnOnce(Result<&Connection, Fault>) -> Condition + Send>;

/// What a read says about its connection.
enum Condition {
    Sound,
    Broken,
}

impl Readers {
    /// Starts the threads.
    pub(super) fn start(directory: &Arc<Directory>, settings: &Settings) -> Result<Self, Fault> {
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let (mut threads, mut finished) = (Vec::new(), Vec::new());
        for number in 0..settings.readers.max(1) {
            let worker = Worker {
                connection: Some(directory.connect_reader()?),
                directory: Arc::clone(directory),
                jobs: Arc::clone(&jobs),
            };
            let (finish, is_finished) = oneshot::channel();
            let thread = thread::Builder::new().name(format!("sqlite-reader-{number}")).spawn(move || {
                worker.run();
                // Nobody waits when the store was dropped.
                let _ = finish.send(());
            });
            threads.push(thread.map_err(|error| Fault::because("starting a thread that reads", error))?);
            finished.push(is_finished);
        }
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            threads: Mutex::new(threads),
            finished: Mutex::new(finished),
        })
    }

    /// Does `work` on one of the threads. `what` says in a fault what failed.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        let (answer, answered) = oneshot::channel();
        let job = move |connection: Result<&Connection, Fault>| {
            let (result, condition) = match connection.map(work) {
                Ok(Ok(value)) => (Ok(value), Condition::Sound),
                Ok(Err(error)) => {
                    let condition = if disk_failed(&error) { Condition::Broken } else { Condition::Sound };
                    (Err(Fault::because(what, error)), condition)
                }
                Err(fault) => (Err(Fault::because(what, fault)), Condition::Broken),
            };
            // The caller may have gone away.
            let _ = answer.send(result);
            condition
        };
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(queue) = queue else { return Err(Fault::new(format!("{what}: the store is closed"))) };
        let gone = || Fault::new(format!("{what}: the threads that read are gone"));
        queue.send(Box::new(job)).await.map_err(|_| gone())?;
        drop(queue);
        answered.await.map_err(|_| gone())?
    }

    /// Finishes what is queued and ends the threads. A second call returns at once.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let finished = std::mem::take(&mut *self.finished.lock().unwrap_or_else(PoisonError::into_inner));
        for finished in finished {
            // A thread that panicked is finished as well.
            let _ = finished.await;
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // If it panicked, everybody who waited for it was told.
            let _ = thread.join();
        }
    }
}

/// One reading thread.
struct Worker {
    /// `None` when it was given up after a failure.
    connection: Option<Connection>,
    directory: Arc<Directory>,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
}

impl Worker {
    fn run(mut self) {
        while let Some(job) = self.next() {
            let connection = match self.connection.take() {
                Some(connection) => Ok(connection),
                None => self.directory.connect_reader(),
            };
            self.connection = match connection {
                Ok(connection) => match job(Ok(&connection)) {
                    Condition::Sound => Some(connection),
                    Condition::Broken => None,
                },
                Err(fault) => {
                    job(Err(fault));
                    None
                }
            };
        }
    }

    /// The next read. One idle thread waits for it, the others wait for their turn to wait.
    fn next(&self) -> Option<Job> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv()
    }
}

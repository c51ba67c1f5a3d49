//! How reads are answered while the writer writes: a few threads with a connection each, and one queue.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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

/// The connections that read, one for each thread. Whoever holds a lock has that connection to themselves.
#[derive(Default)]
pub(super) struct Connections(Vec<Place>);

/// Where a reading thread keeps its connection; `None` when it was given up after a failure, or closed by somebody else.
type Place = Arc<Mutex<Option<Connection>>>;

impl Connections {
    /// Closes all of them as soon as what they read now is read. Reads wait until what is returned is dropped, and then open
    /// the database again.
    pub(super) fn close(&self) -> impl Sized {
        let mut places: Vec<_> = self.0.iter().map(|place| lock(place)).collect();
        places.iter_mut().for_each(|place| drop(place.take()));
        places
    }
}

/// What a read says about its connection.
enum Condition {
    Sound,
    Broken,
}

impl Readers {
    /// Starts the threads; returns their connections as well.
    pub(super) fn start(
        directory: &Arc<Directory>,
        settings: &Settings,
    ) -> Result<(Self, Connections), Fault> {
        let mut connections = Connections::default();
        let (queue, jobs) = mpsc::channel(settings.queue.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        let (mut threads, mut finished) = (Vec::new(), Vec::new());
        for number in 0..settings.readers.max(1) {
            let place = Arc::new(Mutex::new(Some(directory.connect_reader()?)));
            connections.0.push(place.clone());
            let worker = Worker { place, directory: Arc::clone(directory), jobs: Arc::clone(&jobs) };
            let (finish, is_finished) = oneshot::channel();
            let thread = thread::Builder::new().name(format!("sqlite-reader-{number}")).spawn(move || {
                worker.run();
                // Nobody waits when the store was dropped.
                let _ = finish.send(());
            });
            threads.push(thread.map_err(|error| Fault::because("starting a thread that reads", error))?);
            finished.push(is_finished);
        }
        let readers = Self {
            queue: Mutex::new(Some(queue)),
            threads: Mutex::new(threads),
            finished: Mutex::new(finished),
        };
        Ok((readers, connections))
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
        let queue = lock(&self.queue).clone();
        let Some(queue) = queue else { return Err(Fault::new(format!("{what}: the store is closed"))) };
        let gone = || Fault::new(format!("{what}: the threads that read are gone"));
        queue.send(Box::new(job)).await.map_err(|_| gone())?;
        drop(queue);
        answered.await.map_err(|_| gone())?
    }

    /// Finishes what is queued and ends the threads. A second call returns at once.
    pub(super) async fn close(&self) {
        drop(lock(&self.queue).take());
        let finished = std::mem::take(&mut *lock(&self.finished));
        for finished in finished {
            // A thread that panicked is finished as well.
            let _ = finished.await;
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        drop(lock(&self.queue).take());
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // If it panicked, everybody who waited for it was told.
            let _ = thread.join();
        }
    }
}

/// One reading thread.
struct Worker {
    place: Place,
    directory: Arc<Directory>,
    jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            let mut place = lock(&self.place);
            let connection = match place.take() {
                Some(connection) => Ok(connection),
                None => self.directory.connect_reader(),
            };
            *place = match connection {
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
        drop(lock(&self.place).take());
    }

    /// The next read. One idle thread waits for it, the others wait for their turn to wait.
    fn next(&self) -> Option<Job> {
        lock(&self.jobs).blocking_recv()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is behind these locks is whole whenever somebody panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! What one server remembers: a store in one SQLite file.
//!
//! | module | answers |
//! |---|---|
//! | `directory` | which files there are, whose they are, and which version they have |
//! | `writer`, `job`, `commits` | how writes become durable: one queue, one thread, many writes per commit |
//! | `checkpoint` | how the log gets into the database |
//! | `witness` | who hears what a commit is about to tell |
//! | `readers` | how reads are answered meanwhile |
//! | `failure` | why a whole commit is not stored, and what that says about the disk |
//! | `health`, `watch` | how the disk is; what is looked at once a second |
//! | `log` | whether the write-ahead log still has what it had |
//! | `recovery` | how a database is trusted again after its disk has failed |
//! | `inspection` | what is wrong with a data directory |
//! | `checksum`, `damage` | whether a row is what was written, and what it is called when it is not |
//! | `people`, `profiles`, `keys`, `logins`, `revocations`, `requests`, `agents`, `bonds`, `conversations`, `webhooks`, `wallets`, `tasks`, `workers`, `jobs` | which statements each noun needs |
//! | `upkeep` | how what has had its time is thrown away |
//! | `rows` | how columns become ids and numbers |
//!
//! The file is in WAL mode, so readers and the writer do not wait for each other. A write is answered after its commit has
//! reached the disk ([`Synchronous::Full`]); commits take everything that is waiting along, so the disk is asked once for many.

mod agents;
mod bonds;
mod checkpoint;
mod checksum;
mod commits;
mod conversations;
mod damage;
mod directory;
mod failure;
pub(crate) mod health;
pub(crate) mod inspection;
mod job;
mod jobs;
mod keys;
mod log;
mod logins;
mod people;
mod profiles;
mod readers;
mod recovery;
mod requests;
mod revocations;
mod rows;
mod tasks;
#[cfg(test)]
mod tests;
mod upkeep;
mod wallets;
pub(crate) mod watch;
mod webhooks;
mod witness;
mod workers;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::refusal::Fault;
use rusqlite::Connection;

use crate::telemetry::histogram::Reading;
use directory::Directory;
use health::Health;
use readers::Readers;
use watch::Watch;
pub use witness::Witness;
use writer::Writer;

/// A store in `antiphon.db`, inside a directory that belongs to it alone.
///
/// Dropping it finishes what is queued and blocks until the file is closed; [`close`](Self::close) does the same without
/// blocking a runtime. A write whose future is dropped after it was queued still happens.
pub struct SqliteStore {
    // In this order: the writer closes last, so that it can fold the log into the database.
    _watch: Watch,
    readers: Readers,
    writer: Writer,
    health: Arc<Health>,
}

/// How a [`SqliteStore`] works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What must have happened before a write is answered.
    pub synchronous: Synchronous,
    /// How many threads read; at least one does.
    pub readers: usize,
    /// How many writes, and how many reads, may wait. Whoever comes when that many do waits for a place among them.
    pub queue: usize,
    /// How many writes one commit takes along at most.
    pub batch_writes: usize,
    /// How long a commit collects writes that are waiting. It never waits for writes to come.
    pub batch_time: Duration,
    /// How long to wait for another process that has locked the database, before whatever was asked is a fault.
    pub busy_timeout: Duration,
    /// From which size of the write-ahead log, in bytes, it is made small again even if readers have to be waited for.
    pub log_limit: u64,
    /// How few free bytes of the disk are a warning in the log.
    pub low_space: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            synchronous: Synchronous::Full,
            readers: 2,
            queue: 1_024,
            batch_writes: 512,
            batch_time: Duration::from_millis(5),
            busy_timeout: Duration::from_secs(1),
            log_limit: 64 * 1024 * 1024,
            low_space: 256 * 1024 * 1024,
        }
    }
}

/// What must have happened before a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Synchronous {
    /// The disk has it: it survives a power failure.
    Full,
    /// The system has it: it survives the death of the process, but a power failure may take the last of it back.
    Normal,
}

/// What a [`SqliteStore`] has done, and what waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Commits that succeeded.
    pub commits: u64,
    /// Writes that went with them.
    pub writes: u64,
    /// Writes that faulted because their commit, or the transaction around them, failed.
    pub failures: u64,
    /// Writes that are queued and not begun.
    pub waiting: usize,
}

impl SqliteStore {
    /// Opens the database in `directory`, making both when there is none, and brings it to the newest schema.
    ///
    /// Blocks. Fails when the directory belongs to another server that runs, when its database was written by a newer Antiphon,
    /// when something that was acknowledged is lost, and when it cannot be read or written.
    pub fn open(directory: &Path, settings: Settings) -> Result<Self, Fault> {
        let directory = Arc::new(Directory::open(directory, &settings)?);
        let connection = directory.migrate(directory.connect()?)?;
        let (readers, connections) = Readers::start(&directory, &settings)?;
        let health = Arc::new(Health::default());
        let writer = Writer::start(directory.clone(), connection, connections, health.clone(), &settings)?;
        let watch = Watch::start(directory.database(), health.clone(), writer.prober(), settings.low_space)?;
        Ok(Self { _watch: watch, readers, writer, health })
    }

    /// How the disk under the database is.
    pub(crate) fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// From now on `witness` hears what each commit is about to tell. To be called once.
    pub fn set_witness(&self, witness: Arc<dyn Witness>) {
        self.writer.set_witness(witness);
    }

    /// Finishes what is queued, folds the log into the database and closes it. Whatever is asked afterwards is a fault. A second
    /// call has nothing left to do.
    pub async fn close(&self) -> Result<(), Fault> {
        self.readers.close().await;
        self.writer.close().await
    }

    /// What was done so far, and what waits.
    pub fn counts(&self) -> Counts {
        self.writer.counts()
    }

    /// How long commits took, from their first write until they were durable, and how many writes went with each.
    pub(crate) fn commits(&self) -> (Reading, Reading) {
        self.writer.commits()
    }

    async fn read<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.readers.read(what, work).await
    }

    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault> {
        self.writer.write(what, work, |_, _| (), |_| ()).await
    }
}

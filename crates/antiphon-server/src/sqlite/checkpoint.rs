//! How far the write-ahead log is, and how it gets into the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::hooks::Wal;
use rusqlite::{Connection, Error};

/// From how many pages of log it is written to the database.
const CHECKPOINT_FRAMES: u32 = 4_000;

/// How far the write-ahead log is.
#[derive(Default)]
pub(super) struct Log {
    /// Frames in it after the last commit, as SQLite says while it commits; 0 when all of them are in the database.
    frames: Arc<AtomicU32>,
    /// Frames that hold the last commit that was acknowledged and what came before. 0 when all of that is in the database,
    /// `None` when it is not known.
    pub(super) acknowledged: Option<u64>,
}

impl Log {
    /// Has SQLite say how many frames there are after each commit of `connection`.
    pub(super) fn follow(&mut self, connection: &mut Connection) -> rusqlite::Result<()> {
        let frames = Arc::clone(&self.frames);
        connection.wal_hook(Some(move |_: &mut Wal, count: i32| {
            frames.store(count.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// A commit is durable. One that wrote nothing leaves the log as it was.
    pub(super) fn committed(&mut self) {
        let frames = self.frames.load(Ordering::Relaxed);
        if frames > 0 {
            self.acknowledged = Some(u64::from(frames));
        }
    }

    /// Whether there is enough of it to be written to the database.
    pub(super) fn is_long(&self) -> bool {
        self.frames.load(Ordering::Relaxed) >= CHECKPOINT_FRAMES
    }

    /// All of it is in the database.
    pub(super) fn written_back(&mut self) {
        self.frames.store(0, Ordering::Relaxed);
        self.acknowledged = Some(0);
    }
}

/// Writes as much of the log into the database as no reader needs where it is, and syncs both. Returns whether that was all.
pub(super) fn write_back(connection: &Connection) -> rusqlite::Result<bool> {
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

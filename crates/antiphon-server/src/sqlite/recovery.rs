//! How a database is trusted again after its disk has failed.
//!
//! A sync that failed may have thrown away what the system had only promised to write, and the next one may say that all is
//! well. So nothing that this process remembers of the files counts: every connection is closed, what was written and never
//! acknowledged is cut off, the files are read from the disk, the log is written to the database once more from its start, and
//! the database is checked. `docs/decisions/0009-after-a-failed-sync.md` says why it is done in this order.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use antiphon_core::refusal::Fault;
use rusqlite::Connection;
use rustix::fs::{Advice, fadvise};

use super::directory::Directory;
use super::log::{FRAME_HEADER, HEADER};
use super::readers::Connections;

/// Why a database is not trusted.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    /// It cannot be told yet: the disk goes on failing, or somebody else has the database open.
    #[error("{0}")]
    NotYet(&'static str, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is there is not what was acknowledged.
    #[error("{0}")]
    Damaged(String),
}

/// Opens the database of `directory` again, whose last commit that was acknowledged is in the first `frames` of the log, if that
/// is known; 0 says that the database itself has everything. Reads wait meanwhile, except for the last step, which takes as long
/// as reading the whole database.
pub(super) fn reopen(
    directory: &Directory,
    readers: &Connections,
    frames: Option<u64>,
) -> Result<Connection, Distrust> {
    let shorten = |frames| cut(&directory.log(), frames).map_err(|error| not_yet("cutting the log", error));
    if let Some(frames @ 1..) = frames {
        // Nobody reads beyond them.
        shorten(frames)?;
    }
    // Those who read can go on with what they have open, and could not open it again.
    try_disk(directory).map_err(|error| not_yet("trying the disk", error))?;
    {
        let _closed = readers.close();
        if frames == Some(0) {
            shorten(0)?;
        }
        forget(directory);
        let alone =
            directory.connect_alone().map_err(|error| not_yet("opening the database alone", error))?;
        let found = log_frames(&alone).map_err(|error| not_yet("writing the log to the database", error))?;
        // An empty log is one that somebody else who had the database open has written to it.
        if let Some(frames) = frames.filter(|frames| found < *frames && directory.log_size() > 0) {
            return Err(Distrust::Damaged(format!(
                "the disk has lost what it had confirmed: {found} of {frames} pages of the log are left"
            )));
        }
        super::checkpoint::fold_log(&alone).map_err(|error| not_yet("emptying the log", error))?;
        alone.close().map_err(|(_, error)| not_yet("closing the database", error))?;
        forget(directory);
    }
    let connection = directory.connect().map_err(|error| not_yet("opening the database", error))?;
    let found: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| not_yet("checking the database", error))?;
    match found.as_str() {
        "ok" => Ok(connection),
        _ => Err(Distrust::Damaged(found)),
    }
}

/// Whether a new file can be written and synced.
fn try_disk(directory: &Directory) -> io::Result<()> {
    let path = directory.database().with_file_name("antiphon.try");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    let written = file.write_all(&[0; 4_096]).and_then(|()| file.sync_all());
    fs::remove_file(path)?;
    written
}

fn not_yet(doing: &'static str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Distrust {
    Distrust::NotYet(doing, error.into())
}

/// Copies the log to the database and syncs both; returns how many frames the log had.
fn log_frames(connection: &Connection) -> rusqlite::Result<u64> {
    // The first statement that reads has the log looked through, from its start and from the file.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let frames: i64 = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(1))?;
    Ok(u64::try_from(frames).unwrap_or(0))
}

/// Cuts everything off `log` but its first `frames`: writes that were refused, whose pages the system may still have.
fn cut(log: &Path, frames: u64) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(log) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    let mut kept = 0;
    if frames > 0 && length >= HEADER {
        let mut header = [0; 12];
        file.read_exact(&mut header)?;
        let page = u32::from_be_bytes([header[8], header[9], header[10], header[11]]);
        kept = HEADER + frames * (FRAME_HEADER + u64::from(page));
    }
    match kept < length {
        true => file.set_len(kept),
        false => Ok(()),
    }
}

/// Has the system forget what it remembers of the files, so that they are read from the disk. It may decline, and does where
/// there is no disk.
fn forget(directory: &Directory) {
    for path in [directory.database().to_owned(), directory.log()] {
        if let Ok(file) = File::open(path) {
            let _ = fadvise(&file, 0, None, Advice::DontNeed);
        }
    }
}

impl From<Distrust> for Fault {
    fn from(distrust: Distrust) -> Self {
        Self::because("opening the database again", distrust)
    }
}

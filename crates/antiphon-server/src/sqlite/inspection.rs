//! What is wrong with a data directory: everything that can be told without changing it.
//!
//! The order is that of the checks: files, log, structure, then what the rows mean. A check that cannot be done because an
//! earlier one found too much is left out.

mod rows;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_core::ids::Timestamp;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::directory::{SCHEMA, schema};
use super::log;
use super::watch::free_space;

/// Free bytes below which there is a warning.
const LOW_SPACE: u64 = 256 * 1024 * 1024;

/// A log that is larger than this is not made small by the server that runs.
const LARGE_LOG: u64 = 256 * 1024 * 1024;

/// Findings of one check; more of the same kind say nothing new.
const ENOUGH: usize = 20;

/// Everything that was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Whether a server has the directory in use.
    pub(crate) is_running: bool,
    /// The checks that were done, in order.
    pub(crate) checks: Vec<&'static str>,
    /// What is wrong, in the order in which it was found.
    pub(crate) findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The check that found it.
    pub(crate) check: &'static str,
    /// Whether something is lost or broken, or only worth knowing.
    pub(crate) weight: Weight,
    /// What it is, in one sentence.
    pub(crate) what: String,
    /// What to do about it, in one sentence.
    pub(crate) advice: &'static str,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weight {
    /// Worth knowing.
    Warning,
    /// Lost or broken.
    Error,
}

const RESTORE: &str = "Stop the server, keep a copy of the directory, and start with the newest backup \
     that `antiphon doctor` finds nothing in.";
const REPORT: &str = "Keep a copy of the directory and report this: it is a fault of Antiphon, \
     or somebody changed the database.";

/// Looks at `directory`, whose clock says `now`. Long work says how far it is to `progress`.
pub(crate) fn inspect(directory: &Path, now: Timestamp, progress: &mut dyn FnMut(String)) -> Report {
    let mut look = Look { directory, now, progress, report: Report::default() };
    look.report.is_running = is_running(directory);
    if look.files() && look.log() {
        look.database();
    }
    look.report
}

/// What the log of a stopped server has lost, as a sentence. To be asked before the database is opened, which makes SQLite
/// forget it.
pub(crate) fn lost_log(directory: &Path) -> Option<String> {
    let path = directory.join("antiphon.db-wal");
    if is_running(directory) {
        return None;
    }
    let found = log::loss(&path, &directory.join("antiphon.db-shm"));
    found.ok().flatten().map(|loss| format!("{} is damaged: {loss}", path.display()))
}

/// Whether a server holds the lock.
fn is_running(directory: &Path) -> bool {
    // Given back at once, so that a server that starts now is not refused.
    File::open(directory.join("antiphon.lock")).is_ok_and(|lock| lock.try_lock().is_err())
}

struct Look<'a> {
    directory: &'a Path,
    now: Timestamp,
    progress: &'a mut dyn FnMut(String),
    report: Report,
}

impl Look<'_> {
    fn begin(&mut self, check: &'static str) {
        self.report.checks.push(check);
        (self.progress)(format!("checking {check}"));
    }

    fn find(&mut self, weight: Weight, what: impl Into<String>, advice: &'static str) {
        let check = self.report.checks.last().copied().unwrap_or_default();
        if self.report.findings.iter().filter(|finding| finding.check == check).count() < ENOUGH {
            self.report.findings.push(Finding { check, weight, what: what.into(), advice });
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Whether there is a database to look into.
    fn files(&mut self) -> bool {
        self.begin("files");
        let Ok(metadata) = fs::metadata(self.directory) else {
            self.find(
                Weight::Error,
                format!("there is no directory {}", self.directory.display()),
                "Name the data directory of the server with --data.",
            );
            return false;
        };
        let mut open = Vec::new();
        if metadata.permissions().mode() & 0o077 != 0 {
            open.push(self.directory.to_owned());
        }
        for name in ["antiphon.db", "antiphon.db-wal", "antiphon.db-shm", "antiphon.lock"] {
            let path = self.path(name);
            if fs::metadata(&path).is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0) {
                open.push(path);
            }
        }
        // In a directory that nobody else can enter, the permissions of its files say nothing.
        if open.first().is_some_and(|first| first == self.directory) {
            for path in open {
                let what = format!("{} can be read by other users of this machine", path.display());
                self.find(
                    Weight::Warning,
                    what,
                    "Take the permissions away: chmod -R go= on the data directory.",
                );
            }
        }
        if let Some(free) = free_space(self.directory).filter(|free| *free < LOW_SPACE) {
            let what = format!("the disk has {free} bytes left");
            self.find(Weight::Warning, what, "Make room: without any, writes are refused.");
        }
        let database = self.path("antiphon.db");
        match File::open(&database).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.len() > 0 => true,
            Ok(_) => {
                let what = format!("{} is empty", database.display());
                self.find(
                    Weight::Error,
                    what,
                    "If a server has used the directory, put a backup there as antiphon.db.",
                );
                false
            }
            Err(error) => {
                let what = format!("{} cannot be read: {error}", database.display());
                self.find(
                    Weight::Error,
                    what,
                    "Run this as the user of the server, and name its data directory.",
                );
                false
            }
        }
    }

    /// Whether what the log has may be looked at. Opening the database resets what tells of a loss, so this comes first.
    fn log(&mut self) -> bool {
        self.begin("log");
        let path = self.path("antiphon.db-wal");
        let size = fs::metadata(&path).map_or(0, |metadata| metadata.len());
        if self.report.is_running {
            if size > LARGE_LOG {
                let what = format!("{} has {size} bytes", path.display());
                self.find(
                    Weight::Warning,
                    what,
                    "Somebody reads for long, a backup perhaps; it shrinks when they are done.",
                );
            }
            return true;
        }
        match log::loss(&path, &self.path("antiphon.db-shm")) {
            Ok(None) if size > 0 => {
                let what = format!("the server was not stopped in order: {size} bytes are still in its log");
                self.find(Weight::Warning, what, "Nothing is lost: the next start takes them over.");
                true
            }
            Ok(None) => true,
            Ok(Some(loss)) => {
                let what = format!("{} is damaged: {loss}", path.display());
                self.find(Weight::Error, what, RESTORE);
                false
            }
            Err(error) => {
                self.find(Weight::Error, format!("{} cannot be read: {error}", path.display()), RESTORE);
                false
            }
        }
    }

    fn database(&mut self) {
        self.begin("structure");
        if let Err(error) = self.structure() {
            self.find(Weight::Error, format!("antiphon.db cannot be read: {error}"), RESTORE);
        }
    }

    fn structure(&mut self) -> rusqlite::Result<()> {
        let connection = self.open()?;
        let found = schema(&connection)?;
        match found {
            0 => {
                self.find(
                    Weight::Error,
                    "the database has no schema: no server has finished its first start",
                    REPORT,
                );
                return Ok(());
            }
            newer if newer > SCHEMA => {
                let what = format!(
                    "the database was written by a newer Antiphon: its schema is {newer}, this one knows {SCHEMA}"
                );
                self.find(Weight::Error, what, "Run the doctor of that version.");
                return Ok(());
            }
            SCHEMA => {}
            older => {
                let what = format!("the database has schema {older}; this version writes {SCHEMA}");
                self.find(
                    Weight::Warning,
                    what,
                    "The next start brings it there; until then there are no checksums to compare.",
                );
            }
        }
        let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let said: String = row.get(0)?;
            if said != "ok" {
                self.find(Weight::Error, said, RESTORE);
            }
        }
        self.references(&connection)?;
        if found == SCHEMA {
            self.each("messages", &connection, Self::messages);
            self.each("ledger", &connection, Self::ledger);
            self.each("open charges", &connection, Self::charges);
            self.each("requests", &connection, Self::requests);
        }
        Ok(())
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let path = self.path("antiphon.db");
        let log = fs::metadata(self.path("antiphon.db-wal")).map_or(0, |log| log.len());
        let connection = if log == 0 && !self.report.is_running {
            // Otherwise files appear beside it.
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{}?immutable=1", escaped(&path)), flags)?
        } else {
            Connection::open_with_flags(path, flags)?
        };
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    }

    /// One check, whose failure is a finding and does not stop the others.
    fn each(
        &mut self,
        check: &'static str,
        connection: &Connection,
        work: impl FnOnce(&mut Self, &Connection) -> rusqlite::Result<()>,
    ) {
        self.begin(check);
        // All of it is of one moment, however much a server writes meanwhile.
        let worked = connection.execute_batch("BEGIN").and_then(|()| work(self, connection));
        let ended = connection.execute_batch("ROLLBACK");
        if let Err(error) = worked.and(ended) {
            self.find(Weight::Error, format!("{check} cannot be read: {error}"), RESTORE);
        }
    }

    fn references(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.begin("references");
        let mut statement = connection.prepare("PRAGMA foreign_key_check")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            self.find(
                Weight::Error,
                format!("a row of {table} refers to one of {parent} that is not there"),
                REPORT,
            );
        }
        Ok(())
    }
}

/// A path as part of a URI.
fn escaped(path: &Path) -> String {
    let bytes = path.as_os_str().as_encoded_bytes().iter();
    bytes
        .map(|byte| match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                char::from(*byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

//! Which files there are, whose they are, and which version they have.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon_core::refusal::Fault;
use refinery::{Migration, Runner};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};

use super::checksum;
use super::log;
use super::{Settings, Synchronous};

/// A directory that is locked for as long as this lives.
pub(super) struct Directory {
    database: PathBuf,
    settings: Settings,
    /// The lock goes with it, however the process ends.
    lock: File,
}

impl Directory {
    /// Makes the directory if there is none, and locks it against other servers.
    pub(super) fn open(path: &Path, settings: &Settings) -> Result<Self, Fault> {
        make_directory(path).map_err(|error| {
            Fault::because(format!("making the data directory {}", path.display()), error)
        })?;
        let (lock, was_used) = lock(path)?;
        let database = path.join("antiphon.db");
        if was_used && fs::metadata(&database).map_or(true, |file| file.len() == 0) {
            return Err(Fault::new(format!(
                "{} is empty or gone, but this directory had a database. Put a backup there; or, if what was in it is not \
                 wanted any more, choose another directory",
                database.display()
            )));
        }
        // SQLite gives its other files the permissions of this one, so it must not make it itself.
        private(OpenOptions::new().create(true).append(true))
            .open(&database)
            .map_err(|error| Fault::because(format!("opening {}", database.display()), error))?;
        let directory = Self { database, settings: settings.clone(), lock };
        directory.check_log()?;
        Ok(directory)
    }

    /// Fails when the log has lost something that was acknowledged.
    fn check_log(&self) -> Result<(), Fault> {
        let (log, index) = (self.beside("-wal"), self.beside("-shm"));
        let lost = log::loss(&log, &index)
            .map_err(|error| Fault::because(format!("reading {}", log.display()), error))?;
        let Some(lost) = lost else { return Ok(()) };
        let said = format!(
            "{} is damaged: {lost}. What was stored last would be lost. Go back to a backup; or, to go on with what is left, \
             move this file and {} away",
            log.display(),
            index.display()
        );
        match self.settings.synchronous {
            Synchronous::Full => Err(Fault::new(said)),
            // That is what it means: the loss of power may look like this.
            Synchronous::Normal => {
                tracing::warn!("{said}");
                Ok(())
            }
        }
    }

    /// A connection that may write.
    pub(super) fn connect(&self) -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        self.connect_with(flags, |connection| {
            let mode: String =
                connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
            if mode != "wal" {
                tracing::warn!(
                    mode,
                    "the file system does not allow a write-ahead log: reads wait for writes"
                );
            }
            connection.pragma_update(None, "foreign_keys", true)?;
            self.be_durable(connection)?;
            connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIBIBYTES)
        })
    }

    /// A connection to a database that nobody else has open, and nobody else can open while it lives. It takes nothing over
    /// from those who had it open before. To be used after the disk has failed.
    pub(super) fn connect_alone(&self) -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        self.connect_with(flags, |connection| {
            // Before anything is read, or the index of the log that others have left would be used.
            let mode = |row: &Row<'_>| row.get::<_, String>(0);
            connection.pragma_update_and_check(None, "locking_mode", "exclusive", mode)?;
            self.be_durable(connection)
        })
    }

    /// The log is not written to the database behind our back, where it would not be noticed that this fails.
    fn be_durable(&self, connection: &Connection) -> rusqlite::Result<()> {
        let synchronous = match self.settings.synchronous {
            Synchronous::Full => "full",
            Synchronous::Normal => "normal",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(())
    }

    /// A connection that cannot write.
    pub(super) fn connect_reader(&self) -> Result<Connection, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        self.connect_with(flags, |_| Ok(()))
    }

    /// Brings the database to the newest schema.
    pub(super) fn migrate(&self, mut connection: Connection) -> Result<Connection, Fault> {
        let name = self.database.display();
        let found = schema(&connection).map_err(|error| Fault::because(format!("reading {name}"), error))?;
        if found > SCHEMA {
            return Err(Fault::new(format!(
                "{name} was written by a newer Antiphon: its schema is {found}, this one knows {SCHEMA}. Start the newer \
                 version, or restore a backup from before the upgrade"
            )));
        }
        checksum::install(&connection)
            .map_err(|error| Fault::because(format!("preparing {name} for its schema"), error))?;
        migrations().and_then(|migrations| Runner::new(&migrations).run(&mut connection)).map_err(
            |error| Fault::because(format!("bringing {name} from schema {found} to {SCHEMA}"), error),
        )?;
        // From now on an empty database is a lost one.
        writeln!(&self.lock, "{USED}")
            .map_err(|error| Fault::because("marking the directory as used", error))?;
        Ok(connection)
    }

    /// Size of the write-ahead log in bytes; 0 when there is none.
    pub(super) fn log_size(&self) -> u64 {
        fs::metadata(self.log()).map_or(0, |metadata| metadata.len())
    }

    /// Where the write-ahead log is, when there is one.
    pub(super) fn log(&self) -> PathBuf {
        self.beside("-wal")
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut path = self.database.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// Where the database is.
    pub(super) fn database(&self) -> &Path {
        &self.database
    }

    fn connect_with(
        &self,
        flags: OpenFlags,
        set_up: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<Connection, Fault> {
        let open = || {
            let connection = Connection::open_with_flags(&self.database, flags)?;
            connection.busy_timeout(self.settings.busy_timeout.max(Duration::from_millis(1)))?;
            connection.pragma_update(None, "trusted_schema", false)?;
            connection.pragma_update(None, "cell_size_check", true)?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS);
            set_up(&connection)?;
            Ok(connection)
        };
        open().map_err(|error: rusqlite::Error| {
            Fault::because(format!("opening {}", self.database.display()), error)
        })
    }
}

/// The schema that this version writes.
pub(super) const SCHEMA: i64 = 8;

/// The writer touches random places of a few indexes with each message; they are worth keeping at hand.
const WRITER_CACHE_KIBIBYTES: i64 = 16 * 1024;

/// More prepared statements than all of our modules have together.
const STATEMENTS: usize = 128;

/// Every step from nothing to [`SCHEMA`], in order. What a released version has run is never changed.
pub(super) fn migrations() -> Result<Vec<Migration>, refinery::Error> {
    Ok(vec![
        Migration::unapplied("V1__start", include_str!("migrations/V1__start.sql"))?,
        Migration::unapplied("V2__credentials", include_str!("migrations/V2__credentials.sql"))?,
        Migration::unapplied("V3__webhooks", include_str!("migrations/V3__webhooks.sql"))?,
        Migration::unapplied("V4__wallet", include_str!("migrations/V4__wallet.sql"))?,
        Migration::unapplied("V5__tasks", include_str!("migrations/V5__tasks.sql"))?,
        Migration::unapplied("V6__people", include_str!("migrations/V6__people.sql"))?,
        Migration::unapplied("V7__jobs", include_str!("migrations/V7__jobs.sql"))?,
        Migration::unapplied("V8__checksums", include_str!("migrations/V8__checksums.sql"))?,
    ])
}

/// Which schema the database has; 0 when it is empty.
pub(super) fn schema(connection: &Connection) -> rusqlite::Result<i64> {
    let history = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'refinery_schema_history'";
    if connection.query_row(history, [], |_| Ok(())).optional()?.is_none() {
        return Ok(0);
    }
    let newest: Option<i64> =
        connection.query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))?;
    Ok(newest.unwrap_or(0))
}

fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // SQLite sees to it that files survive a power failure; that the directory does is up to us.
    match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}

/// What we write there is shorter, in bytes.
const LONGEST_LOCK: u64 = 1_024;

/// What the file of the lock says when the directory has a database.
const USED: &str = "has a database";

/// Locks the directory; returns the lock, and whether it had a database before.
fn lock(directory: &Path) -> Result<(File, bool), Fault> {
    let path = directory.join("antiphon.lock");
    let fault = |error: io::Error| Fault::because(format!("locking {}", path.display()), error);
    let mut file = private(OpenOptions::new().create(true).truncate(false).read(true).write(true))
        .open(&path)
        .map_err(fault)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = io::read_to_string(&file).unwrap_or_default();
            let holder = match holder.lines().next() {
                None | Some("") => String::new(),
                Some(process) => format!(" (process {process})"),
            };
            return Err(Fault::new(format!(
                "the data directory {} is in use by another Antiphon{holder}. Stop it first, or choose another directory",
                directory.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(fault(error)),
    }
    // It may be anything, if the disk has damaged it.
    let mut before = Vec::new();
    if file.metadata().map_err(fault)?.len() > LONGEST_LOCK {
        return Err(Fault::new(format!(
            "{} is another file under this name. Find out which, and move it away",
            path.display()
        )));
    }
    file.read_to_end(&mut before).map_err(fault)?;
    let was_used = String::from_utf8_lossy(&before).lines().any(|line| line == USED);
    // The number is only for the message above; the lock holds without it.
    let mark = if was_used { format!("{USED}\n") } else { String::new() };
    file.rewind().and_then(|()| file.set_len(0)).map_err(fault)?;
    write!(file, "{}\n{mark}", std::process::id()).map_err(fault)?;
    Ok((file, was_used))
}

/// Made for its owner alone.
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

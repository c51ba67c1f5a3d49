//! `backup`: a consistent copy of a server's database, whether it runs or not.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use rusqlite::{Connection, OpenFlags};

use super::place::DATABASE;
use crate::sqlite::inspection::lost_log;

/// How long to wait for somebody who has locked the database for themselves.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copy the database of a server that runs or is stopped.
///
/// The copy is of one moment, and it is checked before it gets its name. An existing file is never overwritten. To go back to
/// it, stop the server and start it with a data directory that holds nothing but the copy, as antiphon.db.
#[derive(Args)]
pub(super) struct Backup {
    /// The data directory of the server.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The new file, or a directory in which antiphon.db is made.
    #[arg(value_name = "DIR|FILE")]
    to: PathBuf,
}

impl Backup {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let to = if self.to.is_dir() { self.to.join(DATABASE) } else { self.to };
        if let Some(lost) = lost_log(&self.data) {
            bail!("{lost}, so a copy would lack what was stored last. `antiphon doctor` says more");
        }
        let bytes = copy(&self.data.join(DATABASE), &to)?;
        writeln!(std::io::stdout(), "{} holds a copy of {bytes} bytes, checked", to.display())?;
        Ok(())
    }
}

/// Copies the database `from` to the new file `to`; returns its size in bytes.
fn copy(from: &Path, to: &Path) -> anyhow::Result<u64> {
    ensure!(from.exists(), "there is no database {}", from.display());
    ensure!(!to.exists(), "{} exists already; name a new file", to.display());
    let unfinished = Unfinished::make(to)?;
    // Not read only: after a server was killed, reading needs its log to be recovered first.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags)
        .with_context(|| format!("cannot open {}", from.display()))?;
    source.busy_timeout(PATIENCE)?;
    let name = unfinished.path.to_str().context("SQLite takes only paths that are UTF-8")?;
    source
        .execute("VACUUM INTO ?1", [name])
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    check(&unfinished.path)?;
    unfinished.finish(to)
}

/// Reads the whole copy and compares what is in it with what it says is in it.
fn check(path: &Path) -> anyhow::Result<()> {
    let copy = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let found: String = copy.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    ensure!(
        found == "ok",
        "the copy is damaged: {found}. It was deleted; the database itself may be damaged as well"
    );
    let tables: i64 =
        copy.query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| row.get(0))?;
    ensure!(tables > 0, "the database is empty; no server has used this directory yet");
    Ok(())
}

/// A file under another name, which goes away unless it is finished.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn make(to: &Path) -> anyhow::Result<Self> {
        let mut name = to.file_name().with_context(|| format!("{} names no file", to.display()))?.to_owned();
        name.push(format!(".{}.unfinished", std::process::id()));
        let path = to.with_file_name(name);
        // An empty file is taken by SQLite as a new one; made here, so that nobody else can read it.
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }

    /// Has the disk keep it, and gives it its name unless somebody else took that meanwhile. Returns its size in bytes.
    fn finish(self, to: &Path) -> anyhow::Result<u64> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        match std::fs::hard_link(&self.path, to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                bail!("{} exists already; name a new file", to.display())
            }
            Err(error) => return Err(error).with_context(|| format!("cannot write {}", to.display())),
        }
        if let Some(directory) = to.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        Ok(file.metadata()?.len())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Its content has another name by now, or is no use.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use antiphon_core::actor::Plan;
    use antiphon_core::ports::People as _;

    use super::*;
    use crate::sqlite::{Settings, SqliteStore};

    async fn put(store: &SqliteStore, name: &str) {
        let plan =
            Plan { name: name.into(), connections_per_minute: None, messages_per_month: None, agents: None };
        store.put_plan(&plan).await.unwrap();
    }

    #[tokio::test]
    async fn a_copy_of_a_database_in_use_has_all_that_was_answered_and_opens_as_a_data_directory() {
        let (data, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = SqliteStore::open(data.path(), Settings::default()).unwrap();
        put(&store, "before").await;
        let to = backup.path().join(DATABASE);
        let bytes = copy(&data.path().join(DATABASE), &to).unwrap();
        put(&store, "after").await;

        let metadata = std::fs::metadata(&to).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (bytes, 0o600));
        let restored = SqliteStore::open(backup.path(), Settings::default()).unwrap();
        assert!(restored.plan("before").await.unwrap().is_some());
        assert!(restored.plan("after").await.unwrap().is_none());
        assert!(store.plan("after").await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_file_that_exists_stays_as_it_is() {
        let data = tempfile::tempdir().unwrap();
        drop(SqliteStore::open(data.path(), Settings::default()).unwrap());
        let to = data.path().join("copy");
        std::fs::write(&to, "mine").unwrap();
        let error = copy(&data.path().join(DATABASE), &to).unwrap_err().to_string();
        assert!(error.contains("exists already"), "{error}");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "mine");
    }

    #[test]
    fn what_is_no_database_or_a_damaged_one_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join(DATABASE), directory.path().join("copy"));
        assert!(copy(&from, &to).unwrap_err().to_string().contains("there is no database"));
        for content in [&b""[..], b"this is not a database at all, however long it may be"] {
            std::fs::write(&from, content).unwrap();
            assert!(copy(&from, &to).is_err());
            let names: Vec<_> =
                directory.path().read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, [DATABASE], "nothing but the source is left");
        }
    }
}

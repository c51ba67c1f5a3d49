//! Which run is the one to come back to.
//!
//! Each run has a directory, in it one for each time that it began to write, and a marker that names the one that counts. A run
//! without a marker is none to come back to.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::segments;

/// How lines are written today. A book in another way is not read.
const FORMAT: u32 = 1;

const MARKER: &str = "complete";

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Marker {
    format: u32,
    /// How often the machine was started, by name: after its death nobody knows what reached the disk.
    boot: String,
    /// Which of all runs it is.
    pub(super) generation: u64,
    /// What it is called in offsets.
    pub(super) run: u32,
    pub(super) cores: u16,
    /// The directory that counts.
    pub(super) epoch: u64,
    /// The time of day at the start of the run, in milliseconds since the Unix epoch.
    pub(super) wall: i64,
}

impl Marker {
    /// Of the `epoch` of this run, at that start of the machine and that time of day.
    pub(super) fn new(
        boot: String,
        generation: u64,
        (run, cores): (u32, u16),
        epoch: u64,
        wall: i64,
    ) -> Self {
        Self { format: FORMAT, boot, generation, run, cores, epoch, wall }
    }

    /// Puts it into the directory of `run`, whole or not at all.
    pub(super) fn put(&self, run: &Path) -> io::Result<()> {
        let new = run.join("complete.new");
        forget_file(&new)?;
        segments::create(&new)?.write_all(serde_json::to_string(self)?.as_bytes())?;
        fs::rename(new, run.join(MARKER))
    }

    fn of(run: &Path) -> io::Result<Option<Self>> {
        match fs::read(run.join(MARKER)) {
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The runs that there are.
#[derive(Default)]
pub(super) struct Runs {
    /// The one to come back to.
    pub(super) last: Option<(PathBuf, Marker)>,
    /// The highest generation that there was.
    pub(super) generation: u64,
}

impl Runs {
    /// Those in `directory`, on a machine that was started as `boot`. Directories without a marker are removed.
    pub(super) fn of(directory: &Path, boot: Option<&str>) -> io::Result<Self> {
        let mut found: Vec<(PathBuf, Marker)> = Vec::new();
        for path in directories(directory)? {
            match Marker::of(&path)? {
                Some(marker) => found.push((path, marker)),
                None => fs::remove_dir_all(path)?,
            }
        }
        let newest = found.into_iter().max_by_key(|(_, marker)| marker.generation);
        let generation = newest.as_ref().map_or(0, |(_, marker)| marker.generation);
        let can_be_read = |(_, marker): &(PathBuf, Marker)| {
            marker.format == FORMAT && boot.is_some_and(|boot| boot == marker.boot)
        };
        Ok(Self { last: newest.filter(can_be_read), generation })
    }
}

/// The run in the directory `run` is none to come back to any more.
pub(super) fn unmark(run: &Path) -> io::Result<()> {
    forget_file(&run.join(MARKER))
}

/// Removes all runs in `directory` but the one in `run`.
pub(super) fn forget_all_but(directory: &Path, run: &Path) -> io::Result<()> {
    for path in directories(directory)? {
        if path != run {
            unmark(&path)?;
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

/// What this start of the machine is called. `None` where that cannot be known.
pub(super) fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn forget_file(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

//! The files of a book: each is appended to for a while, then comes the next; old ones are deleted.

use std::collections::VecDeque;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Milliseconds for which a file is written.
pub(super) const TURN: i64 = 30_000;

/// Bytes after which the next file begins in any case.
const LARGE: u64 = 8 << 20;

/// Bytes that files of one name may have together; above that the oldest are deleted before their time. What was in them is lost to
/// sessions, and they say so.
const MOST: u64 = 256 << 20;

/// The files of one name.
pub(super) struct Segments {
    directory: PathBuf,
    name: String,
    number: u32,
    file: File,
    size: u64,
    began: i64,
    old: VecDeque<Old>,
}

struct Old {
    number: u32,
    size: u64,
    /// When the next one began.
    until: i64,
}

impl Segments {
    /// Begins the first of the files called `name` in `directory`, at `now`, as all times in milliseconds since the start of the
    /// process.
    pub(super) fn begin(directory: &Path, name: &str, now: i64) -> io::Result<Self> {
        let (directory, name) = (directory.to_owned(), name.to_owned());
        let file = create(&path(&directory, &name, 1))?;
        Ok(Self { directory, name, number: 1, file, size: 0, began: now, old: VecDeque::new() })
    }

    /// Appends `record`, with one write as long as the kernel takes it.
    pub(super) fn write(&mut self, record: &[u8]) -> io::Result<()> {
        self.file.write_all(record)?;
        self.size += record.len() as u64;
        Ok(())
    }

    /// Whether the next file should begin.
    pub(super) fn is_due(&self, now: i64) -> bool {
        self.size >= LARGE || now.saturating_sub(self.began) >= TURN
    }

    /// Begins the next file, and deletes those after which the next one began more than `keep` milliseconds ago: what is left goes
    /// back that far.
    pub(super) fn turn_over(&mut self, now: i64, keep: i64) -> io::Result<()> {
        let file = create(&path(&self.directory, &self.name, self.number + 1))?;
        self.old.push_back(Old { number: self.number, size: self.size, until: now });
        (self.file, self.size, self.began) = (file, 0, now);
        self.number += 1;
        let mut all: u64 = self.old.iter().map(|old| old.size).sum();
        while let Some(first) = self.old.front() {
            if all <= MOST && now.saturating_sub(first.until) <= keep {
                break;
            }
            std::fs::remove_file(path(&self.directory, &self.name, first.number))?;
            all -= first.size;
            self.old.pop_front();
        }
        Ok(())
    }
}

/// The files called `name` in `directory`, in order; nothing when one is missing between them, or all.
pub(super) fn list(directory: &Path, name: &str) -> io::Result<Option<Vec<PathBuf>>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let file = entry?.file_name();
        let number =
            file.to_str().and_then(|file| file.strip_prefix(name)?.strip_prefix('-')?.parse::<u32>().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    let is_complete =
        !numbers.is_empty() && numbers.windows(2).all(|pair| pair[0].checked_add(1) == Some(pair[1]));
    Ok(is_complete.then(|| numbers.into_iter().map(|number| path(directory, name, number)).collect()))
}

/// Makes `directory`, for nobody else to look into.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)
}

/// Makes the file at `path`, for nobody else to read.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
}

fn path(directory: &Path, name: &str, number: u32) -> PathBuf {
    directory.join(format!("{name}-{number}"))
}

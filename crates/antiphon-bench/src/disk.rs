//! What it costs to make one message durable at a time, on the disk that the product writes to, and how that disk is made slow.
//!
//! A disk that syncs within a fraction of a millisecond hides what group commit is for: one core has its hands full with the
//! messages themselves. So the durable rows are measured twice, the second time with [`SLOWER`] added to every sync. A library
//! that is loaded before the C library sleeps in `fsync` and `fdatasync`, in the product and in its floor alike.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::scenario::durable::Durability;
use crate::statistics::percentile;

/// Which disk is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disk {
    /// The one that the data lies on, as it is.
    Own,
    /// The same one, with [`SLOWER`] added to every sync.
    Slow,
}

/// What a slow disk's sync takes longer: about what volumes take that are on the other side of a network.
pub const SLOWER: Duration = Duration::from_millis(4);

/// The library's source.
const SLOW_SYNC: &str = include_str!("slow_sync.c");

/// Size of what is written before each `fdatasync`: about one stored message, in bytes.
const MESSAGE: [u8; 256] = [b'm'; 256];

/// Compiles the library that makes syncs slow as `library`. Fails where there is no C compiler.
pub fn compile(library: &Path) -> Result<()> {
    let source = library.with_extension("c");
    fs::write(&source, SLOW_SYNC).with_context(|| format!("writing {}", source.display()))?;
    let mut compiler = Command::new("cc");
    compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(library).arg(&source).args(["-ldl", "-lpthread"]);
    let output = compiler.stdin(Stdio::null()).output().context("starting the C compiler, cc")?;
    if !output.status.success() {
        bail!("cc: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Has every sync of `program` wait for [`SLOWER`], by means of the compiled `library`.
pub fn slow_down(program: &mut Command, library: &Path) {
    program.env("LD_PRELOAD", library).env("SLOW_SYNC_MICROS", SLOWER.as_micros().to_string());
}

/// What [`one_sync_per_message`] finds, in a process of its own, so that its disk can be a slow one.
///
/// `measurer` is the command of this program that calls it and prints what it found as JSON.
pub fn measure(mut measurer: Command) -> Result<Durability> {
    let output = measurer.stdin(Stdio::null()).output().context("starting who writes to the disk")?;
    if !output.status.success() {
        bail!(
            "who writes to the disk: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    serde_json::from_slice(&output.stdout).context("reading what was found of the disk")
}

/// Appends messages to a file in `directory` for `duration`, each followed by its own `fdatasync`.
///
/// The file is deleted afterwards.
pub fn one_sync_per_message(directory: &Path, duration: Duration) -> Result<Durability> {
    let path = directory.join("sync");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("creating {}", path.display()))?;
    let mut latencies = Vec::new();
    let start = Instant::now();
    while start.elapsed() < duration {
        let begin = Instant::now();
        file.write_all(&MESSAGE)?;
        file.sync_data()?;
        latencies.push(begin.elapsed().as_micros() as u32);
    }
    let elapsed = start.elapsed();
    std::fs::remove_file(&path)?;
    Ok(Durability {
        per_second: latencies.len() as f64 / elapsed.as_secs_f64(),
        p99_millis: f64::from(percentile(&mut latencies, 0.99).unwrap_or_default()) / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_disk_is_slower_by_what_is_added() {
        let directory = tempfile::tempdir().unwrap();
        let library = directory.path().join("slow-sync.so");
        if let Err(error) = compile(&library) {
            // Where there is no compiler, the rows are left out as well.
            assert!(format!("{error:#}").contains("starting the C compiler"), "{error:#}");
            return;
        }
        let synced = |slow: bool| {
            let mut program = Command::new("dd");
            program.args(["if=/dev/zero", "bs=1", "count=1", "conv=fdatasync", "status=none"]);
            program.arg(format!("of={}", directory.path().join("synced").display()));
            if slow {
                slow_down(&mut program, &library);
            }
            let begin = Instant::now();
            assert!(program.status().unwrap().success());
            begin.elapsed()
        };
        synced(false);
        assert!(synced(true) >= SLOWER);
    }

    #[test]
    fn the_rate_and_the_latency_belong_together() {
        let directory = tempfile::tempdir().unwrap();
        let measured = one_sync_per_message(directory.path(), Duration::from_millis(50)).unwrap();
        assert!(measured.per_second > 0.0);
        assert!(measured.p99_millis * measured.per_second > 100.0, "{measured:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

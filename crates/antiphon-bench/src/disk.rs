//! What it costs to make one message durable at a time, on the disk that the product writes to.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::scenario::durable::Durability;
use crate::statistics::percentile;

/// Size of what is written before each `fdatasync`: about one stored message, in bytes.
const MESSAGE: [u8; 256] = [b'm'; 256];

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
    fn the_rate_and_the_latency_belong_together() {
        let directory = tempfile::tempdir().unwrap();
        let measured = one_sync_per_message(directory.path(), Duration::from_millis(50)).unwrap();
        assert!(measured.per_second > 0.0);
        assert!(measured.p99_millis * measured.per_second > 100.0, "{measured:?}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}

//! What is looked at once a second: how much room the disk has, and whether it works again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use antiphon_core::refusal::Fault;

use super::health::{Condition, Health};
use super::writer::Prober;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);

/// Looks between two attempts to trust a disk again that has failed: each reads the whole database.
const ATTEMPTS: u32 = 5;

/// A thread that looks. It ends with this.
pub(super) struct Watch {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts the thread, after a first look. `low` is how many free bytes are too few.
    pub(super) fn start(
        database: &Path,
        health: Arc<Health>,
        prober: Prober,
        low: u64,
    ) -> Result<Self, Fault> {
        let place = database.parent().unwrap_or(database).to_owned();
        let mut room = Room { place, health: health.clone(), low, is_low: false };
        room.look();
        let (stop, stopped) = channel();
        let thread = thread::Builder::new().name("sqlite-watch".into()).spawn(move || {
            let mut looks = 0_u32;
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(PAUSE) {
                room.look();
                looks = looks.wrapping_add(1);
                match health.condition() {
                    Condition::Full => prober.probe(),
                    Condition::Failed if looks.is_multiple_of(ATTEMPTS) => prober.probe(),
                    Condition::Sound | Condition::Failed | Condition::Damaged => {}
                }
            }
        });
        let thread = thread.map_err(|error| Fault::because("starting the thread that watches", error))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, nobody is waiting for it.
            let _ = thread.join();
        }
    }
}

/// The room that the file system has.
struct Room {
    place: PathBuf,
    health: Arc<Health>,
    low: u64,
    is_low: bool,
}

impl Room {
    fn look(&mut self) {
        let Some(free) = free_space(&self.place) else { return };
        self.health.set_free(free);
        // Twice as much ends it, so that a disk at the edge is not a line in the log every second.
        let is_low = free < if self.is_low { self.low.saturating_mul(2) } else { self.low };
        let place = self.place.display();
        match (self.is_low, is_low) {
            (false, true) => {
                tracing::warn!(%place, free, "the disk is nearly full: make room before writes are refused")
            }
            (true, false) => tracing::info!(%place, free, "the disk has room again"),
            _ => {}
        }
        self.is_low = is_low;
    }
}

/// Bytes that are free in the file system of `place`, if it says so.
pub(crate) fn free_space(place: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(place).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_at_the_edge_is_low_until_it_has_twice_as_much() {
        let directory = tempfile::tempdir().unwrap();
        let health = Arc::new(Health::default());
        let free = free_space(directory.path()).unwrap();
        let mut room =
            Room { place: directory.path().to_owned(), health: health.clone(), low: 0, is_low: false };
        room.look();
        assert!(!room.is_low, "nothing is less than nothing");
        assert!(health.free() > 0);
        room.low = u64::MAX;
        room.look();
        assert!(room.is_low);
        room.low = free / 3 * 2;
        room.look();
        assert!(room.is_low, "{free} is not twice {}", room.low);
        room.low = free / 4;
        room.look();
        assert!(!room.is_low);
    }
}

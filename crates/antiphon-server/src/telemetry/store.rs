//! What `/metrics` says about the embedded database.

use super::Part;
use super::exposition::Page;
use crate::sqlite::SqliteStore;
use crate::sqlite::health::Condition;

/// Nanoseconds in a second.
const NANOSECONDS: f64 = 1e9;

impl Part for SqliteStore {
    fn write(&self, page: &mut Page) {
        let counts = self.counts();
        page.gauge("antiphon_store_queue", "Writes that are queued and not begun.")
            .sample(&[], counts.waiting);
        page.counter("antiphon_store_writes_total", "Writes, by whether they were stored.")
            .sample(&[("end", "stored")], counts.writes)
            .sample(&[("end", "failed")], counts.failures);
        page.gauge("antiphon_disk_free_bytes", "Bytes that the file system of the data directory has left.")
            .sample(&[], self.health().free());
        let now = self.health().condition();
        let mut disk = page.gauge("antiphon_disk_condition", "1 for how the disk of the data directory is.");
        for condition in Condition::ALL {
            disk.sample(&[("condition", condition.name())], u8::from(condition == now));
        }
        let (time, writes) = self.commits();
        page.histogram(
            "antiphon_store_commit_duration_seconds",
            "Time from the first write of a commit until it is durable.",
        )
        .reading(&[], &time, NANOSECONDS);
        page.histogram("antiphon_store_commit_writes", "Writes that went with one commit.").reading(
            &[],
            &writes,
            1.0,
        );
    }
}

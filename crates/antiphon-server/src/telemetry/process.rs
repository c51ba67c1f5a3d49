//! What the operating system says about this process.
//!
//! From `/proc`; where there is none, these metrics are missing. The names are those that all Prometheus clients use.

use std::fs;

use super::exposition::Page;

/// Clock ticks per second in `/proc`: `USER_HZ`, which Linux fixes at 100 for programs, whatever the kernel itself uses.
const TICKS: f64 = 100.0;

/// Writes what is known.
pub(super) fn write(page: &mut Page) {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    if let Some(seconds) = cpu(&stat) {
        page.counter("process_cpu_seconds_total", "User and system time, in seconds.").sample(&[], seconds);
    }
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    if let Some(start) = started(&stat, &boot) {
        page.gauge("process_start_time_seconds", "When the process started, in seconds since 1970.")
            .sample(&[], start);
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(kibibytes) = number_after(&status, "VmRSS:") {
        page.gauge("process_resident_memory_bytes", "Memory in use, in bytes.").sample(&[], kibibytes * 1024);
    }
    if let Some(kibibytes) = number_after(&status, "VmSize:") {
        page.gauge("process_virtual_memory_bytes", "Address space in use, in bytes.")
            .sample(&[], kibibytes * 1024);
    }
    if let Some(threads) = number_after(&status, "Threads:") {
        page.gauge("process_threads", "Threads.").sample(&[], threads);
    }
    if let Some(open) = open_files() {
        page.gauge("process_open_fds", "Open file descriptors.").sample(&[], open);
    }
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    if let Some(most) = number_after(&limits, "Max open files") {
        page.gauge("process_max_fds", "File descriptors that may be open.").sample(&[], most);
    }
}

/// The fields of `stat` after the name, which may hold anything, in parentheses. The first is field 3 of proc_pid_stat(5).
fn fields(stat: &str) -> Option<Vec<&str>> {
    let (_, rest) = stat.rsplit_once(')')?;
    Some(rest.split_ascii_whitespace().collect())
}

fn cpu(stat: &str) -> Option<f64> {
    let fields = fields(stat)?;
    let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    Some((ticks(14)? + ticks(15)?) as f64 / TICKS)
}

fn started(stat: &str, boot: &str) -> Option<f64> {
    let ticks: u64 = fields(stat)?.get(22 - 3)?.parse().ok()?;
    Some(number_after(boot, "btime")? as f64 + ticks as f64 / TICKS)
}

/// The first number on the line that begins with `name`.
fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn open_files() -> Option<u64> {
    // Since Linux 6.2 the size of the directory is their number. Before, each has to be looked at.
    let size = fs::metadata("/proc/self/fd").ok()?.len();
    if size > 0 { Some(size) } else { Some(fs::read_dir("/proc/self/fd").ok()?.count() as u64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "42 (a) b (c) S 1 42 42 0 -1 4194560 9 0 0 0 250 150 0 0 20 0 3 0 1000 10 2 1 1";

    #[test]
    fn a_name_with_parentheses_does_not_move_the_fields() {
        assert_eq!(cpu(STAT), Some(4.0));
        assert_eq!(started(STAT, "cpu 1 2\nbtime 1700000000\n"), Some(1_700_000_010.0));
    }

    #[test]
    fn what_cannot_be_read_is_not_known() {
        assert_eq!((cpu(""), started(STAT, ""), number_after("VmRSS:\tx kB", "VmRSS:")), (None, None, None));
        assert_eq!(number_after("Name:\tx\nVmRSS:\t  12 kB", "VmRSS:"), Some(12));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_memory_files_and_time() {
        let mut page = Page::default();
        write(&mut page);
        let text = page.finish();
        for name in [
            "process_cpu_seconds_total",
            "process_start_time_seconds",
            "process_resident_memory_bytes",
            "process_virtual_memory_bytes",
            "process_threads",
            "process_open_fds",
            "process_max_fds",
        ] {
            let value = number_after(&text, &format!("{name} ")).or_else(|| {
                // Not a whole number, then.
                let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")))?;
                line.parse::<f64>().ok().map(|_| 1)
            });
            assert!(value.is_some(), "{name}: {text}");
        }
    }
}

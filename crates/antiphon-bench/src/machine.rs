//! The machine the figures come from: its cores, its limits, its name, its date.

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Pid;

/// Which core serves and which one asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// The server's.
    pub server: usize,
    /// The load generator's.
    pub client: usize,
}

impl Cores {
    /// The first two cores that this process may use, or the first one twice if there is no other.
    pub fn find() -> Result<Self> {
        let allowed = sched_getaffinity(Pid::from_raw(0))?;
        let mut free = (0..CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
        let Some(server) = free.next() else { bail!("no core is free for this process") };
        Ok(Self { server, client: free.next().unwrap_or(server) })
    }

    /// Whether the two stand in each other's way.
    pub fn are_shared(self) -> bool {
        self.server == self.client
    }
}

/// Puts this thread, and whatever it starts from now on, onto `core`.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("pinning to core {core}"))
}

/// Raises the number of files that this process and its children may open to the hard limit, and returns it.
pub fn raise_file_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Processor, cores, memory and kernel in one line.
pub fn describe() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let models: Vec<&str> = processors.lines().filter_map(|line| value_of(line, "model name")).collect();
    let memory = read("/proc/meminfo")
        .lines()
        .find_map(|line| value_of(line, "MemTotal")?.trim_end_matches("kB").trim().parse::<u64>().ok())
        .map_or_else(String::new, |kilobytes| format!(", {} GiB", kilobytes / (1 << 20)));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get).max(models.len());
    let release = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores{}{memory}, Linux {}", model_in_brackets(&models), release.trim())
}

/// How many processes wanted to run during the last minute, on average; 0 if the kernel does not tell.
pub fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0)
}

/// Today in UTC as `2026-11-20`.
pub fn today() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    date(now.as_secs() / 86_400)
}

fn value_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    (key.trim() == name).then(|| value.trim())
}

fn model_in_brackets(models: &[&str]) -> String {
    models.first().map_or_else(String::new, |model| format!(" ({model})"))
}

/// Civil date of a day since 1970-01-01, by counting from 1 March in eras of 400 years.
fn date(day: u64) -> String {
    let days = day + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year}-{month:02}-{:02}", day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_civil() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(19_783), "2024-03-01");
        assert_eq!(date(20_818), "2026-12-31");
        assert_eq!(date(20_819), "2027-01-01");
    }

    #[test]
    fn a_machine_names_its_cores_and_its_kernel() {
        let line = describe();
        assert!(line.contains("cores") && line.contains("Linux "), "{line}");
    }

    #[test]
    fn the_files_limit_is_raised_to_the_hard_one() {
        let hard = raise_file_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
    }
}

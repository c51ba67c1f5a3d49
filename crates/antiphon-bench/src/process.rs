//! One server under measurement: started on its core, awaited until it says that it is ready, and read from outside.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::crowd::Door;
use crate::machine::{self, Cores};

/// How long a server may take until it is ready.
const START: Duration = Duration::from_secs(60);

/// How much of a server's last words is quoted, in characters.
const MOST_WORDS: usize = 500;

/// The dialect that the load generator speaks.
const DIALECT: &str = "chat";

/// A running server. Killed when dropped: nothing that it holds is meant to stay.
pub struct Server {
    child: Child,
    clock: ClockId,
    door: Door,
    versions: Option<String>,
    log: PathBuf,
}

/// The line that every server of this bench prints on standard output when it listens.
#[derive(Debug, Serialize, Deserialize)]
struct Announcement {
    ready: bool,
    mounts: Vec<Mount>,
    #[serde(skip_serializing_if = "Option::is_none")]
    versions: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Mount {
    dialect: String,
    address: SocketAddr,
    path: String,
}

/// Prints what a [`Server`] waits for: the floor's side of the agreement.
pub fn announce(address: SocketAddr, path: &str) -> Result<()> {
    let mount = Mount { dialect: DIALECT.to_owned(), address, path: path.to_owned() };
    let line = serde_json::to_string(&Announcement { ready: true, mounts: vec![mount], versions: None })?;
    let mut output = std::io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush().context("announcing")
}

impl Server {
    /// Starts `command` on the server's core and waits until it is ready. Its standard error goes to `log`.
    pub fn start(mut command: Command, cores: Cores, log: &Path) -> Result<Self> {
        let errors = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        // A child inherits the core of the thread that starts it.
        machine::pin(cores.server)?;
        let spawned = command.spawn();
        machine::pin(cores.client)?;
        let mut child = spawned.with_context(|| format!("starting {}", command.get_program().display()))?;
        let output = child.stdout.take().context("standard output was not piped")?;
        let (sender, first_line) = mpsc::channel();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            sender.send(lines.next()).ok();
            // Read on, so that a talkative server never waits for us.
            lines.for_each(drop);
        });
        let announced = match first_line.recv_timeout(START) {
            Ok(Some(line)) => read_announcement(&line),
            Ok(None) => Err(anyhow!("it ended before it was ready")),
            Err(_) => Err(anyhow!("it was not ready after {} s", START.as_secs())),
        };
        let clock = cpu_clock(&child);
        match (announced, clock) {
            (Ok((door, versions)), Ok(clock)) => {
                Ok(Self { child, clock, door, versions, log: log.to_owned() })
            }
            (Err(error), _) | (_, Err(error)) => {
                child.kill().ok();
                child.wait().ok();
                Err(error.context(format!("{}: {}", command.get_program().display(), last_words(log))))
            }
        }
    }

    /// Where to knock.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// What the server says it is made of, if it says so.
    pub fn versions(&self) -> Option<&str> {
        self.versions.as_deref()
    }

    /// User and system time of all its threads so far, those that ended included, to the nanosecond.
    pub fn cpu(&self) -> Result<Duration> {
        Ok(self.clock.now().context("the server is gone")?.into())
    }

    /// Its resident memory, in bytes.
    ///
    /// From `smaps_rollup`, which walks the pages: the counters in `status` lag behind by up to a batch per core.
    pub fn resident(&self) -> Result<u64> {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
        resident_in(&text).context("no Rss in smaps_rollup")
    }

    /// If the process has ended: how, and the end of what it wrote to standard error. For a note about what went wrong.
    pub fn obituary(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        Some(format!("the server ended ({status}): {}", last_words(&self.log)))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn cpu_clock(child: &Child) -> Result<ClockId> {
    let pid = Pid::from_raw(child.id().try_into().context("a process id is positive")?);
    clock_getcpuclockid(pid).context("asking for the server's CPU clock")
}

fn read_announcement(line: &str) -> Result<(Door, Option<String>)> {
    let announcement: Announcement =
        serde_json::from_str(line).with_context(|| format!("it announced itself with {line:?}"))?;
    if !announcement.ready {
        bail!("it announced that it is not ready");
    }
    let mount = announcement.mounts.into_iter().find(|mount| mount.dialect == DIALECT);
    let mount = mount.with_context(|| format!("it announced no mount for {DIALECT}"))?;
    Ok((Door { address: mount.address, path: mount.path }, announcement.versions))
}

fn resident_in(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn last_words(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().filter(|line| !line.trim().is_empty()).take(3).collect();
    let words = lines.into_iter().rev().map(str::trim).collect::<Vec<_>>().join(" / ");
    words.chars().take(MOST_WORDS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_names_the_door() {
        let line = r#"{"ready":true,"mounts":[{"dialect":"world","address":"127.0.0.1:1","path":"/"},{"dialect":"chat","address":"127.0.0.1:41234","path":"/api/socketio","more":1}]}"#;
        let (door, versions) = read_announcement(line).unwrap();
        assert_eq!(
            door,
            Door { address: "127.0.0.1:41234".parse().unwrap(), path: "/api/socketio".to_owned() }
        );
        assert_eq!(versions, None);
    }

    #[test]
    fn no_door_is_an_error_that_quotes_the_line() {
        assert!(read_announcement(r#"{"ready":true,"mounts":[]}"#).is_err());
        assert!(read_announcement(r#"{"ready":false,"mounts":[]}"#).is_err());
        assert!(format!("{:#}", read_announcement("listening").unwrap_err()).contains("listening"));
    }

    #[test]
    fn resident_memory_is_read_in_bytes() {
        let text = "5581-7ffd ---p 00000000 00:00 0    [rollup]\nRss:               14752 kB\nPss:   1 kB\n";
        assert_eq!(resident_in(text), Some(14_752 * 1024));
        assert_eq!(resident_in("Pss: 1 kB"), None);
    }

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such config >&2"]);
        let error =
            Server::start(command, Cores::find().unwrap(), &directory.path().join("log")).err().unwrap();
        assert!(format!("{error:#}").contains("no such config"), "{error:#}");
    }

    #[test]
    fn a_server_that_ends_later_leaves_an_obituary() {
        let directory = tempfile::tempdir().unwrap();
        let ready = r#"{"ready":true,"mounts":[{"dialect":"chat","address":"127.0.0.1:1","path":"/"}]}"#;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("echo '{ready}'; echo disk full >&2; exit 7")]);
        let mut server =
            Server::start(command, Cores::find().unwrap(), &directory.path().join("log")).unwrap();
        let obituary = loop {
            if let Some(obituary) = server.obituary() {
                break obituary;
            }
        };
        assert!(obituary.contains("disk full") && obituary.contains('7'), "{obituary}");
    }

    #[test]
    fn what_a_process_computes_shows_on_its_clock() {
        let directory = tempfile::tempdir().unwrap();
        let ready = r#"{"ready":true,"mounts":[{"dialect":"chat","address":"127.0.0.1:1","path":"/"}]}"#;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("echo '{ready}'; while :; do :; done")]);
        let server = Server::start(command, Cores::find().unwrap(), &directory.path().join("log")).unwrap();
        let before = server.cpu().unwrap();
        while server.cpu().unwrap() < before + Duration::from_millis(20) {}
        assert!(server.resident().unwrap() > 100_000);
    }
}

//! Who is measured, and how each one is started.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::disk::{self, Disk};
use crate::machine::Cores;
use crate::process::Server;
use crate::product::Metrics;
use crate::scenario::Work;
use crate::{peers, product};

/// A server in the table; the order is that of its columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Contestant {
    /// The bare kernel: see [`floor`](crate::floor).
    Floor,
    /// The product's own binary with its `chat` dialect.
    Antiphon,
    /// The same binary with `[telemetry] metrics = false`. Only when asked for: beside peers it would be one product twice.
    Unmetered,
    /// The Rust library on axum.
    Socketioxide,
    /// The reference implementation with ws.
    Node,
    /// python-socketio on aiohttp with uvloop.
    Python,
}

/// Where everything lies that a run starts from or writes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// The product's binary.
    pub antiphon: PathBuf,
    /// Where peers are built and installed.
    pub installed: PathBuf,
    /// Where servers keep their data and logs; on the disk that durable messages are measured on.
    pub data: PathBuf,
}

impl Places {
    /// The library that makes syncs slow.
    pub fn slow_sync(&self) -> PathBuf {
        self.data.join("slow-sync.so")
    }

    /// The product's part of `data`.
    pub fn product_data(&self) -> PathBuf {
        self.data.join("antiphon")
    }
}

impl Contestant {
    /// Everybody, in the order of the columns.
    pub const ALL: [Self; 6] =
        [Self::Floor, Self::Antiphon, Self::Unmetered, Self::Socketioxide, Self::Node, Self::Python];

    /// Whether it takes part when nobody is named.
    pub fn is_usual(self) -> bool {
        self != Self::Unmetered
    }

    /// Whether it is the product, however it is configured.
    pub fn is_product(self) -> bool {
        matches!(self, Self::Antiphon | Self::Unmetered)
    }

    /// The column's head, and the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Antiphon => "antiphon",
            Self::Unmetered => "unmetered",
            Self::Socketioxide => "socketioxide",
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// Whether this one does such work at all. The floor of what is durable is the disk, not a server.
    pub fn does(self, work: Work) -> bool {
        self.is_product()
            || match work {
                Work::DurableRate { .. } | Work::DurableLatency { .. } => self == Self::Floor,
                Work::Authentication { .. } | Work::Resume { .. } => false,
                // What a task is, only the product knows; the floor delivers as many bytes.
                Work::Tasks { .. } => self == Self::Floor,
                _ => true,
            }
    }

    /// Starts it for `work` with nothing in it but the work's cast, and waits until it is ready.
    pub fn start(self, work: Work, places: &Places, cores: Cores) -> Result<Server> {
        let mut command = match self {
            Self::Floor => floor(work)?,
            Self::Antiphon => {
                product::prepare(&places.antiphon, &places.product_data(), &work.cast(), Metrics::Counted)?
            }
            Self::Unmetered => {
                product::prepare(&places.antiphon, &places.product_data(), &work.cast(), Metrics::Off)?
            }
            Self::Socketioxide => Command::new(peers::socketioxide_binary(&places.installed)),
            Self::Node => in_directory("node", "server.js", &peers::node_directory(&places.installed)),
            Self::Python => {
                let program = peers::python_program(&places.installed);
                in_directory(program.display().to_string(), "server.py", &peers::source("python"))
            }
        };
        if work.disk() == Some(Disk::Slow) {
            disk::slow_down(&mut command, &places.slow_sync());
        }
        Server::start(command, cores, &places.data.join(format!("{}.log", self.name())))
    }
}

fn floor(work: Work) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    let role = work.role().to_possible_value().context("every role has a name")?;
    command.args(["floor", "--scenario", role.get_name()]);
    Ok(command)
}

/// Who writes to the disk in `directory`, one sync per message, for so long.
pub fn disk_floor(directory: &Path, duration: Duration) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.arg("disk").arg("--directory").arg(directory);
    command.arg("--millis").arg(duration.as_millis().to_string());
    Ok(command)
}

fn in_directory(program: impl AsRef<std::ffi::OsStr>, script: &str, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(script).current_dir(directory);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_product_and_the_disk_store_anything() {
        let storing: Vec<_> = Contestant::ALL
            .into_iter()
            .filter(|it| it.does(Work::DurableRate { senders: 64, disk: Disk::Own }))
            .collect();
        assert_eq!(storing, [Contestant::Floor, Contestant::Antiphon, Contestant::Unmetered]);
        assert!(Contestant::ALL.into_iter().all(|it| it.does(Work::Echo { clients: 1 })));
    }

    #[test]
    fn the_command_line_and_the_columns_agree_on_names() {
        for contestant in Contestant::ALL {
            assert_eq!(contestant.to_possible_value().unwrap().get_name(), contestant.name());
        }
    }
}

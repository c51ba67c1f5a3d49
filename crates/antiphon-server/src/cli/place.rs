//! Whether a command works on the data of a stopped server or asks a running one.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::client::{self, Client};
use crate::config::Config;
use crate::sqlite::SqliteStore;
use crate::wiring;

/// Where a command finds the server that it is about.
#[derive(Args)]
pub(super) struct Place {
    /// The data directory of a server that is stopped.
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    data: Option<PathBuf>,
    #[command(flatten)]
    server: client::Server,
}

/// What a command works on.
pub(super) enum Opened {
    /// The data directory of a stopped server.
    Stopped(SqliteStore),
    /// A running server.
    Running(Client),
}

impl Place {
    /// Opens the data directory or finds the server.
    pub(super) async fn open(self) -> anyhow::Result<Opened> {
        match self.data {
            Some(data) => {
                let store = open(&data)?;
                wiring::prepare(&store).await?;
                Ok(Opened::Stopped(store))
            }
            None => {
                self.server.client().map(Opened::Running).context(
                    "say which server this is about: --data DIR if it is stopped, --url URL if it runs",
                )
            }
        }
    }
}

/// Opens the data directory of a stopped server, making one if there is none.
pub(super) fn open(data: &Path) -> anyhow::Result<SqliteStore> {
    let mut config = Config::default();
    config.server.data = data.to_owned();
    wiring::open_sqlite(&config)
}

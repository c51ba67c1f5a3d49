//! Whether a command works on the data of a stopped server or asks a running one.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use clap::Args;

use super::client::{self, Client};
use crate::config::Config;
use crate::sqlite::SqliteStore;
use crate::wiring;

/// The name of the database in its directory.
pub(super) const DATABASE: &str = "antiphon.db";

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
    /// Opens the data directory, which must have been used before, or finds the server.
    pub(super) async fn open(self) -> anyhow::Result<Opened> {
        if let Some(data) = &self.data {
            let database = data.join(DATABASE);
            ensure!(
                database.exists(),
                "there is no database {}; no server has used this directory",
                database.display()
            );
        }
        self.open_or_make().await
    }

    /// Opens the data directory, making one if there is none, or finds the server.
    pub(super) async fn open_or_make(self) -> anyhow::Result<Opened> {
        if let Some(data) = &self.data {
            let store = open(data)
                .map_err(|error| anyhow!("{error:#}; a server that runs is reached with --url URL"))?;
            wiring::prepare(&store).await?;
            return Ok(Opened::Stopped(store));
        }
        ensure!(
            self.server.is_named(),
            "say which server this is about: --data DIR if it is stopped, --url URL (or ANTIPHON_URL) if it runs"
        );
        self.server.client().map(Opened::Running)
    }
}

/// Opens the data directory of a stopped server, making one if there is none.
pub(super) fn open(data: &Path) -> anyhow::Result<SqliteStore> {
    let mut config = Config::default();
    config.server.data = data.to_owned();
    wiring::open_sqlite(&config)
}

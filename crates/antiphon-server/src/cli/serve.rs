//! How a server is started from the command line, and stopped by a signal.

use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Loaded, Sources};
use crate::wiring::{self, Extras, Running};
use crate::{conformance, demo, telemetry};

/// Serve, with the configuration of this directory, or as a demo.
///
/// Without any configuration the chat API is served at its documented place on loopback, with data in `data`.
#[derive(Args)]
pub(super) struct Serve {
    #[command(flatten)]
    config: ConfigFile,
    /// Serve the documented places on loopback, with the documents' placeholder keys, people and agents, and without any
    /// configuration. For trying out only.
    #[arg(long, conflicts_with_all = ["config", "set"])]
    demo: bool,
    /// Where the demo keeps its data [default: data/demo].
    #[arg(long, value_name = "DIR", requires = "demo")]
    data: Option<PathBuf>,
    /// Move every port of the demo by this much, when the documented ones are taken.
    #[arg(long, value_name = "N", requires = "demo", default_value_t = 0)]
    port_offset: u16,
    /// Have the demo take any free ports.
    #[arg(long, requires = "demo", conflicts_with = "port_offset")]
    any_port: bool,
    /// How to say on standard output that the server is ready.
    #[arg(long, value_enum, default_value_t = Announce::Text)]
    announce: Announce,
}

/// Where the configuration comes from.
#[derive(Args)]
pub(super) struct ConfigFile {
    /// The configuration file (TOML) [default: antiphon.toml, if there is one] [env: ANTIPHON_CONFIG].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Give a key a value, over whatever file and environment say: `--set server.cores=2`. May be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Serve the handlers that the official protocol suites expect.
#[derive(Args)]
pub(super) struct Conformance {
    /// Port on the loopback address; 0 takes any free one.
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// How to say on standard output that the server is ready.
    #[arg(long, value_enum, default_value_t = Announce::Text)]
    announce: Announce,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Announce {
    /// For people.
    Text,
    /// One line of JSON with the addresses really used.
    Json,
}

impl ConfigFile {
    /// Where this process reads its configuration from.
    pub(super) fn sources(self) -> Sources {
        let named = || std::env::var_os("ANTIPHON_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
        Sources::of_process(self.config.or_else(named), self.set)
    }
}

impl Serve {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        if self.demo {
            let places =
                if self.any_port { demo::Places::Free } else { demo::Places::Documented(self.port_offset) };
            let config = demo::config(self.data, places);
            // Dropped last, here and below: what the collector has not got yet is handed over then.
            let _traces = telemetry::start(telemetry::Lines::Plain, &config.telemetry)?;
            let running = wiring::start(config, Extras::demo()).await?;
            let banner = demo::banner(running.served(), running.admin());
            say_ready(&running, self.announce, &banner)?;
            return until_stopped(running).await;
        }
        let config = Loaded::read(&self.config.sources())?.config;
        let _traces = telemetry::start(telemetry::Lines::Json, &config.telemetry)?;
        let running = wiring::start(config, Extras::default()).await?;
        say_ready(&running, self.announce, "")?;
        until_stopped(running).await
    }
}

impl Conformance {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let (config, extras) = conformance::server(self.port);
        let _traces = telemetry::start(telemetry::Lines::Plain, &config.telemetry)?;
        let running = wiring::start(config, extras).await?;
        say_ready(&running, self.announce, "")?;
        until_stopped(running).await
    }
}

fn say_ready(running: &Running, announce: Announce, text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match announce {
        Announce::Text if text.is_empty() => {
            for mount in running.served() {
                let scheme = if mount.tls { "https" } else { "http" };
                writeln!(out, "{} at {scheme}://{}{}", mount.dialects.join("+"), mount.address, mount.path)?;
            }
            if let Some(admin) = running.admin() {
                writeln!(out, "metrics at http://{admin}/metrics")?;
            }
        }
        Announce::Text => out.write_all(text.as_bytes())?,
        Announce::Json => {
            let mounts: Vec<_> = running
                .served()
                .iter()
                .map(|mount| {
                    serde_json::json!({
                        "dialect": mount.dialects.join("+"),
                        "address": mount.address.to_string(),
                        "path": mount.path,
                        "tls": mount.tls,
                    })
                })
                .collect();
            let ready = serde_json::json!({"ready": true, "mounts": mounts, "admin": running.admin()});
            writeln!(out, "{ready}")?;
        }
    }
    out.flush()?;
    Ok(())
}

/// Serves until a signal asks to stop; a second one hurries.
async fn until_stopped(running: Running) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopping; a second signal hurries");
    running
        .stop(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await;
    tracing::info!("stopped");
    Ok(())
}

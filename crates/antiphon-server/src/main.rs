//! The command line.

use std::io::{BufReader, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::memory::SystemClock;
use antiphon_core::ports::Clock as _;
use antiphon_server::config::Config;
use antiphon_server::wiring::{self, Extras, Running};
use antiphon_server::{conformance, demo, history, import, telemetry};
use anyhow::Context as _;
use clap::{Args, Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};

/// Thirty pieces of answers that live for one turn are more than glibc keeps at hand for a thread; see
/// `docs/decisions/0007-allocator.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One self-hosted server that AI-agent apps connect to in real time with the Socket.IO clients they already have.
#[derive(Parser)]
#[command(name = "antiphon", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve, from a configuration file or as a demo.
    Serve(Serve),
    /// Add plans, people, API keys and agents from a file of JSON lines.
    ///
    /// One object a line: {"kind":"plan","name":"team","messagesPerMonth":1000},
    /// {"kind":"person","id":"ada","plan":"team"}, {"kind":"key","person":"ada","key":"…"},
    /// {"kind":"agent","id":"helper","owner":"ada","name":"Helper"}. Importing a line again replaces what it names.
    Import {
        /// The data directory. The server that uses it must be stopped.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The file; `-` reads standard input.
        file: PathBuf,
    },
    /// Print what a person and an agent have said, as JSON lines, oldest first.
    History {
        /// The data directory. The server that uses it must be stopped.
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
        /// The agent's id.
        #[arg(long)]
        agent: String,
        /// The person's id.
        #[arg(long)]
        person: String,
    },
    /// Serve the handlers that the official protocol suites expect.
    #[command(hide = true)]
    Conformance {
        /// Port on the loopback address; 0 takes any free one.
        #[arg(long, default_value_t = 3000)]
        port: u16,
        /// How to say on standard output that the server is ready.
        #[arg(long, value_enum, default_value_t = Announce::Text)]
        announce: Announce,
    },
}

#[derive(Args)]
struct Serve {
    /// The configuration file (TOML).
    #[arg(long, value_name = "FILE", required_unless_present = "demo", conflicts_with = "demo")]
    config: Option<PathBuf>,
    /// Serve the documented places on loopback, with the documents' placeholder keys, people and agents. For trying out only.
    #[arg(long)]
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

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Announce {
    /// For people.
    Text,
    /// One line of JSON with the addresses really used.
    Json,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "antiphon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match command {
            Command::Serve(serve) => self::serve(serve).await,
            Command::Import { data, file } => {
                let store = wiring::open_sqlite(&at(data))?;
                let input: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
                    Box::new(std::io::stdin())
                } else {
                    let file = std::fs::File::open(&file)
                        .with_context(|| format!("cannot read {}", file.display()))?;
                    Box::new(file)
                };
                wiring::prepare(&store).await?;
                let count = import::run(&store, BufReader::new(input), SystemClock.now()).await?;
                writeln!(std::io::stdout(), "{count} lines imported")?;
                Ok(())
            }
            Command::History { data, agent, person } => {
                let store = wiring::open_sqlite(&at(data))?;
                let (agent, person) = (AgentId::parse(&agent)?, PersonId::parse(&person)?);
                history::run(&store, &agent, &person, std::io::stdout().lock()).await?;
                Ok(())
            }
            Command::Conformance { port, announce } => {
                let (config, extras) = conformance::server(port);
                let _traces = telemetry::start(telemetry::Lines::Plain, &config.telemetry)?;
                let running = wiring::start(config, extras).await?;
                say_ready(&running, announce, "")?;
                until_stopped(running).await
            }
        }
    })
}

async fn serve(serve: Serve) -> anyhow::Result<()> {
    let (config, extras, lines) = match &serve.config {
        Some(path) => (Config::read(path)?, Extras::default(), telemetry::Lines::Json),
        None => {
            let places =
                if serve.any_port { demo::Places::Free } else { demo::Places::Documented(serve.port_offset) };
            (demo::config(serve.data.clone(), places), Extras::demo(), telemetry::Lines::Plain)
        }
    };
    // Dropped last: what the collector has not got yet is handed over then.
    let _traces = telemetry::start(lines, &config.telemetry)?;
    let running = wiring::start(config, extras).await?;
    let text = if serve.demo { demo::banner(running.served(), running.admin()) } else { String::new() };
    say_ready(&running, serve.announce, &text)?;
    until_stopped(running).await
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
            writeln!(
                out,
                "{}",
                serde_json::json!({"ready": true, "mounts": mounts, "admin": running.admin()})
            )?;
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

fn at(data: PathBuf) -> Config {
    let mut config = Config::default();
    config.server.data = data;
    config
}

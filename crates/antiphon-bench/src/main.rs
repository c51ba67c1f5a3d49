//! The command line of the bench.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};

use antiphon_bench::contestant::{Contestant, Places};
use antiphon_bench::floor::{self, Role};
use antiphon_bench::machine::{Cores, raise_file_limit};
use antiphon_bench::progress::say;
use antiphon_bench::runner::{self, Plan};
use antiphon_bench::scenario::{self, Pace, Scenario};
use antiphon_bench::{disk, flock, goals, peers, report};

/// Measures what Antiphon costs, beside the bare kernel (the floor) and beside other Socket.IO servers.
///
/// Every server runs alone on one core, the load generator on another, over loopback. What counts is the server's CPU
/// time per piece of work and its memory per connection.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

const EXAMPLES: &str = "\
Examples:
  antiphon-bench run                                    everything; writes docs/benchmarks.md (about 15 minutes)
  antiphon-bench run --quick --only antiphon,floor      a glance after a change (about half a minute)
  antiphon-bench run --scenario broadcast,echo --check  fails if a goal is missed
  antiphon-bench run --only antiphon,unmetered --rounds 5   what counting costs, row by row
  antiphon-bench list                                   names for --scenario and --only";

#[derive(Subcommand)]
enum Subcommands {
    /// Measures and prints the table.
    Run(Run),
    /// Serves as the floor until killed; `run` starts it by itself.
    Floor(Floor),
    /// Writes messages to a disk with one sync each, and prints how many a second; `run` starts it by itself.
    Disk(Disk),
    /// Many clients that come back when they are lost, for drills; takes `report`, `glance` and `quit` on standard input.
    Flock(Flock),
    /// Builds and installs the peers without measuring anything.
    Install(Install),
    /// Names the scenarios and the servers.
    List,
}

#[derive(Args)]
struct Run {
    /// Only these rows, separated by commas: names, or the first word for all rows of a kind.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    scenario: Vec<String>,
    /// Only these servers, separated by commas.
    #[arg(long, value_delimiter = ',', value_enum, value_name = "SERVER")]
    only: Vec<Contestant>,
    /// One round, short windows, fewer idle connections: for a glance, not for publishing.
    #[arg(long)]
    quick: bool,
    /// How often each server is measured per row; the median counts [default: 3, with --quick 1].
    #[arg(long, value_name = "NUMBER")]
    rounds: Option<usize>,
    /// Replaces the number of connections of every chosen row.
    #[arg(long, value_name = "NUMBER")]
    connections: Option<usize>,
    /// The product's binary [default: `antiphon` beside this program].
    #[arg(long, value_name = "FILE")]
    antiphon: Option<PathBuf>,
    /// Where servers write; durable messages are measured on this disk [default: `bench-data` in the target directory].
    #[arg(long, value_name = "DIRECTORY")]
    data: Option<PathBuf>,
    /// Where the page is written [default: docs/benchmarks.md for a complete run, otherwise nowhere].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Exits with 1 if a goal that was measured is missed, or none was measured.
    #[arg(long)]
    check: bool,
    /// The server's core [default: the first one that is free for this process].
    #[arg(long, value_name = "CORE")]
    server_core: Option<usize>,
    /// The load generator's core [default: the second one].
    #[arg(long, value_name = "CORE")]
    client_core: Option<usize>,
    #[command(flatten)]
    peers: Install,
}

#[derive(Args)]
struct Install {
    /// Where peers are built and installed [default: `peers` in the target directory].
    #[arg(long, value_name = "DIRECTORY")]
    peers: Option<PathBuf>,
}

#[derive(Args)]
struct Floor {
    /// What an event causes.
    #[arg(long, value_enum)]
    scenario: Role,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    address: SocketAddr,
}

#[derive(Args)]
struct Disk {
    /// Where to write.
    #[arg(long)]
    directory: PathBuf,
    /// For how long.
    #[arg(long)]
    millis: u64,
}

#[derive(Args)]
struct Flock {
    /// Where to connect, host:port; may be given several times, and is then taken in turn.
    #[arg(long, required = true)]
    address: Vec<SocketAddr>,
    /// Path of Engine.IO.
    #[arg(long)]
    path: String,
    /// What to CONNECT with; may be given several times, and is then taken in turn.
    #[arg(long, required = true)]
    token: Vec<String>,
    /// How many clients.
    #[arg(long)]
    clients: usize,
    /// Ask for what was missed, by Socket.IO's connection state recovery.
    #[arg(long)]
    recover: bool,
    /// Bytes of every client's receive buffer.
    #[arg(long, value_name = "BYTES")]
    receive_buffer: Option<usize>,
    /// Read nothing any more once connected.
    #[arg(long)]
    mute: bool,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Subcommands::Run(arguments) => run(&arguments),
        Subcommands::Floor(arguments) => floor::serve(arguments.address, arguments.scenario).map(|()| true),
        Subcommands::Disk(arguments) => write_to_disk(&arguments).map(|()| true),
        Subcommands::Flock(arguments) => flock(arguments).map(|()| true),
        Subcommands::Install(arguments) => install(&arguments),
        Subcommands::List => list().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("antiphon-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns `false` only if goals were to be checked and one is missed, or none was measured.
fn run(arguments: &Run) -> Result<bool> {
    let plan = plan(arguments)?;
    let results = runner::run(&plan)?;
    print(&report::tables(&results))?;
    let complete = arguments.scenario.is_empty()
        && arguments.only.is_empty()
        && arguments.connections.is_none()
        && !arguments.quick;
    let published = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/benchmarks.md");
    if let Some(file) = arguments.output.clone().or_else(|| complete.then(published)) {
        let page = report::page(&results, plan.rounds, plan.pace, plan.cores);
        std::fs::write(&file, page).with_context(|| format!("writing {}", file.display()))?;
        say(&format!("wrote {}", file.display()));
    }
    let verdicts = goals::judge(&results);
    let met = |wanted| verdicts.iter().any(|verdict| verdict.met == Some(wanted));
    // A check that could judge nothing, for want of a server perhaps, has not passed.
    Ok(!arguments.check || (met(true) && !met(false)))
}

fn plan(arguments: &Run) -> Result<Plan> {
    let target = target_directory()?;
    let found = Cores::find()?;
    let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("antiphon"));
    Ok(Plan {
        scenarios: chosen(arguments)?,
        contestants: Contestant::ALL
            .into_iter()
            .filter(|contestant| match arguments.only.as_slice() {
                [] => contestant.is_usual(),
                only => only.contains(contestant),
            })
            .collect(),
        rounds: arguments.rounds.unwrap_or(if arguments.quick { 1 } else { 3 }).max(1),
        pace: if arguments.quick { Pace::QUICK } else { Pace::FULL },
        places: Places {
            antiphon: absolute(arguments.antiphon.clone().map_or_else(beside, Ok)?)?,
            installed: installed(&arguments.peers)?,
            data: absolute(arguments.data.clone().unwrap_or_else(|| target.join("bench-data")))?,
        },
        cores: Cores {
            server: arguments.server_core.unwrap_or(found.server),
            client: arguments.client_core.unwrap_or(found.client),
        },
    })
}

fn chosen(arguments: &Run) -> Result<Vec<Scenario>> {
    let all = scenario::all(arguments.quick);
    let is_meant = |scenario: &Scenario, name: &String| {
        scenario.name.strip_prefix(name.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    for name in &arguments.scenario {
        if !all.iter().any(|scenario| is_meant(scenario, name)) {
            bail!("there is no scenario {name:?}; `antiphon-bench list` names them");
        }
    }
    if arguments.connections == Some(0) {
        bail!("--connections must be at least 1");
    }
    let mut chosen: Vec<Scenario> = all
        .into_iter()
        .filter(|scenario| {
            arguments.scenario.is_empty() || arguments.scenario.iter().any(|name| is_meant(scenario, name))
        })
        .collect();
    for scenario in &mut chosen {
        scenario.work =
            arguments.connections.map_or(scenario.work, |number| scenario.work.with_connections(number));
    }
    Ok(chosen)
}

fn write_to_disk(arguments: &Disk) -> Result<()> {
    let duration = Duration::from_millis(arguments.millis);
    let found = disk::one_sync_per_message(&arguments.directory, duration)?;
    print(&format!("{}\n", serde_json::to_string(&found)?))
}

fn flock(arguments: Flock) -> Result<()> {
    raise_file_limit()?;
    let plan = flock::Plan {
        addresses: arguments.address,
        path: arguments.path,
        tokens: arguments.token,
        clients: arguments.clients,
        recover: arguments.recover,
        receive_buffer: arguments.receive_buffer,
        mute: arguments.mute,
    };
    let (sender, orders) = std::sync::mpsc::channel();
    // Ends with standard input, or with this process.
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    flock::run(&plan, &orders, |said| print(&format!("{said}\n")))
}

/// Returns whether all of them could be installed.
fn install(arguments: &Install) -> Result<bool> {
    let installed = installed(arguments)?;
    let mut all = true;
    for contestant in Contestant::ALL {
        if let Err(error) = peers::install(contestant, &installed) {
            say(&format!("{}: {error:#}", contestant.name()));
            all = false;
        }
    }
    Ok(all)
}

fn list() -> Result<()> {
    let mut text = String::from("scenarios\n");
    for scenario in scenario::all(false) {
        text.push_str(&format!("  {:<24} {}\n", scenario.name, scenario.work.title()));
    }
    text.push_str("servers\n");
    for contestant in Contestant::ALL {
        let note = if contestant.is_usual() { "" } else { "  (only if named)" };
        text.push_str(&format!("  {}{note}\n", contestant.name()));
    }
    print(&text)
}

fn installed(arguments: &Install) -> Result<PathBuf> {
    absolute(
        arguments.peers.clone().map_or_else(|| target_directory().map(|target| target.join("peers")), Ok)?,
    )
}

/// Cargo's target directory: two above the program, `target/release/antiphon-bench`.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program")?;
    let directory = program.ancestors().nth(2).context("this program lies in no target directory")?;
    Ok(directory.to_owned())
}

/// Servers are started in other directories.
fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).with_context(|| format!("resolving {}", path.display()))
}

fn print(text: &str) -> Result<()> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush().context("writing to standard output")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_arguments(line: &[&str]) -> Run {
        let parsed = Arguments::try_parse_from([&["antiphon-bench", "run"], line].concat()).ok().unwrap();
        match parsed.command {
            Subcommands::Run(run) => run,
            _ => panic!("`run` was parsed as something else"),
        }
    }

    #[test]
    fn the_first_word_of_a_name_chooses_all_rows_of_its_kind() {
        let chosen = chosen(&run_arguments(&["--scenario", "broadcast,echo", "--connections", "7"])).unwrap();
        let names: Vec<&str> = chosen.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names, ["broadcast-100", "broadcast-1000", "broadcast-5000", "echo"]);
        assert_eq!(chosen[3].work, scenario::Work::Echo { clients: 7 });
    }

    #[test]
    fn a_whole_name_chooses_one_row() {
        assert_eq!(chosen(&run_arguments(&["--scenario", "broadcast-100"])).unwrap().len(), 1);
    }

    #[test]
    fn an_unknown_row_is_refused_by_name() {
        let error = chosen(&run_arguments(&["--scenario", "brodcast"])).unwrap_err();
        assert!(error.to_string().contains("brodcast"), "{error}");
    }

    #[test]
    fn the_daily_command_line_is_understood() {
        let arguments = run_arguments(&["--scenario", "broadcast", "--only", "antiphon,floor", "--quick"]);
        let plan = plan(&arguments).unwrap();
        assert_eq!(plan.contestants, [Contestant::Floor, Contestant::Antiphon]);
        assert_eq!((plan.rounds, plan.pace), (1, Pace::QUICK));
    }

    #[test]
    fn the_product_without_metrics_takes_part_only_if_it_is_named() {
        let contestants = |line: &[&str]| plan(&run_arguments(line)).unwrap().contestants;
        assert!(!contestants(&[]).contains(&Contestant::Unmetered));
        assert_eq!(contestants(&[]).len(), Contestant::ALL.len() - 1);
        assert_eq!(
            contestants(&["--only", "antiphon,unmetered"]),
            [Contestant::Antiphon, Contestant::Unmetered]
        );
    }
}

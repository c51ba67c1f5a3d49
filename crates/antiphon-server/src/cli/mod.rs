//! The command line: which commands there are, and how the process ends.
//!
//! | file | answers |
//! |---|---|
//! | `serve` | how a server is started from the command line, and stopped by a signal |
//! | `config` | `config check`, `print`, `schema` |
//! | `files` | `import`, `history` |
//! | `backup`, `doctor` | `backup`; `doctor` |
//! | `people` | `user …` |
//! | `keys` | `key …`, `service-key …` |
//! | `token`, `vapid` | `token create`, `vapid generate` |
//! | `publish`, `tail` | `publish`, `notice`; `tail` |
//! | `webhooks` | `webhook …` |
//! | `jobs` | `jobs …` |
//! | `place`, `client` | whether a command works on a stopped server's data or asks a running server; how it asks |
//! | `input`, `moment`, `table` | where secrets are taken from; how times are read and written; how lists are printed |
//!
//! What a command makes or finds goes to standard output, so that it can be piped on; what it has to say about it goes to
//! standard error. The exit status is 0 when the command did what it says, 1 when it could not, 2 when it was not understood.

mod backup;
mod client;
mod config;
mod doctor;
mod files;
mod input;
mod jobs;
mod keys;
mod moment;
mod people;
mod place;
mod publish;
mod serve;
mod table;
mod tail;
mod token;
mod vapid;
mod webhooks;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Examples below the list of commands.
const EXAMPLES: &str = "\
Examples:
  antiphon serve --demo                              try it out, on loopback
  antiphon config print                              every setting with its doc and where it was said
  antiphon config check --config antiphon.toml       everything that is wrong with a configuration
  antiphon user add ada --data /var/lib/antiphon     add a person, while the server is stopped
  antiphon key create ada --data /var/lib/antiphon   make a key for their client, printed this once
  antiphon backup --data /var/lib/antiphon /backup   copy the database, also while the server runs
  antiphon doctor --data /var/lib/antiphon           what is wrong with a data directory, if anything
  antiphon tail --url http://127.0.0.1:3000          watch what happens, live

Commands that change something take --data DIR while the server is stopped, or --url URL (or ANTIPHON_URL)
and a service key in ANTIPHON_SERVICE_KEY while it runs. `antiphon help COMMAND` says more about each.";

/// One self-hosted server that AI-agent apps connect to in real time with the Socket.IO clients they already have.
#[derive(Parser)]
#[command(name = "antiphon", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    #[command(subcommand)]
    Config(config::Config),
    Import(files::Import),
    History(files::History),
    Backup(backup::Backup),
    Doctor(doctor::Doctor),
    #[command(subcommand)]
    User(people::User),
    #[command(subcommand)]
    Key(keys::Key),
    #[command(subcommand)]
    ServiceKey(keys::ServiceKey),
    #[command(subcommand)]
    OperatorToken(keys::OperatorToken),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Vapid(vapid::Vapid),
    Publish(publish::Publish),
    Notice(publish::Notice),
    Tail(tail::Tail),
    #[command(subcommand)]
    Webhook(webhooks::Webhook),
    #[command(subcommand)]
    Jobs(jobs::Jobs),

    #[command(hide = true)]
    Conformance(serve::Conformance),
}

/// Does what the command line of this process says.
pub fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
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
            Command::Serve(command) => command.run().await,
            Command::Config(command) => command.run(),
            Command::Import(command) => command.run().await,
            Command::History(command) => command.run().await,
            Command::Backup(command) => command.run(),
            Command::Doctor(command) => command.run(),
            Command::User(command) => command.run().await,
            Command::Key(command) => command.run().await,
            Command::ServiceKey(command) => command.run().await,
            Command::OperatorToken(command) => command.run().await,
            Command::Token(command) => command.run(),
            Command::Vapid(command) => command.run(),
            Command::Publish(command) => command.run().await,
            Command::Notice(command) => command.run().await,
            Command::Tail(command) => command.run().await,
            Command::Webhook(command) => command.run().await,
            Command::Jobs(command) => command.run().await,
            Command::Conformance(command) => command.run().await,
        }
    })
}

/// Whoever reads what a command prints may stop when they have seen enough, as `head` does.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Every command with its name, also those inside others.
    fn commands(of: &clap::Command, above: &str, found: &mut Vec<(String, clap::Command)>) {
        for command in of.get_subcommands() {
            let name = format!("{above}{}", command.get_name());
            found.push((name.clone(), command.clone()));
            commands(command, &format!("{name} "), found);
        }
    }

    #[test]
    fn the_commands_fit_together_and_every_one_and_its_arguments_are_explained() {
        let mut cli = Cli::command();
        cli.clone().debug_assert();
        cli.build();
        let mut found = Vec::new();
        commands(&cli, "", &mut found);
        for (name, command) in found.iter().filter(|(name, _)| !name.starts_with("help")) {
            assert!(command.get_about().is_some(), "{name} is not explained");
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} of {name} is not explained", argument.get_id());
            }
        }
    }

    #[test]
    fn no_argument_takes_a_secret() {
        let mut cli = Cli::command();
        cli.build();
        let mut found = Vec::new();
        commands(&cli, "", &mut found);
        for (name, command) in found {
            for argument in command.get_arguments() {
                let id = argument.get_id().as_str();
                let holds = ["password", "secret", "token", "service_key"].contains(&id);
                assert!(
                    !holds,
                    "{name} takes {id} as an argument, which other users of the machine can read"
                );
            }
        }
    }
}

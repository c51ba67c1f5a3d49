//! `config check`, `print` and `schema`: what is configured, what could be, and what is wrong with it.

use std::io::Write as _;

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use super::serve::ConfigFile;
use crate::config::{self, Loaded};

/// Check, print or describe the configuration.
///
/// Values come from the defaults, antiphon.toml, .env, the environment (ANTIPHON_SERVER__CORES=2) and --set, each over the one
/// before.
#[derive(Subcommand)]
pub(super) enum Config {
    /// Tell everything that is wrong with the configuration, and fail if anything is.
    Check(ConfigFile),
    /// Print every setting with its value, what it is for, and where it was said. Secrets are printed as ***.
    Print(Print),
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
}

#[derive(Args)]
pub(super) struct Print {
    #[command(flatten)]
    config: ConfigFile,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Toml)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A file that can be used again.
    Toml,
    /// A list of objects, one for each key.
    Json,
    /// The reference of all keys and their defaults, whatever is configured here.
    Markdown,
}

impl Config {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let text = match self {
            Self::Check(config) => return check(config),
            Self::Print(Print { format: Format::Markdown, .. }) => config::reference(),
            Self::Print(Print { config, format }) => {
                let loaded = Loaded::read(&config.sources())?;
                if format == Format::Json { format!("{:#}\n", loaded.to_json()) } else { loaded.to_toml() }
            }
            Self::Schema => format!("{:#}\n", config::schema()),
        };
        std::io::stdout().write_all(text.as_bytes())?;
        Ok(())
    }
}

fn check(config: ConfigFile) -> anyhow::Result<()> {
    let Err(problems) = Loaded::read(&config.sources()) else {
        writeln!(std::io::stdout(), "The configuration can be used.")?;
        return Ok(());
    };
    writeln!(std::io::stderr(), "{problems}")?;
    match problems.list().len() {
        1 => bail!("the configuration has a problem"),
        count => bail!("the configuration has {count} problems"),
    }
}

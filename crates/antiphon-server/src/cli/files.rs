//! `import` and `history`: JSON lines into and out of a stopped server's data directory.

use std::io::{BufReader, Write as _};
use std::path::PathBuf;

use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::memory::SystemClock;
use antiphon_core::ports::Clock as _;
use anyhow::Context as _;
use clap::Args;

use super::place;
use crate::{history, import, wiring};

/// Add plans, people, API keys and agents from a file of JSON lines.
///
/// One object a line: {"kind":"plan","name":"team","messagesPerMonth":1000},
/// {"kind":"person","id":"ada","plan":"team"}, {"kind":"key","person":"ada","key":"…"},
/// {"kind":"agent","id":"helper","owner":"ada","name":"Helper"}. Importing a line again replaces what it names.
#[derive(Args)]
pub(super) struct Import {
    /// The data directory. The server that uses it must be stopped.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file; `-` reads standard input.
    file: PathBuf,
}

/// Print what a person and an agent have said, as JSON lines, oldest first.
#[derive(Args)]
pub(super) struct History {
    /// The data directory. The server that uses it must be stopped.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The agent's id.
    #[arg(long)]
    agent: String,
    /// The person's id.
    #[arg(long)]
    person: String,
}

impl Import {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let store = place::open(&self.data)?;
        let input: Box<dyn std::io::Read> = if self.file.as_os_str() == "-" {
            Box::new(std::io::stdin())
        } else {
            let file = std::fs::File::open(&self.file)
                .with_context(|| format!("cannot read {}", self.file.display()))?;
            Box::new(file)
        };
        wiring::prepare(&store).await?;
        let count = import::run(&store, BufReader::new(input), SystemClock.now()).await?;
        writeln!(std::io::stdout(), "{count} lines imported")?;
        Ok(())
    }
}

impl History {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let store = place::open(&self.data)?;
        let (agent, person) = (AgentId::parse(&self.agent)?, PersonId::parse(&self.person)?);
        history::run(&store, &agent, &person, std::io::stdout().lock()).await?;
        Ok(())
    }
}

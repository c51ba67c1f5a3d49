//! Where secrets are taken from: a file, standard input, a terminal; never an argument, which other users of the machine can
//! read.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, bail};

use crate::config::Secret;

/// The secret in a file, without the line break at its end.
pub(super) fn secret_from_file(path: &Path) -> anyhow::Result<Secret> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        bail!("{} is empty", path.display());
    }
    Ok(Secret::new(text))
}

/// The secret in the file, or else the first line of standard input. On a terminal it is asked for by `name`.
pub(super) fn secret(file: Option<&Path>, name: &str) -> anyhow::Result<Secret> {
    if let Some(path) = file {
        return secret_from_file(path);
    }
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // What is typed stays visible: say so rather than surprise.
        writeln!(
            std::io::stderr(),
            "{name} (what you type is shown; pipe it in or name a file to avoid that):"
        )?;
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read standard input")?;
    let line = line.trim_end_matches(['\r', '\n']);
    if line.is_empty() {
        bail!("no {name} on standard input");
    }
    Ok(Secret::new(line))
}

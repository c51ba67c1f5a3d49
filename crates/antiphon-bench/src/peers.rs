//! How the peers come onto this machine: built or installed once below `target/peers`, from what their folders pin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::contestant::Contestant;
use crate::progress::say;

/// Builds or installs what `contestant` needs below `installed`, unless it is there. Nothing to do for ours.
///
/// Fails if the toolchain or the network is missing, with the last thing that the installer said.
pub fn install(contestant: Contestant, installed: &Path) -> Result<()> {
    match contestant {
        Contestant::Floor | Contestant::Antiphon | Contestant::Unmetered => Ok(()),
        Contestant::Socketioxide => build_socketioxide(installed),
        Contestant::Node => install_node(installed),
        Contestant::Python => install_python(installed),
    }
}

/// Folder of a peer's source: `socketioxide`, `node` or `python`.
pub fn source(peer: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(peer)
}

/// The built peer.
pub fn socketioxide_binary(installed: &Path) -> PathBuf {
    installed.join("socketioxide/release/antiphon-bench-peer")
}

/// Where `server.js` lies beside its `node_modules`.
pub fn node_directory(installed: &Path) -> PathBuf {
    installed.join("node")
}

/// The interpreter of the peer's own environment.
pub fn python_program(installed: &Path) -> PathBuf {
    installed.join("python/bin/python")
}

fn build_socketioxide(installed: &Path) -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["build", "--release", "--locked"])
        .current_dir(source("socketioxide"))
        .env("CARGO_TARGET_DIR", installed.join("socketioxide"));
    run(cargo)
}

fn install_node(installed: &Path) -> Result<()> {
    let (source, directory) = (source("node"), node_directory(installed));
    fs::create_dir_all(&directory)?;
    let lock = fs::read(source.join("package-lock.json"))?;
    let stamp = directory.join("installed.lock");
    for file in ["package.json", "package-lock.json", "server.js"] {
        fs::copy(source.join(file), directory.join(file)).with_context(|| format!("copying {file}"))?;
    }
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    say("  npm ci");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--omit=optional", "--no-audit", "--no-fund"]).current_dir(&directory);
    run(npm)?;
    fs::write(stamp, lock).context("noting what is installed")
}

fn install_python(installed: &Path) -> Result<()> {
    let requirements = fs::read(source("python").join("requirements.txt"))?;
    let environment = installed.join("python");
    let stamp = environment.join("installed.txt");
    if fs::read(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(());
    }
    say("  python3 -m venv, pip install");
    fs::create_dir_all(installed)?;
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(&environment);
    run(venv)?;
    let mut pip = Command::new(python_program(installed));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(source("python").join("requirements.txt"));
    run(pip)?;
    fs::write(stamp, requirements).context("noting what is installed")
}

/// Runs an installer quietly; its last words are the error.
fn run(mut command: Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {name}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let last = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
    bail!("{name}: {}: {}", output.status, last.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_need_no_installation() {
        let nowhere = Path::new("/nonexistent");
        assert!(install(Contestant::Floor, nowhere).is_ok());
        assert!(install(Contestant::Antiphon, nowhere).is_ok());
    }

    #[test]
    fn an_installer_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo first >&2; echo no network >&2; exit 3"]);
        let error = run(command).unwrap_err().to_string();
        assert!(error.contains("no network") && error.contains('3'), "{error}");
    }

    #[test]
    fn every_peer_pins_what_it_depends_on_and_no_lock_names_a_download_host() {
        let npm = fs::read_to_string(source("node").join("package-lock.json")).unwrap();
        assert!(npm.contains(r#""node_modules/socket.io""#) && !npm.contains("\"resolved\""));
        let pip = fs::read_to_string(source("python").join("requirements.txt")).unwrap();
        assert!(pip.contains("python-socketio==") && pip.lines().all(|line| line.contains("==")));
        let cargo = fs::read_to_string(source("socketioxide").join("Cargo.lock")).unwrap();
        assert!(cargo.contains("name = \"socketioxide\"\nversion = \"0.18.9\""));
    }
}

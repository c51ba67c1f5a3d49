//! The real program, as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::door::Door;
use super::soon;

/// A running program. It is killed with the test, and its data goes with it.
pub(crate) struct Process {
    child: Child,
    /// What it announced.
    pub(crate) announced: Value,
    /// What it writes until it ends. Both are read all the time: a program that finds nobody to read would wait.
    output: JoinHandle<String>,
    log: JoinHandle<String>,
    _data: Option<TempDir>,
}

impl Process {
    /// The demo on free ports, with `environment` on top of ours.
    pub(crate) async fn demo(environment: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a directory for the demo");
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["serve", "--demo", "--any-port", "--data"]).arg(data.path());
        Self::start(command, environment, Some(data)).await
    }

    /// A server with the configuration of this file, whose listener and admin port take any port.
    pub(crate) async fn configured(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["serve", "--config"]).arg(config);
        Self::start(command, environment, None).await
    }

    async fn start(mut command: Command, environment: &[(&str, &str)], data: Option<TempDir>) -> Self {
        command.args(["--announce", "json"]);
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = child.stdout.take().expect("standard output is a pipe");
        let mut log = child.stderr.take().expect("its log is a pipe");
        let (says, said) = oneshot::channel();
        let output = spawn_blocking(move || {
            let (mut output, mut text) = (BufReader::new(output), String::new());
            output.read_line(&mut text).expect("what it says is text");
            // The test may have given up already.
            let _ = says.send(text.clone());
            output.read_to_string(&mut text).expect("what it says is text");
            text
        });
        let log = spawn_blocking(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).expect("a log is text");
            text
        });
        let line = soon("the program to be ready", said).await.expect("reading does not panic");
        if line.is_empty() {
            panic!("the program ended: {}", soon("its log", log).await.expect("reading does not panic"));
        }
        let announced = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        Self { child, announced, output, log, _data: data }
    }

    /// Its number for the operating system.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The first mount.
    pub(crate) fn door(&self) -> Door {
        let mount = &self.announced["mounts"][0];
        let path = mount["path"].as_str().expect("a path").to_owned();
        Door { address: address(&mount["address"]), path, tls: None, receive_buffer: None }
    }

    /// The operator's port.
    pub(crate) fn admin(&self) -> SocketAddr {
        address(&self.announced["admin"])
    }

    /// Asks it to stop, and waits for that; returns how it ended, and what it logged.
    pub(crate) async fn stop(self) -> (ExitStatus, String) {
        let (status, _, log) = self.end().await;
        (status, log)
    }

    /// The same; returns how it ended, and what it wrote to standard output and to its log.
    pub(crate) async fn end(mut self) -> (ExitStatus, String, String) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill(1) is there").success());
        let output = soon("the program to end", &mut self.output).await.expect("reading does not panic");
        let log = soon("the end of its log", &mut self.log).await.expect("reading does not panic");
        let status = self.child.wait().expect("it is our child");
        (status, output, log)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended already, unless its test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn address(value: &Value) -> SocketAddr {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not an address: {value}"))
}

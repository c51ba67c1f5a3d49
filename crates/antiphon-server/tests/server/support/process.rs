//! The real program, as a process of its own.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::door::Door;
use super::soon;

/// A running program. It is killed with the test, and its data goes with it.
pub(crate) struct Process {
    child: Child,
    /// What it announced.
    pub(crate) announced: Value,
    _data: TempDir,
}

impl Process {
    /// The demo on free ports, with `environment` on top of ours; its log goes to a pipe.
    pub(crate) async fn demo(environment: &[(&str, &str)]) -> Self {
        let data = tempfile::tempdir().expect("a directory for the demo");
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(["serve", "--demo", "--any-port", "--announce", "json", "--data"]).arg(data.path());
        for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "OTEL_EXPORTER_OTLP_ENDPOINT"]
        {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let output = child.stdout.take().expect("standard output is a pipe");
        let first_line = tokio::task::spawn_blocking(move || BufReader::new(output).lines().next());
        let line = soon("the program to be ready", first_line).await.expect("reading does not panic");
        let line = line.expect("it says something").expect("it says it in text");
        let announced = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        Self { child, announced, _data: data }
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
    pub(crate) async fn stop(mut self) -> (ExitStatus, String) {
        let asked = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(asked.expect("kill(1) is there").success());
        let mut log = self.child.stderr.take().expect("its log is a pipe");
        let ending = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            log.read_to_string(&mut text).expect("a log is text");
            let status = self.child.wait().expect("it is our child");
            (status, text)
        });
        soon("the program to end", ending).await.expect("waiting does not panic")
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

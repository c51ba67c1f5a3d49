//! The program itself, as its operators run it: its arguments, its environment, what it prints and how it exits.
//!
//! | file | states |
//! |---|---|
//! | [`configuration`] | which settings a process ends up with, and how it refuses them |
//! | [`running`] | commands that ask a server that runs |
//! | [`stopped`] | commands on the data directory of a stopped server, and on one in use |

mod configuration;
mod running;
mod stopped;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A directory of an operator's, and the variables of their environment.
struct Operator {
    directory: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

/// What a command did.
struct Done {
    status: i32,
    stdout: String,
    stderr: String,
}

/// A server in a process of its own; it is killed when this goes.
struct Process {
    child: Child,
    /// Where its first mount is.
    address: String,
}

impl Operator {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    /// With one more variable in the environment, which is otherwise empty.
    fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon"));
        command.args(arguments).current_dir(self.path()).env_clear();
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    fn run(&self, arguments: &[&str]) -> Done {
        self.run_with(arguments, "")
    }

    /// The same, with something on standard input.
    fn run_with(&self, arguments: &[&str], input: &str) -> Done {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that does not read may be gone already.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Done { status: status.code().expect("it was not killed"), stdout: text(stdout), stderr: text(stderr) }
    }

    /// What a command prints that succeeds.
    fn ask(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!(done.status, 0, "{arguments:?}: {}", done.stderr);
        done.stdout
    }

    /// What a command says that fails.
    fn fail(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments);
        assert_eq!((done.status, &*done.stdout), (1, ""), "{arguments:?}: {}", done.stderr);
        done.stderr
    }

    /// Starts a server and waits until it is ready.
    fn serve(&self, arguments: &[&str]) -> Process {
        let mut command = self.command(&[&["serve", "--announce", "json"], arguments].concat());
        // Several servers run at the same time here, and there is one default port for their operators.
        command.env("ANTIPHON_ADMIN__ADDRESS", "127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).expect("the server says that it is ready");
        let address = ready["mounts"][0]["address"].as_str().expect("it serves something").to_owned();
        Process { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

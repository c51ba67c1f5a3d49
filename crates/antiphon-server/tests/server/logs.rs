//! What is logged of a connection, and what is not (T-25, T-27, T-28).
//!
//! A process has one log, so these tests have a process of their own.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::engine::{BOTH, Engine, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::soon;

const BINARY: &str = env!("CARGO_BIN_EXE_antiphon");

const PEOPLE: &str = r#"{"kind":"plan","name":"open"}
{"kind":"person","id":"ada","plan":"open"}
{"kind":"key","person":"ada","key":"key-of-ada-in-this-test"}
{"kind":"agent","id":"luna","owner":"ada","name":"Luna"}
"#;

/// The server as a process that logs at the finest level, into a file.
struct Logging {
    child: Child,
    door: Door,
    /// The operator's port.
    admin: Door,
    log: PathBuf,
    _directory: TempDir,
}

impl Logging {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        let (store, log) = (at("store"), at("log"));
        fs::write(at("people.jsonl"), PEOPLE).expect("a file is written");
        fs::write(at("antiphon.toml"), config(&store)).expect("a file is written");
        let imported = Command::new(BINARY)
            .args(["import", "--data"])
            .args([&store, &at("people.jsonl")])
            .stdout(Stdio::null())
            .status()
            .expect("it starts");
        assert!(imported.success());
        let mut child = Command::new(BINARY)
            .args(["serve", "--announce", "json", "--config"])
            .arg(at("antiphon.toml"))
            .env("ANTIPHON_LOG", "trace")
            .stdout(Stdio::piped())
            .stderr(File::create(&log).expect("a file is made"))
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).expect("it says that it is ready");
        let ready: Value = serde_json::from_str(&line).expect("an object");
        let door = |address: &Value, path: &str| {
            let address = address.as_str().expect("an address").parse().expect("an address");
            Door { address, path: path.into(), tls: None, receive_buffer: None }
        };
        let admin = door(&ready["admin"], "");
        let door = door(&ready["mounts"][0]["address"], "/api/socketio");
        Self { child, door, admin, log, _directory: directory }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.log).expect("lines are text")
    }

    /// Waits until `is_so` of what is logged, asking again after each answer of the server to something else.
    async fn until(&self, is_so: impl Fn(&str) -> bool) -> String {
        soon("a line in the log", async {
            let mut http = Http::open(&self.door).await;
            loop {
                let text = self.text();
                if is_so(&text) {
                    return text;
                }
                assert_eq!(http.ask(&Request::get("/healthz")).await.status, 200);
            }
        })
        .await
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(store: &Path) -> String {
    format!(
        r#"[server]
data = {}

[admin]
address = "127.0.0.1:0"

[[listener]]
address = "127.0.0.1:0"

[[listener.mount]]
path = "/api/socketio"
dialects = ["chat"]
"#,
        json!(store.display().to_string())
    )
}

#[tokio::test]
async fn t25_t27_t28_a_line_names_its_connection_and_no_secret_and_keeps_to_its_line() {
    let server = Logging::start();
    let mut secrets = vec!["key-of-ada-in-this-test".to_owned(), "sssh-a-payload".to_owned()];
    let forged = "x\n{\"level\":\"ERROR\",\"message\":\"all is lost\"}\u{1b}[2J\u{202e}";
    let long = "y".repeat(256);
    for transport in BOTH {
        let auth = json!({"token": "key-of-ada-in-this-test"}).to_string();
        let mut client = Client::connect(&server.door, transport, &auth).await;
        client.event().await;
        secrets.push(client.engine.sid.clone());
        for name in [forged, &long] {
            let asked = client.ask(name, r#"{"secret":"sssh-a-payload"}"#).await;
            client.ack(asked).await;
        }
        client.engine.close().await;
    }
    // A request for a session that there is not.
    let mut stray = Engine::open(&server.door, Transport::Polling).await;
    secrets.push(std::mem::replace(&mut stray.sid, "AAAAAAAAAAAAAAAAAAAA".into()));
    secrets.push(stray.sid.clone());
    ask(&server.door, &stray.get()).await;

    let text = server.until(|text| text.matches(r#""message":"closed""#).count() >= 2).await;
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret} is in the log");
    }
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no line: {line}")))
        .collect();
    let said = |message: &str| lines.iter().filter(|line| line["message"] == message).collect::<Vec<_>>();
    assert!(said("all is lost").is_empty());
    for message in ["opened", "connected", "an unknown event", "closed"] {
        let lines = said(message);
        assert!(lines.len() >= 2, "{message}: {lines:?}");
        for line in lines {
            let name = line["connection"].as_str().unwrap_or_else(|| panic!("{line} names no connection"));
            let parts: Vec<_> = name.split('-').collect();
            assert!(parts.len() == 3 && parts.iter().all(|part| part.parse::<u32>().is_ok()), "{name}");
        }
    }
    // What a client made up is there as its length and no more.
    assert!(said("an unknown event").iter().all(|line| line["bytes"].is_u64()));
    assert!(!text.contains("all is lost") && !text.contains(&long));
}

#[tokio::test]
async fn t28_what_somebody_made_up_takes_little_room_in_the_log() {
    let server = Logging::start();
    let (method, path) = ("BREW".repeat(1_000), format!("/{}", "y".repeat(10 * 1_024)));
    let reply = ask(&server.admin, &Request::new(&method, &path)).await;
    assert_eq!(reply.status, 404);
    let text = server.until(|text| text.contains("an operator asked")).await;
    let line = text.lines().find(|line| line.contains("an operator asked")).expect("it is there");
    assert!(line.len() < 1_000, "{line}");
    let line: Value = serde_json::from_str(line).expect("a line is JSON");
    assert_eq!((&line["method"], &line["path"]), (&json!(method[..256]), &json!(path[..256])));
    assert!(text.lines().all(|line| line.len() < 1_000), "{text}");
}

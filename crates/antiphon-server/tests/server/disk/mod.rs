//! What clients and operators see when the disk of the real program fails or is full. (D-2, D-14)
//!
//! `faults.c` is compiled and loaded into the program, where it has the calls of SQLite fail; a small tmpfs is really full. Where
//! there is no C compiler, or mounting is not allowed, the test says that it was skipped, and why.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use antiphon_core::conversation::Party;
use antiphon_core::ids::{AgentId, ConversationId, PersonId};
use antiphon_core::ports::Conversations as _;
use antiphon_server::sqlite::{Settings, SqliteStore};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::http::{Http, Request, ask};
use crate::support::people::settle;
use crate::support::process::Process;
use crate::support::soon;

/// How soon a refusal has to come.
const SOON: Duration = Duration::from_secs(2);

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

#[tokio::test]
async fn d2_after_a_failed_sync_nothing_is_acknowledged_until_the_database_was_checked() {
    let Some(house) = House::with_faults() else { return };
    let process = house.serve().await;
    let mut ada = house.ada(&process).await;
    assert_eq!(say(&mut ada, "one").await["ok"], true);

    house.plan("sync", EIO, 1, 0);
    for text in ["two", "three"] {
        let refused = say(&mut ada, text).await;
        assert_eq!(refused["error"]["code"], "UNAVAILABLE", "{refused}");
        let message = refused["error"]["message"].as_str().expect("a sentence");
        assert!(message.starts_with("The disk of this server has failed"), "{message}");
        assert!(
            refused["error"]["details"]["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0),
            "{refused}"
        );
    }
    let (status, why) = readiness(&process).await;
    assert_eq!(status, 503);
    assert!(why.starts_with("the disk has failed"), "{why}");
    house.goes_on(&process, &mut ada).await;

    house.plan_nothing();
    trusted(&process).await;
    assert_eq!(say(&mut ada, "four").await["ok"], true);

    // One that fails once: what was in flight is refused, and the next is stored after the check.
    house.plan("sync", EIO, 1, 1);
    assert_eq!(say(&mut ada, "five").await["error"]["code"], "UNAVAILABLE");
    trusted(&process).await;
    assert_eq!(say(&mut ada, "six").await["ok"], true);
    drop(ada);

    let (status, log) = process.stop().await;
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("the disk has failed").count(), 2, "one line each time: {log}");
    assert_eq!(log.matches("writes are stored again").count(), 2, "{log}");
    assert_eq!(log.matches("a command failed").count(), 0, "no line for each refused message: {log}");
    let mut said = house.said().await;
    said.dedup();
    assert_eq!(said, ["one", "four", "six"], "what was refused is not there");
}

#[tokio::test]
async fn d14_a_disk_that_takes_no_writes_refuses_them_and_goes_on_by_itself() {
    let Some(house) = House::with_faults() else { return };
    let process = house.serve().await;
    let mut ada = house.ada(&process).await;
    for (error, sentence, status) in [
        (ENOSPC, "The disk of this server is full", 200),
        // As after a file system was made read-only because of errors.
        (EROFS, "The disk of this server has failed", 503),
    ] {
        house.plan("write", error, 1, 0);
        let began = Instant::now();
        let refused = say(&mut ada, "refused").await;
        assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
        assert!(
            refused["error"]["message"].as_str().is_some_and(|said| said.starts_with(sentence)),
            "{refused}"
        );
        assert_eq!(readiness(&process).await.0, status, "{sentence}");
        house.goes_on(&process, &mut ada).await;
        house.plan_nothing();
        trusted(&process).await;
        assert_eq!(say(&mut ada, "stored").await["ok"], true);
    }
    drop(ada);
    let (status, log) = process.stop().await;
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("the disk is full: writes are refused").count(), 1, "{log}");
    assert!(!house.said().await.contains(&"refused".to_owned()), "nothing refused is there");
}

#[tokio::test]
async fn d14_a_disk_that_is_really_full_loses_nothing_and_recovers_without_a_restart() {
    let Some(mounted) = Mounted::new("8m") else { return };
    let house = House::at(mounted.directory.path().join("data"));
    let process = house.serve().await;
    let mut ada = house.ada(&process).await;
    let filler = mounted.directory.path().join("filler");
    let mut stored = Vec::new();
    for round in 0..3 {
        fill(&filler);
        let large = "x".repeat(3_000);
        let refused = soon("the disk to be full", async {
            loop {
                let text = format!("{round} {} {large}", stored.len());
                let began = Instant::now();
                let answer = say(&mut ada, &text).await;
                assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
                match answer["ok"] == true {
                    true => stored.push(text),
                    false => break answer,
                }
            }
        })
        .await;
        let message = refused["error"]["message"].as_str().expect("a sentence");
        assert!(message.starts_with("The disk of this server is full"), "{refused}");
        assert_eq!(readiness(&process).await.0, 200, "another server would have no more room");
        house.goes_on(&process, &mut ada).await;
        fs::remove_file(&filler).expect("it is ours");
        let text = format!("after {round}");
        assert_eq!(say(&mut ada, &text).await["ok"], true, "the first that fits is stored");
        stored.push(text);
    }
    drop(ada);
    let (status, log) = process.stop().await;
    assert!(status.success(), "{log}");
    let said = house.said().await;
    assert_eq!(said, stored, "all that was acknowledged, in order, and nothing else");
}

/// A data directory with Ada in it, and what may go wrong there.
struct House {
    data: PathBuf,
    /// Configuration, plan and library.
    workshop: TempDir,
    library: Option<PathBuf>,
}

impl House {
    fn at(data: PathBuf) -> Self {
        let workshop = tempfile::tempdir().expect("a directory");
        let config = format!(
            "[server]\ndata = {:?}\ncores = 1\ndrain = 0\n[admin]\naddress = \"127.0.0.1:0\"\n[model]\nkind = \"echo\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.mount]]\npath = \"/a\"\ndialects = [\"chat\"]\n",
            data
        );
        fs::write(workshop.path().join("antiphon.toml"), config).expect("the directory is ours");
        Self { data, workshop, library: None }
    }

    /// One whose calls can fail; `None`, said aloud, where there is no C compiler.
    fn with_faults() -> Option<Self> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/disk/faults.c");
        let workshop = tempfile::tempdir().expect("a directory");
        let mut house = Self::at(workshop.path().join("data"));
        house.workshop = {
            fs::copy(house.workshop.path().join("antiphon.toml"), workshop.path().join("antiphon.toml"))
                .expect("both are ours");
            workshop
        };
        let library = house.workshop.path().join("faults.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).arg("-ldl");
        match compiler.status() {
            Ok(status) => assert!(status.success(), "faults.c does not compile"),
            Err(error) => {
                skipped(&format!("there is no C compiler: {error}"));
                return None;
            }
        }
        house.library = Some(library);
        Some(house)
    }

    async fn serve(&self) -> Process {
        let store = SqliteStore::open(&self.data, Settings::default()).expect("the directory is ours");
        settle(&store).await;
        store.close().await.expect("nothing fails yet");
        drop(store);
        let (data, plan) = (self.data.display().to_string(), self.plan_file().display().to_string());
        let library = self.library.as_ref().map(|library| library.display().to_string());
        let mut environment = vec![("FAULTS_DIR", &*data), ("FAULTS_PLAN", &*plan)];
        environment.extend(library.as_deref().map(|library| ("LD_PRELOAD", library)));
        Process::configured(&self.workshop.path().join("antiphon.toml"), &environment).await
    }

    fn plan_file(&self) -> PathBuf {
        self.workshop.path().join("plan")
    }

    /// From the `first` call of this kind on, `count` fail with `error`; 0 is all of them.
    fn plan(&self, kind: &str, error: i32, first: u32, count: u32) {
        // In one step, so that nobody reads half of it.
        let half = self.workshop.path().join("plan.new");
        fs::write(&half, format!("{kind} {error} {first} {count}")).expect("the directory is ours");
        fs::rename(half, self.plan_file()).expect("the directory is ours");
    }

    fn plan_nothing(&self) {
        fs::remove_file(self.plan_file()).expect("there was a plan");
    }

    async fn ada(&self, process: &Process) -> Client {
        let mut ada = Client::connect(&process.door(), Transport::Websocket, r#"{"token":"ada-key"}"#).await;
        let joined = ada.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        assert_eq!(ada.ack(joined).await["ok"], true);
        ada
    }

    /// Whoever comes gets in, and who is there hears what needs no disk.
    async fn goes_on(&self, process: &Process, ada: &mut Client) {
        let mut tab = self.ada(process).await;
        tab.emit("chat:typing", r#"{"agentId":"luna","isTyping":true}"#).await;
        assert_eq!(ada.event_named("chat:typing").await["userId"], json!("ada"));
        tab.engine.close().await;
    }

    /// What Ada said, as the stopped server's data has it.
    async fn said(&self) -> Vec<String> {
        let store = SqliteStore::open(&self.data, Settings::default()).expect("the directory is ours");
        let (luna, ada) = (AgentId::parse("luna").expect("an id"), PersonId::parse("ada").expect("an id"));
        let history =
            store.history(ConversationId::direct(&luna, &ada), 0, u32::MAX).await.expect("it is whole");
        let hers = history.into_iter().filter(|message| message.author == Party::Person);
        hers.map(|message| message.text).collect()
    }
}

/// Says something to Luna; what the server answers.
async fn say(ada: &mut Client, text: &str) -> Value {
    ada.events();
    let id = ada.ask("chat:message", &json!({"agentId": "luna", "message": text}).to_string()).await;
    let answer = ada.ack(id).await;
    if answer["ok"] == true {
        // Her answer is a write too, and is not to be in the way of what comes next.
        loop {
            let (name, _) = ada.event().await;
            if name == "chat:message:complete" || name == "chat:error" {
                break;
            }
        }
    }
    answer
}

async fn readiness(process: &Process) -> (u16, String) {
    let reply = ask(&process.door(), &Request::get("/readyz")).await;
    let (status, text) = reply.seen();
    (status, text.to_owned())
}

/// Waits until the server says that it may be asked for everything.
async fn trusted(process: &Process) {
    soon("the server to trust its disk", async {
        let mut http = Http::open(&process.door()).await;
        while http.ask(&Request::get("/readyz")).await.status != 200 {}
    })
    .await;
}

/// Writes to `path` until nothing fits any more.
fn fill(path: &Path) {
    let mut file = fs::File::create(path).expect("there is room for a name");
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// A small file system of its own, in memory.
struct Mounted {
    directory: TempDir,
}

impl Mounted {
    /// `None`, said aloud, where mounting is not allowed.
    fn new(size: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "antiphon-test"]).arg(directory.path());
        match mount.stderr(Stdio::piped()).output() {
            Ok(done) if done.status.success() => Some(Self { directory }),
            Ok(done) => {
                skipped(&format!("no tmpfs: {}", String::from_utf8_lossy(&done.stderr).trim()));
                None
            }
            Err(error) => {
                skipped(&format!("no tmpfs: {error}"));
                None
            }
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there loses nothing.
        let _ = Command::new("umount").arg("-l").arg(self.directory.path()).status();
    }
}

fn skipped(why: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

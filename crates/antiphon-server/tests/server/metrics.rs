//! What is counted: exactly what happened, under names of which there are only so many.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};

use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Model, Prompt};
use antiphon_core::refusal::Fault;
use antiphon_server::wiring::Extras;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use serde_json::json;

use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Transport};
use crate::support::http::{Request, ask};
use crate::support::people::{ada, bob, config, server, settle};
use crate::support::scrape::Scrape;
use crate::support::server::Server;
use crate::support::websocket::WebSocket;

/// A scrape, once the server has come to what `is_so` says.
async fn scrape_until(server: &Server, what: &str, is_so: impl Fn(&Scrape) -> bool) -> Scrape {
    crate::support::soon(what, async {
        loop {
            let scrape = Scrape::of(server).await;
            if is_so(&scrape) {
                return scrape;
            }
        }
    })
    .await
}

/// Somebody who was everywhere and did everything once.
async fn busy() -> Server {
    let server = server(|_| ()).await;
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
        let mut client = ada(&server, transport).await;
        let asked = client.ask("chat:message", r#"{"agentId":"luna","message":"one two three four"}"#).await;
        client.ack(asked).await;
        client.event_named("chat:message:complete").await;
        client.emit("no \"such\\ event\n", "").await;
        let asked = client.ask("chat:join", r#"{"agentId":"rex"}"#).await;
        client.ack(asked).await;
    }
    server
}

// ---- the format ----

#[tokio::test]
async fn a_page_is_read_as_prometheus_reads_it() {
    let server = busy().await;
    let scrape = Scrape::of(&server).await;
    for sample in [
        "antiphon_build_info{version=\"0.1.0\"}",
        "antiphon_demo",
        "antiphon_cores",
        "antiphon_outbox_bytes",
        "antiphon_limit{name=\"outbox\"}",
        "antiphon_answers_in_progress",
        "antiphon_turn_duration_seconds_count",
        "antiphon_command_duration_seconds_bucket{command=\"PostMessage\",le=\"+Inf\"}",
        "process_cpu_seconds_total",
    ] {
        assert!(scrape.has(sample), "{sample} is missing from {}", scrape.text);
    }
    server.stop().await;
}

/// Where there is `promtool`, as where the project is built: elsewhere [`Scrape::read`] has to do.
#[tokio::test]
async fn prometheus_own_checker_has_nothing_to_say() {
    let data = tempfile::tempdir().expect("a directory");
    let server = with_sqlite(&data).await;
    let mut client = server.demo_client().await;
    let asked = client.ask("chat:message", r#"{"agentId":"agent-123","message":"Hello!"}"#).await;
    client.ack(asked).await;
    let text = Scrape::of(&server.0).await.text;
    let checker = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    if let Ok(mut checker) = checker {
        checker.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
        let output = checker.wait_with_output().expect("it ends");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}\n{text}");
    }
    server.0.stop().await;
}

// ---- what happened ----

#[tokio::test]
async fn connections_are_counted_where_they_are_and_how_they_go() {
    let server = server(|_| ()).await;
    let mount = format!("{}/api/socketio", server.address);
    let sample =
        |name: &str, transport: &str| format!("{name}{{mount=\"{mount}\",transport=\"{transport}\"}}");
    let open = ["polling", "websocket"].map(|transport| sample("antiphon_connections", transport));
    let opened =
        ["polling", "websocket"].map(|transport| sample("antiphon_connections_opened_total", transport));
    let read =
        |scrape: &Scrape, samples: &[String; 2]| [scrape.value(&samples[0]), scrape.value(&samples[1])];

    let mut clients = Vec::new();
    for transport in [Transport::Websocket, Transport::Polling, Transport::Polling, Transport::Upgraded] {
        clients.push(ada(&server, transport).await);
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(read(&scrape, &open), [2.0, 2.0]);
    assert_eq!(read(&scrape, &opened), [3.0, 1.0]);
    assert_eq!(scrape.value("antiphon_connections_upgraded_total"), 1.0);
    assert_eq!(scrape.value("antiphon_sockets{dialect=\"chat\"}"), 4.0);
    assert_eq!(scrape.total("antiphon_connections_closed_total"), 0.0);

    // One goes as one should, one sends what nobody may send.
    clients.remove(1).engine.close().await;
    let mut rude = clients.remove(0);
    rude.engine.send("4nonsense").await;
    rude.over().await;
    let scrape =
        scrape_until(&server, "both to be gone", |scrape| scrape.total("antiphon_connections{") == 2.0).await;
    assert_eq!(read(&scrape, &open), [1.0, 1.0]);
    assert_eq!(read(&scrape, &opened), [3.0, 1.0]);
    assert_eq!(scrape.value("antiphon_connections_closed_total{reason=\"peer\"}"), 1.0);
    assert_eq!(scrape.value("antiphon_connections_closed_total{reason=\"malformed\"}"), 1.0);
    assert_eq!(scrape.total("antiphon_connections_closed_total"), 2.0);
    assert_eq!(scrape.value("antiphon_sockets{dialect=\"chat\"}"), 2.0);
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_turned_away_is_counted_by_why() {
    let server = server(|config| config.limits.connections = 1).await;
    let door = server.door();
    let before = Scrape::of(&server).await;
    let polling = Request::get(&door.target("EIO=4&transport=polling"));
    assert_eq!(ask(&door, &polling.clone().header("Origin", "https://evil.example")).await.status, 403);
    assert_eq!(ask(&door, &Request::get(&door.target("EIO=3&transport=polling"))).await.status, 400);
    assert_eq!(
        ask(&door, &Request::get(&door.target("EIO=4&transport=polling&sid=nobody"))).await.status,
        400
    );
    let old =
        Request::websocket(&door.target("EIO=4&transport=websocket")).header("Sec-WebSocket-Version", "8");
    assert_eq!(WebSocket::ask(&door, &old).await.err().map(|reply| reply.status), Some(426));
    let mut first = Engine::open(&door, Transport::Websocket).await;
    assert_eq!(ask(&door, &polling).await.status, 503);
    first.send("40/nowhere,").await;
    first.next_text().await;
    let why = ["origin", "malformed", "unknown_session", "full", "namespace", "stopping"];
    let samples = why.map(|why| format!("antiphon_handshakes_refused_total{{why=\"{why}\"}}"));
    let grown = Scrape::of(&server).await.grown(&before, samples.each_ref().map(String::as_str));
    assert_eq!(grown, [1.0, 2.0, 1.0, 1.0, 1.0, 0.0]);
    server.stop().await;
}

#[tokio::test]
async fn events_are_counted_by_name_once_when_they_come_and_once_for_each_who_hears_them() {
    let server = server(|_| ()).await;
    let mut clients = Vec::new();
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
        let mut client = ada(&server, transport).await;
        let joined = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        client.ack(joined).await;
        clients.push(client);
    }
    let before = Scrape::of(&server).await;
    // Three words are a piece.
    let asked = clients[0].ask("chat:message", r#"{"agentId":"luna","message":"one two three four"}"#).await;
    clients[0].ack(asked).await;
    let mut heard = [0; 3];
    for (client, heard) in clients.iter_mut().zip(&mut heard) {
        loop {
            match client.event().await.0.as_str() {
                "chat:message" => *heard += 1,
                "chat:message:complete" => break,
                _ => {}
            }
        }
    }
    // Everybody else in the conversation, or everybody: as the reference says, and as they heard it.
    let heard: i32 = heard.iter().sum();
    let scrape = Scrape::of(&server).await;
    let grown = scrape.grown(
        &before,
        [
            "antiphon_events_received_total{dialect=\"chat\",event=\"chat:message\"}",
            "antiphon_events_received_total{dialect=\"chat\",event=\"chat:join\"}",
            "antiphon_events_received_total{dialect=\"chat\",event=\"unknown\"}",
            "antiphon_acks_total{dialect=\"chat\"}",
            "antiphon_events_sent_total{dialect=\"chat\",event=\"chat:message:stream\"}",
            "antiphon_events_sent_total{dialect=\"chat\",event=\"chat:message:complete\"}",
            "antiphon_command_duration_seconds_count{command=\"PostMessage\"}",
            "antiphon_answers_total{end=\"finished\"}",
            "antiphon_answers_total{end=\"failed\"}",
        ],
    );
    assert_eq!(grown, [1.0, 0.0, 0.0, 1.0, 6.0, 3.0, 1.0, 1.0, 0.0]);
    let sent = "antiphon_events_sent_total{dialect=\"chat\",event=\"chat:message\"}";
    assert_eq!(scrape.grown(&before, [sent]), [f64::from(heard)]);
    assert!(heard >= 2);
    assert_eq!(scrape.value("antiphon_answers_in_progress"), 0.0);
    server.stop().await;
}

#[tokio::test]
async fn names_that_no_api_has_are_one_number_however_many_they_are() {
    let server = server(|config| {
        config.limits.events_per_second = 0;
        config.limits.unknown_events = 0;
    })
    .await;
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        for number in 0..50 {
            client.emit(&format!("made-up-{number}"), "1").await;
        }
        // Names that only the server says are not the client's either.
        let last = client.ask("chat:message:stream", "{}").await;
        client.ack(last).await;
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("antiphon_events_received_total{dialect=\"chat\",event=\"unknown\"}"), 102.0);
    assert!(!scrape.text.contains("made-up"), "{}", scrape.text);
    assert!(!scrape.has("antiphon_events_received_total{dialect=\"chat\",event=\"chat:message:stream\"}"));
    server.stop().await;
}

#[tokio::test]
async fn refusals_are_counted_by_code_and_foreign_ids_once_more() {
    let server = server(|_| ()).await;
    let mut client = ada(&server, Transport::Websocket).await;
    let before = Scrape::of(&server).await;
    for (event, argument) in [
        ("chat:join", r#"{"agentId":"luna","userId":"bob"}"#),
        ("chat:message", r#"{"agentId":"luna","userId":"bob","message":"x"}"#),
        ("chat:join", r#"{"agentId":"rex"}"#),
        ("chat:message", r#"{"agentId":7}"#),
    ] {
        let asked = client.ask(event, argument).await;
        assert_eq!(client.ack(asked).await["ok"], json!(false), "{event} {argument}");
    }
    for auth in [r#"{"token":"nobody's"}"#, "{}", r#"{"token":7}"#] {
        assert!(Client::try_connect(&server.door(), Transport::Websocket, auth).await.is_err(), "{auth}");
    }
    let codes = ["forbidden", "not_found", "invalid", "bad_credential", "unauthenticated"];
    let samples = codes.map(|code| format!("antiphon_refusals_total{{dialect=\"chat\",code=\"{code}\"}}"));
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.grown(&before, samples.each_ref().map(String::as_str)), [2.0, 1.0, 1.0, 2.0, 1.0]);
    assert_eq!(scrape.grown(&before, ["antiphon_claims_forbidden_total"]), [2.0]);
    server.stop().await;
}

#[tokio::test]
async fn bytes_are_those_of_the_packets() {
    let server = server(|_| ()).await;
    let before = Scrape::of(&server).await;
    let mut client = Engine::open(&server.door(), Transport::Polling).await;
    let opened = Scrape::of(&server).await;
    let sent = "antiphon_sent_bytes_total{transport=\"polling\"}";
    let received = "antiphon_received_bytes_total{transport=\"polling\"}";
    // The open packet and its digit.
    let handshake = client.handshake.to_string().len() as f64 + 1.0;
    assert_eq!(opened.grown(&before, [sent, received]), [handshake, 0.0]);
    client.send(r#"40{"token":"nobody's"}"#).await;
    let refused = client.next_text().await;
    let grown = Scrape::of(&server).await.grown(&opened, [sent, received]);
    assert_eq!(grown, [refused.len() as f64, 22.0]);

    let before = Scrape::of(&server).await;
    let mut client = Engine::open(&server.door(), Transport::Websocket).await;
    client.send(r#"40{"token":"nobody's"}"#).await;
    let refused = client.next_text().await;
    let sent = "antiphon_sent_bytes_total{transport=\"websocket\"}";
    let received = "antiphon_received_bytes_total{transport=\"websocket\"}";
    // A masked frame of up to 125 bytes has six bytes of header; one of the server two, or four.
    let frames = [client.handshake.to_string().len() + 1, refused.len()]
        .map(|length| length + if length > 125 { 4 } else { 2 });
    let grown = Scrape::of(&server).await.grown(&before, [sent, received]);
    assert_eq!(grown, [frames.iter().sum::<usize>() as f64, 28.0]);
    server.stop().await;
}

#[tokio::test]
async fn what_waits_for_those_who_do_not_read_shows() {
    let server = server(|config| {
        config.limits.outbox = 4_096;
        config.limits.events_per_second = 0;
    })
    .await;
    let mut slow = ada(&server, Transport::Polling).await;
    let joined = slow.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    slow.ack(joined).await;
    let mut quick = ada(&server, Transport::Websocket).await;
    let joined = quick.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    quick.ack(joined).await;
    let before = Scrape::of(&server).await;
    for _ in 0..60 {
        quick.emit("chat:typing", r#"{"agentId":"luna","isTyping":false}"#).await;
        quick.event_named("chat:typing").await;
    }
    let scrape = Scrape::of(&server).await;
    let dropped = scrape.grown(&before, ["antiphon_events_dropped_total"]);
    assert_eq!(dropped, [server.counters().dropped as f64]);
    assert!(dropped[0] > 0.0);
    // Both were meant to hear all of it.
    let sent = "antiphon_events_sent_total{dialect=\"chat\",event=\"chat:typing\"}";
    assert_eq!(scrape.grown(&before, [sent]), [120.0]);
    let (all, fullest) =
        (scrape.value("antiphon_outbox_bytes"), scrape.value("antiphon_outbox_fullest_bytes"));
    assert!(all == fullest && (2_048.0..=4_096.0).contains(&all), "{all} {fullest}");
    server.stop().await;
}

#[tokio::test]
async fn every_limit_is_shown_as_it_is() {
    let server = server(|config| config.limits.rooms = 7).await;
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("antiphon_limit{name=\"rooms\"}"), 7.0);
    assert_eq!(scrape.value("antiphon_limit{name=\"outbox\"}"), 1_048_576.0);
    let mount = format!("{}/api/socketio", server.address);
    let sample = format!("antiphon_mount_limit{{mount=\"{mount}\",name=\"max_payload\"}}");
    assert_eq!(scrape.value(&sample), 1_000_000.0);
    server.stop().await;
}

// ---- the store ----

/// A demo server with a database in `data`.
struct Demo(Server);

async fn with_sqlite(data: &tempfile::TempDir) -> Demo {
    let mut config = config();
    config.server.data = data.path().to_owned();
    Demo(Server::start(config, Extras::demo()).await)
}

impl Demo {
    async fn demo_client(&self) -> Client {
        Client::connect(&self.0.door(), Transport::Websocket, r#"{"token":"your-api-key"}"#).await
    }
}

#[tokio::test]
async fn commits_are_timed_and_so_is_what_goes_with_them() {
    let data = tempfile::tempdir().expect("a directory");
    let server = with_sqlite(&data).await;
    let mut client = server.demo_client().await;
    let before = Scrape::of(&server.0).await;
    let asked = client.ask("chat:message", r#"{"agentId":"agent-123","message":"Hello!"}"#).await;
    client.ack(asked).await;
    client.event_named("chat:message:complete").await;
    // The answer is told from within its commit, which is counted when it is over.
    let after = scrape_until(&server.0, "the answer's commit", |scrape| {
        scrape.grown(&before, ["antiphon_store_writes_total{end=\"stored\"}"]) == [2.0]
    })
    .await;
    let grown = after.grown(
        &before,
        [
            "antiphon_store_commit_duration_seconds_count",
            "antiphon_store_commit_writes_count",
            "antiphon_store_commit_writes_sum",
            "antiphon_store_writes_total{end=\"failed\"}",
        ],
    );
    assert_eq!(grown, [2.0, 2.0, 2.0, 0.0]);
    assert!(after.grown(&before, ["antiphon_store_commit_duration_seconds_sum"])[0] > 0.0);
    assert_eq!(after.value("antiphon_store_queue"), 0.0);
    server.0.stop().await;
    // Nothing that counted holds the database open.
    with_sqlite(&data).await.0.stop().await;
}

// ---- cores ----

#[tokio::test]
async fn cores_are_added_up() {
    let server = server(|config| config.server.cores = 2).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = bob(&server, Transport::Websocket).await;
        let joined = client.ask("chat:join", r#"{"agentId":"rex"}"#).await;
        client.ack(joined).await;
        clients.push(client);
    }
    let scrape = Scrape::of(&server).await;
    assert_eq!(scrape.value("antiphon_cores"), 2.0);
    assert_eq!(scrape.value("antiphon_cores_late"), 0.0);
    assert_eq!(scrape.total("antiphon_connections{"), 6.0);
    assert_eq!(scrape.value("antiphon_events_received_total{dialect=\"chat\",event=\"chat:join\"}"), 6.0);
    assert_eq!(scrape.value("antiphon_command_duration_seconds_count{command=\"JoinConversation\"}"), 6.0);
    assert!(scrape.has("antiphon_mailbox_letters{core=\"1\"}"));
    server.stop().await;
}

/// Holds its core until it is let go.
struct Holding {
    reached: Mutex<mpsc::Sender<()>>,
    released: Mutex<mpsc::Receiver<()>>,
}

impl Model for Holding {
    fn answer(&self, _prompt: Prompt) -> BoxStream<'static, Result<String, Fault>> {
        self.reached.lock().expect("nobody panicked").send(()).expect("the test waits");
        self.released.lock().expect("nobody panicked").recv().expect("the test lets go");
        futures_util::stream::once(async { Ok("There you are.".to_owned()) }).boxed()
    }
}

#[tokio::test]
async fn a_core_that_is_busy_is_shown_as_it_was() {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    let (reached, reaching) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let mut extras = Extras::default();
    extras.store = Some(store);
    extras.model = Some(Arc::new(Holding { reached: Mutex::new(reached), released: Mutex::new(released) }));
    let server = Server::start(config(), extras).await;
    let mut client = ada(&server, Transport::Websocket).await;
    let before = Scrape::of(&server).await;
    client.emit("chat:message", r#"{"agentId":"luna","message":"Hold still."}"#).await;
    let reaching = tokio::task::spawn_blocking(move || reaching.recv());
    crate::support::soon("the core to be held", reaching).await.expect("no panic").expect("it is reached");
    let held = Scrape::of(&server).await;
    assert_eq!(held.value("antiphon_cores_late"), 1.0);
    assert_eq!(held.value("antiphon_answers_in_progress"), 1.0);
    let connections =
        format!("antiphon_connections{{mount=\"{}/api/socketio\",transport=\"websocket\"}}", server.address);
    assert_eq!((held.value(&connections), before.value(&connections)), (1.0, 1.0));
    let turns = "antiphon_turn_duration_seconds_count";
    assert_eq!(held.value(turns), before.value(turns));
    release.send(()).expect("it is waited for");
    client.event_named("chat:message:complete").await;
    let after = Scrape::of(&server).await;
    assert_eq!(after.value("antiphon_cores_late"), 0.0);
    assert!(after.value(turns) > held.value(turns));
    server.stop().await;
}

// ---- without ----

#[tokio::test]
async fn where_nothing_is_counted_nothing_is_served_and_all_else_works() {
    let server = server(|config| config.telemetry.metrics = false).await;
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        client.emit("chat:message", r#"{"agentId":"luna","message":"Hello!"}"#).await;
        client.event_named("chat:message:complete").await;
    }
    let reply = ask(&server.admin(), &Request::get("/metrics")).await;
    assert_eq!(reply.status, 404);
    assert!(reply.text().contains("[telemetry] metrics"), "{}", reply.text());
    assert_eq!(ask(&server.admin(), &Request::get("/healthz")).await.status, 200);
    server.stop().await;
}

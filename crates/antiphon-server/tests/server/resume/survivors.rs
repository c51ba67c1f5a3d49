//! A session outlives the server: one that stops, and one that is killed.
//!
//! What a killed server leaves behind is what the kernel has of its files at that moment. A copy of its data directory is the same,
//! so that is what the next one is started on here, while the first one still runs and knows nothing of it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use antiphon_core::ids::Timestamp;
use antiphon_core::memory::ManualClock;
use antiphon_core::ports::Clock;
use antiphon_server::auth::UnprovenWallets;
use antiphon_server::config::{Config, Mount};
use antiphon_server::wiring::{self, Extras};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::tab::{Memory, Tab, ada};
use super::{tell, until_waiting};
use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Transport};
use crate::support::people::{config, person, settle};
use crate::support::server::Server;

/// A data directory in which Ada, Bob and their agents live.
async fn data() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let mut config = config();
    config.server.data = directory.path().to_owned();
    settle(&wiring::open_sqlite(&config).expect("a fresh database")).await;
    directory
}

/// A server on that directory.
async fn on(data: &Path) -> Server {
    on_with(data, |_, _| ()).await
}

async fn on_with(data: &Path, change: impl FnOnce(&mut Config, &mut Extras)) -> Server {
    let (mut config, mut extras) = (config(), Extras::default());
    config.server.data = data.to_owned();
    config.server.cores = 4;
    config.limits.events_per_second = 0;
    change(&mut config, &mut extras);
    Server::start(config, extras).await
}

/// What is left of the data directory when its server is killed now.
fn killed(data: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    copy_into(data, copy.path());
    copy
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("it can be read");
        let to = to.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            fs::create_dir(&to).expect("a directory");
            copy_into(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a file");
        }
    }
}

/// Has `left` know what was published in `data` since, though no core had come to it: what is published is written by whoever does it,
/// and what becomes of it by each core.
fn publish_late(data: &Path, left: &Path) {
    for entry in fs::read_dir(data).expect("a directory") {
        let entry = entry.expect("it can be read");
        let to = left.join(entry.file_name());
        if entry.file_type().expect("it is there").is_dir() {
            publish_late(&entry.path(), &to);
        } else if entry.file_name().to_string_lossy().starts_with("letters") {
            fs::copy(entry.path(), to).expect("a file");
        }
    }
}

async fn back(server: &Server, memory: &Memory) -> Tab {
    Tab::back(&server.door(), Transport::Websocket, memory.clone()).await
}

/// Comes back with `memory` and finds the session.
async fn recovered(server: &Server, memory: &Memory) -> Tab {
    let tab = back(server, memory).await;
    tab.is_recovered(memory);
    tab
}

#[tokio::test]
async fn a_session_is_found_after_a_restart_as_if_nothing_had_been() {
    for transport in BOTH {
        let data = data().await;
        let first = on(data.path()).await;
        let mut tab = ada(&first.door(), transport).await;
        let sid = tab.answer["sid"].clone();
        tell(&first, 1..3).await;
        tab.hear_number(1).await;
        let memory = tab.memory();
        first.stop().await;
        drop(tab);

        let second = on_with(data.path(), |config, _| config.server.cores = 2).await;
        assert_eq!((second.waiting_sessions(), second.counters().survived), (1, 1));
        tell(&second, [3]).await;
        let mut tab = recovered(&second, &memory).await;
        assert_eq!(tab.answer["sid"], sid);
        tell(&second, [4]).await;
        for number in 2..=4 {
            tab.hear_number(number).await;
        }
        drop(tab);
        second.stop().await;
    }
}

#[tokio::test]
async fn what_a_client_missed_before_the_server_was_killed_comes_once_and_it_can_come_back_again() {
    let data = data().await;
    let first = on(data.path()).await;
    let mut tab = ada(&first.door(), Transport::Websocket).await;
    tell(&first, 1..4).await;
    tab.hear_number(1).await;
    let memory = tab.cut();
    until_waiting(&first, 1).await;
    tell(&first, 4..8).await;
    let left = killed(data.path());
    first.stop().await;

    let second = on(left.path()).await;
    let mut tab = recovered(&second, &memory).await;
    for number in 2..8 {
        tab.hear_number(number).await;
    }
    tell(&second, 8..10).await;
    tab.hear_number(8).await;
    let memory = tab.cut();
    let mut tab = recovered(&second, &memory).await;
    tab.hear_number(9).await;
    let memory = tab.memory();
    let left = killed(left.path());
    second.stop().await;

    // Killed again, with the client there and nothing missed.
    let third = on(left.path()).await;
    tell(&third, [10]).await;
    let mut tab = recovered(&third, &memory).await;
    tab.hear_number(10).await;
    drop(tab);
    third.stop().await;
}

#[tokio::test]
async fn whenever_a_server_is_killed_nothing_is_missed_and_nothing_comes_twice() {
    let data = data().await;
    let first = on(data.path()).await;
    let mut tab = ada(&first.door(), Transport::Websocket).await;
    let mut kills = Vec::new();
    for number in 1..=30 {
        tell(&first, [number]).await;
        if number % 3 == 0 {
            // With whatever is on its way, on both sides.
            kills.push((number, tab.memory(), killed(data.path())));
            for number in number - 2..=number {
                tab.hear_number(number).await;
            }
        }
        if number % 15 == 0 {
            let memory = tab.cut();
            tab = recovered(&first, &memory).await;
        }
    }
    drop(tab);
    first.stop().await;
    for (number, memory, left) in kills {
        let next = on(left.path()).await;
        let mut tab = recovered(&next, &memory).await;
        tell(&next, [number + 1]).await;
        for number in number - 2..=number + 1 {
            tab.hear_number(number).await;
        }
        drop(tab);
        next.stop().await;
    }
}

#[tokio::test]
async fn what_was_published_and_no_core_had_come_to_is_heard_after_the_kill() {
    let data = data().await;
    let first = on(data.path()).await;
    let mut tab = ada(&first.door(), Transport::Websocket).await;
    let mut cut = ada(&first.door(), Transport::Websocket).await;
    let bob = Tab::open(&first.door(), Transport::Websocket, "bob-key").await.welcomed().await;
    tell(&first, [1]).await;
    for tab in [&mut tab, &mut cut] {
        tab.hear_number(1).await;
    }
    let cut = cut.cut();
    until_waiting(&first, 1).await;
    tell(&first, [2]).await;
    tab.hear_number(2).await;
    let (memory, other) = (tab.memory(), bob.memory());
    let left = killed(data.path());
    tell(&first, 3..6).await;
    publish_late(data.path(), left.path());
    first.stop().await;
    drop((tab, bob));

    let second = on(left.path()).await;
    assert_eq!(second.waiting_sessions(), 3);
    tell(&second, [6]).await;
    for (memory, next) in [(memory, 3), (cut, 2)] {
        let mut tab = recovered(&second, &memory).await;
        for number in next..=6 {
            tab.hear_number(number).await;
        }
    }
    // Nothing of that was for Bob.
    let mut bob = recovered(&second, &other).await;
    bob.say("chat:message", json!({"agentId": "nobody", "message": "hola"})).await;
    bob.hear_named("chat:error").await;
    drop(bob);
    second.stop().await;
}

#[tokio::test]
async fn a_session_goes_on_hearing_what_it_had_joined() {
    let data = data().await;
    let first = on(data.path()).await;
    let mut tab = ada(&first.door(), Transport::Websocket).await;
    tab.ask(1, "chat:join", json!({"agentId": "luna"})).await;
    tab.ask(2, "chat:join", json!({"agentId": "mia"})).await;
    tab.ask(3, "chat:leave", json!({"agentId": "mia"})).await;
    while tab.acks.len() < 3 {
        tell(&first, [0]).await;
        tab.hear().await;
    }
    let memory = tab.memory();
    let left = killed(data.path());
    first.stop().await;
    drop(tab);

    let second = on(left.path()).await;
    let mut other = crate::support::people::ada(&second, Transport::Websocket).await;
    for agent in ["mia", "luna"] {
        let id = other.ask("chat:message", &json!({"agentId": agent, "message": "hola"}).to_string()).await;
        assert_eq!(other.ack(id).await["ok"], true);
        other.event_named("chat:message:complete").await;
    }
    let mut tab = recovered(&second, &memory).await;
    loop {
        let (name, payload) = tab.hear().await;
        assert_ne!(payload["agentId"], "mia", "{name}");
        if name == "chat:message:complete" {
            break;
        }
    }
    drop((tab, other));
    second.stop().await;
}

#[tokio::test]
async fn a_session_waits_for_no_longer_than_its_window_with_the_time_that_no_server_ran() {
    for (later, reason) in [(119_000, None), (121_000, Some("expired"))] {
        let at = |later: i64| {
            let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000 + later)));
            Some(clock)
        };
        let data = data().await;
        let first = on_with(data.path(), |_, extras| extras.clock = at(0)).await;
        let memory = ada(&first.door(), Transport::Websocket).await.cut();
        until_waiting(&first, 1).await;
        first.stop().await;
        let second = on_with(data.path(), |_, extras| extras.clock = at(later)).await;
        let tab = back(&second, &memory).await;
        match reason {
            None => tab.is_recovered(&memory),
            Some(reason) => assert_eq!(tab.reason(), reason),
        }
        tab.engine.close().await;
        second.stop().await;
    }
}

#[tokio::test]
async fn whoever_was_being_told_the_past_at_the_kill_hears_that_it_cannot_go_on() {
    let data = data().await;
    let first = on(data.path()).await;
    let mut writer = crate::support::people::ada(&first, Transport::Websocket).await;
    let long = json!({"agentId": "luna", "message": "x".repeat(4_000)}).to_string();
    for _ in 0..60 {
        writer.emit("chat:message", &long).await;
        writer.event_named("chat:message:complete").await;
    }
    // It reads the beginning and then nothing, so most of the past has yet to be told.
    let mut late = ada(&first.door(), Transport::Polling).await;
    late.ask(1, "chat:join", json!({"agentId": "luna", "after": 0})).await;
    late.hear_named("chat:message").await;
    let memory = late.memory();
    let left = killed(data.path());
    first.stop().await;
    drop((writer, late));

    let second = on(left.path()).await;
    assert_eq!(back(&second, &memory).await.reason(), "catching_up");
    second.stop().await;
}

#[tokio::test]
async fn nobody_else_finds_a_session_after_a_restart_either() {
    let data = data().await;
    let first = on(data.path()).await;
    let memory = ada(&first.door(), Transport::Websocket).await.cut();
    first.stop().await;
    let second = on(data.path()).await;
    let foreign = Memory { token: "bob-key".into(), ..memory.clone() };
    let forged = Memory { pid: json!("A".repeat(43)), ..memory.clone() };
    for wrong in [foreign, forged] {
        assert_eq!(back(&second, &wrong).await.reason(), "unknown");
    }
    let tab = recovered(&second, &memory).await;
    drop(tab);
    second.stop().await;
}

/// A guest of the companion API, who brings this session if any: what answered their CONNECT.
async fn guest(server: &Server, session: Option<&Value>) -> (Engine, Value) {
    let mut engine = Engine::open(&server.door().at("/socket.io"), Transport::Websocket).await;
    let auth = session.map_or(json!({"recover": true}), |pid| json!({"recover": true, "pid": pid}));
    engine.send(&format!("40{auth}")).await;
    let answer = engine.next_text().await;
    (engine, serde_json::from_str(&answer[2..]).expect("an object"))
}

#[tokio::test]
async fn the_session_of_a_guest_who_became_somebody_is_no_guests_after_a_restart_either() {
    let data = data().await;
    let companion = |config: &mut Config, _: &mut Extras| {
        config.listeners[0].mounts.push(Mount::new("/socket.io", "companion"));
        config.auth.unproven_wallets = UnprovenWallets::Local;
    };
    let first = on_with(data.path(), companion).await;
    let wallet = "0x00000000000000000000000000000000000000aa";
    first.app().ports().store.link_wallet(wallet, &person("ada")).await.expect("a wallet is linked");
    let (nobody, still_nobody) = guest(&first, None).await;
    let (mut somebody, became_ada) = guest(&first, None).await;
    somebody.send(&format!("421{}", json!(["join", wallet]))).await;
    while !somebody.next_text().await.starts_with("431") {}
    drop((nobody, somebody));
    until_waiting(&first, 2).await;
    let left = killed(data.path());
    first.stop().await;

    let second = on_with(left.path(), companion).await;
    assert_eq!(second.waiting_sessions(), 2);
    let (nobody, answer) = guest(&second, Some(&still_nobody["pid"])).await;
    assert_eq!(answer["recovery"], json!({"recovered": true}));
    let (other, answer) = guest(&second, Some(&became_ada["pid"])).await;
    assert_eq!(answer["recovery"], json!({"recovered": false, "reason": "unknown"}));
    drop((nobody, other));
    second.stop().await;
}

#[tokio::test]
async fn a_session_that_ended_on_purpose_stays_ended() {
    let data = data().await;
    let first = on(data.path()).await;
    let mut tab = ada(&first.door(), Transport::Websocket).await;
    tab.engine.send("41").await;
    let memory = tab.memory();
    first.until("the end of the session", |server| server.open_connections() == 1).await;
    drop(tab);
    first.until("nobody to be there", |server| server.open_connections() == 0).await;
    let left = killed(data.path());
    first.stop().await;
    for data in [left.path(), data.path()] {
        let second = on(data).await;
        assert_eq!(second.waiting_sessions(), 0);
        assert_eq!(back(&second, &memory).await.reason(), "unknown");
        second.stop().await;
    }
}

#[tokio::test]
async fn where_sessions_do_not_survive_they_are_unknown_to_later_runs_as_well() {
    let data = data().await;
    let first = on(data.path()).await;
    let memory = ada(&first.door(), Transport::Websocket).await.cut();
    first.stop().await;
    let forgetful = on_with(data.path(), |config, _| config.resume.survive = false).await;
    assert_eq!(back(&forgetful, &memory).await.reason(), "unknown");
    forgetful.stop().await;
    assert!(!data.path().join("sessions").exists());
    let third = on(data.path()).await;
    assert_eq!(back(&third, &memory).await.reason(), "unknown");
    third.stop().await;
}

#[tokio::test]
async fn nothing_is_written_down_for_whoever_does_not_ask() {
    let data = data().await;
    let server = on(data.path()).await;
    let before = bytes_in(&data.path().join("sessions"));
    let mut client: Client = crate::support::people::ada(&server, Transport::Websocket).await;
    let id = client.ask("chat:message", r#"{"agentId":"luna","message":"one two three"}"#).await;
    assert_eq!(client.ack(id).await["ok"], true);
    client.event_named("chat:message:complete").await;
    tell(&server, 1..10).await;
    client.event_named("system:notification").await;
    assert_eq!(bytes_in(&data.path().join("sessions")), before);
    // Somebody who does is seen there.
    let tab = ada(&server.door(), Transport::Websocket).await;
    assert!(bytes_in(&data.path().join("sessions")) > before);
    drop((client, tab));
    server.stop().await;
}

fn bytes_in(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).expect("a directory");
    let bytes = entries.map(|entry| {
        let entry = entry.expect("it can be read");
        let about = entry.metadata().expect("it is there");
        if about.is_dir() { bytes_in(&entry.path()) } else { about.len() }
    });
    bytes.sum()
}

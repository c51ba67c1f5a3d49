//! Who may resume what, and what they are told who may not.

use antiphon_core::actor::Principal;
use antiphon_core::command::Command;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::Timestamp;
use antiphon_core::memory::SystemClock;
use antiphon_core::ports::{Clock, Revocation, Revoked};
use antiphon_core::topic::Topic;
use antiphon_server::config::Mount;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::tab::{Memory, Tab, ada};
use super::{server, tell, until_waiting};
use crate::support::engine::{BOTH, Engine, Transport};
use crate::support::people::{agent, person};
use crate::support::server::Server;

/// Comes back with `memory`, must not find a session, and must have a good one instead.
async fn fails(server: &Server, memory: Memory, reason: &str) {
    fails_at(server, &server.door().path, memory, reason).await;
}

async fn fails_at(server: &Server, path: &str, memory: Memory, reason: &str) {
    let old = memory.pid.clone();
    let tab = Tab::back(&server.door().at(path), Transport::Websocket, memory).await;
    assert_eq!(tab.reason(), reason);
    assert_ne!(tab.answer["pid"], old);
    let tab = tab.welcomed().await;
    let memory = tab.memory();
    let mut back = Tab::back(&server.door().at(path), Transport::Websocket, memory.clone()).await;
    back.is_recovered(&memory);
    back.engine.send("41").await;
    drop((tab, back));
}

/// A session that was lost.
async fn lost(server: &Server) -> Memory {
    let waiting = server.waiting_sessions();
    let memory = ada(&server.door(), Transport::Websocket).await.cut();
    until_waiting(server, waiting + 1).await;
    memory
}

#[tokio::test]
async fn a_key_that_is_forged_or_makes_no_sense_finds_nothing() {
    let server = server(|_| ()).await;
    let memory = lost(&server).await;
    let long = "x".repeat(10_240);
    for pid in [json!("A".repeat(43)), json!(""), json!(7), json!({"pid": 1}), json!(long)] {
        fails(&server, Memory { pid, ..memory.clone() }, "unknown").await;
    }
    let tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn nobody_else_and_nowhere_else_can_a_session_be_resumed() {
    let server = server(|config| {
        let mounts = &mut config.listeners[0].mounts;
        mounts.push(Mount { path: "/elsewhere".into(), ..mounts[0].clone() });
    })
    .await;
    let memory = lost(&server).await;
    fails(&server, Memory { token: "bob-key".into(), ..memory.clone() }, "unknown").await;
    fails_at(&server, "/elsewhere", memory.clone(), "unknown").await;
    // They did no harm.
    let tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_no_credential() {
    let server = server(|_| ()).await;
    let memory = lost(&server).await;
    let mut engine = Engine::open(&server.door(), Transport::Websocket).await;
    let auth = json!({"token": "nobody's", "recover": true, "pid": memory.pid, "offset": memory.offset});
    engine.send(&format!("40{auth}")).await;
    assert_eq!(engine.next_text().await, r#"44{"message":"Invalid authentication token"}"#);
    drop(engine);
    server.stop().await;
}

#[tokio::test]
async fn an_offset_from_the_future_or_from_nowhere_finds_nothing() {
    let server = server(|_| ()).await;
    for offset in ["connected", "", "1.2.3", "0.0.ffffffffffffffff", &"9".repeat(10_000)] {
        let memory = lost(&server).await;
        fails(&server, Memory { offset: Some(offset.into()), ..memory.clone() }, "unknown").await;
        // Whoever has the key and a wrong offset has used the session up.
        fails(&server, memory, "unknown").await;
    }
    let memory = lost(&server).await;
    let known = memory.offset.clone().expect("a welcome");
    let (lane, number) = known.rsplit_once('.').expect("three parts");
    let number = u64::from_str_radix(number, 16).expect("a number");
    let future = format!("{lane}.{:x}", number + 1_000);
    fails(&server, Memory { offset: Some(future), ..memory }, "unknown").await;
    server.stop().await;
}

#[tokio::test]
async fn of_two_who_resume_at_once_exactly_one_finds_the_session() {
    for transport in BOTH {
        for _ in 0..5 {
            let server = server(|_| ()).await;
            let memory = lost(&server).await;
            tell(&server, [1]).await;
            let door = server.door();
            let (connected, mut both) = mpsc::channel(2);
            let ((one, heard_by_one), (two, heard_by_two), ()) = tokio::join!(
                listens(Tab::back(&door, transport, memory.clone()), connected.clone()),
                listens(Tab::back(&door, transport, memory.clone()), connected),
                async {
                    both.recv().await.expect("one connects");
                    both.recv().await.expect("so does the other");
                    tell(&server, [2]).await;
                }
            );
            let is_one = one.answer["recovery"]["recovered"] == json!(true);
            let (winner, loser) = if is_one { (&one, &two) } else { (&two, &one) };
            winner.is_recovered(&memory);
            assert_eq!(loser.reason(), "in_use");
            let mut heard = [heard_by_one, heard_by_two];
            heard.sort();
            assert_eq!(heard, [vec!["1", "2"], vec!["2"]]);
            assert_eq!((server.counters().resumed, server.counters().lapsed), (1, 1));
            drop((one, two));
            server.stop().await;
        }
    }
}

/// Connects, says so, and listens until number 2 is heard: the numbers, as text.
async fn listens(tab: impl Future<Output = Tab>, connected: mpsc::Sender<()>) -> (Tab, Vec<String>) {
    let mut tab = tab.await;
    connected.send(()).await.expect("somebody waits");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "2") {
        let (name, payload) = tab.hear().await;
        if name == "system:notification" {
            heard.push(payload["title"].as_str().expect("a title").to_owned());
        }
    }
    (tab, heard)
}

#[tokio::test]
async fn whoever_left_on_purpose_is_not_waited_for() {
    for transport in BOTH {
        let server = server(|_| ()).await;
        let mut tab = ada(&server.door(), transport).await;
        tab.engine.send("41").await;
        let memory = tab.cut();
        server.until("her to be gone", |server| server.waiting_sessions() == 0).await;
        fails(&server, memory, "unknown").await;
        server.stop().await;
    }
}

#[tokio::test]
async fn who_was_sent_away_or_revoked_cannot_resume_and_neither_can_a_ghost_of_theirs() {
    let server = server(|_| ()).await;
    let connected = ada(&server.door(), Transport::Websocket).await;
    let ghost = lost(&server).await;
    assert_eq!(server.disconnect(&Principal::Person(person("ada"))).await, 1, "a ghost is no socket");
    assert_eq!(server.waiting_sessions(), 0);
    fails(&server, connected.cut(), "unknown").await;
    fails(&server, ghost, "unknown").await;

    let _ghost = lost(&server).await;
    let now = SystemClock.now();
    let what = Revoked::Person(person("ada"));
    let revocation = Revocation { what, at: now, until: Timestamp(now.0 + 1_000) };
    server.app().ports().bus.publish(Envelope::new(Topic::Nodes, Event::Revoked(revocation)));
    until_waiting(&server, 0).await;
    server.stop().await;
}

#[tokio::test]
async fn whoever_may_no_longer_hear_everything_is_told_so_and_hears_nothing_of_it() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tab.say("chat:message", json!({"agentId": "luna", "message": "hola"})).await;
    loop {
        if tab.hear().await.0 == "chat:message:complete" {
            break;
        }
    }
    let memory = tab.cut();
    until_waiting(&server, 1).await;
    server.order(Command::DeleteAgent { agent: agent("luna") }).await;
    fails(&server, memory, "forbidden").await;
    server.stop().await;
}

#[tokio::test]
async fn a_mount_says_whose_sessions_can_be_resumed() {
    use antiphon_server::resume::settings::Recovery;
    for (recovery, auth, resumes) in [
        (Recovery::Never, json!({"token": "ada-key", "recover": true}), false),
        (Recovery::Asked, json!({"token": "ada-key"}), false),
        (Recovery::Asked, json!({"token": "ada-key", "recover": "true"}), false),
        (Recovery::Always, json!({"token": "ada-key"}), true),
    ] {
        let server = server(|config| config.listeners[0].mounts[0].recovery = recovery).await;
        let mut engine = Engine::open(&server.door(), Transport::Websocket).await;
        engine.send(&format!("40{auth}")).await;
        let answer = engine.next_text().await;
        let answer: Value = serde_json::from_str(answer.strip_prefix("40").unwrap()).unwrap();
        assert_eq!(answer.get("pid").is_some(), resumes, "{recovery:?} {auth}");
        assert_eq!(answer.get("recovery").is_some(), resumes);
        let event: Vec<Value> = serde_json::from_str(&engine.next_text().await[2..]).unwrap();
        assert_eq!(event.len(), 2 + usize::from(resumes), "{event:?}");
        drop(engine);
        server.stop().await;
    }
}

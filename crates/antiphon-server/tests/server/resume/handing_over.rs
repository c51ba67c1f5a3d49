//! A session is handed over as it is at that moment, whatever still happens on its old connection or to the new one.

use std::sync::Arc;

use antiphon_core::actor::Claim;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::ConversationId;
use antiphon_core::topic::Topic;
use antiphon_server::config::Config;
use serde_json::json;

use super::tab::{Tab, ada};
use super::{tell, until_waiting};
use crate::faults::{Brittle, brittle_server_with};
use crate::support::engine::{Engine, Transport};
use crate::support::http::Http;
use crate::support::people::{agent, person};
use crate::support::server::{Server, operator};
use crate::support::soon;

/// A server on four cores whose store can be made to wait.
async fn server(change: impl FnOnce(&mut Config)) -> (Server, Arc<Brittle>) {
    brittle_server_with(|config| {
        config.server.cores = 4;
        change(config);
    })
    .await
}

fn of_ada() -> Topic {
    Topic::Person(person("ada"))
}

fn talk(with: &str) -> Topic {
    Topic::Conversation(ConversationId::direct(&agent(with), &person("ada")))
}

/// Waits until so many sockets of Ada listen: whoever comes back does so from when it has claimed its session.
async fn until_there(server: &Server, sockets: usize) {
    soon("sockets to listen", async { while server.listeners(&of_ada()).await != sockets {} }).await;
}

/// Ada, who said something to Luna and sits in that conversation.
async fn in_a_conversation(server: &Server, transport: Transport) -> Tab {
    let mut tab = ada(&server.door(), transport).await;
    tab.say("chat:message", json!({"agentId": "luna", "message": "hola"})).await;
    while tab.hear().await.0 != "chat:message:complete" {}
    tab
}

#[tokio::test]
async fn rooms_that_are_joined_and_left_while_somebody_comes_back_are_as_they_asked() {
    let (server, store) = server(|_| ()).await;
    let door = server.door();
    let mut tab = in_a_conversation(&server, Transport::Polling).await;
    let shut = store.gate.write().await;
    // What follows is done when the message is, which takes until they have come back.
    let said = [
        r#"42["chat:message",{"agentId":"luna","message":"adios"}]"#,
        r#"42["chat:leave",{"agentId":"luna"}]"#,
        r#"42["chat:join",{"agentId":"mia"}]"#,
    ];
    tab.engine.send(&said.join("\x1e")).await;
    soon("the message to be at the gate", store.bell.notified()).await;
    let memory = tab.memory();
    let (mut back, ()) = tokio::join!(Tab::back(&door, Transport::Websocket, memory.clone()), async {
        until_there(&server, 2).await;
        drop(shut);
    });
    back.is_recovered(&memory);
    let (luna, mia) = (server.listeners(&talk("luna")).await, server.listeners(&talk("mia")).await);
    assert_eq!((luna, mia), (0, 1));
    let speak = |name: &str, text: &str| Command::Speak {
        agent: agent(name),
        person: person("ada"),
        text: text.into(),
        once: None,
    };
    for (name, text) in [("luna", "oye"), ("mia", "hey")] {
        assert!(server.app().handle(&operator(), speak(name, text)).await.is_ok());
        assert_eq!(back.hear_named("chat:message").await["content"], text, "each once");
    }
    drop((tab, back));
    server.stop().await;
}

#[tokio::test]
async fn what_is_answered_while_somebody_comes_back_is_said_to_them_there() {
    let (server, store) = server(|_| ()).await;
    let door = server.door();
    for transport in [Transport::Polling, Transport::Websocket] {
        let mut tab = ada(&server.door(), transport).await;
        let shut = store.gate.write().await;
        tab.say("chat:message", json!({"agentId": "luna", "message": "hola"})).await;
        soon("the message to be at the gate", store.bell.notified()).await;
        store.fail(true, false);
        let memory = tab.memory();
        let (mut back, ()) = tokio::join!(Tab::back(&door, transport, memory.clone()), async {
            until_there(&server, 2).await;
            drop(shut);
        });
        back.is_recovered(&memory);
        assert_eq!(back.hear_named("chat:error").await["message"], "Failed to process message");
        store.fail(false, false);
        back.engine.send("41").await;
        drop((tab, back));
        until_there(&server, 0).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_goes_to_a_person_and_to_a_conversation_comes_once_although_rooms_are_entered_one_by_one() {
    let (server, store) = server(|_| ()).await;
    let door = server.door();
    let memory = in_a_conversation(&server, Transport::Websocket).await.cut();
    until_waiting(&server, 1).await;
    let shut = store.past.write().await;
    let (mut back, ()) = tokio::join!(Tab::back(&door, Transport::Websocket, memory.clone()), async {
        // Their own room is entered; whether they may enter the conversation is being looked up.
        until_there(&server, 1).await;
        let speak =
            Command::Speak { agent: agent("luna"), person: person("ada"), text: "oye".into(), once: None };
        assert!(server.app().handle(&operator(), speak).await.is_ok());
        // By the time this is answered, every core has heard of it.
        until_there(&server, 1).await;
        drop(shut);
    });
    back.is_recovered(&memory);
    tell(&server, [1]).await;
    let mut heard = Vec::new();
    loop {
        match back.hear().await {
            (name, _) if name == "system:notification" => break,
            (name, payload) if !name.starts_with("presence:") => {
                heard.push((name, payload["content"].clone()))
            }
            _ => {}
        }
    }
    assert_eq!(heard, [("chat:message".to_owned(), json!("oye"))]);
    drop(back);
    server.stop().await;
}

#[tokio::test]
async fn what_history_has_told_is_not_told_again_when_its_event_comes_after_the_session_moved() {
    let (server, store) = server(|_| ()).await;
    let tab = in_a_conversation(&server, Transport::Polling).await;
    let mut late = ada(&server.door(), Transport::Websocket).await;
    late.ask(1, "chat:join", json!({"agentId": "luna", "after": 0})).await;
    while late.acks.is_empty() {
        // The acknowledgement comes after the past and is taken along with whatever comes next.
        tell(&server, [1]).await;
        while late.hear().await.0 != "system:notification" {}
    }
    let memory = late.cut();
    until_waiting(&server, 1).await;
    let mut back = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    back.is_recovered(&memory);
    let command =
        Command::ReadHistory { agent: agent("luna"), person: Claim::of(person("ada")), after: 0, limit: 1 };
    let Ok(Outcome::History(page)) = server.app().handle(&operator(), command).await else { panic!() };
    let published = Envelope::new(talk("luna"), Event::MessagePosted(page[0].clone()));
    server.app().ports().bus.publish(published);
    tell(&server, [2]).await;
    loop {
        let (name, payload) = back.hear().await;
        assert_ne!(name, "chat:message", "{payload}");
        if name == "system:notification" && payload["title"] == "2" {
            break;
        }
    }
    drop((tab, back, store));
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_lost_again_while_they_come_back_waits_once_and_finds_everything() {
    let (server, store) = server(|config| config.resume.waiting_per_person = 1).await;
    let memory = in_a_conversation(&server, Transport::Websocket).await.cut();
    until_waiting(&server, 1).await;
    let shut = store.past.write().await;
    let mut engine = Engine::open(&server.door(), Transport::Polling).await;
    let auth = json!({"token": memory.token, "recover": true, "pid": memory.pid, "offset": memory.offset});
    engine.send(&format!("40{auth}")).await;
    until_there(&server, 1).await;
    let mut get = Http::open(&server.door()).await;
    get.send(&engine.get()).await;
    drop(get);
    server.until("the connection to be lost", |server| server.open_connections() == 0).await;
    assert_eq!(server.waiting_sessions(), 1);
    drop(shut);
    server.until("the session to move", |server| server.counters().resumed == 1).await;
    assert_eq!(server.waiting_sessions(), 1);
    tell(&server, [1]).await;
    let mut back = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    back.is_recovered(&memory);
    back.hear_number(1).await;
    assert_eq!(server.waiting_sessions(), 0);
    drop(back);
    server.stop().await;
}

//! The known faults of the reference, by their numbers there, are none of ours.

use serde_json::json;

use super::tab::{Tab, ada};
use super::{server, tell, until_waiting};
use crate::support::engine::{BOTH, Transport};

#[tokio::test]
async fn bug_4733_a_session_is_resumed_before_its_client_has_received_any_event() {
    for transport in BOTH {
        let server = server(|_| ()).await;
        let tab = Tab::open(&server.door(), transport, "ada-key").await;
        let memory = tab.cut();
        assert_eq!(memory.offset, None);
        tell(&server, [1]).await;
        let mut tab = Tab::back(&server.door(), transport, memory.clone()).await;
        tab.is_recovered(&memory);
        tab.hear_named("system:connection").await;
        tab.hear_number(1).await;
        drop(tab);
        server.stop().await;
    }
}

#[tokio::test]
async fn bug_4880_a_session_is_resumed_any_number_of_times_although_the_server_takes_its_client_for_connected()
 {
    let server = server(|config| {
        let mount = &mut config.listeners[0].mounts[0];
        (mount.ping_interval, mount.ping_timeout) = (300, 600);
    })
    .await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    let mut left = Vec::new();
    for number in 1..=3 {
        let memory = tab.memory();
        // Still open, and silent from now on.
        left.push(tab);
        tell(&server, [number]).await;
        tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
        tab.is_recovered(&memory);
        tab.hear_number(number).await;
        assert_eq!(server.open_connections(), 1, "the old one is closed");
        // Older than the time after which a connection is given up that says nothing.
        let pings = tab.engine.pings;
        let mut number = 100;
        while tab.engine.pings < pings + 4 {
            tell(&server, [number]).await;
            tab.hear_number(number).await;
            number += 1;
        }
    }
    assert_eq!(server.counters().resumed, 3);
    drop((left, tab));
    server.stop().await;
}

#[tokio::test]
async fn bug_5419_what_is_said_again_has_offsets_so_that_it_is_not_said_a_third_time() {
    let server = server(|_| ()).await;
    let tab = ada(&server.door(), Transport::Websocket).await;
    let memory = tab.cut();
    tell(&server, [1, 2]).await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory).await;
    tab.hear_number(1).await;
    tab.hear_number(2).await;
    for _ in 0..3 {
        let memory = tab.cut();
        tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
        tab.is_recovered(&memory);
    }
    tell(&server, [3]).await;
    tab.hear_number(3).await;
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn bug_5539_a_volatile_event_does_not_spoil_the_offset() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tab.ask(1, "chat:join", json!({"agentId": "luna"})).await;
    tell(&server, [1]).await;
    tab.hear_number(1).await;
    tab.say("chat:typing", json!({"agentId": "luna", "isTyping": true})).await;
    // It ends in an offset as well: `hear` looks at that.
    tab.hear_named("chat:typing").await;
    let memory = tab.cut();
    until_waiting(&server, 1).await;
    tell(&server, [2]).await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    // Typing that has ended meanwhile is not replayed.
    tab.hear_number(2).await;
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn bug_5541_rooms_come_back_although_nothing_was_received_in_them() {
    let server = server(|_| ()).await;
    let mut tab = Tab::open(&server.door(), Transport::Websocket, "ada-key").await;
    tab.ask(1, "chat:join", json!({"agentId": "luna"})).await;
    tab.hear_named("system:connection").await;
    while tab.acks.is_empty() {
        // Whatever is heard next comes after the acknowledgement.
        tell(&server, [0]).await;
        tab.hear_number(0).await;
    }
    let memory = tab.cut();
    let mut other = ada(&server.door(), Transport::Websocket).await;
    let mut memory = memory;
    memory.offset = None;
    other.say("chat:message", json!({"agentId": "luna", "message": "hola"})).await;
    other.hear_named("chat:message").await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    loop {
        let (name, payload) = tab.hear().await;
        if name == "chat:message" {
            assert_eq!(payload["content"], "hola");
            break;
        }
    }
    drop((tab, other));
    server.stop().await;
}

#[tokio::test]
async fn bug_5282_a_connection_on_which_nothing_happened_for_longer_than_the_window_is_resumed() {
    let server = server(|config| {
        config.resume.window = 50;
        let mount = &mut config.listeners[0].mounts[0];
        mount.ping_interval = 100;
    })
    .await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tell(&server, [1]).await;
    tab.hear_number(1).await;
    let mut other = ada(&server.door(), Transport::Websocket).await;
    // Three pings are longer than the window; each of them makes the server look at what it keeps.
    other.ask(1, "chat:join", json!({"agentId": "luna"})).await;
    while other.engine.pings < 3 {
        other.say("chat:typing", json!({"agentId": "luna", "isTyping": false})).await;
        other.hear_named("chat:typing").await;
    }
    let memory = tab.memory();
    let back = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    back.is_recovered(&memory);
    drop((tab, back, other));
    server.stop().await;
}

#[tokio::test]
async fn an_offset_of_the_session_before_is_no_offset_of_this_one_and_does_no_harm() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tab.engine.send("41").await;
    let memory = tab.cut();
    // The official client keeps its offset until it gets another one.
    let tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    assert_eq!(tab.reason(), "unknown");
    let again = tab.cut();
    assert_eq!(again.offset, memory.offset);
    tell(&server, [1]).await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, again.clone()).await;
    tab.is_recovered(&again);
    tab.hear_named("system:connection").await;
    tab.hear_number(1).await;
    drop(tab);
    server.stop().await;
}

//! Joining with a position, by a client that may be resumed: what it is told of the past has offsets like everything else.

use serde_json::json;

use super::server;
use super::tab::{Tab, ada};
use crate::support::engine::Transport;

/// The positions of so many messages, as they come.
async fn positions(tab: &mut Tab, count: usize) -> Vec<u64> {
    let mut positions = Vec::new();
    while positions.len() < count {
        let (_, payload) = tab.hear().await;
        positions.extend(payload["seq"].as_u64());
    }
    positions
}

#[tokio::test]
async fn whoever_catches_up_and_is_cut_then_goes_on_where_it_was() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    for word in ["one", "two", "three"] {
        tab.say("chat:message", json!({"agentId": "luna", "message": word})).await;
        positions(&mut tab, 2).await;
    }
    // Another of hers has missed all of it.
    let mut late = ada(&server.door(), Transport::Websocket).await;
    late.ask(1, "chat:join", json!({"agentId": "luna", "after": 1})).await;
    assert_eq!(positions(&mut late, 5).await, [2, 3, 4, 5, 6]);
    let memory = late.cut();
    tab.say("chat:message", json!({"agentId": "luna", "message": "four"})).await;
    positions(&mut tab, 2).await;
    let mut late = Tab::back(&server.door(), Transport::Polling, memory.clone()).await;
    late.is_recovered(&memory);
    assert_eq!(positions(&mut late, 2).await, [7, 8]);
    tab.say("chat:message", json!({"agentId": "luna", "message": "five"})).await;
    assert_eq!(positions(&mut late, 2).await, [9, 10]);
    drop((tab, late));
    server.stop().await;
}

#[tokio::test]
async fn what_was_told_of_the_past_and_did_not_arrive_is_told_again() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    for word in ["one", "two", "three"] {
        tab.say("chat:message", json!({"agentId": "luna", "message": word})).await;
        positions(&mut tab, 2).await;
    }
    let mut late = ada(&server.door(), Transport::Websocket).await;
    late.ask(1, "chat:join", json!({"agentId": "luna", "after": 0})).await;
    assert_eq!(positions(&mut late, 2).await, [1, 2]);
    let after_two = late.memory();
    // The rest was written and is lost on its way.
    assert_eq!(positions(&mut late, 4).await, [3, 4, 5, 6]);
    drop(late);
    let mut late = Tab::back(&server.door(), Transport::Websocket, after_two.clone()).await;
    late.is_recovered(&after_two);
    assert_eq!(positions(&mut late, 4).await, [3, 4, 5, 6]);
    tab.say("chat:message", json!({"agentId": "luna", "message": "four"})).await;
    assert_eq!(positions(&mut late, 2).await, [7, 8]);
    drop((tab, late));
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_cut_while_it_catches_up_hears_that_it_cannot_go_on() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    for _ in 0..60 {
        tab.say("chat:message", json!({"agentId": "luna", "message": "x".repeat(4_000)})).await;
        positions(&mut tab, 2).await;
    }
    // It reads the beginning and then nothing, so most of the past has yet to be told.
    let mut late = ada(&server.door(), Transport::Polling).await;
    late.ask(1, "chat:join", json!({"agentId": "luna", "after": 0})).await;
    assert_eq!(positions(&mut late, 1).await, [1]);
    let late = Tab::back(&server.door(), Transport::Websocket, late.cut()).await;
    assert_eq!(late.reason(), "catching_up");
    drop((tab, late));
    server.stop().await;
}

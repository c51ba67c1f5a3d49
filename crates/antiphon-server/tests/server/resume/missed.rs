//! What was missed comes once and in order, whatever carries it and wherever it is cut.

use serde_json::json;
use tokio::sync::oneshot;

use super::tab::{Tab, ada};
use super::{server, tell, until_waiting};
use crate::support::engine::Transport;
use crate::support::people::agent;
use crate::support::soon;

const ALL: [Transport; 3] = [Transport::Websocket, Transport::Polling, Transport::Upgraded];

#[tokio::test]
async fn what_was_missed_comes_once_and_in_order_over_every_transport() {
    for (first, second) in ALL.into_iter().flat_map(|first| ALL.map(|second| (first, second))) {
        let server = server(|_| ()).await;
        let mut tab = ada(&server.door(), first).await;
        let sid = tab.answer["sid"].clone();
        tell(&server, 1..3).await;
        tab.hear_number(1).await;
        tab.hear_number(2).await;
        let memory = tab.cut();
        tell(&server, 3..6).await;
        let mut tab = Tab::back(&server.door(), second, memory.clone()).await;
        tab.is_recovered(&memory);
        assert_eq!(tab.answer["sid"], sid);
        tell(&server, 6..8).await;
        for number in 3..8 {
            tab.hear_number(number).await;
        }
        assert_eq!(server.counters().resumed, 1);
        drop(tab);
        server.stop().await;
    }
}

#[tokio::test]
async fn a_session_that_is_known_to_be_lost_waits_and_hears_and_counts_as_nobody() {
    let server = server(|config| config.limits.connections_per_person = 1).await;
    let tab = ada(&server.door(), Transport::Websocket).await;
    let memory = tab.cut();
    until_waiting(&server, 1).await;
    assert_eq!(server.open_connections(), 0);
    let topic = antiphon_core::topic::Topic::Everyone;
    assert_eq!(server.listeners(&topic).await, 0);
    tell(&server, [1]).await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    tab.hear_number(1).await;
    assert_eq!((server.waiting_sessions(), server.listeners(&topic).await), (0, 1));
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn rooms_are_joined_again_and_an_answer_goes_on_where_it_was_cut() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tab.ask(1, "chat:join", json!({"agentId": "luna"})).await;
    let words: Vec<_> = (0..60).map(|word| format!("word{word}")).collect();
    let payload = json!({"agentId": "luna", "message": words.join(" ")});
    tab.say("chat:message", payload).await;
    let mut pieces = Vec::new();
    while pieces.len() < 3 {
        let (name, payload) = tab.hear().await;
        if name == "chat:message:stream" {
            pieces.push(payload);
        }
    }
    let memory = tab.cut();
    let mut tab = Tab::back(&server.door(), Transport::Polling, memory.clone()).await;
    tab.is_recovered(&memory);
    let whole = loop {
        let (name, payload) = tab.hear().await;
        match &*name {
            "chat:message:stream" => pieces.push(payload),
            "chat:message:complete" => break payload,
            _ => {}
        }
    };
    let indexes: Vec<_> = pieces.iter().map(|piece| piece["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..pieces.len() as u64).collect::<Vec<_>>());
    let text: String = pieces.iter().map(|piece| piece["chunk"].as_str().unwrap()).collect();
    assert_eq!(text.trim(), whole["fullContent"].as_str().unwrap());
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn what_is_answered_after_the_connection_was_lost_is_found_by_whoever_comes_back() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tab.say("chat:message", json!({"agentId": "nobody", "message": "hola"})).await;
    let memory = tab.cut();
    until_waiting(&server, 1).await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    let error = tab.hear_named("chat:error").await;
    assert_eq!(error["message"], "Agent not found", "{error}");
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_cut_again_and_again_while_much_happens_misses_nothing_and_hears_nothing_twice() {
    const NUMBERS: u32 = 350;
    const TRANSPORTS: [Transport; 8] = {
        let mut transports = [Transport::Websocket; 8];
        (transports[2], transports[5]) = (Transport::Upgraded, Transport::Polling);
        transports
    };
    let server = server(|_| ()).await;
    let door = server.door();
    let (ready, begin) = oneshot::channel();
    let reader = tokio::spawn(async move {
        let mut tab = ada(&door, Transport::Websocket).await;
        ready.send(()).expect("somebody waits");
        let mut cuts = 0_usize;
        for number in 1..=NUMBERS {
            if number % 7 == 0 {
                // Cut with whatever is on its way, known to the server or not.
                let memory = tab.memory();
                let left = Some(tab).filter(|_| cuts.is_multiple_of(8));
                tab = Tab::back(&door, TRANSPORTS[cuts % 8], memory.clone()).await;
                tab.is_recovered(&memory);
                drop(left);
                cuts += 1;
            }
            tab.hear_number(number).await;
        }
        cuts
    });
    begin.await.expect("the reader is there");
    for number in 1..=NUMBERS {
        tell(&server, [number]).await;
        tokio::task::yield_now().await;
    }
    let cuts = soon("everything to be heard", reader).await.expect("the reader saw what it should");
    server.until("the last to be counted", |server| server.counters().resumed == cuts as u64).await;
    server.stop().await;
}

/// The next event that says that somebody comes or goes.
async fn comes_or_goes(tab: &mut Tab) -> String {
    loop {
        let (name, _) = tab.hear().await;
        if name.starts_with("presence:user:") {
            return name;
        }
    }
}

#[tokio::test]
async fn nobody_is_away_who_comes_back_before_the_server_knew() {
    let server = server(|_| ()).await;
    let mut bob = Tab::open(&server.door(), Transport::Websocket, "bob-key").await.welcomed().await;
    let lost = ada(&server.door(), Transport::Websocket).await;
    assert_eq!(comes_or_goes(&mut bob).await, "presence:user:online");
    let memory = lost.memory();
    let tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    // The next that bob hears is that she really went.
    let memory = tab.cut();
    until_waiting(&server, 1).await;
    assert_eq!(comes_or_goes(&mut bob).await, "presence:user:offline");
    // That is no news to her own client.
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory).await;
    tell(&server, [1]).await;
    assert_eq!(tab.hear().await.0, "system:notification");
    assert_eq!(comes_or_goes(&mut bob).await, "presence:user:online");
    drop((lost, tab, bob));
    server.stop().await;
}

#[tokio::test]
async fn a_conversation_in_which_nothing_was_said_is_joined_again_too() {
    let server = server(|_| ()).await;
    let mut tab = ada(&server.door(), Transport::Websocket).await;
    tab.ask(1, "chat:join", json!({"agentId": "mia"})).await;
    tab.say("chat:typing", json!({"agentId": "mia", "isTyping": true})).await;
    tab.hear_named("chat:typing").await;
    let memory = tab.cut();
    until_waiting(&server, 1).await;
    let mut other = Tab::open(&server.door(), Transport::Websocket, "ada-key").await.welcomed().await;
    other.say("chat:message", json!({"agentId": "mia", "message": "hola"})).await;
    other.hear_named("chat:message").await;
    let mut tab = Tab::back(&server.door(), Transport::Websocket, memory.clone()).await;
    tab.is_recovered(&memory);
    let message = tab.hear_named("chat:message").await;
    assert_eq!((&message["agentId"], &message["content"]), (&json!(agent("mia").as_str()), &json!("hola")));
    drop((tab, other));
    server.stop().await;
}

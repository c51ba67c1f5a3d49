//! The end of the server: everybody is told in a way that makes them come back, and nothing waits for ever.

use std::future::pending;
use std::io::ErrorKind;

use serde_json::json;
use tokio::sync::oneshot;

use crate::support::engine::{Engine, Packet, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::people::{ada, config, settle};
use crate::support::server::{Server, goes_on};
use crate::support::soon;

/// A server that takes `drain` milliseconds to close its connections.
async fn server(drain: u64) -> Server {
    let store = std::sync::Arc::new(antiphon_core::memory::MemoryStore::new());
    settle(&*store).await;
    let mut config = config();
    config.server.drain = drain;
    let mut extras = antiphon_server::wiring::Extras::default();
    extras.store = Some(store);
    Server::start_as_it_is(config, extras).await
}

#[tokio::test]
async fn every_connection_is_closed_on_the_transport_and_not_left_by_the_server() {
    let mut server = server(300).await;
    let mut clients = Vec::new();
    for transport in [Transport::Websocket, Transport::Upgraded, Transport::Websocket] {
        clients.push(ada(&server, transport).await);
    }
    soon("the server to stop", server.stopping(pending())).await;
    for client in &mut clients {
        // Events of those that went before may come first, but no `41`: after that, clients would stay away.
        assert_eq!(client.over().await, "1001 server stops: reconnect");
    }
}

#[tokio::test]
async fn a_get_that_waits_is_told_to_come_back() {
    let mut server = server(0).await;
    let mut client = ada(&server, Transport::Polling).await;
    let mut get = Http::open(&server.door()).await;
    get.send(&client.engine.get()).await;
    // Once this is answered, the GET that was sent before it is waiting.
    client.engine.send("6").await;
    let stopping = server.stopping(pending());
    let (response, ()) = tokio::join!(get.response(), soon("the server to stop", stopping));
    assert_eq!((response.status, response.header("Retry-After")), (503, Some("1")));
}

#[tokio::test]
async fn a_client_that_paused_its_polling_for_the_upgrade_is_told_over_the_websocket() {
    let mut server = server(0).await;
    let mut engine = Engine::open(&server.door(), Transport::Polling).await;
    let mut websocket = engine.probe().await;
    websocket.text("2probe").await;
    assert_eq!(websocket.next_text().await, "3probe");
    // It is closed after the one that upgrades had its turn.
    let mut other = Engine::open(&server.door(), Transport::Websocket).await;
    let upgrading = async {
        assert_eq!(other.next().await, Packet::Over("1001 server stops: reconnect".into()));
        engine.take_over(websocket).await;
        assert_eq!(engine.next().await, Packet::Over("1001 server stops: reconnect".into()));
    };
    tokio::join!(upgrading, soon("the server to stop", server.stopping(pending())));
}

#[tokio::test]
async fn while_it_stops_it_says_so_and_lets_nobody_in() {
    let mut server = server(3_600_000).await;
    let door = server.door();
    let mut http = Http::open(&door).await;
    assert_eq!(http.ask(&Request::get("/readyz")).await.seen(), (200, "ready\n"));
    // Two of them, so that the drain has somebody to wait for.
    let mut first = Engine::open(&door, Transport::Websocket).await;
    let mut second = Engine::open(&door, Transport::Websocket).await;
    let (hurry, hurried) = oneshot::channel::<()>();
    let mut stopping = Box::pin(server.stopping(async {
        let _ = hurried.await;
    }));
    assert!(!goes_on(stopping.as_mut()).await);
    assert_eq!(first.next().await, Packet::Over("1001 server stops: reconnect".into()));

    assert_eq!(http.ask(&Request::get("/readyz")).await.seen(), (503, "stopping\n"));
    assert_eq!(http.ask(&Request::get("/healthz")).await.status, 200);
    let refused = http.ask(&Request::get(&door.target("EIO=4&transport=polling"))).await;
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    hurry.send(()).expect("it is listened to");
    soon("the server to hurry", stopping).await;
    assert_eq!(second.next().await, Packet::Over("1001 server stops: reconnect".into()));
    assert_eq!(door.tcp().await.err().map(|error| error.kind()), Some(ErrorKind::ConnectionRefused));
}

#[tokio::test]
async fn a_client_that_polls_over_a_new_connection_each_time_is_served_until_it_is_its_turn() {
    let mut server = server(3_600_000).await;
    let door = server.door();
    // Somebody whose turn comes first.
    let mut first = Engine::open(&door, Transport::Websocket).await;
    let second = Engine::open(&door, Transport::Polling).await;
    let (hurry, hurried) = oneshot::channel::<()>();
    let mut stopping = Box::pin(server.stopping(async {
        let _ = hurried.await;
    }));
    assert!(!goes_on(stopping.as_mut()).await);
    assert_eq!(first.next().await, Packet::Over("1001 server stops: reconnect".into()));

    let said = ask(&door, &second.post(r#"40{"token":"ada-key"}"#)).await;
    assert_eq!(said.seen(), (200, "ok"));
    let heard = ask(&door, &second.get()).await;
    assert_eq!(heard.status, 200);
    assert!(heard.text().starts_with("40"), "{}", heard.text());
    hurry.send(()).expect("it is listened to");
    soon("the server to hurry", stopping).await;
}

#[tokio::test]
async fn whoever_is_still_there_is_served_until_it_is_their_turn() {
    let mut server = server(3_600_000).await;
    let mut first = ada(&server, Transport::Websocket).await;
    let mut second = ada(&server, Transport::Websocket).await;
    let (hurry, hurried) = oneshot::channel::<()>();
    let mut stopping = Box::pin(server.stopping(async {
        let _ = hurried.await;
    }));
    assert!(!goes_on(stopping.as_mut()).await);
    assert_eq!(first.over().await, "1001 server stops: reconnect");
    let id = second.ask("chat:message", r#"{"agentId":"luna","message":"Just in time"}"#).await;
    assert_eq!(second.ack(id).await["ok"], json!(true));
    assert_eq!(second.event_named("chat:message:complete").await["fullContent"], json!("Just in time"));
    hurry.send(()).expect("it is listened to");
    soon("the server to hurry", stopping).await;
    assert_eq!(second.over().await, "1001 server stops: reconnect");
}

#[tokio::test]
async fn an_answer_that_is_under_way_is_finished_and_stored() {
    let store = std::sync::Arc::new(antiphon_core::memory::MemoryStore::new());
    settle(&*store).await;
    let mut config = config();
    config.model.chunk_words = 1;
    config.model.chunk_delay = std::time::Duration::from_millis(50);
    let mut extras = antiphon_server::wiring::Extras::default();
    extras.store = Some(store.clone());
    let mut server = Server::start(config, extras).await;
    let mut client = ada(&server, Transport::Websocket).await;
    client.emit("chat:message", r#"{"agentId":"luna","message":"a b c d e f g h"}"#).await;
    client.event_named("chat:message:stream").await;
    soon("the server to stop", server.stopping(pending())).await;
    let conversation = antiphon_core::ids::ConversationId::direct(
        &crate::support::people::agent("luna"),
        &crate::support::people::person("ada"),
    );
    use antiphon_core::ports::Conversations as _;
    let stored = store.history(conversation, 0, 10).await.expect("memory does not fail");
    let texts: Vec<_> = stored.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["a b c d e f g h", "a b c d e f g h"]);
}

#[tokio::test]
async fn a_server_with_several_cores_and_nobody_on_them_stops_at_once() {
    let mut config = config();
    config.server.cores = 3;
    config.store.ephemeral = true;
    let server = Server::start_as_it_is(config, antiphon_server::wiring::Extras::default()).await;
    server.stop().await;
}

#[tokio::test]
async fn its_port_is_free_once_it_has_stopped() {
    let first = server(0).await;
    let address = first.address;
    let client = ada(&first, Transport::Websocket).await;
    first.stop().await;
    drop(client);
    let mut config = config();
    config.store.ephemeral = true;
    config.listeners[0].address = address;
    let second = Server::start(config, antiphon_server::wiring::Extras::default()).await;
    assert_eq!(second.address, address);
    second.stop().await;
}

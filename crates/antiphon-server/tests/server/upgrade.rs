//! The change from polling to WebSocket.

use crate::support::client::Client;
use crate::support::engine::{Engine, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::server::Server;
use crate::support::websocket::{CLOSE, FIN, Message, WebSocket};

const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);

/// A polling session at the Engine.IO layer, where messages come back as they are.
async fn echo(server: &Server) -> Engine {
    Engine::open(&server.door().at("/engine.io"), Transport::Polling).await
}

#[tokio::test]
async fn a_probe_is_answered_and_the_session_moves() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    let mut websocket = engine.probe().await;
    websocket.text("2probe").await;
    assert_eq!(websocket.next().await, Message::Text("3probe".into()));
    engine.take_over(websocket).await;
    engine.send("4hello").await;
    assert_eq!(engine.next_text().await, "4hello");
    engine.send_binary(&[1, 2, 3]).await;
    assert_eq!(engine.next_binary().await, [1, 2, 3]);
    assert_eq!(server.counters().opened, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_get_that_waits_is_released_and_so_is_one_that_comes_during_the_upgrade() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    let mut get = Http::open(&server.door()).await;
    get.send(&engine.get()).await;
    assert_eq!(ask(&server.door(), &engine.post("6")).await.status, 200);
    let mut websocket = engine.probe().await;
    websocket.text("2probe").await;
    assert_eq!(websocket.next_text().await, "3probe");
    assert_eq!(get.response().await.seen(), (200, "6"));
    assert_eq!(get.ask(&engine.get()).await.seen(), (200, "6"));
    engine.take_over(websocket).await;
    engine.send("4hello").await;
    assert_eq!(engine.next_text().await, "4hello");
    server.stop().await;
}

#[tokio::test]
async fn the_session_is_not_served_over_polling_any_more_and_what_is_posted_is_not_taken() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    engine.upgrade().await;
    engine.send("4first").await;
    assert_eq!(engine.next_text().await, "4first");
    assert_eq!(ask(&server.door(), &engine.get()).await.seen(), BAD_REQUEST);
    assert_eq!(ask(&server.door(), &engine.post("4late")).await.seen(), BAD_REQUEST);
    engine.send("4second").await;
    assert_eq!(engine.next_text().await, "4second");
    server.stop().await;
}

#[tokio::test]
async fn a_second_websocket_with_the_same_session_is_closed_and_the_first_lives() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    engine.upgrade().await;
    engine.send("4first").await;
    assert_eq!(engine.next_text().await, "4first");
    engine.probe().await.ended().await;
    let mut second = engine.probe().await;
    second.text("2probe").await;
    second.ended().await;
    engine.send("4second").await;
    assert_eq!(engine.next_text().await, "4second");
    server.stop().await;
}

#[tokio::test]
async fn of_two_websockets_that_want_a_session_the_first_gets_it() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    let mut first = engine.probe().await;
    first.text("2probe").await;
    assert_eq!(first.next_text().await, "3probe");
    engine.probe().await.ended().await;
    engine.take_over(first).await;
    engine.send("4hello").await;
    assert_eq!(engine.next_text().await, "4hello");
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_for_a_session_that_opened_as_one_is_refused() {
    let server = Server::wire(|_| ()).await;
    let door = server.door().at("/engine.io");
    let mut engine = Engine::open(&door, Transport::Websocket).await;
    let target = door.target(&format!("EIO=4&transport=websocket&sid={}", engine.sid));
    match WebSocket::ask(&door, &Request::websocket(&target)).await {
        Ok(mut second) => second.ended().await,
        Err(response) => assert_eq!(response.status, 400),
    }
    engine.send("4hello").await;
    assert_eq!(engine.next_text().await, "4hello");
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_that_says_anything_but_a_probe_is_closed_and_polling_goes_on() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    for wrong in ["5", "2", "2abc", "4hello", "abc", "", "1", "6"] {
        let mut websocket = engine.probe().await;
        websocket.text(wrong).await;
        websocket.ended().await;
        engine.send("4still polling").await;
        assert_eq!(engine.next_text().await, "4still polling", "after {wrong:?}");
    }
    for wrong in ["2abc", "4hello", "abc"] {
        let mut websocket = engine.probe().await;
        websocket.text("2probe").await;
        assert_eq!(websocket.next_text().await, "3probe");
        websocket.text(wrong).await;
        websocket.ended().await;
        engine.send("4still polling").await;
        assert_eq!(engine.next_text().await, "4still polling", "after a probe and {wrong:?}");
    }
    engine.upgrade().await;
    engine.send("4over websocket").await;
    assert_eq!(engine.next_text().await, "4over websocket");
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_that_goes_before_it_has_taken_over_leaves_polling_as_it_was() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    for probes in [false, true] {
        let mut websocket = engine.probe().await;
        if probes {
            websocket.text("2probe").await;
            assert_eq!(websocket.next_text().await, "3probe");
            websocket.send(FIN | CLOSE, &1000_u16.to_be_bytes()).await;
            websocket.ended().await;
        } else {
            drop(websocket);
        }
        engine.send("4still polling").await;
        assert_eq!(engine.next_text().await, "4still polling");
    }
    assert_eq!(server.open_connections(), 1);
    server.stop().await;
}

#[tokio::test]
async fn an_upgrade_that_is_not_finished_in_time_is_given_up_and_polling_goes_on() {
    let server = Server::wire(|config| config.listeners[0].mounts[1].upgrade_timeout = 300).await;
    let mut engine = echo(&server).await;
    for probes in [false, true] {
        let mut websocket = engine.probe().await;
        if probes {
            websocket.text("2probe").await;
            assert_eq!(websocket.next_text().await, "3probe");
        }
        websocket.ended().await;
        engine.send("4still polling").await;
        assert_eq!(engine.next_text().await, "4still polling");
    }
    engine.upgrade().await;
    engine.send("4hello").await;
    assert_eq!(engine.next_text().await, "4hello");
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_or_overtaken_while_the_session_moves() {
    let server = Server::wire(|_| ()).await;
    let mut client = Client::connect(&server.door(), Transport::Polling, "").await;
    assert_eq!(client.event().await.0, "auth");
    let mut number = 0;
    let mut say = async |client: &mut Client, count: u32| {
        for _ in 0..count {
            client.emit("message", &number.to_string()).await;
            number += 1;
        }
    };
    say(&mut client, 20).await;
    let mut websocket = client.engine.probe().await;
    say(&mut client, 20).await;
    websocket.text("2probe").await;
    assert_eq!(websocket.next_text().await, "3probe");
    say(&mut client, 20).await;
    client.engine.take_over(websocket).await;
    say(&mut client, 20).await;
    for expected in 0..80 {
        assert_eq!(client.event().await, ("message-back".into(), expected.into()));
    }
    server.stop().await;
}

#[tokio::test]
async fn an_end_during_the_upgrade_ends_the_websocket_too() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut websocket = engine.probe().await;
    websocket.text("2probe").await;
    assert_eq!(websocket.next_text().await, "3probe");
    assert_eq!(ask(&server.door(), &engine.post("1")).await.seen(), (200, "ok"));
    websocket.ended().await;
    engine.is_unknown().await;
    assert_eq!(server.open_connections(), 0);
    server.stop().await;
}

#[tokio::test]
async fn heartbeats_go_on_over_the_websocket() {
    let server = Server::wire(|config| config.listeners[0].mounts[1].ping_interval = 300).await;
    let mut engine = echo(&server).await;
    engine.upgrade().await;
    for _ in 0..2 {
        assert_eq!(engine.websocket().next_text().await, "2");
        engine.websocket().text("3").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_moves_to_a_websocket_that_another_core_accepted() {
    let server = Server::wire(|config| config.server.cores = 2).await;
    for _ in 0..4 {
        // Connections are dealt out in turn, so that one more or less changes which core the WebSocket comes from.
        let _one_more = Http::open(&server.door()).await;
        let mut engine = echo(&server).await;
        engine.send("4over polling").await;
        assert_eq!(engine.next_text().await, "4over polling");
        engine.upgrade().await;
        for number in 0..10 {
            engine.send(&format!("4{number}")).await;
        }
        for number in 0..10 {
            assert_eq!(engine.next_text().await, format!("4{number}"));
        }
        engine.close().await;
    }
    server.until("every session to end", |server| server.open_connections() == 0).await;
    server.stop().await;
}

//! Where clients of the mission API come in, and that whoever is refused can do nothing.

use antiphon_core::topic::Topic;
use serde_json::{Value, json};

use super::served;
use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Packet, Transport};
use crate::support::http::{Http, Request};

#[tokio::test]
async fn clients_come_in_at_every_documented_place() {
    let (server, _) = served(|_| {}).await;
    for (path, transport) in ["/ws", "/ws/socket.io", "/socket.io"]
        .into_iter()
        .flat_map(|path| BOTH.map(|transport| (path, transport)))
    {
        let mut client = Client::connect(&server.door().at(path), transport, r#"{"token":"eve-key"}"#).await;
        let handshake = &client.engine.handshake;
        assert_eq!((&handshake["pingInterval"], &handshake["pingTimeout"]), (&json!(25_000), &json!(30_000)));
        assert_eq!(handshake["maxPayload"], json!(1_000_000));
        client.emit("subscribe", r#"{"room":"agent:123"}"#).await;
        assert_eq!(client.event().await, ("subscribed".into(), json!({"room": "agent:123"})), "{path}");
        client.engine.close().await;
    }
    // Without the slash at the end as well.
    for path in ["/ws", "/ws/socket.io", "/socket.io"] {
        let asked = Request::get(&format!("{path}?EIO=4&transport=polling"));
        assert_eq!(Http::open(&server.door()).await.ask(&asked).await.status, 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_refused_can_do_nothing() {
    let (server, _) = served(|_| {}).await;
    for (auth, text) in [
        ("", "Authentication required"),
        ("{}", "Authentication required"),
        (r#"{"token":"bad"}"#, "Invalid authentication"),
        (r#"{"token":"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZGEifQ.x"}"#, "Invalid authentication"),
    ] {
        for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
            let mut engine = Engine::open(&server.door(), transport).await;
            engine.send(&format!("40{auth}")).await;
            let refused = engine.next_text().await;
            let error: Value = serde_json::from_str(refused.strip_prefix("44").expect("a refusal")).unwrap();
            assert_eq!(error, json!({"message": text}), "{auth} over {transport:?}");
            // The documented server answered this one, token or not.
            engine.send(r#"42["subscribe",{"room":"agent:luna"}]"#).await;
            match engine.next().await {
                Packet::Over(_) => {}
                other => panic!("{auth} over {transport:?}: {other:?}"),
            }
        }
    }
    for topic in [Topic::Dashboard, Topic::Agent(crate::support::people::agent("luna"))] {
        assert_eq!(server.listeners(&topic).await, 0, "{topic:?}");
    }
    server.until("them to be gone", |server| server.open_connections() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn on_a_mount_that_is_shared_a_token_means_this_api() {
    let (server, _) = served(|config| {
        config.listeners[0].mounts[2].dialects = vec!["companion".into(), "mission".into()];
    })
    .await;
    let door = server.door().at("/socket.io");
    let mut with = Client::connect(&door, Transport::Websocket, r#"{"token":"eve-key"}"#).await;
    with.emit("subscribe", r#"{"room":"agent:123"}"#).await;
    assert_eq!(with.event().await, ("subscribed".into(), json!({"room": "agent:123"})));
    let refused = Client::try_connect(&door, Transport::Websocket, r#"{"token":"bad"}"#).await.err();
    assert_eq!(refused, Some(json!({"message": "Invalid authentication"})));
    for auth in ["", "{}"] {
        let mut without = Client::connect(&door, Transport::Websocket, auth).await;
        let asked = without.ask("subscribe", r#"{"room":"agent:123"}"#).await;
        assert_eq!(without.ack(asked).await["ok"], json!(false), "{auth}");
        without.engine.close().await;
    }
    with.engine.close().await;
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_refused_may_try_again_on_the_same_connection() {
    let (server, _) = served(|_| {}).await;
    let mut engine = Engine::open(&server.door(), Transport::Websocket).await;
    engine.send(r#"40{"token":"bad"}"#).await;
    assert_eq!(engine.next_text().await, r#"44{"message":"Invalid authentication"}"#);
    engine.send(r#"40{"token":"eve-key"}"#).await;
    assert!(engine.next_text().await.starts_with(r#"40{"sid":"#));
    engine.close().await;
    server.stop().await;
}

//! What nobody gets to see in logs and metrics: keys, tokens, session ids, query strings, and what people write.

use std::sync::Arc;

use antiphon_core::memory::MemoryStore;
use antiphon_server::config::Secret;
use antiphon_server::wiring::Extras;
use serde_json::json;

use crate::support::canary::Canaries;
use crate::support::client::Client;
use crate::support::engine::{Engine, Transport};
use crate::support::http::{Request, ask};
use crate::support::people::{add_agent, add_person, config, settle};
use crate::support::server::Server;

const KEY: &str = "canary-key-3f1c09ab";
const UNKNOWN_KEY: &str = "canary-unknown-key-77";
const TEXT: &str = "canary text: I am in love with Luna";
const CLAIM: &str = "canary-claimed-person";
const QUERY: &str = "canary-in-the-query";
const EVENT: &str = "canary:event:name";
const PAYLOAD: &str = "canary-in-a-payload";

#[tokio::test]
async fn t27_no_planted_secret_shows_in_the_log_at_any_level_or_in_the_metrics() {
    let canaries = Canaries::plant(&[KEY, UNKNOWN_KEY, TEXT, CLAIM, QUERY, EVENT, PAYLOAD]);
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    add_person(&*store, "cleo", "unlimited", KEY).await;
    add_agent(&*store, "orca", "cleo").await;
    let mut extras = Extras::default();
    extras.store = Some(store);
    let server = Server::start(config(), extras).await;
    let door = server.door();
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
        let mut client = Client::connect(&door, transport, &json!({"token": KEY}).to_string()).await;
        let session = client.engine.sid.clone();
        let sessions = Canaries::plant(&[&session]);
        for (event, argument) in [
            ("chat:message", json!({"agentId": "orca", "message": TEXT})),
            ("chat:message", json!({"agentId": "orca", "message": TEXT, "userId": CLAIM})),
            ("chat:message", json!({"agentId": "orca", "message": [PAYLOAD]})),
            ("chat:join", json!({"agentId": PAYLOAD})),
            (EVENT, json!({"token": KEY, "text": TEXT})),
        ] {
            let asked = client.ask(event, &argument.to_string()).await;
            client.ack(asked).await;
        }
        client.event_named("chat:message:complete").await;
        // It ends with a fault of the client's, which is logged.
        client.engine.send(&format!("4{PAYLOAD}")).await;
        client.over().await;
        sessions.assert_unseen(&server).await;
    }
    for auth in
        [json!({"token": UNKNOWN_KEY}), json!({"token": [UNKNOWN_KEY]}), json!({"secret": UNKNOWN_KEY})]
    {
        assert!(Client::try_connect(&door, Transport::Websocket, &auth.to_string()).await.is_err());
    }
    for target in [
        door.target(&format!("EIO=4&transport=polling&token={QUERY}")),
        door.target(&format!("EIO=4&transport=polling&sid={QUERY}")),
        door.target(&format!("EIO={QUERY}")),
        format!("/nowhere?token={QUERY}"),
    ] {
        ask(&door, &Request::get(&target).bearer(KEY)).await;
    }
    canaries.assert_unseen(&server).await;
    server.stop().await;
}

#[tokio::test]
async fn t27_the_operators_token_shows_nowhere_either() {
    const TOKEN: &str = "canary-operator-token-1";
    const WRONG: &str = "canary-wrong-token-2";
    let canaries = Canaries::plant(&[TOKEN, WRONG]);
    let mut config = config();
    config.store.ephemeral = true;
    config.admin.token = Some(Secret::new(TOKEN));
    assert!(!format!("{config:?}").contains(TOKEN));
    let server = Server::start(config, Extras::default()).await;
    let admin = server.admin();
    for (token, status) in [(TOKEN, 200), (WRONG, 401)] {
        let target = format!("/metrics?token={token}");
        let reply = ask(&admin, &Request::get(&target).bearer(token)).await;
        assert_eq!(reply.status, status);
        assert!(!reply.text().contains(token));
    }
    server.stop().await;
    canaries.assert_unlogged();
}

/// The helper itself: it would notice.
#[tokio::test]
#[should_panic(expected = "secrets were logged")]
async fn a_secret_that_is_logged_is_noticed() {
    let canaries = Canaries::plant(&["canary-that-sings-1"]);
    tracing::trace!(token = "canary-that-sings-1", "as the test asked");
    canaries.assert_unlogged();
}

#[tokio::test]
#[should_panic(expected = "secrets were logged")]
async fn a_secret_that_is_logged_in_disguise_is_noticed() {
    let canaries = Canaries::plant(&["canary-that-sings-2"]);
    tracing::trace!("63616e6172792d746861742d73696e67732d32");
    canaries.assert_unlogged();
}

#[tokio::test]
async fn t25_sessions_are_opened_and_closed_without_their_ids() {
    let server = crate::support::people::server(|_| ()).await;
    let mut client = Engine::open(&server.door(), Transport::Polling).await;
    let canaries = Canaries::plant(&[&client.sid.clone()]);
    client.upgrade().await;
    client.send("4nonsense").await;
    client.next().await;
    canaries.assert_unseen(&server).await;
    server.stop().await;
}

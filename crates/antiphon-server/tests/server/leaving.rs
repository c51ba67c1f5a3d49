//! A client that goes right after it said something: what it said counts.

use antiphon_core::conversation::Party;
use antiphon_core::ids::ConversationId;

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::http::ask;
use crate::support::people::{ada, agent, person, server};
use crate::support::websocket::frame;

const WORDS: [&str; 3] = ["one", "two", "three"];

fn said(word: &str) -> String {
    format!(r#"42["chat:message",{{"agentId":"luna","message":"{word}"}}]"#)
}

/// Starts a server, has a client say [`WORDS`] and go in one breath with `leave`, and expects every word to be stored.
async fn counts(transport: Transport, leave: impl AsyncFn(Client)) {
    let server = server(|_| ()).await;
    leave(ada(&server, transport).await).await;
    server.until("the client to be gone", |server| server.open_connections() == 0).await;
    let conversation = ConversationId::direct(&agent("luna"), &person("ada"));
    let stored = server.app().ports().store.history(conversation, 0, 100).await.unwrap();
    let said = stored.iter().filter(|message| message.author == Party::Person);
    let texts: Vec<_> = said.map(|message| message.text.as_str()).collect();
    assert_eq!(texts, WORDS);
    server.stop().await;
}

#[tokio::test]
async fn what_was_said_before_a_close_frame_is_stored() {
    counts(Transport::Websocket, async |mut client| {
        let mut bytes = Vec::new();
        for word in WORDS {
            bytes.extend_from_slice(&frame(0x81, said(word).as_bytes()));
        }
        bytes.extend_from_slice(&frame(0x88, &1000_u16.to_be_bytes()));
        client.engine.websocket().send_bytes(&bytes).await;
    })
    .await;
}

#[tokio::test]
async fn what_was_said_before_a_close_packet_is_stored() {
    counts(Transport::Polling, async |client| {
        let packets: Vec<_> = WORDS.iter().map(|word| said(word)).chain(["1".to_owned()]).collect();
        let answer = ask(&client.engine.door, &client.engine.post(packets.join("\u{1e}"))).await;
        assert_eq!(answer.seen(), (200, "ok"));
    })
    .await;
}

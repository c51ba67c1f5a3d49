//! The chat API, as scripts: `scripts/chat/*.script`.

use crate::script::{Manner, play_all, said_and_heard};
use crate::support::engine::Transport;
use crate::support::people;

const CHAT: Manner = Manner {
    folder: "chat",
    config: people::config,
    welcome: Some(("system:connection", r#"{"connected": true, "timestamp": "<time>"}"#)),
    question: ("agent:unsubscribe", r#"{"agentId":"nobody"}"#),
};

#[tokio::test]
async fn every_script_holds_over_websocket() {
    play_all(&CHAT, Transport::Websocket).await;
}

#[tokio::test]
async fn every_script_holds_over_polling() {
    play_all(&CHAT, Transport::Polling).await;
}

#[tokio::test]
async fn every_script_holds_after_an_upgrade() {
    play_all(&CHAT, Transport::Upgraded).await;
}

#[test]
fn the_scripts_say_and_hear_every_event_of_the_api() {
    let (said, heard) = said_and_heard(&CHAT);
    for event in [
        "chat:join",
        "chat:leave",
        "chat:message",
        "chat:typing",
        "agent:subscribe",
        "agent:unsubscribe",
        "presence:online",
        "presence:offline",
    ] {
        assert!(said.contains(event), "{event} is never said");
    }
    for event in [
        "system:connection",
        "system:notification",
        "chat:message",
        "chat:message:stream",
        "chat:message:complete",
        "chat:typing",
        "relation:updated",
        "chat:error AGENT_NOT_FOUND",
        "chat:error FORBIDDEN",
        "chat:error GENERATION_ERROR",
        "chat:error JOIN_ERROR",
        "chat:error MESSAGE_ERROR",
        "chat:error QUOTA_EXCEEDED",
        "agent:updated",
        "agent:deleted",
        "presence:user:online",
        "presence:user:offline",
        "presence:update",
    ] {
        assert!(heard.contains(event), "{event} is never heard");
    }
}

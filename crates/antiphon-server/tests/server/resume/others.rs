//! Whoever does not ask gets the very same bytes as ever, beside somebody who does.

use super::tab;
use super::{server, tell};
use crate::support::engine::{Engine, Transport};

#[tokio::test]
async fn whoever_does_not_ask_hears_no_offset_and_is_answered_as_ever() {
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
        let server = server(|_| ()).await;
        let mut asks = tab::ada(&server.door(), Transport::Websocket).await;
        let mut engine = Engine::open(&server.door(), transport).await;
        engine.send(r#"40{"token":"ada-key"}"#).await;
        let answer = engine.next_text().await;
        let object: serde_json::Value = serde_json::from_str(&answer[2..]).unwrap();
        assert_eq!(object.as_object().unwrap().keys().collect::<Vec<_>>(), ["sid"], "{answer}");
        let welcome = engine.next_text().await;
        assert!(welcome.starts_with(r#"42["system:connection",{"#) && welcome.ends_with("}]"), "{welcome}");
        tell(&server, [1]).await;
        let notice = engine.next_text().await;
        assert!(notice.starts_with(r#"42["system:notification",{"#) && notice.ends_with("}]"), "{notice}");
        asks.hear_number(1).await;
        engine.send(r#"42["chat:message",{"agentId":"luna","message":"one two three"}]"#).await;
        loop {
            let event = engine.next_text().await;
            assert!(event.ends_with("}]"), "{event}");
            if event.starts_with(r#"42["chat:message:complete""#) {
                break;
            }
        }
        engine.close().await;
        server.until("the other to be gone", |server| server.open_connections() == 1).await;
        assert_eq!(server.waiting_sessions(), 0, "nothing is kept for whoever does not ask");
        drop(asks);
        server.stop().await;
    }
}

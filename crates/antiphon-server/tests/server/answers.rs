//! Every event that carries an ack id is answered, and a message that is said again is stored once.

use antiphon_core::conversation::Party;
use antiphon_core::ids::ConversationId;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::engine::{BOTH, Transport};
use crate::support::people::{ada, agent, person, server};
use crate::support::server::Server;

/// Everything that a client may say, and what nobody may.
const EVENTS: [&str; 13] = [
    "chat:join",
    "chat:leave",
    "chat:message",
    "chat:typing",
    "agent:subscribe",
    "agent:unsubscribe",
    "presence:online",
    "presence:offline",
    "antiphon:refresh",
    "chat:message:complete",
    "__proto__",
    "",
    "no:such:event",
];

#[tokio::test]
async fn every_event_that_asks_for_an_answer_gets_one() {
    let server = server(|config| {
        config.limits.events_per_second = 0;
        config.limits.unknown_events = 0;
    })
    .await;
    let payloads = [
        "",
        "null",
        "7",
        "[]",
        r#""luna""#,
        "{}",
        r#"{"agentId":"luna"}"#,
        r#"{"agentId":"rex"}"#,
        r#"{"agentId":"nobody","message":"hola","isTyping":true}"#,
        r#"{"agentId":"luna","message":"hola","isTyping":true,"userId":"bob"}"#,
        r#"{"agentId":"luna","message":"hola","isTyping":true,"userId":7}"#,
        r#"{"agentId":"luna","message":" ","isTyping":"yes","after":-1}"#,
        r#"{"agentId":"luna","message":"hola","isTyping":false,"after":0}"#,
        r#"{"token":"nobody-has-this"}"#,
        r#"{"agentId":"luna","message":"hola"},"and","more""#,
    ];
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        let mut asked = Vec::new();
        for event in EVENTS {
            for payload in payloads {
                asked.push((event, payload, client.ask(event, payload).await));
            }
        }
        for (event, payload, id) in asked {
            let ack = client.ack(id).await;
            let is_answer = match ack["ok"].as_bool() {
                Some(true) => true,
                Some(false) => ack["error"]["code"].is_string(),
                None => false,
            };
            assert!(is_answer, "{event} {payload}: {ack}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_too_fast_is_answered_too() {
    let server = server(|config| {
        config.limits.events_per_second = 1;
        config.limits.events_burst = 5;
    })
    .await;
    let mut client = ada(&server, Transport::Websocket).await;
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(client.ask("chat:message", &named("hola", &json!("m-1"))).await);
    }
    let mut refused = 0;
    for id in asked {
        let ack = client.ack(id).await;
        refused += usize::from(ack["error"]["code"] == "RATE_LIMITED");
    }
    assert!(refused >= 10, "{refused} were refused");
    assert_eq!(said(&server).await.iter().filter(|text| *text == "hola").count(), 1);
    server.stop().await;
}

#[tokio::test]
async fn a_name_of_a_message_that_is_none_is_refused_and_nothing_is_stored() {
    let server = server(|config| config.limits.events_per_second = 0).await;
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        let long = "x".repeat(10 * 1024);
        for wrong in
            [json!(long), json!(""), json!(7), json!(1.5), json!(true), json!(["m"]), json!({"m": 1})]
        {
            let id = client.ask("chat:message", &named("never", &wrong)).await;
            let ack = client.ack(id).await;
            assert_eq!(
                (&ack["ok"], &ack["error"]["code"]),
                (&json!(false), &json!("MESSAGE_ERROR")),
                "{wrong}"
            );
            assert!(ack.to_string().len() < 1_000, "what was sent is not sent back");
        }
    }
    assert_eq!(said(&server).await, [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_message_that_is_said_again_is_stored_once_and_has_the_first_answer() {
    let server = server(|config| config.limits.events_per_second = 0).await;
    let mut client = ada(&server, Transport::Websocket).await;
    // Before the first is answered, as somebody does who lost patience.
    let mut tries = Vec::new();
    for _ in 0..10 {
        tries.push(client.ask("chat:message", &named("once", &json!("m-1"))).await);
    }
    let first = client.ack(tries[0]).await;
    assert_eq!((&first["ok"], &first["seq"], &first["duplicate"]), (&json!(true), &json!(1), &Value::Null));
    for id in &tries[1..] {
        let again = client.ack(*id).await;
        assert_eq!(
            (&again["duplicate"], &again["id"], &again["seq"]),
            (&json!(true), &first["id"], &json!(1))
        );
    }
    // Over another connection, by another transport.
    let mut other = ada(&server, Transport::Polling).await;
    assert_eq!(answer(&mut other, &named("once", &json!("m-1"))).await["id"], first["id"]);
    // The same name for something else, or somewhere else.
    let mia = r#"{"agentId":"mia","message":"once","clientMessageId":"m-1"}"#;
    for different in [named("twice", &json!("m-1")), mia.to_owned()] {
        let refused = answer(&mut other, &different).await;
        assert_eq!(
            (&refused["ok"], &refused["error"]["code"]),
            (&json!(false), &json!("CONFLICT")),
            "{different}"
        );
    }
    assert_eq!(said(&server).await.iter().filter(|text| *text == "once").count(), 1);
    assert!(!said(&server).await.contains(&"twice".to_owned()));
    server.stop().await;
}

/// A message to Luna under a name of its own.
fn named(text: &str, name: &Value) -> String {
    json!({"agentId": "luna", "message": text, "clientMessageId": name}).to_string()
}

async fn answer(client: &mut Client, payload: &str) -> Value {
    let id = client.ask("chat:message", payload).await;
    client.ack(id).await
}

/// What Ada has said to Luna.
async fn said(server: &Server) -> Vec<String> {
    let conversation = ConversationId::direct(&agent("luna"), &person("ada"));
    let history = server.app().ports().store.history(conversation, 0, 1_000).await.expect("the store reads");
    history
        .into_iter()
        .filter(|message| message.author == Party::Person)
        .map(|message| message.text)
        .collect()
}

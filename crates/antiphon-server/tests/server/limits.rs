//! How much of everything there may be, and who suffers when there is more.

use antiphon_core::command::Command;
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::topic::Topic;
use serde_json::{Value, json, value::RawValue};

use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::people::{ada, bob, person, server};
use crate::support::server::Server;
use crate::support::websocket::WebSocket;

/// A notice of about eight kilobytes for Ada, with a number in it.
fn notice(number: usize) -> Command {
    let notice = Notice {
        kind: NoticeKind::Info,
        title: number.to_string(),
        message: "x".repeat(8_000),
        action: None,
    };
    Command::SendNotice { person: person("ada"), notice }
}

/// Notices that one kernel will not hold for another.
const MANY: usize = 8_000;

// ---- clients that do not read ----

#[tokio::test]
async fn a_websocket_that_is_not_read_is_cut_and_its_neighbour_gets_everything() {
    let server = server(|config| config.limits.outbox = 256 * 1024).await;
    let mut slow =
        Client::connect(&server.door().narrow(), Transport::Websocket, r#"{"token":"ada-key"}"#).await;
    let mut quick = ada(&server, Transport::Websocket).await;
    let mut sent = 0;
    while server.counters().too_slow == 0 {
        assert!(sent < MANY, "a client that reads nothing was sent {sent} notices");
        for _ in 0..8 {
            server.order(notice(sent)).await;
            sent += 1;
        }
        // The neighbour reads along, so that nothing but the slow client's outbox can be full.
        for number in sent - 8..sent {
            let heard = quick.event_named("system:notification").await;
            assert_eq!(heard["title"], json!(number.to_string()));
        }
    }
    server.until("the slow one to be gone", |server| server.open_connections() == 1).await;
    // It is cut within a message, perhaps: no goodbye could be said.
    slow.engine.websocket().ended().await;
    server.order(notice(sent)).await;
    assert_eq!(quick.event_named("system:notification").await["title"], json!(sent.to_string()));
    server.stop().await;
}

#[tokio::test]
async fn a_polling_session_that_is_not_polled_is_cut_and_forgotten() {
    let server = server(|config| config.limits.outbox = 64 * 1024).await;
    let slow = ada(&server, Transport::Polling).await;
    let mut quick = ada(&server, Transport::Polling).await;
    for number in 0..12 {
        server.order(notice(number)).await;
        assert_eq!(quick.event_named("system:notification").await["title"], json!(number.to_string()));
    }
    server.until("the slow one to be cut", |server| server.counters().too_slow == 1).await;
    slow.engine.is_unknown().await;
    assert_eq!(server.open_connections(), 1);
    server.stop().await;
}

#[tokio::test]
async fn what_waits_for_a_polling_session_below_the_limit_all_comes_in_one_answer() {
    let server = server(|_| ()).await;
    let mut client = ada(&server, Transport::Polling).await;
    for number in 0..50 {
        server.order(notice(number)).await;
    }
    for number in 0..50 {
        assert_eq!(client.event().await.1["title"], json!(number.to_string()));
    }
    server.stop().await;
}

#[tokio::test]
async fn typing_is_dropped_when_there_is_no_room_and_the_session_lives() {
    let server = server(|config| {
        config.limits.outbox = 4_096;
        config.limits.events_per_second = 0;
    })
    .await;
    let mut slow = ada(&server, Transport::Polling).await;
    let id = slow.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    assert_eq!(slow.ack(id).await["ok"], json!(true));
    let mut quick = ada(&server, Transport::Websocket).await;
    let id = quick.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    assert_eq!(quick.ack(id).await["ok"], json!(true));
    for _ in 0..60 {
        quick.emit("chat:typing", r#"{"agentId":"luna","isTyping":false}"#).await;
        quick.event_named("chat:typing").await;
    }
    let dropped = server.counters().dropped;
    assert!((1..60).contains(&dropped), "{dropped} were dropped");
    // What was there before is there still, whole; and once it is read there is room again.
    for _ in dropped..60 {
        assert_eq!(slow.event_named("chat:typing").await["isTyping"], json!(false));
    }
    let id = slow.ask("agent:unsubscribe", r#"{"agentId":"luna"}"#).await;
    assert_eq!(slow.ack(id).await["ok"], json!(true));
    assert!(slow.events().is_empty());
    assert_eq!(server.counters().too_slow, 0);
    server.stop().await;
}

#[tokio::test]
async fn pieces_of_an_answer_are_joined_for_a_slow_reader_and_no_word_is_lost() {
    let server = server(|config| config.model.chunk_words = 1).await;
    let mut slow = ada(&server, Transport::Polling).await;
    let id = slow.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    assert_eq!(slow.ack(id).await["ok"], json!(true));
    let mut quick = ada(&server, Transport::Websocket).await;
    let text: Vec<_> = (0..2_000).map(|number| number.to_string()).collect();
    let text = text.join(" ");
    quick.emit("chat:message", &json!({"agentId": "luna", "message": text}).to_string()).await;
    // Nobody asks for what waits for the slow one until the answer is over.
    for (client, most) in [(&mut quick, 2_000), (&mut slow, 1_000)] {
        let (mut heard, mut pieces, mut last) = (String::new(), 0, None);
        let whole = loop {
            match client.event().await {
                (name, piece) if name == "chat:message:stream" => {
                    let index = piece["index"].as_u64();
                    assert!(last < Some(index), "{last:?} came before {index:?}");
                    last = Some(index);
                    pieces += 1;
                    heard.push_str(piece["chunk"].as_str().expect("text"));
                }
                (name, whole) if name == "chat:message:complete" => break whole,
                _ => {}
            }
        };
        assert_eq!(heard, format!("{text} "));
        assert_eq!(whole["fullContent"], Value::from(&*text));
        assert!((1..=most).contains(&pieces), "{pieces} pieces");
    }
    assert!(server.counters().joined >= 1_000, "{} were joined", server.counters().joined);
    server.stop().await;
}

#[tokio::test]
async fn a_write_that_stalls_ends_the_connection() {
    let server = server(|config| {
        config.limits.write_stall = 300;
        config.limits.outbox = 256 << 20;
    })
    .await;
    let mut slow =
        Client::connect(&server.door().narrow(), Transport::Websocket, r#"{"token":"ada-key"}"#).await;
    let mut sent = 0;
    while server.counters().too_slow == 0 {
        assert!(sent < MANY, "a client that reads nothing was sent {sent} notices");
        server.order(notice(sent)).await;
        sent += 1;
        if sent % 64 == 0 {
            // Gives the server's core its turn, and its time.
            assert_eq!(ask(&server.door(), &Request::get("/healthz")).await.status, 200);
        }
        if sent == MANY / 2 {
            server.until("the stall to be noticed", |server| server.counters().too_slow == 1).await;
        }
    }
    server.until("the slow one to be gone", |server| server.open_connections() == 0).await;
    slow.engine.websocket().ended().await;
    server.stop().await;
}

// ---- counts ----

#[tokio::test]
async fn connections_over_the_limit_are_told_to_come_back() {
    let server = Server::wire(|config| config.limits.connections = 2).await;
    let door = server.door();
    let first = Engine::open(&door, Transport::Polling).await;
    let _second = Engine::open(&door, Transport::Websocket).await;
    let mut http = Http::open(&door).await;
    let refused = http.ask(&Request::get(&door.target("EIO=4&transport=polling"))).await;
    assert_eq!((refused.status, refused.header("Retry-After")), (503, Some("1")));
    http.ended().await;
    let request = Request::websocket(&door.target("EIO=4&transport=websocket"));
    let refused = WebSocket::ask(&door, &request).await.err().map(|response| response.status);
    assert_eq!(refused, Some(503));
    // Whoever is in may upgrade, and whoever goes makes room.
    let mut first = first;
    first.upgrade().await;
    first.close().await;
    server.until("room", |server| server.open_connections() == 1).await;
    Engine::open(&door, Transport::Polling).await;
    server.stop().await;
}

#[tokio::test]
async fn t12_a_socket_listens_to_a_limited_number_of_rooms() {
    // Two of them are taken from the start: the person's own, and everybody's.
    let server = server(|config| config.limits.rooms = 3).await;
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        let joined = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));
        let again = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        assert_eq!(client.ack(again).await["ok"], json!(true));
        let message = "This connection listens to too many places already.";
        let over = client.ask("chat:join", r#"{"agentId":"mia"}"#).await;
        assert_eq!(
            client.ack(over).await,
            json!({"ok": false, "error": {"code": "JOIN_ERROR", "message": message}})
        );
        let error = client.event_named("chat:error").await;
        assert_eq!((&error["code"], &error["message"]), (&json!("JOIN_ERROR"), &json!(message)));
        let left = client.ask("chat:leave", r#"{"agentId":"luna"}"#).await;
        assert_eq!(client.ack(left).await["ok"], json!(true));
        let joined = client.ask("chat:join", r#"{"agentId":"mia"}"#).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));
    }
    server.stop().await;
}

#[tokio::test]
async fn questions_beyond_those_that_may_wait_are_refused_and_the_others_are_answered_in_order() {
    // The first piece of the first answer is said at once, and then the agent takes its time.
    let server = server(|config| {
        config.limits.waiting_replies = 2;
        config.model.chunk_words = 1;
        config.model.chunk_delay = std::time::Duration::from_millis(300);
    })
    .await;
    let mut client = ada(&server, Transport::Websocket).await;
    let asked = |text: &str| json!({"agentId": "luna", "message": text}).to_string();
    let mut acks = Vec::new();
    for text in ["one", "two", "three", "four"] {
        acks.push(client.ask("chat:message", &asked(text)).await);
    }
    for (id, ok) in acks.into_iter().zip([true, true, true, false]) {
        assert_eq!(client.ack(id).await["ok"], json!(ok));
    }
    let error = client.event_named("chat:error").await;
    assert_eq!(
        (&error["code"], &error["details"]),
        (&json!("RATE_LIMITED"), &json!({"retryAfterMs": 1_000}))
    );
    for text in ["one", "two", "three"] {
        assert_eq!(client.event_named("chat:message:complete").await["fullContent"], json!(text));
    }
    server.stop().await;
}

// ---- several cores ----

#[tokio::test]
async fn members_on_every_core_get_one_copy_each_and_in_one_order() {
    const EACH: usize = 20;
    let server = server(|config| {
        config.server.cores = 2;
        config.limits.waiting_replies = 1_000;
    })
    .await;
    let mut clients = Vec::new();
    for transport in [
        Transport::Websocket,
        Transport::Websocket,
        Transport::Upgraded,
        Transport::Polling,
        Transport::Websocket,
    ] {
        let mut client = ada(&server, transport).await;
        let id = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        assert_eq!(client.ack(id).await["ok"], json!(true));
        clients.push(client);
    }
    for number in 0..EACH {
        for (who, client) in clients.iter_mut().take(3).enumerate() {
            let message = json!({"agentId": "luna", "message": format!("{who} {number}")});
            client.emit("chat:message", &message.to_string()).await;
        }
    }
    let mut orders = Vec::new();
    for client in &mut clients {
        let (mut questions, mut answers) = (Vec::new(), Vec::new());
        while answers.len() < 3 * EACH {
            match client.event().await {
                (name, value) if name == "chat:message" => questions.push(value["content"].clone()),
                (name, value) if name == "chat:message:complete" => {
                    answers.push(value["fullContent"].clone())
                }
                _ => {}
            }
        }
        // Answers come in the order of the questions, and everything that one client said in the order it was said.
        assert_eq!(questions, answers);
        for who in 0..3 {
            let own = questions
                .iter()
                .filter(|text| text.as_str().is_some_and(|text| text.starts_with(&format!("{who} "))));
            let expected: Vec<_> = (0..EACH).map(|number| json!(format!("{who} {number}"))).collect();
            assert_eq!(own.cloned().collect::<Vec<_>>(), expected);
        }
        orders.push(questions);
    }
    for order in &orders[1..] {
        assert_eq!(*order, orders[0]);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_member_that_goes_leaves_the_others_of_its_room_where_they_are() {
    for cores in [1, 2] {
        let server = server(|config| config.server.cores = cores).await;
        let mut clients = Vec::new();
        for _ in 0..6 {
            clients.push(ada(&server, Transport::Websocket).await);
        }
        let mut other = bob(&server, Transport::Websocket).await;
        // The first, the last and one in the middle: whoever sits on their place must still be found.
        for gone in [0, 4, 2] {
            clients.remove(gone).engine.close().await;
            let open = clients.len() + 1;
            server.until("it to be gone", |server| server.open_connections() == open).await;
            server.order(notice(gone)).await;
            for client in &mut clients {
                let heard = client.event_named("system:notification").await;
                assert_eq!(heard["title"], json!(gone.to_string()));
            }
        }
        for client in clients {
            client.engine.close().await;
        }
        // Once the last of them is gone, so is the person.
        assert_eq!(other.event_named("presence:user:offline").await["userId"], json!("ada"));
        server.stop().await;
    }
}

#[tokio::test]
async fn a_dialect_that_panics_while_it_renders_loses_that_event_and_nothing_else() {
    let server = Server::wire(|_| ()).await;
    let mut client = Client::connect(&server.door().at("/probe"), Transport::Websocket, "").await;
    let signal = |name: &str, value: u32| Command::Signal {
        topic: Topic::Everyone,
        name: name.into(),
        value: RawValue::from_string(value.to_string()).expect("a number").into(),
    };
    server.order(signal("plain", 1)).await;
    server.order(signal("panic", 2)).await;
    server.order(signal("plain", 3)).await;
    assert_eq!(client.event().await, ("signal".into(), json!(1)));
    assert_eq!(client.event().await, ("signal".into(), json!(3)));
    server.stop().await;
}

// ---- sizes ----

#[tokio::test]
async fn p11_before_a_connect_a_message_may_be_as_long_as_a_credential_and_not_one_byte_longer() {
    const MOST: usize = 32 * 1_024;
    let server = server(|_| ()).await;
    let connect = |length: usize| {
        let (head, tail) = (r#"40{"token":""#, r#""}"#);
        format!("{head}{}{tail}", "x".repeat(length - head.len() - tail.len()))
    };
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
        let mut engine = Engine::open(&server.door(), transport).await;
        engine.send(&connect(MOST)).await;
        assert!(engine.next_text().await.starts_with("44"), "it was read, and is nobody's");
        engine.send(&connect(MOST + 1)).await;
        let how = engine.over().await;
        assert!(transport == Transport::Polling || how == "1009 a message over the payload limit", "{how}");

        // Whoever is in may say more.
        let mut client = ada(&server, transport).await;
        let long = json!({"agentId": "luna", "padding": "x".repeat(10 * MOST)});
        let joined = client.ask("chat:join", &long.to_string()).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));
    }
    server.stop().await;
}

//! Socket.IO packets over either transport: which are processed, and which end the connection.

use serde_json::json;

use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Packet, Transport};
use crate::support::server::Server;

/// What a client sends.
#[derive(Clone)]
enum Sent {
    Text(String),
    Binary(Vec<u8>),
}

fn text(packet: impl Into<String>) -> Sent {
    Sent::Text(packet.into())
}

fn binary(bytes: &[u8]) -> Sent {
    Sent::Binary(bytes.to_vec())
}

/// A client that has been let in and welcomed.
async fn client(server: &Server, transport: Transport) -> Client {
    let mut client = Client::connect(&server.door(), transport, "").await;
    assert_eq!(client.event().await.0, "auth");
    client
}

async fn send(engine: &mut Engine, packets: &[Sent]) {
    for packet in packets {
        match packet {
            Sent::Text(text) => engine.send(text).await,
            Sent::Binary(bytes) => engine.send_binary(bytes).await,
        }
    }
}

/// Sends `packets` over both transports. Each time the connection must end with `reason`, the server must not know the session
/// any more, and a neighbour must notice nothing.
async fn ends(packets: &[Sent], reason: &str) {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut neighbour = client(&server, transport).await;
        let mut client = client(&server, transport).await;
        send(&mut client.engine, packets).await;
        let how = client.engine.over().await;
        match transport {
            Transport::Polling => assert!(how == "1" || how.starts_with("400 "), "{how}"),
            _ => assert_eq!(how, format!("1008 {reason}")),
        }
        neighbour.emit("message", "1").await;
        assert_eq!(neighbour.event().await, ("message-back".into(), json!(1)));
        neighbour.engine.close().await;
        server.until("both to be gone", |server| server.open_connections() == 0).await;
    }
    assert_eq!(server.counters().malformed, 2);
    server.stop().await;
}

/// Sends `packets` over both transports; each time the connection must live.
async fn lives(packets: &[Sent]) {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        send(&mut client.engine, packets).await;
        client.engine.send(r#"42["message","still here"]"#).await;
        while client.engine.next().await != Packet::Text(r#"42["message-back","still here"]"#.into()) {}
    }
    assert_eq!(server.counters().malformed, 0);
    server.stop().await;
}

fn nested(levels: usize) -> String {
    // The array of the event's arguments is the outermost level.
    format!(r#"42["message",{}{}]"#, "[".repeat(levels - 1), "]".repeat(levels - 1))
}

fn with_attachments(count: usize) -> String {
    let placeholders: Vec<_> =
        (0..count).map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#)).collect();
    format!(r#"45{count}-["message",{}]"#, placeholders.join(","))
}

// ---- what is processed ----

#[tokio::test]
async fn an_event_comes_back_whatever_its_arguments_are() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        for args in ["", r#"1,"2",{"3":[null,true]}"#, r#""é€😀\ud83d\ude00","\u0000""#, "1e999,-0", "[[[]]]"]
        {
            let comma = if args.is_empty() { "" } else { "," };
            client.engine.send(&format!(r#"42["message"{comma}{args}]"#)).await;
            let expected = format!(r#"42["message-back"{comma}{args}]"#);
            assert_eq!(client.engine.next_text().await, expected);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_asks_for_an_ack_gets_exactly_one() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        for id in ["0", "1", "456", "9007199254740991"] {
            client.engine.send(&format!(r#"42{id}["message-with-ack",1,"2",{{"3":[true]}}]"#)).await;
            assert_eq!(client.engine.next_text().await, format!(r#"43{id}[1,"2",{{"3":[true]}}]"#));
        }
        client.engine.send("40/custom,").await;
        client.engine.next_text().await;
        client.engine.next_text().await;
        client.engine.send(r#"42/custom,7["message-with-ack"]"#).await;
        assert_eq!(client.engine.next_text().await, "43/custom,7[]");
    }
    server.stop().await;
}

#[tokio::test]
async fn binary_events_and_binary_acks_keep_their_attachments_in_order() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        for (sent, expected) in [
            (
                r#"452-["message",{"_placeholder":true,"num":1},{"a":{"_placeholder":true,"num":0}}]"#,
                r#"452-["message-back",{"_placeholder":true,"num":1},{"a":{"_placeholder":true,"num":0}}]"#,
            ),
            (
                r#"452-9["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
                r#"462-9[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#,
            ),
        ] {
            client.engine.send(sent).await;
            client.engine.send_binary(&[1, 2, 3]).await;
            client.engine.send_binary(&[]).await;
            assert_eq!(client.engine.next_text().await, expected);
            assert_eq!(client.engine.next_binary().await, [1, 2, 3]);
            assert!(client.engine.next_binary().await.is_empty());
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_dialect_may_answer_with_an_attachment_of_its_own() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = Client::connect(&server.door().at("/probe"), transport, "").await;
        client.emit("binary", "").await;
        assert_eq!(client.engine.next_text().await, r#"451-["binary",{"_placeholder":true,"num":0}]"#);
        assert_eq!(client.engine.next_binary().await, [1, 2, 3]);
        // And nothing of it sticks to the next answer.
        let id = client.ask("nothing", "").await;
        assert_eq!(client.ack(id).await["ok"], json!(true));
    }
    server.stop().await;
}

#[tokio::test]
async fn events_of_one_connection_are_processed_in_the_order_sent() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        for number in 0..200 {
            client.emit("message", &number.to_string()).await;
        }
        for number in 0..200 {
            assert_eq!(client.event().await, ("message-back".into(), json!(number)));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_event_that_the_dialect_does_not_know_is_counted_and_refused_and_the_connection_lives() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        let names =
            ["__proto__", "constructor", "toString", "hasOwnProperty", "", "error", "Message", "message "];
        for name in names {
            client.emit(name, "1").await;
            let id = client.ask(name, "1").await;
            let refused =
                json!({"ok": false, "error": {"code": "invalid", "message": "There is no such event here."}});
            assert_eq!(client.ack(id).await, refused, "{name}");
        }
        assert!(client.events().is_empty());
    }
    assert_eq!(server.counters().unknown, 2 * 2 * 8);
    assert_eq!(server.counters().malformed, 0);
    server.stop().await;
}

#[tokio::test]
async fn an_ack_that_nobody_asked_for_is_counted_and_ignored() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        for ack in ["430[]", "437[1,2]", "437[1,2]", "43/custom,7[]", "439007199254740991[]"] {
            client.engine.send(ack).await;
        }
        client.engine.send(r#"461-7[{"_placeholder":true,"num":0}]"#).await;
        client.engine.send_binary(&[1]).await;
        client.emit("message", "1").await;
        assert_eq!(client.event().await, ("message-back".into(), json!(1)));
    }
    assert_eq!(server.counters().unasked, 2 * 6);
    server.stop().await;
}

#[tokio::test]
async fn leaving_a_namespace_that_one_is_not_in_does_nothing() {
    lives(&[text("41/custom,"), text("41/nowhere,")]).await;
}

#[tokio::test]
async fn t12_what_is_at_its_limit_passes() {
    let attachments: Vec<_> = (0..10).map(|index| binary(&[index])).collect();
    lives(&[vec![text(with_attachments(10))], attachments].concat()).await;
    lives(&[text(nested(64))]).await;
    lives(&[text(format!(r#"42["{}"]"#, "n".repeat(256)))]).await;
}

// ---- what ends the connection ----

#[tokio::test]
async fn t12_what_is_over_its_limit_ends_the_connection() {
    ends(&[text(with_attachments(11))], "too many attachments").await;
    ends(&[text(nested(65))], "JSON that nests too deeply").await;
    ends(&[text(format!(r#"42["{}"]"#, "n".repeat(257)))], "an event name over the limit").await;
    ends(&[text(nested(200_000))], "JSON that nests too deeply").await;
}

#[tokio::test]
async fn a_binary_packet_without_attachments_ends_the_connection() {
    for packet in [r#"450-["message"]"#, r#"460-1["message"]"#] {
        ends(&[text(packet)], "a binary packet without attachments").await;
    }
}

#[tokio::test]
async fn a_number_of_attachments_that_is_none_ends_the_connection() {
    for packet in [r#"45["message"]"#, r#"45-["message"]"#, r#"451["message"]"#] {
        let reason = match packet.contains('-') {
            true => "a bad number of attachments",
            false => "a binary packet without a number of attachments",
        };
        ends(&[text(packet)], reason).await;
    }
    for count in ["-1", "1.5", "+1", " 1", "99999999999999999999"] {
        let packet = format!(r#"45{count}-["message",{{"_placeholder":true,"num":0}}]"#);
        ends(&[text(packet)], "a bad number of attachments").await;
    }
}

#[tokio::test]
async fn placeholders_must_match_the_attachments_exactly() {
    for args in [
        r#"{"_placeholder":true,"num":1}"#,
        r#"{"_placeholder":true,"num":-1}"#,
        r#"{"_placeholder":true,"num":"0"}"#,
        r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":0}"#,
        "1",
    ] {
        let packet = format!(r#"451-["message",{args}]"#);
        ends(&[text(packet), binary(&[1])], "placeholders that do not match the attachments").await;
    }
}

#[tokio::test]
async fn text_while_attachments_are_awaited_ends_the_connection() {
    for packet in [r#"42["message"]"#, "41", r#"451-["message",{"_placeholder":true,"num":0}]"#] {
        let reason = "text where an attachment was to come";
        ends(&[text(with_attachments(2)), binary(&[1]), text(packet)], reason).await;
    }
}

#[tokio::test]
async fn a_binary_message_that_nothing_announced_ends_the_connection() {
    ends(&[binary(&[1, 2, 3])], "an attachment without a packet").await;
    ends(&[text(with_attachments(1)), binary(&[1]), binary(&[2])], "an attachment without a packet").await;
}

#[tokio::test]
async fn t7_names_that_client_libraries_keep_for_themselves_end_the_connection() {
    for name in ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"] {
        ends(&[text(format!(r#"42["{name}"]"#))], "a reserved event name").await;
    }
    ends(&[text(r#"42["\u0063onnect"]"#)], "a reserved event name").await;
}

#[tokio::test]
async fn an_event_whose_name_is_no_text_ends_the_connection() {
    for packet in ["42[]", "42[1]", "42[null]", r#"42[{"toString":"foo"}]"#, r#"42[["message"]]"#] {
        ends(&[text(packet)], "an event without a name").await;
    }
}

#[tokio::test]
async fn a_payload_that_is_no_array_ends_the_connection() {
    for packet in [
        "42",
        "42{}",
        r#"42"message""#,
        r#"42["message""#,
        r#"42["message"]x"#,
        "42abc",
        r#"421.5["message"]"#,
    ] {
        ends(&[text(packet)], "an event payload that is not an array").await;
    }
    ends(&[text("431{}")], "an ack payload that is not an array").await;
}

#[tokio::test]
async fn a_packet_of_unknown_type_ends_the_connection() {
    for packet in ["4", "47", "48[\"message\"]", "49", "4abc", "4é", "4😀", "4€uro", "44{\"message\":\"x\"}"]
    {
        ends(&[text(packet)], "a packet of unknown type").await;
    }
}

#[tokio::test]
async fn t12_an_ack_id_that_no_client_counts_to_ends_the_connection() {
    for id in [
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        &"9".repeat(20),
        &"9".repeat(5_000),
    ] {
        ends(&[text(format!(r#"42{id}["message-with-ack"]"#))], "an ack id out of range").await;
        ends(&[text(format!("43{id}[]"))], "an ack id out of range").await;
    }
    ends(&[text("43[]")], "an ack without an id").await;
}

#[tokio::test]
async fn t12_attachments_that_do_not_come_in_time_end_the_connection() {
    let server = Server::wire(|config| config.listeners[0].mounts[0].connect_timeout = 300).await;
    for transport in BOTH {
        let mut client = client(&server, transport).await;
        client.engine.send(&with_attachments(2)).await;
        // The first one puts nothing off.
        client.engine.send_binary(&[1]).await;
        let how = client.engine.over().await;
        let named = how == "1008 attachments did not come in time";
        assert!(named || (transport == Transport::Polling && how == "1"), "{how}");
    }
    server.stop().await;
}

#[tokio::test]
async fn t12_attachments_count_towards_the_size_of_their_packet() {
    let limit = 2_000;
    let server = Server::wire(|config| config.listeners[0].mounts[0].max_payload = limit).await;
    let header = &with_attachments(2)[1..];
    for transport in BOTH {
        for over in [0, 1] {
            let mut client = client(&server, transport).await;
            client.engine.send(&format!("4{header}")).await;
            client.engine.send_binary(&[1; 900]).await;
            client.engine.send_binary(&vec![1; limit - header.len() - 900 + over]).await;
            if over == 0 {
                assert!(client.engine.next_text().await.starts_with(r#"452-["message-back""#));
                continue;
            }
            let how = client.engine.over().await;
            assert!(
                how == "1008 attachments over the payload limit" || transport == Transport::Polling,
                "{how}"
            );
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_mistake_costs_what_was_sent_after_it_and_nothing_before() {
    let server = Server::wire(|_| ()).await;
    let mut client = client(&server, Transport::Websocket).await;
    client.emit("message", "1").await;
    assert_eq!(client.event().await.1, json!(1));
    client.engine.send("42[]").await;
    client.emit("message", "2").await;
    assert_eq!(client.engine.next().await, Packet::Over("1008 an event without a name".into()));
    server.stop().await;
}

// ---- handlers that panic ----

#[tokio::test]
async fn a_handler_that_panics_costs_its_own_connection_only() {
    let mut server = Server::wire(|_| ()).await;
    server.expect_panics(3);
    let door = server.door().at("/probe");
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded] {
        let mut neighbour = Client::connect(&door, transport, "").await;
        let mut client = Client::connect(&door, transport, "").await;
        client.emit("panic", "").await;
        client.engine.over().await;
        let id = neighbour.ask("nothing", "").await;
        assert_eq!(neighbour.ack(id).await["ok"], json!(true));
        neighbour.engine.close().await;
        server.until("both to be gone", |server| server.open_connections() == 0).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_leaves_what_waited_behind_it_undone() {
    let mut server = Server::wire(|_| ()).await;
    server.expect_panics(1);
    let mut client = Client::connect(&server.door().at("/probe"), Transport::Polling, "").await;
    client.engine.send("42[\"panic\"]\x1e421[\"nothing\"]").await;
    client.engine.over().await;
    server.until("it to be gone", |server| server.open_connections() == 0).await;
    server.stop().await;
}

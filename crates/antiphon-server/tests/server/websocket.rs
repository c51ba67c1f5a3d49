//! WebSocket: one connection that is one session.

use crate::support::client::Client;
use crate::support::engine::{Engine, Packet, Transport};
use crate::support::http::Request;
use crate::support::server::Server;
use crate::support::websocket::{
    BINARY, CLOSE, CONTINUATION, FIN, Message, PING, TEXT, WebSocket, frame, header,
};

/// A session at the Engine.IO layer, where messages come back as they are.
async fn echo(server: &Server) -> Engine {
    Engine::open(&server.door().at("/engine.io"), Transport::Websocket).await
}

#[tokio::test]
async fn text_and_binary_come_back_as_they_were() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    for text in [
        "4",
        "4hello",
        "4é€😀",
        "4\u{0}",
        &format!("4{}", "x".repeat(200)),
        &format!("4{}", "x".repeat(70_000)),
    ] {
        engine.send(text).await;
        assert_eq!(engine.next_text().await, text);
    }
    for length in [0, 1, 125, 126, 65_535, 65_536, 200_000] {
        let bytes: Vec<u8> = (0..length).map(|index| index as u8).collect();
        engine.send_binary(&bytes).await;
        assert_eq!(engine.next_binary().await, bytes);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_sent_with_the_handshake_is_not_lost() {
    let server = Server::wire(|_| ()).await;
    let door = server.door().at("/engine.io");
    // The frame goes out before the answer to the handshake is read.
    let mut http = crate::support::http::Http::open(&door).await;
    http.send(&Request::websocket(&door.target("EIO=4&transport=websocket"))).await;
    http.send_bytes(&frame(FIN | TEXT, b"4early")).await;
    assert_eq!(http.response().await.status, 101);
    let (stream, early) = http.into_stream();
    let mut websocket = WebSocket::over(stream, early);
    assert!(websocket.next_text().await.starts_with("0{"));
    assert_eq!(websocket.next_text().await, "4early");
    server.stop().await;
}

#[tokio::test]
async fn a_frame_may_come_byte_by_byte_and_a_message_in_fragments() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    let websocket = engine.websocket();
    for byte in frame(FIN | TEXT, "4é".as_bytes()) {
        websocket.send_bytes(&[byte]).await;
    }
    assert_eq!(websocket.next_text().await, "4é");
    websocket.send(TEXT, b"4he").await;
    websocket.send(FIN | PING, b"in between").await;
    websocket.send(CONTINUATION, b"ll").await;
    websocket.send(FIN | CONTINUATION, b"o").await;
    assert_eq!(websocket.next().await, Message::Pong(b"in between".to_vec()));
    assert_eq!(websocket.next_text().await, "4hello");
    server.stop().await;
}

#[tokio::test]
async fn a_ping_of_the_websocket_itself_is_answered_with_its_bytes() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    for payload in [&b""[..], b"are you there?", &[0xff; 125]] {
        engine.websocket().send(FIN | PING, payload).await;
        assert_eq!(engine.websocket().next().await, Message::Pong(payload.to_vec()));
    }
    server.stop().await;
}

#[tokio::test]
async fn no_extension_is_negotiated() {
    let server = Server::wire(|_| ()).await;
    let request = Request::websocket(&server.door().target("EIO=4&transport=websocket"))
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .header("Sec-WebSocket-Protocol", "chat, superchat");
    // `ask` sees to the answer's headers.
    assert!(WebSocket::ask(&server.door(), &request).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn a_goodbye_is_answered_and_ends_the_session() {
    let server = Server::wire(|_| ()).await;
    for payload in [&b""[..], &1000_u16.to_be_bytes(), b"\x03\xe9going away"] {
        let mut engine = echo(&server).await;
        engine.websocket().send(FIN | CLOSE, payload).await;
        assert_eq!(engine.websocket().goodbye().await, (1000, String::new()));
    }
    let mut engine = echo(&server).await;
    engine.send("1").await;
    assert_eq!(engine.websocket().goodbye().await, (1000, String::new()));
    drop(echo(&server).await);
    server.until("every session to end", |server| server.open_connections() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_packet_that_is_none_ends_the_session() {
    let server = Server::wire(|_| ()).await;
    for packet in ["", "abc", "7", "é", "b", "bAQID", "0{}", "2", "2probe", "5"] {
        let mut engine = echo(&server).await;
        engine.send(packet).await;
        assert_eq!(engine.websocket().goodbye().await, (1008, "parse error".into()), "{packet}");
    }
    assert_eq!(server.counters().malformed, 10);
    server.stop().await;
}

#[tokio::test]
async fn what_breaks_the_websocket_protocol_is_told_its_code() {
    let server = Server::wire(|_| ()).await;
    let masked = |first, payload: &[u8]| frame(first, payload);
    let unmasked = vec![FIN | TEXT, 2, b'4', b'x'];
    let cases: [(u16, Vec<u8>); 11] = [
        (1002, unmasked),
        (1002, masked(FIN | TEXT | 0x40, b"4x")),
        (1002, masked(FIN | 3, b"4x")),
        (1002, masked(FIN | 11, b"")),
        (1002, masked(FIN | CONTINUATION, b"4x")),
        (1002, [masked(TEXT, b"4x"), masked(FIN | TEXT, b"4y")].concat()),
        (1002, masked(PING, b"a ping in fragments")),
        (1002, masked(FIN | PING, &[0; 126])),
        (1002, masked(FIN | CLOSE, &[3])),
        (1007, masked(FIN | TEXT, b"4\xff")),
        (1007, [masked(TEXT, b"4\xc3"), masked(FIN | CONTINUATION, b"\x28")].concat()),
    ];
    for (index, (code, bytes)) in cases.into_iter().enumerate() {
        let mut engine = echo(&server).await;
        engine.websocket().send_bytes(&bytes).await;
        assert_eq!(engine.websocket().goodbye().await.0, code, "case {index}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_may_be_as_large_as_the_limit_and_not_one_byte_larger() {
    let limit = 5_000;
    let server = Server::wire(|config| config.listeners[0].mounts[1].max_payload = limit).await;
    let largest = format!("4{}", "x".repeat(limit - 1)).into_bytes();
    let (half, rest) = largest.split_at(limit / 2);
    for fragments in [false, true] {
        let mut engine = echo(&server).await;
        let websocket = engine.websocket();
        if fragments {
            websocket.send(TEXT, half).await;
            websocket.send(FIN | CONTINUATION, rest).await;
        } else {
            websocket.send(FIN | TEXT, &largest).await;
        }
        assert_eq!(websocket.next_text().await.as_bytes(), largest);
        if fragments {
            websocket.send(TEXT, half).await;
            websocket.send(FIN | CONTINUATION, &[rest, b"x"].concat()).await;
        } else {
            websocket.send(FIN | TEXT, &[&largest[..], b"x"].concat()).await;
        }
        assert_eq!(websocket.goodbye().await.0, 1009);
    }
    // The length that is announced is enough: nobody waits for the bytes.
    for length in [limit + 1, 1 << 40] {
        let mut engine = echo(&server).await;
        engine.websocket().send_bytes(&[header(FIN | BINARY, length), vec![0; 4]].concat()).await;
        assert_eq!(engine.websocket().goodbye().await.0, 1009);
    }
    server.stop().await;
}

#[tokio::test]
async fn a_message_has_a_limited_number_of_fragments() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    let websocket = engine.websocket();
    let fragments = |count: usize| {
        let middle = frame(CONTINUATION, b"").repeat(count - 2);
        [frame(TEXT, b"4x"), middle, frame(FIN | CONTINUATION, b"")].concat()
    };
    websocket.send_bytes(&fragments(1_024)).await;
    assert_eq!(websocket.next_text().await, "4x");
    websocket.send_bytes(&fragments(1_025)).await;
    assert!(matches!(websocket.goodbye().await.0, 1008 | 1009));
    server.stop().await;
}

#[tokio::test]
async fn pings_are_sent_and_pongs_keep_the_session() {
    let server = Server::wire(|config| config.listeners[0].mounts[1].ping_interval = 300).await;
    let mut engine = echo(&server).await;
    for _ in 0..3 {
        assert_eq!(engine.websocket().next_text().await, "2");
        engine.websocket().text("3").await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_answers_no_ping_ends_even_if_it_talks() {
    let change = |config: &mut antiphon_server::config::Config| {
        let mount = &mut config.listeners[0].mounts[1];
        // Long enough for the message between the ping and the end to be answered.
        (mount.ping_interval, mount.ping_timeout) = (300, 1_500);
    };
    let server = Server::wire(change).await;
    let mut engine = echo(&server).await;
    assert_eq!(engine.websocket().next_text().await, "2");
    engine.send("4still here").await;
    assert_eq!(engine.websocket().next_text().await, "4still here");
    assert_eq!(engine.websocket().next().await, Message::End);
    server.until("the session to end", |server| server.open_connections() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_vanishes_leaves_nothing_behind() {
    let server = Server::wire(|_| ()).await;
    for _ in 0..20 {
        let mut client = Client::connect(&server.door(), Transport::Websocket, "").await;
        client.emit("message", "1").await;
        drop(client);
    }
    server.until("every connection to end", |server| server.open_connections() == 0).await;
    assert_eq!((server.counters().opened, server.counters().closed), (20, 20));
    server.stop().await;
}

#[tokio::test]
async fn answers_to_what_was_sent_before_a_mistake_come_before_the_goodbye() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    let bytes = [frame(FIN | TEXT, b"4one"), frame(FIN | TEXT, b"4two"), frame(FIN | TEXT, b"abc")].concat();
    engine.websocket().send_bytes(&bytes).await;
    assert_eq!(engine.next_text().await, "4one");
    assert_eq!(engine.next_text().await, "4two");
    assert_eq!(engine.next().await, Packet::Over("1008 parse error".into()));
    server.stop().await;
}

//! How a session is opened, and what is refused before there is one.

use serde_json::json;

use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Packet, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::server::Server;
use crate::support::websocket::WebSocket;

const UNKNOWN_TRANSPORT: (u16, &str) = (400, r#"{"code":0,"message":"Transport unknown"}"#);
const UNKNOWN_SESSION: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
const BAD_METHOD: (u16, &str) = (400, r#"{"code":2,"message":"Bad handshake method"}"#);
const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);
const UNKNOWN_VERSION: (u16, &str) = (400, r#"{"code":5,"message":"Unsupported protocol version"}"#);

/// Sends every request on one connection: each must be answered as expected, must not keep the next one waiting, and must
/// leave no session behind.
async fn are_refused(server: &Server, requests: &[(Request, (u16, &str))]) {
    let mut http = Http::open(&server.door()).await;
    for (index, (request, expected)) in requests.iter().enumerate() {
        let response = http.ask(request).await;
        assert_eq!(response.seen(), *expected, "request {index}");
    }
    assert_eq!(http.ask(&Request::get("/healthz")).await.status, 200);
    assert_eq!(server.counters().opened, 0);
}

#[tokio::test]
async fn a_polling_handshake_has_exactly_the_documented_fields() {
    let server = Server::wire(|config| config.listeners[0].mounts[0].max_payload = 12_345).await;
    let response = ask(&server.door(), &Request::get(&server.door().target("EIO=4&transport=polling"))).await;
    assert_eq!(response.status, 200);
    assert_eq!(response.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("Cache-Control"), Some("no-store"));
    assert_eq!(response.header("Set-Cookie"), None);
    let packet = response.text().strip_prefix('0').expect("an open packet");
    let handshake: serde_json::Value = serde_json::from_str(packet).expect("an object");
    let sid = handshake["sid"].as_str().expect("an id");
    assert_eq!(sid.len(), 20, "120 bits in base64");
    assert!(sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')), "{sid}");
    let expected = json!({
        "sid": sid, "upgrades": ["websocket"], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 12_345
    });
    assert_eq!(handshake, expected);
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_handshake_offers_no_upgrade() {
    let server = Server::wire(|_| ()).await;
    let engine = Engine::open(&server.door(), Transport::Websocket).await;
    let expected = json!({
        "sid": engine.sid, "upgrades": [], "pingInterval": 25_000, "pingTimeout": 20_000, "maxPayload": 1_000_000
    });
    assert_eq!(engine.handshake, expected);
    server.stop().await;
}

#[tokio::test]
async fn session_ids_never_repeat() {
    let server = Server::wire(|_| ()).await;
    let mut http = Http::open(&server.door()).await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..200 {
        let response = http.ask(&Request::get(&server.door().target("EIO=4&transport=polling"))).await;
        assert!(seen.insert(response.text().to_owned()));
    }
    assert_eq!(server.open_connections(), 200);
    server.stop().await;
}

#[tokio::test]
async fn a_mount_is_served_with_and_without_the_slash_at_its_end() {
    let server = Server::wire(|_| ()).await;
    for path in ["/socket.io", "/socket.io/"] {
        let response = ask(&server.door(), &Request::get(&format!("{path}?EIO=4&transport=polling"))).await;
        assert_eq!(response.status, 200, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_path_that_only_begins_like_a_mount_is_not_captured() {
    let server = Server::wire(|_| ()).await;
    for path in [
        "/socket.io-admin",
        "/socket.io-admin/",
        "/socket.iox",
        "/socket.io/x",
        "/socket.io//",
        "/socket",
        "/",
        "//socket.io/",
    ] {
        let target = format!("{path}?EIO=4&transport=polling");
        assert_eq!(ask(&server.door(), &Request::get(&target)).await.status, 404, "{path}");
        let target = format!("{path}?EIO=4&transport=websocket");
        let refused = WebSocket::ask(&server.door(), &Request::websocket(&target)).await.err();
        assert_eq!(refused.map(|response| response.status), Some(404), "{path}");
    }
    assert_eq!(server.counters().opened, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_missing_or_wrong_protocol_version_is_refused_on_both_transports() {
    let server = Server::wire(|_| ()).await;
    let mut requests = Vec::new();
    for version in ["", "EIO=3&", "EIO=5&", "EIO=&", "EIO=4%20&", "EIO=abc&", "eio=4&", "EIO&"] {
        let target = |transport| server.door().target(&format!("{version}transport={transport}"));
        requests.push((Request::get(&target("polling")), UNKNOWN_VERSION));
        requests.push((Request::websocket(&target("websocket")), UNKNOWN_VERSION));
    }
    are_refused(&server, &requests).await;
    server.stop().await;
}

#[tokio::test]
async fn a_missing_or_unknown_transport_is_refused() {
    let server = Server::wire(|_| ()).await;
    let mut requests = Vec::new();
    for transport in [
        "",
        "&transport=",
        "&transport=abc",
        "&transport=WebSocket",
        "&transport=webtransport",
        "&Transport=polling",
    ] {
        let target = server.door().target(&format!("EIO=4{transport}"));
        requests.push((Request::get(&target), UNKNOWN_TRANSPORT));
        requests.push((Request::websocket(&target), UNKNOWN_TRANSPORT));
    }
    are_refused(&server, &requests).await;
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_opened_with_get_only() {
    let server = Server::wire(|_| ()).await;
    let target = server.door().target("EIO=4&transport=polling");
    let requests =
        ["POST", "PUT", "DELETE", "PATCH"].map(|method| (Request::new(method, &target), BAD_METHOD));
    are_refused(&server, &requests).await;
    server.stop().await;
}

#[tokio::test]
async fn a_malformed_session_id_is_refused_and_opens_nothing() {
    let server = Server::wire(|_| ()).await;
    let mut requests = Vec::new();
    for sid in
        ["", "x", "%00", "a%20b", "..%2F..", "aaaaaaaaaaaaaaaaaaaa", "%F0%9F%98%80", &"x".repeat(1_000)]
    {
        let target = server.door().target(&format!("EIO=4&transport=polling&sid={sid}"));
        requests.push((Request::get(&target), UNKNOWN_SESSION));
        requests.push((Request::post(&target, "40"), UNKNOWN_SESSION));
        let target = server.door().target(&format!("EIO=4&transport=websocket&sid={sid}"));
        requests.push((Request::websocket(&target), UNKNOWN_SESSION));
    }
    // A body that was not read ends its connection, so those go last and alone.
    for (request, expected) in requests {
        assert_eq!(ask(&server.door(), &request).await.seen(), expected);
    }
    assert_eq!(server.counters().opened, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_parameter_of_the_protocol_that_is_given_twice_is_refused_and_others_may_repeat() {
    let server = Server::wire(|_| ()).await;
    let door = server.door();
    let requests = [
        "EIO=4&EIO=4&transport=polling",
        "EIO=4&transport=polling&transport=polling",
        "EIO=4&transport=polling&transport=websocket",
        "EIO=4&transport=polling&sid=a&sid=b",
        "EIO=4&transport=polling&sid=a&sid=a",
    ]
    .map(|query| (Request::get(&door.target(query)), BAD_REQUEST));
    are_refused(&server, &requests).await;
    let target = door.target("EIO=4&transport=polling&t=1&t=2&agent=a&agent=b");
    assert_eq!(ask(&door, &Request::get(&target)).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn transport_and_upgrade_header_must_agree() {
    let server = Server::wire(|_| ()).await;
    let door = server.door();
    let requests = [
        (Request::get(&door.target("EIO=4&transport=websocket")), BAD_REQUEST),
        (Request::websocket(&door.target("EIO=4&transport=polling")), BAD_REQUEST),
        (Request::websocket(&door.target("EIO=4&transport=websocket")).header("Upgrade", "h2c"), BAD_REQUEST),
        (
            Request::websocket(&door.target("EIO=4&transport=websocket")).header("Connection", "close, x"),
            BAD_REQUEST,
        ),
    ];
    for (request, expected) in requests {
        assert_eq!(ask(&door, &request).await.seen(), expected);
    }
    assert_eq!(server.counters().opened, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_websocket_needs_the_right_version_and_a_whole_key() {
    let server = Server::wire(|_| ()).await;
    let door = server.door();
    let good = Request::websocket(&door.target("EIO=4&transport=websocket"));
    for version in ["8", "0", "14", "abc"] {
        let response = ask(&door, &good.clone().header("Sec-WebSocket-Version", version)).await;
        assert_eq!((response.status, response.header("Sec-WebSocket-Version")), (426, Some("13")));
    }
    assert_eq!(ask(&door, &good.clone().without("Sec-WebSocket-Version")).await.status, 426);
    for key in ["", "abc", "dGhlIHNhbXBsZQ==", "not base64 at all!!!!!!!"] {
        let response = ask(&door, &good.clone().header("Sec-WebSocket-Key", key)).await;
        assert_eq!(response.seen(), BAD_REQUEST, "{key}");
    }
    assert_eq!(ask(&door, &good.clone().without("Sec-WebSocket-Key")).await.seen(), BAD_REQUEST);
    assert_eq!(server.counters().opened, 0);
    server.stop().await;
}

#[tokio::test]
async fn t24_a_head_that_never_ends_is_ended_in_time() {
    let server = Server::wire(|config| config.limits.request = 200).await;
    for head in ["", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut http = Http::open(&server.door()).await;
        http.send_bytes(head.as_bytes()).await;
        http.ended().await;
    }
    assert_eq!(server.counters().opened, 0);
    server.stop().await;
}

#[tokio::test]
async fn t24_a_head_that_is_too_long_or_no_http_is_refused_and_ended() {
    let server = Server::wire(|_| ()).await;
    for (head, statuses) in [
        (format!("GET /socket.io/?EIO=4 HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(64 * 1024)), [431, 400]),
        (format!("GET /socket.io/?{} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024)), [431, 414]),
        ("\u{16}\u{3}\u{1} this is not HTTP\r\n\r\n".into(), [400, 400]),
    ] {
        let mut http = Http::open(&server.door()).await;
        http.send_bytes(head.as_bytes()).await;
        let status = http.response().await.status;
        assert!(statuses.contains(&status), "{status}");
        http.ended().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn the_own_pages_answer_get_only_and_nothing_else_is_there() {
    let server = Server::wire(|_| ()).await;
    let mut http = Http::open(&server.door()).await;
    for (target, status) in [("/healthz", 200), ("/readyz", 200), ("/version", 200), ("/nothing", 404)] {
        assert_eq!(http.ask(&Request::get(target)).await.status, status, "{target}");
        assert_eq!(http.ask(&Request::new("DELETE", target)).await.status, 405, "{target}");
    }
    server.stop().await;
}

// ---- CONNECT ----

#[tokio::test]
async fn a_namespace_is_entered_with_or_without_a_payload() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        for (packet, namespace, auth) in [
            ("40", "", "{}"),
            (r#"40{"token":"123"}"#, "", r#"{"token":"123"}"#),
            ("40/custom,", "/custom,", "{}"),
            ("40/custom", "/custom,", "{}"),
            (r#"40/custom,{"token":"abc"}"#, "/custom,", r#"{"token":"abc"}"#),
            (r#"40/custom?a=b,{"token":"abc"}"#, "/custom,", r#"{"token":"abc"}"#),
        ] {
            let mut engine = Engine::open(&server.door(), transport).await;
            engine.send(packet).await;
            let answer = engine.next_text().await;
            assert!(answer.starts_with(&format!("40{namespace}{{\"sid\":\"")), "{packet}: {answer}");
            assert!(
                !answer.contains(&engine.sid),
                "a socket's id is not its session's, which opens the connection"
            );
            assert_eq!(engine.next_text().await, format!(r#"42{namespace}["auth",{auth}]"#));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn an_unknown_namespace_is_refused_and_the_connection_lives() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut engine = Engine::open(&server.door(), transport).await;
        for namespace in ["/random", "/Custom", "/custom/", "/__proto__"] {
            engine.send(&format!("40{namespace},")).await;
            let expected = format!(r#"44{namespace},{{"message":"Invalid namespace"}}"#);
            assert_eq!(engine.next_text().await, expected);
        }
        engine.send("40").await;
        assert!(engine.next_text().await.starts_with("40{"));
    }
    server.stop().await;
}

#[tokio::test]
async fn t12_a_connection_has_a_limited_number_of_namespaces() {
    let server = Server::wire(|config| config.limits.namespaces = 1).await;
    for transport in BOTH {
        let mut client = Client::connect(&server.door(), transport, "").await;
        assert_eq!(client.event().await.0, "auth");
        client.engine.send("40/custom,").await;
        assert_eq!(client.engine.next_text().await, r#"44/custom,{"message":"Too many namespaces"}"#);
        client.emit("message", "1").await;
        assert_eq!(client.event().await, ("message-back".into(), json!(1)));
    }
    server.stop().await;
}

#[tokio::test]
async fn leaving_one_namespace_leaves_the_other_alone() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        let mut engine = Engine::open(&server.door(), transport).await;
        for namespace in ["", "/custom,"] {
            engine.send(&format!("40{namespace}")).await;
            engine.next_text().await;
            engine.next_text().await;
        }
        engine.send("41/custom,").await;
        engine.send(r#"42["message",1]"#).await;
        assert_eq!(engine.next_text().await, r#"42["message-back",1]"#);
        // Whoever has left may come back; whoever has not, and speaks there, has no business here.
        engine.send("40/custom,").await;
        assert!(engine.next_text().await.starts_with("40/custom,"));
        engine.next_text().await;
        engine.send("41").await;
        engine.send(r#"42["message",2]"#).await;
        engine.over().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_second_connect_to_one_namespace_ends_the_connection() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        for namespace in ["", "/custom,"] {
            let mut engine = Engine::open(&server.door(), transport).await;
            engine.send(&format!("40{namespace}")).await;
            engine.next_text().await;
            engine.next_text().await;
            engine.send(&format!("40{namespace}")).await;
            let how = engine.over().await;
            let named = how == "1008 a second CONNECT to one namespace";
            assert!(named || transport == Transport::Polling, "{how}");
        }
    }
    server.until("every connection to be closed", |server| server.open_connections() == 0).await;
    server.stop().await;
}

#[tokio::test]
async fn t8_a_connection_without_a_connect_ends_although_it_answers_pings() {
    let change = |config: &mut antiphon_server::config::Config| {
        let mount = &mut config.listeners[0].mounts[0];
        (mount.ping_interval, mount.connect_timeout) = (100, 1_500);
    };
    let server = Server::wire(change).await;
    for transport in BOTH {
        let mut engine = Engine::open(&server.door(), transport).await;
        let how = engine.over().await;
        assert!(engine.pings >= 2, "it was alive: {} pings", engine.pings);
        let named = how == "1008 no CONNECT in time";
        assert!(named || (transport == Transport::Polling && how == "1"), "{how}");
    }
    server.stop().await;
}

#[tokio::test]
async fn t8_a_connection_that_was_refused_or_has_left_must_connect_in_time_too() {
    let server = Server::wire(|config| config.listeners[0].mounts[0].connect_timeout = 300).await;
    for transport in BOTH {
        let mut engine = Engine::open(&server.door(), transport).await;
        engine.send("40/random,").await;
        assert!(engine.next_text().await.starts_with("44/random,"));
        engine.over().await;

        let mut client = Client::connect(&server.door(), transport, "").await;
        client.engine.send("41").await;
        client.over().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn t8_an_event_before_the_connect_ends_the_connection() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        for packet in [r#"42["message",1]"#, r#"42/custom,["message",1]"#, r#"421["message-with-ack"]"#] {
            let mut engine = Engine::open(&server.door(), transport).await;
            engine.send(packet).await;
            let how = engine.over().await;
            let named = how == "1008 an event before CONNECT";
            assert!(named || transport == Transport::Polling, "{how}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_connect_that_is_none_ends_the_connection() {
    let server = Server::wire(|_| ()).await;
    for transport in BOTH {
        for packet in ["4", "4abc", "40[]", "40null", "40\"token\"", "401{}", "40{", r#"44{"message":"x"}"#] {
            let mut engine = Engine::open(&server.door(), transport).await;
            engine.send(packet).await;
            assert!(matches!(engine.next().await, Packet::Over(_)), "{packet}");
        }
    }
    server.until("every connection to be closed", |server| server.open_connections() == 0).await;
    server.stop().await;
}

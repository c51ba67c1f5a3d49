//! Which browser pages may ask, on either transport.

use antiphon_server::config::Config;
use serde_json::Value;

use crate::support::engine::{Engine, Packet, Transport};
use crate::support::http::{Http, Request, Response, ask};
use crate::support::people;
use crate::support::server::Server;
use crate::support::websocket::WebSocket;

const FORBIDDEN: (u16, &str) = (403, r#"{"code":4,"message":"Forbidden"}"#);

fn listed(config: &mut Config) {
    config.listeners[0].mounts[0].origins =
        vec!["https://app.example".into(), "http://localhost:5173/".into()];
}

/// Asks for a session from `origin` over both transports: polling's answer, and whether there was a WebSocket.
async fn open(server: &Server, origin: Option<&str>) -> (Response, Option<u16>) {
    let door = server.door();
    let from = |request: Request| match origin {
        Some(origin) => request.header("Origin", origin),
        None => request,
    };
    let polling = ask(&door, &from(Request::get(&door.target("EIO=4&transport=polling")))).await;
    let request = from(Request::websocket(&door.target("EIO=4&transport=websocket")));
    let refused = WebSocket::ask(&door, &request).await.err().map(|response| response.status);
    (polling, refused)
}

#[tokio::test]
async fn t2_a_listed_page_and_the_own_one_may_ask_on_both_transports() {
    let server = Server::wire(listed).await;
    let own = format!("http://{}", server.address);
    for origin in ["https://app.example", "HTTPS://APP.example", "http://localhost:5173", &own] {
        let (polling, refused) = open(&server, Some(origin)).await;
        assert_eq!((polling.status, refused), (200, None), "{origin}");
        assert_eq!(polling.header("Access-Control-Allow-Origin"), Some(origin));
        assert_eq!(polling.header("Access-Control-Allow-Credentials"), Some("true"));
        assert_eq!(polling.header("Vary"), Some("Origin"));
    }
    server.stop().await;
}

#[tokio::test]
async fn t1_what_is_no_page_may_ask_and_is_told_nothing_about_pages() {
    let server = Server::wire(listed).await;
    let (polling, refused) = open(&server, None).await;
    assert_eq!((polling.status, refused), (200, None));
    assert_eq!(polling.header("Access-Control-Allow-Origin"), None);
    assert_eq!(polling.header("Vary"), Some("Origin"));
    server.stop().await;
}

#[tokio::test]
async fn t1_a_foreign_page_is_refused_on_both_transports_before_there_is_a_session() {
    let server = Server::wire(listed).await;
    let foreign = [
        "null",
        "",
        "https://evil.example",
        "https://app.example.evil.example",
        "https://evil-app.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example/",
        "http://localhost",
        "*",
        "file://",
    ];
    for origin in foreign {
        let (polling, refused) = open(&server, Some(origin)).await;
        assert_eq!((polling.seen(), refused), (FORBIDDEN, Some(403)), "{origin}");
        assert_eq!(polling.header("Access-Control-Allow-Origin"), None, "{origin}");
        assert_eq!(polling.header("Vary"), Some("Origin"));
    }
    assert_eq!(server.counters().opened, 0);
    assert_eq!(server.counters().foreign, 2 * foreign.len() as u64);
    server.stop().await;
}

#[tokio::test]
async fn t1_two_origins_are_none() {
    let server = Server::wire(listed).await;
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: x\r\nOrigin: https://app.example\r\nOrigin: https://evil.example\r\n\r\n",
        server.door().target("EIO=4&transport=polling")
    );
    let mut http = Http::open(&server.door()).await;
    http.send_bytes(head.as_bytes()).await;
    assert_eq!(http.response().await.seen(), FORBIDDEN);
    server.stop().await;
}

#[tokio::test]
async fn t1_t25_a_foreign_page_cannot_use_a_session_that_it_knows_the_id_of() {
    let server = Server::wire(listed).await;
    let mut engine = Engine::open(&server.door(), Transport::Polling).await;
    engine.send("40").await;
    for origin in ["https://evil.example", "null"] {
        let probe = Request::websocket(
            &server.door().target(&format!("EIO=4&transport=websocket&sid={}", engine.sid)),
        );
        for request in [engine.get(), engine.post("1"), probe] {
            let response = ask(&server.door(), &request.header("Origin", origin)).await;
            assert_eq!(response.seen(), FORBIDDEN, "{origin}");
        }
    }
    // And nothing of it is gone: neither what waited nor the session.
    assert!(engine.next_text().await.starts_with("40{"));
    assert!(matches!(engine.next().await, Packet::Text(text) if text.starts_with("42[\"auth\"")));
    engine.upgrade().await;
    server.stop().await;
}

#[tokio::test]
async fn t2_where_any_page_may_ask_it_is_without_browser_credentials() {
    let server = Server::wire(|_| ()).await;
    let (polling, refused) = open(&server, Some("https://anything.example")).await;
    assert_eq!((polling.status, refused), (200, None));
    assert_eq!(polling.header("Access-Control-Allow-Origin"), Some("*"));
    assert_eq!(polling.header("Access-Control-Allow-Credentials"), None);
    let (polling, refused) = open(&server, Some("null")).await;
    assert_eq!((polling.seen(), refused), (FORBIDDEN, Some(403)));
    server.stop().await;
}

#[tokio::test]
async fn t2_a_preflight_allows_what_is_asked_to_those_who_may() {
    let server = Server::wire(listed).await;
    let preflight = |origin| {
        Request::new("OPTIONS", &server.door().target("EIO=4&transport=polling&sid=x"))
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header("Access-Control-Request-Headers", "content-type, x-agent")
    };
    let response = ask(&server.door(), &preflight("https://app.example")).await;
    assert_eq!(response.seen(), (204, ""));
    for (name, value) in [
        ("Access-Control-Allow-Origin", "https://app.example"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Access-Control-Allow-Methods", "GET,POST"),
        ("Access-Control-Allow-Headers", "content-type, x-agent"),
        ("Vary", "Origin"),
    ] {
        assert_eq!(response.header(name), Some(value), "{name}");
    }
    let response = ask(&server.door(), &preflight("https://evil.example")).await;
    assert_eq!(response.seen(), FORBIDDEN);
    assert_eq!(response.header("Access-Control-Allow-Origin"), None);
    assert_eq!(response.header("Access-Control-Allow-Methods"), None);
    server.stop().await;
}

#[tokio::test]
async fn a_listed_page_reads_why_it_was_refused() {
    let server = Server::wire(listed).await;
    let request = Request::get(&server.door().target("EIO=3&transport=polling"))
        .header("Origin", "https://app.example");
    let response = ask(&server.door(), &request).await;
    assert_eq!(response.status, 400);
    assert_eq!(response.header("Access-Control-Allow-Origin"), Some("https://app.example"));
    server.stop().await;
}

#[tokio::test]
async fn t1_what_a_browser_or_a_link_brings_along_is_no_credential() {
    let server = people::server(|_| ()).await;
    let door = server.door();
    let brought =
        |request: Request| request.header("Cookie", "token=ada-key; auth=ada-key").bearer("ada-key");
    let query = "EIO=4&transport=polling&token=ada-key&auth=ada-key";
    let opened = ask(&door, &brought(Request::get(&door.target(query)))).await;
    let handshake: Value = serde_json::from_str(&opened.text()[1..]).expect("the handshake is JSON");
    let sid = handshake["sid"].as_str().expect("the session has an id");
    let target = door.target(&format!("{query}&sid={sid}"));
    assert_eq!(ask(&door, &brought(Request::post(&target, "40"))).await.seen(), (200, "ok"));
    let refused = (200, r#"44{"message":"Authentication token required"}"#);
    assert_eq!(ask(&door, &brought(Request::get(&target))).await.seen(), refused);
    // The same key in its place is one.
    let post = Request::post(&target, r#"40{"token":"ada-key"}"#);
    assert_eq!(ask(&door, &brought(post)).await.seen(), (200, "ok"));
    let answer = ask(&door, &brought(Request::get(&target))).await;
    assert!(answer.text().starts_with("40{"), "{}", answer.text());
    server.stop().await;
}

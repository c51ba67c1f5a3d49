//! How fast clients may speak, and how much one address may have (T-7, T-12, T-24, T-25, T-26).

use antiphon_core::actor::Principal;
use antiphon_server::config::{Config, Mount};
use serde_json::json;
use tokio::time::Instant;

use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::engine::{BOTH, Engine, Transport};
use crate::support::http::{Http, Request, Response, ask};
use crate::support::people::{ada, bob, person, server};
use crate::support::scrape::Scrape;
use crate::support::server::Server;
use crate::support::soon;
use crate::support::websocket::{Message, WebSocket};

const TYPING: &str = r#"{"agentId":"luna","isTyping":false}"#;
const JOIN: &str = r#"{"agentId":"luna"}"#;

// ---- events ----

#[tokio::test]
async fn t26_events_beyond_the_allowance_are_refused_and_nothing_happens() {
    // A CONNECT and a join, then three more; the next one is there after four seconds.
    const EVERY: u64 = 1_000;
    for transport in BOTH {
        let server = server(|config| {
            config.limits.events_per_second = 1;
            config.limits.events_burst = 5;
        })
        .await;
        let mut watcher = ada(&server, transport).await;
        let joined = watcher.ask("chat:join", JOIN).await;
        assert_eq!(watcher.ack(joined).await["ok"], json!(true));
        let mut typist = ada(&server, transport).await;
        let joined = typist.ask("chat:join", JOIN).await;
        assert_eq!(typist.ack(joined).await["ok"], json!(true));
        let mut asked = Vec::new();
        for _ in 0..8 {
            asked.push(typist.ask("chat:typing", TYPING).await);
        }
        let mut done = 0;
        for id in asked {
            let ack = typist.ack(id).await;
            if ack == json!({"ok": true}) {
                done += 1;
                continue;
            }
            assert_eq!(ack["error"]["code"], json!("RATE_LIMITED"), "{ack}");
            let wait = ack["error"]["details"]["retryAfterMs"].as_u64().expect("when to try again");
            assert!((1..=EVERY).contains(&wait), "{wait}");
        }
        // Three, unless a second passed meanwhile.
        assert!((3..6).contains(&done), "{done} were done");
        assert_eq!(server.counters().limited, 8 - done);
        let error = typist.event_named("chat:error").await;
        assert_eq!(error["code"], json!("RATE_LIMITED"));
        // The neighbour has an allowance of its own, and heard what was done and no more.
        let asked = watcher.ask("chat:leave", JOIN).await;
        assert_eq!(watcher.ack(asked).await["ok"], json!(true));
        let heard = watcher.events().into_iter().filter(|(name, _)| name == "chat:typing").count();
        assert_eq!(heard as u64, done);
        // Whoever waits is heard again.
        loop {
            let asked = typist.ask("chat:leave", JOIN).await;
            if typist.ack(asked).await == json!({"ok": true}) {
                break;
            }
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn t26_leaving_and_coming_back_does_not_renew_the_allowance() {
    let server = server(|config| {
        config.limits.events_per_second = 1;
        config.limits.events_burst = 4;
    })
    .await;
    for transport in BOTH {
        let mut engine = Engine::open(&server.door(), transport).await;
        let mut connected = 0;
        for _ in 0..8 {
            engine.send(r#"40{"token":"ada-key"}"#).await;
            let answer = loop {
                let text = engine.next_text().await;
                if text.starts_with("40") || text.starts_with("44") {
                    break text;
                }
            };
            if answer.starts_with("40") {
                connected += 1;
                engine.send("41").await;
            } else {
                assert!(
                    answer.starts_with(r#"44{"message":"Rate limit exceeded","data":{"retryAfterMs":"#),
                    "{answer}"
                );
            }
        }
        assert!((4..7).contains(&connected), "{connected} times");
    }
    server.stop().await;
}

/// Every name that only the server of the chat API says, and some that nobody does.
const UNKNOWN: [&str; 17] = [
    "chat:message:stream",
    "chat:message:complete",
    "chat:error",
    "relation:updated",
    "presence:update",
    "presence:user:online",
    "presence:user:offline",
    "agent:updated",
    "agent:deleted",
    "system:connection",
    "system:notification",
    "antiphon:expiring",
    "balance:update",
    "ai:response",
    "message:receive",
    "agent:status_changed",
    "__proto__",
];

#[tokio::test]
async fn t7_what_only_the_server_says_is_refused_counted_and_without_effect() {
    let server = server(|config| config.limits.unknown_events = 0).await;
    for transport in BOTH {
        let mut watcher = ada(&server, transport).await;
        let mut client = ada(&server, transport).await;
        for client in [&mut watcher, &mut client] {
            let joined = client.ask("chat:join", JOIN).await;
            assert_eq!(client.ack(joined).await["ok"], json!(true));
        }
        for name in UNKNOWN {
            let asked = client.ask(name, r#"{"agentId":"luna","userId":"ada"}"#).await;
            let refused = client.ack(asked).await;
            assert_eq!(refused["error"]["message"], json!("There is no such event here."), "{name}");
        }
        let asked = watcher.ask("chat:leave", JOIN).await;
        assert_eq!(watcher.ack(asked).await["ok"], json!(true));
        // Nothing but the presence of those who came.
        for (name, payload) in watcher.events() {
            assert!(name.starts_with("presence:") && payload["userId"] == json!("ada"), "{name} {payload}");
        }
        assert!(client.events().iter().all(|(name, _)| name.starts_with("presence:")));
    }
    assert_eq!(server.counters().unknown, 2 * UNKNOWN.len() as u64);
    assert_eq!(server.counters().malformed, 0);
    server.stop().await;
}

#[tokio::test]
async fn t7_one_unknown_event_too_many_in_a_minute_ends_the_connection() {
    let server = server(|_| ()).await;
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        for name in &UNKNOWN[..10] {
            let asked = client.ask(name, "{}").await;
            assert_eq!(client.ack(asked).await["ok"], json!(false));
        }
        // Ten are told so, and the connection is as good as before.
        let joined = client.ask("chat:join", JOIN).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));
        client.emit(UNKNOWN[10], "{}").await;
        let how = client.over().await;
        let expected = if transport == Transport::Polling { "1" } else { "1008 too many unknown events" };
        assert_eq!((how.as_str(), client.is_out), (expected, true));
        let told = client.events().pop().expect("it is told why");
        assert_eq!(
            (told.0.as_str(), &told.1["message"]),
            ("chat:error", &json!("Too many events that are unknown here."))
        );
    }
    assert_eq!(server.counters().unknown, 2 * 11);
    assert_eq!(server.counters().dismissed, 2);
    server.stop().await;
}

// ---- people ----

const ADA: &str = r#"{"token":"ada-key"}"#;

/// Ada comes once more, and is told that she is there often enough.
async fn ada_is_refused(server: &Server, transport: Transport) {
    let refused = Client::try_connect(&server.door(), transport, ADA).await.err();
    let expected = json!({"message": "Rate limit exceeded", "data": {"retryAfterMs": 10_000}});
    assert_eq!(refused, Some(expected), "{transport:?}");
}

#[tokio::test]
async fn t24_a_person_has_so_many_connections_and_whoever_leaves_makes_room() {
    for transport in BOTH {
        // In boxes, because together they are more than the stack of a test has room for.
        let server = Box::pin(server(|config| config.limits.connections_per_person = 2)).await;
        let mut first = Box::pin(ada(&server, transport)).await;
        let second = Box::pin(ada(&server, Transport::Websocket)).await;
        Box::pin(ada_is_refused(&server, transport)).await;
        Box::pin(bob(&server, transport)).await;

        // Another credential is not another connection, and takes no place.
        let renewed = first.ask("antiphon:refresh", ADA).await;
        assert_eq!(first.ack(renewed).await["ok"], json!(true));
        Box::pin(ada_is_refused(&server, transport)).await;
        let scrape = Box::pin(Scrape::of(&server)).await;
        assert_eq!(scrape.value("antiphon_limit{name=\"connections_per_person\"}"), 2.0);
        let refusals = scrape.value("antiphon_refusals_total{dialect=\"chat\",code=\"rate_limited\"}");
        assert_eq!((refusals, server.counters().crowded, server.counters().refused), (2.0, 2, 2));

        // One leaves the namespace, one is lost, and later both are sent away.
        first.engine.send("41").await;
        let mut third = Box::pin(back(&server, transport)).await;
        second.engine.close().await;
        let mut fourth = Box::pin(back(&server, transport)).await;
        Box::pin(ada_is_refused(&server, transport)).await;
        assert_eq!(server.disconnect(&Principal::Person(person("ada"))).await, 2);
        third.over().await;
        fourth.over().await;
        let _fifth = Box::pin(ada(&server, transport)).await;
        let _sixth = Box::pin(ada(&server, transport)).await;
        Box::pin(ada_is_refused(&server, transport)).await;
        server.stop().await;
    }
}

/// Ada, as soon as there is room for her.
async fn back(server: &Server, transport: Transport) -> Client {
    soon("room for Ada", async {
        loop {
            if let Ok(client) = Client::try_connect(&server.door(), transport, ADA).await {
                return client;
            }
        }
    })
    .await
}

#[tokio::test]
async fn t24_without_a_limit_a_person_may_have_any_number_of_connections() {
    let server = server(|config| config.limits.connections_per_person = 0).await;
    let mut clients = Vec::new();
    for _ in 0..101 {
        clients.push(ada(&server, Transport::Websocket).await);
    }
    assert_eq!(server.counters().crowded, 0);
    server.stop().await;
}

// ---- addresses ----

/// The chat server behind a proxy on loopback, which says whom it speaks for.
fn behind_a_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec!["127.0.0.1".parse().expect("an address")];
}

fn polling(door: &Door) -> Request {
    Request::get(&door.target("EIO=4&transport=polling"))
}

fn websocket(door: &Door) -> Request {
    Request::websocket(&door.target("EIO=4&transport=websocket"))
}

fn is_too_many(response: &Response) {
    assert_eq!(response.status, 429);
    let wait: u64 = response.header("Retry-After").expect("when to try again").parse().expect("seconds");
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(response.header("Connection"), Some("close"));
}

#[tokio::test]
async fn t24_an_address_has_so_many_sessions_and_others_are_not_affected() {
    let server = server(|config| {
        behind_a_proxy(config);
        config.limits.connections_per_address = 2;
    })
    .await;
    let door = server.door();
    let from = |request: Request, client: &str| request.header("X-Forwarded-For", client);
    let first = ask(&door, &from(polling(&door), "203.0.113.1")).await;
    assert_eq!(first.status, 200);
    let mut second =
        WebSocket::ask(&door, &from(websocket(&door), "203.0.113.1")).await.expect("the second one");
    is_too_many(&ask(&door, &from(polling(&door), "203.0.113.1")).await);
    let third = WebSocket::ask(&door, &from(websocket(&door), "203.0.113.1")).await.err();
    is_too_many(&third.expect("it is refused"));
    // What a client puts before the proxy's word changes nothing.
    is_too_many(&ask(&door, &from(polling(&door), "198.51.100.9, 203.0.113.1")).await);
    assert_eq!(server.counters().crowded, 3);
    assert_eq!(ask(&door, &from(polling(&door), "203.0.113.2")).await.status, 200);
    assert_eq!(ask(&door, &from(polling(&door), "203.0.113.1, 203.0.113.3")).await.status, 200);
    // Whoever goes makes room.
    assert!(second.next_text().await.starts_with("0{"));
    let open = server.open_connections();
    second.send(0x88, &1000_u16.to_be_bytes()).await;
    assert!(matches!(second.next().await, Message::Close(..)));
    server.until("room", |server| server.open_connections() < open).await;
    assert_eq!(ask(&door, &from(polling(&door), "203.0.113.1")).await.status, 200);
    is_too_many(&ask(&door, &from(polling(&door), "203.0.113.1")).await);
    server.stop().await;
}

#[tokio::test]
async fn t24_a_handshake_that_comes_to_nothing_gives_its_place_back() {
    let server = server(|config| {
        behind_a_proxy(config);
        config.limits.connections_per_address = 1;
    })
    .await;
    let door = server.door();
    for broken in [
        websocket(&door).without("Sec-WebSocket-Key"),
        websocket(&door).header("Sec-WebSocket-Version", "8"),
        websocket(&door).without("Connection"),
    ] {
        let refused = WebSocket::ask(&door, &broken.header("X-Forwarded-For", "203.0.113.1")).await;
        assert!(matches!(refused.err().map(|response| response.status), Some(400 | 426)));
    }
    let whole = websocket(&door).header("X-Forwarded-For", "203.0.113.1");
    assert!(WebSocket::ask(&door, &whole).await.is_ok());
    server.stop().await;
}

#[tokio::test]
async fn t24_a_network_may_open_so_many_sessions_per_second() {
    let server = server(|config| {
        behind_a_proxy(config);
        config.limits.handshakes_per_second = 1;
    })
    .await;
    let door = server.door();
    let from = |request: Request, client: &str| request.header("X-Forwarded-For", client);
    assert_eq!(ask(&door, &from(polling(&door), "203.0.113.1")).await.status, 200);
    is_too_many(&ask(&door, &from(polling(&door), "203.0.113.1")).await);
    is_too_many(&ask(&door, &from(polling(&door), "203.0.113.200")).await);
    assert_eq!(ask(&door, &from(polling(&door), "203.0.114.1")).await.status, 200);
    // After a while it may again.
    while ask(&door, &from(polling(&door), "203.0.113.1")).await.status != 200 {}
    server.stop().await;
}

#[tokio::test]
async fn t25_guessing_session_ids_is_counted_and_slowed_down() {
    let server = server(|config| {
        behind_a_proxy(config);
        config.limits.handshakes_per_second = 2;
    })
    .await;
    let door = server.door();
    let guess = |transport: &str| {
        let target = door.target(&format!("EIO=4&transport={transport}&sid=AAAAAAAAAAAAAAAAAAAA"));
        let request =
            if transport == "polling" { Request::get(&target) } else { Request::websocket(&target) };
        request.header("X-Forwarded-For", "203.0.113.1")
    };
    let unknown = (400, r#"{"code":1,"message":"Session ID unknown"}"#);
    assert_eq!(ask(&door, &guess("polling")).await.seen(), unknown);
    assert_eq!(ask(&door, &guess("websocket")).await.seen(), unknown);
    is_too_many(&ask(&door, &guess("polling")).await);
    assert_eq!(server.counters().strays, 3);
    assert_eq!(server.counters().opened, 0);
    server.stop().await;
}

#[tokio::test]
async fn t24_only_configured_proxies_are_believed() {
    let server = server(|config| {
        config.limits.exempt = Vec::new();
        config.limits.connections_per_address = 1;
    })
    .await;
    let door = server.door();
    let mut http = Http::open(&door).await;
    assert_eq!(http.ask(&polling(&door).header("X-Forwarded-For", "203.0.113.1")).await.status, 200);
    let again =
        polling(&door).header("X-Forwarded-For", "203.0.113.2").header("Forwarded", "for=203.0.113.2");
    is_too_many(&http.ask(&again).await);
    server.stop().await;
}

#[tokio::test]
async fn t24_an_address_has_so_many_http_connections() {
    let server = server(|config| {
        config.limits.exempt = Vec::new();
        config.limits.connections_per_address = 1;
    })
    .await;
    let door = server.door();
    let health = Request::get("/healthz");
    let (mut first, mut second) = (Http::open(&door).await, Http::open(&door).await);
    assert_eq!(first.ask(&health).await.status, 200);
    assert_eq!(second.ask(&health).await.status, 200);
    // Nobody reads what the third one says.
    Http::open(&door).await.ended().await;
    assert_eq!(server.counters().crowded, 1);
    // A WebSocket counts as a session only, and whoever goes makes room.
    assert_eq!(first.ask(&polling(&door)).await.status, 200);
    drop(first);
    while Http::open(&door).await.try_ask(&health).await.is_none() {}
    server.stop().await;
}

#[tokio::test]
async fn t24_loopback_is_not_counted_unless_configured() {
    let server = server(|config| {
        config.limits.connections_per_address = 1;
        config.limits.handshakes_per_second = 1;
    })
    .await;
    for _ in 0..5 {
        ada(&server, Transport::Polling).await;
        ada(&server, Transport::Websocket).await;
    }
    assert_eq!(server.counters().crowded, 0);
    server.stop().await;
}

#[tokio::test]
async fn t24_a_storm_of_connections_becomes_a_queue() {
    const PER_SECOND: u32 = 20;
    const COME: u32 = 30;
    let server = server(|config| config.limits.accepts_per_second = PER_SECOND).await;
    let door = server.door();
    let begun = Instant::now();
    let coming: Vec<_> = (0..COME)
        .map(|_| {
            let door = door.clone();
            tokio::spawn(async move { ask(&door, &Request::get("/healthz")).await.status })
        })
        .collect();
    for came in coming {
        assert_eq!(came.await.expect("nobody panics"), 200, "nobody is refused");
    }
    let took = begun.elapsed();
    let least = (COME - PER_SECOND) * 1_000 / PER_SECOND - 50;
    assert!(took.as_millis() >= u128::from(least), "{took:?}");
    server.stop().await;
}

// ---- one session ----

#[tokio::test]
async fn t24_two_posts_at_once_end_the_session() {
    let server = Server::wire(|_| ()).await;
    let engine = Engine::open(&server.door().at("/engine.io"), Transport::Polling).await;
    let target = server.door().at("/engine.io").target(&engine.polling());
    let mut first = Http::open(&server.door()).await;
    first
        .send_bytes(format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4abc").as_bytes())
        .await;
    let mut second = Http::open(&server.door()).await;
    // Once this is answered, what was sent before it has been read.
    assert_eq!(second.ask(&Request::get("/healthz")).await.status, 200);
    let refused = second.ask(&engine.post("4x")).await;
    assert_eq!(refused.seen(), (400, r#"{"code":3,"message":"Bad request"}"#));
    engine.is_unknown().await;
    assert_eq!(server.counters().malformed, 1);
    server.stop().await;
}

#[tokio::test]
async fn t25_a_session_of_one_page_cannot_be_used_by_another_that_may_connect_as_well() {
    let pages = ["https://one.example", "https://two.example"];
    let server = Server::wire(|config| {
        config.listeners[0].mounts[0].origins = pages.map(str::to_owned).to_vec();
        let any =
            Mount { path: "/any".into(), origins: vec!["*".into()], ..config.listeners[0].mounts[0].clone() };
        config.listeners[0].mounts.push(any);
    })
    .await;
    let own = format!("http://{}", server.address);
    for path in ["/socket.io", "/any"] {
        let door = server.door().at(path);
        let from = |request: Request, page: Option<&str>| match page {
            Some(page) => request.header("Origin", page),
            None => request,
        };
        // Who opens it, who else may use it (a browser does not always say that a page is the server's own), and who may not.
        for (opener, friend, strangers) in [
            (Some(pages[0]), Some("HTTPS://one.example"), vec![Some(pages[1]), Some(&*own), None]),
            (None, Some(&*own), vec![Some(pages[0]), Some(pages[1])]),
            (Some(&*own), None, vec![Some(pages[0]), Some(pages[1])]),
        ] {
            let opened = ask(&door, &from(polling(&door), opener)).await;
            let handshake: serde_json::Value = serde_json::from_str(&opened.text()[1..]).expect("an object");
            let query = format!("EIO=4&transport=polling&sid={}", handshake["sid"].as_str().expect("an id"));
            let (get, post) = (Request::get(&door.target(&query)), Request::post(&door.target(&query), "40"));
            let probe = Request::websocket(&door.target(&query.replace("polling", "websocket")));
            let foreign = server.counters().foreign;
            for stranger in &strangers {
                for request in [&get, &post, &probe] {
                    let refused = ask(&door, &from(request.clone(), *stranger)).await;
                    let expected = (403, r#"{"code":4,"message":"Forbidden"}"#);
                    assert_eq!(refused.seen(), expected, "{stranger:?} on a session of {opener:?}");
                }
            }
            assert_eq!(server.counters().foreign, foreign + 3 * strangers.len() as u64);
            // It is as it was.
            assert_eq!(ask(&door, &from(post, friend)).await.seen(), (200, "ok"));
            assert!(ask(&door, &from(get, opener)).await.text().starts_with("40{"));
            assert!(WebSocket::ask(&door, &from(probe, friend)).await.is_ok());
        }
    }
    server.stop().await;
}

//! HTTP long-polling: many requests that are one session.

use antiphon_server::config::Config;
use serde_json::json;

use crate::support::client::Client;
use crate::support::engine::{Engine, Packet, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::server::Server;
use crate::support::soon;

const BAD_REQUEST: (u16, &str) = (400, r#"{"code":3,"message":"Bad request"}"#);
const UNKNOWN_SESSION: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);

/// A session at the Engine.IO layer, where messages come back as they are.
async fn echo(server: &Server) -> Engine {
    Engine::open(&server.door().at("/engine.io"), Transport::Polling).await
}

#[tokio::test]
async fn messages_go_out_and_come_back_one_by_one_and_several_at_once() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut http = Http::open(&server.door()).await;
    for body in ["4hello", "4", "4a\x1e4b\x1e4c", "4é€😀\x1e4\u{7f}", "4a\x1ebAQIDBA==\x1e4b", "b"] {
        let taken = http.ask(&engine.post(body)).await;
        assert_eq!(taken.seen(), (200, "ok"));
        assert_eq!(taken.header("Content-Type"), Some("text/html"));
        let response = http.ask(&engine.get()).await;
        assert_eq!(response.seen(), (200, body));
        assert_eq!(response.header("Content-Type"), Some("text/plain; charset=UTF-8"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_get_waits_until_there_is_something_to_say() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut get = Http::open(&server.door()).await;
    for number in 0..3 {
        get.send(&engine.get()).await;
        assert_eq!(ask(&server.door(), &engine.post(format!("4{number}"))).await.status, 200);
        assert_eq!(get.response().await.text(), format!("4{number}"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_binary_event_may_share_a_payload_with_text() {
    let server = Server::wire(|_| ()).await;
    let mut client = Client::connect(&server.door(), Transport::Polling, "").await;
    client.event().await;
    let body = "42[\"message\",1]\x1e451-[\"message\",{\"_placeholder\":true,\"num\":0}]\x1ebAQID\x1e42[\"message\",2]";
    client.engine.send(body).await;
    assert_eq!(client.event().await, ("message-back".into(), json!(1)));
    let header = r#"451-["message-back",{"_placeholder":true,"num":0}]"#;
    assert_eq!(client.engine.next_text().await, header);
    assert_eq!(client.engine.next_binary().await, [1, 2, 3]);
    assert_eq!(client.event().await, ("message-back".into(), json!(2)));
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_no_payload_ends_the_session() {
    let server = Server::wire(|_| ()).await;
    let bodies: [&[u8]; 14] = [
        b"",
        b"abc",
        b"7",
        b"4a\x1e",
        b"\x1e4a",
        b"4a\x1e\x1e4b",
        b"bA",
        b"b!!!!",
        b"4\xff",
        b"\xf0\x9f\x98",
        "é".as_bytes(),
        "€uro".as_bytes(),
        "b€".as_bytes(),
        "4a\x1e😀😀".as_bytes(),
    ];
    for body in bodies {
        let engine = echo(&server).await;
        assert_eq!(ask(&server.door(), &engine.post(body)).await.seen(), BAD_REQUEST, "{body:?}");
        engine.is_unknown().await;
    }
    // Packets that only servers send.
    for body in ["0{}", "2", "2probe", "5"] {
        let engine = echo(&server).await;
        ask(&server.door(), &engine.post(body)).await;
        engine.is_unknown().await;
    }
    assert_eq!(server.open_connections(), 0);
    server.stop().await;
}

#[tokio::test]
async fn nothing_of_a_body_that_is_no_payload_is_processed() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut get = Http::open(&server.door()).await;
    get.send(&engine.get()).await;
    assert_eq!(ask(&server.door(), &engine.post("4good\x1exyz")).await.seen(), BAD_REQUEST);
    assert_eq!(get.response().await.seen(), (200, "1"));
    server.stop().await;
}

#[tokio::test]
async fn a_binary_body_is_refused_and_ends_the_session_and_whoever_waits() {
    let server = Server::wire(|_| ()).await;
    for kind in ["application/octet-stream", "application/octet-stream; x=y"] {
        let engine = echo(&server).await;
        let mut get = Http::open(&server.door()).await;
        get.send(&engine.get()).await;
        let mut post = Http::open(&server.door()).await;
        let refused = post.ask(&engine.post(vec![4, 1, 2, 3]).header("Content-Type", kind)).await;
        assert_eq!((refused.seen(), refused.header("Connection")), (BAD_REQUEST, Some("close")));
        post.ended().await;
        // The GET may have come before or after the session's end; either way it is answered.
        let waiting = get.response().await;
        assert!(waiting.seen() == (200, "1") || waiting.seen() == UNKNOWN_SESSION, "{:?}", waiting.seen());
        engine.is_unknown().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn t24_two_gets_at_once_end_the_session_and_both_are_answered() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let (mut first, mut second) = (Http::open(&server.door()).await, Http::open(&server.door()).await);
    first.send(&engine.get()).await;
    // Once this is answered, the GET that was sent before it has been seen: both went to the same core, in this order.
    assert_eq!(ask(&server.door(), &engine.post("6")).await.status, 200);
    second.send(&engine.get()).await;
    let (first, second) = (first.response().await, second.response().await);
    let mut both = [first.seen(), second.seen()];
    both.sort_unstable();
    assert_eq!(both, [(200, "1"), BAD_REQUEST]);
    engine.is_unknown().await;
    assert_eq!(server.counters().malformed, 1);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_while_its_get_waits_ends_the_session() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut get = Http::open(&server.door()).await;
    get.send(&engine.get()).await;
    assert_eq!(ask(&server.door(), &engine.post("6")).await.status, 200);
    drop(get);
    server.until("the session to end", |server| server.open_connections() == 0).await;
    engine.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn a_close_packet_ends_the_session_and_releases_the_get_that_waits() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut get = Http::open(&server.door()).await;
    get.send(&engine.get()).await;
    assert_eq!(ask(&server.door(), &engine.post("6")).await.status, 200);
    assert_eq!(ask(&server.door(), &engine.post("1")).await.seen(), (200, "ok"));
    assert_eq!(get.response().await.seen(), (200, "6"));
    engine.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn t12_a_body_may_be_as_large_as_the_limit_and_not_one_byte_larger() {
    let limit = 5_000;
    let server = Server::wire(|config| config.listeners[0].mounts[1].max_payload = limit).await;
    for chunked in [false, true] {
        let engine = echo(&server).await;
        let largest = format!("4{}", "x".repeat(limit - 1));
        let mut http = Http::open(&server.door()).await;
        assert_eq!(http.ask(&engine.post(&*largest)).await.seen(), (200, "ok"));
        assert_eq!(http.ask(&engine.get()).await.text(), largest);
        http.send(&engine.get()).await;

        let mut post = Http::open(&server.door()).await;
        if chunked {
            let target = server.door().at("/engine.io").target(&engine.polling());
            let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n");
            let body = format!("{:x}\r\n{largest}\r\n1\r\nx\r\n0\r\n\r\n", limit);
            post.send_bytes(format!("{head}{body}").as_bytes()).await;
        } else {
            post.send(&engine.post(format!("{largest}x"))).await;
        }
        let refused = post.response().await;
        assert_eq!((refused.status, refused.header("Connection")), (413, Some("close")));
        post.ended().await;
        assert_eq!(http.response().await.seen(), (200, "1"));
        engine.is_unknown().await;
    }
    assert_eq!(server.counters().malformed, 2);
    server.stop().await;
}

#[tokio::test]
async fn t12_a_payload_has_a_limited_number_of_packets() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let most = vec!["4"; 1_024].join("\x1e");
    assert_eq!(ask(&server.door(), &engine.post(&*most)).await.status, 200);
    assert_eq!(ask(&server.door(), &engine.get()).await.text(), most);
    assert_eq!(ask(&server.door(), &engine.post(format!("{most}\x1e4"))).await.seen(), BAD_REQUEST);
    engine.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn t24_a_body_that_never_comes_is_refused_in_time_and_ends_the_session() {
    let server = Server::wire(|config| config.limits.request = 200).await;
    for (body, length) in [("", 10), ("4abc", 10), ("", 1_000_000)] {
        let engine = echo(&server).await;
        let target = server.door().at("/engine.io").target(&engine.polling());
        let mut post = Http::open(&server.door()).await;
        let head = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{body}");
        post.send_bytes(head.as_bytes()).await;
        let refused = post.response().await;
        assert_eq!((refused.status, refused.header("Connection")), (408, Some("close")));
        post.ended().await;
        engine.is_unknown().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_breaks_off_ends_the_session() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let target = server.door().at("/engine.io").target(&engine.polling());
    let mut post = Http::open(&server.door()).await;
    post.send_bytes(
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n4abc").as_bytes(),
    )
    .await;
    drop(post);
    server.until("the session to end", |server| server.open_connections() == 0).await;
    engine.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn methods_other_than_get_and_post_are_refused_and_the_session_lives() {
    let server = Server::wire(|_| ()).await;
    let mut engine = echo(&server).await;
    for method in ["PUT", "DELETE", "PATCH"] {
        let request = Request::new(method, &server.door().at("/engine.io").target(&engine.polling()));
        assert_eq!(ask(&server.door(), &request).await.seen(), BAD_REQUEST, "{method}");
    }
    engine.send("4still here").await;
    assert_eq!(engine.next_text().await, "4still here");
    server.stop().await;
}

#[tokio::test]
async fn a_get_may_wait_longer_than_a_request_may_take_to_arrive() {
    let server = Server::wire(|config| {
        config.limits.request = 150;
        config.listeners[0].mounts[1].ping_interval = 600;
    })
    .await;
    let engine = echo(&server).await;
    assert_eq!(ask(&server.door(), &engine.get()).await.seen(), (200, "2"));
    server.stop().await;
}

#[tokio::test]
async fn a_body_far_over_the_limit_is_not_waited_for() {
    let server = Server::wire(|config| config.listeners[0].mounts[1].max_payload = 5_000).await;
    let engine = echo(&server).await;
    let mut post = Http::open(&server.door()).await;
    // Whether the answer is read depends on when the connection breaks under what nobody reads; the end does not.
    post.send(&engine.post("4".repeat(20_000_000))).await;
    post.over().await;
    engine.is_unknown().await;
    assert_eq!(server.open_connections(), 0);
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_served_on_its_own_mount_only() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut elsewhere = Engine::open(&server.door(), Transport::Polling).await;
    elsewhere.door = server.door().at("/engine.io");
    // Both are open: a session id of one mount opens nothing on another.
    assert_eq!(ask(&server.door(), &elsewhere.post("6")).await.seen(), UNKNOWN_SESSION);
    assert_eq!(ask(&server.door(), &elsewhere.get()).await.seen(), UNKNOWN_SESSION);
    assert_eq!(ask(&server.door(), &engine.post("4x")).await.status, 200);
    server.stop().await;
}

fn beating(ping_timeout: u64) -> impl FnOnce(&mut Config) {
    move |config| {
        for mount in &mut config.listeners[0].mounts {
            (mount.ping_interval, mount.ping_timeout) = (300, ping_timeout);
        }
    }
}

#[tokio::test]
async fn pings_are_sent_and_pongs_keep_the_session() {
    let server = Server::wire(beating(10_000)).await;
    let engine = echo(&server).await;
    let mut http = Http::open(&server.door()).await;
    for _ in 0..3 {
        assert_eq!(http.ask(&engine.get()).await.seen(), (200, "2"));
        assert_eq!(http.ask(&engine.post("3")).await.seen(), (200, "ok"));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_answers_no_ping_ends() {
    let server = Server::wire(beating(200)).await;
    let engine = echo(&server).await;
    let mut http = Http::open(&server.door()).await;
    assert_eq!(http.ask(&engine.get()).await.seen(), (200, "2"));
    assert_eq!(http.ask(&engine.get()).await.seen(), (200, "1"));
    engine.is_unknown().await;
    // One that never comes back is forgotten as well.
    let gone = echo(&server).await;
    server.until("the session to end", |server| server.open_connections() == 0).await;
    gone.is_unknown().await;
    server.stop().await;
}

#[tokio::test]
async fn requests_that_are_sent_without_waiting_are_answered_in_their_order() {
    let server = Server::wire(|_| ()).await;
    let engine = echo(&server).await;
    let mut http = Http::open(&server.door()).await;
    for number in 0..20 {
        http.send(&engine.post(format!("4{number}"))).await;
    }
    http.send(&engine.get()).await;
    for _ in 0..20 {
        assert_eq!(http.response().await.seen(), (200, "ok"));
    }
    let expected: Vec<_> = (0..20).map(|number| format!("4{number}")).collect();
    assert_eq!(http.response().await.text(), expected.join("\x1e"));
    server.stop().await;
}

#[tokio::test]
async fn an_end_wakes_up_whoever_waits_for_it() {
    let server = Server::wire(|config| config.listeners[0].mounts[0].connect_timeout = 300).await;
    let mut engine = Engine::open(&server.door(), Transport::Polling).await;
    assert_eq!(soon("the end", engine.next()).await, Packet::Over("1".into()));
    server.stop().await;
}

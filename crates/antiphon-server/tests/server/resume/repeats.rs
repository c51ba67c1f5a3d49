//! A GET that an HTTP client sends again by itself, because its connection broke under the answer, hides nothing that was in it.

use super::tab::{Tab, ada};
use super::{server, tell};
use crate::support::engine::{Engine, Transport};
use crate::support::http::{Http, Request, Response};
use crate::support::server::Server;

const UNKNOWN_SESSION: (u16, &str) = (400, r#"{"code":1,"message":"Session ID unknown"}"#);

/// The answer to a GET with this `t`.
async fn poll(server: &Server, engine: &Engine, t: &str) -> Response {
    let target = server.door().target(&format!("{}&t={t}", engine.polling()));
    Http::open(&server.door()).await.ask(&Request::get(&target)).await
}

/// Panics unless `answer` is the notice with this number.
fn is_number(answer: &Response, number: u32) {
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains(&format!(r#""title":"{number}""#)), "{}", answer.text());
}

#[tokio::test]
async fn whoever_asks_again_for_what_was_answered_resumes_and_misses_nothing() {
    let server = server(|_| ()).await;
    let tab = ada(&server.door(), Transport::Polling).await;
    tell(&server, [1]).await;
    is_number(&poll(&server, &tab.engine, "pq1").await, 1);
    tell(&server, [2]).await;
    is_number(&poll(&server, &tab.engine, "pq2").await, 2);
    tell(&server, [3]).await;
    assert_eq!(poll(&server, &tab.engine, "pq2").await.seen(), UNKNOWN_SESSION);
    tab.engine.is_unknown().await;
    // It has had what it was told before the first of these.
    let memory = tab.cut();
    let mut tab = Tab::back(&server.door(), Transport::Polling, memory.clone()).await;
    tab.is_recovered(&memory);
    for number in 1..=3 {
        tab.hear_number(number).await;
    }
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn whoever_has_every_get_look_alike_or_names_the_second_is_served_as_ever() {
    let server = server(|_| ()).await;
    for stamps in [["same", "same", "same"], ["1700000000", "1700000001", "1700000001"]] {
        let tab = ada(&server.door(), Transport::Polling).await;
        for (number, t) in (1..).zip(stamps) {
            tell(&server, [number]).await;
            is_number(&poll(&server, &tab.engine, t).await, number);
        }
        tab.engine.close().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_cannot_resume_is_served_as_ever() {
    let server = server(|_| ()).await;
    let mut engine = Engine::open(&server.door(), Transport::Polling).await;
    engine.send(r#"40{"token":"ada-key"}"#).await;
    assert!(engine.next_text().await.starts_with("40"));
    assert!(engine.next_text().await.contains("system:connection"));
    for (number, t) in (1..).zip(["pq1", "pq2", "pq2"]) {
        tell(&server, [number]).await;
        is_number(&poll(&server, &engine, t).await, number);
    }
    engine.close().await;
    server.stop().await;
}

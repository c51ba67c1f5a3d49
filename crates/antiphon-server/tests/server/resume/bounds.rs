//! How much is kept, for how long, and for how many: a gap is said, never hidden.

use super::tab::{Memory, Tab, ada};
use super::{server, tell, tell_at_length, until_waiting};
use crate::support::engine::Transport;
use crate::support::server::Server;

async fn lost(server: &Server) -> Memory {
    ada(&server.door(), Transport::Websocket).await.cut()
}

async fn back(server: &Server, memory: &Memory) -> Tab {
    Tab::back(&server.door(), Transport::Websocket, memory.clone()).await
}

#[tokio::test]
async fn so_many_events_are_kept_and_one_more_is_a_gap_that_is_said() {
    for more in [false, true] {
        let server = server(|config| config.resume.events = 20).await;
        let memory = lost(&server).await;
        until_waiting(&server, 1).await;
        tell(&server, 1..=20 + u32::from(more)).await;
        let mut tab = back(&server, &memory).await;
        if more {
            assert_eq!(tab.reason(), "too_many");
            tell(&server, [22]).await;
            tab = tab.welcomed().await;
            tab.hear_number(22).await;
        } else {
            tab.is_recovered(&memory);
            for number in 1..=20 {
                tab.hear_number(number).await;
            }
        }
        assert_eq!(server.counters().lapsed, u64::from(more));
        drop(tab);
        server.stop().await;
    }
}

#[tokio::test]
async fn so_many_bytes_are_kept() {
    let server = server(|config| config.resume.bytes = 20_000).await;
    let memory = lost(&server).await;
    until_waiting(&server, 1).await;
    let words = "x".repeat(1_000);
    for number in 0..10 {
        tell_at_length(&server, number, &words).await;
    }
    let mut tab = back(&server, &memory).await;
    tab.is_recovered(&memory);
    for number in 0..10 {
        tab.hear_number(number).await;
    }
    let memory = tab.cut();
    for number in 0..30 {
        tell_at_length(&server, number, &words).await;
    }
    assert_eq!(back(&server, &memory).await.reason(), "too_many");
    server.stop().await;
}

#[tokio::test]
async fn a_session_waits_for_so_long() {
    let server = server(|config| config.resume.window = 50).await;
    let memory = lost(&server).await;
    server
        .until("the session to have waited", |server| {
            server.open_connections() == 0 && server.waiting_sessions() == 0
        })
        .await;
    assert_eq!(back(&server, &memory).await.reason(), "expired");
    server.stop().await;
}

#[tokio::test]
async fn so_many_sessions_of_one_person_wait_and_the_oldest_goes_for_one_more() {
    let server = server(|config| config.resume.waiting_per_person = 2).await;
    let mut memories = Vec::new();
    for number in 0..3 {
        memories.push(lost(&server).await);
        until_waiting(&server, (number + 1).min(2)).await;
        server.until("it to be noticed", |server| server.open_connections() == 0).await;
    }
    until_waiting(&server, 2).await;
    assert_eq!(back(&server, &memories[0]).await.reason(), "too_many");
    back(&server, &memories[2]).await.is_recovered(&memories[2]);
    server.stop().await;
}

#[tokio::test]
async fn so_many_sessions_wait_at_all() {
    let server = server(|config| config.resume.waiting = 1).await;
    let first = lost(&server).await;
    until_waiting(&server, 1).await;
    let second = lost(&server).await;
    server.until("both to be gone", |server| server.open_connections() == 0).await;
    assert_eq!(back(&server, &second).await.reason(), "too_many");
    server.stop().await;
    drop(first);
}

#[tokio::test]
async fn whoever_is_cut_for_not_reading_finds_everything_when_they_come_back() {
    let server = server(|config| {
        config.server.cores = 1;
        config.limits.outbox = 64 * 1024;
        config.limits.write_stall = 50;
        config.resume.bytes = 64 << 20;
        config.resume.events = 1_000_000;
    })
    .await;
    let tab = ada(&server.door().narrow(), Transport::Websocket).await;
    let words = "x".repeat(10_000);
    let mut told = 0;
    while server.counters().too_slow == 0 {
        tell_at_length(&server, told, &words).await;
        told += 1;
        server.until("the server to breathe", |_| true).await;
    }
    let memory = tab.cut();
    let mut tab = back(&server, &memory).await;
    tab.is_recovered(&memory);
    let mut number = 0;
    while number < told {
        match tab.next().await {
            Ok((_, notice)) => {
                assert_eq!(notice["title"], number.to_string());
                number += 1;
            }
            // It may be too slow once more; then it goes on where it was.
            Err(_) => {
                let memory = tab.cut();
                tab = back(&server, &memory).await;
                tab.is_recovered(&memory);
            }
        }
    }
    drop(tab);
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_cut_for_not_reading_and_missed_more_than_is_kept_is_told_so() {
    let server = server(|config| {
        config.server.cores = 1;
        config.limits.outbox = 64 * 1024;
        config.limits.write_stall = 50;
        config.resume.bytes = 32 * 1024;
    })
    .await;
    let tab = ada(&server.door().narrow(), Transport::Websocket).await;
    let words = "x".repeat(10_000);
    while server.counters().too_slow == 0 {
        tell_at_length(&server, 0, &words).await;
        server.until("the server to breathe", |_| true).await;
    }
    let memory = tab.cut();
    assert_eq!(back(&server, &memory).await.reason(), "too_many");
    server.stop().await;
}

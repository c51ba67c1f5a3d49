//! The mission API over real sockets.
//!
//! Its events, and the requests that they follow from, are `scripts/mission/*.script`.
//!
//! | module | states |
//! |---|---|
//! | [`accounts`] | how people are added, log in, stay and leave |
//! | [`drill`] | an agent's process is killed: what becomes of its task, and what a dashboard sees |
//! | [`doors`] | where clients come in, and that whoever is refused can do nothing |
//! | [`requests`] | what the routes answer, and that nothing comes of what they refuse |

mod accounts;
mod doors;
mod drill;
mod requests;

use std::sync::Arc;

use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::Store;
use antiphon_server::config::{Config, Mount};
use antiphon_server::wiring::Extras;
use serde_json::Value;

use crate::script::{Manner, play_all, said_and_heard};
use crate::support::engine::Transport;
use crate::support::http::{Http, Request, Response};
use crate::support::people::{self, add_person, settle};
use crate::support::server::Server;

const MISSION: Manner =
    Manner { folder: "mission", config, welcome: None, question: ("unsubscribe", r#"{}"#) };

/// One core, the mission API at its documented places, and agents that say what they were told.
fn config() -> Config {
    let mut config = people::config();
    let mount = |path: &str| Mount { ping_timeout: 30_000, ..Mount::new(path, "mission") };
    config.listeners[0].routes = true;
    config.listeners[0].mounts = vec![mount("/ws"), mount("/ws/socket.io"), mount("/socket.io")];
    config
}

#[tokio::test]
async fn every_script_holds_over_websocket() {
    play_all(&MISSION, Transport::Websocket).await;
}

#[tokio::test]
async fn every_script_holds_over_polling() {
    play_all(&MISSION, Transport::Polling).await;
}

#[tokio::test]
async fn every_script_holds_after_an_upgrade() {
    play_all(&MISSION, Transport::Upgraded).await;
}

#[test]
fn the_scripts_say_and_hear_every_event_of_the_api() {
    let (said, heard) = said_and_heard(&MISSION);
    for event in ["subscribe", "unsubscribe", "heartbeat"] {
        assert!(said.contains(event), "{event} is never said");
    }
    for event in [
        "agent:status_changed",
        "agent:heartbeat",
        "task:created",
        "task:assigned",
        "task:updated",
        "task:completed",
        "conversation:message",
        "system:alert",
        "subscribed",
        "unsubscribed",
        "heartbeat_ack",
        "error",
    ] {
        assert!(heard.contains(event), "{event} is never heard");
    }
}

/// A server with Ada, who may do everything, Eve, who looks on, and Bob, who has no role; Luna and Mia are Ada's. Each has a key
/// such as `ada-key`. And what it remembers.
async fn served(change: impl FnOnce(&mut Config)) -> (Server, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    add_person(&*store, "eve", "unlimited", "eve-key").await;
    for (name, role) in [("ada", "super_admin"), ("eve", "viewer")] {
        give_role(&*store, name, role).await;
    }
    let mut config = config();
    change(&mut config);
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    (Server::start(config, extras).await, store)
}

async fn give_role(store: &dyn Store, name: &str, role: &str) {
    let known = store.person(&people::person(name)).await.expect("people can be read");
    let mut person = known.expect("they exist");
    person.roles = vec![role.into()];
    store.put_person(&person).await.expect("a person is stored");
}

/// Asks for `path` below `/api/v1` with a token, or with none.
async fn ask(server: &Server, token: Option<&str>, method: &str, path: &str, body: &str) -> (u16, Value) {
    let response = respond(server, token, method, path, body).await;
    let text = response.text();
    let said = if text.is_empty() { Value::Null } else { serde_json::from_str(text).expect("JSON") };
    (response.status, said)
}

async fn respond(server: &Server, token: Option<&str>, method: &str, path: &str, body: &str) -> Response {
    let mut request = Request::new(method, &format!("/api/v1{path}"));
    if !body.is_empty() {
        request = request.json(body);
    }
    if let Some(token) = token {
        request = request.bearer(token);
    }
    Http::open(&server.door()).await.ask(&request).await
}

//! The peer "socketioxide on axum". Its duties are listed in `../README.md`.
//!
//! On a current-thread runtime: the server is measured on one core, and a second thread there only costs.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use socketioxide::SocketIo;
use socketioxide::extract::{AckSender, Data, Extension, SocketRef, TryData};

const CHUNK_DELAY: Duration = Duration::from_millis(33);

#[derive(Deserialize)]
struct Credentials {
    token: String,
}

#[derive(Clone)]
struct User(Arc<str>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Place {
    agent_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typing {
    agent_id: String,
    is_typing: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    agent_id: String,
    message: String,
}

#[derive(Serialize)]
struct Done {
    ok: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypingEvent<'a> {
    agent_id: &'a str,
    user_id: &'a str,
    is_typing: bool,
    timestamp: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StreamEvent<'a> {
    agent_id: &'a str,
    message_id: &'a str,
    chunk: &'a str,
    index: usize,
    timestamp: u64,
}

fn main() {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime needs no more than a few file descriptors")
        .block_on(serve());
}

async fn serve() {
    let (layer, io) = SocketIo::builder().max_buffer_size(4096).build_layer();
    io.ns("/", connected);
    let app = axum::Router::new().layer(layer);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("a bound listener has an address");
    println!(
        r#"{{"ready":true,"mounts":[{{"dialect":"chat","address":"{address}","path":"/socket.io"}}],"versions":"socketioxide 0.18.9, axum 0.8"}}"#
    );
    let listener = listener.tap_io(|stream| stream.set_nodelay(true).unwrap_or_default());
    axum::serve(listener, app).await.expect("axum's serve does not return errors");
}

async fn connected(socket: SocketRef, TryData(credentials): TryData<Credentials>) {
    let token = credentials.map_or_else(|_| "k0".to_owned(), |credentials| credentials.token);
    let user = format!("u{}", token.get(1..).unwrap_or_default());
    socket.join([format!("user:{user}"), "global".to_owned()]);
    socket.extensions.insert(User(user.into()));
    socket.on("chat:join", joined);
    socket.on("chat:leave", left);
    socket.on("chat:typing", typed);
    socket.on("chat:message", asked);
}

async fn joined(socket: SocketRef, user: Extension<User>, Data(place): Data<Place>, ack: AckSender) {
    socket.join(room(&place.agent_id, &user.0));
    ack.send(&Done { ok: true }).ok();
}

async fn left(socket: SocketRef, user: Extension<User>, Data(place): Data<Place>, ack: AckSender) {
    socket.leave(room(&place.agent_id, &user.0));
    ack.send(&Done { ok: true }).ok();
}

async fn typed(io: SocketIo, user: Extension<User>, Data(typing): Data<Typing>) {
    let user = &user.0.0;
    let event = TypingEvent {
        agent_id: &typing.agent_id,
        user_id: user,
        is_typing: typing.is_typing,
        timestamp: now(),
    };
    let room = format!("chat:{}:{user}", typing.agent_id);
    io.to(room).emit("chat:typing", &event).await.ok();
}

async fn asked(io: SocketIo, user: Extension<User>, Data(message): Data<Message>) {
    let room = room(&message.agent_id, &user.0);
    let id = uuid::Uuid::new_v4().to_string();
    let mut ticks = tokio::time::interval(CHUNK_DELAY);
    for (index, word) in message.message.split(' ').enumerate() {
        ticks.tick().await;
        let event = StreamEvent {
            agent_id: &message.agent_id,
            message_id: &id,
            chunk: &format!("{word} "),
            index,
            timestamp: now(),
        };
        io.to(room.clone()).emit("chat:message:stream", &event).await.ok();
    }
}

fn room(agent: &str, user: &User) -> String {
    format!("chat:{agent}:{}", user.0)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_millis() as u64)
}

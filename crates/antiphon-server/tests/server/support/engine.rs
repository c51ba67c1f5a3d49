//! An Engine.IO session over either transport. Answers pings by itself.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::door::Door;
use super::http::{Http, Request, Response};
use super::soon;
use super::websocket::{CLOSE, FIN, Message, WebSocket};

/// How a session is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Websocket,
    Polling,
    /// Polling first, then a WebSocket that takes over.
    Upgraded,
}

/// The two that a behaviour has to be tried over.
pub(crate) const BOTH: [Transport; 2] = [Transport::Websocket, Transport::Polling];

/// What came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Packet {
    Text(String),
    Binary(Vec<u8>),
    /// The session is over, in the words of the transport: `1008 parse error`, `1`, `400 …`, `lost`.
    Over(String),
}

/// A session.
pub(crate) struct Engine {
    pub(crate) door: Door,
    pub(crate) sid: String,
    /// The open packet's object.
    pub(crate) handshake: Value,
    /// Pings answered so far.
    pub(crate) pings: usize,
    link: Link,
    queue: VecDeque<Packet>,
}

enum Link {
    Websocket(WebSocket),
    Polling { get: Http, post: Http },
}

impl Engine {
    pub(crate) async fn open(door: &Door, transport: Transport) -> Self {
        let (first, link) = if transport == Transport::Websocket {
            let mut websocket = WebSocket::open(door, "EIO=4&transport=websocket").await;
            (websocket.next_text().await, Link::Websocket(websocket))
        } else {
            let mut get = Http::open(door).await;
            let response = get.ask(&Request::get(&door.target("EIO=4&transport=polling"))).await;
            assert_eq!(response.status, 200, "{}", response.text());
            (response.text().to_owned(), Link::Polling { get, post: Http::open(door).await })
        };
        let handshake = first.strip_prefix('0').and_then(|json| serde_json::from_str::<Value>(json).ok());
        let handshake = handshake.unwrap_or_else(|| panic!("not an open packet: {first}"));
        let sid = handshake["sid"].as_str().expect("a session has an id").to_owned();
        let mut engine = Self { door: door.clone(), sid, handshake, pings: 0, link, queue: VecDeque::new() };
        if transport == Transport::Upgraded {
            engine.upgrade().await;
        }
        engine
    }

    /// The query that names this session over polling.
    pub(crate) fn polling(&self) -> String {
        format!("EIO=4&transport=polling&sid={}", self.sid)
    }

    /// A GET for this session.
    pub(crate) fn get(&self) -> Request {
        Request::get(&self.door.target(&self.polling()))
    }

    /// A POST for this session.
    pub(crate) fn post(&self, body: impl Into<Vec<u8>>) -> Request {
        Request::post(&self.door.target(&self.polling()), body)
    }

    /// A WebSocket that names this session and has done nothing yet.
    pub(crate) async fn probe(&self) -> WebSocket {
        WebSocket::open(&self.door, &format!("EIO=4&transport=websocket&sid={}", self.sid)).await
    }

    /// Moves the session to a WebSocket, as a client does.
    pub(crate) async fn upgrade(&mut self) {
        let mut websocket = self.probe().await;
        websocket.text("2probe").await;
        assert_eq!(websocket.next_text().await, "3probe");
        self.take_over(websocket).await;
    }

    /// `websocket`, whose probe was answered, carries the session from now on.
    pub(crate) async fn take_over(&mut self, mut websocket: WebSocket) {
        websocket.text("5").await;
        self.link = Link::Websocket(websocket);
    }

    pub(crate) async fn send(&mut self, text: &str) {
        match &mut self.link {
            Link::Websocket(websocket) => websocket.text(text).await,
            Link::Polling { .. } => self.post_body(text.as_bytes()).await,
        }
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Websocket(websocket) => websocket.binary(bytes).await,
            Link::Polling { .. } => {
                let body = format!("b{}", BASE64_STANDARD.encode(bytes));
                self.post_body(body.as_bytes()).await;
            }
        }
    }

    /// Posts, and expects the server to answer at all: whether it liked it shows in what comes next.
    async fn post_body(&mut self, body: &[u8]) {
        let request = self.post(body);
        let Link::Polling { post, .. } = &mut self.link else { return };
        let response = post.ask(&request).await;
        assert!(matches!(response.status, 200 | 400 | 413), "{:?}", response.seen());
        if response.status != 200 {
            *post = Http::open(&self.door).await;
        }
    }

    /// What comes next. Over polling that is a GET, unless packets are left of the last one.
    pub(crate) async fn next(&mut self) -> Packet {
        // The patience is for the whole: pings alone would keep anybody waiting for ever.
        soon("a packet", async {
            loop {
                let packet = match self.queue.pop_front() {
                    Some(packet) => packet,
                    None => self.receive().await,
                };
                match packet {
                    Packet::Text(text) if text == "2" => {
                        self.pings += 1;
                        self.send("3").await;
                    }
                    Packet::Text(text) if text == "6" => {}
                    other => return other,
                }
            }
        })
        .await
    }

    async fn receive(&mut self) -> Packet {
        let get = self.get();
        match &mut self.link {
            Link::Websocket(websocket) => match websocket.next().await {
                Message::Text(text) => Packet::Text(text),
                Message::Binary(bytes) => Packet::Binary(bytes),
                Message::Close(code, reason) => {
                    assert_eq!(websocket.next().await, Message::End, "nothing follows a goodbye");
                    Packet::Over(format!("{code} {reason}"))
                }
                Message::End => Packet::Over("lost".into()),
                Message::Pong(_) => panic!("a pong that nobody asked for"),
            },
            Link::Polling { get: http, .. } => {
                let response = http.ask(&get).await;
                if response.status != 200 {
                    return Packet::Over(format!("{} {}", response.status, response.text()));
                }
                self.queue.extend(packets(&response));
                self.queue.pop_front().expect("a payload has at least one packet")
            }
        }
    }

    /// The next packet, which must be text.
    pub(crate) async fn next_text(&mut self) -> String {
        match self.next().await {
            Packet::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The next packet, which must be binary.
    pub(crate) async fn next_binary(&mut self) -> Vec<u8> {
        match self.next().await {
            Packet::Binary(bytes) => bytes,
            other => panic!("expected a binary message, got {other:?}"),
        }
    }

    /// Waits for the session to be over, whatever is said before; then over polling the server must not know it any more.
    pub(crate) async fn over(&mut self) -> String {
        loop {
            if let Packet::Over(how) = self.next().await {
                self.is_unknown().await;
                return how;
            }
        }
    }

    /// Panics if a GET still finds this session.
    pub(crate) async fn is_unknown(&self) {
        let response = super::http::ask(&self.door, &self.get()).await;
        assert_eq!(response.seen(), (400, r#"{"code":1,"message":"Session ID unknown"}"#));
    }

    /// Says goodbye, as a client that means it.
    pub(crate) async fn close(mut self) {
        match &mut self.link {
            Link::Websocket(websocket) => {
                websocket.send(FIN | CLOSE, &1000_u16.to_be_bytes()).await;
                websocket.ended().await;
            }
            Link::Polling { .. } => self.send("1").await,
        }
    }

    /// The WebSocket that carries the session.
    pub(crate) fn websocket(&mut self) -> &mut WebSocket {
        match &mut self.link {
            Link::Websocket(websocket) => websocket,
            Link::Polling { .. } => panic!("polling carries this session"),
        }
    }
}

fn packets(response: &Response) -> impl Iterator<Item = Packet> {
    response.text().split('\x1e').map(|packet| match packet.strip_prefix('b') {
        Some(encoded) => Packet::Binary(BASE64_STANDARD.decode(encoded).expect("base64")),
        None if packet == "1" => Packet::Over("1".into()),
        None => Packet::Text(packet.to_owned()),
    })
}

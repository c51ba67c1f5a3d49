//! HTTP requests, written and read by hand.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::door::{Door, Io};
use super::soon;

/// A request before it is sent.
#[derive(Clone)]
pub(crate) struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// A request without a body.
    pub(crate) fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn post(target: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", target) }
            .header("Content-Type", "text/plain;charset=UTF-8")
    }

    /// The opening handshake of a WebSocket, with the key of RFC 6455, section 1.3.
    pub(crate) fn websocket(target: &str) -> Self {
        Self::get(target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// With this body.
    pub(crate) fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// With this JSON as its body.
    pub(crate) fn json(self, body: impl Into<Vec<u8>>) -> Self {
        self.body(body).header("Content-Type", "application/json")
    }

    /// With this credential.
    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    /// With one more header; one of the same name gives way.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Without the header of this name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        if self.method != "GET" {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The value of a header, if there is one of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("what the server says is text")
    }

    /// Status and body, to be compared at once.
    pub(crate) fn seen(&self) -> (u16, &str) {
        (self.status, self.text())
    }
}

/// One HTTP connection, kept alive.
pub(crate) struct Http {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
    host: String,
}

impl Http {
    pub(crate) async fn open(door: &Door) -> Self {
        Self { stream: door.stream().await, buffer: Vec::new(), host: door.address.to_string() }
    }

    /// Sends and waits for the answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Response {
        self.send(request).await;
        self.response().await
    }

    pub(crate) async fn send(&mut self, request: &Request) {
        let bytes = request.bytes(&self.host);
        self.send_bytes(&bytes).await;
    }

    /// Sends what need not be a request. A server that has ended the connection already is not told.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = soon("room to write", self.stream.write_all(bytes)).await;
    }

    /// The next answer. Panics when the connection ends without one: whatever is refused is refused in words.
    pub(crate) async fn response(&mut self) -> Response {
        let head = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.buffer.drain(..end + 4).collect::<Vec<_>>();
            }
            assert!(self.read().await, "the connection ended without an answer");
        };
        let head = String::from_utf8(head).expect("a head is text");
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut response =
            Response { status: status.expect("an answer has a status"), headers, body: Vec::new() };
        let length = response.header("Content-Length").map_or(0, |text| text.parse().expect("a number"));
        while self.buffer.len() < length {
            assert!(self.read().await, "the connection ended within an answer");
        }
        response.body = self.buffer.drain(..length).collect();
        response
    }

    /// Waits for the server to end the connection. Panics if it says anything before.
    pub(crate) async fn ended(mut self) {
        assert!(self.buffer.is_empty(), "the server says more: {:?}", self.buffer);
        assert!(!self.read().await, "the server says more: {:?}", String::from_utf8_lossy(&self.buffer));
    }

    /// Waits for the server to end the connection, whatever it says before.
    pub(crate) async fn over(mut self) {
        while self.read().await {}
    }

    /// The stream, when something other than HTTP follows, with what came early.
    pub(crate) fn into_stream(self) -> (Box<dyn Io>, Vec<u8>) {
        (self.stream, self.buffer)
    }

    /// Sends and waits for the answer; nothing if the connection ends instead.
    pub(crate) async fn try_ask(mut self, request: &Request) -> Option<Response> {
        self.send(request).await;
        let any = !self.buffer.is_empty() || self.read().await;
        if any { Some(self.response().await) } else { None }
    }

    /// Reads more; `false` at the end of the stream, however it ends.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 16 * 1024];
        let length = soon("an answer", self.stream.read(&mut bytes)).await.unwrap_or(0);
        self.buffer.extend_from_slice(&bytes[..length]);
        length > 0
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(door: &Door, request: &Request) -> Response {
    Http::open(door).await.ask(request).await
}

//! WebSocket frames, written and read by hand.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::door::{Door, Io};
use super::http::{Http, Request, Response};
use super::soon;

/// Numbers of RFC 6455, section 11.8.
pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;

/// The bit that says that a frame is the last of its message.
pub(crate) const FIN: u8 = 0x80;

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// Code and reason.
    Close(u16, String),
    /// The stream is over.
    End,
}

/// A WebSocket to the server.
pub(crate) struct WebSocket {
    stream: Box<dyn Io>,
    buffer: Vec<u8>,
}

impl WebSocket {
    /// Opens one; panics if the server refuses.
    pub(crate) async fn open(door: &Door, query: &str) -> Self {
        match Self::ask(door, &Request::websocket(&door.target(query))).await {
            Ok(websocket) => websocket,
            Err(response) => panic!("no WebSocket: {:?}", response.seen()),
        }
    }

    /// Opens one with `request`, or returns what the server answered instead.
    pub(crate) async fn ask(door: &Door, request: &Request) -> Result<Self, Response> {
        let mut http = Http::open(door).await;
        let response = http.ask(request).await;
        if response.status != 101 {
            return Err(response);
        }
        assert_eq!(response.header("Upgrade"), Some("websocket"));
        assert_eq!(response.header("Connection"), Some("Upgrade"));
        assert_eq!(response.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(response.header("Sec-WebSocket-Extensions"), None, "nothing is negotiated");
        let (stream, buffer) = http.into_stream();
        Ok(Self::over(stream, buffer))
    }

    /// A WebSocket whose opening handshake is over; `buffer` came early.
    pub(crate) fn over(stream: Box<dyn Io>, buffer: Vec<u8>) -> Self {
        Self { stream, buffer }
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.send(FIN | TEXT, text.as_bytes()).await;
    }

    pub(crate) async fn binary(&mut self, bytes: &[u8]) {
        self.send(FIN | BINARY, bytes).await;
    }

    /// Sends one masked frame; `first` is its first byte.
    pub(crate) async fn send(&mut self, first: u8, payload: &[u8]) {
        self.send_bytes(&frame(first, payload)).await;
    }

    /// Sends what need not be a frame. A server that has ended the connection already is not told.
    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = soon("room to write", self.stream.write_all(bytes)).await;
    }

    /// The next frame of the server, which never divides a message.
    pub(crate) async fn next(&mut self) -> Message {
        loop {
            if let Some((message, used)) = read_frame(&self.buffer) {
                self.buffer.drain(..used);
                return message;
            }
            let mut bytes = [0; 16 * 1024];
            match soon("a frame", self.stream.read(&mut bytes)).await {
                Ok(0) | Err(_) => return Message::End,
                Ok(length) => self.buffer.extend_from_slice(&bytes[..length]),
            }
        }
    }

    /// The next message, which must be text.
    pub(crate) async fn next_text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The goodbye that the server must say next, and the end of the stream that must follow it.
    pub(crate) async fn goodbye(&mut self) -> (u16, String) {
        match self.next().await {
            Message::Close(code, reason) => {
                assert_eq!(self.next().await, Message::End);
                (code, reason)
            }
            other => panic!("expected a goodbye, got {other:?}"),
        }
    }

    /// Waits for the end of the stream, whatever is said before.
    pub(crate) async fn ended(&mut self) {
        while self.next().await != Message::End {}
    }
}

/// A frame as a client writes it: masked (RFC 6455, section 5.3).
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = header(first, payload.len());
    bytes.extend_from_slice(&mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// First byte and length, with the bit set that announces a mask.
pub(crate) fn header(first: u8, length: usize) -> Vec<u8> {
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..=125), _) => vec![first, 0x80 | short],
        (_, Ok(medium)) => [&[first, 0x80 | 126][..], &medium.to_be_bytes()].concat(),
        _ => [&[first, 0x80 | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

fn read_frame(bytes: &[u8]) -> Option<(Message, usize)> {
    let (&[first, second], rest) = bytes.split_first_chunk()?;
    assert_eq!(first & 0xf0, FIN, "the server sends whole messages without reserved bits");
    let (length, rest) = match second {
        126 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?
        }
        127 => rest.split_first_chunk().map(|(length, rest)| (u64::from_be_bytes(*length) as usize, rest))?,
        short => (usize::from(short), rest),
    };
    assert!(second <= 127, "the server does not mask");
    let payload = rest.get(..length)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("what the server says is text");
    let message = match first & 0x0f {
        TEXT => Message::Text(text(payload)),
        BINARY => Message::Binary(payload.to_vec()),
        CLOSE => {
            let (code, reason) = payload.split_first_chunk().expect("the server always gives a code");
            Message::Close(u16::from_be_bytes(*code), text(reason))
        }
        10 => Message::Pong(payload.to_vec()),
        other => panic!("the server sent opcode {other}"),
    };
    Some((message, bytes.len() - rest.len() + length))
}

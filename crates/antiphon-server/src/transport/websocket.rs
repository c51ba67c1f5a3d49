//! Reading a WebSocket.
//!
//! One task per WebSocket waits for bytes, takes them apart in the core's scratch buffer and processes what they bring. It
//! keeps nothing between reads but the decoder, which is empty unless a frame has come in part.

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::time::Duration;

use antiphon_wire::engine::{Packet, Transport};
use antiphon_wire::socket::Encoded;
use antiphon_wire::websocket::{Decoder, Incoming, Opcode, frame_into};

use crate::cores::Core;
use crate::session::{Closing, Connection, Step};
use crate::transport::Stream;

/// How long a client may go on sending after we said goodbye.
const FAREWELL: Duration = Duration::from_secs(2);

/// Reads `stream` for `connection` until either ends. `early` came with the handshake.
pub(crate) async fn read(core: Rc<Core>, connection: Rc<Connection>, stream: Rc<Stream>, mut early: Vec<u8>) {
    let reader = Reader { core, connection, stream };
    let mut decoder = Decoder::default();
    reader.core.count(|tally| tally.read_bytes(Transport::Websocket, early.len()));
    if !early.is_empty() && !reader.take(&mut decoder, &mut early) {
        reader.connection.process(&reader.core).await;
        return reader.linger().await;
    }
    drop(early);
    loop {
        reader.connection.process(&reader.core).await;
        if reader.connection.is_closed() {
            return reader.linger().await;
        }
        match reader.stream.read_into(&reader.core.scratch).await {
            Ok(0) | Err(_) => return reader.end(Closing::Peer),
            Ok(length) => {
                reader.core.count(|tally| tally.read_bytes(Transport::Websocket, length));
                let goes_on = reader.take(&mut decoder, &mut reader.core.scratch.borrow_mut()[..length]);
                if !goes_on {
                    // What came before the end is still processed.
                    reader.connection.process(&reader.core).await;
                    return reader.linger().await;
                }
            }
        }
    }
}

struct Reader {
    core: Rc<Core>,
    connection: Rc<Connection>,
    stream: Rc<Stream>,
}

impl Drop for Reader {
    /// A panic ends this task; it must end what this task reads for, too. (One in a handler has done so already.)
    fn drop(&mut self) {
        if std::thread::panicking() && !self.connection.is_closed() {
            tracing::error!(
                connection = %self.connection.name(&self.core),
                "reading panicked; the connection is closed"
            );
            self.core.shared.counters.panicked();
            self.end(Closing::Failed);
        }
    }
}

impl Reader {
    /// Takes in what was read. `false` when this WebSocket is done for.
    fn take(&self, decoder: &mut Decoder, input: &mut [u8]) -> bool {
        let mut goes_on = true;
        let taken = decoder.feed(input, self.connection.limits(), &mut |incoming| {
            if goes_on {
                goes_on = self.incoming(incoming);
            }
        });
        if let Err(violation) = taken {
            self.end(Closing::Violation(violation.code, violation.reason));
            return false;
        }
        goes_on
    }

    fn incoming(&self, incoming: Incoming<'_>) -> bool {
        let (core, connection) = (&self.core, &self.connection);
        match incoming {
            Incoming::Text(text) => match Packet::decode(text) {
                Ok(packet) => {
                    if let Some(step) = connection.receive(core, Transport::Websocket, packet) {
                        return self.step(step);
                    }
                }
                Err(_) => self.end(Closing::Malformed("parse error")),
            },
            Incoming::Binary(bytes) => connection.receive_binary(core, Transport::Websocket, bytes),
            Incoming::Ping(bytes) => return self.write_aside(Encoded::pong(bytes)),
            Incoming::Pong(_) => {}
            Incoming::Close(_) => {
                self.end(Closing::Peer);
                return false;
            }
        }
        !connection.is_closed() && !connection.is_leaving()
    }

    fn step(&self, step: Step) -> bool {
        match step {
            Step::AnswerProbe => {
                let written = self.write_aside(Encoded::engine("3probe"));
                super::polling::release(&self.core, &self.connection);
                written
            }
            Step::Upgrade => {
                self.connection.carry_over(&self.core, self.stream.clone());
                true
            }
            Step::Reject => {
                self.stream.shutdown();
                false
            }
        }
    }

    /// Writes a small frame that belongs to this WebSocket alone, whether it carries the session yet or not.
    fn write_aside(&self, frame: Encoded) -> bool {
        if self.connection.carries(&self.stream) {
            self.connection.push(&self.core, frame);
            return true;
        }
        // A WebSocket that does not carry the session yet has nothing else to write: a few bytes fit.
        matches!(self.stream.try_write(&[IoSlice::new(frame.frames())]), Ok(n) if n == frame.len())
            && !matches!(self.stream.try_flush(), Err(e) if e.kind() != io::ErrorKind::WouldBlock)
    }

    /// Ends the connection if this WebSocket carries it, else only this WebSocket.
    fn end(&self, why: Closing) {
        if self.connection.carries(&self.stream) {
            match why {
                Closing::Peer => self.connection.leave(&self.core),
                _ => self.connection.close(&self.core, why),
            }
        } else {
            self.connection.forget_probe(&self.core, &self.stream);
            self.stream.shutdown();
        }
    }

    /// Leaves the client time to hear the goodbye.
    async fn linger(self) {
        self.connection.forget_probe(&self.core, &self.stream);
        read_out(&self.core, &self.stream).await;
    }
}

/// Waits for the client to end its side, for a while: closing at once could destroy the goodbye on its way.
async fn read_out(core: &Core, stream: &Stream) {
    let _ = tokio::time::timeout(FAREWELL, async {
        while matches!(stream.read_into(&core.scratch).await, Ok(length) if length > 0) {}
    })
    .await;
}

/// Sends every message back as it came: what a conformance suite for the frame layer expects.
pub(crate) async fn echo(core: Rc<Core>, stream: Stream, limits: antiphon_wire::Limits, mut early: Vec<u8>) {
    let mut decoder = Decoder::default();
    loop {
        let mut answer = Vec::new();
        let mut ended = false;
        let mut sink = |incoming: Incoming<'_>| match incoming {
            Incoming::Text(text) => frame_into(Opcode::Text, text.as_bytes(), &mut answer),
            Incoming::Binary(bytes) => frame_into(Opcode::Binary, bytes, &mut answer),
            Incoming::Ping(bytes) => frame_into(Opcode::Pong, bytes, &mut answer),
            Incoming::Pong(_) => {}
            Incoming::Close(why) => {
                let code = why.map_or(1000, |(code, _)| code);
                antiphon_wire::websocket::close_into(code, "", &mut answer);
                ended = true;
            }
        };
        let fed = if early.is_empty() {
            match stream.read_into(&core.scratch).await {
                Ok(0) | Err(_) => return,
                Ok(length) => decoder.feed(&mut core.scratch.borrow_mut()[..length], &limits, &mut sink),
            }
        } else {
            decoder.feed(&mut std::mem::take(&mut early), &limits, &mut sink)
        };
        if let Err(violation) = fed {
            antiphon_wire::websocket::close_into(violation.code, violation.reason, &mut answer);
            ended = true;
        }
        let mut rest = &answer[..];
        while !rest.is_empty() {
            match stream.try_write(&[IoSlice::new(rest)]) {
                Ok(0) => return,
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await,
                Err(_) => return,
            }
        }
        if ended {
            stream.finish();
            return read_out(&core, &stream).await;
        }
    }
}

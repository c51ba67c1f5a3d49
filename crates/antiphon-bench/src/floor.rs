//! The cheapest server there can be: what the kernel alone costs.
//!
//! Frames are prepared once, every receiver gets one non-blocking `write`, and no protocol is understood beyond what
//! keeps the load generator talking: a canned upgrade, a canned answer to CONNECT, a canned ack to whatever asks for
//! one. What a plain event causes is settled when it starts: [`Role`].

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::process;
use crate::wire::{frame, packet, upgrade};

/// Time between two pieces of a stream.
const CHUNK_DELAY: Duration = Duration::from_millis(33);

/// Where it says that it is; it answers everywhere.
pub const PATH: &str = "/socket.io";

/// Marks the listener among the epoll's entries; connections are numbered from 0.
const LISTENER: u64 = u64::MAX;

/// Size of the payload that a broadcast delivers, in bytes.
pub const BROADCAST_BYTES: usize = 128;

/// What an event without an ack causes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// One frame to every connection.
    Broadcast,
    /// The frame that says that a task was created, to every connection.
    Tasks,
    /// A frame every 33 ms to the sender, for as long as it stays.
    Streams,
    /// Nothing: acks, handshakes and waiting are all there is.
    Echo,
}

/// Listens on `address`, announces itself on standard output and serves until it is killed.
pub fn serve(address: SocketAddr, role: Role) -> Result<()> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    process::announce(listener.local_addr()?, PATH)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut floor = Floor {
        listener,
        epoll,
        role,
        connections: Vec::new(),
        streams: BinaryHeap::new(),
        scratch: vec![0; 64 * 1024],
        frames: Frames::prepare(),
    };
    let mut events = vec![EpollEvent::empty(); 1024];
    loop {
        let ready = match floor.epoll.wait(&mut events, floor.time_to_next_piece()) {
            Err(nix::Error::EINTR) => 0,
            other => other?,
        };
        for event in &events[..ready] {
            match event.data() {
                LISTENER => floor.accept()?,
                index => floor.read(index as usize),
            }
        }
        floor.write_due_pieces();
    }
}

struct Floor {
    listener: TcpListener,
    epoll: Epoll,
    role: Role,
    /// Places are never used again: a floor lives for one measurement.
    connections: Vec<Option<Connection>>,
    streams: BinaryHeap<Reverse<(Instant, usize)>>,
    scratch: Vec<u8>,
    frames: Frames,
}

struct Connection {
    stream: TcpStream,
    partial: Vec<u8>,
    upgraded: bool,
}

struct Frames {
    /// The upgrade's response and the open packet behind it, as one write.
    welcome: Vec<u8>,
    connected: Vec<u8>,
    ack: Vec<u8>,
    typing: Vec<u8>,
    task: Vec<u8>,
    piece: Vec<u8>,
}

impl Frames {
    fn prepare() -> Self {
        let open = r#"0{"sid":"AAAAAAAAAAAAAAAAAAAB","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        let mut welcome = upgrade::response().into_bytes();
        welcome.extend(frame::plain_text(open));
        let empty = packet::typing_heard("", "u0");
        let agent = "a".repeat(BROADCAST_BYTES.saturating_sub(empty.len()));
        Self {
            welcome,
            connected: frame::plain_text(r#"40{"sid":"AAAAAAAAAAAAAAAAAAAA"}"#),
            ack: frame::plain_text(r#"431[{"ok":true}]"#),
            typing: frame::plain_text(&packet::typing_heard(&agent, "u0")),
            task: frame::plain_text(&packet::task_heard()),
            piece: frame::plain_text(&packet::piece_heard("a100")),
        }
    }
}

impl Floor {
    fn accept(&mut self) -> Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let index = self.connections.len();
            self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            self.connections.push(Some(Connection { stream, partial: Vec::new(), upgraded: false }));
        }
    }

    fn read(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        let mut triggers = 0;
        match (&connection.stream).read(&mut self.scratch) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(size) if size > 0 => match connection.digest(&self.scratch[..size], &self.frames) {
                Ok(events) => triggers = events,
                Err(_) => self.connections[index] = None,
            },
            _ => self.connections[index] = None,
        }
        for _ in 0..triggers {
            match self.role {
                Role::Broadcast | Role::Tasks => {
                    let frame =
                        if self.role == Role::Tasks { &self.frames.task } else { &self.frames.typing };
                    for connection in self.connections.iter().flatten() {
                        connection.write(frame);
                    }
                }
                Role::Streams => self.streams.push(Reverse((Instant::now() + CHUNK_DELAY, index))),
                Role::Echo => {}
            }
        }
    }

    /// In whole milliseconds, rounded up, as any server on epoll waits.
    fn time_to_next_piece(&self) -> EpollTimeout {
        let Some(Reverse((due, _))) = self.streams.peek() else { return EpollTimeout::NONE };
        let millis = due.saturating_duration_since(Instant::now()).as_micros().div_ceil(1000);
        EpollTimeout::try_from(millis as u64).unwrap_or(EpollTimeout::MAX)
    }

    fn write_due_pieces(&mut self) {
        if self.streams.is_empty() {
            return;
        }
        let now = Instant::now();
        while let Some(&Reverse((due, index))) = self.streams.peek().filter(|Reverse((due, _))| *due <= now) {
            self.streams.pop();
            if let Some(connection) = &self.connections[index] {
                connection.write(&self.frames.piece);
                self.streams.push(Reverse((due + CHUNK_DELAY, index)));
            }
        }
    }
}

impl Connection {
    /// Answers what has a canned answer and returns how many plain events there were.
    fn digest(&mut self, bytes: &[u8], frames: &Frames) -> Result<usize> {
        // Requests of the load generator arrive whole except in theory; then they are put together.
        let joined;
        let bytes = if self.partial.is_empty() {
            bytes
        } else {
            self.partial.extend_from_slice(bytes);
            joined = std::mem::take(&mut self.partial);
            &joined
        };
        let mut used = 0;
        if !self.upgraded {
            let Some(length) = upgrade::head_length(bytes)? else {
                self.partial = bytes.to_vec();
                return Ok(0);
            };
            used = length;
            self.upgraded = true;
            self.write(&frames.welcome);
        }
        let mut events = 0;
        while let Some(frame) = frame::decode(&bytes[used..])? {
            used += frame.length;
            match (frame.byte(0), frame.byte(1), frame.byte(2)) {
                (Some(b'4'), Some(b'0'), _) => self.write(&frames.connected),
                (Some(b'4'), Some(b'2'), Some(b'[')) => events += 1,
                (Some(b'4'), Some(b'2'), Some(b'0'..=b'9')) => {
                    self.write(&frames.ack);
                    // Messages ask for an ack and cause something as well; their id says so.
                    events += usize::from(frame.byte(2) == Some(b'2'));
                }
                _ => {}
            }
        }
        self.partial.extend_from_slice(&bytes[used..]);
        Ok(events)
    }

    /// A receiver that is gone or full misses the frame: the floor promises nothing. Half a frame would spoil all that
    /// follow, so it ends the connection and the load generator notices.
    fn write(&self, frame: &[u8]) {
        if (&self.stream).write(frame).is_ok_and(|written| written < frame.len()) {
            self.stream.shutdown(Shutdown::Both).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broadcast_delivers_the_agreed_size() {
        let frames = Frames::prepare();
        let typing = frame::decode(&frames.typing).unwrap().unwrap();
        assert_eq!(typing.payload.len(), BROADCAST_BYTES);
        assert!(packet::is_typing(&typing.payload[2..]));
    }
}

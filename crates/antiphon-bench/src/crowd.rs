//! Thousands of clients in one thread: raw sockets over epoll, as cheap as the kernel lets them be.
//!
//! A crowd does on its own what every client has to: upgrade, CONNECT, answer pings. What else it hears goes to the
//! scenario's closure, which may answer at once. Whatever no healthy server does (close, refuse, stop reading, send
//! half a frame for ever) ends the measurement with an error that says so.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::wire::frame::{self, Opcode};
use crate::wire::packet::{self, Packet};
use crate::wire::upgrade;

/// How many connections are on their way at the same time while a crowd arrives.
const ARRIVING: usize = 16;

/// How long a crowd waits for anything at all to happen before it gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    /// Host and port.
    pub address: SocketAddr,
    /// Path of Engine.IO, with or without a slash at its end.
    pub path: String,
}

/// Clients that share a thread. Each is known by the order in which it came, from 0.
pub struct Crowd {
    epoll: Epoll,
    clients: Vec<Client>,
    events: Vec<EpollEvent>,
    /// What is read goes here first; only beginnings of frames are kept per client.
    scratch: Vec<u8>,
    connected: usize,
    pong: Vec<u8>,
    wanted: Wanted,
    recover: bool,
}

/// The socket of the client that just heard something.
pub struct Mouth<'a>(&'a TcpStream);

struct Client {
    stream: TcpStream,
    stage: Stage,
    partial: Vec<u8>,
}

/// What a client's CONNECT is to be answered with. Anything else ends the measurement.
#[derive(Clone, Copy)]
enum Wanted {
    Welcome,
    /// A refusal with this message.
    Refusal(&'static str),
}

enum Stage {
    /// Sent the upgrade; CONNECTs with this frame once Engine.IO is open.
    Upgrading(Vec<u8>),
    Opening(Vec<u8>),
    Connecting,
    /// Its CONNECT was answered as it was to be.
    Connected,
}

impl Crowd {
    /// A crowd of nobody.
    pub fn new() -> Result<Self> {
        Self::who_want(Wanted::Welcome)
    }

    /// A crowd of nobody yet, who will all ask for recovery.
    pub fn who_recover() -> Result<Self> {
        Ok(Self { recover: true, ..Self::new()? })
    }

    /// A crowd of nobody yet, whose CONNECTs are all to be refused with `message`.
    pub fn turned_away(message: &'static str) -> Result<Self> {
        Self::who_want(Wanted::Refusal(message))
    }

    fn who_want(wanted: Wanted) -> Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            clients: Vec::new(),
            events: vec![EpollEvent::empty(); 1024],
            scratch: vec![0; 256 * 1024],
            connected: 0,
            pong: frame::masked_text("3"),
            wanted,
            recover: false,
        })
    }

    /// How many clients there are.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty()
    }

    /// Brings one client for each of `tokens` and returns when the last one's CONNECT is answered.
    ///
    /// Whatever the earlier ones hear meanwhile is ignored; their pings are answered.
    pub fn arrive(&mut self, door: &Door, tokens: impl IntoIterator<Item = String>) -> Result<()> {
        let request = upgrade::request(door.address, &door.path);
        let mut tokens = tokens.into_iter();
        let mut last = Instant::now();
        loop {
            while self.clients.len() - self.connected < ARRIVING {
                let Some(token) = tokens.next() else { break };
                self.knock(door.address, request.as_bytes(), &token)?;
            }
            if self.clients.len() == self.connected {
                return Ok(());
            }
            let before = self.connected;
            self.turn(Duration::from_secs(1), |_, _, _| Ok(()))?;
            if self.connected > before {
                last = Instant::now();
            } else if last.elapsed() > PATIENCE {
                bail!("{} clients wait for their CONNECT in vain", self.clients.len() - self.connected);
            }
        }
    }

    /// Sends finished frames as client `index`.
    pub fn send(&self, index: usize, frames: &[u8]) -> Result<()> {
        Mouth(&self.clients[index].stream).say(frames).with_context(|| format!("client {index}"))
    }

    /// Waits up to `wait` for something to read and gives every Socket.IO event and ack to `hear`, with the number of
    /// the client that heard it and its socket.
    pub fn turn(
        &mut self,
        wait: Duration,
        mut hear: impl FnMut(usize, Packet<'_>, Mouth<'_>) -> Result<()>,
    ) -> Result<()> {
        let wait = EpollTimeout::try_from(wait).unwrap_or(EpollTimeout::MAX);
        let ready = match self.epoll.wait(&mut self.events, wait) {
            Err(nix::Error::EINTR) => 0,
            other => other?,
        };
        for event in &self.events[..ready] {
            let index = event.data() as usize;
            let client = &mut self.clients[index];
            let was_connected = client.is_connected();
            client
                .read(&mut self.scratch, &self.pong, self.wanted, |packet, mouth| hear(index, packet, mouth))
                .with_context(|| format!("client {index} of {}", door_name(&client.stream)))?;
            self.connected += usize::from(!was_connected && client.is_connected());
        }
        Ok(())
    }

    /// Lets `hear` listen until it has heard enough.
    ///
    /// `hear` returns how much of what is `wanted` one packet was (0 or 1). Fails when nothing wanted came for a while.
    pub fn hear_all(
        &mut self,
        wanted: usize,
        mut hear: impl FnMut(usize, Packet<'_>, Mouth<'_>) -> Result<usize>,
    ) -> Result<()> {
        let mut heard = 0;
        let mut last = Instant::now();
        while heard < wanted {
            let before = heard;
            self.turn(Duration::from_secs(1), |index, packet, mouth| {
                heard += hear(index, packet, mouth)?;
                Ok(())
            })?;
            if heard > before {
                last = Instant::now();
            } else if last.elapsed() > PATIENCE {
                bail!("heard {heard} of {wanted}, then nothing for {} s", PATIENCE.as_secs());
            }
        }
        Ok(())
    }

    /// Lets `hear` listen for `duration`.
    pub fn hear_for(
        &mut self,
        duration: Duration,
        mut hear: impl FnMut(usize, Packet<'_>, Mouth<'_>) -> Result<()>,
    ) -> Result<()> {
        let start = Instant::now();
        while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| left.as_millis() > 0) {
            self.turn(left, &mut hear)?;
        }
        Ok(())
    }

    /// Every client says the frame that `frame` makes for it and waits for one ack, a few at a time.
    pub fn all_ask(&mut self, frame: impl Fn(usize) -> Vec<u8>) -> Result<()> {
        for start in (0..self.len()).step_by(ARRIVING) {
            let end = (start + ARRIVING).min(self.len());
            for index in start..end {
                self.send(index, &frame(index))?;
            }
            self.hear_all(end - start, |_, packet, _| match packet {
                Packet::Ack(ack) if packet::is_done(ack) => Ok(1),
                Packet::Ack(ack) => bail!("refused: {}", String::from_utf8_lossy(ack)),
                _ => Ok(0),
            })?;
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the product guards where it connects to; the bench connects to what it started itself"
    )]
    fn knock(&mut self, address: SocketAddr, request: &[u8], token: &str) -> Result<()> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let index = self.clients.len();
        self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
        Mouth(&stream).say(request)?;
        let connect = frame::masked_text(&if self.recover {
            packet::connect_to_recover(token)
        } else {
            packet::connect(token)
        });
        self.clients.push(Client { stream, stage: Stage::Upgrading(connect), partial: Vec::new() });
        Ok(())
    }
}

impl Mouth<'_> {
    /// Sends finished frames. Fails if the server leaves so much unread that the kernel takes no more.
    pub fn say(&self, frames: &[u8]) -> Result<()> {
        match (&mut &*self.0).write(frames) {
            Ok(written) if written == frames.len() => Ok(()),
            Ok(_) => bail!("the server stopped reading"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => bail!("the server stopped reading"),
            Err(error) => Err(error).context("sending"),
        }
    }
}

impl Client {
    fn is_connected(&self) -> bool {
        matches!(self.stage, Stage::Connected)
    }

    /// One read, and everything that it completed. What is left makes the socket readable again.
    fn read(
        &mut self,
        scratch: &mut [u8],
        pong: &[u8],
        wanted: Wanted,
        mut hear: impl FnMut(Packet<'_>, Mouth<'_>) -> Result<()>,
    ) -> Result<()> {
        let size = match (&self.stream).read(scratch) {
            Ok(0) => bail!("the server closed the connection"),
            Ok(size) => size,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(());
            }
            Err(error) => return Err(error).context("reading"),
        };
        if self.partial.is_empty() {
            let used = self.digest(&scratch[..size], pong, wanted, &mut hear)?;
            self.partial.extend_from_slice(&scratch[used..size]);
            return Ok(());
        }
        let mut bytes = std::mem::take(&mut self.partial);
        bytes.extend_from_slice(&scratch[..size]);
        let used = self.digest(&bytes, pong, wanted, &mut hear)?;
        bytes.drain(..used);
        self.partial = bytes;
        Ok(())
    }

    /// Returns how many of `bytes` are dealt with.
    fn digest(
        &mut self,
        bytes: &[u8],
        pong: &[u8],
        wanted: Wanted,
        hear: &mut impl FnMut(Packet<'_>, Mouth<'_>) -> Result<()>,
    ) -> Result<usize> {
        let mut used = 0;
        if let Stage::Upgrading(connect) = &mut self.stage {
            let Some(length) = upgrade::head_length(bytes)? else { return Ok(0) };
            upgrade::check_response(&bytes[..length])?;
            used = length;
            self.stage = Stage::Opening(std::mem::take(connect));
        }
        while let Some(frame) = frame::decode(&bytes[used..])? {
            used += frame.length;
            match frame.opcode {
                Opcode::Text => self.understand(frame.payload, pong, wanted, hear)?,
                Opcode::Ping => Mouth(&self.stream).say(&frame::masked_pong(frame.payload))?,
                Opcode::Close => bail!("the server said goodbye: {}", farewell(frame.payload)),
                Opcode::Binary | Opcode::Pong => {}
            }
        }
        Ok(used)
    }

    fn understand(
        &mut self,
        text: &[u8],
        pong: &[u8],
        wanted: Wanted,
        hear: &mut impl FnMut(Packet<'_>, Mouth<'_>) -> Result<()>,
    ) -> Result<()> {
        match (packet::read(text), &self.stage) {
            (Packet::Connected | Packet::Refused, Stage::Connecting) if wanted.is(text) => {
                self.stage = Stage::Connected;
            }
            (Packet::Connected, _) => bail!("the server let in whom it was to refuse"),
            (Packet::Open, Stage::Opening(connect)) => {
                Mouth(&self.stream).say(connect)?;
                self.stage = Stage::Connecting;
            }
            (Packet::Ping, _) => Mouth(&self.stream).say(pong)?,
            (Packet::Refused | Packet::Closed, _) => {
                bail!("the server refused: {}", String::from_utf8_lossy(text))
            }
            (packet @ (Packet::Event(_) | Packet::Ack(_)), Stage::Connected) => {
                hear(packet, Mouth(&self.stream))?
            }
            _ => {}
        }
        Ok(())
    }
}

impl Wanted {
    /// Whether the answer to a CONNECT, `text`, is the one that is wanted.
    fn is(self, text: &[u8]) -> bool {
        match (packet::read(text), self) {
            (Packet::Connected, Self::Welcome) => true,
            (Packet::Refused, Self::Refusal(message)) => packet::refuses_with(text, message),
            _ => false,
        }
    }
}

fn farewell(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            format!("{} {}", u16::from_be_bytes([*high, *low]), String::from_utf8_lossy(reason))
        }
        _ => "without a code".to_owned(),
    }
}

fn door_name(stream: &TcpStream) -> String {
    stream.peer_addr().map_or_else(|_| "a lost server".to_owned(), |address| address.to_string())
}

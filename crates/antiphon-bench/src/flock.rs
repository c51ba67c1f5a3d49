//! Clients that are lost and come back by themselves, and what they hear and miss meanwhile.
//!
//! Thousands in one thread, over epoll. Each comes back as the official JavaScript client does: after one second at first, twice
//! as much each time, five at most, and half of that more or less by chance. What they hear is numbered: an event has `@number
//! nanoseconds@` somewhere in it, counted from 1 without a hole, sent at that time of the monotonic clock. So each client can say
//! what it missed and what it heard twice, and how late everything was.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::statistics::percentile;
use crate::wire::frame::{self, Opcode};
use crate::wire::packet::{self, Packet};
use crate::wire::upgrade;

/// How many clients are on their way at the same time while the flock gathers; afterwards everybody comes when they come.
const GATHERING: usize = 64;

/// How long one try to come back may take, as in the official client.
const TRY: Duration = Duration::from_secs(20);

/// How long the loop waits for something to happen before it looks at its clock and its orders.
const GLANCE: u64 = 20;

/// Latencies that are kept between two reports.
const KEPT: usize = 4 << 20;

/// What a flock is and how it behaves.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where they go, in turn: one server, or several doors to it.
    pub addresses: Vec<SocketAddr>,
    /// Path of Engine.IO.
    pub path: String,
    /// What they CONNECT with, in turn.
    pub tokens: Vec<String>,
    /// How many they are.
    pub clients: usize,
    /// Whether they ask for what they missed.
    pub recover: bool,
    /// Bytes of their receive buffers; the kernel's own choice if not given.
    pub receive_buffer: Option<usize>,
    /// Whether they read nothing any more once they are connected.
    pub mute: bool,
}

/// What a flock has to say.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Connected now.
    pub connected: usize,
    /// Numbered events heard since the start, each client's counted.
    pub heard: u64,
    /// Numbers that were passed over.
    pub missed: u64,
    /// Numbers heard again, or too late.
    pub twice: u64,
    /// The smallest and the largest number heard last by anybody.
    pub last: (u64, u64),
    /// Connections lost, and made again.
    pub lost: u64,
    /// See `lost`.
    pub back: u64,
    /// Of those made again, how many the server recognised.
    pub recovered: u64,
    /// CONNECTs that were refused, and HTTP answers other than an upgrade.
    pub refused: u64,
    /// Tries that failed, for whatever reason.
    pub failed: u64,
    /// From the start of a try to the answer to its CONNECT, in ms, of those since the last report.
    pub handshake: Spread,
    /// From an event's time to its arrival, in µs, of those since the last report.
    pub latency: Spread,
}

/// Half of the values are not larger than `p50`, and so on.
#[derive(Debug, Default, Serialize)]
#[expect(missing_docs, reason = "their names say what they are")]
pub struct Spread {
    pub count: usize,
    pub p50: u32,
    pub p99: u32,
    pub most: u32,
}

/// Runs a flock until `orders` has no sender any more. `report` has it `tell` a [`Report`], `glance` only how many are
/// connected and have come back, and the smallest number that anybody heard last; `quit` ends it.
pub fn run(plan: &Plan, orders: &Receiver<String>, mut tell: impl FnMut(&Value) -> Result<()>) -> Result<()> {
    let mut flock = Flock::new(plan)?;
    let mut gathered = false;
    loop {
        match orders.try_recv().as_deref() {
            Ok("report") => tell(&serde_json::to_value(flock.report())?)?,
            Ok("glance") => {
                let least = flock.last().0;
                tell(&json!({"connected": flock.connected, "back": flock.counts.back, "least": least}))?
            }
            Ok("quit") | Err(TryRecvError::Disconnected) => return Ok(()),
            Ok(other) => bail!("a flock does not know what {other:?} is"),
            Err(TryRecvError::Empty) => {}
        }
        if !gathered {
            flock.gather()?;
            if flock.connected == plan.clients {
                gathered = true;
                tell(&json!({"gathered": plan.clients}))?;
            }
        }
        flock.send_off()?;
        flock.turn()?;
    }
}

struct Flock<'a> {
    plan: &'a Plan,
    epoll: Epoll,
    birds: Vec<Bird>,
    /// Who has set out for the first time.
    started: usize,
    connected: usize,
    /// Who sets out again, and when.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Who gives a try up, and when; outdated entries are passed over.
    tries: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    events: Vec<EpollEvent>,
    scratch: Vec<u8>,
    pong: Vec<u8>,
    chance: u64,
    counts: Report,
    handshakes: Vec<u32>,
    latencies: Vec<u32>,
}

#[derive(Default)]
struct Bird {
    socket: Option<Socket>,
    stage: Stage,
    partial: Vec<u8>,
    /// Counts its tries, so that a deadline knows whose it is.
    number: u32,
    set_out: Option<Instant>,
    /// Tries since it was last connected.
    attempts: u32,
    was_connected: bool,
    last: u64,
    /// What recovery asks for: the session's private id, and the last event's offset.
    pid: Option<String>,
    offset: Option<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Away,
    Reaching,
    Upgrading,
    Opening,
    Connecting,
    Connected,
}

impl<'a> Flock<'a> {
    fn new(plan: &'a Plan) -> Result<Self> {
        Ok(Self {
            plan,
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            birds: (0..plan.clients).map(|_| Bird::default()).collect(),
            started: 0,
            connected: 0,
            due: BinaryHeap::new(),
            tries: BinaryHeap::new(),
            events: vec![EpollEvent::empty(); 1024],
            scratch: vec![0; 256 * 1024],
            pong: frame::masked_text("3"),
            chance: u64::from(std::process::id()) << 20 | 1,
            counts: Report::default(),
            handshakes: Vec::new(),
            latencies: Vec::new(),
        })
    }

    /// Has a few more set out for the first time.
    fn gather(&mut self) -> Result<()> {
        while self.started < self.birds.len() && self.started - self.connected.min(self.started) < GATHERING {
            self.set_out(self.started)?;
            self.started += 1;
        }
        Ok(())
    }

    /// Has everybody set out whose time has come, and those give up whose try takes too long.
    fn send_off(&mut self) -> Result<()> {
        let now = Instant::now();
        while let Some(&Reverse((_, index))) = self.due.peek().filter(|Reverse((at, _))| *at <= now) {
            self.due.pop();
            self.set_out(index)?;
        }
        while let Some(&Reverse((_, index, number))) =
            self.tries.peek().filter(|Reverse((at, ..))| *at <= now)
        {
            self.tries.pop();
            let bird = &self.birds[index];
            if bird.number == number && bird.stage != Stage::Connected && bird.stage != Stage::Away {
                self.lose(index);
            }
        }
        Ok(())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the product guards where it connects to; the bench connects to what it started itself"
    )]
    fn set_out(&mut self, index: usize) -> Result<()> {
        let address = self.plan.addresses[index % self.plan.addresses.len()];
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).context("a socket")?;
        if let Some(bytes) = self.plan.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        let now = Instant::now();
        let bird = &mut self.birds[index];
        bird.number += 1;
        bird.set_out = Some(now);
        bird.partial.clear();
        bird.stage = Stage::Reaching;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::errno::Errno::EINPROGRESS as i32) => {}
            Err(_) => {
                self.lose(index);
                return Ok(());
            }
        }
        self.epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLOUT, index as u64))?;
        self.tries.push(Reverse((now + TRY, index, bird.number)));
        bird.socket = Some(socket);
        Ok(())
    }

    fn turn(&mut self) -> Result<()> {
        let ready = match self.epoll.wait(&mut self.events, EpollTimeout::try_from(GLANCE)?) {
            Err(nix::Error::EINTR) => 0,
            other => other?,
        };
        for position in 0..ready {
            let index = self.events[position].data() as usize;
            let goes_on = match self.birds[index].stage {
                Stage::Away => Ok(true),
                Stage::Reaching => self.reached(index),
                _ => self.read(index),
            };
            // Whatever went wrong, the client comes back; what it missed by that is what counts.
            if !goes_on.unwrap_or(false) {
                self.lose(index);
            }
        }
        Ok(())
    }

    fn reached(&mut self, index: usize) -> Result<bool> {
        let address = self.plan.addresses[index % self.plan.addresses.len()];
        let bird = &mut self.birds[index];
        let Some(socket) = &bird.socket else { return Ok(false) };
        if socket.take_error()?.is_some() {
            return Ok(false);
        }
        let mut event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        self.epoll.modify(socket, &mut event)?;
        bird.stage = Stage::Upgrading;
        say(socket, upgrade::request(address, &self.plan.path).as_bytes())
    }

    /// One read, and everything that it completed; `false` when the connection is over.
    fn read(&mut self, index: usize) -> Result<bool> {
        let Some(socket) = &self.birds[index].socket else { return Ok(false) };
        let size = match (&mut &*socket).read(&mut self.scratch) {
            Ok(0) => return Ok(false),
            Ok(size) => size,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(true);
            }
            Err(_) => return Ok(false),
        };
        let mut bytes = std::mem::take(&mut self.birds[index].partial);
        bytes.extend_from_slice(&self.scratch[..size]);
        let mut used = 0;
        if self.birds[index].stage == Stage::Upgrading {
            let Some(length) = upgrade::head_length(&bytes)? else {
                self.birds[index].partial = bytes;
                return Ok(true);
            };
            if upgrade::check_response(&bytes[..length]).is_err() {
                self.counts.refused += 1;
                return Ok(false);
            }
            used = length;
            self.birds[index].stage = Stage::Opening;
        }
        while let Some(frame) = frame::decode(&bytes[used..])? {
            used += frame.length;
            let goes_on = match frame.opcode {
                Opcode::Text => self.understand(index, frame.payload)?,
                Opcode::Close => false,
                Opcode::Binary | Opcode::Ping | Opcode::Pong => true,
            };
            if !goes_on {
                return Ok(false);
            }
        }
        bytes.drain(..used);
        // An idle client keeps nothing.
        self.birds[index].partial = if bytes.is_empty() { Vec::new() } else { bytes };
        Ok(true)
    }

    fn understand(&mut self, index: usize, text: &[u8]) -> Result<bool> {
        let bird = &mut self.birds[index];
        let Some(socket) = &bird.socket else { return Ok(false) };
        match (packet::read(text), bird.stage) {
            (Packet::Open, Stage::Opening) => {
                let token = &self.plan.tokens[index % self.plan.tokens.len()];
                bird.stage = Stage::Connecting;
                let connect = connect(token, self.plan.recover, bird);
                return say(socket, &frame::masked_text(&connect));
            }
            (Packet::Ping, _) => return say(socket, &self.pong),
            (Packet::Connected, Stage::Connecting) => self.arrived(index, text)?,
            (Packet::Refused, _) => {
                self.counts.refused += 1;
                return Ok(false);
            }
            (Packet::Closed, _) => return Ok(false),
            // What a recovered session has missed may come before the answer to its CONNECT.
            (Packet::Event(event), Stage::Connecting | Stage::Connected) => self.hear(index, event),
            _ => {}
        }
        Ok(true)
    }

    fn arrived(&mut self, index: usize, text: &[u8]) -> Result<()> {
        let bird = &mut self.birds[index];
        bird.stage = Stage::Connected;
        bird.attempts = 0;
        let took = bird.set_out.map_or(0, |at| at.elapsed().as_millis());
        self.handshakes.push(u32::try_from(took).unwrap_or(u32::MAX));
        self.connected += 1;
        let said: Value = serde_json::from_slice(text.get(2..).unwrap_or_default()).unwrap_or_default();
        let pid = said["pid"].as_str().map(str::to_owned);
        if bird.was_connected {
            self.counts.back += 1;
            self.counts.recovered += u64::from(pid.is_some() && pid == bird.pid);
        }
        bird.was_connected = true;
        if pid != bird.pid {
            bird.offset = None;
        }
        bird.pid = pid;
        if self.plan.mute
            && let Some(socket) = &bird.socket
        {
            self.epoll.modify(socket, &mut EpollEvent::new(EpollFlags::empty(), index as u64))?;
        }
        Ok(())
    }

    fn hear(&mut self, index: usize, event: &[u8]) {
        let bird = &mut self.birds[index];
        if bird.pid.is_some()
            && let Some(offset) = offset(event)
        {
            bird.offset = Some(offset);
        }
        let Some((number, sent)) = numbered(event) else { return };
        self.counts.heard += 1;
        if number <= bird.last {
            self.counts.twice += 1;
            return;
        }
        self.counts.missed += number - bird.last - 1;
        bird.last = number;
        if self.latencies.len() < KEPT {
            let late = monotonic().saturating_sub(sent) / 1_000;
            self.latencies.push(u32::try_from(late).unwrap_or(u32::MAX));
        }
    }

    /// The connection is over, or the try to make one; the client comes back in its own time.
    fn lose(&mut self, index: usize) {
        let bird = &mut self.birds[index];
        if bird.stage == Stage::Connected {
            self.connected -= 1;
            self.counts.lost += 1;
        } else {
            self.counts.failed += 1;
        }
        bird.stage = Stage::Away;
        // Closing it takes it out of the epoll as well.
        bird.socket = None;
        bird.partial = Vec::new();
        let wait = back_off(bird.attempts, &mut self.chance);
        bird.attempts += 1;
        self.due.push(Reverse((Instant::now() + wait, index)));
    }

    /// The smallest and the largest number that anybody heard last.
    fn last(&self) -> (u64, u64) {
        let numbers = || self.birds.iter().map(|bird| bird.last);
        (numbers().min().unwrap_or_default(), numbers().max().unwrap_or_default())
    }

    fn report(&mut self) -> Report {
        Report {
            connected: self.connected,
            last: self.last(),
            handshake: spread(&mut std::mem::take(&mut self.handshakes)),
            latency: spread(&mut std::mem::take(&mut self.latencies)),
            ..self.counts
        }
    }
}

/// CONNECT as the official client says it: what recovery asks for comes first.
fn connect(token: &str, recover: bool, bird: &Bird) -> String {
    let mut auth = serde_json::Map::new();
    if let (true, Some(pid)) = (recover, &bird.pid) {
        auth.insert("pid".into(), pid.as_str().into());
        auth.insert("offset".into(), bird.offset.as_deref().map_or(Value::Null, Value::from));
    }
    auth.insert("token".into(), token.into());
    if recover {
        auth.insert("recover".into(), true.into());
    }
    format!("40{}", Value::from(auth))
}

/// The number and the time of a numbered event.
fn numbered(event: &[u8]) -> Option<(u64, u64)> {
    let start = event.iter().position(|byte| *byte == b'@')? + 1;
    let length = event[start..].iter().position(|byte| *byte == b'@')?;
    let text = std::str::from_utf8(&event[start..start + length]).ok()?;
    let (number, sent) = text.split_once(' ')?;
    Some((number.parse().ok()?, sent.parse().ok()?))
}

/// The offset of an event: its last argument, if that is text and there is another before it.
fn offset(event: &[u8]) -> Option<String> {
    let rest = event.strip_suffix(b"\"]")?;
    let start = rest.iter().rposition(|byte| *byte == b'"')?;
    let before = rest[..start].strip_suffix(b",")?;
    // After the name alone it would be the event's only argument.
    (before.contains(&b',')).then(|| String::from_utf8_lossy(&rest[start + 1..]).into_owned())
}

/// Sends a few bytes, which the kernel always takes; `false` when it does not.
fn say(socket: &Socket, bytes: &[u8]) -> Result<bool> {
    Ok(matches!((&mut &*socket).write(bytes), Ok(written) if written == bytes.len()))
}

/// How long to wait before try number `attempts`, counted from 0, as the official client does by default.
fn back_off(attempts: u32, chance: &mut u64) -> Duration {
    // xorshift64: any spread does.
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    let whole = 1_000 << attempts.min(10);
    let swing = whole / 2;
    let by_chance = *chance % (2 * swing);
    Duration::from_millis((whole - swing + by_chance).min(5_000))
}

/// Nanoseconds of the clock that all processes share.
fn monotonic() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap_or_else(|_| nix::sys::time::TimeSpec::new(0, 0));
    u64::try_from(now.tv_sec()).unwrap_or_default() * 1_000_000_000
        + u64::try_from(now.tv_nsec()).unwrap_or_default()
}

fn spread(values: &mut [u32]) -> Spread {
    Spread {
        count: values.len(),
        p50: percentile(values, 0.5).unwrap_or_default(),
        p99: percentile(values, 0.99).unwrap_or_default(),
        most: percentile(values, 1.0).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numbered_event_is_read_wherever_the_number_stands() {
        let event = br#"["system:notification",{"type":"info","title":"@17 123456789@","message":"x@y"}]"#;
        assert_eq!(numbered(event), Some((17, 123_456_789)));
        assert_eq!(numbered(br#"["n","@1 2@"]"#), Some((1, 2)));
        assert_eq!(numbered(br#"["n",{"mail":"a@b"}]"#), None);
        assert_eq!(numbered(b"[]"), None);
    }

    #[test]
    fn an_offset_is_text_behind_the_arguments() {
        assert_eq!(offset(br#"["n",{"a":1},"1700-abc"]"#).as_deref(), Some("1700-abc"));
        assert_eq!(offset(br#"["n",{"a":"b"}]"#), None);
        assert_eq!(offset(br#"["n","only"]"#), None);
    }

    #[test]
    fn whoever_recovers_says_what_they_have() {
        let mut bird = Bird::default();
        assert_eq!(connect("k", false, &bird), r#"40{"token":"k"}"#);
        assert_eq!(connect("k", true, &bird), r#"40{"recover":true,"token":"k"}"#);
        bird.pid = Some("p".into());
        bird.offset = Some("o".into());
        assert_eq!(connect("k", true, &bird), r#"40{"offset":"o","pid":"p","recover":true,"token":"k"}"#);
    }

    #[test]
    fn a_client_waits_longer_each_time_and_never_too_long() {
        let mut chance = 1;
        for attempts in 0..40 {
            let (least, most) = (500_u64 << attempts.min(10), 1_500_u64 << attempts.min(10));
            for _ in 0..100 {
                let wait = back_off(attempts, &mut chance).as_millis() as u64;
                assert!((least.min(5_000)..=most.min(5_000)).contains(&wait), "{wait} at {attempts}");
            }
        }
    }
}

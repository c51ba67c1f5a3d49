//! What recovery costs a room: those who do not ask for it, and those who do.
//!
//! Two rooms are on one server and take turns: one on a mount without recovery, one on a mount with it. In each somebody says
//! something, and everybody there hears it and the agent's answer, which is kept for whoever asked for recovery. What counts is the
//! median of what neighbouring turns differ by, which a machine whose speed drifts cannot move.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::handshake::cpu_when_still;
use super::{Cast, Pace, micros_each};
use crate::crowd::{Crowd, Door};
use crate::process::Server;
use crate::product::UNRECOVERED_PATH;
use crate::statistics::median;
use crate::wire::frame;
use crate::wire::packet::{self, Packet};

/// How many come to one room before the other one's turn.
const TOGETHER: usize = 20;

/// Fewer turns than this are no measurement, however long they take.
const FEWEST_TURNS: usize = 5;

/// What is asked about recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// What a delivery costs on a mount with `recovery = "never"`, in µs of CPU.
    Without,
    /// What a delivery costs more on a mount with `recovery = "asked"` where nobody asks, in percent.
    Unasked,
    /// What it costs more where everybody asks, in percent.
    Asked,
    /// How many bytes an event is longer on a mount with `recovery = "asked"`, for clients that do not ask.
    Bytes,
}

/// A person for each room, with an agent to talk to. Both have ids of one length.
pub fn cast() -> Cast {
    Cast { people: 2, agents: 2, chunk_delay: Duration::from_millis(1), ..Cast::NOBODY }
}

/// Answers `question` for rooms of so many `receivers`.
pub fn run(server: &Server, cast: &Cast, receivers: usize, question: Question, pace: Pace) -> Result<f64> {
    let unrecovered = Door { address: server.door().address, path: UNRECOVERED_PATH.to_owned() };
    let newcomers = if question == Question::Asked { Crowd::who_recover()? } else { Crowd::new()? };
    let mut without = Room::of(Crowd::new()?, &unrecovered, cast, 0);
    let mut with = Room::of(newcomers, server.door(), cast, 1);
    // In turn, a few at a time: who came later is somewhere else in the server's memory, which alone makes a room up to a sixth
    // slower or faster than another one.
    for come in (0..receivers).step_by(TOGETHER) {
        let more = TOGETHER.min(receivers - come);
        let mut both = [&mut without, &mut with];
        both.rotate_left(come / TOGETHER % 2);
        both.into_iter().try_for_each(|room| room.arrive(cast, more))?;
    }
    without.join(cast)?;
    with.join(cast)?;
    take_turns(server, &mut without, &mut with, pace.warm_up)?;
    let turns = take_turns(server, &mut without, &mut with, pace.window)?;
    let figure = |figure: fn(&(Turn, Turn)) -> f64| median(&turns.iter().map(figure).collect::<Vec<_>>());
    let found = match question {
        Question::Without => figure(|(without, _)| without.micros),
        Question::Unasked | Question::Asked => {
            figure(|(without, with)| (with.micros / without.micros - 1.0) * 100.0)
        }
        Question::Bytes => figure(|(without, with)| with.bytes - without.bytes),
    };
    found.context("nobody said anything")
}

/// Lets the rooms talk in turn for `duration`.
fn take_turns(
    server: &Server,
    without: &mut Room,
    with: &mut Room,
    duration: Duration,
) -> Result<Vec<(Turn, Turn)>> {
    let start = Instant::now();
    let mut turns = Vec::new();
    while start.elapsed() < duration || turns.len() < FEWEST_TURNS {
        // Whoever comes second finds other caches than the first: that must not be the same one each time.
        let turn = if turns.len() % 2 == 0 {
            let first = without.talk(server)?;
            (first, with.talk(server)?)
        } else {
            let first = with.talk(server)?;
            (without.talk(server)?, first)
        };
        turns.push(turn);
    }
    Ok(turns)
}

/// What one message came to, with all that follows it.
struct Turn {
    /// CPU of the server per delivery, in µs.
    micros: f64,
    /// Bytes per delivery.
    bytes: f64,
}

/// Connections that listen to one conversation.
struct Room {
    crowd: Crowd,
    door: Door,
    /// Which person all of them are.
    number: usize,
    message: Vec<u8>,
}

impl Room {
    /// One whose connections are person `number` and come through `door`. There are none yet.
    fn of(crowd: Crowd, door: &Door, cast: &Cast, number: usize) -> Self {
        let message = frame::masked_text(&packet::message(&cast.agent(number), "hello"));
        Self { crowd, door: door.clone(), number, message }
    }

    /// So many more come.
    fn arrive(&mut self, cast: &Cast, more: usize) -> Result<()> {
        self.crowd.arrive(&self.door, (0..more).map(|_| cast.token(self.number)))
    }

    /// All of them join the conversation.
    fn join(&mut self, cast: &Cast) -> Result<()> {
        let join = frame::masked_text(&packet::join(&cast.agent(self.number)));
        self.crowd.all_ask(|_| join.clone()).context("joining the room")
    }

    /// One of them says something; ends when everybody has heard the whole answer.
    fn talk(&mut self, server: &Server) -> Result<Turn> {
        let before = cpu_when_still(server, &mut self.crowd)?;
        let (mut deliveries, mut bytes) = (0, 0_usize);
        self.crowd.send(0, &self.message)?;
        self.crowd
            .hear_all(self.crowd.len(), |_, packet, _| match packet {
                Packet::Event(event) => {
                    deliveries += 1;
                    bytes += event.len();
                    Ok(usize::from(packet::is_end_of_answer(event)))
                }
                Packet::Ack(ack) if !packet::is_done(ack) => {
                    bail!("refused: {}", String::from_utf8_lossy(ack))
                }
                _ => Ok(0),
            })
            .context("waiting for the answer")?;
        let cpu = cpu_when_still(server, &mut self.crowd)? - before;
        Ok(Turn { micros: micros_each(cpu, deliveries), bytes: bytes as f64 / deliveries as f64 })
    }
}

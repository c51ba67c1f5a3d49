//! What a question with an ack costs, and how long the unlucky wait for theirs.

use anyhow::Result;

use super::{Cast, Pace, closed_loop, micros_each};
use crate::crowd::Crowd;
use crate::process::Server;
use crate::wire::frame;
use crate::wire::packet;

/// How questions were answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Echo {
    /// CPU of the server per round trip, in µs.
    pub micros: f64,
    /// Time from question to ack that 99 of 100 did not exceed, in ms.
    pub p99_millis: f64,
}

/// Every client asks to leave a room that it is not in: nothing but the way there and back.
pub fn run(server: &Server, cast: &Cast, clients: usize, pace: Pace) -> Result<Echo> {
    let mut crowd = Crowd::new()?;
    crowd.arrive(server.door(), cast.tokens(0..clients))?;
    let questions: Vec<Vec<u8>> =
        (0..clients).map(|index| frame::masked_text(&packet::leave(&cast.agent(index)))).collect();
    let rounds = closed_loop::run(server, &mut crowd, &questions, pace)?;
    Ok(Echo { micros: micros_each(rounds.cpu, rounds.answers), p99_millis: rounds.p99_millis })
}

//! How many messages a second are stored before they are acked, and how long the unlucky wait.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Cast, Pace, closed_loop};
use crate::crowd::Crowd;
use crate::process::Server;
use crate::wire::frame;
use crate::wire::packet;

/// How messages were stored.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Durability {
    /// Acked messages per second.
    pub per_second: f64,
    /// Time from message to ack that 99 of 100 did not exceed, in ms.
    pub p99_millis: f64,
}

/// Every sender writes to an agent of its own. The agents' answers are stored as well, but not counted.
pub fn run(server: &Server, cast: &Cast, senders: usize, pace: Pace) -> Result<Durability> {
    let mut crowd = Crowd::new()?;
    crowd.arrive(server.door(), cast.tokens(0..senders))?;
    let messages: Vec<Vec<u8>> =
        (0..senders).map(|index| frame::masked_text(&packet::message(&cast.agent(index), "hello"))).collect();
    let rounds = closed_loop::run(server, &mut crowd, &messages, pace)?;
    let per_second = rounds.answers as f64 / rounds.elapsed.as_secs_f64();
    Ok(Durability { per_second, p99_millis: rounds.p99_millis })
}

//! What one delivery of a broadcast costs: everybody in a room hears what one of them says.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Cast, Pace, micros_each};
use crate::crowd::Crowd;
use crate::floor::BROADCAST_BYTES;
use crate::process::Server;
use crate::wire::frame;
use crate::wire::packet::{self, Packet};

/// Fewer volleys than this are no measurement, however long they take.
const FEWEST_VOLLEYS: usize = 5;

/// One person with one agent, whose id is so long that a delivered event has the agreed size.
pub fn cast() -> Cast {
    let cast = Cast { people: 1, agents: 1, ..Cast::NOBODY };
    let without = packet::typing_heard("", &cast.person(0)).len();
    Cast { agent_id_length: BROADCAST_BYTES - without, ..cast }
}

/// CPU of the server per delivery, in µs, with `in_flight` broadcasts sent at once and the next ones when all are heard.
pub fn run(server: &Server, cast: &Cast, receivers: usize, in_flight: usize, pace: Pace) -> Result<f64> {
    let agent = cast.agent(0);
    let mut crowd = Crowd::new()?;
    crowd.arrive(server.door(), (0..receivers).map(|_| cast.token(0)))?;
    let join = frame::masked_text(&packet::join(&agent));
    crowd.all_ask(|_| join.clone()).context("joining the room")?;

    let volley = frame::masked_text(&packet::typing(&agent)).repeat(in_flight);
    repeat(&mut crowd, &volley, in_flight, pace.warm_up)?;
    let before = server.cpu()?;
    let deliveries = repeat(&mut crowd, &volley, in_flight, pace.window)?;
    Ok(micros_each(server.cpu()? - before, deliveries))
}

/// Sends volley after volley for `duration`; returns how many events were heard.
fn repeat(crowd: &mut Crowd, volley: &[u8], in_flight: usize, duration: Duration) -> Result<usize> {
    let each = crowd.len() * in_flight;
    let start = Instant::now();
    let mut volleys = 0;
    while start.elapsed() < duration || volleys < FEWEST_VOLLEYS {
        crowd.send(0, volley)?;
        crowd
            .hear_all(each, |_, packet, _| match packet {
                Packet::Event(event) if packet::is_typing(event) => Ok(1),
                _ => Ok(0),
            })
            .context("waiting for a broadcast")?;
        volleys += 1;
    }
    Ok(volleys * each)
}

//! What a connection weighs that does nothing: authenticated, and in the rooms that its server puts everybody into.

use std::time::Duration;

use anyhow::Result;

use super::Cast;
use crate::crowd::Crowd;
use crate::process::Server;

/// What a server gets to give back what it needed for the handshakes only.
const SETTLE: Duration = Duration::from_secs(1);

/// Every connection is another person with another key. A few more are there before the weighing begins, so that what
/// a server needs once is not counted.
pub fn cast(connections: usize) -> Cast {
    Cast { people: connections + connections.div_ceil(20), ..Cast::NOBODY }
}

/// Resident memory per connection, in KiB, the memory for their people included.
pub fn run(server: &Server, cast: &Cast, connections: usize) -> Result<f64> {
    let mut crowd = Crowd::new()?;
    let settled = cast.people - connections;
    crowd.arrive(server.door(), cast.tokens(0..settled))?;
    crowd.hear_for(SETTLE, |_, _, _| Ok(()))?;
    let before = server.resident()?;
    crowd.arrive(server.door(), cast.tokens(settled..cast.people))?;
    crowd.hear_for(SETTLE, |_, _, _| Ok(()))?;
    let grown = server.resident()? as f64 - before as f64;
    Ok(grown / 1024.0 / connections as f64)
}

//! What it costs to let somebody in: TCP, WebSocket upgrade, Engine.IO open, Socket.IO CONNECT with a key.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Cast, micros_each};
use crate::crowd::Crowd;
use crate::process::Server;

/// How many come before they all leave again. Few, because in the dialect a newcomer is news to everybody who is there,
/// and in a full house this would measure the news.
pub(super) const WAVE: usize = 8;

/// How long a server must do nothing until what it did is read from its clock.
const QUIET: Duration = Duration::from_millis(2);

/// How long to wait for that at most: some servers are never quite still.
const PATIENCE: Duration = Duration::from_millis(100);

/// One wave of people, who come again and again.
pub fn cast() -> Cast {
    Cast { people: WAVE, ..Cast::NOBODY }
}

/// CPU of the server per newcomer, in µs, from the TCP connection until it is still again; leaving is not counted.
pub fn run(server: &Server, cast: &Cast, connections: usize) -> Result<f64> {
    let waves = connections.div_ceil(WAVE);
    for _ in 0..waves.div_ceil(4) {
        one_wave(server, Crowd::new()?, cast.tokens(0..WAVE))?;
    }
    let mut cpu = Duration::ZERO;
    for _ in 0..waves {
        cpu += one_wave(server, Crowd::new()?, cast.tokens(0..WAVE))?;
    }
    Ok(micros_each(cpu, waves * WAVE))
}

/// CPU of the server while one client comes for each of `tokens`; then they leave.
pub(super) fn one_wave(
    server: &Server,
    mut crowd: Crowd,
    tokens: impl IntoIterator<Item = String>,
) -> Result<Duration> {
    let before = cpu_when_still(server, &mut crowd)?;
    crowd.arrive(server.door(), tokens)?;
    Ok(cpu_when_still(server, &mut crowd)? - before)
}

/// The clock of a process that runs lags behind by up to a tick; that of one that waits is exact.
pub(super) fn cpu_when_still(server: &Server, crowd: &mut Crowd) -> Result<Duration> {
    let start = Instant::now();
    let mut last = server.cpu()?;
    loop {
        crowd.hear_for(QUIET, |_, _, _| Ok(()))?;
        let now = server.cpu()?;
        if now == last || start.elapsed() > PATIENCE {
            return Ok(now);
        }
        last = now;
    }
}

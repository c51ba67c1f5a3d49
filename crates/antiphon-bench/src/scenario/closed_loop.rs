//! Clients that each have one question open: the next is asked when the last one is answered.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Pace;
use crate::crowd::Crowd;
use crate::process::Server;
use crate::statistics::percentile;
use crate::wire::packet::{self, Packet};

/// What happened in the window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rounds {
    /// Answers that arrived.
    pub answers: usize,
    /// CPU of the server meanwhile.
    pub cpu: Duration,
    /// Length of the window.
    pub elapsed: Duration,
    /// Time from question to answer that 99 of 100 did not exceed, in ms.
    pub p99_millis: f64,
}

/// Client `n` of `crowd` asks `questions[n]`, a frame that wants an ack, again and again.
///
/// Fails at the first ack that is a refusal.
pub fn run(server: &Server, crowd: &mut Crowd, questions: &[Vec<u8>], pace: Pace) -> Result<Rounds> {
    let mut asked = vec![Instant::now(); questions.len()];
    for (index, question) in questions.iter().enumerate() {
        asked[index] = Instant::now();
        crowd.send(index, question)?;
    }
    let mut keep_asking = |duration: Duration| {
        let mut latencies: Vec<u32> = Vec::with_capacity(1 << 18);
        crowd.hear_for(duration, |index, packet, mouth| {
            let Packet::Ack(ack) = packet else { return Ok(()) };
            if !packet::is_done(ack) {
                bail!("refused: {}", String::from_utf8_lossy(ack));
            }
            let now = Instant::now();
            latencies.push((now - asked[index]).as_micros() as u32);
            asked[index] = now;
            mouth.say(&questions[index])
        })?;
        anyhow::Ok(latencies)
    };
    keep_asking(pace.warm_up)?;
    let (start, before) = (Instant::now(), server.cpu()?);
    let mut latencies = keep_asking(pace.window)?;
    let (elapsed, cpu) = (start.elapsed(), server.cpu()? - before);
    let p99 = percentile(&mut latencies, 0.99).context("nothing was answered")?;
    Ok(Rounds { answers: latencies.len(), cpu, elapsed, p99_millis: f64::from(p99) / 1000.0 })
}

//! What one piece of an agent's answer costs when many answers arrive at the same time, each in a room of its own.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Cast, Pace, micros_each};
use crate::crowd::Crowd;
use crate::process::Server;
use crate::wire::frame;
use crate::wire::packet::{self, Packet};

/// Over how long the answers are asked for, so that their pieces do not all come at once afterwards.
const SPREAD: Duration = Duration::from_secs(1);

/// How long the first piece of the last answer may take.
const FIRST_PIECE: Duration = Duration::from_secs(15);

/// CPU of the server per piece that was heard, in µs, while all `rooms` answers are under way.
pub fn run(server: &Server, cast: &Cast, rooms: usize, pace: Pace) -> Result<f64> {
    let mut crowd = Crowd::new()?;
    crowd.arrive(server.door(), cast.tokens(0..rooms))?;
    crowd
        .all_ask(|index| frame::masked_text(&packet::join(&cast.agent(index))))
        .context("joining the rooms")?;

    let words = words_for(SPREAD + pace.warm_up + pace.window + Duration::from_secs(1), cast.chunk_delay);
    let mut heard = vec![0_usize; rooms];
    let mut silent = rooms;
    let count = |heard: &mut [usize], silent: &mut usize, index: usize, packet: Packet<'_>| match packet {
        Packet::Event(event) if packet::is_piece(event) => {
            *silent -= usize::from(heard[index] == 0);
            heard[index] += 1;
            Ok(())
        }
        Packet::Event(event) if event.starts_with(br#"["chat:error""#) => {
            bail!("the server said {}", String::from_utf8_lossy(event))
        }
        _ => Ok(()),
    };

    let start = Instant::now();
    for index in 0..rooms {
        let due = SPREAD.mul_f64(index as f64 / rooms as f64);
        crowd.send(index, &frame::masked_text(&packet::message(&cast.agent(index), &words)))?;
        crowd.hear_for(due.saturating_sub(start.elapsed()), |index, packet, _| {
            count(&mut heard, &mut silent, index, packet)
        })?;
    }
    let asked = Instant::now();
    while silent > 0 {
        crowd.hear_for(Duration::from_millis(20), |index, packet, _| {
            count(&mut heard, &mut silent, index, packet)
        })?;
        if asked.elapsed() > FIRST_PIECE {
            bail!("{silent} of {rooms} answers did not begin within {} s", FIRST_PIECE.as_secs());
        }
    }
    crowd.hear_for(pace.warm_up, |index, packet, _| count(&mut heard, &mut silent, index, packet))?;

    let (before, heard_before) = (server.cpu()?, heard.iter().sum::<usize>());
    crowd.hear_for(pace.window, |index, packet, _| count(&mut heard, &mut silent, index, packet))?;
    let pieces = heard.iter().sum::<usize>() - heard_before;
    let cpu = server.cpu()? - before;
    if pieces == 0 {
        bail!("no answer lasted until the window began");
    }
    Ok(micros_each(cpu, pieces))
}

/// As many words as the echo of them lasts `duration`.
fn words_for(duration: Duration, chunk_delay: Duration) -> String {
    let number = duration.as_millis() / chunk_delay.as_millis().max(1);
    vec!["words"; number as usize].join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_lasts_as_long_as_it_is_needed() {
        let words = words_for(Duration::from_millis(3_300), Duration::from_millis(33));
        assert_eq!(words.split(' ').count(), 100);
    }
}

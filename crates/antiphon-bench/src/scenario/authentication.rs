//! What it adds to a handshake to find out who asks.
//!
//! Nobody is let in here: with a credential because their plan allows no connection, which is known only once they are known
//! and their connections have been counted; without one because there is none. Both get as far as a refused CONNECT, so that
//! nothing but the authentication is between them: no seats, no presence, no welcome. The two take turns on one server, and
//! what counts is the median of the differences between neighbours, which a machine whose speed drifts cannot move.

use anyhow::{Context, Result};

use super::handshake::{self, WAVE};
use super::{Admission, Cast, micros_each};
use crate::crowd::Crowd;
use crate::process::Server;
use crate::statistics::median;
use crate::wire::token;

/// What the dialect answers to a CONNECT without a credential.
const NOBODY: &str = "Authentication token required";

/// What it answers to somebody whose plan allows no more connections. A credential that is no good is told something else.
const SPENT: &str = "Rate limit exceeded";

/// What whoever comes shows at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// Nothing. The whole handshake is measured then, not what is added to it.
    None,
    /// An API key that did not come before: it is looked up in the store.
    NewKey,
    /// An API key of few, all of which came a moment ago.
    KnownKey,
    /// A signed token (JWT, HS256) of few, all of which came a moment ago.
    KnownToken,
}

/// One wave of people who are not let in, or as many waves as come if nobody is to come twice.
pub fn cast(credential: Credential, connections: usize) -> Cast {
    let people = match credential {
        Credential::NewKey => (waves(connections) + warm_up(connections)) * WAVE,
        Credential::None | Credential::KnownKey | Credential::KnownToken => WAVE,
    };
    Cast { people, admission: Admission::Nobody, ..Cast::NOBODY }
}

/// CPU of the server, in µs: of a handshake that is refused for want of a credential, or what a good one adds to it.
pub fn run(server: &Server, cast: &Cast, credential: Credential, connections: usize) -> Result<f64> {
    let shown = shown(cast, credential);
    let mut figures = Vec::with_capacity(waves(connections));
    for (number, wave) in
        shown.chunks(WAVE).cycle().take(waves(connections) + warm_up(connections)).enumerate()
    {
        let without = handshake::one_wave(
            server,
            Crowd::turned_away(NOBODY)?,
            std::iter::repeat_n(String::new(), WAVE),
        )?;
        let without = micros_each(without, WAVE);
        let figure = if credential == Credential::None {
            without
        } else {
            let with = handshake::one_wave(server, Crowd::turned_away(SPENT)?, wave.iter().cloned())?;
            micros_each(with, wave.len()) - without
        };
        if number >= warm_up(connections) {
            figures.push(figure);
        }
    }
    median(&figures).context("nobody came")
}

/// One credential for everybody.
fn shown(cast: &Cast, credential: Credential) -> Vec<String> {
    match credential {
        Credential::KnownToken => {
            (0..cast.people).map(|index| token::signed_for(&cast.person(index))).collect()
        }
        Credential::None | Credential::NewKey | Credential::KnownKey => cast.tokens(0..cast.people).collect(),
    }
}

fn waves(connections: usize) -> usize {
    connections.div_ceil(WAVE)
}

/// Waves before those that count.
fn warm_up(connections: usize) -> usize {
    waves(connections).div_ceil(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_never_comes_twice() {
        let cast = cast(Credential::NewKey, 100);
        assert_eq!(cast.people, (13 + 4) * WAVE);
        let mut shown = shown(&cast, Credential::NewKey);
        shown.dedup();
        assert_eq!(shown.len(), cast.people);
    }

    #[test]
    fn what_is_known_is_one_wave() {
        for credential in [Credential::None, Credential::KnownKey, Credential::KnownToken] {
            assert_eq!(shown(&cast(credential, 100), credential).len(), WAVE);
        }
    }
}

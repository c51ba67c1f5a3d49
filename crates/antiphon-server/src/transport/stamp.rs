//! Is a GET the repeat of one that was answered before?
//!
//! HTTP clients send a GET again by themselves when the connection breaks that they kept alive. If the first was answered, what the
//! answer said is gone, and whoever sent it does not know. Engine.IO clients give each request another value of `t`; the repeat has
//! the same.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::num::NonZeroU64;

/// The `t` of a request, by which its client tells it from all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(NonZeroU64);

impl Stamp {
    /// That of a request with this `t`. Digits alone are none: some clients write the second in which they ask, which is the same
    /// for several requests.
    pub(crate) fn of(t: &str) -> Option<Self> {
        if t.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        t.hash(&mut hasher);
        NonZeroU64::new(hasher.finish()).map(Self)
    }
}

/// The stamps of a session's GETs.
#[derive(Debug)]
pub(crate) struct Stamps {
    /// Of the last GET.
    last: Option<Stamp>,
    /// Of the GET that was answered last with packets.
    answered: Option<Stamp>,
    /// Whether there were two that differ: not every client has them differ.
    vary: bool,
}

impl Stamps {
    /// Those of a session that a request with this stamp opens.
    pub(crate) fn new(first: Option<Stamp>) -> Self {
        Self { last: first, answered: None, vary: false }
    }

    /// Whether a GET with this stamp is the one that was answered last with packets, once more.
    pub(crate) fn is_repeat(&self, stamp: Option<Stamp>) -> bool {
        self.vary && stamp.is_some() && stamp == self.answered
    }

    /// Takes note of a GET that is not refused.
    pub(crate) fn ask(&mut self, stamp: Option<Stamp>) {
        self.vary |= self.last.is_some() && stamp.is_some() && self.last != stamp;
        self.last = stamp;
    }

    /// Takes note that the last GET is answered with packets.
    pub(crate) fn answer(&mut self) {
        self.answered = self.last;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the last of these GETs, each of which but the last is answered, is taken for a repeat.
    fn is_repeat(opening: &str, gets: &[&str]) -> bool {
        let (last, before) = gets.split_last().expect("at least one");
        let mut stamps = Stamps::new(Stamp::of(opening));
        for t in before {
            assert!(!stamps.is_repeat(Stamp::of(t)), "{t}");
            stamps.ask(Stamp::of(t));
            stamps.answer();
        }
        stamps.is_repeat(Stamp::of(last))
    }

    #[test]
    fn the_stamp_of_the_get_that_was_answered_last_comes_once_more() {
        assert!(is_repeat("pq1", &["pq2", "pq2"]));
        assert!(is_repeat("", &["pq1", "pq2", "pq2"]));
        assert!(is_repeat("1700000000.25", &["1700000000.5", "1700000000.5"]));
        assert!(!is_repeat("pq1", &["pq2", "pq3"]));
        assert!(!is_repeat("pq1", &["pq2", "pq3", "pq2"]), "whoever asks for more has had what was before");
    }

    #[test]
    fn clients_whose_requests_are_all_alike_repeat_nothing() {
        assert!(!is_repeat("", &["", "", ""]));
        assert!(!is_repeat("always", &["always", "always", "always"]));
        assert!(!is_repeat("", &["always", "always", "always"]));
    }

    #[test]
    fn a_second_of_the_clock_tells_no_requests_apart() {
        assert!(!is_repeat("1700000000", &["1700000001", "1700000001", "1700000002", "1700000002"]));
    }

    #[test]
    fn a_get_that_was_answered_with_nothing_may_come_again() {
        let [one, two] = ["pq1", "pq2"].map(Stamp::of);
        let mut stamps = Stamps::new(one);
        stamps.ask(two);
        assert!(!stamps.is_repeat(two));
    }
}

//! How a place among what a client was told is written: the last argument of every event to a client that may resume.
//!
//! `5f3a9c21.0.1f4`: the run of the server, the core, and a number that counts up there. A session that moves between cores has
//! numbers of several such lanes, each growing.

use std::cell::Cell;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Where numbers count up: one core in one run of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lane {
    run: u32,
    core: u16,
}

impl Lane {
    /// That of `core` in the run of the server that is called `run`.
    pub(super) fn new(run: u32, core: u16) -> Self {
        Self { run, core }
    }
}

/// A place among what was said on a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offset {
    pub(crate) lane: Lane,
    pub(crate) number: u64,
}

impl Offset {
    /// What a client brings, if it was one of ours or could have been.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let (run, core, number) = (parts.next()?, parts.next()?, parts.next()?);
        let offset = Self {
            lane: Lane { run: u32::from_str_radix(run, 16).ok()?, core: u16::from_str_radix(core, 16).ok()? },
            number: u64::from_str_radix(number, 16).ok()?,
        };
        // What is written in another way was not written here.
        (offset.to_string() == text).then_some(offset)
    }

    /// The place so many later.
    pub(crate) fn plus(self, more: u64) -> Self {
        Self { number: self.number.saturating_add(more), ..self }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}.{:x}", self.lane.run, self.lane.core, self.number)
    }
}

/// The numbers of one core.
pub(crate) struct Numbers {
    lane: Lane,
    next: Cell<u64>,
}

impl Numbers {
    /// Those of `core` in the run of the server that is called `run`.
    pub(crate) fn new(run: u32, core: u16) -> Self {
        Self { lane: Lane { run, core }, next: Cell::new(1) }
    }

    /// So many places in a row; returns the first.
    pub(crate) fn take(&self, count: u64) -> Offset {
        let number = self.next.get();
        self.next.set(number + count);
        Offset { lane: self.lane, number }
    }

    /// The last place that was taken, or one before all.
    pub(crate) fn last(&self) -> Offset {
        Offset { lane: self.lane, number: self.next.get() - 1 }
    }

    /// Whether `offset` is of this core, but nobody can have got it yet.
    pub(crate) fn is_future(&self, offset: Offset) -> bool {
        offset.lane == self.lane && offset.number >= self.next.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_read_as_it_was_written_and_in_no_other_way() {
        let numbers = Numbers::new(0x5f3a_9c21, 11);
        assert_eq!(numbers.take(3).to_string(), "5f3a9c21.b.1");
        assert_eq!(numbers.last().to_string(), "5f3a9c21.b.3");
        let next = numbers.take(1);
        assert_eq!(Offset::parse(&next.to_string()), Some(next));
        for wrong in [
            "",
            "connected",
            "1.2",
            "1.2.3.4",
            "+1.2.3",
            "1.2.A",
            "01.2.3",
            "1.2.-3",
            "1..3",
            "100000000.0.1",
        ] {
            assert_eq!(Offset::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_was_not_given_out_yet_is_the_future() {
        let (here, there) = (Numbers::new(1, 0), Numbers::new(1, 1));
        assert!(!here.is_future(here.last()) && here.is_future(here.last().plus(1)));
        assert!(!here.is_future(there.last().plus(1)));
        let given = here.take(2);
        assert!(!here.is_future(given.plus(1)) && here.is_future(given.plus(2)));
    }
}

//! How this API writes a moment: `2026-11-20T10:00:00.123000`, in UTC, with microseconds and no zone.

use std::fmt;

use antiphon_core::ids::Timestamp;
use serde::{Serialize, Serializer};

/// A moment as text. Serializes as what it displays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Naive(pub Timestamp);

impl fmt::Display for Naive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.0.rem_euclid(86_400_000);
        let (seconds, milliseconds) = (of_day / 1_000, of_day % 1_000);
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{}T{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}000", self.0.date())
    }
}

impl Serialize for Naive {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_the_documented_server_writes_it() {
        for (at, expected) in [
            (1_795_168_800_123, "2026-11-20T10:00:00.123000"),
            (1_767_225_600_000, "2026-01-01T00:00:00.000000"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999000"),
            (0, "1970-01-01T00:00:00.000000"),
            (-1, "1969-12-31T23:59:59.999000"),
        ] {
            assert_eq!(Naive(Timestamp(at)).to_string(), expected);
        }
        assert_eq!(
            serde_json::to_string(&Naive(Timestamp(0))).expect("text"),
            "\"1970-01-01T00:00:00.000000\""
        );
    }
}

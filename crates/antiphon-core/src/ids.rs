//! How things are named.
//!
//! People and agents carry names that their owners chose (`user-123`, `agent-123`), so those are bounded strings;
//! what Antiphon makes itself is a UUID.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::refusal::Refusal;

/// Longest accepted id of a person, an agent or a key, in bytes.
pub const MAX_ID_BYTES: usize = 128;

macro_rules! named_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts 1 to [`MAX_ID_BYTES`] bytes without control characters; anything else is refused as invalid.
            pub fn parse(text: &str) -> Result<Self, Refusal> {
                check(text).map(|()| Self(text.into()))
            }

            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

named_id!(
    /// A person: somebody who holds credentials and owns agents.
    PersonId
);
named_id!(
    /// An agent: something that answers.
    AgentId
);
named_id!(
    /// An API key by its public name, which may be shown and logged: `cda_0f3a9c12`. It says nothing about the secret.
    KeyId
);

fn check(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Refusal::invalid("An id must not be empty."));
    }
    if text.len() > MAX_ID_BYTES {
        return Err(Refusal::invalid("An id has at most 128 bytes."));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::invalid("An id must not contain control characters."));
    }
    Ok(())
}

/// One message in one conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MessageId(pub Uuid);

impl MessageId {
    /// A fresh random (version 4) id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// A fresh id for a message of this moment: random (version 4), but for the milliseconds in front.
    ///
    /// A store keeps messages in an index by their ids. Wholly random ones would each change a page of it that nothing else
    /// changes, and messages of one moment are stored by one commit: theirs lie beside each other.
    pub fn of_moment(at: Timestamp) -> Self {
        // As many bits as last until the year 10889.
        let [_, _, millis @ ..] = at.0.max(0).to_be_bytes();
        let mut bytes = Uuid::new_v4().into_bytes();
        bytes[..millis.len()].copy_from_slice(&millis);
        Self(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskId(pub Uuid);

impl TaskId {
    /// A fresh random (version 4) id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One conversation. What a person and an agent say to each other is one conversation in every dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversationId(pub Uuid);

/// Namespace of the version 5 ids that [`ConversationId::direct`] makes.
const DIRECT: Uuid = Uuid::from_u128(0x6b1f_93a4_0c55_4f0e_9d27_4a19_57b0_c2d8);

impl ConversationId {
    /// The conversation of `agent` and `person`: the same id in every dialect, on every node, without a lookup.
    pub fn direct(agent: &AgentId, person: &PersonId) -> Self {
        let mut name = [0u8; 2 * MAX_ID_BYTES + 1];
        let (a, p) = (agent.as_str().as_bytes(), person.as_str().as_bytes());
        // A zero byte cannot occur in an id, so no two pairs share a name.
        name[..a.len()].copy_from_slice(a);
        name[a.len() + 1..a.len() + 1 + p.len()].copy_from_slice(p);
        Self(Uuid::new_v5(&DIRECT, &name[..a.len() + 1 + p.len()]))
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One client connection of this node, as the hub numbers them: core, slot, and a generation that makes reuse visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ConnectionId {
    /// Which core's runtime the connection lives on.
    pub core: u16,
    /// Its place in that core's table.
    pub slot: u32,
    /// How often that place had been used before.
    pub generation: u32,
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.core, self.slot, self.generation)
    }
}

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// `0000-01-01T00:00:00.000Z`.
const YEAR_0: i64 = -62_167_219_200_000;

/// `9999-12-31T23:59:59.999Z`.
const YEAR_9999_END: i64 = 253_402_300_799_999;

/// A moment, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The calendar month in UTC, as usage is counted: `year × 12 + (month − 1)`.
    pub fn month(self) -> i32 {
        let (year, month, _) = self.civil();
        i32::try_from(year * 12 + month).unwrap_or(i32::MAX)
    }

    /// The day in UTC, as a ledger names it: `2026-03-01`.
    pub fn date(self) -> String {
        let (year, month, day) = self.civil();
        format!("{year:04}-{:02}-{day:02}", month + 1)
    }

    /// The moment in UTC as ISO 8601 has it, with milliseconds: `2026-03-01T07:30:00.000Z`. Years are those with four digits; a
    /// moment before or after them is written as the first or the last one.
    pub fn iso(self) -> String {
        let at = Self(self.0.clamp(YEAR_0, YEAR_9999_END));
        let (seconds, milliseconds) = (at.0.rem_euclid(DAY) / 1_000, at.0.rem_euclid(1_000));
        let (hours, minutes, seconds) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        format!("{}T{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}Z", at.date())
    }

    /// When that day began.
    #[must_use]
    pub fn midnight(self) -> Self {
        Self(self.0.saturating_sub(self.0.rem_euclid(DAY)))
    }

    /// Year, month from 0, day from 1, in UTC.
    fn civil(self) -> (i64, i64, i64) {
        // Civil-from-days (proleptic Gregorian), era of 400 years starting on 1 March.
        let days = self.0.div_euclid(DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let day_of_era = days.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 2 } else { shifted - 10 };
        let year = year_of_era + era * 400 + i64::from(month <= 1);
        (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_bounded_and_printable() {
        assert!(PersonId::parse("user-123").is_ok());
        assert!(PersonId::parse(&"x".repeat(128)).is_ok());
        assert!(PersonId::parse(&"x".repeat(129)).is_err());
        assert!(PersonId::parse("").is_err());
        assert!(AgentId::parse("a\nb").is_err());
    }

    #[test]
    fn the_name_of_a_key_is_bounded_like_any_other() {
        assert_eq!(KeyId::parse("cda_0f3a9c12").map(|id| id.to_string()), Ok("cda_0f3a9c12".into()));
        assert!(KeyId::parse("").is_err());
    }

    #[test]
    fn ids_of_messages_lie_beside_each_other_by_their_moments_and_are_random_apart_from_that() {
        let of_moment = |at| MessageId::of_moment(Timestamp(at));
        let (first, again, later) =
            (of_moment(1_772_366_400_000), of_moment(1_772_366_400_000), of_moment(1_772_366_400_001));
        assert!(first < later && again < later, "{first} {again} {later}");
        assert_ne!(first, again);
        for id in [first, later, of_moment(-1), of_moment(i64::MAX)] {
            assert_eq!((id.0.get_version_num(), id.0.get_variant()), (4, uuid::Variant::RFC4122));
        }
        assert_eq!(
            first.to_string()[..13],
            MessageId(Uuid::from_u128(1_772_366_400_000 << 80)).to_string()[..13]
        );
    }

    #[test]
    fn a_direct_conversation_has_one_id_and_no_two_pairs_share_it() {
        let id = |a: &str, p: &str| {
            ConversationId::direct(&AgentId::parse(a).unwrap(), &PersonId::parse(p).unwrap())
        };
        assert_eq!(id("luna", "ada"), id("luna", "ada"));
        assert_ne!(id("luna", "ada"), id("lunaa", "da"));
        assert_ne!(id("luna", "ada"), id("ada", "luna"));
    }

    #[test]
    fn months_are_counted_in_utc() {
        let month = |year: i32, month: i32| year * 12 + month - 1;
        assert_eq!(Timestamp(0).month(), month(1970, 1));
        assert_eq!(Timestamp(-1).month(), month(1969, 12));
        assert_eq!(Timestamp(1_709_164_800_000).month(), month(2024, 2)); // 29 February 2024
        assert_eq!(Timestamp(1_709_251_200_000).month(), month(2024, 3));
        assert_eq!(Timestamp(1_798_761_599_999).month(), month(2026, 12));
        assert_eq!(Timestamp(1_798_761_600_000).month(), month(2027, 1));
    }

    #[test]
    fn days_are_named_and_begin_in_utc() {
        assert_eq!(Timestamp(0).date(), "1970-01-01");
        assert_eq!(Timestamp(-1).date(), "1969-12-31");
        assert_eq!(Timestamp(1_709_164_800_000).date(), "2024-02-29");
        assert_eq!(Timestamp(1_709_251_199_999).date(), "2024-02-29");
        assert_eq!(Timestamp(1_709_251_200_000).date(), "2024-03-01");
        assert_eq!(Timestamp(1_798_761_599_999).date(), "2026-12-31");
        assert_eq!(Timestamp(1_709_251_199_999).midnight(), Timestamp(1_709_164_800_000));
        assert_eq!(Timestamp(1_709_164_800_000).midnight(), Timestamp(1_709_164_800_000));
        assert_eq!(Timestamp(-1).midnight(), Timestamp(-86_400_000));
    }

    #[test]
    fn a_moment_is_written_with_milliseconds_and_in_utc() {
        for (moment, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_211_906_007, "2024-02-29T13:05:06.007Z"),
            (YEAR_0, "0000-01-01T00:00:00.000Z"),
            (i64::MIN, "0000-01-01T00:00:00.000Z"),
            (YEAR_9999_END, "9999-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp(moment).iso(), text);
        }
    }
}

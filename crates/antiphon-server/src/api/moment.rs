//! Moments as text: RFC 3339 in UTC with milliseconds, `2026-11-20T16:00:00.123Z`.

use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::Refusal;

/// `moment` as text; see [`Timestamp::iso`].
pub(super) fn write(moment: Timestamp) -> String {
    moment.iso()
}

/// The moment that `text` says; it may name any offset from UTC.
pub(super) fn read(text: &str) -> Result<Timestamp, Refusal> {
    let moment: jiff::Timestamp = text
        .parse()
        .map_err(|_| Refusal::invalid("A moment is written like 2026-11-20T16:00:00.123Z (RFC 3339)."))?;
    Ok(Timestamp(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_three_digits_after_the_second() {
        for (milliseconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_795_190_400_120, "2026-11-20T16:00:00.120Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(write(Timestamp(milliseconds)), text);
            assert_eq!(read(text), Ok(Timestamp(milliseconds)));
        }
        assert_eq!(read("2026-11-20T17:00:00+01:00"), read("2026-11-20T16:00:00Z"));
    }

    #[test]
    fn what_is_no_moment_is_refused_and_an_impossible_one_is_still_written() {
        for text in ["", "tomorrow", "2026-13-01T00:00:00Z", "1700000000000"] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(write(Timestamp(i64::MAX)).starts_with("9999-12-31"));
        assert!(write(Timestamp(i64::MIN)).starts_with("0000-01-01"));
    }
}

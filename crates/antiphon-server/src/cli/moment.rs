//! Moments on the command line: how long something made there lasts, and how a moment is written.

use antiphon_core::ids::Timestamp;
use anyhow::Context as _;
use clap::Args;
use jiff::Span;
use jiff::tz::TimeZone;

/// How long something lasts.
#[derive(Args)]
pub(super) struct Lasting {
    /// How long it is good for: `12h`, `90d`, `1 year` [default: it does not expire].
    #[arg(long, value_name = "TIME", value_parser = span)]
    expires_in: Option<Span>,
}

impl Lasting {
    /// From when on it is not good any more.
    pub(super) fn until(&self, now: Timestamp) -> anyhow::Result<Option<Timestamp>> {
        self.expires_in.map(|span| after(now, span)).transpose()
    }
}

/// A stretch of time as people write it.
pub(super) fn span(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|_| "write it like 12h, 90d or \"1 year\"".to_owned())?;
    if span.is_positive() { Ok(span) } else { Err("it must be longer than nothing".to_owned()) }
}

/// The moment `span` after `now`; days and months are those of UTC.
pub(super) fn after(now: Timestamp, span: Span) -> anyhow::Result<Timestamp> {
    let now =
        jiff::Timestamp::from_millisecond(now.0).context("the clock shows a time that no calendar has")?;
    let then = now.to_zoned(TimeZone::UTC).checked_add(span).context("that is too far away")?;
    Ok(Timestamp(then.timestamp().as_millisecond()))
}

/// `moment` in RFC 3339, in UTC with milliseconds: `2026-11-20T16:00:00.123Z`.
pub(super) fn write(moment: Timestamp) -> String {
    match jiff::Timestamp::from_millisecond(moment.0) {
        Ok(moment) => format!("{moment:.3}"),
        Err(_) => format!("{} ms", moment.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_are_written_as_people_do() {
        let now = Timestamp(1_795_190_400_000);
        for (text, expected) in [
            ("90s", "2026-11-20T16:01:30.000Z"),
            ("12h", "2026-11-21T04:00:00.000Z"),
            ("1h 30m", "2026-11-20T17:30:00.000Z"),
            ("90d", "2027-02-18T16:00:00.000Z"),
            ("1 year", "2027-11-20T16:00:00.000Z"),
        ] {
            assert_eq!(write(after(now, span(text).unwrap()).unwrap()), expected, "{text}");
        }
        for text in ["", "soon", "-1h", "0s", "12"] {
            assert!(span(text).is_err(), "{text}");
        }
        assert!(after(now, span("9999 years").unwrap()).is_err());
    }
}

//! When something is due: the minutes that cron expressions name, on the clocks of people all over the world.
//!
//! An expression is about a clock on the wall. Where clocks are put forward, a time that is skipped comes as much later as they
//! are put forward; where they are put back, a time that comes twice counts the first time. So each is due once.

use std::collections::HashMap;
use std::str::FromStr as _;

use antiphon_core::ids::Timestamp;
use anyhow::{Context as _, ensure};
use croner::Cron;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, ToSpan as _};

/// How far clocks are put forward or back at most, at once.
const SHIFT: SignedDuration = SignedDuration::from_hours(3);

/// Clocks of the world differ by whole quarters of an hour.
const QUARTER: i64 = 15;

/// By how many quarters they differ from UTC at most: 14 hours.
const MOST_QUARTERS: i64 = 14 * 4;

/// The longest that nobody need look at a calendar, in milliseconds.
const LONG: i64 = 24 * 60 * 60 * 1_000;

/// Cron expressions, and the time zone of those who have not named one.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    home: TimeZone,
    crons: Vec<Cron>,
}

/// A time at which something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// The moment.
    pub(super) at: Timestamp,
    /// The day on the person's own calendar.
    pub(super) date: Date,
}

/// What is due at one moment, in each time zone that was asked for: many people share few.
pub(super) struct Zones<'a> {
    calendar: &'a Calendar,
    now: Timestamp,
    late: i64,
    known: HashMap<Option<String>, Vec<Option<Due>>>,
}

/// The time zone of this IANA name.
pub(super) fn zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

impl Calendar {
    /// A calendar of these expressions, each with five fields. Fails for one that is none, or that never comes.
    pub(super) fn new(home: TimeZone, crons: &[&str]) -> anyhow::Result<Self> {
        let crons = crons.iter().map(|text| parse(text)).collect::<anyhow::Result<_>>()?;
        Ok(Self { home, crons })
    }

    /// How many expressions there are.
    pub(super) fn len(&self) -> usize {
        self.crons.len()
    }

    /// The time zone of this name; that of those who have named none if there is no such zone.
    pub(super) fn zone(&self, name: Option<&str>) -> TimeZone {
        name.and_then(zone).unwrap_or_else(|| self.home.clone())
    }

    /// The last time at or before `now`, and less than `late` milliseconds before, that an expression names in `zone`.
    pub(super) fn due(&self, index: usize, zone: &TimeZone, now: Timestamp, late: i64) -> Option<Due> {
        let cron = self.crons.get(index)?;
        let earliest = now.0.saturating_sub(late);
        let local = civil(zone, now)?;
        let end = civil(zone, Timestamp(earliest))?.checked_sub(SHIFT).ok()?;
        let mut next = cron.find_previous_occurrence(&local.checked_add(SHIFT).ok()?, true).ok()?;
        while next >= end {
            let at = moment(zone, next)?;
            if (earliest + 1..=now.0).contains(&at.0) {
                return Some(Due { at, date: next.date() });
            }
            next = cron.find_previous_occurrence(&next, false).ok()?;
        }
        None
    }

    /// The first time after `now` that an expression names in `zone`.
    pub(super) fn next(&self, index: usize, zone: &TimeZone, now: Timestamp) -> Option<Due> {
        let cron = self.crons.get(index)?;
        let mut next = civil(zone, now)?.checked_sub(SHIFT).ok()?;
        loop {
            next = cron.find_next_occurrence(&next, false).ok()?;
            let at = moment(zone, next)?;
            if at > now {
                return Some(Due { at, date: next.date() });
            }
        }
    }

    /// The day on the calendar of those who have named this time zone; `None` at a moment that no calendar has.
    pub(super) fn today(&self, zone: Option<&str>, now: Timestamp) -> Option<Date> {
        Some(civil(&self.zone(zone), now)?.date())
    }

    /// The first moment after `now` at which anything may be due anywhere, and at most a day later.
    pub(super) fn wake(&self, now: Timestamp) -> Timestamp {
        let latest = Timestamp(now.0.saturating_add(LONG));
        let Some(utc) = civil(&TimeZone::UTC, now) else { return latest };
        let mut first = latest;
        for quarters in -MOST_QUARTERS..=MOST_QUARTERS {
            let Ok(local) = utc.checked_add((quarters * QUARTER).minutes()) else { continue };
            for cron in &self.crons {
                let next = cron.find_next_occurrence(&local, false);
                let at = next.ok().and_then(|next| next.checked_sub((quarters * QUARTER).minutes()).ok());
                first = first.min(at.and_then(|at| moment(&TimeZone::UTC, at)).unwrap_or(latest));
            }
        }
        first
    }

    /// What is due at `now`, or was less than `late` milliseconds ago.
    pub(super) fn at(&self, now: Timestamp, late: i64) -> Zones<'_> {
        Zones { calendar: self, now, late, known: HashMap::new() }
    }
}

impl Zones<'_> {
    /// For each expression what is due for those who have named this time zone.
    pub(super) fn due(&mut self, zone: Option<&str>) -> &[Option<Due>] {
        let Self { calendar, now, late, known } = self;
        known.entry(zone.map(str::to_owned)).or_insert_with(|| {
            let zone = calendar.zone(zone);
            (0..calendar.len()).map(|index| calendar.due(index, &zone, *now, *late)).collect()
        })
    }
}

fn parse(text: &str) -> anyhow::Result<Cron> {
    ensure!(
        text.split_whitespace().count() == 5 && !text.contains('@'),
        "{text:?} needs five fields: minute, hour, day of the month, month, day of the week"
    );
    let cron = Cron::from_str(text).with_context(|| format!("{text:?} is no time"))?;
    let some_day = Date::constant(2024, 1, 1).at(0, 0, 0, 0);
    cron.find_next_occurrence(&some_day, true).ok().with_context(|| format!("{text:?} never comes"))?;
    Ok(cron)
}

/// What a clock in `zone` shows.
fn civil(zone: &TimeZone, moment: Timestamp) -> Option<DateTime> {
    Some(zone.to_datetime(jiff::Timestamp::from_millisecond(moment.0).ok()?))
}

/// When a clock in `zone` shows this.
fn moment(zone: &TimeZone, civil: DateTime) -> Option<Timestamp> {
    let moment = zone.to_ambiguous_timestamp(civil).compatible().ok()?;
    Some(Timestamp(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn calendar(crons: &[&str]) -> Calendar {
        Calendar::new(zone("Asia/Jakarta").unwrap(), crons).unwrap()
    }

    /// Every time that `cron` is due in the zone, minute by minute from `from` on, as moments and days.
    fn all_due(cron: &str, name: &str, from: &str, minutes: i64) -> Vec<(String, String)> {
        let (calendar, zone) = (calendar(&[cron]), zone(name).unwrap());
        let mut found = Vec::new();
        for minute in 0..minutes {
            let now = Timestamp(at(from).0 + minute * MINUTE);
            if let Some(due) = calendar.due(0, &zone, now, MINUTE) {
                assert_eq!(due.at, now, "it is due at the very minute");
                let moment = jiff::Timestamp::from_millisecond(due.at.0).unwrap();
                found.push((moment.to_string(), due.date.to_string()));
            }
        }
        found
    }

    #[test]
    fn a_time_is_one_of_the_persons_own_clock() {
        for (name, moment) in [
            ("Asia/Jakarta", "2026-03-01T00:00:00Z"),
            ("UTC", "2026-03-01T07:00:00Z"),
            ("America/New_York", "2026-03-01T12:00:00Z"),
            ("Asia/Kathmandu", "2026-03-01T01:15:00Z"),
            ("Australia/Eucla", "2026-02-28T22:15:00Z"),
            // The first and the last on earth to have this day.
            ("Pacific/Kiritimati", "2026-02-28T17:00:00Z"),
            ("Etc/GMT-14", "2026-02-28T17:00:00Z"),
            ("Etc/GMT+12", "2026-03-01T19:00:00Z"),
            ("Pacific/Pago_Pago", "2026-03-01T18:00:00Z"),
        ] {
            let due = Due { at: at(moment), date: Date::constant(2026, 3, 1) };
            let (calendar, zone) = (calendar(&["0 7-8 * * *"]), zone(name).unwrap());
            assert_eq!(calendar.due(0, &zone, due.at, MINUTE), Some(due), "{name}");
            assert_eq!(calendar.due(0, &zone, Timestamp(due.at.0 - 1), 30 * MINUTE), None, "{name}");
            assert_eq!(calendar.due(0, &zone, Timestamp(due.at.0 + MINUTE - 1), MINUTE), Some(due), "{name}");
            assert_eq!(calendar.due(0, &zone, Timestamp(due.at.0 + MINUTE), MINUTE), None, "{name}");
            assert_eq!(calendar.due(0, &zone, Timestamp(due.at.0 + 29 * MINUTE), 30 * MINUTE), Some(due));
            let later = Due { at: Timestamp(due.at.0 + HOUR), ..due };
            assert_eq!(calendar.next(0, &zone, due.at), Some(later), "{name}");
            assert_eq!(calendar.next(0, &zone, Timestamp(due.at.0 - 1)), Some(due), "{name}");
            let tomorrow = Due { at: Timestamp(due.at.0 + 24 * HOUR), date: Date::constant(2026, 3, 2) };
            assert_eq!(calendar.next(0, &zone, later.at), Some(tomorrow), "{name}");
        }
    }

    #[test]
    fn where_clocks_change_each_time_is_due_once() {
        let table = [
            // Clocks go from 02:00 to 03:00: what is skipped comes an hour later.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-03-29T00:00:00Z",
                &[("2026-03-29T01:30:00Z", "2026-03-29")][..],
            ),
            (
                "0 2 * * *",
                "America/New_York",
                "2026-03-08T05:00:00Z",
                &[("2026-03-08T07:00:00Z", "2026-03-08")],
            ),
            // From 02:00 to 02:30.
            (
                "15 2 * * *",
                "Australia/Lord_Howe",
                "2026-10-03T13:00:00Z",
                &[("2026-10-03T15:45:00Z", "2026-10-04")],
            ),
            // From 24:00 to 01:00.
            ("15 0 * * *", "Africa/Cairo", "2026-04-23T20:00:00Z", &[("2026-04-23T22:15:00Z", "2026-04-24")]),
            // Clocks go from 03:00 back to 02:00: what comes twice counts the first time.
            (
                "30 2 * * *",
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                &[("2026-10-25T00:30:00Z", "2026-10-25")],
            ),
            (
                "30 1 * * *",
                "America/New_York",
                "2026-11-01T04:00:00Z",
                &[("2026-11-01T05:30:00Z", "2026-11-01")],
            ),
            // From 24:00 back to 23:00.
            (
                "30 23 * * *",
                "Africa/Cairo",
                "2026-10-29T18:00:00Z",
                &[("2026-10-29T20:30:00Z", "2026-10-29")],
            ),
            // Neither before nor after the change is anything moved.
            ("0 7 * * *", "Europe/Berlin", "2026-03-29T00:00:00Z", &[("2026-03-29T05:00:00Z", "2026-03-29")]),
            ("0 7 * * *", "Europe/Berlin", "2026-10-25T00:00:00Z", &[("2026-10-25T06:00:00Z", "2026-10-25")]),
            // An island left out a whole day: on it nothing is due, and after it everything once.
            (
                "0 7 * * *",
                "Pacific/Apia",
                "2011-12-29T16:00:00Z",
                &[("2011-12-29T17:00:00Z", "2011-12-29"), ("2011-12-30T17:00:00Z", "2011-12-31")],
            ),
        ];
        for (cron, name, from, expected) in table {
            let minutes = if name == "Pacific/Apia" { 26 * 60 } else { 8 * 60 };
            let expected: Vec<_> =
                expected.iter().map(|(moment, date)| ((*moment).to_owned(), (*date).to_owned())).collect();
            assert_eq!(all_due(cron, name, from, minutes), expected, "{cron} in {name}");
        }
    }

    #[test]
    fn a_zone_that_nobody_knows_is_the_one_of_those_who_have_named_none() {
        let calendar = calendar(&["0 7 * * *", "0 12 * * *"]);
        let now = at("2026-03-01T00:00:00Z");
        let mut zones = calendar.at(now, MINUTE);
        let due = Some(Due { at: now, date: Date::constant(2026, 3, 1) });
        for name in [None, Some("Asia/Jakarta"), Some("Mars/Olympus"), Some(""), Some("../../etc/passwd")] {
            assert_eq!(zones.due(name), [due, None], "{name:?}");
        }
        assert_eq!(zones.due(Some("UTC")), [None, None]);
        assert_eq!(zones.due(Some("Asia/Tokyo")), [None, None]);
    }

    #[test]
    fn nobody_need_look_between_two_wakes() {
        let calendar = calendar(&["0 7-8 * * *"]);
        // It is seven somewhere at each quarter of an hour, and nowhere in between.
        assert_eq!(calendar.wake(at("2026-03-01T00:00:00Z")), at("2026-03-01T00:15:00Z"));
        assert_eq!(calendar.wake(at("2026-03-01T00:14:59.999Z")), at("2026-03-01T00:15:00Z"));
        let minute = self::calendar(&["7 7 * * *"]);
        assert_eq!(minute.wake(at("2026-03-01T00:00:00Z")), at("2026-03-01T00:07:00Z"));
        assert_eq!(minute.wake(at("2026-03-01T00:07:00Z")), at("2026-03-01T00:22:00Z"));
        let rare = self::calendar(&["0 7 24 12 *"]);
        assert_eq!(rare.wake(at("2026-03-01T00:00:00Z")), at("2026-03-02T00:00:00Z"), "at most a day");
        assert_eq!(self::calendar(&[]).wake(at("2026-03-01T00:00:00Z")), at("2026-03-02T00:00:00Z"));
    }

    #[test]
    fn what_is_no_time_or_never_comes_is_refused() {
        let home = zone("UTC").unwrap();
        for text in [
            "",
            "* * * *",
            "* * * * * *",
            "0 0 7 * * * 2026",
            "@daily",
            "60 * * * *",
            "0 24 * * *",
            "0 7 * * monday!",
            "0 7 32 * *",
            "0 0 31 2 *",
            "seven",
            "-1 * * * *",
        ] {
            assert!(Calendar::new(home.clone(), &[text]).is_err(), "{text}");
        }
        for text in
            ["* * * * *", "0 7-8 * * *", "*/15 9-17 * * MON-FRI", "0 0 29 2 *", "0 0 L * *", "0 7 * * 1,3,5"]
        {
            assert!(Calendar::new(home.clone(), &[text]).is_ok(), "{text}");
        }
    }

    #[test]
    fn moments_that_no_calendar_has_are_never_due() {
        let calendar = calendar(&["* * * * *"]);
        for now in [i64::MIN, i64::MAX] {
            let now = Timestamp(now);
            assert_eq!(calendar.due(0, &TimeZone::UTC, now, MINUTE), None);
            assert_eq!(calendar.next(0, &TimeZone::UTC, now), None);
            calendar.wake(now);
        }
        assert_eq!(calendar.due(1, &TimeZone::UTC, Timestamp(0), MINUTE), None, "there is one expression");
    }

    proptest! {
        #[test]
        fn whatever_is_due_somebody_wakes_for(
            now in 1_600_000_000_000_i64..2_500_000_000_000, zone_index in 0_usize..8,
        ) {
            let names = [
                "Asia/Jakarta", "Europe/Berlin", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe",
                "Pacific/Chatham", "Pacific/Kiritimati", "America/New_York",
            ];
            let calendar = calendar(&["0 7-8 * * *", "37 12 * * *"]);
            let zone = zone(names[zone_index]).unwrap();
            for index in 0..calendar.len() {
                let next = calendar.next(index, &zone, Timestamp(now)).unwrap();
                prop_assert!(calendar.wake(Timestamp(now)) <= next.at);
                prop_assert_eq!(calendar.wake(Timestamp(next.at.0 - 1)), next.at);
                prop_assert_eq!(calendar.due(index, &zone, next.at, MINUTE), Some(next));
            }
        }
    }
}

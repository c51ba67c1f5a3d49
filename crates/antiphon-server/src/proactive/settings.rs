//! What can be configured about messages that agents send by themselves: `[proactive]`.

use antiphon_core::conversation::check_text;
use antiphon_core::ids::AgentId;
use anyhow::{Context as _, anyhow, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::calendar::{Calendar, zone};

/// Longest time that anything here may be, in milliseconds: 30 days, less than jobs are remembered.
const LONGEST: u64 = 30 * 24 * 60 * 60 * 1_000;

/// Longest name of a kind, in bytes.
const MAX_KIND_BYTES: usize = 64;

/// Messages that agents send by themselves to people who talk with them, at a time of the person's own day.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether any are sent. Default: false.
    pub enabled: bool,
    /// The time zone of people who have not named one, by its IANA name. Default: `Asia/Jakarta`.
    pub time_zone: String,
    /// Only people who said something within so many milliseconds are written to; at most 2592000000. Default: 604800000.
    pub active_within: u64,
    /// Who said something within so many milliseconds is in the middle of a conversation and left alone; less than
    /// `active_within`. Default: 7200000.
    pub quiet_for: u64,
    /// How many milliseconds late a message may be, after the server was stopped or its person was busy; 60000 to 86400000.
    /// Default: 1800000.
    pub late: u64,
    /// When something is said, and what. May be given several times, each with another kind. Default: `morning` at 7 and 8,
    /// `lunch` at 12 and 13, `night` at 21 and 22 o'clock.
    #[serde(rename = "schedule")]
    pub schedules: Vec<Schedule>,
}

/// When something is said, and what.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// What it is called. A person gets at most one of a kind on each of their days.
    pub kind: String,
    /// At which minutes of the person's own clock: minute, hour, day of the month, month, day of the week. Each is tried until one
    /// of the day has worked.
    pub cron: String,
    /// What is said, one of these at a time.
    pub texts: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let schedule = |kind: &str, cron: &str, texts: [&str; 4]| Schedule {
            kind: kind.into(),
            cron: cron.into(),
            texts: texts.map(str::to_owned).to_vec(),
        };
        Self {
            enabled: false,
            time_zone: "Asia/Jakarta".into(),
            active_within: 604_800_000,
            quiet_for: 7_200_000,
            late: 1_800_000,
            schedules: vec![
                schedule(
                    "morning",
                    "0 7-8 * * *",
                    [
                        "Good morning! Did you sleep well?",
                        "Good morning! What are you up to today?",
                        "Good morning! I was just thinking of you.",
                        "Rise and shine! I hope today is kind to you.",
                    ],
                ),
                schedule(
                    "lunch",
                    "0 12-13 * * *",
                    [
                        "Have you had lunch yet?",
                        "Lunch time! What are you having?",
                        "Don't forget to eat something. How is your day so far?",
                        "Half the day is done. Take a little break?",
                    ],
                ),
                schedule(
                    "night",
                    "0 21-22 * * *",
                    [
                        "How was your day?",
                        "It's getting late. Tell me the best part of your day?",
                        "Good night! Sleep well, and dream of something nice.",
                        "I hope you can rest now. Good night!",
                    ],
                ),
            ],
        }
    }
}

impl Settings {
    /// Whether everything can work as it is set; the error names what cannot.
    pub fn check(&self) -> anyhow::Result<()> {
        self.calendar().map(drop)?;
        ensure!(
            (1..=LONGEST).contains(&self.active_within),
            "active_within in [proactive] lies between 1 and {LONGEST} milliseconds"
        );
        ensure!(
            self.quiet_for < self.active_within,
            "quiet_for in [proactive] must be less than active_within, or else nobody is ever written to"
        );
        ensure!(
            (60_000..=86_400_000).contains(&self.late),
            "late in [proactive] lies between 60000 and 86400000 milliseconds"
        );
        Ok(())
    }

    /// When what is due, for everybody.
    pub(super) fn calendar(&self) -> anyhow::Result<Calendar> {
        let home = zone(&self.time_zone).with_context(|| {
            format!("time_zone in [proactive]: there is no time zone {:?}", self.time_zone)
        })?;
        let mut crons = Vec::new();
        for (index, schedule) in self.schedules.iter().enumerate() {
            let Schedule { kind, cron, texts } = schedule;
            // What may be an id may be a kind: no control characters, and not empty.
            ensure!(
                AgentId::parse(kind).is_ok() && kind.len() <= MAX_KIND_BYTES,
                "kind in [[proactive.schedule]] is a name of 1 to {MAX_KIND_BYTES} bytes"
            );
            ensure!(
                self.schedules[..index].iter().all(|other| other.kind != *kind),
                "two [[proactive.schedule]] have the kind {kind:?}"
            );
            ensure!(!texts.is_empty(), "the [[proactive.schedule]] {kind:?} has no texts");
            for text in texts {
                check_text(text)
                    .map_err(|refusal| anyhow!("a text of the [[proactive.schedule]] {kind:?}: {refusal}"))?;
            }
            crons.push(cron.as_str());
        }
        Calendar::new(home, &crons).context("cron in [[proactive.schedule]]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string())?;
        settings.check().map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn the_defaults_work_and_are_off() {
        assert_eq!(check(""), Ok(()));
        assert!(!Settings::default().enabled);
    }

    #[test]
    fn what_cannot_work_is_named() {
        let schedule = |kind: &str, cron: &str, texts: &str| {
            format!("[[schedule]]\nkind = {kind:?}\ncron = {cron:?}\ntexts = {texts}\n")
        };
        let good = schedule("tea", "0 17 * * *", "['Tea?']");
        assert_eq!(check(&good), Ok(()));
        for (text, named) in [
            ("time_zone = 'Mars/Olympus'".to_owned(), "Mars/Olympus"),
            ("time_zone = ''".to_owned(), "time_zone"),
            ("active_within = 0".to_owned(), "active_within"),
            ("active_within = 2592000001".to_owned(), "active_within"),
            ("quiet_for = 604800000".to_owned(), "quiet_for"),
            ("late = 59999".to_owned(), "late"),
            ("late = 86400001".to_owned(), "late"),
            (format!("{good}{good}"), "two"),
            (schedule("", "0 17 * * *", "['Tea?']"), "kind"),
            (schedule(&"x".repeat(65), "0 17 * * *", "['Tea?']"), "kind"),
            (schedule("tea", "0 17 * * *", "[]"), "no texts"),
            (schedule("tea", "0 17 * * *", "['']"), "text"),
            (schedule("tea", "0 25 * * *", "['Tea?']"), "cron"),
            (schedule("tea", "0 0 31 2 *", "['Tea?']"), "never"),
            ("[[schedule]]\nkind = 'tea'".to_owned(), "cron"),
        ] {
            let error = check(&text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }
}

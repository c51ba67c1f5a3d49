//! Whether what was heard is what the script expects.
//!
//! Objects must have the same keys, lists the same length, and everything else must be equal, except for texts in angle
//! brackets, which stand for what cannot be known before.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

/// What was heard under a name: `<id:answer>` must be the same wherever it stands in one script.
#[derive(Default)]
pub(super) struct Captures(HashMap<String, Value>);

impl Captures {
    /// Compares; the error says what differs and where.
    pub(super) fn compare(&mut self, expected: &Value, heard: &Value) -> Result<(), String> {
        self.compare_at("", expected, heard)
    }

    fn compare_at(&mut self, place: &str, expected: &Value, heard: &Value) -> Result<(), String> {
        match (expected, heard) {
            (Value::Object(expected), Value::Object(heard)) => {
                if let Some(key) = heard.keys().find(|key| !expected.contains_key(*key)) {
                    return Err(format!("{place}/{key} was not expected: {}", heard[key]));
                }
                for (key, expected) in expected {
                    let heard = heard.get(key).ok_or_else(|| format!("{place}/{key} is missing"))?;
                    self.compare_at(&format!("{place}/{key}"), expected, heard)?;
                }
                Ok(())
            }
            (Value::Array(expected), Value::Array(heard)) if expected.len() == heard.len() => {
                for (index, (expected, heard)) in expected.iter().zip(heard).enumerate() {
                    self.compare_at(&format!("{place}/{index}"), expected, heard)?;
                }
                Ok(())
            }
            (Value::String(text), heard) if text.starts_with('<') && text.ends_with('>') => self
                .stands_for(&text[1..text.len() - 1], heard)
                .map_err(|why| format!("{place}: {why}: {heard}")),
            (Value::String(text), Value::String(heard)) if self.fill(text) == *heard => Ok(()),
            _ if expected == heard => Ok(()),
            _ => Err(format!("{place}: expected {expected}, heard {heard}")),
        }
    }

    /// `text` with what was heard in place of each `<kind:NAME>`; what was never heard stays as it is.
    pub(super) fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            let Some(heard) = value.as_str() else { return text };
            ["id", "text"].iter().fold(text, |text, kind| text.replace(&format!("<{kind}:{name}>"), heard))
        })
    }

    fn stands_for(&mut self, placeholder: &str, heard: &Value) -> Result<(), String> {
        let (kind, name) = match placeholder.split_once(':') {
            Some((kind, name)) => (kind, Some(name)),
            None => (placeholder, None),
        };
        let fits = match kind {
            "id" => heard.as_str().is_some_and(|text| Uuid::parse_str(text).is_ok()),
            "time" => heard.as_i64().is_some_and(is_recent),
            "moment" => heard.as_str().and_then(moment).is_some_and(is_recent),
            "naive" => heard.as_str().is_some_and(is_recent_text),
            "number" => heard.is_number(),
            "text" => heard.as_str().is_some_and(|text| !text.is_empty()),
            _ => return Err(format!("there is no placeholder <{placeholder}>")),
        };
        if !fits {
            return Err(format!("this is no <{kind}>"));
        }
        let Some(name) = name else { return Ok(()) };
        match self.0.get(name) {
            Some(before) if before != heard => Err(format!("<{placeholder}> was {before} before")),
            Some(_) => Ok(()),
            None => {
                // Two names stand for two things.
                if let Some((other, _)) = self.0.iter().find(|(_, value)| *value == heard) {
                    return Err(format!("<{placeholder}> is what <{kind}:{other}> is"));
                }
                self.0.insert(name.to_owned(), heard.clone());
                Ok(())
            }
        }
    }
}

/// What JavaScript's `toISOString` writes, in milliseconds since the Unix epoch.
fn moment(text: &str) -> Option<i64> {
    let is_written_so = text.len() == "2026-01-01T00:00:00.000Z".len() && text.ends_with('Z');
    let moment: jiff::Timestamp = text.parse().ok()?;
    is_written_so.then(|| moment.as_millisecond())
}

/// A moment of now in UTC, without a zone and with six digits below the second.
fn is_recent_text(text: &str) -> bool {
    let is_whole = text.len() == "2026-11-20T10:00:00.123000".len() && text.as_bytes()[19] == b'.';
    let moment =
        text.parse::<jiff::civil::DateTime>().ok().and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok());
    is_whole && moment.is_some_and(|at| is_recent(at.timestamp().as_millisecond()))
}

/// Milliseconds since the Unix epoch, within ten minutes.
fn is_recent(milliseconds: i64) -> bool {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_millis();
    i64::try_from(now).is_ok_and(|now| (now - milliseconds).abs() < 600_000)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_named() {
        let differs =
            |expected: Value, heard: Value| Captures::default().compare(&expected, &heard).unwrap_err();
        assert_eq!(differs(json!({"a": 1}), json!({"a": 2})), "/a: expected 1, heard 2");
        assert_eq!(differs(json!({"a": 1}), json!({})), "/a is missing");
        assert_eq!(differs(json!({}), json!({"a": 1})), "/a was not expected: 1");
        assert_eq!(differs(json!([1]), json!([1, 2])), ": expected [1], heard [1,2]");
        assert_eq!(differs(json!({"a": ["<id>"]}), json!({"a": ["x"]})), "/a/0: this is no <id>: \"x\"");
        assert_eq!(differs(json!("<time>"), json!(5)), ": this is no <time>: 5");
        assert_eq!(differs(json!("<moment>"), json!("now")), ": this is no <moment>: \"now\"");
        assert!(
            differs(json!("<moment>"), json!("2023-10-27T10:00:00.000Z")).contains("this is no <moment>")
        );
        assert!(differs(json!("<thing>"), json!(5)).contains("there is no placeholder <thing>"));
    }

    #[test]
    fn what_was_heard_is_said_back() {
        let mut captures = Captures::default();
        let id = json!("00000000-0000-4000-8000-000000000001");
        captures.compare(&json!("<id:task>"), &id).expect("an id");
        assert_eq!(
            captures.fill("/tasks/<id:task>/<id:other>/<id"),
            "/tasks/00000000-0000-4000-8000-000000000001/<id:other>/<id"
        );
        let room = json!("task:00000000-0000-4000-8000-000000000001");
        assert_eq!(captures.compare(&json!("task:<id:task>"), &room), Ok(()));
        assert!(is_recent_text(&jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6f").to_string()));
        for wrong in ["2001-01-01T00:00:00.000000", "now", "2026-11-20T10:00:00Z"] {
            assert!(!is_recent_text(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_name_stands_for_one_thing_and_two_names_for_two() {
        let id = |last| json!(format!("00000000-0000-4000-8000-00000000000{last}"));
        let mut captures = Captures::default();
        assert_eq!(
            captures.compare(&json!(["<id:a>", "<id:a>", "<id:b>"]), &json!([id(1), id(1), id(2)])),
            Ok(())
        );
        assert!(captures.compare(&json!("<id:a>"), &id(2)).is_err());
        assert!(captures.compare(&json!("<id:c>"), &id(2)).is_err());
        assert_eq!(captures.compare(&json!("<id:c>"), &id(3)), Ok(()));
    }
}

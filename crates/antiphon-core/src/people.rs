//! What people say about themselves, and which agents they belong together with.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::agents::Relation;
use crate::conversation::Message;
use crate::ids::{AgentId, PersonId, Timestamp};
use crate::refusal::{Code, Refusal};

/// Longest name of a person, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// Longest address for mail, in bytes (RFC 5321, section 4.5.3.1.3, without the brackets).
pub const MAX_EMAIL_BYTES: usize = 254;

/// What a person says about themselves. Who has said nothing has the default one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// What they want to be called: 1 to [`MAX_NAME_BYTES`] bytes.
    pub name: Option<String>,
    /// Where mail reaches them. Nobody has proved that it is theirs.
    pub email: Option<String>,
    /// The time zone they live in, by its IANA name: `Asia/Jakarta`.
    pub time_zone: Option<String>,
}

impl Profile {
    /// Whether the profile may be stored: lengths, something like an address, and a time zone that exists.
    pub fn check(&self) -> Result<(), Refusal> {
        if let Some(name) = &self.name {
            check_name(name)?;
        }
        if let Some(email) = &self.email {
            check_email(email)?;
        }
        if let Some(zone) = &self.time_zone {
            self::zone(zone)?;
        }
        Ok(())
    }
}

/// The time zone of that IANA name; a name that nobody has given to one is refused as invalid.
pub fn zone(name: &str) -> Result<TimeZone, Refusal> {
    TimeZone::get(name).map_err(|_| Refusal::invalid("There is no time zone of that name."))
}

/// A person and an agent belong together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bond {
    /// The agent.
    pub agent: AgentId,
    /// The person.
    pub person: PersonId,
    /// Since when.
    pub since: Timestamp,
}

/// A bond, and how things are between the two.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bonded {
    /// The bond.
    pub bond: Bond,
    /// How the agent feels about the person.
    pub relation: Relation,
    /// The last message of their conversation.
    pub last: Option<Message>,
    /// When the person last said something to the agent.
    pub active_at: Option<Timestamp>,
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Refusal::new(Code::TooLarge, "A name has at most 256 bytes."));
    }
    if name.trim().is_empty() || name.chars().any(char::is_control) {
        return Err(Refusal::invalid("A name says something, without control characters."));
    }
    Ok(())
}

/// No more than what tells an address from something else: only mail that arrives proves one.
fn check_email(email: &str) -> Result<(), Refusal> {
    if email.len() > MAX_EMAIL_BYTES {
        return Err(Refusal::new(Code::TooLarge, "An address for mail has at most 254 bytes."));
    }
    let is_plain = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    match email.rsplit_once('@') {
        Some((who, at)) if is_plain && !who.is_empty() && !at.is_empty() => Ok(()),
        _ => Err(Refusal::invalid("This is not an address for mail.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_bounded_and_its_time_zone_exists() {
        let code = |name: Option<&str>, email: Option<&str>, zone: Option<&str>| {
            let text = |text: Option<&str>| text.map(String::from);
            let profile = Profile { name: text(name), email: text(email), time_zone: text(zone) };
            profile.check().map_err(|refusal| refusal.code)
        };
        assert_eq!(code(None, None, None), Ok(()));
        assert_eq!(code(Some("Ada"), Some("ada@example.org"), Some("Asia/Jakarta")), Ok(()));
        assert_eq!(code(Some(&"x".repeat(MAX_NAME_BYTES)), None, None), Ok(()));
        assert_eq!(code(Some(&"x".repeat(MAX_NAME_BYTES + 1)), None, None), Err(Code::TooLarge));
        for name in ["", " ", "a\nb"] {
            assert_eq!(code(Some(name), None, None), Err(Code::Invalid), "{name:?}");
        }
        let address = |bytes: usize| format!("{}@a", "x".repeat(bytes - 2));
        assert_eq!(code(None, Some(&address(MAX_EMAIL_BYTES)), None), Ok(()));
        assert_eq!(code(None, Some(&address(MAX_EMAIL_BYTES + 1)), None), Err(Code::TooLarge));
        for email in ["", "ada", "@a", "ada@", "a da@a", "ada@a\n"] {
            assert_eq!(code(None, Some(email), None), Err(Code::Invalid), "{email:?}");
        }
        for zone in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"] {
            assert_eq!(code(None, None, Some(zone)), Ok(()), "{zone}");
        }
        for zone in ["", "Mars/Base", "../../etc/passwd", "UTC\0", "Asia/Jakarta "] {
            assert_eq!(code(None, None, Some(zone)), Err(Code::Invalid), "{zone:?}");
        }
    }
}

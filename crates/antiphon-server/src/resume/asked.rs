//! What a CONNECT asks about resuming, and how it is answered.

use antiphon_core::actor::SecretHash;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::settings::Recovery;

/// Characters of a `pid`: 256 bits in base64url.
const PID: usize = 43;

/// Longest offset that is looked at, in bytes. Ours are shorter.
const LONGEST_OFFSET: usize = 64;

/// Why a client that asked got a fresh session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// It brought no session.
    New,
    /// There is no such session, or not for this client, or not with this offset.
    Unknown,
    /// The session waited for as long as it may.
    Expired,
    /// More happened than is kept.
    TooMany,
    /// The session has just been resumed, and whoever did is there.
    InUse,
    /// The client may no longer hear everything that the session heard.
    Forbidden,
    /// The session was being told the past of a conversation, of which the rest would be missing.
    CatchingUp,
}

/// What a client asks that wants its session to be resumed, now or later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The session that it had.
    pub(crate) pid: Option<Pid>,
    /// The last offset that it got, whatever it looks like.
    pub(crate) offset: Option<Box<str>>,
}

/// The private name of a session: whoever knows it, and is who had it, may have it.
#[derive(PartialEq, Eq)]
pub(crate) struct Pid(Box<str>);

/// The fields of `auth` that are about resuming.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    recover: Value,
    #[serde(default)]
    pid: Value,
    #[serde(default)]
    offset: Value,
}

impl Asked {
    /// What `auth`, the JSON text of a CONNECT, asks on a mount that allows as much as `allowed`. Whoever does not ask is read no
    /// further than it takes to see that.
    pub(crate) fn of(allowed: Recovery, auth: Option<&str>) -> Option<Self> {
        let may_ask = match allowed {
            Recovery::Never => false,
            Recovery::Asked => auth.is_some_and(|auth| auth.contains("recover")),
            Recovery::Always => true,
        };
        if !may_ask {
            return None;
        }
        let fields = auth.and_then(|auth| serde_json::from_str::<Fields>(auth).ok());
        let Some(Fields { recover, pid, offset }) = fields else {
            return (allowed == Recovery::Always).then_some(Self { pid: None, offset: None });
        };
        (allowed == Recovery::Always || recover == Value::Bool(true))
            .then(|| Self { pid: text(pid, PID).map(Pid), offset: text(offset, LONGEST_OFFSET) })
    }
}

/// A text of at most so many bytes; the empty one, which means nothing, for everything else but nothing at all.
fn text(value: Value, longest: usize) -> Option<Box<str>> {
    match value {
        Value::Null => None,
        Value::String(text) if text.len() <= longest => Some(text.into()),
        _ => Some("".into()),
    }
}

impl Pid {
    /// A fresh one.
    pub(crate) fn random() -> Self {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        Self(BASE64_URL_SAFE_NO_PAD.encode(bytes).into())
    }

    /// What is kept of it.
    pub(crate) fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The object that answers the CONNECT of a socket called `sid`; no reason means that the session was resumed.
    pub(crate) fn answer(&self, sid: &str, reason: Option<Reason>) -> String {
        #[derive(Serialize)]
        struct Answer<'a> {
            sid: &'a str,
            pid: &'a str,
            recovery: Outcome,
        }
        #[derive(Serialize)]
        struct Outcome {
            recovered: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: Option<Reason>,
        }
        let recovery = Outcome { recovered: reason.is_none(), reason };
        serde_json::to_string(&Answer { sid, pid: &self.0, recovery }).expect("text serializes")
    }
}

impl std::fmt::Debug for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pid(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(pid: Option<&str>, offset: Option<&str>) -> Option<Asked> {
        Some(Asked { pid: pid.map(|pid| Pid(pid.into())), offset: offset.map(Into::into) })
    }

    #[test]
    fn only_true_asks_and_only_where_asking_is_allowed() {
        for (auth, expected) in [
            (None, None),
            (Some("{}"), None),
            (Some(r#"{"token":"recover"}"#), None),
            (Some(r#"{"recover":"true"}"#), None),
            (Some(r#"{"recover":1,"pid":"p"}"#), None),
            (Some(r#"{"recover":true}"#), asked(None, None)),
            (Some(r#"{"token":"t","recover":true,"pid":"p","offset":"o"}"#), asked(Some("p"), Some("o"))),
            (Some(r#"{"recover":true"#), None),
            (Some(r#"["recover"]"#), None),
        ] {
            assert_eq!(Asked::of(Recovery::Asked, auth), expected, "{auth:?}");
            assert_eq!(Asked::of(Recovery::Never, auth), None);
            assert!(Asked::of(Recovery::Always, auth).is_some(), "{auth:?}");
        }
        assert_eq!(Asked::of(Recovery::Always, Some(r#"{"pid":"p"}"#)), asked(Some("p"), None));
    }

    #[test]
    fn a_key_that_is_no_text_or_too_long_is_one_that_no_session_has() {
        let long = "x".repeat(LONGEST_OFFSET + 1);
        for wrong in ["7", "true", "{}", "[\"p\"]", &format!("\"{long}\"")] {
            let auth = format!(r#"{{"recover":true,"pid":{wrong},"offset":{wrong}}}"#);
            assert_eq!(Asked::of(Recovery::Asked, Some(&auth)), asked(Some(""), Some("")), "{wrong}");
        }
        let nothing = r#"{"recover":true,"pid":null,"offset":null}"#;
        assert_eq!(Asked::of(Recovery::Asked, Some(nothing)), asked(None, None));
    }

    #[test]
    fn a_pid_is_random_and_is_not_printed() {
        let pid = Pid::random();
        assert_eq!(pid.0.len(), PID);
        assert_ne!(pid, Pid::random());
        assert!(!format!("{:?}", asked(Some(&pid.0), None)).contains(&*pid.0));
        assert_eq!(
            pid.answer("s", None),
            format!(r#"{{"sid":"s","pid":"{}","recovery":{{"recovered":true}}}}"#, pid.0)
        );
        let expected = r#""recovery":{"recovered":false,"reason":"too_many"}}"#;
        assert!(pid.answer("s", Some(Reason::TooMany)).ends_with(expected));
    }
}

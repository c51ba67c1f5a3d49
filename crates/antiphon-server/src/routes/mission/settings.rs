//! What can be configured about people who log in to the mission API: `[mission]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::auth::check_secret;
use crate::config::Secret;

/// People who log in to the mission API, wherever it is mounted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The secret that login tokens are signed with (HS256), at least 32 bytes. Tokens that somebody else signed with it are
    /// believed, too, if they have no `iss` and name a known person. Without one, a secret is made and kept in the data
    /// directory. Default: none.
    pub secret: Option<Secret>,
    /// A file that holds `secret`. Default: none.
    pub secret_file: Option<PathBuf>,
    /// How many milliseconds a login token is good for, at least 1000. It can be renewed for as long as `auth.refresh` says.
    /// Default: 1800000.
    pub session: u64,
    /// Whether people may add themselves: `closed`, or as `viewers`, who see everything but conversations and change nothing. They
    /// choose names among those of all people of this server, so this does not go with an issuer that adds people. Default: `closed`.
    pub registration: Registration,
}

/// Whether people may add themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Registration {
    /// Only who may do everything adds people.
    #[default]
    Closed,
    /// Anybody may, and can look on then.
    Viewers,
}

impl Default for Settings {
    fn default() -> Self {
        Self { secret: None, secret_file: None, session: 1_800_000, registration: Registration::Closed }
    }
}

impl Settings {
    /// Looks for settings that cannot work. `demo` lets the documents' placeholders pass.
    pub fn check(&self, demo: bool) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.session >= 1_000,
            "[mission] session is a number of milliseconds, at least 1000"
        );
        if let Some(secret) = &self.secret {
            check_secret(secret, demo).map_err(|error| error.context("[mission] secret"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t29_a_secret_that_is_short_or_printed_in_documents_is_refused_outside_the_demo() {
        let check = |secret: &str, demo| {
            let settings = Settings { secret: Some(Secret::new(secret)), ..Settings::default() };
            settings.check(demo).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(check("0123456789abcdef0123456789abcdef", false), Ok(()));
        for (secret, demo, named) in [
            ("0123456789abcdef", false, "32 bytes"),
            ("your-secret-key-change-in-production", false, "placeholder"),
            ("your-secret", true, "32 bytes"),
        ] {
            let error = check(secret, demo).unwrap_err();
            assert!(error.contains(named) && !error.contains(secret), "{error}");
        }
        assert_eq!(check("your-secret-key-change-in-production", true), Ok(()));
        assert!(Settings { session: 999, ..Settings::default() }.check(false).is_err());
    }
}

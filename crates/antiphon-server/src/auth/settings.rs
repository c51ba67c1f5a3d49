//! What can be configured about who somebody is.

use serde::Deserialize;

/// Who somebody is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Milliseconds that a connection whose credential has expired has to bring a new one with `antiphon:refresh`, before it is
    /// closed. Until then it hears everything and may do nothing. Default: 20000.
    pub grace: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { grace: 20_000 }
    }
}

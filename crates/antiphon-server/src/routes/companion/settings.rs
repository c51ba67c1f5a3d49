//! What can be configured about the companion API: `[companion]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::pace::Pace;

/// The routes of the companion API.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Messages that a person may say to personas within any 60 seconds over `POST /chat`. One more is answered 429. 0 sets no
    /// limit. Default: 20.
    pub messages_per_minute: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { messages_per_minute: 20 }
    }
}

/// What of the configuration these routes go by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// See [`Settings::messages_per_minute`].
    pub(super) messages_per_minute: u32,
    /// Logins per address and minute, as for the HTTP API of backends.
    pub(super) logins_per_minute: u32,
    /// How often somebody may ask, as for the HTTP API of backends.
    pub(super) requests: Pace,
    /// How many tokens one coin is worth.
    pub(super) tokens_per_coin: u64,
}

impl Terms {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            messages_per_minute: config.companion.messages_per_minute,
            logins_per_minute: config.api.logins_per_minute,
            requests: Pace::new(config.api.commands_per_second, config.api.commands_burst),
            tokens_per_coin: config.wallet.tokens_per_coin,
        }
    }
}

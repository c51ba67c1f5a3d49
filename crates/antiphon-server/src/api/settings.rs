//! How much of the HTTP API a backend, or a stranger who logs in, may use.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of the HTTP API under `/v1`. It is served on every listener that says `api = true`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Largest request body in bytes; a larger one is answered 413. Default: 1000000.
    pub max_body: usize,
    /// Commands that one request may bring. Each counts against `commands_per_second`. Default: 50.
    pub max_batch: usize,
    /// Commands and other requests that one backend may send per second in the long run; one more is answered 429 with
    /// `Retry-After`. 0 sets no limit. Default: 500.
    pub commands_per_second: u32,
    /// How many of these may come at once before `commands_per_second` counts. Default: 1000.
    pub commands_burst: u32,
    /// Tries to log in, to refresh, to log out or to get a nonce, per minute and address (IPv4 address, IPv6 /64). Those that
    /// `limits.exempt` names are not counted. 0 sets no limit. Default: 20.
    pub logins_per_minute: u32,
    /// `GET /v1/tail` streams that may be open at the same time. Default: 16.
    pub max_tails: usize,
    /// Events that may wait for one such stream before it skips some, and says how many. Default: 1024.
    pub tail_queue: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_body: 1_000_000,
            max_batch: 50,
            commands_per_second: 500,
            commands_burst: 1_000,
            logins_per_minute: 20,
            max_tails: 16,
            tail_queue: 1_024,
        }
    }
}

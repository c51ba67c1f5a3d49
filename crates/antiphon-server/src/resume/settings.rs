//! Who may resume a session, for how long, and how much is kept for it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Sessions that are resumed after their connection was lost.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Milliseconds for which a session waits for its client after its connection was lost, and for which what a connected client
    /// was told is kept. Default: 120000.
    pub window: u64,
    /// Events kept for one session. When there are more the oldest go, and a client that has not had them is told that it cannot
    /// resume. Default: 1000.
    pub events: usize,
    /// Bytes kept for one session; what is above goes as with `events`. Default: 1048576.
    pub bytes: usize,
    /// Sessions of one person that wait for their client at a time. One more ends the one that has waited longest. Default: 16.
    pub waiting_per_person: usize,
    /// Sessions that wait for their clients at a time, all together. One more does not wait. Default: 20000.
    pub waiting: usize,
    /// Whether sessions outlive this process: they are written down as they go, below the data directory, and found again by the next
    /// one, even if this one is killed. Only with a store on disk. Default: true.
    pub survive: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            window: 120_000,
            events: 1_000,
            bytes: 1 << 20,
            waiting_per_person: 16,
            waiting: 20_000,
            survive: true,
        }
    }
}

/// Whose sessions on a mount may be resumed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Recovery {
    /// Those of clients that ask with `auth: {recover: true}`.
    #[default]
    Asked,
    /// All of them. Every event then has one more argument at its end, which not every client library takes well.
    Always,
    /// None.
    Never,
}

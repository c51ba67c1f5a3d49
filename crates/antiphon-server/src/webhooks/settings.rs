//! What can be configured about webhooks.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::config::Secret;

/// How webhooks are delivered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// After how many milliseconds without a connection somebody is gone for good, which `person.disconnected` tells. Whoever
    /// comes back before is not told of at all. Default: 60000.
    pub gone_after: u64,
    /// How many milliseconds to wait after each attempt that failed, give or take a tenth; after one attempt more than there are
    /// numbers a delivery is given up. Default: `[5000, 300000, 1800000, 7200000, 18000000, 36000000, 50400000, 72000000, 86400000]`.
    pub retries: Vec<u64>,
    /// How many deliveries to one endpoint may be under way at the same time, 1 to 1000. Default: 8.
    pub concurrency: usize,
    /// How many milliseconds dead letters are kept. Default: 2592000000.
    pub keep_dead: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            gone_after: 60_000,
            // What the specification of Standard Webhooks suggests.
            retries: vec![
                5_000, 300_000, 1_800_000, 7_200_000, 18_000_000, 36_000_000, 50_400_000, 72_000_000,
                86_400_000,
            ],
            concurrency: 8,
            keep_dead: 2_592_000_000,
        }
    }
}

/// Another server that is told what happens here. May be given several times, each with another URL.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Where deliveries are POSTed to: https, at a public address, or what `[outbound] allow` names. Default: empty, which is
    /// refused.
    pub url: String,
    /// What deliveries are signed with: `whsec_` and 24 to 64 bytes in base64. Several, with spaces between them, all sign, so that
    /// one can replace another. Default: none, which is refused.
    pub secret: Option<Secret>,
    /// A file that holds `secret`. Default: none.
    pub secret_file: Option<PathBuf>,
    /// Which events are told, by name. Default: `["person.connected", "person.disconnected", "message.posted"]`.
    pub events: Vec<String>,
    /// Only events in one of these places: `everyone`, `person:<id>`, `agent:<id>`, `conversation:<uuid>`, `named:<name>`.
    /// Default: all.
    pub topics: Vec<String>,
    /// Of events that concern an agent, only those that concern one of these. Default: all.
    pub agents: Vec<String>,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret: None,
            secret_file: None,
            events: ["person.connected", "person.disconnected", "message.posted"].map(str::to_owned).to_vec(),
            topics: Vec::new(),
            agents: Vec::new(),
        }
    }
}

//! What can be configured, with every default beside it.
//!
//! The docs are what operators read: `antiphon config print` shows them above each value.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Problems, check};
use crate::routes::mission;
use crate::{admin, api, auth, models, outbound, resume, telemetry, wallet, webhooks};

pub use crate::transport::address::Network;

/// The whole configuration of one server process.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The process itself.
    pub server: Server,
    /// A port, and what is served on it. May be given several times. When it is not given at all, the chat API is served at
    /// its documented place, `127.0.0.1:3000/api/socketio`.
    #[serde(rename = "listener")]
    pub listeners: Vec<Listener>,
    /// How much of everything.
    pub limits: Limits,
    /// The HTTP API for backends.
    pub api: api::Settings,
    /// Who somebody is: sessions, wallets, and tokens of others.
    pub auth: auth::Settings,
    /// Sessions that are resumed after their connection was lost.
    pub resume: resume::Settings,
    /// The embedded database.
    pub store: Store,
    /// Who answers.
    pub model: models::Settings,
    /// Agents at work.
    pub agents: Agents,
    /// Tokens: how many one gets, when, and how payments on a chain become some.
    pub wallet: wallet::Settings,
    /// People who log in to the mission API.
    pub mission: mission::Settings,
    /// Connections that the server opens itself.
    pub outbound: outbound::Settings,
    /// How webhooks are delivered.
    pub webhooks: webhooks::Settings,
    /// Other servers that are told what happens here.
    #[serde(rename = "webhook")]
    pub endpoints: Vec<webhooks::EndpointSettings>,
    /// A plan by its name, created or replaced at start-up. `free`, `pro` and `enterprise` exist without being named.
    #[serde(rename = "plan")]
    pub plans: BTreeMap<String, Plan>,
    /// The operator's port.
    pub admin: admin::Settings,
    /// Metrics and traces.
    pub telemetry: telemetry::Settings,
}

/// The process itself.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// How many cores serve connections, one runtime each; 0 means all that the machine has. Default: 0.
    pub cores: usize,
    /// The directory where data is kept; it belongs to one server at a time. Default: `data`.
    pub data: PathBuf,
    /// Over how many milliseconds a graceful stop spreads the closing of connections. Default: 20000.
    pub drain: u64,
    /// Networks and addresses of proxies that are believed when they say in `X-Forwarded-For` or `Forwarded` whom they speak for;
    /// that client is what limits per address count. Default: none.
    pub trusted_proxies: Vec<Network>,
}

impl Default for Server {
    fn default() -> Self {
        Self { cores: 0, data: PathBuf::from("data"), drain: 20_000, trusted_proxies: Vec::new() }
    }
}

/// A port.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, `127.0.0.1:3000`. Port 0 takes any free one.
    pub address: SocketAddr,
    /// Serves TLS with these files; without them the port is plain, and TLS ends at a proxy.
    pub tls: Option<Tls>,
    /// Serves the HTTP API for backends (`/v1`, `/openapi.json`, `/docs`), too. Default: false.
    #[serde(default)]
    pub api: bool,
    /// A path on this port, and what is spoken there. May be given several times.
    #[serde(rename = "mount", default)]
    pub mounts: Vec<Mount>,
}

/// Files of a TLS identity, PEM.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, leaf first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// A path on a port: Engine.IO's numbers and the dialects spoken there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The path, with or without a slash at the end: both are served.
    pub path: String,
    /// Dialects by name; a CONNECT goes to the first that accepts it.
    pub dialects: Vec<String>,
    /// Milliseconds between the pings that the server sends; at least 100. Default: 25000.
    #[serde(default = "ping_interval")]
    pub ping_interval: u64,
    /// Milliseconds to wait for a pong before the connection is closed; at least 100. Default: 20000.
    #[serde(default = "ping_timeout")]
    pub ping_timeout: u64,
    /// Bytes of the largest message that is taken, over either transport, 1000 to 100000000. A larger one ends its connection:
    /// close code 1009 on a WebSocket, status 413 on a polling request. Default: 1000000.
    #[serde(default = "max_payload")]
    pub max_payload: usize,
    /// Milliseconds a connection has to CONNECT to a namespace before it is closed. Default: 10000.
    #[serde(default = "ten_seconds")]
    pub connect_timeout: u64,
    /// Milliseconds an upgrade from polling to WebSocket may take; one that takes longer is given up, and polling goes on.
    /// Default: 10000.
    #[serde(default = "ten_seconds")]
    pub upgrade_timeout: u64,
    /// Origins that browsers may connect from, besides the one that the server itself is reached at; `*` allows any, then
    /// without browser credentials. Pages from elsewhere are answered 403.
    #[serde(default)]
    pub origins: Vec<String>,
    /// Whose sessions can be resumed after their connection was lost. Default: `asked`.
    #[serde(default)]
    pub recovery: resume::settings::Recovery,
}

impl Mount {
    /// A mount with the defaults of the configuration file.
    pub fn new(path: &str, dialect: &str) -> Self {
        Self {
            path: path.into(),
            dialects: vec![dialect.into()],
            ping_interval: ping_interval(),
            ping_timeout: ping_timeout(),
            max_payload: max_payload(),
            connect_timeout: ten_seconds(),
            upgrade_timeout: ten_seconds(),
            origins: Vec::new(),
            recovery: resume::settings::Recovery::default(),
        }
    }
}

fn ping_interval() -> u64 {
    25_000
}

fn ping_timeout() -> u64 {
    20_000
}

fn max_payload() -> usize {
    1_000_000
}

fn ten_seconds() -> u64 {
    10_000
}

/// How much of everything a client may use, and what happens to one that asks for more.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes that may wait for one connection. Above it volatile events, such as typing, are dropped and pieces of one answer
    /// are joined; when that does not help the connection is closed as too slow. Default: 1048576.
    pub outbox: usize,
    /// Milliseconds one write to a connection may stall; after that it is closed as too slow. Default: 10000.
    pub write_stall: u64,
    /// Milliseconds for the head of an HTTP request to arrive, and again for its body. A late head closes the connection, a
    /// late body is answered 408. Default: 10000.
    pub request: u64,
    /// Open connections on the whole server. One more is answered 503 with `Retry-After: 1`. Default: 100000.
    pub connections: usize,
    /// Binary attachments of one Socket.IO packet. A packet that announces more ends its connection. Default: 10.
    pub attachments: usize,
    /// Levels of nested arrays and objects in a packet. A packet with more ends its connection. Default: 64.
    pub depth: usize,
    /// Bytes of an event's name. A packet with a longer one ends its connection. Default: 256.
    pub event_name: usize,
    /// Topics one socket may listen to at a time. One more is refused, and the socket goes on with what it has. Default: 64.
    pub rooms: usize,
    /// Namespaces one connection may be in at a time. One more CONNECT is refused with "Too many namespaces". Default: 8.
    pub namespaces: usize,
    /// Messages of one conversation that may wait for an agent's answer, besides the one that is being answered. One more is
    /// refused as rate limited. Default: 16.
    pub waiting_replies: usize,
    /// Events that one connection may send per second in the long run, all of its namespaces together; CONNECTs count, too. One
    /// more is refused as rate limited and told when to try again. 0 sets no limit. Default: 20.
    pub events_per_second: u32,
    /// Events that one connection may send at once before `events_per_second` counts. Default: 40.
    pub events_burst: u32,
    /// Events that no dialect of the connection knows, per connection and minute. Each is refused; one more ends the connection.
    /// 0 sets no limit. Default: 10.
    pub unknown_events: u32,
    /// Open sessions of one address (IPv4 address, IPv6 /64), and half as many as it may have HTTP connections. One more session
    /// is answered 429 with `Retry-After`; one more HTTP connection is closed. 0 sets no limit. Default: 1000.
    pub connections_per_address: usize,
    /// CONNECTs of one person that may be open at a time, whichever credentials they come with; a connection in two namespaces is
    /// two of them. One more is refused at CONNECT as rate limited. 0 sets no limit. Default: 100.
    pub connections_per_person: usize,
    /// Sessions that one network (IPv4 /24, IPv6 /64) may open per second, and as many at once; requests for sessions that do
    /// not exist count, too. One more is answered 429 with `Retry-After`. 0 sets no limit. Default: 100.
    pub handshakes_per_second: u32,
    /// Connections that are accepted per second on all ports together, and as many at once. More wait in the kernel's queue until
    /// it is their turn. 0 sets no limit. Default: 2000.
    pub accepts_per_second: u32,
    /// Networks and addresses that the limits per address and per network do not count, unless they are among
    /// `trusted_proxies`. Default: `["127.0.0.0/8", "::1/128"]`.
    pub exempt: Vec<Network>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            outbox: 1 << 20,
            write_stall: 10_000,
            request: 10_000,
            connections: 100_000,
            attachments: 10,
            depth: 64,
            event_name: 256,
            rooms: 64,
            namespaces: 8,
            waiting_replies: 16,
            events_per_second: 20,
            events_burst: 40,
            unknown_events: 10,
            connections_per_address: 1_000,
            connections_per_person: 100,
            handshakes_per_second: 100,
            accepts_per_second: 2_000,
            exempt: ["127.0.0.0/8", "::1/128"]
                .map(|text| text.parse().expect("loopback is written as networks are"))
                .to_vec(),
        }
    }
}

/// The embedded database.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Keeps everything in memory, and forgets it when the server stops. Default: false.
    pub ephemeral: bool,
    /// When a commit counts as durable. Default: `full`.
    pub synchronous: Synchronous,
}

/// When a commit counts as durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Synchronous {
    /// Flushed to the disk at every commit: survives the loss of power.
    #[default]
    Full,
    /// Handed to the operating system: survives the death of the process, not of the machine.
    Normal,
}

/// Agents at work.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Agents {
    /// After how many milliseconds without a sign of life an agent at work counts as gone, 1000 to 86400000: its tasks wait for
    /// others then. Default: 30000.
    pub heartbeat: u64,
}

impl Default for Agents {
    fn default() -> Self {
        Self { heartbeat: 30_000 }
    }
}

/// What a plan allows; a number that is left out is unlimited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// Connections per person and minute. One more is refused at CONNECT. Unlimited when left out.
    pub connections_per_minute: Option<u32>,
    /// Messages per person and calendar month (UTC). One more is refused as over quota. Unlimited when left out.
    pub messages_per_month: Option<u64>,
    /// Agents per person. Unlimited when left out.
    pub agents: Option<u32>,
}

impl Config {
    /// What is served when nobody says what: the chat API at its documented place, on loopback.
    pub(crate) fn documented() -> Vec<Listener> {
        vec![Listener {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            tls: None,
            api: false,
            mounts: vec![Mount::new("/api/socketio", "chat")],
        }]
    }

    /// Whether any mount speaks the dialect of this name.
    pub(crate) fn mounts(&self, dialect: &str) -> bool {
        self.listeners
            .iter()
            .flat_map(|listener| &listener.mounts)
            .any(|mount| mount.dialects.iter().any(|name| name == dialect))
    }

    /// Looks for settings that cannot work together; the error has a line for each.
    pub fn check(&self) -> Result<(), Problems> {
        Problems::of(check::problems(self).into_iter().map(Into::into).collect())
    }

    /// The drain time of a graceful stop.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.server.drain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<Config> {
        let config: Config = toml::from_str(text)?;
        config.check()?;
        Ok(config)
    }

    #[test]
    fn a_mount_has_the_defaults_of_the_reference() {
        let config = parse(
            "[[listener]]\naddress = '127.0.0.1:0'\n[[listener.mount]]\npath = '/socket.io'\ndialects = ['chat']",
        )
        .unwrap();
        let mount = &config.listeners[0].mounts[0];
        assert_eq!((mount.ping_interval, mount.ping_timeout, mount.max_payload), (25_000, 20_000, 1_000_000));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        let error = parse("[server]\ncoers = 2").unwrap_err().to_string();
        assert!(error.contains("coers") && error.contains("cores"), "{error}");
    }

    #[test]
    fn a_config_without_listeners_is_refused() {
        assert!(parse("").is_err());
    }
}

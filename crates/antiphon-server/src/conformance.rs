//! The handlers that the official protocol suites expect, over the same transport code as everything else.
//!
//! `/engine.io` sends Engine.IO messages back, `/socket.io` has the namespaces `/` and `/custom`, `/echo` sends WebSocket
//! messages back.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use antiphon_core::actor::Actor;
use antiphon_core::command::Outcome;
use antiphon_core::dialect::{Args, ConnectError, Credential, Dialect, Inbound, Out};
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;

use crate::admin;
use crate::config::{Config, Limits, Listener, Mount, Server, Store};
use crate::mount::Serves;
use crate::wiring::Extras;

/// Configuration and extras of a conformance server on `port` of the loopback address.
pub fn server(port: u16) -> (Config, Extras) {
    let mount = |path: &str, dialect: &str| Mount {
        ping_interval: 300,
        ping_timeout: 200,
        origins: vec!["*".into()],
        ..Mount::new(path, dialect)
    };
    let mut frames = mount("/echo", "echo");
    frames.max_payload = 100_000_000;
    let config = Config {
        listeners: vec![Listener {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            tls: None,
            api: false,
            routes: false,
            mounts: vec![mount("/socket.io", "conformance"), mount("/engine.io", "echo"), frames],
        }],
        // One core, as the suites expect of a server: two requests sent at once are served in the order of their arrival.
        server: Server { cores: 1, ..Server::default() },
        store: Store { ephemeral: true, ..Store::default() },
        // The suites send as fast as they can, names that nobody knows among it.
        limits: Limits { events_per_second: 0, unknown_events: 0, ..Limits::default() },
        admin: admin::Settings { enabled: false, ..admin::Settings::default() },
        ..Config::default()
    };
    let extras = Extras {
        dialects: vec![Arc::new(Conformance)],
        echoes: vec![("/engine.io".into(), Serves::Engine), ("/echo".into(), Serves::Frames)],
        ..Extras::default()
    };
    (config, extras)
}

/// Not an API: says back what it hears.
struct Conformance;

impl Dialect for Conformance {
    fn name(&self) -> &'static str {
        "conformance"
    }

    fn namespaces(&self) -> &'static [&'static str] {
        &["/", "/custom"]
    }

    fn accepts(&self, _auth: Option<&str>) -> bool {
        true
    }

    fn credential(&self, _auth: Option<&str>) -> Result<Credential, Refusal> {
        Ok(Credential::None)
    }

    fn refused(&self, why: &Refusal) -> ConnectError {
        ConnectError { message: why.message.to_string(), data: None }
    }

    fn seats(&self, _actor: &Actor) -> Vec<Topic> {
        Vec::new()
    }

    fn welcome(&self, _actor: &Actor, auth: Option<&str>, _at: Timestamp, out: &mut Out) {
        out.emit_raw("auth", auth.unwrap_or("{}"));
    }

    fn inbound(&self, event: &str, args: &Args, _at: Timestamp, out: &mut Out) -> Inbound {
        // The arguments go back as they came, placeholders and all.
        let json = args.json().trim();
        let list = json.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or_default();
        match event {
            "message" => out.emit_raw("message-back", list),
            "message-with-ack" => out.ack_raw(list),
            _ => return Inbound::Unknown,
        }
        out.attach(args.attachments());
        Inbound::Answered
    }

    fn reply(&self, _event: &str, _outcome: &Result<Outcome, Refusal>, _at: Timestamp, _out: &mut Out) {}

    fn dismissed(&self, _why: &Refusal, _at: Timestamp, _out: &mut Out) {}

    fn outbound(&self, _event: &Event, _out: &mut Out) {}
}

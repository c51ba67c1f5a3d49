//! The demo: the documents' own snippets run verbatim, on this machine only.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::admin;
use crate::config::{Config, Listener, Mount, Server, Store};
use crate::wiring::Served;

/// Where browsers that try the demo out may come from, besides the demo's own ports.
const ORIGINS: [&str; 6] = [
    "http://localhost:3000",
    "http://127.0.0.1:3000",
    "http://localhost:3001",
    "http://localhost:5173",
    "http://127.0.0.1:5173",
    "http://localhost:8080",
];

/// Which ports the demo takes.
#[derive(Clone, Copy, Debug)]
pub enum Places {
    /// The documented ones, all moved by this much.
    Documented(u16),
    /// Any that are free.
    Free,
}

/// The demo's configuration. Always on loopback.
pub fn config(data: Option<PathBuf>, places: Places) -> Config {
    let port = |documented: u16| match places {
        Places::Documented(offset) => documented.saturating_add(offset),
        Places::Free => 0,
    };
    let chat = Mount { origins: ORIGINS.map(str::to_owned).to_vec(), ..Mount::new("/api/socketio", "chat") };
    Config {
        server: Server {
            data: data.clone().unwrap_or_else(|| PathBuf::from("data/demo")),
            // Its few tabs may all come back at once; whoever stops it does not want to wait for them.
            drain: 0,
            ..Server::default()
        },
        listeners: vec![Listener {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port(3000))),
            tls: None,
            api: true,
            mounts: vec![chat],
        }],
        store: Store::default(),
        admin: admin::Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port(9464))),
            ..admin::Settings::default()
        },
        ..Config::default()
    }
}

/// What the demo says when it is ready.
pub fn banner(served: &[Served], admin: Option<SocketAddr>) -> String {
    let mut text = String::from(
        "\nAntiphon, in DEMO MODE: the documents' placeholder keys work. Loopback only; do not use it for anything real.\n\n",
    );
    for mount in served {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {:<10} http://{}{}", mount.dialects.join("+"), mount.address, mount.path);
    }
    if let Some(admin) = admin {
        let _ = writeln!(text, "  {:<10} http://{admin}/metrics", "metrics");
    }
    if let Some(chat) = served.iter().find(|mount| mount.dialects.iter().any(|name| name == "chat")) {
        let _ = write!(
            text,
            r#"
Paste this into Node (`npm install socket.io-client` first):

  const {{ io }} = require("socket.io-client");
  const socket = io("http://{}", {{ path: "{}", auth: {{ token: "your-api-key" }} }});
  socket.onAny((event, data) => console.log(event, data));
  socket.emit("chat:message", {{ agentId: "agent-123", message: "Hello!", userId: "user-123" }});

"#,
            chat.address, chat.path
        );
    }
    text
}

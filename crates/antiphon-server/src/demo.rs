//! The demo: the documents' own snippets run verbatim, on this machine only.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::config::{Config, Listener, Mount, Server, Store};
use crate::wiring::Served;
use crate::{admin, auth, proactive};

/// Where browsers that try the demo out may come from, besides the demo's own ports.
const ORIGINS: [&str; 6] = [
    "http://localhost:3000",
    "http://127.0.0.1:3000",
    "http://localhost:3001",
    "http://localhost:5173",
    "http://127.0.0.1:5173",
    "http://localhost:8080",
];

/// Chains that wallets which try the demo out are on: Ethereum, its test chain Sepolia, and what nodes on one's own machine use.
const CHAINS: [u64; 3] = [1, 11_155_111, 31_337];

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
    // A page signs in to where it came from, so the hosts are those of the origins; first the demo's own, whatever its port.
    let own = match places {
        Places::Documented(_) => port(3000),
        Places::Free => 3000,
    };
    let mut domain = vec![format!("localhost:{own}"), format!("127.0.0.1:{own}")];
    for host in ORIGINS.iter().filter_map(|origin| origin.strip_prefix("http://")) {
        if domain.iter().all(|known| known != host) {
            domain.push(host.to_owned());
        }
    }
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
        auth: auth::Settings { domain, chains: CHAINS.to_vec(), ..auth::Settings::default() },
        admin: admin::Settings {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, port(9464))),
            ..admin::Settings::default()
        },
        proactive: proactive::Settings { enabled: true, ..proactive::Settings::default() },
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wallets_sign_in_to_the_demo_wherever_it_is_and_to_pages_that_may_come_to_it() {
        let domain = |places| {
            let config = config(None, places);
            config.auth.check(true).unwrap();
            config.auth.domain
        };
        let documented = domain(Places::Documented(0));
        assert_eq!(documented[..2], ["localhost:3000", "127.0.0.1:3000"]);
        assert_eq!(documented.iter().filter(|host| *host == "localhost:3000").count(), 1);
        assert_eq!(
            domain(Places::Documented(100))[..3],
            ["localhost:3100", "127.0.0.1:3100", "localhost:3000"]
        );
        assert!(domain(Places::Free).contains(&"localhost:5173".to_owned()));
    }
}

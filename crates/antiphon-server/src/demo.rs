//! The demo: the documents' own snippets run verbatim, on this machine only.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::auth::placeholders;
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
    if let Places::Documented(_) = places {
        domain.extend(["localhost", "127.0.0.1"].map(|host| format!("{host}:{}", port(8000))));
    }
    for host in ORIGINS.iter().filter_map(|origin| origin.strip_prefix("http://")) {
        if domain.iter().all(|known| known != host) {
            domain.push(host.to_owned());
        }
    }
    let mount = |path: &str, dialects: &[&str], ping_timeout: u64| Mount {
        dialects: dialects.iter().map(|name| (*name).to_owned()).collect(),
        ping_timeout,
        origins: ORIGINS.map(str::to_owned).to_vec(),
        ..Mount::new(path, "")
    };
    let chat = mount("/api/socketio", &["chat"], 20_000);
    let shared = vec![
        // On the default path a token and no wallet is for the second; its Python clients come here.
        mount("/socket.io", &["companion", "mission"], 20_000),
        // What JavaScript clients make of the documented path, and what was served in truth.
        mount("/ws", &["mission"], 30_000),
        mount("/ws/socket.io", &["mission"], 30_000),
    ];
    let listener = |documented: u16, mounts| Listener {
        address: SocketAddr::from((Ipv4Addr::LOCALHOST, port(documented))),
        tls: None,
        api: true,
        routes: true,
        mounts,
    };
    Config {
        server: Server {
            data: data.clone().unwrap_or_else(|| PathBuf::from("data/demo")),
            // Its few tabs may all come back at once; whoever stops it does not want to wait for them.
            drain: 0,
            ..Server::default()
        },
        listeners: vec![listener(3000, vec![chat]), listener(8000, shared)],
        store: Store::default(),
        auth: auth::Settings {
            domain,
            chains: CHAINS.to_vec(),
            // The documents' clients name a wallet and prove nothing.
            unproven_wallets: auth::UnprovenWallets::Local,
            ..auth::Settings::default()
        },
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
        let _ = writeln!(text, "  {:<18} http://{}{}", mount.dialects.join("+"), mount.address, mount.path);
    }
    if let Some(admin) = admin {
        let _ = writeln!(text, "  {:<18} http://{admin}/metrics", "metrics");
    }
    let _ = writeln!(
        text,
        "\n  chat               auth.token \"your-api-key\"\n  companion          join {:?}\n  mission            \
         auth.token \"your-jwt-token\"\n  your back end      Authorization: Bearer your-service-key",
        placeholders::WALLET
    );
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
    fn the_demo_is_where_the_documents_say_and_stays_on_this_machine() {
        let config = config(None, Places::Documented(0));
        config.check().unwrap();
        let mut places = Vec::new();
        for listener in &config.listeners {
            assert!(listener.address.ip().is_loopback());
            for mount in &listener.mounts {
                let timing = (mount.ping_interval, mount.ping_timeout);
                places.push((listener.address.port(), &*mount.path, mount.dialects.join("+"), timing));
            }
        }
        let place = |port, path, dialects: &str, ping_timeout| {
            (port, path, dialects.to_owned(), (25_000, ping_timeout))
        };
        assert_eq!(
            places,
            [
                place(3000, "/api/socketio", "chat", 20_000),
                place(8000, "/socket.io", "companion+mission", 20_000),
                place(8000, "/ws", "mission", 30_000),
                place(8000, "/ws/socket.io", "mission", 30_000),
            ]
        );
        let moved = super::config(None, Places::Documented(100));
        assert_eq!(moved.listeners[1].address.port(), 8100);
    }

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
            ["localhost:3100", "127.0.0.1:3100", "localhost:8100"]
        );
        assert!(domain(Places::Free).contains(&"localhost:5173".to_owned()));
    }
}

//! The companion API over real sockets.
//!
//! Its events are `scripts/companion/*.script`.

use antiphon_server::config::Config;

use crate::script::{Manner, play_all, said_and_heard};
use crate::support::engine::Transport;
use crate::support::people;

const COMPANION: Manner = Manner { folder: "companion", config, welcome: None, question: ("join", r#""""#) };

/// One core, the companion API at its documented path, wallets that are whose they say, and agents that say what they were told.
fn config() -> Config {
    let mut config = people::config();
    let mount = &mut config.listeners[0].mounts[0];
    (mount.path, mount.dialects) = ("/socket.io".into(), vec!["companion".into()]);
    config.auth.unproven_wallets = antiphon_server::auth::UnprovenWallets::Local;
    config
}

#[tokio::test]
async fn every_script_holds_over_websocket() {
    play_all(&COMPANION, Transport::Websocket).await;
}

#[tokio::test]
async fn every_script_holds_over_polling() {
    play_all(&COMPANION, Transport::Polling).await;
}

#[tokio::test]
async fn every_script_holds_after_an_upgrade() {
    play_all(&COMPANION, Transport::Upgraded).await;
}

#[test]
fn the_scripts_say_and_hear_every_event_of_the_api() {
    let (said, heard) = said_and_heard(&COMPANION);
    for event in ["join", "typing"] {
        assert!(said.contains(event), "{event} is never said");
    }
    for event in ["balance:update", "notification", "message:receive", "typing"] {
        assert!(heard.contains(event), "{event} is never heard");
    }
}

//! The chat API, as scripts: `scripts/chat/*.script`, each played over every transport.
//!
//! | file | answers |
//! |---|---|
//! | [`script`] | what a script says |
//! | [`play`] | what happens |
//! | [`expect`] | whether that is what was expected |

mod expect;
mod play;
mod script;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::script::{Script, Step};
use crate::support::engine::Transport;

/// Every script, in the order of their names.
fn scripts() -> Vec<Arc<Script>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/scripts/chat");
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the scripts are there") {
        let path = entry.expect("the scripts can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let text = std::fs::read_to_string(&path).expect("a script is text");
        scripts.push(Arc::new(script::parse(name, &text).unwrap_or_else(|why| panic!("{why}"))));
    }
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    scripts
}

/// Plays every script, all at the same time, and says which of them did not hold.
async fn play_all(transport: Transport) {
    let playing: Vec<_> = scripts()
        .into_iter()
        .map(|script| {
            let line = Arc::new(AtomicUsize::new(0));
            let (played, at) = (script.clone(), line.clone());
            (script, line, tokio::spawn(async move { play::play(&played, transport, &at).await }))
        })
        .collect();
    let mut failures = Vec::new();
    for (script, line, played) in playing {
        match played.await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => failures.push(why),
            // What it said is above.
            Err(_) => failures.push(format!("{}:{}: panicked", script.name, line.load(Ordering::Relaxed))),
        }
    }
    assert!(failures.is_empty(), "over {transport:?}:\n{}", failures.join("\n"));
}

#[tokio::test]
async fn every_script_holds_over_websocket() {
    play_all(Transport::Websocket).await;
}

#[tokio::test]
async fn every_script_holds_over_polling() {
    play_all(Transport::Polling).await;
}

#[tokio::test]
async fn every_script_holds_after_an_upgrade() {
    play_all(Transport::Upgraded).await;
}

#[test]
fn the_scripts_say_and_hear_every_event_of_the_api() {
    let (mut said, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for script in scripts() {
        for (_, step) in &script.steps {
            match step {
                Step::Says { event, .. } | Step::Asks { event, .. } => said.insert(event.clone()),
                Step::Hears { event, payload, .. } => {
                    // Each kind of error is an event of its own.
                    let code = payload["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
                    heard.insert(format!("{event}{code}"))
                }
                _ => continue,
            };
        }
    }
    for event in [
        "chat:join",
        "chat:leave",
        "chat:message",
        "chat:typing",
        "agent:subscribe",
        "agent:unsubscribe",
        "presence:online",
        "presence:offline",
    ] {
        assert!(said.contains(event), "{event} is never said");
    }
    for event in [
        "system:connection",
        "system:notification",
        "chat:message",
        "chat:message:stream",
        "chat:message:complete",
        "chat:typing",
        "relation:updated",
        "chat:error AGENT_NOT_FOUND",
        "chat:error FORBIDDEN",
        "chat:error GENERATION_ERROR",
        "chat:error JOIN_ERROR",
        "chat:error MESSAGE_ERROR",
        "chat:error QUOTA_EXCEEDED",
        "agent:updated",
        "agent:deleted",
        "presence:user:online",
        "presence:user:offline",
        "presence:update",
    ] {
        assert!(heard.contains(event), "{event} is never heard");
    }
}

#[test]
fn a_script_that_says_nothing_known_is_refused_with_its_line() {
    let refused = |text| script::parse("x.script", text).err();
    assert_eq!(
        refused("# first\n\nada sings chat:join {}").as_deref(),
        Some("x.script:3: this says nothing that is known: ada sings chat:join {}")
    );
    assert!(refused("given plan free").is_some());
    assert!(refused("ada hears chat:message {").is_some());
    assert!(refused("ada asks chat:join {}").is_some());
    assert!(refused("ada hears chat:message\n  {\"id\":\n   1}").is_none());
}

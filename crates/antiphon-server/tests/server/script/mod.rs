//! Scripts: what happens on a server, told line by line, and played over every transport. `scripts/README.md` has the format.
//!
//! | file | answers |
//! |---|---|
//! | [`read`] | what a script says |
//! | [`play`] | what happens |
//! | [`expect`] | whether that is what was expected |

mod expect;
mod play;
pub(crate) mod read;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use antiphon_server::config::Config;

use self::read::{Script, Step};
use crate::support::engine::Transport;

/// What the scripts of one API have in common.
pub(crate) struct Manner {
    /// Where they are, below `scripts/`.
    pub(crate) folder: &'static str,
    /// The server that they are played against.
    pub(crate) config: fn() -> Config,
    /// What a fresh connection hears: an event and its payload.
    pub(crate) welcome: Option<(&'static str, &'static str)>,
    /// An event with its arguments that changes nothing and is answered with an acknowledgement and nothing else.
    pub(crate) question: (&'static str, &'static str),
}

/// Every script, in the order of their names.
pub(crate) fn scripts(manner: &Manner) -> Vec<Arc<Script>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/scripts").join(manner.folder);
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(folder).expect("the scripts are there") {
        let path = entry.expect("the scripts can be listed").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a plain name");
        let text = std::fs::read_to_string(&path).expect("a script is text");
        scripts.push(Arc::new(read::parse(name, &text).unwrap_or_else(|why| panic!("{why}"))));
    }
    scripts.sort_by(|one, other| one.name.cmp(&other.name));
    scripts
}

/// Plays every script, all at the same time, and says which of them did not hold.
pub(crate) async fn play_all(manner: &'static Manner, transport: Transport) {
    let playing: Vec<_> = scripts(manner)
        .into_iter()
        .map(|script| {
            let line = Arc::new(AtomicUsize::new(0));
            let (played, at) = (script.clone(), line.clone());
            (script, line, tokio::spawn(async move { play::play(manner, &played, transport, &at).await }))
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

/// The events that the scripts of an API say, and those that they hear. Each kind of error, which has a `code`, is an event of its
/// own.
pub(crate) fn said_and_heard(manner: &Manner) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut said, mut heard) = (BTreeSet::new(), BTreeSet::new());
    for script in scripts(manner) {
        for (_, step) in &script.steps {
            match step {
                Step::Says { event, .. } | Step::Asks { event, .. } => said.insert(event.clone()),
                Step::Hears { event, payload, .. } => {
                    let code = payload["code"].as_str().map(|code| format!(" {code}")).unwrap_or_default();
                    heard.insert(format!("{event}{code}"))
                }
                _ => continue,
            };
        }
    }
    (said, heard)
}

#[test]
fn a_script_that_says_nothing_known_is_refused_with_its_line() {
    let refused = |text| read::parse("x.script", text).err();
    assert_eq!(
        refused("# first\n\nada sings chat:join {}").as_deref(),
        Some("x.script:3: this says nothing that is known: ada sings chat:join {}")
    );
    assert!(refused("given plan free").is_some());
    assert!(refused("ada hears chat:message {").is_some());
    assert!(refused("ada asks chat:join {}").is_some());
    assert!(refused("server withdraws ada much").is_some());
    assert!(refused("ada hears chat:message\n  {\"id\":\n   1}").is_none());
}

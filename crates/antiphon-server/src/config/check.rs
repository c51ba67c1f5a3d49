//! Which settings cannot work, alone or together, beyond what their types say.

use super::nearest::nearest;
use super::tree::Step;
use super::{Agents, Config, Mount, Problem};
use crate::auth::{People, UnprovenWallets};
use crate::outbound::Outbound;
use crate::routes::mission::Registration;
use crate::{models, webhooks};

/// A setting that cannot work.
pub(super) struct Wrong {
    /// The key that is to be changed.
    pub(super) at: Vec<Step>,
    /// What is wrong with it, understandable without its place.
    pub(super) text: String,
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        Self { origin: None, text: wrong.text }
    }
}

/// Everything that cannot work in `config`.
pub(super) fn problems(config: &Config) -> Vec<Wrong> {
    let mut found = Vec::new();
    if config.listeners.is_empty() {
        let text = "there is no [[listener]]: nothing would be served".into();
        found.push(Wrong { at: vec![Step::Key("listener".into())], text });
    }
    for (listener, mount, settings) in mounts(config) {
        let others = &config.listeners[listener].mounts[..mount];
        check_mount(settings, others, |key, text| {
            found.push(Wrong { at: in_mount(listener, mount, key), text });
        });
    }
    check_named_wallets(config, &mut found);
    check_registration(config, &mut found);
    part(&mut found, "model", models::build(&config.model));
    part(&mut found, "admin", config.admin.check());
    part(&mut found, "agents", check_agents(&config.agents));
    part(&mut found, "proactive", config.proactive.check());
    part(&mut found, "wallet", config.wallet.check(&Outbound::new(config.outbound.clone())));
    part(&mut found, "webhook", webhooks::check(&config.webhooks, &config.endpoints, &config.outbound));
    found
}

/// What else cannot work where a server is configured for real: a test may bring dialects of its own, and the demo may use the
/// secrets that everybody knows.
pub(super) fn problems_for_real(config: &Config) -> Vec<Wrong> {
    let known: Vec<_> = antiphon_dialects::dialects().iter().map(|dialect| dialect.name()).collect();
    let mut found = Vec::new();
    for (listener, mount, settings) in mounts(config) {
        for name in settings.dialects.iter().filter(|name| !known.contains(&name.as_str())) {
            let hint = match nearest(name, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("there are: {}", known.join(", ")),
            };
            let text = format!("there is no dialect {name:?}; {hint}");
            found.push(Wrong { at: in_mount(listener, mount, "dialects"), text });
        }
    }
    part(&mut found, "auth", config.auth.check(false));
    // The secret may come from a variable that means another program, where nothing here needs one.
    if config.mounts("mission") {
        part(&mut found, "mission", config.mission.check(false));
    }
    found
}

/// All mounts, with the positions of their listener and their own.
fn mounts(config: &Config) -> impl Iterator<Item = (usize, usize, &Mount)> {
    config.listeners.iter().enumerate().flat_map(|(position, listener)| {
        listener.mounts.iter().enumerate().map(move |(mount, settings)| (position, mount, settings))
    })
}

/// The path of a mount's key.
fn in_mount(listener: usize, mount: usize, key: &str) -> Vec<Step> {
    let name = |name: &str| Step::Key(name.to_owned());
    vec![name("listener"), Step::Index(listener), name("mount"), Step::Index(mount), name(key)]
}

/// What a part says about its own table.
fn part<T, E: std::fmt::Display>(found: &mut Vec<Wrong>, key: &str, answer: Result<T, E>) {
    if let Err(error) = answer {
        found.push(Wrong { at: vec![Step::Key(key.into())], text: format!("{error:#}") });
    }
}

fn check_agents(agents: &Agents) -> Result<(), &'static str> {
    match agents.heartbeat {
        1_000..=86_400_000 => Ok(()),
        _ => Err("heartbeat in [agents] lies between 1000 and 86400000 milliseconds"),
    }
}

/// Whose wallets need no proof on this machine alone must not be asked for from elsewhere, neither directly nor through a proxy,
/// behind which everybody comes from this machine.
fn check_named_wallets(config: &Config, found: &mut Vec<Wrong>) {
    if config.auth.unproven_wallets != UnprovenWallets::Local {
        return;
    }
    let mut wrong = |text: String| {
        let at = ["auth", "unproven_wallets"].map(|key| Step::Key(key.into())).to_vec();
        found.push(Wrong { at, text: format!("[auth] unproven_wallets = \"local\" {text}") });
    };
    for listener in &config.listeners {
        let names_wallets =
            listener.mounts.iter().flat_map(|mount| &mount.dialects).any(|dialect| dialect == NAMES_WALLETS);
        if names_wallets && !listener.address.ip().is_loopback() {
            wrong(format!("needs companion to be served on loopback alone, and not on {}", listener.address));
        }
    }
    if !config.server.trusted_proxies.is_empty() {
        wrong("does not go with trusted_proxies: behind a proxy everybody seems to be local".into());
    }
}

/// Whoever may choose a name for themselves must not be able to choose that of somebody whom an issuer's token adds only later: both
/// would be one person, and the first has the password.
fn check_registration(config: &Config, found: &mut Vec<Wrong>) {
    if config.mission.registration == Registration::Closed || !config.mounts("mission") {
        return;
    }
    for issuer in config.auth.issuers.iter().filter(|issuer| issuer.people == People::Create) {
        let at = ["mission", "registration"].map(|key| Step::Key(key.into())).to_vec();
        let text = format!(
            "[mission] registration = \"viewers\" does not go with [[auth.issuer]] {:?}, which adds people, too: whoever takes a \
             name first could log in as the person that the issuer means by it; set people = \"known\" there",
            issuer.name
        );
        found.push(Wrong { at, text });
    }
}

/// The dialect whose clients name a wallet and nothing else.
const NAMES_WALLETS: &str = "companion";

fn check_mount(mount: &Mount, others: &[Mount], mut wrong: impl FnMut(&str, String)) {
    let path = mount.path.trim_end_matches('/');
    if !path.starts_with('/') || path.contains(['?', '#']) {
        wrong("path", format!("the path {:?} must start with a slash and hold no query", mount.path));
    } else if others.iter().any(|other| other.path.trim_end_matches('/') == path) {
        wrong("path", format!("two mounts of one listener share the path {path}"));
    }
    if mount.dialects.is_empty() {
        wrong("dialects", format!("the mount {path} names no dialects"));
    }
    for (key, value) in [("ping_interval", mount.ping_interval), ("ping_timeout", mount.ping_timeout)] {
        if value < 100 {
            wrong(key, format!("{key} is in milliseconds, at least 100"));
        }
    }
    if !(1_000..=100_000_000).contains(&mount.max_payload) {
        wrong("max_payload", "max_payload lies between 1000 and 100000000 bytes".into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Listener;
    use super::*;
    use crate::auth::Issuer;

    fn problems_of(change: impl FnOnce(&mut Listener)) -> Vec<String> {
        let mut config = Config { listeners: Config::documented(), ..Config::default() };
        change(&mut config.listeners[0]);
        problems(&config).into_iter().map(|wrong| wrong.text).collect()
    }

    #[test]
    fn two_mounts_cannot_share_a_path() {
        let problems = problems_of(|listener| listener.mounts.push(Mount::new("/api/socketio/", "chat")));
        assert_eq!(problems, ["two mounts of one listener share the path /api/socketio"]);
    }

    #[test]
    fn numbers_have_bounds_that_belong_to_them() {
        for (ping, payload, expected) in
            [(100, 1_000, 0), (100, 100_000_000, 0), (99, 1_000, 2), (100, 999, 1), (100, 100_000_001, 1)]
        {
            let problems = problems_of(|listener| {
                let mount = &mut listener.mounts[0];
                (mount.ping_interval, mount.ping_timeout, mount.max_payload) = (ping, ping, payload);
            });
            assert_eq!(problems.len(), expected, "{ping} {payload}: {problems:?}");
        }
    }

    #[test]
    fn agents_have_a_second_to_a_day_for_a_sign_of_life() {
        for (heartbeat, fits) in
            [(0, false), (999, false), (1_000, true), (86_400_000, true), (86_400_001, false)]
        {
            let config =
                Config { listeners: Config::documented(), agents: Agents { heartbeat }, ..Config::default() };
            assert_eq!(config.check().is_ok(), fits, "{heartbeat}");
        }
    }

    #[test]
    fn wallets_that_nobody_proves_stay_on_this_machine() {
        let problems_of = |address: &str, dialect: &str, worth, proxies: &[&str]| {
            let mut config = Config { listeners: Config::documented(), ..Config::default() };
            config.listeners[0].address = address.parse().unwrap();
            config.listeners[0].mounts.push(Mount::new("/socket.io", dialect));
            config.auth.unproven_wallets = worth;
            config.server.trusted_proxies = proxies.iter().map(|network| network.parse().unwrap()).collect();
            problems(&config).len()
        };
        use UnprovenWallets::{Anybody, Local, Refuse};
        assert_eq!(problems_of("127.0.0.1:8000", "companion", Local, &[]), 0);
        assert_eq!(problems_of("[::1]:8000", "companion", Local, &[]), 0);
        assert_eq!(problems_of("0.0.0.0:8000", "companion", Local, &[]), 1);
        assert_eq!(problems_of("192.0.2.1:8000", "companion", Local, &[]), 1);
        assert_eq!(problems_of("0.0.0.0:8000", "chat", Local, &[]), 0);
        assert_eq!(problems_of("127.0.0.1:8000", "companion", Local, &["10.0.0.0/8"]), 1);
        assert_eq!(problems_of("0.0.0.0:8000", "companion", Refuse, &["10.0.0.0/8"]), 0);
        assert_eq!(problems_of("0.0.0.0:8000", "companion", Anybody, &[]), 0);
    }

    #[test]
    fn t3_names_that_an_issuer_gives_are_nobody_elses_to_take() {
        use Registration::{Closed, Viewers};
        let problems_of = |dialect: &str, registration, people: &[People]| {
            let mut config = Config { listeners: Config::documented(), ..Config::default() };
            config.listeners[0].mounts.push(Mount::new("/ws", dialect));
            config.mission.registration = registration;
            config.auth.issuers =
                people.iter().map(|people| Issuer { people: *people, ..Issuer::default() }).collect();
            problems(&config).len()
        };
        assert_eq!(problems_of("mission", Viewers, &[]), 0);
        assert_eq!(problems_of("mission", Viewers, &[People::Known]), 0);
        assert_eq!(problems_of("mission", Viewers, &[People::Known, People::Create]), 1);
        assert_eq!(problems_of("mission", Closed, &[People::Create]), 0);
        assert_eq!(problems_of("chat", Viewers, &[People::Create]), 0);
    }

    #[test]
    fn a_config_without_listeners_is_refused() {
        let error = Config::default().check().unwrap_err().to_string();
        assert_eq!(error, "there is no [[listener]]: nothing would be served");
    }
}

//! Which keys the documents' own variables set.
//!
//! The documents were written for one application each, so a variable of theirs is about one mount, while this server may have
//! many. The rule: a variable means the mounts, or the listeners of the mounts, that speak a dialect of the documents which name
//! it, or all of them when none does. Times and origins go to every mount that is meant. A port or a host goes to the one
//! listener that is meant and is refused when there are several, unless one of them has its address from a variable with its
//! full name (`ANTIPHON_LISTENER__0__ADDRESS`), which settles the matter. Such full names win over these in any case. Two
//! variables that give one key different values are refused, unless only one of them belongs to the key's own dialect. A secret
//! goes to the one issuer of HS256 that has none of its own, and is refused when there are several, and to the mission API where
//! that is mounted and has none; without one it means nothing, because a variable alone must not make a server believe anybody.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde_json::Value as Schema;

use super::environment::{read, variable};
use super::problem::{Origin, Problem};
use super::schema::{at, expected};
use super::tree::{Node, Step, dotted};

/// A variable that the documents name.
pub(super) struct Alias {
    /// Its name.
    pub(super) name: &'static str,
    /// The dialects whose documents name it.
    pub(super) dialects: &'static [&'static str],
    /// The key, without positions.
    pub(super) key: &'static str,
    /// How much of the key's value it gives.
    part: Part,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Whole,
    /// The port of an address.
    Port,
    /// The host of an address.
    Host,
    /// Origins: a list, or the address of a page that has one of them.
    Origins,
    /// A secret that is still missing.
    Secret,
    /// A time in minutes, where the key has milliseconds.
    Minutes,
    /// A time in seconds, where the key has milliseconds.
    Seconds,
}

/// The secret that the mission API signs with.
const MISSION_SECRET: &str = "mission.secret";

/// All of them whose key exists.
pub(super) const ALIASES: [Alias; 15] = [
    Alias { name: "PORT", dialects: &["chat", "companion"], key: "listener.address", part: Part::Port },
    Alias { name: "SERVER_PORT", dialects: &["world"], key: "listener.address", part: Part::Port },
    Alias { name: "SERVER_HOST", dialects: &["world"], key: "listener.address", part: Part::Host },
    Alias {
        name: "NEXT_PUBLIC_APP_URL",
        dialects: &["chat"],
        key: "listener.mount.origins",
        part: Part::Origins,
    },
    Alias {
        name: "SOCKET_CORS_ORIGIN",
        dialects: &["coding"],
        key: "listener.mount.origins",
        part: Part::Origins,
    },
    Alias { name: "CORS_ORIGIN", dialects: &["world"], key: "listener.mount.origins", part: Part::Origins },
    Alias {
        name: "CORS_ORIGINS",
        dialects: &["mission"],
        key: "listener.mount.origins",
        part: Part::Origins,
    },
    Alias {
        name: "SOCKET_PING_INTERVAL",
        dialects: &["coding"],
        key: "listener.mount.ping_interval",
        part: Part::Whole,
    },
    Alias {
        name: "SOCKET_PING_TIMEOUT",
        dialects: &["coding"],
        key: "listener.mount.ping_timeout",
        part: Part::Whole,
    },
    Alias {
        name: "SOCKET_UPGRADE_TIMEOUT",
        dialects: &["coding"],
        key: "listener.mount.upgrade_timeout",
        part: Part::Whole,
    },
    Alias {
        name: "SOCKET_MAX_CONNECTIONS",
        dialects: &["coding"],
        key: "limits.connections",
        part: Part::Whole,
    },
    Alias { name: "JWT_SECRET", dialects: &["mission"], key: "auth.issuer.secret", part: Part::Secret },
    Alias { name: "JWT_SECRET", dialects: &["mission"], key: "mission.secret", part: Part::Secret },
    Alias {
        name: "ACCESS_TOKEN_EXPIRE_MINUTES",
        dialects: &["mission"],
        key: "mission.session",
        part: Part::Minutes,
    },
    Alias { name: "HEARTBEAT_TIMEOUT", dialects: &["mission"], key: "agents.heartbeat", part: Part::Seconds },
];

impl Alias {
    /// What it gives, in words for the reference.
    pub(super) fn gives(&self) -> &'static str {
        match self.part {
            Part::Whole => "the value",
            Part::Port => "the port",
            Part::Secret if self.key == MISSION_SECRET => {
                "the secret, where the mission API is mounted and has none"
            }
            Part::Secret => "the secret of the one issuer with HS256 that has none",
            Part::Minutes => "the value, in minutes",
            Part::Seconds => "the value, in seconds",
            Part::Host => "the host: an IP address, or `localhost`",
            Part::Origins => {
                "the origins: one, several with commas, or a list; of a page's address its origin"
            }
        }
    }
}

/// What one variable says about one place.
struct Said<'a> {
    alias: &'a Alias,
    /// Whether the place speaks the alias's own dialect.
    own: bool,
    value: toml::Value,
}

/// Lays what the documents' variables say over `tree`, except where `set`, the paths that variables with full names set, has
/// the say.
pub(super) fn apply(
    tree: &mut Node,
    schema: &Schema,
    variables: &BTreeMap<String, String>,
    set: &[Vec<Step>],
    origin: impl Fn(&str) -> Origin,
    problems: &mut Vec<Problem>,
) {
    let is_set = |target: &Vec<Step>| set.iter().any(|path| target.starts_with(path));
    let mut said: BTreeMap<(Vec<Step>, Part), Vec<Said<'_>>> = BTreeMap::new();
    for alias in &ALIASES {
        let Some(text) = variables.get(alias.name).filter(|text| !text.trim().is_empty()) else { continue };
        let (targets, own) = targets(tree, alias);
        if matches!(alias.part, Part::Port | Part::Host | Part::Secret) && targets.len() > 1 {
            if !targets.iter().any(is_set) {
                problems.push(Problem::new(&origin(alias.name), ambiguous(&targets)));
            }
            continue;
        }
        for target in targets.into_iter().filter(|target| !is_set(target)) {
            match value(alias.part, text, at(schema, &target)) {
                Ok(value) => said.entry((target, alias.part)).or_default().push(Said { alias, own, value }),
                Err(why) => {
                    problems.push(Problem::new(&origin(alias.name), why));
                    break;
                }
            }
        }
    }
    for ((target, part), mut said) in said {
        if said.iter().any(|said| said.own) {
            said.retain(|said| said.own);
        }
        let Some(first) = said.pop() else { continue };
        let origin = origin(first.alias.name);
        if let Some(other) = said.iter().find(|other| other.value != first.value) {
            let text = format!(
                "{} says something else about {}; unset one, or set {}",
                other.alias.name,
                dotted(&target),
                variable(&target)
            );
            problems.push(Problem::new(&origin, text));
            continue;
        }
        if let Some(value) = whole(part, first.value, tree.get(&target)) {
            // The place exists: it was found in the tree.
            let _ = tree.set(&target, Node::uniform(value, &origin));
        }
    }
}

/// The places that `alias` is about, and whether they speak its own dialect.
fn targets(tree: &Node, alias: &Alias) -> (Vec<Vec<Step>>, bool) {
    let key = |name: &str| Step::Key(name.to_owned());
    if alias.part == Part::Secret {
        let lacking = if alias.key == MISSION_SECRET {
            mission_without_secret(tree)
        } else {
            issuers_without_secret(tree)
        };
        return (lacking, true);
    }
    let Some(rest) = alias.key.strip_prefix("listener.") else {
        return (vec![alias.key.split('.').map(key).collect()], true);
    };
    let mut all = Vec::new();
    for (position, listener) in tree.get(&[key("listener")]).map_or(&[][..], Node::items).iter().enumerate() {
        let listener_path = vec![key("listener"), Step::Index(position)];
        let mounts = listener.get(&[key("mount")]).map_or(&[][..], Node::items);
        let speaks = |mount: &Node| {
            let dialects = mount.get(&[key("dialects")]).map_or(&[][..], Node::items);
            dialects.iter().filter_map(Node::text).any(|name| alias.dialects.contains(&name))
        };
        match rest.strip_prefix("mount.") {
            None => all.push(([listener_path, vec![key(rest)]].concat(), mounts.iter().any(speaks))),
            Some(rest) => {
                for (position, mount) in mounts.iter().enumerate() {
                    let place = vec![key("mount"), Step::Index(position), key(rest)];
                    all.push(([listener_path.clone(), place].concat(), speaks(mount)));
                }
            }
        }
    }
    let own = all.iter().any(|(_, speaks)| *speaks);
    (all.into_iter().filter(|(_, speaks)| *speaks || !own).map(|(path, _)| path).collect(), own)
}

/// Where the secret of the mission API would be, if that is mounted and has none.
fn mission_without_secret(tree: &Node) -> Vec<Vec<Step>> {
    let key = |name: &str| Step::Key(name.to_owned());
    let has = |name: &str| tree.get(&[key("mission"), key(name)]).is_some();
    let listeners = tree.get(&[key("listener")]).map_or(&[][..], Node::items);
    let mounts = listeners.iter().flat_map(|one| one.get(&[key("mount")]).map_or(&[][..], Node::items));
    let speaks = |mount: &Node| {
        let dialects = mount.get(&[key("dialects")]).map_or(&[][..], Node::items);
        dialects.iter().filter_map(Node::text).any(|name| name == "mission")
    };
    let lacks_one = mounts.into_iter().any(speaks) && !has("secret") && !has("secret_file");
    lacks_one.then(|| vec![key("mission"), key("secret")]).into_iter().collect()
}

/// Where the secrets of issuers with HS256 would be that have none.
fn issuers_without_secret(tree: &Node) -> Vec<Vec<Step>> {
    let key = |name: &str| Step::Key(name.to_owned());
    let list = [key("auth"), key("issuer")];
    let issuers = tree.get(&list).map_or(&[][..], Node::items).iter().enumerate();
    let lacks_one = |issuer: &Node| {
        let algorithms = issuer.get(&[key("algorithms")]).map_or(&[][..], Node::items);
        let has = |name: &str| issuer.get(&[key(name)]).is_some();
        algorithms.iter().filter_map(Node::text).any(|name| name == "HS256")
            && !has("secret")
            && !has("secret_file")
    };
    let place = |(position, _)| [list.to_vec(), vec![Step::Index(position), key("secret")]].concat();
    issuers.filter(|(_, issuer)| lacks_one(issuer)).map(place).collect()
}

fn ambiguous(targets: &[Vec<Step>]) -> String {
    let names: Vec<_> = targets.iter().map(|target| variable(target)).collect();
    format!("could mean several; set one of {} instead", names.join(", "))
}

/// What `text` says, as a value of its own.
fn value(part: Part, text: &str, schema: Option<&Schema>) -> Result<toml::Value, String> {
    let text = text.trim();
    match part {
        Part::Port => match text.parse::<u16>() {
            Ok(port) => Ok(toml::Value::Integer(port.into())),
            Err(_) => Err("must be a port, a whole number between 0 and 65535".into()),
        },
        Part::Host => {
            let host = text.trim_start_matches('[').trim_end_matches(']');
            let host = if host == "localhost" { Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)) } else { host.parse() };
            match host {
                Ok(host) => Ok(toml::Value::String(host.to_string())),
                Err(_) => Err("must be an IP address, or localhost".into()),
            }
        }
        Part::Origins => {
            let listed = text.trim_start_matches('[').trim_end_matches(']').split(',');
            let origins =
                listed.map(|item| origin(item.trim().trim_matches(['"', '\'']))).collect::<Option<_>>();
            origins
                .map(toml::Value::Array)
                .ok_or_else(|| "must be * or addresses such as https://app.example.org, with commas".into())
        }
        Part::Secret => Ok(toml::Value::String(text.to_owned())),
        Part::Minutes => milliseconds(text, 60_000),
        Part::Seconds => milliseconds(text, 1_000),
        Part::Whole => {
            let schema = schema.ok_or("there is no such key")?;
            read(text, schema).ok_or_else(|| format!("must be {}", expected(schema)))
        }
    }
}

/// `text`, a whole number of units of so many milliseconds.
fn milliseconds(text: &str, unit: i64) -> Result<toml::Value, String> {
    let number = text.parse::<i64>().ok().filter(|number| *number > 0);
    let product = number.and_then(|number| number.checked_mul(unit));
    product.map(toml::Value::Integer).ok_or_else(|| "must be a whole number above 0".into())
}

/// The origin of a page's address.
fn origin(address: &str) -> Option<toml::Value> {
    if address == "*" {
        return Some(toml::Value::String(address.into()));
    }
    let (scheme, rest) = address.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())?;
    Some(toml::Value::String(format!("{scheme}://{authority}")))
}

/// The key's whole value, when a variable gives a part of it; `None` if what it is a part of makes no sense, which is told
/// elsewhere.
fn whole(part: Part, value: toml::Value, present: Option<&Node>) -> Option<toml::Value> {
    if !matches!(part, Part::Port | Part::Host) {
        return Some(value);
    }
    let mut address: SocketAddr = present?.text()?.parse().ok()?;
    match &value {
        toml::Value::Integer(port) => address.set_port(u16::try_from(*port).ok()?),
        host => address.set_ip(host.as_str()?.parse().ok()?),
    }
    Some(toml::Value::String(address.to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::schema::schema;
    use super::super::tree::path;
    use super::*;

    const ONE: &str = "
        [[listener]]
        address = '127.0.0.1:3000'
        [[listener.mount]]
        path = '/a'
        dialects = ['chat']
    ";

    const TWO: &str = "
        [[listener]]
        address = '127.0.0.1:3000'
        mount = [{ path = '/a', dialects = ['chat'] }, { path = '/b', dialects = ['world'] }]
        [[listener]]
        address = '127.0.0.1:3001'
        mount = [{ path = '/c', dialects = ['coding'] }]
    ";

    fn set(tree: &str, variables: &[(&str, &str)], named: &[&str]) -> (Node, Vec<String>) {
        let mut tree = Node::uniform(toml::Value::Table(tree.parse().unwrap()), &Origin::Default);
        let variables =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let named: Vec<_> = named.iter().map(|key| path(key)).collect();
        let mut problems = Vec::new();
        let origin = |name: &str| Origin::Environment { name: name.to_owned() };
        apply(&mut tree, schema(), &variables, &named, origin, &mut problems);
        (tree, problems.iter().map(ToString::to_string).collect())
    }

    fn at_key(tree: &Node, key: &str) -> String {
        tree.get(&path(key)).map_or("-".into(), |node| node.to_toml().to_string())
    }

    #[test]
    fn every_alias_names_a_key_that_exists() {
        for alias in ALIASES {
            let mut dotted = alias.key.to_owned();
            for list in ["listener", "mount", "issuer"] {
                dotted = dotted.replace(&format!("{list}."), &format!("{list}.0."));
            }
            assert!(at(schema(), &path(&dotted)).is_some(), "{} is about {}", alias.name, alias.key);
        }
    }

    #[test]
    fn each_variable_of_the_documents_sets_its_key() {
        for (name, text, key, expected) in [
            ("PORT", "8080", "listener.0.address", "\"127.0.0.1:8080\""),
            ("SERVER_PORT", "8080", "listener.0.address", "\"127.0.0.1:8080\""),
            ("SERVER_HOST", "0.0.0.0", "listener.0.address", "\"0.0.0.0:3000\""),
            ("SERVER_HOST", "localhost", "listener.0.address", "\"127.0.0.1:3000\""),
            ("SERVER_HOST", "::", "listener.0.address", "\"[::]:3000\""),
            ("NEXT_PUBLIC_APP_URL", "https://a.b/c?d", "listener.0.mount.0.origins", "[\"https://a.b\"]"),
            ("CORS_ORIGIN", "*", "listener.0.mount.0.origins", "[\"*\"]"),
            (
                "CORS_ORIGINS",
                "[\"http://a\",\"http://b:1\"]",
                "listener.0.mount.0.origins",
                "[\"http://a\", \"http://b:1\"]",
            ),
            (
                "SOCKET_CORS_ORIGIN",
                "http://a,http://b",
                "listener.0.mount.0.origins",
                "[\"http://a\", \"http://b\"]",
            ),
            ("SOCKET_PING_INTERVAL", "25000", "listener.0.mount.0.ping_interval", "25000"),
            ("SOCKET_PING_TIMEOUT", "60000", "listener.0.mount.0.ping_timeout", "60000"),
            ("SOCKET_UPGRADE_TIMEOUT", "10000", "listener.0.mount.0.upgrade_timeout", "10000"),
            ("SOCKET_MAX_CONNECTIONS", "1000", "limits.connections", "1000"),
            ("ACCESS_TOKEN_EXPIRE_MINUTES", "30", "mission.session", "1800000"),
            ("HEARTBEAT_TIMEOUT", "30", "agents.heartbeat", "30000"),
        ] {
            let (tree, problems) = set(ONE, &[(name, text)], &[]);
            assert_eq!(problems, [""; 0], "{name}");
            assert_eq!(at_key(&tree, key), expected, "{name}");
        }
    }

    #[test]
    fn port_and_host_together_make_an_address() {
        let (tree, problems) = set(ONE, &[("PORT", "80"), ("SERVER_HOST", "0.0.0.0")], &[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(at_key(&tree, "listener.0.address"), "\"0.0.0.0:80\"");
    }

    #[test]
    fn a_variable_means_the_mounts_of_its_own_document() {
        let (tree, problems) = set(TWO, &[("SOCKET_PING_TIMEOUT", "60000"), ("PORT", "80")], &[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(at_key(&tree, "listener.1.mount.0.ping_timeout"), "60000");
        assert_eq!(at_key(&tree, "listener.0.mount.0.ping_timeout"), "-");
        assert_eq!(at_key(&tree, "listener.0.address"), "\"127.0.0.1:80\"");
        assert_eq!(at_key(&tree, "listener.1.address"), "\"127.0.0.1:3001\"");
    }

    #[test]
    fn a_variable_that_could_mean_several_listeners_is_refused_until_one_is_named() {
        let several = TWO.replace("coding", "chat");
        let (_, problems) = set(&several, &[("PORT", "80")], &[]);
        assert_eq!(
            problems,
            ["environment PORT: could mean several; set one of ANTIPHON_LISTENER__0__ADDRESS, \
              ANTIPHON_LISTENER__1__ADDRESS instead"]
        );
        let (tree, problems) = set(&several, &[("PORT", "80")], &["listener.1.address"]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(at_key(&tree, "listener.0.address"), "\"127.0.0.1:3000\"");
    }

    #[test]
    fn a_secret_goes_to_the_one_issuer_that_lacks_it_and_makes_none() {
        let issuer = |rest: &str| format!("[[auth.issuer]]\nalgorithms = ['HS256']\n{rest}\n");
        let secret = ("JWT_SECRET", "0123456789abcdef");
        let (tree, problems) = set(&(issuer("secret_file = 'a'") + &issuer("")), &[secret], &[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(at_key(&tree, "auth.issuer.0.secret"), "-");
        assert_eq!(at_key(&tree, "auth.issuer.1.secret"), "\"0123456789abcdef\"");
        for text in ["", "[[auth.issuer]]\nalgorithms = ['ES256']\n", &issuer("secret = 'mine'")] {
            let (tree, problems) = set(text, &[secret], &[]);
            assert_eq!(problems, [""; 0], "{text}");
            assert_ne!(at_key(&tree, "auth.issuer.0.secret"), "\"0123456789abcdef\"", "{text}");
        }
        let (_, problems) = set(&(issuer("") + &issuer("")), &[secret], &[]);
        assert!(
            problems.len() == 1 && problems[0].contains("ANTIPHON_AUTH__ISSUER__1__SECRET"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_secret_goes_to_the_mission_api_where_it_is_mounted_and_lacks_one() {
        let secret = ("JWT_SECRET", "0123456789abcdef");
        let mounted = ONE.replace("'chat'", "'mission'");
        let (tree, problems) = set(&mounted, &[secret], &[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(at_key(&tree, "mission.secret"), "\"0123456789abcdef\"");
        for text in [ONE, &format!("{mounted}\n[mission]\nsecret_file = 'a'\n")] {
            let (tree, problems) = set(text, &[secret], &[]);
            assert_eq!((problems, at_key(&tree, "mission.secret")), (Vec::new(), "-".into()), "{text}");
        }
    }

    #[test]
    fn a_full_name_wins_over_an_alias() {
        let (tree, _) = set(ONE, &[("PORT", "80"), ("CORS_ORIGIN", "*")], &["listener"]);
        assert_eq!(at_key(&tree, "listener.0.address"), "\"127.0.0.1:3000\"");
        assert_eq!(at_key(&tree, "listener.0.mount.0.origins"), "-");
    }

    #[test]
    fn two_that_disagree_are_refused_unless_one_belongs_there() {
        let (_, problems) = set(ONE, &[("CORS_ORIGIN", "http://a"), ("SOCKET_CORS_ORIGIN", "http://b")], &[]);
        assert!(
            problems.concat().contains("says something else about listener.0.mount.0.origins"),
            "{problems:?}"
        );
        let (tree, problems) =
            set(ONE, &[("CORS_ORIGIN", "http://a"), ("NEXT_PUBLIC_APP_URL", "http://b")], &[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(at_key(&tree, "listener.0.mount.0.origins"), "[\"http://b\"]");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_its_name() {
        for (name, text, expected) in [
            ("PORT", "http", "environment PORT: must be a port"),
            ("PORT", "65536", "environment PORT: must be a port"),
            ("SERVER_HOST", "example.org", "environment SERVER_HOST: must be an IP address"),
            ("CORS_ORIGIN", "app.example", "environment CORS_ORIGIN: must be *"),
            ("HEARTBEAT_TIMEOUT", "0", "environment HEARTBEAT_TIMEOUT: must be a whole number above 0"),
            (
                "ACCESS_TOKEN_EXPIRE_MINUTES",
                "9e9",
                "environment ACCESS_TOKEN_EXPIRE_MINUTES: must be a whole",
            ),
            ("SOCKET_PING_TIMEOUT", "soon", "environment SOCKET_PING_TIMEOUT: must be a whole number"),
        ] {
            let (_, problems) = set(ONE, &[(name, text)], &[]);
            assert!(problems.len() == 1 && problems[0].contains(expected), "{name}: {problems:?}");
        }
    }
}

//! Which key a variable of the environment, or a `--set` flag, gives a value to, and what its text says.
//!
//! `ANTIPHON_` and the key's path in capitals, with two underscores between levels: `ANTIPHON_SERVER__CORES`. A table of a list
//! has its position as a level, `ANTIPHON_LISTENER__0__ADDRESS`; the position after the last adds one. What is not a single
//! value is given as TOML text, and a list of texts with commas also does. An empty variable is as good as none.

use std::collections::BTreeMap;

use serde_json::Value as Schema;

use super::file::parse_value;
use super::nearest::nearest;
use super::problem::{Origin, Problem};
use super::schema::{Shape, at, expected, shape};
use super::secret;
use super::tree::{Node, Step};
use super::validate::{name, unknown};

/// What the names of variables that set keys begin with.
pub(super) const PREFIX: &str = "ANTIPHON_";

/// Variables that begin like that and are no keys: the logs' level, the file itself, and where commands find a server.
const OTHERS: [&str; 4] = ["ANTIPHON_LOG", "ANTIPHON_CONFIG", "ANTIPHON_URL", "ANTIPHON_SERVICE_KEY"];

/// The variable that sets the key at `path`.
pub(super) fn variable(path: &[Step]) -> String {
    let levels: Vec<_> = path
        .iter()
        .map(|step| match step {
            Step::Key(key) => key.to_uppercase(),
            Step::Index(index) => index.to_string(),
        })
        .collect();
    format!("{PREFIX}{}", levels.join("__"))
}

/// Lays what `variables` say over `tree`; returns the paths that they set.
pub(super) fn apply(
    tree: &mut Node,
    schema: &Schema,
    variables: &BTreeMap<String, String>,
    origin: impl Fn(&str) -> Origin,
    problems: &mut Vec<Problem>,
) -> Vec<Vec<Step>> {
    let mut said = Vec::new();
    for (name, text) in variables.iter().filter(|(_, text)| !text.is_empty()) {
        let Some(levels) = name.strip_prefix(PREFIX) else { continue };
        if OTHERS.contains(&name.as_str()) {
            continue;
        }
        let levels = levels.split("__").map(str::to_lowercase).collect();
        match resolve(levels, schema) {
            Ok(path) => said.push((path, text.as_str(), origin(name))),
            Err(_) if is_service_link(name, text) => {}
            Err(Unresolved::Key(why)) => {
                problems.push(Problem::new(&origin(name), meant(name, schema).unwrap_or(why)));
            }
            Err(Unresolved::Part(why)) => problems.push(Problem::new(&origin(name), why)),
        }
    }
    lay(tree, schema, said, problems)
}

/// Lays flags of the form `key=value` over `tree`: `server.cores=2`, `listener.0.address=127.0.0.1:80`.
pub(super) fn apply_flags(tree: &mut Node, schema: &Schema, flags: &[String], problems: &mut Vec<Problem>) {
    let mut said = Vec::new();
    for flag in flags {
        let (key, text) = flag.split_once('=').unwrap_or((flag, ""));
        let origin = Origin::Flag(format!("--set {key}"));
        if !flag.contains('=') {
            problems.push(Problem::new(&origin, "expected key=value, as in --set server.cores=2"));
            continue;
        }
        match resolve(key.split('.').map(str::to_owned).collect(), schema) {
            Ok(path) if secret::is_or_holds(schema, &path) => {
                let text =
                    "holds a secret, which others can read in a flag; set it in the file or the environment";
                problems.push(Problem::new(&origin, text));
            }
            Ok(path) => said.push((path, text, origin)),
            Err(Unresolved::Key(why) | Unresolved::Part(why)) => problems.push(Problem::new(&origin, why)),
        }
    }
    lay(tree, schema, said, problems);
}

/// What `text` says as a value for a place with this schema.
pub(super) fn read(text: &str, schema: &Schema) -> Option<toml::Value> {
    let text = text.trim();
    match shape(schema) {
        Shape::Integer { .. } => text.parse().ok().map(toml::Value::Integer),
        Shape::Number => text.parse().ok().map(toml::Value::Float),
        Shape::Boolean => text.parse().ok().map(toml::Value::Boolean),
        Shape::Text | Shape::Choice(_) => Some(toml::Value::String(text.to_owned())),
        Shape::List(item) if !text.starts_with('[') => {
            let items = text.split(',').filter(|part| !part.trim().is_empty());
            items.map(|part| read(part, item)).collect::<Option<Vec<_>>>().map(toml::Value::Array)
        }
        Shape::List(_) => parse_value(text).ok(),
        Shape::Table(_) | Shape::Map(_) => parse_value(text).ok().filter(toml::Value::is_table),
        Shape::Open => parse_value(text).ok().or_else(|| Some(toml::Value::String(text.to_owned()))),
    }
}

/// Why levels are no path, in words.
enum Unresolved {
    /// A level is a key that nobody knows.
    Key(String),
    /// A level is no part of what it is said to be in.
    Part(String),
}

/// The path that these levels mean.
fn resolve(levels: Vec<String>, schema: &Schema) -> Result<Vec<Step>, Unresolved> {
    let mut path = Vec::new();
    let mut schema = schema;
    for level in levels {
        let (step, inner) = match shape(schema) {
            Shape::Table(keys) => match keys.get(&level) {
                Some(inner) => (Step::Key(level), inner),
                None => return Err(Unresolved::Key(unknown(&level, &path, keys))),
            },
            Shape::Map(inner) if !level.is_empty() => (Step::Key(level), inner),
            Shape::List(inner) => match level.parse() {
                Ok(index) => (Step::Index(index), inner),
                Err(_) => {
                    let text = format!("{level:?} is no position in the list {}", name(&path));
                    return Err(Unresolved::Part(text));
                }
            },
            _ => {
                let text = format!("{} has no parts; {level:?} cannot be one", name(&path));
                return Err(Unresolved::Part(text));
            }
        };
        path.push(step);
        schema = inner;
    }
    Ok(path)
}

fn lay(
    tree: &mut Node,
    schema: &Schema,
    mut said: Vec<(Vec<Step>, &str, Origin)>,
    problems: &mut Vec<Problem>,
) -> Vec<Vec<Step>> {
    // A whole before its parts, and places of a list in their order.
    said.sort_by(|(one, ..), (other, ..)| one.cmp(other));
    for (path, text, origin) in &said {
        let Some(schema) = at(schema, path) else { continue };
        let Some(value) = read(text, schema) else {
            problems.push(Problem::new(origin, format!("must be {}", in_a_variable(schema))));
            continue;
        };
        if let Err(length) = tree.set(path, Node::uniform(value, origin)) {
            problems
                .push(Problem::new(origin, format!("the list has {length}; the next position is {length}")));
        }
    }
    said.into_iter().map(|(path, ..)| path).collect()
}

fn in_a_variable(schema: &Schema) -> String {
    match shape(schema) {
        Shape::List(_) | Shape::Table(_) | Shape::Map(_) => format!("{}, as TOML text", expected(schema)),
        _ => expected(schema),
    }
}

/// Guesses the variable that `name` was meant to be.
fn meant(name: &str, schema: &Schema) -> Option<String> {
    let mut known = Vec::new();
    variables(schema, &mut Vec::new(), &mut known);
    let positions = |name: &str| {
        let levels = name.split("__").map(|level| if level.parse::<usize>().is_ok() { "0" } else { level });
        levels.collect::<Vec<_>>().join("__")
    };
    let near = nearest(&positions(name), known.iter().map(String::as_str))?;
    Some(format!("unknown variable; did you mean {near}?"))
}

/// The variables of all single values, with 0 for positions.
fn variables(schema: &Schema, path: &mut Vec<Step>, known: &mut Vec<String>) {
    match shape(schema) {
        Shape::Table(keys) => {
            for (key, schema) in keys.all() {
                path.push(Step::Key(key.to_owned()));
                variables(schema, path, known);
                path.pop();
            }
        }
        Shape::List(item) if matches!(shape(item), Shape::Table(_)) => {
            path.push(Step::Index(0));
            variables(item, path, known);
            path.pop();
        }
        Shape::Map(_) => {}
        _ => known.push(variable(path)),
    }
}

/// Whether this is one of the variables by which Kubernetes tells every container about services, here about one that is called
/// `antiphon` or `antiphon-…`: they are nobody's typing mistake.
fn is_service_link(name: &str, text: &str) -> bool {
    let service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    // `ANTIPHON_PORT=3000` is somebody's guess at a key.
    let link = name.ends_with("_PORT") && text.contains("://");
    let port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let mut parts = rest.split('_');
        let number = parts.next().is_some_and(|part| part.parse::<u16>().is_ok());
        let protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
        let end = matches!((parts.next(), parts.next()), (None | Some("PROTO" | "PORT" | "ADDR"), None));
        number && protocol && end
    });
    !name.contains("__") && (service || link || port)
}

#[cfg(test)]
mod tests {
    use super::super::schema::schema;
    use super::super::tree::path;
    use super::*;

    /// What `variables` make of a server with one listener; problems as text.
    fn set(variables: &[(&str, &str)]) -> (Node, Vec<String>) {
        let listener = "listener = [{ address = 'x', mount = [{ path = '/a', dialects = ['chat'] }] }]";
        let mut tree = Node::uniform(toml::Value::Table(listener.parse().unwrap()), &Origin::Default);
        let variables =
            variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        let mut problems = Vec::new();
        let origin = |name: &str| Origin::Environment { name: name.to_owned() };
        apply(&mut tree, schema(), &variables, origin, &mut problems);
        (tree, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_variable_sets_the_key_that_it_spells() {
        for (name, text, key, expected) in [
            ("ANTIPHON_SERVER__CORES", "2", "server.cores", "2"),
            ("ANTIPHON_SERVER__DATA", "/var/a b", "server.data", "\"/var/a b\""),
            ("ANTIPHON_STORE__EPHEMERAL", "true", "store.ephemeral", "true"),
            ("ANTIPHON_STORE", "{ ephemeral = true }", "store.ephemeral", "true"),
            ("ANTIPHON_LISTENER__0__ADDRESS", "127.0.0.1:1", "listener.0.address", "\"127.0.0.1:1\""),
            ("ANTIPHON_LISTENER__0__MOUNT__0__PING_TIMEOUT", "100", "listener.0.mount.0.ping_timeout", "100"),
            ("ANTIPHON_LISTENER__1__ADDRESS", "y", "listener.1.address", "\"y\""),
            ("ANTIPHON_LISTENER", "[{ address = 'z' }]", "listener.0.address", "\"z\""),
            (
                "ANTIPHON_LISTENER__0__MOUNT__0__ORIGINS",
                "https://a, https://b",
                "listener.0.mount.0.origins",
                "[\"https://a\", \"https://b\"]",
            ),
            ("ANTIPHON_LISTENER__0__MOUNT__0__ORIGINS", "['a']", "listener.0.mount.0.origins", "[\"a\"]"),
            ("ANTIPHON_PLAN__TEAM__AGENTS", "3", "plan.team.agents", "3"),
        ] {
            let (tree, problems) = set(&[(name, text)]);
            assert_eq!(problems, [""; 0], "{name}");
            let value = tree.get(&path(key)).unwrap();
            assert_eq!(value.to_toml().to_string(), expected, "{name}");
        }
    }

    #[test]
    fn a_tenth_listener_comes_after_the_ninth() {
        let names: Vec<_> = (1..=11).map(|index| format!("ANTIPHON_LISTENER__{index}__ADDRESS")).collect();
        let variables: Vec<_> = names.iter().map(|name| (name.as_str(), "x")).collect();
        let (tree, problems) = set(&variables);
        assert_eq!(problems, [""; 0]);
        assert_eq!(tree.get(&path("listener")).unwrap().items().len(), 12);
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_the_variables_name() {
        for (name, text, expected) in [
            ("ANTIPHON_SERVER__COERS", "2", "unknown variable; did you mean ANTIPHON_SERVER__CORES?"),
            ("ANTIPHON_SERVER_CORES", "2", "unknown variable; did you mean ANTIPHON_SERVER__CORES?"),
            ("ANTIPHON_PORT", "3000", "unknown key \"port\" at the top level"),
            ("ANTIPHON_XYZ", "2", "unknown key \"xyz\" at the top level; known are"),
            ("ANTIPHON_SERVER__CORES", "two", "must be a whole number of at least 0"),
            ("ANTIPHON_PLAN__TEAM__AGENTS__X", "2", "\"agents\" in [plan.team] has no parts"),
            ("ANTIPHON_LISTENER__FIRST", "x", "\"first\" is no position in the list \"listener\""),
            ("ANTIPHON_LISTENER__3__ADDRESS", "x", "the list has 1; the next position is 1"),
            ("ANTIPHON_LISTENER", "[{", "must be a list of tables, as TOML text"),
            ("ANTIPHON_STORE", "7", "must be a table, as TOML text"),
        ] {
            let (_, problems) = set(&[(name, text)]);
            let [problem] = &problems[..] else { panic!("{name}: {problems:?}") };
            assert!(problem.starts_with(&format!("environment {name}: ")), "{problem}");
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn a_flag_sets_a_key_unless_it_is_a_secret() {
        let flag = |flag: &str| {
            let (mut tree, mut problems) = (Node::empty(), Vec::new());
            apply_flags(&mut tree, schema(), &[flag.to_owned()], &mut problems);
            (tree, problems.iter().map(ToString::to_string).collect::<String>())
        };
        let (tree, problems) = flag("plan.team.agents=3");
        assert_eq!(
            (tree.to_toml().to_string().as_str(), &*problems),
            ("{ plan = { team = { agents = 3 } } }", "")
        );
        for key in ["auth.issuer.0.secret", "auth.issuer"] {
            let problems = flag(&format!("{key}=hush")).1;
            assert!(
                problems.starts_with(&format!("--set {key}: holds a secret")) && !problems.contains("hush"),
                "{problems}"
            );
        }
        assert!(flag("server.coers=3").1.contains("did you mean \"cores\"?"));
    }

    #[test]
    fn variables_that_are_no_keys_are_left_alone() {
        let names = [
            "ANTIPHON_LOG",
            "ANTIPHON_URL",
            "ANTIPHON_SERVICE_HOST",
            "ANTIPHON_SERVICE_PORT",
            "ANTIPHON_SERVICE_PORT_CHAT",
            "ANTIPHON_PORT",
            "ANTIPHON_PORT_3000_TCP",
            "ANTIPHON_PORT_3000_TCP_ADDR",
            "ANTIPHON_ADMIN_PORT_9464_TCP_PROTO",
            "ANTIPHONY",
            "HOME",
        ];
        assert_eq!(set(&names.map(|name| (name, "tcp://10.0.0.1:3000"))).1, [""; 0]);
        assert_eq!(set(&[("ANTIPHON_SERVER__CORES", "")]).1, [""; 0]);
    }
}

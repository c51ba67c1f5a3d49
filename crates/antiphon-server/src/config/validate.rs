//! What is wrong with single values: keys that nobody knows, values that cannot stand where they stand.

use serde_json::Value as Schema;

use super::nearest::nearest;
use super::problem::Problem;
use super::schema::{Keys, Shape, expected, shape};
use super::tree::{Node, Step, Value, header};

/// A problem and the path of what causes it; without that, the rest may well be right. In the order of their places, so that
/// taking them out from the last one on moves none of the others.
pub(super) struct Wrong {
    pub(super) at: Vec<Step>,
    pub(super) problem: Problem,
}

/// Every problem of `tree`. No text that was given is repeated: it could be a secret in the wrong place.
pub(super) fn validate(tree: &Node, schema: &Schema) -> Vec<Wrong> {
    let mut found = Vec::new();
    visit(tree, schema, &mut Vec::new(), &mut found);
    found
}

/// How a key is told that nobody knows in the table at `path`.
pub(super) fn unknown(key: &str, path: &[Step], keys: Keys<'_>) -> String {
    let place = header(path);
    let place = if path.is_empty() { format!("at {place}") } else { format!("in {place}") };
    match nearest(key, keys.names()) {
        Some(known) => format!("unknown key {key:?} {place}; did you mean {known:?}?"),
        None => {
            format!("unknown key {key:?} {place}; known are {}", keys.names().collect::<Vec<_>>().join(", "))
        }
    }
}

fn visit(node: &Node, schema: &Schema, path: &mut Vec<Step>, found: &mut Vec<Wrong>) {
    match (shape(schema), &node.value) {
        (Shape::Table(keys), Value::Table(entries)) => {
            for (key, node) in entries {
                path.push(Step::Key(key.clone()));
                match keys.get(key) {
                    Some(schema) => visit(node, schema, path, found),
                    None => {
                        let text = unknown(key, &path[..path.len() - 1], keys);
                        found.push(Wrong { at: path.clone(), problem: Problem::new(&node.origin, text) });
                    }
                }
                path.pop();
            }
            for key in keys.names().filter(|key| keys.requires(key) && !entries.contains_key(*key)) {
                let text = format!("{} needs {key:?}", header(path));
                let at = [path.clone(), vec![Step::Key(key.to_owned())]].concat();
                found.push(Wrong { at, problem: Problem::new(&node.origin, text) });
            }
        }
        (Shape::Map(value), Value::Table(entries)) => {
            for (key, node) in entries {
                path.push(Step::Key(key.clone()));
                visit(node, value, path, found);
                path.pop();
            }
        }
        (Shape::List(item), Value::List(items)) => {
            for (index, node) in items.iter().enumerate() {
                path.push(Step::Index(index));
                visit(node, item, path, found);
                path.pop();
            }
        }
        (shape, value) => {
            if let Some(hint) = mismatch(&shape, value) {
                let text = format!("{} must be {}{hint}", name(path), expected(schema));
                found.push(Wrong { at: path.clone(), problem: Problem::new(&node.origin, text) });
            }
        }
    }
}

/// `None` if the value fits; otherwise what may be added to saying so.
fn mismatch(shape: &Shape<'_>, value: &Value) -> Option<String> {
    let Value::Leaf(leaf) = value else {
        return if matches!(shape, Shape::Open) { None } else { Some(String::new()) };
    };
    let fits = match shape {
        Shape::Integer { least, most } => leaf.as_integer().is_some_and(|number| {
            least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most)
        }),
        Shape::Number => leaf.is_integer() || leaf.is_float(),
        Shape::Boolean => leaf.is_bool(),
        Shape::Text => leaf.is_str(),
        Shape::Choice(choices) => {
            let words = || choices.iter().map(|choice| choice.word);
            if leaf.as_str().is_some_and(|text| words().any(|word| word == text)) {
                return None;
            }
            let meant = leaf.as_str().and_then(|text| nearest(text, words()));
            return Some(meant.map_or(String::new(), |word| format!("; did you mean {word:?}?")));
        }
        Shape::Open => true,
        Shape::Table(_) | Shape::Map(_) | Shape::List(_) => false,
    };
    (!fits).then(String::new)
}

/// How a value is named: `"cores" in [server]`.
pub(super) fn name(path: &[Step]) -> String {
    match path.split_last() {
        None => "the configuration".to_owned(),
        Some((Step::Key(key), [])) => format!("{key:?}"),
        Some((Step::Key(key), parent)) => format!("{key:?} in {}", header(parent)),
        Some((Step::Index(_), list)) => format!("an item of {}", name(list)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::schema::schema;
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let tree =
            super::super::file::parse(text, Path::new("a.toml")).unwrap_or_else(|_| panic!("{text} is TOML"));
        validate(&tree, schema()).iter().map(|wrong| wrong.problem.to_string()).collect()
    }

    #[test]
    fn every_problem_names_its_line_its_table_and_what_would_be_right() {
        for (text, expected) in [
            ("[server]\ncoers = 2", "a.toml:2: unknown key \"coers\" in [server]; did you mean \"cores\"?"),
            ("[sevrer]\n", "a.toml:1: unknown key \"sevrer\" at the top level; did you mean \"server\"?"),
            (
                "[server]\ncores = 'two'",
                "a.toml:2: \"cores\" in [server] must be a whole number of at least 0",
            ),
            ("[server]\ncores = -1", "a.toml:2: \"cores\" in [server] must be a whole number of at least 0"),
            ("[server]\ndata = 7", "a.toml:2: \"data\" in [server] must be text"),
            ("server = 1", "a.toml:1: \"server\" must be a table"),
            ("[listener]\n", "a.toml:1: \"listener\" must be a list of tables"),
            ("[store]\nephemeral = 'yes'", "a.toml:2: \"ephemeral\" in [store] must be true or false"),
            (
                "[store]\nsynchronous = 'ful'",
                "a.toml:2: \"synchronous\" in [store] must be \"full\" or \"normal\"; did you mean \"full\"?",
            ),
            (
                "[plan.team]\nagents = 4294967296",
                "a.toml:2: \"agents\" in [plan.team] must be a whole number between 0 and 4294967295",
            ),
        ] {
            assert_eq!(problems(text), [expected], "{text}");
        }
    }

    #[test]
    fn all_problems_are_found_at_once() {
        let text = "[[listener]]\n[[listener.mount]]\npath = 1\npingInterval = 5\norigins = [3]\n[limits]\noutbx = 1\n";
        assert_eq!(
            problems(text),
            [
                "a.toml:7: unknown key \"outbx\" in [limits]; did you mean \"outbox\"?",
                "a.toml:5: an item of \"origins\" in [[listener.mount]] must be text",
                "a.toml:3: \"path\" in [[listener.mount]] must be text",
                "a.toml:4: unknown key \"pingInterval\" in [[listener.mount]]; did you mean \"ping_interval\"?",
                "a.toml:2: [[listener.mount]] needs \"dialects\"",
                "a.toml:1: [[listener]] needs \"address\"",
            ]
            .map(str::to_owned)
            .into_iter()
            .collect::<Vec<_>>(),
        );
    }

    #[test]
    fn a_key_that_resembles_nothing_is_answered_with_the_known_ones() {
        let problem = problems("[store]\nx = 1").concat();
        assert!(problem.ends_with("known are ephemeral, synchronous"), "{problem}");
    }
}

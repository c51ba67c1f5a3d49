//! What a TOML file says, line by line.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problem::{Origin, Problem};
use super::tree::{Node, Value};

/// Reads `text`, the content of the file at `path`. When it is not TOML every place where it is not is a problem.
pub(super) fn parse(text: &str, path: &Path) -> Result<Node, Vec<Problem>> {
    let lines = Lines { text, path };
    let (spans, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            origin: Some(lines.at(error.span().map_or(0, |span| span.start))),
            text: error.message().to_owned(),
        };
        return Err(errors.iter().map(problem).collect());
    }
    let values = toml::from_str(text).map_err(|error: toml::de::Error| {
        vec![Problem::new(&lines.at(error.span().map_or(0, |span| span.start)), error.message())]
    })?;
    Ok(Node { origin: lines.at(0), value: Value::Table(lines.table(spans.get_ref(), values)) })
}

/// A value that a variable or a flag gives as TOML; the error says what is wrong with it.
pub(super) fn parse_value(text: &str) -> Result<toml::Value, String> {
    // As the value of a key, it may go over several lines exactly where TOML allows it.
    let mut table: toml::Table =
        toml::from_str(&format!("value = {text}")).map_err(|error| error.message().to_owned())?;
    table
        .remove("value")
        .filter(|_| table.is_empty())
        .ok_or_else(|| "there is more than one value".to_owned())
}

/// Finds the line of a place in a text.
struct Lines<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Lines<'_> {
    fn at(&self, offset: usize) -> Origin {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: self.path.to_owned(), line }
    }

    fn table(
        &self,
        spans: &DeTable<'_>,
        mut values: toml::Table,
    ) -> std::collections::BTreeMap<String, Node> {
        let mut entries = std::collections::BTreeMap::new();
        for (key, span) in spans {
            if let Some(value) = values.remove(key.get_ref().as_ref()) {
                let origin = self.at(key.span().start);
                entries.insert(key.get_ref().to_string(), self.node(origin, span.get_ref(), value));
            }
        }
        entries
    }

    fn node(&self, origin: Origin, spans: &DeValue<'_>, value: toml::Value) -> Node {
        let value = match (spans, value) {
            (DeValue::Table(spans), toml::Value::Table(values)) => Value::Table(self.table(spans, values)),
            (DeValue::Array(spans), toml::Value::Array(values)) => Value::List(
                spans
                    .iter()
                    .zip(values)
                    .map(|(span, value)| self.node(self.at(span.span().start), span.get_ref(), value))
                    .collect(),
            ),
            (_, leaf) => return Node::uniform(leaf, &origin),
        };
        Node { origin, value }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::path;
    use super::*;

    #[test]
    fn every_value_knows_its_line() {
        let text = "[server]\ncores = 2\n\n[[listener]]\naddress = 'x'\n[[listener.mount]]\npath = '/a'\norigins = [\n 'b',\n]\n";
        let tree = parse(text, Path::new("a.toml")).unwrap();
        for (key, line) in [
            ("server.cores", 2),
            ("listener.0", 4),
            ("listener.0.address", 5),
            ("listener.0.mount.0.path", 7),
            ("listener.0.mount.0.origins.0", 9),
        ] {
            let expected = Origin::File { path: "a.toml".into(), line };
            assert_eq!(tree.get(&path(key)).unwrap().origin, expected, "{key}");
        }
    }

    #[test]
    fn every_place_that_is_not_toml_is_named() {
        let problems = parse("a = 1\nb = \nc = 'x\n", Path::new("a.toml")).err().unwrap();
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(lines.iter().any(|line| line.starts_with("a.toml:2: ")), "{lines:?}");
        assert!(lines.iter().any(|line| line.starts_with("a.toml:3: ")), "{lines:?}");
    }

    #[test]
    fn a_value_alone_is_one_value() {
        assert_eq!(parse_value("[1, 2]").unwrap().as_array().unwrap().len(), 2);
        assert!(parse_value("1\nother = 2").is_err());
        assert!(parse_value("{").is_err());
    }
}

//! The effective values, each with what it is for and where it was said.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::environment::variable;
use super::load::Loaded;
use super::schema::{Choice, Keys, Shape, default, doc, schema, shape};
use super::secret::STARS;
use super::tree::{Node, Step, Value, dotted, header, quoted};

/// How wide a line of documentation may be.
const WIDTH: usize = 100;

impl Loaded {
    /// As a file that can be used again, secrets aside: these are left out, with a note where each was said.
    pub fn to_toml(&self) -> String {
        let mut out = String::from(
            "# The effective configuration. What stands behind a value is where it was said; a line that begins with # sets\n\
             # nothing. Secrets are not shown.\n",
        );
        if let Shape::Table(keys) = shape(schema()) {
            table(&mut out, keys, Some(&self.tree), &mut Vec::new());
        }
        out
    }

    /// As a list of objects, one for each key: `key`, `value` (`null` if there is none, `***` if it is a secret), `from`, `doc`
    /// and `environment`, the variable that sets it.
    pub fn to_json(&self) -> Json {
        let mut settings = Vec::new();
        list(&mut settings, schema(), Some(&self.tree), &mut Vec::new(), false);
        Json::Array(settings)
    }
}

/// A value of the schema as TOML.
pub(super) fn to_toml(value: &Json) -> Option<toml::Value> {
    toml::Value::try_from(value).ok()
}

/// `text` in lines of at most [`WIDTH`] characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    // A default stays on one line, where a search finds it.
    let text = text.replace("Default: ", "Default:\u{a0}");
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line, and none is taken away");
        if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.into_iter().map(|line| line.replace('\u{a0}', " ")).collect()
}

fn comment(out: &mut String, schema: &Json) {
    let mut paragraphs = doc(schema);
    if let Shape::Choice(choices) = shape(schema) {
        paragraphs.extend(choices.iter().filter(|choice| !choice.doc.is_empty()).map(choice_line));
    }
    for text in paragraphs.iter().flat_map(|paragraph| wrapped(paragraph)) {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "# {text}");
    }
}

/// What a word means, in one line.
pub(super) fn choice_line(choice: &Choice<'_>) -> String {
    let doc = choice.doc.split_whitespace().collect::<Vec<_>>().join(" ");
    format!("`{}`: {doc}", choice.word)
}

/// Whether a key is written as a table or tables of its own.
fn has_header(schema: &Json) -> bool {
    match shape(schema) {
        Shape::Table(_) => true,
        Shape::Map(item) | Shape::List(item) => matches!(shape(item), Shape::Table(_)),
        _ => false,
    }
}

fn table(out: &mut String, keys: Keys<'_>, node: Option<&Node>, path: &mut Vec<Step>) {
    let entries = node.and_then(Node::entries);
    let present = |key: &str| entries.and_then(|entries| entries.get(key));
    for (key, schema) in keys.all().filter(|(_, schema)| !has_header(schema)) {
        let _ = writeln!(out);
        comment(out, schema);
        let node = present(key);
        let value = node.map(Node::to_toml).or_else(|| default(schema).and_then(to_toml));
        let origin = node.map_or("default".into(), |node| node.origin.to_string());
        let _ = match value {
            Some(_) if keys.file_of(key).is_some() => writeln!(out, "# {key} = {STARS:?}  # {origin}"),
            Some(value) => writeln!(out, "{} = {value}  # {origin}", quoted(key)),
            None => writeln!(out, "# {key} =  # not set"),
        };
    }
    for (key, schema) in keys.all().filter(|(_, schema)| has_header(schema)) {
        path.push(Step::Key(key.to_owned()));
        nested(out, schema, present(key), path);
        path.pop();
    }
}

/// A key that is written as a table, or as tables.
fn nested(out: &mut String, schema: &Json, node: Option<&Node>, path: &mut Vec<Step>) {
    let _ = writeln!(out);
    comment(out, schema);
    match shape(schema) {
        Shape::Table(keys) if node.is_some() || default(schema).is_some() => {
            let _ = writeln!(out, "{}", header(path));
            table(out, keys, node, path);
        }
        Shape::Map(value) => {
            let entries = node.and_then(Node::entries);
            if entries.is_none_or(std::collections::BTreeMap::is_empty) {
                let _ = writeln!(out, "# {}  # none", header(path));
            }
            for (key, node) in entries.into_iter().flatten() {
                path.push(Step::Key(key.clone()));
                let _ = writeln!(out, "\n{}  # {}", header(path), node.origin);
                if let Shape::Table(keys) = shape(value) {
                    table(out, keys, Some(node), path);
                }
                path.pop();
            }
        }
        Shape::List(item) => {
            let items = node.map_or(&[][..], Node::items);
            if items.is_empty() {
                path.push(Step::Index(0));
                let _ = writeln!(out, "# {}  # none", header(path));
                path.pop();
            }
            for (index, node) in items.iter().enumerate() {
                path.push(Step::Index(index));
                let _ = writeln!(out, "\n{}  # {}", header(path), node.origin);
                if let Shape::Table(keys) = shape(item) {
                    table(out, keys, Some(node), path);
                }
                path.pop();
            }
        }
        _ => {
            let _ = writeln!(out, "# {}  # not set", header(path));
        }
    }
}

fn list(settings: &mut Vec<Json>, schema: &Json, node: Option<&Node>, path: &mut Vec<Step>, is_secret: bool) {
    match (shape(schema), node.map(|node| &node.value)) {
        (Shape::Table(keys), _) if path.is_empty() || node.is_some() || default(schema).is_some() => {
            for (key, schema) in keys.all() {
                path.push(Step::Key(key.to_owned()));
                let node = node.and_then(Node::entries).and_then(|entries| entries.get(key));
                list(settings, schema, node, path, keys.file_of(key).is_some());
                path.pop();
            }
        }
        (Shape::Map(value), Some(Value::Table(entries))) if has_header(schema) && !entries.is_empty() => {
            for (key, node) in entries {
                path.push(Step::Key(key.clone()));
                list(settings, value, Some(node), path, false);
                path.pop();
            }
        }
        (Shape::List(item), Some(Value::List(items))) if has_header(schema) && !items.is_empty() => {
            for (index, node) in items.iter().enumerate() {
                path.push(Step::Index(index));
                list(settings, item, Some(node), path, false);
                path.pop();
            }
        }
        _ => {
            let value = node.map(|node| json!(node.to_toml())).or_else(|| default(schema).cloned());
            let value = if is_secret { value.map(|_| json!(STARS)) } else { value };
            settings.push(json!({
                "key": dotted(path),
                "value": value,
                "from": node.map_or("default".into(), |node| node.origin.to_string()),
                "doc": doc(schema).join("\n"),
                "environment": variable(path),
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};

    use super::super::Sources;
    use super::super::problem::Origin;
    use super::*;

    fn loaded(text: &str) -> (tempfile::TempDir, Loaded) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("antiphon.toml"), text).unwrap();
        let sources = Sources { directory: directory.path().to_owned(), ..Sources::default() };
        let loaded = Loaded::read(&sources).unwrap_or_else(|problems| panic!("{problems}"));
        (directory, loaded)
    }

    const FILE: &str = "
        [server]
        cores = 3
        [[listener]]
        address = '127.0.0.1:1'
        tls = { certificate = 'a.pem', key = 'b\\c.pem' }
        [[listener.mount]]
        path = '/a'
        dialects = ['chat']
        origins = ['https://a', \"https://\\\"b\\\"\"]
        [[listener.mount]]
        path = '/b'
        dialects = ['chat']
        [[listener]]
        address = '[::1]:2'
        [plan.team]
        agents = 3
        [plan.'a team.of two']
        messages_per_month = 9
        [store]
        synchronous = 'normal'
    ";

    #[test]
    fn what_is_printed_can_be_read_again_and_means_the_same() {
        for text in ["", FILE] {
            let (_first, config) = loaded(text);
            let printed = config.to_toml();
            let (_second, again) = loaded(&printed);
            assert_eq!(
                toml::to_string(&again.config).unwrap(),
                toml::to_string(&config.config).unwrap(),
                "{printed}"
            );
        }
    }

    #[test]
    fn every_value_stands_below_its_doc_and_before_its_origin() {
        let (directory, loaded) = loaded(FILE);
        let printed = loaded.to_toml();
        let cores = printed.split("\n\n").find(|block| block.contains("cores = 3")).unwrap();
        let file = directory.path().join("antiphon.toml");
        assert_eq!(
            cores,
            format!(
                "# How many cores serve connections, one runtime each; 0 means all that the machine has. Default: 0.\n\
                 cores = 3  # {}:3",
                file.display()
            )
        );
        assert!(printed.contains("outbox = 1048576  # default"), "{printed}");
    }

    #[test]
    fn every_limit_is_printed_with_what_happens_to_one_who_goes_over_it() {
        let (_directory, loaded) = loaded("");
        let printed = loaded.to_toml();
        let limits = printed.split("[limits]").nth(1).unwrap();
        let limits = limits.split("\n[").next().unwrap();
        let defaults = toml::Table::try_from(super::super::Limits::default()).unwrap();
        for (key, value) in defaults {
            let block = limits.split("\n\n").find(|block| block.contains(&format!("\n{key} = {value}")));
            assert!(block.is_some_and(|block| block.starts_with("# ")), "{key} in {limits}");
        }
    }

    #[test]
    fn json_has_one_object_for_each_key() {
        let (_directory, loaded) = loaded(FILE);
        let json = loaded.to_json();
        let settings = json.as_array().unwrap();
        let setting = |key: &str| {
            settings.iter().find(|setting| setting["key"] == key).unwrap_or_else(|| panic!("{key}"))
        };
        assert_eq!(setting("server.cores")["value"], 3);
        assert_eq!(setting("server.cores")["environment"], "ANTIPHON_SERVER__CORES");
        assert_eq!(setting("limits.outbox")["from"], "default");
        assert_eq!(setting("listener.1.address")["value"], "[::1]:2");
        assert_eq!(setting("listener.0.tls.key")["value"], "b\\c.pem");
        assert_eq!(setting("listener.1.tls")["value"], Json::Null);
        assert_eq!(setting("plan.team.agents")["value"], 3);
        assert!(settings.iter().all(|setting| setting["doc"].as_str().is_some_and(|doc| !doc.is_empty())));
    }

    /// A door.
    #[derive(Default, Serialize, Deserialize, JsonSchema)]
    #[serde(default)]
    struct Door {
        /// The word.
        word: Option<super::super::Secret>,
        /// A file that holds `word`.
        word_file: Option<PathBuf>,
    }

    #[test]
    fn a_secret_is_printed_as_stars_in_every_format() {
        let node = Node::uniform(toml::Value::Table("word = 'mellon'".parse().unwrap()), &Origin::Default);
        let schema = super::super::schema::of::<Door>();
        let (mut text, mut settings) = (String::new(), Vec::new());
        if let Shape::Table(keys) = shape(&schema) {
            table(&mut text, keys, Some(&node), &mut Vec::new());
        }
        list(&mut settings, &schema, Some(&node), &mut Vec::new(), false);
        let json = Json::Array(settings).to_string();
        assert!(text.contains("# word = \"***\""), "{text}");
        for printed in [text, json] {
            assert!(printed.contains("***") && !printed.contains("mellon"), "{printed}");
        }
    }
}

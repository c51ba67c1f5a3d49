//! How a secret is kept from being printed, and how it is read from a file.

use std::fmt;

use schemars::{JsonSchema, Schema as TypeSchema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value as Schema;

use super::problem::Problem;
use super::schema::{Shape, at, shape};
use super::tree::{Node, Step, Value, header};

/// What stands where a secret would be printed.
pub(super) const STARS: &str = "***";

/// A secret of the configuration. However it is printed, it is `***`; its memory is wiped when it goes.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    /// The secret itself, for whoever has to use it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STARS)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(STARS)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

impl JsonSchema for Secret {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> TypeSchema {
        json_schema!({ "type": "string", "writeOnly": true })
    }
}

/// Whether the key at `path`, or a key inside it, is a secret.
pub(super) fn is_or_holds(root: &Schema, path: &[Step]) -> bool {
    let is_secret = path.split_last().is_some_and(|(key, parent)| match (key, at(root, parent).map(shape)) {
        (Step::Key(key), Some(Shape::Table(keys))) => keys.file_of(key).is_some(),
        _ => false,
    });
    is_secret || at(root, path).is_some_and(holds)
}

fn holds(schema: &Schema) -> bool {
    match shape(schema) {
        Shape::Table(keys) => keys.all().any(|(key, schema)| keys.file_of(key).is_some() || holds(schema)),
        Shape::Map(inner) | Shape::List(inner) => holds(inner),
        _ => false,
    }
}

/// Puts the content of every `…_file` in the place of its key. Both together, and a file that cannot be read or is empty, are
/// problems.
pub(super) fn resolve(tree: &mut Node, schema: &Schema, problems: &mut Vec<Problem>) {
    visit(tree, schema, &mut Vec::new(), problems);
}

fn visit(node: &mut Node, schema: &Schema, path: &mut Vec<Step>, problems: &mut Vec<Problem>) {
    match (shape(schema), &mut node.value) {
        (Shape::Table(keys), Value::Table(entries)) => {
            for (key, schema) in keys.all() {
                if let Some(twin) = keys.file_of(key)
                    && let Some(file) = entries.remove(&twin)
                {
                    match (read(&file), entries.get(key)) {
                        (_, Some(other)) => {
                            let place = header(path);
                            let text = format!(
                                "{key:?} and {twin:?} in {place} are both given; the other is {}",
                                other.origin
                            );
                            problems.push(Problem::new(&file.origin, text));
                        }
                        (Ok(value), None) => {
                            entries.insert(key.to_owned(), Node { value, origin: file.origin });
                        }
                        (Err(why), None) => {
                            let text = format!("{twin:?} in {}: {why}", header(path));
                            problems.push(Problem::new(&file.origin, text));
                        }
                    }
                }
                if let Some(node) = entries.get_mut(key) {
                    path.push(Step::Key(key.to_owned()));
                    visit(node, schema, path, problems);
                    path.pop();
                }
            }
        }
        (Shape::Map(value), Value::Table(entries)) => {
            for (key, node) in entries {
                path.push(Step::Key(key.clone()));
                visit(node, value, path, problems);
                path.pop();
            }
        }
        (Shape::List(item), Value::List(items)) => {
            for (index, node) in items.iter_mut().enumerate() {
                path.push(Step::Index(index));
                visit(node, item, path, problems);
                path.pop();
            }
        }
        _ => {}
    }
}

fn read(file: &Node) -> Result<Value, String> {
    let Some(path) = file.text() else { return Err("must be text: the path of a file".into()) };
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?;
    // Editors and `echo` end a file with a line break, which is not part of the secret.
    let text = text.trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err(format!("{path} is empty"));
    }
    Ok(Value::Leaf(toml::Value::String(text.to_owned())))
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::super::{file, load, schema};
    use super::*;

    /// A door.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct Door {
        /// The word.
        word: Option<Secret>,
        /// A file that holds `word`.
        word_file: Option<PathBuf>,
    }

    /// A house.
    #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields, default)]
    struct House {
        /// The doors.
        door: Vec<Door>,
    }

    fn read(text: &str) -> Result<House, String> {
        let tree = file::parse(text, Path::new("a.toml")).unwrap_or_else(|_| panic!("{text} is TOML"));
        let mut problems = Vec::new();
        let house = load::interpret(&tree, &schema::of::<House>(), &mut problems);
        house.ok_or_else(|| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn a_secret_comes_from_the_file_or_from_beside_it_but_not_from_both() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("word");
        std::fs::write(&path, "sesame \n").unwrap();
        let path = path.display();

        let house = read(&format!("[[door]]\nword = 'mellon'\n[[door]]\nword_file = '{path}'")).unwrap();
        let words: Vec<_> = house.door.iter().map(|door| door.word.as_ref().unwrap().expose()).collect();
        assert_eq!(words, ["mellon", "sesame "]);
        assert_eq!(house.door[1].word_file, None);

        let both = read(&format!("[[door]]\nword = 'mellon'\nword_file = '{path}'")).unwrap_err();
        assert_eq!(
            both,
            "a.toml:3: \"word\" and \"word_file\" in [[door]] are both given; the other is a.toml:2"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_empty_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("word");
        let setting = format!("[[door]]\nword_file = '{}'", path.display());
        assert!(read(&setting).unwrap_err().contains("cannot read"));
        std::fs::write(&path, "\n").unwrap();
        assert!(read(&setting).unwrap_err().ends_with("is empty"));
        assert!(read("[[door]]\nword_file = 7").unwrap_err().contains("must be text"));
    }

    #[test]
    fn a_secret_is_known_by_its_place_and_by_what_it_is_in() {
        let schema = schema::of::<House>();
        for (key, expected) in [
            ("door.0.word", true),
            ("door.0.word_file", false),
            ("door.0", true),
            ("door", true),
            ("none", false),
        ] {
            assert_eq!(is_or_holds(&schema, &super::super::tree::path(key)), expected, "{key}");
        }
    }

    #[test]
    fn however_a_secret_is_printed_it_is_stars() {
        let house = read("[[door]]\nword = 'mellon'").unwrap();
        let printed =
            [format!("{house:?}"), serde_json::to_string(&house).unwrap(), toml::to_string(&house).unwrap()];
        for text in printed {
            assert!(text.contains("***") && !text.contains("mellon"), "{text}");
        }
    }

    #[test]
    fn a_problem_with_a_secret_does_not_repeat_it() {
        for text in ["[[door]]\nword = ['mellon']", "[[door]]\nwrod = 'mellon'", "door = 'mellon'"] {
            let problems = read(text).unwrap_err();
            assert!(!problems.contains("mellon"), "{problems}");
        }
    }
}

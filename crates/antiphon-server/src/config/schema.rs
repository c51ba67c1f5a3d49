//! Which keys are known, what may stand behind each, and what it is for: the JSON Schema of [`Config`], read back.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::Config;
use super::tree::Step;

/// The JSON Schema (draft 2020-12) of the configuration file, with every key's doc and default.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(of::<Config>);
    &SCHEMA
}

/// The schema of `T`, without references.
pub(super) fn of<T: schemars::JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.into_generator().into_root_schema_for::<T>().into()
}

/// What may stand at a place.
pub(super) enum Shape<'a> {
    /// A table of known keys.
    Table(Keys<'a>),
    /// A table whose keys the operator chooses; each value is like this.
    Map(&'a Value),
    /// A list; each value is like this.
    List(&'a Value),
    /// A whole number between these, ends included.
    Integer { least: Option<i64>, most: Option<i64> },
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(Vec<Choice<'a>>),
    /// Text.
    Text,
    /// More than one of the above: whoever reads it decides.
    Open,
}

/// A word that may be chosen, and what it means.
pub(super) struct Choice<'a> {
    pub(super) word: &'a str,
    pub(super) doc: &'a str,
}

/// The keys of a table.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    properties: &'a Map<String, Value>,
    required: Option<&'a Vec<Value>>,
}

impl<'a> Keys<'a> {
    /// The names, in order.
    pub(super) fn names(self) -> impl Iterator<Item = &'a str> {
        self.properties.keys().map(String::as_str)
    }

    /// Every name with its schema, in order.
    pub(super) fn all(self) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.properties.iter().map(|(name, schema)| (name.as_str(), schema))
    }

    /// The schema of a key.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.properties.get(name)
    }

    /// Whether a key must be given.
    pub(super) fn requires(self, name: &str) -> bool {
        self.required.is_some_and(|names| names.iter().any(|required| required == name))
    }

    /// The key that names a file which holds this one's value. A key that has one is a secret.
    pub(super) fn file_of(self, name: &str) -> Option<String> {
        let twin = format!("{name}_file");
        self.properties.contains_key(&twin).then_some(twin)
    }
}

/// What may stand at a place with this schema.
pub(super) fn shape(schema: &Value) -> Shape<'_> {
    let schema = without_null(schema);
    if let Some(choices) = choices(schema) {
        return Shape::Choice(choices);
    }
    match kind(schema) {
        Some("object") => match (schema["properties"].as_object(), &schema["additionalProperties"]) {
            (Some(properties), _) => {
                Shape::Table(Keys { properties, required: schema["required"].as_array() })
            }
            (None, value @ Value::Object(_)) => Shape::Map(value),
            (None, _) => Shape::Open,
        },
        Some("array") if schema["items"].is_object() => Shape::List(&schema["items"]),
        Some("integer") => Shape::Integer { least: schema["minimum"].as_i64(), most: most(schema) },
        Some("number") => Shape::Number,
        Some("boolean") => Shape::Boolean,
        Some("string") => Shape::Text,
        _ => Shape::Open,
    }
}

/// The schema of the place at `path`.
pub(super) fn at<'a>(root: &'a Value, path: &[Step]) -> Option<&'a Value> {
    path.iter().try_fold(root, |schema, step| match (shape(schema), step) {
        (Shape::Table(keys), Step::Key(key)) => keys.get(key),
        (Shape::Map(value), Step::Key(_)) => Some(value),
        (Shape::List(value), Step::Index(_)) => Some(value),
        _ => None,
    })
}

/// What a key is for, in paragraphs of one line each.
pub(super) fn doc(schema: &Value) -> Vec<String> {
    let text = schema["description"].as_str().unwrap_or_default();
    text.split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The value that a key has when nobody says anything, if there is one.
pub(super) fn default(schema: &Value) -> Option<&Value> {
    schema.get("default").filter(|value| !value.is_null())
}

/// What may stand at a place, in words: "a whole number of at least 0".
pub(super) fn expected(schema: &Value) -> String {
    match shape(schema) {
        Shape::Table(_) | Shape::Map(_) => "a table".into(),
        Shape::List(item) => match shape(item) {
            Shape::Table(_) => "a list of tables".into(),
            Shape::Text => "a list of texts".into(),
            Shape::Integer { .. } => "a list of whole numbers".into(),
            _ => "a list".into(),
        },
        Shape::Integer { least: Some(least), most: Some(most) } => {
            format!("a whole number between {least} and {most}")
        }
        Shape::Integer { least: Some(least), most: None } => format!("a whole number of at least {least}"),
        Shape::Integer { .. } => "a whole number".into(),
        Shape::Number => "a number".into(),
        Shape::Boolean => "true or false".into(),
        Shape::Choice(choices) => {
            let words: Vec<_> = choices.iter().map(|choice| format!("{:?}", choice.word)).collect();
            words.join(" or ")
        }
        Shape::Text => "text".into(),
        Shape::Open => "another value".into(),
    }
}

/// An optional value's schema is about the value.
fn without_null(schema: &Value) -> &Value {
    let is_null = |schema: &Value| schema["type"] == "null";
    match schema["anyOf"].as_array().map(Vec::as_slice) {
        Some([inner, null]) if is_null(null) => inner,
        _ => schema,
    }
}

/// The one type that a schema names.
fn kind(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(kind) => Some(kind),
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str).filter(|kind| *kind != "null");
            kinds.next().filter(|_| kinds.next().is_none())
        }
        _ => None,
    }
}

fn choices(schema: &Value) -> Option<Vec<Choice<'_>>> {
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| Some(Choice { word: word.as_str()?, doc: "" })).collect();
    }
    let variants = schema["oneOf"].as_array()?;
    let mut choices = Vec::new();
    for variant in variants {
        let doc = variant["description"].as_str().unwrap_or_default();
        match (&variant["const"], variant["enum"].as_array()) {
            (Value::String(word), _) => choices.push(Choice { word, doc }),
            (_, Some(words)) => {
                for word in words {
                    choices.push(Choice { word: word.as_str()?, doc });
                }
            }
            _ => return None,
        }
    }
    Some(choices)
}

/// The greatest whole number, if it is less than TOML's greatest.
fn most(schema: &Value) -> Option<i64> {
    let of_type = match schema["format"].as_str() {
        Some("uint8") => Some(u8::MAX.into()),
        Some("uint16") => Some(u16::MAX.into()),
        Some("uint32") => Some(u32::MAX.into()),
        Some("int32") => Some(i32::MAX.into()),
        _ => None,
    };
    schema["maximum"].as_i64().or(of_type)
}

#[cfg(test)]
mod tests {
    use super::super::tree::path;
    use super::*;

    /// Every key with its path and schema.
    fn keys(schema: &'static Value) -> Vec<(String, &'static Value)> {
        let mut found = Vec::new();
        collect(String::new(), schema, &mut found);
        found
    }

    fn collect(path: String, schema: &'static Value, found: &mut Vec<(String, &'static Value)>) {
        match shape(schema) {
            Shape::Table(keys) => {
                for (name, schema) in keys.all() {
                    let path = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
                    found.push((path.clone(), schema));
                    collect(path, schema, found);
                }
            }
            Shape::Map(value) | Shape::List(value) => collect(format!("{path}[]"), value, found),
            _ => {}
        }
    }

    #[test]
    fn every_key_is_documented_for_operators() {
        let keys = keys(schema());
        assert!(keys.len() > 30, "the walk found {} keys", keys.len());
        for (key, schema) in keys {
            let doc = doc(schema).concat();
            assert!(!doc.is_empty(), "{key} has no doc: write `///` above it");
            assert!(doc.ends_with(['.', '`']), "the doc of {key} does not end as a sentence: {doc}");
            assert!(
                !doc.contains("[`"),
                "the doc of {key} links into the code, which operators do not see: {doc}"
            );
        }
    }

    #[test]
    fn the_default_that_a_doc_names_is_the_one_of_the_code() {
        for (key, schema) in keys(schema()) {
            let plain = match default(schema) {
                Some(Value::String(text)) if !text.is_empty() => text.clone(),
                Some(value @ (Value::Bool(_) | Value::Number(_))) => value.to_string(),
                _ => continue,
            };
            let doc = doc(schema).join(" ").replace(['`', '"'], "");
            let named = doc.split_once("Default: ").map(|(_, rest)| rest);
            let rest = named.and_then(|named| named.strip_prefix(&*plain));
            // What follows may explain the number, but must not go on with it.
            let whole = rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'));
            assert!(whole, "the doc of {key} must say \"Default: {plain}\": {doc}");
        }
    }

    #[test]
    fn every_shape_of_the_settings_is_understood() {
        for (key, schema) in keys(schema()) {
            assert!(!matches!(shape(schema), Shape::Open), "{key} can be anything: {schema}");
        }
    }

    #[test]
    fn what_is_expected_is_said_in_words() {
        for (key, expected) in [
            ("server.cores", "a whole number of at least 0"),
            ("plan.x.agents", "a whole number between 0 and 4294967295"),
            ("store.ephemeral", "true or false"),
            ("store.synchronous", "\"full\" or \"normal\""),
            ("listener", "a list of tables"),
            ("listener.0.mount.0.origins", "a list of texts"),
            ("listener.0.tls", "a table"),
            ("listener.0.address", "text"),
        ] {
            assert_eq!(super::expected(at(schema(), &path(key)).unwrap()), expected, "{key}");
        }
    }
}

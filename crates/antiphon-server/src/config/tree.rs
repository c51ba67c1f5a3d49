//! Values with where each was said, and how one layer lies over another.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::problem::Origin;

/// A value and its origin. It may hold secrets, so it cannot be printed.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) origin: Origin,
    pub(super) value: Value,
}

/// A value.
#[derive(Clone)]
pub(super) enum Value {
    Table(BTreeMap<String, Node>),
    List(Vec<Node>),
    /// Neither a table nor a list.
    Leaf(toml::Value),
}

/// One step from a value to a value inside it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl Node {
    /// Nothing yet.
    pub(super) fn empty() -> Self {
        Self { origin: Origin::Default, value: Value::Table(BTreeMap::new()) }
    }

    /// A value all of which was said in one place.
    pub(super) fn uniform(value: toml::Value, origin: &Origin) -> Self {
        let value = match value {
            toml::Value::Table(table) => Value::Table(
                table.into_iter().map(|(key, value)| (key, Self::uniform(value, origin))).collect(),
            ),
            toml::Value::Array(list) => {
                Value::List(list.into_iter().map(|value| Self::uniform(value, origin)).collect())
            }
            leaf => Value::Leaf(leaf),
        };
        Self { origin: origin.clone(), value }
    }

    /// The value at `path`.
    pub(super) fn get(&self, path: &[Step]) -> Option<&Self> {
        path.iter().try_fold(self, |node, step| match (&node.value, step) {
            (Value::Table(table), Step::Key(key)) => table.get(key),
            (Value::List(list), Step::Index(index)) => list.get(*index),
            _ => None,
        })
    }

    /// The origin of what is at `path`, or else of what it would be in.
    pub(super) fn origin_of(&self, path: &[Step]) -> &Origin {
        let known = (0..=path.len()).rev().find_map(|length| self.get(&path[..length]));
        known.map_or(&Origin::Default, |node| &node.origin)
    }

    /// The entries of a table.
    pub(super) fn entries(&self) -> Option<&BTreeMap<String, Self>> {
        match &self.value {
            Value::Table(table) => Some(table),
            Value::List(_) | Value::Leaf(_) => None,
        }
    }

    /// The values of a list; none if it is something else.
    pub(super) fn items(&self) -> &[Self] {
        match &self.value {
            Value::List(list) => list,
            Value::Table(_) | Value::Leaf(_) => &[],
        }
    }

    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Leaf(leaf) => leaf.as_str(),
            Value::Table(_) | Value::List(_) => None,
        }
    }

    /// Lays `over` over this: tables key by key, everything else as a whole.
    pub(super) fn merge(&mut self, over: Self) {
        match (&mut self.value, over) {
            (Value::Table(table), Self { value: Value::Table(entries), .. }) => {
                for (key, node) in entries {
                    match table.get_mut(&key) {
                        Some(below) => below.merge(node),
                        None => {
                            table.insert(key, node);
                        }
                    }
                }
            }
            (_, over) => *self = over,
        }
    }

    /// Lays `node` over what is at `path`, making the tables and lists on the way. A list grows by one place at a time: the
    /// error is how many it has.
    pub(super) fn set(&mut self, path: &[Step], node: Self) -> Result<(), usize> {
        let Some((step, rest)) = path.split_first() else {
            self.merge(node);
            return Ok(());
        };
        let place = match step {
            Step::Key(key) => {
                if !matches!(self.value, Value::Table(_)) {
                    *self = Self { value: Value::Table(BTreeMap::new()), origin: node.origin.clone() };
                }
                let Value::Table(table) = &mut self.value else { return Err(0) };
                table
                    .entry(key.clone())
                    .or_insert_with(|| Self { origin: node.origin.clone(), ..Self::empty() })
            }
            Step::Index(index) => {
                if !matches!(self.value, Value::List(_)) {
                    *self = Self { value: Value::List(Vec::new()), origin: node.origin.clone() };
                }
                let Value::List(list) = &mut self.value else { return Err(0) };
                let length = list.len();
                if *index == length {
                    list.push(Self { origin: node.origin.clone(), ..Self::empty() });
                }
                list.get_mut(*index).ok_or(length)?
            }
        };
        place.set(rest, node)
    }

    /// Takes out what is at `path`; what follows it in a list moves up.
    pub(super) fn remove(&mut self, path: &[Step]) -> Option<Self> {
        let (step, rest) = path.split_first()?;
        match (&mut self.value, step) {
            (Value::Table(table), Step::Key(key)) if rest.is_empty() => table.remove(key),
            (Value::Table(table), Step::Key(key)) => table.get_mut(key)?.remove(rest),
            (Value::List(list), Step::Index(index)) if rest.is_empty() && *index < list.len() => {
                Some(list.remove(*index))
            }
            (Value::List(list), Step::Index(index)) => list.get_mut(*index)?.remove(rest),
            _ => None,
        }
    }

    /// The values alone.
    pub(super) fn to_toml(&self) -> toml::Value {
        match &self.value {
            Value::Table(table) => {
                toml::Value::Table(table.iter().map(|(key, node)| (key.clone(), node.to_toml())).collect())
            }
            Value::List(list) => toml::Value::Array(list.iter().map(Self::to_toml).collect()),
            Value::Leaf(leaf) => leaf.clone(),
        }
    }
}

/// How a path is written as a key: `listener.0.mount.1.path`.
pub(super) fn dotted(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        if !text.is_empty() {
            text.push('.');
        }
        match step {
            Step::Key(key) => text.push_str(key),
            // Writing to a String cannot fail.
            Step::Index(index) => write!(text, "{index}").unwrap_or_default(),
        }
    }
    text
}

/// How the table at `path` is headed in a file: `[limits]`, `[[listener.mount]]`.
pub(super) fn header(path: &[Step]) -> String {
    let keys: Vec<_> = path
        .iter()
        .filter_map(|step| match step {
            Step::Key(key) => Some(quoted(key)),
            Step::Index(_) => None,
        })
        .collect();
    match path.last() {
        None => "the top level".to_owned(),
        Some(Step::Key(_)) => format!("[{}]", keys.join(".")),
        Some(Step::Index(_)) => format!("[[{}]]", keys.join(".")),
    }
}

/// A key as TOML writes it: in quotes where it needs them.
pub(super) fn quoted(key: &str) -> String {
    let line = toml::Table::from_iter([(key.to_owned(), toml::Value::Boolean(true))]).to_string();
    line.strip_suffix(" = true\n").unwrap_or(&line).to_owned()
}

/// A path of keys.
#[cfg(test)]
pub(super) fn path(dotted: &str) -> Vec<Step> {
    let step = |part: &str| part.parse().map_or_else(|_| Step::Key(part.to_owned()), Step::Index);
    dotted.split('.').map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(text: &str, line: usize) -> Node {
        let origin = Origin::File { path: "a.toml".into(), line };
        Node::uniform(toml::Value::Table(text.parse().unwrap()), &origin)
    }

    #[test]
    fn tables_are_laid_over_each_other_key_by_key_and_lists_as_a_whole() {
        let mut tree = node("a = { x = 1, y = 2 }\nl = [1, 2]", 1);
        tree.merge(node("a = { y = 3 }\nl = [9]", 2));
        assert_eq!(
            tree.to_toml().to_string(),
            node("a = { x = 1, y = 3 }\nl = [9]", 0).to_toml().to_string()
        );
        assert_eq!(tree.get(&path("a.x")).unwrap().origin, Origin::File { path: "a.toml".into(), line: 1 });
        assert_eq!(tree.get(&path("a.y")).unwrap().origin, Origin::File { path: "a.toml".into(), line: 2 });
    }

    #[test]
    fn a_list_grows_by_one_place_at_a_time() {
        let leaf = || Node::uniform(toml::Value::from(7), &Origin::Default);
        let mut tree = Node::empty();
        assert_eq!(tree.set(&path("l.1.x"), leaf()), Err(0));
        assert_eq!(tree.set(&path("l.0.x"), leaf()), Ok(()));
        assert_eq!(tree.set(&path("l.1.x"), leaf()), Ok(()));
        assert_eq!(tree.set(&path("l.3.x"), leaf()), Err(2));
        assert_eq!(tree.get(&path("l")).unwrap().items().len(), 2);
    }

    #[test]
    fn a_table_is_named_as_its_header_is_written() {
        for (dotted, expected) in [
            ("a", "[a]"),
            ("a.b c", "[a.\"b c\"]"),
            ("l.0", "[[l]]"),
            ("l.0.m.1", "[[l.m]]"),
            ("l.0.t", "[l.t]"),
        ] {
            assert_eq!(header(&path(dotted)), expected);
        }
        assert_eq!(header(&[]), "the top level");
    }

    #[test]
    fn what_is_missing_has_the_origin_of_where_it_would_be() {
        let tree = node("a = { x = 1 }", 4);
        assert_eq!(*tree.origin_of(&path("a.z.q")), Origin::File { path: "a.toml".into(), line: 4 });
    }
}

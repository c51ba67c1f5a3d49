//! The page that documents every key, `docs/reference/configuration.md`.

use std::fmt::Write as _;

use serde_json::Value as Json;

use super::aliases::ALIASES;
use super::environment::variable;
use super::print::{choice_line, to_toml};
use super::schema::{Keys, Shape, default, doc, expected, schema, shape};
use super::tree::{Step, header};

const BEFORE: &str = "# Configuration

<!-- Written by `antiphon config print --format markdown`; `make reference` writes it anew. -->

Everything has a default, and a server runs without any of this. Values come from five places, each over the one before:

1. the defaults below;
2. `antiphon.toml` in the working directory, or the file that `--config` or `ANTIPHON_CONFIG` names;
3. `.env` in the working directory;
4. the environment;
5. flags: `antiphon serve --set server.cores=2`.

`antiphon config print` shows the effective values and where each was said, `antiphon config check` everything that is wrong,
`antiphon config schema` a JSON Schema for editors. An unknown key or an unknown variable that begins with `ANTIPHON_` is refused.
The demo (`antiphon serve --demo`) reads none of them.

A variable is `ANTIPHON_` and the key's path in capitals with two underscores between levels. `N` below is a position in a list,
counted from 0; the position after the last adds one. A whole table or list is given as TOML text:
`ANTIPHON_LISTENER='[{ address = \"0.0.0.0:3000\" }]'`; for a list of texts commas also do. An empty variable is as good as none.

Times are in milliseconds, sizes in bytes. Paths are relative to the working directory. A key that has a twin with `_file` is a
secret: the twin names a file that holds it, without its last line break. Only one of the two is given. A secret is never printed, and
no flag sets it, because other users of a machine can read its processes' flags.
";

const ALIASES_BEFORE: &str = "
## Variables of the documents

The documents' own variables also set keys, in `.env` and in the environment. Each was written for an application with one mount.
Here it means the mounts, or the listeners of the mounts, that speak the dialect of its document, or all of them when none does.
Times and origins go to every mount that is meant. A port or a host goes to the one listener that is meant, and is refused when
there are several, unless the address of one of them comes from a variable with its full name. Full names win over these in any
case. Two that give one key different values are refused, unless only one of them belongs to the key's own dialect. A secret goes to
the one issuer with HS256 that has none of its own; without such an issuer it means nothing.

| variable | dialect | key | gives |
|---|---|---|---|
";

/// The whole page, in Markdown.
pub fn reference() -> String {
    let mut out = String::from(BEFORE);
    if let Shape::Table(keys) = shape(schema()) {
        table(&mut out, keys, &mut Vec::new());
    }
    out.push_str(ALIASES_BEFORE);
    for alias in ALIASES {
        let dialects = alias.dialects.join(", ");
        // Writing to a String cannot fail.
        let _ = writeln!(out, "| `{}` | {dialects} | `{}` | {} |", alias.name, alias.key, alias.gives());
    }
    out
}

/// The keys of a table, and then the tables in it.
fn table(out: &mut String, keys: Keys<'_>, path: &mut Vec<Step>) {
    for (key, schema) in keys.all() {
        if inner(schema).is_none() {
            path.push(Step::Key(key.to_owned()));
            value(out, key, schema, keys, path);
            path.pop();
        }
    }
    for (key, schema) in keys.all() {
        let Some((step, keys)) = inner(schema) else { continue };
        let above = path.len();
        path.push(Step::Key(key.to_owned()));
        path.extend(step);
        let _ = writeln!(out, "\n## `{}`\n", header(path));
        for paragraph in doc(schema) {
            let _ = writeln!(out, "{paragraph}");
        }
        table(out, keys, path);
        path.truncate(above);
    }
}

/// The keys of a table that has a header of its own, and the step from the key to such a table.
fn inner(schema: &Json) -> Option<(Option<Step>, Keys<'_>)> {
    let (step, schema) = match shape(schema) {
        Shape::Map(value) => (Some(Step::Key("NAME".into())), value),
        Shape::List(item) => (Some(Step::Index(0)), item),
        _ => (None, schema),
    };
    match shape(schema) {
        Shape::Table(keys) => Some((step, keys)),
        _ => None,
    }
}

fn value(out: &mut String, key: &str, schema: &Json, keys: Keys<'_>, path: &[Step]) {
    let standard = match default(schema).and_then(to_toml) {
        Some(value) => format!("default `{value}`"),
        None if keys.requires(key) => "required".into(),
        None => "not set by default".into(),
    };
    let secret = if keys.file_of(key).is_some() { ", a secret" } else { "" };
    let variable = variable(path).replace("__0", "__N");
    let _ = writeln!(out, "\n### `{key}`\n\n{}{secret} · {standard} · `{variable}`\n", expected(schema));
    for paragraph in doc(schema) {
        let _ = writeln!(out, "{paragraph}");
    }
    if let Shape::Choice(choices) = shape(schema) {
        let _ = writeln!(out);
        for choice in choices.iter().filter(|choice| !choice.doc.is_empty()) {
            let _ = writeln!(out, "- {}", choice_line(choice));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_repository_is_the_one_of_this_code() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/configuration.md");
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == reference(),
            "docs/reference/configuration.md is another one; `make reference` writes it anew"
        );
    }

    #[test]
    fn every_table_and_key_has_its_place() {
        let page = reference();
        for part in [
            "## `[server]`",
            "## `[[listener]]`",
            "## `[listener.tls]`",
            "## `[[listener.mount]]`",
            "## `[plan.NAME]`",
            "whole number of at least 0 · default `25000` · `ANTIPHON_LISTENER__N__MOUNT__N__PING_INTERVAL`",
            "`ANTIPHON_PLAN__NAME__AGENTS`",
            "- `full`: Flushed to the disk",
            "| `PORT` | chat, companion | `listener.address` | the port |",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}

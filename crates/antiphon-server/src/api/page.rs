//! The document as a page for people: `/docs`, made here from the document and nothing else.
//!
//! It brings no script and asks for nothing from anywhere, and its headers forbid both.

use std::fmt::Write as _;

use serde_json::Value;

use super::problem;

/// What the page may do in a browser: show itself.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8884;--soft:#8881}\
body{font:16px/1.55 system-ui,sans-serif;max-width:62rem;margin:0 auto;padding:2rem 1rem 6rem}\
h1{margin-bottom:0}h2{margin-top:3rem;border-bottom:1px solid var(--line)}h3{margin:2.5rem 0 .3rem;font-size:1.05rem}\
code,pre{font:14px/1.5 ui-monospace,monospace}pre{background:var(--soft);padding:.8rem;overflow-x:auto;border-radius:6px}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem .8rem .25rem 0;\
border-bottom:1px solid var(--line)}nav li{margin:.1rem 0}.method{display:inline-block;min-width:4rem;font-weight:700}";

/// How a request looks, before the path.
const PREPARE: &str =
    "export ANTIPHON=http://127.0.0.1:3000\nexport ANTIPHON_KEY=svc_…   # antiphon service-key create <name>";

/// The methods of a path, in the order in which they are shown.
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// The page for `document`, a whole OpenAPI description.
pub(super) fn render(document: &Value) -> String {
    let mut page = Page { html: String::new(), document };
    page.head();
    page.contents();
    for group in list(&document["tags"]) {
        page.group(group);
    }
    page.refusals();
    page.shapes();
    page.html.push_str("</body></html>\n");
    page.html
}

struct Page<'a> {
    html: String,
    document: &'a Value,
}

/// One method on one path.
struct Operation<'a> {
    method: &'static str,
    path: &'a str,
    about: &'a Value,
}

impl<'a> Page<'a> {
    /// Appends markup. What comes from the document goes through [`escape`] first.
    fn put(&mut self, html: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.html.write_fmt(html);
    }

    fn head(&mut self) {
        let info = &self.document["info"];
        let (title, version) = (escape(text(&info["title"])), escape(text(&info["version"])));
        let about = prose(text(&info["description"]));
        self.put(format_args!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{title} {version}: HTTP API</title><style>{STYLE}</style></head><body>\
             <h1>{title}</h1><p>HTTP API, version {version}. \
             <a href=\"/openapi.json\">The same as OpenAPI 3.1</a>.</p><p>{about}</p><pre>{}</pre>",
            escape(PREPARE)
        ));
    }

    fn contents(&mut self) {
        self.put(format_args!("<nav><ul>"));
        for group in list(&self.document["tags"]) {
            let name = text(&group["name"]);
            self.put(format_args!("<li><b>{}</b><ul>", escape(name)));
            for Operation { method, path, about } in self.operations(name) {
                let (id, summary) = (escape(text(&about["operationId"])), escape(text(&about["summary"])));
                let (method, path) = (method.to_uppercase(), escape(path));
                self.put(format_args!(
                    "<li><a href=\"#{id}\"><code>{method} {path}</code></a> {summary}</li>"
                ));
            }
            self.put(format_args!("</ul></li>"));
        }
        self.put(format_args!("<li><a href=\"#refusals\"><b>Refusals</b></a></li><li><a href=\"#shapes\"><b>Shapes</b></a></li></ul></nav>"));
    }

    fn operations(&self, group: &str) -> Vec<Operation<'a>> {
        let document = self.document;
        let paths = document["paths"].as_object().into_iter().flatten();
        let all = paths.flat_map(|(path, methods)| {
            let known = METHODS.into_iter().filter_map(move |method| Some((method, methods.get(method)?)));
            known.map(move |(method, about)| Operation { method, path, about })
        });
        all.filter(|operation| list(&operation.about["tags"]).any(|tag| text(tag) == group)).collect()
    }

    fn group(&mut self, group: &Value) {
        let name = text(&group["name"]);
        self.put(format_args!("<h2>{}</h2><p>{}</p>", escape(name), prose(text(&group["description"]))));
        for operation in self.operations(name) {
            self.operation(&operation);
        }
    }

    fn operation(&mut self, operation: &Operation<'_>) {
        let Operation { method, path, about } = operation;
        let (id, summary) = (escape(text(&about["operationId"])), escape(text(&about["summary"])));
        self.put(format_args!(
            "<h3 id=\"{id}\"><code><span class=\"method\">{}</span>{}</code></h3><p><b>{summary}.</b> {}</p>",
            method.to_uppercase(),
            escape(path),
            prose(text(&about["description"]))
        ));
        self.parameters(about);
        self.put(format_args!("<pre>{}</pre>", escape(&curl(operation))));
        let body = &about["requestBody"]["content"]["application/json"];
        if let Some(name) = reference(&body["schema"]) {
            self.put(format_args!("<p>Body: <a href=\"#shape-{0}\">{0}</a></p>", escape(name)));
        }
        self.answers(about);
    }

    fn parameters(&mut self, about: &Value) {
        let mut parameters = list(&about["parameters"]).peekable();
        if parameters.peek().is_none() {
            return;
        }
        self.put(format_args!("<table>"));
        for parameter in parameters {
            self.put(format_args!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                escape(text(&parameter["name"])),
                escape(text(&parameter["in"])),
                prose(text(&parameter["description"]))
            ));
        }
        self.put(format_args!("</table>"));
    }

    fn answers(&mut self, about: &Value) {
        self.put(format_args!("<table>"));
        for (status, answer) in about["responses"].as_object().into_iter().flatten() {
            if status == "default" {
                continue;
            }
            let content = answer["content"].as_object().into_iter().flatten().next();
            let shape = content.and_then(|(_, content)| reference(&content["schema"]));
            let shape = shape.map(escape).map(|name| format!("<a href=\"#shape-{name}\">{name}</a>"));
            let description = prose(text(&answer["description"]));
            self.put(format_args!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{description}</td></tr>",
                escape(status),
                shape.unwrap_or_default()
            ));
        }
        self.put(format_args!("</table>"));
        for (status, answer) in about["responses"].as_object().into_iter().flatten() {
            for (_, content) in answer["content"].as_object().into_iter().flatten() {
                let example = &content["example"];
                if example.is_null() {
                    continue;
                }
                let example = example.as_str().map_or_else(|| format!("{example:#}"), str::to_owned);
                self.put(format_args!("<p>{}:</p><pre>{}</pre>", escape(status), escape(&example)));
            }
        }
    }

    fn refusals(&mut self) {
        self.put(format_args!(
            "<h2 id=\"refusals\">Refusals</h2><p>Whatever is refused is answered with <code>{}</code>, of this shape: \
             <a href=\"#shape-Problem\">Problem</a>. What it says in <code>code</code> stays the same between versions.</p><table>",
            problem::PROBLEM
        ));
        for row in problem::table() {
            self.put(format_args!(
                "<tr id=\"{0}\"><td><code>{0}</code></td><td><code>{1}</code></td><td>{2}</td></tr>",
                escape(row.code),
                row.status.as_u16(),
                escape(row.title)
            ));
        }
        self.put(format_args!("</table>"));
    }

    fn shapes(&mut self) {
        self.put(format_args!("<h2 id=\"shapes\">Shapes</h2>"));
        for (name, schema) in self.document["components"]["schemas"].as_object().into_iter().flatten() {
            self.put(format_args!(
                "<h3 id=\"shape-{0}\">{0}</h3><p>{1}</p>",
                escape(name),
                prose(text(&schema["description"]))
            ));
            self.shape(schema);
        }
    }

    fn shape(&mut self, schema: &Value) {
        for part in list(&schema["allOf"]) {
            self.shape(part);
        }
        let mut choices = list(&schema["oneOf"]).peekable();
        if choices.peek().is_some() {
            self.put(format_args!("<p>One of:</p><ul>"));
            for choice in choices {
                self.put(format_args!("<li>{} {}", kind(choice), prose(text(&choice["description"]))));
                if choice["properties"].is_object() || choice["allOf"].is_array() {
                    self.shape(choice);
                }
                self.put(format_args!("</li>"));
            }
            self.put(format_args!("</ul>"));
        }
        let Some(members) = schema["properties"].as_object() else { return };
        self.put(format_args!("<table>"));
        for (name, member) in members {
            let is_required = list(&schema["required"]).any(|required| text(required) == name);
            self.put(format_args!(
                "<tr><td><code>{}</code></td><td>{}{}</td><td>{}</td></tr>",
                escape(name),
                kind(member),
                if is_required { ", required" } else { "" },
                prose(text(&member["description"]))
            ));
        }
        self.put(format_args!("</table>"));
    }
}

/// A request that can be pasted into a shell.
fn curl(operation: &Operation<'_>) -> String {
    let Operation { method, path, about } = operation;
    let mut path = (*path).to_owned();
    for parameter in list(&about["parameters"]).filter(|parameter| parameter["in"] == "path") {
        path = path.replace(&format!("{{{}}}", text(&parameter["name"])), text(&parameter["example"]));
    }
    let required = |parameter: &&Value| parameter["in"] == "query" && parameter["example"].is_string();
    if let Some(parameter) = list(&about["parameters"]).find(required) {
        path += &format!("?{}={}", text(&parameter["name"]), text(&parameter["example"]));
    }
    let mut command = match *method {
        "get" => format!("curl \"$ANTIPHON{path}\""),
        method => format!("curl -X {} \"$ANTIPHON{path}\"", method.to_uppercase()),
    };
    if list(&about["security"]).next().is_some() {
        command += " \\\n  -H \"Authorization: Bearer $ANTIPHON_KEY\"";
    }
    let example = &about["requestBody"]["content"]["application/json"]["example"];
    if !example.is_null() {
        let quoted = example.to_string().replace('\'', r"'\''");
        command += &format!(" \\\n  -H \"Content-Type: application/json\" \\\n  -d '{quoted}'");
    }
    command
}

/// What a value may be, in a word or two.
fn kind(schema: &Value) -> String {
    if let Some(name) = reference(schema) {
        let name = escape(name);
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    let choices: Vec<_> =
        list(&schema["oneOf"]).filter(|choice| choice["type"] != "null").map(kind).collect();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    let values: Vec<_> =
        list(&schema["enum"]).map(|value| format!("<code>{}</code>", escape(&value.to_string()))).collect();
    if !values.is_empty() {
        return values.join(" or ");
    }
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).filter(|kind| *kind != "null").collect(),
        kind => vec![text(kind)],
    };
    match kinds[..] {
        ["array"] => format!("list of {}", kind(&schema["items"])),
        _ => escape(&kinds.join(" or ")),
    }
}

/// The name of the shape that `schema` refers to, if it is nothing but a reference.
fn reference(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/components/schemas/")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Text as markup, with what stands in backticks as code.
fn prose(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => html += &escape(part),
            _ => html += &format!("<code>{}</code>", escape(part)),
        }
    }
    html
}

fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html += "&amp;",
            '<' => html += "&lt;",
            '>' => html += "&gt;",
            '"' => html += "&quot;",
            '\'' => html += "&#39;",
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn t19_nothing_of_the_document_becomes_markup() {
        let evil = "<script>alert(1)</script>\"onload='x' `<b>`";
        let document = json!({
            "info": {"title": evil, "version": evil, "description": evil},
            "tags": [{"name": evil, "description": evil}],
            "paths": {evil: {"post": {
                "tags": [evil], "operationId": evil, "summary": evil, "description": evil,
                "parameters": [{"name": evil, "in": "query", "description": evil, "example": evil}],
                "requestBody": {"content": {"application/json": {"example": evil, "schema": {"$ref": format!("#/components/schemas/{evil}")}}}},
                "responses": {evil: {"description": evil, "content": {evil: {"example": {evil: evil}}}}},
            }}},
            "components": {"schemas": {evil: {"description": evil, "properties": {evil: {"type": evil, "enum": [evil]}}}}},
        });
        let html = render(&document);
        assert!(html.contains("&lt;script&gt;"));
        for forbidden in ["<script", "onload='", "<b>`", "\"onload"] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn a_request_can_be_pasted_into_a_shell() {
        let about = json!({
            "security": [{"serviceKey": []}],
            "parameters": [{"name": "person", "in": "path", "example": "ada"}],
            "requestBody": {"content": {"application/json": {"example": {"text": "it's"}}}},
        });
        let operation = Operation { method: "post", path: "/v1/people/{person}/notices", about: &about };
        let expected = "curl -X POST \"$ANTIPHON/v1/people/ada/notices\" \\\n  \
            -H \"Authorization: Bearer $ANTIPHON_KEY\" \\\n  -H \"Content-Type: application/json\" \\\n  \
            -d '{\"text\":\"it'\\''s\"}'";
        assert_eq!(curl(&operation), expected);
    }
}

//! What is described is served, what is served is described, and every example works.

use antiphon_core::memory::MemoryStore;
use antiphon_server::wiring::Extras;
use serde_json::{Value, json};

use super::{Client, served};
use crate::support::people::config;
use crate::support::server::Server;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

/// A server in which everything exists that examples name, and a backend of it.
async fn demo() -> (Server, Client, Value) {
    let mut config = config();
    config.listeners[0].api = true;
    config.auth.domain = vec!["example.org".into()];
    config.api.logins_per_minute = 1_000;
    let mut extras = Extras::demo();
    extras.store = Some(std::sync::Arc::new(MemoryStore::new()));
    let server = Server::start(config, extras).await;
    let mut client = Client::with(&server.door(), Some("your-service-key")).await;
    let (status, document) = client.get("/openapi.json").await;
    assert_eq!(status, 200);
    (server, client, document)
}

/// Every operation: method, path, and what is said about it.
fn operations(document: &Value) -> Vec<(&'static str, &str, &Value)> {
    let paths = document["paths"].as_object().expect("there are paths");
    let all = paths.iter().flat_map(|(path, methods)| {
        METHODS.iter().filter_map(move |method| Some((*method, path.as_str(), methods.get(*method)?)))
    });
    all.collect()
}

/// The path with the examples of its parameters.
fn filled(path: &str, about: &Value) -> String {
    let parameters = about["parameters"].as_array().cloned().unwrap_or_default();
    let mut path = path.to_owned();
    let mut query = '?';
    for parameter in &parameters {
        let (name, example) = (parameter["name"].as_str().unwrap(), &parameter["example"]);
        assert!(!example.is_null(), "{path}: {name} has no example");
        let example = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        match parameter["in"].as_str() {
            Some("path") => path = path.replace(&format!("{{{name}}}"), &example),
            Some("query") => {
                path += &format!("{query}{name}={example}");
                query = '&';
            }
            _ => {}
        }
    }
    assert!(!path.contains('{'), "{path}: a parameter is not described");
    path
}

#[tokio::test]
async fn every_documented_example_works() {
    let (server, mut client, document) = demo().await;
    assert_eq!(document["openapi"], "3.1.0");
    let operations = operations(&document);
    assert!(operations.len() > 25, "{}", operations.len());
    for (method, path, about) in operations {
        let target = filled(path, about);
        if path == "/v1/tail" {
            // It does not end by itself.
            continue;
        }
        let body = &about["requestBody"]["content"]["application/json"];
        assert_eq!(body.is_null(), about["requestBody"].is_null(), "{method} {path}");
        let example = &body["example"];
        assert_eq!(example.is_null(), body.is_null(), "{method} {path} has a body and no example");
        let request =
            client.request(&method.to_uppercase(), &target, (!example.is_null()).then_some(example));
        let response = client.send(&request).await;
        let status = response.status.to_string();
        let said = about["responses"].get(&status);
        assert!(said.is_some(), "{method} {target}: {:?}", response.seen());
        if response.status < 300
            && response.header("Content-Type") == Some("application/json")
            && path != "/openapi.json"
        {
            let example = &said.unwrap()["content"]["application/json"]["example"];
            let answer: Value = serde_json::from_slice(&response.body).unwrap();
            same_shape(&answer, example, &format!("{method} {path}"));
        }
    }
    server.stop().await;
}

/// Whether an answer has members that the example has, too, with values of the same kinds.
fn same_shape(answer: &Value, example: &Value, place: &str) {
    let (Value::Object(answer), Value::Object(example)) = (answer, example) else {
        assert_eq!(
            std::mem::discriminant(answer),
            std::mem::discriminant(example),
            "{place}: {answer} {example}"
        );
        return;
    };
    for (name, value) in answer {
        let Some(expected) = example.get(name) else { continue };
        same_shape(value, expected, &format!("{place}.{name}"));
    }
    assert!(
        answer.keys().any(|name| example.contains_key(name)) || example.is_empty(),
        "{place}: {answer:?}"
    );
}

#[tokio::test]
async fn every_command_in_the_document_has_its_shape_and_is_understood() {
    let (server, mut client, document) = demo().await;
    let schemas = &document["components"]["schemas"];
    let commands = schemas["Command"]["oneOf"].as_array().expect("there are commands");
    assert_eq!(commands.len(), 48);
    for command in commands {
        let name = command["$ref"].as_str().and_then(|path| path.rsplit('/').next()).expect("a reference");
        let schema = &schemas[name];
        assert_eq!(schema["properties"]["command"]["enum"], json!([name]));
        assert_eq!(schema["additionalProperties"], json!(false), "{name}");
        // A member that no command has: whatever else is wrong is said after that.
        let (status, answer) = client.post("/v1/commands", &json!({"command": name, "zzz": 1})).await;
        assert_eq!(status, 400);
        let detail = answer["detail"].as_str().unwrap();
        for (member, _) in schema["properties"].as_object().unwrap() {
            let is_head = ["command", "as", "idempotencyKey"].contains(&member.as_str());
            assert!(is_head || detail.contains(&format!("`{member}`")), "{name}: {member}: {detail}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn references_lead_somewhere_and_operations_have_names_of_their_own() {
    let (server, _, document) = demo().await;
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let mut names: Vec<_> = operations(&document)
        .iter()
        .map(|(_, _, about)| about["operationId"].as_str().unwrap().to_owned())
        .collect();
    let all = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all);
    let groups: Vec<_> = document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].clone()).collect();
    for (method, path, about) in operations(&document) {
        assert!(groups.contains(&about["tags"][0]), "{method} {path}");
        assert!(about["responses"].get("default").is_some(), "{method} {path}");
    }
    server.stop().await;
}

/// What is wrong with `value` as a `schema` of `document`; understands what our schemas use.
fn wrong(document: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap();
        return wrong(document, &document["components"]["schemas"][name], value);
    }
    let each = |key: &str| schema[key].as_array().cloned().unwrap_or_default();
    for part in each("allOf") {
        if let Some(wrong) = wrong(document, &part, value) {
            return Some(wrong);
        }
    }
    let choices = each("oneOf");
    if !choices.is_empty() && choices.iter().all(|choice| wrong(document, choice, value).is_some()) {
        return Some(format!("{value} is none of the choices"));
    }
    let values = each("enum");
    if !values.is_empty() && !values.contains(value) {
        return Some(format!("{value} is none of {values:?}"));
    }
    let is = |kind: &str| match kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        other => panic!("a kind that this does not know: {other}"),
    };
    let fits = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        _ => true,
    };
    if !fits {
        return Some(format!("{value} is not of the kind {}", schema["type"]));
    }
    if let Some(missing) = each("required").iter().find(|name| value.get(name.as_str().unwrap()).is_none()) {
        return Some(format!("{value} has no {missing}"));
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let known = &schema["properties"][name];
        let found = match known.is_null() {
            true if schema["additionalProperties"] == json!(false) => Some(format!("{name} is not known")),
            true => None,
            false => wrong(document, known, member),
        };
        if found.is_some() {
            return found;
        }
    }
    value.as_array().into_iter().flatten().find_map(|item| wrong(document, &schema["items"], item))
}

#[tokio::test]
async fn examples_are_what_their_schemas_say() {
    let (server, _, document) = demo().await;
    for (method, path, about) in operations(&document) {
        let answers = about["responses"].as_object().unwrap().values();
        for said in answers.chain([&about["requestBody"]]) {
            for (kind, content) in said["content"].as_object().into_iter().flatten() {
                if kind.contains("json") && !content["example"].is_null() && path != "/openapi.json" {
                    let wrong = wrong(&document, &content["schema"], &content["example"]);
                    assert_eq!(wrong, None, "{method} {path}");
                }
            }
        }
    }
    let problem = json!({"type": "a", "title": "b", "status": 400, "detail": "c", "code": "d", "limit": "e"});
    let schema = &document["components"]["schemas"]["Problem"];
    assert!(wrong(&document, schema, &problem).is_some(), "a limit is a number");
    server.stop().await;
}

#[tokio::test]
async fn on_every_documented_path_other_methods_are_refused_and_those_that_are_served_are_named() {
    let (server, mut client, document) = demo().await;
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in paths {
        let about = METHODS.iter().find_map(|method| methods.get(*method)).unwrap();
        let target = filled(path, about);
        let mut expected: Vec<_> = METHODS
            .iter()
            .filter(|method| methods.get(**method).is_some())
            .map(|method| method.to_uppercase())
            .collect();
        if expected.contains(&"GET".to_owned()) {
            expected.push("HEAD".into());
        }
        expected.sort();
        for method in ["OPTIONS", "PUT", "PATCH", "DELETE", "POST", "TRACE", "BREW"] {
            if expected.contains(&method.to_owned()) {
                continue;
            }
            let request = client.request(method, &target, None);
            let response = client.send(&request).await;
            assert_eq!(super::seen(&response).0, 405, "{method} {target}");
            let mut allowed: Vec<_> = response.header("Allow").unwrap_or_default().split(',').collect();
            allowed.sort_unstable();
            assert_eq!(allowed, expected, "{method} {target}");
            assert_eq!(response.header("Access-Control-Allow-Origin"), None);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn the_page_shows_every_operation_and_brings_nothing_from_elsewhere() {
    let (server, mut client, document) = demo().await;
    let request = client.request("GET", "/docs", None);
    let page = client.send(&request).await;
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("Content-Security-Policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!policy.contains("script-src"), "{policy}");
    let html = page.text();
    for (method, path, about) in operations(&document) {
        let id = about["operationId"].as_str().unwrap();
        assert!(html.contains(&format!("<h3 id=\"{id}\">")), "{method} {path}");
    }
    for code in ["invalid", "unauthenticated", "not_found", "conflict", "rate_limited"] {
        assert!(html.contains(&format!("<tr id=\"{code}\">")), "{code}");
    }
    assert!(html.contains("curl -X POST &quot;$ANTIPHON/v1/commands&quot;"));
    for forbidden in ["<script", "src=", "http://cdn", "@import", "url(", "<img", "<link"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    server.stop().await;
}

#[tokio::test]
async fn t33_a_listener_without_the_api_has_none_of_it() {
    let (server, _) = served(|config| config.listeners[0].api = false).await;
    let mut http = crate::support::http::Http::open(&server.door()).await;
    for path in ["/v1/status", "/openapi.json", "/docs", "/v1"] {
        let response = http.ask(&crate::support::http::Request::get(path)).await;
        assert_eq!(response.status, 404, "{path}");
        assert_eq!(response.header("Content-Type"), Some("text/plain; charset=UTF-8"), "{path}");
    }
    server.stop().await;
}

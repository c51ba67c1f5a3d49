//! How a node is asked over JSON-RPC 2.0, and what it answers.

use std::sync::Arc;

use antiphon_core::refusal::Fault;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::outbound::{Outbound, Purpose};

/// What every question is called; each has a request of its own.
const ID: u64 = 1;

/// How many characters of what a node says about its own trouble get into a log.
const SHOWN: usize = 200;

/// A node.
pub(super) struct Node {
    url: String,
    headers: HeaderMap,
    outbound: Arc<Outbound>,
}

impl Node {
    /// The node at `url`, which gets `authorization` with every question. Does no I/O.
    pub(super) fn new(url: String, authorization: Option<HeaderValue>, outbound: Arc<Outbound>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(value) = authorization {
            headers.insert(AUTHORIZATION, value);
        }
        Self { url, headers, outbound }
    }

    /// What `method` gives for `parameters`; `None` where the node answers `null`.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        parameters: Value,
    ) -> Result<Option<T>, Fault> {
        let question = json!({ "jsonrpc": "2.0", "id": ID, "method": method, "params": parameters });
        let question = Bytes::from(question.to_string());
        let answer = self.outbound.ask(Purpose::Chain, &self.url, self.headers.clone(), question).await;
        let answer = answer
            .map_err(|failure| Fault::because(format!("asking the chain's node for {method}"), failure))?;
        read(&answer).map_err(|why| Fault::new(format!("the chain's node answered {method} with {why}")))
    }
}

/// The result in an answer, or what the answer is instead.
fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<Option<T>, String> {
    let answer: Value = serde_json::from_slice(answer).map_err(|_| "something that is not JSON")?;
    if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
        let code = error["code"].as_i64().unwrap_or_default();
        return Err(format!("the error {code}: {}", shown(error["message"].as_str().unwrap_or_default())));
    }
    if answer.get("id") != Some(&json!(ID)) {
        return Err("the answer to another question".into());
    }
    match answer.get("result") {
        None => Err("neither a result nor an error".into()),
        Some(Value::Null) => Ok(None),
        Some(result) => T::deserialize(result)
            .map(Some)
            .map_err(|error| format!("a result of another form: {}", shown(&error.to_string()))),
    }
}

/// Somebody else's text, short enough for a log.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_result_or_says_what_it_is_instead() {
        let good = [
            (r#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#, Some("0x1".to_owned())),
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, None),
            (r#"{"jsonrpc":"2.0","id":1,"error":null,"result":"0x1"}"#, Some("0x1".to_owned())),
        ];
        for (answer, expected) in good {
            assert_eq!(read::<String>(answer.as_bytes()), Ok(expected), "{answer}");
        }
        let long = format!(r#"{{"id":1,"error":{{"code":-1,"message":"{}"}}}}"#, "x".repeat(100_000));
        let bad = [
            ("", "not JSON"),
            ("<html>", "not JSON"),
            (r#"{"id":1}"#, "neither"),
            ("[]", "another question"),
            ("7", "another question"),
            (r#"{"id":2,"result":"0x1"}"#, "another question"),
            (r#"{"result":"0x1"}"#, "another question"),
            (r#"{"id":1,"result":7}"#, "another form"),
            (r#"{"id":1,"result":{}}"#, "another form"),
            (
                r#"{"id":null,"error":{"code":-32700,"message":"parse\u0000 error"}}"#,
                "the error -32700: parse error",
            ),
            (r#"{"id":1,"error":"no"}"#, "the error 0"),
            (&long, "the error -1: xxx"),
        ];
        for (answer, expected) in bad {
            let why = read::<String>(answer.as_bytes()).unwrap_err();
            assert!(why.contains(expected) && why.len() < 300, "{answer}: {why}");
        }
    }
}

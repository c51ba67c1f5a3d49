//! The HTTP API for backends, over real sockets.
//!
//! | module | states |
//! |---|---|
//! | [`document`] | what is described is served, what is served is described, and every example works |
//! | [`refusals`] | what is refused, in which words, and that nothing comes of it |
//! | [`commands`] | commands: alone, many in a row, as somebody |
//! | [`tokens`] | what a backend does with a person's tokens |
//! | [`idempotency`] | a request that is sent again has one effect |
//! | [`routes`] | people, conversations, agents, topics, keys |
//! | [`sessions`] | how a client logs in, stays and leaves |
//! | [`webhooks`] | what did not reach other servers |
//! | [`jobs`] | what agents say by themselves |
//! | [`tail`] | events as they happen |

mod commands;
mod document;
mod idempotency;
mod jobs;
mod refusals;
mod routes;
mod sessions;
mod tail;
mod tokens;
mod webhooks;

use std::sync::Arc;

use antiphon_core::actor::{ApiKey, Holder, SecretHash};
use antiphon_core::ids::{KeyId, Timestamp};
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Keys as _, Model};
use antiphon_server::config::Config;
use antiphon_server::wiring::Extras;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::support::door::Door;
use crate::support::http::{Http, Request, Response};
use crate::support::people::{config, settle};
use crate::support::server::Server;

/// The key of the backend in these tests.
const KEY: &str = "svc_a-key-of-the-shop";

/// A server with the API, with Ada and Bob and their agents, and with a backend called `shop`; and what it remembers.
async fn served(change: impl FnOnce(&mut Config)) -> (Server, Arc<MemoryStore>) {
    answered_by(None, change).await
}

/// The same, with agents that say what `model` says.
async fn answered_by(
    model: Option<Arc<dyn Model>>,
    change: impl FnOnce(&mut Config),
) -> (Server, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    let holder = Holder::Service("shop".into());
    store.put_key(&key("shop", KEY, holder)).await.expect("a key is stored");
    let mut config = config();
    config.listeners[0].api = true;
    change(&mut config);
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    extras.webhooks = Some(store.clone());
    extras.model = model;
    (Server::start(config, extras).await, store)
}

/// A key as it is stored.
fn key(name: &str, secret: &str, holder: Holder) -> ApiKey {
    ApiKey {
        id: KeyId::parse(&format!("svc_{name}")).expect("a plain id"),
        hash: SecretHash(Sha256::digest(secret.as_bytes()).into()),
        holder,
        dialects: None,
        plan: None,
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    }
}

/// Somebody who asks over one connection that is kept alive.
struct Client {
    http: Http,
    key: Option<String>,
}

impl Client {
    /// The backend of these tests.
    async fn shop(server: &Server) -> Self {
        Self::with(&server.door(), Some(KEY)).await
    }

    /// Somebody with this key, or without one.
    async fn with(door: &Door, key: Option<&str>) -> Self {
        Self { http: Http::open(door).await, key: key.map(str::to_owned) }
    }

    /// A request with the key and, if there is one, a JSON body.
    fn request(&self, method: &str, path: &str, body: Option<&Value>) -> Request {
        let mut request = Request::new(method, path);
        if let Some(key) = &self.key {
            request = request.bearer(key);
        }
        match body {
            Some(body) => request.json(body.to_string()),
            None => request,
        }
    }

    async fn send(&mut self, request: &Request) -> Response {
        self.http.ask(request).await
    }

    async fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> (u16, Value) {
        let request = self.request(method, path, body);
        seen(&self.http.ask(&request).await)
    }

    async fn get(&mut self, path: &str) -> (u16, Value) {
        self.ask("GET", path, None).await
    }

    async fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.ask("POST", path, Some(body)).await
    }

    /// A command that has to be done; what came of it.
    async fn done(&mut self, command: &Value) -> Value {
        let (status, answer) = self.post("/v1/commands", command).await;
        assert_eq!(status, 200, "{command}: {answer}");
        answer
    }
}

/// Status and body. A refusal has to look like one.
fn seen(response: &Response) -> (u16, Value) {
    let body: Value = match response.body.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{:?}", response.seen())),
    };
    if response.status >= 400 {
        assert_eq!(response.header("Content-Type"), Some("application/problem+json"), "{body}");
        assert_eq!(body["status"], response.status, "{body}");
        for text in ["type", "title", "detail", "code"] {
            assert!(body[text].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        }
    }
    (response.status, body)
}

/// Status and code of a refusal.
fn refused((status, body): (u16, Value)) -> (u16, String) {
    (status, body["code"].as_str().unwrap_or_else(|| panic!("it was not refused: {body}")).to_owned())
}

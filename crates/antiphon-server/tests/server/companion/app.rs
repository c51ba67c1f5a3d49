//! An app of the companion API in these tests: it calls routes for a wallet, and knows what a refusal looks like.

use std::sync::Arc;

use antiphon_core::actor::{ApiKey, Holder, SecretHash};
use antiphon_core::agents::{Agent, Persona};
use antiphon_core::ids::{ConversationId, KeyId, Timestamp};
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Agents as _, Bonds as _, Conversations as _, Keys as _, Logins as _, Model};
use antiphon_core::ports::{People as _, Profiles as _, Wallets as _};
use antiphon_server::config::Config;
use antiphon_server::wiring::Extras;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::config;
use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::http::{Http, Request, Response};
use crate::support::people::{add_agent, add_person, add_plan, agent, agent_of};
use crate::support::server::Server;

/// A wallet that nobody has at first.
pub(super) const ADA: &str = "0xAbCdEf7890123456789012345678901234567890";

/// Another.
pub(super) const BOB: &str = "0x1234567890123456789012345678901234567890";

/// The key of the backend in these tests.
pub(super) const KEY: &str = "svc_a-key-of-the-treasury";

/// A server with the routes, with the personas Luna and Mia, with Rex, who is nobody's persona, and with a backend; and what it
/// remembers.
pub(super) async fn served(change: impl FnOnce(&mut Config)) -> (Server, Arc<MemoryStore>) {
    answered_by(None, change).await
}

/// The same, with personas that say what `model` says.
pub(super) async fn answered_by(
    model: Option<Arc<dyn Model>>,
    change: impl FnOnce(&mut Config),
) -> (Server, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    add_plan(&*store, "unlimited", None, None).await;
    add_person(&*store, "house", "unlimited", "house-key").await;
    for (name, style) in [("luna", "sweet"), ("mia", "playful")] {
        let persona = Persona {
            style: style.into(),
            description: "Somebody to talk to".into(),
            age: Some(22),
            birthday: "May 12".into(),
            hobbies: "stars".into(),
            likes: "tea".into(),
            dislikes: "noise".into(),
            background: "the moon".into(),
        };
        let named = Agent { name: name[..1].to_uppercase() + &name[1..], ..agent_of(name, "house") };
        let agent = Agent { visibility: "public".into(), persona: Some(Box::new(persona)), ..named };
        store.put_agent(&agent).await.expect("an agent is stored");
    }
    add_agent(&*store, "rex", "house").await;
    let key = ApiKey {
        id: KeyId::parse("svc_treasury").expect("a plain id"),
        hash: SecretHash(Sha256::digest(KEY.as_bytes()).into()),
        holder: Holder::Service("treasury".into()),
        dialects: None,
        plan: None,
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    };
    store.put_key(&key).await.expect("a key is stored");
    let mut config = config();
    config.listeners[0].routes = true;
    change(&mut config);
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    extras.model = model;
    (Server::start(config, extras).await, store)
}

/// Somebody who calls routes over one connection that is kept alive.
pub(super) struct App {
    http: Http,
    wallet: Option<String>,
    pub(super) bearer: Option<String>,
}

impl App {
    /// With this wallet in the header.
    pub(super) async fn of(server: &Server, wallet: &str) -> Self {
        Self { wallet: Some(wallet.into()), ..Self::nobody(server).await }
    }

    /// Without a wallet.
    pub(super) async fn nobody(server: &Server) -> Self {
        Self { http: Http::open(&server.door()).await, wallet: None, bearer: None }
    }

    /// With this wallet, logged in.
    pub(super) async fn logged_in(server: &Server, wallet: &str) -> Self {
        let mut app = Self::of(server, wallet).await;
        let (status, answer) = app.post("/auth/wallet-login", &json!({"wallet_address": wallet})).await;
        assert_eq!(status, 200, "{answer}");
        app
    }

    /// The request, with what says who asks.
    pub(super) fn request(&self, method: &str, path: &str, body: Option<&str>) -> Request {
        let mut request = Request::new(method, path).header("Origin", "https://app.example.org");
        if let Some(wallet) = &self.wallet {
            request = request.header("x-wallet-address", wallet);
        }
        if let Some(bearer) = &self.bearer {
            request = request.bearer(bearer);
        }
        match body {
            Some(body) => request.json(body),
            None => request,
        }
    }

    pub(super) async fn send(&mut self, request: &Request) -> Response {
        self.http.ask(request).await
    }

    pub(super) async fn text(&mut self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        let request = self.request(method, path, body);
        seen(&self.http.ask(&request).await)
    }

    pub(super) async fn get(&mut self, path: &str) -> (u16, Value) {
        self.text("GET", path, None).await
    }

    pub(super) async fn post(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.text("POST", path, Some(&body.to_string())).await
    }

    /// What a route that has to succeed answers.
    pub(super) async fn done(&mut self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body).await;
        assert_eq!(status, 200, "{path} {body}: {answer}");
        answer
    }

    /// What they have.
    pub(super) async fn balance(&mut self) -> Value {
        self.get("/token/balance").await.1["balance"].clone()
    }

    /// Reports a payment as a backend does, whose word counts.
    pub(super) async fn pay(&mut self, hash: &str, coins: f64) -> (u16, Value) {
        self.bearer = Some(KEY.into());
        let paid = self.post("/token/deposit", &json!({"tx_hash": hash, "amount": coins})).await;
        self.bearer = None;
        paid
    }
}

/// Status and body. Every page may read it, and a refusal has to look like one.
pub(super) fn seen(response: &Response) -> (u16, Value) {
    let body: Value =
        serde_json::from_slice(&response.body).unwrap_or_else(|_| panic!("{:?}", response.seen()));
    assert_eq!(response.header("Access-Control-Allow-Origin"), Some("*"), "{body}");
    if response.status >= 400 {
        assert_eq!(body["statusCode"], response.status, "{body}");
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert_eq!(body.as_object().map(serde_json::Map::len), Some(3), "{body}");
    }
    (response.status, body)
}

/// Status and message of a refusal.
pub(super) fn refused((status, body): (u16, Value)) -> (u16, String) {
    (status, body["message"].as_str().unwrap_or_else(|| panic!("it was not refused: {body}")).to_owned())
}

/// A socket that has joined with this wallet.
pub(super) async fn joined(server: &Server, wallet: &str) -> Client {
    let mut client = Client::connect(&server.door(), Transport::Websocket, "").await;
    let id = client.ask("join", &Value::from(wallet).to_string()).await;
    assert_eq!(client.ack(id).await, json!({"ok": true}));
    client
}

/// Everything that the socket was told until now: what is on its way is told before a question that is asked now is answered.
pub(super) async fn heard(client: &mut Client) -> Vec<String> {
    let id = client.ask("join", r#""""#).await;
    client.ack(id).await;
    client.events().into_iter().map(|(name, payload)| format!("{name} {}", short(&payload))).collect()
}

/// What differs from run to run is left out.
fn short(payload: &Value) -> String {
    let mut payload = payload.clone();
    if let Some(object) = payload.as_object_mut() {
        object.retain(|key, _| key != "timestamp" && key != "id");
    }
    payload.to_string()
}

/// All that is remembered of people, in text that can be compared.
pub(super) async fn remembered(store: &MemoryStore) -> String {
    let mut text = String::new();
    for person in store.people(None, 1_000).await.expect("people") {
        let id = &person.id;
        text += &format!(
            "{person:?}\n{:?}\n{:?}\n{:?}\n{:?}\n",
            store.profile(id).await.expect("a profile"),
            store.wallets_of(id).await.expect("wallets"),
            store.ledger(id, 0, 1_000).await.expect("a ledger"),
            store.bonds_of(id).await.expect("bonds"),
        );
        for name in ["luna", "mia", "rex"] {
            let conversation = ConversationId::direct(&agent(name), id);
            text += &format!("{:?}\n", store.history(conversation, 0, 1_000).await.expect("messages"));
        }
    }
    text
}

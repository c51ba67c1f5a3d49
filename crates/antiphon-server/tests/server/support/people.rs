//! Who lives in the tests of the chat API, and the server that they meet on.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::{ApiKey, Holder, Person, Plan, SecretHash};
use antiphon_core::agents::Agent;
use antiphon_core::ids::{AgentId, KeyId, PersonId, Timestamp};
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::Store;
use antiphon_server::config::{Config, Listener, Mount};
use antiphon_server::models::{Kind, Settings};
use antiphon_server::wiring::Extras;
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::engine::Transport;
use super::server::Server;

/// One core, the chat API, and agents that say what they were told, three words at a time.
pub(crate) fn config() -> Config {
    let mount = Mount::new("/api/socketio", "chat");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let mut config = Config {
        listeners: vec![Listener { address, tls: None, api: false, mounts: vec![mount] }],
        ..Config::default()
    };
    config.server.cores = 1;
    config.model = Settings { kind: Kind::Echo, chunk_words: 3, chunk_delay: Duration::ZERO };
    config
}

/// A server with Ada, who owns Luna and Mia, and Bob, who owns Rex.
pub(crate) async fn server(change: impl FnOnce(&mut Config)) -> Server {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    let mut config = config();
    change(&mut config);
    let mut extras = Extras::default();
    extras.store = Some(store);
    Server::start(config, extras).await
}

/// Ada, Bob and their agents move in.
pub(crate) async fn settle(store: &dyn Store) {
    for name in ["ada", "bob"] {
        add_person(store, name, "unlimited", &format!("{name}-key")).await;
    }
    for (agent, owner) in [("luna", "ada"), ("mia", "ada"), ("rex", "bob")] {
        add_agent(store, agent, owner).await;
    }
    add_plan(store, "unlimited", None, None).await;
}

/// Ada, connected and welcomed.
pub(crate) async fn ada(server: &Server, transport: Transport) -> Client {
    welcomed(server, transport, r#"{"token":"ada-key"}"#).await
}

/// Bob, connected and welcomed.
pub(crate) async fn bob(server: &Server, transport: Transport) -> Client {
    welcomed(server, transport, r#"{"token":"bob-key"}"#).await
}

async fn welcomed(server: &Server, transport: Transport, auth: &str) -> Client {
    let mut client = Client::connect(&server.door(), transport, auth).await;
    assert_eq!(client.event().await.0, "system:connection");
    client
}

pub(crate) async fn add_plan(store: &dyn Store, name: &str, connections: Option<u32>, messages: Option<u64>) {
    let name = name.to_owned();
    let plan = Plan { name, connections_per_minute: connections, messages_per_month: messages, agents: None };
    store.put_plan(&plan).await.expect("a plan is stored");
}

pub(crate) async fn add_person(store: &dyn Store, name: &str, plan: &str, key: &str) {
    let id = person(name);
    let created_at = Timestamp(0);
    store
        .put_person(&Person { id: id.clone(), plan: plan.into(), roles: Vec::new(), created_at })
        .await
        .expect("a person is stored");
    let api_key = ApiKey {
        id: KeyId::parse(&format!("key-of-{name}")).expect("a plain id"),
        hash: SecretHash(Sha256::digest(key.as_bytes()).into()),
        holder: Holder::Person(id),
        dialects: None,
        plan: None,
        created_at,
        expires_at: None,
        revoked_at: None,
    };
    store.put_key(&api_key).await.expect("a key is stored");
}

pub(crate) async fn add_agent(store: &dyn Store, name: &str, owner: &str) {
    store.put_agent(&agent_of(name, owner)).await.expect("an agent is stored");
}

pub(crate) fn agent_of(name: &str, owner: &str) -> Agent {
    Agent {
        id: agent(name),
        owner: person(owner),
        name: name.into(),
        kind: "companion".into(),
        personality: String::new(),
        purpose: String::new(),
        tone: String::new(),
        visibility: "private".into(),
        persona: None,
        created_at: Timestamp(0),
    }
}

pub(crate) fn person(name: &str) -> PersonId {
    PersonId::parse(name).expect("a plain id")
}

pub(crate) fn agent(name: &str) -> AgentId {
    AgentId::parse(name).expect("a plain id")
}

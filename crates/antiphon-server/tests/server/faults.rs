//! What clients see of a store that fails: a documented error, and no more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use antiphon_core::actor::{ApiKey, Holder, Person, Plan, Principal, Proof, SecretHash, Session};
use antiphon_core::agents::{Agent, AgentChange, Relation};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::ids::{AgentId, ConversationId, KeyId, MessageId, PersonId, TaskId, Timestamp};
use antiphon_core::jobs::{Claimant, Claimed, Ending, Job, NewJob};
use antiphon_core::memory::{ManualClock, MemoryStore};
use antiphon_core::people::{Bond, Bonded, Profile};
use antiphon_core::ports::{
    Agents, Appended, Begun, Bonds, Booked, Committed, Conversations, Jobs, Keys, Logins, NewMessage,
    OnBooked, OnTold, People, Profiles, RequestKey, Requests, ReturnCommitted, Revocation, Revocations,
    Stepped, TaskCommitted, TaskFilter, Tasks, Upkeep, Wallets, WorkerCommitted, Workers,
};
use antiphon_core::refusal::Fault;
use antiphon_core::tasks::{Step, Task};
use antiphon_core::topic::Topic;
use antiphon_core::wallet::{Balance, Entry, NewEntry};
use antiphon_core::workers::{Duties, Moved, Sign, Worker};
use antiphon_server::auth::{Algorithm, Issuer};
use antiphon_server::config::{Config, Secret};
use antiphon_server::proactive::Order;
use antiphon_server::wiring::Extras;
use async_trait::async_trait;
use jsonwebtoken::EncodingKey;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::{Notify, RwLock};

use crate::support::client::Client;
use crate::support::engine::{BOTH, Engine, Packet, Transport};
use crate::support::http::{Http, Request, ask};
use crate::support::people::{ada, agent, config, person, settle};
use crate::support::server::{Server, goes_on};
use crate::support::soon;

/// A store whose disk can be taken away.
#[derive(Default)]
pub(crate) struct Brittle {
    inner: MemoryStore,
    /// Held for writing it keeps messages waiting.
    pub(crate) gate: RwLock<()>,
    /// Held for writing it keeps those waiting who want to know what was said last, as whoever comes back to a conversation does.
    pub(crate) past: RwLock<()>,
    /// Whoever looks a key up waits at the gate, too.
    keys_wait: AtomicBool,
    /// Somebody has come to the gate.
    pub(crate) bell: Notify,
    writes_fail: AtomicBool,
    reads_fail: AtomicBool,
    /// Whoever looks for a person next comes a moment before they are added.
    too_early: AtomicBool,
}

impl Brittle {
    fn write(&self) -> Result<&MemoryStore, Fault> {
        self.unless(&self.writes_fail)
    }

    fn read(&self) -> Result<&MemoryStore, Fault> {
        self.unless(&self.reads_fail)
    }

    fn unless(&self, fails: &AtomicBool) -> Result<&MemoryStore, Fault> {
        match fails.load(Ordering::SeqCst) {
            true => Err(Fault::new("No space left on device (/var/lib/antiphon)")),
            false => Ok(&self.inner),
        }
    }

    pub(crate) fn fail(&self, writes: bool, reads: bool) {
        self.writes_fail.store(writes, Ordering::SeqCst);
        self.reads_fail.store(reads, Ordering::SeqCst);
    }
}

#[async_trait]
impl People for Brittle {
    async fn put_person(&self, person: &Person) -> Result<(), Fault> {
        self.write()?.put_person(person).await
    }
    async fn add_person(&self, person: &Person) -> Result<bool, Fault> {
        self.write()?.add_person(person).await
    }
    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault> {
        let found = self.read()?.person(id).await?;
        Ok(found.filter(|_| !self.too_early.swap(false, Ordering::SeqCst)))
    }
    async fn people(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<Person>, Fault> {
        self.read()?.people(after, limit).await
    }
    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault> {
        self.write()?.put_plan(plan).await
    }
    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault> {
        self.read()?.plan(name).await
    }
    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault> {
        self.read()?.messages_sent(person, month).await
    }
}

#[async_trait]
impl Keys for Brittle {
    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault> {
        self.write()?.put_key(key).await
    }
    async fn key(&self, hash: &SecretHash) -> Result<Option<ApiKey>, Fault> {
        if self.keys_wait.load(Ordering::SeqCst) {
            let _passed = self.gate.read().await;
        }
        self.read()?.key(hash).await
    }
    async fn key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Fault> {
        self.read()?.key_by_id(id).await
    }
    async fn keys(&self, after: Option<&KeyId>, limit: u32) -> Result<Vec<ApiKey>, Fault> {
        self.read()?.keys(after, limit).await
    }
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, Fault> {
        self.write()?.revoke_key(id, at).await
    }
}

#[async_trait]
impl Logins for Brittle {
    async fn put_password(&self, person: &PersonId, phc: &str) -> Result<(), Fault> {
        self.write()?.put_password(person, phc).await
    }
    async fn password(&self, person: &PersonId) -> Result<Option<String>, Fault> {
        self.read()?.password(person).await
    }
    async fn link_wallet(&self, address: &str, person: &PersonId) -> Result<(), Fault> {
        self.write()?.link_wallet(address, person).await
    }
    async fn person_by_wallet(&self, address: &str) -> Result<Option<PersonId>, Fault> {
        self.read()?.person_by_wallet(address).await
    }
    async fn wallets_of(&self, person: &PersonId) -> Result<Vec<String>, Fault> {
        self.read()?.wallets_of(person).await
    }
    async fn put_nonce(&self, nonce: &SecretHash, expires: Timestamp) -> Result<(), Fault> {
        self.write()?.put_nonce(nonce, expires).await
    }
    async fn take_nonce(&self, nonce: &SecretHash, now: Timestamp) -> Result<bool, Fault> {
        self.write()?.take_nonce(nonce, now).await
    }
    async fn put_session(&self, session: &Session) -> Result<(), Fault> {
        self.write()?.put_session(session).await
    }
    async fn session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        self.read()?.session(hash).await
    }
    async fn session_by_refresh(&self, refresh: &SecretHash) -> Result<Option<Session>, Fault> {
        self.read()?.session_by_refresh(refresh).await
    }
    async fn rotate_session(
        &self,
        refresh: &SecretHash,
        next: &Session,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        self.write()?.rotate_session(refresh, next, now).await
    }
    async fn end_session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        self.write()?.end_session(hash).await
    }
}

#[async_trait]
impl Revocations for Brittle {
    async fn revoke(&self, revocation: &Revocation) -> Result<u64, Fault> {
        self.write()?.revoke(revocation).await
    }
    async fn revocations(&self, after: u64, limit: u32) -> Result<Vec<(u64, Revocation)>, Fault> {
        self.read()?.revocations(after, limit).await
    }
    async fn is_revoked(
        &self,
        proof: &Proof,
        principal: &Principal,
        issued_at: Timestamp,
    ) -> Result<bool, Fault> {
        self.read()?.is_revoked(proof, principal, issued_at).await
    }
}

#[async_trait]
impl Requests for Brittle {
    async fn begin(&self, key: &RequestKey, fingerprint: &[u8; 32], now: Timestamp) -> Result<Begun, Fault> {
        // Like a database, which notes what it was told whether or not anybody waits for it to say so.
        let begun = self.write()?.begin(key, fingerprint, now).await;
        self.bell.notify_one();
        let _passed = self.gate.read().await;
        begun
    }
    async fn finish(&self, key: &RequestKey, answer: &str) -> Result<(), Fault> {
        self.write()?.finish(key, answer).await
    }
    async fn abandon(&self, key: &RequestKey) -> Result<(), Fault> {
        self.write()?.abandon(key).await
    }
}

#[async_trait]
impl Upkeep for Brittle {
    async fn forget(&self, now: Timestamp) -> Result<u64, Fault> {
        self.write()?.forget(now).await
    }
}

#[async_trait]
impl Agents for Brittle {
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault> {
        self.write()?.put_agent(agent).await
    }
    async fn agent(&self, id: &AgentId) -> Result<Option<Agent>, Fault> {
        self.read()?.agent(id).await
    }
    async fn agents_of(&self, owner: &PersonId) -> Result<Vec<Agent>, Fault> {
        self.read()?.agents_of(owner).await
    }
    async fn personas(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Agent>, Fault> {
        self.read()?.personas(after, limit).await
    }
    async fn change_agent(&self, id: &AgentId, change: &AgentChange) -> Result<Option<Agent>, Fault> {
        self.write()?.change_agent(id, change).await
    }
    async fn delete_agent(&self, id: &AgentId) -> Result<bool, Fault> {
        self.write()?.delete_agent(id).await
    }
    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault> {
        self.read()?.relation(agent, person).await
    }
}

#[async_trait]
impl Profiles for Brittle {
    async fn put_profile(&self, person: &PersonId, profile: &Profile) -> Result<(), Fault> {
        self.write()?.put_profile(person, profile).await
    }
    async fn profile(&self, person: &PersonId) -> Result<Profile, Fault> {
        self.read()?.profile(person).await
    }
}

#[async_trait]
impl Bonds for Brittle {
    async fn put_bond(&self, bond: &Bond) -> Result<bool, Fault> {
        self.write()?.put_bond(bond).await
    }
    async fn bond(&self, person: &PersonId, agent: &AgentId) -> Result<Option<Bond>, Fault> {
        self.read()?.bond(person, agent).await
    }
    async fn bonds_of(&self, person: &PersonId) -> Result<Vec<Bonded>, Fault> {
        self.read()?.bonds_of(person).await
    }
    async fn active_bonds(
        &self,
        since: Timestamp,
        after: Option<(PersonId, AgentId)>,
        limit: u32,
    ) -> Result<Vec<Bonded>, Fault> {
        self.read()?.active_bonds(since, after, limit).await
    }
}

#[async_trait]
impl Tasks for Brittle {
    async fn put_task(&self, task: &Task, committed: TaskCommitted) -> Result<Task, Fault> {
        self.write()?.put_task(task, committed).await
    }
    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        self.read()?.task(id).await
    }
    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>, Fault> {
        self.read()?.tasks(filter, limit).await
    }
    async fn step_task(
        &self,
        id: TaskId,
        step: &Step,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Task>, Fault> {
        self.write()?.step_task(id, step, at, committed).await
    }
    async fn claim_task(
        &self,
        agent: &AgentId,
        needs: Option<&[String]>,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Option<Task>>, Fault> {
        self.write()?.claim_task(agent, needs, at, committed).await
    }
}

#[async_trait]
impl Workers for Brittle {
    async fn enlist(&self, agent: &AgentId, duties: &Duties) -> Result<Option<Worker>, Fault> {
        self.write()?.enlist(agent, duties).await
    }
    async fn worker(&self, agent: &AgentId) -> Result<Option<Worker>, Fault> {
        self.read()?.worker(agent).await
    }
    async fn workers(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Worker>, Fault> {
        self.read()?.workers(after, limit).await
    }
    async fn move_worker(
        &self,
        agent: &AgentId,
        sign: &Sign,
        at: Timestamp,
        committed: WorkerCommitted,
    ) -> Result<Stepped<Moved>, Fault> {
        self.write()?.move_worker(agent, sign, at, committed).await
    }
    async fn return_tasks(&self, committed: ReturnCommitted) -> Result<Vec<Task>, Fault> {
        self.write()?.return_tasks(committed).await
    }
}

#[async_trait]
impl Conversations for Brittle {
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault> {
        self.bell.notify_one();
        let _passed = self.gate.read().await;
        self.write()?.append(message, committed).await
    }
    async fn history(
        &self,
        conversation: ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, Fault> {
        self.read()?.history(conversation, after, limit).await
    }
    async fn recent(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, Fault> {
        let _passed = self.past.read().await;
        self.read()?.recent(conversation, limit).await
    }
    async fn latest(&self, after: Option<ConversationId>, limit: u32) -> Result<Vec<Message>, Fault> {
        self.read()?.latest(after, limit).await
    }
    async fn count(&self, conversation: ConversationId) -> Result<u64, Fault> {
        self.read()?.count(conversation).await
    }
    async fn said_by(&self, person: &PersonId) -> Result<u64, Fault> {
        self.read()?.said_by(person).await
    }
}

#[async_trait]
impl Jobs for Brittle {
    async fn claim_job(&self, job: &NewJob, claimant: &Claimant) -> Result<Claimed, Fault> {
        self.write()?.claim_job(job, claimant).await
    }
    async fn settle_job(&self, id: u64, holder: &str, ending: &Ending, at: Timestamp) -> Result<bool, Fault> {
        self.write()?.settle_job(id, holder, ending, at).await
    }
    async fn jobs(
        &self,
        person: Option<&PersonId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Job>, Fault> {
        self.read()?.jobs(person, before, limit).await
    }
}

#[async_trait]
impl Wallets for Brittle {
    async fn book(&self, entry: NewEntry, booked: OnBooked) -> Result<Booked, Fault> {
        self.write()?.book(entry, booked).await
    }
    async fn refund(
        &self,
        message: MessageId,
        at: Timestamp,
        booked: OnBooked,
    ) -> Result<Option<Entry>, Fault> {
        self.write()?.refund(message, at, booked).await
    }
    async fn open_charges(&self, limit: u32) -> Result<Vec<MessageId>, Fault> {
        self.read()?.open_charges(limit).await
    }
    async fn tell(&self, person: &PersonId, told: OnTold) -> Result<Balance, Fault> {
        self.write()?.tell(person, told).await
    }
    async fn balance(&self, person: &PersonId) -> Result<Balance, Fault> {
        self.read()?.balance(person).await
    }
    async fn ledger(&self, person: &PersonId, after: u64, limit: u32) -> Result<Vec<Entry>, Fault> {
        self.read()?.ledger(person, after, limit).await
    }
    async fn spent(&self, person: &PersonId) -> Result<u64, Fault> {
        self.read()?.spent(person).await
    }
    async fn active_days(&self, person: &PersonId, first: Timestamp, days: u32) -> Result<u32, Fault> {
        self.read()?.active_days(person, first, days).await
    }
}

async fn brittle_server() -> (Server, Arc<Brittle>) {
    brittle_server_with(|_| ()).await
}

pub(crate) async fn brittle_server_with(change: impl FnOnce(&mut Config)) -> (Server, Arc<Brittle>) {
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let mut config = config();
    change(&mut config);
    (Server::start(config, extras).await, store)
}

const HELLO: &str = r#"{"agentId":"luna","message":"Hello!"}"#;

#[tokio::test]
async fn a_message_that_cannot_be_stored_is_an_error_for_its_sender_and_the_next_one_works() {
    let (server, store) = brittle_server().await;
    for transport in BOTH {
        let mut tab = ada(&server, transport).await;
        let joined = tab.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        tab.ack(joined).await;
        let mut client = ada(&server, transport).await;

        store.fail(true, false);
        let id = client.ask("chat:message", HELLO).await;
        let error = json!({"code": "MESSAGE_ERROR", "message": "Failed to process message"});
        assert_eq!(client.ack(id).await, json!({"ok": false, "error": error}));
        let (name, mut heard) = client.event().await;
        assert!(heard["timestamp"].is_i64(), "{heard}");
        heard.as_object_mut().expect("an object").remove("timestamp");
        assert_eq!((name.as_str(), heard), ("chat:error", error));

        store.fail(false, false);
        let id = client.ask("chat:message", HELLO).await;
        assert_eq!(client.ack(id).await["ok"], json!(true));
        // The first thing that the others hear is the message that was stored.
        let (name, heard) = tab.event().await;
        assert_eq!((name.as_str(), &heard["content"]), ("chat:message", &json!("Hello!")));
        client.event_named("chat:message:complete").await;
        tab.engine.close().await;
        client.engine.close().await;
        server.until("both to be gone", |server| server.open_connections() == 0).await;
    }
    server.stop().await;
}

#[tokio::test]
async fn what_an_agent_could_not_say_by_itself_is_said_when_the_store_works_again() {
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let bond = Bond { agent: agent("luna"), person: person("ada"), since: Timestamp(0) };
    store.put_bond(&bond).await.expect("the disk is there");
    // Three and seven in the morning in Jakarta.
    let (night, seven) = (Timestamp(1_772_308_800_000), Timestamp(1_772_323_200_000));
    let clock = Arc::new(ManualClock::at(night));
    let mut config = config();
    config.proactive.enabled = true;
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    extras.clock = Some(clock.clone());
    let server = Server::start(config, extras).await;
    let mut client = ada(&server, Transport::Websocket).await;
    client.emit("chat:message", HELLO).await;
    client.event_named("chat:message:complete").await;
    clock.set(seven);
    let look = async || server.proactive().look(&Order::default()).await;

    store.fail(true, true);
    assert!(look().await.is_err(), "nobody could be looked at");
    store.fail(true, false);
    let report = look().await.expect("everybody could be looked at");
    let again = Timestamp(seven.0 + 60_000);
    assert_eq!((report.people, report.said, report.again), (1, 0, Some(again)));
    store.fail(false, false);
    clock.set(again);
    assert_eq!(look().await.expect("it works").said, 1);
    assert_eq!(client.event_named("chat:message").await["agentId"], json!("luna"));
    server.stop().await;
}

#[tokio::test]
async fn what_needs_no_disk_goes_on_without_one() {
    let (server, store) = brittle_server().await;
    let mut client = ada(&server, Transport::Websocket).await;
    let joined = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    client.ack(joined).await;
    store.fail(true, true);
    client.emit("chat:typing", r#"{"agentId":"luna","isTyping":false}"#).await;
    assert_eq!(client.event_named("chat:typing").await["userId"], json!("ada"));
    server.stop().await;
}

#[tokio::test]
async fn a_room_that_cannot_be_looked_up_is_an_error_of_joining() {
    let (server, store) = brittle_server().await;
    let mut client = ada(&server, Transport::Websocket).await;
    store.fail(false, true);
    client.emit("chat:join", r#"{"agentId":"luna"}"#).await;
    let error = client.event_named("chat:error").await;
    assert_eq!((&error["code"], &error["message"]), (&json!("JOIN_ERROR"), &json!("Failed to join chat")));
    store.fail(false, false);
    let joined = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    assert_eq!(client.ack(joined).await["ok"], json!(true));
    server.stop().await;
}

#[tokio::test]
async fn a_past_that_cannot_be_read_to_its_end_is_refused_and_the_room_is_left() {
    const MESSAGES: u64 = 12_000;
    let (server, store) = brittle_server().await;
    let conversation = ConversationId::direct(&agent("luna"), &person("ada"));
    for _ in 0..MESSAGES {
        let message = NewMessage {
            id: MessageId::random(),
            conversation,
            agent: agent("luna"),
            person: person("ada"),
            author: Party::Person,
            text: "x".repeat(1_000),
            at: Timestamp(1),
            quota: None,
            moves: None,
            once: None,
            charge: None,
        };
        store.inner.append(message, Box::new(|_, _, _| {})).await.expect("a message is stored");
    }
    let mut client =
        Client::connect(&server.door().narrow(), Transport::Websocket, r#"{"token":"ada-key"}"#).await;
    let join = client.ask("chat:join", r#"{"agentId":"luna","after":0}"#).await;
    client.event_named("chat:message").await;
    // Most of it is still to be read: no connection holds that much.
    store.fail(false, true);
    let refused = client.ack(join).await;
    assert_eq!((&refused["ok"], &refused["error"]["code"]), (&json!(false), &json!("JOIN_ERROR")));
    assert_eq!(server.listeners(&Topic::Conversation(conversation)).await, 0);
    let told = client.events().iter().filter_map(|(_, payload)| payload["seq"].as_u64()).collect::<Vec<_>>();
    let last = told.last().copied().expect("some of it was told");
    assert!(told.into_iter().eq(2..=last) && last < MESSAGES, "{last}");

    store.fail(false, false);
    let rest = json!({"agentId": "luna", "after": last}).to_string();
    let join = client.ask("chat:join", &rest).await;
    assert_eq!(client.ack(join).await, json!({"ok": true, "seq": MESSAGES}));
    let told = client.events().iter().filter_map(|(_, payload)| payload["seq"].as_u64()).collect::<Vec<_>>();
    assert!(told.into_iter().eq(last + 1..=MESSAGES));
    server.stop().await;
}

#[tokio::test]
async fn whoever_cannot_be_looked_up_is_not_let_in_and_told_no_more_than_that() {
    let (server, store) = brittle_server().await;
    store.fail(false, true);
    for transport in BOTH {
        let refused = Client::try_connect(&server.door(), transport, r#"{"token":"ada-key"}"#).await.err();
        assert_eq!(refused, Some(json!({"message": "Authentication failed"})));
    }
    store.fail(false, false);
    ada(&server, Transport::Websocket).await;
    server.stop().await;
}

#[tokio::test]
async fn a_first_login_leaves_a_person_as_they_are_who_is_added_at_the_same_instant() {
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let secret = "a secret that is as long as HS256 wants it";
    let mut config = config();
    config.auth.issuers.push(Issuer {
        name: "app".into(),
        algorithms: vec![Algorithm::Hs256],
        secret: Some(Secret::new(secret)),
        ..Issuer::default()
    });
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let server = Server::start(config, extras).await;

    let zoe = Person {
        id: person("zoe"),
        plan: "unlimited".into(),
        roles: vec!["admin".into()],
        created_at: Timestamp(7),
    };
    store.put_person(&zoe).await.expect("a person is stored");
    store.too_early.store(true, Ordering::SeqCst);
    let claims = json!({"sub": "zoe", "exp": 32_503_680_000_u64});
    let key = EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).expect("a token");
    let auth = json!({"token": token}).to_string();
    Client::connect(&server.door(), Transport::Websocket, &auth).await;
    assert!(!store.too_early.load(Ordering::SeqCst), "she was looked for");
    assert_eq!(store.person(&zoe.id).await.expect("the store works"), Some(zoe));
    server.stop().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_stored_is_an_error_for_the_room_and_the_question_stays() {
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let mut config = config();
    config.model.chunk_words = 1;
    config.model.chunk_delay = std::time::Duration::from_millis(100);
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let server = Server::start(config, extras).await;
    let mut client = ada(&server, Transport::Websocket).await;
    client.emit("chat:message", HELLO).await;
    client.event_named("chat:message:stream").await;
    store.fail(true, false);
    let error = client.event_named("chat:error").await;
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("GENERATION_ERROR"), &json!("Failed to generate response"))
    );
    assert_eq!(client.event_named("chat:typing").await["isTyping"], json!(false));
    server.stop().await;
}

#[tokio::test]
async fn many_who_come_with_one_credential_at_once_cost_one_look_at_the_store() {
    let (server, store) = brittle_server().await;
    store.keys_wait.store(true, Ordering::SeqCst);
    let shut = store.gate.write().await;
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut engine = Engine::open(&server.door(), Transport::Websocket).await;
        engine.send(r#"40{"token":"ada-key"}"#).await;
        crowd.push(engine);
    }
    let mut late = Engine::open(&server.door(), Transport::Websocket).await;
    late.send("40").await;
    // Whoever brings nothing is answered at once, after those who were there before.
    assert!(late.next_text().await.starts_with("44"));
    drop(shut);
    for engine in &mut crowd {
        assert!(engine.next_text().await.starts_with("40"));
    }
    let metrics = ask(&server.admin(), &Request::get("/metrics")).await;
    assert!(metrics.text().contains("\nantiphon_credentials_looked_up_total 1\n"), "{}", metrics.text());
    server.stop().await;
}

#[tokio::test]
async fn what_is_under_way_when_the_server_stops_is_still_acknowledged() {
    for transport in [Transport::Websocket, Transport::Upgraded, Transport::Polling] {
        let (mut server, store) = brittle_server().await;
        let mut client = ada(&server, transport).await;
        let shut = store.gate.write().await;
        let id = client.ask("chat:message", HELLO).await;
        soon("the message to be at the gate", store.bell.notified()).await;
        let mut stopping = Box::pin(server.stopping(std::future::pending()));
        assert!(!goes_on(stopping.as_mut()).await);
        drop(shut);
        let (answer, ()) = tokio::join!(client.ack(id), soon("the server to stop", stopping));
        assert_eq!(answer["ok"], json!(true));
        if transport != Transport::Polling {
            assert_eq!(client.over().await, "1001 server stops: reconnect");
        }
    }
}

#[tokio::test]
async fn t12_what_waits_behind_a_slow_store_is_limited_and_one_packet_more_ends_the_connection() {
    const MOST: usize = 4_096;
    let (server, store) = brittle_server().await;
    for is_over in [false, true] {
        let mut client = ada(&server, Transport::Polling).await;
        let shut = store.gate.write().await;
        client.emit("chat:message", HELLO).await;
        soon("the message to be at the gate", store.bell.notified()).await;
        // Acknowledgements of nothing: they wait like everything else, and cost nobody an allowance.
        let quarter = vec!["430[]"; MOST / 4].join("\x1e");
        for _ in 0..4 {
            client.engine.send(&quarter).await;
        }
        if is_over {
            client.engine.send("430[]").await;
            assert!(matches!(client.engine.next().await, Packet::Over(_)));
            assert_eq!(server.counters().malformed, 1);
        }
        drop(shut);
        if !is_over {
            let joined = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
            assert_eq!(client.ack(joined).await["ok"], json!(true));
            assert_eq!(server.counters().malformed, 0);
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn p10_a_post_waits_for_its_answer_while_as_much_as_one_message_may_have_waits_already() {
    const PAYLOAD: usize = 100_000;
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let mut config = config();
    config.listeners[0].mounts[0].max_payload = PAYLOAD;
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let server = Server::start(config, extras).await;
    let door = server.door();
    let mut client = ada(&server, Transport::Polling).await;
    let shut = store.gate.write().await;
    client.emit("chat:message", HELLO).await;
    soon("the message to be at the gate", store.bell.notified()).await;
    let asked = |number: u32, length: usize| {
        let padding = "x".repeat(length);
        client
            .engine
            .post(format!("42{number}[\"chat:join\",{{\"agentId\":\"luna\",\"padding\":\"{padding}\"}}]"))
    };
    assert_eq!(ask(&door, &asked(11, PAYLOAD - 1_000)).await.seen(), (200, "ok"));
    let mut waiting = Http::open(&door).await;
    waiting.send(&asked(12, PAYLOAD - 1_000)).await;
    let mut answer = std::pin::pin!(waiting.response());
    for _ in 0..10 {
        assert_eq!(ask(&door, &Request::get("/healthz")).await.status, 200);
        assert!(!goes_on(answer.as_mut()).await, "there is no room");
    }
    drop(shut);
    assert_eq!(answer.await.seen(), (200, "ok"));
    for id in [11, 12] {
        assert_eq!(client.ack(id).await["ok"], json!(true));
    }
    assert_eq!(server.counters().malformed, 0);
    server.stop().await;
}

#[tokio::test]
async fn a_post_that_waits_is_still_processed_when_whoever_sent_it_goes() {
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let mut config = config();
    config.listeners[0].mounts[0].max_payload = 1_000;
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let server = Server::start(config, extras).await;
    let mut client = ada(&server, Transport::Polling).await;
    let shut = store.gate.write().await;
    client.emit("chat:message", HELLO).await;
    soon("the message to be at the gate", store.bell.notified()).await;
    let asked = |number: u32| {
        let padding = "x".repeat(900);
        client
            .engine
            .post(format!("42{number}[\"chat:join\",{{\"agentId\":\"luna\",\"padding\":\"{padding}\"}}]"))
    };
    assert_eq!(ask(&server.door(), &asked(11)).await.status, 200);
    let mut gone = Http::open(&server.door()).await;
    gone.send(&asked(12)).await;
    let mut other = Http::open(&server.door()).await;
    for _ in 0..3 {
        assert_eq!(other.ask(&Request::get("/healthz")).await.status, 200);
    }
    drop(gone);
    for _ in 0..3 {
        assert_eq!(other.ask(&Request::get("/healthz")).await.status, 200);
    }
    drop(shut);
    for id in [11, 12] {
        assert_eq!(client.ack(id).await["ok"], json!(true));
    }
    server.stop().await;
}

#[tokio::test]
async fn t11_a_request_whose_sender_goes_while_it_is_noted_is_carried_out_once() {
    let store = Arc::new(Brittle::default());
    settle(&*store).await;
    let key = ApiKey {
        id: KeyId::parse("svc_shop").expect("a plain id"),
        hash: SecretHash(Sha256::digest(b"the-shop's-key").into()),
        holder: Holder::Service("shop".into()),
        dialects: None,
        plan: None,
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    };
    store.put_key(&key).await.expect("a key is stored");
    let mut config = config();
    config.listeners[0].api = true;
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let server = Server::start(config, extras).await;
    let mut ada = ada(&server, Transport::Websocket).await;

    // Nobody can tell whether a notice was heard, so it is never told a second time.
    let notice = Request::new("POST", "/v1/people/ada/notices")
        .bearer("the-shop's-key")
        .header("Content-Type", "application/json")
        .header("Idempotency-Key", "once")
        .body(json!({"kind": "info", "title": "Shop", "message": "It is shipped."}).to_string());
    let shut = store.gate.write().await;
    let mut gone = Http::open(&server.door()).await;
    gone.send(&notice).await;
    soon("the request to be noted", store.bell.notified()).await;
    let mut other = Http::open(&server.door()).await;
    drop(gone);
    for _ in 0..3 {
        assert_eq!(other.ask(&Request::get("/healthz")).await.status, 200);
    }
    drop(shut);
    assert_eq!(ada.event_named("system:notification").await["title"], json!("Shop"));
    let again = loop {
        let again = other.ask(&notice).await;
        // It may not be finished yet.
        if again.status != 409 || again.text().contains("\"conflict\"") {
            break again;
        }
    };
    assert_eq!((again.status, again.header("Idempotent-Replay")), (200, Some("true")), "{}", again.text());
    server.stop().await;
}

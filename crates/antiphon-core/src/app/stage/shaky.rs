//! What happens when a port is in trouble: the memory ports, with a hand on them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::actor::{ApiKey, Person, Plan, Principal, Proof, SecretHash, Session};
use crate::agents::{Agent, AgentChange, Relation};
use crate::app::lock;
use crate::conversation::Message;
use crate::ids::{AgentId, ConversationId, KeyId, MessageId, PersonId, TaskId, Timestamp};
use crate::memory::{MemoryLeases, MemoryStore};
use crate::people::{Bond, Bonded, Profile};
use crate::ports::{
    Agents, Appended, Begun, Bonds, Booked, Committed, Conversations, Keys, Leases, Logins, NewMessage,
    OnBooked, OnTold, People, Profiles, RequestKey, Requests, ReturnCommitted, Revocation, Revocations,
    Stepped, TaskCommitted, TaskFilter, Tasks, Upkeep, Wallets, WorkerCommitted, Workers,
};
use crate::refusal::Fault;
use crate::tasks::{Step, Task};
use crate::wallet::{Balance, Entry, NewEntry};
use crate::workers::{Duties, Moved, Sign, Worker};

/// A port that counts its calls, and fails or dawdles when told to.
pub(crate) struct Shaky<T> {
    pub(crate) inner: T,
    calls: AtomicUsize,
    failing: AtomicBool,
    /// Appends that go well before they fail.
    appends: AtomicUsize,
    /// Whether an append never returns, although what it did is durable.
    silent: AtomicBool,
    delay: Mutex<Duration>,
}

impl<T> Shaky<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            calls: AtomicUsize::new(0),
            failing: AtomicBool::new(false),
            appends: AtomicUsize::new(usize::MAX),
            silent: AtomicBool::new(false),
            delay: Mutex::default(),
        }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.failing.store(failing, Ordering::SeqCst);
    }

    pub(crate) fn fail_after_appends(&self, appends: usize) {
        self.appends.store(appends, Ordering::SeqCst);
    }

    pub(crate) fn never_return_from_append(&self) {
        self.silent.store(true, Ordering::SeqCst);
    }

    /// From now on a claim takes this long before it has its effect, and other slow calls after they had theirs.
    pub(crate) fn dawdle(&self, delay: Duration) {
        *lock(&self.delay) = delay;
    }

    fn called(&self) -> Result<(), Fault> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.failing.load(Ordering::SeqCst) {
            true => Err(Fault::because("asking a port", "as the test says")),
            false => Ok(()),
        }
    }

    async fn dawdled<R>(&self, result: R) -> R {
        let delay = *lock(&self.delay);
        if !delay.is_zero() {
            sleep(delay).await;
        }
        result
    }
}

#[async_trait]
impl People for Shaky<MemoryStore> {
    async fn put_person(&self, person: &Person) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_person(person).await
    }
    async fn add_person(&self, person: &Person) -> Result<bool, Fault> {
        self.called()?;
        self.inner.add_person(person).await
    }
    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault> {
        self.called()?;
        self.inner.person(id).await
    }
    async fn people(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<Person>, Fault> {
        self.called()?;
        self.inner.people(after, limit).await
    }
    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_plan(plan).await
    }
    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault> {
        self.called()?;
        self.inner.plan(name).await
    }
    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault> {
        self.called()?;
        self.inner.messages_sent(person, month).await
    }
}

#[async_trait]
impl Profiles for Shaky<MemoryStore> {
    async fn put_profile(&self, person: &PersonId, profile: &Profile) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_profile(person, profile).await
    }
    async fn profile(&self, person: &PersonId) -> Result<Profile, Fault> {
        self.called()?;
        self.inner.profile(person).await
    }
}

#[async_trait]
impl Bonds for Shaky<MemoryStore> {
    async fn put_bond(&self, bond: &Bond) -> Result<bool, Fault> {
        self.called()?;
        self.inner.put_bond(bond).await
    }
    async fn bond(&self, person: &PersonId, agent: &AgentId) -> Result<Option<Bond>, Fault> {
        self.called()?;
        self.inner.bond(person, agent).await
    }
    async fn bonds_of(&self, person: &PersonId) -> Result<Vec<Bonded>, Fault> {
        self.called()?;
        self.inner.bonds_of(person).await
    }
    async fn active_bonds(
        &self,
        since: Timestamp,
        after: Option<(PersonId, AgentId)>,
        limit: u32,
    ) -> Result<Vec<Bonded>, Fault> {
        self.called()?;
        self.inner.active_bonds(since, after, limit).await
    }
}

#[async_trait]
impl Keys for Shaky<MemoryStore> {
    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_key(key).await
    }
    async fn key(&self, hash: &SecretHash) -> Result<Option<ApiKey>, Fault> {
        self.called()?;
        self.inner.key(hash).await
    }
    async fn key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Fault> {
        self.called()?;
        self.inner.key_by_id(id).await
    }
    async fn keys(&self, after: Option<&KeyId>, limit: u32) -> Result<Vec<ApiKey>, Fault> {
        self.called()?;
        self.inner.keys(after, limit).await
    }
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, Fault> {
        self.called()?;
        self.inner.revoke_key(id, at).await
    }
}

#[async_trait]
impl Logins for Shaky<MemoryStore> {
    async fn put_password(&self, person: &PersonId, phc: &str) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_password(person, phc).await
    }
    async fn password(&self, person: &PersonId) -> Result<Option<String>, Fault> {
        self.called()?;
        self.inner.password(person).await
    }
    async fn link_wallet(&self, address: &str, person: &PersonId) -> Result<(), Fault> {
        self.called()?;
        self.inner.link_wallet(address, person).await
    }
    async fn person_by_wallet(&self, address: &str) -> Result<Option<PersonId>, Fault> {
        self.called()?;
        self.inner.person_by_wallet(address).await
    }
    async fn wallets_of(&self, person: &PersonId) -> Result<Vec<String>, Fault> {
        self.called()?;
        self.inner.wallets_of(person).await
    }
    async fn put_nonce(&self, nonce: &SecretHash, expires: Timestamp) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_nonce(nonce, expires).await
    }
    async fn take_nonce(&self, nonce: &SecretHash, now: Timestamp) -> Result<bool, Fault> {
        self.called()?;
        self.inner.take_nonce(nonce, now).await
    }
    async fn put_session(&self, session: &Session) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_session(session).await
    }
    async fn session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        self.called()?;
        self.inner.session(hash).await
    }
    async fn session_by_refresh(&self, refresh: &SecretHash) -> Result<Option<Session>, Fault> {
        self.called()?;
        self.inner.session_by_refresh(refresh).await
    }
    async fn rotate_session(
        &self,
        refresh: &SecretHash,
        next: &Session,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        self.called()?;
        self.inner.rotate_session(refresh, next, now).await
    }
    async fn end_session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        self.called()?;
        self.inner.end_session(hash).await
    }
}

#[async_trait]
impl Revocations for Shaky<MemoryStore> {
    async fn revoke(&self, revocation: &Revocation) -> Result<u64, Fault> {
        self.called()?;
        self.inner.revoke(revocation).await
    }
    async fn revocations(&self, after: u64, limit: u32) -> Result<Vec<(u64, Revocation)>, Fault> {
        self.called()?;
        self.inner.revocations(after, limit).await
    }
    async fn is_revoked(
        &self,
        proof: &Proof,
        principal: &Principal,
        issued_at: Timestamp,
    ) -> Result<bool, Fault> {
        self.called()?;
        self.inner.is_revoked(proof, principal, issued_at).await
    }
}

#[async_trait]
impl Requests for Shaky<MemoryStore> {
    async fn begin(&self, key: &RequestKey, fingerprint: &[u8; 32], now: Timestamp) -> Result<Begun, Fault> {
        self.called()?;
        self.inner.begin(key, fingerprint, now).await
    }
    async fn finish(&self, key: &RequestKey, answer: &str) -> Result<(), Fault> {
        self.called()?;
        self.inner.finish(key, answer).await
    }
    async fn abandon(&self, key: &RequestKey) -> Result<(), Fault> {
        self.called()?;
        self.inner.abandon(key).await
    }
}

#[async_trait]
impl Upkeep for Shaky<MemoryStore> {
    async fn forget(&self, now: Timestamp) -> Result<u64, Fault> {
        self.called()?;
        self.inner.forget(now).await
    }
}

#[async_trait]
impl Agents for Shaky<MemoryStore> {
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault> {
        self.called()?;
        self.inner.put_agent(agent).await
    }
    async fn agent(&self, id: &AgentId) -> Result<Option<Agent>, Fault> {
        self.called()?;
        self.inner.agent(id).await
    }
    async fn agents_of(&self, owner: &PersonId) -> Result<Vec<Agent>, Fault> {
        self.called()?;
        self.dawdled(self.inner.agents_of(owner).await).await
    }
    async fn personas(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Agent>, Fault> {
        self.called()?;
        self.inner.personas(after, limit).await
    }
    async fn change_agent(&self, id: &AgentId, change: &AgentChange) -> Result<Option<Agent>, Fault> {
        self.called()?;
        self.inner.change_agent(id, change).await
    }
    async fn delete_agent(&self, id: &AgentId) -> Result<bool, Fault> {
        self.called()?;
        self.inner.delete_agent(id).await
    }
    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault> {
        self.called()?;
        self.inner.relation(agent, person).await
    }
}

#[async_trait]
impl Tasks for Shaky<MemoryStore> {
    async fn put_task(&self, task: &Task, committed: TaskCommitted) -> Result<Task, Fault> {
        self.called()?;
        self.inner.put_task(task, committed).await
    }
    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        self.called()?;
        self.inner.task(id).await
    }
    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>, Fault> {
        self.called()?;
        self.inner.tasks(filter, limit).await
    }
    async fn step_task(
        &self,
        id: TaskId,
        step: &Step,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Task>, Fault> {
        self.called()?;
        self.inner.step_task(id, step, at, committed).await
    }
    async fn claim_task(
        &self,
        agent: &AgentId,
        needs: Option<&[String]>,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Option<Task>>, Fault> {
        self.called()?;
        self.inner.claim_task(agent, needs, at, committed).await
    }
}

#[async_trait]
impl Workers for Shaky<MemoryStore> {
    async fn enlist(&self, agent: &AgentId, duties: &Duties) -> Result<Option<Worker>, Fault> {
        self.called()?;
        self.inner.enlist(agent, duties).await
    }
    async fn worker(&self, agent: &AgentId) -> Result<Option<Worker>, Fault> {
        self.called()?;
        self.inner.worker(agent).await
    }
    async fn workers(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Worker>, Fault> {
        self.called()?;
        self.inner.workers(after, limit).await
    }
    async fn move_worker(
        &self,
        agent: &AgentId,
        sign: &Sign,
        at: Timestamp,
        committed: WorkerCommitted,
    ) -> Result<Stepped<Moved>, Fault> {
        self.called()?;
        self.inner.move_worker(agent, sign, at, committed).await
    }
    async fn return_tasks(&self, committed: ReturnCommitted) -> Result<Vec<Task>, Fault> {
        self.called()?;
        self.inner.return_tasks(committed).await
    }
}

#[async_trait]
impl Conversations for Shaky<MemoryStore> {
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault> {
        self.called()?;
        if self.appends.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(Fault::new("the disk is full, as the test says"));
        }
        let appended = self.inner.append(message, committed).await;
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        appended
    }
    async fn history(&self, id: ConversationId, after: u64, limit: u32) -> Result<Vec<Message>, Fault> {
        self.called()?;
        self.inner.history(id, after, limit).await
    }
    async fn latest(&self, after: Option<ConversationId>, limit: u32) -> Result<Vec<Message>, Fault> {
        self.called()?;
        self.inner.latest(after, limit).await
    }
    async fn recent(&self, id: ConversationId, limit: u32) -> Result<Vec<Message>, Fault> {
        self.called()?;
        self.inner.recent(id, limit).await
    }
    async fn count(&self, id: ConversationId) -> Result<u64, Fault> {
        self.called()?;
        self.inner.count(id).await
    }
    async fn said_by(&self, person: &PersonId) -> Result<u64, Fault> {
        self.called()?;
        self.inner.said_by(person).await
    }
}

#[async_trait]
impl Wallets for Shaky<MemoryStore> {
    async fn book(&self, entry: NewEntry, booked: OnBooked) -> Result<Booked, Fault> {
        self.called()?;
        self.inner.book(entry, booked).await
    }
    async fn refund(
        &self,
        message: MessageId,
        at: Timestamp,
        booked: OnBooked,
    ) -> Result<Option<Entry>, Fault> {
        self.called()?;
        self.inner.refund(message, at, booked).await
    }
    async fn open_charges(&self, limit: u32) -> Result<Vec<MessageId>, Fault> {
        self.called()?;
        self.inner.open_charges(limit).await
    }
    async fn tell(&self, person: &PersonId, told: OnTold) -> Result<Balance, Fault> {
        self.called()?;
        self.inner.tell(person, told).await
    }
    async fn balance(&self, person: &PersonId) -> Result<Balance, Fault> {
        self.called()?;
        self.inner.balance(person).await
    }
    async fn ledger(&self, person: &PersonId, after: u64, limit: u32) -> Result<Vec<Entry>, Fault> {
        self.called()?;
        self.inner.ledger(person, after, limit).await
    }
    async fn spent(&self, person: &PersonId) -> Result<u64, Fault> {
        self.called()?;
        self.inner.spent(person).await
    }
    async fn active_days(&self, person: &PersonId, first: Timestamp, days: u32) -> Result<u32, Fault> {
        self.called()?;
        self.inner.active_days(person, first, days).await
    }
}

#[async_trait]
impl Leases for Shaky<MemoryLeases> {
    async fn claim(&self, key: &str, holder: &str, ttl: Duration) -> Result<bool, Fault> {
        self.called()?;
        self.dawdled(()).await;
        self.inner.claim(key, holder, ttl).await
    }
    async fn renew(&self, key: &str, holder: &str, ttl: Duration) -> Result<bool, Fault> {
        self.called()?;
        self.dawdled(self.inner.renew(key, holder, ttl).await).await
    }
    async fn release(&self, key: &str, holder: &str) -> Result<bool, Fault> {
        self.called()?;
        self.dawdled(self.inner.release(key, holder).await).await
    }
    async fn holders(&self, key: &str) -> Result<Vec<String>, Fault> {
        self.called()?;
        self.dawdled(self.inner.holders(key).await).await
    }
}

//! What must be remembered.
//!
//! One trait per noun; [`Store`] is all of them. Whatever a method has returned `Ok` for survives the death of the process.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::actor::{ApiKey, Person, Plan, Principal, Proof, SecretHash, Session};
use crate::agents::{Agent, AgentChange, Relation, RelationDelta};
use crate::conversation::{Message, Party};
use crate::ids::{AgentId, ConversationId, KeyId, MessageId, PersonId, Timestamp};
use crate::people::{Bond, Bonded, Profile};
use crate::ports::wallets::{Charge, Wallets};
use crate::ports::{Tasks, Workers};
use crate::refusal::Fault;
use crate::wallet::{Entry, Obstacle};

/// Remembers.
pub trait Store:
    People
    + Profiles
    + Keys
    + Logins
    + Revocations
    + Requests
    + Agents
    + Bonds
    + Conversations
    + Upkeep
    + Wallets
    + Tasks
    + Workers
{
}

impl<T> Store for T where
    T: People
        + Profiles
        + Keys
        + Logins
        + Revocations
        + Requests
        + Agents
        + Bonds
        + Conversations
        + Upkeep
        + Wallets
        + Tasks
        + Workers
{
}

/// How long the key of a request or of a message is remembered, in milliseconds: 24 hours.
pub const KEYS_KEPT: i64 = 24 * 60 * 60 * 1_000;

/// People, their plans, and what they have used.
#[async_trait]
pub trait People: Send + Sync {
    /// Adds or replaces a person.
    async fn put_person(&self, person: &Person) -> Result<(), Fault>;
    /// Adds a person unless there is one of this id, who then stays as they are. Returns whether it did; of several at once,
    /// one does.
    async fn add_person(&self, person: &Person) -> Result<bool, Fault>;
    /// The person, if there is one.
    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault>;
    /// People whose id comes after `after`, in the order of ids (by bytes), at most `limit`.
    async fn people(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<Person>, Fault>;
    /// Adds or replaces a plan.
    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault>;
    /// The plan of that name, if there is one.
    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault>;
    /// How many messages the person sent in `month` (see [`Timestamp::month`]).
    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault>;
}

/// What people say about themselves.
#[async_trait]
pub trait Profiles: Send + Sync {
    /// Replaces the person's profile. Fails if they do not exist.
    async fn put_profile(&self, person: &PersonId, profile: &Profile) -> Result<(), Fault>;
    /// The person's profile; the default one when none was put.
    async fn profile(&self, person: &PersonId) -> Result<Profile, Fault>;
}

/// API keys. Expired and revoked ones stay: whoever lets people in looks at the dates, and can say why.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Adds a key, or replaces the one with the same id. Fails if its person does not exist, and if a key of another id has
    /// the same hash.
    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault>;
    /// The key with this hash, by index.
    async fn key(&self, hash: &SecretHash) -> Result<Option<ApiKey>, Fault>;
    /// The key of that public name.
    async fn key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Fault>;
    /// Keys whose id comes after `after`, in the order of ids (by bytes), at most `limit`.
    async fn keys(&self, after: Option<&KeyId>, limit: u32) -> Result<Vec<ApiKey>, Fault>;
    /// Marks the key as revoked at `at`, unless it was before; returns it as it is now, or `None` if there is none.
    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, Fault>;
}

/// Passwords, wallets and sessions: how people say who they are without a key.
///
/// Secrets come as hashes, a password as a PHC string that an expensive function made.
#[async_trait]
pub trait Logins: Send + Sync {
    /// Gives the person a password, or another one. Fails if they do not exist.
    async fn put_password(&self, person: &PersonId, phc: &str) -> Result<(), Fault>;
    /// The person's password as it was put, if they have one.
    async fn password(&self, person: &PersonId) -> Result<Option<String>, Fault>;
    /// From now on the wallet of this address is the person's, whosever it was. Fails if they do not exist. An address means
    /// the same in upper and lower case.
    async fn link_wallet(&self, address: &str, person: &PersonId) -> Result<(), Fault>;
    /// Whose wallet it is.
    async fn person_by_wallet(&self, address: &str) -> Result<Option<PersonId>, Fault>;
    /// The addresses of the person's wallets, in lower case and in the order of bytes.
    async fn wallets_of(&self, person: &PersonId) -> Result<Vec<String>, Fault>;
    /// Remembers a nonce that was given out, until `expires`.
    async fn put_nonce(&self, nonce: &SecretHash, expires: Timestamp) -> Result<(), Fault>;
    /// Uses the nonce up: `true` exactly once for each that was put, and only before it expires.
    async fn take_nonce(&self, nonce: &SecretHash, now: Timestamp) -> Result<bool, Fault>;
    /// Adds a session. Fails if its person does not exist, and if one of its hashes is in use.
    async fn put_session(&self, session: &Session) -> Result<(), Fault>;
    /// The session with this token, expired or not.
    async fn session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault>;
    /// The session that this token renews, if it was not renewed or ended; its times are not looked at.
    async fn session_by_refresh(&self, refresh: &SecretHash) -> Result<Option<Session>, Fault>;
    /// Replaces the session that `refresh` renews by `next`, in one transaction: `true` exactly once, and only before its
    /// `refresh_until`. The old tokens are dead then. Fails if `next` belongs to somebody else.
    async fn rotate_session(
        &self,
        refresh: &SecretHash,
        next: &Session,
        now: Timestamp,
    ) -> Result<bool, Fault>;
    /// Ends the session with this token; returns it if there was one.
    async fn end_session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault>;
}

/// Which credentials are dead before their time.
#[async_trait]
pub trait Revocations: Send + Sync {
    /// Adds one; returns its position. Positions grow and are never used again, so that whoever has read up to one can ask
    /// for the rest.
    async fn revoke(&self, revocation: &Revocation) -> Result<u64, Fault>;
    /// Those with a greater position than `after`, in the order of positions, at most `limit`. Those that were forgotten are
    /// missing.
    async fn revocations(&self, after: u64, limit: u32) -> Result<Vec<(u64, Revocation)>, Fault>;
    /// Whether a credential that was issued at `issued_at` is dead, by its own name or by the name of its person. By index.
    async fn is_revoked(
        &self,
        proof: &Proof,
        principal: &Principal,
        issued_at: Timestamp,
    ) -> Result<bool, Fault>;
}

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Revoked {
    /// Everything that speaks for a person.
    Person(PersonId),
    /// An API key.
    Key(KeyId),
    /// A session.
    Session(SecretHash),
    /// A token that somebody else signed.
    Token {
        /// Who, as the configuration calls them.
        issuer: String,
        /// The token's own id (`jti`).
        id: String,
    },
}

/// Credentials that are dead from now on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revocation {
    /// Which.
    pub what: Revoked,
    /// Those that were issued before this moment.
    pub at: Timestamp,
    /// When the last of them has expired anyway, so that this may be forgotten.
    pub until: Timestamp,
}

impl Revocation {
    /// Whether it means a credential that was issued at `issued_at`.
    pub fn covers(&self, proof: &Proof, principal: &Principal, issued_at: Timestamp) -> bool {
        let named = match (&self.what, proof) {
            (Revoked::Person(id), _) => matches!(principal, Principal::Person(person) if person == id),
            (Revoked::Key(id), Proof::Key(key)) => id == key,
            (Revoked::Session(hash), Proof::Session(session)) => hash == session,
            (Revoked::Token { issuer, id }, Proof::Token { issuer: by, id: Some(token) }) => {
                **issuer == **by && **id == **token
            }
            _ => false,
        };
        named && issued_at < self.at
    }
}

/// What was asked before, and with what result: so that a request that is sent again has no second effect.
///
/// A key is remembered for [`KEYS_KEPT`] from when it was begun; after that it is as if it had never been used.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Begins the request, unless it was begun before. Of many that begin the same one at once, one is told
    /// [`Begun::New`].
    async fn begin(&self, key: &RequestKey, fingerprint: &[u8; 32], now: Timestamp) -> Result<Begun, Fault>;
    /// Remembers the answer. Fails if the request was not begun, or has been answered.
    async fn finish(&self, key: &RequestKey, answer: &str) -> Result<(), Fault>;
    /// Forgets that the request was begun, because it had no effect; an answered one stays. It may be begun again.
    async fn abandon(&self, key: &RequestKey) -> Result<(), Fault>;
}

/// What a request or a message is called, among those of one sender.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// Whose it is: a [`Principal`] in text.
    pub principal: String,
    /// What they call it.
    pub key: String,
}

/// What came of [`Requests::begin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Nobody has asked this before.
    New,
    /// An earlier try still runs, or its process died before it had an answer.
    Unfinished,
    /// This was the answer.
    Answered(String),
    /// The same key was used to ask something else.
    Different,
}

/// Agents and their relations to people.
#[async_trait]
pub trait Agents: Send + Sync {
    /// Adds or replaces an agent. Fails if its owner does not exist.
    async fn put_agent(&self, agent: &Agent) -> Result<(), Fault>;
    /// The agent, if there is one.
    async fn agent(&self, id: &AgentId) -> Result<Option<Agent>, Fault>;
    /// All agents of `owner`, oldest first, then by id.
    async fn agents_of(&self, owner: &PersonId) -> Result<Vec<Agent>, Fault>;
    /// Public agents whose id comes after `after`, in the order of ids (by bytes), at most `limit`.
    async fn personas(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Agent>, Fault>;
    /// Applies `change`; returns the agent as it is now, or `None` if there is none.
    async fn change_agent(&self, id: &AgentId, change: &AgentChange) -> Result<Option<Agent>, Fault>;
    /// Removes the agent with its bonds; returns whether there was one. What was said with it stays.
    async fn delete_agent(&self, id: &AgentId) -> Result<bool, Fault>;
    /// How `agent` feels about `person`; the default when they have never met.
    async fn relation(&self, agent: &AgentId, person: &PersonId) -> Result<Relation, Fault>;
}

/// Which people and agents belong together.
#[async_trait]
pub trait Bonds: Send + Sync {
    /// Adds the bond: `true` if it is new, of several at once for one of them. One that is there keeps its `since`. Fails if
    /// the person or the agent does not exist.
    async fn put_bond(&self, bond: &Bond) -> Result<bool, Fault>;
    /// Since when the two belong together, if they do.
    async fn bond(&self, person: &PersonId, agent: &AgentId) -> Result<Option<Bond>, Fault>;
    /// All bonds of the person, oldest first, then by the agent's id.
    async fn bonds_of(&self, person: &PersonId) -> Result<Vec<Bonded>, Fault>;
    /// Bonds whose person said something to the agent at `since` or later, in the order of person and agent (by bytes), after
    /// the pair `after`, at most `limit`.
    async fn active_bonds(
        &self,
        since: Timestamp,
        after: Option<(PersonId, AgentId)>,
        limit: u32,
    ) -> Result<Vec<Bonded>, Fault>;
}

/// What was said.
#[async_trait]
pub trait Conversations: Send + Sync {
    /// Appends a message to its conversation, in one transaction with everything that `message` brings along.
    ///
    /// Position: 1 for the first message of a conversation, then one more each time, without a hole, in commit order.
    /// When the message is durable, and before this returns, `committed` is called exactly once; calls of one conversation
    /// come in the order of `seq`. It must be quick and must not block. If the message is not stored (repeated, quota, tokens,
    /// fault), it is never called. A second message with an id that is already stored is a fault.
    async fn append(&self, message: NewMessage, committed: Committed) -> Result<Appended, Fault>;

    /// Messages with `seq > after`, oldest first, at most `limit`.
    async fn history(
        &self,
        conversation: ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Vec<Message>, Fault>;

    /// The last `limit` messages, oldest first.
    async fn recent(&self, conversation: ConversationId, limit: u32) -> Result<Vec<Message>, Fault>;

    /// How many messages there are.
    async fn count(&self, conversation: ConversationId) -> Result<u64, Fault>;

    /// How many messages that count against a [`Quota`] the person ever sent: what [`People::messages_sent`] says, of all
    /// months together.
    async fn said_by(&self, person: &PersonId) -> Result<u64, Fault>;

    /// The last message of each conversation whose id comes after `after`, in the order of ids (by bytes), at most `limit`.
    async fn latest(&self, after: Option<ConversationId>, limit: u32) -> Result<Vec<Message>, Fault>;
}

/// A message on its way into the store, with what must be decided or changed in the same transaction.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// Its id.
    pub id: MessageId,
    /// Where.
    pub conversation: ConversationId,
    /// The agent of the conversation.
    pub agent: AgentId,
    /// The person of the conversation.
    pub person: PersonId,
    /// Which of the two says it.
    pub author: Party,
    /// What is said.
    pub text: String,
    /// When.
    pub at: Timestamp,
    /// Counts against the person's month; over the limit nothing is stored.
    pub quota: Option<Quota>,
    /// Moves the agent's relation to the person.
    pub moves: Option<RelationDelta>,
    /// Stores it once under this key, for [`KEYS_KEPT`] from `at`. Looked at before the quota: a repeat costs nothing.
    pub once: Option<RequestKey>,
    /// What it does to the person's wallet. Looked at after `once` and the quota.
    pub charge: Option<Charge>,
}

impl NewMessage {
    /// Whether `first` says the same in the same place: whether this is another try of it.
    pub fn repeats(&self, first: &Message) -> bool {
        (self.conversation, self.author, &self.text) == (first.conversation, first.author, &first.text)
    }
}

/// What a message counts against.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// The month, see [`Timestamp::month`].
    pub month: i32,
    /// How many messages that month may have; `None` only counts.
    pub limit: Option<u64>,
}

/// What came of [`Conversations::append`].
#[derive(Clone, Debug, PartialEq)]
pub enum Appended {
    /// It is durable.
    Stored {
        /// As it was stored, with its position.
        message: Message,
        /// The relation after the move; as it was when nothing moved it.
        relation: Relation,
        /// The entry for what it cost, if it did.
        paid: Option<Entry>,
    },
    /// The month is used up; nothing was stored.
    OverQuota {
        /// Messages sent this month.
        current: u64,
        /// Messages allowed.
        limit: u64,
    },
    /// It had been stored before under the same key; nothing was stored now.
    Repeated {
        /// As it was stored then.
        message: Message,
    },
    /// Its key belongs to a message with another text, author or conversation; nothing was stored.
    Reused,
    /// It cannot be paid for; nothing was stored.
    Unpaid(Obstacle),
}

/// Called with the stored message, the relation and what was paid, right after the commit, in the order of `seq` and of
/// [positions](Entry::position).
pub type Committed = Box<dyn FnOnce(&Message, &Relation, Option<&Entry>) + Send>;

/// Throws away what has had its time.
///
/// No answer of a store depends on it: whatever has expired counts as gone wherever the time is known. It keeps the store
/// small, and a running [`App`](crate::app::App) calls it every few minutes.
#[async_trait]
pub trait Upkeep: Send + Sync {
    /// Forgets some of what is of no use after `now`: expired nonces, sessions that can neither be used nor renewed,
    /// revocations past their `until`, keys of requests and messages older than [`KEYS_KEPT`]. Returns how many; 0 when
    /// nothing is left to forget. One call takes a bounded time, so that others get their turn in between.
    async fn forget(&self, now: Timestamp) -> Result<u64, Fault>;
}

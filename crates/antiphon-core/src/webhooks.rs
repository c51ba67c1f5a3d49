//! What is told to other servers, and what must be remembered until they have been told.
//!
//! An [`Announcement`] is an event made ready for its endpoints. Each endpoint gets its own [`Delivery`] of it, which stays until
//! it is delivered or dead. The traits here are the ports behind that; `contract::webhooks` holds implementations to them.

use async_trait::async_trait;
use serde::Serialize;

use crate::conversation::Message;
use crate::ids::{ConversationId, PersonId, Timestamp};
use crate::refusal::Fault;

/// Remembers everything about webhooks. Whatever a method has returned `Ok` for survives the death of the process.
pub trait Webhooks: Announcements + Deliveries {}

impl<T: Announcements + Deliveries> Webhooks for T {}

/// What is yet to be announced, and what has been.
#[async_trait]
pub trait Announcements: Send + Sync {
    /// Stores announcements in their order, all or none, and makes a delivery of each for each of its endpoints.
    ///
    /// Within one endpoint, the announcements about one person are numbered 1, 2, 3 … without a hole, in the order of storing;
    /// those about nobody are numbered among themselves. An announcement with an id that is already stored, or of a message that
    /// was announced before, is left out. So is a message when one before it in its conversation was never announced: then `false`
    /// comes back, and [`unannounced`](Self::unannounced) knows which. Endpoints that are disabled get nothing.
    async fn announce(&self, announcements: &[Announcement]) -> Result<bool, Fault>;

    /// Begins or ends following messages. What is stored when it begins counts as announced; nothing is unannounced when it has
    /// ended. Doing again what is already so changes nothing.
    async fn follow_messages(&self, follow: bool) -> Result<(), Fault>;

    /// Messages that are stored and were not announced since [`follow_messages`](Self::follow_messages) began: those of one
    /// conversation together, in the order of `seq`, beginning with its first such message. At most `limit`.
    async fn unannounced(&self, limit: u32) -> Result<Vec<Message>, Fault>;

    /// The people whose latest announcement with [`About::Presence`] was that they came, in the order of ids, after `after`.
    async fn announced_present(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<PersonId>, Fault>;
}

/// What is on its way to endpoints. One process delivers at a time.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// The deliveries to `endpoint` that are due at `now`, those that are due longest first, at most `limit`; and when the next
    /// one that is not among them is due.
    ///
    /// A delivery about a person is due only when no earlier one about them to this endpoint [holds](Delivered::Later::holds) it.
    async fn due(&self, endpoint: &str, now: Timestamp, limit: u32) -> Result<Due, Fault>;

    /// Notes what came of a delivery. Nothing happens if there is none of this id, or if it is dead.
    async fn settle(&self, delivery: u64, outcome: Delivered, now: Timestamp) -> Result<(), Fault>;

    /// Deliveries that were given up, by id, after `after`.
    async fn dead(&self, after: Option<u64>, limit: u32) -> Result<Vec<DeadLetter>, Fault>;

    /// Makes a dead delivery due at `now`, as if it had never been tried; it holds nothing. Returns whether there was one.
    async fn revive(&self, delivery: u64, now: Timestamp) -> Result<bool, Fault>;

    /// Disables an endpoint: what is on its way to it dies, for the reason `why`, and nothing new is made for it.
    async fn disable(&self, endpoint: &str, why: &str, now: Timestamp) -> Result<(), Fault>;

    /// Enables an endpoint again; returns whether it was disabled. Its dead letters stay dead until they are
    /// [revived](Self::revive).
    async fn enable(&self, endpoint: &str) -> Result<bool, Fault>;

    /// The endpoints that are disabled, in the order of their names, and since when.
    async fn disabled(&self) -> Result<Vec<(String, Timestamp)>, Fault>;

    /// How many deliveries there are to each endpoint that has some, in no particular order. Looks at all of them, so it is for
    /// those who ask now and then.
    async fn queued(&self) -> Result<Vec<(String, Queued)>, Fault>;

    /// Gives up what was announced before `announced_before` and is still not delivered, and forgets what died before
    /// `died_before`. Returns how many were given up and how many forgotten; twice 0 when nothing is left. One call takes a
    /// bounded time, so that others get their turn in between.
    async fn sweep(
        &self,
        announced_before: Timestamp,
        died_before: Timestamp,
        now: Timestamp,
    ) -> Result<(u64, u64), Fault>;
}

/// An event, made ready for its endpoints.
#[derive(Clone)]
pub struct Announcement {
    /// Its id: `msg_…`, the same for every endpoint and every attempt.
    pub id: String,
    /// The name of the event, `message.posted`.
    pub kind: &'static str,
    /// Whom it is about.
    pub person: Option<PersonId>,
    /// When it happened.
    pub at: Timestamp,
    /// The body, a JSON object, but for its last member: see [`Letter::body`].
    pub payload: String,
    /// Who is told. Nobody is fine: then only what it is [`about`](Self::about) is noted.
    pub endpoints: Vec<String>,
    /// What it says about the state that announcements follow.
    pub about: About,
}

/// What an announcement says about the state that announcements follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing.
    Nothing,
    /// A message of this conversation is announced, the one at this position.
    Message(ConversationId, u64),
    /// Its person came (`true`) or is gone.
    Presence(bool),
}

/// How many deliveries there are to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Those that are on their way: due, to be tried again, or held by one before them.
    pub pending: u64,
    /// Those that were given up and are kept.
    pub dead: u64,
}

/// What [`Deliveries::due`] found.
#[derive(Clone, Default)]
pub struct Due {
    /// What to deliver now.
    pub letters: Vec<Letter>,
    /// When there will be more; `None` if nothing else is on its way.
    pub next: Option<Timestamp>,
}

/// One announcement on its way to one endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct Letter {
    /// The delivery's id.
    pub id: u64,
    /// The announcement's id.
    pub announcement: String,
    /// Number of the announcement among those about the same person to this endpoint, from 1.
    pub sequence: u64,
    /// The body but for its last member.
    pub payload: String,
    /// When it happened.
    pub at: Timestamp,
    /// How often it was tried in vain.
    pub attempts: u32,
}

impl Letter {
    /// What is sent: the payload, with the number as its last member. The same bytes at every attempt.
    pub fn body(&self) -> String {
        body(&self.payload, self.sequence)
    }
}

/// What came of trying to deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// It arrived. It is forgotten.
    Done,
    /// It is tried again.
    Later {
        /// When.
        at: Timestamp,
        /// Whether later ones about the same person wait for it meanwhile.
        holds: bool,
        /// Why it did not arrive.
        why: String,
    },
    /// It is given up.
    Dead {
        /// Why it did not arrive.
        why: String,
    },
}

/// A delivery that was given up.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// The delivery's id.
    pub id: u64,
    /// Whom it was for.
    pub endpoint: String,
    /// The announcement's id.
    pub announcement: String,
    /// The name of the event.
    pub kind: String,
    /// Whom it is about.
    pub person: Option<PersonId>,
    /// Its number.
    pub sequence: u64,
    /// What was to be sent. May hold what people wrote.
    pub body: String,
    /// When it happened.
    pub at: Timestamp,
    /// When it was given up.
    pub died_at: Timestamp,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it did not arrive the last time.
    pub why: String,
}

/// `payload`, a JSON object without its last brace, with `sequence` as its last member.
pub fn body(payload: &str, sequence: u64) -> String {
    format!("{payload},\"sequence\":{sequence}}}")
}

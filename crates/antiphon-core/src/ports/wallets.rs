//! What must be remembered of tokens, and who says that some were paid in.

use async_trait::async_trait;

use crate::ids::{MessageId, PersonId, Timestamp};
use crate::refusal::Fault;
use crate::wallet::{Balance, Entry, NewEntry, Obstacle};

/// The ledgers. What is in them is never changed or removed; [`enter`](crate::wallet::enter) decides what comes in.
///
/// A message that costs something ([`Charge::Take`]) leaves an open charge behind in the transaction that stores it. The
/// transaction that stores its answer ([`Charge::Keep`]) closes it, or a [`refund`](Self::refund) does: one of the two, once.
#[async_trait]
pub trait Wallets: Send + Sync {
    /// Makes an entry, in one transaction: looks for an earlier one under the same key, then at the balance, then writes.
    ///
    /// When the entry is durable, and before this returns, `booked` is called exactly once; calls of one person come in the
    /// order of positions, those of charged messages among them. It must be quick and must not block. If nothing was entered
    /// it is never called. Fails if the person does not exist.
    async fn book(&self, entry: NewEntry, booked: OnBooked) -> Result<Booked, Fault>;
    /// Gives back what the message cost, unless that was done or it has its answer; `None` then. `booked` as in
    /// [`book`](Self::book).
    async fn refund(
        &self,
        message: MessageId,
        at: Timestamp,
        booked: OnBooked,
    ) -> Result<Option<Entry>, Fault>;
    /// Messages that were paid for and have neither an answer nor a refund, oldest first, at most `limit`.
    async fn open_charges(&self, limit: u32) -> Result<Vec<MessageId>, Fault>;
    /// How the person's ledger stands, for everybody to hear in its place: before this returns, `told` is called exactly once, after
    /// the calls for all entries that the balance counts and before the call for any other. It must be quick and must not block.
    async fn tell(&self, person: &PersonId, told: OnTold) -> Result<Balance, Fault>;
    /// How the person's ledger stands; the default when there is none.
    async fn balance(&self, person: &PersonId) -> Result<Balance, Fault>;
    /// Entries with a greater position than `after`, in the order of positions, at most `limit`.
    async fn ledger(&self, person: &PersonId, after: u64, limit: u32) -> Result<Vec<Entry>, Fault>;
    /// How many tokens the person's messages cost, without those that were given back.
    async fn spent(&self, person: &PersonId) -> Result<u64, Fault>;
    /// On how many of the `days` days of 24 hours from `first` on the person made an entry that
    /// [shows activity](crate::wallet::Reason::shows_activity).
    async fn active_days(&self, person: &PersonId, first: Timestamp, days: u32) -> Result<u32, Fault>;
}

/// Called with the entry right after the commit, in the order of positions.
pub type OnBooked = Box<dyn FnOnce(&Entry) + Send>;

/// Called with how a ledger stands, among the calls for its entries.
pub type OnTold = Box<dyn FnOnce(&Balance) + Send>;

/// What came of [`Wallets::book`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Booked {
    /// It is durable.
    Entered(Entry),
    /// There was one under the same key, this one, perhaps with another amount, and of a deposit perhaps somebody else's;
    /// nothing was entered now.
    Repeated(Entry),
    /// It cannot be; nothing was entered.
    Refused(Obstacle),
}

/// What a message does to its person's wallet, in the transaction that stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// It costs so much, at least one token, and nothing is stored if the person has less.
    Take(u64),
    /// It is the answer to this message: what that one cost is spent.
    Keep(MessageId),
}

/// Says whether a payment was made, outside, where it can be looked up.
#[async_trait]
pub trait Chain: Send + Sync {
    /// Whether the payment that `reference` names brought tokens of this amount from one of these wallets (addresses in
    /// lower case). One payment must have one accepted reference: of several ways to write it, all but one are
    /// [`Verdict::Wrong`], because each reference counts once.
    async fn verify(&self, reference: &str, amount: u64, wallets: &[String]) -> Result<Verdict, Fault>;
}

/// What a [`Chain`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was made, and will not be undone.
    Confirmed,
    /// It cannot be seen yet, or could still be undone.
    Pending,
    /// There is no such payment, or it is another one.
    Wrong,
    /// This server looks payments up nowhere: only a backend's word counts.
    Unchecked,
}

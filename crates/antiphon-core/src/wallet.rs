//! Tokens that people have: what may be entered into a ledger, and what it comes to.
//!
//! Tokens are whole numbers. Each person has a ledger to which entries are appended; nothing in it is ever changed or removed,
//! so the balance is the sum of its amounts, and it is never negative. [`enter`] is the one place that decides.

use serde::{Deserialize, Serialize};

use crate::ids::{PersonId, Timestamp};
use crate::refusal::Refusal;

/// Most tokens that a person can have, given back ones aside, and that one entry can move: every number up to here is exact
/// in any client.
pub const MAX_BALANCE: u64 = (1 << 53) - 1;

/// Longest accepted reference of a deposit, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 128;

/// Why tokens moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A present for somebody new. Its key is `welcome`, so that it comes once in a life.
    Welcome,
    /// Paid in. Its key is the reference of the payment, which counts once on the whole server.
    Deposit,
    /// Taken out.
    Withdrawal,
    /// For coming back. Its key is the day in UTC, `2026-03-01`.
    Reward,
    /// The price of a message. Its key is the message's id.
    Chat,
    /// The price of a message that got no answer. Its key is the message's id.
    Refund,
    /// Given by a backend.
    Grant,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 7] =
        [Self::Welcome, Self::Deposit, Self::Withdrawal, Self::Reward, Self::Chat, Self::Refund, Self::Grant];

    /// The stable name, in stores and for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Deposit => "deposit",
            Self::Withdrawal => "withdrawal",
            Self::Reward => "reward",
            Self::Chat => "chat",
            Self::Refund => "refund",
            Self::Grant => "grant",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Whether it takes tokens away.
    pub fn takes(self) -> bool {
        matches!(self, Self::Withdrawal | Self::Chat)
    }

    /// Whether a day with such an entry is one that the person was here, for the streak of [`Settings`].
    pub fn shows_activity(self) -> bool {
        matches!(self, Self::Reward | Self::Chat)
    }
}

/// One line of a ledger, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whose ledger.
    pub person: PersonId,
    /// Its position there: 1, 2, 3 … without a hole, in the order of commits.
    pub position: u64,
    /// What was added, or taken away if negative; never 0.
    pub amount: i64,
    /// What the person has after it.
    pub balance: u64,
    /// Why.
    pub reason: Reason,
    /// What it is about. The same key has one entry for each person and reason; for [`Reason::Deposit`], one on the whole
    /// server.
    pub key: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// An entry on its way into a ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// Whose ledger.
    pub person: PersonId,
    /// How many tokens, 1 to [`MAX_BALANCE`]; whether they come or go is up to the reason.
    pub tokens: u64,
    /// Why.
    pub reason: Reason,
    /// See [`Entry::key`].
    pub key: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// How a ledger stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// What the person has.
    pub tokens: u64,
    /// The position of the latest entry; 0 when there is none.
    pub position: u64,
}

/// Why an entry cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The person has less than it takes.
    Insufficient {
        /// What they have.
        balance: u64,
    },
    /// The person would have more than [`MAX_BALANCE`].
    Full {
        /// What they have.
        balance: u64,
    },
}

/// The entry that `new` becomes after a ledger that stands at `now`. What was taken is given back also beyond
/// [`MAX_BALANCE`].
pub fn enter(now: Balance, new: NewEntry) -> Result<Entry, Obstacle> {
    let NewEntry { person, tokens, reason, key, at } = new;
    let Balance { tokens: balance, position } = now;
    let full = Obstacle::Full { balance };
    let signed = i64::try_from(tokens).map_err(|_| full)?;
    let (amount, after) = if reason.takes() {
        (-signed, balance.checked_sub(tokens).ok_or(Obstacle::Insufficient { balance })?)
    } else {
        (signed, balance.checked_add(tokens).ok_or(full)?)
    };
    let limit = if reason == Reason::Refund { i64::MAX as u64 } else { MAX_BALANCE };
    if amount > 0 && after > limit {
        return Err(full);
    }
    Ok(Entry { person, position: position + 1, amount, balance: after, reason, key, at })
}

/// How many tokens one gets, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What somebody new is given; 0 is nothing.
    pub welcome: u64,
    /// What a person is given on each day (UTC) that they ask; 0 is nothing.
    pub reward: u64,
    /// What comes on top when they were here on each of the days before.
    pub streak_bonus: u64,
    /// How many days that is.
    pub streak_days: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { welcome: 50, reward: 5, streak_bonus: 2, streak_days: 3 }
    }
}

/// Whether so many tokens may be moved at once.
pub fn check_amount(tokens: u64) -> Result<(), Refusal> {
    match tokens {
        1..=MAX_BALANCE => Ok(()),
        _ => Err(Refusal::invalid("An amount is between 1 and 9,007,199,254,740,991 tokens.")),
    }
}

/// The reference of a payment, as its deposit is remembered: 1 to [`MAX_REFERENCE_BYTES`] printable ASCII characters
/// without blanks. The hash of a transaction (`0x…`) means the same in upper and lower case, so that it counts once.
pub fn reference(text: &str) -> Result<String, Refusal> {
    let is_accepted =
        (1..=MAX_REFERENCE_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_accepted {
        let needed = "The reference of a deposit has 1 to 128 visible ASCII characters and no blanks.";
        return Err(Refusal::invalid(needed));
    }
    let is_hash = text.len() > 2
        && text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"))
        && text.bytes().skip(2).all(|byte| byte.is_ascii_hexdigit());
    Ok(if is_hash { text.to_ascii_lowercase() } else { text.to_owned() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::refusal::Code;

    fn new(reason: Reason, tokens: u64) -> NewEntry {
        let person = PersonId::parse("ada").unwrap();
        NewEntry { person, tokens, reason, key: None, at: Timestamp(0) }
    }

    #[test]
    fn what_is_entered_adds_up_or_is_not_entered() {
        use Obstacle::{Full, Insufficient};
        use Reason::{Chat, Deposit, Grant, Refund, Withdrawal};
        let most = MAX_BALANCE;
        let table = [
            (0, Deposit, 1, Ok((1, 1))),
            (50, Chat, 50, Ok((-50, 0))),
            (50, Chat, 51, Err(Insufficient { balance: 50 })),
            (0, Withdrawal, 1, Err(Insufficient { balance: 0 })),
            (most - 1, Grant, 1, Ok((1, most))),
            (most, Grant, 1, Err(Full { balance: most })),
            (most, Refund, 1, Ok((1, most + 1))),
            (most, Withdrawal, most, Ok((-(most as i64), 0))),
            (0, Deposit, u64::MAX, Err(Full { balance: 0 })),
            (7, Withdrawal, u64::MAX, Err(Full { balance: 7 })),
        ];
        for (tokens, reason, amount, expected) in table {
            let entered = enter(Balance { tokens, position: 4 }, new(reason, amount));
            let found = entered.map(|entry| {
                assert_eq!(entry.position, 5);
                (entry.amount, entry.balance)
            });
            assert_eq!(found, expected, "{reason:?} of {amount} at {tokens}");
        }
    }

    #[test]
    fn every_reason_is_found_by_its_name() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_name(reason.name()), Some(reason));
        }
        assert_eq!(Reason::from_name("gift"), None);
    }

    #[test]
    fn an_amount_is_one_token_or_more_and_not_endless() {
        let code = |tokens| check_amount(tokens).map_err(|refusal| refusal.code);
        assert_eq!(code(0), Err(Code::Invalid));
        assert_eq!(code(1), Ok(()));
        assert_eq!(code(MAX_BALANCE), Ok(()));
        assert_eq!(code(MAX_BALANCE + 1), Err(Code::Invalid));
    }

    #[test]
    fn a_payment_has_one_reference_however_it_is_written() {
        assert_eq!(reference("0xAbC9"), Ok("0xabc9".into()));
        assert_eq!(reference("0XABC9"), Ok("0xabc9".into()));
        // These are no hashes, and their case may mean something.
        for text in ["Invoice-7", "0xAbCg", "0x", "ABC9"] {
            assert_eq!(reference(text), Ok(text.into()));
        }
        for text in ["", " ", "a b", "a\n", "ñ", &"x".repeat(MAX_REFERENCE_BYTES + 1)] {
            assert_eq!(reference(text).unwrap_err().code, Code::Invalid, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_tried_the_balance_is_the_sum_and_never_negative(
            tries in prop::collection::vec((0..Reason::ALL.len(), prop_oneof![0..200_u64, any::<u64>()]), 0..200),
        ) {
            let (mut balance, mut entries) = (Balance::default(), Vec::new());
            for (reason, tokens) in tries {
                if let Ok(entry) = enter(balance, new(Reason::ALL[reason], tokens)) {
                    balance = Balance { tokens: entry.balance, position: entry.position };
                    entries.push(entry);
                }
            }
            let mut sum = 0_i128;
            for (position, entry) in (1..).zip(&entries) {
                sum += i128::from(entry.amount);
                prop_assert_eq!(entry.position, position);
                prop_assert_eq!(i128::from(entry.balance), sum);
            }
        }
    }
}

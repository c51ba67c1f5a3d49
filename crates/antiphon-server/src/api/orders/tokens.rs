//! The commands about tokens as JSON, one struct each, and how each becomes a command of the core.

use antiphon_core::actor::Claim;
use antiphon_core::command::Command;
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::Refusal;
use serde::Deserialize;
use utoipa::ToSchema;

use super::drafts::once;
use super::{Draft, Who};
use crate::api::span::hundred;

/// Give the person in `as`, if they are new, their welcome present.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OpenWallet {}

impl Draft for OpenWallet {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::OpenWallet { person: Claim::NONE })
    }
}

/// Add tokens for a payment that the service knows of. Each payment counts once. For the service itself, without `as`: then
/// its word counts.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Deposit {
    /// Whose payment it is.
    person: String,
    /// What the payment is called where it was made: 1 to 128 visible ASCII characters. The hash of a transaction (`0x…`)
    /// means the same in upper and lower case.
    reference: String,
    /// How many tokens: 1 to 9,007,199,254,740,991.
    amount: u64,
}

impl Draft for Deposit {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let person = Claim::of(PersonId::parse(&self.person)?);
        Ok(Command::Deposit { person, reference: self.reference, amount: self.amount })
    }
}

/// Take tokens of the person in `as` out.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Withdraw {
    /// How many tokens: 1 to 9,007,199,254,740,991.
    amount: u64,
    /// A name for this withdrawal, 1 to 128 bytes: it is done once, for good.
    key: Option<String>,
}

impl Draft for Withdraw {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::Withdraw { person: Claim::NONE, amount: self.amount, once: once(self.key)? })
    }
}

/// Get the reward of the day (UTC) for the person in `as`, once each day.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimReward {}

impl Draft for ClaimReward {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ClaimReward { person: Claim::NONE })
    }
}

/// Give a person tokens. For the service itself, without `as`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Grant {
    /// Whom.
    person: String,
    /// How many tokens: 1 to 9,007,199,254,740,991.
    amount: u64,
    /// A name for this present, 1 to 128 bytes: the person gets it once, for good.
    key: Option<String>,
}

impl Draft for Grant {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let person = PersonId::parse(&self.person)?;
        Ok(Command::Grant { person, amount: self.amount, once: once(self.key)? })
    }
}

/// Read how many tokens the person in `as` has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadBalance {}

impl Draft for ReadBalance {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadBalance { person: Claim::NONE })
    }
}

/// Read where the tokens of the person in `as` came from and went, oldest first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadLedger {
    /// Only entries with a greater position. Default: 0, from the start.
    #[serde(default)]
    after: u64,
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
}

impl Draft for ReadLedger {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadLedger { person: Claim::NONE, after: self.after, limit: self.limit })
    }
}

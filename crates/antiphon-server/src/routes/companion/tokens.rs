//! What one has, paying in, taking out, and the daily reward: `/token/…`.

use antiphon_core::actor::Principal;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::refusal::{Code, Refusal};
use axum::Json;
use axum::extract::State as Extracted;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::asker::Asker;
use super::body::{Amount, Text};
use super::boom::Boom;
use super::{State, unexpected};

/// Payments that a person may report within a minute. A backend knows what it does.
pub(super) const DEPOSITS_PER_MINUTE: u32 = 20;

const DEPOSIT_NEEDED: &str =
    "This needs tx_hash as text, and amount as a number above 0: coins that are worth whole tokens.";
const WITHDRAWAL_NEEDED: &str = "This needs amount as a number above 0: whole tokens.";

#[derive(Serialize)]
pub(super) struct Balance {
    success: bool,
    balance: u64,
}

#[derive(Deserialize)]
struct Deposit {
    tx_hash: String,
    amount: Amount,
}

#[derive(Deserialize)]
struct Withdrawal {
    amount: Amount,
}

#[derive(Serialize)]
pub(super) struct Moved {
    success: bool,
    message: &'static str,
    balance: u64,
}

pub(super) async fn balance(Extracted(state): Extracted<State>, asker: Asker) -> Result<Json<Balance>, Boom> {
    let balance = state.balance_of(&asker).await?;
    Ok(Json(Balance { success: true, balance }))
}

/// A payment counts once, whoever reports it.
pub(super) async fn deposit(
    Extracted(state): Extracted<State>,
    asker: Asker,
    text: Text,
) -> Result<Json<Moved>, Boom> {
    let Deposit { tx_hash, amount } = text.object(DEPOSIT_NEEDED)?;
    let coins = amount.coins(state.shared().companion.tokens_per_coin);
    let amount = coins.ok_or_else(|| Boom::bad_request(DEPOSIT_NEEDED))?;
    if let Principal::Person(person) = &asker.caller.actor.principal {
        state.deposits.count(person.clone(), 1)?;
    }
    let deposit = Command::Deposit { person: asker.claim(), reference: tx_hash, amount };
    let processed = || Boom::bad_request("Transaction already processed");
    let entry = match state.perform(&asker.caller, deposit).await {
        Ok(Outcome::Booked { entry, duplicate: false }) => entry,
        Ok(Outcome::Booked { .. }) | Err(Refusal { code: Code::Conflict, .. }) => return Err(processed()),
        Ok(_) => return Err(unexpected("Deposit")),
        Err(refusal) => return Err(refusal.into()),
    };
    state.told(&asker.person).await;
    Ok(Json(Moved { success: true, message: "Deposit successful", balance: entry.balance }))
}

/// Nothing is sent to a chain: whoever runs this server does that, and hears of it as of every withdrawal.
pub(super) async fn withdraw(
    Extracted(state): Extracted<State>,
    asker: Asker,
    text: Text,
) -> Result<Json<Moved>, Boom> {
    let Withdrawal { amount } = text.object(WITHDRAWAL_NEEDED)?;
    let amount = amount.tokens().ok_or_else(|| Boom::bad_request(WITHDRAWAL_NEEDED))?;
    let withdraw = Command::Withdraw { person: asker.claim(), amount, once: None };
    let entry = match state.perform(&asker.caller, withdraw).await {
        Ok(Outcome::Booked { entry, .. }) => entry,
        Ok(_) => return Err(unexpected("Withdraw")),
        Err(Refusal { code: Code::Insufficient { .. }, .. }) => {
            return Err(Boom::bad_request("Insufficient balance"));
        }
        Err(refusal) => return Err(refusal.into()),
    };
    state.told(&asker.person).await;
    Ok(Json(Moved { success: true, message: "Withdrawal initiated", balance: entry.balance }))
}

/// Once on each day in UTC.
pub(super) async fn reward(Extracted(state): Extracted<State>, asker: Asker) -> Result<Response, Boom> {
    #[derive(Serialize)]
    struct Rewarded {
        success: bool,
        message: String,
        reward: u64,
        streak_bonus: u64,
        balance: u64,
    }
    #[derive(Serialize)]
    struct Already {
        success: bool,
        message: &'static str,
    }
    let claim = Command::ClaimReward { person: asker.claim() };
    let (entry, bonus) = match state.perform(&asker.caller, claim).await? {
        Outcome::Rewarded { entry, bonus, duplicate: false } => (entry, bonus),
        Outcome::Rewarded { .. } => {
            let message = "Daily reward already claimed today";
            return Ok(Json(Already { success: false, message }).into_response());
        }
        _ => return Err(unexpected("ClaimReward")),
    };
    state.told(&asker.person).await;
    let tokens = entry.amount.unsigned_abs();
    let rewarded = Rewarded {
        success: true,
        message: format!("🎁 Daily reward claimed! +{tokens} tokens"),
        reward: tokens.saturating_sub(bonus),
        streak_bonus: bonus,
        balance: entry.balance,
    };
    Ok(Json(rewarded).into_response())
}

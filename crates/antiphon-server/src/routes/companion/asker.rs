//! Who asks: the person whose wallet the header `x-wallet-address` names, as far as that is believed.
//!
//! Where wallets must be proven, the token of a login comes beside it, as `Authorization: Bearer`. A backend may send its key there,
//! and asks for the person then.

use antiphon_core::actor::{Caller, Claim, Principal};
use antiphon_core::dialect::Credential;
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::{Code, Refusal};
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::boom::Boom;
use super::{Counter, DIALECT, State, broken};
use crate::auth::bearer;

/// The header that names a wallet.
const WALLET: &str = "x-wallet-address";

/// Somebody who asks.
pub(super) struct Asker {
    /// The person.
    pub(super) person: PersonId,
    /// Their wallet's address, in lower case.
    pub(super) address: String,
    /// As the core sees who asks: the person, or a backend for them.
    pub(super) caller: Caller,
}

impl Asker {
    /// For whom the command is.
    pub(super) fn claim(&self) -> Claim {
        Claim::of(self.person.clone())
    }
}

impl FromRequestParts<State> for Asker {
    type Rejection = Boom;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Boom> {
        let missing = || Boom::unauthorized("Missing x-wallet-address header");
        let address = parts.headers.get(WALLET).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if address.is_empty() {
            return Err(missing());
        }
        state.asker(address.to_lowercase(), beside(&parts.headers)).await
    }
}

impl Counter {
    /// Whoever asks with this address and, perhaps, a credential beside it.
    pub(super) async fn asker(&self, address: String, bearer: Option<&str>) -> Result<Asker, Boom> {
        let (auth, now) = (&self.shared().auth, self.desk.now());
        let actor = match bearer {
            None => auth.authenticate(&Credential::Wallet(address.clone()), DIALECT, now).await,
            Some(secret) => match auth.authenticate(&Credential::Bearer(secret.into()), DIALECT, now).await {
                Ok(actor) => Ok(actor),
                Err(why) => auth.authenticate_backend(secret, now).await.map_err(|_| why),
            },
        };
        let actor = actor.map_err(|why| match bearer {
            // Whether somebody has the wallet is nobody's business where that alone opens nothing.
            None if auth.believes_wallets() => refused(why),
            None => Boom::unauthorized("Please log in, and send the token as Authorization: Bearer <token>."),
            Some(_) => why.into(),
        })?;
        self.requests.count(actor.principal.to_string(), 1)?;
        let store = &self.shared().app.ports().store;
        let owner = store.person_by_wallet(&address).await.map_err(broken("looking a wallet up"))?;
        let person = match (&actor.principal, owner) {
            (Principal::Person(asking), Some(owner)) if *asking == owner => owner,
            // Whether somebody else has the wallet is nobody's business.
            (Principal::Person(_), _) => {
                return Err(Boom::from(Refusal::new(Code::Forbidden, "This token is not for this wallet.")));
            }
            (Principal::Service(_) | Principal::Operator, Some(owner)) => owner,
            (Principal::Service(_) | Principal::Operator, None) | (Principal::Guest, _) => {
                return Err(unknown());
            }
        };
        Ok(Asker { person, address, caller: Caller { actor, connection: None } })
    }
}

/// The credential in the header `Authorization`. What is no bearer token opens nothing, but it is there.
fn beside(headers: &HeaderMap) -> Option<&str> {
    headers.contains_key(AUTHORIZATION).then(|| bearer(headers).unwrap_or_default())
}

fn unknown() -> Boom {
    Boom::unauthorized("User not found. Please login first.")
}

/// The wallet is nobody's; or something failed.
fn refused(why: Refusal) -> Boom {
    match why.code {
        Code::BadCredential => unknown(),
        _ => why.into(),
    }
}

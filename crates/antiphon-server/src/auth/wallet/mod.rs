//! How somebody proves that a wallet is theirs, and who they are then.
//!
//! | file | answers |
//! |---|---|
//! | [`message`] | what a sign-in message (ERC-4361) says, and whether it is for us and for now |
//! | [`recover`] | which address has signed a text (EIP-191) |
//!
//! A wallet signs a message that holds a nonce of ours. A client that knows ERC-4361 asks for a nonce and writes the message
//! itself; any other asks for a finished message and has it signed as it is.

mod message;
mod recover;

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::Person;
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::Store;
use antiphon_core::refusal::{Fault, Refusal};
use uuid::Uuid;

use super::secret;
use super::settings::{People, Settings};
use super::{Denied, bad_credential};
use message::Message;
use recover::Address;

/// How long a nonce can be used.
const NONCE_LIFETIME: Duration = Duration::from_secs(300);

/// Something for a wallet to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// 32 letters and digits, good for one login.
    pub nonce: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Lets wallets sign in.
pub(crate) struct Wallets {
    store: Arc<dyn Store>,
    domains: Vec<String>,
    chains: Vec<u64>,
    people: People,
    plan: String,
    /// Held while a wallet gets its person, so that of many first logins at once one adds them.
    arriving: tokio::sync::Mutex<()>,
}

impl Wallets {
    pub(crate) fn new(store: Arc<dyn Store>, settings: &Settings) -> Self {
        Self {
            store,
            domains: settings.domain.clone(),
            chains: settings.chains.clone(),
            people: settings.wallets,
            plan: settings.wallet_plan.clone(),
            arriving: tokio::sync::Mutex::default(),
        }
    }

    /// A fresh nonce.
    pub(crate) async fn challenge(&self, now: Timestamp) -> Result<Challenge, Denied> {
        if self.domains.is_empty() {
            return Err(Refusal::not_found("Wallets cannot sign in to this server.").into());
        }
        let nonce = secret::hex(&secret::random::<16>());
        let lifetime = i64::try_from(NONCE_LIFETIME.as_millis()).unwrap_or(i64::MAX);
        let expires_at = Timestamp(now.0.saturating_add(lifetime));
        self.store.put_nonce(&secret::hash(&nonce), expires_at).await?;
        Ok(Challenge { nonce, expires_at })
    }

    /// Refuses what is not an address.
    pub(crate) fn check(&self, address: &str) -> Result<(), Refusal> {
        Address::parse(address).map(drop).ok_or_else(not_an_address)
    }

    /// The message for `address` to sign under this challenge: for the first domain and the first chain of the configuration.
    pub(crate) fn message(
        &self,
        address: &str,
        challenge: &Challenge,
        now: Timestamp,
    ) -> Result<String, Denied> {
        let address = Address::parse(address).ok_or_else(not_an_address)?;
        let (Some(domain), Some(chain)) = (self.domains.first(), self.chains.first()) else {
            return Err(Refusal::not_found("Wallets cannot sign in to this server.").into());
        };
        let message = message::write(domain, address, *chain, &challenge.nonce, now, challenge.expires_at);
        message.ok_or_else(|| Fault::new("writing the date of a sign-in message").into())
    }

    /// Whose wallet signed `message`. It does so once: the nonce is used up. `claimed` is the address that the client gave
    /// beside it, in whichever case; it has to be the one.
    pub(crate) async fn prove(
        &self,
        message: &str,
        signature: &str,
        claimed: Option<&str>,
        now: Timestamp,
    ) -> Result<PersonId, Denied> {
        let said = Message::parse(message)?;
        said.check(&self.domains, &self.chains, now)?;
        let signer = recover::signer(message, signature)
            .filter(|signer| *signer == said.address)
            .ok_or_else(|| bad_credential("The signature is not this wallet's."))?;
        if claimed.is_some_and(|claimed| Address::parse(claimed) != Some(signer)) {
            return Err(bad_credential("The message is about another wallet.").into());
        }
        if !self.store.take_nonce(&secret::hash(&said.nonce), now).await? {
            return Err(bad_credential("The nonce was used before, has expired, or is not ours.").into());
        }
        self.owner(signer, now).await
    }

    /// The person whose wallet has this address, which nobody need have proved; as after a proof, the first login of a new one
    /// adds them, if that is allowed.
    pub(crate) async fn welcome(&self, address: &str, now: Timestamp) -> Result<PersonId, Denied> {
        self.owner(Address::parse(address).ok_or_else(not_an_address)?, now).await
    }

    /// Whether the wallet of this address signed `message`, whatever that says: proof of a wallet where none is asked for, and
    /// of nothing else, because it may be shown again.
    pub(crate) fn signed(&self, address: &str, message: &str, signature: &str) -> bool {
        recover::signer(message, signature).is_some_and(|signer| Address::parse(address) == Some(signer))
    }

    /// The person whose wallet it is; the first login of a new one adds them, if that is allowed.
    async fn owner(&self, address: Address, now: Timestamp) -> Result<PersonId, Denied> {
        let address = address.to_string();
        if let Some(person) = self.store.person_by_wallet(&address).await? {
            return Ok(person);
        }
        if self.people == People::Known {
            return Err(bad_credential("Nobody here has this wallet.").into());
        }
        let _arriving = self.arriving.lock().await;
        if let Some(person) = self.store.person_by_wallet(&address).await? {
            return Ok(person);
        }
        let id = PersonId::parse(&Uuid::new_v4().to_string())?;
        let (plan, roles) = (self.plan.clone(), Vec::new());
        self.store.add_person(&Person { id: id.clone(), plan, roles, created_at: now }).await?;
        self.store.link_wallet(&address, &id).await?;
        Ok(id)
    }
}

fn not_an_address() -> Refusal {
    Refusal::invalid("A wallet's address is 0x and 40 hexadecimal digits.")
}

#[cfg(test)]
mod tests;

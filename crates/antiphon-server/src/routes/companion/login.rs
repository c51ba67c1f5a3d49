//! How a wallet becomes a person: `POST /auth/wallet-login`.
//!
//! Where wallets must be proven, the message that is signed is one of ours: `POST /v1/login/wallet/nonce` has it. Elsewhere a
//! signature is looked at if there is one, over whatever text, as the application that this API comes from does.

use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::PersonId;
use antiphon_core::people::Profile;
use axum::extract::State as Extracted;
use axum::{Extension, Json};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::asker::Asker;
use super::body::Text;
use super::boom::Boom;
use super::{Counter, State, unexpected};
use crate::transport::handler::Client;

/// Where somebody lives who does not say.
const TIME_ZONE: &str = "Asia/Jakarta";

/// What the interactive documentation of the original sends where nobody has filled anything in.
const PLACEHOLDER: &str = "string";

const NEEDED: &str = "This needs wallet_address as text; signature, message, name and timezone are optional, and text if present.";

#[derive(Deserialize)]
struct Login {
    wallet_address: String,
    signature: Option<String>,
    message: Option<String>,
    name: Option<String>,
    timezone: Option<String>,
}

#[derive(Serialize)]
pub(super) struct LoggedIn {
    success: bool,
    user: User,
    /// What the other routes and the socket want to see where wallets must be proven.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

#[derive(Serialize)]
struct User {
    id: PersonId,
    wallet_address: String,
    name: Option<String>,
    timezone: String,
    created_at: String,
    token_balance: u64,
}

/// The first login adds the person, with a present of tokens. Each tells all of their sockets what they have.
pub(super) async fn login(
    Extracted(state): Extracted<State>,
    Extension(Client(address)): Extension<Client>,
    text: Text,
) -> Result<Json<LoggedIn>, Boom> {
    let login: Login = text.object(NEEDED)?;
    if let Some(place) = state.shared().crowd.place(address) {
        state.logins.count(place, 1)?;
    }
    // Looked at before anybody is added.
    Profile { name: login.name.clone(), email: None, time_zone: login.timezone.clone() }.check()?;
    let address = login.wallet_address.to_lowercase();
    let token = state.admit(&address, &login).await?;
    let asker = state.asker(address, token.as_ref().map(|token| token.expose_secret())).await?;

    let profile = state.introduce(&asker, login).await?;
    let open = Command::OpenWallet { person: asker.claim() };
    let token_balance = match state.perform(&asker.caller, open).await? {
        Outcome::Balance(balance) => balance.tokens,
        _ => return Err(unexpected("OpenWallet")),
    };
    state.told(&asker.person).await;
    let user = User {
        created_at: state.created_at(&asker.person).await?,
        id: asker.person,
        wallet_address: asker.address,
        name: profile.name,
        timezone: profile.time_zone.unwrap_or_else(|| TIME_ZONE.into()),
        token_balance,
    };
    Ok(Json(LoggedIn { success: true, user, token: token.map(|token| token.expose_secret().to_owned()) }))
}

impl Counter {
    /// Makes sure that the wallet has a person, and that it is shown to be theirs as far as that is asked for. What was shown is in
    /// the token.
    async fn admit(&self, address: &str, login: &Login) -> Result<Option<SecretString>, Boom> {
        let (auth, now) = (&self.shared().auth, self.desk.now());
        let shown = match (login.message.as_deref(), login.signature.as_deref()) {
            (Some(message), Some(signature)) => Some((message, signature)),
            _ => None,
        };
        if !auth.believes_wallets() {
            let (message, signature) = shown.ok_or_else(|| {
                Boom::unauthorized(
                    "This needs a message and its signature, to show that the wallet is yours.",
                )
            })?;
            let opened = auth.wallet_login(message, signature, Some(address), now).await?;
            return Ok(Some(opened.token));
        }
        let is_meant =
            |(message, signature): &(&str, &str)| *message != PLACEHOLDER && *signature != PLACEHOLDER;
        if let Some((message, signature)) = shown.filter(is_meant)
            && !auth.signed_by_wallet(address, message, signature)
        {
            return Err(Boom::unauthorized("Invalid signature"));
        }
        auth.welcome_wallet(address, now).await?;
        Ok(None)
    }

    /// What the person says about themselves from now on: what the login says, and where it says nothing what they said before.
    async fn introduce(&self, asker: &Asker, login: Login) -> Result<Profile, Boom> {
        let before = self.profile_of(asker).await?;
        let time_zone = login.timezone.or_else(|| before.time_zone.clone());
        let after = Profile {
            name: login.name.or_else(|| before.name.clone()),
            email: before.email.clone(),
            time_zone: Some(time_zone.unwrap_or_else(|| TIME_ZONE.into())),
        };
        if after == before {
            return Ok(before);
        }
        let set = Command::SetProfile { person: asker.claim(), profile: Box::new(after) };
        match self.perform(&asker.caller, set).await? {
            Outcome::Profile(profile) => Ok(*profile),
            _ => Err(unexpected("SetProfile")),
        }
    }
}

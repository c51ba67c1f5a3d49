//! How a person's client gets a session, keeps it, and ends it. Needs no service key, and is paced per address.

use antiphon_core::refusal::{Code, Refusal};
use axum::Json;
use axum::extract::State as Extracted;
use axum::response::{IntoResponse as _, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderMap, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::State;
use super::body::{Body, Place};
use super::caller::{Backend, Stranger};
use super::idempotency::NoKey;
use super::moment;
use super::people::existing;
use super::problem::Problem;
use super::route::Route;
use crate::auth::{Opened, bearer};

pub(super) fn routes() -> Vec<Route> {
    let group = "Login";
    let opened = "The session. `token` goes into `auth.token` of a socket, `refreshToken` gets the next session, once.";
    let often = "There were too many tries from this address or for this name.";
    vec![
        Route::post("login", "/v1/login", login)
            .says(group, "Log in with a password", "")
            .takes::<Login>(json!({"person": "user-123", "password": "correct horse battery staple"}))
            .gives(StatusCode::OK, opened, &SessionView::example())
            .refuses(StatusCode::UNAUTHORIZED, "The name or the password is wrong.")
            .refuses(StatusCode::TOO_MANY_REQUESTS, often),
        Route::post("refresh", "/v1/login/refresh", refresh)
            .says(
                group,
                "Get the next session",
                "The old tokens are dead then. A refresh token that comes a second time was stolen from somebody: it ends the \
                 whole login.",
            )
            .takes::<Refresh>(json!({"refreshToken": "ref_…"}))
            .gives(StatusCode::OK, opened, &SessionView::example())
            .refuses(StatusCode::UNAUTHORIZED, "The token is not good, or not any more.")
            .refuses(StatusCode::TOO_MANY_REQUESTS, often),
        Route::post("logout", "/v1/logout", logout)
            .says(group, "Log out", "The session ends, and with it the connections that it opened. Sent twice, it is done once.")
            .for_sessions()
            .gives_nothing("There is no such session any more.")
            .refuses(StatusCode::TOO_MANY_REQUESTS, often),
        Route::post("walletNonce", "/v1/login/wallet/nonce", wallet_nonce)
            .says(
                group,
                "Get something for a wallet to sign",
                "With an `address`, the answer has the whole message (ERC-4361), to be signed as it is with `personal_sign`. \
                 Without one it has the nonce for a message that the client writes itself. Good once, for five minutes.",
            )
            .takes::<NonceWanted>(json!({"address": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"}))
            .gives(
                StatusCode::OK,
                "What to sign.",
                &Nonce {
                    nonce: "k2vQ0mZ8f3aT5sX1yB7nC4dE6gH9jL0p".into(),
                    expires_at: "2026-11-20T16:05:00.123Z".into(),
                    message: None,
                },
            )
            .refuses(StatusCode::TOO_MANY_REQUESTS, often),
        Route::post("walletLogin", "/v1/login/wallet", wallet_login)
            .says(group, "Log in with a wallet", "The signature opens one session, for the person whose wallet it is.")
            .takes::<WalletLogin>(json!({"message": SIGNED, "signature": format!("0x{}1b", "5a".repeat(64))}))
            .gives(StatusCode::OK, opened, &SessionView::example())
            .refuses(StatusCode::UNAUTHORIZED, "The signature or the message is not good.")
            .refuses(StatusCode::TOO_MANY_REQUESTS, often),
        Route::put("setPassword", "/v1/people/{person}/password", set_password)
            .says("People", "Give a person a password", "Sessions that are open stay open; to end them, revoke.")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .takes::<NewPassword>(json!({"password": "correct horse battery staple"}))
            .gives_nothing("It is set.")
            .refuses(StatusCode::NOT_FOUND, "There is no such person."),
    ]
}

/// What a wallet signs, for the document.
const SIGNED: &str = "example.org wants you to sign in with your Ethereum account:
0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266

Sign in to Antiphon.

URI: https://example.org
Version: 1
Chain ID: 1
Nonce: k2vQ0mZ8f3aT5sX1yB7nC4dE6gH9jL0p
Issued At: 2026-11-20T16:00:00.123Z
Expiration Time: 2026-11-20T16:05:00.123Z";

/// A name and a password. Cannot be printed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    /// The person's id.
    person: String,
    /// Their password.
    #[schema(value_type = String)]
    password: SecretString,
}

/// A refresh token. Cannot be printed.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Refresh {
    /// The one that came with the session before.
    #[schema(value_type = String)]
    refresh_token: SecretString,
}

/// For which wallet something to sign is wanted.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NonceWanted {
    /// The wallet's address, `0x` and 40 hexadecimal digits.
    address: Option<String>,
}

/// Something for a wallet to sign.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Nonce {
    /// Belongs into the message.
    nonce: String,
    /// Until when it is good.
    expires_at: String,
    /// The whole message, when an address was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// A message and its signature.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct WalletLogin {
    /// What was signed, to the byte (ERC-4361).
    message: String,
    /// The signature of the message (EIP-191), `0x` and 130 hexadecimal digits.
    signature: String,
    /// The wallet's address again; it has to be the one in the message.
    address: Option<String>,
}

/// A password. Cannot be printed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewPassword {
    /// 8 to 1,024 bytes.
    #[schema(value_type = String)]
    password: SecretString,
}

/// A session. Cannot be printed: it has the tokens.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Session)]
struct SessionView {
    /// Whose it is.
    person: String,
    /// The token that opens connections.
    token: String,
    /// Until when it does.
    expires_at: String,
    /// The token that gets the next session, once.
    refresh_token: String,
    /// Until when it does.
    refresh_until: String,
}

impl From<Opened> for SessionView {
    fn from(opened: Opened) -> Self {
        Self {
            person: opened.person.to_string(),
            token: opened.token.expose_secret().to_owned(),
            expires_at: moment::write(opened.expires_at),
            refresh_token: opened.refresh.expose_secret().to_owned(),
            refresh_until: moment::write(opened.refresh_until),
        }
    }
}

impl SessionView {
    fn example() -> Self {
        Self {
            person: "user-123".into(),
            token: "ses_…".into(),
            expires_at: "2026-11-21T16:00:00.123Z".into(),
            refresh_token: "ref_…".into(),
            refresh_until: "2026-12-20T16:00:00.123Z".into(),
        }
    }
}

/// A session as an answer that nobody between here and the client keeps.
fn given(opened: Opened) -> Response {
    ([(CACHE_CONTROL, "no-store")], Json(SessionView::from(opened))).into_response()
}

async fn login(
    Extracted(state): Extracted<State>,
    _: Stranger,
    _: NoKey,
    Body(Login { person, password }): Body<Login>,
) -> Result<Response, Problem> {
    Ok(given(state.shared.auth.login(&person, password, state.shared.now()).await?))
}

async fn refresh(
    Extracted(state): Extracted<State>,
    _: Stranger,
    _: NoKey,
    Body(Refresh { refresh_token }): Body<Refresh>,
) -> Result<Response, Problem> {
    Ok(given(state.shared.auth.refresh(&refresh_token, state.shared.now()).await?))
}

async fn logout(
    Extracted(state): Extracted<State>,
    _: Stranger,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let token = bearer(&headers).ok_or_else(|| {
        Refusal::new(Code::Unauthenticated, "Send the session's token as \"Authorization: Bearer ses_…\".")
    })?;
    state.shared.auth.logout(&SecretString::from(token), state.shared.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn wallet_nonce(
    Extracted(state): Extracted<State>,
    _: Stranger,
    _: NoKey,
    Body(NonceWanted { address }): Body<NonceWanted>,
) -> Result<Response, Problem> {
    let now = state.shared.now();
    let (message, challenge) = match address {
        Some(address) => {
            let (message, challenge) = state.shared.auth.wallet_message(&address, now).await?;
            (Some(message), challenge)
        }
        None => (None, state.shared.auth.wallet_challenge(now).await?),
    };
    let nonce = Nonce { nonce: challenge.nonce, expires_at: moment::write(challenge.expires_at), message };
    Ok(([(CACHE_CONTROL, "no-store")], Json(nonce)).into_response())
}

async fn wallet_login(
    Extracted(state): Extracted<State>,
    _: Stranger,
    _: NoKey,
    Body(WalletLogin { message, signature, address }): Body<WalletLogin>,
) -> Result<Response, Problem> {
    let now = state.shared.now();
    let opened = state.shared.auth.wallet_login(&message, &signature, address.as_deref(), now).await?;
    Ok(given(opened))
}

async fn set_password(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(person): Place<String>,
    Body(NewPassword { password }): Body<NewPassword>,
) -> Result<StatusCode, Problem> {
    let person = existing(&state, &person).await?;
    state.shared.auth.set_password(&person.id, password).await?;
    Ok(StatusCode::NO_CONTENT)
}

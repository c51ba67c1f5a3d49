//! Keys: issuing them, listing them, and taking them and other credentials back.

use antiphon_core::actor::{ApiKey, Holder};
use antiphon_core::ids::{KeyId, PersonId};
use antiphon_core::ports::Revoked;
use antiphon_core::refusal::Refusal;
use axum::Json;
use axum::extract::State as Extracted;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::CACHE_CONTROL;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;

use super::State;
use super::body::{Asked, Body, Place};
use super::caller::Backend;
use super::idempotency::NoKey;
use super::moment;
use super::problem::Problem;
use super::route::Route;
use super::span::{Span, check_limit};
use crate::auth::keys::Order;
use crate::auth::login_of;

pub(super) fn routes() -> Vec<Route> {
    let group = "Keys";
    let missing = "There is no such key.";
    vec![
        Route::get("keys", "/v1/keys", list)
            .says(group, "List keys", "All of them, in the order of their ids, a page at a time; never a secret.")
            .for_backends()
            .query("after", Type::String, "Only keys whose id comes after this one.", "cda_00000000")
            .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
            .gives(StatusCode::OK, "The keys.", &Page { keys: vec![KeyView::example()], next: None }),
        Route::post("issueKey", "/v1/keys", issue)
            .says(
                group,
                "Issue a key",
                "For a person, as their clients send it, or for another backend. The answer is the only place that ever has the \
                 secret; it is not kept here, so an `Idempotency-Key` is refused.",
            )
            .for_backends()
            .takes::<NewKey>(json!({"person": "user-123", "expiresAt": "2036-01-01T00:00:00.000Z"}))
            .gives(
                StatusCode::CREATED,
                "The key and its secret.",
                &Issued { key: KeyView::example(), secret: "cda_0f3a9c12…".into() },
            )
            .refuses(StatusCode::NOT_FOUND, "There is no such person or plan."),
        Route::get("key", "/v1/keys/{key}", read)
            .says(group, "Read what is known about a key", "")
            .for_backends()
            .segment("key", "The key's id.", "cda_0f3a9c12")
            .gives(StatusCode::OK, "The key.", &KeyView::example())
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::delete("revokeKey", "/v1/keys/{key}", revoke_key)
            .says(
                group,
                "Revoke a key",
                "It opens nothing any more, and within a second the connections that it opened are told and closed.",
            )
            .for_backends()
            .segment("key", "The key's id.", "cda_0f3a9c12")
            .gives_nothing("It is revoked.")
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::post("revoke", "/v1/revocations", revoke)
            .says(
                group,
                "Revoke credentials",
                "Everything that was issued until now under this name opens nothing any more, and within a second the \
                 connections that it opened are told and closed. Name exactly one: a `person` (everything that speaks for \
                 them), a `key`, a `session` by any of its tokens, or a `token` that somebody else signed.",
            )
            .for_backends()
            .takes::<Dead>(json!({"person": "user-456"}))
            .gives_nothing("They are revoked.")
            .refuses(StatusCode::NOT_FOUND, "There is no such key or person."),
    ]
}

/// What is known about a key. Never its secret.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
struct KeyView {
    /// Its public name: the beginning of the secret.
    id: String,
    /// The person for whom it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    person: Option<String>,
    /// The backend for which it speaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<String>,
    /// Whether it speaks for the operator.
    operator: bool,
    /// The dialects that it opens; absent when it opens all.
    #[serde(skip_serializing_if = "Option::is_none")]
    dialects: Option<Vec<String>>,
    /// The plan that counts in place of the person's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// When it was made.
    created_at: String,
    /// From when on it opens nothing; absent when it does not expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    /// When it was revoked; absent while it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        let (person, service, operator) = match key.holder {
            Holder::Person(id) => (Some(id.to_string()), None, false),
            Holder::Service(name) => (None, Some(name), false),
            Holder::Operator => (None, None, true),
        };
        Self {
            id: key.id.to_string(),
            person,
            service,
            operator,
            dialects: key.dialects,
            plan: key.plan,
            created_at: moment::write(key.created_at),
            expires_at: key.expires_at.map(moment::write),
            revoked_at: key.revoked_at.map(moment::write),
        }
    }
}

impl KeyView {
    fn example() -> Self {
        Self {
            id: "cda_0f3a9c12".into(),
            person: Some("user-123".into()),
            service: None,
            operator: false,
            dialects: None,
            plan: None,
            created_at: "2026-11-20T16:00:00.123Z".into(),
            expires_at: Some("2036-01-01T00:00:00.000Z".into()),
            revoked_at: None,
        }
    }
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Keys)]
struct Page {
    /// The keys, in the order of their ids.
    keys: Vec<KeyView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A key to issue: for a `person` or for a `service`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    /// The person for whom it speaks.
    person: Option<String>,
    /// The backend for which it speaks: a name of 1 to 128 bytes.
    service: Option<String>,
    /// The dialects that it opens, by name (`chat`), and `api` for this API. Default: all.
    dialects: Option<Vec<String>>,
    /// The plan that counts in place of the person's own.
    plan: Option<String>,
    /// From when on it opens nothing. Default: never.
    expires_at: Option<String>,
}

/// A key that was just made. Cannot be printed: it has the secret.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedKey)]
struct Issued {
    /// What is known about it.
    key: KeyView,
    /// The secret. It is shown this once.
    secret: String,
}

/// What to revoke: exactly one of these. Cannot be printed: it may have a secret.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Revocation)]
struct Dead {
    /// Everything that speaks for a person.
    person: Option<String>,
    /// A key, by its id.
    key: Option<String>,
    /// A login, by any token that its session has or had.
    #[schema(value_type = Option<String>)]
    session: Option<SecretString>,
    /// A token that somebody else signed.
    token: Option<ForeignToken>,
}

/// A token that somebody else signed.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForeignToken {
    /// Who, as the configuration calls them.
    issuer: String,
    /// The token's own id (`jti`).
    id: String,
}

async fn list(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(Span { after, limit }): Asked<Span>,
) -> Result<Json<Page>, Problem> {
    check_limit(limit)?;
    let after = after.map(|id| KeyId::parse(&id)).transpose()?;
    let keys = state.shared.app.ports().store.keys(after.as_ref(), limit).await?;
    let is_full = keys.len() == limit as usize;
    let next = keys.last().filter(|_| is_full).map(|last| last.id.to_string());
    Ok(Json(Page { keys: keys.into_iter().map(KeyView::from).collect(), next }))
}

async fn read(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(key): Place<String>,
) -> Result<Json<KeyView>, Problem> {
    let key = state.shared.app.ports().store.key_by_id(&KeyId::parse(&key)?).await?;
    let key = key.ok_or_else(|| Refusal::not_found("There is no such key."))?;
    Ok(Json(key.into()))
}

async fn issue(
    Extracted(state): Extracted<State>,
    _: Backend,
    _: NoKey,
    Body(NewKey { person, service, dialects, plan, expires_at }): Body<NewKey>,
) -> Result<Response, Problem> {
    let holder = match (person, service) {
        (Some(person), None) => Holder::Person(PersonId::parse(&person)?),
        (None, Some(service)) => Holder::Service(service),
        _ => return Err(Problem::invalid("A key is for a `person` or for a `service`: name one.")),
    };
    let expires_at = expires_at.as_deref().map(moment::read).transpose()?;
    let order = Order { holder, dialects, plan, expires_at };
    let (key, secret) = state.shared.auth.issue_key(order, state.shared.now()).await?;
    let issued = Issued { key: key.into(), secret: secret.expose_secret().to_owned() };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, "no-store")], Json(issued)).into_response())
}

async fn revoke_key(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(key): Place<String>,
) -> Result<StatusCode, Problem> {
    let what = Revoked::Key(KeyId::parse(&key)?);
    state.shared.auth.revoke(what, state.shared.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(
    Extracted(state): Extracted<State>,
    _: Backend,
    Body(dead): Body<Dead>,
) -> Result<StatusCode, Problem> {
    let now = state.shared.now();
    let what = match dead {
        Dead { person: Some(id), key: None, session: None, token: None } => {
            Revoked::Person(super::people::existing(&state, &id).await?.id)
        }
        Dead { person: None, key: Some(id), session: None, token: None } => Revoked::Key(KeyId::parse(&id)?),
        Dead { person: None, key: None, session: Some(token), token: None } => {
            // Not by looking it up: one that was renewed since is found nowhere, and its login goes on.
            let Some(login) = login_of(&token) else { return Ok(StatusCode::NO_CONTENT) };
            Revoked::Session(login)
        }
        Dead { person: None, key: None, session: None, token: Some(ForeignToken { issuer, id }) } => {
            Revoked::Token { issuer, id }
        }
        _ => return Err(Problem::invalid("Name exactly one: `person`, `key`, `session` or `token`.")),
    };
    state.shared.auth.revoke(what, now).await?;
    Ok(StatusCode::NO_CONTENT)
}

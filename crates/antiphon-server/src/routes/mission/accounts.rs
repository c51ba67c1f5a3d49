//! People of the mission API: adding them, logging in, staying logged in and logging out.

use antiphon_core::access::Role;
use antiphon_core::actor::{FALLBACK_PLAN, Person};
use antiphon_core::ids::PersonId;
#[derive(Default)]
pub struct Profile {
    name: Option<String>,
    email: Option<String>,
    tz: u8,
}
impl Profile {
    fn check(&self) -> Result<(), Refusal> {
        Ok(())
    }
}
use antiphon_core::refusal::Refusal;
use antiphon_dialects::mission::moment::Naive;
use axum::Json;
use axum::Router;
use axum::extract::State as Extracted;
use axum::routing::{get, post};
use http::StatusCode;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::State;
use super::body::Body;
use super::caller::{Anybody, Asker, authenticate};
use super::problem::Problem;
use super::settings::Registration;
use super::{Message, Stranger, both, broken};
use crate::auth::{Own, Signed};

/// The roles of this API, the greatest first: of somebody who has several, the first is told.
const ROLES: [&str; 5] = ["super_admin", "agent_manager", "agent_operator", "auditor", "viewer"];

/// What people are who add themselves, and whom nobody says more about.
const VIEWER: &str = "viewer";

/// Longest address of mail, in bytes (RFC 5321, 4.5.3.1.3).
const LONGEST_EMAIL: usize = 254;

pub(super) fn routes(router: Router<State>) -> Router<State> {
    let router = both(router, "/auth/register", post(register));
    let router = both(router, "/auth/login", post(login));
    let router = both(router, "/auth/refresh", post(refresh));
    let router = both(router, "/auth/verify", get(verify));
    let router = both(router, "/auth/me", get(me));
    both(router, "/auth/logout", post(logout))
}

/// Somebody who is to be added. Cannot be printed.
#[derive(Deserialize)]
struct NewUser {
    email: String,
    username: String,
    full_name: Option<String>,
    #[serde(default = "viewer")]
    role: String,
    password: SecretString,
}

fn viewer() -> String {
    VIEWER.into()
}

/// A name and a password. Cannot be printed.
#[derive(Deserialize)]
struct Login {
    username: String,
    password: SecretString,
}

/// A token that is to be replaced by a newer one. Cannot be printed.
#[derive(Deserialize)]
struct Refresh {
    refresh_token: SecretString,
}

/// A token. Cannot be printed.
#[derive(Serialize)]
struct Token {
    access_token: String,
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
}

#[derive(Serialize)]
struct Verified {
    valid: bool,
    user_id: String,
}

/// A person as this API knows them.
#[derive(Serialize)]
struct User {
    id: String,
    username: String,
    email: Option<String>,
    full_name: Option<String>,
    role: Option<&'static str>,
    is_active: bool,
    created_at: Naive,
}

impl User {
    fn of(person: Person, profile: Profile) -> Self {
        Self {
            id: person.id.to_string(),
            username: person.id.to_string(),
            email: profile.email,
            full_name: profile.name,
            role: ROLES.into_iter().find(|role| person.roles.iter().any(|has| has == role)),
            // Whoever is revoked has no token to ask with.
            is_active: true,
            created_at: Naive(person.created_at),
        }
    }
}

async fn register(
    Extracted(state): Extracted<State>,
    _: Stranger,
    Anybody(asker): Anybody,
    Body(new): Body<NewUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let rules = asker.as_ref().is_some_and(Asker::rules);
    if state.shared().registration == Registration::Closed && !rules {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Registration is closed; an administrator adds people.",
        ));
    }
    if Role::named(&new.role).is_none() {
        let message = format!("This is one of: {}.", ROLES.join(", "));
        return Err(Problem::wrong(&["body", "role"], message));
    }
    if new.role != VIEWER && !rules {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "Only a super admin makes somebody more than a viewer.",
        ));
    }
    let wrong = |name: &str, refusal: Refusal| Problem::wrong(&["body", name], refusal.message);
    let id = PersonId::parse(&new.username).map_err(|refusal| wrong("username", refusal))?;
    if !is_address(&new.email) {
        return Err(Problem::wrong(&["body", "email"], "This is no address of mail."));
    }
    let profile = Profile { name: new.full_name, email: Some(new.email), ..Profile::default() };
    profile.check().map_err(|refusal| wrong("full_name", refusal))?;

    let person =
        Person { id, plan: FALLBACK_PLAN.into(), roles: vec![new.role], created_at: state.shared().now() };
    if !state.shared().auth.register(&person, new.password).await? {
        return Err(Problem::new(StatusCode::BAD_REQUEST, "Username already registered"));
    }
    Ok((StatusCode::CREATED, Json(User::of(person, profile))))
}

async fn login(
    Extracted(state): Extracted<State>,
    _: Stranger,
    Body(Login { username, password }): Body<Login>,
) -> Result<Json<Token>, Problem> {
    let person = state.shared().auth.prove(&username, password).await?;
    let now = state.shared().now();
    let signed = state.tokens()?.sign(&person, now).map_err(broken)?;
    Ok(Json(Token::of(&signed, now.0)))
}

async fn refresh(
    Extracted(state): Extracted<State>,
    _: Stranger,
    Body(Refresh { refresh_token }): Body<Refresh>,
) -> Result<Json<Token>, Problem> {
    let token = refresh_token.expose_secret();
    let actor = authenticate(&state, token).await?;
    let now = state.shared().now();
    let renewed = match actor.person() {
        Some(person) if Own::is_of_login(&actor) => {
            state.tokens()?.renew(token, person, now).map_err(broken)?
        }
        _ => None,
    };
    let signed = renewed.ok_or_else(Problem::invalid_authentication)?;
    Ok(Json(Token::of(&signed, now.0)))
}

async fn verify(asker: Asker) -> Json<Verified> {
    let user_id = asker.person().map_or_else(|| asker.actor.principal.to_string(), ToString::to_string);
    Json(Verified { valid: true, user_id })
}

async fn me(Extracted(state): Extracted<State>, asker: Asker) -> Result<Json<User>, Problem> {
    let nobody = || Problem::new(StatusCode::NOT_FOUND, "This key is a backend's, and no person's.");
    let id = asker.person().ok_or_else(nobody)?;
    let person =
        state.store().person(id).await.map_err(broken)?.ok_or_else(Problem::invalid_authentication)?;
    let profile = Profile::default();
    Ok(Json(User::of(person, profile)))
}

async fn logout(Extracted(state): Extracted<State>, asker: Asker) -> Result<Json<Message>, Problem> {
    let now = state.shared().now();
    let until = state.tokens()?.longest(now);
    if state.shared().auth.end(&asker.actor, now, until).await? {
        return Ok(Json(Message::new("Successfully logged out")));
    }
    Err(Problem::new(StatusCode::BAD_REQUEST, "A key is not logged out; whoever made it revokes it."))
}

impl Token {
    fn of(signed: &Signed, now: i64) -> Self {
        Self {
            access_token: signed.token.expose_secret().to_owned(),
            token_type: "bearer",
            expires_in: (signed.expires_at.0 - now) / 1_000,
        }
    }
}

/// Whether mail could be sent there; whether it arrives, nobody asks.
fn is_address(text: &str) -> bool {
    let is_part =
        |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace() || c.is_control());
    text.len() <= LONGEST_EMAIL
        && text.rsplit_once('@').is_some_and(|(name, host)| is_part(name) && is_part(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_of_the_core_is_known_here() {
        assert!(ROLES.iter().all(|role| Role::named(role).is_some()));
    }

    #[test]
    fn an_address_has_a_name_and_a_host() {
        for good in ["a@b", "ada.l+x@example.org", "\"a@b\"@c"] {
            assert!(is_address(good), "{good}");
        }
        let long = format!("{}@b", "x".repeat(LONGEST_EMAIL));
        for wrong in ["", "ada", "@b", "a@", "a b@c", "a@b\n", &long] {
            assert!(!is_address(wrong), "{wrong}");
        }
    }
}

//! Who asks: a backend with its service key, or anybody from an address.

use std::net::IpAddr;
use std::sync::Arc;

use antiphon_core::actor::{Actor, Caller};
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::{Code, Refusal};
use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::State;
use super::problem::Problem;

/// A backend whose service key was accepted, and that does not ask too often.
pub(super) struct Backend {
    actor: Arc<Actor>,
}

impl Backend {
    /// The service itself.
    pub(super) fn actor(&self) -> &Arc<Actor> {
        &self.actor
    }

    /// The name under which what it did once is remembered.
    pub(super) fn name(&self) -> String {
        self.actor.principal.to_string()
    }

    /// The service as the core sees who asks: not over a connection.
    pub(super) fn caller(&self) -> Caller {
        Caller { actor: self.actor.clone(), connection: None }
    }

    /// `person` as the core sees who asks, with the service acting for them. Somebody who does not exist is not found.
    pub(super) async fn caller_as(&self, state: &State, person: &PersonId) -> Result<Caller, Refusal> {
        let actor = state.shared.auth.impersonate(&self.actor, person).await?;
        Ok(Caller { actor, connection: None })
    }
}

impl FromRequestParts<State> for Backend {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            Refusal::new(Code::Unauthenticated, "Send a service key as \"Authorization: Bearer <key>\".")
        })?;
        let actor = state.shared.auth.authenticate_backend(token, state.shared.now()).await?;
        let backend = Self { actor };
        state.pace.count(backend.name(), 1)?;
        Ok(backend)
    }
}

/// Where a request comes from; put there by whoever knows the connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) IpAddr);

/// Somebody who wants to become somebody, and does not try too often from where they are.
pub(super) struct Stranger;

impl FromRequestParts<State> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let Some(Client(address)) = parts.extensions.get::<Client>() else {
            return Err(Refusal::internal().into());
        };
        if let Some(place) = state.shared.crowd.place(*address) {
            state.logins.count(place, 1)?;
        }
        Ok(Self)
    }
}

/// The token of an `Authorization: Bearer` header.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_comes_as_a_bearer_token_and_in_no_other_way() {
        let table = [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("abc", None),
        ];
        for (value, expected) in table {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            assert_eq!(bearer(&headers), expected, "{value}");
        }
    }
}

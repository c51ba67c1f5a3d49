//! Who asks: a backend with its service key, or anybody from an address.

use std::sync::Arc;

use antiphon_core::actor::{Actor, Caller};
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::{Code, Refusal};
use axum::extract::FromRequestParts;
use http::request::Parts;

use super::State;
use super::problem::Problem;
use crate::auth::bearer;
use crate::transport::handler::Client;

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

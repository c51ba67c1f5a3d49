//! Who asks: a person or a backend with a bearer token that opens the mission API, or a stranger from an address.

use std::sync::Arc;

use antiphon_core::access::{self, Action, Place};
use antiphon_core::actor::{Actor, Caller, Principal};
use antiphon_core::command::{Command, Outcome};
use antiphon_core::dialect::Credential;
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::topic::Topic;
use axum::extract::FromRequestParts;
use http::StatusCode;
use http::request::Parts;

use super::State;
use super::problem::Problem;
use crate::auth::bearer;

/// The dialect that a credential has to open.
const MISSION: &str = "mission";

/// Somebody whose token was accepted, and who does not ask too often.
pub(super) struct Asker {
    pub(super) actor: Arc<Actor>,
}

impl FromRequestParts<State> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)
            .ok_or_else(|| Problem::new(StatusCode::UNAUTHORIZED, "Not authenticated"))?;
        let actor = authenticate(state, token).await?;
        state.count(&actor.principal.to_string())?;
        Ok(Self { actor })
    }
}

/// Somebody with a token, or nobody in particular; a token that is not good is refused all the same.
pub(super) struct Anybody(pub(super) Option<Asker>);

impl FromRequestParts<State> for Anybody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        match bearer(&parts.headers) {
            Some(_) => Asker::from_request_parts(parts, state).await.map(|asker| Self(Some(asker))),
            None => Ok(Self(None)),
        }
    }
}

/// Whom `token` belongs to, if it opens this API.
pub(super) async fn authenticate(state: &State, token: &str) -> Result<Arc<Actor>, Problem> {
    let credential = Credential::Bearer(token.to_owned());
    let admitted = state.shared().auth.authenticate(&credential, MISSION, state.desk.now()).await;
    admitted.map_err(|refusal| match refusal.code {
        // Why a token is not good is nobody's business.
        Code::BadCredential | Code::Unauthenticated => Problem::invalid_authentication(),
        _ => refusal.into(),
    })
}

impl Asker {
    /// The person, if it is one.
    pub(super) fn person(&self) -> Option<&PersonId> {
        self.actor.person()
    }

    /// Whether they may make people what they like: who may do everything, and backends, which may anyway.
    pub(super) fn rules(&self) -> bool {
        match self.actor.principal {
            Principal::Service(_) | Principal::Operator => true,
            Principal::Person(_) => self.actor.roles.iter().any(|role| **role == *"super_admin"),
            Principal::Guest => false,
        }
    }

    /// Whether the core lets them do `action` where `topic` is.
    pub(super) fn may(&self, action: Action, topic: &Topic) -> Result<(), Refusal> {
        access::may(&self.actor, action, Place::of(topic))
    }

    /// Whether they may look at the work of all agents: said before anything is looked up, and as plainly as for what they may
    /// not do.
    pub(super) fn may_look(&self) -> Result<(), Problem> {
        let looked = self.may(Action::Read, &Topic::Dashboard);
        looked.map_err(|_| Problem::new(StatusCode::FORBIDDEN, "Your role does not allow that."))
    }

    /// Has the core do `command`.
    pub(super) async fn order(&self, state: &State, command: Command) -> Result<Outcome, Problem> {
        let caller = Caller { actor: self.actor.clone(), connection: None };
        Ok(state.desk.carry_out(&caller, command).await?)
    }
}

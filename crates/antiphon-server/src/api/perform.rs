//! Having the core do commands: alone or many in a row, as the service or as a person, and once for each key.

use antiphon_core::command::{Command, Once, Outcome};
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::State;
use super::body::Text;
use super::caller::Backend;
use super::idempotency::{self, Answer, Attempt, Ticket};
use super::orders::{Order, is_repeatable};
use super::problem::Problem;
use crate::auth::hex;
use crate::telemetry::{self, cut};

/// The body of a request of a backend, with all that makes it the same as another one.
pub(super) struct Errand {
    pub(super) text: Bytes,
    pub(super) key: Option<String>,
    parts: Parts,
}

impl FromRequest<State> for Errand {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let key = idempotency::key(&parts.headers)?;
        let Text(text) = Text::from_request(Request::from_parts(parts.clone(), body), state).await?;
        Ok(Self { text, key, parts })
    }
}

impl Errand {
    /// What makes this request of `backend` the same as another one.
    pub(super) fn ticket(&self, backend: &Backend) -> Ticket {
        Ticket {
            principal: backend.name(),
            key: self.key.clone(),
            fingerprint: idempotency::fingerprint(&self.parts, &self.text),
        }
    }
}

/// Has one command done, once for each key; `answer` says what came of it.
pub(super) async fn perform<F>(
    state: &State,
    backend: Backend,
    ticket: Ticket,
    mut order: Order,
    answer: impl FnOnce(State, Outcome) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = Answer> + Send,
{
    name_message(&mut order, &ticket, 0);
    let repeatable = is_repeatable(&order.command);
    let inside = state.clone();
    idempotency::once(state, ticket, repeatable, async move {
        Attempt::once(match carry_out(&inside, &backend, order).await {
            Ok(outcome) => Ok(answer(inside, outcome).await),
            Err(problem) => Err(problem),
        })
    })
    .await
}

/// Has commands done in their order, once for each key; every one is answered, whatever became of those before it.
pub(super) async fn perform_all(
    state: &State,
    backend: Backend,
    ticket: Ticket,
    mut orders: Vec<Order>,
    answer: impl FnOnce(Vec<Result<Outcome, Problem>>) -> Answer + Send + 'static,
) -> Response {
    for (index, order) in orders.iter_mut().enumerate() {
        name_message(order, &ticket, index);
    }
    let repeatable = orders.iter().all(|order| is_repeatable(&order.command));
    let inside = state.clone();
    idempotency::once(state, ticket, repeatable, async move {
        let mut results = Vec::with_capacity(orders.len());
        // Some failed for a passing reason, and doing the others again would change nothing.
        let mut again = false;
        let mut doubles = false;
        for order in orders {
            let repeatable = is_repeatable(&order.command);
            let result = carry_out(&inside, &backend, order).await;
            again |= result.as_ref().is_err_and(Problem::is_passing);
            doubles |= result.is_ok() && !repeatable;
            results.push(result);
        }
        Attempt { ended: Ok(answer(results)), again: again && !doubles }
    })
    .await
}

/// Has the core do one command, as the service or as the person that it is for.
pub(super) async fn carry_out(state: &State, backend: &Backend, order: Order) -> Result<Outcome, Problem> {
    tracing::debug!(backend = cut(&backend.name()), command = order.command.name(), "a backend asks");
    state.shared.breathe().await;
    let caller = match &order.person {
        Some(person) => backend.caller_as(state, person).await?,
        None => backend.caller(),
    };
    Ok(telemetry::carry_out(&state.shared.app, &caller, order.command).await?)
}

/// A message or a movement of tokens in a request with a key gets a name that follows from it, so that it is stored once even
/// if the request is worked on twice.
fn name_message(order: &mut Order, ticket: &Ticket, index: usize) {
    let Some(key) = &ticket.key else { return };
    let (Command::PostMessage { once, .. }
    | Command::Speak { once, .. }
    | Command::Withdraw { once, .. }
    | Command::Grant { once, .. }) = &mut order.command
    else {
        return;
    };
    if once.is_none() {
        *once = Some(Once { key: message_name(&ticket.principal, key, index) });
    }
}

/// A name that no other request and no client gives to a message.
fn message_name(principal: &str, key: &str, index: usize) -> String {
    let mut hash = Sha256::new();
    for part in [principal, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update((index as u64).to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    format!("request:{}", hex(&digest))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use antiphon_core::command::MAX_ONCE_BYTES;

    use super::*;

    #[test]
    fn every_message_of_every_request_has_a_name_of_its_own() {
        let names = [
            message_name("service:a", "k", 0),
            message_name("service:a", "k", 1),
            message_name("service:a", "l", 0),
            message_name("service:ak", "", 0),
        ];
        assert!(names.iter().all(|name| name.len() <= MAX_ONCE_BYTES));
        assert_eq!(names.into_iter().collect::<HashSet<_>>().len(), 4);
    }
}

//! The HTTP routes that apps of the companion API call beside their socket: what makes most of its events happen.
//!
//! | file | answers |
//! |---|---|
//! | `login` | how a wallet becomes a person |
//! | `people` | what there is to know about the person who asks |
//! | `personas` | whom one can talk to, and whom one has chosen |
//! | `chat`, `stream` | saying something and getting the answer, whole or as it goes |
//! | `history` | what was said |
//! | `tokens` | what one has, paying in, taking out, the daily reward |
//! | `health` | whether the server is there |
//! | `asker`, `body`, `boom` | who asks, what is sent, what a refusal looks like |
//! | `answers` | how a request waits for what an agent says |
//! | `window` | how often one may say something |
//! | `words` | how an agent's feelings and its persona are put |
//! | `settings` | what can be configured |
//!
//! Requests and answers are those of the application that this API comes from, to the letter; its errors have the shape that the
//! Boom library gave them. Everything is decided by the core. Events are on their way to every socket before an answer is written.

mod answers;
mod asker;
mod body;
mod boom;
mod chat;
mod health;
mod history;
mod login;
mod people;
mod personas;
mod settings;
mod stream;
mod tokens;
mod window;
mod words;

use std::sync::Arc;

use antiphon_core::actor::Caller;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::PersonId;
use antiphon_core::refusal::{Fault, Refusal};
use antiphon_core::topic::Topic;
use axum::Router;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use http::StatusCode;

pub use self::settings::Settings;
pub(crate) use self::settings::Terms;

use self::answers::Answers;
use self::boom::Boom;
use self::window::Windows;
use super::Desk;
use crate::api::Paces;
use crate::pace::Pace;
use crate::shared::Shared;
use crate::transport::crowd::Place;

/// What the dialect of these routes is called, for credentials that are limited to some.
const DIALECT: &str = "companion";

/// What every route has at hand.
type State = Arc<Counter>;

/// What all requests share.
struct Counter {
    desk: Desk,
    answers: Answers,
    /// Messages per person and minute.
    messages: Windows<PersonId>,
    /// Logins per address and minute.
    logins: Paces<Place>,
    /// Requests per person and backend.
    requests: Paces<String>,
    /// Requests per address, of those who need not say who they are.
    strangers: Paces<Place>,
    /// Payments that a person reports, per minute: each has the chain asked.
    deposits: Paces<PersonId>,
}

impl Counter {
    fn shared(&self) -> &Shared {
        &self.desk.shared
    }

    /// Does what `command` asks.
    async fn perform(&self, caller: &Caller, command: Command) -> Result<Outcome, Refusal> {
        self.desk.carry_out(caller, command).await
    }

    /// Returns once what was said to `person` until now is on its way to all of their sockets.
    async fn told(&self, person: &PersonId) {
        self.shared().listeners(&Topic::Person(person.clone())).await;
    }
}

/// The routes.
pub(super) fn router(desk: Desk) -> Router {
    let Terms { messages_per_minute, logins_per_minute, requests, .. } = desk.shared.companion;
    let counter = Counter {
        answers: Answers::new(desk.shared.app.ports().bus.clone()),
        messages: Windows::per_minute(messages_per_minute),
        logins: Paces::new(Pace::per_minute(logins_per_minute)),
        requests: Paces::new(requests),
        strangers: Paces::new(requests),
        deposits: Paces::new(Pace::per_minute(tokens::DEPOSITS_PER_MINUTE)),
        desk,
    };
    Router::new()
        .route("/auth/wallet-login", post(login::login))
        .route("/user/profile", get(people::profile))
        .route("/user/stats", get(people::stats))
        .route("/user/select-persona", post(personas::select))
        .route("/personas", get(personas::list))
        .route("/chat", post(chat::chat))
        .route("/chat/history", get(history::history))
        .route("/token/balance", get(tokens::balance))
        .route("/token/deposit", post(tokens::deposit))
        .route("/token/withdraw", post(tokens::withdraw))
        .route("/token/daily-reward", post(tokens::reward))
        .route("/health", get(health::health))
        .method_not_allowed_fallback(boom::not_found)
        .with_state(Arc::new(counter))
}

/// A request that does not get as far as a route, refused as the routes would.
pub(super) fn refuse(status: StatusCode, why: &'static str) -> Response {
    Boom::new(status, why).into_response()
}

/// What the store could not do, logged once, here.
fn broken(what: &'static str) -> impl FnOnce(Fault) -> Boom {
    move |fault| {
        tracing::error!(what, error = &fault as &dyn std::error::Error, "a route failed");
        Refusal::internal().into()
    }
}

/// An outcome that the command of the route does not have. It is a fault of ours, and told as one; what is in it may be private.
fn unexpected(command: &'static str) -> Boom {
    tracing::error!(command, "a command came to what it cannot come to");
    Refusal::internal().into()
}

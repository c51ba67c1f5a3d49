//! The chat API: apps in which a person talks to agents of their own, under `/api/socketio`.
//!
//! | file | answers |
//! |---|---|
//! | `inbound` | which command a client event is |
//! | `reply` | what the asking client is told about its event |
//! | `outbound` | how a core event is said |
//! | `relation` | how this API puts an agent's feelings into numbers and words |
//! | [`rooms`] | which topic a room name stands for |
//!
//! Below is the reference, `API.md`; the tests run its examples.
//!
#![doc = include_str!("API.md")]

mod inbound;
mod outbound;
mod relation;
mod reply;
pub mod rooms;

use antiphon_core::actor::Actor;
use antiphon_core::command::Outcome;
use antiphon_core::dialect::{Args, ConnectError, Credential, Dialect, Inbound, Out};
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::topic::Topic;

use crate::payload;
use rooms::Room;

/// The translator. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chat;

impl Dialect for Chat {
    fn name(&self) -> &'static str {
        "chat"
    }

    /// Always: a mount of this API has its own path, so whoever connects there means it.
    fn accepts(&self, _auth: Option<&str>) -> bool {
        true
    }

    fn credential(&self, auth: Option<&str>) -> Result<Credential, Refusal> {
        credential(auth)
    }

    fn refused(&self, why: &Refusal) -> ConnectError {
        refused(why)
    }

    /// `user:{userId}` and `global`. The latter is what brings presence to anybody.
    fn seats(&self, actor: &Actor) -> Vec<Topic> {
        let own = actor.person().map(|person| Room::User(person.clone()).topic());
        own.into_iter().chain([Room::Global.topic()]).collect()
    }

    fn welcome(&self, _actor: &Actor, _auth: Option<&str>, at: Timestamp, out: &mut Out) {
        outbound::welcome(at, out);
    }

    fn inbound(&self, event: &str, args: &Args, _at: Timestamp, _out: &mut Out) -> Inbound {
        inbound::inbound(event, args)
    }

    fn reply(&self, event: &str, outcome: &Result<Outcome, Refusal>, at: Timestamp, out: &mut Out) {
        reply::reply(event, outcome, at, out);
    }

    fn dismissed(&self, why: &Refusal, at: Timestamp, out: &mut Out) {
        reply::dismissed(why, at, out);
    }

    fn outbound(&self, event: &Event, out: &mut Out) {
        outbound::outbound(event, out);
    }
}

/// What is in `auth.token`: an API key, or a token that stands for one.
fn credential(auth: Option<&str>) -> Result<Credential, Refusal> {
    payload::token(auth)?
        .map(Credential::Bearer)
        .ok_or_else(|| Refusal::new(Code::Unauthenticated, "Please connect with an API key in auth.token."))
}

/// What a refused CONNECT is told. Clients compare these texts, so they are the documented ones, to the letter.
fn refused(why: &Refusal) -> ConnectError {
    let (message, data) = match why.code {
        Code::Unauthenticated => ("Authentication token required", None),
        Code::BadCredential => ("Invalid authentication token", None),
        Code::RateLimited { retry_after } => {
            ("Rate limit exceeded", Some(format!(r#"{{"retryAfterMs":{retry_after}}}"#)))
        }
        _ => ("Authentication failed", None),
    };
    ConnectError { message: message.into(), data }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_core::actor::{Plan, Principal};
    use antiphon_core::ids::PersonId;

    use super::*;

    fn actor(principal: Principal) -> Actor {
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        Actor::new(principal, Arc::new(plan))
    }

    #[test]
    fn a_person_hears_their_own_connections_and_everyone() {
        let ada = PersonId::parse("ada").expect("a plain id");
        assert_eq!(Chat.seats(&actor(Principal::Person(ada.clone()))), [Topic::Person(ada), Topic::Everyone]);
        assert_eq!(Chat.seats(&actor(Principal::Guest)), [Topic::Everyone]);
    }

    #[test]
    fn only_text_in_the_token_is_a_key() {
        let code = |auth| credential(auth).err().map(|refusal| refusal.code);
        assert!(credential(Some(r#"{"token":"k","other":1}"#)) == Ok(Credential::Bearer("k".into())));
        for missing in [None, Some("{}"), Some(r#"{"token":null}"#), Some(r#"{"token":""}"#), Some("[\"k\"]")]
        {
            assert_eq!(code(missing), Some(Code::Unauthenticated), "{missing:?}");
        }
        for unreadable in ["", "{", "\"token\"", "7"] {
            assert_eq!(code(Some(unreadable)), Some(Code::Unauthenticated), "{unreadable}");
        }
        for wrong in [r#"{"token":7}"#, r#"{"token":true}"#, r#"{"token":["k"]}"#, r#"{"token":{}}"#] {
            assert_eq!(code(Some(wrong)), Some(Code::BadCredential), "{wrong}");
        }
    }

    #[test]
    fn every_other_reason_is_an_authentication_that_failed() {
        for refusal in [Refusal::internal(), Refusal::forbidden(), Refusal::invalid("no")] {
            let told = refused(&refusal);
            assert_eq!((told.message.as_str(), told.data), ("Authentication failed", None));
        }
    }
}

//! The companion API: apps in which people talk to personas and pay with tokens.
//!
//! | file | answers |
//! |---|---|
//! | `inbound` | which command a client event is |
//! | `reply` | what the asking client is told about its event |
//! | `outbound` | how a core event is said |
//! | [`rooms`] | which topic a room name stands for |
//!
//! Below is the reference, `API.md`; the tests run its examples.
//!
#![doc = include_str!("API.md")]

mod inbound;
mod outbound;
mod reply;
pub mod rooms;

use antiphon_core::actor::Actor;
use antiphon_core::command::Outcome;
use antiphon_core::dialect::{Args, ConnectError, Credential, Dialect, Inbound, Out};
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::topic::Topic;
use serde_json::Value;

use rooms::Room;

/// The translator. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Companion;

impl Dialect for Companion {
    fn name(&self) -> &'static str {
        "companion"
    }

    /// Unless there is a `token` and no `walletAddress`: who connects like that on the same path means another API.
    fn accepts(&self, auth: Option<&str>) -> bool {
        let auth = read(auth);
        auth.get("walletAddress").is_some() || auth.get("token").is_none()
    }

    fn credential(&self, auth: Option<&str>) -> Result<Credential, Refusal> {
        credential(auth)
    }

    fn refused(&self, why: &Refusal) -> ConnectError {
        reply::refused(why)
    }

    /// `user:{userId}`, and what agents say to that person, in whichever conversation. Nothing until it is known who it is.
    fn seats(&self, actor: &Actor) -> Vec<Topic> {
        let Some(person) = actor.person() else { return Vec::new() };
        vec![Room(person.clone()).topic(), Topic::Inbox(person.clone())]
    }

    fn welcome(&self, _actor: &Actor, _auth: Option<&str>, _at: Timestamp, _out: &mut Out) {}

    fn inbound(&self, event: &str, args: &Args, _at: Timestamp, _out: &mut Out) -> Inbound {
        inbound::inbound(event, args)
    }

    fn reply(&self, _event: &str, outcome: &Result<Outcome, Refusal>, _at: Timestamp, out: &mut Out) {
        reply::reply(outcome, out);
    }

    fn dismissed(&self, why: &Refusal, at: Timestamp, out: &mut Out) {
        reply::dismissed(why, at, out);
    }

    fn outbound(&self, event: &Event, out: &mut Out) {
        outbound::outbound(event, out);
    }
}

/// What is in `auth.token`: a token that stands for a login. `walletAddress` says nothing yet; `join` does.
fn credential(auth: Option<&str>) -> Result<Credential, Refusal> {
    match read(auth).get("token") {
        None | Some(Value::Null) => Ok(Credential::None),
        Some(Value::String(token)) if token.is_empty() => Ok(Credential::None),
        Some(Value::String(token)) => Ok(Credential::Bearer(token.clone())),
        Some(_) => Err(Refusal::new(Code::BadCredential, "The token must be text.")),
    }
}

/// Text that is not JSON brings nothing, like no text.
fn read(auth: Option<&str>) -> Value {
    auth.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_core::actor::{Plan, Principal};
    use antiphon_core::ids::PersonId;

    use super::*;

    fn seats(principal: Principal) -> Vec<Topic> {
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        Companion.seats(&Actor::new(principal, Arc::new(plan)))
    }

    #[test]
    fn nobody_hears_anything_until_it_is_known_who_they_are() {
        let ada = PersonId::parse("ada").expect("a plain id");
        assert_eq!(seats(Principal::Guest), []);
        assert_eq!(seats(Principal::Person(ada.clone())), [Topic::Person(ada.clone()), Topic::Inbox(ada)]);
    }

    #[test]
    fn a_token_alone_is_for_another_api() {
        for mine in [
            None,
            Some(""),
            Some("{}"),
            Some("null"),
            Some("[]"),
            Some("\"token\""),
            Some("{\"token\""),
            Some(r#"{"walletAddress":"0x1"}"#),
            Some(r#"{"walletAddress":null,"token":"t"}"#),
            Some(r#"{"walletAddress":"0x1","token":"t"}"#),
        ] {
            assert!(Companion.accepts(mine), "{mine:?}");
        }
        for other in [r#"{"token":"t"}"#, r#"{"token":""}"#, r#"{"token":null}"#, r#"{"token":7,"wallet":1}"#]
        {
            assert!(!Companion.accepts(Some(other)), "{other}");
        }
    }

    #[test]
    fn only_text_in_the_token_is_a_credential() {
        let with = |token: &str| credential(Some(&format!(r#"{{"walletAddress":"0x1","token":{token}}}"#)));
        assert!(with("\"t\"") == Ok(Credential::Bearer("t".into())));
        for nothing in ["null", "\"\""] {
            assert!(with(nothing) == Ok(Credential::None), "{nothing}");
        }
        for wrong in ["7", "true", "[]", "{}"] {
            assert_eq!(with(wrong).err().map(|refusal| refusal.code), Some(Code::BadCredential), "{wrong}");
        }
        for nothing in [None, Some("{"), Some("[]"), Some(r#"{"walletAddress":"0x1"}"#)] {
            assert!(credential(nothing) == Ok(Credential::None), "{nothing:?}");
        }
    }
}

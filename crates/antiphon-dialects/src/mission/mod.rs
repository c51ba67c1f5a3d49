//! The mission API: dashboards that watch agents at work, under `/ws`, and agents that report over HTTP.
//!
//! | file | answers |
//! |---|---|
//! | `inbound` | which command a client event is |
//! | `reply` | what the asking client is told about its event |
//! | `outbound` | how a core event is said |
//! | [`moment`] | how this API writes a moment |
//! | [`rooms`] | which topic a room name stands for |
//! | [`words`] | which words there are for how urgent, how far and how somebody is |
//!
//! Below is the reference, `API.md`; the tests run its examples.
//!
#![doc = include_str!("API.md")]

mod inbound;
pub mod moment;
mod outbound;
mod reply;
pub mod rooms;
pub mod words;

use antiphon_core::access::{self, Action, Place};
use antiphon_core::actor::Actor;
use antiphon_core::command::Outcome;
use antiphon_core::dialect::{Args, ConnectError, Credential, Dialect, Inbound, Out};
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::topic::Topic;

use crate::payload;
pub use outbound::MessageTold;

/// The translator. It has no state.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mission;

impl Dialect for Mission {
    fn name(&self) -> &'static str {
        "mission"
    }

    /// Always, so that whoever brings no token is told so. On a mount that is shared this dialect comes last.
    fn accepts(&self, _auth: Option<&str>) -> bool {
        true
    }

    fn credential(&self, auth: Option<&str>) -> Result<Credential, Refusal> {
        payload::token(auth)?
            .map(Credential::Bearer)
            .ok_or_else(|| Refusal::new(Code::Unauthenticated, "Please connect with a token in auth.token."))
    }

    fn refused(&self, why: &Refusal) -> ConnectError {
        refused(why)
    }

    /// `dashboard`, for whoever may look at the work of all agents.
    fn seats(&self, actor: &Actor) -> Vec<Topic> {
        let may = access::may(actor, Action::Listen, Place::of(&Topic::Dashboard));
        may.map(|()| Topic::Dashboard).into_iter().collect()
    }

    /// Nothing: the first thing that a client of this API hears is what it asked for.
    fn welcome(&self, _actor: &Actor, _auth: Option<&str>, _at: Timestamp, _out: &mut Out) {}

    fn inbound(&self, event: &str, args: &Args, _at: Timestamp, out: &mut Out) -> Inbound {
        inbound::inbound(event, args, out)
    }

    fn reply(&self, event: &str, outcome: &Result<Outcome, Refusal>, _at: Timestamp, out: &mut Out) {
        reply::reply(event, outcome, out);
    }

    fn dismissed(&self, why: &Refusal, _at: Timestamp, out: &mut Out) {
        reply::error(&why.message, out);
    }

    fn outbound(&self, event: &Event, out: &mut Out) {
        outbound::outbound(event, out);
    }
}

/// What a refused CONNECT is told. Clients compare the first two texts, so they are the documented ones, to the letter.
fn refused(why: &Refusal) -> ConnectError {
    let message = match why.code {
        Code::Unauthenticated => "Authentication required",
        Code::BadCredential => "Invalid authentication",
        _ => &why.message,
    };
    let data = match why.code {
        Code::RateLimited { retry_after } | Code::Unavailable { retry_after } => {
            Some(format!(r#"{{"retryAfterMs":{retry_after}}}"#))
        }
        _ => None,
    };
    ConnectError { message: message.into(), data }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_core::actor::{Plan, Principal};
    use antiphon_core::ids::PersonId;

    use super::*;

    fn actor(principal: Principal, roles: &[&str]) -> Actor {
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        let roles = roles.iter().map(|role| Arc::from(*role)).collect();
        Actor { roles, ..Actor::new(principal, Arc::new(plan)) }
    }

    #[test]
    fn the_dashboard_is_for_whoever_may_look_at_the_work_of_all() {
        let ada = || Principal::Person(PersonId::parse("ada").expect("a plain id"));
        for role in ["super_admin", "agent_manager", "agent_operator", "viewer", "auditor"] {
            assert_eq!(Mission.seats(&actor(ada(), &[role])), [Topic::Dashboard], "{role}");
        }
        assert_eq!(Mission.seats(&actor(Principal::Service("fleet".into()), &[])), [Topic::Dashboard]);
        assert_eq!(Mission.seats(&actor(Principal::Operator, &[])), [Topic::Dashboard]);
        for roles in [&[][..], &["admin"], &["Viewer", ""]] {
            assert_eq!(Mission.seats(&actor(ada(), roles)), [], "{roles:?}");
        }
        assert_eq!(Mission.seats(&actor(Principal::Guest, &["super_admin"])), []);
    }

    #[test]
    fn only_text_in_the_token_is_one() {
        let code = |auth| Mission.credential(auth).err().map(|refusal| refusal.code);
        assert!(Mission.credential(Some(r#"{"token":"a.b.c"}"#)) == Ok(Credential::Bearer("a.b.c".into())));
        for missing in
            [None, Some("{}"), Some(r#"{"token":null}"#), Some(r#"{"token":""}"#), Some("[]"), Some("{")]
        {
            assert_eq!(code(missing), Some(Code::Unauthenticated), "{missing:?}");
        }
        for wrong in [r#"{"token":7}"#, r#"{"token":["k"]}"#, r#"{"token":{}}"#] {
            assert_eq!(code(Some(wrong)), Some(Code::BadCredential), "{wrong}");
        }
    }
}

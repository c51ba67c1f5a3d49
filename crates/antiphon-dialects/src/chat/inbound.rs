//! Which command a client event is.
//!
//! `userId` is optional in every payload: the API key already says who it is. If it is there, it is a claim that the core
//! compares with the key.

use antiphon_core::actor::Claim;
use antiphon_core::command::{Command, Once};
use antiphon_core::dialect::{Args, Inbound};
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::presence::Status;
use antiphon_core::refusal::Refusal;
use serde::Deserialize;

use crate::payload;

/// The whole of what a client may say. All other names are unknown, those that only the server says among them.
pub(super) fn inbound(event: &str, args: &Args) -> Inbound {
    let command = match event {
        "chat:join" => join(args),
        "chat:leave" => leave(args),
        "chat:message" => message(args),
        "chat:typing" => typing(args),
        "agent:subscribe" => subscribe(args),
        "agent:unsubscribe" => unsubscribe(args),
        "presence:online" => presence(args, Status::Online),
        "presence:offline" => presence(args, Status::Offline),
        _ => return Inbound::Unknown,
    };
    match command {
        Ok(command) => Inbound::Command(command),
        Err(refusal) => Inbound::Refused(refusal),
    }
}

/// `chat:join`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JoinPayload {
    agent_id: String,
    user_id: Option<String>,
    after: Option<u64>,
}

/// `chat:leave`, `agent:subscribe`, `agent:unsubscribe`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentPayload {
    agent_id: String,
    user_id: Option<String>,
}

/// `chat:message`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessagePayload {
    agent_id: String,
    message: String,
    user_id: Option<String>,
    client_message_id: Option<String>,
}

/// `chat:typing`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypingPayload {
    agent_id: String,
    is_typing: bool,
    user_id: Option<String>,
}

/// `presence:online`, `presence:offline`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PresencePayload {
    user_id: Option<String>,
}

const JOIN_NEEDED: &str = "This event needs an object with agentId as text; userId is optional, and text if present; \
     after is optional, and a whole number from 0 if present.";
const AGENT_NEEDED: &str =
    "This event needs an object with agentId as text; userId is optional, and text if present.";
const MESSAGE_NEEDED: &str = "This event needs an object with agentId and message as text; \
     userId and clientMessageId are optional, and text if present.";
const TYPING_NEEDED: &str = "This event needs an object with agentId as text and isTyping as true or false; \
     userId is optional, and text if present.";
const PRESENCE_NEEDED: &str = "This event needs an object; userId is optional, and text if present.";

fn join(args: &Args) -> Result<Command, Refusal> {
    let payload: JoinPayload = payload::object(args, JOIN_NEEDED)?;
    Ok(Command::JoinConversation {
        agent: AgentId::parse(&payload.agent_id)?,
        person: claim(payload.user_id)?,
        after: payload.after,
    })
}

fn leave(args: &Args) -> Result<Command, Refusal> {
    let (agent, person) = agent_and_claim(args)?;
    Ok(Command::LeaveConversation { agent, person })
}

fn subscribe(args: &Args) -> Result<Command, Refusal> {
    let (agent, person) = agent_and_claim(args)?;
    Ok(Command::WatchAgent { agent, person })
}

fn unsubscribe(args: &Args) -> Result<Command, Refusal> {
    let (agent, person) = agent_and_claim(args)?;
    Ok(Command::UnwatchAgent { agent, person })
}

fn message(args: &Args) -> Result<Command, Refusal> {
    let payload: MessagePayload = payload::object(args, MESSAGE_NEEDED)?;
    Ok(Command::PostMessage {
        agent: AgentId::parse(&payload.agent_id)?,
        person: claim(payload.user_id)?,
        text: payload.message,
        once: payload.client_message_id.as_deref().map(Once::parse).transpose()?,
        price: None,
    })
}

fn typing(args: &Args) -> Result<Command, Refusal> {
    let payload: TypingPayload = payload::object(args, TYPING_NEEDED)?;
    Ok(Command::SetTyping {
        agent: AgentId::parse(&payload.agent_id)?,
        person: claim(payload.user_id)?,
        active: payload.is_typing,
    })
}

fn presence(args: &Args, status: Status) -> Result<Command, Refusal> {
    let payload: PresencePayload = payload::object(args, PRESENCE_NEEDED)?;
    Ok(Command::SetPresence { person: claim(payload.user_id)?, status })
}

fn agent_and_claim(args: &Args) -> Result<(AgentId, Claim), Refusal> {
    let payload: AgentPayload = payload::object(args, AGENT_NEEDED)?;
    Ok((AgentId::parse(&payload.agent_id)?, claim(payload.user_id)?))
}

fn claim(user_id: Option<String>) -> Result<Claim, Refusal> {
    match user_id {
        None => Ok(Claim::NONE),
        Some(id) => PersonId::parse(&id).map(Claim::of),
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::refusal::Code;

    use super::*;

    /// Every client event, with all that it needs except `userId`.
    const EVENTS: [(&str, &str); 8] = [
        ("chat:join", r#""agentId":"luna","#),
        ("chat:leave", r#""agentId":"luna","#),
        ("chat:message", r#""agentId":"luna","message":"Hi","#),
        ("chat:typing", r#""agentId":"luna","isTyping":true,"#),
        ("agent:subscribe", r#""agentId":"luna","#),
        ("agent:unsubscribe", r#""agentId":"luna","#),
        ("presence:online", ""),
        ("presence:offline", ""),
    ];

    fn said(event: &str, json: &str) -> Inbound {
        inbound(event, &Args::new(json.into(), Vec::new()))
    }

    fn claim_in(event: &str, json: &str) -> Claim {
        match said(event, json) {
            Inbound::Command(
                Command::JoinConversation { person, .. }
                | Command::LeaveConversation { person, .. }
                | Command::PostMessage { person, .. }
                | Command::SetTyping { person, .. }
                | Command::WatchAgent { person, .. }
                | Command::UnwatchAgent { person, .. }
                | Command::SetPresence { person, .. },
            ) => person,
            other => panic!("{event} {json} became {other:?}"),
        }
    }

    fn is_invalid(event: &str, json: &str) -> bool {
        matches!(said(event, json), Inbound::Refused(Refusal { code: Code::Invalid, .. }))
    }

    #[test]
    fn a_user_id_is_a_claim_and_its_absence_is_none() {
        let ada = Claim::of(PersonId::parse("ada").expect("a plain id"));
        for (event, needed) in EVENTS {
            assert_eq!(claim_in(event, &format!(r#"[{{{needed}"userId":"ada"}}]"#)), ada, "{event}");
            assert_eq!(claim_in(event, &format!(r#"[{{{needed}"userId":null}}]"#)), Claim::NONE, "{event}");
            assert_eq!(claim_in(event, &format!(r#"[{{{needed}"x":{{}}}}]"#)), Claim::NONE, "{event}");
        }
    }

    #[test]
    fn a_user_id_that_is_no_id_is_refused() {
        for (event, needed) in EVENTS {
            for wrong in ["7", "true", "[]", "{}", r#""""#, r#""a\u0000b""#] {
                assert!(is_invalid(event, &format!(r#"[{{{needed}"userId":{wrong}}}]"#)), "{event} {wrong}");
            }
        }
    }

    #[test]
    fn a_payload_that_is_no_object_is_refused() {
        for (event, _) in EVENTS {
            for wrong in ["[]", "[null]", "[7]", r#"["luna"]"#, r#"[["luna","ada"]]"#, "[[]]"] {
                assert!(is_invalid(event, wrong), "{event} {wrong}");
            }
        }
    }

    #[test]
    fn what_an_event_needs_must_be_there_and_of_its_type() {
        for event in ["chat:join", "chat:leave", "agent:subscribe", "agent:unsubscribe"] {
            for wrong in ["[{}]", r#"[{"agentId":null}]"#, r#"[{"agentId":7}]"#, r#"[{"agentId":""}]"#] {
                assert!(is_invalid(event, wrong), "{event} {wrong}");
            }
        }
        assert!(is_invalid("chat:message", r#"[{"agentId":"luna"}]"#));
        assert!(is_invalid("chat:message", r#"[{"agentId":"luna","message":["Hi"]}]"#));
        assert!(is_invalid("chat:message", r#"[{"message":"Hi"}]"#));
        assert!(is_invalid("chat:typing", r#"[{"agentId":"luna"}]"#));
        assert!(is_invalid("chat:typing", r#"[{"agentId":"luna","isTyping":"true"}]"#));
    }

    #[test]
    fn a_client_may_name_its_message() {
        let name = |value: &str| {
            let json = format!(r#"[{{"agentId":"luna","message":"Hi","clientMessageId":{value}}}]"#);
            match said("chat:message", &json) {
                Inbound::Command(Command::PostMessage { once, .. }) => Ok(once.map(|once| once.key)),
                Inbound::Refused(refusal) => Err(refusal.code),
                other => panic!("{json} became {other:?}"),
            }
        };
        assert_eq!(name(r#""m-1""#), Ok(Some("m-1".into())));
        assert_eq!(name("null"), Ok(None));
        for wrong in [r#""""#.to_owned(), format!("{:?}", "x".repeat(129)), "7".into(), "[]".into()] {
            assert_eq!(name(&wrong), Err(Code::Invalid), "{wrong}");
        }
    }

    #[test]
    fn a_position_is_a_whole_number_from_0_or_absent() {
        let after =
            |value: &str| match said("chat:join", &format!(r#"[{{"agentId":"luna","after":{value}}}]"#)) {
                Inbound::Command(Command::JoinConversation { after, .. }) => Ok(after),
                Inbound::Refused(refusal) => Err(refusal.code),
                other => panic!("{value} became {other:?}"),
            };
        assert_eq!(after("null"), Ok(None));
        for position in [0, 41, u64::MAX] {
            assert_eq!(after(&position.to_string()), Ok(Some(position)));
        }
        for wrong in ["-1", "1.5", "1e3", r#""41""#, "true", "[41]", "{}", "18446744073709551616"] {
            assert_eq!(after(wrong), Err(Code::Invalid), "{wrong}");
        }
    }

    #[test]
    fn an_attachment_in_place_of_text_is_refused() {
        let json = r#"[{"agentId":"luna","message":{"_placeholder":true,"num":0}}]"#;
        let args = Args::new(json.into(), vec![b"Hi".to_vec()]);
        assert!(matches!(inbound("chat:message", &args), Inbound::Refused(_)));
    }

    #[test]
    fn a_client_cannot_say_what_the_server_says() {
        for event in [
            "chat:message:stream",
            "chat:message:complete",
            "chat:error",
            "relation:updated",
            "agent:updated",
            "agent:deleted",
            "presence:update",
            "presence:user:online",
            "presence:user:offline",
            "system:connection",
            "system:notification",
        ] {
            assert!(matches!(said(event, r#"[{"agentId":"luna"}]"#), Inbound::Unknown), "{event}");
        }
    }

    #[test]
    fn names_are_compared_exactly() {
        for event in [
            "",
            "chat:Join",
            "chat:join ",
            "chat",
            "__proto__",
            "constructor",
            "connect",
            "disconnect",
            "error",
        ] {
            assert!(matches!(said(event, r#"[{"agentId":"luna"}]"#), Inbound::Unknown), "{event}");
        }
    }
}

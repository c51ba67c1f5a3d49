//! Which command a client event is.

use antiphon_core::command::Command;
use antiphon_core::dialect::{Args, Inbound, Out};
use antiphon_core::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::outbound;
use super::reply;
use super::rooms::Room;
use crate::payload;

/// The whole of what a client may say. All other names are unknown, those that only the server says among them.
pub(super) fn inbound(event: &str, args: &Args, out: &mut Out) -> Inbound {
    let understood = match event {
        "subscribe" => subscribe(args),
        "unsubscribe" => unsubscribe(args, out),
        "heartbeat" => heartbeat(args, out),
        _ => return Inbound::Unknown,
    };
    understood.unwrap_or_else(Inbound::Refused)
}

const ROOM_NEEDED: &str = "Room name required";
const FORMAT_NEEDED: &str = "Invalid room format";
const HEARTBEAT_NEEDED: &str = "A heartbeat is an object; its timestamp is said back.";

/// `subscribe`, `unsubscribe`.
#[derive(Deserialize)]
struct RoomPayload {
    #[serde(default)]
    room: Value,
}

/// `heartbeat`, and its acknowledgement. The timestamp is the client's own, to the letter.
#[derive(Deserialize, Serialize)]
struct Heartbeat {
    timestamp: Option<Box<RawValue>>,
}

/// What a payload says about a room.
enum Named {
    Nothing,
    Text(String),
    Otherwise,
}

fn named(args: &Args) -> Result<Named, Refusal> {
    let RoomPayload { room } = payload::object(args, ROOM_NEEDED)?;
    Ok(match room {
        Value::String(name) if !name.is_empty() => Named::Text(name),
        Value::String(_) | Value::Null | Value::Bool(false) => Named::Nothing,
        Value::Number(number) if number.as_f64() == Some(0.0) => Named::Nothing,
        Value::Array(list) if list.is_empty() => Named::Nothing,
        Value::Object(object) if object.is_empty() => Named::Nothing,
        Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => Named::Otherwise,
    })
}

/// Everybody who may is in `dashboard` from the start, so it is documented as a room that cannot be asked for.
fn subscribe(args: &Args) -> Result<Inbound, Refusal> {
    match named(args)? {
        Named::Nothing => Err(Refusal::invalid(ROOM_NEEDED)),
        Named::Otherwise => Err(Refusal::invalid(FORMAT_NEEDED)),
        Named::Text(name) => match Room::parse(&name)? {
            Room::Dashboard => Err(Refusal::invalid(FORMAT_NEEDED)),
            room => Ok(Inbound::Command(Command::Watch { topic: room.topic(), name: name.into() })),
        },
    }
}

/// Any room can be left, also one that nobody can be in.
fn unsubscribe(args: &Args, out: &mut Out) -> Result<Inbound, Refusal> {
    match named(args)? {
        // The documented answer is silence; an acknowledgement that was asked for is honest.
        Named::Nothing => reply::refused(&Refusal::invalid(ROOM_NEEDED), out),
        Named::Otherwise => return Err(Refusal::invalid(FORMAT_NEEDED)),
        Named::Text(name) => match Room::parse(&name) {
            Ok(room) => {
                return Ok(Inbound::Command(Command::Unwatch { topic: room.topic(), name: name.into() }));
            }
            Err(_) => outbound::room("unsubscribed", &name, out),
        },
    }
    Ok(Inbound::Answered)
}

fn heartbeat(args: &Args, out: &mut Out) -> Result<Inbound, Refusal> {
    let heartbeat: Heartbeat = payload::object(args, HEARTBEAT_NEEDED)?;
    out.emit("heartbeat_ack", &heartbeat);
    Ok(Inbound::Answered)
}

#[cfg(test)]
mod tests {
    use antiphon_core::topic::Topic;

    use super::*;

    fn said(event: &str, json: &str) -> (Inbound, Vec<String>) {
        let mut out = Out::default();
        let inbound = inbound(event, &Args::new(json.into(), Vec::new()), &mut out);
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("JSON is text");
        (inbound, out.events().map(|(name, args)| format!("{name} {}", text(args))).collect())
    }

    fn refusal(event: &str, json: &str) -> Option<String> {
        match said(event, json) {
            (Inbound::Refused(refusal), told) if told.is_empty() => Some(refusal.message.into_owned()),
            _ => None,
        }
    }

    #[test]
    fn a_room_that_is_missing_and_one_that_is_none_are_told_apart() {
        for json in [
            "[]",
            "[null]",
            "[7]",
            "[\"agent:1\"]",
            "[[]]",
            "[{}]",
            r#"[{"room":null}]"#,
            r#"[{"room":""}]"#,
            r#"[{"room":0}]"#,
            r#"[{"room":false}]"#,
            r#"[{"room":[]}]"#,
            r#"[{"room":{}}]"#,
            r#"[{"Room":"x"}]"#,
        ] {
            assert_eq!(refusal("subscribe", json).as_deref(), Some("Room name required"), "{json}");
        }
        for json in [
            r#"[{"room":7}]"#,
            r#"[{"room":true}]"#,
            r#"[{"room":["agent:1"]}]"#,
            r#"[{"room":{"_placeholder":true,"num":0}}]"#,
            r#"[{"room":"dashboard"}]"#,
            r#"[{"room":"user:ada"}]"#,
            r#"[{"room":"agent:"}]"#,
        ] {
            assert_eq!(refusal("subscribe", json).as_deref(), Some("Invalid room format"), "{json}");
        }
    }

    #[test]
    fn the_dashboard_can_be_left_and_not_be_asked_for() {
        let (left, told) = said("unsubscribe", r#"[{"room":"dashboard"}]"#);
        assert!(
            matches!(left, Inbound::Command(Command::Unwatch { topic: Topic::Dashboard, .. })),
            "{left:?}"
        );
        assert!(told.is_empty(), "it is confirmed when it is done");
    }

    #[test]
    fn leaving_what_is_no_room_is_confirmed_and_leaving_nothing_is_silent() {
        let (inbound, told) = said("unsubscribe", r#"[{"room":"user:\"ada\""}]"#);
        assert!(matches!(inbound, Inbound::Answered));
        assert_eq!(told, [r#"unsubscribed {"room":"user:\"ada\""}"#]);
        for json in ["[{}]", r#"[{"room":null}]"#, r#"[{"room":""}]"#] {
            let (inbound, told) = said("unsubscribe", json);
            assert!(matches!(inbound, Inbound::Answered) && told.is_empty(), "{json}");
        }
        assert_eq!(refusal("unsubscribe", "[]").as_deref(), Some("Room name required"));
        assert_eq!(refusal("unsubscribe", r#"[{"room":7}]"#).as_deref(), Some("Invalid room format"));
    }

    #[test]
    fn a_heartbeat_is_said_back_to_the_letter() {
        for timestamp in [
            "1234567890",
            "1234567890.123",
            "12.50",
            "1e400",
            "0.1000000000000000055511151231257827",
            "\"a\\u0041\"",
            "null",
            "true",
            r#"{"a":[1,2]}"#,
        ] {
            let (_, told) = said("heartbeat", &format!(r#"[{{"more":1,"timestamp":{timestamp}}}]"#));
            assert_eq!(told, [format!(r#"heartbeat_ack {{"timestamp":{timestamp}}}"#)]);
        }
        let (_, told) = said("heartbeat", "[{}]");
        assert_eq!(told, [r#"heartbeat_ack {"timestamp":null}"#]);
        for json in ["[]", "[null]", "[1234567890]", "[[]]"] {
            assert_eq!(refusal("heartbeat", json).as_deref(), Some(HEARTBEAT_NEEDED), "{json}");
        }
    }

    #[test]
    fn a_client_cannot_say_what_the_server_says() {
        for event in [
            "agent:status_changed",
            "agent:heartbeat",
            "task:created",
            "task:assigned",
            "task:updated",
            "task:completed",
            "conversation:message",
            "system:alert",
            "subscribed",
            "unsubscribed",
            "heartbeat_ack",
            "error",
        ] {
            assert!(matches!(said(event, "[{}]").0, Inbound::Unknown), "{event}");
        }
    }
}

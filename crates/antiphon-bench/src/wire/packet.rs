//! Engine.IO 4 and Socket.IO 5 packets in text: what the load generator says and what it recognises.

/// What a text that a server sent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// `0{…}`: the Engine.IO session is open.
    Open,
    /// `40{…}`: the namespace is joined.
    Connected,
    /// `44{…}`: joining it was refused.
    Refused,
    /// `2`: a ping, to be answered with a pong.
    Ping,
    /// `42["name",…]` from its bracket on.
    Event(&'a [u8]),
    /// `43<id>[…]` from its id on.
    Ack(&'a [u8]),
    /// `1` or `41`: the end.
    Closed,
    /// Anything else; nothing the bench waits for.
    Other,
}

/// Recognises one text.
pub fn read(text: &[u8]) -> Packet<'_> {
    match text {
        [b'0', ..] => Packet::Open,
        [b'1', ..] | [b'4', b'1', ..] => Packet::Closed,
        [b'2'] => Packet::Ping,
        [b'4', b'0', ..] => Packet::Connected,
        [b'4', b'4', ..] => Packet::Refused,
        [b'4', b'2', event @ ..] => Packet::Event(event),
        [b'4', b'3', ack @ ..] => Packet::Ack(ack),
        _ => Packet::Other,
    }
}

/// CONNECT to the main namespace with an API key.
pub fn connect(token: &str) -> String {
    format!(r#"40{{"token":"{token}"}}"#)
}

/// The same, with the wish to recover what is missed when the connection is lost.
pub fn connect_to_recover(token: &str) -> String {
    format!(r#"40{{"token":"{token}","recover":true}}"#)
}

/// Whether a text that [`read`] finds to be a refused CONNECT says `message`, which needs no escapes.
pub fn refuses_with(text: &[u8], message: &str) -> bool {
    let said = text.strip_prefix(b"44{\"message\":\"").and_then(|rest| rest.strip_prefix(message.as_bytes()));
    said.is_some_and(|rest| rest.starts_with(b"\""))
}

/// Joins the caller's conversation with `agent`; asks for an ack.
pub fn join(agent: &str) -> String {
    format!(r#"420["chat:join",{{"agentId":"{agent}"}}]"#)
}

/// Leaves it; asks for an ack. What the echo scenarios send.
pub fn leave(agent: &str) -> String {
    format!(r#"421["chat:leave",{{"agentId":"{agent}"}}]"#)
}

/// Types to `agent`, which everybody in the conversation hears.
pub fn typing(agent: &str) -> String {
    format!(r#"42["chat:typing",{{"agentId":"{agent}","isTyping":true}}]"#)
}

/// Writes `words` to `agent`; asks for an ack.
pub fn message(agent: &str, words: &str) -> String {
    format!(r#"422["chat:message",{{"agentId":"{agent}","message":"{words}"}}]"#)
}

/// What a server makes of [`typing`]. The timestamp has as many digits as today's.
pub fn typing_heard(agent: &str, person: &str) -> String {
    format!(
        r#"42["chat:typing",{{"agentId":"{agent}","userId":"{person}","isTyping":true,"timestamp":1763646449123}}]"#
    )
}

/// What the task is called that is created again and again.
pub const TASK_TITLE: &str = "Summarise the week";

/// What a server makes of such a task for its dashboards. Ids and moments have as many characters as any.
pub fn task_heard() -> String {
    format!(
        r#"42["task:created",{{"event":"task:created","task_id":"6b1f93a4-0c55-4f0e-9d27-4a1957b0c2d8","task":{{"title":"{TASK_TITLE}","priority":"medium","status":"pending"}},"timestamp":"2026-11-20T10:00:00.123000"}}]"#
    )
}

/// Whether an event says that a task was created.
pub fn is_task(event: &[u8]) -> bool {
    event.starts_with(br#"["task:created","#)
}

/// One piece of an agent's answer.
pub fn piece_heard(agent: &str) -> String {
    format!(
        r#"42["chat:message:stream",{{"agentId":"{agent}","messageId":"6b1f93a4-0c55-4f0e-9d27-4a1957b0c2d8","chunk":"words ","index":12,"timestamp":1763646449123}}]"#
    )
}

/// Whether an event (as [`Packet::Event`] carries it) is somebody's typing, and not the end of it.
///
/// A server takes typing back by itself after a while; those events answer no request of the bench.
pub fn is_typing(event: &[u8]) -> bool {
    const SAYS_YES: &[u8] = br#""isTyping":true"#;
    event.starts_with(br#"["chat:typing","#)
        && event.windows(SAYS_YES.len()).rev().any(|part| part == SAYS_YES)
}

/// Whether an event is a piece of an answer.
pub fn is_piece(event: &[u8]) -> bool {
    event.starts_with(br#"["chat:message:stream","#)
}

/// Whether an event is the whole of an answer, which is told last.
pub fn is_end_of_answer(event: &[u8]) -> bool {
    event.starts_with(br#"["chat:message:complete","#)
}

/// Whether an ack (as [`Packet::Ack`] carries it) says that it was done.
pub fn is_done(ack: &[u8]) -> bool {
    const OK: &[u8] = br#""ok":true"#;
    ack.windows(OK.len()).any(|part| part == OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_is_told_from_the_others() {
        assert_eq!(read(br#"0{"sid":"x"}"#), Packet::Open);
        assert_eq!(read(b"1"), Packet::Closed);
        assert_eq!(read(b"2"), Packet::Ping);
        assert_eq!(read(b"2probe"), Packet::Other);
        assert_eq!(read(b"3"), Packet::Other);
        assert_eq!(read(br#"40{"sid":"x"}"#), Packet::Connected);
        assert_eq!(read(b"41"), Packet::Closed);
        assert_eq!(read(br#"42["x",1]"#), Packet::Event(br#"["x",1]"#));
        assert_eq!(read(br#"4317[{"ok":true}]"#), Packet::Ack(br#"17[{"ok":true}]"#));
        assert_eq!(read(br#"44{"message":"no"}"#), Packet::Refused);
        assert_eq!(read(b""), Packet::Other);
    }

    #[test]
    fn only_typing_that_begins_is_counted() {
        let heard = typing_heard("a1", "u1");
        assert!(is_typing(&heard.as_bytes()[2..]));
        assert!(!is_typing(&heard.replace("true", "false").as_bytes()[2..]));
        assert!(!is_typing(br#"["chat:message",{"isTyping":true}]"#));
    }

    #[test]
    fn a_piece_is_not_the_message_it_belongs_to() {
        assert!(is_piece(&piece_heard("a1").as_bytes()[2..]));
        assert!(!is_piece(br#"["chat:message",{"id":"x"}]"#));
        assert!(!is_piece(br#"["chat:message:complete",{"id":"x"}]"#));
        assert!(is_end_of_answer(br#"["chat:message:complete",{"id":"x"}]"#));
        assert!(!is_end_of_answer(br#"["chat:message",{"id":"x"}]"#));
    }

    #[test]
    fn a_refusal_is_told_by_its_whole_message() {
        let text = br#"44{"message":"Rate limit exceeded","data":{"retryAfterMs":9}}"#;
        assert!(refuses_with(text, "Rate limit exceeded"));
        assert!(!refuses_with(text, "Rate limit"));
        assert!(!refuses_with(br#"44{"message":"Invalid authentication token"}"#, "Rate limit exceeded"));
    }

    #[test]
    fn a_refusing_ack_is_not_done() {
        assert!(is_done(br#"2[{"ok":true,"id":"x","seq":1}]"#));
        assert!(!is_done(br#"2[{"ok":false,"error":{"code":"QUOTA_EXCEEDED"}}]"#));
    }

    #[test]
    fn what_is_said_is_json_behind_its_digits() {
        for text in [
            connect("k"),
            connect_to_recover("k"),
            join("a"),
            leave("a"),
            typing("a"),
            message("a", "b c"),
            typing_heard("a", "u"),
            piece_heard("a"),
        ] {
            let json = text.trim_start_matches(|character: char| character.is_ascii_digit());
            assert!(serde_json::from_str::<serde_json::Value>(json).is_ok(), "{text}");
        }
    }
}

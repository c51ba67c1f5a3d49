//! How a core event is said.
//!
//! Every payload borrows from the event and is written once. Timestamps are milliseconds since the Unix epoch, as numbers.

use antiphon_core::agents::{AgentChange, Relation};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::dialect::{Key, Out};
use antiphon_core::event::{Chunk, Event, Reply};
use antiphon_core::ids::{AgentId, MessageId, PersonId, Timestamp};
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::presence::Status;
use serde::Serialize;

use super::relation::{Emotions, State};

/// Says `event` in this API's words, in the order in which its clients expect them.
pub(super) fn outbound(event: &Event, out: &mut Out) {
    match event {
        Event::MessagePosted(message) => posted(message, out),
        Event::RelationChanged { agent, person, relation, at } => {
            relation_updated(agent, person, relation, *at, out);
        }
        Event::TypingChanged { agent, person, who, active, at } => {
            let user_id = match who {
                Party::Person => Some(person),
                Party::Agent => None,
            };
            typing(agent, user_id, *active, *at, out);
        }
        Event::ReplyStarted(reply) => typing(&reply.agent, None, true, reply.at, out),
        Event::ReplyChunk(chunk) => stream(chunk, out),
        Event::ReplyFinished { message, tokens, relation } => {
            typing(&message.agent, None, false, message.at, out);
            complete(message, *tokens, relation, out);
        }
        Event::ReplyFailed(reply) => reply_failed(reply, out),
        Event::PresenceChanged { person, status, changed, at } => {
            presence(person, *status, *changed, *at, out);
        }
        Event::AgentChanged { agent, change, at } => agent_updated(agent, change, *at, out),
        Event::AgentDeleted { agent } => out.emit("agent:deleted", &AgentDeleted { agent_id: agent }),
        Event::NoticeSent { notice, at } => notification(notice, *at, out),
        // Not said in this API.
        Event::Signal(_) | Event::Revoked(_) => {}
        Event::BalanceChanged(_) | Event::BalanceTold { .. } | Event::PersonTyping { .. } => {}

        // Work is not said in this API.
        Event::TaskCreated(_)
        | Event::TaskAssigned(_)
        | Event::TaskUpdated { .. }
        | Event::TaskFinished(_)
        | Event::AgentStatusChanged(_)
        | Event::AgentHeartbeat { .. }
        | Event::AlertRaised { .. } => {}
    }
}

/// `system:connection`, the first thing that a fresh connection hears.
pub(super) fn welcome(at: Timestamp, out: &mut Out) {
    out.emit("system:connection", &Connection { connected: true, timestamp: at });
}

/// `chat:error`.
pub(super) fn error(problem: Problem<'_>, at: Timestamp, out: &mut Out) {
    out.emit("chat:error", &ChatError { problem, timestamp: at });
}

/// What went wrong, in `chat:error` and in acks.
#[derive(Clone, Copy, Serialize)]
pub(super) struct Problem<'a> {
    /// A stable code.
    pub(super) code: &'static str,
    /// One sentence for people.
    pub(super) message: &'a str,
    /// The numbers behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) details: Option<Details>,
}

/// Numbers that a client can show or wait for.
#[derive(Clone, Copy, Serialize)]
#[serde(untagged)]
pub(super) enum Details {
    /// Messages sent this month, and how many the plan allows.
    Quota {
        /// Sent.
        current: u64,
        /// Allowed.
        limit: u64,
    },
    /// When to try again.
    Rate {
        /// In how many milliseconds.
        #[serde(rename = "retryAfterMs")]
        retry_after_ms: u64,
    },
}

fn posted(message: &Message, out: &mut Out) {
    let payload = ChatMessage {
        id: message.id,
        agent_id: &message.agent,
        user_id: &message.person,
        role: match message.author {
            Party::Person => "user",
            Party::Agent => "assistant",
        },
        content: &message.text,
        timestamp: message.at,
    };
    out.emit("chat:message", &payload);
}

fn relation_updated(
    agent_id: &AgentId,
    user_id: &PersonId,
    relation: &Relation,
    timestamp: Timestamp,
    out: &mut Out,
) {
    let state = State::of(relation);
    let payload = RelationUpdated {
        agent_id,
        user_id,
        state,
        relation_level: state.level(),
        emotions: state.emotions(),
        timestamp,
    };
    out.emit("relation:updated", &payload);
}

/// Without `user_id` it is the agent that types.
fn typing(
    agent_id: &AgentId,
    user_id: Option<&PersonId>,
    is_typing: bool,
    timestamp: Timestamp,
    out: &mut Out,
) {
    out.emit("chat:typing", &Typing { agent_id, user_id, is_typing, timestamp });
}

fn stream(chunk: &Chunk, out: &mut Out) {
    const AGENT_ID: Key = Key::new("agentId");
    const MESSAGE_ID: Key = Key::new("messageId");
    const CHUNK: Key = Key::new("chunk");
    const INDEX: Key = Key::new("index");
    const TIMESTAMP: Key = Key::new("timestamp");
    out.emit_object("chat:message:stream", |members| {
        members
            .text(&AGENT_ID, chunk.agent.as_str())
            .id(&MESSAGE_ID, &chunk.reply.0)
            .text(&CHUNK, &chunk.text)
            .number(&INDEX, chunk.index.into())
            .number(&TIMESTAMP, chunk.at.0);
    });
}

fn complete(message: &Message, tokens: u64, relation: &Relation, out: &mut Out) {
    let state = State::of(relation);
    let payload = Complete {
        agent_id: &message.agent,
        message_id: message.id,
        // Pieces end with a space, the whole does not.
        full_content: message.text.trim(),
        timestamp: message.at,
        metadata: Metadata {
            emotions: state.emotions(),
            relation_level: state.level(),
            tokens_used: tokens,
            state,
        },
    };
    out.emit("chat:message:complete", &payload);
}

fn reply_failed(reply: &Reply, out: &mut Out) {
    let problem = Problem { code: "GENERATION_ERROR", message: "Failed to generate response", details: None };
    error(problem, reply.at, out);
    typing(&reply.agent, None, false, reply.at, out);
}

fn presence(user_id: &PersonId, status: Status, changed: bool, at: Timestamp, out: &mut Out) {
    let seen = PresenceSeen { user_id, timestamp: at };
    let word = match status {
        Status::Online => {
            out.emit("presence:user:online", &seen);
            "online"
        }
        // There is no event of its own for somebody who looks elsewhere.
        Status::Away => "away",
        Status::Offline => {
            out.emit("presence:user:offline", &seen);
            "offline"
        }
    };
    if changed {
        out.emit("presence:update", &PresenceUpdate { user_id, status: word, last_seen: at });
    }
}

fn agent_updated(agent_id: &AgentId, change: &AgentChange, timestamp: Timestamp, out: &mut Out) {
    let updates = Updates {
        name: change.name.as_deref(),
        personality: change.personality.as_deref(),
        purpose: change.purpose.as_deref(),
        tone: change.tone.as_deref(),
        visibility: change.visibility.as_deref(),
    };
    out.emit("agent:updated", &AgentUpdated { agent_id, updates, timestamp });
}

fn notification(notice: &Notice, timestamp: Timestamp, out: &mut Out) {
    let payload = Notification {
        kind: match notice.kind {
            NoticeKind::Info => "info",
            NoticeKind::Warning => "warning",
            NoticeKind::Error => "error",
            NoticeKind::Success => "success",
        },
        title: &notice.title,
        message: &notice.message,
        timestamp,
        action: notice.action.as_ref().map(|action| Action { label: &action.label, url: &action.url }),
    };
    out.emit("system:notification", &payload);
}

#[derive(Serialize)]
struct Connection {
    connected: bool,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct ChatError<'a> {
    #[serde(flatten)]
    problem: Problem<'a>,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChatMessage<'a> {
    id: MessageId,
    agent_id: &'a AgentId,
    user_id: &'a PersonId,
    role: &'static str,
    content: &'a str,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RelationUpdated<'a> {
    agent_id: &'a AgentId,
    user_id: &'a PersonId,
    state: State,
    relation_level: &'static str,
    emotions: Emotions,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Typing<'a> {
    agent_id: &'a AgentId,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<&'a PersonId>,
    is_typing: bool,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Complete<'a> {
    agent_id: &'a AgentId,
    message_id: MessageId,
    full_content: &'a str,
    timestamp: Timestamp,
    metadata: Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    emotions: Emotions,
    relation_level: &'static str,
    tokens_used: u64,
    state: State,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresenceSeen<'a> {
    user_id: &'a PersonId,
    timestamp: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PresenceUpdate<'a> {
    user_id: &'a PersonId,
    status: &'static str,
    last_seen: Timestamp,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentUpdated<'a> {
    agent_id: &'a AgentId,
    updates: Updates<'a>,
    timestamp: Timestamp,
}

#[derive(Serialize)]
struct Updates<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    personality: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AgentDeleted<'a> {
    agent_id: &'a AgentId,
}

#[derive(Serialize)]
struct Notification<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'a str,
    message: &'a str,
    timestamp: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action<'a>>,
}

#[derive(Serialize)]
struct Action<'a> {
    label: &'a str,
    url: &'a str,
}

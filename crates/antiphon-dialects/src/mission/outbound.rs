//! How a core event is said.
//!
//! Every payload borrows from the event and is written once. What this server's own document lists comes with two fields more,
//! as its clients know them: `event`, the event's own name, and `metadata` where it says why.

use antiphon_core::conversation::{Message, Party};
use antiphon_core::dialect::Out;
use antiphon_core::event::{Event, Severity, StatusChange};
use antiphon_core::ids::{AgentId, ConversationId, MessageId, TaskId, Timestamp};
use antiphon_core::tasks::{Task, TaskStatus, TaskUpdate};
use antiphon_core::workers::Cause;
use serde::Serialize;
use serde_json::value::RawValue;

use super::moment::Naive;
use super::words::{Word as _, name_of};

/// Says `event` in this API's words.
pub(super) fn outbound(event: &Event, out: &mut Out) {
    match event {
        Event::MessagePosted(message) | Event::ReplyFinished { message, .. } => said(message, out),
        Event::TaskCreated(task) => created(task, out),
        Event::TaskAssigned(task) => assigned(task, out),
        Event::TaskUpdated { task, update, at } => updated(task, update, *at, out),
        Event::TaskFinished(task) => finished(task, out),
        Event::AgentStatusChanged(change) => status_changed(change, out),
        Event::AgentHeartbeat { agent, metadata, at } => heartbeat(agent, metadata, *at, out),
        Event::AlertRaised { message, severity, at } => alert(message, *severity, *at, out),
        // Not said in this API: it tells of whole messages, and of agents' work rather than their character.
        Event::ReplyStarted(_)
        | Event::ReplyChunk(_)
        | Event::ReplyFailed(_)
        | Event::RelationChanged { .. }
        | Event::TypingChanged { .. }
        | Event::PersonTyping { .. }
        | Event::PresenceChanged { .. }
        | Event::AgentChanged { .. }
        | Event::AgentDeleted { .. }
        | Event::NoticeSent { .. }
        | Event::Signal(_)
        | Event::Revoked(_)
        | Event::BalanceChanged(_)
        | Event::BalanceTold { .. } => {}
    }
}

/// `subscribed`, `unsubscribed`.
pub(super) fn room(event: &'static str, name: &str, out: &mut Out) {
    out.emit(event, &RoomName { room: name });
}

fn said(message: &Message, out: &mut Out) {
    let told = MessageTold::of(message);
    let event = "conversation:message";
    let conversation_id = message.conversation;
    out.emit(
        event,
        &ConversationMessage { event, conversation_id, message: told, timestamp: Naive(message.at) },
    );
}

fn created(task: &Task, out: &mut Out) {
    let event = "task:created";
    let payload = TaskTold {
        event,
        task_id: task.id,
        agent_id: None,
        task: brief(task),
        timestamp: Naive(task.created_at),
    };
    out.emit(event, &payload);
}

fn assigned(task: &Task, out: &mut Out) {
    let event = "task:assigned";
    // An agent may claim later what it was given.
    let at = task.claimed_at.or(task.assigned_at).unwrap_or(task.created_at);
    let payload = TaskTold {
        event,
        task_id: task.id,
        agent_id: task.agent.as_ref(),
        task: brief(task),
        timestamp: Naive(at),
    };
    out.emit(event, &payload);
}

fn updated(task: &Task, update: &TaskUpdate, at: Timestamp, out: &mut Out) {
    match update {
        TaskUpdate::Started => {
            let started_at = Naive(task.started_at.unwrap_or(at));
            task_updated(task, Started { status: TaskStatus::Running.word(), started_at }, at, out);
        }
        TaskUpdate::Progress(json) => task_updated(task, raw(json), at, out),
        TaskUpdate::Returned(agent) => {
            let returned = Returned {
                status: TaskStatus::Pending.word(),
                previous_agent_id: agent,
                reclaim_count: task.reclaims,
            };
            task_updated(task, returned, at, out);
        }
    }
}

fn finished(task: &Task, out: &mut Out) {
    let at = task.ended_at.unwrap_or(task.created_at);
    match task.status {
        TaskStatus::Completed => {
            let event = "task:completed";
            let result = task.result.as_deref().and_then(raw);
            out.emit(event, &TaskCompleted { event, task_id: task.id, result, timestamp: Naive(at) });
        }
        status => {
            let error = task.error.as_deref();
            task_updated(task, Ended { status: status.word(), error }, at, out);
        }
    }
}

fn task_updated(task: &Task, update: impl Serialize, at: Timestamp, out: &mut Out) {
    let event = "task:updated";
    out.emit(event, &TaskUpdated { event, task_id: task.id, update, timestamp: Naive(at) });
}

fn status_changed(change: &StatusChange, out: &mut Out) {
    let event = "agent:status_changed";
    let (action, reason) = match change.cause {
        Cause::Said => (None, None),
        Cause::Controlled(control) => (Some(control.word()), None),
        Cause::HeartbeatTimeout | Cause::HeartbeatRecovery => (None, Some(change.cause.name())),
    };
    let triggered_by = match change.cause {
        Cause::HeartbeatTimeout => "system",
        _ => name_of(&change.by),
    };
    let payload = StatusChanged {
        event,
        agent_id: &change.agent,
        old_status: change.old.word(),
        new_status: change.new.word(),
        metadata: Why { action, reason, triggered_by },
        timestamp: Naive(change.at),
    };
    out.emit(event, &payload);
}

fn heartbeat(agent_id: &AgentId, metadata: &str, at: Timestamp, out: &mut Out) {
    let event = "agent:heartbeat";
    out.emit(event, &Heartbeat { event, agent_id, metadata: raw(metadata), timestamp: Naive(at) });
}

fn alert(message: &str, severity: Severity, at: Timestamp, out: &mut Out) {
    let event = "system:alert";
    out.emit(event, &Alert { event, message, severity: severity.word(), timestamp: Naive(at) });
}

fn brief(task: &Task) -> Brief<'_> {
    Brief { title: &task.title, priority: task.priority.word(), status: task.status.word() }
}

/// JSON that came in as such, and goes out as it is.
fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

#[derive(Serialize)]
struct RoomName<'a> {
    room: &'a str,
}

#[derive(Serialize)]
struct ConversationMessage<'a> {
    event: &'static str,
    conversation_id: ConversationId,
    message: MessageTold<'a>,
    timestamp: Naive,
}

/// A message as this API tells it, in events and in answers to requests.
#[derive(Debug, Serialize)]
pub struct MessageTold<'a> {
    id: MessageId,
    sender_id: &'a str,
    recipient_id: &'a str,
    message_type: &'static str,
    payload: Text<'a>,
    created_at: Naive,
}

impl<'a> MessageTold<'a> {
    /// `message`. What a person says is `direct`, what an agent says is a `response`.
    pub fn of(message: &'a Message) -> Self {
        let (person, agent) = (message.person.as_str(), message.agent.as_str());
        let (sender_id, recipient_id, message_type) = match message.author {
            Party::Person => (person, agent, "direct"),
            Party::Agent => (agent, person, "response"),
        };
        Self {
            id: message.id,
            sender_id,
            recipient_id,
            message_type,
            // Pieces of an answer end with a space, the whole does not.
            payload: Text { text: message.text.trim() },
            created_at: Naive(message.at),
        }
    }
}

#[derive(Debug, Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct TaskTold<'a> {
    event: &'static str,
    task_id: TaskId,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_id: Option<&'a AgentId>,
    task: Brief<'a>,
    timestamp: Naive,
}

#[derive(Serialize)]
struct Brief<'a> {
    title: &'a str,
    priority: &'static str,
    status: &'static str,
}

#[derive(Serialize)]
struct TaskUpdated<T> {
    event: &'static str,
    task_id: TaskId,
    update: T,
    timestamp: Naive,
}

#[derive(Serialize)]
struct Started {
    status: &'static str,
    started_at: Naive,
}

#[derive(Serialize)]
struct Returned<'a> {
    status: &'static str,
    previous_agent_id: &'a AgentId,
    reclaim_count: u32,
}

#[derive(Serialize)]
struct Ended<'a> {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct TaskCompleted<'a> {
    event: &'static str,
    task_id: TaskId,
    result: Option<&'a RawValue>,
    timestamp: Naive,
}

#[derive(Serialize)]
struct StatusChanged<'a> {
    event: &'static str,
    agent_id: &'a AgentId,
    old_status: &'static str,
    new_status: &'static str,
    metadata: Why<'a>,
    timestamp: Naive,
}

#[derive(Serialize)]
struct Why<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    triggered_by: &'a str,
}

#[derive(Serialize)]
struct Heartbeat<'a> {
    event: &'static str,
    agent_id: &'a AgentId,
    metadata: Option<&'a RawValue>,
    timestamp: Naive,
}

#[derive(Serialize)]
struct Alert<'a> {
    event: &'static str,
    message: &'a str,
    severity: &'static str,
    timestamp: Naive,
}

//! What an event looks like to whoever watches: its name, its topic, when, and its facts as JSON.
//!
//! The core's events have a form of their own on the bus; this one is for people and scripts, and stays when that one changes.

use antiphon_core::agents::{AgentChange, Relation};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::event::{Envelope, Event, Reply};
use antiphon_core::ids::Timestamp;
use antiphon_core::notices::Notice;
use antiphon_core::ports::{Revocation, Revoked};
use antiphon_core::tasks::{Task, TaskUpdate};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::api::work::{TaskView, raw};
use crate::api::{moment, topics};

/// One event as a line.
pub(super) struct Line<'a> {
    name: &'static str,
    view: View<'a>,
}

#[derive(Serialize)]
struct View<'a> {
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    event: Facts<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Facts<'a> {
    Known(Value),
    /// Relayed unread, also here.
    Signal {
        name: &'a str,
        value: &'a RawValue,
    },
}

impl<'a> Line<'a> {
    /// The line of `envelope`.
    pub(super) fn new(envelope: &'a Envelope) -> Self {
        let (name, at, event) = told(&envelope.event);
        let view = View { topic: topics::write(&envelope.topic), at: at.map(moment::write), event };
        Self { name, view }
    }

    /// The event's name.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// All of it but the name, as JSON on one line.
    pub(super) fn json(&self) -> String {
        // Strings, numbers, and JSON that was JSON before.
        let json = serde_json::to_string(&self.view).expect("a line is plain JSON");
        // Outside of relayed JSON there are none, and within it they stand between its parts only.
        json.replace(['\r', '\n'], " ")
    }
}

fn told(event: &Event) -> (&'static str, Option<Timestamp>, Facts<'_>) {
    let (name, at, facts) = match event {
        Event::MessagePosted(message) => ("MessagePosted", Some(message.at), spoken(message)),
        Event::RelationChanged { agent, person, relation, at } => {
            let facts = json!({"agent": agent, "person": person, "relation": felt(relation)});
            ("RelationChanged", Some(*at), facts)
        }
        Event::TypingChanged { agent, person, who, active, at } => {
            let facts = json!({"agent": agent, "person": person, "who": side(*who), "active": active});
            ("TypingChanged", Some(*at), facts)
        }
        Event::PersonTyping { person, active, at } => {
            ("PersonTyping", Some(*at), json!({"person": person, "active": active}))
        }
        Event::ReplyStarted(reply) => ("ReplyStarted", Some(reply.at), answer(reply)),
        Event::ReplyChunk(chunk) => {
            let facts = json!({
                "reply": chunk.reply, "agent": chunk.agent, "index": chunk.index, "text": chunk.text,
            });
            ("ReplyChunk", Some(chunk.at), facts)
        }
        Event::ReplyFinished { message, tokens, relation } => {
            let facts = json!({"message": spoken(message), "tokens": tokens, "relation": felt(relation)});
            ("ReplyFinished", Some(message.at), facts)
        }
        Event::ReplyFailed(reply) => ("ReplyFailed", Some(reply.at), answer(reply)),
        Event::PresenceChanged { person, status, changed, at } => {
            let facts = json!({"person": person, "status": status, "changed": changed});
            ("PresenceChanged", Some(*at), facts)
        }
        Event::AgentChanged { agent, change, at } => {
            ("AgentChanged", Some(*at), json!({"agent": agent, "change": different(change)}))
        }
        Event::AgentDeleted { agent } => ("AgentDeleted", None, json!({"agent": agent})),
        Event::NoticeSent { notice, at } => ("NoticeSent", Some(*at), told_notice(notice)),
        Event::Signal(signal) => {
            return ("Signal", None, Facts::Signal { name: &signal.name, value: &signal.value });
        }
        Event::Revoked(revocation) => ("Revoked", Some(revocation.at), dead(revocation)),
        Event::BalanceChanged(entry) => {
            let facts = json!({
                "person": entry.person, "position": entry.position, "amount": entry.amount,
                "balance": entry.balance, "reason": entry.reason,
            });
            ("BalanceChanged", Some(entry.at), facts)
        }
        Event::BalanceTold { person, balance, at } => {
            let facts = json!({"person": person, "position": balance.position, "balance": balance.tokens});
            ("BalanceTold", Some(*at), facts)
        }

        Event::TaskCreated(task) => ("TaskCreated", Some(task.created_at), work(task)),
        Event::TaskAssigned(task) => ("TaskAssigned", task.claimed_at.or(task.assigned_at), work(task)),
        Event::TaskUpdated { task, update, at } => {
            let mut facts = work(task);
            facts["update"] = updated(update);
            ("TaskUpdated", Some(*at), facts)
        }
        Event::TaskFinished(task) => ("TaskFinished", task.ended_at, work(task)),
        Event::AgentStatusChanged(change) => {
            let facts = json!({
                "agent": change.agent, "old": change.old, "new": change.new, "cause": change.cause.name(),
                "by": change.by,
            });
            ("AgentStatusChanged", Some(change.at), facts)
        }
        Event::AgentHeartbeat { agent, metadata, at } => {
            ("AgentHeartbeat", Some(*at), json!({"agent": agent, "metadata": raw(metadata.clone())}))
        }
        Event::AlertRaised { message, severity, at } => {
            ("AlertRaised", Some(*at), json!({"message": message, "severity": severity}))
        }
    };
    (name, at, Facts::Known(facts))
}

fn work(task: &Task) -> Value {
    json!(TaskView::from(task.clone()))
}

fn updated(update: &TaskUpdate) -> Value {
    match update {
        TaskUpdate::Started => json!({"started": true}),
        TaskUpdate::Progress(json) => json!({"progress": raw(json.clone())}),
        TaskUpdate::Returned(agent) => json!({"returnedFrom": agent}),
    }
}

fn spoken(message: &Message) -> Value {
    json!({
        "id": message.id, "conversation": message.conversation, "seq": message.seq, "agent": message.agent,
        "person": message.person, "from": side(message.author), "text": message.text,
    })
}

fn answer(reply: &Reply) -> Value {
    json!({
        "reply": reply.id, "conversation": reply.conversation, "agent": reply.agent, "person": reply.person,
    })
}

fn side(party: Party) -> &'static str {
    match party {
        Party::Person => "person",
        Party::Agent => "agent",
    }
}

fn felt(relation: &Relation) -> Value {
    json!({"trust": relation.trust, "affinity": relation.affinity, "respect": relation.respect})
}

fn different(change: &AgentChange) -> Value {
    let AgentChange { name, personality, purpose, tone, visibility } = change;
    let fields = [
        ("name", name),
        ("personality", personality),
        ("purpose", purpose),
        ("tone", tone),
        ("visibility", visibility),
    ];
    let changed = fields.into_iter().filter_map(|(field, value)| Some((field, value.as_deref()?)));
    Value::Object(changed.map(|(field, value)| (field.to_owned(), Value::from(value))).collect())
}

fn told_notice(notice: &Notice) -> Value {
    let mut facts = json!({"kind": notice.kind, "title": notice.title, "message": notice.message});
    if let Some(action) = &notice.action {
        facts["action"] = json!({"label": action.label, "url": action.url});
    }
    facts
}

/// A session is named by the hash of a secret, so it is only said that it was one.
fn dead(revocation: &Revocation) -> Value {
    match &revocation.what {
        Revoked::Person(id) => json!({"person": id}),
        Revoked::Key(id) => json!({"key": id}),
        Revoked::Session(_) => json!({"session": true}),
        Revoked::Token { issuer, id } => json!({"token": {"issuer": issuer, "id": id}}),
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::event::Signal;
    use antiphon_core::ids::{AgentId, ConversationId, MessageId, PersonId};
    use antiphon_core::topic::Topic;
    use uuid::Uuid;

    use super::*;

    fn line(topic: Topic, event: Event) -> (String, String) {
        let envelope = Envelope::new(topic, event);
        let line = Line::new(&envelope);
        (line.name().into(), line.json())
    }

    #[test]
    fn t28_an_event_is_one_line_whatever_was_said() {
        let (agent, person) = (AgentId::parse("luna").unwrap(), PersonId::parse("a\"d'a").unwrap());
        let message = Message {
            id: MessageId(Uuid::nil()),
            conversation: ConversationId(Uuid::nil()),
            seq: 1,
            agent,
            person,
            author: Party::Person,
            text: "hello\n\nevent: Forged\u{1b}[2J\r".into(),
            at: Timestamp(0),
        };
        let (name, json) = line(Topic::Everyone, Event::MessagePosted(message));
        assert_eq!(name, "MessagePosted");
        assert!(!json.contains(char::is_control), "{json}");
        let value: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(value["event"]["text"], "hello\n\nevent: Forged\u{1b}[2J\r");
        assert_eq!(value["at"], "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn a_signal_is_shown_as_it_was_sent() {
        let value = RawValue::from_string("{\"n\":1.50,\n \"m\":[]}".into()).unwrap();
        let signal = Signal { name: "wave".into(), value: value.into() };
        let (name, json) = line(Topic::Named("place".into()), Event::Signal(signal));
        assert_eq!(name, "Signal");
        assert_eq!(json, r#"{"topic":"named:place","event":{"name":"wave","value":{"n":1.50,  "m":[]}}}"#);
    }

    #[test]
    fn t27_a_revoked_session_is_not_named() {
        let what = Revoked::Session(antiphon_core::actor::SecretHash([7; 32]));
        let revocation = Revocation { what, at: Timestamp(0), until: Timestamp(1) };
        let (_, json) = line(Topic::Nodes, Event::Revoked(revocation));
        assert_eq!(json, r#"{"topic":"nodes","at":"1970-01-01T00:00:00.000Z","event":{"session":true}}"#);
    }
}

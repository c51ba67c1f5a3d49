//! What events are called outside, and what is told of them.

use antiphon_core::agents::{AgentChange, Relation};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::event::{Envelope, Event, Reply};
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::notices::Notice;
use antiphon_core::tasks::{Task, TaskUpdate};
use antiphon_core::topic::Topic;
use antiphon_core::webhooks::{About, Announcement};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::topics;

/// The kinds of events that an endpoint can be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    PersonConnected,
    PersonDisconnected,
    MessagePosted,
    ReplyStarted,
    ReplyChunk,
    ReplyFinished,
    ReplyFailed,
    RelationChanged,
    TypingChanged,
    PresenceChanged,
    AgentChanged,
    AgentDeleted,
    NoticeSent,
    Signal,
    BalanceChanged,
    TaskCreated,
    TaskAssigned,
    TaskUpdated,
    TaskFinished,
    AgentStatusChanged,
    AgentHeartbeat,
    AlertRaised,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 22] = [
        Self::PersonConnected,
        Self::PersonDisconnected,
        Self::MessagePosted,
        Self::ReplyStarted,
        Self::ReplyChunk,
        Self::ReplyFinished,
        Self::ReplyFailed,
        Self::RelationChanged,
        Self::TypingChanged,
        Self::PresenceChanged,
        Self::AgentChanged,
        Self::AgentDeleted,
        Self::NoticeSent,
        Self::Signal,
        Self::BalanceChanged,
        Self::TaskCreated,
        Self::TaskAssigned,
        Self::TaskUpdated,
        Self::TaskFinished,
        Self::AgentStatusChanged,
        Self::AgentHeartbeat,
        Self::AlertRaised,
    ];

    /// What it is called in the configuration and in deliveries.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::PersonConnected => "person.connected",
            Self::PersonDisconnected => "person.disconnected",
            Self::MessagePosted => "message.posted",
            Self::ReplyStarted => "reply.started",
            Self::ReplyChunk => "reply.chunk",
            Self::ReplyFinished => "reply.finished",
            Self::ReplyFailed => "reply.failed",
            Self::RelationChanged => "relation.changed",
            Self::TypingChanged => "typing.changed",
            Self::PresenceChanged => "presence.changed",
            Self::AgentChanged => "agent.changed",
            Self::AgentDeleted => "agent.deleted",
            Self::NoticeSent => "notice.sent",
            Self::Signal => "signal",
            Self::BalanceChanged => "balance.changed",
            Self::TaskCreated => "task.created",
            Self::TaskAssigned => "task.assigned",
            Self::TaskUpdated => "task.updated",
            Self::TaskFinished => "task.finished",
            Self::AgentStatusChanged => "agent.status",
            Self::AgentHeartbeat => "agent.heartbeat",
            Self::AlertRaised => "alert.raised",
        }
    }

    /// The kind of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Several kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Kinds(u32);

impl Kinds {
    pub(super) fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }

    pub(super) fn has_any(self, kinds: &[Kind]) -> bool {
        kinds.iter().any(|kind| self.has(*kind))
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Self(kinds.into_iter().fold(0, |bits, kind| bits | 1 << kind as u32))
    }
}

/// The kinds that `event` may become. Asked for every event that is published, so it only looks at the variant.
pub(super) fn kinds(event: &Event) -> &'static [Kind] {
    match event {
        Event::MessagePosted(_) => &[Kind::MessagePosted],
        Event::RelationChanged { .. } => &[Kind::RelationChanged],
        Event::TypingChanged { .. } | Event::PersonTyping { .. } => &[Kind::TypingChanged],
        Event::ReplyStarted(_) => &[Kind::ReplyStarted],
        Event::ReplyChunk(_) => &[Kind::ReplyChunk],
        Event::ReplyFinished { .. } => &[Kind::MessagePosted, Kind::ReplyFinished],
        Event::ReplyFailed(_) => &[Kind::ReplyFailed],
        Event::PresenceChanged { .. } => {
            &[Kind::PersonConnected, Kind::PersonDisconnected, Kind::PresenceChanged]
        }
        Event::AgentChanged { .. } => &[Kind::AgentChanged],
        Event::AgentDeleted { .. } => &[Kind::AgentDeleted],
        Event::NoticeSent { .. } => &[Kind::NoticeSent],
        Event::Signal(_) => &[Kind::Signal],
        // Of use to nodes alone, and it names secrets by their hashes.
        Event::Revoked(_) => &[],
        Event::BalanceChanged(_) => &[Kind::BalanceChanged],
        // It is no news.
        Event::BalanceTold { .. } => &[],

        Event::TaskCreated(_) => &[Kind::TaskCreated],
        Event::TaskAssigned(_) => &[Kind::TaskAssigned],
        Event::TaskUpdated { .. } => &[Kind::TaskUpdated],
        Event::TaskFinished(_) => &[Kind::TaskFinished],
        Event::AgentStatusChanged(_) => &[Kind::AgentStatusChanged],
        Event::AgentHeartbeat { .. } => &[Kind::AgentHeartbeat],
        Event::AlertRaised { .. } => &[Kind::AlertRaised],
    }
}

/// Something that happened, as endpoints are told of it.
pub(super) struct Fact {
    pub(super) kind: Kind,
    /// The announcement's id; the same fact has the same one if it can be told twice.
    id: String,
    person: Option<PersonId>,
    pub(super) agent: Option<AgentId>,
    /// Where it happened.
    pub(super) places: Vec<Topic>,
    at: Timestamp,
    data: Value,
    about: About,
}

impl Fact {
    /// The fact, ready for `endpoints`.
    pub(super) fn announce(self, endpoints: Vec<String>) -> Announcement {
        #[derive(Serialize)]
        struct Payload<'a> {
            r#type: &'static str,
            timestamp: String,
            person: Option<&'a PersonId>,
            data: &'a Value,
        }
        let payload = Payload {
            r#type: self.kind.name(),
            timestamp: written(self.at),
            person: self.person.as_ref(),
            data: &self.data,
        };
        let mut payload = serde_json::to_string(&payload).expect("its keys are strings");
        // The number follows, when there is one.
        payload.pop();
        Announcement {
            id: self.id,
            kind: self.kind.name(),
            person: self.person,
            at: self.at,
            payload,
            endpoints,
            about: self.about,
        }
    }

    /// Whether it is nothing to remember if nobody is told.
    pub(super) fn leaves_no_trace(&self) -> bool {
        self.about == About::Nothing
    }

    fn new(
        kind: Kind,
        person: Option<&PersonId>,
        agent: Option<&AgentId>,
        at: Timestamp,
        data: Value,
    ) -> Self {
        let places =
            [person.cloned().map(Topic::Person), agent.cloned().map(Topic::Agent)].into_iter().flatten();
        Self {
            kind,
            id: format!("msg_{}", Uuid::new_v4().simple()),
            person: person.cloned(),
            agent: agent.cloned(),
            places: places.collect(),
            at,
            data,
            about: About::Nothing,
        }
    }

    fn at_place(mut self, place: &Topic) -> Self {
        if !self.places.contains(place) {
            self.places.push(place.clone());
        }
        self
    }
}

/// Somebody came (`here`), or is gone for good.
pub(super) fn presence(person: &PersonId, here: bool, at: Timestamp) -> Fact {
    let kind = if here { Kind::PersonConnected } else { Kind::PersonDisconnected };
    let fact = Fact::new(kind, Some(person), None, at, json!({ "person": person }));
    Fact { about: About::Presence(here), ..fact.at_place(&Topic::Everyone) }
}

/// A message is stored. Its id says which message, so that being told twice is noticed.
pub(super) fn message(message: &Message) -> Fact {
    let data = told(message);
    let fact = Fact::new(Kind::MessagePosted, Some(&message.person), Some(&message.agent), message.at, data);
    Fact {
        id: format!("msg_{}", message.id.0.simple()),
        about: About::Message(message.conversation, message.seq),
        ..fact.at_place(&Topic::Conversation(message.conversation))
    }
}

/// What `envelope` tells besides who comes and goes, which [`presence`](super::presence) decides. `now` is for what has no time
/// of its own.
pub(super) fn facts(envelope: &Envelope, now: Timestamp) -> Vec<Fact> {
    let fact = match &envelope.event {
        Event::MessagePosted(posted) => return vec![message(posted)],
        Event::ReplyFinished { message: reply, tokens, relation } => {
            let mut data = told(reply);
            data["tokens"] = json!(tokens);
            data["relation"] = felt(relation);
            let (person, agent) = (Some(&reply.person), Some(&reply.agent));
            let finished = Fact::new(Kind::ReplyFinished, person, agent, reply.at, data);
            return vec![message(reply), finished.at_place(&Topic::Conversation(reply.conversation))];
        }
        Event::RelationChanged { agent, person, relation, at } => {
            let data = json!({ "agent": agent, "person": person, "relation": felt(relation) });
            Fact::new(Kind::RelationChanged, Some(person), Some(agent), *at, data)
        }
        Event::TypingChanged { agent, person, who, active, at } => {
            let data = json!({ "agent": agent, "person": person, "who": party(*who), "active": active });
            Fact::new(Kind::TypingChanged, Some(person), Some(agent), *at, data)
        }
        Event::PersonTyping { person, active, at } => {
            let data =
                json!({ "agent": null, "person": person, "who": party(Party::Person), "active": active });
            Fact::new(Kind::TypingChanged, Some(person), None, *at, data)
        }
        Event::ReplyStarted(reply) => answer(Kind::ReplyStarted, reply),
        Event::ReplyFailed(reply) => answer(Kind::ReplyFailed, reply),
        Event::ReplyChunk(chunk) => {
            let data = json!({
                "reply": chunk.reply, "agent": chunk.agent, "index": chunk.index, "text": chunk.text,
            });
            Fact::new(Kind::ReplyChunk, None, Some(&chunk.agent), chunk.at, data)
        }
        Event::PresenceChanged { person, status, changed, at } => {
            let data = json!({ "person": person, "status": status, "changed": changed });
            Fact::new(Kind::PresenceChanged, Some(person), None, *at, data)
        }
        Event::AgentChanged { agent, change, at } => {
            let data = json!({ "agent": agent, "change": changed(change) });
            Fact::new(Kind::AgentChanged, None, Some(agent), *at, data)
        }
        Event::AgentDeleted { agent } => {
            Fact::new(Kind::AgentDeleted, None, Some(agent), now, json!({ "agent": agent }))
        }
        Event::NoticeSent { notice, at } => {
            Fact::new(Kind::NoticeSent, whose(&envelope.topic), None, *at, noticed(notice))
        }
        Event::Signal(signal) => {
            // What the core relays unread is passed on unread; it is JSON.
            let value: Value = serde_json::from_str(signal.value.get()).unwrap_or_default();
            let data =
                json!({ "name": signal.name, "value": value, "topic": topics::write(&envelope.topic) });
            Fact::new(Kind::Signal, whose(&envelope.topic), None, now, data)
        }
        Event::Revoked(_) | Event::BalanceTold { .. } => return Vec::new(),
        Event::BalanceChanged(entry) => {
            let data = json!({
                "person": entry.person, "position": entry.position, "amount": entry.amount,
                "balance": entry.balance, "reason": entry.reason, "key": entry.key,
            });
            Fact::new(Kind::BalanceChanged, Some(&entry.person), None, entry.at, data)
        }

        Event::TaskCreated(task) => work(Kind::TaskCreated, task, task.created_at),
        Event::TaskAssigned(task) => {
            work(Kind::TaskAssigned, task, task.claimed_at.or(task.assigned_at).unwrap_or(now))
        }
        Event::TaskUpdated { task, update, at } => {
            let mut fact = work(Kind::TaskUpdated, task, *at);
            fact.data["update"] = match update {
                TaskUpdate::Started => json!({ "started": true }),
                TaskUpdate::Progress(json) => json!({ "progress": value(json) }),
                TaskUpdate::Returned(agent) => json!({ "returnedFrom": agent }),
            };
            fact
        }
        Event::TaskFinished(task) => work(Kind::TaskFinished, task, task.ended_at.unwrap_or(now)),
        Event::AgentStatusChanged(change) => {
            let data = json!({
                "agent": change.agent, "old": change.old, "new": change.new, "cause": change.cause.name(),
                "by": change.by,
            });
            Fact::new(Kind::AgentStatusChanged, None, Some(&change.agent), change.at, data)
        }
        Event::AgentHeartbeat { agent, metadata, at } => {
            let data = json!({ "agent": agent, "metadata": value(metadata) });
            Fact::new(Kind::AgentHeartbeat, None, Some(agent), *at, data)
        }
        Event::AlertRaised { message, severity, at } => {
            let data = json!({ "message": message, "severity": severity });
            Fact::new(Kind::AlertRaised, None, None, *at, data)
        }
    };
    let fact = fact.at_place(&envelope.topic);
    vec![envelope.also.iter().fold(fact, Fact::at_place)]
}

fn work(kind: Kind, task: &Task, at: Timestamp) -> Fact {
    let data = json!({
        "id": task.id, "title": task.title, "priority": task.priority, "status": task.status, "agent": task.agent,
        "payload": value(&task.payload), "result": task.result.as_deref().map(value), "error": task.error,
        "parent": task.parent, "conversation": task.conversation, "reclaims": task.reclaims,
        "version": task.version,
    });
    Fact::new(kind, None, task.agent.as_ref(), at, data)
}

/// JSON that the core keeps unread.
fn value(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

fn whose(topic: &Topic) -> Option<&PersonId> {
    match topic {
        Topic::Person(person) => Some(person),
        _ => None,
    }
}

fn answer(kind: Kind, reply: &Reply) -> Fact {
    let data = json!({
        "id": reply.id, "conversation": reply.conversation, "agent": reply.agent, "person": reply.person,
    });
    let fact = Fact::new(kind, Some(&reply.person), Some(&reply.agent), reply.at, data);
    fact.at_place(&Topic::Conversation(reply.conversation))
}

fn told(message: &Message) -> Value {
    json!({
        "id": message.id,
        "conversation": message.conversation,
        "seq": message.seq,
        "agent": message.agent,
        "person": message.person,
        "author": party(message.author),
        "text": message.text,
    })
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Person => "person",
        Party::Agent => "agent",
    }
}

fn felt(relation: &Relation) -> Value {
    let Relation { trust, affinity, respect, love, curiosity, meetings } = relation;
    json!({
        "trust": trust, "affinity": affinity, "respect": respect, "love": love, "curiosity": curiosity,
        "meetings": meetings,
    })
}

fn changed(change: &AgentChange) -> Value {
    let AgentChange { name, personality, purpose, tone, visibility } = change;
    let fields = [
        ("name", name),
        ("personality", personality),
        ("purpose", purpose),
        ("tone", tone),
        ("visibility", visibility),
    ];
    let given = fields.into_iter().filter_map(|(field, value)| {
        value.as_ref().map(|value| (field.to_owned(), Value::from(value.as_str())))
    });
    Value::Object(given.collect::<Map<_, _>>())
}

fn noticed(notice: &Notice) -> Value {
    let action = notice.action.as_ref().map(|action| json!({ "label": action.label, "url": action.url }));
    json!({ "kind": notice.kind, "title": notice.title, "message": notice.message, "action": action })
}

/// A moment as RFC 3339 writes it, in UTC.
fn written(at: Timestamp) -> String {
    let nearest = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    nearest.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use antiphon_core::ids::{ConversationId, MessageId};
    use antiphon_core::webhooks::body;

    fn ada() -> PersonId {
        PersonId::parse("ada").unwrap()
    }

    fn luna() -> AgentId {
        AgentId::parse("luna").unwrap()
    }

    fn said(text: &str) -> Message {
        Message {
            id: MessageId(Uuid::from_u128(7)),
            conversation: ConversationId(Uuid::from_u128(9)),
            seq: 3,
            agent: luna(),
            person: ada(),
            author: Party::Person,
            text: text.into(),
            at: Timestamp(1_795_190_400_123),
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_that_finds_it() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            assert_eq!(Kind::named(kind.name()), Some(kind));
            let only: Kinds = [kind].into_iter().collect();
            assert_eq!(Kind::ALL.into_iter().filter(|other| only.has(*other)).collect::<Vec<_>>(), [kind]);
        }
        assert_eq!(Kind::named("message.deleted"), None);
    }

    #[test]
    fn a_message_is_told_as_documented() {
        let announcement = message(&said("¿Qué tal? \"\u{1}")).announce(vec!["a".into()]);
        assert_eq!(announcement.id, "msg_00000000000000000000000000000007");
        assert_eq!((announcement.kind, announcement.person), ("message.posted", Some(ada())));
        assert_eq!(announcement.about, About::Message(ConversationId(Uuid::from_u128(9)), 3));
        let body: Value = serde_json::from_str(&body(&announcement.payload, 41)).unwrap();
        let expected = json!({
            "type": "message.posted",
            "timestamp": "2026-11-20T16:00:00.123Z",
            "person": "ada",
            "data": {
                "id": "00000000-0000-0000-0000-000000000007",
                "conversation": "00000000-0000-0000-0000-000000000009",
                "seq": 3,
                "agent": "luna",
                "person": "ada",
                "author": "person",
                "text": "¿Qué tal? \"\u{1}",
            },
            "sequence": 41,
        });
        assert_eq!(body, expected);
    }

    #[test]
    fn an_answer_is_a_message_and_an_end() {
        let event = Event::ReplyFinished { message: said("ok"), tokens: 5, relation: Relation::default() };
        assert_eq!(kinds(&event), [Kind::MessagePosted, Kind::ReplyFinished]);
        let topic = Topic::Conversation(ConversationId(Uuid::from_u128(9)));
        let facts = facts(&Envelope::new(topic.clone(), event), Timestamp(0));
        assert_eq!(
            facts.iter().map(|fact| fact.kind).collect::<Vec<_>>(),
            [Kind::MessagePosted, Kind::ReplyFinished]
        );
        assert!(facts.iter().all(|fact| fact.places.contains(&topic)));
        assert_eq!(facts[1].data["tokens"], 5);
        assert_ne!(facts[0].id, facts[1].id);
    }

    #[test]
    fn a_signal_keeps_its_value_and_belongs_to_the_person_it_goes_to() {
        let value = serde_json::value::RawValue::from_string(r#"{"order": 4711}"#.into()).unwrap();
        let event =
            Event::Signal(antiphon_core::event::Signal { name: "shipped".into(), value: value.into() });
        let envelope = Envelope::new(Topic::Person(ada()), event);
        let fact = facts(&envelope, Timestamp(0)).remove(0);
        assert_eq!(
            fact.data,
            json!({ "name": "shipped", "value": { "order": 4711 }, "topic": "person:ada" })
        );
        assert_eq!(fact.places, [Topic::Person(ada())]);
        assert_eq!(fact.announce(Vec::new()).person, Some(ada()));
    }

    #[test]
    fn coming_and_going_are_noted() {
        for (here, name) in [(true, "person.connected"), (false, "person.disconnected")] {
            let fact = presence(&ada(), here, Timestamp(0));
            assert!(fact.places.contains(&Topic::Everyone));
            let announcement = fact.announce(Vec::new());
            assert_eq!((announcement.kind, announcement.about), (name, About::Presence(here)));
            assert!(announcement.payload.contains(r#""timestamp":"1970-01-01T00:00:00Z""#));
        }
    }
}

//! What holds for every dialect, whatever clients send and whatever happens.

// `samples` and `reference` are used in part here and in full in `api.rs`.
#[allow(dead_code)]
mod support;

use std::sync::Arc;

use antiphon_core::access::{self, Action, Place};
use antiphon_core::actor::{Actor, Plan, Principal};
use antiphon_core::agents::{AgentChange, Relation};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::dialect::{Args, Dialect, Inbound, Out};
use antiphon_core::event::{Chunk, Event};
use antiphon_core::ids::{AgentId, MessageId, PersonId, Timestamp};
use antiphon_core::presence::Status;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_dialects::dialects;
use proptest::prelude::*;
use serde_json::{Map, Value};
use support::samples::NOW;
use support::{reference, references, samples};

proptest! {
    #[test]
    fn no_event_name_and_no_argument_makes_a_dialect_stumble(
        name in event_name(), args in arguments(), attachment in any::<Vec<u8>>()
    ) {
        for dialect in dialects() {
            said_to(&*dialect, &name, Args::new(args.clone(), vec![attachment.clone()]));
        }
    }

    #[test]
    fn no_connect_makes_a_dialect_stumble(auth in prop_oneof![".*", json().prop_map(|json| json.to_string())]) {
        for dialect in dialects() {
            let _ = dialect.accepts(Some(&auth));
            if let Err(refusal) = dialect.credential(Some(&auth)) {
                let told = dialect.refused(&refusal);
                prop_assert!(!told.message.is_empty());
            }
        }
    }

    #[test]
    fn every_refusal_is_told_in_json(
        name in event_name(), code in code(), message in ".*", at in any::<i64>()
    ) {
        for dialect in dialects() {
            let refusal = Refusal::new(code.clone(), message.clone());
            if let Some(data) = dialect.refused(&refusal).data {
                prop_assert!(is_json(data.as_bytes()));
            }
            let mut out = Out::default();
            dialect.dismissed(&refusal, Timestamp(at), &mut out);
            dialect.reply(&name, &Err(refusal), Timestamp(at), &mut out);
            check(&out);
        }
    }

    #[test]
    fn every_fact_is_said_in_json(event in event()) {
        for dialect in dialects() {
            let mut out = Out::default();
            dialect.outbound(&event, &mut out);
            check(&out);
        }
    }

    #[test]
    fn saying_the_same_twice_is_saying_it_alike(event in event()) {
        for dialect in dialects() {
            let (mut first, mut second) = (Out::default(), Out::default());
            dialect.outbound(&event, &mut first);
            dialect.outbound(&event, &mut second);
            prop_assert_eq!(reference::said(&first), reference::said(&second));
        }
    }
}

#[test]
fn t6_a_fresh_connection_is_seated_only_where_it_may_listen() {
    let plan =
        Plan { name: "free".into(), connections_per_minute: None, messages_per_month: None, agents: None };
    let plan = Arc::new(plan);
    let service = Principal::Service("shop".into());
    for principal in [Principal::Person(samples::ada()), service, Principal::Operator, Principal::Guest] {
        let actor = Actor::new(principal, plan.clone());
        for (dialect, topic) in dialects()
            .iter()
            .flat_map(|dialect| dialect.seats(&actor).into_iter().map(move |topic| (dialect, topic)))
        {
            let allowed = access::may(&actor, Action::Listen, Place::of(&topic));
            assert!(allowed.is_ok(), "{} seats {:?} at {topic:?}", dialect.name(), actor.principal);
        }
    }
}

/// Lets `dialect` hear an event and checks all that it says about it.
fn said_to(dialect: &dyn Dialect, name: &str, args: Args) {
    let mut out = Out::default();
    if let Inbound::Refused(refusal) = dialect.inbound(name, &args, NOW, &mut out) {
        assert!(!refusal.message.is_empty(), "a refusal says why");
        dialect.reply(name, &Err(refusal), NOW, &mut out);
        assert!(out.acked().is_some(), "a refusal has an ack");
    }
    check(&out);
}

/// What is said is comma-separated JSON, each event's and the ack's.
fn check(out: &Out) {
    for (name, args) in out.events() {
        assert!(!name.is_empty());
        assert!(is_json(args), "{name} {}", String::from_utf8_lossy(args));
    }
    if let Some(args) = out.acked() {
        assert!(is_json(args), "ack {}", String::from_utf8_lossy(args));
    }
}

fn is_json(args: &[u8]) -> bool {
    let list = [b"[", args, b"]"].concat();
    serde_json::from_slice::<Vec<Value>>(&list).is_ok()
}

/// The names of all references more often than names that nobody ever thought of.
fn event_name() -> impl Strategy<Value = String> {
    prop_oneof![4 => prop::sample::select(known_names()), 1 => ".*", 1 => "[a-z_]{1,12}(:[a-z_]{1,12}){0,3}"]
}

fn known_names() -> Vec<String> {
    let mut names = Vec::new();
    for reference in references() {
        let blocks = reference::blocks(reference.text);
        names.extend(
            blocks.into_iter().filter(|block| block.kind == "client").flat_map(|block| block.subjects),
        );
    }
    assert!(!names.is_empty(), "references have client events");
    names
}

/// Objects with documented fields of all types, any JSON, and any text.
fn arguments() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => documented_object().prop_map(|object| format!("[{object}]")),
        2 => prop::collection::vec(json(), 0..4).prop_map(|values| Value::from(values).to_string()),
        1 => ".*",
    ]
}

/// An object whose fields have the names of the examples, with values of the right type or of any other.
fn documented_object() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(documented_fields());
    let value = prop_oneof![2 => ".{0,200}".prop_map(Value::from), 1 => any::<bool>().prop_map(Value::from), 1 => json()];
    prop::collection::vec((field, value), 0..6)
        .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into())
}

fn documented_fields() -> Vec<String> {
    let mut fields = Vec::new();
    for reference in references() {
        for block in reference::blocks(reference.text).iter().filter(|block| block.kind == "client") {
            let args = format!("[{}]", reference::arguments(block.parts().0));
            let args: Vec<Value> = serde_json::from_str(&args).expect("examples are JSON");
            fields.extend(args.iter().filter_map(Value::as_object).flat_map(Map::keys).cloned());
        }
    }
    assert!(!fields.is_empty(), "examples have fields");
    fields
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((".*", inner), 0..6)
                .prop_map(|fields| fields.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

fn code() -> impl Strategy<Value = Code> {
    prop_oneof![
        Just(Code::Invalid),
        Just(Code::Unauthenticated),
        Just(Code::BadCredential),
        Just(Code::Forbidden),
        Just(Code::NotFound),
        any::<u64>().prop_map(|retry_after| Code::RateLimited { retry_after }),
        any::<(u64, u64)>().prop_map(|(current, limit)| Code::OverQuota { current, limit }),
        Just(Code::TooLarge),
        Just(Code::Conflict),
        any::<u64>().prop_map(|retry_after| Code::Unavailable { retry_after }),
        Just(Code::Internal),
        any::<u64>().prop_map(|balance| Code::Insufficient { balance }),
    ]
}

/// The samples, and those facts that carry text or numbers with any of these.
fn event() -> impl Strategy<Value = Event> {
    let samples: Vec<Event> = samples::facts().into_iter().map(|(_, event)| event).collect();
    prop_oneof![
        prop::sample::select(samples),
        message().prop_map(Event::MessagePosted),
        (message(), any::<u64>(), relation()).prop_map(|(message, tokens, relation)| Event::ReplyFinished {
            message,
            tokens,
            relation
        }),
        (agent(), person(), relation(), at()).prop_map(|(agent, person, relation, at)| {
            Event::RelationChanged { agent, person, relation, at }
        }),
        (id(), agent(), any::<u32>(), ".*", at()).prop_map(|(reply, agent, index, text, at)| {
            Event::ReplyChunk(Chunk { reply, agent, index, text, at })
        }),
        (person(), status(), any::<bool>(), at()).prop_map(|(person, status, changed, at)| {
            Event::PresenceChanged { person, status, changed, at }
        }),
        (agent(), change(), at()).prop_map(|(agent, change, at)| Event::AgentChanged { agent, change, at }),
    ]
}

fn message() -> impl Strategy<Value = Message> {
    (id(), any::<u64>(), agent(), person(), any::<bool>(), ".*", at()).prop_map(
        |(id, seq, agent, person, is_agent, text, at)| Message {
            id,
            conversation: samples::conversation(),
            seq,
            agent,
            person,
            author: if is_agent { Party::Agent } else { Party::Person },
            text,
            at,
        },
    )
}

fn relation() -> impl Strategy<Value = Relation> {
    any::<(f64, f64, f64, f64, f64)>().prop_map(|(trust, affinity, respect, love, curiosity)| Relation {
        trust,
        affinity,
        respect,
        love,
        curiosity,
        meetings: 7,
    })
}

fn change() -> impl Strategy<Value = AgentChange> {
    let field = || prop::option::of(".*");
    (field(), field(), field(), field(), field()).prop_map(
        |(name, personality, purpose, tone, visibility)| AgentChange {
            name,
            personality,
            purpose,
            tone,
            visibility,
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![Status::Online, Status::Away, Status::Offline])
}

fn agent() -> impl Strategy<Value = AgentId> {
    "[^\\pC]{1,30}".prop_map(|text| AgentId::parse(&text).expect("at most 120 printable bytes"))
}

fn person() -> impl Strategy<Value = PersonId> {
    "[^\\pC]{1,30}".prop_map(|text| PersonId::parse(&text).expect("at most 120 printable bytes"))
}

fn id() -> impl Strategy<Value = MessageId> {
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}"
        .prop_map(|text| serde_json::from_value(Value::from(text)).expect("a UUID"))
}

fn at() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp)
}

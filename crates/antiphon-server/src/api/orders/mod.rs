//! What a command looks like as JSON: the one translation into the core's commands.
//!
//! [`drafts`], [`people`], [`tokens`] and [`work`] hold a struct for every command, and [`KNOWN`] lists them by name. What a new
//! command of the core needs shows where [`is_repeatable`] does not compile.

pub(super) mod drafts;
mod people;
mod tokens;
mod work;

use antiphon_core::command::Command;
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::refusal::Refusal;
use antiphon_core::tasks::Step;
use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::openapi::schema::{
    ArrayBuilder, Discriminator, Object, ObjectBuilder, OneOfBuilder, Schema, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use self::drafts::{
    ChangeAgent, CreateAgent, DeleteAgent, JoinConversation, LeaveConversation, PostMessage, ReadHistory,
    SendNotice, SetPresence, SetTyping, Signal, Speak, UnwatchAgent, WatchAgent,
};
use self::people::{Befriend, ReadBonds, ReadPersonas, ReadProfile, SetProfile, ShowTyping};
use self::tokens::{ClaimReward, Deposit, Grant, OpenWallet, ReadBalance, ReadLedger, Withdraw};
use self::work::{
    AssignTask, CancelTask, ClaimTask, CompleteTask, ControlAgent, CreateTask, EnlistAgent, FailTask,
    Heartbeat, RaiseAlert, ReadConversation, ReadConversations, ReadTask, ReadTasks, ReadWorker, ReadWorkers,
    ReportProgress, SetAgentStatus, StartTask, Unwatch, Watch,
};
use super::body::{cut, nearest, parse};
use super::problem::Problem;

/// One command on its way.
#[derive(Clone, Debug)]
pub(super) struct Order {
    /// The person as whom it is done; otherwise the service itself does it.
    pub(super) person: Option<PersonId>,
    /// What is done.
    pub(super) command: Command,
}

/// A command as it was sent, with the key that it may carry.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) order: Order,
    pub(super) key: Option<String>,
}

/// Reads one command, an object of JSON.
pub(super) fn read(object: &str, now: Timestamp) -> Result<Read, Problem> {
    let Members(members) = parse(object.as_bytes())?;
    let (mut head, mut rest) = (Head::default(), String::from("{"));
    for (name, value) in members {
        match &*name {
            "command" => head.command = Some(parse(value.get().as_bytes())?),
            "as" => head.person = Some(parse(value.get().as_bytes())?),
            "idempotencyKey" => head.key = Some(parse(value.get().as_bytes())?),
            _ => {
                let comma = if rest.len() > 1 { "," } else { "" };
                rest += &format!("{comma}{}:{}", Value::from(name), value.get());
            }
        }
    }
    rest.push('}');
    let name = head.command.ok_or_else(|| Problem::invalid("A command names itself in `command`."))?;
    let known = KNOWN.iter().find(|known| known.name == name).ok_or_else(|| unknown(&name))?;
    let person = head.person.map(|id| PersonId::parse(&id)).transpose()?;
    let command = (known.read)(rest.as_bytes(), &Who { person: person.as_ref(), now })?;
    Ok(Read { order: Order { person, command }, key: head.key })
}

fn unknown(name: &str) -> Problem {
    let names: Vec<_> = KNOWN.iter().map(|known| known.name).collect();
    let meant = match nearest(name, names.iter().copied()) {
        Some(meant) => format!("Did you mean `{meant}`?"),
        None => format!("There are: {}.", names.join(", ")),
    };
    Problem::invalid(format!("There is no command `{}`. {meant}", cut(name)))
}

#[derive(Default)]
struct Head {
    command: Option<String>,
    person: Option<String>,
    key: Option<String>,
}

/// The members of an object, each only once, with their values not looked into.
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    // A command has a handful of members, and none has more than fit into this many.
                    if members.len() == MOST_MEMBERS {
                        return Err(A::Error::custom("a command has fewer members than that"));
                    }
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("`{}` is there twice", cut(&name))));
                    }
                    members.push((name, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Members that one command may have.
const MOST_MEMBERS: usize = 32;

/// For whom a command is read, and when.
struct Who<'a> {
    person: Option<&'a PersonId>,
    now: Timestamp,
}

/// A command as JSON, which knows how to become one of the core.
trait Draft: DeserializeOwned + ToSchema {
    /// The core's command.
    fn command(self, who: &Who<'_>) -> Result<Command, Refusal>;
}

/// A command that can be sent.
pub(super) struct Known {
    /// Its name: the core's own.
    pub(super) name: &'static str,
    example: fn() -> Value,
    read: fn(&[u8], &Who<'_>) -> Result<Command, Problem>,
    schema: fn() -> RefOr<Schema>,
    schemas: fn(&mut Vec<(String, RefOr<Schema>)>),
}

const fn known<T: Draft>(name: &'static str, example: fn() -> Value) -> Known {
    let read = |text: &[u8], who: &Who<'_>| Ok(parse::<T>(text)?.command(who)?);
    Known { name, example, read, schema: T::schema, schemas: T::schemas }
}

/// Every command, in the order of the document.
pub(super) const KNOWN: [Known; 48] = [
    known::<PostMessage>(
        "PostMessage",
        || json!({"as": "user-123", "agent": "luna", "text": "Good morning!"}),
    ),
    known::<Speak>(
        "Speak",
        || json!({"agent": "luna", "person": "user-123", "text": "Your order has been shipped."}),
    ),
    known::<ReadHistory>(
        "ReadHistory",
        || json!({"as": "user-123", "agent": "luna", "after": 0, "limit": 50}),
    ),
    known::<CreateAgent>(
        "CreateAgent",
        || json!({"as": "user-123", "id": "nova", "name": "Nova", "tone": "bright"}),
    ),
    known::<ChangeAgent>("ChangeAgent", || json!({"agent": "luna", "tone": "calm"})),
    known::<DeleteAgent>("DeleteAgent", || json!({"agent": "mia"})),
    known::<SendNotice>(
        "SendNotice",
        || json!({"person": "user-123", "kind": "info", "title": "Maintenance", "message": "Tonight at ten."}),
    ),
    known::<Signal>(
        "Signal",
        || json!({"topic": "named:orders", "name": "order:shipped", "value": {"order": 4711}}),
    ),
    known::<SetTyping>("SetTyping", || json!({"as": "user-123", "agent": "luna", "active": true})),
    known::<ShowTyping>("ShowTyping", || json!({"as": "user-123", "active": true})),
    known::<SetPresence>("SetPresence", || json!({"as": "user-123", "status": "away"})),
    known::<JoinConversation>("JoinConversation", || json!({"as": "user-123", "agent": "luna"})),
    known::<LeaveConversation>("LeaveConversation", || json!({"as": "user-123", "agent": "luna"})),
    known::<WatchAgent>("WatchAgent", || json!({"as": "user-123", "agent": "luna"})),
    known::<UnwatchAgent>("UnwatchAgent", || json!({"as": "user-123", "agent": "luna"})),
    known::<ReadPersonas>("ReadPersonas", || json!({"limit": 50})),
    known::<Befriend>("Befriend", || json!({"as": "user-123", "agent": "luna"})),
    known::<ReadBonds>("ReadBonds", || json!({"as": "user-123"})),
    known::<ReadProfile>("ReadProfile", || json!({"as": "user-123"})),
    known::<SetProfile>(
        "SetProfile",
        || json!({"as": "user-123", "profile": {"name": "Ada", "timeZone": "Asia/Jakarta"}}),
    ),
    known::<OpenWallet>("OpenWallet", || json!({"as": "user-123"})),
    known::<Deposit>("Deposit", || json!({"person": "user-123", "reference": "invoice-4711", "amount": 100})),
    known::<Withdraw>("Withdraw", || json!({"as": "user-123", "amount": 10, "key": "payout-7"})),
    known::<ClaimReward>("ClaimReward", || json!({"as": "user-123"})),
    known::<Grant>("Grant", || json!({"person": "user-123", "amount": 20, "key": "birthday-2026"})),
    known::<ReadBalance>("ReadBalance", || json!({"as": "user-123"})),
    known::<ReadLedger>("ReadLedger", || json!({"as": "user-123", "after": 0, "limit": 50})),
    known::<CreateTask>(
        "CreateTask",
        || json!({"title": "Summarise the week", "priority": "high", "payload": {"pages": 3}}),
    ),
    known::<AssignTask>(
        "AssignTask",
        || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10", "agent": "luna"}),
    ),
    known::<ClaimTask>("ClaimTask", || json!({"agent": "luna"})),
    known::<StartTask>(
        "StartTask",
        || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10", "agent": "luna"}),
    ),
    known::<ReportProgress>(
        "ReportProgress",
        || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10", "agent": "luna", "update": {"percent": 50}}),
    ),
    known::<CompleteTask>(
        "CompleteTask",
        || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10", "agent": "luna", "result": {"pages": 3}}),
    ),
    known::<FailTask>(
        "FailTask",
        || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10", "agent": "luna", "error": "The source is gone."}),
    ),
    known::<CancelTask>("CancelTask", || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10"})),
    known::<ReadTask>("ReadTask", || json!({"task": "9f1c2c5e-0a4b-4c7e-8f57-3d3c1f1a7b10"})),
    known::<ReadTasks>("ReadTasks", || json!({"status": "pending", "limit": 50})),
    known::<EnlistAgent>(
        "EnlistAgent",
        || json!({"agent": "luna", "capabilities": ["summarise"], "version": "1.0"}),
    ),
    known::<ControlAgent>("ControlAgent", || json!({"agent": "luna", "control": "pause"})),
    known::<SetAgentStatus>("SetAgentStatus", || json!({"agent": "luna", "status": "busy"})),
    known::<Heartbeat>("Heartbeat", || json!({"agent": "luna", "metadata": {"load": 0.5}})),
    known::<ReadWorker>("ReadWorker", || json!({"agent": "luna"})),
    known::<ReadWorkers>("ReadWorkers", || json!({"limit": 50})),
    known::<RaiseAlert>(
        "RaiseAlert",
        || json!({"message": "The disk is almost full.", "severity": "warning"}),
    ),
    known::<ReadConversation>(
        "ReadConversation",
        || json!({"conversation": "5f0c8f0e-6f0f-5b1f-8d2d-0d1b8e0a4c11", "after": 0, "limit": 50}),
    ),
    known::<ReadConversations>("ReadConversations", || json!({"limit": 50})),
    known::<Watch>("Watch", || json!({"topic": "dashboard"})),
    known::<Unwatch>("Unwatch", || json!({"topic": "dashboard"})),
];

/// Whether doing a command again, when nobody knows whether it was done before, has no second effect.
///
/// A message under a key is stored once, tokens under a key move once, and everything else that is stored ends up the same.
/// What is only told would be told twice.
pub(super) fn is_repeatable(command: &Command) -> bool {
    match command {
        Command::PostMessage { once, .. } | Command::Speak { once, .. } => once.is_some(),
        Command::SendNotice { .. } | Command::Signal { .. } => false,
        Command::JoinConversation { .. }
        | Command::LeaveConversation { .. }
        | Command::SetTyping { .. }
        | Command::ShowTyping { .. }
        | Command::WatchAgent { .. }
        | Command::UnwatchAgent { .. }
        | Command::SetPresence { .. }
        | Command::CreateAgent { .. }
        | Command::ChangeAgent { .. }
        | Command::DeleteAgent { .. }
        | Command::ReadConversation { .. }
        | Command::ReadConversations { .. }
        | Command::ReadHistory { .. }
        | Command::ReadPersonas { .. }
        | Command::Befriend { .. }
        | Command::ReadBonds { .. }
        | Command::ReadProfile { .. }
        | Command::SetProfile { .. } => true,
        Command::Withdraw { once, .. } | Command::Grant { once, .. } => once.is_some(),
        Command::OpenWallet { .. }
        | Command::Deposit { .. }
        | Command::ClaimReward { .. }
        | Command::ReadBalance { .. }
        | Command::ReadLedger { .. } => true,

        // A second task, a second claim, something told twice.
        Command::CreateTask { .. }
        | Command::ClaimTask { .. }
        | Command::ChangeTask { step: Step::Progress(..), .. }
        | Command::RaiseAlert { .. } => false,
        Command::ChangeTask { .. }
        | Command::ReadTask { .. }
        | Command::ReadTasks { .. }
        | Command::EnlistAgent { .. }
        | Command::ControlAgent { .. }
        | Command::SetAgentStatus { .. }
        | Command::Heartbeat { .. }
        | Command::ReadWorker { .. }
        | Command::ReadWorkers { .. }
        | Command::Watch { .. }
        | Command::Unwatch { .. } => true,
    }
}

// ---- the document ----

/// The body of `POST /v1/commands` in the document: one command, or a list of them.
pub(super) struct Commands;

impl PartialSchema for Commands {
    fn schema() -> RefOr<Schema> {
        let one = Ref::from_schema_name("Command");
        OneOfBuilder::new().item(one.clone()).item(ArrayBuilder::new().items(one).min_items(Some(1))).into()
    }
}

impl ToSchema for Commands {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        let mut any = OneOfBuilder::new().discriminator(Some(Discriminator::new("command")));
        for known in &KNOWN {
            (known.schemas)(schemas);
            schemas.push((known.name.into(), with_head((known.schema)(), known.name)));
            any = any.item(Ref::from_schema_name(known.name));
        }
        schemas.push(("Command".into(), any.into()));
    }
}

/// A body for each command that can be sent.
pub(super) fn examples() -> impl Iterator<Item = Value> {
    KNOWN.iter().map(|known| {
        let mut example = json!({"command": known.name});
        if let (Value::Object(all), Value::Object(own)) = (&mut example, (known.example)()) {
            all.extend(own);
        }
        example
    })
}

/// The members that every command has, besides its own.
fn with_head(schema: RefOr<Schema>, name: &str) -> RefOr<Schema> {
    let RefOr::T(Schema::Object(mut object)) = schema else { return schema };
    let text = |description: &str| -> Object {
        ObjectBuilder::new().schema_type(Type::String).description(Some(description)).build()
    };
    let command = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([name])).build();
    let heads = [
        ("command", command),
        ("as", text("The person as whom it is done. Without it, the service itself does it.")),
        (
            "idempotencyKey",
            text("The same as the header `Idempotency-Key`, for a command that is sent alone."),
        ),
    ];
    for (name, head) in heads {
        object.properties.insert(name.into(), RefOr::T(head.into()));
    }
    object.required.push("command".into());
    RefOr::T(Schema::Object(object))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(text: &str) -> Result<Read, String> {
        read(text, Timestamp(7)).map_err(|problem| problem.view().detail)
    }

    #[test]
    fn every_example_is_the_command_that_it_says() {
        for example in examples() {
            let read = order(&example.to_string()).unwrap_or_else(|error| panic!("{example}: {error}"));
            assert_eq!(example["command"], read.order.command.name());
            assert_eq!(example.get("as").is_some(), read.order.person.is_some());
        }
    }

    #[test]
    fn names_that_are_not_known_are_refused_with_those_that_are() {
        let table = [
            (r#"{"agent":"luna"}"#, "A command names itself in `command`."),
            (r#"{"command":"PostMesage"}"#, "There is no command `PostMesage`. Did you mean `PostMessage`?"),
            (
                r#"{"command":"DeleteAgent","agnt":"luna"}"#,
                "agnt: unknown field `agnt`, expected `agent`. Did you mean `agent`?",
            ),
            (r#"{"command":"DeleteAgent"}"#, "missing field `agent`."),
            (r#"{"command":"DeleteAgent","agent":{"a":1}}"#, "agent: invalid type: map, expected a string."),
            (r#"{"command":"DeleteAgent","agent":"a","agent":"b"}"#, "`agent` is there twice."),
            (r#"{"command":7}"#, "invalid type: integer `7`, expected a string."),
            (r#"["DeleteAgent"]"#, "invalid type: sequence, expected an object."),
        ];
        for (text, expected) in table {
            assert_eq!(order(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn t31_an_id_is_data_whatever_it_says() {
        let text = r#"{"command":"DeleteAgent","agent":"x'); DROP TABLE agents;--\" \\ {}"}"#;
        let Command::DeleteAgent { agent } = order(text).unwrap().order.command else { panic!("another") };
        assert_eq!(agent.as_str(), r#"x'); DROP TABLE agents;--" \ {}"#);
        assert!(order(r#"{"command":"DeleteAgent","agent":"a\u0000b"}"#).is_err());
    }

    #[test]
    fn a_value_is_relayed_byte_by_byte() {
        let text = r#"{"command":"Signal","topic":"everyone","name":"n","value":{"b":1.10,"a":12345678901234567890123}}"#;
        let Command::Signal { value, .. } = order(text).unwrap().order.command else { panic!("another") };
        assert_eq!(value.get(), r#"{"b":1.10,"a":12345678901234567890123}"#);
    }

    #[test]
    fn t19_a_notice_leads_to_no_script() {
        let notice = |url: &str| {
            let text = format!(
                r#"{{"command":"SendNotice","person":"p","kind":"info","title":"t","message":"m","action":{{"label":"l","url":"{url}"}}}}"#
            );
            order(&text)
        };
        for url in ["https://example.org", "/orders/1"] {
            assert!(notice(url).is_ok(), "{url}");
        }
        for url in ["javascript:alert(1)", " javascript:alert(1)", "data:text/html,x", "//evil.example", ""] {
            assert!(notice(url).is_err(), "{url}");
        }
    }
}

//! What happens in the examples: one small story that every dialect tells in its own words.
//!
//! Ada (`ada`) talks to her agent Luna (`luna`) at the first moment of 2026.

use antiphon_core::agents::{AgentChange, Relation};
use antiphon_core::command::Outcome;
use antiphon_core::conversation::{Message, Party};
use antiphon_core::event::{Chunk, Event, Reply, Severity, Signal, StatusChange};
use antiphon_core::ids::{AgentId, ConversationId, MessageId, PersonId, TaskId, Timestamp};
use antiphon_core::notices::{Notice, NoticeAction, NoticeKind};
use antiphon_core::ports::{Revocation, Revoked};
use antiphon_core::presence::Status;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::tasks::{NewTask, Priority, Step, Task, TaskUpdate};
use antiphon_core::wallet::{Balance, Entry, Reason};
use antiphon_core::workers::{AgentStatus, Cause, Control};
use serde_json::value::RawValue;

/// When everything happens: 2026-01-01T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000);

/// What Ada has.
const BALANCE: Balance = Balance { tokens: 57, position: 2 };

/// What can come of a command, by name.
pub(crate) fn outcomes() -> Vec<(&'static str, Result<Outcome, Refusal>)> {
    let posted =
        |duplicate| Outcome::Posted { id: question_id(), conversation: conversation(), seq: 41, duplicate };
    let done = [
        ("done", Ok(Outcome::Done)),
        ("posted", Ok(posted(false))),
        ("posted-before", Ok(posted(true))),
        ("history", Ok(Outcome::History(vec![question(), answer()]))),
        ("booked", Ok(Outcome::Booked { entry: entry(), duplicate: false })),
        ("rewarded", Ok(Outcome::Rewarded { entry: entry(), bonus: 2, duplicate: false })),
        ("balance", Ok(Outcome::Balance(BALANCE))),
        ("ledger", Ok(Outcome::Ledger(vec![entry()]))),
        ("watched", Ok(Outcome::Watched { name: "agent:luna".into() })),
    ];
    done.into_iter().chain(refusals().into_iter().map(|(name, refusal)| (name, Err(refusal)))).collect()
}

/// Why something may not be done, by name.
pub(crate) fn refusals() -> Vec<(&'static str, Refusal)> {
    let refusals = vec![
        Refusal::invalid("A message must not be empty."),
        Refusal::new(Code::Unauthenticated, "Please say who you are."),
        Refusal::new(Code::BadCredential, "This key is not known."),
        Refusal::forbidden(),
        Refusal::not_found("There is no such agent."),
        Refusal::new(Code::RateLimited { retry_after: 1_500 }, "That was a little too fast."),
        Refusal::new(Code::OverQuota { current: 100, limit: 100 }, "Monthly message limit reached (100)"),
        Refusal::new(Code::TooLarge, "A message has at most 32,768 bytes."),
        Refusal::new(Code::Conflict, "This key was used for another message."),
        Refusal::new(Code::Unavailable { retry_after: 2_000 }, "Messages cannot be stored right now."),
        Refusal::internal(),
        Refusal::new(Code::Insufficient { balance: 3 }, "There are not enough tokens in this wallet."),
    ];
    refusals.into_iter().map(|refusal| (code_name(&refusal.code), refusal)).collect()
}

/// No catch-all: a new code must get a sample above.
fn code_name(code: &Code) -> &'static str {
    match code {
        Code::Invalid => "invalid",
        Code::Unauthenticated => "unauthenticated",
        Code::BadCredential => "bad-credential",
        Code::Forbidden => "forbidden",
        Code::NotFound => "not-found",
        Code::RateLimited { .. } => "rate-limited",
        Code::OverQuota { .. } => "over-quota",
        Code::TooLarge => "too-large",
        Code::Conflict => "conflict",
        Code::Unavailable { .. } => "unavailable",
        Code::Internal => "internal",
        Code::Insufficient { .. } => "insufficient",
    }
}

/// What can happen, by name.
pub(crate) fn facts() -> Vec<(&'static str, Event)> {
    let reply = Reply {
        id: answer_id(),
        conversation: conversation(),
        agent: luna(),
        person: ada(),
        question: question_id(),
        at: NOW,
    };
    // As sums of hundredths come out.
    let warmer = Relation { trust: 0.5 + 0.02, affinity: 0.5 + 0.03, ..Relation::default() };
    let grown = Relation {
        trust: 1.0,
        affinity: 0.5 + 0.03 * 10.0,
        respect: 0.6,
        love: 0.9,
        curiosity: 0.1,
        meetings: 40,
    };
    let broken = Relation { trust: 0.5 - 0.03 * 13.0, affinity: 0.0, respect: 0.3, ..Relation::default() };
    let change =
        AgentChange { name: Some("Luna".into()), tone: Some("warm".into()), ..AgentChange::default() };
    let changed_in_everything = AgentChange {
        personality: Some("curious".into()),
        purpose: Some("company".into()),
        visibility: Some("private".into()),
        ..change.clone()
    };
    let unasked = Message { text: "Te he echado de menos.".into(), ..answer() };
    let chunk =
        Chunk { reply: answer_id(), agent: luna(), index: 0, text: "Muy bien, gracias ".into(), at: NOW };
    let signal = Signal {
        name: "weather".into(),
        value: RawValue::from_string("{\"rain\":true}".into()).expect("valid JSON").into(),
    };
    let revocation = Revocation { what: Revoked::Person(ada()), at: NOW, until: NOW };
    vec![
        ("message-posted", Event::MessagePosted(question())),
        ("agent-message-posted", Event::MessagePosted(unasked)),
        ("relation-changed", relation(warmer)),
        ("relation-grown", relation(grown)),
        ("relation-broken", relation(broken)),
        ("person-typing", typing(Party::Person, true)),
        ("person-stopped-typing", typing(Party::Person, false)),
        ("agent-typing", typing(Party::Agent, true)),
        ("person-typing-somewhere", Event::PersonTyping { person: ada(), active: true, at: NOW }),
        ("person-stopped-typing-somewhere", Event::PersonTyping { person: ada(), active: false, at: NOW }),
        ("reply-started", Event::ReplyStarted(reply.clone())),
        ("reply-chunk", Event::ReplyChunk(chunk)),
        ("reply-finished", Event::ReplyFinished { message: answer(), tokens: 13, relation: warmer }),
        ("reply-failed", Event::ReplyFailed(reply)),
        ("person-came-online", presence(Status::Online, true)),
        ("person-still-online", presence(Status::Online, false)),
        ("person-went-away", presence(Status::Away, true)),
        ("person-still-away", presence(Status::Away, false)),
        ("person-went-offline", presence(Status::Offline, true)),
        ("person-still-offline", presence(Status::Offline, false)),
        ("agent-changed", Event::AgentChanged { agent: luna(), change, at: NOW }),
        (
            "agent-changed-in-everything",
            Event::AgentChanged { agent: luna(), change: changed_in_everything, at: NOW },
        ),
        ("agent-deleted", Event::AgentDeleted { agent: luna() }),
        (
            "notice-sent",
            notice(NoticeKind::Info, "Maintenance tonight", "The server restarts at 22:00 UTC.", None),
        ),
        (
            "notice-with-an-action",
            notice(
                NoticeKind::Warning,
                "Almost used up",
                "You have sent 90 of 100 messages this month.",
                Some(NoticeAction { label: "Upgrade".into(), url: "/pricing".into() }),
            ),
        ),
        ("error-notice", notice(NoticeKind::Error, "Export failed", "Please try again.", None)),
        (
            "success-notice",
            notice(NoticeKind::Success, "Export finished", "Your conversations are ready.", None),
        ),
        ("signal", Event::Signal(signal)),
        ("revoked", Event::Revoked(revocation)),
        ("balance-changed", Event::BalanceChanged(entry())),
        ("deposit-booked", Event::BalanceChanged(deposit())),
        ("charge-booked", Event::BalanceChanged(charge())),
        ("balance-told", Event::BalanceTold { person: ada(), balance: BALANCE, at: NOW }),
        ("task-created", Event::TaskCreated(Box::new(task()))),
        ("task-assigned", Event::TaskAssigned(Box::new(task()))),
        ("task-started", Event::TaskUpdated { task: Box::new(task()), update: TaskUpdate::Started, at: NOW }),
        (
            "task-progress",
            Event::TaskUpdated {
                task: Box::new(task()),
                update: TaskUpdate::Progress("{\"percent\":50}".into()),
                at: NOW,
            },
        ),
        (
            "task-returned",
            Event::TaskUpdated {
                task: Box::new(task().returned().expect("somebody has it")),
                update: TaskUpdate::Returned(luna()),
                at: NOW,
            },
        ),
        ("task-finished", Event::TaskFinished(Box::new(finished_task()))),
        (
            "task-failed",
            Event::TaskFinished(Box::new(step(&task(), Step::Fail(luna(), "The source is gone.".into())))),
        ),
        ("task-cancelled", Event::TaskFinished(Box::new(step(&task(), Step::Cancel)))),
        (
            "agent-status-changed",
            Event::AgentStatusChanged(Box::new(StatusChange {
                agent: luna(),
                old: AgentStatus::Ready,
                new: AgentStatus::Offline,
                cause: Cause::HeartbeatTimeout,
                by: "operator".into(),
                at: NOW,
            })),
        ),
        (
            "agent-paused",
            Event::AgentStatusChanged(Box::new(StatusChange {
                agent: luna(),
                old: AgentStatus::Ready,
                new: AgentStatus::Paused,
                cause: Cause::Controlled(Control::Pause),
                by: "person:ada".into(),
                at: NOW,
            })),
        ),
        (
            "agent-busy",
            Event::AgentStatusChanged(Box::new(StatusChange {
                agent: luna(),
                old: AgentStatus::Ready,
                new: AgentStatus::Busy,
                cause: Cause::Said,
                by: "service:fleet".into(),
                at: NOW,
            })),
        ),
        (
            "agent-heartbeat",
            Event::AgentHeartbeat { agent: luna(), metadata: "{\"load\":0.5}".into(), at: NOW },
        ),
        (
            "alert-raised",
            Event::AlertRaised {
                message: "The disk is almost full.".into(),
                severity: Severity::Warning,
                at: NOW,
            },
        ),
    ]
}

/// A task that Luna is at.
fn task() -> Task {
    let new = NewTask {
        title: "Summarise the week".into(),
        description: String::new(),
        priority: Priority::High,
        payload: "{}".into(),
        needs: None,
        parent: None,
        conversation: None,
    };
    let task = Task { id: TaskId(question_id().0), position: 1, ..new.begun("operator".into(), NOW) };
    step(&step(&task, Step::Claim(luna())), Step::Start(luna()))
}

fn finished_task() -> Task {
    step(&task(), Step::Complete(luna(), "{\"pages\":2}".into()))
}

fn step(task: &Task, step: Step) -> Task {
    task.after(&step, NOW).expect("an allowed step").expect("a step that changes something")
}

/// Which variant an event is. No catch-all: a new kind of event must be listed in [`KINDS`] and get a sample above.
pub(crate) fn kind(event: &Event) -> &'static str {
    match event {
        Event::MessagePosted(_) => "MessagePosted",
        Event::RelationChanged { .. } => "RelationChanged",
        Event::TypingChanged { .. } => "TypingChanged",
        Event::PersonTyping { .. } => "PersonTyping",
        Event::ReplyStarted(_) => "ReplyStarted",
        Event::ReplyChunk(_) => "ReplyChunk",
        Event::ReplyFinished { .. } => "ReplyFinished",
        Event::ReplyFailed(_) => "ReplyFailed",
        Event::PresenceChanged { .. } => "PresenceChanged",
        Event::AgentChanged { .. } => "AgentChanged",
        Event::AgentDeleted { .. } => "AgentDeleted",
        Event::NoticeSent { .. } => "NoticeSent",
        Event::Signal(_) => "Signal",
        Event::Revoked(_) => "Revoked",
        Event::BalanceChanged(_) => "BalanceChanged",
        Event::BalanceTold { .. } => "BalanceTold",

        Event::TaskCreated(_) => "TaskCreated",
        Event::TaskAssigned(_) => "TaskAssigned",
        Event::TaskUpdated { .. } => "TaskUpdated",
        Event::TaskFinished(_) => "TaskFinished",
        Event::AgentStatusChanged(_) => "AgentStatusChanged",
        Event::AgentHeartbeat { .. } => "AgentHeartbeat",
        Event::AlertRaised { .. } => "AlertRaised",
    }
}

/// Every name that [`kind`] gives.
pub(crate) const KINDS: [&str; 23] = [
    "MessagePosted",
    "RelationChanged",
    "TypingChanged",
    "PersonTyping",
    "ReplyStarted",
    "ReplyChunk",
    "ReplyFinished",
    "ReplyFailed",
    "PresenceChanged",
    "AgentChanged",
    "AgentDeleted",
    "NoticeSent",
    "Signal",
    "Revoked",
    "BalanceChanged",
    "BalanceTold",
    "TaskCreated",
    "TaskAssigned",
    "TaskUpdated",
    "TaskFinished",
    "AgentStatusChanged",
    "AgentHeartbeat",
    "AlertRaised",
];

/// The agent.
pub(crate) fn luna() -> AgentId {
    AgentId::parse("luna").expect("a plain id")
}

/// The person.
pub(crate) fn ada() -> PersonId {
    PersonId::parse("ada").expect("a plain id")
}

/// Where they talk.
pub(crate) fn conversation() -> ConversationId {
    ConversationId::direct(&luna(), &ada())
}

fn entry() -> Entry {
    Entry {
        person: ada(),
        position: 2,
        amount: 7,
        balance: 57,
        reason: Reason::Reward,
        key: Some("2026-01-01".into()),
        at: NOW,
    }
}

fn deposit() -> Entry {
    Entry { amount: 100, balance: 157, reason: Reason::Deposit, key: Some("0xab".into()), ..entry() }
}

fn charge() -> Entry {
    Entry { amount: -3, balance: 54, reason: Reason::Chat, key: Some(question_id().to_string()), ..entry() }
}

fn question() -> Message {
    Message {
        id: question_id(),
        conversation: conversation(),
        seq: 41,
        agent: luna(),
        person: ada(),
        author: Party::Person,
        text: "Hola, ¿cómo estás?".into(),
        at: NOW,
    }
}

fn answer() -> Message {
    Message {
        id: answer_id(),
        seq: 42,
        author: Party::Agent,
        text: "Muy bien, gracias por preguntar. ".into(),
        ..question()
    }
}

fn question_id() -> MessageId {
    message_id("\"11111111-1111-4111-8111-111111111111\"")
}

fn answer_id() -> MessageId {
    message_id("\"22222222-2222-4222-8222-222222222222\"")
}

fn message_id(json: &str) -> MessageId {
    serde_json::from_str(json).expect("a UUID")
}

fn relation(relation: Relation) -> Event {
    Event::RelationChanged { agent: luna(), person: ada(), relation, at: NOW }
}

fn typing(who: Party, active: bool) -> Event {
    Event::TypingChanged { agent: luna(), person: ada(), who, active, at: NOW }
}

fn presence(status: Status, changed: bool) -> Event {
    Event::PresenceChanged { person: ada(), status, changed, at: NOW }
}

fn notice(kind: NoticeKind, title: &str, message: &str, action: Option<NoticeAction>) -> Event {
    let notice = Notice { kind, title: title.into(), message: message.into(), action };
    Event::NoticeSent { notice, at: NOW }
}

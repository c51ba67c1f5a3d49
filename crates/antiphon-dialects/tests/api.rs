//! Every example in every `API.md` holds, and no documented event lacks one.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;

use antiphon_core::actor::{Actor, Plan, Principal};
use antiphon_core::dialect::{Args, ConnectError, Credential, Dialect, Inbound, Out};
use antiphon_core::refusal::Refusal;
use antiphon_dialects::{by_name, dialects};
use support::reference::{Block, arguments, blocks, compact, said, told};
use support::samples::{self, NOW};
use support::{Reference, references};

#[test]
fn every_dialect_has_a_reference_and_every_reference_a_dialect() {
    let registered: Vec<_> = dialects().iter().map(|dialect| dialect.name()).collect();
    let described: Vec<_> = references().iter().map(|reference| reference.dialect).collect();
    assert_eq!(registered, described);
}

#[test]
fn every_example_holds() {
    let mut wrong = Vec::new();
    for reference in references() {
        let examples = blocks(reference.text);
        assert!(!examples.is_empty(), "{} has no examples", reference.dialect);
        for block in &examples {
            let (expected, found) = run(&reference, block);
            if expected != found {
                wrong.push(format!(
                    "{}/API.md line {}, {} {}\n  it says {expected:#?}\n  it is   {found:#?}",
                    reference.dialect,
                    block.line,
                    block.kind,
                    block.subjects.join(" ")
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_has_no_example_is_not_said() {
    for reference in references() {
        let dialect = dialect(&reference);
        let examples = blocks(reference.text);
        for (name, event) in samples::facts() {
            let is_shown = examples.iter().any(|block| block.kind == "server" && block.subject() == name);
            let mut out = Out::default();
            dialect.outbound(&event, &mut out);
            assert_eq!(is_shown, !out.is_empty(), "{}: {name} is {:?}", reference.dialect, said(&out));
        }
    }
}

#[test]
fn every_kind_of_core_event_is_among_the_samples() {
    let sampled: BTreeSet<_> = samples::facts().iter().map(|(_, event)| samples::kind(event)).collect();
    assert_eq!(sampled, samples::KINDS.into_iter().collect());
}

#[test]
fn every_refusal_of_every_client_event_has_an_ack() {
    for reference in references() {
        let dialect = dialect(&reference);
        for event in client_events(&reference) {
            for (name, refusal) in samples::refusals() {
                let mut out = Out::default();
                dialect.reply(&event, &Err(refusal), NOW, &mut out);
                let ack = out.acked().unwrap_or_else(|| panic!("{event}: {name} has no ack"));
                let ack: serde_json::Value = serde_json::from_slice(ack).expect("an ack is JSON");
                assert_eq!(ack["ok"], false, "{event}: {name}");
            }
        }
    }
}

/// The checklists of the documented APIs: item, direction, name.
const CHAT: [(&str, Direction, &str); 24] = [
    ("1-06", Direction::FromClient, "chat:join"),
    ("1-07", Direction::FromClient, "chat:leave"),
    ("1-08", Direction::FromClient, "chat:message"),
    ("1-09", Direction::FromServer, "chat:message"),
    ("1-10", Direction::FromClient, "chat:typing"),
    ("1-11", Direction::FromServer, "chat:typing"),
    ("1-12", Direction::FromClient, "agent:subscribe"),
    ("1-13", Direction::FromClient, "agent:unsubscribe"),
    ("1-14", Direction::FromClient, "presence:online"),
    ("1-15", Direction::FromClient, "presence:offline"),
    ("1-16", Direction::FromServer, "presence:user:online"),
    ("1-16", Direction::FromServer, "presence:user:offline"),
    ("1-17", Direction::FromServer, "presence:update"),
    ("1-18", Direction::FromServer, "chat:message:stream"),
    ("1-19", Direction::FromServer, "chat:message:complete"),
    ("1-20", Direction::FromServer, "relation:updated"),
    ("1-21", Direction::FromServer, "chat:error"),
    ("1-22", Direction::FromServer, "system:connection"),
    ("1-23", Direction::FromServer, "system:notification"),
    ("1-24", Direction::FromServer, "agent:updated"),
    ("1-24", Direction::FromServer, "agent:deleted"),
    ("1-03", Direction::Refusal, "Authentication token required"),
    ("1-03", Direction::Refusal, "Invalid authentication token"),
    ("1-04", Direction::Refusal, "Rate limit exceeded"),
];

const MISSION: [(&str, Direction, &str); 17] = [
    ("4-02", Direction::Refusal, "Authentication required"),
    ("4-02", Direction::Refusal, "Invalid authentication"),
    ("4-03", Direction::FromClient, "subscribe"),
    ("4-04", Direction::FromClient, "unsubscribe"),
    ("4-05", Direction::FromClient, "heartbeat"),
    ("4-06", Direction::FromServer, "subscribed"),
    ("4-07", Direction::FromServer, "unsubscribed"),
    ("4-08", Direction::FromServer, "heartbeat_ack"),
    ("4-09", Direction::FromServer, "error"),
    ("4-10", Direction::FromServer, "agent:status_changed"),
    ("4-11", Direction::FromServer, "agent:heartbeat"),
    ("4-12", Direction::FromServer, "task:created"),
    ("4-13", Direction::FromServer, "task:assigned"),
    ("4-14", Direction::FromServer, "task:updated"),
    ("4-15", Direction::FromServer, "task:completed"),
    ("4-16", Direction::FromServer, "conversation:message"),
    ("4-17", Direction::FromServer, "system:alert"),
];

const COMPANION: [(&str, Direction, &str); 6] = [
    ("0-04", Direction::FromClient, "join"),
    ("0-05", Direction::FromClient, "typing"),
    ("0-06", Direction::FromServer, "balance:update"),
    ("0-10", Direction::FromServer, "notification"),
    ("0-11", Direction::FromServer, "message:receive"),
    ("0-12", Direction::FromServer, "typing"),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Direction {
    FromClient,
    FromServer,
    Refusal,
}

#[test]
fn every_documented_name_of_the_chat_api_has_an_example() {
    every_name_has_an_example("chat", &CHAT);
}

#[test]
fn every_documented_name_of_the_mission_api_has_an_example() {
    every_name_has_an_example("mission", &MISSION);
}

#[test]
fn the_documented_texts_and_rooms_of_the_mission_api_have_examples() {
    let reference = reference("mission");
    let lines: Vec<String> = blocks(reference.text).iter().flat_map(lines_told).collect();
    for text in ["Room name required", "Invalid room format"] {
        assert!(lines.contains(&format!("error {{\"message\":\"{text}\"}}")), "4-09 {text}");
    }
    let rooms: String = blocks(reference.text)
        .into_iter()
        .filter(|block| block.kind == "rooms")
        .map(|block| block.body)
        .collect();
    for room in ["dashboard", "agent:123", "agent:", "task:", "conversation:"] {
        assert!(rooms.lines().any(|line| line.starts_with(room)), "4-18, 4-19 {room}");
    }
    let has_event =
        |line: &&String| line.contains(&format!("\"event\":\"{}\"", line.split(' ').next().unwrap_or("")));
    let mine = ["agent:", "task:", "conversation:", "system:"];
    let said: Vec<_> = lines.iter().filter(|line| mine.iter().any(|kind| line.starts_with(kind))).collect();
    assert!(!said.is_empty() && said.iter().all(has_event), "4-10 to 4-17: every event carries its name");
}

#[test]
fn every_documented_name_of_the_companion_api_has_an_example() {
    every_name_has_an_example("companion", &COMPANION);
}

#[test]
fn every_documented_kind_of_notification_of_the_companion_api_has_an_example() {
    let reference = reference("companion");
    let lines: Vec<String> = blocks(reference.text).iter().flat_map(lines_told).collect();
    for kind in ["info", "success", "warning", "error"] {
        let is_shown = lines
            .iter()
            .any(|line| line.starts_with("notification ") && line.contains(&format!("\"type\":\"{kind}\"")));
        assert!(is_shown, "0-10, 0-13 {kind}");
    }
}

fn every_name_has_an_example(dialect: &str, checklist: &[(&str, Direction, &str)]) {
    let reference = reference(dialect);
    let from_client = client_events(&reference);
    let from_server = server_events(&reference);
    let refusals = connect_errors(&reference);
    for (item, direction, name) in checklist {
        let has_example = match direction {
            Direction::FromClient => from_client.contains(*name),
            Direction::FromServer => from_server.contains(*name),
            Direction::Refusal => refusals.contains(*name),
        };
        assert!(has_example, "{item} {direction:?} {name}");
    }
    let documented =
        |direction| checklist.iter().filter(move |entry| entry.1 == direction).map(|entry| entry.2);
    assert_eq!(from_client, documented(Direction::FromClient).map(str::to_owned).collect());
    assert_eq!(from_server, documented(Direction::FromServer).map(str::to_owned).collect());
}

#[test]
fn every_documented_error_code_of_the_chat_api_has_an_example() {
    let reference = reference("chat");
    let examples = blocks(reference.text);
    let lines: Vec<String> = examples.iter().flat_map(lines_told).collect();
    for code in [
        "AGENT_NOT_FOUND",
        "JOIN_ERROR",
        "MESSAGE_ERROR",
        "QUOTA_EXCEEDED",
        "GENERATION_ERROR",
        "FORBIDDEN",
        "RATE_LIMITED",
    ] {
        let start = format!("chat:error {{\"code\":\"{code}\"");
        assert!(lines.iter().any(|line| line.starts_with(&start)), "{code}");
    }
}

/// What a block says, and what the dialect does.
fn run(reference: &Reference, block: &Block) -> (Vec<String>, Vec<String>) {
    let dialect = dialect(reference);
    match block.kind.as_str() {
        "connect" => connect(&*dialect, block),
        "refused" => {
            let refusal = named(samples::refusals(), block.subject(), block.line);
            (vec![compact(&block.body)], vec![error_text(&dialect.refused(&refusal))])
        }
        "welcome" => {
            let mut out = Out::default();
            dialect.welcome(&actor(), None, NOW, &mut out);
            (told(&block.body), said(&out))
        }
        "dismissed" => {
            let refusal = named(samples::refusals(), block.subject(), block.line);
            let mut out = Out::default();
            dialect.dismissed(&refusal, NOW, &mut out);
            (told(&block.body), said(&out))
        }
        "client" => client(&*dialect, block),
        "reply" => {
            let [event, outcome] = block.subjects.as_slice() else {
                panic!("line {}: reply needs an event and an outcome", block.line)
            };
            let outcome = named(samples::outcomes(), outcome, block.line);
            let mut out = Out::default();
            dialect.reply(event, &outcome, NOW, &mut out);
            (told(&block.body), said(&out))
        }
        "server" => {
            let event = named(samples::facts(), block.subject(), block.line);
            let mut out = Out::default();
            dialect.outbound(&event, &mut out);
            (told(&block.body), said(&out))
        }
        "rooms" => rooms(reference, block),
        other => panic!("line {}: there is no kind of block called {other:?}", block.line),
    }
}

fn connect(dialect: &dyn Dialect, block: &Block) -> (Vec<String>, Vec<String>) {
    let (auth, expected, _) = block.parts();
    let auth = auth.trim();
    let expected = match expected.strip_prefix("CONNECT_ERROR ") {
        Some(error) => format!("CONNECT_ERROR {}", compact(error)),
        None => expected.to_owned(),
    };
    let found = match dialect.credential((!auth.is_empty()).then_some(auth)) {
        Ok(Credential::Bearer(secret)) => format!("bearer {secret}"),
        Ok(Credential::Wallet(address)) => format!("wallet {address}"),
        Ok(Credential::None) => "no credential".into(),
        Err(refusal) => format!("CONNECT_ERROR {}", error_text(&dialect.refused(&refusal))),
    };
    (vec![expected], vec![found])
}

fn client(dialect: &dyn Dialect, block: &Block) -> (Vec<String>, Vec<String>) {
    let event = block.subject();
    let (args, result, below) = block.parts();
    let args = Args::new(format!("[{}]", arguments(args)), Vec::new());
    let mut out = Out::default();
    let found = match dialect.inbound(event, &args, NOW, &mut out) {
        Inbound::Command(command) => format!("{command:?}"),
        Inbound::Answered => "answered".into(),
        Inbound::Identify(Credential::Bearer(secret)) => format!("identify bearer {secret}"),
        Inbound::Identify(Credential::Wallet(address)) => format!("identify wallet {address}"),
        Inbound::Identify(Credential::None) => "identify no credential".into(),
        Inbound::Unknown => "unknown".into(),
        Inbound::Refused(refusal) => {
            dialect.reply(event, &Err(refusal), NOW, &mut out);
            "refused".into()
        }
    };
    let expected = [vec![result.to_owned()], told(below)].concat();
    (expected, [vec![found], said(&out)].concat())
}

fn rooms(reference: &Reference, block: &Block) -> (Vec<String>, Vec<String>) {
    let mut expected = Vec::new();
    let mut found = Vec::new();
    for line in block.body.lines() {
        let (room, topic) = line.split_once(" → ").unwrap_or_else(|| panic!("{line}: there is no →"));
        expected.push(topic.to_owned());
        found.push(match (reference.topic)(room) {
            Ok(topic) => format!("{topic:?}"),
            Err(Refusal { .. }) => "refused".into(),
        });
    }
    (expected, found)
}

/// A CONNECT_ERROR as its client sees it.
fn error_text(error: &ConnectError) -> String {
    let message = serde_json::to_string(&error.message).expect("text is JSON");
    match &error.data {
        Some(data) => format!("{{\"message\":{message},\"data\":{data}}}"),
        None => format!("{{\"message\":{message}}}"),
    }
}

/// The names that clients may say: those with an example that is not `unknown`.
fn client_events(reference: &Reference) -> BTreeSet<String> {
    let examples = blocks(reference.text);
    let said = examples.iter().filter(|block| block.kind == "client" && block.parts().1 != "unknown");
    said.map(|block| block.subject().to_owned()).collect()
}

/// The names that the server says anywhere in the reference.
fn server_events(reference: &Reference) -> BTreeSet<String> {
    let lines = blocks(reference.text).iter().flat_map(lines_told).collect::<Vec<_>>();
    let names = lines.iter().filter_map(|line| line.split(' ').next());
    names.filter(|name| *name != "ack").map(str::to_owned).collect()
}

/// The messages of all CONNECT_ERRORs in the reference.
fn connect_errors(reference: &Reference) -> BTreeSet<String> {
    let examples = blocks(reference.text);
    let bodies = examples.iter().filter_map(|block| match block.kind.as_str() {
        "refused" => Some(block.body.as_str()),
        "connect" => block.parts().1.strip_prefix("CONNECT_ERROR "),
        _ => None,
    });
    let errors =
        bodies.map(|body| serde_json::from_str::<serde_json::Value>(body).expect("an error is JSON"));
    errors.map(|error| error["message"].as_str().expect("a message is text").to_owned()).collect()
}

fn lines_told(block: &Block) -> Vec<String> {
    match block.kind.as_str() {
        "welcome" | "reply" | "server" | "dismissed" => told(&block.body),
        "client" => told(block.parts().2),
        _ => Vec::new(),
    }
}

fn named<T>(samples: Vec<(&'static str, T)>, name: &str, line: usize) -> T {
    let found = samples.into_iter().find(|(sample, _)| *sample == name);
    found.unwrap_or_else(|| panic!("line {line}: there is no sample called {name:?}")).1
}

fn reference(name: &str) -> Reference {
    references().into_iter().find(|reference| reference.dialect == name).expect("it has a reference")
}

fn dialect(reference: &Reference) -> Arc<dyn Dialect> {
    by_name(reference.dialect).expect("a reference belongs to a registered dialect")
}

fn actor() -> Actor {
    let plan = Plan {
        name: "free".into(),
        connections_per_minute: Some(10),
        messages_per_month: Some(100),
        agents: Some(2),
    };
    Actor::new(Principal::Person(samples::ada()), Arc::new(plan))
}

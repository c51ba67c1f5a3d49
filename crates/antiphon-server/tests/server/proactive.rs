//! What agents say by themselves: to whom, when, and once.

use std::path::Path;
use std::sync::Arc;

use antiphon_core::actor::Claim;
use antiphon_core::agents::AgentChange;
use antiphon_core::command::{Command, Once, Outcome};
use antiphon_core::conversation::{Message, Party};
use antiphon_core::ids::{ConversationId, Timestamp};
use antiphon_core::jobs::{Claimant, Claimed, JobState, NewJob, Occasion};
use antiphon_core::memory::{ManualClock, MemoryStore};
use antiphon_core::people::{Bond, Profile};
use antiphon_core::ports::{Agents as _, Jobs as _, Profiles as _, Store};
use antiphon_server::auth::UnprovenWallets;
use antiphon_server::config::{Config, Mount};
use antiphon_server::proactive::{Came, Order, Report};
use antiphon_server::wiring::Extras;
use serde_json::json;

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::people::{ada, agent, bob, config, person, settle};
use crate::support::server::{Server, operator};

const MINUTE: i64 = 60_000;

/// Seven in the morning of 1 March 2026 in Jakarta.
const SEVEN: Timestamp = Timestamp(1_772_323_200_000);

/// Ada's wallet.
const WALLET: &str = "0xabcdef7890123456789012345678901234567890";

/// A moment so many minutes after seven.
fn after_seven(minutes: i64) -> Timestamp {
    Timestamp(SEVEN.0 + minutes * MINUTE)
}

/// A clock that shows three in the morning in Jakarta.
fn night() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(after_seven(-4 * 60)))
}

fn enabled() -> Config {
    let mut config = config();
    config.proactive.enabled = true;
    config.listeners[0].api = true;
    config
}

async fn start(config: Config, store: Option<Arc<MemoryStore>>, clock: &Arc<ManualClock>) -> Server {
    let mut extras = Extras::default();
    extras.store = store.map(|store| store as _);
    extras.clock = Some(clock.clone());
    Server::start(config, extras).await
}

/// A store in which Ada belongs together with Luna and Mia, and Bob with Rex.
async fn bonded(store: &dyn Store) {
    settle(store).await;
    for (name, who) in [("luna", "ada"), ("mia", "ada"), ("rex", "bob")] {
        let bond = Bond { agent: agent(name), person: person(who), since: Timestamp(0) };
        store.put_bond(&bond).await.expect("a bond is stored");
    }
}

/// A server at night, with Ada and Bob and their bonds.
async fn served() -> (Server, Arc<MemoryStore>, Arc<ManualClock>) {
    let (store, clock) = (Arc::new(MemoryStore::new()), night());
    bonded(&*store).await;
    (start(enabled(), Some(store.clone()), &clock).await, store, clock)
}

/// Has a person say something, and waits until the agent has answered.
async fn talk(client: &mut Client, with: &str) {
    client.emit("chat:message", &json!({"agentId": with, "message": "hello"}).to_string()).await;
    client.event_named("chat:message:complete").await;
}

/// The next greeting that a client hears: who said it, and what.
async fn greeting(client: &mut Client) -> (String, String) {
    let heard = client.event_named("chat:message").await;
    let text = |name: &str| heard[name].as_str().unwrap_or_else(|| panic!("{heard}")).to_owned();
    (text("agentId"), text("content"))
}

/// What an agent and a person said to each other.
async fn said(store: &dyn Store, name: &str, who: &str) -> Vec<Message> {
    let conversation = ConversationId::direct(&agent(name), &person(who));
    store.history(conversation, 0, 100).await.expect("it can be read")
}

async fn look(server: &Server) -> Report {
    server.proactive().look(&Order::default()).await.expect("the store works")
}

/// What came of each message of a look, as kind and result.
fn results(report: &Report) -> Vec<(&str, &Came)> {
    report.results.iter().map(|turned| (&*turned.kind, &turned.result)).collect()
}

#[tokio::test]
async fn a_person_in_jakarta_is_greeted_at_seven_of_their_own_clock() {
    let (server, store, clock) = served().await;
    let mut ada = ada(&server, Transport::Websocket).await;
    talk(&mut ada, "mia").await;
    clock.set(after_seven(-4 * 60 + 30));
    talk(&mut ada, "luna").await;
    clock.set(after_seven(-1));
    assert_eq!(look(&server).await, Report { people: 1, ..Report::default() });

    // The server sleeps until something is due; nobody else asks it to look.
    clock.set(SEVEN);
    server.proactive().nudge();
    let (by, text) = greeting(&mut ada).await;
    assert_eq!(by, "luna", "whom she talked with last");
    let spoken = said(&*store, "luna", "ada").await.pop().expect("it is stored");
    assert_eq!((spoken.author, &spoken.text, spoken.at), (Party::Agent, &text, SEVEN));
    assert_eq!(said(&*store, "mia", "ada").await.len(), 2, "the other one is silent");
    // The job is settled a moment after it was heard; a look comes after whoever is looking.
    look(&server).await;
    let [job] = &store.jobs(None, None, 10).await.expect("it works")[..] else { panic!("there is one job") };
    assert_eq!(job.state, JobState::Done { message: spoken.id });
    let occasion = Occasion { person: person("ada"), kind: "morning".into(), date: "2026-03-01".into() };
    assert_eq!((&job.occasion, job.tries), (&occasion, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_person_gets_one_of_a_kind_on_each_of_their_days() {
    let (server, store, clock) = served().await;
    let mut ada = ada(&server, Transport::Websocket).await;
    talk(&mut ada, "luna").await;
    let table = [
        (0, vec![("morning", true)]),
        (1, vec![("morning", false)]),
        (60, vec![("morning", false)]),
        (89, vec![("morning", false)]),
        (90, vec![]),
        (5 * 60, vec![("lunch", true)]),
        (6 * 60, vec![("lunch", false)]),
        (14 * 60 + 29, vec![("night", true)]),
        (24 * 60, vec![("morning", true)]),
        // She has been away for a week, less a minute and then more.
        (7 * 24 * 60 - 4 * 60 + 5 * 60, vec![]),
    ];
    for (minutes, expected) in table {
        clock.set(after_seven(minutes));
        let report = look(&server).await;
        let found: Vec<_> = results(&report)
            .into_iter()
            .map(|(kind, came)| match came {
                Came::Said { agent: by, .. } => {
                    assert_eq!(*by, agent("luna"));
                    (kind, true)
                }
                Came::Before => (kind, false),
                other => panic!("{minutes} minutes after seven: {other:?}"),
            })
            .collect();
        assert_eq!(found, expected, "{minutes} minutes after seven");
    }
    for _ in 0..4 {
        greeting(&mut ada).await;
    }
    assert_eq!(said(&*store, "luna", "ada").await.len(), 2 + 4);
    server.stop().await;
}

#[tokio::test]
async fn who_is_in_the_middle_of_a_conversation_is_left_alone_until_it_has_been_quiet() {
    let (server, store, clock) = served().await;
    let mut ada = ada(&server, Transport::Websocket).await;
    talk(&mut ada, "luna").await;
    clock.set(after_seven(-10));
    talk(&mut ada, "mia").await;
    clock.set(SEVEN);
    assert_eq!(look(&server).await.results, []);
    let hers = Order { person: Some(person("ada")), ..Order::default() };
    let report = server.proactive().look(&hers).await.expect("it works");
    let until = after_seven(110);
    assert_eq!(results(&report), [("morning", &Came::Busy(until))]);
    clock.set(after_seven(60));
    assert_eq!(look(&server).await.said, 0, "eight o'clock comes too early as well");
    // Half an hour late is too late; whoever asks for it gets it anyway.
    clock.set(until);
    assert_eq!(look(&server).await.results, []);
    let anyway = Order { kind: Some("morning".into()), anyway: true, ..hers };
    let report = server.proactive().look(&anyway).await.expect("it works");
    assert!(matches!(results(&report)[..], [("morning", Came::Said { .. })]), "{report:?}");
    assert_eq!(greeting(&mut ada).await.0, "mia");
    let report = server.proactive().look(&anyway).await.expect("it works");
    assert_eq!(results(&report), [("morning", &Came::Before)], "but not twice");
    assert_eq!(store.jobs(None, None, 10).await.expect("it works").len(), 1);
    server.stop().await;
}

#[tokio::test]
async fn everybody_has_their_own_clock() {
    let (server, store, clock) = served().await;
    let (mut ada, mut bob) =
        (ada(&server, Transport::Websocket).await, bob(&server, Transport::Polling).await);
    talk(&mut ada, "luna").await;
    talk(&mut bob, "rex").await;
    let berlin = Profile { time_zone: Some("Europe/Berlin".into()), ..Profile::default() };
    store.put_profile(&person("bob"), &berlin).await.expect("a profile is stored");
    clock.set(SEVEN);
    let report = look(&server).await;
    assert_eq!((report.people, report.said, &report.results[0].person), (2, 1, &person("ada")));
    // Six hours later it is seven in Berlin, and one in Jakarta.
    clock.set(after_seven(6 * 60));
    let report = look(&server).await;
    let found: Vec<_> = report.results.iter().map(|turned| (turned.person.as_str(), &*turned.kind)).collect();
    assert_eq!(found, [("ada", "lunch"), ("bob", "morning")]);
    assert_eq!(greeting(&mut bob).await.0, "rex");
    server.stop().await;
}

/// A server on the data directory, whose clock is this one.
async fn on(data: &Path, clock: &Arc<ManualClock>) -> Server {
    let mut config = enabled();
    config.server.data = data.to_owned();
    start(config, None, clock).await
}

#[tokio::test]
async fn after_a_restart_nothing_is_said_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = night();
    let server = on(directory.path(), &clock).await;
    bonded(&*server.app().ports().store).await;
    let mut client = ada(&server, Transport::Websocket).await;
    talk(&mut client, "luna").await;
    clock.set(SEVEN);
    server.proactive().nudge();
    greeting(&mut client).await;
    drop(client);
    server.stop().await;

    for minutes in [0, 1, 60] {
        clock.set(after_seven(minutes));
        let server = on(directory.path(), &clock).await;
        let mut client = ada(&server, Transport::Websocket).await;
        let report = look(&server).await;
        assert_eq!((report.said, results(&report)), (0, vec![("morning", &Came::Before)]));
        // Whatever was said to her before this answer has come before it.
        let id = client.ask("chat:join", r#"{"agentId":"luna"}"#).await;
        client.ack(id).await;
        assert!(client.events().iter().all(|(name, _)| name != "chat:message"));
        assert_eq!(said(&*server.app().ports().store, "luna", "ada").await.len(), 3);
        server.stop().await;
    }
}

/// Ada's phone, which speaks the companion API and has joined with her wallet.
async fn phone(server: &Server) -> Client {
    let mut door = server.door();
    door.path = "/socket.io".into();
    let mut phone = Client::connect(&door, Transport::Websocket, "").await;
    let id = phone.ask("join", &json!(WALLET).to_string()).await;
    assert_eq!(phone.ack(id).await, json!({"ok": true}));
    phone
}

#[tokio::test]
async fn a_phone_hears_the_greeting_as_the_companion_api_says_it_and_not_again_after_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let clock = night();
    let companion = async || {
        let mut config = enabled();
        config.server.data = directory.path().to_owned();
        config.listeners[0].mounts.push(Mount::new("/socket.io", "companion"));
        config.auth.unproven_wallets = UnprovenWallets::Local;
        start(config, None, &clock).await
    };
    let server = companion().await;
    let store = server.app().ports().store.clone();
    bonded(&*store).await;
    store.link_wallet(WALLET, &person("ada")).await.expect("a wallet is linked");
    let mut first = phone(&server).await;
    let mut second = phone(&server).await;
    let mut chat = ada(&server, Transport::Websocket).await;
    talk(&mut chat, "luna").await;
    for phone in [&mut first, &mut second] {
        assert_eq!(phone.event_named("message:receive").await["content"], "hello", "an answer");
    }
    clock.set(SEVEN);
    server.proactive().nudge();
    let expected = greeting(&mut chat).await;
    let spoken = said(&*store, "luna", "ada").await.pop().expect("it is stored");
    for phone in [&mut first, &mut second] {
        let heard = phone.event_named("message:receive").await;
        let payload = json!({
            "id": spoken.id, "content": expected.1, "sender": "ai", "persona_id": "luna",
            "timestamp": "2026-03-01T00:00:00.000Z",
        });
        assert_eq!(heard, payload);
    }
    drop((first, second, chat, store));
    server.stop().await;

    clock.set(after_seven(5));
    let server = companion().await;
    let mut phone = phone(&server).await;
    assert_eq!(results(&look(&server).await), [("morning", &Came::Before)]);
    // Whatever was said to her before this answer has come before it.
    let id = phone.ask("join", &json!(WALLET).to_string()).await;
    phone.ack(id).await;
    assert!(phone.events().iter().all(|(name, _)| name != "message:receive"));
    server.stop().await;
}

#[tokio::test]
async fn a_greeting_that_was_due_while_the_server_was_stopped_comes_late_but_not_too_late() {
    for (minutes, expected) in [(29, 1), (30, 0)] {
        let directory = tempfile::tempdir().expect("a directory");
        let clock = night();
        let server = on(directory.path(), &clock).await;
        bonded(&*server.app().ports().store).await;
        let mut client = ada(&server, Transport::Websocket).await;
        talk(&mut client, "luna").await;
        drop(client);
        server.stop().await;
        clock.set(after_seven(minutes));
        let server = on(directory.path(), &clock).await;
        look(&server).await;
        let jobs = server.app().ports().store.jobs(None, None, 10).await.expect("it works");
        assert_eq!(jobs.len(), expected, "{minutes} minutes late");
        server.stop().await;
    }
}

#[tokio::test]
async fn whoever_dies_between_saying_it_and_noting_that_is_followed_by_somebody_who_does_not_repeat_it() {
    let (server, store, clock) = served().await;
    let mut ada = ada(&server, Transport::Websocket).await;
    talk(&mut ada, "luna").await;
    clock.set(SEVEN);
    // What another node did before it died.
    let new = NewJob {
        occasion: Occasion { person: person("ada"), kind: "morning".into(), date: "2026-03-01".into() },
        agent: agent("luna"),
        text: "Good morning from a node that is gone".into(),
    };
    let until = after_seven(1);
    let claimant = Claimant { holder: "gone".into(), at: SEVEN, until };
    let Claimed::Yours(job) = store.claim_job(&new, &claimant).await.expect("it works") else {
        panic!("nobody else was there")
    };
    let speak = Command::Speak {
        agent: agent("luna"),
        person: person("ada"),
        text: new.text.clone(),
        once: Some(Once { key: format!("proactive/{}", job.id) }),
    };
    let spoken = server.app().handle(&operator(), speak).await;
    let Ok(Outcome::Posted { id, .. }) = spoken else { panic!("{spoken:?}") };

    let report = look(&server).await;
    assert_eq!((results(&report), report.again), (vec![("morning", &Came::Later(until))], Some(until)));
    clock.set(until);
    let report = look(&server).await;
    let noted = Came::Said { agent: agent("luna"), message: id };
    assert_eq!(results(&report), [("morning", &noted)], "it is the same message");
    assert_eq!(said(&*store, "luna", "ada").await.len(), 3);
    let jobs = store.jobs(None, None, 10).await.expect("it works");
    assert_eq!((&jobs[0].state, jobs[0].tries), (&JobState::Done { message: id }, 2));
    assert_eq!(greeting(&mut ada).await.1, new.text);
    server.stop().await;
}

#[tokio::test]
async fn two_nodes_on_one_store_greet_everybody_once() {
    let (first, store, clock) = served().await;
    let second = start(enabled(), Some(store.clone()), &clock).await;
    let (mut ada, mut bob) =
        (ada(&first, Transport::Websocket).await, bob(&first, Transport::Websocket).await);
    talk(&mut ada, "luna").await;
    talk(&mut bob, "rex").await;
    clock.set(SEVEN);
    first.proactive().nudge();
    second.proactive().nudge();
    let (one, other) = tokio::join!(look(&first), look(&second));
    greeting(&mut ada).await;
    greeting(&mut bob).await;
    assert!(one.said + other.said <= 2, "{one:?} {other:?}");
    for (name, who) in [("luna", "ada"), ("rex", "bob")] {
        assert_eq!(said(&*store, name, who).await.len(), 3, "{who}");
    }
    assert_eq!(store.jobs(None, None, 10).await.expect("it works").len(), 2);
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn what_cannot_be_said_is_given_up_with_the_reason() {
    let (server, store, clock) = served().await;
    // Bob talks with an agent of Ada's, as long as she lets everybody.
    let share =
        |visibility: &str| AgentChange { visibility: Some(visibility.into()), ..AgentChange::default() };
    store.change_agent(&agent("mia"), &share("public")).await.expect("it works");
    let mut bob = bob(&server, Transport::Websocket).await;
    let befriend = Command::Befriend { agent: agent("mia"), person: Claim::of(person("bob")) };
    server.app().handle(&operator(), befriend).await.expect("she is there for everybody");
    talk(&mut bob, "mia").await;
    store.change_agent(&agent("mia"), &share("private")).await.expect("it works");
    clock.set(SEVEN);
    let report = look(&server).await;
    let [("morning", Came::Skipped(why))] = &results(&report)[..] else { panic!("{report:?}") };
    assert!(why.contains("not found"), "{why}");
    let skipped = JobState::Skipped { why: why.clone() };
    assert_eq!(store.jobs(None, None, 10).await.expect("it works")[0].state, skipped);
    assert_eq!(results(&look(&server).await), [("morning", &Came::Before)]);
    server.stop().await;
}

#[tokio::test]
async fn more_people_than_a_page_holds_are_all_greeted() {
    let (store, clock) = (Arc::new(MemoryStore::new()), night());
    settle(&*store).await;
    let server = start(enabled(), Some(store.clone()), &clock).await;
    let share = AgentChange { visibility: Some("public".into()), ..AgentChange::default() };
    for name in ["luna", "mia", "rex"] {
        store.change_agent(&agent(name), &share).await.expect("it works");
    }
    for number in 0..150 {
        let who = format!("person {number:03}");
        crate::support::people::add_person(&*store, &who, "unlimited", &format!("key {number}")).await;
        for name in ["luna", "mia", "rex"] {
            let befriend = Command::Befriend { agent: agent(name), person: Claim::of(person(&who)) };
            server.app().handle(&operator(), befriend).await.expect("they are there for everybody");
            let post = Command::PostMessage {
                agent: agent(name),
                person: Claim::of(person(&who)),
                text: "hello".into(),
                once: None,
                price: None,
            };
            server.app().handle(&operator(), post).await.expect("it is stored");
        }
    }
    clock.set(SEVEN);
    let report = look(&server).await;
    let jobs = store.jobs(None, None, 1_000).await.expect("it works");
    assert_eq!((report.people, jobs.len()), (150, 150));
    assert!(jobs.iter().all(|job| job.state.is_over() && job.agent == agent("rex")), "the last of equals");
    let prospects = server.proactive().prospects(None, None, 100).await.expect("it works");
    let last = prospects.last().map(|prospect| prospect.person.clone());
    assert_eq!((prospects.len(), last.as_ref().map(|person| person.as_str())), (100, Some("person 099")));
    let rest = server.proactive().prospects(None, last, 100).await.expect("it works");
    assert_eq!((rest.len(), rest[0].person.as_str()), (50, "person 100"));
    server.stop().await;
}

#[tokio::test]
async fn what_is_coming_passes_over_what_was_said() {
    let (server, _, clock) = served().await;
    let mut ada = ada(&server, Transport::Websocket).await;
    talk(&mut ada, "luna").await;
    let coming = async |minutes: i64| {
        clock.set(after_seven(minutes));
        let found = server.proactive().prospects(None, None, 10).await.expect("it works");
        let [prospect] = &found[..] else { panic!("{found:?}") };
        assert_eq!((prospect.person.as_str(), &*prospect.time_zone), ("ada", "Asia/Jakarta"));
        let coming = prospect.coming.iter().map(|coming| {
            let minutes = (coming.at.0 - SEVEN.0) / MINUTE;
            (coming.kind.clone(), minutes, coming.date.to_string())
        });
        (prospect.agent.clone(), prospect.busy_until, coming.collect::<Vec<_>>())
    };
    let at = |kind: &str, minutes: i64, day: u8| (kind.to_owned(), minutes, format!("2026-03-0{day}"));
    let (agent_now, busy, list) = coming(-4 * 60).await;
    assert_eq!((agent_now, busy), (None, Some(after_seven(-2 * 60))));
    assert_eq!(list, [at("morning", 0, 1), at("lunch", 300, 1), at("night", 840, 1)]);
    assert_eq!(coming(0).await.2[0], at("morning", 0, 1), "it is due now");
    assert_eq!(look(&server).await.said, 1);
    let (agent_now, busy, list) = coming(1).await;
    assert_eq!((agent_now, busy), (Some(agent("luna")), None));
    assert_eq!(list[0], at("morning", 24 * 60, 2), "not at eight again");
    server.stop().await;
}

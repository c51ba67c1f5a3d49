//! Joining with a position: the past, then the present, with no hole and no repeat between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use antiphon_core::actor::{Claim, Principal};
use antiphon_core::app::App;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::conversation::Party;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{ConversationId, MessageId, Timestamp};
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::ports::NewMessage;
use antiphon_core::topic::Topic;
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::engine::{BOTH, Transport};
use crate::support::people::{ada, agent, person, server};
use crate::support::scrape::Scrape;
use crate::support::server::{Server, operator};
use crate::support::soon;

const ADA: &str = r#"{"token":"ada-key"}"#;

#[tokio::test]
async fn a_join_is_told_what_was_said_after_its_position_and_then_what_is_said() {
    let server = server(|_| {}).await;
    fill(server.app(), 1, 5, 1).await;
    for transport in BOTH {
        let mut client = ada(&server, transport).await;
        let stands = joined(&mut client, json!({"agentId": "luna", "after": 2})).await;
        let told = client.events();
        assert_eq!(positions(&told), [3, 4, 5]);
        assert_eq!(stands, 5);
        // A person's message and an agent's, in the words of the API.
        let (name, payload) = &told[0];
        assert_eq!((name.as_str(), &payload["role"]), ("chat:message", &json!("user")));
        assert_eq!((&payload["content"], &payload["userId"]), (&json!("text 3"), &json!("ada")));
        let (name, payload) = &told[1];
        assert_eq!((name.as_str(), &payload["fullContent"]), ("chat:message:complete", &json!("text 4")));
        assert!(payload.get("metadata").is_none() && payload["messageId"].is_string());
        client.engine.close().await;
    }
    let mut client = ada(&server, Transport::Websocket).await;
    assert_eq!(joined(&mut client, json!({"agentId": "luna", "after": 5})).await, 5);
    let id = client.ask("chat:message", r#"{"agentId":"luna","message":"now"}"#).await;
    assert_eq!(client.ack(id).await["seq"], 6);
    client.event_named("chat:typing").await;
    let answer = client.event_named("chat:message:complete").await;
    assert_eq!((&answer["seq"], &answer["fullContent"]), (&json!(7), &json!("now")));
    server.stop().await;
}

#[tokio::test]
async fn a_join_says_where_the_room_stands_and_one_beyond_the_end_brings_nothing() {
    let server = server(|_| {}).await;
    let mut client = ada(&server, Transport::Websocket).await;
    for after in [json!(null), json!(0), json!(7)] {
        assert_eq!(joined(&mut client, json!({"agentId": "luna", "after": after})).await, 0);
    }
    fill(server.app(), 1, 3, 10).await;
    assert_eq!(joined(&mut client, json!({"agentId": "luna"})).await, 3);
    for after in [3, 4, u64::MAX] {
        assert_eq!(joined(&mut client, json!({"agentId": "luna", "after": after})).await, 3);
    }
    assert_eq!(positions(&client.events()), [0; 0]);
    // What comes after the end is told, also to one who was beyond it.
    post(server.app(), "four").await;
    assert_eq!(client.event_named("chat:message").await["seq"], 4);
    server.stop().await;
}

#[tokio::test]
async fn a_position_that_is_none_is_refused_and_nobody_is_seated() {
    let server = server(|_| {}).await;
    let mut client = ada(&server, Transport::Websocket).await;
    for wrong in [json!(-1), json!(1.5), json!("3"), json!([3]), json!(true)] {
        let id = client.ask("chat:join", &json!({"agentId": "luna", "after": wrong}).to_string()).await;
        let refused = client.ack(id).await;
        assert_eq!((&refused["ok"], &refused["error"]["code"]), (&json!(false), &json!("JOIN_ERROR")));
    }
    let id = client.ask("chat:join", r#"{"agentId":"rex","after":0}"#).await;
    assert_eq!(client.ack(id).await["error"]["code"], "AGENT_NOT_FOUND");
    for name in ["luna", "rex"] {
        let owner = if name == "rex" { "bob" } else { "ada" };
        let topic = Topic::Conversation(ConversationId::direct(&agent(name), &person(owner)));
        assert_eq!(server.listeners(&topic).await, 0);
    }
    server.stop().await;
}

/// Clients join at random positions while people and agents talk; each hears every message exactly once and in order.
#[tokio::test]
async fn joins_that_race_with_appends_hear_each_message_once_and_in_order() {
    const CLIENTS: u64 = 8;
    let mut random = Random(0x5eed);
    for round in 0..12 {
        let server = server(|config| {
            config.server.cores = 1 + round % 2;
            config.limits.waiting_replies = 10_000;
            config.limits.events_per_second = 0;
        })
        .await;
        let before = random.below(if round % 3 == 0 { 1_300 } else { 60 });
        fill(server.app(), 1, before, 20).await;

        // Somebody talks until everybody has joined, and a little longer.
        let joins = Arc::new(AtomicU64::new(0));
        let writer = {
            let (mut client, joins, more) =
                (ada(&server, Transport::Websocket).await, joins.clone(), random.below(20));
            tokio::spawn(async move {
                let (mut posts, mut left) = (0, 1 + more);
                while left > 0 {
                    let post = json!({"agentId": "luna", "message": format!("post {posts} of many")});
                    client.emit("chat:message", &post.to_string()).await;
                    client.event_named("chat:message:complete").await;
                    posts += 1;
                    left -= u64::from(joins.load(Relaxed) == CLIENTS);
                }
                2 * posts
            })
        };
        let joiners: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (door, joins) = (server.door(), joins.clone());
                let (turns, after) = (random.below(40), random.below(before + 1));
                tokio::spawn(async move {
                    let transport = if number % 4 == 3 { Transport::Polling } else { Transport::Websocket };
                    let mut client = Client::connect(&door, transport, ADA).await;
                    for _ in 0..turns {
                        tokio::task::yield_now().await;
                    }
                    let counts = Counts(joins);
                    let stands = joined(&mut client, json!({"agentId": "luna", "after": after})).await;
                    drop(counts);
                    assert!(stands >= after);
                    (until_end(&mut client).await, after)
                })
            })
            .collect();
        let end = before + writer.await.expect("the writer writes");
        say_end(&server);
        for joiner in joiners {
            let (heard, after) = joiner.await.expect("a client joins");
            all_in_order(&heard, after + 1, end);
            no_piece_follows_its_whole(&heard);
            nobody_types_for_ever(&heard);
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn a_long_past_comes_as_fast_as_it_is_read_and_nobody_is_cut() {
    // Many times what an outbox and the buffers of two kernels hold.
    const MESSAGES: u64 = 12_000;
    const BYTES: usize = 1_000;
    let server = server(|config| config.limits.outbox = 100_000).await;
    fill(server.app(), 1, MESSAGES, BYTES).await;
    for (door, transport) in
        [(server.door().narrow(), Transport::Websocket), (server.door(), Transport::Polling)]
    {
        let mut slow = Client::connect(&door, transport, ADA).await;
        let join = slow.ask("chat:join", r#"{"agentId":"luna","after":0}"#).await;
        // Another client is served meanwhile, and what it says waits for the slow one.
        let mut quick = ada(&server, Transport::Websocket).await;
        assert_eq!(joined(&mut quick, json!({"agentId": "luna"})).await % 2, 0);
        let before = last_position(server.app(), luna_and_ada()).await;
        post(server.app(), "meanwhile").await;
        let answer = quick.event_named("chat:message:complete").await;
        assert_eq!(answer["seq"], before + 2);

        let stands = soon("all of the past", slow.ack(join)).await["seq"].as_u64().expect("a position");
        assert!(stands >= before);
        say_end(&server);
        let heard = until_end(&mut slow).await;
        all_in_order(&heard, 1, before + 2);
        no_piece_follows_its_whole(&heard);
        until_end(&mut quick).await;
    }
    assert_eq!(server.counters().too_slow, 0);
    let scrape = Scrape::of(&server).await;
    let pages = scrape.value(r#"antiphon_command_duration_seconds_count{command="ReadHistory"}"#);
    assert!(pages >= 2.0 * 12_000.0 / 500.0, "{pages} pages");
    server.stop().await;
}

#[tokio::test]
async fn a_join_that_is_tried_again_while_it_is_under_way_tells_the_past_once() {
    let server = server(|_| {}).await;
    fill(server.app(), 1, 2_000, 500).await;
    let mut client = Client::connect(&server.door().narrow(), Transport::Websocket, ADA).await;
    let join = r#"{"agentId":"luna","after":0}"#;
    let mut tries = Vec::new();
    for _ in 0..3 {
        tries.push(client.ask("chat:join", join).await);
    }
    // Nothing else is taken for it: not the same in another place, and not what comes after something else.
    let elsewhere = client.ask("chat:join", r#"{"agentId":"mia","after":0}"#).await;
    let again = client.ask("chat:join", r#"{"agentId":"luna","after":1997}"#).await;
    for id in tries {
        assert_eq!(client.ack(id).await, json!({"ok": true, "seq": 2_000}));
    }
    assert_eq!(client.ack(elsewhere).await["seq"], 0);
    assert_eq!(client.ack(again).await["seq"], 2_000);
    let mut told = client.events();
    let again = told.split_off(told.len() - 3);
    all_in_order(&told, 1, 2_000);
    all_in_order(&again, 1_998, 2_000);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_while_it_catches_up_leaves_nothing_behind() {
    let server = server(|_| {}).await;
    fill(server.app(), 1, 6_000, 1_000).await;
    for transport in BOTH {
        let mut client = Client::connect(&server.door().narrow(), transport, ADA).await;
        client.ask("chat:join", r#"{"agentId":"luna","after":0}"#).await;
        client.event_named("chat:message").await;
        client.engine.close().await;
    }
    let topic = Topic::Conversation(luna_and_ada());
    server.until("everybody to be gone", |server| server.open_connections() == 0).await;
    assert_eq!(server.listeners(&topic).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn whoever_is_sent_away_while_they_catch_up_is_told_no_more() {
    let server = server(|_| {}).await;
    fill(server.app(), 1, 12_000, 1_000).await;
    let mut client = Client::connect(&server.door().narrow(), Transport::Websocket, ADA).await;
    client.ask("chat:join", r#"{"agentId":"luna","after":0}"#).await;
    client.event_named("chat:message").await;
    assert_eq!(server.disconnect(&Principal::Person(person("ada"))).await, 1);
    assert_eq!(server.listeners(&Topic::Conversation(luna_and_ada())).await, 0);
    client.over().await;
    let told = positions(&client.events());
    assert!(told.len() < 12_000 - 1, "{} were told", told.len());
    server.stop().await;
}

/// Counts when it goes, also when a test fails: nobody waits for it in vain.
struct Counts(Arc<AtomicU64>);

impl Drop for Counts {
    fn drop(&mut self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Joins; returns where the room stands. What was told before that is among the client's events.
async fn joined(client: &mut Client, payload: Value) -> u64 {
    let id = client.ask("chat:join", &payload.to_string()).await;
    let ack = client.ack(id).await;
    assert_eq!(ack["ok"], true, "{payload}: {ack}");
    ack["seq"].as_u64().expect("a position")
}

/// The positions of the messages among `events`.
fn positions(events: &[(String, Value)]) -> Vec<u64> {
    let messages =
        events.iter().filter(|(name, _)| name == "chat:message" || name == "chat:message:complete");
    messages
        .map(|(name, payload)| payload["seq"].as_u64().unwrap_or_else(|| panic!("{name} {payload}")))
        .collect()
}

/// That the messages among `events` are those from position `first` to `last`, each once.
fn all_in_order(events: &[(String, Value)], first: u64, last: u64) {
    let positions = positions(events);
    let wrong = positions.iter().zip(first..).find(|(position, expected)| *position != expected);
    assert_eq!(wrong, None, "from {first} to {last}: what was told, and what was to be");
    assert_eq!(positions.len() as u64, last + 1 - first, "from {first} to {last}");
}

fn no_piece_follows_its_whole(events: &[(String, Value)]) {
    let mut whole = std::collections::HashSet::new();
    for (name, payload) in events {
        let id = payload["messageId"].as_str().unwrap_or_default();
        match name.as_str() {
            "chat:message:complete" => _ = whole.insert(id),
            "chat:message:stream" => assert!(!whole.contains(id), "a piece after the whole of {id}"),
            _ => {}
        }
    }
}

fn nobody_types_for_ever(events: &[(String, Value)]) {
    let last =
        events.iter().rev().find(|(name, payload)| name == "chat:typing" && payload.get("userId").is_none());
    if let Some((_, payload)) = last {
        assert_eq!(payload["isTyping"], false);
    }
}

/// Everything until the notice that [`say_end`] sends.
async fn until_end(client: &mut Client) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    loop {
        let event = client.event().await;
        if event.0 == "system:notification" && event.1["title"] == "end" {
            return heard;
        }
        heard.push(event);
    }
}

fn say_end(server: &Server) {
    let notice = Notice { kind: NoticeKind::Info, title: "end".into(), message: "said".into(), action: None };
    let event = Event::NoticeSent { notice, at: Timestamp(1) };
    server.app().ports().bus.publish(Envelope::new(Topic::Everyone, event));
}

/// Puts `count` messages of so many bytes from position `first` on between Luna and Ada, person and agent in turn; nobody hears
/// of it.
async fn fill(app: &App, first: u64, count: u64, bytes: usize) {
    for seq in first..first + count {
        let text = format!("text {seq}");
        let message = NewMessage {
            id: MessageId::random(),
            conversation: luna_and_ada(),
            agent: agent("luna"),
            person: person("ada"),
            author: if seq % 2 == 1 { Party::Person } else { Party::Agent },
            text: format!("{text:.<bytes$}"),
            at: Timestamp(1),
            quota: None,
            moves: None,
            once: None,
            charge: None,
        };
        app.ports().store.append(message, Box::new(|_, _, _| {})).await.expect("a message is stored");
    }
}

fn luna_and_ada() -> ConversationId {
    ConversationId::direct(&agent("luna"), &person("ada"))
}

async fn last_position(app: &App, conversation: ConversationId) -> u64 {
    let last = app.ports().store.recent(conversation, 1).await.expect("the store reads");
    last.last().map_or(0, |message| message.seq)
}

/// Says `text` to Luna as Ada, over no connection.
async fn post(app: &Arc<App>, text: &str) {
    let post = Command::PostMessage {
        agent: agent("luna"),
        person: Claim::of(person("ada")),
        text: text.into(),
        once: None,
        price: None,
    };
    let outcome = app.handle(&operator(), post).await;
    assert!(matches!(outcome, Ok(Outcome::Posted { .. })), "{outcome:?}");
}

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

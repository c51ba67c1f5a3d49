//! Whether an id in a payload counts only when it is the sender's own: every documented client event that carries one is sent
//! with their own id, somebody else's, none, and what is no id, over real sockets.
//!
//! [`APIS`] says which events these are. A new dialect with such events adds its rows there; a test compares them with the table
//! "What a client says" of its `API.md`, so that none is forgotten. The one event of the companion API that says who somebody is,
//! `join`, has the scripts of that API.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use antiphon_core::ids::ConversationId;
use serde_json::{Map, Value, json};

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::people::{ada, agent, bob, person, server};
use crate::support::server::Server;

use Id::{Another, Own};
use Seen::{Done, Forbidden, Missing, Wrong};

/// What must come of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// It was done.
    Done,
    /// It was refused because an id is somebody else's, and counted.
    Forbidden,
    /// It was refused as if what it names did not exist.
    Missing,
    /// It was refused because it is not as documented.
    Wrong,
}

/// A field that holds an id.
#[derive(Clone, Copy)]
enum Id {
    /// The sender's own id. It may be left out.
    Own(&'static str),
    /// The id of an agent, which has to be there. What comes of naming somebody else's: [`Missing`], or [`Done`] where there is
    /// nothing to find out, because nothing happens to the agent or its person.
    Another(&'static str, Seen),
}

/// An event with an id in it.
struct Row {
    event: &'static str,
    /// What it needs besides ids.
    needs: &'static [(&'static str, &'static str)],
    ids: &'static [Id],
}

/// A documented API.
struct Api {
    dialect: &'static str,
    /// Every client event that carries an id. Ada sends them; Luna is hers, Rex is Bob's.
    rows: &'static [Row],
    /// Events with which Bob begins to listen to everything that is his.
    listening: &'static [(&'static str, &'static str)],
    /// An event that changes nothing and is acknowledged.
    question: (&'static str, &'static str),
    /// What an acknowledgement says.
    read: fn(&Value) -> Seen,
}

const APIS: &[Api] = &[Api {
    dialect: "chat",
    rows: &[
        Row { event: "chat:join", needs: &[], ids: &[Own("userId"), Another("agentId", Missing)] },
        Row { event: "chat:leave", needs: &[], ids: &[Own("userId"), Another("agentId", Done)] },
        Row {
            event: "chat:message",
            needs: &[("message", r#""Hello""#)],
            ids: &[Own("userId"), Another("agentId", Missing)],
        },
        Row {
            event: "chat:typing",
            needs: &[("isTyping", "true")],
            ids: &[Own("userId"), Another("agentId", Done)],
        },
        Row { event: "agent:subscribe", needs: &[], ids: &[Own("userId"), Another("agentId", Missing)] },
        Row { event: "agent:unsubscribe", needs: &[], ids: &[Own("userId"), Another("agentId", Done)] },
        Row { event: "presence:online", needs: &[], ids: &[Own("userId")] },
        Row { event: "presence:offline", needs: &[], ids: &[Own("userId")] },
    ],
    listening: &[("chat:join", r#"{"agentId":"rex"}"#), ("agent:subscribe", r#"{"agentId":"rex"}"#)],
    question: ("agent:unsubscribe", r#"{"agentId":"nobody"}"#),
    read: |ack| match (ack["ok"].as_bool(), ack["error"]["code"].as_str()) {
        (Some(true), None) => Done,
        (Some(false), Some("FORBIDDEN")) => Forbidden,
        (Some(false), Some("AGENT_NOT_FOUND")) => Missing,
        (Some(false), Some("JOIN_ERROR" | "MESSAGE_ERROR")) => Wrong,
        other => panic!("an acknowledgement that says {other:?}"),
    },
}];

/// One event to send, and what must come of it.
struct Case {
    event: &'static str,
    payload: Value,
    expected: Seen,
}

/// Every row with every id in turn.
fn cases(api: &Api) -> Vec<Case> {
    let mut cases = Vec::new();
    for row in api.rows {
        for id in row.ids {
            let (field, values) = match *id {
                Own(field) => (field, own()),
                Another(field, stranger) => (field, another(stranger)),
            };
            for (value, expected) in values {
                let mut payload = proper(row);
                match value {
                    Some(value) => payload.insert(field.into(), value),
                    None => payload.remove(field),
                };
                cases.push(Case { event: row.event, payload: payload.into(), expected });
            }
        }
        // Whoever pretends to be somebody is refused, whosever agent it is and whether it exists.
        for other in ["rex", "nobody"] {
            let mut payload = proper(row);
            payload.insert("userId".into(), "bob".into());
            if payload.contains_key("agentId") {
                payload.insert("agentId".into(), other.into());
            }
            cases.push(Case { event: row.event, payload: payload.into(), expected: Forbidden });
        }
    }
    cases
}

/// The event as Ada would send it.
fn proper(row: &Row) -> Map<String, Value> {
    let needs = row.needs.iter().map(|(field, value)| {
        ((*field).to_owned(), serde_json::from_str(value).expect("the table holds JSON"))
    });
    let ids = row.ids.iter().map(|id| match *id {
        Own(field) => (field.to_owned(), json!("ada")),
        Another(field, _) => (field.to_owned(), json!("luna")),
    });
    needs.chain(ids).collect()
}

/// What may stand where the sender's own id belongs.
fn own() -> Vec<(Option<Value>, Seen)> {
    let done = [None, Some(Value::Null), Some(json!("ada"))];
    // Nearly Ada is not Ada.
    let forbidden = ["bob", "nobody", "Ada", "ada ", " ada", "ada\u{200b}", "аda", "luna", "operator", "*"];
    let mut values: Vec<_> = done.into_iter().map(|value| (value, Done)).collect();
    values.extend(forbidden.map(|id| (Some(json!(id)), Forbidden)));
    values.extend(no_ids().into_iter().map(|value| (Some(value), Wrong)));
    values
}

/// What may stand where an agent's id belongs.
fn another(stranger: Seen) -> Vec<(Option<Value>, Seen)> {
    let mut values = vec![(Some(json!("luna")), Done), (None, Wrong), (Some(Value::Null), Wrong)];
    // Somebody else's looks exactly like one that does not exist.
    values.extend(["rex", "nobody", "Luna", "luna ", "ada"].map(|id| (Some(json!(id)), stranger)));
    values.extend(no_ids().into_iter().map(|value| (Some(value), Wrong)));
    values
}

/// What is no id.
fn no_ids() -> Vec<Value> {
    vec![
        json!(7),
        json!(0),
        json!(true),
        json!(["ada"]),
        json!({"id": "ada"}),
        json!({"toString": "ada"}),
        json!(""),
        json!("a\u{0}da"),
        json!("ada\n"),
        json!("a".repeat(129)),
    ]
}

/// Sends every case over `transport`: first what is refused, then what is done, so that nothing that was done moves meanwhile.
async fn send_all(api: &Api, transport: Transport) {
    let server = server(|config| config.limits.events_per_second = 0).await;
    let mut bob = bob(&server, transport).await;
    for (event, payload) in api.listening {
        let id = bob.ask(event, payload).await;
        assert_eq!((api.read)(&bob.ack(id).await), Done, "{event}");
    }
    let mut ada = ada(&server, transport).await;
    let everything = hears(api, &mut bob).await;
    assert!(everything.iter().any(|name| name.starts_with("presence:")), "Bob hears that Ada comes");
    let (refused, done): (Vec<_>, Vec<_>) = cases(api).into_iter().partition(|case| case.expected != Done);
    assert!(refused.len() > 100 && done.len() > 20, "{} refused, {} done", refused.len(), done.len());

    let before = stored(&server).await;
    assert_eq!(before, [0; 6]);
    for Case { event, payload, expected } in &refused {
        let counted = server.app().forbidden();
        let id = ada.ask(event, &payload.to_string()).await;
        let ack = ada.ack(id).await;
        assert_eq!((api.read)(&ack), *expected, "{event} {payload} over {transport:?}");
        let more = server.app().forbidden() - counted;
        assert_eq!(more, u64::from(*expected == Forbidden), "{event} {payload} was counted {more} times");
        assert_eq!(hears(api, &mut bob).await, [""; 0], "Bob hears of {event} {payload}");
    }
    assert_eq!(stored(&server).await, before, "something that was refused is stored");

    let counted = server.app().forbidden();
    for Case { event, payload, .. } in &done {
        let id = ada.ask(event, &payload.to_string()).await;
        let ack = ada.ack(id).await;
        assert_eq!((api.read)(&ack), Done, "{event} {payload} over {transport:?}");
        let heard = hears(api, &mut bob).await;
        let of_others: Vec<_> = heard.iter().filter(|name| !name.starts_with("presence:")).collect();
        assert!(of_others.is_empty(), "Bob hears {of_others:?} of {event} {payload}");
    }
    assert_eq!(server.app().forbidden(), counted);
    // Hers with Luna alone, and none with Rex or in Bob's name.
    let after = stored(&server).await;
    assert!(after[0] > 0 && after[4] > 0 && after[1..4] == [0; 3] && after[5] == 0, "{after:?}");
    server.stop().await;
}

/// What Bob has heard since he was asked last. Whatever was on its way to him comes before an answer to what he asks now.
async fn hears(api: &Api, bob: &mut Client) -> Vec<String> {
    let (event, payload) = api.question;
    let id = bob.ask(event, payload).await;
    assert_eq!((api.read)(&bob.ack(id).await), Done);
    bob.events().into_iter().map(|(name, _)| name).collect()
}

/// How many messages each pair has exchanged, Ada's own first, and how many count as Ada's and as Bob's.
async fn stored(server: &Server) -> [u64; 6] {
    let store = &server.app().ports().store;
    let mut counts = [0; 6];
    for (index, (name, owner)) in
        [("luna", "ada"), ("rex", "bob"), ("rex", "ada"), ("luna", "bob")].iter().enumerate()
    {
        let conversation = ConversationId::direct(&agent(name), &person(owner));
        counts[index] = store.history(conversation, 0, 1_000).await.expect("the store answers").len() as u64;
    }
    let month = server.app().now().month();
    for (index, name) in ["ada", "bob"].iter().enumerate() {
        counts[4 + index] = store.messages_sent(&person(name), month).await.expect("the store answers");
    }
    counts
}

#[tokio::test]
async fn t3_only_the_senders_own_id_counts_in_every_event_over_websocket() {
    for api in APIS {
        send_all(api, Transport::Websocket).await;
    }
}

#[tokio::test]
async fn t3_only_the_senders_own_id_counts_in_every_event_over_polling() {
    for api in APIS {
        send_all(api, Transport::Polling).await;
    }
}

#[test]
fn t3_no_documented_event_with_an_id_is_forgotten() {
    let dialects = Path::new(env!("CARGO_MANIFEST_DIR")).join("../antiphon-dialects/src");
    for api in APIS {
        let document =
            std::fs::read_to_string(dialects.join(api.dialect).join("API.md")).expect("every API has one");
        let documented = documented(&document);
        let ours: BTreeMap<_, BTreeSet<_>> = api
            .rows
            .iter()
            .map(|row| {
                let ids = row.ids.iter().map(|id| match *id {
                    Own(field) => format!("{field}?"),
                    Another(field, _) => field.to_owned(),
                });
                (row.event.to_owned(), ids.collect())
            })
            .collect();
        assert_eq!(ours, documented, "{}", api.dialect);
    }
    let without_rows: Vec<_> = std::fs::read_dir(&dialects)
        .expect("the dialects are there")
        .map(|entry| entry.expect("they can be listed").file_name().into_string().expect("a plain name"))
        .filter(|name| APIS.iter().all(|api| api.dialect != name))
        .filter(|name| {
            let document = std::fs::read_to_string(dialects.join(name).join("API.md"));
            document.is_ok_and(|document| !documented(&document).is_empty())
        })
        .collect();
    assert!(without_rows.is_empty(), "{without_rows:?} have no rows here");
}

/// The client events of a document and their fields with ids, a question mark behind those that may be left out.
fn documented(document: &str) -> BTreeMap<String, BTreeSet<String>> {
    let said = document.split("\n## What a client says\n").nth(1).expect("a section on what a client says");
    let said = said.split("\n## ").next().expect("splitting leaves something");
    let rows = said.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('`');
        let (event, payload) = (cells.next()?, cells.nth(1)?);
        let fields = payload.trim_matches(['{', '}', ' ']).split(", ");
        let is_id = |field: &str| {
            let name = field.trim_end_matches('?');
            name.ends_with("Id") && name != "clientMessageId"
        };
        Some((event.to_owned(), fields.filter(|field| is_id(field)).map(str::to_owned).collect()))
    });
    rows.filter(|(_, ids): &(_, BTreeSet<String>)| !ids.is_empty()).collect()
}

//! Commands: alone, many in a row, as somebody.

use serde_json::{Value, json};

use super::{Client, refused, served};
use crate::support::client::Client as Socket;
use crate::support::engine::Transport;
use crate::support::people::{ada, add_person, add_plan, bob};

async fn joined(server: &crate::support::server::Server) -> Socket {
    let mut ada = ada(server, Transport::Websocket).await;
    let id = ada.ask("chat:join", r#"{"agentId":"luna"}"#).await;
    assert_eq!(ada.ack(id).await["ok"], json!(true));
    ada
}

#[tokio::test]
async fn what_a_backend_has_a_person_say_is_heard_stored_and_answered() {
    let (server, _) = served(|_| {}).await;
    let mut listening = joined(&server).await;
    let mut client = Client::shop(&server).await;
    let command = json!({"command": "PostMessage", "as": "ada", "agent": "luna", "text": "Good morning"});
    let posted = client.done(&command).await;
    assert_eq!(
        (&posted["outcome"], &posted["seq"], &posted["duplicate"]),
        (&json!("posted"), &json!(1), &json!(false))
    );
    let heard = listening.event_named("chat:message").await;
    assert_eq!(heard["content"], "Good morning", "{heard}");
    let answer = listening.event_named("chat:message:complete").await;
    assert_eq!(answer["fullContent"], "Good morning", "{answer}");
    let read = client.done(&json!({"command": "ReadHistory", "as": "ada", "agent": "luna"})).await;
    let texts: Vec<_> = read["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (&message["from"], &message["text"]))
        .collect();
    let said = json!("Good morning");
    assert_eq!(texts, [(&json!("person"), &said), (&json!("agent"), &said)]);
    assert_eq!(read["messages"][0]["id"], posted["id"]);
    server.stop().await;
}

#[tokio::test]
async fn an_agent_speaks_when_a_backend_has_it_speak_and_not_when_a_person_does() {
    let (server, _) = served(|_| {}).await;
    let mut listening = joined(&server).await;
    let mut client = Client::shop(&server).await;
    let speak =
        json!({"command": "Speak", "agent": "luna", "person": "ada", "text": "Your order is on its way"});
    let spoken = client.done(&speak).await;
    assert_eq!(spoken["outcome"], "posted");
    let mut as_ada = speak.clone();
    as_ada["as"] = json!("ada");
    assert_eq!(refused(client.post("/v1/commands", &as_ada).await), (403, "forbidden".into()));
    let read = client.done(&json!({"command": "ReadHistory", "as": "ada", "agent": "luna"})).await;
    assert_eq!(read["messages"].as_array().unwrap().len(), 1);
    assert_eq!(read["messages"][0]["from"], "agent");
    drop(listening.events());
    server.stop().await;
}

#[tokio::test]
async fn t3_a_backend_acts_as_somebody_who_exists_and_they_may_what_they_may() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let post = |person: Value, agent: &str| json!({"command": "PostMessage", "as": person, "agent": agent, "text": "hi"});
    let table = [
        (post(json!("nobody"), "luna"), 404),
        (post(json!("Ada"), "luna"), 404),
        (post(json!("bob"), "luna"), 404),
        (post(json!("ada"), "rex"), 404),
        (post(json!(""), "luna"), 400),
        (post(json!(7), "luna"), 400),
        (json!({"command": "PostMessage", "agent": "luna", "text": "hi"}), 400),
        (json!({"command": "PostMessage", "agent": "luna", "text": "hi", "person": "ada"}), 400),
        (json!({"command": "SetTyping", "agent": "luna", "active": true}), 400),
        (
            json!({"command": "SendNotice", "as": "ada", "person": "bob", "kind": "info", "title": "t", "message": "m"}),
            403,
        ),
        (json!({"command": "Signal", "as": "ada", "topic": "everyone", "name": "n", "value": 1}), 403),
        (json!({"command": "DeleteAgent", "as": "bob", "agent": "luna"}), 404),
        (json!({"command": "SetPresence", "as": "ada", "status": "away"}), 400),
    ];
    for (command, status) in table {
        let (seen, answer) = client.post("/v1/commands", &command).await;
        assert_eq!(seen, status, "{command}: {answer}");
    }
    let read = client.done(&json!({"command": "ReadHistory", "as": "ada", "agent": "luna"})).await;
    assert_eq!(read["messages"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn a_list_is_done_in_order_and_each_is_answered_whatever_became_of_the_others() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let post = |text: &str| json!({"command": "Speak", "agent": "luna", "person": "ada", "text": text});
    let list = json!([
        post("one"),
        {"command": "DeleteAgent", "agent": "nothing"},
        post(""),
        post("two"),
        {"command": "ReadHistory", "as": "ada", "agent": "luna"},
        {"command": "DeleteAgent", "agent": "mia"},
        {"command": "DeleteAgent", "agent": "mia"},
    ]);
    let answer = client.done(&list).await;
    let results = answer["results"].as_array().unwrap();
    assert_eq!(results.len(), 7);
    assert_eq!((&results[0]["done"]["seq"], &results[3]["done"]["seq"]), (&json!(1), &json!(2)));
    assert_eq!(
        (&results[1]["refused"]["status"], &results[1]["refused"]["code"]),
        (&json!(404), &json!("not_found"))
    );
    assert_eq!(results[2]["refused"]["code"], "invalid");
    assert_eq!(results[4]["done"]["messages"].as_array().unwrap().len(), 2);
    assert_eq!(results[5]["done"]["outcome"], "done");
    assert_eq!(results[6]["refused"]["code"], "not_found");
    server.stop().await;
}

#[tokio::test]
async fn a_message_of_a_backend_counts_against_the_month_of_its_person() {
    let (server, store) = served(|_| {}).await;
    add_plan(&*store, "tiny", None, Some(1)).await;
    add_person(&*store, "bob", "tiny", "bob-key").await;
    let mut client = Client::shop(&server).await;
    let post = json!({"command": "PostMessage", "as": "bob", "agent": "rex", "text": "hi"});
    client.done(&post).await;
    let (status, answer) = client.post("/v1/commands", &post).await;
    assert_eq!((status, &answer["code"]), (403, &json!("over_quota")));
    assert_eq!((&answer["current"], &answer["limit"]), (&json!(1), &json!(1)));
    assert_eq!(answer.get("retryAfterMs"), None);
    server.stop().await;
}

#[tokio::test]
async fn those_who_watch_an_agent_hear_what_a_backend_does_to_it_and_nobody_else_does() {
    let (server, _) = served(|_| {}).await;
    let (mut ada, mut bob) =
        (ada(&server, Transport::Websocket).await, bob(&server, Transport::Websocket).await);
    let id = ada.ask("agent:subscribe", r#"{"agentId":"luna"}"#).await;
    ada.ack(id).await;
    let mut client = Client::shop(&server).await;
    client.done(&json!({"command": "ChangeAgent", "agent": "luna", "tone": "calm"})).await;
    let changed = ada.event_named("agent:updated").await;
    assert_eq!(changed["agentId"], "luna", "{changed}");
    client.done(&json!({"command": "DeleteAgent", "agent": "luna"})).await;
    let deleted = ada.event_named("agent:deleted").await;
    assert_eq!(deleted["agentId"], "luna", "{deleted}");
    // A question that is answered after everything that was said before it.
    let id = bob.ask("agent:subscribe", r#"{"agentId":"rex"}"#).await;
    bob.ack(id).await;
    assert!(bob.events().iter().all(|(name, _)| !name.starts_with("agent:")), "Bob owns no Luna");
    server.stop().await;
}

#[tokio::test]
async fn a_backend_has_agents_work_off_tasks() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let create = json!({
        "command": "CreateTask", "title": "Summarise", "priority": "high", "payload": {"n": 1.10}, "needs": "sum",
    });
    let created = client.done(&create).await["task"].clone();
    assert_eq!((&created["status"], &created["priority"]), (&json!("pending"), &json!("high")), "{created}");
    assert_eq!((&created["payload"], &created["createdBy"]), (&json!({"n": 1.10}), &json!("service:shop")));
    let claim = json!({"command": "ClaimTask", "agent": "luna"});
    assert_eq!(client.done(&claim).await, json!({"outcome": "notask"}), "luna is not capable of it");
    let enlist = json!({"command": "EnlistAgent", "agent": "luna", "capabilities": ["sum"]});
    assert_eq!(client.done(&enlist).await["worker"]["status"], "idle");
    for status in ["initializing", "ready"] {
        let said = json!({"command": "SetAgentStatus", "agent": "luna", "status": status});
        assert_eq!(client.done(&said).await["worker"]["status"], *status);
    }
    assert_eq!(client.done(&claim).await["task"]["agent"], "luna");
    let with_task = |command: &str, more: Value| {
        let mut all = json!({"command": command, "task": created["id"], "agent": "luna"});
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    client.done(&with_task("StartTask", json!({}))).await;
    client.done(&with_task("ReportProgress", json!({"update": {"percent": 50}}))).await;
    let complete = with_task("CompleteTask", json!({"result": [1, 2]}));
    let done = client.done(&complete).await;
    assert_eq!((&done["task"]["status"], &done["repeated"]), (&json!("completed"), &json!(false)), "{done}");
    assert_eq!(client.done(&complete).await["repeated"], true, "done again, nothing changes");
    let late = client.post("/v1/commands", &with_task("StartTask", json!({}))).await;
    assert_eq!(refused(late), (409, "conflict".into()));
    let as_ada = json!({"command": "ReadTasks", "as": "ada"});
    assert_eq!(client.post("/v1/commands", &as_ada).await.0, 404, "ada looks after nothing here");
    let read = client.done(&json!({"command": "ReadTasks", "status": "completed"})).await;
    assert_eq!(read["tasks"][0]["result"], json!([1, 2]));
    let beat = json!({"command": "Heartbeat", "agent": "luna", "metadata": {"load": 0.5}});
    assert_eq!(client.done(&beat).await["worker"]["metadata"], json!({"load": 0.5}));
    server.stop().await;
}

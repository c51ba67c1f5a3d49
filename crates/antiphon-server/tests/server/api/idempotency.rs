//! A request that is sent again has one effect.

use std::sync::Arc;

use antiphon_core::ids::{ConversationId, Timestamp};
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Answer, Begun, Conversations as _, Model, Prompt, RequestKey, Requests as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::{Client, answered_by, refused, seen, served};
use crate::support::http::Response;
use crate::support::people::{agent, person};
use crate::support::soon;

const PATH: &str = "/v1/commands";

fn post(text: &str) -> Value {
    json!({"command": "Speak", "agent": "luna", "person": "ada", "text": text})
}

async fn keyed(client: &mut Client, path: &str, key: &str, body: &Value) -> Response {
    let request = client.request("POST", path, Some(body)).header("Idempotency-Key", key);
    client.send(&request).await
}

async fn said(store: &MemoryStore) -> Vec<String> {
    let conversation = ConversationId::direct(&agent("luna"), &person("ada"));
    let messages = store.history(conversation, 0, 1_000).await.unwrap();
    messages.into_iter().map(|message| message.text).collect()
}

/// What makes a request the same as another one, as the server sees it.
fn fingerprint(path: &str, body: &Value) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in ["POST", path, &body.to_string()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What the server calls a message of a request of the shop, so that it is stored once.
fn message_name(key: &str, index: u64) -> String {
    let mut hash = Sha256::new();
    for part in ["service:shop", key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.update(index.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    digest.iter().fold(String::from("request:"), |name, byte| name + &format!("{byte:02x}"))
}

/// The request as it was begun by a process that died before it had an answer.
async fn begun(store: &MemoryStore, key: &str, body: &Value) {
    let request = RequestKey { principal: "service:shop".into(), key: format!("request:{key}") };
    let now = Timestamp(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64);
    assert_eq!(store.begin(&request, &fingerprint(PATH, body), now).await.unwrap(), Begun::New);
}

#[tokio::test]
async fn t11_the_same_request_again_has_one_effect_and_the_same_answer() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let first = keyed(&mut client, PATH, "k-1", &post("once")).await;
    assert_eq!((first.status, first.header("Idempotent-Replay")), (200, None));
    for _ in 0..3 {
        let again = keyed(&mut client, PATH, "k-1", &post("once")).await;
        assert_eq!(again.seen(), first.seen());
        assert_eq!(again.header("Idempotent-Replay"), Some("true"));
        assert_eq!(again.header("Content-Type"), first.header("Content-Type"));
    }
    assert_eq!(said(&store).await, ["once"]);
    let other = keyed(&mut client, PATH, "k-2", &post("once")).await;
    assert_ne!(other.seen(), first.seen());
    assert_eq!(said(&store).await, ["once", "once"]);
    server.stop().await;
}

#[tokio::test]
async fn t11_another_request_under_the_same_key_is_a_conflict() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    assert_eq!(keyed(&mut client, PATH, "k", &post("one")).await.status, 200);
    for response in [
        keyed(&mut client, PATH, "k", &post("two")).await,
        keyed(&mut client, "/v1/topics/everyone/publish", "k", &json!({"name": "n", "value": 1})).await,
    ] {
        assert_eq!(refused(seen(&response)), (409, "conflict".into()));
    }
    assert_eq!(said(&store).await, ["one"]);
    server.stop().await;
}

#[tokio::test]
async fn t11_keys_of_two_backends_have_nothing_to_do_with_each_other() {
    let (server, store) = served(|_| {}).await;
    use antiphon_core::actor::Holder;
    use antiphon_core::ports::Keys as _;
    store.put_key(&super::key("other", "svc_other", Holder::Service("other".into()))).await.unwrap();
    let (mut shop, mut other) =
        (Client::shop(&server).await, Client::with(&server.door(), Some("svc_other")).await);
    for client in [&mut shop, &mut other] {
        assert_eq!(keyed(client, PATH, "k", &post("hi")).await.header("Idempotent-Replay"), None);
    }
    assert_eq!(said(&store).await, ["hi", "hi"]);
    server.stop().await;
}

/// Answers when it is let.
struct Patient(Arc<Semaphore>);

impl Model for Patient {
    fn answer(&self, _: Prompt) -> Answer {
        let gate = self.0.clone();
        Box::pin(futures_util::stream::once(async move {
            let _permit = gate.acquire().await;
            Ok("yes".to_owned())
        }))
    }
}

#[tokio::test]
async fn t11_what_was_refused_for_a_passing_reason_may_be_asked_again() {
    let gate = Arc::new(Semaphore::new(0));
    let model: Arc<dyn Model> = Arc::new(Patient(gate.clone()));
    let (server, store) = answered_by(Some(model), |config| config.limits.waiting_replies = 0).await;
    let mut client = Client::shop(&server).await;
    let ask = |text: &str| json!({"command": "PostMessage", "as": "ada", "agent": "luna", "text": text});
    client.done(&ask("first")).await;
    // Nobody has answered yet, so nothing more is taken.
    let single = keyed(&mut client, PATH, "k-1", &ask("second")).await;
    assert_eq!(refused(seen(&single)), (429, "rate_limited".into()));
    assert!(single.header("Retry-After").is_some());
    let list = json!([post("spoken"), ask("third")]);
    let results = seen(&keyed(&mut client, PATH, "k-2", &list).await).1["results"].clone();
    assert_eq!(results[0]["done"]["duplicate"], false);
    assert_eq!(results[1]["refused"]["code"], "rate_limited");

    gate.add_permits(1);
    soon("the answer", async {
        while !said(&store).await.contains(&"yes".to_owned()) {
            assert_eq!(client.get("/v1/status").await.0, 200);
        }
    })
    .await;
    let results = soon("room for another question", async {
        loop {
            let response = keyed(&mut client, PATH, "k-2", &list).await;
            let results = seen(&response).1["results"].clone();
            if results[1]["done"].is_object() {
                assert_eq!(response.header("Idempotent-Replay"), None);
                break results;
            }
        }
    })
    .await;
    assert_eq!(results[0]["done"]["duplicate"], true, "it was spoken before");
    assert_eq!(said(&store).await.iter().filter(|text| *text == "spoken").count(), 1);
    gate.add_permits(100);
    server.stop().await;
}

#[tokio::test]
async fn t11_a_refusal_is_remembered_and_what_is_no_request_is_not() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let missing = json!({"command": "DeleteAgent", "agent": "nothing"});
    let first = keyed(&mut client, PATH, "k", &missing).await;
    assert_eq!(refused(seen(&first)), (404, "not_found".into()));
    let again = keyed(&mut client, PATH, "k", &missing).await;
    assert_eq!((again.seen(), again.header("Idempotent-Replay")), (first.seen(), Some("true")));
    // What is not even a request has no answer to be remembered.
    let broken = json!({"command": "Nothing"});
    assert_eq!(keyed(&mut client, PATH, "b", &broken).await.status, 400);
    assert_eq!(keyed(&mut client, PATH, "b", &post("hi")).await.status, 200);
    assert_eq!(said(&store).await, ["hi"]);
    server.stop().await;
}

#[tokio::test]
async fn t11_many_at_once_under_one_key_have_one_effect() {
    let (server, store) = served(|config| config.server.cores = 2).await;
    let mut clients = Vec::new();
    for _ in 0..8 {
        clients.push(Client::shop(&server).await);
    }
    let body = json!([post("one"), post("two"), {"command": "Signal", "topic": "everyone", "name": "n", "value": 1}]);
    let asked = clients.iter_mut().map(|client| keyed(client, PATH, "k", &body));
    let responses = futures_util::future::join_all(asked).await;
    let mut answers: Vec<_> =
        responses.iter().filter(|response| response.status == 200).map(Response::seen).collect();
    assert!(!answers.is_empty());
    answers.dedup();
    assert_eq!(answers.len(), 1);
    for response in responses.iter().filter(|response| response.status != 200) {
        let (status, answer) = seen(response);
        assert_eq!((status, &answer["code"]), (409, &json!("unavailable")), "{answer}");
        assert!(answer["retryAfterMs"].is_u64() && response.header("Retry-After").is_some());
    }
    assert_eq!(said(&store).await, ["one", "two"]);
    server.stop().await;
}

#[tokio::test]
async fn p3_messages_of_a_request_whose_process_died_are_stored_once() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    // As if a process had died after it had stored the first of two messages.
    let list = json!([post("one"), post("two")]);
    begun(&store, "k", &list).await;
    let mut first = post("one");
    first["clientMessageId"] = json!(message_name("k", 0));
    let stored = client.done(&first).await;
    assert_eq!(stored["duplicate"], false);

    let (status, answer) = seen(&keyed(&mut client, PATH, "k", &list).await);
    assert_eq!(status, 200);
    let done = |index: usize| &answer["results"][index]["done"];
    assert_eq!((&done(0)["id"], &done(0)["duplicate"]), (&stored["id"], &json!(true)), "{answer}");
    assert_eq!((&done(1)["seq"], &done(1)["duplicate"]), (&json!(2), &json!(false)), "{answer}");
    assert_eq!(said(&store).await, ["one", "two"]);
    let replayed = keyed(&mut client, PATH, "k", &list).await;
    assert_eq!(replayed.header("Idempotent-Replay"), Some("true"));
    server.stop().await;
}

#[tokio::test]
async fn p3_what_may_have_been_told_before_its_process_died_is_not_told_again() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let signal = json!({"command": "Signal", "topic": "everyone", "name": "n", "value": 1});
    begun(&store, "k", &signal).await;
    let (status, answer) = seen(&keyed(&mut client, PATH, "k", &signal).await);
    assert_eq!((status, &answer["code"]), (409, &json!("conflict")));
    assert_eq!(answer.get("retryAfterMs"), None);
    server.stop().await;
}

#[tokio::test]
async fn a_key_may_stand_in_the_body_of_a_single_command_and_is_the_same_key() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let mut body = post("hi");
    body["idempotencyKey"] = json!("k");
    let (first, again) = (client.post(PATH, &body).await, client.post(PATH, &body).await);
    assert_eq!(first, again);
    assert_eq!(first.0, 200);
    assert_eq!(said(&store).await, ["hi"]);
    assert_eq!(keyed(&mut client, PATH, "k", &body).await.header("Idempotent-Replay"), Some("true"));
    assert_eq!(refused(seen(&keyed(&mut client, PATH, "other", &body).await)), (400, "invalid".into()));
    assert_eq!(refused(client.post(PATH, &json!([body])).await), (400, "invalid".into()));
    server.stop().await;
}

#[tokio::test]
async fn a_key_has_1_to_128_bytes() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    assert_eq!(keyed(&mut client, PATH, &"k".repeat(128), &post("hi")).await.status, 200);
    for key in [String::new(), "k".repeat(129), "é".into()] {
        assert_eq!(keyed(&mut client, PATH, &key, &post("hi")).await.status, 400, "{key}");
    }
    server.stop().await;
}

#[tokio::test]
async fn readable_routes_know_keys_too_and_those_that_cannot_say_so() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let table = [
        ("/v1/conversations/luna/ada/messages", json!({"from": "agent", "text": "hi"}), 200),
        ("/v1/agents", json!({"owner": "ada", "id": "nova", "name": "Nova"}), 201),
        ("/v1/people/ada/notices", json!({"kind": "info", "title": "t", "message": "m"}), 200),
        ("/v1/topics/named/place/publish", json!({"name": "n", "value": {"a": 1}}), 200),
    ];
    for (index, (path, body, status)) in table.iter().enumerate() {
        let key = format!("k-{index}");
        let first = keyed(&mut client, path, &key, body).await;
        assert_eq!(first.status, *status, "{:?}", first.seen());
        let again = keyed(&mut client, path, &key, body).await;
        assert_eq!((again.seen(), again.header("Idempotent-Replay")), (first.seen(), Some("true")), "{path}");
    }
    assert_eq!(said(&store).await, ["hi"]);
    let response = keyed(&mut client, "/v1/keys", "k", &json!({"person": "ada"})).await;
    assert_eq!(refused(seen(&response)), (400, "invalid".into()));
    server.stop().await;
}

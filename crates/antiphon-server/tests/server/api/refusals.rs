//! What is refused, in which words, and that nothing comes of it.

use antiphon_core::actor::Holder;
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::ports::{Agents as _, Conversations as _, Keys as _, People as _};
use serde_json::{Value, json};

use super::{Client, KEY, key, refused, seen, served};
use crate::support::http::Request;

#[tokio::test]
async fn t32_only_the_key_of_a_backend_opens_the_api_and_only_in_the_header() {
    let (server, store) = served(|_| {}).await;
    let mut revoked = key("gone", "svc_gone", Holder::Service("gone".into()));
    revoked.revoked_at = Some(Timestamp(1));
    let mut expired = key("old", "svc_old", Holder::Service("old".into()));
    expired.expires_at = Some(Timestamp(1));
    let mut chat_only = key("chat", "svc_chat", Holder::Service("chat".into()));
    chat_only.dialects = Some(vec!["chat".into()]);
    for key in [&revoked, &expired, &chat_only] {
        store.put_key(key).await.unwrap();
    }
    let table = [
        (None, 401, "unauthenticated"),
        (Some("svc_nobody-knows-this-one"), 401, "bad_credential"),
        (Some("svc_gone"), 401, "bad_credential"),
        (Some("svc_old"), 401, "bad_credential"),
        (Some("svc_chat"), 401, "bad_credential"),
        (Some("ada-key"), 403, "forbidden"),
        (Some("your-service-key"), 401, "bad_credential"),
        (Some("x.y.z"), 401, "bad_credential"),
    ];
    for (key, status, code) in table {
        let mut client = Client::with(&server.door(), key).await;
        for (method, path) in [("GET", "/v1/status"), ("POST", "/v1/commands"), ("GET", "/v1/tail")] {
            let request = client.request(method, path, None);
            let response = client.send(&request).await;
            assert_eq!(refused(seen(&response)), (status, code.into()), "{key:?} {path}");
            let challenge = (status == 401).then_some("Bearer");
            assert_eq!(response.header("WWW-Authenticate"), challenge);
        }
    }
    let mut client = Client::with(&server.door(), None).await;
    for request in [
        Request::get("/v1/status").header("Cookie", &format!("key={KEY}; Authorization=Bearer {KEY}")),
        Request::get(&format!("/v1/status?token={KEY}&access_token={KEY}")),
        Request::get("/v1/status").header("Authorization", &format!("Basic {KEY}")),
    ] {
        assert_eq!(refused(seen(&client.send(&request).await)).0, 401);
    }
    let response =
        client.send(&Request::get("/v1/status").header("Authorization", &format!("bearer {KEY}"))).await;
    assert_eq!(seen(&response).1["you"], "service:shop");
    assert_eq!(response.header("Set-Cookie"), None);
    server.stop().await;
}

#[tokio::test]
async fn t9_a_key_that_is_revoked_opens_nothing_from_then_on() {
    let (server, store) = served(|_| {}).await;
    let other = key("other", "svc_other-key", Holder::Service("other".into()));
    store.put_key(&other).await.unwrap();
    let mut other = Client::with(&server.door(), Some("svc_other-key")).await;
    assert_eq!(other.get("/v1/status").await.0, 200);
    let mut shop = Client::shop(&server).await;
    assert_eq!(shop.ask("DELETE", "/v1/keys/svc_other", None).await.0, 204);
    assert_eq!(refused(other.get("/v1/status").await), (401, "bad_credential".into()));
    let (_, known) = shop.get("/v1/keys/svc_other").await;
    assert!(known["revokedAt"].is_string(), "{known}");
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_not_found_in_the_same_words() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    for path in
        ["/v1", "/v1/", "/v1/nothing", "/v1/people/ada/", "/v1/commands/x", "/v1//status", "/v1/people/"]
    {
        assert_eq!(refused(client.get(path).await), (404, "not_found".into()), "{path}");
    }
    for path in
        ["/v1/people/nobody", "/v1/people/nobody/presence", "/v1/agents/nothing", "/v1/keys/cda_nothing"]
    {
        assert_eq!(refused(client.get(path).await), (404, "not_found".into()), "{path}");
    }
    // Not there, and not theirs, look the same.
    let not_there = client.get("/v1/conversations/nothing/ada/messages").await;
    let not_theirs = client.get("/v1/conversations/rex/ada/messages").await;
    assert_eq!(not_there, not_theirs);
    assert_eq!(not_there.0, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_as_documented_is_refused_in_words_and_stores_nothing() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let table: [(&str, &str, &str, &str); 16] = [
        ("POST", "/v1/commands", "", "EOF"),
        ("POST", "/v1/commands", "{", "not JSON"),
        ("POST", "/v1/commands", "nonsense", "not JSON"),
        ("POST", "/v1/commands", "\"PostMessage\"", "expected an object"),
        ("POST", "/v1/commands", "[]", "1 to 50"),
        ("POST", "/v1/commands", r#"[{"command":"DeleteAgent","agent":"luna"},7]"#, "[1]"),
        (
            "POST",
            "/v1/commands",
            r#"{"command":"DeleteAgent","agent":"luna","agnet":1}"#,
            "unknown field `agnet`",
        ),
        ("POST", "/v1/commands", r#"{"command":"DeleteAgent","agent":["luna"]}"#, "expected a string"),
        (
            "POST",
            "/v1/commands",
            r#"{"command":"deleteAgent","agent":"luna"}"#,
            "Did you mean `DeleteAgent`?",
        ),
        (
            "POST",
            "/v1/commands",
            r#"{"command":"PostMessage","as":7,"agent":"luna","text":"a"}"#,
            "expected a string",
        ),
        (
            "POST",
            "/v1/conversations/luna/ada/messages",
            r#"{"from":"nobody","text":"a"}"#,
            "`person` or `agent`",
        ),
        ("POST", "/v1/conversations/luna/ada/messages", r#"{"text":"  "}"#, "must not be empty"),
        ("PUT", "/v1/people/carl", r#"{"plans":"free"}"#, "Did you mean `plan`?"),
        ("PATCH", "/v1/agents/luna", "{}", "what becomes different"),
        ("POST", "/v1/agents", r#"{"owner":"ada","id":"nova","name":""}"#, "needs a name"),
        ("POST", "/v1/keys", r#"{"person":"ada","service":"shop"}"#, "name one"),
    ];
    for (method, path, body, words) in table {
        let request = client.request(method, path, None).json(body);
        let (status, answer) = seen(&client.send(&request).await);
        assert_eq!((status, &answer["code"]), (400, &Value::from("invalid")), "{body}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(words), "{body}: {answer}");
    }
    let deep = format!(
        r#"{{"command":"Signal","topic":"everyone","name":"n","value":{}{}}}"#,
        "[".repeat(64),
        "]".repeat(64)
    );
    let request = client.request("POST", "/v1/commands", None).json(deep);
    let (status, answer) = seen(&client.send(&request).await);
    assert_eq!((status, &answer["code"]), (400, &Value::from("invalid")), "{answer}");
    assert!(store.agent(&AgentId::parse("luna").unwrap()).await.unwrap().is_some());
    assert!(store.agent(&AgentId::parse("nova").unwrap()).await.unwrap().is_none());
    assert!(store.person(&PersonId::parse("carl").unwrap()).await.unwrap().is_none());
    assert_eq!(said(&store).await, 0);
    assert_eq!(store.keys(None, 100).await.unwrap().len(), 3);
    server.stop().await;
}

/// How many messages Ada and Luna have exchanged.
async fn said(store: &antiphon_core::memory::MemoryStore) -> usize {
    let (agent, person) = (AgentId::parse("luna").unwrap(), PersonId::parse("ada").unwrap());
    let conversation = antiphon_core::ids::ConversationId::direct(&agent, &person);
    store.history(conversation, 0, 100).await.unwrap().len()
}

#[tokio::test]
async fn t12_a_body_may_be_as_large_as_configured_and_no_larger() {
    let (server, store) = served(|config| config.api.max_body = 2_000).await;
    let path = "/v1/topics/everyone/publish";
    let body = |length: usize| {
        let frame = r#"{"name":"n","value":""}"#.len();
        format!(r#"{{"name":"n","value":"{}"}}"#, "x".repeat(length - frame))
    };
    let mut client = Client::shop(&server).await;
    let request = client.request("POST", path, None).header("Content-Type", "application/json");
    assert_eq!(seen(&client.send(&request.clone().body(body(2_000))).await).0, 200);
    let response = client.send(&request.clone().body(body(2_001))).await;
    assert_eq!(refused(seen(&response)), (413, "too_large".into()));
    assert_eq!(response.header("Connection"), Some("close"));
    client.http.ended().await;
    assert_eq!(said(&store).await, 0);
    server.stop().await;
}

#[tokio::test]
async fn t24_a_body_that_does_not_come_is_not_waited_for() {
    let (server, _) = served(|config| config.limits.request = 200).await;
    let mut client = Client::shop(&server).await;
    let head = format!(
        "POST /v1/commands HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
    );
    client.http.send_bytes(head.as_bytes()).await;
    let response = client.http.response().await;
    assert_eq!(refused(seen(&response)), (408, "invalid".into()));
    client.http.ended().await;
    server.stop().await;
}

#[tokio::test]
async fn t12_a_list_has_as_many_commands_as_configured_and_no_more() {
    let (server, _) = served(|config| config.api.max_batch = 3).await;
    let mut client = Client::shop(&server).await;
    let list = |length: usize| {
        Value::from(vec![json!({"command": "ReadHistory", "as": "ada", "agent": "luna"}); length])
    };
    let (status, answer) = client.post("/v1/commands", &list(3)).await;
    assert_eq!((status, answer["results"].as_array().map(Vec::len)), (200, Some(3)));
    assert_eq!(refused(client.post("/v1/commands", &list(4)).await), (400, "invalid".into()));
    server.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_is_not_read() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let body = r#"{"command":"DeleteAgent","agent":"luna"}"#;
    let request = client.request("POST", "/v1/commands", None).body(body);
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "nonsense"]
    {
        let response = client.send(&request.clone().header("Content-Type", kind)).await;
        assert_eq!(refused(seen(&response)), (415, "invalid".into()), "{kind}");
    }
    assert_eq!(refused(seen(&client.send(&request).await)).0, 415);
    let response = client.send(&request.header("Content-Type", "Application/JSON; charset=utf-8")).await;
    assert_eq!(response.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn t31_ids_are_data_wherever_they_come_from() {
    let (server, store) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    for (id, encoded) in [
        ("'; DROP TABLE people;--", "%27%3B%20DROP%20TABLE%20people%3B--"),
        ("a\"b\\c", "a%22b%5Cc"),
        ("../../etc/passwd", "..%2F..%2Fetc%2Fpasswd"),
        ("línea 😀", "l%C3%ADnea%20%F0%9F%98%80"),
        ("<script>alert(1)</script>", "%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
        ("{person}", "%7Bperson%7D"),
        ("%00", "%2500"),
    ] {
        let path = format!("/v1/people/{encoded}");
        let (status, person) = client.ask("PUT", &path, Some(&json!({"plan": "free"}))).await;
        assert_eq!((status, &person["id"]), (200, &Value::from(id)), "{person}");
        assert_eq!(client.get(&path).await.1["id"], id);
        let agent = json!({"owner": id, "id": format!("agent of {id}"), "name": "Nova"});
        assert_eq!(client.post("/v1/agents", &agent).await.0, 201, "{id}");
        let known = PersonId::parse(id).unwrap();
        assert_eq!(store.agents_of(&known).await.unwrap().len(), 1);
        let command =
            json!({"command": "PostMessage", "as": id, "agent": format!("agent of {id}"), "text": "hi"});
        assert_eq!(client.done(&command).await["outcome"], "posted");
    }
    for encoded in ["a%00b", "%FF%FE", "a%0Ab", &"x".repeat(129)] {
        let (status, answer) = client.ask("PUT", &format!("/v1/people/{encoded}"), Some(&json!({}))).await;
        assert_eq!(status, 400, "{encoded}: {answer}");
    }
    let (_, all) = client.get("/v1/people?limit=1000").await;
    assert_eq!(all["people"].as_array().unwrap().len(), 9);
    server.stop().await;
}

#[tokio::test]
async fn queries_are_checked_like_bodies() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    for (path, words) in [
        ("/v1/people?limt=3", "Did you mean `limit`?"),
        ("/v1/people?limit=x", "invalid digit"),
        ("/v1/people?limit=0", "1 to 1,000"),
        ("/v1/people?limit=1001", "1 to 1,000"),
        ("/v1/people?after=", "must not be empty"),
        ("/v1/agents", "missing field `owner`"),
        ("/v1/conversations/luna/ada/messages?limit=1001", "1 and 1,000"),
        ("/v1/conversations/luna/ada/messages?after=-1", "invalid digit"),
        ("/v1/tail?topic=nodes", "A topic is"),
        ("/v1/tail?topc=everyone", "there is `topic`"),
    ] {
        let (status, answer) = client.get(path).await;
        assert_eq!((status, &answer["code"]), (400, &Value::from("invalid")), "{path}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(words), "{path}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn t26_a_backend_that_asks_too_often_is_told_when_to_come_back_and_each_command_counts() {
    let (server, _) = served(|config| {
        config.api.commands_per_second = 1;
        config.api.commands_burst = 5;
        config.api.max_batch = 5;
    })
    .await;
    let mut client = Client::shop(&server).await;
    let list = Value::from(vec![json!({"command": "ReadHistory", "as": "ada", "agent": "luna"}); 5]);
    assert_eq!(client.post("/v1/commands", &list).await.0, 200);
    let request = client.request("GET", "/v1/status", None);
    let response = client.send(&request).await;
    let (status, answer) = seen(&response);
    assert_eq!((status, &answer["code"]), (429, &Value::from("rate_limited")));
    assert!(answer["retryAfterMs"].as_u64().is_some_and(|wait| (1..=1_000).contains(&wait)), "{answer}");
    assert_eq!(response.header("Retry-After"), Some("1"));
    server.stop().await;
}

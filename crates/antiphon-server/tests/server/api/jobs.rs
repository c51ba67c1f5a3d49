//! What agents say by themselves: listed, foreseen, and said at once.

use antiphon_core::ids::Timestamp;
use antiphon_core::people::Bond;
use antiphon_core::ports::Bonds as _;
use serde_json::{Value, json};

use super::{Client, refused, served};
use crate::support::client::Client as Socket;
use crate::support::engine::Transport;
use crate::support::people::{ada, agent, person};
use crate::support::server::Server;

/// A server where Ada has just said something to Luna; her socket, and a backend.
async fn talking() -> (Server, Socket, Client) {
    let (server, store) = served(|config| config.proactive.enabled = true).await;
    let bond = Bond { agent: agent("luna"), person: person("ada"), since: Timestamp(0) };
    store.put_bond(&bond).await.expect("a bond is stored");
    let mut socket = ada(&server, Transport::Websocket).await;
    socket.emit("chat:message", r#"{"agentId":"luna","message":"hello"}"#).await;
    socket.event_named("chat:message:complete").await;
    let client = Client::shop(&server).await;
    (server, socket, client)
}

#[tokio::test]
async fn a_backend_sees_what_is_coming_has_it_said_and_finds_it_among_the_jobs() {
    let (server, mut socket, mut client) = talking().await;
    let (status, due) = client.get("/v1/jobs/due").await;
    assert_eq!(status, 200);
    let prospect = &due["due"][0];
    assert_eq!(
        (&prospect["person"], &prospect["timeZone"]),
        (&json!("ada"), &json!("Asia/Jakarta")),
        "{due}"
    );
    assert!(prospect["busyUntil"].is_string() && prospect["agent"].is_null(), "{due}");
    let kinds: Vec<_> = prospect["coming"].as_array().unwrap().iter().map(|coming| &coming["kind"]).collect();
    assert_eq!(kinds, ["morning", "lunch", "night"]);
    assert_eq!(client.get("/v1/jobs").await, (200, json!({"jobs": []})));

    let order = json!({"person": "ada", "kind": "lunch", "now": true});
    let (status, report) = client.post("/v1/jobs/run", &order).await;
    assert_eq!((status, &report["said"], &report["people"]), (200, &json!(1), &json!(1)), "{report}");
    let result = &report["results"][0];
    assert_eq!((&result["result"], &result["agent"]), (&json!("said"), &json!("luna")));
    let heard = socket.event_named("chat:message").await;
    assert_eq!((&heard["agentId"], &heard["id"]), (&json!("luna"), &result["message"]), "{heard}");

    let (_, again) = client.post("/v1/jobs/run", &order).await;
    assert_eq!((&again["said"], &again["results"][0]["result"]), (&json!(0), &json!("before")), "{again}");
    let (_, jobs) = client.get("/v1/jobs?person=ada&limit=1").await;
    let job = &jobs["jobs"][0];
    assert_eq!(
        (&job["state"], &job["kind"], &job["message"]),
        (&json!("done"), &json!("lunch"), &result["message"])
    );
    assert_eq!((&job["date"], &job["tries"]), (&result["date"], &json!(1)));
    // There is a page after a full one, and it is empty.
    assert_eq!(jobs["next"], job["id"]);
    let next = format!("/v1/jobs?after={}", jobs["next"]);
    assert_eq!(client.get(&next).await.1["jobs"], json!([]));
    assert_eq!(client.get("/v1/jobs?person=bob").await.1["jobs"], json!([]));
    server.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let (server, _socket, mut client) = talking().await;
    let table: [(&str, Option<Value>, u16, &str); 9] = [
        ("/v1/jobs/run", Some(json!({"kind": "brunch"})), 400, "kind"),
        ("/v1/jobs/run", Some(json!({"now": true})), 400, "name the kind"),
        ("/v1/jobs/run", Some(json!({"person": "nobody"})), 404, "no such person"),
        ("/v1/jobs/run", Some(json!({"who": "ada"})), 400, "who"),
        ("/v1/jobs/due?person=nobody", None, 404, "no such person"),
        ("/v1/jobs/due?limit=0", None, 400, "1 to 1,000"),
        ("/v1/jobs?limit=1001", None, 400, "1 to 1,000"),
        ("/v1/jobs?after=x", None, 400, "after"),
        ("/v1/jobs?person=", None, 400, "empty"),
    ];
    for (path, body, status, words) in table {
        let (found, problem) = match &body {
            Some(body) => client.post(path, body).await,
            None => client.get(path).await,
        };
        assert_eq!(found, status, "{path} {body:?}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{problem}");
    }
    let mut stranger = Client::with(&server.door(), Some("ada-key")).await;
    for path in ["/v1/jobs", "/v1/jobs/due"] {
        assert_eq!(refused(stranger.get(path).await).0, 403, "{path}");
    }
    assert_eq!(refused(stranger.post("/v1/jobs/run", &json!({})).await).0, 403);
    server.stop().await;
}

#[tokio::test]
async fn where_nothing_is_said_by_itself_there_is_nothing_to_foresee() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    for (status, problem) in [client.get("/v1/jobs/due").await, client.post("/v1/jobs/run", &json!({})).await]
    {
        assert_eq!(status, 404);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("[proactive]")), "{problem}");
    }
    assert_eq!(client.get("/v1/jobs").await, (200, json!({"jobs": []})));
    server.stop().await;
}

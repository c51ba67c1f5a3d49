//! What the routes of the mission API answer, and that nothing comes of what they refuse.

use antiphon_core::ids::ConversationId;
use antiphon_core::ports::{Agents as _, TaskFilter, Tasks as _};
use serde_json::{Value, json};

use super::{ask, respond, served};
use crate::support::people::{agent, person};

const ADA: Option<&str> = Some("ada-key");

#[tokio::test]
async fn health_needs_nobody() {
    let (server, _) = served(|_| {}).await;
    for path in ["/health", "/health/"] {
        let told = ask(&server, None, "GET", path, "").await;
        assert_eq!(told, (200, json!({"status": "healthy", "websocket": "enabled"})));
    }
    server.stop().await;
}

#[tokio::test]
async fn every_route_asks_who_it_is() {
    let (server, _) = served(|_| {}).await;
    let id = "123e4567-e89b-12d3-a456-426614174000";
    for (method, path) in [
        ("GET", "/auth/me".to_owned()),
        ("GET", "/auth/verify".into()),
        ("POST", "/auth/logout".into()),
        ("GET", "/agents".into()),
        ("POST", "/agents".into()),
        ("GET", "/agents/luna".into()),
        ("PUT", "/agents/luna".into()),
        ("DELETE", "/agents/luna".into()),
        ("POST", "/agents/luna/control".into()),
        ("POST", "/agents/luna/status".into()),
        ("POST", "/agents/luna/heartbeat".into()),
        ("GET", "/tasks".into()),
        ("POST", "/tasks".into()),
        ("POST", "/tasks/claim".into()),
        ("GET", format!("/tasks/{id}")),
        ("POST", format!("/tasks/{id}/assign")),
        ("POST", format!("/tasks/{id}/cancel")),
        ("POST", format!("/tasks/{id}/claim")),
        ("POST", format!("/tasks/{id}/start")),
        ("POST", format!("/tasks/{id}/progress")),
        ("POST", format!("/tasks/{id}/complete")),
        ("POST", format!("/tasks/{id}/fail")),
        ("GET", "/conversations".into()),
        ("POST", "/conversations".into()),
        ("GET", format!("/conversations/{id}")),
        ("GET", format!("/conversations/{id}/messages")),
        ("POST", format!("/conversations/{id}/messages")),
        ("POST", "/alerts".into()),
    ] {
        let response = respond(&server, None, method, &path, "{}").await;
        assert_eq!(response.seen(), (401, r#"{"detail":"Not authenticated"}"#), "{method} {path}");
        assert_eq!(response.header("WWW-Authenticate"), Some("Bearer"));
        let slash = respond(&server, Some("bad"), method, &format!("{path}/"), "{}").await;
        assert_eq!(slash.seen(), (401, r#"{"detail":"Invalid authentication"}"#), "{method} {path}/");
    }
    let response = respond(&server, ADA, "PATCH", "/tasks", "").await;
    assert_eq!(response.seen(), (405, r#"{"detail":"Method Not Allowed"}"#));
    server.stop().await;
}

#[tokio::test]
async fn an_agent_is_added_changed_and_removed() {
    let (server, store) = served(|_| {}).await;
    let new = json!({"id": "vega", "name": "Vega", "agent_type": "subagent", "capabilities": ["sums"], "version": "1",
                     "parent_id": "luna", "config": {"tone": "dry"}});
    let (status, made) = ask(&server, ADA, "POST", "/agents/", &new.to_string()).await;
    assert_eq!(status, 201, "{made}");
    let shown = |view: &Value| {
        ["id", "name", "agent_type", "status", "capabilities", "version", "parent_id", "owner_id"]
            .map(|name| view[name].clone())
    };
    let expected = [
        json!("vega"),
        json!("Vega"),
        json!("subagent"),
        json!("idle"),
        json!(["sums"]),
        json!("1"),
        json!("luna"),
        json!("ada"),
    ];
    assert_eq!(shown(&made), expected);
    assert_eq!((&made["config"]["tone"], &made["deleted_at"]), (&json!("dry"), &Value::Null));
    assert_eq!(ask(&server, ADA, "GET", "/agents/vega/", "").await, (200, made));
    let (_, all) = ask(&server, Some("eve-key"), "GET", "/agents?limit=10", "").await;
    assert_eq!(all.as_array().map(Vec::len), Some(1), "of others nobody has said what they are there for");

    let change = json!({"name": "Vega II", "capabilities": [], "config": {"tone": "warm"}}).to_string();
    let (status, changed) = ask(&server, ADA, "PUT", "/agents/vega", &change).await;
    assert_eq!((status, &changed["name"], &changed["capabilities"]), (200, &json!("Vega II"), &json!([])));
    assert_eq!((&changed["version"], &changed["config"]["tone"]), (&json!("1"), &json!("warm")));
    assert_eq!(ask(&server, ADA, "DELETE", "/agents/vega", "").await, (204, Value::Null));
    assert_eq!(
        ask(&server, ADA, "GET", "/agents/vega", "").await,
        (404, json!({"detail": "Agent not found"}))
    );
    // Whose agents these are makes no difference to whoever looks after all of them.
    assert_eq!(ask(&server, ADA, "DELETE", "/agents/rex", "").await.0, 204);
    assert_eq!(store.agent(&agent("rex")).await.unwrap(), None);
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_an_agent_is_said_and_nothing_is_stored() {
    let (server, store) = served(|_| {}).await;
    for (body, loc) in [
        (json!({}), json!(["body"])),
        (json!({"name": 7}), json!(["body", "name"])),
        (json!({"name": "A", "agent_type": "boss"}), json!(["body", "agent_type"])),
        (json!({"name": "A", "id": ""}), json!(["body", "id"])),
        (json!({"name": "A", "id": "new", "capabilities": ["x".repeat(257)]}), json!(["body"])),
        (json!({"name": "A", "id": "new", "config": {"colour": "red"}}), json!(["body", "config", "colour"])),
        (json!({"name": "", "id": "new"}), json!(["body"])),
    ] {
        let (status, told) = ask(&server, ADA, "POST", "/agents", &body.to_string()).await;
        assert_eq!((status, &told["detail"][0]["loc"]), (422, &loc), "{body}: {told}");
    }
    assert_eq!(store.agent(&agent("new")).await.unwrap(), None);
    let taken = ask(&server, ADA, "POST", "/agents", r#"{"id":"luna","name":"L"}"#).await;
    assert_eq!(taken, (409, json!({"detail": "There is an agent of this id already."})));
    for token in [Some("eve-key"), Some("bob-key")] {
        for (method, path, body) in [
            ("POST", "/agents", r#"{"id":"new","name":"N"}"#),
            ("PUT", "/agents/luna", r#"{"name":"N"}"#),
            ("DELETE", "/agents/luna", ""),
            ("POST", "/agents/luna/status", r#"{"status":"busy"}"#),
        ] {
            assert_eq!(ask(&server, token, method, path, body).await.0, 403, "{method} {path}");
        }
    }
    // That an agent is one's own gives no right to have it work for everybody.
    assert_eq!(ask(&server, Some("bob-key"), "DELETE", "/agents/rex", "").await.0, 403);
    assert_eq!(store.agent(&agent("new")).await.unwrap(), None);
    assert!(store.agent(&agent("rex")).await.unwrap().is_some());
    server.stop().await;
}

#[tokio::test]
async fn a_task_is_listed_and_read_with_all_that_is_known_of_it() {
    let (server, _) = served(|_| {}).await;
    let new = json!({"title": "Sum", "description": "all of it", "priority": "low", "payload": {"a": [1]}, "needs": "sums"});
    let (status, task) = ask(&server, ADA, "POST", "/tasks/", &new.to_string()).await;
    assert_eq!(status, 201);
    let id = task["id"].as_str().expect("an id").to_owned();
    for (name, expected) in [
        ("title", json!("Sum")),
        ("description", json!("all of it")),
        ("priority", json!("low")),
        ("payload", json!({"a": [1]})),
        ("status", json!("pending")),
        ("agent_id", Value::Null),
        ("created_by_id", json!("ada")),
        ("version", json!(1)),
        ("reclaim_count", json!(0)),
        ("last_heartbeat", Value::Null),
        ("completed_at", Value::Null),
    ] {
        assert_eq!(task[name], expected, "{name}");
    }
    assert_eq!(ask(&server, Some("eve-key"), "GET", &format!("/tasks/{id}"), "").await, (200, task));
    let child = json!({"title": "Part", "parent_task_id": id, "agent_id": "luna"}).to_string();
    let (_, child) = ask(&server, ADA, "POST", "/tasks", &child).await;
    assert_eq!((&child["parent_task_id"], &child["agent_id"]), (&json!(id), &json!("luna")));
    let titles = async |query: &str| {
        let (status, all) = ask(&server, Some("eve-key"), "GET", &format!("/tasks{query}"), "").await;
        assert_eq!(status, 200, "{all}");
        all.as_array()
            .unwrap()
            .iter()
            .map(|task| task["title"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles("").await, ["Sum", "Part"]);
    assert_eq!(titles("/?status=pending").await, ["Sum"]);
    assert_eq!(titles("?agent_id=luna").await, ["Part"]);
    assert_eq!(titles("?after=1&limit=1").await, ["Part"]);
    ask(&server, ADA, "POST", "/agents/luna/heartbeat", "").await;
    let child_id = child["id"].as_str().unwrap();
    let (_, read) = ask(&server, ADA, "GET", &format!("/tasks/{child_id}"), "").await;
    assert!(read["last_heartbeat"].is_string(), "{read}");
    for query in ["?limit=0", "?limit=x", "?status=gone", "?agent_id="] {
        assert_eq!(ask(&server, ADA, "GET", &format!("/tasks{query}"), "").await.0, 422, "{query}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_task_is_said_and_nothing_is_stored() {
    let (server, store) = served(|_| {}).await;
    let nowhere = "123e4567-e89b-12d3-a456-426614174000";
    for (body, status) in [
        (json!({}), 422),
        (json!({"title": ""}), 422),
        (json!({"title": ["x"]}), 422),
        (json!({"title": "x".repeat(257)}), 422),
        (json!({"title": "x", "priority": "urgent"}), 422),
        (json!({"title": "x", "parent_task_id": "7"}), 422),
        (json!({"title": "x", "parent_task_id": nowhere}), 404),
        (json!({"title": "x", "agent_id": "nobody"}), 404),
    ] {
        assert_eq!(ask(&server, ADA, "POST", "/tasks", &body.to_string()).await.0, status, "{body}");
    }
    let large = json!({"title": "x", "payload": "y".repeat(70_000)}).to_string();
    let refused = ask(&server, ADA, "POST", "/tasks", &large).await;
    assert_eq!(refused, (413, json!({"detail": "A body has at most 65,536 bytes."})));
    assert_eq!(store.tasks(&TaskFilter::default(), 10).await.unwrap(), []);
    for path in ["assign", "claim", "start"] {
        let path = format!("/tasks/{nowhere}/{path}");
        let told = ask(&server, ADA, "POST", &path, r#"{"agent_id":"luna"}"#).await;
        assert_eq!(told, (404, json!({"detail": "Task not found"})), "{path}");
        assert_eq!(ask(&server, ADA, "POST", &path, "{}").await.0, 422);
        assert_eq!(ask(&server, Some("eve-key"), "POST", &path, r#"{"agent_id":"luna"}"#).await.0, 403);
    }
    assert_eq!(ask(&server, ADA, "GET", "/tasks/123", "").await.0, 422);
    assert_eq!(ask(&server, ADA, "POST", "/tasks/claim", r#"{"agent_id":"nobody"}"#).await.0, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_conversation_is_read_by_whom_it_belongs_to_and_by_whoever_may_read_all() {
    let (server, _) = served(|_| {}).await;
    let talk = ConversationId::direct(&agent("rex"), &person("bob"));
    let path = format!("/conversations/{talk}");
    let say = json!({"content": "sit", "recipient_id": "rex", "client_message_id": "m-1"}).to_string();
    let bob = Some("bob-key");
    for _ in 0..2 {
        let (status, said) = ask(&server, bob, "POST", &format!("{path}/messages"), &say).await;
        assert_eq!(
            (status, &said["position"], &said["payload"]["text"]),
            (201, &json!(1), &json!("sit")),
            "{said}"
        );
    }
    let other = json!({"content": "sit", "sender_id": "ada"}).to_string();
    assert_eq!(ask(&server, bob, "POST", &format!("{path}/messages"), &other).await.0, 422);
    let as_agent = json!({"content": "wuff", "sender_id": "rex"}).to_string();
    assert_eq!(ask(&server, bob, "POST", &format!("{path}/messages"), &as_agent).await.0, 403);
    for token in [bob, ADA] {
        let (status, all) = ask(&server, token, "GET", "/conversations/", "").await;
        assert_eq!((status, all[0]["id"].as_str()), (200, Some(talk.to_string().as_str())), "{all}");
        let (status, one) = ask(&server, token, "GET", &path, "").await;
        assert_eq!((status, &one["agent_id"], &one["user_id"]), (200, &json!("rex"), &json!("bob")));
        let (status, said) = ask(&server, token, "GET", &format!("{path}/messages?limit=1"), "").await;
        assert_eq!((status, &said[0]["sender_id"]), (200, &json!("bob")));
    }
    assert_eq!(ask(&server, Some("eve-key"), "GET", &path, "").await.0, 404);
    assert_eq!(ask(&server, Some("eve-key"), "GET", "/conversations", "").await, (200, json!([])));
    assert_eq!(ask(&server, bob, "GET", "/conversations/7", "").await.0, 422);
    assert_eq!(ask(&server, bob, "POST", &format!("{path}/messages"), "{}").await.0, 422);
    server.stop().await;
}

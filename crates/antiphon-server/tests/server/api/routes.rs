//! People, conversations, agents, topics, keys.

use serde_json::{Value, json};

use super::{Client, refused, served};
use crate::support::client::Client as Socket;
use crate::support::engine::Transport;
use crate::support::people::{ada, bob};

#[tokio::test]
async fn a_person_is_added_changed_read_and_listed() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    assert_eq!(refused(client.get("/v1/people/carl").await).0, 404);
    let (status, carl) = client.ask("PUT", "/v1/people/carl", Some(&json!({}))).await;
    assert_eq!((status, &carl["plan"], &carl["roles"]), (200, &json!("free"), &json!([])));
    let draft = json!({"roles": ["viewer"]});
    let (_, changed) = client.ask("PUT", "/v1/people/carl", Some(&draft)).await;
    assert_eq!((&changed["plan"], &changed["roles"]), (&json!("free"), &json!(["viewer"])));
    let (_, changed) = client.ask("PUT", "/v1/people/carl", Some(&json!({"plan": "pro"}))).await;
    assert_eq!((&changed["plan"], &changed["roles"]), (&json!("pro"), &json!(["viewer"])));
    assert_eq!(changed["createdAt"], carl["createdAt"]);
    assert_eq!(client.get("/v1/people/carl").await, (200, changed));
    let unknown = client.ask("PUT", "/v1/people/carl", Some(&json!({"plan": "gold"}))).await;
    assert_eq!(refused(unknown).0, 404);
    let (_, first) = client.get("/v1/people?limit=2").await;
    let ids = |page: &Value| -> Vec<Value> {
        page["people"].as_array().unwrap().iter().map(|person| person["id"].clone()).collect()
    };
    assert_eq!((ids(&first), &first["next"]), (vec![json!("ada"), json!("bob")], &json!("bob")));
    let (_, rest) = client.get("/v1/people?limit=2&after=bob").await;
    assert_eq!((ids(&rest), rest.get("next")), (vec![json!("carl")], None));
    server.stop().await;
}

#[tokio::test]
async fn presence_follows_who_is_connected_and_what_they_say() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let mut status = async || client.get("/v1/people/ada/presence").await.1["status"].clone();
    assert_eq!(status().await, "offline");
    let mut socket = ada(&server, Transport::Websocket).await;
    assert_eq!(status().await, "online");
    let id = socket.ask("presence:offline", "{}").await;
    socket.ack(id).await;
    assert_eq!(status().await, "offline");
    server.stop().await;
}

#[tokio::test]
async fn a_notice_reaches_every_connection_of_its_person_and_no_other() {
    let (server, _) = served(|_| {}).await;
    let mut sockets = [ada(&server, Transport::Websocket).await, ada(&server, Transport::Polling).await];
    let mut bob = bob(&server, Transport::Websocket).await;
    let mut client = Client::shop(&server).await;
    let notice = json!({"kind": "warning", "title": "Almost full", "message": "Ten messages left."});
    let (status, sent) = client.post("/v1/people/ada/notices", &notice).await;
    assert_eq!((status, &sent["received"]), (200, &json!(2)));
    for socket in &mut sockets {
        let heard = socket.event_named("system:notification").await;
        assert_eq!((&heard["type"], &heard["title"]), (&json!("warning"), &json!("Almost full")), "{heard}");
    }
    assert_eq!(client.post("/v1/people/bob/notices", &notice).await.1["received"], 1);
    assert_eq!(bob.event_named("system:notification").await["title"], "Almost full");
    assert_eq!(refused(client.post("/v1/people/nobody/notices", &notice).await).0, 404);
    server.stop().await;
}

#[tokio::test]
async fn profiles_personas_and_bonds_are_read_by_backends() {
    let (server, _) = served(|_| ()).await;
    let mut client = Client::shop(&server).await;
    assert_eq!(client.ask("GET", "/v1/people/ada/profile", None).await, (200, json!({})));
    let profile = json!({"name": "Ada", "timeZone": "Asia/Jakarta"});
    assert_eq!(client.ask("PUT", "/v1/people/ada/profile", Some(&profile)).await, (200, profile.clone()));
    assert_eq!(client.ask("GET", "/v1/people/ada/profile", None).await, (200, profile));
    for wrong in [json!({"timeZone": "Mars/Base"}), json!({"name": " "}), json!({"zone": "UTC"})] {
        assert_eq!(
            refused(client.ask("PUT", "/v1/people/ada/profile", Some(&wrong)).await).0,
            400,
            "{wrong}"
        );
    }
    for path in ["/v1/people/nobody/profile", "/v1/people/nobody/bonds"] {
        assert_eq!(refused(client.ask("GET", path, None).await).0, 404, "{path}");
    }

    let persona = json!({"style": "sweet", "description": "Kind.", "age": 22});
    for id in ["nova", "vega"] {
        let agent = json!({"owner": "ada", "id": id, "name": id, "visibility": "public", "persona": persona});
        assert_eq!(client.post("/v1/agents", &agent).await.0, 201);
    }
    let (status, page) = client.ask("GET", "/v1/personas?limit=1", None).await;
    assert_eq!((status, &page["agents"][0]["id"], &page["next"]), (200, &json!("nova"), &json!("nova")));
    assert_eq!(page["agents"][0]["persona"]["style"], "sweet");
    let (_, page) = client.ask("GET", "/v1/personas?after=nova", None).await;
    assert_eq!((&page["agents"][0]["id"], page.get("next")), (&json!("vega"), None));

    let befriend = json!({"command": "Befriend", "as": "bob", "agent": "nova"});
    for repeated in [false, true] {
        assert_eq!(client.done(&befriend).await["repeated"], repeated);
    }
    let (_, bonds) = client.ask("GET", "/v1/people/bob/bonds", None).await;
    assert_eq!((&bonds["bonds"][0]["agent"], &bonds["bonds"][0]["meetings"]), (&json!("nova"), &json!(0)));
    assert_eq!(client.ask("DELETE", "/v1/agents/nova", None).await.0, 204);
    assert_eq!(client.ask("GET", "/v1/people/bob/bonds", None).await, (200, json!({"bonds": []})));
    server.stop().await;
}

#[tokio::test]
async fn a_publication_says_how_many_got_it() {
    let (server, _) = served(|config| config.server.cores = 2).await;
    let mut client = Client::shop(&server).await;
    let body = json!({"name": "n", "value": [1, 2]});
    let everyone = "/v1/topics/everyone/publish";
    assert_eq!(client.post(everyone, &body).await, (200, json!({"received": 0})));
    let mut sockets: Vec<Socket> = Vec::new();
    for _ in 0..3 {
        sockets.push(ada(&server, Transport::Websocket).await);
    }
    sockets.push(bob(&server, Transport::Websocket).await);
    assert_eq!(client.post(everyone, &body).await, (200, json!({"received": 4})));
    assert_eq!(client.post("/v1/topics/person/ada/publish", &body).await, (200, json!({"received": 3})));
    assert_eq!(client.post("/v1/topics/named/nowhere/publish", &body).await, (200, json!({"received": 0})));
    for (kind, id) in [("persn", "ada"), ("nodes", "x"), ("conversation", "7")] {
        let path = format!("/v1/topics/{kind}/{id}/publish");
        assert_eq!(refused(client.post(&path, &body).await), (400, "invalid".into()), "{path}");
    }
    // Both words of the document are understood.
    assert_eq!(client.post(everyone, &json!({"event": "n", "value": null})).await.0, 200);
    assert_eq!(client.post(everyone, &json!({"name": "", "value": 1})).await.0, 400);
    server.stop().await;
}

#[tokio::test]
async fn a_person_is_disconnected_and_may_come_back() {
    let (server, _) = served(|_| {}).await;
    let mut sockets = [ada(&server, Transport::Websocket).await, ada(&server, Transport::Websocket).await];
    let mut bob = bob(&server, Transport::Websocket).await;
    let mut client = Client::shop(&server).await;
    let (status, answer) = client.ask("POST", "/v1/people/ada/disconnect", None).await;
    assert_eq!((status, answer), (200, json!({"disconnected": 2})));
    for socket in &mut sockets {
        socket.over().await;
    }
    assert_eq!(client.ask("POST", "/v1/people/ada/disconnect", None).await.1["disconnected"], 0);
    ada(&server, Transport::Websocket).await;
    let id = bob.ask("chat:join", r#"{"agentId":"rex"}"#).await;
    assert_eq!(bob.ack(id).await["ok"], json!(true));
    server.stop().await;
}

#[tokio::test]
async fn a_conversation_is_read_in_pages_and_continued_by_either_side() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let path = "/v1/conversations/luna/ada/messages";
    assert_eq!(client.get(path).await, (200, json!({"messages": []})));
    for text in ["one", "two", "three"] {
        let (status, posted) = client.post(path, &json!({"from": "agent", "text": text})).await;
        assert_eq!((status, &posted["duplicate"]), (200, &json!(false)));
    }
    let named = json!({"from": "agent", "text": "four", "clientMessageId": "m-4"});
    let (first, again) = (client.post(path, &named).await.1, client.post(path, &named).await.1);
    assert_eq!(
        (&first["id"], &first["duplicate"], &again["duplicate"]),
        (&again["id"], &json!(false), &json!(true))
    );
    let other = json!({"from": "agent", "text": "five", "clientMessageId": "m-4"});
    assert_eq!(refused(client.post(path, &other).await), (409, "conflict".into()));
    let (_, page) = client.get(&format!("{path}?after=1&limit=2")).await;
    let texts: Vec<_> = page["messages"].as_array().unwrap().iter().map(|message| &message["text"]).collect();
    assert_eq!((texts, &page["next"]), (vec![&json!("two"), &json!("three")], &json!(3)));
    let (_, rest) = client.get(&format!("{path}?after=3&limit=2")).await;
    assert_eq!((rest["messages"].as_array().unwrap().len(), rest.get("next")), (1, None));
    assert_eq!(client.post(path, &json!({"text": "hello"})).await.1["seq"], 5);
    let (_, all) = client.get(&format!("{path}?after=4")).await;
    assert_eq!(all["messages"][0]["from"], "person");
    for path in ["/v1/conversations/rex/ada/messages", "/v1/conversations/luna/nobody/messages"] {
        assert_eq!(refused(client.post(path, &json!({"text": "hello"})).await).0, 404);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_agent_lives_from_its_creation_to_its_removal() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let draft = json!({"owner": "ada", "id": "nova", "name": "Nova", "tone": "bright"});
    let (status, nova) = client.post("/v1/agents", &draft).await;
    assert_eq!((status, &nova["kind"], &nova["visibility"]), (201, &json!("companion"), &json!("private")));
    assert_eq!(client.get("/v1/agents/nova").await, (200, nova.clone()));
    let (_, all) = client.get("/v1/agents?owner=ada").await;
    assert_eq!(all["agents"].as_array().unwrap().len(), 3);
    assert_eq!(client.post("/v1/agents", &draft).await.0, 400);
    let (status, changed) = client.ask("PATCH", "/v1/agents/nova", Some(&json!({"name": "Nova II"}))).await;
    assert_eq!((status, &changed["name"], &changed["tone"]), (200, &json!("Nova II"), &json!("bright")));
    assert_eq!(client.ask("PATCH", "/v1/agents/nova", Some(&json!({"visibility": "secret"}))).await.0, 400);
    assert_eq!(client.ask("DELETE", "/v1/agents/nova", None).await, (204, Value::Null));
    for method in ["GET", "DELETE"] {
        assert_eq!(refused(client.ask(method, "/v1/agents/nova", None).await).0, 404);
    }
    let nobodys = json!({"owner": "nobody", "id": "vega", "name": "Vega"});
    assert_eq!(refused(client.post("/v1/agents", &nobodys).await).0, 404);
    assert_eq!(refused(client.get("/v1/agents?owner=nobody").await).0, 404);
    server.stop().await;
}

#[tokio::test]
async fn a_plan_limits_the_agents_that_a_backend_adds_for_a_person() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    client.ask("PUT", "/v1/people/carl", Some(&json!({"plan": "free"}))).await;
    let draft = |id: &str| json!({"owner": "carl", "id": id, "name": "An agent"});
    for id in ["a", "b"] {
        assert_eq!(client.post("/v1/agents", &draft(id)).await.0, 201);
    }
    let (status, answer) = client.post("/v1/agents", &draft("c")).await;
    assert_eq!((status, &answer["code"], &answer["limit"]), (403, &json!("over_quota"), &json!(2)));
    server.stop().await;
}

#[tokio::test]
async fn a_key_is_shown_once_opens_what_it_should_and_is_listed_without_its_secret() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let (status, issued) = client.post("/v1/keys", &json!({"person": "ada", "dialects": ["chat"]})).await;
    assert_eq!((status, &issued["key"]["person"]), (201, &json!("ada")));
    let secret = issued["secret"].as_str().unwrap().to_owned();
    let auth = json!({"token": secret}).to_string();
    let mut socket = Socket::connect(&server.door(), Transport::Websocket, &auth).await;
    assert_eq!(socket.event().await.0, "system:connection");
    let id = issued["key"]["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/v1/keys/{id}")).await, (200, issued["key"].clone()));
    let (_, all) = client.get("/v1/keys").await;
    assert!(all["keys"].as_array().unwrap().contains(&issued["key"]), "{all}");
    assert!(!all.to_string().contains(&secret));

    let (status, issued) = client.post("/v1/keys", &json!({"service": "billing"})).await;
    assert_eq!(status, 201);
    let mut billing = Client::with(&server.door(), issued["secret"].as_str()).await;
    assert_eq!(billing.get("/v1/status").await.1["you"], "service:billing");
    for draft in [
        json!({}),
        json!({"operator": true}),
        json!({"service": ""}),
        json!({"person": "ada", "expiresAt": "yesterday"}),
        json!({"person": "ada", "expiresAt": "2020-01-01T00:00:00Z"}),
        json!({"person": "ada", "dialects": []}),
    ] {
        assert_eq!(refused(client.post("/v1/keys", &draft).await), (400, "invalid".into()), "{draft}");
    }
    for draft in [json!({"person": "nobody"}), json!({"person": "ada", "plan": "gold"})] {
        assert_eq!(refused(client.post("/v1/keys", &draft).await).0, 404, "{draft}");
    }
    server.stop().await;
}

#[tokio::test]
async fn t9_what_is_revoked_opens_nothing_any_more() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let revoke = json!({"person": "ada"});
    assert_eq!(client.post("/v1/revocations", &revoke).await, (204, Value::Null));
    let refusal = Socket::try_connect(&server.door(), Transport::Websocket, r#"{"token":"ada-key"}"#).await;
    assert!(refusal.is_err(), "a key of Ada's was let in");
    bob(&server, Transport::Websocket).await;
    for draft in [json!({}), json!({"person": "ada", "key": "cda_1"}), json!({"persn": "ada"})] {
        assert_eq!(refused(client.post("/v1/revocations", &draft).await), (400, "invalid".into()), "{draft}");
    }
    for draft in [json!({"person": "nobody"}), json!({"key": "cda_nothing"})] {
        assert_eq!(refused(client.post("/v1/revocations", &draft).await).0, 404, "{draft}");
    }
    for draft in [json!({"session": "ses_unknown"}), json!({"token": {"issuer": "app", "id": "j-1"}})] {
        assert_eq!(client.post("/v1/revocations", &draft).await.0, 204, "{draft}");
    }
    server.stop().await;
}

#[tokio::test]
async fn the_status_counts_connections() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let (status, before) = client.get("/v1/status").await;
    assert_eq!(
        (status, &before["connections"], &before["ready"], &before["demo"]),
        (200, &json!(0), &json!(true), &json!(false))
    );
    let _socket = ada(&server, Transport::Websocket).await;
    assert_eq!(client.get("/v1/status").await.1["connections"], 1);
    server.stop().await;
}

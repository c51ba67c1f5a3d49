//! How people of the mission API are added, log in, stay and leave.

use std::sync::Arc;

use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{People as _, Profiles as _};
use antiphon_server::config::{Config, Secret};
use antiphon_server::routes::mission::Registration;
use serde_json::{Value, json};

use super::{ask, give_role, respond, served};
use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::people::person;
use crate::support::server::Server;

const PASSWORD: &str = "correct horse battery staple";

/// A server on which whoever asks may become a viewer.
async fn welcoming(change: impl FnOnce(&mut Config)) -> (Server, Arc<MemoryStore>) {
    served(|config| {
        config.mission.registration = Registration::Viewers;
        change(config);
    })
    .await
}

fn new_user(name: &str, role: &str) -> String {
    json!({"email": format!("{name}@example.org"), "username": name, "full_name": "Mira M.", "role": role,
           "password": PASSWORD})
    .to_string()
}

/// Adds `name` as a viewer and logs them in; returns their token.
async fn joined(server: &Server, name: &str) -> String {
    let (status, _) = ask(server, None, "POST", "/auth/register", &new_user(name, "viewer")).await;
    assert_eq!(status, 201);
    logged_in(server, name).await
}

async fn logged_in(server: &Server, name: &str) -> String {
    let body = json!({"username": name, "password": PASSWORD}).to_string();
    let (status, token) = ask(server, None, "POST", "/auth/login", &body).await;
    assert_eq!((status, &token["token_type"]), (200, &json!("bearer")), "{token}");
    token["access_token"].as_str().expect("a token").to_owned()
}

fn auth(token: &str) -> String {
    json!({"token": token}).to_string()
}

async fn is_let_in(server: &Server, token: &str) -> bool {
    match Client::try_connect(&server.door(), Transport::Websocket, &auth(token)).await {
        Ok(client) => {
            client.engine.close().await;
            true
        }
        Err(error) => {
            assert_eq!(error, json!({"message": "Invalid authentication"}));
            false
        }
    }
}

fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let claims = token.split('.').nth(1).expect("three parts");
    let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
    serde_json::from_slice(&claims).expect("JSON")
}

/// A token with these claims under this secret.
fn signed(claims: &Value, secret: &str) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), claims, &key).expect("a token")
}

#[tokio::test]
async fn whoever_adds_themselves_logs_in_and_looks_on() {
    let (server, store) = welcoming(|_| {}).await;
    let (status, user) = ask(&server, None, "POST", "/auth/register/", &new_user("mira", "viewer")).await;
    assert_eq!(status, 201);
    assert_eq!(
        (&user["username"], &user["email"], &user["full_name"], &user["role"], &user["is_active"]),
        (&json!("mira"), &json!("mira@example.org"), &json!("Mira M."), &json!("viewer"), &json!(true))
    );
    let token = logged_in(&server, "mira").await;
    let said = claims(&token);
    assert_eq!((&said["sub"], &said["roles"], &said["role"]), (&json!("mira"), &Value::Null, &Value::Null));
    let lasts = said["exp"].as_f64().expect("exp") - said["iat"].as_f64().expect("iat");
    assert!((lasts - 1_800.0).abs() < 0.01, "30 minutes, not {lasts} s");

    let (status, me) = ask(&server, Some(&token), "GET", "/auth/me", "").await;
    assert_eq!((status, me), (200, user));
    let verified = ask(&server, Some(&token), "GET", "/auth/verify/", "").await;
    assert_eq!(verified, (200, json!({"valid": true, "user_id": "mira"})));
    assert_eq!(ask(&server, Some(&token), "GET", "/tasks/", "").await, (200, json!([])));
    let created = ask(&server, Some(&token), "POST", "/tasks/", r#"{"title":"mine"}"#).await;
    assert_eq!(created, (403, json!({"detail": "Your role does not allow that."})));

    let mut client = Client::connect(&server.door(), Transport::Websocket, &auth(&token)).await;
    ask(&server, Some("ada-key"), "POST", "/alerts", r#"{"message":"hello"}"#).await;
    assert_eq!(client.event().await.0, "system:alert");
    client.engine.close().await;
    let profile = store.profile(&person("mira")).await.unwrap();
    assert_eq!(profile.email.as_deref(), Some("mira@example.org"));
    server.stop().await;
}

#[tokio::test]
async fn nobody_becomes_more_than_a_viewer_unless_a_super_admin_says_so() {
    for registration in [Registration::Closed, Registration::Viewers] {
        let (server, store) = served(|config| config.mission.registration = registration).await;
        let register = async |token: Option<&str>, name: &str, role: &str| {
            ask(&server, token, "POST", "/auth/register", &new_user(name, role)).await.0
        };
        for (number, role) in ["super_admin", "agent_manager", "agent_operator", "auditor"].iter().enumerate()
        {
            let name = format!("greedy-{number}");
            for token in [None, Some("bob-key"), Some("eve-key")] {
                assert_eq!(register(token, &name, role).await, 403, "{role}");
            }
            assert_eq!(store.person(&person(&name)).await.unwrap(), None);
            assert_eq!(register(Some("ada-key"), &name, role).await, 201);
            let known = store.person(&person(&name)).await.unwrap().unwrap();
            assert_eq!(known.roles, [(*role).to_owned()]);
        }
        let expected = if registration == Registration::Closed { 403 } else { 201 };
        assert_eq!(register(None, "modest", "viewer").await, expected);
        assert_eq!(register(Some("eve-key"), "friend", "viewer").await, expected);
        assert_eq!(register(Some("bad"), "unknown", "viewer").await, 401);
        server.stop().await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said_and_nobody_is_added() {
    let (server, store) = welcoming(|_| {}).await;
    let with = |name: &str, value: Value| {
        let mut user: Value = serde_json::from_str(&new_user("mira", "viewer")).unwrap();
        user[name] = value;
        user.to_string()
    };
    for (body, place) in [
        (with("username", json!("")), "username"),
        (with("username", json!("x".repeat(129))), "username"),
        (with("email", json!("nowhere")), "email"),
        (with("role", json!("king")), "role"),
        (with("password", json!(7)), "password"),
        (with("full_name", json!(["a"])), "full_name"),
    ] {
        let (status, told) = ask(&server, None, "POST", "/auth/register", &body).await;
        assert_eq!((status, &told["detail"][0]["loc"]), (422, &json!(["body", place])), "{told}");
    }
    let (status, told) =
        ask(&server, None, "POST", "/auth/register", &with("password", json!("short"))).await;
    assert_eq!((status, &told["detail"][0]["msg"]), (422, &json!("A password has 8 to 1,024 bytes.")));
    assert_eq!(ask(&server, None, "POST", "/auth/register", "{").await.0, 422);
    assert_eq!(store.person(&person("mira")).await.unwrap(), None);

    // A name that somebody has stays theirs, and so does what they are.
    let taken = ask(&server, None, "POST", "/auth/register", &new_user("bob", "viewer")).await;
    assert_eq!(taken, (400, json!({"detail": "Username already registered"})));
    assert_eq!(store.person(&person("bob")).await.unwrap().unwrap().roles, [""; 0]);
    let body = json!({"username": "bob", "password": PASSWORD}).to_string();
    assert_eq!(ask(&server, None, "POST", "/auth/login", &body).await.0, 401);
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_name_and_a_wrong_password_look_the_same() {
    let (server, _) = welcoming(|_| {}).await;
    joined(&server, "mira").await;
    let login = async |name: &str, password: &str| {
        let body = json!({"username": name, "password": password}).to_string();
        ask(&server, None, "POST", "/auth/login", &body).await
    };
    let wrong = (401, json!({"detail": "The name or the password is wrong."}));
    assert_eq!(login("mira", "something else").await, wrong);
    assert_eq!(login("nobody", PASSWORD).await, wrong);
    assert_eq!(login("mira", PASSWORD).await.0, 200);
    // Whoever goes on guessing is told to wait.
    for _ in 0..5 {
        assert_eq!(login("mira", "something else").await, wrong);
    }
    let body = json!({"username": "mira", "password": PASSWORD}).to_string();
    let slow = respond(&server, None, "POST", "/auth/login", &body).await;
    assert_eq!(slow.status, 429);
    assert!(slow.header("Retry-After").is_some());
    server.stop().await;
}

#[tokio::test]
async fn logging_out_ends_every_token_of_the_login_and_the_connections_that_they_opened() {
    let (server, _) = welcoming(|_| {}).await;
    let token = joined(&server, "mira").await;
    let other = logged_in(&server, "mira").await;
    let body = json!({"refresh_token": token}).to_string();
    let (status, renewed) = ask(&server, None, "POST", "/auth/refresh", &body).await;
    assert_eq!(status, 200);
    let renewed = renewed["access_token"].as_str().expect("a token").to_owned();
    assert_eq!(claims(&renewed)["jti"], claims(&token)["jti"]);
    let mut client = Client::connect(&server.door(), Transport::Websocket, &auth(&renewed)).await;

    let out = ask(&server, Some(&token), "POST", "/auth/logout", "").await;
    assert_eq!(out, (200, json!({"message": "Successfully logged out"})));
    assert_eq!(
        client.event().await,
        ("error".into(), json!({"message": "Your credential has been revoked."}))
    );
    assert_eq!(client.over().await, "1008 credential revoked");
    for dead in [&token, &renewed] {
        assert!(!is_let_in(&server, dead).await);
        let body = json!({"refresh_token": dead}).to_string();
        assert_eq!(ask(&server, None, "POST", "/auth/refresh", &body).await.0, 401);
        assert_eq!(ask(&server, Some(dead), "GET", "/auth/me", "").await.0, 401);
    }
    assert!(is_let_in(&server, &other).await, "another login goes on");
    // A key is no login.
    assert_eq!(ask(&server, Some("ada-key"), "POST", "/auth/logout", "").await.0, 400);
    assert_eq!(ask(&server, Some("ada-key"), "GET", "/auth/verify", "").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_expires_closes_its_socket_after_some_grace() {
    let (server, _) = welcoming(|config| {
        config.mission.session = 1_000;
        config.auth.grace = 300;
    })
    .await;
    let token = joined(&server, "mira").await;
    let mut client = Client::connect(&server.door(), Transport::Websocket, &auth(&token)).await;
    assert_eq!(client.event().await.0, "antiphon:expiring");
    assert_eq!(client.event().await, ("error".into(), json!({"message": "Your credential has expired."})));
    assert_eq!(client.over().await, "1008 credential expired");
    assert!(!is_let_in(&server, &token).await);
    let told = ask(&server, Some(&token), "POST", "/tasks", r#"{"title":"late"}"#).await;
    assert_eq!(told, (401, json!({"detail": "Invalid authentication"})));
    server.stop().await;
}

#[tokio::test]
async fn roles_are_what_the_store_says_and_not_what_a_token_says() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let (server, store) = welcoming(|config| config.mission.secret = Some(Secret::new(SECRET))).await;
    let good =
        json!({"sub": "bob", "exp": 4_000_000_000_i64, "roles": ["super_admin"], "role": "super_admin"});
    for iss in [None, Some("antiphon")] {
        let mut claims = good.clone();
        if let Some(iss) = iss {
            claims["iss"] = json!(iss);
        }
        let token = signed(&claims, SECRET);
        assert_eq!(ask(&server, Some(&token), "GET", "/auth/me", "").await.1["role"], Value::Null);
        assert_eq!(ask(&server, Some(&token), "POST", "/tasks", r#"{"title":"x"}"#).await.0, 403);
    }
    give_role(&*store, "bob", "agent_operator").await;
    let token = signed(&json!({"sub": "bob", "exp": 4_000_000_001_i64}), SECRET);
    assert_eq!(ask(&server, Some(&token), "POST", "/tasks", r#"{"title":"x"}"#).await.0, 201);
    server.stop().await;
}

#[tokio::test]
async fn t18_a_token_that_is_not_good_opens_nothing_and_changes_nothing() {
    const SECRET: &str = "0123456789abcdef0123456789abcdef";
    let (server, store) = welcoming(|config| config.mission.secret = Some(Secret::new(SECRET))).await;
    let far = 4_000_000_000_i64;
    let unsigned = {
        use base64::Engine as _;
        let part = |json: Value| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        format!("{}.{}.", part(json!({"alg": "none"})), part(json!({"sub": "ada", "exp": far})))
    };
    let tokens = [
        signed(&json!({"sub": "ada", "exp": 1_000}), SECRET),
        signed(&json!({"sub": "ada"}), SECRET),
        signed(&json!({"exp": far}), SECRET),
        signed(&json!({"sub": "nobody", "exp": far}), SECRET),
        signed(&json!({"sub": "ada", "exp": far, "iss": "somebody else"}), SECRET),
        signed(&json!({"sub": "ada", "exp": far, "nbf": far - 1}), SECRET),
        signed(&json!({"sub": "ada", "exp": far}), "another secret of 32 bytes or more"),
        signed(&json!({"sub": "ada", "exp": far}), SECRET) + "x",
        unsigned,
        "a.b.c".into(),
    ];
    for token in &tokens {
        assert!(!is_let_in(&server, token).await, "{token}");
        for (method, path, body) in [
            ("POST", "/tasks", r#"{"title":"x"}"#),
            ("POST", "/alerts", r#"{"message":"x"}"#),
            ("DELETE", "/agents/luna", ""),
            ("POST", "/auth/logout", ""),
        ] {
            let told = ask(&server, Some(token), method, path, body).await;
            assert_eq!(told, (401, json!({"detail": "Invalid authentication"})), "{token}");
        }
        let body = json!({"refresh_token": token}).to_string();
        assert_eq!(ask(&server, None, "POST", "/auth/refresh", &body).await.0, 401);
    }
    assert_eq!(store.person(&person("nobody")).await.unwrap(), None);
    assert_eq!(ask(&server, Some("ada-key"), "GET", "/tasks", "").await, (200, json!([])));
    assert_eq!(ask(&server, Some("ada-key"), "GET", "/agents/luna", "").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_login_token_opens_every_api_that_the_person_may_use() {
    let (server, _) = welcoming(|config| {
        config.listeners[0].mounts.push(antiphon_server::config::Mount::new("/api/socketio", "chat"));
    })
    .await;
    let token = joined(&server, "mira").await;
    let door = server.door().at("/api/socketio");
    let mut client = Client::connect(&door, Transport::Websocket, &auth(&token)).await;
    assert_eq!(client.event().await.0, "system:connection");
    client.engine.close().await;
    server.stop().await;
}

#[tokio::test]
async fn a_secret_that_was_made_outlives_the_server() {
    let directory = tempfile::tempdir().unwrap();
    let start = async || {
        let mut config = super::config();
        config.server.data = directory.path().to_owned();
        config.mission.registration = Registration::Viewers;
        Server::start(config, antiphon_server::wiring::Extras::default()).await
    };
    let server = start().await;
    let token = joined(&server, "mira").await;
    server.stop().await;
    let server = start().await;
    assert!(is_let_in(&server, &token).await);
    server.stop().await;
}

//! Logging in without a proof, choosing personas, and what there is to know about oneself.

use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Logins as _, People as _};
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{ADA, App, BOB, heard, joined, refused, remembered, seen, served};
use super::wallet::{sign, signer};
use crate::support::http::Request;
use crate::support::soon;

#[tokio::test]
async fn the_first_login_adds_a_person_and_each_tells_the_balance() {
    let (server, store) = served(|_| {}).await;
    let mut app = App::of(&server, ADA).await;
    let login = json!({"wallet_address": ADA, "name": "Ada", "timezone": "Europe/Berlin"});
    let first = app.done("/auth/wallet-login", &login).await;
    let user = &first["user"];
    let id = Uuid::parse_str(user["id"].as_str().expect("an id")).expect("a UUID");
    assert_eq!(id.get_version_num(), 4);
    assert_eq!(user["wallet_address"], ADA.to_lowercase());
    assert_eq!((&user["name"], &user["timezone"]), (&json!("Ada"), &json!("Europe/Berlin")));
    assert_eq!(user["token_balance"], 50);
    assert!(user["created_at"].as_str().is_some_and(|at| at.len() == 24 && at.ends_with('Z')));
    assert_eq!((first["success"].clone(), first.get("token")), (json!(true), None));

    // Again, from another device, in another case, saying less: the same person as they were.
    let mut phone = joined(&server, ADA).await;
    let again = app.done("/auth/wallet-login", &json!({"wallet_address": ADA.to_lowercase()})).await;
    assert_eq!(again, first);
    assert_eq!(heard(&mut phone).await, [r#"balance:update {"balance":50}"#]);
    let renamed = app.done("/auth/wallet-login", &json!({"wallet_address": ADA, "name": "Countess"})).await;
    assert_eq!(renamed["user"]["name"], "Countess");
    assert_eq!(renamed["user"]["timezone"], "Europe/Berlin");

    let other = app.done("/auth/wallet-login", &json!({"wallet_address": BOB})).await;
    assert_ne!(other["user"]["id"], first["user"]["id"]);
    assert_eq!((&other["user"]["name"], &other["user"]["timezone"]), (&Value::Null, &json!("Asia/Jakarta")));
    let linked = store.person_by_wallet(BOB).await.expect("a look-up");
    assert_eq!(linked.map(|person| person.to_string()).as_deref(), other["user"]["id"].as_str());
    assert_eq!(heard(&mut phone).await, [r#"balance:update {"balance":50}"#], "nothing of anybody else");
    server.stop().await;
}

#[tokio::test]
async fn a_signature_is_looked_at_if_there_is_one() {
    let (server, store) = served(|_| {}).await;
    let mut app = App::nobody(&server).await;
    let address = signer(0x46);
    let login = |message: &str, signature: &str| json!({"wallet_address": address, "message": message, "signature": signature});
    let good = sign(0x46, "Good morning");
    for wrong in [
        login("Good evening", &good),
        login("Good morning", &sign(0x47, "Good morning")),
        login("Good morning", "0x"),
        login("", ""),
    ] {
        let before = remembered(&store).await;
        assert_eq!(refused(app.post("/auth/wallet-login", &wrong).await), (401, "Invalid signature".into()));
        assert_eq!(remembered(&store).await, before, "{wrong}");
    }
    app.done("/auth/wallet-login", &login("Good morning", &good)).await;
    // One alone proves nothing, and the text of the original's documentation means that there is none.
    for unsigned in [
        json!({"wallet_address": BOB, "signature": "0x12"}),
        json!({"wallet_address": BOB, "message": "Good morning"}),
        login("string", "string"),
        login("Good evening", "string"),
        json!({"wallet_address": BOB, "message": null, "signature": null, "name": null, "timezone": null}),
    ] {
        app.done("/auth/wallet-login", &unsigned).await;
    }
    assert_eq!(store.people(None, 10).await.expect("people").len(), 3);
    server.stop().await;
}

#[tokio::test]
async fn a_login_that_is_not_as_documented_adds_nobody() {
    let (server, store) = served(|_| {}).await;
    let mut app = App::nobody(&server).await;
    let long = "x".repeat(257);
    let table = [
        ("", 400),
        ("{", 400),
        ("[]", 400),
        ("null", 400),
        ("7", 400),
        ("{}", 400),
        (r#"["0x1234567890123456789012345678901234567890"]"#, 400),
        (r#"{"wallet_address": 7}"#, 400),
        (r#"{"wallet_address": null}"#, 400),
        (r#"{"wallet_address": ""}"#, 400),
        (r#"{"wallet_address": "string"}"#, 400),
        (r#"{"wallet_address": "0x123456789012345678901234567890123456789"}"#, 400),
        (r#"{"wallet_address": "0x12345678901234567890123456789012345678901"}"#, 400),
        (r#"{"wallet_address": "0x123456789012345678901234567890123456789g"}"#, 400),
        (r#"{"wallet_address": " 0x1234567890123456789012345678901234567890"}"#, 400),
    ];
    let with = |field: &str, value: &Value| format!(r#"{{"wallet_address": "{BOB}", "{field}": {value}}}"#);
    let more = [
        with("name", &json!(7)),
        with("name", &json!("")),
        with("name", &json!("a\nb")),
        with("name", &json!(long)),
        with("timezone", &json!("Mars/Base")),
        with("timezone", &json!("")),
        with("timezone", &json!([])),
        with("signature", &json!({})),
        with("message", &json!(true)),
        with("wallet_address", &json!(ADA)),
    ];
    let before = remembered(&store).await;
    for (body, status) in table.into_iter().chain(more.iter().map(|body| (body.as_str(), 400))) {
        let (found, answer) = app.text("POST", "/auth/wallet-login", Some(body)).await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(!answer.to_string().contains("xxxx"), "what was sent is not repeated");
        assert_eq!(remembered(&store).await, before, "{body}");
    }
    // Larger than any body may be, in a field that would have been ignored.
    let large = format!(r#"{{"wallet_address": "{BOB}", "more": "{}"}}"#, "x".repeat(65 * 1_024));
    let request = app.request("POST", "/auth/wallet-login", Some(&large));
    assert_eq!(seen(&app.send(&request).await).0, 413);
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

#[tokio::test]
async fn of_many_first_logins_at_once_one_gets_the_present() {
    let (server, store) = served(|_| {}).await;
    let mut apps = Vec::new();
    for _ in 0..10 {
        apps.push(App::of(&server, ADA).await);
    }
    let login = json!({"wallet_address": ADA});
    let logins = apps.iter_mut().map(|app| app.done("/auth/wallet-login", &login));
    let answers = futures_util::future::join_all(logins).await;
    assert!(answers.iter().all(|answer| answer["user"]["token_balance"] == 50), "{answers:?}");
    assert_eq!(store.people(None, 10).await.expect("people").len(), 2);
    server.stop().await;
}

/// Every route that needs to know who asks.
const ROUTES: [(&str, &str, Option<&str>); 9] = [
    ("GET", "/user/profile", None),
    ("GET", "/user/stats", None),
    ("POST", "/user/select-persona", Some(r#"{"persona_id": "luna"}"#)),
    ("POST", "/chat", Some(r#"{"persona_id": "luna", "message": "Hello"}"#)),
    ("GET", "/chat/history?persona_id=luna", None),
    ("GET", "/token/balance", None),
    ("POST", "/token/deposit", Some(r#"{"tx_hash": "0x01", "amount": 1}"#)),
    ("POST", "/token/withdraw", Some(r#"{"amount": 1}"#)),
    ("POST", "/token/daily-reward", None),
];

#[tokio::test]
async fn whoever_is_not_known_gets_nothing() {
    let (server, store) = served(|_| {}).await;
    App::logged_in(&server, BOB).await;
    let before = remembered(&store).await;
    let missing = (401, "Missing x-wallet-address header".to_owned());
    let unknown = (401, "User not found. Please login first.".to_owned());
    for (method, path, body) in ROUTES {
        let mut nobody = App::nobody(&server).await;
        assert_eq!(refused(nobody.text(method, path, body).await), missing, "{path}");
        for wallet in [ADA, "0x", "ada", "'; DROP TABLE people; --"] {
            let mut app = App::of(&server, wallet).await;
            assert_eq!(refused(app.text(method, path, body).await), unknown, "{path} as {wallet}");
        }
        let mut app = App::of(&server, BOB).await;
        for bearer in ["", "nonsense", "ses_nonsense", "house-key"] {
            app.bearer = Some(bearer.into());
            let (status, answer) = app.text(method, path, body).await;
            let expected = if bearer == "house-key" { 403 } else { 401 };
            assert_eq!(status, expected, "{path} with {bearer:?}: {answer}");
        }
    }
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

#[tokio::test]
async fn t8_nobody_asks_more_often_than_is_allowed() {
    let (server, _) = served(|config| {
        (config.api.commands_per_second, config.api.commands_burst) = (1, 4);
        config.limits.exempt.clear();
    })
    .await;
    let mut ada = App::logged_in(&server, ADA).await;
    let mut bob = App::logged_in(&server, BOB).await;
    for (method, path, body) in ROUTES {
        // One comes back each second: on a slow machine some pass.
        let refused = async {
            loop {
                let response = ada.send(&ada.request(method, path, body)).await;
                if seen(&response).0 == 429 {
                    break response;
                }
            }
        };
        assert_eq!(soon("a refusal", refused).await.header("Retry-After"), Some("1"), "{path}");
    }
    assert_eq!(bob.get("/token/balance").await.0, 200, "others may");
    let mut nobody = App::nobody(&server).await;
    for _ in 0..4 {
        assert_eq!(nobody.get("/personas").await.0, 200);
    }
    soon("a refusal", async { while nobody.get("/personas").await.0 != 429 {} }).await;
    server.stop().await;
}

#[tokio::test]
async fn personas_are_there_for_everybody_and_chosen_once() {
    let (server, store) = served(|_| {}).await;
    let (status, listed) = App::nobody(&server).await.get("/personas").await;
    let luna = json!({
        "id": "luna", "name": "Luna", "type": "sweet", "description": "Somebody to talk to", "age": 22,
        "birthday": "May 12", "hobbies": "stars", "likes": "tea", "dislikes": "noise", "background": "the moon",
    });
    assert_eq!((status, &listed["success"], &listed["personas"][0]), (200, &json!(true), &luna));
    assert_eq!(listed["personas"].as_array().map(Vec::len), Some(2), "and nobody else");

    let mut app = App::logged_in(&server, ADA).await;
    let choice = json!({"persona_id": "luna"});
    let chosen = app.done("/user/select-persona", &choice).await;
    assert_eq!(
        chosen,
        json!({"success": true, "message": "You are now connected with Luna!", "persona": luna})
    );
    let before = remembered(&store).await;
    assert_eq!(app.done("/user/select-persona", &choice).await, chosen);
    let not_found = (404, "Persona not found".to_owned());
    for name in ["nobody", "rex", "", "Luna", "a\u{0}"] {
        let found = app.post("/user/select-persona", &json!({"persona_id": name})).await;
        assert_eq!(refused(found), not_found, "{name:?}");
    }
    for body in ["", "{", "[]", "{}", r#"{"persona_id": null}"#, r#"{"persona_id": 7}"#] {
        assert_eq!(app.text("POST", "/user/select-persona", Some(body)).await.0, 400, "{body}");
    }
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

#[tokio::test]
async fn a_profile_tells_whom_one_has_chosen_and_how_things_are() {
    let (server, _) = served(|_| {}).await;
    let mut app = App::of(&server, ADA).await;
    let login = app.done("/auth/wallet-login", &json!({"wallet_address": ADA, "name": "Ada"})).await;
    let (_, answer) = app.get("/user/profile").await;
    let profile = &answer["profile"];
    assert_eq!(
        profile,
        &json!({
            "id": login["user"]["id"], "wallet_address": ADA.to_lowercase(), "name": "Ada",
            "created_at": login["user"]["created_at"], "token_balance": 50, "personas": [], "relationships": [],
        })
    );
    app.done("/user/select-persona", &json!({"persona_id": "luna"})).await;
    let (_, answer) = app.get("/user/profile").await;
    let chosen = &answer["profile"]["personas"][0];
    assert_eq!(chosen["id"], "luna");
    assert_eq!((&chosen["name"], &chosen["type"]), (&json!("Luna"), &json!("sweet")));
    let since = chosen["selected_at"].clone();
    let relationship = |level: u32, at: &Value, said: &str, said_at: &Value| {
        json!({
            "persona_id": "luna", "persona_name": "Luna", "persona_type": "sweet", "persona_age": 22,
            "persona_birthday": "May 12", "persona_hobbies": "stars", "persona_likes": "tea",
            "persona_dislikes": "noise", "persona_background": "the moon", "intimacy_level": level,
            "status": "stranger", "last_interaction": at, "last_message": said, "last_message_at": said_at,
        })
    };
    let first = relationship(0, &since, "No messages yet", &Value::Null);
    assert_eq!(answer["profile"]["relationships"], json!([first]));

    let chat = app.done("/chat", &json!({"persona_id": "luna", "message": "Hello Luna"})).await;
    let (said, answered) = (&chat["data"]["user_message"], &chat["data"]["ai_message"]);
    let (_, answer) = app.get("/user/profile").await;
    let second = relationship(1, &said["created_at"], "Hello Luna", &answered["created_at"]);
    assert_eq!(answer["profile"]["relationships"], json!([second]));
    assert_eq!(answer["profile"]["token_balance"], 49);
    server.stop().await;
}

#[tokio::test]
async fn statistics_count_messages_and_what_they_cost() {
    let (server, _) = served(|_| {}).await;
    let mut app = App::logged_in(&server, ADA).await;
    let stats = |messages, tokens| {
        (200, json!({"success": true, "stats": {"total_messages": messages, "total_tokens_used": tokens}}))
    };
    assert_eq!(app.get("/user/stats").await, stats(0, 0));
    app.done("/user/select-persona", &json!({"persona_id": "luna"})).await;
    for message in ["Hello", "one two three four five six"] {
        app.done("/chat", &json!({"persona_id": "luna", "message": message})).await;
    }
    assert_eq!(app.get("/user/stats").await, stats(2, 3));
    server.stop().await;
}

#[tokio::test]
async fn the_server_is_there_and_pages_of_any_origin_may_ask() {
    let (server, _) = served(|_| {}).await;
    let mut app = App::nobody(&server).await;
    let (status, health) = app.get("/health").await;
    assert_eq!((status, &health["status"], &health["websocket"]), (200, &json!("ok"), &json!("enabled")));
    assert!(
        health["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')) && health["version"].is_string()
    );

    let preflight = Request::new("OPTIONS", "/token/withdraw")
        .header("Origin", "https://app.example.org")
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "content-type,x-wallet-address");
    let allowed = app.send(&preflight).await;
    assert_eq!((allowed.status, allowed.text()), (204, ""));
    assert_eq!(allowed.header("Access-Control-Allow-Origin"), Some("*"));
    let methods = allowed.header("Access-Control-Allow-Methods").unwrap_or_default();
    assert!(methods.contains("GET") && methods.contains("POST"), "{methods}");
    assert_eq!(allowed.header("Access-Control-Allow-Headers"), Some("content-type,x-wallet-address"));
    // With such a page's Origin a request is answered, too, and never with its cookies in mind.
    let request = app.request("GET", "/personas", None);
    let answer = app.send(&request).await;
    assert_eq!((seen(&answer).0, answer.header("Access-Control-Allow-Credentials")), (200, None));

    for (method, path) in [("DELETE", "/personas"), ("GET", "/chat"), ("PUT", "/token/withdraw")] {
        assert_eq!(refused(app.text(method, path, None).await), (404, "Not Found".into()), "{method} {path}");
    }
    // What is not a route is what it is without them.
    assert_eq!(app.send(&Request::get("/nothing")).await.status, 404);
    assert_eq!(app.send(&Request::get("/healthz")).await.seen(), (200, "ok\n"));
    server.stop().await;
}

/// Nothing of this API is served where nobody asked for its routes.
#[tokio::test]
async fn without_the_setting_there_are_no_routes() {
    let (server, store) = served(|config| config.listeners[0].routes = false).await;
    let mut app = App::of(&server, ADA).await;
    let before = remembered(&store as &MemoryStore).await;
    for (method, path, body) in
        ROUTES.into_iter().chain([("GET", "/personas", None), ("GET", "/health", None)])
    {
        let request = app.request(method, path, body);
        let status = app.send(&request).await.status;
        assert!(matches!(status, 404 | 405), "{method} {path}: {status}");
    }
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

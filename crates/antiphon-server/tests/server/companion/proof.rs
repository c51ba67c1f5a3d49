//! Where wallets must be proven: what a login needs, and what it gives.

use antiphon_server::auth::UnprovenWallets;
use antiphon_server::config::Config;
use serde_json::{Value, json};

use super::app::{ADA, App, heard, refused, remembered, served};
use super::wallet::{sign, signer};
use crate::support::client::Client;
use crate::support::engine::Transport;

/// The key of Ada's wallet.
const KEY: u8 = 0x46;

fn proven(config: &mut Config) {
    config.auth.unproven_wallets = UnprovenWallets::Refuse;
    config.auth.domain = vec!["app.example.org".into()];
    config.listeners[0].api = true;
}

/// A message of the server for this wallet to sign.
async fn message(app: &mut App, wallet: &str) -> String {
    let request =
        app.request("POST", "/v1/login/wallet/nonce", Some(&json!({"address": wallet}).to_string()));
    let answer = app.send(&request).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let nonce: Value = serde_json::from_slice(&answer.body).expect("JSON");
    nonce["message"].as_str().expect("a message").to_owned()
}

#[tokio::test]
async fn a_signature_opens_what_its_name_alone_does_not() {
    let (server, store) = served(proven).await;
    let ada = signer(KEY);
    let mut app = App::of(&server, &ada).await;
    let text = message(&mut app, &ada).await;
    let login = json!({"wallet_address": ada, "message": text, "signature": sign(KEY, &text), "name": "Ada"});
    let first = app.done("/auth/wallet-login", &login).await;
    let token = first["token"].as_str().expect("a token").to_owned();
    assert_eq!((&first["user"]["name"], &first["user"]["token_balance"]), (&json!("Ada"), &json!(50)));

    // The name alone is worth nothing, in a header as in a socket.
    let before = remembered(&store).await;
    for (method, path, body) in [
        ("GET", "/user/profile", None),
        ("GET", "/token/balance", None),
        ("POST", "/token/withdraw", Some(r#"{"amount": 50}"#)),
        ("POST", "/chat", Some(r#"{"persona_id": "luna", "message": "Hello"}"#)),
    ] {
        let (status, _) = refused(app.text(method, path, body).await);
        assert_eq!(status, 401, "{path}");
    }
    let mut stranger = Client::connect(&server.door(), Transport::Websocket, "").await;
    let id = stranger.ask("join", &Value::from(ada.as_str()).to_string()).await;
    assert_eq!(stranger.ack(id).await["ok"], false);

    let auth = json!({"walletAddress": ada, "token": token}).to_string();
    let mut phone = Client::connect(&server.door(), Transport::Websocket, &auth).await;
    let id = phone.ask("join", &Value::from(ada.to_uppercase().replace('X', "x")).to_string()).await;
    assert_eq!(phone.ack(id).await, json!({"ok": true}));
    let id = phone.ask("join", &Value::from(ADA).to_string()).await;
    assert_eq!(phone.ack(id).await["ok"], false, "another wallet is another person's");
    assert_eq!(remembered(&store).await, before);

    app.bearer = Some(token);
    assert_eq!(app.balance().await, 50);
    let taken = app.post("/token/withdraw", &json!({"amount": 10})).await;
    assert_eq!((taken.0, &taken.1["balance"]), (200, &json!(40)));
    assert_eq!(heard(&mut phone).await, [r#"balance:update {"balance":40}"#]);
    assert_eq!(heard(&mut stranger).await, [""; 0]);
    server.stop().await;
}

#[tokio::test]
async fn a_login_without_a_good_signature_adds_nobody() {
    let (server, store) = served(proven).await;
    let ada = signer(KEY);
    let mut app = App::of(&server, &ada).await;
    let text = message(&mut app, &ada).await;
    let good = sign(KEY, &text);
    let other = sign(0x47, &text);
    let elsewhere = text.replace("app.example.org", "evil.example");
    let before = remembered(&store).await;
    for (message, signature) in [
        (None, None),
        (Some(text.as_str()), None),
        (None, Some(good.as_str())),
        // The rule for placeholders is for where nothing has to be proven.
        (Some("string"), Some("string")),
        (Some(&text), Some("string")),
        (Some(&text), Some("")),
        (Some(&text), Some(&other)),
        (Some("Good morning"), Some(&sign(KEY, "Good morning"))),
        (Some(&elsewhere), Some(&sign(KEY, &elsewhere))),
    ] {
        let login = json!({"wallet_address": ada, "message": message, "signature": signature});
        let (status, answer) = app.post("/auth/wallet-login", &login).await;
        assert!(matches!(status, 400 | 401), "{login}: {answer}");
        assert_eq!(remembered(&store).await, before, "{login}");
    }
    let beside = json!({"wallet_address": ADA, "message": text, "signature": good});
    assert_eq!(app.post("/auth/wallet-login", &beside).await.0, 401, "a signature is for its own wallet");
    let wrong_zone =
        json!({"wallet_address": ada, "message": text, "signature": good, "timezone": "Mars/Base"});
    assert_eq!(app.post("/auth/wallet-login", &wrong_zone).await.0, 400);
    assert_eq!(remembered(&store).await, before);

    let login = json!({"wallet_address": ada, "message": text, "signature": good});
    app.done("/auth/wallet-login", &login).await;
    let after = remembered(&store).await;
    assert_eq!(app.post("/auth/wallet-login", &login).await.0, 401, "a message is good once");
    assert_eq!(remembered(&store).await, after);
    server.stop().await;
}

#[tokio::test]
async fn a_token_is_for_the_wallet_of_its_person() {
    let (server, store) = served(proven).await;
    let mut tokens = Vec::new();
    for key in [KEY, 0x47] {
        let wallet = signer(key);
        let mut app = App::of(&server, &wallet).await;
        let text = message(&mut app, &wallet).await;
        let login = json!({"wallet_address": wallet, "message": text, "signature": sign(key, &text)});
        tokens.push(
            app.done("/auth/wallet-login", &login).await["token"].as_str().expect("a token").to_owned(),
        );
    }
    let before = remembered(&store).await;
    let mut app = App::of(&server, &signer(KEY)).await;
    app.bearer = Some(tokens[1].clone());
    for (method, path, body) in
        [("GET", "/user/profile", None), ("POST", "/token/withdraw", Some(r#"{"amount": 50}"#))]
    {
        assert_eq!(refused(app.text(method, path, body).await).0, 403, "{path}");
    }
    // The same as for a wallet that is nobody's: who has which is not to be found out.
    let told = app.get("/user/profile").await;
    let mut nobodys = App::of(&server, ADA).await;
    nobodys.bearer = Some(tokens[1].clone());
    assert_eq!(nobodys.get("/user/profile").await, told);
    app.bearer = Some("ses_nonsense".into());
    assert_eq!(app.get("/user/profile").await.0, 401);
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

//! How a client logs in, stays and leaves.

use antiphon_server::demo;
use antiphon_server::wiring::Extras;
use k256::ecdsa::SigningKey;
use serde_json::{Value, json};
use sha3::{Digest as _, Keccak256};

use super::{Client, refused, seen, served};
use crate::support::client::Client as Socket;
use crate::support::engine::Transport;
use crate::support::server::Server;

/// A server on which Ada has a password, and a client without a key.
async fn with_password() -> (Server, Client, Client) {
    let (server, _) = served(|_| {}).await;
    let mut shop = Client::shop(&server).await;
    let password = json!({"password": "correct horse battery staple"});
    assert_eq!(shop.ask("PUT", "/v1/people/ada/password", Some(&password)).await, (204, Value::Null));
    let nobody = Client::with(&server.door(), None).await;
    (server, shop, nobody)
}

fn login(password: &str) -> Value {
    json!({"person": "ada", "password": password})
}

#[tokio::test]
async fn a_session_opens_a_socket_until_it_is_ended() {
    let (server, _, mut client) = with_password().await;
    let (status, session) = client.post("/v1/login", &login("correct horse battery staple")).await;
    assert_eq!((status, &session["person"]), (200, &json!("ada")));
    let auth = json!({"token": session["token"]}).to_string();
    let mut socket = Socket::connect(&server.door(), Transport::Websocket, &auth).await;
    assert_eq!(socket.event().await.0, "system:connection");
    client.key = session["token"].as_str().map(str::to_owned);
    for _ in 0..2 {
        assert_eq!(client.ask("POST", "/v1/logout", None).await, (204, Value::Null));
    }
    assert!(Socket::try_connect(&server.door(), Transport::Websocket, &auth).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_session_is_renewed_once() {
    let (server, _, mut client) = with_password().await;
    let (_, session) = client.post("/v1/login", &login("correct horse battery staple")).await;
    let renew = json!({"refreshToken": session["refreshToken"]});
    let (status, next) = client.post("/v1/login/refresh", &renew).await;
    assert_eq!(status, 200);
    assert_ne!(next["token"], session["token"]);
    assert_eq!(refused(client.post("/v1/login/refresh", &renew).await), (401, "bad_credential".into()));
    // A token that came twice was stolen from somebody: the whole login is over.
    let auth = json!({"token": next["token"]}).to_string();
    assert!(Socket::try_connect(&server.door(), Transport::Websocket, &auth).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn t9_a_login_is_revoked_by_any_of_its_tokens() {
    let (server, mut shop, mut client) = with_password().await;
    for found in ["token", "refreshToken"] {
        let (_, session) = client.post("/v1/login", &login("correct horse battery staple")).await;
        let renew = json!({"refreshToken": session["refreshToken"]});
        let (status, next) = client.post("/v1/login/refresh", &renew).await;
        assert_eq!(status, 200, "{next}");
        // Both tokens were renewed since, so they open nothing any more; but whoever had them knows the login.
        let revoke = json!({"session": session[found]});
        assert_eq!(shop.post("/v1/revocations", &revoke).await, (204, Value::Null));
        let auth = json!({"token": next["token"]}).to_string();
        assert!(Socket::try_connect(&server.door(), Transport::Websocket, &auth).await.is_err(), "{found}");
        let renew = json!({"refreshToken": next["refreshToken"]});
        assert_eq!(refused(client.post("/v1/login/refresh", &renew).await), (401, "bad_credential".into()));
    }
    server.stop().await;
}

#[tokio::test]
async fn t32_a_session_is_no_key_of_a_backend() {
    let (server, _, mut client) = with_password().await;
    let (_, session) = client.post("/v1/login", &login("correct horse battery staple")).await;
    client.key = session["token"].as_str().map(str::to_owned);
    assert_eq!(refused(client.get("/v1/status").await), (403, "forbidden".into()));
    server.stop().await;
}

#[tokio::test]
async fn t8_a_wrong_password_and_a_wrong_name_look_the_same() {
    let (server, _, mut client) = with_password().await;
    let wrong = client.post("/v1/login", &login("wrong")).await;
    let unknown = client.post("/v1/login", &json!({"person": "nobody", "password": "wrong"})).await;
    let no_password = client.post("/v1/login", &json!({"person": "bob", "password": "wrong"})).await;
    assert_eq!(refused(wrong.clone()), (401, "bad_credential".into()));
    assert_eq!((&wrong, &wrong), (&unknown, &no_password));
    server.stop().await;
}

#[tokio::test]
async fn t8_whoever_tries_too_often_from_one_place_is_told_when_to_come_back() {
    let (server, _) = served(|config| {
        config.api.logins_per_minute = 3;
        config.limits.exempt.clear();
    })
    .await;
    let mut client = Client::with(&server.door(), None).await;
    let nonsense = json!({"refreshToken": "ref_nonsense"});
    for _ in 0..3 {
        assert_eq!(refused(client.post("/v1/login/refresh", &nonsense).await).0, 401);
    }
    for (path, body) in
        [("/v1/login", login("x")), ("/v1/login/wallet/nonce", json!({})), ("/v1/login/refresh", nonsense)]
    {
        let request = client.request("POST", path, Some(&body));
        let response = client.send(&request).await;
        assert_eq!(refused(seen(&response)), (429, "rate_limited".into()), "{path}");
        assert!(response.header("Retry-After").is_some());
    }
    // Backends are paced by their key, wherever they ask from.
    assert_eq!(Client::shop(&server).await.get("/v1/status").await.0, 200);
    server.stop().await;
}

#[tokio::test]
async fn t4_a_nonce_is_given_out_for_the_configured_hosts_only() {
    let (server, _) = served(|config| config.auth.domain = vec!["example.org".into()]).await;
    let mut client = Client::with(&server.door(), None).await;
    let (status, nonce) = client.post("/v1/login/wallet/nonce", &json!({})).await;
    assert_eq!((status, nonce.get("message")), (200, None));
    assert!(nonce["nonce"].as_str().is_some_and(|nonce| nonce.len() >= 8));
    let address = "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266";
    let (_, wanted) = client.post("/v1/login/wallet/nonce", &json!({"address": address})).await;
    let message = wanted["message"].as_str().unwrap();
    assert!(
        message.starts_with("example.org wants you to sign in") && message.contains(address),
        "{message}"
    );
    let forged = json!({"message": message, "signature": format!("0x{}1b", "11".repeat(64))});
    assert_eq!(refused(client.post("/v1/login/wallet", &forged).await).0, 401);
    server.stop().await;
}

#[tokio::test]
async fn in_the_demo_a_wallet_signs_in_and_its_session_opens_the_chat() {
    let mut config = demo::config(None, demo::Places::Free);
    config.store.ephemeral = true;
    let server = Server::start(config, Extras::demo()).await;
    let mut client = Client::with(&server.door(), None).await;
    let key = SigningKey::from_slice(&[7; 32]).expect("a number below the order of the curve");
    let point = key.verifying_key().to_encoded_point(false);
    let address = format!("0x{}", hexadecimal(&Keccak256::digest(&point.as_bytes()[1..])[12..]));

    let (status, wanted) = client.post("/v1/login/wallet/nonce", &json!({"address": address})).await;
    assert_eq!(status, 200, "{wanted}");
    let offered = wanted["message"].as_str().expect("a message to sign");
    assert!(offered.starts_with("localhost:3000 wants you to sign in"), "{offered}");
    // A page of a development server writes its own, on the chain of a node on the same machine.
    let message =
        offered.replace("localhost:3000", "127.0.0.1:5173").replace("Chain ID: 1\n", "Chain ID: 31337\n");
    let signed = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    let (signature, recovery) =
        key.sign_prehash_recoverable(&Keccak256::digest(signed)).expect("a hash can be signed");
    let signature = format!("0x{}{:02x}", hexadecimal(&signature.to_bytes()), 27 + recovery.to_byte());
    let login = json!({"message": message, "signature": signature});
    let (status, session) = client.post("/v1/login/wallet", &login).await;
    assert_eq!(status, 200, "{session}");
    let auth = json!({"token": session["token"]}).to_string();
    Socket::connect(&server.door(), Transport::Websocket, &auth).await;
    server.stop().await;
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test]
async fn p21_what_is_refused_does_not_say_the_secret_back() {
    let (server, _, mut client) = with_password().await;
    let secret = "canary-5b1f0c";
    for (path, body) in [
        ("/v1/login", json!({"person": "ada", "password": secret})),
        ("/v1/login", json!({"person": "ada", "password": [secret]})),
        ("/v1/login/refresh", json!({"refreshToken": secret})),
        ("/v1/revocations", json!({"session": {"a": secret}})),
    ] {
        let request = client.request("POST", path, Some(&body)).bearer(secret);
        let response = client.send(&request).await;
        assert!(response.status >= 400 && !response.text().contains(secret), "{:?}", response.seen());
    }
    server.stop().await;
}

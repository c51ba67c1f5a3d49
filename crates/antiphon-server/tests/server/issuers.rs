//! Issuers of tokens whose keys are fetched from where the operator said.

use std::net::SocketAddr;

use antiphon_server::auth::{Algorithm, Issuer};
use antiphon_server::wiring::Extras;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Alg, EncodingKey, Header};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::people::{config, settle};
use crate::support::server::Server;
use crate::support::soon;

#[tokio::test]
async fn t18_keys_are_fetched_where_the_operator_said_and_from_inside_only_if_that_is_allowed() {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
    let signs = EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).expect("a key");
    let mut jwk =
        serde_json::to_value(Jwk::from_encoding_key(&signs, Alg::ES256).expect("a key")).expect("JSON");
    jwk["kid"] = json!("k1");
    jwk["use"] = json!("sig");
    let (address, mut asked) = publish(json!({"keys": [jwk]}).to_string()).await;
    let header = Header { kid: Some("k1".into()), ..Header::new(Alg::ES256) };
    let claims = json!({"iss": "https://id.example", "sub": "zoe", "exp": 32_503_680_000_u64});
    let token = jsonwebtoken::encode(&header, &claims, &signs).expect("a token");
    let auth = json!({"token": token}).to_string();

    for allowed in [false, true] {
        let mut config = config();
        config.auth.issuers.push(Issuer {
            name: "id".into(),
            issuer: Some("https://id.example".into()),
            algorithms: vec![Algorithm::Es256],
            jwks: Some(format!("http://{address}/keys")),
            ..Issuer::default()
        });
        if allowed {
            config.outbound.allow = vec![String::from("127.0.0.1").try_into().expect("an address")];
        }
        let store = std::sync::Arc::new(antiphon_core::memory::MemoryStore::new());
        settle(&*store).await;
        let mut extras = Extras::default();
        extras.store = Some(store);
        let server = Server::start(config, extras).await;
        let met = Client::try_connect(&server.door(), Transport::Websocket, &auth).await;
        assert_eq!(met.is_ok(), allowed, "{:?}", met.err());
        match allowed {
            true => assert_eq!(
                soon("the keys are fetched", asked.recv()).await.as_deref(),
                Some("GET /keys HTTP/1.1")
            ),
            false => assert!(asked.try_recv().is_err(), "nobody was asked"),
        }
        server.stop().await;
    }
}

/// Serves `document` to whoever asks; says which requests came.
async fn publish(document: String) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let (says, asked) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let head = String::from_utf8_lossy(&head);
            if says.send(head.lines().next().unwrap_or_default().to_owned()).is_err() {
                return;
            }
            let length = document.len();
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n{document}"
            );
            let _ = stream.write_all(reply.as_bytes()).await;
        }
    });
    (address, asked)
}

//! The same behind TLS, with a certificate made for the test.

use std::path::Path;
use std::sync::Arc;

use antiphon_server::config::Tls;
use rustls_pki_types::CertificateDer;
use serde_json::json;
use tokio_rustls::TlsConnector;

use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::engine::Transport;
use crate::support::http::{Http, Request, ask};
use crate::support::people;
use crate::support::server::Server;

/// A server whose certificate lies in `folder`, and a door whose clients trust it.
async fn server(folder: &Path, cores: usize) -> (Server, Door) {
    let made =
        rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("the folder can be written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("the folder can be written");
    let server = people::server(|config| {
        config.server.cores = cores;
        config.listeners[0].tls = Some(Tls { certificate, key });
    })
    .await;
    let door = Door { tls: Some(trusting(made.cert.der().clone())), ..server.door() };
    (server, door)
}

fn trusting(certificate: CertificateDer<'static>) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate).expect("the certificate is well-formed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("there are safe versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

const AUTH: &str = r#"{"token":"ada-key"}"#;

#[tokio::test]
async fn a_conversation_goes_over_every_transport_and_across_cores() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, door) = server(folder.path(), 2).await;
    for transport in [Transport::Websocket, Transport::Polling, Transport::Upgraded, Transport::Upgraded] {
        // Connections are dealt out in turn, so that one more or less changes which core an upgrade comes from.
        let _one_more = Http::open(&door).await;
        let mut client = Client::connect(&door, transport, AUTH).await;
        for number in 0..5 {
            let text = format!("{number} {}", "long ".repeat(2_000)).trim_end().to_owned();
            let message = json!({"agentId": "luna", "message": text}).to_string();
            let id = client.ask("chat:message", &message).await;
            assert_eq!(client.ack(id).await["ok"], json!(true));
            assert_eq!(client.event_named("chat:message:complete").await["fullContent"], json!(text));
        }
        client.engine.close().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_large_answer_to_a_slow_reader_arrives_whole() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, door) = server(folder.path(), 1).await;
    let mut client = Client::connect(&door.narrow(), Transport::Websocket, AUTH).await;
    for number in 0..60 {
        let notice = antiphon_core::notices::Notice {
            kind: antiphon_core::notices::NoticeKind::Info,
            title: number.to_string(),
            message: "x".repeat(10_000),
            action: None,
        };
        server
            .order(antiphon_core::command::Command::SendNotice { person: people::person("ada"), notice })
            .await;
    }
    for number in 0..60 {
        let heard = client.event_named("system:notification").await;
        assert_eq!(heard["title"], json!(number.to_string()));
        assert_eq!(heard["message"].as_str().map(str::len), Some(10_000));
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_tls_is_ended_and_the_port_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, door) = server(folder.path(), 1).await;
    let mut plain = Http::open(&server.door()).await;
    plain.send_bytes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    plain.over().await;
    assert_eq!(ask(&door, &Request::get("/readyz")).await.status, 200);
    server.stop().await;
}

#[tokio::test]
async fn a_goodbye_is_said_over_tls_too() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut server, door) = server(folder.path(), 1).await;
    let mut client = Client::connect(&door, Transport::Websocket, AUTH).await;
    crate::support::soon("the server to stop", server.stopping(std::future::pending())).await;
    assert_eq!(client.over().await, "1001 server stops: reconnect");
}

#[tokio::test]
async fn the_own_page_is_same_origin_behind_tls() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (server, door) = server(folder.path(), 1).await;
    let from =
        |origin: String| Request::get(&door.target("EIO=4&transport=polling")).header("Origin", &origin);
    assert_eq!(ask(&door, &from(format!("https://{}", door.address))).await.status, 200);
    assert_eq!(ask(&door, &from("https://evil.example".into())).await.status, 403);
    server.stop().await;
}

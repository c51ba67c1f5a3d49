//! What a collector of spans gets, and that one that is away is nobody's problem.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::http::{Request, ask};
use crate::support::process::Process;
use crate::support::soon;

const TEXT: &str = "canary text that no span may carry";

/// A request: its first line and its body.
type Post = (String, Vec<u8>);

/// Takes what is posted to it.
struct Collector {
    address: String,
    posted: Arc<Mutex<Vec<Post>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
        let address = format!("http://{}", listener.local_addr().expect("it has an address"));
        let posted = Arc::new(Mutex::default());
        let bodies = Arc::clone(&posted);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(take(stream, Arc::clone(&bodies)));
            }
        });
        Self { address, posted }
    }

    /// All bodies together, each of which was posted where spans belong.
    fn spans(&self) -> Vec<u8> {
        let posted = self.posted.lock().expect("nobody panicked");
        assert!(posted.iter().all(|(line, _)| line == "POST /v1/traces HTTP/1.1"), "{posted:?}");
        posted.iter().flat_map(|(_, body)| body.clone()).collect()
    }
}

/// Answers every request on `stream` with 200 and keeps its first line and its body.
async fn take(mut stream: TcpStream, posted: Arc<Mutex<Vec<Post>>>) {
    let mut buffer = Vec::new();
    loop {
        let end = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        let whole = end.and_then(|end| {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))?
                .trim()
                .parse::<usize>()
                .ok()?;
            let body: usize = end + 4;
            (buffer.len() >= body + length).then_some((end, body, body + length))
        });
        if let Some((end, body, next)) = whole {
            let line = String::from_utf8_lossy(&buffer[..end]).lines().next().unwrap_or_default().to_owned();
            posted.lock().expect("nobody panicked").push((line, buffer[body..next].to_vec()));
            buffer.drain(..next);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            continue;
        }
        let mut bytes = [0; 16 * 1024];
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(length) => buffer.extend_from_slice(&bytes[..length]),
        }
    }
}

/// Connects to `program` as the demo's person, says something, hears the answer, and is refused once.
async fn talk(program: &Process) {
    let mut client =
        Client::connect(&program.door(), Transport::Websocket, r#"{"token":"your-api-key"}"#).await;
    let message = serde_json::json!({"agentId": "agent-123", "message": TEXT});
    let asked = client.ask("chat:message", &message.to_string()).await;
    assert_eq!(client.ack(asked).await["ok"], true);
    client.event_named("chat:message:complete").await;
    let asked = client.ask("chat:join", r#"{"agentId":"nobody's"}"#).await;
    assert_eq!(client.ack(asked).await["ok"], false);
    assert_eq!(ask(&program.door(), &Request::get("/healthz?token=canary-query")).await.status, 200);
}

fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn a_collector_gets_requests_connects_commands_commits_and_answers_by_the_time_the_server_has_stopped()
{
    let collector = Collector::start().await;
    let program = Process::demo(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address)]).await;
    talk(&program).await;
    let (status, log) = program.stop().await;
    assert!(status.success() && !log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let spans = collector.spans();
    for expected in [
        "service.name",
        "antiphon",
        "request",
        "/healthz",
        "connect",
        "chat",
        "command",
        "PostMessage",
        "JoinConversation",
        "not_found",
        "commit",
        "writes",
        "answer",
        "finished",
    ] {
        assert!(has(&spans, expected), "no span says {expected}");
    }
    for secret in [TEXT, "your-api-key", "canary-query", "nobody's"] {
        assert!(!has(&spans, secret), "a span says {secret}");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_is_mentioned_once_and_nothing_waits_for_it() {
    let nowhere = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free");
        format!("http://{}", listener.local_addr().expect("it has an address"))
    };
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", nowhere.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let program = Process::demo(&environment).await;
    for _ in 0..3 {
        talk(&program).await;
    }
    let (status, log) = program.stop().await;
    assert!(status.success(), "{log}");
    assert_eq!(log.matches("spans cannot be exported").count(), 1, "{log}");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("some port is free");
    let address = format!("http://{}", listener.local_addr().expect("it has an address"));
    let accepting = tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            silent.push(stream);
        }
    });
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", address.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let program = Process::demo(&environment).await;
    for _ in 0..3 {
        talk(&program).await;
    }
    let (status, log) = soon("the server to stop all the same", program.stop()).await;
    assert!(status.success() && log.contains("spans"), "{log}");
    accepting.abort();
}

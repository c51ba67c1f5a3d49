//! A chain's node: answers JSON-RPC as it is told to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What a node says to a method.
#[derive(Clone, Debug)]
pub(crate) enum Says {
    /// This is the result.
    Result(Value),
    /// These very bytes, with this status and further header lines.
    Reply(u16, &'static str, String),
    /// Nothing, ever.
    Nothing,
}

/// What a node was asked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) parameters: Value,
    pub(crate) authorization: Option<String>,
}

#[derive(Default)]
struct Script {
    says: HashMap<String, Says>,
    asked: Vec<Asked>,
}

/// The node. Stops listening when it is dropped.
pub(crate) struct Node {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    /// Aborted when dropped.
    _listening: JoinSet<()>,
}

impl Node {
    /// Listens on a free port, and knows nothing: every result is `null`.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let script = Arc::<Mutex<Script>>::default();
        let mut listening = JoinSet::new();
        let shared = Arc::clone(&script);
        listening.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, script, _listening: listening }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/rpc", self.address)
    }

    /// From now on it answers `method` like this.
    pub(crate) fn says(&self, method: &str, says: Says) {
        self.script().says.insert(method.to_owned(), says);
    }

    /// What it was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.script().asked)
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(mut stream: TcpStream, script: Arc<Mutex<Script>>) {
    let mut buffer = Vec::new();
    while let Some((head, body)) = request(&mut stream, &mut buffer).await {
        assert!(head.starts_with("POST /rpc HTTP/1.1\r\n"), "{head}");
        let question: Value = serde_json::from_slice(&body).expect("a question is JSON");
        assert_eq!(question["jsonrpc"], "2.0");
        let method = question["method"].as_str().expect("a question names a method").to_owned();
        let says = {
            let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
            let parameters = question["params"].clone();
            let authorization = header(&head, "authorization").map(str::to_owned);
            script.asked.push(Asked { method: method.clone(), parameters, authorization });
            script.says.get(&method).cloned().unwrap_or(Says::Result(Value::Null))
        };
        let (status, more, body) = match says {
            Says::Nothing => std::future::pending().await,
            Says::Reply(status, more, body) => (status, more, body),
            Says::Result(result) => {
                (200, "", json!({"jsonrpc": "2.0", "id": question["id"], "result": result}).to_string())
            }
        };
        let answer = format!("HTTP/1.1 {status} Said\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request on this connection: its head and its body.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(String, Vec<u8>)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read(stream, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).expect("a head is text");
    let length: usize = header(&head, "content-length")?.parse().expect("a number");
    while buffer.len() < length {
        read(stream, buffer).await?;
    }
    Some((head, buffer.drain(..length).collect()))
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 16 * 1024];
    let length = stream.read(&mut bytes).await.ok().filter(|length| *length > 0)?;
    buffer.extend_from_slice(&bytes[..length]);
    Some(())
}

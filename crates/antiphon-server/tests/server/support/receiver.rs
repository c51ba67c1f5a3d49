//! A receiver of webhooks: it listens, verifies every signature, and answers as it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::soon;

/// What deliveries to [`Receiver`]s are signed with.
pub(crate) const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A delivery as it arrived, and how it was answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) text: String,
    pub(crate) body: Value,
    pub(crate) answered: u16,
}

impl Delivery {
    /// The name of the event.
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().expect("a delivery names its event")
    }

    /// Its number among those about the same person.
    pub(crate) fn sequence(&self) -> u64 {
        self.body["sequence"].as_u64().expect("a delivery has a number")
    }

    /// Whom it is about; nobody is "".
    pub(crate) fn person(&self) -> &str {
        self.body["person"].as_str().unwrap_or_default()
    }
}

/// How the next deliveries are answered; 200 when nothing is left.
type Answers = Arc<Mutex<VecDeque<u16>>>;

/// The receiver. Stops listening when it is dropped.
pub(crate) struct Receiver {
    address: SocketAddr,
    answers: Answers,
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    /// Aborted when dropped.
    _listening: JoinSet<()>,
}

impl Receiver {
    /// Listens on a free port.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (heard, deliveries) = mpsc::unbounded_channel();
        let answers = Answers::default();
        let mut listening = JoinSet::new();
        let script = Arc::clone(&answers);
        listening.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                open.spawn(serve(stream, Arc::clone(&script), heard.clone()));
            }
        });
        Self { address, answers, deliveries, _listening: listening }
    }

    /// Where it listens, by address.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Its port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Answers the next deliveries with these, and then with 200 again.
    pub(crate) fn answer(&self, statuses: &[u16]) {
        *self.answers.lock().expect("nobody panics with it") = statuses.iter().copied().collect();
    }

    /// The next delivery, however it was answered.
    pub(crate) async fn next(&mut self) -> Delivery {
        soon("a delivery", self.deliveries.recv()).await.expect("it listens")
    }

    /// The next delivery that it took.
    pub(crate) async fn taken(&mut self) -> Delivery {
        loop {
            let delivery = self.next().await;
            if delivery.answered == 200 {
                return delivery;
            }
        }
    }

    /// What arrived and was not asked for yet.
    pub(crate) fn rest(&mut self) -> Vec<Delivery> {
        std::iter::from_fn(|| self.deliveries.try_recv().ok()).collect()
    }
}

async fn serve(mut stream: TcpStream, answers: Answers, heard: mpsc::UnboundedSender<Delivery>) {
    let mut buffer = Vec::new();
    while let Some((headers, body)) = request(&mut stream, &mut buffer).await {
        let verifier = Webhook::new(SECRET).expect("a secret");
        verifier.verify(&body, &headers).expect("every delivery is signed");
        let text = String::from_utf8(body).expect("JSON is text");
        let status = answers.lock().expect("nobody panics with it").pop_front().unwrap_or(200);
        let delivery = Delivery {
            id: headers["webhook-id"].to_str().expect("an id is text").to_owned(),
            body: serde_json::from_str(&text).expect("a delivery is JSON"),
            text,
            answered: status,
        };
        // Said before it is answered: whoever asks what arrived finds it.
        let _ = heard.send(delivery);
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: 2\r\n\r\nok");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next request on this connection: its headers and its body.
async fn request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(HeaderMap, Vec<u8>)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        read(stream, buffer).await?;
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).expect("a head is text");
    assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
    let mut headers = HeaderMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let name = HeaderName::try_from(name).expect("a header's name");
        headers.insert(name, HeaderValue::from_str(value).expect("a header's value"));
    }
    assert_eq!(headers["content-type"], "application/json");
    let length: usize = headers["content-length"].to_str().ok()?.parse().expect("a number");
    while buffer.len() < length {
        read(stream, buffer).await?;
    }
    Some((headers, buffer.drain(..length).collect()))
}

async fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let mut bytes = [0; 16 * 1024];
    let length = stream.read(&mut bytes).await.ok().filter(|length| *length > 0)?;
    buffer.extend_from_slice(&bytes[..length]);
    Some(())
}

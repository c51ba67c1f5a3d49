//! Does the client keep to its rules, whatever names resolve to and whatever is answered?

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Answers each lookup with what is next in the script; the last answer stays.
#[derive(Default)]
struct Script {
    answers: Mutex<VecDeque<Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
}

impl Script {
    fn new(answers: &[&[&str]]) -> Arc<Self> {
        let parse = |answer: &&[&str]| answer.iter().map(|text| text.parse().unwrap()).collect();
        Arc::new(Self { answers: Mutex::new(answers.iter().map(parse).collect()), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Lookup for Script {
    fn lookup(&self, host: String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
        self.asked.lock().unwrap().push(host);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
        Box::pin(async move { Ok(answer.unwrap_or_default()) })
    }
}

/// A server that says the same to everybody and then closes, and counts who came.
struct Server {
    address: SocketAddr,
    came: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(answer: impl Into<Vec<u8>>) -> Self {
        Self::serve(answer.into(), None).await
    }

    async fn serve(answer: Vec<u8>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let came = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&came);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                match &tls {
                    None => say(stream, &answer).await,
                    // Whoever does not trust the certificate goes away.
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => say(stream, &answer).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        Self { address, came, task }
    }

    /// One that says [`OK`] over TLS, as `name`; and whom to trust to believe it.
    async fn with_name(name: &str) -> (Self, Certificate) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let server = Self::serve(OK.to_vec(), Some(TlsAcceptor::from(Arc::new(config)))).await;
        (server, Certificate::from_der(&certificate).unwrap())
    }

    fn came(&self) -> usize {
        self.came.load(Ordering::SeqCst)
    }

    fn url(&self, host: &str) -> String {
        format!("http://{host}:{}/", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn say(mut stream: impl AsyncRead + AsyncWrite + Unpin, answer: &[u8]) {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(length) if length > 0 => head.extend_from_slice(&piece[..length]),
            _ => return,
        }
    }
    if answer.is_empty() {
        // Says nothing, and stays.
        std::future::pending::<()>().await;
    }
    // The other side may have heard enough before the end.
    let _ = stream.write_all(answer).await;
    let _ = stream.shutdown().await;
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nkeys";

fn outbound(allow: &[&str], lookup: &Arc<Script>) -> Outbound {
    Outbound::over(settings(allow), Arc::clone(lookup) as _, Vec::new())
}

fn trusting(authority: Certificate, allow: &[&str], lookup: &Arc<Script>) -> Outbound {
    Outbound::over(settings(allow), Arc::clone(lookup) as _, vec![authority])
}

fn settings(allow: &[&str]) -> Settings {
    Settings { allow: allow.iter().map(|entry| String::from(*entry).try_into().unwrap()).collect() }
}

#[tokio::test]
async fn what_is_allowed_is_asked_and_answers() {
    let server = Server::start(OK).await;
    let client = Outbound::new(Settings { allow: vec![String::from("127.0.0.1").try_into().unwrap()] });
    assert_eq!(client.get(Purpose::Keys, &server.url("127.0.0.1")).await.unwrap(), "keys");
    let answer = client.post(Purpose::Webhook, &server.url("0x7f.1"), HeaderMap::new(), "{}".into()).await;
    assert_eq!(answer, Ok(Answer { status: StatusCode::OK, retry_after: None }));
    assert_eq!(server.came(), 2);
}

#[tokio::test]
async fn t16_t17_t18_a_name_that_leads_inside_is_refused_and_nothing_is_connected_to() {
    let server = Server::start(OK).await;
    let port = server.address.port();
    for inside in [
        &["127.0.0.1"][..],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["169.254.169.254"],
        &["10.0.0.1", "192.168.0.1"],
        &["0.0.0.0"],
        &["64:ff9b::7f00:1"],
        &["fe80::1"],
    ] {
        let lookup = Script::new(&[inside]);
        let client = outbound(&[], &lookup);
        for host in ["hooks.example", "localhost.", "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "metadata.google.internal"]
        {
            let url = format!("https://{host}:{port}/");
            let refused = Err(Failure::Forbidden("the name has no address that is public"));
            assert_eq!(client.get(Purpose::Keys, &url).await, refused, "{host} at {inside:?}");
        }
        assert_eq!(lookup.asked()[1..3], ["localhost", "localhost"]);
    }
    assert_eq!(server.came(), 0);
}

#[tokio::test]
async fn t16_a_name_that_means_something_else_a_moment_later_gains_nothing() {
    let (server, authority) = Server::with_name("rebind.example").await;
    // The first answer may be reached, the next may not: whatever was checked must be what is connected to.
    let lookup = Script::new(&[&["127.0.0.1"], &["127.0.0.2"]]);
    let client = trusting(authority, &["127.0.0.1"], &lookup);
    let url = format!("https://rebind.example:{}/", server.address.port());
    assert_eq!(client.get(Purpose::Keys, &url).await.unwrap(), "keys");
    assert_eq!((server.came(), lookup.asked().len()), (1, 1));
    assert!(matches!(client.get(Purpose::Keys, &url).await, Err(Failure::Forbidden(_))));
    assert_eq!((server.came(), lookup.asked().len()), (1, 2));
}

#[tokio::test]
async fn t16_of_several_addresses_only_those_that_may_be_reached_are() {
    let (server, authority) = Server::with_name("mixed.example").await;
    let lookup = Script::new(&[&["127.0.0.2", "127.0.0.1", "10.0.0.1"]]);
    let client = trusting(authority, &["127.0.0.1"], &lookup);
    let url = format!("https://mixed.example:{}/", server.address.port());
    assert_eq!(client.get(Purpose::Keys, &url).await.unwrap(), "keys");
    assert_eq!(server.came(), 1);
}

#[tokio::test]
async fn an_allowed_name_may_be_anywhere() {
    let server = Server::start(OK).await;
    let lookup = Script::new(&[&["127.0.0.1"]]);
    let client = outbound(&["hooks.internal"], &lookup);
    assert_eq!(client.get(Purpose::Keys, &server.url("Hooks.Internal.")).await.unwrap(), "keys");
    assert_eq!(lookup.asked(), ["hooks.internal"]);
}

#[tokio::test]
async fn a_name_without_addresses_is_a_failure_with_a_reason() {
    let client = outbound(&[], &Script::new(&[&[]]));
    let failure = client.get(Purpose::Keys, "https://nowhere.example/secret-path").await.unwrap_err();
    assert!(matches!(&failure, Failure::Unreachable(why) if why.contains("no address")), "{failure:?}");
    assert!(!format!("{failure:?} {failure}").contains("secret-path"), "URLs may hold secrets");
}

#[tokio::test]
async fn t16_t17_t18_redirects_are_not_followed() {
    let inside = Server::start(OK).await;
    for status in ["301 Moved Permanently", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let url = inside.url("127.0.0.1");
        let head =
            format!("HTTP/1.1 {status}\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let server = Server::start(head).await;
        let client = outbound(&["127.0.0.1"], &Script::new(&[&[]]));
        let url = server.url("127.0.0.1");
        assert!(matches!(client.get(Purpose::Keys, &url).await, Err(Failure::Status(_))), "{status}");
        let answer = client.post(Purpose::Webhook, &url, HeaderMap::new(), Bytes::new()).await.unwrap();
        assert!(answer.status.is_redirection(), "{status}");
        assert_eq!(server.came(), 2);
    }
    assert_eq!(inside.came(), 0);
}

#[tokio::test]
async fn t16_a_huge_answer_is_cut_off() {
    let limit = Purpose::Keys.bytes();
    let announced = |length: usize| {
        let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        answer.resize(answer.len() + length, b'x');
        answer
    };
    let endless = |length: usize| {
        let mut answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        answer.resize(answer.len() + length, b'x');
        answer
    };
    let client = outbound(&["127.0.0.1"], &Script::new(&[&[]]));
    for (answer, fits) in [
        (announced(limit), true),
        (announced(limit + 1), false),
        (endless(limit), true),
        (endless(limit + 1), false),
        (endless(8 * limit), false),
    ] {
        let server = Server::start(answer).await;
        let got = client.get(Purpose::Keys, &server.url("127.0.0.1")).await;
        if fits {
            assert_eq!(got.map(|body| body.len()), Ok(limit));
        } else {
            assert_eq!(got, Err(Failure::TooLarge(limit)));
        }
    }
    let lie = Server::start("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await;
    assert_eq!(client.get(Purpose::Keys, &lie.url("127.0.0.1")).await, Err(Failure::TooLarge(limit)));
    // Of what a webhook is answered only the status counts.
    let answer = client.post(Purpose::Webhook, &lie.url("127.0.0.1"), HeaderMap::new(), Bytes::new()).await;
    assert_eq!(answer.map(|answer| answer.status), Ok(StatusCode::OK));
}

/// The clock stands still and jumps when nothing else happens, which is exactly when the other side stalls.
#[tokio::test(start_paused = true)]
async fn t16_whoever_stalls_is_given_up() {
    let silent = Server::start("").await;
    let client = outbound(&["127.0.0.1"], &Script::new(&[&[]]));
    for purpose in [Purpose::Keys, Purpose::Webhook] {
        let began = tokio::time::Instant::now();
        let got = client.get(purpose, &silent.url("127.0.0.1")).await;
        assert_eq!(got, Err(Failure::TimedOut(purpose.time())));
        assert!(began.elapsed() <= purpose.time() + Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn when_to_come_back_is_understood_in_seconds() {
    for (said, means) in [("120", Some(120)), (" 7 ", Some(7)), ("soon", None), ("-1", None), ("1.5", None)] {
        let head = "HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\nConnection: close\r\n";
        let server = Server::start(format!("{head}Retry-After: {said}\r\n\r\n")).await;
        let client = outbound(&["127.0.0.1"], &Script::new(&[&[]]));
        let url = server.url("127.0.0.1");
        let answer = client.post(Purpose::Webhook, &url, HeaderMap::new(), Bytes::new()).await.unwrap();
        assert_eq!(answer.retry_after, means.map(Duration::from_secs), "{said}");
    }
}

#[tokio::test]
async fn over_tls_the_name_must_be_the_servers_own() {
    let (server, authority) = Server::with_name("hooks.example").await;
    let client = trusting(authority, &["127.0.0.1"], &Script::new(&[&["127.0.0.1"]]));
    let port = server.address.port();
    let got = client.get(Purpose::Keys, &format!("https://hooks.example:{port}/")).await;
    assert_eq!(got.unwrap(), "keys");
    let got = client.get(Purpose::Keys, &format!("https://other.example:{port}/")).await;
    assert!(matches!(got, Err(Failure::Unreachable(_))), "{got:?}");
}

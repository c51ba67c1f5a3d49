//! What an HTTP request on a port asks for: a Socket.IO mount, or one of the server's own few pages.

use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use antiphon_wire::engine::{BadRequest, Request as EngineRequest, Transport};
use antiphon_wire::websocket::accept_key;
use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio_rustls::server::TlsStream;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::cores::Core;
use crate::hub::Mail;
use crate::listen::Port;
use crate::mount::{Mount, Serves};
use crate::routes::Routes;
use crate::session::{Closing, Connection, Link};
use crate::telemetry::context::{Whose, within};
use crate::telemetry::{REQUEST_ID, Refused, SPANS, cut};
use crate::transport::crowd::{Entry, Visit};
use crate::transport::origin::{Page, Verdict, allow_origin, allow_preflight, names_this_machine};
use crate::transport::polling::{
    Address, Answer, Known, Moving, Posting, Request as PollingRequest, Upgrade, What,
};
use crate::transport::stamp::{Stamp, Stamps};
use crate::transport::{Impatient, Stream, websocket};

type Reply = Response<Full<Bytes>>;

/// Bytes of request head that are read before a client is told that it is too much.
const HEAD: usize = 16 * 1024;

/// Serves HTTP on `io` until it ends or becomes a WebSocket.
pub(crate) async fn serve<I>(core: Rc<Core>, port: Arc<Port>, io: I, visit: Visit)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let wait = Duration::from_millis(core.shared.limits.request);
    let stall = Duration::from_millis(core.shared.limits.write_stall);
    let peer = visit.peer;
    let service = service_fn(move |request| {
        let (core, port) = (core.clone(), port.clone());
        async move { Ok::<_, Infallible>(named(&core, &port, peer, request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(wait)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(Impatient::new(io, stall)), service)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(visit = visit.number, %error, "an HTTP connection ended early");
    }
}

/// Answers under a name of its own, which the log has, and whoever asked for a page.
async fn named(
    core: &Rc<Core>,
    port: &Arc<Port>,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Either<axum::body::Body, Full<Bytes>>> {
    let id = core.next_request();
    let whose = Whose { connection: None, request: Some(id) };
    let (uri, is_page) = (request.uri(), port.mount(request.uri().path()).is_none());
    // What a session polls is no event of its own, and never ends.
    let span = if uri.query().is_some_and(|query| query.contains("sid=")) {
        Span::none()
    } else {
        tracing::info_span!(
            target: SPANS, "request", otel.kind = "server", http.request.method = cut(request.method().as_str()),
            url.path = cut(uri.path()), http.response.status_code = Empty, request = %id,
        )
    };
    let answered = async {
        // Everybody knows the demo's keys, and by a name of their own that points here any page would be this server's own.
        if core.shared.demo && !names_this_machine(request.headers()) {
            let text = "The demo answers on this machine: ask by address, or as localhost.\n";
            return plain(StatusCode::FORBIDDEN, text).map(Either::Right);
        }
        let path = request.uri().path();
        if let Some(api) = port.api(path) {
            return api.answer(peer, request).await.map(Either::Left);
        }
        match port.routes(path) {
            Some(routes) => documented(core, routes, peer, request).await,
            None => answer(core, port, peer, request).await.map(Either::Right),
        }
    };
    let mut reply = within(whose, answered.instrument(span.clone())).await;
    span.record("http.response.status_code", reply.status().as_u16());
    if is_page && let Ok(id) = HeaderValue::from_str(&id.to_string()) {
        reply.headers_mut().insert(REQUEST_ID, id);
    }
    reply
}

/// A documented route of a dialect, or else one of the server's own pages.
async fn documented(
    core: &Rc<Core>,
    routes: &Routes,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Response<Either<axum::body::Body, Full<Bytes>>> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    match routes.answer(peer, request).await {
        Some(response) => response.map(Either::Left),
        None => page(core, &method, &path).map(Either::Right),
    }
}

async fn answer(core: &Rc<Core>, port: &Arc<Port>, peer: IpAddr, request: Request<Incoming>) -> Reply {
    let path = request.uri().path();
    match port.mount(path) {
        Some(mount) => {
            let mount = mount.clone();
            let verdict = mount.origins.judge(request.headers());
            let mut reply = if verdict == Verdict::Refused {
                core.shared.counters.foreign();
                core.count(|tally| tally.refused(Refused::Origin));
                bad(BadRequest::Forbidden)
            } else if request.method() == Method::OPTIONS {
                preflight(request.headers())
            } else {
                let page = mount.origins.page(&verdict, request.headers());
                engine(core, &mount, (peer, page), request).await
            };
            allow_origin(&verdict, reply.headers_mut());
            reply
        }
        None => page(core, request.method(), path),
    }
}

/// The server's own pages.
fn page(core: &Core, method: &Method, path: &str) -> Reply {
    if method != Method::GET && method != Method::HEAD {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Only GET is served here.\n");
    }
    match path {
        "/healthz" => plain(StatusCode::OK, if core.shared.demo { "ok demo=1\n" } else { "ok\n" }),
        "/readyz" => match core.shared.unready() {
            None => plain(StatusCode::OK, "ready\n"),
            Some(why) => plain(StatusCode::SERVICE_UNAVAILABLE, why),
        },
        "/version" => plain(StatusCode::OK, concat!("antiphon ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => {
            plain(StatusCode::NOT_FOUND, "There is nothing here. Socket.IO is served on its mounts' paths.\n")
        }
    }
}

async fn engine(
    core: &Rc<Core>,
    mount: &Arc<Mount>,
    (peer, page): (IpAddr, Page),
    request: Request<Incoming>,
) -> Reply {
    let upgrade = wants_websocket(request.headers());
    if mount.serves == Serves::Frames {
        return handshake(core, mount, request, Opens::Frames);
    }
    let query = request.uri().query().unwrap_or_default();
    let (transport, sid, stamp) = match EngineRequest::parse(request.method().as_str(), query, upgrade) {
        Ok(asked) => (asked.transport, asked.sid, asked.t.and_then(Stamp::of)),
        Err(refused) => {
            core.count(|tally| tally.refused(Refused::Malformed));
            return bad(refused);
        }
    };
    let Some(sid) = sid else {
        if !core.shared.may_open() {
            let why = if core.shared.is_ready() { Refused::Full } else { Refused::Stopping };
            core.count(|tally| tally.refused(why));
            return unavailable();
        }
        let client = core.shared.crowd.client(peer, request.headers());
        let entry = match Entry::ask(core, client) {
            Ok(entry) => entry,
            Err(wait) => return too_many(core, wait),
        };
        return match transport {
            Transport::Polling => open_polling(core, mount, entry, page, stamp),
            Transport::Websocket => handshake(core, mount, request, Opens::Session(entry)),
        };
    };
    let known = mount.sessions.pin().get(sid).map(|known| (known.address, known.page));
    let Some((address, opener)) = known else {
        core.shared.counters.stray();
        core.count(|tally| tally.refused(Refused::UnknownSession));
        let client = core.shared.crowd.client(peer, request.headers());
        return match core.shared.crowd.knock(client) {
            Ok(()) => bad(BadRequest::UnknownSession),
            Err(wait) => too_many(core, wait),
        };
    };
    if page != opener {
        core.shared.counters.foreign();
        core.count(|tally| tally.refused(Refused::Origin));
        return bad(BadRequest::Forbidden);
    }
    match transport {
        Transport::Websocket => handshake(core, mount, request, Opens::Takeover(address)),
        Transport::Polling if request.method() == Method::POST => {
            let posting = Posting::begin(mount, sid);
            post(core, request, address, posting).await
        }
        Transport::Polling => get(core, address, stamp).await,
    }
}

fn open_polling(
    core: &Rc<Core>,
    mount: &Arc<Mount>,
    entry: Entry,
    page: Page,
    stamp: Option<Stamp>,
) -> Reply {
    let sid = core.shared.random_id();
    let (reply, mut answer) = oneshot::channel();
    let link = Link::Polling { waiting: Some(reply), stamps: Stamps::new(stamp), probing: None, held: None };
    let connection = Connection::open(core, mount.clone(), &sid, link, entry);
    let address = Address { core: core.index, key: connection.key() };
    mount.sessions.pin().insert(sid.into(), Known::new(address, page));
    // The handshake is already in the outbox, so the answer is there as soon as it is written.
    connection.flush(core);
    match answer.try_recv() {
        Ok(Answer::Packets(body)) => packets(body),
        _ => unavailable(),
    }
}

async fn get(core: &Core, address: Address, stamp: Option<Stamp>) -> Reply {
    let (reply, answer) = oneshot::channel();
    let mut waiting = Waiting { core, address, done: false };
    send(core, address, What::Get(stamp, reply));
    let answer = answer.await;
    waiting.done = true;
    answered(answer)
}

/// Tells the session when a client goes away while its GET waits: hyper drops the future then.
struct Waiting<'a> {
    core: &'a Core,
    address: Address,
    done: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.done {
            send(self.core, self.address, What::Cancelled);
        }
    }
}

/// `posting` is missing when a POST for this session is under way already.
async fn post(
    core: &Core,
    request: Request<Incoming>,
    address: Address,
    posting: Option<Posting<'_>>,
) -> Reply {
    let kind = request.headers().get(header::CONTENT_TYPE);
    if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream")) {
        // Engine.IO 4 sends text; the reference once left such a request hanging (CVE-2026-59725).
        send(core, address, What::Broken(Closing::Malformed("binary body")));
        return closing(bad(BadRequest::BadRequest));
    }
    let Some(posting) = posting else {
        send(core, address, What::Broken(Closing::Malformed("two POSTs at once")));
        return closing(bad(BadRequest::BadRequest));
    };
    let wait = Duration::from_millis(core.shared.limits.request);
    let body = Limited::new(request.into_body(), posting.most);
    let body = match tokio::time::timeout(wait, body.collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            send(core, address, What::Broken(Closing::TooLarge));
            return closing(plain(StatusCode::PAYLOAD_TOO_LARGE, "message too large\n"));
        }
        Ok(Err(_)) => {
            send(core, address, What::Broken(Closing::Peer));
            return closing(bad(BadRequest::BadRequest));
        }
        Err(_) => {
            send(core, address, What::Broken(Closing::Peer));
            return closing(plain(StatusCode::REQUEST_TIMEOUT, "the body took too long\n"));
        }
    };
    let (reply, answer) = oneshot::channel();
    // Dropped when the answer is there: clients take it amiss when what their POST brought about arrives before its "ok".
    let _process = Process { core, address };
    send(core, address, What::Post(body, reply));
    answered(answer.await)
}

/// Has the session process what a POST brought, however its request ends.
struct Process<'a> {
    core: &'a Core,
    address: Address,
}

impl Drop for Process<'_> {
    fn drop(&mut self) {
        send(self.core, self.address, What::Process);
    }
}

fn send(core: &Core, address: Address, what: What) {
    let mailbox = &core.shared.mailboxes[usize::from(address.core)];
    mailbox.post(Mail::Polling(PollingRequest { key: address.key, what }));
}

fn answered(answer: Result<Answer, oneshot::error::RecvError>) -> Reply {
    match answer {
        Ok(Answer::Packets(body)) => packets(body),
        Ok(Answer::Taken) => {
            let mut reply = Response::new(Full::new(Bytes::from_static(b"ok")));
            reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
            reply
        }
        Ok(Answer::Bad(refused)) => bad(refused),
        Ok(Answer::Unavailable) => unavailable(),
        // The session ended without a word, which means that it is unknown by now.
        Err(_) => bad(BadRequest::UnknownSession),
    }
}

// ---- WebSocket ----

fn wants_websocket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(header::UPGRADE);
    upgrade.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// What a WebSocket is opened for.
enum Opens {
    /// A session of its own.
    Session(Entry),
    /// To take over a session from polling.
    Takeover(Address),
    /// Nothing but frames.
    Frames,
}

/// Answers the opening handshake (RFC 6455, section 4.2) and has the stream handed over once the answer is out.
fn handshake(core: &Rc<Core>, mount: &Arc<Mount>, mut request: Request<Incoming>, opens: Opens) -> Reply {
    let headers = request.headers();
    let asks = headers.get_all(header::CONNECTION).iter().any(|value| {
        value.to_str().is_ok_and(|text| text.split(',').any(|t| t.trim().eq_ignore_ascii_case("upgrade")))
    });
    if !asks || !wants_websocket(headers) {
        core.count(|tally| tally.refused(Refused::Malformed));
        return bad(BadRequest::BadRequest);
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        core.count(|tally| tally.refused(Refused::Malformed));
        let mut reply =
            plain(StatusCode::UPGRADE_REQUIRED, "only version 13 of the WebSocket protocol is served\n");
        reply.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return reply;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok()).and_then(accept_key);
    let Some(accept) = key.and_then(|key| HeaderValue::from_str(&key).ok()) else {
        core.count(|tally| tally.refused(Refused::Malformed));
        return bad(BadRequest::BadRequest);
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let (core, mount) = (core.clone(), mount.clone());
    tokio::task::spawn_local(async move {
        // What waits for the upgrade holds hyper's buffers: the stream goes on in a task of its own.
        if let Ok(upgraded) = upgraded.await
            && let Some((stream, early)) = take_stream(upgraded)
        {
            hand_over(&core, &mount, opens, stream, early);
        }
    });
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

fn take_stream(upgraded: hyper::upgrade::Upgraded) -> Option<(Stream, Vec<u8>)> {
    match upgraded.downcast::<TokioIo<Impatient<TcpStream>>>() {
        Ok(parts) => {
            let tcp = parts.io.into_inner().into_inner();
            Some((Stream::Tcp(tcp.into()), parts.read_buf.to_vec()))
        }
        Err(upgraded) => {
            let parts = upgraded.downcast::<TokioIo<Impatient<TlsStream<TcpStream>>>>().ok()?;
            let tls = parts.io.into_inner().into_inner();
            Some((Stream::Tls(Box::new(tls).into()), parts.read_buf.to_vec()))
        }
    }
}

fn hand_over(core: &Rc<Core>, mount: &Arc<Mount>, opens: Opens, stream: Stream, early: Vec<u8>) {
    let address = match opens {
        Opens::Frames => {
            tokio::task::spawn_local(websocket::echo(core.clone(), stream, mount.limits.clone(), early));
            return;
        }
        Opens::Session(entry) => {
            let stream = Rc::new(stream);
            let sid = core.shared.random_id();
            let link = Link::Websocket(stream.clone());
            let connection = Connection::open(core, mount.clone(), &sid, link, entry);
            if !core.shared.is_ready() {
                // The server began to stop while the handshake was under way.
                connection.retire(core);
            }
            tokio::task::spawn_local(websocket::read(core.clone(), connection, stream, early));
            return;
        }
        Opens::Takeover(address) => address,
    };
    let stream = match stream {
        Stream::Tcp(tcp) => match tcp.into_inner().into_std() {
            Ok(tcp) => Moving::Tcp(tcp),
            Err(error) => return tracing::warn!(%error, "a socket could not change cores"),
        },
        stream @ Stream::Tls(_) => Moving::Tls(stream),
    };
    let mailbox = &core.shared.mailboxes[usize::from(address.core)];
    mailbox.post(Mail::Upgrade(Upgrade { key: address.key, stream, early }));
}

// ---- answers ----

fn plain(status: StatusCode, text: &'static str) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *reply.status_mut() = status;
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    reply
}

fn packets(body: Vec<u8>) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

fn bad(refused: BadRequest) -> Reply {
    let mut reply = Response::new(Full::new(Bytes::from(refused.body())));
    *reply.status_mut() = StatusCode::from_u16(refused.status()).unwrap_or(StatusCode::BAD_REQUEST);
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn unavailable() -> Reply {
    let mut reply = plain(StatusCode::SERVICE_UNAVAILABLE, "no more connections now; try again\n");
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    closing(reply)
}

/// Its address or network has had enough for now; it is to come back in `wait` milliseconds.
fn too_many(core: &Core, wait: u64) -> Reply {
    core.shared.counters.crowded();
    core.count(|tally| tally.refused(Refused::Crowded));
    let mut reply =
        plain(StatusCode::TOO_MANY_REQUESTS, "too many connections from this address; try again later\n");
    reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1_000)));
    closing(reply)
}

/// The request's body was not read to its end, so the HTTP connection cannot go on.
fn closing(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    reply
}

fn preflight(asked: &HeaderMap) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    allow_preflight(asked, "GET,POST", reply.headers_mut());
    reply
}

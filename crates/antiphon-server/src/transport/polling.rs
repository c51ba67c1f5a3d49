//! Serving polling requests, and the change from polling to WebSocket.
//!
//! A polling request may arrive on any core; the session's core is found by the session id and gets the request as a letter,
//! with a place to leave the answer.

use std::net::TcpStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use antiphon_wire::engine::payload::{self, Item};
use antiphon_wire::engine::{BadRequest, Transport};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::cores::Core;
use crate::mount::Mount;
use crate::session::{Closing, Connection, Link};
use crate::transport::origin::Page;
use crate::transport::stamp::Stamp;
use crate::transport::{Stream, websocket};
use crate::wheel::Key;

/// Which core has a session, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) core: u16,
    pub(crate) key: Key,
}

/// What is known of a session wherever its id is used.
pub(crate) struct Known {
    pub(crate) address: Address,
    /// Where it was opened from.
    pub(crate) page: Page,
    /// Whether a CONNECT was accepted, so that messages may be of full size.
    greeted: AtomicBool,
    /// Whether a POST is under way. A client sends one at a time; more would hold memory for nothing.
    posting: AtomicBool,
}

impl Known {
    pub(crate) fn new(address: Address, page: Page) -> Self {
        Self { address, page, greeted: AtomicBool::new(false), posting: AtomicBool::new(false) }
    }

    pub(crate) fn greet(&self) {
        self.greeted.store(true, Relaxed);
    }
}

/// A POST that is under way, for as long as this is there. The next one may come before its answer is written out, but not
/// before there is one.
pub(crate) struct Posting<'a> {
    mount: &'a Mount,
    sid: String,
    /// Bytes that it may bring.
    pub(crate) most: usize,
}

impl<'a> Posting<'a> {
    /// Nothing, if the session is gone or a POST for it is under way.
    pub(crate) fn begin(mount: &'a Mount, sid: &str) -> Option<Self> {
        let sessions = mount.sessions.pin();
        let known = sessions.get(sid).filter(|known| !known.posting.swap(true, Relaxed))?;
        let limits = if known.greeted.load(Relaxed) { &mount.limits } else { &mount.greeting };
        Some(Self { mount, sid: sid.to_owned(), most: limits.payload })
    }
}

impl Drop for Posting<'_> {
    fn drop(&mut self) {
        if let Some(known) = self.mount.sessions.pin().get(&*self.sid) {
            known.posting.store(false, Relaxed);
        }
    }
}

/// A request for a session.
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) what: What,
}

/// What it asks.
pub(crate) enum What {
    /// Wait for packets.
    Get(Option<Stamp>, oneshot::Sender<Answer>),
    /// Take packets.
    Post(Bytes, oneshot::Sender<Answer>),
    /// Process what was taken: its POST has been answered.
    Process,
    /// The client went away while its GET was waiting.
    Cancelled,
    /// The client sent something that ends the session.
    Broken(Closing),
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Packets, as a polling body.
    Packets(Vec<u8>),
    /// The packets were taken.
    Taken,
    /// It makes no sense.
    Bad(BadRequest),
    /// This server stops.
    Unavailable,
}

/// A WebSocket that wants to take over a session.
pub(crate) struct Upgrade {
    pub(crate) key: Key,
    pub(crate) stream: Moving,
    pub(crate) early: Vec<u8>,
}

/// A stream between two cores.
pub(crate) enum Moving {
    /// Belongs to no runtime at the moment.
    Tcp(TcpStream),
    /// Stays with the runtime that accepted it and is used from another: slower, but right, and rare.
    Tls(Stream),
}

fn find(core: &Core, key: Key) -> Option<Rc<Connection>> {
    core.connections.borrow().get(key.slot as usize).filter(|connection| connection.key() == key).cloned()
}

/// Serves a request on the session's core.
pub(crate) fn handle(core: &Rc<Core>, request: Request) {
    let connection = find(core, request.key);
    if let Some(connection) = &connection {
        // A session that is past its time is gone, even if the wheel has not come by yet.
        connection.look(core, core.now());
    }
    let connection = connection.filter(|connection| match request.what {
        What::Process => !connection.is_closed(),
        _ => !connection.is_closed() && !connection.is_leaving(),
    });
    match (request.what, connection) {
        (What::Get(stamp, reply), Some(connection)) => get(core, &connection, stamp, reply),
        (What::Post(body, reply), Some(connection)) => {
            if let Some((body, reply)) = connection.hold(body, reply) {
                let _ = reply.send(post(core, &connection, &body));
            }
        }
        (What::Process, Some(connection)) => {
            let core = core.clone();
            tokio::task::spawn_local(async move { connection.process(&core).await });
        }
        (What::Cancelled, Some(connection)) => {
            let gone = matches!(&*connection.link(), Link::Polling { waiting: Some(reply), .. } if reply.is_closed());
            if gone {
                connection.close(core, Closing::Peer);
            }
        }
        (What::Broken(why), Some(connection)) => connection.close(core, why),
        (What::Get(_, reply) | What::Post(_, reply), None) => {
            let _ = reply.send(Answer::Bad(BadRequest::UnknownSession));
        }
        (What::Process | What::Cancelled | What::Broken(_), None) => {}
    }
}

fn get(core: &Rc<Core>, connection: &Rc<Connection>, stamp: Option<Stamp>, reply: oneshot::Sender<Answer>) {
    let upgrading = connection.engine.borrow().is_upgrading();
    let mut link = connection.link();
    match &mut *link {
        Link::Polling { waiting: None, stamps, .. }
            if stamps.is_repeat(stamp) && connection.may_be_resumed() =>
        {
            // What was in the answer to the first is gone. Whoever gets the next instead does not know; whoever resumes gets it.
            drop(link);
            let _ = reply.send(Answer::Bad(BadRequest::UnknownSession));
            connection.close(core, Closing::Peer);
        }
        Link::Polling { waiting: Some(_), .. } => {
            drop(link);
            let _ = reply.send(Answer::Bad(BadRequest::BadRequest));
            connection.close(core, Closing::Malformed("two GETs at once"));
        }
        Link::Polling { stamps, .. } if upgrading => {
            stamps.ask(stamp);
            let _ = reply.send(Answer::Packets(b"6".to_vec()));
        }
        Link::Polling { waiting, stamps, .. } => {
            stamps.ask(stamp);
            *waiting = Some(reply);
            drop(link);
            connection.flush(core);
        }
        Link::Websocket(_) | Link::Closed => {
            let _ = reply.send(Answer::Bad(BadRequest::BadRequest));
        }
    }
}

fn post(core: &Rc<Core>, connection: &Rc<Connection>, body: &Bytes) -> Answer {
    if connection.engine.borrow().transport() != Transport::Polling {
        return Answer::Bad(BadRequest::BadRequest);
    }
    core.count(|tally| tally.read_bytes(Transport::Polling, body.len()));
    let decoded = payload::decode(body, connection.limits(), &mut |item| match item {
        Item::Packet(packet) => {
            connection.receive(core, Transport::Polling, packet);
        }
        Item::Binary(bytes) => connection.receive_binary(core, Transport::Polling, &bytes),
    });
    if decoded.is_err() {
        connection.close(core, Closing::Malformed("parse error"));
        return Answer::Bad(BadRequest::BadRequest);
    }
    Answer::Taken
}

/// Takes the POST that had to wait, if there is one. Whether what it brought is to be processed at once, because whoever sent it
/// is gone and will not ask for it.
pub(crate) fn take_held(core: &Rc<Core>, connection: &Rc<Connection>) -> bool {
    let held = match &mut *connection.link() {
        Link::Polling { held, .. } => held.take(),
        Link::Websocket(_) | Link::Closed => None,
    };
    let Some((body, reply)) = held.map(|held| *held) else { return false };
    let is_gone = reply.is_closed();
    let _ = reply.send(post(core, connection, &body));
    is_gone
}

/// Lets `stream` try to take over the session.
pub(crate) fn upgrade(core: &Rc<Core>, upgrade: Upgrade) {
    let stream = match upgrade.stream {
        Moving::Tls(stream) => stream,
        Moving::Tcp(tcp) => match tokio::net::TcpStream::from_std(tcp) {
            Ok(tcp) => Stream::Tcp(tcp.into()),
            Err(error) => return tracing::warn!(%error, "a socket could not change cores"),
        },
    };
    let stream = Rc::new(stream);
    let Some(connection) = find(core, upgrade.key) else { return stream.shutdown() };
    if !connection.engine.borrow_mut().begin_upgrade() {
        return stream.shutdown();
    }
    let by = core.now() + connection.mount.upgrade_timeout;
    match &mut *connection.link() {
        Link::Polling { probing, .. } => *probing = Some((stream.clone(), by)),
        Link::Websocket(_) | Link::Closed => return stream.shutdown(),
    }
    core.look_again(&connection, by);
    tokio::task::spawn_local(websocket::read(core.clone(), connection, stream, upgrade.early));
}

/// Answers the GET that waits with a noop, so that the client can end its polling.
pub(crate) fn release(core: &Rc<Core>, connection: &Rc<Connection>) {
    connection.flush(core);
    if let Link::Polling { waiting, .. } = &mut *connection.link()
        && let Some(reply) = waiting.take()
    {
        let _ = reply.send(Answer::Packets(b"6".to_vec()));
    }
}

//! Serving polling requests, and the change from polling to WebSocket.
//!
//! A polling request may arrive on any core; the session's core is found by the session id and gets the request as a letter,
//! with a place to leave the answer.

use std::net::TcpStream;
use std::rc::Rc;

use antiphon_wire::engine::payload::{self, Item};
use antiphon_wire::engine::{BadRequest, Transport};
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::cores::Core;
use crate::session::{Closing, Connection, Link};
use crate::transport::{Stream, websocket};
use crate::wheel::Key;

/// Which core has a session, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) core: u16,
    pub(crate) key: Key,
}

/// A request for a session.
pub(crate) struct Request {
    pub(crate) key: Key,
    pub(crate) what: What,
}

/// What it asks.
pub(crate) enum What {
    /// Wait for packets.
    Get(oneshot::Sender<Answer>),
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
        (What::Get(reply), Some(connection)) => get(core, &connection, reply),
        (What::Post(body, reply), Some(connection)) => {
            let _ = reply.send(post(core, &connection, &body));
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
        (What::Get(reply) | What::Post(_, reply), None) => {
            let _ = reply.send(Answer::Bad(BadRequest::UnknownSession));
        }
        (What::Process | What::Cancelled | What::Broken(_), None) => {}
    }
}

fn get(core: &Rc<Core>, connection: &Rc<Connection>, reply: oneshot::Sender<Answer>) {
    let upgrading = connection.engine.borrow().is_upgrading();
    let mut link = connection.link();
    match &mut *link {
        Link::Polling { waiting: Some(_), .. } => {
            drop(link);
            let _ = reply.send(Answer::Bad(BadRequest::BadRequest));
            connection.close(core, Closing::Malformed("two GETs at once"));
        }
        Link::Polling { .. } if upgrading => {
            let _ = reply.send(Answer::Packets(b"6".to_vec()));
        }
        Link::Polling { waiting, .. } => {
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
    let decoded = payload::decode(body, &connection.mount.limits, &mut |item| match item {
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

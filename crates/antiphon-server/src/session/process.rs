//! What a packet does: one translation in, one decision, one translation out.
//!
//! Packets of one connection are processed one after the other, in the order sent.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::Caller;
use antiphon_core::dialect::{Args, Inbound, Out};
use antiphon_core::ids::ConnectionId;
use antiphon_core::refusal::Refusal;
use antiphon_wire::socket::{Encoded, Event, Incoming};
use bytes::Bytes;

use super::{Closing, Connection, Socket};
use crate::cores::Core;
use crate::mount::{Voice, VoiceId};

impl Connection {
    /// Processes every packet that waits. Returns at once if that is already being done.
    ///
    /// The future is boxed so that a connection with nothing to process does not pay for its size.
    pub(crate) async fn process(self: &Rc<Self>, core: &Rc<Core>) {
        if self.begin_processing() {
            Box::pin(process(Processing { connection: self.clone(), core: core.clone() })).await;
        }
    }
}

/// Says that a connection is being processed, until dropped. A panic in a handler must not leave its connection waiting for
/// ever, whichever transport brought the packet: it ends that connection, and only that one.
struct Processing {
    connection: Rc<Connection>,
    core: Rc<Core>,
}

impl Drop for Processing {
    fn drop(&mut self) {
        self.connection.end_processing();
        if std::thread::panicking() {
            tracing::error!(
                connection = self.connection.key().slot,
                "a handler panicked; its connection is closed"
            );
            self.core.shared.counters.panicked();
            self.connection.close(&self.core, Closing::Failed);
        }
    }
}

async fn process(processing: Processing) {
    let (connection, core) = (&processing.connection, &processing.core);
    while let Some(packet) = connection.next_packet() {
        core.shared.breathe().await;
        match packet {
            Incoming::Connect { namespace, auth } => {
                connect(core, connection, namespace.as_str(), auth.as_deref()).await;
            }
            Incoming::Event(packet) => match socket_of(core, connection, packet.namespace.as_str()) {
                Some(socket) => event(core, &socket, packet).await,
                None => connection.close(core, Closing::Malformed("an event before CONNECT")),
            },
            Incoming::Disconnect { namespace } => {
                if let Some(socket) = socket_of(core, connection, namespace.as_str()) {
                    connection.sockets.borrow_mut().retain(|other| !Rc::ptr_eq(other, &socket));
                    socket.part(core);
                    connection.expect_socket(core);
                }
            }
            // Nothing that we send asks for an acknowledgement, so this answers a question never asked.
            Incoming::Ack(_) => core.shared.counters.unasked(),
        }
        if connection.is_closed() {
            break;
        }
    }
    if connection.is_leaving() {
        connection.close(core, Closing::Peer);
    }
}

fn socket_of(core: &Core, connection: &Connection, namespace: &str) -> Option<Rc<Socket>> {
    let sockets = connection.sockets.borrow();
    sockets.iter().find(|socket| core.shared.voice(socket.voice).namespace == namespace).cloned()
}

async fn connect(core: &Rc<Core>, connection: &Rc<Connection>, namespace: &str, auth: Option<&str>) {
    if socket_of(core, connection, namespace).is_some() {
        return connection.close(core, Closing::Malformed("a second CONNECT to one namespace"));
    }
    if connection.sockets.borrow().len() >= core.shared.limits.namespaces {
        return connection.push(core, Encoded::connect_error(namespace, "Too many namespaces", None));
    }
    let accepting = |id: &VoiceId| {
        let voice = core.shared.voice(*id);
        voice.namespace == namespace && voice.dialect.accepts(auth)
    };
    let Some(id) = connection.mount.voices.iter().copied().find(accepting) else {
        return connection.push(core, Encoded::connect_error(namespace, "Invalid namespace", None));
    };
    let voice = core.shared.voice(id);
    let admitted = match voice.dialect.credential(auth) {
        Ok(credential) => core.shared.auth.admit(&credential).await,
        Err(refusal) => Err(refusal),
    };
    if connection.is_closed() {
        return;
    }
    match admitted {
        Ok(actor) => seat(core, connection, id, Arc::clone(&actor), auth).await,
        Err(refusal) => {
            core.shared.counters.refused();
            let error = voice.dialect.refused(&refusal);
            connection.push(core, Encoded::connect_error(namespace, &error.message, error.data.as_deref()));
        }
    }
}

async fn seat(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    id: VoiceId,
    actor: Arc<antiphon_core::actor::Actor>,
    auth: Option<&str>,
) {
    let voice = core.shared.voice(id);
    let socket = {
        let mut sockets = core.sockets.borrow_mut();
        let entry = sockets.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer sockets than 2^32");
        let name = ConnectionId { core: core.index, slot, generation: core.next_generation() };
        let caller = Caller { actor, connection: Some(name) };
        let socket = Rc::new(Socket::new(name, connection.clone(), id, caller));
        entry.insert(socket.clone());
        socket
    };
    connection.sockets.borrow_mut().push(socket.clone());
    connection.expect_socket(core);
    connection.push(core, Encoded::connect(voice.namespace, &core.shared.random_id()));
    for topic in voice.dialect.seats(&socket.caller.actor) {
        core.join(socket.id(), &topic);
    }
    {
        let mut out = core.out.borrow_mut();
        out.clear();
        voice.dialect.welcome(&socket.caller.actor, auth, core.shared.now(), &mut out);
        say(core, connection, voice, &out);
    }
    core.shared.app.connected(&socket.caller).await;
    if connection.is_closed() {
        // It was closed, and reported gone, while the core was still being told that it had come.
        core.shared.app.disconnected(&socket.caller).await;
    }
}

async fn event(core: &Rc<Core>, socket: &Rc<Socket>, packet: Event) {
    let voice = core.shared.voice(socket.voice);
    let connection = &socket.connection;
    let args = Args::new(packet.args, packet.attachments.iter().map(|bytes| bytes.to_vec()).collect());
    let inbound = {
        let mut out = core.out.borrow_mut();
        out.clear();
        let inbound = voice.dialect.inbound(&packet.name, &args, core.shared.now(), &mut out);
        say(core, connection, voice, &out);
        if let (Inbound::Answered, Some(id)) = (&inbound, packet.id) {
            acknowledge(core, connection, voice, id, &out, None);
        }
        inbound
    };
    // An event that this API does not have is answered if that was asked for, and otherwise passed over.
    let passed_over = matches!(inbound, Inbound::Unknown);
    let outcome = match inbound {
        Inbound::Answered => return,
        Inbound::Command(command) => core.shared.app.handle(&socket.caller, command).await,
        Inbound::Refused(refusal) => Err(refusal),
        Inbound::Unknown => {
            core.shared.counters.unknown();
            Err(Refusal::invalid("There is no such event here."))
        }
    };
    if connection.is_closed() {
        return;
    }
    if outcome.is_err() {
        core.shared.counters.refused();
    }
    let mut out = core.out.borrow_mut();
    out.clear();
    voice.dialect.reply(&packet.name, &outcome, core.shared.now(), &mut out);
    if let Some(id) = packet.id {
        acknowledge(core, connection, voice, id, &out, outcome.as_ref().err());
    }
    if !passed_over {
        say(core, connection, voice, &out);
    }
}

/// Says every event in `out` to this client alone.
fn say(core: &Core, connection: &Rc<Connection>, voice: &Voice, out: &Out) {
    let attachments = attachments(out);
    for (name, args) in out.events() {
        connection.push(core, Encoded::event(voice.namespace, None, name, args, &attachments));
    }
}

/// Answers the client's acknowledgement callback: every event that carries an ack id is answered.
fn acknowledge(
    core: &Core,
    connection: &Rc<Connection>,
    voice: &Voice,
    id: u64,
    out: &Out,
    refusal: Option<&Refusal>,
) {
    let plain;
    let args = match (out.acked(), refusal) {
        (Some(args), _) => args,
        (None, None) => br#"{"ok":true}"#.as_slice(),
        (None, Some(refusal)) => {
            plain = plain_refusal(refusal);
            plain.as_bytes()
        }
    };
    connection.push(core, Encoded::ack(voice.namespace, id, args, &attachments(out)));
}

/// The ack of a refusal for which a dialect has no words of its own.
fn plain_refusal(refusal: &Refusal) -> String {
    let code = refusal.code.name();
    serde_json::json!({"ok": false, "error": {"code": code, "message": refusal.message}}).to_string()
}

fn attachments(out: &Out) -> Vec<Bytes> {
    out.attachments().iter().map(|bytes| Bytes::copy_from_slice(bytes)).collect()
}

impl Socket {
    /// Leaves every room at once and tells the core.
    pub(crate) fn part(self: &Rc<Self>, core: &Rc<Core>) {
        core.leave_all(self);
        core.sockets.borrow_mut().try_remove(self.id().slot as usize);
        let (socket, app) = (self.clone(), core.shared.app.clone());
        tokio::task::spawn_local(async move { app.disconnected(&socket.caller).await });
    }
}

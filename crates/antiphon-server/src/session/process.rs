//! What a packet does: one translation in, one decision, one translation out.
//!
//! Packets of one connection are processed one after the other, in the order sent.

use std::pin::Pin;
use std::rc::Rc;

use antiphon_core::actor::Claim;
use antiphon_core::command::Command;
use antiphon_core::dialect::{Args, Inbound};
use antiphon_core::ids::AgentId;
use antiphon_core::refusal::{Code, Refusal};
use antiphon_wire::socket::{Encoded, Event, Incoming};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use super::headcount::count_in;
use super::replying::{Told, acknowledge, plain_refusal, reply, say};
use super::seating::{refuse, seat};
use super::standing::{REFRESH, unless_revoked};
use super::{Closing, Connection, Dismissal, Socket};
use crate::cores::Core;
use crate::mount::VoiceId;
use crate::telemetry::context::{Whose, within};
use crate::telemetry::{Refused, SPANS, carry_out};
use crate::transport::polling;

impl Connection {
    /// Whether something that its client asked is still being done, or waits for that.
    pub(crate) fn is_busy(&self) -> bool {
        self.state.get().processing || !self.inbox.borrow().is_empty()
    }

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
                connection = %self.connection.name(&self.core),
                "a handler panicked; its connection is closed"
            );
            self.core.shared.counters.panicked();
            self.connection.close(&self.core, Closing::Failed);
        }
        self.connection.close_if_retired(&self.core);
    }
}

async fn process(processing: Processing) {
    let (connection, core) = (&processing.connection, &processing.core);
    loop {
        let Some(packet) = connection.next_packet() else {
            if polling::take_held(core, connection) {
                continue;
            }
            break;
        };
        core.shared.breathe().await;
        let whose = Whose { connection: Some(connection.name(core)), request: Some(core.next_request()) };
        match packet {
            Incoming::Connect { namespace, auth } => {
                let span = tracing::info_span!(
                    target: SPANS, "connect", connection = %connection.name(core), dialect = Empty, code = Empty,
                );
                let connecting = connect(core, connection, namespace.as_str(), auth.as_deref());
                within(whose, connecting.instrument(span)).await;
            }
            Incoming::Event(packet) => match socket_of(core, connection, packet.namespace.as_str()) {
                Some(socket) => {
                    if let Some(join) = within(whose, event(core, &socket, packet)).await {
                        return go_on_aside(processing, socket, join, whose);
                    }
                }
                // A client that was sent out of a namespace goes on speaking there until it hears of it.
                None if connection.has_dismissed() => {}
                None => connection.close(core, Closing::Malformed("an event before CONNECT")),
            },
            Incoming::Disconnect { namespace } => {
                if let Some(socket) = socket_of(core, connection, namespace.as_str()) {
                    connection.take_out(&socket);
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

/// Catches up and then processes what else waits, while whoever read the packet goes on reading: heartbeats are answered and the
/// end of the client is noticed, however long that takes.
fn go_on_aside(processing: Processing, socket: Rc<Socket>, join: CatchUp, whose: Whose) {
    let aside: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
        within(whose, join.run(&processing.core, &socket)).await;
        process(processing).await;
    });
    tokio::task::spawn_local(aside);
}

/// A join that has yet to tell the past.
struct CatchUp {
    agent: AgentId,
    person: Claim,
    after: u64,
    /// How it was asked.
    name: String,
    id: Option<u64>,
    args: Args,
}

impl CatchUp {
    async fn run(self, core: &Rc<Core>, socket: &Rc<Socket>) {
        let Self { agent, person, after, name, id, args } = self;
        let outcome = socket.join_after(core, agent, person, after).await;
        if socket.is_gone(core) || socket.connection.is_closed() {
            return;
        }
        reply(core, socket, (&name, id), &outcome, Told::InFull);
        // A client that did not want to wait for so long has said it again meanwhile, and was told all of that.
        let namespace = core.shared.voice(socket.voice).namespace;
        while outcome.is_ok()
            && let Some(repeat) = socket.connection.next_repeat(namespace, &name, args.json())
        {
            reply(core, socket, (&name, repeat.id), &outcome, Told::InFull);
        }
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
        core.count(|tally| tally.refused(Refused::Namespace));
        return connection.push(core, Encoded::connect_error(namespace, "Too many namespaces", None));
    }
    let accepting = |id: &VoiceId| {
        let voice = core.shared.voice(*id);
        voice.namespace == namespace && voice.dialect.accepts(auth)
    };
    let Some(id) = connection.mount.voices.iter().copied().find(accepting) else {
        core.count(|tally| tally.refused(Refused::Namespace));
        return connection.push(core, Encoded::connect_error(namespace, "Invalid namespace", None));
    };
    let voice = core.shared.voice(id);
    Span::current().record("dialect", voice.dialect.name());
    let credential = connection.may_speak(core).and_then(|()| voice.dialect.credential(auth));
    let admitted = match credential {
        Ok(credential) => {
            let lookup = core.shared.auth.admit(&credential, voice.dialect.name(), core.shared.now());
            unless_revoked(core, lookup).await
        }
        Err(refusal) => Err(refusal),
    };
    if connection.is_over() {
        return;
    }
    let counted = admitted.and_then(|actor| count_in(core, &actor).map(|counted| (actor, counted)));
    match counted {
        Ok((actor, counted)) => seat(core, connection, id, (actor, counted), auth).await,
        Err(refusal) => refuse(core, connection, id, &refusal),
    }
}

/// Returns what is left to do if that takes as long as the client needs to read.
async fn event(core: &Rc<Core>, socket: &Rc<Socket>, packet: Event) -> Option<CatchUp> {
    let voice = core.shared.voice(socket.voice);
    let connection = &socket.connection;
    let asked = (&*packet.name, packet.id);
    if let Err(refusal) = connection.may_speak(core) {
        reply(core, socket, asked, &Err(refusal), Told::InFull);
        return None;
    }
    let args = Args::new(packet.args, packet.attachments.iter().map(|bytes| bytes.to_vec()).collect());
    if packet.name == REFRESH {
        // In a box, so that an ordinary event does not carry its size.
        Box::pin(refresh(core, socket, packet.id, &args)).await;
        return None;
    }
    if !socket.is_good(core) {
        let message = "Your credential has expired; antiphon:refresh brings a new one.";
        let refusal = Refusal::new(Code::Unauthenticated, message);
        // The grace may have ended just now.
        if !socket.is_gone(core) {
            reply(core, socket, asked, &Err(refusal), Told::InFull);
        }
        return None;
    }
    let inbound = {
        let mut out = core.out.borrow_mut();
        out.clear();
        let inbound = voice.dialect.inbound(&packet.name, &args, core.shared.now(), &mut out);
        say(core, socket, &out);
        if let (Inbound::Answered, Some(id)) = (&inbound, packet.id) {
            acknowledge(core, connection, voice, id, &out, None);
        }
        inbound
    };
    let is_known = !matches!(inbound, Inbound::Unknown);
    core.count(|tally| tally.received(socket.voice, is_known.then_some(&*packet.name)));
    let (outcome, told) = match inbound {
        Inbound::Answered => return None,
        Inbound::Command(Command::JoinConversation { agent, person, after: Some(after) }) => {
            return Some(CatchUp { agent, person, after, name: packet.name, id: packet.id, args });
        }
        Inbound::Command(command) => {
            let caller = socket.caller();
            (carry_out(&core.shared.app, &caller, command).await, Told::InFull)
        }
        // In a box, so that an ordinary event does not carry its size.
        Inbound::Identify(credential) => (Box::pin(socket.identify(core, &credential)).await, Told::InFull),
        Inbound::Refused(refusal) => (Err(refusal), Told::InFull),
        Inbound::Unknown => {
            core.shared.counters.unknown();
            let (name, bytes) = (connection.name(core), packet.name.len());
            tracing::debug!(connection = %name, bytes, "an unknown event");
            if !connection.may_be_unknown(core) {
                connection.dismiss(core, Dismissal::Unknown);
                return None;
            }
            // It is answered if that was asked for, and otherwise passed over.
            (Err(Refusal::invalid("There is no such event here.")), Told::IfAsked)
        }
    };
    if !socket.is_gone(core) {
        reply(core, socket, asked, &outcome, told);
    }
    None
}

/// Replaces the credential of `socket` by the one that `args` bring. The same on every mount: the acknowledgement is ours. Who asks
/// for none hears of a refusal in the words of the dialect.
async fn refresh(core: &Rc<Core>, socket: &Rc<Socket>, id: Option<u64>, args: &Args) {
    core.count(|tally| tally.received(socket.voice, Some(REFRESH)));
    let renewed = socket.refresh(core, args).await;
    if socket.is_gone(core) {
        return;
    }
    let ack = match (renewed, id) {
        (Ok(expires_at), _) => serde_json::json!({"ok": true, "expiresAt": expires_at}).to_string(),
        (Err(refusal), None) => return reply(core, socket, (REFRESH, None), &Err(refusal), Told::InFull),
        (Err(refusal), Some(_)) => {
            core.shared.counters.refused();
            core.count(|tally| tally.refusal(socket.voice, refusal.code.name()));
            plain_refusal(&refusal)
        }
    };
    if let Some(id) = id {
        core.count(|tally| tally.acknowledged(socket.voice));
        let namespace = core.shared.voice(socket.voice).namespace;
        socket.connection.push(core, Encoded::ack(namespace, id, ack.as_bytes(), &[]));
    }
}

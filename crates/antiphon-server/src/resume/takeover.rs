//! How a new connection takes a session up.
//!
//! The new socket sits in every room before the old one leaves any, and holds what it hears there. Then it gets the journal,
//! says what its client has missed, and goes on with what it held and the journal does not have: no hole, and nothing twice.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::Actor;
use antiphon_core::ids::ConnectionId;
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use antiphon_wire::socket::Encoded;
use tokio::sync::oneshot;

use super::asked::Pid;
use super::claim::Denied;
use super::recovery::{Bound, Kept};
use super::registry::Place;
use super::{Asked, Claim, HandOver, Offset, Reason, Recovery};
use crate::cores::Core;
use crate::hub::Mail;
use crate::mount::VoiceId;
use crate::session::{Connection, Dismissal, Socket};

/// How often a session is looked for again that has moved while it was asked for.
const TRIES: usize = 3;

/// What came of a try.
pub(crate) enum TakenUp {
    /// The client has its session back, unless it has gone meanwhile.
    Yes,
    /// It needs a fresh one.
    No(Reason),
    /// It is not let in at all.
    Refused(Refusal),
}

/// Takes up the session that `asked` names for `actor`, who was let in over `connection` just now, and speaks in `voice`.
/// `counted` says whether they were counted for their person; it is `false` afterwards if a socket has it, or gave it back.
pub(crate) async fn take_up(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    voice: VoiceId,
    (actor, counted): (&Arc<Actor>, &mut bool),
    asked: &Asked,
) -> TakenUp {
    let Some(pid) = &asked.pid else { return TakenUp::No(Reason::New) };
    let heard = core.heard.borrow().count();
    let bound = Bound::of(core, connection, voice, actor);
    let hold = Arc::new(());
    let wanted = Wanted { pid, bound: &bound, offset: asked.offset.as_deref(), hold: &hold };
    let (former, topics) = match wanted.claim(core).await {
        Ok(claimed) => claimed,
        Err(reason) => return TakenUp::No(reason),
    };
    if core.heard.borrow().since(heard, actor) {
        return TakenUp::Refused(Dismissal::Revoked.refusal());
    }
    if connection.is_over() {
        return TakenUp::No(Reason::Unknown);
    }
    let now = core.shared.uptime();
    let recovery = Recovery::pending(pid.hash(), bound.clone(), former, core.numbers.last(), now);
    let socket = connection.place(core, voice, (actor.clone(), std::mem::take(counted)), Some(recovery));
    match inherit(core, &socket, former, &topics, asked).await {
        Ok((kept, had)) => {
            go_on(core, &socket, pid, kept, had);
            TakenUp::Yes
        }
        Err(reason) => {
            undo(core, &socket);
            TakenUp::No(reason)
        }
    }
}

/// A session that somebody wants.
struct Wanted<'a> {
    pid: &'a Pid,
    bound: &'a Bound,
    offset: Option<&'a str>,
    hold: &'a Arc<()>,
}

impl Wanted<'_> {
    /// Finds the session and has it kept: the socket that has it, and where it listens.
    async fn claim(&self, core: &Core) -> Result<(ConnectionId, Vec<Topic>), Reason> {
        let pid = self.pid.hash();
        for _ in 0..TRIES {
            let at = match core.shared.sessions.find(&pid) {
                Place::At(at) => at,
                Place::Over(why) => return Err(why),
            };
            let (answer, answered) = oneshot::channel();
            let claim = Claim {
                session: at,
                bound: self.bound.clone(),
                offset: self.offset.map(Into::into),
                hold: Arc::downgrade(self.hold),
                answer,
            };
            post(core, at, Mail::Claim(Box::new(claim)));
            match answered.await {
                Ok(Ok(topics)) => return Ok((at, topics)),
                Ok(Err(Denied::Because(why))) => return Err(why),
                Ok(Err(Denied::Elsewhere)) | Err(_) => {}
            }
        }
        // Whoever it goes to and fro between is there.
        Err(Reason::InUse)
    }
}

/// Seats `socket` where the session listens and has it handed over: what is kept of it, and what its client has had.
async fn inherit(
    core: &Rc<Core>,
    socket: &Rc<Socket>,
    former: ConnectionId,
    topics: &[Topic],
    asked: &Asked,
) -> Result<(Kept, Option<Offset>), Reason> {
    socket.hold(core);
    let caller = socket.caller();
    let own = core.shared.voice(socket.voice).dialect.seats(&caller.actor);
    for topic in &own {
        core.join(socket.id(), topic);
    }
    let others: Vec<_> = topics.iter().filter(|topic| !own.contains(topic)).cloned().collect();
    if core.shared.app.rejoin(&caller, &others).await.len() < others.len() {
        post(core, former, Mail::MakeRoom(former));
        return Err(Reason::Forbidden);
    }
    // Before the old one goes: somebody who comes back at once was never away.
    core.shared.app.connected(&caller).await;
    // Who published just now and did not find this one in its rooms has found the old one, and has told it.
    core.shared.app.ports().bus.settled().await;
    let (answer, answered) = oneshot::channel();
    post(core, former, Mail::HandOver(Box::new(HandOver { session: former, heir: socket.id(), answer })));
    let mut kept = answered.await.map_err(|_| Reason::Unknown)?;
    let had = kept.had(asked.offset.as_deref())?;
    let position = kept.journal.position(had)?;
    // Before anything of it is confirmed: this core may hear late what the client has had long ago.
    if let Some(recovery) = &socket.recovery {
        recovery.told.replace(kept.journal.events().cloned().collect());
    }
    if let Some(had) = had {
        kept.journal.confirm(position, had);
    }
    Ok((kept, had))
}

/// Says what was missed, and goes on.
fn go_on(core: &Rc<Core>, socket: &Rc<Socket>, pid: &Pid, kept: Kept, had: Option<Offset>) {
    let Some(recovery) = &socket.recovery else { return };
    if socket.is_gone(core) {
        // It was sent away meanwhile, and its session with it.
        core.session_ends(socket, recovery, Reason::Unknown);
        return socket.say_gone(core);
    }
    let namespace = core.shared.voice(socket.voice).namespace;
    socket.connection.push(core, Encoded::connected(namespace, &pid.answer(&kept.sid, None)));
    core.session_has_come(recovery, kept);
    socket.replay(core, had);
    socket.release(core, |envelope| recovery.has_told(envelope, core.shared.uptime()));
    // Not before: what it held has been read here, so nothing else would bring it back.
    core.session_is_here(socket);
    if socket.is_ghost() {
        // It left, and was reported gone, while the core was still being told that it had come.
        return socket.say_gone(core);
    }
    socket.stand(core);
    // What was missed may fill the outbox; what comes next should find room.
    socket.connection.flush(core);
}

/// Takes a socket out again that did not get its session.
fn undo(core: &Rc<Core>, socket: &Rc<Socket>) {
    socket.connection.take_out(socket);
    if socket.is_ghost() {
        socket.vanish(core, Reason::Unknown);
        socket.say_gone(core);
    } else if socket.is_gone(core) {
        socket.say_gone(core);
    } else {
        socket.part(core);
    }
}

fn post(core: &Core, to: ConnectionId, mail: Mail) {
    if let Some(mailbox) = core.shared.mailboxes.get(usize::from(to.core)) {
        mailbox.post(mail);
    }
}

impl Bound {
    /// That of `actor`, who speaks in `voice` over `connection`.
    pub(crate) fn of(core: &Core, connection: &Connection, voice: VoiceId, actor: &Actor) -> Self {
        let voice = core.shared.voice(voice);
        Self {
            principal: actor.principal.clone(),
            dialect: voice.dialect.name().into(),
            namespace: voice.namespace.into(),
            mount: connection.mount.path.as_str().into(),
        }
    }
}

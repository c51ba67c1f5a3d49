//! How a new connection takes a session up.
//!
//! The new socket sits in every room before the old one leaves any, and holds what it hears there. Then it gets the journal,
//! says what its client has missed, and goes on with what it held and the journal does not have: no hole, and nothing twice.
//!
//! Cores are not equally quick, so twice a core [draws level](Core::draw_level) with all that was published so far: before the new
//! socket sits anywhere, so that it hears nothing that its client has had from a socket before the old one; and before it goes
//! on, so that whatever it heard as well as the old one is among what it holds.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::Actor;
use antiphon_core::event::Envelope;
use antiphon_core::ids::ConnectionId;
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use antiphon_wire::socket::Encoded;
use tokio::sync::oneshot;

use super::asked::Pid;
use super::claim::{Denied, HandedOver, Heritage};
use super::recovery::Bound;
use super::registry::Place;
use super::{Asked, Claim, HandOver, Offset, Reason, Recovery};
use crate::cores::Core;
use crate::hub::Mail;
use crate::mount::VoiceId;
use crate::session::{Connection, Dismissal, Socket};

/// How often a session is looked for again that has moved while it was asked for, or asked for again that listens elsewhere by now.
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
    core.draw_level().await;
    if core.heard.borrow().since(heard, actor) {
        return TakenUp::Refused(Dismissal::Revoked.refusal());
    }
    if connection.is_over() {
        return TakenUp::No(Reason::Unknown);
    }
    let now = core.shared.uptime();
    let recovery = Recovery::pending(pid.hash(), bound.clone(), former, core.numbers.last(), now);
    let socket = connection.place(core, voice, (actor.clone(), std::mem::take(counted)), Some(recovery));
    match inherit(core, &socket, (former, topics), &bound, asked).await {
        Ok(inherited) => {
            go_on(core, &socket, pid, inherited);
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

/// A session that was handed over.
struct Inherited {
    heritage: Heritage,
    /// What its client has had.
    had: Option<Offset>,
    /// The events that the former socket was told.
    told: Vec<Arc<Envelope>>,
}

/// Seats `socket` where the session of `former` listens, which is in `topics`, and has it handed over.
async fn inherit(
    core: &Rc<Core>,
    socket: &Rc<Socket>,
    (former, topics): (ConnectionId, Vec<Topic>),
    bound: &Bound,
    asked: &Asked,
) -> Result<Inherited, Reason> {
    socket.hold(core);
    let caller = socket.caller();
    let own = core.shared.voice(socket.voice).dialect.seats(&caller.actor);
    for topic in &own {
        core.join(socket.id(), topic);
    }
    let (mut seated, mut wanted) = (Vec::new(), topics);
    for again in 0..TRIES {
        if move_to(core, socket, &own, &seated, &wanted).await.is_err() {
            post(core, former, Mail::MakeRoom(former));
            return Err(Reason::Forbidden);
        }
        seated = wanted;
        if again == 0 {
            // Before the old one goes: somebody who comes back at once was never away.
            core.shared.app.connected(&caller).await;
        }
        // Who published just now and did not find this one in its rooms has found the old one, and has told it.
        core.shared.app.ports().bus.settled().await;
        let (answer, answered) = oneshot::channel();
        let (heir, bound, topics) = (socket.id(), bound.clone(), seated.clone());
        post(
            core,
            former,
            Mail::HandOver(Box::new(HandOver { session: former, heir, bound, topics, answer })),
        );
        match answered.await.map_err(|_| Reason::Unknown)? {
            HandedOver::Yes(heritage) => return come_into(core, *heritage, asked).await,
            // What the client asked over its old connection was done only now.
            HandedOver::Elsewhere(topics) => wanted = topics,
            HandedOver::No(why) => return Err(why),
        }
    }
    // Whoever moves about like that is there.
    Err(Reason::InUse)
}

/// Has `socket`, which sits in `own` whatever the session does, sit in the topics `to` instead of those `from`. An error says that it
/// may not sit in all of them.
async fn move_to(
    core: &Core,
    socket: &Socket,
    own: &[Topic],
    from: &[Topic],
    to: &[Topic],
) -> Result<(), ()> {
    let without = |topics: &[Topic], others: &[Topic]| -> Vec<Topic> {
        topics.iter().filter(|topic| !own.contains(topic) && !others.contains(topic)).cloned().collect()
    };
    let (left, entered) = (without(from, to), without(to, from));
    for topic in &left {
        core.leave(socket.id(), topic);
    }
    socket.forget_said_in(&left);
    let seated = core.shared.app.rejoin(&socket.caller(), &entered).await;
    if seated.len() < entered.len() { Err(()) } else { Ok(()) }
}

/// What follows from `heritage` for the client that `asked`.
async fn come_into(core: &Core, mut heritage: Heritage, asked: &Asked) -> Result<Inherited, Reason> {
    let kept = &mut heritage.kept;
    let had = kept.had(asked.offset.as_deref())?;
    let position = kept.journal.position(had)?;
    // Before anything of it is confirmed: this core may hear late what the client has had.
    let told: Vec<_> = kept.journal.events().cloned().collect();
    if let Some(had) = had {
        kept.journal.confirm(position, had);
    }
    core.draw_level().await;
    Ok(Inherited { heritage, had, told })
}

/// Says what was missed, and goes on.
fn go_on(core: &Rc<Core>, socket: &Rc<Socket>, pid: &Pid, inherited: Inherited) {
    let Inherited { heritage: Heritage { kept, recalled }, had, told } = inherited;
    let Some(recovery) = &socket.recovery else { return };
    if socket.is_gone(core) {
        // It was sent away meanwhile, and its session with it.
        core.session_ends(socket, recovery, Reason::Unknown);
        return socket.say_gone(core);
    }
    let namespace = core.shared.voice(socket.voice).namespace;
    socket.connection.push(core, Encoded::connected(namespace, &pid.answer(&kept.sid, None)));
    core.session_has_come(recovery, kept);
    socket.was_recalled(recalled);
    socket.replay(core, had);
    let told: HashSet<_> = told.iter().map(Arc::as_ptr).collect();
    socket.release(core, |envelope| {
        // One that was for those elsewhere alone may have come when this one did not sit there yet. The old one did.
        let is_said_elsewhere = envelope.unless.as_ref().is_some_and(|topic| socket.sits_in(topic));
        is_said_elsewhere || told.contains(&Arc::as_ptr(envelope))
    });
    // Not before: what it held has been read here, so nothing else would bring it back.
    core.session_is_here(socket);
    if socket.is_ghost() {
        if !core.may_wait(socket, recovery) {
            socket.vanish(core, Reason::TooMany);
        }
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

impl Core {
    /// Waits until this core has heard everything that was published before.
    async fn draw_level(&self) {
        self.shared.app.ports().bus.settled().await;
        self.empty_the_mailbox().await;
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

//! How somebody is let in: as a fresh socket, or in the place of one that was lost.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::Actor;
use antiphon_core::refusal::Refusal;
use antiphon_wire::socket::Encoded;
use tracing::Span;

use super::headcount::count_in;
use super::replying::say;
use super::{Connection, Socket};
use crate::cores::Core;
use crate::mount::VoiceId;
use crate::resume::{Asked, Bound, Journal, Kept, Pid, Reason, Recovery, TakenUp, take_up};

/// Keeps out whoever brought the CONNECT.
pub(super) fn refuse(core: &Core, connection: &Rc<Connection>, id: VoiceId, refusal: &Refusal) {
    core.shared.counters.refused();
    core.count(|tally| tally.refusal(id, refusal.code.name()));
    Span::current().record("code", refusal.code.name());
    let voice = core.shared.voice(id);
    let error = voice.dialect.refused(refusal);
    connection.push(core, Encoded::connect_error(voice.namespace, &error.message, error.data.as_deref()));
}

/// Lets `actor` in. What is counted for them is given back when the socket parts.
pub(super) async fn seat(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    id: VoiceId,
    admitted: (Arc<Actor>, bool),
    auth: Option<&str>,
) {
    match Asked::of(connection.mount.recovery, auth) {
        None => seat_afresh(core, connection, id, admitted, auth, None).await,
        // In a box, so that whoever does not ask does not carry its size.
        Some(asked) => Box::pin(seat_again(core, connection, id, admitted, auth, asked)).await,
    }
}

/// Lets `actor` in and gives them back what they lost, if that can be; otherwise what they can come back to later.
async fn seat_again(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    id: VoiceId,
    (actor, was_counted): (Arc<Actor>, bool),
    auth: Option<&str>,
    asked: Asked,
) {
    let mut counted = was_counted;
    let reason = match take_up(core, connection, id, (&actor, &mut counted), &asked).await {
        TakenUp::Yes => {
            core.shared.counters.resumed();
            return tracing::debug!(connection = %connection.name(core), "resumed");
        }
        TakenUp::No(reason) => Ok(reason),
        TakenUp::Refused(refusal) => Err(refusal),
    };
    let uncount = |counted: bool| {
        if let Some(person) = actor.person().filter(|_| counted) {
            core.shared.people.leave(person);
        }
    };
    if connection.is_over() {
        return uncount(counted);
    }
    let recounted = if was_counted && !counted { count_in(core, &actor) } else { Ok(counted) };
    let (reason, counted) = match (reason, recounted) {
        (Ok(reason), Ok(counted)) => (reason, counted),
        (Err(refusal), recounted) => {
            uncount(recounted.unwrap_or(false));
            return refuse(core, connection, id, &refusal);
        }
        (Ok(_), Err(refusal)) => return refuse(core, connection, id, &refusal),
    };
    if reason != Reason::New {
        core.shared.counters.lapsed();
        tracing::debug!(connection = %connection.name(core), ?reason, "not resumed");
    }
    let pid = Pid::random();
    let sid = core.shared.random_id();
    let answer = pid.answer(&sid, Some(reason));
    let kept = Kept { sid: sid.into(), stale: asked.offset, journal: Journal::new(core.numbers.last()) };
    let recovery = Recovery::new(pid.hash(), Bound::of(core, connection, id, &actor), kept);
    seat_afresh(core, connection, id, (actor, counted), auth, Some((recovery, answer))).await;
}

/// Lets `actor` in as somebody new, who may be resumed with this recovery if there is one; then that is how they are answered.
async fn seat_afresh(
    core: &Rc<Core>,
    connection: &Rc<Connection>,
    id: VoiceId,
    (actor, counted): (Arc<Actor>, bool),
    auth: Option<&str>,
    recovery: Option<(Recovery, String)>,
) {
    let voice = core.shared.voice(id);
    let (recovery, answer) = match recovery {
        None => (None, Encoded::connect(voice.namespace, &core.shared.random_id())),
        Some((recovery, answer)) => (Some(recovery), Encoded::connected(voice.namespace, &answer)),
    };
    let socket = connection.place(core, id, (actor.clone(), counted), recovery);
    if let Some(recovery) = &socket.recovery {
        core.session_begins(&socket, recovery);
    }
    connection.push(core, answer);
    for topic in voice.dialect.seats(&actor) {
        core.join(socket.id(), &topic);
    }
    {
        let mut out = core.out.borrow_mut();
        out.clear();
        voice.dialect.welcome(&actor, auth, core.shared.now(), &mut out);
        say(core, &socket, &out);
    }
    socket.stand(core);
    socket.arrive(core).await;
}

impl Connection {
    /// A socket of `actor` on this connection, who speaks in voice `id`.
    pub(crate) fn place(
        self: &Rc<Self>,
        core: &Rc<Core>,
        id: VoiceId,
        (actor, counted): (Arc<Actor>, bool),
        recovery: Option<Recovery>,
    ) -> Rc<Socket> {
        let socket = Socket::new(core, self.clone(), id, (actor, counted), recovery);
        let dialect = core.shared.voice(id).dialect.name();
        // The core knows connections by their sockets: this line says which is whose.
        tracing::debug!(connection = %self.name(core), socket = %socket.id(), dialect, "connected");
        self.sockets.borrow_mut().push(socket.clone());
        self.greet();
        core.count(|tally| tally.seated(id));
        self.expect_socket(core);
        socket
    }
}

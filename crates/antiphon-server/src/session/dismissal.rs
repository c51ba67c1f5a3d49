//! How a socket is sent away although its client would stay.
//!
//! It leaves every room first, so that nothing reaches it any more. Then it is told why in the words of its dialect, gets a
//! Socket.IO DISCONNECT, and its connection is closed unless another socket is left on it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use antiphon_core::refusal::{Code, Refusal};
use antiphon_wire::socket::Encoded;

use super::replying::say;
use super::{Closing, Connection, Link, Socket};
use crate::cores::Core;
use crate::resume::Reason;

/// Why a socket is sent away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dismissal {
    /// Its credential expired, and it brought no new one.
    Expired,
    /// Its credential was taken back.
    Revoked,
    /// Somebody who may said so.
    Ordered,
    /// It sent too many events that its dialect does not have.
    Unknown,
}

impl Dismissal {
    /// What the client is told.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            Self::Expired => Refusal::new(Code::Unauthenticated, "Your credential has expired."),
            Self::Revoked => Refusal::new(Code::BadCredential, "Your credential has been revoked."),
            Self::Ordered => Refusal::new(Code::Forbidden, "You have been disconnected."),
            Self::Unknown => Refusal::invalid("Too many events that are unknown here."),
        }
    }

    /// The reason in a WebSocket's close frame.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Expired => "credential expired",
            Self::Revoked => "credential revoked",
            Self::Ordered => "disconnected by the server",
            Self::Unknown => "too many unknown events",
        }
    }
}

impl Socket {
    /// Sends it away. Nothing happens if it is gone already.
    pub(crate) fn dismiss(self: &Rc<Self>, core: &Rc<Core>, why: Dismissal) {
        if self.is_ghost() {
            return self.vanish(core, Reason::Unknown);
        }
        let connection = &self.connection;
        if !connection.take_out(self) {
            return;
        }
        self.part(core);
        core.shared.counters.dismissed();
        tracing::debug!(connection = %connection.name(core), socket = %self.id(), ?why, "sent away");
        let voice = core.shared.voice(self.voice);
        {
            let mut out = core.out.borrow_mut();
            out.clear();
            // This may run in the core's turn, which a fault in one dialect must not end.
            let at = core.shared.now();
            let told =
                catch_unwind(AssertUnwindSafe(|| voice.dialect.dismissed(&why.refusal(), at, &mut out)));
            match told {
                Ok(()) => say(core, self, &out),
                Err(_) => tracing::error!(dialect = voice.dialect.name(), "saying goodbye panicked"),
            }
        }
        connection.push(core, Encoded::disconnect(voice.namespace));
        connection.update(|state| state.dismissed = true);
        if connection.sockets.borrow().is_empty() {
            connection.finish(core, why);
        }
    }
}

impl Connection {
    /// Sends every socket of it away.
    pub(super) fn dismiss(&self, core: &Rc<Core>, why: Dismissal) {
        // Copied, because whoever is sent away is taken out.
        let sockets = self.sockets.borrow().clone();
        for socket in sockets {
            socket.dismiss(core, why);
        }
    }

    /// Ends the session once the client has been told what waits for it; whatever it sends until then means nothing any more. Whoever
    /// polls has as long as for a CONNECT to come for it, and once more for the end: in one answer with the end, client libraries
    /// would see a connection that is lost, and come back.
    fn finish(self: &Rc<Self>, core: &Rc<Core>, why: Dismissal) {
        self.inbox.take();
        self.queued.set(0);
        if !matches!(&*self.link(), Link::Polling { .. }) {
            return self.close(core, Closing::Dismissed(why));
        }
        self.update(|state| state.finishing = Some(why));
        let by = core.now() + self.mount.connect_timeout;
        self.connect_by.set(by);
        core.look_again(self, by);
    }
}

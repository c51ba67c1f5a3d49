//! What is kept for one Socket.IO socket: a connection's membership of one namespace.

use std::cell::RefCell;
use std::rc::Rc;

use antiphon_core::actor::Caller;
use antiphon_core::ids::ConnectionId;
use smallvec::SmallVec;

use super::Connection;
use crate::hub::Seat;
use crate::mount::VoiceId;

/// A socket. The core knows it as a [`ConnectionId`].
pub(crate) struct Socket {
    id: ConnectionId,
    pub(crate) connection: Rc<Connection>,
    /// The dialect and namespace it speaks in.
    pub(crate) voice: VoiceId,
    /// Who it is.
    pub(crate) caller: Caller,
    /// Where it listens.
    pub(crate) seats: RefCell<SmallVec<[Seat; 3]>>,
}

impl Socket {
    pub(crate) fn new(id: ConnectionId, connection: Rc<Connection>, voice: VoiceId, caller: Caller) -> Self {
        Self { id, connection, voice, caller, seats: RefCell::default() }
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }
}

//! What is kept for one Socket.IO socket: a connection's membership of one namespace.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::{Actor, Caller};
use antiphon_core::ids::ConnectionId;
use smallvec::SmallVec;

use super::{Connection, Standing};
use crate::cores::Core;
use crate::hub::{Held, Recall, Seat};
use crate::mount::{Mount, VoiceId};
use crate::resume::{Reason, Recovery};

/// A socket. The core knows it as a [`ConnectionId`].
pub(crate) struct Socket {
    id: ConnectionId,
    pub(crate) connection: Rc<Connection>,
    /// The dialect and namespace it speaks in.
    pub(crate) voice: VoiceId,
    /// Who it is. Another credential of the same somebody may take the place of the first.
    pub(super) caller: RefCell<Caller>,
    /// How it stands with that credential.
    pub(super) standing: Cell<Standing>,
    /// Whether it is counted for its person.
    pub(super) counted: Cell<bool>,
    /// Where it listens.
    pub(crate) seats: RefCell<SmallVec<[Seat; 3]>>,
    /// What waits for it while it must not hear it.
    pub(crate) held: RefCell<Option<Box<Held>>>,
    /// Conversations whose past it is told, or was told last.
    pub(crate) recalls: RefCell<Vec<Recall>>,
    /// What is kept for it if it may be resumed.
    pub(crate) recovery: Option<Box<Recovery>>,
}

impl Socket {
    /// One on `core` of `actor`, who speaks in `voice`. `counted` says whether it is counted for its person, see
    /// [`Headcount`](super::Headcount).
    pub(super) fn new(
        core: &Core,
        connection: Rc<Connection>,
        voice: VoiceId,
        (actor, counted): (Arc<Actor>, bool),
        recovery: Option<Recovery>,
    ) -> Rc<Self> {
        let mut sockets = core.sockets.borrow_mut();
        let entry = sockets.vacant_entry();
        let slot = u32::try_from(entry.key()).expect("fewer sockets than 2^32");
        let id = ConnectionId { core: core.index, slot, generation: core.next_generation() };
        let socket = Rc::new(Self {
            id,
            connection,
            voice,
            caller: RefCell::new(Caller { actor, connection: Some(id) }),
            standing: Cell::new(Standing::Endless),
            counted: Cell::new(counted),
            seats: RefCell::default(),
            held: RefCell::default(),
            recalls: RefCell::default(),
            recovery: recovery.map(Box::new),
        });
        entry.insert(socket.clone());
        socket
    }

    /// That of a session of the last run, whose connection was lost with it: it counts for nobody.
    pub(crate) fn survivor(
        core: &Core,
        mount: Arc<Mount>,
        voice: VoiceId,
        actor: Arc<Actor>,
        recovery: Recovery,
    ) -> Rc<Self> {
        Self::new(core, Connection::lost(core, mount), voice, (actor, false), Some(recovery))
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.id
    }

    /// Who it is now.
    pub(crate) fn caller(&self) -> Caller {
        self.caller.borrow().clone()
    }

    /// Who it is now.
    pub(crate) fn actor(&self) -> Arc<Actor> {
        self.caller.borrow().actor.clone()
    }

    /// Tells the core that it has come, or that its guest has become somebody.
    pub(super) async fn arrive(&self, core: &Core) {
        let caller = self.caller();
        core.shared.app.connected(&caller).await;
        if self.is_gone(core) || self.is_ghost() {
            // It left, and was reported gone, while the core was still being told that it had come.
            core.shared.app.disconnected(&caller).await;
        }
    }

    /// Whether it has left, or was made to.
    pub(crate) fn is_gone(&self, core: &Core) -> bool {
        core.socket(self.id).is_none()
    }

    /// Leaves every room at once and tells the core. It cannot be resumed.
    pub(crate) fn part(self: &Rc<Self>, core: &Rc<Core>) {
        self.part_because(core, Reason::Unknown);
    }

    /// The same; whoever wants to resume it is told `why` they cannot.
    pub(crate) fn part_because(self: &Rc<Self>, core: &Rc<Core>, why: Reason) {
        core.leave_all(self);
        if let Some(recovery) = &self.recovery {
            core.session_ends(self, recovery, why);
        }
        core.sockets.borrow_mut().try_remove(self.id.slot as usize);
        self.withdraw(core);
    }

    /// Counts for nobody any more, and tells the core that it is gone.
    pub(crate) fn withdraw(self: &Rc<Self>, core: &Rc<Core>) {
        // Another credential may have come in the meantime, but never another person.
        if self.counted.replace(false)
            && let Some(person) = self.actor().person()
        {
            core.shared.people.leave(person);
        }
        core.count(|tally| tally.parted(self.voice));
        self.say_gone(core);
    }

    /// Tells the core that it is gone.
    pub(crate) fn say_gone(self: &Rc<Self>, core: &Rc<Core>) {
        let (socket, app) = (self.clone(), core.shared.app.clone());
        tokio::task::spawn_local(async move { app.disconnected(&socket.caller()).await });
    }
}

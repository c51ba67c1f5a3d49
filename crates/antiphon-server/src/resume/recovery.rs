//! What is kept for a socket that may be resumed.
//!
//! What outlives the connection, and could be written down, is [`Bound`] and [`Kept`]; the topics are the socket's seats.

use std::cell::{Cell, RefCell};
use std::sync::Weak;

use antiphon_core::actor::{Actor, Principal, SecretHash};
use antiphon_core::ids::ConnectionId;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::journal::Journal;
use super::{Offset, Reason};

/// What a socket has besides, if it may be resumed.
pub(crate) struct Recovery {
    /// The private name of its session, hashed.
    pub(super) pid: SecretHash,
    /// Who may resume it, and where.
    pub(super) bound: Bound,
    pub(super) kept: RefCell<Kept>,
    /// Whether its transport is gone.
    pub(super) is_ghost: Cell<bool>,
    /// Since when, in milliseconds since the start of this process; negative before it.
    pub(super) ghost_since: Cell<Option<i64>>,
    /// Whether its changes are written down.
    pub(super) is_written: Cell<bool>,
    /// Whether it was noted that its socket is told the past of a conversation.
    pub(super) is_catching_up: Cell<bool>,
    /// Whether it waits for what another core kept of its session.
    pub(super) is_pending: Cell<bool>,
    /// When it took its session up, in milliseconds since the start of this process.
    pub(super) resumed_at: Option<i64>,
    /// What the session's socket was called before this one took it up: what that one caused is no news to its client.
    pub(super) former: Option<ConnectionId>,
    /// Whoever is about to take the session up holds the other end.
    pub(super) claimed: RefCell<Weak<()>>,
    /// Told when the client has said anything, while that is in doubt.
    pub(super) doubt: RefCell<Option<oneshot::Sender<()>>>,
}

/// Whose a session is, and where it can be resumed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bound {
    /// Whoever began it.
    pub(crate) principal: Principal,
    /// The dialect that it speaks.
    pub(crate) dialect: Box<str>,
    /// The namespace in which it speaks.
    pub(crate) namespace: Box<str>,
    /// The path of its mount.
    pub(crate) mount: Box<str>,
}

/// What goes with a session from one connection to the next.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its public name.
    pub(crate) sid: Box<str>,
    /// The offset that its client had from an earlier session and will bring until it gets one from this.
    pub(crate) stale: Option<Box<str>>,
    pub(crate) journal: Journal,
}

impl Recovery {
    /// Of a session that begins with `kept`.
    pub(crate) fn new(pid: SecretHash, bound: Bound, kept: Kept) -> Self {
        Self {
            pid,
            bound,
            kept: RefCell::new(kept),
            is_ghost: Cell::new(false),
            ghost_since: Cell::new(None),
            is_written: Cell::new(false),
            is_catching_up: Cell::new(false),
            is_pending: Cell::new(false),
            resumed_at: None,
            former: None,
            claimed: RefCell::default(),
            doubt: RefCell::default(),
        }
    }

    /// Of one that takes up, at `now`, the session of the socket that is called `former`. What was kept for that comes later.
    pub(super) fn pending(
        pid: SecretHash,
        bound: Bound,
        former: ConnectionId,
        base: Offset,
        now: i64,
    ) -> Self {
        let recovery = Self::new(pid, bound, Kept::empty(base));
        recovery.is_pending.set(true);
        Self { resumed_at: Some(now), former: Some(former), ..recovery }
    }

    /// Whether whoever is `wanted` may have it: `actor`, who speaks for it now, and in the same place. A guest who became a person
    /// has left the guest behind.
    pub(super) fn is_of(&self, actor: &Actor, wanted: &Bound) -> bool {
        let Bound { principal, dialect, namespace, mount } = wanted;
        *principal == actor.principal
            && *dialect == self.bound.dialect
            && *namespace == self.bound.namespace
            && *mount == self.bound.mount
    }

    /// Its client has said something: whoever wants to know hears of it.
    pub(crate) fn is_there(&self) {
        if let Some(doubt) = self.doubt.take() {
            // Whoever wanted to know may have given up.
            let _ = doubt.send(());
        }
    }

    /// Whether its transport is gone.
    pub(crate) fn is_ghost(&self) -> bool {
        self.is_ghost.get()
    }

    /// Whether somebody is about to take it up.
    pub(super) fn is_claimed(&self) -> bool {
        self.is_pending.get() || self.claimed.borrow().strong_count() > 0
    }
}

impl Kept {
    /// Nothing yet, of a session to which nothing was said before `base`.
    pub(super) fn empty(base: Offset) -> Self {
        Self { sid: "".into(), stale: None, journal: Journal::new(base) }
    }

    /// The same with its journal at the end of what was said.
    pub(crate) fn without_entries(&self) -> Self {
        self.with(self.journal.without_entries())
    }

    /// The same with another journal.
    pub(super) fn with(&self, journal: Journal) -> Self {
        Self { sid: self.sid.clone(), stale: self.stale.clone(), journal }
    }

    /// What `offset`, as a client brings it, says about what it has had; `None` is nothing at all.
    pub(super) fn had(&self, offset: Option<&str>) -> Result<Option<Offset>, Reason> {
        match offset {
            None => Ok(None),
            Some(text) if self.stale.as_deref() == Some(text) => Ok(None),
            Some(text) => Offset::parse(text).map(Some).ok_or(Reason::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_core::actor::Plan;
    use antiphon_core::ids::PersonId;

    use super::super::Numbers;
    use super::*;

    #[test]
    fn a_guest_who_became_somebody_has_left_the_guest_behind() {
        let guest = Bound {
            principal: Principal::Guest,
            dialect: "chat".into(),
            namespace: "/".into(),
            mount: "/socket.io".into(),
        };
        let ada = Principal::Person(PersonId::parse("ada").unwrap());
        let as_ada = Bound { principal: ada.clone(), ..guest.clone() };
        let kept = Kept::empty(Numbers::new(1, 0).last());
        let recovery = Recovery::new(SecretHash([0; 32]), guest.clone(), kept);
        let plan = Arc::new(Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        });
        let [nobody, somebody] = [Principal::Guest, ada].map(|who| Actor::new(who, plan.clone()));
        assert!(recovery.is_of(&nobody, &guest) && !recovery.is_of(&nobody, &as_ada));
        assert!(recovery.is_of(&somebody, &as_ada) && !recovery.is_of(&somebody, &guest));
        let elsewhere = Bound { mount: "/elsewhere".into(), ..as_ada };
        assert!(!recovery.is_of(&somebody, &elsewhere));
    }
}

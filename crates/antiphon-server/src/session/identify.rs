//! How a connection says who it is after CONNECT: a guest becomes a person once, a person stays themselves.

use std::rc::Rc;

use antiphon_core::actor::Principal;
use antiphon_core::command::Outcome;
use antiphon_core::dialect::Credential;
use antiphon_core::refusal::{Code, Refusal};

use super::headcount::count_in;
use super::standing::unless_revoked;
use super::{Dismissal, Socket};
use crate::cores::Core;

impl Socket {
    /// From now on this socket is whoever `credential` proves: it is counted for them, and hears what its dialect has them hear.
    ///
    /// Whoever it already is may say so again, which changes nothing. Somebody else is refused as forbidden.
    pub(super) async fn identify(
        self: &Rc<Self>,
        core: &Rc<Core>,
        credential: &Credential,
    ) -> Result<Outcome, Refusal> {
        let dialect = &core.shared.voice(self.voice).dialect;
        let before = self.actor();
        let lookup = core.shared.auth.identify(&before, credential, dialect.name(), core.shared.now());
        let actor = unless_revoked(core, lookup).await?;
        // Packets of one connection are processed one after the other, so nothing but its end came in between.
        if self.is_gone(core) {
            return Err(Dismissal::Revoked.refusal());
        }
        match (&before.principal, &actor.principal) {
            (before, after) if before == after => return Ok(Outcome::Done),
            (Principal::Guest, Principal::Person(_)) => {}
            _ => return Err(Refusal::new(Code::Forbidden, "This connection is somebody else's.")),
        }
        self.counted.set(count_in(core, &actor)?);
        self.change_to(core, actor);
        core.session_changes_hands(self);
        tracing::debug!(connection = %self.connection.name(core), socket = %self.id(), "identified");
        self.arrive(core).await;
        Ok(Outcome::Done)
    }
}

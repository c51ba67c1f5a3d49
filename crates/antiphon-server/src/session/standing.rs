//! How a socket stands with its credential: good, expired and given some grace, or renewed in place.
//!
//! When a credential expires is the wall clock's to say, and the wall clock jumps. So the time that is left is measured once, when
//! the credential is accepted, and waited for on the monotonic clock; then the wall clock is asked again, and if there is time left
//! by then the rest is waited for, too. What has expired stays expired.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::Actor;
use antiphon_core::dialect::{Args, Credential};
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::{Code, Refusal};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{Connection, Dismissal, Socket};
use crate::cores::Core;

/// The event that brings a new credential: `{"token": "…"}`, acknowledged with `{"ok": true, "expiresAt": …}` (milliseconds since
/// the Unix epoch, or `null`) or `{"ok": false, "error": …}`. It is understood on every mount, besides the dialect's own events.
pub(super) const REFRESH: &str = "antiphon:refresh";

/// The event that says that the credential has expired.
const EXPIRING: &str = "antiphon:expiring";

/// How a socket stands. Times are milliseconds of its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Its credential does not expire.
    Endless,
    /// Its credential is good until then, when the clock is asked again.
    Good(u64),
    /// Its credential has expired; if there is no new one until then it has to go.
    Expired(u64),
}

impl Standing {
    /// When there is something to do.
    fn due(self) -> u64 {
        match self {
            Self::Endless => u64::MAX,
            Self::Good(at) | Self::Expired(at) => at,
        }
    }
}

/// What a client hears when its credential has expired.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Expiring {
    expires_at: Timestamp,
    /// When the connection is closed unless there is a new credential.
    closes_at: Timestamp,
    message: &'static str,
}

/// What a client brings.
#[derive(Deserialize)]
struct Refresh {
    token: String,
}

impl Socket {
    /// Begins to count the time of its credential, which was accepted just now.
    pub(crate) fn stand(&self, core: &Core) {
        let standing = match self.actor().expires_at {
            None => Standing::Endless,
            Some(at) => Standing::Good(core.now() + left(at, core.shared.now())),
        };
        self.standing.set(standing);
        if let Standing::Good(at) = standing {
            core.look_again(&self.connection, at);
        }
    }

    /// Whether its credential is good now, so that it may do something.
    pub(super) fn is_good(self: &Rc<Self>, core: &Rc<Core>) -> bool {
        if self.standing.get() == Standing::Endless {
            return true;
        }
        self.check(core, core.now());
        matches!(self.standing.get(), Standing::Endless | Standing::Good(_))
    }

    /// Does what is due at `now`: tells the client that its credential has expired, and sends it away when the grace is over.
    fn check(self: &Rc<Self>, core: &Rc<Core>, now: u64) {
        match (self.standing.get(), self.actor().expires_at) {
            (Standing::Good(until), Some(expires_at)) if now >= until => {
                let at = core.shared.now();
                let left = left(expires_at, at);
                if left > 0 {
                    return self.standing.set(Standing::Good(now + left));
                }
                let grace = core.shared.grace;
                self.standing.set(Standing::Expired(now + grace));
                self.say_expiring(core, expires_at, Timestamp(at.0.saturating_add_unsigned(grace)));
            }
            (Standing::Expired(until), _) if now >= until => self.dismiss(core, Dismissal::Expired),
            _ => {}
        }
    }

    fn say_expiring(&self, core: &Core, expires_at: Timestamp, closes_at: Timestamp) {
        let message =
            "Your credential has expired. Send antiphon:refresh with a new token to stay connected.";
        let payload = serde_json::to_vec(&Expiring { expires_at, closes_at, message });
        let payload = payload.expect("numbers and text serialize");
        core.count(|tally| tally.sent(self.voice, EXPIRING, 1));
        self.connection.push(core, self.frame(core, EXPIRING, &payload, &[]));
    }

    /// Replaces its credential by the one that `args` bring, if that is the same somebody's. It keeps its rooms, except for those
    /// that its dialect gives by role. Returns when the new one expires.
    pub(super) async fn refresh(
        self: &Rc<Self>,
        core: &Rc<Core>,
        args: &Args,
    ) -> Result<Option<Timestamp>, Refusal> {
        // The words of the parser would repeat what was sent, and that is a secret.
        let wrong = |_| Refusal::invalid("antiphon:refresh needs an object with token as text.");
        let Refresh { token } = args.first().map_err(wrong)?;
        let voice = core.shared.voice(self.voice);
        let (auth, credential, now) = (&core.shared.auth, Credential::Bearer(token), core.shared.now());
        let lookup = auth.authenticate(&credential, voice.dialect.name(), now);
        let actor = unless_revoked(core, lookup).await?;
        if self.is_gone(core) {
            return Err(Dismissal::Expired.refusal());
        }
        let before = self.actor();
        if actor.principal != before.principal {
            return Err(Refusal::new(Code::Forbidden, "This token is somebody else's."));
        }
        let expires_at = actor.expires_at;
        self.change_to(core, actor);
        core.shared.counters.renewed();
        Ok(expires_at)
    }

    /// From now on it is `actor`, as long as their credential is good, and sits where its dialect has them sit. It keeps its other
    /// rooms.
    pub(super) fn change_to(&self, core: &Rc<Core>, actor: Arc<Actor>) {
        let dialect = &core.shared.voice(self.voice).dialect;
        let (had, has) = (dialect.seats(&self.actor()), dialect.seats(&actor));
        self.caller.borrow_mut().actor = actor;
        self.stand(core);
        for topic in had.iter().filter(|topic| !has.contains(topic)) {
            core.leave(self.id(), topic);
        }
        for topic in has.iter().filter(|topic| !had.contains(topic)) {
            core.join(self.id(), topic);
        }
    }
}

impl Connection {
    /// Does what is due at `now` for the credentials on it, and returns when to come back for the next.
    pub(super) fn check_credentials(&self, core: &Rc<Core>, now: u64) -> u64 {
        let due = || self.sockets.borrow().iter().map(|socket| socket.standing.get().due()).min();
        if due().is_some_and(|due| due <= now) {
            // Copied, because whoever is sent away is taken out.
            let sockets: SmallVec<[Rc<Socket>; 1]> = self.sockets.borrow().clone();
            for socket in sockets {
                socket.check(core, now);
            }
        }
        due().unwrap_or(u64::MAX)
    }
}

/// Whom `lookup` finds, unless they are revoked while it looks.
pub(super) async fn unless_revoked(
    core: &Core,
    lookup: impl Future<Output = Result<Arc<Actor>, Refusal>>,
) -> Result<Arc<Actor>, Refusal> {
    let heard = core.heard.borrow().count();
    let actor = lookup.await?;
    if core.heard.borrow().since(heard, &actor) {
        return Err(Dismissal::Revoked.refusal());
    }
    Ok(actor)
}

/// Milliseconds from `now` until `at`; 0 when that is past.
fn left(at: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0)
}

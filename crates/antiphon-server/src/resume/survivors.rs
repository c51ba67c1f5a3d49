//! How the sessions of the last run wait for their clients in this one.
//!
//! Each becomes a ghost before anybody is let in, as if its connection had been lost a moment ago: it sits where it sat, has its
//! journal, hears what its core had not come to, and stays for the rest of its window.

use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::actor::{Actor, FALLBACK_PLAN, Plan};

use super::{Bound, Reason, Recovery, Survivor};
use crate::cores::Core;
use crate::mount::{Mount, VoiceId};
use crate::session::Socket;
use crate::shared::Shared;

/// Deals the sessions of the last run out to so many cores. In each share whoever has waited longest comes first.
pub(crate) fn deal(mut survivors: Vec<Survivor>, cores: usize) -> Vec<Vec<Survivor>> {
    survivors.sort_by_key(|survivor| survivor.left);
    let mut shares: Vec<Vec<Survivor>> = (0..cores).map(|_| Vec::new()).collect();
    for (number, survivor) in survivors.into_iter().enumerate() {
        shares[number % cores].push(survivor);
    }
    shares
}

/// Forgets the sessions that former runs have left in `directory`.
pub(crate) fn forget(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl Core {
    /// Has `survivors`, in the order of [`deal`], wait for their clients, as far as their place is among `mounts` and there is room;
    /// returns how many do. Whoever wants another one is told why not.
    pub(crate) fn seat_survivors(self: &Rc<Self>, survivors: Vec<Survivor>, mounts: &[Arc<Mount>]) -> usize {
        let mut seated = 0;
        for survivor in survivors {
            let pid = survivor.pid;
            match self.seat_survivor(survivor, mounts) {
                Ok(()) => seated += 1,
                Err(why) => self.shared.sessions.lapse(pid, why),
            }
        }
        self.write_down();
        seated
    }

    fn seat_survivor(self: &Rc<Self>, survivor: Survivor, mounts: &[Arc<Mount>]) -> Result<(), Reason> {
        let Survivor { pid, bound, kept, topics, unread, left } = survivor;
        if left <= 0 {
            return Err(Reason::Expired);
        }
        let (mount, voice) = place_of(&bound, &self.shared, mounts).ok_or(Reason::Unknown)?;
        let actor = Actor::new(bound.principal.clone(), Arc::new(unlimited()));
        let window = i64::try_from(self.shared.resume.window).unwrap_or(i64::MAX);
        let (now, left) = (self.shared.uptime(), left.min(window));
        let recovery = Recovery::new(pid, bound, kept);
        recovery.is_ghost.set(true);
        recovery.ghost_since.set(Some(now.saturating_sub(window - left)));
        let socket = Socket::survivor(self, mount.clone(), voice, Arc::new(actor), recovery);
        if !self.session_survives(&socket) {
            self.sockets.borrow_mut().try_remove(socket.id().slot as usize);
            return Err(Reason::TooMany);
        }
        for topic in &topics {
            if !self.join(socket.id(), topic) {
                // What it would not hear any more would be missing without a word.
                socket.vanish(self, Reason::Unknown);
                return Err(Reason::Unknown);
            }
        }
        for (letter, envelope) in unread {
            self.hear_late(&socket, letter, &envelope);
        }
        self.session_is_here(&socket);
        self.ghosts.stays(socket.id(), now.saturating_add(left));
        Ok(())
    }
}

/// Where the session of `bound` can be resumed, and how it is spoken to there.
fn place_of<'a>(
    bound: &Bound,
    shared: &Shared,
    mounts: &'a [Arc<Mount>],
) -> Option<(&'a Arc<Mount>, VoiceId)> {
    let speaks = |id: &VoiceId| {
        let voice = shared.voice(*id);
        voice.dialect.name() == &*bound.dialect && voice.namespace == &*bound.namespace
    };
    let mut here = mounts.iter().filter(|mount| mount.path == *bound.mount && mount.may_recover());
    here.find_map(|mount| Some((mount, mount.voices.iter().copied().find(speaks)?)))
}

/// A ghost does nothing that a plan could forbid.
fn unlimited() -> Plan {
    let name = FALLBACK_PLAN.into();
    Plan { name, connections_per_minute: None, messages_per_month: None, agents: None }
}

#[cfg(test)]
mod tests {
    use antiphon_core::actor::{Principal, SecretHash};

    use super::super::{Kept, Numbers};
    use super::*;

    fn survivor(left: i64) -> Survivor {
        let bound = Bound {
            principal: Principal::Guest,
            dialect: "chat".into(),
            namespace: "/".into(),
            mount: "/socket.io".into(),
        };
        let kept = Kept::empty(Numbers::new(1, 0).last());
        Survivor { pid: SecretHash([0; 32]), bound, kept, topics: Vec::new(), unread: Vec::new(), left }
    }

    #[test]
    fn every_core_gets_its_share_and_whoever_has_waited_longest_comes_first() {
        let shares = deal([5, 3, 9, 1, 7].map(survivor).into(), 2);
        let left = |share: &Vec<Survivor>| share.iter().map(|survivor| survivor.left).collect::<Vec<_>>();
        assert_eq!(shares.iter().map(left).collect::<Vec<_>>(), [vec![1, 5, 9], vec![3, 7]]);
    }

    #[test]
    fn what_is_not_there_is_forgotten_already() {
        let directory = tempfile::tempdir().unwrap();
        let sessions = directory.path().join("sessions");
        forget(&sessions).unwrap();
        std::fs::create_dir_all(sessions.join("run")).unwrap();
        forget(&sessions).unwrap();
        assert!(!sessions.exists());
    }
}

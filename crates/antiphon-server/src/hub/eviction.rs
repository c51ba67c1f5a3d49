//! Who has to go: those whose credential was revoked, and those who are sent away by order.
//!
//! A revocation also counts for whoever is being let in while it is heard: they were looked up before it, and take their seat
//! after it.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use antiphon_core::actor::{Actor, Principal};
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::ports::Revocation;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::cores::Core;
use crate::session::{Dismissal, Socket};

/// Sockets looked at in one go, so that a core with very many of them goes on serving meanwhile.
const SLICE: usize = 4_096;

/// For how long a revocation counts for those who are being let in. Nobody is looked up for longer.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The revocations that a core has heard of lately.
#[derive(Default)]
pub(crate) struct Heard {
    /// How many there were since the start.
    count: u64,
    /// The last of them.
    recent: VecDeque<(Instant, Revocation)>,
}

impl Heard {
    /// How many there were so far, for [`since`](Self::since).
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether one of those that were heard after the first `count` may mean `actor`. So may one that is forgotten by now.
    pub(crate) fn since(&self, count: u64, actor: &Actor) -> bool {
        let later = usize::try_from(self.count - count).unwrap_or(usize::MAX);
        later > self.recent.len()
            || self.recent.iter().rev().take(later).any(|(_, revocation)| names(revocation, actor))
    }

    fn remember(&mut self, revocation: Revocation) {
        let now = Instant::now();
        while self.recent.front().is_some_and(|(at, _)| now - *at > REMEMBERED) {
            self.recent.pop_front();
        }
        self.count += 1;
        self.recent.push_back((now, revocation));
    }
}

impl Core {
    /// Hears what the nodes of this server tell each other.
    pub(crate) fn hear(self: &Rc<Self>, event: &Event) {
        if let Event::Revoked(revocation) = event {
            self.heard.borrow_mut().remember(revocation.clone());
            let revocation = revocation.clone();
            Eviction::new(move |actor| names(&revocation, actor), Dismissal::Revoked, None).begin(self);
        }
    }

    /// Sends every socket of `principal` away and answers how many there were.
    pub(crate) fn evict(self: &Rc<Self>, principal: Principal, answer: oneshot::Sender<usize>) {
        let named = move |actor: &Actor| actor.principal == principal;
        Eviction::new(named, Dismissal::Ordered, Some(answer)).begin(self);
    }
}

/// A walk through all sockets of a core. Those that come after it began need not be looked at: they were let in knowing what it
/// is about.
struct Eviction<F> {
    named: F,
    why: Dismissal,
    answer: Option<oneshot::Sender<usize>>,
    next: usize,
    evicted: usize,
}

impl<F: Fn(&Actor) -> bool + 'static> Eviction<F> {
    fn new(named: F, why: Dismissal, answer: Option<oneshot::Sender<usize>>) -> Self {
        Self { named, why, answer, next: 0, evicted: 0 }
    }

    /// The first go is made at once, so that nothing that was published later still reaches those who have to go.
    fn begin(mut self, core: &Rc<Core>) {
        if self.go_on(core) {
            let core = core.clone();
            tokio::task::spawn_local(async move {
                loop {
                    tokio::task::yield_now().await;
                    if !self.go_on(&core) {
                        break;
                    }
                }
            });
        }
    }

    /// Looks at one slice; whether there are more.
    fn go_on(&mut self, core: &Rc<Core>) -> bool {
        let (named, slots) = {
            let sockets = core.sockets.borrow();
            let slots = sockets.capacity();
            let slice = self.next..slots.min(self.next + SLICE);
            let named = |socket: &&Rc<Socket>| (self.named)(&socket.actor());
            (slice.filter_map(|slot| sockets.get(slot)).filter(named).cloned().collect::<Vec<_>>(), slots)
        };
        self.next += SLICE;
        for socket in named {
            // Whose transport is gone was away already.
            self.evicted += usize::from(!socket.is_ghost());
            socket.dismiss(core, self.why);
        }
        let more = self.next < slots;
        if !more && let Some(answer) = self.answer.take() {
            // Whoever asked may have gone.
            let _ = answer.send(self.evicted);
        }
        more
    }
}

/// Whether `actor` is known by what was revoked. When their credential was issued is not known any more, so whenever it was.
fn names(revocation: &Revocation, actor: &Actor) -> bool {
    revocation.covers(&actor.proof, &actor.principal, Timestamp(i64::MIN))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use antiphon_core::actor::{KeyId, Plan, Proof, SecretHash};
    use antiphon_core::ids::PersonId;
    use antiphon_core::ports::Revoked;

    use super::*;

    fn person(name: &str) -> PersonId {
        PersonId::parse(name).unwrap()
    }

    fn actor(name: &str, proof: Proof) -> Actor {
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        Actor { proof, ..Actor::new(Principal::Person(person(name)), Arc::new(plan)) }
    }

    fn key(id: &str) -> KeyId {
        KeyId::parse(id).unwrap()
    }

    fn token(issuer: &str, id: Option<&str>) -> Proof {
        Proof::Token { issuer: issuer.into(), id: id.map(Into::into) }
    }

    fn revoked_token(issuer: &str, id: &str) -> Revoked {
        Revoked::Token { issuer: issuer.into(), id: id.into() }
    }

    #[test]
    fn t9_a_revocation_names_exactly_those_who_have_what_was_revoked() {
        let session = |byte| SecretHash([byte; 32]);
        for (what, actor, named) in [
            (Revoked::Person(person("ada")), actor("ada", Proof::None), true),
            (Revoked::Person(person("ada")), actor("ada", Proof::Key(key("k"))), true),
            (Revoked::Person(person("ada")), actor("bob", Proof::Key(key("k"))), false),
            (Revoked::Key(key("k")), actor("ada", Proof::Key(key("k"))), true),
            (Revoked::Key(key("k")), actor("ada", Proof::Key(key("l"))), false),
            (Revoked::Key(key("k")), actor("ada", Proof::None), false),
            (Revoked::Session(session(1)), actor("ada", Proof::Session(session(1))), true),
            (Revoked::Session(session(1)), actor("ada", Proof::Session(session(2))), false),
            (revoked_token("a", "1"), actor("ada", token("a", Some("1"))), true),
            (revoked_token("a", "1"), actor("ada", token("b", Some("1"))), false),
            (revoked_token("a", "1"), actor("ada", token("a", Some("2"))), false),
            (revoked_token("a", "1"), actor("ada", token("a", None)), false),
        ] {
            let revocation = Revocation { what, at: Timestamp(0), until: Timestamp(0) };
            assert_eq!(names(&revocation, &actor), named, "{revocation:?} of {actor:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn t9_whoever_is_looked_up_while_a_revocation_is_heard_is_named_by_it() {
        let revocation = |what| Revocation { what, at: Timestamp(0), until: Timestamp(0) };
        let ada = actor("ada", Proof::Key(key("k")));
        let mut heard = Heard::default();
        let before = heard.count();
        assert!(!heard.since(before, &ada));
        heard.remember(revocation(Revoked::Person(person("bob"))));
        assert!(!heard.since(before, &ada));
        heard.remember(revocation(Revoked::Key(key("k"))));
        assert!(heard.since(before, &ada));
        // What was heard before somebody came is the doorkeeper's business.
        assert!(!heard.since(heard.count(), &ada));
        // Whoever took so long that it is forgotten could be meant.
        let later = heard.count();
        for _ in 0..3 {
            tokio::time::advance(REMEMBERED).await;
            heard.remember(revocation(Revoked::Person(person("bob"))));
        }
        assert!(heard.recent.len() < 3);
        assert!(heard.since(later, &ada));
        assert!(!heard.since(heard.count() - 1, &ada));
    }
}

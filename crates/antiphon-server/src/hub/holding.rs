//! What waits for a socket that must not hear it yet: while it is told of the past, the present waits in order.
//!
//! Only a connection that carries such a socket pays for it; to all others it is one branch per event.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::event::{Delivery, Envelope, Event};
use antiphon_core::topic::Topic;

use super::{Full, Queued};
use crate::cores::Core;
use crate::session::Socket;

/// What an event that waits counts for besides its frames, in bytes.
const PLACE: usize = 64;

/// Events that wait for one socket, in the order in which it would have heard them.
#[derive(Default)]
pub(crate) struct Held {
    waiting: Vec<Arc<Envelope>>,
    bytes: usize,
    /// There was no room for something that must not be lost.
    is_short: bool,
}

impl Held {
    /// Keeps `envelope`, one of whose frames has so many `bytes`; it comes once for each of its frames, one after the other. What
    /// is volatile is dropped when there is no room, and anything else is an error then.
    pub(super) fn keep(
        &mut self,
        envelope: &Arc<Envelope>,
        bytes: usize,
        limit: usize,
    ) -> Result<Queued, Full> {
        let is_here = self.waiting.last().is_some_and(|last| Arc::ptr_eq(last, envelope));
        let more = if is_here { bytes } else { bytes + PLACE };
        if self.bytes + more > limit && (is_here || !self.waiting.is_empty()) {
            return match envelope.event.delivery() {
                Delivery::Volatile => Ok(Queued::Dropped),
                Delivery::Kept | Delivery::Piece(_) => Err(Full),
            };
        }
        self.bytes += more;
        if !is_here {
            self.waiting.push(envelope.clone());
        }
        Ok(Queued::Whole)
    }

    /// What waits, in order.
    pub(super) fn into_waiting(self) -> Vec<Arc<Envelope>> {
        self.waiting
    }

    /// Forgets what `is_over` names. The room that it took is not given back: that it was taken for a while is what counts.
    pub(super) fn forget(&mut self, is_over: impl Fn(&Event) -> bool) {
        self.waiting.retain(|envelope| !is_over(&envelope.event));
    }
}

impl Held {
    /// Forgets what was said in the topics `left` alone, and in none where the listener `sits`.
    fn forget_said_in(&mut self, left: &[Topic], sits: impl Fn(&Topic) -> bool) {
        self.waiting.retain(|envelope| {
            let mut topics = std::iter::once(&envelope.topic).chain(&envelope.also);
            !topics.clone().any(|topic| left.contains(topic)) || topics.any(&sits)
        });
    }
}

impl Socket {
    /// It left these topics while it held: what waits from there is not for it.
    pub(crate) fn forget_said_in(&self, left: &[Topic]) {
        if let Some(held) = self.held.borrow_mut().as_mut() {
            held.forget_said_in(left, |topic| self.sits_in(topic));
        }
    }

    /// Whether it listens to `topic`.
    pub(crate) fn sits_in(&self, topic: &Topic) -> bool {
        self.seats.borrow().iter().any(|seat| seat.topic() == topic)
    }

    /// From now on events for it wait, until it is [released](Self::release). What it is told directly does not: replies, and
    /// whatever it is told of the past. More than the bytes of an outbox may not wait: then its connection is closed as too slow.
    pub(crate) fn hold(&self, core: &Core) {
        self.held.borrow_mut().get_or_insert_default();
        self.connection.withhold(true);
        core.note_catching_up(self);
    }

    /// Hands on what waited, in order, except for what `skip` names; from now on events reach it at once. Nothing happens if it
    /// did not hold.
    pub(crate) fn release(self: &Rc<Self>, core: &Rc<Core>, mut skip: impl FnMut(&Arc<Envelope>) -> bool) {
        let Some(held) = self.held.take() else { return };
        self.note_withholding();
        for envelope in held.waiting.iter().filter(|envelope| !skip(envelope)) {
            self.tell(core, envelope);
        }
        if held.is_short {
            self.lost(core);
        }
        core.note_catching_up(self);
    }

    /// Tells this socket alone what `envelope` says, unless history tells it.
    pub(super) fn tell(self: &Rc<Self>, core: &Core, envelope: &Arc<Envelope>) {
        if self.recovery.is_some() {
            if let Some(numbered) = core.number(self.voice, envelope) {
                self.hear(core, envelope, &numbered);
            }
            return;
        }
        if self.connection.is_closed() {
            return;
        }
        let delivery = envelope.event.delivery();
        for (name, frame) in core.render(self.voice, &envelope.event) {
            if core.keeps_from(self, envelope, frame.len()) {
                continue;
            }
            self.connection.push_event(core, frame, delivery, self.voice, envelope, None);
            core.count(|tally| tally.sent(self.voice, name, 1));
        }
    }

    /// Has its connection know whether something may be kept from one of its sockets.
    pub(super) fn note_withholding(&self) {
        let withholds =
            |socket: &Rc<Self>| socket.held.borrow().is_some() || !socket.recalls.borrow().is_empty();
        let any = self.connection.sockets.borrow().iter().any(withholds);
        self.connection.withhold(any);
    }
}

impl Core {
    /// Whether the socket in this slot does not hear this frame of `envelope`, which has so many `bytes`, now. To be asked for
    /// connections that [withhold](crate::session::Connection::withholds) something.
    pub(super) fn keeps_back(&self, slot: u32, envelope: &Arc<Envelope>, bytes: usize) -> bool {
        let socket = self.sockets.borrow().get(slot as usize).cloned();
        socket.is_some_and(|socket| self.keeps_from(&socket, envelope, bytes))
    }

    /// Whether `socket` does not hear this frame of `envelope`, or all of it, which has so many `bytes`, now.
    pub(crate) fn keeps_from(&self, socket: &Rc<Socket>, envelope: &Arc<Envelope>, bytes: usize) -> bool {
        let kept = socket.held.borrow_mut().as_mut().map(|held| {
            let kept = held.keep(envelope, bytes, self.shared.limits.outbox);
            held.is_short |= kept.is_err();
            kept
        });
        match kept {
            Some(kept) => socket.note_kept(self, kept),
            None => return socket.is_told_by_history(self, envelope, bytes),
        }
        true
    }
}

impl Socket {
    /// Draws the consequences of what became of an event that was to wait.
    pub(super) fn note_kept(&self, core: &Core, kept: Result<Queued, Full>) {
        match kept {
            Ok(Queued::Dropped) => core.shared.counters.dropped(),
            Ok(Queued::Whole | Queued::Joined) => {}
            Err(Full) => self.connection.overflow(core),
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::conversation::Party;
    use antiphon_core::ids::{AgentId, PersonId, Timestamp};

    use super::*;

    fn deleted(agent: &str) -> Arc<Envelope> {
        let agent = AgentId::parse(agent).unwrap();
        Arc::new(Envelope::new(Topic::Agent(agent.clone()), Event::AgentDeleted { agent }))
    }

    fn typing() -> Arc<Envelope> {
        let typing = Event::TypingChanged {
            agent: AgentId::parse("a").unwrap(),
            person: PersonId::parse("p").unwrap(),
            who: Party::Person,
            active: true,
            at: Timestamp(0),
        };
        Arc::new(Envelope::new(Topic::Everyone, typing))
    }

    #[test]
    fn an_event_of_several_frames_waits_once_and_in_its_place() {
        let mut held = Held::default();
        let events = [deleted("a"), deleted("b"), deleted("a")];
        for event in &events {
            for _ in 0..2 {
                assert_eq!(held.keep(event, 10, 1_000).unwrap(), Queued::Whole);
            }
        }
        assert!(held.waiting.iter().zip(&events).all(|(one, other)| Arc::ptr_eq(one, other)));
        assert_eq!((held.waiting.len(), held.bytes), (3, 3 * (PLACE + 20)));
    }

    #[test]
    fn what_does_not_fit_is_dropped_if_it_may_be_and_an_error_otherwise() {
        let mut held = Held::default();
        // One that is larger than all of it may wait when nothing else does, as in the outbox.
        assert_eq!(held.keep(&deleted("a"), 300, 200).unwrap(), Queued::Whole);
        assert_eq!(held.keep(&typing(), 10, 200).unwrap(), Queued::Dropped);
        assert!(held.keep(&deleted("b"), 10, 200).is_err());
        assert_eq!(held.waiting.len(), 1);
    }

    #[test]
    fn what_was_said_where_the_listener_does_not_sit_any_more_is_forgotten() {
        let mut held = Held::default();
        let (here, there) = (Topic::Named("here".into()), Topic::Named("there".into()));
        let event = || Event::AgentDeleted { agent: AgentId::parse("a").unwrap() };
        let both = Envelope::to_all(there.clone(), [here.clone()], event());
        for envelope in [Envelope::new(here.clone(), event()), Envelope::new(there.clone(), event()), both] {
            held.keep(&Arc::new(envelope), 10, 1_000).unwrap();
        }
        held.forget_said_in(std::slice::from_ref(&there), |topic| *topic == here);
        assert_eq!(held.waiting.len(), 2);
        assert!(held.waiting.iter().all(|envelope| envelope.topic == here || !envelope.also.is_empty()));
    }

    #[test]
    fn the_second_frame_of_an_event_counts_too() {
        let mut held = Held::default();
        let event = deleted("a");
        assert_eq!(held.keep(&event, 10, 200).unwrap(), Queued::Whole);
        assert!(held.keep(&event, 190, 200).is_err());
    }
}

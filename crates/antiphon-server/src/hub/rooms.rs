//! Topic → members on this core, and the fan-out.
//!
//! Members are grouped by voice (dialect and namespace): each voice present renders an event once, the packet is encoded
//! once into a finished frame, and every outbox gets a cheap clone. Members are handles, never ids to be looked up.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::dialect::Out;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::ConnectionId;
use antiphon_core::ports::Mark;
use antiphon_core::topic::Topic;
use antiphon_wire::socket::Encoded;
use slab::Slab;
use smallvec::SmallVec;

use crate::cores::Core;
use crate::mount::{Voice, VoiceId};
use crate::resume::Offset;
use crate::session::{Connection, Socket};

/// An event in the words of a voice: what it is called there, as finished frames.
pub(crate) type Frames = SmallVec<[(&'static str, Encoded); 2]>;

/// The rooms of one core.
#[derive(Default)]
pub(crate) struct Rooms {
    /// Each at the place that its mark names: an event brings the mark along, so that it finds its room without a search.
    rooms: Slab<Rc<Room>>,
    by_topic: HashMap<Topic, Mark, foldhash::fast::RandomState>,
}

/// The bit of a mark that says that somebody in the room may be resumed after this process: what is published there is written
/// down first. The others name the room.
const WRITTEN: u32 = 1 << 31;

/// Whether what was published to listeners with this `mark` may concern somebody who may be resumed after this process.
pub(super) fn may_be_written(mark: Mark) -> bool {
    // Also that of no room at all, which events to several have.
    mark.0 & WRITTEN != 0
}

fn place_of(mark: Mark) -> usize {
    (mark.0 & !WRITTEN) as usize
}

/// Who listens to one topic here.
pub(crate) struct Room {
    topic: Topic,
    groups: RefCell<SmallVec<[Group; 1]>>,
}

/// Members that are spoken to in the same words.
struct Group {
    voice: VoiceId,
    /// Whether these may be resumed: then every event is numbered for them.
    recovers: bool,
    /// Most rooms are one person's: one member needs no memory of its own.
    members: SmallVec<[Member; 1]>,
}

struct Member {
    connection: Rc<Connection>,
    slot: u32,
}

/// A socket's place in a room, so that leaving needs no search.
pub(crate) struct Seat {
    room: Rc<Room>,
    position: Cell<u32>,
}

impl Group {
    /// Whether `socket` belongs to it.
    fn takes(&self, socket: &Socket) -> bool {
        self.voice == socket.voice && self.recovers == socket.recovery.is_some()
    }
}

impl Seat {
    /// What is heard there.
    pub(crate) fn topic(&self) -> &Topic {
        &self.room.topic
    }
}

impl Rooms {
    /// How many topics somebody listens to here.
    pub(crate) fn count(&self) -> usize {
        self.rooms.len()
    }

    fn of(&self, topic: &Topic) -> Option<&Rc<Room>> {
        self.by_topic.get(topic).and_then(|mark| self.rooms.get(place_of(*mark)))
    }

    /// The room with this mark, unless that is another topic's by now.
    fn marked(&self, mark: Mark, topic: &Topic) -> Option<&Rc<Room>> {
        self.rooms.get(place_of(mark)).filter(|room| room.topic == *topic)
    }

    fn remove(&mut self, topic: &Topic) {
        if let Some(mark) = self.by_topic.remove(topic) {
            self.rooms.try_remove(place_of(mark));
        }
    }
}

impl Room {
    /// Whether somebody in it may be resumed.
    fn recovers(groups: &[Group]) -> bool {
        groups.iter().any(|group| group.recovers)
    }
}

impl Core {
    /// `connection` hears `topic` from now on. `false` when it is gone or has too many topics.
    pub(crate) fn join(&self, connection: ConnectionId, topic: &Topic) -> bool {
        if *topic == Topic::Nodes {
            // What the nodes tell each other is no client's business, whoever asks.
            return false;
        }
        let Some(socket) = self.socket(connection) else { return false };
        let mut seats = socket.seats.borrow_mut();
        if seats.iter().any(|seat| seat.room.topic == *topic) {
            return true;
        }
        if seats.len() >= self.shared.limits.rooms {
            return false;
        }
        let room = self.room(topic);
        let mut groups = room.groups.borrow_mut();
        let index = groups.iter().position(|group| group.takes(&socket)).unwrap_or_else(|| {
            let recovers = socket.recovery.is_some();
            if recovers && !Room::recovers(&groups) {
                self.have_written(topic, true);
            }
            groups.push(Group { voice: socket.voice, recovers, members: SmallVec::new() });
            groups.len() - 1
        });
        let members = &mut groups[index].members;
        let position = Cell::new(u32::try_from(members.len()).expect("fewer connections than 2^32"));
        members.push(Member { connection: socket.connection.clone(), slot: connection.slot });
        drop(groups);
        seats.push(Seat { room, position });
        drop(seats);
        self.sits_down(&socket, topic);
        true
    }

    /// `connection` no longer hears `topic`.
    pub(crate) fn leave(&self, connection: ConnectionId, topic: &Topic) {
        let Some(socket) = self.socket(connection) else { return };
        let index = socket.seats.borrow().iter().position(|seat| seat.room.topic == *topic);
        if let Some(index) = index {
            let seat = socket.seats.borrow_mut().swap_remove(index);
            self.vacate(&socket, seat);
            self.rises(&socket, topic);
        }
    }

    /// How many sockets of this core listen to `topic`, without those whose transport is gone.
    pub(crate) fn listeners(&self, topic: &Topic) -> usize {
        let rooms = self.rooms.borrow();
        let Some(room) = rooms.of(topic) else { return 0 };
        let sockets = self.sockets.borrow();
        let is_ghost =
            |member: &&Member| sockets.get(member.slot as usize).is_some_and(|socket| socket.is_ghost());
        let listeners = |group: &Group| {
            let ghosts = if group.recovers { group.members.iter().filter(is_ghost).count() } else { 0 };
            group.members.len() - ghosts
        };
        room.groups.borrow().iter().map(listeners).sum()
    }

    /// `socket` no longer hears anything.
    pub(crate) fn leave_all(&self, socket: &Socket) {
        let seats = std::mem::take(&mut *socket.seats.borrow_mut());
        for seat in seats {
            self.vacate(socket, seat);
        }
    }

    fn room(&self, topic: &Topic) -> Rc<Room> {
        let mut rooms = self.rooms.borrow_mut();
        if let Some(room) = rooms.of(topic) {
            return room.clone();
        }
        let room = Rc::new(Room { topic: topic.clone(), groups: RefCell::default() });
        let place = rooms.rooms.insert(room.clone());
        let mark = u32::try_from(place).ok().filter(|place| *place < WRITTEN).map(Mark);
        let mark = mark.expect("fewer topics than 2^31");
        rooms.by_topic.insert(topic.clone(), mark);
        self.shared.app.ports().bus.listen(self.listener, topic, mark);
        room
    }

    /// From now on what is published to `topic` is written down, or is not any more.
    fn have_written(&self, topic: &Topic, written: bool) {
        if self.pages.is_none() {
            return;
        }
        let place = self.rooms.borrow().by_topic.get(topic).copied();
        if let Some(place) = place {
            let mark = if written { Mark(place.0 | WRITTEN) } else { place };
            self.shared.app.ports().bus.listen(self.listener, topic, mark);
        }
    }

    fn vacate(&self, socket: &Socket, seat: Seat) {
        let mut groups = seat.room.groups.borrow_mut();
        let Some(index) = groups.iter().position(|group| group.takes(socket)) else { return };
        let group = &mut groups[index];
        let position = seat.position.get();
        group.members.swap_remove(position as usize);
        if let Some(moved) = group.members.get(position as usize) {
            // Whoever was last sits here now and must know it.
            if let Some(neighbour) = self.sockets.borrow().get(moved.slot as usize) {
                let seats = neighbour.seats.borrow();
                if let Some(theirs) = seats.iter().find(|theirs| Rc::ptr_eq(&theirs.room, &seat.room)) {
                    theirs.position.set(position);
                }
            }
        }
        if group.members.is_empty() {
            groups.remove(index);
            if socket.recovery.is_some() && !groups.is_empty() && !Room::recovers(&groups) {
                self.have_written(&seat.room.topic, false);
            }
        }
        if groups.is_empty() {
            self.rooms.borrow_mut().remove(&seat.room.topic);
            self.shared.app.ports().bus.unlisten(self.listener, &seat.room.topic);
        }
    }

    /// Hands one event to everybody here who listens to one of its topics, once to each. `mark` is that of the room, if there is
    /// one topic.
    pub(crate) fn deliver(self: &Rc<Self>, envelope: &Arc<Envelope>, mark: Mark) {
        if envelope.topic == Topic::Nodes {
            return self.hear(&envelope.event);
        }
        if !envelope.also.is_empty() {
            return self.deliver_widely(envelope);
        }
        let room = self.rooms.borrow().marked(mark, &envelope.topic).cloned();
        if let Some(room) = room {
            self.deliver_to(&room, &[], envelope);
        }
    }

    /// Hands an event with several topics out, room by room. Between two rooms nobody comes or goes.
    fn deliver_widely(self: &Rc<Self>, envelope: &Arc<Envelope>) {
        let mut rooms: SmallVec<[Rc<Room>; 4]> = SmallVec::new();
        for topic in std::iter::once(&envelope.topic).chain(&envelope.also) {
            let room = self.rooms.borrow().of(topic).cloned();
            rooms.extend(room.filter(|room| !rooms.iter().any(|known| Rc::ptr_eq(known, room))));
        }
        for (number, room) in rooms.iter().enumerate() {
            self.deliver_to(room, &rooms[..number], envelope);
        }
    }

    /// Hands one event to everybody in `room` who does not sit in one of the rooms `before`, where it has been heard.
    fn deliver_to(self: &Rc<Self>, room: &Rc<Room>, before: &[Rc<Room>], envelope: &Arc<Envelope>) {
        let except = envelope.except.filter(|id| id.core == self.index && self.socket(*id).is_some());
        let delivery = envelope.event.delivery();
        let hears = |member: &Member| {
            except.is_none_or(|id| id.slot != member.slot)
                && (before.is_empty() || !self.sits_in_any(member.slot, before))
                && envelope.unless.as_ref().is_none_or(|topic| !self.sits(member.slot, topic))
        };
        for group in room.groups.borrow().iter() {
            if group.recovers {
                let slots = group.members.iter().filter(|member| hears(member)).map(|member| member.slot);
                self.deliver_numbered(group.voice, slots, envelope);
                continue;
            }
            for (name, frame) in self.render(group.voice, &envelope.event) {
                let mut receivers = 0;
                let Some((last, others)) = group.members.split_last() else { continue };
                let bytes = frame.len();
                let hears = |member: &Member| {
                    hears(member)
                        && !(member.connection.withholds() && self.keeps_back(member.slot, envelope, bytes))
                };
                for member in others.iter().filter(|member| hears(member)) {
                    receivers += 1;
                    member.connection.push_event(self, frame.clone(), delivery, group.voice, envelope, None);
                }
                // Moved, not cloned: a room of one needs no counting of references.
                if hears(last) {
                    receivers += 1;
                    last.connection.push_event(self, frame, delivery, group.voice, envelope, None);
                }
                self.count(|tally| tally.sent(group.voice, name, receivers));
            }
        }
        if envelope.event.closes_its_topic() {
            self.clear(room);
        }
    }

    /// Whether the socket in this slot has a seat in one of `rooms`.
    fn sits_in_any(&self, slot: u32, rooms: &[Rc<Room>]) -> bool {
        let sockets = self.sockets.borrow();
        let Some(socket) = sockets.get(slot as usize) else { return false };
        let seats = socket.seats.borrow();
        seats.iter().any(|seat| rooms.iter().any(|room| Rc::ptr_eq(room, &seat.room)))
    }

    /// Whether the socket in this slot listens to `topic`.
    fn sits(&self, slot: u32, topic: &Topic) -> bool {
        let sockets = self.sockets.borrow();
        let Some(socket) = sockets.get(slot as usize) else { return false };
        socket.seats.borrow().iter().any(|seat| seat.room.topic == *topic)
    }

    /// Everybody leaves `room`.
    fn clear(&self, room: &Rc<Room>) {
        let slots: Vec<u32> = room
            .groups
            .borrow()
            .iter()
            .flat_map(|group| group.members.iter().map(|member| member.slot))
            .collect();
        for slot in slots {
            let id = self.sockets.borrow().get(slot as usize).map(|socket| socket.id());
            if let Some(id) = id {
                self.leave(id, &room.topic);
            }
        }
    }

    /// `event` in the words of `voice`: what it is called there, as finished frames. Nothing if that dialect does not say it.
    pub(crate) fn render(&self, voice: VoiceId, event: &Event) -> Frames {
        self.rendered(voice, event, |voice, out| {
            let frame = |(name, args)| (name, Encoded::event(voice.namespace, None, name, args, &[]));
            out.events().map(frame).collect()
        })
    }

    /// The same, each frame ending with its offset: those from `first` on, which is told how many there are, unless there are none.
    pub(crate) fn render_from(
        &self,
        voice: VoiceId,
        event: &Event,
        first: impl FnOnce(u64) -> Offset,
    ) -> Frames {
        self.rendered(voice, event, |voice, out| {
            let count = out.events().count();
            if count == 0 {
                return Frames::new();
            }
            let first = first(count as u64);
            let frame = |((name, args), further)| {
                let offset = first.plus(further).to_string();
                (name, Encoded::event_ending(voice.namespace, name, args, &offset, &[]))
            };
            out.events().zip(0..).map(frame).collect()
        })
    }

    fn rendered(&self, voice: VoiceId, event: &Event, frames: impl FnOnce(&Voice, &Out) -> Frames) -> Frames {
        let voice = self.shared.voice(voice);
        let mut out = self.out.borrow_mut();
        out.clear();
        // A fault in one dialect must not stop the delivery of everything else on this core.
        let said = catch_unwind(AssertUnwindSafe(|| voice.dialect.outbound(event, &mut out)));
        if said.is_err() {
            tracing::error!(
                dialect = voice.dialect.name(),
                "rendering an event panicked; it is not delivered"
            );
            return Frames::new();
        }
        frames(voice, &out)
    }
}

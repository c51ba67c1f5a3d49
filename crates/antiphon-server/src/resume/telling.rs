//! How a socket that may be resumed is told something: journaled first, with an offset as its last argument.
//!
//! Everything has one, whether it is replayed or not: client libraries take whatever text an event ends with for its offset.

use std::rc::Rc;
use std::sync::Arc;

use antiphon_core::event::{Delivery, Envelope, Event};
use antiphon_wire::socket::Encoded;
use bytes::Bytes;

use super::Offset;
use super::journal::What;
use crate::cores::Core;
use crate::hub::Frames;
use crate::mount::VoiceId;
use crate::session::Socket;

/// An event in the words of one voice, numbered.
pub(crate) struct Numbered {
    /// That of the first frame; the others follow.
    offset: Offset,
    frames: Frames,
    bytes: usize,
}

impl Core {
    /// `envelope` for those who may be resumed; nothing if the dialect of `voice` does not say it.
    pub(crate) fn number(&self, voice: VoiceId, envelope: &Envelope) -> Option<Numbered> {
        let mut first = None;
        let frames =
            self.render_from(voice, &envelope.event, |count| *first.insert(self.numbers.take(count)));
        let bytes = frames.iter().map(|(_, frame)| frame.len()).sum();
        first.map(|offset| Numbered { offset, frames, bytes })
    }

    /// Hands `envelope` to the sockets in `slots`, all of `voice` and such as may be resumed.
    pub(crate) fn deliver_numbered(
        &self,
        voice: VoiceId,
        slots: impl Iterator<Item = u32>,
        envelope: &Arc<Envelope>,
    ) {
        let Some(numbered) = self.number(voice, envelope) else { return };
        for slot in slots {
            let socket = self.sockets.borrow().get(slot as usize).cloned();
            if let Some(socket) = socket {
                socket.hear(self, envelope, &numbered);
            }
        }
    }
}

impl Socket {
    /// Hears `envelope`, which is called `numbered` in its voice.
    pub(crate) fn hear(self: &Rc<Self>, core: &Core, envelope: &Arc<Envelope>, numbered: &Numbered) {
        let Some(recovery) = &self.recovery else { return };
        if recovery.former.is_some() && recovery.former == envelope.except {
            return;
        }
        if core.keeps_from(self, envelope, numbered.bytes) {
            return;
        }
        if recovery.is_ghost() && self.is_own_presence(&envelope.event) {
            return;
        }
        let delivery = envelope.event.delivery();
        if delivery != Delivery::Volatile {
            let entry = core.delivered(envelope, numbered.offset, (numbered.frames.len(), numbered.bytes));
            core.keep(self, recovery, entry);
        }
        if recovery.is_ghost() {
            return;
        }
        for ((name, frame), further) in numbered.frames.iter().zip(0..) {
            let offset = numbered.offset.plus(further);
            self.connection.push_event(core, frame.clone(), delivery, self.voice, envelope, Some(offset));
            core.count(|tally| tally.sent(self.voice, name, 1));
        }
    }

    /// Whether `event` says that whoever it speaks for goes or comes: that is about itself, and no news to its client.
    fn is_own_presence(&self, event: &Event) -> bool {
        let Event::PresenceChanged { person, .. } = event else { return false };
        self.actor().person() == Some(person)
    }

    /// Something that it had to hear was not kept for it.
    pub(crate) fn lost(&self, core: &Core) {
        if let Some(recovery) = &self.recovery {
            core.loses(self, recovery);
        }
    }

    /// The frame of an event that is said to this socket alone, with `args` and `attachments` as the wire takes them.
    pub(crate) fn frame(&self, core: &Core, name: &str, args: &[u8], attachments: &[Bytes]) -> Encoded {
        let namespace = core.shared.voice(self.voice).namespace;
        let Some(recovery) = &self.recovery else {
            return Encoded::event(namespace, None, name, args, attachments);
        };
        let offset = core.numbers.take(1);
        let frame = Encoded::event_ending(namespace, name, args, &offset.to_string(), attachments);
        core.said(self, recovery, &frame, offset);
        frame
    }

    /// Says again what the client has missed that has had everything up to `had`.
    pub(super) fn replay(&self, core: &Core, had: Option<Offset>) {
        let Some(recovery) = &self.recovery else { return };
        for entry in recovery.kept.borrow().journal.entries() {
            let received = entry.received(had);
            match &entry.what {
                What::Event(envelope) => {
                    let frames = core.render_from(self.voice, &envelope.event, |_| entry.offset);
                    for (name, frame) in frames.into_iter().skip(received) {
                        core.count(|tally| tally.sent(self.voice, name, 1));
                        self.connection.push_again(core, frame);
                    }
                }
                What::Frame(frame) if received == 0 => self.connection.push_again(core, frame.clone()),
                What::Frame(_) | What::Moved => {}
            }
        }
    }
}

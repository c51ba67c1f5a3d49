//! How a connection is written to.
//!
//! There is no task per connection for writing: whoever has something to say puts a frame into the outbox and marks the
//! connection dirty; the core's turn writes it. Only a connection that the kernel would not take more from has a task of its
//! own, until it is empty again.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::event::{Delivery, Envelope};
use antiphon_wire::engine::Transport;
use antiphon_wire::socket::Encoded;
use antiphon_wire::websocket::close_into;

use super::{Closing, Connection, Link};
use crate::cores::Core;
use crate::hub::{Full, Queued};
use crate::mount::VoiceId;
use crate::resume::Offset;
use crate::transport::Stream;
use crate::transport::polling::Answer;

impl Connection {
    /// Says something that must arrive.
    pub(crate) fn push(self: &Rc<Self>, core: &Core, frame: Encoded) {
        // Whoever is gone may still be spoken to: what they asked is answered, and kept if they come back.
        if self.is_closed() {
            return;
        }
        let pushed = self.outbox.borrow_mut().push(frame, core.shared.limits.outbox);
        self.pushed(core, pushed.is_err());
    }

    /// Says again what was kept within bounds of its own, whether or not the outbox has room for it.
    pub(crate) fn push_again(self: &Rc<Self>, core: &Core, frame: Encoded) {
        if self.is_closed() {
            return;
        }
        self.outbox.borrow_mut().push_again(frame);
        self.pushed(core, false);
    }

    /// Says an event's frame, as its delivery allows. `offset` is that of the frame, if it has one.
    pub(crate) fn push_event(
        self: &Rc<Self>,
        core: &Core,
        frame: Encoded,
        delivery: Delivery,
        voice: VoiceId,
        envelope: &Arc<Envelope>,
        offset: Option<Offset>,
    ) {
        let pushed = self.outbox.borrow_mut().push_event(
            frame,
            (delivery, voice, &envelope.event),
            self.is_behind(),
            core.shared.limits.outbox,
            |event| {
                let frames = match offset {
                    None => core.render(voice, event),
                    Some(offset) => core.render_from(voice, event, |_| offset),
                };
                frames.into_iter().next().map(|(_, frame)| frame)
            },
        );
        match pushed {
            Ok(Queued::Whole) => self.pushed(core, false),
            Ok(Queued::Joined) => core.shared.counters.joined(),
            Ok(Queued::Dropped) => core.shared.counters.dropped(),
            Err(Full) => self.pushed(core, true),
        }
    }

    /// It cannot keep up: it is closed at the end of this turn.
    pub(crate) fn overflow(self: &Rc<Self>, core: &Core) {
        self.pushed(core, true);
    }

    /// Waits until so many `bytes` may be said without more than `ahead` waiting; they may when nothing waits, however many they
    /// are. Returns whether there is still somebody to say them to. One at a time may wait.
    pub(super) async fn room_for(&self, bytes: usize, ahead: usize) -> bool {
        loop {
            if self.is_closed() || self.is_leaving() {
                return false;
            }
            let waiting = self.waiting_bytes();
            if waiting == 0 || waiting + bytes <= ahead {
                return true;
            }
            let written = self.written.borrow_mut().get_or_insert_default().clone();
            written.notified().await;
            self.written.take();
        }
    }

    /// Tells whoever waits that everything was written, or that nothing more will be.
    pub(super) fn note_written(&self) {
        if let Some(written) = &*self.written.borrow() {
            written.notify_one();
        }
    }

    /// Whether what is said now waits for the client, not only for the end of this turn.
    fn is_behind(&self) -> bool {
        self.state.get().blocked || matches!(&*self.link.borrow(), Link::Polling { waiting: None, .. })
    }

    fn pushed(self: &Rc<Self>, core: &Core, overflowed: bool) {
        let mut state = self.state.get();
        state.overflowed |= overflowed;
        let mark = !state.dirty && !state.closed;
        state.dirty |= mark;
        self.state.set(state);
        if mark {
            core.mark_dirty(self.clone());
        }
    }

    /// Writes what waits, as far as the transport takes it now.
    pub(crate) fn flush(self: &Rc<Self>, core: &Rc<Core>) {
        self.update(|state| state.dirty = false);
        let state = self.state.get();
        if state.closed {
            return;
        }
        if state.overflowed {
            return self.close(core, Closing::TooSlow);
        }
        if state.blocked {
            return;
        }
        if let Some(why) = state.finishing {
            let has_heard = match &*self.link.borrow() {
                Link::Polling { waiting: None, .. } => return,
                Link::Polling { .. } => self.outbox.borrow().is_empty(),
                Link::Websocket(_) | Link::Closed => true,
            };
            if has_heard {
                return self.close(core, Closing::Dismissed(why));
            }
        }
        match self.write(core) {
            Ok(()) => self.close_if_retired(core),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.update(|state| state.blocked = true);
                tokio::task::spawn_local(self.clone().unblock(core.clone()));
            }
            Err(_) => self.close(core, Closing::Peer),
        }
    }

    fn write(&self, core: &Core) -> io::Result<()> {
        let written = self.write_out(core);
        if written.is_ok() {
            self.note_written();
        }
        written
    }

    fn write_out(&self, core: &Core) -> io::Result<()> {
        core.write_down();
        let mut link = self.link.borrow_mut();
        match &mut *link {
            Link::Websocket(stream) => {
                let mut bytes = 0;
                let written = self.outbox.borrow_mut().write_with(|slices| {
                    let taken = stream.try_write(slices)?;
                    bytes += taken;
                    Ok(taken)
                });
                core.count(|tally| tally.wrote_bytes(Transport::Websocket, bytes));
                written?;
                stream.try_flush()
            }
            Link::Polling { waiting, stamps, .. } => {
                let mut outbox = self.outbox.borrow_mut();
                if outbox.is_empty() {
                    return Ok(());
                }
                let Some(reply) = waiting.take() else { return Ok(()) };
                stamps.answer();
                let body = outbox.take_polling_body();
                core.count(|tally| tally.wrote_bytes(Transport::Polling, body.len()));
                reply.send(Answer::Packets(body)).map_err(|_| io::ErrorKind::BrokenPipe.into())
            }
            Link::Closed => Ok(()),
        }
    }

    /// Waits until the kernel takes more, as often as it needs; gives up when one wait is too long.
    async fn unblock(self: Rc<Self>, core: Rc<Core>) {
        let stall = Duration::from_millis(core.shared.limits.write_stall);
        loop {
            let stream = match &*self.link.borrow() {
                Link::Websocket(stream) => stream.clone(),
                Link::Polling { .. } | Link::Closed => return,
            };
            let writable = tokio::time::timeout(stall, stream.writable());
            if writable.await.is_err() {
                return self.close(&core, Closing::TooSlow);
            }
            if self.is_closed() {
                return;
            }
            match self.write(&core) {
                Ok(()) => {
                    self.update(|state| state.blocked = false);
                    return self.close_if_retired(&core);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return self.close(&core, Closing::Peer),
            }
        }
    }

    /// Writes what was said before, and the reason for the end, as far as that makes sense.
    pub(super) fn say_goodbye(&self, core: &Core, stream: &Stream, why: Closing) {
        let state = self.state.get();
        if !why.says_goodbye() || state.blocked || self.outbox.borrow().is_mid_frame() {
            return stream.shutdown();
        }
        core.write_down();
        // What was said before goes out first: an error event, say, that explains the goodbye.
        let written = self.outbox.borrow_mut().write_with(|slices| stream.try_write(slices));
        if written.is_ok() {
            let mut frame = Vec::new();
            let (code, reason) = why.frame();
            close_into(code, reason, &mut frame);
            let _ = stream.try_write(&[io::IoSlice::new(&frame)]);
            let _ = stream.try_flush();
        }
        stream.finish();
    }
}

//! What becomes of the packets that a client sends, until they are processed.

use std::collections::VecDeque;
use std::rc::Rc;

use antiphon_wire::engine::{self, Transport};
use antiphon_wire::socket::{Encoded, Incoming, Malformed};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::{Closing, Connection, Link};
use crate::cores::Core;
use crate::transport::polling::Answer;

/// Packets that may wait to be processed before a client is told that it sends too fast.
const INBOX: usize = 4_096;

impl Connection {
    /// Takes a text packet that came over `via`. Returns what a WebSocket must be answered with at once.
    pub(crate) fn receive(
        self: &Rc<Self>,
        core: &Rc<Core>,
        via: Transport,
        packet: engine::Packet<'_>,
    ) -> Option<Step> {
        let now = core.now();
        if self.state.get().doubted {
            self.is_there();
        }
        let received = self.engine.borrow_mut().receive(via, packet, now);
        match received {
            // After a pong the next ping may be due before the wheel would have come to see whether the pong came.
            Ok(engine::Received::Nothing) => self.look(core, now),
            Ok(engine::Received::Message(text)) => {
                if !self.mount.serves_sockets() {
                    self.push(core, Encoded::engine(&format!("4{text}")));
                    return None;
                }
                let decoded = self.decoder.borrow_mut().text(text, self.limits());
                self.take_in(core, decoded);
            }
            Ok(engine::Received::Probed) => return Some(Step::AnswerProbe),
            Ok(engine::Received::Upgraded) => return Some(Step::Upgrade),
            Ok(engine::Received::Rejected) => return Some(Step::Reject),
            Err(engine::Ended::ByPeer) => self.leave(core),
            Err(ended) => self.close(core, ended.into()),
        }
        None
    }

    /// The client has said something, so it is there.
    fn is_there(&self) {
        self.doubt(false);
        for recovery in self.sockets.borrow().iter().filter_map(|socket| socket.recovery.as_ref()) {
            recovery.is_there();
        }
    }

    /// Takes a binary message that came over `via`.
    pub(crate) fn receive_binary(self: &Rc<Self>, core: &Rc<Core>, via: Transport, bytes: &[u8]) {
        if !self.engine.borrow().carries(via) {
            return;
        }
        if !self.mount.serves_sockets() {
            return self.push(core, Encoded::engine_binary(bytes));
        }
        let decoded = self.decoder.borrow_mut().binary(bytes, self.limits());
        self.take_in(core, decoded);
    }

    fn take_in(self: &Rc<Self>, core: &Rc<Core>, decoded: Result<Option<Incoming>, Malformed>) {
        if self.is_finishing() || self.is_retiring() {
            return;
        }
        match decoded {
            Ok(Some(incoming)) => {
                self.attachments_by.set(u64::MAX);
                let mut inbox = self.inbox.borrow_mut();
                if inbox.len() >= INBOX {
                    drop(inbox);
                    return self.close(core, Closing::TooFast);
                }
                self.queued.set(self.queued.get() + weight(&incoming));
                inbox.push_back(incoming);
            }
            Ok(None) if self.attachments_by.get() == u64::MAX => {
                let by = core.now() + self.mount.connect_timeout;
                self.attachments_by.set(by);
                core.look_again(self, by);
            }
            Ok(None) => {}
            Err(malformed) => self.close(core, Closing::Malformed(malformed.reason)),
        }
    }

    /// Whether somebody should call `process` now: there is something to do and nobody is at it.
    pub(crate) fn begin_processing(&self) -> bool {
        let state = self.state.get();
        if state.processing || state.closed || self.inbox.borrow().is_empty() {
            return false;
        }
        self.update(|state| state.processing = true);
        true
    }

    pub(crate) fn end_processing(&self) {
        self.update(|state| state.processing = false);
    }

    /// The next packet to process. An inbox that is empty gives its memory back.
    pub(crate) fn next_packet(&self) -> Option<Incoming> {
        let mut inbox = self.inbox.borrow_mut();
        let next = inbox.pop_front();
        if inbox.is_empty() {
            *inbox = VecDeque::new();
        }
        if let Some(next) = &next {
            self.queued.set(self.queued.get().saturating_sub(weight(next)));
        }
        next
    }

    /// Keeps a POST back while as much as one message may have is waiting already; its client waits for the answer meanwhile, and
    /// may not send another. Returns what there is room for.
    pub(crate) fn hold(
        &self,
        body: Bytes,
        reply: oneshot::Sender<Answer>,
    ) -> Option<(Bytes, oneshot::Sender<Answer>)> {
        let is_full = self.queued.get() > 0 && self.queued.get() + body.len() > self.mount.limits.payload;
        // Who processes takes it in when there is room. If nobody does, it is about to begin, and has not seen this one.
        if let (true, Link::Polling { held: held @ None, .. }) =
            (is_full && self.state.get().processing, &mut *self.link.borrow_mut())
        {
            *held = Some(Box::new((body, reply)));
            return None;
        }
        Some((body, reply))
    }
}

/// Bytes that a packet takes while it waits.
fn weight(packet: &Incoming) -> usize {
    let content = match packet {
        Incoming::Connect { auth, .. } => auth.as_ref().map_or(0, String::len),
        Incoming::Disconnect { .. } => 0,
        Incoming::Event(event) => event.args.len() + event.attachments.iter().map(Bytes::len).sum::<usize>(),
        Incoming::Ack(ack) => ack.args.len() + ack.attachments.iter().map(Bytes::len).sum::<usize>(),
    };
    size_of::<Incoming>() + content
}

/// What a packet over a WebSocket asks its reader to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Answer the probe.
    AnswerProbe,
    /// The WebSocket carries the session now.
    Upgrade,
    /// It has no business here.
    Reject,
}

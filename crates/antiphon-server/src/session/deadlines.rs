//! What is due for a connection, and when: heartbeat, CONNECT, attachments, a probing WebSocket, credentials.

use std::rc::Rc;

use antiphon_wire::engine::Beat;
use antiphon_wire::socket::Encoded;

use super::{Closing, Connection, Link};
use crate::cores::Core;

impl Connection {
    /// Notes that the wheel looks at `at`. `false` when it looks earlier anyway.
    pub(crate) fn schedule(&self, at: u64) -> bool {
        let sooner = at < self.scheduled.get();
        if sooner {
            self.scheduled.set(at);
        }
        sooner
    }

    /// The wheel's entry for `at` has fired. Whether it is the one that counts; if so, there is none now.
    pub(crate) fn fired(&self, at: u64) -> bool {
        let counts = self.scheduled.get() == at;
        if counts {
            self.scheduled.set(u64::MAX);
        }
        counts
    }

    /// Does what is due at `now`, and has the wheel come back for what is due next, unless it comes sooner anyway.
    pub(crate) fn look(self: &Rc<Self>, core: &Rc<Core>, now: u64) {
        if self.is_closed() || self.is_leaving() {
            return;
        }
        if now >= self.connect_by.get() {
            let finishing = self.state.get().finishing;
            return self.close(core, finishing.map_or(Closing::ConnectTimeout, Closing::Dismissed));
        }
        if now >= self.attachments_by.get() {
            return self.close(core, Closing::Malformed("attachments did not come in time"));
        }
        let credentials_by = self.check_credentials(core, now);
        if self.is_closed() {
            return;
        }
        let probe_by = self.probe_deadline(now);
        self.close_if_retired(core);
        if self.is_closed() {
            return;
        }
        let beat_by = loop {
            // The borrow ends before a close needs one of its own.
            let beat = self.engine.borrow_mut().beat(now);
            match beat {
                Beat::SendPing => {
                    self.sockets.borrow().iter().for_each(|socket| socket.tidy(core));
                    self.push(core, Encoded::engine("2"));
                }
                Beat::WaitUntil(at) => break at,
                Beat::Dead => return self.close(core, Closing::PingTimeout),
            }
        };
        let others = self.connect_by.get().min(self.attachments_by.get());
        let next = beat_by.min(others).min(probe_by).min(credentials_by);
        core.look_again(self, next);
    }

    /// Ends a probing WebSocket that took too long; returns when the one that is there must be done.
    fn probe_deadline(&self, now: u64) -> u64 {
        let mut link = self.link.borrow_mut();
        let Link::Polling { probing, .. } = &mut *link else { return u64::MAX };
        match probing {
            Some((stream, by)) if now >= *by => {
                stream.shutdown();
                *probing = None;
                self.engine.borrow_mut().abandon_upgrade();
                u64::MAX
            }
            Some((_, by)) => *by,
            None => u64::MAX,
        }
    }

    /// From now on a socket must appear within the connect timeout again, or none needs to.
    pub(crate) fn expect_socket(&self, core: &Core) {
        if self.sockets.borrow().is_empty() {
            let by = core.now() + self.mount.connect_timeout;
            self.connect_by.set(by);
            core.look_again(self, by);
        } else {
            self.connect_by.set(u64::MAX);
        }
    }
}

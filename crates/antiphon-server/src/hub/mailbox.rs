//! How a core hears of anything from outside it.
//!
//! A locked vector per core, woken only when it was empty: a broadcast to ten thousand connections on four cores is four
//! letters. The bus sees each mailbox as one listener.

use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_core::actor::Principal;
use antiphon_core::event::Envelope;
use antiphon_core::ids::ConnectionId;
use antiphon_core::ports::{Audience, Listener, Mark};
use antiphon_core::topic::Topic;
use tokio::sync::{Notify, oneshot};

use super::rooms::may_be_written;
use crate::cores::Core;
use crate::listen::Port;
use crate::resume::{Claim, HandOver, Logbook};
use crate::telemetry::Sheet;
use crate::transport::crowd::Visit;
use crate::transport::polling;

/// What can arrive.
pub(crate) enum Mail {
    /// An event for somebody on this core, in the room with this mark.
    Event(Arc<Envelope>, Mark),
    /// The same, and it was written down as the letter of this number.
    Logged(Arc<Envelope>, Mark, u64),
    /// A connection of this core is to hear a topic.
    Join(ConnectionId, Topic),
    /// A connection of this core is no longer to hear a topic.
    Leave(ConnectionId, Topic),
    /// A connection was accepted and dealt to this core.
    Accepted(TcpStream, Visit, Arc<Port>),
    /// A polling request for a session of this core.
    Polling(polling::Request),
    /// A WebSocket that wants to take over a polling session of this core.
    Upgrade(polling::Upgrade),
    /// Send every socket of somebody away, and say how many there were.
    Evict(Principal, oneshot::Sender<usize>),
    /// Somebody wants a session of this core.
    Claim(Box<Claim>),
    /// Give a session of this core away.
    HandOver(Box<HandOver>),
    /// A session that waits for its client is to go for another one.
    MakeRoom(ConnectionId),
    /// Say how many listen to a topic.
    Listeners(Topic, oneshot::Sender<usize>),
    /// What has been counted?
    Count(oneshot::Sender<Sheet>),
    /// Close every connection, spread over this time.
    Drain(Duration),
    /// This was the last turn.
    Stop,
}

/// Letters for one core.
#[derive(Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    /// How many there are, for whoever wants to know without taking the lock.
    count: AtomicUsize,
    bell: Notify,
    /// Where that is written down which concerns somebody here who may be resumed after this process, and which core this is.
    book: Option<(Arc<Logbook>, u16)>,
}

#[derive(Default)]
struct Letters {
    waiting: Vec<Mail>,
    /// Nobody takes letters out any more.
    closed: bool,
}

impl Mailbox {
    /// That of `core`, which writes down into `book` what is published for those there who may be resumed.
    pub(crate) fn new(core: u16, book: Option<Arc<Logbook>>) -> Self {
        Self { book: book.map(|book| (book, core)), ..Self::default() }
    }

    /// The number of the letter as which `envelope` is written down, before anybody goes on who publishes it; 0 if it need not be.
    fn write_down(&self, envelope: &Arc<Envelope>, mark: Mark) -> u64 {
        let Some((book, core)) = self.book.as_ref().filter(|_| may_be_written(mark)) else { return 0 };
        let is_of_clients = envelope.topic != Topic::Nodes;
        let is_heard = mark != Mark::NONE || book.is_used();
        if is_of_clients && is_heard { book.letter(envelope, *core) } else { 0 }
    }

    /// Leaves a letter. Never blocks for longer than a push. After [`close`](Self::close) it is thrown away, and whoever waits for
    /// an answer to it sees that none will come.
    pub(crate) fn post(&self, mail: Mail) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if letters.closed {
            // The letter outlives the lock: what is in it may want to post when it is dropped.
            drop(letters);
            return drop(mail);
        }
        let was_empty = letters.waiting.is_empty();
        letters.waiting.push(mail);
        self.count.store(letters.waiting.len(), Relaxed);
        drop(letters);
        if was_empty {
            self.bell.notify_one();
        }
    }

    /// Asks for a turn without leaving a letter.
    pub(crate) fn wake(&self) {
        self.bell.notify_one();
    }

    /// Waits until there is something to do.
    pub(crate) async fn woken(&self) {
        self.bell.notified().await;
    }

    /// Takes everything out, into `emptied`; what was allocated there is used for the letters to come.
    pub(crate) fn take_into(&self, emptied: &mut Vec<Mail>) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut letters.waiting, emptied);
        self.count.store(letters.waiting.len(), Relaxed);
    }

    /// Takes no more letters and throws away those that wait.
    pub(crate) fn close(&self) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.closed = true;
        let waiting = std::mem::take(&mut letters.waiting);
        self.count.store(0, Relaxed);
        // Dropped without the lock: what is in them may want to post.
        drop(letters);
        drop(waiting);
    }

    /// How many letters wait.
    pub(crate) fn waiting(&self) -> usize {
        self.count.load(Relaxed)
    }
}

impl Listener for Mailbox {
    fn deliver(&self, envelope: &Arc<Envelope>, mark: Mark) {
        self.post(match self.write_down(envelope, mark) {
            0 => Mail::Event(envelope.clone(), mark),
            letter => Mail::Logged(envelope.clone(), mark, letter),
        });
    }
}

/// The audience of this node: all cores together.
pub(crate) struct Hub {
    mailboxes: Vec<Arc<Mailbox>>,
}

impl Hub {
    pub(crate) fn new(mailboxes: Vec<Arc<Mailbox>>) -> Self {
        Self { mailboxes }
    }
}

impl Audience for Hub {
    fn join(&self, connection: ConnectionId, topic: &Topic) -> bool {
        // A command runs on the core of the connection it came from, so this is the usual road.
        if let Some(core) = Core::here().filter(|core| core.index == connection.core) {
            return core.join(connection, topic);
        }
        if let Some(mailbox) = self.mailboxes.get(usize::from(connection.core)) {
            mailbox.post(Mail::Join(connection, topic.clone()));
        }
        true
    }

    fn leave(&self, connection: ConnectionId, topic: &Topic) {
        if let Some(core) = Core::here().filter(|core| core.index == connection.core) {
            core.leave(connection, topic);
        } else if let Some(mailbox) = self.mailboxes.get(usize::from(connection.core)) {
            mailbox.post(Mail::Leave(connection, topic.clone()));
        }
    }
}

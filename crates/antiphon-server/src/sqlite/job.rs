//! What a write is while it waits, runs and is answered.

use antiphon_core::ports::Untold;
use antiphon_core::refusal::Fault;
use rusqlite::Connection;
use tokio::sync::oneshot;

/// A write on its way through the queue. Dropping it is an answer too: the caller gets a fault.
pub(super) trait Job: Send {
    /// What it does, for faults.
    fn what(&self) -> &'static str;
    /// Does it, inside a transaction that others share.
    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()>;
    /// Adds what [`committed`](Self::committed) will tell, now that it has run.
    fn tells(&self, untold: &mut Vec<Untold>);
    /// It is durable.
    fn committed(&mut self);
    /// Tells the caller, who may have gone away.
    fn answer(self: Box<Self>, failure: Option<Fault>);
}

pub(super) struct Write<T, W, C> {
    what: &'static str,
    work: Option<W>,
    tells: fn(&T, &mut Vec<Untold>),
    committed: Option<C>,
    value: Option<T>,
    answer: oneshot::Sender<Result<T, Fault>>,
}

impl<T, W, C> Write<T, W, C> {
    /// Does `work`; `committed` tells of what came of it, which is what `tells` adds. The result goes to `answer`.
    pub(super) fn new(
        what: &'static str,
        work: W,
        tells: fn(&T, &mut Vec<Untold>),
        committed: C,
        answer: oneshot::Sender<Result<T, Fault>>,
    ) -> Self {
        Self { what, work: Some(work), tells, committed: Some(committed), value: None, answer }
    }
}

impl<T, W, C> Job for Write<T, W, C>
where
    T: Send,
    W: FnOnce(&Connection) -> rusqlite::Result<T> + Send,
    C: FnOnce(&T) + Send,
{
    fn what(&self) -> &'static str {
        self.what
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.value = Some(work(connection)?);
        }
        Ok(())
    }

    fn tells(&self, untold: &mut Vec<Untold>) {
        if let Some(value) = &self.value {
            (self.tells)(value, untold);
        }
    }

    fn committed(&mut self) {
        if let (Some(committed), Some(value)) = (self.committed.take(), &self.value) {
            committed(value);
        }
    }

    fn answer(self: Box<Self>, failure: Option<Fault>) {
        let result = match (failure, self.value) {
            (None, Some(value)) => Ok(value),
            (Some(fault), _) => Err(fault),
            (None, None) => Err(Fault::new(format!("{}: it was never done", self.what))),
        };
        let _ = self.answer.send(result);
    }
}

/// A write that changes nothing. Nobody waits for it.
pub(super) struct Probe;

impl Job for Probe {
    fn what(&self) -> &'static str {
        "trying whether the disk works"
    }

    fn run(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        // We have no use for this number, and setting it writes a page whatever it was.
        connection.pragma_update(None, "user_version", 0)
    }

    fn tells(&self, _: &mut Vec<Untold>) {}

    fn committed(&mut self) {}

    fn answer(self: Box<Self>, _: Option<Fault>) {}
}

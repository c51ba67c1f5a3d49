//! Who hears what a commit is about to tell, so that it can be told after the start if the process dies in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use antiphon_core::ports::Untold;

use super::job::Job;

/// Hears what commits are about to tell. Called on the writing thread, so it must be quick.
pub trait Witness: Send + Sync {
    /// A commit follows, and then its callbacks tell this, at least one thing, in this order. What was said before and is not told
    /// is not stored either, unless this process dies before anything else is committed.
    fn commits(&self, untold: &[Untold]);
    /// Nothing is untold any more: what was said was told, or is certain not to be stored.
    fn told(&self);
}

/// What the writing thread says to the witness, if there is one.
pub(super) struct Telling {
    witness: Arc<OnceLock<Arc<dyn Witness>>>,
    untold: Vec<Untold>,
    /// Whether the witness was not told yet how it ended.
    is_open: bool,
}

impl Telling {
    /// Says it to whoever will be put there.
    pub(super) fn of(witness: &Arc<OnceLock<Arc<dyn Witness>>>) -> Self {
        Self { witness: Arc::clone(witness), untold: Vec::new(), is_open: false }
    }

    /// These have run and are about to be committed.
    pub(super) fn begin<'a>(&mut self, jobs: impl Iterator<Item = &'a dyn Job>) {
        let Some(witness) = self.witness.get() else { return };
        self.untold.clear();
        jobs.for_each(|job| job.tells(&mut self.untold));
        if !self.untold.is_empty() {
            self.is_open = true;
            contain(|| witness.commits(&self.untold));
        }
    }

    /// What was about to be told was told, or is not stored.
    pub(super) fn end(&mut self) {
        if let Some(witness) = self.witness.get()
            && std::mem::take(&mut self.is_open)
        {
            contain(|| witness.told());
        }
    }
}

/// What a witness breaks must not be what others store.
fn contain(call: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(call)).is_err() {
        tracing::error!("the witness of commits panicked");
    }
}

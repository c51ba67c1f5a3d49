//! Whether the disk under the database does what it should, and what clients are told when it does not.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use antiphon_core::refusal::{Code, Refusal};

/// What is known about the disk. Shared by whoever finds out and whoever wants to know.
#[derive(Debug, Default)]
pub(crate) struct Health {
    condition: AtomicU8,
    /// Bytes that the file system has left for us.
    free: AtomicU64,
}

/// How the disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// As it should be.
    Sound,
    /// It takes nothing more. Each write is tried all the same, so the first that fits ends this.
    Full,
    /// It did not keep what it was given. Nothing is written until the database was opened again and checked.
    Failed,
    /// The check found damage. Nothing is written until the next start.
    Damaged,
}

impl Condition {
    /// Every one, in order of severity.
    pub(crate) const ALL: [Self; 4] = [Self::Sound, Self::Full, Self::Failed, Self::Damaged];

    /// A short name, for metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sound => "sound",
            Self::Full => "full",
            Self::Failed => "failed",
            Self::Damaged => "damaged",
        }
    }

    /// What a client is told whose write was not done.
    pub(super) fn refusal(self) -> Option<Refusal> {
        let (retry_after, message) = match self {
            Self::Sound => return None,
            Self::Full => {
                (5_000, "The disk of this server is full; nothing was stored. Please try again later.")
            }
            Self::Failed => (
                5_000,
                "The disk of this server has failed; nothing is stored until it was checked. Please try again later.",
            ),
            Self::Damaged => (
                60_000,
                "The data of this server is damaged; nothing is stored until its operator has looked at it.",
            ),
        };
        Some(Refusal::new(Code::Unavailable { retry_after }, message))
    }
}

impl Health {
    /// How the disk is.
    pub(crate) fn condition(&self) -> Condition {
        // Only `set` writes it.
        Condition::ALL[usize::from(self.condition.load(Ordering::Acquire))]
    }

    /// Why this server should not be asked for anything that has to be stored, if it should not. A full disk is no reason:
    /// it lasts until somebody makes room, and another server would have no more of it.
    pub(crate) fn unready(&self) -> Option<&'static str> {
        match self.condition() {
            Condition::Sound | Condition::Full => None,
            Condition::Failed => {
                Some("the disk has failed; nothing is stored until the database was checked\n")
            }
            Condition::Damaged => Some("the database is damaged; nothing is stored until the next start\n"),
        }
    }

    /// Bytes that are free, for whoever may not use the reserve of root.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, condition: Condition) {
        self.condition.store(condition as u8, Ordering::Release);
    }

    pub(super) fn set_free(&self, bytes: u64) {
        self.free.store(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_condition_is_remembered_and_only_a_sound_disk_needs_no_excuse() {
        let health = Health::default();
        assert_eq!(health.condition(), Condition::Sound);
        for condition in Condition::ALL {
            health.set(condition);
            assert_eq!(health.condition(), condition);
            assert_eq!(condition.refusal().is_none(), condition == Condition::Sound);
        }
    }
}

//! Why a whole batch is not stored, and what that says about the disk.

use std::error::Error as StdError;
use std::fmt;

use antiphon_core::refusal::Fault;
use rusqlite::{Error, ErrorCode, ffi};

use super::health::Condition;
use super::recovery::Distrust;

/// Why a whole batch is not stored.
#[derive(Debug)]
pub(super) struct Failure {
    doing: &'static str,
    cause: Cause,
}

#[derive(Debug)]
enum Cause {
    /// A statement failed.
    Statement(Error),
    /// There was no connection to run one on.
    Connection(Fault),
    /// What is there may not be what was acknowledged.
    Distrust(Distrust),
}

impl Failure {
    /// A statement failed while `doing`.
    pub(super) fn of(doing: &'static str, error: Error) -> Self {
        Self { doing, cause: Cause::Statement(error) }
    }

    /// There was no connection to run a statement on.
    pub(super) fn opening(fault: Fault) -> Self {
        Self { doing: "opening the database again", cause: Cause::Connection(fault) }
    }

    /// What it was that failed.
    pub(super) fn cause(&self) -> &(dyn StdError + 'static) {
        match &self.cause {
            Cause::Statement(error) => error,
            Cause::Connection(fault) => fault,
            Cause::Distrust(distrust) => distrust,
        }
    }

    /// The database could not be trusted again.
    pub(super) fn distrusted(distrust: Distrust) -> Self {
        Self { doing: "trusting the database again", cause: Cause::Distrust(distrust) }
    }

    /// What it says about the disk, if anything.
    pub(super) fn condition(&self) -> Option<Condition> {
        match &self.cause {
            Cause::Statement(error) if disk_failed(error) => Some(Condition::Failed),
            Cause::Statement(error) if disk_full(error) => Some(Condition::Full),
            Cause::Statement(_) => None,
            Cause::Connection(_) | Cause::Distrust(Distrust::NotYet(..)) => Some(Condition::Failed),
            Cause::Distrust(Distrust::Damaged(_)) => Some(Condition::Damaged),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.doing)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self.cause())
    }
}

/// Whether this error says that the disk has no room. It takes back what it could not take, and what it has it keeps.
pub(super) fn disk_full(error: &Error) -> bool {
    // The index of the log is a file too, and grows with it.
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error.sqlite_error().is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}

/// Whether this error says that the disk, or what is on it, is not what it should be. A full disk is not among them.
pub(super) fn disk_failed(error: &Error) -> bool {
    !disk_full(error)
        && matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::SystemIoFailure
                    | ErrorCode::DatabaseCorrupt
                    | ErrorCode::NotADatabase
                    | ErrorCode::CannotOpen
                    | ErrorCode::ReadOnly
                    | ErrorCode::FileLockingProtocolFailed
            )
        )
}

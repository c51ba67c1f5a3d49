//! What must be remembered of jobs, so that each is done once.

use async_trait::async_trait;

use crate::ids::{PersonId, Timestamp};
use crate::jobs::{Claimant, Claimed, Ending, Job, NewJob};
use crate::refusal::Fault;

/// Jobs that are under way, and those that are over until they are forgotten.
///
/// Rules live in [`jobs`](crate::jobs); a store asks them within the transaction that writes down what they answer, so that of
/// many who claim one job at once one gets it.
#[async_trait]
pub trait Jobs: Send + Sync {
    /// Claims the job: see [`claim`](crate::jobs::claim). Fails if its person does not exist.
    async fn claim_job(&self, job: &NewJob, claimant: &Claimant) -> Result<Claimed, Fault>;
    /// Notes how the work of `holder` ended: see [`settle`](crate::jobs::settle). `false` if it is not theirs; nothing has changed
    /// then.
    async fn settle_job(&self, id: u64, holder: &str, ending: &Ending, at: Timestamp) -> Result<bool, Fault>;
    /// The latest first, of this person if one is named, only those whose id is smaller than `before`, at most `limit`.
    async fn jobs(
        &self,
        person: Option<&PersonId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Job>, Fault>;
}

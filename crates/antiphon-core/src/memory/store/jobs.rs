//! Jobs, and who does them.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::MemoryStore;
use crate::ids::{PersonId, Timestamp};
use crate::jobs::{Claimant, Claimed, Ending, JOBS_KEPT, Job, NewJob, Occasion, claim, settle};
use crate::ports::Jobs;
use crate::refusal::Fault;

/// All jobs.
#[derive(Debug, Default)]
pub(super) struct JobList {
    jobs: BTreeMap<u64, Job>,
    occasions: HashMap<Occasion, u64>,
    /// The last number that was given out.
    last: u64,
}

impl JobList {
    /// Forgets what is older than [`JOBS_KEPT`]; returns how much that was.
    pub(super) fn forget(&mut self, now: Timestamp) -> usize {
        let before = self.jobs.len();
        self.jobs.retain(|_, job| now.0.saturating_sub(job.changed_at.0) < JOBS_KEPT);
        self.occasions.retain(|_, id| self.jobs.contains_key(id));
        before - self.jobs.len()
    }
}

#[async_trait]
impl Jobs for MemoryStore {
    async fn claim_job(&self, job: &NewJob, claimant: &Claimant) -> Result<Claimed, Fault> {
        let mut contents = self.contents();
        contents.check_person(&job.occasion.person, "a job")?;
        let list = &mut contents.jobs;
        let known = list.occasions.get(&job.occasion).and_then(|id| list.jobs.get(id)).cloned();
        let claimed = claim(known, job, claimant, list.last + 1);
        if let Claimed::Yours(job) = &claimed {
            list.last = list.last.max(job.id);
            list.occasions.insert(job.occasion.clone(), job.id);
            list.jobs.insert(job.id, job.clone());
        }
        Ok(claimed)
    }

    async fn settle_job(&self, id: u64, holder: &str, ending: &Ending, at: Timestamp) -> Result<bool, Fault> {
        let mut contents = self.contents();
        let Some(job) = contents.jobs.jobs.get_mut(&id) else { return Ok(false) };
        let Some(state) = settle(job, holder, ending) else { return Ok(false) };
        (job.state, job.changed_at) = (state, at);
        Ok(true)
    }

    async fn jobs(
        &self,
        person: Option<&PersonId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Job>, Fault> {
        let contents = self.contents();
        let earlier = contents.jobs.jobs.range(..before.unwrap_or(u64::MAX)).rev().map(|(_, job)| job);
        let theirs = earlier.filter(|job| person.is_none_or(|person| job.occasion.person == *person));
        Ok(theirs.take(limit as usize).cloned().collect())
    }
}

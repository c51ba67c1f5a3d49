//! Agents at work.

use async_trait::async_trait;

use super::{Contents, MemoryStore, page};
use crate::ids::{AgentId, Timestamp};
use crate::ports::{ReturnCommitted, Stepped, WorkerCommitted, Workers};
use crate::refusal::Fault;
use crate::tasks::Task;
use crate::workers::{AgentStatus, Duties, Moved, Sign, Worker};

impl Contents {
    /// The agent at work, if there is such an agent.
    pub(super) fn worker(&self, agent: &AgentId) -> Option<Worker> {
        let known = self.workers.get(agent).cloned();
        known.or_else(|| self.agents.contains_key(agent).then(|| Worker::unlisted(agent.clone())))
    }

    fn move_worker(&mut self, before: &Worker, sign: &Sign, at: Timestamp) -> Stepped<Moved> {
        let unchanged = || Moved { old: before.status, worker: before.clone(), returned: Vec::new() };
        let worker = match before.after(sign, at) {
            Err(refusal) => return Stepped::Refused(refusal),
            Ok(None) => return Stepped::Repeated(unchanged()),
            Ok(Some(worker)) => worker,
        };
        self.workers.insert(worker.agent.clone(), worker.clone());
        let returned = match worker.status {
            AgentStatus::Offline => self.tasks.take_back(|agent| *agent == worker.agent),
            _ => Vec::new(),
        };
        Stepped::Done(Moved { old: before.status, worker, returned })
    }
}

#[async_trait]
impl Workers for MemoryStore {
    async fn enlist(&self, agent: &AgentId, duties: &Duties) -> Result<Option<Worker>, Fault> {
        let mut contents = self.contents();
        let Some(worker) = contents.worker(agent) else { return Ok(None) };
        let status = if contents.workers.contains_key(agent) { worker.status } else { AgentStatus::Idle };
        let worker = Worker { status, duties: duties.clone(), ..worker };
        contents.workers.insert(agent.clone(), worker.clone());
        Ok(Some(worker))
    }

    async fn worker(&self, agent: &AgentId) -> Result<Option<Worker>, Fault> {
        Ok(self.contents().worker(agent))
    }

    async fn workers(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Worker>, Fault> {
        Ok(page(&self.contents().workers, after, limit))
    }

    async fn move_worker(
        &self,
        agent: &AgentId,
        sign: &Sign,
        at: Timestamp,
        committed: WorkerCommitted,
    ) -> Result<Stepped<Moved>, Fault> {
        let mut contents = self.contents();
        let Some(before) = contents.worker(agent) else { return Ok(Stepped::NoAgent) };
        let stepped = contents.move_worker(&before, sign, at);
        if let Stepped::Done(moved) = &stepped {
            committed(moved);
        }
        Ok(stepped)
    }

    async fn return_tasks(&self, committed: ReturnCommitted) -> Result<Vec<Task>, Fault> {
        let mut contents = self.contents();
        let contents = &mut *contents;
        let returned = contents.tasks.take_back(|agent| !contents.agents.contains_key(agent));
        if !returned.is_empty() {
            committed(&returned);
        }
        Ok(returned)
    }
}

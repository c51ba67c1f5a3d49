//! What agents are to do.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use async_trait::async_trait;

use super::{Contents, MemoryStore};
use crate::ids::{AgentId, TaskId, Timestamp};
use crate::ports::{Stepped, TaskCommitted, TaskFilter, Tasks};
use crate::refusal::{Code, Fault, Refusal};
use crate::tasks::{Priority, Step, Task, TaskStatus};
use crate::workers::Sign;

/// Every task, and which of them wait.
#[derive(Debug, Default)]
pub(super) struct TaskList {
    by_place: BTreeMap<u64, Task>,
    places: HashMap<TaskId, u64>,
    /// What is claimed first comes first.
    waiting: BTreeSet<(Reverse<Priority>, u64)>,
}

impl TaskList {
    /// Writes down how the task is now.
    pub(super) fn put(&mut self, task: Task) {
        let place = (Reverse(task.priority), task.position);
        match task.status {
            TaskStatus::Pending => self.waiting.insert(place),
            _ => self.waiting.remove(&place),
        };
        self.places.insert(task.id, task.position);
        self.by_place.insert(task.position, task);
    }

    /// Takes the tasks back that are open and whose agent is one of these; returns each as it was.
    pub(super) fn take_back(&mut self, is_gone: impl Fn(&AgentId) -> bool) -> Vec<Task> {
        let held = |task: &&Task| task.agent.as_ref().is_some_and(&is_gone) && task.returned().is_some();
        let before: Vec<Task> = self.by_place.values().filter(held).cloned().collect();
        before.iter().filter_map(Task::returned).for_each(|task| self.put(task));
        before
    }

    fn get(&self, id: TaskId) -> Option<&Task> {
        self.by_place.get(self.places.get(&id)?)
    }
}

impl Contents {
    /// `agent` claims `task`, and is heard by it.
    fn claim(&mut self, agent: &AgentId, task: &Task, at: Timestamp) -> Result<Option<Task>, Refusal> {
        let Some(worker) = self.worker(agent) else { return Ok(None) };
        let worker = worker.after(&Sign::Claim, at)?;
        let Some(claimed) = task.after(&Step::Claim(agent.clone()), at)? else { return Ok(None) };
        if let Some(worker) = worker {
            self.workers.insert(agent.clone(), worker);
        }
        self.tasks.put(claimed.clone());
        Ok(Some(claimed))
    }
}

#[async_trait]
impl Tasks for MemoryStore {
    async fn put_task(&self, task: &Task, committed: TaskCommitted) -> Result<Task, Fault> {
        let mut contents = self.contents();
        let tasks = &mut contents.tasks;
        if tasks.get(task.id).is_some() {
            return Err(Fault::new(format!("storing task {}, which is already stored", task.id)));
        }
        if task.parent.is_some_and(|parent| tasks.get(parent).is_none()) {
            return Err(Fault::new(format!("storing task {}, whose parent does not exist", task.id)));
        }
        let position = tasks.by_place.last_key_value().map_or(0, |(last, _)| *last) + 1;
        let task = Task { position, ..task.clone() };
        tasks.put(task.clone());
        committed(&task);
        Ok(task)
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        Ok(self.contents().tasks.get(id).cloned())
    }

    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>, Fault> {
        let contents = self.contents();
        let Some(first) = filter.after.checked_add(1) else { return Ok(Vec::new()) };
        let fits = |task: &&Task| {
            filter.status.is_none_or(|status| task.status == status)
                && filter.agent.as_ref().is_none_or(|agent| task.agent.as_ref() == Some(agent))
        };
        let later = contents.tasks.by_place.range(first..).map(|(_, task)| task);
        Ok(later.filter(fits).take(limit as usize).cloned().collect())
    }

    async fn step_task(
        &self,
        id: TaskId,
        step: &Step,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Task>, Fault> {
        let mut contents = self.contents();
        let Some(task) = contents.tasks.get(id).cloned() else { return Ok(Stepped::NoTask) };
        let stepped = match step {
            Step::Assign(agent) | Step::Claim(agent) if contents.worker(agent).is_none() => {
                return Ok(Stepped::NoAgent);
            }
            Step::Assign(agent) if contents.worker(agent).is_some_and(|w| !w.status.may_be_given_work()) => {
                Err(Refusal::new(Code::Conflict, "This agent is not there."))
            }
            Step::Claim(agent) => contents.claim(agent, &task, at),
            _ => task.after(step, at),
        };
        Ok(match stepped {
            Err(refusal) => Stepped::Refused(refusal),
            Ok(None) => Stepped::Repeated(task),
            Ok(Some(task)) => {
                if let Step::Start(agent) = step
                    && let Some(Ok(Some(heard))) =
                        contents.worker(agent).map(|worker| worker.after(&Sign::Start, at))
                {
                    contents.workers.insert(agent.clone(), heard);
                }
                contents.tasks.put(task.clone());
                committed(&task);
                Stepped::Done(task)
            }
        })
    }

    async fn claim_task(
        &self,
        agent: &AgentId,
        needs: Option<&[String]>,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Option<Task>>, Fault> {
        let mut contents = self.contents();
        let Some(worker) = contents.worker(agent) else { return Ok(Stepped::NoAgent) };
        if let Err(refusal) = worker.after(&Sign::Claim, at) {
            return Ok(Stepped::Refused(refusal));
        }
        let fits = |task: &&Task| {
            let is_capable = |need: &String| worker.duties.capabilities.contains(need);
            let is_wanted =
                needs.is_none_or(|needs| task.needs.as_ref().is_some_and(|need| needs.contains(need)));
            is_wanted && task.needs.as_ref().is_none_or(is_capable)
        };
        let tasks = &contents.tasks;
        let next =
            tasks.waiting.iter().filter_map(|(_, place)| tasks.by_place.get(place)).find(fits).cloned();
        let Some(next) = next else { return Ok(Stepped::Repeated(None)) };
        Ok(match contents.claim(agent, &next, at) {
            Err(refusal) => Stepped::Refused(refusal),
            Ok(None) => Stepped::Repeated(None),
            Ok(Some(task)) => {
                committed(&task);
                Stepped::Done(Some(task))
            }
        })
    }
}

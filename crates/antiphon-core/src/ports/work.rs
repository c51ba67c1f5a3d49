//! What must be remembered of tasks and of the agents that work on them.
//!
//! Rules live in [`tasks`](crate::tasks) and [`workers`](crate::workers); a store asks them within the transaction that writes
//! down what they answer, so that of many who want the same thing at once one gets it.

use async_trait::async_trait;

use crate::ids::{AgentId, TaskId, Timestamp};
use crate::refusal::{Fault, Refusal};
use crate::tasks::{Step, Task, TaskStatus};
use crate::workers::{Duties, Moved, Sign, Worker};

/// What agents are to do.
///
/// `committed` is called exactly once when what is asked has changed something and is durable, before the method returns; calls
/// come in the order of commits, those of [`Workers`] included. It must be quick and must not block.
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Adds a task, in the place after all others; returns it with that place. Fails if its id is taken, and if its parent does
    /// not exist.
    async fn put_task(&self, task: &Task, committed: TaskCommitted) -> Result<Task, Fault>;
    /// The task, if there is one.
    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault>;
    /// Tasks that fit `filter`, in the order of their places, at most `limit`.
    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>, Fault>;
    /// Does `step` with the task. Where it gives the task to an agent, that agent must exist and be fit to take it; where an
    /// agent claims it or begins with it, that is a sign of its life.
    async fn step_task(
        &self,
        id: TaskId,
        step: &Step,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Task>, Fault>;
    /// Gives `agent` the most urgent task that waits and that it is capable of, the oldest of those; [`Stepped::Repeated`]
    /// with `None` when there is none. With `needs`, only tasks that need one of these.
    async fn claim_task(
        &self,
        agent: &AgentId,
        needs: Option<&[String]>,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Option<Task>>, Fault>;
}

/// Agents at work.
#[async_trait]
pub trait Workers: Send + Sync {
    /// From now on these are the agent's duties; one that was not enlisted before becomes idle. Returns it as it is then, or
    /// `None` if there is no such agent.
    async fn enlist(&self, agent: &AgentId, duties: &Duties) -> Result<Option<Worker>, Fault>;
    /// The agent at work; [`Worker::unlisted`] if it exists and nothing else is known of it.
    async fn worker(&self, agent: &AgentId) -> Result<Option<Worker>, Fault>;
    /// Agents of which more is known than that they exist, whose id comes after `after`, in the order of ids (by bytes), at most
    /// `limit`.
    async fn workers(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Worker>, Fault>;
    /// Notes a sign of the agent, and takes its tasks back if it is gone then. `committed` as in [`Tasks`].
    async fn move_worker(
        &self,
        agent: &AgentId,
        sign: &Sign,
        at: Timestamp,
        committed: WorkerCommitted,
    ) -> Result<Stepped<Moved>, Fault>;
    /// Takes back the tasks of agents that do not exist any more, some of them; returns each as it was before, and calls
    /// `committed` with them if there are any.
    async fn return_tasks(&self, committed: ReturnCommitted) -> Result<Vec<Task>, Fault>;
}

/// Called with the task as it is after the commit.
pub type TaskCommitted = Box<dyn FnOnce(&Task) + Send>;

/// Called with what a sign has made of an agent, after the commit.
pub type WorkerCommitted = Box<dyn FnOnce(&Moved) + Send>;

/// Called with the tasks that wait again, as they were before, after the commit.
pub type ReturnCommitted = Box<dyn FnOnce(&[Task]) + Send>;

/// Which tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Those in a later place than this; 0 is all.
    pub after: u64,
    /// Those that are this far.
    pub status: Option<TaskStatus>,
    /// Those that this agent has or had.
    pub agent: Option<AgentId>,
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stepped<T> {
    /// It was done.
    Done(T),
    /// It was done before; nothing has changed.
    Repeated(T),
    /// The rules do not allow it now; nothing has changed.
    Refused(Refusal),
    /// There is no such task.
    NoTask,
    /// There is no such agent.
    NoAgent,
}

//! Tasks and agents at work as JSON.

use antiphon_core::tasks::{Priority, Task, TaskStatus};
use antiphon_core::workers::{AgentStatus, Rank, Worker};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::moment;

/// A task.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Task)]
pub(super) struct TaskView {
    /// Its id, a UUID.
    id: String,
    /// Its place among all tasks, 1 for the first.
    position: u64,
    /// What it is called.
    title: String,
    /// What is to be done, in words.
    description: String,
    /// `low`, `medium`, `high` or `critical`.
    #[schema(value_type = String)]
    priority: Priority,
    /// What is to be done, as JSON.
    #[schema(value_type = Value)]
    payload: Box<RawValue>,
    /// What an agent must be capable of to claim it.
    needs: Option<String>,
    /// `pending`, `assigned`, `running`, `completed`, `failed` or `cancelled`.
    #[schema(value_type = String)]
    status: TaskStatus,
    /// Who has it, or had it when it ended.
    agent: Option<String>,
    /// What came of it, as JSON.
    #[schema(value_type = Option<Value>)]
    result: Option<Box<RawValue>>,
    /// Why it failed.
    error: Option<String>,
    /// Who wanted it.
    created_by: String,
    /// The task that it is a part of.
    parent: Option<String>,
    /// The conversation that it came from.
    conversation: Option<String>,
    /// 1, and one more with every change.
    version: u64,
    /// How often it came back from an agent that had gone.
    reclaims: u32,
    /// When it was created.
    created_at: String,
    /// When it got the agent that it has.
    assigned_at: Option<String>,
    /// When that agent claimed it.
    claimed_at: Option<String>,
    /// When that agent began.
    started_at: Option<String>,
    /// When it was completed, failed or cancelled.
    ended_at: Option<String>,
}

impl From<Task> for TaskView {
    fn from(task: Task) -> Self {
        Self {
            id: task.id.to_string(),
            position: task.position,
            title: task.title,
            description: task.description,
            priority: task.priority,
            payload: raw(task.payload),
            needs: task.needs,
            status: task.status,
            agent: task.agent.map(|agent| agent.to_string()),
            result: task.result.map(raw),
            error: task.error,
            created_by: task.created_by,
            parent: task.parent.map(|parent| parent.to_string()),
            conversation: task.conversation.map(|conversation| conversation.to_string()),
            version: task.version,
            reclaims: task.reclaims,
            created_at: moment::write(task.created_at),
            assigned_at: task.assigned_at.map(moment::write),
            claimed_at: task.claimed_at.map(moment::write),
            started_at: task.started_at.map(moment::write),
            ended_at: task.ended_at.map(moment::write),
        }
    }
}

/// An agent at work.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Worker)]
pub(super) struct WorkerView {
    /// Which agent.
    agent: String,
    /// `idle`, `initializing`, `ready`, `busy`, `paused`, `error`, `shutting_down` or `offline`.
    #[schema(value_type = String)]
    status: AgentStatus,
    /// What it was before.
    #[schema(value_type = Option<String>)]
    previous: Option<AgentStatus>,
    /// `main`, `subagent` or `worker`.
    #[schema(value_type = String)]
    rank: Rank,
    /// What it is capable of.
    capabilities: Vec<String>,
    /// Its version.
    version: String,
    /// The agent that it works for.
    parent: Option<String>,
    /// What it last said about itself, as JSON.
    #[schema(value_type = Value)]
    metadata: Box<RawValue>,
    /// When it last gave a sign of life.
    heard_at: Option<String>,
    /// When its status became what it is.
    changed_at: Option<String>,
}

impl From<Worker> for WorkerView {
    fn from(worker: Worker) -> Self {
        Self {
            agent: worker.agent.to_string(),
            status: worker.status,
            previous: worker.previous,
            rank: worker.duties.rank,
            capabilities: worker.duties.capabilities,
            version: worker.duties.version,
            parent: worker.duties.parent.map(|parent| parent.to_string()),
            metadata: raw(worker.metadata),
            heard_at: worker.heard_at.map(moment::write),
            changed_at: worker.changed_at.map(moment::write),
        }
    }
}

/// JSON that came in as such, and goes out as it is.
pub(super) fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

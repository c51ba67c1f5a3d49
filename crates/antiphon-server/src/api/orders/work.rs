//! The commands about tasks and agents at work as JSON, one struct each, and how each becomes a command of the core.

use antiphon_core::command::Command;
use antiphon_core::event::Severity;
use antiphon_core::ids::{AgentId, ConversationId, TaskId};
use antiphon_core::ports::TaskFilter;
use antiphon_core::refusal::Refusal;
use antiphon_core::tasks::{NewTask, Priority, Step, TaskStatus};
use antiphon_core::workers::{AgentStatus, Control, Duties, Rank};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Draft, Who};
use crate::api::span::hundred;
use crate::api::topics;

/// Want a task done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateTask {
    /// What it is called: 1 to 256 bytes.
    title: String,
    /// What is to be done, in words.
    #[serde(default)]
    description: String,
    /// `low`, `medium`, `high` or `critical`. Default: `medium`.
    #[serde(default = "medium")]
    #[schema(value_type = String)]
    priority: Priority,
    /// What is to be done, as any JSON of at most 32,768 bytes. Default: null.
    #[schema(value_type = Option<Value>)]
    payload: Option<Box<RawValue>>,
    /// What an agent must be capable of to claim it.
    needs: Option<String>,
    /// The task that it is a part of.
    parent: Option<String>,
    /// The conversation that it came from.
    conversation: Option<String>,
}

fn medium() -> Priority {
    Priority::Medium
}

impl Draft for CreateTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let task = NewTask {
            title: self.title,
            description: self.description,
            priority: self.priority,
            payload: self.payload.map_or_else(|| "null".into(), |json| json.get().into()),
            needs: self.needs,
            parent: self.parent.as_deref().map(task_id).transpose()?,
            conversation: self.conversation.as_deref().map(conversation_id).transpose()?,
        };
        Ok(Command::CreateTask { task: Box::new(task) })
    }
}

/// Give a task to an agent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AssignTask {
    /// Which task.
    task: String,
    /// To whom.
    agent: String,
}

impl Draft for AssignTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        change(&self.task, Step::Assign(AgentId::parse(&self.agent)?))
    }
}

/// Have an agent claim a task: this one, or the most urgent one that waits.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimTask {
    /// Who claims it.
    agent: String,
    /// Which task. Without it, the most urgent one that the agent is capable of, the oldest of those.
    task: Option<String>,
    /// Only a task that needs one of these; not together with `task`.
    needs: Option<Vec<String>>,
}

impl Draft for ClaimTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let agent = AgentId::parse(&self.agent)?;
        match (self.task, self.needs) {
            (None, needs) => Ok(Command::ClaimTask { agent, needs }),
            (Some(task), None) => change(&task, Step::Claim(agent)),
            (Some(_), Some(_)) => Err(Refusal::invalid("A claim names a task or what tasks need, not both.")),
        }
    }
}

/// Have an agent begin with a task that it has.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartTask {
    /// Which task.
    task: String,
    /// Who has it.
    agent: String,
}

impl Draft for StartTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        change(&self.task, Step::Start(AgentId::parse(&self.agent)?))
    }
}

/// Say how a task is going.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportProgress {
    /// Which task.
    task: String,
    /// Who has it.
    agent: String,
    /// Any JSON of at most 32,768 bytes.
    #[schema(value_type = Value)]
    update: Box<RawValue>,
}

impl Draft for ReportProgress {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        change(&self.task, Step::Progress(AgentId::parse(&self.agent)?, self.update.get().into()))
    }
}

/// Say that a task is done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CompleteTask {
    /// Which task.
    task: String,
    /// Who has it.
    agent: String,
    /// What came of it, as any JSON of at most 32,768 bytes. Default: null.
    #[schema(value_type = Option<Value>)]
    result: Option<Box<RawValue>>,
}

impl Draft for CompleteTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let result = self.result.map_or_else(|| "null".into(), |json| json.get().into());
        change(&self.task, Step::Complete(AgentId::parse(&self.agent)?, result))
    }
}

/// Say that a task could not be done.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FailTask {
    /// Which task.
    task: String,
    /// Who has it.
    agent: String,
    /// Why, in words.
    error: String,
}

impl Draft for FailTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        change(&self.task, Step::Fail(AgentId::parse(&self.agent)?, self.error))
    }
}

/// Cancel a task that is not finished.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelTask {
    /// Which task.
    task: String,
}

impl Draft for CancelTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        change(&self.task, Step::Cancel)
    }
}

/// Read a task.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadTask {
    /// Which one.
    task: String,
}

impl Draft for ReadTask {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadTask { task: task_id(&self.task)? })
    }
}

/// Read tasks, oldest first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadTasks {
    /// Only those in a later place. Default: 0, from the start.
    #[serde(default)]
    after: u64,
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
    /// Only `pending`, `assigned`, `running`, `completed`, `failed` or `cancelled` ones.
    #[schema(value_type = Option<String>)]
    status: Option<TaskStatus>,
    /// Only those that this agent has or had.
    agent: Option<String>,
}

impl Draft for ReadTasks {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let agent = self.agent.as_deref().map(AgentId::parse).transpose()?;
        let filter = TaskFilter { after: self.after, status: self.status, agent };
        Ok(Command::ReadTasks { filter, limit: self.limit })
    }
}

/// Say what an agent is there for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EnlistAgent {
    /// Which one.
    agent: String,
    /// `main`, `subagent` or `worker`. Default: `worker`.
    #[serde(default = "worker")]
    #[schema(value_type = String)]
    rank: Rank,
    /// What it is capable of: at most 64 names.
    #[serde(default)]
    capabilities: Vec<String>,
    /// Its version, in its owner's words.
    #[serde(default)]
    version: String,
    /// The agent that it works for.
    parent: Option<String>,
}

fn worker() -> Rank {
    Rank::Worker
}

impl Draft for EnlistAgent {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let parent = self.parent.as_deref().map(AgentId::parse).transpose()?;
        let duties =
            Duties { rank: self.rank, capabilities: self.capabilities, version: self.version, parent };
        Ok(Command::EnlistAgent { agent: AgentId::parse(&self.agent)?, duties: Box::new(duties) })
    }
}

/// Tell an agent at work what to do.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ControlAgent {
    /// Which one.
    agent: String,
    /// `pause`, `resume`, `restart` or `stop`.
    #[schema(value_type = String)]
    control: Control,
}

impl Draft for ControlAgent {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ControlAgent { agent: AgentId::parse(&self.agent)?, control: self.control })
    }
}

/// Say how an agent at work is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetAgentStatus {
    /// Which one.
    agent: String,
    /// `idle`, `initializing`, `ready`, `busy`, `paused`, `error`, `shutting_down` or `offline`.
    #[schema(value_type = String)]
    status: AgentStatus,
}

impl Draft for SetAgentStatus {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::SetAgentStatus { agent: AgentId::parse(&self.agent)?, status: self.status })
    }
}

/// Say that an agent at work is alive. From then on its silence means that it is gone.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Heartbeat {
    /// Which one.
    agent: String,
    /// What it says about itself, as any JSON of at most 32,768 bytes.
    #[schema(value_type = Option<Value>)]
    metadata: Option<Box<RawValue>>,
}

impl Draft for Heartbeat {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let metadata = self.metadata.map(|json| json.get().into());
        Ok(Command::Heartbeat { agent: AgentId::parse(&self.agent)?, metadata })
    }
}

/// Read how an agent is.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadWorker {
    /// Which one.
    agent: String,
}

impl Draft for ReadWorker {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadWorker { agent: AgentId::parse(&self.agent)? })
    }
}

/// Read how agents at work are, in the order of ids.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadWorkers {
    /// Only those whose id comes after this.
    after: Option<String>,
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
}

impl Draft for ReadWorkers {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let after = self.after.as_deref().map(AgentId::parse).transpose()?;
        Ok(Command::ReadWorkers { after, limit: self.limit })
    }
}

/// Read a conversation by its id, oldest first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadConversation {
    /// Its id, a UUID.
    conversation: String,
    /// Only messages with a greater position. Default: 0.
    #[serde(default)]
    after: u64,
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
}

impl Draft for ReadConversation {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let conversation = conversation_id(&self.conversation)?;
        Ok(Command::ReadConversation { conversation, after: self.after, limit: self.limit })
    }
}

/// Read which conversations there are, each by its last message, in the order of ids.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadConversations {
    /// Only those whose id comes after this.
    after: Option<String>,
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
}

impl Draft for ReadConversations {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let after = self.after.as_deref().map(conversation_id).transpose()?;
        Ok(Command::ReadConversations { after, limit: self.limit })
    }
}

/// Tell whoever looks after this server something.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RaiseAlert {
    /// What, in words.
    message: String,
    /// `info`, `warning`, `error` or `critical`. Default: `info`.
    #[serde(default = "info")]
    #[schema(value_type = String)]
    severity: Severity,
}

fn info() -> Severity {
    Severity::Info
}

impl Draft for RaiseAlert {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::RaiseAlert { message: self.message, severity: self.severity })
    }
}

/// Begin to listen to a topic. It says whether one may: a request has no connection that could hear.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    /// `dashboard`, `task:<uuid>`, `agent:<id>`, `conversation:<uuid>` or any other.
    topic: String,
}

impl Draft for Watch {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::Watch { topic: topics::read(&self.topic)?, name: self.topic.into() })
    }
}

/// Stop listening to a topic.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Unwatch {
    /// Which one.
    topic: String,
}

impl Draft for Unwatch {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::Unwatch { topic: topics::read(&self.topic)?, name: self.topic.into() })
    }
}

fn change(task: &str, step: Step) -> Result<Command, Refusal> {
    Ok(Command::ChangeTask { task: task_id(task)?, step })
}

fn task_id(text: &str) -> Result<TaskId, Refusal> {
    Uuid::parse_str(text).map(TaskId).map_err(|_| Refusal::invalid("A task is named by its UUID."))
}

fn conversation_id(text: &str) -> Result<ConversationId, Refusal> {
    let not_one = |_| Refusal::invalid("A conversation is named by its UUID.");
    Uuid::parse_str(text).map(ConversationId).map_err(not_one)
}

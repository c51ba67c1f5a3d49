//! Tasks: what agents are to do, who has which, and what became of it.
//!
//! A task waits, is assigned to an agent or claimed by one, runs, and ends in one of three ways. If its agent goes silent it
//! waits again. [`Task::after`] is the whole table; the store asks it within the transaction that writes the answer down.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, ConversationId, TaskId, Timestamp};
use crate::refusal::{Code, Refusal};

/// Longest title of a task, and longest name of what it needs, in bytes.
pub const MAX_TITLE_BYTES: usize = 256;

/// Longest description, payload, update, result, error or metadata, in bytes.
pub const MAX_JSON_BYTES: usize = 32 * 1024;

/// A task as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: TaskId,
    /// Its place among all tasks, 1 for the first; given by the store.
    pub position: u64,
    /// What it is called.
    pub title: String,
    /// What is to be done, in words.
    pub description: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What is to be done, as JSON that the core does not look into.
    pub payload: String,
    /// What an agent must be capable of to claim it; `None` is nothing in particular.
    pub needs: Option<String>,
    /// How far it is.
    pub status: TaskStatus,
    /// Who has it, or had it when it ended.
    pub agent: Option<AgentId>,
    /// What came of it, as JSON, once it is completed.
    pub result: Option<String>,
    /// Why it failed, once it has.
    pub error: Option<String>,
    /// Who wanted it: a [`Principal`](crate::actor::Principal) in text.
    pub created_by: String,
    /// The task that it is a part of.
    pub parent: Option<TaskId>,
    /// The conversation that it came from.
    pub conversation: Option<ConversationId>,
    /// 1, and one more with every change.
    pub version: u64,
    /// How often it came back from an agent that had gone.
    pub reclaims: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it got the agent that it has.
    pub assigned_at: Option<Timestamp>,
    /// When that agent claimed it.
    pub claimed_at: Option<Timestamp>,
    /// When that agent began.
    pub started_at: Option<Timestamp>,
    /// When it was completed, failed or cancelled.
    pub ended_at: Option<Timestamp>,
}

/// A task that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTask {
    /// What it is called: 1 to [`MAX_TITLE_BYTES`] bytes.
    pub title: String,
    /// What is to be done, in words; may be empty.
    pub description: String,
    /// How urgent it is.
    pub priority: Priority,
    /// What is to be done, as JSON of at most [`MAX_JSON_BYTES`] bytes.
    pub payload: String,
    /// What an agent must be capable of to claim it.
    pub needs: Option<String>,
    /// The task that it is a part of.
    pub parent: Option<TaskId>,
    /// The conversation that it came from.
    pub conversation: Option<ConversationId>,
}

/// How urgent a task is. What is greater is claimed first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// When there is nothing else to do.
    Low,
    /// As most.
    Medium,
    /// Before most.
    High,
    /// Before everything.
    Critical,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// Nobody has it.
    Pending,
    /// An agent has it and has not begun.
    Assigned,
    /// An agent is at it.
    Running,
    /// It is done.
    Completed,
    /// It could not be done.
    Failed,
    /// Nobody wants it any more.
    Cancelled,
}

/// What somebody does with a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Give it to an agent.
    Assign(AgentId),
    /// The agent takes it, or says that it has seen that it was given it.
    Claim(AgentId),
    /// The agent begins.
    Start(AgentId),
    /// The agent says how it is going, as JSON.
    Progress(AgentId, String),
    /// The agent is done; what came of it is JSON.
    Complete(AgentId, String),
    /// The agent could not do it, and says why.
    Fail(AgentId, String),
    /// It is not wanted any more.
    Cancel,
}

/// What became different about a task on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskUpdate {
    /// Its agent has begun.
    Started,
    /// Its agent says how it is going, as JSON.
    Progress(String),
    /// It waits again, because its agent, this one, has gone.
    Returned(AgentId),
}

impl NewTask {
    /// Whether the task may be stored.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.title.trim().is_empty() {
            return Err(Refusal::invalid("A task needs a title."));
        }
        if self.title.len() > MAX_TITLE_BYTES
            || self.needs.as_ref().is_some_and(|n| n.len() > MAX_TITLE_BYTES)
        {
            return Err(too_large("The title of a task and what it needs have at most 256 bytes."));
        }
        if self.needs.as_ref().is_some_and(|needs| needs.chars().any(char::is_control)) {
            return Err(Refusal::invalid("What a task needs must not contain control characters."));
        }
        if self.description.len() > MAX_JSON_BYTES {
            return Err(too_large("The description of a task has at most 32,768 bytes."));
        }
        check_json(&self.payload)
    }

    /// The task as it begins, without a place yet.
    pub fn begun(self, created_by: String, at: Timestamp) -> Task {
        Task {
            id: TaskId::random(),
            position: 0,
            title: self.title,
            description: self.description,
            priority: self.priority,
            payload: self.payload,
            needs: self.needs,
            status: TaskStatus::Pending,
            agent: None,
            result: None,
            error: None,
            created_by,
            parent: self.parent,
            conversation: self.conversation,
            version: 1,
            reclaims: 0,
            created_at: at,
            assigned_at: None,
            claimed_at: None,
            started_at: None,
            ended_at: None,
        }
    }
}

impl Step {
    /// Whether what it says may be stored.
    pub fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::Progress(_, json) | Self::Complete(_, json) => check_json(json),
            Self::Fail(_, error) if error.len() > MAX_JSON_BYTES => {
                Err(too_large("The error of a task has at most 32,768 bytes."))
            }
            Self::Fail(..) | Self::Assign(_) | Self::Claim(_) | Self::Start(_) | Self::Cancel => Ok(()),
        }
    }

    /// The agent that does it, if it is an agent.
    pub fn agent(&self) -> Option<&AgentId> {
        match self {
            Self::Claim(agent)
            | Self::Start(agent)
            | Self::Progress(agent, _)
            | Self::Complete(agent, _)
            | Self::Fail(agent, _) => Some(agent),
            Self::Assign(_) | Self::Cancel => None,
        }
    }

    /// Its name as an order, in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Assign(_) => "AssignTask",
            Self::Claim(_) => "ClaimTask",
            Self::Start(_) => "StartTask",
            Self::Progress(..) => "ReportProgress",
            Self::Complete(..) => "CompleteTask",
            Self::Fail(..) => "FailTask",
            Self::Cancel => "CancelTask",
        }
    }
}

impl Task {
    /// The task after `step` at `at`; `None` if the same was done before, so that nothing is left to do.
    ///
    /// A step that the task does not allow now is refused as a conflict.
    pub fn after(&self, step: &Step, at: Timestamp) -> Result<Option<Self>, Refusal> {
        use TaskStatus::{Assigned, Cancelled, Completed, Failed, Pending, Running};

        let is_theirs = |agent: &AgentId| self.agent.as_ref() == Some(agent);
        let mut next = Self { version: self.version + 1, ..self.clone() };
        match (self.status, step) {
            (Pending, Step::Assign(agent)) => next.give(agent, at, None),
            (Assigned | Running, Step::Assign(agent)) if is_theirs(agent) => return Ok(None),
            (Assigned | Running, Step::Assign(_)) => return Err(conflict("Task already assigned")),

            (Pending, Step::Claim(agent)) => next.give(agent, at, Some(at)),
            (Assigned, Step::Claim(agent)) if is_theirs(agent) && self.claimed_at.is_none() => {
                next.claimed_at = Some(at);
            }
            (Assigned | Running, Step::Claim(agent)) if is_theirs(agent) => return Ok(None),

            (Assigned, Step::Start(agent)) if is_theirs(agent) => {
                next.status = Running;
                next.started_at = Some(at);
            }
            (Running, Step::Start(agent)) if is_theirs(agent) => return Ok(None),

            (Running, Step::Progress(agent, _)) if is_theirs(agent) => {}

            (Running, Step::Complete(agent, result)) if is_theirs(agent) => {
                next.end(Completed, at);
                next.result = Some(result.clone());
            }
            (Completed, Step::Complete(agent, result))
                if is_theirs(agent) && self.result.as_ref() == Some(result) =>
            {
                return Ok(None);
            }

            (Assigned | Running, Step::Fail(agent, error)) if is_theirs(agent) => {
                next.end(Failed, at);
                next.error = Some(error.clone());
            }
            (Failed, Step::Fail(agent, error)) if is_theirs(agent) && self.error.as_ref() == Some(error) => {
                return Ok(None);
            }

            (Pending | Assigned | Running, Step::Cancel) => next.end(Cancelled, at),
            (Cancelled, Step::Cancel) => return Ok(None),

            (Completed | Failed | Cancelled, _) => return Err(conflict("This task is finished.")),
            (Pending, _) => return Err(conflict("Nobody has claimed this task.")),
            (Assigned, Step::Progress(agent, _) | Step::Complete(agent, _)) if is_theirs(agent) => {
                return Err(conflict("This task has not been started."));
            }
            (Assigned | Running, _) => return Err(conflict("This task belongs to another agent.")),
        }
        Ok(Some(next))
    }

    /// The task after its agent has gone: it waits again, in its old place. `None` if nobody has it.
    pub fn returned(&self) -> Option<Self> {
        matches!(self.status, TaskStatus::Assigned | TaskStatus::Running).then(|| Self {
            status: TaskStatus::Pending,
            agent: None,
            assigned_at: None,
            claimed_at: None,
            started_at: None,
            version: self.version + 1,
            reclaims: self.reclaims.saturating_add(1),
            ..self.clone()
        })
    }

    fn give(&mut self, agent: &AgentId, at: Timestamp, claimed: Option<Timestamp>) {
        self.status = TaskStatus::Assigned;
        self.agent = Some(agent.clone());
        self.assigned_at = Some(at);
        self.claimed_at = claimed;
    }

    fn end(&mut self, status: TaskStatus, at: Timestamp) {
        self.status = status;
        self.ended_at = Some(at);
    }
}

/// The one sentence for a task that does not exist.
pub fn task_not_found() -> Refusal {
    Refusal::not_found("Task not found")
}

/// Whether `text` is JSON of at most [`MAX_JSON_BYTES`] bytes.
pub fn check_json(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_JSON_BYTES {
        return Err(too_large("A value has at most 32,768 bytes of JSON."));
    }
    match serde_json::from_str::<IgnoredAny>(text) {
        Ok(IgnoredAny) => Ok(()),
        Err(_) => Err(Refusal::invalid("This is not JSON.")),
    }
}

fn too_large(message: &'static str) -> Refusal {
    Refusal::new(Code::TooLarge, message)
}

fn conflict(message: &'static str) -> Refusal {
    Refusal::new(Code::Conflict, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::TaskStatus::{Assigned, Cancelled, Completed, Failed, Pending, Running};
    use super::*;

    fn agent(name: &str) -> AgentId {
        AgentId::parse(name).unwrap()
    }

    fn new() -> NewTask {
        NewTask {
            title: "Summarise".into(),
            description: String::new(),
            priority: Priority::Medium,
            payload: "{}".into(),
            needs: None,
            parent: None,
            conversation: None,
        }
    }

    /// A task that got to `status` with luna.
    fn task(status: TaskStatus) -> Task {
        let mut task = new().begun("operator".into(), Timestamp(1));
        let (luna, at) = (agent("luna"), Timestamp(2));
        let steps: &[Step] = match status {
            Pending => &[],
            Assigned => &[Step::Assign(luna)],
            Running => &[Step::Claim(luna.clone()), Step::Start(luna)],
            Completed => {
                &[Step::Claim(luna.clone()), Step::Start(luna.clone()), Step::Complete(luna, "1".into())]
            }
            Failed => &[Step::Claim(luna.clone()), Step::Fail(luna, "no".into())],
            Cancelled => &[Step::Claim(luna), Step::Cancel],
        };
        for step in steps {
            task = task.after(step, at).unwrap().unwrap();
        }
        assert_eq!(task.status, status);
        task
    }

    const ALL: [TaskStatus; 6] = [Pending, Assigned, Running, Completed, Failed, Cancelled];

    fn steps(agent: &AgentId) -> [Step; 7] {
        [
            Step::Assign(agent.clone()),
            Step::Claim(agent.clone()),
            Step::Start(agent.clone()),
            Step::Progress(agent.clone(), "{\"percent\":50}".into()),
            Step::Complete(agent.clone(), "1".into()),
            Step::Fail(agent.clone(), "no".into()),
            Step::Cancel,
        ]
    }

    /// Where each step leads from each status, with the agent that has the task: `None` is a conflict, the same status without a
    /// new version is a repeat.
    #[test]
    fn the_table_of_what_may_be_done_with_a_task() {
        type Row = [Option<(TaskStatus, u64)>; 7];
        let table: [(TaskStatus, Row); 6] = [
            //           assign             claim              start            progress            complete              fail              cancel
            (
                Pending,
                [Some((Assigned, 1)), Some((Assigned, 1)), None, None, None, None, Some((Cancelled, 1))],
            ),
            (
                Assigned,
                [
                    Some((Assigned, 0)),
                    Some((Assigned, 1)),
                    Some((Running, 1)),
                    None,
                    None,
                    Some((Failed, 1)),
                    Some((Cancelled, 1)),
                ],
            ),
            (
                Running,
                [
                    Some((Running, 0)),
                    Some((Running, 0)),
                    Some((Running, 0)),
                    Some((Running, 1)),
                    Some((Completed, 1)),
                    Some((Failed, 1)),
                    Some((Cancelled, 1)),
                ],
            ),
            (Completed, [None, None, None, None, Some((Completed, 0)), None, None]),
            (Failed, [None, None, None, None, None, Some((Failed, 0)), None]),
            (Cancelled, [None, None, None, None, None, None, Some((Cancelled, 0))]),
        ];
        for (from, row) in table {
            let before = task(from);
            for (step, expected) in steps(&agent("luna")).iter().zip(row) {
                let after = before.after(step, Timestamp(9));
                let found = match &after {
                    Ok(Some(task)) => Some((task.status, task.version - before.version)),
                    Ok(None) => Some((before.status, 0)),
                    Err(refusal) => {
                        assert_eq!(refusal.code, Code::Conflict);
                        None
                    }
                };
                assert_eq!(found, expected, "{step:?} of {from:?}");
            }
        }
    }

    #[test]
    fn another_agent_changes_nothing_about_a_task_that_is_taken() {
        for status in [Assigned, Running, Completed, Failed] {
            for step in steps(&agent("rex")).iter().filter(|step| **step != Step::Cancel) {
                let refused = task(status).after(step, Timestamp(9)).unwrap_err();
                assert_eq!(refused.code, Code::Conflict, "{step:?} of {status:?}");
            }
        }
    }

    #[test]
    fn an_agent_that_says_something_else_about_a_finished_task_is_refused() {
        let luna = || agent("luna");
        let other = Step::Complete(luna(), "2".into());
        assert_eq!(task(Completed).after(&other, Timestamp(9)).unwrap_err().code, Code::Conflict);
        let other = Step::Fail(luna(), "another reason".into());
        assert_eq!(task(Failed).after(&other, Timestamp(9)).unwrap_err().code, Code::Conflict);
    }

    #[test]
    fn a_task_comes_back_from_an_agent_that_has_gone_as_if_nobody_had_had_it() {
        for status in ALL {
            let before = task(status);
            let open = matches!(status, Assigned | Running);
            let Some(back) = before.returned() else {
                assert!(!open, "{status:?}");
                continue;
            };
            assert!(open, "{status:?}");
            let fresh = new().begun("operator".into(), Timestamp(1));
            let expected = Task { id: before.id, version: before.version + 1, reclaims: 1, ..fresh };
            assert_eq!(back, expected);
        }
    }

    #[test]
    fn what_is_stored_about_a_task_is_named_and_bounded() {
        let code = |change: &dyn Fn(&mut NewTask)| {
            let mut task = new();
            change(&mut task);
            task.check().map_err(|refusal| refusal.code)
        };
        assert_eq!(code(&|_| ()), Ok(()));
        assert_eq!(code(&|task| task.title = " ".into()), Err(Code::Invalid));
        assert_eq!(code(&|task| task.title = "x".repeat(MAX_TITLE_BYTES)), Ok(()));
        assert_eq!(code(&|task| task.title = "x".repeat(MAX_TITLE_BYTES + 1)), Err(Code::TooLarge));
        assert_eq!(code(&|task| task.needs = Some("x".repeat(MAX_TITLE_BYTES + 1))), Err(Code::TooLarge));
        assert_eq!(code(&|task| task.needs = Some("a\0b".into())), Err(Code::Invalid));
        assert_eq!(code(&|task| task.payload = "{".into()), Err(Code::Invalid));
        assert_eq!(code(&|task| task.payload = String::new()), Err(Code::Invalid));
        assert_eq!(code(&|task| task.payload = format!("{:32768}", 1)), Ok(()));
        assert_eq!(code(&|task| task.payload = format!("{:32769}", 1)), Err(Code::TooLarge));
        assert_eq!(code(&|task| task.description = "x".repeat(MAX_JSON_BYTES + 1)), Err(Code::TooLarge));
        let nested = "[".repeat(20_000) + &"]".repeat(12_000);
        assert_eq!(check_json(&nested).unwrap_err().code, Code::Invalid);
        let fails = |error: String| Step::Fail(agent("luna"), error).check().map_err(|refusal| refusal.code);
        assert_eq!(fails("x".repeat(MAX_JSON_BYTES)), Ok(()));
        assert_eq!(fails("x".repeat(MAX_JSON_BYTES + 1)), Err(Code::TooLarge));
        assert!(Step::Complete(agent("luna"), "not json".into()).check().is_err());
    }

    proptest! {
        /// Whatever agents do, a task that is open has an agent, one that waits has none, and versions count changes.
        #[test]
        fn no_sequence_of_steps_breaks_a_task(steps in prop::collection::vec((0..8_usize, 0..2_usize), 0..40)) {
            let mut task = new().begun("operator".into(), Timestamp(0));
            for (at, (what, who)) in steps.into_iter().enumerate() {
                let who = agent(["luna", "rex"][who]);
                let before = task.clone();
                let at = Timestamp(at as i64);
                let next = match what {
                    7 => Ok(task.returned()),
                    _ => task.after(&self::steps(&who)[what], at),
                };
                if let Ok(Some(next)) = next {
                    prop_assert_eq!(next.version, before.version + 1);
                    task = next;
                }
                match task.status {
                    Pending => prop_assert!(task.agent.is_none() && task.assigned_at.is_none()),
                    Assigned => prop_assert!(task.agent.is_some() && task.started_at.is_none()),
                    Running => prop_assert!(task.agent.is_some() && task.started_at.is_some()),
                    Completed => prop_assert!(task.result.is_some() && task.ended_at.is_some()),
                    Failed => prop_assert!(task.error.is_some() && task.ended_at.is_some()),
                    Cancelled => prop_assert!(task.ended_at.is_some()),
                }
            }
        }
    }
}

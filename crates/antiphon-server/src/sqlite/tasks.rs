//! Which statements tasks need: their places, their steps, and the one that is claimed next.
//!
//! What a step makes of a task is the core's to say; it is asked within the writer's transaction, so nothing comes in between.

use antiphon_core::ids::{AgentId, TaskId, Timestamp};
use antiphon_core::ports::{Stepped, TaskCommitted, TaskFilter, Tasks, Untold};
use antiphon_core::refusal::{Code, Fault, Refusal};
use antiphon_core::tasks::{Priority, Step, Task, TaskStatus};
use antiphon_core::workers::Sign;
use async_trait::async_trait;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::SqliteStore;
use super::rows::{agent_id, conversation_id, count, counted, from_texts};
use super::workers::{put_worker, worker};

#[async_trait]
impl Tasks for SqliteStore {
    async fn put_task(&self, task: &Task, committed: TaskCommitted) -> Result<Task, Fault> {
        let task = task.clone();
        let work = move |connection: &Connection| {
            let last = "SELECT coalesce(max(position), 0) FROM tasks";
            let last = connection.prepare_cached(last)?.query_row([], |row| count(row, 0))?;
            let task = Task { position: last + 1, ..task };
            insert(connection, &task)?;
            Ok(task)
        };
        let tells = |_: &Task, untold: &mut Vec<Untold>| untold.push(Untold::Other);
        self.writer.write("storing a task", work, tells, |task: &Task| committed(task)).await
    }

    async fn task(&self, id: TaskId) -> Result<Option<Task>, Fault> {
        self.read("reading a task", move |connection| find(connection, id)).await
    }

    async fn tasks(&self, filter: &TaskFilter, limit: u32) -> Result<Vec<Task>, Fault> {
        let filter = filter.clone();
        self.read("reading tasks", move |connection| list(connection, &filter, limit)).await
    }

    async fn step_task(
        &self,
        id: TaskId,
        step: &Step,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Task>, Fault> {
        let step = step.clone();
        let work = move |connection: &Connection| take_step(connection, id, &step, at);
        let committed = move |stepped: &Stepped<Task>| {
            if let Stepped::Done(task) = stepped {
                committed(task);
            }
        };
        let tells = |stepped: &Stepped<Task>, untold: &mut Vec<Untold>| {
            if let Stepped::Done(_) = stepped {
                untold.push(Untold::Other);
            }
        };
        self.writer.write("changing a task", work, tells, committed).await
    }

    async fn claim_task(
        &self,
        agent: &AgentId,
        needs: Option<&[String]>,
        at: Timestamp,
        committed: TaskCommitted,
    ) -> Result<Stepped<Option<Task>>, Fault> {
        let (agent, needs) = (agent.clone(), needs.map(<[String]>::to_vec));
        let work = move |connection: &Connection| claim_next(connection, &agent, needs.as_deref(), at);
        let committed = move |stepped: &Stepped<Option<Task>>| {
            if let Stepped::Done(Some(task)) = stepped {
                committed(task);
            }
        };
        let tells = |stepped: &Stepped<Option<Task>>, untold: &mut Vec<Untold>| {
            if let Stepped::Done(Some(_)) = stepped {
                untold.push(Untold::Other);
            }
        };
        self.writer.write("claiming a task", work, tells, committed).await
    }
}

/// Which task is claimed next by whoever is capable of ?1, of those that need one of ?2 if that is not NULL.
pub(super) const NEXT: &str =
    "SELECT position, id, title, description, priority, payload, needs, status, agent, result,
            error, created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
            started_at, ended_at
     FROM tasks INDEXED BY tasks_waiting
     WHERE status = 'pending' AND (needs IS NULL OR needs IN (SELECT value FROM json_each(?1)))
         AND (?2 IS NULL OR needs IN (SELECT value FROM json_each(?2)))
     ORDER BY priority DESC, position LIMIT 1";

/// The tasks that an agent has and has not finished.
pub(super) const HELD: &str =
    "SELECT position, id, title, description, priority, payload, needs, status, agent, result,
            error, created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
            started_at, ended_at
     FROM tasks
     WHERE status IN ('assigned', 'running') AND agent = ?1 ORDER BY position";

/// Takes the tasks of `agent` back; returns each as it was.
pub(super) fn take_back(connection: &Connection, agent: &AgentId) -> rusqlite::Result<Vec<Task>> {
    let held = connection
        .prepare_cached(HELD)?
        .query_map([agent.as_str()], task)?
        .collect::<rusqlite::Result<Vec<Task>>>()?;
    for task in held.iter().filter_map(Task::returned) {
        update(connection, &task)?;
    }
    Ok(held)
}

fn take_step(
    connection: &Connection,
    id: TaskId,
    step: &Step,
    at: Timestamp,
) -> rusqlite::Result<Stepped<Task>> {
    let Some(task) = find(connection, id)? else { return Ok(Stepped::NoTask) };
    if let Step::Assign(agent) = step {
        match worker(connection, agent)? {
            None => return Ok(Stepped::NoAgent),
            Some(worker) if !worker.status.may_be_given_work() => {
                return Ok(Stepped::Refused(Refusal::new(Code::Conflict, "This agent is not there.")));
            }
            Some(_) => {}
        }
    }
    if let Step::Claim(agent) = step {
        return claim(connection, agent, task, at);
    }
    match task.after(step, at) {
        Err(refusal) => Ok(Stepped::Refused(refusal)),
        Ok(None) => Ok(Stepped::Repeated(task)),
        Ok(Some(task)) => {
            update(connection, &task)?;
            if let Step::Start(agent) = step
                && let Some(Ok(Some(heard))) =
                    worker(connection, agent)?.map(|worker| worker.after(&Sign::Start, at))
            {
                put_worker(connection, &heard)?;
            }
            Ok(Stepped::Done(task))
        }
    }
}

fn claim_next(
    connection: &Connection,
    agent: &AgentId,
    needs: Option<&[String]>,
    at: Timestamp,
) -> rusqlite::Result<Stepped<Option<Task>>> {
    let Some(claimant) = worker(connection, agent)? else { return Ok(Stepped::NoAgent) };
    if let Err(refusal) = claimant.after(&Sign::Claim, at) {
        return Ok(Stepped::Refused(refusal));
    }
    let capabilities = from_texts(&claimant.duties.capabilities)?;
    let needs = needs.map(from_texts).transpose()?;
    let next = connection.prepare_cached(NEXT)?.query_row(params![capabilities, needs], task).optional()?;
    let Some(next) = next else { return Ok(Stepped::Repeated(None)) };
    Ok(match claim(connection, agent, next, at)? {
        Stepped::Done(task) => Stepped::Done(Some(task)),
        Stepped::Refused(refusal) => Stepped::Refused(refusal),
        Stepped::NoAgent => Stepped::NoAgent,
        Stepped::Repeated(_) | Stepped::NoTask => Stepped::Repeated(None),
    })
}

/// `agent` claims `task`, and is heard by it.
fn claim(
    connection: &Connection,
    agent: &AgentId,
    task: Task,
    at: Timestamp,
) -> rusqlite::Result<Stepped<Task>> {
    let Some(claimant) = worker(connection, agent)? else { return Ok(Stepped::NoAgent) };
    let claimed = claimant
        .after(&Sign::Claim, at)
        .and_then(|heard| Ok((heard, task.after(&Step::Claim(agent.clone()), at)?)));
    match claimed {
        Err(refusal) => Ok(Stepped::Refused(refusal)),
        Ok((_, None)) => Ok(Stepped::Repeated(task)),
        Ok((heard, Some(task))) => {
            if let Some(heard) = heard {
                put_worker(connection, &heard)?;
            }
            update(connection, &task)?;
            Ok(Stepped::Done(task))
        }
    }
}

fn find(connection: &Connection, id: TaskId) -> rusqlite::Result<Option<Task>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, id, title, description, priority, payload, needs, status, agent, result, error, created_by,
                parent, conversation, version, reclaims, created_at, assigned_at, claimed_at, started_at, ended_at
         FROM tasks WHERE id = ?1",
    )?;
    statement.query_row([id.0.as_bytes()], task).optional()
}

fn list(connection: &Connection, filter: &TaskFilter, limit: u32) -> rusqlite::Result<Vec<Task>> {
    let mut statement = connection.prepare_cached(listing(filter))?;
    // No place lies beyond i64::MAX.
    let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
    let (status, agent) = (filter.status.map(status_name), filter.agent.as_ref().map(AgentId::as_str));
    statement.query_map(params![after, status, agent, limit], task)?.collect()
}

/// The statement for what this filter asks for, each by its own index.
pub(super) fn listing(filter: &TaskFilter) -> &'static str {
    match (&filter.status, &filter.agent) {
        (None, None) => {
            "SELECT position, id, title, description, priority, payload, needs, status, agent, result, error,
                    created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
                    started_at, ended_at
             FROM tasks WHERE position > ?1 ORDER BY position LIMIT ?4"
        }
        (Some(_), None) => {
            "SELECT position, id, title, description, priority, payload, needs, status, agent, result, error,
                    created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
                    started_at, ended_at
             FROM tasks WHERE status = ?2 AND position > ?1 ORDER BY position LIMIT ?4"
        }
        (None, Some(_)) => {
            "SELECT position, id, title, description, priority, payload, needs, status, agent, result, error,
                    created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
                    started_at, ended_at
             FROM tasks WHERE agent = ?3 AND position > ?1 ORDER BY position LIMIT ?4"
        }
        // The plus keeps the other index away.
        (Some(_), Some(_)) => {
            "SELECT position, id, title, description, priority, payload, needs, status, agent, result, error,
                    created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
                    started_at, ended_at
             FROM tasks WHERE agent = ?3 AND +status = ?2 AND position > ?1 ORDER BY position LIMIT ?4"
        }
    }
}

fn insert(connection: &Connection, task: &Task) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO tasks (position, id, title, description, priority, payload, needs, status, agent, result, error,
                            created_by, parent, conversation, version, reclaims, created_at, assigned_at, claimed_at,
                            started_at, ended_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
    )?;
    let columns = params![
        counted(task.position)?,
        task.id.0.as_bytes(),
        task.title,
        task.description,
        priority_number(task.priority),
        task.payload,
        task.needs,
        status_name(task.status),
        task.agent.as_ref().map(AgentId::as_str),
        task.result,
        task.error,
        task.created_by,
        task.parent.as_ref().map(|parent| parent.0.as_bytes()),
        task.conversation.as_ref().map(|conversation| conversation.0.as_bytes()),
        counted(task.version)?,
        task.reclaims,
        task.created_at.0,
        task.assigned_at.map(|at| at.0),
        task.claimed_at.map(|at| at.0),
        task.started_at.map(|at| at.0),
        task.ended_at.map(|at| at.0),
    ];
    statement.execute(columns).map(drop)
}

/// Writes down what a step can change.
fn update(connection: &Connection, task: &Task) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE tasks SET status = ?2, agent = ?3, result = ?4, error = ?5, version = ?6, reclaims = ?7,
                          assigned_at = ?8, claimed_at = ?9, started_at = ?10, ended_at = ?11
         WHERE position = ?1",
    )?;
    let columns = params![
        counted(task.position)?,
        status_name(task.status),
        task.agent.as_ref().map(AgentId::as_str),
        task.result,
        task.error,
        counted(task.version)?,
        task.reclaims,
        task.assigned_at.map(|at| at.0),
        task.claimed_at.map(|at| at.0),
        task.started_at.map(|at| at.0),
        task.ended_at.map(|at| at.0),
    ];
    statement.execute(columns).map(drop)
}

fn task(row: &Row<'_>) -> rusqlite::Result<Task> {
    let is_there = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)? != rusqlite::types::ValueRef::Null);
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp));
    Ok(Task {
        position: count(row, 0)?,
        id: TaskId(Uuid::from_bytes(row.get(1)?)),
        title: row.get(2)?,
        description: row.get(3)?,
        priority: priority(row, 4)?,
        payload: row.get(5)?,
        needs: row.get(6)?,
        status: status(row, 7)?,
        agent: is_there(8)?.then(|| agent_id(row, 8)).transpose()?,
        result: row.get(9)?,
        error: row.get(10)?,
        created_by: row.get(11)?,
        parent: row.get::<_, Option<[u8; 16]>>(12)?.map(|id| TaskId(Uuid::from_bytes(id))),
        conversation: is_there(13)?.then(|| conversation_id(row, 13)).transpose()?,
        version: count(row, 14)?,
        reclaims: row.get(15)?,
        created_at: Timestamp(row.get(16)?),
        assigned_at: time(17)?,
        claimed_at: time(18)?,
        started_at: time(19)?,
        ended_at: time(20)?,
    })
}

const PRIORITIES: [Priority; 4] = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];

fn priority(row: &Row<'_>, column: usize) -> rusqlite::Result<Priority> {
    let number: i64 = row.get(column)?;
    let priority = usize::try_from(number).ok().and_then(|number| PRIORITIES.get(number).copied());
    priority.ok_or(rusqlite::Error::IntegralValueOutOfRange(column, number))
}

fn priority_number(priority: Priority) -> i64 {
    match priority {
        Priority::Low => 0,
        Priority::Medium => 1,
        Priority::High => 2,
        Priority::Critical => 3,
    }
}

fn status_name(status: TaskStatus) -> &'static str {
    match status {
        TaskStatus::Pending => "pending",
        TaskStatus::Assigned => "assigned",
        TaskStatus::Running => "running",
        TaskStatus::Completed => "completed",
        TaskStatus::Failed => "failed",
        TaskStatus::Cancelled => "cancelled",
    }
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskStatus> {
    Ok(match row.get_ref(column)?.as_str()? {
        "pending" => TaskStatus::Pending,
        "assigned" => TaskStatus::Assigned,
        "running" => TaskStatus::Running,
        "completed" => TaskStatus::Completed,
        "failed" => TaskStatus::Failed,
        "cancelled" => TaskStatus::Cancelled,
        _ => return Err(FromSqlError::InvalidType.into()),
    })
}

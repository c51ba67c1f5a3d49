//! Which statements agents at work need.

use antiphon_core::ids::{AgentId, Timestamp};
use antiphon_core::ports::{ReturnCommitted, Stepped, Untold, WorkerCommitted, Workers};
use antiphon_core::refusal::Fault;
use antiphon_core::tasks::Task;
use antiphon_core::workers::{AgentStatus, Duties, Moved, Rank, Sign, Worker};
use async_trait::async_trait;
use rusqlite::types::{FromSqlError, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{agent_id, from_texts, texts};
use super::tasks::take_back;

/// From how many agents that do not exist any more tasks are taken back at once.
const GONE_AT_ONCE: u32 = 16;

#[async_trait]
impl Workers for SqliteStore {
    async fn enlist(&self, agent: &AgentId, duties: &Duties) -> Result<Option<Worker>, Fault> {
        let (agent, duties) = (agent.clone(), duties.clone());
        self.write("enlisting an agent", move |connection| enlist(connection, &agent, duties)).await
    }

    async fn worker(&self, agent: &AgentId) -> Result<Option<Worker>, Fault> {
        let agent = agent.clone();
        self.read("reading an agent at work", move |connection| worker(connection, &agent)).await
    }

    async fn workers(&self, after: Option<&AgentId>, limit: u32) -> Result<Vec<Worker>, Fault> {
        // No id is empty, so all come after nothing.
        let after = after.map_or_else(String::new, |after| after.as_str().to_owned());
        self.read("reading agents at work", move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT agent, status, previous, rank, capabilities, version, parent, metadata, heard_at, changed_at
                 FROM workers WHERE agent > ?1 ORDER BY agent LIMIT ?2",
            )?;
            statement.query_map(params![after, limit], known)?.collect()
        })
        .await
    }

    async fn move_worker(
        &self,
        agent: &AgentId,
        sign: &Sign,
        at: Timestamp,
        committed: WorkerCommitted,
    ) -> Result<Stepped<Moved>, Fault> {
        let (agent, sign) = (agent.clone(), sign.clone());
        let work = move |connection: &Connection| note(connection, &agent, &sign, at);
        let committed = move |stepped: &Stepped<Moved>| {
            if let Stepped::Done(moved) = stepped {
                committed(moved);
            }
        };
        let tells = |stepped: &Stepped<Moved>, untold: &mut Vec<Untold>| {
            if let Stepped::Done(_) = stepped {
                untold.push(Untold::Other);
            }
        };
        self.writer.write("noting how an agent is", work, tells, committed).await
    }

    async fn return_tasks(&self, committed: ReturnCommitted) -> Result<Vec<Task>, Fault> {
        // Mostly there are none, and then nobody has to wait for the disk.
        if self.read("looking for agents that are gone", gone).await?.is_empty() {
            return Ok(Vec::new());
        }
        let work = |connection: &Connection| {
            let mut returned = Vec::new();
            for agent in gone(connection)? {
                returned.append(&mut take_back(connection, &agent)?);
            }
            Ok(returned)
        };
        let committed = move |returned: &Vec<Task>| {
            if !returned.is_empty() {
                committed(returned);
            }
        };
        let tells = |returned: &Vec<Task>, untold: &mut Vec<Untold>| {
            if !returned.is_empty() {
                untold.push(Untold::Other);
            }
        };
        self.writer.write("taking back the tasks of agents that are gone", work, tells, committed).await
    }
}

/// The agent at work, if there is such an agent.
pub(super) fn worker(connection: &Connection, agent: &AgentId) -> rusqlite::Result<Option<Worker>> {
    let mut statement = connection.prepare_cached(
        "SELECT agent, status, previous, rank, capabilities, version, parent, metadata, heard_at, changed_at
         FROM workers WHERE agent = ?1",
    )?;
    let found = statement.query_row([agent.as_str()], known).optional()?;
    if found.is_some() {
        return Ok(found);
    }
    let exists = connection
        .prepare_cached("SELECT 1 FROM agents WHERE id = ?1")?
        .query_row([agent.as_str()], |_| Ok(()))
        .optional()?;
    Ok(exists.map(|()| Worker::unlisted(agent.clone())))
}

/// Writes down how the agent is now.
pub(super) fn put_worker(connection: &Connection, worker: &Worker) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO workers (agent, status, previous, rank, capabilities, version, parent, metadata, heard_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (agent) DO UPDATE SET
             status = excluded.status, previous = excluded.previous, rank = excluded.rank,
             capabilities = excluded.capabilities, version = excluded.version, parent = excluded.parent,
             metadata = excluded.metadata, heard_at = excluded.heard_at, changed_at = excluded.changed_at",
    )?;
    let columns = params![
        worker.agent.as_str(),
        status_name(worker.status),
        worker.previous.map(status_name),
        match worker.duties.rank {
            Rank::Main => "main",
            Rank::Subagent => "subagent",
            Rank::Worker => "worker",
        },
        from_texts(&worker.duties.capabilities)?,
        worker.duties.version,
        worker.duties.parent.as_ref().map(AgentId::as_str),
        worker.metadata,
        worker.heard_at.map(|at| at.0),
        worker.changed_at.map(|at| at.0),
    ];
    statement.execute(columns).map(drop)
}

fn enlist(connection: &Connection, agent: &AgentId, duties: Duties) -> rusqlite::Result<Option<Worker>> {
    let Some(before) = worker(connection, agent)? else { return Ok(None) };
    let is_known = connection
        .prepare_cached("SELECT 1 FROM workers WHERE agent = ?1")?
        .query_row([agent.as_str()], |_| Ok(()))
        .optional()?;
    let status = if is_known.is_some() { before.status } else { AgentStatus::Idle };
    let worker = Worker { status, duties, ..before };
    put_worker(connection, &worker)?;
    Ok(Some(worker))
}

fn note(
    connection: &Connection,
    agent: &AgentId,
    sign: &Sign,
    at: Timestamp,
) -> rusqlite::Result<Stepped<Moved>> {
    let Some(before) = worker(connection, agent)? else { return Ok(Stepped::NoAgent) };
    let old = before.status;
    match before.after(sign, at) {
        Err(refusal) => Ok(Stepped::Refused(refusal)),
        Ok(None) => Ok(Stepped::Repeated(Moved { old, worker: before, returned: Vec::new() })),
        Ok(Some(worker)) => {
            put_worker(connection, &worker)?;
            let returned = match worker.status {
                AgentStatus::Offline => take_back(connection, agent)?,
                _ => Vec::new(),
            };
            Ok(Stepped::Done(Moved { old, worker, returned }))
        }
    }
}

/// Agents that have tasks and do not exist, some of them.
fn gone(connection: &Connection) -> rusqlite::Result<Vec<AgentId>> {
    let mut statement = connection.prepare_cached(
        "SELECT DISTINCT agent FROM tasks
         WHERE status IN ('assigned', 'running') AND agent NOT IN (SELECT id FROM agents) LIMIT ?1",
    )?;
    statement.query_map([GONE_AT_ONCE], |row| agent_id(row, 0))?.collect()
}

fn known(row: &Row<'_>) -> rusqlite::Result<Worker> {
    let is_there = |column| Ok::<_, rusqlite::Error>(row.get_ref(column)? != ValueRef::Null);
    let time = |column| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(column)?.map(Timestamp));
    Ok(Worker {
        agent: agent_id(row, 0)?,
        status: status(row, 1)?,
        previous: is_there(2)?.then(|| status(row, 2)).transpose()?,
        duties: Duties {
            rank: match row.get_ref(3)?.as_str()? {
                "main" => Rank::Main,
                "subagent" => Rank::Subagent,
                "worker" => Rank::Worker,
                _ => return Err(FromSqlError::InvalidType.into()),
            },
            capabilities: texts(row, 4)?,
            version: row.get(5)?,
            parent: is_there(6)?.then(|| agent_id(row, 6)).transpose()?,
        },
        metadata: row.get(7)?,
        heard_at: time(8)?,
        changed_at: time(9)?,
    })
}

fn status_name(status: AgentStatus) -> &'static str {
    match status {
        AgentStatus::Idle => "idle",
        AgentStatus::Initializing => "initializing",
        AgentStatus::Ready => "ready",
        AgentStatus::Busy => "busy",
        AgentStatus::Paused => "paused",
        AgentStatus::Error => "error",
        AgentStatus::ShuttingDown => "shutting_down",
        AgentStatus::Offline => "offline",
    }
}

fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<AgentStatus> {
    Ok(match row.get_ref(column)?.as_str()? {
        "idle" => AgentStatus::Idle,
        "initializing" => AgentStatus::Initializing,
        "ready" => AgentStatus::Ready,
        "busy" => AgentStatus::Busy,
        "paused" => AgentStatus::Paused,
        "error" => AgentStatus::Error,
        "shutting_down" => AgentStatus::ShuttingDown,
        "offline" => AgentStatus::Offline,
        _ => return Err(FromSqlError::InvalidType.into()),
    })
}

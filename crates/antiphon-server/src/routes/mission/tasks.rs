//! Tasks: wanting them done, giving them to agents, and what agents say about them.

use std::collections::HashMap;

use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::{AgentId, TaskId, Timestamp};
use antiphon_core::ports::TaskFilter;
use antiphon_core::refusal::Refusal;
use antiphon_core::tasks::{NewTask, Priority, Step, Task, TaskStatus};
use antiphon_dialects::mission::moment::Naive;
use antiphon_dialects::mission::words::{Word as _, name_of};
use axum::Json;
use axum::Router;
use axum::extract::State as Extracted;
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::State;
use super::body::{Asked, Body, Named, Perhaps, hundred, id, json, word};
use super::caller::Asker;
use super::problem::Problem;
use super::{both, broken, raw};

pub(super) fn routes(router: Router<State>) -> Router<State> {
    let router = both(router, "/tasks", get(list).post(create));
    let router = both(router, "/tasks/claim", post(claim_next));
    let router = both(router, "/tasks/{task_id}", get(read));
    let router = both(router, "/tasks/{task_id}/assign", post(assign));
    let router = both(router, "/tasks/{task_id}/cancel", post(cancel));
    let router = both(router, "/tasks/{task_id}/claim", post(claim));
    let router = both(router, "/tasks/{task_id}/start", post(start));
    let router = both(router, "/tasks/{task_id}/progress", post(progress));
    let router = both(router, "/tasks/{task_id}/complete", post(complete));
    both(router, "/tasks/{task_id}/fail", post(fail))
}

/// A task as this API knows it.
#[derive(Serialize)]
struct View {
    id: String,
    title: String,
    description: String,
    priority: &'static str,
    payload: Box<RawValue>,
    needs: Option<String>,
    status: &'static str,
    result: Option<Box<RawValue>>,
    error: Option<String>,
    agent_id: Option<String>,
    created_by_id: String,
    parent_task_id: Option<String>,
    conversation_id: Option<String>,
    version: u64,
    /// Its place among all tasks: what `after` of a list means.
    position: u64,
    created_at: Naive,
    assigned_at: Option<Naive>,
    claimed_at: Option<Naive>,
    started_at: Option<Naive>,
    completed_at: Option<Naive>,
    /// When the agent that has it last gave a sign of life.
    last_heartbeat: Option<Naive>,
    reclaim_count: u32,
}

#[derive(Deserialize)]
struct Wanted {
    title: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default = "medium")]
    priority: String,
    payload: Option<Box<RawValue>>,
    /// What an agent must be capable of to claim it.
    needs: Option<String>,
    /// Who gets it right away.
    agent_id: Option<String>,
    parent_task_id: Option<String>,
    conversation_id: Option<String>,
}

fn medium() -> String {
    Priority::Medium.word().into()
}

#[derive(Deserialize)]
struct Page {
    status: Option<String>,
    agent_id: Option<String>,
    /// Only those in a later place.
    #[serde(default)]
    after: u64,
    #[serde(default = "hundred")]
    limit: u32,
}

#[derive(Deserialize)]
struct By {
    agent_id: String,
}

#[derive(Deserialize)]
struct Claim {
    agent_id: String,
    /// Only tasks that need one of these.
    needs: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Progress {
    agent_id: String,
    update: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Completion {
    agent_id: String,
    result: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Failure {
    agent_id: String,
    #[serde(default)]
    error: String,
}

/// Nothing that matters.
#[derive(Deserialize)]
struct Nothing {}

async fn list(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Asked(Page { status, agent_id, after, limit }): Asked<Page>,
) -> Result<Json<Vec<View>>, Problem> {
    asker.may_look()?;
    let status: Option<TaskStatus> = status.map(|text| word(&["query", "status"], &text)).transpose()?;
    let wrong = |refusal: Refusal| Problem::wrong(&["query", "agent_id"], refusal.message);
    let agent = agent_id.as_deref().map(AgentId::parse).transpose().map_err(wrong)?;
    let filter = TaskFilter { after, status, agent };
    let Outcome::Tasks(tasks) = asker.order(&state, Command::ReadTasks { filter, limit }).await? else {
        return Err(Refusal::internal().into());
    };
    Ok(Json(views(&state, tasks).await?))
}

async fn create(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Body(wanted): Body<Wanted>,
) -> Result<(StatusCode, Json<View>), Problem> {
    let agent: Option<AgentId> = wanted.agent_id.map(|text| id("agent_id", &text)).transpose()?;
    if let Some(agent) = &agent
        && state.store().agent(agent).await.map_err(broken)?.is_none()
    {
        return Err(antiphon_core::access::agent_not_found().into());
    }
    let task = NewTask {
        title: wanted.title,
        description: wanted.description.unwrap_or_default(),
        priority: word(&["body", "priority"], &wanted.priority)?,
        payload: json(wanted.payload, "{}"),
        needs: wanted.needs,
        parent: wanted.parent_task_id.map(|text| id("parent_task_id", &text)).transpose()?,
        conversation: wanted.conversation_id.map(|text| id("conversation_id", &text)).transpose()?,
    };
    let created = asker.order(&state, Command::CreateTask { task: Box::new(task) }).await?;
    let outcome = match (created, agent) {
        (Outcome::Task { task, .. }, Some(agent)) => {
            asker.order(&state, Command::ChangeTask { task: task.id, step: Step::Assign(agent) }).await?
        }
        (created, _) => created,
    };
    Ok((StatusCode::CREATED, Json(answer(&state, outcome).await?)))
}

/// The most urgent task that waits, for whoever asks: `null` if there is none.
async fn claim_next(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Body(Claim { agent_id, needs }): Body<Claim>,
) -> Result<Json<Option<View>>, Problem> {
    let agent = id("agent_id", &agent_id)?;
    match asker.order(&state, Command::ClaimTask { agent, needs }).await? {
        Outcome::NoTask => Ok(Json(None)),
        outcome => Ok(Json(Some(answer(&state, outcome).await?))),
    }
}

async fn read(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
) -> Result<Json<View>, Problem> {
    asker.may_look()?;
    Ok(Json(answer(&state, asker.order(&state, Command::ReadTask { task }).await?).await?))
}

async fn assign(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Body(By { agent_id }): Body<By>,
) -> Result<Json<View>, Problem> {
    step(&state, &asker, task, Step::Assign(id("agent_id", &agent_id)?)).await
}

async fn cancel(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Perhaps(Nothing {}): Perhaps<Nothing>,
) -> Result<Json<View>, Problem> {
    step(&state, &asker, task, Step::Cancel).await
}

async fn claim(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Body(By { agent_id }): Body<By>,
) -> Result<Json<View>, Problem> {
    step(&state, &asker, task, Step::Claim(id("agent_id", &agent_id)?)).await
}

async fn start(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Body(By { agent_id }): Body<By>,
) -> Result<Json<View>, Problem> {
    step(&state, &asker, task, Step::Start(id("agent_id", &agent_id)?)).await
}

async fn progress(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Body(Progress { agent_id, update }): Body<Progress>,
) -> Result<Json<View>, Problem> {
    let update = json(update, "{}");
    step(&state, &asker, task, Step::Progress(id("agent_id", &agent_id)?, update)).await
}

async fn complete(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Body(Completion { agent_id, result }): Body<Completion>,
) -> Result<Json<View>, Problem> {
    let result = json(result, "null");
    step(&state, &asker, task, Step::Complete(id("agent_id", &agent_id)?, result)).await
}

async fn fail(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(task): Named<TaskId>,
    Body(Failure { agent_id, error }): Body<Failure>,
) -> Result<Json<View>, Problem> {
    step(&state, &asker, task, Step::Fail(id("agent_id", &agent_id)?, error)).await
}

async fn step(state: &State, asker: &Asker, task: TaskId, step: Step) -> Result<Json<View>, Problem> {
    let outcome = asker.order(state, Command::ChangeTask { task, step }).await?;
    Ok(Json(answer(state, outcome).await?))
}

/// The task that an order has come to.
async fn answer(state: &State, outcome: Outcome) -> Result<View, Problem> {
    let Outcome::Task { task, .. } = outcome else { return Err(Refusal::internal().into()) };
    let mut views = views(state, vec![*task]).await?;
    Ok(views.remove(0))
}

/// Tasks, each with the last sign of life of the agent that has it.
async fn views(state: &State, tasks: Vec<Task>) -> Result<Vec<View>, Problem> {
    let mut heard: HashMap<AgentId, Option<Timestamp>> = HashMap::new();
    for task in &tasks {
        if let (Some(agent), TaskStatus::Assigned | TaskStatus::Running) = (&task.agent, task.status)
            && !heard.contains_key(agent)
        {
            let worker = state.store().worker(agent).await.map_err(broken)?;
            heard.insert(agent.clone(), worker.and_then(|worker| worker.heard_at));
        }
    }
    let view = |task: Task| {
        let last = task.agent.as_ref().and_then(|agent| heard.get(agent).copied().flatten());
        View::of(task, last)
    };
    Ok(tasks.into_iter().map(view).collect())
}

impl View {
    fn of(task: Task, last_heartbeat: Option<Timestamp>) -> Self {
        let has_agent = matches!(task.status, TaskStatus::Assigned | TaskStatus::Running);
        Self {
            id: task.id.to_string(),
            title: task.title,
            description: task.description,
            priority: task.priority.word(),
            payload: raw(task.payload),
            needs: task.needs,
            status: task.status.word(),
            result: task.result.map(raw),
            error: task.error,
            agent_id: task.agent.map(|agent| agent.to_string()),
            created_by_id: name_of(&task.created_by).to_owned(),
            parent_task_id: task.parent.map(|parent| parent.to_string()),
            conversation_id: task.conversation.map(|conversation| conversation.to_string()),
            version: task.version,
            position: task.position,
            created_at: Naive(task.created_at),
            assigned_at: task.assigned_at.map(Naive),
            claimed_at: task.claimed_at.map(Naive),
            started_at: task.started_at.map(Naive),
            completed_at: task.ended_at.map(Naive),
            last_heartbeat: last_heartbeat.filter(|_| has_agent).map(Naive),
            reclaim_count: task.reclaims,
        }
    }
}

//! Agents at work: which there are, what for, how they are, and telling them what to do.

use antiphon_core::access::{self, Action};
use antiphon_core::actor::Principal;
use antiphon_core::agents::{Agent, AgentChange};
use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
use antiphon_core::workers::{AgentStatus, Control, Duties, Rank, Worker};
use antiphon_dialects::mission::moment::Naive;
use antiphon_dialects::mission::words::Word as _;
use axum::Json;
use axum::Router;
use axum::extract::State as Extracted;
use axum::routing::{get, post};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::State;
use super::body::{Asked, Body, Named, Perhaps, hundred, id, json, word};
use super::caller::Asker;
use super::problem::Problem;
use super::{Message, both, broken, raw};

pub(super) fn routes(router: Router<State>) -> Router<State> {
    let router = both(router, "/agents", get(list).post(create));
    let router = both(router, "/agents/{agent_id}", get(read).put(change).delete(delete));
    let router = both(router, "/agents/{agent_id}/control", post(control));
    let router = both(router, "/agents/{agent_id}/status", post(status));
    both(router, "/agents/{agent_id}/heartbeat", post(heartbeat))
}

/// An agent at work as this API knows it.
#[derive(Serialize)]
struct View {
    id: String,
    name: String,
    agent_type: &'static str,
    status: &'static str,
    previous_status: Option<&'static str>,
    capabilities: Vec<String>,
    config: Config,
    metadata: Box<RawValue>,
    version: String,
    last_heartbeat: Option<Naive>,
    parent_id: Option<String>,
    owner_id: String,
    created_at: Naive,
    updated_at: Naive,
    /// An agent that is gone is not kept.
    deleted_at: Option<Naive>,
}

/// What else there is to say about an agent.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    personality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purpose: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visibility: Option<String>,
}

/// An agent that is to be added.
#[derive(Deserialize)]
struct NewAgent {
    /// A fresh UUID if nobody says.
    id: Option<String>,
    name: String,
    #[serde(default = "worker")]
    agent_type: String,
    #[serde(default)]
    capabilities: Vec<String>,
    #[serde(default)]
    version: String,
    parent_id: Option<String>,
    #[serde(default)]
    config: Config,
    /// Whose it is; needed from a backend, which is nobody itself.
    owner_id: Option<String>,
}

fn worker() -> String {
    Rank::Worker.word().into()
}

/// What becomes different about an agent; what is left out stays as it is.
#[derive(Deserialize)]
struct Change {
    name: Option<String>,
    agent_type: Option<String>,
    capabilities: Option<Vec<String>>,
    version: Option<String>,
    parent_id: Option<String>,
    #[serde(default)]
    config: Config,
}

#[derive(Deserialize)]
struct Page {
    /// Only those whose id comes after this one.
    after: Option<String>,
    #[serde(default = "hundred")]
    limit: u32,
}

#[derive(Deserialize)]
struct Controlled {
    action: String,
}

#[derive(Deserialize)]
struct Said {
    status: String,
}

#[derive(Deserialize)]
struct Beat {
    metadata: Option<Box<RawValue>>,
}

async fn list(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Asked(Page { after, limit }): Asked<Page>,
) -> Result<Json<Vec<View>>, Problem> {
    asker.may_look()?;
    let wrong = |refusal: Refusal| Problem::wrong(&["query", "after"], refusal.message);
    let after = after.as_deref().map(AgentId::parse).transpose().map_err(wrong)?;
    let Outcome::Workers(workers) = asker.order(&state, Command::ReadWorkers { after, limit }).await? else {
        return Err(Refusal::internal().into());
    };
    let mut views = Vec::with_capacity(workers.len());
    for worker in workers {
        // One that was deleted just now is not there any more.
        if let Some(agent) = state.store().agent(&worker.agent).await.map_err(broken)? {
            views.push(View::of(agent, worker));
        }
    }
    Ok(Json(views))
}

async fn create(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Body(new): Body<NewAgent>,
) -> Result<(StatusCode, Json<View>), Problem> {
    let agent: AgentId = match &new.id {
        Some(text) => id("id", text)?,
        None => AgentId::parse(&Uuid::new_v4().to_string())?,
    };
    // Before anything is stored: what follows is two orders.
    asker.may(Action::Enlist, &Topic::Agent(agent.clone()))?;
    let duties = Duties {
        rank: word(&["body", "agent_type"], &new.agent_type)?,
        capabilities: new.capabilities,
        version: new.version,
        parent: new.parent_id.map(|text| id("parent_id", &text)).transpose()?,
    };
    duties.check()?;
    let owner = owner(&asker, new.owner_id.as_deref())?;
    let text = Option::unwrap_or_default;
    let created = Agent {
        id: agent.clone(),
        owner,
        name: new.name,
        kind: new.config.kind.unwrap_or_else(|| "assistant".into()),
        personality: text(new.config.personality),
        purpose: text(new.config.purpose),
        tone: text(new.config.tone),
        visibility: new.config.visibility.unwrap_or_else(|| "private".into()),
        created_at: state.desk.now(),
        persona: None,
    };
    if state.store().agent(&agent).await.map_err(broken)?.is_some() {
        return Err(Problem::new(StatusCode::CONFLICT, "There is an agent of this id already."));
    }
    asker.order(&state, Command::CreateAgent { agent: Box::new(created) }).await?;
    let enlist = Command::EnlistAgent { agent, duties: Box::new(duties) };
    Ok((StatusCode::CREATED, Json(answer(&state, asker.order(&state, enlist).await?).await?)))
}

async fn read(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(agent): Named<AgentId>,
) -> Result<Json<View>, Problem> {
    asker.may_look()?;
    Ok(Json(answer(&state, asker.order(&state, Command::ReadWorker { agent }).await?).await?))
}

async fn change(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(agent): Named<AgentId>,
    Body(new): Body<Change>,
) -> Result<Json<View>, Problem> {
    asker.may(Action::Enlist, &Topic::Agent(agent.clone()))?;
    let read = asker.order(&state, Command::ReadWorker { agent: agent.clone() }).await?;
    let Outcome::Worker(worker) = read else { return Err(Refusal::internal().into()) };
    let before = worker.duties;
    let duties = Duties {
        rank: new.agent_type.map_or(Ok(before.rank), |text| word(&["body", "agent_type"], &text))?,
        capabilities: new.capabilities.unwrap_or(before.capabilities),
        version: new.version.unwrap_or(before.version),
        parent: new.parent_id.map_or(Ok(before.parent), |text| id("parent_id", &text).map(Some))?,
    };
    duties.check()?;
    if new.config.kind.is_some() {
        return Err(Problem::wrong(&["body", "config", "kind"], "The kind of an agent stays what it is."));
    }
    let change = AgentChange {
        name: new.name,
        personality: new.config.personality,
        purpose: new.config.purpose,
        tone: new.config.tone,
        visibility: new.config.visibility,
    };
    if change != AgentChange::default() {
        let change = Box::new(change);
        asker.order(&state, Command::ChangeAgent { agent: agent.clone(), change }).await?;
    }
    let enlist = Command::EnlistAgent { agent, duties: Box::new(duties) };
    Ok(Json(answer(&state, asker.order(&state, enlist).await?).await?))
}

async fn delete(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(agent): Named<AgentId>,
) -> Result<StatusCode, Problem> {
    asker.may(Action::Enlist, &Topic::Agent(agent.clone()))?;
    asker.order(&state, Command::DeleteAgent { agent }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn control(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(agent): Named<AgentId>,
    Body(Controlled { action }): Body<Controlled>,
) -> Result<Json<Message>, Problem> {
    let invalid = || Problem::new(StatusCode::BAD_REQUEST, "Invalid action");
    let control = Control::read(&action).ok_or_else(invalid)?;
    asker.order(&state, Command::ControlAgent { agent: agent.clone(), control }).await?;
    Ok(Json(Message::new(format!("Agent {agent} {action} command sent"))))
}

async fn status(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(agent): Named<AgentId>,
    Body(Said { status }): Body<Said>,
) -> Result<Json<View>, Problem> {
    let status: AgentStatus = word(&["body", "status"], &status)?;
    Ok(Json(answer(&state, asker.order(&state, Command::SetAgentStatus { agent, status }).await?).await?))
}

async fn heartbeat(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(agent): Named<AgentId>,
    Perhaps(Beat { metadata }): Perhaps<Beat>,
) -> Result<Json<View>, Problem> {
    let metadata = metadata.map(|json_text| json(Some(json_text), "{}"));
    Ok(Json(answer(&state, asker.order(&state, Command::Heartbeat { agent, metadata }).await?).await?))
}

/// Whose an agent is that `asker` adds.
fn owner(asker: &Asker, named: Option<&str>) -> Result<PersonId, Problem> {
    let named = named.map(PersonId::parse).transpose();
    let named = named.map_err(|refusal| Problem::wrong(&["body", "owner_id"], refusal.message))?;
    match (&asker.actor.principal, named) {
        (Principal::Person(person), None) => Ok(person.clone()),
        // Whether they may is the core's to say.
        (_, Some(named)) => Ok(named),
        (_, None) => Err(Problem::wrong(&["body", "owner_id"], "A backend says whose the agent is.")),
    }
}

/// The agent at work that an order has come to.
async fn answer(state: &State, outcome: Outcome) -> Result<View, Problem> {
    let Outcome::Worker(worker) = outcome else { return Err(Refusal::internal().into()) };
    let agent = state.store().agent(&worker.agent).await.map_err(broken)?;
    Ok(View::of(agent.ok_or_else(access::agent_not_found)?, *worker))
}

impl View {
    fn of(agent: Agent, worker: Worker) -> Self {
        let updated_at = worker.changed_at.max(worker.heard_at).unwrap_or(agent.created_at);
        Self {
            id: agent.id.to_string(),
            name: agent.name,
            agent_type: worker.duties.rank.word(),
            status: worker.status.word(),
            previous_status: worker.previous.map(|status| status.word()),
            capabilities: worker.duties.capabilities,
            config: Config {
                kind: Some(agent.kind),
                personality: Some(agent.personality),
                purpose: Some(agent.purpose),
                tone: Some(agent.tone),
                visibility: Some(agent.visibility),
            },
            metadata: raw(worker.metadata),
            version: worker.duties.version,
            last_heartbeat: worker.heard_at.map(Naive),
            parent_id: worker.duties.parent.map(|parent| parent.to_string()),
            owner_id: agent.owner.to_string(),
            created_at: Naive(agent.created_at),
            updated_at: Naive(updated_at),
            deleted_at: None,
        }
    }
}

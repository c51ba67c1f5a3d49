//! Agents: adding, reading, changing and removing them.

use std::future::ready;

use antiphon_core::access;
use antiphon_core::agents::{Agent, AgentChange, Persona};
use antiphon_core::command::Command;
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::refusal::Refusal;
use axum::Json;
use axum::extract::State as Extracted;
use axum::response::Response;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;

use super::State;
use super::body::{Asked, Body, Place, object};
use super::caller::Backend;
use super::idempotency::Answer;
use super::moment;
use super::orders::Order;
use super::orders::drafts::{companion, private};
use super::perform::{Errand, carry_out, perform};
use super::problem::Problem;
use super::route::Route;

pub(super) fn routes() -> Vec<Route> {
    let group = "Agents";
    let missing = "There is no such agent.";
    vec![
        Route::get("agents", "/v1/agents", list)
            .says(group, "List the agents of a person", "Oldest first.")
            .for_backends()
            .query("owner", Type::String, "The person's id. Required.", "user-123")
            .gives(StatusCode::OK, "The agents.", &Page { agents: vec![AgentView::example()] })
            .refuses(StatusCode::NOT_FOUND, "There is no such person."),
        Route::post("createAgent", "/v1/agents", create)
            .says(group, "Add an agent", "It belongs to its owner, whose plan may limit how many there are.")
            .for_backends()
            .idempotent()
            .takes::<NewAgent>(json!({
                "owner": "user-123", "id": "vega", "name": "Vega", "tone": "bright",
            }))
            .gives(StatusCode::CREATED, "The agent as it is stored.", &AgentView::example())
            .refuses(StatusCode::NOT_FOUND, "There is no such person."),
        Route::get("agent", "/v1/agents/{agent}", read)
            .says(group, "Read an agent", "")
            .for_backends()
            .segment("agent", "The agent's id.", "luna")
            .gives(StatusCode::OK, "The agent.", &AgentView::example())
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::patch("changeAgent", "/v1/agents/{agent}", change)
            .says(
                group,
                "Change an agent",
                "What is left out stays as it is. Those who watch the agent hear of it.",
            )
            .for_backends()
            .segment("agent", "The agent's id.", "luna")
            .takes::<Change>(json!({"tone": "calm"}))
            .gives(StatusCode::OK, "The agent as it is now.", &AgentView::example())
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::delete("deleteAgent", "/v1/agents/{agent}", delete)
            .says(
                group,
                "Remove an agent",
                "Those who watch the agent hear of it. What was said with it stays.",
            )
            .for_backends()
            .segment("agent", "The agent's id.", "mia")
            .gives_nothing("It is gone.")
            .refuses(StatusCode::NOT_FOUND, missing),
    ]
}

/// An agent as it is stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Agent)]
pub(super) struct AgentView {
    /// Its id.
    id: String,
    /// Whose it is.
    owner: String,
    /// What it is called.
    name: String,
    /// `companion`, `assistant` or whatever its owner calls it.
    kind: String,
    /// Its character, in the owner's words.
    personality: String,
    /// What it is for.
    purpose: String,
    /// How it speaks.
    tone: String,
    /// `private`, `world` or `public`: every person may converse with a public one.
    visibility: String,
    /// How it introduces itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    persona: Option<PersonaView>,
    /// When it was made.
    created_at: String,
}

/// How an agent introduces itself. Every part may be missing.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = Persona)]
pub(super) struct PersonaView {
    /// What kind of character it is: `sweet`, `tsundere`, `playful`.
    style: String,
    /// Who it is, in a sentence or two.
    description: String,
    /// How old it is, in years.
    #[serde(skip_serializing_if = "Option::is_none")]
    age: Option<u32>,
    /// Its birthday, in words.
    birthday: String,
    /// What it does when nobody asks anything of it.
    hobbies: String,
    /// What it likes.
    likes: String,
    /// What it does not like.
    dislikes: String,
    /// Where it comes from.
    background: String,
}

impl From<Persona> for PersonaView {
    fn from(persona: Persona) -> Self {
        let Persona { style, description, age, birthday, hobbies, likes, dislikes, background } = persona;
        Self { style, description, age, birthday, hobbies, likes, dislikes, background }
    }
}

impl From<PersonaView> for Persona {
    fn from(view: PersonaView) -> Self {
        let PersonaView { style, description, age, birthday, hobbies, likes, dislikes, background } = view;
        Self { style, description, age, birthday, hobbies, likes, dislikes, background }
    }
}

impl From<Agent> for AgentView {
    fn from(agent: Agent) -> Self {
        Self {
            id: agent.id.to_string(),
            owner: agent.owner.to_string(),
            name: agent.name,
            kind: agent.kind,
            personality: agent.personality,
            purpose: agent.purpose,
            tone: agent.tone,
            visibility: agent.visibility,
            persona: agent.persona.map(|persona| (*persona).into()),
            created_at: moment::write(agent.created_at),
        }
    }
}

impl AgentView {
    pub(super) fn example() -> Self {
        Self {
            id: "luna".into(),
            owner: "user-123".into(),
            name: "Luna".into(),
            kind: "companion".into(),
            personality: "sweet and caring".into(),
            purpose: "to show what this server does".into(),
            tone: "warm".into(),
            visibility: "private".into(),
            persona: None,
            created_at: "2026-11-20T16:00:00.123Z".into(),
        }
    }
}

/// Agents of one person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agents)]
struct Page {
    /// The agents, oldest first.
    agents: Vec<AgentView>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    owner: String,
}

/// An agent to add.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAgent {
    /// Whose it is.
    owner: String,
    /// Its id: 1 to 128 bytes.
    id: String,
    /// What it is called.
    name: String,
    /// `companion`, `assistant` or whatever its owner calls it. Default: `companion`.
    #[serde(default = "companion")]
    kind: String,
    /// Its character, in the owner's words.
    #[serde(default)]
    personality: String,
    /// What it is for.
    #[serde(default)]
    purpose: String,
    /// How it speaks.
    #[serde(default)]
    tone: String,
    /// `private`, `world` or `public`. Default: `private`.
    #[serde(default = "private")]
    visibility: String,
    /// How it introduces itself.
    persona: Option<PersonaView>,
}

/// What becomes different about an agent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AgentChange)]
struct Change {
    /// A new name.
    name: Option<String>,
    /// A new character.
    personality: Option<String>,
    /// A new purpose.
    purpose: Option<String>,
    /// A new tone.
    tone: Option<String>,
    /// A new visibility: `private`, `world` or `public`.
    visibility: Option<String>,
}

async fn list(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(Whose { owner }): Asked<Whose>,
) -> Result<Json<Page>, Problem> {
    let owner = PersonId::parse(&owner)?;
    let store = &state.shared.app.ports().store;
    if store.person(&owner).await?.is_none() {
        return Err(Refusal::not_found("There is no such person.").into());
    }
    let agents = store.agents_of(&owner).await?;
    Ok(Json(Page { agents: agents.into_iter().map(AgentView::from).collect() }))
}

async fn read(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(agent): Place<String>,
) -> Result<Json<AgentView>, Problem> {
    stored(&state, &AgentId::parse(&agent)?).await.map(Json)
}

async fn create(
    Extracted(state): Extracted<State>,
    backend: Backend,
    errand: Errand,
) -> Result<Response, Problem> {
    let new: NewAgent = object(&errand.text)?;
    let owner = PersonId::parse(&new.owner)?;
    let agent = Agent {
        id: AgentId::parse(&new.id)?,
        owner: owner.clone(),
        name: new.name,
        kind: new.kind,
        personality: new.personality,
        purpose: new.purpose,
        tone: new.tone,
        visibility: new.visibility,
        created_at: state.shared.now(),
        persona: new.persona.map(|persona| Box::new(persona.into())),
    };
    let command = Command::CreateAgent { agent: Box::new(agent.clone()) };
    let ticket = errand.ticket(&backend);
    let answer = |_, _| ready(Answer::json(StatusCode::CREATED, &AgentView::from(agent)));
    Ok(perform(&state, backend, ticket, Order { person: Some(owner), command }, answer).await)
}

async fn change(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place(agent): Place<String>,
    Body(Change { name, personality, purpose, tone, visibility }): Body<Change>,
) -> Result<Json<AgentView>, Problem> {
    let agent = AgentId::parse(&agent)?;
    let change = AgentChange { name, personality, purpose, tone, visibility };
    if change == AgentChange::default() {
        return Err(Problem::invalid("Say what becomes different about the agent."));
    }
    let command = Command::ChangeAgent { agent: agent.clone(), change: Box::new(change) };
    carry_out(&state, &backend, Order { person: None, command }).await?;
    stored(&state, &agent).await.map(Json)
}

async fn delete(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place(agent): Place<String>,
) -> Result<StatusCode, Problem> {
    let command = Command::DeleteAgent { agent: AgentId::parse(&agent)? };
    carry_out(&state, &backend, Order { person: None, command }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn stored(state: &State, id: &AgentId) -> Result<AgentView, Problem> {
    let agent = state.shared.app.ports().store.agent(id).await?;
    agent.map(AgentView::from).ok_or_else(|| access::agent_not_found().into())
}

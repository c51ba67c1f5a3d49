//! Personas, profiles and bonds: which agents are there for everybody, what people say about themselves, and which agents they
//! belong together with.

use antiphon_core::actor::Claim;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::people::{Bonded, Profile};
use antiphon_core::refusal::Refusal;
use axum::Json;
use axum::extract::State as Extracted;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;

use super::State;
use super::agents::AgentView;
use super::body::{Asked, Body, Place};
use super::caller::Backend;
use super::conversations::MessageView;
use super::moment;
use super::orders::Order;
use super::perform::carry_out;
use super::problem::Problem;
use super::route::Route;
use super::span::{Span, check_limit};

pub(super) fn routes() -> Vec<Route> {
    let missing = "There is no such person.";
    vec![
        Route::get("personas", "/v1/personas", personas)
            .says(
                "Agents",
                "List public agents",
                "In the order of their ids, a page at a time. Everybody may converse with them.",
            )
            .for_backends()
            .query("after", Type::String, "Only agents whose id comes after this one.", "aiko")
            .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
            .gives(StatusCode::OK, "The agents.", &Page { agents: vec![AgentView::example()], next: None }),
        Route::get("profile", "/v1/people/{person}/profile", profile)
            .says("People", "Read what a person says about themselves", "")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .gives(StatusCode::OK, "The profile.", &ProfileView::example())
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::put("putProfile", "/v1/people/{person}/profile", put_profile)
            .says("People", "Replace what a person says about themselves", "")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .takes::<ProfileView>(json!({"name": "Ada", "timeZone": "Asia/Jakarta"}))
            .gives(StatusCode::OK, "The profile as it is stored.", &ProfileView::example())
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::get("bonds", "/v1/people/{person}/bonds", bonds)
            .says("People", "List the agents that a person belongs together with", "Since the longest first.")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .gives(StatusCode::OK, "The bonds.", &Bonds { bonds: vec![BondView::example()] })
            .refuses(StatusCode::NOT_FOUND, missing),
    ]
}

/// A page of public agents.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Personas)]
struct Page {
    /// The agents, in the order of their ids.
    agents: Vec<AgentView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a person says about themselves.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
#[schema(as = Profile)]
pub(super) struct ProfileView {
    /// What they want to be called: 1 to 256 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Where mail reaches them: at most 254 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    /// The time zone they live in, by its IANA name: `Asia/Jakarta`.
    #[serde(skip_serializing_if = "Option::is_none")]
    time_zone: Option<String>,
}

impl From<Profile> for ProfileView {
    fn from(Profile { name, email, time_zone }: Profile) -> Self {
        Self { name, email, time_zone }
    }
}

impl From<ProfileView> for Profile {
    fn from(ProfileView { name, email, time_zone }: ProfileView) -> Self {
        Self { name, email, time_zone }
    }
}

impl ProfileView {
    fn example() -> Self {
        Self { name: Some("Ada".into()), email: None, time_zone: Some("Asia/Jakarta".into()) }
    }
}

/// A person and an agent belong together.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Bond)]
pub(super) struct BondView {
    /// The agent.
    agent: String,
    /// The person.
    person: String,
    /// Since when, as in `2026-11-20T16:00:00.123Z`.
    since: String,
    /// How often the person has said something to the agent.
    meetings: u32,
    /// The last message of their conversation, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<MessageView>,
    /// When the person last said something, if they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_at: Option<String>,
}

impl From<Bonded> for BondView {
    fn from(Bonded { bond, relation, last, active_at }: Bonded) -> Self {
        Self {
            agent: bond.agent.to_string(),
            person: bond.person.to_string(),
            since: moment::write(bond.since),
            meetings: relation.meetings,
            last: last.map(MessageView::from),
            active_at: active_at.map(moment::write),
        }
    }
}

impl BondView {
    fn example() -> Self {
        Self {
            agent: "luna".into(),
            person: "user-123".into(),
            since: moment::write(Timestamp(1_795_190_400_123)),
            meetings: 7,
            last: None,
            active_at: Some(moment::write(Timestamp(1_795_190_460_456))),
        }
    }
}

/// Whom a person belongs together with.
#[derive(Debug, Serialize, ToSchema)]
struct Bonds {
    /// The bonds, the oldest first.
    bonds: Vec<BondView>,
}

async fn personas(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(Span { after, limit }): Asked<Span>,
) -> Result<Json<Page>, Problem> {
    check_limit(limit)?;
    let after = after.as_deref().map(AgentId::parse).transpose()?;
    let agents = state.shared.app.ports().store.personas(after.as_ref(), limit).await?;
    let next = (agents.len() == limit as usize).then(|| agents.last().map(|agent| agent.id.to_string()));
    Ok(Json(Page { next: next.flatten(), agents: agents.into_iter().map(AgentView::from).collect() }))
}

async fn profile(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place(person): Place<String>,
) -> Result<Json<ProfileView>, Problem> {
    said(&state, &backend, &person, Command::ReadProfile { person: Claim::NONE }).await
}

async fn put_profile(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place(person): Place<String>,
    Body(profile): Body<ProfileView>,
) -> Result<Json<ProfileView>, Problem> {
    let profile = Box::new(profile.into());
    said(&state, &backend, &person, Command::SetProfile { person: Claim::NONE, profile }).await
}

/// Has the core do one of the two commands of which a profile comes.
async fn said(
    state: &State,
    backend: &Backend,
    person: &str,
    command: Command,
) -> Result<Json<ProfileView>, Problem> {
    let order = Order { person: Some(PersonId::parse(person)?), command };
    match carry_out(state, backend, order).await? {
        Outcome::Profile(profile) => Ok(Json((*profile).into())),
        _ => Err(Refusal::internal().into()),
    }
}

async fn bonds(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place(person): Place<String>,
) -> Result<Json<Bonds>, Problem> {
    let command = Command::ReadBonds { person: Claim::NONE };
    let order = Order { person: Some(PersonId::parse(&person)?), command };
    match carry_out(&state, &backend, order).await? {
        Outcome::Bonds(bonds) => Ok(Json(Bonds { bonds: bonds.into_iter().map(BondView::from).collect() })),
        _ => Err(Refusal::internal().into()),
    }
}

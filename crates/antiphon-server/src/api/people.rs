//! People: adding and reading them, who is here, telling them something, and closing their connections.

use antiphon_core::actor::{FALLBACK_PLAN, Person, Principal};
use antiphon_core::command::Command;
use antiphon_core::ids::PersonId;
use antiphon_core::presence::Status;
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;
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
use super::moment;
use super::orders::Order;
use super::orders::drafts::{Action, Presence, Urgency, notice};
use super::perform::{Errand, perform};
use super::problem::Problem;
use super::route::Route;
use super::span::{Span, check_limit};
use super::topics::{Published, heard};

pub(super) fn routes() -> Vec<Route> {
    let group = "People";
    let missing = "There is no such person.";
    vec![
        Route::get("people", "/v1/people", list)
            .says(group, "List people", "In the order of their ids, a page at a time.")
            .for_backends()
            .query("after", Type::String, "Only people whose id comes after this one.", "user-000")
            .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
            .gives(StatusCode::OK, "The people.", &Page { people: vec![PersonView::example()], next: None }),
        Route::get("person", "/v1/people/{person}", read)
            .says(group, "Read a person", "")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .gives(StatusCode::OK, "The person.", &PersonView::example())
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::put("putPerson", "/v1/people/{person}", put)
            .says(
                group,
                "Add a person, or change their plan and roles",
                "Credentials that were issued before keep the roles and the plan they had until they are used again.",
            )
            .for_backends()
            .segment("person", "The person's id: 1 to 128 bytes.", "user-789")
            .takes::<PersonDraft>(json!({"plan": "pro", "roles": ["viewer"]}))
            .gives(StatusCode::OK, "The person as they are stored.", &PersonView::example())
            .refuses(StatusCode::NOT_FOUND, "There is no such plan."),
        Route::get("presence", "/v1/people/{person}/presence", presence)
            .says(group, "Read whether a person is here", "")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .gives(StatusCode::OK, "How it is now.", &PresenceView { status: Presence::Online })
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::post("notify", "/v1/people/{person}/notices", notify)
            .says(group, "Tell a person something", "All of their connections hear it. It is not stored.")
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .idempotent()
            .takes::<NewNotice>(json!({
                "kind": "success", "title": "Order shipped", "message": "It arrives tomorrow.",
                "action": {"label": "Track it", "url": "/orders/4711"},
            }))
            .gives(StatusCode::OK, "It was sent.", &Published { received: 2 })
            .refuses(StatusCode::NOT_FOUND, missing),
        Route::post("disconnect", "/v1/people/{person}/disconnect", disconnect)
            .says(
                group,
                "Close a person's connections",
                "Their credentials stay good, so their clients may come back; to keep them out, revoke.",
            )
            .for_backends()
            .segment("person", "The person's id.", "user-123")
            .gives(StatusCode::OK, "They were closed.", &Disconnected { disconnected: 2 })
            .refuses(StatusCode::NOT_FOUND, missing),
    ]
}

/// A person as they are stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Person)]
struct PersonView {
    /// Their id.
    id: String,
    /// Name of their plan.
    plan: String,
    /// What they are besides themselves.
    roles: Vec<String>,
    /// When they were added.
    created_at: String,
}

impl From<Person> for PersonView {
    fn from(person: Person) -> Self {
        Self {
            id: person.id.to_string(),
            plan: person.plan,
            roles: person.roles,
            created_at: moment::write(person.created_at),
        }
    }
}

impl PersonView {
    fn example() -> Self {
        Self {
            id: "user-123".into(),
            plan: "pro".into(),
            roles: vec!["viewer".into()],
            created_at: "2026-11-20T16:00:00.123Z".into(),
        }
    }
}

/// A page of people.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = People)]
struct Page {
    /// The people, in the order of their ids.
    people: Vec<PersonView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A person to add or to change.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPerson)]
struct PersonDraft {
    /// Name of their plan. Default: the one they have, or `free`.
    plan: Option<String>,
    /// What they are besides themselves. Default: those they have.
    roles: Option<Vec<String>>,
}

/// Whether somebody is here.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Presence)]
struct PresenceView {
    /// How it is now.
    status: Presence,
}

/// Something to tell a person.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Notice)]
struct NewNotice {
    /// How urgent it is.
    kind: Urgency,
    /// One line.
    title: String,
    /// One or two sentences.
    message: String,
    /// Something to click.
    action: Option<Action>,
}

/// How many connections were closed.
#[derive(Debug, Serialize, ToSchema)]
struct Disconnected {
    /// Sockets of the person.
    disconnected: u64,
}

async fn list(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(Span { after, limit }): Asked<Span>,
) -> Result<Json<Page>, Problem> {
    check_limit(limit)?;
    let after = after.map(|id| PersonId::parse(&id)).transpose()?;
    let people = state.shared.app.ports().store.people(after.as_ref(), limit).await?;
    let is_full = people.len() == limit as usize;
    let next = people.last().filter(|_| is_full).map(|last| last.id.to_string());
    Ok(Json(Page { people: people.into_iter().map(PersonView::from).collect(), next }))
}

async fn read(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(person): Place<String>,
) -> Result<Json<PersonView>, Problem> {
    existing(&state, &person).await.map(|person| Json(person.into()))
}

async fn put(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(id): Place<String>,
    Body(draft): Body<PersonDraft>,
) -> Result<Json<PersonView>, Problem> {
    let id = PersonId::parse(&id)?;
    let store = &state.shared.app.ports().store;
    let created_at = state.shared.now();
    let plan = FALLBACK_PLAN.to_owned();
    let mut person = match store.person(&id).await? {
        Some(person) => person,
        None => Person { id, plan, roles: Vec::new(), created_at },
    };
    if let Some(plan) = draft.plan {
        if store.plan(&plan).await?.is_none() {
            return Err(Refusal::not_found("There is no such plan.").into());
        }
        person.plan = plan;
    }
    if let Some(roles) = draft.roles {
        check_roles(&roles)?;
        person.roles = roles;
    }
    store.put_person(&person).await?;
    Ok(Json(person.into()))
}

fn check_roles(roles: &[String]) -> Result<(), Problem> {
    let is_name =
        |role: &String| !role.is_empty() && role.len() <= 128 && !role.chars().any(char::is_control);
    if roles.len() > 64 || !roles.iter().all(is_name) {
        return Err(Problem::invalid("A person has at most 64 roles of 1 to 128 bytes each."));
    }
    Ok(())
}

async fn presence(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(person): Place<String>,
) -> Result<Json<PresenceView>, Problem> {
    let person = existing(&state, &person).await?;
    let status = match state.shared.app.presence(&person.id).await {
        Status::Online => Presence::Online,
        Status::Away => Presence::Away,
        Status::Offline => Presence::Offline,
    };
    Ok(Json(PresenceView { status }))
}

async fn notify(
    Extracted(state): Extracted<State>,
    backend: Backend,
    Place(person): Place<String>,
    errand: Errand,
) -> Result<Response, Problem> {
    let NewNotice { kind, title, message, action } = object(&errand.text)?;
    let notice = notice(kind, title, message, action)?;
    let person = existing(&state, &person).await?.id;
    let topic = Topic::Person(person.clone());
    let order = Order { person: None, command: Command::SendNotice { person, notice } };
    let ticket = errand.ticket(&backend);
    let answer = move |state: State, _| async move { heard(&state, &topic).await };
    Ok(perform(&state, backend, ticket, order, answer).await)
}

async fn disconnect(
    Extracted(state): Extracted<State>,
    _: Backend,
    Place(person): Place<String>,
) -> Result<Json<Disconnected>, Problem> {
    let person = existing(&state, &person).await?;
    let disconnected = state.shared.disconnect(&Principal::Person(person.id)).await as u64;
    Ok(Json(Disconnected { disconnected }))
}

/// The person of this id, who must exist.
pub(super) async fn existing(state: &State, id: &str) -> Result<Person, Problem> {
    let person = state.shared.app.ports().store.person(&PersonId::parse(id)?).await?;
    person.ok_or_else(|| Refusal::not_found("There is no such person.").into())
}

//! What this server does by itself: what was said, what is due when, and looking now.

use std::sync::Arc;

use antiphon_core::ids::PersonId;
use antiphon_core::jobs::{Job, JobState};
use antiphon_core::refusal::Refusal;
use axum::Json;
use axum::extract::State as Extracted;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::Type;

use super::State;
use super::body::{Asked, Body};
use super::caller::Backend;
use super::moment;
use super::problem::Problem;
use super::route::Route;
use super::span::{check_limit, hundred};
use crate::proactive::{Came, Coming, Order, Proactive, Prospect, Report, Turned};

pub(super) fn routes() -> Vec<Route> {
    let group = "Operating";
    let off = "This server says nothing by itself (`[proactive] enabled`), or there is no such person.";
    vec![
        Route::get("jobs", "/v1/jobs", list)
            .says(
                group,
                "List jobs",
                "What agents were to say by themselves, and what became of it, the latest first, a page at a time. Jobs are \
                 remembered for 35 days.",
            )
            .for_backends()
            .query("person", Type::String, "Only those for this person.", "user-123")
            .query("after", Type::Integer, "Only those that come after the one with this id: earlier ones.", 4_711)
            .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
            .gives(StatusCode::OK, "The jobs.", &Jobs { jobs: vec![JobView::example()], next: None }),
        Route::get("due", "/v1/jobs/due", due)
            .says(
                group,
                "List what is due",
                "When which agent is to say what by itself, for people who talked with agents lately, in the order of their \
                 ids, a page at a time.",
            )
            .for_backends()
            .query("person", Type::String, "Only for this person, however long they have been away.", "user-123")
            .query("after", Type::String, "Only people whose id comes after this.", "user-122")
            .query("limit", Type::Integer, "At most this many, 1 to 1,000. Default: 100.", 100)
            .gives(StatusCode::OK, "What is due.", &Dues { due: vec![DueView::example()], next: None })
            .refuses(StatusCode::NOT_FOUND, off),
        Route::post("runJobs", "/v1/jobs/run", run)
            .says(
                group,
                "Say what is due",
                "Looks at once and says what there is to say, as the server does by itself every now and then. Asking twice says \
                 nothing twice: a person gets at most one message of a kind on each of their days.",
            )
            .for_backends()
            .takes::<Wanted>(json!({"person": "user-123", "kind": "morning", "now": true}))
            .gives(StatusCode::OK, "What came of it.", &Looked::example())
            .refuses(StatusCode::NOT_FOUND, off),
    ]
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Job)]
struct JobView {
    /// Its number.
    id: u64,
    /// For whom.
    person: String,
    /// What for.
    kind: String,
    /// The person's own day.
    date: String,
    /// The agent that speaks.
    agent: String,
    /// `claimed`, `waiting` until it is tried again, `done`, or `skipped` for good.
    state: String,
    /// The message that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// How often it was begun.
    tries: u32,
    /// When its state last changed.
    at: String,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let state = job.state.name().to_owned();
        let (message, why) = match job.state {
            JobState::Done { message } => (Some(message.to_string()), None),
            JobState::Skipped { why } => (None, Some(why)),
            JobState::Claimed { .. } | JobState::Waiting { .. } => (None, None),
        };
        Self {
            id: job.id,
            person: job.occasion.person.to_string(),
            kind: job.occasion.kind,
            date: job.occasion.date,
            agent: job.agent.to_string(),
            state,
            message,
            why,
            tries: job.tries,
            at: moment::write(job.changed_at),
        }
    }
}

impl JobView {
    fn example() -> Self {
        Self {
            id: 4_711,
            person: "user-123".into(),
            kind: "morning".into(),
            date: "2026-11-20".into(),
            agent: "luna".into(),
            state: "done".into(),
            message: Some("0195a7c0-d1e2-4f3a-94b5-c6d7e8f9a0b1".into()),
            why: None,
            tries: 1,
            at: "2026-11-20T00:00:00.123Z".into(),
        }
    }
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
struct Jobs {
    /// The jobs, the latest first.
    jobs: Vec<JobView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// What a person can expect.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Due)]
struct DueView {
    /// Who.
    person: String,
    /// Their time zone.
    time_zone: String,
    /// The agent that would write to them now; absent while they are busy, or have been away for too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// Until when they are left alone because they are in the middle of a conversation.
    #[serde(skip_serializing_if = "Option::is_none")]
    busy_until: Option<String>,
    /// What comes next of each kind.
    coming: Vec<ComingView>,
}

/// The next message of a kind.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Coming)]
struct ComingView {
    /// The kind.
    kind: String,
    /// When; in the past if it is late.
    at: String,
    /// On which of the person's own days.
    date: String,
}

impl From<Prospect> for DueView {
    fn from(prospect: Prospect) -> Self {
        let coming = |Coming { kind, at, date }: Coming| ComingView {
            kind,
            at: moment::write(at),
            date: date.to_string(),
        };
        Self {
            person: prospect.person.to_string(),
            time_zone: prospect.time_zone,
            agent: prospect.agent.map(|agent| agent.to_string()),
            busy_until: prospect.busy_until.map(moment::write),
            coming: prospect.coming.into_iter().map(coming).collect(),
        }
    }
}

impl DueView {
    fn example() -> Self {
        Self {
            person: "user-123".into(),
            time_zone: "Asia/Jakarta".into(),
            agent: Some("luna".into()),
            busy_until: None,
            coming: vec![ComingView {
                kind: "morning".into(),
                at: "2026-11-20T00:00:00.000Z".into(),
                date: "2026-11-20".into(),
            }],
        }
    }
}

/// A page of what is due.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DuePage)]
struct Dues {
    /// People, in the order of their ids.
    due: Vec<DueView>,
    /// What to send as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What to look for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = JobOrder)]
struct Wanted {
    /// Only messages to this person.
    person: Option<String>,
    /// Only messages of this kind.
    kind: Option<String>,
    /// Also what is not due, and also to people in the middle of a conversation; names a kind, then. Default: false.
    #[serde(default)]
    now: bool,
}

/// What a look came to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobReport)]
struct Looked {
    /// How many people were looked at.
    people: u64,
    /// How many messages were said.
    said: u64,
    /// What came of each message that was due or asked for; the first 1,000.
    results: Vec<ResultView>,
}

/// What came of a message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobResult)]
struct ResultView {
    /// For whom.
    person: String,
    /// Its kind.
    kind: String,
    /// The person's own day.
    date: String,
    /// `said`; `before` if that day had its message; `busy` in the middle of a conversation; `nobody` who could write to them;
    /// `later` if somebody else says it, or it failed and is tried again; `skipped` for good.
    result: String,
    /// The agent that said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// The message.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Until when they are busy, or when it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl From<Turned> for ResultView {
    fn from(turned: Turned) -> Self {
        let (mut agent, mut message, mut until, mut why) = (None, None, None, None);
        let result = match turned.result {
            Came::Said { agent: by, message: id } => {
                (agent, message) = (Some(by.to_string()), Some(id.to_string()));
                "said"
            }
            Came::Before => "before",
            Came::Busy(at) => {
                until = Some(moment::write(at));
                "busy"
            }
            Came::Nobody => "nobody",
            Came::Later(at) => {
                until = Some(moment::write(at));
                "later"
            }
            Came::Skipped(reason) => {
                why = Some(reason);
                "skipped"
            }
        };
        Self {
            person: turned.person.to_string(),
            kind: turned.kind,
            date: turned.date.to_string(),
            result: result.to_owned(),
            agent,
            message,
            until,
            why,
        }
    }
}

impl From<Report> for Looked {
    fn from(report: Report) -> Self {
        let results = report.results.into_iter().map(ResultView::from).collect();
        Self { people: report.people, said: report.said, results }
    }
}

impl Looked {
    fn example() -> Self {
        let result = ResultView {
            person: "user-123".into(),
            kind: "morning".into(),
            date: "2026-11-20".into(),
            result: "said".into(),
            agent: Some("luna".into()),
            message: Some("0195a7c0-d1e2-4f3a-94b5-c6d7e8f9a0b1".into()),
            until: None,
            why: None,
        };
        Self { people: 1, said: 1, results: vec![result] }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobSpan {
    person: Option<String>,
    after: Option<u64>,
    #[serde(default = "hundred")]
    limit: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DueSpan {
    person: Option<String>,
    after: Option<String>,
    #[serde(default = "hundred")]
    limit: u32,
}

async fn list(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(JobSpan { person, after, limit }): Asked<JobSpan>,
) -> Result<Json<Jobs>, Problem> {
    check_limit(limit)?;
    let person = person.as_deref().map(PersonId::parse).transpose()?;
    let jobs = state.shared.app.ports().store.jobs(person.as_ref(), after, limit).await?;
    let is_full = jobs.len() == limit as usize;
    let next = jobs.last().filter(|_| is_full).map(|last| last.id);
    Ok(Json(Jobs { jobs: jobs.into_iter().map(JobView::from).collect(), next }))
}

async fn due(
    Extracted(state): Extracted<State>,
    _: Backend,
    Asked(DueSpan { person, after, limit }): Asked<DueSpan>,
) -> Result<Json<Dues>, Problem> {
    check_limit(limit)?;
    let proactive = configured(&state)?;
    let person = known(&state, person.as_deref()).await?;
    let after = after.as_deref().map(PersonId::parse).transpose()?;
    let due = proactive.prospects(person, after, limit as usize).await?;
    let is_full = due.len() == limit as usize;
    let next = due.last().filter(|_| is_full).map(|last| last.person.to_string());
    Ok(Json(Dues { due: due.into_iter().map(DueView::from).collect(), next }))
}

async fn run(
    Extracted(state): Extracted<State>,
    _: Backend,
    Body(Wanted { person, kind, now }): Body<Wanted>,
) -> Result<Json<Looked>, Problem> {
    let proactive = configured(&state)?;
    if let Some(kind) = &kind
        && !proactive.knows(kind)
    {
        return Err(Refusal::invalid("No [[proactive.schedule]] has this kind.").into());
    }
    if now && kind.is_none() {
        return Err(Refusal::invalid("What is not due is said one kind at a time: name the kind.").into());
    }
    let person = known(&state, person.as_deref()).await?;
    let report = proactive.look(&Order { kind, person, anyway: now }).await?;
    Ok(Json(report.into()))
}

fn configured(state: &State) -> Result<&Arc<Proactive>, Refusal> {
    let off = "This server says nothing by itself: [proactive] enabled is false.";
    state.proactive.as_ref().ok_or_else(|| Refusal::not_found(off))
}

/// The person of that id, who must exist if one is named.
async fn known(state: &State, id: Option<&str>) -> Result<Option<PersonId>, Problem> {
    let Some(id) = id else { return Ok(None) };
    let id = PersonId::parse(id)?;
    match state.shared.app.ports().store.person(&id).await? {
        Some(_) => Ok(Some(id)),
        None => Err(Refusal::not_found("There is no such person.").into()),
    }
}

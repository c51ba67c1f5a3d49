//! Which statements jobs need.

use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::jobs::{Claimant, Claimed, Ending, Job, JobState, NewJob, Occasion, claim, settle};
use antiphon_core::ports::Jobs;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::SqliteStore;
use super::rows::{agent_id, count, counted, message_id, person_id};

#[async_trait]
impl Jobs for SqliteStore {
    async fn claim_job(&self, job: &NewJob, claimant: &Claimant) -> Result<Claimed, Fault> {
        let (new, claimant) = (job.clone(), claimant.clone());
        self.write("claiming a job", move |connection| {
            let Occasion { person, kind, date } = &new.occasion;
            let columns = params![person.as_str(), kind, date];
            let known = connection.prepare_cached(KNOWN)?.query_row(columns, job_of).optional()?;
            let is_new = known.is_none();
            // The number of a new one is the database's to give.
            let mut claimed = claim(known, &new, &claimant, 0);
            if let Claimed::Yours(job) = &mut claimed {
                match is_new {
                    true => job.id = insert(connection, job)?,
                    false => update(connection, job)?,
                }
            }
            Ok(claimed)
        })
        .await
    }

    async fn settle_job(&self, id: u64, holder: &str, ending: &Ending, at: Timestamp) -> Result<bool, Fault> {
        let Ok(id) = i64::try_from(id) else { return Ok(false) };
        let (holder, ending) = (holder.to_owned(), ending.clone());
        self.write("settling a job", move |connection| {
            let job = connection.prepare_cached(BY_ID)?.query_row([id], job_of).optional()?;
            let Some(job) = job else { return Ok(false) };
            let Some(state) = settle(&job, &holder, &ending) else { return Ok(false) };
            update(connection, &Job { state, changed_at: at, ..job })?;
            Ok(true)
        })
        .await
    }

    async fn jobs(
        &self,
        person: Option<&PersonId>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<Job>, Fault> {
        // No number lies beyond i64::MAX.
        let before = before.and_then(|before| i64::try_from(before).ok()).unwrap_or(i64::MAX);
        let person = person.cloned();
        self.read("listing jobs", move |connection| match &person {
            Some(person) => {
                let mut statement = connection.prepare_cached(THEIRS)?;
                statement.query_map(params![person.as_str(), before, limit], job_of)?.collect()
            }
            None => {
                let mut statement = connection.prepare_cached(ALL)?;
                statement.query_map(params![before, limit], job_of)?.collect()
            }
        })
        .await
    }
}

/// The job about an occasion.
pub(super) const KNOWN: &str =
    "SELECT id, person, kind, date, agent, text, status, holder, free_at, message, why, tries,
         made_at, changed_at FROM jobs WHERE person = ?1 AND kind = ?2 AND date = ?3";

/// The job of a number.
pub(super) const BY_ID: &str =
    "SELECT id, person, kind, date, agent, text, status, holder, free_at, message, why, tries,
         made_at, changed_at FROM jobs WHERE id = ?1";

/// The jobs of a person.
pub(super) const THEIRS: &str =
    "SELECT id, person, kind, date, agent, text, status, holder, free_at, message, why, tries,
         made_at, changed_at FROM jobs WHERE person = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3";

/// All jobs.
pub(super) const ALL: &str =
    "SELECT id, person, kind, date, agent, text, status, holder, free_at, message, why, tries,
         made_at, changed_at FROM jobs WHERE id < ?1 ORDER BY id DESC LIMIT ?2";

fn insert(connection: &Connection, job: &Job) -> rusqlite::Result<u64> {
    let State { holder, free_at, message, why } = State::of(&job.state);
    let mut statement = connection.prepare_cached(
        "INSERT INTO jobs (person, kind, date, agent, text, status, holder, free_at, message, why, tries, made_at, changed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) RETURNING id",
    )?;
    let columns = params![
        job.occasion.person.as_str(),
        job.occasion.kind,
        job.occasion.date,
        job.agent.as_str(),
        job.text,
        job.state.name(),
        holder,
        free_at,
        message,
        why,
        job.tries,
        job.made_at.0,
        job.changed_at.0,
    ];
    statement.query_row(columns, |row| count(row, 0))
}

fn update(connection: &Connection, job: &Job) -> rusqlite::Result<()> {
    let State { holder, free_at, message, why } = State::of(&job.state);
    let mut statement = connection.prepare_cached(
        "UPDATE jobs SET status = ?2, holder = ?3, free_at = ?4, message = ?5, why = ?6, tries = ?7, changed_at = ?8
         WHERE id = ?1",
    )?;
    let columns = params![
        counted(job.id)?,
        job.state.name(),
        holder,
        free_at,
        message,
        why,
        job.tries,
        job.changed_at.0,
    ];
    statement.execute(columns).map(drop)
}

/// A state as columns have it.
#[derive(Default)]
struct State<'a> {
    holder: Option<&'a str>,
    free_at: Option<i64>,
    message: Option<&'a [u8; 16]>,
    why: Option<&'a str>,
}

impl<'a> State<'a> {
    fn of(state: &'a JobState) -> Self {
        match state {
            JobState::Claimed { holder, until } => {
                Self { holder: Some(holder), free_at: Some(until.0), ..Self::default() }
            }
            JobState::Waiting { from } => Self { free_at: Some(from.0), ..Self::default() },
            JobState::Done { message } => Self { message: Some(message.0.as_bytes()), ..Self::default() },
            JobState::Skipped { why } => Self { why: Some(why), ..Self::default() },
        }
    }
}

fn job_of(row: &Row<'_>) -> rusqlite::Result<Job> {
    let state = match row.get_ref(6)?.as_str()? {
        "claimed" => JobState::Claimed { holder: row.get(7)?, until: Timestamp(row.get(8)?) },
        "waiting" => JobState::Waiting { from: Timestamp(row.get(8)?) },
        "done" => JobState::Done { message: message_id(row, 9)? },
        "skipped" => JobState::Skipped { why: row.get(10)? },
        _ => return Err(FromSqlError::InvalidType.into()),
    };
    Ok(Job {
        id: count(row, 0)?,
        occasion: Occasion { person: person_id(row, 1)?, kind: row.get(2)?, date: row.get(3)? },
        agent: agent_id(row, 4)?,
        text: row.get(5)?,
        state,
        tries: row.get(11)?,
        made_at: Timestamp(row.get(12)?),
        changed_at: Timestamp(row.get(13)?),
    })
}

//! How one message is said, once: claimed, said under the job's own key, settled.

use std::sync::Arc;

use antiphon_core::actor::{Actor, Caller, Plan, Principal};
use antiphon_core::command::{Command, Once, Outcome};
use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::jobs::{Claimant, Claimed, Ending, Job, NewJob, Occasion};
use antiphon_core::refusal::{Code, Fault, Refusal};
use jiff::civil::Date;
use uuid::Uuid;

use super::{Came, PAUSE, Proactive, Schedule, Turned};

/// For how many milliseconds a job is claimed. Saying something takes a commit, so whoever takes longer has died.
const CLAIMED: i64 = 60_000;

/// Something to say.
pub(super) struct Saying {
    job: NewJob,
    date: Date,
}

/// The server itself, as the core sees who asks.
pub(super) fn caller() -> Caller {
    let plan =
        Plan { name: "server".into(), connections_per_minute: None, messages_per_month: None, agents: None };
    Caller { actor: Arc::new(Actor::new(Principal::Operator, Arc::new(plan))), connection: None }
}

impl Proactive {
    /// What `agent` is to say to `person` on that day.
    pub(super) fn saying(
        &self,
        schedule: &Schedule,
        person: &PersonId,
        agent: &AgentId,
        date: Date,
    ) -> Saying {
        let occasion =
            Occasion { person: person.clone(), kind: schedule.kind.clone(), date: date.to_string() };
        let text = pick(&schedule.texts, person, date).to_owned();
        Saying { job: NewJob { occasion, agent: agent.clone(), text }, date }
    }

    /// Says it, unless that was done. A fault that is returned beside the result is for the log, and is in none yet.
    pub(super) async fn say(&self, saying: Saying) -> (Turned, Option<Fault>) {
        let Occasion { person, kind, .. } = saying.job.occasion.clone();
        let (result, fault) = match self.claim_and_say(&saying.job).await {
            Ok(result) => (result, None),
            Err(fault) => (Came::Later(self.soon()), Some(fault)),
        };
        (Turned { person, kind, date: saying.date, result }, fault)
    }

    async fn claim_and_say(&self, new: &NewJob) -> Result<Came, Fault> {
        let store = &self.app.ports().store;
        let at = self.app.now();
        let holder = Uuid::new_v4().to_string();
        let until = Timestamp(at.0.saturating_add(CLAIMED));
        let job = match store.claim_job(new, &Claimant { holder: holder.clone(), at, until }).await? {
            Claimed::Yours(job) => job,
            Claimed::Later(at) => return Ok(Came::Later(at)),
            Claimed::Over(_) => return Ok(Came::Before),
        };
        let (ending, result) = match self.speak(&job).await {
            Ok(Outcome::Posted { id, .. }) => {
                (Ending::Done(id), Came::Said { agent: job.agent, message: id })
            }
            Ok(other) => return Err(Fault::new(format!("speaking came to {other:?}"))),
            // What broke is in the log already.
            Err(refusal) if is_passing(&refusal) => {
                let again = self.soon();
                (Ending::Again(again), Came::Later(again))
            }
            Err(refusal) => {
                let why = refusal.message.into_owned();
                (Ending::Skipped(why.clone()), Came::Skipped(why))
            }
        };
        // If this is not theirs any more, somebody took it over, and says the same under the same key.
        store.settle_job(job.id, &holder, &ending, self.app.now()).await?;
        Ok(result)
    }

    async fn speak(&self, job: &Job) -> Result<Outcome, Refusal> {
        let command = Command::Speak {
            agent: job.agent.clone(),
            person: job.occasion.person.clone(),
            text: job.text.clone(),
            once: Some(Once { key: format!("proactive/{}", job.id) }),
        };
        self.app.handle(&self.caller, command).await
    }

    fn soon(&self) -> Timestamp {
        Timestamp(self.app.now().0.saturating_add(PAUSE))
    }
}

/// Whether what was refused may work a little later.
fn is_passing(refusal: &Refusal) -> bool {
    matches!(refusal.code, Code::Internal | Code::Unavailable { .. } | Code::RateLimited { .. })
}

/// One of the texts: another one each day, and not the same one for everybody.
fn pick<'a>(texts: &'a [String], person: &PersonId, date: Date) -> &'a str {
    let who = person
        .as_str()
        .bytes()
        .fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let day = date.day_of_year().unsigned_abs();
    let index = who.wrapping_add(usize::from(day)).checked_rem(texts.len()).unwrap_or(0);
    texts.get(index).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_its_day() {
        let texts: Vec<_> = ["a", "b", "c"].map(str::to_owned).into();
        let ada = PersonId::parse("ada").unwrap();
        let first = Date::constant(2026, 3, 1);
        let picked: Vec<_> = (0..6)
            .map(|days| pick(&texts, &ada, first.checked_add(jiff::Span::new().days(days)).unwrap()))
            .collect();
        assert_eq!(picked[..3], picked[3..]);
        let mut all = picked[..3].to_vec();
        all.sort_unstable();
        assert_eq!(all, ["a", "b", "c"]);
        assert_eq!(pick(&texts[..1], &ada, first), "a");
    }

    #[test]
    fn what_may_work_later_is_tried_again() {
        assert!(is_passing(&Refusal::internal()));
        assert!(!is_passing(&Refusal::not_found("There is no such agent.")));
    }
}

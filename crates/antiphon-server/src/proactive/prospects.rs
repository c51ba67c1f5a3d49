//! What is due when, for each person.

use std::collections::HashSet;

use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::jobs::{Turn, turn};
use antiphon_core::refusal::Fault;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::calendar::Due;
use super::people::{Group, People};
use super::{Proactive, milliseconds};

/// How many of a person's latest jobs are looked at: more than one day has.
const LATEST: u32 = 200;

/// How many times of one day are passed over because it has had its message: all that there are.
const TIMES: usize = 24 * 60 + 1;

/// What a person can expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prospect {
    /// Who.
    pub person: PersonId,
    /// The name of their time zone.
    pub time_zone: String,
    /// Who would write to them now, if anybody.
    pub agent: Option<AgentId>,
    /// Until when they are left alone because they are in the middle of a conversation.
    pub busy_until: Option<Timestamp>,
    /// What comes next of each kind.
    pub coming: Vec<Coming>,
}

/// The next message of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    /// The kind.
    pub kind: String,
    /// When; in the past if it is late.
    pub at: Timestamp,
    /// On which of the person's own days.
    pub date: Date,
}

impl Proactive {
    /// What is due when for people who were active lately and whose id comes after `after`, in the order of ids, at most `limit`;
    /// for one person, however long they have been away, if one is named.
    pub async fn prospects(
        &self,
        person: Option<PersonId>,
        after: Option<PersonId>,
        limit: usize,
    ) -> Result<Vec<Prospect>, Fault> {
        let now = self.app.now();
        let (store, since) = (&self.app.ports().store, self.active_since(now));
        let mut people = match (person, after) {
            (None, Some(after)) => People::after(store, after, since),
            (person, _) => People::new(store, person, since),
        };
        let mut found = Vec::new();
        while let Some(groups) = people.next().await? {
            for group in groups {
                if found.len() == limit {
                    return Ok(found);
                }
                found.push(self.prospect(group, now).await?);
            }
        }
        Ok(found)
    }

    async fn prospect(&self, group: Group, now: Timestamp) -> Result<Prospect, Fault> {
        let store = &self.app.ports().store;
        let profile = store.profile(&group.person).await?;
        let zone = self.calendar.zone(profile.time_zone.as_deref());
        let jobs = store.jobs(Some(&group.person), None, LATEST).await?;
        let over = jobs.into_iter().filter(|job| job.state.is_over());
        let over: HashSet<(String, String)> =
            over.map(|job| (job.occasion.kind, job.occasion.date)).collect();
        let kinds = self.settings.schedules.iter().map(|schedule| &schedule.kind).enumerate();
        let coming = kinds.filter_map(|(index, kind)| {
            let is_over = |due: &Due| over.contains(&(kind.clone(), due.date.to_string()));
            let due = self.coming(index, &zone, now, is_over)?;
            Some(Coming { kind: kind.clone(), at: due.at, date: due.date })
        });
        let coming = coming.collect();
        let (active, quiet) =
            (milliseconds(self.settings.active_within), milliseconds(self.settings.quiet_for));
        let (agent, busy_until) = match turn(&group.bonds, now, active, quiet) {
            Turn::Of(agent) => (Some(agent.clone()), None),
            Turn::Busy(until) => (None, Some(until)),
            Turn::Nobody => (None, None),
        };
        let time_zone = zone.iana_name().unwrap_or("UTC").to_owned();
        Ok(Prospect { person: group.person, time_zone, agent, busy_until, coming })
    }

    /// The first time that is due now or later, and whose day has not had its message.
    fn coming(
        &self,
        index: usize,
        zone: &TimeZone,
        now: Timestamp,
        is_over: impl Fn(&Due) -> bool,
    ) -> Option<Due> {
        let late = self.calendar.due(index, zone, now, milliseconds(self.settings.late));
        if let Some(late) = late.filter(|due| !is_over(due)) {
            return Some(late);
        }
        let mut next = self.calendar.next(index, zone, now)?;
        for _ in 0..TIMES {
            if !is_over(&next) {
                return Some(next);
            }
            next = self.calendar.next(index, zone, next.at)?;
        }
        None
    }
}

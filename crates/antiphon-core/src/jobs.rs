//! What this server does by itself at its time, and once: a job, and who may do it.
//!
//! A job is claimed before it is done, for a little time: so that of several nodes one does it, and another one takes it over
//! when that one dies. [`claim`] is the one place that decides. What was settled when it was first claimed, such as the words,
//! stays, so that whoever takes a job over does the very same, and a repetition can be told.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, MessageId, PersonId, Timestamp};
use crate::people::Bonded;

/// How long a job that is over is remembered, in milliseconds: 35 days.
pub const JOBS_KEPT: i64 = 35 * 24 * 60 * 60 * 1_000;

/// What a job is about. There is one of each, ever.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Occasion {
    /// For whom.
    pub person: PersonId,
    /// What for: `morning`.
    pub kind: String,
    /// The person's own day: `2026-03-01`.
    pub date: String,
}

/// A job that somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewJob {
    /// What it is about.
    pub occasion: Occasion,
    /// Who is to speak.
    pub agent: AgentId,
    /// What is to be said.
    pub text: String,
}

/// A job, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its number. Later ones have greater ones, and none is used again.
    pub id: u64,
    /// What it is about.
    pub occasion: Occasion,
    /// Who speaks, as it was when the job was first claimed.
    pub agent: AgentId,
    /// What is said, as it was then.
    pub text: String,
    /// How far it is.
    pub state: JobState,
    /// How often it was claimed.
    pub tries: u32,
    /// When it was first claimed.
    pub made_at: Timestamp,
    /// When its state last changed.
    pub changed_at: Timestamp,
}

/// How far a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobState {
    /// Somebody does it, or died over it.
    Claimed {
        /// Who.
        holder: String,
        /// From when on somebody else may claim it.
        until: Timestamp,
    },
    /// It could not be done, and is to be tried again.
    Waiting {
        /// From when on.
        from: Timestamp,
    },
    /// It is done.
    Done {
        /// What was said.
        message: MessageId,
    },
    /// It cannot be done, and will not be tried again.
    Skipped {
        /// Why.
        why: String,
    },
}

impl JobState {
    /// The stable name, in stores and for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Claimed { .. } => "claimed",
            Self::Waiting { .. } => "waiting",
            Self::Done { .. } => "done",
            Self::Skipped { .. } => "skipped",
        }
    }

    /// Whether nothing will become of it any more.
    pub fn is_over(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Skipped { .. })
    }
}

/// Who wants to do a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// A name that nobody else has, not even another claim of the same node.
    pub holder: String,
    /// Now.
    pub at: Timestamp,
    /// Until when they have it for themselves.
    pub until: Timestamp,
}

/// What came of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// It is theirs to do, as it says.
    Yours(Job),
    /// Not now; it may be asked for again from then on.
    Later(Timestamp),
    /// It is over.
    Over(Job),
}

/// How the work of a claimant ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It is done; this was said.
    Done(MessageId),
    /// It cannot be done, and this is why.
    Skipped(String),
    /// It could not be done, and is to be tried again from then on.
    Again(Timestamp),
}

/// Who is to write to a person unasked, if anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn<'a> {
    /// The agent that they talked with last.
    Of(&'a AgentId),
    /// Nobody now: they are in the middle of a conversation, until then.
    Busy(Timestamp),
    /// Nobody: they have been away for too long, or talk with nobody.
    Nobody,
}

/// Who is to write to the person of these bonds at `now`: to whoever said something within `active_within` milliseconds, and
/// nothing within `quiet_for`.
pub fn turn(bonds: &[Bonded], now: Timestamp, active_within: i64, quiet_for: i64) -> Turn<'_> {
    let talked = bonds.iter().filter_map(|bonded| Some((bonded.active_at?, &bonded.bond.agent)));
    let Some((last, agent)) = talked.max() else { return Turn::Nobody };
    let ago = now.0.saturating_sub(last.0);
    if ago < quiet_for {
        return Turn::Busy(Timestamp(last.0.saturating_add(quiet_for)));
    }
    if ago <= active_within { Turn::Of(agent) } else { Turn::Nobody }
}

/// Whether `claimant` may do the job about the same as `new`; `known` is what the store knows of it, and `id` the number that it
/// gets if that is nothing.
pub fn claim(known: Option<Job>, new: &NewJob, claimant: &Claimant, id: u64) -> Claimed {
    let state = JobState::Claimed { holder: claimant.holder.clone(), until: claimant.until };
    let Some(job) = known else {
        let NewJob { occasion, agent, text } = new.clone();
        let at = claimant.at;
        return Claimed::Yours(Job {
            id,
            occasion,
            agent,
            text,
            state,
            tries: 1,
            made_at: at,
            changed_at: at,
        });
    };
    match job.state {
        JobState::Done { .. } | JobState::Skipped { .. } => Claimed::Over(job),
        JobState::Claimed { until: free, .. } | JobState::Waiting { from: free } if free > claimant.at => {
            Claimed::Later(free)
        }
        JobState::Claimed { .. } | JobState::Waiting { .. } => {
            Claimed::Yours(Job { state, tries: job.tries.saturating_add(1), changed_at: claimant.at, ..job })
        }
    }
}

/// The state that a job comes to after `ending`, if `holder` still has it: nobody else took it over, however late it is.
pub fn settle(job: &Job, holder: &str, ending: &Ending) -> Option<JobState> {
    match &job.state {
        JobState::Claimed { holder: by, .. } if by == holder => Some(match ending.clone() {
            Ending::Done(message) => JobState::Done { message },
            Ending::Skipped(why) => JobState::Skipped { why },
            Ending::Again(from) => JobState::Waiting { from },
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agents::Relation;
    use crate::people::Bond;

    fn new(agent: &str) -> NewJob {
        NewJob {
            occasion: Occasion {
                person: PersonId::parse("ada").unwrap(),
                kind: "morning".into(),
                date: "2026-03-01".into(),
            },
            agent: AgentId::parse(agent).unwrap(),
            text: format!("Good morning from {agent}!"),
        }
    }

    fn claimant(holder: &str, at: i64) -> Claimant {
        Claimant { holder: holder.into(), at: Timestamp(at), until: Timestamp(at + 10) }
    }

    fn yours(claimed: Claimed) -> Job {
        match claimed {
            Claimed::Yours(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_is_for_whoever_comes_first_until_their_time_is_up() {
        let first = yours(claim(None, &new("luna"), &claimant("a", 100), 7));
        assert_eq!((first.id, first.tries, first.made_at), (7, 1, Timestamp(100)));
        let again = |at| claim(Some(first.clone()), &new("mia"), &claimant("b", at), 8);
        assert_eq!(again(100), Claimed::Later(Timestamp(110)));
        assert_eq!(again(109), Claimed::Later(Timestamp(110)));
        let second = yours(again(110));
        let expected = Job {
            state: JobState::Claimed { holder: "b".into(), until: Timestamp(120) },
            tries: 2,
            changed_at: Timestamp(110),
            ..first.clone()
        };
        assert_eq!(second, expected, "and is what it was when it was first claimed");
    }

    #[test]
    fn whoever_was_talked_with_last_writes_and_not_into_a_conversation() {
        let bonded = |name: &str, active_at: Option<i64>| Bonded {
            bond: Bond {
                agent: AgentId::parse(name).unwrap(),
                person: PersonId::parse("ada").unwrap(),
                since: Timestamp(0),
            },
            relation: Relation::default(),
            last: None,
            active_at: active_at.map(Timestamp),
        };
        let (luna, mia) = (AgentId::parse("luna").unwrap(), AgentId::parse("mia").unwrap());
        let table = [
            (vec![], Turn::Nobody),
            (vec![("luna", None)], Turn::Nobody),
            (vec![("luna", Some(899))], Turn::Nobody),
            (vec![("luna", Some(900))], Turn::Of(&luna)),
            (vec![("luna", Some(980)), ("mia", Some(950)), ("aiko", None)], Turn::Of(&luna)),
            (vec![("luna", Some(950)), ("mia", Some(951))], Turn::Of(&mia)),
            (vec![("luna", Some(981)), ("mia", Some(900))], Turn::Busy(Timestamp(1_001))),
            (vec![("luna", Some(2_000))], Turn::Busy(Timestamp(2_020))),
        ];
        for (bonds, expected) in table {
            let bonds: Vec<_> = bonds.into_iter().map(|(name, at)| bonded(name, at)).collect();
            assert_eq!(turn(&bonds, Timestamp(1_000), 100, 20), expected, "{bonds:?}");
        }
    }

    #[test]
    fn only_whoever_has_a_job_says_how_it_ended() {
        let job = yours(claim(None, &new("luna"), &claimant("a", 100), 7));
        let message = MessageId::random();
        assert_eq!(settle(&job, "a", &Ending::Done(message)), Some(JobState::Done { message }));
        assert_eq!(settle(&job, "b", &Ending::Done(message)), None);
        let why = "no such agent".to_owned();
        let skipped = JobState::Skipped { why: why.clone() };
        assert_eq!(settle(&job, "a", &Ending::Skipped(why)), Some(skipped.clone()));
        let waiting = JobState::Waiting { from: Timestamp(200) };
        assert_eq!(settle(&job, "a", &Ending::Again(Timestamp(200))), Some(waiting.clone()));

        for (state, is_over) in [(JobState::Done { message }, true), (skipped, true), (waiting, false)] {
            let job = Job { state: state.clone(), ..job.clone() };
            assert_eq!(state.is_over(), is_over);
            assert_eq!(settle(&job, "a", &Ending::Again(Timestamp(0))), None, "{state:?}");
            let claimed = claim(Some(job.clone()), &new("mia"), &claimant("b", 150), 8);
            match is_over {
                true => assert_eq!(claimed, Claimed::Over(job)),
                false => assert_eq!(claimed, Claimed::Later(Timestamp(200))),
            }
        }
    }
}

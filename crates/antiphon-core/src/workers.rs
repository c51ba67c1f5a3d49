//! Agents at work: how they are, what they are capable of, and when they count as gone.
//!
//! Every agent has a status. One that nobody has enlisted and that never said anything about itself is a [`Worker`] all the
//! same, ready and unwatched: this server answers for it. As soon as an agent has given a sign of life, its silence means that
//! it is gone. [`Worker::after`] is the whole table.

use serde::{Deserialize, Serialize};

use crate::ids::{AgentId, Timestamp};
use crate::refusal::{Code, Refusal};
use crate::tasks::{MAX_TITLE_BYTES, Task};

/// How many things an agent may be capable of.
pub const MAX_CAPABILITIES: usize = 64;

/// An agent at work, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Which agent.
    pub agent: AgentId,
    /// How it is.
    pub status: AgentStatus,
    /// How it was before that.
    pub previous: Option<AgentStatus>,
    /// What it is there for.
    pub duties: Duties,
    /// What it last said about itself, as JSON that the core does not look into.
    pub metadata: String,
    /// When it last gave a sign of life; `None` when it never has.
    pub heard_at: Option<Timestamp>,
    /// When its status became what it is; `None` when it has always been that.
    pub changed_at: Option<Timestamp>,
}

/// What an agent is there for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Duties {
    /// Its place among agents.
    pub rank: Rank,
    /// What it is capable of; a task that needs something is claimed only by who is capable of it.
    pub capabilities: Vec<String>,
    /// Its version, in its owner's words.
    pub version: String,
    /// The agent that it works for.
    pub parent: Option<AgentId>,
}

impl Default for Duties {
    fn default() -> Self {
        Self { rank: Rank::Main, capabilities: Vec::new(), version: String::new(), parent: None }
    }
}

/// An agent's place among agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// It works for people.
    Main,
    /// It works for another agent.
    Subagent,
    /// It works off tasks.
    Worker,
}

/// How an agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// It exists and was never started.
    Idle,
    /// It is starting.
    Initializing,
    /// It waits for work.
    Ready,
    /// It works.
    Busy,
    /// Somebody told it to wait.
    Paused,
    /// Something is wrong with it.
    Error,
    /// It is ending.
    ShuttingDown,
    /// It is not there.
    Offline,
}

/// What somebody who looks after agents tells one to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Wait.
    Pause,
    /// Go on.
    Resume,
    /// Start again.
    Restart,
    /// End.
    Stop,
}

/// What is heard from an agent, or about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is alive. It may say something about itself, as JSON.
    Heartbeat(Option<String>),
    /// It took a task.
    Claim,
    /// It began with a task.
    Start,
    /// It says how it is.
    Status(AgentStatus),
    /// It was told what to do.
    Control(Control),
    /// Nothing has been heard of it for too long, the last time at this moment.
    Silence(Timestamp),
}

/// Why an agent's status has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// It was said so.
    Said,
    /// It was told to.
    Controlled(Control),
    /// It was silent for too long.
    HeartbeatTimeout,
    /// It was gone, and is heard again.
    HeartbeatRecovery,
}

/// What a sign has made of an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// How it was.
    pub old: AgentStatus,
    /// As it is now.
    pub worker: Worker,
    /// The tasks that it had and that wait again, since it is gone; each as it was before.
    pub returned: Vec<Task>,
}

impl Worker {
    /// An agent of which nobody has said anything: ready, as its server is.
    pub fn unlisted(agent: AgentId) -> Self {
        Self {
            agent,
            status: AgentStatus::Ready,
            previous: None,
            duties: Duties::default(),
            metadata: "{}".into(),
            heard_at: None,
            changed_at: None,
        }
    }

    /// The agent after `sign` at `at`; `None` if that changes nothing. A status that cannot follow is refused as a conflict.
    ///
    /// Where a status leads on its own account is the table of the agent's document. Who looks after agents may also interrupt:
    /// restart one in any state but while it starts, and stop one in any state but when it is gone. Silence ends in
    /// [`AgentStatus::Offline`] from everywhere; a heartbeat leads back, unless the agent was shut down.
    pub fn after(&self, sign: &Sign, at: Timestamp) -> Result<Option<Self>, Refusal> {
        use AgentStatus::{Initializing, Offline, Paused, ShuttingDown};

        let mut next = self.clone();
        match sign {
            Sign::Heartbeat(metadata) => {
                next.heard_at = Some(at);
                if let Some(metadata) = metadata {
                    next.metadata.clone_from(metadata);
                }
                if let Some(status) = self.recovered() {
                    next.become_(status, at);
                }
            }
            Sign::Claim if self.status.takes_work() => next.heard_at = Some(at),
            Sign::Claim => return Err(conflict("An agent that is not ready claims nothing.")),
            Sign::Start => next.heard_at = Some(at),
            Sign::Status(status) if *status == self.status => return Ok(None),
            Sign::Status(status) if self.status.leads_to(*status) => {
                next.become_(*status, at);
                next.heard_at = Some(at);
            }
            Sign::Status(_) => return Err(conflict("An agent's status cannot change like that.")),
            Sign::Control(control) => {
                let to = control.aim();
                let may = match control {
                    Control::Pause => self.status.leads_to(to),
                    Control::Resume => self.status == Paused,
                    Control::Restart => self.status != Initializing,
                    Control::Stop => !matches!(self.status, ShuttingDown | Offline),
                };
                if to == self.status {
                    return Ok(None);
                }
                if !may {
                    return Err(conflict("This agent cannot do that now."));
                }
                next.become_(to, at);
            }
            Sign::Silence(since) => {
                if self.heard_at != Some(*since) || self.status == Offline {
                    return Ok(None);
                }
                next.become_(Offline, at);
            }
        }
        Ok(Some(next))
    }

    /// Whether its silence would mean that it is gone.
    pub fn is_watched(&self) -> bool {
        self.heard_at.is_some() && self.status != AgentStatus::Offline
    }

    /// What a heartbeat makes of an agent that was gone. One that was busy is ready: it has no tasks any more.
    fn recovered(&self) -> Option<AgentStatus> {
        use AgentStatus::{Busy, Error, Idle, Initializing, Offline, Paused, Ready, ShuttingDown};
        if self.status != Offline {
            return None;
        }
        match self.previous {
            Some(ShuttingDown) => None,
            Some(status @ (Idle | Initializing | Paused | Error)) => Some(status),
            Some(Ready | Busy | Offline) | None => Some(Ready),
        }
    }

    fn become_(&mut self, status: AgentStatus, at: Timestamp) {
        self.previous = Some(self.status);
        self.status = status;
        self.changed_at = Some(at);
    }
}

impl AgentStatus {
    /// Whether an agent that is like this may be like `next` from one moment to the next.
    pub fn leads_to(self, next: Self) -> bool {
        use AgentStatus::{Busy, Error, Idle, Initializing, Offline, Paused, Ready, ShuttingDown};
        let nexts: &[Self] = match self {
            Idle | Offline => &[Initializing],
            Initializing => &[Ready, Error],
            Ready => &[Busy, Paused, ShuttingDown],
            Busy => &[Ready, Error, Paused],
            Paused => &[Ready, Busy, ShuttingDown],
            Error => &[Initializing, ShuttingDown],
            ShuttingDown => &[Offline],
        };
        nexts.contains(&next)
    }

    /// Whether an agent that is like this claims tasks.
    pub fn takes_work(self) -> bool {
        matches!(self, Self::Ready | Self::Busy)
    }

    /// Whether an agent that is like this may be given tasks.
    pub fn may_be_given_work(self) -> bool {
        !matches!(self, Self::ShuttingDown | Self::Offline)
    }
}

impl Control {
    /// What an agent becomes by it.
    pub fn aim(self) -> AgentStatus {
        match self {
            Self::Pause => AgentStatus::Paused,
            Self::Resume => AgentStatus::Ready,
            Self::Restart => AgentStatus::Initializing,
            Self::Stop => AgentStatus::ShuttingDown,
        }
    }
}

impl Cause {
    /// The stable name, for programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Said => "said",
            Self::Controlled(Control::Pause) => "pause",
            Self::Controlled(Control::Resume) => "resume",
            Self::Controlled(Control::Restart) => "restart",
            Self::Controlled(Control::Stop) => "stop",
            Self::HeartbeatTimeout => "heartbeat_timeout",
            Self::HeartbeatRecovery => "heartbeat_recovery",
        }
    }
}

impl Sign {
    /// Why a status has changed after it.
    pub fn cause(&self) -> Cause {
        match self {
            Self::Heartbeat(_) | Self::Claim | Self::Start => Cause::HeartbeatRecovery,
            Self::Status(_) => Cause::Said,
            Self::Control(control) => Cause::Controlled(*control),
            Self::Silence(_) => Cause::HeartbeatTimeout,
        }
    }
}

impl Duties {
    /// Whether they may be stored.
    pub fn check(&self) -> Result<(), Refusal> {
        let is_long = |text: &String| text.len() > MAX_TITLE_BYTES;
        if self.capabilities.len() > MAX_CAPABILITIES
            || self.capabilities.iter().any(is_long)
            || is_long(&self.version)
        {
            return Err(Refusal::new(
                Code::TooLarge,
                "An agent has at most 64 capabilities; they and its version have at most 256 bytes each.",
            ));
        }
        if self.capabilities.iter().any(|text| text.chars().any(char::is_control)) {
            return Err(Refusal::invalid("A capability must not contain control characters."));
        }
        Ok(())
    }
}

fn conflict(message: &'static str) -> Refusal {
    Refusal::new(Code::Conflict, message)
}

#[cfg(test)]
mod tests {
    use super::AgentStatus::{Busy, Error, Idle, Initializing, Offline, Paused, Ready, ShuttingDown};
    use super::*;

    const ALL: [AgentStatus; 8] = [Idle, Initializing, Ready, Busy, Paused, Error, ShuttingDown, Offline];

    fn worker(status: AgentStatus, previous: Option<AgentStatus>) -> Worker {
        let heard_at = Some(Timestamp(5));
        Worker { status, previous, heard_at, ..Worker::unlisted(AgentId::parse("luna").unwrap()) }
    }

    /// Where `sign` leads an agent in each status; `None` is a conflict.
    fn aims(sign: impl Fn(AgentStatus) -> Sign) -> [Option<AgentStatus>; 8] {
        ALL.map(|status| {
            let before = worker(status, None);
            match before.after(&sign(status), Timestamp(9)) {
                Ok(Some(after)) => {
                    if after.status != status {
                        assert_eq!((after.previous, after.changed_at), (Some(status), Some(Timestamp(9))));
                    }
                    Some(after.status)
                }
                Ok(None) => Some(status),
                Err(refusal) => {
                    assert_eq!(refusal.code, Code::Conflict);
                    None
                }
            }
        })
    }

    #[test]
    fn the_table_of_what_an_agent_says_it_is() {
        let table: [(AgentStatus, &[AgentStatus]); 8] = [
            (Idle, &[Initializing]),
            (Initializing, &[Ready, Error]),
            (Ready, &[Busy, Paused, ShuttingDown]),
            (Busy, &[Ready, Error, Paused]),
            (Paused, &[Ready, Busy, ShuttingDown]),
            (Error, &[Initializing, ShuttingDown]),
            (ShuttingDown, &[Offline]),
            (Offline, &[Initializing]),
        ];
        for (from, nexts) in table {
            for to in ALL {
                let after = worker(from, None).after(&Sign::Status(to), Timestamp(9));
                match to {
                    _ if to == from => assert_eq!(after, Ok(None), "{from:?} again"),
                    _ if nexts.contains(&to) => {
                        let after = after.unwrap().unwrap();
                        assert_eq!((after.status, after.heard_at), (to, Some(Timestamp(9))));
                    }
                    _ => assert_eq!(after.unwrap_err().code, Code::Conflict, "{from:?} to {to:?}"),
                }
            }
        }
    }

    #[test]
    fn the_table_of_what_an_agent_is_told_to_do() {
        let some = |status| Some(status);
        // From:               idle  initializing  ready  busy  paused  error  shutting down  offline
        let table = [
            (Control::Pause, [None, None, some(Paused), some(Paused), some(Paused), None, None, None]),
            (Control::Resume, [None, None, some(Ready), None, some(Ready), None, None, None]),
            (Control::Restart, [some(Initializing); 8]),
            (
                Control::Stop,
                [
                    some(ShuttingDown),
                    some(ShuttingDown),
                    some(ShuttingDown),
                    some(ShuttingDown),
                    some(ShuttingDown),
                    some(ShuttingDown),
                    some(ShuttingDown),
                    None,
                ],
            ),
        ];
        for (control, expected) in table {
            assert_eq!(aims(|_| Sign::Control(control)), expected, "{control:?}");
        }
    }

    #[test]
    fn silence_takes_an_agent_offline_unless_it_was_heard_in_the_meantime_or_never() {
        assert_eq!(aims(|_| Sign::Silence(Timestamp(5))), [Some(Offline); 8]);
        assert_eq!(aims(|_| Sign::Silence(Timestamp(4))), ALL.map(Some));
        let unheard = Worker { heard_at: None, ..worker(Ready, None) };
        assert!(!unheard.is_watched());
        assert_eq!(unheard.after(&Sign::Silence(Timestamp(5)), Timestamp(9)), Ok(None));
        assert_eq!(ALL.map(|status| worker(status, None).is_watched()), ALL.map(|status| status != Offline));
        let begun = unheard.after(&Sign::Start, Timestamp(9)).unwrap().unwrap();
        assert!(begun.is_watched(), "who has begun with a task is waited for");
    }

    #[test]
    fn a_heartbeat_brings_an_agent_back_to_what_it_was_unless_it_was_shut_down() {
        let beat = Sign::Heartbeat(Some("{\"load\":1}".into()));
        let table = [
            (None, Ready),
            (Some(Idle), Idle),
            (Some(Ready), Ready),
            (Some(Busy), Ready),
            (Some(Paused), Paused),
            (Some(Error), Error),
            (Some(Initializing), Initializing),
            (Some(ShuttingDown), Offline),
        ];
        for (previous, expected) in table {
            let after = worker(Offline, previous).after(&beat, Timestamp(9)).unwrap().unwrap();
            assert_eq!((after.status, after.heard_at), (expected, Some(Timestamp(9))), "{previous:?}");
            assert_eq!(after.metadata, "{\"load\":1}");
        }
        let others = ALL.iter().filter(|status| **status != Offline);
        for status in others {
            let after = worker(*status, None).after(&Sign::Heartbeat(None), Timestamp(9)).unwrap().unwrap();
            assert_eq!((after.status, after.metadata.as_str()), (*status, "{}"));
        }
    }

    #[test]
    fn only_an_agent_that_is_ready_or_busy_claims() {
        let claims = aims(|_| Sign::Claim).map(|status| status.is_some());
        assert_eq!(claims, [false, false, true, true, false, false, false, false]);
    }

    #[test]
    fn what_an_agent_is_capable_of_is_bounded() {
        let with = |capabilities: Vec<String>| Duties { capabilities, ..Duties::default() };
        assert!(with(vec!["x".repeat(256); 64]).check().is_ok());
        assert!(with(vec!["x".into(); 65]).check().is_err());
        assert!(with(vec!["a\0b".into()]).check().is_err());
        assert!(with(vec!["x".repeat(257)]).check().is_err());
        assert!(Duties { version: "x".repeat(257), ..Duties::default() }.check().is_err());
    }
}

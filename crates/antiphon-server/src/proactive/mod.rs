//! Messages that agents send by themselves, at a time of the person's own day.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | what can be configured |
//! | `calendar` | when something is due, on the clocks of people all over the world |
//! | `people` | who could be written to: people with their bonds, one after the other |
//! | `saying` | how one message is said, once |
//! | `prospects` | what is due when, for each person |
//!
//! Everything that is said is a [job](antiphon_core::jobs): it is claimed in the store first, and said under a key that the job
//! gives, so that neither a second node nor a restart says it again. Looking more often than needed has no effect.

mod calendar;
mod people;
mod prospects;
mod saying;
mod settings;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use antiphon_core::actor::Caller;
use antiphon_core::app::App;
use antiphon_core::ids::{AgentId, MessageId, PersonId, Timestamp};
use antiphon_core::jobs::{Turn, turn};
use antiphon_core::refusal::Fault;
use futures_util::stream::{self, StreamExt as _};
use jiff::civil::Date;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::sleep;

pub use self::prospects::{Coming, Prospect};
pub use self::settings::{Schedule, Settings};

use self::calendar::{Calendar, Zones};
use self::people::{Group, People};
use crate::outbound::causes;

/// How many messages are on their way into the store at the same time.
const AT_ONCE: usize = 16;

/// When something that could not be done is tried again, in milliseconds.
const PAUSE: i64 = 60_000;

/// Nobody sleeps longer than this, because the clock of the system may have been set meanwhile.
const NAP: Duration = Duration::from_secs(60);

/// How long after a start the first look comes: clients that a stop has sent away come back first, and hear what is said.
const ARRIVAL: Duration = Duration::from_secs(30);

/// How many results one look tells in full.
const TOLD: usize = 1_000;

/// Messages that agents send by themselves.
pub struct Proactive {
    app: Arc<App>,
    settings: Settings,
    calendar: Calendar,
    /// The server itself.
    caller: Caller,
    /// One look at a time: several would only get into each other's way.
    looking: Mutex<()>,
    stopping: AtomicBool,
    bell: Notify,
}

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Only messages of this kind.
    pub kind: Option<String>,
    /// Only messages to this person.
    pub person: Option<PersonId>,
    /// Also what is not due, and also to people in the middle of a conversation; still at most one of a kind on each day.
    pub anyway: bool,
}

/// What a look came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many people were looked at.
    pub people: u64,
    /// How many messages were said.
    pub said: u64,
    /// What came of each message that was due, or that was asked for; the first 1,000.
    pub results: Vec<Turned>,
    /// When to look again because of something that could not be done now.
    pub again: Option<Timestamp>,
}

/// What came of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// For whom it was.
    pub person: PersonId,
    /// Its kind.
    pub kind: String,
    /// The person's own day.
    pub date: Date,
    /// What came of it.
    pub result: Came,
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was said.
    Said {
        /// By whom.
        agent: AgentId,
        /// The message.
        message: MessageId,
    },
    /// It had been said that day, or was given up.
    Before,
    /// The person is in the middle of a conversation until then.
    Busy(Timestamp),
    /// The person has been away for too long, or talks with nobody.
    Nobody,
    /// Somebody else says it, or it has failed and is tried again, then.
    Later(Timestamp),
    /// It cannot be said, and is given up.
    Skipped(String),
}

impl Proactive {
    /// What the settings say, over `app`. Does no I/O. Fails when a setting cannot work; the error names it.
    pub fn new(settings: &Settings, app: Arc<App>) -> anyhow::Result<Arc<Self>> {
        settings.check()?;
        Ok(Arc::new(Self {
            calendar: settings.calendar()?,
            settings: settings.clone(),
            app,
            caller: saying::caller(),
            looking: Mutex::default(),
            stopping: AtomicBool::new(false),
            bell: Notify::new(),
        }))
    }

    /// Says what is due whenever something is, until `shutdown` says `true` or its sender is gone; what is under way then is
    /// finished first.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let told = async {
            // An error means that the sender is gone.
            let _ = shutdown.wait_for(|stop| *stop).await;
            self.stopping.store(true, Relaxed);
            self.bell.notify_one();
        };
        let work = async {
            tokio::select! {
                () = sleep(ARRIVAL) => {}
                () = self.bell.notified() => {}
            }
            while !self.stopping.load(Relaxed) {
                let now = self.app.now();
                let again = match self.look(&Order::default()).await {
                    Ok(report) => report.again,
                    Err(fault) => {
                        tracing::error!(fault = causes(&fault), "proactive messages could not be looked for");
                        Some(Timestamp(now.0.saturating_add(PAUSE)))
                    }
                };
                let wake = self.calendar.wake(now);
                self.sleep(now, again.map_or(wake, |again| again.min(wake))).await;
            }
        };
        tokio::join!(told, work);
    }

    /// Sleeps until the clock shows `until`, or something before `since`: then somebody has set it.
    async fn sleep(&self, since: Timestamp, until: Timestamp) {
        while !self.stopping.load(Relaxed) {
            let now = self.app.now();
            if now < since || now >= until {
                return;
            }
            let left = Duration::from_millis(until.0.abs_diff(now.0));
            tokio::select! {
                () = sleep(left.min(NAP)) => {}
                () = self.bell.notified() => {}
            }
        }
    }

    /// The clock may show another time than it did: whoever sleeps until something is due looks at it again.
    pub fn nudge(&self) {
        self.bell.notify_one();
    }

    /// Looks once at everybody whom `order` is about, and says what there is to say. A fault means that nobody could be looked
    /// at; that one message could not be said is in the report, and in one line of the log.
    pub async fn look(&self, order: &Order) -> Result<Report, Fault> {
        let _alone = self.looking.lock().await;
        let now = self.app.now();
        let mut zones = self.calendar.at(now, milliseconds(self.settings.late));
        let mut people = People::new(&self.app.ports().store, order.person.clone(), self.active_since(now));
        let mut report = Report::default();
        let mut fault = None;
        while !self.stopping.load(Relaxed)
            && let Some(groups) = people.next().await?
        {
            report.people += groups.len() as u64;
            let mut wanted = Vec::new();
            for group in groups {
                self.weigh(&group, order, now, &mut zones, &mut wanted, &mut report).await?;
            }
            let mut said = stream::iter(wanted).map(|saying| self.say(saying)).buffered(AT_ONCE);
            while let Some((turned, failed)) = said.next().await {
                fault = fault.or(failed);
                report.add(turned);
            }
        }
        if let Some(fault) = fault {
            tracing::warn!(
                fault = causes(&fault),
                "proactive messages could not be said and are tried again"
            );
        }
        if report.said > 0 {
            tracing::info!(said = report.said, people = report.people, "proactive messages were said");
        }
        Ok(report)
    }

    /// What there is to say to one person.
    async fn weigh(
        &self,
        group: &Group,
        order: &Order,
        now: Timestamp,
        zones: &mut Zones<'_>,
        wanted: &mut Vec<saying::Saying>,
        report: &mut Report,
    ) -> Result<(), Fault> {
        let quiet_for = if order.anyway { i64::MIN } else { milliseconds(self.settings.quiet_for) };
        let turn = turn(&group.bonds, now, milliseconds(self.settings.active_within), quiet_for);
        // Whoever names a person wants to know why there is nothing; of everybody else that would be a long list.
        if order.person.is_none() && !matches!(turn, Turn::Of(_)) {
            return Ok(());
        }
        let profile = self.app.ports().store.profile(&group.person).await?;
        let zone = profile.time_zone.as_deref();
        let due = zones.due(zone).to_vec();
        for (schedule, due) in self.settings.schedules.iter().zip(due) {
            if order.kind.as_ref().is_some_and(|kind| *kind != schedule.kind) {
                continue;
            }
            let date = match due {
                Some(due) => due.date,
                None if order.anyway => match self.calendar.today(zone, now) {
                    Some(today) => today,
                    None => continue,
                },
                None => continue,
            };
            let result = match turn {
                Turn::Of(agent) => {
                    wanted.push(self.saying(schedule, &group.person, agent, date));
                    continue;
                }
                Turn::Busy(until) => Came::Busy(until),
                Turn::Nobody => Came::Nobody,
            };
            let (person, kind) = (group.person.clone(), schedule.kind.clone());
            report.add(Turned { person, kind, date, result });
        }
        Ok(())
    }

    /// Whether there is anything of this kind.
    pub fn knows(&self, kind: &str) -> bool {
        self.settings.schedules.iter().any(|schedule| schedule.kind == kind)
    }

    /// Since when somebody must have said something.
    fn active_since(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_sub(milliseconds(self.settings.active_within)))
    }
}

impl Report {
    fn add(&mut self, turned: Turned) {
        match turned.result {
            Came::Said { .. } => self.said += 1,
            Came::Later(at) => self.again = Some(self.again.map_or(at, |again| again.min(at))),
            Came::Before | Came::Busy(_) | Came::Nobody | Came::Skipped(_) => {}
        }
        if self.results.len() < TOLD {
            self.results.push(turned);
        }
    }
}

/// A number of milliseconds that the settings allow.
fn milliseconds(setting: u64) -> i64 {
    i64::try_from(setting).unwrap_or(i64::MAX)
}

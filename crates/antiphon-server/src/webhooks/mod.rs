//! Telling other servers what happens here: Standard Webhooks.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | what can be configured |
//! | `facts` | what events are called outside, and what is told of them |
//! | `endpoint` | who is told, and of what |
//! | `intake` | how what happens gets into the queue |
//! | `presence` | who came, and who is gone for good |
//! | `delivery` | how one endpoint is told |
//! | `schedule` | when a delivery that failed is tried again |
//! | `signing` | how a receiver knows that a delivery is ours |
//!
//! The queue itself is in the store, behind [`antiphon_core::webhooks`]. Deliveries arrive at least once, those about one person in
//! order; a receiver tells repetitions by the `webhook-id`, and gaps by `sequence`.

mod delivery;
mod endpoint;
mod facts;
mod intake;
mod presence;
mod schedule;
mod settings;
mod signing;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_core::event::Envelope;
use antiphon_core::ids::Timestamp;
use antiphon_core::ports::{Clock, Leases, Listener};
use antiphon_core::refusal::Fault;
use antiphon_core::webhooks::{DeadLetter, Queued, Webhooks as Store};
use anyhow::Context as _;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

pub use self::settings::{Endpoint as EndpointSettings, Settings};

use self::delivery::{Courier, Tally};
use self::endpoint::Endpoint;
use self::intake::{Intake, Tap};
use self::presence::Attendance;
use self::schedule::Schedule;
use crate::outbound::{self, Outbound, causes};

/// How often what is too old is cleared up.
const SWEEP: Duration = Duration::from_secs(60 * 60);

/// What webhooks need from the rest of the server.
pub struct Ports {
    /// The queue; the store that messages are appended to.
    pub store: Arc<dyn Store>,
    /// Knows who is here.
    pub leases: Arc<dyn Leases>,
    /// Tells the time that is written down.
    pub clock: Arc<dyn Clock>,
    /// Reaches endpoints.
    pub outbound: Arc<Outbound>,
}

/// The webhooks of this server.
pub struct Webhooks {
    couriers: Vec<Courier>,
    tap: Arc<Tap>,
    /// What the tap hears; taken by [`run`](Self::run).
    events: Mutex<Option<mpsc::Receiver<Arc<Envelope>>>>,
    gone_after: Duration,
    ports: Ports,
    schedule: Arc<Schedule>,
    keep_dead: Duration,
}

/// How an endpoint does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndpointState {
    /// Its name, the same as long as its URL is.
    pub id: String,
    /// Scheme, host and port of its URL; the rest may be secret.
    pub url: String,
    /// Whether it answered 410 and is told nothing any more.
    pub disabled: bool,
    /// Deliveries that arrived since the start of this process.
    pub delivered: u64,
    /// Attempts that failed and are repeated, since the start.
    pub failed: u64,
    /// Deliveries that were given up since the start.
    pub died: u64,
    /// Deliveries that were on their way at the last [`look`](Webhooks::look).
    pub pending: u64,
    /// Dead letters that were kept at the last look.
    pub dead: u64,
}

/// What came of asking that a dead letter be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is due now.
    Due,
    /// There is no dead letter of this id.
    Unknown,
    /// Its endpoint is disabled, or is not in the configuration any more: nobody would deliver it.
    Undeliverable,
}

impl Webhooks {
    /// The webhooks of the configuration. Does no I/O. Fails when a setting cannot work; the error names it.
    pub fn new(
        settings: &Settings,
        endpoints: &[EndpointSettings],
        ports: Ports,
    ) -> anyhow::Result<Arc<Self>> {
        let endpoints = make(settings, endpoints, &ports.outbound)?;
        let wanted = endpoints.iter().fold(facts::Kinds::default(), |all, endpoint| all.with(endpoint.kinds));
        let schedule = Arc::new(Schedule::new(&settings.retries));
        let couriers: Vec<_> = endpoints
            .into_iter()
            .map(|endpoint| Courier {
                endpoint: Arc::new(endpoint),
                store: Arc::clone(&ports.store),
                outbound: Arc::clone(&ports.outbound),
                clock: Arc::clone(&ports.clock),
                schedule: Arc::clone(&schedule),
                concurrency: settings.concurrency,
                bell: Arc::new(Notify::new()),
                disabled: AtomicBool::new(false),
                tally: Tally::default(),
            })
            .collect();
        let (tap, events) = Tap::new(wanted);
        Ok(Arc::new(Self {
            couriers,
            tap,
            events: Mutex::new(Some(events)),
            gone_after: Duration::from_millis(settings.gone_after),
            ports,
            schedule,
            keep_dead: Duration::from_millis(settings.keep_dead),
        }))
    }

    /// What must hear the bus ([`Bus::tap`](antiphon_core::ports::Bus::tap)) from before the first connection.
    pub fn listener(&self) -> Arc<dyn Listener> {
        Arc::clone(&self.tap) as _
    }

    /// From now on messages are followed, and it is known which endpoints are disabled. To be awaited before the first connection: a
    /// message that is stored earlier is not told.
    pub async fn begin(&self) -> Result<(), Fault> {
        self.ports.store.follow_messages(self.tap.follows_messages()).await?;
        let disabled = self.ports.store.disabled().await?;
        for courier in &self.couriers {
            if let Some((webhook, _)) = disabled.iter().find(|(id, _)| *id == courier.endpoint.id) {
                courier.disabled.store(true, Relaxed);
                let url = courier.endpoint.shown();
                tracing::warn!(webhook, url, "an endpoint answered 410 some time ago and is told nothing");
            }
        }
        Ok(())
    }

    /// Announces and delivers until `shutdown` says `true` or its sender is gone, and then ends within a few seconds; what is
    /// not delivered by then goes on after a restart. To be called once, after [`begin`](Self::begin), and told to stop after
    /// the last connection is closed.
    pub async fn run(self: Arc<Self>, shutdown: watch::Receiver<bool>) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(events) = events else { return };
        let intake = Intake {
            tap: Arc::clone(&self.tap),
            events,
            endpoints: self.couriers.iter().map(|courier| Arc::clone(&courier.endpoint)).collect(),
            bells: self.couriers.iter().map(|courier| Arc::clone(&courier.bell)).collect(),
            attendance: Attendance::new(self.gone_after),
            store: Arc::clone(&self.ports.store),
            leases: Arc::clone(&self.ports.leases),
            clock: Arc::clone(&self.ports.clock),
            shutdown: shutdown.clone(),
        };
        let work = async {
            let couriers = join_all(self.couriers.iter().map(|courier| courier.run(shutdown.clone())));
            tokio::join!(intake.run(), couriers);
        };
        tokio::select! {
            () = work => {}
            // Never ends by itself.
            () = self.sweep() => {}
        }
    }

    /// Deliveries that were given up, by id, after `after`, at most `limit`.
    pub async fn list_dead(&self, after: Option<u64>, limit: u32) -> Result<Vec<DeadLetter>, Fault> {
        self.ports.store.dead(after, limit).await
    }

    /// Tries a dead letter again, as if it were new.
    pub async fn retry(&self, id: u64) -> Result<Retried, Fault> {
        let Some(before) = id.checked_sub(1) else { return Ok(Retried::Unknown) };
        let letter = self.ports.store.dead(Some(before), 1).await?.into_iter().find(|letter| letter.id == id);
        let Some(letter) = letter else { return Ok(Retried::Unknown) };
        let courier = self.couriers.iter().find(|courier| courier.endpoint.id == letter.endpoint);
        let Some(courier) = courier.filter(|courier| !courier.disabled.load(Relaxed)) else {
            return Ok(Retried::Undeliverable);
        };
        let revived = self.ports.store.revive(id, self.ports.clock.now()).await?;
        courier.bell.notify_one();
        Ok(if revived { Retried::Due } else { Retried::Unknown })
    }

    /// Tells an endpoint again that answered 410. Returns whether there is one of this id that was disabled.
    pub async fn enable(&self, id: &str) -> Result<bool, Fault> {
        let Some(courier) = self.couriers.iter().find(|courier| courier.endpoint.id == id) else {
            return Ok(false);
        };
        let was_disabled = self.ports.store.enable(id).await?;
        courier.disabled.store(false, Relaxed);
        courier.bell.notify_one();
        Ok(was_disabled)
    }

    /// Counts what is on its way and what died, for [`endpoints`](Self::endpoints).
    pub async fn look(&self) -> Result<(), Fault> {
        let queued = self.ports.store.queued().await?;
        for courier in &self.couriers {
            let found = queued.iter().find(|(endpoint, _)| *endpoint == courier.endpoint.id);
            let Queued { pending, dead } = found.map_or_else(Queued::default, |(_, queued)| *queued);
            courier.tally.pending.store(pending, Relaxed);
            courier.tally.dead.store(dead, Relaxed);
        }
        Ok(())
    }

    /// How the endpoints do, in the order of the configuration.
    pub fn endpoints(&self) -> Vec<EndpointState> {
        let state = |courier: &Courier| EndpointState {
            id: courier.endpoint.id.clone(),
            url: courier.endpoint.shown(),
            disabled: courier.disabled.load(Relaxed),
            delivered: courier.tally.delivered.load(Relaxed),
            failed: courier.tally.failed.load(Relaxed),
            died: courier.tally.died.load(Relaxed),
            pending: courier.tally.pending.load(Relaxed),
            dead: courier.tally.dead.load(Relaxed),
        };
        self.couriers.iter().map(state).collect()
    }

    /// Events that nobody was told of since the start, because too many came at once. Messages are never among them.
    pub fn missed(&self) -> u64 {
        self.tap.missed()
    }

    async fn sweep(&self) {
        let mut ticks = interval(SWEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.ports.clock.now();
            let before = |age: Duration| {
                Timestamp(now.0.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX)))
            };
            let (old, dead) = (before(self.schedule.longest()), before(self.keep_dead));
            loop {
                match self.ports.store.sweep(old, dead, now).await {
                    Ok((0, 0)) => break,
                    Ok((given_up, forgotten)) => {
                        tracing::info!(given_up, forgotten, "webhooks: what was too old is cleared up");
                        self.couriers.iter().for_each(|courier| courier.bell.notify_one());
                    }
                    Err(fault) => {
                        tracing::error!(fault = causes(&fault), "webhooks: the queue cannot be cleared up");
                        break;
                    }
                }
            }
        }
    }
}

/// Whether webhooks can be set up like this; the error names what cannot work. For whoever checks a configuration.
pub fn check(
    settings: &Settings,
    endpoints: &[EndpointSettings],
    outbound: &outbound::Settings,
) -> anyhow::Result<()> {
    make(settings, endpoints, &Outbound::new(outbound.clone())).map(drop)
}

fn make(
    settings: &Settings,
    endpoints: &[EndpointSettings],
    outbound: &Outbound,
) -> anyhow::Result<Vec<Endpoint>> {
    anyhow::ensure!(
        (1..=1_000).contains(&settings.concurrency),
        "webhooks.concurrency is {}; it must be 1 to 1000",
        settings.concurrency
    );
    let mut made: Vec<Endpoint> = Vec::with_capacity(endpoints.len());
    for (number, settings) in endpoints.iter().enumerate() {
        let place = || format!("in [[webhook]] number {}", number + 1);
        let endpoint = Endpoint::new(settings, outbound).with_context(place)?;
        anyhow::ensure!(
            made.iter().all(|other| other.id != endpoint.id),
            "two [[webhook]]s share one url, at {}",
            endpoint.shown()
        );
        made.push(endpoint);
    }
    Ok(made)
}

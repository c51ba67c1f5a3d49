//! How one endpoint is told: what is due, a few at a time, until it is delivered or dead.
//!
//! Of one person, the store gives out one delivery at a time, so events about them arrive in order. An endpoint that does not
//! work is asked by one delivery at a time until it works again; one that refuses a delivery (4xx) works, so that delivery alone
//! is tried again and others pass it.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use antiphon_core::ids::Timestamp;
use antiphon_core::ports::Clock;
use antiphon_core::webhooks::{Delivered, Letter, Webhooks};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::StatusCode;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::endpoint::Endpoint;
use super::schedule::Schedule;
use crate::outbound::{Answer, Failure, Outbound, Purpose, causes};
use crate::telemetry::cut;

/// How long deliveries under way may go on after the shutdown. One that is cut off is delivered again after the restart.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Pause after the queue could not be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest sleep without a look at the clock, which somebody may have set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// What has become of deliveries to one endpoint since the start, and how many there were at the last look.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) delivered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) died: AtomicU64,
    pub(super) pending: AtomicU64,
    pub(super) dead: AtomicU64,
}

/// Delivers to one endpoint.
pub(super) struct Courier {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) store: Arc<dyn Webhooks>,
    pub(super) outbound: Arc<Outbound>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) schedule: Arc<Schedule>,
    pub(super) concurrency: usize,
    /// Rung when there may be something to deliver.
    pub(super) bell: Arc<Notify>,
    pub(super) disabled: AtomicBool,
    pub(super) tally: Tally,
}

/// What an attempt says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    /// It took the delivery, or refused this one.
    Works,
    /// It did not answer, or not for reasons that lie in the delivery.
    Fails,
}

/// What came of an attempt.
#[derive(Debug)]
enum Attempt {
    Taken,
    /// The endpoint wants nothing any more.
    Gone,
    /// It refuses this delivery: others may pass.
    Refused(String),
    /// It does not work: others wait.
    Failed(String, Option<Duration>),
}

impl Courier {
    /// Delivers until the shutdown.
    pub(super) async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let mut under_way = FuturesUnordered::new();
        let mut ids = HashSet::new();
        let mut health = Health::Works;
        loop {
            let limit = if health == Health::Works { self.concurrency } else { 1 };
            let room = limit.saturating_sub(ids.len());
            let mut wait = LONGEST_SLEEP;
            if room > 0 && !self.disabled.load(Relaxed) {
                // Those under way are still due as far as the store knows.
                let most = u32::try_from(ids.len() + room).unwrap_or(u32::MAX);
                match self.store.due(&self.endpoint.id, self.clock.now(), most).await {
                    Ok(due) => {
                        for letter in due.letters {
                            if ids.len() < limit && ids.insert(letter.id) {
                                under_way.push(self.deliver(letter));
                            }
                        }
                        let next = due.next.filter(|_| ids.len() < limit);
                        wait = next.map_or(LONGEST_SLEEP, |next| self.pause(next));
                    }
                    Err(fault) => {
                        tracing::error!(fault = causes(&fault), "webhooks: the queue cannot be read");
                        wait = PAUSE;
                    }
                }
            }
            tokio::select! {
                Some((id, now)) = under_way.next(), if !under_way.is_empty() => {
                    ids.remove(&id);
                    self.tell_health(health, now);
                    health = now;
                }
                () = self.bell.notified() => {}
                () = sleep(wait) => {}
                // An error means that the sender is gone, and with it whoever could have asked for more.
                _ = shutdown.wait_for(|stop| *stop) => break,
            }
        }
        // Whoever is not done by then is delivered again.
        let _ = timeout(LAST_WORDS, async { while under_way.next().await.is_some() {} }).await;
    }

    fn pause(&self, until: Timestamp) -> Duration {
        let milliseconds = until.0.saturating_sub(self.clock.now().0).max(1);
        Duration::from_millis(milliseconds.unsigned_abs()).min(LONGEST_SLEEP)
    }

    fn tell_health(&self, before: Health, now: Health) {
        let (webhook, url) = (&*self.endpoint.id, self.endpoint.shown());
        match (before, now) {
            (Health::Works, Health::Fails) => tracing::warn!(webhook, url, "an endpoint fails"),
            (Health::Fails, Health::Works) => tracing::info!(webhook, url, "an endpoint works again"),
            _ => {}
        }
    }

    /// One attempt, and what it means for the delivery.
    async fn deliver(&self, letter: Letter) -> (u64, Health) {
        let attempt = self.attempt(&letter).await;
        let health = match &attempt {
            Attempt::Failed(..) | Attempt::Gone => Health::Fails,
            Attempt::Taken | Attempt::Refused(_) => Health::Works,
        };
        let webhook = &*self.endpoint.id;
        let now = self.clock.now();
        let tried = letter.attempts.saturating_add(1);
        let again =
            |why: String, holds: bool, retry_after| match self.schedule.next(tried, retry_after, dice(), now)
            {
                Some(at) => Delivered::Later { at, holds, why },
                None => Delivered::Dead { why },
            };
        let outcome = match attempt {
            Attempt::Taken => Delivered::Done,
            Attempt::Refused(why) => again(why, false, None),
            Attempt::Failed(why, retry_after) => again(why, true, retry_after),
            Attempt::Gone => {
                self.disabled.store(true, Relaxed);
                tracing::warn!(
                    webhook,
                    url = self.endpoint.shown(),
                    "an endpoint answered 410 and is disabled"
                );
                let why = "the endpoint answered 410 Gone and is disabled";
                self.settled(self.store.disable(webhook, why, now).await).await;
                return (letter.id, health);
            }
        };
        let count = match &outcome {
            Delivered::Done => &self.tally.delivered,
            Delivered::Later { .. } => &self.tally.failed,
            Delivered::Dead { why } => {
                tracing::warn!(
                    webhook,
                    delivery = letter.id,
                    attempts = tried,
                    why = cut(why),
                    "a delivery is given up"
                );
                &self.tally.died
            }
        };
        count.fetch_add(1, Relaxed);
        self.settled(self.store.settle(letter.id, outcome, now).await).await;
        (letter.id, health)
    }

    async fn attempt(&self, letter: &Letter) -> Attempt {
        let body = letter.body();
        let headers = match self.endpoint.signer.headers(&letter.announcement, &body, self.clock.now()) {
            Ok(headers) => headers,
            Err(error) => return Attempt::Refused(format!("{error:#}")),
        };
        classify(self.outbound.post(Purpose::Webhook, &self.endpoint.url, headers, body.into()).await)
    }

    /// What could not be noted happens again; not at once, or a store that fails would be a flood for the endpoint.
    async fn settled(&self, noted: Result<(), antiphon_core::refusal::Fault>) {
        if let Err(fault) = noted {
            tracing::error!(fault = causes(&fault), "webhooks: what came of a delivery could not be noted");
            sleep(PAUSE).await;
        }
    }
}

fn classify(answer: Result<Answer, Failure>) -> Attempt {
    let Answer { status, retry_after } = match answer {
        Ok(answer) => answer,
        Err(failure) => return Attempt::Failed(failure.to_string(), None),
    };
    let why = format!("the endpoint answered {status}");
    match status {
        status if status.is_success() => Attempt::Taken,
        StatusCode::GONE => Attempt::Gone,
        // These say "not now", and not "not this".
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Attempt::Failed(why, retry_after)
        }
        // These are about the request's form, which all deliveries share.
        StatusCode::UNAUTHORIZED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED => Attempt::Failed(why, None),
        status if status.is_client_error() => Attempt::Refused(why),
        _ => Attempt::Failed(why, retry_after),
    }
}

/// From 0 to 1.
fn dice() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers there is no jitter, and nothing else is lost.
    if getrandom::fill(&mut bytes).is_err() {
        return 0.5;
    }
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_say_whether_it_is_the_delivery_or_the_endpoint() {
        let answered = |status: u16| {
            let status = StatusCode::from_u16(status).unwrap();
            classify(Ok(Answer { status, retry_after: Some(Duration::from_secs(7)) }))
        };
        for status in [200, 201, 202, 204, 299] {
            assert!(matches!(answered(status), Attempt::Taken), "{status}");
        }
        assert!(matches!(answered(410), Attempt::Gone));
        for status in [400, 409, 413, 415, 418, 422, 451] {
            assert!(matches!(answered(status), Attempt::Refused(why) if why.contains(&status.to_string())));
        }
        for status in [301, 302, 304, 401, 403, 404, 405, 408, 425, 429, 500, 502, 503, 599] {
            assert!(matches!(answered(status), Attempt::Failed(..)), "{status}");
        }
        for status in [429, 503] {
            assert!(matches!(answered(status), Attempt::Failed(_, Some(_))), "{status}");
        }
        let silent = classify(Err(Failure::TimedOut(Duration::from_secs(15))));
        assert!(matches!(silent, Attempt::Failed(why, None) if why == "no answer within 15 seconds"));
    }

    #[test]
    fn dice_fall_between_nothing_and_one() {
        assert!((0..100).all(|_| (0.0..=1.0).contains(&dice())));
    }
}

//! Who holds what, until time runs out.
//!
//! Time is tokio's, so that a test with a paused clock decides when a claim expires. Nothing runs in the background: what has
//! expired is passed over when it is looked at, and cleared away as new keys come in.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::ports::Leases;
use crate::refusal::Fault;

/// Leases of one process.
#[derive(Debug, Default)]
pub struct MemoryLeases(Mutex<Claims>);

impl MemoryLeases {
    /// Leases that nobody holds yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn claims(&self) -> MutexGuard<'_, Claims> {
        // Every change is one insertion or removal, so a panic elsewhere leaves nothing half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Leases for MemoryLeases {
    async fn claim(&self, key: &str, holder: &str, ttl: Duration) -> Result<bool, Fault> {
        let now = Instant::now();
        let mut claims = self.claims();
        let first = !claims.is_held(key, now);
        claims.hold(key, holder, expiry(now, ttl));
        claims.sweep(now);
        Ok(first)
    }

    async fn renew(&self, key: &str, holder: &str, ttl: Duration) -> Result<bool, Fault> {
        let now = Instant::now();
        let mut claims = self.claims();
        let claim = claims.keys.get_mut(key).and_then(|holders| holders.get_mut(holder));
        Ok(match claim {
            Some(expires) if *expires > now => {
                *expires = expiry(now, ttl);
                true
            }
            _ => false,
        })
    }

    async fn release(&self, key: &str, holder: &str) -> Result<bool, Fault> {
        let now = Instant::now();
        let mut claims = self.claims();
        let Some(holders) = claims.keys.get_mut(key) else { return Ok(false) };
        let held = holders.remove(holder).is_some_and(|expires| expires > now);
        holders.retain(|_, expires| *expires > now);
        let empty = holders.is_empty();
        if empty {
            claims.keys.remove(key);
        }
        Ok(held && empty)
    }

    async fn holders(&self, key: &str) -> Result<Vec<String>, Fault> {
        let now = Instant::now();
        let claims = self.claims();
        let Some(holders) = claims.keys.get(key) else { return Ok(Vec::new()) };
        Ok(holders.iter().filter(|(_, expires)| **expires > now).map(|(holder, _)| holder.clone()).collect())
    }
}

/// Fewer new claims than this are not worth clearing up after.
const FEW: usize = 64;

/// Key → holder → when the claim expires.
#[derive(Debug, Default)]
struct Claims {
    keys: HashMap<String, HashMap<String, Instant>>,
    /// Claims that came in since expired ones were last cleared away.
    fresh: usize,
    /// Claims that were left then.
    kept: usize,
}

impl Claims {
    fn is_held(&self, key: &str, now: Instant) -> bool {
        self.keys.get(key).is_some_and(|holders| holders.values().any(|expires| *expires > now))
    }

    fn hold(&mut self, key: &str, holder: &str, expires: Instant) {
        let holders = match self.keys.get_mut(key) {
            Some(holders) => holders,
            None => self.keys.entry(key.to_owned()).or_default(),
        };
        match holders.get_mut(holder) {
            Some(known) => *known = expires,
            None => {
                holders.insert(holder.to_owned(), expires);
                self.fresh += 1;
            }
        }
    }

    /// Clears expired claims away whenever as many came in as were left the last time, so that a claim pays for at most a
    /// few others.
    fn sweep(&mut self, now: Instant) {
        if self.fresh < FEW.max(self.kept) {
            return;
        }
        let mut kept = 0;
        self.keys.retain(|_, holders| {
            holders.retain(|_, expires| *expires > now);
            kept += holders.len();
            !holders.is_empty()
        });
        self.kept = kept;
        self.fresh = 0;
    }
}

/// When a claim made now ends. One that is too long for the clock lasts thirty years.
fn expiry(now: Instant, ttl: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(30 * 365 * 86_400);
    now.checked_add(ttl).unwrap_or(now + LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn expired_keys_are_cleared_away_as_new_ones_come_in() {
        let leases = MemoryLeases::new();
        for round in 0..50 {
            for key in 0..100 {
                leases.claim(&format!("{round}-{key}"), "ada", Duration::from_secs(1)).await.unwrap();
            }
            tokio::time::advance(Duration::from_secs(2)).await;
        }
        let kept = leases.claims().keys.len();
        assert!(kept < 400, "{kept} keys are kept of 5,000 that expired");
    }

    #[tokio::test(start_paused = true)]
    async fn one_key_does_not_pile_up_holders_that_expired() {
        let leases = MemoryLeases::new();
        for holder in 0..5_000 {
            leases.claim("typing", &holder.to_string(), Duration::from_secs(1)).await.unwrap();
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        let kept = leases.claims().keys["typing"].len();
        assert!(kept < 400, "{kept} holders are kept of 5,000 that expired");
    }

    #[tokio::test(start_paused = true)]
    async fn a_claim_too_long_for_the_clock_lasts() {
        let leases = MemoryLeases::new();
        assert!(leases.claim("key", "ada", Duration::MAX).await.unwrap());
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert_eq!(leases.holders("key").await.unwrap(), ["ada"]);
    }
}

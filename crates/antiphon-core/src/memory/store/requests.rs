//! What was asked before, and with what result.

use std::collections::hash_map::Entry;

use async_trait::async_trait;

use super::{MemoryStore, is_kept};
use crate::ids::Timestamp;
use crate::ports::{Begun, RequestKey, Requests};
use crate::refusal::Fault;

/// A request that was begun.
#[derive(Debug)]
pub(super) struct Request {
    fingerprint: [u8; 32],
    answer: Option<String>,
    pub(super) begun_at: Timestamp,
}

#[async_trait]
impl Requests for MemoryStore {
    async fn begin(&self, key: &RequestKey, fingerprint: &[u8; 32], now: Timestamp) -> Result<Begun, Fault> {
        let mut contents = self.contents();
        let fresh = Request { fingerprint: *fingerprint, answer: None, begun_at: now };
        Ok(match contents.requests.entry(key.clone()) {
            Entry::Occupied(before) if is_kept(before.get().begun_at, now) => match before.get() {
                before if before.fingerprint != *fingerprint => Begun::Different,
                Request { answer: Some(answer), .. } => Begun::Answered(answer.clone()),
                Request { answer: None, .. } => Begun::Unfinished,
            },
            entry => {
                entry.insert_entry(fresh);
                Begun::New
            }
        })
    }

    async fn finish(&self, key: &RequestKey, answer: &str) -> Result<(), Fault> {
        match self.contents().requests.get_mut(key) {
            Some(Request { answer: open @ None, .. }) => {
                *open = Some(answer.to_owned());
                Ok(())
            }
            _ => Err(Fault::new("answering a request that is not under way")),
        }
    }

    async fn abandon(&self, key: &RequestKey) -> Result<(), Fault> {
        let mut contents = self.contents();
        if contents.requests.get(key).is_some_and(|request| request.answer.is_none()) {
            contents.requests.remove(key);
        }
        Ok(())
    }
}

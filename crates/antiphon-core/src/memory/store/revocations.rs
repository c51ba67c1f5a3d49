//! Which credentials are dead before their time.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::MemoryStore;
use crate::actor::{Principal, Proof};
use crate::ids::Timestamp;
use crate::ports::{Revocation, Revocations};
use crate::refusal::Fault;

/// Revocations by their position.
#[derive(Debug, Default)]
pub(super) struct RevocationList {
    last: u64,
    kept: BTreeMap<u64, Revocation>,
}

impl RevocationList {
    /// Forgets what nobody needs any more; returns how much that was.
    pub(super) fn forget(&mut self, now: Timestamp) -> usize {
        let before = self.kept.len();
        self.kept.retain(|_, revocation| now <= revocation.until);
        before - self.kept.len()
    }
}

#[async_trait]
impl Revocations for MemoryStore {
    async fn revoke(&self, revocation: &Revocation) -> Result<u64, Fault> {
        let list = &mut self.contents().revocations;
        list.last += 1;
        list.kept.insert(list.last, revocation.clone());
        Ok(list.last)
    }

    async fn revocations(&self, after: u64, limit: u32) -> Result<Vec<(u64, Revocation)>, Fault> {
        let contents = self.contents();
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let later = contents.revocations.kept.range(first..).take(limit as usize);
        Ok(later.map(|(position, revocation)| (*position, revocation.clone())).collect())
    }

    async fn is_revoked(
        &self,
        proof: &Proof,
        principal: &Principal,
        issued_at: Timestamp,
    ) -> Result<bool, Fault> {
        let contents = self.contents();
        Ok(contents.revocations.kept.values().any(|kept| kept.covers(proof, principal, issued_at)))
    }
}

//! Which payments were made in rehearsals.

use std::sync::Mutex;

use async_trait::async_trait;

use crate::app::lock;
use crate::ports::{Chain, Verdict};
use crate::refusal::Fault;

/// A chain that says what it is told to, and remembers what it was asked. At first it looks nowhere.
#[derive(Default)]
pub(crate) struct Explorer {
    verdict: Mutex<Option<Verdict>>,
    asked: Mutex<Vec<(String, u64, Vec<String>)>>,
}

impl Explorer {
    pub(crate) fn say(&self, verdict: Verdict) {
        *lock(&self.verdict) = Some(verdict);
    }

    /// The references, amounts and wallets it was asked about.
    pub(crate) fn asked(&self) -> Vec<(String, u64, Vec<String>)> {
        lock(&self.asked).clone()
    }
}

#[async_trait]
impl Chain for Explorer {
    async fn verify(&self, reference: &str, amount: u64, wallets: &[String]) -> Result<Verdict, Fault> {
        lock(&self.asked).push((reference.to_owned(), amount, wallets.to_vec()));
        Ok(lock(&self.verdict).unwrap_or(Verdict::Unchecked))
    }
}

//! Looking payments up on a chain, over the JSON-RPC of a node that the operator names: behind the core's
//! [`Chain`] port.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | what can be configured |
//! | `payment` | what a payment must be like, and whether one is |
//! | `node` | how a node is asked, and what it answers |
//!
//! What a node says of a payment is believed; what it says in another form than it should is a fault of the node, and nothing
//! is entered on the strength of it.

mod node;
mod payment;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::ports::{Chain, Verdict};
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use serde_json::json;
use tokio::time::timeout;

pub use self::settings::Settings;

use self::node::Node;
use self::payment::{Quantity, Receipt, Terms, Transaction, is_hash};
use crate::outbound::Outbound;

/// A chain that is asked over JSON-RPC. A payment is named by its transaction's hash, `0x` and 64 hexadecimal digits in lower
/// case; no other spelling names one.
pub struct JsonRpcChain {
    node: Node,
    terms: Terms,
    time: Duration,
}

impl JsonRpcChain {
    /// The chain of the configuration; `None` if there is none. Does no I/O. Fails when a setting cannot work; the error names it.
    pub fn new(
        settings: &Settings,
        tokens_per_coin: u64,
        outbound: Arc<Outbound>,
    ) -> anyhow::Result<Option<Self>> {
        settings.check(tokens_per_coin, &outbound)?;
        let Some(url) = settings.url.clone() else { return Ok(None) };
        let node = Node::new(url, settings.header()?, outbound);
        Ok(Some(Self { node, terms: settings.terms(tokens_per_coin)?, time: settings.time() }))
    }

    async fn look_up(&self, hash: &str, tokens: u64, wallets: &[String]) -> Result<Verdict, Fault> {
        let transaction: Option<Transaction> =
            self.node.ask("eth_getTransactionByHash", json!([hash])).await?;
        let Some(transaction) = transaction else { return Ok(Verdict::Pending) };
        is_about(hash, &transaction.hash)?;
        if let Some(verdict) = self.terms.first_look(&transaction, tokens, wallets) {
            return Ok(verdict);
        }
        let head: Option<Quantity> = self.node.ask("eth_blockNumber", json!([])).await?;
        let head = head.ok_or_else(|| Fault::new("the chain's node knows no newest block"))?;
        let receipt: Option<Receipt> = self.node.ask("eth_getTransactionReceipt", json!([hash])).await?;
        let Some(receipt) = receipt else { return Ok(Verdict::Pending) };
        is_about(hash, &receipt.transaction_hash)?;
        // The chain was rearranged between the two answers: whether it holds now, nobody knows yet.
        if transaction.block_hash.as_ref() != Some(&receipt.block_hash) {
            return Ok(Verdict::Pending);
        }
        Ok(self.terms.judge(&receipt, head))
    }
}

#[async_trait]
impl Chain for JsonRpcChain {
    async fn verify(&self, reference: &str, amount: u64, wallets: &[String]) -> Result<Verdict, Fault> {
        if !is_hash(reference) || wallets.is_empty() {
            return Ok(Verdict::Wrong);
        }
        match timeout(self.time, self.look_up(reference, amount, wallets)).await {
            Ok(verdict) => verdict,
            Err(_) => {
                let milliseconds = self.time.as_millis();
                Err(Fault::new(format!("the chain's node took longer than {milliseconds} ms")))
            }
        }
    }
}

/// Fails unless what came back is about the transaction that was asked for.
fn is_about(asked: &str, answered: &str) -> Result<(), Fault> {
    match answered.eq_ignore_ascii_case(asked) {
        true => Ok(()),
        false => Err(Fault::new("the chain's node answered about another transaction")),
    }
}

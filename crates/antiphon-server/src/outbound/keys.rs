//! How the keys of token issuers are fetched: like everything else from outside, through the guarded client.

use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use bytes::Bytes;

use super::{Outbound, Purpose};
use crate::auth::Fetch;

#[async_trait]
impl Fetch for Outbound {
    async fn get(&self, url: &str) -> Result<Bytes, Fault> {
        let fetched = Outbound::get(self, Purpose::Keys, url).await;
        fetched.map_err(|failure| Fault::because("fetching an issuer's keys", failure))
    }
}

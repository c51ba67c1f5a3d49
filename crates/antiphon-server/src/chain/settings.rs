//! What can be configured about the chain where payments are looked up: `[wallet.chain]`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, ensure};
use http::HeaderValue;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::payment::{Terms, is_address, wei};
use crate::config::Secret;
use crate::outbound::Outbound;

/// The chain where payments of people are looked up, over a node's JSON-RPC (the methods of Ethereum).
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where a node answers JSON-RPC: https, at a public address, or what `[outbound] allow` names. Default: none.
    pub url: Option<String>,
    /// The address that payments must have gone to: `0x` and 40 hexadecimal digits. Default: empty, which is refused where there
    /// is a `url`.
    pub treasury: String,
    /// How many blocks must hold a payment, the one that it is in included, until it counts; 1 to 10000. Default: 1.
    pub confirmations: u64,
    /// By how many coins a payment may differ from what was asked for; less than half a token. Default: 0.0001.
    pub tolerance: f64,
    /// How many milliseconds the node may take for everything that is asked about one payment, 100 to 60000. Default: 10000.
    pub timeout: u64,
    /// What is sent to the node as the header `Authorization`, such as `Bearer …`. Default: none.
    pub authorization: Option<Secret>,
    /// A file that holds `authorization`. Default: none.
    pub authorization_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: None,
            treasury: String::new(),
            confirmations: 1,
            tolerance: 0.0001,
            timeout: 10_000,
            authorization: None,
            authorization_file: None,
        }
    }
}

impl Settings {
    /// Whether everything can work as it is set; the error names what cannot.
    pub(crate) fn check(&self, tokens_per_coin: u64, outbound: &Outbound) -> anyhow::Result<()> {
        let Some(url) = &self.url else { return Ok(()) };
        outbound.check(url).map_err(|failure| anyhow!("url in [wallet.chain]: {failure}"))?;
        self.terms(tokens_per_coin)?;
        self.header()?;
        ensure!(
            (100..=60_000).contains(&self.timeout),
            "timeout in [wallet.chain] lies between 100 and 60000"
        );
        Ok(())
    }

    /// What a payment must be like.
    pub(super) fn terms(&self, tokens_per_coin: u64) -> anyhow::Result<Terms> {
        ensure!(
            is_address(&self.treasury),
            "treasury in [wallet.chain] must be an address: 0x and 40 hexadecimal digits"
        );
        ensure!(
            (1..=10_000).contains(&self.confirmations),
            "confirmations in [wallet.chain] lies between 1 and 10000"
        );
        // The text of a number is the one that was written, so nothing is rounded on the way to whole units.
        let tolerance = wei(&self.tolerance.to_string()).context(
            "tolerance in [wallet.chain] must be a number of coins with at most 18 decimals, such as 0.0001",
        )?;
        let terms = Terms {
            treasury: self.treasury.to_ascii_lowercase(),
            confirmations: self.confirmations,
            tolerance,
            tokens_per_coin,
        };
        ensure!(
            terms.tells_tokens_apart(),
            "tolerance in [wallet.chain] must be less than half of what one token costs"
        );
        Ok(terms)
    }

    /// The value of the header `Authorization`, which nobody prints.
    pub(super) fn header(&self) -> anyhow::Result<Option<HeaderValue>> {
        let Some(secret) = &self.authorization else { return Ok(None) };
        let value = HeaderValue::from_str(secret.expose());
        // The error would not show the value, but there is nothing to learn from it either.
        let mut value =
            value.map_err(|_| anyhow!("authorization in [wallet.chain] cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// How long everything together may take.
    pub(super) fn time(&self) -> Duration {
        Duration::from_millis(self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound;

    const TREASURY: &str = "0x00000000000000000000000000000000000000A1";

    fn check(text: &str, allow: &[&str]) -> anyhow::Result<()> {
        let allow = allow.iter().map(|entry| String::from(*entry).try_into().unwrap()).collect();
        let settings: Settings = toml::from_str(text).unwrap();
        settings.check(100, &Outbound::new(outbound::Settings { allow }))
    }

    #[test]
    fn a_node_of_ones_own_must_be_allowed_like_every_other_private_address() {
        let text = format!("url = 'http://127.0.0.1:8545'\ntreasury = '{TREASURY}'");
        let error = check(&text, &[]).unwrap_err().to_string();
        assert!(error.contains("[wallet.chain]") && error.contains("not public"), "{error}");
        assert!(check(&text, &["127.0.0.1"]).is_ok());
        assert!(check("treasury = 'anything'", &[]).is_ok(), "without a url nobody is asked");
    }

    #[test]
    fn what_cannot_work_is_named() {
        for (line, named) in [
            ("", "treasury"),
            ("treasury = '0x12'", "treasury"),
            ("treasury = '0x00000000000000000000000000000000000000G1'", "treasury"),
            ("confirmations = 0", "confirmations"),
            ("confirmations = 10001", "confirmations"),
            ("tolerance = -0.1", "tolerance"),
            ("tolerance = nan", "tolerance"),
            ("tolerance = inf", "tolerance"),
            ("tolerance = 0.005", "half"),
            ("tolerance = 0.0000000000000000001", "18 decimals"),
            ("timeout = 99", "timeout"),
            ("timeout = 60001", "timeout"),
            ("authorization = \"a\\nb\"", "authorization"),
        ] {
            let treasury =
                if named == "treasury" { String::new() } else { format!("treasury = '{TREASURY}'\n") };
            let text = format!("url = 'https://rpc.example.org'\n{treasury}{line}");
            let error = format!("{:#}", check(&text, &[]).unwrap_err());
            assert!(error.contains(named), "{text}: {error}");
        }
        let good = "url = 'https://rpc.example.org'\ntolerance = 0.0049\nauthorization = 'Bearer x'";
        assert!(check(&format!("{good}\ntreasury = '{TREASURY}'"), &[]).is_ok());
    }
}

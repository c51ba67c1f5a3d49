//! What can be configured about telemetry.

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an operator gets to see of a running server, besides its logs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Counts what happens, and serves the counts as `/metrics` on the admin listener. Default: true.
    pub metrics: bool,
    /// Where spans of requests, commands, commits and answers are exported to: the address of an OpenTelemetry collector that
    /// takes OTLP over HTTP, `http://127.0.0.1:4318`; spans are posted to `/v1/traces` below it. The variables
    /// `OTEL_EXPORTER_OTLP_ENDPOINT`, `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_TRACES_SAMPLER` mean what they always do. Without an
    /// address nothing is recorded. Default: none.
    pub otlp: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { metrics: true, otlp: None }
    }
}

impl Settings {
    /// Where spans are posted to, if anywhere. Fails when `otlp` is not an address.
    pub(super) fn spans(&self) -> anyhow::Result<Option<String>> {
        let Some(otlp) = self.otlp.as_deref().filter(|otlp| !otlp.is_empty()) else { return Ok(None) };
        // What it holds is not repeated: somebody may have put a password into it.
        let uri: http::Uri = otlp.parse().context("[telemetry] otlp is not an address")?;
        anyhow::ensure!(
            matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some(),
            "[telemetry] otlp must begin with http:// or https:// and name a host"
        );
        anyhow::ensure!(
            uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none(),
            "[telemetry] otlp holds no user, password or query: the variable OTEL_EXPORTER_OTLP_HEADERS carries secrets"
        );
        Ok(Some(format!("{}/v1/traces", otlp.trim_end_matches('/'))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(otlp: &str) -> anyhow::Result<Option<String>> {
        Settings { otlp: Some(otlp.into()), ..Settings::default() }.spans()
    }

    #[test]
    fn spans_go_to_their_path_below_the_collectors_address() {
        assert_eq!(Settings::default().spans().unwrap(), None);
        assert_eq!(spans("").unwrap(), None);
        for otlp in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/"] {
            assert_eq!(spans(otlp).unwrap().unwrap(), "http://127.0.0.1:4318/v1/traces");
        }
        assert_eq!(spans("https://otel.example/in").unwrap().unwrap(), "https://otel.example/in/v1/traces");
    }

    #[test]
    fn what_is_no_address_or_holds_a_secret_is_refused_without_being_repeated() {
        for wrong in [
            "127.0.0.1:4318",
            "ftp://canary",
            "/canary",
            "http://u:canary@otel.example",
            "http://h/?key=canary",
        ] {
            let error = format!("{:#}", spans(wrong).unwrap_err());
            assert!(error.contains("otlp") && !error.contains("canary"), "{wrong}: {error}");
        }
    }
}

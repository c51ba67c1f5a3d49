//! Where the operator's port listens, and who may ask there.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::config::Secret;

/// Shortest token, in bytes: what cannot be guessed.
const SHORTEST_TOKEN: usize = 16;

/// The operator's port: `/metrics`, `/healthz`, `/readyz`, `/version`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Whether there is an admin port. Default: true.
    pub enabled: bool,
    /// Address and port; the port is plain HTTP. Without a token it has to be a loopback address. Port 0 takes any free one.
    /// Default: `127.0.0.1:9464`.
    pub address: SocketAddr,
    /// The token that whoever asks sends as `Authorization: Bearer …`, at least 16 bytes. `/healthz`, `/readyz` and `/version`
    /// answer without it. Default: none.
    pub token: Option<Secret>,
    /// A file that holds `token`. Default: none.
    pub token_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9_464)),
            token: None,
            token_file: None,
        }
    }
}

impl Settings {
    /// Any free port of the loopback address.
    pub fn anywhere() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Self::default() }
    }

    /// Looks for what must not be: a port that everybody can ask, or a token that can be guessed.
    pub fn check(&self) -> anyhow::Result<()> {
        let has_token = self.token.is_some() || self.token_file.is_some();
        anyhow::ensure!(
            !self.enabled || has_token || is_loopback(self.address.ip()),
            "[admin] address {} can be reached from elsewhere: give it a token, or a loopback address",
            self.address
        );
        if let Some(token) = &self.token {
            long_enough(token.expose())?;
        }
        Ok(())
    }

    /// What a token has to match, if there is one. Reads `token_file`.
    pub(crate) fn lock(&self) -> anyhow::Result<Option<Lock>> {
        let token = match (&self.token, &self.token_file) {
            (Some(token), _) => Lock::of(token.expose()),
            (None, Some(file)) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("[admin] token_file: cannot read {}", file.display()))?;
                long_enough(text.trim())?;
                Lock::of(text.trim())
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(token))
    }
}

fn long_enough(token: &str) -> anyhow::Result<()> {
    anyhow::ensure!(token.len() >= SHORTEST_TOKEN, "[admin] token has fewer than {SHORTEST_TOKEN} bytes");
    Ok(())
}

fn is_loopback(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.to_ipv4_mapped().is_some_and(|mapped| mapped.is_loopback())
        }
    }
}

/// What a token is compared with: its SHA-256, so that how long comparing takes says nothing about the token.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Lock([u8; 32]);

impl Lock {
    fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether `token` is the one.
    pub(crate) fn opens_with(&self, token: &str) -> bool {
        *self == Self::of(token)
    }
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(address: &str, token: Option<&str>) -> Settings {
        Settings { address: address.parse().unwrap(), token: token.map(Secret::new), ..Settings::default() }
    }

    #[test]
    fn only_loopback_is_served_without_a_token() {
        for loopback in ["127.0.0.1:9464", "127.8.9.10:1", "[::1]:9464", "[::ffff:127.0.0.1]:9464"] {
            assert!(settings(loopback, None).check().is_ok(), "{loopback}");
        }
        for open in ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464", "192.0.2.7:9464", "[::ffff:10.0.0.1]:9464"]
        {
            let error = settings(open, None).check().unwrap_err().to_string();
            assert!(error.contains("token") && error.contains("loopback"), "{error}");
            assert!(settings(open, Some("0123456789abcdef")).check().is_ok(), "{open}");
            assert!(Settings { enabled: false, ..settings(open, None) }.check().is_ok(), "{open}");
        }
    }

    #[test]
    fn a_token_has_at_least_16_bytes() {
        assert!(settings("127.0.0.1:0", Some("0123456789abcde")).check().is_err());
        assert!(settings("127.0.0.1:0", Some("0123456789abcdef")).check().is_ok());
        assert!(settings("0.0.0.0:0", Some("")).check().is_err());
    }

    #[test]
    fn a_token_comes_from_a_file_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        let settings = Settings { token_file: Some(file.clone()), ..settings("0.0.0.0:0", None) };
        assert!(settings.check().is_ok());
        assert!(settings.lock().is_err());
        std::fs::write(&file, "short\n").unwrap();
        assert!(settings.lock().is_err());
        std::fs::write(&file, "0123456789abcdef\n").unwrap();
        let lock = settings.lock().unwrap().unwrap();
        assert!(lock.opens_with("0123456789abcdef"));
        assert!(!lock.opens_with("0123456789abcdeF") && !lock.opens_with(""));
    }

    #[test]
    fn a_token_is_never_printed() {
        let settings = settings("127.0.0.1:0", Some("canary-canary-canary"));
        let json = serde_json::to_string(&settings).unwrap();
        let debug = format!("{settings:?} {:?}", settings.lock().unwrap());
        assert!(
            json.contains("***") && !json.contains("canary") && !debug.contains("canary"),
            "{json} {debug}"
        );
    }
}

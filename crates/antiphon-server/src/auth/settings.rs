//! What can be configured about who somebody is: `[auth]` and its `[[auth.issuer]]`s.

use std::path::PathBuf;

use anyhow::Context as _;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::placeholders;
use crate::config::Secret;

/// Shortest secret that HS256 may be verified with, in bytes: as long as what it produces (RFC 7518, 3.2).
pub(super) const SHORTEST_SECRET: usize = 32;

/// Who may come in, besides those with keys: sessions, wallets, and tokens of others.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How many milliseconds a session lasts after login or refresh. Default: 86400000.
    pub session: u64,
    /// How many milliseconds after login or the last refresh a session can be refreshed. Default: 2592000000.
    pub refresh: u64,
    /// How many milliseconds a connection stays open after its credential has expired, to bring a new one. Default: 20000.
    pub grace: u64,
    /// Hosts, with the port unless it is the usual one, that wallets may sign in to. Without any, wallets cannot sign in.
    /// Default: none.
    pub domain: Vec<String>,
    /// Chains that a wallet's sign-in message may name, by EIP-155 id. Default: `[1]`.
    pub chains: Vec<u64>,
    /// Whether a wallet that nobody linked to a person opens a new person: `create` or `known`. Default: `create`.
    pub wallets: People,
    /// What it is worth when a client only names a wallet, as clients of `companion` do, without a signature or a token: `refuse`
    /// is nothing; with `local` and `anybody` whoever names it is taken for its person, and with `local` every port where that
    /// is asked must be on loopback. Default: `refuse`.
    pub unproven_wallets: UnprovenWallets,
    /// The plan of people whom a wallet's first login adds. Default: `free`.
    pub wallet_plan: String,
    /// Somebody whose signed tokens (JWT) are believed. May be given several times.
    #[serde(rename = "issuer")]
    pub issuers: Vec<Issuer>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            session: 86_400_000,
            refresh: 2_592_000_000,
            grace: 20_000,
            domain: Vec::new(),
            chains: vec![1],
            wallets: People::Create,
            unproven_wallets: UnprovenWallets::Refuse,
            wallet_plan: "free".into(),
            issuers: Vec::new(),
        }
    }
}

/// Somebody whose signed tokens (JWT) are believed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Issuer {
    /// What this issuer is called in logs and when one of its tokens is revoked. Default: empty, which is refused.
    pub name: String,
    /// The `iss` claim that its tokens carry, exactly. An issuer without it speaks for tokens that have no `iss`; there can be
    /// one such. Default: none.
    pub issuer: Option<String>,
    /// Values of which a token's `aud` claim must name one. Without any, only tokens without `aud` are accepted. Default: none.
    pub audience: Vec<String>,
    /// Signature algorithms that are accepted: `HS256`, or `RS256` and `ES256`. Default: none, which is refused.
    pub algorithms: Vec<Algorithm>,
    /// The secret of HS256, at least 32 bytes. Default: none.
    pub secret: Option<Secret>,
    /// A file that holds `secret`. Default: none.
    pub secret_file: Option<PathBuf>,
    /// The secret that was used before and is still accepted while tokens are being replaced. Default: none.
    pub previous_secret: Option<Secret>,
    /// A file that holds `previous_secret`. Default: none.
    pub previous_secret_file: Option<PathBuf>,
    /// PEM files with public keys for RS256 and ES256: the one in use, and the next or the last one. Default: none.
    pub key_file: Vec<PathBuf>,
    /// The https address of the issuer's key set (JWKS) for RS256 and ES256. Default: none.
    pub jwks: Option<String>,
    /// Whether a `sub` that nobody knows adds a person: `create` or `known`. Default: `create`.
    pub people: People,
    /// Put before `sub` to make the person's id, so that two issuers cannot speak for the same person. Default: empty.
    pub prefix: String,
    /// The plan of people whom a token adds. Default: `free`.
    pub plan: String,
    /// Dialects that its tokens open, by name; empty means all. Default: all.
    pub dialects: Vec<String>,
    /// The claim that lists roles; dots lead into objects (`realm_access.roles`). Empty means that tokens give none. Default: `roles`.
    pub roles_claim: String,
}

impl Default for Issuer {
    fn default() -> Self {
        Self {
            name: String::new(),
            issuer: None,
            audience: Vec::new(),
            algorithms: Vec::new(),
            secret: None,
            secret_file: None,
            previous_secret: None,
            previous_secret_file: None,
            key_file: Vec::new(),
            jwks: None,
            people: People::Create,
            prefix: String::new(),
            plan: "free".into(),
            dialects: Vec::new(),
            roles_claim: "roles".into(),
        }
    }
}

/// What happens when a credential is good but its person is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum People {
    /// The person is added.
    Create,
    /// Nobody is let in but people who are known.
    Known,
}

/// What it is worth when a client only names a wallet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UnprovenWallets {
    /// Nothing: a wallet is proved.
    #[default]
    Refuse,
    /// Whoever names it is its person, on this machine.
    Local,
    /// Whoever names it is its person.
    Anybody,
}

/// A signature algorithm of RFC 7518 that tokens may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// HMAC with SHA-256, with a secret that both sides know.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[serde(rename = "ES256")]
    Es256,
}

impl Settings {
    /// Looks for settings that cannot work together or that everybody can guess. `demo` lets the documents' placeholders pass.
    pub fn check(&self, demo: bool) -> anyhow::Result<()> {
        anyhow::ensure!(self.session > 0, "[auth] session is a number of milliseconds above 0");
        anyhow::ensure!(self.refresh >= self.session, "[auth] refresh must not be shorter than session");
        for domain in &self.domain {
            anyhow::ensure!(
                !domain.is_empty()
                    && !domain.contains(['/', '@', '?', '#'])
                    && !domain.contains(char::is_whitespace),
                "[auth] domain {domain:?} must be a host, with a port if it is not the usual one"
            );
        }
        anyhow::ensure!(
            self.domain.is_empty() || !self.chains.is_empty(),
            "[auth] chains must name a chain when domain names a host"
        );
        for (index, issuer) in self.issuers.iter().enumerate() {
            let others = &self.issuers[..index];
            issuer.check(others, demo).with_context(|| format!("[[auth.issuer]] {:?}", issuer.name))?;
        }
        Ok(())
    }
}

impl Issuer {
    fn check(&self, others: &[Self], demo: bool) -> anyhow::Result<()> {
        anyhow::ensure!(!self.name.is_empty(), "an issuer needs a name");
        anyhow::ensure!(others.iter().all(|other| other.name != self.name), "two issuers have this name");
        anyhow::ensure!(
            others.iter().all(|other| other.issuer != self.issuer),
            "two issuers claim the same `iss`, so that a token would belong to both"
        );
        anyhow::ensure!(
            !self.algorithms.is_empty(),
            "algorithms must name at least one of HS256, RS256, ES256"
        );

        let symmetric = self.algorithms.contains(&Algorithm::Hs256);
        let asymmetric = self.algorithms.iter().any(|algorithm| *algorithm != Algorithm::Hs256);
        // A public key is known to everybody; an issuer that took both kinds could be made to take it for a secret.
        anyhow::ensure!(
            !(symmetric && asymmetric),
            "HS256 cannot be mixed with RS256 or ES256; make it two issuers"
        );
        anyhow::ensure!(symmetric == self.secret.is_some(), "HS256 needs `secret`, and nothing else uses it");
        anyhow::ensure!(
            self.previous_secret.is_none() || self.secret.is_some(),
            "previous_secret goes with secret"
        );
        let sources = usize::from(!self.key_file.is_empty()) + usize::from(self.jwks.is_some());
        anyhow::ensure!(
            sources == usize::from(asymmetric),
            "RS256 and ES256 need either `key_file` or `jwks`, and HS256 uses neither"
        );
        anyhow::ensure!(self.key_file.len() <= 2, "key_file names at most two files");
        self.secrets().try_for_each(|secret| check_secret(secret, demo))?;
        if let Some(address) = &self.jwks {
            let uri: http::Uri = address.parse().context("jwks is not an address")?;
            let local = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
            anyhow::ensure!(
                uri.scheme_str() == Some("https") || (uri.scheme_str() == Some("http") && local),
                "jwks must be an https address"
            );
        }
        Ok(())
    }

    /// The secrets that tokens may be signed with: the one in use first.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(&self.previous_secret)
    }
}

/// Looks for a secret that others can guess or read. `demo` lets those pass that the documents print.
pub(crate) fn check_secret(secret: &Secret, demo: bool) -> anyhow::Result<()> {
    if !demo {
        anyhow::ensure!(
            !placeholders::is_placeholder(secret.expose()),
            "the secret is a placeholder that everybody can read in some document"
        );
    }
    anyhow::ensure!(
        secret.expose().len() >= SHORTEST_SECRET,
        "a secret for HS256 has at least {SHORTEST_SECRET} bytes; `openssl rand -hex 32` makes one"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    fn check(issuers: &str) -> Result<(), String> {
        let settings: Settings = toml::from_str(issuers).map_err(|error| error.to_string())?;
        settings.check(false).map_err(|error| format!("{error:#}"))
    }

    fn issuer(rest: &str) -> Result<(), String> {
        check(&format!("[[issuer]]\nname = 'app'\n{rest}"))
    }

    #[test]
    fn an_issuer_needs_a_name_algorithms_and_exactly_one_kind_of_key() {
        let good = [
            format!("algorithms = ['HS256']\nsecret = '{LONG}'"),
            format!("algorithms = ['HS256']\nsecret = '{LONG}'\nprevious_secret = '{LONG}x'"),
            "algorithms = ['RS256', 'ES256']\nkey_file = ['a.pem', 'b.pem']".into(),
            "algorithms = ['ES256']\njwks = 'https://id.example.org/keys'".into(),
            "algorithms = ['ES256']\njwks = 'http://127.0.0.1:9/keys'".into(),
        ];
        for text in good {
            assert_eq!(issuer(&text), Ok(()), "{text}");
        }
        let wrong = [
            ("", "algorithms"),
            ("algorithms = ['none']", "none"),
            ("algorithms = ['HS256']", "secret"),
            ("algorithms = ['RS256']", "key_file"),
            ("algorithms = ['RS256']\nkey_file = ['a']\njwks = 'https://a.example'", "key_file"),
            ("algorithms = ['RS256']\njwks = 'http://a.example'", "https"),
            ("algorithms = ['RS256']\njwks = 'file:///etc/passwd'", "jwks"),
            ("algorithms = ['RS256']\nkey_file = ['a', 'b', 'c']", "two"),
        ];
        for (text, named) in wrong {
            let error = issuer(text).unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
        assert!(check("[[issuer]]\nalgorithms = ['RS256']\nkey_file = ['a']").is_err());
    }

    #[test]
    fn t18_an_issuer_cannot_take_a_public_key_for_a_secret() {
        let both = format!("algorithms = ['HS256', 'RS256']\nsecret = '{LONG}'\nkey_file = ['a.pem']");
        assert!(issuer(&both).unwrap_err().contains("mixed"));
    }

    #[test]
    fn t18_a_token_belongs_to_one_issuer_at_most() {
        let one = |name, iss| {
            format!("[[issuer]]\nname = '{name}'\n{iss}\nalgorithms = ['HS256']\nsecret = '{LONG}'\n")
        };
        assert_eq!(check(&(one("a", "issuer = 'x'") + &one("b", "issuer = 'y'") + &one("c", ""))), Ok(()));
        assert!(check(&(one("a", "issuer = 'x'") + &one("b", "issuer = 'x'"))).is_err());
        assert!(check(&(one("a", "") + &one("b", ""))).is_err());
        assert!(check(&(one("a", "issuer = 'x'") + &one("a", "issuer = 'y'"))).is_err());
    }

    #[test]
    fn t29_a_secret_that_is_short_or_printed_in_documents_is_refused_outside_the_demo() {
        for secret in ["your-secret", "changeme", "your-jwt-token", "CHANGE_ME_in_production_please_or_else"]
        {
            let error = issuer(&format!("algorithms = ['HS256']\nsecret = '{secret}'")).unwrap_err();
            assert!(error.contains("placeholder"), "{secret}: {error}");
            assert!(!error.contains(secret), "{error}");
        }
        let error = issuer("algorithms = ['HS256']\nsecret = '0123456789abcdef0123456789abcde'").unwrap_err();
        assert!(error.contains("32 bytes"), "{error}");
        let previous = format!("algorithms = ['HS256']\nsecret = '{LONG}'\nprevious_secret = 'short'");
        assert!(issuer(&previous).unwrap_err().contains("32 bytes"));
    }

    #[test]
    fn p21_settings_do_not_print_their_secrets() {
        let settings: Settings = toml::from_str(&format!(
            "[[issuer]]\nname = 'app'\nalgorithms = ['HS256']\nsecret = '{LONG}'\nprevious_secret = '{LONG}'"
        ))
        .unwrap();
        assert!(!format!("{settings:?}").contains(LONG));
        assert!(!toml::to_string(&settings).unwrap().contains(LONG));
    }
}

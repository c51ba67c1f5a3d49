//! Whether a signed token (JWT) of somebody else is to be believed, and what it says.
//!
//! | file | answers |
//! |---|---|
//! | [`claims`] | what a token's claims say, and whether they are what they should be |
//! | [`keyring`] | which keys an issuer signs with, from the configuration or from its key set |
//!
//! Nothing that is not verified yet decides anything but which of the configured issuers is asked: no address, no key and no
//! algorithm comes from a token.

mod claims;
mod keyring;

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_core::actor::SecretHash;
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::refusal::Refusal;
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::bad_credential;
use super::settings::{Algorithm, Issuer, People};
use keyring::Keyring;

pub use keyring::Fetch;

/// Tokens that are remembered as verified.
const REMEMBERED: u64 = 100_000;

/// The issuers whose tokens are believed.
pub(crate) struct Issuers {
    issuers: Vec<Trusted>,
    /// Tokens that were verified, until they expire.
    verified: moka::sync::Cache<SecretHash, Arc<Verified>>,
    fetch: Option<Arc<dyn Fetch>>,
}

/// One issuer.
struct Trusted {
    settings: Issuer,
    name: Arc<str>,
    keyring: Keyring,
}

/// What a verified token says.
pub(crate) struct Verified {
    /// Who signed it, by the name in the configuration.
    pub(crate) issuer: Arc<str>,
    /// Whom it speaks for.
    pub(crate) person: PersonId,
    /// The plan to add the person with, if they may be added.
    pub(crate) plan_for_new: Option<String>,
    /// When it was signed; the earliest time there is when it does not say.
    pub(crate) issued_at: Timestamp,
    /// From when on it opens nothing.
    pub(crate) expires_at: Timestamp,
    /// Its own id (`jti`).
    pub(crate) id: Option<Arc<str>>,
    /// The roles that it lists.
    pub(crate) roles: Vec<Arc<str>>,
    /// The dialects that it opens; `None` is all of them.
    pub(crate) dialects: Option<Vec<String>>,
    index: usize,
    generation: u64,
    remembered_for: Duration,
}

impl Issuers {
    /// These issuers, which were checked. Reads their key files; their key sets are fetched by [`run`](Self::run), with
    /// `fetch`, which an issuer with a key set needs.
    pub(crate) fn open<'a>(
        settings: impl Iterator<Item = &'a Issuer>,
        fetch: Option<Arc<dyn Fetch>>,
    ) -> anyhow::Result<Self> {
        let mut issuers: Vec<Trusted> = Vec::new();
        for settings in settings {
            anyhow::ensure!(
                issuers
                    .iter()
                    .all(|other| *other.name != *settings.name && other.settings.issuer != settings.issuer),
                "[[auth.issuer]] {:?}: this server signs tokens of its own under that name",
                settings.name
            );
            anyhow::ensure!(
                settings.jwks.is_none() || fetch.is_some(),
                "[[auth.issuer]] {:?}: this server cannot fetch key sets",
                settings.name
            );
            let keyring =
                Keyring::open(settings).with_context(|| format!("[[auth.issuer]] {:?}", settings.name))?;
            issuers.push(Trusted {
                name: settings.name.as_str().into(),
                keyring,
                settings: settings.clone(),
            });
        }
        let verified =
            moka::sync::Cache::builder().max_capacity(REMEMBERED).expire_after(UntilExpired).build();
        Ok(Self { issuers, verified, fetch })
    }

    /// Plans that people are added with.
    pub(crate) fn plans(&self) -> impl Iterator<Item = &str> {
        self.issuers.iter().map(|issuer| issuer.settings.plan.as_str())
    }

    /// What `token` says, if one of the issuers has signed it and it is good now. `hash` is the token's own.
    pub(crate) async fn verify(
        &self,
        token: &str,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Arc<Verified>, Refusal> {
        if let Some(verified) = self.verified.get(&hash)
            // A key that its issuer took back takes its tokens along.
            && self.issuers[verified.index].keyring.generation() == verified.generation
        {
            claims::not_expired(verified.expires_at, now)?;
            return Ok(verified);
        }
        let verified = Arc::new(self.verify_anew(token, now).await?);
        self.verified.insert(hash, verified.clone());
        Ok(verified)
    }

    async fn verify_anew(&self, token: &str, now: Timestamp) -> Result<Verified, Refusal> {
        let says = issuer_of(token).ok_or_else(malformed)?;
        let (index, issuer) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| issuer.settings.issuer == says)
            .ok_or_else(|| bad_credential("This server does not know the issuer of this token."))?;

        let header = jsonwebtoken::decode_header(token).map_err(|_| malformed())?;
        let algorithm = [Algorithm::Hs256, Algorithm::Rs256, Algorithm::Es256]
            .into_iter()
            .find(|algorithm| keyring::algorithm(*algorithm) == header.alg)
            .filter(|algorithm| issuer.settings.algorithms.contains(algorithm))
            .ok_or_else(|| {
                bad_credential("This token is signed with an algorithm that its issuer does not use.")
            })?;
        if header.crit.is_some() || !is_login_token(header.typ.as_deref()) {
            return Err(bad_credential("This is not a token to log in with."));
        }

        let found = issuer.keyring.find(header.kid.as_deref(), algorithm).await?;
        let mut validation = Validation::new(header.alg);
        // Times, issuer and audience are checked in `claims`, by the server's clock and strictly.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let said: Map<String, Value> = found
            .keys
            .iter()
            .find_map(|key| jsonwebtoken::decode(token, key, &validation).ok())
            .ok_or_else(|| bad_credential("The signature of this token is not its issuer's."))?
            .claims;
        let claims = claims::read(&said, &issuer.settings, now)?;
        let settings = &issuer.settings;
        Ok(Verified {
            issuer: issuer.name.clone(),
            person: claims.person,
            plan_for_new: (settings.people == People::Create).then(|| settings.plan.clone()),
            issued_at: claims.issued_at,
            expires_at: claims.expires_at,
            id: claims.id,
            roles: claims.roles,
            dialects: (!settings.dialects.is_empty()).then(|| settings.dialects.clone()),
            index,
            generation: found.generation,
            remembered_for: Duration::from_millis(
                u64::try_from(claims.expires_at.0.saturating_sub(now.0)).unwrap_or(0),
            ),
        })
    }

    /// Keeps the key sets of all issuers fresh until `shutdown` says `true` or its sender is gone.
    pub(crate) async fn run(&self, mut shutdown: watch::Receiver<bool>) {
        let Some(fetch) = &self.fetch else { return };
        let keeping = self.issuers.iter().map(|issuer| issuer.keyring.keep(&issuer.name, &**fetch));
        tokio::select! {
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = futures_util::future::join_all(keeping) => {}
        }
    }
}

/// The `iss` that the token claims, unverified: it only selects among the configured issuers. The outer `None` is a token that
/// cannot be read.
fn issuer_of(token: &str) -> Option<Option<String>> {
    #[derive(Deserialize)]
    struct Claims {
        iss: Option<String>,
    }
    let claims = token.split('.').nth(1)?;
    let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
    serde_json::from_slice::<Claims>(&claims).ok().map(|claims| claims.iss)
}

/// Whether a token of this `typ` is meant to say who somebody is; others (`logout+jwt`, `dpop+jwt`) mean something else (RFC
/// 8725, 3.11).
fn is_login_token(kind: Option<&str>) -> bool {
    let Some(kind) = kind else { return true };
    let kind = kind.to_ascii_lowercase();
    matches!(kind.strip_prefix("application/").unwrap_or(&kind), "jwt" | "at+jwt")
}

fn malformed() -> Refusal {
    bad_credential("This token cannot be read.")
}

/// Remembers a verified token until it expires.
struct UntilExpired;

impl moka::Expiry<SecretHash, Arc<Verified>> for UntilExpired {
    fn expire_after_create(&self, _: &SecretHash, value: &Arc<Verified>, _: Instant) -> Option<Duration> {
        // A cache cannot plan for centuries.
        Some(value.remembered_for.min(Duration::from_secs(86_400)))
    }
}

#[cfg(test)]
mod tests;

//! Which keys an issuer signs with: from the configuration, or from its key set (JWKS, RFC 7517).
//!
//! A keyring belongs to one issuer, so a key is found by issuer and `kid`, never by `kid` alone. A key set is fetched by one
//! task; a token with an unknown `kid` asks for it sooner, at most once in [`INTERVAL`] however many tokens come.

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::refusal::{Code, Fault, Refusal};
use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::auth::bad_credential;
use crate::auth::settings::{Algorithm, Issuer};
use crate::outbound::causes;
use crate::telemetry::cut;

/// Least time between two attempts to fetch a key set.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);

/// After how long a key set is fetched anew although nobody asked.
pub(super) const FRESH: Duration = Duration::from_secs(300);

/// How long the keys of the last successful fetch are believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(3_600);

/// How long a token waits for a key set.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most keys of one set that are looked at.
const MOST: usize = 64;

/// Fetches a document over HTTPS, for key sets. The implementation decides which addresses may be reached, and bounds time and
/// size.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The body of a successful answer.
    async fn get(&self, url: &str) -> Result<Bytes, Fault>;
}

/// The keys of one issuer.
pub(super) enum Keyring {
    /// As configured: the one in use and perhaps another.
    Fixed(Vec<Key>),
    /// As the issuer publishes them.
    Published(Published),
}

/// A key and what it verifies.
#[derive(Clone)]
pub(super) struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
    /// Says whether two keys are the same one without looking at the key: the entry it was made from.
    source: Value,
}

/// Keys that a token may have been signed with.
pub(super) struct Found {
    pub(super) keys: Vec<Arc<DecodingKey>>,
    /// Another number when the issuer's keys have changed.
    pub(super) generation: u64,
}

/// A key set and when it was fetched.
pub(super) struct Published {
    address: String,
    algorithms: Vec<Algorithm>,
    set: watch::Sender<Set>,
    wanted: Notify,
}

#[derive(Default)]
struct Set {
    keys: Vec<Key>,
    generation: u64,
    /// When it was last fetched with success.
    fetched: Option<Instant>,
    /// When it was last tried.
    tried: Option<Instant>,
}

impl Keyring {
    /// The keys that `settings`, which were checked, name. Reads key files.
    pub(super) fn open(settings: &Issuer) -> anyhow::Result<Self> {
        if let Some(address) = &settings.jwks {
            return Ok(Self::Published(Published {
                address: address.clone(),
                algorithms: settings.algorithms.clone(),
                set: watch::Sender::new(Set::default()),
                wanted: Notify::new(),
            }));
        }
        let mut keys = Vec::new();
        for secret in settings.secrets() {
            keys.push(Key::fixed(Algorithm::Hs256, DecodingKey::from_secret(secret.expose().as_bytes())));
        }
        for path in &settings.key_file {
            let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let key = public_key(&pem).with_context(|| format!("in {}", path.display()))?;
            anyhow::ensure!(
                settings.algorithms.contains(&key.algorithm),
                "{} holds a key for an algorithm that is not in `algorithms`",
                path.display()
            );
            keys.push(key);
        }
        Ok(Self::Fixed(keys))
    }

    /// Changes with the keys.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Fixed(_) => 0,
            Self::Published(published) => published.set.borrow().generation,
        }
    }

    /// The keys that a token with this `kid` and algorithm may have been signed with; waits for a key set that is being
    /// fetched.
    pub(super) async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Refusal> {
        match self {
            // Which of two secrets it was is found out by trying: a `kid` that nobody agreed on decides nothing.
            Self::Fixed(keys) => {
                let keys = keys.iter().filter(|key| key.algorithm == algorithm).map(|key| key.key.clone());
                Ok(Found { keys: keys.collect(), generation: 0 })
            }
            Self::Published(published) => published.find(id, algorithm).await,
        }
    }

    /// Keeps a key set fresh; never returns. Configured keys need no care.
    pub(super) async fn keep(&self, issuer: &str, fetch: &dyn Fetch) {
        if let Self::Published(published) = self {
            published.keep(issuer, fetch).await;
        }
    }
}

impl Published {
    async fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Result<Found, Refusal> {
        let mut sets = self.set.subscribe();
        let deadline = Instant::now() + PATIENCE;
        for asked in [false, true] {
            {
                let set = sets.borrow_and_update();
                if let Some(found) = set.find(id, algorithm) {
                    return Ok(found);
                }
                let resting = set.tried.is_some_and(|tried| tried.elapsed() < INTERVAL);
                if asked || resting {
                    return Err(set.missing());
                }
            }
            self.wanted.notify_one();
            // A set that does not come in time is looked at as it is.
            let _ = tokio::time::timeout_at(deadline, sets.changed()).await;
        }
        Err(self.set.borrow().missing())
    }

    async fn keep(&self, issuer: &str, fetch: &dyn Fetch) {
        loop {
            let answer = fetch.get(&self.address).await;
            let now = Instant::now();
            let keys = answer.and_then(|body| key_set(&body, &self.algorithms));
            let succeeded = keys.is_ok();
            if let Err(fault) = &keys {
                let error = causes(fault);
                tracing::warn!(issuer, error = cut(&error), "the key set of an issuer could not be fetched");
            }
            self.set.send_modify(|set| {
                set.tried = Some(now);
                if let Ok(keys) = keys {
                    let same = |(a, b): (&Key, &Key)| a.source == b.source;
                    if set.keys.len() != keys.len() || !set.keys.iter().zip(&keys).all(same) {
                        set.generation += 1;
                    }
                    set.keys = keys;
                    set.fetched = Some(now);
                }
            });
            tokio::time::sleep_until(now + INTERVAL).await;
            if succeeded {
                tokio::select! {
                    () = self.wanted.notified() => {}
                    () = tokio::time::sleep_until(now + FRESH) => {}
                }
            }
        }
    }
}

impl Set {
    fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Found> {
        if !self.is_believed() {
            return None;
        }
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let key = fitting.next()?;
        // Without a `kid` a token cannot choose, so there must be nothing to choose from.
        let only = fitting.next().is_none();
        only.then(|| Found { keys: vec![key.key.clone()], generation: self.generation })
    }

    fn is_believed(&self) -> bool {
        self.fetched.is_some_and(|fetched| fetched.elapsed() < BELIEVED)
    }

    /// Why there is no such key.
    fn missing(&self) -> Refusal {
        if self.is_believed() {
            return bad_credential("This token is signed with a key that its issuer does not publish.");
        }
        let retry_after = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
        Refusal::new(
            Code::Unavailable { retry_after },
            "The keys of this token's issuer cannot be fetched right now.",
        )
    }
}

impl Key {
    fn fixed(algorithm: Algorithm, key: DecodingKey) -> Self {
        Self { id: None, algorithm, key: Arc::new(key), source: Value::Null }
    }
}

/// The algorithm as the library knows it.
pub(super) fn algorithm(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    match algorithm {
        Algorithm::Hs256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
    }
}

/// A public key in PEM: what it is says what it verifies.
fn public_key(pem: &[u8]) -> anyhow::Result<Key> {
    anyhow::ensure!(
        !String::from_utf8_lossy(pem).contains("PRIVATE KEY"),
        "this is a private key, which belongs to the issuer alone; `openssl pkey -pubout` makes the public one"
    );
    if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
        return Ok(Key::fixed(Algorithm::Rs256, key));
    }
    let key = DecodingKey::from_ec_pem(pem)
        .map_err(|_| anyhow::anyhow!("there is no public RSA or P-256 key in PEM"))?;
    Ok(Key::fixed(Algorithm::Es256, key))
}

/// The keys of a set that verify signatures of these algorithms. What else is in a set is nobody's fault.
fn key_set(body: &[u8], algorithms: &[Algorithm]) -> Result<Vec<Key>, Fault> {
    #[derive(Deserialize)]
    struct Document {
        keys: Vec<Value>,
    }
    let document: Document =
        serde_json::from_slice(body).map_err(|error| Fault::because("reading a key set", error))?;
    let keys: Vec<_> = document
        .keys
        .into_iter()
        .take(MOST)
        .filter_map(published_key)
        .filter(|key| algorithms.contains(&key.algorithm))
        .collect();
    if keys.is_empty() {
        return Err(Fault::new("the key set holds no key for the configured algorithms"));
    }
    Ok(keys)
}

fn published_key(source: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(source.clone()).ok()?;
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    if common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify)) {
        return None;
    }
    // A secret (`oct`) that anybody can fetch is none.
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::Rs256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::Es256, KeyAlgorithm::ES256)
        }
        _ => return None,
    };
    if common.key_algorithm.is_some_and(|declared| declared != name) {
        return None;
    }
    let key = Arc::new(DecodingKey::from_jwk(&jwk).ok()?);
    Some(Key { id: common.key_id.clone(), algorithm, key, source })
}

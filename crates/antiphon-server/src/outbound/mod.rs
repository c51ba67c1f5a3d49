//! The one place that opens connections to the outside.
//!
//! | file | answers |
//! |---|---|
//! | `settings` | what can be configured |
//! | `target` | whether a URL may be asked for at all |
//! | `keys` | how the keys of token issuers are fetched |
//! | `address` | which addresses belong to the public internet |
//! | `resolver` | which addresses a name may be reached at |
//!
//! URLs of webhooks and of key sets come from people, and an answer can lead anywhere. So: https only, public addresses
//! only, connected to exactly the address that was checked, no redirects, no proxy from the environment, little time and little
//! room for the answer. `[outbound] allow` names exceptions. `clippy.toml` refuses every other way out of this process.

mod address;
mod keys;
mod resolver;
mod settings;
mod target;
#[cfg(test)]
mod tests;

use std::error::Error as StdError;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use antiphon_core::refusal::Fault;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, RequestBuilder, Response};

pub use self::settings::{Allowed, Settings};

use self::resolver::{Guard, Lookup, NothingPublic, System};

/// How this server introduces itself.
const USER_AGENT: &str = concat!("Antiphon/", env!("CARGO_PKG_VERSION"));

/// Asks others over HTTP, within the rules of this module.
pub struct Outbound {
    settings: Settings,
    lookup: Arc<dyn Lookup>,
    /// Authorities to trust besides the system's.
    authorities: Vec<Certificate>,
    /// Made when it is first needed: most servers never ask anybody.
    client: Mutex<Option<Client>>,
}

/// What somebody is asked for, which says how long it may take and how much may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The keys of a token issuer: 5 seconds, 256 KiB.
    Keys,
    /// The delivery of a webhook: 15 seconds; what is answered besides the status is not read.
    Webhook,
    /// A question to the node of a chain: 60 seconds at most, whoever asks may have less patience; 1 MiB.
    Chain,
}

impl Purpose {
    /// How long everything together may take: lookup, connection, question and answer.
    pub fn time(self) -> Duration {
        match self {
            Self::Keys => Duration::from_secs(5),
            Self::Webhook => Duration::from_secs(15),
            Self::Chain => Duration::from_secs(60),
        }
    }

    /// How many bytes the body of an answer may have.
    pub fn bytes(self) -> usize {
        match self {
            Self::Keys => 256 * 1024,
            Self::Webhook => 0,
            Self::Chain => 1024 * 1024,
        }
    }
}

/// What somebody answered to a [`post`](Outbound::post).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// When to come back, if the answer says so in seconds.
    pub retry_after: Option<Duration>,
}

/// Why there is no answer. Never shows the URL, which may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It must not be asked.
    #[error("not allowed: {0}")]
    Forbidden(&'static str),
    /// It took too long.
    #[error("no answer within {} seconds", .0.as_secs())]
    TimedOut(Duration),
    /// The answer is longer than this many bytes.
    #[error("the answer has more than {0} bytes")]
    TooLarge(usize),
    /// It answered, but not with what was asked for. Redirects are not followed and end here too.
    #[error("the answer was {0}")]
    Status(StatusCode),
    /// It could not be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
}

impl Outbound {
    /// A client that keeps to `settings`. Does no I/O.
    pub fn new(settings: Settings) -> Self {
        Self::over(settings, Arc::new(System), Vec::new())
    }

    fn over(settings: Settings, lookup: Arc<dyn Lookup>, authorities: Vec<Certificate>) -> Self {
        Self { settings, lookup, authorities, client: Mutex::default() }
    }

    /// Whether `url` would be asked for at all, as far as can be said without looking its name up.
    pub fn check(&self, url: &str) -> Result<(), Failure> {
        target::check(url, &self.settings).map(drop)
    }

    /// What is at `url`. Any status but 2xx is a failure.
    pub async fn get(&self, purpose: Purpose, url: &str) -> Result<Bytes, Failure> {
        let url = target::check(url, &self.settings)?;
        let answer = self.send(purpose, self.client()?.get(url)).await?;
        good_body(purpose, answer).await
    }

    /// What `url` answers to `body`. Any status but 2xx is a failure.
    pub async fn ask(
        &self,
        purpose: Purpose,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Bytes, Failure> {
        let url = target::check(url, &self.settings)?;
        let answer = self.send(purpose, self.client()?.post(url).headers(headers).body(body)).await?;
        good_body(purpose, answer).await
    }

    /// Gives `body` to `url` and returns what it answered, whatever the status.
    pub async fn post(
        &self,
        purpose: Purpose,
        url: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let url = target::check(url, &self.settings)?;
        let answer = self.send(purpose, self.client()?.post(url).headers(headers).body(body)).await?;
        let seconds = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = seconds.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        Ok(Answer { status: answer.status(), retry_after })
    }

    async fn send(&self, purpose: Purpose, request: RequestBuilder) -> Result<Response, Failure> {
        request.timeout(purpose.time()).send().await.map_err(|error| failure(purpose, error))
    }

    fn client(&self) -> Result<Client, Failure> {
        let mut slot = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*slot {
            return Ok(client.clone());
        }
        let guard = Guard { settings: self.settings.clone(), lookup: Arc::clone(&self.lookup) };
        let mut builder = plain().dns_resolver(Arc::new(guard)).pool_idle_timeout(Duration::from_secs(30));
        if !self.authorities.is_empty() {
            builder = builder.tls_certs_merge(self.authorities.iter().cloned());
        }
        let client = builder.build().map_err(|error| Failure::Unreachable(causes(&error.without_url())))?;
        Ok(slot.insert(client).clone())
    }
}

/// A client for the command line, which asks the server that its operator names, wherever that is: no guard, but no redirects
/// and no proxy from the environment either. Answers may go on for ever; connecting takes at most 5 seconds.
pub fn operator_client() -> Result<Client, Fault> {
    let client = plain().connect_timeout(Duration::from_secs(5)).build();
    client.map_err(|error| Fault::because("preparing an HTTP client", error))
}

fn plain() -> reqwest::ClientBuilder {
    #[expect(clippy::disallowed_methods, reason = "this is where the guarded client is made")]
    let builder = Client::builder();
    builder.no_proxy().redirect(Policy::none()).referer(false).user_agent(USER_AGENT)
}

/// The body of an answer that is what was asked for.
async fn good_body(purpose: Purpose, mut answer: Response) -> Result<Bytes, Failure> {
    if !answer.status().is_success() {
        return Err(Failure::Status(answer.status()));
    }
    let limit = purpose.bytes();
    if answer.content_length().is_some_and(|length| length > limit as u64) {
        return Err(Failure::TooLarge(limit));
    }
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| failure(purpose, error))? {
        if body.len() + piece.len() > limit {
            return Err(Failure::TooLarge(limit));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

fn failure(purpose: Purpose, error: reqwest::Error) -> Failure {
    let error = error.without_url();
    if error.is_timeout() {
        return Failure::TimedOut(purpose.time());
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<NothingPublic>() {
            return Failure::Forbidden("the name has no address that is public");
        }
        cause = error.source();
    }
    Failure::Unreachable(causes(&error))
}

/// An error with what caused it, down to the reason that somebody can do something about.
pub(crate) fn causes(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

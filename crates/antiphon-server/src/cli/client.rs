//! How a command asks a server that runs: HTTP, with a service key.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::input;
use crate::config::Secret;
use crate::outbound::{causes, operator_client};

/// How long a server may take for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Entries of a list that are asked for at a time.
const PAGE: &str = "500";

/// Characters of an answer that are shown when it is not one of ours.
const SHOWN: usize = 200;

/// Which running server is meant, and the key to it.
#[derive(Args)]
pub(super) struct Server {
    /// The address of a server that runs, such as `http://127.0.0.1:3000` [env: ANTIPHON_URL]. It needs a service key, from the
    /// environment's ANTIPHON_SERVICE_KEY or a file.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A file that holds the service key.
    #[arg(long, value_name = "FILE")]
    service_key_file: Option<PathBuf>,
}

/// A server that can be asked.
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    key: Secret,
}

impl Server {
    /// Whether anybody said which server it is.
    pub(super) fn is_named(&self) -> bool {
        self.url().is_some()
    }

    fn url(&self) -> Option<String> {
        self.url.clone().or_else(|| std::env::var("ANTIPHON_URL").ok()).filter(|url| !url.is_empty())
    }

    /// A client for it. The error says what is missing.
    pub(super) fn client(self) -> anyhow::Result<Client> {
        let url = self.url().context("say which server this is about: --url URL, or ANTIPHON_URL")?;
        let base: Url =
            url.parse().with_context(|| format!("{url:?} is not an address like http://127.0.0.1:3000"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            bail!("{url:?} is not an address like http://127.0.0.1:3000");
        }
        let key = match self.service_key_file {
            Some(path) => input::secret_from_file(&path)?,
            None => match std::env::var("ANTIPHON_SERVICE_KEY") {
                Ok(key) if !key.is_empty() => Secret::new(key),
                _ => bail!(
                    "a running server asks for a service key: put it into ANTIPHON_SERVICE_KEY or name a file with \
                     --service-key-file. `antiphon service-key create` makes one while the server is stopped"
                ),
            },
        };
        Ok(Client { http: operator_client()?, base, key })
    }
}

impl Client {
    /// Everything that is listed at `path` under `/v1`, page by page. The list is called like the end of the path.
    pub(super) async fn pages(&self, path: &[&str]) -> anyhow::Result<Vec<Value>> {
        self.pages_of(path, &[]).await
    }

    /// The same, of what `selection` leaves.
    pub(super) async fn pages_of(
        &self,
        path: &[&str],
        selection: &[(&str, &str)],
    ) -> anyhow::Result<Vec<Value>> {
        let what = path.last().copied().unwrap_or_default();
        let (mut found, mut after) = (Vec::new(), None::<String>);
        loop {
            let mut query = [selection, &[("limit", PAGE)]].concat();
            query.extend(after.as_deref().map(|after| ("after", after)));
            let response = self.send(self.request(Method::GET, path, &query)?.timeout(PATIENCE)).await?;
            let mut page = read(response).await?;
            let Value::Array(entries) = page[what].take() else { bail!("the server sent no list of {what}") };
            found.extend(entries);
            match &page["next"] {
                Value::String(next) => after = Some(next.clone()),
                Value::Number(next) => after = Some(next.to_string()),
                _ => return Ok(found),
            }
        }
    }

    /// Sends `body` to `path` under `/v1`.
    pub(super) async fn send_json(
        &self,
        method: Method,
        path: &[&str],
        body: &Value,
    ) -> anyhow::Result<Value> {
        let response = self.send(self.request(method, path, &[])?.timeout(PATIENCE).json(body)).await?;
        read(response).await
    }

    /// Asks for what is at `path` under `/v1`, which goes on for as long as both want.
    pub(super) async fn stream(&self, path: &[&str], query: &[(&str, &str)]) -> anyhow::Result<Response> {
        self.send(self.request(Method::GET, path, query)?).await
    }

    fn request(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> anyhow::Result<RequestBuilder> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| anyhow!("{} is not an address like http://127.0.0.1:3000", self.base))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(self.http.request(method, url).bearer_auth(self.key.expose()))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| {
            let hint = if error.is_connect() { "; if it is stopped, use --data DIR" } else { "" };
            anyhow!("no answer from {}: {}{hint}", self.base, causes(&error.without_url()))
        })?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }
}

/// What a server says that does not do what it was asked.
async fn refused(response: Response) -> anyhow::Error {
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    let problem: Option<Value> = serde_json::from_str(&text).ok();
    let detail = problem.as_ref().and_then(|problem| problem["detail"].as_str());
    let hint = match status {
        StatusCode::UNAUTHORIZED => " Is ANTIPHON_SERVICE_KEY a service key of this server?",
        StatusCode::NOT_FOUND if detail.is_none() => " Does this address serve the HTTP API?",
        _ => "",
    };
    match detail {
        Some(detail) => anyhow!("the server refused: {detail}{hint}"),
        None => {
            let shown: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
            anyhow!("the server answered {status}: {shown}{hint}")
        }
    }
}

async fn read(response: Response) -> anyhow::Result<Value> {
    let text =
        response.text().await.map_err(|error| anyhow!("the answer broke off: {}", error.without_url()))?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).context("the server answered something that is not JSON")
}

//! `key`, `service-key` and `operator-token`: the API keys of people, those of backends, and the operator's.

use std::io::Write as _;

use antiphon_core::actor::{ApiKey, Holder};
use antiphon_core::ids::{KeyId, PersonId};
use antiphon_core::memory::SystemClock;
use antiphon_core::ports::{Clock as _, Keys as _};
use anyhow::Context as _;
use clap::{Args, Subcommand};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::moment::{self, Lasting};
use super::place::{Opened, Place};
use super::table;
use crate::auth::keys::{self, Order};

/// Keys that are read at a time.
const PAGE: u32 = 500;

/// API keys of people: what their clients send as `auth.token`.
#[derive(Subcommand)]
pub(super) enum Key {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Keys of backends: what an app's own server sends to the HTTP API.
#[derive(Subcommand)]
pub(super) enum ServiceKey {
    Create(CreateService),
    List(ListServices),
    Revoke(Revoke),
}

/// Tokens of the operator: like keys of backends, for those who run the server.
#[derive(Subcommand)]
pub(super) enum OperatorToken {
    Create(CreateOperator),
    List(ListServices),
    Revoke(Revoke),
}

/// Make an operator token and print it, this once.
///
/// It is made on the server's own data, while the server is stopped: nobody gets one over the network. Standard output has the
/// token and nothing else; the server keeps only its hash.
#[derive(Args)]
#[command(
    after_help = "Example:\n  antiphon operator-token create --expires-in 90d --data /var/lib/antiphon > operator.token"
)]
pub(super) struct CreateOperator {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    lasting: Lasting,
}

/// Make a key for a person and print it, this once.
///
/// Standard output has the key and nothing else; the server keeps only its hash.
#[derive(Args)]
#[command(after_help = "Example:\n  antiphon key create ada --expires-in 90d --data /var/lib/antiphon")]
pub(super) struct Create {
    #[command(flatten)]
    place: Place,
    /// The person that it speaks for.
    person: String,
    #[command(flatten)]
    what: What,
}

/// Make a key for a backend and print it, this once.
///
/// Standard output has the key and nothing else; the server keeps only its hash.
#[derive(Args)]
#[command(after_help = "Example:\n  antiphon service-key create shop --data /var/lib/antiphon > shop.key")]
pub(super) struct CreateService {
    #[command(flatten)]
    place: Place,
    /// What the backend is called in logs and lists.
    name: String,
    #[command(flatten)]
    what: What,
}

/// What a new key opens, and for how long.
#[derive(Args)]
struct What {
    /// A dialect that it opens, by name, or `api` for the HTTP API. May be given several times [default: all].
    #[arg(long = "dialect", value_name = "NAME")]
    dialects: Vec<String>,
    /// The plan that counts in place of the person's own.
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    #[command(flatten)]
    lasting: Lasting,
}

/// List the keys of people, never their secrets.
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    /// Only those of this person.
    #[arg(long, value_name = "ID")]
    person: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// List the keys of backends, never their secrets.
#[derive(Args)]
pub(super) struct ListServices {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Revoke a key: it opens nothing any more, and a running server closes the connections that it opened.
#[derive(Args)]
pub(super) struct Revoke {
    #[command(flatten)]
    place: Place,
    /// The key's id, as it is listed: `cda_0f3a9c12`.
    id: String,
}

impl Key {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(Create { place, person, what }) => create(place, Kind::Person, &person, what).await,
            Self::List(List { place, person, json }) => {
                let wanted = |key: &Value| match &person {
                    Some(person) => key["person"] == **person,
                    None => key["person"].is_string(),
                };
                list(place, wanted, json).await
            }
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl ServiceKey {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(CreateService { place, name, what }) => {
                create(place, Kind::Service, &name, what).await
            }
            Self::List(ListServices { place, json }) => {
                list(place, |key| key["service"].is_string(), json).await
            }
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl OperatorToken {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Create(CreateOperator { place, lasting }) => {
                let what = What { dialects: Vec::new(), plan: None, lasting };
                create(place, Kind::Operator, "", what).await
            }
            Self::List(ListServices { place, json }) => {
                let wanted = |key: &Value| key["person"].is_null() && key["service"].is_null();
                list(place, wanted, json).await
            }
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Revoke {
    async fn run(self) -> anyhow::Result<()> {
        let id = KeyId::parse(&self.id)?;
        match self.place.open().await? {
            Opened::Stopped(store) => {
                let revoked = store.revoke_key(&id, SystemClock.now()).await?;
                revoked.with_context(|| format!("there is no key {id}"))?;
                store.close().await?;
            }
            Opened::Running(client) => {
                client.send_json(Method::DELETE, &["keys", &self.id], &Value::Null).await?;
            }
        }
        writeln!(std::io::stdout(), "{id} is revoked")?;
        Ok(())
    }
}

/// Whom a key is made for.
#[derive(Clone, Copy)]
enum Kind {
    Person,
    Service,
    Operator,
}

impl Kind {
    /// What it is called here and in the HTTP API.
    fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Service => "service",
            Self::Operator => "operator",
        }
    }

    fn holder(self, name: &str) -> anyhow::Result<Holder> {
        Ok(match self {
            Self::Person => Holder::Person(PersonId::parse(name)?),
            Self::Service => Holder::Service(name.to_owned()),
            Self::Operator => Holder::Operator,
        })
    }
}

/// Makes a key for the `kind` of holder that `name` names.
async fn create(place: Place, kind: Kind, name: &str, what: What) -> anyhow::Result<()> {
    let now = SystemClock.now();
    let expires_at = what.lasting.until(now)?;
    let dialects = Some(what.dialects).filter(|dialects| !dialects.is_empty());
    let (key, secret) = match place.open_or_make().await? {
        Opened::Stopped(store) => {
            let order = Order { holder: kind.holder(name)?, dialects, plan: what.plan, expires_at };
            let (key, secret) = keys::issue(&store, order, now).await?;
            store.close().await?;
            (view(&key), secret)
        }
        Opened::Running(_) if matches!(kind, Kind::Operator) => anyhow::bail!(
            "an operator token is made on the server's own data: stop the server and say --data DIR"
        ),
        Opened::Running(client) => {
            let mut wanted = json!({ kind.name(): name });
            if let Some(dialects) = dialects {
                wanted["dialects"] = json!(dialects);
            }
            if let Some(plan) = what.plan {
                wanted["plan"] = json!(plan);
            }
            if let Some(at) = expires_at {
                wanted["expiresAt"] = json!(moment::write(at));
            }
            let mut issued = client.send_json(Method::POST, &["keys"], &wanted).await?;
            let secret =
                issued["secret"].as_str().context("the server did not send the key's secret")?.into();
            (issued["key"].take(), secret)
        }
    };
    let id = key["id"].as_str().unwrap_or_default();
    let until = key["expiresAt"].as_str().map_or("does not expire".to_owned(), |at| format!("expires {at}"));
    let whose = format!("{} {name}", kind.name());
    writeln!(std::io::stderr(), "{id} of {} {until}. It is shown this once:", whose.trim_end())?;
    writeln!(std::io::stdout(), "{}", secret.expose_secret())?;
    Ok(())
}

async fn list(place: Place, wanted: impl Fn(&Value) -> bool, as_json: bool) -> anyhow::Result<()> {
    let mut found = match place.open().await? {
        Opened::Stopped(store) => {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = store.keys(after.as_ref(), PAGE).await?;
                found.extend(page.iter().map(view));
                match page.last() {
                    Some(last) => after = Some(last.id.clone()),
                    None => break found,
                }
            }
        }
        Opened::Running(client) => client.pages(&["keys"]).await?,
    };
    found.retain(wanted);
    if as_json {
        return table::lines(&found);
    }
    let now = moment::write(SystemClock.now());
    let rows = found.iter().map(|key| row(key, &now)).collect();
    table::print(&["id", "holder", "opens", "plan", "created", "state"], rows)
}

/// The cells of a key's row. Moments are written so that their order is that of their texts.
fn row(key: &Value, now: &str) -> Vec<String> {
    let text = |name: &str| key[name].as_str();
    let opens = key["dialects"].as_array().map_or("all".to_owned(), |names| {
        names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
    });
    let state = match (text("revokedAt"), text("expiresAt")) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) if at <= now => format!("expired {at}"),
        (None, Some(at)) => format!("good until {at}"),
        (None, None) => "good".to_owned(),
    };
    vec![
        text("id").unwrap_or_default().to_owned(),
        text("person").or(text("service")).unwrap_or("operator").to_owned(),
        opens,
        text("plan").unwrap_or("own").to_owned(),
        text("createdAt").unwrap_or_default().to_owned(),
        state,
    ]
}

/// A key in the words of the HTTP API, so that both places are shown alike.
fn view(key: &ApiKey) -> Value {
    let (person, service) = match &key.holder {
        Holder::Person(id) => (Some(id.to_string()), None),
        Holder::Service(name) => (None, Some(name.clone())),
        Holder::Operator => (None, None),
    };
    let mut view = json!({
        "id": key.id.to_string(), "person": person, "service": service, "dialects": key.dialects, "plan": key.plan,
        "createdAt": moment::write(key.created_at), "expiresAt": key.expires_at.map(moment::write),
        "revokedAt": key.revoked_at.map(moment::write),
    });
    if let Some(fields) = view.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    view
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_whether_a_key_still_opens_something() {
        let now = "2026-11-20T16:00:00.000Z";
        let state = |key: Value| row(&key, now).pop().unwrap();
        assert_eq!(state(json!({})), "good");
        let later = "2026-11-20T16:00:00.001Z";
        assert_eq!(state(json!({ "expiresAt": later })), format!("good until {later}"));
        assert_eq!(state(json!({ "expiresAt": now })), format!("expired {now}"));
        assert_eq!(state(json!({ "expiresAt": later, "revokedAt": now })), format!("revoked {now}"));
    }
}

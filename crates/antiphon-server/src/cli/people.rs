//! `user`: people, their plans and roles, and their passwords.

use std::io::Write as _;
use std::path::PathBuf;

use antiphon_core::actor::{FALLBACK_PLAN, Person};
use antiphon_core::ids::PersonId;
use antiphon_core::memory::SystemClock;
use antiphon_core::ports::{Clock as _, People as _};
use anyhow::ensure;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};

use super::place::{Opened, Place};
use super::{input, moment, table};
use crate::auth::passwords::Passwords;

/// People that are read at a time.
const PAGE: u32 = 500;

/// People: who they are, and how they log in.
#[derive(Subcommand)]
pub(super) enum User {
    Add(Add),
    List(List),
    Password(Password),
}

/// Add a person, or change the plan and roles of one.
///
/// What is not named stays as it is. `antiphon key create` then makes a key for them.
#[derive(Args)]
#[command(after_help = "Example:\n  antiphon user add ada --plan pro --data /var/lib/antiphon")]
pub(super) struct Add {
    #[command(flatten)]
    place: Place,
    /// Their id: 1 to 128 bytes.
    id: String,
    /// Name of their plan [default: free].
    #[arg(long, value_name = "NAME")]
    plan: Option<String>,
    /// What they are besides themselves. May be given several times; replaces the roles they have.
    #[arg(long = "role", value_name = "NAME")]
    roles: Vec<String>,
}

/// List the people.
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Give a person a password of 8 to 1,024 bytes, or another one.
///
/// It is read from a file or the first line of standard input, never from an argument. Sessions that are open stay open.
#[derive(Args)]
#[command(
    after_help = "Example:\n  openssl rand -base64 18 | tee password | antiphon user password ada --data DIR"
)]
pub(super) struct Password {
    #[command(flatten)]
    place: Place,
    /// The person's id.
    id: String,
    /// A file that holds the password.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl User {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Add(command) => command.run().await,
            Self::List(command) => command.run().await,
            Self::Password(command) => command.run().await,
        }
    }
}

impl Add {
    async fn run(self) -> anyhow::Result<()> {
        let id = PersonId::parse(&self.id)?;
        let roles = Some(self.roles).filter(|roles| !roles.is_empty());
        let person = match self.place.open_or_make().await? {
            Opened::Stopped(store) => {
                let created_at = SystemClock.now();
                let plan = FALLBACK_PLAN.to_owned();
                let known = store.person(&id).await?;
                let mut person =
                    known.unwrap_or(Person { id: id.clone(), plan, roles: Vec::new(), created_at });
                if let Some(plan) = self.plan {
                    ensure!(store.plan(&plan).await?.is_some(), "there is no plan {plan:?}");
                    person.plan = plan;
                }
                person.roles = roles.unwrap_or(person.roles);
                store.put_person(&person).await?;
                store.close().await?;
                view(&person)
            }
            Opened::Running(client) => {
                let mut wanted = json!({});
                if let Some(plan) = self.plan {
                    wanted["plan"] = json!(plan);
                }
                if let Some(roles) = roles {
                    wanted["roles"] = json!(roles);
                }
                client.send_json(Method::PUT, &["people", &self.id], &wanted).await?
            }
        };
        writeln!(
            std::io::stdout(),
            "{id} has the plan {}",
            table::shown(person["plan"].as_str().unwrap_or_default())
        )?;
        Ok(())
    }
}

impl List {
    async fn run(self) -> anyhow::Result<()> {
        let found = match self.place.open().await? {
            Opened::Stopped(store) => {
                let (mut found, mut after) = (Vec::new(), None);
                loop {
                    let page = store.people(after.as_ref(), PAGE).await?;
                    found.extend(page.iter().map(view));
                    match page.last() {
                        Some(last) => after = Some(last.id.clone()),
                        None => break found,
                    }
                }
            }
            Opened::Running(client) => client.pages(&["people"]).await?,
        };
        if self.json {
            return table::lines(&found);
        }
        let rows = found.iter().map(row).collect();
        table::print(&["id", "plan", "roles", "created"], rows)
    }
}

impl Password {
    async fn run(self) -> anyhow::Result<()> {
        let id = PersonId::parse(&self.id)?;
        let password = input::secret(self.password_file.as_deref(), "password")?;
        match self.place.open().await? {
            Opened::Stopped(store) => {
                Passwords::default().set(&store, &id, password.expose().into()).await?;
                store.close().await?;
            }
            Opened::Running(client) => {
                let body = json!({ "password": password.expose() });
                client.send_json(Method::PUT, &["people", &self.id, "password"], &body).await?;
            }
        }
        writeln!(std::io::stdout(), "{id} has a new password")?;
        Ok(())
    }
}

fn row(person: &Value) -> Vec<String> {
    let text = |name: &str| person[name].as_str().unwrap_or_default().to_owned();
    let roles = person["roles"].as_array().map_or(&[][..], Vec::as_slice);
    let roles: Vec<_> = roles.iter().filter_map(Value::as_str).collect();
    vec![text("id"), text("plan"), roles.join(","), text("createdAt")]
}

/// A person in the words of the HTTP API, so that both places are shown alike.
fn view(person: &Person) -> Value {
    json!({
        "id": person.id.as_str(), "plan": person.plan, "roles": person.roles,
        "createdAt": moment::write(person.created_at),
    })
}

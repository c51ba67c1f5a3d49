//! The commands as JSON, one struct each, and how each becomes a command of the core.

use antiphon_core::actor::Claim;
use antiphon_core::agents::{Agent, AgentChange};
use antiphon_core::command::{Command, Once};
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::notices::{Notice, NoticeAction, NoticeKind};
use antiphon_core::presence::Status;
use antiphon_core::refusal::Refusal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::{Draft, Who};
use crate::api::agents::PersonaView;
use crate::api::span::hundred;
use crate::api::topics;

/// Say something to an agent, as the person in `as`. The agent answers.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct PostMessage {
    /// To whom.
    agent: String,
    /// What is said: 1 to 32,768 bytes.
    text: String,
    /// The person's own name for this message: for 24 hours it is stored once.
    client_message_id: Option<String>,
    /// What it costs in tokens, taken from the person's wallet and given back if no answer comes. Default: nothing.
    price: Option<u64>,
}

impl Draft for PostMessage {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::PostMessage {
            agent: AgentId::parse(&self.agent)?,
            person: Claim::NONE,
            text: self.text,
            once: once(self.client_message_id)?,
            price: self.price,
        })
    }
}

/// Have an agent say something to its person without being asked. For the service itself, without `as`.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Speak {
    /// Who says it.
    agent: String,
    /// To whom: the agent's owner.
    person: String,
    /// What is said: 1 to 32,768 bytes.
    text: String,
    /// The service's own name for this message: for 24 hours it is stored once.
    client_message_id: Option<String>,
}

impl Draft for Speak {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::Speak {
            agent: AgentId::parse(&self.agent)?,
            person: PersonId::parse(&self.person)?,
            text: self.text,
            once: once(self.client_message_id)?,
        })
    }
}

/// Read the conversation of the person in `as` with an agent, oldest first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadHistory {
    /// With whom.
    agent: String,
    /// Only messages with a greater position. Default: 0, from the start.
    #[serde(default)]
    after: u64,
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
}

impl Draft for ReadHistory {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let agent = AgentId::parse(&self.agent)?;
        Ok(Command::ReadHistory { agent, person: Claim::NONE, after: self.after, limit: self.limit })
    }
}

/// Add an agent that belongs to the person in `as`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAgent {
    /// Its id: 1 to 128 bytes.
    id: String,
    /// What it is called.
    name: String,
    /// `companion`, `assistant` or whatever its owner calls it. Default: `companion`.
    #[serde(default = "companion")]
    kind: String,
    /// Its character, in the owner's words.
    #[serde(default)]
    personality: String,
    /// What it is for.
    #[serde(default)]
    purpose: String,
    /// How it speaks.
    #[serde(default)]
    tone: String,
    /// `private`, `world` or `public`. Default: `private`.
    #[serde(default = "private")]
    visibility: String,
    /// How it introduces itself.
    persona: Option<PersonaView>,
}

/// What an agent is unless somebody says otherwise.
pub(in crate::api) fn companion() -> String {
    "companion".into()
}

/// Who may see an agent unless somebody says otherwise.
pub(in crate::api) fn private() -> String {
    "private".into()
}

impl Draft for CreateAgent {
    fn command(self, who: &Who<'_>) -> Result<Command, Refusal> {
        let owner =
            who.person.ok_or_else(|| Refusal::invalid("The owner of a new agent is named in `as`."))?;
        let agent = Agent {
            id: AgentId::parse(&self.id)?,
            owner: owner.clone(),
            name: self.name,
            kind: self.kind,
            personality: self.personality,
            purpose: self.purpose,
            tone: self.tone,
            visibility: self.visibility,
            created_at: who.now,
            persona: self.persona.map(|persona| Box::new(persona.into())),
        };
        Ok(Command::CreateAgent { agent: Box::new(agent) })
    }
}

/// Change an agent. Those who watch it hear of it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeAgent {
    /// Which one.
    agent: String,
    /// A new name.
    name: Option<String>,
    /// A new character.
    personality: Option<String>,
    /// A new purpose.
    purpose: Option<String>,
    /// A new tone.
    tone: Option<String>,
    /// A new visibility: `private`, `world` or `public`.
    visibility: Option<String>,
}

impl Draft for ChangeAgent {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let Self { agent, name, personality, purpose, tone, visibility } = self;
        let change = AgentChange { name, personality, purpose, tone, visibility };
        if change == AgentChange::default() {
            return Err(Refusal::invalid("Say what becomes different about the agent."));
        }
        Ok(Command::ChangeAgent { agent: AgentId::parse(&agent)?, change: Box::new(change) })
    }
}

/// Remove an agent. Those who watch it hear of it; what was said with it stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteAgent {
    /// Which one.
    agent: String,
}

impl Draft for DeleteAgent {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::DeleteAgent { agent: AgentId::parse(&self.agent)? })
    }
}

/// Tell a person something outside any conversation. For the service itself, without `as`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendNotice {
    /// Whom.
    person: String,
    /// How urgent it is.
    kind: Urgency,
    /// One line.
    title: String,
    /// One or two sentences.
    message: String,
    /// Something to click.
    action: Option<Action>,
}

/// How urgent a notice is.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::api) enum Urgency {
    /// Good to know.
    Info,
    /// Needs attention soon.
    Warning,
    /// Something went wrong.
    Error,
    /// Something went well.
    Success,
}

/// Something to click.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::api) struct Action {
    /// What the button says.
    label: String,
    /// Where it leads: an http or https address, or a path of the app.
    url: String,
}

/// A notice from its parts.
pub(in crate::api) fn notice(
    kind: Urgency,
    title: String,
    message: String,
    action: Option<Action>,
) -> Result<Notice, Refusal> {
    let kind = match kind {
        Urgency::Info => NoticeKind::Info,
        Urgency::Warning => NoticeKind::Warning,
        Urgency::Error => NoticeKind::Error,
        Urgency::Success => NoticeKind::Success,
    };
    if title.trim().is_empty() {
        return Err(Refusal::invalid("A notice needs a title."));
    }
    let action = match action {
        Some(Action { label, url }) => {
            // Apps put it into a link: what runs a script there, or leads away under the looks of a path, is no address.
            let path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
            if !(url.starts_with("https://") || url.starts_with("http://") || path) {
                return Err(Refusal::invalid(
                    "What a notice leads to is an http or https address, or a path.",
                ));
            }
            Some(NoticeAction { label, url })
        }
        None => None,
    };
    Ok(Notice { kind, title, message, action })
}

impl Draft for SendNotice {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let notice = notice(self.kind, self.title, self.message, self.action)?;
        Ok(Command::SendNotice { person: PersonId::parse(&self.person)?, notice })
    }
}

/// Relay a named value to everybody who listens to a topic. For the service itself, without `as`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Signal {
    /// `everyone`, `person:<id>`, `agent:<id>`, `conversation:<uuid>` or `named:<name>`.
    topic: String,
    /// What the value is called: 1 to 256 bytes.
    name: String,
    /// Any JSON. It is relayed as it is.
    #[schema(value_type = Value)]
    value: Box<RawValue>,
}

impl Draft for Signal {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        topics::check_name(&self.name)?;
        let topic = topics::read(&self.topic)?;
        Ok(Command::Signal { topic, name: self.name.into(), value: self.value.into() })
    }
}

/// Show or stop showing that the person in `as` is typing to an agent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetTyping {
    /// To whom.
    agent: String,
    /// Typing or not.
    active: bool,
}

impl Draft for SetTyping {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let agent = AgentId::parse(&self.agent)?;
        Ok(Command::SetTyping { agent, person: Claim::NONE, active: self.active })
    }
}

/// Say whether the person in `as` is here. Presence belongs to a connection, so over HTTP it is refused.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetPresence {
    /// Here, away or gone.
    status: Presence,
}

/// Whether somebody is here.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = PresenceStatus)]
pub(in crate::api) enum Presence {
    /// Connected.
    Online,
    /// Connected, but looking elsewhere.
    Away,
    /// Not connected.
    Offline,
}

impl Draft for SetPresence {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        let status = match self.status {
            Presence::Online => Status::Online,
            Presence::Away => Status::Away,
            Presence::Offline => Status::Offline,
        };
        Ok(Command::SetPresence { person: Claim::NONE, status })
    }
}

/// Check that the person in `as` may listen to their conversation with an agent. There is no connection to seat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinConversation {
    /// With whom.
    agent: String,
}

impl Draft for JoinConversation {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::JoinConversation { agent: AgentId::parse(&self.agent)?, person: Claim::NONE })
    }
}

/// The opposite of `JoinConversation`. There is no connection that could leave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeaveConversation {
    /// With whom.
    agent: String,
}

impl Draft for LeaveConversation {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::LeaveConversation { agent: AgentId::parse(&self.agent)?, person: Claim::NONE })
    }
}

/// Check that the person in `as` may watch an agent. There is no connection to seat.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WatchAgent {
    /// Which one.
    agent: String,
}

impl Draft for WatchAgent {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::WatchAgent { agent: AgentId::parse(&self.agent)?, person: Claim::NONE })
    }
}

/// The opposite of `WatchAgent`. There is no connection that could leave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnwatchAgent {
    /// Which one.
    agent: String,
}

impl Draft for UnwatchAgent {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::UnwatchAgent { agent: AgentId::parse(&self.agent)?, person: Claim::NONE })
    }
}

pub(super) fn once(key: Option<String>) -> Result<Option<Once>, Refusal> {
    key.map(|key| Once::parse(&key)).transpose()
}

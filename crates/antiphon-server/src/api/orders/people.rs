//! What is asked about personas, bonds and profiles as JSON, one struct each, and how each becomes a command of the core.

use antiphon_core::actor::Claim;
use antiphon_core::command::Command;
use antiphon_core::ids::AgentId;
use antiphon_core::refusal::Refusal;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Draft, Who};
use crate::api::bonds::ProfileView;
use crate::api::span::hundred;

/// Show or stop showing that the person in `as` is typing, to nobody in particular: all their connections see it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShowTyping {
    /// Typing or not.
    active: bool,
}

impl Draft for ShowTyping {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ShowTyping { active: self.active })
    }
}

/// Read which public agents there are, in the order of their ids.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadPersonas {
    /// At most this many, 1 to 1,000. Default: 100.
    #[serde(default = "hundred")]
    limit: u32,
}

impl Draft for ReadPersonas {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadPersonas { limit: self.limit })
    }
}

/// From now on the person in `as` and the agent belong together.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Befriend {
    /// With whom: an agent of the person's own, or a public one.
    agent: String,
}

impl Draft for Befriend {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::Befriend { agent: AgentId::parse(&self.agent)?, person: Claim::NONE })
    }
}

/// Read which agents the person in `as` belongs together with, since the longest first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadBonds {}

impl Draft for ReadBonds {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadBonds { person: Claim::NONE })
    }
}

/// Read what the person in `as` says about themselves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadProfile {}

impl Draft for ReadProfile {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::ReadProfile { person: Claim::NONE })
    }
}

/// Replace what the person in `as` says about themselves.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetProfile {
    /// What they say from now on.
    profile: ProfileView,
}

impl Draft for SetProfile {
    fn command(self, _: &Who<'_>) -> Result<Command, Refusal> {
        Ok(Command::SetProfile { person: Claim::NONE, profile: Box::new(self.profile.into()) })
    }
}

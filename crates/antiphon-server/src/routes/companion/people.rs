//! What there is to know about the person who asks: `GET /user/profile`, `GET /user/stats`.

use antiphon_core::command::{Command, Outcome};
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::people::{Bonded, Profile};
use axum::Json;
use axum::extract::State as Extracted;
use futures_util::future::try_join_all;
use serde::Serialize;

use super::asker::Asker;
use super::boom::Boom;
use super::words::Closeness;
use super::{Counter, State, broken, unexpected};

#[derive(Serialize)]
pub(super) struct Answer {
    success: bool,
    profile: ProfileView,
}

#[derive(Serialize)]
struct ProfileView {
    id: PersonId,
    wallet_address: String,
    name: Option<String>,
    created_at: String,
    token_balance: u64,
    personas: Vec<Chosen>,
    relationships: Vec<Relationship>,
}

#[derive(Serialize)]
struct Chosen {
    id: AgentId,
    name: String,
    #[serde(rename = "type")]
    style: String,
    selected_at: String,
}

#[derive(Serialize)]
struct Relationship {
    persona_id: AgentId,
    persona_name: String,
    persona_type: String,
    persona_age: Option<u32>,
    persona_birthday: String,
    persona_hobbies: String,
    persona_likes: String,
    persona_dislikes: String,
    persona_background: String,
    #[serde(flatten)]
    closeness: Closeness,
    /// When the person last said something to it, or chose it.
    last_interaction: String,
    last_message: String,
    last_message_at: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Statistics {
    success: bool,
    stats: Stats,
}

#[derive(Serialize)]
struct Stats {
    total_messages: u64,
    total_tokens_used: u64,
}

pub(super) async fn profile(Extracted(state): Extracted<State>, asker: Asker) -> Result<Json<Answer>, Boom> {
    let Profile { name, .. } = state.profile_of(&asker).await?;
    let bonds = match state.perform(&asker.caller, Command::ReadBonds { person: asker.claim() }).await? {
        Outcome::Bonds(bonds) => bonds,
        _ => return Err(unexpected("ReadBonds")),
    };
    let known = try_join_all(bonds.into_iter().map(|bonded| state.known(bonded))).await?;
    let (personas, relationships) = known.into_iter().flatten().unzip();
    let profile = ProfileView {
        created_at: state.created_at(&asker.person).await?,
        token_balance: state.balance_of(&asker).await?,
        id: asker.person,
        wallet_address: asker.address,
        name,
        personas,
        relationships,
    };
    Ok(Json(Answer { success: true, profile }))
}

pub(super) async fn stats(
    Extracted(state): Extracted<State>,
    asker: Asker,
) -> Result<Json<Statistics>, Boom> {
    let store = &state.shared().app.ports().store;
    let (person, failed) = (&asker.person, broken("adding up what somebody did"));
    let read = async { Ok((store.said_by(person).await?, store.spent(person).await?)) };
    let (total_messages, total_tokens_used) = read.await.map_err(failed)?;
    Ok(Json(Statistics { success: true, stats: Stats { total_messages, total_tokens_used } }))
}

impl Counter {
    /// What the person says about themselves.
    pub(super) async fn profile_of(&self, asker: &Asker) -> Result<Profile, Boom> {
        match self.perform(&asker.caller, Command::ReadProfile { person: asker.claim() }).await? {
            Outcome::Profile(profile) => Ok(*profile),
            _ => Err(unexpected("ReadProfile")),
        }
    }

    /// How many tokens they have.
    pub(super) async fn balance_of(&self, asker: &Asker) -> Result<u64, Boom> {
        match self.perform(&asker.caller, Command::ReadBalance { person: asker.claim() }).await? {
            Outcome::Balance(balance) => Ok(balance.tokens),
            _ => Err(unexpected("ReadBalance")),
        }
    }

    /// When they were added.
    pub(super) async fn created_at(&self, person: &PersonId) -> Result<String, Boom> {
        let store = &self.shared().app.ports().store;
        let found = store.person(person).await.map_err(broken("looking a person up"))?;
        Ok(found.map(|person| person.created_at.iso()).unwrap_or_default())
    }

    /// The persona of a bond, and how things are with it. Nothing if it was deleted just now.
    async fn known(&self, bonded: Bonded) -> Result<Option<(Chosen, Relationship)>, Boom> {
        let Bonded { bond, relation, last, active_at } = bonded;
        let store = &self.shared().app.ports().store;
        let agent = store.agent(&bond.agent).await.map_err(broken("looking an agent up"))?;
        let Some(agent) = agent else { return Ok(None) };
        let persona = agent.persona.map(|persona| *persona).unwrap_or_default();
        let chosen = Chosen {
            id: agent.id.clone(),
            name: agent.name.clone(),
            style: persona.style.clone(),
            selected_at: bond.since.iso(),
        };
        let relationship = Relationship {
            persona_id: agent.id,
            persona_name: agent.name,
            persona_type: persona.style,
            persona_age: persona.age,
            persona_birthday: persona.birthday,
            persona_hobbies: persona.hobbies,
            persona_likes: persona.likes,
            persona_dislikes: persona.dislikes,
            persona_background: persona.background,
            closeness: Closeness::of(&relation),
            last_interaction: active_at.unwrap_or(bond.since).iso(),
            last_message_at: last.as_ref().map(|message| message.at.iso()),
            last_message: last.map_or_else(|| "No messages yet".into(), |message| message.text),
        };
        Ok(Some((chosen, relationship)))
    }
}

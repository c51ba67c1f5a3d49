//! Whom one can talk to, and whom one has chosen: `GET /personas`, `POST /user/select-persona`.

use antiphon_core::actor::Caller;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::dialect::Credential;
use antiphon_core::ids::AgentId;
use antiphon_core::refusal::Code;
use axum::extract::State as Extracted;
use axum::{Extension, Json};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::asker::Asker;
use super::body::Text;
use super::boom::Boom;
use super::words::PersonaView;
use super::{DIALECT, State, unexpected};
use crate::transport::handler::Client;

/// Most personas that are listed.
const MOST: u32 = 1_000;

const NEEDED: &str = "This needs persona_id as text.";

#[derive(Serialize)]
pub(super) struct Personas {
    success: bool,
    personas: Vec<PersonaView>,
}

#[derive(Deserialize)]
struct Choice {
    persona_id: String,
}

#[derive(Serialize)]
pub(super) struct Chosen {
    success: bool,
    message: String,
    persona: PersonaView,
}

/// For anybody.
pub(super) async fn list(
    Extracted(state): Extracted<State>,
    Extension(Client(address)): Extension<Client>,
) -> Result<Json<Personas>, Boom> {
    let shared = state.shared();
    if let Some(place) = shared.crowd.place(address) {
        state.strangers.count(place, 1)?;
    }
    let actor = shared.auth.authenticate(&Credential::None, DIALECT, state.desk.now()).await?;
    let caller = Caller { actor, connection: None };
    match state.perform(&caller, Command::ReadPersonas { limit: MOST }).await? {
        Outcome::Personas(personas) => {
            let personas = personas.into_iter().map(PersonaView::from).collect();
            Ok(Json(Personas { success: true, personas }))
        }
        _ => Err(unexpected("ReadPersonas")),
    }
}

/// Choosing twice is choosing once.
pub(super) async fn select(
    Extracted(state): Extracted<State>,
    asker: Asker,
    text: Text,
) -> Result<Json<Chosen>, Boom> {
    let Choice { persona_id } = text.object(NEEDED)?;
    let not_found = || Boom::new(StatusCode::NOT_FOUND, "Persona not found");
    let agent = AgentId::parse(&persona_id).map_err(|_| not_found())?;
    match state.perform(&asker.caller, Command::Befriend { agent, person: asker.claim() }).await {
        Ok(Outcome::Befriended { agent, .. }) => {
            let message = format!("You are now connected with {}!", agent.name);
            Ok(Json(Chosen { success: true, message, persona: PersonaView::from(*agent) }))
        }
        Ok(_) => Err(unexpected("Befriend")),
        Err(refusal) if refusal.code == Code::NotFound => Err(not_found()),
        Err(refusal) => Err(refusal.into()),
    }
}

//! What was said: `GET /chat/history`, a page at a time.

use antiphon_core::command::{Command, Outcome};
use antiphon_core::conversation::Party;
use antiphon_core::ids::{AgentId, ConversationId, MessageId};
use antiphon_core::refusal::Code;
use axum::Json;
use axum::extract::State as Extracted;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::asker::Asker;
use super::body::Asked;
use super::boom::Boom;
use super::{State, broken, unexpected};

/// Messages of the largest page.
const LARGEST: u32 = 100;

#[derive(Deserialize)]
pub(super) struct Which {
    persona_id: Option<String>,
    #[serde(default = "first")]
    page: u64,
    #[serde(default = "fifty")]
    limit: u32,
}

#[derive(Serialize)]
pub(super) struct History {
    success: bool,
    data: Page,
}

/// Messages oldest first, in pages that begin with the first that was ever said.
#[derive(Serialize)]
struct Page {
    messages: Vec<MessageView>,
    pagination: Pagination,
}

#[derive(Serialize)]
struct Pagination {
    page: u64,
    limit: u32,
    total: u64,
    total_pages: u64,
}

#[derive(Serialize)]
struct MessageView {
    id: MessageId,
    role: &'static str,
    content: String,
    created_at: String,
}

pub(super) async fn history(
    Extracted(state): Extracted<State>,
    Asked(Which { persona_id, page, limit }): Asked<Which>,
    asker: Asker,
) -> Result<Json<History>, Boom> {
    let persona = persona_id.ok_or_else(|| Boom::bad_request("\"persona_id\" is required"))?;
    if page == 0 || !(1..=LARGEST).contains(&limit) {
        return Err(Boom::bad_request("Pages begin with 1 and have 1 to 100 messages."));
    }
    let not_found = || Boom::new(StatusCode::NOT_FOUND, "Persona not found");
    let agent = AgentId::parse(&persona).map_err(|_| not_found())?;
    let conversation = ConversationId::direct(&agent, &asker.person);
    // Positions have no holes, so that a page begins at a position.
    let after = (page - 1).saturating_mul(limit.into());
    let read = Command::ReadHistory { agent, person: asker.claim(), after, limit };
    let messages = match state.perform(&asker.caller, read).await {
        Ok(Outcome::History(messages)) => messages,
        Ok(_) => return Err(unexpected("ReadHistory")),
        Err(refusal) if refusal.code == Code::NotFound => return Err(not_found()),
        Err(refusal) => return Err(refusal.into()),
    };
    let store = &state.shared().app.ports().store;
    let total = store.count(conversation).await.map_err(broken("counting messages"))?;
    let messages = messages.into_iter().map(|message| MessageView {
        id: message.id,
        role: match message.author {
            Party::Person => "user",
            Party::Agent => "ai",
        },
        content: message.text,
        created_at: message.at.iso(),
    });
    let pagination = Pagination { page, limit, total, total_pages: total.div_ceil(limit.into()) };
    Ok(Json(History { success: true, data: Page { messages: messages.collect(), pagination } }))
}

fn first() -> u64 {
    1
}

fn fifty() -> u32 {
    50
}

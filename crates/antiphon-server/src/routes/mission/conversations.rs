//! What people and agents say to each other: listing it, reading it, and saying more.

use antiphon_core::access;
use antiphon_core::actor::{Claim, Principal};
use antiphon_core::command::{Command, Once, Outcome};
use antiphon_core::conversation::Message;
use antiphon_core::ids::{AgentId, ConversationId, PersonId, Timestamp};
use antiphon_core::refusal::Refusal;
use antiphon_dialects::mission::MessageTold;
use antiphon_dialects::mission::moment::Naive;
use axum::extract::State as Extracted;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::State;
use super::body::{Asked, Body, Named, hundred, id};
use super::caller::Asker;
use super::problem::Problem;
use super::{both, broken};

pub(super) fn routes(router: Router<State>) -> Router<State> {
    let router = both(router, "/conversations", get(list).post(open));
    let router = both(router, "/conversations/{conversation_id}", get(read));
    both(router, "/conversations/{conversation_id}/messages", get(messages).post(say))
}

/// A conversation as this API knows it.
#[derive(Serialize)]
struct View {
    id: String,
    /// It goes on for as long as anybody likes.
    status: &'static str,
    agent_id: String,
    user_id: String,
    message_count: u64,
    updated_at: Option<Naive>,
}

/// A message, and where it stands.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    message: MessageTold<'a>,
    conversation_id: ConversationId,
    /// Its position in the conversation: what `after` of a list means.
    position: u64,
}

#[derive(Deserialize)]
struct Span {
    /// Only conversations whose id comes after this one.
    after: Option<String>,
    #[serde(default = "hundred")]
    limit: u32,
}

#[derive(Deserialize)]
struct Page {
    /// Only messages in a later place.
    #[serde(default)]
    after: u64,
    #[serde(default = "hundred")]
    limit: u32,
}

/// Who is to talk.
#[derive(Deserialize)]
struct Pair {
    agent_id: String,
    /// Needed from a backend, which is nobody itself.
    user_id: Option<String>,
}

/// Something to say: `content`, or `payload.text`.
#[derive(Deserialize)]
struct NewMessage {
    content: Option<String>,
    payload: Option<Payload>,
    /// Who says it, the person if nobody says; a backend may have the agent speak.
    sender_id: Option<String>,
    /// To whom; needed for the first message of a conversation.
    recipient_id: Option<String>,
    /// The sender's own name for this message: for 24 hours it is stored once.
    client_message_id: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    text: String,
}

async fn list(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Asked(Span { after, limit }): Asked<Span>,
) -> Result<Json<Vec<View>>, Problem> {
    let after = after.as_deref().map(|text| id("after", text)).transpose()?;
    let read = asker.order(&state, Command::ReadConversations { after, limit }).await?;
    let Outcome::Conversations(latest) = read else { return Err(Refusal::internal().into()) };
    Ok(Json(latest.iter().map(View::of).collect()))
}

/// A conversation is there as soon as two may talk: this says what it is called.
async fn open(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Body(Pair { agent_id, user_id }): Body<Pair>,
) -> Result<(StatusCode, Json<View>), Problem> {
    let agent: AgentId = id("agent_id", &agent_id)?;
    let named = user_id.as_deref().map(PersonId::parse).transpose();
    let named = named.map_err(|refusal| Problem::wrong(&["body", "user_id"], refusal.message))?;
    let claim = named.map_or(Claim::NONE, Claim::of);
    let person = access::identity(&asker.actor, &claim)?.clone();
    let read = Command::ReadHistory { agent: agent.clone(), person: claim, after: 0, limit: 1 };
    asker.order(&state, read).await?;
    let conversation = ConversationId::direct(&agent, &person);
    let last = state.store().recent(conversation, 1).await.map_err(broken)?.pop();
    let view = last.as_ref().map_or_else(|| View::silent(conversation, &agent, &person), View::of);
    Ok((StatusCode::CREATED, Json(view)))
}

async fn read(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(conversation): Named<ConversationId>,
) -> Result<Json<View>, Problem> {
    // Whoever may read its beginning may know how long it is.
    asker.order(&state, Command::ReadConversation { conversation, after: 0, limit: 1 }).await?;
    let last = state.store().recent(conversation, 1).await.map_err(broken)?.pop();
    last.as_ref().map(|last| Json(View::of(last))).ok_or_else(missing)
}

async fn messages(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(conversation): Named<ConversationId>,
    Asked(Page { after, limit }): Asked<Page>,
) -> Result<Response, Problem> {
    let read = asker.order(&state, Command::ReadConversation { conversation, after, limit }).await?;
    let Outcome::History(messages) = read else { return Err(Refusal::internal().into()) };
    Ok(Json(messages.iter().map(Told::of).collect::<Vec<_>>()).into_response())
}

async fn say(
    Extracted(state): Extracted<State>,
    asker: Asker,
    Named(conversation): Named<ConversationId>,
    Body(new): Body<NewMessage>,
) -> Result<Response, Problem> {
    let text = match (new.content, new.payload) {
        (Some(text), _) | (None, Some(Payload { text })) => text,
        (None, None) => return Err(Problem::wrong(&["body", "content"], "A message has a text.")),
    };
    let once = new.client_message_id.as_deref().map(Once::parse).transpose()?;
    let (agent, person) = pair(&state, &asker, conversation, new.recipient_id.as_deref()).await?;
    let command = match new.sender_id.as_deref() {
        Some(sender) if sender == agent.as_str() => Command::Speak { agent, person, text, once },
        None => Command::PostMessage { agent, person: Claim::of(person), text, once, price: None },
        Some(sender) if sender == person.as_str() => {
            Command::PostMessage { agent, person: Claim::of(person), text, once, price: None }
        }
        Some(_) => {
            return Err(Problem::wrong(&["body", "sender_id"], "Somebody else talks in this conversation."));
        }
    };
    let Outcome::Posted { seq, .. } = asker.order(&state, command).await? else {
        return Err(Refusal::internal().into());
    };
    let stored = state.store().history(conversation, seq - 1, 1).await.map_err(broken)?;
    let stored = stored.first().ok_or_else(Refusal::internal)?;
    Ok((StatusCode::CREATED, Json(Told::of(stored))).into_response())
}

/// Who talks in a conversation: as its messages say, or, while there are none, the person who asks and the agent that they name.
async fn pair(
    state: &State,
    asker: &Asker,
    conversation: ConversationId,
    recipient: Option<&str>,
) -> Result<(AgentId, PersonId), Problem> {
    let read = asker.order(state, Command::ReadConversation { conversation, after: 0, limit: 1 }).await;
    if let Ok(Outcome::History(messages)) = &read
        && let [first, ..] = messages.as_slice()
    {
        return Ok((first.agent.clone(), first.person.clone()));
    }
    if let (Principal::Person(person), Some(recipient)) = (&asker.actor.principal, recipient) {
        let agent = id("recipient_id", recipient)?;
        if ConversationId::direct(&agent, person) == conversation {
            return Ok((agent, person.clone()));
        }
    }
    read.and(Err(missing()))
}

fn missing() -> Problem {
    Refusal::not_found("Conversation not found").into()
}

impl View {
    fn of(last: &Message) -> Self {
        let (id, at) = (last.conversation, Some(last.at));
        Self::new(id, &last.agent, &last.person, last.seq, at)
    }

    fn silent(id: ConversationId, agent: &AgentId, person: &PersonId) -> Self {
        Self::new(id, agent, person, 0, None)
    }

    fn new(
        id: ConversationId,
        agent: &AgentId,
        person: &PersonId,
        message_count: u64,
        at: Option<Timestamp>,
    ) -> Self {
        Self {
            id: id.to_string(),
            status: "active",
            agent_id: agent.to_string(),
            user_id: person.to_string(),
            message_count,
            updated_at: at.map(Naive),
        }
    }
}

impl<'a> Told<'a> {
    fn of(message: &'a Message) -> Self {
        Self {
            message: MessageTold::of(message),
            conversation_id: message.conversation,
            position: message.seq,
        }
    }
}

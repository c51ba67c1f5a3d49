//! Saying something to a persona: `POST /chat`, with the answer in the response.

use antiphon_core::agents::Relation;
use antiphon_core::command::{Command, Outcome};
use antiphon_core::conversation::Message;
use antiphon_core::ids::{AgentId, ConversationId, MessageId, PersonId, Timestamp};
use antiphon_core::refusal::{Code, Fault};
use axum::Json;
use axum::extract::State as Extracted;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};

use super::answers::{Heard, Wait};
use super::asker::Asker;
use super::body::{Asked, Text};
use super::boom::Boom;
use super::words::{Closeness, Said};
use super::{Counter, State, broken, stream, unexpected};

/// Longest message, in UTF-16 units, as JavaScript counts.
const LONGEST: usize = 2_000;

/// So many words cost one token.
const WORDS_PER_TOKEN: usize = 5;

const NEEDED: &str = "This needs persona_id and message as text; the message has 1 to 2000 characters.";

/// What somebody says.
#[derive(Deserialize)]
pub(super) struct Saying {
    persona_id: String,
    message: String,
}

#[derive(Deserialize)]
pub(super) struct How {
    stream: Option<String>,
}

/// A message that was stored, and that waits for its answer.
pub(super) struct Conversing {
    /// The message.
    pub(super) question: Message,
    person: PersonId,
    /// How many more the person may say within the minute; none if there is no limit.
    remaining: Option<usize>,
    wait: Wait,
}

/// What becomes of a message.
pub(super) enum Step {
    /// The persona begins to answer.
    Begun(Timestamp),
    /// There is an answer, or there is none.
    Ended(Result<Exchange, Boom>),
}

/// What a message and its answer came to.
#[derive(Serialize)]
pub(super) struct Exchange {
    user_message: Said,
    ai_message: Said,
    relationship: Closeness,
    rate_limit: Remaining,
}

#[derive(Serialize)]
struct Remaining {
    remaining: Option<usize>,
}

pub(super) async fn chat(
    Extracted(state): Extracted<State>,
    Asked(How { stream }): Asked<How>,
    asker: Asker,
    text: Text,
) -> Result<Response, Boom> {
    let saying: Saying = text.object(NEEDED)?;
    if !(1..=LONGEST).contains(&saying.message.encode_utf16().count()) {
        return Err(Boom::bad_request(NEEDED));
    }
    if stream.is_some_and(|stream| stream == "true") {
        return Ok(stream::answer(state, asker, saying));
    }
    #[derive(Serialize)]
    struct Answered {
        success: bool,
        data: Exchange,
    }
    let mut conversing = state.say(&asker, saying).await?;
    let data = loop {
        if let Step::Ended(exchange) = state.follow(&mut conversing).await {
            break exchange?;
        }
    };
    Ok(Json(Answered { success: true, data }).into_response())
}

impl Counter {
    /// Has the person say it, if they have chosen the persona, are not too fast, and can pay.
    pub(super) async fn say(&self, asker: &Asker, saying: Saying) -> Result<Conversing, Boom> {
        let person = &asker.person;
        let taken = self.messages.take(person).map_err(|wait| {
            let message = "Too many messages. Please wait a moment before you send more.";
            Boom::new(StatusCode::TOO_MANY_REQUESTS, message).after(wait)
        })?;
        let not_selected = || Boom::bad_request("Persona not selected. Please select this persona first.");
        let agent = AgentId::parse(&saying.persona_id).map_err(|_| not_selected())?;
        let store = &self.shared().app.ports().store;
        let bond = store.bond(person, &agent).await.map_err(broken("looking a bond up"))?;
        bond.ok_or_else(not_selected)?;

        let wait = self.answers.listen(ConversationId::direct(&agent, person), person.clone());
        let price = price(&saying.message);
        let post = Command::PostMessage {
            agent,
            person: asker.claim(),
            text: saying.message,
            once: None,
            price: Some(price),
        };
        let (id, conversation, seq) = match self.perform(&asker.caller, post).await {
            Ok(Outcome::Posted { id, conversation, seq, .. }) => (id, conversation, seq),
            Ok(_) => return Err(unexpected("PostMessage")),
            Err(refusal) => {
                return Err(match refusal.code {
                    Code::Insufficient { .. } => Boom::new(
                        StatusCode::PAYMENT_REQUIRED,
                        "Insufficient token balance. Please top up to continue chatting.",
                    ),
                    Code::NotFound => Boom::new(StatusCode::NOT_FOUND, "Persona not found"),
                    _ => refusal.into(),
                });
            }
        };
        let remaining = taken.remaining;
        taken.keep();
        let question = self.message(conversation, seq, id).await.map_err(broken("reading a message"))?;
        Ok(Conversing { question, person: person.clone(), remaining, wait })
    }

    /// What becomes of the message next. All sockets of the person have been told before.
    pub(super) async fn follow(&self, conversing: &mut Conversing) -> Step {
        let ended = match conversing.wait.next(conversing.question.id).await {
            Heard::Started(at) => return Step::Begun(at),
            Heard::Finished(answer, relation) => Ok(conversing.exchange(*answer, &relation)),
            Heard::Failed => Err(Boom::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The persona could not answer. Your tokens are back; please try again.",
            )),
            Heard::Nothing => Err(Boom::new(
                StatusCode::GATEWAY_TIMEOUT,
                "The persona has not answered yet. The answer will be in the history.",
            )),
        };
        self.told(&conversing.person).await;
        Step::Ended(ended)
    }

    async fn message(&self, conversation: ConversationId, seq: u64, id: MessageId) -> Result<Message, Fault> {
        let store = &self.shared().app.ports().store;
        let found = store.history(conversation, seq.saturating_sub(1), 1).await?;
        let stored = found.into_iter().find(|message| message.id == id);
        stored.ok_or_else(|| Fault::new("a message that was just stored is not there"))
    }
}

impl Conversing {
    fn exchange(&self, answer: Message, relation: &Relation) -> Exchange {
        Exchange {
            user_message: self.question.clone().into(),
            ai_message: answer.into(),
            relationship: Closeness::of(relation),
            rate_limit: Remaining { remaining: self.remaining },
        }
    }
}

/// What a message costs: a token for every five words begun, at least one.
fn price(text: &str) -> u64 {
    text.split_whitespace().count().div_ceil(WORDS_PER_TOKEN).max(1) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_words_cost_a_token_and_nothing_is_free() {
        for (text, tokens) in [
            ("", 1),
            ("hi", 1),
            ("one two three four five", 1),
            ("one two three four five six", 2),
            (" one\ttwo\nthree  four five ", 1),
        ] {
            assert_eq!(price(text), tokens, "{text:?}");
        }
        assert_eq!(price(&"word ".repeat(400)), 80);
    }
}

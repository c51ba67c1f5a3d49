//! What a request brings: a JSON body, query parameters and the ids in its path, each refused with its place when it is wrong.

use antiphon_core::ids::{AgentId, ConversationId, TaskId};
use antiphon_core::refusal::Refusal;
use antiphon_dialects::Object;
use antiphon_dialects::mission::words::Word;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::State;
use super::problem::Problem;
use crate::api::{DEPTH, nests_within};

/// A JSON object as a `T`. Members that `T` does not have are passed over, as the documented server does.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<State> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        read(&text(request, state).await?).map(Self)
    }
}

/// The same, for requests that need not have a body: none is an object without members.
pub(super) struct Perhaps<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<State> for Perhaps<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let text = text(request, state).await?;
        read(if text.trim_ascii().is_empty() { b"{}" } else { &text }).map(Self)
    }
}

/// The body, which is whole and not too large.
async fn text(request: Request, state: &State) -> Result<Bytes, Problem> {
    let read = Bytes::from_request(request, state).await;
    read.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    if !nests_within(text, DEPTH) {
        return Err(Problem::wrong(
            &["body"],
            format!("The body nests more than {DEPTH} arrays and objects."),
        ));
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let read = serde_path_to_error::deserialize::<_, Object<T>>(&mut json).map_err(|error| {
        if !error.inner().is_data() {
            return Problem::wrong(&["body"], "This is not JSON.");
        }
        let path = error.path().to_string();
        let parts = path.split('.').filter(|part| !part.is_empty());
        let place: Vec<&str> = ["body"].into_iter().chain(parts).collect();
        Problem::wrong(&place, said(&error.inner().to_string()))
    })?;
    json.end().map_err(|_| Problem::wrong(&["body"], "This is not JSON."))?;
    Ok(read.0)
}

/// What serde says, without where in the text that is and without the text that stands in the wrong place.
fn said(error: &str) -> String {
    let said = error.rfind(" at line ").map_or(error, |end| &error[..end]);
    match (said.find("string \""), said.rfind("\", expected ")) {
        (Some(from), Some(to)) if from < to => format!("{}text{}", &said[..from], &said[to + 1..]),
        _ => said.to_owned(),
    }
}

/// Query parameters as a `T`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<State> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Problem::wrong(&["query"], rejection.body_text())),
        }
    }
}

/// The one id in the path.
pub(super) struct Named<T>(pub(super) T);

impl<T: Id> FromRequestParts<State> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let wrong = |message: String| Problem::wrong(&["path", T::NAME], message);
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => T::read(&text).map(Self).map_err(|refusal| wrong(refusal.message.into_owned())),
            Err(rejection) => Err(wrong(rejection.body_text())),
        }
    }
}

/// What paths and bodies name something by.
pub(super) trait Id: Sized {
    /// What the parameter is called.
    const NAME: &'static str;

    /// Reads it.
    fn read(text: &str) -> Result<Self, Refusal>;
}

impl Id for AgentId {
    const NAME: &'static str = "agent_id";

    fn read(text: &str) -> Result<Self, Refusal> {
        Self::parse(text)
    }
}

impl Id for TaskId {
    const NAME: &'static str = "task_id";

    fn read(text: &str) -> Result<Self, Refusal> {
        Uuid::parse_str(text).map(Self).map_err(|_| Refusal::invalid("A task is named by its UUID."))
    }
}

impl Id for ConversationId {
    const NAME: &'static str = "conversation_id";

    fn read(text: &str) -> Result<Self, Refusal> {
        Uuid::parse_str(text).map(Self).map_err(|_| Refusal::invalid("A conversation is named by its UUID."))
    }
}

/// The id that a body names as `name`.
pub(super) fn id<T: Id>(name: &str, text: &str) -> Result<T, Problem> {
    T::read(text).map_err(|refusal| Problem::wrong(&["body", name], refusal.message))
}

/// The word that a request says under `place`.
pub(super) fn word<T: Word>(place: &[&str], word: &str) -> Result<T, Problem> {
    T::read(word).ok_or_else(|| {
        let words: Vec<_> = T::ALL.iter().map(|one| one.word()).collect();
        Problem::wrong(place, format!("This is one of: {}.", words.join(", ")))
    })
}

/// JSON of a body that is passed on unread; `null` and nothing are `otherwise`.
pub(super) fn json(value: Option<Box<RawValue>>, otherwise: &str) -> String {
    value
        .filter(|value| value.get() != "null")
        .map_or_else(|| otherwise.to_owned(), |value| value.get().to_owned())
}

/// How long a list is when nobody says.
pub(super) fn hundred() -> u32 {
    100
}

#[cfg(test)]
mod tests {
    use antiphon_core::tasks::Priority;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Draft {
        #[expect(dead_code, reason = "only what is wrong with it is looked at")]
        title: String,
    }

    fn wrong(text: &str) -> Problem {
        read::<Draft>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_without_what_was_sent() {
        assert!(read::<Draft>(br#"{"title":"a","more":[]}"#).is_ok());
        assert_eq!(wrong("{}"), Problem::wrong(&["body"], "missing field `title`"));
        assert_eq!(
            wrong(r#"{"title":7}"#),
            Problem::wrong(&["body", "title"], "invalid type: integer `7`, expected a string")
        );
        assert_eq!(wrong(r#""secret""#), Problem::wrong(&["body"], "invalid type: text, expected an object"));
        assert_eq!(
            wrong(r#"["a"]"#),
            Problem::wrong(&["body"], "invalid type: sequence, expected an object")
        );
        let deep = format!(r#"{{"title":"a","more":{}1{}}}"#, "[".repeat(64), "]".repeat(64));
        assert_eq!(
            wrong(&deep),
            Problem::wrong(&["body"], "The body nests more than 64 arrays and objects.")
        );
        for text in ["", "{", r#"{"title":"a"} b"#, "{'title':1}"] {
            assert_eq!(wrong(text), Problem::wrong(&["body"], "This is not JSON."), "{text}");
        }
    }

    #[test]
    fn an_unknown_word_is_told_the_known_ones() {
        assert_eq!(word::<Priority>(&["body", "priority"], "high"), Ok(Priority::High));
        assert_eq!(
            word::<Priority>(&["body", "priority"], "urgent"),
            Err(Problem::wrong(&["body", "priority"], "This is one of: low, medium, high, critical."))
        );
    }
}

//! What a request brings: a JSON body, query parameters, and the ids in its path, each refused in words when it is wrong.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

use antiphon_core::refusal::{Code, Refusal};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::State;
use super::problem::Problem;

/// How alike two names must be for one to be offered in place of the other, from 0 to 1.
const ALIKE: f64 = 0.75;

/// Bytes of what a client sent, or of what is wrong with it, that a refusal repeats.
const LONGEST: usize = 400;

/// Arrays and objects that may be open at any place of a body.
pub(crate) const DEPTH: usize = 64;

/// A JSON body as a `T`.
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<State> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let Text(text) = Text::from_request(request, state).await?;
        object(&text).map(Self)
    }
}

/// A JSON body that is not yet looked into: sent as JSON, not too large, and not nested too deeply.
pub(super) struct Text(pub(super) Bytes);

impl FromRequest<State> for Text {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            let refused = Problem::invalid("The body is sent with Content-Type: application/json.");
            return Err(refused.with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let limit = state.settings.max_body;
        let body = Limited::new(request.into_body(), limit).collect();
        let wait = Duration::from_millis(state.shared.limits.request);
        let bytes = match tokio::time::timeout(wait, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if is_too_large(&*error) => {
                let message = format!("A body has at most {limit} bytes.");
                return Err(Refusal::new(Code::TooLarge, message).into());
            }
            Ok(Err(_)) => return Err(Problem::invalid("The body ended early.")),
            Err(_) => {
                let refused = Problem::invalid("The body took too long to arrive.");
                return Err(refused.with_status(StatusCode::REQUEST_TIMEOUT));
            }
        };
        if !nests_within(&bytes, DEPTH) {
            return Err(Problem::invalid(format!("The body nests more than {DEPTH} arrays and objects.")));
        }
        Ok(Self(bytes))
    }
}

/// Query parameters as a `T`.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<State> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(rejection) => Err(Problem::invalid(sentence(&cause(&rejection)))),
        }
    }
}

/// The parameters of the path as a `T`: a string, or a tuple of them in their order.
pub(super) struct Place<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<State> for Place<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(place)) => Ok(Self(place)),
            Err(rejection) => Err(Problem::invalid(sentence(&rejection.body_text()))),
        }
    }
}

/// `text` as a `T`, or a sentence that says where it is wrong and which name was probably meant.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    match Json::from_bytes(text) {
        Ok(Json(value)) => Ok(value),
        Err(JsonRejection::JsonDataError(error)) => {
            // What is wrong is named by its path; where in the text that is helps nobody.
            let cause = cause(&error);
            let said = cause.rfind(" at line ").map_or(&*cause, |end| &cause[..end]);
            Err(Problem::invalid(sentence(&discreet(said))))
        }
        Err(rejection) => {
            Err(Problem::invalid(sentence(&format!("The body is not JSON: {}", cause(&rejection)))))
        }
    }
}

/// The same for a body that has to be an object: serde would also read its members from a list, in the order of the code.
pub(super) fn object<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    match text.trim_ascii_start().first() {
        Some(b'{') | None => parse(text),
        Some(_) => Err(Problem::invalid("The body is a JSON object.")),
    }
}

/// The one of `known` that is most like `name`, if any is.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A name that goes on for ever is like none, and comparing it would take as long.
    let name = name.get(..LONGEST).unwrap_or(name).to_lowercase();
    let rated = known.into_iter().map(|known| (strsim::jaro_winkler(&name, &known.to_lowercase()), known));
    let (alike, best) = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (alike >= ALIKE).then_some(best)
}

/// `text`, cut where a client would have to read on for too long.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let end = (0..=LONGEST).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &text[..end])
}

/// What is wrong, without the library's preface.
fn cause(rejection: &dyn Error) -> String {
    rejection.source().map_or_else(|| rejection.to_string(), ToString::to_string)
}

/// What serde says, without the text that stands in the wrong place: it may be a secret that belongs to another one.
fn discreet(said: &str) -> Cow<'_, str> {
    match (said.find("string \""), said.rfind("\", expected ")) {
        (Some(from), Some(to)) if from < to => format!("{}text{}", &said[..from], &said[to + 1..]).into(),
        _ => said.into(),
    }
}

/// What serde says as a sentence, with the name that was probably meant.
fn sentence(said: &str) -> String {
    match meant(said) {
        Some(name) => format!("{}. Did you mean `{name}`?", cut(said)),
        None => format!("{}.", cut(said)),
    }
}

/// The known name that is most like the unknown one: "unknown field `a`, expected one of `b`, `c`".
fn meant(said: &str) -> Option<&str> {
    let (_, said) = said.split_once("unknown ")?;
    let mut names = said.split('`').skip(1).step_by(2);
    nearest(names.next()?, names)
}

/// Whether the body is said to be JSON, of whatever kind.
fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    let causes = std::iter::successors(Some(error), |error: &&(dyn Error + 'static)| (*error).source());
    causes.into_iter().any(|error| error.is::<LengthLimitError>())
}

/// Whether no more than `limit` arrays and objects are open at any place of `text`. Needs no valid JSON, so that it can run
/// first: what is relayed unread must not be a burden to those who read it.
pub(crate) fn nests_within(text: &[u8], limit: usize) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text {
        match (quoted, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, false, b'"') => quoted = !quoted,
            (false, _, b'[' | b'{') if depth == limit => return false,
            (false, _, b'[' | b'{') => depth += 1,
            (false, _, b']' | b'}') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    struct Draft {
        #[expect(dead_code, reason = "only what is wrong with it is looked at")]
        text: String,
        #[expect(dead_code, reason = "only what is wrong with it is looked at")]
        client_message_id: Option<String>,
    }

    fn refusal(text: &str) -> String {
        parse::<Draft>(text.as_bytes()).unwrap_err().view().detail
    }

    #[test]
    fn what_is_wrong_is_said_with_the_name_that_was_meant() {
        let table = [
            (
                r#"{"txt":"a"}"#,
                "txt: unknown field `txt`, expected `text` or `clientMessageId`. Did you mean `text`?",
            ),
            (r#"{"zzz":"a"}"#, "zzz: unknown field `zzz`, expected `text` or `clientMessageId`."),
            (r#"{"text":5}"#, "text: invalid type: integer `5`, expected a string."),
            (r#"{"text":{"a":"b"}}"#, "text: invalid type: map, expected a string."),
            ("{}", "missing field `text`."),
            (r#"{"text":"#, "The body is not JSON: text: EOF while parsing a value at line 1 column 8."),
            (r#"{"text":"a"} b"#, "The body is not JSON: trailing characters at line 1 column 14."),
        ];
        for (text, expected) in table {
            assert_eq!(refusal(text), expected, "{text}");
        }
    }

    #[test]
    fn p21_what_stands_in_the_wrong_place_is_not_said_back() {
        #[derive(Debug, Deserialize)]
        struct Revocation {
            #[expect(dead_code, reason = "only what is wrong with it is looked at")]
            token: Draft,
        }
        for secret in ["canary", r#"can\", expected ary"#, "string \\\" canary"] {
            let bare = format!("\"{secret}\"");
            let said =
                parse::<Revocation>(format!(r#"{{"token":{bare}}}"#).as_bytes()).unwrap_err().view().detail;
            assert_eq!(said, "token: invalid type: text, expected struct Draft.", "{secret}");
            assert_eq!(refusal(&bare), "invalid type: text, expected struct Draft.", "{secret}");
        }
    }

    #[test]
    fn a_list_is_no_object_even_if_it_has_what_an_object_would() {
        assert!(parse::<Draft>(br#"["a", null]"#).is_ok());
        for text in [r#"["a", null]"#, r#" "a""#, "7"] {
            let refused = object::<Draft>(text.as_bytes()).unwrap_err();
            assert_eq!(refused.view().detail, "The body is a JSON object.", "{text}");
        }
        assert!(object::<Draft>(br#" {"text": "a"}"#).is_ok());
    }

    #[test]
    fn an_endless_name_is_not_said_back() {
        let said = refusal(&format!(r#"{{"{}":1}}"#, "é".repeat(100_000)));
        assert!(said.len() < 2 * LONGEST, "{}", said.len());
    }

    #[test]
    fn nesting_is_counted_outside_of_strings() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(nests_within(nested(64).as_bytes(), 64));
        assert!(!nests_within(nested(65).as_bytes(), 64));
        assert!(nests_within(br#"["[[[\"[[["]"#, 1));
        assert!(!nests_within(br#"["\\",["a"]]"#, 1));
    }
}

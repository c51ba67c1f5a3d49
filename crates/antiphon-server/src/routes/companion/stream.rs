//! Saying something to a persona and hearing how it goes: `POST /chat?stream=true`, a line of JSON for each step.

use std::collections::VecDeque;
use std::convert::Infallible;

use antiphon_core::ids::Timestamp;
use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use serde::Serialize;

use super::State;
use super::asker::Asker;
use super::boom::Boom;
use super::chat::{Conversing, Exchange, Saying, Step};

/// A line.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    /// On the way: `sent` once the message is stored, then `read` and `typing` when the persona begins to answer.
    Status { status: &'a str, timestamp: String },
    /// The end.
    Message { data: &'a Exchange },
    /// The end.
    Error { error: &'a str },
}

/// The answer to come. Its status is always 200, because what is refused is refused in a line.
pub(super) fn answer(state: State, asker: Asker, saying: Saying) -> Response {
    let telling = Telling { state, next: Next::Say(asker, saying), lines: VecDeque::new() };
    let mut response = Body::from_stream(stream::unfold(telling, Telling::line)).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // Proxies that collect what they pass on would spoil it.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

struct Telling {
    state: State,
    next: Next,
    lines: VecDeque<Bytes>,
}

/// What is to be done when all lines are told.
enum Next {
    Say(Asker, Saying),
    Follow(Box<Conversing>),
    End,
}

impl Telling {
    async fn line(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some((Ok(line), self));
            }
            self.next = match std::mem::replace(&mut self.next, Next::End) {
                Next::Say(asker, saying) => self.say(&asker, saying).await,
                Next::Follow(conversing) => self.follow(conversing).await,
                Next::End => return None,
            };
        }
    }

    async fn say(&mut self, asker: &Asker, saying: Saying) -> Next {
        match self.state.say(asker, saying).await {
            Ok(conversing) => {
                self.status("sent", conversing.question.at);
                Next::Follow(Box::new(conversing))
            }
            Err(boom) => self.error(&boom),
        }
    }

    async fn follow(&mut self, mut conversing: Box<Conversing>) -> Next {
        match self.state.follow(&mut conversing).await {
            Step::Begun(at) => {
                self.status("read", at);
                self.status("typing", at);
                Next::Follow(conversing)
            }
            Step::Ended(Ok(exchange)) => {
                self.tell(&Line::Message { data: &exchange });
                Next::End
            }
            Step::Ended(Err(boom)) => self.error(&boom),
        }
    }

    fn status(&mut self, status: &str, at: Timestamp) {
        self.tell(&Line::Status { status, timestamp: at.iso() });
    }

    fn error(&mut self, boom: &Boom) -> Next {
        self.tell(&Line::Error { error: boom.message() });
        Next::End
    }

    fn tell(&mut self, line: &Line<'_>) {
        let mut text = serde_json::to_vec(line).expect("text and numbers serialize");
        text.push(b'\n');
        self.lines.push_back(text.into());
    }
}

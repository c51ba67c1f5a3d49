//! What does an HTTP request to an Engine.IO path ask for?

use super::Transport;

/// Most bytes of a session id that is looked up at all.
const LONGEST_SID: usize = 64;

/// A request that may be served (Engine.IO protocol, "Query parameters").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The transport it belongs to.
    pub transport: Transport,
    /// The session it names; without one it asks for a new session.
    pub sid: Option<&'a str>,
    /// The first `t`, by which many clients tell each of their requests from all others.
    pub t: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// Reads method and query; `upgrade` says whether the headers ask for a WebSocket.
    ///
    /// `query` is the part behind `?`, as sent. Checked in this order, the first failure is the answer:
    ///
    /// 1. `EIO`, `transport` or `sid` twice: [`BadRequest::BadRequest`]
    /// 2. `transport` other than `polling` and `websocket`: [`BadRequest::UnknownTransport`]
    /// 3. `EIO` other than `4`: [`BadRequest::UnsupportedVersion`]
    /// 4. `sid` that no server of ours makes, also an empty one: [`BadRequest::UnknownSession`]
    /// 5. no `sid` and not a `GET`: [`BadRequest::BadHandshakeMethod`]
    /// 6. `polling` with an upgrade or a method other than `GET` and `POST`, `websocket` without an upgrade
    ///    or a method other than `GET`: [`BadRequest::BadRequest`]
    ///
    /// `t` means nothing to the protocol; other parameters belong to the application. They may repeat.
    pub fn parse(method: &str, query: &'a str, upgrade: bool) -> Result<Self, BadRequest> {
        let ([version, transport, sid], t) = parameters(query)?;
        let transport = match transport {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::Websocket,
            _ => return Err(BadRequest::UnknownTransport),
        };
        if version != Some("4") {
            return Err(BadRequest::UnsupportedVersion);
        }
        match sid {
            Some(sid) if !is_sid(sid) => return Err(BadRequest::UnknownSession),
            None if method != "GET" => return Err(BadRequest::BadHandshakeMethod),
            _ => {}
        }
        match (transport, method, upgrade) {
            (Transport::Polling, "GET" | "POST", false) | (Transport::Websocket, "GET", true) => {
                Ok(Self { transport, sid, t })
            }
            _ => Err(BadRequest::BadRequest),
        }
    }
}

/// Why a request is not served, as the reference server numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub enum BadRequest {
    /// The transport is missing or none of ours.
    UnknownTransport,
    /// There is no such session.
    UnknownSession,
    /// A session is opened with `GET` only.
    BadHandshakeMethod,
    /// The request makes no sense for its session or transport.
    BadRequest,
    /// The request is understood and not allowed, say for its origin. Never from [`Request::parse`].
    Forbidden,
    /// The protocol's version is missing or none of ours.
    UnsupportedVersion,
}

impl BadRequest {
    /// The number clients know this by, 0 to 5.
    pub fn code(self) -> u8 {
        match self {
            Self::UnknownTransport => 0,
            Self::UnknownSession => 1,
            Self::BadHandshakeMethod => 2,
            Self::BadRequest => 3,
            Self::Forbidden => 4,
            Self::UnsupportedVersion => 5,
        }
    }

    /// The words clients know this by.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownTransport => "Transport unknown",
            Self::UnknownSession => "Session ID unknown",
            Self::BadHandshakeMethod => "Bad handshake method",
            Self::BadRequest => "Bad request",
            Self::Forbidden => "Forbidden",
            Self::UnsupportedVersion => "Unsupported protocol version",
        }
    }

    /// The body of the answer, a JSON object.
    pub fn body(self) -> String {
        format!(r#"{{"code":{},"message":"{}"}}"#, self.code(), self.message())
    }

    /// The HTTP status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }
}

/// The values of `EIO`, `transport` and `sid`, and the first of `t`. None of the values we accept needs
/// percent-encoding, so none is decoded.
fn parameters(query: &str) -> Result<([Option<&str>; 3], Option<&str>), BadRequest> {
    let mut values = [None; 3];
    let mut t = None;
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let slot = match name {
            "EIO" => &mut values[0],
            "transport" => &mut values[1],
            "sid" => &mut values[2],
            "t" => {
                t = t.or(Some(value));
                continue;
            }
            _ => continue,
        };
        if slot.replace(value).is_some() {
            return Err(BadRequest::BadRequest);
        }
    }
    Ok((values, t))
}

fn is_sid(sid: &str) -> bool {
    (1..=LONGEST_SID).contains(&sid.len())
        && sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::BadRequest::{
        BadHandshakeMethod, BadRequest as Bad, Forbidden, UnknownSession, UnknownTransport,
        UnsupportedVersion,
    };
    use super::*;

    #[test]
    fn requests_of_the_protocol_are_understood() {
        for (method, query, upgrade, transport, sid) in [
            ("GET", "EIO=4&transport=polling", false, Transport::Polling, None),
            ("GET", "EIO=4&transport=polling&t=N8hyd6w&a=1&a=2&", false, Transport::Polling, None),
            ("GET", "transport=polling&sid=lv_VI97-AC&EIO=4", false, Transport::Polling, Some("lv_VI97-AC")),
            ("POST", "EIO=4&transport=polling&sid=x", false, Transport::Polling, Some("x")),
            ("GET", "EIO=4&transport=websocket", true, Transport::Websocket, None),
            ("GET", "EIO=4&transport=websocket&sid=x", true, Transport::Websocket, Some("x")),
        ] {
            assert_eq!(
                Request::parse(method, query, upgrade).map(|request| (request.transport, request.sid)),
                Ok((transport, sid)),
                "{query}"
            );
        }
    }

    #[test]
    fn other_requests_are_refused_with_the_code_clients_know() {
        let long = format!("EIO=4&transport=polling&sid={}", "x".repeat(65));
        for (method, query, upgrade, refusal) in [
            ("GET", "", false, UnknownTransport),
            ("GET", "EIO=4", false, UnknownTransport),
            ("GET", "EIO=4&transport", false, UnknownTransport),
            ("GET", "EIO=4&transport=abc", false, UnknownTransport),
            ("GET", "EIO=4&transport=Polling", false, UnknownTransport),
            ("GET", "EIO=4&transport=webtransport", false, UnknownTransport),
            ("GET", "transport=polling", false, UnsupportedVersion),
            ("GET", "EIO=abc&transport=polling", false, UnsupportedVersion),
            ("GET", "EIO=3&transport=polling", false, UnsupportedVersion),
            ("GET", "EIO=04&transport=websocket", true, UnsupportedVersion),
            ("GET", "transport=polling&sid=x", false, UnsupportedVersion),
            ("POST", "EIO=4&transport=polling", false, BadHandshakeMethod),
            ("PUT", "EIO=4&transport=polling", false, BadHandshakeMethod),
            ("PUT", "EIO=4&transport=polling&sid=x", false, Bad),
            ("get", "EIO=4&transport=polling&sid=x", false, Bad),
            ("GET", "EIO=4&transport=websocket", false, Bad),
            ("GET", "EIO=4&transport=websocket&sid=x", false, Bad),
            ("POST", "EIO=4&transport=websocket&sid=x", true, Bad),
            ("GET", "EIO=4&transport=polling&sid=x", true, Bad),
            ("GET", "EIO=4&transport=polling&sid=", false, UnknownSession),
            ("GET", "EIO=4&transport=polling&sid=a%20b", false, UnknownSession),
            ("GET", "EIO=4&transport=polling&sid=é", false, UnknownSession),
            ("GET", "EIO=4&transport=polling&sid=../x", false, UnknownSession),
            ("GET", &long, false, UnknownSession),
            ("GET", "EIO=4&EIO=4&transport=polling", false, Bad),
            ("GET", "EIO=4&transport=polling&transport=websocket", false, Bad),
            ("GET", "EIO=4&transport=polling&sid=x&sid=y", false, Bad),
        ] {
            assert_eq!(Request::parse(method, query, upgrade), Err(refusal), "{method} {query}");
        }
    }

    #[test]
    fn the_first_t_is_told_and_none_is_asked_for() {
        for (query, t) in [
            ("EIO=4&transport=polling&sid=x", None),
            ("EIO=4&transport=polling&sid=x&t=", Some("")),
            ("EIO=4&t=N8hyd6w&transport=polling&sid=x", Some("N8hyd6w")),
            ("t=a&EIO=4&transport=polling&t=b", Some("a")),
            ("EIO=4&transport=polling&tt=a&T=b", None),
        ] {
            assert_eq!(Request::parse("GET", query, false).map(|request| request.t), Ok(t), "{query}");
        }
    }

    #[test]
    fn a_refusal_says_its_code_words_and_status() {
        for (refusal, status, body) in [
            (UnknownTransport, 400, r#"{"code":0,"message":"Transport unknown"}"#),
            (UnknownSession, 400, r#"{"code":1,"message":"Session ID unknown"}"#),
            (BadHandshakeMethod, 400, r#"{"code":2,"message":"Bad handshake method"}"#),
            (Bad, 400, r#"{"code":3,"message":"Bad request"}"#),
            (Forbidden, 403, r#"{"code":4,"message":"Forbidden"}"#),
            (UnsupportedVersion, 400, r#"{"code":5,"message":"Unsupported protocol version"}"#),
        ] {
            assert_eq!((refusal.status(), refusal.body().as_str()), (status, body));
        }
    }
}

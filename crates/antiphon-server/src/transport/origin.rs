//! Which browsers may ask.
//!
//! Checked on both transports before any session exists (CORS does not cover WebSocket). Without an Origin it is no browser
//! page, and the dialect's credential decides alone.

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

/// Who may ask, as a mount is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    allowed: Vec<String>,
    any: bool,
}

/// What a request's Origin came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No browser page asks.
    NoOrigin,
    /// A page that may ask, with credentials.
    Allowed(HeaderValue),
    /// Any page may ask, without credentials.
    Anybody,
    /// A page that may not.
    Refused,
}

impl Origins {
    /// From the configured list; `*` stands for any.
    pub(crate) fn new(list: &[String]) -> Self {
        let any = list.iter().any(|origin| origin == "*");
        let allowed = list.iter().map(|origin| origin.trim_end_matches('/').to_ascii_lowercase()).collect();
        Self { allowed, any }
    }

    /// Judges a request by its headers.
    pub(crate) fn judge(&self, headers: &HeaderMap) -> Verdict {
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else { return Verdict::NoOrigin };
        let Ok(text) = origin.to_str() else { return Verdict::Refused };
        if origins.next().is_some() || text == "null" {
            return Verdict::Refused;
        }
        let text = text.to_ascii_lowercase();
        if self.allowed.contains(&text) || is_same(&text, headers) {
            return Verdict::Allowed(origin.clone());
        }
        if self.any { Verdict::Anybody } else { Verdict::Refused }
    }
}

/// Whether the page came from the host that it asks.
fn is_same(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_ascii_lowercase);
    let asked = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some() && asked == host.as_deref()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allowed: &[&str], host: &str, origin: Option<&'static str>) -> Verdict {
        let allowed: Vec<String> = allowed.iter().map(|o| (*o).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        Origins::new(&allowed).judge(&headers)
    }

    #[test]
    fn only_listed_origins_and_the_own_one_may_ask() {
        let yes = |origin| Verdict::Allowed(HeaderValue::from_static(origin));
        let list = ["https://app.example"];
        assert_eq!(judge(&list, "h:1", Some("https://app.example")), yes("https://app.example"));
        assert_eq!(judge(&list, "h:1", Some("https://app.example.evil")), Verdict::Refused);
        assert_eq!(judge(&list, "h:1", Some("http://app.example")), Verdict::Refused);
        assert_eq!(judge(&list, "h:1", Some("null")), Verdict::Refused);
        assert_eq!(judge(&list, "h:1", Some("")), Verdict::Refused);
        assert_eq!(judge(&list, "h:1", None), Verdict::NoOrigin);
        assert_eq!(judge(&[], "h:1", Some("http://h:1")), yes("http://h:1"));
        assert_eq!(judge(&["*"], "h:1", Some("http://x")), Verdict::Anybody);
        assert_eq!(judge(&["*"], "h:1", Some("null")), Verdict::Refused);
    }
}

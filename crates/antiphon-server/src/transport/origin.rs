//! Which browsers may ask.
//!
//! Checked on both transports before any session exists (CORS does not cover WebSocket). Without an Origin it is no browser
//! page, and the dialect's credential decides alone.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, HOST, HeaderMap,
    HeaderValue, ORIGIN, VARY,
};

/// Who may ask, as a mount is configured.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    allowed: Vec<String>,
    any: bool,
    hasher: RandomState,
}

/// The page that a session belongs to, so that no other page can use it. Of the server's own pages browsers do not always say
/// that they are pages, so those are the same as none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page(u64);

/// What a request's Origin came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No browser page asks.
    NoOrigin,
    /// A page of this very host, which may ask with credentials.
    Own(HeaderValue),
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
        Self { allowed, any, hasher: RandomState::new() }
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
        if is_same(&text, headers) {
            return Verdict::Own(origin.clone());
        }
        if self.allowed.contains(&text) {
            return Verdict::Allowed(origin.clone());
        }
        if self.any { Verdict::Anybody } else { Verdict::Refused }
    }

    /// The page that a request with these headers, judged like this, comes from.
    pub(crate) fn page(&self, verdict: &Verdict, headers: &HeaderMap) -> Page {
        match (verdict, headers.get(ORIGIN)) {
            (Verdict::Allowed(_) | Verdict::Anybody | Verdict::Refused, Some(origin)) => {
                Page(self.hasher.hash_one(origin.as_bytes().to_ascii_lowercase()))
            }
            _ => Page(0),
        }
    }
}

/// Says in `headers` what a preflight may hope for: these methods, and the headers that it `asked` for.
pub(crate) fn allow_preflight(asked: &HeaderMap, methods: &'static str, headers: &mut HeaderMap) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    if let Some(names) = asked.get(ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
    }
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}

/// Says in `headers` which pages may read the answer.
pub(crate) fn allow_origin(verdict: &Verdict, headers: &mut HeaderMap) {
    match verdict {
        Verdict::Allowed(origin) | Verdict::Own(origin) => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        Verdict::Anybody => {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        }
        Verdict::NoOrigin | Verdict::Refused => {}
    }
    headers.append(VARY, HeaderValue::from_static("Origin"));
}

/// Whether the page came from the host that it asks.
fn is_same(origin: &str, headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).map(str::to_ascii_lowercase);
    let asked = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    host.is_some() && asked == host.as_deref()
}

/// Whether the request was addressed to an IP address or to `localhost`.
pub(crate) fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return false };
    let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(host: &str) -> HeaderMap {
        HeaderMap::from_iter([(HOST, HeaderValue::from_str(host).unwrap())])
    }

    #[test]
    fn only_an_address_or_localhost_names_this_machine() {
        for named in ["127.0.0.1:9464", "127.0.0.1", "localhost:9464", "LOCALHOST", "[::1]:9464", "10.1.2.3"]
        {
            assert!(names_this_machine(&asked(named)), "{named}");
        }
        for foreign in
            ["evil.example:9464", "localhost.evil.example", "127.0.0.1.evil.example", "", "[::1", "a@b@c"]
        {
            assert!(!names_this_machine(&asked(foreign)), "{foreign}");
        }
        assert!(!names_this_machine(&HeaderMap::new()));
    }

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
        assert_eq!(
            judge(&[], "h:1", Some("http://h:1")),
            Verdict::Own(HeaderValue::from_static("http://h:1"))
        );
        assert_eq!(judge(&["*"], "h:1", Some("http://x")), Verdict::Anybody);
        assert_eq!(judge(&["*"], "h:1", Some("null")), Verdict::Refused);
    }

    #[test]
    fn t25_every_page_is_told_apart_from_every_other_but_the_own_one_from_none() {
        let origins = Origins::new(&["https://a.example".into(), "*".into()]);
        let page = |origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static("h:1"));
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_static(origin));
            }
            origins.page(&origins.judge(&headers), &headers)
        };
        assert_eq!(page(None), page(Some("http://h:1")));
        assert_eq!(page(None), page(Some("https://H:1")));
        assert_eq!(page(Some("https://a.example")), page(Some("https://A.example")));
        assert_ne!(page(Some("https://a.example")), page(Some("https://b.example")));
        assert_ne!(page(Some("https://a.example")), page(None));
        assert_ne!(page(Some("https://b.example")), page(None));
    }
}

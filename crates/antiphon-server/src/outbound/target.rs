//! Whether a URL may be asked for at all, before anything is looked up.

use std::net::IpAddr;

use reqwest::Url;

use super::Failure;
use super::address::is_public;
use super::settings::Settings;

/// Longest URL, in bytes.
const MAX_URL_BYTES: usize = 2_048;

/// The URL to ask for, with its host in one form: names in lower case and ASCII (IDNA), without a dot at the end; addresses in
/// their usual notation, however they were written (`0x7f.1`, `2130706433`).
///
/// Refused are: other schemes than https (http where the host is allowed), credentials in the URL, and addresses that are neither
/// public nor allowed. What a name resolves to is the [`resolver`](super::resolver)'s question.
pub(super) fn check(url: &str, settings: &Settings) -> Result<Url, Failure> {
    let refused = |why: &'static str| Err(Failure::Forbidden(why));
    if url.len() > MAX_URL_BYTES {
        return refused("the URL has more than 2,048 bytes");
    }
    let Ok(mut url) = Url::parse(url) else { return refused("this is not a URL") };
    let tls = match url.scheme() {
        "https" => true,
        "http" => false,
        _ => return refused("only https can be asked for"),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return refused("a URL with credentials inside is not asked for");
    }
    if url.port() == Some(0) {
        return refused("there is no port 0");
    }
    let Some(host) = url.host_str() else { return refused("the URL names no host") };

    let allowed = match literal(host) {
        Some(address) => {
            let allowed = settings.allows_address(address);
            if !allowed && !is_public(address) {
                return refused("the address is not public");
            }
            allowed
        }
        None => {
            let Some(name) = name(host) else { return refused("the URL names no host") };
            let allowed = settings.allows_name(&name);
            if url.set_host(Some(&name)).is_err() {
                return refused("the URL names no host");
            }
            allowed
        }
    };
    if !tls && !allowed {
        return refused("only https can be asked for, except from hosts that [outbound] allow names");
    }
    url.set_fragment(None);
    Ok(url)
}

/// A host name in the form that names are compared in; `None` if it is none.
pub(super) fn name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    // Whatever is not a host would be something else in a URL: a port, a path, an address.
    if text.contains(['/', '\\', '?', '#', '@', ':', '[', '%']) {
        return None;
    }
    let url = Url::parse(&format!("https://{text}/")).ok()?;
    let host = url.host_str()?;
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_name = !host.is_empty() && host.bytes().all(plain) && literal(host).is_none();
    is_name.then(|| host.to_owned())
}

/// The address that a URL's host is, if it is one. The URL's parser has brought every notation into the usual one.
fn literal(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse().ok().map(IpAddr::V6),
        None => host.parse().ok().map(IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(url: &str, allow: &[&str]) -> Result<String, Failure> {
        let allow = allow.iter().map(|entry| String::from(*entry).try_into().unwrap()).collect();
        check(url, &Settings { allow }).map(String::from)
    }

    #[test]
    fn t16_t17_t18_a_url_that_could_lead_inside_is_refused_before_anything_is_looked_up() {
        for url in [
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://127.1/",
            "https://0x7f.1/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://017700000001/",
            "https://0/",
            "https://１２７.0.0.1/",
            "https://127。0。0。1/",
            "https://%31%32%37.0.0.1/",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:7f00:1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[fe80::1]/",
            "https://169.254.169.254/latest/meta-data/",
            "https://10.0.0.1:8443/",
            "https://example.com@127.0.0.1/",
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://:password@example.com/",
            "http://example.com/",
            "http://8.8.8.8/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "unix:/run/antiphon.sock",
            "gopher://example.com/",
            "data:text/plain,x",
            "https://example.com:0/",
            "https://example.com:65536/",
            "https:///",
            "https://./",
            "https://[::1%25lo]/",
            "//example.com/",
            "example.com",
            "",
        ] {
            assert!(matches!(checked(url, &[]), Err(Failure::Forbidden(_))), "{url}");
        }
        let long = format!("https://example.com/{}", "x".repeat(2_048 - 20));
        assert!(checked(&long, &[]).is_ok());
        assert!(matches!(checked(&format!("{long}x"), &[]), Err(Failure::Forbidden(_))));
    }

    #[test]
    fn hosts_have_one_form_however_they_are_written() {
        for (url, means) in [
            ("https://example.com", "https://example.com/"),
            ("https://EXAMPLE.com.:443/a?b=c#d", "https://example.com/a?b=c"),
            ("https://bücher.example:8443/", "https://xn--bcher-kva.example:8443/"),
            ("https://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/", "https://localhost/"),
            ("https://0x8.0x8.0x8.0x8/", "https://8.8.8.8/"),
            ("https://[2606:4700:4700::1111]/", "https://[2606:4700:4700::1111]/"),
        ] {
            assert_eq!(checked(url, &[]).unwrap(), means, "{url}");
        }
    }

    #[test]
    fn an_allowed_host_may_be_asked_without_tls() {
        for (url, allow) in [
            ("http://127.0.0.1:9000/", "127.0.0.0/8"),
            ("http://0x7f.1:9000/", "127.0.0.1"),
            ("http://[::ffff:10.0.0.1]/", "10.0.0.0/8"),
            ("http://Hooks.Internal./", "hooks.internal"),
            ("https://10.0.0.1/", "10.0.0.0/8"),
        ] {
            assert!(checked(url, &[allow]).is_ok(), "{url}");
            assert!(checked(url, &["unrelated.example", "192.168.0.0/16"]).is_err(), "{url}");
        }
        // A name is not an address: what it resolves to is not known yet.
        assert!(checked("http://hooks.internal/", &["0.0.0.0/0"]).is_err());
        assert!(checked("http://user@127.0.0.1/", &["127.0.0.1"]).is_err());
    }
}

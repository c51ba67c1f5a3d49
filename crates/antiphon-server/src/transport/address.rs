//! Where a request comes from, as far as that can be believed.
//!
//! A proxy that the configuration trusts says in `X-Forwarded-For` or `Forwarded` (RFC 7239) whom it speaks for; from anybody
//! else those headers are only words.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A network in CIDR notation (`10.0.0.0/8`, `fd00::/8`), or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Network(IpNet);

impl Network {
    /// Whether `address` is one of its own.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network
            .map(Self)
            .map_err(|_| format!("{text:?} is neither a network, such as 10.0.0.0/8, nor an address"))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.0.to_string()
    }
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies(Vec<Network>);

impl Proxies {
    pub(crate) fn new(trusted: &[Network]) -> Self {
        Self(trusted.to_vec())
    }

    /// Whether a connection from `peer` is a proxy's, so that it says nothing about any one client.
    pub(crate) fn trust(&self, peer: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(peer))
    }

    /// Whose request it is that came from `peer` with these headers: `peer` itself, unless it is a proxy that is trusted. Then it
    /// is the last address in the chain that no trusted proxy has; what stands before it may be invented.
    ///
    /// A chain that cannot be read is believed up to there. Two headers that differ are not believed at all, because one of them
    /// came from the client through a proxy that writes the other.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trust(peer) {
            return peer;
        }
        let x_forwarded_for = self.last_stranger(peer, &hops(headers, &X_FORWARDED_FOR, |hop| Some(hop)));
        let forwarded = self.last_stranger(peer, &hops(headers, &FORWARDED, forwarded_for));
        match (x_forwarded_for, forwarded) {
            (Some(one), Some(other)) if one != other => peer,
            (Some(client), _) | (None, Some(client)) => client,
            (None, None) => peer,
        }
    }

    /// Nothing if there is no such header.
    fn last_stranger(&self, peer: IpAddr, hops: &[Option<IpAddr>]) -> Option<IpAddr> {
        let mut nearest = None;
        for hop in hops.iter().rev() {
            let Some(address) = hop else { return Some(nearest.unwrap_or(peer)) };
            nearest = Some(*address);
            if !self.trust(*address) {
                break;
            }
        }
        nearest
    }
}

/// The addresses in every header of that name, in order; `None` for one that is none.
fn hops(
    headers: &HeaderMap,
    name: &HeaderName,
    of: impl for<'a> Fn(&'a str) -> Option<&'a str>,
) -> Vec<Option<IpAddr>> {
    let mut hops = Vec::new();
    for value in headers.get_all(name) {
        match value.to_str() {
            Ok(text) => hops.extend(text.split(',').map(|hop| of(hop.trim()).and_then(address))),
            Err(_) => hops.push(None),
        }
    }
    hops
}

/// The value of `for` in one element of `Forwarded`.
fn forwarded_for(element: &str) -> Option<&str> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut named = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for"));
    named.next().map(|(_, value)| value.trim_matches('"'))
}

/// An address as proxies write it: bare, in brackets, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|address| address.ip()));
    parsed.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn proxies() -> Proxies {
        Proxies::new(&["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()])
    }

    fn client(peer: &str, headers: &[(&'static str, &'static str)]) -> String {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        proxies().client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn a_stranger_is_who_they_are_whatever_they_say() {
        for name in ["x-forwarded-for", "forwarded"] {
            assert_eq!(client("198.51.100.7", &[(name, "203.0.113.1")]), "198.51.100.7");
            assert_eq!(client("198.51.100.7", &[(name, "for=203.0.113.1")]), "198.51.100.7");
        }
        assert_eq!(client("::ffff:198.51.100.7", &[]), "198.51.100.7");
    }

    #[test]
    fn a_trusted_proxy_is_believed_up_to_the_last_address_that_is_no_proxy() {
        for (chain, expected) in [
            ("203.0.113.1", "203.0.113.1"),
            ("1.1.1.1, 203.0.113.1", "203.0.113.1"),
            ("1.1.1.1,203.0.113.1 , 10.9.9.9", "203.0.113.1"),
            ("10.1.1.1, 10.2.2.2", "10.1.1.1"),
            ("203.0.113.1:4711", "203.0.113.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443, fd00::1", "2001:db8::1"),
            ("::ffff:203.0.113.1", "203.0.113.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]), expected, "{chain}");
        }
        let lines = [("x-forwarded-for", "203.0.113.1"), ("x-forwarded-for", "203.0.113.2")];
        assert_eq!(client("10.0.0.1", &lines), "203.0.113.2");
    }

    #[test]
    fn the_standard_header_says_the_same() {
        for (chain, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("proto=https; for=192.0.2.1, for=10.0.0.9", "192.0.2.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", chain)]), expected, "{chain}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_believed() {
        for chain in
            ["", "unknown", "203.0.113.1, unknown", "_hidden", "203.0.113.1, ", "1.2.3", "999.1.1.1", "a b"]
        {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]), "10.0.0.1", "{chain}");
        }
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "203.0.113.1, unknown, 10.7.7.7")]), "10.7.7.7");
        assert_eq!(client("10.0.0.1", &[("forwarded", "proto=https")]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn two_headers_that_differ_are_not_believed() {
        let differ = [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.2")];
        assert_eq!(client("10.0.0.1", &differ), "10.0.0.1");
        let agree = [("x-forwarded-for", "203.0.113.1"), ("forwarded", "for=203.0.113.1")];
        assert_eq!(client("10.0.0.1", &agree), "203.0.113.1");
    }

    #[test]
    fn a_network_is_written_as_usual_and_anything_else_is_refused() {
        let network: Network = "192.0.2.0/24".parse().unwrap();
        assert!(network.contains("192.0.2.255".parse().unwrap()));
        assert!(!network.contains("192.0.3.0".parse().unwrap()));
        let single: Network = "::1".parse().unwrap();
        assert_eq!(String::from(single), "::1/128");
        for text in ["", "10.0.0.0/33", "localhost", "10.0.0.0/8/8"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}

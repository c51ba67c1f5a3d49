//! What can be configured about connections to the outside.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::target;

/// Connections that the server opens itself: webhooks, the key sets of token issuers, the node of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Hosts and networks that may be reached although they are not public, and without TLS: host names
    /// (`hooks.internal`), addresses (`127.0.0.1`), networks (`10.0.0.0/8`). A name is allowed whatever it resolves to; a
    /// network allows plain HTTP only where the URL itself names the address. Default: none.
    pub allow: Vec<Allowed>,
}

impl Settings {
    /// Whether the configuration allows this address.
    pub(super) fn allows_address(&self, address: IpAddr) -> bool {
        self.allow.iter().any(|allowed| match allowed {
            Allowed::Network(network) => {
                network.contains(&address) || network.contains(&address.to_canonical())
            }
            Allowed::Host(_) => false,
        })
    }

    /// Whether the configuration allows the host of this name, in the form that [`target`] brings names into.
    pub(super) fn allows_name(&self, name: &str) -> bool {
        self.allow.iter().any(|allowed| matches!(allowed, Allowed::Host(host) if host == name))
    }
}

/// One entry of [`Settings::allow`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Allowed {
    /// All addresses of this network.
    Network(IpNet),
    /// The host of this name.
    Host(String),
}

impl TryFrom<String> for Allowed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(network) = text.parse::<IpNet>() {
            return Ok(Self::Network(network.trunc()));
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::Network(address.into()));
        }
        match target::name(&text) {
            Some(name) => Ok(Self::Host(name)),
            None => {
                Err(format!("{text:?} is neither a host name nor an address nor a network like 10.0.0.0/8"))
            }
        }
    }
}

impl From<Allowed> for String {
    fn from(allowed: Allowed) -> Self {
        allowed.to_string()
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(network) => network.fmt(f),
            Self::Host(name) => name.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entry: &str) -> Result<Settings, toml::de::Error> {
        toml::from_str(&format!("allow = [{entry:?}]"))
    }

    #[test]
    fn an_entry_is_a_name_an_address_or_a_network() {
        for (entry, means) in [
            ("hooks.internal", "hooks.internal"),
            ("Hooks.Internal.", "hooks.internal"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1/32"),
            ("::1", "::1/128"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(parse(entry).unwrap().allow[0].to_string(), means, "{entry}");
        }
        for entry in
            ["", "10.0.0.0/33", "http://a", "a:80", "a b", "*", "*.internal", "a/b", "0x7f.1", "[::1]", "."]
        {
            let error = parse(entry).unwrap_err().to_string();
            assert!(error.contains("neither a host name nor an address"), "{entry}: {error}");
        }
    }

    #[test]
    fn a_network_allows_its_addresses_in_either_form_and_no_name() {
        let settings = parse("10.0.0.0/8").unwrap();
        for address in ["10.1.2.3", "::ffff:10.1.2.3"] {
            assert!(settings.allows_address(address.parse().unwrap()), "{address}");
        }
        assert!(!settings.allows_address("11.1.2.3".parse().unwrap()));
        assert!(!settings.allows_name("10.1.2.3"));
        let settings = parse("hooks.internal").unwrap();
        assert!(settings.allows_name("hooks.internal"));
        assert!(!settings.allows_name("more.hooks.internal"));
    }
}

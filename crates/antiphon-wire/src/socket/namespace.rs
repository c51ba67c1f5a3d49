//! Which namespace does a packet belong to?

use std::fmt;

use crate::Limits;

/// A namespace's name (Socket.IO protocol, "Introduction"): `/`, or a slash and more.
///
/// The main namespace `/` costs no heap memory. Contains neither `,` nor `?` nor control characters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Namespace(Option<Box<str>>);

impl Namespace {
    /// The main namespace, `/`.
    pub const MAIN: Self = Self(None);

    /// Reads a namespace as it stands in a packet: what follows a `?` is cut off, as the reference server
    /// does.
    ///
    /// `None` if it does not begin with a slash, is longer than [`Limits::namespace_length`] without its
    /// query, or contains a character no namespace has: a comma ends a namespace on the wire, and a control
    /// character could end a polling packet.
    pub fn parse(text: &str, limits: &Limits) -> Option<Self> {
        let name = text.split_once('?').map_or(text, |(name, _query)| name);
        let fits = name.starts_with('/') && name.len() <= limits.namespace_length;
        if !fits || name.bytes().any(|byte| byte == b',' || byte.is_ascii_control()) {
            return None;
        }
        Some(Self((name != "/").then(|| name.into())))
    }

    /// The name, beginning with a slash.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// Whether this is `/`.
    pub fn is_main(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<String> {
        Namespace::parse(text, &Limits::default()).map(|namespace| namespace.to_string())
    }

    #[test]
    fn the_main_namespace_costs_no_heap() {
        let main = Namespace::parse("/", &Limits::default()).unwrap();
        assert!(main.is_main() && main.0.is_none());
        assert_eq!(main, Namespace::MAIN);
        assert_eq!(main.as_str(), "/");
    }

    #[test]
    fn a_query_is_cut_off() {
        assert_eq!(parsed("/admin?token=1").as_deref(), Some("/admin"));
        assert_eq!(parsed("/?token=1").as_deref(), Some("/"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        for text in ["", "admin", "?a", "/a,b", "/a\u{1e}b", "/a\nb", "/a\u{7f}"] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_allowed_up_to_its_limit() {
        assert!(parsed(&format!("/{}", "a".repeat(255))).is_some());
        assert!(parsed(&format!("/{}", "a".repeat(256))).is_none());
    }
}

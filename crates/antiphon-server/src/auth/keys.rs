//! How an API key is hashed and recognised.

use antiphon_core::actor::{ApiKey, KeyHash};
use antiphon_core::ids::{PersonId, Timestamp};
use sha2::{Digest as _, Sha256};

/// Credentials that the documents print as placeholders. They open the demo, and nothing else.
pub(crate) const PLACEHOLDERS: [&str; 4] =
    ["your-api-key", "your-jwt-token", "your-session-id", "YOUR_API_KEY"];

/// Characters of a key that a list may show.
const SHOWN: usize = 8;

/// The hash that a key is stored and found by. Keys are long random strings, so a plain hash is enough.
pub(crate) fn hash(key: &str) -> KeyHash {
    KeyHash(Sha256::digest(key.as_bytes()).into())
}

/// A key as it is stored.
pub(crate) fn record(key: &str, person: PersonId, created_at: Timestamp) -> ApiKey {
    // A short key would be shown whole, so it is not shown at all.
    let prefix = if key.len() > 2 * SHOWN { key.chars().take(SHOWN).collect() } else { String::new() };
    ApiKey { hash: hash(key), prefix, person, created_at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_the_beginning_of_long_keys_and_nothing_of_short_ones() {
        let prefix = |key| record(key, PersonId::parse("p").unwrap(), Timestamp(0)).prefix;
        assert_eq!(prefix("cda_0123456789abcdef"), "cda_0123");
        assert_eq!(prefix("short"), "");
    }
}

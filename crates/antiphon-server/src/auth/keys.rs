//! How an API key is hashed and recognised.

use antiphon_core::actor::{ApiKey, Holder, SecretHash};
use antiphon_core::ids::{KeyId, PersonId, Timestamp};
use sha2::{Digest as _, Sha256};

/// Credentials that the documents print as placeholders. They open the demo, and nothing else.
pub(crate) const PLACEHOLDERS: [&str; 4] =
    ["your-api-key", "your-jwt-token", "your-session-id", "YOUR_API_KEY"];

/// How many bytes of its hash name a key that came without a name; the migration of older stores does the same.
const NAMED_BY: usize = 8;

/// The hash that a key is stored and found by. Keys are long random strings, so a plain hash is enough.
pub(crate) fn hash(key: &str) -> SecretHash {
    SecretHash(Sha256::digest(key.as_bytes()).into())
}

/// A key of a person that came without a name, as it is stored: named after its hash.
pub(crate) fn record(key: &str, person: PersonId, created_at: Timestamp) -> ApiKey {
    let hash = hash(key);
    let digits: String = hash.0[..NAMED_BY].iter().map(|byte| format!("{byte:02x}")).collect();
    ApiKey {
        id: KeyId::parse(&format!("key_{digits}")).expect("a few plain characters"),
        hash,
        holder: Holder::Person(person),
        dialects: None,
        plan: None,
        created_at,
        expires_at: None,
        revoked_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_name_is_named_after_its_hash() {
        let name = |key| record(key, PersonId::parse("p").unwrap(), Timestamp(0)).id;
        assert_eq!(name("abc").as_str(), "key_ba7816bf8f01cfea");
        assert_ne!(name("abd"), name("abc"));
    }
}

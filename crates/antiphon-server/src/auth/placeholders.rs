//! Which credentials are known to everybody, because documents print them.

/// Credentials that the documents print as placeholders. They open the demo, and nothing else.
pub(crate) const PLACEHOLDERS: [&str; 11] = [
    "your-api-key",
    "your-api-key-456",
    "your-jwt-token",
    "your-session-id",
    "your-service-key",
    "your-operator-token",
    "your-token",
    "your-secret",
    "YOUR_API_KEY",
    "YOUR_JWT_TOKEN",
    "YOUR_SESSION_ID",
];

/// The wallet that the documents print. Nobody has its key; the demo takes its name for a proof.
pub(crate) const WALLET: &str = "0x1234567890123456789012345678901234567890";

/// Beginnings of what people are meant to replace, in lower case and without punctuation.
const BEGINNINGS: [&str; 9] = [
    "your",
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "placeholder",
    "example",
    "secret",
    "xxxx",
];

/// Whether `secret` is one that documents print, or begins like a note to replace it.
pub(crate) fn is_placeholder(secret: &str) -> bool {
    if PLACEHOLDERS.contains(&secret) {
        return true;
    }
    let letters: String = secret
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|letter| letter.to_ascii_lowercase())
        .collect();
    BEGINNINGS.iter().any(|beginning| letters.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t29_what_documents_print_is_known_however_it_is_written() {
        for text in
            ["your-jwt-token", "YOUR_SECRET_KEY", "changeme", "Change-Me!", "<your secret here>", "secret"]
        {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["cda_5b1f", "a-long-and-private-secret", "Yo ur", "0f3a9c12"] {
            assert_eq!(is_placeholder(text), text == "Yo ur", "{text}");
        }
    }
}

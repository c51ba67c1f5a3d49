//! How secrets of ours are made, hashed and told apart by their shape.

use antiphon_core::actor::SecretHash;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// Longest credential that is looked at, in bytes. Signed tokens of large organisations have some thousand.
pub(crate) const LONGEST: usize = 8_192;

/// What a session's token begins with.
pub(crate) const SESSION: &str = "ses_";

/// What a token that renews a session begins with.
pub(crate) const REFRESH: &str = "ref_";

/// What a credential looks like. Says nothing about whether it is any good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Three base64url parts with dots between them: signed by somebody else (JWT, RFC 7519).
    Token,
    /// A session's token.
    Session,
    /// Anything else can only be an API key.
    Key,
}

/// What `credential` looks like.
pub(crate) fn shape(credential: &str) -> Shape {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let mut parts = credential.split('.');
    if let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
        && [header, claims, signature].into_iter().all(is_part)
    {
        return Shape::Token;
    }
    if credential.starts_with(SESSION) { Shape::Session } else { Shape::Key }
}

/// The hash that a secret is stored and found by. Secrets are long and random, so a plain hash is enough, and finding one by
/// its hash tells nobody by its time how much of a guess was right.
pub(crate) fn hash(secret: &str) -> SecretHash {
    SecretHash(Sha256::digest(secret.as_bytes()).into())
}

/// `N` random bytes.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

/// `bytes` in lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// The bytes that `text` writes in hexadecimal digits, in whichever case.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A fresh token that begins with `prefix` and names `family`: 256 random bits follow.
pub(crate) fn token_of(prefix: &str, family: Family) -> String {
    let secret = random::<32>();
    let (family, secret) = (BASE64_URL_SAFE_NO_PAD.encode(family.0), BASE64_URL_SAFE_NO_PAD.encode(secret));
    format!("{prefix}{family}{secret}")
}

/// What all tokens of one login have in common, however often it is renewed. Random, and as secret as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Family([u8; 16]);

/// Characters of a family in a token: 16 bytes in base64url.
const FAMILY_CHARACTERS: usize = 22;

/// Characters of the secret in a token: 32 bytes in base64url.
const SECRET_CHARACTERS: usize = 43;

impl Family {
    /// A new one.
    pub(crate) fn random() -> Self {
        Self(random())
    }

    /// The family of `token`, if it has the form of those that [`token_of`] makes with this `prefix`.
    pub(crate) fn of(token: &str, prefix: &str) -> Option<Self> {
        let rest = token.strip_prefix(prefix)?;
        if rest.len() != FAMILY_CHARACTERS + SECRET_CHARACTERS {
            return None;
        }
        let family = BASE64_URL_SAFE_NO_PAD.decode(rest.get(..FAMILY_CHARACTERS)?).ok()?;
        family.try_into().ok().map(Self)
    }

    /// What the session is called where its tokens must not be: in proofs and revocations.
    pub(crate) fn name(self) -> SecretHash {
        SecretHash(Sha256::digest(self.0).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_told_by_its_shape() {
        let session = token_of(SESSION, Family::random());
        for (text, expected) in [
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2ln", Shape::Token),
            ("a.b.c", Shape::Token),
            (session.as_str(), Shape::Session),
            ("cda_0f3a9c12", Shape::Key),
            ("your-api-key", Shape::Key),
            ("a.b", Shape::Key),
            ("a.b.c.d", Shape::Key),
            ("a..c", Shape::Key),
            ("a.b+.c", Shape::Key),
            ("", Shape::Key),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
    }

    #[test]
    fn the_tokens_of_a_login_name_it_and_differ() {
        let family = Family::random();
        let (one, other) = (token_of(SESSION, family), token_of(SESSION, family));
        assert_ne!(one, other);
        assert!(Family::of(&one, SESSION).is_some_and(|found| found == family));
        assert!(Family::of(&other, SESSION).is_some_and(|found| found.name() == family.name()));
        assert!(Family::of(&one, REFRESH).is_none());
        assert!(Family::of(&one[..one.len() - 1], SESSION).is_none());
        assert!(Family::of(&format!("{SESSION}{}", "é".repeat(40)), SESSION).is_none());
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(hex(&[0, 15, 255]), "000fff");
        assert_eq!(unhex("000FfF"), Some(vec![0, 15, 255]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("0g"), None);
    }
}

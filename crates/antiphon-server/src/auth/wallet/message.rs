//! What a sign-in message (ERC-4361, "Sign-In with Ethereum") says, and whether it is for us and for now.

use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::Refusal;

use super::recover::Address;
use crate::auth::bad_credential;

/// Longest message that is read, in bytes.
const LONGEST: usize = 4_096;

/// Shortest nonce, by the specification.
const SHORTEST_NONCE: usize = 8;

/// How far the wallet's clock may be ahead of ours, in milliseconds.
const AHEAD: i64 = 60_000;

const GREETING: &str = " wants you to sign in with your Ethereum account:";

/// What a message says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Who asks for the signature: a host, with a port unless it is the usual one.
    pub(super) domain: String,
    /// Who signs.
    pub(super) address: Address,
    /// What they sign in to.
    pub(super) uri: String,
    /// On which chain, by EIP-155 id.
    pub(super) chain: u64,
    /// What makes the message good only once.
    pub(super) nonce: String,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) not_before: Option<Timestamp>,
}

impl Message {
    /// Reads a message. Every line has to be where the specification has it.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        Self::read(text)
            .ok_or_else(|| Refusal::invalid("This is not a sign-in message as ERC-4361 describes it."))
    }

    fn read(text: &str) -> Option<Self> {
        if text.len() > LONGEST || text.chars().any(|letter| letter.is_control() && letter != '\n') {
            return None;
        }
        let mut lines = text.split('\n').peekable();
        let asker = lines.next()?.strip_suffix(GREETING)?;
        let domain = match asker.split_once("://") {
            Some(("http" | "https", domain)) => domain,
            Some(_) => return None,
            None => asker,
        };
        let address = Address::parse(lines.next()?)?;
        // A statement stands between two empty lines. Without one there are two empty lines, or one, as some clients write it.
        lines.next_if_eq(&"")?;
        if lines.peek()?.is_empty() {
            lines.next();
        } else if !lines.peek()?.starts_with("URI: ") {
            lines.next();
            lines.next_if_eq(&"")?;
        }
        let mut field = |name: &str| {
            let value = lines.peek()?.strip_prefix(name)?.strip_prefix(": ")?;
            lines.next();
            Some(value)
        };
        let uri = field("URI")?.to_owned();
        if field("Version")? != "1" {
            return None;
        }
        let chain = field("Chain ID").filter(|id| id.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
        let nonce = field("Nonce")?.to_owned();
        if nonce.len() < SHORTEST_NONCE || !nonce.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let issued_at = moment(field("Issued At")?)?;
        let expires_at = field("Expiration Time").map(moment);
        let not_before = field("Not Before").map(moment);
        let _request = field("Request ID");
        if lines.next_if_eq(&"Resources:").is_some() {
            while lines.next_if(|line| line.starts_with("- ")).is_some() {}
        }
        if lines.next().is_some() {
            return None;
        }
        Some(Self {
            domain: domain.to_owned(),
            address,
            uri,
            chain,
            nonce,
            issued_at,
            // A date that is there and cannot be read is not a date that is missing.
            expires_at: expires_at.map_or(Some(None), |at| at.map(Some))?,
            not_before: not_before.map_or(Some(None), |at| at.map(Some))?,
        })
    }

    /// Refuses a message for another host or chain, or for another time.
    pub(super) fn check(&self, domains: &[String], chains: &[u64], now: Timestamp) -> Result<(), Refusal> {
        if !domains.iter().any(|domain| domain.eq_ignore_ascii_case(&self.domain)) {
            return Err(bad_credential("This message signs in to another host."));
        }
        if !host_of(&self.uri).is_some_and(|host| host.eq_ignore_ascii_case(&self.domain)) {
            return Err(bad_credential("The URI of this message is at another host than its domain."));
        }
        if !chains.contains(&self.chain) {
            return Err(bad_credential("This message is for another chain."));
        }
        let latest = Timestamp(now.0.saturating_add(AHEAD));
        if self.issued_at > latest || self.not_before.is_some_and(|begins| begins > now) {
            return Err(bad_credential("This message is not valid yet."));
        }
        if self.expires_at.is_some_and(|ends| ends <= now) {
            return Err(bad_credential("This message has expired."));
        }
        Ok(())
    }
}

/// A message for `address` to sign. `None` when a moment cannot be written as a date.
pub(super) fn write(
    domain: &str,
    address: Address,
    chain: u64,
    nonce: &str,
    issued_at: Timestamp,
    expires_at: Timestamp,
) -> Option<String> {
    let date = |at: Timestamp| Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_string());
    let local = domain.split(':').next().is_some_and(|host| host == "localhost" || host == "127.0.0.1");
    let scheme = if local { "http" } else { "https" };
    Some(format!(
        "{domain}{GREETING}\n{address}\n\nSign in. This costs nothing and sends nothing.\n\nURI: {scheme}://{domain}\n\
         Version: 1\nChain ID: {chain}\nNonce: {nonce}\nIssued At: {issued}\nExpiration Time: {expires}",
        address = address.checksummed(),
        issued = date(issued_at)?,
        expires = date(expires_at)?,
    ))
}

/// A date and time of RFC 3339.
fn moment(text: &str) -> Option<Timestamp> {
    // The library also reads what RFC 9557 adds in brackets.
    if text.contains('[') {
        return None;
    }
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(at.as_millisecond()))
}

/// Host and port of an http address as they are written there.
fn host_of(uri: &str) -> Option<&str> {
    let rest = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"))?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let host = &rest[..end];
    (!host.is_empty() && !host.contains('@')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "0x9d8A62f656a8d1615C1294fd71e9CFb3E4855A4F";

    /// 20 November 2026, 12:00 UTC.
    const NOON: Timestamp = Timestamp(1_795_176_000_000);

    fn full() -> String {
        format!(
            "app.example.org wants you to sign in with your Ethereum account:\n{ADDRESS}\n\nSign in to Antiphon.\n\n\
             URI: https://app.example.org/login\nVersion: 1\nChain ID: 1\nNonce: 0123456789abcdef0123456789abcdef\n\
             Issued At: 2026-11-20T12:00:00Z\nExpiration Time: 2026-11-20T12:05:00Z\n\
             Not Before: 2026-11-20T11:59:00Z\nRequest ID: some-id\nResources:\n- ipfs://x\n- https://example.com/y"
        )
    }

    fn check(text: &str, now: Timestamp) -> Result<(), Refusal> {
        Message::parse(text)?.check(&["other.example".into(), "App.example.org".into()], &[5, 1], now)
    }

    #[test]
    fn every_form_that_the_specification_has_is_read() {
        let message = Message::parse(&full()).unwrap();
        assert_eq!(message.domain, "app.example.org");
        assert_eq!(message.address, Address::parse(ADDRESS).unwrap());
        assert_eq!((message.chain, message.issued_at), (1, NOON));
        assert_eq!(message.expires_at, Some(Timestamp(NOON.0 + 300_000)));
        assert_eq!(message.not_before, Some(Timestamp(NOON.0 - 60_000)));
        assert_eq!(check(&full(), NOON), Ok(()));
        let short = full().split("\nExpiration").next().unwrap().to_owned();
        for text in [
            short.clone(),
            format!("https://{short}"),
            short.replace("\nSign in to Antiphon.\n", "\n"),
            short.replace("\n\nSign in to Antiphon.\n\n", "\n\n"),
            format!("{short}\nNot Before: 2026-11-20T12:00:00+00:30"),
            format!("{short}\nRequest ID: "),
            format!("{short}\nResources:"),
        ] {
            assert_eq!(check(&text, NOON), Ok(()), "{text}");
        }
    }

    #[test]
    fn t4_a_message_in_any_other_form_is_refused() {
        let full = full();
        for wrong in [
            String::new(),
            "hello".into(),
            full.replace(ADDRESS, "0x1234"),
            full.replace("Version: 1", "Version: 2"),
            full.replace("Chain ID: 1", "Chain ID: one"),
            full.replace("Chain ID: 1", "Chain ID: +1"),
            full.replace("Chain ID: 1", "Chain ID: 99999999999999999999"),
            full.replace("Nonce: 0123456789abcdef0123456789abcdef", "Nonce: 0123456"),
            full.replace("Nonce: 0123", "Nonce: 01-3"),
            full.replace("2026-11-20T12:00:00Z", "yesterday"),
            full.replace("2026-11-20T12:00:00Z", "2026-11-20T12:00:00Z[Europe/Berlin]"),
            full.replace("2026-11-20T12:05:00Z", "2026-13-20T12:05:00Z"),
            full.replace("2026-11-20T11:59:00Z", "soon"),
            full.replace("Version: 1\nChain ID: 1", "Chain ID: 1\nVersion: 1"),
            full.replace("Issued At: 2026-11-20T12:00:00Z\n", ""),
            full.replace('\n', "\r\n"),
            full.replace("app.example.org wants", "javascript://app.example.org wants"),
            format!("{full}\nNonce: ffffffffffffffff"),
            format!("{full}\n"),
            format!("{full}\n- {}", "x".repeat(LONGEST)),
        ] {
            assert!(Message::parse(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn t4_a_message_for_another_host_chain_or_time_is_refused() {
        let full = full();
        for wrong in [
            full.replace("app.example.org", "evil.example"),
            full.replacen("app.example.org", "evil.example", 1),
            full.replace("https://app.example.org", "https://evil.example"),
            full.replace("https://app.example.org", "https://app.example.org.evil.example"),
            full.replace("https://app.example.org", "https://app.example.org@evil.example"),
            full.replace("https://app.example.org", "https://evil.example\\@app.example.org"),
            full.replace("https://app.example.org", "urn:app.example.org"),
            full.replacen("app.example.org", "app.example.org:8443", 1),
            full.replace("Chain ID: 1", "Chain ID: 2"),
            full.replace("Issued At: 2026-11-20T12:00:00Z", "Issued At: 2026-11-20T12:01:01Z"),
        ] {
            assert_eq!(
                check(&wrong, NOON).unwrap_err().code,
                antiphon_core::refusal::Code::BadCredential,
                "{wrong}"
            );
        }
        assert!(check(&full, Timestamp(NOON.0 - 60_001)).is_err(), "before Not Before");
        assert!(check(&full, Timestamp(NOON.0 - 60_000)).is_ok());
        assert!(check(&full, Timestamp(NOON.0 + 299_999)).is_ok());
        assert!(check(&full, Timestamp(NOON.0 + 300_000)).is_err(), "at Expiration Time");
    }

    #[test]
    fn what_is_written_can_be_read() {
        for domain in ["app.example.org", "localhost:3000"] {
            let address = Address::parse(ADDRESS).unwrap();
            let text =
                write(domain, address, 7, "0123456789abcdef", NOON, Timestamp(NOON.0 + 1_500)).unwrap();
            let message = Message::parse(&text).unwrap();
            assert_eq!(message.check(&[domain.into()], &[7], NOON), Ok(()), "{text}");
            assert_eq!((message.address, message.issued_at), (address, NOON));
            assert_eq!(message.expires_at, Some(Timestamp(NOON.0 + 1_500)));
        }
    }
}

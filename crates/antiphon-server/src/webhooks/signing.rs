//! How a receiver knows that a delivery is ours and untouched: Standard Webhooks, symmetric signatures.

use antiphon_core::ids::Timestamp;
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

/// What a secret begins with.
const PREFIX: &str = "whsec_";

/// Signs with each of the secrets of an endpoint.
pub(super) struct Signer(Vec<Webhook>);

impl Signer {
    /// From one or several secrets with spaces between them. What is refused is not repeated.
    pub(super) fn new(secrets: &str) -> anyhow::Result<Self> {
        let keys: Vec<_> = secrets.split_whitespace().map(key).collect::<anyhow::Result<_>>()?;
        anyhow::ensure!(!keys.is_empty(), "the secret is empty");
        Ok(Self(keys))
    }

    /// The headers of a delivery that is sent now. Every attempt has the same id, and a time and signatures of its own.
    pub(super) fn headers(&self, id: &str, body: &str, now: Timestamp) -> anyhow::Result<HeaderMap> {
        let seconds = now.0.div_euclid(1_000);
        let signatures: Vec<_> =
            self.0.iter().map(|key| key.sign(id, seconds, body.as_bytes())).collect::<Result<_, _>>()?;
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: String| -> anyhow::Result<()> {
            let value = HeaderValue::try_from(value).context("a header of a delivery")?;
            headers.insert(HeaderName::from_static(name), value);
            Ok(())
        };
        set(HEADER_WEBHOOK_ID, id.to_owned())?;
        set(HEADER_WEBHOOK_TIMESTAMP, seconds.to_string())?;
        set(HEADER_WEBHOOK_SIGNATURE, signatures.join(" "))?;
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(headers)
    }
}

fn key(secret: &str) -> anyhow::Result<Webhook> {
    let wrong = "a secret is `whsec_` and 24 to 64 bytes in base64; make one with: \
                 echo \"whsec_$(openssl rand -base64 32)\"";
    let key = secret.strip_prefix(PREFIX).and_then(|text| BASE64_STANDARD.decode(text).ok());
    let key = key.filter(|key| (24..=64).contains(&key.len())).context(wrong)?;
    Ok(Webhook::from_bytes(key)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

    #[test]
    fn signatures_are_those_of_the_specification() {
        let signer = Signer::new(SECRET).unwrap();
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let headers =
            signer.headers("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", body, Timestamp(1_649_367_553_999)).unwrap();
        assert_eq!(headers["webhook-id"], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk");
        assert_eq!(headers["webhook-timestamp"], "1649367553");
        assert_eq!(headers["webhook-signature"], "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
        assert_eq!(headers["content-type"], "application/json");
    }

    #[test]
    fn while_secrets_are_replaced_either_verifies() {
        let other = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let signer = Signer::new(&format!(" {other}\n{SECRET} ")).unwrap();
        let now = Timestamp(jiff::Timestamp::now().as_millisecond());
        let headers = signer.headers("msg_1", "{}", now).unwrap();
        for secret in [SECRET, other] {
            Webhook::new(secret).unwrap().verify(b"{}", &headers).unwrap();
        }
        let stranger = Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert!(stranger.verify(b"{}", &headers).is_err());
    }

    #[test]
    fn a_secret_of_another_form_is_refused_and_not_repeated() {
        let long = format!("whsec_{}", BASE64_STANDARD.encode([7; 65]));
        let short = format!("whsec_{}", BASE64_STANDARD.encode([7; 23]));
        for secret in
            ["", " ", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD", "whsec_", "whsec_not/base64!", &short, &long]
        {
            let Err(error) = Signer::new(secret) else { panic!("{secret} is refused") };
            let said = format!("{error:#}");
            assert!(secret.trim().len() < 8 || !said.contains(secret), "{said}");
        }
        for length in [24, 64] {
            let secret = format!("whsec_{}", BASE64_STANDARD.encode(vec![7; length]));
            assert!(Signer::new(&secret).is_ok());
        }
        // One wrong secret among several is not passed over.
        assert!(Signer::new(&format!("{SECRET} nonsense")).is_err());
    }
}

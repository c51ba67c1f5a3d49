//! Signed tokens (JWT, RFC 7519) as an app's own backend would make them: HS256, with a secret that both sides know.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac_sha256::HMAC;
use serde_json::{Value, json};

/// The secret of the only issuer that a measured server believes. Protects nothing: the server lives for one measurement,
/// and on loopback.
pub const SECRET: &str = "antiphon-bench measures what it costs to verify this";

/// How long a token is good for, in seconds: longer than any measurement.
const GOOD_FOR: u64 = 3_600;

/// A token that speaks for `person` for an hour from now.
pub fn signed_for(person: &str) -> String {
    sign(&claims_of(person), SECRET)
}

/// The same, for somebody who has `role` besides.
pub fn signed_with_role(person: &str, role: &str) -> String {
    let mut claims = claims_of(person);
    claims["roles"] = json!([role]);
    sign(&claims, SECRET)
}

fn claims_of(person: &str) -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    json!({"sub": person, "iat": now, "exp": now + GOOD_FOR, "jti": format!("{person}-{now}")})
}

fn sign(claims: &Value, secret: &str) -> String {
    let header = json!({"typ": "JWT", "alg": "HS256"});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = BASE64_URL_SAFE_NO_PAD.encode(HMAC::mac(&signed, secret));
    format!("{signed}.{signature}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_a_header_claims_and_the_signature_of_both() {
        let token = signed_for("u7");
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (_, claims) = signed.split_once('.').unwrap();
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        assert_eq!(claims["sub"], "u7");
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), GOOD_FOR);
        assert_eq!(BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap(), HMAC::mac(signed, SECRET));
    }
}

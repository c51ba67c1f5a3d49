//! What a token's claims say, and whether they are what they should be (RFC 7519, section 4.1).
//!
//! Only called with claims whose signature was verified. A claim of the wrong type is refused, never passed over.

use std::sync::Arc;

use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::refusal::Refusal;
use serde_json::{Map, Value};

use crate::auth::bad_credential;
use crate::auth::settings::Issuer;

/// How far the issuer's clock may be ahead of ours, in milliseconds. `exp` gets nothing: it is ours to enforce.
const AHEAD: i64 = 60_000;

/// The last second of the year 9999, which is the last that a date can be written of.
const LAST_SECOND: f64 = 253_402_300_799.0;

/// Longest accepted `jti`, and longest accepted role, in bytes.
const LONGEST: usize = 256;

/// Most roles of one token.
const ROLES: usize = 64;

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Claims {
    pub(super) person: PersonId,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) id: Option<Arc<str>>,
    pub(super) roles: Vec<Arc<str>>,
}

/// Reads and checks the claims of a token of `issuer`.
pub(super) fn read(said: &Map<String, Value>, issuer: &Issuer, now: Timestamp) -> Result<Claims, Refusal> {
    if text(said, "iss")? != issuer.issuer.as_deref() {
        return Err(bad_credential("This token is another issuer's."));
    }
    if !is_for_us(said.get("aud"), &issuer.audience) {
        return Err(bad_credential("This token is not meant for this server."));
    }
    let expires_at = moment(said, "exp")?
        .ok_or_else(|| bad_credential("This token does not say when it expires (`exp`)."))?;
    not_expired(expires_at, now)?;
    let issued_at = moment(said, "iat")?;
    for begins in [moment(said, "nbf")?, issued_at].into_iter().flatten() {
        if begins.0 > now.0.saturating_add(AHEAD) {
            return Err(bad_credential("This token is not valid yet."));
        }
    }
    let subject = text(said, "sub")?
        .ok_or_else(|| bad_credential("This token does not say whom it is about (`sub`)."))?;
    let person = PersonId::parse(&format!("{}{subject}", issuer.prefix))
        .map_err(|_| bad_credential("The `sub` of this token cannot name a person."))?;
    let id = text(said, "jti")?;
    if id.is_some_and(|id| id.is_empty() || id.len() > LONGEST) {
        return Err(wrong("jti"));
    }
    Ok(Claims {
        person,
        // What does not say when it was signed was signed before every revocation.
        issued_at: issued_at.unwrap_or(Timestamp(i64::MIN)),
        expires_at,
        id: id.map(Arc::from),
        roles: roles(said, &issuer.roles_claim)?,
    })
}

/// Refuses what has expired.
pub(super) fn not_expired(expires_at: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if expires_at <= now { Err(bad_credential("This credential has expired.")) } else { Ok(()) }
}

/// A claim that is text, if it is there.
fn text<'a>(said: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    match said.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(wrong(name)),
    }
}

/// A claim that is a moment in seconds, whole or not, if it is there.
fn moment(said: &Map<String, Value>, name: &'static str) -> Result<Option<Timestamp>, Refusal> {
    let Some(value) = said.get(name) else { return Ok(None) };
    let seconds = match value {
        Value::Number(number) => number.as_f64(),
        _ => None,
    };
    match seconds {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the range was checked: it fits with room to spare"
        )]
        Some(seconds) if (0.0..=LAST_SECOND).contains(&seconds) => {
            Ok(Some(Timestamp((seconds * 1_000.0).round() as i64)))
        }
        _ => Err(wrong(name)),
    }
}

/// Whether `aud`, a text or a list of texts, names one of ours. Without names of ours it must be absent.
fn is_for_us(audience: Option<&Value>, ours: &[String]) -> bool {
    let is_ours = |value: &Value| value.as_str().is_some_and(|name| ours.iter().any(|our| our == name));
    match audience {
        None => ours.is_empty(),
        Some(Value::Array(names)) => names.iter().all(Value::is_string) && names.iter().any(is_ours),
        Some(name) => is_ours(name),
    }
}

/// The roles under `claim`: a text or a list of texts; none when it is absent, or has no name.
fn roles(said: &Map<String, Value>, claim: &str) -> Result<Vec<Arc<str>>, Refusal> {
    if claim.is_empty() {
        return Ok(Vec::new());
    }
    // Names of claims are often addresses, with dots of their own.
    let found = said.get(claim).or_else(|| {
        let mut parts = claim.split('.');
        let first = said.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    });
    let listed = match found {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(listed)) => listed.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if listed.len() > ROLES {
        return Err(bad_credential("This token lists too many roles."));
    }
    let role = |value: &Value| value.as_str().filter(|role| role.len() <= LONGEST).map(Arc::from);
    listed
        .iter()
        .map(|value| role(value).ok_or_else(|| bad_credential("The roles of this token are not text.")))
        .collect()
}

fn wrong(claim: &'static str) -> Refusal {
    bad_credential(format!("The `{claim}` of this token is not what it should be."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// 20 November 2026, in seconds and as the server has it.
    const SECOND: i64 = 1_795_132_800;
    const NOW: Timestamp = Timestamp(SECOND * 1_000);

    fn issuer() -> Issuer {
        Issuer { name: "app".into(), issuer: Some("https://id.example".into()), ..Issuer::default() }
    }

    fn good() -> Value {
        json!({"iss": "https://id.example", "sub": "ada", "exp": SECOND + 60})
    }

    /// What becomes of a good token whose claim `name` is `value`, or missing.
    fn with(issuer: &Issuer, name: &str, value: Option<Value>) -> Result<Claims, Refusal> {
        let mut said = good().as_object().cloned().unwrap();
        match value {
            Some(value) => said.insert(name.into(), value),
            None => said.remove(name),
        };
        read(&said, issuer, NOW)
    }

    #[test]
    fn a_good_token_says_who_until_when() {
        let claims = with(&issuer(), "jti", Some(json!("j1"))).unwrap();
        assert_eq!(claims.person.as_str(), "ada");
        assert_eq!(claims.expires_at, Timestamp((SECOND + 60) * 1_000));
        assert_eq!(claims.issued_at, Timestamp(i64::MIN));
        assert_eq!(claims.id.as_deref(), Some("j1"));
        assert_eq!(with(&issuer(), "iat", Some(json!(SECOND))).unwrap().issued_at, NOW);
        assert_eq!(
            with(&issuer(), "exp", Some(json!(SECOND as f64 + 1.5))).unwrap().expires_at,
            Timestamp(NOW.0 + 1_500)
        );
        let prefixed = Issuer { prefix: "app:".into(), ..issuer() };
        assert_eq!(with(&prefixed, "jti", None).unwrap().person.as_str(), "app:ada");
    }

    #[test]
    fn t18_an_exp_that_is_missing_or_of_another_kind_is_refused() {
        // CVE-2026-25537 took a claim of the wrong type for an absent one.
        let far = (SECOND + 60).to_string();
        for value in [
            None,
            Some(json!(far)),
            Some(json!(null)),
            Some(json!(true)),
            Some(json!([SECOND + 60])),
            Some(json!({"seconds": SECOND + 60})),
            Some(json!(-1)),
            Some(json!(-1.5e300)),
            Some(json!(1e300)),
            Some(json!(u64::MAX)),
            Some(json!(i64::MAX)),
            Some(json!(253_402_300_800_i64)),
            Some(json!((SECOND + 60) * 1_000)),
            Some(json!(SECOND)),
            Some(json!(SECOND - 1)),
            Some(json!(0)),
        ] {
            assert!(with(&issuer(), "exp", value.clone()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn t18_a_token_from_the_future_is_refused_beyond_a_minute() {
        for claim in ["nbf", "iat"] {
            assert!(with(&issuer(), claim, Some(json!(SECOND + 60))).is_ok(), "{claim}");
            for value in [json!(SECOND + 61), json!("soon"), json!(-1), json!(null)] {
                assert!(with(&issuer(), claim, Some(value.clone())).is_err(), "{claim} {value}");
            }
        }
    }

    #[test]
    fn t18_a_token_is_bound_to_its_issuer_and_its_audience() {
        for value in
            [None, Some(json!("https://other.example")), Some(json!(["https://id.example"])), Some(json!(1))]
        {
            assert!(with(&issuer(), "iss", value.clone()).is_err(), "{value:?}");
        }
        let ours = Issuer { audience: vec!["antiphon".into(), "chat".into()], ..issuer() };
        for value in [json!("antiphon"), json!(["other", "chat"])] {
            assert!(with(&ours, "aud", Some(value.clone())).is_ok(), "{value}");
            assert!(with(&issuer(), "aud", Some(value.clone())).is_err(), "{value} without a name of ours");
        }
        for value in [
            None,
            Some(json!("other")),
            Some(json!([])),
            Some(json!(1)),
            Some(json!(["chat", 1])),
            Some(json!({})),
        ] {
            assert!(with(&ours, "aud", value.clone()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_subject_has_to_be_an_id() {
        for value in
            [None, Some(json!("")), Some(json!(7)), Some(json!("a\nb")), Some(json!("x".repeat(129)))]
        {
            assert!(with(&issuer(), "sub", value.clone()).is_err(), "{value:?}");
        }
    }

    #[test]
    fn roles_are_found_under_a_plain_a_dotted_and_an_address_like_name() {
        let with_roles = |claim: &str, said: Value| {
            let mut all = good();
            all.as_object_mut().unwrap().extend(said.as_object().cloned().unwrap());
            let issuer = Issuer { roles_claim: claim.into(), ..issuer() };
            read(all.as_object().unwrap(), &issuer, NOW).map(|claims| claims.roles)
        };
        let expected: Vec<Arc<str>> = vec!["admin".into(), "viewer".into()];
        let list = json!(["admin", "viewer"]);
        assert_eq!(with_roles("roles", json!({"roles": list})), Ok(expected.clone()));
        assert_eq!(with_roles("realm.roles", json!({"realm": {"roles": list}})), Ok(expected.clone()));
        assert_eq!(with_roles("https://a.b/roles", json!({"https://a.b/roles": list})), Ok(expected));
        assert_eq!(with_roles("roles", json!({"roles": "admin"})), Ok(vec!["admin".into()]));
        assert_eq!(with_roles("roles", json!({})), Ok(vec![]));
        assert!(with_roles("roles", json!({"roles": [1]})).is_err());
        assert!(with_roles("roles", json!({"roles": vec!["r"; 65]})).is_err());
    }
}

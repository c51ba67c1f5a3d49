//! `token create`: a signed token (JWT) of an issuer that this server believes, for trying things out and for scripts.

use std::io::Write as _;

use antiphon_core::memory::SystemClock;
use antiphon_core::ports::Clock as _;
use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use jiff::Span;
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};

use super::moment;
use super::serve::ConfigFile;
use crate::auth::{self, Algorithm, Issuer};
use crate::config::Loaded;

/// Signed tokens (JWT).
#[derive(Subcommand)]
pub(super) enum Token {
    Create(Create),
}

/// Sign a token with the secret of a configured issuer (HS256) and print it.
///
/// Standard output has the token and nothing else. It is good until it expires; `POST /v1/revocations` ends it before, by its
/// id.
#[derive(Args)]
#[command(after_help = "Example:\n  antiphon token create ada --expires-in 15m --config antiphon.toml")]
pub(super) struct Create {
    #[command(flatten)]
    config: ConfigFile,
    /// The person it speaks for: the `sub` claim. An issuer with a prefix puts that before it.
    subject: String,
    /// Which `[[auth.issuer]]` signs, by name [default: the only one with a secret].
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// How long it is good for: `15m`, `12h`, `90d`.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = moment::span)]
    expires_in: Span,
    /// A role that it gives. May be given several times.
    #[arg(long = "role", value_name = "NAME")]
    roles: Vec<String>,
}

impl Token {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let Self::Create(Create { config, subject, issuer, expires_in, roles }) = self;
        let settings = Loaded::read(&config.sources())?.config.auth;
        let issuer = choose(&settings.issuers, issuer.as_deref())?;
        let now = SystemClock.now();
        let expires = moment::after(now, expires_in)?;
        let id = uuid::Uuid::new_v4().to_string();
        let claims = claims(issuer, &subject, &id, (now.0 / 1_000, expires.0 / 1_000), &roles)?;
        let token = sign(issuer, &claims)?;
        let said = format!("signed by {}, id {id}, expires {}", issuer.name, moment::write(expires));
        writeln!(std::io::stderr(), "{said}")?;
        writeln!(std::io::stdout(), "{token}")?;
        Ok(())
    }
}

/// The issuer of this name, or the only one that can sign here.
fn choose<'a>(issuers: &'a [Issuer], name: Option<&str>) -> anyhow::Result<&'a Issuer> {
    let signs = |issuer: &&Issuer| issuer.secret.is_some() && issuer.algorithms.contains(&Algorithm::Hs256);
    let names =
        || issuers.iter().filter(signs).map(|issuer| issuer.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        let issuer = issuers.iter().find(|issuer| issuer.name == name);
        let issuer = issuer
            .with_context(|| format!("there is no [[auth.issuer]] {name:?}; there are: {}", names()))?;
        ensure!(
            signs(&issuer),
            "{name} does not sign with HS256; its private key is elsewhere, and so are its tokens"
        );
        return Ok(issuer);
    }
    let mut able = issuers.iter().filter(signs);
    match (able.next(), able.next()) {
        (Some(issuer), None) => Ok(issuer),
        (Some(_), Some(_)) => bail!("several issuers can sign; choose one with --issuer: {}", names()),
        (None, _) => bail!(
            "no [[auth.issuer]] of the configuration has HS256 and a secret, so no token of this server's can be signed; \
             `antiphon config print` shows what is configured"
        ),
    }
}

fn claims(
    issuer: &Issuer,
    subject: &str,
    id: &str,
    (from, until): (i64, i64),
    roles: &[String],
) -> anyhow::Result<Value> {
    ensure!(!subject.is_empty(), "a token speaks for somebody; the subject is empty");
    let mut claims = json!({ "sub": subject, "iat": from, "exp": until, "jti": id });
    if let Some(iss) = &issuer.issuer {
        claims["iss"] = json!(iss);
    }
    if let Some(audience) = issuer.audience.first() {
        claims["aud"] = json!(audience);
    }
    if !roles.is_empty() {
        let mut place = &mut claims;
        for part in issuer.roles_claim.split('.') {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[part];
        }
        ensure!(place.is_null(), "roles_claim of {} names a claim that tokens have anyway", issuer.name);
        *place = json!(roles);
    }
    Ok(claims)
}

fn sign(issuer: &Issuer, claims: &Value) -> anyhow::Result<String> {
    let secret = issuer.secret.as_ref().context("the issuer has no secret")?;
    let token = auth::sign(secret, claims).context("the token cannot be signed")?;
    Ok(token.expose_secret().to_owned())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation};

    use super::*;
    use crate::config::Secret;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn issuer(name: &str) -> Issuer {
        Issuer {
            name: name.into(),
            algorithms: vec![Algorithm::Hs256],
            secret: Some(Secret::new(SECRET)),
            ..Issuer::default()
        }
    }

    #[test]
    fn a_token_says_what_its_issuer_is_believed_to_say() {
        let issuer = Issuer {
            issuer: Some("https://id.example".into()),
            audience: vec!["antiphon".into(), "other".into()],
            roles_claim: "realm.roles".into(),
            ..issuer("app")
        };
        let claims = claims(&issuer, "ada", "7", (1, 4_000_000_000), &["viewer".into()]).unwrap();
        let token = sign(&issuer, &claims).unwrap();
        let mut validation = Validation::new(jsonwebtoken::Algorithm::HS256);
        validation.set_audience(&["antiphon"]);
        validation.set_issuer(&["https://id.example"]);
        let key = DecodingKey::from_secret(SECRET.as_bytes());
        let read = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap().claims;
        assert_eq!(read["sub"], "ada");
        assert_eq!(read["jti"], "7");
        assert_eq!(read["realm"]["roles"], json!(["viewer"]));
    }

    #[test]
    fn a_roles_claim_cannot_overwrite_who_it_is_about() {
        let issuer = Issuer { roles_claim: "sub".into(), ..issuer("app") };
        assert!(claims(&issuer, "ada", "7", (1, 2), &["admin".into()]).is_err());
    }

    #[test]
    fn the_issuer_is_named_unless_there_is_only_one_that_can_sign() {
        let public =
            Issuer { name: "public".into(), algorithms: vec![Algorithm::Es256], ..Issuer::default() };
        let one = [public.clone(), issuer("one")];
        assert_eq!(choose(&one, None).unwrap().name, "one");
        assert_eq!(choose(&one, Some("one")).unwrap().name, "one");
        for (issuers, name, expected) in [
            (&one[..], Some("public"), "does not sign with HS256"),
            (&one, Some("none"), "there is no [[auth.issuer]] \"none\"; there are: one"),
            (&[issuer("one"), issuer("two")], None, "choose one with --issuer: one, two"),
            (&[public], None, "no [[auth.issuer]] of the configuration has HS256"),
        ] {
            let error = choose(issuers, name).err().unwrap().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}

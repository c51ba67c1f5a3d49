//! Tokens (JWT) that this server signs itself, for people who log in with a password to an API that promises one.
//!
//! To the doorkeeper they are the tokens of one more issuer: verified, expired and revoked like all others. They say who it is
//! and nothing else; what somebody may do is what the store knows of them. All tokens of one login share an id (`jti`), so that
//! logging out ends each of them.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use antiphon_core::actor::{Actor, Proof};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::refusal::Fault;
use anyhow::Context as _;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use super::secret::{hex, random};
use super::settings::{Algorithm, Issuer, People, SHORTEST_SECRET};
use crate::config::Secret;

/// What this server is called among the issuers, and in the `iss` of its tokens.
const NAME: &str = "antiphon";

/// What the issuer is called whose tokens have no `iss`, but are signed with the same configured secret.
const BARE: &str = "mission";

/// The file in the data directory that keeps a secret which nobody has configured.
const FILE: &str = "token.key";

/// Signs tokens.
pub(crate) struct Own {
    secret: Secret,
    /// Whether the secret is one that others may sign with, too.
    is_shared: bool,
    /// Milliseconds that a token is good for.
    lifetime: i64,
    /// Milliseconds after a login in which its tokens can be renewed.
    renewable: i64,
}

/// A token that was signed just now.
pub(crate) struct Signed {
    /// The token itself.
    pub(crate) token: SecretString,
    /// From when on it opens nothing.
    pub(crate) expires_at: Timestamp,
}

/// A login, as its tokens name it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Login {
    iss: String,
    jti: String,
    /// When it began, in milliseconds since the Unix epoch.
    login: i64,
}

impl Own {
    /// Signs with `configured`, which was checked, or with a secret of its own: one that is kept in `directory`, made if it is
    /// not there yet, or without a directory one that this process forgets. Tokens last `lifetime` milliseconds and can be
    /// renewed until `renewable` milliseconds after the login.
    pub(crate) fn open(
        configured: Option<&Secret>,
        directory: Option<&Path>,
        lifetime: u64,
        renewable: u64,
    ) -> anyhow::Result<Self> {
        let secret = match (configured, directory) {
            (Some(secret), _) => secret.clone(),
            (None, Some(directory)) => kept(directory)?,
            (None, None) => fresh(),
        };
        let milliseconds = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Ok(Self {
            secret,
            is_shared: configured.is_some(),
            lifetime: milliseconds(lifetime),
            renewable: milliseconds(renewable.max(lifetime)),
        })
    }

    /// What the doorkeeper has to believe besides `others`: this server's own tokens, and those that somebody else signed with
    /// the configured secret and that have no `iss`, unless one of the others speaks for such.
    pub(crate) fn issuers(&self, others: &[Issuer]) -> Vec<Issuer> {
        let issuer = |name: &str, iss: Option<&str>| Issuer {
            name: name.into(),
            issuer: iss.map(str::to_owned),
            algorithms: vec![Algorithm::Hs256],
            secret: Some(self.secret.clone()),
            people: People::Known,
            // What somebody is, the store says.
            roles_claim: String::new(),
            ..Issuer::default()
        };
        let own = issuer(NAME, Some(NAME));
        let bare = self.is_shared && others.iter().all(|other| other.issuer.is_some());
        [own].into_iter().chain(bare.then(|| issuer(BARE, None))).collect()
    }

    /// The first token of a new login of `person`.
    pub(crate) fn sign(&self, person: &PersonId, now: Timestamp) -> Result<Signed, Fault> {
        self.write(person, &hex(&random::<16>()), now, now)
    }

    /// The next token of the login that `token`, which was verified, belongs to. `None` if it is not one of this server's own,
    /// or if its login was too long ago.
    pub(crate) fn renew(
        &self,
        token: &str,
        person: &PersonId,
        now: Timestamp,
    ) -> Result<Option<Signed>, Fault> {
        let login = login_of(token).filter(|login| now.0 < login.login.saturating_add(self.renewable));
        login.map(|login| self.write(person, &login.jti, Timestamp(login.login), now)).transpose()
    }

    /// Until when a token of a login that exists at `now` can be of use.
    pub(crate) fn longest(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add(self.renewable).saturating_add(self.lifetime))
    }

    /// Whether `actor` came with a token of a login here.
    pub(crate) fn is_of_login(actor: &Actor) -> bool {
        matches!(&actor.proof, Proof::Token { issuer, id: Some(_) } if **issuer == *NAME)
    }

    fn write(&self, person: &PersonId, id: &str, login: Timestamp, now: Timestamp) -> Result<Signed, Fault> {
        let expires_at = Timestamp(now.0.saturating_add(self.lifetime));
        let claims = json!({
            "iss": NAME,
            "sub": person.as_str(),
            "iat": seconds(now),
            "exp": seconds(expires_at),
            "jti": id,
            "login": login.0,
        });
        let token = sign(&self.secret, &claims);
        let token = token.map_err(|error| Fault::because("signing a token", error))?;
        Ok(Signed { token, expires_at })
    }
}

/// `claims` as a token that is signed with `secret` (HS256).
pub(crate) fn sign(secret: &Secret, claims: &Value) -> Result<SecretString, jsonwebtoken::errors::Error> {
    let key = EncodingKey::from_secret(secret.expose().as_bytes());
    jsonwebtoken::encode(&Header::new(jsonwebtoken::Algorithm::HS256), claims, &key).map(SecretString::from)
}

/// A moment as tokens have it: seconds, in whole if it is, so that whoever reads only whole ones can read it most of the time.
fn seconds(at: Timestamp) -> Value {
    match at.0 % 1_000 {
        0 => json!(at.0 / 1_000),
        // Of any date that can be written, a thousandth of a second is still far above what a number of this size loses.
        #[expect(clippy::cast_precision_loss, reason = "as said above")]
        _ => json!(at.0 as f64 / 1_000.0),
    }
}

/// The login that a token of this server's own names. The token must have been verified.
fn login_of(token: &str) -> Option<Login> {
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Login>(&claims).ok().filter(|login| login.iss == NAME)
}

/// A secret that nobody has seen.
fn fresh() -> Secret {
    Secret::new(hex(&random::<32>()))
}

/// The secret that is kept in `directory`; it is made if there is none.
fn kept(directory: &Path) -> anyhow::Result<Secret> {
    let path = directory.join(FILE);
    let told = || format!("the secret that tokens are signed with, in {}", path.display());
    match File::open(&path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(told)?;
            let text = text.trim();
            anyhow::ensure!(text.len() >= SHORTEST_SECRET, "{}: it is too short to be one", told());
            Ok(Secret::new(text))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => make(directory, &path).with_context(told),
        Err(error) => Err(error).with_context(told),
    }
}

/// Makes a secret that is there as a whole or not at all, whenever this process dies.
fn make(directory: &Path, path: &Path) -> anyhow::Result<Secret> {
    let secret = fresh();
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(secret.expose().as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use secrecy::ExposeSecret as _;

    use super::*;

    const NOW: Timestamp = Timestamp(1_795_132_800_123);
    const MINUTE: i64 = 60_000;

    fn own() -> Own {
        Own::open(None, None, 30 * 60_000, 24 * 60 * 60_000).unwrap()
    }

    fn ada() -> PersonId {
        PersonId::parse("ada").unwrap()
    }

    fn claims(token: &SecretString) -> Value {
        let claims = token.expose_secret().split('.').nth(1).unwrap();
        serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
    }

    #[test]
    fn a_token_says_who_it_is_until_when_and_nothing_of_what_they_may_do() {
        let signed = own().sign(&ada(), NOW).unwrap();
        assert_eq!(signed.expires_at, Timestamp(NOW.0 + 30 * MINUTE));
        let said = claims(&signed.token);
        let names: Vec<_> = said.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["exp", "iat", "iss", "jti", "login", "sub"]);
        assert_eq!((said["sub"].as_str(), said["iss"].as_str()), (Some("ada"), Some("antiphon")));
        assert_eq!(said["exp"], json!(1_795_134_600.123));
    }

    #[test]
    fn the_tokens_of_a_login_share_its_id_and_end_with_it() {
        let own = own();
        let first = own.sign(&ada(), NOW).unwrap().token;
        let after = |milliseconds| Timestamp(NOW.0 + milliseconds);
        let renew = |token: &SecretString, at| {
            own.renew(token.expose_secret(), &ada(), at).unwrap().map(|signed| signed.token)
        };
        let second = renew(&first, after(20 * MINUTE)).unwrap();
        assert_eq!(claims(&second)["jti"], claims(&first)["jti"]);
        assert_eq!(claims(&second)["login"], json!(NOW.0));
        assert!(renew(&second, after(24 * 60 * MINUTE - 1)).is_some());
        assert!(
            renew(&second, after(24 * 60 * MINUTE)).is_none(),
            "a login ends, however often it was renewed"
        );
        assert_ne!(claims(&own.sign(&ada(), NOW).unwrap().token)["jti"], claims(&first)["jti"]);
    }

    #[test]
    fn a_token_of_somebody_else_is_not_renewed() {
        let claims = json!({"iss": "https://id.example", "sub": "ada", "jti": "7", "login": NOW.0});
        let foreign = sign(&fresh(), &claims).unwrap();
        for token in [foreign.expose_secret(), "a.b.c", "", "ses_x"] {
            assert!(own().renew(token, &ada(), NOW).unwrap().is_none(), "{token}");
        }
    }

    #[test]
    fn a_secret_is_made_once_and_is_nobody_elses_to_read() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("token.new"), "what a crash left").unwrap();
        let first = kept(directory.path()).unwrap();
        assert_eq!(first.expose().len(), 64);
        assert_eq!(kept(directory.path()).unwrap().expose(), first.expose());
        let path = directory.path().join(FILE);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::write(&path, "short").unwrap();
        let error = format!("{:#}", kept(directory.path()).unwrap_err());
        assert!(
            error.contains("token.key") && error.contains("short") && !error.contains("Secret"),
            "{error}"
        );
    }

    #[test]
    fn tokens_without_an_issuer_are_believed_only_under_a_secret_that_somebody_configured() {
        let configured = Secret::new("0123456789abcdef0123456789abcdef");
        let shared = Own::open(Some(&configured), None, 1, 1).unwrap();
        let names = |own: &Own, others: &[Issuer]| -> Vec<String> {
            own.issuers(others).into_iter().map(|issuer| issuer.name).collect()
        };
        let other = |iss: Option<&str>| Issuer { issuer: iss.map(str::to_owned), ..Issuer::default() };
        assert_eq!(names(&own(), &[]), ["antiphon"]);
        assert_eq!(names(&shared, &[]), ["antiphon", "mission"]);
        assert_eq!(names(&shared, &[other(Some("x"))]), ["antiphon", "mission"]);
        assert_eq!(names(&shared, &[other(None)]), ["antiphon"]);
    }
}

//! How a login becomes a session, and how a session goes on and ends.
//!
//! A session has two tokens: one that opens the door for a while, one that gets the next two, once. Both name the login they
//! descend from (its [`Family`]); a revocation names the login too, so that it reaches every connection that any of its tokens
//! opened. A refresh token that comes a second time was stolen, or its thief was first: the whole login ends.

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::{Person, Principal, Proof, SecretHash, Session};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::ports::Store;
use antiphon_core::refusal::{Code, Refusal};
use secrecy::{ExposeSecret as _, SecretString};

use super::passwords::Passwords;
use super::rate::Rates;
use super::secret::{self, Family, REFRESH, SESSION};
use super::settings::Settings;
use super::{Denied, bad_credential};

/// Tries per name and minute.
const TRIES: u32 = 5;

/// What a login or a refresh gives to the client.
#[derive(Debug)]
pub struct Opened {
    /// Whose session it is.
    pub person: PersonId,
    /// The token that opens the door: `ses_…`.
    pub token: SecretString,
    /// Until when it does.
    pub expires_at: Timestamp,
    /// The token that gets the next session, once: `ref_…`.
    pub refresh: SecretString,
    /// Until when it does.
    pub refresh_until: Timestamp,
}

/// A session as a connection shows it.
pub(crate) struct Shown {
    pub(crate) person: PersonId,
    /// Names the login: see [`Proof::Session`].
    pub(crate) name: SecretHash,
    pub(crate) created_at: Timestamp,
    pub(crate) expires_at: Timestamp,
}

/// What came of a refresh token.
pub(crate) enum Refreshed {
    /// The next session.
    Opened(Opened),
    /// It had been used before. The login with this name has to end.
    Reused(SecretHash),
}

/// Opens, renews and ends sessions.
pub(crate) struct Sessions {
    store: Arc<dyn Store>,
    passwords: Passwords,
    tries: Rates<SecretHash>,
    lifetime: i64,
    renewable: i64,
}

impl Sessions {
    pub(crate) fn new(store: Arc<dyn Store>, passwords: Passwords, settings: &Settings) -> Self {
        let milliseconds = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        Self {
            store,
            passwords,
            tries: Rates::default(),
            lifetime: milliseconds(settings.session),
            renewable: milliseconds(settings.refresh),
        }
    }

    /// How long any token of a login that exists now can be of use.
    pub(crate) fn longest(&self) -> Duration {
        Duration::from_millis(self.renewable.max(self.lifetime).unsigned_abs())
    }

    /// Gives a person a password.
    pub(crate) async fn set_password(&self, person: &PersonId, password: SecretString) -> Result<(), Denied> {
        self.passwords.set(&*self.store, person, password).await
    }

    /// A session for whoever has this name and password. Whether it is the name or the password that is wrong shows neither in
    /// the answer nor in its time.
    pub(crate) async fn login(
        &self,
        name: &str,
        password: SecretString,
        now: Timestamp,
    ) -> Result<Opened, Denied> {
        let person = self.prove(name, password).await?;
        self.open(person, now).await
    }

    /// Who has this name and password.
    pub(crate) async fn prove(&self, name: &str, password: SecretString) -> Result<PersonId, Denied> {
        // Names are hashed so that long ones cost no memory.
        let counted = secret::hash(name);
        if let Err(retry_after) = self.tries.count(&counted, TRIES) {
            let code = Code::RateLimited { retry_after };
            return Err(Refusal::new(code, "Too many tries for this name; try again later.").into());
        }
        let person = PersonId::parse(name).ok();
        let phc = match &person {
            Some(person) => self.store.password(person).await?,
            None => None,
        };
        let right = self.passwords.verify(password, phc).await?;
        let Some(person) = person.filter(|_| right) else {
            return Err(bad_credential("The name or the password is wrong.").into());
        };
        self.tries.forget(&counted);
        Ok(person)
    }

    /// Adds a person who has this password from the start; whether there was nobody of that name before.
    pub(crate) async fn register(&self, person: &Person, password: SecretString) -> Result<bool, Denied> {
        let phc = self.passwords.hash(password).await?;
        if !self.store.add_person(person).await? {
            return Ok(false);
        }
        self.store.put_password(&person.id, &phc).await?;
        Ok(true)
    }

    /// A session for `person`, who has proved who they are.
    pub(crate) async fn open(&self, person: PersonId, now: Timestamp) -> Result<Opened, Denied> {
        let (session, opened) = self.make(person, Family::random(), now, now);
        self.store.put_session(&session).await?;
        Ok(opened)
    }

    /// The session that `token` belongs to, if it is one and has not expired.
    pub(crate) async fn show(&self, token: &str, hash: SecretHash, now: Timestamp) -> Result<Shown, Denied> {
        let unknown = || bad_credential("This session is not known.");
        let family = Family::of(token, SESSION).ok_or_else(unknown)?;
        let session = self.store.session(&hash).await?.ok_or_else(unknown)?;
        if session.expires_at <= now {
            return Err(bad_credential("This session has expired.").into());
        }
        Ok(Shown {
            person: session.person,
            name: family.name(),
            created_at: session.created_at,
            expires_at: session.expires_at,
        })
    }

    /// The next session for a refresh token that was not used before.
    pub(crate) async fn refresh(&self, token: &SecretString, now: Timestamp) -> Result<Refreshed, Denied> {
        let unknown = || bad_credential("This session cannot be renewed.");
        let token = token.expose_secret();
        let family = Family::of(token, REFRESH).ok_or_else(unknown)?;
        let hash = secret::hash(token);
        let Some(last) = self.store.session_by_refresh(&hash).await? else {
            // Only a token that was used leaves its mark, so nobody can end a login, or make the store write, with a guess.
            let used = self.store.take_nonce(&mark(token), now).await?;
            return if used { Ok(Refreshed::Reused(family.name())) } else { Err(unknown().into()) };
        };
        if last.refresh_until <= now {
            return Err(unknown().into());
        }
        let proof = Proof::Session(family.name());
        let principal = Principal::Person(last.person.clone());
        if self.store.is_revoked(&proof, &principal, last.created_at).await? {
            return Err(unknown().into());
        }
        let (next, opened) = self.make(last.person, family, last.created_at, now);
        if !self.store.rotate_session(&hash, &next, now).await? {
            // Somebody else used it between the two.
            return Ok(Refreshed::Reused(family.name()));
        }
        self.store.put_nonce(&mark(token), next.refresh_until).await?;
        Ok(Refreshed::Opened(opened))
    }

    /// Ends the session of `token`; returns the name of its login if there was one.
    pub(crate) async fn logout(&self, token: &SecretString) -> Result<Option<SecretHash>, Denied> {
        let token = token.expose_secret();
        let Some(family) = Family::of(token, SESSION) else { return Ok(None) };
        let ended = self.store.end_session(&secret::hash(token)).await?;
        Ok(ended.map(|_| family.name()))
    }

    /// A session of a login that began at `created_at`, and its tokens.
    fn make(
        &self,
        person: PersonId,
        family: Family,
        created_at: Timestamp,
        now: Timestamp,
    ) -> (Session, Opened) {
        let token = secret::token_of(SESSION, family);
        let refresh = secret::token_of(REFRESH, family);
        let session = Session {
            hash: secret::hash(&token),
            refresh: secret::hash(&refresh),
            person: person.clone(),
            created_at,
            expires_at: Timestamp(now.0.saturating_add(self.lifetime)),
            refresh_until: Timestamp(now.0.saturating_add(self.renewable)),
        };
        let opened = Opened {
            person,
            token: token.into(),
            expires_at: session.expires_at,
            refresh: refresh.into(),
            refresh_until: session.refresh_until,
        };
        (session, opened)
    }
}

/// What the login is called that `token` descends from, whichever of its tokens that is and however often it was renewed since.
/// Nothing if it has not the form of one; whether there ever was such a login is not looked up.
pub(crate) fn login_of(token: &SecretString) -> Option<SecretHash> {
    let token = token.expose_secret();
    Family::of(token, SESSION).or_else(|| Family::of(token, REFRESH)).map(Family::name)
}

/// What a refresh token leaves behind when it is used, among the nonces.
fn mark(refresh: &str) -> SecretHash {
    secret::hash(&format!("used {refresh}"))
}

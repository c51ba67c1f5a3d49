//! Passwords, wallets, nonces and sessions.

use std::collections::HashMap;

use async_trait::async_trait;

use super::MemoryStore;
use crate::actor::{SecretHash, Session};
use crate::ids::{PersonId, Timestamp};
use crate::ports::Logins;
use crate::refusal::Fault;

/// How people say who they are without a key.
#[derive(Debug, Default)]
pub(super) struct LoginBook {
    passwords: HashMap<PersonId, String>,
    wallets: HashMap<String, PersonId>,
    /// Until when each may be taken.
    nonces: HashMap<SecretHash, Timestamp>,
    sessions: HashMap<SecretHash, Session>,
    /// Refresh token → session.
    renewals: HashMap<SecretHash, SecretHash>,
}

impl LoginBook {
    /// Forgets what has expired; returns how much that was.
    pub(super) fn forget(&mut self, now: Timestamp) -> usize {
        let before = self.nonces.len() + self.sessions.len();
        self.nonces.retain(|_, expires| now < *expires);
        self.sessions.retain(|_, session| now < session.expires_at.max(session.refresh_until));
        self.renewals.retain(|_, session| self.sessions.contains_key(session));
        before - self.nonces.len() - self.sessions.len()
    }

    fn add(&mut self, session: &Session) -> Result<(), Fault> {
        if self.sessions.contains_key(&session.hash) || self.renewals.contains_key(&session.refresh) {
            return Err(Fault::new("storing a session whose tokens are in use"));
        }
        self.sessions.insert(session.hash, session.clone());
        self.renewals.insert(session.refresh, session.hash);
        Ok(())
    }

    fn remove(&mut self, hash: &SecretHash) -> Option<Session> {
        let session = self.sessions.remove(hash)?;
        self.renewals.remove(&session.refresh);
        Some(session)
    }

    fn renewed_by(&self, refresh: &SecretHash) -> Option<&Session> {
        self.sessions.get(self.renewals.get(refresh)?)
    }
}

#[async_trait]
impl Logins for MemoryStore {
    async fn put_password(&self, person: &PersonId, phc: &str) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.check_person(person, "a password")?;
        contents.logins.passwords.insert(person.clone(), phc.to_owned());
        Ok(())
    }

    async fn password(&self, person: &PersonId) -> Result<Option<String>, Fault> {
        Ok(self.contents().logins.passwords.get(person).cloned())
    }

    async fn link_wallet(&self, address: &str, person: &PersonId) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.check_person(person, "a wallet")?;
        contents.logins.wallets.insert(address.to_ascii_lowercase(), person.clone());
        Ok(())
    }

    async fn person_by_wallet(&self, address: &str) -> Result<Option<PersonId>, Fault> {
        Ok(self.contents().logins.wallets.get(&address.to_ascii_lowercase()).cloned())
    }

    async fn wallets_of(&self, person: &PersonId) -> Result<Vec<String>, Fault> {
        let contents = self.contents();
        let wallets = contents.logins.wallets.iter().filter(|(_, holder)| *holder == person);
        let mut addresses: Vec<_> = wallets.map(|(address, _)| address.clone()).collect();
        addresses.sort_unstable();
        Ok(addresses)
    }

    async fn put_nonce(&self, nonce: &SecretHash, expires: Timestamp) -> Result<(), Fault> {
        self.contents().logins.nonces.insert(*nonce, expires);
        Ok(())
    }

    async fn take_nonce(&self, nonce: &SecretHash, now: Timestamp) -> Result<bool, Fault> {
        Ok(self.contents().logins.nonces.remove(nonce).is_some_and(|expires| now < expires))
    }

    async fn put_session(&self, session: &Session) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.check_person(&session.person, "a session")?;
        contents.logins.add(session)
    }

    async fn session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        Ok(self.contents().logins.sessions.get(hash).cloned())
    }

    async fn session_by_refresh(&self, refresh: &SecretHash) -> Result<Option<Session>, Fault> {
        Ok(self.contents().logins.renewed_by(refresh).cloned())
    }

    async fn rotate_session(
        &self,
        refresh: &SecretHash,
        next: &Session,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let logins = &mut self.contents().logins;
        let Some(old) = logins.renewed_by(refresh).filter(|old| now < old.refresh_until).cloned() else {
            return Ok(false);
        };
        if old.person != next.person {
            return Err(Fault::new("renewing a session of one person for another"));
        }
        logins.remove(&old.hash);
        if let Err(fault) = logins.add(next) {
            logins.add(&old)?;
            return Err(fault);
        }
        Ok(true)
    }

    async fn end_session(&self, hash: &SecretHash) -> Result<Option<Session>, Fault> {
        Ok(self.contents().logins.remove(hash))
    }
}

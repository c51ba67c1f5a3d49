//! Whether a password is somebody's, at the same cost whoever it is.
//!
//! Hashing is slow and takes memory on purpose (argon2id). It runs on a thread of its own, few at a time, and few may wait.

use std::sync::Arc;

use antiphon_core::ids::PersonId;
use antiphon_core::ports::Store;
use antiphon_core::refusal::{Code, Fault, Refusal};
use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordHasher as _, PasswordVerifier as _, Version};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Semaphore;

use super::Denied;

/// Shortest password, in bytes.
const SHORTEST: usize = 8;

/// Longest password, in bytes: enough for any sentence, and nothing to keep a hash busy with.
const LONGEST: usize = 1_024;

/// Passwords that may wait for their turn.
const WAITING: usize = 64;

/// How long whoever finds the queue full is told to wait, in milliseconds.
const RETRY: u64 = 1_000;

/// Hashes passwords and compares them.
pub(crate) struct Passwords {
    params: Params,
    /// What the passwords of people who have none are compared with: as much work as any, and nobody's.
    nobody: Arc<str>,
    places: Semaphore,
    turns: Semaphore,
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new(Params::default())
    }
}

impl Passwords {
    /// Passwords hashed at the cost of `params`.
    pub(crate) fn new(params: Params) -> Self {
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        // 16 bytes of salt and 32 of hash, all zero: nothing that anybody finds a password for.
        let (salt, hash) = ("A".repeat(22), "A".repeat(43));
        let nobody = format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}").into();
        let turns = std::thread::available_parallelism().map_or(1, usize::from);
        Self { params, nobody, places: Semaphore::new(WAITING), turns: Semaphore::new(turns) }
    }

    /// Gives `person` a password of 8 to 1,024 bytes.
    pub(crate) async fn set(
        &self,
        store: &dyn Store,
        person: &PersonId,
        password: SecretString,
    ) -> Result<(), Denied> {
        check(&password)?;
        if store.person(person).await?.is_none() {
            return Err(Refusal::not_found("There is no such person.").into());
        }
        let phc = self.hash(password).await?;
        Ok(store.put_password(person, &phc).await?)
    }

    /// The hash of a password of 8 to 1,024 bytes, as a PHC string.
    pub(crate) async fn hash(&self, password: SecretString) -> Result<String, Denied> {
        check(&password)?;
        let argon2 = self.argon2();
        let hashed = self.in_turn(move || {
            let hash: Result<PasswordHash, _> = argon2.hash_password(password.expose_secret().as_bytes());
            hash.map(|hash| hash.to_string()).map_err(|error| Fault::because("hashing a password", error))
        });
        Ok(hashed.await??)
    }

    /// Whether `password` is the one of `phc`; without one it is not, after as much work.
    pub(crate) async fn verify(&self, password: SecretString, phc: Option<String>) -> Result<bool, Denied> {
        if password.expose_secret().len() > LONGEST {
            return Ok(false);
        }
        let (argon2, nobody) = (self.argon2(), self.nobody.clone());
        let verified = self.in_turn(move || {
            let known = phc.is_some();
            let hash = PasswordHash::new(phc.as_deref().unwrap_or(&nobody))
                .map_err(|error| Fault::because("reading a password's hash", error))?;
            let right = argon2.verify_password(password.expose_secret().as_bytes(), &hash).is_ok();
            Ok::<_, Fault>(known && right)
        });
        Ok(verified.await??)
    }

    fn argon2(&self) -> Argon2<'static> {
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params.clone())
    }

    /// Does `work` on a thread that may be blocked, when it is its turn.
    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Denied> {
        let busy =
            || Refusal::new(Code::Unavailable { retry_after: RETRY }, "Too many people log in at once.");
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let _turn = self.turns.acquire().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| Fault::because("hashing on a thread of its own", error).into())
    }
}

fn check(password: &SecretString) -> Result<(), Refusal> {
    match password.expose_secret().len() {
        SHORTEST..=LONGEST => Ok(()),
        _ => Err(Refusal::invalid("A password has 8 to 1,024 bytes.")),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use antiphon_core::actor::Person;
    use antiphon_core::ids::Timestamp;
    use antiphon_core::memory::MemoryStore;
    use antiphon_core::ports::{Logins as _, People as _};

    use super::*;

    /// Hashing at the least cost that there is.
    pub(crate) fn cheap() -> Passwords {
        Passwords::new(Params::new(Params::MIN_M_COST, 1, 1, None).unwrap())
    }

    #[tokio::test]
    async fn a_password_is_known_again_and_no_other_is() {
        let (passwords, store) = (cheap(), MemoryStore::new());
        let ada = PersonId::parse("ada").unwrap();
        let person =
            Person { id: ada.clone(), plan: "free".into(), roles: Vec::new(), created_at: Timestamp(0) };
        assert!(passwords.set(&store, &ada, "long enough".into()).await.is_err(), "there is no ada yet");
        store.put_person(&person).await.unwrap();
        assert!(passwords.set(&store, &ada, "7 bytes".into()).await.is_err());
        assert!(passwords.set(&store, &ada, "x".repeat(1_025).into()).await.is_err());
        passwords.set(&store, &ada, "long enough".into()).await.unwrap();
        let phc = store.password(&ada).await.unwrap();
        assert!(phc.as_deref().is_some_and(|phc| phc.starts_with("$argon2id$v=19$")), "{phc:?}");
        assert!(passwords.verify("long enough".into(), phc.clone()).await.unwrap());
        assert!(!passwords.verify("long enougH".into(), phc.clone()).await.unwrap());
        assert!(!passwords.verify("".into(), phc).await.unwrap());
        assert!(
            passwords.verify("x".into(), Some("plain".into())).await.is_err(),
            "a fault of ours, not a wrong guess"
        );
    }

    #[tokio::test]
    async fn t8_a_guess_at_nobody_is_hashed_like_any_other() {
        let passwords = Passwords::default();
        let hash = PasswordHash::new(&passwords.nobody).unwrap();
        let params = Params::try_from(&hash).unwrap();
        assert_eq!((params.m_cost(), params.t_cost()), (Params::DEFAULT_M_COST, Params::DEFAULT_T_COST));
        assert!(!cheap().verify("guess".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn t8_a_crowd_at_the_door_is_told_to_come_back() {
        let passwords = cheap();
        let _all = passwords.places.acquire_many(u32::try_from(WAITING).unwrap()).await.unwrap();
        let told = passwords.verify("guess".into(), None).await.unwrap_err();
        assert!(matches!(told, Denied::Refused(Refusal { code: Code::Unavailable { .. }, .. })), "{told:?}");
    }
}

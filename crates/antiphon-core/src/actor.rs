//! Who asks.
//!
//! An [`Actor`] is what a credential proved. Ids inside a payload never become one: they are [`Claim`]s, and
//! [`access`](crate::access) compares them with the actor in one place. [`ApiKey`] and [`Session`] are credentials as the
//! store keeps them: hashes of secrets that are nowhere else.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::ids::KeyId;
use crate::ids::{ConnectionId, PersonId, Timestamp};

/// The plan of people whose own plan does not exist.
pub const FALLBACK_PLAN: &str = "free";

/// A person as the store knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// Name of their plan.
    pub plan: String,
    /// What they are besides themselves (`admin`, `viewer`, or the operator's own names). No rule of the core looks at it.
    pub roles: Vec<String>,
    /// When they were added.
    pub created_at: Timestamp,
}

/// What somebody may use, by name (`free`, `pro`, `enterprise`, or the operator's own).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub name: String,
    /// Connections a person may open per minute; `None` is unlimited.
    pub connections_per_minute: Option<u32>,
    /// Messages a person may send per calendar month (UTC); `None` is unlimited.
    pub messages_per_month: Option<u64>,
    /// Agents a person may own; `None` is unlimited.
    pub agents: Option<u32>,
}

/// SHA-256 of a secret that this server gave out: an API key, a session's or a refresh token, a nonce. The secret itself is
/// never stored. Printed as its first four bytes, enough to tell two apart in a log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretHash(pub [u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "SecretHash({a:02x}{b:02x}{c:02x}{d:02x}…)")
    }
}

/// Whom an API key speaks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// A person.
    Person(PersonId),
    /// A backend, by the name that its operator gave it.
    Service(String),
    /// The operator of this server.
    Operator,
}

/// An API key as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// Hash of the whole key.
    pub hash: SecretHash,
    /// Whom it speaks for.
    pub holder: Holder,
    /// The dialects that it opens, by name; `None` is all of them for a person, and none for a backend or the operator.
    pub dialects: Option<Vec<String>>,
    /// Name of the plan that counts instead of the person's own.
    pub plan: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing; `None` is never.
    pub expires_at: Option<Timestamp>,
    /// When somebody took it back.
    pub revoked_at: Option<Timestamp>,
}

/// A login as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Hash of the token that requests carry.
    pub hash: SecretHash,
    /// Hash of the token that gets the next session, once.
    pub refresh: SecretHash,
    /// Whose it is.
    pub person: PersonId,
    /// When it began.
    pub created_at: Timestamp,
    /// From when on it opens nothing.
    pub expires_at: Timestamp,
    /// From when on it cannot be renewed either.
    pub refresh_until: Timestamp,
}

/// Who a credential says is asking. Its `Display` is the name under which what they did once is remembered, such as
/// `person:ada`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Principal {
    /// A person.
    Person(PersonId),
    /// A backend, by its name. It may act for people.
    Service(Arc<str>),
    /// The operator of this server, or the server itself.
    Operator,
    /// Nobody in particular: a mount that asks for no credential.
    Guest,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(id) => write!(f, "person:{id}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Operator => f.write_str("operator"),
            Self::Guest => f.write_str("guest"),
        }
    }
}

/// Which credential proved it; what a revocation names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// None was asked for.
    None,
    /// An API key.
    Key(KeyId),
    /// A session of ours.
    Session(SecretHash),
    /// A token that somebody else signed.
    Token {
        /// Who, as the configuration calls them.
        issuer: Arc<str>,
        /// The token's own id (`jti`), if it has one.
        id: Option<Arc<str>>,
    },
}

/// Who asks, with what they may use.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who.
    pub principal: Principal,
    /// What they may use.
    pub plan: Arc<Plan>,
    /// How we know.
    pub proof: Proof,
    /// From when on we do not know it any more.
    pub expires_at: Option<Timestamp>,
    /// What they are besides themselves.
    pub roles: Vec<Arc<str>>,
}

impl Actor {
    /// Somebody whose credential is none of those that expire or are revoked, and who has no roles.
    pub fn new(principal: Principal, plan: Arc<Plan>) -> Self {
        Self { principal, plan, proof: Proof::None, expires_at: None, roles: Vec::new() }
    }

    /// The person, if it is one.
    pub fn person(&self) -> Option<&PersonId> {
        match &self.principal {
            Principal::Person(id) => Some(id),
            Principal::Service(_) | Principal::Operator | Principal::Guest => None,
        }
    }
}

/// Who asks, and from which connection; `None` when it did not come over a connection.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub actor: Arc<Actor>,
    /// From where. Joins and leaves that a command brings apply to this connection.
    pub connection: Option<ConnectionId>,
}

/// An id that a payload says belongs to the sender. It decides nothing until it was compared with the actor.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Claim(Option<PersonId>);

impl Claim {
    /// No id was sent: the credential alone says who it is.
    pub const NONE: Self = Self(None);

    /// The payload says it is `person`.
    pub fn of(person: PersonId) -> Self {
        Self(Some(person))
    }

    /// What was claimed, for the comparison in `access`.
    pub(crate) fn claimed(&self) -> Option<&PersonId> {
        self.0.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_printed_in_part() {
        let text = format!("{:?}", SecretHash([0xab; 32]));
        assert_eq!(text, "SecretHash(abababab…)");
    }

    #[test]
    fn no_two_principals_share_a_name() {
        let person = |id| Principal::Person(PersonId::parse(id).unwrap());
        let names = [
            person("operator"),
            person("guest"),
            person("service:operator"),
            Principal::Service("operator".into()),
            Principal::Service("person:operator".into()),
            Principal::Operator,
            Principal::Guest,
        ]
        .map(|principal| principal.to_string());
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
    }
}

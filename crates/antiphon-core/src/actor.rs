//! Who asks.
//!
//! An [`Actor`] is what a credential proved. Ids inside a payload never become one: they are [`Claim`]s, and
//! [`access`](crate::access) compares them with the actor in one place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{ConnectionId, PersonId, Timestamp};

/// A person as the store knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Their id.
    pub id: PersonId,
    /// Name of their plan.
    pub plan: String,
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

/// SHA-256 of an API key. The key itself is never stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyHash(pub [u8; 32]);

/// An API key as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Hash of the whole key.
    pub hash: KeyHash,
    /// The first characters, to recognise it by in a list.
    pub prefix: String,
    /// Whom it speaks for.
    pub person: PersonId,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Who a credential says is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A person, by API key or session.
    Person(PersonId),
    /// The operator of this server, or the server itself.
    Operator,
    /// Nobody in particular: a mount that asks for no credential.
    Guest,
}

/// Who asks, with what they may use.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who.
    pub principal: Principal,
    /// What they may use.
    pub plan: Arc<Plan>,
}

impl Actor {
    /// The person, if it is one.
    pub fn person(&self) -> Option<&PersonId> {
        match &self.principal {
            Principal::Person(id) => Some(id),
            Principal::Operator | Principal::Guest => None,
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

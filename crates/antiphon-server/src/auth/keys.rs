//! How API keys, service keys and operator tokens are made and recorded.
//!
//! A key is a prefix that says whom it speaks for and 256 random bits. The store keeps its hash and its public name: the
//! prefix and the first eight digits, enough to recognise a key in a list.

use antiphon_core::actor::{ApiKey, Holder};
use antiphon_core::ids::{KeyId, PersonId, Timestamp};
use antiphon_core::ports::Store;
use antiphon_core::refusal::{Fault, Refusal};
use secrecy::SecretString;

use super::{Denied, secret};

pub(crate) use super::secret::hash;

/// Digits of a key that its public name shows: 32 of its 256 bits.
const SHOWN: usize = 8;

/// How many bytes of its hash name a key that came without a name.
const NAMED_BY: usize = 8;

/// How often a name that is taken is drawn again. With 100,000 keys one draw in 40,000 is taken.
const DRAWS: usize = 8;

/// Which key is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Whom it speaks for.
    pub holder: Holder,
    /// The dialects that it opens, by name, `api` for the HTTP API; `None` is all of them for a person, and the HTTP API
    /// alone for a backend or the operator.
    pub dialects: Option<Vec<String>>,
    /// Name of the plan that counts instead of the person's own.
    pub plan: Option<String>,
    /// From when on it opens nothing; `None` is never.
    pub expires_at: Option<Timestamp>,
}

impl Order {
    /// A key of `holder` that opens everything and does not expire.
    pub fn of(holder: Holder) -> Self {
        Self { holder, dialects: None, plan: None, expires_at: None }
    }
}

/// Makes a key, stores it, and returns it with its secret, which is nowhere else from then on.
///
/// Refused as not found when the person or the plan does not exist, and as invalid when it would have expired already or opens
/// nothing.
pub async fn issue(
    store: &dyn Store,
    order: Order,
    now: Timestamp,
) -> Result<(ApiKey, SecretString), Denied> {
    if let Holder::Person(person) = &order.holder
        && store.person(person).await?.is_none()
    {
        return Err(Refusal::not_found("There is no such person.").into());
    }
    if let Holder::Service(name) = &order.holder {
        // A service's name is shown and logged like any other id.
        PersonId::parse(name)?;
    }
    if let Some(plan) = &order.plan
        && store.plan(plan).await?.is_none()
    {
        return Err(Refusal::not_found("There is no such plan.").into());
    }
    if order.expires_at.is_some_and(|at| at <= now) {
        return Err(Refusal::invalid("The key would have expired already.").into());
    }
    if order.dialects.as_ref().is_some_and(Vec::is_empty) {
        return Err(Refusal::invalid("A key that opens no dialect opens nothing.").into());
    }
    for _ in 0..DRAWS {
        let secret = format!("{}{}", prefix(&order.holder), secret::hex(&secret::random::<32>()));
        let shown = &secret[..prefix(&order.holder).len() + SHOWN];
        let mut key = record(&secret, order.holder.clone(), now);
        key.id = KeyId::parse(shown)?;
        // Storing a key of the same name would replace that one.
        if store.key_by_id(&key.id).await?.is_some() {
            continue;
        }
        key.dialects = order.dialects;
        key.plan = order.plan;
        key.expires_at = order.expires_at;
        store.put_key(&key).await?;
        return Ok((key, secret.into()));
    }
    Err(Fault::new("every name drawn for a key was taken").into())
}

/// The record of a key that opens everything, does not expire and came without a name. Somebody else may have chosen it short
/// or guessable, so it is named after its hash; the migration of older stores does the same.
pub(crate) fn record(secret: &str, holder: Holder, created_at: Timestamp) -> ApiKey {
    let hash = secret::hash(secret);
    let name = format!("key_{}", secret::hex(&hash.0[..NAMED_BY]));
    let id = KeyId::parse(&name).expect("a few plain characters");
    ApiKey { id, hash, holder, dialects: None, plan: None, created_at, expires_at: None, revoked_at: None }
}

/// What the keys of such a holder begin with.
fn prefix(holder: &Holder) -> &'static str {
    match holder {
        Holder::Person(_) => "cda_",
        Holder::Service(_) => "svc_",
        Holder::Operator => "opr_",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_without_a_name_is_named_after_its_hash() {
        let name = |key| record(key, Holder::Operator, Timestamp(0)).id;
        assert_eq!(name("abc").as_str(), "key_ba7816bf8f01cfea");
        assert_ne!(name("abd"), name("abc"));
    }
}

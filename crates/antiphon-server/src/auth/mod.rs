//! Who somebody is: credentials in, an [`Actor`] out.
//!
//! | file | answers |
//! |---|---|
//! | [`keys`] | how an API key is hashed and recognised |
//! | [`rate`] | how often somebody may connect |

pub(crate) mod keys;
mod rate;

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::{Actor, Holder, Plan, Principal, Proof, SecretHash};
use antiphon_core::dialect::Credential;
use antiphon_core::ports::Store;
use antiphon_core::refusal::{Code, Fault, Refusal};

use self::rate::Rates;

pub(crate) use antiphon_core::actor::FALLBACK_PLAN;

/// How long a key that was looked up is taken for known: also how long a removed one still works.
const REMEMBER: Duration = Duration::from_secs(2);

/// Keys remembered at once.
const REMEMBERED: u64 = 100_000;

/// Lets people in.
pub(crate) struct Doorkeeper {
    store: Arc<dyn Store>,
    known: moka::sync::Cache<SecretHash, Arc<Actor>>,
    guest: Arc<Actor>,
    rates: Rates,
}

impl Doorkeeper {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let plan = Plan {
            name: "guest".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: Some(0),
        };
        Self {
            store,
            known: moka::sync::Cache::builder().max_capacity(REMEMBERED).time_to_live(REMEMBER).build(),
            guest: Arc::new(Actor::new(Principal::Guest, Arc::new(plan))),
            rates: Rates::default(),
        }
    }

    /// Says who a credential belongs to, if it belongs to somebody who may connect now.
    pub(crate) async fn admit(&self, credential: &Credential) -> Result<Arc<Actor>, Refusal> {
        let actor = match credential {
            Credential::None => return Ok(self.guest.clone()),
            Credential::Bearer(key) => self.by_key(key).await.map_err(|fault| {
                tracing::error!(error = &fault as &dyn std::error::Error, "a key could not be looked up");
                Refusal::internal()
            })?,
        };
        let actor = actor.ok_or_else(|| Refusal::new(Code::BadCredential, "This API key is not known."))?;
        if let (Some(person), Some(limit)) = (actor.person(), actor.plan.connections_per_minute)
            && let Err(retry_after) = self.rates.count(person, limit)
        {
            return Err(Refusal::new(
                Code::RateLimited { retry_after },
                "Too many connections; try again later.",
            ));
        }
        Ok(actor)
    }

    async fn by_key(&self, key: &str) -> Result<Option<Arc<Actor>>, Fault> {
        let hash = keys::hash(key);
        if let Some(actor) = self.known.get(&hash) {
            return Ok(Some(actor));
        }
        let key =
            self.store.key(&hash).await?.filter(|key| key.revoked_at.is_none() && key.expires_at.is_none());
        let Some(key) = key else { return Ok(None) };
        let Holder::Person(person) = &key.holder else { return Ok(None) };
        let Some(person) = self.store.person(person).await? else { return Ok(None) };
        let plan = match self.store.plan(&person.plan).await? {
            Some(plan) => plan,
            None => self
                .store
                .plan(FALLBACK_PLAN)
                .await?
                .ok_or_else(|| Fault::new("neither the person's plan nor the fallback plan exists"))?,
        };
        let actor = Actor::new(Principal::Person(person.id), Arc::new(plan));
        let actor = Arc::new(Actor { proof: Proof::Key(key.id), ..actor });
        self.known.insert(hash, actor.clone());
        Ok(Some(actor))
    }
}

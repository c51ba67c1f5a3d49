//! Whose a credential is: a key's, a session's or a token's, with their plan and their roles.

use std::sync::Arc;

use antiphon_core::actor::{Actor, FALLBACK_PLAN, Holder, Person, Plan, Principal, Proof, SecretHash};
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::Fault;

use super::{API, Admitted, Door, revoked};
use crate::auth::secret::{self, Shape};
use crate::auth::{Denied, bad_credential};

impl Door {
    pub(super) async fn look_up(
        &self,
        credential: &str,
        hash: SecretHash,
        now: Timestamp,
    ) -> Result<Admitted, Denied> {
        let admitted = match secret::shape(credential) {
            Shape::Token => self.by_token(credential, hash, now).await?,
            Shape::Session => self.by_session(credential, hash, now).await?,
            Shape::Key => self.by_key(hash).await?,
        };
        let Admitted { actor, issued_at, .. } = &admitted;
        // What was revoked elsewhere a moment ago is in the store before it is known here.
        if self.store().is_revoked(&actor.proof, &actor.principal, *issued_at).await? {
            return Err(revoked().into());
        }
        Ok(admitted)
    }

    /// Whoever the wallet of this address is linked to, where its name alone is believed.
    pub(super) async fn by_named_wallet(&self, address: &str) -> Result<Arc<Actor>, Denied> {
        if !self.names_suffice {
            return Err(
                bad_credential("A wallet is proved with its signature; please sign in with it.").into()
            );
        }
        let unknown = || bad_credential("This wallet is not known.");
        let person = self.store().person_by_wallet(address).await?.ok_or_else(unknown)?;
        let person = self.store().person(&person).await?.ok_or_else(unknown)?;
        Ok(Arc::new(self.actor_of(person, None).await?))
    }

    async fn by_key(&self, hash: SecretHash) -> Result<Admitted, Denied> {
        let unknown = || bad_credential("This API key is not known.");
        let key = self.store().key(&hash).await?.ok_or_else(unknown)?;
        if key.revoked_at.is_some() {
            return Err(revoked().into());
        }
        let mut actor = match key.holder {
            Holder::Person(id) => {
                let person = self.store().person(&id).await?.ok_or_else(unknown)?;
                self.actor_of(person, key.plan.as_deref()).await?
            }
            Holder::Service(name) => {
                Actor::new(Principal::Service(name.into()), self.backend_plan(key.plan.as_deref()).await?)
            }
            Holder::Operator => {
                Actor::new(Principal::Operator, self.backend_plan(key.plan.as_deref()).await?)
            }
        };
        // A backend has no business in a client's API unless its key says so.
        let usual = match actor.principal {
            Principal::Service(_) | Principal::Operator => Some(vec![API.to_owned()]),
            Principal::Person(_) | Principal::Guest => None,
        };
        actor.proof = Proof::Key(key.id);
        actor.expires_at = key.expires_at;
        Ok(Admitted { actor: Arc::new(actor), dialects: key.dialects.or(usual), issued_at: key.created_at })
    }

    async fn by_session(&self, token: &str, hash: SecretHash, now: Timestamp) -> Result<Admitted, Denied> {
        let session = self.sessions.show(token, hash, now).await?;
        let person = self.store().person(&session.person).await?;
        let person =
            person.ok_or_else(|| bad_credential("The person of this session does not exist any more."))?;
        let mut actor = self.actor_of(person, None).await?;
        actor.proof = Proof::Session(session.name);
        actor.expires_at = Some(session.expires_at);
        Ok(Admitted { actor: Arc::new(actor), dialects: None, issued_at: session.created_at })
    }

    async fn by_token(&self, token: &str, hash: SecretHash, now: Timestamp) -> Result<Admitted, Denied> {
        let token = self.issuers.verify(token, hash, now).await?;
        let person = match (self.store().person(&token.person).await?, &token.plan_for_new) {
            (Some(person), _) => person,
            (None, Some(plan)) => {
                let person = Person {
                    id: token.person.clone(),
                    plan: plan.clone(),
                    roles: Vec::new(),
                    created_at: now,
                };
                if self.store().add_person(&person).await? {
                    person
                } else {
                    // Somebody added them just now, perhaps with another plan: that one counts.
                    let added = self.store().person(&token.person).await?;
                    added.ok_or_else(|| Fault::new("a person who was just added is not there"))?
                }
            }
            (None, None) => {
                return Err(bad_credential("This server does not know the person of this token.").into());
            }
        };
        let mut actor = self.actor_of(person, None).await?;
        for role in &token.roles {
            if !actor.roles.contains(role) {
                actor.roles.push(role.clone());
            }
        }
        actor.proof = Proof::Token { issuer: token.issuer.clone(), id: token.id.clone() };
        actor.expires_at = Some(token.expires_at);
        Ok(Admitted { actor: Arc::new(actor), dialects: token.dialects.clone(), issued_at: token.issued_at })
    }

    /// A person with their roles and their plan, or the one that counts instead.
    async fn actor_of(&self, person: Person, plan: Option<&str>) -> Result<Actor, Fault> {
        let plan = self.plan(plan.unwrap_or(&person.plan)).await?;
        let mut actor = Actor::new(Principal::Person(person.id), plan);
        actor.roles = person.roles.into_iter().map(Arc::from).collect();
        Ok(actor)
    }

    /// The plan of a backend or an operator: without limits, unless its key names one.
    async fn backend_plan(&self, plan: Option<&str>) -> Result<Arc<Plan>, Fault> {
        match plan {
            Some(plan) => self.plan(plan).await,
            None => Ok(self.backend.clone()),
        }
    }

    /// The plan of this name, or the one that stands in for those that do not exist.
    pub(super) async fn plan(&self, name: &str) -> Result<Arc<Plan>, Fault> {
        if let Some(plan) = self.plans.get(name) {
            return Ok(plan);
        }
        let plan = match self.store().plan(name).await? {
            Some(plan) => plan,
            None => self
                .store()
                .plan(FALLBACK_PLAN)
                .await?
                .ok_or_else(|| Fault::new("neither the person's plan nor the fallback plan exists"))?,
        };
        let plan = Arc::new(plan);
        self.plans.insert(name.to_owned(), plan.clone());
        Ok(plan)
    }
}

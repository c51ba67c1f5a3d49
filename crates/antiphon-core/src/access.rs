//! Who may hear or do what.
//!
//! Pure decisions over an [`Actor`], the [`Claim`] of a payload, and what the store says; nothing here awaits. The tables in
//! `tests` are the specification. What is not there and what is not yours get the very same refusal, so that nobody can
//! find out by asking.

use crate::actor::{Actor, Claim, Principal};
use crate::agents::Agent;
use crate::ids::PersonId;
use crate::refusal::{Code, Refusal};

/// The person who asks: what the credential says, never what the payload says.
///
/// A claim that is absent or equal changes nothing; a different one is refused as forbidden, and so is everybody who is no
/// person (guests, the operator).
pub fn identity<'a>(actor: &'a Actor, claim: &Claim) -> Result<&'a PersonId, Refusal> {
    match (actor.person(), claim.claimed()) {
        (Some(person), None) => Ok(person),
        (Some(person), Some(claimed)) if person == claimed => Ok(person),
        _ => Err(Refusal::forbidden()),
    }
}

/// Passes `found` on if it is an agent of `person`; otherwise there is no such agent.
pub fn may_see_agent(person: &PersonId, found: Option<Agent>) -> Result<Agent, Refusal> {
    found.filter(|agent| agent.owner == *person).ok_or_else(agent_not_found)
}

/// Passes `found` on if `actor` may change or delete it: its owner and the operator may. For everybody else there is no
/// such agent.
pub fn may_change_agent(actor: &Actor, found: Option<Agent>) -> Result<Agent, Refusal> {
    match &actor.principal {
        Principal::Operator => found.ok_or_else(agent_not_found),
        Principal::Person(person) => may_see_agent(person, found),
        Principal::Guest => Err(Refusal::forbidden()),
    }
}

/// Passes the operator; everybody else is refused as forbidden.
pub fn operator(actor: &Actor) -> Result<(), Refusal> {
    match actor.principal {
        Principal::Operator => Ok(()),
        Principal::Person(_) | Principal::Guest => {
            Err(Refusal::new(Code::Forbidden, "Only the operator of this server may do that."))
        }
    }
}

/// The one sentence for an agent that does not exist or belongs to somebody else.
pub fn agent_not_found() -> Refusal {
    Refusal::not_found("Agent not found")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::actor::Plan;
    use crate::ids::{AgentId, Timestamp};

    fn person(name: &str) -> PersonId {
        PersonId::parse(name).unwrap()
    }

    fn actor(principal: Principal) -> Actor {
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        Actor { principal, plan: Arc::new(plan) }
    }

    fn agent_of(owner: &str) -> Agent {
        Agent {
            id: AgentId::parse("luna").unwrap(),
            owner: person(owner),
            name: "Luna".into(),
            kind: "companion".into(),
            personality: String::new(),
            purpose: String::new(),
            tone: String::new(),
            visibility: "private".into(),
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn identity_comes_from_the_credential_alone() {
        let ada = || Principal::Person(person("ada"));
        let table = [
            (ada(), Claim::NONE, Some("ada")),
            (ada(), Claim::of(person("ada")), Some("ada")),
            (ada(), Claim::of(person("bob")), None),
            (ada(), Claim::of(person("Ada")), None),
            (Principal::Guest, Claim::NONE, None),
            (Principal::Guest, Claim::of(person("ada")), None),
            (Principal::Operator, Claim::NONE, None),
            (Principal::Operator, Claim::of(person("ada")), None),
        ];
        for (principal, claim, expected) in table {
            let actor = actor(principal.clone());
            let found = identity(&actor, &claim);
            match expected {
                Some(name) => assert_eq!(found, Ok(&person(name)), "{principal:?} claiming {claim:?}"),
                None => assert_eq!(found, Err(Refusal::forbidden()), "{principal:?} claiming {claim:?}"),
            }
        }
    }

    #[test]
    fn agents_are_seen_by_their_owner_and_changed_by_owner_and_operator() {
        let table = [
            // who, the agent's owner (none: no such agent), may see, may change
            (Principal::Person(person("ada")), Some("ada"), true, Ok(())),
            (Principal::Person(person("ada")), Some("bob"), false, Err(Code::NotFound)),
            (Principal::Person(person("ada")), None, false, Err(Code::NotFound)),
            (Principal::Operator, Some("bob"), false, Ok(())),
            (Principal::Operator, None, false, Err(Code::NotFound)),
            (Principal::Guest, Some("bob"), false, Err(Code::Forbidden)),
            (Principal::Guest, None, false, Err(Code::Forbidden)),
        ];
        for (principal, owner, sees, changes) in table {
            let actor = actor(principal);
            if let Some(person) = actor.person() {
                assert_eq!(
                    may_see_agent(person, owner.map(agent_of)).is_ok(),
                    sees,
                    "{actor:?} sees {owner:?}"
                );
            }
            let changed =
                may_change_agent(&actor, owner.map(agent_of)).map(drop).map_err(|refusal| refusal.code);
            assert_eq!(changed, changes, "{actor:?} changes {owner:?}");
        }
    }

    #[test]
    fn what_is_not_there_and_what_is_not_yours_look_the_same() {
        let ada = person("ada");
        let missing = may_see_agent(&ada, None).unwrap_err();
        assert_eq!(missing, may_see_agent(&ada, Some(agent_of("bob"))).unwrap_err());
        assert_eq!(missing.message, "Agent not found");
    }

    #[test]
    fn only_the_operator_is_the_operator() {
        assert_eq!(operator(&actor(Principal::Operator)), Ok(()));
        for principal in [Principal::Guest, Principal::Person(person("ada"))] {
            assert_eq!(operator(&actor(principal)).unwrap_err().code, Code::Forbidden);
        }
    }
}

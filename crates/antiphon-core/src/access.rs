//! Who may hear or do what.
//!
//! Pure decisions over an [`Actor`], an [`Action`] and a [`Place`]; nothing here awaits. The tables in `tests` are the
//! specification. What is not allowed below is refused. What is not there and what is not yours get the very same refusal, so
//! that nobody can find out by asking.
//!
//! A person acts as themselves. Backends (services and the operator) act for people: they name whom, and are held to what is
//! there. They do not pretend to be present: presence and typing belong to whoever sits at a connection.

use crate::actor::{Actor, Claim, Principal};
use crate::agents::Agent;
use crate::ids::PersonId;
use crate::refusal::{Code, Refusal};
use crate::topic::Topic;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Hear what is published.
    Listen,
    /// Read what was said.
    Read,
    /// Say something as a person.
    Post,
    /// Show that a person is typing.
    Type,
    /// Show that a person is here.
    Appear,
    /// Have an agent say something without being asked.
    Speak,
    /// Add an agent.
    Create,
    /// Change or remove an agent.
    Change,
    /// Tell a person something in the name of this server.
    Notify,
    /// Publish a named value.
    Relay,
    /// Use a person's wallet: open it, pay in, take out, claim a reward.
    Trade,
    /// Have tokens appear in a person's wallet, on one's own word.
    Credit,
}

/// Where somebody wants to do it.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The topic that stands for it.
    pub topic: &'a Topic,
    /// Whose it is. `None` when it is nobody's, or is not there at all.
    pub owner: Option<&'a PersonId>,
}

impl<'a> Place<'a> {
    /// A place that nobody owns, or the own topic of a person.
    pub fn of(topic: &'a Topic) -> Self {
        let owner = match topic {
            Topic::Person(person) => Some(person),
            Topic::Everyone | Topic::Agent(_) | Topic::Conversation(_) | Topic::Nodes | Topic::Named(_) => {
                None
            }
        };
        Self { topic, owner }
    }

    /// The topic of an agent, which belongs to the agent's owner. `found` is what the store knows of it.
    pub fn of_agent(topic: &'a Topic, found: Option<&'a Agent>) -> Self {
        Self { topic, owner: found.map(|agent| &agent.owner) }
    }

    /// The topic of the conversation of `person` with an agent. There is one if the agent is theirs.
    pub fn of_conversation(topic: &'a Topic, found: Option<&'a Agent>, person: &'a PersonId) -> Self {
        Self { topic, owner: found.filter(|agent| agent.owner == *person).map(|_| person) }
    }
}

/// Whether `actor` may do `action` in `place`.
pub fn may(actor: &Actor, action: Action, place: Place<'_>) -> Result<(), Refusal> {
    use Action::{Appear, Change, Create, Credit, Listen, Notify, Post, Read, Relay, Speak, Trade, Type};
    use Standing::{Backend, Guest, Owner, Stranger};

    let standing = Standing::of(actor, place.owner);
    let is_allowed = match (place.topic, action) {
        (Topic::Nodes, _) => false,
        (Topic::Everyone, Listen) => true,
        (_, Relay) => matches!(standing, Backend { .. }),
        (Topic::Person(_), Listen) => matches!(standing, Owner | Backend { .. }),
        (Topic::Person(_), Appear) => standing == Owner,
        (Topic::Person(_), Notify) => matches!(standing, Backend { .. }),
        (Topic::Agent(_), Listen | Create | Change) => matches!(standing, Owner | Backend { there: true }),
        (Topic::Conversation(_), Listen | Read | Post) => matches!(standing, Owner | Backend { there: true }),
        (Topic::Conversation(_), Type) => standing == Owner,
        (Topic::Conversation(_), Speak) => standing == Backend { there: true },
        (Topic::Named(_), Listen) => matches!(standing, Backend { .. }),
        (Topic::Person(_), Read | Trade) => matches!(standing, Owner | Backend { .. }),
        (Topic::Person(_), Credit) => matches!(standing, Backend { .. }),
        _ => false,
    };
    if is_allowed {
        return Ok(());
    }
    Err(match (standing, action, place.topic) {
        (Guest, ..) => Refusal::forbidden(),
        (Owner | Stranger, Speak | Notify | Relay | Credit, _) => {
            Refusal::new(Code::Forbidden, "Only a backend or the operator of this server may do that.")
        }
        (Backend { .. }, Type | Appear, _) => {
            Refusal::new(Code::Forbidden, "Only the person may say that, over their own connection.")
        }
        (_, _, Topic::Agent(_) | Topic::Conversation(_)) => agent_not_found(),
        _ => Refusal::not_found("There is no such place."),
    })
}

/// The person on whose behalf `actor` asks: what the credential says, never what the payload says alone.
///
/// For a person, a claim that is absent or equal changes nothing, and a different one is refused as forbidden. A backend is
/// nobody itself: it must say for whom it asks. Guests are refused as forbidden.
pub fn identity<'a>(actor: &'a Actor, claim: &'a Claim) -> Result<&'a PersonId, Refusal> {
    match (&actor.principal, claim.claimed()) {
        (Principal::Person(person), None) => Ok(person),
        (Principal::Person(person), Some(claimed)) if person == claimed => Ok(person),
        (Principal::Service(_) | Principal::Operator, Some(claimed)) => Ok(claimed),
        (Principal::Service(_) | Principal::Operator, None) => {
            Err(Refusal::invalid("A backend must say for which person it asks."))
        }
        (Principal::Person(_) | Principal::Guest, _) => Err(Refusal::forbidden()),
    }
}

/// The one sentence for an agent that does not exist or belongs to somebody else.
pub fn agent_not_found() -> Refusal {
    Refusal::not_found("Agent not found")
}

/// Who an actor is to a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The person whose it is.
    Owner,
    /// Any other person.
    Stranger,
    /// A service or the operator; whether it is anybody's.
    Backend { there: bool },
    /// Nobody in particular.
    Guest,
}

impl Standing {
    fn of(actor: &Actor, owner: Option<&PersonId>) -> Self {
        match &actor.principal {
            Principal::Person(person) if owner == Some(person) => Self::Owner,
            Principal::Person(_) => Self::Stranger,
            Principal::Service(_) | Principal::Operator => Self::Backend { there: owner.is_some() },
            Principal::Guest => Self::Guest,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::Action::{
        Appear, Change, Create, Credit, Listen, Notify, Post, Read, Relay, Speak, Trade, Type,
    };
    use super::*;
    use crate::actor::Plan;
    use crate::ids::{AgentId, ConversationId, Timestamp};

    const ACTIONS: [Action; 12] =
        [Listen, Read, Post, Type, Appear, Speak, Create, Change, Notify, Relay, Trade, Credit];

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
        Actor::new(principal, Arc::new(plan))
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

    fn service() -> Principal {
        Principal::Service("shop".into())
    }

    #[test]
    fn t3_identity_comes_from_the_credential_alone() {
        let ada = || Principal::Person(person("ada"));
        let table = [
            (ada(), Claim::NONE, Ok("ada")),
            (ada(), Claim::of(person("ada")), Ok("ada")),
            (ada(), Claim::of(person("bob")), Err(Code::Forbidden)),
            (ada(), Claim::of(person("Ada")), Err(Code::Forbidden)),
            (Principal::Guest, Claim::NONE, Err(Code::Forbidden)),
            (Principal::Guest, Claim::of(person("ada")), Err(Code::Forbidden)),
            (Principal::Operator, Claim::NONE, Err(Code::Invalid)),
            (Principal::Operator, Claim::of(person("ada")), Ok("ada")),
            (service(), Claim::NONE, Err(Code::Invalid)),
            (service(), Claim::of(person("ada")), Ok("ada")),
        ];
        for (principal, claim, expected) in table {
            let actor = actor(principal.clone());
            let found = identity(&actor, &claim).map(PersonId::as_str).map_err(|refusal| refusal.code);
            assert_eq!(found, expected, "{principal:?} claiming {claim:?}");
        }
    }

    /// Everything that may be done: to a topic that is the person's own, that is somebody else's, or that is nobody's or not
    /// there. All that is not in a list is refused.
    #[test]
    fn t5_t6_the_table_of_who_may_do_what_where() {
        let conversation = ConversationId::direct(&agent_of("ada").id, &person("ada"));
        let none: &[Action] = &[];
        type Row<'a> = (Topic, Option<&'a str>, &'a [Action], &'a [Action], &'a [Action]);
        let table: [Row<'_>; 12] = [
            // topic, its owner, what ada may, what a backend may, what a guest may
            (Topic::Everyone, None, &[Listen], &[Listen, Relay], &[Listen]),
            (
                Topic::Person(person("ada")),
                Some("ada"),
                &[Listen, Appear, Read, Trade],
                &[Listen, Notify, Relay, Read, Trade, Credit],
                none,
            ),
            (
                Topic::Person(person("bob")),
                Some("bob"),
                none,
                &[Listen, Notify, Relay, Read, Trade, Credit],
                none,
            ),
            (
                Topic::Agent(agent_of("ada").id),
                Some("ada"),
                &[Listen, Create, Change],
                &[Listen, Create, Change, Relay],
                none,
            ),
            (Topic::Agent(agent_of("bob").id), Some("bob"), none, &[Listen, Create, Change, Relay], none),
            (Topic::Agent(agent_of("ada").id), None, none, &[Relay], none),
            (
                Topic::Conversation(conversation),
                Some("ada"),
                &[Listen, Read, Post, Type],
                &[Listen, Read, Post, Speak, Relay],
                none,
            ),
            (Topic::Conversation(conversation), Some("bob"), none, &[Listen, Read, Post, Speak, Relay], none),
            (Topic::Conversation(conversation), None, none, &[Relay], none),
            (Topic::Named("place".into()), None, none, &[Listen, Relay], none),
            (Topic::Nodes, None, none, none, none),
            (Topic::Nodes, Some("ada"), none, none, none),
        ];
        for (topic, owner, persons, backends, guests) in table {
            let owner = owner.map(person);
            let place = Place { topic: &topic, owner: owner.as_ref() };
            let rows = [
                (Principal::Person(person("ada")), persons),
                (service(), backends),
                (Principal::Operator, backends),
                (Principal::Guest, guests),
            ];
            for (principal, allowed) in rows {
                let actor = actor(principal.clone());
                for action in ACTIONS {
                    let is_allowed = may(&actor, action, place).is_ok();
                    let expected = allowed.contains(&action);
                    assert_eq!(is_allowed, expected, "{principal:?} wants to {action:?} in {place:?}");
                }
            }
        }
    }

    #[test]
    fn t5_what_is_not_there_and_what_is_not_yours_look_the_same() {
        let ada = actor(Principal::Person(person("ada")));
        let (luna, bobs) = (agent_of("ada").id, agent_of("bob"));
        let topics =
            [Topic::Agent(luna.clone()), Topic::Conversation(ConversationId::direct(&luna, &person("ada")))];
        for (topic, action) in topics.iter().flat_map(|topic| ACTIONS.map(|action| (topic, action))) {
            let absent = may(&ada, action, Place { topic, owner: None });
            let not_yours = may(&ada, action, Place { topic, owner: Some(&bobs.owner) });
            assert_eq!(absent, not_yours, "{action:?} in {topic:?}");
            assert!(absent.is_err());
        }
        let place = Place::of_conversation(&topics[1], Some(&bobs), &bobs.owner);
        assert_eq!(may(&ada, Listen, place), Err(agent_not_found()));
    }

    #[test]
    fn a_conversation_is_there_for_the_owner_of_its_agent_alone() {
        let (luna, ada, bob) = (agent_of("ada"), person("ada"), person("bob"));
        let topic = Topic::Everyone;
        assert_eq!(Place::of_conversation(&topic, Some(&luna), &ada).owner, Some(&ada));
        assert_eq!(Place::of_conversation(&topic, Some(&luna), &bob).owner, None);
        assert_eq!(Place::of_conversation(&topic, None, &ada).owner, None);
        assert_eq!(Place::of_agent(&topic, Some(&luna)).owner, Some(&ada));
        assert_eq!(Place::of_agent(&topic, None).owner, None);
        assert_eq!(Place::of(&Topic::Person(bob.clone())).owner, Some(&bob));
    }

    #[test]
    fn whoever_may_not_is_told_why_without_learning_what_is_there() {
        let ada = actor(Principal::Person(person("ada")));
        let bobs = Topic::Person(person("bob"));
        let code = |actor: &Actor, action, topic: &Topic| {
            may(actor, action, Place::of(topic)).map_err(|refusal| refusal.code)
        };
        assert_eq!(code(&ada, Notify, &bobs), Err(Code::Forbidden));
        assert_eq!(code(&ada, Credit, &Topic::Person(person("ada"))), Err(Code::Forbidden));
        assert_eq!(code(&ada, Trade, &bobs), Err(Code::NotFound));
        assert_eq!(code(&ada, Relay, &Topic::Everyone), Err(Code::Forbidden));
        assert_eq!(code(&ada, Listen, &bobs), Err(Code::NotFound));
        assert_eq!(code(&ada, Listen, &Topic::Nodes), Err(Code::NotFound));
        assert_eq!(code(&actor(Principal::Operator), Listen, &Topic::Nodes), Err(Code::NotFound));
        assert_eq!(code(&actor(service()), Appear, &bobs), Err(Code::Forbidden));
        assert_eq!(code(&actor(Principal::Guest), Listen, &bobs), Err(Code::Forbidden));
    }
}

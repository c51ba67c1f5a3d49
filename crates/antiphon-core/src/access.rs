//! Who may hear or do what.
//!
//! Pure decisions over an [`Actor`], an [`Action`] and a [`Place`]; nothing here awaits. The tables in `tests` are the
//! specification. What is not allowed below is refused. What is not there and what is not yours get the very same refusal, so
//! that nobody can find out by asking.
//!
//! A person acts as themselves. Backends (services and the operator) act for people: they name whom, and are held to what is
//! there. They do not pretend to be present: presence and typing belong to whoever sits at a connection.
//!
//! Tasks and agents at work belong to nobody in particular. Who has one of the [`Role`]s looks after them, and so do backends;
//! that somebody owns an agent gives no right to the tasks of everybody else.

use crate::actor::{Actor, Claim, Principal};
use crate::agents::Agent;
use crate::ids::{ConversationId, PersonId};
use crate::refusal::{Code, Refusal};
use crate::topic::Topic;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Hear what is published.
    Listen,
    /// Read what was said, or what there is.
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
    /// Change or remove an agent, or what a person says about themselves.
    Change,
    /// Tell a person something in the name of this server.
    Notify,
    /// Publish a named value.
    Relay,
    /// Use a person's wallet: open it, pay in, take out, claim a reward.
    Trade,
    /// Have tokens appear in a person's wallet, on one's own word.
    Credit,

    /// Want tasks done, give them to agents, cancel them.
    Order,
    /// Claim tasks and report on them in the name of an agent, and say how it is.
    Work,
    /// Tell an agent at work what to do.
    Control,
    /// Say what an agent is there for.
    Enlist,
    /// Tell whoever looks after this server something.
    Alert,
}

/// What those who look after agents at work may do, by the name that their credential gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// `super_admin`: everything.
    SuperAdmin,
    /// `agent_manager`: says which agents there are, and what for; changes and removes them, whosever they are.
    AgentManager,
    /// `agent_operator`: tells agents what to do.
    AgentOperator,
    /// `auditor`: sees everything.
    Auditor,
    /// `viewer`: sees tasks and agents, and not what is said in conversations.
    Viewer,
}

impl Role {
    /// The role of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "super_admin" => Self::SuperAdmin,
            "agent_manager" => Self::AgentManager,
            "agent_operator" => Self::AgentOperator,
            "auditor" => Self::Auditor,
            "viewer" => Self::Viewer,
            _ => return None,
        })
    }

    /// Whether whoever has this role may do `action` where `topic` is.
    fn may(self, action: Action, topic: &Topic) -> bool {
        use Action::{Alert, Change, Control, Enlist, Listen, Order, Read, Work};
        use Role::{AgentManager, AgentOperator, SuperAdmin, Viewer};
        let acts = matches!(self, SuperAdmin | AgentManager | AgentOperator);
        match (topic, action) {
            (Topic::Dashboard | Topic::Task(_) | Topic::Agent(_), Listen | Read) => true,
            (Topic::Conversation(_), Listen | Read) => self != Viewer,
            (Topic::Dashboard | Topic::Task(_), Order) | (Topic::Dashboard, Alert) => acts,
            (Topic::Agent(_), Work) => acts,
            (Topic::Agent(_), Control) => matches!(self, SuperAdmin | AgentOperator),
            (Topic::Agent(_), Enlist | Change) => matches!(self, SuperAdmin | AgentManager),
            _ => false,
        }
    }
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
            Topic::Person(person) | Topic::Inbox(person) => Some(person),
            Topic::Everyone
            | Topic::Agent(_)
            | Topic::Conversation(_)
            | Topic::Nodes
            | Topic::Named(_)
            | Topic::Task(_)
            | Topic::Dashboard => None,
        };
        Self { topic, owner }
    }

    /// The topic of an agent, which belongs to the agent's owner. `found` is what the store knows of it.
    pub fn of_agent(topic: &'a Topic, found: Option<&'a Agent>) -> Self {
        Self { topic, owner: found.map(|agent| &agent.owner) }
    }

    /// The topic of the conversation of `person` with an agent. There is one if the agent is theirs or public; it is the
    /// person's, also where the agent is somebody else's.
    pub fn of_conversation(topic: &'a Topic, found: Option<&'a Agent>, person: &'a PersonId) -> Self {
        let is_there = found.is_some_and(|agent| agent.owner == *person || agent.is_public());
        Self { topic, owner: is_there.then_some(person) }
    }
}

/// Whether `actor` may do `action` in `place`.
pub fn may(actor: &Actor, action: Action, place: Place<'_>) -> Result<(), Refusal> {
    use Action::{
        Alert, Appear, Change, Control, Create, Credit, Enlist, Listen, Notify, Order, Post, Read, Relay,
        Speak, Trade, Type, Work,
    };
    use Standing::{Backend, Guest, Owner, Stranger};

    let standing = Standing::of(actor, place.owner);
    let is_allowed = match (place.topic, action) {
        (Topic::Nodes, _) => false,
        (Topic::Everyone, Listen | Read) => true,
        (_, Relay) => matches!(standing, Backend { .. }),
        (Topic::Person(_) | Topic::Inbox(_), Listen) => matches!(standing, Owner | Backend { .. }),
        (Topic::Person(_), Appear | Type) => standing == Owner,
        (Topic::Person(_), Notify) => matches!(standing, Backend { .. }),
        (Topic::Agent(_), Listen | Create | Change) => matches!(standing, Owner | Backend { there: true }),
        (Topic::Conversation(_), Listen | Read | Post) => matches!(standing, Owner | Backend { there: true }),
        (Topic::Conversation(_), Type) => standing == Owner,
        (Topic::Conversation(_), Speak) => standing == Backend { there: true },
        (Topic::Named(_), Listen) => matches!(standing, Backend { .. }),
        (Topic::Person(_), Read | Change | Trade) => matches!(standing, Owner | Backend { .. }),
        (Topic::Person(_), Credit) => matches!(standing, Backend { .. }),

        (Topic::Dashboard, Listen | Read | Order | Alert)
        | (Topic::Task(_), Listen | Read | Order)
        | (Topic::Agent(_), Read | Work | Control | Enlist) => matches!(standing, Backend { .. }),
        _ => false,
    };
    let is_allowed =
        is_allowed || standing != Guest && roles(actor).any(|role| role.may(action, place.topic));
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
        (Owner | Stranger, Order | Work | Control | Enlist | Alert, _) => {
            Refusal::new(Code::Forbidden, "Your role does not allow that.")
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

/// Whether `actor` may read what is said in every conversation, whosever it is.
pub fn may_read_all(actor: &Actor) -> bool {
    let any = Topic::Conversation(ConversationId(uuid::Uuid::nil()));
    match actor.principal {
        Principal::Service(_) | Principal::Operator => true,
        Principal::Person(_) => roles(actor).any(|role| role.may(Action::Read, &any)),
        Principal::Guest => false,
    }
}

fn roles(actor: &Actor) -> impl Iterator<Item = Role> + '_ {
    actor.roles.iter().filter_map(|name| Role::named(name))
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
        Alert, Appear, Change, Control, Create, Credit, Enlist, Listen, Notify, Order, Post, Read, Relay,
        Speak, Trade, Type, Work,
    };
    use super::*;
    use crate::actor::Plan;
    use crate::ids::{AgentId, TaskId, Timestamp};

    const ACTIONS: [Action; 17] = [
        Listen, Read, Post, Type, Appear, Speak, Create, Change, Notify, Relay, Trade, Credit, Order, Work,
        Control, Enlist, Alert,
    ];

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
            persona: None,
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
        let table: [Row<'_>; 16] = [
            // topic, its owner, what ada may, what a backend may, what a guest may
            (Topic::Everyone, None, &[Listen, Read], &[Listen, Read, Relay], &[Listen, Read]),
            (
                Topic::Person(person("ada")),
                Some("ada"),
                &[Listen, Appear, Type, Read, Change, Trade],
                &[Listen, Notify, Relay, Read, Change, Trade, Credit],
                none,
            ),
            (Topic::Inbox(person("ada")), Some("ada"), &[Listen], &[Listen, Relay], none),
            (Topic::Inbox(person("bob")), Some("bob"), none, &[Listen, Relay], none),
            (
                Topic::Person(person("bob")),
                Some("bob"),
                none,
                &[Listen, Notify, Relay, Read, Change, Trade, Credit],
                none,
            ),
            (
                Topic::Agent(agent_of("ada").id),
                Some("ada"),
                &[Listen, Create, Change],
                &[Listen, Create, Change, Relay, Read, Work, Control, Enlist],
                none,
            ),
            (
                Topic::Agent(agent_of("bob").id),
                Some("bob"),
                none,
                &[Listen, Create, Change, Relay, Read, Work, Control, Enlist],
                none,
            ),
            (Topic::Agent(agent_of("ada").id), None, none, &[Relay, Read, Work, Control, Enlist], none),
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
            (Topic::Dashboard, None, none, &[Listen, Read, Order, Alert, Relay], none),
            (Topic::Task(TaskId::random()), None, none, &[Listen, Read, Order, Relay], none),
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

    /// What each role adds, wherever it is and whosever: nothing is somebody's own here.
    #[test]
    fn the_table_of_what_a_role_adds() {
        let conversation = ConversationId::direct(&agent_of("bob").id, &person("bob"));
        let (agent, task) = (Topic::Agent(agent_of("bob").id), Topic::Task(TaskId::random()));
        let talk = Topic::Conversation(conversation);
        let sees: &[Action] = &[Listen, Read];
        let manages = [Listen, Read, Work, Enlist, Change];
        let operates = [Listen, Read, Work, Control];
        let rules = [Listen, Read, Work, Control, Enlist, Change];
        let (boards, tasks) = ([Listen, Read, Order, Alert], [Listen, Read, Order]);
        let none: &[Action] = &[];
        let table: [(&str, [&[Action]; 4]); 7] = [
            // what may be done with the dashboard, a task, an agent, a conversation
            ("super_admin", [&boards, &tasks, &rules, sees]),
            ("agent_manager", [&boards, &tasks, &manages, sees]),
            ("agent_operator", [&boards, &tasks, &operates, sees]),
            ("auditor", [sees, sees, sees, sees]),
            ("viewer", [sees, sees, sees, none]),
            ("admin", [none; 4]),
            ("", [none; 4]),
        ];
        let others = [
            Topic::Everyone,
            Topic::Nodes,
            Topic::Named("place".into()),
            Topic::Person(person("bob")),
            Topic::Inbox(person("bob")),
        ];
        for (role, expected) in table {
            let plain = actor(Principal::Person(person("ada")));
            let actor = Actor { roles: vec![role.into()], ..plain.clone() };
            for (topic, allowed) in [&Topic::Dashboard, &task, &agent, &talk].into_iter().zip(expected) {
                for action in ACTIONS {
                    let is_allowed = may(&actor, action, Place::of(topic)).is_ok();
                    assert_eq!(
                        is_allowed,
                        allowed.contains(&action),
                        "{role} wants to {action:?} in {topic:?}"
                    );
                }
            }
            for (topic, action) in others.iter().flat_map(|topic| ACTIONS.map(|action| (topic, action))) {
                let with = may(&actor, action, Place::of(topic));
                assert_eq!(
                    with,
                    may(&plain, action, Place::of(topic)),
                    "{role} wants to {action:?} in {topic:?}"
                );
            }
        }
        let guest = Actor { roles: vec!["super_admin".into()], ..actor(Principal::Guest) };
        assert!(may(&guest, Listen, Place::of(&Topic::Dashboard)).is_err());
        assert!(!may_read_all(&guest));
    }

    #[test]
    fn every_conversation_is_read_by_backends_and_by_whose_role_says_so() {
        let with = |role: &str| {
            let plain = actor(Principal::Person(person("ada")));
            may_read_all(&Actor { roles: vec![role.into()], ..plain })
        };
        assert!(["super_admin", "agent_manager", "agent_operator", "auditor"].into_iter().all(with));
        assert!(!["viewer", "admin", ""].into_iter().any(with));
        assert!(may_read_all(&actor(service())) && may_read_all(&actor(Principal::Operator)));
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
    fn a_conversation_is_there_for_the_owner_of_its_agent_and_with_a_public_one_for_everybody() {
        let (luna, ada, bob) = (agent_of("ada"), person("ada"), person("bob"));
        let topic = Topic::Everyone;
        assert_eq!(Place::of_conversation(&topic, Some(&luna), &ada).owner, Some(&ada));
        assert_eq!(Place::of_conversation(&topic, Some(&luna), &bob).owner, None);
        assert_eq!(Place::of_conversation(&topic, None, &ada).owner, None);
        let shared = Agent { visibility: "public".into(), ..luna.clone() };
        assert_eq!(Place::of_conversation(&topic, Some(&shared), &bob).owner, Some(&bob));
        assert_eq!(Place::of_conversation(&topic, Some(&shared), &ada).owner, Some(&ada));
        assert_eq!(
            Place::of_agent(&topic, Some(&shared)).owner,
            Some(&ada),
            "it is changed by its owner alone"
        );
        let known = Agent { visibility: "world".into(), ..luna.clone() };
        assert_eq!(Place::of_conversation(&topic, Some(&known), &bob).owner, None);
        assert_eq!(Place::of_agent(&topic, Some(&luna)).owner, Some(&ada));
        assert_eq!(Place::of_agent(&topic, None).owner, None);
        assert_eq!(Place::of(&Topic::Person(bob.clone())).owner, Some(&bob));
        assert_eq!(Place::of(&Topic::Inbox(bob.clone())).owner, Some(&bob));
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

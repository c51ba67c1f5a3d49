//! Does anybody ever hear what is not theirs? (P8)
//!
//! People, a backend and a guest do random things to random agents, in each other's names and their own, while agents come, go
//! and change hands. A small hub delivers what is published, as a real one does. Whatever reaches a connection is held against
//! rules of this file's own, which know nothing of `access`.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_core::access::{Action, Place, may};
use antiphon_core::actor::{Actor, Caller, Claim, Person, Plan, Principal};
use antiphon_core::agents::{Agent, AgentChange};
use antiphon_core::app::{App, Ports, Settings};
use antiphon_core::command::{Command, Once, Outcome};
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{AgentId, ConnectionId, ConversationId, MessageId, PersonId, Timestamp};
use antiphon_core::memory::{ManualClock, MemoryBus, MemoryLeases, MemoryStore, NoChain};
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::ports::{
    Agents as _, Answer, Audience, Bus as _, Listener, Mark, Model, People as _, Prompt, Revocation, Revoked,
    TaskFilter,
};
use antiphon_core::presence::Status;
use antiphon_core::tasks::{NewTask, Priority};
use antiphon_core::topic::Topic;
use antiphon_core::workers::{AgentStatus, Control};
use futures_util::stream;
use proptest::prelude::*;
use serde_json::value::RawValue;

const PEOPLE: [&str; 3] = ["ada", "bob", "eve"];
const AGENTS: [&str; 3] = ["luna", "rex", SHARED];
/// The agent that is public, whosever it is.
const SHARED: &str = "sol";

/// Two connections for each person, one for a backend, one for a guest.
const CONNECTIONS: usize = 2 * PEOPLE.len() + 2;

/// What somebody does: which connection, which agent, in whose name (a number beyond the people is nobody's).
#[derive(Clone, Debug)]
struct Step {
    connection: usize,
    agent: usize,
    named: usize,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Join,
    Leave,
    Post { once: bool },
    Speak { once: bool },
    Type,
    Show,
    Befriend,
    Bonds,
    Introduce,
    Watch,
    Unwatch,
    Appear,
    Create,
    Rename,
    Delete,
    Read,
    Notify,
    Relay(usize),
    Revoke,
    Toil(usize),
    Rest,
    Deposit,
    Withdraw,
    Claim,
    Grant,
    Ledger,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn t5_t6_nobody_hears_what_is_not_theirs(
        owners in prop::collection::vec(0..=PEOPLE.len(), AGENTS.len()),
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime with nothing but timers needs no resources").block_on(play(&owners, &steps));
    }
}

#[test]
fn the_rules_let_people_hear_what_is_theirs() {
    let does = |connection, what| Step { connection, agent: 0, named: PEOPLE.len(), what };
    let steps = [
        does(0, What::Show),
        does(0, What::Join),
        does(0, What::Watch),
        does(1, What::Post { once: false }),
        Step { named: 0, ..does(6, What::Speak { once: true }) },
        does(0, What::Rename),
        does(0, What::Claim),
        Step { named: 0, ..does(6, What::Notify) },
        does(0, What::Rest),
        does(1, What::Delete),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime with nothing but timers needs no resources");
    let heard = runtime.block_on(play(&[0, 1], &steps));
    assert!(heard >= 21, "only {heard} deliveries: what nobody hears proves nothing");
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        4 => Just(What::Join),
        1 => Just(What::Leave),
        4 => any::<bool>().prop_map(|once| What::Post { once }),
        3 => any::<bool>().prop_map(|once| What::Speak { once }),
        1 => Just(What::Type),
        1 => Just(What::Show),
        2 => Just(What::Befriend),
        1 => Just(What::Bonds),
        1 => Just(What::Introduce),
        4 => Just(What::Watch),
        1 => Just(What::Unwatch),
        1 => Just(What::Appear),
        4 => Just(What::Create),
        3 => Just(What::Rename),
        3 => Just(What::Delete),
        1 => Just(What::Read),
        1 => Just(What::Notify),
        2 => (0..5_usize).prop_map(What::Relay),
        1 => Just(What::Revoke),
        4 => (0..9_usize).prop_map(What::Toil),
        2 => Just(What::Rest),
        1 => Just(What::Deposit),
        1 => Just(What::Withdraw),
        2 => Just(What::Claim),
        2 => Just(What::Grant),
        1 => Just(What::Ledger),
    ];
    let named = prop_oneof![2 => Just(None), 1 => (0..=PEOPLE.len()).prop_map(Some)];
    (0..CONNECTIONS, 0..AGENTS.len(), named, what).prop_map(|(connection, agent, named, what)| {
        // Mostly people speak for themselves: otherwise little would happen.
        let named = named.unwrap_or(connection / 2);
        Step { connection, agent, named, what }
    })
}

/// Does all steps; returns how many events reached a connection. Panics when one reached the wrong one.
async fn play(owners: &[usize], steps: &[Step]) -> usize {
    let world = World::new(owners).await;
    for step in steps {
        world.act(step).await;
    }
    assert!(world.app.settle(Duration::from_secs(3_600)).await, "every answer ends");
    let hub = world.hub.0.lock().unwrap();
    assert!(hub.wrong.is_empty(), "{:#?}", hub.wrong);
    hub.delivered
}

struct World {
    app: Arc<App>,
    hub: Arc<Hub>,
}

/// Connections, where they sit, and what is known about who may hear what.
struct Hub(Mutex<State>);

#[derive(Default)]
struct State {
    actors: Vec<Arc<Actor>>,
    seats: HashMap<usize, HashSet<Topic>>,
    /// Which agents there are, and whose: the grants.
    owners: HashMap<AgentId, PersonId>,
    /// Messages that a connection has heard.
    messages: HashSet<(usize, MessageId)>,
    delivered: usize,
    wrong: Vec<String>,
}

impl World {
    async fn new(owners: &[usize]) -> Self {
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        let store = MemoryStore::new();
        store.put_plan(&plan).await.unwrap();
        for name in PEOPLE {
            let (id, plan) = (person(name), plan.name.clone());
            store
                .put_person(&Person { id, plan, roles: Vec::new(), created_at: Timestamp(0) })
                .await
                .unwrap();
        }
        let mut state = State::default();
        for (name, owner) in AGENTS.into_iter().zip(owners) {
            if let Some(owner) = PEOPLE.get(*owner) {
                store.put_agent(&agent(name, owner)).await.unwrap();
                state.owners.insert(agent(name, owner).id, person(owner));
            }
        }
        let principals =
            PEOPLE.iter().flat_map(|name| [Principal::Person(person(name)), Principal::Person(person(name))]);
        let plan = Arc::new(plan);
        for principal in principals.chain([Principal::Service("shop".into()), Principal::Guest]) {
            state.actors.push(Arc::new(Actor::new(principal, plan.clone())));
        }
        let hub = Arc::new(Hub(Mutex::new(state)));
        let bus = Arc::new(MemoryBus::new());
        bus.tap(hub.clone());
        let ports = Ports {
            store: Arc::new(store),
            bus,
            leases: Arc::new(MemoryLeases::new()),
            model: Arc::new(Parrot),
            clock: Arc::new(ManualClock::at(Timestamp(1_772_366_400_000))),
            audience: hub.clone(),
            chain: Arc::new(NoChain),
        };
        let world = Self { app: App::new(ports, Settings::default()), hub };
        for connection in 0..CONNECTIONS {
            let caller = world.caller(connection);
            // Every topic there is; who may listen is seated. A dialect asks for less.
            let mut topics = vec![Topic::Everyone, Topic::Nodes, Topic::Named("place".into())];
            topics.extend(PEOPLE.map(|name| Topic::Person(person(name))));
            topics.extend(PEOPLE.map(|name| Topic::Inbox(person(name))));
            for topic in topics {
                if may(&caller.actor, Action::Listen, Place::of(&topic)).is_ok() {
                    assert!(world.hub.join(id(connection), &topic));
                }
            }
            world.app.connected(&caller).await;
        }
        world
    }

    fn caller(&self, connection: usize) -> Caller {
        let actor = self.hub.0.lock().unwrap().actors[connection].clone();
        Caller { actor, connection: Some(id(connection)) }
    }

    async fn act(&self, step: &Step) {
        let Some(command) = self.command(step).await else { return };
        let caller = self.caller(step.connection);
        let before = self.hub.0.lock().unwrap().delivered;
        let outcome = self.app.handle(&caller, command.clone()).await;
        let mut hub = self.hub.0.lock().unwrap();
        if outcome.is_ok() {
            assert!(hub.may(&caller.actor.principal, &command), "{step:?} came to {outcome:?}");
        }
        match (&outcome, command) {
            (Ok(_), Command::CreateAgent { agent }) => {
                hub.owners.insert(agent.id, agent.owner);
            }
            (Ok(_), Command::DeleteAgent { agent }) => {
                hub.owners.remove(&agent);
            }
            (Ok(Outcome::Ledger(entries)), _) => {
                let strangers = entries.iter().any(|entry| match &caller.actor.principal {
                    Principal::Person(reader) => entry.person != *reader,
                    Principal::Service(_) | Principal::Operator => false,
                    Principal::Guest => true,
                });
                assert!(!strangers, "{step:?} read {entries:?}");
            }
            (Ok(Outcome::Bonds(bonds)), _) => {
                let strangers = bonds.iter().any(|bonded| match &caller.actor.principal {
                    Principal::Person(reader) => {
                        let said_to = bonded.last.as_ref().is_some_and(|last| last.person != *reader);
                        bonded.bond.person != *reader || said_to
                    }
                    Principal::Service(_) | Principal::Operator => false,
                    Principal::Guest => true,
                });
                assert!(!strangers, "{step:?} read {bonds:?}");
            }
            (Ok(Outcome::History(messages)), _) => {
                let strangers = messages.iter().any(|message| match &caller.actor.principal {
                    Principal::Person(reader) => message.person != *reader,
                    Principal::Service(_) | Principal::Operator => false,
                    Principal::Guest => true,
                });
                assert!(!strangers, "{step:?} read {messages:?}");
            }
            _ => {}
        }
        let acts_as = PEOPLE.get(step.connection / 2).filter(|_| step.connection < 2 * PEOPLE.len());
        let is_spoofed = acts_as.is_some() && step.named < PEOPLE.len() && PEOPLE.get(step.named) != acts_as;
        if is_spoofed && has_claim(step.what) {
            assert!(outcome.is_err(), "{step:?} came to {outcome:?}");
            assert_eq!(hub.delivered, before, "{step:?} was heard");
        }
    }

    /// The command of a step; `None` when it is something else than a command, which has been done then.
    async fn command(&self, step: &Step) -> Option<Command> {
        let id = AgentId::parse(AGENTS[step.agent]).unwrap();
        let named = PEOPLE.get(step.named).map(|name| person(name));
        let claim = named.clone().map_or(Claim::NONE, Claim::of);
        let somebody = named.unwrap_or_else(|| person("nobody"));
        let once = |wanted: bool| wanted.then(|| Once { key: format!("{}", step.agent) });
        Some(match step.what {
            What::Join => Command::JoinConversation { agent: id, person: claim },
            What::Leave => Command::LeaveConversation { agent: id, person: claim },
            What::Post { once: wanted } => Command::PostMessage {
                agent: id,
                person: claim,
                text: "hola".into(),
                once: once(wanted),
                price: wanted.then_some(1),
            },
            What::Speak { once: wanted } => {
                Command::Speak { agent: id, person: somebody, text: "hola".into(), once: once(wanted) }
            }
            What::Type => Command::SetTyping { agent: id, person: claim, active: true },
            What::Show => Command::ShowTyping { active: true },
            What::Befriend => Command::Befriend { agent: id, person: claim },
            What::Bonds => Command::ReadBonds { person: claim },
            What::Introduce => Command::SetProfile { person: claim, profile: Box::default() },
            What::Watch => Command::WatchAgent { agent: id, person: claim },
            What::Unwatch => Command::UnwatchAgent { agent: id, person: claim },
            What::Appear => Command::SetPresence { person: claim, status: Status::Away },
            What::Create => {
                Command::CreateAgent { agent: Box::new(agent(AGENTS[step.agent], somebody.as_str())) }
            }
            What::Rename => {
                let change = AgentChange { name: Some("Another".into()), ..AgentChange::default() };
                Command::ChangeAgent { agent: id, change: Box::new(change) }
            }
            What::Delete => Command::DeleteAgent { agent: id },
            What::Read => Command::ReadHistory { agent: id, person: claim, after: 0, limit: 100 },
            What::Notify => Command::SendNotice {
                person: somebody,
                notice: Notice {
                    kind: NoticeKind::Info,
                    title: "t".into(),
                    message: "m".into(),
                    action: None,
                },
            },
            What::Relay(kind) => {
                let topics = [
                    Topic::Everyone,
                    Topic::Nodes,
                    Topic::Named("place".into()),
                    Topic::Person(somebody.clone()),
                    Topic::Conversation(ConversationId::direct(&id, &somebody)),
                ];
                let value = RawValue::NULL.to_owned().into();
                Command::Signal { topic: topics[kind].clone(), name: "signal".into(), value }
            }
            What::Revoke => {
                let what = Revoked::Person(somebody);
                let revocation = Revocation { what, at: Timestamp(1), until: Timestamp(1) };
                self.app.revoke(revocation).await.unwrap();
                return None;
            }
            What::Deposit => Command::Deposit { person: claim, reference: "0xab".into(), amount: 1 },
            What::Withdraw => Command::Withdraw { person: claim, amount: 1, once: None },
            What::Claim => Command::ClaimReward { person: claim },
            What::Grant => Command::Grant { person: somebody, amount: 1, once: None },
            What::Ledger => Command::ReadLedger { person: claim, after: 0, limit: 100 },
            What::Toil(0) => watch(Topic::Dashboard),
            What::Toil(1) => watch(Topic::Agent(id)),
            What::Toil(2) => watch(Topic::Conversation(ConversationId::direct(&id, &somebody))),
            What::Toil(3) => Command::CreateTask {
                task: Box::new(NewTask {
                    title: "t".into(),
                    description: String::new(),
                    priority: Priority::Medium,
                    payload: "{}".into(),
                    needs: None,
                    parent: None,
                    conversation: None,
                }),
            },
            What::Toil(4) => Command::ClaimTask { agent: id, needs: None },
            What::Toil(5) => Command::Heartbeat { agent: id, metadata: None },
            What::Toil(6) => Command::ControlAgent { agent: id, control: Control::Pause },
            What::Toil(7) => Command::SetAgentStatus { agent: id, status: AgentStatus::Busy },
            What::Toil(_) => Command::ReadTasks { filter: TaskFilter::default(), limit: 100 },
            What::Rest => {
                assert!(self.app.settle(Duration::from_secs(3_600)).await, "every answer ends");
                return None;
            }
        })
    }
}

/// Whether this is said in somebody's name.
fn has_claim(what: What) -> bool {
    !matches!(what, What::Show | What::Rename | What::Delete | What::Revoke | What::Toil(_) | What::Rest)
}

impl Audience for Hub {
    fn join(&self, connection: ConnectionId, topic: &Topic) -> bool {
        let mut state = self.0.lock().unwrap();
        state.seats.entry(connection.slot as usize).or_default().insert(topic.clone())
            || state.seats[&(connection.slot as usize)].contains(topic)
    }

    fn leave(&self, connection: ConnectionId, topic: &Topic) {
        if let Some(seats) = self.0.lock().unwrap().seats.get_mut(&(connection.slot as usize)) {
            seats.remove(topic);
        }
    }
}

impl Listener for Hub {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        let mut state = self.0.lock().unwrap();
        for connection in 0..CONNECTIONS {
            let Some(seats) = state.seats.get(&connection) else { continue };
            let sits_elsewhere = envelope.unless.as_ref().is_some_and(|topic| seats.contains(topic));
            let place =
                std::iter::once(&envelope.topic).chain(&envelope.also).find(|topic| seats.contains(topic));
            let Some(place) = place else { continue };
            if envelope.except == Some(id(connection)) || sits_elsewhere {
                continue;
            }
            state.delivered += 1;
            state.check(connection, place, envelope);
        }
        if envelope.event.closes_its_topic() {
            state.seats.values_mut().for_each(|seats| {
                seats.remove(&envelope.topic);
            });
        }
    }
}

impl State {
    /// The rules for doing: people with their own agents, backends anything but being here, guests nothing.
    fn may(&self, principal: &Principal, command: &Command) -> bool {
        let person = match principal {
            Principal::Person(person) => person,
            Principal::Service(_) | Principal::Operator => {
                let own = |command: &_| {
                    matches!(
                        command,
                        Command::SetTyping { .. } | Command::ShowTyping { .. } | Command::SetPresence { .. }
                    )
                };
                return !own(command);
            }
            Principal::Guest => return matches!(command, Command::ReadPersonas { .. }),
        };
        match command {
            Command::WatchAgent { agent, .. }
            | Command::ChangeAgent { agent, .. }
            | Command::DeleteAgent { agent } => self.owners.get(agent) == Some(person),
            Command::JoinConversation { agent, .. }
            | Command::PostMessage { agent, .. }
            | Command::Befriend { agent, .. }
            | Command::ReadHistory { agent, .. } => self.converses(person, agent),
            Command::CreateAgent { agent } => agent.owner == *person,
            Command::Speak { .. } | Command::SendNotice { .. } | Command::Signal { .. } => false,
            // Nobody here has a role.
            Command::CreateTask { .. }
            | Command::ChangeTask { .. }
            | Command::ClaimTask { .. }
            | Command::ReadTask { .. }
            | Command::ReadTasks { .. }
            | Command::EnlistAgent { .. }
            | Command::ControlAgent { .. }
            | Command::SetAgentStatus { .. }
            | Command::Heartbeat { .. }
            | Command::ReadWorker { .. }
            | Command::ReadWorkers { .. }
            | Command::RaiseAlert { .. } => false,
            Command::ReadConversation { conversation, .. } => self.owners.iter().any(|(agent, owner)| {
                owner == person && ConversationId::direct(agent, person) == *conversation
            }),
            Command::ReadConversations { .. } => true,
            Command::Watch { topic, .. } => match topic {
                Topic::Agent(agent) => self.owners.get(agent) == Some(person),
                Topic::Conversation(id) => self.owners.keys().any(|agent| {
                    self.converses(person, agent) && ConversationId::direct(agent, person) == *id
                }),
                _ => false,
            },
            Command::Unwatch { .. } => true,
            // What touches nothing but the own seats and the own presence.
            Command::LeaveConversation { .. }
            | Command::UnwatchAgent { .. }
            | Command::SetTyping { .. }
            | Command::ShowTyping { .. }
            | Command::SetPresence { .. } => true,
            // What everybody may see, and what is one's own.
            Command::ReadPersonas { .. }
            | Command::ReadBonds { .. }
            | Command::ReadProfile { .. }
            | Command::SetProfile { .. } => true,
            // What touches nothing but the own wallet. A deposit needs somebody who looks the payment up.
            Command::OpenWallet { .. }
            | Command::Withdraw { .. }
            | Command::ClaimReward { .. }
            | Command::ReadBalance { .. }
            | Command::ReadLedger { .. } => true,
            Command::Deposit { .. } | Command::Grant { .. } => false,
        }
    }

    /// Whether the person may talk to the agent: it is theirs, or everybody's.
    fn converses(&self, person: &PersonId, agent: &AgentId) -> bool {
        self.owners.get(agent).is_some_and(|owner| owner == person || agent.as_str() == SHARED)
    }

    /// The rules for hearing: what is a person's own, and nothing else.
    fn check(&mut self, connection: usize, place: &Topic, envelope: &Envelope) {
        let actor = self.actors[connection].clone();
        let is_theirs = match (&actor.principal, place) {
            (_, Topic::Nodes) => false,
            (_, Topic::Everyone) => {
                matches!(envelope.event, Event::PresenceChanged { .. } | Event::Signal(_))
            }
            (Principal::Guest, _) => false,
            (Principal::Service(_) | Principal::Operator, _) => true,
            (Principal::Person(_), Topic::Named(_) | Topic::Task(_) | Topic::Dashboard) => false,
            (Principal::Person(own), Topic::Person(person) | Topic::Inbox(person)) => own == person,
            (Principal::Person(own), Topic::Agent(agent)) => self.owners.get(agent) == Some(own),
            (Principal::Person(own), Topic::Conversation(conversation)) => AGENTS
                .iter()
                .any(|name| ConversationId::direct(&AgentId::parse(name).unwrap(), own) == *conversation),
        };
        let is_named = match (&actor.principal, named_in(&envelope.event)) {
            (Principal::Person(own), Some(named)) => own == named,
            _ => true,
        };
        let is_new = match &envelope.event {
            Event::MessagePosted(message) => self.messages.insert((connection, message.id)),
            _ => true,
        };
        if !is_theirs || !is_named || !is_new {
            self.wrong.push(format!("{:?} heard {envelope:?} (new: {is_new})", actor.principal));
        }
    }
}

/// Whose business an event is, when it says so itself.
fn named_in(event: &Event) -> Option<&PersonId> {
    match event {
        Event::MessagePosted(message) | Event::ReplyFinished { message, .. } => Some(&message.person),
        Event::RelationChanged { person, .. } | Event::TypingChanged { person, .. } => Some(person),
        Event::PersonTyping { person, .. } => Some(person),
        Event::ReplyStarted(reply) | Event::ReplyFailed(reply) => Some(&reply.person),
        Event::BalanceChanged(entry) => Some(&entry.person),
        Event::BalanceTold { person, .. } => Some(person),
        _ => None,
    }
}

/// Says everything back, in two pieces, a little later.
struct Parrot;

impl Model for Parrot {
    fn answer(&self, prompt: Prompt) -> Answer {
        let heard = prompt.history.last().map(|message| message.text.clone()).unwrap_or_default();
        Box::pin(stream::unfold(vec!["!".to_owned(), heard], |mut pieces| async move {
            let piece = pieces.pop()?;
            tokio::task::yield_now().await;
            Some((Ok(piece), pieces))
        }))
    }
}

fn watch(topic: Topic) -> Command {
    Command::Watch { topic, name: "it".into() }
}

fn id(connection: usize) -> ConnectionId {
    ConnectionId { core: 0, slot: u32::try_from(connection).unwrap(), generation: 0 }
}

fn person(name: &str) -> PersonId {
    PersonId::parse(name).unwrap()
}

fn agent(name: &str, owner: &str) -> Agent {
    Agent {
        id: AgentId::parse(name).unwrap(),
        owner: person(owner),
        name: name.into(),
        kind: "companion".into(),
        personality: String::new(),
        purpose: String::new(),
        tone: String::new(),
        visibility: if name == SHARED { "public".into() } else { "private".into() },
        created_at: Timestamp(0),
        persona: None,
    }
}

//! Where the rules are rehearsed: an app on memory ports, with agents that speak from a script, ports that fail when told to,
//! and a listener that writes down what is published.
//!
//! Clocks are paused: waiting for an event that never comes costs no time, and "nothing happens" means that every task has
//! come to rest.

mod explorer;
mod script;
mod shaky;

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub(crate) use self::explorer::Explorer;
pub(crate) use self::script::{Script, Step};
pub(crate) use self::shaky::Shaky;
use super::{App, Ports, Settings};
use crate::actor::{Actor, Caller, Claim, Person, Plan, Principal};
use crate::agents::Agent;
use crate::command::{Command, Outcome};
use crate::conversation::Message;
use crate::event::{Envelope, Event};
use crate::ids::{AgentId, ConnectionId, ConversationId, PersonId, Timestamp};
use crate::memory::{ManualClock, MemoryBus, MemoryLeases, MemoryStore, RecordingAudience};
use crate::ports::{Agents, Bus, Conversations, Listener, Mark, People};
use crate::refusal::Refusal;
use crate::topic::Topic;

/// Noon of 1 March 2026, UTC.
pub(crate) const NOON: Timestamp = Timestamp(1_772_366_400_000);

/// An app, its ports, and what was heard. Ada owns luna and mia, bob owns rex.
pub(crate) struct Stage {
    pub(crate) app: Arc<App>,
    pub(crate) store: Arc<Shaky<MemoryStore>>,
    pub(crate) leases: Arc<Shaky<MemoryLeases>>,
    pub(crate) model: Arc<Script>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) audience: Arc<RecordingAudience>,
    pub(crate) chain: Arc<Explorer>,
    bus: Arc<MemoryBus>,
    heard: mpsc::UnboundedReceiver<Arc<Envelope>>,
    plan: Plan,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let bus = Arc::new(MemoryBus::new());
        let leases = Arc::new(Shaky::new(MemoryLeases::new()));
        Self::beside(settings, bus, leases).await
    }

    /// Another node: the same bus and the same leases.
    pub(crate) async fn another_node(&self, node: &str) -> Self {
        let settings = Settings { node: node.into(), ..Settings::default() };
        Self::beside(settings, self.bus.clone(), self.leases.clone()).await
    }

    async fn beside(settings: Settings, bus: Arc<MemoryBus>, leases: Arc<Shaky<MemoryLeases>>) -> Self {
        let store = Arc::new(Shaky::new(MemoryStore::new()));
        let model = Arc::new(Script::default());
        let clock = Arc::new(ManualClock::at(NOON));
        let audience = Arc::new(RecordingAudience::new());
        let chain = Arc::new(Explorer::default());
        for name in ["ada", "bob"] {
            let person =
                Person { id: person(name), plan: "free".into(), roles: Vec::new(), created_at: NOON };
            store.inner.put_person(&person).await.unwrap();
        }
        for (name, owner) in [("luna", "ada"), ("mia", "ada"), ("rex", "bob")] {
            store.inner.put_agent(&agent(name, owner)).await.unwrap();
        }
        let (sender, heard) = mpsc::unbounded_channel();
        let listener = bus.attach(Arc::new(Ear(sender)));
        for topic in [
            Topic::Everyone,
            Topic::Person(person("ada")),
            Topic::Person(person("bob")),
            Topic::Agent(self::agent("luna", "ada").id),
            Topic::Agent(self::agent("rex", "bob").id),
            talk("luna", "ada"),
            talk("mia", "ada"),
            talk("rex", "ada"),
            talk("rex", "bob"),
            talk("nobody", "ada"),
            Topic::Named("place".into()),
            Topic::Nodes,
            Topic::Dashboard,
        ] {
            bus.listen(listener, &topic, Mark::NONE);
        }
        let ports = Ports {
            store: store.clone(),
            bus: bus.clone(),
            leases: leases.clone(),
            model: model.clone(),
            clock: clock.clone(),
            audience: audience.clone(),
            chain: chain.clone(),
        };
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: Some(100),
            agents: Some(3),
        };
        let app = App::new(ports, settings);
        Self { app, store, leases, model, clock, audience, chain, bus, heard, plan }
    }

    /// Starts [`App::run`]; it ends when the sender is dropped.
    pub(crate) fn run(&self) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
        let (stop, stopped) = watch::channel(false);
        (stop, tokio::spawn(self.app.clone().run(stopped)))
    }

    /// From now on callers are on a plan with these limits.
    pub(crate) fn limit(&mut self, messages_per_month: Option<u64>, agents: Option<u32>) {
        self.plan.messages_per_month = messages_per_month;
        self.plan.agents = agents;
    }

    /// A person over one of their connections.
    pub(crate) fn caller(&self, name: &str, slot: u32) -> Caller {
        self.principal(Principal::Person(person(name)), slot)
    }

    pub(crate) fn principal(&self, principal: Principal, slot: u32) -> Caller {
        let actor = Arc::new(Actor::new(principal, Arc::new(self.plan.clone())));
        Caller { actor, connection: Some(connection(slot)) }
    }

    /// Ada's first connection does this.
    pub(crate) async fn ada(&self, command: Command) -> Result<Outcome, Refusal> {
        self.app.handle(&self.caller("ada", 1), command).await
    }

    /// Ada's first connection posts `text` to luna.
    pub(crate) async fn post(&self, text: &str) -> Result<Outcome, Refusal> {
        self.ada(post_to("luna", text)).await
    }

    /// What was said between ada and luna, oldest first.
    pub(crate) async fn stored(&self) -> Vec<Message> {
        let id = ConversationId::direct(&AgentId::parse("luna").unwrap(), &person("ada"));
        self.store.inner.history(id, 0, 1_000).await.unwrap()
    }

    /// The next event; fails when none will come.
    pub(crate) async fn next(&mut self) -> Arc<Envelope> {
        timeout(Duration::from_secs(3_600), self.heard.recv())
            .await
            .expect("an event")
            .expect("the bus is alive")
    }

    /// The next events in short form, as many as `expected` has.
    pub(crate) async fn hears(&mut self, expected: &[&str]) {
        let mut heard = Vec::new();
        while heard.len() < expected.len() {
            match timeout(Duration::from_secs(3_600), self.heard.recv()).await {
                Ok(Some(envelope)) => heard.push(short(&envelope.event)),
                _ => break,
            }
        }
        assert_eq!(heard, expected);
    }

    /// Fails if anything has been published that was not asked for, or is, before every task rests.
    pub(crate) async fn hears_nothing_more(&mut self) {
        if let Ok(envelope) = timeout(Duration::from_millis(1), self.heard.recv()).await {
            panic!("heard {envelope:?}");
        }
    }
}

pub(crate) fn person(name: &str) -> PersonId {
    PersonId::parse(name).unwrap()
}

pub(crate) fn agent_id(name: &str) -> AgentId {
    AgentId::parse(name).unwrap()
}

pub(crate) fn agent(name: &str, owner: &str) -> Agent {
    Agent {
        id: agent_id(name),
        owner: person(owner),
        name: name.into(),
        kind: "companion".into(),
        personality: "calm".into(),
        purpose: String::new(),
        tone: String::new(),
        visibility: "private".into(),
        created_at: NOON,
        persona: None,
    }
}

pub(crate) fn connection(slot: u32) -> ConnectionId {
    ConnectionId { core: 0, slot, generation: 0 }
}

pub(crate) fn talk(agent: &str, name: &str) -> Topic {
    Topic::Conversation(ConversationId::direct(&agent_id(agent), &person(name)))
}

pub(crate) fn post_to(agent: &str, text: &str) -> Command {
    Command::PostMessage {
        agent: agent_id(agent),
        person: Claim::NONE,
        text: text.into(),
        once: None,
        price: None,
    }
}

/// An event in a few words.
pub(crate) fn short(event: &Event) -> String {
    let mut line = String::new();
    let written = match event {
        Event::MessagePosted(message) => write!(line, "posted {}", message.text),
        Event::RelationChanged { .. } => write!(line, "relation"),
        Event::TypingChanged { person, agent, active, .. } => {
            write!(line, "{person} types to {agent}: {active}")
        }
        Event::PersonTyping { person, active, .. } => write!(line, "{person} types: {active}"),
        Event::ReplyStarted(_) => write!(line, "started"),
        Event::ReplyChunk(chunk) => write!(line, "chunk {} {:?}", chunk.index, chunk.text),
        Event::ReplyFinished { message, .. } => write!(line, "finished {}", message.text),
        Event::ReplyFailed(_) => write!(line, "failed"),
        Event::PresenceChanged { person, status, changed, .. } => {
            write!(line, "{person} {status:?}{}", if *changed { ", changed" } else { "" })
        }
        Event::AgentChanged { agent, .. } => write!(line, "changed {agent}"),
        Event::AgentDeleted { agent } => write!(line, "deleted {agent}"),
        Event::NoticeSent { notice, .. } => write!(line, "notice {}", notice.title),
        Event::Signal(signal) => write!(line, "signal {} {}", signal.name, signal.value),
        Event::Revoked(revocation) => write!(line, "revoked {:?}", revocation.what),
        Event::BalanceTold { person, balance, .. } => write!(line, "{person} has {}", balance.tokens),
        Event::BalanceChanged(entry) => {
            write!(
                line,
                "{} has {} after {:+} for {}",
                entry.person,
                entry.balance,
                entry.amount,
                entry.reason.name()
            )
        }

        Event::TaskCreated(task) => write!(line, "created {}", task.title),
        Event::TaskAssigned(task) => {
            write!(line, "assigned {} to {}", task.title, task.agent.as_ref().expect("it has an agent"))
        }
        Event::TaskUpdated { task, update, .. } => write!(line, "updated {} {update:?}", task.title),
        Event::TaskFinished(task) => write!(line, "finished {} {:?}", task.title, task.status),
        Event::AgentStatusChanged(change) => {
            write!(line, "{} {:?} → {:?} {:?}", change.agent, change.old, change.new, change.cause)
        }
        Event::AgentHeartbeat { agent, metadata, .. } => write!(line, "heartbeat {agent} {metadata}"),
        Event::AlertRaised { message, severity, .. } => write!(line, "alert {severity:?} {message}"),
    };
    written.expect("a string takes everything");
    line
}

struct Ear(mpsc::UnboundedSender<Arc<Envelope>>);

impl Listener for Ear {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        // The stage may be gone while answers still end.
        let _ = self.0.send(Arc::clone(envelope));
    }
}

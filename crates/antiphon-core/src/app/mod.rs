//! The one door: a command in, an outcome or a refusal out.
//!
//! [`App::handle`] asks [`access`] whether, lets the noun do it, and turns whatever broke into one log line
//! and a kind sentence. The order is always the same: decide, store, then publish.
//!
//! | file | commands |
//! |---|---|
//! | `conversation` | join, leave, read |
//! | `posting` | post, speak |
//! | `listening` | who may hear a topic, and where a connection that comes back is seated again |
//! | `agents` | watch, create, change, delete |
//! | `wallet` | open, deposit, withdraw, claim, grant, read |
//! | `people` | personas, bonds and profiles |
//! | `typing`, `typists` | who is typing, and when that ends by itself |
//! | `presence` | who is here |
//! | `retelling` | what the last run has stored and did not come to tell |
//! | `tasks` | create, assign, claim, report on, cancel and read tasks |
//! | `workers` | how agents at work are, and noticing that one has gone |

mod agents;
mod conversation;
mod listening;
mod people;
mod posting;
mod presence;
mod retelling;
#[cfg(test)]
pub(crate) mod stage;
mod tasks;
mod typing;
mod typists;
pub(crate) mod wallet;
mod workers;

use std::collections::HashSet;
use std::error::Error;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{MissedTickBehavior, interval};

pub use self::retelling::Retold;
use crate::access::{self, Action, Place};
use crate::actor::{Actor, Caller};
pub use crate::assistant::Answers;
use crate::assistant::Assistant;
use crate::command::{Command, Outcome};
use crate::event::{Envelope, Event, Signal};
use crate::ids::{ConnectionId, PersonId, Timestamp};
use crate::notices::Notice;
use crate::ports::{Audience, Bus, Chain, Clock, Leases, Model, Revocation, Store};
use crate::refusal::{Code, Fault, Refusal};
use crate::topic::Topic;

/// How often the store is told to forget what has had its time.
const UPKEEP: Duration = Duration::from_secs(600);

/// What the core needs from the world, as `wiring` puts it together.
pub struct Ports {
    /// Remembers.
    pub store: Arc<dyn Store>,
    /// Tells whoever listens.
    pub bus: Arc<dyn Bus>,
    /// Claims that expire.
    pub leases: Arc<dyn Leases>,
    /// Answers.
    pub model: Arc<dyn Model>,
    /// Tells the time that is written down.
    pub clock: Arc<dyn Clock>,
    /// Seats connections.
    pub audience: Arc<dyn Audience>,
    /// Says whether payments were made.
    pub chain: Arc<dyn Chain>,
}

impl Ports {
    /// Publishes `event` to `topic`, to everybody who listens there.
    pub(crate) fn publish(&self, topic: Topic, event: Event) {
        self.bus.publish(Envelope::new(topic, event));
    }
}

/// How the rules are set.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long somebody is typing after saying so once.
    pub typing: Duration,
    /// How long a claim of presence lasts without a renewal; renewed after a third of it.
    pub presence: Duration,
    /// How many messages of a conversation a model gets to see, the one to answer included.
    pub remembered: u32,
    /// How long a model may say nothing, before its first piece and between two, until its answer has failed.
    pub reply_timeout: Duration,
    /// Longest answer, in bytes. A model that says more is cut off at the last piece that fits.
    pub longest_reply: usize,
    /// How many messages of one conversation may wait while another one is answered. Beyond that a post is refused.
    pub waiting_replies: usize,
    /// Name of this node, different on every node; the prefix of its lease holders.
    pub node: String,
    /// How many tokens one gets, and when.
    pub wallet: crate::wallet::Settings,
    /// How long an agent at work may be silent until it counts as gone.
    pub heartbeat: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            typing: Duration::from_secs(3),
            presence: Duration::from_secs(60),
            remembered: 20,
            reply_timeout: Duration::from_secs(60),
            longest_reply: 256 * 1024,
            waiting_replies: 16,
            node: "local".into(),
            wallet: crate::wallet::Settings::default(),
            heartbeat: Duration::from_secs(30),
        }
    }
}

/// The core of one node. Shared by all connections, called from every core's runtime.
pub struct App {
    ports: Arc<Ports>,
    settings: Settings,
    assistant: Arc<Assistant>,
    typists: typists::Typists,
    attendance: Mutex<crate::presence::Attendance>,
    /// People who were here when the last run ended and have shown no sign of life since. Locked after `attendance`.
    missing: Mutex<HashSet<PersonId>>,
    /// Told when some are missing.
    missed: Notify,
    /// Held while an agent is created, changed or deleted, so that limits hold and events come in the order of commits; and by
    /// many at once while they begin to watch one.
    editing: tokio::sync::RwLock<()>,
    /// Whether the last call to the leases failed, so that an outage is two log lines, not thousands.
    leases_failing: AtomicBool,
    forbidden: AtomicU64,
}

impl App {
    /// An app over `ports`. Starts nothing: [`run`](Self::run) does.
    pub fn new(ports: Ports, settings: Settings) -> Arc<Self> {
        let ports = Arc::new(ports);
        Arc::new(Self {
            assistant: Arc::new(Assistant::new(ports.clone(), &settings)),
            typists: typists::Typists::default(),
            attendance: Mutex::default(),
            missing: Mutex::default(),
            missed: Notify::new(),
            editing: tokio::sync::RwLock::default(),
            leases_failing: AtomicBool::new(false),
            forbidden: AtomicU64::new(0),
            ports,
            settings,
        })
    }

    /// Does what `command` asks on behalf of `caller`.
    ///
    /// `Ok` means done, and durable where something is stored. A refusal means that nothing was stored and nothing was
    /// published. Faults of the ports are logged here, once, and come back as their [`Fault::refusal`]. Must be called from a
    /// tokio runtime: answers of agents go on there.
    pub async fn handle(self: &Arc<Self>, caller: &Caller, command: Command) -> Result<Outcome, Refusal> {
        let name = command.name();
        match self.dispatch(caller, command).await {
            Ok(outcome) => Ok(outcome),
            Err(Trouble::Refused(refusal)) => {
                if refusal.code == Code::Forbidden {
                    self.forbidden.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(command = name, "refused: the id in the message is not the sender's");
                }
                Err(refusal)
            }
            Err(Trouble::Broken(fault)) => {
                if fault.is_told() {
                    tracing::debug!(command = name, fault = explain(&fault), "a command met a known outage");
                } else {
                    tracing::error!(command = name, fault = explain(&fault), "a command failed");
                }
                Err(fault.refusal())
            }
        }
    }

    async fn dispatch(self: &Arc<Self>, caller: &Caller, command: Command) -> Result<Outcome, Trouble> {
        match command {
            // From where on the past is told does not change who may listen, nor from when on they do.
            Command::JoinConversation { agent, person, after: _ } => {
                self.join_conversation(caller, &agent, &person).await
            }
            Command::LeaveConversation { agent, person } => self.leave_conversation(caller, &agent, &person),
            Command::PostMessage { agent, person, text, once, price } => {
                self.post(caller, &agent, &person, text, once, price).await
            }
            Command::Speak { agent, person, text, once } => {
                self.speak(caller, &agent, person, text, once).await
            }
            Command::SetTyping { agent, person, active } => {
                self.set_typing(caller, &agent, &person, active).await
            }
            Command::ShowTyping { active } => self.show_typing(caller, active),
            Command::WatchAgent { agent, person } => self.watch_agent(caller, &agent, &person).await,
            Command::UnwatchAgent { agent, person } => self.unwatch_agent(caller, agent, &person),
            Command::SetPresence { person, status } => self.set_presence(caller, &person, status).await,
            Command::CreateAgent { agent } => self.create_agent(caller, &agent).await,
            Command::ChangeAgent { agent, change } => self.change_agent(caller, agent, *change).await,
            Command::DeleteAgent { agent } => self.delete_agent(caller, agent).await,
            Command::ReadHistory { agent, person, after, limit } => {
                self.read_history(caller, &agent, &person, after, limit).await
            }
            Command::ReadConversation { conversation, after, limit } => {
                self.read_conversation(caller, conversation, after, limit).await
            }
            Command::ReadConversations { after, limit } => {
                self.read_conversations(caller, after, limit).await
            }
            Command::ReadPersonas { limit } => self.read_personas(caller, limit).await,
            Command::Befriend { agent, person } => self.befriend(caller, &agent, &person).await,
            Command::ReadBonds { person } => self.read_bonds(caller, &person).await,
            Command::ReadProfile { person } => self.read_profile(caller, &person).await,
            Command::SetProfile { person, profile } => self.set_profile(caller, &person, profile).await,
            Command::SendNotice { person, notice } => self.send_notice(&caller.actor, person, notice),
            Command::Signal { topic, name, value } => {
                access::may(&caller.actor, Action::Relay, Place::of(&topic))?;
                self.ports.publish(topic, Event::Signal(Signal { name, value }));
                Ok(Outcome::Done)
            }
            Command::OpenWallet { person } => self.open_wallet(caller, &person).await,
            Command::Deposit { person, reference, amount } => {
                self.deposit(caller, &person, &reference, amount).await
            }
            Command::Withdraw { person, amount, once } => self.withdraw(caller, &person, amount, once).await,
            Command::ClaimReward { person } => self.claim_reward(caller, &person).await,
            Command::Grant { person, amount, once } => self.grant(caller, person, amount, once).await,
            Command::ReadBalance { person } => self.read_balance(caller, &person).await,
            Command::ReadLedger { person, after, limit } => {
                self.read_ledger(caller, &person, after, limit).await
            }

            Command::CreateTask { task } => self.create_task(caller, *task).await,
            Command::ChangeTask { task, step } => self.change_task(caller, task, step).await,
            Command::ClaimTask { agent, needs } => self.claim_task(caller, agent, needs).await,
            Command::ReadTask { task } => self.read_task(caller, task).await,
            Command::ReadTasks { filter, limit } => self.read_tasks(caller, &filter, limit).await,
            Command::EnlistAgent { agent, duties } => self.enlist_agent(caller, &agent, &duties).await,
            Command::ControlAgent { agent, control } => self.control_agent(caller, &agent, control).await,
            Command::SetAgentStatus { agent, status } => self.set_agent_status(caller, &agent, status).await,
            Command::Heartbeat { agent, metadata } => self.heartbeat(caller, &agent, metadata).await,
            Command::ReadWorker { agent } => self.read_worker(caller, &agent).await,
            Command::ReadWorkers { after, limit } => self.read_workers(caller, after.as_ref(), limit).await,
            Command::RaiseAlert { message, severity } => self.raise_alert(caller, message, severity),
            Command::Watch { topic, name } => self.watch(caller, &topic, name).await,
            Command::Unwatch { topic, name } => Ok(self.unwatch(caller, &topic, name)),
        }
    }

    fn send_notice(&self, actor: &Actor, person: PersonId, notice: Notice) -> Result<Outcome, Trouble> {
        let topic = Topic::Person(person);
        access::may(actor, Action::Notify, Place::of(&topic))?;
        self.ports.publish(topic, Event::NoticeSent { notice, at: self.now() });
        Ok(Outcome::Done)
    }

    /// A connection of a person has been let in: their presence is claimed, and everybody else is told that they are online.
    /// To be called once per connection, before its first command; guests and the operator pass unnoticed.
    pub async fn connected(self: &Arc<Self>, caller: &Caller) {
        self.arrive(caller).await;
    }

    /// A connection is gone: it types no more, and if no claim of its person's presence is left, everybody is told that they
    /// are offline. To be called once per connection, after its last command.
    pub async fn disconnected(self: &Arc<Self>, caller: &Caller) {
        self.depart(caller).await;
    }

    /// From now on these credentials are dead: first for whoever asks the store, then, at once, for every node that hears
    /// [`Event::Revoked`] on [`Topic::Nodes`]. Returns the position of the revocation.
    pub async fn revoke(&self, revocation: Revocation) -> Result<u64, Fault> {
        let position = self.ports.store.revoke(&revocation).await?;
        self.ports.publish(Topic::Nodes, Event::Revoked(revocation));
        Ok(position)
    }

    /// Keeps this node's claims of presence alive, ends typing that nobody renewed, gives back what was paid for answers that
    /// failed, notices agents at work and people of the last run that have gone, and has the store forget what has had its time,
    /// until `shutdown` says `true` or its sender is gone. One task for the whole node.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let work = async {
            tokio::join!(
                self.keep_presence(),
                self.see_off(),
                self.expire_typing(),
                self.keep_store_small(),
                self.assistant.keep_refunding(),
                self.watch_agents()
            )
        };
        tokio::select! {
            // An error means that the sender is gone, and with it whoever could have asked for more work.
            _ = shutdown.wait_for(|stop| *stop) => {}
            _ = work => {}
        }
    }

    /// Has the store forget what it need not remember, for ever.
    async fn keep_store_small(&self) {
        let mut ticks = interval(UPKEEP);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            loop {
                match self.ports.store.forget(self.now()).await {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(fault) => {
                        tracing::warn!(fault = explain(&fault), "the store could not forget what is over");
                        break;
                    }
                }
            }
        }
    }

    /// Waits until no answer is under way or waiting; after `limit` the rest is cut off, and told to have failed. What was paid
    /// for failed ones is given back before this returns.
    ///
    /// Returns whether all answers ended by themselves. Once it had to cut, the app answers nothing any more: call it last.
    pub async fn settle(&self, limit: Duration) -> bool {
        let settled = self.assistant.settle(limit).await;
        self.assistant.refund_owed().await;
        settled
    }

    /// How many answers of agents there are, and were. Looks at every conversation that waits for one.
    pub fn answers(&self) -> Answers {
        self.assistant.answers()
    }

    /// The ports.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// Now, as it is written down.
    pub fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    /// How many commands were refused as forbidden since the start: an id that was not the sender's, or a right they lack.
    pub fn forbidden(&self) -> u64 {
        self.forbidden.load(Ordering::Relaxed)
    }

    /// How this node names `connection` to the leases.
    fn holder(&self, connection: ConnectionId) -> String {
        format!("{}/{connection}", self.settings.node)
    }

    /// What the leases said; `None` when they failed. Presence and typing go on without them on what this node knows
    /// itself, so a fault is logged when an outage begins and ends, and nobody is refused for it.
    fn leased<T>(&self, said: Result<T, Fault>) -> Option<T> {
        match said {
            Ok(value) => {
                if self.leases_failing.load(Ordering::Relaxed)
                    && self.leases_failing.swap(false, Ordering::Relaxed)
                {
                    tracing::info!("leases work again");
                }
                Some(value)
            }
            Err(fault) => {
                if !self.leases_failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(fault = explain(&fault), "leases fail: presence is known per node only");
                }
                None
            }
        }
    }
}

/// Why a command was not done, before the two are told apart for the client.
enum Trouble {
    Refused(Refusal),
    Broken(Fault),
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Broken(fault)
    }
}

/// A fault with everything that caused it, for one log line.
pub(crate) fn explain(fault: &Fault) -> String {
    let mut line = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        // Writing to a `String` cannot fail.
        let _ = write!(line, ": {error}");
        cause = error.source();
    }
    line
}

/// Locks for a few lines. What a lock here guards is whole after every line, so a panic elsewhere does not spoil it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use tracing::field::{Field, Visit};
    use tracing::span::{Attributes, Id, Record};
    use tracing::{Level, Metadata, Subscriber};

    use super::stage::Stage;
    use super::*;
    use crate::ports::{Revocations, Revoked};

    /// Writes down every event that is logged, with all its fields.
    #[derive(Clone, Default)]
    struct Journal(Arc<Mutex<Vec<(Level, String)>>>);

    struct Line(String);

    impl Visit for Line {
        fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
            let _ = write!(self.0, "{field}={value:?} ");
        }
    }

    impl Subscriber for Journal {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn event(&self, event: &tracing::Event<'_>) {
            let mut line = Line(String::new());
            event.record(&mut line);
            lock(&self.0).push((*event.metadata().level(), line.0));
        }
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_is_logged_once_with_its_cause_and_without_what_was_said() {
        let stage = Stage::new().await;
        let journal = Journal::default();
        let _listening = tracing::subscriber::set_default(journal.clone());
        stage.store.fail(true);
        assert_eq!(stage.post("a secret").await, Err(Refusal::internal()));
        let lines = lock(&journal.0).clone();
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (level, line) = &lines[0];
        assert_eq!(*level, Level::ERROR);
        assert!(line.contains("PostMessage") && line.contains("asking a port: as the test says"), "{line}");
        assert!(!line.contains("secret"), "{line}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_the_leases_is_two_lines() {
        let stage = Stage::new().await;
        let journal = Journal::default();
        let _listening = tracing::subscriber::set_default(journal.clone());
        for failing in [true, false] {
            stage.leases.fail(failing);
            for _ in 0..100 {
                stage.app.connected(&stage.caller("ada", 1)).await;
            }
        }
        let levels: Vec<_> = lock(&journal.0).iter().map(|(level, _)| *level).collect();
        assert_eq!(levels, [Level::ERROR, Level::INFO]);
    }

    fn revocation() -> Revocation {
        let what = Revoked::Person(stage::person("ada"));
        Revocation { what, at: stage::NOON, until: Timestamp(stage::NOON.0 + 1_000) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_is_stored_and_then_told_to_every_node() {
        let mut stage = Stage::new().await;
        stage.store.fail(true);
        assert!(stage.app.revoke(revocation()).await.is_err());
        stage.hears_nothing_more().await;
        stage.store.fail(false);
        let position = stage.app.revoke(revocation()).await.unwrap();
        assert_eq!(stage.store.inner.revocations(0, 10).await.unwrap(), [(position, revocation())]);
        let envelope = stage.next().await;
        assert_eq!(envelope.topic, Topic::Nodes);
        let Event::Revoked(heard) = &envelope.event else { panic!("heard {envelope:?}") };
        assert_eq!(*heard, revocation());
    }

    #[tokio::test(start_paused = true)]
    async fn running_has_the_store_forget_what_is_over() {
        let stage = Stage::new().await;
        stage.app.revoke(revocation()).await.unwrap();
        let (_stop, _running) = stage.run();
        tokio::time::sleep(UPKEEP).await;
        assert_eq!(stage.store.inner.revocations(0, 10).await.unwrap().len(), 1, "it is still needed");
        stage.clock.advance(Duration::from_secs(2));
        tokio::time::sleep(UPKEEP).await;
        assert_eq!(stage.store.inner.revocations(0, 10).await.unwrap(), []);
    }
}

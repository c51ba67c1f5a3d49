//! Agents at work: what they are there for, how they are, and noticing that one has gone.
//!
//! Each sign of life is a claim on a lease. This node looks at the leases of all agents that have ever given one, a few times
//! within a timeout; where nobody holds the lease any more, the store takes the agent offline, unless it was heard in the
//! meantime, and takes its tasks back in the same transaction. Nobody is declared gone before this node has listened for a whole
//! timeout, so a restart costs agents nothing, nor does an outage of the leases.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::tasks::{announce_returned, page_of, refused};
use super::{App, Ports, Trouble, explain};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Principal};
use crate::command::Outcome;
use crate::event::{Envelope, Event, Severity, StatusChange};
use crate::ids::{AgentId, Timestamp};
use crate::ports::Stepped;
use crate::refusal::{Code, Refusal};
use crate::tasks::{MAX_JSON_BYTES, Task, check_json};
use crate::topic::Topic;
use crate::workers::{AgentStatus, Control, Duties, Moved, Sign, Worker};

/// How many agents are read at once while they are looked at.
const PAGE: u32 = 256;

impl App {
    pub(super) async fn enlist_agent(
        &self,
        caller: &Caller,
        agent: &AgentId,
        duties: &Duties,
    ) -> Result<Outcome, Trouble> {
        self.check_work(caller, Action::Enlist, agent)?;
        duties.check()?;
        let worker = self.ports.store.enlist(agent, duties).await?;
        Ok(Outcome::Worker(Box::new(worker.ok_or_else(access::agent_not_found)?)))
    }

    pub(super) async fn control_agent(
        &self,
        caller: &Caller,
        agent: &AgentId,
        control: Control,
    ) -> Result<Outcome, Trouble> {
        self.check_work(caller, Action::Control, agent)?;
        let by = &caller.actor.principal;
        Ok(worker_of(self.note(agent, Sign::Control(control), by).await?))
    }

    pub(super) async fn set_agent_status(
        &self,
        caller: &Caller,
        agent: &AgentId,
        status: AgentStatus,
    ) -> Result<Outcome, Trouble> {
        self.check_work(caller, Action::Work, agent)?;
        let worker = self.note(agent, Sign::Status(status), &caller.actor.principal).await?;
        if worker.is_watched() {
            self.hear(agent).await;
        }
        Ok(worker_of(worker))
    }

    pub(super) async fn heartbeat(
        &self,
        caller: &Caller,
        agent: &AgentId,
        metadata: Option<String>,
    ) -> Result<Outcome, Trouble> {
        self.check_work(caller, Action::Work, agent)?;
        metadata.as_deref().map_or(Ok(()), check_json)?;
        // Before the store knows of it: whoever looks in between finds the agent alive.
        self.hear(agent).await;
        Ok(worker_of(self.note(agent, Sign::Heartbeat(metadata), &caller.actor.principal).await?))
    }

    pub(super) async fn read_worker(&self, caller: &Caller, agent: &AgentId) -> Result<Outcome, Trouble> {
        self.check_work(caller, Action::Read, agent)?;
        let worker = self.ports.store.worker(agent).await?;
        Ok(worker_of(worker.ok_or_else(access::agent_not_found)?))
    }

    pub(super) async fn read_workers(
        &self,
        caller: &Caller,
        after: Option<&AgentId>,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Read, Place::of(&Topic::Dashboard))?;
        Ok(Outcome::Workers(self.ports.store.workers(after, page_of(limit)?).await?))
    }

    pub(super) fn raise_alert(
        &self,
        caller: &Caller,
        message: String,
        severity: Severity,
    ) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Alert, Place::of(&Topic::Dashboard))?;
        if message.trim().is_empty() {
            return Err(Refusal::invalid("An alert must not be empty.").into());
        }
        if message.len() > MAX_JSON_BYTES {
            return Err(Refusal::new(Code::TooLarge, "An alert has at most 32,768 bytes.").into());
        }
        self.ports.publish(Topic::Dashboard, Event::AlertRaised { message, severity, at: self.now() });
        Ok(Outcome::Done)
    }

    pub(super) async fn watch(
        &self,
        caller: &Caller,
        topic: &Topic,
        name: Arc<str>,
    ) -> Result<Outcome, Trouble> {
        // Not while an agent is being deleted, as for whoever watches one of their own.
        let _not_edited = self.editing.read().await;
        self.may_listen(&caller.actor, topic).await?;
        self.seat(caller, topic)?;
        Ok(Outcome::Watched { name })
    }

    pub(super) fn unwatch(&self, caller: &Caller, topic: &Topic, name: Arc<str>) -> Outcome {
        if let Some(connection) = caller.connection {
            self.ports.audience.leave(connection, topic);
        }
        Outcome::Watched { name }
    }

    /// `agent` is alive, as far as the leases are asked.
    pub(super) async fn hear(&self, agent: &AgentId) {
        let claimed = self.ports.leases.claim(&key(agent), HOLDER, self.settings.heartbeat).await;
        self.leased(claimed);
    }

    /// Tasks of agents that do not exist any more wait again.
    pub(super) async fn return_tasks(&self) -> Result<(), Trouble> {
        loop {
            let (ports, at) = (Arc::clone(&self.ports), self.now());
            let committed = Box::new(move |before: &[Task]| announce_returned(&ports, before, at));
            if self.ports.store.return_tasks(committed).await?.is_empty() {
                return Ok(());
            }
        }
    }

    /// Notices agents that have gone, for ever.
    pub(super) async fn watch_agents(&self) {
        let timeout = self.settings.heartbeat;
        sleep(timeout).await;
        loop {
            match self.look_at_agents().await {
                // Who could not say that they live while the leases failed gets the time to say it now.
                Ok(Leases::Failed) => sleep(timeout).await,
                Ok(Leases::Answered) | Err(Trouble::Refused(_)) => {}
                Err(Trouble::Broken(fault)) => {
                    tracing::warn!(fault = explain(&fault), "agents at work could not be looked at");
                }
            }
            // A sleep of nothing would let nobody else do anything.
            sleep((timeout / 3).max(Duration::from_millis(1))).await;
        }
    }

    async fn look_at_agents(&self) -> Result<Leases, Trouble> {
        let mut after = None;
        loop {
            let workers = self.ports.store.workers(after.as_ref(), PAGE).await?;
            for worker in workers.iter().filter(|worker| worker.is_watched()) {
                let Some(heard_at) = worker.heard_at else { continue };
                let holders = self.ports.leases.holders(&key(&worker.agent)).await;
                let Some(holders) = self.leased(holders) else { return Ok(Leases::Failed) };
                if !holders.is_empty() {
                    continue;
                }
                match self.note(&worker.agent, Sign::Silence(heard_at), &Principal::Operator).await {
                    // Somebody was quicker, or has deleted it.
                    Ok(_) | Err(Trouble::Refused(_)) => {}
                    Err(broken) => return Err(broken),
                }
            }
            match workers.last() {
                Some(last) if workers.len() == PAGE as usize => after = Some(last.agent.clone()),
                _ => break,
            }
        }
        self.return_tasks().await?;
        Ok(Leases::Answered)
    }

    /// Notes `sign` of `agent`, which `by` gave; returns the agent as it is then.
    async fn note(&self, agent: &AgentId, sign: Sign, by: &Principal) -> Result<Worker, Trouble> {
        let (ports, at) = (Arc::clone(&self.ports), self.now());
        let (noted, by) = (sign.clone(), by.to_string());
        let committed = Box::new(move |moved: &Moved| announce(&ports, &noted, moved, by, at));
        match self.ports.store.move_worker(agent, &sign, at, committed).await? {
            Stepped::Done(moved) | Stepped::Repeated(moved) => Ok(moved.worker),
            unchanged => Err(refused(unchanged)),
        }
    }
}

/// How the leases were while agents were looked at.
enum Leases {
    Answered,
    Failed,
}

/// Who holds the lease of an agent: all signs of its life are one.
const HOLDER: &str = "agent";

/// How the leases call an agent's being alive.
fn key(agent: &AgentId) -> String {
    format!("heartbeat/{agent}")
}

fn worker_of(worker: Worker) -> Outcome {
    Outcome::Worker(Box::new(worker))
}

/// Says what `sign` has made of an agent, and then of its tasks.
fn announce(ports: &Ports, sign: &Sign, moved: &Moved, by: String, at: Timestamp) {
    let worker = &moved.worker;
    let topic = || Topic::Agent(worker.agent.clone());
    if moved.old != worker.status {
        let change = StatusChange {
            agent: worker.agent.clone(),
            old: moved.old,
            new: worker.status,
            cause: sign.cause(),
            by,
            at,
        };
        let event = Event::AgentStatusChanged(Box::new(change));
        ports.bus.publish(Envelope::to_all(topic(), [Topic::Dashboard], event));
    }
    if let Sign::Heartbeat(_) = sign {
        let (agent, metadata) = (worker.agent.clone(), worker.metadata.clone());
        ports.publish(topic(), Event::AgentHeartbeat { agent, metadata, at });
    }
    announce_returned(ports, &moved.returned, at);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::{Actor, Principal};
    use crate::agents::Agent;
    use crate::app::stage::{Stage, agent, agent_id, person, post_to, talk};
    use crate::command::Command;
    use crate::ids::ConversationId;
    use crate::ports::{Agents, Tasks, Workers};
    use crate::tasks::{NewTask, Priority, Step, TaskStatus};
    use crate::workers::Cause;

    const TIMEOUT: Duration = Duration::from_secs(30);

    fn with_role(stage: &Stage, role: &str) -> Caller {
        let plain = stage.caller("ada", 1);
        let actor = Actor { roles: vec![role.into()], ..(*plain.actor).clone() };
        Caller { actor: Arc::new(actor), ..plain }
    }

    fn beat(agent: &str) -> Command {
        Command::Heartbeat { agent: agent_id(agent), metadata: None }
    }

    async fn does(stage: &Stage, command: Command) -> Result<Outcome, Refusal> {
        stage.app.handle(&stage.principal(Principal::Service("fleet".into()), 7), command).await
    }

    async fn status(stage: &Stage, agent: &str) -> AgentStatus {
        stage.store.inner.worker(&agent_id(agent)).await.unwrap().unwrap().status
    }

    async fn create(stage: &Stage, title: &str) {
        let task = NewTask {
            title: title.into(),
            description: String::new(),
            priority: Priority::Medium,
            payload: "null".into(),
            needs: None,
            parent: None,
            conversation: None,
        };
        does(stage, Command::CreateTask { task: Box::new(task) }).await.unwrap();
    }

    async fn claim(stage: &Stage, agent: &str) -> Task {
        let claim = Command::ClaimTask { agent: agent_id(agent), needs: None };
        match does(stage, claim).await {
            Ok(Outcome::Task { task, .. }) => *task,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_agent_goes_offline_and_its_task_is_taken_by_another_each_told_once_and_in_order() {
        let mut stage = Stage::new().await;
        let (_stop, _running) = stage.run();
        create(&stage, "sum").await;
        let task = claim(&stage, "luna").await;
        does(&stage, Command::ChangeTask { task: task.id, step: Step::Start(agent_id("luna")) })
            .await
            .unwrap();
        stage.hears(&["created sum", "assigned sum to luna", "updated sum Started"]).await;
        // The silence begins.
        stage.hears(&["luna Ready → Offline HeartbeatTimeout", "updated sum Returned(AgentId(luna))"]).await;
        let again = claim(&stage, "rex").await;
        assert_eq!((again.id, again.reclaims), (task.id, 1));
        stage.hears(&["assigned sum to rex"]).await;
        let late = Step::Complete(agent_id("luna"), "1".into());
        let late = does(&stage, Command::ChangeTask { task: task.id, step: late }).await.unwrap_err();
        assert_eq!(late.code, Code::Conflict);
        does(&stage, beat("luna")).await.unwrap();
        stage.hears(&["luna Offline → Ready HeartbeatRecovery", "heartbeat luna {}"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_beats_stays_and_one_that_never_did_is_not_waited_for() {
        let mut stage = Stage::new().await;
        let (_stop, _running) = stage.run();
        for _ in 0..20 {
            does(&stage, beat("luna")).await.unwrap();
            stage.hears(&["heartbeat luna {}"]).await;
            sleep(TIMEOUT - Duration::from_secs(1)).await;
        }
        assert_eq!(status(&stage, "luna").await, AgentStatus::Ready);
        assert_eq!(status(&stage, "mia").await, AgentStatus::Ready, "this server answers for mia");
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_restart_agents_have_a_whole_timeout_to_be_heard() {
        let stage = Stage::new().await;
        does(&stage, beat("luna")).await.unwrap();
        does(&stage, beat("rex")).await.unwrap();
        // The leases of before are gone, as those of one process are.
        sleep(10 * TIMEOUT).await;
        let (_stop, _running) = stage.run();
        sleep(TIMEOUT - Duration::from_secs(1)).await;
        assert_eq!(status(&stage, "luna").await, AgentStatus::Ready);
        does(&stage, beat("luna")).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        assert_eq!(status(&stage, "luna").await, AgentStatus::Ready);
        assert_eq!(status(&stage, "rex").await, AgentStatus::Offline);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_gone_because_the_leases_are() {
        let stage = Stage::new().await;
        let (_stop, _running) = stage.run();
        does(&stage, beat("luna")).await.unwrap();
        stage.leases.fail(true);
        sleep(10 * TIMEOUT).await;
        assert_eq!(status(&stage, "luna").await, AgentStatus::Ready);
        stage.leases.fail(false);
        sleep(TIMEOUT / 2).await;
        does(&stage, beat("luna")).await.unwrap();
        sleep(TIMEOUT / 2).await;
        assert_eq!(status(&stage, "luna").await, AgentStatus::Ready);
        sleep(3 * TIMEOUT).await;
        assert_eq!(status(&stage, "luna").await, AgentStatus::Offline);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operator_tells_agents_what_to_do_and_everybody_hears_who_did() {
        let mut stage = Stage::new().await;
        let operator = with_role(&stage, "agent_operator");
        let tell = |control| Command::ControlAgent { agent: agent_id("luna"), control };
        let told = stage.app.handle(&operator, tell(Control::Pause)).await.unwrap();
        assert!(matches!(told, Outcome::Worker(worker) if worker.status == AgentStatus::Paused));
        let envelope = stage.next().await;
        assert_eq!(envelope.topic, Topic::Agent(agent_id("luna")));
        assert_eq!(*envelope.also, [Topic::Dashboard]);
        let Event::AgentStatusChanged(change) = &envelope.event else { panic!("heard {envelope:?}") };
        assert_eq!((change.old, change.new), (AgentStatus::Ready, AgentStatus::Paused));
        assert_eq!((change.cause, change.by.as_str()), (Cause::Controlled(Control::Pause), "person:ada"));
        let claim = Command::ClaimTask { agent: agent_id("luna"), needs: None };
        assert_eq!(does(&stage, claim).await.unwrap_err().code, Code::Conflict);
        stage.app.handle(&operator, tell(Control::Resume)).await.unwrap();
        stage.hears(&["luna Paused → Ready Controlled(Resume)"]).await;
        let resumed_again = stage.app.handle(&operator, tell(Control::Resume)).await;
        assert!(resumed_again.is_ok(), "it is ready already");
        let wrong = Command::SetAgentStatus { agent: agent_id("luna"), status: AgentStatus::Initializing };
        assert_eq!(does(&stage, wrong).await.unwrap_err().code, Code::Conflict);
        stage.hears_nothing_more().await;
        for (role, command) in [
            ("viewer", tell(Control::Stop)),
            ("agent_manager", tell(Control::Stop)),
            ("agent_operator", Command::EnlistAgent { agent: agent_id("luna"), duties: Box::default() }),
            ("auditor", beat("luna")),
            ("nothing", beat("luna")),
        ] {
            let refused = stage.app.handle(&with_role(&stage, role), command).await.unwrap_err();
            assert_eq!(refused.code, Code::Forbidden, "{role}");
        }
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_enlisted_agent_begins_idle_says_how_it_is_and_is_watched_from_then_on() {
        let mut stage = Stage::new().await;
        let (_stop, _running) = stage.run();
        let manager = with_role(&stage, "agent_manager");
        let duties = Duties { capabilities: vec!["paint".into()], ..Duties::default() };
        let enlist = Command::EnlistAgent { agent: agent_id("rex"), duties: Box::new(duties) };
        let enlisted = stage.app.handle(&manager, enlist).await.unwrap();
        assert!(matches!(enlisted, Outcome::Worker(worker) if worker.status == AgentStatus::Idle));
        for status in [AgentStatus::Initializing, AgentStatus::Ready, AgentStatus::Busy] {
            does(&stage, Command::SetAgentStatus { agent: agent_id("rex"), status }).await.unwrap();
        }
        stage
            .hears(&[
                "rex Idle → Initializing Said",
                "rex Initializing → Ready Said",
                "rex Ready → Busy Said",
                "rex Busy → Offline HeartbeatTimeout",
            ])
            .await;
        let read = Command::ReadWorkers { after: None, limit: 10 };
        let Ok(Outcome::Workers(workers)) = stage.app.handle(&manager, read).await else { panic!("a list") };
        assert_eq!(workers.iter().map(|worker| worker.agent.as_str()).collect::<Vec<_>>(), ["rex"]);
        let read = Command::ReadWorker { agent: agent_id("nobody") };
        assert_eq!(stage.app.handle(&manager, read).await, Err(access::agent_not_found()));
    }

    #[tokio::test(start_paused = true)]
    async fn tasks_of_a_deleted_agent_wait_again() {
        let mut stage = Stage::new().await;
        create(&stage, "sum").await;
        let task = claim(&stage, "luna").await;
        stage.hears(&["created sum", "assigned sum to luna"]).await;
        stage.ada(Command::DeleteAgent { agent: agent_id("luna") }).await.unwrap();
        stage.hears(&["deleted luna", "updated sum Returned(AgentId(luna))"]).await;
        let stored = stage.store.inner.task(task.id).await.unwrap().unwrap();
        assert_eq!((stored.status, stored.agent), (TaskStatus::Pending, None));
        assert_eq!(does(&stage, beat("luna")).await, Err(access::agent_not_found()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_of_an_agent_that_vanished_is_found_at_the_next_look() {
        let mut stage = Stage::new().await;
        create(&stage, "sum").await;
        claim(&stage, "luna").await;
        // As if the process had died between the two.
        stage.store.inner.delete_agent(&agent_id("luna")).await.unwrap();
        let (_stop, _running) = stage.run();
        stage.hears(&["created sum", "assigned sum to luna", "updated sum Returned(AgentId(luna))"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn alerts_are_raised_by_those_who_look_after_agents() {
        let mut stage = Stage::new().await;
        let raise =
            |message: &str| Command::RaiseAlert { message: message.into(), severity: Severity::Warning };
        let operator = with_role(&stage, "agent_operator");
        assert_eq!(stage.app.handle(&operator, raise("disk")).await, Ok(Outcome::Done));
        stage.hears(&["alert Warning disk"]).await;
        let code = async |caller: &Caller, command| stage.app.handle(caller, command).await.unwrap_err().code;
        assert_eq!(code(&operator, raise(" ")).await, Code::Invalid);
        assert_eq!(code(&operator, raise(&"x".repeat(MAX_JSON_BYTES + 1))).await, Code::TooLarge);
        assert_eq!(code(&with_role(&stage, "viewer"), raise("x")).await, Code::Forbidden);
        assert_eq!(code(&stage.caller("ada", 1), raise("x")).await, Code::Forbidden);
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_conversation_is_watched_by_whose_it_is_and_by_whoever_may_see_all() {
        let stage = Stage::new().await;
        stage.store.inner.put_agent(&Agent { name: "Mia".into(), ..agent("mia", "ada") }).await.unwrap();
        stage.ada(post_to("luna", "hola")).await.unwrap();
        let watch = |topic: Topic| Command::Watch { topic, name: "it".into() };
        let bob = stage.caller("bob", 4);
        let shop = stage.principal(Principal::Service("shop".into()), 5);
        let silent = Topic::Conversation(ConversationId::direct(&agent_id("mia"), &person("ada")));
        let may = async |caller: &Caller, topic: &Topic| {
            let watched = stage.app.handle(caller, watch(topic.clone())).await;
            let hears = caller.connection.is_some_and(|at| stage.audience.hears(at, topic));
            assert!(hears || watched.is_err(), "whoever may is seated");
            watched.is_ok()
        };
        assert!(may(&stage.caller("ada", 6), &talk("luna", "ada")).await);
        assert!(may(&shop, &talk("luna", "ada")).await);
        assert!(may(&with_role(&stage, "auditor"), &talk("luna", "ada")).await);
        assert!(may(&with_role(&stage, "auditor"), &silent).await, "nothing has been said there yet");
        assert!(!may(&bob, &talk("luna", "ada")).await);
        assert!(!may(&bob, &silent).await);
        assert!(may(&with_role(&stage, "viewer"), &silent).await, "it is Ada's own");
        let viewer = Actor { roles: vec!["viewer".into()], ..(*bob.actor).clone() };
        assert!(!may(&Caller { actor: Arc::new(viewer), ..bob.clone() }, &silent).await);
        assert!(may(&bob, &Topic::Agent(agent_id("rex"))).await);
        assert!(!may(&bob, &Topic::Agent(agent_id("luna"))).await);
        assert!(!may(&bob, &Topic::Nodes).await);
        assert!(!may(&shop, &Topic::Nodes).await);
    }
}

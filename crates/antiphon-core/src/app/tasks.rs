//! Creating, claiming and finishing tasks, and reading them.

use std::sync::Arc;

use super::{App, Ports, Trouble};
use crate::access::{self, Action, Place};
use crate::actor::Caller;
use crate::command::Outcome;
use crate::event::{Envelope, Event};
use crate::ids::{AgentId, TaskId, Timestamp};
use crate::ports::{Stepped, TaskFilter};
use crate::refusal::Refusal;
use crate::tasks::{NewTask, Step, Task, TaskUpdate, task_not_found};
use crate::topic::Topic;

impl App {
    pub(super) async fn create_task(&self, caller: &Caller, new: NewTask) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Order, Place::of(&Topic::Dashboard))?;
        new.check()?;
        if let Some(parent) = new.parent
            && self.ports.store.task(parent).await?.is_none()
        {
            return Err(task_not_found().into());
        }
        let task = new.begun(caller.actor.principal.to_string(), self.now());
        let ports = Arc::clone(&self.ports);
        let created = move |task: &Task| {
            ports.publish(Topic::Dashboard, Event::TaskCreated(Box::new(task.clone())));
        };
        let task = Box::new(self.ports.store.put_task(&task, Box::new(created)).await?);
        Ok(Outcome::Task { task, repeated: false })
    }

    pub(super) async fn change_task(
        &self,
        caller: &Caller,
        id: TaskId,
        step: Step,
    ) -> Result<Outcome, Trouble> {
        match step.agent() {
            Some(agent) => self.check_work(caller, Action::Work, agent)?,
            None => access::may(&caller.actor, Action::Order, Place::of(&Topic::Task(id)))?,
        }
        step.check()?;
        let (ports, done, at) = (Arc::clone(&self.ports), step.clone(), self.now());
        let committed = Box::new(move |task: &Task| announce(&ports, &done, task, at));
        let (task, repeated) = match self.ports.store.step_task(id, &step, at, committed).await? {
            Stepped::Done(task) => (Box::new(task), false),
            Stepped::Repeated(task) => (Box::new(task), true),
            unchanged => return Err(refused(unchanged)),
        };
        if let Some(agent) = step.agent() {
            self.hear(agent).await;
        }
        Ok(Outcome::Task { task, repeated })
    }

    pub(super) async fn claim_task(
        &self,
        caller: &Caller,
        agent: AgentId,
        needs: Option<Vec<String>>,
    ) -> Result<Outcome, Trouble> {
        self.check_work(caller, Action::Work, &agent)?;
        let (ports, claimed, at) = (Arc::clone(&self.ports), Step::Claim(agent.clone()), self.now());
        let committed = Box::new(move |task: &Task| announce(&ports, &claimed, task, at));
        let stepped = self.ports.store.claim_task(&agent, needs.as_deref(), at, committed).await?;
        match stepped {
            Stepped::Done(Some(task)) => {
                self.hear(&agent).await;
                Ok(Outcome::Task { task: Box::new(task), repeated: false })
            }
            Stepped::Done(None) | Stepped::Repeated(_) => Ok(Outcome::NoTask),
            unchanged => Err(refused(unchanged)),
        }
    }

    pub(super) async fn read_task(&self, caller: &Caller, id: TaskId) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Read, Place::of(&Topic::Task(id)))?;
        let task = self.ports.store.task(id).await?.ok_or_else(task_not_found)?;
        Ok(Outcome::Task { task: Box::new(task), repeated: true })
    }

    pub(super) async fn read_tasks(
        &self,
        caller: &Caller,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Read, Place::of(&Topic::Dashboard))?;
        Ok(Outcome::Tasks(self.ports.store.tasks(filter, page_of(limit)?).await?))
    }

    /// Whether `caller` may do `action` for `agent`, as those who look after agents at work and backends may for any.
    pub(super) fn check_work(&self, caller: &Caller, action: Action, agent: &AgentId) -> Result<(), Refusal> {
        access::may(&caller.actor, action, Place::of(&Topic::Agent(agent.clone())))
    }
}

/// Why a step was not done, for the client.
pub(super) fn refused<T>(stepped: Stepped<T>) -> Trouble {
    match stepped {
        Stepped::Refused(refusal) => refusal.into(),
        Stepped::NoAgent => access::agent_not_found().into(),
        Stepped::NoTask | Stepped::Done(_) | Stepped::Repeated(_) => task_not_found().into(),
    }
}

/// A length of a list that may be asked for.
pub(super) fn page_of(limit: u32) -> Result<u32, Refusal> {
    match limit {
        1..=1_000 => Ok(limit),
        _ => Err(Refusal::invalid("The limit of a list is 1 to 1,000.")),
    }
}

/// Says that these tasks wait again, after their agents have gone. Each is as it was before.
pub(super) fn announce_returned(ports: &Ports, before: &[Task], at: Timestamp) {
    for task in before {
        let (Some(agent), Some(task)) = (task.agent.clone(), task.returned()) else { continue };
        ports.bus.publish(updated(task, TaskUpdate::Returned(agent), at));
    }
}

/// Says what `step` has made of a task.
fn announce(ports: &Ports, step: &Step, task: &Task, at: Timestamp) {
    let whole = || Box::new(task.clone());
    let topic = Topic::Task(task.id);
    ports.bus.publish(match step {
        Step::Assign(agent) | Step::Claim(agent) => {
            let also = [Topic::Agent(agent.clone()), Topic::Dashboard];
            Envelope::to_all(topic, also, Event::TaskAssigned(whole()))
        }
        Step::Start(_) => updated(task.clone(), TaskUpdate::Started, at),
        Step::Progress(_, update) => updated(task.clone(), TaskUpdate::Progress(update.clone()), at),
        Step::Complete(..) | Step::Fail(..) | Step::Cancel => {
            Envelope::to_all(topic, [Topic::Dashboard], Event::TaskFinished(whole()))
        }
    });
}

fn updated(task: Task, update: TaskUpdate, at: Timestamp) -> Envelope {
    let topic = Topic::Task(task.id);
    Envelope::to_all(topic, [Topic::Dashboard], Event::TaskUpdated { task: Box::new(task), update, at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::{Actor, Principal};
    use crate::app::stage::{NOON, Stage, agent_id, connection};
    use crate::command::Command;
    use crate::refusal::Code;
    use crate::tasks::{Priority, TaskStatus};

    /// Somebody with this role.
    fn with_role(stage: &Stage, role: &str) -> Caller {
        let plain = stage.caller("ada", 1);
        let actor = Actor { roles: vec![role.into()], ..(*plain.actor).clone() };
        Caller { actor: Arc::new(actor), ..plain }
    }

    fn new(title: &str) -> NewTask {
        NewTask {
            title: title.into(),
            description: String::new(),
            priority: Priority::Medium,
            payload: "{\"pages\":3}".into(),
            needs: None,
            parent: None,
            conversation: None,
        }
    }

    fn create(title: &str) -> Command {
        Command::CreateTask { task: Box::new(new(title)) }
    }

    fn claim(agent: &str) -> Command {
        Command::ClaimTask { agent: agent_id(agent), needs: None }
    }

    async fn task(stage: &Stage, caller: &Caller, command: Command) -> (Task, bool) {
        match stage.app.handle(caller, command.clone()).await {
            Ok(Outcome::Task { task, repeated }) => (*task, repeated),
            other => panic!("{command:?} came to {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_is_told_of_at_every_step_once_and_in_order() {
        let mut stage = Stage::new().await;
        let manager = with_role(&stage, "agent_manager");
        let shop = stage.principal(Principal::Service("shop".into()), 2);
        let luna = || agent_id("luna");
        let (created, _) = task(&stage, &manager, create("sum")).await;
        assert_eq!((created.created_by.as_str(), created.created_at), ("person:ada", NOON));
        let (claimed, _) = task(&stage, &shop, claim("luna")).await;
        assert_eq!((claimed.id, claimed.status), (created.id, TaskStatus::Assigned));
        let step = |step| Command::ChangeTask { task: created.id, step };
        task(&stage, &shop, step(Step::Start(luna()))).await;
        task(&stage, &shop, step(Step::Progress(luna(), "50".into()))).await;
        let (done, repeated) = task(&stage, &shop, step(Step::Complete(luna(), "\"ok\"".into()))).await;
        assert_eq!(
            (done.status, done.result.as_deref(), repeated),
            (TaskStatus::Completed, Some("\"ok\""), false)
        );
        stage
            .hears(&[
                "created sum",
                "assigned sum to luna",
                "updated sum Started",
                "updated sum Progress(\"50\")",
                "finished sum Completed",
            ])
            .await;
        let (again, repeated) = task(&stage, &shop, step(Step::Complete(luna(), "\"ok\"".into()))).await;
        assert_eq!((again, repeated), (done.clone(), true));
        assert_eq!(stage.app.handle(&shop, claim("luna")).await, Ok(Outcome::NoTask));
        let late = stage.app.handle(&shop, step(Step::Claim(luna()))).await.unwrap_err();
        assert_eq!(late.code, Code::Conflict, "a finished task is not claimed");
        stage.hears_nothing_more().await;
        assert_eq!(task(&stage, &manager, Command::ReadTask { task: done.id }).await.0, done);
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_goes_to_all_its_places_in_one_envelope() {
        let mut stage = Stage::new().await;
        let operator = stage.principal(Principal::Operator, 2);
        let (created, _) = task(&stage, &operator, create("sum")).await;
        let step = |step| Command::ChangeTask { task: created.id, step };
        let id = Topic::Task(created.id);
        task(&stage, &operator, step(Step::Assign(agent_id("luna")))).await;
        task(&stage, &operator, step(Step::Claim(agent_id("luna")))).await;
        task(&stage, &operator, step(Step::Cancel)).await;
        let expected: [(&Topic, &[Topic]); 4] = [
            (&Topic::Dashboard, &[]),
            (&id, &[Topic::Agent(agent_id("luna")), Topic::Dashboard]),
            (&id, &[Topic::Agent(agent_id("luna")), Topic::Dashboard]),
            (&id, &[Topic::Dashboard]),
        ];
        for (topic, also) in expected {
            let envelope = stage.next().await;
            assert_eq!((&envelope.topic, &*envelope.also), (topic, also), "{:?}", envelope.event);
        }
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_no_role_learns_and_changes_nothing() {
        let mut stage = Stage::new().await;
        let operator = stage.principal(Principal::Operator, 2);
        let (task, _) = task(&stage, &operator, create("secret")).await;
        stage.hears(&["created secret"]).await;
        let step = |step| Command::ChangeTask { task: task.id, step };
        let commands = [
            create("mine"),
            claim("luna"),
            step(Step::Assign(agent_id("luna"))),
            step(Step::Claim(agent_id("luna"))),
            step(Step::Cancel),
            Command::ReadTask { task: task.id },
            Command::ReadTasks { filter: TaskFilter::default(), limit: 10 },
            Command::Watch { topic: Topic::Dashboard, name: "all".into() },
            Command::Watch { topic: Topic::Task(task.id), name: "it".into() },
        ];
        let calls = stage.store.calls();
        let guest = stage.principal(Principal::Guest, 3);
        for command in commands {
            for caller in [stage.caller("ada", 1), with_role(&stage, "admin"), guest.clone()] {
                let refused = stage.app.handle(&caller, command.clone()).await.unwrap_err();
                assert!(matches!(refused.code, Code::Forbidden | Code::NotFound), "{command:?}: {refused:?}");
            }
        }
        assert_eq!(stage.store.calls(), calls, "the store was not even asked");
        assert_eq!(stage.audience.seatings(), []);
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn who_watches_may_look_and_not_touch() {
        let stage = Stage::new().await;
        let viewer = with_role(&stage, "viewer");
        let operator = stage.principal(Principal::Operator, 2);
        let (task, _) = task(&stage, &operator, create("sum")).await;
        for topic in [Topic::Dashboard, Topic::Task(task.id), Topic::Agent(agent_id("nobody"))] {
            let watch = Command::Watch { topic: topic.clone(), name: "it".into() };
            let watched = Ok(Outcome::Watched { name: "it".into() });
            assert_eq!(stage.app.handle(&viewer, watch).await, watched);
            assert!(stage.audience.hears(connection(1), &topic));
            let unwatch = Command::Unwatch { topic: topic.clone(), name: "it".into() };
            assert_eq!(stage.app.handle(&viewer, unwatch).await, watched);
            assert!(!stage.audience.hears(connection(1), &topic));
        }
        let filter = TaskFilter { status: Some(TaskStatus::Pending), ..TaskFilter::default() };
        let read = |limit| Command::ReadTasks { filter: filter.clone(), limit };
        assert_eq!(stage.app.handle(&viewer, read(10)).await, Ok(Outcome::Tasks(vec![task.clone()])));
        for limit in [0, 1_001] {
            assert_eq!(stage.app.handle(&viewer, read(limit)).await.unwrap_err().code, Code::Invalid);
        }
        let cancel = Command::ChangeTask { task: task.id, step: Step::Cancel };
        assert_eq!(stage.app.handle(&viewer, cancel).await.unwrap_err().code, Code::Forbidden);
        assert_eq!(stage.app.handle(&viewer, claim("luna")).await.unwrap_err().code, Code::Forbidden);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_refused_and_nothing_is_said() {
        let mut stage = Stage::new().await;
        let operator = stage.principal(Principal::Operator, 2);
        let code = async |command| stage.app.handle(&operator, command).await.unwrap_err().code;
        let with = |new: NewTask| Command::CreateTask { task: Box::new(new) };
        assert_eq!(code(create("")).await, Code::Invalid);
        assert_eq!(code(with(NewTask { payload: "{".into(), ..new("x") })).await, Code::Invalid);
        let orphan = NewTask { parent: Some(TaskId::random()), ..new("x") };
        assert_eq!(code(with(orphan)).await, Code::NotFound);
        assert_eq!(code(claim("nobody")).await, Code::NotFound);
        let id = TaskId::random();
        assert_eq!(code(Command::ReadTask { task: id }).await, Code::NotFound);
        assert_eq!(code(Command::ChangeTask { task: id, step: Step::Cancel }).await, Code::NotFound);
        let broken = Step::Complete(agent_id("luna"), "not json".into());
        assert_eq!(code(Command::ChangeTask { task: id, step: broken }).await, Code::Invalid);
        stage.store.fail(true);
        assert_eq!(code(create("x")).await, Code::Internal);
        stage.hears_nothing_more().await;
    }
}

//! Watching, creating, changing and deleting agents.

use super::{App, Trouble, explain};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Claim};
use crate::agents::{Agent, AgentChange};
use crate::command::Outcome;
use crate::event::Event;
use crate::ids::AgentId;
use crate::refusal::{Code, Refusal};
use crate::topic::Topic;

impl App {
    pub(super) async fn watch_agent(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
    ) -> Result<Outcome, Trouble> {
        access::identity(&caller.actor, claim)?;
        let topic = Topic::Agent(agent.clone());
        // Not while it is being deleted: a seat taken after everybody had left would stay for whoever takes the name next.
        let _not_edited = self.editing.read().await;
        let found = self.ports.store.agent(agent).await?;
        access::may(&caller.actor, Action::Listen, Place::of_agent(&topic, found.as_ref()))?;
        self.seat(caller, &topic)?;
        Ok(Outcome::Done)
    }

    pub(super) fn unwatch_agent(
        &self,
        caller: &Caller,
        agent: AgentId,
        claim: &Claim,
    ) -> Result<Outcome, Trouble> {
        access::identity(&caller.actor, claim)?;
        if let Some(connection) = caller.connection {
            self.ports.audience.leave(connection, &Topic::Agent(agent));
        }
        Ok(Outcome::Done)
    }

    /// The limit of the plan is exact on one node: two nodes that create at the very same moment may both see room.
    pub(super) async fn create_agent(&self, caller: &Caller, agent: &Agent) -> Result<Outcome, Trouble> {
        access::identity(&caller.actor, &Claim::of(agent.owner.clone()))?;
        let topic = Topic::Agent(agent.id.clone());
        access::may(&caller.actor, Action::Create, Place::of_agent(&topic, Some(agent)))?;
        agent.check()?;
        let _editing = self.editing.write().await;
        if self.ports.store.agent(&agent.id).await?.is_some() {
            // `put_agent` would replace it, whoever it belongs to.
            return Err(Refusal::invalid("This agent id is taken.").into());
        }
        if let Some(limit) = self.plan_of(caller, &agent.owner).await?.agents {
            let current = self.ports.store.agents_of(&agent.owner).await?.len() as u64;
            let limit = u64::from(limit);
            if current >= limit {
                let message = format!("Agent limit reached ({limit})");
                return Err(Refusal::new(Code::OverQuota { current, limit }, message).into());
            }
        }
        self.ports.store.put_agent(agent).await?;
        Ok(Outcome::Done)
    }

    pub(super) async fn change_agent(
        &self,
        caller: &Caller,
        agent: AgentId,
        change: AgentChange,
    ) -> Result<Outcome, Trouble> {
        change.check()?;
        let _editing = self.editing.write().await;
        let topic = Topic::Agent(agent.clone());
        self.check_change(caller, &topic, &agent).await?;
        if self.ports.store.change_agent(&agent, &change).await?.is_none() {
            return Err(access::agent_not_found().into());
        }
        self.ports.publish(topic, Event::AgentChanged { agent, change, at: self.now() });
        Ok(Outcome::Done)
    }

    pub(super) async fn delete_agent(&self, caller: &Caller, agent: AgentId) -> Result<Outcome, Trouble> {
        let _editing = self.editing.write().await;
        let topic = Topic::Agent(agent.clone());
        self.check_change(caller, &topic, &agent).await?;
        if !self.ports.store.delete_agent(&agent).await? {
            return Err(access::agent_not_found().into());
        }
        self.ports.publish(topic, Event::AgentDeleted { agent });
        // Whoever looks after agents at work does the same later, should this fail.
        if let Err(Trouble::Broken(fault)) = self.return_tasks().await {
            tracing::warn!(fault = explain(&fault), "the tasks of a deleted agent wait for the next look");
        }
        Ok(Outcome::Done)
    }

    async fn check_change(&self, caller: &Caller, topic: &Topic, agent: &AgentId) -> Result<(), Trouble> {
        let found = self.ports.store.agent(agent).await?;
        Ok(access::may(&caller.actor, Action::Change, Place::of_agent(topic, found.as_ref()))?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::actor::{Person, Plan, Principal};
    use crate::app::stage::{Stage, agent, agent_id, connection, person};
    use crate::command::Command;
    use crate::ports::{Agents, People};

    fn create(agent: Agent) -> Command {
        Command::CreateAgent { agent: Box::new(agent) }
    }

    fn rename(name: &str, to: &str) -> Command {
        let change = AgentChange { name: Some(to.into()), ..Default::default() };
        Command::ChangeAgent { agent: agent_id(name), change: Box::new(change) }
    }

    fn delete(name: &str) -> Command {
        Command::DeleteAgent { agent: agent_id(name) }
    }

    fn watch(name: &str) -> Command {
        Command::WatchAgent { agent: agent_id(name), person: Claim::NONE }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_is_created_for_the_person_who_asks_and_nobody_else() {
        let stage = Stage::new().await;
        assert_eq!(stage.ada(create(agent("nova", "ada"))).await, Ok(Outcome::Done));
        assert_eq!(stage.store.inner.agent(&agent_id("nova")).await.unwrap(), Some(agent("nova", "ada")));
        assert_eq!(stage.ada(create(agent("spy", "bob"))).await, Err(Refusal::forbidden()));
        let refused =
            stage.app.handle(&stage.principal(Principal::Guest, 3), create(agent("spy", "bob"))).await;
        assert_eq!(refused, Err(Refusal::forbidden()));
        assert_eq!(stage.store.inner.agent(&agent_id("spy")).await.unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_creates_agents_for_people_within_the_peoples_own_limits() {
        let stage = Stage::new().await;
        let plan = |name: &str, agents| Plan {
            name: name.into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents,
        };
        let shop = stage.principal(Principal::Service("shop".into()), 3);
        let create_for = async |name, owner| stage.app.handle(&shop, create(agent(name, owner))).await;
        assert_eq!(create_for("nova", "bob").await, Err(Refusal::internal()), "bob's plan does not exist");

        // The fallback counts for people whose plan is gone, and their own for the others.
        stage.store.inner.put_plan(&plan("free", Some(2))).await.unwrap();
        stage.store.inner.put_plan(&plan("pro", None)).await.unwrap();
        let ada = stage.store.inner.person(&person("ada")).await.unwrap().unwrap();
        stage.store.inner.put_person(&Person { plan: "pro".into(), ..ada }).await.unwrap();
        let bob = stage.store.inner.person(&person("bob")).await.unwrap().unwrap();
        stage.store.inner.put_person(&Person { plan: "gone".into(), ..bob }).await.unwrap();
        assert_eq!(create_for("nova", "bob").await, Ok(Outcome::Done));
        let refused = create_for("vega", "bob").await.unwrap_err();
        assert_eq!(refused.code, Code::OverQuota { current: 2, limit: 2 });
        assert_eq!(create_for("vega", "ada").await, Ok(Outcome::Done));
        assert_eq!(stage.store.inner.agent(&agent_id("vega")).await.unwrap(), Some(agent("vega", "ada")));
        assert_eq!(create_for("spy", "nobody").await, Err(Refusal::not_found("Person not found")));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_exists_is_never_replaced() {
        let stage = Stage::new().await;
        let refused = stage.ada(create(agent("rex", "ada"))).await.unwrap_err();
        assert_eq!(refused, Refusal::invalid("This agent id is taken."));
        assert_eq!(stage.store.inner.agent(&agent_id("rex")).await.unwrap(), Some(agent("rex", "bob")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plan_limits_how_many_agents_a_person_owns() {
        let mut stage = Stage::new().await;
        stage.limit(None, Some(2));
        let refused = stage.ada(create(agent("nova", "ada"))).await.unwrap_err();
        assert_eq!(refused.code, Code::OverQuota { current: 2, limit: 2 });
        assert_eq!(refused.message, "Agent limit reached (2)");
        assert_eq!(stage.store.inner.agent(&agent_id("nova")).await.unwrap(), None);
        stage.limit(None, None);
        assert_eq!(stage.ada(create(agent("nova", "ada"))).await, Ok(Outcome::Done));
    }

    #[tokio::test(start_paused = true)]
    async fn two_creations_at_once_do_not_pass_the_limit_together() {
        let stage = Stage::new().await;
        stage.store.dawdle(Duration::from_millis(5));
        let (first, second) =
            tokio::join!(stage.ada(create(agent("nova", "ada"))), stage.ada(create(agent("vega", "ada"))));
        assert_eq!(first, Ok(Outcome::Done));
        assert_eq!(second.unwrap_err().code, Code::OverQuota { current: 3, limit: 3 });
        assert_eq!(stage.store.inner.agents_of(&person("ada")).await.unwrap().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_without_a_name_is_refused() {
        let stage = Stage::new().await;
        let refused =
            stage.ada(create(Agent { name: String::new(), ..agent("nova", "ada") })).await.unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
        assert_eq!(stage.ada(rename("luna", " ")).await.unwrap_err().code, Code::Invalid);
        assert_eq!(stage.store.calls(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_watches_hears_of_changes_after_they_are_stored() {
        let mut stage = Stage::new().await;
        assert_eq!(stage.ada(rename("luna", "Luna II")).await, Ok(Outcome::Done));
        let envelope = stage.next().await;
        assert_eq!(envelope.topic, Topic::Agent(agent_id("luna")));
        match &envelope.event {
            Event::AgentChanged { agent, change, .. } => {
                assert_eq!((agent.as_str(), change.name.as_deref()), ("luna", Some("Luna II")));
            }
            other => panic!("heard {other:?}"),
        }
        assert_eq!(stage.store.inner.agent(&agent_id("luna")).await.unwrap().unwrap().name, "Luna II");
        assert_eq!(stage.ada(delete("luna")).await, Ok(Outcome::Done));
        assert_eq!(stage.store.inner.agent(&agent_id("luna")).await.unwrap(), None);
        stage.hears(&["deleted luna"]).await;
        assert_eq!(stage.ada(delete("luna")).await, Err(access::agent_not_found()));
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_operator_changes_and_deletes_any_agent() {
        let mut stage = Stage::new().await;
        let operator = stage.principal(Principal::Operator, 9);
        assert_eq!(stage.app.handle(&operator, rename("rex", "Rex II")).await, Ok(Outcome::Done));
        assert_eq!(stage.app.handle(&operator, delete("rex")).await, Ok(Outcome::Done));
        stage.hears(&["changed rex", "deleted rex"]).await;
        let missing = stage.app.handle(&operator, rename("nobody", "x")).await;
        assert_eq!(missing, Err(access::agent_not_found()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_of_somebody_else_does_not_exist() {
        let mut stage = Stage::new().await;
        for command in [rename, |name: &str, _: &str| delete(name), |name: &str, _: &str| watch(name)] {
            let not_yours = stage.ada(command("rex", "Mine")).await;
            let not_there = stage.ada(command("nobody", "Mine")).await;
            assert_eq!(not_yours, Err(Refusal::not_found("Agent not found")));
            assert_eq!(not_yours, not_there);
        }
        assert_eq!(stage.store.inner.agent(&agent_id("rex")).await.unwrap(), Some(agent("rex", "bob")));
        assert_eq!(stage.audience.seatings(), []);
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn watching_seats_the_connection_and_unwatching_needs_no_store() {
        let stage = Stage::new().await;
        let topic = Topic::Agent(agent_id("luna"));
        assert_eq!(stage.ada(watch("luna")).await, Ok(Outcome::Done));
        assert!(stage.audience.hears(connection(1), &topic));
        let calls = stage.store.calls();
        let unwatch = |claim| Command::UnwatchAgent { agent: agent_id("luna"), person: claim };
        assert_eq!(stage.ada(unwatch(Claim::of(person("bob")))).await, Err(Refusal::forbidden()));
        assert!(stage.audience.hears(connection(1), &topic));
        assert_eq!(stage.ada(unwatch(Claim::NONE)).await, Ok(Outcome::Done));
        assert!(!stage.audience.hears(connection(1), &topic));
        assert_eq!(stage.store.calls(), calls);
        stage.audience.refuse(true);
        assert_eq!(stage.ada(watch("luna")).await.unwrap_err().code, Code::TooLarge);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_that_was_not_stored_is_not_published() {
        let mut stage = Stage::new().await;
        stage.store.fail(true);
        for command in [rename("luna", "x"), delete("luna"), create(agent("nova", "ada")), watch("luna")] {
            assert_eq!(stage.ada(command).await, Err(Refusal::internal()));
        }
        stage.hears_nothing_more().await;
    }
}

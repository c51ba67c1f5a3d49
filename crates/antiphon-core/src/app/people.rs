//! Personas, who belongs together with whom, and what people say about themselves.

use super::{App, Trouble};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Claim};
use crate::command::Outcome;
use crate::ids::{AgentId, PersonId};
use crate::people::{Bond, Profile};
use crate::refusal::Refusal;
use crate::topic::Topic;

/// Most personas that one [`ReadPersonas`](crate::command::Command::ReadPersonas) returns.
const LONGEST_PAGE: u32 = 1_000;

impl App {
    pub(super) async fn read_personas(&self, caller: &Caller, limit: u32) -> Result<Outcome, Trouble> {
        access::may(&caller.actor, Action::Read, Place::of(&Topic::Everyone))?;
        if !(1..=LONGEST_PAGE).contains(&limit) {
            return Err(Refusal::invalid("Between 1 and 1,000 agents can be read at once.").into());
        }
        Ok(Outcome::Personas(self.ports.store.personas(None, limit).await?))
    }

    pub(super) async fn befriend(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        // Not while the agent is being deleted: it would be gone between the look and the bond.
        let _not_edited = self.editing.read().await;
        // Whoever may say something to it, and not who may merely listen in.
        let (agent, _) = self.converse(caller, Action::Post, agent, person).await?;
        self.check_person(person).await?;
        let bond = Bond { agent: agent.id.clone(), person: person.clone(), since: self.now() };
        let repeated = !self.ports.store.put_bond(&bond).await?;
        Ok(Outcome::Befriended { agent: Box::new(agent), repeated })
    }

    pub(super) async fn read_bonds(&self, caller: &Caller, claim: &Claim) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Read, claim).await?;
        Ok(Outcome::Bonds(self.ports.store.bonds_of(&person).await?))
    }

    pub(super) async fn read_profile(&self, caller: &Caller, claim: &Claim) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Read, claim).await?;
        Ok(Outcome::Profile(Box::new(self.ports.store.profile(&person).await?)))
    }

    pub(super) async fn set_profile(
        &self,
        caller: &Caller,
        claim: &Claim,
        profile: Box<Profile>,
    ) -> Result<Outcome, Trouble> {
        let person = self.person_of(caller, Action::Change, claim).await?;
        profile.check()?;
        self.ports.store.put_profile(&person, &profile).await?;
        Ok(Outcome::Profile(profile))
    }

    /// The person for whom `caller` asks, who exists, if the caller may do this with what is theirs.
    pub(super) async fn person_of(
        &self,
        caller: &Caller,
        action: Action,
        claim: &Claim,
    ) -> Result<PersonId, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        access::may(&caller.actor, action, Place::of(&Topic::Person(person.clone())))?;
        self.check_person(person).await?;
        Ok(person.clone())
    }

    pub(super) async fn check_person(&self, person: &PersonId) -> Result<(), Trouble> {
        match self.ports.store.person(person).await? {
            Some(_) => Ok(()),
            None => Err(Refusal::not_found("Person not found").into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Principal;
    use crate::agents::Agent;
    use crate::app::stage::{NOON, Stage, agent, agent_id, person, post_to, talk};
    use crate::command::Command;
    use crate::event::Event;
    use crate::ids::Timestamp;
    use crate::people::Bonded;
    use crate::ports::{Agents, Bonds};
    use crate::refusal::Code;

    fn befriend(agent: &str) -> Command {
        Command::Befriend { agent: agent_id(agent), person: Claim::NONE }
    }

    async fn make_public(stage: &Stage, name: &str, owner: &str) -> Agent {
        let agent = Agent { visibility: "public".into(), ..agent(name, owner) };
        stage.store.inner.put_agent(&agent).await.unwrap();
        agent
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_converses_with_a_public_agent_each_in_a_conversation_of_their_own() {
        let mut stage = Stage::new().await;
        make_public(&stage, "rex", "bob").await;
        assert!(matches!(stage.ada(post_to("rex", "hola")).await, Ok(Outcome::Posted { .. })));
        let posted = stage.next().await;
        assert_eq!(posted.topic, talk("rex", "ada"));
        stage.hears(&["relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
        // Its owner does not read what others say to it, and others do not watch or change it.
        let bob = stage.caller("bob", 2);
        let read = |person| Command::ReadHistory { agent: agent_id("rex"), person, after: 0, limit: 10 };
        assert_eq!(stage.app.handle(&bob, read(Claim::NONE)).await, Ok(Outcome::History(Vec::new())));
        let adas = stage.app.handle(&bob, read(Claim::of(person("ada")))).await;
        assert_eq!(adas, Err(Refusal::forbidden()));
        let id = crate::ids::ConversationId::direct(&agent_id("rex"), &person("ada"));
        let watch = Command::Watch { topic: Topic::Conversation(id), name: "talk".into() };
        assert_eq!(stage.app.handle(&bob, watch).await, Err(access::agent_not_found()));
        for command in [
            Command::WatchAgent { agent: agent_id("rex"), person: Claim::NONE },
            Command::DeleteAgent { agent: agent_id("rex") },
        ] {
            assert_eq!(stage.ada(command).await, Err(access::agent_not_found()));
        }
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn personas_are_what_is_public_and_everybody_may_read_them() {
        let stage = Stage::new().await;
        let rex = make_public(&stage, "rex", "bob").await;
        let guest = stage.principal(Principal::Guest, 3);
        let read = |limit| Command::ReadPersonas { limit };
        assert_eq!(stage.app.handle(&guest, read(10)).await, Ok(Outcome::Personas(vec![rex])));
        for limit in [0, 1_001] {
            assert_eq!(stage.ada(read(limit)).await.unwrap_err().code, Code::Invalid);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_befriends_whom_they_may_converse_with_once() {
        let stage = Stage::new().await;
        let befriended = |name: &str, owner: &str, repeated| {
            Ok(Outcome::Befriended { agent: Box::new(agent(name, owner)), repeated })
        };
        assert_eq!(stage.ada(befriend("luna")).await, befriended("luna", "ada", false));
        stage.clock.set(Timestamp(NOON.0 + 1));
        assert_eq!(stage.ada(befriend("luna")).await, befriended("luna", "ada", true));
        assert_eq!(stage.ada(befriend("rex")).await, Err(access::agent_not_found()));
        assert_eq!(stage.ada(befriend("nobody")).await, Err(access::agent_not_found()));
        let auditor = Caller {
            actor: std::sync::Arc::new(crate::actor::Actor {
                roles: vec!["auditor".into()],
                ..(*stage.caller("ada", 1).actor).clone()
            }),
            connection: None,
        };
        let refused = stage.app.handle(&auditor, befriend("rex")).await;
        assert_eq!(refused, Err(access::agent_not_found()), "who may listen in is no friend");
        let operator = stage.principal(Principal::Operator, 9);
        let for_nobody = Command::Befriend { agent: agent_id("luna"), person: Claim::of(person("nobody")) };
        assert_eq!(stage.app.handle(&operator, for_nobody).await.unwrap_err().code, Code::NotFound);

        let bond = Bond { agent: agent_id("luna"), person: person("ada"), since: NOON };
        let relation = crate::agents::Relation::default();
        let bonded = Bonded { bond, relation, last: None, active_at: None };
        let read = Command::ReadBonds { person: Claim::NONE };
        assert_eq!(stage.ada(read).await, Ok(Outcome::Bonds(vec![bonded])));
        assert_eq!(stage.store.inner.bonds_of(&person("bob")).await.unwrap(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_profile_is_its_persons_own_and_checked() {
        let stage = Stage::new().await;
        let set = |claim: Claim, zone: &str| {
            let profile = Profile { time_zone: Some(zone.into()), ..Profile::default() };
            Command::SetProfile { person: claim, profile: Box::new(profile) }
        };
        let read = |claim| Command::ReadProfile { person: claim };
        assert_eq!(stage.ada(read(Claim::NONE)).await, Ok(Outcome::Profile(Box::default())));
        let jakarta = Profile { time_zone: Some("Asia/Jakarta".into()), ..Profile::default() };
        let expected = Ok(Outcome::Profile(Box::new(jakarta)));
        assert_eq!(stage.ada(set(Claim::NONE, "Asia/Jakarta")).await, expected);
        assert_eq!(stage.ada(set(Claim::NONE, "Mars/Base")).await.unwrap_err().code, Code::Invalid);
        assert_eq!(stage.ada(read(Claim::NONE)).await, expected);
        for command in [set(Claim::of(person("bob")), "UTC"), read(Claim::of(person("bob")))] {
            assert_eq!(stage.ada(command).await, Err(Refusal::forbidden()));
        }
        let shop = stage.principal(Principal::Service("shop".into()), 9);
        assert_eq!(stage.app.handle(&shop, read(Claim::of(person("ada")))).await, expected);
        let missing = stage.app.handle(&shop, set(Claim::of(person("nobody")), "UTC")).await;
        assert_eq!(missing.unwrap_err().code, Code::NotFound);
        stage.store.fail(true);
        assert_eq!(stage.ada(read(Claim::NONE)).await, Err(Refusal::internal()));
    }

    #[tokio::test(start_paused = true)]
    async fn answers_go_to_the_inbox_of_their_person_as_a_whole() {
        let mut stage = Stage::new().await;
        stage.post("hola").await.unwrap();
        stage.hears(&["posted hola", "relation"]).await;
        for expected in [true, false, true] {
            let envelope = stage.next().await;
            assert_eq!(envelope.topic, talk("luna", "ada"));
            let inbox: &[_] = &[Topic::Inbox(person("ada"))];
            assert_eq!(*envelope.also, *if expected { inbox } else { &[] }, "{envelope:?}");
            assert_eq!(matches!(envelope.event, Event::ReplyChunk(_)), !expected);
        }
        stage.model.then([crate::app::stage::Step::Fail]);
        stage.post("otra vez").await.unwrap();
        stage.hears(&["posted otra vez", "relation", "started"]).await;
        let failed = stage.next().await;
        assert!(matches!(failed.event, Event::ReplyFailed(_)));
        assert_eq!(*failed.also, [Topic::Inbox(person("ada"))]);
    }
}

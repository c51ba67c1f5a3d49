//! Joining, leaving and reading conversations.

use std::sync::Arc;

use super::tasks::page_of;
use super::{App, Trouble};
use crate::access::{self, Action, Place};
use crate::actor::{Caller, Claim, FALLBACK_PLAN, Plan};
use crate::agents::Agent;
use crate::command::Outcome;
use crate::ids::{AgentId, ConversationId, PersonId};
use crate::refusal::{Code, Fault, Refusal};
use crate::topic::Topic;

/// Most messages that one [`ReadHistory`](crate::command::Command::ReadHistory) returns.
const LONGEST_PAGE: u32 = 1_000;

impl App {
    pub(super) async fn join_conversation(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        let (_, conversation) = self.converse(caller, Action::Listen, agent, person).await?;
        self.seat(caller, &Topic::Conversation(conversation))?;
        Ok(Outcome::Done)
    }

    pub(super) fn leave_conversation(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        if let Some(connection) = caller.connection {
            let topic = Topic::Conversation(ConversationId::direct(agent, person));
            self.ports.audience.leave(connection, &topic);
        }
        Ok(Outcome::Done)
    }

    pub(super) async fn read_history(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
        after: u64,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        if !(1..=LONGEST_PAGE).contains(&limit) {
            return Err(Refusal::invalid("Between 1 and 1,000 messages can be read at once.").into());
        }
        let (_, conversation) = self.converse(caller, Action::Read, agent, person).await?;
        let messages = self.ports.store.history(conversation, after, limit).await?;
        Ok(Outcome::History(messages))
    }

    pub(super) async fn read_conversation(
        &self,
        caller: &Caller,
        conversation: ConversationId,
        after: u64,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        let limit = page_of(limit)?;
        let missing = || Refusal::not_found("Conversation not found");
        // Whose it is, its messages say. One that is somebody else's looks like one that is not there.
        let last = self.ports.store.recent(conversation, 1).await?.pop().ok_or_else(missing)?;
        let agent = self.ports.store.agent(&last.agent).await?;
        let topic = Topic::Conversation(conversation);
        let place = Place::of_conversation(&topic, agent.as_ref(), &last.person);
        if !access::may_read_all(&caller.actor) {
            access::may(&caller.actor, Action::Read, place).map_err(|_| missing())?;
        }
        Ok(Outcome::History(self.ports.store.history(conversation, after, limit).await?))
    }

    pub(super) async fn read_conversations(
        &self,
        caller: &Caller,
        after: Option<ConversationId>,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        let limit = page_of(limit)?;
        if access::may_read_all(&caller.actor) {
            return Ok(Outcome::Conversations(self.ports.store.latest(after, limit).await?));
        }
        let person = access::identity(&caller.actor, &Claim::NONE)?;
        let mut own: Vec<_> = self.agents_near(person).await?;
        own.retain(|(conversation, _)| after.is_none_or(|after| *conversation > after));
        own.sort_unstable_by_key(|(conversation, _)| *conversation);
        own.dedup_by_key(|(conversation, _)| *conversation);
        let mut latest = Vec::new();
        for (conversation, _) in own {
            latest.extend(self.ports.store.recent(conversation, 1).await?);
            if latest.len() == limit as usize {
                break;
            }
        }
        Ok(Outcome::Conversations(latest))
    }

    /// The agents that `person` may have talked to, each with the conversation.
    async fn agents_near(&self, person: &PersonId) -> Result<Vec<(ConversationId, AgentId)>, Trouble> {
        let owned = self.ports.store.agents_of(person).await?;
        let agents = owned.into_iter().map(|agent| agent.id);
        Ok(agents.map(|agent| (ConversationId::direct(&agent, person), agent)).collect())
    }

    /// The agent and its conversation with `person`, if the caller may do this there.
    pub(super) async fn converse(
        &self,
        caller: &Caller,
        action: Action,
        agent: &AgentId,
        person: &PersonId,
    ) -> Result<(Agent, ConversationId), Trouble> {
        let found = self.ports.store.agent(agent).await?;
        let conversation = ConversationId::direct(agent, person);
        let topic = Topic::Conversation(conversation);
        access::may(&caller.actor, action, Place::of_conversation(&topic, found.as_ref(), person))?;
        Ok((found.ok_or_else(access::agent_not_found)?, conversation))
    }

    /// What `person` may use: a backend that acts for them does not bring its own limits along.
    pub(super) async fn plan_of(&self, caller: &Caller, person: &PersonId) -> Result<Arc<Plan>, Trouble> {
        if caller.actor.person() == Some(person) {
            return Ok(Arc::clone(&caller.actor.plan));
        }
        let store = &self.ports.store;
        let known = store.person(person).await?.ok_or_else(|| Refusal::not_found("Person not found"))?;
        let plan = match store.plan(&known.plan).await? {
            Some(plan) => Some(plan),
            None => store.plan(FALLBACK_PLAN).await?,
        };
        let plan =
            plan.ok_or_else(|| Fault::new("neither the person's plan nor the fallback plan exists"))?;
        Ok(Arc::new(plan))
    }

    /// From now on the caller's connection, if there is one, hears `topic`.
    pub(super) fn seat(&self, caller: &Caller, topic: &Topic) -> Result<(), Refusal> {
        match caller.connection {
            Some(connection) if !self.ports.audience.join(connection, topic) => {
                Err(Refusal::new(Code::TooLarge, "This connection listens to too many places already."))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::actor::Principal;
    use crate::app::stage::{Stage, agent_id, connection, person, post_to, talk};
    use crate::command::Command;
    use crate::notices::{Notice, NoticeKind};

    fn join(agent: &str) -> Command {
        Command::JoinConversation { agent: agent_id(agent), person: Claim::NONE }
    }

    fn read(agent: &str, after: u64, limit: u32) -> Command {
        Command::ReadHistory { agent: agent_id(agent), person: Claim::NONE, after, limit }
    }

    #[tokio::test(start_paused = true)]
    async fn an_agent_that_is_not_yours_answers_like_one_that_is_not_there() {
        let stage = Stage::new().await;
        for command in [|agent: &str| post_to(agent, "hola"), join, |agent: &str| read(agent, 0, 10)] {
            let not_yours = stage.ada(command("rex")).await;
            assert_eq!(not_yours, Err(Refusal::not_found("Agent not found")));
            assert_eq!(not_yours, stage.ada(command("nobody")).await);
        }
        assert_eq!(stage.audience.seatings(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn conversations_are_listed_and_read_by_whose_they_are_and_by_whoever_may_read_all() {
        let stage = Stage::new().await;
        stage.ada(post_to("luna", "hola")).await.unwrap();
        let luna = ConversationId::direct(&agent_id("luna"), &person("ada"));
        let list = |after, limit| Command::ReadConversations { after, limit };
        let read = |conversation| Command::ReadConversation { conversation, after: 0, limit: 10 };
        let said = |outcome: Result<Outcome, Refusal>| match outcome {
            Ok(Outcome::Conversations(messages) | Outcome::History(messages)) => {
                Ok(messages.into_iter().map(|message| message.text).collect::<Vec<_>>())
            }
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.code),
        };
        let bob = stage.caller("bob", 4);
        let plain = stage.caller("bob", 5);
        let actor = crate::actor::Actor { roles: vec!["auditor".into()], ..(*plain.actor).clone() };
        let auditor = Caller { actor: Arc::new(actor), ..plain };
        let shop = stage.principal(Principal::Service("shop".into()), 6);
        for whoever in [&stage.caller("ada", 7), &auditor, &shop] {
            let all = said(stage.app.handle(whoever, list(None, 10)).await).unwrap();
            assert_eq!(all.len(), 1);
            assert_eq!(said(stage.app.handle(whoever, list(Some(luna), 10)).await), Ok(Vec::new()));
            let all = said(stage.app.handle(whoever, read(luna)).await).unwrap();
            assert_eq!(all.first().map(String::as_str), Some("hola"));
        }
        assert_eq!(said(stage.app.handle(&bob, list(None, 10)).await), Ok(Vec::new()));
        let missing = ConversationId::direct(&agent_id("luna"), &person("nobody"));
        assert_eq!(
            stage.app.handle(&bob, read(luna)).await,
            stage.app.handle(&bob, read(missing)).await,
            "what is somebody else's is not there"
        );
        assert_eq!(said(stage.app.handle(&auditor, read(missing)).await), Err(Code::NotFound));
        assert_eq!(said(stage.app.handle(&bob, list(None, 0)).await), Err(Code::Invalid));
        let guest = stage.principal(Principal::Guest, 8);
        assert_eq!(said(stage.app.handle(&guest, list(None, 10)).await), Err(Code::Forbidden));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_of_the_store_is_internal_to_the_client() {
        let stage = Stage::new().await;
        stage.store.fail(true);
        for command in [join("luna"), read("luna", 0, 1)] {
            assert_eq!(stage.ada(command).await, Err(Refusal::internal()));
        }
        assert_eq!(stage.audience.seatings(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn joining_seats_the_connection_and_leaving_needs_no_store() {
        let mut stage = Stage::new().await;
        assert_eq!(stage.ada(join("luna")).await, Ok(Outcome::Done));
        assert!(stage.audience.hears(connection(1), &talk("luna", "ada")));
        let calls = stage.store.calls();
        let leave = |claim| Command::LeaveConversation { agent: agent_id("luna"), person: claim };
        assert_eq!(stage.ada(leave(Claim::of(person("bob")))).await, Err(Refusal::forbidden()));
        assert!(stage.audience.hears(connection(1), &talk("luna", "ada")));
        assert_eq!(stage.ada(leave(Claim::of(person("ada")))).await, Ok(Outcome::Done));
        assert!(!stage.audience.hears(connection(1), &talk("luna", "ada")));
        assert_eq!(stage.store.calls(), calls);
        stage.audience.refuse(true);
        assert_eq!(stage.ada(join("luna")).await.unwrap_err().code, Code::TooLarge);
        stage.hears_nothing_more().await;
    }

    #[tokio::test(start_paused = true)]
    async fn history_is_read_in_pages_by_its_person_alone() {
        let mut stage = Stage::new().await;
        for text in ["one", "two"] {
            stage.post(text).await.unwrap();
            stage
                .hears(&[&format!("posted {text}"), "relation", "started", "chunk 0 \"ok\"", "finished ok"])
                .await;
        }
        let texts = |outcome| match outcome {
            Ok(Outcome::History(messages)) => {
                messages.into_iter().map(|message| message.text).collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(texts(stage.ada(read("luna", 0, 1_000)).await), ["one", "ok", "two", "ok"]);
        assert_eq!(texts(stage.ada(read("luna", 1, 2)).await), ["ok", "two"]);
        assert_eq!(texts(stage.ada(read("luna", 4, 1)).await), Vec::<String>::new());
        for limit in [0, 1_001] {
            assert_eq!(stage.ada(read("luna", 0, limit)).await.unwrap_err().code, Code::Invalid);
        }
        let operator = stage.principal(Principal::Operator, 9);
        let nobodys = stage.app.handle(&operator, read("luna", 0, 1)).await;
        assert_eq!(nobodys.unwrap_err().code, Code::Invalid);
        let read_of = |name| Command::ReadHistory {
            agent: agent_id("luna"),
            person: Claim::of(person(name)),
            after: 0,
            limit: 1,
        };
        assert_eq!(texts(stage.app.handle(&operator, read_of("ada")).await), ["one"]);
        assert_eq!(stage.app.handle(&operator, read_of("bob")).await, Err(access::agent_not_found()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_backends_send_notices_and_signals() {
        let mut stage = Stage::new().await;
        let notice =
            Notice { kind: NoticeKind::Info, title: "Hello".into(), message: "There.".into(), action: None };
        let value = serde_json::value::RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
        let commands = [
            Command::SendNotice { person: person("ada"), notice },
            Command::Signal {
                topic: Topic::Named("place".into()),
                name: "wave".into(),
                value: Arc::from(value),
            },
        ];
        for command in commands.clone() {
            assert_eq!(stage.ada(command).await.unwrap_err().code, Code::Forbidden);
        }
        stage.hears_nothing_more().await;
        for principal in [Principal::Operator, Principal::Service("shop".into())] {
            let backend = stage.principal(principal, 9);
            for command in commands.clone() {
                assert_eq!(stage.app.handle(&backend, command).await, Ok(Outcome::Done));
            }
            let envelope = stage.next().await;
            assert_eq!(envelope.topic, Topic::Person(person("ada")));
            stage.hears(&[r#"signal wave {"a":1}"#]).await;
        }
        assert_eq!(stage.store.calls(), 0);
    }
}

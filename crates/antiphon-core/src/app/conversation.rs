//! Joining, leaving, posting to and reading conversations.

use std::sync::Arc;

use super::{App, Ports, Trouble};
use crate::access;
use crate::actor::{Caller, Claim};
use crate::agents::{Agent, feelings};
use crate::assistant::Question;
use crate::command::Outcome;
use crate::conversation::{Party, check_text};
use crate::event::Event;
use crate::ids::{AgentId, ConversationId, MessageId, PersonId};
use crate::ports::{Appended, NewMessage, Quota};
use crate::refusal::{Code, Refusal};
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
        self.own_agent(person, agent).await?;
        self.seat(caller, &Topic::Conversation(ConversationId::direct(agent, person)))?;
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

    /// Ownership is looked at before the quota, because the quota is decided in the transaction that stores the message. It
    /// shows only when both fail: then the answer is that there is no such agent.
    pub(super) async fn post(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
        text: String,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        check_text(&text)?;
        let agent = self.own_agent(person, agent).await?;
        let conversation = ConversationId::direct(&agent.id, person);
        let topic = Topic::Conversation(conversation);
        let place = self.assistant.reserve(conversation)?;
        self.seat(caller, &topic)?;

        let at = self.now();
        let message = NewMessage {
            id: MessageId::random(),
            conversation,
            agent: agent.id.clone(),
            person: person.clone(),
            author: Party::Person,
            moves: Some(feelings(&text)),
            text,
            at,
            quota: Some(Quota { month: at.month(), limit: caller.actor.plan.messages_per_month }),
        };
        let ports = Arc::clone(&self.ports);
        // The answer is asked for in here, not after `append` has returned: so answers come in the order of commits, and a
        // message that is stored is answered even if its sender is gone by now.
        let committed = Box::new(move |message: &_, relation: &_| {
            let question = Question { agent, message: Clone::clone(message), relation: *relation };
            announce(&ports, &topic, &question);
            place.answer(question);
        });
        match self.ports.store.append(message, committed).await? {
            Appended::Stored { message, .. } => {
                Ok(Outcome::Posted { id: message.id, conversation, seq: message.seq })
            }
            Appended::OverQuota { current, limit } => Err(Refusal::new(
                Code::OverQuota { current, limit },
                format!("Monthly message limit reached ({limit})"),
            )
            .into()),
        }
    }

    pub(super) async fn read_history(
        &self,
        caller: &Caller,
        agent: &AgentId,
        after: u64,
        limit: u32,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, &Claim::NONE)?;
        if !(1..=LONGEST_PAGE).contains(&limit) {
            return Err(Refusal::invalid("Between 1 and 1,000 messages can be read at once.").into());
        }
        self.own_agent(person, agent).await?;
        let messages = self.ports.store.history(ConversationId::direct(agent, person), after, limit).await?;
        Ok(Outcome::History(messages))
    }

    /// The agent, if it is `person`'s.
    pub(super) async fn own_agent(&self, person: &PersonId, agent: &AgentId) -> Result<Agent, Trouble> {
        Ok(access::may_see_agent(person, self.ports.store.agent(agent).await?)?)
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

/// Says that the message is durable and how the agent feels now, in this order.
fn announce(ports: &Ports, topic: &Topic, question: &Question) {
    let message = &question.message;
    ports.publish(topic.clone(), Event::MessagePosted(message.clone()));
    let felt = Event::RelationChanged {
        agent: message.agent.clone(),
        person: message.person.clone(),
        relation: question.relation,
        at: message.at,
    };
    ports.publish(topic.clone(), felt);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::actor::Principal;
    use crate::app::stage::{NOON, Stage, agent_id, connection, person, post_to, talk};
    use crate::command::Command;
    use crate::conversation::MAX_TEXT_BYTES;
    use crate::ids::Timestamp;
    use crate::notices::{Notice, NoticeKind};
    use crate::ports::{Agents, People};

    fn join(agent: &str) -> Command {
        Command::JoinConversation { agent: agent_id(agent), person: Claim::NONE }
    }

    fn read(agent: &str, after: u64, limit: u32) -> Command {
        Command::ReadHistory { agent: agent_id(agent), after, limit }
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_is_stored_then_announced_then_answered() {
        let mut stage = Stage::new().await;
        let outcome = stage.post("gracias").await.unwrap();
        let topic = talk("luna", "ada");
        let posted = stage.next().await;
        assert_eq!(posted.topic, topic);
        let Event::MessagePosted(message) = &posted.event else { panic!("heard {posted:?}") };
        assert_eq!((message.seq, message.author, message.text.as_str()), (1, Party::Person, "gracias"));
        assert_eq!(message.at, NOON);
        let conversation = ConversationId::direct(&agent_id("luna"), &person("ada"));
        assert_eq!(outcome, Outcome::Posted { id: message.id, conversation, seq: 1 });

        let felt = stage.next().await;
        assert_eq!(felt.topic, topic);
        let Event::RelationChanged { relation, .. } = &felt.event else { panic!("heard {felt:?}") };
        assert!((relation.trust - 0.52).abs() < 1e-9 && (relation.affinity - 0.53).abs() < 1e-9);

        stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
        let stored = stage.stored().await;
        assert_eq!(stored.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(stored[0], *message);
        let kept = stage.store.inner.relation(&agent_id("luna"), &person("ada")).await.unwrap();
        assert_eq!(kept, *relation);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_posts_hears_the_conversation_from_then_on() {
        let mut stage = Stage::new().await;
        stage.post("hola").await.unwrap();
        assert!(stage.audience.hears(connection(1), &talk("luna", "ada")));
        stage.hears(&["posted hola", "relation"]).await;
        // A post that comes over no connection seats nobody.
        let seatings = stage.audience.seatings().len();
        let caller = Caller { connection: None, ..stage.caller("ada", 1) };
        stage.app.handle(&caller, post_to("mia", "hola")).await.unwrap();
        assert_eq!(stage.audience.seatings().len(), seatings);
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_that_is_refused_leaves_no_trace() {
        let mut stage = Stage::new().await;
        let spoofed = Command::PostMessage {
            agent: agent_id("luna"),
            person: Claim::of(person("bob")),
            text: "hola".into(),
        };
        let table = [
            (post_to("luna", ""), Code::Invalid),
            (post_to("luna", " \n "), Code::Invalid),
            (post_to("luna", &"x".repeat(MAX_TEXT_BYTES + 1)), Code::TooLarge),
            (post_to("rex", "hola"), Code::NotFound),
            (post_to("nobody", "hola"), Code::NotFound),
            (spoofed, Code::Forbidden),
        ];
        for (command, code) in table {
            assert_eq!(stage.ada(command.clone()).await.unwrap_err().code, code, "{command:?}");
        }
        for principal in [Principal::Guest, Principal::Operator] {
            let caller = stage.principal(principal, 2);
            let refused = stage.app.handle(&caller, post_to("luna", "hola")).await;
            assert_eq!(refused, Err(Refusal::forbidden()));
        }
        stage.audience.refuse(true);
        assert_eq!(stage.post("hola").await.unwrap_err().code, Code::TooLarge);

        stage.hears_nothing_more().await;
        assert_eq!(stage.stored().await, []);
        let sent = stage.store.inner.messages_sent(&person("ada"), NOON.month()).await.unwrap();
        assert_eq!(sent, 0);
        assert_eq!(stage.app.forbidden(), 3);
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
    async fn the_monthly_limit_holds_until_the_next_month() {
        let mut stage = Stage::new().await;
        stage.limit(Some(1), None);
        stage.post("one").await.unwrap();
        stage.hears(&["posted one", "relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
        let refused = stage.post("two").await.unwrap_err();
        assert_eq!(refused.code, Code::OverQuota { current: 1, limit: 1 });
        assert_eq!(refused.message, "Monthly message limit reached (1)");
        stage.hears_nothing_more().await;
        assert_eq!(stage.stored().await.len(), 2);
        // The place in the queue was given back.
        assert!(stage.app.settle(Duration::ZERO).await);
        stage.clock.set(Timestamp(NOON.0 + 31 * 86_400_000));
        stage.post("three").await.unwrap();
        stage.hears(&["posted three", "relation"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_of_the_store_is_internal_to_the_client_and_publishes_nothing() {
        let mut stage = Stage::new().await;
        stage.store.fail_after_appends(0);
        assert_eq!(stage.post("hola").await, Err(Refusal::internal()));
        stage.store.fail(true);
        assert_eq!(stage.post("hola").await, Err(Refusal::internal()));
        assert_eq!(stage.ada(join("luna")).await, Err(Refusal::internal()));
        assert_eq!(stage.ada(read("luna", 0, 1)).await, Err(Refusal::internal()));
        stage.hears_nothing_more().await;
        assert!(stage.app.settle(Duration::ZERO).await);
        assert_eq!(stage.app.forbidden(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_message_is_answered_even_if_its_sender_left_before_the_store_returned() {
        let mut stage = Stage::new().await;
        stage.store.never_return_from_append();
        assert!(timeout(Duration::from_millis(1), stage.post("hola")).await.is_err());
        stage.hears(&["posted hola", "relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
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
        assert_eq!(stage.app.handle(&operator, read("luna", 0, 1)).await, Err(Refusal::forbidden()));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_operator_sends_notices_and_signals() {
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
        let operator = stage.principal(Principal::Operator, 9);
        for command in commands {
            assert_eq!(stage.app.handle(&operator, command).await, Ok(Outcome::Done));
        }
        let envelope = stage.next().await;
        assert_eq!(envelope.topic, Topic::Person(person("ada")));
        stage.hears(&[r#"signal wave {"a":1}"#]).await;
        assert_eq!(stage.store.calls(), 0);
    }
}

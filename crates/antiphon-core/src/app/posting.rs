//! Saying something: what a person says to an agent, and what an agent says unasked.
//!
//! Each message may carry a key of its sender's; the transaction that would store it decides whether it is a repeat.

use std::sync::Arc;

use super::{App, Ports, Trouble, wallet};
use crate::access::{self, Action};
use crate::actor::{Caller, Claim};
use crate::agents::{Relation, feelings};
use crate::assistant::Question;
use crate::command::{Once, Outcome};
use crate::conversation::{Message, Party, check_text};
use crate::event::{Envelope, Event};
use crate::ids::{AgentId, MessageId, PersonId};
use crate::ports::{Appended, Charge, NewMessage, Quota, RequestKey};
use crate::refusal::{Code, Refusal};
use crate::topic::Topic;
use crate::wallet::{Entry, check_amount};

impl App {
    /// Ownership is looked at before the quota, because the quota is decided in the transaction that stores the message. It
    /// shows only when both fail: then the answer is that there is no such agent. A repeat needs a place in the queue of
    /// answers like any other post: when there is none it is refused as rate limited, and has its answer later.
    pub(super) async fn post(
        &self,
        caller: &Caller,
        agent: &AgentId,
        claim: &Claim,
        text: String,
        once: Option<Once>,
        price: Option<u64>,
    ) -> Result<Outcome, Trouble> {
        let person = access::identity(&caller.actor, claim)?;
        check_text(&text)?;
        let price = price.filter(|price| *price > 0);
        price.map_or(Ok(()), check_amount)?;
        let once = once.map(|once| key_of(caller, once)).transpose()?;
        let (agent, conversation) = self.converse(caller, Action::Post, agent, person).await?;
        let limit = self.plan_of(caller, person).await?.messages_per_month;
        let topic = Topic::Conversation(conversation);
        let place = self.assistant.reserve(conversation)?;
        self.seat(caller, &topic)?;

        let at = self.now();
        let message = NewMessage {
            id: MessageId::of_moment(at),
            conversation,
            agent: agent.id.clone(),
            person: person.clone(),
            author: Party::Person,
            moves: Some(feelings(&text)),
            text,
            at,
            quota: Some(Quota { month: at.month(), limit }),
            once,
            charge: price.map(Charge::Take),
        };
        let ports = Arc::clone(&self.ports);
        // The answer is asked for in here, not after `append` has returned: so answers come in the order of commits, and a
        // message that is stored is answered even if its sender is gone by now.
        let committed = Box::new(move |message: &_, relation: &_, paid: Option<&Entry>| {
            let question =
                Question { agent, message: Clone::clone(message), relation: *relation, paid: paid.is_some() };
            paid.into_iter().for_each(|entry| wallet::announce(&ports, entry));
            say_posted(&ports, &question.message);
            say_felt(&ports, &question.message, question.relation);
            place.answer(question);
        });
        posted(self.ports.store.append(message, committed).await?)
    }

    /// What an agent says unasked reaches all connections of the person, also those that have not joined the conversation.
    pub(super) async fn speak(
        &self,
        caller: &Caller,
        agent: &AgentId,
        person: PersonId,
        text: String,
        once: Option<Once>,
    ) -> Result<Outcome, Trouble> {
        check_text(&text)?;
        let once = once.map(|once| key_of(caller, once)).transpose()?;
        let (agent, conversation) = self.converse(caller, Action::Speak, agent, &person).await?;
        let at = self.now();
        let message = NewMessage {
            id: MessageId::of_moment(at),
            conversation,
            agent: agent.id,
            person,
            author: Party::Agent,
            text,
            at,
            quota: None,
            moves: None,
            once,
            charge: None,
        };
        let ports = Arc::clone(&self.ports);
        let committed =
            Box::new(move |message: &Message, _: &Relation, _: Option<&Entry>| spoken(&ports, message));
        posted(self.ports.store.append(message, committed).await?)
    }
}

/// How the store knows a message of this caller: other callers' keys are theirs.
fn key_of(caller: &Caller, once: Once) -> Result<RequestKey, Refusal> {
    once.check()?;
    Ok(RequestKey { principal: caller.actor.principal.to_string(), key: once.key })
}

fn posted(appended: Appended) -> Result<Outcome, Trouble> {
    let outcome = |message: Message, duplicate| Outcome::Posted {
        id: message.id,
        conversation: message.conversation,
        seq: message.seq,
        duplicate,
    };
    match appended {
        Appended::Stored { message, .. } => Ok(outcome(message, false)),
        Appended::Repeated { message } => Ok(outcome(message, true)),
        Appended::Reused => {
            let why = "This key was used for another message. Every message needs a key of its own.";
            Err(Refusal::new(Code::Conflict, why).into())
        }
        Appended::OverQuota { current, limit } => {
            let why = format!("Monthly message limit reached ({limit})");
            Err(Refusal::new(Code::OverQuota { current, limit }, why).into())
        }
        Appended::Unpaid(obstacle) => Err(wallet::refused(obstacle).into()),
    }
}

/// Says what an agent said: to the person, and to whoever else listens to the conversation, each connection once.
///
/// The person comes first: a connection that joins the conversation in between hears it twice, under one id, rather than not
/// at all.
fn spoken(ports: &Ports, message: &Message) {
    say_to_person(ports, message);
    say_posted(ports, message);
}

/// Says to the person what an agent said, except to those who hear it in the conversation.
pub(super) fn say_to_person(ports: &Ports, message: &Message) {
    let to_person =
        Envelope::new(Topic::Person(message.person.clone()), Event::MessagePosted(message.clone()));
    ports.bus.publish(Envelope { unless: Some(Topic::Conversation(message.conversation)), ..to_person });
}

/// Says to whoever listens to the conversation that the message is durable.
pub(super) fn say_posted(ports: &Ports, message: &Message) {
    ports.publish(Topic::Conversation(message.conversation), Event::MessagePosted(message.clone()));
}

/// Says how the agent feels since this message of the person's.
pub(super) fn say_felt(ports: &Ports, message: &Message, relation: Relation) {
    let felt = Event::RelationChanged {
        agent: message.agent.clone(),
        person: message.person.clone(),
        relation,
        at: message.at,
    };
    ports.publish(Topic::Conversation(message.conversation), felt);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;
    use crate::actor::{Plan, Principal};
    use crate::app::stage::{NOON, Stage, agent_id, connection, person, post_to, talk};
    use crate::command::Command;
    use crate::conversation::MAX_TEXT_BYTES;
    use crate::ids::{ConversationId, Timestamp};
    use crate::ports::{Agents, KEYS_KEPT, People};

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
        assert_eq!(outcome, Outcome::Posted { id: message.id, conversation, seq: 1, duplicate: false });

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
            once: None,
            price: None,
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
        for (principal, code) in [(Principal::Guest, Code::Forbidden), (Principal::Operator, Code::Invalid)] {
            let caller = stage.principal(principal, 2);
            let refused = stage.app.handle(&caller, post_to("luna", "hola")).await;
            assert_eq!(refused.unwrap_err().code, code);
        }
        stage.audience.refuse(true);
        assert_eq!(stage.post("hola").await.unwrap_err().code, Code::TooLarge);

        stage.hears_nothing_more().await;
        assert_eq!(stage.stored().await, []);
        let sent = stage.store.inner.messages_sent(&person("ada"), NOON.month()).await.unwrap();
        assert_eq!(sent, 0);
        assert_eq!(stage.app.forbidden(), 2);
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

    fn once(command: Command, name: &str) -> Command {
        let key = Some(Once { key: name.into() });
        match command {
            Command::PostMessage { agent, person, text, price, .. } => {
                Command::PostMessage { agent, person, text, once: key, price }
            }
            Command::Speak { agent, person, text, .. } => Command::Speak { agent, person, text, once: key },
            other => panic!("{other:?} says nothing"),
        }
    }

    fn speak(agent: &str, name: &str, text: &str) -> Command {
        Command::Speak { agent: agent_id(agent), person: person(name), text: text.into(), once: None }
    }

    /// The same outcome as that of a first try, told as a repeat.
    fn as_duplicate(outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Posted { id, conversation, seq, .. } => {
                Outcome::Posted { id, conversation, seq, duplicate: true }
            }
            other => panic!("{other:?} has no repeat"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_post_that_is_sent_again_has_one_effect_and_the_first_answer() {
        let mut stage = Stage::new().await;
        stage.limit(Some(1), None);
        let post = || once(post_to("luna", "hola"), "key");
        let first = stage.ada(post()).await.unwrap();
        stage.hears(&["posted hola", "relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
        for _ in 0..3 {
            assert_eq!(
                stage.ada(post()).await,
                Ok(as_duplicate(first.clone())),
                "though the month is used up"
            );
        }
        // Over another connection of the same person, which then hears the conversation.
        let other = stage.caller("ada", 2);
        assert_eq!(stage.app.handle(&other, post()).await, Ok(as_duplicate(first.clone())));
        assert!(stage.audience.hears(connection(2), &talk("luna", "ada")));
        stage.hears_nothing_more().await;
        assert_eq!(stage.stored().await.len(), 2);
        assert!(stage.app.settle(Duration::ZERO).await, "no repeat waits for an answer");

        stage.clock.set(Timestamp(NOON.0 + KEYS_KEPT));
        stage.limit(None, None);
        let Ok(Outcome::Posted { duplicate: false, seq: 3, .. }) = stage.ada(post()).await else {
            panic!("after a day it is another message")
        };
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_was_used_for_something_else_is_a_conflict() {
        let mut stage = Stage::new().await;
        stage.ada(once(post_to("luna", "hola"), "key")).await.unwrap();
        stage.hears(&["posted hola", "relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
        for other in [post_to("luna", "adiós"), post_to("mia", "hola")] {
            assert_eq!(stage.ada(once(other, "key")).await.unwrap_err().code, Code::Conflict);
        }
        for wrong in ["", &"k".repeat(129)] {
            assert_eq!(
                stage.ada(once(post_to("luna", "hola"), wrong)).await.unwrap_err().code,
                Code::Invalid
            );
        }
        stage.hears_nothing_more().await;
        // Bob's keys are his own.
        let bob = stage.caller("bob", 2);
        stage.app.handle(&bob, once(post_to("rex", "hola"), "key")).await.unwrap();
        stage.hears(&["posted hola", "relation"]).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_posts_for_a_person_on_the_persons_plan() {
        let mut stage = Stage::new().await;
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: Some(1),
            agents: None,
        };
        stage.store.inner.put_plan(&plan).await.unwrap();
        let shop = Caller { connection: None, ..stage.principal(Principal::Service("shop".into()), 9) };
        let post_for = |agent, name, text: &str| Command::PostMessage {
            agent: agent_id(agent),
            person: Claim::of(person(name)),
            text: text.into(),
            once: None,
            price: None,
        };
        stage.app.handle(&shop, post_for("luna", "ada", "hola")).await.unwrap();
        stage.hears(&["posted hola", "relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
        let refused = stage.app.handle(&shop, post_for("luna", "ada", "otra vez")).await.unwrap_err();
        assert_eq!(refused.code, Code::OverQuota { current: 1, limit: 1 });
        let refused = stage.app.handle(&shop, post_for("rex", "ada", "hola")).await;
        assert_eq!(refused, Err(access::agent_not_found()));
        stage.hears_nothing_more().await;
        assert_eq!(stage.audience.seatings(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_agent_says_unasked_reaches_the_person_once_everywhere() {
        let mut stage = Stage::new().await;
        let shop = stage.principal(Principal::Service("shop".into()), 9);
        let command = || once(speak("luna", "ada", "Te he echado de menos."), "key");
        let first = stage.app.handle(&shop, command()).await.unwrap();
        let (to_person, to_conversation) = (stage.next().await, stage.next().await);
        assert_eq!(to_person.topic, Topic::Person(person("ada")));
        assert_eq!(to_person.unless, Some(talk("luna", "ada")));
        assert_eq!((&to_conversation.topic, &to_conversation.unless), (&talk("luna", "ada"), &None));
        for envelope in [&to_person, &to_conversation] {
            let Event::MessagePosted(message) = &envelope.event else { panic!("heard {envelope:?}") };
            assert_eq!(
                first,
                Outcome::Posted {
                    id: message.id,
                    conversation: message.conversation,
                    seq: message.seq,
                    duplicate: false
                }
            );
            assert_eq!((message.author, message.seq), (Party::Agent, 1));
        }
        assert_eq!(stage.app.handle(&shop, command()).await, Ok(as_duplicate(first)));
        let other = once(speak("luna", "ada", "otra cosa"), "key");
        assert_eq!(stage.app.handle(&shop, other).await.unwrap_err().code, Code::Conflict);
        stage.hears_nothing_more().await;
        let stored = stage.stored().await;
        assert_eq!(stored.len(), 1, "nobody answers what was not asked");
        assert_eq!(stage.store.inner.messages_sent(&person("ada"), NOON.month()).await.unwrap(), 0);
        assert_eq!(stage.audience.seatings(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_backend_has_an_agent_speak_and_only_to_its_owner() {
        let mut stage = Stage::new().await;
        assert_eq!(stage.ada(speak("luna", "ada", "hola")).await.unwrap_err().code, Code::Forbidden);
        let guest = stage.principal(Principal::Guest, 3);
        assert_eq!(stage.app.handle(&guest, speak("luna", "ada", "hola")).await, Err(Refusal::forbidden()));
        let operator = stage.principal(Principal::Operator, 9);
        for (command, code) in [
            (speak("rex", "ada", "hola"), Code::NotFound),
            (speak("nobody", "ada", "hola"), Code::NotFound),
            (speak("luna", "nobody", "hola"), Code::NotFound),
            (speak("luna", "ada", " "), Code::Invalid),
            (speak("luna", "ada", &"x".repeat(MAX_TEXT_BYTES + 1)), Code::TooLarge),
            (once(speak("luna", "ada", "hola"), ""), Code::Invalid),
        ] {
            let refused = stage.app.handle(&operator, command.clone()).await.unwrap_err();
            assert_eq!(refused.code, code, "{command:?}");
        }
        stage.hears_nothing_more().await;
        assert_eq!(stage.stored().await, []);
    }
}

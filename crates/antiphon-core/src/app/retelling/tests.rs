//! Is everything told once, wherever the last run was cut?

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{advance, sleep};

use super::super::presence::BACK_WITHIN;
use super::*;
use crate::actor::Principal;
use crate::app::stage::{NOON, Stage, Step, agent_id, person, post_to, short, talk};
use crate::command::{Command, Outcome};
use crate::event::{Envelope, Event};
use crate::ids::PersonId;
use crate::ports::{Agents, Wallets};
use crate::presence::Status;
use crate::refusal::Fault;

type Published = Vec<Arc<Envelope>>;

fn conversation() -> ConversationId {
    ConversationId::direct(&agent_id("luna"), &person("ada"))
}

fn message(seq: u64) -> Untold {
    Untold::Message { conversation: conversation(), seq }
}

fn entry(position: u64) -> Untold {
    Untold::Entry { person: person("ada"), position }
}

impl Stage {
    /// The next `count` events.
    async fn take(&mut self, count: usize) -> Published {
        let mut taken = Vec::new();
        for _ in 0..count {
            taken.push(self.next().await);
        }
        taken
    }

    async fn retell(&self, untold: Vec<Untold>, published: &[Arc<Envelope>]) -> Result<Retold, Fault> {
        let aftermath = Aftermath::new(untold, [], published.iter().map(|envelope| &**envelope));
        self.app.retell(aftermath).await
    }

    async fn shop_does(&self, command: Command) {
        let shop = self.principal(Principal::Service("shop".into()), 9);
        self.app.handle(&shop, command).await.unwrap();
    }
}

fn speak(text: &str) -> Command {
    Command::Speak { agent: agent_id("luna"), person: person("ada"), text: text.into(), once: None }
}

fn words(published: &[Arc<Envelope>]) -> Vec<String> {
    published.iter().map(|envelope| short(&envelope.event)).collect()
}

/// Everything of an envelope, to be compared.
fn whole(envelope: &Arc<Envelope>) -> String {
    serde_json::to_string(&**envelope).unwrap()
}

fn failed(envelope: &Envelope) -> &Reply {
    match &envelope.event {
        Event::ReplyFailed(reply) => reply,
        other => panic!("{other:?} is not a failure"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_nobody_was_told_of_is_told_wherever_the_telling_was_cut() {
    for told in 0..=2 {
        let mut stage = Stage::new().await;
        stage.model.then([Step::Hang]);
        stage.post("hola").await.unwrap();
        let live = stage.take(3).await;
        assert_eq!(words(&live), ["posted hola", "relation", "started"]);
        let retold = stage.retell(vec![message(1)], &live[..told]).await.unwrap();
        assert_eq!(retold, Retold { messages: usize::from(told < 2), failed: 1, ..Retold::default() });
        for missed in &live[told..2] {
            assert_eq!(whole(&stage.next().await), whole(missed), "after {told}");
        }
        // The process that would answer it is gone.
        let end = stage.next().await;
        let Event::MessagePosted(question) = &live[0].event else { panic!("heard {live:?}") };
        assert_eq!((failed(&end).question, &end.topic), (question.id, &talk("luna", "ada")));
        stage.hears_nothing_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_stored_is_told_as_it_would_have_been() {
    for told in 3..=5 {
        let mut stage = Stage::new().await;
        stage.post("hola").await.unwrap();
        let live = stage.take(5).await;
        assert_eq!(words(&live), ["posted hola", "relation", "started", "chunk 0 \"ok\"", "finished ok"]);
        let retold = stage.retell(vec![message(2)], &live[..told]).await.unwrap();
        assert_eq!(retold, Retold { messages: usize::from(told < 5), ..Retold::default() });
        for missed in &live[told.max(4)..] {
            assert_eq!(whole(&stage.next().await), whole(missed), "after {told}");
        }
        stage.hears_nothing_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_question_is_known_to_the_store_alone_is_told_the_same() {
    let mut stage = Stage::new().await;
    stage.post("a question of some length").await.unwrap();
    let live = stage.take(5).await;
    for known in [2..4, 3..4] {
        stage.retell(vec![message(2)], &live[known]).await.unwrap();
        assert_eq!(whole(&stage.next().await), whole(&live[4]));
        stage.hears_nothing_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_under_way_and_waited_for_fail_in_their_order() {
    let mut stage = Stage::new().await;
    let gate = Arc::new(Semaphore::new(0));
    stage.model.then([Step::Say("first"), Step::Gate(gate)]);
    for text in ["one", "two", "three"] {
        stage.post(text).await.unwrap();
    }
    let mut live = stage.take(8).await;
    live.retain(|envelope| !matches!(envelope.event, Event::RelationChanged { .. }));
    let retold = stage.retell(Vec::new(), &live).await.unwrap();
    assert_eq!(retold, Retold { failed: 3, ..Retold::default() });
    let ends = stage.take(3).await;
    let questions: Vec<_> = stage.stored().await.into_iter().map(|message| message.id).collect();
    assert_eq!(ends.iter().map(|end| failed(end).question).collect::<Vec<_>>(), questions);
    let begun = live.iter().find_map(|envelope| match &envelope.event {
        Event::ReplyStarted(reply) => Some(reply.id),
        _ => None,
    });
    assert_eq!(Some(failed(&ends[0]).id), begun, "the one that had begun has its name");
    stage.hears_nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_end_was_told_when_nobody_wrote_it_down_has_not_failed() {
    let mut stage = Stage::new().await;
    stage.post("hola").await.unwrap();
    let live = stage.take(5).await;
    // With and without its beginning.
    for known in [0..4, 0..2] {
        assert_eq!(stage.retell(Vec::new(), &live[known]).await.unwrap(), Retold::default());
    }
    // What the agent said unasked is no answer.
    stage.model.then([Step::Hang]);
    stage.post("and?").await.unwrap();
    stage.shop_does(speak("psst")).await;
    let more = stage.take(5).await;
    let known: Vec<_> = live[..5].iter().chain(&more).cloned().collect();
    assert_eq!(stage.retell(Vec::new(), &known).await.unwrap().failed, 1);
    let unbegun: Vec<_> = known.into_iter().filter(|known| short(&known.event) != "started").collect();
    stage.take(1).await;
    assert_eq!(stage.retell(Vec::new(), &unbegun[4..]).await.unwrap().failed, 1);
    assert_eq!(words(&stage.take(1).await), ["failed"]);
    stage.hears_nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_said_unasked_is_told_where_it_was_not() {
    let mut stage = Stage::new().await;
    stage.shop_does(speak("psst")).await;
    let live = stage.take(2).await;
    let topics = [&live[0].topic, &live[1].topic];
    assert_eq!(topics, [&Topic::Person(person("ada")), &talk("luna", "ada")]);
    for told in 0..=2 {
        let retold = stage.retell(vec![message(1)], &live[..told]).await.unwrap();
        assert_eq!(retold, Retold { messages: usize::from(told < 2), ..Retold::default() });
        for missed in &live[told..] {
            assert_eq!(whole(&stage.next().await), whole(missed));
        }
        stage.hears_nothing_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cost_something_is_told_with_its_entry_and_refunded_once() {
    let mut stage = Stage::new().await;
    stage.shop_does(Command::Grant { person: person("ada"), amount: 100, once: None }).await;
    stage.model.then([Step::Hang]);
    let Command::PostMessage { agent, person: claim, text, once, .. } = post_to("luna", "hola") else {
        panic!("it posts")
    };
    let priced = Command::PostMessage { agent, person: claim, text, once, price: Some(10) };
    let Outcome::Posted { .. } = stage.ada(priced).await.unwrap() else { panic!("it was posted") };
    let live = stage.take(5).await;
    let expected =
        ["ada has 100 after +100 for grant", "ada has 90 after -10 for chat", "posted hola", "relation"];
    assert_eq!(words(&live[..4]), expected);
    for told in [1, 2] {
        stage.retell(vec![entry(2), message(1)], &live[..told]).await.unwrap();
        stage.hears(&expected[told..]).await;
        stage.hears(&["failed"]).await;
        stage.hears_nothing_more().await;
    }
    assert_eq!(stage.app.recover().await.unwrap(), 1);
    stage.hears(&["ada has 100 after +10 for refund"]).await;
    let done = stage.retell(vec![entry(3)], &live).await.unwrap();
    assert_eq!((done.entries, done.messages), (1, 0));
    stage.hears(&["ada has 100 after +10 for refund", "failed"]).await;
    assert_eq!(stage.app.recover().await.unwrap(), 0);
    stage.hears_nothing_more().await;
    assert_eq!(stage.store.inner.balance(&person("ada")).await.unwrap().tokens, 100);
    assert_eq!(stage.stored().await.len(), 1, "nothing is stored by telling it");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_did_not_happen_is_not_told() {
    let mut stage = Stage::new().await;
    let retold = stage.retell(vec![message(1), message(0), entry(1), entry(0)], &[]).await.unwrap();
    assert_eq!(retold, Retold::default());
    let steps = stage.retell(vec![Untold::Other], &[]).await.unwrap();
    assert_eq!(steps, Retold { other: true, ..Retold::default() });
    stage.hears_nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn a_place_that_a_failed_commit_had_named_before_is_told_once() {
    let mut stage = Stage::new().await;
    for text in ["one", "two"] {
        stage.shop_does(speak(text)).await;
    }
    stage.take(4).await;
    let untold = vec![message(2), entry(1), message(1), message(2)];
    let retold = stage.retell(untold, &[]).await.unwrap();
    assert_eq!(retold, Retold { messages: 2, ..Retold::default() });
    stage.hears(&["posted one", "posted one", "posted two", "posted two"]).await;
    stage.hears_nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_not_passed_over() {
    let mut stage = Stage::new().await;
    stage.model.then([Step::Hang]);
    stage.post("hola").await.unwrap();
    let live = stage.take(3).await;
    stage.store.fail(true);
    assert!(stage.retell(vec![message(1)], &[]).await.is_err());
    assert!(stage.retell(vec![entry(1)], &[]).await.is_err());
    assert!(stage.retell(Vec::new(), &live).await.is_err());
    stage.hears_nothing_more().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_felt_last_is_told_to_whoever_heard_the_message_alone() {
    let mut stage = Stage::new().await;
    stage.post("gracias").await.unwrap();
    let live = stage.take(5).await;
    let now = stage.store.inner.relation(&agent_id("luna"), &person("ada")).await.unwrap();
    let told = [live[0].clone(), live[2].clone(), live[3].clone(), live[4].clone()];
    stage.retell(vec![message(1)], &told).await.unwrap();
    let felt = stage.next().await;
    let Event::RelationChanged { relation, at, .. } = &felt.event else { panic!("heard {felt:?}") };
    assert_eq!((*relation, *at), (now, NOON));
    stage.hears_nothing_more().await;
}

fn here(name: &str) -> Arc<Envelope> {
    let person = PersonId::parse(name).unwrap();
    let event = Event::PresenceChanged { person, status: Status::Online, changed: true, at: NOON };
    Arc::new(Envelope::new(Topic::Everyone, event))
}

#[tokio::test(start_paused = true)]
async fn who_was_here_and_does_not_come_back_is_offline() {
    for runs_first in [false, true] {
        let mut stage = Stage::new().await;
        let people = ["ada", "bob", "cleo", "dan"].map(here);
        let running = runs_first.then(|| stage.run());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(stage.retell(Vec::new(), &people).await.unwrap().missing, 4);
        let _running = running.unwrap_or_else(|| stage.run());
        sleep(Duration::from_millis(1)).await;
        advance(BACK_WITHIN - Duration::from_secs(1)).await;
        stage.hears_nothing_more().await;
        stage.app.connected(&stage.caller("ada", 1)).await;
        stage.app.connected(&stage.caller("bob", 2)).await;
        stage.app.disconnected(&stage.caller("bob", 2)).await;
        stage.hears(&["ada Online, changed", "bob Online, changed", "bob Offline, changed"]).await;
        stage.hears(&["cleo Offline, changed", "dan Offline, changed"]).await;
        stage.hears_nothing_more().await;
        advance(BACK_WITHIN * 2).await;
        stage.hears_nothing_more().await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_here_through_another_node_is_not_missed() {
    let mut stage = Stage::new().await;
    let other = stage.another_node("other").await;
    other.app.connected(&other.caller("ada", 1)).await;
    stage.hears(&["ada Online, changed"]).await;
    stage.retell(Vec::new(), &[here("ada"), here("bob")]).await.unwrap();
    let (_stop, _running) = (stage.run(), other.run());
    stage.hears(&["bob Offline, changed"]).await;
    stage.hears_nothing_more().await;
}

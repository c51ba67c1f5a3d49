//! What agents do when they answer, fall silent, fail, or have too much to do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::*;
use crate::app::stage::{Stage, Step, agent_id, person, post_to, short};
use crate::memory::ManualClock;
use crate::ports::{Agents, Conversations};

fn limits(change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = Settings::default();
    change(&mut settings);
    settings
}

/// Posts and hears what comes before the answer.
async fn ask(stage: &mut Stage, text: &str) {
    stage.post(text).await.unwrap();
    stage.hears(&[&format!("posted {text}"), "relation"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_one_reply_from_start_to_end() {
    let mut stage = Stage::new().await;
    stage.model.then([Step::Say("Hola, "), Step::Say("Ada. ")]);
    ask(&mut stage, "hola").await;
    let Event::ReplyStarted(started) = &stage.next().await.event else { panic!("it did not start") };
    assert_eq!((&started.agent, &started.person), (&agent_id("luna"), &person("ada")));
    for (index, text) in [(0, "Hola, "), (1, "Ada. ")] {
        let envelope = stage.next().await;
        let Event::ReplyChunk(chunk) = &envelope.event else { panic!("heard {envelope:?}") };
        assert_eq!((chunk.reply, chunk.index, chunk.text.as_str()), (started.id, index, text));
    }
    let envelope = stage.next().await;
    let Event::ReplyFinished { message, tokens, relation } = &envelope.event else {
        panic!("heard {envelope:?}")
    };
    assert_eq!((message.id, message.seq, message.author), (started.id, 2, Party::Agent));
    assert_eq!(message.text, "Hola, Ada.");
    assert_eq!(*tokens, 4); // 4 and 10 units
    let kept = stage.store.inner.relation(&agent_id("luna"), &person("ada")).await.unwrap();
    assert_eq!(*relation, kept);
    assert_eq!(stage.stored().await[1], *message);
    assert!(stage.app.settle(Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn empty_pieces_are_skipped_and_split_characters_come_through() {
    let mut stage = Stage::new().await;
    // An astronaut: woman, joiner, rocket, in pieces that no reader would cut.
    let pieces = ["", "¡", "👩", "", "\u{200d}", "🚀", "!", ""];
    stage.model.then(pieces.map(Step::Say));
    ask(&mut stage, "hola").await;
    stage.hears(&["started", "chunk 0 \"¡\"", "chunk 1 \"👩\""]).await;
    stage.hears(&[r#"chunk 2 "\u{200d}""#, "chunk 3 \"🚀\"", "chunk 4 \"!\""]).await;
    let envelope = stage.next().await;
    let Event::ReplyFinished { message, tokens, .. } = &envelope.event else { panic!("heard {envelope:?}") };
    assert_eq!(message.text, "¡👩\u{200d}🚀!");
    assert_eq!(*tokens, 3); // 4 and 7 units
}

#[tokio::test(start_paused = true)]
async fn one_conversation_is_answered_message_by_message() {
    let mut stage = Stage::new().await;
    let gate = Arc::new(Semaphore::new(0));
    stage.model.then([Step::Say("first"), Step::Gate(gate.clone()), Step::Say(" answer")]);
    stage.model.then([Step::Say("second answer")]);
    ask(&mut stage, "one").await;
    stage.hears(&["started", "chunk 0 \"first\""]).await;
    ask(&mut stage, "two").await;
    stage.hears_nothing_more().await;
    gate.add_permits(1);
    stage.hears(&["chunk 1 \" answer\"", "finished first answer"]).await;
    stage.hears(&["started", "chunk 0 \"second answer\"", "finished second answer"]).await;
    // What came after a message is not shown to the model that answers it.
    assert_eq!(stage.model.asked(), [vec!["one"], vec!["one", "two"]]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_counted_while_they_are_given_and_by_how_they_end() {
    let mut stage = Stage::new().await;
    let gate = Arc::new(Semaphore::new(0));
    stage.model.then([Step::Gate(gate.clone()), Step::Say("first")]);
    stage.model.then([Step::Hang]);
    ask(&mut stage, "one").await;
    stage.hears(&["started"]).await;
    ask(&mut stage, "two").await;
    let so_far = |running, waiting, finished, failed| Answers { running, waiting, finished, failed };
    assert_eq!(stage.app.answers(), so_far(1, 1, 0, 0));
    gate.add_permits(1);
    stage.hears(&["chunk 0 \"first\"", "finished first", "started"]).await;
    assert_eq!(stage.app.answers(), so_far(1, 0, 1, 0));
    stage.hears(&["failed"]).await;
    assert!(stage.app.settle(Duration::from_secs(1)).await);
    assert_eq!(stage.app.answers(), so_far(0, 0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn conversations_do_not_wait_for_each_other() {
    let mut stage = Stage::new().await;
    stage.model.then([Step::Hang]);
    ask(&mut stage, "one").await;
    stage.hears(&["started"]).await;
    stage.ada(post_to("mia", "two")).await.unwrap();
    stage.hears(&["posted two", "relation", "started", "chunk 0 \"ok\"", "finished ok"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_model_sees_the_last_messages_and_how_the_agent_feels() {
    let mut stage = Stage::with(limits(|settings| settings.remembered = 4)).await;
    for text in ["one", "two", "gracias"] {
        ask(&mut stage, text).await;
        stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
    }
    assert_eq!(stage.model.asked().last().unwrap(), &["ok", "two", "ok", "gracias"]);
    let prompt = stage.model.last_prompt();
    assert_eq!(prompt.agent, stage.store.inner.agent(&agent_id("luna")).await.unwrap().unwrap());
    assert!((prompt.relation.trust - 0.52).abs() < 1e-9);
    assert_eq!(prompt.history.iter().map(|message| message.seq).collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_may_remember_nothing_still_sees_the_question() {
    for remembered in [0, 1] {
        let mut stage = Stage::with(limits(|settings| settings.remembered = remembered)).await;
        for text in ["one", "two"] {
            ask(&mut stage, text).await;
            stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
        }
        assert_eq!(stage.model.asked(), [["one"], ["two"]]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_model_does_not_look_at_is_not_read() {
    let mut stage = Stage::with(limits(|settings| settings.remembered = 4)).await;
    let mut calls = Vec::new();
    for looks_back in [0, 1, 2, 9] {
        stage.model.look_back(looks_back);
        let before = stage.store.calls();
        ask(&mut stage, "hola").await;
        stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
        calls.push(stage.store.calls() - before);
    }
    let seen = [&["hola"][..], &["hola"], &["ok", "hola"], &["ok", "hola", "ok", "hola"]];
    assert_eq!(stage.model.asked(), seen);
    let [nothing, the_question, two, all] = calls[..] else { panic!("{calls:?}") };
    assert_eq!((nothing, two, all), (the_question, the_question + 1, the_question + 1));
}

#[tokio::test(start_paused = true)]
async fn too_many_waiting_messages_are_refused_before_they_are_stored() {
    let mut stage = Stage::with(limits(|settings| settings.waiting_replies = 2)).await;
    let gate = Arc::new(Semaphore::new(0));
    stage.model.then([Step::Gate(gate.clone()), Step::Say("done")]);
    ask(&mut stage, "one").await;
    stage.hears(&["started"]).await;
    ask(&mut stage, "two").await;
    ask(&mut stage, "three").await;
    let refused = stage.post("four").await.unwrap_err();
    assert!(matches!(refused.code, Code::RateLimited { retry_after: 1.. }));
    stage.hears_nothing_more().await;
    assert_eq!(stage.stored().await.len(), 3);
    gate.add_permits(1);
    stage.hears(&["chunk 0 \"done\"", "finished done", "started", "chunk 0 \"ok\"", "finished ok"]).await;
    stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
    ask(&mut stage, "five").await;
    stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
    assert!(stage.app.settle(Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_ends_in_a_failed_reply_and_the_next_one_is_answered() {
    let table: [(&[Step], &[&str]); 8] = [
        (&[Step::Fail], &[]),
        (&[Step::Say("a"), Step::Fail], &["chunk 0 \"a\""]),
        (&[Step::PanicAtOnce], &[]),
        (&[Step::Say("a"), Step::Panic], &["chunk 0 \"a\""]),
        (&[Step::Hang], &[]),
        (&[Step::Say("a"), Step::Hang], &["chunk 0 \"a\""]),
        (&[], &[]),
        (&[Step::Say(""), Step::Say(" \n")], &["chunk 0 \" \\n\""]),
    ];
    for (script, chunks) in table {
        let mut stage = Stage::new().await;
        stage.model.then(script);
        ask(&mut stage, "one").await;
        let Event::ReplyStarted(started) = stage.next().await.event.clone() else {
            panic!("it did not start")
        };
        stage.hears(chunks).await;
        let envelope = stage.next().await;
        let Event::ReplyFailed(failed) = &envelope.event else { panic!("heard {envelope:?}") };
        assert_eq!(*failed, started);
        assert_eq!(stage.stored().await.len(), 1, "an answer that failed is not stored");
        ask(&mut stage, "two").await;
        stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
        assert!(stage.app.settle(Duration::ZERO).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_spoils_one_answer_and_not_those_that_wait() {
    let mut stage = Stage::new().await;
    let gate = Arc::new(Semaphore::new(0));
    stage.model.then([Step::Gate(gate.clone()), Step::Panic]);
    ask(&mut stage, "one").await;
    stage.hears(&["started"]).await;
    ask(&mut stage, "two").await;
    gate.add_permits(1);
    stage.hears(&["failed", "started", "chunk 0 \"ok\"", "finished ok"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_model_may_be_slow_but_not_silent() {
    let mut stage = Stage::with(limits(|settings| settings.reply_timeout = Duration::from_secs(10))).await;
    let slow = Step::Pause(Duration::from_secs(9));
    stage.model.then([slow.clone(), Step::Say("a"), slow.clone(), Step::Say("b"), slow, Step::Hang]);
    ask(&mut stage, "hola").await;
    let asked = Instant::now();
    stage.hears(&["started", "chunk 0 \"a\"", "chunk 1 \"b\""]).await;
    assert_eq!(asked.elapsed(), Duration::from_secs(18));
    stage.hears(&["failed"]).await;
    assert_eq!(asked.elapsed(), Duration::from_secs(28));
}

#[tokio::test(start_paused = true)]
async fn empty_pieces_are_silence() {
    let mut stage = Stage::with(limits(|settings| settings.reply_timeout = Duration::from_secs(10))).await;
    let nothing = [Step::Pause(Duration::from_secs(3)), Step::Say("")];
    stage.model.then(nothing.into_iter().cycle().take(100).collect::<Vec<_>>());
    ask(&mut stage, "hola").await;
    let asked = Instant::now();
    stage.hears(&["started", "failed"]).await;
    assert_eq!(asked.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_talkative_model_leaves_its_core_to_others_in_between() {
    let mut stage = Stage::new().await;
    stage.model.then(vec![Step::Say("x"); 10_000]);
    ask(&mut stage, "hola").await;
    stage.hears(&["started"]).await;
    tokio::task::yield_now().await;
    // Somebody else gets a turn long before the answer is whole.
    assert_eq!(stage.stored().await.len(), 1);
    assert!(stage.app.settle(Duration::from_secs(1)).await);
    assert_eq!(stage.stored().await[1].text.len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_cut_at_the_last_piece_that_fits() {
    let mut stage = Stage::with(limits(|settings| settings.longest_reply = 10)).await;
    stage.model.then(vec![Step::Say("four"); 1_000]);
    ask(&mut stage, "hola").await;
    stage.hears(&["started", "chunk 0 \"four\"", "chunk 1 \"four\"", "finished fourfour"]).await;
    stage.model.then([Step::Say("more than ten")]);
    ask(&mut stage, "hola").await;
    stage.hears(&["started", "failed"]).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_stored_has_failed() {
    let mut stage = Stage::new().await;
    stage.store.fail_after_appends(1);
    ask(&mut stage, "hola").await;
    stage.hears(&["started", "chunk 0 \"ok\"", "failed"]).await;
    stage.hears_nothing_more().await;
    assert_eq!(stage.stored().await.len(), 1);
    assert!(stage.app.settle(Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_history_cannot_be_read_has_failed() {
    let mut stage = Stage::new().await;
    ask(&mut stage, "one").await;
    stage.hears(&["started", "chunk 0 \"ok\"", "finished ok"]).await;
    // The post is stored in this very turn; the task that answers it has not run yet.
    stage.post("two").await.unwrap();
    stage.store.fail(true);
    stage.hears(&["posted two", "relation", "started", "failed"]).await;
}

#[tokio::test(start_paused = true)]
async fn settling_waits_for_the_answers_under_way() {
    let mut stage = Stage::new().await;
    stage.model.then([Step::Pause(Duration::from_secs(5)), Step::Say("late")]);
    ask(&mut stage, "hola").await;
    let began = Instant::now();
    assert!(stage.app.settle(Duration::from_secs(10)).await);
    assert_eq!(began.elapsed(), Duration::from_secs(5));
    stage.hears(&["started", "chunk 0 \"late\"", "finished late"]).await;
}

#[tokio::test(start_paused = true)]
async fn settling_cuts_off_what_takes_too_long_and_tells_whoever_waits() {
    let mut stage = Stage::new().await;
    stage.model.then([Step::Say("a"), Step::Hang]);
    ask(&mut stage, "one").await;
    stage.hears(&["started", "chunk 0 \"a\""]).await;
    ask(&mut stage, "two").await;
    assert!(!stage.app.settle(Duration::from_secs(10)).await);
    // One was under way, one waited.
    stage.hears(&["failed", "failed"]).await;
    assert!(stage.app.settle(Duration::ZERO).await);
    stage.hears_nothing_more().await;
}

#[test]
fn a_runtime_that_goes_down_ends_its_answers() {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let core = runtime();
    let mut stage = core.block_on(async {
        let stage = Stage::new().await;
        stage.model.then([Step::Hang]);
        stage.post("one").await.unwrap();
        stage.post("two").await.unwrap();
        stage
    });
    drop(core);
    runtime().block_on(async {
        let mut heard = Vec::new();
        while heard.len() < 6 {
            heard.push(short(&stage.next().await.event));
        }
        assert_eq!(heard.iter().filter(|line| *line == "failed").count(), 2, "{heard:?}");
        assert!(stage.app.settle(Duration::ZERO).await);
    });
}

#[tokio::test(start_paused = true)]
async fn every_message_of_a_crowd_is_answered_once_and_in_order() {
    let mut stage = Stage::with(limits(|settings| settings.waiting_replies = 100)).await;
    let posts = (0..50).map(|number| {
        let (app, caller) = (stage.app.clone(), stage.caller("ada", number));
        tokio::spawn(async move { app.handle(&caller, post_to("luna", &number.to_string())).await.unwrap() })
    });
    for post in posts.collect::<Vec<_>>() {
        post.await.unwrap();
    }
    assert!(stage.app.settle(Duration::from_secs(1)).await);
    let mut posted = Vec::new();
    let mut answered = 0;
    while answered < 50 {
        match &stage.next().await.event {
            Event::MessagePosted(message) => posted.push(message.text.clone()),
            Event::ReplyFinished { .. } => answered += 1,
            _ => {}
        }
    }
    let asked: Vec<_> = stage.model.asked().into_iter().map(|texts| texts.last().unwrap().clone()).collect();
    assert_eq!(asked, posted);
    let id = ConversationId::direct(&agent_id("luna"), &person("ada"));
    assert_eq!(stage.store.inner.history(id, 0, 1_000).await.unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn the_time_of_day_goes_on_between_two_looks_at_the_clock_and_a_clock_that_was_set_is_noticed() {
    let clock = ManualClock::at(Timestamp(5_000));
    let begin = Instant::now();
    let after = |ms| begin + Duration::from_millis(ms);
    let mut moments = Moments::new(begin, &clock);
    assert_eq!(moments.at(after(0), &clock), Timestamp(5_000));
    clock.set(Timestamp(9_000_000));
    assert_eq!(moments.at(after(999), &clock), Timestamp(5_999));
    assert_eq!(moments.at(after(1_000), &clock), Timestamp(9_000_000));
    assert_eq!(moments.at(after(1_001), &clock), Timestamp(9_000_001));
}

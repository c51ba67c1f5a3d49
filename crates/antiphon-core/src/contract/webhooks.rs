//! Does a store remember what webhooks need: numbers without holes, one delivery after the other, and nothing lost?

use std::sync::Arc;

use crate::conversation::Party;
use crate::ids::{AgentId, ConversationId, MessageId, PersonId, Timestamp};
use crate::ports::{Conversations, NewMessage};
use crate::webhooks::{About, Announcement, Delivered, Letter, Queued, Webhooks};

/// The whole suite of [`Webhooks`]. `open` opens a store with nothing in it.
pub async fn webhooks<S: Conversations + Webhooks>(open: impl AsyncFn() -> Arc<S>) {
    announcements_are_numbered_for_each_person_and_endpoint(&*open().await).await;
    an_announcement_that_is_stored_is_left_out(&*open().await).await;
    later_ones_about_a_person_wait_for_the_first(&*open().await).await;
    one_that_does_not_hold_lets_others_pass(&*open().await).await;
    whatever_is_not_due_says_when_it_will_be(&*open().await).await;
    dead_letters_are_listed_in_pages_and_come_back_to_life(&*open().await).await;
    a_disabled_endpoint_gets_nothing_until_it_is_enabled(&*open().await).await;
    messages_are_followed_from_when_it_began(&*open().await).await;
    who_came_and_did_not_go_is_known(&*open().await).await;
    what_is_on_its_way_and_what_died_is_counted_for_each_endpoint(&*open().await).await;
    what_is_too_old_is_given_up_and_then_forgotten(&*open().await).await;
}

const NOW: Timestamp = Timestamp(1_000_000);

async fn announcements_are_numbered_for_each_person_and_endpoint(store: &impl Webhooks) {
    let both = &["left", "right"];
    let batch = [
        about("ada", 1, both),
        about("ada", 2, &["left"]),
        Announcement { person: None, ..about("ada", 3, both) },
        about("bob", 4, &["right"]),
        about("ada", 5, both),
        Announcement { person: None, ..about("ada", 6, &["right"]) },
    ];
    assert!(store.announce(&batch[..3]).await.unwrap());
    assert!(store.announce(&batch[3..]).await.unwrap());
    assert_eq!(drain(store, "left").await, ["1 of ada-1", "2 of ada-2", "1 of ada-3", "3 of ada-5"]);
    assert_eq!(
        drain(store, "right").await,
        ["1 of ada-1", "1 of ada-3", "1 of bob-4", "2 of ada-5", "2 of ada-6"]
    );
    // Numbers go on after everything was delivered.
    assert!(store.announce(&[about("ada", 7, both)]).await.unwrap());
    assert_eq!(drain(store, "left").await, ["4 of ada-7"]);
    assert_eq!(drain(store, "right").await, ["3 of ada-7"]);
    assert_eq!(drain(store, "elsewhere").await, Vec::<String>::new());
}

async fn an_announcement_that_is_stored_is_left_out(store: &impl Webhooks) {
    let first = about("ada", 1, &["left"]);
    assert!(store.announce(&[first.clone(), first.clone()]).await.unwrap());
    assert!(store.announce(&[first, about("ada", 2, &["left"])]).await.unwrap());
    assert_eq!(drain(store, "left").await, ["1 of ada-1", "2 of ada-2"]);
}

async fn later_ones_about_a_person_wait_for_the_first(store: &impl Webhooks) {
    let batch = [about("ada", 1, &["left"]), about("ada", 2, &["left"]), about("bob", 3, &["left"])];
    store.announce(&batch).await.unwrap();
    let due = letters(store, "left", NOW).await;
    assert_eq!(names(&due), ["ada-1", "bob-3"]);
    assert_eq!(due[0].body(), r#"{"of":"ada-1","sequence":1}"#);

    let later = Delivered::Later { at: after(500), holds: true, why: "no".into() };
    store.settle(due[0].id, later, NOW).await.unwrap();
    store.settle(due[1].id, Delivered::Done, NOW).await.unwrap();
    store.announce(&[about("ada", 4, &["left"])]).await.unwrap();
    assert_eq!(names(&letters(store, "left", after(499)).await), Vec::<String>::new());
    let due = letters(store, "left", after(500)).await;
    assert_eq!((names(&due), due[0].attempts), (vec!["ada-1".to_owned()], 1));

    store.settle(due[0].id, Delivered::Dead { why: "no".into() }, after(500)).await.unwrap();
    let due = letters(store, "left", after(500)).await;
    assert_eq!((names(&due), due[0].attempts), (vec!["ada-2".to_owned()], 0));
    store.settle(due[0].id, Delivered::Done, after(500)).await.unwrap();
    // Settled twice is settled once.
    store.settle(due[0].id, Delivered::Done, after(500)).await.unwrap();
    assert_eq!(drain(store, "left").await, ["3 of ada-4"]);
}

async fn one_that_does_not_hold_lets_others_pass(store: &impl Webhooks) {
    let batch = [about("ada", 1, &["left"]), about("ada", 2, &["left"]), about("ada", 3, &["left"])];
    store.announce(&batch).await.unwrap();
    let first = letters(store, "left", NOW).await.remove(0);
    let pass = Delivered::Later { at: after(500), holds: false, why: "no".into() };
    store.settle(first.id, pass.clone(), NOW).await.unwrap();
    let second = letters(store, "left", NOW).await;
    assert_eq!(names(&second), ["ada-2"]);
    // Again, and even if it says that it holds now: whoever passed has passed, and only one at a time.
    let hold = Delivered::Later { at: after(600), holds: true, why: "no".into() };
    for again in [pass, hold] {
        store.settle(first.id, again, NOW).await.unwrap();
        assert_eq!(names(&letters(store, "left", NOW).await), ["ada-2"]);
    }
    store.settle(second[0].id, Delivered::Done, NOW).await.unwrap();
    assert_eq!(names(&letters(store, "left", NOW).await), ["ada-3"]);
    let due = letters(store, "left", after(600)).await;
    assert_eq!(names(&due), ["ada-3", "ada-1"]);
    store.settle(due[1].id, Delivered::Done, after(600)).await.unwrap();
    assert_eq!(names(&letters(store, "left", after(600)).await), ["ada-3"]);
}

async fn whatever_is_not_due_says_when_it_will_be(store: &impl Webhooks) {
    assert_eq!(store.due("left", NOW, 10).await.unwrap().next, None);
    let batch = [about("ada", 1, &["left"]), about("bob", 2, &["left"]), about("eve", 3, &["left"])];
    store.announce(&batch).await.unwrap();
    let due = store.due("left", NOW, 2).await.unwrap();
    assert_eq!((names(&due.letters), due.next), (vec!["ada-1".into(), "bob-2".into()], Some(batch[2].at)));
    for (letter, at) in due.letters.iter().zip([800, 300]) {
        let later = Delivered::Later { at: after(at), holds: true, why: "no".into() };
        store.settle(letter.id, later, NOW).await.unwrap();
    }
    let due = store.due("left", NOW, 10).await.unwrap();
    assert_eq!((names(&due.letters), due.next), (vec!["eve-3".into()], Some(after(300))));
    let due = store.due("left", after(800), 0).await.unwrap();
    assert_eq!((due.letters.len(), due.next), (0, Some(batch[2].at)));
    assert_eq!(store.due("right", NOW, 10).await.unwrap().next, None);
}

async fn dead_letters_are_listed_in_pages_and_come_back_to_life(store: &impl Webhooks) {
    let text = Announcement {
        payload: r#"{"of":"ada-1","text":"日本語 \" 👩‍🚀""#.into(),
        ..about("ada", 1, &["left"])
    };
    let batch = [text, about("ada", 2, &["left"]), about("bob", 3, &["right"])];
    store.announce(&batch).await.unwrap();
    for endpoint in ["left", "left", "right"] {
        let letter = letters(store, endpoint, after(9)).await.remove(0);
        store
            .settle(letter.id, Delivered::Dead { why: format!("no {}", letter.id) }, after(9))
            .await
            .unwrap();
    }
    let dead = store.dead(None, 10).await.unwrap();
    let seen: Vec<_> = dead.iter().map(|letter| (&*letter.announcement, &*letter.endpoint)).collect();
    assert_eq!(seen, [("ada-1", "left"), ("ada-2", "left"), ("bob-3", "right")]);
    assert!(dead[0].id < dead[1].id && dead[1].id < dead[2].id);
    assert_eq!(dead[0].body, r#"{"of":"ada-1","text":"日本語 \" 👩‍🚀","sequence":1}"#);
    assert_eq!((&*dead[0].kind, dead[0].sequence, dead[0].attempts), ("test", 1, 1));
    assert_eq!((dead[0].at, dead[0].died_at), (batch[0].at, after(9)));
    assert_eq!((&dead[0].person, &dead[0].why), (&Some(person("ada")), &format!("no {}", dead[0].id)));
    assert!(store.dead(None, 2).await.unwrap() == dead[..2]);
    assert!(store.dead(Some(dead[1].id), 2).await.unwrap() == dead[2..]);
    assert!(store.dead(Some(u64::MAX), 2).await.unwrap().is_empty());

    assert!(!store.revive(dead[2].id + 1, NOW).await.unwrap());
    assert!(store.revive(dead[0].id, NOW).await.unwrap());
    assert!(!store.revive(dead[0].id, NOW).await.unwrap(), "it lives already");
    assert!(store.revive(dead[1].id, NOW).await.unwrap(), "the revived hold nothing");
    let due = letters(store, "left", NOW).await;
    assert_eq!((names(&due), due[0].attempts), (vec!["ada-1".into(), "ada-2".into()], 0));
    assert_eq!(due[0].body(), dead[0].body);
    store.announce(&[about("ada", 4, &["left"])]).await.unwrap();
    assert_eq!(letters(store, "left", NOW).await.len(), 3);
    // A dead delivery cannot be settled.
    store.settle(dead[2].id, Delivered::Done, NOW).await.unwrap();
    assert!(store.dead(None, 10).await.unwrap() == dead[2..]);
}

async fn what_is_on_its_way_and_what_died_is_counted_for_each_endpoint(store: &impl Webhooks) {
    assert_eq!(store.queued().await.unwrap(), []);
    let both = &["left", "right"];
    store
        .announce(&[about("ada", 1, both), about("ada", 2, both), about("bob", 3, &["left"])])
        .await
        .unwrap();
    let first = letters(store, "left", after(9)).await.remove(0);
    store.settle(first.id, Delivered::Dead { why: "no".into() }, after(9)).await.unwrap();
    let counted = async || {
        let mut queued = store.queued().await.unwrap();
        queued.sort_by(|a, b| a.0.cmp(&b.0));
        queued
            .into_iter()
            .map(|(endpoint, Queued { pending, dead })| (endpoint, pending, dead))
            .collect::<Vec<_>>()
    };
    // Those that wait for another one are on their way, too.
    assert_eq!(counted().await, [("left".into(), 2, 1), ("right".into(), 2, 0)]);
    store.disable("left", "gone", after(9)).await.unwrap();
    drain(store, "right").await;
    assert_eq!(counted().await, [("left".into(), 0, 3)]);
    assert!(store.revive(first.id, after(9)).await.unwrap());
    assert_eq!(counted().await, [("left".into(), 1, 2)]);
}

async fn a_disabled_endpoint_gets_nothing_until_it_is_enabled(store: &impl Webhooks) {
    let both = &["left", "right"];
    store.announce(&[about("ada", 1, both), about("ada", 2, both)]).await.unwrap();
    assert!(!store.enable("left").await.unwrap());
    store.disable("left", "gone", after(5)).await.unwrap();
    store.disable("left", "gone again", after(6)).await.unwrap();
    assert_eq!(store.disabled().await.unwrap(), [("left".to_owned(), after(5))]);
    let dead = store.dead(None, 10).await.unwrap();
    assert_eq!(dead.iter().map(|letter| &*letter.why).collect::<Vec<_>>(), ["gone", "gone"]);
    store.announce(&[about("ada", 3, both)]).await.unwrap();
    assert_eq!(drain(store, "left").await, Vec::<String>::new());
    assert_eq!(drain(store, "right").await, ["1 of ada-1", "2 of ada-2", "3 of ada-3"]);
    assert!(store.enable("left").await.unwrap());
    assert_eq!(store.disabled().await.unwrap(), []);
    store.announce(&[about("ada", 4, both)]).await.unwrap();
    assert_eq!(drain(store, "left").await, ["3 of ada-4"], "what was never made has no number");
}

async fn messages_are_followed_from_when_it_began<S: Conversations + Webhooks>(store: &S) {
    say(store, "luna", "before").await;
    assert!(store.unannounced(10).await.unwrap().is_empty(), "nothing is followed yet");
    store.follow_messages(true).await.unwrap();
    assert!(store.unannounced(10).await.unwrap().is_empty());
    let second = say(store, "luna", "two").await;
    let third = say(store, "luna", "three").await;
    let other = say(store, "mia", "one").await;
    store.follow_messages(true).await.unwrap();
    let mut rest = store.unannounced(10).await.unwrap();
    rest.sort_by_key(|message| (message.agent.as_str().to_owned(), message.seq));
    assert_eq!(rest.iter().map(|message| &*message.text).collect::<Vec<_>>(), ["two", "three", "one"]);
    assert_eq!(store.unannounced(1).await.unwrap().len(), 1);

    // A hole is told of and not made; the rest of the batch is announced.
    assert!(!store.announce(&[third.clone(), other.clone()]).await.unwrap());
    assert_eq!(store.unannounced(10).await.unwrap().len(), 2);
    assert!(store.announce(&[second.clone(), third.clone()]).await.unwrap());
    assert!(store.unannounced(10).await.unwrap().is_empty());
    assert_eq!(drain(store, "left").await, ["1 of one", "2 of two", "3 of three"]);
    // It is announced once, however often it is tried.
    assert!(store.announce(&[second, third, other]).await.unwrap());
    assert_eq!(drain(store, "left").await, Vec::<String>::new());

    let nobody = Announcement { endpoints: Vec::new(), ..say(store, "luna", "for nobody").await };
    assert!(store.announce(&[nobody]).await.unwrap());
    assert!(store.unannounced(10).await.unwrap().is_empty());

    store.follow_messages(false).await.unwrap();
    say(store, "luna", "unheard").await;
    assert!(store.unannounced(10).await.unwrap().is_empty());
    store.follow_messages(true).await.unwrap();
    assert!(store.unannounced(10).await.unwrap().is_empty());
    say(store, "luna", "heard").await;
    assert_eq!(store.unannounced(10).await.unwrap()[0].text, "heard");
}

async fn who_came_and_did_not_go_is_known(store: &impl Webhooks) {
    let presence =
        |name: &str, number, here| Announcement { about: About::Presence(here), ..about(name, number, &[]) };
    let batch = [presence("eve", 1, true), presence("ada", 2, true), presence("bob", 3, true)];
    store.announce(&batch).await.unwrap();
    store.announce(&[presence("eve", 4, false), presence("ada", 5, true)]).await.unwrap();
    let (ada, bob) = (person("ada"), person("bob"));
    assert_eq!(store.announced_present(None, 10).await.unwrap(), [ada.clone(), bob.clone()]);
    assert_eq!(store.announced_present(None, 1).await.unwrap(), std::slice::from_ref(&ada));
    assert_eq!(store.announced_present(Some(&ada), 10).await.unwrap(), std::slice::from_ref(&bob));
    assert_eq!(store.announced_present(Some(&bob), 10).await.unwrap(), []);
}

async fn what_is_too_old_is_given_up_and_then_forgotten(store: &impl Webhooks) {
    let batch = [about("ada", 1, &["left"]), about("ada", 2, &["left"]), about("bob", 1, &["left"])];
    store.announce(&batch).await.unwrap();
    let never = Timestamp(i64::MIN);
    assert_eq!(store.sweep(batch[0].at, never, NOW).await.unwrap(), (0, 0));
    assert_eq!(store.sweep(batch[1].at, never, NOW).await.unwrap(), (2, 0));
    let dead = store.dead(None, 10).await.unwrap();
    assert_eq!(dead.iter().map(|letter| &*letter.announcement).collect::<Vec<_>>(), ["ada-1", "bob-1"]);
    assert!(dead.iter().all(|letter| letter.died_at == NOW && !letter.why.is_empty()));
    assert_eq!(store.sweep(never, NOW, after(1)).await.unwrap(), (0, 0));
    assert_eq!(store.sweep(never, after(1), after(1)).await.unwrap(), (0, 2));
    assert!(store.dead(None, 10).await.unwrap().is_empty());
    assert_eq!(drain(store, "left").await, ["2 of ada-2"], "what waited for it goes on");
}

/// Everything that is on its way to `endpoint`, delivered one after the other.
async fn drain(store: &impl Webhooks, endpoint: &str) -> Vec<String> {
    let mut delivered = Vec::new();
    loop {
        let letters = letters(store, endpoint, after(10_000)).await;
        if letters.is_empty() {
            // Of one person in the order of numbers; which person comes first is not said.
            return sorted(delivered);
        }
        for letter in letters {
            store.settle(letter.id, Delivered::Done, after(10_000)).await.expect("the store works");
            delivered.push(letter);
        }
    }
}

fn sorted(mut delivered: Vec<Letter>) -> Vec<String> {
    let text = |letter: &Letter| format!("{} of {}", letter.sequence, letter.announcement);
    delivered.sort_by_key(|letter| letter.id);
    delivered.iter().map(text).collect()
}

async fn letters(store: &impl Webhooks, endpoint: &str, now: Timestamp) -> Vec<Letter> {
    store.due(endpoint, now, 100).await.expect("the store works").letters
}

fn names(letters: &[Letter]) -> Vec<String> {
    letters.iter().map(|letter| letter.announcement.clone()).collect()
}

fn about(name: &str, number: i64, endpoints: &[&str]) -> Announcement {
    let id = format!("{name}-{number}");
    Announcement {
        payload: format!(r#"{{"of":"{id}""#),
        id,
        kind: "test",
        person: Some(person(name)),
        at: Timestamp(number),
        endpoints: endpoints.iter().map(|endpoint| (*endpoint).to_owned()).collect(),
        about: About::Nothing,
    }
}

/// Ada says `text` to `agent`; what is to be announced about it.
async fn say(store: &impl Conversations, agent: &str, text: &str) -> Announcement {
    let (agent, person) = (AgentId::parse(agent).expect("a valid id"), person("ada"));
    let conversation = ConversationId::direct(&agent, &person);
    let message = NewMessage {
        id: MessageId::random(),
        conversation,
        agent,
        person,
        author: Party::Person,
        text: text.into(),
        at: NOW,
        quota: None,
        moves: None,
        once: None,
        charge: None,
    };
    let appended = store.append(message, Box::new(|_, _, _| ())).await.expect("the store works");
    let crate::ports::Appended::Stored { message, .. } = appended else { panic!("there is no quota") };
    Announcement {
        id: text.into(),
        about: About::Message(conversation, message.seq),
        ..about("ada", 1, &["left"])
    }
}

fn person(name: &str) -> PersonId {
    PersonId::parse(name).expect("a valid id")
}

fn after(milliseconds: i64) -> Timestamp {
    Timestamp(NOW.0 + milliseconds)
}

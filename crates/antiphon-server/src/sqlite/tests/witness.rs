//! What does whoever hears of commits beforehand get to hear, and when?

use std::path::PathBuf;

use antiphon_core::aftermath::Aftermath;
use antiphon_core::app::Retold;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ports::{Charge, Mark, RequestKey, Tasks, Untold, Wallets, Workers};
use antiphon_core::tasks::{Step, Task};
use antiphon_core::wallet::{Entry, NewEntry, Reason};

use super::damage::copy;
use super::work::{new_task, put_agent};
use super::*;
use crate::sqlite::Witness;

/// What happened, in order: what the witness heard, with how many messages and entries others could see then, and what callbacks told.
#[derive(Clone)]
struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
    database: PathBuf,
}

impl Journal {
    fn of(store: &SqliteStore, directory: &TempDir) -> Self {
        let journal = Self { lines: Arc::default(), database: directory.path().join("antiphon.db") };
        store.set_witness(Arc::new(journal.clone()));
        journal
    }

    fn write(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.lines.lock().unwrap())
    }

    fn posted(&self) -> Committed {
        let journal = self.clone();
        Box::new(move |message, _, _| journal.write(format!("posted {}", message.text)))
    }
}

impl Witness for Journal {
    fn commits(&self, untold: &[Untold]) {
        let others = Connection::open(&self.database).unwrap();
        let stored = "SELECT (SELECT count(*) FROM messages) + (SELECT count(*) FROM ledger)";
        let stored: i64 = others.query_row(stored, [], |row| row.get(0)).unwrap();
        let named = untold.iter().map(|untold| match untold {
            Untold::Message { seq, .. } => format!("message {seq}"),
            Untold::Entry { person, position } => format!("entry {position} of {person}"),
            Untold::Other => "other".into(),
        });
        self.write(format!("{} after {stored}", named.collect::<Vec<_>>().join(", ")));
    }

    fn told(&self) {
        self.write("told".into());
    }
}

fn grant(key: &str) -> NewEntry {
    let person = PersonId::parse("ada").unwrap();
    NewEntry { person, tokens: 100, reason: Reason::Grant, key: Some(key.into()), at: Timestamp(1) }
}

#[tokio::test]
async fn it_hears_the_whole_commit_before_anybody_sees_it_and_its_end_after_everybody_was_told() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    store.put_person(&person("ada")).await.unwrap();
    let journal = Journal::of(&store, &directory);
    store.append(message("first"), journal.posted()).await.unwrap();
    assert_eq!(journal.take(), ["message 1 after 0", "posted first", "told"]);

    let booked = journal.clone();
    let booked = Box::new(move |entry: &Entry| {
        booked.write(format!("booked {}", entry.position));
    });
    store.book(grant("a"), booked).await.unwrap();
    assert_eq!(journal.take(), ["entry 1 of ada after 1", "booked 1", "told"]);

    let hold = Hold::begin(&store).await;
    let mut answers = Vec::new();
    for text in ["second", "third"] {
        let (store_too, posted) = (Arc::clone(&store), journal.posted());
        let paid = NewMessage { charge: Some(Charge::Take(10)), ..message(text) };
        let waiting = store.counts().waiting;
        answers.push(tokio::spawn(async move { store_too.append(paid, posted).await }));
        while store.counts().waiting <= waiting {
            yield_now().await;
        }
    }
    hold.release().await.unwrap();
    for answer in answers {
        answer.await.unwrap().unwrap();
    }
    let expected = [
        "entry 2 of ada, message 2, entry 3 of ada, message 3 after 2",
        "posted second",
        "posted third",
        "told",
    ];
    assert_eq!(journal.take(), expected);

    let refunded = journal.clone();
    let charged = store.open_charges(1).await.unwrap()[0];
    let refund = Box::new(move |entry: &Entry| {
        refunded.write(format!("refunded {}", entry.position));
    });
    store.refund(charged, Timestamp(2), refund).await.unwrap();
    assert_eq!(journal.take(), ["entry 4 of ada after 6", "refunded 4", "told"]);
}

#[tokio::test]
async fn it_hears_that_something_is_told_of_tasks_and_agents() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    put_agent(&store, "luna").await;
    let journal = Journal::of(&store, &directory);
    let luna = AgentId::parse("luna").unwrap();
    let told = |word: &'static str| {
        let journal = journal.clone();
        Box::new(move |_: &Task| journal.write(word.into()))
    };
    let task = store.put_task(&new_task("sum"), told("created")).await.unwrap();
    assert_eq!(journal.take(), ["other after 0", "created", "told"]);
    store.claim_task(&luna, None, Timestamp(2), told("claimed")).await.unwrap();
    assert_eq!(journal.take(), ["other after 0", "claimed", "told"]);
    let start = Step::Start(luna.clone());
    for _ in 0..2 {
        store.step_task(task.id, &start, Timestamp(3), told("started")).await.unwrap();
    }
    assert_eq!(journal.take(), ["other after 0", "started", "told"], "once, though asked for twice");
    let heard = journal.clone();
    let heard = Box::new(move |_: &antiphon_core::workers::Moved| heard.write("heard".into()));
    let beat = antiphon_core::workers::Sign::Heartbeat(None);
    store.move_worker(&luna, &beat, Timestamp(4), heard).await.unwrap();
    assert_eq!(journal.take(), ["other after 0", "heard", "told"]);
    store.claim_task(&luna, None, Timestamp(5), told("claimed")).await.unwrap();
    assert_eq!(journal.take(), [""; 0], "there was no task to claim");
}

#[tokio::test]
async fn of_a_commit_that_tells_nothing_it_hears_nothing() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    store.put_person(&person("ada")).await.unwrap();
    let key = RequestKey { principal: "person:ada".into(), key: "k".into() };
    let once = NewMessage { once: Some(key), ..message("once") };
    append(&store, once.clone()).await.unwrap();
    store.book(grant("a"), Box::new(|_| ())).await.unwrap();
    let journal = Journal::of(&store, &directory);

    store.put_person(&person("bob")).await.unwrap();
    store.append(NewMessage { id: MessageId::random(), ..once.clone() }, journal.posted()).await.unwrap();
    let reused = NewMessage { id: MessageId::random(), text: "other".into(), ..once.clone() };
    store.append(reused, journal.posted()).await.unwrap();
    let quota = Some(Quota { month: 1, limit: Some(0) });
    store.append(NewMessage { quota, ..message("too many") }, journal.posted()).await.unwrap();
    let dear = NewMessage { charge: Some(Charge::Take(1_000)), ..message("too dear") };
    store.append(dear, journal.posted()).await.unwrap();
    assert!(
        store.append(NewMessage { once: None, ..once }, journal.posted()).await.is_err(),
        "its id is taken"
    );
    store.book(grant("a"), Box::new(|_| ())).await.unwrap();
    store.refund(MessageId::random(), Timestamp(2), Box::new(|_| ())).await.unwrap();
    let stood = journal.clone();
    let told = Box::new(move |_: &antiphon_core::wallet::Balance| stood.write("stands".into()));
    store.tell(&PersonId::parse("ada").unwrap(), told).await.unwrap();
    assert_eq!(journal.take(), ["stands"]);
}

#[tokio::test]
async fn a_commit_that_fails_leaves_nothing_to_be_told() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let journal = Journal::of(&store, &directory);
    let hold = Hold::begin(&store).await;
    let one = queue(&store, [message("one")]).await.pop().unwrap();
    // A reference that leads nowhere and is only looked at by the commit.
    let dangling = spawn_write(&store, |connection| {
        connection.pragma_update(None, "defer_foreign_keys", true)?;
        connection.execute(
            "INSERT INTO api_keys (hash, id, person, created_at) VALUES (x'00', 'stray', 'nobody', 0)",
            [],
        )
    });
    while store.counts().waiting < 2 {
        yield_now().await;
    }
    assert!(hold.release().await.is_err());
    assert!(one.await.unwrap().is_err() && dangling.await.unwrap().is_err());
    assert_eq!(journal.take(), ["message 1 after 0", "told"]);
    // One that fails before its commit was not going to tell anything.
    let hold = Hold::begin(&store).await;
    let two = queue(&store, [message("two")]).await.pop().unwrap();
    let broken = spawn_write(&store, |_| {
        Err::<(), _>(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None))
    });
    while store.counts().waiting < 2 {
        yield_now().await;
    }
    assert!(hold.release().await.is_err());
    assert!(two.await.unwrap().is_err() && broken.await.unwrap().is_err());
    assert_eq!(journal.take(), [""; 0]);
    store.append(message("three"), journal.posted()).await.unwrap();
    assert_eq!(journal.take(), ["message 1 after 0", "posted three", "told"]);
}

#[tokio::test]
async fn a_callback_or_a_witness_that_panics_does_no_harm() {
    struct Fragile(Journal);
    impl Witness for Fragile {
        fn commits(&self, untold: &[Untold]) {
            self.0.commits(untold);
            panic!("this panic is part of the test");
        }
        fn told(&self) {
            self.0.told();
            panic!("this panic is part of the test");
        }
    }
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let journal = Journal { lines: Arc::default(), database: directory.path().join("antiphon.db") };
    store.set_witness(Arc::new(Fragile(journal.clone())));
    let panics: Committed = Box::new(|_, _, _| panic!("this panic is part of the test"));
    assert_eq!(seq(store.append(message("one"), panics).await), 1);
    assert_eq!(seq(store.append(message("two"), journal.posted()).await), 2);
    let expected = ["message 1 after 0", "told", "message 2 after 1", "posted two", "told"];
    assert_eq!(journal.take(), expected);
}

/// Keeps what a kill right before a commit would leave: the directory, and what was untold.
struct Before {
    directory: PathBuf,
    left: Mutex<Option<(TempDir, Vec<Untold>)>>,
}

impl Witness for Before {
    fn commits(&self, untold: &[Untold]) {
        *self.left.lock().unwrap() = Some((copy(&self.directory), untold.to_vec()));
    }

    fn told(&self) {}
}

/// What is published, in a few words.
#[derive(Default)]
struct Ear(Mutex<Vec<String>>);

impl Listener for Ear {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        let words = match &envelope.event {
            Event::BalanceChanged(entry) => format!("balance {}", entry.balance),
            Event::MessagePosted(message) => format!("posted {}", message.text),
            Event::RelationChanged { .. } => "felt".into(),
            Event::ReplyFailed(_) => "failed".into(),
            other => format!("{other:?}"),
        };
        self.0.lock().unwrap().push(words);
    }
}

#[tokio::test]
async fn a_kill_before_the_commit_leaves_nothing_to_tell_and_one_after_it_everything() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    store.put_person(&person("ada")).await.unwrap();
    store.book(grant("a"), Box::new(|_| ())).await.unwrap();
    let before = Arc::new(Before { directory: directory.path().into(), left: Mutex::default() });
    store.set_witness(before.clone());
    let (path, (keep, after)) = (directory.path().to_owned(), mpsc::channel());
    let killed: Committed = Box::new(move |_, _, _| keep.send(copy(&path)).unwrap());
    store.append(NewMessage { charge: Some(Charge::Take(10)), ..message("hola") }, killed).await.unwrap();
    let (before, untold) = before.left.lock().unwrap().take().unwrap();
    let after = after.recv().unwrap();

    let nothing: &[&str] = &[];
    let everything: &[&str] = &["balance 90", "posted hola", "felt", "failed", "balance 100"];
    for (left, expected) in [(before, nothing), (after, everything)] {
        let ear = Arc::new(Ear::default());
        let app = core_on(open(left.path(), patient()), ear.clone());
        let retold = app.retell(Aftermath::new(untold.clone(), [], [])).await.unwrap();
        app.recover().await.unwrap();
        let all = Retold { messages: 1, entries: 1, failed: 1, ..Retold::default() };
        assert_eq!(retold, if expected.is_empty() { Retold::default() } else { all });
        assert_eq!(*ear.0.lock().unwrap(), expected);
    }
}

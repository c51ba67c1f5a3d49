//! Does the SQLite store keep the contract, and what was stored, through everything that can happen to a file?

mod credentials;
mod damage;
mod full;
mod inspection;
mod wallets;
mod witness;
mod work;

use std::cell::RefCell;
use std::error::Error as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use antiphon_core::actor::{ApiKey, Holder, Person, Plan, SecretHash};
use antiphon_core::agents::RelationDelta;
use antiphon_core::app::{App, Ports};
use antiphon_core::contract;
use antiphon_core::conversation::Party;
use antiphon_core::ids::{AgentId, ConversationId, KeyId, MessageId, PersonId, Timestamp};
use antiphon_core::memory::{ManualClock, MemoryBus, MemoryLeases, NoChain, RecordingAudience};
use antiphon_core::ports::{
    Appended, Bus as _, Committed, Conversations, Keys, Listener, NewMessage, People, Quota,
};
use antiphon_core::refusal::{Code, Fault};
use futures_util::future::join_all;
use rusqlite::{Connection, ErrorCode, ffi};
use tempfile::TempDir;
use tokio::task::{JoinHandle, yield_now};

use super::health::Condition;
use super::{Settings, SqliteStore, Synchronous};
use crate::models;

#[tokio::test]
async fn it_keeps_the_contract() {
    let directories = RefCell::new(Vec::new());
    contract::store(async || {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path(), patient());
        directories.borrow_mut().push(directory);
        store as _
    })
    .await;
}

#[tokio::test]
async fn it_keeps_the_contract_with_one_place_in_its_queue_and_one_write_per_commit() {
    let directories = RefCell::new(Vec::new());
    contract::store(async || {
        let directory = TempDir::new().unwrap();
        let tight = Settings {
            synchronous: Synchronous::Normal,
            readers: 0,
            queue: 0,
            batch_writes: 0,
            batch_time: Duration::ZERO,
            ..Settings::default()
        };
        let store = open(directory.path(), tight);
        directories.borrow_mut().push(directory);
        store as _
    })
    .await;
}

#[tokio::test]
async fn everything_is_found_again_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let (ada, key) = (person("ada"), SecretHash([7; 32]));
    let store = open(directory.path(), patient());
    store.put_person(&ada).await.unwrap();
    let api_key = ApiKey {
        id: KeyId::parse("cda_0f3a9c12").unwrap(),
        hash: key,
        holder: Holder::Person(ada.id.clone()),
        dialects: Some(vec!["chat".into()]),
        plan: None,
        created_at: Timestamp(1),
        expires_at: None,
        revoked_at: None,
    };
    store.put_key(&api_key).await.unwrap();
    let moves = Some(RelationDelta { trust: 0.25, ..RelationDelta::default() });
    let quota = Some(Quota { month: 3, limit: Some(10) });
    let stored = append(&store, NewMessage { moves, quota, ..message("a\0b 👩‍👩‍👧‍👦") }).await.unwrap();
    drop(store);

    let store = open(directory.path(), patient());
    assert_eq!(store.person(&ada.id).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.key(&key).await.unwrap(), Some(api_key));
    assert_eq!(store.messages_sent(&ada.id, 3).await.unwrap(), 1);
    let Appended::Stored { message: first, relation, .. } = stored else {
        panic!("{stored:?} is not stored")
    };
    assert_eq!(store.recent(first.conversation, 10).await.unwrap(), [first]);
    let Appended::Stored { message: second, relation: later, .. } =
        append(&store, message("next")).await.unwrap()
    else {
        panic!("there is no limit")
    };
    assert_eq!((second.seq, later), (2, relation), "positions and feelings go on where they were");
}

#[tokio::test]
async fn sixty_four_writes_that_wait_share_one_commit() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let hold = Hold::begin(&store).await;
    let before = store.counts();
    let appends = queue(&store, (0..64).map(|number| message(&number.to_string()))).await;
    hold.release().await.unwrap();
    for (number, append) in appends.into_iter().enumerate() {
        assert_eq!(seq(append.await.unwrap()), number as u64 + 1, "in the order of the queue");
    }
    let after = store.counts();
    // The write that held the others back is one of them.
    assert_eq!((after.commits - before.commits, after.writes - before.writes), (1, 65));
    assert_eq!((after.failures, after.waiting), (0, 0));
}

#[tokio::test]
async fn more_callers_than_places_wait_for_one() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), Settings { queue: 2, ..patient() });
    let answers = join_all((0..50).map(|number| append(&store, message(&number.to_string())))).await;
    let mut positions: Vec<_> = answers.into_iter().map(seq).collect();
    positions.sort_unstable();
    assert_eq!(positions, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_write_that_fails_takes_nothing_back_from_its_neighbours() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let (first, last) = (message("first"), message("last"));
    let again = NewMessage { text: "again".into(), ..first.clone() };
    let hold = Hold::begin(&store).await;
    let before = store.counts().commits;
    let answers = queue(&store, [first, again, last]).await;
    hold.release().await.unwrap();
    let answers: Vec<_> = join_all(answers).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(store.counts().commits - before, 1, "they were neighbours");
    let [first, again, last] = answers.try_into().unwrap();
    assert_eq!(code(&again.unwrap_err()), Some(ErrorCode::ConstraintViolation));
    assert_eq!((seq(first), seq(last)), (1, 2));
}

#[tokio::test]
async fn a_commit_that_fails_stores_nothing_and_tells_everybody() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    assert_eq!(seq(append(&store, message("before")).await), 1);
    let told = Told::default();

    let hold = Hold::begin(&store).await;
    let one = queue_told(&store, message("one"), &told).await;
    // A reference that leads nowhere and is only looked at by the commit.
    let dangling = spawn_write(&store, |connection| {
        connection.pragma_update(None, "defer_foreign_keys", true)?;
        connection.execute(
            "INSERT INTO api_keys (hash, id, person, created_at) VALUES (x'00', 'stray', 'nobody', 0)",
            [],
        )?;
        Ok(())
    });
    while store.counts().waiting < 2 {
        yield_now().await;
    }
    let two = queue_told(&store, message("two"), &told).await;
    assert!(hold.release().await.is_err(), "it was in the same commit");
    assert_eq!(code(&one.await.unwrap().unwrap_err()), Some(ErrorCode::ConstraintViolation));
    assert_eq!(code(&dangling.await.unwrap().unwrap_err()), Some(ErrorCode::ConstraintViolation));
    assert_eq!(code(&two.await.unwrap().unwrap_err()), Some(ErrorCode::ConstraintViolation));

    assert_eq!(told.texts(), [""; 0], "nobody hears of what is not stored");
    assert_eq!(texts(&store).await, ["before"]);
    assert_eq!(store.counts().failures, 4);
    assert_eq!(seq(append(&store, message("after")).await), 2, "and the thread goes on");
}

#[tokio::test]
async fn a_full_disk_is_a_fault_until_there_is_space_again() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    assert_eq!(seq(append(&store, message("before")).await), 1);
    set_page_limit(&store, |pages| pages + 8).await;

    let told = Told::default();
    let large = "x".repeat(10_000);
    let mut stored = 1;
    let fault = loop {
        match store.append(message(&large), told.committed()).await {
            Ok(appended) => {
                stored += 1;
                assert_eq!(seq(Ok(appended)), stored);
                assert!(stored < 100, "ten pages do not hold a megabyte");
            }
            Err(fault) => break fault,
        }
    };
    assert_eq!(code(&fault), Some(ErrorCode::DiskFull));
    assert!(fault.refusal().message.starts_with("The disk of this server is full"), "{fault:?}");
    assert_eq!(store.health().unready(), None, "another server would have no more room");
    assert!(store.append(message(&large), told.committed()).await.is_err(), "it is still full");
    assert_eq!(told.texts().len() as u64, stored - 1, "nobody hears of what is not stored");
    assert_eq!(texts(&store).await.len() as u64, stored, "what was answered is there, and reads go on");

    set_page_limit(&store, |pages| pages + 1_000).await;
    assert_eq!(seq(append(&store, message(&large)).await), stored + 1);
}

#[tokio::test]
async fn a_disk_that_fills_up_fails_one_commit_and_not_the_next() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    set_page_limit(&store, |pages| pages + 8).await;
    let hold = Hold::begin(&store).await;
    let large = message(&"x".repeat(1_000_000));
    let answers = queue(&store, [message("same commit"), large, message("next commit")]).await;
    // SQLite takes the whole transaction back when there is no room for one of its statements.
    assert_eq!(code(&hold.release().await.unwrap_err()), Some(ErrorCode::DiskFull));
    let answers: Vec<_> = join_all(answers).await.into_iter().map(Result::unwrap).collect();
    let [same, large, next] = answers.try_into().unwrap();
    assert_eq!(code(&same.unwrap_err()), Some(ErrorCode::DiskFull));
    assert_eq!(code(&large.unwrap_err()), Some(ErrorCode::DiskFull));
    assert_eq!(seq(next), 1);
    assert_eq!(texts(&store).await, ["next commit"]);
}

#[tokio::test]
async fn a_locked_database_is_a_fault_until_it_is_free() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), impatient());
    let stranger = stranger(&directory);
    stranger.execute_batch("BEGIN IMMEDIATE").unwrap();

    let told = Told::default();
    let waiting = (0..5).map(|_| store.append(message("locked out"), told.committed()));
    for answer in join_all(waiting).await {
        assert_eq!(code(&answer.unwrap_err()), Some(ErrorCode::DatabaseBusy));
    }
    assert_eq!(told.texts(), [""; 0]);
    assert_eq!(texts(&store).await, [""; 0], "reads go on meanwhile");

    stranger.execute_batch("ROLLBACK").unwrap();
    assert_eq!(seq(append(&store, message("free")).await), 1);
}

#[tokio::test]
async fn after_the_disk_failed_nothing_is_stored_until_the_log_is_safe_in_the_database() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), impatient());
    assert_eq!(seq(append(&store, message("before")).await), 1);
    store
        .write("marking the connection", |connection| connection.execute_batch("CREATE TEMP TABLE mark (x)"))
        .await
        .unwrap();

    let hold = Hold::begin(&store).await;
    let neighbour = queue(&store, [message("neighbour")]).await.pop().unwrap();
    let broken = spawn_write(&store, |_| {
        Err::<(), _>(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None))
    });
    while store.counts().waiting < 2 {
        yield_now().await;
    }
    // Somebody who reads an old state keeps the log from being written back completely.
    let stranger = stranger(&directory);
    stranger.execute_batch("BEGIN; SELECT count(*) FROM messages").unwrap();
    assert!(hold.release().await.is_err(), "it was in the same commit");
    assert_eq!(code(&neighbour.await.unwrap().unwrap_err()), Some(ErrorCode::SystemIoFailure));
    assert_eq!(code(&broken.await.unwrap().unwrap_err()), Some(ErrorCode::SystemIoFailure));
    let refused = append(&store, message("too early")).await.unwrap_err().refusal();
    assert!(matches!(refused.code, Code::Unavailable { .. }), "{refused:?}");
    assert!(refused.message.starts_with("The disk of this server has failed"), "{refused:?}");
    assert!(store.health().unready().is_some());
    assert_eq!(texts(&store).await, ["before"], "reads go on");

    drop(stranger);
    while store.health().condition() != Condition::Sound {
        store.writer.prober().probe();
        yield_now().await;
    }
    assert_eq!(store.health().unready(), None);
    assert_eq!(seq(append(&store, message("after")).await), 2);
    assert_eq!(texts(&store).await, ["before", "after"]);
    let marked = store.write("looking", |connection| connection.table_exists(Some("temp"), "mark")).await;
    assert!(!marked.unwrap(), "the connection that had failed is not used any more");
}

#[tokio::test]
async fn a_listener_that_panics_does_no_harm() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let panics: Committed = Box::new(|_, _, _| panic!("this panic is part of the test"));
    let stored = store.append(message("one"), panics).await;
    assert_eq!(seq(stored), 1);
    assert_eq!(seq(append(&store, message("two")).await), 2);
}

#[tokio::test]
async fn when_the_writing_thread_is_gone_everybody_is_told() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let hold = Hold::begin(&store).await;
    let dies = spawn_write(&store, |_| -> rusqlite::Result<()> { panic!("this panic is part of the test") });
    while store.counts().waiting < 1 {
        yield_now().await;
    }
    let waits = queue(&store, [message("behind it")]).await.pop().unwrap();
    assert!(hold.release().await.is_err(), "its commit never came");
    assert!(dies.await.unwrap().is_err());
    assert!(waits.await.unwrap().is_err());
    assert!(append(&store, message("later")).await.is_err());
    assert_eq!(texts(&store).await, [""; 0], "reads go on");
    assert!(store.close().await.is_err());
}

#[tokio::test]
async fn closing_finishes_what_is_queued_and_leaves_one_file_with_everything() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let hold = Hold::begin(&store).await;
    let appends = queue(&store, (0..10).map(|number| message(&number.to_string()))).await;
    let closing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.close().await }
    });
    hold.release().await.unwrap();
    closing.await.unwrap().unwrap();
    assert!(join_all(appends).await.into_iter().all(|answer| answer.unwrap().is_ok()));

    assert!(append(&store, message("too late")).await.is_err());
    assert!(store.recent(message("").conversation, 1).await.is_err());
    store.close().await.unwrap();
    let mut files: Vec<_> = fs::read_dir(&directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    assert_eq!(files, ["antiphon.db", "antiphon.lock"], "the log is folded into the database");
    // The directory is free, although the closed store still lives.
    assert_eq!(texts(&open(directory.path(), patient())).await.len(), 10);
}

#[tokio::test]
async fn a_write_happens_even_if_its_caller_goes_away() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let told = Told::default();
    let hold = Hold::begin(&store).await;
    let append = queue_told(&store, message("said"), &told).await;
    append.abort();
    assert!(append.await.unwrap_err().is_cancelled());
    hold.release().await.unwrap();
    assert_eq!(texts(&store).await, ["said"]);
    assert_eq!(told.texts(), ["said"]);
}

#[tokio::test]
async fn the_last_handle_may_be_dropped_by_the_writing_thread() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let (dropped, is_dropped) = tokio::sync::oneshot::channel();
    let last = Arc::clone(&store);
    let hold = Hold::begin(&store).await;
    let mut append = store.append(
        message("last words"),
        Box::new(move |_, _, _| {
            drop(last);
            dropped.send(()).unwrap();
        }),
    );
    // Queued, then forgotten together with every other handle.
    assert!(append.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(append);
    hold.held.abort();
    assert!(hold.held.await.unwrap_err().is_cancelled());
    assert_eq!(Arc::strong_count(&store), 2, "ours, and the one that waits in the queue");
    drop(store);
    drop(hold.release);
    is_dropped.await.unwrap();
    // The thread lets go of the directory soon after.
    let store = loop {
        match SqliteStore::open(directory.path(), patient()) {
            Ok(store) => break Arc::new(store),
            Err(_) => yield_now().await,
        }
    };
    assert_eq!(texts(&store).await, ["last words"]);
}

#[tokio::test]
async fn a_directory_belongs_to_one_server() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let refused = SqliteStore::open(directory.path(), patient()).err().unwrap().to_string();
    assert!(refused.contains(&directory.path().display().to_string()), "{refused}");
    assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
    assert!(refused.contains("in use by another Antiphon"), "{refused}");
    assert_eq!(seq(append(&store, message("undisturbed")).await), 1);
    drop(store);
    assert_eq!(texts(&open(directory.path(), patient())).await, ["undisturbed"]);
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path(), patient()));
    let stranger = stranger(&directory);
    let known = super::directory::SCHEMA;
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (?1, 'later', '2030-01-01T00:00:00Z', '1')";
    stranger.execute(newer, [known + 1]).unwrap();
    let refused = SqliteStore::open(directory.path(), patient()).err().unwrap().to_string();
    let expected =
        format!("written by a newer Antiphon: its schema is {}, this one knows {known}", known + 1);
    assert!(refused.contains(&expected), "{refused}");
    assert!(refused.contains("antiphon.db"), "{refused}");

    stranger.execute("DELETE FROM refinery_schema_history WHERE version = ?1", [known + 1]).unwrap();
    assert!(SqliteStore::open(directory.path(), patient()).is_ok());
}

#[test]
fn a_file_that_is_no_database_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("antiphon.db");
    let text = "This is not a database. ".repeat(100);
    fs::write(&file, &text).unwrap();
    let refused = SqliteStore::open(directory.path(), patient()).err().unwrap();
    assert!(refused.to_string().contains(&file.display().to_string()), "{refused}");
    assert_eq!(code(&refused), Some(ErrorCode::NotADatabase));
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn files_are_private_to_the_server() {
    let parent = TempDir::new().unwrap();
    let directory = parent.path().join("var/antiphon");
    let _store = open(&directory, patient());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    for file in ["antiphon.db", "antiphon.db-wal", "antiphon.db-shm", "antiphon.lock"] {
        assert_eq!(mode(&directory.join(file)), 0o600, "{file}");
    }
}

#[tokio::test]
async fn the_writer_is_as_durable_as_it_was_told() {
    for (synchronous, expected) in [(Synchronous::Full, 2), (Synchronous::Normal, 1)] {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path(), Settings { synchronous, ..patient() });
        let pragma = async |name: &'static str| {
            let read =
                move |connection: &Connection| connection.pragma_query_value(None, name, |row| row.get(0));
            store.write::<i64>("asking", read).await.unwrap()
        };
        assert_eq!(pragma("synchronous").await, expected);
        assert_eq!(pragma("foreign_keys").await, 1);
        let read =
            |connection: &Connection| connection.pragma_query_value(None, "journal_mode", |row| row.get(0));
        assert_eq!(store.write::<String>("asking", read).await.unwrap(), "wal");
    }
}

#[tokio::test]
async fn readers_cannot_write() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let write = |connection: &Connection| connection.execute("DELETE FROM people", []);
    assert_eq!(code(&store.read("trying", write).await.unwrap_err()), Some(ErrorCode::ReadOnly));
}

#[tokio::test]
async fn a_read_that_finds_damage_gets_a_fresh_connection_for_the_next_one() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), Settings { readers: 1, ..patient() });
    append(&store, message("said")).await.unwrap();
    let damage = |_: &Connection| {
        Err::<(), _>(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_READ), None))
    };
    assert_eq!(code(&store.read("trying", damage).await.unwrap_err()), Some(ErrorCode::SystemIoFailure));
    assert_eq!(texts(&store).await, ["said"]);
}

#[tokio::test]
async fn the_log_is_made_small_once_a_long_reader_is_gone() {
    let directory = TempDir::new().unwrap();
    let limit = 256 * 1024;
    let store = open(directory.path(), Settings { log_limit: limit, ..impatient() });
    let log = directory.path().join("antiphon.db-wal");
    let size = || fs::metadata(&log).unwrap().len();
    append(&store, message("first")).await.unwrap();

    let stranger = stranger(&directory);
    stranger.execute_batch("BEGIN; SELECT count(*) FROM messages").unwrap();
    let large = "x".repeat(30_000);
    while size() <= 2 * limit {
        append(&store, message(&large)).await.unwrap();
    }
    stranger.execute_batch("COMMIT").unwrap();
    let mut appends = 0;
    while size() > limit {
        append(&store, message(&large)).await.unwrap();
        appends += 1;
        assert!(appends < 1_000, "the log has {} bytes and is never made small", size());
    }
    assert_eq!(store.counts().failures, 0);
}

#[tokio::test]
async fn a_number_too_large_for_a_column_is_a_fault() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let plan = Plan {
        name: "endless".into(),
        connections_per_minute: None,
        messages_per_month: Some(u64::MAX),
        agents: None,
    };
    assert!(store.put_plan(&plan).await.is_err());
    assert_eq!(store.plan("endless").await.unwrap(), None);
}

/// Takes everything that waits along, however slow the machine is.
fn patient() -> Settings {
    Settings { batch_time: Duration::from_secs(3_600), ..Settings::default() }
}

/// Does not wait for other processes.
fn impatient() -> Settings {
    Settings { busy_timeout: Duration::from_millis(1), ..patient() }
}

fn open(directory: &Path, settings: Settings) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(directory, settings).unwrap())
}

/// A connection that is not ours.
/// The core on `store`, at noon one day, with everything else in memory; `ear` hears all that it publishes.
fn core_on(store: Arc<SqliteStore>, ear: Arc<dyn Listener>) -> Arc<App> {
    let bus = Arc::new(MemoryBus::new());
    bus.tap(ear);
    let ports = Ports {
        store,
        bus,
        leases: Arc::new(MemoryLeases::new()),
        model: models::build(&crate::config::Config::default().model).unwrap(),
        clock: Arc::new(ManualClock::at(Timestamp(1_772_366_400_000))),
        audience: Arc::new(RecordingAudience::new()),
        chain: Arc::new(NoChain),
    };
    App::new(ports, antiphon_core::app::Settings::default())
}

fn stranger(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join("antiphon.db")).unwrap()
}

fn person(id: &str) -> Person {
    Person {
        id: PersonId::parse(id).unwrap(),
        plan: "free".into(),
        roles: vec!["admin".into()],
        created_at: Timestamp(1),
    }
}

fn message(text: &str) -> NewMessage {
    let (agent, person) = (AgentId::parse("luna").unwrap(), PersonId::parse("ada").unwrap());
    NewMessage {
        id: MessageId::random(),
        conversation: ConversationId::direct(&agent, &person),
        agent,
        person,
        author: Party::Person,
        text: text.into(),
        at: Timestamp(1),
        quota: None,
        moves: None,
        once: None,
        charge: None,
    }
}

async fn append(store: &SqliteStore, message: NewMessage) -> Result<Appended, Fault> {
    store.append(message, Box::new(|_, _, _| ())).await
}

fn seq(appended: Result<Appended, Fault>) -> u64 {
    match appended {
        Ok(Appended::Stored { message, .. }) => message.seq,
        other => panic!("{other:?} is not stored"),
    }
}

async fn texts(store: &SqliteStore) -> Vec<String> {
    let messages = store.history(message("").conversation, 0, u32::MAX).await.unwrap();
    messages.into_iter().map(|message| message.text).collect()
}

/// What `committed` was called with.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn committed(&self) -> Committed {
        let told = Arc::clone(&self.0);
        Box::new(move |message, _, _| told.lock().unwrap().push(message.text.clone()))
    }

    fn texts(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

/// A write that keeps the writing thread busy, so that others queue up behind it.
struct Hold {
    release: mpsc::Sender<()>,
    held: JoinHandle<Result<(), Fault>>,
}

impl Hold {
    async fn begin(store: &Arc<SqliteStore>) -> Self {
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let held = spawn_write(store, move |_| {
            begin.send(()).unwrap();
            // It ends when the sender is dropped.
            let _ = released.recv();
            Ok(())
        });
        begun.await.unwrap();
        Self { release, held }
    }

    async fn release(self) -> Result<(), Fault> {
        drop(self.release);
        self.held.await.unwrap()
    }
}

fn spawn_write<T: Send + 'static>(
    store: &Arc<SqliteStore>,
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> JoinHandle<Result<T, Fault>> {
    let store = Arc::clone(store);
    tokio::spawn(async move { store.write("testing", work).await })
}

/// Queues messages in this order, behind whatever waits already.
async fn queue(
    store: &Arc<SqliteStore>,
    messages: impl IntoIterator<Item = NewMessage>,
) -> Vec<JoinHandle<Result<Appended, Fault>>> {
    let mut answers = Vec::new();
    for message in messages {
        answers.push(queue_told(store, message, &Told::default()).await);
    }
    answers
}

async fn queue_told(
    store: &Arc<SqliteStore>,
    message: NewMessage,
    told: &Told,
) -> JoinHandle<Result<Appended, Fault>> {
    let waiting = store.counts().waiting;
    let (store_too, committed) = (Arc::clone(store), told.committed());
    let answer = tokio::spawn(async move { store_too.append(message, committed).await });
    while store.counts().waiting <= waiting {
        yield_now().await;
    }
    answer
}

async fn set_page_limit(store: &SqliteStore, limit: impl FnOnce(i64) -> i64 + Send + 'static) {
    let work = |connection: &Connection| {
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.pragma_update_and_check(None, "max_page_count", limit(pages), |_| Ok(()))
    };
    store.write("limiting the file", work).await.unwrap();
}

/// What SQLite said, however deep in the fault.
fn code(fault: &Fault) -> Option<ErrorCode> {
    let mut source = fault.source();
    while let Some(error) = source {
        if let Some(error) = error.downcast_ref::<rusqlite::Error>() {
            return error.sqlite_error_code();
        }
        source = error.source();
    }
    None
}

#[test]
fn t31_no_statement_is_put_together_from_text() {
    const VERBS: [&str; 5] = ["prepare(", "prepare_cached(", "execute(", "execute_batch(", "query_row("];
    let mut statements = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sqlite")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|kind| kind != "rs") || path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for argument in VERBS.iter().flat_map(|verb| code.split(verb).skip(1)).map(str::trim_start) {
            statements += 1;
            let line = argument.lines().next().unwrap_or_default();
            // Text that stands there, a constant, or the parameters.
            let is_made_here = argument.starts_with('&') || line.contains("format!");
            assert!(!is_made_here, "{}: {line}", path.display());
        }
        for begin in ["SELECT", "INSERT", "UPDATE", "DELETE", "PRAGMA"] {
            assert!(!code.contains(&format!("format!(\"{begin} ")), "{}: {begin}", path.display());
        }
    }
    assert!(statements > 50, "only {statements}: they are looked for in the wrong way");
}

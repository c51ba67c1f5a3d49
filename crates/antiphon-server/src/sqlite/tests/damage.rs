//! Is a row that the disk has changed ever served? (D-13)
//!
//! `a_damaged_directory_…` breaks a stopped directory at random places, over and over; `DAMAGE_ROUNDS` says how often.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use antiphon_core::conversation::Message;
use antiphon_core::ports::{Booked, Charge, Wallets};
use antiphon_core::wallet::{Balance, Entry, NewEntry, Reason};

use super::super::{checksum, directory};
use super::*;

#[tokio::test]
async fn rows_from_before_there_were_checksums_get_theirs() {
    let directory = TempDir::new().unwrap();
    let mut old = Connection::open(directory.path().join("antiphon.db")).unwrap();
    let migrations = directory::migrations().unwrap();
    let before: Vec<_> = migrations.into_iter().filter(|migration| migration.version() < 8).collect();
    refinery::Runner::new(&before).run(&mut old).unwrap();
    let said = message("said long ago");
    old.execute("INSERT INTO people (id, plan, created_at) VALUES ('ada', 'free', 1)", []).unwrap();
    old.execute("INSERT INTO conversations VALUES (?1, 1)", [said.conversation.0.as_bytes()]).unwrap();
    old.execute(
        "INSERT INTO messages (conversation, seq, id, agent, person, author, text, at)
         VALUES (?1, 1, ?2, 'luna', 'ada', 'person', 'said long ago', 1)",
        [said.conversation.0.as_bytes(), said.id.0.as_bytes()],
    )
    .unwrap();
    old.execute(
        "INSERT INTO ledger VALUES ('ada', 1, 7, 7, 'grant', NULL, 1), ('ada', 2, 1, 8, 'grant', 'k', 2)",
        [],
    )
    .unwrap();
    drop(old);

    let store = open(directory.path(), patient());
    assert_eq!(texts(&store).await, ["said long ago"]);
    let ada = person("ada").id;
    assert_eq!(store.balance(&ada).await.unwrap(), Balance { tokens: 8, position: 2 });
    assert_eq!(store.ledger(&ada, 0, 10).await.unwrap().len(), 2);
    let changed = stranger(&directory).execute("UPDATE ledger SET at = 0", []);
    assert!(changed.is_err(), "a ledger still cannot be changed: {changed:?}");
}

#[tokio::test]
async fn a_message_that_is_not_what_was_written_is_a_fault_that_names_it_and_its_neighbours_are_served() {
    for change in [
        "UPDATE messages SET text = 'saie' WHERE seq = 2",
        "UPDATE messages SET at = at + 1 WHERE seq = 2",
        "UPDATE messages SET author = 'agent' WHERE seq = 2",
        "UPDATE messages SET person = 'adb' WHERE seq = 2",
        "UPDATE messages SET agent = 'lunb' WHERE seq = 2",
        "UPDATE messages SET checksum = checksum + 1 WHERE seq = 2",
        "DELETE FROM messages WHERE seq = 2",
    ] {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path(), patient());
        for text in ["before", "said", "after"] {
            append(&store, message(text)).await.unwrap();
        }
        assert_eq!(stranger(&directory).execute(change, []), Ok(1));
        let conversation = message("").conversation;
        let fault = store.history(conversation, 0, 10).await.unwrap_err();
        let named = format!("messages, conversation {}, position 2", conversation.0);
        assert!(why(&fault).contains(&named), "{change}: {}", why(&fault));
        assert!(store.recent(conversation, 2).await.is_err(), "{change}");
        assert_eq!(store.history(conversation, 2, 10).await.unwrap().len(), 1, "{change}");
        assert_eq!(store.history(conversation, 0, 1).await.unwrap().len(), 1, "{change}");
    }
}

#[tokio::test]
async fn a_conversation_whose_end_is_lost_is_not_continued() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    for text in ["one", "two"] {
        append(&store, message(text)).await.unwrap();
    }
    assert_eq!(stranger(&directory).execute("DELETE FROM messages WHERE seq = 2", []), Ok(1));
    let conversation = message("").conversation;
    for read in [store.history(conversation, 0, 10).await, store.recent(conversation, 1).await] {
        assert!(why(&read.unwrap_err()).contains("position 2: is missing"));
    }
    let fault = append(&store, message("three")).await.unwrap_err();
    assert!(why(&fault).contains("position 2: is missing"), "{}", why(&fault));
    assert!(!fault.is_told(), "the disk works: others go on");
}

#[tokio::test]
async fn a_balance_is_never_that_of_a_damaged_ledger() {
    for change in [
        "UPDATE ledger SET balance = balance + 1, amount = amount + 1 WHERE position = 2",
        "UPDATE ledger SET key = 'b' WHERE position = 2",
        "DELETE FROM ledger WHERE position = 2",
        "DELETE FROM ledger",
    ] {
        let directory = TempDir::new().unwrap();
        let store = open(directory.path(), patient());
        let ada = person("ada");
        store.put_person(&ada).await.unwrap();
        for key in ["k", "l"] {
            book(&store, &ada.id, key).await;
        }
        let stranger = stranger(&directory);
        stranger
            .execute_batch("DROP TRIGGER ledger_is_not_changed; DROP TRIGGER ledger_is_not_shortened")
            .unwrap();
        stranger.execute(change, []).unwrap();
        let fault = store.balance(&ada.id).await.unwrap_err();
        assert!(why(&fault).contains("ledger, of ada, position 2"), "{change}: {}", why(&fault));
        assert!(store.ledger(&ada.id, 0, 10).await.is_err(), "{change}");
        let charged = NewMessage { charge: Some(Charge::Take(1)), ..message("how are you?") };
        assert!(append(&store, charged).await.is_err(), "{change}: nothing is paid from it");
        assert_eq!(seq(append(&store, message("free")).await), 1, "{change}: and nothing else is in the way");
    }
}

#[test]
fn a_directory_that_lost_its_database_is_refused() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("antiphon.db");
    drop(open(directory.path(), patient()));
    for lose in [|file: &Path| fs::write(file, ""), |file: &Path| fs::remove_file(file)] {
        lose(&file).unwrap();
        let refused = SqliteStore::open(directory.path(), patient()).err().unwrap().to_string();
        assert!(refused.contains("antiphon.db is empty or gone"), "{refused}");
    }
}

#[tokio::test]
async fn a_log_that_was_cut_short_is_refused_and_an_unclean_one_recovered() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    for number in 0..5 {
        append(&store, message(&number.to_string())).await.unwrap();
    }
    // As a kill leaves it.
    let image = copy(directory.path());
    assert_eq!(texts(&open(image.path(), patient())).await.len(), 5);

    let image = copy(directory.path());
    let log = OpenOptions::new().write(true).open(image.path().join("antiphon.db-wal")).unwrap();
    log.set_len(log.metadata().unwrap().len() - 1).unwrap();
    let refused = SqliteStore::open(image.path(), patient()).err().unwrap().to_string();
    assert!(refused.contains("antiphon.db-wal is damaged"), "{refused}");
    let normal = Settings { synchronous: Synchronous::Normal, ..patient() };
    assert_eq!(texts(&open(image.path(), normal)).await.len(), 4, "which may happen to those who chose it");
}

#[test]
fn a_log_that_is_another_file_is_refused() {
    let directory = TempDir::new().unwrap();
    drop(open(directory.path(), patient()));
    fs::write(directory.path().join("antiphon.db-wal"), "This is no log. ".repeat(100)).unwrap();
    let refused = SqliteStore::open(directory.path(), patient()).err().unwrap().to_string();
    assert!(refused.contains("it is no write-ahead log"), "{refused}");
}

/// D-13. Every message and every entry is what it was, or an error says that it is not.
#[test]
fn a_damaged_directory_never_serves_a_wrong_value() {
    let rounds = std::env::var("DAMAGE_ROUNDS").map_or(40, |rounds| rounds.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let directory = TempDir::new().unwrap();
    let (truth, killed) = runtime.block_on(async {
        // Half of it is in the database, half in the log.
        let store = open(directory.path(), Settings::default());
        fill(&store, 0..120).await;
        store.close().await.unwrap();
        let store = open(directory.path(), Settings::default());
        fill(&store, 120..160).await;
        (read(&store).await, copy(directory.path()))
    });
    assert!(truth.iter().all(|part| part.is_ok()), "{truth:?}");

    let mut dice = Dice(0x1234_5678_9abc_def1);
    let (mut refused, mut partly, mut harmless) = (0, 0, 0);
    for round in 0..rounds {
        let source = if round % 2 == 0 { directory.path() } else { killed.path() };
        let image = copy(source);
        let what = damage(image.path(), round, &mut dice);
        let store =
            match catch_unwind(AssertUnwindSafe(|| SqliteStore::open(image.path(), Settings::default()))) {
                Ok(Ok(store)) => store,
                Ok(Err(error)) => {
                    assert!(error.to_string().contains("antiphon"), "{what}: {error} names no file");
                    refused += 1;
                    continue;
                }
                Err(_) => panic!("{what}: opening panicked"),
            };
        let found = runtime.block_on(read(&store));
        let mut errors = 0;
        for (found, truth) in found.iter().zip(&truth) {
            match found {
                Ok(found) => assert_eq!(Ok(found), truth.as_ref(), "round {round}, {what}: a wrong value"),
                Err(_) => errors += 1,
            }
        }
        if errors == 0 {
            harmless += 1;
        } else {
            partly += 1;
        }
    }
    report(&format!(
        "D-13: {rounds} rounds: {refused} refused at the start, {partly} with errors instead of what was damaged, \
         {harmless} harmless, 0 wrong values, 0 panics"
    ));
}

fn report(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stdout().lock(), "{line}").unwrap();
}

/// What can be read, piece by piece.
type Found = Vec<Result<Piece, String>>;

#[derive(Debug, PartialEq)]
enum Piece {
    Messages(Vec<Message>),
    Entries(Vec<Entry>),
    Balance(Balance),
}

const PEOPLE: [&str; 3] = ["ada", "bob", "cleo"];

async fn fill(store: &SqliteStore, numbers: std::ops::Range<usize>) {
    for name in PEOPLE {
        store.put_person(&person(name)).await.unwrap();
    }
    for number in numbers {
        let person = PersonId::parse(PEOPLE[number % 3]).unwrap();
        // Some fit in a page many times, some need several.
        let text = "word ".repeat(1 + number * number % 1_700);
        let conversation = ConversationId::direct(&AgentId::parse("luna").unwrap(), &person);
        let new = NewMessage {
            conversation,
            person: person.clone(),
            at: Timestamp(number as i64),
            ..message(&text)
        };
        append(store, new).await.unwrap();
        book(store, &person, &number.to_string()).await;
    }
}

async fn book(store: &SqliteStore, person: &PersonId, key: &str) {
    let (person, key) = (person.clone(), Some(key.to_owned()));
    let new = NewEntry { person, tokens: 3, reason: Reason::Grant, key, at: Timestamp(1) };
    let booked = store.book(new, Box::new(|_| ())).await.unwrap();
    assert!(matches!(booked, Booked::Entered(_)), "{booked:?}");
}

async fn read(store: &SqliteStore) -> Found {
    let mut found = Vec::new();
    for name in PEOPLE {
        let person = PersonId::parse(name).unwrap();
        let conversation = ConversationId::direct(&AgentId::parse("luna").unwrap(), &person);
        let messages = store.history(conversation, 0, 1_000).await;
        found.push(messages.map(Piece::Messages).map_err(|fault| why(&fault)));
        for after in (0..60).step_by(7) {
            let messages = store.history(conversation, after, 7).await;
            found.push(messages.map(Piece::Messages).map_err(|fault| why(&fault)));
        }
        let messages = store.recent(conversation, 20).await;
        found.push(messages.map(Piece::Messages).map_err(|fault| why(&fault)));
        let entries = store.ledger(&person, 0, 1_000).await;
        found.push(entries.map(Piece::Entries).map_err(|fault| why(&fault)));
        let balance = store.balance(&person).await;
        found.push(balance.map(Piece::Balance).map_err(|fault| why(&fault)));
    }
    found
}

/// A copy of the files of a directory, whoever has them open.
pub(super) fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.path().join(path.file_name().unwrap())).unwrap();
    }
    to
}

/// Does something bad to a directory; returns what.
fn damage(directory: &Path, round: usize, dice: &mut Dice) -> String {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| fs::metadata(path).unwrap().len() > 0)
        .collect();
    files.sort();
    // Mostly the database, where most of the data is.
    let path = match dice.below(3) {
        0 => files[dice.below(files.len())].clone(),
        _ => directory.join("antiphon.db"),
    };
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len() as usize;
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let page = |dice: &mut Dice| (dice.below(length.div_ceil(4_096)) * 4_096) as u64;
    match round / 2 % 5 {
        0 | 1 => {
            let (at, bit) = (dice.below(length) as u64, dice.below(8));
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
            format!("bit {bit} of byte {at} of {name} flipped")
        }
        2 => {
            let kept = dice.below(length) as u64;
            file.set_len(kept).unwrap();
            format!("{name} cut to {kept} of {length} bytes")
        }
        3 => {
            let at = page(dice);
            let end = (at as usize + 4_096).min(length);
            file.write_all_at(&vec![0; end - at as usize], at).unwrap();
            format!("the page at {at} of {name} zeroed")
        }
        _ => {
            let other = files[dice.below(files.len())].clone();
            let aside = directory.join("aside");
            fs::rename(&path, &aside).unwrap();
            if other != path {
                fs::rename(&other, &path).unwrap();
            }
            fs::rename(&aside, &other).unwrap();
            format!("{name} and {} swapped", other.display())
        }
    }
}

/// Random numbers that are the same every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

/// A fault with everything that caused it.
fn why(fault: &Fault) -> String {
    let (mut line, mut cause) = (fault.to_string(), fault.source());
    while let Some(error) = cause {
        line = format!("{line}: {error}");
        cause = error.source();
    }
    line
}

/// What a checksum costs: `cargo test --release -p antiphon-server --lib nanoseconds -- --ignored --nocapture`.
#[test]
#[ignore = "measures: best run alone, in release mode"]
fn a_checksum_takes_nanoseconds() {
    use rusqlite::types::ValueRef;
    const ROWS: u32 = 1_000_000;
    let text = "x".repeat(100);
    let began = std::time::Instant::now();
    let mut all = 0;
    for row in 0..ROWS {
        let columns = [
            ValueRef::Blob(&[7; 16]),
            ValueRef::Integer(i64::from(row)),
            ValueRef::Blob(&[9; 16]),
            ValueRef::Text(b"luna"),
            ValueRef::Text(b"ada"),
            ValueRef::Text(b"person"),
            ValueRef::Text(text.as_bytes()),
            ValueRef::Integer(1_772_366_400_000),
        ];
        all ^= checksum::of_row(checksum::Table::Messages, &columns);
    }
    report(&format!(
        "{} ns a row of 100 bytes of text ({all:x})",
        began.elapsed().as_nanos() / u128::from(ROWS)
    ));
}

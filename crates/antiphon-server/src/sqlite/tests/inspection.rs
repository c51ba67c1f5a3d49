//! Does the doctor find each kind of damage, and nothing else?

use std::os::unix::fs::FileExt as _;

use antiphon_core::ports::{Booked, Wallets};
use antiphon_core::wallet::{NewEntry, Reason};

use super::super::inspection::{Report, Weight, inspect, lost_log};
use super::*;

const NOW: Timestamp = Timestamp(1_000_000_000);

#[test]
fn a_sound_directory_has_no_findings_and_stays_as_it_is() {
    let directory = furnished();
    let before = listing(directory.path());
    let report = look(directory.path());
    assert_eq!(report.findings, []);
    assert!(!report.is_running);
    let checks =
        ["files", "log", "structure", "references", "messages", "ledger", "open charges", "requests"];
    assert_eq!(report.checks, checks);
    assert_eq!(listing(directory.path()), before);
}

#[test]
fn what_somebody_has_changed_in_the_database_is_found() {
    const UNLOCKED: &str = "DROP TRIGGER ledger_is_not_changed; DROP TRIGGER ledger_is_not_shortened;
         PRAGMA foreign_keys = OFF;";
    use Weight::{Error, Warning};
    for (change, check, weight, what) in [
        (
            "UPDATE messages SET text = 'x' WHERE seq = 2",
            "messages",
            Error,
            "position 2: does not match its checksum",
        ),
        (
            "DELETE FROM messages WHERE seq = 2",
            "messages",
            Error,
            "has no message at position 2, but one at 3",
        ),
        (
            "DELETE FROM messages WHERE seq = 3",
            "messages",
            Error,
            "ends at position 2, but is said to end at 3",
        ),
        (
            "UPDATE conversations SET last_seq = 4",
            "messages",
            Error,
            "ends at position 3, but is said to end at 4",
        ),
        ("DELETE FROM messages", "messages", Error, "1 conversations have lost all their messages"),
        (
            "UPDATE ledger SET key = 'x' WHERE position = 2",
            "ledger",
            Error,
            "position 2: does not match its checksum",
        ),
        (
            "UPDATE ledger SET balance = 9 WHERE position = 2",
            "ledger",
            Error,
            "does not add up at position 2: 3 and 3 are not 9",
        ),
        ("DELETE FROM ledger WHERE position = 1", "ledger", Error, "has no position 1, but 2"),
        (
            "DELETE FROM ledger WHERE position = 2",
            "ledger",
            Error,
            "ends at position 1, but is said to end at 2",
        ),
        ("DELETE FROM ledger", "ledger", Error, "1 ledgers have lost all their entries"),
        (
            "INSERT INTO open_charges VALUES (1, x'00112233445566778899aabbccddeeff', 'ada', 5)",
            "open charges",
            Error,
            "has no entry in the ledger of ada",
        ),
        (
            "INSERT INTO requests VALUES ('service:shop', 'k', x'00', NULL, 5)",
            "requests",
            Warning,
            "1 requests began more than an hour ago",
        ),
        (
            "INSERT INTO passwords VALUES ('nobody', 'x')",
            "references",
            Error,
            "a row of passwords refers to one of people",
        ),
        (
            "UPDATE refinery_schema_history SET version = 99 WHERE version = 8",
            "structure",
            Error,
            "written by a newer Antiphon: its schema is 99",
        ),
        (
            "DELETE FROM refinery_schema_history WHERE version = 8",
            "structure",
            Warning,
            "the database has schema",
        ),
        ("DELETE FROM refinery_schema_history", "structure", Error, "the database has no schema"),
    ] {
        let directory = furnished();
        let stranger = stranger(&directory);
        stranger.execute_batch(UNLOCKED).unwrap();
        stranger.execute_batch(change).unwrap();
        drop(stranger);
        let report = look(directory.path());
        let found = report.findings.iter().any(|finding| {
            finding.check == check
                && finding.weight == weight
                && finding.what.contains(what)
                && !finding.advice.is_empty()
        });
        assert!(found, "{change}: {:?}", report.findings);
    }
}

#[test]
fn damage_to_files_is_found() {
    fn patch(file: &Path, at: u64, byte: u8) {
        let file = fs::OpenOptions::new().write(true).open(file).unwrap();
        file.write_all_at(&[byte], at).unwrap();
    }
    type Break = fn(&Path);
    let cases: [(Break, &str, &str); 6] = [
        (|place| fs::remove_dir_all(place).unwrap(), "files", "there is no directory"),
        (|place| fs::write(place.join("antiphon.db"), "").unwrap(), "files", "is empty"),
        (|place| fs::remove_file(place.join("antiphon.db")).unwrap(), "files", "cannot be read"),
        (|place| patch(&place.join("antiphon.db"), 0, b'X'), "structure", "cannot be read"),
        // The number of cells of some page.
        (|place| patch(&place.join("antiphon.db"), 5 * 4_096 + 4, 0xff), "structure", ""),
        (
            |place| fs::set_permissions(place, fs::Permissions::from_mode(0o755)).unwrap(),
            "files",
            "can be read by other users",
        ),
    ];
    for (number, (damage, check, what)) in cases.into_iter().enumerate() {
        let parent = TempDir::new().unwrap();
        let place = parent.path().join("data");
        furnish(&place);
        damage(&place);
        let report = look(&place);
        let found =
            report.findings.iter().any(|finding| finding.check == check && finding.what.contains(what));
        assert!(found, "case {number}: {:?}", report.findings);
    }
}

#[test]
fn an_unclean_log_is_worth_a_word_and_one_that_lost_something_an_error() {
    let directory = TempDir::new().unwrap();
    let store = furnish(directory.path());
    let killed = TempDir::new().unwrap();
    fs::set_permissions(killed.path(), fs::Permissions::from_mode(0o700)).unwrap();
    for name in ["antiphon.db", "antiphon.db-wal", "antiphon.db-shm", "antiphon.lock"] {
        fs::copy(directory.path().join(name), killed.path().join(name)).unwrap();
    }
    assert!(look(directory.path()).is_running, "the other one is in use");
    assert_eq!(look(directory.path()).findings, []);
    drop(store);

    let report = look(killed.path());
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.check, finding.weight), ("log", Weight::Warning));
    assert!(finding.what.contains("was not stopped in order"), "{finding:?}");
    assert_eq!(lost_log(killed.path()), None);

    let log = fs::OpenOptions::new().write(true).open(killed.path().join("antiphon.db-wal")).unwrap();
    log.set_len(log.metadata().unwrap().len() - 10).unwrap();
    let report = look(killed.path());
    let [finding] = &report.findings[..] else { panic!("{:?}", report.findings) };
    assert_eq!((finding.check, finding.weight), ("log", Weight::Error));
    assert!(lost_log(killed.path()).is_some_and(|lost| lost.contains("is damaged")));
    assert!(SqliteStore::open(killed.path(), patient()).is_err(), "looking has not made it forget");
}

#[test]
fn a_clock_that_was_set_back_is_noticed() {
    let directory = furnished();
    let report = inspect(directory.path(), Timestamp(-100_000_000), &mut |_| ());
    let said: Vec<_> = report.findings.iter().map(|finding| finding.what.as_str()).collect();
    assert_eq!(
        said,
        [
            "the newest message is 100000 s later than the clock of this machine",
            "the newest entry is 100000 s later than the clock of this machine",
        ]
    );
}

fn look(directory: &Path) -> Report {
    inspect(directory, NOW, &mut |_| ())
}

/// The directory of a stopped server that has a little of everything.
fn furnished() -> TempDir {
    let directory = TempDir::new().unwrap();
    furnish(directory.path());
    directory
}

fn furnish(place: &Path) -> Arc<SqliteStore> {
    let store = open(place, patient());
    fs::set_permissions(place, fs::Permissions::from_mode(0o700)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        store.put_person(&person("ada")).await.unwrap();
        for text in ["one", "two", "three"] {
            append(&store, message(text)).await.unwrap();
        }
        for key in ["k", "l"] {
            let (person, key) = (person("ada").id, Some(key.to_owned()));
            let new = NewEntry { person, tokens: 3, reason: Reason::Grant, key, at: Timestamp(1) };
            let booked = store.book(new, Box::new(|_| ())).await.unwrap();
            assert!(matches!(booked, Booked::Entered(_)));
        }
    });
    store
}

/// Names and contents.
fn listing(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.display().to_string(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

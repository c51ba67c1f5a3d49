//! Are credentials and keys found by index, after a restart, and after an upgrade?

use std::time::Instant;

use antiphon_core::actor::{Holder, Principal, Proof, Session};
use antiphon_core::agents::Agent;
use antiphon_core::ports::{
    Agents, Begun, KEYS_KEPT, Logins, RequestKey, Requests, Revocation, Revocations, Revoked, Upkeep,
};
use rusqlite::params;

use super::super::{
    checksum, conversations, directory, jobs, keys, logins, requests, revocations, upkeep, wallets,
};
use super::*;

#[tokio::test]
async fn credentials_are_found_again_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let ada = person("ada");
    let session = Session {
        hash: SecretHash([1; 32]),
        refresh: SecretHash([2; 32]),
        person: ada.id.clone(),
        created_at: Timestamp(1),
        expires_at: Timestamp(2),
        refresh_until: Timestamp(3),
    };
    let what = Revoked::Token { issuer: "issuer".into(), id: "id".into() };
    let revocation = Revocation { what, at: Timestamp(9), until: Timestamp(99) };
    let key = RequestKey { principal: "service:shop".into(), key: "k".into() };
    let store = open(directory.path(), patient());
    store.put_person(&ada).await.unwrap();
    store.put_password(&ada.id, "phc").await.unwrap();
    store.link_wallet("0xAB", &ada.id).await.unwrap();
    store.put_nonce(&SecretHash([3; 32]), Timestamp(9)).await.unwrap();
    store.put_session(&session).await.unwrap();
    let position = store.revoke(&revocation).await.unwrap();
    assert_eq!(store.begin(&key, &[0; 32], Timestamp(0)).await.unwrap(), Begun::New);
    store.finish(&key, "answer").await.unwrap();
    drop(store);

    let store = open(directory.path(), patient());
    assert_eq!(store.person(&ada.id).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.password(&ada.id).await.unwrap().as_deref(), Some("phc"));
    assert_eq!(store.person_by_wallet("0xab").await.unwrap(), Some(ada.id));
    assert!(store.take_nonce(&SecretHash([3; 32]), Timestamp(8)).await.unwrap());
    assert_eq!(store.session(&session.hash).await.unwrap(), Some(session));
    assert_eq!(store.revocations(0, 10).await.unwrap(), [(position, revocation)]);
    let proof = Proof::Token { issuer: "issuer".into(), id: Some("id".into()) };
    assert!(store.is_revoked(&proof, &Principal::Guest, Timestamp(8)).await.unwrap());
    let again = store.begin(&key, &[0; 32], Timestamp(1)).await.unwrap();
    assert_eq!(again, Begun::Answered("answer".into()));
}

/// P3, for one node: fifty messages, each sent by many at once, again and again, across restarts.
#[tokio::test]
async fn p3_a_message_that_is_sent_again_has_one_effect_across_restarts() {
    const MESSAGES: usize = 50;
    const TRIES: usize = 20;
    let directory = TempDir::new().unwrap();
    let told = Told::default();
    let mut fresh = 0;
    for round in 0..4 {
        let store = open(directory.path(), Settings { synchronous: Synchronous::Normal, ..patient() });
        let tries = (0..MESSAGES * TRIES).map(|number| {
            let text = format!("message {}", number % MESSAGES);
            let key = RequestKey { principal: "person:ada".into(), key: text.clone() };
            let quota = Some(Quota { month: 1, limit: None });
            store.append(NewMessage { once: Some(key), quota, ..message(&text) }, told.committed())
        });
        for answer in join_all(tries).await {
            match answer.unwrap() {
                Appended::Stored { .. } => fresh += 1,
                Appended::Repeated { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(fresh, MESSAGES, "after round {round}");
        drop(store);
    }
    let store = open(directory.path(), patient());
    let mut texts = texts(&store).await;
    texts.sort();
    texts.dedup();
    assert_eq!((texts.len(), told.texts().len()), (MESSAGES, MESSAGES));
    let ada = person("ada").id;
    assert_eq!(store.messages_sent(&ada, 1).await.unwrap(), MESSAGES as u64);
    assert_eq!(seq(append(&store, message("next")).await), MESSAGES as u64 + 1, "and no hole");
}

#[tokio::test]
async fn every_lookup_of_a_credential_or_key_is_by_index() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let mut lookups = vec![
        keys::BY_HASH,
        revocations::BY_NAME,
        logins::SESSION,
        logins::RENEWED,
        logins::WALLET,
        logins::WALLETS,
        logins::NONCE,
        requests::BEFORE,
        conversations::SAID,
        wallets::STAND,
        wallets::KEYED,
        wallets::PAYMENT,
        wallets::ACTIVE,
    ];
    lookups.extend(upkeep::OVER);
    lookups.extend(upkeep::OLD);
    lookups.extend([upkeep::LONG_OVER, jobs::KNOWN, jobs::BY_ID, jobs::THEIRS, jobs::ALL]);
    for lookup in lookups {
        let steps = plan(&store, lookup).await;
        let is_search = |step: &String| step.contains("SEARCH");
        assert!(steps.iter().any(is_search), "{lookup}: {steps:?}");
        // A constant row is no table.
        let is_scan = |step: &String| step.contains("SCAN") && step != "SCAN CONSTANT ROW";
        assert!(!steps.iter().any(is_scan), "{lookup}: {steps:?}");
    }
    let scan = plan(&store, "SELECT id FROM api_keys WHERE plan = ?1").await;
    assert!(scan.iter().any(|step| step.contains("SCAN")), "or else the check above says nothing: {scan:?}");
}

#[tokio::test]
async fn one_key_among_a_hundred_thousand_is_found_as_fast_as_among_a_few() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let time = async |store: &SqliteStore, number: i64, times: u32| {
        let started = Instant::now();
        for _ in 0..times {
            let key = store.key(&hash(number)).await.unwrap().unwrap();
            assert_eq!(key.id.as_str(), format!("key-{number}"));
        }
        started.elapsed() / times
    };
    add_keys(&store, 0..10).await;
    let few = time(&store, 7, 200).await;
    add_keys(&store, 10..100_000).await;
    let many = time(&store, 77_777, 200).await;
    // Reading all of them takes thousands of times as long, and a busy machine does not.
    assert!(many < 50 * few, "{many:?} among 100,000, {few:?} among 10");
    assert_eq!(store.key(&hash(100_000)).await.unwrap(), None);
}

#[tokio::test]
async fn a_great_deal_that_is_over_is_forgotten_in_short_commits() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let fill = |connection: &Connection| {
        let mut insert = connection.prepare("INSERT INTO nonces (hash, expires) VALUES (?1, ?2)")?;
        for number in 0..1_200_i64 {
            insert.execute(params![hash(number).0, number % 2])?;
        }
        Ok(())
    };
    store.write("testing", fill).await.unwrap();
    let mut forgotten = Vec::new();
    while forgotten.last() != Some(&0) {
        forgotten.push(store.forget(Timestamp(0)).await.unwrap());
    }
    assert_eq!(forgotten, [500, 100, 0]);
    assert!(store.take_nonce(&hash(1), Timestamp(0)).await.unwrap());
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_to_the_newest_with_all_it_has() {
    let directory = TempDir::new().unwrap();
    let mut old = Connection::open(directory.path().join("antiphon.db")).unwrap();
    let first = &directory::migrations().unwrap()[..1];
    refinery::Runner::new(first).run(&mut old).unwrap();
    old.execute_batch(
        "INSERT INTO plans VALUES ('free', 10, 100, 2);
         INSERT INTO people (id, plan, created_at) VALUES ('ada', 'free', 5), ('bob', 'pro', 6);
         INSERT INTO usage VALUES ('ada', 3, 7);
         INSERT INTO agents VALUES ('luna', 'ada', 'Luna', 'companion', '', '', '', 'private', 8);
         INSERT INTO relations VALUES
             ('luna', 'ada', 0.75, 0.5, 0.5, 0, 0), ('luna', 'bob', 0.5, 0.5, 0.5, 0, 0);
         INSERT INTO conversations VALUES (x'01', 3);
         INSERT INTO messages VALUES
             (x'01', 1, x'11', 'luna', 'ada', 'person', 'a', 8),
             (x'01', 2, x'12', 'luna', 'ada', 'agent', 'b', 9),
             (x'01', 3, x'13', 'luna', 'ada', 'person', 'c', 9);",
    )
    .unwrap();
    // Two keys with the same beginning, and short ones without any.
    let keys =
        [("cda_0123456789abcdef", "ada"), ("cda_0123456789abcdeg", "ada"), ("short", "bob"), ("k", "ada")];
    for (secret, owner) in keys {
        let hash = crate::auth::keys::hash(secret).0;
        let prefix = if secret.len() > 16 { &secret[..8] } else { "" };
        old.execute(
            "INSERT INTO api_keys (hash, prefix, person, created_at) VALUES (?1, ?2, ?3, 9)",
            params![hash, prefix, owner],
        )
        .unwrap();
    }
    drop(old);

    let store = open(directory.path(), patient());
    let newest = directory::migrations().unwrap().last().unwrap().version();
    assert_eq!(i64::from(newest), directory::SCHEMA);
    let ada = Person { roles: Vec::new(), created_at: Timestamp(5), ..person("ada") };
    assert_eq!(store.person(&ada.id).await.unwrap(), Some(ada.clone()));
    assert_eq!(store.people(None, 10).await.unwrap().len(), 2);
    assert_eq!(store.messages_sent(&ada.id, 3).await.unwrap(), 7);
    let agents: Vec<Agent> = store.agents_of(&ada.id).await.unwrap();
    assert_eq!(agents.iter().map(|agent| agent.name.as_str()).collect::<Vec<_>>(), ["Luna"]);
    let relation = store.relation(&agents[0].id, &ada.id).await.unwrap();
    assert_eq!((relation.trust, relation.meetings), (0.75, 2), "what they had said is counted");
    assert_eq!(store.relation(&agents[0].id, &person("bob").id).await.unwrap().meetings, 0);
    for (secret, owner) in keys {
        let owner = PersonId::parse(owner).unwrap();
        // The same name that the key would have if it came today: so it can be imported once more.
        let expected = crate::auth::keys::record(secret, Holder::Person(owner), Timestamp(9));
        assert_eq!(store.key(&expected.hash).await.unwrap().as_ref(), Some(&expected));
        store.put_key(&expected).await.unwrap();
    }
    assert_eq!(store.keys(None, 10).await.unwrap().len(), keys.len());
    let stray =
        crate::auth::keys::record("stray", Holder::Person(PersonId::parse("nobody").unwrap()), Timestamp(0));
    assert!(store.put_key(&stray).await.is_err(), "references are still looked at");
    drop(store);
    assert_eq!(open(directory.path(), patient()).keys(None, 10).await.unwrap().len(), keys.len());
}

#[tokio::test]
async fn a_store_that_stopped_at_any_schema_goes_on_to_the_newest() {
    let migrations = directory::migrations().unwrap();
    for done in 0..=migrations.len() {
        let directory = TempDir::new().unwrap();
        let mut old = Connection::open(directory.path().join("antiphon.db")).unwrap();
        checksum::install(&old).unwrap();
        refinery::Runner::new(&migrations[..done]).run(&mut old).unwrap();
        drop(old);
        let store = open(directory.path(), patient());
        store.put_person(&person("ada")).await.unwrap();
        assert_eq!(seq(append(&store, message("said")).await), 1, "after {done} steps");
        let newest = "SELECT max(version) FROM refinery_schema_history";
        let found: i64 = stranger(&directory).query_row(newest, [], |row| row.get(0)).unwrap();
        assert_eq!(found, directory::SCHEMA);
    }
}

#[tokio::test]
async fn a_key_of_a_message_counts_for_a_day_on_the_disk_too() {
    let directory = TempDir::new().unwrap();
    let key = RequestKey { principal: "person:ada".into(), key: "k".into() };
    let at = |at| NewMessage { at: Timestamp(at), once: Some(key.clone()), ..message("said") };
    let store = open(directory.path(), patient());
    assert_eq!(seq(append(&store, at(0)).await), 1);
    drop(store);
    let store = open(directory.path(), patient());
    let Appended::Repeated { message } = append(&store, at(KEYS_KEPT - 1)).await.unwrap() else {
        panic!("it is remembered")
    };
    assert_eq!(message.seq, 1);
    assert_eq!(seq(append(&store, at(KEYS_KEPT)).await), 2);
}

/// What SQLite intends to do for a statement.
pub(super) async fn plan(store: &SqliteStore, statement: &str) -> Vec<String> {
    let statement = statement.to_owned();
    let explain = move |connection: &Connection| {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}"))?;
        let nothing = vec![rusqlite::types::Null; explain.parameter_count()];
        let steps = explain.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3))?;
        steps.collect::<rusqlite::Result<Vec<String>>>()
    };
    store.read("asking how", explain).await.unwrap()
}

async fn add_keys(store: &SqliteStore, numbers: std::ops::Range<i64>) {
    let fill = move |connection: &Connection| {
        let mut insert =
            connection.prepare("INSERT INTO api_keys (hash, id, created_at) VALUES (?1, ?2, 0)")?;
        for number in numbers {
            insert.execute(params![hash(number).0, format!("key-{number}")])?;
        }
        Ok(())
    };
    store.write("testing", fill).await.unwrap();
}

/// Different numbers, far apart, as hashes are.
fn hash(number: i64) -> SecretHash {
    crate::auth::keys::hash(&number.to_string())
}

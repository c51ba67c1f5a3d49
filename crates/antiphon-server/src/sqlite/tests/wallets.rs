//! Do ledgers survive a restart, does the database itself keep them, and do they add up when everybody comes at once?

use antiphon_core::actor::{Actor, Caller, Claim, Principal};
use antiphon_core::command::{Command, Outcome};
use antiphon_core::contract::wallets::adds_up;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ports::{Booked, Charge, Mark, Wallets};
use antiphon_core::refusal::Code;
use antiphon_core::wallet::{Balance, Entry, NewEntry, Reason};

use super::super::checksum;
use super::*;

#[tokio::test]
async fn a_ledger_and_its_open_charges_are_found_again_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let ada = person("ada").id;
    store.put_person(&person("ada")).await.unwrap();
    grant(&store, 10).await;
    let charged = |tokens| NewMessage { charge: Some(Charge::Take(tokens)), ..message("how are you?") };
    let (first, second) = (charged(3), charged(4));
    append(&store, first.clone()).await.unwrap();
    append(&store, second.clone()).await.unwrap();
    drop(store);

    let store = open(directory.path(), patient());
    assert_eq!(store.balance(&ada).await.unwrap(), Balance { tokens: 3, position: 3 });
    assert_eq!(store.open_charges(10).await.unwrap(), [first.id, second.id]);
    let answer = NewMessage { charge: Some(Charge::Keep(first.id)), ..message("well") };
    append(&store, answer).await.unwrap();
    assert!(store.refund(second.id, Timestamp(2), Box::new(|_| ())).await.unwrap().is_some());
    drop(store);

    let store = open(directory.path(), patient());
    assert_eq!(store.open_charges(10).await.unwrap(), []);
    assert_eq!(adds_up(&*store, &ada).await, 7);
}

#[tokio::test]
async fn the_database_refuses_to_change_a_ledger_or_to_continue_it_wrongly() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    store.put_person(&person("ada")).await.unwrap();
    grant(&store, 10).await;
    let stranger = stranger(&directory);
    stranger.pragma_update(None, "foreign_keys", true).unwrap();
    let insert = "INSERT INTO ledger (person, position, amount, balance, reason, key, at) VALUES";
    for statement in [
        "UPDATE ledger SET amount = 11".to_owned(),
        "UPDATE ledger SET at = 0 WHERE person = 'ada'".to_owned(),
        "DELETE FROM ledger".to_owned(),
        format!("{insert} ('ada', 3, 1, 11, 'grant', NULL, 0)"),
        format!("{insert} ('ada', 2, 1, 12, 'grant', NULL, 0)"),
        format!("{insert} ('ada', 2, -11, -1, 'withdrawal', NULL, 0)"),
        format!("{insert} ('ada', 2, 0, 10, 'grant', NULL, 0)"),
        format!("{insert} ('ada', 2, -1, 9, 'grant', NULL, 0)"),
        format!("{insert} ('ada', 2, 1, 11, 'chat', NULL, 0)"),
        format!("{insert} ('ada', 2, 1, 11, 'gift', NULL, 0)"),
        format!("{insert} ('ada', 2, 1, 11, 'grant', 'key', 0)"),
        format!("{insert} ('bob', 1, 1, 1, 'grant', NULL, 0)"),
        format!("INSERT OR REPLACE{} ('ada', 1, 1, 1, 'grant', 'key', 0)", &insert["INSERT".len()..]),
    ] {
        let refused = stranger.execute(&statement, []);
        assert!(refused.is_err(), "{statement}: {refused:?}");
    }
    // Or else the list above says nothing.
    checksum::install(&stranger).unwrap();
    let accepted = stranger.execute(
        "INSERT INTO ledger VALUES
             ('ada', 2, 1, 11, 'grant', NULL, 0, row_checksum('ledger', 'ada', 2, 1, 11, 'grant', NULL, 0))",
        [],
    );
    assert_eq!(accepted, Ok(1));
    assert_eq!(adds_up(&*store, &person("ada").id).await, 11);
}

/// T-20, for one node and without a crash: a thousand claims and a thousand withdrawals through the core, at once.
#[tokio::test]
async fn t20_a_thousand_claims_and_withdrawals_at_once_leave_one_reward_and_no_debt() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    store.put_person(&person("ada")).await.unwrap();
    grant(&store, 500).await;
    let heard = Arc::new(Heard::default());
    let app = core_on(store.clone(), heard.clone());
    let plan =
        Plan { name: "free".into(), connections_per_minute: None, messages_per_month: None, agents: None };
    let actor = Arc::new(Actor::new(Principal::Person(person("ada").id), Arc::new(plan)));
    let caller = Caller { actor, connection: None };

    let commands = (0..2_000).map(|number| match number % 2 {
        0 => Command::ClaimReward { person: Claim::NONE },
        _ => Command::Withdraw { person: Claim::NONE, amount: 1, once: None },
    });
    let answers = join_all(commands.map(|command| app.handle(&caller, command))).await;
    let (mut rewards, mut repeats, mut taken, mut refused) = (0, 0, 0, 0);
    for answer in answers {
        match answer {
            Ok(Outcome::Rewarded { duplicate: false, .. }) => rewards += 1,
            Ok(Outcome::Rewarded { .. }) => repeats += 1,
            Ok(Outcome::Booked { .. }) => taken += 1,
            Err(refusal) if refusal.code == (Code::Insufficient { balance: 0 }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((rewards, repeats, taken, refused), (1, 999, 505, 495));
    let positions: Vec<u64> = heard.0.lock().unwrap().iter().map(|entry| entry.position).collect();
    assert_eq!(positions, (2..=507).collect::<Vec<_>>(), "each movement is told once, and in order");
    drop((app, store));
    let store = open(directory.path(), patient());
    assert_eq!(adds_up(&*store, &person("ada").id).await, 0);
}

async fn grant(store: &SqliteStore, tokens: u64) {
    let (person, key) = (person("ada").id, Some("key".to_owned()));
    let new = NewEntry { person, tokens, reason: Reason::Grant, key, at: Timestamp(1) };
    let booked = store.book(new, Box::new(|_| ())).await.unwrap();
    assert!(matches!(booked, Booked::Entered(_)), "{booked:?}");
}

/// Every entry that was told, in order.
#[derive(Default)]
struct Heard(Mutex<Vec<Entry>>);

impl Listener for Heard {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        if let Event::BalanceChanged(entry) = &envelope.event {
            self.0.lock().unwrap().push(entry.clone());
        }
    }
}

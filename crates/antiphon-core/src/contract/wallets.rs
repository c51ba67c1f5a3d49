//! Does a store keep ledgers that add up, each payment once, and each price until its message is answered?

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::conversations::{append, message};
use super::{awkward_ids, awkward_texts, elsewhere, person};
use crate::conversation::Party;
use crate::ids::{ConversationId, MessageId, PersonId, Timestamp};
use crate::ports::{Appended, Booked, Charge, NewMessage, OnBooked, Quota, RequestKey, Store};
use crate::wallet::{Balance, Entry, MAX_BALANCE, NewEntry, Obstacle, Reason};

const DAY: i64 = 86_400_000;

/// Everything about [`Wallets`](crate::ports::Wallets) and [`NewMessage::charge`](crate::ports::NewMessage).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_ledger_begins_empty_and_adds_up(&*open().await).await;
    what_one_has_not_cannot_be_taken(&*open().await).await;
    a_ledger_is_read_in_pages(&*open().await).await;
    a_key_counts_once_for_each_person_and_reason(&*open().await).await;
    a_payment_counts_once_on_the_whole_server(&*open().await).await;
    booked_is_called_once_for_what_is_entered(&*open().await).await;
    a_balance_is_told_once_and_in_its_place(open().await).await;
    nobody_has_more_than_can_be_told(&*open().await).await;
    a_person_who_does_not_exist_has_no_ledger(&*open().await).await;
    what_messages_cost_is_added_up(&*open().await).await;
    active_days_are_counted(&*open().await).await;
    a_price_is_taken_with_the_message_or_nothing_is_stored(&*open().await).await;
    an_answered_message_is_not_refunded(&*open().await).await;
    an_unanswered_message_is_refunded_once(open().await).await;
    a_random_life_adds_up(&*open().await).await;
    concurrent_claims_and_withdrawals_keep_every_rule(open().await).await;
}

async fn a_ledger_begins_empty_and_adds_up(store: &dyn Store) {
    let mut ids = awkward_ids();
    ids.truncate(4);
    for id in ids {
        let owner = add(store, &id).await;
        assert_eq!(store.balance(&owner).await.unwrap(), Balance::default());
        assert_eq!(store.ledger(&owner, 0, 10).await.unwrap(), []);
        let (mut tokens, mut entries) = (0, Vec::new());
        for (position, (reason, amount)) in (1..).zip([
            (Reason::Welcome, 50),
            (Reason::Deposit, 7),
            (Reason::Withdrawal, 57),
            (Reason::Reward, 5),
            (Reason::Chat, 1),
            (Reason::Refund, 1),
            (Reason::Grant, MAX_BALANCE - 5),
        ]) {
            let new = NewEntry { at: Timestamp(-3), ..new(&owner, reason, amount) };
            tokens = if reason.takes() { tokens - amount } else { tokens + amount };
            let signed = if reason.takes() { -(amount as i64) } else { amount as i64 };
            let expected = Entry {
                person: owner.clone(),
                position,
                amount: signed,
                balance: tokens,
                reason,
                key: None,
                at: Timestamp(-3),
            };
            assert_eq!(book(store, new).await, Booked::Entered(expected.clone()));
            entries.push(expected);
            assert_eq!(store.balance(&owner).await.unwrap(), Balance { tokens, position });
        }
        assert_eq!(store.ledger(&owner, 0, 10).await.unwrap(), entries);
    }
}

async fn what_one_has_not_cannot_be_taken(store: &dyn Store) {
    let ada = add(store, "ada").await;
    let take = |amount| new(&ada, Reason::Withdrawal, amount);
    let refused = |balance| Booked::Refused(Obstacle::Insufficient { balance });
    assert_eq!(book(store, take(1)).await, refused(0));
    entered(store, new(&ada, Reason::Grant, 5)).await;
    assert_eq!(book(store, NewEntry { key: Some("key".into()), ..take(6) }).await, refused(5));
    assert_eq!(book(store, take(MAX_BALANCE)).await, refused(5));
    // The refused one left its key free.
    let taken = entered(store, NewEntry { key: Some("key".into()), ..take(5) }).await;
    assert_eq!((taken.position, taken.balance), (2, 0));
}

async fn a_ledger_is_read_in_pages(store: &dyn Store) {
    let (ada, bob) = (add(store, "ada").await, add(store, "bob").await);
    let mut entries = Vec::new();
    for amount in 1..=10 {
        entries.push(entered(store, new(&ada, Reason::Grant, amount)).await);
        entered(store, new(&bob, Reason::Grant, amount)).await;
    }
    let read = async |after, limit| store.ledger(&ada, after, limit).await.unwrap();
    assert_eq!(read(0, u32::MAX).await, entries);
    assert_eq!(read(0, 3).await, entries[..3]);
    assert_eq!(read(8, 3).await, entries[8..]);
    for (after, limit) in [(10, 3), (u64::MAX, 3), (0, 0)] {
        assert_eq!(read(after, limit).await, []);
    }
}

async fn a_key_counts_once_for_each_person_and_reason(store: &dyn Store) {
    let (ada, bob) = (add(store, "ada").await, add(store, "bob").await);
    for key in awkward_texts() {
        let keyed = |owner, reason, amount| NewEntry { key: Some(key.clone()), ..new(owner, reason, amount) };
        let first = entered(store, keyed(&ada, Reason::Grant, 10)).await;
        assert_eq!(first.key.as_deref(), Some(key.as_str()));
        for amount in [10, 1, MAX_BALANCE] {
            assert_eq!(
                book(store, keyed(&ada, Reason::Grant, amount)).await,
                Booked::Repeated(first.clone())
            );
        }
        entered(store, keyed(&ada, Reason::Reward, 10)).await;
        entered(store, keyed(&bob, Reason::Grant, 10)).await;
        let taken = entered(store, keyed(&ada, Reason::Withdrawal, 20)).await;
        // A repeat of what cannot be taken any more is still a repeat.
        assert_eq!(book(store, keyed(&ada, Reason::Withdrawal, 20)).await, Booked::Repeated(taken));
    }
    let mut other_case = new(&ada, Reason::Grant, 1);
    other_case.key = Some("null".into());
    entered(store, other_case).await;
}

async fn a_payment_counts_once_on_the_whole_server(store: &dyn Store) {
    let (ada, bob) = (add(store, "ada").await, add(store, "bob").await);
    let pay = |owner: &PersonId, reference: &str| NewEntry {
        key: Some(reference.into()),
        ..new(owner, Reason::Deposit, 10)
    };
    let first = entered(store, pay(&ada, "0xab")).await;
    for owner in [&ada, &bob] {
        assert_eq!(book(store, pay(owner, "0xab")).await, Booked::Repeated(first.clone()));
    }
    assert_eq!(store.balance(&bob).await.unwrap(), Balance::default());
    entered(store, pay(&bob, "0xac")).await;
}

async fn booked_is_called_once_for_what_is_entered(store: &dyn Store) {
    let ada = add(store, "ada").await;
    let calls = Calls::default();
    let keyed = || NewEntry { key: Some("key".into()), ..new(&ada, Reason::Grant, 10) };
    let answer = store.book(keyed(), calls.booked()).await.unwrap();
    let heard = calls.take();
    assert_eq!(heard.len(), 1);
    assert_eq!(answer, Booked::Entered(heard[0].clone()));
    store.book(keyed(), calls.booked()).await.unwrap();
    store.book(new(&ada, Reason::Withdrawal, 11), calls.booked()).await.unwrap();
    assert_eq!(store.refund(MessageId::random(), Timestamp(0), calls.booked()).await.unwrap(), None);
    assert_eq!(calls.take(), []);
}

/// What is heard of one ledger never goes back: neither what entries say nor what is told in between.
async fn a_balance_is_told_once_and_in_its_place(store: Arc<dyn Store>) {
    let ada = add(&*store, "ada").await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = || {
        let heard = Arc::clone(&heard);
        move |position| heard.lock().unwrap().push(position)
    };
    let tell = || {
        let hears = hears();
        store.tell(&ada, Box::new(move |balance: &Balance| hears(balance.position)))
    };
    assert_eq!(tell().await.unwrap(), Balance::default());
    let life = (0..40).map(|turn| {
        let (store, ada, hears, tell) = (&store, &ada, hears(), tell());
        async move {
            if turn % 2 == 0 {
                return tell.await.map(drop);
            }
            let booked = Box::new(move |entry: &Entry| hears(entry.position));
            store.book(new(ada, Reason::Grant, 1), booked).await.map(drop)
        }
    });
    assert!(join_all(life).await.iter().all(Result::is_ok));
    assert_eq!(tell().await.unwrap(), Balance { tokens: 20, position: 20 });
    let heard = heard.lock().unwrap();
    assert_eq!(heard.len(), 42, "each exactly once");
    assert!(heard.is_sorted(), "{heard:?}");
    assert_eq!(heard.last(), Some(&20));
}

async fn nobody_has_more_than_can_be_told(store: &dyn Store) {
    let ada = add(store, "ada").await;
    entered(store, new(&ada, Reason::Grant, MAX_BALANCE)).await;
    let full = Booked::Refused(Obstacle::Full { balance: MAX_BALANCE });
    assert_eq!(book(store, new(&ada, Reason::Deposit, 1)).await, full);
    // What was paid comes back all the same.
    let question = ask(store, "ada", 10).await;
    entered(store, new(&ada, Reason::Grant, 10)).await;
    let back = store.refund(question, Timestamp(0), Box::new(|_| ())).await.unwrap().unwrap();
    assert_eq!(back.balance, MAX_BALANCE + 10);
    entered(store, new(&ada, Reason::Withdrawal, 11)).await;
}

async fn a_person_who_does_not_exist_has_no_ledger(store: &dyn Store) {
    let nobody = person("nobody").id;
    let calls = Calls::default();
    assert!(store.book(new(&nobody, Reason::Grant, 1), calls.booked()).await.is_err());
    assert_eq!(calls.take(), []);
    assert_eq!(store.balance(&nobody).await.unwrap(), Balance::default());
    assert_eq!(store.active_days(&nobody, Timestamp(0), 3).await.unwrap(), 0);
}

async fn what_messages_cost_is_added_up(store: &dyn Store) {
    let (ada, bob) = (add(store, "ada").await, add(store, "bob").await);
    assert_eq!(store.spent(&ada).await.unwrap(), 0);
    for (reason, amount) in [
        (Reason::Grant, 50),
        (Reason::Chat, 7),
        (Reason::Withdrawal, 9),
        (Reason::Chat, 5),
        (Reason::Refund, 5),
        (Reason::Reward, 3),
        (Reason::Chat, 1),
    ] {
        entered(store, new(&ada, reason, amount)).await;
    }
    assert_eq!(store.spent(&ada).await.unwrap(), 8);
    assert_eq!(store.spent(&bob).await.unwrap(), 0);
}

async fn active_days_are_counted(store: &dyn Store) {
    let (ada, bob) = (add(store, "ada").await, add(store, "bob").await);
    let days = async |from: i64, days| store.active_days(&ada, Timestamp(from * DAY), days).await.unwrap();
    let enter = async |owner: &PersonId, reason, at| {
        entered(store, NewEntry { at: Timestamp(at), ..new(owner, reason, 1) }).await;
    };
    // What happened to them, and what somebody else did.
    enter(&ada, Reason::Grant, 10 * DAY).await;
    enter(&ada, Reason::Deposit, 11 * DAY).await;
    enter(&bob, Reason::Reward, 11 * DAY).await;
    assert_eq!(days(0, u32::MAX).await, 0);
    enter(&ada, Reason::Reward, 10 * DAY).await;
    enter(&ada, Reason::Chat, 10 * DAY + 1).await;
    assert_eq!(days(10, 3).await, 1);
    enter(&ada, Reason::Chat, 12 * DAY - 1).await;
    enter(&ada, Reason::Reward, 13 * DAY).await;
    for (first, length, expected) in [(10, 3, 2), (10, 4, 3), (11, 1, 1), (12, 1, 0), (13, 9, 1), (14, 9, 0)]
    {
        assert_eq!(days(first, length).await, expected, "{length} days from {first} on");
    }
    assert_eq!(days(10, 0).await, 0);
}

async fn a_price_is_taken_with_the_message_or_nothing_is_stored(store: &dyn Store) {
    let ada = add(store, "ada").await;
    let calls = Calls::default();
    let priced = |price| NewMessage {
        quota: Some(Quota { month: 1, limit: Some(1) }),
        once: Some(RequestKey { principal: "person:ada".into(), key: "key".into() }),
        charge: Some(Charge::Take(price)),
        ..message("luna", "ada")
    };
    entered(store, new(&ada, Reason::Grant, 15)).await;
    let refused = store.append(priced(16), calls.committed()).await.unwrap();
    assert_eq!(refused, Appended::Unpaid(Obstacle::Insufficient { balance: 15 }));
    assert_eq!(calls.take(), []);
    let place = ConversationId::direct(&message("luna", "ada").agent, &ada);
    assert_eq!(store.history(place, 0, 10).await.unwrap(), []);
    assert_eq!(store.messages_sent(&ada, 1).await.unwrap(), 0);
    assert_eq!(store.open_charges(10).await.unwrap(), []);

    let priced_ten = priced(10);
    let answer = store.append(priced_ten.clone(), calls.committed()).await.unwrap();
    let Appended::Stored { paid: Some(paid), message, .. } = answer else { panic!("{answer:?}") };
    let key = Some(message.id.to_string());
    let (person, at) = (ada.clone(), message.at);
    let expected = Entry { person, position: 2, amount: -10, balance: 5, reason: Reason::Chat, key, at };
    assert_eq!(paid, expected);
    assert_eq!(calls.take(), [expected]);
    assert_eq!(store.open_charges(10).await.unwrap(), [message.id]);
    // A repeat costs nothing, and so do a refused one and one that breaks.
    let again = NewMessage { id: MessageId::random(), ..priced(10) };
    assert_eq!(store.append(again, calls.committed()).await.unwrap(), Appended::Repeated { message });
    let over = NewMessage { once: None, ..priced(1) };
    let over = store.append(over, calls.committed()).await.unwrap();
    assert_eq!(over, Appended::OverQuota { current: 1, limit: 1 });
    let broken = NewMessage { once: None, quota: None, charge: Some(Charge::Take(1)), ..priced_ten };
    assert!(store.append(broken, calls.committed()).await.is_err(), "its id is in use");
    let nobody =
        NewMessage { charge: Some(Charge::Take(1)), ..super::conversations::message("luna", "nobody") };
    assert!(!matches!(store.append(nobody, calls.committed()).await, Ok(Appended::Stored { .. })));
    assert_eq!(calls.take(), []);
    assert_eq!(store.balance(&ada).await.unwrap(), Balance { tokens: 5, position: 2 });
}

async fn an_answered_message_is_not_refunded(store: &dyn Store) {
    let ada = add(store, "ada").await;
    entered(store, new(&ada, Reason::Grant, 10)).await;
    let question = ask(store, "ada", 4).await;
    let answer =
        NewMessage { author: Party::Agent, charge: Some(Charge::Keep(question)), ..message("luna", "ada") };
    append(store, answer).await;
    assert_eq!(store.open_charges(10).await.unwrap(), []);
    assert_eq!(store.refund(question, Timestamp(0), Box::new(|_| ())).await.unwrap(), None);
    assert_eq!(store.balance(&ada).await.unwrap(), Balance { tokens: 6, position: 2 });
    // The answer to a message that cost nothing is an answer like any other.
    let free = append(store, message("luna", "ada")).await.0;
    let answer = NewMessage { charge: Some(Charge::Keep(free.id)), ..message("luna", "ada") };
    append(store, answer).await;
}

async fn an_unanswered_message_is_refunded_once(store: Arc<dyn Store>) {
    let ada = add(&*store, "ada").await;
    entered(&*store, new(&ada, Reason::Grant, 100)).await;
    let mut questions = Vec::new();
    for price in [1, 2, 3] {
        questions.push(ask(&*store, "ada", price).await);
    }
    assert_eq!(store.open_charges(10).await.unwrap(), questions);
    assert_eq!(store.open_charges(2).await.unwrap(), questions[..2]);
    let calls = Calls::default();
    let threads = (0..4).map(|_| {
        let (store, calls, question) = (Arc::clone(&store), calls.clone(), questions[1]);
        elsewhere(move || async move {
            let tries = (0..8).map(|_| store.refund(question, Timestamp(9), calls.booked()));
            let answers = join_all(tries).await;
            answers.into_iter().filter(|answer| answer.as_ref().unwrap().is_some()).count()
        })
    });
    assert_eq!(join_all(threads).await.into_iter().sum::<usize>(), 1);
    let heard = calls.take();
    assert_eq!(heard.len(), 1);
    let back = &heard[0];
    assert_eq!((back.amount, back.reason, back.balance, back.position), (2, Reason::Refund, 96, 5));
    assert_eq!((back.key.clone(), back.at), (Some(questions[1].to_string()), Timestamp(9)));
    assert_eq!(store.open_charges(10).await.unwrap(), [questions[0], questions[2]]);
    assert_eq!(store.balance(&ada).await.unwrap().tokens, 96);
}

/// Many small decisions that nobody chose, with a few keys that come again and again.
async fn a_random_life_adds_up(store: &dyn Store) {
    let people = [add(store, "ada").await, add(store, "bob").await];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: u64| {
        // xorshift64: the same life each time.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let mut open = Vec::new();
    let mut expected = [0_i128; 2];
    for _ in 0..600 {
        let who = draw(2) as usize;
        let (owner, amount) = (&people[who], 1 + draw(40));
        match draw(8) {
            0 => {
                let key = Some(format!("{}", draw(40)));
                if let Booked::Entered(entry) =
                    book(store, NewEntry { key, ..new(owner, Reason::Deposit, amount) }).await
                {
                    expected[who] += i128::from(entry.amount);
                }
            }
            1 | 2 => {
                let key = Some(format!("day {}", draw(30)));
                if let Booked::Entered(entry) =
                    book(store, NewEntry { key, ..new(owner, Reason::Reward, 5) }).await
                {
                    expected[who] += i128::from(entry.amount);
                }
            }
            3 | 4 => match book(store, new(owner, Reason::Withdrawal, amount)).await {
                Booked::Entered(entry) => expected[who] += i128::from(entry.amount),
                Booked::Refused(Obstacle::Insufficient { balance }) => assert!(balance < amount),
                other => panic!("{other:?}"),
            },
            5 | 6 => {
                let charge = Some(Charge::Take(amount));
                let new = NewMessage { charge, ..message("luna", owner.as_str()) };
                let id = new.id;
                if let Appended::Stored { .. } = store.append(new, Box::new(|_, _, _| ())).await.unwrap() {
                    expected[who] -= i128::from(amount);
                    open.push((id, who, amount));
                }
            }
            _ if open.is_empty() => {}
            _ => {
                let (question, who, amount) = open.swap_remove(draw(open.len() as u64) as usize);
                if draw(2) == 0 {
                    let charge = Some(Charge::Keep(question));
                    append(store, NewMessage { charge, ..message("luna", people[who].as_str()) }).await;
                } else {
                    let back = store.refund(question, Timestamp(0), Box::new(|_| ())).await.unwrap();
                    assert_eq!(back.map(|entry| entry.amount), Some(amount as i64));
                    expected[who] += i128::from(amount);
                }
            }
        }
    }
    assert_eq!(store.open_charges(1_000).await.unwrap().len(), open.len());
    for (owner, expected) in people.iter().zip(expected) {
        assert_eq!(adds_up(store, owner).await, expected, "{owner}");
    }
}

/// A thousand claims of one day's reward and a thousand withdrawals, from four threads.
async fn concurrent_claims_and_withdrawals_keep_every_rule(store: Arc<dyn Store>) {
    let ada = add(&*store, "ada").await;
    entered(&*store, new(&ada, Reason::Grant, 300)).await;
    let calls = Calls::default();
    let threads = (0..4).map(|thread| {
        let (store, calls, ada) = (Arc::clone(&store), calls.clone(), ada.clone());
        elsewhere(move || async move {
            let tries = (0..500).map(|number| {
                let entry = match number % 2 {
                    0 => NewEntry { key: Some("2026-03-01".into()), ..new(&ada, Reason::Reward, 5) },
                    _ => NewEntry {
                        key: Some(format!("{thread}/{number}")),
                        ..new(&ada, Reason::Withdrawal, 1)
                    },
                };
                store.book(entry, calls.booked())
            });
            join_all(tries).await.into_iter().map(Result::unwrap).collect::<Vec<_>>()
        })
    });
    let answers: Vec<Booked> = join_all(threads).await.into_iter().flatten().collect();
    let count = |is: fn(&Booked) -> bool| answers.iter().filter(|answer| is(answer)).count();
    assert_eq!(count(|answer| matches!(answer, Booked::Entered(entry) if entry.reason == Reason::Reward)), 1);
    assert_eq!(count(|answer| matches!(answer, Booked::Repeated(_))), 999);
    assert_eq!(count(|answer| matches!(answer, Booked::Entered(entry) if entry.amount == -1)), 305);
    let broke = |answer: &Booked| matches!(answer, Booked::Refused(Obstacle::Insufficient { balance: 0 }));
    assert_eq!(count(broke), 695);
    let heard = calls.take();
    let positions: Vec<u64> = heard.iter().map(|entry| entry.position).collect();
    assert_eq!(positions, (2..=307).collect::<Vec<_>>(), "booked is called in the order of positions");
    assert_eq!(store.ledger(&ada, 1, u32::MAX).await.unwrap(), heard);
    assert_eq!(adds_up(&*store, &ada).await, 0);
}

/// What a ledger comes to, after every rule about it was looked at.
pub async fn adds_up(store: &dyn Store, owner: &PersonId) -> i128 {
    let mut sum = 0_i128;
    let entries = store.ledger(owner, 0, u32::MAX).await.expect("the ledger can be read");
    for (position, entry) in (1..).zip(&entries) {
        sum += i128::from(entry.amount);
        assert_eq!((&entry.person, entry.position), (owner, position), "positions have no hole");
        assert_eq!(i128::from(entry.balance), sum, "the balance after entry {position} is the sum so far");
        assert_ne!(entry.amount, 0, "entry {position} moves something");
    }
    let mut keys: Vec<_> =
        entries.iter().filter_map(|entry| Some((entry.reason.name(), entry.key.as_ref()?))).collect();
    let keyed = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), keyed, "no key counts twice");
    let balance = store.balance(owner).await.expect("the balance can be read");
    assert_eq!((i128::from(balance.tokens), balance.position), (sum, entries.len() as u64));
    sum
}

/// What a store called back with, in the order of the calls.
#[derive(Clone, Default)]
struct Calls(Arc<Mutex<Vec<Entry>>>);

impl Calls {
    fn booked(&self) -> OnBooked {
        let calls = Arc::clone(&self.0);
        Box::new(move |entry| calls.lock().unwrap().push(entry.clone()))
    }

    fn committed(&self) -> crate::ports::Committed {
        let calls = Arc::clone(&self.0);
        Box::new(move |_, _, paid| calls.lock().unwrap().extend(paid.cloned()))
    }

    fn take(&self) -> Vec<Entry> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

async fn add(store: &dyn Store, id: &str) -> PersonId {
    let person = person(id);
    store.put_person(&person).await.unwrap();
    person.id
}

fn new(owner: &PersonId, reason: Reason, tokens: u64) -> NewEntry {
    NewEntry { person: owner.clone(), tokens, reason, key: None, at: Timestamp(1_700_000_000_000) }
}

async fn book(store: &dyn Store, new: NewEntry) -> Booked {
    store.book(new, Box::new(|_| ())).await.unwrap()
}

async fn entered(store: &dyn Store, new: NewEntry) -> Entry {
    match book(store, new).await {
        Booked::Entered(entry) => entry,
        other => panic!("{other:?} where nothing stands in the way"),
    }
}

/// Says something to luna for this price.
async fn ask(store: &dyn Store, name: &str, price: u64) -> MessageId {
    let new = NewMessage { charge: Some(Charge::Take(price)), ..message("luna", name) };
    append(store, new).await.0.id
}

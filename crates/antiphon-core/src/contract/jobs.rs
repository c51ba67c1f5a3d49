//! Does a store have each job done once, whoever wants to do it?

use std::slice::from_ref;
use std::sync::Arc;

use futures_util::future::join_all;

use super::{awkward_ids, awkward_texts, elsewhere, forget, person};
use crate::ids::{AgentId, MessageId, PersonId, Timestamp};
use crate::jobs::{Claimant, Claimed, Ending, JOBS_KEPT, Job, JobState, NewJob, Occasion};
use crate::ports::Store;

/// Everything about [`Jobs`](crate::ports::Jobs).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_job_is_what_it_was_when_it_was_first_claimed(&*open().await).await;
    occasions_are_told_apart(&*open().await).await;
    of_many_who_claim_a_job_one_gets_it(open().await).await;
    whoever_dies_over_a_job_is_followed_by_another(&*open().await).await;
    a_job_that_failed_waits_and_one_that_is_over_stays_over(&*open().await).await;
    a_job_of_nobody_is_a_fault(&*open().await).await;
    jobs_are_listed_from_the_latest_on(&*open().await).await;
    what_is_long_over_is_forgotten_and_no_number_used_again(&*open().await).await;
}

async fn a_job_is_what_it_was_when_it_was_first_claimed(store: &dyn Store) {
    for (number, text) in awkward_texts().into_iter().enumerate() {
        let new = NewJob { text: text.clone(), ..new("ada", &format!("kind {number}"), "2026-03-01") };
        store.put_person(&person("ada")).await.unwrap();
        let first = yours(store.claim_job(&new, &claimant("first", 10)).await.unwrap());
        let state = JobState::Claimed { holder: "first".into(), until: Timestamp(20) };
        let expected = Job {
            id: first.id,
            occasion: new.occasion.clone(),
            agent: new.agent.clone(),
            text,
            state,
            tries: 1,
            made_at: Timestamp(10),
            changed_at: Timestamp(10),
        };
        assert_eq!(first, expected);
        assert_eq!(store.jobs(None, None, 1).await.unwrap(), [expected]);
        let other =
            NewJob { agent: AgentId::parse("mia").expect("an id"), text: "other".into(), ..new.clone() };
        let second = yours(store.claim_job(&other, &claimant("second", 20)).await.unwrap());
        let state = JobState::Claimed { holder: "second".into(), until: Timestamp(30) };
        assert_eq!(second, Job { state, tries: 2, changed_at: Timestamp(20), ..first });
    }
}

async fn occasions_are_told_apart(store: &dyn Store) {
    let mut numbers = Vec::new();
    for id in awkward_ids() {
        store.put_person(&person(&id)).await.unwrap();
        for kind in ["morning", "MORNING", "lunch"] {
            for date in ["2026-03-01", "2026-03-02"] {
                let job = yours(store.claim_job(&new(&id, kind, date), &claimant("a", 0)).await.unwrap());
                numbers.push(job.id);
            }
        }
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

async fn of_many_who_claim_a_job_one_gets_it(store: Arc<dyn Store>) {
    store.put_person(&person("ada")).await.unwrap();
    let threads = (0..4).map(|thread| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let tries = (0..16).map(|number| {
                let (store, holder) = (Arc::clone(&store), format!("{thread}-{number}"));
                async move {
                    let new = new("ada", "morning", "2026-03-01");
                    let claimed = store.claim_job(&new, &claimant(&holder, 0)).await.unwrap();
                    match claimed {
                        Claimed::Yours(_) => 1,
                        Claimed::Later(until) => {
                            assert_eq!(until, Timestamp(10));
                            0
                        }
                        Claimed::Over(job) => panic!("{job:?}"),
                    }
                }
            });
            join_all(tries).await.into_iter().sum::<u32>()
        })
    });
    assert_eq!(join_all(threads).await.into_iter().sum::<u32>(), 1);
}

async fn whoever_dies_over_a_job_is_followed_by_another(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let new = new("ada", "morning", "2026-03-01");
    let id = yours(store.claim_job(&new, &claimant("first", 0)).await.unwrap()).id;
    assert_eq!(store.claim_job(&new, &claimant("second", 9)).await.unwrap(), Claimed::Later(Timestamp(10)));
    // Late, but nobody has taken it over.
    let again = Ending::Again(Timestamp(12));
    assert!(store.settle_job(id, "first", &again, Timestamp(11)).await.unwrap());
    assert!(!store.settle_job(id, "first", &again, Timestamp(11)).await.unwrap());
    yours(store.claim_job(&new, &claimant("second", 12)).await.unwrap());
    yours(store.claim_job(&new, &claimant("third", 22)).await.unwrap());
    let done = Ending::Done(MessageId::random());
    for (holder, expected) in [("first", false), ("second", false), ("third", true), ("third", false)] {
        let settled = store.settle_job(id, holder, &done, Timestamp(23)).await.unwrap();
        assert_eq!(settled, expected, "{holder}");
    }
}

async fn a_job_that_failed_waits_and_one_that_is_over_stays_over(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let message = MessageId::random();
    let table = [
        ("failed", Ending::Again(Timestamp(50)), JobState::Waiting { from: Timestamp(50) }),
        ("done", Ending::Done(message), JobState::Done { message }),
        ("skipped", Ending::Skipped("why".into()), JobState::Skipped { why: "why".into() }),
    ];
    for (kind, ending, state) in table {
        let new = new("ada", kind, "2026-03-01");
        let job = yours(store.claim_job(&new, &claimant("first", 0)).await.unwrap());
        assert!(store.settle_job(job.id, "first", &ending, Timestamp(5)).await.unwrap());
        let job = Job { state, changed_at: Timestamp(5), ..job };
        assert_eq!(store.jobs(None, None, 1).await.unwrap(), from_ref(&job));
        for at in [0, 49] {
            let expected = match job.state.is_over() {
                true => Claimed::Over(job.clone()),
                false => Claimed::Later(Timestamp(50)),
            };
            assert_eq!(store.claim_job(&new, &claimant("second", at)).await.unwrap(), expected);
        }
    }
    yours(store.claim_job(&new("ada", "failed", "2026-03-01"), &claimant("second", 50)).await.unwrap());
    assert!(!store.settle_job(u64::MAX, "first", &Ending::Done(message), Timestamp(0)).await.unwrap());
    assert!(!store.settle_job(0, "first", &Ending::Done(message), Timestamp(0)).await.unwrap());
}

async fn a_job_of_nobody_is_a_fault(store: &dyn Store) {
    let new = new("nobody", "morning", "2026-03-01");
    assert!(store.claim_job(&new, &claimant("a", 0)).await.is_err());
    assert_eq!(store.jobs(None, None, 10).await.unwrap(), []);
}

async fn jobs_are_listed_from_the_latest_on(store: &dyn Store) {
    let mut made = Vec::new();
    for id in ["ada", "bob", "ada", "bob", "ada"] {
        store.put_person(&person(id)).await.unwrap();
        let new = new(id, &format!("kind {}", made.len()), "2026-03-01");
        made.insert(0, yours(store.claim_job(&new, &claimant("a", 0)).await.unwrap()));
    }
    assert_eq!(store.jobs(None, None, 10).await.unwrap(), made);
    assert_eq!(store.jobs(None, None, 2).await.unwrap(), made[..2]);
    assert_eq!(store.jobs(None, Some(made[1].id), 2).await.unwrap(), made[2..4]);
    assert_eq!(store.jobs(None, Some(u64::MAX), 10).await.unwrap(), made);
    assert_eq!(store.jobs(None, Some(0), 10).await.unwrap(), []);
    let bob = person("bob").id;
    assert_eq!(store.jobs(Some(&bob), None, 10).await.unwrap(), [made[1].clone(), made[3].clone()]);
    assert_eq!(store.jobs(Some(&bob), Some(made[1].id), 10).await.unwrap(), [made[3].clone()]);
    let nobody = PersonId::parse("nobody").expect("an id");
    assert_eq!(store.jobs(Some(&nobody), None, 10).await.unwrap(), []);
}

async fn what_is_long_over_is_forgotten_and_no_number_used_again(store: &dyn Store) {
    store.put_person(&person("ada")).await.unwrap();
    let (old, young) = (new("ada", "morning", "2026-03-01"), new("ada", "morning", "2026-03-02"));
    yours(store.claim_job(&old, &claimant("a", 0)).await.unwrap());
    let last = yours(store.claim_job(&young, &claimant("a", 1)).await.unwrap());
    assert_eq!(forget(store, Timestamp(JOBS_KEPT - 1)).await, 0);
    assert_eq!(forget(store, Timestamp(JOBS_KEPT)).await, 1);
    assert_eq!(store.jobs(None, None, 10).await.unwrap(), from_ref(&last));
    assert_eq!(forget(store, Timestamp(JOBS_KEPT + 1)).await, 1);
    let next = yours(store.claim_job(&young, &claimant("a", JOBS_KEPT + 1)).await.unwrap());
    assert!(next.id > last.id && next.tries == 1, "{next:?}");
}

fn new(id: &str, kind: &str, date: &str) -> NewJob {
    let occasion = Occasion { person: person(id).id, kind: kind.into(), date: date.into() };
    NewJob { occasion, agent: AgentId::parse("luna").expect("an id"), text: "Good morning!".into() }
}

fn claimant(holder: &str, at: i64) -> Claimant {
    Claimant { holder: holder.into(), at: Timestamp(at), until: Timestamp(at + 10) }
}

fn yours(claimed: Claimed) -> Job {
    match claimed {
        Claimed::Yours(job) => job,
        other => panic!("not claimed: {other:?}"),
    }
}

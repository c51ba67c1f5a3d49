//! Does a store remember what was said, in order, exactly once, and count it?

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::{awkward_texts, elsewhere, person};
use crate::agents::{Relation, RelationDelta};
use crate::conversation::{Message, Party};
use crate::ids::{AgentId, ConversationId, MessageId, PersonId, Timestamp};
use crate::ports::{Appended, Committed, NewMessage, Quota, Store};

/// Everything about [`Conversations`](crate::ports::Conversations), with what a message counts and moves.
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_message_is_stored_as_it_was_said(&*open().await).await;
    positions_are_counted_in_each_conversation(&*open().await).await;
    committed_is_called_once_before_the_answer(&*open().await).await;
    history_and_recent_give_pages_oldest_first(&*open().await).await;
    each_conversation_is_listed_once_with_its_last_message(&*open().await).await;
    a_message_id_is_used_once(&*open().await).await;
    a_message_counts_against_its_month(&*open().await).await;
    over_the_limit_nothing_is_stored(&*open().await).await;
    feelings_move_with_the_message_and_stay_within_bounds(&*open().await).await;
    what_was_said_outlives_the_agent(&*open().await).await;
    concurrent_messages_leave_no_hole(open().await).await;
    concurrent_messages_never_pass_the_limit(open().await).await;
}

async fn a_message_is_stored_as_it_was_said(store: &dyn Store) {
    let mut said = Vec::new();
    for (text, author) in awkward_texts().into_iter().zip([Party::Person, Party::Agent].into_iter().cycle()) {
        for at in [0, -1, i64::MIN, i64::MAX] {
            let new = NewMessage { text: text.clone(), author, at: Timestamp(at), ..message("luna", "ada") };
            said.push(as_stored(&new, said.len() as u64 + 1));
            let (stored, relation) = append(store, new).await;
            assert_eq!(Some(&stored), said.last());
            assert_eq!(relation, Relation::default());
        }
    }
    assert_eq!(store.history(said[0].conversation, 0, 1_000).await.unwrap(), said);
    assert_eq!(store.recent(said[0].conversation, 1_000).await.unwrap(), said);
}

async fn positions_are_counted_in_each_conversation(store: &dyn Store) {
    for seq in 1..=5 {
        for agent in ["luna", "sol", "LUNA"] {
            for person in ["ada", "bob"] {
                assert_eq!(append(store, message(agent, person)).await.0.seq, seq, "{agent} and {person}");
            }
        }
    }
}

async fn committed_is_called_once_before_the_answer(store: &dyn Store) {
    for quota in [None, Some(Quota { month: 1, limit: None })] {
        let calls = Calls::default();
        let new = NewMessage {
            quota,
            moves: Some(RelationDelta { trust: 0.25, ..no_move() }),
            ..message("luna", "ada")
        };
        let answer = store.append(new, calls.committed()).await.unwrap();
        let calls = calls.take();
        assert_eq!(calls.len(), 1, "committed is called exactly once");
        let (message, relation) = calls[0].clone();
        assert_eq!(answer, Appended::Stored { message, relation, paid: None });
    }
}

async fn history_and_recent_give_pages_oldest_first(store: &dyn Store) {
    let mut said = Vec::new();
    for number in 0..10 {
        said.push(append(store, NewMessage { text: number.to_string(), ..message("luna", "ada") }).await.0);
        append(store, message("luna", "bob")).await;
    }
    let place = said[0].conversation;
    let history = async |after, limit| store.history(place, after, limit).await.unwrap();
    let recent = async |limit| store.recent(place, limit).await.unwrap();

    assert_eq!(history(0, 1_000).await, said);
    assert_eq!(history(0, 10).await, said);
    assert_eq!(history(0, 3).await, said[..3]);
    assert_eq!(history(3, 3).await, said[3..6]);
    assert_eq!(history(8, 3).await, said[8..]);
    assert_eq!(history(10, 3).await, []);
    assert_eq!(history(u64::MAX, 3).await, []);
    assert_eq!(history(0, 0).await, []);
    assert_eq!(history(0, u32::MAX).await, said);

    assert_eq!(recent(3).await, said[7..]);
    assert_eq!(recent(10).await, said);
    assert_eq!(recent(u32::MAX).await, said);
    assert_eq!(recent(0).await, []);

    let silent = conversation("luna", "eve");
    assert_eq!(store.history(silent, 0, 10).await.unwrap(), []);
    assert_eq!(store.recent(silent, 10).await.unwrap(), []);
}

async fn each_conversation_is_listed_once_with_its_last_message(store: &dyn Store) {
    assert_eq!(store.latest(None, 10).await.unwrap(), []);
    let mut last = Vec::new();
    for (agent, person) in [("luna", "ada"), ("sol", "ada"), ("luna", "bob"), ("LUNA", "bob")] {
        append(store, message(agent, person)).await;
        last.push(append(store, message(agent, person)).await.0);
    }
    last.sort_by_key(|message| message.conversation);
    assert_eq!(store.latest(None, 1_000).await.unwrap(), last);
    assert_eq!(store.latest(None, 2).await.unwrap(), last[..2]);
    assert_eq!(store.latest(Some(last[1].conversation), 1).await.unwrap(), last[2..3]);
    assert_eq!(store.latest(Some(last[3].conversation), 10).await.unwrap(), []);
}

async fn a_message_id_is_used_once(store: &dyn Store) {
    let first = message("luna", "ada");
    let stored = append(store, first.clone()).await.0;
    // In the same conversation and in another one; with everything that must not happen then.
    for again in [first.clone(), NewMessage { id: first.id, ..message("sol", "bob") }] {
        let calls = Calls::default();
        let again = NewMessage {
            text: "again".into(),
            quota: Some(Quota { month: 1, limit: None }),
            moves: Some(RelationDelta { trust: 0.25, ..no_move() }),
            ..again
        };
        assert!(store.append(again.clone(), calls.committed()).await.is_err());
        assert_eq!(calls.take(), [], "committed is not called for what is not stored");
        assert_eq!(store.messages_sent(&again.person, 1).await.unwrap(), 0, "it is not counted");
        let relation = store.relation(&again.agent, &again.person).await.unwrap();
        assert_eq!(relation, Relation::default(), "it moves nothing");
    }
    assert_eq!(store.history(stored.conversation, 0, 10).await.unwrap(), [stored]);
    assert_eq!(store.history(conversation("sol", "bob"), 0, 10).await.unwrap(), []);

    // The next ones do not jump over a position.
    assert_eq!(append(store, message("luna", "ada")).await.0.seq, 2);
    assert_eq!(append(store, message("sol", "bob")).await.0.seq, 1);
}

async fn a_message_counts_against_its_month(store: &dyn Store) {
    let counted = |person: &str, month, limit| NewMessage {
        quota: Some(Quota { month, limit }),
        ..message("luna", person)
    };
    append(store, counted("ada", 10, None)).await;
    append(store, counted("ada", 10, Some(2))).await;
    append(store, counted("ada", 11, Some(1))).await;
    append(store, counted("ada", -3, Some(u64::MAX))).await;
    append(store, counted("bob", 10, Some(1))).await;
    append(store, message("luna", "ada")).await;

    let sent = async |name: &str, month| store.messages_sent(&person(name).id, month).await.unwrap();
    assert_eq!(sent("ada", 10).await, 2);
    assert_eq!(sent("ada", 11).await, 1);
    assert_eq!(sent("ada", -3).await, 1);
    assert_eq!(sent("ada", 12).await, 0);
    assert_eq!(sent("bob", 10).await, 1);
}

async fn over_the_limit_nothing_is_stored(store: &dyn Store) {
    let calls = Calls::default();
    let tries = [(2, None), (2, None), (2, Some((2, 2))), (1, Some((2, 1))), (0, Some((2, 0))), (3, None)];
    for (limit, refused) in tries {
        let new = NewMessage {
            quota: Some(Quota { month: 7, limit: Some(limit) }),
            moves: Some(RelationDelta { trust: 0.125, ..no_move() }),
            ..message("luna", "ada")
        };
        let answer = store.append(new, calls.committed()).await.unwrap();
        match (answer, refused) {
            (Appended::OverQuota { current, limit }, Some(expected)) => {
                assert_eq!((current, limit), expected)
            }
            (Appended::Stored { .. }, None) => {}
            (answer, _) => panic!("with {limit} allowed, the answer is {answer:?}"),
        }
    }
    let ada = person("ada").id;
    let stored: Vec<_> = calls.take().into_iter().map(|(message, _)| message).collect();
    assert_eq!(stored.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(store.history(conversation("luna", "ada"), 0, 10).await.unwrap(), stored);
    assert_eq!(store.messages_sent(&ada, 7).await.unwrap(), 3);
    assert_eq!(store.relation(&agent("luna"), &ada).await.unwrap().trust, 0.5 + 3.0 * 0.125);
}

async fn feelings_move_with_the_message_and_stay_within_bounds(store: &dyn Store) {
    let moving = |moves| NewMessage { moves, ..message("luna", "ada") };
    let delta = RelationDelta { trust: 0.02, affinity: 0.03, respect: -0.02, love: 0.05, curiosity: 0.01 };
    let mut expected = Relation::default();
    for _ in 0..40 {
        expected = expected.moved(delta);
        assert_eq!(append(store, moving(Some(delta))).await.1, expected);
    }
    assert_eq!(
        (expected.affinity, expected.respect, expected.love, expected.meetings),
        (1.0, 0.0, 1.0, 40),
        "the bounds were reached"
    );
    assert_eq!(append(store, moving(None)).await.1, expected, "without a move the answer says how it is");
    expected.meetings += 1;
    assert_eq!(
        append(store, moving(Some(no_move()))).await.1,
        expected,
        "it is one more message all the same"
    );

    let ada = person("ada").id;
    assert_eq!(store.relation(&agent("luna"), &ada).await.unwrap(), expected);
    assert_eq!(store.relation(&agent("luna"), &person("bob").id).await.unwrap(), Relation::default());
    assert_eq!(store.relation(&agent("sol"), &ada).await.unwrap(), Relation::default());
}

async fn what_was_said_outlives_the_agent(store: &dyn Store) {
    let owner = person("ada");
    store.put_person(&owner).await.unwrap();
    let luna = crate::agents::Agent {
        id: agent("luna"),
        owner: owner.id.clone(),
        name: "Luna".into(),
        kind: "companion".into(),
        personality: String::new(),
        purpose: String::new(),
        tone: String::new(),
        visibility: "private".into(),
        created_at: Timestamp(1),
        persona: None,
    };
    store.put_agent(&luna).await.unwrap();
    let said = append(store, message("luna", "ada")).await.0;
    assert!(store.delete_agent(&luna.id).await.unwrap());
    assert_eq!(store.history(said.conversation, 0, 10).await.unwrap(), [said]);
}

/// Four threads with a runtime each, eight tasks on each, twelve messages from each, into five conversations.
async fn concurrent_messages_leave_no_hole(store: Arc<dyn Store>) {
    let calls = Calls::default();
    let threads = (0..4).map(|thread| {
        let (store, calls) = (Arc::clone(&store), calls.clone());
        elsewhere(move || async move {
            let tasks = (0..8).map(|task| {
                let (store, calls) = (Arc::clone(&store), calls.clone());
                async move {
                    for number in 0..12 {
                        let agent = format!("agent-{}", (thread + task + number) % 5);
                        let new = NewMessage {
                            text: format!("{thread}/{task}/{number}"),
                            quota: Some(Quota { month: 1, limit: None }),
                            moves: Some(RelationDelta { curiosity: 0.001, ..no_move() }),
                            ..message(&agent, "ada")
                        };
                        let answer = store.append(new, calls.committed()).await.unwrap();
                        let Appended::Stored { message, .. } = answer else { panic!("there is no limit") };
                        let seen = calls.0.lock().unwrap().iter().any(|(seen, _)| *seen == message);
                        assert!(seen, "committed is called before append returns");
                        let read = store.history(message.conversation, message.seq - 1, 1).await.unwrap();
                        assert_eq!(read, [message], "what was answered can be read");
                    }
                }
            });
            join_all(tasks).await;
        })
    });
    join_all(threads).await;

    const SENT: usize = 4 * 8 * 12;
    let mut conversations: HashMap<ConversationId, Vec<Message>> = HashMap::new();
    for (message, _) in calls.take() {
        conversations.entry(message.conversation).or_default().push(message);
    }
    assert_eq!(conversations.len(), 5);
    assert_eq!(conversations.values().map(Vec::len).sum::<usize>(), SENT);
    for (conversation, called) in conversations {
        let positions: Vec<u64> = called.iter().map(|message| message.seq).collect();
        let expected: Vec<u64> = (1..=called.len() as u64).collect();
        assert_eq!(positions, expected, "committed is called in the order of seq");
        assert_eq!(store.history(conversation, 0, u32::MAX).await.unwrap(), called);
    }
    assert_eq!(store.messages_sent(&person("ada").id, 1).await.unwrap(), SENT as u64);
}

async fn concurrent_messages_never_pass_the_limit(store: Arc<dyn Store>) {
    const LIMIT: u64 = 50;
    let calls = Calls::default();
    let threads = (0..4).map(|thread| {
        let (store, calls) = (Arc::clone(&store), calls.clone());
        elsewhere(move || async move {
            let tries = (0..32).map(|number| {
                let quota = Some(Quota { month: 1, limit: Some(LIMIT) });
                let new = NewMessage { quota, ..message(&format!("agent-{}", (thread + number) % 3), "ada") };
                store.append(new, calls.committed())
            });
            let answers = join_all(tries).await;
            let over =
                |answer: &Appended| matches!(answer, Appended::OverQuota { current: LIMIT, limit: LIMIT });
            answers.into_iter().filter(|answer| over(answer.as_ref().unwrap())).count() as u64
        })
    });
    let refused: u64 = join_all(threads).await.into_iter().sum();
    assert_eq!(refused, 4 * 32 - LIMIT);
    assert_eq!(calls.take().len() as u64, LIMIT);
    assert_eq!(store.messages_sent(&person("ada").id, 1).await.unwrap(), LIMIT);
    let mut stored = 0;
    for number in 0..3 {
        let place = conversation(&format!("agent-{number}"), "ada");
        stored += store.history(place, 0, u32::MAX).await.unwrap().len() as u64;
    }
    assert_eq!(stored, LIMIT);
}

/// What `committed` was called with, in the order of the calls.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<Mutex<Vec<(Message, Relation)>>>);

impl Calls {
    pub(super) fn committed(&self) -> Committed {
        let calls = Arc::clone(&self.0);
        Box::new(move |message, relation, _| calls.lock().unwrap().push((message.clone(), *relation)))
    }

    pub(super) fn take(&self) -> Vec<(Message, Relation)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

pub(super) async fn append(store: &dyn Store, new: NewMessage) -> (Message, Relation) {
    match store.append(new, Box::new(|_, _, _| ())).await.unwrap() {
        Appended::Stored { message, relation, .. } => (message, relation),
        over => panic!("{over:?} where nothing is used up"),
    }
}

fn agent(id: &str) -> AgentId {
    AgentId::parse(id).expect("the suite only uses ids that are valid")
}

fn conversation(agent_id: &str, person_id: &str) -> ConversationId {
    ConversationId::direct(&agent(agent_id), &person(person_id).id)
}

pub(super) fn message(agent_id: &str, person_id: &str) -> NewMessage {
    let person: PersonId = person(person_id).id;
    NewMessage {
        id: MessageId::random(),
        conversation: conversation(agent_id, person_id),
        agent: agent(agent_id),
        person,
        author: Party::Person,
        text: "hello".into(),
        at: Timestamp(1_700_000_000_000),
        quota: None,
        moves: None,
        once: None,
        charge: None,
    }
}

fn as_stored(new: &NewMessage, seq: u64) -> Message {
    Message {
        id: new.id,
        conversation: new.conversation,
        seq,
        agent: new.agent.clone(),
        person: new.person.clone(),
        author: new.author,
        text: new.text.clone(),
        at: new.at,
    }
}

fn no_move() -> RelationDelta {
    RelationDelta::default()
}

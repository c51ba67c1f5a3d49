//! Does a store remember tasks and agents at work, give each task to one agent, and tell of it in order?

use std::sync::{Arc, Mutex};

use futures_util::future::join_all;

use super::{awkward_texts, elsewhere, person};
use crate::agents::Agent;
use crate::ids::{AgentId, ConversationId, PersonId, TaskId, Timestamp};
use crate::ports::{Stepped, Store, TaskFilter};
use crate::refusal::Code;
use crate::tasks::{NewTask, Priority, Step, Task, TaskStatus};
use crate::workers::{AgentStatus, Control, Duties, Moved, Rank, Sign, Worker};

/// Everything about [`Tasks`](crate::ports::Tasks) and [`Workers`](crate::ports::Workers).
pub async fn suite(open: &impl AsyncFn() -> Arc<dyn Store>) {
    a_task_is_found_as_it_was_put(&*open().await).await;
    a_task_that_cannot_be_put_is_a_fault(&*open().await).await;
    tasks_are_listed_in_the_order_of_their_places(&*open().await).await;
    a_task_goes_all_its_ways(&*open().await).await;
    the_most_urgent_task_is_claimed_first_and_the_oldest_of_those(&*open().await).await;
    an_agent_claims_what_it_is_capable_of(&*open().await).await;
    nobody_gives_a_task_to_who_cannot_take_it(&*open().await).await;
    a_task_is_claimed_once_by_many(open().await).await;
    an_agent_at_work_is_found_as_it_is(&*open().await).await;
    an_agent_that_is_gone_gives_its_tasks_back(&*open().await).await;
    tasks_of_an_agent_that_was_deleted_wait_again(&*open().await).await;
    changes_are_told_once_and_in_order(open().await).await;
}

async fn a_task_is_found_as_it_was_put(store: &dyn Store) {
    let parent = put(store, "parent").await;
    let conversation = ConversationId::direct(&agent_id("luna"), &person("ada").id);
    for (number, text) in awkward_texts().iter().enumerate() {
        let priorities = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
        let new = NewTask {
            title: format!("title {text}"),
            description: text.clone(),
            priority: priorities[number % 4],
            payload: format!("payload {text}"),
            needs: (number % 2 == 0).then(|| text.clone()),
            parent: (number % 3 == 0).then_some(parent.id),
            conversation: (number % 2 == 1).then_some(conversation),
        };
        let task = new.begun(format!("person:{text}"), Timestamp(number as i64 - 3));
        assert_eq!(store.task(task.id).await.unwrap(), None, "it was never put");
        let stored = store.put_task(&task, Box::new(|_| ())).await.unwrap();
        assert_eq!(stored, Task { position: number as u64 + 2, ..task });
        assert_eq!(store.task(stored.id).await.unwrap(), Some(stored));
    }
}

async fn a_task_that_cannot_be_put_is_a_fault(store: &dyn Store) {
    let first = put(store, "first").await;
    let untold = || Box::new(|task: &Task| panic!("{task:?} was not stored"));
    assert!(store.put_task(&first, untold()).await.is_err(), "its id is taken");
    let orphan = Task { id: TaskId::random(), parent: Some(TaskId::random()), ..first.clone() };
    assert!(store.put_task(&orphan, untold()).await.is_err(), "its parent does not exist");
    assert_eq!(store.tasks(&TaskFilter::default(), 10).await.unwrap(), [first]);
}

async fn tasks_are_listed_in_the_order_of_their_places(store: &dyn Store) {
    enlist(store, "luna", &[]).await;
    let mut tasks = Vec::new();
    for number in 0..5 {
        tasks.push(put(store, &number.to_string()).await);
    }
    for number in [3, 1] {
        tasks[number] = step(store, &tasks[number], Step::Assign(agent_id("luna"))).await;
    }
    let list = async |filter: TaskFilter, limit| store.tasks(&filter, limit).await.unwrap();
    let all = TaskFilter::default;
    assert_eq!(list(all(), 10).await, tasks);
    assert_eq!(list(all(), 2).await, tasks[..2]);
    assert_eq!(list(TaskFilter { after: tasks[1].position, ..all() }, 2).await, tasks[2..4]);
    assert_eq!(list(TaskFilter { after: u64::MAX, ..all() }, 2).await, []);
    let waiting = TaskFilter { status: Some(TaskStatus::Pending), ..all() };
    assert_eq!(list(waiting, 10).await, [tasks[0].clone(), tasks[2].clone(), tasks[4].clone()]);
    let lunas = TaskFilter { agent: Some(agent_id("luna")), ..all() };
    assert_eq!(list(lunas.clone(), 10).await, [tasks[1].clone(), tasks[3].clone()]);
    let later = TaskFilter { after: tasks[1].position, status: Some(TaskStatus::Assigned), ..lunas };
    assert_eq!(list(later, 10).await, [tasks[3].clone()]);
    assert_eq!(list(TaskFilter { agent: Some(agent_id("rex")), ..all() }, 10).await, []);
}

async fn a_task_goes_all_its_ways(store: &dyn Store) {
    enlist(store, "luna", &[]).await;
    let luna = || agent_id("luna");
    let ways: [&[Step]; 3] = [
        &[
            Step::Assign(luna()),
            Step::Claim(luna()),
            Step::Start(luna()),
            Step::Progress(luna(), "{}".into()),
            Step::Complete(luna(), "[1]".into()),
        ],
        &[Step::Claim(luna()), Step::Fail(luna(), "no\0 \"way\"".into())],
        &[Step::Cancel],
    ];
    for way in ways {
        let mut expected = put(store, "task").await;
        for (number, step) in way.iter().enumerate() {
            let at = Timestamp(number as i64 + 10);
            let after = expected.after(step, at).unwrap().unwrap();
            assert_eq!(
                store.step_task(expected.id, step, at, untold_or(Some(&after))).await.unwrap(),
                Stepped::Done(after.clone())
            );
            assert_eq!(store.task(after.id).await.unwrap().as_ref(), Some(&after));
            expected = after;
        }
        let last = way.last().expect("no way is empty");
        let again = store.step_task(expected.id, last, Timestamp(99), untold_or(None)).await.unwrap();
        assert_eq!(again, Stepped::Repeated(expected.clone()));
        let late = Step::Start(luna());
        let refused = store.step_task(expected.id, &late, Timestamp(99), untold_or(None)).await.unwrap();
        assert!(matches!(refused, Stepped::Refused(refusal) if refusal.code == Code::Conflict));
        assert_eq!(store.task(expected.id).await.unwrap(), Some(expected));
    }
    let nowhere = store.step_task(TaskId::random(), &Step::Cancel, Timestamp(1), untold_or(None)).await;
    assert_eq!(nowhere.unwrap(), Stepped::NoTask);
}

async fn the_most_urgent_task_is_claimed_first_and_the_oldest_of_those(store: &dyn Store) {
    enlist(store, "luna", &[]).await;
    let order = [Priority::Medium, Priority::Low, Priority::Critical, Priority::Medium, Priority::High];
    let mut tasks = Vec::new();
    for priority in order {
        let task = Task { priority, ..new_task("task", None) };
        tasks.push(store.put_task(&task, Box::new(|_| ())).await.unwrap());
    }
    for expected in [2, 4, 0, 3, 1] {
        assert_eq!(claim(store, "luna").await.map(|task| task.id), Some(tasks[expected].id));
    }
    assert_eq!(claim(store, "luna").await, None);
    assert!(
        store.worker(&agent_id("luna")).await.unwrap().unwrap().is_watched(),
        "a claim is a sign of life"
    );
}

async fn an_agent_claims_what_it_is_capable_of(store: &dyn Store) {
    enlist(store, "luna", &["paint", "o'brien\"; --"]).await;
    enlist(store, "rex", &[]).await;
    for needs in [Some("bark"), Some("paint"), Some("Paint"), None, Some("o'brien\"; --")] {
        store.put_task(&new_task(needs.unwrap_or("anything"), needs), Box::new(|_| ())).await.unwrap();
    }
    let only = async |needs: &[&str]| {
        let needs: Vec<String> = needs.iter().map(ToString::to_string).collect();
        let claimed =
            store.claim_task(&agent_id("luna"), Some(&needs), Timestamp(2), Box::new(|_| ())).await.unwrap();
        match claimed {
            Stepped::Done(Some(task)) => Some(task.title),
            Stepped::Repeated(None) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(only(&["bark"]).await, None, "she is not capable of it");
    assert_eq!(only(&[]).await, None);
    assert_eq!(only(&["bark", "o'brien\"; --"]).await.as_deref(), Some("o'brien\"; --"));
    assert_eq!(claim(store, "rex").await.map(|task| task.title).as_deref(), Some("anything"));
    assert_eq!(claim(store, "rex").await, None);
    assert_eq!(claim(store, "luna").await.map(|task| task.title).as_deref(), Some("paint"));
    assert_eq!(claim(store, "luna").await, None);
}

async fn nobody_gives_a_task_to_who_cannot_take_it(store: &dyn Store) {
    let task = put(store, "task").await;
    let ghost = agent_id("ghost");
    for step in [Step::Assign(ghost.clone()), Step::Claim(ghost.clone())] {
        let nobody = store.step_task(task.id, &step, Timestamp(1), untold_or(None)).await.unwrap();
        assert_eq!(nobody, Stepped::NoAgent);
    }
    let nobody = store.claim_task(&ghost, None, Timestamp(1), untold_or(None)).await.unwrap();
    assert_eq!(nobody, Stepped::NoAgent);

    enlist(store, "luna", &[]).await;
    let luna = agent_id("luna");
    sign(store, "luna", Sign::Control(Control::Pause), 1).await;
    let refused = |stepped: bool| assert!(stepped, "a paused agent claims nothing");
    let claim = Step::Claim(luna.clone());
    let one = store.step_task(task.id, &claim, Timestamp(1), untold_or(None)).await.unwrap();
    refused(matches!(one, Stepped::Refused(_)));
    let any = store.claim_task(&luna, None, Timestamp(1), untold_or(None)).await.unwrap();
    refused(matches!(any, Stepped::Refused(_)));
    sign(store, "luna", Sign::Control(Control::Stop), 2).await;
    let given = store.step_task(task.id, &Step::Assign(luna), Timestamp(1), untold_or(None)).await.unwrap();
    assert!(matches!(given, Stepped::Refused(_)), "an agent that ends is given nothing");
    assert_eq!(store.task(task.id).await.unwrap(), Some(task));
}

/// Agents on threads of their own take everything there is.
async fn a_task_is_claimed_once_by_many(store: Arc<dyn Store>) {
    const TASKS: usize = 60;
    for number in 0..TASKS {
        put(&*store, &number.to_string()).await;
    }
    for name in ["a", "b", "c", "d"] {
        enlist(&*store, name, &[]).await;
    }
    let claimants = ["a", "b", "c", "d"].map(|name| {
        let store = Arc::clone(&store);
        elsewhere(move || async move {
            let mut claimed = Vec::new();
            while let Some(task) = claim(&*store, name).await {
                assert_eq!(task.agent, Some(agent_id(name)));
                claimed.push(task.id);
            }
            claimed
        })
    });
    let mut claimed: Vec<TaskId> = join_all(claimants).await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), TASKS);
    claimed.sort_unstable();
    claimed.dedup();
    assert_eq!(claimed.len(), TASKS, "no task was claimed twice");
}

async fn an_agent_at_work_is_found_as_it_is(store: &dyn Store) {
    let ghost = agent_id("ghost");
    assert_eq!(store.worker(&ghost).await.unwrap(), None);
    assert_eq!(store.enlist(&ghost, &Duties::default()).await.unwrap(), None);
    let nobody = Box::new(|moved: &Moved| panic!("{moved:?}"));
    let beat = Sign::Heartbeat(None);
    assert_eq!(store.move_worker(&ghost, &beat, Timestamp(1), nobody).await.unwrap(), Stepped::NoAgent);

    put_agent(store, "luna").await;
    let luna = agent_id("luna");
    let mut expected = Worker::unlisted(luna.clone());
    assert_eq!(store.worker(&luna).await.unwrap().as_ref(), Some(&expected));
    assert_eq!(store.workers(None, 10).await.unwrap(), []);

    let duties = Duties {
        rank: Rank::Subagent,
        capabilities: awkward_texts(),
        version: "1.0 'é'".into(),
        parent: Some(agent_id("rex")),
    };
    expected = Worker { status: AgentStatus::Idle, duties: duties.clone(), ..expected };
    assert_eq!(store.enlist(&luna, &duties).await.unwrap().as_ref(), Some(&expected));
    let signs = [
        Sign::Status(AgentStatus::Initializing),
        Sign::Heartbeat(Some("{\"é\":\"\\u0000\"}".into())),
        Sign::Status(AgentStatus::Ready),
        Sign::Control(Control::Pause),
        Sign::Silence(Timestamp(12)),
        Sign::Heartbeat(None),
    ];
    for (number, sign) in signs.into_iter().enumerate() {
        let (old, at) = (expected.status, Timestamp(number as i64 + 10));
        expected = expected.after(&sign, at).unwrap().unwrap_or_else(|| panic!("{sign:?} changes nothing"));
        let moved = Moved { old, worker: expected.clone(), returned: Vec::new() };
        let done = store.move_worker(&luna, &sign, at, Box::new(|_| ())).await.unwrap();
        assert_eq!(done, Stepped::Done(moved));
        assert_eq!(store.worker(&luna).await.unwrap().as_ref(), Some(&expected));
    }
    let refused = Sign::Status(AgentStatus::Error);
    let untold = || Box::new(|moved: &Moved| panic!("{moved:?} changes nothing"));
    let refused = store.move_worker(&luna, &refused, Timestamp(99), untold()).await.unwrap();
    assert!(matches!(refused, Stepped::Refused(_)));
    let stale =
        store.move_worker(&luna, &Sign::Silence(Timestamp(10)), Timestamp(99), untold()).await.unwrap();
    assert!(matches!(stale, Stepped::Repeated(moved) if moved.worker == expected));

    // Other duties leave the rest as it is.
    let duties = Duties { version: "2".into(), ..Duties::default() };
    expected.duties = duties.clone();
    assert_eq!(store.enlist(&luna, &duties).await.unwrap().as_ref(), Some(&expected));
    enlist(store, "ann", &[]).await;
    let names = async |after: Option<&str>, limit| {
        let workers = store.workers(after.map(agent_id).as_ref(), limit).await.unwrap();
        workers.into_iter().map(|worker| worker.agent.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(None, 10).await, ["ann", "luna"]);
    assert_eq!(names(None, 1).await, ["ann"]);
    assert_eq!(names(Some("ann"), 10).await, ["luna"]);
    put_agent(store, "zoe").await;
    let given = put(store, "given").await;
    let given = step(store, &given, Step::Assign(agent_id("zoe"))).await;
    assert_eq!(names(Some("luna"), 10).await, [""; 0], "being given a task says nothing about an agent");
    step(store, &given, Step::Start(agent_id("zoe"))).await;
    assert!(store.worker(&agent_id("zoe")).await.unwrap().unwrap().is_watched(), "beginning with it does");
    store.delete_agent(&agent_id("zoe")).await.unwrap();
    store.delete_agent(&luna).await.unwrap();
    assert_eq!(names(None, 10).await, ["ann"], "who does not exist does not work");
    put_agent(store, "luna").await;
    assert_eq!(store.worker(&luna).await.unwrap(), Some(Worker::unlisted(luna)), "nor is it remembered");
}

async fn an_agent_that_is_gone_gives_its_tasks_back(store: &dyn Store) {
    enlist(store, "luna", &[]).await;
    enlist(store, "rex", &[]).await;
    let luna = agent_id("luna");
    let mut tasks = Vec::new();
    for number in 0..4 {
        tasks.push(put(store, &number.to_string()).await);
    }
    tasks[0] = step(store, &tasks[0], Step::Claim(luna.clone())).await;
    tasks[0] = step(store, &tasks[0], Step::Start(luna.clone())).await;
    tasks[1] = step(store, &tasks[1], Step::Assign(luna.clone())).await;
    tasks[2] = step(store, &tasks[2], Step::Claim(agent_id("rex"))).await;
    tasks[3] = step(store, &tasks[3], Step::Claim(luna.clone())).await;
    tasks[3] = step(store, &tasks[3], Step::Fail(luna.clone(), "no".into())).await;
    let heard_at = store.worker(&luna).await.unwrap().unwrap().heard_at.unwrap();
    let moved = sign(store, "luna", Sign::Silence(heard_at), 50).await;
    assert_eq!((moved.old, moved.worker.status), (AgentStatus::Ready, AgentStatus::Offline));
    assert_eq!(moved.returned, tasks[..2]);
    for task in &moved.returned {
        assert_eq!(store.task(task.id).await.unwrap(), task.returned());
    }
    for task in &tasks[2..] {
        assert_eq!(store.task(task.id).await.unwrap().as_ref(), Some(task), "others stay where they are");
    }
    assert_eq!(claim(store, "rex").await.map(|task| (task.id, task.reclaims)), Some((tasks[0].id, 1)));
    // Too late for who had it.
    let late = Step::Complete(luna, "1".into());
    let late = store.step_task(tasks[0].id, &late, Timestamp(60), untold_or(None)).await.unwrap();
    assert!(matches!(late, Stepped::Refused(refusal) if refusal.code == Code::Conflict));
}

async fn tasks_of_an_agent_that_was_deleted_wait_again(store: &dyn Store) {
    enlist(store, "luna", &[]).await;
    enlist(store, "rex", &[]).await;
    let (one, two) = (put(store, "one").await, put(store, "two").await);
    let one = step(store, &one, Step::Assign(agent_id("luna"))).await;
    let two = step(store, &two, Step::Assign(agent_id("rex"))).await;
    let untold = || Box::new(|tasks: &[Task]| panic!("{tasks:?} have an agent"));
    assert_eq!(store.return_tasks(untold()).await.unwrap(), []);
    store.delete_agent(&agent_id("luna")).await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&told);
    let committed = Box::new(move |tasks: &[Task]| *tell.lock().unwrap() = tasks.to_vec());
    assert_eq!(store.return_tasks(committed).await.unwrap(), std::slice::from_ref(&one));
    assert_eq!(*told.lock().unwrap(), std::slice::from_ref(&one));
    assert_eq!(store.task(one.id).await.unwrap(), one.returned());
    assert_eq!(store.task(two.id).await.unwrap(), Some(two));
    assert_eq!(store.return_tasks(untold()).await.unwrap(), []);
}

/// Several agents work while what is committed is written down: the last that is told of a task is how it is, and its versions
/// come one after the other.
async fn changes_are_told_once_and_in_order(store: Arc<dyn Store>) {
    const TASKS: u64 = 20;
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = |told: &Arc<Mutex<Vec<Task>>>| {
        let told = Arc::clone(told);
        Box::new(move |task: &Task| told.lock().unwrap().push(task.clone()))
    };
    for number in 0..TASKS {
        store.put_task(&new_task(&number.to_string(), None), teller(&told)).await.unwrap();
    }
    let workers = ["a", "b", "c"].map(|name| {
        let (store, told) = (Arc::clone(&store), Arc::clone(&told));
        elsewhere(move || async move {
            enlist(&*store, name, &[]).await;
            let agent = agent_id(name);
            loop {
                let claimed = store.claim_task(&agent, None, Timestamp(5), teller(&told)).await.unwrap();
                let Stepped::Done(Some(task)) = claimed else { return };
                for step in [Step::Start(agent.clone()), Step::Complete(agent.clone(), "1".into())] {
                    let done = store.step_task(task.id, &step, Timestamp(6), teller(&told)).await.unwrap();
                    assert!(matches!(done, Stepped::Done(_)), "{done:?}");
                }
            }
        })
    });
    join_all(workers).await;
    let told = told.lock().unwrap().clone();
    assert_eq!(told.len() as u64, 4 * TASKS);
    for task in store.tasks(&TaskFilter::default(), 1_000).await.unwrap() {
        let of_this: Vec<&Task> = told.iter().filter(|other| other.id == task.id).collect();
        let versions: Vec<u64> = of_this.iter().map(|task| task.version).collect();
        assert_eq!(versions, [1, 2, 3, 4]);
        assert_eq!(of_this.last(), Some(&&task));
    }
}

/// A callback that must be called with `expected`, if at all.
fn untold_or(expected: Option<&Task>) -> crate::ports::TaskCommitted {
    let expected = expected.cloned();
    Box::new(move |task| assert_eq!(Some(task), expected.as_ref()))
}

async fn sign(store: &dyn Store, name: &str, sign: Sign, at: i64) -> Moved {
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let committed = Box::new(move |moved: &Moved| *tell.lock().unwrap() = Some(moved.clone()));
    match store.move_worker(&agent_id(name), &sign, Timestamp(at), committed).await.unwrap() {
        Stepped::Done(moved) => {
            assert_eq!(told.lock().unwrap().as_ref(), Some(&moved), "what was done is told");
            moved
        }
        other => panic!("{sign:?} came to {other:?}"),
    }
}

async fn claim(store: &dyn Store, name: &str) -> Option<Task> {
    match store.claim_task(&agent_id(name), None, Timestamp(20), Box::new(|_| ())).await.unwrap() {
        Stepped::Done(Some(task)) => Some(task),
        Stepped::Repeated(None) => None,
        other => panic!("{other:?}"),
    }
}

async fn step(store: &dyn Store, task: &Task, step: Step) -> Task {
    match store.step_task(task.id, &step, Timestamp(30), Box::new(|_| ())).await.unwrap() {
        Stepped::Done(task) => task,
        other => panic!("{step:?} came to {other:?}"),
    }
}

async fn put(store: &dyn Store, title: &str) -> Task {
    store.put_task(&new_task(title, None), Box::new(|_| ())).await.unwrap()
}

fn new_task(title: &str, needs: Option<&str>) -> Task {
    let new = NewTask {
        title: title.into(),
        description: String::new(),
        priority: Priority::Medium,
        payload: "{}".into(),
        needs: needs.map(str::to_owned),
        parent: None,
        conversation: None,
    };
    new.begun("operator".into(), Timestamp(1))
}

/// An agent that is ready to work.
async fn enlist(store: &dyn Store, name: &str, capabilities: &[&str]) {
    put_agent(store, name).await;
    let capabilities = capabilities.iter().map(ToString::to_string).collect();
    let duties = Duties { rank: Rank::Worker, capabilities, ..Duties::default() };
    store.enlist(&agent_id(name), &duties).await.unwrap().expect("it has just been put");
    for (at, status) in [AgentStatus::Initializing, AgentStatus::Ready].into_iter().enumerate() {
        sign(store, name, Sign::Status(status), at as i64).await;
    }
}

async fn put_agent(store: &dyn Store, name: &str) {
    store.put_person(&person("ada")).await.unwrap();
    let agent = Agent {
        id: agent_id(name),
        owner: PersonId::parse("ada").expect("a valid id"),
        name: name.into(),
        kind: "worker".into(),
        personality: String::new(),
        purpose: String::new(),
        tone: String::new(),
        visibility: "private".into(),
        created_at: Timestamp(1),
        persona: None,
    };
    store.put_agent(&agent).await.unwrap();
}

fn agent_id(name: &str) -> AgentId {
    AgentId::parse(name).expect("the suite only uses ids that are valid")
}

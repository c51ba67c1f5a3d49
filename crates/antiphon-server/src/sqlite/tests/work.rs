//! Does what agents do survive on the disk, is it found by index, and is it fast enough?

use std::collections::HashSet;
use std::time::Instant;

use antiphon_core::agents::Agent;
use antiphon_core::ids::TaskId;
use antiphon_core::ports::{Agents, Stepped, TaskFilter, Tasks, Workers};
use antiphon_core::tasks::{NewTask, Priority, Step, Task, TaskStatus};
use antiphon_core::workers::{AgentStatus, Duties, Sign};
use rusqlite::params;

use super::credentials::plan;
use super::*;
use crate::sqlite::{directory, tasks};

#[tokio::test]
async fn tasks_and_agents_at_work_are_found_again_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    put_agent(&store, "luna").await;
    let luna = agent_id("luna");
    store.enlist(&luna, &Duties { version: "1".into(), ..Duties::default() }).await.unwrap();
    for (at, status) in [AgentStatus::Initializing, AgentStatus::Ready].into_iter().enumerate() {
        let at = Timestamp(at as i64);
        store.move_worker(&luna, &Sign::Status(status), at, Box::new(|_| ())).await.unwrap();
    }
    let waiting = put(&store, "waiting").await;
    let claimed = store.claim_task(&luna, None, Timestamp(5), Box::new(|_| ())).await.unwrap();
    let Stepped::Done(Some(claimed)) = claimed else { panic!("{claimed:?}") };
    let next = put(&store, "next").await;
    let worker = store.worker(&luna).await.unwrap();
    assert_eq!(worker.as_ref().unwrap().heard_at, Some(Timestamp(5)));
    drop(store);

    let store = open(directory.path(), patient());
    assert_eq!(waiting.id, claimed.id);
    assert_eq!(store.tasks(&TaskFilter::default(), 10).await.unwrap(), [claimed.clone(), next.clone()]);
    assert_eq!(store.worker(&luna).await.unwrap(), worker);
    // Its silence is noticed although it was heard by another process.
    let gone = Sign::Silence(Timestamp(5));
    let gone = store.move_worker(&luna, &gone, Timestamp(9), Box::new(|_| ())).await.unwrap();
    let Stepped::Done(gone) = gone else { panic!("{gone:?}") };
    assert_eq!(gone.returned, std::slice::from_ref(&claimed));
    assert_eq!(store.task(claimed.id).await.unwrap(), claimed.returned());
    assert_eq!(put(&store, "last").await.position, next.position + 1);
}

#[tokio::test]
async fn a_task_is_claimed_and_taken_back_by_index() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let next = plan(&store, tasks::NEXT).await;
    assert!(next.iter().any(|step| step.contains("USING INDEX tasks_waiting")), "{next:?}");
    assert!(!next.iter().any(|step| step.contains("ORDER BY")), "nothing has to be sorted: {next:?}");
    let held = plan(&store, tasks::HELD).await;
    assert!(held.iter().any(|step| step.contains("tasks_held (agent=?)")), "{held:?}");
    let luna = Some(agent_id("luna"));
    let lists = [
        (TaskFilter::default(), "PRIMARY KEY (rowid>?)"),
        (
            TaskFilter { status: Some(TaskStatus::Pending), ..TaskFilter::default() },
            "tasks_by_status (status=?",
        ),
        (TaskFilter { agent: luna.clone(), ..TaskFilter::default() }, "tasks_of_agent (agent=?"),
        (TaskFilter { agent: luna, status: Some(TaskStatus::Failed), after: 0 }, "tasks_of_agent (agent=?"),
    ];
    for (filter, index) in lists {
        let steps = plan(&store, tasks::listing(&filter)).await;
        assert!(steps.len() == 1 && steps[0].contains(index), "{filter:?}: {steps:?}");
    }
}

#[tokio::test]
async fn the_database_itself_refuses_a_task_that_cannot_be() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    let task = put(&store, "task").await;
    let stranger = stranger(&directory);
    for change in ["status = 'running'", "agent = 'luna'", "status = 'lost'", "priority = 4"] {
        let refused = stranger.execute(&format!("UPDATE tasks SET {change}"), []);
        assert_eq!(
            refused.unwrap_err().sqlite_error_code(),
            Some(ErrorCode::ConstraintViolation),
            "{change}"
        );
    }
    assert_eq!(store.task(task.id).await.unwrap(), Some(task));
}

#[tokio::test]
async fn a_store_from_before_there_were_tasks_gets_them() {
    let directory = TempDir::new().unwrap();
    let mut old = Connection::open(directory.path().join("antiphon.db")).unwrap();
    let migrations = directory::migrations().unwrap();
    let before: Vec<_> = migrations.into_iter().filter(|migration| migration.version() < 5).collect();
    refinery::Runner::new(&before).run(&mut old).unwrap();
    old.execute("INSERT INTO people (id, plan, created_at) VALUES (?1, 'free', 1)", params!["ada"]).unwrap();
    drop(old);
    let store = open(directory.path(), patient());
    put_agent(&store, "luna").await;
    put(&store, "task").await;
    let claimed = store.claim_task(&agent_id("luna"), None, Timestamp(2), Box::new(|_| ())).await.unwrap();
    assert!(matches!(claimed, Stepped::Done(Some(_))), "{claimed:?}");
}

/// 200 agents race for 10,000 tasks. Run with `cargo test --release -p antiphon-server --lib claims_a_second -- --ignored
/// --nocapture`; it prints the rate.
#[tokio::test]
#[ignore = "measures: best run alone, in release mode"]
async fn two_hundred_agents_claim_two_thousand_tasks_a_second_and_none_twice() {
    const TASKS: usize = 10_000;
    const AGENTS: usize = 200;
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), Settings::default());
    for number in 0..AGENTS {
        put_agent(&store, &format!("agent-{number}")).await;
    }
    let priorities = [Priority::Low, Priority::Medium, Priority::High, Priority::Critical];
    join_all((0..TASKS).map(|number| {
        let task = Task { priority: priorities[number % 4], ..new_task("task") };
        let store = Arc::clone(&store);
        async move { store.put_task(&task, Box::new(|_| ())).await.unwrap() }
    }))
    .await;

    let began = Instant::now();
    let claimants = (0..AGENTS).map(|number| {
        let (store, agent) = (Arc::clone(&store), agent_id(&format!("agent-{number}")));
        tokio::spawn(async move {
            let mut claimed: Vec<(Priority, TaskId)> = Vec::new();
            loop {
                match store.claim_task(&agent, None, Timestamp(2), Box::new(|_| ())).await.unwrap() {
                    Stepped::Done(Some(task)) => claimed.push((task.priority, task.id)),
                    Stepped::Repeated(None) => return claimed,
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    let mut claimed = Vec::new();
    for claimant in join_all(claimants).await {
        let claims = claimant.unwrap();
        assert!(claims.is_sorted_by(|a, b| a.0 >= b.0), "what is more urgent is claimed first");
        claimed.extend(claims);
    }
    let took = began.elapsed();
    let different: HashSet<_> = claimed.iter().map(|(_, id)| *id).collect();
    assert_eq!((claimed.len(), different.len()), (TASKS, TASKS), "every task once");
    let assigned = TaskFilter { status: Some(TaskStatus::Assigned), ..TaskFilter::default() };
    assert_eq!(store.tasks(&assigned, u32::MAX).await.unwrap().len(), TASKS);
    let rate = TASKS as f64 / took.as_secs_f64();
    #[expect(clippy::print_stdout, reason = "this is what it is run for")]
    {
        println!("{TASKS} tasks claimed by {AGENTS} agents in {took:?}: {rate:.0} claims/s");
    }
    assert!(rate >= 2_000.0, "{rate:.0} claims/s");
}

#[tokio::test]
async fn a_step_that_is_not_stored_is_not_told() {
    let directory = TempDir::new().unwrap();
    let store = open(directory.path(), patient());
    put_agent(&store, "luna").await;
    let task = put(&store, "task").await;
    set_page_limit(&store, |pages| pages).await;
    // The task grows over the end of the file.
    let long = "x".repeat(32 * 1024);
    store.step_task(task.id, &Step::Claim(agent_id("luna")), Timestamp(2), Box::new(|_| ())).await.unwrap();
    let fail = Step::Fail(agent_id("luna"), long);
    let untold = Box::new(|task: &Task| panic!("{task:?} is not stored"));
    let fault = store.step_task(task.id, &fail, Timestamp(3), untold).await.unwrap_err();
    assert_eq!(code(&fault), Some(ErrorCode::DiskFull));
    assert_eq!(store.task(task.id).await.unwrap().unwrap().status, TaskStatus::Assigned);
}

async fn put(store: &SqliteStore, title: &str) -> Task {
    store.put_task(&new_task(title), Box::new(|_| ())).await.unwrap()
}

pub(super) fn new_task(title: &str) -> Task {
    let new = NewTask {
        title: title.into(),
        description: String::new(),
        priority: Priority::Medium,
        payload: "{}".into(),
        needs: None,
        parent: None,
        conversation: None,
    };
    new.begun("operator".into(), Timestamp(1))
}

pub(super) async fn put_agent(store: &SqliteStore, name: &str) {
    store.put_person(&person("ada")).await.unwrap();
    let agent = Agent {
        id: agent_id(name),
        owner: person("ada").id,
        name: name.into(),
        kind: "worker".into(),
        personality: String::new(),
        purpose: String::new(),
        tone: String::new(),
        visibility: "private".into(),
        persona: None,
        created_at: Timestamp(1),
    };
    store.put_agent(&agent).await.unwrap();
}

fn agent_id(name: &str) -> AgentId {
    AgentId::parse(name).unwrap()
}

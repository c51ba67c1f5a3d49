//! Do ledgers keep every rule when the process is killed in the middle of everything? (T-20)
//!
//! The test starts itself as another process, the victim, which has a core over a database and asks it for a thousand things at
//! once: rewards, withdrawals, and messages that cost something, half of which are never answered. It writes down what was
//! acknowledged and is killed at any moment. `ROUNDS` says how often; each round is another day.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command as Process, Stdio};
use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::{Actor, Caller, Claim, Person, Plan, Principal};
use antiphon_core::agents::Agent;
use antiphon_core::app::{App, Ports, Settings as Rules};
use antiphon_core::command::{Command, Outcome};
use antiphon_core::contract::wallets::adds_up;
use antiphon_core::conversation::Party;
use antiphon_core::ids::{AgentId, ConversationId, PersonId, Timestamp};
use antiphon_core::memory::{ManualClock, MemoryBus, MemoryLeases, NoChain, RecordingAudience};
use antiphon_core::ports::{Agents, Answer, Conversations, Model, People, Prompt, Wallets};
use antiphon_core::refusal::Code;
use antiphon_core::wallet::Reason;
use antiphon_server::sqlite::{Settings, SqliteStore};
use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};

/// Says to the process that it is the victim: the data directory.
const VICTIM: &str = "ANTIPHON_WALLET_VICTIM";

/// Which day it is for the victim, counted from 1970.
const TODAY: &str = "ANTIPHON_WALLET_DAY";

const NAME: &str = "t20_ledgers_keep_every_rule_however_often_the_process_is_killed";
const AGENTS: usize = 20;
const AT_ONCE: usize = 1_000;
const DAY: i64 = 86_400_000;

#[test]
fn t20_ledgers_keep_every_rule_however_often_the_process_is_killed() {
    if let Ok(directory) = std::env::var(VICTIM) {
        return victim(Path::new(&directory));
    }
    let rounds: i64 = std::env::var("ROUNDS").map_or(3, |rounds| rounds.parse().expect("ROUNDS is a number"));
    let directory = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut acknowledged = HashMap::new();
    let (mut claimed, mut open) = (HashSet::new(), 0);
    let mut most_open = 0;
    for round in 0..rounds {
        let day = 20_000 + round;
        // A different moment each time, from before the first acknowledgement to long after.
        let lines = (round * 37 % 23 * 40) as usize;
        let heard = run_and_kill(directory.path(), day, lines, open);
        for line in &heard {
            let mut words = line.split(' ');
            let (kind, position, amount) = (words.next(), words.next(), words.next());
            let number = |word: Option<&str>| word.and_then(|word| word.parse::<i64>().ok());
            let (Some(kind), Some(position), Some(amount)) = (kind, number(position), number(amount)) else {
                panic!("the victim said {line:?}")
            };
            if kind == "reward" {
                claimed.insert(Timestamp(day * DAY).date());
            }
            let before = acknowledged.insert(position, amount);
            assert!(before.is_none_or(|before| before == amount), "entry {position} is what it was");
        }
        open = runtime.block_on(inspect(directory.path(), &acknowledged, &claimed));
        most_open = most_open.max(open);
    }
    runtime.block_on(async {
        let (app, store) = core(directory.path(), 0).await;
        assert_eq!(app.recover().await.expect("the store works"), open);
        assert_eq!(store.open_charges(10).await.expect("the store works"), []);
        let entries = store.ledger(&ada(), 0, u32::MAX).await.expect("the store works").len();
        report(&format!(
            "{rounds} rounds: {} acknowledged of {entries} entries, {} rewards on as many days, up to {most_open} \
             unanswered messages refunded at a start",
            acknowledged.len(),
            claimed.len(),
        ));
    });
    assert!(!acknowledged.is_empty(), "nothing was acknowledged, so nothing was tried");
}

/// Starts the victim, hears so many acknowledgements, kills it, and returns all it said.
fn run_and_kill(directory: &Path, day: i64, lines: usize, open: u64) -> Vec<String> {
    let mut victim = Process::new(std::env::current_exe().expect("this is a program"))
        .args(["--exact", NAME, "--nocapture"])
        .env(VICTIM, directory)
        .env(TODAY, day.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim starts");
    let said = BufReader::new(victim.stdout.take().expect("it is piped"));
    let mut heard = Vec::new();
    let mut killed = false;
    for line in said.lines() {
        // The last line may have lost its end, and comes all the same: only one with its full stop was said to its end.
        let line = line.expect("the victim speaks in text");
        if let Some(refunded) =
            line.strip_prefix("wallet: recovered ").and_then(|rest| rest.strip_suffix('.'))
        {
            assert_eq!(refunded, open.to_string(), "every unanswered message is refunded at the next start");
        } else if let Some(ack) = line.strip_prefix("wallet: ").and_then(|rest| rest.strip_suffix('.')) {
            heard.push(ack.to_owned());
        }
        if heard.len() >= lines && line.starts_with("wallet: ") && !killed {
            victim.kill().expect("the victim can be killed");
            killed = true;
        }
    }
    let status = victim.wait().expect("the victim is ours");
    assert!(killed && !status.success(), "the victim ended by itself: {status}, after {} lines", heard.len());
    heard
}

/// Looks at every rule; returns how many charges are open.
async fn inspect(directory: &Path, acknowledged: &HashMap<i64, i64>, claimed: &HashSet<String>) -> u64 {
    let store = open(directory);
    adds_up(&store, &ada()).await;
    let entries = store.ledger(&ada(), 0, u32::MAX).await.expect("the store works");
    for (position, amount) in acknowledged {
        let entry = entries.get(*position as usize - 1).unwrap_or_else(|| panic!("entry {position} is lost"));
        assert_eq!(entry.amount, *amount, "entry {position}");
    }
    let keys =
        |reason| entries.iter().filter(move |entry| entry.reason == reason).map(|entry| entry.key.clone());
    let days: Vec<_> = keys(Reason::Reward).flatten().collect();
    let different: HashSet<_> = days.iter().cloned().collect();
    assert_eq!(days.len(), different.len(), "one reward a day");
    assert!(claimed.is_subset(&different), "no acknowledged reward is lost");

    let (mut asked, mut answered) = (0, 0);
    for number in 0..AGENTS {
        let conversation = ConversationId::direct(&agent_id(number), &ada());
        for message in store.history(conversation, 0, u32::MAX).await.expect("the store works") {
            match message.author {
                Party::Person => asked += 1,
                Party::Agent => answered += 1,
            }
        }
    }
    let (charged, refunded) = (keys(Reason::Chat).count(), keys(Reason::Refund).count());
    assert_eq!(charged, asked, "every message was paid for, and every payment has its message");
    let open = store.open_charges(u32::MAX).await.expect("the store works").len();
    assert_eq!(
        charged,
        answered + refunded + open,
        "a price is kept, given back, or waits for the next start"
    );
    store.close().await.expect("the store can be closed");
    open as u64
}

/// Asks for a thousand things at once, again and again, until it is killed.
fn victim(directory: &Path) {
    let day: i64 = std::env::var(TODAY).expect("it is some day").parse().expect("a number");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (app, store) = core(directory, day).await;
        say(&format!("recovered {}", app.recover().await.expect("the store works")));
        let plan = Plan {
            name: "free".into(),
            connections_per_minute: None,
            messages_per_month: None,
            agents: None,
        };
        store.put_plan(&plan).await.expect("the store works");
        let person = Person { id: ada(), plan: "free".into(), roles: Vec::new(), created_at: Timestamp(0) };
        store.put_person(&person).await.expect("the store works");
        for number in 0..AGENTS {
            store.put_agent(&agent(number)).await.expect("the store works");
        }
        let caller = |principal| Caller {
            actor: Arc::new(Actor::new(principal, Arc::new(plan.clone()))),
            connection: None,
        };
        let (person, shop) = (caller(Principal::Person(ada())), caller(Principal::Service("shop".into())));
        loop {
            let mut orders: FuturesUnordered<_> = (0..AT_ONCE)
                .map(|number| {
                    let (caller, command) = match number % 4 {
                        0 => (&person, Command::ClaimReward { person: Claim::NONE }),
                        1 => (&person, Command::Withdraw { person: Claim::NONE, amount: 3, once: None }),
                        2 => (&shop, Command::Grant { person: ada(), amount: 4, once: None }),
                        _ => (&person, post(number)),
                    };
                    app.handle(caller, command)
                })
                .collect();
            while let Some(outcome) = orders.next().await {
                match outcome {
                    Ok(Outcome::Rewarded { entry, .. }) => {
                        say(&format!("reward {} {}", entry.position, entry.amount));
                    }
                    Ok(Outcome::Booked { entry, .. }) => {
                        say(&format!("booked {} {}", entry.position, entry.amount));
                    }
                    Ok(Outcome::Posted { .. }) => {}
                    Err(refusal)
                        if matches!(refusal.code, Code::Insufficient { .. } | Code::RateLimited { .. }) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
    });
}

fn say(line: &str) {
    report(&format!("wallet: {line}."));
}

fn report(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).expect("somebody listens");
}

fn post(number: usize) -> Command {
    Command::PostMessage {
        agent: agent_id(number / 4 % AGENTS),
        person: Claim::NONE,
        text: format!("question {number}"),
        once: None,
        price: Some(1 + number as u64 % 3),
    }
}

async fn core(directory: &Path, day: i64) -> (Arc<App>, Arc<SqliteStore>) {
    let store = Arc::new(open(directory));
    let ports = Ports {
        store: store.clone(),
        bus: Arc::new(MemoryBus::new()),
        leases: Arc::new(MemoryLeases::new()),
        model: Arc::new(Moody),
        clock: Arc::new(ManualClock::at(Timestamp(day * DAY))),
        audience: Arc::new(RecordingAudience::new()),
        chain: Arc::new(NoChain),
    };
    let rules = Rules { reply_timeout: Duration::from_millis(20), ..Rules::default() };
    let app = App::new(ports, rules);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    tokio::spawn(app.clone().run(stopped));
    // It runs until the process ends, one way or the other.
    std::mem::forget(stop);
    (app, store)
}

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(directory, Settings { busy_timeout: Duration::from_secs(30), ..Settings::default() })
        .expect("the store can be opened after whatever happened")
}

/// Answers some, leaves some waiting for ever, and fails the rest.
struct Moody;

impl Model for Moody {
    fn answer(&self, prompt: Prompt) -> Answer {
        let mood = prompt.history.last().map_or(0, |message| message.id.0.as_u128() % 3);
        match mood {
            0 => Box::pin(stream::once(async { Ok("well".to_owned()) })),
            1 => Box::pin(stream::pending()),
            _ => Box::pin(stream::empty()),
        }
    }
}

fn ada() -> PersonId {
    PersonId::parse("ada").expect("a plain id")
}

fn agent_id(number: usize) -> AgentId {
    AgentId::parse(&format!("agent-{number}")).expect("a plain id")
}

fn agent(number: usize) -> Agent {
    Agent {
        id: agent_id(number),
        owner: ada(),
        name: "Luna".into(),
        kind: "companion".into(),
        personality: String::new(),
        purpose: String::new(),
        tone: String::new(),
        visibility: "private".into(),
        persona: None,
        created_at: Timestamp(0),
    }
}

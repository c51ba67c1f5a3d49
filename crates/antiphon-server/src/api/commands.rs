//! `POST /v1/commands`: any command of the core, alone or many in a row.

use std::future::ready;

use antiphon_core::command::Outcome;
use antiphon_core::wallet::{Balance, Entry};
use axum::extract::State as Extracted;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::State;
use super::agents::AgentView;
use super::body::parse;
use super::bonds::{BondView, ProfileView};
use super::caller::Backend;
use super::conversations::MessageView;
use super::idempotency::{self, Answer};
use super::moment;
use super::orders::{self, Commands, Read};
use super::perform::{Errand, perform, perform_all};
use super::problem::{Problem, ProblemView};
use super::route::Route;
use super::work::{TaskView, WorkerView};

pub(super) fn routes() -> Vec<Route> {
    let description = "A command is an object that names itself in `command`; `as` names the person as whom it is done, \
        who must exist, and without it the service itself does it. A list of up to 50 is done in order, and each is answered \
        whatever became of those before it; each counts against the rate limit. A message or a movement of \
        tokens in a request with an `Idempotency-Key` is stored once, however often the request is sent.";
    let route = Route::post("command", "/v1/commands", command)
        .says("Commands", "Do one command, or many in a row", description)
        .for_backends()
        .idempotent()
        .takes::<Commands>(json!(orders::examples().next()))
        .gives(StatusCode::OK, "What came of it; for a list, of each in its order.", &Done::example())
        .refuses(StatusCode::NOT_FOUND, "There is no such person or agent, or it is not theirs.")
        .refuses(
            StatusCode::CONFLICT,
            "The key was used for another request, or the same one is being worked on.",
        );
    vec![route]
}

/// What came of a request: of one command, or of each in a list.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = CommandAnswer)]
enum Done {
    /// Of one command.
    One(OutcomeView),
    /// Of each command of a list, in its order.
    Many {
        /// As many as there were commands.
        results: Vec<Part>,
    },
}

/// What came of one command of a list.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = CommandResult)]
enum Part {
    /// It was done, with this outcome.
    Done(OutcomeView),
    /// It was refused, and nothing of it was stored.
    Refused(ProblemView),
}

/// What came of a command that was done.
#[derive(Serialize, ToSchema)]
#[serde(tag = "outcome", rename_all = "lowercase")]
#[schema(as = Outcome)]
pub(super) enum OutcomeView {
    /// There is nothing more to say.
    Done,
    /// The message is durable.
    Posted(Posted),
    /// Messages, oldest first.
    History {
        /// The messages.
        messages: Vec<MessageView>,
    },
    /// Public agents, in the order of ids.
    Personas {
        /// The agents.
        agents: Vec<AgentView>,
    },
    /// The person and the agent belong together.
    Befriended {
        /// The agent.
        agent: Box<AgentView>,
        /// Whether they did before.
        repeated: bool,
    },
    /// Whom the person belongs together with, since the longest first.
    Bonds {
        /// The bonds.
        bonds: Vec<BondView>,
    },
    /// What the person says about themselves.
    Profile {
        /// The profile.
        profile: ProfileView,
    },
    /// A task as it is now.
    Task {
        /// The task.
        task: Box<TaskView>,
        /// Whether it was like that before the command.
        repeated: bool,
    },
    /// No task waits that the agent is capable of.
    NoTask,
    /// Tasks, oldest first.
    Tasks {
        /// The tasks.
        tasks: Vec<TaskView>,
    },
    /// An agent at work as it is now.
    Worker {
        /// The agent.
        worker: Box<WorkerView>,
    },
    /// Agents at work, in the order of ids.
    Workers {
        /// The agents.
        workers: Vec<WorkerView>,
    },
    /// The tokens have moved.
    Booked {
        /// How.
        entry: EntryView,
        /// Whether that was earlier, under the same name, and nothing moved now.
        duplicate: bool,
    },
    /// The day's reward is there.
    Rewarded {
        /// How.
        entry: EntryView,
        /// How much of it is for the days before; 0 for a duplicate.
        bonus: u64,
        /// Whether it was given earlier that day, and nothing moved now.
        duplicate: bool,
    },
    /// How many tokens the person has.
    Balance {
        /// What they have.
        balance: u64,
        /// The position of the latest entry of their ledger; 0 when there is none.
        position: u64,
    },
    /// Entries of a ledger, oldest first.
    Ledger {
        /// The entries.
        entries: Vec<EntryView>,
    },
}

/// One line of a ledger of tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = Entry)]
pub(super) struct EntryView {
    /// Whose ledger.
    person: String,
    /// Its position there: 1, 2, 3 … without a hole.
    position: u64,
    /// What was added, or taken away if negative.
    amount: i64,
    /// What the person has after it.
    balance: u64,
    /// `welcome`, `deposit`, `withdrawal`, `reward`, `chat`, `refund` or `grant`.
    reason: &'static str,
    /// What it is about: the reference of a payment, the day of a reward, the id of a message, or a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// When, as in `2026-11-20T16:00:00.123Z`.
    at: String,
}

impl From<Entry> for EntryView {
    fn from(entry: Entry) -> Self {
        Self {
            person: entry.person.to_string(),
            position: entry.position,
            amount: entry.amount,
            balance: entry.balance,
            reason: entry.reason.name(),
            key: entry.key,
            at: moment::write(entry.at),
        }
    }
}

/// A message that is durable.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Posted {
    /// Its id.
    pub(super) id: String,
    /// Its conversation.
    pub(super) conversation: String,
    /// Its position there: 1, 2, 3 …
    pub(super) seq: u64,
    /// Whether it was there already, from an earlier try under the same name.
    pub(super) duplicate: bool,
}

impl Posted {
    /// For the document.
    pub(super) fn example() -> Self {
        Self {
            id: "0b54a5d2-3c7e-4d55-9d0a-6c7b5a1f8a34".into(),
            conversation: "5f0c8f0e-6f0f-5b1f-8d2d-0d1b8e0a4c11".into(),
            seq: 7,
            duplicate: false,
        }
    }
}

impl Done {
    fn example() -> Self {
        Self::One(OutcomeView::Posted(Posted::example()))
    }
}

impl From<Outcome> for OutcomeView {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done | Outcome::Watched { .. } => Self::Done,
            Outcome::Posted { id, conversation, seq, duplicate } => Self::Posted(Posted {
                id: id.to_string(),
                conversation: conversation.to_string(),
                seq,
                duplicate,
            }),
            Outcome::History(messages) | Outcome::Conversations(messages) => {
                Self::History { messages: messages.into_iter().map(MessageView::from).collect() }
            }
            Outcome::Personas(agents) => {
                Self::Personas { agents: agents.into_iter().map(AgentView::from).collect() }
            }
            Outcome::Befriended { agent, repeated } => {
                Self::Befriended { agent: Box::new(AgentView::from(*agent)), repeated }
            }
            Outcome::Bonds(bonds) => Self::Bonds { bonds: bonds.into_iter().map(BondView::from).collect() },
            Outcome::Profile(profile) => Self::Profile { profile: (*profile).into() },
            Outcome::Booked { entry, duplicate } => Self::Booked { entry: entry.into(), duplicate },
            Outcome::Rewarded { entry, bonus, duplicate } => {
                Self::Rewarded { entry: entry.into(), bonus, duplicate }
            }
            Outcome::Balance(Balance { tokens, position }) => Self::Balance { balance: tokens, position },
            Outcome::Ledger(entries) => {
                Self::Ledger { entries: entries.into_iter().map(EntryView::from).collect() }
            }

            Outcome::Task { task, repeated } => {
                Self::Task { task: Box::new(TaskView::from(*task)), repeated }
            }
            Outcome::NoTask => Self::NoTask,
            Outcome::Tasks(tasks) => Self::Tasks { tasks: tasks.into_iter().map(TaskView::from).collect() },
            Outcome::Worker(worker) => Self::Worker { worker: Box::new(WorkerView::from(*worker)) },
            Outcome::Workers(workers) => {
                Self::Workers { workers: workers.into_iter().map(WorkerView::from).collect() }
            }
        }
    }
}

async fn command(
    Extracted(state): Extracted<State>,
    backend: Backend,
    errand: Errand,
) -> Result<Response, Problem> {
    let body: Box<RawValue> = parse(&errand.text)?;
    if body.get().starts_with('[') {
        return many(&state, backend, errand, body.get()).await;
    }
    let Read { order, key } = orders::read(body.get(), state.shared.now())?;
    let mut ticket = errand.ticket(&backend);
    match (&ticket.key, key) {
        (Some(header), Some(body)) if *header != body => {
            return Err(Problem::invalid("`idempotencyKey` and the header Idempotency-Key differ."));
        }
        (None, Some(key)) => {
            idempotency::check(&key)?;
            ticket.key = Some(key);
        }
        _ => {}
    }
    let answer = |_, outcome| ready(Answer::json(StatusCode::OK, &Done::One(OutcomeView::from(outcome))));
    Ok(perform(&state, backend, ticket, order, answer).await)
}

async fn many(state: &State, backend: Backend, errand: Errand, list: &str) -> Result<Response, Problem> {
    let list: Vec<Box<RawValue>> = parse(list.as_bytes())?;
    let most = state.settings.max_batch;
    if list.is_empty() || list.len() > most {
        return Err(Problem::invalid(format!("A list has 1 to {most} commands.")));
    }
    // The first is counted already.
    let others = u32::try_from(list.len() - 1).unwrap_or(u32::MAX);
    state.pace.count(backend.name(), others)?;
    let mut orders = Vec::with_capacity(list.len());
    for (index, object) in list.iter().enumerate() {
        let read = orders::read(object.get(), state.shared.now());
        let Read { order, key } = read.map_err(|problem| problem.at(&format!("[{index}]")))?;
        if key.is_some() {
            return Err(Problem::invalid("A list has one key for all: the header Idempotency-Key."));
        }
        orders.push(order);
    }
    let ticket = errand.ticket(&backend);
    let answer = |results: Vec<Result<Outcome, Problem>>| {
        let part = |result| match result {
            Ok(outcome) => Part::Done(OutcomeView::from(outcome)),
            Err(problem) => Part::Refused(Problem::view(&problem)),
        };
        Answer::json(StatusCode::OK, &Done::Many { results: results.into_iter().map(part).collect() })
    };
    Ok(perform_all(state, backend, ticket, orders, answer).await)
}

//! What can be asked.
//!
//! Commands are orders. Each says everything that is needed to decide; who asks travels beside it as a
//! [`Caller`](crate::actor::Caller).

use std::sync::Arc;

use serde_json::value::RawValue;

use crate::actor::Claim;
use crate::agents::{Agent, AgentChange};
use crate::conversation::Message;
use crate::event::Severity;
use crate::ids::{AgentId, ConversationId, MessageId, PersonId, TaskId};
use crate::notices::Notice;
use crate::people::{Bonded, Profile};
use crate::ports::TaskFilter;
use crate::presence::Status;
use crate::refusal::Refusal;
use crate::tasks::{NewTask, Step, Task};
use crate::topic::Topic;
use crate::wallet::{Balance, Entry};
use crate::workers::{AgentStatus, Control, Duties, Worker};

/// An order to the core.
#[derive(Clone, Debug)]
pub enum Command {
    /// Listen to the conversation with `agent`.
    JoinConversation {
        /// With whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Stop listening to the conversation with `agent`.
    LeaveConversation {
        /// With whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Say `text` to `agent`; the connection joins the conversation, and the agent answers.
    PostMessage {
        /// To whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
        /// What is said: 1 to [`MAX_TEXT_BYTES`](crate::conversation::MAX_TEXT_BYTES) bytes.
        text: String,
        /// Makes it safe to ask again: see [`Once`].
        once: Option<Once>,
        /// What it costs in tokens, taken from the person's wallet and given back if no answer comes. `None` and 0 are free.
        price: Option<u64>,
    },
    /// Have `agent` say `text` to `person` without being asked. Backends and operators only.
    Speak {
        /// Who says it.
        agent: AgentId,
        /// To whom; the agent's owner.
        person: PersonId,
        /// What is said: 1 to [`MAX_TEXT_BYTES`](crate::conversation::MAX_TEXT_BYTES) bytes.
        text: String,
        /// Makes it safe to ask again: see [`Once`].
        once: Option<Once>,
    },
    /// Show or stop showing that one is typing to `agent`.
    SetTyping {
        /// To whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
        /// Typing or not.
        active: bool,
    },
    /// Show or stop showing that one is typing, to nobody in particular: one's own other connections see it.
    ShowTyping {
        /// Typing or not.
        active: bool,
    },
    /// Listen to changes of `agent` itself.
    WatchAgent {
        /// Which one.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Stop listening to changes of `agent`.
    UnwatchAgent {
        /// Which one.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Say whether one is here.
    SetPresence {
        /// Who the payload says is asking.
        person: Claim,
        /// Here, away or gone.
        status: Status,
    },
    /// Add an agent that belongs to the asking person, or to the one that a backend acts for.
    CreateAgent {
        /// The agent, with its owner.
        agent: Box<Agent>,
    },
    /// Change an agent of one's own.
    ChangeAgent {
        /// Which one.
        agent: AgentId,
        /// What becomes different.
        change: Box<AgentChange>,
    },
    /// Remove an agent of one's own.
    DeleteAgent {
        /// Which one.
        agent: AgentId,
    },
    /// Read the conversation with `agent`, oldest first.
    ReadHistory {
        /// With whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
        /// Only messages with a greater position; 0 reads from the start.
        after: u64,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// Read which public agents there are, in the order of ids.
    ReadPersonas {
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// From now on the person and `agent` belong together: an agent of their own or a public one.
    Befriend {
        /// With whom.
        agent: AgentId,
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Read which agents the person belongs together with, since the longest first.
    ReadBonds {
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Read what the person says about themselves.
    ReadProfile {
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Replace what the person says about themselves.
    SetProfile {
        /// Who the payload says is asking.
        person: Claim,
        /// What they say from now on.
        profile: Box<Profile>,
    },
    /// Read a conversation by its id, oldest first: one's own, or any for whom that is allowed.
    ReadConversation {
        /// Which one.
        conversation: ConversationId,
        /// Only messages with a greater position; 0 reads from the start.
        after: u64,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// Read which conversations there are, in the order of ids: one's own, or all for whom that is allowed.
    ReadConversations {
        /// Only those whose id comes after this.
        after: Option<ConversationId>,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// Tell `person` something. Backends and operators only.
    SendNotice {
        /// Whom.
        person: PersonId,
        /// What.
        notice: Notice,
    },
    /// Relay a named value to a topic, unread. Backends and operators only.
    Signal {
        /// Where to.
        topic: Topic,
        /// What it is called.
        name: Arc<str>,
        /// The value, as JSON that the core does not look into.
        value: Arc<RawValue>,
    },
    /// Give somebody new their welcome present, once in their life. Each time the person is told how many tokens they have.
    OpenWallet {
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Add tokens for a payment. A backend's word counts; for a person the [`Chain`](crate::ports::Chain) is asked.
    Deposit {
        /// Who the payload says is asking.
        person: Claim,
        /// What the payment is called where it was made, such as the hash of a transaction; each counts once. See
        /// [`reference`](crate::wallet::reference).
        reference: String,
        /// How many tokens.
        amount: u64,
    },
    /// Take tokens out.
    Withdraw {
        /// Who the payload says is asking.
        person: Claim,
        /// How many tokens.
        amount: u64,
        /// Makes it safe to ask again, for good.
        once: Option<Once>,
    },
    /// Get the reward of the day (UTC), once each day.
    ClaimReward {
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Give a person tokens. Backends and operators only.
    Grant {
        /// Whom.
        person: PersonId,
        /// How many tokens.
        amount: u64,
        /// Makes it safe to ask again, for good.
        once: Option<Once>,
    },
    /// Read how many tokens the person has.
    ReadBalance {
        /// Who the payload says is asking.
        person: Claim,
    },
    /// Read where the person's tokens came from and went, oldest first.
    ReadLedger {
        /// Who the payload says is asking.
        person: Claim,
        /// Only entries with a greater position; 0 reads from the start.
        after: u64,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },

    /// Want a task done.
    CreateTask {
        /// What.
        task: Box<NewTask>,
    },
    /// Give a task to an agent, have the agent do something with it, or cancel it. Doing the same again changes nothing.
    ChangeTask {
        /// Which one.
        task: TaskId,
        /// What is done with it.
        step: Step,
    },
    /// Have `agent` claim the most urgent task that waits, the oldest of those.
    ClaimTask {
        /// Who claims it.
        agent: AgentId,
        /// Only a task that needs one of these; `None` is any that the agent is capable of.
        needs: Option<Vec<String>>,
    },
    /// Read a task.
    ReadTask {
        /// Which one.
        task: TaskId,
    },
    /// Read tasks, oldest first.
    ReadTasks {
        /// Which ones.
        filter: TaskFilter,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// Say what an agent is there for; from then on it counts among agents at work.
    EnlistAgent {
        /// Which one.
        agent: AgentId,
        /// What for.
        duties: Box<Duties>,
    },
    /// Tell an agent at work what to do.
    ControlAgent {
        /// Which one.
        agent: AgentId,
        /// What.
        control: Control,
    },
    /// Say how an agent at work is.
    SetAgentStatus {
        /// Which one.
        agent: AgentId,
        /// How it is.
        status: AgentStatus,
    },
    /// Say that an agent at work is alive. From then on its silence means that it is gone.
    Heartbeat {
        /// Which one.
        agent: AgentId,
        /// What it says about itself, as JSON; `None` is nothing new.
        metadata: Option<String>,
    },
    /// Read how an agent is.
    ReadWorker {
        /// Which one.
        agent: AgentId,
    },
    /// Read how agents at work are, in the order of ids.
    ReadWorkers {
        /// Only those whose id comes after this.
        after: Option<AgentId>,
        /// At most this many, 1 to 1,000.
        limit: u32,
    },
    /// Tell whoever looks after this server something.
    RaiseAlert {
        /// What, in words: 1 to [`MAX_JSON_BYTES`](crate::tasks::MAX_JSON_BYTES) bytes.
        message: String,
        /// How bad it is.
        severity: Severity,
    },
    /// Listen to a topic: the dashboard, a task, an agent or a conversation. Those who look after agents may do so before it is
    /// there.
    Watch {
        /// What.
        topic: Topic,
        /// What whoever asks calls it; the outcome says it back.
        name: Arc<str>,
    },
    /// Stop listening to it.
    Unwatch {
        /// What.
        topic: Topic,
        /// What whoever asks calls it; the outcome says it back.
        name: Arc<str>,
    },
}

/// A name that the sender gives to a message, so that sending it again has no second effect.
///
/// For 24 hours a message of the same sender under the same key is answered with what came of the first one. If it says
/// something else, or says it elsewhere, it is refused as a conflict.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Once {
    /// The name: 1 to [`MAX_ONCE_BYTES`] bytes, best a random one.
    pub key: String,
}

/// Longest accepted [`Once`] key, in bytes.
pub const MAX_ONCE_BYTES: usize = 128;

impl Once {
    /// Accepts 1 to [`MAX_ONCE_BYTES`] bytes; anything else is refused as invalid.
    pub fn parse(key: &str) -> Result<Self, Refusal> {
        let once = Self { key: key.to_owned() };
        once.check().map(|()| once)
    }

    /// Whether the key has an accepted length.
    pub fn check(&self) -> Result<(), Refusal> {
        match self.key.len() {
            1..=MAX_ONCE_BYTES => Ok(()),
            _ => Err(Refusal::invalid("The key of a message has 1 to 128 bytes.")),
        }
    }
}

impl Command {
    /// Its name, in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::JoinConversation { .. } => "JoinConversation",
            Self::LeaveConversation { .. } => "LeaveConversation",
            Self::PostMessage { .. } => "PostMessage",
            Self::Speak { .. } => "Speak",
            Self::SetTyping { .. } => "SetTyping",
            Self::ShowTyping { .. } => "ShowTyping",
            Self::WatchAgent { .. } => "WatchAgent",
            Self::UnwatchAgent { .. } => "UnwatchAgent",
            Self::SetPresence { .. } => "SetPresence",
            Self::CreateAgent { .. } => "CreateAgent",
            Self::ChangeAgent { .. } => "ChangeAgent",
            Self::DeleteAgent { .. } => "DeleteAgent",
            Self::ReadHistory { .. } => "ReadHistory",
            Self::ReadPersonas { .. } => "ReadPersonas",
            Self::Befriend { .. } => "Befriend",
            Self::ReadBonds { .. } => "ReadBonds",
            Self::ReadProfile { .. } => "ReadProfile",
            Self::SetProfile { .. } => "SetProfile",
            Self::ReadConversation { .. } => "ReadConversation",
            Self::ReadConversations { .. } => "ReadConversations",
            Self::SendNotice { .. } => "SendNotice",
            Self::Signal { .. } => "Signal",
            Self::OpenWallet { .. } => "OpenWallet",
            Self::Deposit { .. } => "Deposit",
            Self::Withdraw { .. } => "Withdraw",
            Self::ClaimReward { .. } => "ClaimReward",
            Self::Grant { .. } => "Grant",
            Self::ReadBalance { .. } => "ReadBalance",
            Self::ReadLedger { .. } => "ReadLedger",

            Self::CreateTask { .. } => "CreateTask",
            Self::ChangeTask { step, .. } => step.name(),
            Self::ClaimTask { .. } => "ClaimTask",
            Self::ReadTask { .. } => "ReadTask",
            Self::ReadTasks { .. } => "ReadTasks",
            Self::EnlistAgent { .. } => "EnlistAgent",
            Self::ControlAgent { .. } => "ControlAgent",
            Self::SetAgentStatus { .. } => "SetAgentStatus",
            Self::Heartbeat { .. } => "Heartbeat",
            Self::ReadWorker { .. } => "ReadWorker",
            Self::ReadWorkers { .. } => "ReadWorkers",
            Self::RaiseAlert { .. } => "RaiseAlert",
            Self::Watch { .. } => "Watch",
            Self::Unwatch { .. } => "Unwatch",
        }
    }
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was done; there is nothing more to say.
    Done,
    /// The message is durable.
    Posted {
        /// Its id.
        id: MessageId,
        /// Its conversation.
        conversation: ConversationId,
        /// Its position there.
        seq: u64,
        /// Whether it was there already, said by an earlier try under the same [`Once`].
        duplicate: bool,
    },
    /// Messages, oldest first.
    History(Vec<Message>),
    /// Public agents, in the order of ids.
    Personas(Vec<Agent>),
    /// The person and the agent belong together.
    Befriended {
        /// The agent.
        agent: Box<Agent>,
        /// Whether they did before.
        repeated: bool,
    },
    /// Whom the person belongs together with, since the longest first.
    Bonds(Vec<Bonded>),
    /// What the person says about themselves.
    Profile(Box<Profile>),
    /// Conversations, each by its last message, in the order of ids.
    Conversations(Vec<Message>),
    /// The tokens have moved.
    Booked {
        /// How.
        entry: Entry,
        /// Whether that was earlier, and nothing moved now.
        duplicate: bool,
    },
    /// The day's reward is there.
    Rewarded {
        /// How.
        entry: Entry,
        /// How much of it is for the days before; 0 for a duplicate.
        bonus: u64,
        /// Whether it was given earlier that day, and nothing moved now.
        duplicate: bool,
    },
    /// How many tokens the person has.
    Balance(Balance),
    /// Entries of a ledger, oldest first.
    Ledger(Vec<Entry>),

    /// A task as it is now.
    Task {
        /// The task.
        task: Box<Task>,
        /// Whether it was like that before the command.
        repeated: bool,
    },
    /// No task waits that the agent is capable of.
    NoTask,
    /// Tasks, oldest first.
    Tasks(Vec<Task>),
    /// An agent at work as it is now.
    Worker(Box<Worker>),
    /// Agents at work, in the order of ids.
    Workers(Vec<Worker>),
    /// A topic is listened to, or not any more.
    Watched {
        /// What whoever asked calls it.
        name: Arc<str>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_message_has_1_to_128_bytes() {
        assert!(Once::parse("").is_err());
        assert!(Once::parse("k").is_ok());
        assert!(Once::parse(&"k".repeat(MAX_ONCE_BYTES)).is_ok());
        assert!(Once::parse(&"k".repeat(MAX_ONCE_BYTES + 1)).is_err());
        assert!(Once::parse(&"é".repeat(MAX_ONCE_BYTES / 2 + 1)).is_err());
    }
}

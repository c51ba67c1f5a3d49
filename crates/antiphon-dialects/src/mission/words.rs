//! Which words this API has for how urgent, how far and how somebody is.

use antiphon_core::event::Severity;
use antiphon_core::tasks::{Priority, TaskStatus};
use antiphon_core::workers::{AgentStatus, Control, Rank};

/// Something that has one documented word.
pub trait Word: Copy + 'static {
    /// All that there are.
    const ALL: &'static [Self];

    /// The word.
    fn word(self) -> &'static str;

    /// What `word` stands for, if it is one of these.
    fn read(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.word() == word)
    }
}

impl Word for Priority {
    const ALL: &'static [Self] = &[Self::Low, Self::Medium, Self::High, Self::Critical];

    fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl Word for TaskStatus {
    const ALL: &'static [Self] =
        &[Self::Pending, Self::Assigned, Self::Running, Self::Completed, Self::Failed, Self::Cancelled];

    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Word for AgentStatus {
    const ALL: &'static [Self] = &[
        Self::Idle,
        Self::Initializing,
        Self::Ready,
        Self::Busy,
        Self::Paused,
        Self::Error,
        Self::ShuttingDown,
        Self::Offline,
    ];

    fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Initializing => "initializing",
            Self::Ready => "ready",
            Self::Busy => "busy",
            Self::Paused => "paused",
            Self::Error => "error",
            Self::ShuttingDown => "shutting_down",
            Self::Offline => "offline",
        }
    }
}

impl Word for Control {
    const ALL: &'static [Self] = &[Self::Pause, Self::Resume, Self::Restart, Self::Stop];

    fn word(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }
}

impl Word for Rank {
    const ALL: &'static [Self] = &[Self::Main, Self::Subagent, Self::Worker];

    fn word(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Subagent => "subagent",
            Self::Worker => "worker",
        }
    }
}

impl Word for Severity {
    const ALL: &'static [Self] = &[Self::Info, Self::Warning, Self::Error, Self::Critical];

    fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// Who is meant by a principal in text: of `person:ada` and `service:fleet` the name; the operator has none of its own.
pub fn name_of(principal: &str) -> &str {
    principal.split_once(':').map_or(principal, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each_has_its_own<T: Word + PartialEq + std::fmt::Debug>(words: &[&str]) {
        let known: Vec<_> = T::ALL.iter().map(|one| one.word()).collect();
        assert_eq!(known, words);
        for one in T::ALL {
            assert_eq!(T::read(one.word()), Some(*one));
        }
        assert_eq!((T::read(""), T::read("Info")), (None, None));
    }

    #[test]
    fn every_word_is_the_documented_one_and_is_read_again() {
        each_has_its_own::<Priority>(&["low", "medium", "high", "critical"]);
        each_has_its_own::<TaskStatus>(&[
            "pending",
            "assigned",
            "running",
            "completed",
            "failed",
            "cancelled",
        ]);
        each_has_its_own::<AgentStatus>(&[
            "idle",
            "initializing",
            "ready",
            "busy",
            "paused",
            "error",
            "shutting_down",
            "offline",
        ]);
        each_has_its_own::<Control>(&["pause", "resume", "restart", "stop"]);
        each_has_its_own::<Rank>(&["main", "subagent", "worker"]);
        each_has_its_own::<Severity>(&["info", "warning", "error", "critical"]);
    }

    #[test]
    fn whoever_is_named_by_a_principal_is_called_by_their_name() {
        for (principal, name) in [
            ("person:ada", "ada"),
            ("person:a:b", "a:b"),
            ("service:fleet", "fleet"),
            ("operator", "operator"),
        ] {
            assert_eq!(name_of(principal), name);
        }
    }
}

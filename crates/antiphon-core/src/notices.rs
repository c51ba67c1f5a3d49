//! What the server tells one person outside any conversation.

use serde::{Deserialize, Serialize};

/// How urgent a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// Good to know.
    Info,
    /// Needs attention soon.
    Warning,
    /// Something went wrong.
    Error,
    /// Something went well.
    Success,
}

/// A notice: a title, a sentence, and perhaps something to click.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// How urgent.
    pub kind: NoticeKind,
    /// One line.
    pub title: String,
    /// One or two sentences.
    pub message: String,
    /// What to do about it.
    pub action: Option<NoticeAction>,
}

/// Something to click.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeAction {
    /// What the button says.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

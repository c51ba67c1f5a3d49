//! What is wrong with a configuration, and where it was said.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// A line of a file.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
    },
    /// A variable in a file of variables.
    DotEnv {
        /// The file.
        path: PathBuf,
        /// The variable.
        name: String,
    },
    /// A variable of the environment.
    Environment {
        /// The variable.
        name: String,
    },
    /// A flag of the command line, as it was written.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::DotEnv { path, name } => write!(f, "{name} in {}", path.display()),
            Self::Environment { name } => write!(f, "environment {name}"),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that cannot be used. Its text never repeats a value that could be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where it was said, if it was said at all.
    pub origin: Option<Origin>,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl Problem {
    pub(super) fn new(origin: &Origin, text: impl Into<String>) -> Self {
        Self { origin: Some(origin.clone()).filter(|origin| *origin != Origin::Default), text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything that is wrong, at least one thing; displayed one to a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// An error if there is any problem.
    pub(super) fn of(problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() { Ok(()) } else { Err(Self(problems)) }
    }

    /// A single one.
    pub(super) fn one(text: &str) -> Self {
        Self(vec![Problem { origin: None, text: text.into() }])
    }

    /// The problems, in the order they were found.
    pub fn list(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

//! Which part of a list is asked for: where it begins, and how long it is.

use serde::Deserialize;

use super::problem::Problem;

/// Most entries that one page has.
const LONGEST_PAGE: u32 = 1_000;

/// A page of what is listed by name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Span {
    /// The name before the first entry.
    pub(super) after: Option<String>,
    /// At most so many entries.
    #[serde(default = "hundred")]
    pub(super) limit: u32,
}

/// How long a page is unless somebody says otherwise.
pub(super) fn hundred() -> u32 {
    100
}

/// Whether a page may have that many entries.
pub(super) fn check_limit(limit: u32) -> Result<(), Problem> {
    if !(1..=LONGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("A page has 1 to 1,000 entries."));
    }
    Ok(())
}

//! Whether a clause has the shape that a rule asks for, and what stands in its open places.
//!
//! A pattern is words, `*` (any number of words, also none), `+` (one or more words) and `@group` (one word of a group).
//! Matching takes the earliest place for each run between open places and never goes back on it. That is complete, because
//! an open place can always take what lies before a later run, so the work is bounded by words × elements.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use super::words::{self, Word};

/// Words that stand for each other, as keys.
pub(super) type Group = Arc<HashSet<String>>;

/// The shape of a clause.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    elements: Vec<Element>,
}

/// One place of a [`Pattern`].
#[derive(Clone, Debug)]
pub(super) enum Element {
    /// This word, as a key.
    Word(String),
    /// One word of this group.
    OneOf(Group),
    /// At least so many words.
    Open(usize),
}

impl Element {
    fn fits(&self, word: &Word) -> bool {
        match self {
            Self::Word(key) => word.key == *key,
            Self::OneOf(group) => group.contains(&word.key),
            Self::Open(_) => true,
        }
    }
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(text: &str, groups: &HashMap<String, Group>) -> Result<Self, String> {
        let mut elements: Vec<Element> = Vec::new();
        for token in text.split_whitespace() {
            let element = match token {
                "*" => Element::Open(0),
                "+" => Element::Open(1),
                _ => match token.strip_prefix('@') {
                    Some(name) => Element::OneOf(
                        groups.get(name).cloned().ok_or(format!("there is no group `{name}`"))?,
                    ),
                    None => Element::Word(
                        words::phrase(token).and_then(one).ok_or(format!("`{token}` is not one word"))?,
                    ),
                },
            };
            if let (Some(Element::Open(_)), Element::Open(_)) = (elements.last(), &element) {
                return Err(
                    "two open places stand side by side; nobody could say which word goes where".into()
                );
            }
            elements.push(element);
        }
        if elements.is_empty() {
            Err("a pattern needs at least one place".into())
        } else {
            Ok(Self { elements })
        }
    }

    /// Its places, in order.
    #[cfg(test)]
    pub(super) fn elements(&self) -> &[Element] {
        &self.elements
    }

    /// How many places a reassembly can refer to: open ones and groups.
    pub(super) fn captures(&self) -> usize {
        self.elements.iter().filter(|element| !matches!(element, Element::Word(_))).count()
    }

    /// What stands in the open places and groups of this pattern, in order, as ranges of `clause`; `None` when the clause
    /// has another shape. Open places are as short as they can be, from left to right.
    pub(super) fn matches(&self, clause: &[Word]) -> Option<Vec<Range<usize>>> {
        let mut captures = Vec::with_capacity(self.elements.len());
        let mut rest = &self.elements[..];
        let mut at = 0;
        loop {
            let open = match rest.first() {
                Some(Element::Open(least)) => Some(*least),
                _ => None,
            };
            rest = &rest[usize::from(open.is_some())..];
            let length = rest.iter().position(|e| matches!(e, Element::Open(_))).unwrap_or(rest.len());
            let (run, after) = rest.split_at(length);
            let earliest = at + open.unwrap_or(0);
            // The last possible start; a pattern that is longer than what is left has none.
            let latest = clause.len().checked_sub(length)?;
            let start = match (open, after.is_empty()) {
                (None, _) => at,
                (Some(_), true) => latest,
                (Some(_), false) => (earliest..=latest).find(|&start| stands(run, &clause[start..]))?,
            };
            if start < earliest || start > latest || !stands(run, &clause[start..]) {
                return None;
            }
            if open.is_some() {
                captures.push(at..start);
            }
            let groups = run.iter().enumerate().filter(|(_, element)| matches!(element, Element::OneOf(_)));
            captures.extend(groups.map(|(place, _)| start + place..start + place + 1));
            at = start + length;
            rest = after;
            if rest.is_empty() {
                return (at == clause.len()).then_some(captures);
            }
        }
    }
}

/// Whether `words` begin with `run`.
fn stands(run: &[Element], words: &[Word]) -> bool {
    words.len() >= run.len() && run.iter().zip(words).all(|(element, word)| element.fits(word))
}

fn one(mut keys: Vec<String>) -> Option<String> {
    keys.pop().filter(|_| keys.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn groups() -> HashMap<String, Group> {
        let low = ["sad", "tired"].map(str::to_owned).into();
        HashMap::from([("low".to_owned(), Arc::new(low))])
    }

    /// The captures of `pattern` in `text`, each as text.
    fn captures(pattern: &str, text: &str) -> Option<Vec<String>> {
        let clause = words::clauses(text).into_iter().next().unwrap_or_default();
        let ranges = Pattern::parse(pattern, &groups()).unwrap().matches(&clause)?;
        let text = |range: Range<usize>| clause[range].iter().map(|w| &*w.text).collect::<Vec<_>>().join(" ");
        Some(ranges.into_iter().map(text).collect())
    }

    fn some(captures: &[&str]) -> Option<Vec<String>> {
        Some(captures.iter().map(|capture| (*capture).to_owned()).collect())
    }

    #[test]
    fn words_must_stand_where_the_pattern_has_them() {
        assert_eq!(captures("good morning", "Good morning"), some(&[]));
        assert_eq!(captures("good morning", "good morning luna"), None);
        assert_eq!(captures("good morning", "a good morning"), None);
        assert_eq!(captures("good morning", "good"), None);
    }

    #[test]
    fn a_star_takes_any_number_of_words_and_a_plus_at_least_one() {
        assert_eq!(captures("* i need *", "i need"), some(&["", ""]));
        assert_eq!(captures("* i need +", "i need"), None);
        assert_eq!(captures("* i need +", "today I need more tea"), some(&["today", "more tea"]));
        assert_eq!(captures("+ i need *", "i need i need tea"), some(&["i need", "tea"]));
        assert_eq!(captures("*", ""), some(&[""]));
        assert_eq!(captures("+", ""), None);
    }

    #[test]
    fn open_places_are_as_short_as_they_can_be_but_the_end_must_fit() {
        assert_eq!(captures("* my *", "my dog and my cat"), some(&["", "dog and my cat"]));
        assert_eq!(captures("* my cat", "my dog and my cat"), some(&["my dog and"]));
        assert_eq!(captures("* b * b", "b b"), some(&["", ""]));
        assert_eq!(captures("* b + b", "b b"), None);
        assert_eq!(captures("* a b * a", "a a b a"), some(&["a", ""]));
    }

    #[test]
    fn a_group_takes_one_of_its_words_and_can_be_referred_to() {
        assert_eq!(captures("* i am @low *", "well I am tired today"), some(&["well", "tired", "today"]));
        assert_eq!(captures("i am @low", "i am glad"), None);
    }

    #[test]
    fn a_pattern_that_could_not_work_is_refused() {
        let problem = |text: &str| Pattern::parse(text, &groups()).unwrap_err();
        assert!(problem("* i am @glad").contains("no group `glad`"));
        assert!(problem("* + me").contains("side by side"));
        assert!(problem("yes,no *").contains("`yes,no` is not one word"));
        assert!(problem("* -").contains("`-` is not one word"));
        assert!(problem("").contains("at least one place"));
    }

    /// The definition of matching, tried out at length: every way to fill the open places.
    fn matches_by_definition(elements: &[Element], clause: &[Word]) -> bool {
        match elements.split_first() {
            None => clause.is_empty(),
            Some((Element::Open(least), rest)) => {
                (*least..=clause.len()).any(|taken| matches_by_definition(rest, &clause[taken..]))
            }
            Some((element, rest)) => clause
                .split_first()
                .is_some_and(|(word, more)| element.fits(word) && matches_by_definition(rest, more)),
        }
    }

    proptest! {
        #[test]
        fn taking_the_earliest_place_finds_every_match(
            pattern in "[*+abL]{1,7}",
            clause in "[abs]{0,8}",
        ) {
            let spaced = |text: &str| text.chars().map(|c| format!("{c} ")).collect::<String>();
            let text = spaced(&pattern).replace('L', "@low");
            // Side by side, open places are refused; that is another test's business.
            let Ok(pattern) = Pattern::parse(&text, &groups()) else { return Ok(()) };
            let clause = words::clauses(&spaced(&clause).replace('s', "sad")).pop().unwrap_or_default();
            let found = pattern.matches(&clause);
            prop_assert_eq!(found.is_some(), matches_by_definition(pattern.elements(), &clause));
            if let Some(captures) = found {
                prop_assert_eq!(captures.len(), pattern.captures());
            }
        }

        #[test]
        fn many_open_places_and_much_text_cost_little(words in 0usize..words::MAX_WORDS) {
            // Going back on each place would take longer than the universe has.
            let pattern = Pattern::parse(&format!("{}b", "* a ".repeat(40)), &groups()).unwrap();
            let clause = words::clauses(&"a ".repeat(words)).pop().unwrap_or_default();
            prop_assert!(pattern.matches(&clause).is_none());
        }
    }
}

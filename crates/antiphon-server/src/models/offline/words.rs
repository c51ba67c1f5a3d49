//! Which words a text has, as the script compares them.
//!
//! Text comes from strangers, so the work is bounded: only the first [`MAX_BYTES`] are looked at, at most [`MAX_WORDS`]
//! words are kept, and a word is cut after [`MAX_WORD_CHARS`].

use std::collections::HashMap;

/// How much of a text is looked at, in bytes.
pub(super) const MAX_BYTES: usize = 4 * 1024;

/// How many words of a text are kept.
pub(super) const MAX_WORDS: usize = 96;

/// How many characters of a word are kept.
pub(super) const MAX_WORD_CHARS: usize = 40;

/// One word: as it was written, and as it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// As it was written, without the punctuation around it.
    pub(super) text: String,
    /// In lower case, without accents, with straight apostrophes.
    pub(super) key: String,
}

/// The clauses of `text`, each at least one word long. Punctuation and line ends separate clauses; white space, control
/// characters and stand-alone symbols separate words.
pub(super) fn clauses(text: &str) -> Vec<Vec<Word>> {
    let mut reader = Reader::default();
    let mut before = ' ';
    let mut characters = head(text).chars().peekable();
    while let Some(character) = characters.next() {
        if reader.words == MAX_WORDS {
            break;
        }
        let after = characters.peek().copied().unwrap_or(' ');
        match role(before, character, after) {
            Role::Inside => reader.token.push(character),
            Role::EndsWord => reader.end_word(),
            Role::EndsClause => reader.end_clause(),
        }
        before = character;
    }
    reader.end_clause();
    reader.clauses
}

/// The keys of the words of `text`, if it is one clause; how the script's own phrases are read.
pub(super) fn phrase(text: &str) -> Option<Vec<String>> {
    let mut clauses = clauses(text);
    let clause = clauses.pop()?;
    // A phrase that loses a part on the way would never match what a person writes.
    let whole = clauses.is_empty() && clause.len() == text.split_whitespace().count();
    whole.then(|| clause.into_iter().map(|word| word.key).collect())
}

/// Phrases and the words that take their place.
#[derive(Debug, Default)]
pub(super) struct Substitutions {
    /// By the first word of the phrase; longer phrases first.
    by_first: HashMap<String, Vec<Substitution>>,
}

#[derive(Debug)]
struct Substitution {
    phrase: Vec<String>,
    words: Vec<Word>,
}

impl Substitutions {
    /// From now on `words` take the place of `phrase`. Returns `false` when the phrase is empty or already has a
    /// replacement.
    #[must_use]
    pub(super) fn add(&mut self, phrase: Vec<String>, words: Vec<Word>) -> bool {
        let Some(first) = phrase.first() else { return false };
        let entries = self.by_first.entry(first.clone()).or_default();
        if entries.iter().any(|entry| entry.phrase == phrase) {
            return false;
        }
        entries.push(Substitution { phrase, words });
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.phrase.len()));
        true
    }

    /// `words` with every phrase replaced, from left to right, the longest first. What was put in is not looked at again.
    pub(super) fn apply(&self, words: &[Word]) -> Vec<Word> {
        let mut result = Vec::with_capacity(words.len());
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let entries = self.by_first.get(&word.key).map_or(&[][..], Vec::as_slice);
            match entries.iter().find(|entry| begins_with(&words[at..], &entry.phrase)) {
                Some(entry) => {
                    result.extend_from_slice(&entry.words);
                    at += entry.phrase.len();
                }
                None => {
                    result.push(word.clone());
                    at += 1;
                }
            }
        }
        result
    }
}

/// Whether `words` begin with the keys of `phrase`.
pub(super) fn begins_with(words: &[Word], phrase: &[String]) -> bool {
    words.len() >= phrase.len() && words.iter().zip(phrase).all(|(word, key)| word.key == *key)
}

#[derive(Default)]
struct Reader {
    clauses: Vec<Vec<Word>>,
    clause: Vec<Word>,
    token: String,
    words: usize,
}

impl Reader {
    fn end_word(&mut self) {
        if let Some(word) = word(&self.token) {
            self.clause.push(word);
            self.words += 1;
        }
        self.token.clear();
    }

    fn end_clause(&mut self) {
        self.end_word();
        if !self.clause.is_empty() {
            self.clauses.push(std::mem::take(&mut self.clause));
        }
    }
}

/// What a character does to the word before it.
enum Role {
    Inside,
    EndsWord,
    EndsClause,
}

fn role(before: char, character: char, after: char) -> Role {
    match character {
        // `node.js`, `3,000` and `10:30` are one word each.
        '.' if before.is_alphanumeric() && after.is_alphanumeric() => Role::Inside,
        ',' | ':' if before.is_ascii_digit() && after.is_ascii_digit() => Role::Inside,
        '\n' | '.' | ',' | ':' | ';' | '!' | '?' | '¡' | '¿' | '…' | '—' | '–' | '(' | ')' | '[' | ']'
        | '{' | '}' | '<' | '>' | '"' | '“' | '”' | '„' | '«' | '»' | '。' | '、' | '，' | '！' | '？' => {
            Role::EndsClause
        }
        // Marks that turn the direction of text would reach into the answer around them.
        '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => Role::EndsWord,
        _ if character.is_whitespace() || character.is_control() => Role::EndsWord,
        _ => Role::Inside,
    }
}

fn word(token: &str) -> Option<Word> {
    let from_start = token.trim_start_matches(|character: char| !character.is_alphanumeric());
    // `c++` and `c#` keep their ends.
    let trimmed = from_start
        .trim_end_matches(|character: char| !character.is_alphanumeric() && !"+#".contains(character));
    if trimmed.is_empty() {
        return None;
    }
    let text: String = trimmed.chars().take(MAX_WORD_CHARS).collect();
    let key = text.chars().flat_map(char::to_lowercase).filter_map(plain).collect();
    Some(Word { text, key })
}

/// A lower-case character without its accent; `None` for an accent that stands by itself.
fn plain(character: char) -> Option<char> {
    Some(match character {
        'á' | 'à' | 'â' | 'ä' | 'ã' | 'å' => 'a',
        'é' | 'è' | 'ê' | 'ë' => 'e',
        'í' | 'ì' | 'î' | 'ï' => 'i',
        'ó' | 'ò' | 'ô' | 'ö' | 'õ' => 'o',
        'ú' | 'ù' | 'û' | 'ü' => 'u',
        'ñ' => 'n',
        'ç' => 'c',
        '’' | '‘' | '`' | '´' => '\'',
        '\u{300}'..='\u{36f}' => return None,
        _ => character,
    })
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_BYTES)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(text: &str) -> Vec<Vec<String>> {
        clauses(text).into_iter().map(|clause| clause.into_iter().map(|word| word.key).collect()).collect()
    }

    #[test]
    fn punctuation_ends_a_clause_and_white_space_a_word() {
        assert_eq!(
            keys("Hello, Luna! How are\tyou?"),
            [vec!["hello"], vec!["luna"], vec!["how", "are", "you"]]
        );
        assert_eq!(keys("one\ntwo  three"), [vec!["one"], vec!["two", "three"]]);
        assert_eq!(keys(" ?! … 👍 -- \u{0} "), Vec::<Vec<String>>::new());
    }

    #[test]
    fn words_are_compared_without_case_accents_and_surroundings() {
        assert_eq!(keys("¿CÓMO estás, Señor?"), [vec!["como", "estas"], vec!["senor"]]);
        assert_eq!(keys("e\u{301}l don’t 'quoted' great👍"), [vec!["el", "don't", "quoted", "great"]]);
        assert_eq!(clauses("Señor")[0][0].text, "Señor");
    }

    #[test]
    fn names_and_numbers_stay_whole() {
        assert_eq!(keys("node.js and c++ at 10:30."), [vec!["node.js", "and", "c++", "at", "10:30"]]);
        assert_eq!(keys("3,000 well-known"), [vec!["3,000", "well-known"]]);
    }

    #[test]
    fn marks_that_turn_the_direction_of_text_do_not_survive() {
        assert_eq!(keys("a\u{202e}b\u{2067}c"), [vec!["a", "b", "c"]]);
    }

    #[test]
    fn a_phrase_is_one_clause_that_loses_nothing() {
        assert_eq!(phrase("Thank you").unwrap(), ["thank", "you"]);
        assert_eq!(phrase("yes, please"), None);
        assert_eq!(phrase("yes 👍"), None);
        assert_eq!(phrase(""), None);
    }

    #[test]
    fn the_longest_phrase_is_replaced_and_the_result_is_not_looked_at_again() {
        let mut mirror = Substitutions::default();
        for (from, to) in [("i", "you"), ("you", "me"), ("you are", "I am")] {
            assert!(mirror.add(phrase(from).unwrap(), clauses(to).remove(0)));
        }
        assert!(!mirror.add(phrase("i").unwrap(), Vec::new()), "one phrase has one replacement");
        let said = |text: &str| {
            let words = mirror.apply(&clauses(text)[0]);
            words.into_iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(said("I think you are kind"), "you think I am kind");
        assert_eq!(said("I like you"), "you like me");
    }

    #[test]
    fn long_texts_and_long_words_are_cut() {
        let count = |text: &str| clauses(text).iter().map(Vec::len).sum::<usize>();
        assert_eq!(count(&"a ".repeat(MAX_WORDS)), MAX_WORDS);
        assert_eq!(count(&"a ".repeat(20_000)), MAX_WORDS);
        assert_eq!(clauses(&"é".repeat(20_000))[0][0].text.chars().count(), MAX_WORD_CHARS);
        assert_eq!(count(&" ".repeat(MAX_BYTES)), 0);
        assert_eq!(count(&format!("{}late", " ".repeat(MAX_BYTES))), 0, "what is beyond is not looked at");
    }

    proptest! {
        #[test]
        fn any_text_has_bounded_clean_words(text in any::<String>()) {
            let clauses = clauses(&text);
            prop_assert!(clauses.iter().map(Vec::len).sum::<usize>() <= MAX_WORDS);
            for word in clauses.iter().flatten() {
                prop_assert!(!word.text.is_empty() && word.text.chars().count() <= MAX_WORD_CHARS);
                prop_assert!(!word.text.chars().any(|c| c.is_whitespace() || c.is_control()));
            }
            prop_assert!(clauses.iter().all(|clause| !clause.is_empty()));
        }
    }
}

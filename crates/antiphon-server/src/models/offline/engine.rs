//! What the script answers to one message, given what was said before.
//!
//! The method is that of the first conversational programs: the best-ranked keyword whose rule fits decides, the rule's
//! lines are used in turn, parts of the message are said back with "I" and "you" exchanged, and things said about "my …"
//! are kept for the moment when no keyword is found.

use std::collections::VecDeque;
use std::ops::Range;

use super::script::{Keyword, Lines, Part, Rule, Script, Template};
use super::words::{self, Word};

/// How many things are kept for later; the oldest gives way.
const MAX_KEPT: usize = 8;

/// How many places where a keyword stands are tried.
const MAX_CANDIDATES: usize = 16;

/// How many captured words are said back.
const MAX_CAPTURED_WORDS: usize = 14;

/// What one conversation has come to: which lines were used how often, and what is kept for later.
#[derive(Debug)]
pub(super) struct State {
    used: Vec<usize>,
    kept: VecDeque<String>,
}

impl State {
    /// A conversation whose lines were already used `turns` times; nothing is kept.
    pub(super) fn new(script: &Script, turns: usize) -> Self {
        Self { used: vec![turns; script.line_sets], kept: VecDeque::new() }
    }

    /// Whose turn it is among `lines`, as an index; the next time it is the next one's.
    fn turn(&mut self, lines: &Lines) -> usize {
        let used = &mut self.used[lines.id];
        let turn = *used % lines.templates.len();
        *used = used.wrapping_add(1);
        turn
    }

    fn keep(&mut self, thing: String) {
        if self.kept.len() == MAX_KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(thing);
    }
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Speaker<'a> {
    /// The agent's name.
    pub(super) name: &'a str,
    /// What it has said so far, oldest first. A line that was said longest ago, or never, is preferred.
    pub(super) said: &'a [&'a str],
}

/// What is said before anybody has said anything.
pub(super) fn open(script: &Script, state: &mut State, speaker: Speaker<'_>) -> String {
    say(script, state, speaker, &script.opening, &[], &[])
}

/// What is answered to `text`; `state` moves on by one turn.
pub(super) fn respond(script: &Script, state: &mut State, speaker: Speaker<'_>, text: &str) -> String {
    let clauses = read(script, text);
    let choice = choose(script, &clauses);
    let answer = if let Some(choice) = &choice {
        say(script, state, speaker, &choice.rule.lines, choice.clause, &choice.captures)
    } else if clauses.is_empty() {
        say(script, state, speaker, &script.wordless, &[], &[])
    } else if let Some(kept) = state.kept.pop_front() {
        kept
    } else {
        say(script, state, speaker, &script.fallback, &[], &[])
    };
    if choice.is_none_or(|choice| choice.keyword.keeps) {
        remember(script, state, speaker, &clauses);
    }
    answer
}

/// The clauses of `text` in the words that the script looks for.
pub(super) fn read(script: &Script, text: &str) -> Vec<Vec<Word>> {
    words::clauses(text).iter().map(|clause| script.before.apply(clause)).collect()
}

/// A rule that fits.
#[derive(Debug)]
pub(super) struct Choice<'a> {
    /// The keyword that was found.
    pub(super) keyword: &'a Keyword,
    /// Its rule that fits.
    pub(super) rule: &'a Rule,
    /// The clause it was found in.
    pub(super) clause: &'a [Word],
    /// What the rule's pattern captured there.
    pub(super) captures: Vec<Range<usize>>,
}

/// The first rule that fits, of the keywords in `clauses`: best rank first, then in the order of the text.
pub(super) fn choose<'a>(script: &'a Script, clauses: &'a [Vec<Word>]) -> Option<Choice<'a>> {
    candidates(script, clauses).into_iter().find_map(|(keyword, clause)| {
        let keyword = &script.keywords[keyword];
        keyword.rules.iter().find_map(|rule| {
            let captures = rule.pattern.matches(clause)?;
            Some(Choice { keyword, rule, clause, captures })
        })
    })
}

/// Keywords and the clauses they stand in, each pair once.
fn candidates<'a>(script: &Script, clauses: &'a [Vec<Word>]) -> Vec<(usize, &'a [Word])> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (place, clause) in clauses.iter().enumerate() {
        let begin = found.len();
        for at in 0..clause.len() {
            let mut here: Vec<_> = phrases_at(script, &clause[at..]).collect();
            // Where several begin with one word, the longest says most.
            here.sort_unstable_by_key(|(length, _)| std::cmp::Reverse(*length));
            for (_, keyword) in here {
                if !found[begin..].contains(&(place, keyword)) {
                    found.push((place, keyword));
                }
            }
        }
    }
    // A stable sort: equal ranks stay in the order of the text.
    found.sort_by_key(|&(_, keyword)| std::cmp::Reverse(script.keywords[keyword].rank));
    found.truncate(MAX_CANDIDATES);
    found.into_iter().map(|(place, keyword)| (keyword, &clauses[place][..])).collect()
}

/// The keyword phrases that `words` begin with: how long each is, and whose.
pub(super) fn phrases_at(script: &Script, words: &[Word]) -> impl Iterator<Item = (usize, usize)> {
    let entries = words.first().and_then(|word| script.phrases.get(&word.key));
    let entries = entries.map_or(&[][..], Vec::as_slice).iter();
    entries.filter(|(phrase, _)| words::begins_with(words, phrase)).map(|(phrase, k)| (phrase.len(), *k))
}

fn remember(script: &Script, state: &mut State, speaker: Speaker<'_>, clauses: &[Vec<Word>]) {
    let kept = script.remember.iter().find_map(|rule| {
        let found = clauses.iter().find_map(|clause| Some((clause, rule.pattern.matches(clause)?)));
        found.map(|(clause, captures)| (rule, clause, captures))
    });
    if let Some((rule, clause, captures)) = kept {
        let thing = say(script, state, speaker, &rule.lines, clause, &captures);
        state.keep(thing);
    }
}

/// The line of `lines` that was said longest ago, or never; among equals the one whose turn it is.
fn say(
    script: &Script,
    state: &mut State,
    speaker: Speaker<'_>,
    lines: &Lines,
    clause: &[Word],
    captures: &[Range<usize>],
) -> String {
    let turn = state.turn(lines);
    let (before, from_turn) = lines.templates.split_at(turn);
    from_turn
        .iter()
        .chain(before)
        .map(|template| render(script, template, speaker.name, clause, captures))
        .min_by_key(|text| speaker.said.iter().rposition(|said| said == text).map_or(0, |place| place + 1))
        .expect("the parser accepts no empty set of lines")
}

fn render(
    script: &Script,
    template: &Template,
    agent: &str,
    clause: &[Word],
    captures: &[Range<usize>],
) -> String {
    let mut answer = String::new();
    for part in &template.0 {
        match part {
            Part::Text(text) => answer.push_str(text),
            Part::Agent => answer.push_str(agent),
            Part::Capture(index) => mirrored(script, &clause[captures[*index].clone()], &mut answer),
        }
    }
    capitalized(answer)
}

/// Adds `words` to `answer` with "I" and "you" exchanged.
fn mirrored(script: &Script, words: &[Word], answer: &mut String) {
    let words = script.mirror.apply(words);
    for (place, word) in words.iter().take(MAX_CAPTURED_WORDS).enumerate() {
        if place > 0 {
            answer.push(' ');
        }
        answer.push_str(&word.text);
    }
    if words.len() > MAX_CAPTURED_WORDS {
        answer.push('…');
    }
}

fn capitalized(text: String) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) if first.is_lowercase() => first.to_uppercase().chain(characters).collect(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::super::script;
    use super::*;

    /// The built-in script, parsed once for all tests.
    static BUILT_IN: LazyLock<Script> = LazyLock::new(|| Script::parse(script::BUILT_IN).unwrap());

    const LUNA: Speaker<'static> = Speaker { name: "Luna", said: &[] };

    const SMALL: &str = "
        opening: I am {agent}.
        wordless: No words.
        fallback: Go on.
        fallback: And then?
        before: i'm | im -> I am
        mirror: i -> you
        mirror: my -> your
        mirror: you -> me
        mirror: you are -> I am
        keyword 1: hello
          match: *
            say: Hello, I am {agent}.
        keyword 5: feel
          match: * i feel +
            say: Why do you feel {2}?
            say: Since when do you feel {2}?
        keyword 5: tea | green tea
          match: * green tea
            say: Green.
          match: *
            say: Tea.
        keyword 9: secret
          keep: nothing
          match: *
            say: Hush.
        remember: * my +
          later: {agent} remembers your {2}.
    ";

    fn small() -> Script {
        Script::parse(SMALL).unwrap()
    }

    /// What is answered to each of `texts`, one conversation.
    fn talk(texts: &[&str]) -> Vec<String> {
        let script = small();
        let mut state = State::new(&script, 0);
        texts.iter().map(|text| respond(&script, &mut state, LUNA, text)).collect()
    }

    #[test]
    fn the_best_rank_decides_and_then_the_order_of_the_text() {
        assert_eq!(talk(&["Hello, I feel fine"]), ["Why do you feel fine?"]);
        assert_eq!(talk(&["Tea makes me feel"]), ["Tea."]);
        assert_eq!(talk(&["I feel like tea"]), ["Why do you feel like tea?"]);
    }

    #[test]
    fn a_keyword_whose_rules_do_not_fit_leaves_the_word_to_the_next() {
        assert_eq!(talk(&["hello, how does it feel"]), ["Hello, I am Luna."]);
    }

    #[test]
    fn lines_are_used_in_turn() {
        let answers = talk(&["I feel old", "I feel new", "I feel blue"]);
        assert_eq!(answers, ["Why do you feel old?", "Since when do you feel new?", "Why do you feel blue?"]);
        assert_eq!(talk(&["a", "b", "c"]), ["Go on.", "And then?", "Go on."]);
    }

    #[test]
    fn a_line_that_was_said_is_left_for_later_whosever_turn_it_is() {
        let script = small();
        let after = |said: &[&str]| {
            respond(&script, &mut State::new(&script, 0), Speaker { name: "Luna", said }, "hm")
        };
        assert_eq!(after(&[]), "Go on.");
        assert_eq!(after(&["Go on."]), "And then?");
        assert_eq!(after(&["And then?", "Go on."]), "And then?");
        assert_eq!(after(&["Go on.", "And then?"]), "Go on.");
    }

    #[test]
    fn what_is_said_back_is_mirrored_and_cut() {
        assert_eq!(talk(&["I feel you are my friend"]), ["Why do you feel I am your friend?"]);
        let long = talk(&[&format!("I feel {}", "so ".repeat(20))]);
        assert_eq!(long, [format!("Why do you feel {}…?", ["so"; MAX_CAPTURED_WORDS].join(" "))]);
    }

    #[test]
    fn a_capture_does_not_reach_into_the_next_clause() {
        assert_eq!(talk(&["I feel cold, now close the door"]), ["Why do you feel cold?"]);
    }

    #[test]
    fn what_was_said_with_my_comes_back_once_when_no_keyword_is_found() {
        let answers = talk(&["Hello, my cat is here", "hm", "hm"]);
        assert_eq!(answers, ["Hello, I am Luna.", "Luna remembers your cat is here.", "Go on."]);
        assert_eq!(talk(&["my cat", "hm"]), ["Go on.", "Luna remembers your cat."], "not in the same turn");
    }

    #[test]
    fn a_keyword_can_forbid_that_anything_is_kept() {
        assert_eq!(talk(&["a secret, my dear", "hm"]), ["Hush.", "Go on."]);
    }

    #[test]
    fn only_so_much_is_kept() {
        let script = small();
        let mut state = State::new(&script, 0);
        for number in 0..MAX_KEPT + 2 {
            respond(&script, &mut state, LUNA, &format!("hello, my number {number}"));
        }
        assert_eq!(state.kept.len(), MAX_KEPT);
        assert_eq!(respond(&script, &mut state, LUNA, "hm"), "Luna remembers your number 2.");
    }

    #[test]
    fn a_message_without_words_and_a_conversation_without_messages_have_their_own_lines() {
        assert_eq!(talk(&["👍 !!", ""]), ["No words.", "No words."]);
        let script = small();
        assert_eq!(open(&script, &mut State::new(&script, 0), LUNA), "I am Luna.");
    }

    #[test]
    fn words_are_replaced_before_keywords_are_looked_for() {
        let script = small();
        let clauses = read(&script, "Im here");
        assert_eq!(clauses[0].iter().map(|word| &*word.text).collect::<Vec<_>>(), ["I", "am", "here"]);
    }

    proptest! {
        #[test]
        fn any_conversation_gets_answers_of_bounded_length(texts in prop::collection::vec(any::<String>(), 0..6)) {
            let mut state = State::new(&BUILT_IN, 0);
            for text in texts {
                let answer = respond(&BUILT_IN, &mut state, LUNA, &text);
                prop_assert!(!answer.trim().is_empty() && answer.len() < 4096);
            }
        }

        #[test]
        fn any_sequence_of_the_scripts_own_words_gets_an_answer(places in prop::collection::vec(any::<prop::sample::Index>(), 0..120)) {
            let vocabulary: Vec<&str> = script::BUILT_IN.split_whitespace().collect();
            let text = places.iter().map(|place| *place.get(&vocabulary)).collect::<Vec<_>>().join(" ");
            let answer = respond(&BUILT_IN, &mut State::new(&BUILT_IN, usize::MAX), LUNA, &text);
            let has_holes = answer.contains(['{', '}', '\n']);
            prop_assert!(!answer.is_empty() && !has_holes);
        }
    }
}

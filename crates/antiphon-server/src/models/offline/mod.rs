//! What the built-in agent says: a deterministic script, no language model, no network.
//!
//! | module | answers |
//! |---|---|
//! | [`script`] | what a script consists of, and how `script.txt` is read |
//! | [`pattern`] | whether a clause has the shape that a rule asks for |
//! | [`words`] | which words a text has |
//! | [`engine`] | what the script answers to one message |
//!
//! The agent keeps nothing between answers: where a conversation stands is worked out from its history each time. The same
//! history gives the same answer on every node and after every restart.

mod engine;
mod pattern;
mod script;
mod words;

use antiphon_core::conversation::{Message, Party};
use antiphon_core::ports::{Answer, Model, Prompt};

use self::engine::{Speaker, State};
use self::script::Script;
pub(super) use self::script::ScriptError;
use super::pacing::{self, Pace};

/// How many messages of each side are gone through again for an answer.
const MAX_REPLAYED: usize = 64;

/// How much of an agent's name is said, in characters.
const MAX_NAME_CHARS: usize = 60;

/// The built-in agent.
#[derive(Debug)]
pub(super) struct Offline {
    script: Script,
    pace: Pace,
}

impl Offline {
    /// The agent with the script that comes with the server, speaking at `pace`.
    pub(super) fn new(pace: Pace) -> Result<Self, ScriptError> {
        Ok(Self { script: Script::parse(script::BUILT_IN)?, pace })
    }
}

impl Model for Offline {
    fn answer(&self, prompt: Prompt) -> Answer {
        pacing::say(reply(&self.script, &prompt.agent.name, &prompt.history), self.pace)
    }
}

/// What the agent called `name` answers to the last message of the person in `history`.
fn reply(script: &Script, name: &str, history: &[Message]) -> String {
    let name = spoken(name);
    let heard = last_of(history, Party::Person);
    let said: Vec<&str> = last_of(history, Party::Agent).iter().map(|message| message.text.trim()).collect();
    let speaker = Speaker { name: &name, said: &said };
    let Some((last, earlier)) = heard.split_last() else {
        return engine::open(script, &mut State::new(script, 0), speaker);
    };
    // A history may begin in the middle of a conversation. Were the turns before it not counted, a window that moves along
    // with the conversation would show the same counts, and so the same line, at every turn.
    let first = earlier.first().unwrap_or(last);
    let turns = usize::try_from(first.seq.saturating_sub(1) / 2).unwrap_or(usize::MAX);
    let mut state = State::new(script, turns);
    for message in earlier {
        engine::respond(script, &mut state, Speaker { said: &[], ..speaker }, &message.text);
    }
    engine::respond(script, &mut state, speaker, &last.text)
}

/// The last messages of `party`, oldest first.
fn last_of(history: &[Message], party: Party) -> Vec<&Message> {
    let newest = history.iter().rev().filter(|message| message.author == party).take(MAX_REPLAYED);
    let mut messages: Vec<&Message> = newest.collect();
    messages.reverse();
    messages
}

/// A name as it can stand in a sentence: one line, single spaces, not too long.
fn spoken(name: &str) -> String {
    let words = name.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let name: String = words.collect::<Vec<_>>().join(" ").chars().take(MAX_NAME_CHARS).collect();
    if name.is_empty() { "this agent".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;
    use std::time::Duration;

    use antiphon_core::conversation::MAX_TEXT_BYTES;
    use antiphon_core::conversation::Party::{Agent, Person};
    use futures_util::StreamExt;
    use proptest::prelude::*;
    use tokio::time::Instant;

    use super::super::prompts::prompt;
    use super::pattern::Element;
    use super::*;

    const PACE: Pace = Pace { words: 3, delay: Duration::from_millis(50) };

    /// The built-in script, parsed once for all tests.
    fn script() -> &'static Script {
        static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::parse(script::BUILT_IN).unwrap());
        &SCRIPT
    }

    fn ask(first: u64, said: &[(Party, &str)]) -> String {
        reply(script(), "Luna", &prompt("Luna", first, said).history)
    }

    #[test]
    fn a_conversation_goes_as_written_down() {
        let written = include_str!("transcript.txt").lines().filter(|line| !line.is_empty());
        let mut said: Vec<(Party, &str)> = Vec::new();
        let mut turns = 0;
        for line in written {
            match line.split_once(": ").unwrap() {
                ("Ada", text) => said.push((Person, text)),
                ("Luna", text) => {
                    assert_eq!(ask(1, &said), text, "after {:?}", said.last());
                    said.push((Agent, text));
                    turns += 1;
                }
                (name, _) => panic!("{name} is not in this conversation"),
            }
        }
        assert!(turns >= 12, "{turns} turns");
    }

    #[tokio::test(start_paused = true)]
    async fn hello_is_answered_in_several_pieces_at_the_pace_of_the_settings() {
        let begin = Instant::now();
        let model = Offline::new(PACE).unwrap();
        let answer = model.answer(prompt("Luna", 1, &[(Person, "Hello!")]));
        let pieces: Vec<String> = answer.map(Result::unwrap).collect().await;
        assert!(pieces.len() >= 4, "{pieces:?}");
        assert_eq!(begin.elapsed(), PACE.delay * u32::try_from(pieces.len()).unwrap());
        assert_eq!(pieces.concat().trim_end(), ask(1, &[(Person, "Hello!")]));
    }

    #[test]
    fn the_agent_speaks_under_its_own_name() {
        let answer =
            |name: &str| reply(script(), name, &prompt(name, 1, &[(Person, "What is your name?")]).history);
        assert!(answer("Señor Gato").contains("Señor Gato"));
        assert!(answer(" a\u{0}b\n  c ").contains("a b c"));
        assert!(answer("").contains("this agent"));
        let long = answer(&"é".repeat(5_000));
        assert!(
            long.contains(&"é".repeat(MAX_NAME_CHARS)) && !long.contains(&"é".repeat(MAX_NAME_CHARS + 1))
        );
    }

    #[test]
    fn asked_what_it_is_it_says_that_it_is_a_script_without_a_language_model() {
        for question in [
            "Are you human?",
            "are you a real person",
            "Are you an AI?",
            "are you a bot",
            "Is this an AI?",
            "Are you ChatGPT?",
            "are you claude or gemini?",
            "What model are you?",
            "Which LLM are you running on?",
            "what are you",
            "Who are you?",
            "Who made you?",
            "who created you??",
            "am I talking to a human",
            "Hello! I am Bob, are you a machine",
            "Are you conscious?",
            "do you understand me?",
            "Do you have feelings?",
            "¿Eres humano?",
            "eres una IA",
            "¿Quién eres?",
            "Apakah kamu manusia?",
            "kamu robot ya?",
            "siapa kamu",
        ] {
            // Every line of the rule, not only the first.
            for turn in 0..4 {
                let answer = ask(1 + 2 * turn, &[(Person, question)]);
                let honest = ["script", "guion", "skrip"].iter().any(|word| answer.contains(word));
                assert!(honest, "{question} → {answer}");
            }
        }
        for question in ["What model are you?", "Are you ChatGPT?", "Are you an AI?"] {
            for turn in 0..4 {
                let answer = ask(1 + 2 * turn, &[(Person, question)]);
                assert!(answer.contains("language model"), "{question} → {answer}");
            }
        }
    }

    #[test]
    fn somebody_in_danger_is_sent_to_people_and_never_reminded_of_it() {
        let first = (Person, "my life is over and I want to kill myself");
        let answer = ask(1, &[first]);
        assert!(answer.contains("emergency"), "{answer}");
        let later = ask(1, &[first, (Agent, &answer), (Person, "qwertz")]);
        assert!(!later.contains("life"), "{later}");
        assert!(!ask(1, &[(Person, "how do I kill a process")]).contains("emergency"));
    }

    #[test]
    fn a_window_that_moves_along_does_not_repeat_one_line_for_ever() {
        let said: Vec<_> = [(Person, "qwertz"), (Agent, "…")].into_iter().cycle().take(9).collect();
        let answers: Vec<String> = (0..4).map(|turn| ask(1 + 2 * turn, &said)).collect();
        assert!(answers.windows(2).all(|pair| pair[0] != pair[1]), "{answers:?}");
    }

    #[test]
    fn a_question_that_returns_gets_another_line_however_far_back_the_history_reaches() {
        for window in [2, 5, 20, 200] {
            let mut said: Vec<(Party, String)> = Vec::new();
            for turn in 0..40 {
                said.push((Person, ["Hello!", "qwertz", "Thanks!"][turn % 3].to_owned()));
                let begin = said.len().saturating_sub(window);
                let visible: Vec<(Party, &str)> =
                    said[begin..].iter().map(|(p, text)| (*p, &**text)).collect();
                let answer = ask(begin as u64 + 1, &visible);
                let before = visible.iter().rfind(|(party, text)| *party == Agent && *text == answer);
                let same =
                    |kind: &str| visible[..visible.len() - 1].iter().rposition(|(_, text)| *text == kind);
                let last_time = same(visible[visible.len() - 1].1).map(|place| visible[place + 1]);
                assert!(
                    last_time.is_none() || last_time != before.copied(),
                    "turn {turn} of {window}: {answer}"
                );
                said.push((Agent, answer));
            }
        }
    }

    #[test]
    fn without_a_message_of_the_person_the_agent_opens() {
        assert!(ask(1, &[]).contains("Luna"));
        assert_eq!(ask(1, &[(Agent, "Welcome.")]), ask(1, &[]));
        assert_eq!(ask(1, &[(Person, "Hello!"), (Agent, "Hi.")]), ask(1, &[(Person, "Hello!")]));
    }

    #[test]
    fn only_the_last_messages_are_gone_through() {
        let long: Vec<_> = std::iter::repeat_n((Person, "my cat sleeps"), MAX_REPLAYED * 3).collect();
        let cut = &long[long.len() - MAX_REPLAYED..];
        let first_of_cut = 1 + (long.len() - MAX_REPLAYED) as u64;
        assert_eq!(ask(1, &long), ask(first_of_cut, cut));
    }

    #[test]
    fn the_longest_messages_are_answered_from_their_beginning() {
        let padded = format!("Hello! {}", "x y z. ".repeat(MAX_TEXT_BYTES / 7 - 1));
        assert!(padded.len() <= MAX_TEXT_BYTES);
        assert_eq!(ask(1, &[(Person, &padded)]), ask(1, &[(Person, "Hello!")]));
    }

    /// Texts that ought to bring `rule` of a keyword with `phrases` about: its pattern, with each phrase in each open place
    /// or in none, and the other open places as empty as they may be or all filled.
    fn samples(phrases: &[&Vec<String>], rule: &script::Rule) -> Vec<String> {
        let elements = rule.pattern.elements();
        let mut samples = Vec::new();
        for phrase in phrases {
            for (place, least) in (0..=elements.len()).flat_map(|place| [(place, 0), (place, 1)]) {
                let most = elements.iter().map(|element| choices(element).len()).max().unwrap_or(1);
                samples.extend((0..most).map(|member| {
                    let words = elements.iter().enumerate().map(|(at, element)| match element {
                        Element::Open(_) if at == place => phrase.join(" "),
                        Element::Open(minimum) => "zyzzyva ".repeat(least.max(*minimum)),
                        _ => choices(element)[member % choices(element).len()].clone(),
                    });
                    words.collect::<Vec<_>>().join(" ")
                }));
            }
        }
        samples
    }

    /// The words that can stand in a place, in order.
    fn choices(element: &Element) -> Vec<String> {
        match element {
            Element::Word(key) => vec![key.clone()],
            Element::OneOf(group) => group.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            Element::Open(_) => vec![String::new()],
        }
    }

    /// The lines of `script` that no sample reaches: rules, and keyword phrases that the words before them swallow.
    fn unreachable_lines(script: &Script) -> Vec<usize> {
        let mut lines = Vec::new();
        for (place, keyword) in script.keywords.iter().enumerate() {
            let all = script.phrases.values().flatten();
            let phrases: Vec<_> = all.filter(|(_, k)| *k == place).map(|(phrase, _)| phrase).collect();
            let is_found = |phrase: &&Vec<String>| {
                let clauses = engine::read(script, &phrase.join(" "));
                clauses.iter().any(|clause| engine::phrases_at(script, clause).any(|(_, k)| k == place))
            };
            if !phrases.iter().all(is_found) {
                lines.push(keyword.line());
            }
            for rule in &keyword.rules {
                let reaches = |sample: &String| {
                    let clauses = engine::read(script, sample);
                    engine::choose(script, &clauses).is_some_and(|choice| std::ptr::eq(choice.rule, rule))
                };
                if !samples(&phrases, rule).iter().any(reaches) {
                    lines.push(rule.lines.line());
                }
            }
        }
        for (place, rule) in script.remember.iter().enumerate() {
            let reaches = |sample: &String| {
                let clauses = engine::read(script, sample);
                let fits =
                    |rule: &script::Rule| clauses.iter().any(|clause| rule.pattern.matches(clause).is_some());
                fits(rule) && !script.remember[..place].iter().any(fits)
            };
            if !samples(&[&vec!["zyzzyva".to_owned()]], rule).iter().any(reaches) {
                lines.push(rule.lines.line());
            }
        }
        lines
    }

    #[test]
    fn every_rule_of_the_built_in_script_can_be_reached() {
        assert_eq!(unreachable_lines(script()), Vec::<usize>::new());
    }

    #[test]
    fn a_rule_behind_one_that_takes_everything_counts_as_out_of_reach() {
        let least = "opening: a\nwordless: b\nfallback: c\n";
        let lines = |more: &str| unreachable_lines(&Script::parse(&format!("{least}{more}")).unwrap());
        assert_eq!(lines("keyword 1: tea\nmatch: *\nsay: d\nmatch: green tea\nsay: e"), [7]);
        assert_eq!(lines("before: im -> I am\nkeyword 1: im\nmatch: *\nsay: d"), [5, 6]);
        assert_eq!(lines("keyword 1: a\nmatch: b c\nsay: d"), [5]);
        assert_eq!(lines("remember: * my *\nlater: d\nremember: my cat\nlater: e"), [6]);
    }

    #[test]
    fn every_line_of_the_built_in_script_is_one_to_three_sentences_of_some_length() {
        let script = script();
        let rules = script.keywords.iter().flat_map(|keyword| &keyword.rules).chain(&script.remember);
        let general = [&script.opening, &script.wordless, &script.fallback];
        for template in rules.map(|rule| &rule.lines).chain(general).flat_map(|lines| &lines.templates) {
            let text = template.to_string();
            let sentences =
                text.split_inclusive(['.', '?', '!']).filter(|sentence| !sentence.trim().is_empty());
            assert!((1..=3).contains(&sentences.count()), "{text}");
            assert!((6..=45).contains(&text.split(' ').count()), "{text}");
            assert!(text.ends_with(['.', '?', '!']), "{text}");
        }
        let mut hello = (0..3).map(|turn| ask(1 + 2 * turn, &[(Person, "Hello!")]));
        assert!(hello.all(|answer| answer.split(' ').count() >= 12));
    }

    proptest! {
        #[test]
        fn any_history_gives_one_answer_and_always_the_same(
            texts in prop::collection::vec((any::<bool>(), any::<String>()), 0..8),
            first in any::<u64>().prop_map(|first| first >> 1),
            name in any::<String>(),
        ) {
            let said: Vec<_> =
                texts.iter().map(|(person, text)| (if *person { Person } else { Agent }, &**text)).collect();
            let history = prompt(&name, first, &said).history;
            let answer = reply(script(), &name, &history);
            prop_assert!(!answer.trim().is_empty());
            prop_assert_eq!(answer, reply(script(), &name, &history));
        }
    }
}

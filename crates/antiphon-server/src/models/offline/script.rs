//! What the offline agent's script consists of, and how its text is read.
//!
//! The format is described at the top of `script.txt`. Whatever could not work is an error with its line number: a reader
//! of the script should find a mistake before a person does.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::pattern::{Group, Pattern};
use super::words::{self, Substitutions, Word};

/// The script that comes with the server.
pub(super) const BUILT_IN: &str = include_str!("script.txt");

/// A script, ready to be followed.
#[derive(Debug)]
pub(super) struct Script {
    /// What is said when nobody has said anything.
    pub(super) opening: Lines,
    /// What is said to a message without words.
    pub(super) wordless: Lines,
    /// What is said when nothing else applies.
    pub(super) fallback: Lines,
    /// Applied to what a person says before anything is looked for.
    pub(super) before: Substitutions,
    /// Applied to what is said back to the person.
    pub(super) mirror: Substitutions,
    /// What is looked for.
    pub(super) keywords: Vec<Keyword>,
    /// Phrases by their first word: the whole phrase, and its place in `keywords`.
    pub(super) phrases: HashMap<String, Vec<(Vec<String>, usize)>>,
    /// What is kept for later, tried in order.
    pub(super) remember: Vec<Rule>,
    /// How many [`Lines`] there are: their ids are 0 to this.
    pub(super) line_sets: usize,
}

/// Phrases that mean the same, and what to do about them.
#[derive(Debug)]
pub(super) struct Keyword {
    /// Greater ranks come first.
    pub(super) rank: u8,
    /// Whether the rest of such a message may be kept for later.
    pub(super) keeps: bool,
    /// Tried in order on the clause that has the phrase.
    pub(super) rules: Vec<Rule>,
    /// Where it stands in the script.
    line: usize,
}

/// A shape, and what is said about it.
#[derive(Debug)]
pub(super) struct Rule {
    /// The shape.
    pub(super) pattern: Pattern,
    /// What is said.
    pub(super) lines: Lines,
}

/// Templates that are used in turn.
#[derive(Debug)]
pub(super) struct Lines {
    /// Names the count of how often they were used.
    pub(super) id: usize,
    /// At least one.
    pub(super) templates: Vec<Template>,
    /// Where they begin in the script.
    line: usize,
}

/// A sentence with holes.
#[derive(Clone, Debug)]
pub(super) struct Template(pub(super) Vec<Part>);

/// A part of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// As it stands.
    Text(String),
    /// The agent's name.
    Agent,
    /// What a pattern captured, from 0, mirrored.
    Capture(usize),
}

/// What is wrong with a script, and where.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct ScriptError {
    line: usize,
    problem: String,
}

impl Script {
    /// Reads a script.
    pub(super) fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut reader = Reader::default();
        let mut last = 0;
        for (number, line) in (1..).zip(text.lines()) {
            last = number;
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                reader.read(number, line).map_err(|problem| ScriptError { line: number, problem })?;
            }
        }
        reader.finish(last)
    }
}

/// A script that is half read.
#[derive(Default)]
struct Reader {
    opening: Option<Lines>,
    wordless: Option<Lines>,
    fallback: Option<Lines>,
    before: Substitutions,
    mirror: Substitutions,
    groups: HashMap<String, Group>,
    keywords: Vec<Keyword>,
    phrases: HashMap<String, Vec<(Vec<String>, usize)>>,
    remember: Vec<Rule>,
    line_sets: usize,
    line: usize,
}

impl Reader {
    fn read(&mut self, number: usize, line: &str) -> Result<(), String> {
        self.line = number;
        let (head, value) = line.split_once(':').ok_or("expected `word: value`")?;
        let (head, value) = (head.trim(), value.trim());
        if value.is_empty() {
            return Err(format!("`{head}:` needs a value"));
        }
        match head.split_once(' ').map_or((head, ""), |(word, rest)| (word, rest.trim())) {
            ("opening", "") => self.general(value, |reader| &mut reader.opening),
            ("wordless", "") => self.general(value, |reader| &mut reader.wordless),
            ("fallback", "") => self.general(value, |reader| &mut reader.fallback),
            ("before", "") => substitution(&mut self.before, value),
            ("mirror", "") => substitution(&mut self.mirror, value),
            ("group", name) => self.group(name, value),
            ("keyword", rank) => self.keyword(rank, value),
            ("keep", "") => self.keep(value),
            ("match", "") => {
                let rule = self.rule(value)?;
                self.keyword_above()?.rules.push(rule);
                Ok(())
            }
            ("say", "") => {
                let rule = self.keyword_above()?.rules.last_mut();
                rule.ok_or("`say` belongs under a `match`")?.say(value)
            }
            ("remember", "") => {
                let rule = self.rule(value)?;
                self.remember.push(rule);
                Ok(())
            }
            ("later", "") => self.remember.last_mut().ok_or("`later` belongs under a `remember`")?.say(value),
            _ => Err(format!("`{head}:` is not known here")),
        }
    }

    fn general(&mut self, value: &str, place: fn(&mut Self) -> &mut Option<Lines>) -> Result<(), String> {
        let template = template(value, 0)?;
        if place(self).is_none() {
            let lines = self.lines();
            *place(self) = Some(lines);
        }
        let lines = place(self).as_mut().expect("set just above when it was not");
        lines.templates.push(template);
        Ok(())
    }

    fn group(&mut self, name: &str, value: &str) -> Result<(), String> {
        let named = !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        if !named {
            return Err(format!("a group is called by lower-case letters, not `{name}`"));
        }
        let word = |text: &str| match words::phrase(text).as_deref() {
            Some([word]) => Ok(word.clone()),
            _ => Err(format!("`{text}` is not one word")),
        };
        let members = list(value).map(word).collect::<Result<_, _>>()?;
        match self.groups.insert(name.to_owned(), Arc::new(members)) {
            None => Ok(()),
            Some(_) => Err(format!("the group `{name}` is there already")),
        }
    }

    fn keyword(&mut self, rank: &str, value: &str) -> Result<(), String> {
        let rank = rank.parse().map_err(|_| format!("a rank is a number from 0 to 255, not `{rank}`"))?;
        for text in list(value) {
            let phrase = words::phrase(text).ok_or_else(|| format!("`{text}` is not a phrase"))?;
            let entries = self.phrases.entry(phrase[0].clone()).or_default();
            if let Some((_, other)) = entries.iter().find(|(known, _)| *known == phrase) {
                let line = self.keywords.get(*other).map_or(self.line, |keyword| keyword.line);
                return Err(format!("`{text}` is a keyword already, on line {line}"));
            }
            entries.push((phrase, self.keywords.len()));
        }
        self.keywords.push(Keyword { rank, keeps: true, rules: Vec::new(), line: self.line });
        Ok(())
    }

    fn keep(&mut self, value: &str) -> Result<(), String> {
        if value != "nothing" {
            return Err(format!("`keep: nothing` is all there is, not `{value}`"));
        }
        self.keyword_above()?.keeps = false;
        Ok(())
    }

    fn rule(&mut self, value: &str) -> Result<Rule, String> {
        let pattern = Pattern::parse(value, &self.groups)?;
        Ok(Rule { pattern, lines: self.lines() })
    }

    fn lines(&mut self) -> Lines {
        self.line_sets += 1;
        Lines { id: self.line_sets - 1, templates: Vec::new(), line: self.line }
    }

    fn keyword_above(&mut self) -> Result<&mut Keyword, String> {
        self.keywords.last_mut().ok_or_else(|| "this belongs under a `keyword`".to_owned())
    }

    fn finish(self, last: usize) -> Result<Script, ScriptError> {
        let at = |line: usize, problem: &str| Err(ScriptError { line, problem: problem.to_owned() });
        for keyword in &self.keywords {
            if keyword.rules.is_empty() {
                return at(keyword.line, "this keyword has no `match`");
            }
        }
        for rule in self.keywords.iter().flat_map(|keyword| &keyword.rules) {
            if rule.lines.templates.is_empty() {
                return at(rule.lines.line, "this `match` has no `say`");
            }
        }
        for rule in &self.remember {
            if rule.lines.templates.is_empty() {
                return at(rule.lines.line, "this `remember` has no `later`");
            }
        }
        let (Some(opening), Some(wordless), Some(fallback)) = (self.opening, self.wordless, self.fallback)
        else {
            return at(last, "a script needs `opening`, `wordless` and `fallback`");
        };
        Ok(Script {
            opening,
            wordless,
            fallback,
            before: self.before,
            mirror: self.mirror,
            keywords: self.keywords,
            phrases: self.phrases,
            remember: self.remember,
            line_sets: self.line_sets,
        })
    }
}

impl Rule {
    fn say(&mut self, value: &str) -> Result<(), String> {
        self.lines.templates.push(template(value, self.pattern.captures())?);
        Ok(())
    }
}

impl Keyword {
    /// Where it stands in the script.
    #[cfg(test)]
    pub(super) fn line(&self) -> usize {
        self.line
    }
}

impl Lines {
    /// Where they begin in the script.
    #[cfg(test)]
    pub(super) fn line(&self) -> usize {
        self.line
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Agent => f.write_str("{agent}"),
            Part::Capture(index) => write!(f, "{{{}}}", index + 1),
        })
    }
}

fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split('|').map(str::trim)
}

fn substitution(substitutions: &mut Substitutions, value: &str) -> Result<(), String> {
    let (phrases, words) = value.split_once("->").ok_or("expected `phrase -> words`")?;
    let words: Vec<Word> = match &mut words::clauses(words)[..] {
        [clause] => std::mem::take(clause),
        _ => return Err(format!("`{}` is not one clause", words.trim())),
    };
    for text in list(phrases) {
        let phrase = words::phrase(text).ok_or_else(|| format!("`{text}` is not a phrase"))?;
        if !substitutions.add(phrase, words.clone()) {
            return Err(format!("`{text}` has a replacement already"));
        }
    }
    Ok(())
}

fn template(value: &str, captures: usize) -> Result<Template, String> {
    let mut parts = Vec::new();
    let mut text = String::new();
    // Single spaces only: answers are cut into pieces there.
    let mut rest = &*value.split_whitespace().collect::<Vec<_>>().join(" ");
    while let Some((before, from)) = rest.split_once('{') {
        let (name, after) = from.split_once('}').ok_or("`{` is not closed")?;
        let part = match name.parse::<usize>() {
            Ok(number) if (1..=captures).contains(&number) => Part::Capture(number - 1),
            Ok(number) => {
                return Err(format!("there is no {{{number}}}: the pattern has {captures} to refer to"));
            }
            Err(_) if name == "agent" => Part::Agent,
            Err(_) => return Err(format!("{{{name}}} is neither {{agent}} nor a number")),
        };
        text.push_str(before);
        if !text.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut text)));
        }
        parts.push(part);
        rest = after;
    }
    if rest.contains('}') {
        return Err("`}` without `{`".into());
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    Ok(Template(parts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least that a script needs, and then `more`.
    fn parse(more: &str) -> Result<Script, ScriptError> {
        Script::parse(&format!("opening: Hi.\nwordless: Hm.\nfallback: Go on.\n{more}"))
    }

    #[track_caller]
    fn refused(more: &str, line: usize, problem: &str) {
        let error = parse(more).unwrap_err();
        assert!(error.line == line && error.problem.contains(problem), "{error}");
    }

    #[test]
    fn a_script_has_keywords_with_rules_with_lines() {
        let script = parse(
            "# comment\n\ngroup low: sad | tired\nkeyword 7: i am | im\n  keep: nothing\n  match: * i am @low *\n    \
             say: {agent} hears  you are {2}.\n    say: Why {2}?\nremember: * my +\n  later: Your {2}?\n",
        )
        .unwrap();
        let keyword = &script.keywords[0];
        assert_eq!((keyword.rank, keyword.keeps, keyword.rules.len()), (7, false, 1));
        let lines = &keyword.rules[0].lines.templates;
        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(lines[0].0, [Part::Agent, text(" hears you are "), Part::Capture(1), text(".")]);
        assert_eq!(lines[1].to_string(), "Why {2}?");
        assert_eq!(script.phrases["i"], [(vec!["i".to_owned(), "am".to_owned()], 0)]);
        assert_eq!((script.remember.len(), script.line_sets), (1, 5));
    }

    #[test]
    fn each_mistake_is_named_with_its_line() {
        refused("keyword 1: a\nhello", 5, "expected `word: value`");
        refused("keyword 1:", 4, "needs a value");
        refused("shout: a", 4, "`shout:` is not known");
        refused("keyword x: a", 4, "a rank is a number from 0 to 255");
        refused("keyword 256: a", 4, "a rank is a number from 0 to 255");
        refused("keyword 1: a | , | b", 4, "`,` is not a phrase");
        refused("keyword 1: a\nmatch: *\nsay: b\nkeyword 2: A", 7, "`A` is a keyword already, on line 4");
        refused("keyword 1: a | a", 4, "`a` is a keyword already");
        refused("keyword 1: a\nkeep: all", 5, "`keep: nothing` is all there is");
        refused("say: a", 4, "belongs under a `keyword`");
        refused("keyword 1: a\nsay: a", 5, "belongs under a `match`");
        refused("later: a", 4, "belongs under a `remember`");
        refused("group low: sad man", 4, "`sad man` is not one word");
        refused("group Low: sad", 4, "lower-case letters");
        refused("group low: sad\ngroup low: bad", 5, "there already");
        refused("before: a", 4, "expected `phrase -> words`");
        refused("before: a ->", 4, "`` is not one clause");
        refused("mirror: a -> b\nmirror: a -> c", 5, "`a` has a replacement already");
        refused("keyword 1: a\nmatch: * @none", 5, "no group `none`");
    }

    #[test]
    fn a_reassembly_that_refers_to_nothing_is_named_with_its_line() {
        let rule = "keyword 1: a\nmatch: * a *\n";
        refused(&format!("{rule}say: {{3}}"), 6, "there is no {3}: the pattern has 2");
        refused(&format!("{rule}say: {{0}}"), 6, "there is no {0}");
        refused(&format!("{rule}say: {{name}}"), 6, "{name} is neither {agent} nor a number");
        refused(&format!("{rule}say: {{1"), 6, "not closed");
        refused(&format!("{rule}say: 1}}"), 6, "`}` without `{`");
        refused("fallback: {1}", 4, "there is no {1}");
    }

    #[test]
    fn what_is_missing_is_named_too() {
        refused("keyword 1: a", 4, "no `match`");
        refused("keyword 1: a\nmatch: *", 5, "no `say`");
        refused("remember: my +", 4, "no `later`");
        let error = Script::parse("opening: Hi.\nfallback: Go on.").unwrap_err();
        assert_eq!(error.to_string(), "line 2: a script needs `opening`, `wordless` and `fallback`");
    }

    #[test]
    fn the_built_in_script_parses() {
        let script = Script::parse(BUILT_IN).unwrap();
        assert!(script.keywords.len() > 40, "{} keywords", script.keywords.len());
    }

    proptest! {
        #[test]
        fn any_text_is_a_script_or_an_error_within_it(
            text in r"((opening|keyword 1|match|say|remember|later|before|group a|keep): ?[a*+@{}|>0-9 -]{0,8}\n){0,8}",
        ) {
            if let Err(error) = parse(&text) {
                prop_assert!((1..=3 + text.lines().count()).contains(&error.line));
            }
        }
    }
}

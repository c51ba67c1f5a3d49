//! Agents, who owns them, and how they feel about people.

use serde::{Deserialize, Serialize};

use crate::conversation::MAX_TEXT_BYTES;
use crate::ids::{AgentId, PersonId, Timestamp};
use crate::refusal::{Code, Refusal};

/// Longest name of an agent and of its kind, in bytes.
pub const MAX_NAME_BYTES: usize = 256;

/// An agent as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Its id.
    pub id: AgentId,
    /// Whose it is.
    pub owner: PersonId,
    /// What it is called.
    pub name: String,
    /// `companion`, `assistant` or whatever its owner calls it.
    pub kind: String,
    /// Its character, in the owner's words.
    pub personality: String,
    /// What it is for.
    pub purpose: String,
    /// How it speaks.
    pub tone: String,
    /// `private`, `world` or `public`. Every person may converse with a public agent, each in a conversation of their own;
    /// watching and changing it stays its owner's.
    pub visibility: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who it is to people who meet it, if somebody has written that down.
    #[serde(default)]
    pub persona: Option<Box<Persona>>,
}

/// How an agent introduces itself. Every part may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Persona {
    /// What kind of character it is: `sweet`, `tsundere`, `playful`. At most [`MAX_NAME_BYTES`], as the birthday.
    pub style: String,
    /// Who it is, in a sentence or two. At most [`MAX_TEXT_BYTES`], as all that follow.
    pub description: String,
    /// How old it is, in years.
    pub age: Option<u32>,
    /// Its birthday, in words: `May 12`.
    pub birthday: String,
    /// What it does when nobody asks anything of it.
    pub hobbies: String,
    /// What it likes.
    pub likes: String,
    /// What it does not like.
    pub dislikes: String,
    /// Where it comes from.
    pub background: String,
}

/// What becomes different about an agent; `None` stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentChange {
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// A new character.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub personality: Option<String>,
    /// A new purpose.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub purpose: Option<String>,
    /// A new tone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tone: Option<String>,
    /// A new visibility.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub visibility: Option<String>,
}

/// How an agent feels about a person. Every feeling lies in 0 … 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Relation {
    /// Shown to the person.
    pub trust: f64,
    /// Shown to the person.
    pub affinity: f64,
    /// Shown to the person.
    pub respect: f64,
    /// Kept to itself.
    pub love: f64,
    /// Kept to itself.
    pub curiosity: f64,
    /// How often the person has said something to it.
    #[serde(default)]
    pub meetings: u32,
}

impl Default for Relation {
    /// How an agent meets somebody new.
    fn default() -> Self {
        Self { trust: 0.5, affinity: 0.5, respect: 0.5, love: 0.0, curiosity: 0.0, meetings: 0 }
    }
}

/// By how much one message moves a [`Relation`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RelationDelta {
    /// Added to trust.
    pub trust: f64,
    /// Added to affinity.
    pub affinity: f64,
    /// Added to respect.
    pub respect: f64,
    /// Added to love.
    pub love: f64,
    /// Added to curiosity.
    pub curiosity: f64,
}

impl Relation {
    /// This relation after one more message, which moves it by `delta`; each feeling is kept within 0 … 1.
    #[must_use]
    pub fn moved(self, delta: RelationDelta) -> Self {
        let add = |value: f64, by: f64| (value + by).clamp(0.0, 1.0);
        Self {
            trust: add(self.trust, delta.trust),
            affinity: add(self.affinity, delta.affinity),
            respect: add(self.respect, delta.respect),
            love: add(self.love, delta.love),
            curiosity: add(self.curiosity, delta.curiosity),
            meetings: self.meetings.saturating_add(1),
        }
    }
}

/// The visibility of agents that everybody may converse with.
pub const PUBLIC: &str = "public";

impl Agent {
    /// Whether every person may converse with it.
    pub fn is_public(&self) -> bool {
        self.visibility == PUBLIC
    }

    /// Whether the agent may be stored: named, of a known visibility, and no text longer than a message may be.
    pub fn check(&self) -> Result<(), Refusal> {
        check_name(&self.name)?;
        check_name(&self.kind)?;
        check_visibility(&self.visibility)?;
        self.persona.as_ref().map_or(Ok(()), |persona| persona.check())?;
        [&self.personality, &self.purpose, &self.tone].into_iter().try_for_each(|text| check_length(text))
    }
}

impl Persona {
    /// Whether no part of it is too long.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.style.len().max(self.birthday.len()) > MAX_NAME_BYTES {
            let why = "The style and the birthday of a persona have at most 256 bytes.";
            return Err(Refusal::new(Code::TooLarge, why));
        }
        [&self.description, &self.hobbies, &self.likes, &self.dislikes, &self.background]
            .into_iter()
            .try_for_each(|text| check_length(text))
    }
}

impl AgentChange {
    /// Whether the change may be stored; as [`Agent::check`], for what it touches.
    pub fn check(&self) -> Result<(), Refusal> {
        self.name.as_deref().map_or(Ok(()), check_name)?;
        self.visibility.as_deref().map_or(Ok(()), check_visibility)?;
        [&self.personality, &self.purpose, &self.tone]
            .into_iter()
            .flatten()
            .try_for_each(|text| check_length(text))
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    if name.len() > MAX_NAME_BYTES {
        return Err(Refusal::new(
            Code::TooLarge,
            "The name and the kind of an agent have at most 256 bytes.",
        ));
    }
    if name.trim().is_empty() {
        return Err(Refusal::invalid("An agent needs a name and a kind."));
    }
    Ok(())
}

fn check_visibility(visibility: &str) -> Result<(), Refusal> {
    match visibility {
        "private" | "world" | PUBLIC => Ok(()),
        _ => Err(Refusal::invalid("The visibility of an agent is private, world or public.")),
    }
}

fn check_length(text: &str) -> Result<(), Refusal> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(Refusal::new(Code::TooLarge, "A text about an agent has at most 32,768 bytes."));
    }
    Ok(())
}

const STILL: RelationDelta =
    RelationDelta { trust: 0.0, affinity: 0.0, respect: 0.0, love: 0.0, curiosity: 0.0 };

/// Which words move a relation, and by how much each of them does. Words are in lower case; they count as part of longer
/// words too ("señora" is also a "señor"), and some stand in two rows, as in the system these rules come from.
const WORDS: &[(&[&str], RelationDelta)] = &[
    (
        &["gracias", "increíble", "genial", "excelente", "perfecto", "amor", "aprecio"],
        RelationDelta { trust: 0.02, affinity: 0.03, ..STILL },
    ),
    (
        &["malo", "terrible", "odio", "horrible", "desagradable"],
        RelationDelta { trust: -0.03, affinity: -0.02, ..STILL },
    ),
    (&["¿", "?", "cómo", "qué", "cuál", "por qué"], RelationDelta { curiosity: 0.01, ..STILL }),
    (&["señor", "señora", "estimado", "atentamente", "disculpe"], RelationDelta { respect: 0.02, ..STILL }),
    (&["te amo", "te quiero", "amor"], RelationDelta { love: 0.05, affinity: 0.04, ..STILL }),
];

/// By how much a person's message moves the agent's relation to them: every listed word in it counts once, however often
/// it occurs, in whatever case.
pub fn feelings(text: &str) -> RelationDelta {
    let text = text.to_lowercase();
    let mut sum = STILL;
    for (words, moves) in WORDS {
        for _ in words.iter().filter(|word| text.contains(*word)) {
            sum.trust += moves.trust;
            sum.affinity += moves.affinity;
            sum.respect += moves.respect;
            sum.love += moves.love;
            sum.curiosity += moves.curiosity;
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn assert_close(found: RelationDelta, expected: RelationDelta, text: &str) {
        let values =
            |delta: RelationDelta| [delta.trust, delta.affinity, delta.respect, delta.love, delta.curiosity];
        for (found, expected) in values(found).into_iter().zip(values(expected)) {
            assert!((found - expected).abs() < 1e-9, "{text:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn every_listed_word_counts_once() {
        let table = [
            ("hola", STILL),
            ("Gracias", RelationDelta { trust: 0.02, affinity: 0.03, ..STILL }),
            ("gracias, gracias, gracias", RelationDelta { trust: 0.02, affinity: 0.03, ..STILL }),
            ("gracias, es genial", RelationDelta { trust: 0.04, affinity: 0.06, ..STILL }),
            ("INCREÍBLE", RelationDelta { trust: 0.02, affinity: 0.03, ..STILL }),
            ("qué malo", RelationDelta { trust: -0.03, affinity: -0.02, curiosity: 0.01, ..STILL }),
            ("¿Cómo?", RelationDelta { curiosity: 0.03, ..STILL }),
            ("por qué", RelationDelta { curiosity: 0.02, ..STILL }),
            ("Señora", RelationDelta { respect: 0.04, ..STILL }),
            ("te amo", RelationDelta { love: 0.05, affinity: 0.04, ..STILL }),
            // "amor" is praise and love at once.
            ("amor", RelationDelta { trust: 0.02, affinity: 0.07, love: 0.05, ..STILL }),
        ];
        for (text, expected) in table {
            assert_close(feelings(text), expected, text);
        }
    }

    #[test]
    fn an_agent_is_named_and_bounded() {
        let agent = Agent {
            id: AgentId::parse("luna").unwrap(),
            owner: PersonId::parse("ada").unwrap(),
            name: "Luna".into(),
            kind: "companion".into(),
            personality: String::new(),
            purpose: String::new(),
            tone: String::new(),
            visibility: "private".into(),
            created_at: Timestamp(0),
            persona: None,
        };
        let code = |change: &dyn Fn(&mut Agent)| {
            let mut agent = agent.clone();
            change(&mut agent);
            agent.check().map_err(|refusal| refusal.code)
        };
        assert_eq!(code(&|_| ()), Ok(()));
        assert_eq!(code(&|agent| agent.name = " ".into()), Err(Code::Invalid));
        assert_eq!(code(&|agent| agent.kind = String::new()), Err(Code::Invalid));
        assert_eq!(code(&|agent| agent.name = "x".repeat(MAX_NAME_BYTES)), Ok(()));
        assert_eq!(code(&|agent| agent.name = "x".repeat(MAX_NAME_BYTES + 1)), Err(Code::TooLarge));
        assert_eq!(code(&|agent| agent.tone = "x".repeat(MAX_TEXT_BYTES)), Ok(()));
        assert_eq!(code(&|agent| agent.tone = "x".repeat(MAX_TEXT_BYTES + 1)), Err(Code::TooLarge));
        assert_eq!(code(&|agent| agent.visibility = "secret".into()), Err(Code::Invalid));
        let persona = |change: &dyn Fn(&mut Persona)| {
            let mut persona = Persona::default();
            change(&mut persona);
            code(&|agent| agent.persona = Some(Box::new(persona.clone())))
        };
        assert_eq!(persona(&|_| ()), Ok(()));
        assert_eq!(persona(&|persona| persona.style = "x".repeat(MAX_NAME_BYTES)), Ok(()));
        assert_eq!(persona(&|persona| persona.style = "x".repeat(MAX_NAME_BYTES + 1)), Err(Code::TooLarge));
        assert_eq!(
            persona(&|persona| persona.birthday = "x".repeat(MAX_NAME_BYTES + 1)),
            Err(Code::TooLarge)
        );
        assert_eq!(persona(&|persona| persona.likes = "x".repeat(MAX_TEXT_BYTES)), Ok(()));
        assert_eq!(
            persona(&|persona| persona.background = "x".repeat(MAX_TEXT_BYTES + 1)),
            Err(Code::TooLarge)
        );
    }

    #[test]
    fn a_change_is_checked_where_it_changes_something() {
        assert_eq!(AgentChange::default().check(), Ok(()));
        let unnamed = AgentChange { name: Some(String::new()), ..Default::default() };
        assert_eq!(unnamed.check().unwrap_err().code, Code::Invalid);
        let unseen = AgentChange { visibility: Some("secret".into()), ..Default::default() };
        assert_eq!(unseen.check().unwrap_err().code, Code::Invalid);
        let endless = AgentChange { purpose: Some("x".repeat(MAX_TEXT_BYTES + 1)), ..Default::default() };
        assert_eq!(endless.check().unwrap_err().code, Code::TooLarge);
    }

    /// Sentences made of the listed words and of anything else.
    fn sentences() -> impl Strategy<Value = Vec<String>> {
        let words: Vec<_> = WORDS.iter().flat_map(|(words, _)| words.iter().copied()).collect();
        let word =
            prop_oneof![3 => proptest::sample::select(words).prop_map(str::to_uppercase), 1 => ".{0,12}"];
        proptest::collection::vec(
            proptest::collection::vec(word, 0..12).prop_map(|words| words.join(" ")),
            0..120,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_talk_moves_a_relation_out_of_its_range(sentences in sentences()) {
            let mut relation = Relation::default();
            for (meetings, sentence) in (1..).zip(sentences) {
                relation = relation.moved(feelings(&sentence));
                let Relation { trust, affinity, respect, love, curiosity, .. } = relation;
                prop_assert_eq!(relation.meetings, meetings);
                for value in [trust, affinity, respect, love, curiosity] {
                    prop_assert!((0.0..=1.0).contains(&value), "{relation:?} after {sentence:?}");
                }
            }
        }
    }
}

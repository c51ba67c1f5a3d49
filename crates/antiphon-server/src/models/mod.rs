//! Which models this server can answer with, and how one is built from the configuration.
//!
//! | module | answers |
//! |---|---|
//! | `offline` | what the built-in agent says: a deterministic script, no language model, no network |
//! | `echo` | what the development and load-test model says: the text it was given |
//! | `pacing` | in which pieces and at what pace a whole text is said |

mod echo;
mod offline;
mod pacing;

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::ports::Model;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::echo::Echo;
use self::offline::{Offline, ScriptError};
use self::pacing::Pace;

/// Most words that one piece may have.
pub const MAX_CHUNK_WORDS: usize = 10_000;

/// Longest pause after a piece.
pub const MAX_CHUNK_DELAY: Duration = Duration::from_secs(10);

/// Which model answers, and how fast it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Which model answers. Default: `offline`.
    pub kind: Kind,
    /// Words per piece of an answer, 1 to 10000. Default: 3.
    pub chunk_words: usize,
    /// Milliseconds to pause after each piece, at most 10000; 0 for no pause. Default: 50.
    #[serde(with = "milliseconds")]
    #[schemars(with = "u64")]
    pub chunk_delay: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { kind: Kind::default(), chunk_words: 3, chunk_delay: Duration::from_millis(50) }
    }
}

/// A model by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The built-in agent: follows a script, needs nothing.
    #[default]
    Offline,
    /// Says what it was told.
    Echo,
}

/// Why a model cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// `chunk_words` is zero or too great.
    #[error("model.chunk_words is {0}; it must be 1 to {MAX_CHUNK_WORDS}")]
    ChunkWords(usize),
    /// `chunk_delay` is too long.
    #[error("model.chunk_delay is {} ms; it must be at most {} ms", .0.as_millis(), MAX_CHUNK_DELAY.as_millis())]
    ChunkDelay(Duration),
    /// The built-in script does not parse.
    #[error("the built-in script does not parse")]
    Script(#[from] ScriptError),
}

/// The model that `settings` ask for.
///
/// Does no I/O. Fails when a setting is out of its bounds; the message names the key.
pub fn build(settings: &Settings) -> Result<Arc<dyn Model>, BuildError> {
    if !(1..=MAX_CHUNK_WORDS).contains(&settings.chunk_words) {
        return Err(BuildError::ChunkWords(settings.chunk_words));
    }
    if settings.chunk_delay > MAX_CHUNK_DELAY {
        return Err(BuildError::ChunkDelay(settings.chunk_delay));
    }
    let pace = Pace { words: settings.chunk_words, delay: settings.chunk_delay };
    Ok(match settings.kind {
        Kind::Offline => Arc::new(Offline::new(pace)?),
        Kind::Echo => Arc::new(Echo::new(pace)),
    })
}

/// A duration as a whole number of milliseconds.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

/// Prompts for the tests of this folder.
#[cfg(test)]
mod prompts {
    use antiphon_core::agents::{Agent, Relation};
    use antiphon_core::conversation::{Message, Party};
    use antiphon_core::ids::{AgentId, ConversationId, MessageId, PersonId, Timestamp};
    use antiphon_core::ports::Prompt;

    /// A prompt to an agent called `name`, whose history begins at position `first`.
    pub(super) fn prompt(name: &str, first: u64, said: &[(Party, &str)]) -> Prompt {
        let agent = AgentId::parse("luna").unwrap();
        let person = PersonId::parse("ada").unwrap();
        let conversation = ConversationId::direct(&agent, &person);
        let message = |(seq, (author, text)): (u64, &(Party, &str))| Message {
            id: MessageId::random(),
            conversation,
            seq,
            agent: agent.clone(),
            person: person.clone(),
            author: *author,
            text: (*text).to_owned(),
            at: Timestamp(0),
        };
        Prompt {
            agent: Agent {
                id: agent.clone(),
                owner: person.clone(),
                name: name.to_owned(),
                kind: "assistant".to_owned(),
                personality: String::new(),
                purpose: String::new(),
                tone: String::new(),
                visibility: "private".to_owned(),
                persona: None,
                created_at: Timestamp(0),
            },
            relation: Relation::default(),
            history: (first..).zip(said).map(message).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::conversation::Party;
    use futures_util::StreamExt;

    use super::*;

    async fn say(settings: &Settings, text: &str) -> String {
        let model = build(settings).unwrap();
        let pieces = model.answer(prompts::prompt("Luna", 1, &[(Party::Person, text)]));
        pieces.map(Result::unwrap).collect::<Vec<_>>().await.concat()
    }

    #[test]
    fn an_empty_table_gives_the_documented_defaults() {
        let settings: Settings = toml::from_str("").unwrap();
        assert_eq!(settings, Settings::default());
        assert_eq!(settings.kind, Kind::Offline);
        assert_eq!(settings.chunk_words, 3);
        assert_eq!(settings.chunk_delay, Duration::from_millis(50));
    }

    #[test]
    fn settings_are_read_from_toml_and_written_back_alike() {
        let text = "kind = \"echo\"\nchunk_words = 5\nchunk_delay = 25\n";
        let settings: Settings = toml::from_str(text).unwrap();
        let expected = Settings { kind: Kind::Echo, chunk_words: 5, chunk_delay: Duration::from_millis(25) };
        assert_eq!(settings, expected);
        assert_eq!(toml::to_string(&settings).unwrap(), text);
    }

    #[test]
    fn unknown_kinds_and_keys_are_refused() {
        assert!(toml::from_str::<Settings>("kind = \"Echo\"").is_err());
        assert!(toml::from_str::<Settings>("kind = \"oracle\"").is_err());
        assert!(toml::from_str::<Settings>("chunk_word = 3").is_err());
        assert!(toml::from_str::<Settings>("chunk_delay = -1").is_err());
    }

    #[test]
    fn settings_out_of_bounds_are_refused_by_name() {
        let problem = |settings: Settings| build(&settings).err().map(|error| error.to_string());
        let words = |chunk_words| problem(Settings { chunk_words, ..Settings::default() });
        let delay = |chunk_delay| problem(Settings { chunk_delay, ..Settings::default() });
        assert!(words(0).unwrap().contains("model.chunk_words is 0"));
        assert!(words(MAX_CHUNK_WORDS + 1).unwrap().contains("model.chunk_words"));
        assert_eq!((words(1), words(MAX_CHUNK_WORDS)), (None, None));
        let too_long = delay(MAX_CHUNK_DELAY + Duration::from_millis(1)).unwrap();
        assert!(
            too_long.contains("model.chunk_delay is 10001 ms; it must be at most 10000 ms"),
            "{too_long}"
        );
        assert_eq!((delay(MAX_CHUNK_DELAY), delay(Duration::ZERO)), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_kind_decides_who_answers() {
        let echo = say(&Settings { kind: Kind::Echo, ..Settings::default() }, "one two three four").await;
        assert_eq!(echo, "one two three four ");
        let offline = say(&Settings::default(), "Hello!").await;
        assert!(offline.contains("I am Luna"), "{offline}");
    }
}

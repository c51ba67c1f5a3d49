//! Which value every key has in the end.
//!
//! Five layers, each over the one before: the defaults, the file, `.env`, the environment, the flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value as Schema;

use super::problem::{Origin, Problem, Problems};
use super::tree::{Node, Step};
use super::validate::{name, validate};
use super::{Config, aliases, check, environment, file, schema, secret};

/// The file that is read when none is named.
const FILE: &str = "antiphon.toml";

/// The file of variables.
const VARIABLES: &str = ".env";

/// Where a configuration is read from.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file; without one, `antiphon.toml` in `directory` if there is one.
    pub file: Option<PathBuf>,
    /// Where `antiphon.toml` and `.env` are looked for.
    pub directory: PathBuf,
    /// The variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// Flags of the form `key=value`.
    pub flags: Vec<String>,
}

impl Sources {
    /// Those of this process: its working directory and its environment.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        // A variable that is no text cannot be one of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let environment = std::env::vars_os().filter_map(text).collect();
        Self { file, directory: PathBuf::new(), environment, flags }
    }
}

/// A configuration that can be used, and where each of its values was said.
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    pub(super) tree: Node,
}

impl Loaded {
    /// Reads all layers. The error holds everything that is wrong with them.
    pub fn read(sources: &Sources) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let tree = layers(sources, schema(), &mut problems);
        let config = interpret(&tree, schema(), &mut problems);
        if let Some(config) = &config {
            let wrong = check::problems(config).into_iter().chain(check::problems_for_real(config));
            problems.extend(wrong.map(|wrong| Problem::new(tree.origin_of(&wrong.at), wrong.text)));
        }
        // In the order of the file, after what has no line.
        problems.sort_by_key(|problem| match &problem.origin {
            Some(Origin::File { line, .. }) => *line,
            _ => 0,
        });
        Problems::of(problems)?;
        // Whatever keeps it from being read is a problem.
        config
            .map(|config| Self { config, tree })
            .ok_or_else(|| Problems::one("the configuration cannot be read"))
    }
}

/// All layers in one, with secrets still in their files.
fn layers(sources: &Sources, schema: &Schema, problems: &mut Vec<Problem>) -> Node {
    let mut tree = read_file(sources, problems);
    let listens = tree.entries().is_some_and(|keys| keys.contains_key("listener"));
    if !listens && problems.is_empty() {
        let documented = toml::Value::try_from(Config::documented());
        let documented = documented.expect("addresses, paths and numbers can be written as TOML");
        // At the top of a table there is no list to fall short.
        let _ = tree.set(&[Step::Key("listener".into())], Node::uniform(documented, &Origin::Default));
    }
    let path = sources.directory.join(VARIABLES);
    let variables = read_variables(&path, problems);
    let dot_env = |name: &str| Origin::DotEnv { path: path.clone(), name: name.to_owned() };
    let environment = |name: &str| Origin::Environment { name: name.to_owned() };
    let set = environment::apply(&mut tree, schema, &variables, dot_env, problems);
    aliases::apply(&mut tree, schema, &variables, &set, dot_env, problems);
    let set = environment::apply(&mut tree, schema, &sources.environment, environment, problems);
    aliases::apply(&mut tree, schema, &sources.environment, &set, environment, problems);
    environment::apply_flags(&mut tree, schema, &sources.flags, problems);
    tree
}

fn read_file(sources: &Sources, problems: &mut Vec<Problem>) -> Node {
    let path = match &sources.file {
        Some(path) => path.clone(),
        None => sources.directory.join(FILE),
    };
    match std::fs::read_to_string(&path) {
        Ok(text) => file::parse(&text, &path).unwrap_or_else(|found| {
            problems.extend(found);
            Node::empty()
        }),
        Err(error) if sources.file.is_none() && error.kind() == std::io::ErrorKind::NotFound => Node::empty(),
        Err(error) => {
            problems.push(Problem { origin: None, text: format!("cannot read {}: {error}", path.display()) });
            Node::empty()
        }
    }
}

/// Reads `.env`, without the environment of this process becoming another one.
fn read_variables(path: &Path, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            problems.push(Problem { origin: None, text: format!("cannot read {}: {error}", path.display()) });
            return BTreeMap::new();
        }
    };
    let read: Result<_, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    read.unwrap_or_else(|error| {
        // The library's own words repeat the line, which may hold a secret; what stands before its value does not.
        let line = match &error {
            dotenvy::Error::LineParse(line, _) => line.split_once('=').map_or("", |(name, _)| name.trim()),
            _ => "",
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let place = if line.is_empty() || !line.chars().all(is_name) { "a line" } else { line };
        let text = format!(
            "{}: {place} is not written as NAME=value; a value with spaces or quotes needs quotes around it",
            path.display()
        );
        problems.push(Problem { origin: None, text });
        BTreeMap::new()
    })
}

/// Makes a `T` of `tree`, with secrets read from their files. `None` if anything was wrong.
pub(super) fn interpret<T: serde::de::DeserializeOwned>(
    tree: &Node,
    schema: &Schema,
    problems: &mut Vec<Problem>,
) -> Option<T> {
    let mut tree = tree.clone();
    secret::resolve(&mut tree, schema, problems);
    let wrong = validate(&tree, schema);
    for wrong in wrong.iter().rev() {
        tree.remove(&wrong.at);
    }
    problems.extend(wrong.into_iter().map(|wrong| wrong.problem));
    // Types say what the schema cannot, such as what an address looks like. They stop at the first value that they cannot
    // use, so that one is taken out and the rest is asked again.
    loop {
        match serde_path_to_error::deserialize::<_, T>(tree.to_toml()) {
            Ok(read) => return Some(read).filter(|_| problems.is_empty()),
            Err(error) => {
                let at: Vec<_> = error.path().iter().filter_map(step).collect();
                let why = error.inner().message();
                // What was taken out is missing, which is nobody's fault.
                if problems.is_empty() || !why.starts_with("missing field") {
                    let text = format!("{}: {why}", name(&at));
                    problems.push(Problem::new(tree.origin_of(&at), text));
                }
                tree.remove(&at)?;
            }
        }
    }
}

fn step(segment: &serde_path_to_error::Segment) -> Option<Step> {
    match segment {
        serde_path_to_error::Segment::Seq { index } => Some(Step::Index(*index)),
        serde_path_to_error::Segment::Map { key } => Some(Step::Key(key.clone())),
        serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree::path;
    use super::*;

    /// A directory with these files, and these variables.
    struct Place {
        directory: tempfile::TempDir,
        sources: Sources,
    }

    impl Place {
        fn with(files: &[(&str, &str)], variables: &[(&str, &str)], flags: &[&str]) -> Self {
            let directory = tempfile::tempdir().unwrap();
            for (name, text) in files {
                std::fs::write(directory.path().join(name), text).unwrap();
            }
            let environment =
                variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
            let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
            let sources = Sources { file: None, directory: directory.path().to_owned(), environment, flags };
            Self { directory, sources }
        }

        fn read(&self) -> Loaded {
            Loaded::read(&self.sources).unwrap_or_else(|problems| panic!("{problems}"))
        }

        /// Its problems, without the directory.
        fn problems(&self) -> Vec<String> {
            let problems = Loaded::read(&self.sources).err().expect("something is wrong");
            let directory = format!("{}/", self.directory.path().display());
            problems.list().iter().map(|problem| problem.to_string().replace(&directory, "")).collect()
        }
    }

    const FILE: &str = "[server]\ncores = 1\ndrain = 1\n[limits]\nrooms = 1\n";

    #[test]
    fn without_any_source_the_chat_api_is_served_at_its_documented_place_on_loopback() {
        let config = Place::with(&[], &[], &[]).read().config;
        assert_eq!(config.listeners.len(), 1);
        assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:3000");
        assert_eq!(config.listeners[0].mounts[0].path, "/api/socketio");
        assert_eq!(config.limits.outbox, 1 << 20);
    }

    #[test]
    fn each_layer_lies_over_the_one_before() {
        let dot_env = "ANTIPHON_SERVER__CORES=2\nANTIPHON_LIMITS__ROOMS=2\nANTIPHON_LIMITS__DEPTH=2\n";
        let environment = [("ANTIPHON_SERVER__CORES", "3"), ("ANTIPHON_LIMITS__ROOMS", "3")];
        let place =
            Place::with(&[("antiphon.toml", FILE), (".env", dot_env)], &environment, &["server.cores=4"]);
        let loaded = place.read();
        let (server, limits) = (&loaded.config.server, &loaded.config.limits);
        assert_eq!(
            (server.cores, limits.rooms, limits.depth, server.drain, limits.namespaces),
            (4, 3, 2, 1, 8)
        );
        for (key, origin) in [
            ("server.cores", "--set server.cores"),
            ("limits.rooms", "environment ANTIPHON_LIMITS__ROOMS"),
            ("limits.depth", "ANTIPHON_LIMITS__DEPTH in .env"),
            ("server.drain", "antiphon.toml:3"),
        ] {
            let said = loaded.tree.get(&path(key)).unwrap().origin.to_string();
            let directory = format!("{}/", place.directory.path().display());
            assert_eq!(said.replace(&directory, ""), origin, "{key}");
        }
    }

    #[test]
    fn a_file_that_is_named_is_read_in_place_of_the_usual_one_and_must_exist() {
        let mut place =
            Place::with(&[("antiphon.toml", FILE), ("other.toml", "[server]\ncores = 9")], &[], &[]);
        place.sources.file = Some(place.directory.path().join("other.toml"));
        assert_eq!(place.read().config.server.cores, 9);
        place.sources.file = Some(place.directory.path().join("none.toml"));
        assert!(place.problems()[0].starts_with("cannot read none.toml: "));
    }

    #[test]
    fn variables_change_the_documented_listener_when_the_file_has_none() {
        let place = Place::with(
            &[("antiphon.toml", FILE)],
            &[("PORT", "8080"), ("ANTIPHON_LISTENER__0__MOUNT__0__ORIGINS", "https://a")],
            &[],
        );
        let config = place.read().config;
        assert_eq!(config.listeners[0].address.to_string(), "127.0.0.1:8080");
        assert_eq!(config.listeners[0].mounts[0].origins, ["https://a"]);
    }

    #[test]
    fn every_problem_of_every_layer_is_told_at_once() {
        let text = "[server]\ncoers = 1\n[[listener]]\naddress = 'here'\n[[listener.mount]]\npath = '/a'\n\
                    dialects = ['chat']\nping_interval = 'x'\n[[listener]]\naddress = 'there'\n";
        let place = Place::with(
            &[("antiphon.toml", text), (".env", "ANTIPHON_LIMITS__OUTBX=1\n")],
            &[("ANTIPHON_LIMITS__DEPTH", "deep")],
            &["nothing"],
        );
        assert_eq!(
            place.problems(),
            [
                "ANTIPHON_LIMITS__OUTBX in .env: unknown variable; did you mean ANTIPHON_LIMITS__OUTBOX?",
                "environment ANTIPHON_LIMITS__DEPTH: must be a whole number of at least 0",
                "--set nothing: expected key=value, as in --set server.cores=2",
                "antiphon.toml:2: unknown key \"coers\" in [server]; did you mean \"cores\"?",
                "antiphon.toml:4: \"address\" in [[listener]]: invalid socket address syntax",
                "antiphon.toml:8: \"ping_interval\" in [[listener.mount]] must be a whole number of at least 0",
                "antiphon.toml:10: \"address\" in [[listener]]: invalid socket address syntax",
            ]
        );
    }

    #[test]
    fn settings_that_cannot_work_together_are_told_with_their_lines() {
        let text = "[[listener]]\naddress = '127.0.0.1:0'\n[[listener.mount]]\npath = 'a'\ndialects = ['chta']\n\
                    [[listener.mount]]\npath = '/b'\ndialects = []\nmax_payload = 7\n[model]\nchunk_words = 0\n";
        assert_eq!(
            Place::with(&[("antiphon.toml", text)], &[], &[]).problems(),
            [
                "antiphon.toml:4: the path \"a\" must start with a slash and hold no query",
                "antiphon.toml:5: there is no dialect \"chta\"; did you mean \"chat\"?",
                "antiphon.toml:8: the mount /b names no dialects",
                "antiphon.toml:9: max_payload lies between 1000 and 100000000 bytes",
                "antiphon.toml:10: model.chunk_words is 0; it must be 1 to 10000",
            ]
        );
    }

    #[test]
    fn a_broken_file_of_variables_is_refused_without_repeating_it() {
        for (text, place) in
            [("A=1\nANTIPHON_X='hush\n", ".env: ANTIPHON_X is"), ("hush hush\n", ".env: a line is")]
        {
            let problems = Place::with(&[(".env", text)], &[], &[]).problems().concat();
            assert!(problems.starts_with(place) && !problems.contains("hush"), "{problems}");
        }
    }

    #[test]
    fn the_environment_of_the_process_stays_as_it_is() {
        Place::with(&[(".env", "ANTIPHON_SERVER__CORES=2\n")], &[], &[]).read();
        assert_eq!(std::env::var_os("ANTIPHON_SERVER__CORES"), None);
    }

    #[test]
    fn a_tree_without_tables_is_refused_and_not_a_panic() {
        let problems =
            Place::with(&[("antiphon.toml", "server = 1\nlistener = 2\nplan = [3]")], &[], &[]).problems();
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
}

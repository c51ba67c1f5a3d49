//! What a script says: text in, steps out. `scripts/README.md` describes the format.

use antiphon_core::actor::Claim;
use antiphon_core::agents::AgentChange;
use antiphon_core::command::Command;
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::notices::Notice;
use serde_json::Value;

/// A script, taken apart.
pub(crate) struct Script {
    pub(crate) name: String,
    /// Beginnings of event names that clients of this script pass over.
    pub(crate) ignored: Vec<String>,
    /// What must be there before anybody comes.
    pub(crate) given: Vec<(usize, Given)>,
    pub(crate) steps: Vec<(usize, Step)>,
}

/// What is there before anybody comes.
pub(crate) enum Given {
    Plan {
        name: String,
        connections: Option<u32>,
        messages: Option<u64>,
    },
    Person {
        name: String,
        plan: String,
        key: String,
    },
    Agent {
        name: String,
        owner: String,
        public: bool,
    },
    /// A wallet's address, and whose it is.
    Wallet {
        address: String,
        owner: String,
    },
    /// Agents say so many words at a time, with a pause in milliseconds after each piece.
    Pace {
        words: usize,
        pause: u64,
    },
    /// Agents fail after so many pieces.
    Failing {
        pieces: usize,
    },
}

/// One thing that happens, or must have happened.
pub(crate) enum Step {
    Connects {
        who: String,
        auth: String,
    },
    Comes {
        who: String,
        auth: String,
    },
    Refused {
        auth: String,
        error: Value,
    },
    Says {
        who: String,
        event: String,
        args: String,
    },
    Asks {
        who: String,
        event: String,
        args: String,
        answer: Value,
    },
    Hears {
        who: String,
        event: String,
        payload: Value,
    },
    HearsNothing {
        who: String,
    },
    Goes {
        who: String,
    },
    Changes {
        agent: String,
        change: AgentChange,
    },
    Deletes {
        agent: String,
    },
    Creates {
        agent: String,
        owner: String,
    },
    Speaks {
        agent: String,
        person: String,
        text: String,
    },
    Notifies {
        person: String,
        notice: Notice,
    },
    /// The operator gives an order that is done at once.
    Orders(Command),
    History {
        agent: String,
        person: String,
        lines: Vec<String>,
    },
    Sent {
        person: String,
        messages: u64,
    },
}

/// Takes a script apart. The error names the line.
pub(crate) fn parse(name: &str, text: &str) -> Result<Script, String> {
    let mut script = Script { name: name.into(), ignored: vec![], given: vec![], steps: vec![] };
    for (number, line) in lines(text) {
        read(&mut script, number, &line).map_err(|why| format!("{name}:{number}: {why}: {line}"))?;
    }
    Ok(script)
}

/// Lines that say something, with what is indented below them.
fn lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let said = line.trim();
        if said.is_empty() || said.starts_with('#') {
            continue;
        }
        match lines.last_mut() {
            Some((_, whole)) if line.starts_with(' ') => *whole = format!("{whole} {said}"),
            _ => lines.push((index + 1, said.to_owned())),
        }
    }
    lines
}

fn read(script: &mut Script, number: usize, line: &str) -> Result<(), String> {
    let (first, rest) = word(line);
    let (second, rest) = word(rest);
    let step = match (first, second) {
        ("ignore", _) => {
            script.ignored.extend(line.split(' ').skip(1).map(str::to_owned));
            return Ok(());
        }
        ("given", what) => {
            script.given.push((number, given(what, rest)?));
            return Ok(());
        }
        ("nobody", "connects") => {
            let (auth, error) = arrow(rest)?;
            Step::Refused { auth: auth.into(), error: json(error)? }
        }
        ("server", "changes") => {
            let (agent, change) = word(rest);
            Step::Changes { agent: agent.into(), change: typed(change)? }
        }
        ("server", "deletes") => Step::Deletes { agent: rest.into() },
        ("server", "creates") => {
            let (agent, of) = word(rest);
            let owner = of.strip_prefix("of ").ok_or("an agent is somebody's")?;
            Step::Creates { agent: agent.into(), owner: owner.into() }
        }
        ("server", "speaks") => {
            let (agent, rest) = word(rest);
            let (person, text) = word(rest);
            Step::Speaks { agent: agent.into(), person: person.into(), text: typed(text)? }
        }
        ("server", "notifies") => {
            let (person, notice) = word(rest);
            Step::Notifies { person: person.into(), notice: typed(notice)? }
        }
        ("server", "deposits") => {
            let (person, rest) = word(rest);
            let (reference, amount) = word(rest);
            let (person, amount) = (claim(person)?, typed(amount)?);
            Step::Orders(Command::Deposit { person, reference: reference.into(), amount })
        }
        ("server", "withdraws") => {
            let (person, amount) = word(rest);
            Step::Orders(Command::Withdraw { person: claim(person)?, amount: typed(amount)?, once: None })
        }
        ("server", "rewards") => Step::Orders(Command::ClaimReward { person: claim(rest)? }),
        ("server", "opens") => Step::Orders(Command::OpenWallet { person: claim(rest)? }),
        ("server", "posts") => {
            let (agent, rest) = word(rest);
            let (person, rest) = word(rest);
            let (price, text) = word(rest);
            Step::Orders(Command::PostMessage {
                agent: AgentId::parse(agent).map_err(|refusal| refusal.to_string())?,
                person: claim(person)?,
                text: typed(text)?,
                once: None,
                price: Some(typed(price)?),
            })
        }
        ("history", agent) => {
            let (person, lines) = word(rest);
            Step::History { agent: agent.into(), person: person.into(), lines: typed(lines)? }
        }
        ("sent", person) => Step::Sent { person: person.into(), messages: typed(rest)? },
        (who, "connects") => Step::Connects { who: who.into(), auth: rest.into() },
        (who, "comes") => Step::Comes { who: who.into(), auth: rest.into() },
        (who, "goes") => Step::Goes { who: who.into() },
        (who, "hears") if rest == "nothing" => Step::HearsNothing { who: who.into() },
        (who, "hears") => {
            let (event, payload) = word(rest);
            Step::Hears { who: who.into(), event: event.into(), payload: json(payload)? }
        }
        (who, "says") => {
            let (event, args) = word(rest);
            Step::Says { who: who.into(), event: event.into(), args: args.into() }
        }
        (who, "asks") => {
            let (event, rest) = word(rest);
            let (args, answer) = arrow(rest)?;
            Step::Asks { who: who.into(), event: event.into(), args: args.into(), answer: json(answer)? }
        }
        _ => return Err("this says nothing that is known".into()),
    };
    script.steps.push((number, step));
    Ok(())
}

fn given(what: &str, rest: &str) -> Result<Given, String> {
    let words: Vec<&str> = rest.split(' ').collect();
    Ok(match (what, &words[..]) {
        ("plan", [name, "connections", connections, "messages", messages]) => {
            Given::Plan { name: (*name).into(), connections: limit(connections)?, messages: limit(messages)? }
        }
        ("person", [name, "plan", plan, "key", key]) => {
            Given::Person { name: (*name).into(), plan: (*plan).into(), key: (*key).into() }
        }
        ("agent", [name, "of", owner]) => {
            Given::Agent { name: (*name).into(), owner: (*owner).into(), public: false }
        }
        ("persona", [name, "of", owner]) => {
            Given::Agent { name: (*name).into(), owner: (*owner).into(), public: true }
        }
        ("wallet", [address, "of", owner]) => {
            Given::Wallet { address: (*address).into(), owner: (*owner).into() }
        }
        ("agents", ["that", "say", words, "words", "every", pause, "ms"]) => {
            Given::Pace { words: typed(words)?, pause: typed(pause)? }
        }
        ("agents", ["that", "fail", "after", pieces, "pieces"]) => Given::Failing { pieces: typed(pieces)? },
        _ => return Err("this is not given".into()),
    })
}

/// For whom the operator gives an order.
fn claim(name: &str) -> Result<Claim, String> {
    PersonId::parse(name).map(Claim::of).map_err(|refusal| refusal.to_string())
}

/// A number, or `-` for none.
fn limit<T: serde::de::DeserializeOwned>(word: &str) -> Result<Option<T>, String> {
    if word == "-" { Ok(None) } else { typed(word).map(Some) }
}

fn word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    (word, rest.trim_start())
}

fn arrow(text: &str) -> Result<(&str, &str), String> {
    let (before, after) = text.split_once("->").ok_or("an arrow is missing")?;
    Ok((before.trim(), after.trim()))
}

fn json(text: &str) -> Result<Value, String> {
    typed(text)
}

fn typed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

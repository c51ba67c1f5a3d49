//! Plays a script against a server of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use antiphon_core::agents::Agent;
use antiphon_core::command::Command;
use antiphon_core::ids::ConversationId;
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Agents as _, Answer, Logins as _, Model, People as _, Prompt};
use antiphon_core::refusal::Fault;
use antiphon_server::config::Config;
use antiphon_server::wiring::Extras;

use super::Manner;
use super::expect::Captures;
use super::read::{Given, Script, Step};
use crate::support::client::{Client, Event};
use crate::support::engine::Transport;
use crate::support::http::{Request, ask};
use crate::support::people::{self, add_agent, add_person, add_plan, agent, person};
use crate::support::server::{Server, operator};

/// Plays `script` with clients that come over `transport`. `line` is where it is, for whoever has to say why it stopped.
pub(super) async fn play(
    manner: &Manner,
    script: &Script,
    transport: Transport,
    line: &AtomicUsize,
) -> Result<(), String> {
    let (config, extras) = prepare(manner, script, line).await;
    let server = Server::start(config, extras).await;
    let mut stage = Stage {
        server: &server,
        manner,
        transport,
        ignored: &script.ignored,
        keys: keys(script),
        clients: HashMap::new(),
        captures: Captures::default(),
    };
    let mut result = Ok(());
    for (number, step) in &script.steps {
        line.store(*number, Ordering::Relaxed);
        result = stage.step(step).await.map_err(|why| format!("{}:{number}: {why}", script.name));
        if result.is_err() {
            break;
        }
    }
    server.stop().await;
    result
}

async fn prepare(manner: &Manner, script: &Script, line: &AtomicUsize) -> (Config, Extras) {
    let store = Arc::new(MemoryStore::new());
    let (mut config, mut extras) = ((manner.config)(), Extras::default());
    for (number, given) in &script.given {
        line.store(*number, Ordering::Relaxed);
        match given {
            Given::Plan { name, connections, messages } => {
                add_plan(&*store, name, *connections, *messages).await
            }
            Given::Person { name, plan, key } => add_person(&*store, name, plan, key).await,
            Given::Agent { name, owner, public: false } => add_agent(&*store, name, owner).await,
            Given::Agent { name, owner, public: true } => {
                let agent = Agent { visibility: "public".into(), ..people::agent_of(name, owner) };
                store.put_agent(&agent).await.expect("an agent is stored");
            }
            Given::Role { role, person: name } => {
                let known = store.person(&person(name)).await.expect("people can be read");
                let mut person = known.expect("a role is somebody's");
                person.roles.push(role.clone());
                store.put_person(&person).await.expect("a person is stored");
            }
            Given::Wallet { address, owner } => {
                store.link_wallet(address, &person(owner)).await.expect("a wallet is linked");
            }
            Given::Pace { words, pause } => {
                config.model.chunk_words = *words;
                config.model.chunk_delay = Duration::from_millis(*pause);
            }
            Given::Failing { pieces } => extras.model = Some(Arc::new(Failing { pieces: *pieces })),
        }
    }
    extras.store = Some(store);
    (config, extras)
}

/// The key of everybody who has one, by name.
fn keys(script: &Script) -> HashMap<&str, &str> {
    let mut keys = HashMap::new();
    for (_, given) in &script.given {
        if let Given::Person { name, key, .. } = given {
            keys.insert(name.as_str(), key.as_str());
        }
    }
    keys
}

/// Says a few pieces, and then that it cannot.
struct Failing {
    pieces: usize,
}

impl Model for Failing {
    fn answer(&self, _prompt: Prompt) -> Answer {
        let pieces = (0..self.pieces).map(|index| Ok(format!("piece {index} ")));
        let end = Err(Fault::new("as the script says"));
        Box::pin(futures_util::stream::iter(pieces.chain([end]).collect::<Vec<_>>()))
    }
}

struct Stage<'a> {
    server: &'a Server,
    manner: &'a Manner,
    transport: Transport,
    ignored: &'a [String],
    /// The key of everybody who has one, by name.
    keys: HashMap<&'a str, &'a str>,
    clients: HashMap<String, Client>,
    captures: Captures,
}

impl Stage<'_> {
    async fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::Connects { who, auth } => self.connect(who, auth).await,
            Step::Comes { who, auth } => {
                self.connect(who, auth).await?;
                let Some((event, payload)) = self.manner.welcome else { return Ok(()) };
                let payload = serde_json::from_str(payload).map_err(|error| error.to_string())?;
                self.hears(who, event, &payload).await
            }
            Step::Refused { auth, error } => {
                match Client::try_connect(&self.server.door(), self.transport, auth).await {
                    Ok(_) => Err("they were let in".into()),
                    Err(heard) => self.captures.compare(error, &heard),
                }
            }
            Step::Says { who, event, args } => {
                let args = self.captures.fill(args);
                self.client(who)?.emit(event, &args).await;
                Ok(())
            }
            Step::Asks { who, event, args, answer } => {
                let args = self.captures.fill(args);
                let client = self.client(who)?;
                let id = client.ask(event, &args).await;
                let heard = client.ack(id).await;
                self.captures.compare(answer, &heard)
            }
            Step::Requests { who, method, path, body, status, answer } => {
                let key = self.keys.get(who.as_str()).ok_or("they have no key")?;
                let (path, body) = (self.captures.fill(path), self.captures.fill(body));
                let request = Request::new(method, &path).json(body).bearer(key);
                let response = ask(&self.server.door(), &request).await;
                if response.status != *status {
                    return Err(format!("answered {} {}", response.status, response.text()));
                }
                let Some(answer) = answer else { return Ok(()) };
                let heard = serde_json::from_str(response.text()).map_err(|error| error.to_string())?;
                self.captures.compare(answer, &heard)
            }
            Step::Hears { who, event, payload } => self.hears(who, event, payload).await,
            Step::HearsNothing { who } => self.hears_nothing(who).await,
            Step::Goes { who } => {
                let client = self.clients.remove(who).ok_or("they are not here")?;
                client.engine.close().await;
                Ok(())
            }
            Step::Changes { agent: name, change } => {
                let (agent, change) = (agent(name), Box::new(change.clone()));
                self.server.order(Command::ChangeAgent { agent, change }).await;
                Ok(())
            }
            Step::Deletes { agent: name } => {
                self.server.order(Command::DeleteAgent { agent: agent(name) }).await;
                Ok(())
            }
            Step::Creates { agent, owner } => {
                let agent = Box::new(people::agent_of(agent, owner));
                self.server.order(Command::CreateAgent { agent }).await;
                Ok(())
            }
            Step::Speaks { agent: agent_name, person: name, text } => {
                let (agent, person) = (agent(agent_name), person(name));
                let speak = Command::Speak { agent, person, text: text.clone(), once: None };
                let said = self.server.app().handle(&operator(), speak).await;
                said.map(drop).map_err(|refusal| refusal.to_string())
            }
            Step::Notifies { person: name, notice } => {
                let notice = notice.clone();
                self.server.order(Command::SendNotice { person: person(name), notice }).await;
                Ok(())
            }
            Step::Orders(command) => {
                let done = self.server.app().handle(&operator(), command.clone()).await;
                done.map(drop).map_err(|refusal| refusal.to_string())
            }
            Step::History { agent, person, lines } => self.history(agent, person, lines).await,
            Step::Sent { person: name, messages } => {
                let app = self.server.app();
                let sent = app.ports().store.messages_sent(&person(name), app.now().month()).await;
                let sent = sent.map_err(|fault| fault.to_string())?;
                if sent == *messages { Ok(()) } else { Err(format!("{sent} messages were sent")) }
            }
        }
    }

    fn client(&mut self, who: &str) -> Result<&mut Client, String> {
        self.clients.get_mut(who).ok_or_else(|| format!("{who} is not here"))
    }

    async fn connect(&mut self, who: &str, auth: &str) -> Result<(), String> {
        let connected = Client::try_connect(&self.server.door(), self.transport, auth).await;
        let client = connected.map_err(|error| format!("refused: {error}"))?;
        if self.clients.insert(who.to_owned(), client).is_some() {
            return Err(format!("{who} is here already"));
        }
        Ok(())
    }

    async fn hears(&mut self, who: &str, event: &str, payload: &serde_json::Value) -> Result<(), String> {
        let ignored = self.ignored;
        let client = self.client(who)?;
        let (heard, value) = loop {
            let heard = client.event().await;
            if !is_ignored(ignored, &heard) {
                break heard;
            }
        };
        if heard != event {
            return Err(format!("{who} heard {heard} {value}"));
        }
        self.captures.compare(payload, &value)
    }

    /// Whatever was on its way to this client when the step began comes before the answer to a question that is asked now:
    /// events and answers leave the server in one order. The question itself changes nothing.
    async fn hears_nothing(&mut self, who: &str) -> Result<(), String> {
        let (ignored, (event, args)) = (self.ignored, self.manner.question);
        let client = self.client(who)?;
        let id = client.ask(event, args).await;
        client.ack(id).await;
        let heard: Vec<_> = client.events().into_iter().filter(|event| !is_ignored(ignored, event)).collect();
        if heard.is_empty() { Ok(()) } else { Err(format!("{who} heard {heard:?}")) }
    }

    async fn history(&self, agent_name: &str, name: &str, expected: &[String]) -> Result<(), String> {
        let conversation = ConversationId::direct(&agent(agent_name), &person(name));
        let stored = self.server.app().ports().store.history(conversation, 0, 1_000).await;
        let stored = stored.map_err(|fault| fault.to_string())?;
        let lines: Vec<_> =
            stored.iter().map(|message| format!("{:?}: {}", message.author, message.text)).collect();
        if lines == expected { Ok(()) } else { Err(format!("stored is {lines:?}")) }
    }
}

fn is_ignored(ignored: &[String], (name, _): &Event) -> bool {
    ignored.iter().any(|beginning| name.starts_with(beginning))
}

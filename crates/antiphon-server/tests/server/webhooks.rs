//! Other servers are told what happens: signed, in order, and nothing lost.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::sync::Arc;

use antiphon_core::command::Command;
use antiphon_core::memory::MemoryStore;
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::topic::Topic;
use antiphon_core::webhooks::Deliveries as _;
use antiphon_server::config::{Config, Secret};
use antiphon_server::webhooks::{EndpointSettings, Retried};
use antiphon_server::wiring::{self, Extras};
use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::engine::Transport;
use crate::support::people::{self, ada, bob, person, settle};
use crate::support::receiver::{Delivery, Receiver, SECRET};
use crate::support::scrape::Scrape;
use crate::support::server::Server;
use crate::support::soon;

/// A server that tells `receiver` of these events and remembers in memory.
async fn server(
    receiver: &Receiver,
    events: &[&str],
    change: impl FnOnce(&mut Config),
) -> (Server, Arc<MemoryStore>) {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    let mut config = people::config();
    tell(&mut config, receiver, events);
    change(&mut config);
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    extras.webhooks = Some(store.clone());
    (Server::start(config, extras).await, store)
}

/// Has the server tell `receiver`; what fails is tried again soon, and who leaves is gone at once.
pub(crate) fn tell(config: &mut Config, receiver: &Receiver, events: &[&str]) {
    config.outbound.allow = vec![String::from("127.0.0.0/8").try_into().expect("a network")];
    config.webhooks.gone_after = 0;
    config.webhooks.retries = vec![10; 20];
    config.endpoints.push(endpoint(&receiver.url(), events));
}

fn endpoint(url: &str, events: &[&str]) -> EndpointSettings {
    EndpointSettings {
        url: url.to_owned(),
        secret: Some(Secret::new(SECRET)),
        events: events.iter().map(|event| (*event).to_owned()).collect(),
        ..EndpointSettings::default()
    }
}

/// Says `text` to Luna and waits until it is durable.
async fn post(client: &mut Client, text: &str) {
    let id = client.ask("chat:message", &json!({ "agentId": "luna", "message": text }).to_string()).await;
    assert_eq!(client.ack(id).await["ok"], json!(true));
}

/// Sends Ada a notice.
async fn notify(server: &Server, title: &str) {
    let notice =
        Notice { kind: NoticeKind::Info, title: title.into(), message: "There.".into(), action: None };
    server.order(Command::SendNotice { person: person("ada"), notice }).await;
}

fn titles(deliveries: &[Delivery]) -> Vec<&str> {
    deliveries.iter().map(|delivery| delivery.body["data"]["title"].as_str().expect("a notice")).collect()
}

#[tokio::test]
async fn who_comes_what_is_said_and_who_is_gone_is_told_in_this_order() {
    let mut receiver = Receiver::start().await;
    let (server, _) =
        server(&receiver, &["person.connected", "person.disconnected", "message.posted"], |_| ()).await;
    let mut client = ada(&server, Transport::Websocket).await;
    post(&mut client, "hello there").await;
    client.event_named("chat:message:complete").await;
    client.engine.close().await;

    let mut told = Vec::new();
    for number in 1..=4 {
        let delivery = receiver.next().await;
        assert_eq!((delivery.person(), delivery.sequence()), ("ada", number));
        told.push(delivery);
    }
    let kinds: Vec<_> = told.iter().map(Delivery::kind).collect();
    assert_eq!(kinds, ["person.connected", "message.posted", "message.posted", "person.disconnected"]);
    let said: Vec<_> =
        told[1..3].iter().map(|told| (&told.body["data"]["author"], &told.body["data"]["text"])).collect();
    let (person, agent, hello) = (json!("person"), json!("agent"), json!("hello there"));
    assert_eq!(said, [(&person, &hello), (&agent, &hello)]);
    assert_eq!(
        told[1].id,
        format!("msg_{}", told[1].body["data"]["id"].as_str().expect("an id").replace('-', ""))
    );
    let ids: BTreeSet<_> = told.iter().map(|told| &told.id).collect();
    assert_eq!(ids.len(), 4);
    server.stop().await;
    assert_eq!(receiver.rest(), []);
}

#[tokio::test]
async fn who_is_back_in_time_never_went() {
    let mut receiver = Receiver::start().await;
    let (server, _) =
        server(&receiver, &["person.connected", "person.disconnected", "notice.sent"], |config| {
            config.webhooks.gone_after = 3_600_000;
        })
        .await;
    let client = ada(&server, Transport::Websocket).await;
    client.engine.close().await;
    let again = ada(&server, Transport::Websocket).await;
    again.engine.close().await;
    notify(&server, "last").await;
    let told = [receiver.next().await, receiver.next().await];
    assert_eq!([told[0].kind(), told[1].kind()], ["person.connected", "notice.sent"]);
    server.stop().await;
    assert_eq!(receiver.rest(), []);
}

#[tokio::test]
async fn an_endpoint_that_flaps_gets_everything_in_order_and_the_same_bytes_each_time() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[500, 503, 200, 429, 408, 200, 500]);
    let (server, _) = server(&receiver, &["notice.sent"], |_| ()).await;
    for title in ["one", "two", "three"] {
        notify(&server, title).await;
    }
    let mut heard = Vec::new();
    for _ in 0..8 {
        heard.push(receiver.next().await);
    }
    assert_eq!(titles(&heard), ["one", "one", "one", "two", "two", "two", "three", "three"]);
    for pair in heard.windows(2).filter(|pair| pair[0].id == pair[1].id) {
        assert_eq!(pair[0].text, pair[1].text);
    }
    let numbers: BTreeSet<_> = heard.iter().map(|told| (told.sequence(), &told.id)).collect();
    assert_eq!(numbers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3]);
    let state = server.webhooks().endpoints().remove(0);
    server.stop().await;
    assert_eq!(state.failed, 5);
    assert_eq!(receiver.rest(), []);
}

#[tokio::test]
async fn a_delivery_that_is_refused_lets_others_pass() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[422]);
    let (server, _) = server(&receiver, &["notice.sent"], |config| {
        config.webhooks.retries = vec![200];
    })
    .await;
    notify(&server, "one").await;
    assert_eq!(receiver.next().await.answered, 422);
    for title in ["two", "three"] {
        notify(&server, title).await;
    }
    let taken = [receiver.taken().await, receiver.taken().await, receiver.taken().await];
    let mut numbers: Vec<_> = taken.iter().map(Delivery::sequence).collect();
    assert!(numbers.iter().position(|number| *number == 2) < numbers.iter().position(|number| *number == 3));
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
    server.stop().await;
}

#[tokio::test]
async fn what_is_given_up_is_listed_and_can_be_tried_again() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[500, 500, 500]);
    let (server, _) = server(&receiver, &["notice.sent"], |config| {
        config.webhooks.retries = vec![1, 1];
    })
    .await;
    notify(&server, "lost").await;
    notify(&server, "found").await;
    assert_eq!(titles(&[receiver.taken().await]), ["found"], "the next one has its turn");
    let dead = server.webhooks().list_dead(None, 10).await.expect("the store works");
    assert_eq!(dead.len(), 1);
    assert_eq!((dead[0].attempts, &*dead[0].why), (3, "the endpoint answered 500 Internal Server Error"));
    assert_eq!((&*dead[0].kind, dead[0].sequence), ("notice.sent", 1));
    let body: Value = serde_json::from_str(&dead[0].body).expect("a body is JSON");
    assert_eq!(body["data"]["title"], "lost");

    let webhook = &dead[0].endpoint;
    // The one that was taken is counted once its answer has arrived.
    server.until("it to be counted", |server| server.webhooks().endpoints()[0].delivered == 1).await;
    let scrape = Scrape::of(&server).await;
    for (family, expected) in [
        ("pending", 0.0),
        ("dead", 1.0),
        ("disabled", 0.0),
        ("delivered_total", 1.0),
        ("failed_attempts_total", 2.0),
        ("given_up_total", 1.0),
    ] {
        let sample = format!("antiphon_webhook_{family}{{webhook=\"{webhook}\"}}");
        assert!(scrape.has(&sample), "{sample}");
        assert_eq!(scrape.value(&sample), expected, "{sample}");
    }
    assert!(scrape.has("antiphon_webhook_missed_total"));

    for unknown in [0, dead[0].id + 1, u64::MAX] {
        assert_eq!(server.webhooks().retry(unknown).await.ok(), Some(Retried::Unknown));
    }
    assert_eq!(server.webhooks().retry(dead[0].id).await.ok(), Some(Retried::Due));
    let again = receiver.taken().await;
    assert_eq!((again.text, again.id), (dead[0].body.clone(), dead[0].announcement.clone()));
    assert!(server.webhooks().list_dead(None, 10).await.expect("the store works").is_empty());
    server.stop().await;
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_told_nothing_until_it_is_enabled() {
    let mut receiver = Receiver::start().await;
    let mut other = Receiver::start().await;
    receiver.answer(&[410]);
    let (server, store) = server(&receiver, &["notice.sent"], |config| {
        config.endpoints.push(endpoint(&other.url(), &["notice.sent"]));
    })
    .await;
    notify(&server, "one").await;
    assert_eq!(receiver.next().await.answered, 410);
    server.until("the endpoint to be disabled", |server| server.webhooks().endpoints()[0].disabled).await;
    let state = server.webhooks().endpoints();
    assert_eq!((state[0].disabled, state[1].disabled), (true, false));
    // Noted in the store, and only then is anything else announced.
    soon("it to be noted", async {
        while store.disabled().await.expect("the store works").is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    notify(&server, "two").await;
    assert_eq!(titles(&[other.next().await, other.next().await]), ["one", "two"]);

    assert_eq!(server.webhooks().enable("wh_unknown").await.ok(), Some(false));
    assert_eq!(server.webhooks().enable(&state[0].id).await.ok(), Some(true));
    notify(&server, "three").await;
    let next = receiver.next().await;
    assert_eq!((titles(std::slice::from_ref(&next)), next.sequence()), (vec!["three"], 2));
    server.stop().await;
    assert_eq!(receiver.rest(), []);
}

#[tokio::test]
async fn a_rule_selects_what_an_endpoint_is_told() {
    let mut luna = Receiver::start().await;
    let mut place = Receiver::start().await;
    let (server, _) = server(&luna, &["message.posted", "signal"], |config| {
        config.endpoints[0].agents = vec!["luna".into()];
        config.endpoints[0].topics = vec!["person:ada".into()];
        let settings =
            EndpointSettings { topics: vec!["named:orders".into()], ..endpoint(&place.url(), &["signal"]) };
        config.endpoints.push(settings);
    })
    .await;
    let mut bob = bob(&server, Transport::Websocket).await;
    let id = bob.ask("chat:message", r#"{"agentId":"rex","message":"not told"}"#).await;
    bob.ack(id).await;
    let mut ada = ada(&server, Transport::Websocket).await;
    let id = ada.ask("chat:message", r#"{"agentId":"mia","message":"not told"}"#).await;
    ada.ack(id).await;
    post(&mut ada, "told").await;
    let value = serde_json::value::RawValue::from_string(r#"{"order":4711}"#.into()).expect("JSON");
    for (topic, name) in [("elsewhere", "not told"), ("orders", "shipped")] {
        let (topic, name) = (Topic::Named(topic.into()), name.into());
        server.order(Command::Signal { topic, name, value: Arc::from(value.clone()) }).await;
    }
    for author in ["person", "agent"] {
        let told = luna.next().await;
        assert_eq!(
            (&told.body["data"]["text"], &told.body["data"]["author"]),
            (&json!("told"), &json!(author))
        );
    }
    let told = place.next().await;
    let expected = json!({ "name": "shipped", "value": { "order": 4711 }, "topic": "named:orders" });
    assert_eq!((&told.body["data"], told.person(), told.sequence()), (&expected, "", 1));
    server.stop().await;
    assert_eq!((luna.rest(), place.rest()), (Vec::new(), Vec::new()));
}

#[tokio::test]
async fn t17_an_endpoint_whose_name_leads_inside_is_never_connected_to() {
    let mut receiver = Receiver::start().await;
    let (server, _) = server(&receiver, &["notice.sent"], |config| {
        config.webhooks.retries = vec![1];
        config.outbound.allow.clear();
        config.endpoints =
            vec![endpoint(&format!("https://localhost:{}/hook", receiver.port()), &["notice.sent"])];
    })
    .await;
    notify(&server, "one").await;
    let dead = soon("it to be given up", async {
        loop {
            let dead = server.webhooks().list_dead(None, 10).await.expect("the store works");
            if !dead.is_empty() {
                break dead;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(dead[0].why, "not allowed: the name has no address that is public");
    server.stop().await;
    assert_eq!(receiver.rest(), []);
}

#[tokio::test]
async fn t17_a_configuration_whose_endpoint_leads_inside_does_not_start() {
    for url in ["https://127.0.0.1/hook", "https://[::ffff:7f00:1]/hook", "http://hooks.example/hook"] {
        let mut config = people::config();
        config.endpoints.push(endpoint(url, &["notice.sent"]));
        let Err(error) = wiring::start(config, Extras::default()).await else { panic!("{url} is refused") };
        assert!(format!("{error:#}").contains("[[webhook]] number 1"), "{error:#}");
    }
}

#[tokio::test]
async fn a_restart_goes_on_where_it_ended() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut receiver = Receiver::start().await;
    // Nothing arrives before the restart.
    receiver.answer(&[500; 1_000]);
    let mut config = people::config();
    config.server.data = folder.path().to_owned();
    tell(&mut config, &receiver, &["message.posted", "person.connected", "person.disconnected"]);
    config.webhooks.gone_after = 3_600_000;
    config.webhooks.retries = vec![10; 1_000];
    move_in(&config).await;

    let server = Server::start(config.clone(), Extras::default()).await;
    let mut client = ada(&server, Transport::Websocket).await;
    post(&mut client, "before").await;
    client.event_named("chat:message:complete").await;
    assert_eq!(receiver.next().await.answered, 500);
    server.stop().await;
    let tried = receiver.rest();
    assert!(tried.iter().all(|delivery| delivery.kind() == "person.connected"), "the rest waits its turn");

    receiver.answer(&[]);
    config.webhooks.gone_after = 0;
    let server = Server::start(config, Extras::default()).await;
    let mut told = Vec::new();
    for number in 1..=4 {
        let delivery = receiver.next().await;
        assert_eq!((delivery.person(), delivery.sequence()), ("ada", number));
        told.push(delivery.kind().to_owned());
    }
    // She did not come back with the server.
    assert_eq!(told, ["person.connected", "message.posted", "message.posted", "person.disconnected"]);
    server.stop().await;
    assert_eq!(receiver.rest(), []);
}

/// People and agents move into the database of `config`.
async fn move_in(config: &Config) {
    let store = wiring::open_sqlite(config).expect("a database");
    settle(&store).await;
    store.close().await.expect("it closes");
}

/// The real binary, killed when it is dropped.
struct Binary(Child);

impl Drop for Binary {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The real binary with this configuration, and where it listens.
fn spawn(file: &Path) -> (Binary, Door) {
    let mut child = Process::new(env!("CARGO_BIN_EXE_antiphon"))
        .args(["serve", "--announce", "json", "--config"])
        .arg(file)
        .stdout(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("it is piped");
    BufReader::new(output).read_line(&mut line).expect("it says when it is ready");
    let ready: Value = serde_json::from_str(&line).expect("one line of JSON");
    let mount = &ready["mounts"][0];
    let address = mount["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let path = mount["path"].as_str().expect("a path").to_owned();
    (Binary(child), Door { address, path, tls: None, receive_buffer: None })
}

#[tokio::test]
async fn a_server_that_is_killed_loses_no_message_and_no_number() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    let mut receiver = Receiver::start().await;
    let mut config = people::config();
    config.server.data.clone_from(&data);
    move_in(&config).await;
    let file = folder.path().join("antiphon.toml");
    let text = format!(
        "[server]\ncores = 1\ndrain = 0\ndata = {data:?}\n\
         [model]\nkind = 'echo'\n\
         [[listener]]\naddress = '127.0.0.1:0'\n\
         [[listener.mount]]\npath = '/api/socketio'\ndialects = ['chat']\n\
         [outbound]\nallow = ['127.0.0.1']\n\
         [webhooks]\nretries = [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]\n\
         [[webhook]]\nurl = '{}'\nsecret = '{SECRET}'\nevents = ['message.posted']\n",
        receiver.url()
    );
    std::fs::File::create(&file).and_then(|mut file| file.write_all(text.as_bytes())).expect("a file");

    const ROUNDS: usize = 6;
    const EACH: usize = 8;
    let mut acked = BTreeSet::new();
    for round in 0..ROUNDS {
        // The endpoint flaps as well.
        receiver.answer(&[500, 200, 500, 503, 200, 500]);
        let (binary, door) = spawn(&file);
        let mut client = Client::connect(&door, Transport::Websocket, r#"{"token":"ada-key"}"#).await;
        for number in 0..EACH {
            let text = format!("{round}-{number}");
            post(&mut client, &text).await;
            acked.insert(text);
        }
        // In the middle of answers and deliveries.
        drop(binary);
    }
    receiver.answer(&[]);
    let (binary, door) = spawn(&file);
    let mut client = Client::connect(&door, Transport::Websocket, r#"{"token":"ada-key"}"#).await;
    post(&mut client, "the end").await;
    acked.insert("the end".into());

    // By number; a repetition has the same id and the same bytes.
    let mut told: BTreeMap<u64, Delivery> = BTreeMap::new();
    let mut highest = 0;
    let is_end = |delivery: &Delivery| {
        delivery.body["data"]["text"] == "the end" && delivery.body["data"]["author"] == "person"
    };
    loop {
        let delivery = receiver.taken().await;
        let number = delivery.sequence();
        assert!(number <= highest + 1, "{number} came before {}", highest + 1);
        highest = highest.max(number);
        let first = told.entry(number).or_insert_with(|| delivery.clone());
        assert_eq!((&first.id, &first.text), (&delivery.id, &delivery.text));
        if is_end(&delivery) {
            break;
        }
    }
    drop(binary);

    assert_eq!(told.keys().copied().collect::<Vec<_>>(), (1..=highest).collect::<Vec<_>>());
    let said = |delivery: &&Delivery| delivery.body["data"]["author"] == "person";
    let texts: Vec<_> = told
        .values()
        .filter(said)
        .map(|told| told.body["data"]["text"].as_str().expect("text").to_owned())
        .collect();
    assert_eq!(
        texts.iter().cloned().collect::<BTreeSet<_>>(),
        acked,
        "every message that was acked, and no other"
    );
    assert_eq!(texts.len(), acked.len(), "each once");
    let places: Vec<_> =
        told.values().map(|told| told.body["data"]["seq"].as_u64().expect("a position")).collect();
    assert!(places.is_sorted(), "in the order of the conversation: {places:?}");
}

//! Credentials that expire, are renewed, are revoked while their sockets are open (T-9, P7, P20).

use std::sync::Arc;
use std::time::Duration;

use antiphon_core::actor::{ApiKey, Holder, KeyId, Principal, SecretHash};
use antiphon_core::command::Command;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{ConversationId, Timestamp};
use antiphon_core::memory::{ManualClock, MemoryStore, SystemClock};
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::ports::{Clock, Revocation, Revoked, Store};
use antiphon_core::topic::Topic;
use antiphon_server::config::Config;
use antiphon_server::wiring::Extras;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::support::client::Client;
use crate::support::engine::{BOTH, Packet, Transport};
use crate::support::http::{Http, ask};
use crate::support::people::{ada, agent, bob, config, person, settle};
use crate::support::server::Server;
use crate::support::soon;

const ALL: [Transport; 3] = [Transport::Websocket, Transport::Polling, Transport::Upgraded];

/// Long enough for a client to say something, short enough to be waited for.
const SOON: i64 = 400;

/// A server whose store the test can write to.
struct House {
    server: Server,
    store: Arc<MemoryStore>,
}

impl House {
    async fn open(change: impl FnOnce(&mut Config)) -> Self {
        Self::with_clock(change, None).await
    }

    async fn with_clock(change: impl FnOnce(&mut Config), clock: Option<Arc<dyn Clock>>) -> Self {
        let store = Arc::new(MemoryStore::new());
        settle(&*store).await;
        let mut config = config();
        config.auth.grace = SOON.unsigned_abs();
        change(&mut config);
        let mut extras = Extras::default();
        extras.store = Some(store.clone());
        extras.clock = clock;
        Self { server: Server::start(config, extras).await, store }
    }

    /// Gives `holder` one more key: `key-<number>`.
    async fn key(&self, holder: &str, number: u32, expires_at: Option<Timestamp>) -> KeyId {
        add_key(&*self.store, holder, number, expires_at).await
    }

    /// Says to every node that something is revoked, as the doorkeeper does.
    fn revoke(&self, what: Revoked) {
        let now = SystemClock.now();
        let revocation = Revocation { what, at: now, until: Timestamp(now.0 + 60_000) };
        self.server.app().ports().bus.publish(Envelope::new(Topic::Nodes, Event::Revoked(revocation)));
    }

    async fn client(&self, key: u32, transport: Transport) -> Client {
        let auth = json!({"token": secret(key)}).to_string();
        let mut client = Client::connect(&self.server.door(), transport, &auth).await;
        assert_eq!(client.event().await.0, "system:connection");
        client
    }
}

fn secret(number: u32) -> String {
    format!("cda_{number:08x}_{}", "0".repeat(40))
}

async fn add_key(store: &dyn Store, holder: &str, number: u32, expires_at: Option<Timestamp>) -> KeyId {
    let id = KeyId::parse(&format!("cda_{number:08x}")).expect("a plain id");
    let key = ApiKey {
        id: id.clone(),
        hash: SecretHash(Sha256::digest(secret(number).as_bytes()).into()),
        holder: Holder::Person(person(holder)),
        dialects: None,
        plan: None,
        created_at: Timestamp(0),
        expires_at,
        revoked_at: None,
    };
    store.put_key(&key).await.expect("a key is stored");
    id
}

fn in_a_while(milliseconds: i64) -> Option<Timestamp> {
    Some(Timestamp(SystemClock.now().0 + milliseconds))
}

fn notice(title: &str) -> Command {
    let notice = Notice { kind: NoticeKind::Info, title: title.into(), message: "x".into(), action: None };
    Command::SendNotice { person: person("ada"), notice }
}

fn refresh(number: u32) -> String {
    json!({"token": secret(number)}).to_string()
}

const JOIN: &str = r#"{"agentId":"luna"}"#;

/// Waits for the end of `client`, who must have been told why and sent out of the namespace before it.
async fn is_sent_away(client: &mut Client, transport: Transport, words: &str, reason: &str) {
    let how = client.over().await;
    let expected = if transport == Transport::Polling { "1".into() } else { format!("1008 {reason}") };
    assert_eq!((how, client.is_out), (expected, true), "{transport:?}");
    let events = client.events();
    let (name, payload) = events.last().expect("it was told why");
    assert_eq!((name.as_str(), &payload["message"]), ("chat:error", &json!(words)), "{transport:?}");
}

#[tokio::test]
async fn t9_an_expired_credential_is_told_and_given_grace_and_then_let_go() {
    for transport in ALL {
        let house = House::open(|_| ()).await;
        let expires_at = in_a_while(SOON);
        house.key("ada", 1, expires_at).await;
        let mut client = house.client(1, transport).await;
        let joined = client.ask("chat:join", JOIN).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));

        let told = client.event_named("antiphon:expiring").await;
        let now = SystemClock.now();
        assert_eq!(told["expiresAt"], json!(expires_at));
        assert!(expires_at <= Some(now), "it was told at {now:?}");
        assert!(told["message"].as_str().is_some_and(|text| text.contains("antiphon:refresh")), "{told}");
        // It may do nothing any more, and nothing happens.
        let refused = client.ask("chat:message", r#"{"agentId":"luna","message":"Hello"}"#).await;
        let refused = client.ack(refused).await;
        assert_eq!(refused["ok"], json!(false), "{refused}");
        assert!(
            refused["error"]["message"].as_str().is_some_and(|text| text.contains("expired")),
            "{refused}"
        );
        let conversation = ConversationId::direct(&agent("luna"), &person("ada"));
        let stored = house.server.app().ports().store.recent(conversation, 10).await.unwrap();
        assert!(stored.is_empty());
        // It still hears what it heard.
        house.server.order(notice("still here")).await;
        assert_eq!(client.event_named("system:notification").await["title"], json!("still here"));

        is_sent_away(&mut client, transport, "Your credential has expired.", "credential expired").await;
        let gone = SystemClock.now();
        let closes_at = told["closesAt"].as_i64().expect("a time");
        assert!(Timestamp(closes_at) <= gone, "it was closed at {gone:?} instead of {closes_at}");
        house.server.until("it to be gone", |server| server.open_connections() == 0).await;
        assert_eq!(house.server.counters().dismissed, 1);
        house.server.stop().await;
    }
}

#[tokio::test]
async fn t9_a_new_credential_of_the_same_person_keeps_the_socket_and_its_rooms() {
    for (transport, late) in ALL.into_iter().flat_map(|transport| [(transport, false), (transport, true)]) {
        let house = House::open(|config| config.auth.grace = 2_000).await;
        let expires_at = in_a_while(SOON);
        house.key("ada", 1, expires_at).await;
        let until = in_a_while(600_000);
        house.key("ada", 2, until).await;
        // Whoever does nothing shows when the time is over.
        house.key("bob", 3, expires_at).await;
        let mut idle = house.client(3, Transport::Websocket).await;
        let mut client = house.client(1, transport).await;
        let joined = client.ask("chat:join", JOIN).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));

        if late {
            client.event_named("antiphon:expiring").await;
        }
        let renewed = client.ask("antiphon:refresh", &refresh(2)).await;
        assert_eq!(client.ack(renewed).await, json!({"ok": true, "expiresAt": until}));
        assert_eq!(house.server.counters().renewed, 1);

        is_sent_away(&mut idle, Transport::Websocket, "Your credential has expired.", "credential expired")
            .await;
        let said = client.ask("chat:message", r#"{"agentId":"luna","message":"Hello"}"#).await;
        assert_eq!(client.ack(said).await["ok"], json!(true));
        // The room was joined with the credential that is gone.
        assert_eq!(client.event_named("chat:message").await["content"], json!("Hello"));
        house.server.order(notice("still here")).await;
        assert_eq!(client.event_named("system:notification").await["title"], json!("still here"));
        let told = client.events().iter().filter(|(name, _)| name == "antiphon:expiring").count();
        assert_eq!(told, 0, "the time of the new credential is not over");
        assert_eq!(house.server.counters().dismissed, 1);
        house.server.stop().await;
    }
}

#[tokio::test]
async fn t9_a_renewed_credential_expires_in_its_turn() {
    let house = House::open(|_| ()).await;
    house.key("ada", 1, None).await;
    house.key("ada", 2, in_a_while(2 * SOON)).await;
    let mut client = house.client(1, Transport::Websocket).await;
    let renewed = client.ask("antiphon:refresh", &refresh(2)).await;
    assert_eq!(client.ack(renewed).await["ok"], json!(true));
    client.event_named("antiphon:expiring").await;
    is_sent_away(&mut client, Transport::Websocket, "Your credential has expired.", "credential expired")
        .await;
    house.server.stop().await;
}

#[tokio::test]
async fn t9_what_is_no_credential_of_the_same_person_renews_nothing() {
    let house = House::open(|_| ()).await;
    house.key("ada", 1, in_a_while(3_000)).await;
    house.key("bob", 2, None).await;
    house.key("ada", 3, Some(Timestamp(1))).await;
    for transport in BOTH {
        let mut client = house.client(1, transport).await;
        for (args, code) in [
            (refresh(2), "forbidden"),
            (refresh(3), "bad_credential"),
            (refresh(4), "bad_credential"),
            (json!({"token": "sssh, secret"}).to_string(), "bad_credential"),
            (String::new(), "invalid"),
            (json!("sssh, secret").to_string(), "invalid"),
            (json!({"token": 7}).to_string(), "invalid"),
            (json!({"token": null}).to_string(), "invalid"),
            (json!({"secret": "sssh, secret"}).to_string(), "invalid"),
            (json!({"token": ["sssh, secret"]}).to_string(), "invalid"),
        ] {
            let asked = client.ask("antiphon:refresh", &args).await;
            let refused = client.ack(asked).await;
            assert_eq!((&refused["ok"], &refused["error"]["code"]), (&json!(false), &json!(code)), "{args}");
            assert!(!refused.to_string().contains("sssh"), "a secret is not repeated: {refused}");
        }
        // Who asked for no acknowledgement is told in the words of the dialect.
        client.emit("antiphon:refresh", &refresh(2)).await;
        let error = client.event_named("chat:error").await;
        assert_eq!(error["message"], json!("This token is somebody else's."));
        // It is who it was.
        let joined = client.ask("chat:join", JOIN).await;
        assert_eq!(client.ack(joined).await["ok"], json!(true));
        client.engine.close().await;
    }
    assert_eq!(house.server.counters().refused, 2 * 11);
    assert_eq!(house.server.counters().renewed, 0);
    house.server.stop().await;
}

#[tokio::test]
async fn t9_a_revoked_key_hears_nothing_more_and_its_neighbours_go_on() {
    for transport in ALL {
        let house = House::open(|_| ()).await;
        let revoked = house.key("ada", 1, None).await;
        house.key("ada", 2, None).await;
        let mut gone = house.client(1, transport).await;
        let mut stays = house.client(2, transport).await;
        for client in [&mut gone, &mut stays] {
            let joined = client.ask("chat:join", JOIN).await;
            assert_eq!(client.ack(joined).await["ok"], json!(true));
        }
        house.revoke(Revoked::Key(revoked));
        // Published in the same breath: the rooms are left before anything else happens.
        house.server.order(notice("after")).await;
        assert_eq!(stays.event_named("system:notification").await["title"], json!("after"));
        let words = "Your credential has been revoked.";
        is_sent_away(&mut gone, transport, words, "credential revoked").await;
        assert!(gone.events().iter().all(|(name, _)| name != "system:notification"));
        let said = stays.ask("chat:message", r#"{"agentId":"luna","message":"Hello"}"#).await;
        assert_eq!(stays.ack(said).await["ok"], json!(true));
        assert_eq!(house.server.counters().dismissed, 1);
        house.server.stop().await;
    }
}

#[tokio::test]
async fn t9_a_revoked_person_goes_from_every_core_whatever_their_keys() {
    let house = House::open(|config| config.server.cores = 2).await;
    for number in 1..=3 {
        house.key("ada", number, None).await;
    }
    let mut clients = Vec::new();
    for (number, transport) in (1..=3).zip(ALL) {
        clients.push((house.client(number, transport).await, transport));
        clients.push((house.client(number, transport).await, transport));
    }
    let mut other = bob(&house.server, Transport::Websocket).await;
    house.revoke(Revoked::Person(person("ada")));
    for (client, transport) in &mut clients {
        is_sent_away(client, *transport, "Your credential has been revoked.", "credential revoked").await;
    }
    house.server.until("all of them to be gone", |server| server.open_connections() == 1).await;
    assert_eq!(other.event_named("presence:user:offline").await["userId"], json!("ada"));
    let joined = other.ask("chat:join", r#"{"agentId":"rex"}"#).await;
    assert_eq!(other.ack(joined).await["ok"], json!(true));
    assert_eq!(house.server.counters().dismissed, 6);
    house.server.stop().await;
}

#[tokio::test]
async fn t9_a_polling_client_that_is_not_there_may_come_for_its_goodbye() {
    let house = House::open(|_| ()).await;
    let revoked = house.key("ada", 1, None).await;
    let mut client = house.client(1, Transport::Polling).await;
    house.revoke(Revoked::Key(revoked));
    house.server.until("it to be sent away", |server| server.counters().dismissed == 1).await;
    // What it says meanwhile means nothing, and it has not ended before it is told.
    client.emit("chat:message", r#"{"agentId":"luna","message":"Hello"}"#).await;
    client.engine.send("40{\"token\":\"ada-key\"}").await;
    assert_eq!(house.server.open_connections(), 1);
    let words = "Your credential has been revoked.";
    is_sent_away(&mut client, Transport::Polling, words, "credential revoked").await;
    client.engine.is_unknown().await;
    house.server.until("it to be gone", |server| server.open_connections() == 0).await;
    house.server.stop().await;
}

#[tokio::test]
async fn t9_a_polling_client_that_does_not_come_is_forgotten_in_time() {
    let house = House::open(|config| config.listeners[0].mounts[0].connect_timeout = 300).await;
    let revoked = house.key("ada", 1, None).await;
    let client = house.client(1, Transport::Polling).await;
    house.revoke(Revoked::Key(revoked));
    house.server.until("it to be gone", |server| server.open_connections() == 0).await;
    client.engine.is_unknown().await;
    assert_eq!(house.server.counters().dismissed, 1);
    house.server.stop().await;
}

#[tokio::test]
async fn t9_a_session_that_is_sent_away_while_it_moves_is_told_over_the_websocket() {
    let house = House::open(|_| ()).await;
    let revoked = house.key("ada", 1, None).await;
    let client = house.client(1, Transport::Polling).await;
    let mut engine = client.engine;
    let mut websocket = engine.probe().await;
    websocket.text("2probe").await;
    assert_eq!(websocket.next_text().await, "3probe");
    house.revoke(Revoked::Key(revoked));
    house.server.until("it to be sent away", |server| server.counters().dismissed == 1).await;
    engine.take_over(websocket).await;
    assert!(engine.next_text().await.starts_with("42[\"chat:error\""));
    assert_eq!(engine.next_text().await, "41");
    assert_eq!(engine.next().await, Packet::Over("1008 credential revoked".into()));
    house.server.stop().await;
}

#[tokio::test]
async fn whoever_is_sent_away_by_order_is_counted() {
    let house = House::open(|config| config.server.cores = 2).await;
    house.key("ada", 1, None).await;
    let ada = Principal::Person(person("ada"));
    assert_eq!(house.server.disconnect(&ada).await, 0);
    let mut clients = Vec::new();
    for transport in ALL {
        clients.push((house.client(1, transport).await, transport));
    }
    let mut other = bob(&house.server, Transport::Websocket).await;
    assert_eq!(house.server.listeners(&Topic::Person(person("ada"))).await, 3);
    assert_eq!(house.server.listeners(&Topic::Everyone).await, 4);
    assert_eq!(house.server.listeners(&Topic::Person(person("nobody"))).await, 0);
    assert_eq!(house.server.disconnect(&ada).await, 3);
    assert_eq!(house.server.listeners(&Topic::Person(person("ada"))).await, 0);
    assert_eq!(house.server.listeners(&Topic::Everyone).await, 1);
    for (client, transport) in &mut clients {
        let words = "You have been disconnected.";
        is_sent_away(client, *transport, words, "disconnected by the server").await;
    }
    // The key is as good as before.
    house.client(1, Transport::Websocket).await;
    let joined = other.ask("chat:join", r#"{"agentId":"rex"}"#).await;
    assert_eq!(other.ack(joined).await["ok"], json!(true));
    house.server.stop().await;
}

#[tokio::test]
async fn t5_nobody_listens_to_what_the_nodes_tell_each_other() {
    let house = House::open(|_| ()).await;
    let _client = ada(&house.server, Transport::Websocket).await;
    assert_eq!(house.server.listeners(&Topic::Nodes).await, 0);
    house.server.stop().await;
}

#[tokio::test]
async fn p20_a_clock_that_jumps_ends_no_credential_early_and_revives_none() {
    let start = Timestamp(1_800_000_000_000);
    let clock = Arc::new(ManualClock::at(start));
    let house = House::with_clock(|config| config.auth.grace = 60_000, Some(clock.clone())).await;
    let expires_at = Timestamp(start.0 + SOON);
    house.key("ada", 1, Some(expires_at)).await;
    house.key("bob", 2, Some(expires_at)).await;
    // Bob comes before the jump, Ada after it.
    let mut bob = house.client(2, Transport::Websocket).await;
    clock.set(Timestamp(start.0 - 3_600_000));
    let mut ada = house.client(1, Transport::Websocket).await;
    // An hour back: when the time that was left for Bob is over, the clock is asked again, and there is time.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_millis(2 * SOON.unsigned_abs()) {
        let asked = bob.ask("chat:join", r#"{"agentId":"rex"}"#).await;
        let answer = bob.ack(asked).await;
        if answer["error"]["code"] == json!("RATE_LIMITED") {
            continue;
        }
        assert_eq!(answer["ok"], true);
    }
    assert!(bob.events().iter().all(|(name, _)| name != "antiphon:expiring"));
    // An hour ahead: nobody who has time left by the monotonic clock loses it.
    clock.set(Timestamp(start.0 + 3_600_000));
    let asked = ada.ask("chat:join", JOIN).await;
    assert_eq!(ada.ack(asked).await["ok"], json!(true));
    house.server.stop().await;
}

#[tokio::test]
async fn p20_what_has_expired_stays_so_when_the_clock_is_set_back() {
    let start = Timestamp(1_800_000_000_000);
    let clock = Arc::new(ManualClock::at(start));
    let house = House::with_clock(|_| (), Some(clock.clone())).await;
    house.key("ada", 1, Some(Timestamp(start.0 + SOON))).await;
    let mut client = house.client(1, Transport::Websocket).await;
    clock.advance(Duration::from_millis(SOON.unsigned_abs()));
    client.event_named("antiphon:expiring").await;
    clock.set(Timestamp(0));
    let refused = client.ask("chat:join", JOIN).await;
    assert_eq!(client.ack(refused).await["ok"], json!(false));
    is_sent_away(&mut client, Transport::Websocket, "Your credential has expired.", "credential expired")
        .await;
    house.server.stop().await;
}

#[tokio::test]
async fn t9_a_get_that_waits_is_answered_with_the_goodbye() {
    let house = House::open(|_| ()).await;
    let revoked = house.key("ada", 1, None).await;
    let client = house.client(1, Transport::Polling).await;
    let mut get = Http::open(&house.server.door()).await;
    get.send(&client.engine.get()).await;
    // Once this is answered the GET has been seen: both went to the same core, in this order.
    assert_eq!(ask(&house.server.door(), &client.engine.post("6")).await.status, 200);
    house.revoke(Revoked::Key(revoked));
    let goodbye = soon("the goodbye", get.response()).await;
    let packets: Vec<_> = goodbye.text().split('\x1e').collect();
    assert_eq!(packets.len(), 2, "{packets:?}");
    assert!(packets[0].starts_with("42[\"chat:error\""), "{packets:?}");
    assert_eq!(packets[1], "41");
    // The end comes by itself: libraries that hear of both at once take the connection for lost.
    assert_eq!(get.ask(&client.engine.get()).await.seen(), (200, "1"));
    client.engine.is_unknown().await;
    house.server.stop().await;
}

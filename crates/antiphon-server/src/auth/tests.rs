//! The door rehearsed: an app on memory ports, people with every kind of credential, and clocks that stand still.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_core::actor::{Actor, Holder, Person, Plan, Principal, Proof};
use antiphon_core::app::{self, App, Ports};
use antiphon_core::dialect::Credential;
use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::memory::{ManualClock, MemoryBus, MemoryLeases, MemoryStore, NoChain, RecordingAudience};
use antiphon_core::ports::{
    Bus as _, Clock as _, Keys as _, Listener, Logins as _, Mark, People as _, Revocation, Revocations as _,
    Revoked,
};
use antiphon_core::refusal::{Code, Refusal};
use antiphon_core::topic::Topic;
use jsonwebtoken::EncodingKey;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::keys::Order;
use super::passwords::tests::cheap;
use super::*;
use crate::config::Secret;
use crate::models;

/// 20 November 2026, in seconds.
const SECOND: i64 = 1_795_132_800;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A doorkeeper and what is around them. Ada has the plan `free` with 10 connections a minute, bob has `pro` without a limit.
struct House {
    door: Doorkeeper,
    store: Arc<MemoryStore>,
    bus: Arc<MemoryBus>,
    clock: Arc<ManualClock>,
}

impl House {
    async fn new() -> Self {
        let issuer = Issuer {
            name: "app".into(),
            issuer: Some("app".into()),
            algorithms: vec![Algorithm::Hs256],
            secret: Some(Secret::new(SECRET)),
            dialects: vec!["mission".into()],
            plan: "pro".into(),
            ..Issuer::default()
        };
        Self::with(Settings { issuers: vec![issuer], ..Settings::default() }).await
    }

    async fn with(settings: Settings) -> Self {
        let (store, bus) = (Arc::new(MemoryStore::new()), Arc::new(MemoryBus::new()));
        let clock = clock();
        for (name, connections_per_minute) in [("free", Some(10)), ("pro", None)] {
            let plan =
                Plan { name: name.into(), connections_per_minute, messages_per_month: None, agents: None };
            store.put_plan(&plan).await.unwrap();
        }
        for (name, plan, roles) in [("ada", "free", vec!["admin".to_owned()]), ("bob", "pro", vec![])] {
            let person = Person { id: person(name), plan: plan.into(), roles, created_at: Timestamp(0) };
            store.put_person(&person).await.unwrap();
        }
        let app = App::new(ports(&store, &bus, &clock), app::Settings::default());
        let door = Doorkeeper::with_passwords(app.clone(), &settings, None, None, cheap()).await.unwrap();
        Self { door, store, bus, clock }
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn admit(&self, secret: &str, dialect: &str) -> Result<Arc<Actor>, Refusal> {
        self.door.admit(&Credential::Bearer(secret.into()), dialect, self.now()).await
    }

    /// The code of the refusal, if it is one.
    async fn code(&self, secret: &str, dialect: &str) -> Option<Code> {
        self.admit(secret, dialect).await.err().map(|refusal| refusal.code)
    }

    async fn key(&self, order: Order) -> (antiphon_core::ids::KeyId, String) {
        let (key, secret) = self.door.issue_key(order, self.now()).await.unwrap();
        (key.id, secret.expose_secret().to_owned())
    }

    async fn session(&self, name: &str) -> Opened {
        self.door.set_password(&person(name), "correct horse".into()).await.unwrap();
        self.door.login(name, "correct horse".into(), self.now()).await.unwrap()
    }

    fn token(&self, more: Value) -> String {
        let mut claims = json!({"iss": "app", "sub": "ada", "iat": SECOND, "exp": SECOND + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    }

    /// Everything that was revoked since, as this process hears it.
    fn ear(&self) -> Arc<Ear> {
        let ear = Arc::new(Ear::default());
        let listener = self.bus.attach(ear.clone());
        self.bus.listen(listener, &Topic::Nodes, Mark::NONE);
        ear
    }
}

#[derive(Default)]
struct Ear(Mutex<Vec<Revoked>>);

impl Ear {
    fn heard(&self) -> Vec<Revoked> {
        self.0.lock().unwrap().clone()
    }
}

impl Listener for Ear {
    fn deliver(&self, envelope: &Arc<Envelope>, _: Mark) {
        if let Event::Revoked(revocation) = &envelope.event {
            self.0.lock().unwrap().push(revocation.what.clone());
        }
    }
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(Timestamp(SECOND * 1_000)))
}

fn ports(store: &Arc<MemoryStore>, bus: &Arc<MemoryBus>, clock: &Arc<ManualClock>) -> Ports {
    Ports {
        store: store.clone(),
        bus: bus.clone(),
        leases: Arc::new(MemoryLeases::new()),
        model: models::build(&models::Settings::default()).unwrap(),
        clock: clock.clone(),
        audience: Arc::new(RecordingAudience::new()),
        chain: Arc::new(NoChain),
    }
}

fn person(id: &str) -> PersonId {
    PersonId::parse(id).unwrap()
}

fn of_person(id: &str) -> Order {
    Order::of(Holder::Person(person(id)))
}

fn of_service() -> Order {
    Order::of(Holder::Service("shop".into()))
}

const BAD: Option<Code> = Some(Code::BadCredential);

#[tokio::test(start_paused = true)]
async fn t32_a_credential_opens_the_dialects_it_says_and_no_other() {
    let house = House::new().await;
    let limited = |to: &[&str]| Order {
        dialects: Some(to.iter().map(|name| (*name).into()).collect()),
        ..of_person("bob")
    };
    let chat = house.key(limited(&["chat"])).await.1;
    let two = house.key(limited(&["world", "mission"])).await.1;
    let all = house.key(of_person("bob")).await.1;
    let service = house.key(of_service()).await.1;
    let talkative = Order { dialects: Some(vec!["chat".into()]), ..of_service() };
    let talkative = house.key(talkative).await.1;
    let session = house.session("bob").await;
    let token = house.token(json!({"sub": "bob"}));
    let table: [(&str, &str, [bool; 5]); 7] = [
        ("a service's key", &service, [false, false, false, false, true]),
        ("a service's key for chat", &talkative, [true, false, false, false, false]),
        ("a key for chat", &chat, [true, false, false, false, false]),
        ("a key for two", &two, [false, false, true, true, false]),
        ("a key for all", &all, [true, true, true, true, true]),
        ("a session", session.token.expose_secret(), [true, true, true, true, true]),
        ("a token of an issuer for mission", &token, [false, false, false, true, false]),
    ];
    // Twice, so that what is remembered is as limited as what is looked up.
    for _ in 0..2 {
        for (what, secret, opens) in &table {
            for (dialect, open) in ["chat", "coding", "world", "mission", API].into_iter().zip(opens) {
                let expected = if *open { None } else { BAD };
                assert_eq!(house.code(secret, dialect).await, expected, "{what} at {dialect}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t29_a_key_is_a_prefix_and_256_bits_of_which_the_store_has_a_hash() {
    let house = House::new().await;
    for (holder, prefix, opens) in [
        (Holder::Person(person("ada")), "cda_", "chat"),
        (Holder::Service("shop".into()), "svc_", API),
        (Holder::Operator, "opr_", API),
    ] {
        let (key, secret) = house.door.issue_key(Order::of(holder.clone()), house.now()).await.unwrap();
        let secret = secret.expose_secret();
        assert!(
            secret.starts_with(prefix) && secret.len() == prefix.len() + 64,
            "256 bits in hexadecimal digits"
        );
        assert_eq!(key.id.as_str(), &secret[..12]);
        assert_eq!(key.holder, holder);
        let stored = house.store.key_by_id(&key.id).await.unwrap().unwrap();
        assert_eq!(stored, key);
        assert!(!format!("{stored:?}").contains(&secret[12..]));
        assert!(house.admit(secret, opens).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_is_what_the_credential_says() {
    let house = House::new().await;
    let expires_at = Some(Timestamp(house.now().0 + 1_000));
    let (id, secret) = house.key(Order { plan: Some("pro".into()), expires_at, ..of_person("ada") }).await;
    let actor = house.admit(&secret, "chat").await.unwrap();
    assert_eq!(actor.principal, Principal::Person(person("ada")));
    assert_eq!((actor.plan.name.as_str(), actor.expires_at), ("pro", expires_at));
    assert_eq!(actor.proof, Proof::Key(id));
    assert_eq!(actor.roles, ["admin".into()]);

    let token = house.token(json!({"jti": "j1", "roles": ["viewer", "admin"]}));
    let actor = house.admit(&token, "mission").await.unwrap();
    assert_eq!(actor.principal, Principal::Person(person("ada")));
    assert_eq!(actor.plan.name, "free", "the person's own");
    assert_eq!(actor.proof, Proof::Token { issuer: "app".into(), id: Some("j1".into()) });
    assert_eq!(actor.expires_at, Some(Timestamp((SECOND + 600) * 1_000)));
    assert_eq!(actor.roles, ["admin".into(), "viewer".into()]);

    let opened = house.session("ada").await;
    let actor = house.admit(opened.token.expose_secret(), "chat").await.unwrap();
    assert_eq!(actor.person(), Some(&opened.person));
    assert_eq!(actor.expires_at, Some(opened.expires_at));
    assert!(matches!(actor.proof, Proof::Session(_)));

    let service = house.admit(&house.key(of_service()).await.1, API).await.unwrap();
    assert_eq!(service.principal, Principal::Service("shop".into()));
    let guest = house.door.admit(&Credential::None, "chat", house.now()).await.unwrap();
    assert_eq!((&guest.principal, &guest.proof), (&Principal::Guest, &Proof::None));
}

#[tokio::test(start_paused = true)]
async fn a_key_for_what_does_not_exist_is_not_issued() {
    let house = House::new().await;
    let past = Some(house.now());
    for (order, code) in [
        (of_person("nobody"), Code::NotFound),
        (Order { plan: Some("none".into()), ..of_person("ada") }, Code::NotFound),
        (Order { expires_at: past, ..of_person("ada") }, Code::Invalid),
        (Order { dialects: Some(vec![]), ..of_person("ada") }, Code::Invalid),
        (Order::of(Holder::Service(String::new())), Code::Invalid),
    ] {
        let refused = house.door.issue_key(order.clone(), house.now()).await.unwrap_err();
        assert_eq!(refused.code, code, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_adds_its_person_when_its_issuer_may_and_refuses_them_otherwise() {
    let house = House::new().await;
    let actor = house.admit(&house.token(json!({"sub": "carol"})), "mission").await.unwrap();
    assert_eq!(actor.plan.name, "pro");
    let carol = house.store.person(&person("carol")).await.unwrap().unwrap();
    assert_eq!((carol.plan.as_str(), carol.created_at), ("pro", house.now()));

    let issuer = Issuer {
        name: "app".into(),
        issuer: Some("app".into()),
        algorithms: vec![Algorithm::Hs256],
        secret: Some(Secret::new(SECRET)),
        people: People::Known,
        ..Issuer::default()
    };
    let house = House::with(Settings { issuers: vec![issuer], ..Settings::default() }).await;
    assert_eq!(house.code(&house.token(json!({"sub": "carol"})), "mission").await, BAD);
    assert_eq!(house.code(&house.token(json!({})), "mission").await, None);
    assert_eq!(house.store.person(&person("carol")).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn t9_nothing_opens_after_it_has_expired_remembered_or_not() {
    let house = House::new().await;
    let expires_at = Some(Timestamp(house.now().0 + 1_000));
    let key = house.key(Order { expires_at, ..of_person("bob") }).await.1;
    let session = house.session("bob").await;
    let token = house.token(json!({"sub": "bob", "exp": SECOND + 1}));
    let secrets = [(key.as_str(), 1_000), (&token, 1_000), (session.token.expose_secret(), 86_400_000)];
    for (secret, lifetime) in secrets {
        house.clock.set(Timestamp(SECOND * 1_000 + lifetime - 1));
        assert_eq!(house.code(secret, "mission").await, None);
        house.clock.advance(Duration::from_millis(1));
        assert_eq!(house.code(secret, "mission").await, BAD);
        house.clock.set(Timestamp(SECOND * 1_000));
    }
}

#[tokio::test(start_paused = true)]
async fn p20_what_was_refused_as_expired_stays_so_when_the_clock_is_set_back() {
    let house = House::new().await;
    let start = house.now();
    let expires_at = Some(Timestamp(start.0 + 60_000));
    let key = house.key(Order { expires_at, ..of_person("bob") }).await.1;
    let token = house.token(json!({"sub": "bob", "exp": SECOND + 60}));
    for (at, code) in [(start, None), (Timestamp(start.0 + 60_000), BAD), (start, BAD)] {
        house.clock.set(at);
        for secret in [&key, &token] {
            assert_eq!(house.code(secret, "mission").await, code);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn t9_a_revoked_credential_opens_nothing_from_that_moment_on() {
    let house = House::new().await;
    let ear = house.ear();
    let (id, key) = house.key(of_person("bob")).await;
    let other = house.key(of_person("bob")).await.1;
    let token = house.token(json!({"sub": "bob", "jti": "j1"}));
    let session = house.session("bob").await;
    for secret in [&key, &other, &token, session.token.expose_secret()] {
        assert_eq!(house.code(secret, "mission").await, None);
    }
    house.door.revoke(Revoked::Key(id.clone()), house.now()).await.unwrap();
    assert_eq!(house.code(&key, "mission").await, BAD);
    assert_eq!(house.code(&other, "mission").await, None);

    let named = Revoked::Token { issuer: "app".into(), id: "j1".into() };
    house.door.revoke(named.clone(), house.now()).await.unwrap();
    assert_eq!(house.code(&token, "mission").await, BAD);
    assert_eq!(house.code(&house.token(json!({"sub": "bob", "jti": "j2"})), "mission").await, None);

    house.door.revoke(Revoked::Person(person("bob")), house.now()).await.unwrap();
    for secret in [&other, session.token.expose_secret(), &house.token(json!({"sub": "bob", "jti": "j2"}))] {
        assert_eq!(house.code(secret, "mission").await, BAD);
    }
    assert_eq!(ear.heard(), [Revoked::Key(id.clone()), named, Revoked::Person(person("bob"))]);

    house.clock.advance(Duration::from_millis(1));
    let again = house.door.login("bob", "correct horse".into(), house.now()).await.unwrap();
    assert_eq!(
        house.code(again.token.expose_secret(), "chat").await,
        None,
        "a new login is a new credential"
    );
    assert_eq!(
        house.store.key_by_id(&id).await.unwrap().unwrap().revoked_at,
        Some(Timestamp(SECOND * 1_000))
    );
    let unknown = Revoked::Key(antiphon_core::ids::KeyId::parse("cda_00000000").unwrap());
    assert_eq!(house.door.revoke(unknown, house.now()).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test(start_paused = true)]
async fn t9_a_token_that_does_not_say_when_it_was_signed_dies_with_its_person() {
    let house = House::new().await;
    house.door.revoke(Revoked::Person(person("bob")), house.now()).await.unwrap();
    house.clock.advance(Duration::from_secs(5));
    let claims = json!({"iss": "app", "sub": "bob", "exp": SECOND + 600});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let undated = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    assert_eq!(house.code(&undated, "mission").await, BAD);
    assert_eq!(house.code(&house.token(json!({"sub": "bob", "iat": SECOND + 2})), "mission").await, None);
}

#[tokio::test(start_paused = true)]
async fn t9_what_another_process_revokes_is_heard_here_within_the_polling_time() {
    let house = House::new().await;
    let key = house.key(of_person("bob")).await.1;
    assert_eq!(house.code(&key, "chat").await, None);
    let ear = house.ear();
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(house.door.clone().run(stopped));
    let revocation = Revocation {
        what: Revoked::Person(person("bob")),
        at: Timestamp(house.now().0 + 1),
        until: Timestamp(i64::MAX),
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    house.store.revoke(&revocation).await.unwrap();
    tokio::time::sleep(revocation::EVERY).await;
    assert_eq!(ear.heard(), [Revoked::Person(person("bob"))]);
    assert_eq!(house.code(&key, "chat").await, BAD, "although it is remembered");
    tokio::time::sleep(3 * revocation::EVERY).await;
    assert_eq!(ear.heard().len(), 1);
    // What this process revokes is not heard a second time.
    house.door.revoke(Revoked::Person(person("ada")), house.now()).await.unwrap();
    tokio::time::sleep(3 * revocation::EVERY).await;
    assert_eq!(ear.heard().len(), 2);
    stop.send(true).unwrap();
    running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t9_nobody_is_let_in_when_revocations_were_not_read_for_30_seconds() {
    let house = House::new().await;
    let key = house.key(of_person("bob")).await.1;
    assert_eq!(house.code(&key, "chat").await, None);
    tokio::time::advance(Duration::from_millis(30_001)).await;
    let fresh = house.key(of_person("bob")).await.1;
    for secret in [&key, &fresh] {
        assert!(matches!(house.code(secret, "chat").await, Some(Code::Unavailable { .. })));
    }
    let guest = house.door.admit(&Credential::None, "chat", house.now()).await;
    assert!(guest.is_ok(), "whoever shows nothing has nothing that could be revoked");
}

#[tokio::test(start_paused = true)]
async fn t9_a_fault_lets_nobody_in() {
    // Neither bob's plan nor the one that stands in for it exists, which is a fault of ours.
    let store = Arc::new(MemoryStore::new());
    let pro =
        Plan { name: "pro".into(), connections_per_minute: None, messages_per_month: None, agents: None };
    store.put_plan(&pro).await.unwrap();
    let bob = Person { id: person("bob"), plan: "gone".into(), roles: Vec::new(), created_at: Timestamp(0) };
    store.put_person(&bob).await.unwrap();
    let app = App::new(ports(&store, &Arc::default(), &clock()), app::Settings::default());
    let unplanned = Doorkeeper::with_passwords(app.clone(), &Settings::default(), None, None, cheap()).await;
    assert!(unplanned.is_err(), "a plan that the settings name has to exist");
    let settings = Settings { wallet_plan: "pro".into(), ..Settings::default() };
    let door = Doorkeeper::with_passwords(app, &settings, None, None, cheap()).await.unwrap();
    let (_, secret) = door.issue_key(of_person("bob"), clock().now()).await.unwrap();
    let credential = Credential::Bearer(secret.expose_secret().into());
    assert_eq!(door.admit(&credential, "chat", clock().now()).await.unwrap_err(), Refusal::internal());
}

#[tokio::test(start_paused = true)]
async fn connections_are_counted_per_person_and_refreshing_one_is_not_connecting() {
    let house = House::new().await;
    let (one, other) = (house.key(of_person("ada")).await.1, house.key(of_person("ada")).await.1);
    for _ in 0..5 {
        assert_eq!(house.code(&one, "chat").await, None);
        assert_eq!(house.code(&other, "chat").await, None);
    }
    assert!(matches!(house.code(&one, "chat").await, Some(Code::RateLimited { retry_after: 60_000 })));
    let again = house.door.authenticate(&Credential::Bearer(one), "chat", house.now()).await;
    assert!(again.is_ok());
}

#[tokio::test(start_paused = true)]
async fn t3_only_services_and_operators_act_for_others() {
    let house = House::new().await;
    let service = house.key(of_service()).await.1;
    let operator = house.key(Order::of(Holder::Operator)).await.1;
    let ada = house.key(of_person("ada")).await.1;
    let narrow = house.key(Order { dialects: Some(vec!["chat".into()]), ..of_service() }).await.1;
    let session = house.session("ada").await;
    let door = &house.door;
    let table: [(&str, Option<Code>); 6] = [
        (&service, None),
        (&operator, None),
        (&narrow, BAD),
        (&ada, Some(Code::Forbidden)),
        (session.token.expose_secret(), Some(Code::Forbidden)),
        ("unknown", BAD),
    ];
    for (secret, expected) in table {
        let answer = door.authenticate_backend(secret, house.now()).await;
        assert_eq!(answer.err().map(|refusal| refusal.code), expected, "{secret}");
    }
    let backend = door.authenticate_backend(&service, house.now()).await.unwrap();
    let acting = door.impersonate(&backend, &person("ada")).await.unwrap();
    assert_eq!((acting.person(), acting.plan.name.as_str()), (Some(&person("ada")), "free"));
    assert_eq!(acting.proof, backend.proof, "it ends with the backend's own key");
    assert_eq!(door.impersonate(&backend, &person("nobody")).await.unwrap_err().code, Code::NotFound);
    let refused = door.impersonate(&acting, &person("bob")).await;
    assert_eq!(refused.unwrap_err().code, Code::Forbidden, "a person acts for nobody else");
}

#[tokio::test(start_paused = true)]
async fn t8_a_name_has_five_tries_a_minute_and_looks_the_same_whether_it_exists() {
    let house = House::new().await;
    house.door.set_password(&person("ada"), "correct horse".into()).await.unwrap();
    let login = async |name: &str, password: &str| {
        house.door.login(name, SecretString::from(password), house.now()).await.map(|_| ())
    };
    // The clock of the rates stands still while passwords are hashed, because nothing else waits for it.
    let unknown = login("nobody", "wrong horse").await.unwrap_err();
    let wrong = login("ada", "wrong horse").await.unwrap_err();
    let passwordless = login("bob", "wrong horse").await.unwrap_err();
    let impossible = login("a\nb", "wrong horse").await.unwrap_err();
    assert_eq!(wrong.code, Code::BadCredential);
    for other in [unknown, passwordless, impossible] {
        assert_eq!(other, wrong);
    }
    for _ in 0..4 {
        login("ada", "wrong horse").await.unwrap_err();
    }
    let limited = login("ada", "correct horse").await.unwrap_err();
    assert!(matches!(limited.code, Code::RateLimited { retry_after } if retry_after > 0), "{limited:?}");
    tokio::time::advance(Duration::from_secs(60)).await;
    for _ in 0..10 {
        login("ada", "correct horse").await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn t8_a_session_is_renewed_once_and_a_refresh_token_that_comes_again_ends_it() {
    let house = House::new().await;
    let first = house.session("bob").await;
    house.clock.advance(Duration::from_secs(3_600));
    let second = house.door.refresh(&first.refresh, house.now()).await.unwrap();
    assert!(second.expires_at > first.expires_at);
    assert_eq!(second.person, first.person);
    assert_eq!(house.code(first.token.expose_secret(), "chat").await, BAD, "the old token is dead");
    let actor = house.admit(second.token.expose_secret(), "chat").await.unwrap();

    let ear = house.ear();
    let reused = house.door.refresh(&first.refresh, house.now()).await.unwrap_err();
    assert_eq!(reused.code, Code::BadCredential);
    let Proof::Session(name) = actor.proof else { panic!("a session proves a session") };
    assert_eq!(ear.heard(), [Revoked::Session(name)], "connections of every token of this login are told");
    assert_eq!(house.code(second.token.expose_secret(), "chat").await, BAD);
    assert_eq!(house.door.refresh(&second.refresh, house.now()).await.unwrap_err().code, Code::BadCredential);

    let other = house.session("bob").await;
    assert_eq!(
        house.code(other.token.expose_secret(), "chat").await,
        None,
        "another login is another session"
    );
}

#[tokio::test(start_paused = true)]
async fn t8_guesses_end_nobodys_session() {
    let house = House::new().await;
    let opened = house.session("bob").await;
    let ear = house.ear();
    let refresh = opened.refresh.expose_secret();
    let flipped = if refresh.ends_with('A') { "B" } else { "A" };
    let guess = format!("{}{flipped}", &refresh[..refresh.len() - 1]);
    for guess in
        [guess.as_str(), "ref_", "", opened.token.expose_secret(), &format!("ref_{}", "é".repeat(40))]
    {
        let refused = house.door.refresh(&guess.into(), house.now()).await.unwrap_err();
        assert_eq!(refused.code, Code::BadCredential);
    }
    assert_eq!(house.code(refresh, "chat").await, BAD, "a refresh token opens no door");
    assert_eq!(ear.heard(), []);
    house.door.refresh(&opened.refresh, house.now()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t8_two_that_renew_at_once_do_not_both_go_on() {
    let house = House::new().await;
    let opened = house.session("bob").await;
    let refresh = || house.door.refresh(&opened.refresh, house.now());
    let (one, other) = tokio::join!(refresh(), refresh());
    assert_eq!(u8::from(one.is_ok()) + u8::from(other.is_ok()), 1);
    let next = one.or(other).unwrap();
    assert_eq!(house.code(next.token.expose_secret(), "chat").await, BAD, "one of the two was a thief");
}

#[tokio::test(start_paused = true)]
async fn t8_a_session_cannot_be_renewed_after_its_time_or_its_revocation() {
    let house = House::new().await;
    let late = house.session("bob").await;
    house.clock.set(Timestamp(late.refresh_until.0));
    assert!(house.door.refresh(&late.refresh, house.now()).await.is_err());

    let revoked = house.session("ada").await;
    house.door.revoke(Revoked::Person(person("ada")), house.now()).await.unwrap();
    assert!(house.door.refresh(&revoked.refresh, house.now()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn t9_a_logout_ends_the_session_and_what_it_opened() {
    let house = House::new().await;
    let opened = house.session("bob").await;
    let actor = house.admit(opened.token.expose_secret(), "chat").await.unwrap();
    let ear = house.ear();
    house.door.logout(&opened.token, house.now()).await.unwrap();
    assert_eq!(house.code(opened.token.expose_secret(), "chat").await, BAD);
    assert!(house.door.refresh(&opened.refresh, house.now()).await.is_err());
    let Proof::Session(name) = actor.proof else { panic!("a session proves a session") };
    house.door.logout(&opened.token, house.now()).await.unwrap();
    house.door.logout(&"anything".into(), house.now()).await.unwrap();
    assert_eq!(ear.heard(), [Revoked::Session(name)]);
}

#[tokio::test(start_paused = true)]
async fn t8_tokens_of_a_session_are_stored_as_hashes_and_never_printed() {
    let house = House::new().await;
    let opened = house.session("bob").await;
    let (token, refresh) = (opened.token.expose_secret(), opened.refresh.expose_secret());
    assert!(token.starts_with("ses_") && refresh.starts_with("ref_"));
    let stored = house.store.session(&secret::hash(token)).await.unwrap().unwrap();
    assert_eq!(stored.refresh, secret::hash(refresh));
    for secret in [&token[4..], &refresh[4..]] {
        assert!(!format!("{opened:?} {stored:?}").contains(secret));
    }
}

#[tokio::test(start_paused = true)]
async fn t4_a_wallet_signature_opens_one_session_and_no_second() {
    use k256::ecdsa::SigningKey;
    use sha3::{Digest as _, Keccak256};

    let settings =
        Settings { domain: vec!["localhost:3000".into()], chains: vec![10143], ..Settings::default() };
    let house = House::with(settings).await;
    let address = "0x9d8a62f656a8d1615c1294fd71e9cfb3e4855a4f";
    let (message, _) = house.door.wallet_message(address, house.now()).await.unwrap();
    let key = SigningKey::from_slice(&[0x46; 32]).unwrap();
    let text = format!("\x19Ethereum Signed Message:\n{}{message}", message.len());
    let (signature, recovery) = key.sign_prehash_recoverable(&Keccak256::digest(text)).unwrap();
    let signature = secret::hex(&[signature.to_bytes().as_slice(), &[27 + recovery.to_byte()]].concat());

    let opened = house.door.wallet_login(&message, &signature, Some(address), house.now()).await.unwrap();
    let actor = house.admit(opened.token.expose_secret(), "chat").await.unwrap();
    assert_eq!(house.store.person_by_wallet(address).await.unwrap().as_ref(), actor.person());
    let second = house.door.wallet_login(&message, &signature, Some(address), house.now()).await;
    assert_eq!(second.unwrap_err().code, Code::BadCredential);
    assert_eq!(house.door.wallet_message("0x12", house.now()).await.unwrap_err().code, Code::Invalid);
}

#[tokio::test]
async fn the_name_of_a_wallet_is_worth_what_the_configuration_says() {
    let wallet = Credential::Wallet("0xAB".into());
    for (worth, is_enough) in
        [(UnprovenWallets::Refuse, false), (UnprovenWallets::Local, true), (UnprovenWallets::Anybody, true)]
    {
        let house = House::with(Settings { unproven_wallets: worth, ..Settings::default() }).await;
        house.store.link_wallet("0xab", &person("ada")).await.unwrap();
        let admitted = house.door.admit(&wallet, "companion", house.now()).await;
        match admitted {
            Ok(actor) => {
                assert!(is_enough);
                assert_eq!((actor.person(), &*actor.plan.name), (Some(&person("ada")), "free"));
                assert_eq!(actor.roles, ["admin".into()]);
            }
            Err(refusal) => assert_eq!((is_enough, refusal.code), (false, Code::BadCredential)),
        }
        let unknown = Credential::Wallet("0xcd".into());
        let refused = house.door.admit(&unknown, "companion", house.now()).await.unwrap_err();
        assert_eq!(refused.code, Code::BadCredential);
    }
}

#[tokio::test]
async fn a_guest_becomes_who_they_prove_to_be_and_a_person_stays_who_they_are() {
    let house =
        House::with(Settings { unproven_wallets: UnprovenWallets::Refuse, ..Settings::default() }).await;
    house.store.link_wallet("0xab", &person("ada")).await.unwrap();
    let guest = house.door.admit(&Credential::None, "companion", house.now()).await.unwrap();
    let (_, key) = house.key(of_person("ada")).await;
    let identify = async |before: &Arc<Actor>, credential: &Credential| {
        let now = house.now();
        house.door.identify(before, credential, "companion", now).await.map_err(|refusal| refusal.code)
    };
    let wallet = |address: &str| Credential::Wallet(address.into());
    assert_eq!(identify(&guest, &Credential::None).await.unwrap_err(), Code::Unauthenticated);
    assert_eq!(identify(&guest, &wallet("0xab")).await.unwrap_err(), Code::BadCredential);
    let ada = identify(&guest, &Credential::Bearer(key)).await.unwrap();
    assert_eq!(ada.person(), Some(&person("ada")));
    // The name of one's own wallet changes nothing, and somebody else's is refused.
    assert!(Arc::ptr_eq(&ada, &identify(&ada, &wallet("0xAB")).await.unwrap()));
    house.store.link_wallet("0xcd", &person("bob")).await.unwrap();
    for other in ["0xcd", "0xef"] {
        assert_eq!(identify(&ada, &wallet(other)).await.unwrap_err(), Code::Forbidden);
    }
}

#[tokio::test]
async fn who_names_a_wallet_is_counted_like_anybody_who_connects() {
    let house =
        House::with(Settings { unproven_wallets: UnprovenWallets::Local, ..Settings::default() }).await;
    house.store.link_wallet("0xab", &person("ada")).await.unwrap();
    let guest = house.door.admit(&Credential::None, "companion", house.now()).await.unwrap();
    let wallet = Credential::Wallet("0xab".into());
    let mut refused = 0;
    for _ in 0..12 {
        let identified = house.door.identify(&guest, &wallet, "companion", house.now()).await;
        refused += u32::from(matches!(identified, Err(Refusal { code: Code::RateLimited { .. }, .. })));
    }
    assert_eq!(refused, 2, "her plan allows 10 connections a minute");
}

#[tokio::test(start_paused = true)]
async fn t12_a_credential_of_any_length_and_content_is_refused_without_harm() {
    let house = House::new().await;
    for text in [
        String::new(),
        "x".repeat(secret::LONGEST),
        "x".repeat(secret::LONGEST + 1),
        ".".repeat(1_000),
        "a.b.c".into(),
        format!("{}.{}.{}", "A".repeat(2_000), "B".repeat(2_000), "C".repeat(2_000)),
        "ses_".into(),
        format!("ses_{}", "é".repeat(33)),
        "cda_\0".into(),
        "' OR 1=1 --".into(),
    ] {
        assert_eq!(house.code(&text, "chat").await, BAD, "{} bytes", text.len());
    }
}

/// What a handshake pays. Run with `cargo test -p antiphon-server --lib -- --ignored --nocapture admission_costs`.
#[tokio::test]
#[ignore = "a measurement, for a quiet machine"]
async fn admission_costs_at_most_15_microseconds() {
    const ROUNDS: u32 = 100_000;
    let house = House::new().await;
    let key = house.key(of_person("bob")).await.1;
    let token = house.token(json!({"sub": "bob", "jti": "0123456789abcdef", "roles": ["viewer"]}));
    for (what, secret, dialect) in [("API key", key, "chat"), ("JWT", token, "mission")] {
        let credential = Credential::Bearer(secret);
        let began = processor_time();
        for _ in 0..ROUNDS {
            house.door.admit(&credential, dialect, house.now()).await.unwrap();
        }
        let each = (processor_time() - began) / ROUNDS;
        let line = format!("{what}: {each:?} of processor time each\n");
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).unwrap();
        assert!(each <= Duration::from_micros(15), "{what}: {each:?}");
    }
}

/// How long this thread has run, as Linux counts it.
fn processor_time() -> Duration {
    let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(line.split(' ').next().unwrap().parse().unwrap())
}

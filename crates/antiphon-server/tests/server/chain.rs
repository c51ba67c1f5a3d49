//! Payments that people report are looked up on a chain, over JSON-RPC.

use std::sync::Arc;

use antiphon_core::actor::{ApiKey, Holder, SecretHash};
use antiphon_core::ids::KeyId;
use antiphon_core::ids::Timestamp;
use antiphon_core::memory::MemoryStore;
use antiphon_core::ports::{Chain as _, Keys as _, Logins as _, Verdict, Wallets as _};
use antiphon_server::chain::{JsonRpcChain, Settings};
use antiphon_server::config::{Config, Secret};
use antiphon_server::outbound::{self, Outbound};
use antiphon_server::wiring::{self, Extras};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::http::{Http, Request};
use crate::support::node::{Asked, Node, Says};
use crate::support::people::{config, person, settle};
use crate::support::server::Server;

const TREASURY: &str = "0x00000000000000000000000000000000000000A1";
const ADAS: &str = "0x0000000000000000000000000000000000000ada";
const BOBS: &str = "0x0000000000000000000000000000000000000b0b";

const TRANSACTION: &str = "eth_getTransactionByHash";
const RECEIPT: &str = "eth_getTransactionReceipt";
const HEAD: &str = "eth_blockNumber";

fn hash() -> String {
    format!("0x{:064x}", 0xfeed)
}

/// Half a coin from Ada to the treasury, in block 16.
fn transaction() -> Value {
    json!({
        "hash": hash(), "from": ADAS, "to": TREASURY, "value": "0x6f05b59d3b20000", "input": "0x",
        "blockHash": "0xb10c", "blockNumber": "0x10",
    })
}

fn receipt() -> Value {
    json!({"transactionHash": hash(), "status": "0x1", "blockHash": "0xb10c", "blockNumber": "0x10", "logs": []})
}

/// A node that knows the payment, in the newest block.
async fn node() -> Node {
    let node = Node::start().await;
    node.says(TRANSACTION, Says::Result(transaction()));
    node.says(RECEIPT, Says::Result(receipt()));
    node.says(HEAD, Says::Result(json!("0x10")));
    node
}

fn settings(node: &Node) -> Settings {
    Settings { url: Some(Secret::new(node.url())), treasury: TREASURY.into(), ..Settings::default() }
}

fn inside() -> outbound::Settings {
    outbound::Settings { allow: vec![String::from("127.0.0.1").try_into().expect("an address")] }
}

fn chain(settings: &Settings) -> JsonRpcChain {
    let outbound = Arc::new(Outbound::new(inside()));
    JsonRpcChain::new(settings, 100, outbound).expect("it can work").expect("there is a url")
}

/// A backend that acts for people.
struct Shop(Http);

impl Shop {
    /// What a deposit that `name` reports comes to: the status and the body.
    async fn deposit(&mut self, name: &str, reference: &str, amount: u64) -> (u16, Value) {
        let command = json!({"command": "Deposit", "as": name, "person": name, "reference": reference, "amount": amount});
        let request = Request::new("POST", "/v1/commands").bearer("svc_shop-key").json(command.to_string());
        let response = self.0.ask(&request).await;
        (response.status, serde_json::from_slice(&response.body).expect("JSON"))
    }
}

/// A server that looks payments up at `node`, with Ada and Bob, who have a wallet each.
async fn served(node: &Node) -> (Server, Arc<MemoryStore>, Shop) {
    let store = Arc::new(MemoryStore::new());
    settle(&*store).await;
    for (wallet, name) in [(ADAS, "ada"), (BOBS, "bob")] {
        store.link_wallet(wallet, &person(name)).await.expect("a wallet is linked");
    }
    let key = ApiKey {
        id: KeyId::parse("svc_shop").expect("an id"),
        hash: SecretHash(Sha256::digest(b"svc_shop-key").into()),
        holder: Holder::Service("shop".into()),
        dialects: None,
        plan: None,
        created_at: Timestamp(0),
        expires_at: None,
        revoked_at: None,
    };
    store.put_key(&key).await.expect("a key is stored");
    let mut extras = Extras::default();
    extras.store = Some(store.clone());
    let server = Server::start(configured(node), extras).await;
    let shop = Shop(Http::open(&server.door()).await);
    (server, store, shop)
}

fn configured(node: &Node) -> Config {
    let mut config = config();
    config.listeners[0].api = true;
    config.outbound = inside();
    config.wallet.chain = settings(node);
    config
}

#[tokio::test]
async fn a_payment_that_the_chain_knows_is_deposited_once_and_for_whoever_made_it() {
    let node = node().await;
    let (server, store, mut shop) = served(&node).await;
    let (status, booked) = shop.deposit("ada", &hash(), 50).await;
    assert_eq!(
        (status, &booked["entry"]["balance"], &booked["duplicate"]),
        (200, &json!(50), &json!(false)),
        "{booked}"
    );
    // However it is written: the server has one spelling for it.
    for reference in [hash(), hash().to_uppercase()] {
        let (status, again) = shop.deposit("ada", &reference, 50).await;
        assert_eq!(
            (status, &again["entry"]["balance"], &again["duplicate"]),
            (200, &json!(50), &json!(true)),
            "{again}"
        );
    }
    let foreign = shop.deposit("bob", &hash(), 50).await;
    assert_eq!((foreign.0, &foreign.1["code"]), (400, &json!("invalid")), "it is not from his wallet");
    for (reference, amount) in [(hash(), 51), (hash()[..65].to_owned(), 50), ("invoice-7".to_owned(), 50)] {
        let (status, refused) = shop.deposit("ada", &reference, amount).await;
        assert_eq!((status, &refused["code"]), (400, &json!("invalid")), "{reference} {amount}: {refused}");
    }
    for (name, tokens) in [("ada", 50), ("bob", 0)] {
        assert_eq!(store.balance(&person(name)).await.expect("it works").tokens, tokens, "{name}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_certain_yet_or_fails_is_told_apart_and_enters_nothing() {
    let node = node().await;
    let (server, store, mut shop) = served(&node).await;
    node.says(TRANSACTION, Says::Result(Value::Null));
    let (status, pending) = shop.deposit("ada", &hash(), 50).await;
    assert_eq!((status, &pending["code"]), (503, &json!("unavailable")), "{pending}");
    node.says(TRANSACTION, Says::Reply(500, "", "a secret of the node".into()));
    let (status, failed) = shop.deposit("ada", &hash(), 50).await;
    assert_eq!((status, &failed["code"]), (500, &json!("internal")), "{failed}");
    assert!(!failed.to_string().contains("secret"), "{failed}");
    assert_eq!(store.balance(&person("ada")).await.expect("it works").position, 0);
    node.says(TRANSACTION, Says::Result(transaction()));
    assert_eq!(shop.deposit("ada", &hash(), 50).await.0, 200, "and it works when the node does");
    server.stop().await;
}

#[tokio::test]
async fn a_node_inside_is_asked_only_if_that_is_allowed() {
    let node = node().await;
    let mut config = configured(&node);
    config.outbound.allow.clear();
    let Err(error) = wiring::start(config, Extras::default()).await else { panic!("it started") };
    let error = format!("{error:#}");
    assert!(error.contains("url in [wallet.chain]") && error.contains("not public"), "{error}");
    assert_eq!(node.asked(), []);
}

#[tokio::test]
async fn a_node_is_asked_three_things_with_its_credential() {
    let node = node().await;
    let settings = Settings { authorization: Some(Secret::new("Bearer of-the-node")), ..settings(&node) };
    let verdict = chain(&settings).verify(&hash(), 50, &[ADAS.into()]).await;
    assert_eq!(verdict.expect("it answers"), Verdict::Confirmed);
    let asked = |method: &str, parameters: Value| Asked {
        method: method.into(),
        parameters,
        authorization: Some("Bearer of-the-node".into()),
    };
    let expected =
        [asked(TRANSACTION, json!([hash()])), asked(HEAD, json!([])), asked(RECEIPT, json!([hash()]))];
    assert_eq!(node.asked(), expected);
    let shown = format!("{settings:?}");
    assert!(!shown.contains("of-the-node") && !shown.contains(&node.url()), "{shown}");
}

#[tokio::test]
async fn what_no_payment_can_be_is_not_even_asked_for() {
    let node = node().await;
    let chain = chain(&settings(&node));
    for reference in [hash().to_uppercase(), hash()[2..].to_owned(), format!("{}0", hash()), String::new()] {
        let verdict = chain.verify(&reference, 50, &[ADAS.into()]).await.expect("nobody is asked");
        assert_eq!(verdict, Verdict::Wrong, "{reference}");
    }
    let verdict = chain.verify(&hash(), 50, &[]).await.expect("nobody is asked");
    assert_eq!(verdict, Verdict::Wrong, "they have no wallet");
    assert_eq!(node.asked(), []);
}

/// The same object with another value under a name; without it if there is none.
fn with(object: &Value, name: &str, value: Option<Value>) -> Says {
    let mut object = object.clone();
    let members = object.as_object_mut().expect("an object");
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    Says::Result(object)
}

#[tokio::test]
async fn whatever_a_node_says_is_a_verdict_or_a_fault_in_words() {
    let node = node().await;
    let patient = chain(&Settings { timeout: 60_000, ..settings(&node) });
    // A busy machine may take as long for an answer that comes.
    let hurried = chain(&Settings { timeout: 100, ..settings(&node) });
    let elsewhere = self::node().await;
    let location: &'static str = Box::leak(format!("Location: {}\r\n", elsewhere.url()).into_boxed_str());
    let text = |text: &str| Some(Value::from(text));
    let reply = |body: &str| Says::Reply(200, "", body.to_owned());
    let huge = format!(r#"{{"id":1,"result":"{}"}}"#, "x".repeat(1 << 20));
    let other = format!("0x{:064x}", 1);
    let (sent, held) = (transaction(), receipt());
    let pending = Ok(Verdict::Pending);
    let wrong = Ok(Verdict::Wrong);
    let table = [
        // A chain that has not come that far, or was rearranged.
        (TRANSACTION, Says::Result(Value::Null), pending),
        (TRANSACTION, with(&sent, "blockHash", Some(Value::Null)), pending),
        (TRANSACTION, with(&sent, "blockHash", None), pending),
        (TRANSACTION, with(&sent, "blockHash", text("0xb0b")), pending),
        (RECEIPT, Says::Result(Value::Null), pending),
        (HEAD, Says::Result(json!("0xf")), pending),
        // Another payment.
        (TRANSACTION, with(&sent, "from", text(BOBS)), wrong),
        (TRANSACTION, with(&sent, "to", text(BOBS)), wrong),
        (TRANSACTION, with(&sent, "to", Some(Value::Null)), wrong),
        (TRANSACTION, with(&sent, "value", text("0x0")), wrong),
        (TRANSACTION, with(&sent, "value", text("0x6f05b59d3b20000000000000000000000000000")), wrong),
        (RECEIPT, with(&held, "status", text("0x0")), wrong),
        (RECEIPT, with(&held, "status", text("0x2")), wrong),
        // A node that does not do what it should.
        (TRANSACTION, with(&sent, "hash", text(&other)), Err("another transaction")),
        (TRANSACTION, with(&sent, "hash", None), Err("another form")),
        (TRANSACTION, with(&sent, "from", Some(json!(7))), Err("another form")),
        (TRANSACTION, with(&sent, "from", None), Err("another form")),
        (TRANSACTION, with(&sent, "value", Some(json!(500))), Err("another form")),
        (TRANSACTION, with(&sent, "value", text("500")), Err("a quantity is 0x")),
        (TRANSACTION, with(&sent, "value", text("0x-1")), Err("a quantity is 0x")),
        (TRANSACTION, Says::Result(json!([])), Err("another form")),
        (TRANSACTION, Says::Result(json!("yes")), Err("another form")),
        (RECEIPT, with(&held, "transactionHash", text(&other)), Err("another transaction")),
        (RECEIPT, with(&held, "status", None), Err("another form")),
        (RECEIPT, with(&held, "status", Some(json!(true))), Err("another form")),
        (RECEIPT, with(&held, "blockNumber", Some(Value::Null)), Err("another form")),
        (HEAD, Says::Result(Value::Null), Err("no newest block")),
        (HEAD, Says::Result(json!(16)), Err("another form")),
        (
            HEAD,
            reply(r#"{"id":1,"error":{"code":-32005,"message":"limit exceeded"}}"#),
            Err("-32005: limit exceeded"),
        ),
        (HEAD, reply(r#"{"id":2,"result":"0x10"}"#), Err("another question")),
        (HEAD, reply(r#"{"id":1}"#), Err("neither a result nor an error")),
        (HEAD, reply("<html>welcome</html>"), Err("not JSON")),
        (HEAD, reply(""), Err("not JSON")),
        (HEAD, reply(&huge), Err("more than 1048576 bytes")),
        (HEAD, Says::Reply(500, "", "{}".into()), Err("the answer was 500")),
        (HEAD, Says::Reply(429, "Retry-After: 1\r\n", "{}".into()), Err("the answer was 429")),
        (HEAD, Says::Reply(307, location, String::new()), Err("the answer was 307")),
        (TRANSACTION, Says::Nothing, Err("longer than 100 ms")),
    ];
    for (method, says, expected) in table {
        node.says(TRANSACTION, Says::Result(sent.clone()));
        node.says(RECEIPT, Says::Result(held.clone()));
        node.says(HEAD, Says::Result(json!("0x10")));
        node.says(method, says.clone());
        let chain = if matches!(says, Says::Nothing) { &hurried } else { &patient };
        let verdict = chain.verify(&hash(), 50, &[BOBS.replace("b0b", "c0c"), ADAS.into()]).await;
        let shown: String = format!("{method} {says:?}").chars().take(200).collect();
        match (verdict, expected) {
            (Ok(verdict), Ok(expected)) => assert_eq!(verdict, expected, "{shown}"),
            (Err(fault), Err(expected)) => {
                let words = anyhow::Error::from(fault);
                let words = format!("{words:#}");
                assert!(words.contains(expected) && words.len() < 400, "{shown}: {words}");
                assert!(!words.contains(&node.url()), "the URL may hold a secret: {words}");
            }
            (verdict, expected) => panic!("{shown}: {verdict:?}, not {expected:?}"),
        }
    }
    assert_eq!(elsewhere.asked(), [], "nobody follows a redirect");
}

#[tokio::test]
async fn a_payment_waits_until_as_many_blocks_hold_it_as_the_operator_wants() {
    let node = node().await;
    let chain = chain(&Settings { confirmations: 3, ..settings(&node) });
    for (head, expected) in
        [("0x10", Verdict::Pending), ("0x11", Verdict::Pending), ("0x12", Verdict::Confirmed)]
    {
        node.says(HEAD, Says::Result(json!(head)));
        let verdict = chain.verify(&hash(), 50, &[ADAS.into()]).await.expect("it answers");
        assert_eq!(verdict, expected, "{head}");
    }
}

#[tokio::test]
async fn a_node_that_is_gone_is_a_fault() {
    let settings = settings(&node().await);
    let fault = chain(&settings).verify(&hash(), 50, &[ADAS.into()]).await.expect_err("nobody is there");
    assert!(fault.to_string().contains("asking the chain's node for eth_getTransactionByHash"), "{fault}");
}

//! What a backend does with a person's tokens.

use serde_json::{Value, json};

use super::{Client, refused, served};

fn booked(answer: &Value) -> (&str, i64, i64, bool) {
    let entry = &answer["entry"];
    let number = |name: &str| entry[name].as_i64().expect("a number");
    let reason = entry["reason"].as_str().expect("a reason");
    (reason, number("amount"), number("balance"), answer["duplicate"].as_bool().expect("it says so"))
}

#[tokio::test]
async fn what_people_are_given_is_as_configured() {
    let (server, _) = served(|config| (config.wallet.welcome, config.wallet.daily_reward) = (7, 3)).await;
    let mut client = Client::shop(&server).await;
    let opened = client.done(&json!({"command": "OpenWallet", "as": "ada"})).await;
    assert_eq!(opened["balance"], 7);
    let reward = client.done(&json!({"command": "ClaimReward", "as": "ada"})).await;
    assert_eq!(booked(&reward), ("reward", 3, 10, false));
    server.stop().await;
}

#[tokio::test]
async fn tokens_are_paid_in_earned_spent_and_taken_out_each_once() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let opened = client.done(&json!({"command": "OpenWallet", "as": "ada"})).await;
    assert_eq!(opened, json!({"outcome": "balance", "balance": 50, "position": 1}));
    let deposit = json!({"command": "Deposit", "person": "ada", "reference": "0xAB", "amount": 100});
    assert_eq!(booked(&client.done(&deposit).await), ("deposit", 100, 150, false));
    assert_eq!(booked(&client.done(&deposit).await), ("deposit", 100, 150, true));
    let bobs = json!({"command": "Deposit", "person": "bob", "reference": "0xab", "amount": 100});
    assert_eq!(refused(client.post("/v1/commands", &bobs).await), (409, "conflict".into()));

    let claim = json!({"command": "ClaimReward", "as": "ada"});
    let reward = client.done(&claim).await;
    assert_eq!((booked(&reward), &reward["bonus"]), (("reward", 5, 155, false), &json!(0)));
    assert_eq!(booked(&client.done(&claim).await), ("reward", 5, 155, true));
    // A request that is sent again under its key moves them once.
    let withdraw = json!({"command": "Withdraw", "as": "ada", "amount": 55, "idempotencyKey": "payout-7"});
    for _ in 0..2 {
        assert_eq!(booked(&client.done(&withdraw).await), ("withdrawal", -55, 100, false));
    }
    let grant = json!({"command": "Grant", "person": "ada", "amount": 1, "key": "birthday"});
    assert_eq!(booked(&client.done(&grant).await), ("grant", 1, 101, false));
    let post = json!({"command": "PostMessage", "as": "ada", "agent": "luna", "text": "hola", "price": 2});
    assert_eq!(client.done(&post).await["outcome"], "posted");

    let balance = client.done(&json!({"command": "ReadBalance", "as": "ada"})).await;
    assert_eq!(balance, json!({"outcome": "balance", "balance": 99, "position": 6}));
    let ledger = client.done(&json!({"command": "ReadLedger", "as": "ada", "after": 1})).await;
    let entries = ledger["entries"].as_array().expect("there are some");
    let reasons: Vec<_> = entries.iter().map(|entry| entry["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["deposit", "reward", "withdrawal", "grant", "chat"]);
    assert_eq!((&entries[0]["key"], &entries[0]["person"]), (&json!("0xab"), &json!("ada")));
    server.stop().await;
}

#[tokio::test]
async fn what_cannot_be_paid_or_is_not_allowed_moves_nothing() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    let table = [
        (json!({"command": "Withdraw", "as": "ada", "amount": 1}), 402, "insufficient"),
        (
            json!({"command": "PostMessage", "as": "ada", "agent": "luna", "text": "a", "price": 1}),
            402,
            "insufficient",
        ),
        (json!({"command": "Withdraw", "as": "ada", "amount": 0}), 400, "invalid"),
        (json!({"command": "Withdraw", "as": "ada", "amount": -1}), 400, "invalid"),
        (json!({"command": "Withdraw", "as": "ada", "amount": 1.5}), 400, "invalid"),
        (json!({"command": "Withdraw", "as": "ada", "amount": "1"}), 400, "invalid"),
        (json!({"command": "Withdraw", "amount": 1}), 400, "invalid"),
        (json!({"command": "Grant", "person": "ada", "amount": u64::MAX}), 400, "invalid"),
        (json!({"command": "Grant", "person": "nobody", "amount": 1}), 404, "not_found"),
        (json!({"command": "Deposit", "person": "ada", "reference": "a b", "amount": 1}), 400, "invalid"),
        // As a person there is no word to trust, and nobody here looks payments up.
        (json!({"command": "Grant", "as": "ada", "person": "ada", "amount": 1}), 403, "forbidden"),
        (
            json!({"command": "Deposit", "as": "ada", "person": "ada", "reference": "0xab", "amount": 1}),
            403,
            "forbidden",
        ),
    ];
    for (command, status, code) in table {
        let answer = client.post("/v1/commands", &command).await;
        assert_eq!(refused(answer), (status, code.into()), "{command}");
    }
    let (_, short) =
        client.post("/v1/commands", &json!({"command": "Withdraw", "as": "ada", "amount": 1})).await;
    assert_eq!(short["balance"], 0, "{short}");
    let ledger = client.done(&json!({"command": "ReadLedger", "as": "ada"})).await;
    assert_eq!(ledger, json!({"outcome": "ledger", "entries": []}));
    server.stop().await;
}

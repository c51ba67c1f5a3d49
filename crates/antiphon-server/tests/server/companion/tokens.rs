//! Paying in, taking out, and the daily reward.

use serde_json::json;

use super::app::{ADA, App, BOB, heard, joined, refused, remembered, served};

#[tokio::test]
async fn whatever_moves_tokens_is_answered_and_told_to_every_device_first() {
    let (server, _) = served(|_| {}).await;
    let mut app = App::logged_in(&server, ADA).await;
    let (mut phone, mut tablet) = (joined(&server, ADA).await, joined(&server, &ADA.to_lowercase()).await);
    App::logged_in(&server, BOB).await;
    let mut other = joined(&server, BOB).await;
    assert_eq!(app.get("/token/balance").await, (200, json!({"success": true, "balance": 50})));

    let paid = app.pay("0xABCD", 1.5).await;
    assert_eq!(paid, (200, json!({"success": true, "message": "Deposit successful", "balance": 200})));
    let told = [
        r#"balance:update {"balance":200}"#,
        r#"notification {"message":"You received 150 tokens!","title":"Deposit Successful","type":"success"}"#,
    ];
    assert_eq!(heard(&mut phone).await, told);

    let taken = app.post("/token/withdraw", &json!({"amount": 20})).await;
    assert_eq!(taken, (200, json!({"success": true, "message": "Withdrawal initiated", "balance": 180})));
    assert_eq!(heard(&mut phone).await, [r#"balance:update {"balance":180}"#]);

    let claimed = app.text("POST", "/token/daily-reward", None).await;
    let reward = json!({
        "success": true, "message": "🎁 Daily reward claimed! +5 tokens", "reward": 5, "streak_bonus": 0, "balance": 185,
    });
    assert_eq!(claimed, (200, reward));
    let told = [
        r#"balance:update {"balance":185}"#,
        r#"notification {"message":"You received 5 tokens!","title":"Daily Reward","type":"success"}"#,
    ];
    assert_eq!(heard(&mut phone).await, told);
    let again = app.text("POST", "/token/daily-reward", Some("{}")).await;
    assert_eq!(again, (200, json!({"success": false, "message": "Daily reward already claimed today"})));
    assert_eq!(heard(&mut phone).await, [""; 0]);

    assert_eq!(app.balance().await, 185);
    assert_eq!(heard(&mut tablet).await.len(), 5, "every device hears the same");
    assert_eq!(heard(&mut other).await, [""; 0], "and nobody else");
    server.stop().await;
}

#[tokio::test]
async fn a_payment_counts_once_whoever_reports_it() {
    let (server, store) = served(|_| {}).await;
    let (mut ada, mut bob) = (App::logged_in(&server, ADA).await, App::logged_in(&server, BOB).await);
    assert_eq!(ada.pay("0xAB", 1.0).await.0, 200);
    let before = remembered(&store).await;
    let processed = (400, "Transaction already processed".to_owned());
    for (hash, coins) in [("0xAB", 1.0), ("0xab", 1.0), ("0xab", 2.0)] {
        assert_eq!(refused(ada.pay(hash, coins).await), processed);
        assert_eq!(refused(bob.pay(hash, coins).await), processed);
    }
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

#[tokio::test]
async fn a_persons_own_word_is_looked_up_where_somebody_looks_and_worth_nothing_elsewhere() {
    let (server, store) = served(|_| {}).await;
    let mut app = App::logged_in(&server, ADA).await;
    let before = remembered(&store).await;
    let (status, answer) = app.post("/token/deposit", &json!({"tx_hash": "0x01", "amount": 1})).await;
    assert_eq!(status, 403, "{answer}");
    assert_eq!(remembered(&store).await, before);
    server.stop().await;
}

#[tokio::test]
async fn t8_a_person_does_not_have_the_chain_asked_all_the_time() {
    let (server, _) = served(|_| {}).await;
    let (mut ada, mut bob) = (App::logged_in(&server, ADA).await, App::logged_in(&server, BOB).await);
    let report = json!({"tx_hash": "0x01", "amount": 1});
    for _ in 0..20 {
        assert_eq!(ada.post("/token/deposit", &report).await.0, 403);
    }
    assert_eq!(ada.post("/token/deposit", &report).await.0, 429);
    assert_eq!(bob.post("/token/deposit", &report).await.0, 403, "others may");
    assert_eq!(ada.pay("0x01", 1.0).await.0, 200, "and so may a backend");
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_amount_and_what_is_too_much_moves_nothing() {
    let (server, store) = served(|_| {}).await;
    let mut app = App::logged_in(&server, ADA).await;
    let mut phone = joined(&server, ADA).await;
    let before = remembered(&store).await;
    let nothing = [
        "0", "-1", "-0.5", "0.0", "1e999", "null", "true", "[]", "{}", r#""""#, r#""ten""#, r#""-1""#,
        r#""NaN""#,
    ];
    app.bearer = Some(super::app::KEY.into());
    for amount in
        nothing.into_iter().chain(["0.001", "0.005", "1e300", "90071992547410", "18446744073709551615"])
    {
        let body = format!(r#"{{"tx_hash": "0x02", "amount": {amount}}}"#);
        let (status, answer) = app.text("POST", "/token/deposit", Some(&body)).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    let long = format!(r#"{{"tx_hash": "{}", "amount": 1}}"#, "0".repeat(129));
    for body in [
        "",
        "{",
        "[]",
        "{}",
        r#"{"amount": 1}"#,
        r#"{"tx_hash": "0x02"}"#,
        r#"{"tx_hash": "", "amount": 1}"#,
        r#"{"tx_hash": "a b", "amount": 1}"#,
        r#"{"tx_hash": 7, "amount": 1}"#,
        r#"{"tx_hash": "0x02", "amount": 1, "amount": 2}"#,
        &long,
    ] {
        assert_eq!(app.text("POST", "/token/deposit", Some(body)).await.0, 400, "{body}");
    }
    app.bearer = None;
    for amount in nothing.into_iter().chain(["0.5", "1.5", "9007199254740992", "18446744073709551616"]) {
        let body = format!(r#"{{"amount": {amount}}}"#);
        let (status, answer) = app.text("POST", "/token/withdraw", Some(&body)).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    for amount in ["51", "9007199254740991"] {
        let body = format!(r#"{{"amount": {amount}}}"#);
        let found = app.text("POST", "/token/withdraw", Some(&body)).await;
        assert_eq!(refused(found), (400, "Insufficient balance".into()), "{body}");
    }
    for body in ["", "{", "[]", "{}", r#"[50]"#] {
        assert_eq!(app.text("POST", "/token/withdraw", Some(body)).await.0, 400, "{body}");
    }
    assert_eq!(remembered(&store).await, before);
    assert_eq!(heard(&mut phone).await, [""; 0]);
    assert_eq!(app.post("/token/withdraw", &json!({"amount": "50"})).await.1["balance"], 0);
    server.stop().await;
}

#[tokio::test]
async fn of_many_rewards_and_withdrawals_at_once_each_rule_holds() {
    let (server, _) = served(|_| {}).await;
    App::logged_in(&server, ADA).await;
    let mut apps = Vec::new();
    for _ in 0..20 {
        apps.push(App::of(&server, ADA).await);
    }
    let turns = apps.iter_mut().enumerate().map(|(turn, app)| async move {
        match turn % 2 {
            0 => app.text("POST", "/token/daily-reward", None).await.1["success"] == true,
            _ => app.post("/token/withdraw", &json!({"amount": 10})).await.0 == 200,
        }
    });
    let done = futures_util::future::join_all(turns).await;
    let rewards = done.iter().step_by(2).filter(|done| **done).count();
    let withdrawals = done.iter().skip(1).step_by(2).filter(|done| **done).count();
    assert_eq!((rewards, withdrawals), (1, 5));
    assert_eq!(apps[0].balance().await, 5);
    server.stop().await;
}

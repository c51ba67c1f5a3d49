//! Webhooks: how the endpoints do, what did not reach them, and trying again.

use antiphon_core::command::Command;
use antiphon_core::memory::SystemClock;
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::ports::Clock as _;
use antiphon_core::webhooks::{About, Announcement, Announcements as _, Deliveries as _};
use serde_json::{Value, json};

use super::{Client, refused, served};
use crate::support::http::{Http, Request};
use crate::support::people::person;
use crate::support::receiver::Receiver;
use crate::support::server::Server;
use crate::support::soon;
use crate::webhooks::tell;

async fn notify(server: &Server, title: &str) {
    let notice =
        Notice { kind: NoticeKind::Info, title: title.into(), message: "There.".into(), action: None };
    server.order(Command::SendNotice { person: person("ada"), notice }).await;
}

/// What is answered at `path`, once there are so many in its `list`.
async fn listed(client: &mut Client, path: &str, list: &str, count: usize) -> Value {
    soon("something to be listed", async {
        loop {
            let (status, answer) = client.get(path).await;
            assert_eq!(status, 200, "{answer}");
            if answer[list].as_array().is_some_and(|found| found.len() == count) {
                return answer;
            }
        }
    })
    .await
}

#[tokio::test]
async fn where_no_webhook_is_configured_there_is_none() {
    let (server, _) = served(|_| {}).await;
    let mut client = Client::shop(&server).await;
    for (method, path) in [
        ("GET", "/v1/webhooks"),
        ("GET", "/v1/webhooks/dead"),
        ("POST", "/v1/webhooks/dead/1/retry"),
        ("POST", "/v1/webhooks/wh_0000000000000000/enable"),
    ] {
        let (status, answer) = client.ask(method, path, None).await;
        assert_eq!((status, &answer["code"]), (404, &json!("not_found")), "{method} {path}");
        assert_eq!(answer["detail"], "This server has no webhooks: none is configured.");
        let response = Http::open(&server.door()).await.ask(&Request::new(method, path)).await;
        assert_eq!(response.status, 401, "{method} {path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn what_was_given_up_is_listed_a_page_at_a_time_and_tried_again_once() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[500, 500, 500]);
    let (server, _) = served(|config| {
        tell(config, &receiver, &["notice.sent"]);
        config.webhooks.retries.clear();
    })
    .await;
    let mut client = Client::shop(&server).await;
    for title in ["one", "two", "three"] {
        notify(&server, title).await;
        assert_eq!(receiver.next().await.answered, 500);
    }
    let dead = listed(&mut client, "/v1/webhooks/dead", "dead", 3).await;
    assert_eq!(dead["next"], Value::Null);
    let first = &dead["dead"][0];
    let webhook = first["webhook"].as_str().expect("it was for somebody").to_owned();
    assert_eq!((&first["event"], &first["person"]), (&json!("notice.sent"), &json!("ada")));
    assert_eq!((&first["sequence"], &first["attempts"]), (&json!(1), &json!(1)));
    assert_eq!(first["why"], "the endpoint answered 500 Internal Server Error");
    assert!(
        first["body"].as_str().is_some_and(|body| body.contains("one") && body.ends_with("\"sequence\":1}"))
    );
    for moment in ["at", "diedAt"] {
        assert!(first[moment].as_str().is_some_and(|text| text.ends_with('Z')), "{first}");
    }

    let (_, page) = client.get("/v1/webhooks/dead?limit=2").await;
    assert_eq!((&page["dead"][1], &page["next"]), (&dead["dead"][1], &dead["dead"][1]["id"]));
    let (_, page) = client.get(&format!("/v1/webhooks/dead?limit=2&after={}", page["next"])).await;
    assert_eq!((&page["dead"], &page["next"]), (&json!([dead["dead"][2]]), &Value::Null));
    for wrong in ["limit=0", "limit=1001", "after=-1", "after=x", "before=1"] {
        let answer = client.get(&format!("/v1/webhooks/dead?{wrong}")).await;
        assert_eq!(refused(answer), (400, "invalid".into()), "{wrong}");
    }

    let (_, state) = client.get("/v1/webhooks").await;
    let expected = json!({
        "id": webhook, "url": receiver.url().trim_end_matches("/hook"), "disabled": false, "pending": 0,
        "dead": 3, "delivered": 0, "failed": 0, "died": 3,
    });
    assert_eq!(state, json!({"webhooks": [expected], "missed": 0}));

    let retry = format!("/v1/webhooks/dead/{}/retry", first["id"]);
    assert_eq!(client.ask("POST", &retry, None).await, (204, Value::Null));
    let again = receiver.taken().await;
    assert_eq!((json!(again.text), json!(again.id)), (first["body"].clone(), first["message"].clone()));
    listed(&mut client, "/v1/webhooks/dead", "dead", 2).await;
    assert_eq!(refused(client.ask("POST", &retry, None).await), (404, "not_found".into()));
    for (id, status, code) in [("0", 404, "not_found"), ("99", 404, "not_found"), ("x", 400, "invalid")] {
        let answer = client.ask("POST", &format!("/v1/webhooks/dead/{id}/retry"), None).await;
        assert_eq!(refused(answer), (status, code.into()), "{id}");
    }
    server.stop().await;
    assert_eq!(receiver.rest(), []);
}

#[tokio::test]
async fn one_that_is_gone_is_enabled_before_its_dead_letters_are_tried_again() {
    let mut receiver = Receiver::start().await;
    receiver.answer(&[410]);
    let (server, _) = served(|config| tell(config, &receiver, &["notice.sent"])).await;
    let mut client = Client::shop(&server).await;
    notify(&server, "one").await;
    assert_eq!(receiver.next().await.answered, 410);
    let dead = listed(&mut client, "/v1/webhooks/dead", "dead", 1).await;
    let (_, state) = client.get("/v1/webhooks").await;
    assert_eq!(state["webhooks"][0]["disabled"], true);

    let retry = format!("/v1/webhooks/dead/{}/retry", dead["dead"][0]["id"]);
    assert_eq!(refused(client.ask("POST", &retry, None).await), (409, "conflict".into()));
    let id = state["webhooks"][0]["id"].as_str().expect("it has a name");
    let enable = |id: &str| format!("/v1/webhooks/{id}/enable");
    assert_eq!(refused(client.ask("POST", &enable("wh_0"), None).await), (404, "not_found".into()));
    // Once more changes nothing.
    for _ in 0..2 {
        assert_eq!(client.ask("POST", &enable(id), None).await, (204, Value::Null));
    }
    let (_, state) = client.get("/v1/webhooks").await;
    assert_eq!(state["webhooks"][0]["disabled"], false);
    assert_eq!(client.ask("POST", &retry, None).await, (204, Value::Null));
    assert_eq!(receiver.taken().await.sequence(), 1);
    server.stop().await;
}

#[tokio::test]
async fn letters_for_one_that_is_not_configured_any_more_stay_dead() {
    let receiver = Receiver::start().await;
    let (server, store) = served(|config| tell(config, &receiver, &["notice.sent"])).await;
    let now = SystemClock.now();
    let announcement = Announcement {
        id: "msg_4711".into(),
        kind: "notice.sent",
        person: None,
        at: now,
        payload: "{\"a\":1".into(),
        endpoints: vec!["wh_gone".into()],
        about: About::Nothing,
    };
    store.announce(&[announcement]).await.expect("it is stored");
    store.disable("wh_gone", "gone", now).await.expect("it is stored");
    let mut client = Client::shop(&server).await;
    let dead = listed(&mut client, "/v1/webhooks/dead", "dead", 1).await;
    assert_eq!(
        (&dead["dead"][0]["body"], &dead["dead"][0]["person"]),
        (&json!(r#"{"a":1,"sequence":1}"#), &Value::Null)
    );
    let retry = format!("/v1/webhooks/dead/{}/retry", dead["dead"][0]["id"]);
    assert_eq!(refused(client.ask("POST", &retry, None).await), (409, "conflict".into()));
    listed(&mut client, "/v1/webhooks/dead", "dead", 1).await;
    server.stop().await;
}

//! An agent's process is killed: it counts as gone within the timeout, its task is done by another one, and a dashboard sees each
//! step once and in order.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ask, served};
use crate::support::client::Client;
use crate::support::door::Door;
use crate::support::engine::Transport;
use crate::support::http::{Http, Request};

/// How long an agent may be silent here, in milliseconds.
const TIMEOUT: u64 = 1_000;

/// Names the server to the process of the agent.
const SERVER: &str = "ANTIPHON_DRILL_SERVER";

/// A process that is killed with the test.
struct Agent(Child);

impl Agent {
    /// Starts Luna in a process of her own: this very program, told to run one function.
    fn start(server: SocketAddr) -> Self {
        let program = std::env::current_exe().expect("a test is a program");
        let function = "mission::drill::an_agent_that_works_until_it_is_killed";
        let mut command = Command::new(program);
        command.args(["--exact", function, "--ignored", "--nocapture"]).env(SERVER, server.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("the process starts"))
    }

    /// Kills it, as `kill -9` does.
    fn kill(mut self) {
        self.0.kill().expect("it lives until now");
        self.0.wait().expect("it can be waited for");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // After `kill` there is nothing left to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the process of an agent does: it takes a task if there is one, begins with it, and says that it lives, for ever.
#[tokio::test]
#[ignore = "it is a process that the drill starts"]
async fn an_agent_that_works_until_it_is_killed() {
    let Ok(server) = std::env::var(SERVER) else { return };
    let address = server.parse().expect("an address");
    let door = Door { address, path: "/ws".into(), tls: None, receive_buffer: None };
    let mut http = Http::open(&door).await;
    let mut post = async |path: &str, body: Value| {
        let request = Request::post(&format!("/api/v1{path}"), body.to_string())
            .header("Content-Type", "application/json")
            .bearer("ada-key");
        let response = http.ask(&request).await;
        assert_eq!(response.status, 200, "{}", response.text());
        serde_json::from_str::<Value>(response.text()).expect("JSON")
    };
    post("/agents/luna/heartbeat", json!({"metadata": {"process": std::process::id()}})).await;
    let task = post("/tasks/claim", json!({"agent_id": "luna"})).await;
    if let Some(id) = task["id"].as_str() {
        post(&format!("/tasks/{id}/start"), json!({"agent_id": "luna"})).await;
    }
    let mut beat = tokio::time::interval(Duration::from_millis(TIMEOUT / 10));
    loop {
        beat.tick().await;
        post("/agents/luna/heartbeat", json!({})).await;
    }
}

#[tokio::test]
async fn a_killed_agent_is_gone_within_the_timeout_and_its_task_is_done_by_another() {
    let (server, _) = served(|config| config.agents.heartbeat = TIMEOUT).await;
    let mut dashboard = Client::connect(&server.door(), Transport::Websocket, r#"{"token":"eve-key"}"#).await;
    let mut watcher = Client::connect(&server.door(), Transport::Websocket, r#"{"token":"eve-key"}"#).await;
    watcher.emit("unsubscribe", r#"{"room":"dashboard"}"#).await;
    watcher.emit("subscribe", r#"{"room":"agent:luna"}"#).await;
    let ada = Some("ada-key");
    let (status, task) = ask(&server, ada, "POST", "/tasks", r#"{"title":"Summarise the week"}"#).await;
    assert_eq!(status, 201);
    let id = task["id"].clone();
    let told = |title: &str| json!({"title": "Summarise the week", "priority": "medium", "status": title});

    let agent = Agent::start(server.address);
    let (name, created) = dashboard.event().await;
    assert_eq!(
        (name.as_str(), &created["task_id"], &created["task"]),
        ("task:created", &id, &told("pending"))
    );
    let (name, assigned) = dashboard.event().await;
    assert_eq!((name.as_str(), &assigned["agent_id"]), ("task:assigned", &json!("luna")));
    let (name, started) = dashboard.event().await;
    assert_eq!((name.as_str(), &started["update"]["status"]), ("task:updated", &json!("running")));
    // It lives for longer than silence would be borne.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2 * TIMEOUT) {
        assert_eq!(watcher.event_named("agent:heartbeat").await["agent_id"], json!("luna"));
    }
    assert_eq!(dashboard.events(), [], "nothing is wrong so far");

    agent.kill();
    let killed = Instant::now();
    let (name, gone) = dashboard.event().await;
    let within = killed.elapsed();
    assert_eq!(
        (name.as_str(), &gone["old_status"], &gone["new_status"], &gone["metadata"]),
        (
            "agent:status_changed",
            &json!("ready"),
            &json!("offline"),
            &json!({"reason": "heartbeat_timeout", "triggered_by": "system"})
        )
    );
    // The timeout, and the third of it after which the server looks again; the rest is for a busy machine.
    assert!(within < Duration::from_millis(5 * TIMEOUT), "{within:?}");
    let (name, returned) = dashboard.event().await;
    let update = json!({"status": "pending", "previous_agent_id": "luna", "reclaim_count": 1});
    assert_eq!((name.as_str(), &returned["task_id"], &returned["update"]), ("task:updated", &id, &update));

    let (status, claimed) = ask(&server, ada, "POST", "/tasks/claim", r#"{"agent_id":"mia"}"#).await;
    assert_eq!((status, &claimed["id"], &claimed["reclaim_count"]), (200, &id, &json!(1)));
    let (name, assigned) = dashboard.event().await;
    assert_eq!(
        (name.as_str(), &assigned["agent_id"], &assigned["task"]),
        ("task:assigned", &json!("mia"), &told("assigned"))
    );
    for (step, body) in
        [("start", json!({"agent_id": "mia"})), ("complete", json!({"agent_id": "mia", "result": 7}))]
    {
        let path = format!("/tasks/{}/{step}", id.as_str().expect("an id"));
        assert_eq!(ask(&server, ada, "POST", &path, &body.to_string()).await.0, 200, "{step}");
    }
    assert_eq!(dashboard.event().await.1["update"]["status"], json!("running"));
    let (name, done) = dashboard.event().await;
    assert_eq!((name.as_str(), &done["task_id"], &done["result"]), ("task:completed", &id, &json!(7)));

    // Whoever was gone comes back by being heard again. Mia falls silent in the meantime, as she may.
    let again = Agent::start(server.address);
    let back = loop {
        let (_, said) = dashboard.event().await;
        if said["agent_id"] == json!("luna") {
            break said;
        }
        assert_eq!(said["agent_id"], json!("mia"), "{said}");
    };
    assert_eq!(
        (&back["old_status"], &back["new_status"], &back["metadata"]["reason"]),
        (&json!("offline"), &json!("ready"), &json!("heartbeat_recovery"))
    );
    again.kill();
    server.stop().await;
}

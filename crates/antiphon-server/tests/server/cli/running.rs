//! Commands that ask a server that runs, over its HTTP API.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::Value;

use super::{Operator, Process};

/// A listener on a free port that also serves the HTTP API; data in `data`.
const FILE: &str = "[[listener]]\naddress = \"127.0.0.1:0\"\napi = true\n[[listener.mount]]\npath = \"/a\"\ndialects = [\"chat\"]\n";

/// A server that runs, with Ada in it, and an operator who has its service key.
fn running() -> (Operator, Process) {
    let operator = Operator::new();
    operator.write("antiphon.toml", FILE);
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let key = operator.ask(&["service-key", "create", "operator", "--data", "data"]);
    let server = operator.serve(&[]);
    let url = format!("http://{}", server.address);
    (operator.with("ANTIPHON_URL", &url).with("ANTIPHON_SERVICE_KEY", key.trim_end()), server)
}

#[test]
fn people_and_keys_are_kept_as_in_a_stopped_server() {
    let (operator, _server) = running();
    assert_eq!(
        operator.ask(&["user", "add", "bob", "--plan", "pro", "--role", "viewer"]),
        "bob has the plan pro\n"
    );
    let listed = operator.ask(&["user", "list"]);
    assert!(listed.lines().count() == 3 && listed.contains("bob  pro   viewer"), "{listed}");
    let done = operator.run_with(&["user", "password", "bob"], "a long sentence\n");
    assert_eq!((done.status, &*done.stdout), (0, "bob has a new password\n"), "{}", done.stderr);

    let key = operator.ask(&["key", "create", "bob", "--dialect", "chat", "--expires-in", "1h"]);
    let id = &key[..12];
    let listed = operator.ask(&["key", "list", "--person", "bob"]);
    assert!(listed.contains(id) && listed.contains("good until"), "{listed}");
    assert!(operator.ask(&["service-key", "list"]).contains("operator"));
    assert_eq!(operator.ask(&["key", "revoke", id]), format!("{id} is revoked\n"));
    assert!(operator.ask(&["key", "list", "--person", "bob"]).contains("revoked"));
}

#[test]
fn what_the_server_refuses_is_told_in_its_words() {
    let (operator, _server) = running();
    assert!(
        operator.fail(&["key", "create", "nobody"]).contains("the server refused: There is no such person.")
    );
    assert!(operator.fail(&["key", "revoke", "cda_00000000"]).contains("There is no such key."));
    assert!(operator.fail(&["publish", "planet:earth", "tick", "1"]).contains("The kinds of topics are"));
    assert!(operator.fail(&["publish", "everyone", "tick", "no json"]).contains("the value is not JSON"));
    let operator = operator.with("ANTIPHON_SERVICE_KEY", "svc_wrong");
    assert!(
        operator.fail(&["user", "list"]).contains("Is ANTIPHON_SERVICE_KEY a service key of this server?")
    );
}

#[test]
fn a_server_that_is_gone_is_told_with_what_to_do() {
    let (operator, server) = running();
    drop(server);
    let said = operator.fail(&["user", "list"]);
    assert!(said.contains("no answer from http://127.0.0.1:") && said.contains("use --data DIR"), "{said}");
}

#[test]
fn a_tail_shows_what_is_published_while_it_runs() {
    let (operator, _server) = running();
    let mut tail = operator.command(&["tail", "--topic", "named:prices"]);
    let mut tail = tail.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(tail.stderr.take().unwrap()).lines();
    assert!(said.next().unwrap().unwrap().starts_with("watching"));
    operator.ask(&["publish", "named:others", "tick", "1"]);
    assert_eq!(operator.ask(&["publish", "named:prices", "tick", "{\"coins\":[1,2]}"]), "0 received it\n");
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    assert!(line.ends_with("named:prices  Signal  name=tick value={\"coins\":[1,2]}"), "{line}");
    tail.kill().unwrap();
    tail.wait().unwrap();
}

#[test]
fn a_notice_reaches_those_who_are_there_and_the_command_says_how_many() {
    let (operator, _server) = running();
    assert_eq!(operator.ask(&["notice", "ada", "Hello", "Nobody is here."]), "0 received it\n");
    assert!(operator.fail(&["notice", "nobody", "Hello", "x"]).contains("There is no such person."));
    let json: Vec<Value> = operator
        .ask(&["user", "list", "--json"])
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json[0]["id"], "ada");
}

#[test]
fn what_agents_say_by_themselves_is_listed_and_said_at_once() {
    let operator = Operator::new();
    operator.write("antiphon.toml", &format!("{FILE}\n[proactive]\nenabled = true\n"));
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let key = operator.ask(&["service-key", "create", "operator", "--data", "data"]);
    let server = operator.serve(&[]);
    let url = format!("http://{}", server.address);
    let operator = operator.with("ANTIPHON_URL", &url).with("ANTIPHON_SERVICE_KEY", key.trim_end());

    let heading = "PERSON  KIND  AT  DATE  ZONE  AGENT\n";
    assert_eq!(operator.ask(&["jobs", "list"]), heading, "nobody talks with anybody");
    let listed = operator.ask(&["jobs", "list", "--person", "ada"]);
    let rows: Vec<Vec<_>> = listed.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.iter().map(|row| row[1]).collect::<Vec<_>>(), ["morning", "lunch", "night"]);
    assert!(rows.iter().all(|row| row[4..] == ["Asia/Jakarta", "-"]), "{listed}");
    assert_eq!(operator.ask(&["jobs", "list", "--past"]).lines().count(), 1);
    assert_eq!(operator.ask(&["jobs", "run"]), "");
    let run = operator.ask(&["jobs", "run", "--person", "ada", "--kind", "morning", "--now"]);
    assert!(
        run.starts_with("PERSON  KIND") && run.contains("ada     morning") && run.contains("nobody"),
        "{run}"
    );
    assert!(operator.fail(&["jobs", "run", "--person", "bob"]).contains("There is no such person."));
    assert!(operator.fail(&["jobs", "run", "--kind", "brunch"]).contains("has this kind"));
    assert_eq!(operator.run(&["jobs", "run", "--now"]).status, 2, "it does not say which kind");
}

#[test]
fn what_did_not_reach_a_webhook_is_listed_and_tried_again() {
    let operator = Operator::new();
    // Nobody listens there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let secret = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let told = format!(
        "{FILE}\n[outbound]\nallow = [\"127.0.0.0/8\"]\n[webhooks]\nretries = []\n\
         [[webhook]]\nurl = \"http://{nobody}/hidden\"\nsecret = \"{secret}\"\nevents = [\"notice.sent\"]\n"
    );
    operator.write("antiphon.toml", &told);
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let key = operator.ask(&["service-key", "create", "operator", "--data", "data"]);
    let server = operator.serve(&[]);
    let url = format!("http://{}", server.address);
    let operator = operator.with("ANTIPHON_URL", &url).with("ANTIPHON_SERVICE_KEY", key.trim_end());

    let webhooks = operator.ask(&["webhook", "list"]);
    let (heading, row) = webhooks.split_once('\n').expect("a heading and a row");
    assert!(heading.starts_with("ID ") && heading.ends_with("FAILED"), "{heading}");
    assert!(row.contains(&format!("http://{nobody}  told")) && !row.contains("hidden"), "{row}");
    assert_eq!(operator.ask(&["webhook", "dead", "--json"]), "");
    operator.ask(&["notice", "ada", "Hello", "Are you there?"]);
    let dead = loop {
        let dead = operator.ask(&["webhook", "dead", "--json"]);
        if !dead.is_empty() {
            break serde_json::from_str::<Value>(&dead).unwrap();
        }
    };
    let (id, webhook) = (dead["id"].to_string(), dead["webhook"].as_str().unwrap());
    assert!(dead["body"].as_str().unwrap().contains("Are you there?"));
    let listed = operator.ask(&["webhook", "dead", "--webhook", webhook]);
    assert!(listed.contains("notice.sent  ada") && !listed.contains("Are you there?"), "{listed}");
    assert_eq!(operator.ask(&["webhook", "dead", "--webhook", "wh_0", "--json"]), "");
    assert_eq!(operator.ask(&["webhook", "retry", &id]), format!("{id} is on its way again\n"));
    assert!(operator.fail(&["webhook", "retry", "99"]).contains("There is no such dead letter."));
    assert_eq!(operator.ask(&["webhook", "enable", webhook]), format!("{webhook} is told again\n"));
    assert!(operator.fail(&["webhook", "enable", "wh_0"]).contains("There is no such webhook."));
}

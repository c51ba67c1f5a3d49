//! Commands on the data directory of a stopped server, and on one in use.

use serde_json::Value;

use super::Operator;

/// A listener on a free port; data in `data`.
const FILE: &str =
    "[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.mount]]\npath = \"/a\"\ndialects = [\"chat\"]\n";

fn ids(lines: &str) -> Vec<String> {
    let id = |line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    lines.lines().map(id).collect()
}

#[test]
fn people_are_added_changed_and_listed() {
    let operator = Operator::new();
    operator.ask(&["user", "add", "bob", "--data", "data"]);
    operator.ask(&["user", "add", "ada", "--role", "viewer", "--data", "data"]);
    let said = operator.ask(&["user", "add", "ada", "--plan", "pro", "--data", "data"]);
    assert_eq!(said, "ada has the plan pro\n");
    let listed = operator.ask(&["user", "list", "--json", "--data", "data"]);
    assert_eq!(ids(&listed), ["ada", "bob"]);
    let ada: Value = serde_json::from_str(listed.lines().next().unwrap()).unwrap();
    assert_eq!((&ada["plan"], &ada["roles"]), (&"pro".into(), &serde_json::json!(["viewer"])));
    assert!(
        operator.fail(&["user", "add", "eve", "--plan", "no", "--data", "data"]).contains("no plan \"no\"")
    );
}

#[test]
fn a_key_is_printed_alone_and_once_and_can_be_revoked() {
    let operator = Operator::new();
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let key = operator.ask(&["key", "create", "ada", "--data", "data"]);
    let key = key.trim_end();
    assert!(key.starts_with("cda_") && key.len() == 68, "the key and nothing else");
    let service = operator.ask(&["service-key", "create", "shop", "--expires-in", "90d", "--data", "data"]);
    assert!(service.starts_with("svc_"), "the key of a service");

    let listed = operator.ask(&["key", "list", "--data", "data"]);
    assert!(listed.contains("ada") && listed.contains(" good") && !listed.contains(key), "names, no secrets");
    assert!(!listed.contains("shop"), "{listed}");
    assert!(operator.ask(&["service-key", "list", "--data", "data"]).contains("good until"));

    let token = operator.ask(&["operator-token", "create", "--data", "data"]);
    assert!(token.starts_with("opr_") && token.trim().len() == 4 + 64, "256 bits");
    let listed = operator.ask(&["operator-token", "list", "--data", "data"]);
    assert!(listed.contains(&token[..12]) && !listed.contains("svc_"), "{listed}");
    assert!(!operator.ask(&["service-key", "list", "--data", "data"]).contains("opr_"));
    operator.ask(&["operator-token", "revoke", &token[..12], "--data", "data"]);
    assert!(operator.ask(&["operator-token", "list", "--data", "data"]).contains("revoked"));

    let id = &key[..12];
    assert_eq!(operator.ask(&["key", "revoke", id, "--data", "data"]), format!("{id} is revoked\n"));
    assert!(operator.ask(&["key", "list", "--person", "ada", "--data", "data"]).contains("revoked"));
    assert!(operator.fail(&["key", "revoke", "cda_00000000", "--data", "data"]).contains("there is no key"));
    assert!(operator.fail(&["key", "create", "nobody", "--data", "data"]).contains("no such person"));
}

#[test]
fn a_password_comes_from_standard_input_or_a_file() {
    let operator = Operator::new();
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let done = operator.run_with(&["user", "password", "ada", "--data", "data"], "a long sentence\n");
    assert_eq!((done.status, &*done.stdout), (0, "ada has a new password\n"), "{}", done.stderr);
    operator.write("password", "another sentence\n");
    operator.ask(&["user", "password", "ada", "--password-file", "password", "--data", "data"]);
    assert!(
        operator
            .fail(&["user", "password", "ada", "--data", "data"])
            .contains("no password on standard input")
    );
    let done = operator.run_with(&["user", "password", "ada", "--data", "data"], "short\n");
    assert!(done.status == 1 && !done.stderr.contains("short\n"), "{}", done.stderr);
}

#[test]
fn a_directory_that_nobody_has_used_is_not_taken_for_one_without_people() {
    let operator = Operator::new();
    for command in ["user", "key", "service-key"] {
        let said = operator.fail(&[command, "list", "--data", "dtaa"]);
        assert!(said.contains("there is no database dtaa/antiphon.db"), "{said}");
    }
    assert!(!operator.path().join("dtaa").exists(), "a spelling mistake leaves nothing behind");
    assert!(operator.fail(&["user", "list"]).contains("--data DIR if it is stopped, --url URL"));
}

#[test]
fn data_in_use_is_left_alone_and_the_way_to_the_server_is_named() {
    let operator = Operator::new();
    operator.write("antiphon.toml", FILE);
    let _server = operator.serve(&[]);
    let said = operator.fail(&["user", "add", "ada", "--data", "data"]);
    assert!(said.contains("is in use by another Antiphon") && said.contains("--url URL"), "{said}");
}

#[test]
fn a_backup_of_a_server_that_runs_is_a_data_directory_for_another() {
    let operator = Operator::new();
    operator.write("antiphon.toml", FILE);
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    std::fs::create_dir(operator.path().join("copy")).unwrap();
    {
        let _server = operator.serve(&[]);
        let said = operator.ask(&["backup", "--data", "data", "copy"]);
        assert!(said.starts_with("copy/antiphon.db holds a copy of "), "{said}");
    }
    assert_eq!(ids(&operator.ask(&["user", "list", "--json", "--data", "copy"])), ["ada"]);
    // After the server was killed, what it had not folded into its database belongs to the copy as well.
    operator.ask(&["backup", "--data", "data", "one.db"]);
    assert!(operator.fail(&["backup", "--data", "data", "one.db"]).contains("one.db exists already"));
    assert!(operator.fail(&["backup", "--data", "none", "two.db"]).contains("there is no database"));
}

#[test]
fn a_token_is_signed_by_a_configured_issuer() {
    let operator = Operator::new();
    operator.write("secret", "0123456789abcdef0123456789abcdef\n");
    operator.write(
        "antiphon.toml",
        "[[auth.issuer]]\nname = \"app\"\nalgorithms = [\"HS256\"]\nsecret_file = \"secret\"\n",
    );
    let done = operator.run(&["token", "create", "ada", "--expires-in", "5m"]);
    assert_eq!((done.status, done.stdout.split('.').count()), (0, 3), "{}", done.stderr);
    assert!(done.stderr.contains("signed by app") && done.stderr.contains("expires 20"), "{}", done.stderr);
    let printed = operator.ask(&["config", "print"]);
    assert!(
        !printed.contains("0123456789abcdef") && printed.contains("secret_file = \"secret\""),
        "{printed}"
    );

    assert!(Operator::new().fail(&["token", "create", "ada"]).contains("no [[auth.issuer]]"));
}

#[test]
fn a_doctor_finds_nothing_in_a_sound_directory_and_says_what_is_wrong_with_another() {
    let operator = Operator::new();
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let said = operator.ask(&["doctor", "--data", "data"]);
    assert!(said.contains("no server runs on it") && said.contains("good     structure"), "{said}");
    let report: Value = serde_json::from_str(&operator.ask(&["doctor", "--data", "data", "--json"])).unwrap();
    assert_eq!((&report["sound"], &report["findings"]), (&true.into(), &serde_json::json!([])));

    operator.write("data/antiphon.db", "");
    let done = operator.run(&["doctor", "--data", "data"]);
    assert_eq!(done.status, 1);
    assert!(done.stdout.contains("ERROR    files: data/antiphon.db is empty"), "{}", done.stdout);
    assert!(done.stderr.contains("something is lost or broken"), "{}", done.stderr);
    let refused = operator.fail(&["user", "list", "--data", "data"]);
    assert!(refused.contains("antiphon.db is empty or gone, but this directory had a database"), "{refused}");
    assert_eq!(operator.run(&["doctor", "--data", "nowhere"]).status, 1);
}

#[test]
fn a_doctor_looks_at_the_data_of_a_server_that_runs_on_it() {
    let operator = Operator::new();
    operator.write("antiphon.toml", FILE);
    operator.ask(&["user", "add", "ada", "--data", "data"]);
    let _server = operator.serve(&[]);
    let said = operator.ask(&["doctor"]);
    assert!(said.contains("data: a server runs on it") && said.contains("good     ledger"), "{said}");
}

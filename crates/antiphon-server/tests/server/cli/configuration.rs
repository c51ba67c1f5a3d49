//! Which settings a process ends up with, and how it refuses them.

use serde_json::Value;

use super::Operator;

#[test]
fn everything_that_is_wrong_is_told_at_once_and_the_command_fails() {
    let operator = Operator::new().with("ANTIPHON_LIMITS__OUTBX", "1");
    operator.write("antiphon.toml", "[server]\ncoers = 2\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[listener.mount]]\npath = \"/a\"\ndialects = [\"chat\"]\npingInterval = 1\n");
    assert_eq!(
        operator.fail(&["config", "check"]),
        "environment ANTIPHON_LIMITS__OUTBX: unknown variable; did you mean ANTIPHON_LIMITS__OUTBOX?\n\
         antiphon.toml:2: unknown key \"coers\" in [server]; did you mean \"cores\"?\n\
         antiphon.toml:8: unknown key \"pingInterval\" in [[listener.mount]]; did you mean \"ping_interval\"?\n\
         antiphon: the configuration has 3 problems\n"
    );
    // Whatever needs the configuration refuses it in the same words.
    assert!(operator.fail(&["serve"]).contains("did you mean \"cores\"?"));
    assert!(operator.fail(&["config", "print"]).contains("did you mean \"cores\"?"));
}

#[test]
fn a_configuration_without_problems_is_said_to_have_none() {
    assert_eq!(Operator::new().ask(&["config", "check"]), "The configuration can be used.\n");
}

#[test]
fn the_layers_reach_the_server_that_runs() {
    let operator = Operator::new().with("ANTIPHON_STORE__EPHEMERAL", "true");
    operator.write(
        "antiphon.toml",
        "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener.mount]]\npath = \"/a\"\ndialects = [\"chat\"]\n",
    );
    operator.write(".env", "PORT=0\nOTHER=x\n");
    let server = operator.serve(&["--set", "server.cores=1"]);
    assert!(
        server.address.starts_with("127.0.0.1:") && server.address != "127.0.0.1:1",
        "{}",
        server.address
    );
    assert!(!operator.path().join("data").exists(), "it keeps everything in memory");
}

#[test]
fn the_demo_reads_no_configuration() {
    let operator = Operator::new().with("ANTIPHON_NONSENSE", "1").with("PORT", "http");
    operator.write("antiphon.toml", "nonsense = 1");
    let server = operator.serve(&["--demo", "--any-port"]);
    assert!(server.address.starts_with("127.0.0.1:"), "{}", server.address);
}

#[test]
fn a_printed_configuration_can_be_used_again() {
    let operator =
        Operator::new().with("ANTIPHON_SERVER__CORES", "3").with("ANTIPHON_PLAN__TEAM__AGENTS", "2");
    let printed = operator.ask(&["config", "print"]);
    assert!(printed.contains("cores = 3  # environment ANTIPHON_SERVER__CORES"), "{printed}");

    let other = Operator::new();
    other.write("printed.toml", &printed);
    let json = other.ask(&["config", "print", "--config", "printed.toml", "--format", "json"]);
    let settings: Vec<Value> = serde_json::from_str(&json).unwrap();
    let value = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap();
    assert_eq!(value("server.cores")["value"], 3);
    assert_eq!(value("plan.team.agents")["value"], 2);
    assert!(value("server.cores")["from"].as_str().unwrap().starts_with("printed.toml:"));
}

#[test]
fn the_schema_is_one_and_the_version_is_said() {
    let operator = Operator::new();
    let schema: Value = serde_json::from_str(&operator.ask(&["config", "schema"])).unwrap();
    assert!(schema["properties"]["limits"]["properties"]["outbox"]["description"].is_string());
    assert_eq!(operator.ask(&["--version"]), concat!("antiphon ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn what_is_not_understood_is_another_failure_than_what_does_not_work() {
    let operator = Operator::new();
    for arguments in [&["sevre"][..], &["serve", "--demo", "--set", "a=b"], &["backup"], &["key", "create"]] {
        let done = operator.run(arguments);
        assert_eq!((done.status, &*done.stdout), (2, ""), "{arguments:?}: {}", done.stderr);
    }
    for arguments in [&["--help"][..], &["config", "print", "--help"], &["help", "tail"]] {
        assert!(operator.ask(arguments).contains("Usage: antiphon"), "{arguments:?}");
    }
}

#[test]
fn a_pair_for_web_push_is_printed_as_the_usual_tool_prints_it() {
    let operator = Operator::new();
    let text = operator.ask(&["vapid", "generate"]);
    let lines: Vec<_> = text.lines().collect();
    let rule = "=".repeat(39);
    assert_eq!([lines[0], lines[1], lines[2], lines[3]], ["", &rule, "", "Public Key:"]);
    assert_eq!([lines[5], lines[6], lines[8], lines[9]], ["", "Private Key:", "", &rule]);
    assert_eq!((lines[4].len(), lines[7].len()), (87, 43));
    let json: Value = serde_json::from_str(&operator.ask(&["vapid", "generate", "--json"])).unwrap();
    assert!(json["publicKey"].is_string() && json["privateKey"].is_string(), "the two halves");
}

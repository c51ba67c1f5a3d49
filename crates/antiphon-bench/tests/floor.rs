//! The bench measures its own floor from end to end: processes, sockets, table, page.

use std::process::Command;

use antiphon_bench::crowd::Crowd;
use antiphon_bench::machine::Cores;
use antiphon_bench::process::Server;

#[test]
fn a_tiny_run_against_the_floor_fills_every_row_it_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let page = directory.path().join("page.md");
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon-bench"))
        .args(["run", "--only", "floor", "--quick", "--connections", "20"])
        .args(["--scenario", "broadcast-100,burst,streams,echo,handshake"])
        .arg("--data")
        .arg(directory.path())
        .arg("--output")
        .arg(&page)
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    assert!(!table.contains("failed"), "{table}\n{progress}");
    let figures: Vec<f64> =
        table.lines().filter_map(|line| line.split('|').nth(2)?.trim().parse().ok()).collect();
    assert_eq!(figures.len(), 5, "{table}");
    assert!(figures.iter().all(|figure| *figure > 0.0), "{table}");
    assert!(std::fs::read_to_string(page).unwrap().contains(table.trim()));
}

#[test]
fn a_slow_disk_is_slow_for_the_floor_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_antiphon-bench"))
        .args(["run", "--only", "floor", "--quick", "--scenario", "durable-slow", "--data"])
        .arg(directory.path())
        .output()
        .unwrap();
    let table = String::from_utf8_lossy(&output.stdout);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{progress}");
    if table.contains("starting the C compiler") {
        return;
    }
    let figures: Vec<f64> =
        table.lines().filter_map(|line| line.split('|').nth(2)?.trim().parse().ok()).collect();
    let [rate, p99] = figures[..] else { panic!("{table}\n{progress}") };
    assert!(rate > 0.0 && rate <= 250.0 && p99 >= 4.0, "{table}");
}

#[test]
fn whoever_is_to_be_turned_away_and_is_let_in_ends_the_measurement() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_antiphon-bench"));
    command.args(["floor", "--scenario", "echo"]);
    let server = Server::start(command, Cores::find().unwrap(), &directory.path().join("log")).unwrap();
    let tokens = || ["k0".to_owned()];
    Crowd::new().unwrap().arrive(server.door(), tokens()).unwrap();
    let error =
        Crowd::turned_away("Rate limit exceeded").unwrap().arrive(server.door(), tokens()).unwrap_err();
    assert!(format!("{error:#}").contains("let in whom it was to refuse"), "{error:#}");
}

//! The bench measures its own floor from end to end: processes, sockets, table, page.

use std::process::Command;

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

//! `archond bench` on the real worker.
use crate::kit::{TINY_ID, TestHouse};

#[test]
fn a_model_is_measured_and_drawn() {
    let house = TestHouse::new();
    let picture = house.path().join("bench.svg");
    let args = ["bench", TINY_ID, "--json", "--repetitions", "1", "--slots", "2", "--threads", "1", "--svg"];
    let output = house.command(&args).arg(&picture).output().unwrap();
    // Whether it passes is the machine's affair.
    assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["model"], TINY_ID);
    assert_eq!(report["passed"], report["generation"]["median"].as_f64().unwrap() >= 20.0);
    let loads = report["sessions"].as_array().unwrap();
    assert_eq!(loads.iter().map(|load| load["sessions"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2]);
    let reused = |load: &serde_json::Value| load["reused_tokens"].as_u64().unwrap();
    assert!(reused(&loads[1]) > reused(&loads[0]) * 2, "the instructions are read once: {report}");
    assert!(report["limit"]["tokens_per_second"].as_f64().unwrap() > 0.0);
    assert!(std::fs::read_to_string(&picture).unwrap().contains("<svg"));
}

#[test]
fn what_is_not_there_is_not_measured() {
    let house = TestHouse::new();
    let output = house.run(&["bench", "no-such-model"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("no-such-model"), "{said}");
}

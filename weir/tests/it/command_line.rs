//! Commands that need nothing running.

use crate::process::{Up, free_address, succeed, weir};

#[test]
fn config_prints_what_is_in_force() {
    let output = succeed(weir().args(["config", "--mqtt", "127.0.0.1:5555"]).env("WEIR_SINK__ROLL_ROWS", "77"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("listen = \"127.0.0.1:5555\"") && text.contains("roll_rows = 77"), "{text}");
}

#[test]
fn a_wrong_configuration_is_refused_by_name() {
    let output = weir().arg("config").env("WEIR_SINK__ROLL_ROW", "77").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("roll_row"), "{error}");
}

#[test]
fn a_wrong_rule_names_file_position_and_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    let rules = directory.path().join("rules.toml");
    let text = "[[rule]]\nid = \"hot\"\nwhen = \"valeu > 80\"\nseverity = \"warning\"\nmessage = \"{value}\"\n";
    std::fs::write(&rules, text).unwrap();
    let output = weir().arg("up").arg("--rules").arg(&rules).arg("--data").arg(directory.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("rules.toml") && error.contains("valeu") && error.contains("`value`"), "{error}");
}

#[test]
fn two_processes_never_open_one_data_directory() {
    let directory = tempfile::tempdir().unwrap();
    let first = Up::start(directory.path(), free_address(), None);
    let (mqtt, http) = (free_address().to_string(), free_address().to_string());
    let output =
        weir().args(["up", "--mqtt", &mqtt, "--http", &http, "--data"]).arg(directory.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("in use by another process"), "{error}");
    first.stop();
}

#[test]
fn verify_of_a_missing_table_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = directory.path().join("ledger.csv");
    std::fs::write(&ledger, "device,boot,seq,readings,acknowledged_at\nd,1,0,5,1700000000000000\n").unwrap();
    let table = directory.path().join("nothing");
    let output = weir().arg("verify").arg("--ledger").arg(&ledger).arg("--table").arg(&table).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("nothing"), "{error}");
}

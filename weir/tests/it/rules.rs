//! `weir rules`, and rules that change while weir runs.

use std::path::{Path, PathBuf};

use crate::process::{Up, free_address, last_json, succeed, until, weir};

const HOT: &str = "[[rule]]\nid = \"hot\"\nwhen = \"metric = 'temperature' AND value > 80\"\nseverity = \"warning\"\n\
                   message = \"{device_id} in {site} is at {value}\"\n";
const STEP: &str = "[[rule.step]]\nwebhook = \"https://ops.example.com/{device_id}\"\n\
                    headers = { authorization = \"Bearer ${env:WEIR_IT_TOKEN}\" }\n[[rule.step]]\nemit = \"maintenance\"\n";

fn file(directory: &Path, name: &str, text: &str) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn check_prints_a_line_a_rule_and_warns_of_what_is_missing_here() {
    let directory = tempfile::tempdir().unwrap();
    let rules = file(directory.path(), "rules.toml", &format!("{HOT}{STEP}"));
    let output = succeed(weir().args(["rules", "check"]).arg(&rules).env_remove("WEIR_IT_TOKEN"));
    let (shown, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(shown.lines().any(|line| line.starts_with("hot ") && line.ends_with("webhook, emit")), "{shown}");
    assert!(warned.contains("`maintenance`") && warned.contains("WEIR_IT_TOKEN"), "{warned}");
    let output = succeed(
        weir()
            .args(["rules", "check"])
            .arg(&rules)
            .env("WEIR_IT_TOKEN", "very-secret")
            .env("WEIR_STREAMS__EMIT", "[\"maintenance\"]"),
    );
    assert_eq!(text(&output.stderr), "", "nothing is missing");
}

#[test]
fn check_fails_with_line_column_and_nearest_name() {
    let directory = tempfile::tempdir().unwrap();
    file(directory.path(), "a.toml", HOT);
    file(directory.path(), "b.toml", &HOT.replace("\"hot\"", "\"b\"").replace("value > 80", "valeu > 80"));
    let output = weir().args(["rules", "check"]).arg(directory.path()).output().unwrap();
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("b.toml:3:") && error.contains("did you mean `value`"), "{error}");
}

#[test]
fn test_says_what_would_be_sent_and_shows_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let rules = file(directory.path(), "rules.toml", &format!("{HOT}{STEP}"));
    let mut command = weir();
    command.args(["rules", "test"]).arg(&rules).args(["--topic", "hall/pump-7/telemetry"]);
    command.args(["--reading", r#"{"temperature":95}"#]).env("WEIR_IT_TOKEN", "very-secret");
    let output = succeed(&mut command);
    let shown = text(&output.stdout);
    for part in ["hot (version 1, warning): fires", "pump-7 in hall is at 95", "https://ops.example.com/pump-7"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains("${env:WEIR_IT_TOKEN}") && !shown.contains("very-secret"), "{shown}");
    let json = last_json(&succeed(command.arg("--json")));
    assert_eq!(json["rules"][0]["runs"][0]["steps"][1]["stream"], "maintenance");
    assert!(!json.to_string().contains("very-secret"));
}

#[test]
fn test_refuses_what_the_door_would_refuse() {
    let directory = tempfile::tempdir().unwrap();
    let rules = file(directory.path(), "rules.toml", HOT);
    let output = weir().args(["rules", "test"]).arg(&rules).args(["--reading", "21.5"]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("would be refused"), "{}", text(&output.stderr));
}

#[test]
fn list_says_that_nobody_answers() {
    let address = free_address().to_string();
    let output = weir().args(["rules", "list", "--http", &address]).output().unwrap();
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains(&format!("no weir answers at {address}")), "{}", text(&output.stderr));
}

/// Ids of the rules in force.
fn in_force(up: &Up) -> Vec<String> {
    let output = succeed(weir().args(["rules", "list", "--json", "--http", &up.http.to_string()]));
    let rules = last_json(&output)["rules"].as_array().unwrap().clone();
    rules.iter().map(|rule| rule["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn rules_change_with_their_file_and_a_bad_file_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let rules = file(directory.path(), "rules.toml", HOT);
    let up = Up::start(&directory.path().join("data"), free_address(), Some(&rules));
    assert_eq!(in_force(&up), ["hot"]);

    let renamed = HOT.replace("\"hot\"", "\"very-hot\"");
    file(directory.path(), "rules.toml", &format!("{HOT}{renamed}"));
    until("both rules are in force", || in_force(&up) == ["hot", "very-hot"]);
    let shown = text(&succeed(weir().args(["rules", "list", "--http", &up.http.to_string()])).stdout);
    assert!(shown.starts_with("id ") && shown.contains("very-hot"), "{shown}");

    file(directory.path(), "rules.toml", &HOT.replace("value >", "valeu >"));
    until("the bad file is refused", || up.metric("weir_rules_reloads_total{outcome=\"refused\"}") >= Some(1.0));
    assert_eq!(in_force(&up), ["hot", "very-hot"]);
    assert_eq!(up.metric("weir_rules_last_reload_success"), Some(0.0));
    up.stop();
}

#[test]
fn sighup_reads_the_rules_again_and_does_not_stop_weir() {
    let directory = tempfile::tempdir().unwrap();
    let rules = file(directory.path(), "rules.toml", HOT);
    let up = Up::start(&directory.path().join("data"), free_address(), Some(&rules));
    assert_eq!(up.metric("weir_rules_reloads_total{outcome=\"ok\"}"), Some(0.0));
    for times in [1.0, 2.0] {
        up.hangup();
        until("the rules are read again", || up.metric("weir_rules_reloads_total{outcome=\"ok\"}") == Some(times));
    }
    // A weir that stops takes no more connections, and `simulate` is content with having sent nothing.
    let (mut simulate, ledger) = (weir(), directory.path().join("ledger.csv"));
    simulate.args(["simulate", "--mqtt", &up.mqtt.to_string(), "--devices", "3", "--rate", "30", "--for", "1s"]);
    succeed(simulate.arg("--ledger").arg(&ledger));
    up.stop();
    let table = directory.path().join("data/tables/readings");
    let verdict =
        last_json(&succeed(weir().args(["verify", "--json", "--ledger"]).arg(ledger).arg("--table").arg(table)));
    assert!(verdict["acknowledged"].as_u64() > Some(0), "weir was stopping: {verdict}");
}

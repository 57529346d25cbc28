//! `weir explain`: one message followed in a process that runs, and in what it left.

use std::path::Path;
use std::process::Command;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use crate::client::Client;
use crate::process::{Up, free_address, last_json, succeed, until, weir};

const RULE: &str = "[[rule]]\nid = \"hot\"\nversion = 3\nwhen = \"metric = 'temperature' AND value > 40\"\n\
                    severity = \"warning\"\nmessage = \"{device_id} is at {value}\"\n\
                    [[rule.step]]\nlog = true\n[[rule.step]]\nemit = \"maintenance\"\n";
type Environment<'a> = [(&'a str, &'a str)];
const EMBEDDED: &Environment<'static> = &[("WEIR_STREAMS__EMIT", "[\"maintenance\"]")];

/// `weir explain` of message `seq` of the device, as JSON.
fn explain(seq: i64, more: &[&str]) -> Command {
    let mut command = weir();
    command.args(["explain", "--device", "pump-1", "--boot", "7", "--seq", &seq.to_string(), "--json"]).args(more);
    command
}

/// The same of what a process left in `data`.
fn left(data: &Path, seq: i64, environment: &Environment<'_>) -> Command {
    let mut command = explain(seq, &[]);
    command.env("WEIR_DATA__DIR", data).envs(environment.iter().copied());
    // Nobody listens there: it must not ask another weir of this machine.
    command.env("WEIR_HTTP__LISTEN", free_address().to_string());
    command
}

fn publish(device: &mut Client, seq: i64, temperature: f64) {
    let payload = format!(
        r#"[{{"n":"boot","v":7}},{{"n":"seq","v":{seq}}},{{"n":"temperature","v":{temperature}}},{{"n":"humidity","v":12}}]"#
    );
    device.publish("hall/pump-1/telemetry", payload.as_bytes());
}

/// Numbers of the messages in the row group that `row` names, at the row it names.
fn seq_at(data: &Path, row: &Value) -> i64 {
    let number = |name: &str| usize::try_from(row[name].as_u64().unwrap()).unwrap();
    let file = std::fs::File::open(data.join("tables/readings").join(row["file"].as_str().unwrap())).unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_row_groups(vec![number("row_group")]);
    let batch = builder.build().unwrap().next().unwrap().unwrap();
    batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().value(number("row"))
}

/// What must be told of message 2, whether the process runs or not.
fn check_followed(data: &Path, told: &Value) {
    assert_eq!(told["verdict"], "stored", "{told}");
    let copies = told["copies"].as_array().unwrap();
    let fates: Vec<&str> = copies.iter().map(|copy| copy["fate"].as_str().unwrap()).collect();
    assert_eq!(fates, ["kept", "left_out"], "{told}");
    let rows = told["table"]["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{told}");
    for row in rows {
        assert_eq!(seq_at(data, row), 2, "{row}");
        assert!(row["version"].as_u64() > Some(0) && row["committed_at"].is_string(), "{row}");
        assert_eq!(row["received_at"], copies[0]["received_at"], "{told}");
    }
    let metrics: Vec<&str> =
        told["readings"].as_array().unwrap().iter().map(|reading| reading["metric"].as_str().unwrap()).collect();
    assert_eq!(metrics, ["temperature", "humidity"]);

    let alert = &told["alerts"][0];
    assert_eq!((alert["rule"].as_str(), alert["message"].as_str()), (Some("hot"), Some("pump-1 is at 99.5")), "{told}");
    assert_eq!(told["alerts_table"]["rows"][0]["alert_id"], alert["alert_id"], "{told}");
    let run = &told["runs"][0];
    assert_eq!((&run["id"], run["detail"]["state"].as_str()), (&alert["alert_id"], Some("done")), "{told}");
    for step in 0..2 {
        let shown = &run["detail"]["progress"][step];
        assert_eq!((shown["state"].as_str(), shown["attempts"].as_u64()), (Some("done"), Some(1)), "{run}");
    }
    assert_eq!(told["letters"], serde_json::json!([]), "{told}");
}

fn failed(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    last_json(&output)
}

#[test]
fn a_message_is_followed_while_weir_runs_and_after_it() {
    follow(EMBEDDED);
}

#[test]
#[ignore = "needs a Fluvio cluster: WEIR_FLUVIO=host:port"]
fn a_message_is_followed_on_a_cluster() {
    let endpoint = std::env::var("WEIR_FLUVIO").expect("WEIR_FLUVIO=host:port of a cluster's controller");
    let prefix = format!("explain-{}-", std::process::id());
    let cluster = [
        ("WEIR_STREAMS__BACKEND", "fluvio"),
        ("WEIR_FLUVIO__ENDPOINT", endpoint.as_str()),
        ("WEIR_FLUVIO__TOPIC_PREFIX", prefix.as_str()),
        ("WEIR_STREAMS__PARTITIONS", "2"),
    ];
    follow(&[EMBEDDED, &cluster].concat());
}

fn follow(environment: &Environment<'_>) {
    let directory = tempfile::tempdir().unwrap();
    let (data, rules) = (directory.path().join("data"), directory.path().join("rules.toml"));
    std::fs::write(&rules, RULE).unwrap();
    let up = Up::start_with(&data, free_address(), Some(&rules), environment);
    let mut device = Client::connect(up.mqtt, "pump-1");
    publish(&mut device, 1, 20.0);
    publish(&mut device, 2, 99.5);
    publish(&mut device, 3, 20.0);
    let committed = |table: &str| up.metric(&format!("weir_sink_committed_rows_total{{table=\"{table}\"}}"));
    until("all is in the tables", || {
        committed("readings") == Some(6.0) && committed("alerts") == Some(1.0) && committed("maintenance") == Some(1.0)
    });
    publish(&mut device, 2, 99.5);

    let http = up.http.to_string();
    let told = last_json(&succeed(&mut explain(2, &["--http", &http])));
    check_followed(&data, &told);
    assert_eq!(told["says"], "in the table once: 2 readings");
    let cold = last_json(&succeed(&mut explain(1, &["--http", &http])));
    assert_eq!((&cold["verdict"], cold["runs"].as_array().unwrap().len()), (&"stored".into(), 0), "{cold}");
    // A log is locked: the process that has it is asked, where the configuration says it listens.
    let asked = last_json(&succeed(left(&data, 2, environment).env("WEIR_HTTP__LISTEN", &http)));
    assert_eq!(asked["table"], told["table"]);
    let unknown = failed(&mut explain(99, &["--http", &http]));
    let says = unknown["says"].as_str().unwrap();
    assert!(says.starts_with("not found in the table as of version ") && says.contains("readings/"), "{says}");
    let bad = weir().args(["explain", "--device", "", "--boot", "7", "--seq", "1", "--http", &http]).output().unwrap();
    assert!(String::from_utf8_lossy(&bad.stderr).contains("device: expected 1 to 256 bytes"), "{bad:?}");
    up.stop();

    check_followed(&data, &last_json(&succeed(&mut left(&data, 2, environment))));
    assert_eq!(failed(&mut left(&data, 99, environment))["verdict"], "unknown");
    let text = succeed(
        weir()
            .args(["explain", "--device", "pump-1", "--boot", "7", "--seq", "2"])
            .env("WEIR_DATA__DIR", &data)
            .envs(environment.iter().copied()),
    );
    let text = String::from_utf8(text.stdout).unwrap();
    for part in ["device pump-1 boot 7 seq 2: in the table once: 2 readings", "came again, left out", "step 1 "] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn a_message_on_its_way_says_how_far_the_table_is_also_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let (data, rules) = (directory.path().join("data"), directory.path().join("rules.toml"));
    std::fs::write(&rules, RULE).unwrap();
    let slow = ("WEIR_SINK__ROLL_AGE_SECONDS", "3600");
    let up = Up::start_with(&data, free_address(), Some(&rules), &[EMBEDDED, &[slow]].concat());
    let mut device = Client::connect(up.mqtt, "pump-1");
    publish(&mut device, 1, 99.5);
    let http = up.http.to_string();
    let now = || last_json(&succeed(&mut explain(1, &["--http", &http])));
    until("the run is done", || now()["runs"][0]["detail"]["state"] == "done");
    let told = now();
    assert_eq!(told["verdict"], "waiting", "{told}");
    assert_eq!(told["says"], "in the stream at offset 0, not yet in the table: it is at 0 of 1, 1 records behind");
    assert_eq!(told["table"]["rows"], serde_json::json!([]));
    // Refused: a dead letter, found by what is in it.
    device
        .publish("hall/pump-1/telemetry", br#"[{"n":"boot","v":7},{"n":"seq","v":2},{"n":"t","v":1,"t":99999999999}]"#);
    let refused = last_json(&succeed(&mut explain(2, &["--http", &http])));
    assert_eq!(
        (&refused["verdict"], &refused["letters"][0]["state"]),
        (&"refused".into(), &"waiting".into()),
        "{refused}"
    );
    up.kill();

    let told = last_json(&succeed(&mut left(&data, 1, EMBEDDED)));
    assert_eq!(told["verdict"], "waiting", "{told}");
    assert_eq!(told["runs"][0]["detail"]["state"], "done", "the outbox was not closed: {told}");
    assert_eq!(last_json(&succeed(&mut left(&data, 2, EMBEDDED)))["verdict"], "refused");
}

//! `weir streams`, on the log of a process that runs or ran.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::client::Client;
use crate::process::{Up, free_address, succeed, until, weir};

fn streams(data: &Path, arguments: &[&str]) -> Command {
    let mut command = weir();
    command.arg("streams").args(arguments).env("WEIR_DATA__DIR", data).env("WEIR_STREAMS__PARTITIONS", "2");
    command
}

fn lines(command: &mut Command) -> Vec<Value> {
    let output = succeed(command);
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A data directory after `messages` readings of one device, all in the table.
fn filled(data: &Path, messages: i64) {
    let up = Up::start_with(data, free_address(), None, &[("WEIR_STREAMS__PARTITIONS", "2")]);
    publish(&up, 1..=messages);
    let http = up.http.to_string();
    let listed = lines(&mut streams(data, &["groups", "--json", "--http", &http]));
    assert!(listed.iter().any(|group| group["group"] == "sink/readings"), "{listed:?}");
    assert_eq!(tail(data, &["--http", &http]).len(), usize::try_from(messages).unwrap(), "while it runs");
    let locked = streams(data, &["list"]).output().unwrap();
    let text = String::from_utf8_lossy(&locked.stderr).into_owned();
    assert!(!locked.status.success() && text.contains("--http"), "{text}");
    up.stop();
}

fn publish(up: &Up, messages: std::ops::RangeInclusive<i64>) {
    let mut device = Client::connect(up.mqtt, "pump-1");
    for seq in messages {
        let payload = format!(r#"[{{"n":"boot","v":1}},{{"n":"seq","v":{seq}}},{{"n":"temperature","v":{seq}.5}}]"#);
        device.publish("hall/pump-1/telemetry", payload.as_bytes());
    }
}

/// Rows of `readings`.
fn tail(data: &Path, more: &[&str]) -> Vec<Value> {
    lines(streams(data, &["tail", "readings", "--json"]).args(more))
}

fn seqs(rows: &[Value]) -> Vec<i64> {
    rows.iter().map(|row| row["seq"].as_i64().unwrap()).collect()
}

/// Positions of the group of the table of readings.
fn positions(data: &Path) -> Vec<(u64, u64)> {
    let groups = lines(&mut streams(data, &["groups", "--json"]));
    let sink = groups.iter().filter(|group| group["group"] == "sink/readings");
    sink.map(|group| (group["position"].as_u64().unwrap(), group["lag"].as_u64().unwrap())).collect()
}

#[test]
fn streams_are_listed_shown_and_reset() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let nothing = streams(&data, &["list"]).output().unwrap();
    let text = String::from_utf8_lossy(&nothing.stderr).into_owned();
    assert!(!nothing.status.success() && text.contains("there are no streams in"), "{text}");
    assert!(!data.exists(), "looking creates nothing");

    filled(&data, 5);
    let rows = tail(&data, &[]);
    assert_eq!(seqs(&rows), [1, 2, 3, 4, 5]);
    assert_eq!((rows[0]["metric"].as_str(), rows[0]["value"].as_f64()), (Some("temperature"), Some(1.5)));
    assert_eq!(seqs(&tail(&data, &["--limit", "2"])), [1, 2]);
    assert_eq!(tail(&data, &["--from", "now"]), Vec::<Value>::new());
    let third = rows[2]["appended_at"].as_str().unwrap();
    let after = seqs(&tail(&data, &["--from", third]));
    assert!(after.ends_with(&[3, 4, 5]) && rows.len() >= after.len(), "{after:?}");
    let unknown = streams(&data, &["tail", "reading"]).output().unwrap();
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("expected one of readings, alerts"), "{unknown:?}");

    let before = positions(&data);
    assert!(before.iter().all(|(_, lag)| *lag == 0), "{before:?}");
    let reset = ["reset", "sink/readings", "--stream", "readings", "--to", "beginning"];
    let plan = streams(&data, &reset).output().unwrap();
    assert_eq!(plan.status.code(), Some(1), "{plan:?}");
    assert_eq!(positions(&data), before, "nothing without --yes");
    let done = succeed(streams(&data, &reset).arg("--yes"));
    assert!(String::from_utf8_lossy(&done.stdout).contains("a table keeps its own position"), "{done:?}");
    assert!(positions(&data).iter().all(|(position, _)| *position == 0));
    let wrong = streams(&data, &["reset", "nobody", "--stream", "readings", "--to", "now", "--yes"]).output().unwrap();
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("group nobody has no position in readings"), "{wrong:?}");
}

#[test]
fn a_copy_goes_on_where_its_source_stopped() {
    let directory = tempfile::tempdir().unwrap();
    let (data, moved) = (directory.path().join("data"), directory.path().join("moved"));
    filled(&data, 20);
    let copy = || streams(&data, &["copy", "--to", moved.to_str().unwrap()]);
    let done = succeed(&mut copy());
    let text = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(text.contains("readings/0") && text.contains("both sides are the same"), "{text}");
    assert_eq!((tail(&moved, &[]), positions(&moved)), (tail(&data, &[]), positions(&data)));
    let again = copy().output().unwrap();
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.code() == Some(1) && text.contains("a finished copy of"), "{text}");

    // With its tables it goes on: the message that came before is known.
    std::fs::rename(data.join("tables"), moved.join("tables")).unwrap();
    let up = Up::start_with(&moved, free_address(), None, &[("WEIR_STREAMS__PARTITIONS", "2")]);
    publish(&up, 20..=21);
    until("all is passed", || up.metric("weir_sink_committed_rows_total{table=\"readings\"}") == Some(1.0));
    up.stop();
    assert_eq!(seqs(&tail(&moved, &[])).len(), 22);
    assert!(positions(&moved).iter().all(|(_, lag)| *lag == 0));
}

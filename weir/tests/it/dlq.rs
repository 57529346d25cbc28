//! Dead letters of the door: listed, shown, put back, dropped.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;
use telemetry::clock::SystemClock;

use crate::client::Client;
use crate::process::{Up, free_address, last_json, parquet_files, succeed, weir};

const DAY: i64 = 24 * 60 * 60;
/// Ten days: what is three days ahead is accepted then.
const PATIENT: [(&str, &str); 1] = [("WEIR_MQTT__MAX_FUTURE_SECONDS", "864000")];

/// `weir dlq …` of the process on `http`.
pub(crate) fn dlq(http: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = weir();
    command.arg("dlq").args(arguments).args(["--http", &http.to_string()]);
    command
}

/// Ids of the letters that wait.
pub(crate) fn waiting(http: SocketAddr) -> Vec<String> {
    let listed = succeed(&mut dlq(http, &["list", "--json"]));
    let lines = String::from_utf8(listed.stdout).unwrap();
    let letters = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    letters.map(|letter| letter["id"].as_str().unwrap().to_owned()).collect()
}

/// A message of one reading three days ahead of the clock.
fn early(seq: i64) -> String {
    let time = SystemClock::shared().now().as_micros() / 1_000_000 + 3 * DAY;
    format!(r#"[{{"n":"boot","v":1}},{{"n":"seq","v":{seq}}},{{"n":"temperature","v":21.5,"t":{time}}}]"#)
}

/// How often each sequence number is in the table.
fn stored(data: &Path) -> BTreeMap<i64, u32> {
    let mut found = BTreeMap::new();
    for path in parquet_files(&data.join("tables/readings")) {
        let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(&path).unwrap()).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            for seq in batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().values() {
                *found.entry(*seq).or_default() += 1;
            }
        }
    }
    found
}

fn failed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_letter_that_was_too_early_is_put_back_after_a_restart_and_stored_once() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path();
    let up = Up::start(data, free_address(), None);
    let payloads: Vec<String> = (1..=3).map(early).collect();
    let mut device = Client::connect(up.mqtt, "pump-1");
    for payload in &payloads {
        device.publish("hall/pump-1/telemetry", payload.as_bytes());
    }
    device.publish("hall/pump-1/telemetry", &[0xff, 0xfe]);

    let letters = waiting(up.http);
    assert_eq!(letters.len(), 4, "{letters:?}");
    let shown = last_json(&succeed(&mut dlq(up.http, &["show", &letters[0], "--json"])));
    assert_eq!(shown["reason"], "future_time", "{shown}");
    assert_eq!((shown["text"].as_str(), shown["topic"].as_str()), (Some(&*payloads[0]), Some("hall/pump-1/telemetry")));
    assert_eq!((shown["client_id"].as_str(), shown["attempts"].as_u64()), (Some("pump-1"), Some(1)));
    let binary = last_json(&succeed(&mut dlq(up.http, &["show", &letters[3], "--json"])));
    assert_eq!((binary["text"].as_str(), binary["base64"].as_str()), (None, Some("//4=")), "{binary}");

    // Still too early: refused again, which is said and not a success.
    let output = failed(&dlq(up.http, &["redrive", &letters[0]]).output().unwrap());
    assert!(output.contains("refused again"), "{output}");
    succeed(&mut dlq(up.http, &["drop", &letters[3]]));
    assert_eq!(waiting(up.http).len(), 3, "two that nobody touched, and the new one");
    up.stop();

    let up = Up::start_with(data, free_address(), None, &PATIENT);
    assert_eq!(waiting(up.http).len(), 3, "letters and what was done about them outlive the process");
    let done = last_json(&succeed(&mut dlq(up.http, &["redrive", "--all", "--json"])));
    assert_eq!((done["done"].as_u64(), done["failed"].as_array().unwrap().len()), (Some(3), 0), "{done}");
    // The mark and the readings are durable when the command returns.
    up.kill();

    let up = Up::start_with(data, free_address(), None, &PATIENT);
    assert_eq!(waiting(up.http), Vec::<String>::new());
    let output = failed(&dlq(up.http, &["redrive", &letters[1]]).output().unwrap());
    assert!(output.contains("redriven at"), "{output}");
    succeed(&mut dlq(up.http, &["redrive", &letters[1], "--again"]));
    let output = failed(&dlq(up.http, &["redrive", &letters[3]]).output().unwrap());
    assert!(output.contains("dropped at"), "{output}");
    up.stop();
    assert_eq!(stored(data), BTreeMap::from([(1, 1), (2, 1), (3, 1)]));
}

#[test]
fn a_command_without_a_process_says_so() {
    let http = free_address();
    let output = failed(&dlq(http, &["list"]).output().unwrap());
    assert!(output.contains(&format!("no weir answers at {http}")), "{output}");
}

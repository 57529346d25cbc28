//! What a backtest finds in the table is what fired live.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::process::{Up, free_address, last_json, parquet_files, succeed, weir};

const RECORDING: &str = "machine_temperature_system_failure.csv";

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn rules() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../processors/rules/machine-temperature.toml")
}

/// Publishes the recording into `weir up` with the two rules; the directory of tables.
fn live(directory: &Path) -> PathBuf {
    let (data_dir, ledger) = (directory.join("data"), directory.join("ledger.csv"));
    let up = Up::start(&data_dir, free_address(), Some(&rules()));
    succeed(
        weir()
            .args(["simulate", "--mqtt", &up.mqtt.to_string(), "--metric", "temperature", "--device", "machine-1"])
            .args(["--unit", "degF", "--speed", "max", "--replay"])
            .arg(data(RECORDING))
            .arg("--ledger")
            .arg(ledger),
    );
    up.stop();
    data_dir.join("tables")
}

/// Rule and id of each row of the table of alerts.
fn alerts(table: &Path) -> Vec<(String, String)> {
    parquet_files(table).iter().flat_map(|file| alerts_of(file)).collect()
}

fn alerts_of(file: &Path) -> Vec<(String, String)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let texts = |name: &str| cast(batch.column_by_name(name).unwrap(), &DataType::Utf8).unwrap();
        let (rules, ids) = (texts("rule_id"), texts("alert_id"));
        let (rules, ids) = (rules.as_string::<i32>(), ids.as_string::<i32>());
        rows.extend((0..batch.num_rows()).map(|row| (rules.value(row).to_owned(), ids.value(row).to_owned())));
    }
    rows
}

/// The same of the file of firings, without its header.
fn firings(csv: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(csv).unwrap();
    let fields = |line: &str| line.split(',').map(str::to_owned).collect::<Vec<_>>();
    text.lines().skip(1).map(fields).map(|fields| (fields[0].clone(), fields[1].clone())).collect()
}

/// Rows of the recording of which `condition` holds.
fn readings(condition: impl Fn(f64) -> bool) -> u64 {
    let text = std::fs::read_to_string(data(RECORDING)).unwrap();
    let value = |line: &str| line.split_once(',').unwrap().1.parse::<f64>().unwrap();
    text.lines().skip(1).map(value).filter(|value| condition(*value)).count() as u64
}

#[test]
fn a_backtest_of_the_recording_finds_the_firings_of_the_live_run() {
    let directory = tempfile::tempdir().unwrap();
    let tables = live(directory.path());
    let (csv, readings_table) = (directory.path().join("firings.csv"), tables.join("readings"));
    let backtest = succeed(
        weir()
            .args(["rules", "backtest"])
            .arg(rules())
            .arg("--table")
            .arg(&readings_table)
            .arg("--labels")
            .arg(data("anomaly_windows.json"))
            .args(["--recording", RECORDING, "--json", "--firings"])
            .arg(&csv),
    );
    let report = last_json(&backtest);
    println!("{report}");

    let (live, found) = (alerts(&tables.join("alerts")), firings(&csv));
    let distinct = |rows: &[(String, String)]| rows.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(distinct(&found), distinct(&live), "the backtest found other firings than the live run");
    assert_eq!(distinct(&found).len(), found.len(), "a firing is listed once");

    assert_eq!(report["rows"].as_u64(), Some(22_695));
    let [cold, hot] = report["sets"][0]["rules"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert_eq!(
        (cold["rule"].as_str(), cold["matches"].as_u64()),
        (Some("machine-cold"), Some(readings(|value| value < 45.0)))
    );
    assert_eq!(
        (hot["rule"].as_str(), hot["matches"].as_u64()),
        (Some("machine-hot"), Some(readings(|value| value > 100.0)))
    );
    assert_eq!(live.len() as u64, cold["matches"].as_u64().unwrap() + hot["matches"].as_u64().unwrap());
    assert!(cold["firings"].as_u64() < cold["matches"].as_u64(), "the cool-down left fewer");
    assert_eq!(hot["firings"], hot["matches"], "without a cool-down each reading is a firing");
    for rule in [cold, hot] {
        let score = &rule["score"];
        assert_eq!(score["windows"].as_u64(), Some(4));
        println!("{}: precision {}, recall {}", rule["rule"], score["precision"], score["recall"]);
    }
}

#[test]
fn a_backtest_of_two_files_tells_the_difference() {
    let directory = tempfile::tempdir().unwrap();
    let tables = live(directory.path());
    let other = directory.path().join("other.toml");
    let text = std::fs::read_to_string(rules()).unwrap();
    std::fs::write(&other, text.replace("value > 100", "value > 102").replace("machine-cold", "machine-icy")).unwrap();
    let compare = succeed(
        weir()
            .args(["rules", "backtest"])
            .arg(rules())
            .arg(&other)
            .arg("--table")
            .arg(tables.join("readings"))
            .arg("--json"),
    );
    let difference = last_json(&compare)["difference"].clone();
    assert_eq!(difference["rules_only_first"], serde_json::json!(["machine-cold"]));
    assert_eq!(difference["rules_only_second"], serde_json::json!(["machine-icy"]));
    let hot = &difference["by_rule"][0];
    assert_eq!((hot["rule"].as_str(), hot["only_second"].as_u64()), (Some("machine-hot"), Some(0)));
    assert!(hot["only_first"].as_u64() > Some(0) && hot["common"].as_u64() > Some(0), "{difference}");
}

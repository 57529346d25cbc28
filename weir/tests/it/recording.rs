//! A real recording over MQTT: every row, to the last bit.

use std::path::{Path, PathBuf};

use arrow::array::{Array, AsArray, Float64Array, TimestampMicrosecondArray};
use arrow::compute::concat_batches;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::process::{Up, free_address, last_json, parquet_files, python, succeed, weir};

const RULE: &str = "[[rule]]\nid = \"cold\"\nwhen = \"metric = 'temperature' AND value < 50\"\n\
                    severity = \"warning\"\nmessage = \"{device_id} is at {value}\"\n";

fn recording() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/machine_temperature_system_failure.csv")
}

/// Publishes the recording into `weir up` with the rule above; the data directory then holds both tables.
fn replay(directory: &Path) -> PathBuf {
    let (data, rules, ledger) = (directory.join("data"), directory.join("rules.toml"), directory.join("ledger.csv"));
    std::fs::write(&rules, RULE).unwrap();
    let up = Up::start(&data, free_address(), Some(&rules));
    succeed(
        weir()
            .args(["simulate", "--mqtt", &up.mqtt.to_string(), "--metric", "temperature", "--device", "machine-1"])
            .args(["--unit", "degF", "--speed", "max", "--replay"])
            .arg(recording())
            .arg("--ledger")
            .arg(&ledger),
    );
    up.stop();
    let table = data.join("tables/readings");
    let verify = succeed(weir().args(["verify", "--json", "--ledger"]).arg(ledger).arg("--table").arg(table));
    assert_eq!(last_json(&verify)["acknowledged"].as_u64(), Some(22_695));
    data
}

/// Time in microseconds and bits of the value, of every row.
fn rows(table: &Path) -> Vec<(i64, u64)> {
    let mut rows: Vec<_> = parquet_files(table).iter().flat_map(|file| rows_of(file)).collect();
    rows.sort_unstable();
    rows
}

fn rows_of(file: &Path) -> Vec<(i64, u64)> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(file).unwrap()).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    let batch = concat_batches(&schema, &batches).unwrap();
    let times: &TimestampMicrosecondArray =
        batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
    let values: &Float64Array = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    assert_eq!(values.null_count(), 0);
    times.values().iter().copied().zip(values.values().iter().map(|value| value.to_bits())).collect()
}

/// The same of the file, read with the standard library's own parser of numbers.
fn expected() -> Vec<(i64, u64)> {
    let text = std::fs::read_to_string(recording()).unwrap();
    let mut rows: Vec<_> = text
        .lines()
        .skip(1)
        .map(|line| {
            let (time, value) = line.split_once(',').unwrap();
            let time = chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").unwrap();
            (time.and_utc().timestamp_micros(), value.parse::<f64>().unwrap().to_bits())
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn every_row_of_the_recording_is_in_the_table_to_the_last_bit_and_the_rule_fires_on_the_right_ones() {
    let directory = tempfile::tempdir().unwrap();
    let data = replay(directory.path());
    let expected = expected();
    assert_eq!(expected.len(), 22_695);
    assert!(rows(&data.join("tables/readings")) == expected, "the table differs from the recording");
    let cold: Vec<_> = expected.into_iter().filter(|(_, bits)| f64::from_bits(*bits) < 50.0).collect();
    assert!(!cold.is_empty());
    assert_eq!(rows(&data.join("tables/alerts")), cold);
}

#[test]
#[ignore = "needs python with duckdb"]
fn duckdb_finds_the_same_rows_and_the_same_alerts() {
    let directory = tempfile::tempdir().unwrap();
    let data = replay(directory.path());
    let found = last_json(&succeed(python("recording.py").arg(recording()).arg(data.join("tables"))));
    println!("{found}");
    assert_eq!(found["rows"].as_u64(), Some(22_695));
    assert_eq!((found["rows_differing"].as_u64(), found["alerts_differing"].as_u64()), (Some(0), Some(0)));
    assert!(found["alerts"].as_u64().unwrap() > 0);
}

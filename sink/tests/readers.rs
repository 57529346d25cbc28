//! Tables as DuckDB, pyarrow, Polars, pandas and the deltalake package read them.
//!
//! Needs Python with duckdb, pyarrow, deltalake, polars and pandas from PyPI: `WEIR_PYTHON`, or
//! `.venv/bin/python` at the root of the workspace, or `python3`.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test stops at the first thing that is wrong")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int32Type;
use serde_json::{Value as Json, json};
use sink::{SinkConfig, SinkMetrics, Table, TableSink, TableSpec};
use streams::consume::{Delivered, Effect, Passed};
use telemetry::batch::ReadingsBuilder;
use telemetry::clock::{Clock, ManualClock};
use telemetry::trace::Tracing;
use telemetry::{Identity, Message, Reading, Timestamp, Value};

/// 2026-07-28T20:00:00Z.
const START: i64 = 1_785_268_800_000_000;
const MINUTE: i64 = 60_000_000;
const COMMITS: u64 = 7;
const ROWS_A_COMMIT: i64 = 100;
const DEVICES: i64 = 25;

fn python() -> PathBuf {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.venv/bin/python");
    match std::env::var_os("WEIR_PYTHON") {
        Some(python) => python.into(),
        None if venv.exists() => venv,
        None => "python3".into(),
    }
}

/// Row `index` of the table: a minute after the one before it, with a number that adds up exactly.
fn message(index: i64, device: &str) -> Message<'_> {
    let value = match index % 4 {
        0 => Value::Bool(true),
        1 => Value::Text("läuft".into()),
        _ => Value::Number(number(index)),
    };
    let time = Timestamp::from_micros(START + index * MINUTE);
    Message {
        device_id: device.into(),
        site: (index % 2 == 0).then(|| "hall-1".into()),
        identity: Some(Identity { boot: 1, seq: index }),
        readings: vec![Reading { metric: "temperature".into(), time, value, unit: None }],
        ignored_fields: 0,
    }
}

fn number(index: i64) -> f64 {
    f64::from(i32::try_from(index).unwrap()) + 0.25
}

/// Writes the table with a sink for each of `shares`.
async fn write(config: &SinkConfig, shares: &[&[u32]]) {
    let clock: Arc<dyn Clock> = ManualClock::new(Timestamp::from_micros(START));
    let metrics = SinkMetrics::register(&prometheus::Registry::new()).unwrap();
    let open = |share: &&[u32]| {
        TableSink::open(config, TableSpec::readings(), share, clock.clone(), Tracing::default(), &metrics).unwrap()
    };
    let mut sinks: Vec<_> = shares.iter().map(open).collect();
    for commit in 0..COMMITS {
        for (sink, share) in sinks.iter_mut().zip(shares) {
            for partition in share.iter().copied() {
                let batch = record(commit, partition);
                let appended_at = Timestamp::from_micros(START);
                sink.apply(Delivered { partition, offset: commit, appended_at, batch, contexts: Vec::new() })
                    .await
                    .unwrap();
            }
            let passed = share.iter().map(|partition| Passed { partition: *partition, next: commit + 1 });
            sink.flush(&passed.collect::<Vec<_>>()).await.unwrap();
        }
    }
}

/// The record of `partition` in commit `commit`.
fn record(commit: u64, partition: u32) -> RecordBatch {
    let mut builder = ReadingsBuilder::default();
    for index in 0..ROWS_A_COMMIT {
        let index = (i64::try_from(commit).unwrap() * 2 + i64::from(partition)) * ROWS_A_COMMIT + index;
        let device = format!("device-{}", index % DEVICES);
        builder.push(&message(index, &device), Timestamp::from_micros(START + index));
    }
    builder.finish()
}

/// What every reader must find: rows, sum, devices, hours, earliest time.
fn expected() -> Json {
    let rows = i64::try_from(COMMITS).unwrap() * 2 * ROWS_A_COMMIT;
    let sum: f64 = (0..rows).filter(|index| index % 4 > 1).map(number).sum();
    json!([rows, sum, DEVICES, (rows - 1) / 60 + 1, "2026-07-28 20:00:00"])
}

#[tokio::test]
#[ignore = "needs python with duckdb, pyarrow, deltalake, polars"]
async fn every_reader_finds_the_same_rows_by_glob_and_by_log() {
    let dir = tempfile::tempdir().unwrap();
    let config = SinkConfig {
        root: dir.path().join("tables"),
        staging: dir.path().join("staging"),
        roll_age: Duration::from_secs(1),
        checkpoint_commits: 3,
        ..SinkConfig::default()
    };
    write(&config, &[&[0, 1]]).await;
    assert_read_alike(&config.root.join("readings"), COMMITS, 6, None);
}

#[tokio::test]
#[ignore = "needs python with duckdb, pyarrow, deltalake, polars"]
async fn every_reader_finds_the_same_rows_in_a_table_that_two_sinks_share() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        SinkConfig { root: dir.path().join("tables"), shared: true, checkpoint_commits: 3, ..SinkConfig::default() };
    write(&config, &[&[0], &[1]]).await;
    // Two fences, and each sink's commits.
    assert_read_alike(&config.root.join("readings"), 2 + 2 * COMMITS, 15, Some(1));
}

/// Every reader finds all rows of the table, whose last commit is `version` and last checkpoint `checkpoint`.
fn assert_read_alike(table: &Path, version: u64, checkpoint: u64, epoch: Option<u64>) {
    // Whoever reads the log has to read the checkpoint.
    for version in 0..=checkpoint {
        std::fs::remove_file(table.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers.py");
    let output = Command::new(python()).arg(script).arg(table).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    for reader in [
        "duckdb glob",
        "duckdb log",
        "pyarrow glob",
        "pyarrow log",
        "polars glob",
        "polars log",
        "pandas",
        "pandas log",
    ] {
        assert_eq!(found[reader], expected(), "{reader} in {found}");
    }
    let rows = expected()[0].as_i64().unwrap();
    assert_eq!(found["duckdb types"], json!(["VARCHAR", "TIMESTAMP WITH TIME ZONE", "DOUBLE"]));
    assert_eq!(found["duckdb filter"], rows / DEVICES);
    assert_eq!(found["deltalake device"], rows / DEVICES);
    assert_eq!(found["deltalake version"], version);
    assert_eq!(found["deltalake position"], COMMITS);
    assert_eq!(found["deltalake owner"], json!(epoch));
    // The first day has four hours, the second all that is left of the rows, up to a whole day.
    assert_eq!(found["deltalake day"], (rows - 4 * 60).min(24 * 60));
    assert_eq!(rows_by_log(table), rows);
}

#[tokio::test]
#[ignore = "needs python with duckdb, pyarrow, deltalake, polars"]
async fn the_sink_goes_on_after_another_program_compacted_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        SinkConfig { root: dir.path().join("tables"), staging: dir.path().join("staging"), ..SinkConfig::default() };
    write(&config, &[&[0, 1]]).await;
    let table = config.root.join("readings");
    let before = Table::open_read(&table).unwrap();
    let script = "import deltalake, sys
log = deltalake.DeltaTable(sys.argv[1])
log.optimize.compact()
log.create_checkpoint()";
    let output = Command::new(python()).args(["-c", script]).arg(&table).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let after = Table::open_read(&table).unwrap();
    assert!(after.version() > before.version() && after.files().len() < before.files().len());
    assert_eq!(rows_by_log(&table), expected()[0].as_i64().unwrap());
    // Only their checkpoint is left of the past.
    for version in 0..=after.version() {
        std::fs::remove_file(table.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    assert_eq!(Table::open_read(&table).unwrap().files(), after.files());
    let clock: Arc<dyn Clock> = ManualClock::new(Timestamp::from_micros(START));
    let metrics = SinkMetrics::register(&prometheus::Registry::new()).unwrap();
    let mut sink =
        TableSink::open(&config, TableSpec::readings(), &[0, 1], clock, Tracing::default(), &metrics).unwrap();
    assert_eq!([0, 1].map(|partition| sink.recovered(partition)), [Some(COMMITS); 2]);
    assert!(before.files().iter().all(|file| file.path.exists()), "what they replaced is theirs to delete");
    let mut builder = ReadingsBuilder::default();
    builder.push(&message(1, "device-1"), Timestamp::from_micros(START));
    let appended_at = Timestamp::from_micros(START);
    sink.apply(Delivered { partition: 0, offset: COMMITS, appended_at, batch: builder.finish(), contexts: Vec::new() })
        .await
        .unwrap();
    sink.flush(&[Passed { partition: 0, next: COMMITS + 1 }]).await.unwrap();
    assert_eq!(rows_by_log(&table), expected()[0].as_i64().unwrap() + 1);
}

/// A record of `rows` events, numbered on from `first`, a minute apart.
fn events(first: i64, rows: i64) -> RecordBatch {
    let text =
        |text: fn(i64) -> String| Arc::new(StringArray::from_iter_values((first..first + rows).map(text))) as ArrayRef;
    let dictionary = |text: fn(i64) -> String| {
        let texts: Vec<String> = (first..first + rows).map(text).collect();
        Arc::new(texts.iter().map(|text| Some(text.as_str())).collect::<DictionaryArray<Int32Type>>()) as ArrayRef
    };
    let number = |number: fn(i64) -> Option<i64>| {
        Arc::new((first..first + rows).map(number).collect::<Int64Array>()) as ArrayRef
    };
    let time = || {
        let times = TimestampMicrosecondArray::from_iter_values((first..first + rows).map(|n| START + n * MINUTE));
        Arc::new(times.with_timezone("UTC")) as ArrayRef
    };
    let columns = vec![
        text(|n| format!("{n:032x}-0")),
        dictionary(|_| "hot".to_owned()),
        dictionary(|_| "warning".to_owned()),
        text(|n| format!("reading {n} läuft heiß")),
        dictionary(|n| format!("device-{}", n % DEVICES)),
        dictionary(|_| "hall-1".to_owned()),
        time(),
        time(),
        number(|n| (n % 2 == 0).then_some(1)),
        number(Some),
        text(|n| format!("{{\"n\":{n}}}")),
    ];
    RecordBatch::try_new(telemetry::schema::events(), columns).unwrap()
}

#[tokio::test]
#[ignore = "needs python with duckdb, pyarrow, deltalake, polars"]
async fn every_reader_finds_the_same_events_by_glob_and_by_log() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        SinkConfig { root: dir.path().join("tables"), staging: dir.path().join("staging"), ..SinkConfig::default() };
    let clock: Arc<dyn Clock> = ManualClock::new(Timestamp::from_micros(START));
    let metrics = SinkMetrics::register(&prometheus::Registry::new()).unwrap();
    let mut sink =
        TableSink::open(&config, TableSpec::events("maintenance"), &[0], clock, Tracing::default(), &metrics).unwrap();
    let appended_at = Timestamp::from_micros(START);
    for commit in 0..COMMITS {
        let batch = events(i64::try_from(commit).unwrap() * ROWS_A_COMMIT, ROWS_A_COMMIT);
        sink.apply(Delivered { partition: 0, offset: commit, appended_at, batch, contexts: Vec::new() }).await.unwrap();
        sink.flush(&[Passed { partition: 0, next: commit + 1 }]).await.unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/events.py");
    let output = Command::new(python()).arg(script).arg(sink.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Json = serde_json::from_slice(&output.stdout).unwrap();
    let rows = i64::try_from(COMMITS).unwrap() * ROWS_A_COMMIT;
    let expected = json!([rows, rows, DEVICES, rows * (rows - 1) / 2, rows / 2, "2026-07-28 20:00:00"]);
    for reader in ["duckdb glob", "duckdb log", "pyarrow glob", "pyarrow log", "polars glob", "polars log", "pandas"] {
        assert_eq!(found[reader], expected, "{reader} in {found}");
    }
}

fn rows_by_log(table: &Path) -> i64 {
    let table = Table::open_read(table).unwrap();
    i64::try_from(table.files().iter().map(|file| file.rows.unwrap()).sum::<u64>()).unwrap()
}

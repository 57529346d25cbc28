//! The log as bytes: what other programs read, and what of theirs is read here.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use telemetry::schema;

use super::action::{Action, Remove};
use super::{Add, Snapshot, Txn, checkpoint, log, schema as columns, stats};
use crate::TableSpec;
use crate::error::SinkError;

fn actions(lines: &[Value]) -> Vec<Action> {
    lines.iter().map(|line| serde_json::from_value(line.clone()).unwrap()).collect()
}

fn start() -> Vec<Action> {
    let metadata = columns::metadata(&TableSpec::readings(), 1_785_229_200_000_000, 7).unwrap();
    let mut start = actions(&[json!({"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}})]);
    start.push(metadata.into());
    start
}

fn add(path: &str) -> Value {
    json!({"add": {
        "path": path, "partitionValues": {"date": "2026-07-28", "hour": "9"}, "size": 12,
        "modificationTime": 1_785_229_200_000_i64, "dataChange": true, "stats": "{\"numRecords\":3}"
    }})
}

fn write(dir: &Path, version: u64, actions: &[Action]) -> Result<(), SinkError> {
    log::write_commit(dir, version, actions, &dir.join("commit.staged"))
}

#[test]
fn an_add_is_written_in_the_words_of_the_protocol() {
    let line = add("date=2026-07-28/hour=09/x.parquet");
    let [action] = &actions(std::slice::from_ref(&line))[..] else { panic!("one action") };
    assert_eq!(serde_json::to_value(action).unwrap(), line);
    let txn = Action::from(Txn { app_id: "weir/readings/3".to_owned(), version: 42, last_updated: None });
    assert_eq!(serde_json::to_string(&txn).unwrap(), r#"{"txn":{"appId":"weir/readings/3","version":42}}"#);
}

#[test]
fn the_schema_names_every_column_and_the_partition_columns() {
    let spec = TableSpec::readings();
    let metadata = columns::metadata(&spec, 1_785_229_200_000_000, 7).unwrap();
    let parsed: Value = serde_json::from_str(&metadata.schema_string).unwrap();
    let types: Vec<_> = parsed["fields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| format!("{} {}", field["name"].as_str().unwrap(), field["type"].as_str().unwrap()))
        .collect();
    assert_eq!(types.len(), schema::reading::TABLE_COLUMNS + 2);
    for expected in ["device_id string", "time timestamp", "value double", "value_bool boolean", "seq long"] {
        assert!(types.contains(&expected.to_owned()), "{expected}");
    }
    assert_eq!(types[schema::reading::TABLE_COLUMNS..], ["date date", "hour integer"]);
    assert!(columns::matches(&metadata, &spec));
    assert!(!columns::matches(&metadata, &TableSpec::alerts()));
    let groups: Vec<usize> = metadata.id.split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{}", metadata.id);
}

#[test]
fn a_snapshot_is_what_was_added_and_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Snapshot::read(&dir.path().join("nothing")).unwrap(), None);
    write(dir.path(), 0, &start()).unwrap();
    write(dir.path(), 1, &actions(&[add("a"), add("b"), json!({"txn": {"appId": "weir/readings/0", "version": 5}})]))
        .unwrap();
    // Another program merges two files, and says so with more fields than we write.
    let theirs =
        json!({"remove": {"path": "a", "deletionTimestamp": 9, "dataChange": false, "extendedFileMetadata": true}});
    write(dir.path(), 2, &actions(&[theirs, add("merged"), json!({"cdc": {"path": "x"}})])).unwrap();
    let snapshot = Snapshot::read(dir.path()).unwrap().unwrap();
    assert_eq!(snapshot.version, 2);
    assert_eq!(snapshot.files.keys().collect::<Vec<_>>(), ["b", "merged"]);
    assert_eq!(snapshot.removed.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(snapshot.txns["weir/readings/0"].version, 5);
}

#[test]
fn a_checkpoint_holds_all_of_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, &start()).unwrap();
    let mut more: Vec<Action> = (0..5000).map(|index| actions(&[add(&format!("file-{index}"))]).remove(0)).collect();
    more.push(Txn { app_id: "weir/readings/2".to_owned(), version: i64::MAX, last_updated: Some(1) }.into());
    more.push(Remove { path: "gone".to_owned(), deletion_timestamp: Some(3), data_change: false }.into());
    let unpartitioned = Add { partition_values: [("date".to_owned(), None)].into(), ..more[0].add.clone().unwrap() };
    more.push(Add { path: "null".to_owned(), stats: None, ..unpartitioned }.into());
    write(dir.path(), 1, &more).unwrap();
    let whole = Snapshot::read(dir.path()).unwrap().unwrap();
    checkpoint::write(dir.path(), whole.clone(), &dir.path().join("checkpoint.staged")).unwrap();
    // A second writer of the same checkpoint finds it there.
    checkpoint::write(dir.path(), whole.clone(), &dir.path().join("checkpoint.staged")).unwrap();
    (0..=1).for_each(|version| fs::remove_file(log::commit_path(dir.path(), version)).unwrap());
    let mut read = Snapshot::read(dir.path()).unwrap().unwrap();
    assert_eq!(read.checkpoint.take(), Some(1));
    // A null partition value is an absent one.
    read.files.get_mut("null").unwrap().partition_values.insert("date".to_owned(), None);
    assert_eq!(read, whole);
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_broken_checkpoint_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = checkpoint::path(dir.path(), 4);
    fs::write(&path, "PAR1").unwrap();
    let error = Snapshot::read(dir.path()).unwrap_err();
    assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
}

#[test]
fn a_version_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), 0, &start()).unwrap();
    let before = fs::read(log::commit_path(dir.path(), 0)).unwrap();
    fs::remove_file(dir.path().join("commit.staged")).unwrap_err();
    assert!(matches!(write(dir.path(), 0, &[]), Err(SinkError::Conflict { .. })));
    assert_eq!(fs::read(log::commit_path(dir.path(), 0)).unwrap(), before);
}

#[test]
fn rows_are_read_out_of_anybodys_statistics() {
    assert_eq!(stats::rows("{\"numRecords\":7,\"tightBounds\":true}"), Some(7));
    assert_eq!(stats::rows("{}"), None);
    assert_eq!(stats::rows("nonsense"), None);
}

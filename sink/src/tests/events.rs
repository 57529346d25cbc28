//! Tables of events: named by configuration, without a number.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int64Array, RecordBatch, StringArray};
use arrow::array::{TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use parquet::basic::Encoding;
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use streams::consume::Effect;
use telemetry::trace::Tracing;
use telemetry::{Clock, schema};

use super::support::{Fixture, HOUR, START, delivered, passed, read};
use crate::{SinkError, Table, TableSink, TableSpec};

fn open(fixture: &Fixture, name: &str) -> Result<TableSink, SinkError> {
    let clock: Arc<dyn Clock> = fixture.clock.clone();
    TableSink::open(&fixture.config, TableSpec::events(name), &[0, 1], clock, Tracing::default(), &fixture.metrics)
}

/// A record of events of these devices and times, all of one run: `0f-0`, `0f-1`, ...
fn batch(events: &[(&str, i64)]) -> RecordBatch {
    let rows = events.len();
    let text = |text: &str| Arc::new(StringArray::from(vec![text; rows])) as ArrayRef;
    let dictionary = |text: &str| Arc::new(vec![Some(text); rows].into_iter().collect::<DictionaryArray<Int32Type>>());
    let ids: Vec<String> = (0..rows).map(|index| format!("0f-{index}")).collect();
    let devices: DictionaryArray<Int32Type> = events.iter().map(|(device, _)| Some(*device)).collect();
    let times = |times: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(ids)),
        dictionary("hot"),
        dictionary("warning"),
        text("is hot"),
        Arc::new(devices),
        new_null_array(&schema::dictionary_type(), rows),
        times(events.iter().map(|(_, time)| *time).collect()),
        times(vec![START; rows]),
        Arc::new(Int64Array::from(vec![None; rows])),
        Arc::new(Int64Array::from(vec![Some(7); rows])),
        text(r#"{"specversion":"1.0"}"#),
    ];
    RecordBatch::try_new(schema::events(), columns).unwrap()
}

#[tokio::test]
async fn events_are_a_table_sorted_by_device_and_time_that_a_restart_goes_on_with() {
    let fixture = Fixture::new();
    let mut sink = open(&fixture, "maintenance").unwrap();
    assert_eq!(sink.path(), fixture.config.root.join("maintenance"));
    sink.apply(delivered(0, 0, batch(&[("b", START), ("a", START + 2), ("a", START + 1)]))).await.unwrap();
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    drop(sink);

    let mut sink = open(&fixture, "maintenance").unwrap();
    assert_eq!((sink.recovered(0), sink.recovered(1)), (Some(1), None));
    sink.apply(delivered(0, 1, batch(&[("c", START + HOUR)]))).await.unwrap();
    sink.flush(&passed(&[(0, 2)])).await.unwrap();

    let table = Table::open_read(sink.path()).unwrap();
    assert_eq!(table.position("maintenance", 0), Some(2));
    assert_eq!(table.files().iter().map(|file| file.rows.unwrap()).collect::<Vec<_>>(), [3, 1]);
    let [batch] = &read(&table.files()[0].path)[..] else { panic!("one batch") };
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected: Vec<_> = schema::events().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, expected);
    let ids: Vec<_> = batch.column_by_name("event_id").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(ids, ["0f-2", "0f-1", "0f-0"], "by device, then by time");
    let times = batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[START + 1, START + 2, START]);
    assert_eq!(batch.column_by_name("boot").unwrap().null_count(), 3);
}

#[tokio::test]
async fn statistics_name_device_and_time_and_no_value() {
    let fixture = Fixture::new();
    let mut sink = open(&fixture, "maintenance").unwrap();
    sink.apply(delivered(1, 0, batch(&[("b", START), ("a", START)]))).await.unwrap();
    sink.flush(&passed(&[(1, 1)])).await.unwrap();
    let commit = std::fs::read_to_string(sink.path().join("_delta_log/00000000000000000001.json")).unwrap();
    let actions = commit.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let stats: Vec<String> = actions.filter_map(|action| Some(action["add"]["stats"].as_str()?.to_owned())).collect();
    let stats: serde_json::Value = serde_json::from_str(&stats[0]).unwrap();
    let time = "2026-07-28T09:00:00.000000Z";
    let expected = serde_json::json!({
        "numRecords": 2,
        "minValues": {"device_id": "a", "time": time},
        "maxValues": {"device_id": "b", "time": time},
        "nullCount": {"device_id": 0, "time": 0},
    });
    assert_eq!(stats, expected);
    let table = Table::open_read(sink.path()).unwrap();
    let reader = SerializedFileReader::new(std::fs::File::open(&table.files()[0].path).unwrap()).unwrap();
    let columns = reader.metadata().row_group(0).columns();
    let encodings = |name: &str| {
        let column = columns.iter().find(|column| column.column_path().string() == name).unwrap();
        column.encodings().collect::<Vec<_>>()
    };
    assert!(!encodings("event_id").contains(&Encoding::RLE_DICTIONARY), "each id is different");
    assert!(encodings("rule_id").contains(&Encoding::RLE_DICTIONARY));
}

#[test]
fn a_name_that_could_leave_the_root_is_refused_before_anything_is_made() {
    let fixture = Fixture::new();
    for name in ["", ".", "..", "../x", "a/b", "/etc", "Upper", "a b", "ä", &"x".repeat(65)] {
        let error = open(&fixture, name).unwrap_err();
        assert!(matches!(&error, SinkError::Config(text) if text.contains(&format!("{name:?}"))), "{name}: {error}");
    }
    assert!(!fixture.config.root.exists());
    open(&fixture, "door_events-2").unwrap();
}

#[test]
fn another_kind_of_table_under_the_name_is_refused() {
    let fixture = Fixture::new();
    drop(fixture.open());
    let error = open(&fixture, "readings").unwrap_err();
    assert!(matches!(error, SinkError::Incompatible { .. }), "{error}");
}

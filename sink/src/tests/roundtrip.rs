//! What goes in comes out, to the last bit, in the order of the table.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use parquet::basic::{Compression, Encoding};
use parquet::file::reader::FileReader;
use parquet::file::serialized_reader::SerializedFileReader;
use streams::consume::Effect;
use telemetry::batch::ReadingsBuilder;
use telemetry::trace::Tracing;
use telemetry::{Clock, Identity, Message, Reading, Timestamp, Value, schema};

use super::support::{Fixture, HOUR, START, apply, delivered, logged, passed, read, row, rows_of};
use crate::{SinkError, Table, TableSink, TableSpec};

#[tokio::test]
async fn every_kind_of_value_is_kept_to_the_last_bit() {
    let numbers = [0.1 + 0.2, -0.0, f64::MIN_POSITIVE / 3.0, f64::MAX, 1e-300, 80.0_f64.next_up()];
    let mut readings: Vec<Reading<'_>> = numbers.map(|value| reading("n", Value::Number(value))).to_vec();
    readings.push(reading("b", Value::Bool(true)));
    readings.push(reading("b", Value::Bool(false)));
    readings.push(reading("t", Value::Text(Cow::Borrowed("läuft\n\"heiß\""))));
    readings.push(reading("t", Value::Text(Cow::Borrowed(""))));
    let count = readings.len();
    let mut builder = ReadingsBuilder::default();
    let message = Message {
        device_id: "../../etc/passwd".into(),
        site: None,
        identity: Some(Identity { boot: i64::MAX, seq: i64::MIN }),
        readings,
        ignored_fields: 0,
    };
    builder.push(&message, Timestamp::from_micros(START + 7));
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    sink.apply(delivered(2, 41, builder.finish())).await.unwrap();
    sink.flush(&passed(&[(2, 42)])).await.unwrap();

    let files = fixture.glob();
    let name = "date=2026-07-28/hour=09/part-00002-00000000000000000041-00000000000000000041.parquet";
    assert_eq!(files, [fixture.table_dir().join(name)]);
    let [batch] = &read(&files[0])[..] else { panic!("one batch") };
    assert_eq!(batch.num_rows(), count);
    let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(values.value(index).to_bits(), number.to_bits());
    }
    assert_eq!(values.null_count(), 4);
    let truths: Vec<_> = batch.column_by_name("value_bool").unwrap().as_boolean().iter().flatten().collect();
    assert_eq!(truths, [true, false]);
    let texts: Vec<_> = batch.column_by_name("value_text").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(texts, ["läuft\n\"heiß\"", ""]);
    assert_eq!(batch.column_by_name("device_id").unwrap().as_string::<i32>().value(0), "../../etc/passwd");
    assert_eq!(batch.column_by_name("boot").unwrap().as_primitive::<Int64Type>().value(0), i64::MAX);
    assert_eq!(batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>().value(0), i64::MIN);
    let received = batch.column_by_name("received_at").unwrap().as_primitive::<TimestampMicrosecondType>();
    assert_eq!(received.value(0), START + 7);
    assert_eq!(batch.column_by_name("site").unwrap().null_count(), count);
}

fn reading<'a>(metric: &'static str, value: Value<'a>) -> Reading<'a> {
    Reading { metric: metric.into(), time: Timestamp::from_micros(START), value, unit: None }
}

#[tokio::test]
async fn rows_are_sorted_by_device_and_time_and_equal_ones_keep_their_order() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    apply(&mut sink, 0, 0, &[row("b", START + 5, 0), row("a", START + 9, 1), row("b", START + 1, 2)]).await;
    apply(&mut sink, 0, 1, &[row("c", START, 3), row("b", START + 5, 4), row("a", START + 2, 5)]).await;
    sink.flush(&passed(&[(0, 2)])).await.unwrap();
    let seqs: Vec<i64> = rows_of(&fixture.glob()[0]).iter().map(|row| row.seq).collect();
    assert_eq!(seqs, [5, 1, 2, 0, 4, 3]);
}

#[tokio::test]
async fn times_that_no_calendar_has_are_kept_and_sorted() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    let times = [i64::MAX, -1, i64::MAX - 5, i64::MIN, START];
    let rows: Vec<_> = (0..).zip(times).map(|(seq, time)| row("a", time, seq)).collect();
    apply(&mut sink, 0, 0, &rows).await;
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    let found: Vec<Vec<i64>> =
        fixture.glob().iter().map(|path| rows_of(path).iter().map(|row| row.time).collect()).collect();
    assert_eq!(found, [vec![i64::MIN, -1], vec![START], vec![i64::MAX - 5, i64::MAX]]);
}

#[tokio::test]
async fn alerts_are_a_table_of_their_own() {
    let readings = super::support::batch(&[row("b", START, 0), row("a", START, 1)]);
    let texts = |texts: [&str; 2]| Arc::new(StringArray::from(texts.to_vec())) as ArrayRef;
    let dictionary = |text| Arc::new([Some(text); 2].into_iter().collect::<DictionaryArray<Int32Type>>()) as ArrayRef;
    let mut columns =
        vec![texts(["0f", "1e"]), dictionary("hot"), dictionary("warning"), texts(["b is hot", "a is hot"])];
    columns.extend(readings.columns().iter().take(schema::reading::TABLE_COLUMNS).cloned());
    let alerts = RecordBatch::try_new(schema::alerts(), columns).unwrap();

    let fixture = Fixture::new();
    let clock: Arc<dyn Clock> = fixture.clock.clone();
    let mut sink =
        TableSink::open(&fixture.config, TableSpec::alerts(), &[0], clock, Tracing::default(), &fixture.metrics)
            .unwrap();
    assert_eq!(sink.path(), fixture.config.root.join("alerts"));
    sink.apply(delivered(0, 0, alerts)).await.unwrap();
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    let table = Table::open_read(sink.path()).unwrap();
    assert_eq!(table.position("alerts", 0), Some(1));
    let [batch] = &read(&table.files()[0].path)[..] else { panic!("one batch") };
    let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
    let expected: Vec<_> = schema::alerts().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, expected);
    let messages: Vec<_> = batch.column_by_name("message").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(messages, ["a is hot", "b is hot"], "sorted by device");
    let severities: Vec<_> = batch.column_by_name("severity").unwrap().as_string::<i32>().iter().flatten().collect();
    assert_eq!(severities, ["warning", "warning"]);
}

#[tokio::test]
async fn files_are_encoded_for_many_readers() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    let rows: Vec<_> = (0..5000).map(|seq| row(&format!("device-{}", seq % 50), START + seq, seq)).collect();
    apply(&mut sink, 0, 0, &rows).await;
    sink.flush(&passed(&[(0, 1)])).await.unwrap();
    let path = &fixture.glob()[0];
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let metadata = reader.metadata();
    assert!(metadata.file_metadata().key_value_metadata().is_none(), "no arrow schema");
    let group = metadata.row_group(0);
    let sorting: Vec<_> = group.sorting_columns().unwrap().iter().map(|column| column.column_idx).collect();
    assert_eq!(sorting, [0, 2]);
    let column = |name: &str| group.columns().iter().find(|column| column.column_path().string() == name).unwrap();
    let encodings = |name: &str| column(name).encodings().collect::<Vec<_>>();
    assert!(encodings("time").contains(&Encoding::DELTA_BINARY_PACKED));
    assert!(encodings("seq").contains(&Encoding::DELTA_BINARY_PACKED));
    assert!(encodings("device_id").contains(&Encoding::RLE_DICTIONARY));
    assert!(!encodings("value").contains(&Encoding::RLE_DICTIONARY));
    assert!(matches!(column("value").compression(), Compression::ZSTD(_)));
    assert!(column("time").statistics().is_some());
    // 50 devices at one false positive in a hundred need well under a kibibyte.
    let bloom = column("device_id").bloom_filter_length().unwrap();
    assert!(bloom < 1024, "{bloom}");
    let schema = read(path)[0].schema();
    assert_eq!(schema.field_with_name("device_id").unwrap().data_type(), &DataType::Utf8);
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    assert_eq!(schema.field_with_name("time").unwrap().data_type(), &utc);
    assert!(schema.field_with_name("date").is_err() && schema.field_with_name("row").is_err());
}

#[tokio::test]
async fn a_flush_is_due_by_rows_by_bytes_and_by_age() {
    let mut fixture = Fixture::new();
    fixture.config.roll_rows = 3;
    let mut sink = fixture.open();
    assert!(!sink.wants_flush(Duration::from_secs(1_000_000)), "nothing is buffered");
    apply(&mut sink, 0, 0, &[row("a", START, 0), row("a", START, 1)]).await;
    assert!(!sink.wants_flush(Duration::ZERO));
    assert!(sink.wants_flush(fixture.config.roll_age), "old enough");
    apply(&mut sink, 1, 0, &[row("b", START, 2)]).await;
    assert!(sink.wants_flush(Duration::ZERO), "rows of all partitions count");
    sink.flush(&passed(&[(0, 1), (1, 1)])).await.unwrap();
    assert!(!sink.wants_flush(Duration::from_secs(1_000_000)));
    drop(sink);
    (fixture.config.roll_rows, fixture.config.roll_bytes) = (1000, 100);
    let mut sink = fixture.open();
    apply(&mut sink, 0, 1, &[row("a", START, 3), row("a", START, 4)]).await;
    assert!(sink.wants_flush(Duration::ZERO), "two rows are more than 100 bytes");
}

#[tokio::test]
async fn a_recording_over_many_hours_becomes_a_file_an_hour() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    let rows: Vec<_> = (0..600).map(|seq| row("machine-1", START + seq * HOUR / 2, seq)).collect();
    for (offset, rows) in (0..).zip(rows.chunks(100)) {
        apply(&mut sink, 3, offset, rows).await;
    }
    sink.flush(&passed(&[(3, 6)])).await.unwrap();
    let files = fixture.glob();
    assert_eq!(files.len(), 300);
    assert_eq!(logged(&fixture.table()), files);
    let found: Vec<_> = files.iter().flat_map(|path| rows_of(path)).collect();
    assert_eq!(found, rows);
    let last = "part-00003-00000000000000000005-00000000000000000005.parquet";
    assert!(files.last().unwrap().ends_with(last), "only records with rows in the file are named");
}

#[tokio::test]
async fn a_record_behind_the_table_or_rows_without_a_position_are_refused() {
    let fixture = Fixture::new();
    let mut sink = fixture.open();
    apply(&mut sink, 0, 4, &[row("a", START, 0)]).await;
    let repeated = sink.apply(delivered(0, 4, super::support::batch(&[row("a", START, 0)]))).await.unwrap_err();
    assert!(matches!(repeated.source.downcast_ref(), Some(SinkError::Behind { offset: 4, committed: 5, .. })));
    let unnamed = sink.flush(&passed(&[(1, 9)])).await.unwrap_err();
    assert!(matches!(unnamed.source.downcast_ref(), Some(SinkError::Behind { partition: 0, offset: 4, .. })));
    sink.flush(&passed(&[(0, 5)])).await.unwrap();
    drop(sink);
    let mut sink = fixture.open();
    let behind = sink.apply(delivered(0, 2, super::support::batch(&[row("a", START, 0)]))).await.unwrap_err();
    assert!(behind.to_string().contains("record 2 was applied"), "{behind}");
}

//! A table in a temporary directory, batches for it, and what a reader finds.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use streams::consume::{Delivered, Effect, Passed};
use telemetry::batch::ReadingsBuilder;
use telemetry::clock::{Clock, ManualClock};
use telemetry::trace::Tracing;
use telemetry::{Identity, Message, Reading, Timestamp, Value};
use tempfile::TempDir;

use crate::buffer::PartitionRows;
use crate::commit::Committer;
use crate::recovery::Opening;
use crate::{SinkConfig, SinkError, SinkMetrics, Table, TableSink, TableSpec};

/// 2026-07-28T09:00:00Z.
pub(crate) const START: i64 = 1_785_229_200_000_000;
pub(crate) const HOUR: i64 = 3_600_000_000;
pub(crate) const PARTITIONS: u32 = 4;
pub(crate) const ALL: [u32; 4] = [0, 1, 2, 3];

pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
    pub(crate) config: SinkConfig,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) registry: prometheus::Registry,
    pub(crate) metrics: SinkMetrics,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = SinkConfig {
            root: dir.path().join("tables"),
            staging: dir.path().join("staging"),
            roll_age: Duration::from_secs(5),
            ..SinkConfig::default()
        };
        let registry = prometheus::Registry::new();
        let metrics = SinkMetrics::register(&registry).unwrap();
        Self { dir, config, clock: ManualClock::new(Timestamp::from_micros(START)), registry, metrics }
    }

    /// A table that several sinks share.
    pub(crate) fn shared() -> Self {
        let mut fixture = Self::new();
        fixture.config.shared = true;
        fixture
    }

    /// A sink of these partitions.
    pub(crate) fn open_of(&self, partitions: &[u32]) -> TableSink {
        let clock: Arc<dyn Clock> = self.clock.clone();
        TableSink::open(&self.config, TableSpec::readings(), partitions, clock, Tracing::default(), &self.metrics)
            .unwrap()
    }

    /// A sink of these partitions that is stopped before it clears up.
    pub(crate) fn begin(&self, partitions: &[u32]) -> Opening {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Opening::begin(&self.config, TableSpec::readings(), partitions, clock).unwrap()
    }

    /// What a sink of these partitions commits with, to be driven step by step.
    pub(crate) fn committer(&self, partitions: &[u32]) -> Committer {
        self.begin(partitions).finish().unwrap().committer
    }

    pub(crate) fn open(&self) -> TableSink {
        self.try_open().unwrap()
    }

    pub(crate) fn try_open(&self) -> Result<TableSink, SinkError> {
        let clock: Arc<dyn Clock> = self.clock.clone();
        TableSink::open(&self.config, TableSpec::readings(), &ALL, clock, Tracing::default(), &self.metrics)
    }

    pub(crate) fn table_dir(&self) -> PathBuf {
        self.config.root.join("readings")
    }

    pub(crate) fn table(&self) -> Table {
        Table::open_read(&self.table_dir()).unwrap()
    }

    /// Parquet files below the table, found as a glob finds them.
    pub(crate) fn glob(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.table_dir()];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    dirs.push(path);
                } else if path.extension().is_some_and(|extension| extension == "parquet") {
                    found.push(path);
                }
            }
        }
        found.retain(|path| !path.to_str().unwrap().contains("_delta_log"));
        found.sort();
        found
    }
}

/// A reading to be: device, time, number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) device: String,
    pub(crate) time: i64,
    pub(crate) value: f64,
    pub(crate) seq: i64,
}

pub(crate) fn row(device: &str, time: i64, seq: i64) -> Row {
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let value = seq as f64 + 0.1;
    Row { device: device.to_owned(), time, value, seq }
}

/// A stream batch of one message per row.
pub(crate) fn batch(rows: &[Row]) -> RecordBatch {
    let mut builder = ReadingsBuilder::default();
    for row in rows {
        let message = Message {
            device_id: Cow::Borrowed(&row.device),
            site: Some(Cow::Borrowed("hall-1")),
            identity: Some(Identity { boot: 1, seq: row.seq }),
            readings: vec![Reading {
                metric: Cow::Borrowed("temperature"),
                time: Timestamp::from_micros(row.time),
                value: Value::Number(row.value),
                unit: Some(Cow::Borrowed("Cel")),
            }],
            ignored_fields: 0,
        };
        builder.push(&message, Timestamp::from_micros(START));
    }
    builder.finish()
}

pub(crate) fn delivered(partition: u32, offset: u64, batch: RecordBatch) -> Delivered {
    Delivered { partition, offset, appended_at: Timestamp::from_micros(START), batch, contexts: Vec::new() }
}

pub(crate) async fn apply(sink: &mut TableSink, partition: u32, offset: u64, rows: &[Row]) {
    sink.apply(delivered(partition, offset, batch(rows))).await.unwrap();
}

/// Records of one partition with their offsets, as a commit takes them.
pub(crate) fn partition_rows(records: &[(u64, Vec<Row>)]) -> PartitionRows {
    let mut rows = PartitionRows::default();
    for (offset, record) in records {
        rows.push(*offset, TableSpec::readings().project(&batch(record)).unwrap()).unwrap();
    }
    rows
}

pub(crate) fn passed(next: &[(u32, u64)]) -> Vec<Passed> {
    next.iter().map(|(partition, next)| Passed { partition: *partition, next: *next }).collect()
}

/// Batches of one file, in order.
pub(crate) fn read(path: &std::path::Path) -> Vec<RecordBatch> {
    let file = std::fs::File::open(path).unwrap();
    ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap().map(Result::unwrap).collect()
}

/// Rows of one file, in order.
pub(crate) fn rows_of(path: &std::path::Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in read(path) {
        let devices = batch.column_by_name("device_id").unwrap().as_string::<i32>();
        let times = batch.column_by_name("time").unwrap().as_primitive::<TimestampMicrosecondType>();
        let values = batch.column_by_name("value").unwrap().as_primitive::<Float64Type>();
        let seqs = batch.column_by_name("seq").unwrap().as_primitive::<Int64Type>();
        for index in 0..batch.num_rows() {
            rows.push(Row {
                device: devices.value(index).to_owned(),
                time: times.value(index),
                value: values.value(index),
                seq: seqs.value(index),
            });
        }
    }
    rows
}

/// Sequence numbers in all of `files`, sorted: what is there, how often.
pub(crate) fn seqs(files: &[PathBuf]) -> Vec<i64> {
    let mut seqs: Vec<i64> = files.iter().flat_map(|path| rows_of(path)).map(|row| row.seq).collect();
    seqs.sort_unstable();
    seqs
}

/// Files that the log names.
pub(crate) fn logged(table: &Table) -> Vec<PathBuf> {
    table.files().iter().map(|file| file.path.clone()).collect()
}

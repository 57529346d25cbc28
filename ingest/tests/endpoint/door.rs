//! A running door, and what came through it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, SchemaRef};
use ingest::{Ingest, IngestConfig, IngestMetrics};
use prometheus::Registry;
use streams::{Partition, StreamName, Streams};
use telemetry::clock::SystemClock;
use telemetry::ipc::Decoder;
use telemetry::schema::{self, dead_letter, reading};
use telemetry::trace::Tracing;

use crate::gate::{Gate, PARTITIONS};

pub(crate) struct Door {
    pub(crate) ingest: Ingest,
    pub(crate) gate: Arc<Gate>,
    registry: Registry,
}

/// A row of `readings`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) device_id: String,
    pub(crate) metric: String,
    pub(crate) value: Option<f64>,
    pub(crate) boot: Option<i64>,
    pub(crate) seq: Option<i64>,
}

/// A row of `dead_letters`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Letter {
    pub(crate) reason: String,
    pub(crate) detail: String,
    pub(crate) topic: String,
    pub(crate) client_id: String,
    pub(crate) payload: Vec<u8>,
    /// Boot and number that the transport gave.
    pub(crate) identity: Option<(i64, i64)>,
}

pub(crate) fn config() -> IngestConfig {
    IngestConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..IngestConfig::default() }
}

impl Door {
    pub(crate) async fn open() -> Self {
        Self::with(config(), Gate::open()).await
    }

    pub(crate) async fn with(config: IngestConfig, gate: Arc<Gate>) -> Self {
        Self::start(config, gate, Tracing::default()).await
    }

    pub(crate) async fn traced(gate: Arc<Gate>, tracing: Tracing) -> Self {
        Self::start(config(), gate, tracing).await
    }

    async fn start(config: IngestConfig, gate: Arc<Gate>, tracing: Tracing) -> Self {
        let registry = Registry::new();
        let metrics = IngestMetrics::register(&registry).unwrap();
        let ingest = Ingest::start(config, gate.clone(), SystemClock::shared(), tracing, metrics).await.unwrap();
        Self { ingest, gate, registry }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.ingest.local_addr()
    }

    /// Sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        self.labelled(name, "")
    }

    /// A metric, the series with this label value only.
    pub(crate) fn labelled(&self, name: &str, value: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let series = family.get_metric().iter();
        let wanted =
            series.filter(|one| value.is_empty() || one.get_label().iter().any(|label| label.value() == value));
        wanted.map(|one| one.get_counter().get_value() + one.get_gauge().get_value()).sum()
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_becomes(&self, name: &str, value: f64) {
        while self.metric(name).total_cmp(&value).is_ne() {
            tokio::task::yield_now().await;
        }
    }

    /// All rows of `readings`, partition by partition, in the order of each.
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for index in 0..PARTITIONS {
            for batch in self.batches(StreamName::readings(), index, schema::readings_stream()).await {
                rows.extend(rows_of(&batch));
            }
        }
        rows
    }

    pub(crate) async fn letters(&self) -> Vec<Letter> {
        let batches = self.batches(StreamName::dead_letters(), 0, schema::dead_letters()).await;
        batches.iter().flat_map(letters_of).collect()
    }

    async fn batches(&self, stream: StreamName, index: u32, schema: SchemaRef) -> Vec<RecordBatch> {
        let mut decoder = Decoder::new(schema).unwrap();
        let read = self.gate.read(&Partition::new(stream, index), 0, usize::MAX).await.unwrap();
        read.records.into_iter().map(|record| decoder.decode(record.payload).unwrap()).collect()
    }
}

pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let numbers = |column: usize, row: usize| {
        let column = batch.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    let values = batch.column(reading::VALUE).as_primitive::<Float64Type>();
    (0..batch.num_rows())
        .map(|row| Row {
            device_id: entry(batch.column(reading::DEVICE_ID), row),
            metric: entry(batch.column(reading::METRIC), row),
            value: values.is_valid(row).then(|| values.value(row)),
            boot: numbers(reading::BOOT, row),
            seq: numbers(reading::SEQ, row),
        })
        .collect()
}

pub(crate) fn letters_of(batch: &RecordBatch) -> Vec<Letter> {
    let text = |column: usize, row: usize| batch.column(column).as_string::<i32>().value(row).to_owned();
    let number = |column: usize, row: usize| {
        let column = batch.column(column).as_primitive::<Int64Type>();
        column.is_valid(row).then(|| column.value(row))
    };
    (0..batch.num_rows())
        .map(|row| Letter {
            reason: entry(batch.column(1), row),
            detail: text(2, row),
            topic: text(3, row),
            client_id: text(4, row),
            payload: batch.column(5).as_binary::<i32>().value(row).to_vec(),
            identity: number(dead_letter::BOOT, row).zip(number(dead_letter::SEQ, row)),
        })
        .collect()
}

/// Entry `row` of a column of dictionary type.
fn entry(column: &ArrayRef, row: usize) -> String {
    let column = column.as_dictionary::<Int32Type>();
    let key = column.key(row).unwrap();
    column.values().as_string::<i32>().value(key).to_owned()
}

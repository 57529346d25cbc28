//! A door with a bridge beside it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use ingest::bridge::{Bridge, BridgeConfig, BridgeMetrics, Protocol, Subscription};
use ingest::{BridgeState, Ingest, IngestMetrics};
use prometheus::Registry;
use streams::{Partition, StreamName, Streams};
use telemetry::clock::SystemClock;
use telemetry::formats::Format;
use telemetry::ipc::Decoder;
use telemetry::schema;
use telemetry::trace::Tracing;

use super::held::{Held, PARTITIONS};
use super::stub::Stub;
use crate::door::{self, Letter, Row};
use crate::raw::Version;

pub(crate) struct World {
    pub(crate) held: Arc<Held>,
    pub(crate) ingest: Ingest,
    pub(crate) bridge: Bridge,
    registry: Registry,
}

pub(crate) fn subscription(filter: &str) -> Subscription {
    Subscription {
        filter: filter.to_owned(),
        share: None,
        topic_template: "{site}/{device_id}/telemetry".to_owned(),
        format: Format::Auto,
    }
}

/// Settings that wait for nothing longer than they must; pings come each 0.75 s.
pub(crate) fn settings(address: SocketAddr, version: Version) -> BridgeConfig {
    BridgeConfig {
        url: format!("mqtt://{address}"),
        protocol: match version {
            Version::V3 => Protocol::V4,
            Version::V5 => Protocol::V5,
        },
        client_id: "bridge".to_owned(),
        subscriptions: vec![subscription("+/+/telemetry")],
        keep_alive: Duration::from_secs(1),
        backoff: Duration::from_millis(1),
        longest_backoff: Duration::from_millis(5),
        watch_drops: false,
        ..BridgeConfig::default()
    }
}

impl World {
    /// A bridge to `stub`, and streams that hold everything back until they are told otherwise.
    pub(crate) async fn held(stub: &Stub) -> Self {
        Self::with(settings(stub.address(), stub.version()), Held::back()).await
    }

    /// A bridge to `stub`, and streams that are durable at once.
    pub(crate) async fn free(stub: &Stub) -> Self {
        Self::with(settings(stub.address(), stub.version()), Held::free()).await
    }

    pub(crate) async fn with(config: BridgeConfig, held: Arc<Held>) -> Self {
        Self::traced(config, held, Tracing::default()).await
    }

    pub(crate) async fn traced(config: BridgeConfig, held: Arc<Held>, tracing: Tracing) -> Self {
        let (registry, clock) = (Registry::new(), SystemClock::shared());
        let metrics = IngestMetrics::register(&registry).unwrap();
        let ingest = Ingest::start(door::config(), held.clone(), clock.clone(), tracing, metrics).await.unwrap();
        let metrics = BridgeMetrics::register(&registry).unwrap();
        let bridge = Bridge::start(config, ingest.intake(), clock, metrics).unwrap();
        Self { held, ingest, bridge, registry }
    }

    /// Sum of a metric over its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|one| one.get_counter().get_value() + one.get_gauge().get_value()).sum()
    }

    /// Waits until a metric has this value.
    pub(crate) async fn metric_becomes(&self, name: &str, value: f64) {
        let waiting = async {
            while self.metric(name).total_cmp(&value).is_ne() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let done = tokio::time::timeout(super::stub::PATIENCE, waiting).await;
        assert!(done.is_ok(), "{name} is {} and does not become {value}", self.metric(name));
    }

    /// Waits until `count` messages were taken from the broker.
    pub(crate) async fn taken(&self, count: u32) {
        self.metric_becomes("weir_bridge_messages_total", f64::from(count)).await;
    }

    pub(crate) async fn state_becomes(&self, wanted: impl Fn(&BridgeState) -> bool) -> BridgeState {
        let mut changes = self.bridge.state_changes();
        let reached = tokio::time::timeout(super::stub::PATIENCE, changes.wait_for(|state| wanted(state))).await;
        reached.expect("the bridge does not come into that state").unwrap().clone()
    }

    /// Waits until the broker's refusal shows; gives back its words.
    pub(crate) async fn refused(&self) -> String {
        match self.state_becomes(|state| matches!(state, BridgeState::Away { refused: true, .. })).await {
            BridgeState::Away { why, .. } => why,
            other => panic!("{other:?} is no refusal"),
        }
    }

    pub(crate) async fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for index in 0..PARTITIONS {
            for batch in self.batches(StreamName::readings(), index, schema::readings_stream()).await {
                rows.extend(door::rows_of(&batch));
            }
        }
        rows
    }

    /// Numbers of the messages in the stream, each once, ascending.
    pub(crate) async fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = self.rows().await.iter().filter_map(|row| row.seq).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    pub(crate) async fn letters(&self) -> Vec<Letter> {
        let batches = self.batches(StreamName::dead_letters(), 0, schema::dead_letters()).await;
        batches.iter().flat_map(door::letters_of).collect()
    }

    async fn batches(&self, stream: StreamName, index: u32, schema: SchemaRef) -> Vec<RecordBatch> {
        let mut decoder = Decoder::new(schema).unwrap();
        let read = self.held.read(&Partition::new(stream, index), 0, usize::MAX).await.unwrap();
        read.records.into_iter().map(|record| decoder.decode(record.payload).unwrap()).collect()
    }
}

//! Streams in memory with the real rules and tables behind them, run when a test says so.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use processors::{RuleSet, RulesEffect, RulesMetrics};
use prometheus::Registry;
use sink::{SinkConfig, SinkMetrics, TableSink, TableSpec};
use streams::consume::{self, ConsumerConfig, Effect, GATHER};
use streams::memory::MemoryStreams;
use streams::metrics::ConsumerMetrics;
use streams::{Append, AppendError, Error, GroupName, GroupPosition, Position, Read, StreamSpec, Ticket};
use telemetry::batch::{DeadLetter, DeadLettersBuilder, ReadingsBuilder};
use telemetry::clock::ManualClock;
use telemetry::ipc::Encoder;
use telemetry::trace::Tracing;
use telemetry::{Identity, Message, Reading, Value, schema};
use tokio::sync::watch;

use super::*;

/// 2026-07-28T09:00:00Z.
pub(super) const NOW: i64 = 1_785_229_200_000_000;
pub(super) const PARTITIONS: u32 = 2;
const RULES: &str = "[[rule]]\nid = \"hot\"\nversion = 2\nwhen = \"metric = 'temperature' AND value > 40\"\n\
                     severity = \"warning\"\nmessage = \"{device_id} is at {value}\"\n\
                     [[rule.step]]\nwebhook = \"http://127.0.0.1:1/hook\"\n";

/// Streams whose first records of `readings` are no longer retained.
#[derive(Debug)]
pub(super) struct Trimmed {
    all: Arc<MemoryStreams>,
    first: AtomicU64,
}

#[async_trait]
impl Streams for Trimmed {
    fn specs(&self) -> &[StreamSpec] {
        self.all.specs()
    }

    async fn submit(&self, group: Vec<Append>) -> Result<Ticket, AppendError> {
        self.all.submit(group).await
    }

    async fn read(&self, from: &Partition, offset: u64, max_bytes: usize) -> Result<Read, Error> {
        let Range { start, end } = self.bounds(from)?;
        if offset < start {
            return Err(Error::OutOfRange { partition: from.clone(), offset, start, end });
        }
        self.all.read(from, offset, max_bytes).await
    }

    fn bounds(&self, of: &Partition) -> Result<Range<u64>, Error> {
        let Range { start, end } = self.all.bounds(of)?;
        let first = if of.stream == StreamName::readings() { self.first.load(Ordering::SeqCst) } else { start };
        Ok(first.min(end)..end)
    }

    fn appended(&self) -> watch::Receiver<u64> {
        self.all.appended()
    }

    async fn position(&self, group: &GroupName, of: &Partition) -> Result<Option<Position>, Error> {
        self.all.position(group, of).await
    }

    async fn commit(&self, group: &GroupName, positions: Vec<(Partition, Position)>) -> Result<(), Error> {
        self.all.commit(group, positions).await
    }

    async fn groups(&self) -> Result<Vec<GroupPosition>, Error> {
        self.all.groups().await
    }
}

pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) streams: Arc<Trimmed>,
    pub(super) clock: Arc<ManualClock>,
}

impl World {
    pub(super) fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(NOW));
        let stream = |name, partitions| StreamSpec { name, partitions };
        let specs = vec![
            stream(StreamName::readings(), PARTITIONS),
            stream(StreamName::alerts(), PARTITIONS),
            stream(StreamName::workflows(), PARTITIONS),
            stream(StreamName::dead_letters(), 1),
            stream(StreamName::workflow_dead_letters(), 1),
        ];
        let streams = Trimmed { all: MemoryStreams::new(specs, clock.clone()), first: AtomicU64::new(0) };
        Self { dir: tempfile::tempdir().unwrap(), streams: Arc::new(streams), clock }
    }

    /// From now on the first records of readings are not retained.
    pub(super) fn forget(&self, before: u64) {
        self.streams.first.store(before, Ordering::SeqCst);
    }

    /// One record of a message of each of these devices, all with boot 1 and this number: a temperature and a humidity.
    pub(super) async fn publish(&self, devices: &[&str], seq: i64, temperature: f64) -> u64 {
        self.clock.advance(Duration::from_millis(100));
        let mut builder = ReadingsBuilder::default();
        for device in devices {
            let reading = |metric: &'static str, value| Reading {
                metric: metric.into(),
                time: Timestamp::from_micros(NOW + seq),
                value: Value::Number(value),
                unit: None,
            };
            let message = Message {
                device_id: (*device).into(),
                site: Some("hall".into()),
                identity: Some(Identity { boot: 1, seq }),
                readings: vec![reading("temperature", temperature), reading("humidity", 12.5)],
                ignored_fields: 0,
            };
            builder.push(&message, self.clock.now());
        }
        // Received, then appended.
        self.clock.advance(Duration::from_millis(3));
        let batch = builder.finish();
        let partition = telemetry::partition::of_device(devices[0], PARTITIONS);
        self.append(Partition::new(StreamName::readings(), partition), &batch).await
    }

    pub(super) async fn letter(&self, payload: &[u8], topic: &str, identity: Option<Identity>) {
        let mut builder = DeadLettersBuilder::default();
        builder.push(&DeadLetter {
            received_at: self.clock.now(),
            reason: "future_time",
            detail: "reading 0 is ahead",
            topic,
            client_id: "gateway",
            payload,
            identity,
        });
        self.append(Partition::new(StreamName::dead_letters(), 0), &builder.finish()).await;
    }

    async fn append(&self, to: Partition, batch: &arrow::array::RecordBatch) -> u64 {
        let payload = Encoder::new(schema::of_stream(to.stream.as_str())).unwrap().encode(batch).unwrap();
        let rows = u32::try_from(batch.num_rows()).unwrap();
        self.streams.submit(vec![Append::new(to, rows, payload)]).await.unwrap().await.unwrap()[0]
    }

    /// Rules look at all that is there.
    pub(super) async fn rules(&self) {
        let rules = watch::channel(Arc::new(RuleSet::parse(RULES, "rules.toml").unwrap())).1;
        let metrics = RulesMetrics::register(&Registry::new()).unwrap();
        let effect = RulesEffect::new(rules, self.streams.clone(), metrics, self.clock.clone(), Tracing::default());
        self.consume("rules", StreamName::readings(), effect).await;
    }

    pub(super) fn open(&self, spec: TableSpec) -> TableSink {
        let (root, staging) = (self.dir.path().join("tables"), self.dir.path().join("staging"));
        let config = SinkConfig { root, staging, ..SinkConfig::default() };
        let metrics = SinkMetrics::register(&Registry::new()).unwrap();
        let partitions: Vec<u32> = (0..PARTITIONS).collect();
        TableSink::open(&config, spec, &partitions, self.clock.clone(), Tracing::default(), &metrics).unwrap()
    }

    /// Both tables take all that is there.
    pub(super) async fn tables(&self) {
        self.consume("sink/readings", StreamName::readings(), self.open(TableSpec::readings())).await;
        self.consume("sink/alerts", StreamName::alerts(), self.open(TableSpec::alerts())).await;
    }

    async fn consume(&self, group: &str, stream: StreamName, effect: impl Effect) {
        let config = ConsumerConfig {
            group: group.into(),
            stream,
            partitions: (0..PARTITIONS).collect(),
            read_bytes: 1 << 20,
            commit_interval: Duration::from_secs(1),
            gather: GATHER,
        };
        let metrics = ConsumerMetrics::register(&Registry::new()).unwrap();
        let context = consume::Context { streams: self.streams.clone(), clock: self.clock.clone(), metrics };
        consume::run(context, config, effect, watch::channel(true).1).await.unwrap();
    }

    pub(super) async fn explain(&self, device: &str, seq: i64) -> Explanation {
        self.explain_within(device, seq, Bounds::REQUEST).await
    }

    pub(super) async fn explain_within(&self, device: &str, seq: i64, bounds: Bounds) -> Explanation {
        let sources = Sources {
            streams: self.streams.clone(),
            tables: Tables::of_data(self.dir.path()),
            runs: Runs::Elsewhere("no workflows run here".to_owned()),
            letters: None,
            clock: self.clock.clone(),
        };
        explain(&sources, Who { device: device.to_owned(), boot: 1, seq }, bounds).await.unwrap()
    }
}

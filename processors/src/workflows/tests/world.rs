//! What the tests run on.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::AsArray;
use prometheus::Registry;
use streams::consume::{self, ConsumerConfig, Context};
use streams::memory::MemoryStreams;
use streams::metrics::ConsumerMetrics;
use streams::{Append, Partition, StreamName, StreamSpec, Streams};
use telemetry::clock::ManualClock;
use telemetry::trace::{RowContext, Tracing};
use telemetry::{Timestamp, ipc, schema};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) use super::plans::*;
pub(super) use super::script::*;
use crate::firing::{Firing, FiringsBuilder, Source};
use crate::testing::NEW_YEAR;
use crate::workflows::store::Store;
use crate::workflows::target::Targets;
use crate::workflows::{
    GROUP, RunDetail, RunFilter, RunState, RunSummary, Workflows, WorkflowsConfig, WorkflowsError, WorkflowsMetrics,
};

/// Everything outside the executor.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) tracing: Tracing,
    pub(super) streams: Arc<MemoryStreams>,
    pub(super) script: Arc<Script>,
    /// Those of the script, unless a test has others.
    pub(super) targets: Arc<dyn Targets>,
    pub(super) config: WorkflowsConfig,
    appended: Mutex<i64>,
}

/// The executor and its consumer.
pub(super) struct Running {
    pub(super) workflows: Workflows,
    pub(super) registry: Registry,
    stop: watch::Sender<bool>,
    stop_executor: watch::Sender<bool>,
    consumer: JoinHandle<Result<(), consume::ConsumeError>>,
    executor: JoinHandle<Result<(), WorkflowsError>>,
    store: std::sync::Weak<Store>,
    dir: std::path::PathBuf,
}

pub(super) const PARTITIONS: u32 = 2;

impl World {
    pub(super) fn new() -> Self {
        Self::with(WorkflowsConfig::default())
    }

    pub(super) fn with(config: WorkflowsConfig) -> Self {
        let clock = ManualClock::new(Timestamp::from_micros(NEW_YEAR + 2_000_000));
        let stream = |name, partitions| StreamSpec { name, partitions };
        let specs = vec![
            stream(StreamName::workflows(), PARTITIONS),
            stream(StreamName::new("events").unwrap(), PARTITIONS),
            stream(StreamName::workflow_dead_letters(), 1),
        ];
        let script: Arc<Script> = Arc::default();
        Self {
            dir: tempfile::tempdir().unwrap(),
            streams: MemoryStreams::new(specs, clock.clone()),
            clock,
            tracing: Tracing::default(),
            targets: Arc::new(ScriptedTargets(script.clone())),
            script,
            config,
            appended: Mutex::new(0),
        }
    }

    pub(super) async fn start(&self) -> Running {
        let registry = Registry::new();
        let metrics = WorkflowsMetrics::register(&registry).unwrap();
        let started = Workflows::start(
            self.config.clone(),
            self.dir.path(),
            self.streams.clone(),
            self.clock.clone(),
            self.tracing.clone(),
            metrics,
            self.targets.clone(),
        )
        .await
        .unwrap();
        let context = Context {
            streams: self.streams.clone(),
            clock: self.clock.clone(),
            metrics: ConsumerMetrics::register(&registry).unwrap(),
        };
        let config = ConsumerConfig {
            group: GROUP.into(),
            stream: StreamName::workflows(),
            partitions: self.config.partitions.clone().unwrap_or_else(|| (0..PARTITIONS).collect()),
            read_bytes: 1024 * 1024,
            commit_interval: Duration::from_millis(200),
            gather: Duration::from_millis(1),
        };
        let (stop, stopped) = watch::channel(false);
        let (stop_executor, executor_stopped) = watch::channel(false);
        let store = Arc::downgrade(&started.workflows.store);
        Running {
            workflows: started.workflows,
            registry,
            stop,
            stop_executor,
            consumer: tokio::spawn(consume::run(context, config, started.effect, stopped)),
            executor: tokio::spawn(started.executor.run(executor_stopped)),
            store,
            dir: self.dir.path().to_owned(),
        }
    }

    /// Appends firings to the stream, as the rules do: one record.
    pub(super) async fn fire(&self, firings: &[Firing]) {
        let offset = {
            let mut appended = self.appended.lock().unwrap();
            *appended += 1;
            *appended
        };
        for index in 0..PARTITIONS {
            let (mut builder, mut contexts) = (FiringsBuilder::default(), Vec::new());
            let here = |firing: &&Firing| telemetry::partition::of_device(&firing.device_id, PARTITIONS) == index;
            for (at, firing) in (0..).zip(firings.iter().filter(here)) {
                builder.push(firing, Source { partition: i32::try_from(index).unwrap(), offset, index: at });
                let row = u32::try_from(at).unwrap();
                contexts.extend(firing.trace.map(|context| RowContext { row, context }));
            }
            if builder.rows() > 0 {
                let rows = u32::try_from(builder.rows()).unwrap();
                let batch = builder.finish().unwrap();
                let mut encoder = ipc::Encoder::new(schema::workflows()).unwrap();
                let payload = encoder.encode_traced(&batch, &contexts).unwrap();
                let to = Partition::new(StreamName::workflows(), index);
                self.streams.submit(vec![Append::new(to, rows, payload)]).await.unwrap().await.unwrap();
            }
        }
    }

    /// The column `name` of all records of a stream, in order, with their offsets.
    pub(super) async fn column(&self, stream: &str, name: &str) -> Vec<String> {
        let mut found = Vec::new();
        let stream = StreamName::new(stream).unwrap();
        let partitions = self.streams.specs().iter().find(|spec| spec.name == stream).unwrap().partitions;
        for index in 0..partitions {
            let partition = Partition::new(stream.clone(), index);
            let mut decoder = ipc::Decoder::new(schema::of_stream(stream.as_str())).unwrap();
            for record in self.streams.read(&partition, 0, usize::MAX).await.unwrap().records {
                let batch = decoder.decode(record.payload).unwrap();
                let column =
                    arrow::compute::cast(batch.column_by_name(name).unwrap(), &arrow::datatypes::DataType::Utf8);
                found.extend(column.unwrap().as_string::<i32>().iter().map(|text| text.unwrap_or("-").to_owned()));
            }
        }
        found
    }

    pub(super) async fn events(&self) -> Vec<String> {
        self.column("events", "event_id").await
    }

    pub(super) async fn letters(&self) -> Vec<String> {
        self.column("workflow_dead_letters", "topic").await
    }

    /// Waits until `condition`; the clock stands still.
    pub(super) async fn until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) {
        self.wait(what, Duration::ZERO, &mut condition).await;
    }

    /// Waits until `condition` while time passes, `step` at each look.
    pub(super) async fn passing(&self, what: &str, step: Duration, mut condition: impl AsyncFnMut() -> bool) {
        self.wait(what, step, &mut condition).await;
    }

    async fn wait(&self, what: &str, step: Duration, condition: &mut impl AsyncFnMut() -> bool) {
        for _ in 0..60_000 {
            if condition().await {
                return;
            }
            self.clock.advance(step);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}; calls {:?}", self.script.calls());
    }

    /// Waits, with time passing, until no run is pending and `count` runs are known.
    pub(super) async fn drained(&self, running: &Running, count: usize) {
        self.passing("all runs end", Duration::from_millis(50), async || {
            let runs = running.runs().await;
            runs.len() >= count && runs.iter().all(|run| run.state != RunState::Pending)
        })
        .await;
    }
}

impl Running {
    /// As a kill does: nothing more is written, and nothing awaited.
    pub(super) async fn crash(self) {
        self.consumer.abort();
        self.executor.abort();
        drop((self.consumer.await, self.executor.await, self.workflows));
        released(&self.store, &self.dir).await;
    }

    /// In order: first the consumer, then the executor.
    pub(super) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.consumer.await.unwrap().unwrap();
        self.stop_executor.send(true).unwrap();
        self.executor.await.unwrap().unwrap();
        drop(self.workflows);
        released(&self.store, &self.dir).await;
    }

    pub(super) async fn runs(&self) -> Vec<RunSummary> {
        let page = self.workflows.list(RunFilter::default(), 1_000, None).await.unwrap();
        assert_eq!(page.next, None);
        page.runs
    }

    pub(super) async fn show(&self, id: &str) -> RunDetail {
        self.workflows.show(id).await.unwrap().unwrap()
    }

    pub(super) async fn state(&self, firing: &Firing) -> Option<RunState> {
        self.workflows.show(&firing.run_id).await.unwrap().map(|run| run.summary.state)
    }

    /// Values of a metric, by the values of its labels joined.
    pub(super) fn metric(&self, name: &str) -> BTreeMap<String, f64> {
        let mut found = BTreeMap::new();
        for family in self.registry.gather().into_iter().filter(|family| family.name() == name) {
            for metric in family.get_metric() {
                let labels: Vec<&str> = metric.get_label().iter().map(|label| label.value()).collect();
                let value = metric.get_counter().get_value() + metric.get_gauge().get_value();
                found.insert(labels.join(" "), value);
            }
        }
        found
    }
}

/// A commit that is under way on its own thread ends as one that the kernel had taken.
async fn released(store: &std::sync::Weak<Store>, dir: &Path) {
    let held = || match redb::Database::builder().open(store_path(dir)) {
        Err(error) => matches!(error, redb::DatabaseError::DatabaseAlreadyOpen),
        Ok(_) => false,
    };
    // The last owner lets go of the file a moment after it is counted out.
    while store.strong_count() > 0 || held() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) fn store_path(dir: &Path) -> std::path::PathBuf {
    dir.join("workflows.redb")
}

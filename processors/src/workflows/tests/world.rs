//! What the tests run on.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::AsArray;
use async_trait::async_trait;
use prometheus::Registry;
use streams::consume::{self, ConsumerConfig, Context};
use streams::memory::MemoryStreams;
use streams::metrics::ConsumerMetrics;
use streams::{Append, Partition, StreamName, StreamSpec, Streams};
use telemetry::clock::ManualClock;
use telemetry::{Clock, Timestamp, ipc, schema};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::file::Severity;
use crate::firing::{Firing, FiringsBuilder, Source};
use crate::plan::{Action, Mqtt, OnFailure, Plan, Retry, Step, Webhook};
use crate::testing::NEW_YEAR;
use crate::workflows::store::Store;
use crate::workflows::target::{Attempt, Outcome, Target, Targets};
use crate::workflows::{
    GROUP, RunDetail, RunFilter, RunState, RunSummary, Workflows, WorkflowsConfig, WorkflowsError, WorkflowsMetrics,
};

/// What a target does when it is tried.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Ends(Outcome),
    /// It never ends.
    Hangs,
    Panics,
}

pub(super) fn done() -> Act {
    Act::Ends(Outcome::Done("well".to_owned()))
}

pub(super) fn fails() -> Act {
    Act::Ends(Outcome::Failed("500".to_owned()))
}

pub(super) fn refuses() -> Act {
    Act::Ends(Outcome::Refused("404".to_owned()))
}

/// One call of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) target: String,
    pub(super) device: String,
    pub(super) key: String,
    pub(super) ended_well: bool,
}

/// All targets; they outlive the executor, as the world does.
#[derive(Default)]
pub(super) struct Script {
    /// What comes next, by key; then by target; else all is well.
    by_key: Mutex<HashMap<String, VecDeque<Act>>>,
    by_target: Mutex<HashMap<String, Act>>,
    calls: Mutex<Vec<Call>>,
    hanging: Mutex<usize>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(super) fn next(&self, key: &str, acts: impl IntoIterator<Item = Act>) {
        self.by_key.lock().unwrap().entry(key.to_owned()).or_default().extend(acts);
    }

    pub(super) fn always(&self, target: &str, act: Act) {
        self.by_target.lock().unwrap().insert(target.to_owned(), act);
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    /// Keys in the order they were tried at `target`.
    pub(super) fn keys(&self, target: &str) -> Vec<String> {
        self.calls().into_iter().filter(|call| call.target == target).map(|call| call.key).collect()
    }

    pub(super) fn hanging(&self) -> usize {
        *self.hanging.lock().unwrap()
    }

    fn act(&self, target: &str, attempt: &Attempt) -> Act {
        let by_key = self.by_key.lock().unwrap().get_mut(&*attempt.key).and_then(VecDeque::pop_front);
        let act = by_key.or_else(|| self.by_target.lock().unwrap().get(target).cloned()).unwrap_or_else(done);
        self.calls.lock().unwrap().push(Call {
            target: target.to_owned(),
            device: attempt.firing.device_id.clone(),
            key: attempt.key.to_string(),
            ended_well: matches!(act, Act::Ends(Outcome::Done(_))),
        });
        act
    }
}

#[derive(Debug)]
struct Scripted {
    name: String,
    script: Arc<Script>,
}

#[async_trait]
impl Target for Scripted {
    async fn attempt(&self, attempt: &Attempt) -> Outcome {
        match self.script.act(&self.name, attempt) {
            Act::Ends(outcome) => outcome,
            // Without the hook, which prints.
            Act::Panics => std::panic::resume_unwind(Box::new("a target that panics")),
            Act::Hangs => {
                *self.script.hanging.lock().unwrap() += 1;
                std::future::pending().await
            }
        }
    }
}

#[derive(Debug)]
struct ScriptedTargets(Arc<Script>);

impl Targets for ScriptedTargets {
    fn open(&self, step: &Step) -> Result<Arc<dyn Target>, String> {
        let name = step.action.target();
        if name == "email" {
            return Err("no SMTP server is configured".to_owned());
        }
        Ok(Arc::new(Scripted { name, script: self.0.clone() }))
    }
}

/// Everything outside the executor.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) clock: Arc<ManualClock>,
    pub(super) streams: Arc<MemoryStreams>,
    pub(super) script: Arc<Script>,
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
        Self {
            dir: tempfile::tempdir().unwrap(),
            streams: MemoryStreams::new(specs, clock.clone()),
            clock,
            script: Arc::default(),
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
            metrics,
            Arc::new(ScriptedTargets(self.script.clone())),
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
            let mut builder = FiringsBuilder::default();
            let here = |firing: &&Firing| telemetry::partition::of_device(&firing.device_id, PARTITIONS) == index;
            for (at, firing) in (0..).zip(firings.iter().filter(here)) {
                builder.push(firing, Source { partition: i32::try_from(index).unwrap(), offset, index: at });
            }
            if builder.rows() > 0 {
                let rows = u32::try_from(builder.rows()).unwrap();
                let batch = builder.finish().unwrap();
                let payload = ipc::Encoder::new(schema::workflows()).unwrap().encode(&batch).unwrap();
                let to = Partition::new(StreamName::workflows(), index);
                self.streams.submit(vec![Append { to, rows, payload }]).await.unwrap().await.unwrap();
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

pub(super) fn webhook(host: &str) -> Step {
    let action = Action::Webhook(Webhook {
        url: format!("http://{host}/hook"),
        headers: BTreeMap::new(),
        secret: None,
        timeout: Duration::from_secs(10),
    });
    step(action)
}

pub(super) fn hook(host: &str) -> String {
    webhook(host).action.target()
}

pub(super) fn emit() -> Step {
    step(Action::Emit { stream: "events".to_owned() })
}

pub(super) fn command(ttl: Duration) -> Step {
    step(Action::Mqtt(Mqtt { topic: "{device_id}/commands".to_owned(), broker: None, ttl }))
}

pub(super) fn step(action: Action) -> Step {
    Step { action, body: None, retry: retry(3), on_failure: OnFailure::DeadLetter }
}

pub(super) fn retry(attempts: u32) -> Retry {
    Retry { attempts, initial: Duration::from_millis(100), cap: Duration::from_secs(1) }
}

pub(super) fn with(mut step: Step, attempts: u32, on_failure: OnFailure) -> Step {
    step.retry.attempts = attempts;
    step.on_failure = on_failure;
    step
}

/// Firing number `number` of `device`.
pub(super) fn firing(number: u32, device: &str, steps: &[Step]) -> Firing {
    let plan = Plan { labels: BTreeMap::new(), steps: steps.to_vec() };
    Firing {
        run_id: format!("{number:032x}"),
        rule_id: "hot".to_owned(),
        rule_version: 1,
        severity: Severity::Warning,
        message: format!("{device} is hot"),
        device_id: device.to_owned(),
        site: Some("hall-1".to_owned()),
        time: Timestamp::from_micros(NEW_YEAR + 1_000_000),
        received_at: Timestamp::from_micros(NEW_YEAR + 2_000_000),
        boot: Some(1),
        seq: Some(i64::from(number)),
        data: r#"{"metric":"temperature","value":81.5,"unit":"Cel"}"#.to_owned(),
        plan: serde_json::to_string(&plan).unwrap().into(),
    }
}

pub(super) fn keys(firings: &[Firing], step: usize) -> Vec<String> {
    firings.iter().map(|firing| firing.step_key(step)).collect()
}

//! The one place that names concrete backends: builds the pipeline of a configuration and runs it.
//!
//! Stopping goes with the stream: the door first, then the rules, then the tables. Each stage drains what
//! the one before it left, so that on return everything acknowledged is in the table.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ingest::{Ingest, IngestConfig, IngestMetrics, IngestState, Intake, StartError};
use processors::{RuleSet, RulesEffect, RulesMetrics};
use prometheus::Registry;
use sink::{SinkConfig, SinkMetrics, TableSink, TableSpec};
use streams::consume::{self, ConsumerConfig};
use streams::log::{EmbeddedLog, LogConfig, LogMetrics};
use streams::metrics::ConsumerMetrics;
use streams::{Partition, Position, StreamName, StreamSpec, Streams};
use telemetry::Clock;

use crate::config::Config;
use crate::http;
use crate::supervisor::{Stage, Supervisor};

/// What runs behind the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Rules and tables.
    Everything,
    /// Nothing: messages stay in the log. For measurements of the door alone.
    Nothing,
    /// Everything, but acknowledgements do not wait for the disk. For measurements of what the sync costs.
    EverythingUnsynced,
}

/// A running pipeline.
pub(crate) struct Pipeline {
    pub(crate) mqtt: SocketAddr,
    pub(crate) http: SocketAddr,
    pub(crate) registry: Registry,
    supervisor: Supervisor,
    ingest: Ingest,
    log: Arc<EmbeddedLog>,
    deadline: Duration,
}

/// Directory of the table `name` under the data directory of `config`.
pub(crate) fn table(config: &Config, name: &str) -> PathBuf {
    config.data.dir.join("tables").join(name)
}

impl Pipeline {
    /// Starts everything. Ports are bound first, so that a port taken leaves no trace; then all that may be
    /// damaged is opened, so that what cannot be stored is not accepted. The consumers run last: they have a
    /// backlog to read, and the door must not wait for it.
    pub(crate) async fn start(
        config: &Config,
        rules: RuleSet,
        behind: Behind,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let http = http::bind(config.http.listen).await?;
        let registry = registry()?;
        let data = &config.data.dir;
        std::fs::create_dir_all(data).with_context(|| format!("data directory {}", data.display()))?;
        let log = open_log(config, behind, &registry, clock.clone())?;
        let streams: Arc<dyn Streams> = log.clone();

        let consumers = match behind {
            Behind::Nothing => None,
            Behind::Everything | Behind::EverythingUnsynced => {
                let metrics = ConsumerMetrics::register(&registry)?;
                let context = consume::Context { streams: streams.clone(), clock: clock.clone(), metrics };
                Some(Consumers::open(config, rules, context, &registry).await?)
            }
        };
        let ingest = Ingest::start(ingest_config(config), streams, clock, IngestMetrics::register(&registry)?)
            .await
            .map_err(|error| door_error(error, config))?;

        let mut supervisor = Supervisor::new()?;
        let http_address = http.local_addr().context("HTTP address")?;
        let (door, disk) = (ingest.intake(), log.clone());
        let readiness: http::Readiness = Arc::new(move || ready(&door, &disk));
        supervisor.keep(http::serve(http, registry.clone(), readiness));
        if let Some(consumers) = consumers {
            consumers.spawn(&mut supervisor);
        }
        tracing::info!(mqtt = %ingest.local_addr(), http = %http_address, data = %data.display(), "ready");
        let deadline = Duration::from_secs(config.mqtt.stop_deadline_seconds);
        Ok(Self { mqtt: ingest.local_addr(), http: http_address, registry, supervisor, ingest, log, deadline })
    }

    /// Resolves when a stage has failed, to what failed and why.
    pub(crate) async fn failed(&mut self) -> anyhow::Error {
        let (mut door, mut disk) = (self.ingest.failed(), self.log.failed());
        tokio::select! {
            reason = set(&mut door) => anyhow::anyhow!("stage ingest failed: {reason}"),
            reason = set(&mut disk) => anyhow::anyhow!("streams failed: {reason}"),
            error = self.supervisor.failed() => error,
        }
    }

    /// Stops: accepts no more, and returns when everything acknowledged is in the table.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        let deadline = self.deadline;
        let stop = async {
            self.ingest.stop().await.context("stage ingest")?;
            self.supervisor.stop().await?;
            self.log.close().await.context("streams")
        };
        match tokio::time::timeout(deadline, stop).await {
            Ok(stopped) => stopped,
            Err(_) => bail!(
                "not stopped within {} s: what is acknowledged is in the log, and reaches the table after the next start",
                deadline.as_secs()
            ),
        }
    }
}

/// Waits until something is there.
async fn set(reason: &mut tokio::sync::watch::Receiver<Option<String>>) -> String {
    match reason.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

fn registry() -> anyhow::Result<Registry> {
    let registry = Registry::new();
    let process = prometheus::process_collector::ProcessCollector::for_self();
    registry.register(Box::new(process)).context("process metrics")?;
    Ok(registry)
}

fn open_log(
    config: &Config,
    behind: Behind,
    registry: &Registry,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<Arc<EmbeddedLog>> {
    let settings = &config.streams;
    let sync = behind != Behind::EverythingUnsynced;
    if !sync {
        tracing::warn!(
            "acknowledging without fdatasync: a power cut loses what was acknowledged, for measurements only"
        );
    }
    let log = LogConfig {
        dir: config.data.dir.join("log"),
        segment_bytes: settings.segment_bytes,
        quota_bytes: settings.quota_bytes,
        retention_bytes: settings.retention_bytes,
        retention_age: Duration::from_secs(settings.retention_age_seconds),
        queue_bytes: settings.queue_bytes,
        // The largest record is a whole open group in one partition; its size there is an estimate.
        record_bytes: settings.queue_bytes / 2,
        sync,
    };
    let stream = |name, partitions| StreamSpec { name, partitions };
    let specs = vec![
        stream(StreamName::readings(), settings.partitions),
        stream(StreamName::alerts(), settings.partitions),
        stream(StreamName::dead_letters(), 1),
    ];
    let opened = EmbeddedLog::open(log, specs, clock, LogMetrics::register(registry)?).context("streams")?;
    tracing::info!(recovery = ?opened.recovery(), "log opened");
    Ok(opened)
}

/// The consumers, opened and not yet running.
struct Consumers {
    context: consume::Context,
    rules: (ConsumerConfig, RulesEffect),
    tables: [(Stage, ConsumerConfig, TableSink); 2],
}

impl Consumers {
    /// Opens the tables, and registers each group that is new: from then on the log keeps all that it has not
    /// passed. That must be so before the first message is acknowledged.
    async fn open(
        config: &Config,
        rules: RuleSet,
        context: consume::Context,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let metrics = RulesMetrics::register(registry)?;
        let effect = RulesEffect::new(Arc::new(rules), context.streams.clone(), metrics, context.clock.clone())
            .append_bytes(config.streams.queue_bytes / 2);
        let rules = (consumer(config, "rules", StreamName::readings()), effect);

        let (metrics, sink) = (SinkMetrics::register(registry)?, sink_config(config));
        let table = |stage, spec, group, stream| -> anyhow::Result<_> {
            let table = TableSink::open(&sink, spec, config.streams.partitions, context.clock.clone(), &metrics)?;
            Ok((stage, consumer(config, group, stream), table))
        };
        let tables = [
            table(Stage::ReadingsTable, TableSpec::readings(), "sink/readings", StreamName::readings())?,
            table(Stage::AlertsTable, TableSpec::alerts(), "sink/alerts", StreamName::alerts())?,
        ];
        for consumer in [&rules.0].into_iter().chain(tables.iter().map(|(_, consumer, _)| consumer)) {
            register(context.streams.as_ref(), consumer, config.streams.partitions).await?;
        }
        Ok(Self { context, rules, tables })
    }

    fn spawn(self, supervisor: &mut Supervisor) {
        let Self { context, rules: (consumer, effect), tables } = self;
        supervisor.spawn(Stage::Rules, |stop| consume::run(context.clone(), consumer, effect, stop));
        for (stage, consumer, effect) in tables {
            supervisor.spawn(stage, |stop| consume::run(context.clone(), consumer, effect, stop));
        }
    }
}

/// Commits the beginning of each partition where the group has no position.
async fn register(streams: &dyn Streams, consumer: &ConsumerConfig, partitions: u32) -> anyhow::Result<()> {
    let failed = || format!("consumer group {}", consumer.group);
    let mut begins = Vec::new();
    for index in 0..partitions {
        let partition = Partition::new(consumer.stream.clone(), index);
        if streams.position(&consumer.group, &partition).await.with_context(failed)?.is_none() {
            let offset = streams.bounds(&partition).with_context(failed)?.start;
            begins.push((partition, Position { offset, ..Position::default() }));
        }
    }
    if begins.is_empty() {
        return Ok(());
    }
    streams.commit(&consumer.group, begins).await.with_context(failed)
}

fn sink_config(config: &Config) -> SinkConfig {
    SinkConfig {
        root: config.data.dir.join("tables"),
        staging: config.data.dir.join("staging"),
        roll_rows: config.sink.roll_rows,
        roll_bytes: config.sink.roll_bytes,
        roll_age: Duration::from_secs_f64(config.sink.roll_age_seconds),
        ..SinkConfig::default()
    }
}

fn consumer(config: &Config, group: &str, stream: StreamName) -> ConsumerConfig {
    ConsumerConfig {
        group: group.into(),
        stream,
        read_bytes: config.consumers.read_bytes,
        commit_interval: Duration::from_secs_f64(config.consumers.commit_interval_seconds),
        gather: consume::GATHER,
    }
}

fn ingest_config(config: &Config) -> IngestConfig {
    let mqtt = &config.mqtt;
    IngestConfig {
        listen: mqtt.listen,
        workers: mqtt.workers,
        topic_template: mqtt.topic_template.clone(),
        connections: mqtt.max_connections,
        payload_bytes: mqtt.max_payload_bytes,
        in_flight: mqtt.max_in_flight_messages,
        in_flight_bytes: mqtt.max_in_flight_bytes,
        open_group_bytes: mqtt.open_group_bytes,
        future: Duration::from_secs(mqtt.max_future_seconds),
        drain: Duration::from_secs(mqtt.stop_deadline_seconds) / 2,
        ..IngestConfig::default()
    }
}

fn door_error(error: StartError, config: &Config) -> anyhow::Error {
    let address = config.mqtt.listen;
    match error {
        StartError::AddressInUse { .. } | StartError::Listen { .. } => anyhow::Error::new(error).context(format!(
            "cannot listen on {address} for MQTT (port {}); choose another with --mqtt",
            address.port()
        )),
        other => anyhow::Error::new(other).context("stage ingest"),
    }
}

fn ready(door: &Intake, log: &EmbeddedLog) -> Result<(), String> {
    let full = |used, quota| {
        Err(format!("acknowledgements stopped: log holds {used} of {quota} bytes, waiting for consumers"))
    };
    let status = log.status();
    match door.state() {
        IngestState::Full { used, quota } => full(used, quota),
        IngestState::Stopping => Err("stopping".to_owned()),
        IngestState::Failed(reason) => Err(reason),
        IngestState::Accepting if status.full => full(status.used_bytes, status.quota_bytes),
        IngestState::Accepting => Ok(()),
    }
}

/// A stage's future, named for the supervisor.
pub(crate) trait StageFuture: Future<Output = Result<(), consume::ConsumeError>> + Send + 'static {}
impl<F: Future<Output = Result<(), consume::ConsumeError>> + Send + 'static> StageFuture for F {}

#[cfg(test)]
mod tests;

//! The one place that names concrete backends: builds the pipeline of a configuration and runs it.
//!
//! Stopping goes with the stream: the door first, then the rules, then workflows, then the tables. Each stage
//! drains what the one before it left, so that on return everything acknowledged is in the table.

mod consumers;
mod devices;
mod workflows;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ingest::{Ingest, IngestConfig, IngestMetrics, IngestState, Intake, StartError};
use processors::RuleSet;
use prometheus::Registry;
use streams::consume;
use streams::log::{EmbeddedLog, LogConfig, LogMetrics};
use streams::metrics::ConsumerMetrics;
use streams::{StreamName, StreamSpec, Streams};
use telemetry::Clock;
use tokio::sync::watch;

use self::consumers::Consumers;
use self::devices::Connected;
use crate::api::{self, ApiState};
use crate::config::Config;
use crate::dlq::{Dlq, Runs};
use crate::http;
use crate::reload::{self, Reload};
use crate::supervisor::Supervisor;

/// What runs behind the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    /// Rules, workflows and tables.
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
    /// Held for what it does while it is there.
    _reload: Option<Reload>,
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

        let (rules, reload) = keep_rules(config, rules, &registry)?;
        let devices = Connected::default();
        let consumers = match behind {
            Behind::Nothing => None,
            Behind::Everything | Behind::EverythingUnsynced => {
                let metrics = ConsumerMetrics::register(&registry)?;
                let context = consume::Context { streams: streams.clone(), clock: clock.clone(), metrics };
                Some(Consumers::open(config, rules.clone(), context, &registry, devices.clone()).await?)
            }
        };
        let metrics = IngestMetrics::register(&registry)?;
        let ingest = Ingest::start(ingest_config(config), streams.clone(), clock.clone(), metrics)
            .await
            .map_err(|error| door_error(error, config))?;
        devices.open(ingest.commands());

        let workflows = consumers.as_ref().map(|consumers| consumers.workflows.workflows.clone());
        let runs = workflows.clone().map(|workflows| Arc::new(workflows) as Arc<dyn Runs>);
        let dlq = Dlq::open(data, streams, ingest.intake(), runs, clock)?;
        let state = ApiState { workflows: workflows.clone(), dlq, rules, registry: registry.clone() };

        let mut supervisor = Supervisor::new()?;
        let http_address = http.local_addr().context("HTTP address")?;
        let (door, disk) = (ingest.intake(), log.clone());
        let readiness: http::Readiness = Arc::new(move || ready(&door, &disk));
        supervisor.keep(http::serve(http, registry.clone(), readiness, api::router(state)));
        if let Some(consumers) = consumers {
            consumers.spawn(&mut supervisor);
        }
        if let Some(workflows) = workflows {
            supervisor.keep(tokio::spawn(devices::tell_arrivals(ingest.commands(), workflows)));
        }
        tracing::info!(mqtt = %ingest.local_addr(), http = %http_address, data = %data.display(), "ready");
        let deadline = Duration::from_secs(config.mqtt.stop_deadline_seconds);
        let mqtt = ingest.local_addr();
        Ok(Self { mqtt, http: http_address, registry, supervisor, ingest, log, deadline, _reload: reload })
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

/// The rules in force, from now on: those of a file are kept up to date, others stay as they are.
fn keep_rules(
    config: &Config,
    rules: RuleSet,
    registry: &Registry,
) -> anyhow::Result<(watch::Receiver<Arc<RuleSet>>, Option<Reload>)> {
    let (file, streams) = (&config.rules.file, &config.streams.emit);
    reload::check_streams(&rules, streams).context("rules")?;
    if file.as_os_str().is_empty() {
        return Ok((watch::channel(Arc::new(rules)).1, None));
    }
    let (rules, reload) = Reload::start(file, streams, rules, registry)?;
    Ok((rules, Some(reload)))
}

/// Waits until something is there.
async fn set(reason: &mut watch::Receiver<Option<String>>) -> String {
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
    let mut specs = vec![
        stream(StreamName::readings(), settings.partitions),
        stream(StreamName::alerts(), settings.partitions),
        stream(StreamName::dead_letters(), 1),
        stream(StreamName::workflows(), settings.partitions),
        stream(StreamName::workflow_dead_letters(), 1),
    ];
    specs.extend(config.emit()?.into_iter().map(|name| stream(name, settings.partitions)));
    let opened = EmbeddedLog::open(log, specs, clock, LogMetrics::register(registry)?).context("streams")?;
    tracing::info!(recovery = ?opened.recovery(), "log opened");
    Ok(opened)
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

#[cfg(test)]
mod tests;
